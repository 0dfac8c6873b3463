/* Spaces that come and go under an agent: a real node, alone, on threads of the test. */
#include "control/space_keeper.h"
#include "tests/unit/engine/agent_node.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define WORDS "name=orders\nquota=16MiB\nshards=3\n"
#define ROUNDS 20u

static struct agent_node *node;
static struct space_keeper keeper;
static struct config config;
static struct dunlin *handle;
static struct dunlin_space *real;

static void begin(uint32_t lcore_count)
{
    /* Why so long: what is read in place is counted, and a busy machine must not end the lease meanwhile. */
    const struct agent_node_options options = {.lcore_count = lcore_count,
                                               .lease_ns = 10 * NS_PER_S};
    node = agent_node_make(&options);
    config = (struct config){.space_count = 1};
    memcpy(config.socket_path, node->path, sizeof node->path);
    config.spaces[0] = node->node.spaces[2]->config;
    CU_ASSERT_EQUAL_FATAL(space_keeper_open(&keeper, &config, stderr), 0);
    CU_ASSERT_EQUAL_FATAL(space_keeper_join(&keeper, &node->node), 0);
    server_set_spaces(node->server, &keeper.admin);
    handle = agent_node_attach(node, 2000, &real);
}

static void end(void)
{
    dunlin_close(handle);
    (void)unlink(keeper.path);
    agent_node_free(node);
}

static struct dunlin_space *orders(void)
{
    struct dunlin_space *s = NULL;
    CU_ASSERT_EQUAL_FATAL(dunlin_space(handle, "orders", &s), 0);
    return s;
}

static int put(struct dunlin_space *s, const char *key, const char *value,
               struct dunlin_version *version)
{
    return dunlin_put(s, key, strlen(key), value, strlen(value), version);
}

static int get(struct dunlin_space *s, const char *key, enum dunlin_mode mode)
{
    struct dunlin_read read = {.mode = mode};
    char value[64];
    return dunlin_get(s, key, strlen(key), value, sizeof value, &read);
}

static void one_that_is_made_is_used_at_once(void)
{
    begin(2);
    CU_ASSERT_EQUAL(dunlin_space_create(handle, "orders", 0, WORDS), 1);
    CU_ASSERT_EQUAL(dunlin_space_create(handle, "orders", 0, WORDS), -EEXIST);
    CU_ASSERT_EQUAL(dunlin_space_create(handle, "others", 2, "name=others\n"), -EEXIST);
    CU_ASSERT_EQUAL(dunlin_space_create(handle, "others", 0, WORDS), -EINVAL);
    CU_ASSERT_EQUAL(
        dunlin_space_create(handle, "others", 0, "name=others\nshards=99\nquota=2MiB\n"), -ENOSPC);
    struct dunlin_space *s = orders();
    struct dunlin_info before, after;
    CU_ASSERT_EQUAL(put(s, "a", "1", NULL), 0);
    dunlin_info(handle, &before);
    CU_ASSERT_EQUAL(get(s, "a", DUNLIN_LINEARIZABLE), 0);
    CU_ASSERT_EQUAL(get(s, "a", DUNLIN_LOCAL), 0);
    CU_ASSERT_EQUAL(get(s, "b", DUNLIN_LINEARIZABLE), -ENOENT);
    dunlin_info(handle, &after);
    CU_ASSERT_EQUAL(after.reads_in_place, before.reads_in_place + 3);
    struct dunlin_scan *scan;
    struct dunlin_scan_entry entry;
    CU_ASSERT_EQUAL(dunlin_scan_open(s, NULL, &scan), 0);
    CU_ASSERT_EQUAL(dunlin_scan_next(scan, &entry), 0);
    CU_ASSERT_EQUAL(dunlin_scan_next(scan, &entry), -ENOENT);
    dunlin_scan_close(scan);
    end();
}

