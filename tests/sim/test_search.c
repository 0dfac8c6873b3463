/* The search for a linearization: histories made by hand, and against all permutations of small ones. */
#include "tests/sim/sim_search.h"

#include "engine/ring.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define KEY 3u
#define UNANSWERED 0u

static struct sim_search *memory(void)
{
    static struct sim_search q;
    return &q;
}

static enum sim_search_result judge(const struct sim_operation *history, size_t count)
{
    return sim_search_shard(memory(), history, (uint32_t)count, sim_shard_of(KEY));
}

/* ---- histories by hand ---- */

/* from .. to: invoked and returned; a write's value is ten times what it is named by here. */
#define OPERATION(what, from, to)                                                                  \
    .kind = OPERATION_##what, .key = KEY, .invoked = (from), .returned = (to)
#define PUT(from, to, version_, value_)                                                            \
    {                                                                                              \
        OPERATION(PUT, from, to), .lsn = (version_), .value = (value_)                             \
    }
#define PUT_IF(from, to, expected_, version_, value_)                                              \
    {                                                                                              \
        OPERATION(PUT_IF, from, to), .expected = (expected_), .lsn = (version_), .value = (value_) \
    }
#define PUT_IF_NOT(from, to, expected_, shown)                                                     \
    {                                                                                              \
        OPERATION(PUT_IF, from, to), .expected = (expected_), .lsn = (shown),                      \
                                     .status = RING_CONDITION                                      \
    }
#define DELETE(from, to)                                                                           \
    {                                                                                              \
        OPERATION(DELETE, from, to)                                                                \
    }
#define DELETE_NONE(from, to)                                                                      \
    {                                                                                              \
        OPERATION(DELETE, from, to), .status = RING_NOT_FOUND                                      \
    }
#define GET(from, to, version_, value_)                                                            \
    {                                                                                              \
        OPERATION(GET, from, to), .lsn = (version_), .read_value = (value_)                        \
    }
#define GET_NONE(from, to)                                                                         \
    {                                                                                              \
        OPERATION(GET, from, to), .status = RING_NOT_FOUND                                         \
    }

/* Parts of a transaction, at KEY and at another key of its shard. */
#define OTHER (KEY + SIM_SHARDS)
#define PART(what, key_, ...)                                                                      \
    {                                                                                              \
        .kind = OPERATION_##what, .key = (key_), __VA_ARGS__                                       \
    }
#define TRANSACTION(from, to, count, ...)                                                          \
    OPERATION(TRANSACTION, from, to), .part_count = (count), .parts = {__VA_ARGS__}
#define GET_OTHER(from, to, version_, value_)                                                      \
    {                                                                                              \
        .kind = OPERATION_GET, .key = OTHER, .invoked = (from), .returned = (to),                  \
        .lsn = (version_), .read_value = (value_)                                                  \
    }
#define GET_OTHER_NONE(from, to)                                                                   \
    {                                                                                              \
        .kind = OPERATION_GET, .key = OTHER, .invoked = (from), .returned = (to),                  \
        .status = RING_NOT_FOUND                                                                   \
    }

