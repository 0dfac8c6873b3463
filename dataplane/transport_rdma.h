/* transport_rdma - frames between servers, and log writes, over RDMA: the peer's device puts both into memory.
 *
 *   transport_rdma.c          set-up: peers, connections that come and go, what is due with time
 *   transport_rdma_send.c     hot path: memory to seal in, credits, work requests
 *   transport_rdma_write.c    hot path: log writes, whose holds come back; tokens, and windows for them
 *   transport_rdma_receive.c  hot path: completions, frames, sleep
 *   transport_rdma_count.c    names of what it counts
 *
 * A body of transport_framed.h, on the lcore's links of a port (rdma_port.h), one with each peer, each with one connection at
 * a time.  Without one a peer is not reached, and what is queued for it is dropped, counted.
 *
 * A message is one frame.  One of up to RDMA_PORT_SLOT_BYTES is written into a place of the peer's ring, by WRITE with
 * immediate data; a longer one is a SEND.  Either takes one RECV of the peer, so both ends count the same messages, and
 * the nth of a connection has place n modulo messages.  Immediate data: how many messages of the other direction were
 * taken and released, low 32 bits: credit.  Where nothing is said, that count is written by itself, when a quarter of
 * the places is untold.  Counts that come are foreign: one that goes back, or beyond what was sent, ends the connection.
 *
 * The peer may write to the ring whenever it likes.  A frame is copied out of it before it is looked at, so a place that is
 * written to out of turn costs that frame (its tag is wrong), and nothing that was believed changes afterwards.
 *
 * Log writes (transport.h; only where config.authentic_only, for their bytes travel as they are) are RDMA WRITEs from
 * registered log memory, in one chain with the frames that follow them, before these.  Their key says which connection of
 * the receiver's it is for, and the device's key of the memory.  The order of both on the wire is not relied on.
 *   L3  The completion of a WRITE says so.  Where the connection broke with some under way, their holds come back when
 *       the own end is gone; no other connection is made before the peer's end is, too, and frames go by it alone.
 *   L4  Retired, gone, named by transport_disconnected: only then another connection is taken, and tokens are given
 *       for that one.
 *   L5  A token's key is that of a window (type 2B) of the connection where the device has such: bound to what is granted and
 *       nothing else, for writes of this peer over this queue pair.  It is bound by a work request that is staged before the
 *       frame with the grant, and so is posted before it on the same queue pair: what follows a binding there finds it made
 *       (ibv_bind_mw(3), "a send after a bind request on the same QP are always ordered").  transport_revoke posts its
 *       invalidation, and the window is free again when that is complete.  With the connection all windows go.  Where none
 *       is free, or the device has none, the key is that of the chunk, which lets a peer write anywhere in it; that is
 *       counted.  A device that fails at windows breaks a connection by it once: no more are bound then.
 * A hold is never back before its completion, also where the bytes went along with the work request: it says (L3) that
 * the write is over.
 *
 * One work request of each post is signalled, the last; what the device did before it is done, too (RC).
 *
 * Sleeping: completion queues are asked for an event, and looked at once more.  wake_fd is an epoll set of the
 * connections' channels and of an eventfd by which the port's thread tells of links.  Completions wake, too.  While
 * frames wait for credit, which nobody tells of, sleep is false; who gives none for TRANSPORT_RDMA_STUCK_NS while
 * frames wait has its connection ended.
 *
 * Threads: the endpoint's; control opens and closes links.  What is under way to a peer that leaves outlives it:
 *   X0 -> X1  its link is closed: nothing lands and nothing is read any more; its holds are good to be given back
 *   X2 -> X3  the last one to leave frees it
 *
 * Source: rdma-core 44, ibv_post_send(3), ibv_poll_cq(3), ibv_get_cq_event(3), ibv_bind_mw(3), ibv_inc_rkey(3); Kalia,
 * Kaminsky, Andersen, "Design Guidelines for High Performance RDMA Systems" (USENIX ATC 2016), for doorbells, inlining and
 * signalling. */
#ifndef DUNLIN_DATAPLANE_TRANSPORT_RDMA_H
#define DUNLIN_DATAPLANE_TRANSPORT_RDMA_H

#include "dataplane/rdma_port.h"
#include "dataplane/transport_framed.h"

/* Of the port: message_bytes at least this, so that whatever a peer's frames are it has room for them. */
#define TRANSPORT_RDMA_MESSAGE_BYTES 8960u
_Static_assert(TRANSPORT_RDMA_MESSAGE_BYTES >= FRAME_BYTES_MAX, "longest frame");

