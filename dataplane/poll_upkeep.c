#include "dataplane/agent_rate.h"
#include "dataplane/lcore_cluster.h"

#include "engine/leave.h"

#include <string.h>

/* Sessions looked at in one go. */
#define SWEEP_SESSIONS 64u
/* Stores to lines that agents read are spared until they are worth it. */
#define RENEW_SHARE 16u
#define STALLS_PER_LEASE 4u

static void generation_change(struct lcore *l)
{
    uint64_t generation = atomic_load_explicit(&l->lease->generation, memory_order_relaxed) + 1;
    /* release: the new generation is there before any new deadline; pairs with R7 */
    atomic_store_explicit(&l->lease->generation, generation, memory_order_release);
    for (uint32_t i = 0; i < l->shard_count; i++)
        atomic_store_explicit(&l->shards[i]->board->lease_generation,
                              generation << 1 | LAYOUT_GENERATION_MAY_READ, memory_order_release);
}

/* The only voter of its shards asks itself: granted at once, and counted from before the asking. */
void poll_lease(struct lcore *l)
{
    uint64_t deadline = l->now + l->ticks.lease;
    if (deadline - l->ticks_deadline < l->ticks.lease / RENEW_SHARE)
        return;
    if (l->cluster != NULL) {
        /* Its lease is the voters' to give; that the lcore lives is still to be said. */
        l->ticks_deadline = deadline;
        atomic_store_explicit(&l->shared->ticks_alive, l->now, memory_order_relaxed);
        return;
    }
    atomic_store_explicit(&l->shared->ticks_alive, l->now, memory_order_relaxed);
    if (l->ticks_deadline == 0 || l->now >= l->ticks_deadline)
        generation_change(l);
    l->ticks_deadline = deadline;
    if (!l->node->config.lease_virtual)
        /* release: pairs with R7 */
        atomic_store_explicit(&l->lease->ticks_deadline, deadline, memory_order_release);
}

static bool agent_pins(const struct lcore *l, uint32_t slot, uint64_t pin)
{
    const struct agent *a = lcore_agent(l, slot);
    if (a == NULL)
        return false;
    for (unsigned i = 0; i < LIMIT_PINS; i++)
        /* relaxed: ordered by the fence of W2 */
        if (atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)&a->pins->pin[i],
                                 memory_order_relaxed) == pin)
            return true;
    return false;
}

static bool is_pinned(void *context, uint32_t frame)
{
    const struct pin_question *q = context;
    uint64_t pin = ring_pin_make(q->space, frame);
    uint32_t slots = atomic_load_explicit(&q->lcore->node->agent_slots, memory_order_acquire);
    for (uint32_t slot = 0; slot < slots; slot++) {
        if (agent_pins(q->lcore, slot, pin)) {
            counter_add(q->lcore->counters, COUNTER_SEGMENTS_PINNED, 1);
            return true;
        }
    }
    return false;
}

static void grace_over(struct qsbr_head *head)
{
    struct lcore *l = (struct lcore *)(void *)((uint8_t *)head - offsetof(struct lcore, grace));
    /* release: pairs with the acquire in now_make; started was set before the call */
    atomic_fetch_add_explicit(&l->grace_done, 1, memory_order_release);
}

/* Begin a grace period if frames wait for one and none is on its way.  A single lcore is the only
 * reader in the daemon, and it is quiescent here: its grace periods are over as they begin. */
static void grace_begin(struct lcore *l)
{
    if (atomic_load_explicit(&l->grace_done, memory_order_acquire) != l->grace_started)
        return;
    l->grace_started++;
    if (l->node->config.lcore_count == 1)
        atomic_store_explicit(&l->grace_done, l->grace_started, memory_order_relaxed);
    else
        qsbr_defer(&l->grace, grace_over);
}

/* Chunks that may be used: those that exist and are not to go. */
static uint32_t chunks_there(const struct layout_space *header)
{
    /* relaxed: numbers; a late look only delays */
    uint32_t count = atomic_load_explicit((_Atomic uint32_t *)(uintptr_t)&header->chunk_count,
                                          memory_order_relaxed);
    uint64_t leave =
        atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)&header->leave, memory_order_relaxed);
    return leave != 0 && (uint32_t)leave < count ? (uint32_t)leave : count;
}

