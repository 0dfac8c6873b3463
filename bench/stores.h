/* stores - baselines of the append bench: what else one could do with a key and a value on one
 * core.
 *
 * log     header, key and value copied and summed (crc32c) into a circle of memory of a log's size:
 *         the least that a logged record costs
 * table   liburcu's cds_lfht_add_replace of a node that malloc gave; the replaced nodes are freed
 * in batches after a grace period */
#ifndef DUNLIN_BENCH_STORES_H
#define DUNLIN_BENCH_STORES_H

#include "bench/pairs.h"
#include "bench/sampler.h"
#include "engine/memory.h"

struct store_log {
    struct memory memory;
    uint64_t position;
    struct sampler *sampler;
};

MUST_USE int store_log_open(struct store_log *s, uint64_t bytes, double ticks_per_ns);
void store_log_close(struct store_log *s);
int store_log_measure(void *context, uint64_t duration_ns, double *value);

#define STORE_TABLE_RETIRED 512u

struct cds_lfht;
struct store_table_node;

struct store_table {
    struct cds_lfht *hash_table;
    uint32_t key_count;
    uint64_t position;
    struct store_table_node *retired[STORE_TABLE_RETIRED];
    uint32_t retired_count;
    struct sampler *sampler;
};

/* The calling thread is registered with QSBR until store_table_close, and is the one that measures.
 */
MUST_USE int store_table_open(struct store_table *s, uint32_t key_count, double ticks_per_ns);
void store_table_close(struct store_table *s);
int store_table_measure(void *context, uint64_t duration_ns, double *value);

#endif
