/* Watches of libdunlin beside a real node. */
#include "control/waker.h"
#include "engine/agent/agent.h"
#include "tests/unit/engine/agent_node.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <unistd.h>

#define WAIT_NS (20 * NS_PER_S)
#define KEYS 40u

static struct agent_node *node;
static struct dunlin *handle;
static struct dunlin_space *space;

static void open_node(const struct agent_node_options *o)
{
    node = agent_node_make(o);
    handle = agent_node_attach(node, 20000, &space);
}

static void close_node(void)
{
    dunlin_close(handle);
    agent_node_free(node);
}

static struct dunlin_watch *watch_of(const char *prefix, const char *pattern, const char *from)
{
    const struct dunlin_watch_options o = {
        .prefix = prefix,
        .prefix_length = prefix != NULL ? strlen(prefix) : 0,
        .pattern = pattern,
        .pattern_length = pattern != NULL ? strlen(pattern) : 0,
        .from = from,
    };
    struct dunlin_watch *w = NULL;
    CU_ASSERT_EQUAL_FATAL(dunlin_watch_open(space, &o, &w), 0);
    return w;
}

static struct dunlin_version put(const char *key, const void *value, size_t length)
{
    struct dunlin_version version = {0};
    CU_ASSERT_EQUAL_FATAL(dunlin_put(space, key, strlen(key), value, length, &version), 0);
    return version;
}

static bool key_is(const struct dunlin_event *e, const char *key)
{
    return e->key_length == strlen(key) && memcmp(e->key, key, e->key_length) == 0;
}

/* The next event; the test ends when there is none. */
static struct dunlin_event next(struct dunlin_watch *w)
{
    struct dunlin_event e = {0};
    CU_ASSERT_EQUAL_FATAL(dunlin_watch_next(w, &e, 1, WAIT_NS), 1);
    return e;
}

static void expect_none(struct dunlin_watch *w)
{
    struct dunlin_event e;
    CU_ASSERT_EQUAL(dunlin_watch_next(w, &e, 1, 0), 0);
}

static void what_is_written_comes_with_all_that_it_is(void)
{
    open_node(&(struct agent_node_options){0});
    (void)put("a/before", "0", 1);
    struct dunlin_watch *w = watch_of("a/", NULL, NULL);
    expect_none(w);
    (void)put("b/other", "x", 1);
    struct dunlin_version version = put("a/k", "value", 5), deleted;
    CU_ASSERT_EQUAL(dunlin_delete(space, "a/k", 3, &deleted), 0);
    struct dunlin_event e = next(w);
    CU_ASSERT_TRUE(key_is(&e, "a/k"));
    CU_ASSERT_EQUAL(e.kind, DUNLIN_EVENT_PUT);
    CU_ASSERT_TRUE(e.value_length == 5 && memcmp(e.value, "value", 5) == 0);
    CU_ASSERT_TRUE(e.version.log == version.log && e.version.lsn == version.lsn);
    CU_ASSERT_TRUE(e.last == 1 && e.clock_ns != 0);
    e = next(w);
    CU_ASSERT_TRUE(key_is(&e, "a/k"));
    CU_ASSERT_EQUAL(e.kind, DUNLIN_EVENT_DELETE);
    CU_ASSERT_PTR_NULL(e.value);
    CU_ASSERT_TRUE(e.version.lsn == deleted.lsn);
    expect_none(w);
    dunlin_watch_close(w);
    close_node();
}

static void every_key_of_every_shard_comes_in_its_order(void)
{
    open_node(&(struct agent_node_options){.lcore_count = 2, .shard_count = 8});
    struct dunlin_watch *w = watch_of(NULL, "k/*", "oldest");
    uint32_t seen[KEYS] = {0}, count = 0;
    struct dunlin_event events[7];
    for (uint32_t round = 1; round <= 20; round++) {
        for (uint32_t i = 0; i < KEYS; i++) {
            char key[32];
            (void)snprintf(key, sizeof key, "k/%u", i);
            (void)put(key, &round, sizeof round);
        }
    }
    while (count < 20 * KEYS) {
        int64_t n = dunlin_watch_next(w, events, 7, WAIT_NS);
        CU_ASSERT_TRUE_FATAL(n > 0);
        for (int64_t i = 0; i < n; i++, count++) {
            uint32_t value, number = (uint32_t)strtoul((const char *)events[i].key + 2, NULL, 10);
            memcpy(&value, events[i].value, sizeof value);
            CU_ASSERT_TRUE_FATAL(number < KEYS);
            CU_ASSERT_EQUAL(value, ++seen[number]);
        }
    }
    expect_none(w);
    dunlin_watch_close(w);
    close_node();
}

