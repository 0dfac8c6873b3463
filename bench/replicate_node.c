#include "bench/replicate_node.h"

#include "engine/clock.h"

#include <stdlib.h>
#include <string.h>

#define SPACE_ID 1u
#define LSN_START (UINT64_C(1) << 21)
#define EPOCH 1u
#define LEASE_NS (50 * NS_PER_MS)
#define QUEUE_BYTES (4u << 20)
#define BURST 32u
#define AHEAD 4u       /* replicas that are fetched while one is stepped */
#define ROUNDS_MAX 64u /* of messages until an election is over */

static bool nothing_pinned(void *context, uint32_t frame)
{
    (void)context;
    (void)frame;
    return false;
}

static const struct reclaim_now reclaim = {
    .ticket_next = 1,
    .ticket_done = 1, /* the only thread that reads is quiescent between passes */
    .pinned = nothing_pinned,
};

/* ---- memory ---- */

static int space_file_make(struct replicate_node *n, const struct layout_geometry *g)
{
    int rc = memory_create(&n->file, "bench-space", align_up(layout_space_bytes(g), PAGE),
                           MEMORY_SHARED, true, NULL);
    if (rc != 0)
        return rc;
    struct layout_space *header = (struct layout_space *)(void *)n->file.base;
    header->geometry = *g;
    header->id = SPACE_ID;
    /* relaxed: this thread reads them */
    atomic_store_explicit(&header->chunk_count, g->chunk_count_max, memory_order_relaxed);
    atomic_store_explicit(&header->chunk_limit, g->chunk_count_max, memory_order_relaxed);
    return 0;
}

static int shard_make(struct replicate_node *n, uint32_t shard, uint8_t *memory)
{
    struct layout_space *header = (struct layout_space *)(void *)n->file.base;
    const struct layout_geometry *g = &header->geometry;
    struct shard_config config = {
        .header = header,
        .directory = (struct layout_frame *)(void *)(n->file.base + layout_directory_offset(g)),
        .board = (struct layout_board *)(void *)(n->file.base + layout_board_offset(shard)),
        .arena = n->arena.base,
        .chunks_wanted = &n->chunks_wanted,
        .counters = n->counters,
        .number = shard,
        .log = SPACE_ID << 16 | shard,
        .sessions_max = n->config.sessions_max,
        .value_bytes_max = space_value_max(&n->config, g),
        .session_ttl_ns = n->config.session_ttl_ns,
        .lsn_start = LSN_START,
    };
    n->shards[shard] = (struct shard *)(void *)memory;
    int rc = shard_init(n->shards[shard], &config);
    if (rc != 0)
        return rc;
    shard_grant(n->shards[shard], UINT64_MAX);
    n->shards[shard]->lsn_kept = 0;
    return 0;
}

static void replica_make(struct replicate_node *n, uint32_t shard, double ticks_per_ns)
{
    const uint64_t lease = (uint64_t)(LEASE_NS * ticks_per_ns);
    const struct replica_times times = {
        .lease = lease, .heartbeat = lease / 5, .retry = lease / 12};
    const struct member self = {.node = n->number, .incarnation = n->number + 1};
    replica_init(&n->replicas[shard], n->shards[shard], &self, &times);
    n->replicas[shard].reclaim = &reclaim;
    n->replicas[shard].group = &n->group;
    n->group.self = self;
    n->group.times = times;
}

static int shards_make(struct replicate_node *n, const struct layout_geometry *g,
                       double ticks_per_ns)
{
    uint64_t stride = align_up(shard_bytes(g, n->config.sessions_max), CACHE_LINE);
    int rc = memory_create(&n->shard_memory, "bench-shards",
                           align_up(stride * n->shard_count, PAGE), MEMORY_SHARED, true, NULL);
    for (uint32_t i = 0; i < n->shard_count && rc == 0; i++) {
        rc = shard_make(n, i, n->shard_memory.base + i * stride);
        if (rc == 0)
            replica_make(n, i, ticks_per_ns);
    }
    return rc;
}

static int lists_make(struct replicate_node *n)
{
    n->replicas = calloc(n->shard_count, sizeof *n->replicas);
    n->counters = aligned_alloc(CACHE_LINE, align_up(sizeof *n->counters, CACHE_LINE));
    n->dirty = calloc(n->shard_count, sizeof(struct shard *));
    n->active = calloc(n->shard_count, sizeof(struct shard *));
    n->group.busy = calloc(n->shard_count, sizeof(struct replica *));
    n->incoming.bytes = malloc(QUEUE_BYTES);
    if (n->group.busy == NULL || n->replicas == NULL || n->counters == NULL || n->dirty == NULL ||
        n->active == NULL || n->incoming.bytes == NULL)
        return -ENOMEM;
    memset(n->counters, 0, sizeof *n->counters);
    return 0;
}

