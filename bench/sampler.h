/* sampler - times groups of operations inside one measurement of pairs.h.
 *
 *     sampler_start(s, duration_ns);
 *     do {
 *         uint64_t from = sampler_now();
 *         ... group operations ...
 *         more = sampler_add(s, from, sampler_now());
 *     } while (more);
 *     *value = sampler_finish(s);
 *
 * The first quarter of the time warms caches that the other sides used, and is not counted.  The
 * value is the median group's time per operation, exact, so that a group that the scheduler or the
 * hypervisor interrupted does not move it; such groups stand in the histogram, which collects over
 * all measurements, in picoseconds per operation (report it with SAMPLER_SCALE). */
#ifndef DUNLIN_BENCH_SAMPLER_H
#define DUNLIN_BENCH_SAMPLER_H

#include "bench/histogram.h"

#define SAMPLER_GROUPS_MAX 65536u
#define SAMPLER_GROUPS_MIN 32u /* however long they take: a median of few says nothing */
#define SAMPLER_SCALE 1e-3     /* picoseconds to nanoseconds */

struct sampler {
    uint32_t group; /* operations per group */
    double ticks_per_ns;
    uint64_t ticks_warm, ticks_deadline;
    uint32_t count;
    uint32_t ticks[SAMPLER_GROUPS_MAX];
    struct histogram histogram;
};

/* Owned by the caller until sampler_delete.  NULL: no memory. */
struct sampler *sampler_new(uint32_t group, double ticks_per_ns);
void sampler_delete(struct sampler *s);

void sampler_start(struct sampler *s, uint64_t duration_ns);

/* lfence before: what is timed has finished its loads; it waits for no store. */
static ALWAYS_INLINE uint64_t sampler_now(void)
{
    __builtin_ia32_lfence();
    return __builtin_ia32_rdtsc();
}

/* False when the measurement is over. */
static ALWAYS_INLINE bool sampler_add(struct sampler *s, uint64_t from, uint64_t to)
{
    if (to < s->ticks_warm)
        return true;
    s->ticks[s->count++] = (uint32_t)min_u64(to - from, UINT32_MAX);
    return s->count < SAMPLER_GROUPS_MIN ||
           (to < s->ticks_deadline && s->count < SAMPLER_GROUPS_MAX);
}

/* Nanoseconds per operation of the median group. */
double sampler_finish(struct sampler *s);

/* Nanoseconds per operation, mean over all groups but those longer than SAMPLER_INTERRUPTED_NS: for
 * costs that come in lumps and belong to the operation all the same (cleaning, freeing). */
#define SAMPLER_INTERRUPTED_NS 1000000.0
double sampler_finish_mean(struct sampler *s);

#endif
