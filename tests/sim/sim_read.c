/* Agents that read a node's memory in place, as libdunlin does (engine/agent/get.c), and go by the ring
 * where no lease covers what they found.  The board, the lease cells and the records are what the node
 * shows, read by the engine's own protocol (engine/read.h); the clock is the node's.  Between any two of
 * its loads an agent may stand still, and it runs while the node is amid a pass. */
#include "tests/sim/sim_model.h"
#include "tests/sim/sim_scenario.h"

#include "engine/plant.h"

#define TRIES_MAX 3u

void sim_place_add(struct sim *s, const struct sim_operation *o)
{
    if (s->operation_count + s->place_count + 2 * SIM_CLIENTS < SIM_OPERATIONS_MAX)
        *sim_place(s, s->place_count++) = *o;
}

/* It joins the history that must be explained: a batch as a transaction of nothing but conditions, all
 * of which held at once. */
static void read_record(struct sim *s, const struct sim_read *r)
{
    const struct sim_found *f = &r->found[0];
    struct sim_operation o = {
        .kind = OPERATION_GET,
        .key = f->key,
        .invoked = r->invoked,
        .returned = s->time,
        .lsn_floor = r->lsn_floor,
        .status = f->result == 1 ? RING_OK : RING_NOT_FOUND,
        .lsn = f->lsn,
        .read_value = f->value,
    };
    if (r->count > 1) {
        o.kind = OPERATION_TRANSACTION;
        o.status = RING_OK;
        o.lsn = 0;
    }
    for (; r->count > 1 && o.part_count < r->count; o.part_count++, f++)
        o.parts[o.part_count] = (struct sim_part){
            .kind = OPERATION_CHECK,
            .compare = RING_COMPARE_VERSION,
            .key = f->key,
            .expected = f->result == 1 ? f->lsn : 0,
        };
    sim_place_add(s, &o);
}

/* Somebody was told. */
static void read_end(struct sim *s, struct sim_read *r)
{
    struct sim_shard *shard = &s->shards[sim_shard_of(r->found[0].key)];
    r->next = READ_NOTHING;
    sim_check_read(s, r);
    read_record(s, r);
    for (uint32_t i = 0; i < r->count; i++)
        shard->lsn_told = max_u64(shard->lsn_told, r->found[i].lsn);
}

static void read_schedule(struct sim *s, uint32_t slot, uint64_t delay)
{
    s->reads[slot].turn = ++s->read_turns;
    sim_schedule(
        s, delay,
        (struct sim_event){.kind = EVENT_READ_STEP, .node = slot, .a = s->reads[slot].turn});
}

/* What the library does where it may not answer in place: it asks the daemon, whose agent it is; of a
 * batch key by key, and the first stands for all. */
static void read_by_ring(struct sim *s, uint32_t slot)
{
    struct sim_read *r = &s->reads[slot];
    r->next = READ_RING;
    r->count = 1;
    read_schedule(s, slot, 5 * NS_PER_MS); /* it takes what does not come for lost */
    sim_schedule(
        s, 1000 + sim_below(s, 20000),
        (struct sim_event){
            .kind = EVENT_REQUEST, .node = r->node, .client = SIM_CLIENTS + slot, .a = r->turn});
}

void sim_read_reply(struct sim *s, const struct sim_event *e)
{
    struct sim_read *r = &s->reads[e->client - SIM_CLIENTS];
    uint32_t status = (uint32_t)(e->a >> 32);
    if (r->next != READ_RING || r->turn != (uint32_t)e->a)
        return;
    r->next = READ_NOTHING;
    if (status != RING_OK && status != RING_NOT_FOUND)
        return;
    s->reads_by_ring++;
    r->found[0].result = status == RING_OK;
    r->found[0].lsn = e->b;
    r->found[0].value = e->c;
    read_end(s, r);
}

/* ---- in place ---- */

/* It changed meanwhile: from R1 on again, a few times. */
static void read_again(struct sim *s, uint32_t slot)
{
    struct sim_read *r = &s->reads[slot];
    s->reads_split_again += r->split;
    r->split = false;
    r->at = 0;
    if (++r->tries == TRIES_MAX && r->lsn_at != 0)
        r->next = READ_NOTHING;
    else if (r->tries == TRIES_MAX)
        read_by_ring(s, slot);
    else
        r->next = READ_FIND;
}

static void read_refused(struct sim *s, uint32_t slot)
{
    s->reads_refused++;
    read_by_ring(s, slot);
}

/* R1 and R2, once for all keys. */
static void read_begin_all(struct sim_read *r, const struct read_space *space)
{
    read_begin(&r->point, space, sim_shard_of(r->found[0].key));
    if (PLANTED(READ_DEADLINE_BEFORE_LOADS))
        r->deadline = read_lease_deadline(&r->point, space);
}

