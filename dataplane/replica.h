/* replica - one node's part in one shard: agreement on the log, DESIGN section 5.
 *
 * Pure core: time and messages come in, messages and requests go out; it reads no clock, allocates
 * nothing, does no I/O.  It owns the position of its shard's log (engine/shard.h): nothing else
 * appends as a follower, cuts, or commits.  Owned by the shard's lcore.
 *
 *   replica.c          events in: configurations, messages, time; who may do what in which epoch
 *   replica_recover.c  a new leader: seal, choose, complete, bring a majority, ask for activation
 *   replica_lead.c     an active leader: feed, count acks, commit, leases
 *   replica_follow.c   a follower: promise, join, cut, land, acknowledge
 *
 * Roles in an epoch e:
 *   FOLLOWER -> (pending e names me leader) SEALING -> FETCHING -> BRINGING -> (active e) LEADING
 *   any role -> FOLLOWER when a higher epoch is met
 *
 * Units: ticks of this node's own clock.  Epochs only grow; promised is kept before anything of it
 * is told (in memory: who loses its memory comes back under another incarnation).
 * Source: Ongaro (2014) 3.5, 3.6; Lamport, Malkhi, Zhou (2009); Kafka KIP-101 for epoch tables. */
#ifndef DUNLIN_DATAPLANE_REPLICA_H
#define DUNLIN_DATAPLANE_REPLICA_H

#include "dataplane/commit.h"
#include "dataplane/configuration.h"
#include "dataplane/message.h"
#include "engine/shard.h"

enum replica_role {
    REPLICA_FOLLOWER = 0,
    REPLICA_SEALING = 1,
    REPLICA_FETCHING = 2,
    REPLICA_BRINGING = 3,
    REPLICA_LEADING = 4,
    REPLICA_STOPPED =
        5, /* it met what must not be (a cut below its commit LSN): it touches nothing */
};

struct replica_times {
    uint64_t lease;     /* L: how long an acknowledgement binds its voter */
    uint64_t heartbeat; /* at least one ask per peer and heartbeat; well below the lease */
    uint64_t retry;     /* unanswered: say it again */
    bool read_leases;   /* followers ask for read leases */
};

/* A voter's answer to our seal. */
struct replica_sealed {
    bool here;
    uint64_t epoch, lsn_end, lsn_committed;
    uint32_t table_count;
    struct log_epoch table[LIMIT_EPOCHS];
};

/* What a leader knows of a peer; slot 0 is itself.  What it holds is in commit.lsn_match. */
struct replica_peer {
    struct member id;
    bool joined;           /* it holds a prefix of our log up to what it acknowledged */
    uint64_t lsn_next;     /* to send */
    uint64_t ticks_sent;   /* anything */
    uint64_t ticks_moved;  /* its acknowledgement rose, or we began again */
    uint64_t ask_echoed;   /* newest of our asks that it answered; 0: none since activation */
    uint64_t holder_until; /* it may hold a read lease until then */
};

/* What a replica counts; the simulator fails when one stays zero over its suite. */
enum replica_count {
    REPLICA_COUNT_SEALS_WITH_TAIL, /* sealed with an uncommitted tail */
    REPLICA_COUNT_SEALS_WAITED,    /* answered only after a promise ran out */
    REPLICA_COUNT_FETCHES,         /* recoveries that needed another voter's bytes */
    REPLICA_COUNT_CUTS,            /* that removed records */
    REPLICA_COUNT_NAKS,
    REPLICA_COUNT_RESENDS,
    REPLICA_COUNT_DAMAGED, /* ranges dropped for their checksum */
    REPLICA_COUNT_STALE,   /* messages of older epochs */
    REPLICA_COUNT_ACTIVATIONS,
    REPLICA_COUNT_GRANTS,       /* read leases granted */
    REPLICA_COUNT_HOLDER_WAITS, /* commits that waited for a holder */
    REPLICA_COUNT_LAPSES,       /* rights to read that ran out */
    REPLICA_COUNT_COUNT
};

struct replica {
    struct shard *shard;
    const struct reclaim_now *reclaim; /* the lcore's, good during a call */
    struct member self;
    struct replica_times times;
    enum replica_role role;
    struct configuration configuration; /* highest known; epoch 0: none */
    uint64_t promised;
    uint64_t clock_ns; /* of records */
    uint64_t counts[REPLICA_COUNT_COUNT];
    /* voter */
    uint64_t promise_end; /* no seal above the promised epoch is answered before */
    bool seal_unanswered; /* the leader of promised waits for our SEALED */
    /* follower */
    struct member leader; /* of promised; incarnation 0: not heard of */
    bool joined;
    uint64_t lsn_told;   /* leader's commit LSN as told in this epoch, after the join */
    uint64_t ticks_said; /* last JOIN, NAK or WANT */
    uint64_t grant_lsn;  /* our log must reach it before the read lease begins */
    uint64_t grant_end;  /* until when it would hold; 0: none waits to begin */
    /* leader */
    struct replica_sealed sealed[LIMIT_VOTERS]; /* by slot in configuration.voters_before */
    uint32_t best;                              /* whose log we complete ours from */
    uint64_t ticks_asked;                       /* last SEAL, FETCH or request for activation */
    bool cutting; /* our own log must still be cut to the best one's */
    struct commit commit;
    struct replica_peer peers[LIMIT_PEERS];
    /* the right to answer linearizable reads: a leader's, or a holder's */
    uint64_t right_end;  /* 0: none */
    uint64_t generation; /* changes when a right lapsed, was dropped, or the epoch changed */
};

