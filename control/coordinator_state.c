#include "control/coordinator_state.h"

#include "control/ruling.h"
#include "dataplane/node.h"

#include <string.h>

/* Position of a node, or node_count. */
static uint32_t position_of(const struct coordinator_state *s, uint32_t node)
{
    uint32_t i = 0;
    while (i < s->node_count && s->nodes[i].id != node)
        i++;
    return i;
}

static struct member member_at(const struct coordinator_state *s, uint32_t position)
{
    const struct coordinator_node *n = &s->nodes[position];
    return (struct member){.node = n->id, .incarnation = n->start};
}

static bool had_no_active_epoch(const struct configuration *c)
{
    return c->epoch_before == 0 && !c->active;
}

/* Whether it makes sense that another node leads what follows. */
static bool can_be_led(const struct configuration *c)
{
    return !had_no_active_epoch(c) && !ruling_is_lost(c);
}

/* ---- what may be ---- */

static const char *nodes_fault(const struct coordinator_state *s)
{
    if (s->node_count < 2 || s->node_count > LIMIT_VOTERS)
        return "count of nodes";
    for (uint32_t i = 0; i < s->node_count; i++) {
        const struct coordinator_node *n = &s->nodes[i];
        if (n->id == 0 || position_of(s, n->id) != i)
            return "id of a node";
        if (n->start > COORDINATOR_START_MAX || n->since > COORDINATOR_NUMBER_MAX)
            return "start of a node";
        if (s->shard_count != 0 && n->start == 0)
            return "shards before every node registered";
    }
    return NULL;
}

static const char *voters_fault(const struct coordinator_state *s, const struct configuration *c)
{
    if (c->voter_count != s->node_count)
        return "voters";
    for (uint32_t i = 0; i < c->voter_count; i++) {
        const struct member now = member_at(s, i);
        if (!member_equal(&c->voters[i], &now))
            return "voters are not the nodes";
    }
    for (uint32_t i = 0; i < c->voter_before_count; i++) {
        uint32_t at = position_of(s, c->voters_before[i].node);
        if (at == s->node_count || c->voters_before[i].incarnation == 0 ||
            c->voters_before[i].incarnation > s->nodes[at].start)
            return "voters of the predecessor";
    }
    return NULL;
}

static const char *shard_fault(const struct coordinator_state *s,
                               const struct coordinator_shard *shard)
{
    const struct configuration *c = &shard->configuration;
    uint32_t space = shard->log >> NODE_LOG_SPACE_SHIFT;
    if (space == 0 || space > LIMIT_SPACES ||
        (shard->log & ((1u << NODE_LOG_SPACE_SHIFT) - 1)) >= LIMIT_SHARDS)
        return "log";
    if (c->epoch > COORDINATOR_NUMBER_MAX)
        return "epoch";
    if (c->learner_count != 0 || c->lsn_ceiling != 0 || !configuration_is_valid(c))
        return "configuration";
    if (c->lossy != (c->lsn_floor != 0) || c->lsn_floor > INT64_MAX)
        return "floor";
    if (shard->move != 0 &&
        (had_no_active_epoch(c) || position_of(s, shard->move) == s->node_count))
        return "move";
    return voters_fault(s, c);
}

const char *coordinator_state_fault(const struct coordinator_state *s)
{
    if (s->origin == 0 || s->origin > INT64_MAX)
        return "origin"; /* LSNs have 63 bits */
    if (s->lsn_ceiling > INT64_MAX)
        return "ceiling";
    if (s->revision == 0 || s->revision > COORDINATOR_NUMBER_MAX)
        return "revision";
    if (s->shard_count > COORDINATOR_SHARDS_MAX)
        return "count of shards";
    const char *fault = nodes_fault(s);
    for (uint32_t i = 0; i < s->shard_count && fault == NULL; i++) {
        if (i != 0 && s->shards[i].log <= s->shards[i - 1].log)
            return "order of shards";
        fault = shard_fault(s, &s->shards[i]);
    }
    return fault;
}

static bool shard_follows(const struct coordinator_shard *shard,
                          const struct coordinator_shard *known)
{
    const struct configuration *c = &shard->configuration, *k = &known->configuration;
    return shard->log == known->log && c->epoch >= k->epoch && c->epoch_before >= k->epoch_before &&
           (c->epoch > k->epoch || c->active >= k->active);
}

bool coordinator_state_follows(const struct coordinator_state *s,
                               const struct coordinator_state *known)
{
    if (s->cluster != known->cluster || s->origin != known->origin || s->spaces != known->spaces ||
        s->revision < known->revision || s->lsn_ceiling < known->lsn_ceiling ||
        s->node_count != known->node_count ||
        (known->shard_count != 0 && s->shard_count != known->shard_count))
        return false;
    for (uint32_t i = 0; i < known->node_count; i++)
        if (s->nodes[i].id != known->nodes[i].id || s->nodes[i].start < known->nodes[i].start)
            return false;
    for (uint32_t i = 0; i < known->shard_count; i++)
        if (!shard_follows(&s->shards[i], &known->shards[i]))
            return false;
    return true;
}

