#include "tests/sim/sim.h"

#include "engine/hash.h"
#include "engine/pending.h"
#include "engine/plant.h"

#include <stdlib.h>
#include <string.h>

#define LOG_NUMBER 7u
#define LSN_START (UINT64_C(1) << 20)
#define TICK_NS NS_PER_MS

static const struct replica_times times = {
    .lease = 50 * NS_PER_MS,
    .heartbeat = 10 * NS_PER_MS,
    .retry = 4 * NS_PER_MS,
    .read_leases = true,
};

static bool nothing_pinned(void *context, uint32_t frame)
{
    (void)context;
    (void)frame;
    return false;
}

static const struct reclaim_now reclaim = {
    .ticket_next = 1,
    .ticket_done = 1,
    .pinned = nothing_pinned,
};

/* ---- one node's memory ---- */

static void geometry(struct space_config *c, struct layout_geometry *g)
{
    space_config_default(c);
    c->shard_count = 1;
    c->sessions_max = 256;
    c->quota_bytes = UINT64_C(8) << 20;
    int error = space_geometry(c, g);
    ASSERT(error == 0);
}

static uint64_t memory_bytes(const struct space_config *c, const struct layout_geometry *g)
{
    return layout_space_bytes(g) + align_up(sizeof(struct layout_node), PAGE) +
           ((uint64_t)g->chunk_count_max << g->chunk_shift) +
           align_up(shard_bytes(g, c->sessions_max), PAGE);
}

static void memory_place(struct sim_node *n)
{
    struct space_config c;
    struct layout_geometry g;
    geometry(&c, &g);
    uint64_t arena_bytes = (uint64_t)g.chunk_count_max << g.chunk_shift;
    if (n->memory == NULL) {
        n->memory = aligned_alloc(PAGE, memory_bytes(&c, &g));
        ASSERT(n->memory != NULL);
    }
    /* The arena keeps what was in it: garbage must do no harm. */
    uint8_t *at = n->memory;
    memset(at, 0, layout_space_bytes(&g));
    n->header = (struct layout_space *)(void *)at;
    n->header->geometry = g;
    n->header->id = 1;
    atomic_store_explicit(&n->header->chunk_count, g.chunk_count_max, memory_order_relaxed);
    atomic_store_explicit(&n->header->chunk_limit, g.chunk_count_max, memory_order_relaxed);
    n->board = (struct layout_board *)(void *)(at + layout_board_offset(0));
    n->directory = (struct layout_frame *)(void *)(at + layout_directory_offset(&g));
    at += layout_space_bytes(&g);
    n->page = (struct layout_node *)(void *)at;
    memset(at, 0, sizeof *n->page);
    at += align_up(sizeof *n->page, PAGE);
    n->arena = at;
    at += arena_bytes;
    n->shard = (struct shard *)(void *)at;
    memset(at, 0, shard_bytes(&g, c.sessions_max));
    struct shard_config config = {
        .header = n->header,
        .directory = n->directory,
        .board = n->board,
        .arena = n->arena,
        .chunks_wanted = &n->chunks_wanted,
        .counters = &n->page->counters[0],
        .log = LOG_NUMBER,
        .sessions_max = c.sessions_max,
        .value_bytes_max = 1024,
        .session_ttl_ns = 600 * NS_PER_S,
        .lsn_start = LSN_START,
    };
    int error = shard_init(n->shard, &config);
    ASSERT(error == 0);
    shard_grant(n->shard, UINT64_MAX);
    n->shard->lsn_kept = 0;
}

void sim_node_start(struct sim *s, uint32_t node, bool first)
{
    struct sim_node *n = &s->nodes[node];
    uint64_t incarnation =
        !first && PLANTED(VOTE_AFTER_AMNESIA) ? n->incarnation : ++s->incarnations;
    memory_place(n);
    n->up = true;
    n->frozen = false;
    n->incarnation = incarnation;
    n->lsn_checked = LSN_START;
    n->promised_max = 0;
    if (first) {
        n->clock_offset = (int64_t)sim_below(s, 1000000000);
        n->clock_ppm = (int32_t)sim_below(s, 1000) - 500; /* two clocks: at most 1,000 ppm apart */
        sim_schedule(s, sim_below(s, TICK_NS),
                     (struct sim_event){.kind = EVENT_TICK, .node = node});
    }
    struct member self = {.node = node, .incarnation = incarnation};
    replica_init(&n->replica, n->shard, &self, &times);
    n->replica.reclaim = &reclaim;
    n->replica.clock_ns = s->time;
    /* Who restarted waits for a lease before it answers a seal: it does not know what it promised.
     */
    n->replica.promise_end = first ? 0 : sim_clock(s, n) + times.lease + times.lease / 500;
}

void sim_node_stop(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];
    n->up = false;
    for (unsigned c = 0; c < REPLICA_COUNT_COUNT; c++)
        s->counts[c] += n->replica.counts[c];
}

/* ---- what a step wanted ---- */

static void answers_send(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];
    struct shard_answer a;
    while (shard_answer_next(n->shard, &a)) {
        uint64_t value = 0;
        uint32_t status = a.status;
        if (a.origin.operation == RING_GET && !replica_may_answer(&n->replica, sim_clock(s, n)))
            status = RING_UNAVAILABLE;
        else if (a.record != NULL)
            memcpy(&value, record_value(a.record), sizeof value);
        struct sim_event e = {
            .kind = EVENT_REPLY,
            .node = node,
            .client = a.origin.agent,
            .a = a.origin.generation | (uint64_t)status << 32,
            .b = a.lsn,
            .c = a.origin.operation == RING_GET ? value : a.session_slot,
        };
        if (!sim_chance(s, s->loss_percent))
            sim_schedule(s, 20000 + sim_below(s, 200000), e);
    }
}

