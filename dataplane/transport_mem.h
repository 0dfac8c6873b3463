/* transport_mem - datagrams inside one process: `dunlind dev`, benchmarks, tests.
 *
 *   transport_mem.c       the hub: queues and endpoints, made at start for N nodes of L lcores
 *   transport_mem_path.c  the hot path: send, receive, complete, sleep
 *
 * Between lcore l of node a and lcore l of node b there is one queue per direction, with one sender
 * and one receiver: a ring of 64-byte granules.  A cell is a header, the head (copied), and a
 * pointer to the bytes: the receiver reads the sender's log where it is.  Positions are in bytes and
 * only grow.  The receiver gives cells back in order; that completes them.  In order and without
 * loss, which no caller may count on.
 *
 * No lock; no system call but the write to the eventfd of a receiver that sleeps, once per sleep.
 * Each cache line that two threads share has one writer, but for the flag that a sleeping receiver
 * sets and whoever wakes it clears.
 *
 * Memory order: T1 tail (release) -> T2 receive, sleep (acquire): the cells are whole, and so are
 *                  the bytes they point to.
 *               T3 consumed (release) -> T4 complete, send (acquire): the receiver reads neither
 *                  cells nor bytes any more.
 *               T5 tail, seq_cst fence, look at sleeping | T6 sleeping, seq_cst fence, look at the
 *                  tails: one of the two sees the other.
 *               T7 left (release) -> T8 complete, send (acquire): as T3, for all there is and will
 *                  be.
 *
 * Every node of the hub is a peer of every other from the start: there is nothing to make for one that comes,
 * and what is sent to one that left completes (transport_mem_leave).
 *
 * Delays (transport_mem_delay), for proof: messages are received late, cells are given back later
 * still, completions come out of order; and the bytes are summed when they are sent and again just
 * before their cell is given back.  Who reuses memory before its completion is counted in
 * transport_mem_damaged, whether or not the message's own checks would have seen it. */
#ifndef DUNLIN_DATAPLANE_TRANSPORT_MEM_H
#define DUNLIN_DATAPLANE_TRANSPORT_MEM_H

#include "dataplane/transport.h"
#include "engine/limits.h"

struct transport_mem_hub;

struct transport_mem_config {
    const uint32_t *nodes; /* ids, all different; read during open only */
    uint32_t node_count;   /* 1 .. LIMIT_NODES */
    uint32_t lcore_count;  /* of every node, 1 .. LIMIT_LCORES */
    uint32_t queue_bytes;  /* of each direction of each pair; 0: TRANSPORT_MEM_QUEUE_BYTES */
    bool log_writes;       /* of endpoints: a receiver's processor places them (transport.place) */
};

#define TRANSPORT_MEM_QUEUE_BYTES (1u << 18)
#define TRANSPORT_MEM_QUEUE_BYTES_MIN (1u << 14)
#define TRANSPORT_MEM_QUEUE_BYTES_MAX (1u << 24)

/* Control thread, before the lcores start.  Returns 0 and the hub, which the caller closes, or
 *   -EINVAL  counts, ids, or queue_bytes (a power of two within the bounds)
 *   -ENOMEM, -EMFILE, -ENFILE  nothing is left behind. */
MUST_USE int transport_mem_open(struct transport_mem_hub **hub,
                                const struct transport_mem_config *config);
/* After the threads of all endpoints ended. */
void transport_mem_close(struct transport_mem_hub *hub);

/* Endpoint of an lcore of a node, good until the hub is closed; NULL: no such node or lcore. */
struct transport *transport_mem_endpoint(struct transport_mem_hub *hub, uint32_t node,
                                         uint32_t lcore);

/* The endpoint's thread, last of all: it reads nothing any more.  What is on its way to it, and what
 * others send to it from now on, is lost and completes.  It may still call complete, and frees its
 * log when it has all holds back. */
void transport_mem_leave(struct transport *t);

/* Before any endpoint is used: delays at random, see above.  Same seed and same calls, same delays. */
void transport_mem_delay(struct transport_mem_hub *hub, uint64_t seed);
/* Messages whose bytes changed before their completion; any thread. */
uint64_t transport_mem_damaged(const struct transport_mem_hub *hub);

/* ---- between the files ---- */

#define TRANSPORT_MEM_GRANULE 64u

enum transport_mem_kind {
    TRANSPORT_MEM_DATAGRAM = 1,
    TRANSPORT_MEM_WRITE = 2,  /* head: the token */
    TRANSPORT_MEM_FILLER = 3, /* up to the ring's end */
};

struct transport_mem_cell {
    uint16_t granules; /* that it takes, header included */
    uint16_t kind;     /* enum transport_mem_kind */
    uint32_t head_length;
    uint32_t length;
    uint32_t reserved;
    const uint8_t *bytes;
    uint64_t hold;
    uint64_t sum; /* of the bytes as sent, with delays only */
    uint8_t head[];
};
/* Why: so that the 88 bytes of an append's head end with its second line. */
_Static_assert(sizeof(struct transport_mem_cell) == 40, "header of a cell");
/* Why: the longest cell fits behind any filler once the receiver caught up. */
_Static_assert(TRANSPORT_MEM_QUEUE_BYTES_MIN >= 2 * (sizeof(struct transport_mem_cell) +
                                                     TRANSPORT_HEAD_MAX + TRANSPORT_MEM_GRANULE),
               "two of the longest cells");

/* One direction of one pair. */
struct transport_mem_queue {
    alignas(CACHE_LINE) _Atomic uint64_t tail; /* sender: cells below are there */
    struct {                                   /* sender's own */
        alignas(CACHE_LINE) uint8_t *data;
        uint64_t bytes;
        uint64_t tail;      /* next cell; above the shared one during a burst */
        uint64_t consumed;  /* as last seen */
        uint64_t completed; /* cells below are free */
    } out;
    alignas(CACHE_LINE) _Atomic uint64_t consumed; /* receiver: it is done with cells below */
    struct {                                       /* receiver's own */
        alignas(CACHE_LINE) uint8_t *data;
        uint64_t bytes;
        uint64_t position; /* next to be received */
        uint64_t released; /* the caller is done with cells below */
        uint64_t consumed; /* as last published; lags behind released with delays only */
        uint64_t voided;   /* log writes below were posted over an older connection */
    } in;
};

/* Why masks: one bit per peer. */
_Static_assert(LIMIT_NODES <= 64, "nodes of a hub fit one word");

struct transport_mem_endpoint {
    struct transport transport;           /* first: the ops get it */
    struct transport_mem_endpoint *peers; /* same lcore of every node, by index; itself too */
    const uint32_t *ids;                  /* of the nodes, by index */
    struct transport_mem_queue *out;      /* to the node of that index: out[to] */
    struct transport_mem_queue *in;       /* from the node of that index: in[from * node_count] */
    uint32_t node_count;
    uint32_t self;         /* own index */
    uint32_t to;           /* index found last */
    uint32_t turn_in;      /* whose queue receive looks at first */
    uint64_t received;     /* mask: queues received from since the last release */
    uint64_t disconnected; /* mask: to be named */
    uint64_t random;       /* state of the delays */
    bool delayed;          /* constant once endpoints are used */
    alignas(CACHE_LINE) _Atomic uint32_t sleeping;
    _Atomic bool left;
    _Atomic uint64_t damaged;
};

extern const struct transport_ops transport_mem_ops;

#endif
