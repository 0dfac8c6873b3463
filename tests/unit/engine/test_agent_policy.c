/* What becomes of asynchronous writes that find no room, against a daemon that takes nothing until it is told
 * to (agent_fake.h). */
#include "tests/unit/engine/agent_fake.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <unistd.h>

#define W LIMIT_SESSION_WINDOW
#define LONG_MS 20000

static struct fake *f;
static struct dunlin *d;
static struct dunlin_space *s;
static struct dunlin_completion done[4 * W];

static void open_with(uint64_t timeout_ms, struct dunlin_policy policy)
{
    f = fake_make(1);
    d = fake_attach(f, timeout_ms, &s);
    CU_ASSERT_EQUAL_FATAL(dunlin_space_policy(s, &policy), 0);
}

static void close_all(void)
{
    CU_ASSERT_TRUE(fake_applied_once(f));
    dunlin_close(d);
    fake_free(f);
}

static void set_frozen(bool frozen)
{
    fake_lock(f);
    f->frozen = frozen;
    fake_unlock(f);
}

static int submit(const char *key, const char *value, uint64_t context)
{
    const struct dunlin_write w = {.operation = DUNLIN_PUT,
                                   .key = key,
                                   .key_length = strlen(key),
                                   .value = value,
                                   .value_length = strlen(value),
                                   .context = context};
    return dunlin_submit(s, &w);
}

/* Fill the window of k's shard while the daemon takes nothing; contexts 0 to W - 1. */
static void fill_window(void)
{
    set_frozen(true);
    for (uint64_t i = 0; i < W; i++)
        CU_ASSERT_EQUAL_FATAL(submit("k", "early", i), 0);
}

static size_t poll_all(size_t count)
{
    size_t got = 0, n = 1;
    for (; got < count && n != 0; got += n)
        n = dunlin_poll(d, done + got, count - got, 5 * NS_PER_S);
    return got;
}

static struct dunlin_info info(void)
{
    struct dunlin_info i;
    dunlin_info(d, &i);
    return i;
}

static bool holds(const char *key, const char *value)
{
    char buffer[64];
    struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
    return dunlin_get(s, key, strlen(key), buffer, sizeof buffer, &read) == 0 &&
           read.length == strlen(value) && memcmp(buffer, value, read.length) == 0;
}

/* A key of the same shard as "k", other than it; each number another one. */
static void neighbour(unsigned number, char key[16])
{
    int64_t shard = dunlin_shard(s, "k", 1);
    for (unsigned n = 0, found = 0; found <= number; n++) {
        (void)snprintf(key, 16, "n%u", n);
        found += dunlin_shard(s, key, strlen(key)) == shard;
    }
}

/* ---- block ---- */

static void *thaw_later(void *unused)
{
    (void)unused;
    (void)usleep(30000);
    set_frozen(false);
    return NULL;
}

static void a_write_waits_for_room(void)
{
    pthread_t thread;
    open_with(LONG_MS, (struct dunlin_policy){.kind = DUNLIN_BLOCK});
    fill_window();
    CU_ASSERT_EQUAL(info().writes_blocked, 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, thaw_later, NULL), 0);
    CU_ASSERT_EQUAL(submit("k", "late", W), 0);
    (void)pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(info().writes_blocked, 1);
    CU_ASSERT_EQUAL(poll_all(W + 1), W + 1);
    for (uint64_t i = 0; i <= W; i++)
        CU_ASSERT(done[i].context == i && done[i].result == 0);
    CU_ASSERT_TRUE(holds("k", "late"));
    close_all();
}

static void it_waits_no_longer_than_the_timeout(void)
{
    open_with(1000, (struct dunlin_policy){.kind = DUNLIN_BLOCK});
    fill_window();
    CU_ASSERT_EQUAL(submit("k", "late", W), -EAGAIN);
    CU_ASSERT_EQUAL(info().writes_blocked, 1);
    CU_ASSERT_EQUAL(dunlin_in_flight(d), W);
    set_frozen(false);
    CU_ASSERT_EQUAL(poll_all(W), W);
    CU_ASSERT_EQUAL(submit("k", "later", 0), 0);
    CU_ASSERT_EQUAL(poll_all(1), 1);
    fake_kill(f);
    (void)usleep(2000); /* longer than libdunlin goes without a look at the socket */
    CU_ASSERT_EQUAL(submit("k", "never", 0), -ENOTCONN);
    fake_restart(f);
    close_all();
}

