/* fleet_copy - one key as one node has it, for comparing nodes.  Pure. */
#ifndef DUNLIN_BENCH_FLEET_COPY_H
#define DUNLIN_BENCH_FLEET_COPY_H

#include "bench/fleet_journal.h"
#include "bench/fleet_value.h"

#include <string.h>

struct fleet_copy {
    uint64_t lsn; /* 0: there is no such key */
    size_t length;
    char value[FLEET_VALUE_BYTES];
};

/* Returns 0: they are equal, or the finding. */
static inline int fleet_copy_compare(const struct fleet_copy *first, const struct fleet_copy *other)
{
    if (first->lsn != other->lsn)
        return FLEET_FINDING_REPLICA_VERSION;
    if (first->length != other->length || memcmp(first->value, other->value, first->length) != 0)
        return FLEET_FINDING_REPLICA_VALUE;
    return 0;
}

#endif
