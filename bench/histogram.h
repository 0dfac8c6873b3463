/* histogram - how often each value occurred, to 0.8 %, in fixed memory.
 *
 * Log-linear: below 2^HISTOGRAM_LINEAR_BITS each value has its own bucket, above it each power of
 * two has 2^HISTOGRAM_LINEAR_BITS of them.  Values from 2^HISTOGRAM_VALUE_BITS on count as the
 * greatest bucket (in nanoseconds: 18 minutes); max is exact all the same.
 * No pointer in it, and all zeros is an empty one, so it may lie in memory that processes share.
 * One writer at a time; others may read meanwhile and see each bucket whole, though not all of the
 * same instant: take percentiles of a copy made with histogram_merge into an empty one.
 * Source: Tene, HdrHistogram. */
#ifndef DUNLIN_BENCH_HISTOGRAM_H
#define DUNLIN_BENCH_HISTOGRAM_H

#include "engine/base.h"

#define HISTOGRAM_LINEAR_BITS 7u
#define HISTOGRAM_VALUE_BITS 40u
#define HISTOGRAM_BUCKETS                                                                          \
    ((HISTOGRAM_VALUE_BITS - HISTOGRAM_LINEAR_BITS + 1u) << HISTOGRAM_LINEAR_BITS)

struct histogram {
    _Atomic uint64_t count;
    _Atomic uint64_t sum; /* of all values: the mean is exact */
    _Atomic uint64_t max;
    _Atomic uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_reset(struct histogram *h);

static ALWAYS_INLINE uint32_t histogram_bucket(uint64_t value)
{
    if (value < (UINT64_C(1) << HISTOGRAM_LINEAR_BITS))
        return (uint32_t)value;
    if (value >= (UINT64_C(1) << HISTOGRAM_VALUE_BITS))
        return HISTOGRAM_BUCKETS - 1;
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(value) - HISTOGRAM_LINEAR_BITS;
    return (shift << HISTOGRAM_LINEAR_BITS) + (uint32_t)(value >> shift);
}

/* Greatest value that falls into a bucket. */
uint64_t histogram_bucket_value(uint32_t bucket);

/* relaxed: a counter with one writer; who reads it meanwhile wants no order */
static ALWAYS_INLINE void histogram_bump(_Atomic uint64_t *word, uint64_t by)
{
    uint64_t old = atomic_load_explicit(word, memory_order_relaxed);
    atomic_store_explicit(word, old + by, memory_order_relaxed);
}

/* Count a value times times. */
static ALWAYS_INLINE void histogram_add_many(struct histogram *h, uint64_t value, uint64_t times)
{
    histogram_bump(&h->buckets[histogram_bucket(value)], times);
    histogram_bump(&h->count, times);
    histogram_bump(&h->sum, value * times);
    /* relaxed: as in histogram_bump */
    if (UNLIKELY(value > atomic_load_explicit(&h->max, memory_order_relaxed)))
        atomic_store_explicit(&h->max, value, memory_order_relaxed);
}

static ALWAYS_INLINE void histogram_add(struct histogram *h, uint64_t value)
{
    histogram_add_many(h, value, 1);
}

/* Add all of from to into; from may have its writer at work. */
void histogram_merge(struct histogram *into, const struct histogram *from);

uint64_t histogram_count(const struct histogram *h);
uint64_t histogram_max(const struct histogram *h);
double histogram_mean(const struct histogram *h); /* 0 when empty */

/* Smallest value that at least fraction (0 .. 1) of all are not above, up to a bucket's width and
 * never above max: 0.5 is the median, 0.999 the p99.9.  0 when empty. */
uint64_t histogram_percentile(const struct histogram *h, double fraction);

#endif
