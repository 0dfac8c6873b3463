/* leader_lease_tally - how many control voters are bound by their statement that a node's lease is over: what a
 * control leader goes by when it has the log decide.
 *
 * It asks every voter, itself included, which statements bind it (leader_lease_bound); each is good from the
 * answer on until its bound_ns have passed since the question left.  Voters also tell what they say as they say
 * it, so that nothing waits for the next question: such a statement only means "ask now".
 *   A node is over while statements of a majority of voters are good.  A decision that is asked of the log at such a
 * time may be applied later than that: then the node may have got its lease back, and keeps what it does not
 * lead any more; nothing depends on it but that leaderships stay.
 *
 * A voter that has not applied a decision yet is still bound by what that decision lifts.  So it tells with its
 * answer how far it has applied the log, and what it says from before the newest decision about the node, or
 * from before this leader's own first entry, counts for nothing.
 *
 * Pure; one thread, that of the control leader.  Units as in leader_lease.h.
 *   index   of an entry of the control log
 * Source: DESIGN section 8, leader leases. */
#ifndef DUNLIN_CONTROL_LEADER_LEASE_TALLY_H
#define DUNLIN_CONTROL_LEADER_LEASE_TALLY_H

#include "control/leader_lease.h"

struct leader_lease_subject {
    uint32_t node;
    uint64_t start;
    uint64_t index_decided;               /* newest decision about it; 0: none */
    uint64_t good_until_ns[LIMIT_VOTERS]; /* by position of the voter */
};

struct leader_lease_tally {
    uint32_t voter_count;
    uint32_t voters[LIMIT_VOTERS];
    uint64_t index_first; /* the leader's own first entry */
    uint64_t number;      /* newest question */
    uint64_t asked_ns[LEADER_LEASE_ASKS];
    uint32_t count;
    struct leader_lease_subject subjects[LIMIT_NODES];
};

/* A voter's answer, but for its statements. */
struct leader_lease_answer {
    uint32_t voter;
    uint64_t number; /* of the question */
    uint64_t index;  /* newest entry of the control log that it has applied */
};

/* Somebody has become control leader, with this first entry in the log (below 2^40).  voters: ids, 1 ..
 * LIMIT_VOTERS of them. */
void leader_lease_tally_init(struct leader_lease_tally *t, const uint32_t *voters,
                             uint32_t voter_count, uint64_t index_first);

/* Others vote from now on, likewise.  What those have said that did before stands. */
void leader_lease_tally_voters(struct leader_lease_tally *t, const uint32_t *voters,
                               uint32_t voter_count);

/* Ask every voter, with this number.  now: read before any of them leaves. */
uint64_t leader_lease_tally_asked(struct leader_lease_tally *t, uint64_t now);

/* A voter's statement in its answer.  Returns 0, or
 *   -ESTALE  of an older start, from before a decision, or too late: forget it
 *   -ENOENT  not from a voter, or to what was never asked: stop listening to that peer
 *   -ENOSPC  more nodes than LIMIT_NODES. */
MUST_USE int leader_lease_tally_said(struct leader_lease_tally *t,
                                     const struct leader_lease_answer *answer,
                                     const struct leader_lease_over *over);

/* Whether a majority of voters are bound now. */
bool leader_lease_tally_is_over(const struct leader_lease_tally *t, uint32_t node, uint64_t start,
                                uint64_t now);

/* The log has decided about this start, in that entry: nothing that was said before counts any more.  For every
 * FAIL that is applied, whoever asked for it; before others learn that it is committed. */
void leader_lease_tally_decided(struct leader_lease_tally *t, uint32_t node, uint64_t start,
                                uint64_t index);

#endif
