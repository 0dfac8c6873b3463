/* transport - bursts of datagrams to and from peers: one table of functions, several bodies.
 *
 * An endpoint (struct transport) belongs to one thread, an lcore of a node, and talks to the lcore
 * of the same number on every other node.  Datagrams may be lost, doubled, reordered and, but for
 * what the body checks, damaged: whoever sends them repairs.  Nothing here blocks.
 *
 * Zero copy: a datagram is a head, which send copies, and bytes of the log, which the transport
 * reads in place, at any time between send and the completion of the datagram (a NIC that repeats a
 * packet reads them again).  Until complete() gives its hold back they neither change nor move;
 * dataplane/holds.h counts what a frame is held by, engine/reclaim.h waits for it.
 *
 * Log write, where a body can: bytes of our log into memory that the peer granted (engine/grant.h),
 * without its processor.  What a caller may count on:
 *   L1  Nothing but the bytes posted is written, where the token says, within its segment: the caller
 *       stays inside the segment, and a body whose link may damage bytes unseen has no log write.
 *   L2  It lands at any moment between the call and its completion, in any order among writes and
 *       datagrams, in parts, and reads our memory as late as that: under a hold, like a datagram's.
 *   L3  After its completion nothing of it lands any more.  A body that cannot know (its connection
 *       broke with the write under way) may complete it when its own end is gone, as long as no datagram
 *       reaches the peer before the peer's end is gone, too: else a grant would be returned too early.
 *   L4  After transport_disconnected named the peer, no write that it posted before lands here, and none
 *       under a token of before that it posts later: a token's key names the connection.  Who restarts
 *       has no connections.
 *   L5  Where the device has the means, a token is good for the memory that was granted and for no other, and when
 *       what transport_revoke began is complete the device refuses every write under it.  What is refused ends the
 *       connection: nobody sound writes then, for a grant comes back when its writes are over.  A second line, by
 *       which nothing is decided: how far a token reaches, and when the revocation is complete, nobody is told, and
 *       the frame is in quarantine until its grant came back, whatever the device does (engine/grant.h).
 * That bytes were written says nothing to the receiver; a datagram announces them, and what it answers
 * to is what proves them (struct grant_proof; dataplane/replica_grant.h).
 *
 * Sleeping: what arrives for an endpoint whose transport_sleep returned true makes its wake_fd
 * ready.  The owner has wake_fd in its epoll set, edge-triggered, and never reads it.  Set the flag,
 * fence, look again; the other side publishes, fence, looks at the flag: no wake is lost.
 *
 * Counting: a body counts in plain words of its own.  The endpoint's thread copies them, now and then
 * (transport_publish), to where every other thread may read them under the names that the body gives.
 *
 * Source: Kalia, Kaminsky, Andersen, "Datacenter RPCs can be General and Fast" (NSDI 2019), 4, for
 * ownership of message buffers until the transport lets go. */
#ifndef DUNLIN_DATAPLANE_TRANSPORT_H
#define DUNLIN_DATAPLANE_TRANSPORT_H

#include "engine/base.h"
#include "engine/grant.h"

#define TRANSPORT_HEAD_MAX 4096u /* bytes of a datagram that send copies */
#define TRANSPORT_COUNTS_MAX 96u

/* One message for one peer; the caller's, read during send only. */
struct transport_datagram {
    uint32_t to; /* node id */
    uint32_t head_length;
    const uint8_t *head;
    const uint8_t *bytes; /* log memory, read in place until the completion; NULL: none */
    uint32_t length;      /* of bytes; at most length_max */
    uint64_t hold;        /* caller's word, given back by complete; unused without bytes */
    bool is_mapped; /* a device may read all of bytes itself (node_watch); false: they are copied */
};

/* One message of a peer.  Foreign: judge head and bytes in place or copy them, before release. */
struct transport_received {
    uint32_t from; /* node id */
    uint32_t head_length;
    const uint8_t *head;  /* 8-aligned */
    const uint8_t *bytes; /* NULL: none.  May lie in the sender's log */
    uint32_t length;
};

