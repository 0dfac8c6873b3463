#include "bench/append_growth.h"

#include "bench/keys.h"
#include "bench/passes.h"
#include "bench/rig.h"
#include "engine/clock.h"
#include "engine/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_FIRST 1024u
#define KEYS_LAST 10000000u
#define KEY_BITS 24u /* that many and more */
#define BATCH 64u

_Static_assert(KEYS_LAST <= UINT32_C(1) << KEY_BITS, "each key is new");

static const struct pairs_goal goal_own = {PAIRS_AT_MOST, (double)PASSES_LONG_NS};

struct growth {
    struct rig *rig;
    struct passes passes[2]; /* while it grows, and when it has grown */
    uint64_t keys;           /* written */
    uint64_t overwritten;
    uint64_t steps, longest_ns; /* passes that did more than their writes; they were not put off */
};

/* What tells that a pass did more than 64 writes and moved as many buckets as go with those: an index began
 * or ended to grow, memory was taken or given back, or a segment was cleaned. */
struct state {
    uint64_t growing, frames_fresh, frames_free, frames_retired, segments_freed;
};

static struct state state_of(const struct rig *r)
{
    /* relaxed: written by this thread */
    struct state s = {.segments_freed =
                          atomic_load_explicit(&r->lcore->counters->value[COUNTER_SEGMENTS_FREED],
                                               memory_order_relaxed)};
    for (uint32_t i = 0; i < r->shape.shard_count; i++) {
        const struct shard *shard = r->space->shards[i];
        s.growing += shard->index.growing;
        s.frames_fresh += shard->frames.fresh_next;
        s.frames_free += shard->frames.free_count;
        s.frames_retired += shard->reclaim.count;
    }
    return s;
}

/* New keys in random order. */
static int grow(struct growth *g, uint64_t deadline_ns)
{
    uint32_t numbers[BATCH];
    int rc = 0;
    g->rig->passes = &g->passes[0];
    while (rc == 0 && g->keys < KEYS_LAST && clock_boottime_ns() < deadline_ns) {
        for (uint32_t i = 0; i < BATCH; i++)
            numbers[i] = keys_shuffle(g->keys++, KEY_BITS);
        const struct state before = state_of(g->rig);
        rc = rig_pass(g->rig, numbers, BATCH);
        const struct state after = state_of(g->rig);
        if (memcmp(&before, &after, sizeof before) == 0 || g->passes[0].was_switched)
            continue;
        g->steps++;
        g->longest_ns = max_u64(g->longest_ns, g->passes[0].own_ns);
    }
    return rc;
}

/* Any of them, as often. */
static int stay(struct growth *g, uint64_t deadline_ns)
{
    uint32_t numbers[BATCH];
    int rc = 0;
    g->rig->passes = &g->passes[1];
    while (rc == 0 && g->overwritten < g->keys && clock_boottime_ns() < deadline_ns) {
        for (uint32_t i = 0; i < BATCH; i++) {
            uint64_t nth = keys_shuffle(g->overwritten++, KEY_BITS) * g->keys >> KEY_BITS;
            numbers[i] = keys_shuffle(nth, KEY_BITS);
        }
        rc = rig_pass(g->rig, numbers, BATCH);
    }
    return rc;
}

static void note(struct report_row *row, const struct passes *p)
{
    report_note(row,
                "own time: p99.99 %.1f us, longest %.1f; by the clock: p99.99 %.1f, longest %.1f; "
                "longer than 1 ms: %llu by the clock, %llu of its own (%llu put off, %llu with "
                "page faults)",
                (double)histogram_percentile(&p->own, 0.9999) / 1e3,
                (double)histogram_max(&p->own) / 1e3,
                (double)histogram_percentile(&p->clock, 0.9999) / 1e3,
                (double)histogram_max(&p->clock) / 1e3, (unsigned long long)p->count_clock,
                (unsigned long long)p->count_own, (unsigned long long)p->count_switched,
                (unsigned long long)p->count_faulting);
}

static struct report_row *add_passes(struct report *r, const char *name, const struct passes *p)
{
    struct report_row *row = report_add(r, name, "ns", (double)histogram_percentile(&p->own, 0.5));
    report_percentiles(row, &p->own, 1);
    note(row, p);
    return row;
}

/* Missed by a pass that nobody interrupted and that did more than its neighbours, or by more than one in a
 * thousand, it is missed.  By others alone nothing can be said: they do what thousands do in a fraction of the
 * time, and what they are charged with is not all theirs (a hypervisor that takes pages away and brings them
 * back makes dozens in a row long, the first most). */
static void judge(struct report_row *row, const struct growth *g)
{
    report_goal(row, goal_own);
    if (row->judgement.verdict == PAIRS_FAIL && g->longest_ns <= PASSES_LONG_NS &&
        histogram_percentile(&g->passes[0].own, 0.999) <= PASSES_LONG_NS)
        row->judgement.verdict = PAIRS_UNDECIDED;
}

static void add_rows(struct report *r, const struct growth *g)
{
    char name[64];
    const uint32_t shards = g->rig->shape.shard_count;
    (void)snprintf(name, sizeof name, "pass of 64 writes, keys grow, %u shards", shards);
    add_passes(r, name, &g->passes[0]);
    (void)snprintf(name, sizeof name, "pass of 64 writes, they have grown, %u shards", shards);
    add_passes(r, name, &g->passes[1]);
    (void)snprintf(name, sizeof name, "longest pass while keys grow, %u shards", shards);
    struct report_row *row = report_add(r, name, "ns", (double)histogram_max(&g->passes[0].own));
    row->samples = histogram_count(&g->passes[0].own);
    if (g->keys >= KEYS_LAST)
        judge(row, g);
    report_note(
        row,
        "the thread's own time; 1,024 to %llu keys%s; of passes that were not put off %.0f "
        "ns, and of the %llu of them that began or ended a growth, took or freed memory %.0f; "
        "when all have grown %.0f, not put off %.0f",
        (unsigned long long)g->keys,
        g->keys < KEYS_LAST ? " (no time for 10,000,000: try more --seconds)" : "",
        (double)g->passes[0].longest_ns, (unsigned long long)g->steps, (double)g->longest_ns,
        (double)histogram_max(&g->passes[1].own), (double)g->passes[1].longest_ns);
}

static int run_shape(struct report *r, uint32_t shards, uint64_t budget_ns)
{
    const struct rig_shape shape = {
        .key_count = KEYS_FIRST,
        .shard_count = shards,
        .quota_bytes = rig_quota_for(KEYS_LAST),
        .shuffled = true,
        .grows = true,
    };
    const uint64_t began_ns = clock_boottime_ns();
    struct growth *g = calloc(1, sizeof *g);
    int rc = -ENOMEM;
    if (g == NULL)
        return rc;
    for (unsigned i = 0; i < 2; i++)
        passes_reset(&g->passes[i], r->machine.ticks_per_ns);
    g->rig = rig_new(&shape);
    if (g->rig != NULL)
        rc = grow(g, began_ns + budget_ns * 3 / 4);
    if (rc == 0)
        rc = stay(g, began_ns + budget_ns);
    if (rc == 0)
        add_rows(r, g);
    rig_delete(g->rig);
    free(g);
    return rc;
}

int append_growth_run(struct report *r, uint64_t budget_ns)
{
    static const uint32_t shards[] = {16, 1};
    int rc = 0;
    for (size_t i = 0; i < 2 && rc == 0; i++)
        rc = run_shape(r, shards[i], budget_ns / 2);
    return rc;
}
