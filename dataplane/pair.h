/* pair - promises, asks and read leases between the replicas of this lcore and those of one other
 * node's: one frame each way per heartbeat, whatever the number of shards (DESIGN section 5, traffic
 * when idle).
 *
 * Pure core; owned by the lcore, through group.h.  A pair has two sides, and a node plays both:
 *
 *   leader's side    a numbered list of the (shard, epoch) led here that the peer holds.  A change
 *                    is named in every PULSE until the peer's ECHO says that its list has it.
 *   follower's side  the peer's list as far as it was named.  An ECHO promises exactly the list whose
 *                    number it carries, but for what it names as excluded: no seal above those epochs
 *                    is answered for the lease time.
 *
 * A PULSE with a change list that does not continue ours changes nothing, so a frame that comes late
 * or twice does no harm.  What a promise or a grant binds is counted from now_late, read when the
 * frame leaves; what it gives is counted from the ask (lease.h).
 *
 * Read leases: the peer's ECHO carries its clock as a want; a PULSE grants a duration from it, good
 * for the shards that the list marks PAIR_READ.  A shard is marked only while a grant is out, and its
 * commits wait for the peer from then on; when the grants lapse the list begins anew without marks. So
 * no grant ever covers a shard whose commits did not wait.
 *
 * Units: ticks of this node's clock, but for what is echoed, which is the peer's.
 * Source: Gray and Cheriton (1989); Moraru et al., "Paxos Quorum Leases" (2014). */
#ifndef DUNLIN_DATAPLANE_PAIR_H
#define DUNLIN_DATAPLANE_PAIR_H

#include "dataplane/configuration.h"
#include "engine/base.h"

enum pair_what {
    PAIR_RESET = 1,    /* the list is empty: what follows is all of it */
    PAIR_ADD = 2,      /* a promise covers it from now on */
    PAIR_READ = 3,     /* so does a read lease, once its log holds lsn */
    PAIR_READ_OFF = 4, /* no more */
    PAIR_REMOVE = 5,   /* the leader stopped; promises made stay */
    PAIR_RELEASE = 6, /* hand-over: it will never again read in that epoch; its promises are void */
    PAIR_WHAT_COUNT
};

struct pair_change {
    uint32_t log;
    uint32_t what; /* enum pair_what; of an excluded shard PAIR_REMOVE */
    uint64_t epoch;
    uint64_t lsn; /* READ */
};

/* The peer of a pair that is with nobody: no node has this id. */
#define PAIR_NOBODY UINT32_MAX

/* Changes named, or shards excluded, in one frame. */
#define PAIR_ITEMS 32u

enum pair_kind { PAIR_PULSE = 32, PAIR_ECHO = 33 };

struct pair_frame {
    uint8_t kind; /* enum pair_kind; other values than enum message_kind */
    uint8_t count;
    struct member from;
    uint64_t to;          /* incarnation of the receiver, 0: not known */
    uint64_t ask;         /* PULSE: sender's clock; ECHO: the receiver's, 0: nothing is promised */
    uint64_t number;      /* PULSE: of the whole list; ECHO: up to which it is known */
    uint64_t number_from; /* PULSE: of the first change named */
    uint64_t want;        /* ECHO: sender's clock; PULSE: the receiver's, granted from; 0: none */
    uint64_t duration;    /* PULSE: of the grant */
    bool current;         /* PULSE: the peer was told and has confirmed every commit */
    struct pair_change items[PAIR_ITEMS];
};

#define PAIR_FRAME_HEAD_BYTES 72u
#define PAIR_FRAME_BYTES_MAX (PAIR_FRAME_HEAD_BYTES + PAIR_ITEMS * 24u)

/* When a right to read ends, and which right it is: changes before a new deadline is stored. */
struct lease_cell {
    uint64_t end;
    uint64_t generation;
};

