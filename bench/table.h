/* table - baseline: liburcu's lock-free hash table (cds_lfht), as in-process programs use it.
 *
 * QSBR readers (no cost per read), the table sized for its keys so that chains are short and no
 * resize runs, the same hash as ours (XXH3), nodes of the same footprint as our records, in memory
 * made as a space's chunks are.  The table's own bucket array is liburcu's; it is put on huge pages
 * if our memory is. */
#ifndef DUNLIN_BENCH_TABLE_H
#define DUNLIN_BENCH_TABLE_H

#include "bench/keys.h"
#include "bench/pairs.h"
#include "bench/sampler.h"
#include "engine/memory.h"

struct cds_lfht;

struct table {
    struct cds_lfht *hash_table;
    struct memory nodes;
    uint32_t key_bits;
    uint32_t node_bytes; /* stride */
    struct sampler *sampler;
    uint64_t position;
    bool chained; /* each lookup waits for the one before */
};

/* Fill with 2^key_bits keys and values.  The calling thread is registered with QSBR until
 * table_close and is the one that measures.  Returns 0 or -errno. */
MUST_USE int table_open(struct table *t, uint32_t key_bits, uint32_t node_bytes,
                        double ticks_per_ns);
void table_close(struct table *t);

/* pairs_measure of lookup and copy of the value. */
int table_measure(void *context, uint64_t duration_ns, double *value);

#endif
