/* rdma_transport - the transport bench over an RDMA device: two processes, an endpoint of transport_rdma in each, held
 * against ib_write_lat and ib_write_bw of perftest on the same device, which run while both rest.
 *
 *   round trip   a message there and back, against twice a plain write
 *   log write    4 KiB of a log into the other's memory, announced by a message, proven there, and acknowledged, against
 *                plain writes of as much, and of a small one back
 *   stream       against the rate of plain writes of as many bytes */
#ifndef DUNLIN_BENCH_RDMA_TRANSPORT_H
#define DUNLIN_BENCH_RDMA_TRANSPORT_H

#include "bench/net_options.h"
#include "bench/transport_rows.h"

/* Returns 0 or -errno after a word on stderr.  Without a device, or without perftest, rows say so. */
MUST_USE int bench_rdma_transport(struct transport_rows *r, const struct net_options *net);

#endif