int replicate_node_open(struct replicate_node *n, uint32_t number,
                        const struct replicate_shape *shape)
{
    *n = (struct replicate_node){
        .number = number,
        .shard_count = shape->shard_count,
        .file.fd = -1,
        .arena.fd = -1,
        .shard_memory.fd = -1,
    };
    space_config_default(&n->config);
    n->config.shard_count = shape->shard_count;
    n->config.quota_bytes = shape->quota_bytes;
    n->config.sessions_max = shape->sessions_max;
    struct layout_geometry g;
    int rc = space_geometry(&n->config, &g);
    if (rc == 0)
        rc = lists_make(n);
    if (rc == 0)
        rc = space_file_make(n, &g);
    if (rc == 0)
        rc = memory_create(&n->arena, "bench-arena", layout_arena_bytes(&g), MEMORY_SHARED, true,
                           NULL);
    if (rc == 0)
        rc = shards_make(n, &g, shape->ticks_per_ns);
    if (rc != 0)
        replicate_node_close(n);
    return rc;
}

void replicate_node_close(struct replicate_node *n)
{
    memory_destroy(&n->shard_memory, false);
    memory_destroy(&n->arena, false);
    memory_destroy(&n->file, false);
    free(n->incoming.bytes);
    free(n->group.busy);
    free(n->active);
    free(n->dirty);
    free(n->counters);
    free(n->replicas);
}

/* ---- messages ---- */

/* In a queue: this, then the message's head as it is encoded. */
struct letter {
    const uint8_t *bytes; /* of the log */
    uint32_t length;
    uint32_t head_length;
    uint64_t shard;
};

static void post(struct replicate_node *to, struct message *m)
{
    struct replicate_queue *q = &to->incoming;
    struct letter *l = (struct letter *)(void *)(q->bytes + q->used);
    ASSERT(q->used + sizeof *l + MESSAGE_HEAD_BYTES_MAX + MESSAGE_PIECE_MAX <= QUEUE_BYTES);
    l->bytes = m->bytes;
    l->shard = m->log & UINT16_MAX;
    l->length = m->kind == MESSAGE_APPEND ? m->length : 0;
    if (m->kind == MESSAGE_APPEND)
        m->length = 0;
    l->head_length = (uint32_t)message_bytes(m);
    message_encode(m, q->bytes + q->used + sizeof *l);
    q->used += (uint32_t)(sizeof *l + align_up(l->head_length, 8));
}

static void settle(const struct replicate_node *n, struct replicate_node nodes[REPLICATE_NODES],
                   struct replica_update *u)
{
    (void)n;
    for (uint32_t i = 0; i < u->out_count; i++)
        post(&nodes[u->out[i].to], &u->out[i].message);
}

static void open_letter(const struct letter *l, const uint8_t *at, struct message *m)
{
    int rc = message_decode(m, at + sizeof *l, l->head_length);
    ASSERT(rc == 0); /* it was encoded here */
    if (m->kind == MESSAGE_APPEND) {
        m->bytes = l->bytes;
        m->length = l->length;
    }
}

void replicate_node_begin(struct replicate_node *n)
{
    n->now = clock_ticks(CLOCK_KIND_TSC);
    group_begin(&n->group, n->now);
}

void replicate_node_clock(struct replicate_node *n)
{
    n->clock_ns = clock_realtime_ns();
}

/* The next messages of a queue, of which there may be one for each of many shards. */
struct burst {
    uint32_t count;
    struct letter letters[BURST];
    const uint8_t *heads[BURST];
};

static const uint8_t *burst_take(struct burst *b, const uint8_t *at, const uint8_t *end)
{
    for (b->count = 0; b->count < BURST && at != end; b->count++) {
        struct letter *l = &b->letters[b->count];
        memcpy(l, at, sizeof *l);
        b->heads[b->count] = at;
        at += sizeof *l + align_up(l->head_length, 8);
    }
    return at;
}

/* Why in stages: each leads to what the next one fetches, and the misses of messages overlap. */
static void burst_prefetch(const struct replicate_node *n, const struct burst *b)
{
    for (uint32_t i = 0; i < b->count; i++) {
        shard_prefetch_self(n->shards[b->letters[i].shard]);
        replica_prefetch(&n->replicas[b->letters[i].shard]);
        PREFETCH(b->letters[i].bytes);
    }
    for (uint32_t i = 0; i < b->count; i++)
        shard_prefetch_board(n->shards[b->letters[i].shard]);
    for (uint32_t i = 0; i < b->count; i++) {
        const struct letter *l = &b->letters[i];
        shard_prefetch_land(n->shards[l->shard], l->bytes, l->length);
    }
    for (uint32_t i = 0; i < b->count; i++) {
        const struct letter *l = &b->letters[i];
        shard_prefetch_apply(n->shards[l->shard], l->bytes, l->length);
    }
}