/* Bytes of the caller's log, and where they are to stand in the peer's memory. */
struct transport_log_write {
    uint32_t to;              /* node id */
    struct grant_token token; /* of the peer's grant, address advanced to the range */
    const uint8_t *bytes;     /* as in transport_datagram; not NULL */
    uint32_t length;
    uint64_t hold;
};

struct transport;

/* Where a log write of node from goes at the receiver, when its body lets the processor do it: called
 * during receive, on the endpoint's thread, so that no other thread writes there.  Nothing in it is
 * trusted: what has no place, or a key of another connection, is dropped (L1, L4). */
typedef void transport_place(void *context, uint32_t from, const struct grant_token *token,
                             const uint8_t *bytes, uint32_t length);

struct transport_peer; /* of the body */
struct sockaddr_storage;

struct transport_ops {
    uint32_t (*send)(struct transport *t, const struct transport_datagram *datagrams,
                     uint32_t count);
    uint32_t (*receive)(struct transport *t, struct transport_received *received, uint32_t count);
    void (*release)(struct transport *t);
    uint32_t (*complete)(struct transport *t, uint64_t *holds, uint32_t count);
    int (*log_write)(struct transport *t, const struct transport_log_write *write); /* or NULL */
    /* The next six: NULL where log_write is. */
    void (*disconnect)(struct transport *t, uint32_t node);
    uint32_t (*disconnected)(struct transport *t);
    bool (*token)(struct transport *t, uint32_t node, const uint8_t *memory, uint64_t bytes,
                  struct grant_token *token); /* or NULL: the caller's own words, see place */
    void (*revoke)(struct transport *t, uint32_t node,
                   const uint8_t *memory); /* or NULL: nothing */
    bool (*prove)(struct transport *t, uint32_t node, const struct grant_range *range,
                  struct grant_proof *proof); /* with proves, or NULL: grant_proof_make */
    bool (*proves)(struct transport *t, uint32_t node, const struct grant_range *range,
                   const struct grant_proof *proof);
    bool (*sleep)(struct transport *t);
    void (*awake)(struct transport *t);
    void (*enter)(struct transport *t); /* with leave, or NULL: nothing is to be done */
    void (*leave)(struct transport *t);
    uint8_t (*version)(const struct transport *t, uint32_t node); /* or NULL: the newest */
    uint64_t (*deadline)(const struct transport *t);              /* or NULL: never */
    void (*count)(struct transport *t, uint64_t *counted);        /* or NULL: nothing */
    const char *const *count_names; /* of counted, up to TRANSPORT_COUNTS_MAX, then NULL */
    /* Nodes that come and go; all four, or none: the body reaches every node that there can be. */
    int (*peer_make)(struct transport *t, uint32_t node, const struct sockaddr_storage *address,
                     struct transport_peer **peer);
    void (*peer_join)(struct transport *t, struct transport_peer *peer);
    struct transport_peer *(*peer_leave)(struct transport *t, uint32_t node);
    void (*peer_free)(struct transport_peer *peer);
};

/* What every body begins with.  Made by the body's set-up; place is set before the endpoint's
 * thread starts. */
struct transport {
    const struct transport_ops *ops;
    uint32_t node;       /* own id */
    uint32_t length_max; /* longest bytes of one datagram or log write */
    bool log_writes;     /* log_write may be used: the caller grants memory, and uses grants */
    /* A datagram of up to so many, head and bytes, costs no more than the one that would announce a log write of them;
     * 0: each does. */
    uint32_t brief_bytes;
    uint32_t head_whole; /* longest head that is not cut up on its way; 0: none is */
    int wake_fd;         /* -1: this body cannot wake anybody; poll it */
    transport_place *place;
    void *place_context;
    _Atomic uint64_t counted[TRANSPORT_COUNTS_MAX]; /* as of the last transport_publish */
};

/* Send a burst.  Returns how many were taken, always the first ones.  The next one was refused: its
 * peer's queue is full, or there is no such node.  Keep it for later or drop it, and go on behind
 * it.  One that was taken and has bytes completes once, even if it never arrives; a refused one
 * does not.  A head longer than TRANSPORT_HEAD_MAX is the caller's bug. */
