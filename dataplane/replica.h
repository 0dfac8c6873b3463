/* replica - one node's part in one shard: agreement on the log, DESIGN section 5.
 *
 * Pure core: time and messages come in, messages and requests go out; it reads no clock, allocates
 * nothing, does no I/O.  It owns the position of its shard's log (engine/shard.h): nothing else
 * appends as a follower, cuts, or commits.  Owned by the shard's lcore.
 *
 *   replica.c          events in: configurations, messages, time; who may do what in which epoch
 *   replica_recover.c  a new leader: seal, choose, complete, bring a majority, ask for activation
 *   replica_lead.c     an active leader: feed, count acks, commit
 *   replica_follow.c   a follower: promise, join, cut, land, acknowledge
 *   replica_snapshot.c a follower that the log cannot feed
 *   replica_grant.c    log writes: segments granted, bytes announced, grants returned
 *   replica_lease.c    promises, rights and read leases, shared with other shards (group.h)
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
    uint64_t lease;     /* L: how long an echo binds its voter */
    uint64_t heartbeat; /* one ask per pair of nodes and heartbeat; well below the lease */
    uint64_t retry;     /* unanswered: say it again */
    uint64_t notice;    /* a commit waits so long for bytes that carry it, then goes alone */
    bool read_leases;   /* followers have read leases */
    bool log_write;     /* the transport can: followers grant segments, the leader writes to them */
    uint32_t log_write_above; /* bytes; ranges of up to so many go by message all the same */
};

/* A voter's answer to our seal. */
struct replica_sealed {
    bool here;
    uint64_t epoch, lsn_base, lsn_end, lsn_committed;
    uint32_t table_count;
    struct log_epoch table[LIMIT_EPOCHS];
};

struct pair;

/* What a leader knows of a peer; slot 0 is itself.  What it holds is in commit.lsn_match. */
struct replica_peer {
    struct member id;
    bool joined;              /* it holds a prefix of our log up to what it acknowledged */
    uint64_t lsn_next;        /* to send */
    uint64_t lsn_sent;        /* highest that was; what is sent again goes by message */
    uint64_t grant_seen;      /* number of the newest grant; older ones count no more */
    uint64_t lsn_shown;       /* committed there, as it last said */
    uint64_t lsn_commit_sent; /* commit LSN that it was last told */
    uint64_t ticks_untold;    /* a commit waits for bytes that carry it since then; 0: none does */
    uint64_t ticks_sent;      /* anything */
    uint64_t ticks_moved;     /* its acknowledgement rose, or we began again */
    uint32_t retry_shift;     /* in vain again and again: each time twice as long */
    bool wants_snapshot;      /* another is told one; it is this peer's turn later */
    bool is_found_fit;        /* a learner: the control plane was told that it may be a voter */
    bool catches_up;          /* it was away, or joined, and has not been near our end since */
    uint64_t lsn_replaced;    /* end of its log when it asked */
    uint64_t ticks_kept_up;   /* holds all that is committed since then; 0: it does not */
    /* its place on our list, and its read lease; replica_lease.c */
    struct pair *pair;
    bool listed, behind;
    bool reads;          /* marked: commits wait for it */
    uint32_t back_off;   /* relapses */
    uint64_t read_after; /* not marked before */
    uint64_t off_number; /* unmarked with this change, */
    uint64_t off_until;  /* and it may read until then, or until it knows */
};

/* A segment of a peer that we may write to. */
struct replica_grant {
    struct member peer; /* incarnation 0: unused */
    uint64_t number, lsn_start;
    struct grant_token token;
    uint32_t writes; /* under way */
    uint32_t missed; /* ranges that the peer asked for although they were announced */
    bool over;       /* nothing more is written; it goes when no write is under way */
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
    REPLICA_COUNT_GRANTS,       /* read leases given */
    REPLICA_COUNT_HOLDER_WAITS, /* commits that waited for a holder */
    REPLICA_COUNT_RELAPSES,     /* read leases taken from who was slow */
    REPLICA_COUNT_LAPSES,       /* ends of a right to read */
    REPLICA_COUNT_SNAPSHOTS,    /* begun for a peer */
    REPLICA_COUNT_INSTALLS,     /* taken over */
    REPLICA_COUNT_PROMOTIONS,   /* learners that may be voters */
    REPLICA_COUNT_LOSSY,        /* epochs that gave up what a lost majority had */
    REPLICA_COUNT_HAND_OVERS,   /* rights given up for the next leader */
    REPLICA_COUNT_ANNOUNCED,    /* ranges found written as announced */
    REPLICA_COUNT_UNWRITTEN,    /* ranges announced and not found written */
    REPLICA_COUNT_RETURNED,     /* grants that came back */
    REPLICA_COUNT_DISCONNECTS,  /* connections torn down for grants that did not come back */
    REPLICA_COUNT_COUNT
};

