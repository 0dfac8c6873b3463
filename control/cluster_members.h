/* cluster_members - the nodes that a node of a cluster talks to, and where: those of the configuration until the
 * cluster is known to have begun, then those of the coordinator's state.  Where a node is, the state says if
 * somebody said so who added it, else the configuration.
 *
 * begin  all that the configuration names
 * join   what the state says, before the lcores run: straight into their transports
 * step   what changed since: peers come and go under running lcores (node_change.h)
 *
 * Log events:
 *   peer_added id, peer_removed id
 *   peer_failed id error         it is not reached, and tried again; said once in a row
 *   peer_unknown id help         neither the configuration nor the state says where it is; once in a row
 *
 * Control thread, but for cluster_members_others: any. */
#ifndef DUNLIN_CONTROL_CLUSTER_MEMBERS_H
#define DUNLIN_CONTROL_CLUSTER_MEMBERS_H

#include "control/config.h"
#include "control/coordinator_state.h"
#include "dataplane/transport.h"

#define CLUSTER_OTHERS (LIMIT_VOTERS - 1u)

struct cluster_member {
    uint32_t id;
    struct sockaddr_storage address;
};

struct cluster_members {
    const struct config *config;
    uint32_t count;
    struct cluster_member list[LIMIT_VOTERS]; /* this node first */
    _Atomic uint32_t others[CLUSTER_OTHERS];  /* ids without this one; 0: none */
    uint32_t said;                            /* id that the log says is not reached; 0: none */
};

/* config outlives it, and has a cluster. */
void cluster_members_begin(struct cluster_members *m, const struct config *config);

/* transports: of each lcore, the caller's.  Returns 0, or as transport_framed_add. */
MUST_USE int cluster_members_join(struct cluster_members *m, const struct coordinator_state *s,
                                  struct transport *const *transports);

void cluster_members_step(struct cluster_members *m, const struct coordinator_state *s,
                          struct node *node);

const struct cluster_member *cluster_members_find(const struct cluster_members *m, uint32_t id);

/* Ids of the others that are of the cluster; returns how many. */
uint32_t cluster_members_others(const struct cluster_members *m, uint32_t others[CLUSTER_OTHERS]);

/* Whether a node may be added there: 0, or -EINVAL (no such address, or no room for the ports of all lcores),
 * -EAFNOSUPPORT, -EADDRINUSE. */
MUST_USE int cluster_members_judge(const struct cluster_members *m, uint32_t id,
                                   const char *address);

/* Where an lcore of a node receives: at a port of its own; over RDMA all listen at the node's, and say which they are. */
struct sockaddr_storage cluster_address_of(const struct config *config,
                                           const struct sockaddr_storage *node, uint32_t lcore);

#endif
