#include "dataplane/lag.h"
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

static void *take(struct lcore_cluster *c, uint32_t which, size_t bytes)
{
    c->memory[which].bytes = bytes;
    c->memory[which].at = lcore_memory(bytes);
    return c->memory[which].at;
}

/* ---- spaces ---- */

struct lcore_space *lcore_space_make(const struct node_space *s, uint32_t lcore)
{
    uint32_t shards = s->geometry.shard_count, replicas = 0;
    uint64_t frames = layout_frame_count(&s->geometry);
    for (uint32_t i = 0; i < shards; i++)
        replicas += s->boards[i].lcore == lcore;
    size_t own = sizeof(struct lcore_space) + replicas * sizeof(struct lcore_replica);
    struct lcore_space *of =
        calloc(1, own + shards * sizeof(void *) + frames * sizeof of->frames[0]);
    if (of == NULL)
        return NULL;
    of->by_shard = (struct lcore_replica **)(void *)((uint8_t *)of + own);
    of->frames = (uint32_t *)(void *)(of->by_shard + shards);
    of->replica_count = replicas;
    for (uint32_t i = 0, at = 0; i < shards; i++)
        if (s->boards[i].lcore == lcore)
            of->by_shard[i] = &of->replicas[at++];
    return of;
}

/* Ranges that leave in a message no dearer than their announcement. */
static uint32_t log_write_above(const struct transport *t)
{
    return t->brief_bytes > MESSAGE_HEAD_BYTES ? t->brief_bytes - MESSAGE_HEAD_BYTES : 0;
}

static struct replica_times times_of(const struct lcore *l)
{
    return (struct replica_times){
        .lease = l->ticks.lease,
        .heartbeat = l->ticks.lease / HEARTBEATS_PER_LEASE,
        .retry = l->ticks.lease / RETRIES_PER_LEASE,
        .notice = clock_ns_to_ticks(NOTICE_NS, l->node->ticks_per_s),
        .read_leases = !l->node->config.lease_virtual,
        .log_write = transport_can_log_write(l->cluster->transport),
        .log_write_above = log_write_above(l->cluster->transport),
    };
}

void lcore_cluster_take(struct lcore_cluster *c, struct node_space *s)
{
    struct lcore *l = c->lcore;
    struct lcore_space *of = s->parts[l->number];
    const struct replica_times times = times_of(l);
    uint32_t id = s->config.id;
    c->spaces[id] = of;
    holds_init(&c->holds[id], of->frames, (uint32_t)layout_frame_count(&s->geometry));
    for (uint32_t i = 0; i < s->geometry.shard_count; i++) {
        if (of->by_shard[i] == NULL)
            continue;
        replica_init(&of->by_shard[i]->replica, s->shards[i], &c->node->self, &times);
        group_add(&c->group, &of->by_shard[i]->replica);
        s->shards[i]->lsn_kept = 0; /* nobody has confirmed anything yet */
    }
    /* Why not the one that there is: the next pass asks for it, and can send what follows from it. */
    c->version = cluster_version(c->node) - 1;
    if (c->node->lags[l->number] != NULL)
        lag_again(c->node->lags[l->number], c->group.replica_count);
}

void lcore_cluster_leave(struct lcore_cluster *c, const struct node_space *s)
{
    const struct lcore *l = c->lcore;
    struct lcore_space *of = s->parts[l->number];
    uint32_t count = c->group.replica_count;
    for (uint32_t i = 0; i < of->replica_count; i++)
        group_remove(&c->group, &of->replicas[i].replica);
    c->spaces[s->config.id] = NULL;
    if (c->node->lags[l->number] != NULL)
        lag_again(c->node->lags[l->number], count);
}

static int spaces_open(struct lcore_cluster *c)
{
    const struct lcore *l = c->lcore;
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++) {
        struct node_space *s = l->spaces[id];
        if (s == NULL)
            continue;
        if (s->parts[l->number] == NULL)
            s->parts[l->number] = lcore_space_make(s, l->number);
        if (s->parts[l->number] == NULL)
            return -ENOMEM;
        lcore_cluster_take(c, s);
    }
    return 0;
}

/* ---- the group ---- */

static int group_open(struct lcore_cluster *c)
{
    struct lcore *l = c->lcore;
    const struct replica_times times = times_of(l);
    /* Why for all that there could be: nodes come while it runs.  What is not touched is not there. */
    const uint32_t peers = LIMIT_VOTERS - 1;
    size_t pair_memory = align_up(pair_bytes(LCORE_SHARDS_MAX + 1), CACHE_LINE);
    /* Why for all that there could ever be: as lcore.shards. */
    struct replica **lists = take(c, 0, 2 * (size_t)LCORE_SHARDS_MAX * sizeof(struct replica *));
    struct pair *pairs = take(c, 1, (peers + 1) * sizeof *pairs + peers * pair_memory);
    struct log_write *writes = take(c, 3, LIMIT_LOG_WRITES * sizeof *writes);
    c->bundles = take(c, 2, (peers + 1) * sizeof *c->bundles);
    if (lists == NULL || pairs == NULL || c->bundles == NULL || writes == NULL)
        return -ENOMEM;
    group_init(&c->group, &c->node->self, &times);
    poll_log_write_open(c, writes);
    copy_rate_init(&c->group.copy, l->node->config.copy_rate, l->node->ticks_per_s, times.lease);
    c->group.append_bytes = group_append_bytes(c->transport->head_whole);
    c->group.find = find;
    c->group.context = c;
    c->group.pairs = pairs;
    c->group.replicas = lists;
    c->group.busy = lists + (size_t)LCORE_SHARDS_MAX;
    uint8_t *memory = (uint8_t *)(pairs + peers);
    for (uint32_t i = 0; i < peers; i++, memory += pair_memory) {
        pair_init(&pairs[i], PAIR_NOBODY, LCORE_SHARDS_MAX + 1, memory);
        pair_end(&pairs[i]);
    }
    ASSERT(c->node->node_count <= LIMIT_VOTERS);
    for (uint32_t i = 0; i < c->node->node_count; i++)
        if (c->node->nodes[i] != c->node->self.node)
            (void)group_pair_add(&c->group, c->node->nodes[i]);
    uint32_t cell_first = l->number * LIMIT_LEASE_CELLS_PER_LCORE;
    boards_init(&c->boards, &c->group, &l->node->shared->leases[cell_first], cell_first);
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
    int error = c->transport == NULL ? -EINVAL : group_open(c);
    if (error == 0)
        error = spaces_open(c);
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
    if (c->transport != NULL && c->transport->place_context == c)
        c->transport->place = NULL;
    for (uint32_t i = 0; i < sizeof c->memory / sizeof c->memory[0]; i++)
        lcore_memory_free(c->memory[i].at, c->memory[i].bytes);
    lcore_forward_close(c->forward);
    free(c);
    l->cluster = NULL;
}