static void one_that_is_dropped_is_not_there(void)
{
    begin(1);
    CU_ASSERT_EQUAL(dunlin_space_create(handle, "orders", 0, WORDS), 1);
    struct dunlin_space *s = orders();
    struct dunlin_view view = {.read.mode = DUNLIN_LINEARIZABLE};
    struct dunlin_watch *watch;
    struct dunlin_event event;
    CU_ASSERT_EQUAL(put(s, "a", "seen", NULL), 0);
    CU_ASSERT_EQUAL(dunlin_watch_open(s, NULL, &watch), 0);
    CU_ASSERT_EQUAL(dunlin_watch_next(watch, &event, 1, NS_PER_MS), 0);
    CU_ASSERT_EQUAL_FATAL(dunlin_view(s, "a", 1, &view), 0);
    CU_ASSERT_EQUAL(dunlin_space_drop(handle, "orders"), 1);
    CU_ASSERT_EQUAL(dunlin_space_drop(handle, "orders"), -ENOENT);
    CU_ASSERT_EQUAL(get(s, "a", DUNLIN_LOCAL), -ENOENT);
    CU_ASSERT_EQUAL(get(s, "a", DUNLIN_LINEARIZABLE), -ENOENT);
    CU_ASSERT_EQUAL(put(s, "a", "2", NULL), -ENOENT);
    CU_ASSERT_EQUAL(dunlin_watch_next(watch, &event, 1, 2 * NS_PER_S), -ENOENT);
    /* What was mapped stays mapped. */
    CU_ASSERT_EQUAL(memcmp(view.value, "seen", 4), 0);
    dunlin_watch_close(watch);
    CU_ASSERT_EQUAL(put(real, "a", "1", NULL), 0);
    CU_ASSERT_EQUAL(get(real, "a", DUNLIN_LINEARIZABLE), 0);
    end();
}

/* A put is the first to meet that it is gone. */
static void a_write_says_that_it_is_gone(void)
{
    begin(2);
    CU_ASSERT_EQUAL(dunlin_space_create(handle, "orders", 0, WORDS), 1);
    struct dunlin_space *s = orders();
    CU_ASSERT_EQUAL(put(s, "a", "1", NULL), 0);
    CU_ASSERT_EQUAL(dunlin_space_drop(handle, "orders"), 1);
    CU_ASSERT_EQUAL(put(s, "a", "2", NULL), -ENOENT);
    CU_ASSERT_EQUAL(put(s, "b", "2", NULL), -ENOENT);
    end();
}

/* Ask until it is found again, which is tried now and then. */
static int put_patiently(struct dunlin_space *s, struct dunlin_version *version)
{
    int error = -ENOENT;
    for (unsigned i = 0; i < 1000 && error == -ENOENT; i++) {
        error = put(s, "a", "x", version);
        if (error == -ENOENT)
            (void)usleep(1000);
    }
    return error;
}

static void versions_of_one_that_is_made_again_grow(void)
{
    begin(2);
    struct dunlin_version last = {.lsn = 0}, version;
    struct dunlin_space *s = NULL;
    for (unsigned i = 0; i < ROUNDS; i++) {
        /* With other shards, too: what the handle knew of them is no use. */
        const char *words = i % 2 == 0 ? WORDS : "name=orders\nquota=16MiB\nshards=7\n";
        CU_ASSERT_EQUAL_FATAL(dunlin_space_create(handle, "orders", i % 3 == 0 ? 9 : 0, words),
                              i % 3 == 0 ? 9 : 1);
        if (s == NULL)
            s = orders();
        CU_ASSERT_EQUAL_FATAL(put_patiently(s, &version), 0);
        CU_ASSERT_TRUE(version.lsn > last.lsn);
        CU_ASSERT_EQUAL(get(s, "a", DUNLIN_LINEARIZABLE), 0);
        last = version;
        CU_ASSERT_EQUAL(dunlin_space_drop(handle, "orders"), i % 3 == 0 ? 9 : 1);
        CU_ASSERT_EQUAL(get(s, "a", i % 2 == 0 ? DUNLIN_LOCAL : DUNLIN_LINEARIZABLE), -ENOENT);
    }
    end();
}

