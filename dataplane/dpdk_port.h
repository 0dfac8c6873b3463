/* dpdk_port - a DPDK port and what each lcore sends and receives on it.
 *
 *   dpdk_port.c       set-up: find or make the device, configure, start, reset, close
 *   dpdk_port_steer.c rules that put packets into the queue of their lcore
 *   dpdk_port_tick.c  control: link, resets, counters
 *   dpdk_port_wake.c  interrupts: lcores that sleep until something comes
 *   dpdk_queue.c      hot path: receive, hand over between lcores, send
 *   dpdk_chain.h      whether frames chained to the log's memory leave as they should
 *   dpdk_press.h      that the driver lets go of it soon
 *
 * Edge.  Control opens, ticks and closes; the lcore of a struct dpdk_queue alone calls the dpdk_queue_* functions.
 *
 * Queues: lcore i has the pair i of the port's, or shares pair i modulo their number.  A packet for another lcore
 * (its UDP port is that lcore's) is handed over to it by a ring, so that it comes out of dpdk_queue_receive of the
 * right lcore wherever the port put it; rules that make the port itself put it right (rte_flow) are set
 * where it takes them.  What is for no one lcore (ARP, ICMP) comes out at each, as copies.
 *
 * Locks: each pair has one for each direction, which is only ever tried: who does not get it receives or sends
 * nothing this time.  Uncontended unless lcores share a pair, or control resets the port: it takes all of them, so
 * that no burst is under way.
 *
 * Mbufs received: one segment, in memory that is nobody else's, to be written in place, PACKET_HEADER_BYTES into it
 * 8-aligned.  The pools' buffers begin so that a port puts them there; what comes otherwise (net_af_xdp chooses
 * the place itself; net_ring hands over a sender's chain) is moved or copied, counted.
 *
 * Mbufs sent: their free callbacks (rte_pktmbuf_attach_extbuf) run on any thread that uses the port: an lcore that
 * shares the pair, control at a reset or close, with net_ring the receiver's.  They only store.
 *
 * Reset: the port asks for one (RTE_ETH_EVENT_INTR_RESET), or control does; dpdk_port_tick then does it.  What was in
 * the port's queues is lost, and freed.  A port that does not come back is tried again each second, and sends
 * and receives nothing until then.  The client of a net_memif looks for its server when it is started, and never again:
 * while it has none it is reset each second, too.
 *
 * Sleeping: where the port's receive queues have interrupts (facts.interrupts), an lcore may sleep on its wake_fd: arm,
 * receive once more, sleep, disarm.  It wakes when something comes for its pair, when another lcore hands it something
 * over, and after a reset.  While one of the lcores of a pair is awake the interrupt may be off: that one polls, and
 * hands over.  Other ports wake nobody.
 *
 * Source: DPDK 22.11 Programmer's Guide, "Poll Mode Driver", "Mbuf Library". */
#ifndef DUNLIN_DATAPLANE_DPDK_PORT_H
#define DUNLIN_DATAPLANE_DPDK_PORT_H

#include "dataplane/dpdk_size.h"
#include "dataplane/packet.h"
#include "engine/limits.h"

#define DPDK_PORT_NAME_BYTES 64u
#define DPDK_PORT_DESCRIPTORS 512u
#define DPDK_PORT_MBUFS DPDK_SIZE_MBUFS
/* Packets handed over that wait for an lcore; more are dropped, counted. */
#define DPDK_PORT_INBOX DPDK_SIZE_INBOX
#define DPDK_PORT_BURST 32u /* packets of one receive at most */

struct rte_mbuf;
struct rte_mempool;
struct rte_ring;
struct dpdk_port;

