/* coordinator_check - the rules that successive versions of a coordinator's file keep, told once more and
 * otherwise than ruling.c does: by what every version must say of the one before.
 *
 *   epochs only grow; one epoch has one leader, one set of voters, one predecessor
 *   active never ends within an epoch
 *   voters_before are the voters of the last active epoch, but of a lossy one there are none: nobody is left
 *   of them, and it begins above every lossy one before
 *   who leads an epoch that has a predecessor is one of its voters, while any of them is left
 *   starts only grow; voters are the nodes as they are now */
#ifndef DUNLIN_TESTS_UNIT_CONTROL_COORDINATOR_CHECK_H
#define DUNLIN_TESTS_UNIT_CONTROL_COORDINATOR_CHECK_H

#include "control/coordinator_state.h"

#define CHECK_SHARDS_MAX 16u

struct coordinator_check {
    bool begun;
    uint64_t revision;
    uint64_t starts[LIMIT_VOTERS];
    struct configuration newest[CHECK_SHARDS_MAX]; /* epoch 0: none yet */
    struct configuration active[CHECK_SHARDS_MAX]; /* last one that was seen to be */
    uint64_t floors[CHECK_SHARDS_MAX];             /* of lossy epochs */
    /* how much was exercised */
    unsigned versions, gaps, restarts, epochs, activations, replaced, moves, given_up;
};

/* Look at the next version: all zero before the first.  NULL, or the rule that it breaks.  A version that
 * is missing in between (revision) is counted, and what it could have said is not held against this one. */
const char *coordinator_check_next(struct coordinator_check *c, const struct coordinator_state *s);

#endif
