#include "tests/sim/sim_model.h"

#include <string.h>

bool sim_model_is_answered(const struct sim_operation *o)
{
    return o->returned != 0 &&
           (o->status == RING_OK || o->status == RING_CONDITION || o->status == RING_NOT_FOUND ||
            o->status == RING_NOT_NUMBER || o->status == RING_RANGE);
}

bool sim_model_equal(const struct sim_model_state *a, const struct sim_model_state *b)
{
    for (uint32_t i = 0; i < SIM_MODEL_KEYS; i++) {
        const struct sim_model_value *x = &a->keys[i], *y = &b->keys[i];
        if (x->there != y->there || x->version != y->version || x->value != y->value ||
            x->leased != y->leased || x->token != y->token)
            return false;
    }
    return true;
}

/* ---- values ---- */

/* Does this version stand?  One that nobody has shown is learned from who shows it first. */
static bool stands(struct sim_model_value *v, uint64_t version)
{
    if (version == 0 || !v->there)
        return version == 0 && !v->there;
    if (v->version == 0)
        v->version = version;
    return v->version == version;
}

/* The same of a lease's token; 0: it is not held. */
static bool is_held_by(struct sim_model_value *v, uint64_t token)
{
    if (token == 0 || !v->leased)
        return token == 0 && !v->leased;
    if (v->token == 0)
        v->token = token;
    return v->token == token;
}

static void write_at(struct sim_model_value *v, uint64_t version, uint64_t value)
{
    *v = (struct sim_model_value){.version = version, .value = value, .there = true};
}

static void remove_at(struct sim_model_value *v)
{
    *v = (struct sim_model_value){.there = false};
}

uint64_t sim_model_value(const void *bytes, uint64_t length)
{
    int64_t number;
    uint64_t value = 0;
    if (length <= NUMBER_BYTES_MAX && number_parse(bytes, length, &number) == 0)
        return (uint64_t)number;
    memcpy(&value, bytes, min_u64(length, sizeof value));
    return value;
}

bool sim_model_number(uint64_t value, int64_t *number)
{
    *number = (int64_t)value;
    return value >> 60 != SIM_NO_NUMBER >> 60;
}

/* What an increment would leave, or why it leaves nothing. */
static enum ring_status sum(const struct sim_model_value *v, int64_t delta, int64_t *number)
{
    *number = 0;
    if (v->leased)
        return RING_CONDITION;
    if (v->there && !sim_model_number(v->value, number))
        return RING_NOT_NUMBER;
    return __builtin_add_overflow(*number, delta, number) ? RING_RANGE : RING_OK;
}

/* ---- transactions ---- */

bool sim_model_has_else(const struct sim_operation *o)
{
    for (uint32_t i = 0; i < o->part_count; i++)
        if (o->parts[i].section == RING_SECTION_ELSE)
            return true;
    return false;
}

static bool condition_holds(const struct sim_part *part, struct sim_model_state *state)
{
    struct sim_model_value *v = sim_model_at(state, part->key);
    switch (part->compare) {
    case RING_COMPARE_VERSION:
        return stands(v, part->expected);
    case RING_COMPARE_EXISTS:
        return v->there;
    case RING_COMPARE_ABSENT:
        return !v->there;
    case RING_COMPARE_TOKEN:
        return v->leased && part->expected != 0 && is_held_by(v, part->expected);
    default:
        return true;
    }
}

/* Do all conditions of the first count parts hold? */
static bool conditions_hold(const struct sim_operation *o, uint32_t count,
                            struct sim_model_state *state)
{
    for (uint32_t i = 0; i < count; i++)
        if (!condition_holds(&o->parts[i], state))
            return false;
    return true;
}

/* It may be that one does not: of what nobody has shown, that is possible. */
static bool condition_may_fail(const struct sim_operation *o, const struct sim_model_state *state)
{
    for (uint32_t i = 0; i < o->part_count; i++) {
        const struct sim_part *part = &o->parts[i];
        struct sim_model_state learned = *state;
        if (!condition_holds(part, &learned) || !sim_model_equal(&learned, state))
            return true;
    }
    return false;
}

