/* dpdk_press - has a port give back what it has sent, where its driver would keep it until more is sent.
 *
 * Edge; an lcore's, beside its struct dpdk_queue.  What was sent of the log's own memory holds it until the driver lets
 * go, which drivers of DPDK 22.11 do
 *   when they are asked (rte_eth_tx_done_cleanup): i40e, ice, igb, ixgbe, ENA
 *   when they send again: virtio, once all but some places of its ring are taken; mlx5, behind some dozens of packets;
 *   e1000, when it comes to the very place of its ring, which has DPDK_PORT_DESCRIPTORS of them.
 * So the driver is asked, each DPDK_PRESS_ASK_NS; where nothing came back for DPDK_PRESS_WAIT_NS, frames that reach
 * nobody follow, DPDK_PRESS_FRAMES each DPDK_PRESS_PUSH_NS, until the ring has gone round twice.  With a port that sends
 * something is back some 35 ms after it was sent at the latest, and what is sent meanwhile makes it sooner.  A port that
 * stands still gets as much again each DPDK_PRESS_PAUSE_NS, as far as its ring has room: it lets go when it goes on, or
 * is reset.
 *
 * Frames that reach nobody: from the port's own address to it, of the type that IEEE 802 leaves to experiments (0x88b5).
 * A bridge does not send back what comes from where it goes to (IEEE 802.1Q, 8.6.1), a station at the end of a cable
 * takes what is for it, and a port in loopback refuses the type.
 *
 * Time is given, in nanoseconds. */
#ifndef DUNLIN_DATAPLANE_DPDK_PRESS_H
#define DUNLIN_DATAPLANE_DPDK_PRESS_H

#include "dataplane/dpdk_port.h"

#define DPDK_PRESS_ASK_NS (UINT64_C(50) * 1000)
#define DPDK_PRESS_WAIT_NS (2 * NS_PER_MS)
#define DPDK_PRESS_PUSH_NS NS_PER_MS
#define DPDK_PRESS_PAUSE_NS NS_PER_S
#define DPDK_PRESS_FRAMES 32u
#define DPDK_PRESS_TYPE 0x88b5u

/* Zeroed: nothing is out. */
struct dpdk_press {
    bool is_out; /* something, since something came back last */
    uint64_t ask_at, push_at;
    uint32_t pushed; /* frames, since the last pause */
};

/* Each pass in which something is out, and nothing came back. */
void dpdk_press(struct dpdk_press *p, struct dpdk_queue *q, uint64_t now);

/* Something came back, or nothing is out. */
static inline void dpdk_press_end(struct dpdk_press *p)
{
    p->is_out = false;
}

#endif
