/* replicate_port - how long a replicated write takes, and how much a batch of long ones carries, between daemons that
 * drive ports of DPDK, against plain packets between the same processes on the same ports (replicate_port_node.h).
 *
 * Ports are those of --port, or, without, ends of virtual cables between namespaces of the daemons, a switch in the
 * middle, driven by each of the kernel's drivers (port_net.h).  Those are as fast as the processor that moves the
 * packets, so batches of long ones are asked for once more when the cables are limited to less: what the goal, a share
 * of the wire's bandwidth, means.  There is no such row of other ports. */
#ifndef DUNLIN_BENCH_REPLICATE_PORT_H
#define DUNLIN_BENCH_REPLICATE_PORT_H

#include "bench/bench.h"
#include "bench/net_options.h"

/* Returns an enum bench_exit. */
int bench_replicate_port(const struct bench_options *options, const struct net_options *net);

#endif
