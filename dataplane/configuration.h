/* configuration - who holds a shard in one epoch, as the control plane decides it.
 *
 * A voter is a (node, incarnation): a node that lost its memory comes back as somebody else, whose
 * promises and acknowledgements are not those of the one before.  A pending configuration is never
 * withdrawn, only replaced by one of a higher epoch.
 * Source: DESIGN section 5; Ongaro, "Consensus: Bridging Theory and Practice" (2014), chapter 4,
 * for what changes of voters must keep; Lamport, Malkhi, Zhou, "Vertical Paxos" (2009) for a
 * configuration master that replaces the voters' own elections. */
#ifndef DUNLIN_DATAPLANE_CONFIGURATION_H
#define DUNLIN_DATAPLANE_CONFIGURATION_H

#include "engine/base.h"
#include "engine/limits.h"

struct member {
    uint32_t node;
    uint32_t reserved;
    uint64_t incarnation;
};

struct configuration {
    uint64_t epoch;
    uint64_t epoch_before; /* predecessor; 0: there was none */
    uint64_t lsn_ceiling;  /* its leader may append up to there; 0: nobody limits it here */
    bool active;
    /* A majority of the predecessor is lost for good: voters_before are the survivors, all of which are
     * sealed; the best of their logs is what counts, and goes on above every LSN that was granted. */
    bool lossy;
    uint64_t lsn_floor; /* lossy: that bound */
    uint32_t voter_count, learner_count, voter_before_count;
    struct member leader;
    struct member voters[LIMIT_VOTERS];
    struct member learners[LIMIT_PEERS];
    struct member
        voters_before[LIMIT_VOTERS]; /* of the predecessor: a majority of them is sealed */
};

static inline bool member_equal(const struct member *a, const struct member *b)
{
    return a->node == b->node && a->incarnation == b->incarnation;
}

/* Position of a member in a list, or -1. */
static inline int member_find(const struct member *list, uint32_t count, const struct member *m)
{
    for (uint32_t i = 0; i < count; i++)
        if (member_equal(&list[i], m))
            return (int)i;
    return -1;
}

static inline uint32_t majority_of(uint32_t voter_count)
{
    return voter_count / 2 + 1;
}

/* Leader among the voters, no member twice, counts within limits, epochs in order. */
bool configuration_is_valid(const struct configuration *c);

#endif