#define CHECK(expected, ...)                                                                       \
    do {                                                                                           \
        const struct sim_operation history[] = {__VA_ARGS__};                                      \
        CU_ASSERT_EQUAL(judge(history, sizeof history / sizeof history[0]),                        \
                        SIM_SEARCH_##expected);                                                    \
    } while (0)

static void what_a_register_can_do_is_linearizable(void)
{
    CHECK(LINEARIZABLE, PUT(1, 2, 50, 7), GET(3, 4, 50, 7));
    CHECK(LINEARIZABLE, GET_NONE(1, 2), DELETE_NONE(3, 4), PUT_IF(5, 6, 0, 50, 7), DELETE(7, 8),
          GET_NONE(9, 10));
    CHECK(LINEARIZABLE, PUT(1, 2, 50, 7), PUT_IF_NOT(3, 4, 49, 50), PUT_IF(5, 6, 50, 51, 8),
          PUT_IF_NOT(7, 8, 0, 51), DELETE(9, 10), PUT_IF_NOT(11, 12, 51, 0));
    /* two at once, in the order that the reads show, whichever was called first */
    CHECK(LINEARIZABLE, PUT(1, 9, 50, 7), PUT(2, 8, 51, 8), GET(3, 4, 51, 8), GET(5, 6, 50, 7));
    CHECK(LINEARIZABLE, PUT(1, 9, 50, 7), GET_NONE(2, 3), GET(4, 5, 50, 7));
    /* an end and a beginning at the same moment are in no order */
    CHECK(LINEARIZABLE, PUT(1, 2, 50, 7), GET_NONE(2, 3));
}

static void what_no_register_does_is_not(void)
{
    CHECK(NOT_LINEARIZABLE, PUT(1, 2, 50, 7), GET_NONE(3, 4));
    CHECK(NOT_LINEARIZABLE, PUT(1, 2, 50, 7), PUT(3, 4, 51, 8), GET(5, 6, 50, 7));
    CHECK(NOT_LINEARIZABLE, PUT(1, 2, 50, 7), GET(3, 4, 50, 8));
    CHECK(NOT_LINEARIZABLE, PUT(1, 2, 50, 7), GET(3, 4, 51, 7));
    CHECK(NOT_LINEARIZABLE, PUT(1, 2, 50, 7), DELETE(3, 4), GET(5, 6, 50, 7));
    CHECK(NOT_LINEARIZABLE, GET(1, 2, 50, 7), PUT(3, 4, 50, 7));
    /* reads that go back, also while both writes are under way */
    CHECK(NOT_LINEARIZABLE, PUT(1, 20, 50, 7), PUT(2, 19, 51, 8), GET(3, 4, 51, 8),
          GET(5, 6, 50, 7), GET(7, 8, 51, 8));
    CHECK(NOT_LINEARIZABLE, PUT(1, 20, 50, 7), GET(4, 5, 50, 7), GET_NONE(6, 7));
}

static void compares_hold_once(void)
{
    CHECK(NOT_LINEARIZABLE, PUT(1, 2, 50, 7), PUT_IF(3, 9, 50, 51, 8), PUT_IF(4, 8, 50, 52, 9));
    CHECK(NOT_LINEARIZABLE, PUT(1, 2, 50, 7), PUT_IF(3, 4, 0, 51, 8));
    CHECK(NOT_LINEARIZABLE, PUT_IF(1, 9, 0, 50, 7), PUT_IF(2, 8, 0, 51, 8));
    CHECK(NOT_LINEARIZABLE, PUT(1, 2, 50, 7), PUT_IF_NOT(3, 4, 50, 50));
    CHECK(NOT_LINEARIZABLE, PUT(1, 2, 50, 7), PUT_IF_NOT(3, 4, 49, 48));
    CHECK(NOT_LINEARIZABLE, PUT(1, 2, 50, 7), DELETE(3, 9), DELETE(4, 8));
    CHECK(NOT_LINEARIZABLE, PUT(1, 2, 50, 7), DELETE_NONE(3, 4));
    CHECK(LINEARIZABLE, PUT(1, 2, 50, 7), PUT_IF(3, 9, 50, 51, 8), PUT_IF_NOT(4, 8, 50, 51));
    CHECK(LINEARIZABLE, PUT(1, 2, 50, 7), DELETE(3, 9), DELETE_NONE(4, 8));
}

static void what_was_not_answered_may_happen_or_not(void)
{
    CHECK(LINEARIZABLE, PUT(1, UNANSWERED, 0, 7), GET_NONE(2, 3), GET_NONE(4, 5));
    CHECK(LINEARIZABLE, PUT(1, UNANSWERED, 0, 7), GET_NONE(2, 3), GET(4, 5, 50, 7));
    /* long after, over what came meanwhile */
    CHECK(LINEARIZABLE, PUT(1, UNANSWERED, 0, 7), PUT(2, 3, 50, 8), GET(4, 5, 50, 8),
          GET(6, 7, 51, 7), PUT_IF(8, 9, 51, 52, 9));
    CHECK(LINEARIZABLE, PUT(1, 2, 50, 7), DELETE(3, UNANSWERED), GET(4, 5, 50, 7), GET_NONE(6, 7));
    CHECK(LINEARIZABLE, PUT_IF(1, UNANSWERED, 0, 0, 7), PUT(2, 3, 50, 8), GET(4, 5, 50, 8));
    /* but not before it was asked for, twice, or where its condition does not hold */
    CHECK(NOT_LINEARIZABLE, GET(1, 2, 50, 7), PUT(3, UNANSWERED, 0, 7));
    CHECK(NOT_LINEARIZABLE, PUT(1, UNANSWERED, 0, 7), GET(2, 3, 50, 7), GET(4, 5, 51, 7));
    CHECK(NOT_LINEARIZABLE, PUT(1, UNANSWERED, 0, 7), GET(2, 3, 50, 7), PUT(4, 5, 51, 8),
          GET(6, 7, 50, 7));
    CHECK(NOT_LINEARIZABLE, PUT(1, 2, 50, 7), PUT_IF(3, UNANSWERED, 49, 0, 8), GET(4, 5, 51, 8));
    CHECK(NOT_LINEARIZABLE, PUT(1, 2, 50, 7), DELETE(3, UNANSWERED), GET_NONE(4, 5),
          GET(6, 7, 50, 7));
}

/* Two values at once, the second under version 61. */
#define BOTH(from, to)                                                                             \
    {                                                                                              \
        TRANSACTION(from, to, 2, PART(PUT, KEY, .value = 7), PART(PUT, OTHER, .value = 8)),        \
            .lsn = 61                                                                              \
    }

static void a_transaction_is_one_operation(void)
{
    CHECK(LINEARIZABLE, BOTH(1, 2), GET(3, 4, 60, 7), GET_OTHER(5, 6, 61, 8));
    CHECK(LINEARIZABLE, BOTH(1, 9), GET_NONE(2, 3), GET_OTHER(4, 5, 61, 8), GET(6, 7, 60, 7));
    CHECK(NOT_LINEARIZABLE, BOTH(1, 2), GET(3, 4, 60, 7), GET_OTHER_NONE(5, 6));
    CHECK(NOT_LINEARIZABLE, BOTH(1, 9), GET(2, 3, 60, 7), GET_OTHER_NONE(4, 5));
    CHECK(NOT_LINEARIZABLE, BOTH(1, 9), GET_OTHER(2, 3, 61, 8), GET_NONE(4, 5));
    CHECK(NOT_LINEARIZABLE, BOTH(1, 2), GET_OTHER(3, 4, 60, 8)); /* another version */
    CHECK(NOT_LINEARIZABLE, BOTH(1, 2), GET(3, 4, 60, 7), GET(5, 6, 59, 7));
    /* without an answer: all of it or none */
    CHECK(LINEARIZABLE, BOTH(1, UNANSWERED), GET_NONE(2, 3), GET_OTHER_NONE(4, 5));
    CHECK(LINEARIZABLE, BOTH(1, UNANSWERED), GET_NONE(2, 3), GET_OTHER(4, 5, 61, 8),
          GET(6, 7, 60, 7));
    CHECK(NOT_LINEARIZABLE, BOTH(1, UNANSWERED), GET(2, 3, 60, 7), GET_OTHER_NONE(4, 5));
}

/* Only where KEY has version 50 and OTHER none. */
#define IF_BOTH(from, to, ...)                                                                     \
    {                                                                                              \
        TRANSACTION(from, to, 2, PART(DELETE, KEY, .compare = true, .expected = 50),               \
                    PART(CHECK, OTHER, .compare = true)),                                          \
            __VA_ARGS__                                                                            \
    }

static void all_conditions_of_a_transaction_hold_at_once(void)
{
    CHECK(LINEARIZABLE, PUT(1, 2, 50, 7), IF_BOTH(3, 4, .lsn = 62), GET_NONE(5, 6));
    CHECK(NOT_LINEARIZABLE, PUT(1, 2, 51, 7), IF_BOTH(3, 4, .lsn = 62));
    CHECK(NOT_LINEARIZABLE, PUT(1, 2, 50, 7), IF_BOTH(3, 4, .lsn = 62), GET(5, 6, 50, 7));
    CHECK(NOT_LINEARIZABLE, PUT(1, 2, 50, 7), IF_BOTH(3, 4, .lsn = 62), IF_BOTH(5, 6, .lsn = 64));
    CHECK(NOT_LINEARIZABLE, PUT(1, 2, 50, 7), BOTH(3, 4), IF_BOTH(5, 6, .lsn = 62));
    /* refused: the first that did not hold, and what stood there */
    CHECK(LINEARIZABLE, PUT(1, 2, 51, 7), IF_BOTH(3, 4, .status = RING_CONDITION, .lsn = 51),
          GET(5, 6, 51, 7));
    CHECK(LINEARIZABLE, BOTH(1, 2), IF_BOTH(3, 4, .status = RING_CONDITION, .lsn = 60),
          GET(5, 6, 60, 7));
    CHECK(NOT_LINEARIZABLE, PUT(1, 2, 50, 7), IF_BOTH(3, 4, .status = RING_CONDITION, .lsn = 50));
    CHECK(NOT_LINEARIZABLE, PUT(1, 2, 51, 7), IF_BOTH(3, 4, .status = RING_CONDITION, .lsn = 52));
    CHECK(NOT_LINEARIZABLE, PUT(1, 2, 50, 7), IF_BOTH(3, 4, .status = RING_CONDITION, .lsn = 0));
    /* without an answer it cannot have happened where they do not hold */
    CHECK(NOT_LINEARIZABLE, PUT(1, 2, 51, 7), IF_BOTH(3, UNANSWERED, .lsn = 0), GET_NONE(5, 6));
    CHECK(LINEARIZABLE, PUT(1, 2, 50, 7), IF_BOTH(3, UNANSWERED, .lsn = 0), GET_NONE(5, 6));
}

/* Nothing was there to delete: no record, no version. */
static void a_transaction_may_change_nothing(void)
{
#define DELETES(from, to, version_)                                                                \
    {TRANSACTION(from, to, 2, PART(DELETE, KEY, .compare = false),                                 \
                 PART(DELETE, OTHER, .compare = false)),                                           \
     .lsn = (version_)}
    CHECK(LINEARIZABLE, DELETES(1, 2, 0), GET_NONE(3, 4));
    CHECK(NOT_LINEARIZABLE, DELETES(1, 2, 50), GET_NONE(3, 4));
    CHECK(NOT_LINEARIZABLE, PUT(1, 2, 50, 7), DELETES(3, 4, 0));
    CHECK(LINEARIZABLE, BOTH(1, 2), DELETES(3, 4, 70), GET_NONE(5, 6), GET_OTHER_NONE(7, 8));
}

static void other_keys_do_not_count(void)
{
    const struct sim_operation history[] = {
        PUT(1, 2, 50, 7),
        {.kind = OPERATION_DELETE, .key = KEY + 1, .invoked = 3, .returned = 4},
        GET(5, 6, 50, 7),
    };
    CU_ASSERT_EQUAL(judge(history, 3), SIM_SEARCH_LINEARIZABLE);
    CU_ASSERT_EQUAL(sim_search_shard(memory(), history, 3, sim_shard_of(KEY + 1)),
                    SIM_SEARCH_NOT_LINEARIZABLE);
}

/* ---- histories at random ---- */

static uint64_t random_state;

/* splitmix64 */
static uint32_t below(uint32_t n)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)(((z ^ (z >> 31)) >> 32) * n >> 32);
}

