/* history - a leader written at random, and what every key held at every LSN: the model that tests of
 * snapshots compare with.  One thread; everything random comes from a seed. */
#ifndef DUNLIN_TESTS_UNIT_ENGINE_HISTORY_H
#define DUNLIN_TESTS_UNIT_ENGINE_HISTORY_H

#include "tests/unit/engine/fixture.h"

#define HISTORY_KEYS 8000u
#define HISTORY_SESSIONS 12u
#define HISTORY_VALUE_MAX 20000u

/* A version of a key; version 0: deleted. */
struct history_entry {
    uint64_t lsn, lsn_end; /* of its record: visible at or above lsn_end */
    uint64_t version;
    uint32_t length;
};

struct history_key {
    struct history_entry *entries; /* oldest first */
    uint32_t count, room;
};

struct history {
    uint64_t seed;
    uint32_t keys_in_use; /* numbers below it are written; raise it to make the index grow */
    uint64_t epoch;
    uint64_t sessions_opened;
    struct {
        uint8_t id[SESSION_ID_BYTES];
        uint64_t lsn;      /* 0: not open */
        uint64_t sequence; /* last one used */
    } sessions[HISTORY_SESSIONS];
    struct history_key keys[HISTORY_KEYS];
    uint64_t refused; /* writes that found no room */
};

struct history *history_open(uint64_t seed, uint32_t keys);
void history_close(struct history *h);

/* Count random operations: puts of all sizes, deletes, compares that fail, all of these with and
 * without a session; sessions that open and close; now and then an epoch.  Some stay uncommitted. */
void history_write(struct history *h, struct fixture *leader, uint32_t count);
/* The value of key number at an LSN, NULL if it has none. */
const struct history_entry *history_at(const struct history *h, uint32_t number, uint64_t lsn);
/* Write key number once, uncommitted: length 0 deletes.  What shard_write returned. */
int history_put(struct history *h, struct fixture *leader, uint32_t number, uint32_t length);

/* Commit and take the answers; one pass of housekeeping. */
void history_commit(struct history *h, struct fixture *leader);

/* Every key, read in place, is what it was at the shard's commit LSN.  Returns how many are not. */
uint32_t history_differences(const struct history *h, const struct fixture *f);

#endif
