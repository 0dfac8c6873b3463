/* scan - how fast an agent passes all keys of a space in order, values copied out, shards merged. */
#ifndef DUNLIN_BENCH_SCAN_H
#define DUNLIN_BENCH_SCAN_H

#include "bench/client.h"
#include "bench/pairs.h"

/* pairs_measure, ns per record, of a struct client: whole scans, one after the other.  -ENODATA: a scan gave
 * another number of keys than were written. */
int scan_measure(void *context, uint64_t duration_ns, double *value);

#endif
