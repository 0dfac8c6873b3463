/* config_cluster - the nodes of a configuration's cluster as they are met, and what they must keep
 * among themselves and with the rest of the file.
 *
 * Pure but for the faults, which go to the list of config_events.h.  Internal to config. */
#ifndef DUNLIN_CONTROL_CONFIG_CLUSTER_H
#define DUNLIN_CONTROL_CONFIG_CLUSTER_H

#include "control/config_address.h"
#include "control/config_events.h"
#include "control/eal_words.h"

struct config_cluster_node {
    uint64_t id; /* 0: its own fault was told */
    bool has_address;
    struct sockaddr_storage address;
    struct events_place id_place, address_place;
};

/* Zeroed at first but for lcore_count, which is then 1. */
struct config_cluster_seen {
    uint64_t own_id; /* 0: not known, because its own fault was told or the file has none */
    uint32_t lcore_count;
    struct events_place place; /* of the list; line 0: the file has none */
    bool is_dpdk, has_dpdk;    /* the transport; a section for it */
    uint64_t frame_bytes, mtu; /* 0: not known */
    struct events_place transport_place, mtu_place;
    char port[CONFIG_LINE_BYTES]; /* of DPDK, "": not known */
    struct eal_words eal;         /* and arguments of EAL */
    struct events_place eal_place;
    uint32_t count;
    struct config_cluster_node nodes[LIMIT_VOTERS];
};

/* Nodes past the most that there may be are forgotten: their number is a fault already. */
void config_cluster_node_seen(struct config_cluster_seen *seen,
                              const struct config_cluster_node *node);

/* A text of the section of DPDK: its port, or the arguments of EAL (is_eal). */
void config_cluster_dpdk_seen(struct config_cluster_seen *seen, bool is_eal, const char *text,
                              struct events_place place);

/* At the end of the file: ids are different, this node is among them, addresses are of one family,
 * the ports of all lcores exist, and no two nodes share one; what the transport needs is there, and as much memory as
 * its port takes where EAL is told how much it may have. */
void config_cluster_rules(struct events *in, const struct config_cluster_seen *seen);

#endif
