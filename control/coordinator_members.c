#include "control/coordinator_members.h"

#include "control/placement.h"
#include "control/ruling.h"

#include <string.h>

_Static_assert(COORDINATOR_WEIGHT_MAX == PLACEMENT_WEIGHT_MAX, "weights of nodes are those");

static const struct coordinator_some everybody = {.ids = NULL, .count = 0};

bool coordinator_ids_name(uint32_t id, const uint32_t *ids, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

bool coordinator_members_name(const struct member *list, uint32_t count, uint32_t node)
{
    for (uint32_t i = 0; i < count; i++)
        if (list[i].node == node)
            return true;
    return false;
}

static struct member member_of(const struct coordinator_state *s, uint32_t node)
{
    const struct coordinator_node *n = coordinator_state_node(s, node);
    ASSERT(n != NULL);
    return (struct member){.node = n->id, .incarnation = n->start};
}

void coordinator_members_sort(struct member *list, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        for (uint32_t at = i; at != 0 && list[at].node < list[at - 1].node; at--) {
            const struct member lower = list[at];
            list[at] = list[at - 1];
            list[at - 1] = lower;
        }
}

/* ---- who is wanted ---- */

uint32_t coordinator_members_wanted(const struct coordinator_state *s, uint32_t log,
                                    const struct coordinator_some *of,
                                    uint32_t wanted[LIMIT_VOTERS])
{
    struct placement_node nodes[LIMIT_VOTERS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->node_count; i++) {
        const struct coordinator_node *n = &s->nodes[i];
        if (n->standing != COORDINATOR_MEMBER || n->start == 0 ||
            (of->count != 0 && !coordinator_ids_name(n->id, of->ids, of->count)))
            continue;
        nodes[count] = (struct placement_node){.id = n->id, .weight = n->weight};
        memcpy(nodes[count++].zone, n->zone, sizeof n->zone);
    }
    return placement_choose(nodes, count, log, s->replicas, wanted);
}

/* Of a log, of all nodes there are. */
struct wanted {
    uint32_t count;
    uint32_t ids[LIMIT_VOTERS];
};

static struct wanted wanted_of(const struct coordinator_state *s, uint32_t log)
{
    struct wanted w;
    w.count = coordinator_members_wanted(s, log, &everybody, w.ids);
    return w;
}

static bool is_wanted(const struct wanted *w, uint32_t node)
{
    return coordinator_ids_name(node, w->ids, w->count);
}

static bool all_vote(const struct wanted *w, const struct member *voters, uint32_t count)
{
    for (uint32_t i = 0; i < w->count; i++)
        if (!coordinator_members_name(voters, count, w->ids[i]))
            return false;
    return w->count != 0;
}

/* ---- who learns ---- */

/* Why those who leave, in a pending epoch: coordinator_members.h. */
static bool is_to_learn(const struct coordinator_node *n, const struct configuration *c)
{
    const struct member m = {.node = n->id, .incarnation = n->start};
    if (n->start == 0 || coordinator_members_name(c->voters, c->voter_count, n->id))
        return false;
    return n->standing != COORDINATOR_LEAVING ||
           (!c->active && member_find(c->voters_before, c->voter_before_count, &m) >= 0);
}

static void learn(const struct coordinator_state *s, struct configuration *c)
{
    c->learner_count = 0;
    memset(c->learners, 0, sizeof c->learners);
    for (uint32_t i = 0; i < s->node_count; i++)
        if (is_to_learn(&s->nodes[i], c))
            c->learners[c->learner_count++] = member_of(s, s->nodes[i].id);
    coordinator_members_sort(c->learners, c->learner_count);
}

static bool learners_are_right(const struct coordinator_state *s, const struct configuration *c)
{
    struct configuration right = *c;
    learn(s, &right);
    return right.learner_count == c->learner_count &&
           memcmp(right.learners, c->learners, sizeof right.learners) == 0;
}

void coordinator_members_take(const struct coordinator_state *s, struct coordinator_shard *shard,
                              struct configuration *next)
{
    ASSERT(next->epoch > shard->configuration.epoch);
    learn(s, next);
    ASSERT(configuration_is_valid(next));
    shard->configuration = *next;
    shard->promote = 0;
    if (!coordinator_members_name(next->voters, next->voter_count, shard->move))
        shard->move = 0;
}

/* ---- the first epoch ---- */

static uint32_t count_up(const struct wanted *w, const struct coordinator_some *up)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->count; i++)
        count += up->count == 0 || coordinator_ids_name(w->ids[i], up->ids, up->count);
    return count;
}

