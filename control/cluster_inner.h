/* cluster_inner - what the files of a node of a cluster share: cluster_node.c (its life), cluster_transports.c
 * (how its lcores reach the others), cluster_look.c (what it
 * knows of the others), cluster_nodes_json.c (what it tells of them).
 *
 * Control thread, but for cluster_silent_ns and what evidence needs: any, from begin to leave. */
#ifndef DUNLIN_CONTROL_CLUSTER_INNER_H
#define DUNLIN_CONTROL_CLUSTER_INNER_H

#include "control/cluster_members.h"
#include "control/cluster_node.h"
#include "control/cluster_space.h"
#include "control/coordinator.h"
#include "dataplane/transport_udp.h"

struct cluster_node;
struct dpdk_port;
struct lag;
struct rdma_port;
struct secret_exchange;

/* What frames say of the cluster that they are of. */
uint64_t cluster_id(const struct config *config);
/* Log that a step of joining failed; the error again. */
int cluster_join_failed(const struct cluster_node *c, const char *step, int error);

/* What a start waits for. */
enum cluster_wait {
    CLUSTER_WAIT_NONE,
    CLUSTER_WAIT_VOTERS, /* most of the control log's */
    CLUSTER_WAIT_ADD,    /* that somebody adds this node */
    CLUSTER_WAIT_NODES,  /* that all of a new cluster have come */
};

struct cluster_node {
    const struct config *config;
    struct node *node; /* from join on */
    struct coordinator *coordinator;
    struct transport *transports[LIMIT_LCORES];
    struct dpdk_port *port;            /* theirs; NULL: none */
    struct rdma_port *rdma;            /* likewise */
    struct node *watched;              /* whose log memory that has; NULL: none */
    uint32_t mapped[LIMIT_SPACES + 1]; /* by space: chunks that it has */
    bool is_told_short;                /* that it could not have one was logged */
    bool is_told_up;                   /* of rdma: what was logged last */
    uint64_t removals_told;            /* likewise */
    struct cluster_members members;
    struct server_admin admin;
    struct cluster_space spaces; /* made while it runs */
    struct transport_framed_secret secrets[FRAME_SECRETS_MAX];
    uint32_t secret_count;
    struct pair_secrets pair_secrets; /* or, where there is no key file, these */
    struct secret_exchange *exchange; /* from begin on */
    struct lag *lags[LIMIT_LCORES];
    uint64_t start;
    bool is_draining;
    enum cluster_wait waits_for; /* as last said */
    uint32_t leaves;             /* while it drains: times that others were asked to lead */
    bool is_told_end;            /* superseded or removed was logged */
    uint64_t removed_ns;         /* since when it is no node any more; 0: it is */
};

/* ---- cluster_transports.c ---- */

/* Endpoints of all lcores, with the peers of members.  0, or an error that was logged. */
MUST_USE int cluster_transports_open(struct cluster_node *c);
/* From here on frames may name log memory of the node, as far as the port can have it. */
void cluster_transports_join(struct cluster_node *c, struct node *node);
/* What is due of the port. */
void cluster_transports_tick(struct cluster_node *c);
void cluster_transports_close(struct cluster_node *c);

/* ---- cluster_look.c ---- */

/* Start of a node that every lcore talks to; 0: one does not. */
uint64_t cluster_start_of(const struct cluster_node *c, uint32_t node);
/* How long ago an lcore heard of a node last, the one that it is longest for; UINT64_MAX: one never did. */
uint64_t cluster_silent_ns(const struct cluster_node *c, uint32_t node);
bool cluster_is_up(const struct cluster_node *c, uint32_t node);
/* The other nodes that are there; returns how many. */
uint32_t cluster_others_up(const struct cluster_node *c, uint32_t others[CLUSTER_OTHERS]);

/* As server_admin.shard says. */
void cluster_shard(void *context, const struct server_shard_asked *asked,
                   struct server_shard *told);

/* What is known here of all shards.  A voter holds all of one that is led here if it had, at the last look, what
 * there was at the look before it (lag.h); of one that is led elsewhere if it is a voter of its active epoch, or
 * was one of the predecessor. */
struct cluster_redundancy {
    uint32_t wanted; /* voters of a shard */
    uint32_t least;  /* voters of any shard that are up and hold all of it */
    uint32_t below;  /* shards with fewer of them than wanted */
    uint32_t
        changing; /* shards without an active leader, or whose leader or voters are to be others */
};
void cluster_redundancy(const struct cluster_node *c, struct cluster_redundancy *r);

/* ---- cluster_nodes_json.c ---- */

/* As server_admin.nodes_json says. */
char *cluster_nodes_json(void *context);

#endif
