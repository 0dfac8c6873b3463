/* leader_lease - a node's lease to lead: what control voters grant from memory, and what their answers give to
 * the node that asked; nothing else.
 *
 * A node asks every voter.  Each grants by itself, without a log entry and without a control leader.  A node
 * has its lease while grants of a majority of voters run, each counted from when it was asked for.  The lease
 * promises that what the node leads stays; that no write is lost rests on seals, whatever is said here.
 *
 * Voter.  Of a node whose grant ran out it says that its lease is over.  That statement binds: to that start
 * of the node nothing is granted until the control log has decided what becomes of it, or for one longest
 * lease, after which the voter grants again to who asked meanwhile, and says it again of who did not.  So a
 * majority of statements that bind at one time exclude a majority of grants (leader_lease_tally.h collects them).
 *   A voter that has started knows nothing of what it granted and said before: for one longest lease it grants
 * nothing and says nothing.  A node that the control state names and that has not asked has one more lease
 * to do so: neither a cluster that starts nor a node that has just registered is taken for failed.
 *   A node has one start at a time, the highest that asked or that the state named.  What an older one was
 * granted is forgotten: its registration, not a statement, is what moves its leaderships.
 *
 * Pure; one thread.  Units: ns of one monotonic clock of the process that also counts while the machine sleeps;
 * two such clocks differ by up to 1,000 ppm (dataplane/lease.h).
 *   start   of a node, as in coordinator_state.h
 *   number  of an ask, 1, 2, ... in one start
 * Source: DESIGN section 8, leader leases; Gray and Cheriton, "Leases" (SOSP 1989), sections 3.1 and 5;
 * Lamport, "Paxos Made Simple" (2001), 2.2, for why two majorities meet. */
#ifndef DUNLIN_CONTROL_LEADER_LEASE_H
#define DUNLIN_CONTROL_LEADER_LEASE_H

#include "engine/base.h"
#include "engine/limits.h"

#define LEADER_LEASE_NS_MAX (60 * NS_PER_S) /* a grant for longer counts as one for so long */
#define LEADER_LEASE_ASKS 32u               /* on their way; an answer to an older one is late */

struct leader_lease_ask {
    uint32_t node;
    uint64_t start, number;
};

/* A voter's answer, for the start that asked alone. */
struct leader_lease_grant {
    uint32_t voter;
    uint64_t start, number; /* of the ask */
    uint64_t duration_ns;
};

/* A voter's statement. */
struct leader_lease_over {
    uint32_t node;
    uint64_t start;
    uint64_t bound_ns; /* it binds for so long by anybody's clock, from when the voter tells it */
};

/* ---- voter ---- */

enum leader_lease_standing {
    LEADER_LEASE_UNKNOWN = 0,  /* no such node, or not in this start */
    LEADER_LEASE_EXPECTED = 1, /* it has some time left to ask */
    LEADER_LEASE_GRANTED = 2,
    LEADER_LEASE_OVER = 3,    /* said, and bound by it */
    LEADER_LEASE_DECIDED = 4, /* the log has decided, and it has not been granted anything since */
};

struct leader_lease_entry {
    uint32_t node;
    enum leader_lease_standing standing;
    uint64_t start;
    uint64_t until_ns; /* when the standing ends */
    bool has_asked;    /* while OVER or DECIDED: nothing but that stood against a grant */
};

struct leader_lease_voter_config {
    uint32_t voter;       /* own node id */
    uint64_t duration_ns; /* of a grant */
    uint64_t
        duration_max_ns; /* longest that any voter of the cluster is configured to grant, and not shorter
                               * than that: of silence and of statements */
};

struct leader_lease_voter {
    struct leader_lease_voter_config config;
    uint64_t silent_until_ns;
    uint32_t count;
    struct leader_lease_entry entries[LIMIT_NODES];
};

/* A voter has started. */
void leader_lease_voter_init(struct leader_lease_voter *v,
                             const struct leader_lease_voter_config *config, uint64_t now);

/* It is a voter from now on, in a process where it was none (a restart is init): it knows nobody, and says nothing
 * before those that it granted anything to when it was one last are over. */