struct transport_rdma_counters {
    uint64_t connections_taken;
    uint64_t connections_retired; /* for any reason */
    uint64_t connections_failed;  /* of these: a work request failed, or could not be posted */
    uint64_t
        connections_unsound; /* of these: the peer counted wrong, wrote too much, or has no room for our frames */
    uint64_t connections_stuck; /* of these: it took nothing for long */
    uint64_t no_connection;     /* frames dropped */
    uint64_t no_memory;         /* datagrams refused: frames under way have the memory */
    uint64_t no_credit;         /* times that a frame had to wait for the peer to take some */
    uint64_t no_sends;          /* ... or for the device */
    uint64_t messages_written;  /* frames sent into the peer's ring */
    uint64_t messages_sent;     /* longer ones */
    uint64_t messages_dropped;  /* that came, when their connection was over */
    uint64_t credits_told;      /* by themselves */
    uint64_t completions;       /* looked at */
    uint64_t log_writes, log_write_bytes;
    uint64_t log_writes_refused;  /* no room, or of another connection */
    uint64_t log_writes_unmapped; /* from memory that the device has not */
    uint64_t windows;             /* that the connections have now, bound or not */
    uint64_t windows_bound;       /* grants by one */
    uint64_t windows_revoked;     /* their invalidation is complete */
    uint64_t windows_failed;      /* the device refused a binding or an invalidation */
    uint64_t grants_unwindowed;   /* by the key of a chunk */
};

/* config: frame_bytes 0 and FRAME_PATH stand for FRAME_BYTES_MAX; its address is not used, the port has one.
 * port: outlives the endpoint; of at most RDMA_PORT_MESSAGES messages, a power of two.
 * Returns 0 and an endpoint without peers, which the caller closes; or
 *   -EINVAL  something in config is out of bounds
 *   -ENOMEM, -EMFILE, -ENFILE.
 * transport_framed_add says, too, what rdma_link_open does. */
MUST_USE int transport_rdma_open(struct transport **t, const struct transport_framed_config *config,
                                 struct rdma_port *port);
/* Before its port; waits until its connections are gone.  Holds that did not come back do not. */
void transport_rdma_close(struct transport *t);

/* What this body counts beside transport_framed_count; the owner's thread. */
void transport_rdma_count(const struct transport *t, struct transport_rdma_counters *counters);

/* ---- between the files ---- */

#define TRANSPORT_RDMA_WORKS                                                                       \
    1024u /* work requests of a peer whose end was not seen to; a power of two */
#define TRANSPORT_RDMA_KEPT                                                                        \
    64u /* of them, at most a quarter: not for log writes, so that frames go on */
#define TRANSPORT_RDMA_STAGED 32u /* log writes and bindings that wait for the next post */
#define TRANSPORT_RDMA_BATCH 64u  /* work requests of one post */
#define TRANSPORT_RDMA_POLL 16u   /* completions of one look */
#define TRANSPORT_RDMA_TURN 16u   /* messages of one peer before the next one's */
#define TRANSPORT_RDMA_HELLOS 16u /* places for frames beside the queue */
#define TRANSPORT_RDMA_HELLO_BYTES 128u
#define TRANSPORT_RDMA_STUCK_NS (2 * NS_PER_S)

enum transport_rdma_kind {
    TRANSPORT_RDMA_OTHER = 0,
    TRANSPORT_RDMA_FRAME, /* the oldest one: its memory is free then */
    TRANSPORT_RDMA_WRITE, /* its hold goes back */
    TRANSPORT_RDMA_REVOKE /* hold: number of the window, which is free then */
};

struct transport_rdma_work {
    uint64_t hold;
    enum transport_rdma_kind kind;
};

/* Work requests of a peer, in the order of posting; wr_id is their position.  [head, done) are over and may have
 * holds to give back, [done, tail) are under way, or staged at the end.  Counts that only grow. */
struct transport_rdma_flight {
    _Atomic uint32_t users;             /* the peer; and the endpoint when it left */
    _Atomic uint32_t over;              /* 1: the link is closed */
    struct transport_rdma_flight *next; /* of peers that left */
    uint32_t node;
    bool to_name; /* its peer left, and is to be named when it is over */
    uint64_t head, done, tail;
    struct transport_rdma_work works[TRANSPORT_RDMA_WORKS];
};

enum transport_rdma_state {
    TRANSPORT_RDMA_NONE = 0, /* no connection */
    TRANSPORT_RDMA_LIVE,
    TRANSPORT_RDMA_RETIRED, /* nothing is posted any more; what was under way may be */
    TRANSPORT_RDMA_GONE, /* nothing is; the link is freed when all of it was given back and named */
};

