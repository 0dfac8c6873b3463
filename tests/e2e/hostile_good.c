#include "tests/e2e/hostile.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define KEYS GOOD_KEYS
#define KEYS_KEPT (KEYS / 2) /* the first ones: never deleted, so that the reader finds them */
#define BIG_KEYS 8u          /* the last ones: values that go through the bulk buffer */
#define VALUE_MAX 200u
#define BIG_VALUE_MAX 60000u
#define READS 16u   /* of each sort, per round */
#define BURST 4096u /* reads in place without a pause: few of them meet a cold cache */
#define PAUSE_MS 2u
#define BATCH 32u
#define TIMEOUT_MS 20000u

struct good {
    struct good_shared *shared;
    struct good_stats *stats;
    struct dunlin *handle;
    struct dunlin_space *space;
    uint64_t random;
    uint64_t sequence;
    uint64_t written[KEYS]; /* sequence of the newest value, 0: none or deleted */
    uint8_t value[BIG_VALUE_MAX];
    uint8_t batch[BATCH][VALUE_MAX];
};

static size_t key_make(char *key, uint32_t number)
{
    return (size_t)snprintf(key, 32, "good-%05" PRIu32, number);
}

static void fault(struct good *g, const char *what, uint32_t key, int64_t detail)
{
    if (g->stats->fault[0] == 0)
        (void)snprintf(g->stats->fault, sizeof g->stats->fault,
                       "%s, key %" PRIu32 " (%" PRId64 "), written %" PRIu64, what, key, detail,
                       g->written[key]);
}

static void wrong(struct good *g, const char *what, uint32_t key, int64_t detail)
{
    g->stats->wrong++;
    fault(g, what, key, detail);
}

static void refused(struct good *g, const char *what, uint32_t key, int error)
{
    g->stats->refused++;
    fault(g, what, key, error);
}

/* Longest operation; begun_ns is of CLOCK_BOOTTIME. */
static void timed(struct good *g, uint64_t begun_ns)
{
    g->stats->worst_ns = max_u64(g->stats->worst_ns, clock_boottime_ns() - begun_ns);
}

/* ---- what is read is what was written
 * ------------------------------------------------------------ */

static void judge(struct good *g, uint32_t key, int result, const void *value, size_t length)
{
    uint64_t sequence = 0;
    g->stats->reads++;
    if (result == -ENOENT) {
        if (g->written[key] != 0)
            wrong(g, "not found although written", key, 0);
    } else if (result != 0) {
        refused(g, "read", key, result);
    } else if (!e2e_value_check(value, length, key, &sequence)) {
        wrong(g, "torn or foreign value", key, (int64_t)length);
    } else if (sequence != g->written[key]) {
        wrong(g, "another value than the newest", key, (int64_t)sequence);
    }
}

static void read_one(struct good *g, uint32_t key, enum dunlin_mode mode)
{
    char name[32];
    size_t length = key_make(name, key);
    struct dunlin_read read = {.mode = mode};
    uint64_t begun_ns = clock_boottime_ns();
    int result = dunlin_get(g->space, name, length, g->value, sizeof g->value, &read);
    timed(g, begun_ns);
    judge(g, key, result, g->value, read.length);
}

static void read_view(struct good *g, uint32_t key)
{
    char name[32];
    size_t length = key_make(name, key);
    struct dunlin_view view = {.read.mode = DUNLIN_LOCAL};
    uint64_t begun_ns = clock_boottime_ns();
    int result = dunlin_view(g->space, name, length, &view);
    if (result != 0) {
        judge(g, key, result, NULL, 0);
        return;
    }
    memcpy(g->value, view.value, view.read.length);
    result = dunlin_release(g->space, &view);
    timed(g, begun_ns);
    /* -ESTALE says itself that the bytes were not safe: that is no wrong read. */
    if (result == 0)
        judge(g, key, 0, g->value, view.read.length);
    else if (result != -ESTALE)
        refused(g, "release", key, result);
}

static void read_batch(struct good *g)
{
    struct dunlin_get_entry entries[BATCH];
    char names[BATCH][32];
    uint32_t keys[BATCH];
    for (uint32_t i = 0; i < BATCH; i++) {
        keys[i] = (uint32_t)(e2e_random(&g->random) % (KEYS - BIG_KEYS));
        entries[i] = (struct dunlin_get_entry){.key = names[i],
                                               .key_length = key_make(names[i], keys[i]),
                                               .buffer = g->batch[i],
                                               .capacity = VALUE_MAX,
                                               .read.mode = DUNLIN_LINEARIZABLE};
    }
    uint64_t begun_ns = clock_boottime_ns();
    int result = dunlin_get_many(g->space, entries, BATCH);
    timed(g, begun_ns);
    if (result != 0) {
        refused(g, "get_many", keys[0], result);
        return;
    }
    for (uint32_t i = 0; i < BATCH; i++)
        judge(g, keys[i], entries[i].result, g->batch[i], entries[i].read.length);
}

/* ---- writing
 * --------------------------------------------------------------------------------------- */