struct group;
struct right;
struct lease_cell;

struct replica {
    struct shard *shard;
    const struct reclaim_now *reclaim; /* the lcore's, good during a call */
    struct member self;
    struct replica_times times;
    enum replica_role role;
    struct configuration configuration; /* highest known; epoch 0: none */
    uint64_t promised;
    uint64_t lsn_stopped; /* STOPPED: the cut that must not be */
    uint64_t clock_ns;    /* of records */
    uint64_t counts[REPLICA_COUNT_COUNT];
    /* voter */
    uint64_t promise_end; /* no seal above the promised epoch is answered before */
    bool seal_unanswered; /* the leader of promised waits for our SEALED */
    /* follower */
    struct member leader; /* of promised; incarnation 0: not heard of */
    bool leader_ready;    /* it has sealed, and takes a JOIN */
    bool joined;
    uint64_t lsn_told;    /* leader's commit LSN as told in this epoch, after the join */
    uint64_t ticks_said;  /* last JOIN or NAK */
    uint32_t retry_shift; /* said in vain: each time twice as long */
    uint64_t
        lsn_dropped; /* there was no memory for what the leader sent up to there; 0: there was */
    uint64_t install_id;    /* snapshot that is being taken; 0: none */
    struct pair *list_pair; /* whose list the shard stands on; NULL: none */
    uint64_t list_epoch;
    bool list_reads;    /* marked for read leases */
    uint64_t grant_lsn; /* our log must reach it before one begins */
    /* leader */
    uint32_t best;          /* whose log we complete ours from */
    uint64_t ticks_recover; /* when sealing began */
    uint64_t ticks_asked;   /* last SEAL, FETCH or request for activation */
    bool cutting;           /* our own log must still be cut to the best one's */
    struct commit commit;
    uint64_t ticks_ceiling;     /* when a higher ceiling was asked for */
    uint64_t ticks_waited_from; /* a commit waits for holders since then; 0: none does */
    struct right *right;        /* shared with other shards; NULL: none */
    struct replica *joining_next;
    bool right_given_up; /* for the rest of the epoch */
    bool handing_over;
    /* the right to answer linearizable reads: a leader's, or a holder's */
    bool may_read;             /* while cell says so */
    uint8_t follower_shown;    /* enum layout_follower on the board, */
    uint64_t list_shown;       /* epoch of the list that the board goes by; 0: of none */
    uint64_t generation_shown; /* there too; boards.c */
    struct lease_cell *cell;   /* NULL: there never was one */
    uint64_t generation;       /* changes whenever may_read does */
    struct group *group;       /* NULL: alone, without leases */
    bool busy;                 /* on the group's list, */
    uint32_t busy_at;          /* there */
    /* Why here: the slots that are in use stand with all else that a write touches, in front of what it
     * does not. */
    struct replica_peer peers[LIMIT_PEERS];
    /* log writes */
    /* last RECALL of all that are wanted back; 0: none for the oldest of them */
    uint64_t ticks_recalled;
    uint32_t recalls;                             /* in vain, of that one */
    uint64_t grant_recalled;                      /* number of the newest that was recalled */
    struct replica_grant held[LIMIT_GRANTS_HELD]; /* as the leader, of whatever epoch */
    struct replica_sealed sealed[LIMIT_VOTERS];   /* by slot in configuration.voters_before */
};

#define REPLICA_OUT_MAX 32u
/* What is said in vain is said again after retry, then twice as long, and so on this often. */
#define REPLICA_RETRY_SHIFT_MAX 6u
#define REPLICA_RESEND_SHIFT_MAX 3u /* bytes of the log, to who has joined */

struct replica_out {
    uint32_t to; /* node */
    struct message message;
};