MUST_USE static inline uint32_t
transport_send(struct transport *t, const struct transport_datagram *datagrams, uint32_t count)
{
    return t->ops->send(t, datagrams, count);
}

/* Take up to count messages; no peer is starved by another.  They are good until transport_release,
 * which gives all received since the last release back; it is called after every round of receives,
 * also when they returned 0 (log writes were placed meanwhile). */
MUST_USE static inline uint32_t
transport_receive(struct transport *t, struct transport_received *received, uint32_t count)
{
    return t->ops->receive(t, received, count);
}

static inline void transport_release(struct transport *t)
{
    t->ops->release(t);
}

/* Holds that came back, in any order.  Call it each pass until it returns less than count: places in
 * the peers' queues come back by it, too. */
MUST_USE static inline uint32_t transport_complete(struct transport *t, uint64_t *holds,
                                                   uint32_t count)
{
    return t->ops->complete(t, holds, count);
}

static inline bool transport_can_log_write(const struct transport *t)
{
    return t->log_writes;
}

/* Returns 0 (taken; completes once), or, without completion,
 *   -EAGAIN      the peer's queue is full, or its connection is another than the token's: send the bytes
 *                in datagrams
 *   -EOPNOTSUPP  this body cannot, or not from that memory: likewise
 *   -ENXIO       there is no such node. */
MUST_USE static inline int transport_log_write(struct transport *t,
                                               const struct transport_log_write *write)
{
    return transport_can_log_write(t) ? t->ops->log_write(t, write) : -EOPNOTSUPP;
}

/* Tear down the connection over which this node's log writes come, and make another.  It is torn down when
 * transport_disconnected says so, which may be at once. */
static inline void transport_disconnect(struct transport *t, uint32_t node)
{
    if (transport_can_log_write(t))
        t->ops->disconnect(t, node);
}

#define TRANSPORT_NOBODY UINT32_MAX

/* A node whose connection for log writes was torn down, because it broke or by transport_disconnect (then also if
 * there was none): L4.  The caller frees what it was granted, and gives keys of another number (group_disconnected).  Each is named
 * once; TRANSPORT_NOBODY: no more.  Each pass, behind transport_receive. */
static inline uint32_t transport_disconnected(struct transport *t)
{
    return transport_can_log_write(t) ? t->ops->disconnected(t) : TRANSPORT_NOBODY;
}

/* Words by which a node writes to bytes of our memory, from then on until the connection with it is torn down;
 * key: of the connection, as the caller counts them (group_connection_key).  False: it cannot now (there is no
 * connection, or the device has not that memory), and the grant is not told. */
MUST_USE static inline bool transport_token(struct transport *t, uint32_t node,
                                            const uint8_t *memory, uint64_t bytes,
                                            struct grant_token *token)
{
    return t->ops->token == NULL || t->ops->token(t, node, memory, bytes, token);
}

/* The grant of that memory, which a token was given for, came back from the node: L5.  Not for one whose connection
 * was torn down: it has none any more. */
static inline void transport_revoke(struct transport *t, uint32_t node, const uint8_t *memory)
{
    if (t->ops->revoke != NULL)
        t->ops->revoke(t, node, memory);
}

/* What proves to a node that bytes of our log are what we wrote there.  False: there is no key now; send the
 * bytes themselves. */
MUST_USE static inline bool transport_prove(struct transport *t, uint32_t node,
                                            const struct grant_range *range,
                                            struct grant_proof *proof)
{
    if (t->ops->prove != NULL)
        return t->ops->prove(t, node, range, proof);
    grant_proof_make(range, proof);
    return true;
}

/* Whether the bytes that are there now are those that the node proves. */
MUST_USE static inline bool transport_proves(struct transport *t, uint32_t node,
                                             const struct grant_range *range,
                                             const struct grant_proof *proof)
{
    return t->ops->proves != NULL ? t->ops->proves(t, node, range, proof)
                                  : grant_proof_is_sound(range, proof);
}

