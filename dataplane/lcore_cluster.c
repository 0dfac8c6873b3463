#include "dataplane/lcore_forward.h"

#include <stdlib.h>
#include <sys/epoll.h>

/* An ask this often per lease, and what goes unanswered is said again this often. */
#define HEARTBEATS_PER_LEASE 5u
#define RETRIES_PER_LEASE 12u
/* How long a commit waits for bytes that carry it.  Why so long: an agent that has its answer writes again
 * within it, over sockets on one machine or in one rack; and nobody who waits for the commit at a follower
 * (a read of a pending key, a watch) waits for more than about one round trip longer. */
#define NOTICE_NS UINT64_C(50000)
#define PUBLISH_NS (100 * NS_PER_MS)

static struct replica *find(void *context, uint32_t log)
{
    struct lcore_replica *r = lcore_replica_of(context, log);
    return r != NULL ? &r->replica : NULL;
}

static void *take(struct lcore_cluster *c, uint32_t which, size_t count, size_t bytes)
{
    c->memory[which] = calloc(count + 1, bytes);
    return c->memory[which];
}

/* ---- the shards ---- */

static void by_log_fill(struct lcore_cluster *c)
{
    for (uint32_t i = 0; i < c->lcore->shard_count; i++) {
        uint32_t log = c->lcore->shards[i]->log.number;
        uint32_t shard = log & ((1u << NODE_LOG_SPACE_SHIFT) - 1);
        c->by_log[c->space_first[log >> NODE_LOG_SPACE_SHIFT] + shard] = &c->replicas[i];
    }
}

static int shards_open(struct lcore_cluster *c)
{
    const struct node *n = c->lcore->node;
    uint32_t shards = 0;
    uint64_t frames = 0;
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++) {
        c->space_first[id] = shards;
        shards += n->spaces[id] != NULL ? n->spaces[id]->geometry.shard_count : 0;
        frames += n->spaces[id] != NULL ? layout_frame_count(&n->spaces[id]->geometry) : 0;
    }
    c->replicas = take(c, 0, c->lcore->shard_count, sizeof *c->replicas);
    c->by_log = take(c, 1, shards, sizeof(struct lcore_replica *));
    uint32_t *counts = take(c, 2, frames, sizeof *counts);
    if (c->replicas == NULL || c->by_log == NULL || counts == NULL)
        return -ENOMEM;
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++) {
        if (n->spaces[id] == NULL)
            continue;
        uint32_t count = (uint32_t)layout_frame_count(&n->spaces[id]->geometry);
        holds_init(&c->holds[id], counts, count);
        counts += count;
    }
    by_log_fill(c);
    return 0;
}

/* ---- the group ---- */

static int group_open(struct lcore_cluster *c, const struct replica_times *times)
{
    struct lcore *l = c->lcore;
    uint32_t peers = c->node->node_count - 1;
    size_t pair_memory = align_up(pair_bytes(l->shard_count + 1), CACHE_LINE);
    struct replica **lists = take(c, 3, 2 * (size_t)l->shard_count, sizeof(struct replica *));
    struct pair *pairs = take(c, 4, 1, peers * (sizeof *pairs + pair_memory));
    c->bundles = take(c, 5, peers, sizeof *c->bundles);
    if (lists == NULL || pairs == NULL || c->bundles == NULL)
        return -ENOMEM;
    group_init(&c->group, &c->node->self, times);
    c->group.find = find;
    c->group.context = c;
    c->group.pairs = pairs;
    c->group.replicas = lists;
    c->group.replica_count = l->shard_count;
    c->group.busy = lists + l->shard_count;
    uint8_t *memory = (uint8_t *)(pairs + peers);
    for (uint32_t i = 0; i < c->node->node_count; i++) {
        if (c->node->nodes[i] == c->node->self.node)
            continue;
        pair_init(&pairs[c->group.pair_count++], c->node->nodes[i], l->shard_count + 1, memory);
        memory += pair_memory;
    }
    for (uint32_t i = 0; i < l->shard_count; i++)
        lists[i] = &c->replicas[i].replica;
    uint32_t cell_first = l->number * LIMIT_LEASE_CELLS_PER_LCORE;
    boards_init(&c->boards, &c->group, &l->node->shared->leases[cell_first], cell_first);
    return 0;
}

static int replicas_open(struct lcore_cluster *c, const struct replica_times *times)
{
    struct lcore *l = c->lcore;
    /* Why not the one that there is: the first pass asks for it, and can send what follows from it. */
    c->version = cluster_version(c->node) - 1;
    for (uint32_t i = 0; i < l->shard_count; i++) {
        struct lcore_replica *r = &c->replicas[i];
        uint32_t log = l->shards[i]->log.number;
        struct configuration known;
        if (!c->node->configuration(c->node->context, log, 0, &known))
            return -EINVAL;
        replica_init(&r->replica, l->shards[i], &c->node->self, times);
        r->replica.group = &c->group;
        l->shards[i]->lsn_kept = 0; /* nobody has confirmed anything yet */
    }
    return 0;
}

/* ---- all of it ---- */

static int wake_add(const struct lcore_cluster *c)
{
    /* Above the slots of agents, as node.h says. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = LIMIT_AGENTS};
    int fd = transport_wake_fd(c->transport);
    const struct lcore *l = c->lcore;
    if (fd < 0)
        return 0;
    return epoll_ctl(l->node->sleep_fds[l->number], EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

int lcore_cluster_open(struct lcore *l)
{
    const struct node_cluster *node = l->node->cluster;
    if (node == NULL)
        return 0;
    struct lcore_cluster *c = calloc(1, sizeof *c);
    if (c == NULL)
        return -ENOMEM;
    l->cluster = c;
    c->lcore = l;
    c->node = node;
    c->transport = node->transports[l->number];
    c->publish_interval = clock_ns_to_ticks(PUBLISH_NS, l->node->ticks_per_s);
    const struct replica_times times = {
        .lease = l->ticks.lease,
        .heartbeat = l->ticks.lease / HEARTBEATS_PER_LEASE,
        .retry = l->ticks.lease / RETRIES_PER_LEASE,
        .notice = clock_ns_to_ticks(NOTICE_NS, l->node->ticks_per_s),
        .read_leases = !l->node->config.lease_virtual,
    };
    int error = c->transport == NULL ? -EINVAL : shards_open(c);
    if (error == 0)
        error = group_open(c, &times);
    if (error == 0)
        error = replicas_open(c, &times);
    if (error == 0)
        error = wake_add(c);
    if (error == 0)
        error = lcore_forward_open(c);
    if (error != 0)
        lcore_cluster_close(l);
    return error;
}

void lcore_cluster_close(struct lcore *l)
{
    struct lcore_cluster *c = l->cluster;
    if (c == NULL)
        return;
    for (uint32_t i = 0; i < sizeof c->memory / sizeof c->memory[0]; i++)
        free(c->memory[i]);
    lcore_forward_close(c->forward);
    free(c);
    l->cluster = NULL;
}