/* Registers that work, KEY's and OTHER's: what stands, and the version to give next. */
struct model_register {
    uint64_t version, value;
};
struct model {
    struct model_register at[2];
    uint64_t next;
};

static void execute_transaction(struct model *m, struct sim_operation *o)
{
    o->status = RING_OK;
    o->lsn = 0;
    for (uint32_t i = 0; i < o->part_count; i++) {
        const struct sim_part *part = &o->parts[i];
        uint64_t version = m->at[part->key == OTHER].version;
        if (!part->compare || part->expected == version)
            continue;
        o->status = RING_CONDITION;
        o->lsn = version;
        return;
    }
    for (uint32_t i = 0; i < o->part_count; i++) {
        const struct sim_part *part = &o->parts[i];
        bool gone = part->kind == OPERATION_DELETE, other = part->key == OTHER;
        if (part->kind == OPERATION_CHECK || (gone && m->at[other].version == 0))
            continue;
        o->lsn = m->next++;
        m->at[other].version = gone ? 0 : o->lsn;
        m->at[other].value = gone ? 0 : part->value;
    }
}

static void execute(struct model *all, struct sim_operation *o)
{
    if (o->kind == OPERATION_TRANSACTION) {
        execute_transaction(all, o);
        return;
    }
    struct model_register *m = &all->at[o->key == OTHER];
    bool holds = o->kind != OPERATION_PUT_IF || o->expected == m->version;
    o->status = holds ? RING_OK : RING_CONDITION;
    o->lsn = m->version;
    o->read_value = m->value;
    if ((o->kind == OPERATION_GET || o->kind == OPERATION_DELETE) && m->version == 0)
        o->status = RING_NOT_FOUND;
    if (o->status != RING_OK || o->kind == OPERATION_GET)
        return;
    bool gone = o->kind == OPERATION_DELETE;
    m->version = gone ? 0 : all->next++;
    m->value = gone ? 0 : o->value;
    o->lsn = m->version;
}

