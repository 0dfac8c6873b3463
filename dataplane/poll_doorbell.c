#include "dataplane/lcore_cluster.h"

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

/* With housekeeping to do, or an agent that takes no answers, blocked no longer than this. */
#define SLEEP_ACTIVE_MS 1

static void state_store(struct agent *a, uint32_t lcore, uint32_t state)
{
    /* relaxed: agents_fence orders the change that matters */
    atomic_store_explicit(&a->rings[lcore].request.shared->consumer_state, state,
                          memory_order_relaxed);
}

static void warm(struct lcore *l, uint32_t slot)
{
    struct agent *a = lcore_agent(l, slot);
    if (a == NULL)
        return;
    a->rings[l->number].ticks_used = l->now;
    state_store(a, l->number, RING_CONSUMER_POLLING);
    if (!l->is_hot[slot]) {
        l->is_hot[slot] = true;
        l->hot[l->hot_count++] = (uint16_t)slot;
    }
}

static bool has_request(struct lcore *l, struct agent *a)
{
    void *message;
    struct ring_head head;
    int found = ring_peek(&a->rings[l->number].request, &message, &head);
    return found != 0; /* a broken ring too: gathering reports it */
}

static uint32_t slots_used(const struct lcore *l)
{
    return atomic_load_explicit(&l->node->agent_slots, memory_order_acquire);
}

/* With a request found that no bell told of: sweeps come closer together, down to this share. */
#define SWEEP_SHARE_MIN 512u

/* Visit every ring: a doorbell bit that somebody else cleared costs its owner one such interval at
 * most.  Why the interval moves: who clears bits clears them all the time, and each sweep that finds
 * a request without its bit is a sign of it; one that finds none lets the interval grow back. */
static void sweep(struct lcore *l)
{
    uint32_t slots = slots_used(l);
    bool found = false;
    for (uint32_t slot = 0; slot < slots; slot++) {
        struct agent *a = lcore_agent(l, slot);
        if (a != NULL && !l->is_hot[slot] && has_request(l, a)) {
            warm(l, slot);
            found = true;
        }
    }
    l->ticks_sweep = l->now;
    l->sweep_interval = found ? max_u64(l->sweep_interval / 4, l->ticks.sweep / SWEEP_SHARE_MIN)
                              : min_u64(l->sweep_interval * 2, l->ticks.sweep);
}

static bool doorbell_bits(struct lcore *l)
{
    _Atomic uint64_t *words = l->node->doorbell->lcores[l->number].bits;
    uint32_t slots = slots_used(l);
    bool any = false;
    for (uint32_t word = 0; word * 64 < slots; word++) {
        /* relaxed look, then acquire: the request is whole before its bit is set */
        if (LIKELY(atomic_load_explicit(&words[word], memory_order_relaxed) == 0))
            continue;
        uint64_t bits = atomic_exchange_explicit(&words[word], 0, memory_order_acquire);
        for (; bits != 0; bits &= bits - 1, any = true)
            warm(l, word * 64 + (uint32_t)__builtin_ctzll(bits));
    }
    return any;
}

void poll_doorbell(struct lcore *l)
{
    (void)doorbell_bits(l);
    if (UNLIKELY(l->now - l->ticks_sweep > l->sweep_interval))
        sweep(l);
}

/* Between storing a consumer state and looking at the rings: pairs with the agent's fence between
 * its commit and its look at the state.  A ring cools seldom and gets messages often, so where the
 * kernel can, this side pays for both: membarrier makes every thread of a registered agent pass a
 * full barrier (liburcu does the same for its readers). */
static void agents_fence(const struct lcore *l)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (l->node->shared->light_fences != 0) {
        long error = syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
        ASSERT(error == 0); /* it worked when the node was opened */
    }
}

