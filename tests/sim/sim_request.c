/* What a leader does with what clients ask for, as poll_execute of dataplane/poll_request.c; and what it
 * does by itself to keys whose ttl is over, as poll_expiry. */
#include "tests/sim/sim.h"

#include "engine/extension.h"
#include "engine/hash.h"
#include "engine/pending.h"
#include "engine/plant.h"

#include <string.h>

#define LOOK_MIN_NS                                                                                \
    NS_PER_MS /* between looks at what expires, and at most: which shards are led here */
#define LOOK_MAX_NS (20 * NS_PER_MS) /* changes */
#define SWEEP_NS (2 * NS_PER_MS)     /* between looks at sessions, */
#define SWEEP_SESSIONS 16u           /* so many */

static const uint8_t operations[] = {
    [OPERATION_PUT] = RING_PUT,
    [OPERATION_PUT_IF] = RING_PUT,
    [OPERATION_DELETE] = RING_DELETE,
    [OPERATION_TRANSACTION] = RING_TRANSACTION,
    [OPERATION_CHECK] = RING_NOP,
    [OPERATION_INCREMENT] = RING_INCREMENT,
    [OPERATION_ACQUIRE] = RING_LEASE_ACQUIRE,
    [OPERATION_RENEW] = RING_LEASE_RENEW,
    [OPERATION_RELEASE] = RING_LEASE_RELEASE,
};

static bool has_value(enum sim_operation_kind kind)
{
    return kind == OPERATION_PUT || kind == OPERATION_PUT_IF || kind == OPERATION_ACQUIRE;
}

static void value_make(uint8_t bytes[SIM_VALUE_BYTES_MAX], uint64_t value, uint64_t sequence)
{
    memset(bytes, (int)sequence, SIM_VALUE_BYTES_MAX);
    memcpy(bytes, &value, sizeof value);
}

static int request_write(struct sim *s, struct sim_node *n, struct shard *shard,
                         const struct shard_origin *origin)
{
    const struct sim_client *c = &s->clients[origin->agent];
    const struct sim_operation *o = &c->now;
    const struct record_ttl ttl = extension_ttl_make(o->ttl_ns);
    uint64_t key = o->key;
    uint8_t value[SIM_VALUE_BYTES_MAX];
    value_make(value, o->value, o->sequence);
    struct shard_write w = {
        .origin = *origin,
        .hash = hash_key(&key, sizeof key),
        .key = &key,
        .key_length = sizeof key,
        .value = value,
        .value_length = has_value(o->kind) ? o->value_length : 0,
        .compare = o->kind == OPERATION_PUT_IF ? RING_COMPARE_VERSION : RING_COMPARE_NONE,
        .expected_lsn = o->expected,
        .delta = o->delta,
        .session_slot = c->sessions[c->shard].slot,
        .session = o->session,
        .sequence = o->sequence,
        .clock_ns = sim_day(s, n),
    };
    if (o->ttl_ns != 0) {
        w.extension = &ttl;
        w.extension_length = sizeof ttl;
        w.steady_ns = PLANTED(TTL_COUNTED_FROM_PASS) ? n->group.now : sim_clock(s, n);
        n->expiry_next = min_u64(n->expiry_next, n->group.now + o->ttl_ns);
    }
    return shard_write(shard, &w);
}

static int request_transact(struct sim *s, struct sim_node *n, struct shard *shard,
                            const struct shard_origin *origin)
{
    static uint8_t values[SIM_PARTS][SIM_VALUE_BYTES_MAX];
    const struct sim_client *c = &s->clients[origin->agent];
    const struct sim_operation *o = &c->now;
    uint64_t keys[SIM_PARTS];
    struct shard_item items[SIM_PARTS];
    for (uint32_t i = 0; i < o->part_count; i++) {
        const struct sim_part *part = &o->parts[i];
        keys[i] = part->key;
        value_make(values[i], part->value, o->sequence);
        items[i] = (struct shard_item){
            .hash = hash_key(&keys[i], sizeof keys[i]),
            .key = &keys[i],
            .key_length = sizeof keys[i],
            .value = values[i],
            .value_length = has_value(part->kind) ? part->value_length : 0,
            .section = part->section,
            .operation = operations[part->kind],
            .compare = part->compare,
            .expected_lsn = part->expected,
            .delta = part->delta,
        };
    }
    struct shard_transaction t = {
        .origin = *origin,
        .items = items,
        .count = o->part_count,
        .session_slot = c->sessions[c->shard].slot,
        .session = o->session,
        .sequence = o->sequence,
        .clock_ns = sim_day(s, n),
    };
    return shard_transaction(shard, &t);
}

