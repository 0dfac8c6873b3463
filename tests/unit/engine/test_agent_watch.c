/* Watches of libdunlin beside a real node. */
#include "control/waker.h"
#include "engine/agent/agent.h"
#include "tests/unit/engine/agent_node.h"
#include "tests/unit/unit.h"

#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WAIT_NS (20 * NS_PER_S)
#define KEYS 40u
#define SPACE 2u /* id of the only one */
#define OTHER 3u
#define WATCHED (UINT64_C(1) << (SPACE - 1))

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
    _Atomic uint64_t *watched = &node->node.doorbell->watched;
    while (atomic_load_explicit(watched, memory_order_relaxed) == 0)
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
    _Atomic uint64_t *watched = &node->node.doorbell->watched;
    _Atomic uint32_t *round = &node->node.spaces[SPACE]->header->watch_round;
    CU_ASSERT_FALSE(waker_look(&waker)); /* nobody sleeps */
    atomic_store_explicit(watched, WATCHED, memory_order_relaxed);
    uint32_t before = atomic_load_explicit(round, memory_order_relaxed);
    CU_ASSERT_TRUE(waker_look(&waker)); /* and yet it knows what was committed */
    CU_ASSERT_EQUAL(atomic_load_explicit(round, memory_order_relaxed), before + 1);
    CU_ASSERT_EQUAL(atomic_load_explicit(watched, memory_order_relaxed), 0);
    atomic_store_explicit(watched, WATCHED, memory_order_relaxed);
    CU_ASSERT_FALSE(waker_look(&waker));
    CU_ASSERT_EQUAL(atomic_load_explicit(round, memory_order_relaxed), before + 1);
    close_node();
}

/* Who sleeps for one space is not woken by what another one commits, nor by what a shard was only asked. */
static void commits_of_another_space_wake_nobody(void)
{
    open_node(&(struct agent_node_options){0});
    (void)put("k", "v", 1);
    agent_node_stop_lcores(node);
    struct waker waker = {.node = &node->node};
    _Atomic uint64_t *watched = &node->node.doorbell->watched;
    _Atomic uint32_t *round = &node->node.spaces[SPACE]->header->watch_round;
    _Atomic uint32_t *commits = node->node.shared->lcores[0].commits;
    for (uint32_t i = 0; i < LIMIT_SPACES; i++)
        CU_ASSERT_EQUAL(atomic_load_explicit(&commits[i], memory_order_relaxed) != 0,
                        i == SPACE - 1);
    atomic_store_explicit(watched, WATCHED, memory_order_relaxed);
    CU_ASSERT_TRUE(waker_look(&waker));
    uint32_t before = atomic_load_explicit(round, memory_order_relaxed);
    for (unsigned i = 0; i < 10; i++) {
        /* Those who say that they watch a space that is not here make nobody wake either. */
        atomic_store_explicit(watched, WATCHED | UINT64_C(1) << (OTHER - 1), memory_order_relaxed);
        atomic_fetch_add_explicit(&commits[OTHER - 1], 1, memory_order_release);
        CU_ASSERT_FALSE(waker_look(&waker));
    }
    CU_ASSERT_EQUAL(atomic_load_explicit(round, memory_order_relaxed), before);
    close_node();
}

/* ---- sleepers of the test, that wake nobody ---- */

struct sleeper {
    pthread_t thread;
    _Atomic uint32_t *word;
    uint32_t bits; /* 0: of the round that it finds */
    _Atomic uint32_t *begun, *woken, *done;
};

static void *sleep_on(void *argument)
{
    struct sleeper *s = argument;
    const uint32_t round = atomic_load_explicit(s->word, memory_order_acquire);
    struct timespec until;
    atomic_fetch_add_explicit(s->begun, 1, memory_order_release);
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 20;
    long result;
    do
        result = syscall(SYS_futex, s->word, FUTEX_WAIT_BITSET,
                         s->bits == 0 ? round : atomic_load_explicit(s->word, memory_order_acquire),
                         &until, NULL, s->bits == 0 ? layout_watch_bit(round) : s->bits);
    while (s->bits != 0 && result != 0 && errno == EAGAIN);
    if (result == 0)
        atomic_fetch_add_explicit(s->woken, 1, memory_order_relaxed);
    /* A round that went on before it slept is as good as being woken. */
    const bool good = result == 0 || errno == EAGAIN;
    atomic_fetch_add_explicit(s->done, 1, memory_order_release);
    return good ? s : NULL;
}

static void await_begun(const _Atomic uint32_t *begun, uint32_t count)
{
    while (atomic_load_explicit(begun, memory_order_acquire) != count)
        (void)usleep(100);
}