/* Of both keys, in any order; one part may have a condition. */
static void make_transaction(const struct model *m, struct sim_operation *o)
{
    uint32_t condition = below(4), first = below(2);
    o->kind = OPERATION_TRANSACTION;
    o->part_count = 2;
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t dice = below(4), other = (first + i) % 2;
        bool compare = condition == i;
        o->parts[i] = (struct sim_part){
            .kind = dice < 3                   ? OPERATION_PUT
                    : compare && below(2) != 0 ? OPERATION_CHECK
                                               : OPERATION_DELETE,
            .compare = compare,
            .key = other != 0 ? OTHER : KEY,
            .expected = below(3) == 0 ? 0 : m->at[other].version,
            .value = o->value + 100000 * (i + 1),
        };
    }
    o->key = o->parts[0].key;
}

/* count operations, each carried out at some moment of its time; abreast: about how many at once. */
static void make(struct sim_operation *history, uint32_t count, uint32_t abreast,
                 uint32_t unanswered_percent)
{
    struct model m = {.next = 50};
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = 10 * (i + 1); /* the moment */
        uint32_t dice = below(10);
        struct sim_operation *o = &history[i];
        *o = (struct sim_operation){
            .kind = dice < 3   ? OPERATION_PUT
                    : dice < 6 ? OPERATION_PUT_IF
                    : dice < 7 ? OPERATION_DELETE
                               : OPERATION_GET,
            .key = below(4) == 0 ? OTHER : KEY,
            .invoked = at - min_u64(at - 1, below(5 * abreast)),
            .returned = at + 1 + below(5 * abreast),
            .expected = below(3) == 0 ? 0 : m.at[0].version,
            .value = 1000 + i,
        };
        if (below(4) == 0)
            make_transaction(&m, o);
        bool answered = below(100) >= unanswered_percent;
        if (answered || below(2) == 0)
            execute(&m, o);
        if (!answered) {
            o->returned = 0;
            o->lsn = o->status = 0;
        }
    }
}

