/* append_idle - rows of bench append: what nodes of a cluster use of a processor while nothing is asked of them.
 *
 * Three daemons of this build on loopback (failover_cluster.h), leases as they are by default, each of which leads
 * some of the shards, and nobody writes.  What is left is what they say to each other so that leases go on. */
#ifndef DUNLIN_BENCH_APPEND_IDLE_H
#define DUNLIN_BENCH_APPEND_IDLE_H

#include "bench/report.h"

/* A row for each node, all of its threads together; measured for duration_ns.  Returns 0, or -errno: end the bench. */
MUST_USE int append_idle_run(struct report *report, uint32_t shard_count, uint64_t duration_ns);

#endif
