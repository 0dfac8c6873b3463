/* Clients with sessions, and readers that look at a node's memory in place. */
#include "tests/sim/sim.h"

#include "engine/hash.h"
#include "engine/pending.h"
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

static void operation_choose(struct sim *s, struct sim_client *c, uint32_t client)
{
    uint32_t key = sim_below(s, SIM_KEYS);
    uint32_t dice = sim_below(s, 10);
    c->now = (struct sim_operation){
        .kind = dice < 4   ? OPERATION_PUT
                : dice < 6 ? OPERATION_PUT_IF
                : dice < 7 ? OPERATION_DELETE
                           : OPERATION_GET,
        .client = client,
        .key = key,
        .invoked = s->time,
        .lsn_floor = s->lsn_told,
        .expected = c->seen[key],
        .value = (uint64_t)client << 32 | s->operation_count,
        .value_length = SIM_VALUE_BYTES + sim_below(s, SIM_VALUE_BYTES_MAX - SIM_VALUE_BYTES),
    };
    if (c->now.kind != OPERATION_GET) {
        c->now.session = c->session;
        c->now.sequence = ++c->sequence;
    }
}

void sim_client_next(struct sim *s, uint32_t client)
{
    struct sim_client *c = &s->clients[client];
    c->tries = 0;
    c->busy = true;
    c->opening = c->session == 0;
    if (c->opening) {
        uint64_t id[2] = {sim_random(s), sim_random(s)};
        memcpy(c->id, id, sizeof c->id);
        c->sequence = 0;
    } else {
        operation_choose(s, c, client);
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
        c->leader = sim_chance(s, 50) ? s->active.leader.node : sim_below(s, s->node_count);
        request_send(s, client);
        return;
    }
    /* Nobody can say: a write stays of unknown fate, and the session is given up with it. */
    if (!c->opening && c->now.kind != OPERATION_GET)
        record(s, c, false);
    c->session = 0;
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

/* ---- answers ---- */

static bool must_retry(uint32_t status)
{
    return status == RING_UNAVAILABLE || status == RING_FATE_UNKNOWN;
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
    s->lsn_told = s->lsn_told > e->b ? s->lsn_told : e->b;
    if (c->opening) {
        c->session = status == RING_OK ? e->b : 0;
        c->session_slot = (uint32_t)e->c;
        c->busy = false;
        think(s, e->client);
        return;
    }
    c->now.status = status;
    c->now.lsn = e->b;
    c->now.read_value = e->c;
    if (status == RING_OK || status == RING_CONDITION)
        c->seen[c->now.key] = c->now.kind == OPERATION_DELETE ? 0 : e->b;
    if (status == RING_NOT_FOUND)
        c->seen[c->now.key] = 0;
    record(s, c, true);
    think(s, e->client);
}

/* ---- reads in place ---- */

/* What stands at a node at its commit LSN.  False: the key is pending there. */
static bool look(const struct sim_node *n, struct sim_read *r)
{
    uint64_t key = r->key;
    struct index_place place;
    r->found = false;
    r->lsn = 0;
    if (index_find(&n->shard->index, (uint32_t)hash_key(&key, sizeof key), &key, sizeof key,
                   &place) != 0)
        return false;
    if (place.value == 0)
        return true;
    uint64_t shown = atomic_load_explicit(&n->board->lsn_committed, memory_order_acquire);
    uint64_t link = place.value;
    for (unsigned i = 0; i < LIMIT_VERSION_WALK && (link & LAYOUT_SLOT_VALID); i++) {
        uint64_t offset = layout_slot_offset(link);
        const struct record *head = shard_record(n->shard, offset);
        if (head->lsn + record_size(head) <= shown) {
            r->lsn = head->lsn;
            r->found = head->kind == RECORD_DATA;
            if (r->found)
                memcpy(&r->value, record_value(head), sizeof r->value);
            return true;
        }
        /* a follower does not know whether what is above its commit LSN is committed by now */
        if (!replica_leads(&n->replica))
            return false;
        link = atomic_load_explicit(shard_link(n->shard, offset), memory_order_relaxed);
    }
    return true;
}

void sim_read_begin(struct sim *s, uint32_t node)
{
    sim_schedule(s, 100000 + sim_below(s, 1500000),
                 (struct sim_event){.kind = EVENT_READ, .node = node});
    struct sim_node *n = &s->nodes[node];
    uint32_t slot = sim_below(s, sizeof s->reads / sizeof s->reads[0]);
    struct sim_read *r = &s->reads[slot];
    if (!n->up || r->open)
        return;
    *r = (struct sim_read){
        .node = node,
        .key = sim_below(s, SIM_KEYS),
        .invoked = s->time,
        .lsn_floor = s->lsn_told,
        .incarnation = n->incarnation,
        .generation = n->replica.generation,
    };
    if (!look(n, r)) {
        s->reads_refused++;
        return;
    }
    r->open = true;
    /* the reader may be descheduled between its loads and its look at the lease */
    uint64_t pause = sim_chance(s, 10) ? sim_below(s, 200000000) : sim_below(s, 50000);
    sim_schedule(s, pause, (struct sim_event){.kind = EVENT_READ_END, .node = slot});
}

void sim_read_end(struct sim *s, uint32_t slot)
{
    struct sim_read *r = &s->reads[slot];
    const struct sim_node *n = &s->nodes[r->node];
    if (!r->open)
        return;
    r->open = false;
    bool leased = n->up && replica_may_answer(&n->replica, sim_clock(s, n));
    bool same = n->incarnation == r->incarnation &&
                (n->replica.generation == r->generation || PLANTED(GENERATION_IGNORED));
    if (!leased || !same) {
        s->reads_refused++;
        return;
    }
    if (replica_leads(&n->replica))
        s->reads_leader++;
    else
        s->reads_holder++;
    sim_check_read(s, r);
    if (r->lsn > s->lsn_told)
        s->lsn_told = r->lsn;
}