static struct wanted first_voters(const struct coordinator_state *s,
                                  const struct coordinator_shard *shard,
                                  const struct coordinator_some *up)
{
    struct wanted w = wanted_of(s, shard->log), there;
    if (count_up(&w, up) >= majority_of(w.count))
        return w;
    there.count = coordinator_members_wanted(s, shard->log, up, there.ids);
    return there.count != 0 ? there : w;
}

void coordinator_members_first(const struct coordinator_state *s, struct coordinator_shard *shard,
                               uint64_t epoch, const struct coordinator_some *up)
{
    const struct wanted w = first_voters(s, shard, up);
    struct member voters[LIMIT_VOTERS];
    uint32_t leader = 0;
    for (uint32_t i = 0; i < w.count; i++)
        voters[i] = member_of(s, w.ids[i]);
    while (leader + 1 < w.count && up->count != 0 &&
           !coordinator_ids_name(w.ids[leader], up->ids, up->count))
        leader++;
    coordinator_members_sort(voters, w.count);
    ruling_first(&shard->configuration, epoch, voters, w.count);
    shard->configuration.leader = member_of(s, w.ids[leader]);
    learn(s, &shard->configuration);
    shard->move = shard->promote = 0;
}

/* ---- the next voters ---- */

struct voters {
    uint32_t count;
    struct member list[LIMIT_VOTERS];
};

static bool has_any_of(const struct voters *v, const struct configuration *c)
{
    for (uint32_t i = 0; i < v->count; i++)
        if (member_find(c->voters, c->voter_count, &v->list[i]) >= 0)
            return true;
    return false;
}

/* Position of the voter to be done without first: who leaves, then who drains, then one that is not wanted.  count:
 * all are wanted. */
static uint32_t spare_of(const struct coordinator_state *s, const struct voters *v,
                         const struct wanted *w)
{
    uint32_t spare = v->count, standing = 0;
    for (uint32_t i = 0; i < v->count; i++) {
        uint32_t is = coordinator_state_node(s, v->list[i].node)->standing;
        if (is_wanted(w, v->list[i].node) || (spare != v->count && is <= standing))
            continue;
        spare = i;
        standing = is;
    }
    return spare;
}

static void promoted_add(const struct coordinator_state *s, const struct coordinator_shard *shard,
                         const struct wanted *w, struct voters *v)
{
    const struct configuration *c = &shard->configuration;
    uint32_t spare = spare_of(s, v, w);
    if (shard->promote == 0 || !is_wanted(w, shard->promote) ||
        coordinator_members_name(v->list, v->count, shard->promote))
        return;
    const struct member m = member_of(s, shard->promote);
    if (member_find(c->learners, c->learner_count, &m) < 0)
        return; /* it restarted since */
    if (v->count < w->count || v->count == 1) {
        v->list[v->count++] = m;
        return;
    }
    ASSERT(spare < v->count);
    v->list[spare] = m;
}

static void spare_drop(const struct configuration *c, const struct wanted *w, struct voters *v)
{
    struct voters rest = {.count = 0};
    for (uint32_t i = 0; i < v->count; i++)
        if (is_wanted(w, v->list[i].node))
            rest.list[rest.count++] = v->list[i];
    if (all_vote(w, v->list, v->count) && has_any_of(&rest, c))
        *v = rest;
}

static struct voters voters_next(const struct coordinator_state *s,
                                 const struct coordinator_shard *shard, const struct wanted *w)
{
    const struct configuration *c = &shard->configuration;
    struct voters v = {.count = c->voter_count};
    memcpy(v.list, c->voters, sizeof v.list);
    promoted_add(s, shard, w, &v);
    spare_drop(c, w, &v);
    coordinator_members_sort(v.list, v.count);
    return v;
}

