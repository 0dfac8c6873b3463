#include "dataplane/configuration.h"

static bool has_no_twins(const struct configuration *c)
{
    for (uint32_t i = 0; i < c->voter_count; i++)
        for (uint32_t j = i + 1; j < c->voter_count; j++)
            if (c->voters[i].node == c->voters[j].node)
                return false;
    for (uint32_t i = 0; i < c->learner_count; i++)
        for (uint32_t j = 0; j < c->voter_count; j++)
            if (c->learners[i].node == c->voters[j].node)
                return false;
    return true;
}

bool configuration_is_valid(const struct configuration *c)
{
    return c->epoch > c->epoch_before && c->voter_count != 0 && c->voter_count <= LIMIT_VOTERS &&
           c->voter_before_count <= LIMIT_VOTERS &&
           c->voter_count + c->learner_count <= LIMIT_PEERS &&
           ((c->epoch_before != 0) == (c->voter_before_count != 0) || c->lossy) &&
           (!c->lossy || (c->epoch_before != 0 && c->lsn_floor != 0)) &&
           member_find(c->voters, c->voter_count, &c->leader) >= 0 && has_no_twins(c);
}