static void what_is_altered_counts_at_once(void)
{
    static char big[60000];
    char key[16];
    int error = 0;
    uint32_t fit = 0, more = 0;
    begin(1);
    CU_ASSERT_EQUAL(dunlin_space_create(handle, "orders", 0, "name=orders\nquota=8MiB\nshards=1\n"),
                    1);
    struct dunlin_space *s = orders();
    for (; error == 0 && fit < 2000; fit++) {
        (void)snprintf(key, sizeof key, "k%u", fit);
        error = dunlin_put(s, key, strlen(key), big, sizeof big, NULL);
    }
    CU_ASSERT_EQUAL(error, -EDQUOT);
    CU_ASSERT_EQUAL(dunlin_space_alter(handle, "orders", "quota=64MiB\n"), -EDQUOT);
    CU_ASSERT_EQUAL(dunlin_space_alter(handle, "orders", "shards=2\n"), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_space_alter(handle, "real", "history=2\n"), -EPERM);
    CU_ASSERT_EQUAL(dunlin_space_alter(handle, "none", "history=2\n"), -ENOENT);
    CU_ASSERT_EQUAL(dunlin_space_alter(handle, "orders", "quota=32MiB\nhistory=3\n"), 1);
    for (error = 0; error == 0 && more < 2000; more++) {
        (void)snprintf(key, sizeof key, "m%u", more);
        error = dunlin_put(s, key, strlen(key), big, sizeof big, NULL);
    }
    CU_ASSERT_EQUAL(error, -EDQUOT);
    CU_ASSERT_TRUE(more > 2 * fit); /* three times as much on top of it */
    CU_ASSERT_EQUAL(dunlin_space_alter(handle, "orders", "quota=8MiB\n"), 1);
    CU_ASSERT_EQUAL(dunlin_put(s, "n", 1, big, sizeof big, NULL), -EDQUOT);
    CU_ASSERT_EQUAL(get(s, "m0", DUNLIN_LINEARIZABLE), -ENOBUFS); /* and it is read all the same */
    struct dunlin_version first, second;
    CU_ASSERT_EQUAL(dunlin_space_alter(handle, "orders", "quota=32MiB\n"), 1);
    CU_ASSERT_EQUAL(dunlin_delete(s, "m0", 2, NULL), 0);
    CU_ASSERT_EQUAL(put(s, "h", "1", &first), 0);
    CU_ASSERT_EQUAL(put(s, "h", "2", &second), 0);
    struct dunlin_read read = {.mode = DUNLIN_LOCAL, .at = first};
    char value[8];
    CU_ASSERT_EQUAL(dunlin_get(s, "h", 1, value, sizeof value, &read), 0);
    CU_ASSERT_EQUAL(value[0], '1'); /* history is kept from then on */
    end();
}

/* ---- under way ---- */

static _Atomic bool traffic_ends;
static _Atomic unsigned traffic_bad, traffic_done, traffic_gone;

/* What is written all the time, and what it may be told. */
static void *traffic(void *argument)
{
    const char *name = argument;
    struct dunlin *d = NULL;
    struct dunlin_space *s = NULL;
    uint64_t last = 0;
    if (dunlin_open(&(struct dunlin_options){.socket = node->path}, &d) != 0)
        return NULL;
    while (!atomic_load_explicit(&traffic_ends, memory_order_acquire)) {
        struct dunlin_version version;
        if (s == NULL && dunlin_space(d, name, &s) != 0) {
            (void)usleep(100);
            continue;
        }
        int error = put(s, "k", "x", &version);
        bool ok = error == 0 && version.lsn > last;
        bool gone = error == -ENOENT || error == -EOWNERDEAD;
        if (ok)
            last = version.lsn;
        /* relaxed, all: counts */
        atomic_fetch_add_explicit(&traffic_done, ok, memory_order_relaxed);
        atomic_fetch_add_explicit(&traffic_gone, gone, memory_order_relaxed);
        bool bad = name[0] == 'r' ? error != 0 : !ok && !gone;
        if (bad)
            (void)fprintf(stderr, "%s: %d lsn %llu after %llu\n", name, error,
                          (unsigned long long)version.lsn, (unsigned long long)last);
        atomic_fetch_add_explicit(&traffic_bad, bad, memory_order_relaxed);
    }
    dunlin_close(d);
    return NULL;
}

