/* raft_node_inner - what the files of raft_node share: raft_node.c (what it does, in control's thread and on its loop),
 * raft_node_open.c (how it comes and goes).
 *
 * Threads: the fields say whose they are; the functions are the loop's. */
#ifndef DUNLIN_CONTROL_RAFT_NODE_INNER_H
#define DUNLIN_CONTROL_RAFT_NODE_INNER_H

#include "control/control_net.h"
#include "control/raft_calls.h"
#include "control/raft_instance.h"
#include "control/raft_leases.h"
#include "control/raft_node.h"
#include "control/raft_peers.h"

#include <pthread.h>

/* Of messages on the mesh. */
enum raft_node_message {
    RAFT_NODE_RAFT = 1,
    RAFT_NODE_PROPOSE,
    RAFT_NODE_PROPOSED,
    RAFT_NODE_LEASES,
    RAFT_NODE_HELLO,
    RAFT_NODE_SECRETS
};

/* Texts of the configuration. */
#define RAFT_NODE_PATHS 5u

/* Certificates to be read anew: who asks waits. */
struct raft_reload {
    pthread_cond_t ended;
    FILE *errors; /* NULL: nothing is asked */
    int result;
};

struct raft_node {
    struct raft_node_config config;
    char *paths[RAFT_NODE_PATHS]; /* copies of those in config */
    pthread_t thread;
    bool has_thread;
    int fd; /* eventfd: wakes control */
    struct raft_calls *calls;

    pthread_mutex_t mutex; /* of what follows, down to the next empty line */
    struct coordinator_state *newest;
    struct raft_node_shown shown;
    struct raft_reload reload;
    bool is_stopping;

    /* the loop's */
    uv_loop_t loop;
    uv_async_t wake;
    uv_check_t after;
    uv_timer_t beat;
    struct control_net *net;
    struct raft_instance raft;
    struct raft_proposals *proposals;
    struct raft_leases *leases;
    struct raft_peers peers;
    uint64_t revision; /* of the newest state that control was given */
    bool is_ending;
    uint32_t leader_said, differs_said;
    _Atomic uint64_t lease_until_ns; /* any thread reads it */
};

/* Why the result of either does not matter: it fails only where it is woken already. */
void raft_node_wake_control(void *context);
void raft_node_wake_loop(void *context);

/* Of control_net, context: the node. */
void raft_node_on_received(void *context, uint32_t node, uint8_t type, const uint8_t *bytes,
                           size_t length);
void raft_node_on_link(void *context, uint32_t node, bool up);
void raft_node_on_refused(void *context, uint32_t node);
/* Of raft_proposals: whether a node may ask that, 0, -EBADMSG or -EAGAIN. */
int raft_node_check(void *context, uint32_t node, const uint8_t *bytes, size_t length);
/* Of raft_machine, and of raft_instance_end. */
void raft_node_on_applied(void *context, const struct coordinator_command *command, int64_t result);
void raft_node_on_raft_ended(void *context);
/* Of the loop; data: the node. */
void raft_node_on_beat(uv_timer_t *timer);
void raft_node_on_after(uv_check_t *handle);
void raft_node_on_wake(uv_async_t *handle);

/* Its thread: the loop, until it is closed. */
void *raft_node_run(void *argument);

#endif
