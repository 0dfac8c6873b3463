/* control_shown - what a node's part in the control log says of itself, for people and scripts.
 *
 *   leader      id of the control leader that this node follows; 0: none is known
 *   term        of the control log
 *   applied     entries of it
 *   voter       this node is one
 *   connected   other nodes, by the control plane
 *   lease_ms    left of this node's leader lease; below 0: for so long it has been over; null: never had one
 *   full        this voter's disk is, and it decides nothing
 *
 * The daemon's control thread. */
#ifndef DUNLIN_CONTROL_CONTROL_SHOWN_H
#define DUNLIN_CONTROL_CONTROL_SHOWN_H

#include "control/raft_node.h"

#include <jansson.h>

/* A new object; null for a cluster that has no control log (n is NULL). */
json_t *control_shown(struct raft_node *n);

#endif
