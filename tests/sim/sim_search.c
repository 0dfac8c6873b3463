#include "tests/sim/sim_search.h"

#include <stdlib.h>
#include <string.h>

#define BIT(n) (UINT64_C(1) << (n))

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
    return e->done.base == l->done.base &&
           memcmp(e->done.window, l->done.window, sizeof l->done.window) == 0 &&
           (e->done.unanswered & ~l->done.unanswered) == 0 && sim_model_equal(&e->state, &l->state);
}

/* True: it is new, and remembered now. */
static bool remember(struct sim_search *q, const struct sim_search_level *l)
{
    uint64_t hash = l->done.base;
    for (uint32_t i = 0; i < SIM_SEARCH_WORDS; i++)
        hash = mix(hash, l->done.window[i]);
    for (uint32_t i = 0; i < SIM_MODEL_KEYS; i++)
        hash = mix(mix(mix(hash, l->state.keys[i].version), l->state.keys[i].value),
                   l->state.keys[i].token);
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

static bool bit_is_set(const uint64_t *words, uint32_t n)
{
    return (words[n / 64] & BIT(n % 64)) != 0;
}

/* The first that is set; SIM_SEARCH_ABREAST: none is. */
static uint32_t bit_first(const uint64_t *words)
{
    for (uint32_t i = 0; i < SIM_SEARCH_WORDS; i++)
        if (words[i] != 0)
            return 64 * i + (uint32_t)__builtin_ctzll(words[i]);
    return SIM_SEARCH_ABREAST;
}

/* What is done at the front of the window is below base. */
static void window_slide(struct sim_search_done *d)
{
    uint32_t count = 0;
    while (count < SIM_SEARCH_ABREAST && bit_is_set(d->window, count))
        count++;
    d->base += count;
    for (uint32_t i = 0; i < SIM_SEARCH_WORDS; i++) {
        uint32_t from = i + count / 64;
        uint64_t low = from < SIM_SEARCH_WORDS ? d->window[from] : 0;
        uint64_t high = from + 1 < SIM_SEARCH_WORDS ? d->window[from + 1] : 0;
        d->window[i] = count % 64 == 0 ? low : low >> count % 64 | high << (64 - count % 64);
    }
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
        if (!bit_is_set(l->done.window, n))
            first = min_u64(first, o->returned);
    }
    while (n != 0 && q->operations[l->done.base + n - 1].invoked > first)
        n--;
    memset(l->window, 0, sizeof l->window);
    for (uint32_t i = 0; i < n; i++)
        if (!bit_is_set(l->done.window, i))
            l->window[i / 64] |= BIT(i % 64);
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
    uint32_t n = bit_first(l->window);
    if (n != SIM_SEARCH_ABREAST) {
        l->window[n / 64] &= ~BIT(n % 64);
        next->done.window[n / 64] |= BIT(n % 64);
        window_slide(&next->done);
        return l->done.base + n;
    }
    n = (uint32_t)__builtin_ctzll(l->unanswered);
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
    q->levels[0] = (struct sim_search_level){.done = {.base = 0}};
    candidates(q, &q->levels[0]);
    while (!q->no_room && q->remembered <= SIM_SEARCH_MEMORY / 4 * 3) {
        struct sim_search_level *l = &q->levels[depth];
        if (l->done.base == q->answered)
            return SIM_SEARCH_LINEARIZABLE;
        if (bit_first(l->window) == SIM_SEARCH_ABREAST && l->unanswered == 0) {
            if (depth-- == 0)
                return SIM_SEARCH_NOT_LINEARIZABLE;
            continue;
        }
        struct sim_search_level next;
        uint32_t n = take(l, &next);
        if (!sim_model_step(&q->operations[n], &next.state))
            continue;
        if (n < SIM_SEARCH_ANSWERED && sim_model_equal(&next.state, &l->state)) {
            /* Why no other: it changes nothing, so wherever else it fits, it fits here as well. */
            memset(l->window, 0, sizeof l->window);
            l->unanswered = 0;
        }
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

/* One without an answer, to happen or not. */
static void add_unanswered(struct sim_search *q, const struct sim_operation *o, int64_t number)
{
    q->no_room |= q->unanswered == SIM_SEARCH_UNANSWERED;
    if (q->no_room)
        return;
    struct sim_operation *added = &q->operations[SIM_SEARCH_ANSWERED + q->unanswered++];
    *added = *o;
    added->returned = 0;
    added->lsn = 0;
    added->number = number;
}

/* An operation, as it was known at a time. */
static void add(struct sim_search *q, const struct sim_operation *o, uint64_t now)
{
    bool changed = !sim_model_is_answered(o) || o->status == RING_OK;
    if (sim_is_once(o->key))
        return; /* nobody else asks for it */
    if (o->returned != 0 && o->status == RING_FATE_UNKNOWN)
        return; /* its session was forgotten before */
    if (sim_model_is_answered(o) && o->returned <= now) {
        q->no_room |= q->answered == SIM_SEARCH_ANSWERED;
        if (!q->no_room)
            q->operations[q->answered++] = *o;
    } else if (o->kind != OPERATION_GET && changed) {
        add_unanswered(q, o, 1);
        if (o->kind == OPERATION_TRANSACTION && sim_model_has_else(o))
            add_unanswered(q, o, 0); /* one of both, which nobody knows */
    }
}

enum sim_search_result sim_search_shard(struct sim_search *q, const struct sim_operation *history,
                                        uint32_t count, uint32_t shard)
{
    begin(q);
    for (uint32_t i = 0; i < count; i++)
        if (sim_shard_of(history[i].key) == shard)
            add(q, &history[i], UINT64_MAX);
    return search(q);
}

/* ---- a simulated history: operations and reads in place, each in the order of the answers ---- */

/* The next of both that was answered. */
static const struct sim_operation *next_of(const struct sim *s, uint32_t *operation,
                                           uint32_t *place)
{
    while (*operation < s->operation_count && s->history[*operation].returned == 0)
        ++*operation;
    const struct sim_operation *a =
        *operation < s->operation_count ? &s->history[*operation] : NULL;
    const struct sim_operation *b = *place < s->place_count ? sim_place(s, *place) : NULL;
    bool is_a = a != NULL && (b == NULL || a->returned <= b->returned);
    ++*(is_a ? operation : place);
    return is_a ? a : b;
}

/* When the last answer came that there is room for. */
static uint64_t time_searched(const struct sim *s, uint32_t shard)
{
    uint32_t answered = 0, operation = 0, place = 0;
    const struct sim_operation *o;
    while ((o = next_of(s, &operation, &place)) != NULL)
        if (sim_shard_of(o->key) == shard && !sim_is_once(o->key) && sim_model_is_answered(o) &&
            ++answered == SIM_SEARCH_ANSWERED)
            return o->returned;
    return UINT64_MAX;
}

static void add_until(struct sim_search *q, const struct sim_operation *o, uint32_t shard,
                      uint64_t end)
{
    if (sim_shard_of(o->key) == shard && o->invoked <= end)
        add(q, o, end);
}

static enum sim_search_result search_sim(struct sim_search *q, const struct sim *s, uint32_t shard)
{
    uint64_t end = time_searched(s, shard);
    begin(q);
    for (uint32_t i = 0; i < s->operation_count; i++)
        add_until(q, &s->history[i], shard, end);
    for (uint32_t i = 0; i < s->place_count; i++)
        add_until(q, sim_place(s, i), shard, end);
    for (uint32_t i = 0; i < SIM_CLIENTS; i++) {
        const struct sim_client *c = &s->clients[i];
        if (c->busy && !c->opening && !c->closing)
            add_until(q, &c->now, shard, end);
    }
    return search(q);
}

bool sim_search(const struct sim *s, uint32_t *shard, uint32_t *undecided)
{
    static struct sim_search q;
    *undecided = 0;
    for (*shard = 0; *shard < SIM_SHARDS; ++*shard) {
        enum sim_search_result result = search_sim(&q, s, *shard);
        if (result == SIM_SEARCH_NOT_LINEARIZABLE)
            return false;
        *undecided += result == SIM_SEARCH_UNDECIDED;
    }
    return true;
}
