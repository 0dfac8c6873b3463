#include "tests/sim/sim_search.h"

#include "engine/ring.h"

#include <stdlib.h>

#define NOTHING SIM_SEARCH_NOTHING
#define BIT(n) (UINT64_C(1) << (n))

/* ---- the register ---- */

static bool is_answered(const struct sim_operation *o)
{
    return o->returned != 0 &&
           (o->status == RING_OK || o->status == RING_CONDITION || o->status == RING_NOT_FOUND);
}

/* Does this version stand?  One that nobody has shown is learned from who shows it first. */
static bool stands(struct sim_search_state *state, uint64_t version)
{
    if (version == 0 || state->writer == NOTHING)
        return version == 0 && state->writer == NOTHING;
    if (state->version == 0)
        state->version = version;
    return state->version == version;
}

static bool is_equal(const struct sim_search_state *a, const struct sim_search_state *b)
{
    return a->writer == b->writer && a->version == b->version;
}

static void write_at(struct sim_search_state *state, uint32_t writer, uint64_t version)
{
    *state = (struct sim_search_state){.writer = writer, .version = version};
}

/* An operation without an answer, with the effect that it may have. */
static bool step_unanswered(const struct sim_operation *o, uint32_t n,
                            struct sim_search_state *state)
{
    switch (o->kind) {
    case OPERATION_PUT:
        write_at(state, n, 0);
        return true;
    case OPERATION_PUT_IF:
        if (!stands(state, o->expected))
            return false;
        write_at(state, n, 0);
        return true;
    case OPERATION_DELETE:
        write_at(state, NOTHING, 0);
        return true;
    default:
        return false;
    }
}

static bool step_get(const struct sim_search *q, const struct sim_operation *o,
                     struct sim_search_state *state)
{
    if (o->status != RING_OK)
        return o->status == RING_NOT_FOUND && state->writer == NOTHING;
    return state->writer != NOTHING && q->operations[state->writer].value == o->read_value &&
           stands(state, o->lsn);
}

static bool step_put_if(const struct sim_operation *o, uint32_t n, struct sim_search_state *state)
{
    if (o->status == RING_CONDITION)
        return o->lsn != o->expected && stands(state, o->lsn);
    if (o->status != RING_OK || o->lsn == 0 || !stands(state, o->expected))
        return false;
    write_at(state, n, o->lsn);
    return true;
}

/* Operation n is next: what it leaves.  False: it would have been answered otherwise. */
static bool step(const struct sim_search *q, uint32_t n, struct sim_search_state *state)
{
    const struct sim_operation *o = &q->operations[n];
    if (!is_answered(o))
        return step_unanswered(o, n, state);
    switch (o->kind) {
    case OPERATION_GET:
        return step_get(q, o, state);
    case OPERATION_PUT_IF:
        return step_put_if(o, n, state);
    case OPERATION_DELETE:
        if ((o->status == RING_OK) != (state->writer != NOTHING) || o->status == RING_CONDITION)
            return false;
        write_at(state, NOTHING, 0);
        return true;
    default:
        write_at(state, n, o->lsn);
        return o->status == RING_OK && o->lsn != 0;
    }
}

/* ---- what was tried ---- */

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

/* What was tried was left with nothing less to choose from: the same answered operations done, the
 * same state, and no unanswered one used that is not used here too. */
static bool is_covered(const struct sim_search_level *l, const struct sim_search_entry *e)
{
    return e->done.base == l->done.base && e->done.window == l->done.window &&
           (e->done.unanswered & ~l->done.unanswered) == 0 && is_equal(&e->state, &l->state);
}

/* True: it is new, and remembered now. */
static bool remember(struct sim_search *q, const struct sim_search_level *l)
{
    uint64_t hash = mix(mix(l->done.base, l->done.window), l->state.writer);
    hash = mix(hash, l->state.version);
    for (uint32_t at = (uint32_t)hash;; at++) {
        struct sim_search_entry *e = &q->memory[at % SIM_SEARCH_MEMORY];
        if (e->run != q->run) {
            *e = (struct sim_search_entry){.done = l->done, .state = l->state, .run = q->run};
            q->remembered++;
            return true;
        }
        if (is_covered(l, e))
            return false;
    }
}

/* ---- the search ---- */

static uint64_t bits_below(uint32_t n)
{
    return n == 64 ? UINT64_MAX : BIT(n) - 1;
}

/* Operations that may be next: not done, and none that is not done was answered before they began.
 * Those with an answer are in the order of their invocation, so the first that begins too late ends
 * the look. */
static void candidates(struct sim_search *q, struct sim_search_level *l)
{
    uint64_t first = UINT64_MAX; /* answer to what is not done */
    uint32_t n = 0;
    for (; l->done.base + n < q->answered; n++) {
        const struct sim_operation *o = &q->operations[l->done.base + n];
        if (o->invoked > first)
            break;
        if (n == SIM_SEARCH_ABREAST) {
            q->no_room = true;
            break;
        }
        if ((l->done.window & BIT(n)) == 0)
            first = min_u64(first, o->returned);
    }
    while (n != 0 && q->operations[l->done.base + n - 1].invoked > first)
        n--;
    l->window = ~l->done.window & bits_below(n);
    l->unanswered = 0;
    for (uint32_t i = 0; i < q->unanswered; i++)
        if (q->operations[SIM_SEARCH_ANSWERED + i].invoked <= first)
            l->unanswered |= BIT(i) & ~l->done.unanswered;
}

