/* Zones and the keys of regions, through libdunlin at a real node. */
#include "engine/limits.h"
#include "tests/unit/engine/agent_node.h"
#include "tests/unit/unit.h"

#include <errno.h>

#define SHARDS 16u
#define LONG_NS (600 * NS_PER_S)

static struct agent_node *node;
static struct dunlin *d;
static struct dunlin_space *space;

static void open_all(uint32_t partition_prefix)
{
    const struct agent_node_options options = {.shard_count = SHARDS,
                                               .partition_prefix = partition_prefix};
    node = agent_node_make(&options);
    (void)snprintf(node->node.shared->zone, LIMIT_NAME_BYTES, "eu-west");
    d = agent_node_attach(node, 20000, &space);
}

static void close_all(void)
{
    dunlin_close(d);
    agent_node_free(node);
}

static void the_zone_is_told(void)
{
    char zone[DUNLIN_ZONE_MAX + 1];
    open_all(0);
    CU_ASSERT_EQUAL(dunlin_zone(d, zone, sizeof zone), 7);
    CU_ASSERT_STRING_EQUAL(zone, "eu-west");
    CU_ASSERT_EQUAL(dunlin_zone(d, zone, 8), 7);
    CU_ASSERT_EQUAL(dunlin_zone(d, zone, 7), -ENOBUFS);
    CU_ASSERT_EQUAL(dunlin_zone(d, NULL, 0), -ENOBUFS);
    CU_ASSERT_EQUAL(dunlin_zone(d, NULL, 8), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_zone(NULL, zone, sizeof zone), -EINVAL);
    /* as long as there are any, and one that lost its end */
    memset(node->node.shared->zone, 'z', LIMIT_NAME_BYTES);
    CU_ASSERT_EQUAL(dunlin_zone(d, zone, sizeof zone), DUNLIN_ZONE_MAX);
    CU_ASSERT_EQUAL(strlen(zone), DUNLIN_ZONE_MAX);
    memset(node->node.shared->zone, 0, LIMIT_NAME_BYTES);
    CU_ASSERT_EQUAL(dunlin_zone(d, zone, sizeof zone), 0);
    CU_ASSERT_STRING_EQUAL(zone, "");
    close_all();
}

static void a_key_of_a_region(void)
{
    static const char expected[] = "flag\0region\0eu";
    char key[DUNLIN_KEY_MAX] = "flag";
    CU_ASSERT_EQUAL(dunlin_region_key(key, 4, "eu", key, sizeof key), 14);
    CU_ASSERT_EQUAL(memcmp(key, expected, 14), 0);
    memset(key, '.', sizeof key);
    CU_ASSERT_EQUAL(dunlin_region_key("flag", 4, NULL, key, 12), 12);
    CU_ASSERT_EQUAL(memcmp(key, expected, 12), 0);
    CU_ASSERT_EQUAL(key[12], '.');
    CU_ASSERT_EQUAL(dunlin_region_key("flag", 4, "eu", key, 13), -ENOBUFS);
    CU_ASSERT_EQUAL(dunlin_region_key("flag", 4, "eu", NULL, 0), -ENOBUFS);
    CU_ASSERT_EQUAL(dunlin_region_key("flag", 4, "eu", NULL, 14), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_region_key("flag", 0, "eu", key, sizeof key), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_region_key(NULL, 4, "eu", key, sizeof key), -EINVAL);
}

static void the_longest(void)
{
    char zone[DUNLIN_ZONE_MAX + 2], key[DUNLIN_KEY_MAX], buffer[DUNLIN_KEY_MAX];
    const size_t most = DUNLIN_KEY_MAX - DUNLIN_REGION_BYTES;
    memset(key, 'k', sizeof key);
    memset(zone, 'z', sizeof zone);
    zone[DUNLIN_ZONE_MAX + 1] = 0;
    CU_ASSERT_EQUAL(dunlin_region_key(key, most, zone, buffer, sizeof buffer), -EINVAL);
    zone[DUNLIN_ZONE_MAX] = 0;
    CU_ASSERT_EQUAL(dunlin_region_key(key, most, zone, buffer, sizeof buffer), DUNLIN_KEY_MAX);
    CU_ASSERT_EQUAL(dunlin_region_key(key, most + 1, "z", buffer, sizeof buffer), -EMSGSIZE);
}

