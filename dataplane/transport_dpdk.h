/* transport_dpdk - frames between servers over a DPDK port: no kernel on the way, the same bytes on the wire as udp.
 *
 *   transport_dpdk.c          set-up: addresses, peers, memory; what is due with time
 *   transport_dpdk_send.c     hot path: mbufs to seal in, headers, queue, pace, send
 *   transport_dpdk_hold.c     datagrams that are sent from the log's own memory
 *   transport_dpdk_receive.c  hot path: receive, judge, answer
 *   transport_dpdk_count.c    names of what it counts
 *
 * A body of transport_framed.h, on the lcore's own queue of a port (dpdk_port.h).  Each frame is sealed in an mbuf
 * behind room for its headers (packet.h), which are written when it leaves: only then is it sure which
 * station it goes to (arp.h).  A peer whose station is not known is not reached, and what is queued for it is
 * dropped, counted.  What is received is opened in its mbuf and stays there until release.
 *
 * UDP's checksum is left to the port, or 0 (RFC 768: none) where the port writes none, and never looked at: a
 * frame's tag proves more, for less.
 *
 * Zero copy: frames that are authentic only and end with chain_bytes or more of the log are sent as two chained
 * mbufs, the second of which is the log's memory itself, once the port has shown that it can (dpdk_chain.h) and as far
 * as it has that memory (is_mapped of transport.h, dpdk_port_map).
 * One reference count for each such datagram; when the port has let go of its last frame, the hold comes back by
 * transport_complete, soon also from a port that would keep it until its ring went round (dpdk_press.h).  What is
 * encrypted is copied by being encrypted.
 *
 * Sleeping: where the port has interrupts (dpdk_port.h) they make wake_fd ready, which is believed when the first one
 * came: a card without MSI-X behind vfio says that it has them (DPDK 22.11), and has none.  Until then, elsewhere, and
 * while frames sent from log memory are held, nothing wakes who polls: for TRANSPORT_DPDK_QUIET_NS after a packet sleep
 * is false, and takes a nap of some 50 us by itself; then it is true, with a deadline that is due: the lcore sleeps for
 * a millisecond at a time, from which agents wake it.  Who cannot wait so long for the first packet spins.
 *
 * Threads: the endpoint's, which joins DPDK (dpdk_eal.h) by transport_enter.  Free callbacks run on any (dpdk_port.h).
 *
 * Source: DPDK 22.11 Programmer's Guide, "Mbuf Library" (external buffers). */
#ifndef DUNLIN_DATAPLANE_TRANSPORT_DPDK_H
#define DUNLIN_DATAPLANE_TRANSPORT_DPDK_H

#include "dataplane/arp.h"
#include "dataplane/dpdk_chain.h"
#include "dataplane/dpdk_port.h"
#include "dataplane/dpdk_press.h"
#include "dataplane/transport_framed.h"

/* Measured, tags alone: with the log in the cache, copied and chained cost the same at 8 KiB (420 ns; 4 KiB 250 and 280,
 * 2 KiB 150 and 210); where it is not, a copy with its tag takes 560 ns for 4 KiB and a tag over two pieces 210. */
#define TRANSPORT_DPDK_CHAIN_BYTES 4096u

struct transport_dpdk_link {
    struct dpdk_port *port; /* outlives the endpoint, whose lcore is that of a queue of it */
    uint8_t prefix;         /* bits of the address that all on the link share */
    uint32_t gateway;       /* for other peers, host order; 0: there is none */
    uint32_t chain_bytes;   /* 0: TRANSPORT_DPDK_CHAIN_BYTES; UINT32_MAX: all is copied */
};