/* Take one that may be next off the level: it is done in *next.  An answered one first, since the
 * others need not have happened.  Returns which. */
static uint32_t take(struct sim_search_level *l, struct sim_search_level *next)
{
    *next = (struct sim_search_level){.done = l->done, .state = l->state};
    if (l->window != 0) {
        uint32_t n = (uint32_t)__builtin_ctzll(l->window);
        l->window &= l->window - 1;
        next->done.window |= BIT(n);
        for (; next->done.window & 1; next->done.window >>= 1)
            next->done.base++;
        return l->done.base + n;
    }
    uint32_t n = (uint32_t)__builtin_ctzll(l->unanswered);
    l->unanswered &= l->unanswered - 1;
    next->done.unanswered |= BIT(n);
    return SIM_SEARCH_ANSWERED + n;
}

static int by_invocation(const void *a, const void *b)
{
    const struct sim_operation *x = a, *y = b;
    return (x->invoked > y->invoked) - (x->invoked < y->invoked);
}

static enum sim_search_result search(struct sim_search *q)
{
    uint32_t depth = 0;
    qsort(q->operations, q->answered, sizeof q->operations[0], by_invocation);
    q->run++;
    q->remembered = 0;
    q->levels[0] = (struct sim_search_level){.state = {.writer = NOTHING}};
    candidates(q, &q->levels[0]);
    while (!q->no_room && q->remembered <= SIM_SEARCH_MEMORY / 4 * 3) {
        struct sim_search_level *l = &q->levels[depth];
        if (l->done.base == q->answered)
            return SIM_SEARCH_LINEARIZABLE;
        if (l->window == 0 && l->unanswered == 0) {
            if (depth-- == 0)
                return SIM_SEARCH_NOT_LINEARIZABLE;
            continue;
        }
        struct sim_search_level next;
        uint32_t n = take(l, &next);
        if (!step(q, n, &next.state))
            continue;
        if (n < SIM_SEARCH_ANSWERED && is_equal(&next.state, &l->state))
            /* Why no other: it changes nothing, so wherever else it fits, it fits here as well. */
            l->window = l->unanswered = 0;
        if (!remember(q, &next))
            continue;
        candidates(q, &next);
        q->levels[++depth] = next;
    }
    return SIM_SEARCH_UNDECIDED;
}

/* ---- what is searched ---- */

static void begin(struct sim_search *q)
{
    q->answered = 0;
    q->unanswered = 0;
    q->no_room = false;
}

/* An operation, as it was known at a time. */
static void add(struct sim_search *q, const struct sim_operation *o, uint64_t now)
{
    bool changed = !is_answered(o) || o->status == RING_OK;
    if (is_answered(o) && o->returned <= now) {
        q->no_room |= q->answered == SIM_SEARCH_ANSWERED;
        if (!q->no_room)
            q->operations[q->answered++] = *o;
    } else if (o->kind != OPERATION_GET && changed) {
        q->no_room |= q->unanswered == SIM_SEARCH_UNANSWERED;
        if (!q->no_room)
            q->operations[SIM_SEARCH_ANSWERED + q->unanswered++] = *o;
    }
}

enum sim_search_result sim_search_key(struct sim_search *q, const struct sim_operation *history,
                                      uint32_t count, uint32_t key)
{
    begin(q);
    for (uint32_t i = 0; i < count; i++)
        if (history[i].key == key)
            add(q, &history[i], UINT64_MAX);
    return search(q);
}

/* ---- a simulated history, which is in the order of the answers ---- */

/* When the last answer came that there is room for. */
static uint64_t time_searched(const struct sim *s, uint32_t key)
{
    uint32_t answered = 0;
    for (uint32_t i = 0; i < s->operation_count; i++) {
        const struct sim_operation *o = &s->history[i];
        if (o->key == key && is_answered(o) && ++answered == SIM_SEARCH_ANSWERED)
            return o->returned;
    }
    return UINT64_MAX;
}

static enum sim_search_result search_sim(struct sim_search *q, const struct sim *s, uint32_t key)
{
    uint64_t end = time_searched(s, key);
    begin(q);
    for (uint32_t i = 0; i < s->operation_count; i++)
        if (s->history[i].key == key && s->history[i].invoked <= end)
            add(q, &s->history[i], end);
    for (uint32_t i = 0; i < SIM_CLIENTS; i++) {
        const struct sim_client *c = &s->clients[i];
        if (c->busy && !c->opening && c->now.key == key && c->now.invoked <= end)
            add(q, &c->now, end);
    }
    return search(q);
}

bool sim_search(const struct sim *s, uint32_t *key, uint32_t *undecided)
{
    static struct sim_search q;
    *undecided = 0;
    for (*key = 0; *key < SIM_KEYS; ++*key) {
        enum sim_search_result result = search_sim(&q, s, *key);
        if (result == SIM_SEARCH_NOT_LINEARIZABLE)
            return false;
        *undecided += result == SIM_SEARCH_UNDECIDED;
    }
    return true;
}
