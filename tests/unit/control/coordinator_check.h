/* coordinator_check - the rules that successive versions of a coordinator's state keep, told once more and
 * otherwise than ruling.c does: by what every version must say of the one before.
 *
 *   epochs only grow; one epoch has one leader, one set of voters and of learners, one predecessor
 *   active never ends within an epoch
 *   voters_before are the voters of the last active epoch, but of a lossy one some of them, or none: then nobody is
 *   left; and it begins above every LSN that was ever granted, to whomever
 *   who leads an epoch that has a predecessor is one of its voters, while any of them is left
 *   starts only grow; voters are nodes as they are now, as many as there were or as are wanted
 *   nobody leaves who is named, and what is due has been asked for */
#ifndef DUNLIN_TESTS_UNIT_CONTROL_COORDINATOR_CHECK_H
#define DUNLIN_TESTS_UNIT_CONTROL_COORDINATOR_CHECK_H

#include "control/coordinator_state.h"

#define CHECK_SHARDS_MAX 16u
#define CHECK_IDS_MAX 100u

struct coordinator_check {
    bool begun;
    uint64_t revision;
    uint64_t starts[CHECK_IDS_MAX];                /* by id */
    struct configuration newest[CHECK_SHARDS_MAX]; /* epoch 0: none yet */
    struct configuration active[CHECK_SHARDS_MAX]; /* last one that was seen to be */
    uint64_t lsn_ceiling; /* highest that was ever granted, before what this version decides */
    /* how much was exercised */
    unsigned versions, gaps, restarts, epochs, activations, replaced, moves, given_up, recovered;
    unsigned voters_changed, promoted;
};

/* Look at the next version: all zero before the first.  NULL, or the rule that it breaks.  A version that
 * is missing in between (revision) is counted, and what it could have said is not held against this one. */
const char *coordinator_check_next(struct coordinator_check *c, const struct coordinator_state *s);

#endif
