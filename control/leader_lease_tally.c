#include "control/leader_lease_tally.h"

#include "dataplane/lease.h"
#include "engine/plant.h"

#include <string.h>

#define QUESTIONS_SHIFT 24u /* at a hundred a second, a leader of two days */

void leader_lease_tally_init(struct leader_lease_tally *t, const uint32_t *voters,
                             uint32_t voter_count, uint64_t index_first)
{
    ASSERT(voter_count != 0 && voter_count <= LIMIT_VOTERS);
    memset(t, 0, sizeof *t);
    t->index_first = index_first;
    /* Why not 0: late answers to an earlier leader on this node answer none of its questions. */
    t->number = index_first << QUESTIONS_SHIFT;
    t->voter_count = voter_count;
    memcpy(t->voters, voters, voter_count * sizeof voters[0]);
}

static uint32_t voter_of(const struct leader_lease_tally *t, uint32_t voter)
{
    uint32_t i = 0;
    while (i < t->voter_count && t->voters[i] != voter)
        i++;
    return i;
}

void leader_lease_tally_voters(struct leader_lease_tally *t, const uint32_t *voters,
                               uint32_t voter_count)
{
    ASSERT(voter_count != 0 && voter_count <= LIMIT_VOTERS);
    for (uint32_t s = 0; s < t->count; s++) {
        uint64_t good[LIMIT_VOTERS] = {0};
        for (uint32_t i = 0; i < voter_count; i++) {
            uint32_t before = voter_of(t, voters[i]);
            good[i] = before < t->voter_count ? t->subjects[s].good_until_ns[before] : 0;
        }
        memcpy(t->subjects[s].good_until_ns, good, sizeof good);
    }
    t->voter_count = voter_count;
    memcpy(t->voters, voters, voter_count * sizeof voters[0]);
}

uint64_t leader_lease_tally_asked(struct leader_lease_tally *t, uint64_t now)
{
    t->number++;
    t->asked_ns[t->number % LEADER_LEASE_ASKS] = now;
    return t->number;
}

/* Position; count if there is none. */
static uint32_t subject_of(const struct leader_lease_tally *t, uint32_t node)
{
    uint32_t i = 0;
    while (i < t->count && t->subjects[i].node != node)
        i++;
    return i;
}

static struct leader_lease_subject *subject_meet(struct leader_lease_tally *t, uint32_t node,
                                                 uint64_t start)
{
    uint32_t i = subject_of(t, node);
    if (i == LIMIT_NODES)
        return NULL;
    struct leader_lease_subject *s = &t->subjects[i];
    t->count += i == t->count;
    if (s->start < start)
        *s = (struct leader_lease_subject){.node = node, .start = start};
    return s;
}

int leader_lease_tally_said(struct leader_lease_tally *t, const struct leader_lease_answer *answer,
                            const struct leader_lease_over *over)
{
    uint32_t i = voter_of(t, answer->voter);
    if (i == t->voter_count || answer->number == 0 || answer->number > t->number)
        return -ENOENT;
    if (t->number - answer->number >= LEADER_LEASE_ASKS || answer->index < t->index_first)
        return -ESTALE;
    struct leader_lease_subject *s = subject_meet(t, over->node, over->start);
    if (s == NULL)
        return -ENOSPC;
    if (s->start > over->start || answer->index < s->index_decided)
        return -ESTALE;
    uint64_t bound = min_u64(over->bound_ns, LEADER_LEASE_NS_MAX);
    uint64_t asked = t->asked_ns[answer->number % LEADER_LEASE_ASKS];
    uint64_t end = PLANTED(LEADER_RATE_IGNORED) ? asked + bound : lease_right_end(asked, bound);
    s->good_until_ns[i] = max_u64(s->good_until_ns[i], end);
    return 0;
}

bool leader_lease_tally_is_over(const struct leader_lease_tally *t, uint32_t node, uint64_t start,
                                uint64_t now)
{
    uint32_t at = subject_of(t, node), good = 0;
    if (at == t->count || t->subjects[at].start != start)
        return false;
    for (uint32_t i = 0; i < t->voter_count; i++)
        good += now < t->subjects[at].good_until_ns[i];
    return good > t->voter_count / 2;
}

void leader_lease_tally_decided(struct leader_lease_tally *t, uint32_t node, uint64_t start,
                                uint64_t index)
{
    struct leader_lease_subject *s = subject_meet(t, node, start);
    if (s == NULL || s->start != start)
        return;
    memset(s->good_until_ns, 0, sizeof s->good_until_ns);
    s->index_decided = max_u64(s->index_decided, index);
}
