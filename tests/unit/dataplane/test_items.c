/* The packed parts of a transaction: what is whole is taken, all else is refused. */
#include "dataplane/items.h"
#include "engine/extension.h"
#include "engine/hash.h"
#include "tests/unit/unit.h"

#define KEY "reed{7}/a"

static const struct layout_geometry geometry = {.shard_count = 4};
static const struct request_scope scope = {.geometry = &geometry};
static uint8_t packed[1 << 16];
static uint32_t length;
static struct items items;

static uint32_t shard_of(const char *key)
{
    return hash_shard(key, strlen(key), hash_key(key, strlen(key)), 0, geometry.shard_count);
}

static struct ring_item item(uint8_t section, uint8_t operation)
{
    return (struct ring_item){.section = section,
                              .operation = operation,
                              .key_length = sizeof KEY - 1,
                              .compare = operation == RING_NOP ? RING_COMPARE_EXISTS : 0};
}

static void add(struct ring_item i, const char *key, const void *value)
{
    uint8_t *at = packed + length;
    memcpy(at, &i, sizeof i);
    at = ring_put_padded(at + sizeof i, key, i.key_length);
    at = ring_put_padded(at, value, i.value_length);
    length = (uint32_t)(at - packed);
}

static enum ring_status take(void)
{
    return items_take(&items, &scope, shard_of(KEY), packed, length);
}

/* One item and nothing else. */
static enum ring_status take_one(struct ring_item i)
{
    static const uint8_t value[64];
    length = 0;
    add(i, KEY, value);
    return take();
}

static void what_is_whole_is_taken(void)
{
    const int64_t delta = -12345678901;
    struct ring_item i = item(RING_SECTION_COMPARE, RING_NOP);
    length = 0;
    i.expected = 4096;
    i.compare = RING_COMPARE_TOKEN;
    add(i, KEY, "");
    i = item(RING_SECTION_THEN, RING_PUT);
    i.value_length = 5;
    add(i, KEY, "grey!");
    i = item(RING_SECTION_ELSE, RING_INCREMENT);
    i.value_length = 8;
    add(i, KEY, &delta);
    add(item(RING_SECTION_ELSE, RING_DELETE), KEY, "");
    CU_ASSERT_EQUAL_FATAL(take(), RING_OK);
    CU_ASSERT_EQUAL_FATAL(items.count, 4);
    for (uint32_t n = 0; n < 4; n++) {
        CU_ASSERT_EQUAL(items.items[n].hash, hash_key(KEY, sizeof KEY - 1));
        CU_ASSERT_EQUAL(items.items[n].key_length, sizeof KEY - 1);
        CU_ASSERT_EQUAL(memcmp(items.items[n].key, KEY, sizeof KEY - 1), 0);
    }
    CU_ASSERT_EQUAL(items.items[0].section, RING_SECTION_COMPARE);
    CU_ASSERT_EQUAL(items.items[0].compare, RING_COMPARE_TOKEN);
    CU_ASSERT_EQUAL(items.items[0].expected_lsn, 4096);
    CU_ASSERT_EQUAL(items.items[1].value_length, 5);
    CU_ASSERT_EQUAL(memcmp(items.items[1].value, "grey!", 5), 0);
    CU_ASSERT_EQUAL(items.items[2].delta, delta);
    CU_ASSERT_EQUAL(items.items[3].operation, RING_DELETE);
    CU_ASSERT_EQUAL(items.items[3].section, RING_SECTION_ELSE);
}

static void a_put_may_bring_a_ttl(void)
{
    struct ring_item i = item(RING_SECTION_THEN, RING_PUT);
    struct record_ttl ttl = extension_ttl_make(LIMIT_TTL_NS_MIN);
    i.extension_length = sizeof ttl;
    i.value_length = 5;
    for (unsigned wrong = 0; wrong < 4; wrong++) {
        ttl = extension_ttl_make(wrong == 1 ? LIMIT_TTL_NS_MIN - 1 : LIMIT_TTL_NS_MIN);
        ttl.reserved = wrong == 2;
        i.operation = wrong == 3 ? RING_DELETE : RING_PUT;
        i.value_length = wrong == 3 ? 0 : 5;
        memcpy(packed, &i, sizeof i);
        uint8_t *at = ring_put_padded(packed + sizeof i, &ttl, sizeof ttl);
        at = ring_put_padded(at, KEY, i.key_length);
        length = (uint32_t)(ring_put_padded(at, "grey!", i.value_length) - packed);
        CU_ASSERT_EQUAL(take(), wrong == 0 ? RING_OK : RING_INPUT);
        if (wrong != 0)
            continue;
        CU_ASSERT_EQUAL(items.items[0].extension_length, sizeof ttl);
        CU_ASSERT_EQUAL(memcmp(items.items[0].extension, &ttl, sizeof ttl), 0);
        CU_ASSERT_EQUAL(memcmp(items.items[0].key, KEY, sizeof KEY - 1), 0);
        CU_ASSERT_EQUAL(memcmp(items.items[0].value, "grey!", 5), 0);
        for (uint32_t whole = length; length-- != 0 && whole != 0;)
            CU_ASSERT_EQUAL(take(), RING_INPUT);
    }
}

