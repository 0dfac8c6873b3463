#include "bench/append_watchers.h"

#include "bench/machine.h"
#include "engine/clock.h"
#include "engine/cursor.h"

#include <pthread.h>
#include <stdlib.h>

#define WATCHERS 1000u
#define BATCH 64u
#define BYTES (64u << 10)
#define PAUSE_NS (16 * NS_PER_MS) /* as libdunlin's, where much is written and nothing matches */

static const struct pairs_goal goal_nothing = {PAIRS_AT_MOST, 1.1};

struct watchers {
    pthread_t thread;
    struct read_space space;
    struct topic topic;
    struct cursor *cursors; /* WATCHERS of shard 0, of shard 1 ... */
    uint8_t *bytes;
    uint32_t cpu;
    _Atomic bool on, stop;
    _Atomic uint64_t reads, lagged;
};

struct side {
    struct rig_side rig;
    struct watchers *watchers;
    bool watched;
};

static void nap(uint64_t ns)
{
    const struct timespec pause = {.tv_nsec = (long)ns};
    (void)nanosleep(&pause, NULL);
}

/* A bounded part of what is new, as one call of a watch. */
static void read_some(struct watchers *w, struct cursor *c)
{
    struct cursor_batch b = {.bytes = w->bytes, .capacity = BYTES};
    int result = cursor_read(c, &w->space, &w->topic, &b);
    if (result == -ENODATA) {
        (void)cursor_resume(c, &w->space);
        atomic_fetch_add_explicit(&w->lagged, 1, memory_order_relaxed);
    }
    /* relaxed: counts */
    atomic_fetch_add_explicit(&w->reads, result == 1, memory_order_relaxed);
}

static void *watch(void *argument)
{
    struct watchers *w = argument;
    uint32_t count = WATCHERS * w->space.geometry.shard_count;
    (void)!machine_pin(
        w->cpu); /* on one processor they share it: the row says what it then costs */
    while (!atomic_load_explicit(&w->stop, memory_order_acquire)) {
        uint64_t began_ns = clock_boottime_ns();
        for (uint32_t i = 0; i < count && atomic_load_explicit(&w->on, memory_order_relaxed); i++)
            if (cursor_has_more(&w->cursors[i], &w->space))
                read_some(w, &w->cursors[i]);
        uint64_t took_ns = clock_boottime_ns() - began_ns;
        if (took_ns < PAUSE_NS)
            nap(PAUSE_NS - took_ns);
    }
    return NULL;
}

static int watchers_open(struct watchers *w, const struct rig *rig, uint32_t cpu)
{
    const struct node_space *s = rig->space;
    uint32_t shards = s->geometry.shard_count;
    *w = (struct watchers){
        .space = {.arena = s->arena,
                  .mapped_bytes = (uint64_t)s->geometry.chunk_count_max << s->geometry.chunk_shift,
                  .geometry = s->geometry,
                  .boards = s->boards,
                  .directory = s->directory,
                  .node = rig->node.shared},
        .cursors = calloc((size_t)WATCHERS * shards, sizeof *w->cursors),
        .bytes = aligned_alloc(CACHE_LINE, BYTES),
        .cpu = cpu,
    };
    if (w->cursors == NULL || w->bytes == NULL ||
        topic_prefix(&w->topic, "nobody writes this/", 19) != 0)
        return -ENOMEM;
    for (uint32_t i = 0; i < WATCHERS * shards; i++)
        w->cursors[i] = (struct cursor){.shard = i / WATCHERS, .start = CURSOR_NOW};
    return -pthread_create(&w->thread, NULL, watch, w);
}

static void watchers_close(struct watchers *w, bool running)
{
    atomic_store_explicit(&w->stop, true, memory_order_release);
    if (running)
        (void)pthread_join(w->thread, NULL);
    free(w->cursors);
    free(w->bytes);
}

/* pairs_measure: a write's cost with the watchers reading, or waiting. */
static int measure(void *context, uint64_t duration_ns, double *value)
{
    struct side *s = context;
    atomic_store_explicit(&s->watchers->on, s->watched, memory_order_relaxed);
    return rig_measure(&s->rig, duration_ns, value);
}

int append_watchers_run(struct report *r, struct rig *rig, const struct append_watchers_cpus *cpus,
                        uint64_t budget_ns)
{
    struct watchers watchers;
    struct sampler *samplers[2] = {sampler_new(BATCH, r->machine.ticks_per_ns),
                                   sampler_new(BATCH, r->machine.ticks_per_ns)};
    int rc = samplers[0] != NULL && samplers[1] != NULL ? machine_pin(cpus->writer) : -ENOMEM;
    int opened = watchers_open(&watchers, rig, cpus->watchers);
    rc = rc < 0 ? rc : opened;
    if (rc == 0) {
        struct side sides[2];
        for (unsigned i = 0; i < 2; i++)
            sides[i] = (struct side){
                .rig = {.rig = rig, .batch = BATCH, .sampler = samplers[i]},
                .watchers = &watchers,
                .watched = i == 0,
            };
        struct pairs_side test = {measure, &sides[0]};
        struct pairs_baseline baseline = {{measure, &sides[1]}, goal_nothing};
        struct report_against to = {"nobody watches", goal_nothing, {0}};
        rc = pairs_run(&test, &baseline, 1, budget_ns, &to.judgement);
        if (rc == 0) {
            struct report_row *row =
                report_add_judged(r, "write, batch 64, 1,000 watchers", "ns", &to);
            report_percentiles(row, &samplers[0]->histogram, SAMPLER_SCALE);
            report_note(
                row,
                "their cursors read on another core, %llu strides of up to 64 KiB, and "
                "lagged %llu times",
                (unsigned long long)atomic_load_explicit(&watchers.reads, memory_order_relaxed),
                (unsigned long long)atomic_load_explicit(&watchers.lagged, memory_order_relaxed));
        }
    }
    watchers_close(&watchers, opened == 0);
    sampler_delete(samplers[0]);
    sampler_delete(samplers[1]);
    return rc;
}
