/* What clients ask for, and what they learn from the answers.  Of the keys of a shard the last two have a
 * part of their own: one is counted with, one is held as a lease. */
#include "tests/sim/sim_model.h"
#include "tests/sim/sim_scenario.h"

#define KEYS_OF_SHARD (SIM_KEYS / SIM_SHARDS)
#define OWNER_BYTES_MAX 64u
/* The holder's clock and the granter's are so far apart at most: engine/agent/lease.c. */
#define RATE_SHARE 1000u

static bool is_counter(uint32_t key)
{
    return key / SIM_SHARDS == KEYS_OF_SHARD - 2;
}

static bool is_lease(uint32_t key)
{
    return key / SIM_SHARDS == KEYS_OF_SHARD - 1;
}

static uint64_t ttl_choose(struct sim *s)
{
    return (2 + sim_below(s, sim_chance(s, 80) ? 40 : 200)) * NS_PER_MS;
}

/* Mostly little; else nearly as much as there is, so that the next of them passes the end. */
static int64_t delta_choose(struct sim *s)
{
    if (sim_chance(s, 80))
        return (int64_t)sim_below(s, 19) - 9;
    return sim_chance(s, 50) ? INT64_MAX - (int64_t)sim_below(s, 9)
                             : INT64_MIN + (int64_t)sim_below(s, 9);
}

static uint32_t length_choose(struct sim *s)
{
    return SIM_VALUE_BYTES + sim_below(s, SIM_VALUE_BYTES_MAX - SIM_VALUE_BYTES);
}

static uint64_t value_choose(const struct sim *s, uint32_t client, uint32_t part)
{
    return SIM_NO_NUMBER | (uint64_t)part << 56 | (uint64_t)client << 32 | s->operation_count;
}

/* ---- transactions ---- */

static void condition_choose(struct sim *s, const struct sim_client *c, struct sim_part *part)
{
    uint32_t dice = sim_below(s, 10);
    part->compare = is_lease(part->key) && dice < 6 ? RING_COMPARE_TOKEN
                    : dice < 6                      ? RING_COMPARE_VERSION
                    : dice < 8                      ? RING_COMPARE_EXISTS
                                                    : RING_COMPARE_ABSENT;
    part->expected = part->compare == RING_COMPARE_TOKEN ? c->token[part->key] : c->seen[part->key];
}

/* What is to be done to its key, as that is used. */
static void write_choose(struct sim *s, struct sim_part *part)
{
    uint32_t dice = sim_below(s, 10);
    part->kind = dice < 7 ? OPERATION_PUT : OPERATION_DELETE;
    if (part->kind == OPERATION_PUT && (is_counter(part->key) || dice == 0))
        part->kind = OPERATION_INCREMENT; /* perhaps of what is no number */
}

/* Several keys of the shard, from this one on; some parts, or all, with a condition, and now and then
 * something to do where that does not hold. */
static void transaction_choose(struct sim *s, uint32_t client, uint32_t key)
{
    struct sim_client *c = &s->clients[client];
    struct sim_operation *o = &c->now;
    bool has_else = sim_chance(s, 40);
    o->kind = OPERATION_TRANSACTION;
    o->part_count = 2 + sim_below(s, SIM_PARTS - 1);
    for (uint32_t i = 0; i < o->part_count; i++) {
        struct sim_part *part = &o->parts[i];
        *part = (struct sim_part){
            .kind = OPERATION_CHECK,
            .key = (key + i * SIM_SHARDS) % SIM_KEYS,
            .value = value_choose(s, client, i + 1),
            .value_length = length_choose(s),
            .delta = delta_choose(s),
        };
        bool checks = is_lease(part->key) || (has_else ? i == 0 : sim_chance(s, 20));
        if (!checks)
            write_choose(s, part);
        if (has_else && !checks && sim_chance(s, 50))
            part->section = RING_SECTION_ELSE;
        if (part->section == RING_SECTION_THEN && (checks || sim_chance(s, 20)))
            condition_choose(s, c, part);
    }
}

/* ---- one key ---- */

static enum sim_operation_kind lease_choose(struct sim *s, const struct sim_client *c, uint32_t key)
{
    uint32_t dice = sim_below(s, 20);
    if (dice < 3)
        return dice == 0 ? OPERATION_PUT : dice == 1 ? OPERATION_DELETE : OPERATION_GET;
    if (c->token[key] == 0 || dice < 8)
        return OPERATION_ACQUIRE;
    return dice < 15 ? OPERATION_RENEW : OPERATION_RELEASE;
}

