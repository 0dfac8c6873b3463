/* libdunlin's scans beside real lcores that go on writing (agent_node.h): in order over all shards, with a
 * lease and without one. */
#include "engine/agent/agent.h"
#include "engine/hash.h"
#include "engine/land.h"
#include "engine/limits.h"
#include "engine/read.h"
#include "engine/reclaim.h"
#include "engine/shard.h"
#include "tests/unit/engine/agent_node.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define LONG_MS 20000
#define SHORT_NS (100 * NS_PER_MS) /* for calls that are to time out */
#define KEYS 3000u

static bool refuse_lease, follows;
bool __real_read_lease(const struct read_point *p, const struct read_space *s);
bool __wrap_read_lease(const struct read_point *p, const struct read_space *s);
bool __wrap_read_lease(const struct read_point *p, const struct read_space *s)
{
    return follows ? p->pending == 0 : !refuse_lease && __real_read_lease(p, s);
}

static void put_numbered(struct dunlin_space *s, unsigned i)
{
    char key[32], value[64];
    size_t key_length = (size_t)snprintf(key, sizeof key, "k/%05u", i);
    size_t length = (size_t)snprintf(value, sizeof value, "value of %u", i);
    CU_ASSERT_EQUAL_FATAL(dunlin_put(s, key, key_length, value, length, NULL), 0);
}

/* All of [first, KEYS), each once, in order, with its value. */
static void expect_all(struct dunlin_space *s, const struct dunlin_scan_options *options,
                       unsigned first)
{
    struct dunlin_scan *scan;
    struct dunlin_scan_entry e;
    unsigned next = first;
    int error;
    CU_ASSERT_EQUAL_FATAL(dunlin_scan_open(s, options, &scan), 0);
    while ((error = dunlin_scan_next(scan, &e)) == 0) {
        char key[32], value[64];
        size_t key_length = (size_t)snprintf(key, sizeof key, "k/%05u", next);
        size_t length = (size_t)snprintf(value, sizeof value, "value of %u", next);
        CU_ASSERT_FATAL(e.key_length == key_length && memcmp(e.key, key, key_length) == 0);
        CU_ASSERT_FATAL(e.value_length == length && e.version.lsn != 0);
        CU_ASSERT_FATAL(options->keys_only ? e.value == NULL : memcmp(e.value, value, length) == 0);
        next++;
    }
    CU_ASSERT_EQUAL(error, -ENOENT);
    CU_ASSERT_EQUAL(dunlin_scan_next(scan, &e), -ENOENT);
    CU_ASSERT_EQUAL(next, KEYS);
    dunlin_scan_close(scan);
}

