/* raft_roster - keeps libraft's configuration as the control state wants it (raft_members.h), while this node leads.
 *
 * A leader changes nothing before its first entry is applied: what an older leader had begun is decided by
 * then.  The voters change at most once in a longest leader lease, so that two sets of voters of which both give
 * grants that run have a node of every majority in common.
 *
 * Who is removed is promoted no more: it ends as soon as it is told, and where another one voted alone nobody would
 * be left to commit anything.  So nobody is promoted before all of the log is applied, and who is being promoted is
 * removed when that is over (raft_instance.h, raft_instance_may_change).
 *
 * Log events:
 *   control_member id role    voter, standby, spare or removed, as libraft's leader has had it decided
 *   control_member_failed id help   it could not, and is tried again
 *
 * Thread: the loop's.
 * Source: Ongaro (2014), 4.1; Ongaro, "bug in single-server membership changes" (raft-dev, 2015), for the first entry. */
#ifndef DUNLIN_CONTROL_RAFT_ROSTER_H
#define DUNLIN_CONTROL_RAFT_ROSTER_H

#include "control/control_net.h"
#include "control/coordinator_state.h"
#include "control/raft_members.h"

#define RAFT_ROSTER_GONE_NS (5 * NS_PER_S) /* who is no node any more learns of it for so long */
#define RAFT_ROSTER_CATCH_UP_MS 1000u      /* one round of who shall be a voter */

/* All zero at first, and for a new instance of libraft. */
struct raft_roster {
    struct raft_change change;
    struct raft_transfer transfer;
    struct raft_members_step step; /* that is under way */
    bool has_change, has_transfer;
    uint64_t index_first; /* of whose leadership the times are */
    uint64_t voters_ns;   /* the voters do not change before */
    uint64_t next_ns;     /* nothing does */
    uint64_t lease_max_ns;
    uint32_t gone_count;
    struct {
        uint32_t node;
        uint64_t since_ns;
    } gone[RAFT_MEMBERS_MAX];
};

struct raft_roster_now {
    uint64_t now_ns;
    const struct coordinator_state *state; /* NULL: none yet */
    const struct control_net *net;
    uint32_t self;
    uint64_t index_first; /* first entry of our own as a leader */
    uint64_t lease_max_ns;
};

/* While it leads, now and then.  Returns 0, or a code of libraft's: the instance is to be closed. */
MUST_USE int raft_roster_step(struct raft_roster *r, struct raft *raft,
                              const struct raft_roster_now *now);

/* Whether it has begun to make a node a voter: libraft goes on with that until the node has caught up, or does not. */
bool raft_roster_promotes(const struct raft_roster *r, uint32_t node);

/* Those who vote in the configuration that is in use. */
struct raft_roster_voters {
    uint64_t set; /* a number that no other set of voters has */
    uint32_t count;
    uint32_t ids[LIMIT_VOTERS]; /* ascending */
};
void raft_roster_voters(const struct raft *raft, struct raft_roster_voters *voters);
/* Whether a node is one; voters NULL: it is not. */
bool raft_roster_has(const struct raft_roster_voters *voters, uint32_t node);

#endif