/* One write of those that are done.  Returns whether it left a record. */
static bool part_write(const struct sim_part *part, struct sim_model_value *v, bool *possible)
{
    int64_t number = 0;
    switch (part->kind) {
    case OPERATION_PUT:
        *possible &= !v->leased;
        write_at(v, 0, part->value);
        return true;
    case OPERATION_INCREMENT:
        *possible &= sum(v, part->delta, &number) == RING_OK;
        write_at(v, 0, (uint64_t)number);
        return true;
    case OPERATION_DELETE:
        *possible &= !v->leased;
        if (!v->there)
            return false;
        remove_at(v);
        return true;
    default:
        return false;
    }
}

/* What the writes of a section leave.  lsn: the version of the last one, 0 if that is unknown, or if
 * there is none.  False: one of them cannot be. */
static bool parts_write(const struct sim_operation *o, uint8_t section, bool told,
                        struct sim_model_state *state)
{
    struct sim_model_value *last = NULL;
    bool possible = true;
    for (uint32_t i = 0; i < o->part_count; i++) {
        struct sim_model_value *v = sim_model_at(state, o->parts[i].key);
        if (o->parts[i].section == section && part_write(&o->parts[i], v, &possible))
            last = v;
    }
    if (told && last != NULL && last->there)
        last->version = o->lsn;
    return possible && (!told || (last != NULL) == (o->lsn != 0));
}

/* What was answered is the version of what stood there, and it is not what a condition wants. */
static bool condition_failed(const struct sim_part *part, uint64_t lsn,
                             struct sim_model_state *state)
{
    struct sim_model_value *v = sim_model_at(state, part->key);
    switch (part->compare) {
    case RING_COMPARE_VERSION:
        return part->expected != lsn && stands(v, lsn);
    case RING_COMPARE_EXISTS:
        return lsn == 0 && !v->there;
    case RING_COMPARE_ABSENT:
        return lsn != 0 && stands(v, lsn);
    case RING_COMPARE_TOKEN:
        return stands(v, lsn) &&
               (!v->leased || part->expected == 0 || v->token == 0 || v->token != part->expected);
    default:
        return false;
    }
}

/* Answered: the first condition that does not hold met this version.  Where more than one of them may
 * have been it, since nobody has shown what stands there, nothing is learned. */
static bool step_refused(const struct sim_operation *o, struct sim_model_state *state)
{
    struct sim_model_state learned = *state;
    uint32_t count = 0;
    for (uint32_t i = 0; i < o->part_count; i++) {
        struct sim_model_state met = *state;
        if (o->parts[i].compare == RING_COMPARE_NONE || !conditions_hold(o, i, &met) ||
            !condition_failed(&o->parts[i], o->lsn, &met))
            continue;
        learned = met;
        count++;
    }
    if (count == 1)
        *state = learned;
    return count != 0;
}

/* Answered: of what a section says, a sum cannot be, and the first of them met this version. */
static bool no_sum(const struct sim_operation *o, uint8_t section, struct sim_model_state *state)
{
    for (uint32_t i = 0; i < o->part_count; i++) {
        const struct sim_part *part = &o->parts[i];
        struct sim_model_value *v = sim_model_at(state, part->key);
        int64_t number;
        if (part->section != section || part->kind != OPERATION_INCREMENT ||
            sum(v, part->delta, &number) == RING_OK)
            continue;
        return sum(v, part->delta, &number) == o->status && stands(v, o->lsn);
    }
    return false;
}

/* Which section it was, the answer does not say; where it may have been either, nothing is learned. */
static bool step_no_sum(const struct sim_operation *o, struct sim_model_state *state)
{
    struct sim_model_state then = *state, other = *state;
    bool then_fits =
        conditions_hold(o, o->part_count, &then) && no_sum(o, RING_SECTION_THEN, &then);
    bool else_fits = sim_model_has_else(o) && condition_may_fail(o, state) &&
                     no_sum(o, RING_SECTION_ELSE, &other);
    if (then_fits != else_fits)
        *state = then_fits ? then : other;
    return then_fits || else_fits;
}

