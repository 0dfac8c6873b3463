#include "tests/sim/sim_scenario.h"

#include "engine/hash.h"
#include "engine/pending.h"
#include "engine/plant.h"

#include <stdlib.h>
#include <string.h>

#define LOG_NUMBER 7u /* of shard 0 */
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

static bool is_held(void *context, uint32_t frame)
{
    const struct sim_node *n = context;
    return hold_is_held(&n->holds, frame) && !PLANTED(HOLDS_IGNORED);
}

/* ---- one node's memory ---- */

static void geometry(struct space_config *c, struct layout_geometry *g)
{
    space_config_default(c);
    c->shard_count = SIM_SHARDS;
    c->sessions_max = 256;
    c->quota_bytes = UINT64_C(2) << 20; /* so little that the cleaner works all the time */
    int error = space_geometry(c, g);
    ASSERT(error == 0);
}

static uint64_t memory_bytes(const struct space_config *c, const struct layout_geometry *g)
{
    return layout_space_bytes(g) + align_up(sizeof(struct layout_node), PAGE) +
           ((uint64_t)g->chunk_count_max << g->chunk_shift) +
           SIM_SHARDS * align_up(shard_bytes(g, c->sessions_max), PAGE) +
           (SIM_NODES - 1) * align_up(pair_bytes(SIM_SHARDS), PAGE);
}

/* Returns what follows the arena. */
static uint8_t *memory_place(struct sim_node *n)
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
    n->boards = (struct layout_board *)(void *)(at + layout_board_offset(0));
    n->directory = (struct layout_frame *)(void *)(at + layout_directory_offset(&g));
    at += layout_space_bytes(&g);
    n->page = (struct layout_node *)(void *)at;
    memset(at, 0, sizeof *n->page);
    at += align_up(sizeof *n->page, PAGE);
    n->arena = at;
    n->read = (struct read_space){
        .arena = n->arena,
        .mapped_bytes = arena_bytes,
        .geometry = g,
        .boards = n->boards,
        .directory = n->directory,
        .node = n->page,
    };
    return at + arena_bytes;
}

static void shard_make(struct sim_node *n, uint32_t k, const struct space_config *c, uint8_t *at)
{
    struct sim_replica *at_shard = &n->shards[k];
    *at_shard =
        (struct sim_replica){.shard = (struct shard *)(void *)at, .lsn_checked = SIM_LSN_START};
    memset(at, 0, shard_bytes(&n->header->geometry, c->sessions_max));
    struct shard_config config = {
        .header = n->header,
        .directory = n->directory,
        .board = &n->boards[k],
        .arena = n->arena,
        .chunks_wanted = &n->chunks_wanted,
        .counters = &n->page->counters[0],
        .number = k,
        .log = LOG_NUMBER + k,
        .sessions_max = c->sessions_max,
        .value_bytes_max = 1024,
        .session_ttl_ns = 600 * NS_PER_S,
        .lsn_start = SIM_LSN_START,
    };
    int error = shard_init(at_shard->shard, &config);
    ASSERT(error == 0);
    at_shard->shard->lsn_kept = 0;
}

struct replica *sim_node_replica(const struct sim_node *n, uint32_t log)
{
    return log - LOG_NUMBER < SIM_SHARDS ? n->replicas[log - LOG_NUMBER] : NULL;
}

static struct replica *replica_of(void *context, uint32_t log)
{
    return sim_node_replica(context, log);
}

static void group_make(struct sim *s, uint32_t node, uint8_t *at)
{
    struct sim_node *n = &s->nodes[node];
    struct member self = {.node = node, .incarnation = n->incarnation};
    group_init(&n->group, &self, &times);
    n->group.find = replica_of;
    n->group.context = n;
    n->group.pairs = n->pairs;
    n->group.replicas = n->replicas;
    n->group.busy = n->busy;
    n->group.replica_count = SIM_SHARDS;
    for (uint32_t i = 0; i < s->node_count; i++) {
        if (i == node)
            continue;
        pair_init(&n->pairs[n->group.pair_count++], i, SIM_SHARDS, at);
        at += align_up(pair_bytes(SIM_SHARDS), PAGE);
    }
    for (uint32_t k = 0; k < SIM_SHARDS; k++) {
        struct replica *r = &n->shards[k].replica;
        replica_init(r, n->shards[k].shard, &self, &times);
        r->reclaim = &n->reclaim;
        r->clock_ns = s->time;
        r->group = &n->group;
        r->times.log_write = s->log_write;
        n->replicas[k] = r;
    }
}

