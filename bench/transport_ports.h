/* transport_ports - the transport bench over ports of DPDK: both sides, frames and plain packets (port_raw.h), in the
 * same two processes, on the same two ports, in turn.
 *
 * Ports are those of --port, or, without, the ends of a virtual cable between two namespaces, driven by each of the
 * kernel's drivers (port_net.h). */
#ifndef DUNLIN_BENCH_TRANSPORT_PORTS_H
#define DUNLIN_BENCH_TRANSPORT_PORTS_H

#include "bench/net_options.h"
#include "bench/transport_rows.h"

/* Returns 0 or -errno after a word on stderr. */
MUST_USE int transport_ports_run(struct transport_rows *r, const struct net_options *net);

#endif