/* Something that somebody was told otherwise, or at another time. */
static void spoil(struct sim_operation *history, uint32_t count)
{
    struct sim_operation *o = &history[below(count)];
    const struct sim_operation *other = &history[below(count)];
    switch (below(5)) {
    case 0:
        o->lsn = other->lsn;
        break;
    case 1:
        o->read_value = other->value;
        break;
    case 2:
        o->status = other->status;
        break;
    case 3:
        o->invoked = o->returned != 0 ? o->returned - 1 : o->invoked;
        break;
    default:
        o->expected = other->lsn;
    }
}

/* ---- by all permutations ---- */

#define SMALL 5u

struct small {
    const struct sim_operation *history;
    uint32_t count;
    uint32_t order[SMALL];
    uint32_t chosen;
};

/* Somebody was told that this version stands. */
static bool shown(uint64_t *version, bool there, uint64_t claimed)
{
    if (!there || claimed == 0)
        return !there && claimed == 0;
    if (*version == UINT64_MAX)
        *version = claimed;
    return *version == claimed;
}

/* What stands; version UINT64_MAX: of a write that did not say it. */
struct replayed {
    bool there;
    uint64_t version, value;
};

static bool replay_transaction(const struct sim_operation *o, struct replayed at[2])
{
    bool told = o->returned != 0, refused = told && o->status == RING_CONDITION;
    if (told && o->status == RING_NOT_FOUND)
        return false;
    for (uint32_t i = 0; i < o->part_count; i++) {
        const struct sim_part *part = &o->parts[i];
        struct replayed *r = &at[part->key == OTHER];
        if (!part->compare)
            continue;
        if (refused)
            return o->lsn != part->expected && shown(&r->version, r->there, o->lsn);
        if (!shown(&r->version, r->there, part->expected))
            return false;
    }
    if (refused)
        return false; /* by no condition */
    struct replayed *last = NULL;
    for (uint32_t i = 0; i < o->part_count; i++) {
        const struct sim_part *part = &o->parts[i];
        struct replayed *r = &at[part->key == OTHER];
        bool gone = part->kind == OPERATION_DELETE;
        if (part->kind == OPERATION_CHECK || (gone && !r->there))
            continue;
        *r = (struct replayed){.there = !gone, .version = UINT64_MAX, .value = part->value};
        last = r;
    }
    if (told && (last != NULL) != (o->lsn != 0))
        return false;
    if (told && last != NULL)
        last->version = o->lsn;
    return true;
}