void sim_node_start(struct sim *s, uint32_t node, bool first)
{
    struct sim_node *n = &s->nodes[node];
    struct space_config c;
    struct layout_geometry g;
    n->incarnation = !first && PLANTED(VOTE_AFTER_AMNESIA) ? n->incarnation : ++s->incarnations;
    n->up = true;
    n->frozen = false;
    n->stalled = false;
    n->waiting_count = 0;
    memset(n->starts, 0, sizeof n->starts);
    geometry(&c, &g);
    uint8_t *at = memory_place(n);
    for (uint32_t k = 0; k < SIM_SHARDS; k++) {
        shard_make(n, k, &c, at);
        at += align_up(shard_bytes(&g, c.sessions_max), PAGE);
    }
    if (first) {
        n->clock_offset = (int64_t)sim_below(s, 1000000000);
        n->clock_ppm = (int32_t)sim_below(s, 1000) - 500; /* two clocks: at most 1,000 ppm apart */
        sim_schedule(s, sim_below(s, TICK_NS),
                     (struct sim_event){.kind = EVENT_TICK, .node = node});
    }
    ASSERT(layout_frame_count(&g) <= SIM_FRAMES);
    holds_init(&n->holds, n->hold_counts, (uint32_t)layout_frame_count(&g));
    n->reclaim = (struct reclaim_now){
        .ticket_next = 1,
        .ticket_done = 1,
        .pinned = nothing_pinned,
        .held = is_held,
        .context = n,
    };
    group_make(s, node, at);
    /* Who restarted waits for a lease before it answers a seal: it does not know what it promised.
     */
    for (uint32_t k = 0; k < SIM_SHARDS; k++)
        n->shards[k].replica.promise_end =
            first ? 0 : sim_clock(s, n) + times.lease + times.lease / 500;
}

void sim_node_stop(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];
    n->up = false;
    for (uint32_t k = 0; k < SIM_SHARDS; k++)
        for (unsigned c = 0; c < REPLICA_COUNT_COUNT; c++)
            s->counts[c] += n->shards[k].replica.counts[c];
}

/* ---- requests of clients ---- */

static int request_write(struct sim *s, struct shard *shard, const struct shard_origin *origin)
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
        .session_slot = c->sessions[c->shard].slot,
        .session = o->session,
        .sequence = o->sequence,
        .clock_ns = s->time,
    };
    return shard_write(shard, &w);
}

static int request_execute(struct sim *s, struct shard *shard, struct shard_origin *origin)
{
    const struct sim_client *c = &s->clients[origin->agent];
    uint64_t key = c->now.key;
    if (c->opening) {
        origin->operation = RING_SESSION_OPEN;
        return shard_session_open(shard, origin, c->sessions[c->shard].id, 0, s->time);
    }
    if (c->closing) {
        origin->operation = RING_SESSION_CLOSE;
        return shard_session_close(shard, origin, c->sessions[c->shard].id, 0, s->time);
    }
    if (c->now.kind == OPERATION_GET) {
        origin->operation = RING_GET;
        struct shard_read r = {
            .origin = *origin,
            .hash = hash_key(&key, sizeof key),
            .key = &key,
            .key_length = sizeof key,
        };
        return shard_read(shard, &r);
    }
    origin->operation = c->now.kind == OPERATION_DELETE ? RING_DELETE : RING_PUT;
    if (c->now.kind == OPERATION_TRANSACTION)
        return sim_client_transact(s, shard, origin);
    return request_write(s, shard, origin);
}

/* A read by the ring, of a reader that looked in place before. */
static int ring_read_take(struct sim *s, struct sim_node *n, const struct sim_event *e)
{
    const struct sim_read *read = &s->reads[e->client - SIM_CLIENTS];
    struct shard_origin origin = {
        .agent = e->client, .generation = e->a, .room = 64, .operation = RING_GET};
    uint64_t key = read->key;
    struct shard_read r = {
        .origin = origin,
        .hash = hash_key(&key, sizeof key),
        .key = &key,
        .key_length = sizeof key,
    };
    struct sim_replica *at = &n->shards[sim_shard_of(key)];
    bool may = replica_leads(&at->replica) || replica_may_answer(&at->replica, n->group.now);
    return may ? shard_read(at->shard, &r) : RING_UNAVAILABLE;
}

