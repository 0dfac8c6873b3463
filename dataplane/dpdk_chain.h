/* dpdk_chain - whether a port sends frames that are chained to other memory, and lets go of it.
 *
 * Edge (it sends); an lcore's, beside its struct dpdk_queue.  A port that says that it sends chained mbufs
 * (MULTI_SEGS) is believed only after this: echo requests (ICMP) whose first bytes lie in one mbuf and the rest, a
 * pattern, in memory of the log's kind, go to a neighbour, which returns what it got: any host does.  Until then,
 * and if it fails, frames are copied into one mbuf.
 *
 *   round   one copied request; answered, then one chained; answered with the same bytes and the memory
 *           given back: a good round, of DPDK_CHAIN_ROUNDS, of growing length.  Many drivers give a buffer back
 *           only when they use its place in their ring again: where DPDK_CHAIN_WAIT_NS passed, short copied requests
 *           follow, a few each millisecond, until the ring has gone round twice.
 *   refused, for good and by name: other bytes came back; DPDK_CHAIN_LOST chained requests one behind the other were
 *           not answered where the copied ones before and behind them were; or the memory was not given back.
 *
 * Without any answer (no neighbour yet, or one that answers no echo) it is tried again, with growing pauses.
 * Why copied ones beside: a port that sends other memory spoils the checksum, and no host answers that.
 *
 * Time is given, in nanoseconds. */
#ifndef DUNLIN_DATAPLANE_DPDK_CHAIN_H
#define DUNLIN_DATAPLANE_DPDK_CHAIN_H

#include "dataplane/dpdk_port.h"

#define DPDK_CHAIN_ROUNDS 4u
#define DPDK_CHAIN_LOST 3u
#define DPDK_CHAIN_WAIT_NS (500 * NS_PER_MS) /* for an answer, and for memory to come back */
#define DPDK_CHAIN_PAUSE_MAX_NS (UINT64_C(10) * NS_PER_S)
#define DPDK_CHAIN_SHARED_BYTES 32u
#define DPDK_CHAIN_MEMORY_BYTES (4 * 4096u)

enum dpdk_chain_state {
    DPDK_CHAIN_UNPROVEN, /* the body copies */
    DPDK_CHAIN_PROVEN,   /* chained frames may be sent */
    DPDK_CHAIN_NOT_OFFERED, /* refused from here on: the port does not say MULTI_SEGS, or its memory cannot be named */
    DPDK_CHAIN_OTHER_BYTES,  /* came back than were sent */
    DPDK_CHAIN_NOT_SENT,     /* copied requests were answered, chained ones were not */
    DPDK_CHAIN_NOT_RETURNED, /* the memory was not given back */
};

/* Sends as dpdk_queue_send does, which is the one in use; tests give others. */
typedef uint32_t dpdk_chain_send(void *context, struct rte_mbuf **mbufs, uint32_t count);

struct dpdk_chain_config {
    struct dpdk_queue *queue;
    uint8_t *
        memory; /* DPDK_CHAIN_MEMORY_BYTES for the pattern, page-aligned, mapped by dpdk_port_map */
    uint64_t seed;         /* of the pattern; other for each start */
    dpdk_chain_send *send; /* NULL: dpdk_queue_send */
    void *send_context;
};

enum dpdk_chain_step {
    DPDK_CHAIN_REST,    /* wait until at, or for a path */
    DPDK_CHAIN_COPIED,  /* a copied request is on its way */
    DPDK_CHAIN_CHAINED, /* a chained one */
    DPDK_CHAIN_CONTROL, /* a copied one behind a chained one that was not answered */
    DPDK_CHAIN_RETURN,  /* answered; the memory is to come back */
    DPDK_CHAIN_PUSH,    /* it did not, and others are sent behind it */
};

struct dpdk_chain {
    struct dpdk_chain_config config;
    enum dpdk_chain_state state;
    enum dpdk_chain_step step;
    bool has_path;
    struct packet_path path;
    uint64_t at, pause; /* when the step is over; of the next rest */
    uint32_t length;    /* payload of the request under way */
    uint16_t sequence;
    uint32_t rounds, lost;
    bool is_answered; /* the chained request under way */
    uint32_t pushed;  /* requests sent behind it */
    uint64_t push_at;
    alignas(8) uint8_t shared[DPDK_CHAIN_SHARED_BYTES]; /* struct rte_mbuf_ext_shared_info */
    _Atomic uint32_t held;      /* chained mbufs that the port has; stored by free callbacks */
    uint64_t requests, answers; /* counters */
};

/* In words, for logs. */
const char *dpdk_chain_state_name(enum dpdk_chain_state state);

/* memory NULL: DPDK_CHAIN_NOT_OFFERED. */
void dpdk_chain_init(struct dpdk_chain *c, const struct dpdk_chain_config *config);

/* A neighbour to ask: its ports are not used.  May be said again, with another one. */
void dpdk_chain_path(struct dpdk_chain *c, const struct packet_path *path, uint64_t now);

/* Do what is due: each pass until it is proven or refused; cheap when nothing is. */
void dpdk_chain_tick(struct dpdk_chain *c, uint64_t now);

/* What packet_judge found to be a PACKET_ECHO_REPLY, or a PACKET_ECHO_REQUEST of our own address (a port in loopback). */
void dpdk_chain_receive(struct dpdk_chain *c, const struct packet_received *r, uint64_t now);

/* True: memory must stay (close the port first).  c and its memory outlive what the port holds. */
bool dpdk_chain_is_held(const struct dpdk_chain *c);

#endif