static void shards_are_merged_in_order(void)
{
    struct agent_node *n =
        agent_node_make(&(struct agent_node_options){.lcore_count = 2, .shard_count = 8});
    struct dunlin_space *s;
    struct dunlin *d = agent_node_attach(n, LONG_MS, &s);
    struct dunlin_scan_options options = {.mode = DUNLIN_LOCAL};
    expect_all(s, &(struct dunlin_scan_options){.prefix = "none", .prefix_length = 4}, KEYS);
    for (unsigned i = 0; i < KEYS; i++)
        put_numbered(s, i * 7 % KEYS);
    CU_ASSERT_EQUAL_FATAL(dunlin_put(s, "a", 1, "x", 1, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(dunlin_put(s, "z", 1, "x", 1, NULL), 0);
    options.prefix = "k/";
    options.prefix_length = 2;
    expect_all(s, &options, 0);
    options.mode = DUNLIN_LINEARIZABLE;
    expect_all(s, &options, 0);
    options.keys_only = 1;
    options.after = "k/01234";
    options.after_length = 7;
    expect_all(s, &options, 1235);
    dunlin_close(d);
    agent_node_free(n);
}

/* Where no lease covers this machine the leader says up to where all is committed, once a shard. */
static void without_a_lease_the_leader_is_asked(void)
{
    struct agent_node *n = agent_node_make(&(struct agent_node_options){.shard_count = 4});
    struct dunlin_space *s;
    struct dunlin *d = agent_node_attach(n, LONG_MS, &s);
    struct dunlin_scan_options options = {.prefix = "k", .prefix_length = 1};
    struct dunlin_info before, after;
    for (unsigned i = 0; i < KEYS; i++)
        put_numbered(s, i);
    dunlin_info(d, &before);
    refuse_lease = true;
    expect_all(s, &options, 0);
    refuse_lease = false;
    dunlin_info(d, &after);
    CU_ASSERT_EQUAL(after.reads_by_ring - before.reads_by_ring, 4);
    dunlin_close(d);
    agent_node_free(n);
}

/* A partition in the prefix is one shard; values larger than a page come, too. */
static void a_partition_and_large_values(void)
{
    struct agent_node *n = agent_node_make(&(struct agent_node_options){.shard_count = 8});
    struct dunlin_space *s;
    struct dunlin *d = agent_node_attach(n, LONG_MS, &s);
    static char value[100000];
    struct dunlin_scan *scan;
    struct dunlin_scan_entry e;
    for (unsigned i = 0; i < 20; i++) {
        char key[32];
        size_t length = (size_t)snprintf(key, sizeof key, "u{7}/%02u", i);
        memset(value, (char)('a' + i), sizeof value);
        CU_ASSERT_EQUAL_FATAL(dunlin_put(s, key, length, value, i * 5000, NULL), 0);
    }
    const struct dunlin_scan_options options = {.prefix = "u{7}/", .prefix_length = 5};
    CU_ASSERT_EQUAL_FATAL(dunlin_scan_open(s, &options, &scan), 0);
    for (unsigned i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL_FATAL(dunlin_scan_next(scan, &e), 0);
        CU_ASSERT_EQUAL_FATAL(e.value_length, i * 5000);
        for (size_t b = 0; b < e.value_length; b++)
            CU_ASSERT_FATAL(((const char *)e.value)[b] == (char)('a' + i));
    }
    CU_ASSERT_EQUAL(dunlin_scan_next(scan, &e), -ENOENT);
    dunlin_scan_close(scan);
    CU_ASSERT_EQUAL(dunlin_scan_open(NULL, NULL, &scan), -EINVAL);
    CU_ASSERT_EQUAL(
        dunlin_scan_open(s, &(struct dunlin_scan_options){.prefix = value, .prefix_length = 513},
                         &scan),
        -EMSGSIZE);
    CU_ASSERT_EQUAL(dunlin_scan_open(s, &(struct dunlin_scan_options){.prefix_length = 3}, &scan),
                    -EINVAL);
    CU_ASSERT_EQUAL(dunlin_scan_open(s, &(struct dunlin_scan_options){.mode = 9}, &scan), -EINVAL);
    dunlin_close(d);
    agent_node_free(n);
}

/* The lcores stand still: linearizable ends after the timeout, local goes on. */
static void a_daemon_that_stands_still_is_said(void)
{
    struct agent_node *n = agent_node_make(&(struct agent_node_options){.shard_count = 2});
    struct dunlin_space *s;
    struct dunlin *d = agent_node_attach(n, LONG_MS, &s);
    struct dunlin_scan *scan;
    struct dunlin_scan_entry e;
    for (unsigned i = 0; i < 50; i++)
        put_numbered(s, i);
    agent_node_stop_lcores(n);
    d->options.timeout_ns = SHORT_NS;
    refuse_lease = true;
    CU_ASSERT_EQUAL_FATAL(dunlin_scan_open(s, NULL, &scan), 0);
    for (unsigned i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(dunlin_scan_next(scan, &e), -ENOTCONN);
        CU_ASSERT_EQUAL(d->operations_taken, 1); /* it is asked again when it thaws, not before */
    }
    dunlin_scan_close(scan);
    const struct dunlin_scan_options local = {.mode = DUNLIN_LOCAL};
    CU_ASSERT_EQUAL_FATAL(dunlin_scan_open(s, &local, &scan), 0);
    CU_ASSERT_EQUAL(dunlin_scan_next(scan, &e), 0);
    dunlin_scan_close(scan);
    refuse_lease = false;
    dunlin_close(d);
    agent_node_free(n);
}

static bool never(void *context, uint32_t frame)
{
    (void)context;
    (void)frame;
    return false;
}

/* What a scan waited for is cut by the next epoch, and may never be committed. */
static void what_is_cut_is_waited_for_no_more(void)
{
    struct agent_node *n = agent_node_make(&(struct agent_node_options){.shard_count = 1});
    struct dunlin_space *s;
    struct dunlin *d = agent_node_attach(n, LONG_MS, &s);
    struct dunlin_scan *scan;
    struct dunlin_scan_entry e;
    static const char value[4096];
    CU_ASSERT_EQUAL_FATAL(dunlin_put(s, "k", 1, "old", 3, NULL), 0);
    agent_node_stop_lcores(n);
    d->options.timeout_ns = SHORT_NS;
    struct shard *shard = n->node.spaces[2]->shards[0];
    const uint64_t lsn = shard->log.lsn_whole;
    const struct shard_write put = {.origin.operation = RING_PUT,
                                    .hash = hash_key("k", 1),
                                    .key = "k",
                                    .value = value,
                                    .value_length = sizeof value,
                                    .key_length = 1,
                                    .session_slot = SESSION_NONE};
    const struct reclaim_now now = {.ticket_next = 1, .pinned = never};
    CU_ASSERT_EQUAL_FATAL(shard_write(shard, &put), 0);
    follows = true;
    CU_ASSERT_EQUAL_FATAL(dunlin_scan_open(s, NULL, &scan), 0);
    CU_ASSERT_EQUAL(dunlin_scan_next(scan, &e), -ENOTCONN); /* it is not committed in time */
    CU_ASSERT_EQUAL_FATAL(land_cut(shard, lsn, &now), 0);
    CU_ASSERT_EQUAL_FATAL(shard_epoch_begin(shard, shard->board->epoch + 1, 1), 0);
    shard_commit(shard, shard->log.lsn_whole);
    CU_ASSERT_EQUAL_FATAL(dunlin_scan_next(scan, &e), 0);
    CU_ASSERT_TRUE(e.value_length == 3 && memcmp(e.value, "old", 3) == 0);
    CU_ASSERT_EQUAL(dunlin_scan_next(scan, &e), -ENOENT);
    follows = false;
    dunlin_scan_close(scan);
    dunlin_close(d);
    agent_node_free(n);
}

static const struct unit_test tests[] = {
    UNIT_TEST(shards_are_merged_in_order),        UNIT_TEST(without_a_lease_the_leader_is_asked),
    UNIT_TEST(a_partition_and_large_values),      UNIT_TEST(a_daemon_that_stands_still_is_said),
    UNIT_TEST(what_is_cut_is_waited_for_no_more),
};
UNIT_MAIN("agent_scan", tests)
