/* fleet_value - what the fleet keeps in Dunlin: names of keys, and values that prove they are
 * whole.
 *
 * Value, as text, so that `dunlin get` shows it:
 *     CHECKSUM STAMP NUMBER TEXT     8, 16 and 16 hexadecimal digits, then anything
 * CHECKSUM is crc32c over key and everything behind it; STAMP the submission in ns of
 * CLOCK_BOOTTIME.  Telemetry: NUMBER counts the agent's puts from 1, TEXT is its row.  Sectors:
 * NUMBER is the owner (0: free), TEXT its name and, in 16 hexadecimal digits, the version that the write
 * expected.  Keys carry the run's number, so that a run neither meets what another left nor disturbs
 * it. */
#ifndef DUNLIN_BENCH_FLEET_VALUE_H
#define DUNLIN_BENCH_FLEET_VALUE_H

#include "bench/csv.h"
#include "bench/fleet_data.h"
#include "engine/base.h"

#define FLEET_VALUE_HEAD 43u
#define FLEET_VALUE_BYTES (FLEET_VALUE_HEAD + 32u + CSV_VALUE_BYTES)
#define FLEET_NAME_BYTES (CSV_AGENT_BYTES + 32u)
#define FLEET_KEY_BYTES (FLEET_NAME_BYTES + 16u)

/* One life of one agent: a recorded agent, in one repetition of its source, flown by one life of
 * one process.  As a number it is an owner: never 0, never used twice. */
struct fleet_identity {
    uint32_t source;     /* below FLEET_SOURCES_MAX */
    uint32_t agent;      /* below FLEET_AGENTS_MAX */
    uint32_t repetition; /* below FLEET_REPETITIONS_MAX */
    uint32_t life;       /* below FLEET_LIVES_MAX */
};
#define FLEET_REPETITIONS_MAX (1u << 24)
#define FLEET_LIVES_MAX (1u << 12)

uint64_t fleet_owner(struct fleet_identity id);
/* Any number gives an identity, also one that does not exist: check it before use as an index. */
struct fleet_identity fleet_identity(uint64_t owner);

/* "NAME", "NAME.REPETITION" or "NAME.REPETITION.LIFE".  Returns the length; no final 0. */
size_t fleet_name(const struct fleet_source *sources, uint64_t owner, char name[FLEET_NAME_BYTES]);

struct fleet_key {
    uint32_t length;
    char bytes[FLEET_KEY_BYTES];
};
/* "CELL.RUN": the first 6 bytes are the cell, for a partition prefix. */
void fleet_key_sector(struct fleet_key *key, uint32_t run, uint32_t cell);
/* "t/RUN/NAME" */
void fleet_key_telemetry(struct fleet_key *key, uint32_t run, const struct fleet_source *sources,
                         uint64_t owner);

/* What stands in a sector, or is to stand there; lsn: of it, or the one that is expected; 0: no such key. */
struct fleet_sector_state {
    uint64_t lsn, owner, stamp_ns;
};

/* Returns the length. */
size_t fleet_value_make(char value[FLEET_VALUE_BYTES], const struct fleet_key *key,
                        uint64_t stamp_ns, uint64_t number, struct csv_text text);

/* A sector's.  Returns the length. */
size_t fleet_value_make_sector(char value[FLEET_VALUE_BYTES], const struct fleet_key *key,
                               const struct fleet_source *sources,
                               const struct fleet_sector_state *state);
/* Which version a sector's value expected, which fleet_value_parse found whole.  Returns 0 or -EBADMSG. */
MUST_USE int fleet_value_expected(const char *value, size_t length, uint64_t *lsn);

/* Returns 0, or -EBADMSG: not whole, or the value of another key. */
MUST_USE int fleet_value_parse(const char *value, size_t length, const struct fleet_key *key,
                               uint64_t *stamp_ns, uint64_t *number);

#endif
