/* keeper - what control does for the lcores while they run: memory, and room in the number of LSNs.
 *
 * Control thread: when lcores woke it, and every KEEPER_PERIOD_MS. */
#ifndef DUNLIN_CONTROL_KEEPER_H
#define DUNLIN_CONTROL_KEEPER_H

#include "control/listener.h"
#include "dataplane/node.h"

#define KEEPER_PERIOD_MS 1000u

struct keeper {
    struct node *node;
    struct listener *listener;   /* stores the ceiling */
    bool full[LIMIT_SPACES + 1]; /* could not get the memory it wanted: said so once */
    bool ceiling_failed;
    /* Of a node of a cluster, which grants itself nothing: up to where its logs may go, set by whoever knows, only
     * grows.  0: the node is alone. */
    uint64_t lsn_granted;
    bool is_short; /* a log has used half of the last grant: more is to be asked for */
};

/* Before the lcores start and after node_open, before node_space_add: put the logs of this start
 * above all that earlier ones were granted, or where those of the cluster began (lsn_origin, 0: the node
 * is alone), and store the first grant.  Returns 0 or -errno of the store. */
MUST_USE int keeper_open(struct keeper *k, struct node *node, struct listener *listener,
                         uint64_t lsn_origin);

/* Make the chunks that were asked for, give back those that are needed no more (node_arena.h); raise the ceiling when a log
 * has used half of the grant, or more was granted. */
void keeper_step(struct keeper *k);

#endif
