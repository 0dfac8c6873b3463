/* rdma_port - a verbs device of this process, the log memory that it has, and connections with other nodes.
 *
 *   rdma_port.c             device, protection domain, facts, what goes wrong with it
 *   rdma_port_memory.c      log memory: registered chunk by chunk, looked up by lcores; windows of connections
 *   rdma_port_link.c        links, for control and lcores
 *   rdma_port_connect.c     the thread that makes and tears down connections, by librdmacm
 *   rdma_port_connection.c  what a connection is made of
 *   rdma_hello.c            what the two ends tell each other when they connect; pure
 *
 * Edge.  Control opens and closes; a thread of the port's own makes connections, since each call of librdmacm may take
 * milliseconds; lcores take connections that are ready and use their queue pairs without it.
 *
 * Links: one of each lcore with each peer, and over it one connection at a time, RC:
 *   IDLE -> CONNECTING     the node of the lower id asks, again and again, less and less often up to each second; the
 *                          other one answers.  Who is asked while the connection before is still there breaks that
 *                          one, and refuses until it is gone
 *   CONNECTING -> READY    the connection is there for the lcore (rdma_link_take); it is the lcore's
 *   READY -> RETIRED       the lcore gives it back (rdma_link_retire): a completion failed, broken was set, or by
 *                          transport_disconnect.  Nothing is posted to it any more
 *   RETIRED -> GONE        the thread has destroyed its queue pair: nothing that was posted on either side of it lands
 *                          any more at this node, nor is memory of this node read for it (rdma_link_is_gone)
 *   GONE -> IDLE           the lcore let go of it (rdma_link_free).  Only then another one is made: whoever hears from
 *                          the peer again knows that its end of the one before is gone (L3 of transport.h)
 *
 * Memory: R0 -> R1  a connection's fields, before it is ready: release and acquire of the link's state
 *         R2 -> R3, R10 -> R11, R12 -> R13  retired, gone, freed: likewise
 *         R4 -> R5  keys of a chunk: release when it is registered, acquire where they are looked up
 *         R6 -> R7, R8 -> R9  ranges: one more of them, and one that changes
 *
 * Windows: where the device has those of type 2B, each connection has some, with which its lcore shows the peer pieces of
 * log memory, by work requests of its queue pair (transport_rdma.h).  They are made when the connection is there (an attempt
 * in vain costs no call for each) and freed before its queue pair is: that of rxe waits for them.  A region with a window
 * bound to it cannot be deregistered: one that is unmapped while the invalidation of its last window is under way stays
 * with the device, and the thread tries again until it goes.
 *
 * What a connection tells of itself (struct rdma_hello) is not authentic: whoever can send packets of the cluster's
 * network could make one in a peer's name, or tear one down.  What comes over it is believed for its tag only
 * (frame.h), and a link takes connections of its peer's address only.
 *
 * Relaxed ordering: log memory is registered with it (IBV_ACCESS_RELAXED_ORDERING, no matter where the device knows
 * none): bytes of a log may then be placed in any order, also behind the frame that announces them.  Nobody infers
 * that they are there from anything but their proof; what is announced and not there yet is asked for again, and comes
 * by message.  Frames are received in memory without it.  Through a window bytes are placed as the device likes: there is
 * no such flag where it is bound.
 *
 * Paths: librdmacm takes the GID of the own address, of the type that the device uses by default (RoCE v2, unless
 * /sys/kernel/config/rdma_cm says otherwise), and the longest MTU of InfiniBand that the network device's own has room
 * for (4096 from 4200 on).
 *
 * Devices that go: librdmacm keeps its context of the last device for as long as the process lives.  Drivers that can be
 * separated from their contexts do not mind; of the others (rxe) the last one goes only with the process.
 *
 * Source: rdma-core 44, rdma_cm(7), ibv_post_send(3), ibv_alloc_mw(3); InfiniBand Architecture Specification 1.4, 9.7
 * and 10.3 for what a queue pair in error, or destroyed, still does. */
#ifndef DUNLIN_DATAPLANE_RDMA_PORT_H
#define DUNLIN_DATAPLANE_RDMA_PORT_H

#include "engine/base.h"
#include "engine/limits.h"

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>
#include <sys/socket.h>

/* Messages that a peer may send before it is told that they were taken, and their places; a power of two. */
#define RDMA_PORT_MESSAGES 256u
#define RDMA_PORT_MESSAGES_MAX 4096u
#define RDMA_PORT_MESSAGE_BYTES_MAX 65536u
#define RDMA_PORT_SLOT_BYTES                                                                       \
    512u /* of the ring that a peer writes descriptors and other small frames to */