static void values_of_any_size_come(void)
{
    open_node(&(struct agent_node_options){.shard_count = 1, .quota_bytes = UINT64_C(256) << 20});
    struct dunlin_watch *w = watch_of(NULL, NULL, "now");
    static uint8_t value[1u << 20];
    for (uint32_t length = 1; length <= (1u << 20); length *= 4) {
        memset(value, (int)(length % 251), length);
        (void)put("k", value, length);
        struct dunlin_event e = next(w);
        CU_ASSERT_EQUAL_FATAL(e.value_length, length);
        CU_ASSERT_EQUAL(memcmp(e.value, value, length), 0);
    }
    dunlin_watch_close(w);
    close_node();
}

static void a_position_goes_on_where_it_was(void)
{
    char text[1024], all[1024];
    open_node(&(struct agent_node_options){0});
    struct dunlin_watch *w = watch_of("k", NULL, "oldest");
    for (uint32_t i = 0; i < 20; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%u", i);
        (void)put(key, "v", 1);
    }
    bool seen[20] = {false};
    for (uint32_t i = 0; i < 20; i++) {
        struct dunlin_event e = next(w);
        uint32_t number = (uint32_t)strtoul((const char *)e.key + 1, NULL, 10);
        CU_ASSERT_TRUE_FATAL(number < 20 && !seen[number]);
        seen[number] = true;
        CU_ASSERT_TRUE(dunlin_watch_position(w, text, sizeof text) > 0);
        dunlin_watch_close(w);
        w = watch_of("k", NULL, text);
    }
    expect_none(w);
    CU_ASSERT_EQUAL(dunlin_watch_position(w, all, 3), -ENOBUFS);
    dunlin_watch_close(w);
    struct dunlin_version version = put("k7", "again", 5);
    (void)snprintf(text, sizeof text, "%llu.%llu", (unsigned long long)version.log,
                   (unsigned long long)version.lsn);
    w = watch_of("k", NULL, text); /* a version is a position */
    struct dunlin_event e = next(w);
    CU_ASSERT_TRUE(key_is(&e, "k7"));
    expect_none(w);
    dunlin_watch_close(w);
    close_node();
}

static void what_cannot_be_is_refused(void)
{
    open_node(&(struct agent_node_options){0});
    struct dunlin_watch *w;
    static const char *const positions[] = {
        "",         "x", "1", "1.", "1.2", "131072.0", "131072.8,", "131072.99999999999999999999",
        "131072.8 "};
    for (size_t i = 0; i < sizeof positions / sizeof positions[0]; i++) {
        const struct dunlin_watch_options o = {.from = positions[i]};
        CU_ASSERT_EQUAL(dunlin_watch_open(space, &o, &w), -EINVAL);
        CU_ASSERT_PTR_NULL(w);
    }
    struct dunlin_watch_options o = {
        .prefix = "a", .prefix_length = 1, .pattern = "b", .pattern_length = 1};
    CU_ASSERT_EQUAL(dunlin_watch_open(space, &o, &w), -EINVAL);
    o = (struct dunlin_watch_options){.pattern = "a/>/b", .pattern_length = 5};
    CU_ASSERT_EQUAL(dunlin_watch_open(space, &o, &w), -EINVAL);
    o = (struct dunlin_watch_options){.prefix = positions, .prefix_length = LIMIT_KEY_BYTES + 1};
    CU_ASSERT_EQUAL(dunlin_watch_open(space, &o, &w), -EMSGSIZE);
    CU_ASSERT_EQUAL(dunlin_watch_open(NULL, NULL, &w), -EINVAL);
    CU_ASSERT_EQUAL_FATAL(dunlin_watch_open(space, NULL, &w), 0);
    struct dunlin_event e;
    CU_ASSERT_EQUAL(dunlin_watch_next(w, &e, 0, 0), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_watch_next(w, NULL, 1, 0), -EINVAL);
    dunlin_watch_close(w);
    dunlin_watch_close(NULL);
    close_node();
}

static void who_lags_is_told_and_goes_on(void)
{
    open_node(&(struct agent_node_options){.shard_count = 1, .quota_bytes = UINT64_C(2) << 20});
    struct dunlin_watch *w = watch_of(NULL, NULL, "oldest");
    static uint8_t value[8000];
    struct dunlin_version version = {0}, from;
    uint64_t missed = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        memcpy(value, &i, sizeof i);
        version = put("k", value, sizeof value);
    }
    struct dunlin_event e;
    CU_ASSERT_EQUAL_FATAL(dunlin_watch_next(w, &e, 1, WAIT_NS), -ENODATA);
    dunlin_watch_lagged(w, &from, &missed);
    CU_ASSERT_TRUE(from.log == version.log && from.lsn <= version.lsn && missed != 0);
    uint32_t expected = 0;
    for (uint32_t number = 0; number < 999; expected = number + 1) {
        e = next(w);
        memcpy(&number, e.value, sizeof number);
        CU_ASSERT_TRUE(e.version.lsn >= from.lsn);
        CU_ASSERT_TRUE(expected == 0 || number == expected);
    }
    CU_ASSERT_EQUAL(expected, 1000);
    expect_none(w);
    dunlin_watch_close(w);
    close_node();
}

