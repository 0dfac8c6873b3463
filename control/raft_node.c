#include "control/raft_node_inner.h"

#include "control/logline.h"
#include "control/secret_exchange.h"
#include "engine/clock.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define LOOP_NICE (-15)

/* ---- the control thread's ---- */

void raft_node_wake_control(void *context)
{
    const struct raft_node *n = context;
    uint64_t one = 1;
    /* Why the result does not matter: it fails only where it is readable already. */
    (void)!write(n->fd, &one, sizeof one);
}

void raft_node_wake_loop(void *context)
{
    struct raft_node *n = context;
    (void)uv_async_send(&n->wake); /* never fails */
}

int raft_node_submit(struct raft_node *n, const struct coordinator_command *command)
{
    return raft_calls_submit(n->calls, command, RAFT_NODE_SUBMIT_NS);
}

int64_t raft_node_ask(struct raft_node *n, const struct coordinator_command *command,
                      uint32_t wait_ms)
{
    return raft_calls_ask(n->calls, command, wait_ms * NS_PER_MS);
}

int raft_node_fd(const struct raft_node *n)
{
    return n->fd;
}

struct coordinator_state *raft_node_take(struct raft_node *n)
{
    uint64_t count;
    /* Why the result does not matter: it was not readable, or is not any more. */
    (void)!read(n->fd, &count, sizeof count);
    pthread_mutex_lock(&n->mutex);
    struct coordinator_state *s = n->newest;
    n->newest = NULL;
    pthread_mutex_unlock(&n->mutex);
    return s;
}

void raft_node_shown(struct raft_node *n, struct raft_node_shown *shown)
{
    pthread_mutex_lock(&n->mutex);
    *shown = n->shown;
    pthread_mutex_unlock(&n->mutex);
}

int raft_node_reload(struct raft_node *n, FILE *errors)
{
    pthread_mutex_lock(&n->mutex);
    n->reload.errors = errors;
    raft_node_wake_loop(n);
    while (n->reload.errors != NULL)
        pthread_cond_wait(&n->reload.ended, &n->mutex);
    int error = n->reload.result;
    pthread_mutex_unlock(&n->mutex);
    return error;
}

const _Atomic uint64_t *raft_node_lease(const struct raft_node *n)
{
    return &n->lease_until_ns;
}

/* ---- the loop: what comes in ---- */

/* What a start may end with: said once, and shown. */
static void ended(struct raft_node *n, bool *is_told, const char *event, const char *help)
{
    pthread_mutex_lock(&n->mutex);
    bool was_told = *is_told;
    *is_told = true;
    pthread_mutex_unlock(&n->mutex);
    if (!was_told)
        log_event(LOG_ERROR, event, LOG_TEXT("directory", n->config.directory),
                  LOG_NUMBER("peer", n->peers.lost_peer), LOG_TEXT("help", help));
}

static void lost(struct raft_node *n)
{
    ended(n, &n->shown.is_lost, "control_lost",
          "it is empty, but the cluster is not new: bring back what was there, or the disk; "
          "without it this node could vote twice. If it is gone for good: where the cluster "
          "serves, dunlin node remove and then dunlin node add; where it has never served, stop "
          "all its nodes, empty this directory of each, and start them");
}

static void members_differ(struct raft_node *n)
{
    n->differs_said = n->peers.differs_peer;
    log_event(LOG_WARN, "control_members_differ", LOG_NUMBER("peer", n->differs_said),
              LOG_TEXT("help", "both are new, and their configurations list other nodes or control "
                               "voters: a cluster begins when all its nodes list the same"));
}

/* Why with every turn, not as the last one is heard: an instance that failed as it was released is followed by
 * one that is held again. */
static void release(struct raft_node *n)
{
    n->peers.is_held = n->raft.is_held;
    /* Why no mutex: nobody else writes it. */
    if (!n->raft.is_held || n->shown.is_lost)
        return;
    enum raft_peers_verdict v = raft_peers_verdict(&n->peers, clock_boottime_ns());
    if (v == RAFT_PEERS_LOST || (v == RAFT_PEERS_JOIN && !raft_instance_is_pristine(&n->raft)))
        lost(n);
    else if (v != RAFT_PEERS_WAIT)
        raft_instance_release(&n->raft, v == RAFT_PEERS_JOIN);
    else if (n->peers.differs_peer != n->differs_said)
        members_differ(n);
}

