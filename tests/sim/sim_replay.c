/* The committed log as a witness: each of its transactions is the operation that made it, carried out on
 * what those before it left (sim_model.h), and said what its client was told. */
#include "tests/sim/sim_model.h"

#include <string.h>

#define TABLE_SLOTS (1u << 16)
_Static_assert(SIM_OPERATIONS_MAX < TABLE_SLOTS, "some stay empty");

/* Operations by (session, sequence). */
struct table {
    const struct sim_operation *operations[TABLE_SLOTS];
    bool seen[TABLE_SLOTS]; /* in the log */
};

struct replay {
    struct sim *s;
    struct sim_shard *shard;
    uint32_t number; /* of the shard */
    struct table *table;
    struct sim_model_state state;
};

/* ---- operations ---- */

/* Its slot, or the empty one where it belongs. */
static uint32_t slot_of(const struct table *t, uint64_t session, uint64_t sequence)
{
    uint64_t hash = (session ^ sequence << 40) * UINT64_C(0x9e3779b97f4a7c15);
    uint32_t slot = (uint32_t)(hash >> 40) % TABLE_SLOTS;
    while (t->operations[slot] != NULL &&
           (t->operations[slot]->session != session || t->operations[slot]->sequence != sequence))
        slot = (slot + 1) % TABLE_SLOTS;
    return slot;
}

static void table_add(struct replay *r, const struct sim_operation *o)
{
    if (o->session != 0 && sim_shard_of(o->key) == r->number)
        r->table->operations[slot_of(r->table, o->session, o->sequence)] = o;
}

static void table_build(struct replay *r)
{
    memset(r->table, 0, sizeof *r->table);
    for (uint32_t i = 0; i < r->s->operation_count; i++)
        table_add(r, &r->s->history[i]);
    for (uint32_t i = 0; i < SIM_CLIENTS; i++) {
        const struct sim_client *c = &r->s->clients[i];
        if (c->busy && !c->opening && !c->closing)
            table_add(r, &c->now);
    }
}

/* It may have been given up with the majority that knew of it. */
static bool may_be_lost(const struct replay *r, const struct sim_operation *o)
{
    return r->shard->epoch_lossy != 0 && o->invoked < r->shard->time_lossy;
}

/* ---- one transaction of the log ---- */

/* The answer that follows from its last record. */
static struct sim_operation answer_of(const struct sim_operation *asked,
                                      const struct sim_record *last)
{
    struct sim_operation o = *asked;
    bool is_void = last->kind == RECORD_VOID;
    o.returned = UINT64_MAX;
    o.status = is_void ? last->status : RING_OK;
    o.lsn = is_void ? last->lsn_previous : last->lsn;
    o.number = is_void && o.status == RING_CONDITION ? (int64_t)last->token : 0;
    if (o.status != RING_OK)
        return o;
    switch (o.kind) {
    case OPERATION_TRANSACTION:
        o.number = (last->flags & RECORD_FLAG_ELSE) == 0;
        break;
    case OPERATION_INCREMENT:
        if (!sim_model_number(last->value, &o.number))
            o.number = INT64_MIN; /* it is none */
        break;
    case OPERATION_ACQUIRE:
        o.number = (int64_t)last->lsn;
        break;
    case OPERATION_RENEW:
        o.number = (int64_t)last->token;
        break;
    default:
        break;
    }
    return o;
}

/* What its records say of the keys is what the operation left there; and of the other keys it left all
 * as it was.  Versions are taken over. */
static bool is_left(struct sim_model_state *after, const struct sim_model_state *before,
                    const struct sim_record *first, const struct sim_record *last)
{
    bool named[SIM_MODEL_KEYS] = {false};
    for (const struct sim_record *r = first; r <= last; r++) {
        if (r->key >= SIM_KEYS)
            continue;
        struct sim_model_value *v = sim_model_at(after, r->key);
        bool there = r->kind == RECORD_DATA;
        if (named[r->key / SIM_SHARDS] || v->there != there || (there && v->value != r->value))
            return false;
        named[r->key / SIM_SHARDS] = true;
        v->version = there ? r->lsn : 0;
    }
    for (uint32_t i = 0; i < SIM_MODEL_KEYS; i++) {
        struct sim_model_state one = *before;
        one.keys[i] = after->keys[i];
        if (!named[i] && !sim_model_equal(&one, before))
            return false;
    }
    return true;
}

/* The same of keys that nobody else writes. */
static bool is_once_left(const struct sim_operation *o, const struct sim_record *first,
                         const struct sim_record *last)
{
    if (o->kind != OPERATION_TRANSACTION)
        return last == first && last->key == o->key && last->value == o->value;
    for (uint32_t i = 0; i < o->part_count; i++)
        if (first + i > last || first[i].key != o->parts[i].key ||
            first[i].value != o->parts[i].value)
            return false;
    return first + o->part_count == last + 1;
}