/* ---- sleeping ---- */

static void *wait_for_one(void *argument)
{
    struct dunlin_watch *w = argument;
    struct dunlin_event e = {0};
    int64_t count = dunlin_watch_next(w, &e, 1, WAIT_NS);
    return count == 1 && key_is(&e, "wake") ? w : NULL;
}

/* Both handles are of this process, each of one thread. */
static void a_sleeping_watch_is_woken(void)
{
    pthread_t thread;
    void *result = NULL;
    open_node(&(struct agent_node_options){0});
    struct dunlin_space *other_space;
    struct dunlin *other = agent_node_attach(node, 20000, &other_space);
    struct dunlin_watch *w = NULL;
    const struct dunlin_watch_options o = {.prefix = "wake", .prefix_length = 4};
    CU_ASSERT_EQUAL_FATAL(dunlin_watch_open(other_space, &o, &w), 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, wait_for_one, w), 0);
    _Atomic uint32_t *watchers = &node->node.doorbell->watchers;
    while (atomic_load_explicit(watchers, memory_order_relaxed) == 0)
        (void)usleep(1000);
    (void)put("other", "x", 1); /* not for it, and it sleeps on */
    (void)put("wake", "x", 1);
    CU_ASSERT_EQUAL(pthread_join(thread, &result), 0);
    CU_ASSERT_PTR_EQUAL(result, w);
    dunlin_watch_close(w);
    dunlin_close(other);
    close_node();
}

/* Who sleeps is woken once for what was committed, and nobody for nothing. */
static void the_waker_wakes_for_commits_alone(void)
{
    open_node(&(struct agent_node_options){0});
    (void)put("k", "v", 1);
    agent_node_stop_lcores(node);
    struct waker waker = {.node = &node->node};
    _Atomic uint32_t *watchers = &node->node.doorbell->watchers;
    _Atomic uint32_t *round = &node->node.shared->watch_round;
    CU_ASSERT_FALSE(waker_look(&waker)); /* nobody sleeps */
    atomic_store_explicit(watchers, 1, memory_order_relaxed);
    uint32_t before = atomic_load_explicit(round, memory_order_relaxed);
    CU_ASSERT_TRUE(waker_look(&waker)); /* and yet it knows what was committed */
    CU_ASSERT_EQUAL(atomic_load_explicit(round, memory_order_relaxed), before + 1);
    CU_ASSERT_EQUAL(atomic_load_explicit(watchers, memory_order_relaxed), 0);
    atomic_store_explicit(watchers, 1, memory_order_relaxed);
    CU_ASSERT_FALSE(waker_look(&waker));
    CU_ASSERT_EQUAL(atomic_load_explicit(round, memory_order_relaxed), before + 1);
    close_node();
}

static void without_a_daemon_the_time_goes_up(void)
{
    open_node(&(struct agent_node_options){0});
    struct dunlin_watch *w = watch_of(NULL, NULL, "now");
    (void)put("first", "v", 1);
    (void)next(w); /* so that the chunk is mapped */
    (void)put("k", "v", 1);
    agent_node_kill(node);
    struct dunlin_event e = next(w); /* what was committed is still there */
    CU_ASSERT_TRUE(key_is(&e, "k"));
    CU_ASSERT_EQUAL(dunlin_watch_next(w, &e, 1, 20 * NS_PER_MS), -ENOTCONN);
    CU_ASSERT_EQUAL(dunlin_watch_next(w, &e, 1, 0), -ENOTCONN);
    dunlin_watch_close(w);
    close_node();
}

static const struct unit_test tests[] = {
    UNIT_TEST(what_is_written_comes_with_all_that_it_is),
    UNIT_TEST(every_key_of_every_shard_comes_in_its_order),
    UNIT_TEST(values_of_any_size_come),
    UNIT_TEST(a_position_goes_on_where_it_was),
    UNIT_TEST(what_cannot_be_is_refused),
    UNIT_TEST(who_lags_is_told_and_goes_on),
    UNIT_TEST(a_sleeping_watch_is_woken),
    UNIT_TEST(the_waker_wakes_for_commits_alone),
    UNIT_TEST(without_a_daemon_the_time_goes_up),
};
UNIT_MAIN("agent_watch", tests)