static void what_is_no_zone_is_refused(void)
{
    static const char *const zones[] = {"", "1", "-eu", "e u", "e{u", "e}", "e/u", "\xc3\xbc"};
    char key[DUNLIN_KEY_MAX];
    for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++)
        CU_ASSERT_EQUAL(dunlin_region_key("k", 1, zones[i], key, sizeof key), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_region_key("k", 1, "Eu-1_a.b", key, sizeof key), 17);
}

static int64_t shard_of(const char *key, const char *zone)
{
    char buffer[DUNLIN_KEY_MAX];
    if (zone == NULL)
        return dunlin_shard(space, key, strlen(key));
    int64_t length = dunlin_region_key(key, strlen(key), zone, buffer, sizeof buffer);
    CU_ASSERT_FATAL(length > 0);
    return dunlin_shard(space, buffer, (size_t)length);
}

/* How many of many keys have the region's lease in another shard than they are in. */
static uint32_t elsewhere(const char *format)
{
    char key[64];
    uint32_t count = 0;
    for (uint32_t i = 100; i < 200; i++) {
        (void)snprintf(key, sizeof key, format, i, i);
        int64_t shard = shard_of(key, NULL);
        CU_ASSERT_FATAL(shard >= 0 && shard < SHARDS);
        count += shard_of(key, "eu") != shard || shard_of(key, "us") != shard ? 1 : 0;
    }
    return count;
}

static void where_it_lies(void)
{
    open_all(6);
    CU_ASSERT_EQUAL(elsewhere("{%u}flag%u"), 0);
    CU_ASSERT_EQUAL(elsewhere("a{%u}"), 0);
    CU_ASSERT_EQUAL(elsewhere("%u{%u"), 0); /* 7 bytes: what follows closes no brace */
    CU_ASSERT_EQUAL(elsewhere("%u%u"), 0);  /* just as long as the prefix */
    CU_ASSERT_EQUAL(elsewhere("%u/flag"), 0);
    CU_ASSERT(elsewhere("%u") > 50);
    close_all();
    open_all(0);
    CU_ASSERT_EQUAL(elsewhere("{%u}flag%u"), 0);
    CU_ASSERT(elsewhere("%u/flag") > 50);
    close_all();
}

static int take(const char *key, const char *zone, const char *owner, struct dunlin_lease *lease)
{
    char buffer[DUNLIN_KEY_MAX];
    int64_t length = dunlin_region_key(key, strlen(key), zone, buffer, sizeof buffer);
    CU_ASSERT_FATAL(length > 0);
    return dunlin_lease_acquire(space, buffer, (size_t)length, owner, LONG_NS, lease);
}

/* Each region has an owner of its own, with a token of its own, beside that of the key itself; and a transaction
 * looks at it. */