#define RDMA_PORT_SENDS 1024u /* work requests under way, of each connection */
#define RDMA_PORT_SENDS_MAX 16384u
#define RDMA_PORT_INLINE 256u /* bytes, as near as the device can */
/* Windows of each connection at most: grants of 64 shards and more, of one lcore to one peer. */
#define RDMA_PORT_WINDOWS 256u

#define RDMA_PORT_ACK_TIMEOUT 12u
#define RDMA_PORT_ACK_TIMEOUT_MAX 31u
#define RDMA_PORT_RETRIES 6u

struct rdma_port;
struct rdma_link;

struct rdma_port_config {
    struct sockaddr_storage
        address; /* own: the device is the one that has it; its port is listened on */
    uint32_t node;
    uint64_t cluster;
    uint32_t lcore_count;   /* 1 .. LIMIT_LCORES */
    uint32_t message_bytes; /* longest frame that is received; a multiple of 64 */
    uint32_t messages;      /* 0: RDMA_PORT_MESSAGES */
    uint32_t sends;         /* 0: RDMA_PORT_SENDS */
    /* A packet that is not acknowledged is sent again after 4.096 us << ack_timeout, RDMA_PORT_RETRIES times, then the
     * connection is over.  1 .. RDMA_PORT_ACK_TIMEOUT_MAX; 0: RDMA_PORT_ACK_TIMEOUT. */
    uint32_t ack_timeout;
};

/* What a device is, as found at open. */
struct rdma_port_facts {
    char device[64];     /* "rxe0", "mlx5_0" */
    uint8_t port;        /* of the device, from 1 on */
    uint32_t mtu;        /* active, bytes of a packet's payload */
    bool is_ethernet;    /* RoCE */
    bool memory_windows; /* of type 2B: bound to a queue pair */
    uint64_t speed_mbps; /* 0: not known */
    uint32_t queue_pairs_max, work_requests_max, registrations_max;
};

/* By any thread. */
struct rdma_port_shown {
    _Atomic uint32_t is_up;       /* the device's port */
    _Atomic uint64_t ups, downs;  /* changes of that */
    _Atomic uint64_t removals;    /* of the device */
    _Atomic uint64_t connections; /* made */
    _Atomic uint64_t refusals;    /* asked for and refused: of nobody that we know, or too early */
    _Atomic uint64_t failures;    /* tries in vain */
    _Atomic uint64_t
        broken; /* given back by their lcore: the peer, the network or the device ended them */
    _Atomic uint64_t chunks;       /* of log memory that the device has */
    _Atomic uint64_t chunks_short; /* times that it could not be given one */
    _Atomic uint64_t
        errors; /* of calls of libibverbs and librdmacm, and events of the latter that are errors */
    /* The last of these: its name, and errno (0: an event without one).  Each is good by itself. */
    _Atomic(const char *) error_call;
    _Atomic int32_t error;
};

/* What the two ends tell each other, in librdmacm's private data; little-endian, 56 bytes at most. */
#define RDMA_HELLO_BYTES 56u
#define RDMA_HELLO_MAGIC 0x524e5544u /* "DUNR" */
#define RDMA_HELLO_VERSION 1u
struct rdma_hello {
    uint16_t version, lcore;
    uint32_t from, to; /* nodes */
    uint64_t cluster;
    uint32_t number; /* of the connection, as who says it counts them: of its grants' keys; not 0 */
    uint32_t messages; /* places that it has for what comes */
    uint32_t key;      /* of the memory that the other end may write to: credit, then ring */
    uint64_t address;  /* of that: struct rdma_inlet */
    uint32_t message_bytes;
};

void rdma_hello_encode(const struct rdma_hello *h, uint8_t bytes[RDMA_HELLO_BYTES]);
/* Of what came; length may be more, librdmacm fills up with zeros.  0, or
 *   -EPROTO           too short, other magic, or something in it is out of bounds
 *   -EPROTONOSUPPORT  another version. */
MUST_USE int rdma_hello_decode(struct rdma_hello *h, const uint8_t *bytes, uint64_t length);

/* What the peer writes to by itself: how many of our messages it took, and frames of up to RDMA_PORT_SLOT_BYTES, the
 * nth message (counted from 0) at n modulo messages. */
struct rdma_inlet {
    alignas(CACHE_LINE) _Atomic uint64_t taken; /* of those that we sent; foreign: to be bounded */
    alignas(CACHE_LINE) uint8_t ring[];
};

/* Of the lcore from rdma_link_take to rdma_link_retire, and again from when it is gone; its resources are made and
 * destroyed by the port's thread. */
