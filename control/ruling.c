#include "control/ruling.h"

#include <string.h>

void ruling_first(struct configuration *first, uint64_t epoch, const struct member *voters,
                  uint32_t voter_count)
{
    ASSERT(voter_count != 0 && voter_count <= LIMIT_VOTERS);
    *first =
        (struct configuration){.epoch = epoch, .voter_count = voter_count, .leader = voters[0]};
    memcpy(first->voters, voters, voter_count * sizeof voters[0]);
    ASSERT(configuration_is_valid(first));
}

/* All but leader and voters. */
static void succeed(struct configuration *next, const struct configuration *newest)
{
    *next = *newest;
    next->epoch++;
    next->active = false;
    if (!newest->active)
        return;
    /* Why: what is lossy is so once; the epoch after it has a predecessor like any other. */
    next->lossy = false;
    next->lsn_floor = 0;
    next->epoch_before = newest->epoch;
    next->voter_before_count = newest->voter_count;
    memcpy(next->voters_before, newest->voters, sizeof next->voters_before);
}

void ruling_follow(struct configuration *next, const struct configuration *newest,
                   const struct member *leader)
{
    succeed(next, newest);
    next->leader = *leader;
    ASSERT(configuration_is_valid(next));
}

void ruling_change(struct configuration *next, const struct configuration *newest,
                   const struct member *leader, const struct member *voters, uint32_t voter_count)
{
    succeed(next, newest);
    next->leader = *leader;
    next->voter_count = voter_count;
    memset(next->voters, 0, sizeof next->voters);
    memcpy(next->voters, voters, voter_count * sizeof voters[0]);
    /* Why: somebody who learns may vote from here on; the caller says who learns. */
    next->learner_count = 0;
    memset(next->learners, 0, sizeof next->learners);
    ASSERT(configuration_is_valid(next) &&
           (next->voter_before_count == 0 ||
            member_find(next->voters_before, next->voter_before_count, leader) >= 0));
}

void ruling_recover(struct configuration *next, const struct configuration *newest,
                    const struct ruling_recovery *r)
{
    struct configuration before = *newest;
    ASSERT(ruling_is_lost(newest) && r->lsn_floor != 0 &&
           member_find(r->survivors, r->survivor_count, &r->leader) >= 0);
    before.voter_before_count = r->survivor_count;
    memset(before.voters_before, 0, sizeof before.voters_before);
    memcpy(before.voters_before, r->survivors, r->survivor_count * sizeof r->survivors[0]);
    before.lossy = true;
    before.lsn_floor = r->lsn_floor;
    ruling_change(next, &before, &r->leader, r->voters, r->voter_count);
}

void ruling_give_up(struct configuration *next, const struct configuration *newest,
                    uint64_t lsn_floor)
{
    ASSERT(ruling_is_gone(newest));
    succeed(next, newest);
    next->lossy = true;
    next->lsn_floor = lsn_floor;
    next->voter_before_count = 0;
    memset(next->voters_before, 0, sizeof next->voters_before);
    ASSERT(configuration_is_valid(next));
}

/* ---- a voter's new incarnation ---- */

static uint32_t position_of(const struct configuration *c, uint32_t node)
{
    uint32_t i = 0;
    while (i < c->voter_count && c->voters[i].node != node)
        i++;
    return i;
}

static bool was_before(const struct configuration *c, const struct member *m)
{
    return member_find(c->voters_before, c->voter_before_count, m) >= 0;
}

/* Position of who leads instead of the voter at this one, which has lost its memory: itself if nobody
 * can. */
static uint32_t successor_of(const struct configuration *next, uint32_t position,
                             const uint64_t *since, uint32_t turn)
{
    uint32_t able[LIMIT_VOTERS];
    uint32_t count = 0;
    for (uint32_t i = 1; i < next->voter_count; i++) {
        uint32_t at = (position + i) % next->voter_count;
        if (!was_before(next, &next->voters[at]))
            continue;
        if (count != 0 && since[at] > since[able[0]])
            continue;
        if (count != 0 && since[at] < since[able[0]])
            count = 0;
        able[count++] = at;
    }
    return count != 0 ? able[turn % count] : position;
}

void ruling_restart(struct configuration *next, const struct configuration *newest,
                    const struct member *born, const uint64_t *since, uint32_t turn)
{
    uint32_t position = position_of(newest, born->node);
    ASSERT(position < newest->voter_count);
    succeed(next, newest);
    next->voters[position] = *born;
    if (next->leader.node == born->node)
        next->leader = next->voters[successor_of(next, position, since, turn)];
    ASSERT(configuration_is_valid(next));
}

/* ---- questions ---- */

bool ruling_may_lead(const struct configuration *newest, const struct member *voter)
{
    if (member_find(newest->voters, newest->voter_count, voter) < 0)
        return false;
    return newest->active || newest->voter_before_count == 0 || was_before(newest, voter);
}

/* Of the voters of its predecessor, those that are who they were. */
static uint32_t left_count(const struct configuration *newest)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < newest->voter_before_count; i++) {
        const struct member *m = &newest->voters_before[i];
        left += member_find(newest->voters, newest->voter_count, m) >= 0 ||
                member_find(newest->learners, newest->learner_count, m) >= 0;
    }
    return left;
}

bool ruling_is_lost(const struct configuration *newest)
{
    uint32_t needed =
        newest->lossy ? newest->voter_before_count : majority_of(newest->voter_before_count);
    return !newest->active && newest->voter_before_count != 0 && left_count(newest) < needed;
}

bool ruling_is_gone(const struct configuration *newest)
{
    return ruling_is_lost(newest) && left_count(newest) == 0;
}
