/* dpdk_ring - baseline of the ring bench: DPDK's rte_ring, single producer and consumer, in plain
 * memory without DPDK's environment.  Round trip: one pointer each way.  Stream: elements of 64
 * bytes in bursts, as its documentation advises. */
#ifndef DUNLIN_BENCH_DPDK_RING_H
#define DUNLIN_BENCH_DPDK_RING_H

#include "bench/duo.h"

extern const struct duo_channel dpdk_ring_channel;

struct dpdk_ring;

/* Returns NULL if there is no memory or rte_ring refuses. */
struct dpdk_ring *dpdk_ring_new(void);
void dpdk_ring_delete(struct dpdk_ring *d);

#endif
