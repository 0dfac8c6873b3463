#include "dataplane/agent_rate.h"
#include "dataplane/lcore_cluster.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

bool poll_pass(struct lcore *l)
{
    /* acquire: S1 -> S2 (node_change.h) */
    const struct node_change *change = atomic_load_explicit(&l->change, memory_order_acquire);
    if (UNLIKELY(change != NULL))
        poll_change(l, change);
    /* relaxed: this thread alone writes it */
    if (UNLIKELY(atomic_load_explicit(&l->leaving, memory_order_relaxed) != 0))
        poll_leave(l);
    poll_doorbell(l);
    poll_cluster_receive(l);
    uint32_t requests = poll_requests(l); /* reads the clock once they are gathered */
    poll_lease(l);
    if (l->dirty_count != 0 || l->cluster != NULL) {
        poll_commit(l);
        l->now_late = clock_ticks(l->node->clock_kind);
        poll_answers(l);
        poll_cluster_flush(l);
    }
    /* Why after answers: those who got them ask again.  In a cluster not after requests: others must run
     * before they can be answered, and those may be in the same processor's queue. */
    l->eager = l->wake_count != 0 || l->request_count == LIMIT_BATCH ||
               (requests != 0 && l->cluster == NULL);
    poll_wakes(l);
    poll_upkeep(l);
    poll_cool(l);
    counter_add(l->counters, COUNTER_PASSES, 1);
    if (requests == 0)
        return false;
    l->ticks_busy = l->now;
    counter_add(l->counters, COUNTER_PASSES_BUSY, 1);
    return true;
}

static void each_transport(const struct lcore *l, void (*call)(struct transport *t))
{
    for (uint32_t i = 0; i < l->team_count; i++)
        if (l->team[i]->cluster != NULL)
            call(l->team[i]->cluster->transport);
}

static void *lcore_main(void *argument)
{
    struct lcore *l = argument;
    qsbr_thread_register();
    each_transport(l, transport_enter);
    /* acquire: pairs with nodes_lcores_stop */
    while (!atomic_load_explicit(&l->stop, memory_order_acquire)) {
        bool eager = false;
        for (uint32_t i = 0; i < l->team_count; i++) {
            (void)poll_pass(l->team[i]);
            eager |= l->team[i]->eager;
        }
        if (!eager)
            poll_idle(l);
        qsbr_quiescent();
    }
    each_transport(l, transport_leave);
    qsbr_thread_unregister();
    return NULL;
}

void lcore_fault(struct lcore *l, struct agent *a, enum agent_fault fault)
{
    uint32_t none = AGENT_FAULT_NONE;
    /* release: control reads it after the wake; one fault is enough, the first */
    if (!atomic_compare_exchange_strong_explicit(&a->fault, &none, (uint32_t)fault,
                                                 memory_order_release, memory_order_relaxed))
        return;
    counter_add(l->counters, COUNTER_AGENT_FAULTS, 1);
    if (l->node->wake_control != NULL)
        l->node->wake_control(l->node->wake_context);
}

/* ---- set-up ---- */

static uint32_t own_shards(const struct node *n, uint32_t number, struct shard **into)
{
    uint32_t count = 0;
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++) {
        const struct node_space *space = n->spaces[id];
        for (uint32_t i = 0; space != NULL && i < space->geometry.shard_count; i++) {
            if (space->boards[i].lcore != number)
                continue;
            into[count++] = space->shards[i];
        }
    }
    return count;
}

#define US UINT64_C(1000)

