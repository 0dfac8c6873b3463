/* coordinator_script - the coordinator of a cluster that lives in one process: it decides what it is
 * told to.
 *
 * No voting, and nothing to agree on: the voters of each shard are all nodes, for as long as the
 * process runs.  At first node 1 (the first) leads every shard; whoever holds the script (dev.h)
 * moves the leadership of all of them to another node and back.  Each move is a new epoch per shard,
 * pending until its leader has recovered the shard and asks for activation, with the active epoch
 * as predecessor.  For `dunlind dev` and tests; what survives the loss of a node needs a coordinator
 * that does.
 *
 * Threads: open and close are control's, while no lcore runs; move, hand_over and the questions are
 * for one thread at a time, registered with RCU and offline (rcu.h); what it puts into node.cluster
 * is for the lcores, and lock-free (cluster.h).
 * Memory: the newest decision and, until no lcore can read it any more, the one before. */
#ifndef DUNLIN_CONTROL_COORDINATOR_SCRIPT_H
#define DUNLIN_CONTROL_COORDINATOR_SCRIPT_H

#include "dataplane/cluster.h"
#include "dataplane/node.h"

struct coordinator_script;

/* Give each of node_count nodes (1 .. LIMIT_VOTERS) its cluster; their spaces are all there and
 * alike.  epoch: of every first configuration, above those of all earlier starts.  A node's
 * incarnation is its start number.  No transport is set.  Nodes outlive the coordinator.
 * Returns 0, -EINVAL (too many nodes, ids twice, or spaces that differ), -ENOMEM, or -errno of the
 * eventfds that wake the lcores; then no node was touched. */
MUST_USE int coordinator_script_open(struct coordinator_script **c, struct node *const *nodes,
                                     uint32_t node_count, uint64_t epoch);

/* After the lcores stopped: the nodes are alone again.  c may be NULL. */
void coordinator_script_close(struct coordinator_script *c);

/* Every shard shall be led by the nth node (from 0): an epoch more for each, whose predecessor is
 * its active one; a pending one is replaced, never withdrawn.  Waits until no lcore can read the
 * decision before.  Returns 0, -EAGAIN (a shard has had no active epoch yet: later), -EINVAL (no
 * such node), or -ENOMEM. */
MUST_USE int coordinator_script_move(struct coordinator_script *c, uint32_t leader);

/* The leaders of the newest epochs are to give up their rights to read: a move follows. */
void coordinator_script_hand_over(struct coordinator_script *c);

/* Whether that is so for every shard: its newest epoch is active; its leader has let go. */
bool coordinator_script_is_active(const struct coordinator_script *c);
bool coordinator_script_is_handed_over(const struct coordinator_script *c);

#endif