/* ---- who is there ---- */

static uint32_t index_of(const struct coordinator_state *s, uint32_t log)
{
    uint32_t low = 0, high = s->shard_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (s->shards[middle].log < log)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct coordinator_shard *coordinator_state_find(const struct coordinator_state *s,
                                                       uint32_t log)
{
    uint32_t i = index_of(s, log);
    return i < s->shard_count && s->shards[i].log == log ? &s->shards[i] : NULL;
}

bool coordinator_state_is_complete(const struct coordinator_state *s)
{
    for (uint32_t i = 0; i < s->node_count; i++)
        if (s->nodes[i].start == 0)
            return false;
    return true;
}

void coordinator_state_begin(struct coordinator_state *s)
{
    struct member voters[LIMIT_VOTERS];
    uint64_t epoch = 0;
    for (uint32_t i = 0; i < s->node_count; i++) {
        voters[i] = member_at(s, i);
        /* Why a start: it is above the epochs of every file that was here before. */
        epoch = max_u64(epoch, s->nodes[i].start);
    }
    for (uint32_t i = 0; i < s->shard_count; i++) {
        s->shards[i].move = 0;
        ruling_first(&s->shards[i].configuration, epoch, voters, s->node_count);
    }
}

/* ---- a node comes back ---- */

static void next_take(struct coordinator_shard *shard, const struct configuration *next)
{
    ASSERT(next->epoch > shard->configuration.epoch);
    shard->configuration = *next;
}

/* Returns whether the node led the shard. */
static bool shard_restart(const struct coordinator_state *s, struct coordinator_shard *shard,
                          uint32_t position, uint32_t turn)
{
    const struct configuration *newest = &shard->configuration;
    const struct member born = member_at(s, position);
    bool led = newest->leader.node == born.node;
    uint64_t since[LIMIT_VOTERS];
    struct configuration next;
    for (uint32_t i = 0; i < s->node_count; i++)
        since[i] = s->nodes[i].since;
    ruling_restart(&next, newest, &born, since, turn);
    /* Why not the one that it was asked to move to: that is somebody else now. */
    if (shard->move == born.node)
        shard->move = 0;
    if (led && shard->move != 0) {
        const struct member heir = member_at(s, position_of(s, shard->move));
        if (ruling_may_lead(newest, &heir))
            next.leader = heir;
    }
    next_take(shard, &next);
    return led;
}

static uint64_t since_next(const struct coordinator_state *s)
{
    uint64_t last = 0;
    for (uint32_t i = 0; i < s->node_count; i++)
        last = max_u64(last, s->nodes[i].since);
    return last + 1;
}

int coordinator_state_register(struct coordinator_state *s, uint32_t node, uint64_t start)
{
    uint32_t position = position_of(s, node);
    if (position == s->node_count)
        return -ENOENT;
    struct coordinator_node *n = &s->nodes[position];
    if (start <= n->start)
        return start == n->start ? 0 : -ESTALE;
    n->start = start;
    if (s->shard_count == 0)
        return 1;
    n->since = since_next(s);
    uint32_t turn = 0;
    for (uint32_t i = 0; i < s->shard_count; i++)
        turn += shard_restart(s, &s->shards[i], position, turn);
    return 1;
}

/* ---- what leaders and people ask ---- */

static struct coordinator_shard *shard_at(struct coordinator_state *s, uint32_t log, uint64_t epoch)
{
    uint32_t i = index_of(s, log);
    return i < s->shard_count && s->shards[i].log == log &&
                   s->shards[i].configuration.epoch == epoch
               ? &s->shards[i]
               : NULL;
}

bool coordinator_state_activate(struct coordinator_state *s, uint32_t log, uint64_t epoch,
                                const struct member *leader)
{
    struct coordinator_shard *shard = shard_at(s, log, epoch);
    if (shard == NULL || shard->configuration.active ||
        !member_equal(&shard->configuration.leader, leader))
        return false;
    shard->configuration.active = true;
    if (shard->move == leader->node)
        shard->move = 0;
    return true;
}

static void lead_next(const struct coordinator_state *s, struct coordinator_shard *shard,
                      uint32_t position)
{
    const struct member leader = member_at(s, position);
    struct configuration next;
    ruling_follow(&next, &shard->configuration, &leader);
    next_take(shard, &next);
}

bool coordinator_state_let_go(struct coordinator_state *s, uint32_t log, uint64_t epoch)
{
    struct coordinator_shard *shard = shard_at(s, log, epoch);
    if (shard == NULL || !shard->configuration.active || shard->move == 0)
        return false;
    lead_next(s, shard, position_of(s, shard->move));
    return true;
}

static bool shard_move(const struct coordinator_state *s, struct coordinator_shard *shard,
                       uint32_t position)
{
    const struct configuration *c = &shard->configuration;
    const struct member to = member_at(s, position);
    uint32_t goes_to = shard->move != 0 ? shard->move : c->leader.node;
    if (goes_to == to.node)
        return false;
    shard->move = to.node;
    if (!c->active && c->leader.node != to.node && ruling_may_lead(c, &to))
        lead_next(s, shard, position);
    return true;
}

int64_t coordinator_state_move(struct coordinator_state *s, uint32_t first, uint32_t last,
                               uint32_t node)
{
    uint32_t position = position_of(s, node), from = index_of(s, first);
    uint32_t to = last == UINT32_MAX ? s->shard_count : index_of(s, last + 1);
    int64_t moved = 0;
    if (position == s->node_count || from >= to)
        return -ENOENT;
    for (uint32_t i = from; i < to; i++)
        if (had_no_active_epoch(&s->shards[i].configuration))
            return -EAGAIN;
    for (uint32_t i = from; i < to; i++)
        moved += shard_move(s, &s->shards[i], position);
    return moved;
}

int64_t coordinator_state_leave(struct coordinator_state *s, uint32_t node, const uint32_t *others,
                                uint32_t other_count)
{
    uint32_t heir = s->node_count;
    int64_t moved = 0;
    for (uint32_t i = 0; i < other_count; i++) {
        uint32_t at = position_of(s, others[i]);
        if (at < s->node_count &&
            (heir == s->node_count || s->nodes[at].since < s->nodes[heir].since))
            heir = at;
    }
    if (heir == s->node_count)
        return -ENOENT;
    for (uint32_t i = 0; i < s->shard_count; i++) {
        struct coordinator_shard *shard = &s->shards[i];
        const struct configuration *c = &shard->configuration;
        uint32_t goes_to = shard->move != 0 ? shard->move : c->leader.node;
        if (goes_to == node && can_be_led(c))
            moved += shard_move(s, shard, heir);
    }
    return moved;
}

bool coordinator_state_pass_on(struct coordinator_state *s, uint32_t log, uint64_t epoch)
{
    struct coordinator_shard *shard = shard_at(s, log, epoch);
    if (shard == NULL || shard->configuration.active || !can_be_led(&shard->configuration))
        return false;
    uint32_t from = position_of(s, shard->configuration.leader.node);
    for (uint32_t i = 1; i < s->node_count; i++) {
        uint32_t position = (from + i) % s->node_count;
        const struct member next = member_at(s, position);
        if (!ruling_may_lead(&shard->configuration, &next))
            continue;
        if (shard->move == s->nodes[from].id)
            shard->move = next.node;
        lead_next(s, shard, position);
        return true;
    }
    return false;
}

/* Why the clock as well: who was not asked for its ceiling has granted none above what starts allow for
 * (node.h), and a grant. */
static uint64_t floor_of(const struct coordinator_state *s, const struct configuration *c)
{
    uint64_t start = 0;
    for (uint32_t i = 0; i < s->node_count; i++)
        start = max_u64(start, s->nodes[i].start);
    uint64_t by_clock = (start << NODE_LSN_PER_START_SHIFT) + NODE_LSN_GRANT;
    return max_u64(max_u64(by_clock, s->lsn_ceiling), max_u64(s->origin, c->lsn_floor) + 1);
}

uint32_t coordinator_state_give_up(struct coordinator_state *s)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->shard_count; i++) {
        struct coordinator_shard *shard = &s->shards[i];
        struct configuration next;
        if (!ruling_is_gone(&shard->configuration))
            continue;
        ruling_give_up(&next, &shard->configuration, floor_of(s, &shard->configuration));
        next_take(shard, &next);
        count++;
    }
    return count;
}

uint64_t coordinator_state_lsn_floor(const struct coordinator_state *s)
{
    uint64_t highest = 0;
    for (uint32_t i = 0; i < s->shard_count; i++)
        highest = max_u64(highest, s->shards[i].configuration.lsn_floor);
    return highest;
}

void coordinator_state_retire(struct coordinator_state *s, uint32_t node)
{
    uint32_t position = position_of(s, node);
    if (position < s->node_count)
        s->nodes[position].since = since_next(s);
}

uint32_t coordinator_state_duties(const struct coordinator_state *s, uint32_t node)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->shard_count; i++) {
        const struct configuration *c = &s->shards[i].configuration;
        bool is = s->shards[i].move == node || c->leader.node == node;
        count += is && can_be_led(c);
    }
    return count;
}

void coordinator_state_counts(const struct coordinator_state *s, struct coordinator_counts *counts)
{
    *counts = (struct coordinator_counts){.shards = s->shard_count};
    for (uint32_t i = 0; i < s->shard_count; i++) {
        const struct configuration *c = &s->shards[i].configuration;
        counts->pending += !c->active;
        counts->moving += s->shards[i].move != 0;
        counts->lost += ruling_is_lost(c);
        counts->gone += ruling_is_gone(c);
    }
}
