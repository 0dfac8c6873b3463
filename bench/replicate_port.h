/* replicate_port - how long a replicated write takes, and how much a batch of long ones carries, between daemons that
 * drive ports of DPDK, against plain packets between the same processes on the same ports (replicate_port_node.h).
 *
 * Ports are those of --port, or, without, ends of virtual cables between namespaces of the daemons, a switch in the
 * middle, driven by each of the kernel's drivers (port_net.h). */
#ifndef DUNLIN_BENCH_REPLICATE_PORT_H
#define DUNLIN_BENCH_REPLICATE_PORT_H

#include "bench/bench.h"
#include "bench/net_options.h"

/* Returns an enum bench_exit. */
int bench_replicate_port(const struct bench_options *options, const struct net_options *net);

#endif