/* Carry a request out, if it is still wanted. */
static void request_take(struct sim *s, struct sim_node *n, const struct sim_event *e)
{
    if (e->client >= SIM_CLIENTS) {
        (void)ring_read_take(s, n, e); /* refused: the reader hears nothing */
        return;
    }
    const struct sim_client *c = &s->clients[e->client];
    /* the request travels with its attempt: one that its client gave up is still carried out if it
     * is the same operation, else it would be another one's */
    if (c->attempt != e->a)
        return;
    struct shard_origin origin = {.agent = e->client, .generation = e->a, .room = 64};
    struct sim_replica *at = &n->shards[c->shard];
    int result =
        replica_leads(&at->replica) ? request_execute(s, at->shard, &origin) : RING_UNAVAILABLE;
    /* What a leader refuses it judges by its state, like a read. */
    uint64_t now_late = PLANTED(CLOCK_READ_ONCE) ? n->group.now : sim_clock(s, n);
    if (result > 0 && !replica_may_answer(&at->replica, now_late))
        result = RING_UNAVAILABLE;
    if (result > 0)
        sim_schedule(s, 20000 + sim_below(s, 200000),
                     (struct sim_event){.kind = EVENT_REPLY,
                                        .node = e->node,
                                        .client = e->client,
                                        .a = e->a | (uint64_t)result << 32});
    if (result == 0)
        group_wake(&n->group, &at->replica);
}

/* ---- a pass: what happened, what it leads to, what leaves ---- */

static void answers_send(struct sim *s, uint32_t node, struct sim_replica *at)
{
    struct sim_node *n = &s->nodes[node];
    uint64_t now_late = PLANTED(CLOCK_READ_ONCE) ? n->group.now : sim_clock(s, n);
    struct shard_answer a;
    while (shard_answer_next(at->shard, &a)) {
        uint64_t value = 0;
        uint32_t status = a.status;
        if (a.judged && !replica_may_answer(&at->replica, now_late))
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
        if (!sim_chance(s, s->loss_percent) || e.client >= SIM_CLIENTS)
            sim_schedule(s, 20000 + sim_below(s, 200000), e);
    }
}

static void message_send(struct sim *s, uint32_t from, const struct replica_out *out)
{
    static uint8_t bytes[MESSAGE_BYTES_MAX];
    const struct message *m = &out->message;
    struct sim_datagram d = {
        .from = from,
        .to = out->to,
        .bytes = bytes,
        .length = message_bytes(m),
        .log_bytes = m->kind == MESSAGE_APPEND ? m->length : 0,
        .offset = (uint64_t)(m->bytes - s->nodes[from].arena),
    };
    message_encode(m, bytes);
    if (m->kind == MESSAGE_ANNOUNCE)
        sim_write(s, from, out);
    sim_send(s, &d);
}

static void update_send(struct sim *s, uint32_t node, uint32_t k)
{
    struct sim_node *n = &s->nodes[node];
    struct replica_update *u = &n->shards[k].update;
    for (uint32_t i = 0; i < u->out_count; i++)
        message_send(s, node, &u->out[i]);
    if (u->activate != 0)
        sim_schedule(s, 50000 + sim_below(s, 500000),
                     (struct sim_event){.kind = EVENT_ACTIVATE,
                                        .node = node,
                                        .a = u->activate,
                                        .b = n->incarnation,
                                        .c = k});
    if (u->ceiling != 0)
        sim_schedule(s, 50000 + sim_below(s, 500000),
                     (struct sim_event){.kind = EVENT_CEILING,
                                        .node = node,
                                        .a = u->ceiling,
                                        .b = n->shards[k].replica.promised,
                                        .c = k});
    if (u->promote.incarnation != 0)
        sim_schedule(s, 50000 + sim_below(s, 500000),
                     (struct sim_event){.kind = EVENT_PROMOTE,
                                        .node = u->promote.node,
                                        .a = u->promote.incarnation,
                                        .b = n->shards[k].replica.promised,
                                        .c = k});
    if (u->disconnect)
        group_disconnected(&n->group, u->disconnect_node);
    replica_update_reset(u);
}

static void frames_send(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];
    struct pair_frame f;
    uint32_t to;
    uint8_t bytes[PAIR_FRAME_BYTES_MAX];
    while (group_frame(&n->group, &f, &to, sim_clock(s, n))) {
        pair_frame_encode(&f, bytes);
        struct sim_datagram d = {
            .from = node, .to = to, .bytes = bytes, .length = pair_frame_bytes(&f)};
        sim_send(s, &d);
    }
}

void sim_node_flush(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];
    n->stalled = false;
    if (!n->up)
        return;
    for (uint32_t i = 0; i < n->waiting_count; i++)
        request_take(s, n, &n->waiting[i]);
    n->waiting_count = 0;
    for (uint32_t k = 0; k < SIM_SHARDS; k++) {
        update_send(s, node, k);
        answers_send(s, node, &n->shards[k]);
    }
    frames_send(s, node);
    group_settle(&n->group);
    group_rest(&n->group);
    for (uint32_t k = 0; k < SIM_SHARDS; k++) {
        struct shard *shard = n->shards[k].shard;
        if (shard->pending_head == shard->pending_applied)
            (void)!shard_maintain(shard, &n->reclaim);
    }
}

