#include "dataplane/agent_rate.h"

#define AGENT_BURST_MIN 64u

struct bucket_rate agent_rate_of(const struct node_config *config, uint64_t ticks_per_s)
{
    uint64_t rate = max_u64(config->agent_rate, 1), burst = config->agent_burst;
    if (burst == 0)
        burst = max_u64(rate / 100, AGENT_BURST_MIN);
    return (struct bucket_rate){.interval = max_u64(ticks_per_s / rate, 1),
                                .burst = max_u64(burst, rate / 500 + 1)};
}

void agent_rate_set(struct node *n, uint64_t rate, uint64_t burst, bool all)
{
    /* Control's copy, for agents that attach from now on; lcores read it before they run alone. */
    n->config.agent_rate = rate;
    n->config.agent_burst = burst;
    n->config.agents_all = all;
    /* relaxed: the round publishes them */
    atomic_store_explicit(&n->limit.rate, rate, memory_order_relaxed);
    atomic_store_explicit(&n->limit.burst, burst, memory_order_relaxed);
    atomic_store_explicit(&n->limit.all, all, memory_order_relaxed);
    atomic_store_explicit(&n->limit.is_set, true, memory_order_relaxed);
    atomic_fetch_add_explicit(&n->arena_round, 1, memory_order_release);
}

void agent_rate_look(struct lcore *l)
{
    const struct node *n = l->node;
    /* relaxed, all: the caller saw the round (acquire) */
    if (!atomic_load_explicit(&n->limit.is_set, memory_order_relaxed))
        return;
    const struct node_config now = {
        .agent_rate = atomic_load_explicit(&n->limit.rate, memory_order_relaxed),
        .agent_burst = atomic_load_explicit(&n->limit.burst, memory_order_relaxed),
        .agents_all = atomic_load_explicit(&n->limit.all, memory_order_relaxed),
    };
    l->agent_rate = agent_rate_of(&now, n->ticks_per_s);
    uint32_t slots = atomic_load_explicit(&n->agent_slots, memory_order_acquire);
    for (uint32_t slot = 0; slot < slots; slot++) {
        struct agent *a = lcore_agent(l, slot);
        if (a == NULL)
            continue;
        a->rings[l->number].limited = agent_rate_limits(&now, a);
        a->rings[l->number].bucket = 0;
    }
}