struct transport_dpdk_counters {
    uint64_t refused[PACKET_VERDICTS - PACKET_TAKEN]; /* packets that came, by verdict */
    uint64_t echoes_answered;
    uint64_t no_neighbour; /* frames dropped: the station is not known */
    uint64_t no_memory;    /* times that there was no mbuf to seal in, or to chain with */
    uint64_t frames_chained;
    uint64_t chain_unmapped;    /* datagrams copied: the port may not read their memory */
    uint64_t chain_state;       /* enum dpdk_chain_state, as of now */
    uint64_t threads_joined;    /* 1: the endpoint's thread has caches of its own in memory pools */
    uint64_t interrupts_proven; /* 1: one came, so that it may sleep for long */
};

/* config: its address is IPv4, with the port's UDP port of the lcore; FRAME_PATH stands for the port's mtu.
 * Returns 0 and an endpoint without peers, which the caller closes; or
 *   -EINVAL        something in config or link is out of bounds
 *   -EAFNOSUPPORT  the address is no IPv4 one
 *   -EMSGSIZE      frames are longer than the port's mtu carries
 *   -ENOMEM.
 * transport_framed_add says, too, -EHOSTUNREACH: there is no way to that address. */
MUST_USE int transport_dpdk_open(struct transport **t, const struct transport_framed_config *config,
                                 const struct transport_dpdk_link *link);
/* Before its port.  What was sent from log memory and did not complete may be read until the port is closed, too. */
void transport_dpdk_close(struct transport *t);

/* What this body counts beside transport_framed_count, and what the neighbours' table and the queue count; the owner's
 * thread. */
void transport_dpdk_count(const struct transport *t, struct transport_dpdk_counters *counters);
const struct arp_counters *transport_dpdk_arp_counters(const struct transport *t);

/* ---- between the files ---- */

#define TRANSPORT_DPDK_BATCH 64u   /* packets of one call */
#define TRANSPORT_DPDK_IN 256u     /* packets between two releases; a power of two */
#define TRANSPORT_DPDK_HOLDS 1024u /* datagrams sent from log memory that the port has */
/* Mbufs to seal in: those of the longest datagram, and some more so that they are taken from their pool in bulk. */
#define TRANSPORT_DPDK_STASH_MORE 64u
#define TRANSPORT_DPDK_STASH (FRAME_FRAGMENTS_MAX + TRANSPORT_DPDK_STASH_MORE)
#define TRANSPORT_DPDK_SHARED_BYTES 32u /* of struct rte_mbuf_ext_shared_info */
#define TRANSPORT_DPDK_QUIET_NS (2 * NS_PER_MS)
#define TRANSPORT_DPDK_CHAIN_TURN_NS (UINT64_C(2) * NS_PER_S) /* another peer is asked then */

struct transport_dpdk_holds;

/* A datagram whose frames name log memory. */
struct transport_dpdk_hold {
    alignas(8) uint8_t shared[TRANSPORT_DPDK_SHARED_BYTES]; /* struct rte_mbuf_ext_shared_info */
    struct transport_dpdk_holds *holds;
    struct transport_dpdk_hold *next; /* among those that are free, or came back */
    uint64_t hold;
};

/* Outlives the endpoint as long as the port has anything of it: free callbacks come here.
 *   H0 -> H1  came back: the callback's last look at the datagram, and its place is used again
 *   H2 -> H3  the last one to leave frees it */
struct transport_dpdk_holds {
    _Atomic uint32_t users; /* the endpoint, and each datagram that the port has */
    struct transport_dpdk_hold *_Atomic back;
    struct transport_dpdk_hold *unused;
    struct transport_dpdk_hold of[TRANSPORT_DPDK_HOLDS];
};

/* Of its own, as the port may have its memory longer than the endpoint is there. */
struct transport_dpdk_chain {
    struct dpdk_chain chain;
    uint8_t *memory; /* NULL: none is mapped */
};

struct transport_dpdk_peer {
    struct transport_framed_peer framed; /* first */
    struct packet_path path;             /* to_mac: of when it was sent to last */
    struct rte_mbuf **queue;             /* of the positions [head, tail) */
    uint32_t places;                     /* of queue */
};