static struct lcore_ticks ticks_of(const struct node *n)
{
    uint64_t rate = n->ticks_per_s;
    return (struct lcore_ticks){
        .lease = clock_ns_to_ticks(n->config.lease_ns, rate),
        .view = clock_ns_to_ticks(n->config.view_ns, rate),
        .cool = clock_ns_to_ticks(200 * US, rate),
        .pause = clock_ns_to_ticks(5 * US, rate),
        .look = clock_ns_to_ticks(5 * US, rate),
        .slice = clock_ns_to_ticks(NS_PER_MS, rate),
        .crowded = clock_ns_to_ticks(10 * NS_PER_MS, rate),
        .yield = clock_ns_to_ticks(20 * US, rate),
        .soon = clock_ns_to_ticks(200 * US, rate),
        .stuck = clock_ns_to_ticks(NS_PER_MS, rate),
        .sweep = clock_ns_to_ticks(50 * NS_PER_MS, rate),
        .sweep_sessions = clock_ns_to_ticks(10 * NS_PER_MS, rate),
        .show = clock_ns_to_ticks(100 * NS_PER_MS, rate),
    };
}

static int stop_fd_open(struct lcore *l)
{
    /* Above the slots of agents, as node.h says. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = LIMIT_AGENTS + 2};
    l->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->stop_fd < 0)
        return -errno;
    int error = epoll_ctl(l->node->sleep_fds[l->number], EPOLL_CTL_ADD, l->stop_fd, &event);
    return error == 0 ? 0 : -errno;
}

static void stop_fd_close(struct lcore *l)
{
    if (l->stop_fd >= 0)
        (void)close(l->stop_fd); /* and out of the epoll with it */
    l->stop_fd = -1;
}

/* Of shards, its own, the dirty and the active ones; and the copy of a transaction. */
#define LISTS_BYTES                                                                                \
    (3 * (size_t)LCORE_SHARDS_MAX * sizeof(struct shard *) + LIMIT_TRANSACTION_BYTES)

int lcore_open(struct node *n, uint32_t number, struct lcore **lcore)
{
    struct lcore *l = aligned_alloc(CACHE_LINE, align_up(sizeof *l, CACHE_LINE));
    struct shard **list = lcore_memory(LISTS_BYTES);
    if (l == NULL || list == NULL) {
        free(l);
        lcore_memory_free(list, LISTS_BYTES);
        return -ENOMEM;
    }
    *l = (struct lcore){
        .node = n,
        .number = number,
        .shared = &n->shared->lcores[number],
        .lease = &n->shared->leases[(size_t)number * LIMIT_LEASE_CELLS_PER_LCORE],
        .counters = &n->shared->counters[number],
        .now = clock_ticks(n->clock_kind),
        .clock_ns = clock_realtime_ns(),
        .ticks = ticks_of(n),
        .agent_rate = agent_rate_of(&n->config, n->ticks_per_s),
        .key_gap = 1,
        .shards = list,
        .dirty = list + (size_t)LCORE_SHARDS_MAX,
        .active = list + 2 * (size_t)LCORE_SHARDS_MAX,
        .transaction = (uint8_t *)(list + 3 * (size_t)LCORE_SHARDS_MAX),
        .shard_count = own_shards(n, number, list),
        .team = {l},
        .team_count = 1,
        .team_fd = -1,
        .stop_fd = -1,
    };
    l->sweep_interval = l->ticks.sweep;
    memcpy(l->spaces, n->spaces, sizeof l->spaces);
    int error = stop_fd_open(l);
    if (error == 0)
        error = lcore_cluster_open(l);
    if (error != 0) {
        stop_fd_close(l);
        lcore_memory_free(list, LISTS_BYTES);
        free(l);
        return error;
    }
    n->lcores[number] = l;
    *lcore = l;
    return 0;
}

void lcore_close(struct lcore *l)
{
    if (l->grace_started != 0 && l->node->config.lcore_count > 1)
        qsbr_defer_drain(); /* a callback may still be on its way to us */
    l->node->lcores[l->number] = NULL;
    lcore_cluster_close(l);
    if (l->team_fd >= 0)
        (void)close(l->team_fd);
    stop_fd_close(l);
    lcore_memory_free(l->shards, LISTS_BYTES);
    free(l);
}

