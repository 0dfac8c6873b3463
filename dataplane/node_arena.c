#include "dataplane/node_arena.h"

#include "dataplane/node_space.h"

#define STEP_SHARE 8u /* of the chunks, that go at a time */

static uint32_t chunk_count(const struct node_space *s)
{
    /* relaxed, here and below: control alone writes it */
    return atomic_load_explicit(&s->header->chunk_count, memory_order_relaxed);
}

static uint64_t leave_word(const struct node_space *s)
{
    return atomic_load_explicit(&s->header->leave, memory_order_relaxed);
}

static void leave_store(struct node *n, struct node_space *s, uint32_t chunk)
{
    uint32_t number = (uint32_t)(leave_word(s) >> 32) + 1;
    /* A1, A3 */
    atomic_store_explicit(&s->header->leave, layout_leave(number, chunk), memory_order_release);
    /* release: who sees the round sees the word */
    atomic_fetch_add_explicit(&n->arena_round, 1, memory_order_release);
}

/* ---- whether there is reason to ask ---- */

static uint64_t lsn_sum(const struct node_space *s)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < s->config.shard_count; i++)
        /* relaxed: a number that only grows */
        sum += atomic_load_explicit(&s->boards[i].lsn_end, memory_order_relaxed);
    return sum;
}

/* Since it last wrote as much as a chunk holds. */
static bool is_quiet(struct node_space *s, uint64_t now_ns)
{
    struct node_arena *a = &s->giving;
    uint64_t sum = lsn_sum(s);
    if (a->quiet_since_ns == 0 || sum - a->lsn_sum >= UINT64_C(1) << s->geometry.chunk_shift ||
        sum < a->lsn_sum) {
        a->lsn_sum = sum;
        a->quiet_since_ns = now_ns;
    }
    return now_ns - a->quiet_since_ns >= NODE_ARENA_QUIET_NS;
}

static uint32_t chunks_least(const struct layout_geometry *g)
{
    uint64_t frames = (uint64_t)LIMIT_SHARD_FRAMES_MIN * g->shard_count;
    return (uint32_t)((frames + g->frames_per_chunk - 1) / g->frames_per_chunk);
}

void node_arena_leave(struct node *n, struct node_space *s, uint32_t chunk, uint64_t now_ns)
{
    s->giving.asked_ns = now_ns;
    /* relaxed: a number; whoever wants more than that from now on says so again */
    atomic_store_explicit(&s->chunks_wanted, chunk, memory_order_relaxed);
    leave_store(n, s, chunk);
}

static void begin(struct node *n, struct node_space *s, uint64_t now_ns)
{
    uint32_t count = chunk_count(s), least = chunks_least(&s->geometry);
    uint32_t limit = atomic_load_explicit(&s->header->chunk_limit, memory_order_relaxed);
    bool quiet = is_quiet(s, now_ns);
    uint32_t step = count / STEP_SHARE != 0 && !s->giving.refused ? count / STEP_SHARE : 1;
    if (count <= least || now_ns < s->giving.pause_until_ns || (!quiet && count <= limit))
        return;
    node_arena_leave(n, s, (uint32_t)max_u64(count - step, least), now_ns);
}

/* ---- what the shards say ---- */

static void give_up(struct node *n, struct node_space *s, uint64_t now_ns)
{
    /* Why at once where it was refused and could be less. */
    bool again = !s->giving.refused && chunk_count(s) / STEP_SHARE > 1;
    s->giving.refused = again;
    s->giving.pause_until_ns = again ? now_ns : now_ns + NODE_ARENA_PAUSE_NS;
    leave_store(n, s, LAYOUT_LEAVE_NONE);
}

/* 1 all have left, 0 not yet, -EBUSY one refused. */
static int answers(const struct node_space *s)
{
    uint64_t word = leave_word(s);
    int left = 1;
    for (uint32_t i = 0; i < s->config.shard_count; i++) {
        /* A2 */
        uint64_t answer = atomic_load_explicit(&s->boards[i].leave_answer, memory_order_acquire);
        if (answer == (word | LAYOUT_LEAVE_REFUSED))
            return -EBUSY;
        left = answer == word ? left : 0;
    }
    return left;
}

static uint32_t take(struct node *n, struct node_space *s)
{
    uint32_t chunk = (uint32_t)leave_word(s), count = chunk_count(s);
    uint32_t generation =
        atomic_load_explicit(&s->header->arena_generation, memory_order_relaxed) + 1;
    /* A3 */
    atomic_store_explicit(&s->header->chunk_count, chunk, memory_order_release);
    atomic_store_explicit(&s->header->arena_generation, generation, memory_order_release);
    for (uint32_t i = chunk; i < count; i++)
        node_chunk_destroy(n, s, i);
    s->giving.refused = false;
    s->giving.taken += count - chunk;
    leave_store(n, s, LAYOUT_LEAVE_NONE);
    return count - chunk;
}

uint32_t node_arena_step(struct node *n, struct node_space *s, uint64_t now_ns)
{
    uint64_t word = leave_word(s);
    if (word == 0 || (uint32_t)word == LAYOUT_LEAVE_NONE) {
        begin(n, s, now_ns);
        return 0;
    }
    int left = answers(s);
    bool wanted = atomic_load_explicit(&s->chunks_wanted, memory_order_relaxed) > (uint32_t)word;
    if (left < 0 || wanted || (left == 0 && now_ns - s->giving.asked_ns >= NODE_ARENA_LEAVE_NS))
        give_up(n, s, now_ns);
    else if (left == 0)
        /* relaxed: they look once more */
        atomic_fetch_add_explicit(&n->arena_round, 1, memory_order_relaxed);
    if (left <= 0 || wanted)
        return 0;
    uint32_t taken = take(n, s);
    begin(n, s, now_ns);
    return taken;
}
