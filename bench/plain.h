/* plain - baselines of the read bench that are nothing but memory: what a read costs at the least.
 *
 * Two arrays in memory made as a space's chunks are (engine/memory.h): one of the size of the
 * shards' indexes, in lines, and one of as many records as there are keys, of a record's size and
 * stride. */
#ifndef DUNLIN_BENCH_PLAIN_H
#define DUNLIN_BENCH_PLAIN_H

#include "bench/pairs.h"
#include "bench/sampler.h"
#include "engine/memory.h"

struct plain_shape {
    uint64_t index_bytes;
    uint32_t key_bits;     /* 2^key_bits records */
    uint32_t record_bytes; /* stride */
    uint32_t value_offset; /* in a record */
    uint32_t record_lines; /* cache lines that a record covers, rounded */
};

struct plain {
    struct plain_shape shape;
    struct memory index, records;
    struct sampler *dependent_sampler, *lines_sampler;
    uint64_t position;
    bool chained; /* each read waits for the one before */
};

/* Returns 0 or -errno with nothing left behind. */
MUST_USE int plain_open(struct plain *p, const struct plain_shape *shape, double ticks_per_ns);
void plain_close(struct plain *p);

/* pairs_measure of one index line, then the record that it names, whose value is copied. */
int plain_measure_dependent(void *context, uint64_t duration_ns, double *value);

/* pairs_measure of as many independent random lines as one bucket and one record cover, per key. */
int plain_measure_lines(void *context, uint64_t duration_ns, double *value);

#endif