/* What is done and not collected is no room that comes by waiting. */
static void it_does_not_wait_for_who_must_poll(void)
{
    open_with(LONG_MS, (struct dunlin_policy){.kind = DUNLIN_BLOCK});
    uint32_t count = 0;
    uint64_t blocked;
    while (submit("k", "v", 0) == 0)
        count++;
    CU_ASSERT(count > W && count < LIMIT_AGENT_OPERATIONS);
    blocked = info().writes_blocked;
    CU_ASSERT_EQUAL(submit("k", "v", 0), -EAGAIN);
    CU_ASSERT_EQUAL(info().writes_blocked, blocked + 1);
    CU_ASSERT_EQUAL(poll_all(1), 1);
    CU_ASSERT_EQUAL(submit("k", "v", 0), 0);
    close_all();
}

/* ---- drop ---- */

static void the_newest_is_dropped(void)
{
    open_with(LONG_MS, (struct dunlin_policy){.kind = DUNLIN_DROP});
    fill_window();
    for (uint64_t i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(submit("k", "late", W + i), -EBUSY);
    CU_ASSERT_EQUAL(info().writes_dropped, 5);
    CU_ASSERT_EQUAL(dunlin_in_flight(d), W);
    set_frozen(false);
    CU_ASSERT_EQUAL(poll_all(W), W);
    CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), W);
    CU_ASSERT_TRUE(holds("k", "early"));
    CU_ASSERT_EQUAL(submit("k", "late", 0), 0);
    CU_ASSERT_EQUAL(poll_all(1), 1);
    CU_ASSERT_EQUAL(info().writes_dropped, 5);
    close_all();
}

/* Who only submits is served as well: a full window is looked at once more. */
static void answers_that_came_make_room(void)
{
    uint32_t dropped = 0;
    open_with(LONG_MS, (struct dunlin_policy){.kind = DUNLIN_DROP});
    for (uint64_t i = 0; i < 3 * W; i++)
        while (submit("k", "v", i) != 0) {
            dropped++;
            (void)usleep(100);
        }
    CU_ASSERT_EQUAL(info().writes_dropped, dropped);
    CU_ASSERT_EQUAL(poll_all(3 * W), 3 * W);
    close_all();
}

/* ---- conflate ---- */

static void the_latest_of_a_key_waits(void)
{
    char value[16], other[16];
    open_with(LONG_MS, (struct dunlin_policy){.kind = DUNLIN_CONFLATE});
    neighbour(0, other);
    fill_window();
    for (uint64_t i = 0; i < 10; i++) {
        (void)snprintf(value, sizeof value, "late%u", (unsigned)i);
        CU_ASSERT_EQUAL(submit("k", value, 100 + i), 0);
        if (i == 4)
            CU_ASSERT_EQUAL(submit(other, "other", 200), 0);
    }
    CU_ASSERT_EQUAL(info().writes_conflated, 9);
    CU_ASSERT_EQUAL(dunlin_in_flight(d), W + 2);
    CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), 0);
    set_frozen(false);
    CU_ASSERT_EQUAL(poll_all(W + 2), W + 2);
    for (uint64_t i = 0; i < W; i++)
        CU_ASSERT(done[i].context == i && done[i].result == 0 && done[i].conflated == 0);
    CU_ASSERT_EQUAL(done[W].context, 109);
    CU_ASSERT_EQUAL(done[W].conflated, 9);
    CU_ASSERT_EQUAL(done[W].result, 0);
    CU_ASSERT(done[W].version.lsn > done[W - 1].version.lsn);
    CU_ASSERT_EQUAL(done[W + 1].context, 200);
    CU_ASSERT_EQUAL(done[W + 1].conflated, 0);
    CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), W + 2);
    CU_ASSERT_TRUE(holds("k", "late9"));
    CU_ASSERT_TRUE(holds(other, "other"));
    CU_ASSERT_EQUAL(dunlin_in_flight(d), 0);
    close_all();
}