static void settle(struct sim *s, uint32_t node, struct replica_update *u)
{
    struct sim_node *n = &s->nodes[node];
    for (uint32_t i = 0; i < u->out_count; i++)
        sim_send(s, node, u->out[i].to, &u->out[i].message);
    if (u->activate != 0)
        sim_schedule(
            s, 50000 + sim_below(s, 500000),
            (struct sim_event){
                .kind = EVENT_ACTIVATE, .node = node, .a = u->activate, .b = n->incarnation});
    answers_send(s, node);
    sim_check_node(s, node);
    if (n->shard->pending_head == n->shard->pending_applied)
        (void)!shard_maintain(n->shard, &reclaim);
}

static bool is_awake(const struct sim_node *n)
{
    return n->up && !n->frozen;
}

void sim_node_tick(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];
    sim_schedule(s, TICK_NS, (struct sim_event){.kind = EVENT_TICK, .node = node});
    if (!is_awake(n))
        return;
    static struct replica_update u;
    do {
        replica_update_reset(&u);
        n->replica.clock_ns = s->time;
        replica_tick(&n->replica, sim_clock(s, n), &u);
        settle(s, node, &u);
    } while (u.more);
}

void sim_node_receive(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = &s->nodes[e->node];
    if (!n->up)
        return;
    if (n->frozen) { /* it waits in the socket */
        struct sim_event later = *e;
        later.bytes = malloc(e->length);
        ASSERT(later.bytes != NULL);
        memcpy(later.bytes, e->bytes, e->length);
        sim_schedule(s, 2 * NS_PER_MS, later);
        return;
    }
    struct message m;
    int error = message_decode(&m, e->bytes, e->length);
    ASSERT(error == 0); /* the network damages log bytes only: frames are authenticated */
    static struct replica_update u;
    replica_update_reset(&u);
    n->replica.clock_ns = s->time;
    (void)!replica_receive(&n->replica, &m, sim_clock(s, n), &u);
    settle(s, e->node, &u);
}

void sim_node_configure(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];
    if (!is_awake(n))
        return;
    static struct replica_update u;
    replica_update_reset(&u);
    n->replica.clock_ns = s->time;
    struct configuration c = s->configuration;
    c.active = s->active.epoch == c.epoch;
    replica_configure(&n->replica, &c, sim_clock(s, n), &u);
    settle(s, node, &u);
}

/* ---- requests of clients ---- */

static int request_write(struct sim *s, struct sim_node *n, const struct shard_origin *origin)
{
    const struct sim_client *c = &s->clients[origin->agent];
    const struct sim_operation *o = &c->now;
    uint64_t key = o->key;
    uint8_t value[SIM_VALUE_BYTES_MAX];
    memset(value, (int)o->sequence, sizeof value);
    memcpy(value, &o->value, sizeof o->value);
    struct shard_write w = {
        .origin = *origin,
        .hash = hash_key(&key, sizeof key),
        .key = &key,
        .key_length = sizeof key,
        .value = value,
        .value_length = o->kind == OPERATION_DELETE ? 0 : o->value_length,
        .compare = o->kind == OPERATION_PUT_IF,
        .expected_lsn = o->expected,
        .session_slot = c->session_slot,
        .session = o->session,
        .sequence = o->sequence,
        .clock_ns = s->time,
    };
    return shard_write(n->shard, &w);
}

static int request_execute(struct sim *s, struct sim_node *n, struct shard_origin *origin)
{
    const struct sim_client *c = &s->clients[origin->agent];
    uint64_t key = c->now.key;
    if (c->opening) {
        origin->operation = RING_SESSION_OPEN;
        return shard_session_open(n->shard, origin, c->id, 0, s->time);
    }
    if (c->now.kind == OPERATION_GET) {
        origin->operation = RING_GET;
        struct shard_read r = {
            .origin = *origin,
            .hash = hash_key(&key, sizeof key),
            .key = &key,
            .key_length = sizeof key,
        };
        return shard_read(n->shard, &r);
    }
    origin->operation = c->now.kind == OPERATION_DELETE ? RING_DELETE : RING_PUT;
    return request_write(s, n, origin);
}

void sim_node_request(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = &s->nodes[e->node];
    const struct sim_client *c = &s->clients[e->client];
    /* the request travels with its attempt: one that its client gave up is still carried out if it
     * is the same operation, else it would be another one's */
    if (!is_awake(n) || c->attempt != e->a)
        return;
    struct shard_origin origin = {.agent = e->client, .generation = e->a, .room = 64};
    int result = replica_leads(&n->replica) ? request_execute(s, n, &origin) : RING_UNAVAILABLE;
    if (result > 0)
        sim_schedule(s, 20000 + sim_below(s, 200000),
                     (struct sim_event){.kind = EVENT_REPLY,
                                        .node = e->node,
                                        .client = e->client,
                                        .a = e->a | (uint64_t)result << 32});
    if (result != 0)
        return;
    static struct replica_update u;
    replica_update_reset(&u);
    replica_tick(&n->replica, sim_clock(s, n), &u);
    settle(s, e->node, &u);
}