static bool replay_one(const struct sim_operation *o, struct replayed *r)
{
    bool told = o->returned != 0;
    bool none = told && o->status == RING_NOT_FOUND;
    bool refused = told && o->status == RING_CONDITION;
    bool reads = o->kind == OPERATION_GET;
    bool good = true;
    if (reads || o->kind == OPERATION_DELETE)
        good = !refused && (!told || r->there != none);
    if (reads)
        good = good && told &&
               (none || (r->value == o->read_value && shown(&r->version, r->there, o->lsn)));
    if (o->kind == OPERATION_PUT)
        good = !none && !refused;
    if (o->kind == OPERATION_PUT_IF && refused)
        good = o->lsn != o->expected && shown(&r->version, r->there, o->lsn);
    else if (o->kind == OPERATION_PUT_IF)
        good = !none && shown(&r->version, r->there, o->expected);
    if (!good || reads || refused)
        return good;
    if (told && o->kind != OPERATION_DELETE && o->lsn == 0)
        return false;
    r->there = o->kind != OPERATION_DELETE;
    r->value = r->there ? o->value : 0;
    r->version = told ? o->lsn : UINT64_MAX;
    return true;
}

static bool replay(const struct small *t)
{
    struct replayed at[2] = {{.there = false}};
    for (uint32_t i = 0; i < t->chosen; i++) {
        const struct sim_operation *o = &t->history[t->order[i]];
        bool good = o->kind == OPERATION_TRANSACTION ? replay_transaction(o, at)
                                                     : replay_one(o, &at[o->key == OTHER]);
        if (!good)
            return false;
    }
    return true;
}

static bool is_chosen(const struct small *t, uint32_t n)
{
    for (uint32_t i = 0; i < t->chosen; i++)
        if (t->order[i] == n)
            return true;
    return false;
}

/* Real time is kept, and nothing that was answered is left out. */
static bool is_in_time(const struct small *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (t->history[i].returned != 0 && !is_chosen(t, i))
            return false;
    for (uint32_t i = 0; i < t->chosen; i++)
        for (uint32_t j = i + 1; j < t->chosen; j++) {
            const struct sim_operation *later = &t->history[t->order[j]];
            if (later->returned != 0 && later->returned < t->history[t->order[i]].invoked)
                return false;
        }
    return true;
}

static bool any_permutation(struct small *t)
{
    if (is_in_time(t) && replay(t))
        return true;
    for (uint32_t n = 0; n < t->count; n++) {
        if (is_chosen(t, n))
            continue;
        t->order[t->chosen++] = n;
        bool found = any_permutation(t);
        t->chosen--;
        if (found)
            return true;
    }
    return false;
}