static void chunks_ask(struct lcore *l, const struct shard *s)
{
    const struct layout_space *header = s->frames.header;
    uint32_t wanted = atomic_load_explicit(s->frames.chunks_wanted, memory_order_relaxed);
    if (wanted <= chunks_there(header))
        return; /* told of again if it is more once more: arena_look */
    if (wanted <= l->chunks_told[header->id] || l->node->wake_control == NULL)
        return;
    l->chunks_told[header->id] = wanted;
    l->node->wake_control(l->node->wake_context);
}

static bool is_held(void *context, uint32_t frame)
{
    const struct pin_question *q = context;
    return poll_cluster_holds(q->lcore, q->space, frame);
}

void poll_reclaim(struct lcore *l)
{
    l->question.lcore = l;
    l->reclaim = (struct reclaim_now){
        .ticks = l->now,
        .view_ticks = l->ticks.view,
        .ticket_next = l->grace_started + 1,
        .ticket_done = atomic_load_explicit(&l->grace_done, memory_order_acquire),
        .pinned = is_pinned,
        .held = l->cluster != NULL ? is_held : NULL,
        .context = &l->question,
    };
}

/* Shards whose spaces' last chunks are to go, or went, have something to do. */
static void arena_look(struct lcore *l)
{
    /* acquire: pairs with node_arena.c */
    uint64_t round = atomic_load_explicit(&l->node->arena_round, memory_order_acquire);
    if (LIKELY(round == l->arena_round))
        return;
    l->arena_round = round;
    agent_rate_look(l);
    /* Why: the next wish is to be heard, though it may be no larger than one before. */
    memset(l->chunks_told, 0, sizeof l->chunks_told);
    for (uint32_t i = 0; i < l->shard_count; i++)
        /* Why so: it is maintained once its answers are taken, and an idle one's may not be yet. */
        if (leave_is_due(&l->shards[i]->frames))
            lcore_mark_dirty(l, l->shards[i]);
}

static void maintain_active(struct lcore *l)
{
    /* relaxed: a number that only grows */
    uint64_t ceiling = atomic_load_explicit(&l->node->lsn_ceiling, memory_order_relaxed);
    bool retired = false;
    uint32_t kept = 0;
    poll_reclaim(l);
    for (uint32_t i = 0; i < l->active_count; i++) {
        struct shard *s = l->active[i];
        l->question.space = s->frames.header->id;
        shard_grant(s, ceiling);
        s->active = shard_maintain(s, &l->reclaim);
        chunks_ask(l, s);
        retired |= s->reclaim.count != 0;
        if (s->active)
            l->active[kept++] = s;
    }
    l->active_count = kept;
    if (retired)
        grace_begin(l);
}

static void sweep_sessions(struct lcore *l)
{
    if (l->now - l->ticks_upkeep < l->ticks.sweep_sessions || l->shard_count == 0)
        return;
    l->ticks_upkeep = l->now;
    l->clock_ns = clock_realtime_ns();
    struct shard *s = l->shards[l->sweep_shard++ % l->shard_count];
    uint64_t end = s->log.lsn_end;
    if (!poll_cluster_may_write(l, s))
        return;
    shard_sweep_sessions(s, SWEEP_SESSIONS, l->clock_ns);
    if (s->log.lsn_end != end)
        lcore_mark_dirty(l, s);
}

/* A pass took so long that leases are in danger: counted, and the longest one kept.  Why from clock
 * to clock: whoever held the processor meanwhile is part of it, but a sleep is not. */
static void stall_count(struct lcore *l)
{
    uint64_t ticks = l->now - l->ticks_passed;
    bool stalled = l->ticks_passed != 0 && ticks > l->ticks.lease / STALLS_PER_LEASE;
    l->ticks_passed = l->now;
    if (LIKELY(!stalled))
        return;
    _Atomic uint64_t *longest = &l->counters->value[COUNTER_STALL_LONGEST_NS];
    uint64_t ns = clock_ticks_to_ns(ticks, l->node->ticks_per_s);
    counter_add(l->counters, COUNTER_STALLS, 1);
    /* relaxed: one writer, and readers want no more than a recent number */
    if (ns > atomic_load_explicit(longest, memory_order_relaxed))
        atomic_store_explicit(longest, ns, memory_order_relaxed);
}

void poll_upkeep(struct lcore *l)
{
    stall_count(l);
    poll_cluster_publish(l);
    arena_look(l);
    if (l->active_count != 0)
        maintain_active(l);
    sweep_sessions(l);
    poll_expiry(l);
    poll_keys_show(l);
}