static void broken_at(const struct replay *r, const struct sim_record *last,
                      const struct sim_operation *o, const char *what)
{
    sim_broken(r->s, "S10",
               "operation %u of key %u, at %llu in the log, answered with %u, %llu, %lld: %s",
               (unsigned)o->kind, o->key, (unsigned long long)last->lsn, o->status,
               (unsigned long long)o->lsn, (long long)o->number, what);
}

/* What its client was told. */
static void told_check(const struct replay *r, const struct sim_operation *o,
                       const struct sim_operation *answer, const struct sim_record *first,
                       const struct sim_record *last)
{
    if (may_be_lost(r, o))
        return;
    if (first->lsn <= o->lsn_floor)
        broken_at(r, last, o, "it lies before what was known when it was asked for");
    if (o->returned != 0 && o->status != RING_SEQUENCE &&
        (o->status != answer->status || o->lsn != answer->lsn || o->number != answer->number))
        broken_at(r, last, o, "its client was told otherwise");
}

static void operation_replay(struct replay *r, const struct sim_record *first,
                             const struct sim_record *last)
{
    uint32_t slot = slot_of(r->table, last->session, last->sequence);
    const struct sim_operation *o = r->table->operations[slot];
    if (o == NULL) {
        sim_broken(r->s, "S5", "nobody asked for what stands at %llu",
                   (unsigned long long)last->lsn);
        return;
    }
    struct sim_model_state before = r->state;
    struct sim_operation answer = answer_of(o, last);
    r->table->seen[slot] = true;
    if (sim_is_once(o->key)) {
        if (!is_once_left(o, first, last))
            broken_at(r, last, &answer, "its record is not what it does");
    } else if (!sim_model_step(&answer, &r->state))
        broken_at(r, last, &answer, "what stood there makes it another");
    else if (!is_left(&r->state, &before, first, last))
        broken_at(r, last, o, "its records are not what it does");
    told_check(r, o, &answer, first, last);
}

/* A key expires: S19 looked at when. */
static void expiry_replay(struct replay *r, const struct sim_record *last)
{
    const struct sim_operation o = {
        .kind = OPERATION_EXPIRE,
        .key = last->key,
        .returned = UINT64_MAX,
        .status = RING_OK,
        .expected = last->lsn_previous,
    };
    if (!sim_is_once(last->key) && !sim_model_step(&o, &r->state))
        broken_at(r, last, &o, "another version stood there when it expired");
}

static void group_replay(struct replay *r, const struct sim_record *first,
                         const struct sim_record *last)
{
    if (last->expired)
        expiry_replay(r, last);
    else if (last->sequence != 0 && last->session != 0)
        operation_replay(r, first, last);
    else if (last->key != SIM_KEYS)
        sim_broken(r->s, "S5", "nobody asked for what stands at %llu",
                   (unsigned long long)last->lsn);
}

/* ---- all of it ---- */

/* What was acknowledged is in the log.  A refusal for want of room is one: history may fill it, where
 * clocks were set back; and so is one of a session that was forgotten. */
static void acknowledged_check(const struct replay *r)
{
    for (uint32_t i = 0; i < TABLE_SLOTS; i++) {
        const struct sim_operation *o = r->table->operations[i];
        if (o == NULL || r->table->seen[i] || o->returned == 0 || may_be_lost(r, o) ||
            o->status == RING_SEQUENCE || o->status == RING_QUOTA || o->status == RING_FATE_UNKNOWN)
            continue;
        if (sim_model_is_answered(o))
            sim_broken(r->s, "S5",
                       "operation %u of key %u, acknowledged at %llu, is not in the log",
                       (unsigned)o->kind, o->key, (unsigned long long)o->lsn);
        else
            sim_broken(r->s, "S10", "operation %u of key %u was answered with status %u",
                       (unsigned)o->kind, o->key, o->status);
    }
}

void sim_replay(struct sim *s, uint32_t shard)
{
    static struct table table;
    struct replay r = {.s = s, .shard = &s->shards[shard], .number = shard, .table = &table};
    const struct sim_record *first = NULL;
    table_build(&r);
    for (uint32_t i = 0; i < r.shard->record_count && s->broken == NULL; i++) {
        const struct sim_record *at = &r.shard->records[i];
        if (at->lost)
            continue;
        first = first != NULL ? first : at;
        if (!at->ends)
            continue;
        group_replay(&r, first, at);
        first = NULL;
    }
    if (s->broken == NULL)
        acknowledged_check(&r);
}