/* A node that comes while the endpoint is used, in two steps: control makes all of the peer, and the endpoint's
 * thread lets it join, which cannot fail.  It goes in two steps, too, while nothing received is unreleased: what
 * waits to be sent to it is dropped, and holds come back as ever.
 * Returns 0 and the peer, which is the caller's until it joins, or
 *   -ENOSPC, -ENOMEM, or what the body says to the address; nothing is left behind. */
MUST_USE static inline int transport_peer_make(struct transport *t, uint32_t node,
                                               const struct sockaddr_storage *address,
                                               struct transport_peer **peer)
{
    *peer = NULL;
    return t->ops->peer_make != NULL ? t->ops->peer_make(t, node, address, peer) : 0;
}

static inline void transport_peer_join(struct transport *t, struct transport_peer *peer)
{
    if (t->ops->peer_join != NULL)
        t->ops->peer_join(t, peer);
}

MUST_USE static inline struct transport_peer *transport_peer_leave(struct transport *t,
                                                                   uint32_t node)
{
    return t->ops->peer_leave != NULL ? t->ops->peer_leave(t, node) : NULL;
}

/* By control; NULL: nothing. */
static inline void transport_peer_free(struct transport *t, struct transport_peer *peer)
{
    if (peer != NULL)
        t->ops->peer_free(peer);
}

/* The endpoint's thread begins, or ends, to use it: what a body has for each thread. */
static inline void transport_enter(struct transport *t)
{
    if (t->ops->enter != NULL)
        t->ops->enter(t);
}

static inline void transport_leave(struct transport *t)
{
    if (t->ops->leave != NULL)
        t->ops->leave(t);
}

/* How long a head may be that travels in one piece, when nothing is beside it. */
static inline uint32_t transport_head_whole(const struct transport *t)
{
    return t->head_whole != 0 && t->head_whole < TRANSPORT_HEAD_MAX ? t->head_whole
                                                                    : TRANSPORT_HEAD_MAX;
}

static inline int transport_wake_fd(const struct transport *t)
{
    return t->wake_fd;
}

/* True: nothing is there to receive or to complete, and what arrives from now on makes wake_fd
 * ready (without one: true always).  Completions wake nobody: who waits for them bounds its sleep.
 * transport_awake after the sleep, before anything else; after false it is not needed. */
MUST_USE static inline bool transport_sleep(struct transport *t)
{
    return t->ops->sleep(t);
}

static inline void transport_awake(struct transport *t)
{
    t->ops->awake(t);
}

/* Version of the wire (frame.h) agreed with a node; 0: nothing is, what is sent to it is lost; UINT8_MAX: no
 * other program is there.  The endpoint's thread. */
static inline uint8_t transport_version(const struct transport *t, uint32_t node)
{
    return t->ops->version != NULL ? t->ops->version(t, node) : UINT8_MAX;
}

/* Nanoseconds of CLOCK_BOOTTIME: when the body wants transport_receive to be called even if nothing
 * arrives; up to a millisecond later will do.  UINT64_MAX: never. */
static inline uint64_t transport_deadline(const struct transport *t)
{
    return t->ops->deadline != NULL ? t->ops->deadline(t) : UINT64_MAX;
}

/* Copy what the body counted to where others read it; the endpoint's thread. */
static inline void transport_publish(struct transport *t)
{
    uint64_t counted[TRANSPORT_COUNTS_MAX];
    if (t->ops->count == NULL)
        return;
    t->ops->count(t, counted);
    for (uint32_t i = 0; i < TRANSPORT_COUNTS_MAX && t->ops->count_names[i] != NULL; i++)
        /* relaxed: a number for people, nothing is concluded from its order */
        atomic_store_explicit(&t->counted[i], counted[i], memory_order_relaxed);
}

/* Name of the ith number that the body counts, NULL behind the last one; any thread. */
static inline const char *transport_count_name(const struct transport *t, uint32_t i)
{
    return t->ops->count != NULL && i < TRANSPORT_COUNTS_MAX ? t->ops->count_names[i] : NULL;
}

/* The number as last published; any thread, for an i that has a name. */
static inline uint64_t transport_counted(const struct transport *t, uint32_t i)
{
    /* relaxed: as in transport_publish */
    return atomic_load_explicit(&t->counted[i], memory_order_relaxed);
}

#endif
