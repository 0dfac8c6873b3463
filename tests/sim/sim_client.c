/* Clients with sessions, and readers that look at a node's memory in place. */
#include "tests/sim/sim.h"

#include "engine/hash.h"
#include "engine/plant.h"

#include <string.h>

#define TIMEOUT_NS (8 * NS_PER_MS)
#define TRIES_MAX 200u

/* ---- sending ---- */

static void request_send(struct sim *s, uint32_t client)
{
    struct sim_client *c = &s->clients[client];
    c->attempt++;
    if (!sim_chance(s, s->loss_percent))
        sim_schedule(
            s, 20000 + sim_below(s, 200000),
            (struct sim_event){
                .kind = EVENT_REQUEST, .node = c->leader, .client = client, .a = c->attempt});
    sim_schedule(s, TIMEOUT_NS + sim_below(s, TIMEOUT_NS),
                 (struct sim_event){.kind = EVENT_CLIENT, .client = client, .a = c->attempt});
}

/* Several keys of the shard, from this one on; some parts, or all, with a condition. */
static void transaction_choose(struct sim *s, struct sim_client *c, uint32_t client, uint32_t key)
{
    struct sim_operation *o = &c->now;
    o->kind = OPERATION_TRANSACTION;
    o->part_count = 2 + sim_below(s, SIM_PARTS - 1);
    for (uint32_t i = 0; i < o->part_count; i++) {
        uint32_t of = (key + i * SIM_SHARDS) % SIM_KEYS;
        uint32_t dice = sim_below(s, 10);
        struct sim_part *part = &o->parts[i];
        *part = (struct sim_part){
            .kind = dice < 6   ? OPERATION_PUT
                    : dice < 8 ? OPERATION_DELETE
                               : OPERATION_CHECK,
            .key = of,
            .expected = c->seen[of],
            .value = (uint64_t)(i + 1) << 56 | (uint64_t)client << 32 | s->operation_count,
            .value_length = SIM_VALUE_BYTES + sim_below(s, SIM_VALUE_BYTES_MAX - SIM_VALUE_BYTES),
        };
        part->compare = part->kind == OPERATION_CHECK || sim_chance(s, 20);
    }
}

static void operation_choose(struct sim *s, struct sim_client *c, uint32_t client, uint32_t key)
{
    struct sim_session *session = &c->sessions[c->shard];
    uint32_t dice = sim_below(s, 10);
    c->now = (struct sim_operation){
        .kind = dice < 4   ? OPERATION_PUT
                : dice < 6 ? OPERATION_PUT_IF
                : dice < 7 ? OPERATION_DELETE
                           : OPERATION_GET,
        .client = client,
        .key = key,
        .invoked = s->time,
        .lsn_floor = s->shards[c->shard].lsn_told,
        .expected = c->seen[key],
        .value = (uint64_t)client << 32 | s->operation_count,
        .value_length = SIM_VALUE_BYTES + sim_below(s, SIM_VALUE_BYTES_MAX - SIM_VALUE_BYTES),
    };
    if (sim_chance(s, 20))
        transaction_choose(s, c, client, key);
    if (c->now.kind != OPERATION_GET) {
        c->now.session = session->lsn;
        c->now.sequence = ++session->sequence;
    }
}

void sim_client_next(struct sim *s, uint32_t client)
{
    struct sim_client *c = &s->clients[client];
    c->tries = 0;
    c->busy = true;
    uint32_t key = sim_below(s, SIM_KEYS);
    c->shard = sim_shard_of(key);
    struct sim_session *session = &c->sessions[c->shard];
    c->opening = session->lsn == 0;
    c->closing = !c->opening && sim_chance(s, 1);
    if (c->opening) {
        uint64_t id[2] = {sim_random(s), sim_random(s)};
        if (!session->closed)
            memcpy(session->id, id, sizeof session->id);
        session->closed = false;
        session->sequence = 0;
    } else if (!c->closing) {
        operation_choose(s, c, client, key);
    }
    request_send(s, client);
}

static void record(struct sim *s, struct sim_client *c, bool answered)
{
    c->now.returned = answered ? s->time : 0;
    s->history[s->operation_count++] = c->now;
    c->busy = false;
}

static void think(struct sim *s, uint32_t client)
{
    sim_schedule(s, 10000 + sim_below(s, 1500000),
                 (struct sim_event){.kind = EVENT_CLIENT, .client = client, .a = 0});
}

static void try_again(struct sim *s, uint32_t client)
{
    struct sim_client *c = &s->clients[client];
    if (++c->tries < TRIES_MAX) {
        c->leader = sim_chance(s, 50) ? s->shards[c->shard].active.leader.node
                                      : sim_below(s, s->node_count);
        request_send(s, client);
        return;
    }
    /* Nobody can say: a write stays of unknown fate, and the session is given up with it. */
    if (!c->opening && !c->closing && c->now.kind != OPERATION_GET)
        record(s, c, false);
    c->sessions[c->shard].lsn = 0;
    c->busy = false;
    think(s, client);
}