/* Hand quiet rings back to their doorbells; one stays hot if a request slipped in meanwhile. */
static void cool_older_than(struct lcore *l, uint64_t ticks)
{
    uint32_t kept = 0;
    uint32_t cooling = 0;
    for (uint32_t i = 0; i < l->hot_count; i++) {
        uint16_t slot = l->hot[i];
        struct agent *a = lcore_agent(l, slot);
        if (a != NULL && l->now - a->rings[l->number].ticks_used < ticks) {
            l->hot[kept++] = slot;
            continue;
        }
        if (a != NULL)
            state_store(a, l->number, RING_CONSUMER_DOORBELL);
        l->cooling[cooling++] = slot;
    }
    l->hot_count = kept;
    if (cooling == 0)
        return;
    agents_fence(l);
    for (uint32_t i = 0; i < cooling; i++) {
        uint16_t slot = l->cooling[i];
        struct agent *a = lcore_agent(l, slot);
        l->is_hot[slot] = false;
        if (a != NULL && has_request(l, a))
            warm(l, slot);
    }
}

void poll_cool(struct lcore *l)
{
    /* Why not each pass: it visits every hot agent. */
    if (l->hot_count != 0 && l->now - l->ticks_cooled > l->ticks.cool) {
        l->ticks_cooled = l->now;
        cool_older_than(l, l->ticks.cool);
    }
}

static int sleep_ms(const struct lcore *l)
{
    if (l->active_count != 0 || l->sweep_interval < l->ticks.sweep)
        return SLEEP_ACTIVE_MS;
    uint64_t ns = l->node->config.lease_virtual
                      ? l->node->config.heartbeat_ns / 2
                      : min_u64(l->node->config.lease_ns, l->node->config.heartbeat_ns) / 2;
    return (int)max_u64(ns / NS_PER_MS, 1);
}

/* What is to be done before an lcore sleeps; false: it must not, something came. */
static bool sleep_begin(struct lcore *l, int *ms)
{
    cool_older_than(l, 0);
    /* Why not for ever: a ring stays hot while its agent takes no completions, perhaps because it
     * is dead, and nobody tells us when it does; so it is looked at now and then. */
    int longest = l->hot_count != 0 ? SLEEP_ACTIVE_MS : sleep_ms(l);
    *ms = (int)min_u64((uint64_t)*ms, (uint64_t)longest);
    if (l->expires)
        *ms = (int)min_u64((uint64_t)*ms, poll_expiry_wait_ms(l));
    l->sleep_number += l->sleep_number == UINT32_MAX ? 2 : 1;
    atomic_store_explicit(&l->shared->sleeping, l->sleep_number, memory_order_relaxed);
    /* pairs with the agent's fetch_or on its doorbell bit in front of its look at sleeping */
    atomic_thread_fence(memory_order_seq_cst);
    return !doorbell_bits(l) && !atomic_load_explicit(&l->stop, memory_order_acquire);
}

static void sleep_now(struct lcore *l, int ms)
{
    struct epoll_event events[16];
    counter_add(l->counters, COUNTER_SLEEPS, 1);
    qsbr_offline();
    int fd = l->team_fd >= 0 ? l->team_fd : l->node->sleep_fds[l->number];
    (void)epoll_wait(fd, events, 16, ms);
    /* Why: an edge below stays pending, and would wake us at once, until it is taken there. */
    for (uint32_t i = 0; l->team_fd >= 0 && i < l->team_count; i++)
        (void)epoll_wait(l->team[i]->node->sleep_fds[l->number], events, 16, 0);
    qsbr_online();
    /* Why: it was no pass that took so long. */
    for (uint32_t i = 0; i < l->team_count; i++)
        l->team[i]->ticks_passed = clock_ticks(l->node->clock_kind);
}

static bool is_stuck(const struct lcore *l)
{
    return l->hot_count != 0 && l->now - l->ticks_busy < l->ticks.stuck;
}