struct dpdk_port_config {
    /* Of a port that EAL knows ("net_ring0"), a PCI address ("0000:00:04.0"), or devargs of one to be made
     * ("net_af_packet0,iface=eth1"). */
    const char *device;
    uint32_t mtu;         /* PACKET_MTU_MIN .. PACKET_MTU_MAX; 0: the port's own */
    uint32_t lcore_count; /* 1 .. LIMIT_LCORES */
    uint16_t udp_port;    /* of lcore 0; lcore i has udp_port + i */
    uint32_t
        descriptors; /* of each queue and direction, as near as the port can; 0: the default above */
    uint32_t mbufs;  /* of each lcore's pool; 0: the default above */
    bool no_offload; /* no checksums by the port */
};

/* Of one lcore.  Plain words of that lcore. */
struct dpdk_queue_counters {
    uint64_t received, sent; /* packets */
    uint64_t received_bytes, sent_bytes;
    uint64_t handed_over, inbox_full; /* to other lcores; dropped */
    uint64_t copied;                  /* received in several segments, or shared */
    uint64_t moved;                   /* received where a payload is not 8-aligned */
    uint64_t no_mbuf;                 /* dropped for want of one */
    uint64_t busy;                    /* bursts not made: somebody else had the pair */
    uint64_t prepare_failed;          /* packets that the port does not send as they are; dropped */
    uint64_t pushed;                  /* of those sent, frames of dpdk_press.h */
};

struct dpdk_queue {
    struct dpdk_port *port;
    uint32_t lcore;
    uint16_t port_id, pair;
    /* Mbufs with room for a whole packet: PACKET_ETHERNET_BYTES + mtu behind the usual headroom. */
    struct rte_mempool *pool;
    /* Without room, to be attached to memory of others. */
    struct rte_mempool *chain_pool;
    uint32_t offloads;   /* enum packet_offload: for packet_write */
    uint64_t send_flags; /* of mbufs: dpdk_queue_mark sets them */
    struct rte_ring *inbox;
    _Atomic uint32_t asleep; /* 1: who puts something into the inbox wakes it */
    bool armed;
    int wake_fd; /* an epoll set, which the port's own; ready, edge-triggered, when something comes.  -1: none */
    int inbox_fd; /* in it: rung by others */
    struct dpdk_queue_counters counters;
};

enum dpdk_port_state {
    DPDK_PORT_RUNNING,
    DPDK_PORT_RESETTING, /* as long as control is in dpdk_port_tick */
    DPDK_PORT_FAILED,    /* a reset failed; tried again */
};

/* By any thread, as of the last dpdk_port_tick. */
struct dpdk_port_shown {
    _Atomic uint32_t state;   /* enum dpdk_port_state */
    _Atomic uint32_t link_up; /* 0 or 1 */
    _Atomic uint32_t speed_mbps;
    _Atomic uint64_t link_ups; /* changes: the body asks its neighbours again (arp_link_up) */
    _Atomic uint64_t link_downs;
    _Atomic uint64_t resets, resets_failed, removals;
    _Atomic uint64_t missed, errors_in, errors_out, no_mbuf; /* rte_eth_stats */
};

/* What a port is, as found and set at open. */
struct dpdk_port_facts {
    char name[DPDK_PORT_NAME_BYTES], driver[DPDK_PORT_NAME_BYTES];
    struct packet_mac mac;
    uint32_t mtu;
    int socket;           /* NUMA node; -1: any */
    uint32_t pairs;       /* of queues in use */
    bool multi_segs;      /* it says that it sends chained mbufs; dpdk_chain.h proves it */
    bool ip_out, udp_out; /* checksums that it writes */
    bool ip_in, udp_in;   /* checksums that it looks at */
    bool steered;         /* by rules of the port */
    bool interrupts;      /* it says that it wakes who sleeps */
};

/* Returns 0 and a started port, which the caller closes; or
 *   -EINVAL        something in config is out of bounds
 *   -ENODEV        no such port, and none could be made: DPDK said why to stderr
 *   -EBUSY         the port is in use
 *   -EMSGSIZE      the port does not carry that mtu
 *   -ENOTSUP       no Ethernet address, no queue, or packets that do not fit one buffer
 *   -ENOMEM, or what the driver says.  Nothing is left behind. */