static void put(struct good *g, uint32_t key)
{
    char name[32];
    size_t length = key_make(name, key);
    bool big = key >= KEYS - BIG_KEYS;
    size_t room = (big ? BIG_VALUE_MAX : VALUE_MAX) - E2E_VALUE_MIN;
    size_t size = E2E_VALUE_MIN + e2e_random(&g->random) % room;
    e2e_value_make(g->value, size, key, ++g->sequence);
    atomic_store_explicit(&g->shared->sent[key], g->sequence, memory_order_release);
    uint64_t begun_ns = clock_boottime_ns();
    int result = dunlin_put(g->space, name, length, g->value, size, NULL);
    timed(g, begun_ns);
    if (result == 0) {
        g->written[key] = g->sequence;
        atomic_store_explicit(&g->shared->done[key], g->sequence, memory_order_release);
    } else {
        refused(g, "put", key, result);
    }
    g->stats->writes++;
}

static void drop(struct good *g, uint32_t key)
{
    char name[32];
    size_t length = key_make(name, key);
    uint64_t begun_ns = clock_boottime_ns();
    int result = dunlin_delete(g->space, name, length, NULL);
    timed(g, begun_ns);
    if (result != (g->written[key] != 0 ? 0 : -ENOENT))
        refused(g, "delete", key, result);
    else
        g->written[key] = 0;
    g->stats->writes++;
}

/* ---- rounds
 * ---------------------------------------------------------------------------------------- */

static uint32_t any_key(struct good *g)
{
    return (uint32_t)(e2e_random(&g->random) % KEYS);
}

static void round_of_writes(struct good *g)
{
    for (uint32_t i = 0; i < 4; i++)
        put(g, any_key(g));
    if (e2e_random(&g->random) % 4 == 0)
        put(g, KEYS - 1 - (uint32_t)(e2e_random(&g->random) % BIG_KEYS));
    drop(g, KEYS_KEPT + any_key(g) / 2);
    for (uint32_t i = 0; i < READS; i++) {
        read_one(g, any_key(g), DUNLIN_LOCAL);
        read_one(g, any_key(g), DUNLIN_LINEARIZABLE);
        read_view(g, any_key(g));
    }
    read_batch(g);
}

static void read_in_place(struct good *g)
{
    char name[32];
    uint32_t key = any_key(g) % KEYS_KEPT;
    size_t length = key_make(name, key);
    struct dunlin_read read = {.mode = DUNLIN_LOCAL};
    uint64_t sequence = 0;
    uint64_t oldest = atomic_load_explicit(&g->shared->done[key], memory_order_acquire);
    uint64_t before = clock_tsc_ordered();
    int result = dunlin_get(g->space, name, length, g->value, sizeof g->value, &read);
    uint64_t after = clock_tsc_ordered();
    uint64_t newest = atomic_load_explicit(&g->shared->sent[key], memory_order_acquire);
    histogram_add(&g->stats->in_place_ticks, after - before);
    g->stats->reads++;
    g->written[key] = oldest; /* for the words of a fault */
    if (result != 0)
        wrong(g, "read in place", key, result);
    else if (!e2e_value_check(g->value, read.length, key, &sequence))
        wrong(g, "torn or foreign value in place", key, (int64_t)read.length);
    else if (sequence < oldest || sequence > newest)
        wrong(g, "older or newer than can be", key, (int64_t)sequence);
}

static void burst_of_reads(struct good *g)
{
    for (uint32_t i = 0; i < BURST; i++)
        read_in_place(g);
    e2e_sleep_ms(PAUSE_MS);
}

static void follow_cut(struct good *g, enum good_side side)
{
    uint32_t wanted = atomic_load_explicit(&g->shared->cut_wanted, memory_order_acquire);
    _Atomic uint32_t *done = &g->shared->sides[side].cut_done;
    if (wanted == atomic_load_explicit(done, memory_order_relaxed))
        return;
    struct good_stats *report = &g->shared->sides[side].report;
    histogram_reset(&report->in_place_ticks);
    report->writes = g->stats->writes;
    report->reads = g->stats->reads;
    report->wrong = g->stats->wrong;
    report->refused = g->stats->refused;
    report->worst_ns = g->stats->worst_ns;
    memcpy(report->fault, g->stats->fault, sizeof report->fault);
    histogram_merge(&report->in_place_ticks, &g->stats->in_place_ticks);
    histogram_reset(&g->stats->in_place_ticks);
    g->stats->writes = g->stats->reads = g->stats->wrong = g->stats->refused = 0;
    g->stats->worst_ns = 0;
    g->stats->fault[0] = 0;
    atomic_store_explicit(done, wanted, memory_order_release); /* G1 */
}

void good_run(struct good_shared *shared, enum good_side side, const char *socket_path)
{
    static struct good good;
    struct good *g = &good;
    g->shared = shared;
    g->stats = &shared->sides[side].live;
    g->random = side + 1;
    g->handle = e2e_open(socket_path, TIMEOUT_MS);
    g->space = e2e_space(g->handle, HOSTILE_SHARED);
    if (side == GOOD_WRITER) {
        for (uint32_t key = 0; key < KEYS; key++)
            put(g, key);
        if (dunlin_last_write(g->handle, &shared->last_write) != 0)
            e2e_die("the good agent has written nothing");
        atomic_store_explicit(&shared->ready, 1, memory_order_release);
    }
    for (;;) {
        if (side == GOOD_WRITER)
            round_of_writes(g);
        else
            burst_of_reads(g);
        follow_cut(g, side);
    }
}