void raft_node_on_received(void *context, uint32_t node, uint8_t type, const uint8_t *bytes,
                           size_t length)
{
    struct raft_node *n = context;
    switch (type) {
    case RAFT_NODE_RAFT:
        raft_instance_received(&n->raft, node, bytes, length);
        return;
    case RAFT_NODE_PROPOSE:
    case RAFT_NODE_PROPOSED:
        raft_proposals_received(n->proposals, node, type, bytes, length);
        return;
    case RAFT_NODE_LEASES:
        raft_leases_received(n->leases, node, bytes, length);
        return;
    case RAFT_NODE_HELLO:
        raft_peers_received(&n->peers, node, bytes, length, clock_boottime_ns());
        return;
    case RAFT_NODE_SECRETS:
        secret_exchange_received(n->config.secrets, node, bytes, length);
        return;
    default: /* of a newer release, which knows that it may be lost */
        return;
    }
}

/* Who is in nobody's list gets no link, and so no HELLO. */
void raft_node_on_refused(void *context, uint32_t node)
{
    struct raft_node *n = context;
    pthread_mutex_lock(&n->mutex);
    if (n->shown.connected == 0)
        n->shown.no_node_peer = node;
    pthread_mutex_unlock(&n->mutex);
}

void raft_node_on_link(void *context, uint32_t node, bool up)
{
    struct raft_node *n = context;
    raft_peers_link(&n->peers, node);
    secret_exchange_link(n->config.secrets, node, up);
    if (!up)
        raft_instance_lost(&n->raft, node);
    pthread_mutex_lock(&n->mutex);
    n->shown.connected += up ? 1 : UINT32_MAX;
    n->shown.no_node_peer = up ? 0 : n->shown.no_node_peer;
    pthread_mutex_unlock(&n->mutex);
}

/* A node speaks for itself: nobody else says that it has started, leads or leaves.  Who has failed, raft's
 * leader says alone. */
static bool may_ask(const struct raft_node *n, uint32_t node, const struct coordinator_command *c)
{
    switch (c->type) {
    case COORDINATOR_MOVE:
    case COORDINATOR_NODE:
    case COORDINATOR_RECOVER:
        return true;
    case COORDINATOR_FAIL:
        return node == n->config.node;
    default:
        return c->node == node;
    }
}

int raft_node_check(void *context, uint32_t node, const uint8_t *bytes, size_t length)
{
    struct raft_node *n = context;
    struct coordinator_command command;
    uint32_t format = raft_peers_format(&n->peers, n->raft.machine.state);
    if (coordinator_command_admit(bytes, length, format) != 0 ||
        coordinator_command_decode(&command, bytes, length) != 0)
        return -EBADMSG;
    if (!may_ask(n, node, &command))
        return -EBADMSG;
    return command.type != COORDINATOR_NODE || raft_instance_may_change(&n->raft, &command.change)
               ? 0
               : -EAGAIN;
}

/* ---- the loop: what goes out ---- */

/* Why not what is older: an instance of libraft that follows one that failed applies its log from the snapshot on,
 * and nobody is to see what was decided before what they know. */
static void publish(struct raft_node *n)
{
    const struct coordinator_state *s = n->raft.machine.state;
    if (s == NULL || s->revision < n->revision)
        return;
    struct coordinator_state *copy = raft_machine_copy(&n->raft.machine);
    if (copy == NULL)
        return; /* is_changed stays, and it is tried again */
    n->raft.machine.is_changed = false;
    n->revision = s->revision;
    pthread_mutex_lock(&n->mutex);
    struct coordinator_state *older = n->newest;
    n->newest = copy;
    pthread_mutex_unlock(&n->mutex);
    free(older);
    raft_node_wake_control(n);
}

static void show(struct raft_node *n)
{
    uint32_t leader = raft_instance_leader(&n->raft);
    struct raft_roster_voters voters;
    /* relaxed: nothing else is read by who reads it */
    atomic_store_explicit(&n->lease_until_ns, raft_leases_until_ns(n->leases),
                          memory_order_relaxed);
    pthread_mutex_lock(&n->mutex);
    n->shown.leader = leader;
    n->shown.term = n->raft.has_raft ? n->raft.raft.current_term : 0;
    n->shown.applied = n->raft.has_raft ? raft_last_applied(&n->raft.raft) : 0;
    n->shown.is_full = n->raft.is_full;
    if (n->peers.is_no_node && n->shown.connected != 0)
        n->shown.no_node_peer = n->peers.no_node_peer;
    if (raft_instance_voters(&n->raft, &voters))
        n->shown.is_voter = raft_roster_has(&voters, n->config.node);
    n->shown.lease_until_ns = raft_leases_until_ns(n->leases);
    n->shown.turned_ns = clock_boottime_ns();
    pthread_mutex_unlock(&n->mutex);
    if (leader == n->leader_said)
        return;
    n->leader_said = leader;
    log_event(LOG_INFO, "control_leader", LOG_NUMBER("id", leader),
              LOG_NUMBER("term", n->shown.term));
}