static void a_delete_takes_the_place_of_a_put(void)
{
    open_with(LONG_MS, (struct dunlin_policy){.kind = DUNLIN_CONFLATE});
    fill_window();
    const struct dunlin_write gone = {
        .operation = DUNLIN_DELETE, .key = "k", .key_length = 1, .context = 7};
    CU_ASSERT_EQUAL(submit("k", "late", 6), 0);
    CU_ASSERT_EQUAL(dunlin_submit(s, &gone), 0);
    set_frozen(false);
    CU_ASSERT_EQUAL(poll_all(W + 1), W + 1);
    CU_ASSERT(done[W].context == 7 && done[W].result == 0 && done[W].conflated == 1);
    CU_ASSERT_FALSE(holds("k", "late"));
    CU_ASSERT_FALSE(holds("k", "early"));
    close_all();
}

static void what_cannot_be_replaced_is_refused(void)
{
    char big[65], other[16], third[16];
    memset(big, 'b', sizeof big);
    open_with(LONG_MS,
              (struct dunlin_policy){.kind = DUNLIN_CONFLATE, .capacity = 2, .value_max = 64});
    neighbour(0, other);
    neighbour(1, third);
    fill_window();
    const struct dunlin_write compare = {
        .operation = DUNLIN_PUT, .key = "k", .key_length = 1, .compare = 1};
    const struct dunlin_write sum = {.operation = DUNLIN_INCREMENT, .key = "k", .key_length = 1};
    const struct dunlin_write large = {.operation = DUNLIN_PUT,
                                       .key = "k",
                                       .key_length = 1,
                                       .value = big,
                                       .value_length = sizeof big};
    const struct dunlin_write plain = {.operation = DUNLIN_PUT, .key = "k", .key_length = 1};
    const struct dunlin_transaction t = {.then_writes = &plain, .then_count = 1};
    for (int waits = 0; waits < 2; waits++) {
        CU_ASSERT_EQUAL(dunlin_submit(s, &compare), -EAGAIN);
        CU_ASSERT_EQUAL(dunlin_submit(s, &sum), -EAGAIN);
        CU_ASSERT_EQUAL(dunlin_submit(s, &large), -EAGAIN);
        CU_ASSERT_EQUAL(dunlin_submit_transaction(s, &t, 0), -EAGAIN);
        CU_ASSERT_EQUAL(submit("k", "small", 500), 0);
    }
    CU_ASSERT_EQUAL(submit(other, "v", 501), 0);
    CU_ASSERT_EQUAL(submit(third, "v", 502), -EAGAIN); /* the table is full */
    CU_ASSERT_EQUAL(submit(other, "v", 503), 0);
    CU_ASSERT_EQUAL(info().writes_conflated, 2);
    set_frozen(false);
    CU_ASSERT_EQUAL(poll_all(W + 2), W + 2);
    CU_ASSERT_EQUAL(done[W].conflated, 1);
    CU_ASSERT_EQUAL(done[W + 1].context, 503);
    CU_ASSERT_EQUAL(submit(third, "v", 504), 0);
    CU_ASSERT_EQUAL(poll_all(1), 1);
    close_all();
}

/* A call that waits comes behind what waits of its key. */
static void a_call_does_not_overtake(void)
{
    pthread_t thread;
    open_with(LONG_MS, (struct dunlin_policy){.kind = DUNLIN_CONFLATE});
    fill_window();
    CU_ASSERT_EQUAL(submit("k", "late", W), 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, thaw_later, NULL), 0);
    CU_ASSERT_EQUAL(dunlin_put(s, "k", 1, "last", 4, NULL), 0);
    (void)pthread_join(thread, NULL);
    CU_ASSERT_TRUE(holds("k", "last"));
    CU_ASSERT_EQUAL(poll_all(W + 1), W + 1);
    CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), W + 2);
    close_all();
}

/* ---- the daemon dies ---- */

static void what_waits_goes_to_the_next_daemon(void)
{
    open_with(LONG_MS, (struct dunlin_policy){.kind = DUNLIN_CONFLATE});
    fill_window();
    CU_ASSERT_EQUAL(submit("k", "late", 100), 0);
    CU_ASSERT_EQUAL(submit("k", "later", 101), 0);
    fake_kill(f);
    set_frozen(false);
    fake_restart(f);
    CU_ASSERT_EQUAL(poll_all(W + 1), W + 1);
    CU_ASSERT_EQUAL(done[W].context, 101);
    CU_ASSERT_EQUAL(done[W].conflated, 1);
    CU_ASSERT_EQUAL(done[W].result, 0);
    CU_ASSERT_TRUE(holds("k", "later"));
    close_all();
}

