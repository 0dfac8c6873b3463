#include "tests/e2e/good.h"

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

struct worker {
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

static void fault(struct worker *w, const char *what, uint32_t key, int64_t detail)
{
    if (w->stats->fault[0] == 0)
        (void)snprintf(w->stats->fault, sizeof w->stats->fault,
                       "%s, key %" PRIu32 " (%" PRId64 "), written %" PRIu64, what, key, detail,
                       w->written[key]);
}

static void wrong(struct worker *w, const char *what, uint32_t key, int64_t detail)
{
    w->stats->wrong++;
    fault(w, what, key, detail);
}

static void refused(struct worker *w, const char *what, uint32_t key, int error)
{
    w->stats->refused++;
    fault(w, what, key, error);
}

/* Longest operation; begun_ns is of CLOCK_BOOTTIME. */
static void timed(struct worker *w, uint64_t begun_ns)
{
    w->stats->worst_ns = max_u64(w->stats->worst_ns, clock_boottime_ns() - begun_ns);
}

/* ---- what is read is what was written ---- */

static void judge(struct worker *w, uint32_t key, int result, const void *value, size_t length)
{
    uint64_t sequence = 0;
    w->stats->reads++;
    if (result == -ENOENT) {
        if (w->written[key] != 0)
            wrong(w, "not found although written", key, 0);
    } else if (result != 0) {
        refused(w, "read", key, result);
    } else if (!e2e_value_check(value, length, key, &sequence)) {
        wrong(w, "torn or foreign value", key, (int64_t)length);
    } else if (sequence != w->written[key]) {
        wrong(w, "another value than the newest", key, (int64_t)sequence);
    }
}

static void read_one(struct worker *w, uint32_t key, enum dunlin_mode mode)
{
    char name[32];
    size_t length = key_make(name, key);
    struct dunlin_read read = {.mode = mode};
    uint64_t begun_ns = clock_boottime_ns();
    int result = dunlin_get(w->space, name, length, w->value, sizeof w->value, &read);
    timed(w, begun_ns);
    judge(w, key, result, w->value, read.length);
}

static void read_view(struct worker *w, uint32_t key)
{
    char name[32];
    size_t length = key_make(name, key);
    struct dunlin_view view = {.read.mode = DUNLIN_LOCAL};
    uint64_t begun_ns = clock_boottime_ns();
    int result = dunlin_view(w->space, name, length, &view);
    if (result == -EAGAIN) { /* it may say so of a key that changes too fast */
        read_one(w, key, DUNLIN_LOCAL);
        return;
    }
    if (result != 0) {
        judge(w, key, result, NULL, 0);
        return;
    }
    memcpy(w->value, view.value, view.read.length);
    result = dunlin_release(w->space, &view);
    timed(w, begun_ns);
    /* -ESTALE says itself that the bytes were not safe: that is no wrong read. */
    if (result == 0)
        judge(w, key, 0, w->value, view.read.length);
    else if (result != -ESTALE)
        refused(w, "release", key, result);
}

static void read_batch(struct worker *w)
{
    struct dunlin_get_entry entries[BATCH];
    char names[BATCH][32];
    uint32_t keys[BATCH];
    for (uint32_t i = 0; i < BATCH; i++) {
        keys[i] = (uint32_t)(e2e_random(&w->random) % (KEYS - BIG_KEYS));
        entries[i] = (struct dunlin_get_entry){.key = names[i],
                                               .key_length = key_make(names[i], keys[i]),
                                               .buffer = w->batch[i],
                                               .capacity = VALUE_MAX,
                                               .read.mode = DUNLIN_LINEARIZABLE};
    }
    uint64_t begun_ns = clock_boottime_ns();
    int result = dunlin_get_many(w->space, entries, BATCH);
    timed(w, begun_ns);
    if (result != 0) {
        refused(w, "get_many", keys[0], result);
        return;
    }
    for (uint32_t i = 0; i < BATCH; i++)
        judge(w, keys[i], entries[i].result, w->batch[i], entries[i].read.length);
}

/* ---- writing ---- */

static void put(struct worker *w, uint32_t key)
{
    char name[32];
    size_t length = key_make(name, key);
    bool big = key >= KEYS - BIG_KEYS;
    size_t room = (big ? BIG_VALUE_MAX : VALUE_MAX) - E2E_VALUE_MIN;
    size_t size = E2E_VALUE_MIN + e2e_random(&w->random) % room;
    e2e_value_make(w->value, size, key, ++w->sequence);
    atomic_store_explicit(&w->shared->sent[key], w->sequence, memory_order_release);
    uint64_t begun_ns = clock_boottime_ns();
    int result = dunlin_put(w->space, name, length, w->value, size, NULL);
    timed(w, begun_ns);
    if (result == 0) {
        w->written[key] = w->sequence;
        atomic_store_explicit(&w->shared->done[key], w->sequence, memory_order_release);
    } else {
        refused(w, "put", key, result);
    }
    w->stats->writes++;
}

static void drop(struct worker *w, uint32_t key)
{
    char name[32];
    size_t length = key_make(name, key);
    uint64_t begun_ns = clock_boottime_ns();
    int result = dunlin_delete(w->space, name, length, NULL);
    timed(w, begun_ns);
    if (result != (w->written[key] != 0 ? 0 : -ENOENT))
        refused(w, "delete", key, result);
    else
        w->written[key] = 0;
    w->stats->writes++;
}

/* ---- rounds ---- */

static uint32_t any_key(struct worker *w)
{
    return (uint32_t)(e2e_random(&w->random) % KEYS);
}

static void round_of_writes(struct worker *w)
{
    for (uint32_t i = 0; i < 4; i++)
        put(w, any_key(w));
    if (e2e_random(&w->random) % 4 == 0)
        put(w, KEYS - 1 - (uint32_t)(e2e_random(&w->random) % BIG_KEYS));
    drop(w, KEYS_KEPT + any_key(w) / 2);
    for (uint32_t i = 0; i < READS; i++) {
        read_one(w, any_key(w), DUNLIN_LOCAL);
        read_one(w, any_key(w), DUNLIN_LINEARIZABLE);
        read_view(w, any_key(w));
    }
    read_batch(w);
}

static void read_in_place(struct worker *w)
{
    char name[32];
    uint32_t key = any_key(w) % KEYS_KEPT;
    size_t length = key_make(name, key);
    struct dunlin_read read = {.mode = DUNLIN_LOCAL};
    uint64_t sequence = 0;
    uint64_t oldest = atomic_load_explicit(&w->shared->done[key], memory_order_acquire);
    uint64_t before = clock_tsc_ordered();
    int result = dunlin_get(w->space, name, length, w->value, sizeof w->value, &read);
    uint64_t after = clock_tsc_ordered();
    uint64_t newest = atomic_load_explicit(&w->shared->sent[key], memory_order_acquire);
    histogram_add(&w->stats->in_place_ticks, after - before);
    w->stats->reads++;
    w->written[key] = oldest; /* for the words of a fault */
    if (result != 0)
        wrong(w, "read in place", key, result);
    else if (!e2e_value_check(w->value, read.length, key, &sequence))
        wrong(w, "torn or foreign value in place", key, (int64_t)read.length);
    else if (sequence < oldest || sequence > newest)
        wrong(w, "older or newer than can be", key, (int64_t)sequence);
}

static void burst_of_reads(struct worker *w)
{
    for (uint32_t i = 0; i < BURST; i++)
        read_in_place(w);
    e2e_sleep_ms(PAUSE_MS);
}

static void follow_cut(struct worker *w, enum good_side side)
{
    uint32_t wanted = atomic_load_explicit(&w->shared->cut_wanted, memory_order_acquire);
    _Atomic uint32_t *done = &w->shared->sides[side].cut_done;
    if (wanted == atomic_load_explicit(done, memory_order_relaxed))
        return;
    struct good_stats *report = &w->shared->sides[side].report;
    histogram_reset(&report->in_place_ticks);
    report->writes = w->stats->writes;
    report->reads = w->stats->reads;
    report->wrong = w->stats->wrong;
    report->refused = w->stats->refused;
    report->worst_ns = w->stats->worst_ns;
    memcpy(report->fault, w->stats->fault, sizeof report->fault);
    histogram_merge(&report->in_place_ticks, &w->stats->in_place_ticks);
    histogram_reset(&w->stats->in_place_ticks);
    w->stats->writes = w->stats->reads = w->stats->wrong = w->stats->refused = 0;
    w->stats->worst_ns = 0;
    w->stats->fault[0] = 0;
    atomic_store_explicit(done, wanted, memory_order_release); /* G1 */
}

void good_run(const struct good *good, enum good_side side)
{
    static struct worker worker;
    struct worker *w = &worker;
    struct good_shared *shared = good->shared;
    w->shared = shared;
    w->stats = &shared->sides[side].live;
    w->random = side + 1;
    w->handle = e2e_open(good->socket, TIMEOUT_MS);
    w->space = e2e_space(w->handle, good->space);
    if (side == GOOD_WRITER) {
        for (uint32_t key = 0; key < KEYS; key++)
            put(w, key);
        if (dunlin_last_write(w->handle, &shared->last_write) != 0)
            e2e_die("the good agent has written nothing");
        atomic_store_explicit(&shared->ready, 1, memory_order_release);
    }
    for (;;) {
        if (side == GOOD_WRITER)
            round_of_writes(w);
        else
            burst_of_reads(w);
        follow_cut(w, side);
    }
}