static void pin(const struct node *n, const struct lcore *l)
{
    int32_t cpu = n->config.lcore_cpus[l->number];
    if (cpu < 0)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    /* Why ignored: a processor that was taken away meanwhile costs speed, not correctness; the
     * configuration was checked against the machine. */
    (void)pthread_setaffinity_np(l->thread, sizeof set, &set);
}

static int lcores_open(struct node *n)
{
    int error = 0;
    for (uint32_t i = 0; i < n->config.lcore_count && error == 0; i++) {
        struct lcore *l;
        error = lcore_open(n, i, &l);
    }
    return error;
}

/* Lcores of one number, the first node's for all of them. */
static int team_make(struct node *const *nodes, uint32_t count, uint32_t number)
{
    struct lcore *l = nodes[0]->lcores[number];
    l->team_count = count;
    for (uint32_t i = 0; i < count; i++)
        l->team[i] = nodes[i]->lcores[number];
    if (count == 1)
        return 0;
    l->team_fd = epoll_create1(EPOLL_CLOEXEC);
    int error = l->team_fd < 0 ? -errno : 0;
    for (uint32_t i = 0; i < count && error == 0; i++) {
        struct epoll_event event = {.events = EPOLLIN};
        if (epoll_ctl(l->team_fd, EPOLL_CTL_ADD, nodes[i]->sleep_fds[number], &event) != 0)
            error = -errno;
    }
    return error;
}

static int team_start(struct node *const *nodes, uint32_t count, uint32_t number)
{
    struct lcore *l = nodes[0]->lcores[number];
    int error = team_make(nodes, count, number);
    if (error == 0)
        error = -pthread_create(&l->thread, NULL, lcore_main, l);
    l->running = error == 0;
    if (l->running)
        pin(nodes[0], l);
    return error;
}

int nodes_lcores_start(struct node *const *nodes, uint32_t count)
{
    int error = count >= 1 && count <= LIMIT_PROCESS_NODES ? 0 : -EINVAL;
    for (uint32_t i = 0; i < count && error == 0; i++)
        error = nodes[i]->config.lcore_count == nodes[0]->config.lcore_count ? lcores_open(nodes[i])
                                                                             : -EINVAL;
    for (uint32_t i = 0; error == 0 && i < nodes[0]->config.lcore_count; i++)
        error = team_start(nodes, count, i);
    if (error != 0)
        nodes_lcores_stop(nodes, count);
    return error;
}

static void stop_tell(struct lcore *l)
{
    const uint64_t one = 1;
    /* release: all that control did before is seen by the last pass */
    atomic_store_explicit(&l->stop, true, memory_order_release);
    (void)!write(l->stop_fd, &one, sizeof one); /* one that cannot be written rings already */
}

/* Why all are stopped before one is closed: a thread passes over the lcores of all nodes. */
void nodes_lcores_stop(struct node *const *nodes, uint32_t count)
{
    for (uint32_t n = 0; n < count; n++)
        for (uint32_t i = 0; i < nodes[n]->config.lcore_count; i++)
            if (nodes[n]->lcores[i] != NULL)
                stop_tell(nodes[n]->lcores[i]);
    for (uint32_t n = 0; n < count; n++)
        for (uint32_t i = 0; i < nodes[n]->config.lcore_count; i++)
            if (nodes[n]->lcores[i] != NULL && nodes[n]->lcores[i]->running)
                (void)pthread_join(nodes[n]->lcores[i]->thread, NULL);
    for (uint32_t n = 0; n < count; n++)
        for (uint32_t i = 0; i < nodes[n]->config.lcore_count; i++)
            if (nodes[n]->lcores[i] != NULL)
                lcore_close(nodes[n]->lcores[i]);
}

int node_lcores_start(struct node *n)
{
    return nodes_lcores_start(&n, 1);
}

void node_lcores_stop(struct node *n)
{
    nodes_lcores_stop(&n, 1);
}