void sim_client_timeout(struct sim *s, const struct sim_event *e)
{
    struct sim_client *c = &s->clients[e->client];
    if (e->a == 0 && !c->busy)
        sim_client_next(s, e->client);
    else if (c->busy && e->a == c->attempt)
        try_again(s, e->client);
}

/* ---- at the leader ---- */

int sim_client_transact(struct sim *s, struct shard *shard, const struct shard_origin *origin)
{
    static uint8_t values[SIM_PARTS][SIM_VALUE_BYTES_MAX];
    const struct sim_client *c = &s->clients[origin->agent];
    const struct sim_operation *o = &c->now;
    uint64_t keys[SIM_PARTS];
    struct shard_item items[SIM_PARTS];
    for (uint32_t i = 0; i < o->part_count; i++) {
        const struct sim_part *part = &o->parts[i];
        keys[i] = part->key;
        memset(values[i], (int)o->sequence, sizeof values[i]);
        memcpy(values[i], &part->value, sizeof part->value);
        items[i] = (struct shard_item){
            .hash = hash_key(&keys[i], sizeof keys[i]),
            .key = &keys[i],
            .key_length = sizeof keys[i],
            .value = values[i],
            .value_length = part->kind == OPERATION_PUT ? part->value_length : 0,
            .operation = part->kind == OPERATION_PUT      ? RING_PUT
                         : part->kind == OPERATION_DELETE ? RING_DELETE
                                                          : RING_NOP,
            .compare = part->compare,
            .expected_lsn = part->expected,
        };
    }
    struct shard_transaction t = {
        .origin = *origin,
        .items = items,
        .count = o->part_count,
        .session_slot = c->sessions[c->shard].slot,
        .session = o->session,
        .sequence = o->sequence,
        .clock_ns = s->time,
    };
    return shard_transaction(shard, &t);
}

/* ---- answers ---- */

static bool must_retry(uint32_t status)
{
    return status == RING_UNAVAILABLE || status == RING_FATE_UNKNOWN || status == RING_RETRY;
}

/* What the answer says about versions, for later conditions. */
static void version_see(struct sim *s, struct sim_client *c)
{
    const struct sim_operation *o = &c->now;
    if (o->kind != OPERATION_TRANSACTION) {
        if (o->status == RING_OK || o->status == RING_CONDITION)
            c->seen[o->key] = o->kind == OPERATION_DELETE ? 0 : o->lsn;
        if (o->status == RING_NOT_FOUND)
            c->seen[o->key] = 0;
        return;
    }
    if (o->status != RING_OK)
        return;
    uint32_t writes = 0;
    for (uint32_t i = 0; i < o->part_count; i++) {
        const struct sim_part *part = &o->parts[i];
        bool last = i + 1 == o->part_count;
        writes += part->kind == OPERATION_PUT;
        if (part->kind == OPERATION_DELETE || (part->kind == OPERATION_PUT && last))
            c->seen[part->key] = part->kind == OPERATION_DELETE ? 0 : o->lsn;
    }
    s->transactions += writes > 1;
}

void sim_client_reply(struct sim *s, const struct sim_event *e)
{
    struct sim_client *c = &s->clients[e->client];
    uint32_t status = (uint32_t)(e->a >> 32);
    if (!c->busy || (uint32_t)e->a != c->attempt)
        return;
    if (must_retry(status)) {
        c->attempt++; /* its timer is stale */
        c->leader = sim_below(s, s->node_count);
        sim_schedule(
            s, 200000 + sim_below(s, 2000000),
            (struct sim_event){.kind = EVENT_CLIENT, .client = e->client, .a = c->attempt});
        return;
    }
    struct sim_shard *shard = &s->shards[c->shard];
    shard->lsn_told = max_u64(shard->lsn_told, e->b);
    if (c->closing) {
        struct sim_session *closed = &c->sessions[c->shard];
        closed->closed = status == RING_OK || status == RING_NOT_FOUND;
        closed->lsn = closed->closed ? 0 : closed->lsn;
        c->busy = false;
        think(s, e->client);
        return;
    }
    if (c->opening) {
        c->sessions[c->shard].lsn = status == RING_OK ? e->b : 0;
        c->sessions[c->shard].slot = (uint32_t)e->c;
        c->busy = false;
        think(s, e->client);
        return;
    }
    if (status == RING_SEQUENCE)
        c->sessions[c->shard].lsn = 0; /* what it had was lost: it begins anew */
    c->now.status = status;
    c->now.lsn = e->b;
    c->now.read_value = e->c;
    version_see(s, c);
    record(s, c, true);
    think(s, e->client);
}

/* ---- reads in place ---- */

/* It joins the history that must be explained. */
static void read_record(struct sim *s, const struct sim_read *r)
{
    if (s->operation_count + s->place_count + 2 * SIM_CLIENTS >= SIM_OPERATIONS_MAX)
        return;
    *sim_place(s, s->place_count++) = (struct sim_operation){
        .kind = OPERATION_GET,
        .key = r->key,
        .invoked = r->invoked,
        .returned = s->time,
        .lsn_floor = r->lsn_floor,
        .status = r->result == 1 ? RING_OK : RING_NOT_FOUND,
        .lsn = r->lsn,
        .read_value = r->value,
    };
}

