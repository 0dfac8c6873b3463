/* coordinator_raft - the coordinator whose state the nodes replicate among themselves: raft_node.h.
 *
 * What is decided, and by which rules, is coordinator_state.h's.  A node that ends without a word is found out:
 * within a lease or two what it led is led by others.  Decisions need most of the control voters; without them what was decided stands, and shards serve on
 * as long as their own voters do.
 *
 * Log events:
 *   node_registered id start revision
 *   those of coordinator_news.h and raft_node.h
 *
 * Threads: control's; the loop of raft_node.h is its own. */
#ifndef DUNLIN_CONTROL_COORDINATOR_RAFT_H
#define DUNLIN_CONTROL_COORDINATOR_RAFT_H

#include "control/coordinator.h"
#include "control/coordinator_register.h"
#include "control/raft_node.h"

struct coordinator_raft_config {
    struct coordinator_entry_config cluster;
    struct raft_node_config raft;
    FILE *errors;           /* lines on faults of files */
    bool (*is_ended)(void); /* while it waits: whether the daemon is to end */
    /* While it waits for most of the control voters, again and again.  no_node_peer: who says that the cluster has no
     * such node, which may be added yet; 0: nobody does. */
    void (*waits)(void *context, uint32_t no_node_peer);
    void *context;
};

/* Start the node's part in the control log, and register this start.  Before node_open.
 * *lsn_origin: where the logs of this node begin.  Returns 0, or with nothing left open
 *   -ECANCELED  is_ended
 *   -EEXIST     the cluster is another one, or its spaces, number of lcores or (before it begins) nodes are not ours
 *   -EIDRM      it has begun, and this is no node of it
 *   -ENODATA    the node's directory is empty, but the cluster is not new
 *   -ESTALE     a higher start of this node is known: another daemon runs under this id
 *   or as raft_node_open. */
MUST_USE int coordinator_raft_open(struct coordinator **c,
                                   const struct coordinator_raft_config *config,
                                   uint64_t *lsn_origin);

/* What coordinator_raft_open made; NULL: another body did, in a test. */
struct raft_node *coordinator_raft_node(struct coordinator *c);

#endif
