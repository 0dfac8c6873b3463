#include "dataplane/lag.h"

#include <string.h>

/* relaxed, here and below: lag.h */
static uint32_t node_at(const struct lag *g, uint32_t n)
{
    return atomic_load_explicit(&g->nodes[n], memory_order_relaxed);
}

static void node_set(struct lag *g, uint32_t n, uint32_t node)
{
    atomic_store_explicit(&g->nodes[n], node, memory_order_relaxed);
}

/* LIMIT_VOTERS: it is none of them. */
static uint32_t place_of(const struct lag *g, uint32_t node)
{
    uint32_t n = 0;
    while (n < LIMIT_VOTERS && node_at(g, n) != node)
        n++;
    return n;
}

void lag_init(struct lag *g, const uint32_t *nodes, uint32_t node_count, uint32_t shard_count)
{
    ASSERT(node_count <= LIMIT_VOTERS);
    g->shard_count = shard_count;
    for (uint32_t n = 0; n < LIMIT_VOTERS; n++)
        node_set(g, n, n < node_count ? nodes[n] : PAIR_NOBODY);
    g->missing = (_Atomic uint64_t *)(void *)&g->ends[(size_t)LIMIT_VOTERS * shard_count];
}

static void forget(struct lag *g, uint32_t n, uint32_t count)
{
    for (uint32_t i = 0; i < count && i < g->shard_count; i++) {
        g->ends[(size_t)n * g->shard_count + i] = 0;
        atomic_store_explicit(&g->missing[(size_t)n * g->shard_count + i], 0, memory_order_relaxed);
    }
}

void lag_again(struct lag *g, uint32_t count)
{
    g->looked_at = 0;
    for (uint32_t n = 0; n < LIMIT_VOTERS; n++)
        if (node_at(g, n) != PAIR_NOBODY)
            forget(g, n, count);
}

void lag_node_add(struct lag *g, uint32_t node)
{
    uint32_t n = place_of(g, PAIR_NOBODY);
    ASSERT(n < LIMIT_VOTERS && place_of(g, node) == LIMIT_VOTERS);
    g->since[n] = 0;
    node_set(g, n, node);
    g->looked_at = 0;
}

void lag_node_remove(struct lag *g, uint32_t node)
{
    uint32_t n = place_of(g, node);
    ASSERT(n < LIMIT_VOTERS);
    node_set(g, n, PAIR_NOBODY);
    forget(g, n, g->shard_count);
    atomic_store_explicit(&g->shown[n].bytes_max, 0, memory_order_relaxed);
    atomic_store_explicit(&g->shown[n].bytes_sum, 0, memory_order_relaxed);
    atomic_store_explicit(&g->shown[n].ticks_behind, 0, memory_order_relaxed);
    atomic_store_explicit(&g->shown[n].shards, 0, memory_order_relaxed);
}

const struct lag_shown *lag_of(const struct lag *g, uint32_t node)
{
    uint32_t n = place_of(g, node);
    return n < LIMIT_VOTERS ? &g->shown[n] : NULL;
}

bool lag_of_shard(const struct lag *g, uint32_t node, uint32_t shard, uint64_t *bytes)
{
    uint32_t n = place_of(g, node);
    if (n == LIMIT_VOTERS || shard >= g->shard_count)
        return false;
    uint64_t missing =
        atomic_load_explicit(&g->missing[(size_t)n * g->shard_count + shard], memory_order_relaxed);
    *bytes = missing - 1;
    return missing != 0;
}

/* Slot of a node among those that a shard is fed to; 0: it has no part, which is the leader's own slot. */
static uint32_t slot_of(const struct replica *r, uint32_t node)
{
    for (uint32_t i = 1; i < r->commit.peer_count; i++)
        if (r->peers[i].id.node == node)
            return i;
    return 0;
}

/* Of a shard that is led here; who has acknowledged nothing yet lacks all there is. */
static uint64_t missing_of(const struct replica *r, uint32_t slot)
{
    const struct log *l = &r->shard->log;
    uint64_t match = r->commit.lsn_match[slot];
    uint64_t from = match != 0 ? match : l->lsn_base;
    return l->lsn_whole > from ? l->lsn_whole - from : 0;
}

struct lag_sums {
    uint64_t shards, bytes_max, bytes_sum;
    bool holds_noted; /* all that there was when ends were noted */
};

static struct lag_sums sums_of(const struct lag *g, const struct group *group, uint32_t n)
{
    const uint64_t *ends = &g->ends[(size_t)n * g->shard_count];
    _Atomic uint64_t *missing_shown = &g->missing[(size_t)n * g->shard_count];
    struct lag_sums sums = {.holds_noted = true};
    for (uint32_t i = 0; i < group->replica_count; i++) {
        const struct replica *r = group->replicas[i];
        uint32_t slot = replica_leads(r) ? slot_of(r, node_at(g, n)) : 0;
        uint64_t missing = slot != 0 ? missing_of(r, slot) : 0;
        /* relaxed: lag.h */
        atomic_store_explicit(&missing_shown[i], slot != 0 ? missing + 1 : 0, memory_order_relaxed);
        if (slot == 0)
            continue;
        sums.shards++;
        sums.bytes_sum += missing;
        sums.bytes_max = max_u64(sums.bytes_max, missing);
        sums.holds_noted &= missing == 0 || r->commit.lsn_match[slot] >= ends[i];
    }
    return sums;
}

static void ends_note(struct lag *g, const struct group *group, uint32_t n)
{
    uint64_t *ends = &g->ends[(size_t)n * g->shard_count];
    /* Why not of all: a node that leads nothing looks at no log.  One that is led later counts from its first
     * note on. */
    for (uint32_t i = 0; i < group->replica_count; i++)
        if (replica_leads(group->replicas[i]))
            ends[i] = group->replicas[i]->shard->log.lsn_whole;
}

static void look_at(struct lag *g, const struct group *group, uint32_t n, uint64_t now)
{
    struct lag_shown *shown = &g->shown[n];
    struct lag_sums sums = sums_of(g, group, n);
    if (sums.holds_noted) {
        g->since[n] = now;
        ends_note(g, group, n);
    }
    /* relaxed, all four: lag.h */
    atomic_store_explicit(&shown->bytes_max, sums.bytes_max, memory_order_relaxed);
    atomic_store_explicit(&shown->bytes_sum, sums.bytes_sum, memory_order_relaxed);
    atomic_store_explicit(&shown->ticks_behind, now - g->since[n], memory_order_relaxed);
    atomic_store_explicit(&shown->shards, sums.shards, memory_order_relaxed);
}

void lag_look(struct lag *g, const struct group *group, uint64_t now)
{
    if (g->looked_at != 0 && now - g->looked_at < g->interval)
        return;
    ASSERT(group->replica_count <= g->shard_count);
    g->looked_at = now;
    for (uint32_t n = 0; n < LIMIT_VOTERS; n++) {
        uint32_t node = node_at(g, n);
        if (node != PAIR_NOBODY && node != group->self.node)
            look_at(g, group, n, now);
    }
}