/* A sealed frame, at that offset of connection->send. */
struct transport_rdma_frame {
    uint32_t at, length;
};

/* A message that came. */
struct transport_rdma_arrival {
    uint32_t length;
    uint16_t place; /* of its RECV */
    bool in_ring;
};

struct transport_rdma_staged {
    struct ibv_sge from;   /* of a binding: length alone */
    uint64_t address;      /* of the peer's memory; of a binding, of ours */
    uint32_t key;          /* likewise; of a binding, that the window has then */
    struct ibv_mw *window; /* NULL: a log write */
    struct ibv_mr *region; /* that it is bound to */
};

struct transport_rdma_window {
    const uint8_t *memory; /* granted by it; NULL: it is free, or to be */
    uint32_t key;          /* as it was bound last, or made */
};

/* Windows of a connection, by number.  [free_head, free_tail) of free are not bound; the oldest one is used next, so that a
 * key of before comes again as late as can be. */
struct transport_rdma_windows {
    struct transport_rdma_window of[RDMA_PORT_WINDOWS];
    uint16_t free[RDMA_PORT_WINDOWS];
    uint64_t free_head, free_tail;    /* counts that only grow */
    uint16_t over[RDMA_PORT_WINDOWS]; /* bound, and not to be: their invalidation is to be posted */
    uint32_t over_count;
};
_Static_assert((RDMA_PORT_WINDOWS & (RDMA_PORT_WINDOWS - 1)) == 0, "places of free");

struct transport_rdma_peer {
    struct transport_framed_peer framed; /* first */
    struct rdma_link *link;
    struct rdma_connection *c; /* unless NONE */
    struct transport_rdma_flight *flight;
    enum transport_rdma_state state;
    bool to_name; /* by transport_disconnected, as soon as there is no connection */
    bool armed;   /* an event of the completion queue was asked for, and not got */
    /* Sending: messages of this connection.  taken: what the peer said of them; by_word and by_write: in either way. */
    uint64_t sent, taken, by_word, by_write;
    uint64_t stuck_at; /* frames wait for credit until then; 0: they do not */
    uint64_t stuck_taken;
    /* Frames [oldest, posted) are under way, [posted, newest) wait: they are those of the framed queue. */
    struct transport_rdma_frame *frames;
    uint32_t places; /* of frames; a power of two */
    uint64_t oldest, posted, newest;
    uint32_t room;       /* offset that was given last; UINT32_MAX: none, it is lost */
    uint32_t lost;       /* frames of the queue that are nowhere */
    uint32_t hello_turn; /* place that is used next */
    uint64_t told;       /* messages of the peer that it knows to be taken */
    uint64_t credit;     /* as it is written; little-endian */
    uint32_t staged_count;
    struct transport_rdma_staged staged[TRANSPORT_RDMA_STAGED];
    struct transport_rdma_windows windows;
    /* Messages that came: [released, current) are handed out or done with, those below filled wait.  Counts that
     * only grow, from 0 in each connection. */
    uint64_t released, current, filled;
    struct transport_rdma_arrival arrivals[RDMA_PORT_MESSAGES];
};

struct transport_rdma_endpoint {
    struct transport_framed_endpoint framed; /* first: the ops get it */
    struct rdma_port *port;
    struct transport_rdma_counters counters;
    int event_fd;                       /* the port's thread writes to it */
    struct transport_rdma_flight *left; /* of peers that left */
    /* Memory for frames of each connection: frames, hellos, and the credit where nothing is inline. */
    uint64_t frames_bytes, send_bytes;
    uint8_t *scratch; /* frames without a connection */
    uint32_t batch_count;
    struct ibv_send_wr batch[TRANSPORT_RDMA_BATCH];
    struct ibv_sge batch_from[TRANSPORT_RDMA_BATCH];
    struct ibv_recv_wr recvs[TRANSPORT_RDMA_BATCH];
    struct ibv_sge recvs_to[TRANSPORT_RDMA_BATCH];
    uint32_t in_turn, in_count;        /* peer that is received from, and how many more */
    uint32_t unlooked;                 /* messages given since all connections were looked at */
    struct transport_rdma_peer *given; /* whose frame next gave, and it was not passed */
    bool is_unwindowed;                /* windows are not used: they failed */
};

static inline struct transport_rdma_endpoint *
transport_rdma_of(struct transport_framed_endpoint *framed)
{
    return (struct transport_rdma_endpoint *)(void *)framed; /* its first member */
}