struct pair {
    struct member peer; /* incarnation 0: not heard of */
    uint64_t ticks_heard;
    uint64_t connection; /* number of the one for log writes: group_disconnected */
    uint64_t bytes_fed;  /* in this pass: group.h */
    /* leader's side */
    struct pair_change *journal; /* changes number_first .. number */
    uint32_t capacity;
    uint64_t number_first, number;
    uint64_t number_sent;    /* named at least once */
    uint64_t number_echoed;  /* the peer's list is as new as this */
    uint64_t number_promise; /* newest change that added to what is promised */
    uint64_t ask_echoed;     /* newest ask promised for all that is listed; 0: none */
    uint64_t want;           /* to be granted; 0: nothing */
    uint64_t holder_until;   /* the peer may read until then; 0: no grant is out */
    uint64_t ticks_pulse;
    uint32_t listed;        /* shards on the list */
    uint32_t reader_count;  /* of them, those marked PAIR_READ */
    uint32_t learner_count; /* of them, those that it is no voter of */
    uint32_t behind;        /* of them, those whose peer has not confirmed all that is committed */
    /* follower's side */
    uint64_t list_number;         /* up to which the peer's list is known; 0: not at all */
    uint64_t promise_end;         /* newest promise for it */
    uint64_t ask_unechoed;        /* 0: nothing to echo */
    uint64_t ticks_current;       /* asked at: all told is confirmed; replica age counts from it */
    struct pair_change *excluded; /* listed by the peer, and promised elsewhere */
    uint32_t excluded_count, excluded_capacity; /* above PAIR_ITEMS nothing is promised */
    struct lease_cell cell;                     /* our right under the peer's grants */
};

/* What a list may grow by before it begins anew. */
#define PAIR_CHANGES_PER_SHARD 6u
/* Bytes of memory for a pair whose nodes hold so many shards together. */
size_t pair_bytes(uint32_t shards);
/* memory: pair_bytes(shards), 8-aligned, the caller's, outlives the pair. */
void pair_init(struct pair *p, uint32_t node, uint32_t shards, void *memory);

/* A pair that was with nobody is with this node, which has not been heard of.  Its numbers go on, and its cell
 * has another generation than any that was shown. */
void pair_begin(struct pair *p, uint32_t node);
/* It is with nobody.  Nothing is listed on either side, and nobody points to it. */
void pair_end(struct pair *p);

/* From now on they hold so many, at most as many as its memory is for. */
void pair_limit(struct pair *p, uint32_t shards);

/* ---- leader's side ---- */

/* Put a change on the list.  Returns its number; 0: the journal is full, begin the list anew. */
MUST_USE uint64_t pair_change(struct pair *p, const struct pair_change *change);
/* An empty list: whoever is to be on it is added again, and unmarked by the caller. */
void pair_restart(struct pair *p);
/* Whether a PULSE should leave. */
bool pair_pulse_due(const struct pair *p, uint64_t now, uint64_t heartbeat);
/* Ticks until one is due if nothing changes; UINT64_MAX: none will be. */
uint64_t pair_pulse_wait(const struct pair *p, uint64_t now, uint64_t heartbeat);
/* The PULSE to send.  now: the ask; duration: of the grant, 0: none. */
void pair_pulse(struct pair *p, struct pair_frame *f, uint64_t now, uint64_t now_late,
                uint64_t duration);
/* Returns 0, or -EPROTO  it echoes what was never said: count it. */
MUST_USE int pair_on_echo(struct pair *p, const struct pair_frame *f, uint64_t now);

/* ---- follower's side ---- */

/* Take a PULSE.  *first, *count: changes in f->items to be carried out now, in order, before
 * pair_on_grant.  Returns 0 or -EPROTO. */
MUST_USE int pair_on_pulse(struct pair *p, const struct pair_frame *f, uint32_t *first,
                           uint32_t *count);
/* The grant in a PULSE whose changes were carried out. */
void pair_on_grant(struct pair *p, const struct pair_frame *f, uint64_t now);
/* The shard is listed by the peer and promised elsewhere. */
void pair_exclude(struct pair *p, uint32_t log, uint64_t epoch);
/* The peer took it off its list, or listed it for this epoch; or began its list anew. */
void pair_include(struct pair *p, uint32_t log, uint64_t epoch);
void pair_include_all(struct pair *p);
/* The ECHO to send, if one is due.  want: our clock, 0: no read lease is wanted. */
MUST_USE bool pair_echo(struct pair *p, struct pair_frame *f, uint64_t want, uint64_t now_late,
                        uint64_t lease);

/* ---- wire ---- */

uint64_t pair_frame_bytes(const struct pair_frame *f);
void pair_frame_encode(const struct pair_frame *f, uint8_t *into);
/* Returns 0, or -EBADMSG  kind, counts or length do not agree: drop it, count it. */
MUST_USE int pair_frame_decode(struct pair_frame *f, const uint8_t *bytes, uint64_t length);

#endif
