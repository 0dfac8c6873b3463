/* lmdb_store - baseline: LMDB, the memory-mapped store that comes closest to reads in place.
 *
 * Its file lies in the bench's directory (in memory if there is room), filled in key order, which
 * gives the densest tree.  A read is what its users do: renew the read transaction, get, copy the
 * value, reset. */
#ifndef DUNLIN_BENCH_LMDB_STORE_H
#define DUNLIN_BENCH_LMDB_STORE_H

#include "bench/pairs.h"
#include "bench/sampler.h"

struct MDB_env;
struct MDB_txn;

struct lmdb_store {
    struct MDB_env *environment;
    struct MDB_txn *reader;
    unsigned int database;
    uint32_t key_bits;
    struct sampler *sampler;
    uint64_t position;
};

/* Fill with 2^key_bits keys and values.  Returns 0 or -errno. */
MUST_USE int lmdb_store_open(struct lmdb_store *l, const char *directory, uint32_t key_bits,
                             double ticks_per_ns);
void lmdb_store_close(struct lmdb_store *l);

/* pairs_measure of one read. */
int lmdb_store_measure(void *context, uint64_t duration_ns, double *value);

#endif
