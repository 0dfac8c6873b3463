#include "dataplane/bundle.h"
#include "dataplane/message.h"
#include "tests/unit/unit.h"

#include <string.h>

static struct bundle b;
static alignas(8) uint8_t wire[TRANSPORT_HEAD_MAX];

static uint32_t close_to_wire(void)
{
    uint32_t length;
    const uint8_t *bytes = bundle_close(&b, &length);
    memcpy(wire, bytes, length);
    return length;
}

static void put(uint8_t first, uint32_t length)
{
    uint8_t *place = bundle_place(&b, length, sizeof b.bytes);
    CU_ASSERT_FATAL(place != NULL && (uintptr_t)place % 8 == 0);
    memset(place, first, length);
}

static void what_goes_in_comes_out_in_order(void)
{
    static const uint32_t lengths[] = {1, 8, 64, 65, 72, 7, BUNDLE_ITEM_BYTES_MAX};
    struct bundle_item items[BUNDLE_ITEMS_MAX];
    for (uint8_t i = 0; i < 7; i++)
        put((uint8_t)(i + 1), lengths[i]);
    uint32_t length = close_to_wire();
    CU_ASSERT_TRUE(bundle_is(wire, length));
    CU_ASSERT_EQUAL(length % 8, 0);
    CU_ASSERT_EQUAL_FATAL(bundle_split(wire, length, items), 7);
    for (uint8_t i = 0; i < 7; i++) {
        CU_ASSERT_EQUAL(items[i].length, lengths[i]);
        CU_ASSERT_EQUAL((uintptr_t)items[i].bytes % 8, 0);
        for (uint32_t at = 0; at < align_up(lengths[i], 8); at++)
            CU_ASSERT_EQUAL(items[i].bytes[at], at < lengths[i] ? i + 1 : 0);
    }
}

static void an_only_item_goes_as_it_is(void)
{
    put(MESSAGE_ACK, 61);
    uint32_t length = close_to_wire();
    CU_ASSERT_EQUAL(length, 61);
    CU_ASSERT_FALSE(bundle_is(wire, length));
    for (uint32_t at = 0; at < length; at++)
        CU_ASSERT_EQUAL(wire[at], MESSAGE_ACK);
    (void)bundle_close(&b, &length);
    CU_ASSERT_EQUAL(length, 0);
}

static void it_takes_no_more_than_there_is_room_for(void)
{
    struct bundle_item items[BUNDLE_ITEMS_MAX];
    const uint32_t limit = 1336, each = BUNDLE_ITEM_HEAD_BYTES + 64;
    uint32_t count = 0, length;
    CU_ASSERT_PTR_NULL(bundle_place(&b, 64, BUNDLE_HEAD_BYTES + each - 1));
    for (; bundle_place(&b, 64, limit) != NULL; count++)
        CU_ASSERT(b.length <= limit);
    CU_ASSERT_EQUAL(count, (limit - BUNDLE_HEAD_BYTES) / each);
    length = close_to_wire();
    CU_ASSERT_EQUAL(bundle_split(wire, length, items), (int)count);
    for (count = 0; bundle_place(&b, 8, sizeof b.bytes) != NULL; count++) {
    }
    CU_ASSERT_EQUAL(count, BUNDLE_ITEMS_MAX);
    length = close_to_wire();
    CU_ASSERT_EQUAL(bundle_split(wire, length, items), (int)BUNDLE_ITEMS_MAX);
}

static void changed(uint32_t length, uint32_t at, uint8_t to)
{
    struct bundle_item items[BUNDLE_ITEMS_MAX];
    uint8_t was = wire[at];
    CU_ASSERT_NOT_EQUAL(was, to);
    wire[at] = to;
    CU_ASSERT_EQUAL(bundle_split(wire, length, items), -EPROTO);
    wire[at] = was;
}

static void what_is_not_sound_is_refused_whole(void)
{
    struct bundle_item items[BUNDLE_ITEMS_MAX];
    put(1, 16);
    put(2, 8);
    uint32_t length = close_to_wire();
    for (uint32_t less = 1; less <= length; less++)
        /* an end between items would be another bundle */
        CU_ASSERT(length - less == 32 || bundle_split(wire, length - less, items) == -EPROTO);
    CU_ASSERT_EQUAL(bundle_split(wire, 32, items), 1);
    changed(length, 0, BUNDLE_KIND + 1);
    for (uint32_t at = 1; at < BUNDLE_HEAD_BYTES; at++)
        changed(length, at, 1);
    changed(length, 8, 0); /* an item without bytes */
    changed(length, 8, 17);
    for (uint32_t at = 9; at < 16; at++)
        changed(length, at, 1);
    changed(length, 32, 9);
    CU_ASSERT_EQUAL(bundle_split(wire, length, items), 2);
    CU_ASSERT_EQUAL(bundle_split(wire, BUNDLE_HEAD_BYTES, items), -EPROTO);
}

static uint64_t next(uint64_t *random)
{
    *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *random >> 33;
}

static void any_bytes_are_judged(void)
{
    struct bundle_item items[BUNDLE_ITEMS_MAX];
    uint64_t random = 1;
    for (uint32_t i = 0; i < 200000; i++) {
        uint32_t length = (uint32_t)(next(&random) % 24) * 8;
        for (uint32_t at = 0; at < length; at += 8) {
            uint64_t word = next(&random) % 40;
            memcpy(wire + at, at == 0 ? &(uint64_t){BUNDLE_KIND} : &word, sizeof word);
        }
        int count = bundle_split(wire, length, items);
        for (int k = 0; k < count; k++)
            CU_ASSERT_FATAL(items[k].length != 0 && items[k].bytes >= wire + 16 &&
                            items[k].bytes + items[k].length <= wire + length);
    }
}

static const struct unit_test tests[] = {
    UNIT_TEST(what_goes_in_comes_out_in_order),
    UNIT_TEST(an_only_item_goes_as_it_is),
    UNIT_TEST(it_takes_no_more_than_there_is_room_for),
    UNIT_TEST(what_is_not_sound_is_refused_whole),
    UNIT_TEST(any_bytes_are_judged),
};
UNIT_MAIN("bundle", tests)
