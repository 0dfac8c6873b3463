#include "dataplane/poll_cut_off.h"

#include "dataplane/lcore.h"
#include "dataplane/lcore_forward.h"
#include "engine/clock.h"

/* It is looked at so often per lease time. */
#define LOOKS_PER_LEASE 8u
/* So many lease times without the leader lease, while the lcore runs. */
#define LEASES_PATIENT 2u

static bool lease_is_over(const struct lcore_cluster *c)
{
    /* relaxed: it orders nothing, and an older one only makes the refusal a look later */
    uint64_t until = atomic_load_explicit(c->node->lead_until_ns, memory_order_relaxed);
    return until != 0 && clock_boottime_ns() > until;
}

/* Why the generation: the entry stays, since it may be committed after all when the network is whole again, and is then
 * for an agent that is not there. */
static void waiting_refuse(struct lcore *l, struct shard *s)
{
    for (uint32_t at = s->pending_head; at != s->pending_tail; at++) {
        struct shard_pending *p = &s->pending[at % LIMIT_PENDING];
        const struct agent *a = lcore_agent(l, p->origin.agent);
        if (poll_forward_is_origin(&p->origin) || a == NULL ||
            a->generation != p->origin.generation || p->origin.owed == 0)
            continue;
        poll_refuse_waiting(l, s, &p->origin);
        p->origin.generation = ~p->origin.generation;
    }
}

void poll_cut_off_step(struct lcore *l)
{
    struct lcore_cluster *c = l->cluster;
    uint64_t since = l->now - c->ticks_cut_off_looked;
    if (c->node->lead_until_ns == NULL || since < l->ticks.lease / LOOKS_PER_LEASE)
        return;
    c->ticks_cut_off_looked = l->now;
    /* Why anew after a pause: who stood still has lost its lease by that, and hears of the others in a moment. */
    if (!lease_is_over(c) || since > l->ticks.lease)
        c->ticks_cut_off = l->now;
    c->is_cut_off = l->now - c->ticks_cut_off > LEASES_PATIENT * l->ticks.lease;
    for (uint32_t i = 0; c->is_cut_off && i < l->shard_count; i++) {
        struct shard *s = l->shards[i];
        if (s->pending_head != s->pending_tail && poll_cluster_may_write(l, s) &&
            !poll_cluster_may_answer(l, s, l->now))
            waiting_refuse(l, s);
    }
}