static void deliver_one(struct replicate_node *n, struct replicate_node nodes[REPLICATE_NODES],
                        const struct message *m)
{
    static struct replica_update u;
    uint32_t shard = m->log & UINT16_MAX;
    struct replica *r = &n->replicas[shard];
    r->clock_ns = n->clock_ns;
    replica_update_reset(&u);
    (void)!replica_receive(r, m, n->now, &u); /* what is stale or early is asked for again */
    settle(n, nodes, &u);
    replicate_node_mark(n, n->shards[shard]);
}

void replicate_node_deliver(struct replicate_node *n, struct replicate_node nodes[REPLICATE_NODES])
{
    struct replicate_queue *q = &n->incoming;
    struct burst b;
    struct message m;
    for (const uint8_t *at = q->bytes; at != q->bytes + q->used;) {
        at = burst_take(&b, at, q->bytes + q->used);
        if (n->shard_count > 1)
            burst_prefetch(n, &b);
        for (uint32_t i = 0; i < b.count; i++) {
            open_letter(&b.letters[i], b.heads[i], &m);
            deliver_one(n, nodes, &m);
        }
    }
    q->used = 0;
}

void replicate_node_decide(struct replicate_node *n, struct replicate_node nodes[REPLICATE_NODES])
{
    static struct replica_update u;
    struct group *g = &n->group;
    for (uint32_t i = 0; i < n->dirty_count; i++)
        group_wake(g, &n->replicas[n->dirty[i]->number]);
    for (uint32_t i = 0; i < g->ready_count; i++) {
        struct replica *r = g->busy[i];
        if (n->shard_count > 1 && i + AHEAD < g->ready_count)
            replica_prefetch(g->busy[i + AHEAD]);
        do {
            r->clock_ns = n->clock_ns;
            replica_update_reset(&u);
            replica_tick(r, n->now, &u);
            settle(n, nodes, &u);
        } while (u.more);
        replicate_node_mark(n, r->shard);
    }
    group_settle(g);
    group_rest(g);
}

/* ---- the rest of a pass ---- */

static void answers_take(struct replicate_node *n)
{
    for (uint32_t i = 0; i < n->dirty_count; i++) {
        struct shard *s = n->dirty[i];
        struct shard_answer answer;
        while (shard_answer_next(s, &answer)) {
            n->answer_count++;
            n->refused_count += answer.status != RING_OK;
        }
        s->dirty = false;
        if (!s->active) {
            s->active = true;
            n->active[n->active_count++] = s;
        }
    }
    n->dirty_count = 0;
}

void replicate_node_finish(struct replicate_node *n)
{
    answers_take(n);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n->active_count; i++) {
        struct shard *s = n->active[i];
        s->active = shard_maintain(s, &reclaim);
        if (s->active)
            n->active[kept++] = s;
    }
    n->active_count = kept;
}

/* ---- who leads ---- */

static bool deliver_all(struct replicate_node nodes[REPLICATE_NODES])
{
    bool any = false;
    for (uint32_t i = 0; i < REPLICATE_NODES; i++) {
        any |= nodes[i].incoming.used != 0;
        replicate_node_begin(&nodes[i]);
        replicate_node_deliver(&nodes[i], nodes);
        replicate_node_decide(&nodes[i], nodes);
        replicate_node_finish(&nodes[i]);
    }
    return any;
}

static void configure(struct replicate_node nodes[REPLICATE_NODES], bool active)
{
    static struct replica_update u;
    struct configuration c = {
        .epoch = EPOCH,
        .active = active,
        .voter_count = REPLICATE_NODES,
        .voter_before_count = REPLICATE_NODES,
    };
    for (uint32_t i = 0; i < REPLICATE_NODES; i++)
        c.voters[i] = c.voters_before[i] = (struct member){.node = i, .incarnation = i + 1};
    c.leader = c.voters[0];
    for (uint32_t i = 0; i < REPLICATE_NODES; i++) {
        for (uint32_t shard = 0; shard < nodes[i].shard_count; shard++) {
            replica_update_reset(&u);
            nodes[i].replicas[shard].clock_ns = nodes[i].clock_ns;
            replica_configure(&nodes[i].replicas[shard], &c, nodes[i].now, &u);
            settle(&nodes[i], nodes, &u);
        }
    }
    for (uint32_t round = 0; round < ROUNDS_MAX && deliver_all(nodes); round++)
        continue;
}

int replicate_nodes_lead(struct replicate_node nodes[REPLICATE_NODES])
{
    for (uint32_t i = 0; i < REPLICATE_NODES; i++) {
        replicate_node_begin(&nodes[i]);
        replicate_node_clock(&nodes[i]);
    }
    configure(nodes, false);
    configure(nodes, true);
    for (uint32_t shard = 0; shard < nodes[0].shard_count; shard++)
        if (!replica_leads(&nodes[0].replicas[shard]) || nodes[0].shards[shard]->lsn_committed == 0)
            return -EPROTO;
    return 0;
}
