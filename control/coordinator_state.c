#include "control/coordinator_state.h"

#include "control/coordinator_members.h"
#include "control/coordinator_space.h"
#include "control/ruling.h"
#include "dataplane/node.h"
#include "engine/plant.h"

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

bool coordinator_word_is_valid(const char *word, size_t bytes)
{
    size_t i = 0;
    for (; i < bytes && word[i] != 0; i++)
        if (word[i] <= ' ' || word[i] > '~' || word[i] == '"' || word[i] == '\\')
            return false;
    if (i == bytes)
        return false;
    while (i < bytes && word[i] == 0)
        i++;
    return i == bytes;
}

static bool node_words_are_valid(const struct coordinator_node *n)
{
    return coordinator_word_is_valid(n->zone, sizeof n->zone) &&
           coordinator_word_is_valid(n->address, sizeof n->address) &&
           coordinator_word_is_valid(n->control, sizeof n->control);
}

static const char *nodes_fault(const struct coordinator_state *s)
{
    uint32_t voting = 0;
    if (s->node_count < COORDINATOR_NODES_MIN || s->node_count > LIMIT_VOTERS)
        return "count of nodes";
    if (s->replicas == 0 || s->replicas > LIMIT_VOTERS)
        return "replicas";
    for (uint32_t i = 0; i < s->node_count; i++) {
        const struct coordinator_node *n = &s->nodes[i];
        if (n->id == 0 || position_of(s, n->id) != i)
            return "id of a node";
        if (n->start > COORDINATOR_START_MAX || n->since > COORDINATOR_NUMBER_MAX)
            return "start of a node";
        if (n->weight == 0 || n->weight > COORDINATOR_WEIGHT_MAX)
            return "weight of a node";
        if (n->standing > COORDINATOR_LEAVING)
            return "standing of a node";
        if (!node_words_are_valid(n))
            return "words of a node";
        voting += n->start != 0 && n->standing == COORDINATOR_MEMBER;
    }
    return s->shard_count != 0 && voting < COORDINATOR_NODES_MIN ? "too few nodes that vote" : NULL;
}

/* By id, ascending, all of them nodes. */
static bool are_nodes(const struct coordinator_state *s, const struct member *list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct coordinator_node *n = coordinator_state_node(s, list[i].node);
        if (n == NULL || list[i].incarnation == 0 || list[i].incarnation > n->start ||
            (i != 0 && list[i].node <= list[i - 1].node))
            return false;
    }
    return true;
}

static bool is_member(const struct configuration *c, const struct member *m)
{
    return member_find(c->voters, c->voter_count, m) >= 0 ||
           member_find(c->learners, c->learner_count, m) >= 0;
}

static const char *before_fault(const struct coordinator_state *s, const struct configuration *c)
{
    for (uint32_t i = 0; i < c->voter_before_count; i++) {
        const struct member *m = &c->voters_before[i];
        const struct coordinator_node *n = coordinator_state_node(s, m->node);
        if (m->incarnation == 0 || m->incarnation > COORDINATOR_START_MAX)
            return "voters of the predecessor";
        if (c->active)
            continue; /* it was recovered: they may be gone */
        if (n == NULL || m->incarnation > n->start ||
            (m->incarnation == n->start) != is_member(c, m))
            return "voters of the predecessor";
    }
    return NULL;
}

static const char *members_fault(const struct coordinator_state *s, const struct configuration *c)
{
    if (!are_nodes(s, c->voters, c->voter_count) || c->voter_count > s->replicas + 1)
        return "voters";
    for (uint32_t i = 0; i < c->voter_count; i++)
        if (c->voters[i].incarnation != coordinator_state_node(s, c->voters[i].node)->start)
            return "voters are not the nodes";
    return are_nodes(s, c->learners, c->learner_count) ? before_fault(s, c) : "learners";
}