/* Between its loads a reader may be descheduled for longer than a lease, while memory is reused. */
static void read_go_on(struct sim *s, uint32_t slot)
{
    uint64_t pause = sim_chance(s, 10) ? sim_below(s, 200000000) : sim_below(s, 50000);
    sim_schedule(s, pause, (struct sim_event){.kind = EVENT_READ_END, .node = slot});
}

/* R1 to R3, and R4 as far as the record. */
void sim_read_begin(struct sim *s, uint32_t node)
{
    sim_schedule(s, 100000 + sim_below(s, 1500000),
                 (struct sim_event){.kind = EVENT_READ, .node = node});
    struct sim_node *n = &s->nodes[node];
    uint32_t slot = sim_below(s, SIM_READS);
    struct sim_read *r = &s->reads[slot];
    if (!n->up || r->open)
        return;
    uint64_t key = sim_below(s, SIM_KEYS);
    uint32_t shard = sim_shard_of(key);
    const struct replica *replica = &n->shards[shard].replica;
    *r = (struct sim_read){
        .open = true,
        .node = node,
        .key = (uint32_t)key,
        .invoked = s->time,
        .lsn_floor = s->shards[shard].lsn_told,
        .incarnation = n->incarnation,
        .generation = replica->generation,
        .cell = replica->cell,
        .cell_generation = replica->cell != NULL ? replica->cell->generation : 0,
    };
    struct read_key k;
    read_key_init(&k, &n->read, &key, sizeof key);
    k.shard = shard;
    read_begin(&r->point, &n->read, shard);
    r->result = read_find(&r->point, &n->read, &k, &r->found);
    read_go_on(s, slot);
}

/* Whether the lease that held at the beginning holds still (R7). */
static bool read_is_leased(const struct sim *s, const struct sim_node *n, const struct sim_read *r)
{
    const struct replica *replica = &n->shards[sim_shard_of(r->key)].replica;
    if (r->point.pending && !replica_leads(replica))
        return false; /* what is above a follower's commit LSN may be committed by now */
    bool same = replica->generation == r->generation && replica->cell == r->cell &&
                r->cell != NULL && r->cell->generation == r->cell_generation;
    return replica_may_answer(replica, sim_clock(s, n)) && (same || PLANTED(GENERATION_IGNORED));
}

/* What the library does then: it asks the daemon, whose agent it is. */
static void read_by_ring(struct sim *s, uint32_t slot)
{
    struct sim_read *r = &s->reads[slot];
    r->open = true;
    r->copied = true;
    sim_schedule(s, 1000 + sim_below(s, 20000),
                 (struct sim_event){.kind = EVENT_REQUEST,
                                    .node = r->node,
                                    .client = SIM_CLIENTS + slot,
                                    .a = ++s->ring_reads});
    r->ring_read = s->ring_reads;
    /* it takes what does not come for lost */
    sim_schedule(s, 5 * NS_PER_MS,
                 (struct sim_event){.kind = EVENT_READ_END, .node = slot, .a = s->ring_reads});
}

void sim_read_reply(struct sim *s, const struct sim_event *e)
{
    struct sim_read *r = &s->reads[e->client - SIM_CLIENTS];
    uint32_t status = (uint32_t)(e->a >> 32);
    if (!r->open || r->ring_read != (uint32_t)e->a)
        return;
    r->open = false;
    if (status != RING_OK && status != RING_NOT_FOUND)
        return;
    s->reads_by_ring++;
    r->result = status == RING_OK;
    r->lsn = e->b;
    r->value = e->c;
    sim_check_read(s, r);
    read_record(s, r);
    struct sim_shard *shard = &s->shards[sim_shard_of(r->key)];
    shard->lsn_told = max_u64(shard->lsn_told, r->lsn);
}

/* The rest of R4, later R5 to R7. */
void sim_read_step(struct sim *s, uint32_t slot)
{
    struct sim_read *r = &s->reads[slot];
    const struct sim_node *n = &s->nodes[r->node];
    if (!r->open)
        return;
    if (!n->up || n->incarnation != r->incarnation) {
        r->open = false; /* that memory is gone */
        return;
    }
    if (!r->copied && r->result == 1) {
        read_copy(&r->found, &r->value, sizeof r->value);
        r->copied = true;
        read_go_on(s, slot);
        return;
    }
    r->open = false;
    if (r->result < 0 || !read_validate(&r->point, &n->read, r->result == 0)) {
        s->reads_again++;
        return;
    }
    if (!read_is_leased(s, n, r)) {
        s->reads_refused++;
        read_by_ring(s, slot);
        return;
    }
    struct sim_shard *shard = &s->shards[sim_shard_of(r->key)];
    r->lsn = r->found.lsn;
    if (replica_leads(&n->shards[sim_shard_of(r->key)].replica))
        s->reads_leader++;
    else
        s->reads_holder++;
    sim_check_read(s, r);
    read_record(s, r);
    shard->lsn_told = max_u64(shard->lsn_told, r->lsn);
}