static void what_waits_is_given_up_in_time(void)
{
    open_with(1000, (struct dunlin_policy){.kind = DUNLIN_CONFLATE});
    fill_window();
    CU_ASSERT_EQUAL(submit("k", "late", 100), 0);
    CU_ASSERT_EQUAL(submit("k", "later", 101), 0);
    const struct dunlin_policy other = {.kind = DUNLIN_DROP};
    CU_ASSERT_EQUAL(dunlin_space_policy(s, &other), -EAGAIN);
    fake_kill(f);
    CU_ASSERT_EQUAL(poll_all(W + 1), W + 1);
    uint32_t found = 0;
    for (size_t i = 0; i < W + 1; i++) {
        if (done[i].context != 101)
            continue;
        found++;
        CU_ASSERT_EQUAL(done[i].result, -ENOTCONN);
        CU_ASSERT_EQUAL(done[i].conflated, 1);
        CU_ASSERT_PTR_EQUAL(done[i].space, s);
        CU_ASSERT_EQUAL(done[i].version.lsn, 0);
    }
    CU_ASSERT_EQUAL(found, 1);
    CU_ASSERT_EQUAL(dunlin_in_flight(d), 0);
    CU_ASSERT_EQUAL(dunlin_space_policy(s, &other), 0);
    fake_restart(f);
    close_all();
}

/* ---- sample ---- */

static void one_of_so_many_is_kept(void)
{
    open_with(LONG_MS, (struct dunlin_policy){.kind = DUNLIN_SAMPLE, .every = 4});
    for (uint64_t i = 0; i < 12; i++)
        CU_ASSERT_EQUAL(submit("k", "v", i), i % 4 == 0 ? 0 : -EBUSY);
    CU_ASSERT_EQUAL(info().writes_sampled, 9);
    CU_ASSERT_EQUAL(info().writes_dropped, 0);
    CU_ASSERT_EQUAL(poll_all(3), 3);
    CU_ASSERT_EQUAL(done[2].context, 8);
    close_all();
}

/* One that is chosen and finds no room is dropped; the next takes its place. */
static void no_room_delays_the_sample(void)
{
    open_with(LONG_MS, (struct dunlin_policy){.kind = DUNLIN_REFUSE});
    const struct dunlin_policy sample = {.kind = DUNLIN_SAMPLE, .every = 2};
    fill_window();
    CU_ASSERT_EQUAL(dunlin_space_policy(s, &sample), 0);
    CU_ASSERT_EQUAL(submit("k", "v", 0), -EBUSY);
    CU_ASSERT_EQUAL(submit("k", "v", 0), -EBUSY);
    CU_ASSERT_EQUAL(info().writes_dropped, 2);
    CU_ASSERT_EQUAL(info().writes_sampled, 0);
    set_frozen(false);
    CU_ASSERT_EQUAL(poll_all(W), W);
    CU_ASSERT_EQUAL(submit("k", "v", 0), 0);
    CU_ASSERT_EQUAL(submit("k", "v", 0), -EBUSY);
    CU_ASSERT_EQUAL(info().writes_sampled, 1);
    CU_ASSERT_EQUAL(poll_all(1), 1);
    close_all();
}

static void one_per_interval_and_key_is_kept(void)
{
    open_with(LONG_MS,
              (struct dunlin_policy){.kind = DUNLIN_SAMPLE, .interval_ns = 3600 * NS_PER_S});
    CU_ASSERT_EQUAL(submit("a", "v", 0), 0);
    CU_ASSERT_EQUAL(submit("b", "v", 1), 0);
    for (uint64_t i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(submit("a", "v", 2), -EBUSY);
        CU_ASSERT_EQUAL(submit("b", "v", 2), -EBUSY);
    }
    CU_ASSERT_EQUAL(info().writes_sampled, 10);
    const struct dunlin_policy always = {.kind = DUNLIN_SAMPLE, .interval_ns = 1};
    CU_ASSERT_EQUAL(dunlin_space_policy(s, &always), 0);
    CU_ASSERT_EQUAL(submit("a", "v", 3), 0);
    (void)usleep(1000);
    CU_ASSERT_EQUAL(submit("a", "v", 4), 0);
    CU_ASSERT_EQUAL(poll_all(4), 4);
    close_all();
}

/* ---- what is no policy ---- */