static int request_execute(struct sim *s, struct sim_node *n, struct shard *shard,
                           struct shard_origin *origin)
{
    struct sim_client *c = &s->clients[origin->agent];
    uint64_t key = c->now.key, lsn_end = shard->log.lsn_end;
    if (c->opening) {
        origin->operation = RING_SESSION_OPEN;
        if (c->resuming && session_find(&shard->sessions, c->sessions[c->shard].id) == SESSION_NONE)
            return RING_FATE_UNKNOWN;
        return shard_session_open(shard, origin, c->sessions[c->shard].id, 0, sim_day(s, n));
    }
    if (c->closing) {
        origin->operation = RING_SESSION_CLOSE;
        return shard_session_close(shard, origin, c->sessions[c->shard].id, 0, sim_day(s, n));
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
    origin->operation = operations[c->now.kind];
    int result = c->now.kind == OPERATION_TRANSACTION ? request_transact(s, n, shard, origin)
                                                      : request_write(s, n, shard, origin);
    if (c->now.written == 0 && shard->log.lsn_end != lsn_end)
        c->now.written = s->time;
    return result;
}

/* A read by the ring, of a reader that looked in place before. */
static int ring_read_take(struct sim *s, struct sim_node *n, const struct sim_event *e)
{
    const struct sim_read *read = &s->reads[e->client - SIM_CLIENTS];
    struct shard_origin origin = {
        .agent = e->client, .generation = e->a, .room = 64, .operation = RING_GET};
    uint64_t key = read->found[0].key;
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

/* For a linearizable scan: the position of the shard, or the question goes on to who is said to lead it, as
 * by dataplane/poll_forward.c. */
static void position_take(struct sim *s, struct sim_node *n, const struct sim_event *e)
{
    uint32_t k = s->scans[e->client - SIM_CLIENTS - SIM_READS].page.shard;
    const struct shard_origin origin = {
        .agent = e->client, .generation = e->a, .room = 64, .operation = RING_POSITION};
    struct sim_replica *at = &n->shards[k];
    const struct member *leader = &at->replica.leader;
    if (replica_leads(&at->replica) || replica_may_answer(&at->replica, n->group.now)) {
        (void)!shard_position(at->shard, &origin); /* refused: who asked hears nothing */
        return;
    }
    if (e->b != 0 || leader->incarnation == 0 || leader->node == e->node ||
        sim_chance(s, s->loss_percent))
        return;
    struct sim_event forwarded = *e;
    forwarded.node = leader->node;
    forwarded.b = 1;
    sim_schedule(s, 20000 + sim_below(s, 200000), forwarded);
}

void sim_request_take(struct sim *s, struct sim_node *n, const struct sim_event *e)
{
    if (e->client >= SIM_CLIENTS + SIM_READS) {
        position_take(s, n, e);
        return;
    }
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
        replica_leads(&at->replica) ? request_execute(s, n, at->shard, &origin) : RING_UNAVAILABLE;
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

/* ---- ttl ---- */

/* As sweep_sessions of dataplane/poll_upkeep.c: one shard after the other. */
void sim_node_sweep(struct sim *s, struct sim_node *n)
{
    if (n->group.now < n->sweep_next)
        return;
    n->sweep_next = n->group.now + SWEEP_NS;
    struct sim_replica *at = &n->shards[n->sweep_shard++ % SIM_SHARDS];
    uint64_t lsn_end = at->shard->log.lsn_end;
    if (!replica_leads(&at->replica))
        return;
    shard_sweep_sessions(at->shard, SWEEP_SESSIONS, sim_day(s, n));
    if (at->shard->log.lsn_end != lsn_end)
        group_wake(&n->group, &at->replica);
}

void sim_node_expire(struct sim *s, struct sim_node *n)
{
    if (n->group.now < n->expiry_next)
        return;
    uint64_t next = n->group.now + LOOK_MAX_NS;
    for (uint32_t k = 0; k < SIM_SHARDS; k++) {
        struct sim_replica *at = &n->shards[k];
        uint64_t lsn_end = at->shard->log.lsn_end;
        if (at->shard->expiry.count == 0 || !replica_leads(&at->replica))
            continue;
        next = min_u64(next, shard_expire(at->shard, n->group.now, sim_day(s, n)));
        if (at->shard->log.lsn_end != lsn_end)
            group_wake(&n->group, &at->replica);
    }
    n->expiry_next = max_u64(next, n->group.now + LOOK_MIN_NS);
}