static enum sim_operation_kind kind_choose(struct sim *s, const struct sim_client *c, uint32_t key)
{
    uint32_t dice = sim_below(s, 20);
    if (is_lease(key))
        return lease_choose(s, c, key);
    if (is_counter(key))
        return dice < 14 ? OPERATION_INCREMENT : dice < 15 ? OPERATION_DELETE : OPERATION_GET;
    if (dice == 0)
        return OPERATION_INCREMENT; /* of what is no number, mostly */
    return dice < 8    ? OPERATION_PUT
           : dice < 12 ? OPERATION_PUT_IF
           : dice < 14 ? OPERATION_DELETE
                       : OPERATION_GET;
}

/* Until when an owner counts: from before it asked on, as long as its own clock says. */
static uint64_t held_until(const struct sim_client *c, const struct sim_operation *o)
{
    int64_t counted_ns = (int64_t)(o->ttl_ns - o->ttl_ns / RATE_SHARE);
    return o->invoked + (uint64_t)(counted_ns - counted_ns * c->clock_ppm / 1000000);
}

/* Who asks for a lease that it may have, or gives one up, does not take itself for the owner; nor does
 * who renews one for less time, longer than that. */
static void lease_prepare(struct sim *s, struct sim_client *c, struct sim_operation *o)
{
    o->expected = c->token[o->key];
    if (o->kind != OPERATION_RELEASE)
        o->ttl_ns = ttl_choose(s);
    if (o->kind == OPERATION_ACQUIRE)
        o->value_length = SIM_VALUE_BYTES + sim_below(s, OWNER_BYTES_MAX - SIM_VALUE_BYTES);
    c->holds[o->key] = o->kind == OPERATION_RENEW ? min_u64(c->holds[o->key], held_until(c, o)) : 0;
}

/* A key that nobody wrote before nor will again. */
static void once_choose(struct sim *s, struct sim_client *c)
{
    struct sim_operation *o = &c->now;
    o->kind = OPERATION_PUT;
    o->key =
        ((SIM_KEYS_GROWN * 2 + s->operation_count) * SIM_SHARDS + c->shard) << 8 | SIM_KEY_ONCE;
    o->ttl_ns = ttl_choose(s);
}

bool sim_client_grows(struct sim *s)
{
    return s->scenario->grows && s->keys_grown < SIM_KEYS_GROWN && sim_chance(s, 60);
}

/* Keys of that kind that stay, several at once. */
static void grow_choose(struct sim *s, uint32_t client)
{
    struct sim_client *c = &s->clients[client];
    struct sim_operation *o = &c->now;
    o->kind = OPERATION_TRANSACTION;
    o->part_count = SIM_PARTS;
    for (uint32_t i = 0; i < SIM_PARTS; i++)
        o->parts[i] = (struct sim_part){
            .kind = OPERATION_PUT,
            .key = (s->keys_grown++ * SIM_SHARDS + c->shard) << 8 | SIM_KEY_ONCE,
            .value = value_choose(s, client, i + 1),
            .value_length = SIM_VALUE_BYTES,
        };
    o->key = o->parts[0].key;
}

void sim_client_choose(struct sim *s, uint32_t client, uint32_t key)
{
    struct sim_client *c = &s->clients[client];
    struct sim_session *session = &c->sessions[c->shard];
    struct sim_operation *o = &c->now;
    *o = (struct sim_operation){
        .kind = kind_choose(s, c, key),
        .client = client,
        .key = key,
        .invoked = s->time,
        .lsn_floor = s->shards[c->shard].lsn_told,
        .expected = c->seen[key],
        .value = value_choose(s, client, 0),
        .value_length = length_choose(s),
        .delta = delta_choose(s),
    };
    bool is_put = o->kind == OPERATION_PUT || o->kind == OPERATION_PUT_IF;
    if (c->grows)
        grow_choose(s, client);
    else if (!is_lease(key) && sim_chance(s, 20))
        transaction_choose(s, client, key);
    else if (is_put && sim_chance(s, 15))
        once_choose(s, c);
    else if (is_put && sim_chance(s, 20))
        o->ttl_ns = ttl_choose(s);
    if (o->kind == OPERATION_ACQUIRE || o->kind == OPERATION_RENEW || o->kind == OPERATION_RELEASE)
        lease_prepare(s, c, o);
    if (o->kind != OPERATION_GET) {
        o->session = session->lsn;
        o->sequence = ++session->sequence;
    }
}