static void others_do_not_notice(void)
{
    static char names[2][8] = {"real", "orders"};
    pthread_t threads[2];
    begin(2);
    /* relaxed: no thread runs */
    atomic_store_explicit(&traffic_ends, false, memory_order_relaxed);
    for (unsigned i = 0; i < 2; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, traffic, names[i]), 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned before = atomic_load_explicit(&traffic_done, memory_order_relaxed);
        CU_ASSERT_EQUAL(dunlin_space_create(handle, "orders", 0, WORDS), 1);
        for (unsigned n = 0; n < 5000; n++) {
            if (atomic_load_explicit(&traffic_done, memory_order_relaxed) > before + 300)
                break;
            (void)usleep(1000);
        }
        CU_ASSERT_EQUAL(dunlin_space_alter(handle, "orders", "history=2\n"), 1);
        CU_ASSERT_EQUAL(dunlin_space_drop(handle, "orders"), 1);
    }
    atomic_store_explicit(&traffic_ends, true, memory_order_release);
    for (unsigned i = 0; i < 2; i++)
        CU_ASSERT_EQUAL(pthread_join(threads[i], NULL), 0);
    CU_ASSERT_EQUAL(atomic_load_explicit(&traffic_bad, memory_order_relaxed), 0);
    CU_ASSERT_TRUE(atomic_load_explicit(&traffic_done, memory_order_relaxed) > ROUNDS);
    CU_ASSERT_TRUE(atomic_load_explicit(&traffic_gone, memory_order_relaxed) >= ROUNDS / 2);
    end();
}

/* What was submitted and not answered ends with it. */
static void what_is_under_way_ends(void)
{
    begin(2);
    CU_ASSERT_EQUAL(dunlin_space_create(handle, "orders", 0, WORDS), 1);
    struct dunlin_space *s = orders();
    struct dunlin *other;
    struct dunlin_space *its;
    struct dunlin_completion done[64];
    CU_ASSERT_EQUAL_FATAL(dunlin_open(&(struct dunlin_options){.socket = node->path}, &other), 0);
    CU_ASSERT_EQUAL_FATAL(dunlin_space(other, "orders", &its), 0);
    unsigned submitted = 0, ended = 0;
    for (unsigned i = 0; i < 40; i++) {
        char key[8];
        (void)snprintf(key, sizeof key, "k%u", i);
        const struct dunlin_write w = {.operation = DUNLIN_PUT,
                                       .key = key,
                                       .key_length = strlen(key),
                                       .value = "v",
                                       .value_length = 1};
        submitted += dunlin_submit(its, &w) == 0;
        if (i == 20)
            CU_ASSERT_EQUAL(dunlin_space_drop(handle, "orders"), 1);
    }
    for (size_t n = 1; n != 0 && ended < submitted; ended += (unsigned)n) {
        n = dunlin_poll(other, done, 64, 2 * NS_PER_S);
        for (size_t i = 0; i < n; i++)
            CU_ASSERT_TRUE(done[i].result == 0 || done[i].result == -ENOENT ||
                           done[i].result == -EOWNERDEAD);
    }
    CU_ASSERT_EQUAL(ended, submitted);
    CU_ASSERT_TRUE(submitted >= 20);
    CU_ASSERT_EQUAL(get(s, "k0", DUNLIN_LINEARIZABLE), -ENOENT);
    dunlin_close(other);
    end();
}

static const struct unit_test tests[] = {
    UNIT_TEST(one_that_is_made_is_used_at_once), UNIT_TEST(one_that_is_dropped_is_not_there),
    UNIT_TEST(a_write_says_that_it_is_gone),     UNIT_TEST(versions_of_one_that_is_made_again_grow),
    UNIT_TEST(what_is_altered_counts_at_once),   UNIT_TEST(others_do_not_notice),
    UNIT_TEST(what_is_under_way_ends),
};
UNIT_MAIN("agent_space", tests)
