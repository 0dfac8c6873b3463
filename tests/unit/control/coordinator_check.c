#include "tests/unit/control/coordinator_check.h"

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
    for (uint32_t i = 0; i < count; i++)
        if (members_equal(&list[i], m, 1))
            return true;
    return false;
}

static const char *same_epoch(struct coordinator_check *c, uint32_t i,
                              const struct configuration *now)
{
    const struct configuration *was = &c->newest[i];
    if (!members_equal(&was->leader, &now->leader, 1) || was->voter_count != now->voter_count ||
        !members_equal(was->voters, now->voters, now->voter_count) ||
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
    for (uint32_t v = 0; v < now->voter_count && !was->lossy; v++)
        if (is_voter(before->voters, before->voter_count, &now->voters[v]))
            return "what is given up is held by nobody";
    if (was->lossy && !was->active && was->lsn_floor != now->lsn_floor)
        return "a lossy epoch that is replaced keeps its floor";
    if (now->lsn_floor <= c->floors[i] && !(was->lossy && !was->active))
        return "each lossy epoch lies above those before";
    c->floors[i] = now->lsn_floor;
    c->given_up += !was->lossy;
    return now->voter_before_count == 0 ? NULL : "what is given up has no predecessor";
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
        return given_up(c, i, before, now);
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
    for (uint32_t i = 0; i < s->node_count; i++) {
        if (s->nodes[i].start < c->starts[i])
            return "starts only grow";
        c->restarts += c->starts[i] != 0 && s->nodes[i].start > c->starts[i];
        c->starts[i] = s->nodes[i].start;
    }
    c->begun = true;
    c->revision = s->revision;
    c->versions++;
    c->gaps += gap;
    for (uint32_t i = 0; i < s->shard_count && fault == NULL; i++)
        fault = shard_next(c, i, &s->shards[i].configuration, gap);
    return fault;
}
