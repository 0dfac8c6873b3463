/* Keys that expire: engine/expire.h, by the lcore's clock.
 *
 * Why now in ticks and not the time of day: it is the clock of leases, which nobody sets; a jump of the
 * other would expire everything at once.  Why early in the pass does no harm here: what is judged by it
 * expires later, if at all.  From when a value's own ttl counts is read when it is written (poll_request.c). */
#include "dataplane/lcore_cluster.h"

/* While no shard has a key with a ttl: who writes one says so, and one that came to a follower is looked at so much
 * later after a change of leader, at most. */
#define LOOK_NONE_NS (100 * NS_PER_MS)
/* Between looks, so that a shard full of short ttls costs no pass, nor a leader that cannot commit. */
#define LOOK_MIN_NS NS_PER_MS

void poll_expiry_due(struct lcore *l, uint64_t ttl_ns)
{
    uint64_t ticks = l->now + clock_ns_to_ticks(ttl_ns, l->node->ticks_per_s);
    l->ticks_expiry = min_u64(l->ticks_expiry, ticks);
    l->expires = true;
}

uint64_t poll_expiry_wait_ms(const struct lcore *l)
{
    uint64_t ticks = l->ticks_expiry > l->now ? l->ticks_expiry - l->now : 0;
    /* Why one more: whoever wakes too soon wakes twice. */
    return clock_ticks_to_ns(ticks, l->node->ticks_per_s) / NS_PER_MS + 1;
}

/* One look at all shards that are led here.  Returns when the next key is due; UINT64_MAX: none has a
 * ttl. */
static uint64_t look(struct lcore *l, uint64_t steady_ns, bool *appended)
{
    uint64_t next_ns = UINT64_MAX;
    for (uint32_t i = 0; i < l->shard_count; i++) {
        struct shard *s = l->shards[i];
        if (s->expiry.count == 0)
            continue;
        l->expires = true;
        if (!poll_cluster_may_write(l, s))
            continue;
        uint64_t end = s->log.lsn_end;
        next_ns = min_u64(next_ns, shard_expire(s, steady_ns, l->clock_ns));
        if (s->log.lsn_end == end)
            continue;
        *appended = true;
        lcore_mark_dirty(l, s);
    }
    return next_ns;
}

void poll_expiry(struct lcore *l)
{
    if (LIKELY(l->now < l->ticks_expiry))
        return;
    uint64_t rate = l->node->ticks_per_s;
    uint64_t steady_ns = clock_ticks_to_ns(l->now, rate);
    bool appended = false;
    l->clock_ns = clock_realtime_ns();
    l->expires = false;
    uint64_t next_ns = look(l, steady_ns, &appended);
    uint64_t wait_ns = next_ns > steady_ns ? next_ns - steady_ns : 0;
    if (appended)
        l->ticks_busy = l->now; /* there is something to commit */
    if (appended && wait_ns == 0)
        return; /* and more to expire, in the next pass */
    wait_ns = max_u64(wait_ns, LOOK_MIN_NS);
    /* Why no longer: which shards are led here changes. */
    uint64_t longest = l->expires ? l->ticks.sweep : clock_ns_to_ticks(LOOK_NONE_NS, rate);
    l->ticks_expiry =
        l->now + min_u64(longest, clock_ns_to_ticks(min_u64(wait_ns, NS_PER_S), rate));
}