static void bad_policies_are_refused(void)
{
    open_with(LONG_MS, (struct dunlin_policy){.kind = DUNLIN_REFUSE});
    const struct dunlin_policy bad[] = {
        {.kind = (enum dunlin_policy_kind)5},
        {.kind = DUNLIN_SAMPLE},
        {.kind = DUNLIN_SAMPLE, .every = 1, .interval_ns = 1},
        {.kind = DUNLIN_DROP, .every = 2},
        {.kind = DUNLIN_BLOCK, .interval_ns = 2},
        {.kind = DUNLIN_CONFLATE, .capacity = 65537},
        {.kind = DUNLIN_CONFLATE, .value_max = (1u << 20) + 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CU_ASSERT_EQUAL(dunlin_space_policy(s, &bad[i]), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_space_policy(NULL, &bad[0]), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_space_policy(s, NULL), -EINVAL);
    fill_window();
    CU_ASSERT_EQUAL(submit("k", "v", 0), -EAGAIN);
    set_frozen(false);
    CU_ASSERT_EQUAL(poll_all(W), W);
    close_all();
}

/* ---- at random ---- */

#define RANDOM_KEYS 24u
#define RANDOM_WRITES 6000u

/* Every write is answered for once, by its own completion or by the one that replaced it; and the newest
 * value of each key is the last. */
static void nothing_is_lost_or_told_twice(void)
{
    uint64_t seed = 11, told = 0, refused = 0;
    char values[RANDOM_KEYS][16] = {{0}};
    char key[16];
    open_with(LONG_MS, (struct dunlin_policy){.kind = DUNLIN_CONFLATE, .capacity = 16});
    for (uint32_t i = 0; i < RANDOM_WRITES; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
        uint32_t number = (uint32_t)(seed >> 40) % RANDOM_KEYS;
        char value[16];
        (void)snprintf(key, sizeof key, "key%u", number);
        (void)snprintf(value, sizeof value, "%u", i);
        if (i % 500 == 0)
            set_frozen(i % 1000 == 0);
        int error = submit(key, value, number);
        CU_ASSERT(error == 0 || error == -EAGAIN);
        refused += error != 0;
        if (error == 0)
            memcpy(values[number], value, sizeof value);
        size_t count = i % 16 == 0 ? dunlin_poll(d, done, W, 0) : 0;
        for (size_t c = 0; c < count; c++)
            told += 1 + done[c].conflated;
    }
    set_frozen(false);
    for (size_t count = 1; dunlin_in_flight(d) != 0 && count != 0;) {
        count = dunlin_poll(d, done, W, 5 * NS_PER_S);
        for (size_t c = 0; c < count; c++) {
            CU_ASSERT_EQUAL(done[c].result, 0);
            told += 1 + done[c].conflated;
        }
    }
    CU_ASSERT_EQUAL(told + refused, RANDOM_WRITES);
    CU_ASSERT(info().writes_conflated > 100);
    CU_ASSERT_EQUAL(fake_read(f, &f->applied_count),
                    RANDOM_WRITES - refused - info().writes_conflated);
    for (uint32_t i = 0; i < RANDOM_KEYS; i++) {
        (void)snprintf(key, sizeof key, "key%u", i);
        CU_ASSERT_TRUE(holds(key, values[i]));
    }
    close_all();
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_write_waits_for_room),
    UNIT_TEST(it_waits_no_longer_than_the_timeout),
    UNIT_TEST(it_does_not_wait_for_who_must_poll),
    UNIT_TEST(the_newest_is_dropped),
    UNIT_TEST(answers_that_came_make_room),
    UNIT_TEST(the_latest_of_a_key_waits),
    UNIT_TEST(a_delete_takes_the_place_of_a_put),
    UNIT_TEST(what_cannot_be_replaced_is_refused),
    UNIT_TEST(a_call_does_not_overtake),
    UNIT_TEST(what_waits_goes_to_the_next_daemon),
    UNIT_TEST(what_waits_is_given_up_in_time),
    UNIT_TEST(one_of_so_many_is_kept),
    UNIT_TEST(no_room_delays_the_sample),
    UNIT_TEST(one_per_interval_and_key_is_kept),
    UNIT_TEST(bad_policies_are_refused),
    UNIT_TEST(nothing_is_lost_or_told_twice),
};
UNIT_MAIN("agent_policy", tests)
