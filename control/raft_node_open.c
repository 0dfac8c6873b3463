#include "control/raft_node_inner.h"

#include "control/secret_exchange.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- open ---- */

static int config_check(const struct raft_node_config *c)
{
    uint32_t own = 0, voters = 0;
    if (c->member_count < 2 || c->member_count > LIMIT_VOTERS)
        return -EINVAL;
    for (uint32_t i = 0; i < c->member_count; i++) {
        own += c->members[i].node == c->node ? 1 : 0;
        voters += c->members[i].is_voter ? 1 : 0;
        for (uint32_t j = 0; j < i; j++)
            if (c->members[i].node == c->members[j].node)
                return -EINVAL;
    }
    return own == 1 && voters != 0 ? 0 : -EINVAL;
}

static int config_copy(struct raft_node *n, const struct raft_node_config *config)
{
    n->config = *config;
    const char **const paths[RAFT_NODE_PATHS] = {&n->config.directory, &n->config.certificate_path,
                                                 &n->config.key_path, &n->config.authority_path,
                                                 &n->config.cluster_name};
    for (uint32_t i = 0; i < RAFT_NODE_PATHS; i++) {
        n->paths[i] = strdup(*paths[i]);
        if (n->paths[i] == NULL)
            return -ENOMEM;
        *paths[i] = n->paths[i];
    }
    for (uint32_t i = 0; i < config->member_count; i++)
        if (config->members[i].node == config->node)
            n->shown.is_voter = config->members[i].is_voter;
    return 0;
}

static int net_open(struct raft_node *n, FILE *errors)
{
    struct control_net_peer peers[LIMIT_VOTERS];
    struct control_net_config config = {.loop = &n->loop,
                                        .self = n->config.node,
                                        .cluster = n->config.cluster_name,
                                        .peers = peers,
                                        .certificate_path = n->config.certificate_path,
                                        .key_path = n->config.key_path,
                                        .authority_path = n->config.authority_path,
                                        .received = raft_node_on_received,
                                        .link = raft_node_on_link,
                                        .refused = raft_node_on_refused,
                                        .context = n};
    for (uint32_t i = 0; i < n->config.member_count; i++) {
        const struct raft_node_member *m = &n->config.members[i];
        if (m->node == n->config.node)
            config.listen = m->address;
        else
            peers[config.peer_count++] =
                (struct control_net_peer){.node = m->node, .address = m->address};
    }
    int error = control_net_open(&n->net, &config, errors);
    n->peers.config = &n->config;
    n->peers.net = n->net;
    n->peers.type = RAFT_NODE_HELLO;
    raft_peers_init(&n->peers);
    if (error == 0)
        secret_exchange_attach(n->config.secrets, n->net, RAFT_NODE_SECRETS);
    return error;
}

static int proposals_open(struct raft_node *n)
{
    const struct raft_proposals_config config = {.net = n->net,
                                                 .self = n->config.node,
                                                 .start = n->config.start,
                                                 .type_propose = RAFT_NODE_PROPOSE,
                                                 .type_proposed = RAFT_NODE_PROPOSED,
                                                 .check = raft_node_check,
                                                 .context = n};
    return raft_proposals_open(&n->proposals, &config);
}

static int leases_open(struct raft_node *n)
{
    struct raft_leases_config config = {.net = n->net,
                                        .proposals = n->proposals,
                                        .self = n->config.node,
                                        .start = n->config.start,
                                        .type = RAFT_NODE_LEASES,
                                        .lease_ns = n->config.lease_ns,
                                        .lease_max_ns = n->config.lease_max_ns,
                                        .silent_ns_max = n->config.silent_ns_max,
                                        .evidence = n->config.evidence,
                                        .context = n->config.context};
    for (uint32_t i = 0; i < n->config.member_count; i++) {
        const struct raft_node_member *m = &n->config.members[i];
        config.nodes[config.node_count++] = m->node;
    }
    return raft_leases_open(&n->leases, &config);
}