/* Where it has both, its number says which was done: of one without an answer, which may have been. */
static bool step_transaction(const struct sim_operation *o, bool told,
                             struct sim_model_state *state)
{
    bool has_else = sim_model_has_else(o);
    if (told && o->status == RING_CONDITION)
        return !has_else && o->number == 0 && step_refused(o, state);
    if (told && (o->status == RING_NOT_NUMBER || o->status == RING_RANGE))
        return step_no_sum(o, state);
    if (told && o->status != RING_OK)
        return false;
    if (has_else && o->number == 0)
        return condition_may_fail(o, state) && parts_write(o, RING_SECTION_ELSE, told, state);
    return conditions_hold(o, o->part_count, state) &&
           parts_write(o, RING_SECTION_THEN, told, state);
}

/* ---- one key ---- */

/* Refused, and told of what stands there. */
static bool is_refused(const struct sim_operation *o, struct sim_model_value *v)
{
    return stands(v, o->lsn) && is_held_by(v, (uint64_t)o->number);
}

static bool step_put(const struct sim_operation *o, bool told, struct sim_model_value *v)
{
    bool compares = o->kind == OPERATION_PUT_IF;
    if (told && o->status == RING_CONDITION)
        return ((compares && o->lsn != o->expected) || v->leased) && is_refused(o, v);
    if (v->leased || (compares && !stands(v, o->expected)))
        return false;
    write_at(v, o->lsn, o->value);
    return !told || (o->status == RING_OK && o->lsn != 0);
}

static bool step_delete(const struct sim_operation *o, bool told, struct sim_model_value *v)
{
    if (told && o->status == RING_CONDITION)
        return v->leased && is_refused(o, v);
    if (v->leased || (told && (o->status == RING_OK) != v->there))
        return false;
    remove_at(v);
    return true;
}

static bool step_increment(const struct sim_operation *o, bool told, struct sim_model_value *v)
{
    int64_t number;
    enum ring_status status = sum(v, o->delta, &number);
    if (told && o->status != RING_OK && o->status != RING_CONDITION)
        return o->status == status && stands(v, o->lsn);
    if (told && o->status == RING_CONDITION)
        return v->leased && is_refused(o, v);
    if (status != RING_OK)
        return false;
    write_at(v, o->lsn, (uint64_t)number);
    return !told || (o->lsn != 0 && o->number == number);
}

static bool step_acquire(const struct sim_operation *o, bool told, struct sim_model_value *v)
{
    if (told && o->status == RING_CONDITION)
        return v->there && is_refused(o, v);
    if (v->there)
        return false;
    write_at(v, o->lsn, o->value);
    v->leased = true;
    v->token = o->lsn;
    return !told || (o->status == RING_OK && o->lsn != 0 && (uint64_t)o->number == o->lsn);
}

/* Renewal or release: whoever has the token. */
static bool step_lease(const struct sim_operation *o, bool told, struct sim_model_value *v)
{
    bool renews = o->kind == OPERATION_RENEW;
    if (told && o->status == RING_CONDITION)
        return is_refused(o, v) && (!v->leased || (uint64_t)o->number != o->expected);
    if (!v->leased || !is_held_by(v, o->expected) || (told && o->status != RING_OK))
        return false;
    if (!renews) {
        remove_at(v);
        return true;
    }
    v->version = o->lsn;
    return !told || (o->lsn != 0 && (uint64_t)o->number == o->expected);
}

static bool step_get(const struct sim_operation *o, struct sim_model_value *v)
{
    if (o->status != RING_OK)
        return o->status == RING_NOT_FOUND && !v->there;
    return v->there && v->value == o->read_value && stands(v, o->lsn);
}

bool sim_model_step(const struct sim_operation *o, struct sim_model_state *state)
{
    struct sim_model_value *v = sim_model_at(state, o->key);
    bool told = sim_model_is_answered(o);
    switch (o->kind) {
    case OPERATION_TRANSACTION:
        return step_transaction(o, told, state);
    case OPERATION_PUT:
    case OPERATION_PUT_IF:
        return step_put(o, told, v);
    case OPERATION_DELETE:
        return step_delete(o, told, v);
    case OPERATION_INCREMENT:
        return step_increment(o, told, v);
    case OPERATION_ACQUIRE:
        return step_acquire(o, told, v);
    case OPERATION_RENEW:
    case OPERATION_RELEASE:
        return step_lease(o, told, v);
    case OPERATION_EXPIRE:
        if (!v->there || !stands(v, o->expected))
            return false;
        remove_at(v);
        return true;
    case OPERATION_GET:
        return told && step_get(o, v);
    default:
        return false;
    }
}
