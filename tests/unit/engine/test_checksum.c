#include "engine/checksum.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/unit.h"

#include <isa-l/crc.h>
#include <stdlib.h>

/* Bit by bit, as RFC 3720 B.4 defines it. */
static uint32_t reference(uint32_t seed, const uint8_t *bytes, size_t length)
{
    uint32_t crc = ~seed;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

static void known_vectors_hold(void)
{
    uint8_t zeros[32] = {0}, ones[32], up[32], down[32];
    memset(ones, 0xff, sizeof ones);
    for (unsigned i = 0; i < 32; i++) {
        up[i] = (uint8_t)i;
        down[i] = (uint8_t)(31 - i);
    }
    const uint8_t read10[48] = {0x01, 0xc0,        [16] = 0x14, [20] = 0x00, 0x00,       0x04,
                                0x00, [27] = 0x14, [31] = 0x18, 0x28,        [40] = 0x02};
    CU_ASSERT_EQUAL(checksum(0, "123456789", 9), 0xe3069283u);
    CU_ASSERT_EQUAL(checksum(0, "", 0), 0);
    CU_ASSERT_EQUAL(checksum(0, zeros, 32), 0x8a9136aau);
    CU_ASSERT_EQUAL(checksum(0, ones, 32), 0x62a8ab43u);
    CU_ASSERT_EQUAL(checksum(0, up, 32), 0x46dd794eu);
    CU_ASSERT_EQUAL(checksum(0, down, 32), 0x113fdb5cu);
    CU_ASSERT_EQUAL(checksum(0, read10, 48), 0xd9963a56u);
}

static uint8_t bytes[4096 + 16];

static void fill(void)
{
    uint64_t seed = 3;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)fixture_random(&seed);
}

static void every_length_agrees_with_the_reference(void)
{
    fill();
    uint32_t wrong = 0;
    for (size_t length = 0; length <= 4096; length++) {
        size_t at = length % 9; /* any alignment */
        uint32_t expected = reference(0, bytes + at, length);
        wrong += checksum(0, bytes + at, length) != expected;
        wrong += ~crc32_iscsi(bytes + at, (int)length, ~0u) != expected;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void a_sum_is_chained_at_any_place(void)
{
    fill();
    uint32_t wrong = 0;
    for (size_t length = 1; length <= 4096; length += 37) {
        uint32_t whole = checksum(0, bytes, length);
        for (size_t cut = 0; cut <= length; cut += 1 + length / 13)
            wrong += checksum(checksum(0, bytes, cut), bytes + cut, length - cut) != whole;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void a_copy_sums_what_it_stored(void)
{
    static uint64_t words[4096 / 8 + 2];
    fill();
    uint32_t wrong = 0;
    for (size_t length = 0; length <= 4096; length++) {
        memset(words, 0xee, sizeof words);
        uint64_t padded = align_up(length, 8);
        uint32_t sum = checksum_copy(77, words, bytes + length % 9, length);
        const uint8_t *to = (const uint8_t *)words;
        wrong += sum != checksum(77, words, padded);
        wrong += memcmp(to, bytes + length % 9, length) != 0;
        for (uint64_t i = length; i < padded; i++)
            wrong += to[i] != 0;
        wrong += to[padded] != 0xee;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static const struct unit_test tests[] = {
    UNIT_TEST(known_vectors_hold),
    UNIT_TEST(every_length_agrees_with_the_reference),
    UNIT_TEST(a_sum_is_chained_at_any_place),
    UNIT_TEST(a_copy_sums_what_it_stored),
};
UNIT_MAIN("checksum", tests)