/* A learner that is to vote, or a voter that has just come to. */
static bool promote_is_possible(const struct coordinator_shard *shard)
{
    const struct configuration *c = &shard->configuration;
    const struct member *list = c->active ? c->learners : c->voters;
    uint32_t count = c->active ? c->learner_count : c->voter_count;
    return shard->promote == 0 ||
           (!had_no_active_epoch(c) && coordinator_members_name(list, count, shard->promote) &&
            (!c->active || shard->move != 0));
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
    if (c->lsn_ceiling != 0 || !configuration_is_valid(c))
        return "configuration";
    if (c->lossy != (c->lsn_floor != 0) || c->lsn_floor > INT64_MAX)
        return "floor";
    if (shard->move != 0 && (had_no_active_epoch(c) ||
                             !coordinator_members_name(c->voters, c->voter_count, shard->move)))
        return "move";
    return promote_is_possible(shard) ? members_fault(s, c) : "promote";
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
    if (fault == NULL)
        fault = coordinator_space_fault(s);
    for (uint32_t i = 0; i < s->shard_count && fault == NULL; i++) {
        if (i != 0 && s->shards[i].log <= s->shards[i - 1].log)
            return "order of shards";
        fault = shard_fault(s, &s->shards[i]);
    }
    return fault;
}

