#include "tests/unit/control/coordinator_check.h"

#include "control/coordinator_members.h"

#include <string.h>

static bool members_equal(const struct member *a, const struct member *b, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (a[i].node != b[i].node || a[i].incarnation != b[i].incarnation)
            return false;
    return true;
}

static bool is_voter(const struct member *list, uint32_t count, const struct member *m)
{
    return member_find(list, count, m) >= 0;
}

static const char *same_epoch(struct coordinator_check *c, uint32_t i,
                              const struct configuration *now)
{
    const struct configuration *was = &c->newest[i];
    if (!members_equal(&was->leader, &now->leader, 1) || was->voter_count != now->voter_count ||
        !members_equal(was->voters, now->voters, now->voter_count) ||
        was->learner_count != now->learner_count ||
        !members_equal(was->learners, now->learners, now->learner_count) ||
        was->epoch_before != now->epoch_before || was->lossy != now->lossy ||
        was->lsn_floor != now->lsn_floor || was->voter_before_count != now->voter_before_count ||
        !members_equal(was->voters_before, now->voters_before, now->voter_before_count))
        return "an epoch means one thing";
    if (was->active && !now->active)
        return "active does not end";
    c->activations += now->active && !was->active;
    return NULL;
}

/* What nobody holds any more, and begins empty. */
static const char *given_up(struct coordinator_check *c, uint32_t i,
                            const struct configuration *before, const struct configuration *now)
{
    const struct configuration *was = &c->newest[i];
    for (uint32_t v = 0; v < before->voter_count && !was->lossy; v++)
        if (is_voter(now->voters, now->voter_count, &before->voters[v]) ||
            is_voter(now->learners, now->learner_count, &before->voters[v]))
            return "what is given up is held by nobody";
    c->given_up++;
    return NULL;
}

/* What most of those who held it are gone of. */
static const char *recovered(struct coordinator_check *c, uint32_t i,
                             const struct configuration *before, const struct configuration *now)
{
    const struct configuration *was = &c->newest[i];
    uint32_t left = 0;
    for (uint32_t v = 0; v < before->voter_count; v++)
        left += is_voter(was->voters, was->voter_count, &before->voters[v]) ||
                is_voter(was->learners, was->learner_count, &before->voters[v]);
    if (!was->lossy && left >= majority_of(before->voter_count))
        return "what most are left of is not lost";
    for (uint32_t v = 0; v < now->voter_before_count; v++)
        if (!is_voter(before->voters, before->voter_count, &now->voters_before[v]))
            return "survivors were voters of the last active epoch";
    c->recovered++;
    return NULL;
}

static const char *lossy(struct coordinator_check *c, uint32_t i,
                         const struct configuration *before, const struct configuration *now)
{
    const struct configuration *was = &c->newest[i];
    bool is_same = was->lossy && !was->active && was->lsn_floor == now->lsn_floor;
    if (is_same)
        return now->voter_before_count == was->voter_before_count &&
                       members_equal(now->voters_before, was->voters_before,
                                     now->voter_before_count)
                   ? NULL
                   : "a lossy epoch that is replaced keeps what it begins from";
    if (now->lsn_floor <= c->lsn_ceiling)
        return "a lossy epoch begins above all that was granted";
    return now->voter_before_count == 0 ? given_up(c, i, before, now)
                                        : recovered(c, i, before, now);
}

/* The predecessor of a new epoch. */
static const char *predecessor(struct coordinator_check *c, uint32_t i,
                               const struct configuration *now, bool gap)
{
    const struct configuration *before = &c->active[i];
    if (gap && now->epoch_before > before->epoch) {
        /* It was active in a version that is missing; perhaps we know it from when it was pending. */
        before = &c->newest[i];
        if (now->epoch_before < before->epoch)
            return "a predecessor was replaced before it was active";
        if (now->epoch_before > before->epoch)
            return NULL;
    }
    if (now->epoch_before != before->epoch)
        return "the predecessor is the last active epoch";
    if (now->lossy)
        return lossy(c, i, before, now);
    if (now->voter_before_count != (before->epoch != 0 ? before->voter_count : 0) ||
        !members_equal(now->voters_before, before->voters, now->voter_before_count))
        return "voters_before are the voters of the last active epoch";
    return NULL;
}