/* What a step wants done.  message.bytes points into the log and is good until the next step. */
struct replica_update {
    uint32_t out_count;
    bool more;             /* there was no room for all: call replica_tick again soon */
    uint64_t activate;     /* ask the control plane to make this epoch active; 0: nothing */
    uint64_t ceiling;      /* ask it for a higher LSN ceiling, at least this; 0: nothing */
    struct member promote; /* tell it that this learner may be a voter now; incarnation 0: none */
    bool disconnect;       /* tear down the connection for log writes with node disconnect_node */
    uint32_t disconnect_node;
    struct replica_out out[REPLICA_OUT_MAX];
};

/* Empty an update for the next step. */
static inline void replica_update_reset(struct replica_update *u)
{
    u->out_count = 0;
    u->more = false;
    u->activate = 0;
    u->ceiling = 0;
    u->promote = (struct member){0};
    u->disconnect = false;
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

/* Fetch what an event touches of it, where three nodes have a shard. */
static inline void replica_prefetch(const struct replica *r)
{
    for (size_t at = 0; at < offsetof(struct replica, peers[3]); at += CACHE_LINE)
        PREFETCH_WRITE((const uint8_t *)r + at);
}

/* Nothing to do before an event, an append or a frame of the pair: no tick is needed. */
bool replica_is_idle(const struct replica *r);
/* Not idle, but all is said: until an event or an append only a retry is left to do. */
bool replica_waits(const struct replica *r);

/* Leader: a commit waits for bytes that carry it to a peer (replica_times.notice). */
bool replica_is_untold(const struct replica *r);
/* One does for a peer to which another shard's bytes leave in this pass: another tick lets it go with them. */
bool replica_rides(const struct replica *r);

/* Leader: let the next one begin without a wait.  Followers' read leases end, then ours, for the rest
 * of the epoch; writes go on until somebody else is made leader. */
void replica_hand_over(struct replica *r);

/* ---- between the files ---- */

/* Room for a message to a node, its sender and epoch filled in; NULL: this update is full. */
struct message *replica_say(const struct replica *r, struct replica_update *u, uint32_t to,
                            enum message_kind kind);
/* SEALED, JOIN: what our log is. */
void replica_tell_log(const struct replica *r, struct message *m);
/* Our state was given up for a snapshot that did not come: nothing is in common with anybody. */
bool replica_has_nothing(const struct replica *r);
/* Promise a higher epoch whose leader is who. */
void replica_promise(struct replica *r, uint64_t epoch, const struct member *who);
/* Commit in the shard what is committed and held here. */
void replica_show(struct replica *r, uint64_t lsn_committed);
/* Another's log, as it told of it. */
struct replica_log {
    const struct log_epoch *table;
    uint32_t table_count;
    uint64_t lsn_base, lsn_end;
};
/* Longest common prefix of our log and another; 0: none. */
uint64_t replica_common(const struct replica *r, const struct replica_log *other);

void replica_recover_begin(struct replica *r, uint64_t now, struct replica_update *u);
void replica_recover_tick(struct replica *r, uint64_t now, struct replica_update *u);
int replica_on_sealed(struct replica *r, const struct message *m);
int replica_on_fetched(struct replica *r, const struct message *m);

void replica_lead_tick(struct replica *r, uint64_t now, struct replica_update *u);
bool replica_lead_is_idle(const struct replica *r);
bool replica_lead_waits(const struct replica *r);
/* Whether what is fed to a peer that is behind is a copy in the background, whose rate is bounded
 * (copy_rate.h).  Not so where commits wait for it. */
bool replica_is_copy(const struct replica *r, uint32_t slot);
int replica_on_join(struct replica *r, const struct message *m, uint64_t now,
                    struct replica_update *u);
int replica_on_ack(struct replica *r, const struct message *m, uint64_t now);
int replica_on_nak(struct replica *r, const struct message *m);
int replica_on_granted(struct replica *r, const struct message *m);
int replica_on_wanted(struct replica *r, const struct message *m, uint64_t now,
                      struct replica_update *u);

void replica_follow_tick(struct replica *r, uint64_t now, struct replica_update *u);
/* Ask the leader to be one of its peers, now. */
void replica_follow_join(struct replica *r, uint64_t now, struct replica_update *u);
int replica_on_seal(struct replica *r, const struct message *m, uint64_t now,
                    struct replica_update *u);
int replica_on_fetch(struct replica *r, const struct message *m, struct replica_update *u);
int replica_on_cut(struct replica *r, const struct message *m, struct replica_update *u);
int replica_on_append(struct replica *r, const struct message *m, uint64_t now,
                      struct replica_update *u);

#endif