#define REPLICA_OUT_MAX 32u

struct replica_out {
    uint32_t to; /* node */
    struct message message;
};

/* What a step wants done.  message.bytes points into the log and is good until the next step. */
struct replica_update {
    uint32_t out_count;
    bool more;         /* there was no room for all: call replica_tick again soon */
    uint64_t activate; /* ask the control plane to make this epoch active; 0: nothing */
    struct replica_out out[REPLICA_OUT_MAX];
};

/* Empty an update for the next step. */
static inline void replica_update_reset(struct replica_update *u)
{
    u->out_count = 0;
    u->more = false;
    u->activate = 0;
}

void replica_init(struct replica *r, struct shard *shard, const struct member *self,
                  const struct replica_times *times);

/* A configuration, pending or active, from the control plane; older ones are ignored. */
void replica_configure(struct replica *r, const struct configuration *c, uint64_t now,
                       struct replica_update *u);

/* A message that decoded.  Returns 0, or, with nothing done,
 *   -ESTALE  of an older epoch, or to who we no longer are: normal after changes
 *   -EPROTO  says what no correct peer says: count it. */
MUST_USE int replica_receive(struct replica *r, const struct message *m, uint64_t now,
                             struct replica_update *u);

/* Time passed, or the leader's shard was appended to: feed, retry, commit, expire. */
void replica_tick(struct replica *r, uint64_t now, struct replica_update *u);

/* Whether operations may be appended here. */
static inline bool replica_leads(const struct replica *r)
{
    return r->role == REPLICA_LEADING;
}

/* Whether a linearizable answer, judged before now was read, may leave: at a leader, or at the
 * holder of a read lease whose key has nothing pending. */
bool replica_may_answer(const struct replica *r, uint64_t now);

/* ---- between the files ---- */

/* Room for a message to a node, its sender and epoch filled in; NULL: this update is full. */
struct message *replica_say(const struct replica *r, struct replica_update *u, uint32_t to,
                            enum message_kind kind);
void replica_copy_table(const struct replica *r, struct message *m);
/* Give up every right to read; another generation begins. */
void replica_drop_right(struct replica *r);
/* A right begins where there was none, or one that lapsed: another generation, or it would validate
 * what a reader loaded before it. */
void replica_begin_right(struct replica *r);
/* Promise a higher epoch whose leader is who. */
void replica_promise(struct replica *r, uint64_t epoch, const struct member *who);
/* Commit in the shard what is committed and held here. */
void replica_show(struct replica *r, uint64_t lsn_committed);
/* Longest common prefix of our log and one with this table and end; 0: none. */
uint64_t replica_common(const struct replica *r, const struct log_epoch *table,
                        uint32_t table_count, uint64_t lsn_end);

void replica_recover_begin(struct replica *r, uint64_t now, struct replica_update *u);
void replica_recover_tick(struct replica *r, uint64_t now, struct replica_update *u);
int replica_on_sealed(struct replica *r, const struct message *m);
int replica_on_fetched(struct replica *r, const struct message *m);

void replica_lead_tick(struct replica *r, uint64_t now, struct replica_update *u);
int replica_on_join(struct replica *r, const struct message *m, uint64_t now,
                    struct replica_update *u);
int replica_on_ack(struct replica *r, const struct message *m, uint64_t now);
int replica_on_nak(struct replica *r, const struct message *m);
int replica_on_want(struct replica *r, const struct message *m, uint64_t now,
                    struct replica_update *u);

void replica_follow_tick(struct replica *r, uint64_t now, struct replica_update *u);
int replica_on_seal(struct replica *r, const struct message *m, uint64_t now,
                    struct replica_update *u);
int replica_on_fetch(struct replica *r, const struct message *m, struct replica_update *u);
int replica_on_cut(struct replica *r, const struct message *m, uint64_t now,
                   struct replica_update *u);
int replica_on_append(struct replica *r, const struct message *m, uint64_t now,
                      struct replica_update *u);
int replica_on_grant(struct replica *r, const struct message *m, uint64_t now);

#endif