static const char *new_epoch(struct coordinator_check *c, uint32_t i,
                             const struct configuration *now, bool gap)
{
    bool somebody_can = false;
    for (uint32_t v = 0; v < now->voter_count; v++)
        somebody_can |= is_voter(now->voters_before, now->voter_before_count, &now->voters[v]);
    c->epochs++;
    c->replaced += c->newest[i].epoch != 0 && !c->newest[i].active;
    c->moves += c->newest[i].epoch != 0 && c->newest[i].leader.node != now->leader.node;
    if (!is_voter(now->voters, now->voter_count, &now->leader))
        return "the leader is a voter";
    if (somebody_can && !is_voter(now->voters_before, now->voter_before_count, &now->leader))
        return "who lost its memory does not lead";
    if (now->active && !gap)
        return "an epoch is pending at first";
    return predecessor(c, i, now, gap);
}

static const char *shard_next(struct coordinator_check *c, uint32_t i,
                              const struct configuration *now, bool gap)
{
    const struct configuration *was = &c->newest[i];
    if (now->epoch < was->epoch)
        return "epochs only grow";
    const char *fault =
        now->epoch == was->epoch ? same_epoch(c, i, now) : new_epoch(c, i, now, gap);
    c->newest[i] = *now;
    if (now->active)
        c->active[i] = *now;
    else if (gap && now->epoch_before > c->active[i].epoch) {
        c->active[i] = (struct configuration){.epoch = now->epoch_before,
                                              .voter_count = now->voter_before_count};
        memcpy(c->active[i].voters, now->voters_before, sizeof now->voters_before);
    }
    return fault;
}

static const char *votes_next(struct coordinator_check *c, const struct coordinator_state *s,
                              uint32_t i, const struct configuration *was)
{
    const struct coordinator_some all = {.ids = NULL, .count = 0};
    const struct configuration *now = &s->shards[i].configuration;
    uint32_t wanted[LIMIT_VOTERS], newly = 0;
    uint32_t count = coordinator_members_wanted(s, s->shards[i].log, &all, wanted);
    for (uint32_t v = 0; v < now->voter_count && was->epoch != 0; v++) {
        bool voted = false;
        for (uint32_t w = 0; w < was->voter_count; w++)
            voted |= was->voters[w].node == now->voters[v].node;
        newly += !voted;
    }
    c->voters_changed += was->epoch != 0 && (newly != 0 || was->voter_count != now->voter_count);
    c->promoted += newly;
    if (was->epoch != 0 && now->voter_count < was->voter_count && now->voter_count < count &&
        !now->lossy)
        return "as many vote as did, or as are wanted";
    if (newly > 1 && !now->lossy)
        return "one comes to vote at a time";
    if (s->shards[i].move == 0 && coordinator_members_are_due(s, &s->shards[i]))
        return "what is due is asked for";
    return NULL;
}

static const char *nodes_next(struct coordinator_check *c, const struct coordinator_state *s)
{
    for (uint32_t i = 0; i < s->node_count; i++) {
        const struct coordinator_node *n = &s->nodes[i];
        if (n->id >= CHECK_IDS_MAX)
            return "a higher id than this check has room for";
        if (n->start != 0 && n->start < c->starts[n->id])
            return "starts only grow";
        c->restarts += c->starts[n->id] != 0 && n->start > c->starts[n->id];
        c->starts[n->id] = n->start != 0 ? n->start : c->starts[n->id];
    }
    return NULL;
}

const char *coordinator_check_next(struct coordinator_check *c, const struct coordinator_state *s)
{
    bool gap = c->begun && s->revision != c->revision + 1;
    const char *fault = coordinator_state_fault(s);
    if (fault != NULL)
        return fault;
    if (c->begun && s->revision <= c->revision)
        return "revisions only grow";
    if (s->shard_count > CHECK_SHARDS_MAX)
        return "more shards than this check has room for";
    fault = nodes_next(c, s);
    c->begun = true;
    c->revision = s->revision;
    c->versions++;
    c->gaps += gap;
    for (uint32_t i = 0; i < s->shard_count && fault == NULL; i++) {
        const struct configuration was = c->newest[i];
        fault = shard_next(c, i, &s->shards[i].configuration, gap);
        if (fault == NULL)
            fault = votes_next(c, s, i, &was);
    }
    if (s->lsn_ceiling < c->lsn_ceiling)
        fault = "what was granted is not taken back";
    c->lsn_ceiling = s->lsn_ceiling;
    return fault;
}
