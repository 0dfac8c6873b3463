#include "control/cluster_inner.h"

#include "control/coordinator_members.h"
#include "control/ruling.h"
#include "dataplane/lag.h"
#include "engine/clock.h"

#include <string.h>

#define UP_HEARTBEATS 5u

/* ---- nodes ---- */

uint64_t cluster_start_of(const struct cluster_node *c, uint32_t node)
{
    uint64_t start = c->start;
    for (uint32_t i = 0; node != c->config->node.id && i < c->config->node.lcore_count; i++)
        start = i == 0 ? transport_framed_start_shown(c->transports[i], node)
                       : min_u64(start, transport_framed_start_shown(c->transports[i], node));
    return start;
}

uint64_t cluster_silent_ns(const struct cluster_node *c, uint32_t node)
{
    uint64_t now = clock_boottime_ns(), longest = 0;
    for (uint32_t i = 0; node != c->config->node.id && i < c->config->node.lcore_count; i++) {
        uint64_t heard = transport_framed_heard_shown(c->transports[i], node);
        uint64_t silent = heard == 0 ? UINT64_MAX : now > heard ? now - heard : 0;
        longest = max_u64(longest, silent);
    }
    return longest;
}

bool cluster_is_up(const struct cluster_node *c, uint32_t node)
{
    uint64_t limit = max_u64(CLUSTER_NODE_UP_NS, UP_HEARTBEATS * c->config->node.heartbeat_ns);
    return cluster_start_of(c, node) != 0 && cluster_silent_ns(c, node) <= limit;
}

uint32_t cluster_others_up(const struct cluster_node *c, uint32_t others[CLUSTER_OTHERS])
{
    uint32_t ids[CLUSTER_OTHERS], count = 0;
    uint32_t all = cluster_members_others(&c->members, ids);
    for (uint32_t i = 0; i < all; i++)
        if (cluster_is_up(c, ids[i]))
            others[count++] = ids[i];
    return count;
}

/* ---- one shard ---- */

static enum server_shard_state state_of(const struct coordinator_shard *s)
{
    if (ruling_is_lost(&s->configuration))
        return SERVER_SHARD_LOST;
    if (s->move != 0)
        return SERVER_SHARD_MOVING;
    return s->configuration.active ? SERVER_SHARD_ACTIVE : SERVER_SHARD_PENDING;
}

static uint32_t nodes_copy(uint32_t *to, const struct member *members, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        to[i] = members[i].node;
    return count;
}

void cluster_shard(void *context, const struct server_shard_asked *asked, struct server_shard *told)
{
    const struct cluster_node *c = context;
    const struct coordinator_shard *s = coordinator_shard(c->coordinator, asked->log);
    *told = (struct server_shard){.state = SERVER_SHARD_PENDING};
    if (s == NULL)
        return;
    const struct configuration *newest = &s->configuration;
    told->leader = newest->leader.node;
    told->epoch = newest->epoch;
    told->state = state_of(s);
    told->voter_count = nodes_copy(told->voters, newest->voters, newest->voter_count);
    told->learner_count = nodes_copy(told->learners, newest->learners, newest->learner_count);
    for (uint32_t i = 0; i < c->members.count; i++) {
        uint64_t missing;
        uint32_t id = c->members.list[i].id;
        if (!lag_of_shard(c->lags[asked->lcore], id, asked->number, &missing))
            continue;
        told->peers[told->peer_count].node = id;
        told->peers[told->peer_count++].missing = missing;
    }
}

/* ---- redundancy ---- */

/* Nodes that are up, looked at once for all shards. */
struct ups {
    uint32_t count;
    uint32_t nodes[LIMIT_VOTERS];
};

/* Of one that is led here: since the look before the last it was never behind, or lacks nothing now. */
static bool keeps_up(const struct cluster_node *c, const struct server_shard_asked *asked,
                     uint32_t node)
{
    uint64_t missing;
    const struct lag *lag = c->lags[asked->lcore];
    const struct lag_shown *shown = lag_of(lag, node);
    if (shown == NULL || !lag_of_shard(lag, node, asked->number, &missing))
        return false;
    /* relaxed: lag.h */
    return missing == 0 || atomic_load_explicit(&shown->ticks_behind, memory_order_relaxed) == 0;
}

static bool holds(const struct cluster_node *c, const struct server_shard_asked *asked,
                  const struct configuration *newest, const struct member *voter)
{
    if (!newest->active)
        return newest->epoch_before == 0 ||
               member_find(newest->voters_before, newest->voter_before_count, voter) >= 0;
    bool is_led_here = newest->leader.node == c->config->node.id;
    return !is_led_here || voter->node == c->config->node.id || keeps_up(c, asked, voter->node);
}

static bool is_changing(const struct coordinator_state *state, const struct coordinator_shard *s)
{
    uint32_t wanted[LIMIT_VOTERS];
    const struct coordinator_some all = {.count = 0};
    const struct configuration *newest = &s->configuration;
    uint32_t count = coordinator_members_wanted(state, s->log, &all, wanted);
    bool changes = !newest->active || s->move != 0 || s->promote != 0 ||
                   newest->voter_count != count || coordinator_members_are_due(state, s);
    for (uint32_t i = 0; i < count; i++)
        changes =
            changes || !coordinator_members_name(newest->voters, newest->voter_count, wanted[i]);
    return changes;
}

/* Voters of a shard, as many as there can be. */
static uint32_t wanted_of(const struct coordinator_state *s)
{
    uint32_t can = 0;
    for (uint32_t i = 0; i < s->node_count; i++)
        can += s->nodes[i].standing == COORDINATOR_MEMBER && s->nodes[i].start != 0 ? 1 : 0;
    return (uint32_t)min_u64(can, s->replicas);
}

static void shard_count(const struct cluster_node *c, const struct server_shard_asked *asked,
                        const struct ups *ups, struct cluster_redundancy *r)
{
    const struct coordinator_state *state = coordinator_known(c->coordinator);
    const struct coordinator_shard *s = coordinator_shard(c->coordinator, asked->log);
    uint32_t held = 0;
    for (uint32_t i = 0; s != NULL && i < s->configuration.voter_count; i++) {
        const struct member *voter = &s->configuration.voters[i];
        bool is_up = coordinator_ids_name(voter->node, ups->nodes, ups->count);
        held += is_up && holds(c, asked, &s->configuration, voter) ? 1 : 0;
    }
    r->least = (uint32_t)min_u64(r->least, held);
    r->below += held < r->wanted ? 1 : 0;
    r->changing += s == NULL || is_changing(state, s) ? 1 : 0;
}

void cluster_redundancy(const struct cluster_node *c, struct cluster_redundancy *r)
{
    uint32_t numbers[LIMIT_LCORES] = {0};
    struct ups ups = {.nodes = {c->config->node.id}};
    ups.count = 1 + cluster_others_up(c, &ups.nodes[1]);
    *r = (struct cluster_redundancy){.wanted = wanted_of(coordinator_known(c->coordinator))};
    r->least = r->wanted;
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++) {
        const struct node_space *s = c->node->spaces[id];
        for (uint32_t i = 0; s != NULL && i < s->config.shard_count; i++) {
            const struct layout_board *board = &s->boards[i];
            const struct server_shard_asked asked = {
                .log = board->log, .lcore = board->lcore, .number = numbers[board->lcore]++};
            shard_count(c, &asked, &ups, r);
        }
    }
}
