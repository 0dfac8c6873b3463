/* fleet_watched - what one watcher has been given of the fleet's keys: nothing twice, nothing left out.
 *
 * Pure but for memory.  All that a watcher asked for is written while it watches, so of each key it is
 * given the first write and every later one: an agent's telemetry counts from 1, a write of a sector names
 * the version it follows.  Only a lag that was told lets it miss anything: then all keys of that log begin
 * anew.  In the end, when nobody writes any more, what it was given last is what stands in Dunlin.
 * Keys are told apart by a 64-bit hash. */
#ifndef DUNLIN_BENCH_FLEET_WATCHED_H
#define DUNLIN_BENCH_FLEET_WATCHED_H

#include "bench/fleet_journal.h"
#include "engine/base.h"

struct fleet_watched_key {
    uint64_t hash;
    uint64_t log, lsn; /* of the newest event; lsn 0: the place is free */
    uint64_t number;   /* telemetry: its */
};

/* Zeros are one that was given nothing. */
struct fleet_watched {
    struct fleet_watched_key *keys; /* open addressing by hash */
    uint32_t count, room;
    uint64_t lsn_lagged; /* the highest at which it went on after a lag; 0: it never lagged */
};

struct fleet_event {
    uint64_t hash;
    uint64_t log, lsn;
    bool is_sector, is_delete;
    uint64_t number;     /* telemetry */
    uint64_t lsn_before; /* sector: the version it follows */
};

/* Something was left out, or comes twice. */
struct fleet_omission {
    uint64_t expected, found; /* numbers of telemetry, versions else */
    uint64_t missing;         /* puts of telemetry that were not given; else UINT64_MAX */
};

/* Take an event.  Returns 0; or FLEET_FINDING_WATCH_VERSION (the key had this version or a newer one) or
 * FLEET_FINDING_WATCH_SKIPPED, each with *omission, and it goes on from there; or -ENOMEM. */
MUST_USE int fleet_watched_take(struct fleet_watched *w, const struct fleet_event *event,
                                struct fleet_omission *omission);

/* It was told that it lagged in this log, and goes on at lsn. */
void fleet_watched_lag(struct fleet_watched *w, uint64_t log, uint64_t lsn);

/* A key that it asked for, as it stands now.  Returns 0, or FLEET_FINDING_WATCH_MISSED with *omission. */
MUST_USE int fleet_watched_judge(const struct fleet_watched *w, uint64_t hash, uint64_t lsn,
                                 struct fleet_omission *omission);

/* Its newest event; NULL: none, or the key was deleted since. */
const struct fleet_watched_key *fleet_watched_find(const struct fleet_watched *w, uint64_t hash);

void fleet_watched_free(struct fleet_watched *w);

#endif