#define REFUSED(field, wrong)                                                                      \
    do {                                                                                           \
        struct ring_item i = item(RING_SECTION_THEN, RING_DELETE);                                 \
        CU_ASSERT_EQUAL(take_one(i), RING_OK);                                                     \
        i.field = (wrong);                                                                         \
        CU_ASSERT_EQUAL(take_one(i), RING_INPUT);                                                  \
    } while (0)

static void what_no_agent_packs_is_refused(void)
{
    REFUSED(section, RING_SECTION_ELSE + 1);
    REFUSED(operation, 0);
    REFUSED(operation, RING_GET);
    REFUSED(operation, RING_TRANSACTION);
    REFUSED(operation, RING_INCREMENT); /* without what is to be added */
    REFUSED(compare, RING_COMPARE_COUNT);
    REFUSED(reserved, 1);
    REFUSED(reserved_too, 1);
    REFUSED(extension_length, 8);
    REFUSED(key_length, 0);
    REFUSED(value_length, 8);
}

static void lengths_that_lead_outside_are_refused(void)
{
    struct ring_item i = item(RING_SECTION_THEN, RING_PUT);
    CU_ASSERT_EQUAL(take_one(i), RING_OK);
    uint32_t whole = length;
    for (length = 0; length < whole; length++)
        CU_ASSERT_EQUAL(take(), RING_INPUT);
    static const uint32_t long_ones[] = {1, 8, 1 << 20, INT32_MAX, UINT32_MAX - 7, UINT32_MAX};
    for (size_t n = 0; n < sizeof long_ones / sizeof long_ones[0]; n++) {
        i.value_length = long_ones[n];
        memcpy(packed, &i, sizeof i);
        length = whole;
        CU_ASSERT_EQUAL(take(), RING_INPUT);
    }
    i.value_length = 0;
    i.key_length = LIMIT_KEY_BYTES + 1;
    memcpy(packed, &i, sizeof i);
    length = sizeof packed;
    CU_ASSERT_EQUAL(take(), RING_INPUT);
}

static void keys_of_other_shards_are_refused(void)
{
    char key[] = "reed{0}/a";
    length = 0;
    add(item(RING_SECTION_THEN, RING_DELETE), KEY, "");
    while (shard_of(key) == shard_of(KEY))
        key[5]++;
    add(item(RING_SECTION_COMPARE, RING_NOP), key, "");
    CU_ASSERT_EQUAL(take(), RING_INPUT);
    length = 0;
    add(item(RING_SECTION_THEN, RING_DELETE), KEY, "");
    add(item(RING_SECTION_COMPARE, RING_NOP), "reed{7}/b", ""); /* the same partition */
    CU_ASSERT_EQUAL(take(), RING_OK);
}

static void more_than_the_limit_is_too_large(void)
{
    length = 0;
    for (uint32_t i = 0; i < LIMIT_TRANSACTION_RECORDS; i++)
        add(item(RING_SECTION_COMPARE, RING_NOP), KEY, "");
    CU_ASSERT_EQUAL(take(), RING_OK);
    CU_ASSERT_EQUAL(items.count, LIMIT_TRANSACTION_RECORDS);
    add(item(RING_SECTION_COMPARE, RING_NOP), KEY, "");
    CU_ASSERT_EQUAL(take(), RING_TOO_LARGE);
}

static const struct unit_test tests[] = {
    UNIT_TEST(what_is_whole_is_taken),           UNIT_TEST(a_put_may_bring_a_ttl),
    UNIT_TEST(what_no_agent_packs_is_refused),   UNIT_TEST(lengths_that_lead_outside_are_refused),
    UNIT_TEST(keys_of_other_shards_are_refused), UNIT_TEST(more_than_the_limit_is_too_large),
};
UNIT_MAIN("items", tests)
