/* group - the replicas of one lcore, and what they share: a pair with every other node (pair.h), and
 * the rights to read that many shards have in common.
 *
 * Pure core; owned by the lcore.  Per pass, in this order:
 *   group_begin      the clock after the last receive: what lapsed is over before anything is judged
 *   group_receive, replica_receive    frames and messages
 *   replica_tick     of every replica in busy: it was appended to, waits, or has something to say
 *   group_frame      frames to send, until there is none; now_late is read when they leave
 *
 * Rights: a leader's right to answer reads rests on the voters alone, so all shards with the same
 * voters have one (a lease cell); a follower has one for each leader.  A shard takes part from the
 * moment that may_read of its replica says; each beginning and end of that changes its own generation,
 * each beginning of the cell's right the cell's, so that a reader can tell that both held all along
 * (R1, R7 in engine/read.h).
 * An idle shard is in no list here but those of the pairs, and costs nothing. */
#ifndef DUNLIN_DATAPLANE_GROUP_H
#define DUNLIN_DATAPLANE_GROUP_H

#include "dataplane/copy_rate.h"
#include "dataplane/pair.h"
#include "dataplane/replica.h"
#include "engine/snapshot.h"

/* A leader's right, for every shard that it leads with these voters. */
struct right {
    uint32_t voter_count; /* 0: unused */
    struct member voters[LIMIT_VOTERS];
    uint64_t ask; /* newest ask that a majority promised */
    struct lease_cell cell;
    struct replica *joining; /* they have it from the next ask on */
    uint32_t user_count;
};

/* The snapshot that is being told; replica_snapshot.h. */
struct snapshot_stream {
    struct replica *replica; /* NULL: none */
    uint32_t slot;           /* of the peer */
    uint32_t number, length; /* of the piece in bytes, kept until the next one is asked for */
    bool is_last;
    bool is_wanted; /* it is told when the rate of copies allows */
    uint64_t id;
    uint64_t ticks_moved;
    struct snapshot_cursor cursor;
    uint8_t bytes[MESSAGE_PIECE_MAX];
};

struct group {
    struct member self;
    struct replica_times times;
    struct grant_prover prover;   /* of what log writes brought; group_init: grant_prover_plain */
    struct grant_revoker revoker; /* of grants that came back; group_init: nobody */
    struct replica *(*find)(void *context, uint32_t log); /* NULL: no such shard here */
    void *context;
    uint64_t now;
    struct right rights[LIMIT_RIGHTS];
    uint32_t right_count; /* those above are unused */
    struct pair *pairs;   /* with every other node; those that are with nobody count, too */
    uint32_t pair_count;
    uint64_t connections;      /* for log writes, with all nodes so far: no two have one number */
    struct replica **replicas; /* all, by log where they joined one by one */
    uint32_t replica_count;
    struct replica **busy; /* to be ticked; behind ready_count: not before rest_until */
    uint32_t busy_count, ready_count;
    uint64_t rest_until;
    bool tell;          /* in this pass: commits that wait for bytes go alone */
    bool beats;         /* in this pass: an echo or a pulse left */
    bool reads_changed; /* may_read or the list of one did; shown before a frame leaves */
    struct copy_rate copy;
    bool copy_waits; /* in this pass one was not allowed */
    uint64_t stream_count;
    struct snapshot_stream stream;
    uint32_t append_bytes; /* of a log, in one message at most; 0: GROUP_APPEND_BYTES */
};

/* pairs, replicas, busy: the caller's arrays; busy has replica_count places. */
void group_init(struct group *g, const struct member *self, const struct replica_times *times);

/* A replica of its own joins the group, or leaves it: nothing of it is listed or promised any more.  For the
 * first, replicas and busy have room for one more, and its pairs the memory. */
void group_add(struct group *g, struct replica *r);
void group_remove(struct group *g, struct replica *r);

/* A node comes: its pair, in a place of g->pairs that is with nobody or the next one, which there is and
 * which is initialized for nobody.  Shards that are led here and have a part there are listed. */
struct pair *group_pair_add(struct group *g, uint32_t node);
/* A node goes: nobody points to its pair any more, shards that are led here feed it no more, and what is
 * promised to it or may be read there still binds until it runs out.  The connection for log writes is torn
 * down by then. */
void group_pair_remove(struct group *g, struct pair *p);

static inline struct pair *group_pair(const struct group *g, uint32_t node)
{
    for (uint32_t i = 0; i < g->pair_count; i++)
        if (g->pairs[i].peer.node == node)
            return &g->pairs[i];
    return NULL;
}

