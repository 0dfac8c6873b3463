/* rdma_replicate - how long a replicated write takes, and how much a batch of long ones carries, between daemons that
 * talk over one RDMA device of this machine, against ib_write_lat and ib_write_bw on the same device (rdma_perftest.h).
 *
 *   latency   a client, a leader and two followers, against two writes, there and back, between as many processes where
 *             there are processors for them, else between two: the baseline never waits for a processor
 *   like for like   the same against plain writes by as many processes, which wait for processors, sleep and are woken as
 *             ours are (rdma_plain.h)
 *   bytes     of values in batches, to each of two followers, against half of what one writer carries
 *
 * The cluster is idle while the baseline runs.  Twice, with frames that have tags alone, when what is long in the log
 * goes by one-sided writes, and encrypted. */
#ifndef DUNLIN_BENCH_RDMA_REPLICATE_H
#define DUNLIN_BENCH_RDMA_REPLICATE_H

#include "bench/bench.h"
#include "bench/net_options.h"

/* Returns an enum bench_exit.  Without a device, or without perftest, rows say so. */
int bench_rdma_replicate(const struct bench_options *options, const struct net_options *net);

#endif
