/* coordinator_register - how a node enters the state of its cluster: what it must agree on with those that are
 * there, and what the first ones bring: the nodes, and the spaces of their configurations.
 *
 * Pure but for memory.  Control thread.
 * Units: start, LSN as in coordinator_state.h. */
#ifndef DUNLIN_CONTROL_COORDINATOR_REGISTER_H
#define DUNLIN_CONTROL_COORDINATOR_REGISTER_H

#include "control/coordinator_command.h"
#include "engine/space.h"

struct coordinator_entry_config {
    uint64_t cluster;
    uint32_t node; /* own id, one of nodes */
    uint64_t start;
    uint32_t replicas;   /* 1 .. LIMIT_VOTERS: voters that a shard is to have */
    uint32_t node_count; /* COORDINATOR_NODES_MIN .. LIMIT_VOTERS */
    const struct coordinator_entry_node *nodes; /* that the cluster begins with */
    uint32_t lcore_count;
    uint32_t space_count;
    const struct space_config *spaces;
    bool reopens_lost;
    uint64_t lsn_ceiling; /* that logs of the node went up to, in earlier starts; 0: not known */
};

/* 0, or -EINVAL: counts or ids of nodes, the start, or spaces that cannot be. */
MUST_USE int coordinator_register_check(const struct coordinator_entry_config *config);

/* A start of the node as a command: a REGISTER without a fault.  0, or -EINVAL as above. */
MUST_USE int coordinator_register_command(const struct coordinator_entry_config *config,
                                          struct coordinator_command *command);

/* Why a registration was refused, for people; empty where the error itself says it. */
const char *coordinator_refusal(int error);

#endif