/* Who leads them: who is asked to; else who does, if it is wanted; else the best of the wanted ones. */
static uint32_t leader_next(const struct coordinator_shard *shard, const struct voters *v,
                            const struct wanted *w)
{
    const struct configuration *c = &shard->configuration;
    struct voters able = {.count = 0};
    for (uint32_t i = 0; i < v->count; i++)
        if (member_find(c->voters, c->voter_count, &v->list[i]) >= 0)
            able.list[able.count++] = v->list[i];
    ASSERT(able.count != 0);
    bool is_able = coordinator_members_name(able.list, able.count, c->leader.node);
    if (shard->move != 0 && coordinator_members_name(able.list, able.count, shard->move))
        return shard->move;
    if (is_able && is_wanted(w, c->leader.node))
        return c->leader.node;
    for (uint32_t i = 0; i < w->count; i++)
        if (coordinator_members_name(able.list, able.count, w->ids[i]))
            return w->ids[i];
    return is_able ? c->leader.node : able.list[0].node;
}

struct next {
    struct voters voters;
    uint32_t leader;
};

static struct next next_of(const struct coordinator_state *s, const struct coordinator_shard *shard)
{
    const struct wanted w = wanted_of(s, shard->log);
    struct next n = {.voters = voters_next(s, shard, &w)};
    n.leader = leader_next(shard, &n.voters, &w);
    return n;
}

void coordinator_members_let_go(const struct coordinator_state *s, struct coordinator_shard *shard)
{
    const struct next n = next_of(s, shard);
    const struct member leader = member_of(s, n.leader);
    uint32_t promote = shard->promote;
    struct configuration next;
    ruling_change(&next, &shard->configuration, &leader, n.voters.list, n.voters.count);
    shard->move = leader.node;
    coordinator_members_take(s, shard, &next);
    if (promote != 0 && coordinator_members_name(next.voters, next.voter_count, promote))
        shard->promote = promote;
}

/* ---- what is due ---- */

bool coordinator_members_are_due(const struct coordinator_state *s,
                                 const struct coordinator_shard *shard)
{
    const struct configuration *c = &shard->configuration;
    if (!c->active)
        return false;
    if (!learners_are_right(s, c))
        return true;
    const struct wanted w = wanted_of(s, shard->log);
    return c->voter_count != w.count && all_vote(&w, c->voters, c->voter_count);
}

void coordinator_members_settle(const struct coordinator_state *s, struct coordinator_shard *shard)
{
    if (shard->move == 0 && coordinator_members_are_due(s, shard))
        shard->move = next_of(s, shard).leader;
}

void coordinator_members_active(const struct coordinator_state *s, struct coordinator_shard *shard)
{
    const struct wanted w = wanted_of(s, shard->log);
    uint32_t promoted = shard->promote, leader = shard->configuration.leader.node;
    shard->promote = 0;
    if (shard->move == leader)
        shard->move = 0;
    if (promoted != 0 && promoted != leader && promoted == w.ids[0] && shard->move == 0)
        shard->move = promoted;
    coordinator_members_settle(s, shard);
}

/* ---- a learner that has kept up ---- */

bool coordinator_state_wants(const struct coordinator_state *s, uint32_t log, uint32_t node)
{
    const struct wanted w = wanted_of(s, log);
    return is_wanted(&w, node);
}

bool coordinator_state_promote(struct coordinator_state *s, const struct coordinator_promotion *p)
{
    struct coordinator_shard *shard = coordinator_state_shard(s, p->log, p->epoch);
    const struct coordinator_node *n = coordinator_state_node(s, p->learner);
    if (shard == NULL || n == NULL || n->start == 0 || !shard->configuration.active ||
        shard->promote != 0)
        return false;
    const struct configuration *c = &shard->configuration;
    const struct member m = member_of(s, p->learner);
    if (!member_equal(&c->leader, &p->leader) ||
        member_find(c->learners, c->learner_count, &m) < 0 ||
        !coordinator_state_wants(s, p->log, p->learner))
        return false;
    shard->promote = p->learner;
    if (shard->move == 0)
        shard->move = next_of(s, shard).leader;
    return true;
}