static void the_search_agrees_with_all_permutations(void)
{
    uint32_t linearizable = 0, not_linearizable = 0, differ = 0;
    random_state = 1;
    for (uint32_t i = 0; i < 20000; i++) {
        struct sim_operation history[SMALL];
        uint32_t count = 2 + below(SMALL - 1);
        make(history, count, 8, 25);
        for (uint32_t n = below(8); n != 0; n--)
            spoil(history, count);
        struct small t = {.history = history, .count = count};
        bool expected = any_permutation(&t);
        linearizable += expected;
        not_linearizable += !expected;
        differ += (judge(history, count) == SIM_SEARCH_LINEARIZABLE) != expected;
    }
    printf("\n    %u linearizable, %u not ", linearizable, not_linearizable);
    CU_ASSERT_EQUAL(differ, 0);
    CU_ASSERT(linearizable > 2000 && not_linearizable > 2000);
}

#define LONG 1024u

static void long_histories_are_searched_whole(void)
{
    static struct sim_operation history[LONG];
    uint32_t found = 0;
    for (uint32_t i = 1; i <= 100; i++) {
        random_state = i;
        make(history, LONG, 4, i % 2);
        CU_ASSERT_EQUAL(judge(history, LONG), SIM_SEARCH_LINEARIZABLE);
        /* a reader in the middle saw a write of the beginning */
        const struct sim_operation *old = history;
        while (old->kind != OPERATION_PUT || old->returned == 0)
            old++;
        struct sim_operation *o = &history[LONG / 2];
        *o = (struct sim_operation)GET(o->invoked, o->invoked + 1, old->lsn, old->value);
        enum sim_search_result result = judge(history, LONG);
        CU_ASSERT_NOT_EQUAL(result, SIM_SEARCH_LINEARIZABLE);
        found += result == SIM_SEARCH_NOT_LINEARIZABLE;
    }
    CU_ASSERT(found >= 95); /* unanswered ones may make too many states */
}

static void what_there_is_no_room_for_is_undecided(void)
{
    static struct sim_operation history[SIM_SEARCH_ANSWERED + 1];
    random_state = 7;
    make(history, SIM_SEARCH_ANSWERED + 1, 2, 0);
    CU_ASSERT_EQUAL(judge(history, SIM_SEARCH_ANSWERED + 1), SIM_SEARCH_UNDECIDED);
    make(history, 2 * SIM_SEARCH_UNANSWERED, 2, 0);
    for (uint32_t i = 0; i <= SIM_SEARCH_UNANSWERED; i++)
        history[i] = (struct sim_operation)PUT(1, UNANSWERED, 0, 7);
    CU_ASSERT_EQUAL(judge(history, 2 * SIM_SEARCH_UNANSWERED), SIM_SEARCH_UNDECIDED);
    /* all at the same time */
    for (uint32_t i = 0; i <= SIM_SEARCH_ABREAST; i++)
        history[i] = (struct sim_operation)PUT(1, 9, 50 + i, 7 + i);
    CU_ASSERT_EQUAL(judge(history, SIM_SEARCH_ABREAST + 1), SIM_SEARCH_UNDECIDED);
    CU_ASSERT_EQUAL(judge(history, 6), SIM_SEARCH_LINEARIZABLE);
}

static const struct unit_test tests[] = {
    UNIT_TEST(what_a_register_can_do_is_linearizable),
    UNIT_TEST(what_no_register_does_is_not),
    UNIT_TEST(compares_hold_once),
    UNIT_TEST(what_was_not_answered_may_happen_or_not),
    UNIT_TEST(a_transaction_is_one_operation),
    UNIT_TEST(all_conditions_of_a_transaction_hold_at_once),
    UNIT_TEST(a_transaction_may_change_nothing),
    UNIT_TEST(other_keys_do_not_count),
    UNIT_TEST(the_search_agrees_with_all_permutations),
    UNIT_TEST(long_histories_are_searched_whole),
    UNIT_TEST(what_there_is_no_room_for_is_undecided),
};
UNIT_MAIN("search", tests)
