/* replicate_net - what a replicated write costs and how long it takes between processes, over sockets on
 * loopback, against libraft, Redis and the bare exchange (DESIGN section 10).
 *
 * All sides are measured in turn, in the same run, as pairs.h judges; one measurement gives latency, CPU and
 * rate at once, so the rows of a batch size are of the same rounds. */
#ifndef DUNLIN_BENCH_REPLICATE_NET_H
#define DUNLIN_BENCH_REPLICATE_NET_H

#include "bench/bench.h"
#include "bench/replicate_net_side.h"

/* Returns an enum bench_exit. */
int bench_replicate_net(const struct bench_options *options, const struct net_cpus *cpus);

#endif