struct transport_dpdk_endpoint {
    struct transport_framed_endpoint framed; /* first: the ops get it */
    struct dpdk_queue *queue;
    struct packet_local local;
    struct arp arp;
    struct transport_dpdk_counters counters;
    struct transport_dpdk_chain *chain;
    uint64_t chain_turn_at;
    uint32_t chain_turn; /* peer that is asked next */
    uint64_t link_ups;   /* that the neighbours were asked again for */
    /* sending */
    uint32_t stash_count;
    struct rte_mbuf *stash[TRANSPORT_DPDK_STASH];
    struct rte_mbuf *rest; /* that the frame at the stash's top goes on with; NULL: none */
    struct rte_mbuf *out[TRANSPORT_DPDK_BATCH];
    struct transport_dpdk_peer *owners[TRANSPORT_DPDK_BATCH];
    uint32_t lengths[TRANSPORT_DPDK_BATCH]; /* of frames */
    struct transport_dpdk_holds *holds;
    struct transport_dpdk_hold *chained;  /* the datagram at hand */
    struct transport_dpdk_hold *returned; /* came back, and its hold is not given back yet */
    uint32_t held;                        /* that did not come back */
    struct dpdk_press press;              /* that they do */
    /* Receiving: packets [released, current) are handed out or done with, those below filled wait.  Counts that only
     * grow. */
    uint64_t released, current, filled;
    uint64_t quiet_filled, quiet_since; /* filled, and when it became that */
    struct rte_mbuf *in[TRANSPORT_DPDK_IN];
};

static inline struct transport_dpdk_endpoint *
transport_dpdk_of(struct transport_framed_endpoint *framed)
{
    return (struct transport_dpdk_endpoint *)(void *)framed; /* its first member */
}

static inline struct transport_dpdk_peer *
transport_dpdk_peer_of(struct transport_framed_peer *framed)
{
    return (struct transport_dpdk_peer *)(void *)framed; /* its first member */
}

/* One burst, into the places that are free.  False: nothing came. */
bool transport_dpdk_fill(struct transport_dpdk_endpoint *e);

/* Functions of struct transport_framed_body. */
bool transport_dpdk_reserve(struct transport_framed_endpoint *framed,
                            struct transport_framed_peer *peer, uint32_t frames);
uint8_t *transport_dpdk_room(struct transport_framed_endpoint *framed,
                             struct transport_framed_peer *p);
void transport_dpdk_queued(struct transport_framed_endpoint *framed,
                           struct transport_framed_peer *p, uint32_t length);
void transport_dpdk_drop(struct transport_framed_endpoint *framed, struct transport_framed_peer *p);
void transport_dpdk_flush(struct transport_framed_endpoint *framed);
bool transport_dpdk_send_beside(struct transport_framed_endpoint *framed,
                                struct transport_framed_peer *p, const uint8_t *frame,
                                uint32_t length);
bool transport_dpdk_chain_begin(struct transport_framed_endpoint *framed,
                                const struct transport_datagram *d);
bool transport_dpdk_chain(struct transport_framed_endpoint *framed,
                          const struct frame_octets *bytes);
void transport_dpdk_chain_end(struct transport_framed_endpoint *framed);
uint32_t transport_dpdk_complete(struct transport_framed_endpoint *framed, uint64_t *holds,
                                 uint32_t count);
uint8_t *transport_dpdk_next(struct transport_framed_endpoint *framed, uint32_t *length);
void transport_dpdk_pass(struct transport_framed_endpoint *framed);
void transport_dpdk_release(struct transport_framed_endpoint *framed);
void transport_dpdk_count_all(const struct transport_framed_endpoint *framed, uint64_t *counted);
extern const char *const transport_dpdk_count_names[];

/* NULL: there is no memory. */
struct transport_dpdk_holds *transport_dpdk_holds_make(void);
/* The endpoint leaves; what the port has comes back to nobody. */
void transport_dpdk_holds_leave(struct transport_dpdk_holds *h);

#endif