void leader_lease_voter_begin(struct leader_lease_voter *v);
/* And is none any more. */
void leader_lease_voter_end(struct leader_lease_voter *v, uint64_t now);

/* The control state names this start of a node: after each change of it, for every node that registered.
 * Returns 0, or -ENOSPC: more nodes than LIMIT_NODES. */
MUST_USE int leader_lease_know(struct leader_lease_voter *v, uint32_t node, uint64_t start,
                               uint64_t now);

/* It names that node no more: what was said of it is void. */
void leader_lease_forget(struct leader_lease_voter *v, uint32_t node);

/* A node asks.  now: read after the ask arrived and before the grant leaves.  denied: by what others say of its
 * data plane (health.h).  Returns 0 with the grant, or
 *   -EAGAIN  this voter has just started
 *   -EBUSY   it has said that the lease is over, and is bound by that
 *   -EACCES  denied
 *   -ESTALE  a later start of the node is known: tell it so, it has to end
 *   -ENOSPC  as above.
 * An ask that was refused needs no other answer: the node asks again soon. */
MUST_USE int leader_lease_ask(struct leader_lease_voter *v, const struct leader_lease_ask *ask,
                              uint64_t now, bool denied, struct leader_lease_grant *grant);

/* Whose lease is over from now on: writes statements to over (room for LIMIT_NODES), returns how many.  Call it at
 * leader_lease_next. */
MUST_USE uint32_t leader_lease_step(struct leader_lease_voter *v, uint64_t now,
                                    struct leader_lease_over *over);
/* When step has something to say next, if nothing else happens; UINT64_MAX: never. */
uint64_t leader_lease_next(const struct leader_lease_voter *v);

/* All that bind this voter now, of which bound_ns is what is left, for a control leader that asks.  Likewise. */
MUST_USE uint32_t leader_lease_bound(const struct leader_lease_voter *v, uint64_t now,
                                     struct leader_lease_over *over);

/* The control log has decided about this start of a node: a FAIL was applied here, whatever it changed.  Who
 * is not granted anything behind it is over once more after one longest lease. */
void leader_lease_decided(struct leader_lease_voter *v, uint32_t node, uint64_t start,
                          uint64_t now);

enum leader_lease_standing leader_lease_standing(const struct leader_lease_voter *v, uint32_t node,
                                                 uint64_t start, uint64_t now);

/* ---- holder ---- */

struct leader_lease_holder {
    uint32_t node, voter_count;
    uint64_t start, number; /* newest ask */
    uint32_t voters[LIMIT_VOTERS];
    uint64_t right_end_ns[LIMIT_VOTERS];
    uint64_t asked_ns[LEADER_LEASE_ASKS]; /* by number */
    uint64_t until_ns;                    /* of the lease that voters before these gave */
};

/* A start of a node has begun.  voters: ids, 1 .. LIMIT_VOTERS of them. */
void leader_lease_holder_init(struct leader_lease_holder *h, uint32_t node, uint64_t start,
                              const uint32_t *voters, uint32_t voter_count);

/* Others vote from now on, likewise: the lease that is held stays, grants of those before count no more.  The
 * caller has seen to it that each grant it takes is of who has the same voters in mind. */
void leader_lease_holder_voters(struct leader_lease_holder *h, const uint32_t *voters,
                                uint32_t voter_count);

/* Ask every voter, with this.  now: read before any of them leaves. */
struct leader_lease_ask leader_lease_asked(struct leader_lease_holder *h, uint64_t now);

/* A grant has arrived, at now.  Returns 0, or
 *   -ESTALE  of another start, or too late: forget it
 *   -ENOENT  not from a voter, or to what was never asked: stop listening to that peer. */
MUST_USE int leader_lease_granted(struct leader_lease_holder *h,
                                  const struct leader_lease_grant *grant, uint64_t now);

/* The lease holds before that time; 0: never had one. */
uint64_t leader_lease_until(const struct leader_lease_holder *h);

/* How much of it is left; below 0: for how long it has been over.  INT64_MIN: never had one. */
int64_t leader_lease_margin_ns(const struct leader_lease_holder *h, uint64_t now);

#endif