bool coordinator_state_follows(const struct coordinator_state *s,
                               const struct coordinator_state *known)
{
    if (s->cluster != known->cluster || s->origin != known->origin || s->spaces != known->spaces ||
        s->revision < known->revision || s->lsn_ceiling < known->lsn_ceiling ||
        s->replicas != known->replicas)
        return false;
    for (uint32_t i = 0; i < known->node_count; i++) {
        const struct coordinator_node *n = coordinator_state_node(s, known->nodes[i].id);
        /* Why 0 may follow: it left, and was added again. */
        if (n != NULL && n->start != 0 && n->start < known->nodes[i].start)
            return false;
    }
    return coordinator_space_follows(s, known);
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

const struct coordinator_node *coordinator_state_node(const struct coordinator_state *s,
                                                      uint32_t id)
{
    uint32_t i = position_of(s, id);
    return i < s->node_count ? &s->nodes[i] : NULL;
}

struct coordinator_shard *coordinator_state_shard(struct coordinator_state *s, uint32_t log,
                                                  uint64_t epoch)
{
    uint32_t i = index_of(s, log);
    return i < s->shard_count && s->shards[i].log == log &&
                   s->shards[i].configuration.epoch == epoch
               ? &s->shards[i]
               : NULL;
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
    const struct coordinator_some all = {.ids = NULL, .count = 0};
    uint64_t epoch = 0;
    /* Why a start: it is above the epochs of every cluster of these nodes that was here before. */
    for (uint32_t i = 0; i < s->node_count; i++)
        epoch = max_u64(epoch, s->nodes[i].start);
    for (uint32_t i = 0; i < s->shard_count; i++)
        coordinator_members_first(s, &s->shards[i], epoch, &all);
}

/* ---- a node comes back ---- */

static uint64_t since_of(const struct coordinator_state *s, uint32_t node)
{
    return coordinator_state_node(s, node)->since;
}

static void lead_next(const struct coordinator_state *s, struct coordinator_shard *shard,
                      uint32_t node)
{
    const struct member leader = member_at(s, position_of(s, node));
    struct configuration next;
    ruling_follow(&next, &shard->configuration, &leader);
    coordinator_members_take(s, shard, &next);
}

static void voter_restart(const struct coordinator_state *s, struct coordinator_shard *shard,
                          const struct member *born, uint32_t turn)
{
    const struct configuration *newest = &shard->configuration;
    uint64_t since[LIMIT_VOTERS];
    struct configuration next;
    bool led = newest->leader.node == born->node;
    for (uint32_t i = 0; i < newest->voter_count; i++)
        since[i] = since_of(s, newest->voters[i].node);
    ruling_restart(&next, newest, born, since, turn);
    /* Why not the one that it was asked to move to: that is somebody else now. */
    if (shard->move == born->node)
        shard->move = 0;
    if (led && shard->move != 0) {
        const struct member heir = member_at(s, position_of(s, shard->move));
        if (ruling_may_lead(newest, &heir))
            next.leader = heir;
    }
    coordinator_members_take(s, shard, &next);
}

/* Returns whether the node led the shard. */
static bool shard_restart(const struct coordinator_state *s, struct coordinator_shard *shard,
                          uint32_t position, uint32_t turn)
{
    const struct configuration *c = &shard->configuration;
    const struct member born = member_at(s, position);
    bool led = c->leader.node == born.node;
    if (coordinator_members_name(c->voters, c->voter_count, born.node)) {
        voter_restart(s, shard, &born, turn);
        return led;
    }
    /* Why a learner as well: who is left of the predecessor's voters is among the members. */
    if (!c->active && coordinator_members_name(c->voters_before, c->voter_before_count, born.node))
        lead_next(s, shard, c->leader.node);
    else if (shard->promote == born.node)
        shard->promote = 0;
    coordinator_members_settle(s, shard);
    return false;
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
    n->made = 0;
    if (s->shard_count == 0)
        return 1;
    n->since = since_next(s);
    uint32_t turn = 0;
    for (uint32_t i = 0; i < s->shard_count; i++)
        turn += shard_restart(s, &s->shards[i], position, turn);
    return 1;
}

/* ---- what leaders and people ask ---- */

bool coordinator_state_activate(struct coordinator_state *s, uint32_t log, uint64_t epoch,
                                const struct member *leader)
{
    struct coordinator_shard *shard = coordinator_state_shard(s, log, epoch);
    if (PLANTED(ACTIVATE_UNCHECKED) && coordinator_state_find(s, log) != NULL)
        shard = &s->shards[index_of(s, log)];
    else if (shard == NULL || !member_equal(&shard->configuration.leader, leader))
        return false;
    if (shard == NULL || shard->configuration.active)
        return false;
    shard->configuration.active = true;
    coordinator_members_active(s, shard);
    return true;
}

bool coordinator_state_let_go(struct coordinator_state *s, uint32_t log, uint64_t epoch)
{
    struct coordinator_shard *shard = coordinator_state_shard(s, log, epoch);
    if (shard == NULL || !shard->configuration.active || shard->move == 0)
        return false;
    coordinator_members_let_go(s, shard);
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
        lead_next(s, shard, to.node);
    return true;
}

int64_t coordinator_state_move(struct coordinator_state *s, uint32_t first, uint32_t last,
                               uint32_t node)
{
    uint32_t position = position_of(s, node), from = index_of(s, first), votes = 0;
    uint32_t to = last == UINT32_MAX ? s->shard_count : index_of(s, last + 1);
    int64_t moved = 0;
    if (position == s->node_count || s->nodes[position].standing != COORDINATOR_MEMBER)
        return -ENOENT;
    for (uint32_t i = from; i < to; i++)
        if (had_no_active_epoch(&s->shards[i].configuration))
            return -EAGAIN;
    for (uint32_t i = from; i < to; i++) {
        const struct configuration *c = &s->shards[i].configuration;
        if (!coordinator_members_name(c->voters, c->voter_count, node))
            continue;
        votes++;
        moved += shard_move(s, &s->shards[i], position);
    }
    return votes != 0 ? moved : -ENOENT;
}

/* Whether one node should rather lead than another one that could as well. */
static bool is_better(const struct coordinator_node *a, const struct coordinator_node *b)
{
    bool a_stays = a->standing == COORDINATOR_MEMBER, b_stays = b->standing == COORDINATOR_MEMBER;
    return a_stays != b_stays ? a_stays : a->since < b->since;
}

/* Position of who takes over what a node that ends leads; node_count: nobody of others votes. */
static uint32_t next_of(const struct coordinator_state *s, const struct configuration *c,
                        const uint32_t *others, uint32_t other_count)
{
    uint32_t heir = s->node_count;
    for (uint32_t i = 0; i < other_count; i++) {
        uint32_t at = position_of(s, others[i]);
        if (at < s->node_count && coordinator_members_name(c->voters, c->voter_count, others[i]) &&
            (heir == s->node_count || is_better(&s->nodes[at], &s->nodes[heir])))
            heir = at;
    }
    return heir;
}

int64_t coordinator_state_leave(struct coordinator_state *s, uint32_t node, const uint32_t *others,
                                uint32_t other_count)
{
    int64_t moved = 0;
    uint32_t known = 0;
    for (uint32_t i = 0; i < other_count; i++)
        known += coordinator_state_node(s, others[i]) != NULL;
    if (known == 0)
        return -ENOENT;
    for (uint32_t i = 0; i < s->shard_count; i++) {
        struct coordinator_shard *shard = &s->shards[i];
        const struct configuration *c = &shard->configuration;
        uint32_t goes_to = shard->move != 0 ? shard->move : c->leader.node;
        uint32_t heir = next_of(s, c, others, other_count);
        if (goes_to == node && can_be_led(c) && heir < s->node_count)
            moved += shard_move(s, shard, heir);
    }
    return moved;
}

/* Why a new space at once: nobody holds anything of it, so that any voter may begin it. */
bool coordinator_state_may_pass_on(const struct coordinator_state *s,
                                   const struct coordinator_shard *shard)
{
    const struct configuration *c = &shard->configuration;
    bool is_new = had_no_active_epoch(c) &&
                  space_list_at(&s->list, shard->log >> NODE_LOG_SPACE_SHIFT) != NULL;
    return !c->active && (is_new || can_be_led(c));
}

/* Position of the leader among the voters. */
static uint32_t leader_at(const struct configuration *c)
{
    return (uint32_t)member_find(c->voters, c->voter_count, &c->leader);
}

bool coordinator_state_pass_on(struct coordinator_state *s, uint32_t log, uint64_t epoch)
{
    struct coordinator_shard *shard = coordinator_state_shard(s, log, epoch);
    if (shard == NULL || !coordinator_state_may_pass_on(s, shard))
        return false;
    const struct configuration *c = &shard->configuration;
    for (uint32_t i = 1; i < c->voter_count; i++) {
        const struct member next = c->voters[(leader_at(c) + i) % c->voter_count];
        if (!ruling_may_lead(c, &next))
            continue;
        if (shard->move == c->leader.node)
            shard->move = next.node;
        lead_next(s, shard, next.node);
        return true;
    }
    return false;
}

/* ---- a node has failed ---- */

/* Who leads instead; 0: nobody of others may. */
static uint32_t heir_of(const struct coordinator_state *s, const struct coordinator_shard *shard,
                        const uint32_t *others, uint32_t other_count)
{
    const struct configuration *c = &shard->configuration;
    const struct coordinator_node *able[LIMIT_VOTERS];
    uint32_t count = 0;
    for (uint32_t i = 1; i < c->voter_count; i++) {
        const struct member *m = &c->voters[(leader_at(c) + i) % c->voter_count];
        const struct coordinator_node *n = coordinator_state_node(s, m->node);
        if (!coordinator_ids_name(m->node, others, other_count) || !ruling_may_lead(c, m))
            continue;
        if (m->node == shard->move)
            return m->node;
        if (count != 0 && is_better(able[0], n))
            continue;
        if (count != 0 && is_better(n, able[0]))
            count = 0;
        able[count++] = n;
    }
    return count != 0 ? able[shard->log % count]->id : 0;
}

/* It was to move to the node, and will not.  Why to its own leader: that may have let go already, and then
 * needs an epoch to hold its rights again; one that is pending has let go of nothing. */
static bool move_fail(struct coordinator_shard *shard)
{
    bool lets_go = shard->configuration.active;
    shard->move = lets_go ? shard->configuration.leader.node : 0;
    return true;
}

static bool shard_fail(const struct coordinator_state *s, struct coordinator_shard *shard,
                       const uint32_t *others, uint32_t other_count)
{
    uint32_t heir = heir_of(s, shard, others, other_count);
    if (heir == 0 || ruling_is_lost(&shard->configuration))
        return false;
    if (!coordinator_ids_name(shard->move, others, other_count))
        shard->move = 0;
    lead_next(s, shard, heir);
    return true;
}

int64_t coordinator_state_fail(struct coordinator_state *s, uint32_t node, uint64_t start,
                               const uint32_t *others, uint32_t other_count)
{
    uint32_t position = position_of(s, node);
    uint64_t last = since_next(s) - 1;
    int64_t changed = 0;
    if (position == s->node_count)
        return -ENOENT;
    if (start < s->nodes[position].start)
        return -ESTALE;
    for (uint32_t i = 0; i < s->node_count; i++)
        if (i != position && s->nodes[i].since == last)
            changed = 1;
    if (changed != 0)
        s->nodes[position].since = last + 1;
    for (uint32_t i = 0; i < s->shard_count; i++) {
        struct coordinator_shard *shard = &s->shards[i];
        if (shard->configuration.leader.node == node)
            changed += shard_fail(s, shard, others, other_count);
        else if (shard->move == node)
            changed += move_fail(shard);
        if (shard->configuration.active && shard->promote == node) {
            shard->promote = 0;
            changed++;
        }
    }
    return changed;
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
        count += is && can_be_led(c) && c->voter_count > 1;
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