struct rdma_connection {
    struct rdma_cm_id *id;
    struct ibv_qp *qp;
    struct ibv_cq *cq; /* of both directions, on channel */
    /* Of this connection alone: a device that went takes its channels with it.  Its fd does not block, and is watched
     * by the lcore from rdma_link_take on (level or edge); the set is left as it is closed, by rdma_link_free.  All
     * events got from it are acknowledged before that. */
    struct ibv_comp_channel *channel;
    uint32_t number, peer_number;
    uint32_t inline_bytes, sends;     /* as the device granted */
    uint32_t messages, message_bytes; /* own: places of received, and how long each is */
    struct rdma_hello peer;
    /* Inlet, messages received, frames to send: mr is of all of it, for this node's own use; inlet_mr is of the inlet,
     * and the only one that the peer may write to. */
    struct ibv_mr *mr, *inlet_mr;
    uint8_t *memory;
    uint64_t memory_bytes;
    struct rdma_inlet *inlet;
    uint8_t *received; /* messages * message_bytes; RECVs of all were posted, wr_id: their number */
    uint8_t *send;     /* send_bytes of the link; aligned to a page */
    /* Of type 2, not bound when it is ready.  0: the device has none, or none left. */
    uint32_t window_count;
    struct ibv_mw *windows[RDMA_PORT_WINDOWS];
    _Atomic uint32_t broken; /* 1: the thread heard that it is over; to be retired */
};

/* Control.  Returns 0 and a port that listens, or
 *   -EINVAL      something in config is out of bounds
 *   -ENODEV      no device has that address (or there is none at all)
 *   -ENOMEM      also: memlock
 *   -EADDRINUSE, or what librdmacm says.  Nothing is left behind. */
MUST_USE int rdma_port_open(struct rdma_port **port, const struct rdma_port_config *config);
/* All links are closed. */
void rdma_port_close(struct rdma_port *port);
const struct rdma_port_facts *rdma_port_facts(const struct rdma_port *port);
const struct rdma_port_shown *rdma_port_shown(const struct rdma_port *port);

/* The least ack_timeout of at least so long; RDMA_PORT_ACK_TIMEOUT_MAX where none is. */
static inline uint32_t rdma_ack_timeout(uint64_t ns)
{
    uint32_t timeout = 1;
    while (timeout < RDMA_PORT_ACK_TIMEOUT_MAX && UINT64_C(4096) << timeout < ns)
        timeout++;
    return timeout;
}

/* ---- log memory; control ---- */

/* An arena, of chunks of that size (a power of two), none of which the device has yet.  0, -EEXIST, -ENOSPC
 * (LIMIT_SPACES + 1), -EINVAL (more than LIMIT_CHUNKS) or -ENOMEM.  Closed when it has none any more. */
MUST_USE int rdma_port_range_open(struct rdma_port *port, const uint8_t *base, uint64_t bytes,
                                  uint64_t chunk_bytes);
void rdma_port_range_close(struct rdma_port *port, const uint8_t *base);
/* A chunk of it.  0, also while the device is away: it gets the chunk when it is back; or -ENOMEM (memlock: what
 * lies there goes by message), or what the device says: then it has it not, and it is not to be unmapped. */
MUST_USE int rdma_port_map(struct rdma_port *port, const uint8_t *chunk);
/* Nobody writes to it any more, nor is any of it sent: grants have come back, holds as well.  The system may have the memory
 * back at once: what the device still has of it (windows) are pages of its own then.  It may be mapped again at once, too. */
void rdma_port_unmap(struct rdma_port *port, const uint8_t *chunk);

struct rdma_keys {
    uint32_t local, remote;
    struct ibv_mr *region; /* to bind windows to; NULL: they cannot be */
};
/* Any thread: the keys of a piece of memory within one chunk; false: the device has it not.  They are good until it is
 * unmapped, for the connections that there are now: after the device was gone it has others. */
MUST_USE bool rdma_port_keys(const struct rdma_port *port, const uint8_t *memory, uint64_t bytes,
                             struct rdma_keys *keys);

/* ---- links ---- */

struct rdma_link_config {
    uint32_t node, lcore;
    struct sockaddr_storage address; /* the peer's, with the port that it listens on */
    int wake_fd;         /* eventfd, written to when a connection is ready, broken or gone */
    uint64_t send_bytes; /* of memory for frames to send, registered with each connection */
};

/* Control, while lcores run: from then on connections are made.  0, -EEXIST, -ENOSPC, -ENOMEM, -EAFNOSUPPORT. */
MUST_USE int rdma_link_open(struct rdma_port *port, const struct rdma_link_config *config,
                            struct rdma_link **link);
/* Control; no lcore uses it.  Returns when its connection is gone. */
void rdma_link_close(struct rdma_link *link);

/* The lcore.  A connection that is ready, once; NULL: none is. */
struct rdma_connection *rdma_link_take(struct rdma_link *link);
void rdma_link_retire(struct rdma_link *link);
/* Whether the one that was retired is gone; then what it had under way may be looked at once more, until it is freed. */
MUST_USE bool rdma_link_is_gone(const struct rdma_link *link);
void rdma_link_free(struct rdma_link *link);

#endif
