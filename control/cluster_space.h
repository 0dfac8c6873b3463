/* cluster_space - the spaces of a node of a cluster that were made while it runs: what the coordinator's list
 * (space_list.h) says, carried out here, and told (coordinator_space.h).
 *
 *   join  before the lcores start: those that are served
 *   step  what changed since: drop, make, alter; say so; have them served when all nodes that are up have them.  One
 *         whose memory a transport reads is dropped for everybody at once, and freed by a later step.
 *
 * Log events: space_made space id, space_dropped space id, space_altered space, spaces_served count, and
 * space_failed space error once for each change that cannot be carried out here, which is then tried again.
 * Control thread. */
#ifndef DUNLIN_CONTROL_CLUSTER_SPACE_H
#define DUNLIN_CONTROL_CLUSTER_SPACE_H

#include "control/config.h"
#include "control/coordinator.h"
#include "control/server.h"

struct cluster_space {
    struct node *node;
    struct coordinator *coordinator;
    uint64_t taken; /* ids of the configuration: bit id - 1 */
    uint32_t own_uid;
    uint64_t failed; /* number of the list that could not be carried out, as last said */
    /* What is here of the list: its numbers, 0: not made. */
    struct {
        uint64_t made, number;
    } here[LIMIT_SPACES + 1];
    struct server_spaces admin;
};

void cluster_space_init(struct cluster_space *c, const struct config *config);
/* Returns 0, or as node_space_add; the log says which. */
MUST_USE int cluster_space_join(struct cluster_space *c, struct node *node,
                                struct coordinator *coordinator);
/* up: ids of the nodes that are, this one included. */
void cluster_space_step(struct cluster_space *c, const uint32_t *up, uint32_t up_count);

#endif