/* ---- leases ---- */

/* S20: nobody else takes itself for the owner now. */
static void holders_check(struct sim *s, uint32_t client, uint32_t key)
{
    const struct sim_client *own = &s->clients[client];
    if (s->shards[sim_shard_of(key)].epoch_lossy != 0 || own->holds[key] <= s->time)
        return;
    for (uint32_t i = 0; i < SIM_CLIENTS; i++) {
        const struct sim_client *c = &s->clients[i];
        if (i != client && c->holds[key] > s->time)
            sim_broken(s, "S20",
                       "clients %u and %u both hold key %u by their own count, tokens %llu, %llu",
                       i, client, key, (unsigned long long)c->token[key],
                       (unsigned long long)own->token[key]);
    }
}

static void lease_hold(struct sim *s, uint32_t client)
{
    struct sim_client *c = &s->clients[client];
    const struct sim_operation *o = &c->now;
    uint64_t token = (uint64_t)o->number;
    bool acquired = o->kind == OPERATION_ACQUIRE;
    if (acquired && token <= o->lsn_floor)
        sim_broken(s, "S20", "key %u is acquired with token %llu, %llu was known before", o->key,
                   (unsigned long long)token, (unsigned long long)o->lsn_floor);
    if (acquired)
        s->acquired++;
    else
        s->renewed++;
    c->token[o->key] = token;
    c->holds[o->key] = held_until(c, o);
    holders_check(s, client, o->key);
}

static void lease_learn(struct sim *s, uint32_t client)
{
    struct sim_client *c = &s->clients[client];
    const struct sim_operation *o = &c->now;
    if (o->kind == OPERATION_RELEASE)
        return; /* Why the token stays: somebody may come back with it when it is long over */
    if (o->status == RING_OK) {
        lease_hold(s, client);
        return;
    }
    s->lease_refused += o->status == RING_CONDITION;
    c->holds[o->key] = 0;
}

/* ---- versions ---- */

static void transaction_learn(struct sim *s, struct sim_client *c)
{
    const struct sim_operation *o = &c->now;
    uint32_t writes = 0;
    uint8_t section = o->number != 0 ? RING_SECTION_THEN : RING_SECTION_ELSE;
    const struct sim_part *last = NULL;
    for (uint32_t i = 0; i < o->part_count; i++) {
        const struct sim_part *part = &o->parts[i];
        if (part->section != section || part->kind == OPERATION_CHECK)
            continue;
        writes += part->kind != OPERATION_DELETE;
        if (part->kind == OPERATION_DELETE)
            c->seen[part->key] = 0;
        last = part;
    }
    if (last != NULL && last->kind != OPERATION_DELETE)
        c->seen[last->key] = o->lsn;
    s->transactions += writes > 1;
    s->elses += section == RING_SECTION_ELSE && writes != 0;
}

void sim_client_learn(struct sim *s, uint32_t client)
{
    struct sim_client *c = &s->clients[client];
    const struct sim_operation *o = &c->now;
    bool done = o->status == RING_OK;
    s->not_numbers += o->status == RING_NOT_NUMBER;
    s->out_of_range += o->status == RING_RANGE;
    switch (o->kind) {
    case OPERATION_TRANSACTION:
        if (done && !sim_is_once(o->key))
            transaction_learn(s, c);
        return;
    case OPERATION_ACQUIRE:
    case OPERATION_RENEW:
    case OPERATION_RELEASE:
        lease_learn(s, client);
        break;
    case OPERATION_INCREMENT:
        s->increments += done;
        break;
    default:
        break;
    }
    if (sim_is_once(o->key))
        return;
    bool removes = o->kind == OPERATION_DELETE || o->kind == OPERATION_RELEASE;
    if (done || o->status == RING_CONDITION)
        c->seen[o->key] = done && removes ? 0 : o->lsn;
    if (o->status == RING_NOT_FOUND)
        c->seen[o->key] = 0;
}
