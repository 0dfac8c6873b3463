/* agent_node - a whole node inside a test: real shards, lcores and server, on threads of the test.
 *
 * One space, "real".  The lcores can be stopped while the socket stays, as a frozen daemon. */
#ifndef DUNLIN_TESTS_UNIT_ENGINE_AGENT_NODE_H
#define DUNLIN_TESTS_UNIT_ENGINE_AGENT_NODE_H

#include "control/keeper.h"
#include "control/listener.h"
#include "control/server.h"
#include "engine/agent/dunlin.h"

#include <pthread.h>

struct agent_node {
    char directory[64], path[96];
    struct listener listener;
    struct node node;
    struct keeper keeper;
    uv_loop_t loop;
    uv_async_t wake, stop;
    struct server *server;
    pthread_t thread;
    bool lcores_run, lives;
};

struct agent_node_options {
    uint32_t lcore_count;  /* 0: 1 */
    uint32_t shard_count;  /* 0: 4 */
    uint64_t quota_bytes;  /* 0: 64 MiB */
    uint64_t view_ns;      /* 0: 1 s */
    uint64_t lease_ns;     /* 0: 50 ms */
    uint32_t sessions_max; /* per shard; 0: the default */
    uint32_t history;      /* 0: 1 */
    uint32_t partition_prefix;
};

/* Fatal to the test if it cannot. */
struct agent_node *agent_node_make(const struct agent_node_options *options);
void agent_node_free(struct agent_node *n);

void agent_node_stop_lcores(struct agent_node *n);
/* The daemon is gone; its socket too. */
void agent_node_kill(struct agent_node *n);

/* A handle that reads in place, with its space. */
struct dunlin *agent_node_attach(struct agent_node *n, uint64_t timeout_ms,
                                 struct dunlin_space **space);

#endif
