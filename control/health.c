#include "control/health.h"

#include <string.h>

void health_init(struct health *h, const struct health_config *config)
{
    ASSERT(config->node_count >= 2 && config->node_count <= LIMIT_VOTERS);
    memset(h, 0, sizeof *h);
    h->config = *config;
}

/* node_count: it is none. */
static uint32_t position_of(const struct health *h, uint32_t node)
{
    uint32_t i = 0;
    while (i < h->config.node_count && h->config.nodes[i] != node)
        i++;
    return i;
}

static uint32_t majority(const struct health *h)
{
    return h->config.node_count / 2 + 1;
}

int health_report(struct health *h, const struct health_report *report, uint64_t now)
{
    uint32_t from = position_of(h, report->from), named = 0;
    struct health_view seen[LIMIT_VOTERS];
    if (from == h->config.node_count || report->count > LIMIT_VOTERS)
        return -ENOENT;
    for (uint32_t i = 0; i < h->config.node_count; i++)
        seen[i] = (struct health_view){.node = h->config.nodes[i], .silent_ms = HEALTH_NEVER_MS};
    for (uint32_t i = 0; i < report->count; i++) {
        uint32_t at = position_of(h, report->views[i].node);
        if (at == h->config.node_count || (named & 1u << at) != 0)
            return -ENOENT;
        named |= 1u << at;
        seen[at] = report->views[i];
    }
    memcpy(h->seen[from], seen, sizeof seen);
    h->has_reported[from] = true;
    h->came_ns[from] = now;
    return 0;
}

/* ---- evidence ---- */

static bool is_fresh(const struct health *h, uint32_t from, uint64_t now)
{
    return h->has_reported[from] && now - h->came_ns[from] <= h->config.report_ns_max;
}

static bool hears(const struct health *h, uint32_t from, uint32_t of)
{
    return from == of || h->seen[from][of].silent_ms <= h->config.silent_ms_max;
}

/* By position, those that have reported lately and that the node is not. */
static uint32_t witnesses(const struct health *h, uint32_t node, uint64_t now)
{
    uint32_t mask = 0;
    for (uint32_t i = 0; i < h->config.node_count; i++)
        mask |= i != node && is_fresh(h, i, now) ? 1u << i : 0;
    return mask;
}

/* Whether all of these hear each other. */
static bool are_connected(const struct health *h, uint32_t mask)
{
    for (uint32_t i = 0; i < h->config.node_count; i++)
        for (uint32_t j = 0; j < h->config.node_count; j++)
            if ((mask & 1u << i) != 0 && (mask & 1u << j) != 0 && !hears(h, i, j))
                return false;
    return true;
}

static uint32_t size_of(uint32_t mask)
{
    return (uint32_t)__builtin_popcount(mask);
}

/* Whether a majority of all nodes is among these, and hears each other.  Why every set: nodes are few, and which
 * ones form the largest is not to depend on their order. */
static bool is_cluster(const struct health *h, uint32_t mask)
{
    for (uint32_t set = mask; set != 0; set = (set - 1) & mask)
        if (size_of(set) >= majority(h) && are_connected(h, set))
            return true;
    return false;
}

static uint32_t not_hearing(const struct health *h, uint32_t node, uint32_t mask)
{
    for (uint32_t i = 0; i < h->config.node_count; i++)
        if (hears(h, i, node))
            mask &= ~(1u << i);
    return mask;
}

/* By its own word. */
static bool is_deaf(const struct health *h, uint32_t node, uint64_t now)
{
    uint32_t heard = 0;
    for (uint32_t i = 0; i < h->config.node_count; i++)
        heard += hears(h, node, i);
    return is_fresh(h, node, now) && heard < majority(h);
}

bool health_is_denied(const struct health *h, uint32_t node, uint64_t now)
{
    uint32_t at = position_of(h, node);
    if (at == h->config.node_count)
        return false;
    uint32_t others = witnesses(h, at, now);
    return is_cluster(h, not_hearing(h, at, others)) ||
           (is_deaf(h, at, now) && is_cluster(h, others));
}

uint32_t health_stuck(const struct health *h, uint32_t node, uint64_t now)
{
    uint32_t at = position_of(h, node), count = 0;
    uint32_t stuck[LIMIT_VOTERS] = {0}; /* falling */
    for (uint32_t i = 0; at < h->config.node_count && i < h->config.node_count; i++) {
        if (!is_fresh(h, i, now))
            continue;
        uint32_t value = h->seen[i][at].stuck_shards, to = count++;
        for (; to != 0 && stuck[to - 1] < value; to--)
            stuck[to] = stuck[to - 1];
        stuck[to] = value;
    }
    return count >= majority(h) ? stuck[majority(h) - 1] : 0;
}
