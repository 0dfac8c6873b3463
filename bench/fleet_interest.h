/* fleet_interest - which keys of the fleet one watcher asks for.
 *
 * Pure.  A part of the keys by prefix, by pattern, or all of a space; and a matcher of its own, so that
 * what Dunlin gives out is held against something else than Dunlin's. */
#ifndef DUNLIN_BENCH_FLEET_INTEREST_H
#define DUNLIN_BENCH_FLEET_INTEREST_H

#include "bench/fleet_data.h"
#include "bench/fleet_value.h"
#include "engine/base.h"

struct fleet_interest {
    bool sectors; /* the space: else telemetry */
    bool is_pattern;
    uint32_t length; /* 0: all keys */
    char text[FLEET_KEY_BYTES];
};

/* Of the keys that these sources make. */
struct fleet_interest_from {
    const struct fleet_source *sources;
    uint32_t source_count; /* 1 or more */
    uint32_t run;
};

/* The nth watcher's of a place: the first two ask for all of a space, the others for keys that the data
 * has, as random says. */
void fleet_interest_choose(struct fleet_interest *i, const struct fleet_interest_from *from,
                           uint32_t n, uint64_t *random);

/* By what dunlin.h says of prefixes and patterns. */
bool fleet_interest_match(const struct fleet_interest *i, const char *key, size_t length);

#endif
