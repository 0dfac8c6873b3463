#include "bench/append_cleaning.h"

#include "bench/keys.h"
#include "bench/passes.h"
#include "bench/rig.h"
#include "engine/clock.h"

#include <stdio.h>
#include <stdlib.h>

#define KEYS_FIRST 1024u
#define KEY_BITS 24u
#define SHARDS 16u
#define QUOTA_BYTES (UINT64_C(256) << 20)
#define BATCH 64u
#define USED_FULL                                                                                  \
    0.80 /* or what the quota admits: a quarter of the log's memory stays for the cleaner */
#define USED_EMPTY 0.20
#define ROUNDS 2u     /* of the arena, before measuring */
#define HOT_SHARE 10u /* of the keys, which get all but that part of the writes */

static const struct pairs_goal goal_full = {PAIRS_AT_MOST, 1.5};

struct side {
    struct rig *rig;
    struct passes passes;
    uint64_t keys;
    uint64_t position;
    bool is_skewed;
    uint64_t cleaned, appended; /* over the measurements */
};

static double used_of(const struct rig *r)
{
    const struct layout_geometry *g = &r->space->geometry;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < g->shard_count; i++) {
        const struct shard *s = r->space->shards[i];
        bytes += s->live_charge;
        bytes += (uint64_t)(index_pages(&s->index) + s->order.frame_count) << g->segment_shift;
    }
    return (double)bytes / (double)(layout_frame_count(g) << g->segment_shift);
}

/* New keys in random order, until so much is in use or the quota is used up. */
static int fill(struct side *s, double used)
{
    uint32_t numbers[BATCH];
    int rc = 0;
    while (rc == 0 && used_of(s->rig) < used) {
        for (uint32_t i = 0; i < BATCH; i++)
            numbers[i] = keys_shuffle(s->keys + i, KEY_BITS);
        rc = rig_pass(s->rig, numbers, BATCH);
        s->keys += rc == 0 ? BATCH : 0;
    }
    return rc == -EDQUOT ? 0 : rc;
}

static uint32_t random_of(uint64_t nth)
{
    uint64_t x = nth * UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return (uint32_t)(x >> 32);
}

static uint32_t key_of(const struct side *s, uint64_t nth)
{
    uint64_t keys = s->keys;
    if (s->is_skewed && nth % HOT_SHARE != 0)
        keys /= HOT_SHARE;
    return keys_shuffle(random_of(nth) * keys >> 32, KEY_BITS);
}

static int overwrite(struct side *s)
{
    uint32_t numbers[BATCH];
    for (uint32_t i = 0; i < BATCH; i++)
        numbers[i] = key_of(s, s->position++);
    return rig_pass(s->rig, numbers, BATCH);
}

/* Until what was appended is so many arenas. */
static int go_round(struct side *s)
{
    uint64_t cleaned, first, now;
    int rc;
    rig_amplification(s->rig, &cleaned, &first);
    do {
        rc = overwrite(s);
        rig_amplification(s->rig, &cleaned, &now);
    } while (rc == 0 && now - first < ROUNDS * QUOTA_BYTES);
    return rc;
}

/* pairs_measure: the writer's own time per write, ns; cleaning comes in lumps and is part of it. */
static int measure(void *context, uint64_t duration_ns, double *value)
{
    struct side *s = context;
    const uint64_t began_ns = clock_boottime_ns(), first = s->position;
    uint64_t cleaned, appended, cleaned_before, appended_before;
    const double own_before =
        histogram_mean(&s->passes.own) * (double)histogram_count(&s->passes.own);
    rig_amplification(s->rig, &cleaned_before, &appended_before);
    int rc;
    do
        rc = overwrite(s);
    while (rc == 0 && clock_boottime_ns() - began_ns < duration_ns);
    if (rc != 0)
        return rc;
    rig_amplification(s->rig, &cleaned, &appended);
    s->cleaned += cleaned - cleaned_before;
    s->appended += appended - appended_before;
    const double own = histogram_mean(&s->passes.own) * (double)histogram_count(&s->passes.own);
    *value = (own - own_before) / (double)(s->position - first);
    return 0;
}

static int side_open(struct side *s, double used, double ticks_per_ns)
{
    const struct rig_shape shape = {.key_count = KEYS_FIRST,
                                    .shard_count = SHARDS,
                                    .quota_bytes = QUOTA_BYTES,
                                    .shuffled = true};
    passes_reset(&s->passes, ticks_per_ns);
    s->rig = rig_new(&shape);
    if (s->rig == NULL)
        return -ENOMEM;
    s->rig->passes = &s->passes;
    return fill(s, used);
}

static double amplification(const struct side *s)
{
    return (double)(s->cleaned + s->appended) / (double)max_u64(s->appended, 1);
}

static int run_row(struct report *r, struct side *sides, const char *name, uint64_t budget_ns)
{
    const uint64_t deadline_ns = clock_boottime_ns() + budget_ns;
    const struct pairs_side test = {measure, &sides[0]};
    const struct pairs_baseline baseline = {{measure, &sides[1]}, goal_full};
    struct report_against to = {"the same, a fifth in use", goal_full, {0}};
    int rc = 0;
    for (unsigned i = 0; i < 2 && rc == 0; i++) {
        sides[i].cleaned = sides[i].appended = 0;
        rc = go_round(&sides[i]);
        passes_reset(&sides[i].passes, r->machine.ticks_per_ns);
    }
    const uint64_t now_ns = clock_boottime_ns();
    if (rc == 0)
        rc = pairs_run(&test, &baseline, 1, deadline_ns > now_ns ? deadline_ns - now_ns : 0,
                       &to.judgement);
    if (rc != 0)
        return rc;
    struct report_row *row = report_add_judged(r, name, "ns", &to);
    report_note(
        row,
        "own time, mean; %llu keys (no more are admitted) and %llu: %.0f and %.0f %% of %llu "
        "MiB; write amplification %.2f and %.2f; longest pass of 64 %.0f and %.0f us",
        (unsigned long long)sides[0].keys, (unsigned long long)sides[1].keys,
        100 * used_of(sides[0].rig), 100 * used_of(sides[1].rig),
        (unsigned long long)(QUOTA_BYTES >> 20), amplification(&sides[0]), amplification(&sides[1]),
        (double)histogram_max(&sides[0].passes.own) / 1e3,
        (double)histogram_max(&sides[1].passes.own) / 1e3);
    return 0;
}

int append_cleaning_run(struct report *r, uint64_t budget_ns)
{
    struct side *sides = calloc(2, sizeof *sides);
    if (sides == NULL)
        return -ENOMEM;
    const uint64_t deadline_ns = clock_boottime_ns() + budget_ns;
    int rc = side_open(&sides[0], USED_FULL, r->machine.ticks_per_ns);
    if (rc == 0)
        rc = side_open(&sides[1], USED_EMPTY, r->machine.ticks_per_ns);
    if (rc == 0)
        rc = run_row(r, sides, "write while cleaning, arena full, all keys", budget_ns / 2);
    sides[0].is_skewed = sides[1].is_skewed = true;
    const uint64_t now_ns = clock_boottime_ns();
    if (rc == 0)
        rc = run_row(r, sides, "write while cleaning, arena full, 90/10",
                     deadline_ns > now_ns ? deadline_ns - now_ns : 0);
    rig_delete(sides[0].rig);
    rig_delete(sides[1].rig);
    free(sides);
    return rc;
}