MUST_USE int dpdk_port_open(struct dpdk_port **port, const struct dpdk_port_config *config);
/* No lcore uses it any more, nor is it ticked: it neither sends nor reads any memory from here on, so that what is
 * mapped may be unmapped.  Once more is no matter. */
void dpdk_port_stop(struct dpdk_port *port);
/* Stops it, and frees what was sent and not yet given back. */
void dpdk_port_close(struct dpdk_port *port);

const struct dpdk_port_facts *dpdk_port_facts(const struct dpdk_port *port);
const struct dpdk_port_shown *dpdk_port_shown(const struct dpdk_port *port);
struct dpdk_queue *dpdk_port_queue(struct dpdk_port *port, uint32_t lcore);

/* Control, some ten times a second: link, resets that are due, counters.  now: nanoseconds. */
void dpdk_port_tick(struct dpdk_port *port, uint64_t now);
/* Any thread: reset it at the next tick. */
void dpdk_port_ask_reset(struct dpdk_port *port);

/* Control: memory of the log, which mbufs may name from then on.  base and bytes are multiples of 4 KiB and one
 * piece of address space, there and faulted in.  Returns 0, or
 *   -EOPNOTSUPP  devices need physical addresses: frames are copied
 *   -ENOSPC      too many pieces; -ENOMEM, or what the driver says: frames from there are copied
 *   -EFAULT      the IOMMU does not take it; one of 39 bits does not reach where the log lies: the same
 *   -EIO         something that was to be unmapped was not: the port might read what lay there before. */
MUST_USE int dpdk_port_map(struct dpdk_port *port, void *base, uint64_t bytes);
/* Nothing sent from there is still held. */
void dpdk_port_unmap(struct dpdk_port *port, void *base, uint64_t bytes);

/* Control: a range of address space in which pieces are going to be mapped and unmapped; as above, memory need not be
 * there.  Why: DPDK has places for some hundred pieces that it did not allocate, and those of a range take one in
 * all.  Returns 0, -ENOSPC or -ENOMEM. */
MUST_USE int dpdk_port_range_open(void *base, uint64_t bytes);
/* No piece of it is mapped any more. */
void dpdk_port_range_close(void *base, uint64_t bytes);

/* ---- hot path, the lcore's ---- */

/* Take up to count packets, which are the caller's to free. */
MUST_USE uint32_t dpdk_queue_receive(struct dpdk_queue *q, struct rte_mbuf **mbufs, uint32_t count);
/* Checksums of a packet received that the port found right: enum packet_offload. */
MUST_USE uint32_t dpdk_queue_checked(const struct rte_mbuf *m);

/* Say on a packet's first mbuf what the port is to do with what packet_write or packet_echo_write wrote by q->offloads
 * (udp: false for an echo).  Not for a packet whose checksums are whole. */
void dpdk_queue_mark(const struct dpdk_queue *q, struct rte_mbuf *m, bool udp);

/* Send packets in order.  Returns how many were taken, always the first ones: those are the port's, which frees them
 * when it let go.  The rest is the caller's still: the port's queue is full, or somebody else had it. */
MUST_USE uint32_t dpdk_queue_send(struct dpdk_queue *q, struct rte_mbuf **mbufs, uint32_t count);

/* Have the port give back what it has sent, where its driver can: not often, as some go over all of their ring. */
void dpdk_queue_clean(struct dpdk_queue *q);

/* From now on what comes makes q->wake_fd ready.  What came before does not: receive once more before the sleep.
 * False: nothing would (no interrupts, a reset, or another lcore has the pair just now): do not sleep long. */
