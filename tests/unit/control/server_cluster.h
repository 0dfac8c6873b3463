/* server_cluster - the cluster's side of a server in a test: does nothing, remembers what it was asked, and answers
 * what the test says. */
#ifndef DUNLIN_TESTS_UNIT_CONTROL_SERVER_CLUSTER_H
#define DUNLIN_TESTS_UNIT_CONTROL_SERVER_CLUSTER_H

#include "control/server.h"

struct server_cluster {
    int64_t answer;
    uint32_t busy; /* so many changes are answered by -EBUSY first */
    uint32_t moves, changes, recovers;
    struct server_node_asked change;
    uint32_t first_log, last_log; /* of a move, a recovery */
    uint32_t node, from;          /* of a move; of a recovery */
};

static inline int64_t server_cluster_move(void *context, uint32_t first_log, uint32_t last_log,
                                          uint32_t node)
{
    struct server_cluster *c = context;
    c->moves++;
    c->first_log = first_log;
    c->last_log = last_log;
    c->node = node;
    return c->answer;
}

static inline int64_t server_cluster_node(void *context, const struct server_node_asked *asked)
{
    struct server_cluster *c = context;
    c->changes++;
    c->change = *asked;
    if (c->busy == 0)
        return c->answer;
    c->busy--;
    return -EBUSY;
}

static inline int64_t server_cluster_recover(void *context, uint32_t first_log, uint32_t last_log,
                                             uint32_t from)
{
    struct server_cluster *c = context;
    c->recovers++;
    c->first_log = first_log;
    c->last_log = last_log;
    c->from = from;
    return c->answer;
}

#endif
