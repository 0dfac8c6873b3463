/* What is lost, or gone, begins again: coordinator_state.h. */
#include "control/coordinator_members.h"
#include "control/ruling.h"
#include "dataplane/node.h"
#include "engine/plant.h"

#include <string.h>

/* ---- the ceiling of LSNs ---- */

/* LSNs have 63 bits. */
static uint64_t lsn_above(uint64_t lsn, uint64_t bytes)
{
    return min_u64(lsn + bytes, INT64_MAX);
}

uint64_t coordinator_state_lsn_next(const struct coordinator_state *s)
{
    return lsn_above(PLANTED(CEILING_IGNORED) ? s->origin : max_u64(s->origin, s->lsn_ceiling), 1);
}

void coordinator_state_lsn_reach(struct coordinator_state *s, uint64_t lsn)
{
    s->lsn_ceiling = max_u64(s->lsn_ceiling, lsn_above(lsn, NODE_LSN_GRANT));
}

bool coordinator_state_lsn_grant(struct coordinator_state *s, uint64_t known)
{
    if (s->lsn_ceiling != known || known >= INT64_MAX)
        return false;
    coordinator_state_lsn_reach(s, known);
    return true;
}

/* ---- nobody holds anything ---- */

static void shard_give_up(const struct coordinator_state *s, struct coordinator_shard *shard,
                          uint64_t lsn_floor)
{
    struct configuration next;
    ruling_give_up(&next, &shard->configuration, lsn_floor);
    coordinator_members_take(s, shard, &next);
}

uint32_t coordinator_state_give_up(struct coordinator_state *s)
{
    uint64_t lsn_floor = coordinator_state_lsn_next(s);
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->shard_count; i++) {
        if (!ruling_is_gone(&s->shards[i].configuration))
            continue;
        shard_give_up(s, &s->shards[i], lsn_floor);
        count++;
    }
    if (count != 0)
        coordinator_state_lsn_reach(s, lsn_floor);
    return count;
}

/* ---- too few do ---- */

/* Of the predecessor's voters, those that are who they were, are up, and are asked. */
static void survivors_find(const struct coordinator_state *s, const struct configuration *c,
                           const struct coordinator_recover_asked *asked, struct ruling_recovery *r)
{
    for (uint32_t i = 0; i < c->voter_before_count; i++) {
        const struct member *m = &c->voters_before[i];
        const struct coordinator_node *n = coordinator_state_node(s, m->node);
        if (n != NULL && n->start == m->incarnation &&
            coordinator_ids_name(m->node, asked->up, asked->up_count) &&
            (asked->from == 0 || asked->from == m->node))
            r->survivors[r->survivor_count++] = *m;
    }
}

static uint32_t up_count(const struct configuration *c,
                         const struct coordinator_recover_asked *asked)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->voter_count; i++)
        count += coordinator_ids_name(c->voters[i].node, asked->up, asked->up_count);
    return count;
}

/* Those that voted where most of them are up, else such as are; with the leader in the place of the last that did
 * not survive. */
static void voters_find(const struct coordinator_state *s, const struct coordinator_shard *shard,
                        const struct coordinator_recover_asked *asked, struct ruling_recovery *r)
{
    const struct configuration *c = &shard->configuration;
    const struct coordinator_some up = {asked->up, asked->up_count};
    uint32_t wanted[LIMIT_VOTERS];
    uint32_t count = coordinator_members_wanted(s, shard->log, &up, wanted);
    r->voter_count = c->voter_count;
    memcpy(r->voters, c->voters, sizeof r->voters);
    if (up_count(c, asked) < majority_of(c->voter_count) && count != 0) {
        r->voter_count = count;
        memset(r->voters, 0, sizeof r->voters);
        for (uint32_t i = 0; i < count; i++)
            r->voters[i] = (struct member){
                .node = wanted[i], .incarnation = coordinator_state_node(s, wanted[i])->start};
    }
    if (member_find(r->voters, r->voter_count, &r->leader) < 0)
        r->voters[r->voter_count - 1] = r->leader;
    coordinator_members_sort(r->voters, r->voter_count);
}

/* The one that has been there for longest, a voter where there is one. */
static struct member leader_of(const struct coordinator_state *s, const struct configuration *c,
                               const struct ruling_recovery *r)
{
    const struct member *best = NULL;
    for (uint32_t i = 0; i < r->survivor_count; i++) {
        const struct member *m = &r->survivors[i];
        bool votes = member_find(c->voters, c->voter_count, m) >= 0;
        bool best_votes = best != NULL && member_find(c->voters, c->voter_count, best) >= 0;
        uint64_t since = coordinator_state_node(s, m->node)->since;
        if (best == NULL || (votes && !best_votes) ||
            (votes == best_votes && since < coordinator_state_node(s, best->node)->since))
            best = m;
    }
    return *best;
}

static bool shard_recover(const struct coordinator_state *s, struct coordinator_shard *shard,
                          const struct coordinator_recover_asked *asked, uint64_t lsn_floor)
{
    const struct configuration *c = &shard->configuration;
    struct ruling_recovery r = {.lsn_floor = lsn_floor};
    struct configuration next;
    if (ruling_is_gone(c) && asked->from == 0) {
        shard_give_up(s, shard, lsn_floor);
        return true;
    }
    survivors_find(s, c, asked, &r);
    if (r.survivor_count == 0)
        return false;
    r.leader = leader_of(s, c, &r);
    voters_find(s, shard, asked, &r);
    ruling_recover(&next, c, &r);
    coordinator_members_take(s, shard, &next);
    return true;
}

int64_t coordinator_state_recover(struct coordinator_state *s,
                                  const struct coordinator_recover_asked *asked)
{
    uint64_t lsn_floor = coordinator_state_lsn_next(s);
    int64_t changed = 0;
    uint32_t in_range = 0, lost = 0;
    for (uint32_t i = 0; i < s->shard_count; i++) {
        struct coordinator_shard *shard = &s->shards[i];
        if (shard->log < asked->first || shard->log > asked->last)
            continue;
        in_range++;
        if (!ruling_is_lost(&shard->configuration))
            continue;
        lost++;
        changed += shard_recover(s, shard, asked, lsn_floor);
    }
    if (changed != 0)
        coordinator_state_lsn_reach(s, lsn_floor);
    return changed != 0 || (in_range != 0 && lost == 0) ? changed : -ENOENT;
}
