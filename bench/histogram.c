#include "bench/histogram.h"

static uint64_t load(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed); /* relaxed: a counter */
}

static void store(_Atomic uint64_t *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_relaxed); /* relaxed: a counter */
}

void histogram_reset(struct histogram *h)
{
    store(&h->count, 0);
    store(&h->sum, 0);
    store(&h->max, 0);
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        store(&h->buckets[i], 0);
}

uint64_t histogram_bucket_value(uint32_t bucket)
{
    ASSERT(bucket < HISTOGRAM_BUCKETS);
    uint32_t group = bucket >> HISTOGRAM_LINEAR_BITS;
    if (group < 2)
        return bucket;
    uint32_t shift = group - 1;
    uint64_t leading = bucket - (shift << HISTOGRAM_LINEAR_BITS);
    return ((leading + 1) << shift) - 1;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    /* Why count is summed over the buckets: the writer of from may be between two of its stores,
     * and a percentile needs a count that its buckets add up to. */
    uint64_t count = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t times = load(&from->buckets[i]);
        if (times != 0)
            histogram_bump(&into->buckets[i], times);
        count += times;
    }
    histogram_bump(&into->count, count);
    histogram_bump(&into->sum, load(&from->sum));
    if (load(&from->max) > load(&into->max))
        store(&into->max, load(&from->max));
}

uint64_t histogram_count(const struct histogram *h)
{
    return load(&h->count);
}

uint64_t histogram_max(const struct histogram *h)
{
    return load(&h->max);
}

double histogram_mean(const struct histogram *h)
{
    uint64_t count = load(&h->count);
    return count == 0 ? 0 : (double)load(&h->sum) / (double)count;
}

uint64_t histogram_percentile(const struct histogram *h, double fraction)
{
    ASSERT(fraction >= 0 && fraction <= 1);
    uint64_t count = load(&h->count);
    if (count == 0)
        return 0;
    double exact = fraction * (double)count;
    uint64_t rank = (uint64_t)exact;
    if ((double)rank < exact || rank == 0)
        rank++; /* the first value that so many are not above */
    uint64_t passed = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        passed += load(&h->buckets[i]);
        if (passed >= rank)
            return min_u64(histogram_bucket_value(i), load(&h->max));
    }
    return load(&h->max);
}