/* Planted: a batch sees each key at the commit LSN of its own moment. */
static void read_begin_again(struct sim_read *r, const struct read_space *space)
{
    struct read_point now;
    read_begin(&now, space, sim_shard_of(r->found[0].key));
    r->point.lsn = now.lsn;
}

static void key_done(struct sim_read *r)
{
    r->next = ++r->at < r->count ? READ_FIND : READ_VALIDATE;
}

/* R3, and R4 as far as the record: load by load. */
static void find(void *argument)
{
    struct sim_read *r = argument;
    struct sim_found *f = &r->found[r->at];
    uint64_t key = f->key;
    struct read_key k;
    read_key_init(&k, r->space, &key, sizeof key);
    k.shard = sim_shard_of(key);
    f->result = r->lsn_at != 0 ? read_find_at(&r->point, r->space, &k, r->lsn_at, &f->in_place)
                               : read_find(&r->point, r->space, &k, &f->in_place);
}

/* False: it cannot be found here yet. */
static bool find_begin(struct sim_read *r, struct sim_call *call)
{
    if (r->at == 0)
        read_begin_all(r, r->space);
    else if (PLANTED(BATCH_LSN_PER_KEY))
        read_begin_again(r, r->space);
    if (r->lsn_at >= r->point.lsn && r->lsn_at != 0)
        return false;
    sim_call_begin(call, find, r);
    return true;
}

static void step_find(struct sim *s, uint32_t slot)
{
    struct sim_read *r = &s->reads[slot];
    struct sim_found *f = &r->found[r->at];
    struct sim_call *call = &s->read_calls[slot];
    if (!call->is_amid && !find_begin(r, call)) {
        r->next = READ_NOTHING;
        return;
    }
    if (!sim_call_go_on(s, call))
        return;
    f->lsn = f->in_place.lsn;
    if (f->result < 0 && f->result != -ENODATA)
        read_again(s, slot);
    else if (f->result == 1)
        r->next = READ_COPY;
    else
        key_done(r);
}

/* The rest of R4. */
static void step_copy(struct sim_read *r)
{
    struct sim_found *f = &r->found[r->at];
    alignas(8) uint8_t bytes[(NUMBER_BYTES_MAX + 7) / 8 * 8];
    read_copy(&f->in_place, bytes, sizeof bytes);
    f->value = sim_model_value(bytes, f->in_place.value_length);
    key_done(r);
}

/* A version needs no lease.  A miss there is an answer above the horizon only. */
static void read_at_end(struct sim *s, struct sim_read *r)
{
    r->next = READ_NOTHING;
    for (uint32_t i = 0; i < r->count; i++)
        if (r->found[i].result == 0 && r->found[i].lsn == 0 &&
            !read_missed_at(&r->point, r->lsn_at))
            r->found[i].result = -ENODATA;
    sim_check_read_at(s, r);
}

/* R5, R6. */
static void step_validate(struct sim *s, uint32_t slot)
{
    struct sim_read *r = &s->reads[slot];
    bool missed = false;
    for (uint32_t i = 0; i < r->count; i++)
        missed |= r->found[i].result == 0 && r->lsn_at == 0;
    r->next = READ_DEADLINE;
    if (!read_validate(&r->point, &s->nodes[r->node].read, missed))
        read_again(s, slot);
    else if (r->lsn_at != 0)
        read_at_end(s, r);
}

/* R7, its loads.  Planted: what was loaded under a lease that lapsed counts under the next one. */
static void step_deadline(struct sim *s, uint32_t slot)
{
    struct sim_read *r = &s->reads[slot];
    const struct read_space *space = &s->nodes[r->node].read;
    if (PLANTED(GENERATION_IGNORED)) {
        struct read_point now;
        read_begin(&now, space, sim_shard_of(r->found[0].key));
        r->point.lease_generation = now.lease_generation;
        r->point.board_generation = now.board_generation;
    }
    s->reads_board++;
    if (!PLANTED(READ_DEADLINE_BEFORE_LOADS))
        r->deadline = read_lease_deadline(&r->point, space);
    r->next = READ_CLOCK;
    if (r->deadline == 0)
        read_refused(s, slot);
}

/* R7, its clock, and the answer. */
static void step_clock(struct sim *s, uint32_t slot)
{
    struct sim_read *r = &s->reads[slot];
    const struct sim_node *n = &s->nodes[r->node];
    if (sim_clock(s, n) >= r->deadline) {
        s->reads_late++;
        read_refused(s, slot);
        return;
    }
    /* relaxed: to be counted only */
    if (atomic_load_explicit(&r->point.board->follower, memory_order_relaxed) != 0)
        s->reads_holder++;
    else
        s->reads_leader++;
    s->batches += r->count > 1;
    read_end(s, r);
}

