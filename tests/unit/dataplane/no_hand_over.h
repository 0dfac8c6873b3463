/* no_hand_over - functions of struct node_cluster for tests in which no leader is asked to let go. */
#ifndef DUNLIN_TESTS_UNIT_DATAPLANE_NO_HAND_OVER_H
#define DUNLIN_TESTS_UNIT_DATAPLANE_NO_HAND_OVER_H

#include "engine/base.h"

static inline bool hands_over(void *context, uint32_t log, uint64_t epoch)
{
    (void)context, (void)log, (void)epoch;
    return false;
}

static inline void handed_over(void *context, uint32_t log, uint64_t epoch)
{
    (void)context, (void)log, (void)epoch;
}

#endif