static bool is_awake(const struct sim_node *n)
{
    return n->up && !n->frozen && !n->stalled;
}

static uint64_t pass_begin(struct sim *s, struct sim_node *n)
{
    uint64_t now = sim_clock(s, n);
    for (uint32_t k = 0; k < SIM_SHARDS; k++)
        n->shards[k].replica.clock_ns = s->time;
    group_begin(&n->group, now);
    return now;
}

/* All that was done leads to; then it leaves, or the node stands still in between. */
static void pass_end(struct sim *s, uint32_t node, uint64_t now)
{
    struct sim_node *n = &s->nodes[node];
    for (uint32_t i = 0; i < n->group.ready_count; i++) {
        struct replica *r = n->group.busy[i];
        uint32_t k = r->shard->number;
        do {
            if (n->shards[k].update.more)
                update_send(s, node, k);
            replica_tick(r, now, &n->shards[k].update);
        } while (n->shards[k].update.more);
    }
    sim_check_node(s, node); /* what is shown may be read before it is flushed */
    bool may_stall = s->scenario->weights[FAULT_FREEZE] != 0;
    if (!may_stall || sim_below(s, 4000) != 0) {
        sim_node_flush(s, node);
        return;
    }
    n->stalled = true;
    s->stalls++;
    sim_schedule(s, 1 + sim_below(s, 200000000),
                 (struct sim_event){.kind = EVENT_FLUSH, .node = node});
}

void sim_node_tick(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];
    sim_schedule(s, TICK_NS, (struct sim_event){.kind = EVENT_TICK, .node = node});
    if (is_awake(n))
        pass_end(s, node, pass_begin(s, n));
}

/* Another start of a node: its connection for log writes is torn down, then what it could write to is
 * free. */
static void start_heard(struct sim_node *n, const struct member *m)
{
    if (m->incarnation <= n->starts[m->node])
        return;
    if (n->starts[m->node] != 0)
        group_disconnected(&n->group, m->node);
    n->starts[m->node] = m->incarnation;
}

static void receive(struct sim_node *n, const struct sim_event *e, uint64_t now)
{
    struct message m;
    struct pair_frame f;
    /* the network damages log bytes only: frames are authenticated */
    if (message_decode(&m, e->bytes, e->length) == 0) {
        ASSERT(m.log - LOG_NUMBER < SIM_SHARDS);
        struct sim_replica *at = &n->shards[m.log - LOG_NUMBER];
        start_heard(n, &m.from);
        (void)!replica_receive(&at->replica, &m, now, &at->update);
    } else {
        int error = pair_frame_decode(&f, e->bytes, e->length);
        ASSERT(error == 0);
        start_heard(n, &f.from);
        (void)!group_receive(&n->group, &f, now);
    }
}

void sim_node_receive(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = &s->nodes[e->node];
    if (n->up && !is_awake(n)) { /* it waits in the socket */
        struct sim_event later = *e;
        later.bytes = malloc(e->length);
        ASSERT(later.bytes != NULL);
        memcpy(later.bytes, e->bytes, e->length);
        sim_schedule(s, 2 * NS_PER_MS, later);
        return;
    }
    sim_let_go(s, e);
    if (!n->up)
        return;
    uint64_t now = pass_begin(s, n);
    receive(n, e, now);
    pass_end(s, e->node, now);
}

void sim_node_configure(struct sim *s, uint32_t node, uint32_t shard)
{
    struct sim_node *n = &s->nodes[node];
    if (!is_awake(n))
        return;
    struct configuration c = s->shards[shard].configuration;
    c.active = s->shards[shard].active.epoch == c.epoch;
    for (uint32_t i = 0; i < c.voter_count; i++)
        if (c.voters[i].node != node)
            start_heard(n, &c.voters[i]);
    uint64_t now = pass_begin(s, n);
    replica_configure(&n->shards[shard].replica, &c, now, &n->shards[shard].update);
    pass_end(s, node, now);
}

void sim_node_request(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = &s->nodes[e->node];
    if (n->up && n->stalled && n->waiting_count < SIM_CLIENTS + SIM_READS)
        n->waiting[n->waiting_count++] = *e; /* it lies in the ring until the pass goes on */
    if (!is_awake(n))
        return;
    uint64_t now = pass_begin(s, n);
    request_take(s, n, e);
    pass_end(s, e->node, now);
}