static void regions_are_held_by_themselves(void)
{
    struct dunlin_lease whole, eu, us, other;
    char key[DUNLIN_KEY_MAX];
    open_all(0);
    CU_ASSERT_EQUAL(take("{a}flag", "eu", "ann", &eu), 0);
    CU_ASSERT_EQUAL(take("{a}flag", "eu", "bob", &other), -ECANCELED);
    CU_ASSERT_EQUAL(other.version.lsn, eu.token);
    CU_ASSERT_EQUAL(take("{a}flag", "us", "bob", &us), 0);
    CU_ASSERT_EQUAL(dunlin_lease_acquire(space, "{a}flag", 7, "cid", LONG_NS, &whole), 0);
    CU_ASSERT(us.token > eu.token && whole.token > us.token);
    int64_t length = dunlin_region_key("{a}flag", 7, "eu", key, sizeof key);
    const struct dunlin_write write = {.operation = DUNLIN_PUT,
                                       .key = "{a}work",
                                       .key_length = 7,
                                       .value = "by ann",
                                       .value_length = 6};
    struct dunlin_condition condition = {.compare = DUNLIN_COMPARE_TOKEN,
                                         .key = key,
                                         .key_length = (size_t)length,
                                         .expected = eu.token};
    const struct dunlin_transaction t = {
        .conditions = &condition, .condition_count = 1, .then_writes = &write, .then_count = 1};
    CU_ASSERT_EQUAL(dunlin_transaction(space, &t, NULL), 0);
    CU_ASSERT_EQUAL(dunlin_lease_release(space, key, (size_t)length, us.token, NULL), -ECANCELED);
    CU_ASSERT_EQUAL(dunlin_lease_release(space, key, (size_t)length, eu.token, NULL), 0);
    CU_ASSERT_EQUAL(dunlin_transaction(space, &t, NULL), -ECANCELED);
    CU_ASSERT_EQUAL(dunlin_lease_show(space, key, (size_t)length, &other), -ENOENT);
    CU_ASSERT_EQUAL(dunlin_lease_show(space, "{a}flag", 7, &other), 0);
    CU_ASSERT_EQUAL(other.token, whole.token);
    CU_ASSERT_EQUAL(take("{a}flag", "eu", "bob", &other), 0);
    CU_ASSERT(other.token > whole.token);
    close_all();
}

/* A scan of what regions' keys begin with gives them and nothing else; in order they stand behind their key. */
static void they_are_found_in_order(void)
{
    static const char *const zones[] = {"eu", "us"};
    char prefix[DUNLIN_KEY_MAX];
    struct dunlin_lease lease;
    struct dunlin_scan *scan;
    struct dunlin_scan_entry e;
    open_all(0);
    CU_ASSERT_EQUAL(dunlin_put(space, "flags", 5, "v", 1, NULL), 0);
    CU_ASSERT_EQUAL(dunlin_put(space, "flag/eu", 7, "v", 1, NULL), 0);
    CU_ASSERT_EQUAL(dunlin_put(space, "flag", 4, "v", 1, NULL), 0);
    CU_ASSERT_EQUAL(take("flag", "us", "bob", &lease), 0);
    CU_ASSERT_EQUAL(take("flag", "eu", "ann", &lease), 0);
    int64_t length = dunlin_region_key("flag", 4, NULL, prefix, sizeof prefix);
    const struct dunlin_scan_options options = {.prefix = prefix, .prefix_length = (size_t)length};
    CU_ASSERT_EQUAL(dunlin_scan_open(space, &options, &scan), 0);
    for (size_t i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL_FATAL(dunlin_scan_next(scan, &e), 0);
        CU_ASSERT_EQUAL_FATAL(e.key_length, (size_t)length + 2);
        CU_ASSERT_EQUAL(memcmp((const char *)e.key + length, zones[i], 2), 0);
    }
    CU_ASSERT_EQUAL(dunlin_scan_next(scan, &e), -ENOENT);
    dunlin_scan_close(scan);
    CU_ASSERT_EQUAL(dunlin_scan_open(space, NULL, &scan), 0);
    CU_ASSERT_EQUAL_FATAL(dunlin_scan_next(scan, &e), 0);
    CU_ASSERT_EQUAL(e.key_length, 4);
    CU_ASSERT_EQUAL_FATAL(dunlin_scan_next(scan, &e), 0);
    CU_ASSERT_EQUAL(e.key_length, (size_t)length + 2);
    dunlin_scan_close(scan);
    close_all();
}

static const struct unit_test tests[] = {
    UNIT_TEST(the_zone_is_told),
    UNIT_TEST(a_key_of_a_region),
    UNIT_TEST(the_longest),
    UNIT_TEST(what_is_no_zone_is_refused),
    UNIT_TEST(where_it_lies),
    UNIT_TEST(regions_are_held_by_themselves),
    UNIT_TEST(they_are_found_in_order),
};
UNIT_MAIN("agent_region", tests)