static inline struct transport_rdma_peer *
transport_rdma_peer_of(struct transport_framed_peer *framed)
{
    return (struct transport_rdma_peer *)(void *)framed; /* its first member */
}

static inline struct transport_rdma_peer *transport_rdma_peer_at(struct transport_rdma_endpoint *e,
                                                                 uint32_t i)
{
    return transport_rdma_peer_of(e->framed.peers[i]);
}

static inline struct transport_rdma_work *transport_rdma_work_at(struct transport_rdma_flight *f,
                                                                 uint64_t position)
{
    return &f->works[position & (TRANSPORT_RDMA_WORKS - 1)];
}

/* Work requests that may be posted, or staged, to a live connection. */
static inline uint32_t transport_rdma_sends(const struct transport_rdma_peer *p)
{
    const struct transport_rdma_flight *f = p->flight;
    uint64_t device = p->c->sends - min_u64(p->c->sends, f->tail - f->done);
    return (uint32_t)min_u64(device, TRANSPORT_RDMA_WORKS - (f->tail - f->head));
}

/* Behind a change of done: what gives no hold back needs nobody to ask for it. */
static inline void transport_rdma_flight_skip(struct transport_rdma_flight *f)
{
    while (f->head != f->done && transport_rdma_work_at(f, f->head)->kind != TRANSPORT_RDMA_WRITE)
        f->head++;
}

/* One look at a live connection's completions, which may end it.  Returns how many there were. */
uint32_t transport_rdma_poll(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p);
/* Post what is staged or waits, as far as it may be; of a live connection, which may end by it. */
void transport_rdma_post(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p);
/* Whether the peer does not know for long what we took. */
bool transport_rdma_owes(const struct transport_rdma_peer *p);
/* Why none at all from then on: one connection after the other would break by them. */
static inline void transport_rdma_windows_end(struct transport_rdma_endpoint *e)
{
    e->counters.windows_failed++;
    e->is_unwindowed = true;
}

/* Whether something is to be posted that nobody flushes. */
static inline bool transport_rdma_waits(const struct transport_rdma_peer *p)
{
    return p->staged_count != 0 || p->windows.over_count != 0 || transport_rdma_owes(p);
}
/* The peer says that it took so many of our messages.  False: it cannot be. */
MUST_USE bool transport_rdma_taken_by_word(struct transport_rdma_peer *p, uint32_t low);
MUST_USE bool transport_rdma_taken_by_write(struct transport_rdma_peer *p);

/* End a live connection; the reason is counted, too. */
void transport_rdma_retire(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p,
                           uint64_t *reason);
/* Let go of a connection that is gone when nothing of it is left. */
void transport_rdma_let_go(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p);
void transport_rdma_flight_leave(struct transport_rdma_flight *f);

/* Functions of struct transport_framed_body and struct transport_ops. */
bool transport_rdma_reserve(struct transport_framed_endpoint *framed,
                            struct transport_framed_peer *peer, uint32_t frames);
uint8_t *transport_rdma_room(struct transport_framed_endpoint *framed,
                             struct transport_framed_peer *peer);
void transport_rdma_queued(struct transport_framed_endpoint *framed,
                           struct transport_framed_peer *peer, uint32_t length);
void transport_rdma_drop(struct transport_framed_endpoint *framed,
                         struct transport_framed_peer *peer);
void transport_rdma_flush(struct transport_framed_endpoint *framed);
bool transport_rdma_send_beside(struct transport_framed_endpoint *framed,
                                struct transport_framed_peer *peer, const uint8_t *frame,
                                uint32_t length);
uint32_t transport_rdma_complete(struct transport_framed_endpoint *framed, uint64_t *holds,
                                 uint32_t count);
uint8_t *transport_rdma_next(struct transport_framed_endpoint *framed, uint32_t *length);
void transport_rdma_pass(struct transport_framed_endpoint *framed);
void transport_rdma_release(struct transport_framed_endpoint *framed);
bool transport_rdma_sleep(struct transport_framed_endpoint *framed);
void transport_rdma_awake(struct transport_framed_endpoint *framed);
int transport_rdma_log_write(struct transport *t, const struct transport_log_write *write);
void transport_rdma_disconnect(struct transport *t, uint32_t node);
uint32_t transport_rdma_disconnected(struct transport *t);
bool transport_rdma_token(struct transport *t, uint32_t node, const uint8_t *memory, uint64_t bytes,
                          struct grant_token *token);
void transport_rdma_revoke(struct transport *t, uint32_t node, const uint8_t *memory);
void transport_rdma_count_all(const struct transport_framed_endpoint *framed, uint64_t *counted);
extern const char *const transport_rdma_count_names[];

#endif