MUST_USE bool dpdk_queue_arm(struct dpdk_queue *q);
/* Between the two: an interrupt of the pair came since it was asked last. */
MUST_USE bool dpdk_queue_was_interrupted(const struct dpdk_queue *q);
/* After the sleep, or instead of it.  Nothing to do for one that is not armed. */
void dpdk_queue_disarm(struct dpdk_queue *q);

/* ---- between the files ---- */

#define DPDK_PORT_RETRY_NS NS_PER_S

/* A pair of queues.  busy: 0 or 1, taken by exchange, never waited for but by control. */
struct dpdk_pair {
    alignas(CACHE_LINE) _Atomic uint32_t receive_busy;
    alignas(CACHE_LINE) _Atomic uint32_t send_busy;
};

struct dpdk_port {
    struct dpdk_port_config config; /* device: void after open */
    struct dpdk_port_facts facts;
    struct dpdk_port_shown shown;
    uint16_t id;
    bool shifts;         /* buffers of the pools begin where a payload comes to lie 8-aligned */
    bool calls;          /* its link comes back by a reset only: a client of net_memif */
    bool owned, watched; /* set-up that close takes back */
    bool no_interrupts;  /* it has none, or does not start with them */
    uint64_t owner;
    uint32_t room;     /* of a buffer, behind the headroom */
    uint32_t mtu_told; /* to the device: not more than it says that it carries */
    bool running;      /* written by control while it has all pairs, read by who has one */
    bool unmap_failed; /* control's: something is still mapped that is not there any more */
    uint64_t offloads_in, offloads_out;
    uint16_t descriptors_in, descriptors_out;
    uint64_t retry_at;
    uint64_t down_since; /* its link, of one that calls; 0: it was not, since the last reset */
    _Atomic uint32_t reset_wanted;
    struct dpdk_pair pairs[LIMIT_LCORES];
    struct dpdk_queue queues[LIMIT_LCORES];
};

/* Configure and start the device with what open chose.  0, or what the driver says. */
MUST_USE int dpdk_port_start(struct dpdk_port *port);
/* Start it as it is configured. */
MUST_USE int dpdk_port_run(struct dpdk_port *port);
/* Rules for the port to put packets into the queue of their lcore, all of them or none.  True: it took them. */
bool dpdk_port_steer(const struct dpdk_port *port);
/* Take all pairs, and give them back. */
void dpdk_port_quiesce(struct dpdk_port *port);
void dpdk_port_resume(struct dpdk_port *port);
/* Of all queues, once the device runs: false: it has none.  init: before anything else. */
void dpdk_port_wakes_init(struct dpdk_port *port);
MUST_USE bool dpdk_port_wakes_open(struct dpdk_port *port);
void dpdk_port_wakes_close(struct dpdk_port *port);
/* Lcores that sleep look again: those that were handed something over, or, after a reset, all. */
void dpdk_port_wake(struct dpdk_port *port, bool all);
/* Take one direction of the pair, if nobody has it; and give it back. */
MUST_USE static inline bool dpdk_queue_try(struct dpdk_queue *q, _Atomic uint32_t *busy)
{
    /* Why a look first: who shares the pair would take its cache line for nothing.
     * relaxed: the exchange decides.
     * acquire, D3 <- D2 (dpdk_port_tick.c: give) and D0: the port as control left it, its queue as the lcore before. */
    if (LIKELY(atomic_load_explicit(busy, memory_order_relaxed) == 0 &&
               atomic_exchange_explicit(busy, 1, memory_order_acquire) == 0))
        return true;
    q->counters.busy++;
    return false;
}

static inline void dpdk_queue_give(_Atomic uint32_t *busy)
{
    /* release, D0 -> D1, D3: the burst is over. */
    atomic_store_explicit(busy, 0, memory_order_release);
}
/* Have events counted; and no more. */
MUST_USE int dpdk_port_watch(struct dpdk_port *port);
void dpdk_port_unwatch(struct dpdk_port *port);

#endif