void raft_node_on_beat(uv_timer_t *timer)
{
    struct raft_node *n = timer->data;
    struct raft_roster_voters voters;
    bool knows = raft_instance_voters(&n->raft, &voters);
    const struct raft_leases_now now = {.now_ns = clock_boottime_ns(),
                                        .state = n->raft.machine.state,
                                        .leader = raft_instance_leader(&n->raft),
                                        .index_first = n->raft.index_first,
                                        .voters = knows ? &voters : NULL};
    raft_instance_change(&n->raft, now.now_ns);
    uint64_t next = raft_leases_step(n->leases, &now);
    secret_exchange_step(n->config.secrets);
    if (!n->is_ending)
        (void)uv_timer_start(&n->beat, raft_node_on_beat, raft_instance_beat_ms(&n->raft, next), 0);
}

static void peers_follow(struct raft_node *n)
{
    bool leads = raft_instance_leads(&n->raft) && n->raft.index_first != 0 &&
                 raft_last_applied(&n->raft.raft) >= n->raft.index_first;
    struct raft_roster_voters voters;
    bool knows = raft_instance_voters(&n->raft, &voters);
    const struct raft_peers_now now = {.now_ns = clock_boottime_ns(),
                                       .state = n->raft.machine.state,
                                       .voters = knows ? &voters : NULL,
                                       .log = knows ? &n->raft.raft.configuration : NULL,
                                       .leads = leads};
    raft_peers_follow(&n->peers, &now);
    if (n->peers.is_removed)
        ended(n, &n->shown.is_removed, "control_removed",
              "the cluster does not have this node any more");
}

/* After each turn of the loop. */
void raft_node_on_after(uv_check_t *handle)
{
    struct raft_node *n = handle->data;
    bool is_changed = n->raft.machine.is_changed;
    if (raft_instance_has_sent(&n->raft))
        raft_node_on_beat(&n->beat);
    release(n);
    peers_follow(n);
    raft_instance_look(&n->raft);
    if (n->raft.has_raft)
        raft_leases_progress(n->leases, raft_last_applied(&n->raft.raft));
    /* Why first: who waits for a command sees its effect when it is done. */
    if (is_changed)
        publish(n);
    raft_proposals_step(n->proposals, clock_boottime_ns());
    raft_instance_lead(&n->raft, is_changed);
    show(n);
}

void raft_node_on_applied(void *context, const struct coordinator_command *command, int64_t result)
{
    struct raft_node *n = context;
    /* libraft counts it when it is applied. */
    raft_leases_applied(n->leases, command, raft_last_applied(&n->raft.raft) + 1);
    if (command->type == COORDINATOR_FAIL && result > 0)
        log_event(LOG_WARN, "node_failed", LOG_NUMBER("id", command->node),
                  LOG_NUMBER("start", command->start), LOG_NUMBER("shards", result));
}

/* ---- the loop: its end ---- */

static void on_net_closed(void *context)
{
    (void)context; /* the loop ends by itself when nothing is left on it */
}

void raft_node_on_raft_ended(void *context)
{
    struct raft_node *n = context;
    secret_exchange_attach(n->config.secrets, NULL, 0);
    if (n->net != NULL)
        control_net_close(n->net, on_net_closed, n);
    uv_close((uv_handle_t *)&n->wake, NULL);
    uv_close((uv_handle_t *)&n->after, NULL);
    uv_close((uv_handle_t *)&n->beat, NULL);
}

/* Why under the mutex: who asked waits on it, and nobody else for longer than files take. */
static void reload_take(struct raft_node *n)
{
    if (n->reload.errors == NULL)
        return;
    n->reload.result = control_net_reload(n->net, n->reload.errors);
    if (n->reload.result == 0)
        secret_exchange_renew(n->config.secrets);
    n->reload.errors = NULL;
    pthread_cond_broadcast(&n->reload.ended);
}

void raft_node_on_wake(uv_async_t *handle)
{
    struct raft_node *n = handle->data;
    pthread_mutex_lock(&n->mutex);
    bool is_stopping = n->is_stopping;
    reload_take(n);
    pthread_mutex_unlock(&n->mutex);
    raft_calls_take(n->calls, n->proposals);
    if (!is_stopping || n->is_ending)
        return;
    n->is_ending = true;
    raft_instance_end(&n->raft, raft_node_on_raft_ended, n);
}

void *raft_node_run(void *argument)
{
    struct raft_node *n = argument;
    (void)pthread_setname_np(pthread_self(), "dunlin-control");
    /* Why: a lease ends when this thread is not run for that long.  Where it may not, it runs as others do. */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), LOOP_NICE);
    (void)uv_run(&n->loop, UV_RUN_DEFAULT);
    return NULL;
}