/* A look wakes a few; where those wake nobody, the next ones wake more, until all are awake. */
static void who_does_not_pass_a_wake_on_holds_nobody_up(void)
{
    enum { SLEEPERS = 40, FIRST = 4 };
    open_node(&(struct agent_node_options){0});
    agent_node_stop_lcores(node);
    struct waker waker = {.node = &node->node};
    struct sleeper sleepers[SLEEPERS];
    _Atomic uint32_t begun = 0, woken = 0, done = 0;
    for (uint32_t i = 0; i < SLEEPERS; i++) {
        sleepers[i] = (struct sleeper){.word = &node->node.spaces[SPACE]->header->watch_round,
                                       .begun = &begun,
                                       .woken = &woken,
                                       .done = &done};
        CU_ASSERT_EQUAL_FATAL(pthread_create(&sleepers[i].thread, NULL, sleep_on, &sleepers[i]), 0);
    }
    /* Why: who finds the next round sleeps until one that never comes. */
    await_begun(&begun, SLEEPERS);
    atomic_store_explicit(&node->node.doorbell->watched, WATCHED, memory_order_relaxed);
    atomic_fetch_add_explicit(&node->node.shared->lcores[0].commits[SPACE - 1], 1,
                              memory_order_release);
    CU_ASSERT_TRUE(waker_look(&waker));
    CU_ASSERT(atomic_load_explicit(&woken, memory_order_relaxed) <= FIRST);
    while (atomic_load_explicit(&done, memory_order_acquire) != SLEEPERS) {
        (void)waker_look(&waker);
        (void)usleep(100);
    }
    for (uint32_t i = 0; i < SLEEPERS; i++) {
        void *result = NULL;
        CU_ASSERT_EQUAL(pthread_join(sleepers[i].thread, &result), 0);
        CU_ASSERT_PTR_NOT_NULL(result);
    }
    for (uint32_t looks = 0; waker_look(&waker); looks++)
        CU_ASSERT_FATAL(looks < 10); /* it ends when nobody is left */
    close_node();
}

/* Who sleeps in dunlin_watch_next and is woken wakes others that slept through the same round: rounds 0 and 1
 * are the test's, which wakes but the watch; the other thread sleeps under bits of its own. */
static void who_is_woken_wakes_others(void)
{
    pthread_t thread;
    void *result = NULL;
    open_node(&(struct agent_node_options){0});
    _Atomic uint32_t *round = &node->node.spaces[SPACE]->header->watch_round;
    _Atomic uint32_t begun = 0, woken = 0, done = 0;
    struct sleeper other = {
        .word = round, .bits = 0xf0, .begun = &begun, .woken = &woken, .done = &done};
    struct dunlin_space *other_space;
    struct dunlin *other_handle = agent_node_attach(node, 20000, &other_space);
    struct dunlin_watch *w = NULL;
    const struct dunlin_watch_options o = {.prefix = "wake", .prefix_length = 4};
    CU_ASSERT_EQUAL_FATAL(dunlin_watch_open(other_space, &o, &w), 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, wait_for_one, w), 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&other.thread, NULL, sleep_on, &other), 0);
    await_begun(&begun, 1);
    for (uint32_t now = 1; atomic_load_explicit(&done, memory_order_acquire) == 0; now = 1 - now) {
        atomic_store_explicit(round, now, memory_order_seq_cst);
        (void)syscall(SYS_futex, round, FUTEX_WAKE_BITSET, 1, NULL, NULL,
                      layout_watch_bit(1 - now));
        (void)usleep(1000);
    }
    CU_ASSERT_EQUAL(pthread_join(other.thread, &result), 0);
    CU_ASSERT_PTR_NOT_NULL(result);
    CU_ASSERT_EQUAL(woken, 1);
    (void)put("wake", "x", 1);
    CU_ASSERT_EQUAL(pthread_join(thread, &result), 0);
    CU_ASSERT_PTR_EQUAL(result, w);
    dunlin_watch_close(w);
    dunlin_close(other_handle);
    close_node();
}

/* While nobody sleeps there is nobody to be prompt for, whatever is committed. */
static void the_waker_looks_seldom_where_nobody_sleeps(void)
{
    open_node(&(struct agent_node_options){0});
    agent_node_stop_lcores(node);
    struct waker waker = {.node = &node->node};
    _Atomic uint64_t *watched = &node->node.doorbell->watched;
    _Atomic uint32_t *commits = &node->node.shared->lcores[0].commits[SPACE - 1];
    const uint64_t prompt_ms = waker_pause_ms(&waker);
    for (unsigned i = 0; i < 1000; i++) {
        atomic_fetch_add_explicit(commits, 1, memory_order_release);
        CU_ASSERT_FALSE(waker_look(&waker));
    }
    CU_ASSERT(waker_pause_ms(&waker) > prompt_ms);
    for (unsigned i = 0; i < 1000; i++) {
        atomic_store_explicit(watched, WATCHED, memory_order_relaxed);
        atomic_fetch_add_explicit(commits, 1, memory_order_release);
        CU_ASSERT_TRUE(waker_look(&waker));
        CU_ASSERT_EQUAL(waker_pause_ms(&waker), prompt_ms);
    }
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
    CU_ASSERT_EQUAL(dunlin_watch_next(w, &e, 1, NS_PER_S), -ENOTCONN);
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
    UNIT_TEST(commits_of_another_space_wake_nobody),
    UNIT_TEST(who_does_not_pass_a_wake_on_holds_nobody_up),
    UNIT_TEST(who_is_woken_wakes_others),
    UNIT_TEST(the_waker_looks_seldom_where_nobody_sleeps),
    UNIT_TEST(without_a_daemon_the_time_goes_up),
};
UNIT_MAIN("agent_watch", tests)
