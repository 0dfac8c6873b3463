#include "dataplane/configuration.h"

static bool has_node(const struct member *list, uint32_t count, uint32_t node)
{
    for (uint32_t i = 0; i < count; i++)
        if (list[i].node == node)
            return true;
    return false;
}

static bool has_no_twins(const struct configuration *c)
{
    for (uint32_t i = 0; i < c->voter_count; i++)
        if (has_node(c->voters, i, c->voters[i].node))
            return false;
    for (uint32_t i = 0; i < c->learner_count; i++)
        if (has_node(c->learners, i, c->learners[i].node) ||
            has_node(c->voters, c->voter_count, c->learners[i].node))
            return false;
    for (uint32_t i = 0; i < c->voter_before_count; i++)
        if (has_node(c->voters_before, i, c->voters_before[i].node))
            return false;
    return true;
}

bool configuration_is_valid(const struct configuration *c)
{
    return c->epoch > c->epoch_before && c->voter_count != 0 && c->voter_count <= LIMIT_VOTERS &&
           c->voter_before_count <= LIMIT_VOTERS &&
           c->learner_count <= LIMIT_PEERS - c->voter_count &&
           ((c->epoch_before != 0) == (c->voter_before_count != 0) || c->lossy) &&
           (!c->lossy || (c->epoch_before != 0 && c->lsn_floor != 0)) &&
           member_find(c->voters, c->voter_count, &c->leader) >= 0 && has_no_twins(c);
}