static int raft_open(struct raft_node *n)
{
    n->raft.config = &n->config;
    n->raft.loop = &n->loop;
    n->raft.net = n->net;
    n->raft.type = RAFT_NODE_RAFT;
    n->raft.proposals = n->proposals;
    raft_machine_init(&n->raft.machine);
    n->raft.machine.applied = raft_node_on_applied;
    n->raft.machine.context = n;
    int error = raft_instance_open(&n->raft);
    n->peers.is_held = n->raft.is_held;
    n->peers.was_new = n->raft.is_held;
    return error;
}

/* Why last: the others are there when these first run. */
static int handles_start(struct raft_node *n)
{
    int error = uv_check_start(&n->after, raft_node_on_after);
    return error != 0 ? error : uv_timer_start(&n->beat, raft_node_on_beat, 0, 0);
}

static int open_parts(struct raft_node *n, const struct raft_node_config *config, FILE *errors)
{
    int error = config_copy(n, config);
    if (error == 0) {
        n->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        error = n->fd < 0 ? -errno : 0;
    }
    if (error == 0)
        error = raft_calls_open(&n->calls, raft_node_wake_loop, raft_node_wake_control, n);
    if (error == 0)
        error = net_open(n, errors);
    if (error == 0)
        error = proposals_open(n);
    if (error == 0)
        error = leases_open(n);
    if (error == 0)
        error = raft_open(n);
    if (error == 0)
        error = handles_start(n);
    if (error == 0)
        error = -pthread_create(&n->thread, NULL, raft_node_run, n);
    n->has_thread = error == 0;
    return error;
}

/* A loop with handles that are not started. */
static int loop_open(struct raft_node *n)
{
    int error = uv_loop_init(&n->loop);
    if (error != 0)
        return error;
    error = uv_async_init(&n->loop, &n->wake, raft_node_on_wake);
    if (error != 0) {
        (void)uv_loop_close(&n->loop);
        return error;
    }
    (void)uv_check_init(&n->loop, &n->after);
    (void)uv_timer_init(&n->loop, &n->beat);
    n->wake.data = n;
    n->after.data = n;
    n->beat.data = n;
    return 0;
}

int raft_node_open(struct raft_node **node, const struct raft_node_config *config, FILE *errors)
{
    if (config_check(config) != 0)
        return -EINVAL;
    struct raft_node *n = calloc(1, sizeof *n);
    if (n == NULL)
        return -ENOMEM;
    n->fd = -1;
    int error = -pthread_mutex_init(&n->mutex, NULL);
    if (error == 0)
        error = -pthread_cond_init(&n->reload.ended, NULL);
    if (error == 0)
        error = loop_open(n);
    if (error != 0) {
        free(n);
        return error;
    }
    error = open_parts(n, config, errors);
    if (error != 0) {
        raft_node_close(n);
        return error;
    }
    *node = n;
    return 0;
}

/* ---- close ---- */

static void node_free(struct raft_node *n)
{
    raft_proposals_close(n->proposals);
    raft_leases_close(n->leases);
    raft_calls_close(n->calls);
    raft_machine_reset(&n->raft.machine);
    ASSERT(uv_loop_close(&n->loop) == 0);
    free(n->newest);
    for (uint32_t i = 0; i < RAFT_NODE_PATHS; i++)
        free(n->paths[i]);
    if (n->fd >= 0)
        (void)close(n->fd);
    (void)pthread_cond_destroy(&n->reload.ended);
    (void)pthread_mutex_destroy(&n->mutex);
    free(n);
}

void raft_node_close(struct raft_node *n)
{
    if (n == NULL)
        return;
    if (n->has_thread) {
        pthread_mutex_lock(&n->mutex);
        n->is_stopping = true;
        pthread_mutex_unlock(&n->mutex);
        raft_node_wake_loop(n);
        (void)pthread_join(n->thread, NULL);
    } else {
        raft_instance_end(&n->raft, raft_node_on_raft_ended, n);
        (void)uv_run(&n->loop, UV_RUN_DEFAULT);
    }
    node_free(n);
}