static void step(struct sim *s, uint32_t slot)
{
    struct sim_read *r = &s->reads[slot];
    switch (r->next) {
    case READ_FIND:
        step_find(s, slot);
        break;
    case READ_COPY:
        step_copy(r);
        break;
    case READ_VALIDATE:
        step_validate(s, slot);
        break;
    case READ_DEADLINE:
        step_deadline(s, slot);
        break;
    case READ_CLOCK:
        step_clock(s, slot);
        break;
    default:
        r->next = READ_NOTHING; /* the ring did not answer */
    }
}

/* Where its next load comes later, by a moment or by more than a lease, while memory is reused. */
static bool read_pauses(struct sim *s, uint32_t slot)
{
    uint32_t dice = sim_below(s, 100);
    if (dice < 50)
        return false;
    s->reads[slot].split = true;
    read_schedule(s, slot, dice < 94 ? sim_below(s, 50000) : sim_below(s, 200000000));
    return true;
}

void sim_read_step(struct sim *s, uint32_t slot)
{
    struct sim_read *r = &s->reads[slot];
    const struct sim_node *n = &s->nodes[r->node];
    if (!n->up || n->incarnation != r->incarnation) {
        r->next = READ_NOTHING; /* that memory is gone */
        sim_call_drop(&s->read_calls[slot]);
        return;
    }
    do
        step(s, slot);
    while (r->next != READ_NOTHING && r->next != READ_RING && !read_pauses(s, slot));
}

/* Something that was committed lately, mostly. */
static uint64_t version_choose(struct sim *s, uint32_t k)
{
    const struct sim_shard *shard = &s->shards[k];
    uint32_t back = 1 + sim_below(s, sim_chance(s, 80) ? 40 : 400);
    return shard->record_count > back ? shard->records[shard->record_count - back].lsn : 0;
}

/* Where many are written once, and stay, often one of those. */
static uint32_t key_choose(struct sim *s)
{
    const struct sim_shard *shard = &s->shards[SIM_SHARD_GROWS];
    if (s->scenario->grows && shard->record_count != 0 && sim_chance(s, 50)) {
        uint32_t key = shard->records[sim_below(s, shard->record_count)].key;
        if (key != SIM_KEYS)
            return key;
    }
    return sim_below(s, SIM_KEYS);
}

/* Whoever has nothing to do begins a read at this node. */
static void read_begin_some(struct sim *s, uint32_t slot, uint32_t node)
{
    uint32_t key = key_choose(s);
    struct sim_read *r = &s->reads[slot];
    *r = (struct sim_read){
        .next = READ_FIND,
        .node = node,
        .invoked = s->time,
        .lsn_floor = s->shards[sim_shard_of(key)].lsn_told,
        .incarnation = s->nodes[node].incarnation,
        .space = &s->nodes[node].read,
        .count = sim_is_once(key) || sim_chance(s, 70) ? 1 : 2 + sim_below(s, SIM_PARTS - 1),
    };
    if (sim_chance(s, 15))
        r->lsn_at = version_choose(s, sim_shard_of(key));
    for (uint32_t i = 0; i < r->count; i++) /* as transactions write them */
        r->found[i].key = i == 0 ? key : (key + i * SIM_SHARDS) % SIM_KEYS;
    sim_read_step(s, slot);
}

/* Others than those who get. */
static void look(struct sim *s, uint32_t node)
{
    uint32_t dice = sim_below(s, 20);
    if (dice < 2)
        sim_scan_step(s, node);
    else if (dice < 6)
        sim_follow_step(s, node);
}

void sim_read_some(struct sim *s, uint32_t node)
{
    sim_schedule(s, 100000 + sim_below(s, 1500000),
                 (struct sim_event){.kind = EVENT_READ, .node = node});
    uint32_t slot = sim_below(s, SIM_READS);
    look(s, node);
    if (s->nodes[node].up && s->reads[slot].next == READ_NOTHING)
        read_begin_some(s, slot, node);
}

void sim_read_between(struct sim *s, uint32_t node)
{
    uint32_t slot = sim_below(s, SIM_READS);
    struct sim_read *r = &s->reads[slot];
    look(s, node);
    if (r->next != READ_NOTHING && (r->node != node || r->next == READ_RING))
        return;
    s->reads_between++;
    if (r->next == READ_NOTHING)
        read_begin_some(s, slot, node);
    else
        sim_read_step(s, slot);
}
