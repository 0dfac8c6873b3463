/* cluster_node - what makes the node of a daemon one of several servers: its keys, its coordinator, a UDP
 * endpoint for each of its lcores.
 *
 *   open    keys from their file
 *   begin   the ports are ours, so no other daemon runs under this id here; then the start is registered
 *           with the coordinator, which says where logs begin
 *   join    the other nodes registered, too; the node gets its cluster and its transports
 *   step    decisions of the coordinator, requests of the lcores: when control was woken, when
 *           cluster_node_fd is readable, and every COORDINATOR_LOOK_NS
 *   drain   the daemon is to end: leadership goes to others first
 *
 * A node is up when every lcore has heard of it lately: CLUSTER_NODE_UP_NS, or a few heartbeats if they are
 * slow.  Nodes that have nothing to say to each other ask each other (transport_udp.h).
 *
 * A start that waits says so to the service manager, too (service.h), and is not ready.
 *
 * Log events:
 *   control_awaited id help        most voters of the control log do not answer
 *   control_no_node id peer help   the cluster has begun, and has no such node: it waits to be added
 *   nodes_awaited cluster help     a new cluster: other nodes have yet to start for the first time
 *   superseded node start help     another daemon has registered under our id: this one is to end
 *   removed node start help        the cluster goes on without this node: likewise
 *   hand_over_skipped node leads up help   nobody is there to lead what this node leads
 *   hand_over_given_up node leads help     those that it was handed to are ending, too
 *
 * Control thread. */
#ifndef DUNLIN_CONTROL_CLUSTER_NODE_H
#define DUNLIN_CONTROL_CLUSTER_NODE_H

#include "control/config.h"
#include "control/server.h"
#include "dataplane/node.h"

#define CLUSTER_NODE_UP_NS NS_PER_S

struct cluster_node;
struct raft_node;

/* config has a cluster, and outlives this.  Faults of the key file are lines on errors.  Returns 0, -ENOMEM,
 * or as cluster_key_load. */
MUST_USE int cluster_node_open(struct cluster_node **c, const struct config *config, FILE *errors);

/* *lsn_origin: as daemon_hooks.begin says.  Returns 0, or as transport_udp_open, and then the coordinator knows
 * nothing of this start; -EIDRM: the cluster has begun, and this is no node of it; or as coordinator_raft_open. */
MUST_USE int cluster_node_begin(struct cluster_node *c, uint64_t start, uint64_t *lsn_origin);

/* Waits for the other nodes when the cluster is new.  Returns 0, -ECANCELED (a signal that ends the daemon
 * came meanwhile), or as coordinator_join; the log says which step. */
MUST_USE int cluster_node_join(struct cluster_node *c, struct node *node);

/* 0, or the log says why this daemon is to end: -ESTALE, another one has this node's id now; -EIDRM, it is no node
 * of the cluster any more. */
MUST_USE int cluster_node_step(struct cluster_node *c);
int cluster_node_fd(const struct cluster_node *c);
/* As daemon_hooks.lsn_granted says. */
uint64_t cluster_node_lsn_granted(struct cluster_node *c, bool is_short);

/* Call it with every step until it is true: no shard is led here any more, or nobody is there to lead
 * them: of no shard that is led here are most voters up elsewhere, or they end as well. */
MUST_USE bool cluster_node_drain(struct cluster_node *c);

/* Its part in the control log; NULL: there is none.  Good until leave. */
struct raft_node *cluster_node_control(const struct cluster_node *c);

/* What `dunlin move` and `dunlin nodes` ask; good as long as the cluster_node. */
const struct server_admin *cluster_node_admin(const struct cluster_node *c);

/* Likewise, `dunlin space`. */
const struct server_spaces *cluster_node_spaces(const struct cluster_node *c);

/* After the lcores stopped and before node_close.  c may be NULL. */
void cluster_node_leave(struct cluster_node *c);
void cluster_node_close(struct cluster_node *c);

#endif
