/* raft_leases - leader leases between the nodes of a cluster: what is asked, granted and said over the mesh, and
 * what raft's leader makes of it.
 *
 *   each node     asks every control voter, RAFT_LEASES_ASKS times in a lease, and says with it what its data
 *                 plane hears of the others (health.h)
 *   each voter    grants, or not (leader_lease.h); when a lease is over it tells raft's leader to ask
 *   raft's leader asks the voters what binds them (leader_lease_tally.h); a node that most say it of is
 *                 proposed to have failed, and others lead what it led
 *
 * Voters and nodes change while all that goes on.  A lease is made of grants of voters that all have the same set of
 * voters in mind, which is the holder's: each grant names it.  Who is no node of the state is granted nothing.
 *
 * On the mesh: one of the structs of raft_leases.c, in the byte order of the machines that it runs on.
 *
 * Thread: the loop's. */
#ifndef DUNLIN_CONTROL_RAFT_LEASES_H
#define DUNLIN_CONTROL_RAFT_LEASES_H

#include "control/control_net.h"
#include "control/coordinator_command.h"
#include "control/health.h"
#include "control/raft_proposals.h"
#include "control/raft_roster.h"

#define RAFT_LEASES_ASKS 3u

struct raft_leases;

struct raft_leases_config {
    struct control_net *net;
    struct raft_proposals *proposals;
    uint32_t self;
    uint64_t start;
    uint8_t type; /* of messages on the mesh */
    uint64_t lease_ns, lease_max_ns, silent_ns_max;
    void (*evidence)(void *context, struct health_report *report); /* as raft_node.h says */
    void *context;
    uint32_t
        node_count; /* of the cluster before it begins: what it consists of then, the state says */
    uint32_t nodes[LIMIT_VOTERS];
};

/* Returns 0 or -ENOMEM. */
MUST_USE int raft_leases_open(struct raft_leases **l, const struct raft_leases_config *config);
/* Proposals are closed before.  l may be NULL. */
void raft_leases_close(struct raft_leases *l);

struct raft_leases_now {
    uint64_t now_ns;
    const struct coordinator_state *state; /* NULL: none yet */
    uint32_t leader;                       /* of raft; 0: none is known */
    uint64_t index_first;                  /* first entry of our own, while we are that */
    /* Who votes, as far as this node knows; NULL: nothing new is known, libraft is away. */
    const struct raft_roster_voters *voters;
};
/* Returns when it is to be called next, by clock_boottime_ns; sooner does no harm.  What is due in the last quarter of
 * its period is done: to be called whenever something goes to the other nodes anyway. */
uint64_t raft_leases_step(struct raft_leases *l, const struct raft_leases_now *now);

void raft_leases_received(struct raft_leases *l, uint32_t node, const uint8_t *bytes,
                          size_t length);
/* A command of the log was applied here, which is its entry of that index. */
void raft_leases_applied(struct raft_leases *l, const struct coordinator_command *command,
                         uint64_t index);
/* All entries up to that index are. */
void raft_leases_progress(struct raft_leases *l, uint64_t index);

/* The node's own lease, by clock_boottime_ns; 0: it has had none. */
uint64_t raft_leases_until_ns(const struct raft_leases *l);

#endif