static void block(struct lcore *l)
{
    bool slept[LIMIT_PROCESS_NODES] = {false};
    bool quiet = true, stuck = false;
    int ms = INT32_MAX;
    for (uint32_t i = 0; i < l->team_count; i++) {
        quiet &= sleep_begin(l->team[i], &ms);
        stuck |= is_stuck(l->team[i]);
    }
    for (uint32_t i = 0; i < l->team_count && quiet && !stuck; i++) {
        slept[i] = poll_cluster_sleep(l->team[i], &ms);
        quiet &= slept[i];
    }
    if (quiet && !stuck)
        sleep_now(l, ms);
    for (uint32_t i = 0; i < l->team_count; i++) {
        if (slept[i])
            poll_cluster_awake(l->team[i]);
        atomic_store_explicit(&l->team[i]->shared->sleeping, 0, memory_order_relaxed);
    }
    if (stuck)
        (void)sched_yield();
}

/* How long the team has been idle, of its own time.  Why not by the clock: while processes that wait for
 * each other share a processor, each of them has nothing to do for as long as the others do something, and
 * putting it to sleep and waking it costs more than its looks. */
static uint64_t idle_time(struct lcore *l)
{
    uint64_t busy = 0, now = clock_ticks_early(l->node->clock_kind);
    for (uint32_t i = 0; i < l->team_count; i++)
        busy = max_u64(busy, l->team[i]->ticks_busy);
    uint64_t looked = now - l->ticks_idle;
    if (l->idle_since != busy) {
        l->idle_spent = 0;
        l->was_soon = busy - l->idle_since < l->ticks.soon;
    } else {
        l->idle_spent += min_u64(looked, l->ticks.look);
    }
    l->idle_since = busy;
    l->ticks_idle = now;
    return l->idle_spent;
}

/* Nothing is to be said any more, so commits go alone.  True: they go in the next pass. */
static bool tells(struct lcore *l)
{
    bool any = false;
    for (uint32_t i = 0; i < l->team_count; i++)
        any |= poll_cluster_tell(l->team[i]);
    return any;
}

/* Why it is measured: among processes that wait for each other a yield costs less than a sleep and a wake;
 * one that computes keeps the processor for a whole slice of the scheduler, while who was asleep gets it at
 * once when it is woken. */
static void yield(struct lcore *l)
{
    uint64_t from = clock_ticks_early(l->node->clock_kind);
    (void)sched_yield();
    uint64_t now = clock_ticks_early(l->node->clock_kind);
    if (UNLIKELY(now - from > l->ticks.slice))
        l->ticks_crowded = now + l->ticks.crowded;
}

/* How long to yield before blocking.  Why longer where nothing wakes: what comes while such an lcore naps waits for
 * the end of the nap, and an exchange that takes longer than the usual time would fall into one each time.  Why not
 * always: heartbeats alone would keep an idle node awake. */
static uint64_t yield_time(const struct lcore *l)
{
    bool wakes = l->cluster == NULL || transport_wake_fd(l->cluster->transport) >= 0;
    return wakes || !l->was_soon ? l->ticks.yield : l->ticks.soon;
}

/* More is to leave at once, and who computes beside us would have the processor for a slice before it does. */
static bool must_go_on(const struct lcore *l)
{
    bool feeds = false;
    for (uint32_t i = 0; i < l->team_count; i++)
        feeds |= poll_cluster_feeds(l->team[i]);
    return feeds && l->ticks_idle < l->ticks_crowded;
}

void poll_idle(struct lcore *l)
{
    if (l->node->config.spin)
        return; /* Why no pause: who asked for it pays a core for tens of nanoseconds. */
    uint64_t idle = idle_time(l);
    if (UNLIKELY(must_go_on(l)))
        return;
    /* Why none in a cluster: a look at the socket takes longer than a yield. */
    if (idle < l->ticks.pause && l->cluster == NULL)
        cpu_relax();
    else if (idle < yield_time(l) && l->ticks_idle >= l->ticks_crowded)
        yield(l);
    else if (!tells(l))
        block(l);
}
