#include "engine/record.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/unit.h"

#define BYTES 8192u

static alignas(8) uint8_t log_bytes[BYTES], source[BYTES];

static const struct record like = {
    .format = RECORD_FORMAT,
    .kind = RECORD_DATA,
    .flags = RECORD_FLAG_TRANSACTION_END,
    .operation = 3,
    .log = 0x10007,
    .lsn = UINT64_C(0x123456789a),
    .lsn_previous = 77,
    .session = 88,
    .sequence = 99,
    .hybrid_clock = UINT64_C(1) << 60,
};

static struct record make(uint16_t extension, uint16_t key, uint32_t value)
{
    struct record h = like;
    h.extension_length = extension;
    h.key_length = key;
    h.value_length = value;
    h.hash = key * 7u;
    uint64_t seed = value + key;
    for (uint32_t i = 0; i < BYTES; i++)
        source[i] = (uint8_t)fixture_random(&seed);
    memset(log_bytes, 0xaa, sizeof log_bytes);
    struct record_parts parts = {source, source + 1000, source + 2001};
    record_write(log_bytes, &h, &parts);
    return h;
}

static void a_record_comes_back_as_it_was_written(void)
{
    static const uint32_t values[] = {0, 1, 7, 8, 9, 63, 64, 65, 1000, 1023, 1024, 1025, 5000};
    static const uint16_t keys[] = {1, 7, 8, 9, 16, 511, 512}, extensions[] = {0, 8, 12, 100};
    uint32_t wrong = 0;
    for (unsigned e = 0; e < 4; e++) {
        for (unsigned k = 0; k < 7; k++) {
            for (unsigned v = 0; v < 13; v++) {
                struct record h = make(extensions[e], keys[k], values[v]), back;
                int64_t size = record_check(log_bytes, BYTES, &back);
                h.crc = back.crc;
                wrong += size != (int64_t)record_size(&h) || size % 8 != 0;
                wrong += memcmp(&h, &back, sizeof h) != 0;
                const struct record *r = (const void *)log_bytes;
                wrong += memcmp(record_key(r), source + 1000, keys[k]) != 0;
                wrong += memcmp(record_value(r), source + 2001, values[v]) != 0;
                wrong += memcmp(log_bytes + 64, source, extensions[e]) != 0;
                wrong += log_bytes[size] != 0xaa;
            }
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void every_flipped_bit_is_noticed(void)
{
    struct record h = make(8, 11, 100), back;
    uint64_t size = record_size(&h);
    uint32_t unnoticed = 0, wrongly_absent = 0;
    for (uint64_t bit = 0; bit < size * 8; bit++) {
        log_bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        int64_t r = record_check(log_bytes, size, &back);
        unnoticed += r > 0;
        /* a length that grew may look like an end that is missing; nothing else may */
        bool is_length = bit / 8 >= 12 && bit / 8 < 20;
        wrongly_absent += r == -EAGAIN && !is_length;
        log_bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    CU_ASSERT_EQUAL(unnoticed, 0);
    CU_ASSERT_EQUAL(wrongly_absent, 0);
    CU_ASSERT_EQUAL(record_check(log_bytes, size, &back), (int64_t)size);
}

static void a_truncated_record_is_absent_not_corrupt(void)
{
    struct record h = make(8, 11, 100), back;
    for (uint64_t available = 0; available < record_size(&h); available++)
        CU_ASSERT_EQUAL(record_check(log_bytes, available, &back), -EAGAIN);
}

static void wrong_formats_kinds_and_lengths_are_corrupt(void)
{
    static const struct {
        unsigned at;
        uint8_t byte;
    } wrong[] = {{4, 0},   {4, 2},     {5, 0},     {5, RECORD_MERGED + 1},
                 {5, 255}, {15, 0xff}, {17, 0xff}, {19, 0xff}};
    struct record back;
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct record h = make(0, 8, 8);
        log_bytes[wrong[i].at] = wrong[i].byte;
        CU_ASSERT_EQUAL(record_check(log_bytes, record_size(&h), &back), -EBADMSG);
    }
}

static void pads_of_every_length_are_walked(void)
{
    static alignas(8) uint8_t large[RECORD_PAD_UNITS_MAX * 8 + 4096];
    struct record back;
    for (uint64_t length = 8; length <= 4096; length += 8) {
        memset(large, 0xaa, 4200);
        record_write_pad(large, length);
        CU_ASSERT_EQUAL(record_check(large, length, &back), (int64_t)length);
        CU_ASSERT_EQUAL(back.kind, RECORD_PAD);
        CU_ASSERT_EQUAL(large[length], 0xaa);
        CU_ASSERT_EQUAL(record_check(large, length - 8, &back), -EAGAIN);
    }
    uint64_t walked = 0;
    record_write_pad(large, sizeof large);
    while (walked < sizeof large) {
        int64_t size = record_check(large + walked, sizeof large - walked, &back);
        CU_ASSERT_FATAL(size > 0);
        walked += (uint64_t)size;
    }
    CU_ASSERT_EQUAL(walked, sizeof large);
    record_write_pad(large, 64);
    for (unsigned bit = 0; bit < 64; bit++) {
        large[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CU_ASSERT(record_check(large, 64, &back) < 0);
        large[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void small_records_stay_in_their_128_bytes(void)
{
    for (uint64_t position = 0; position < 512; position += 8) {
        for (uint64_t size = 64; size <= 256; size += 8) {
            uint64_t pad = record_pad_before(position, size);
            uint64_t start = position + pad;
            if (size <= 128)
                CU_ASSERT_EQUAL(start / 128, (start + size - 1) / 128);
            /* and no pad without need */
            CU_ASSERT(pad == 0 || (size <= 128 && position / 128 != (position + size - 1) / 128));
            CU_ASSERT(pad < 128);
        }
    }
}

static void a_copied_record_is_the_same(void)
{
    static alignas(8) uint8_t copy[BYTES];
    struct record h = make(12, 20, 777), back;
    uint64_t size = record_size(&h);
    memset(copy, 0xbb, sizeof copy);
    record_copy(copy, log_bytes, size);
    CU_ASSERT_EQUAL(memcmp(copy, log_bytes, size), 0);
    CU_ASSERT_EQUAL(copy[size], 0xbb);
    CU_ASSERT_EQUAL(record_check(copy, size, &back), (int64_t)size);
}

/* What record_land says is what record_check says of the copy; what was read is what was stored. */
static void landing_judges_as_checking_does(void)
{
    static alignas(8) uint8_t landed[BYTES];
    static const uint32_t values[] = {0, 9, 64, 1000, 1024, 5000};
    uint32_t wrong = 0;
    uint64_t seed = 4;
    for (unsigned v = 0; v < 6; v++) {
        struct record like_it = make(8, 11, values[v]), checked, judged;
        uint64_t size = record_size(&like_it);
        for (unsigned run = 0; run < 400; run++) {
            /* sound, cut short, or with one bit changed */
            uint64_t available =
                run % 3 == 1 ? 8 * (uint64_t)fixture_below(&seed, (uint32_t)size / 8) : size;
            uint64_t bit = fixture_below(&seed, (uint32_t)size * 8);
            if (run % 3 == 2)
                log_bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            memset(landed, 0x55, sizeof landed);
            int64_t expected = record_check(log_bytes, available, &checked);
            int64_t result = record_land(landed, log_bytes, available, &judged);
            wrong += (result > 0) != (expected > 0) || (result > 0 && result != expected);
            wrong += result > 0 && (memcmp(landed, log_bytes, size) != 0 ||
                                    memcmp(&judged, &checked, sizeof judged) != 0 ||
                                    record_step(landed, &judged) != size);
            wrong += landed[size] != 0x55 && result != -EBADMSG;
            if (run % 3 == 2)
                log_bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void a_pad_lands_only_whole_and_empty(void)
{
    static alignas(8) uint8_t pads[256], landed[256];
    struct record h;
    record_write_pad(pads, 64);
    CU_ASSERT_EQUAL(record_land(landed, pads, 64, &h), 64);
    CU_ASSERT_EQUAL(h.kind, RECORD_PAD);
    CU_ASSERT_EQUAL(record_step(landed, &h), 64);
    CU_ASSERT_EQUAL(memcmp(landed, pads, 64), 0);
    CU_ASSERT(record_land(landed, pads, 56, &h) < 0);
    CU_ASSERT_EQUAL(record_land(landed, pads, 0, &h), -EAGAIN);
    pads[40] = 1;
    CU_ASSERT_EQUAL(record_land(landed, pads, 64, &h), -EBADMSG);
    pads[40] = 0;
    pads[6] = pads[7] = 0;
    CU_ASSERT_EQUAL(record_land(landed, pads, 64, &h), -EBADMSG);
}

static const struct unit_test tests[] = {
    UNIT_TEST(landing_judges_as_checking_does),
    UNIT_TEST(a_pad_lands_only_whole_and_empty),
    UNIT_TEST(a_record_comes_back_as_it_was_written),
    UNIT_TEST(every_flipped_bit_is_noticed),
    UNIT_TEST(a_truncated_record_is_absent_not_corrupt),
    UNIT_TEST(wrong_formats_kinds_and_lengths_are_corrupt),
    UNIT_TEST(pads_of_every_length_are_walked),
    UNIT_TEST(small_records_stay_in_their_128_bytes),
    UNIT_TEST(a_copied_record_is_the_same),
};
UNIT_MAIN("record", tests)