/* The clock moved. */
void group_begin(struct group *g, uint64_t now);

/* A frame that decoded.  Returns 0, or, with nothing done,
 *   -ESTALE  of or to who is no more: normal after restarts
 *   -EPROTO  says what no correct peer says: count it. */
MUST_USE int group_receive(struct group *g, const struct pair_frame *f, uint64_t now);

/* The pair's list begins anew: its journal was full, or its read leases ended. */
void group_list_again(struct group *g, struct pair *p);

static inline void group_place(struct group *g, struct replica *r, uint32_t at)
{
    g->busy[at] = r;
    r->busy_at = at;
}

/* See to it that replica_tick is called in this pass. */
static inline void group_wake(struct group *g, struct replica *r)
{
    if (!r->busy) {
        r->busy = true;
        group_place(g, r, g->busy_count++);
    }
    if (r->busy_at < g->ready_count)
        return;
    group_place(g, g->busy[g->ready_count], r->busy_at);
    group_place(g, r, g->ready_count++);
}

/* The connection over which a node's log writes come was torn down, by replica_update.disconnect or
 * because another start of the node was heard of: no write that was posted to it so far lands any more.
 * What it had been granted is free, what it granted us is void. */
void group_disconnected(struct group *g, uint32_t node);
/* Key of the tokens for a node: of the connection that is there now. */
uint64_t group_connection_key(const struct group *g, uint32_t node);

/* Forget those in busy that need no tick before something happens to them. */
void group_settle(struct group *g);

/* After group_settle: those that wait for nothing but an answer rest, behind ready_count, so that a pass
 * costs nothing for them.  Something that happens to one, or a part of the retry time, makes it ready
 * again.  Who does not call this ticks all in busy, with the same outcome. */
void group_rest(struct group *g);

/* Next frame to send, to node *to.  False: no more.  Pulses that are due in the last quarter of their interval leave
 * with the first one of a pass: what nodes that lead for each other have to say falls into step, and comes together. */
MUST_USE bool group_frame(struct group *g, struct pair_frame *f, uint32_t *to, uint64_t now_late);

/* Whether commits wait for bytes that carry them (replica_times.notice); then all of them go alone in the
 * next pass.  For a caller that is about to sleep: nothing else would carry them. */
MUST_USE bool group_tell(struct group *g);

/* Ticks from now until a replica or a pair has something to say by itself.  0: a replica may have at any
 * time; UINT64_MAX: none will. */
uint64_t group_wait(const struct group *g, uint64_t now);

static inline bool group_is_quiet(const struct group *g)
{
    return group_wait(g, g->now) == UINT64_MAX;
}

/* Bytes of logs that a peer is fed in one pass at most, all its shards together, and what one message or log write has
 * beyond that: one that comes back, however far behind, takes no longer of a pass.  Why a quarter of what may be under
 * way to it: behind a pass others have the processor where it is shared, and peers that wait there for the time that
 * all of it takes would take us for one that computes, and nap (poll_doorbell.c: yield). */
#define GROUP_FEED_BYTES (1u << 15)
/* And in one message, if it is not cut up on its way. */
#define GROUP_APPEND_BYTES (1u << 13)
/* And in one log write, which costs a proof, an announcement and an answer whatever its length.  Why no more: one that
 * the transport refuses goes as a single datagram (TRANSPORT_FRAMED_LENGTH_MAX). */
#define GROUP_LOG_WRITE_BYTES (1u << 15)
/* About as many where it is cut into frames that carry so many bytes of it: such that the last one is full.
 * piece: 0, it is not cut up. */
MUST_USE uint32_t group_append_bytes(uint32_t piece);
/* What it may still be fed in this one, and that it was. */
static inline uint64_t group_feed_left(const struct pair *p)
{
    return p->bytes_fed < GROUP_FEED_BYTES ? GROUP_FEED_BYTES - p->bytes_fed : 0;
}
/* Whether a copy may begin now, a piece of the snapshot or bytes of a log.  Why the former goes first: it is one
 * at a time, and what comes between two of them is for logs. */
static inline bool group_may_copy(struct group *g, bool is_piece)
{
    bool may = copy_rate_allows(&g->copy, g->now) &&
               (is_piece || g->stream.replica == NULL || !g->stream.is_wanted);
    g->copy_waits |= !may;
    return may;
}

/* Whether a peer was fed all that: there may be more for it, so that the node must not sleep. */
bool group_is_short(const struct group *g);

#endif
