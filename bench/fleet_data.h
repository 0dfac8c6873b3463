/* fleet_data - recorded fleets, ready to be replayed: compact rows in time order, who owns each.
 *
 * Built by one process before any other is forked and never changed after fleet_source_finish: the
 * children read the same pages.
 * A source repeats: repetition r of the row at time_us happens at r * period_us + time_us of the
 * fleet's virtual clock, by new agents.  Silence of the whole source above FLEET_SILENCE_US is
 * shortened to that (recordings of different days run as one).
 * Units: *_us microseconds of recorded time from the source's first row. */
#ifndef DUNLIN_BENCH_FLEET_DATA_H
#define DUNLIN_BENCH_FLEET_DATA_H

#include "bench/csv.h"
#include "engine/base.h"

#define FLEET_SOURCES_MAX 8u
#define FLEET_ROWS_MAX (1u << 24)
#define FLEET_TEXT_BYTES_MAX (1u << 30)
#define FLEET_AGENTS_MAX (1u << 22)
#define FLEET_FILE_BYTES_MAX (UINT64_C(1) << 32) /* after decompression */
#define FLEET_PROCESSES_MAX 512u

#define FLEET_SILENCE_US (INT64_C(60) * 1000000)
#define FLEET_LEAVE_US (INT64_C(300) * 1000000) /* silent for longer: it left the air */
#define FLEET_PAUSE_US (INT64_C(1) * 1000000)   /* between two repetitions */

#define FLEET_ROW_LEAVES                                                                           \
    0x1u                    /* the agent is silent for long after this row: it frees its sector    \
                             */
#define FLEET_ROW_LAST 0x2u /* last row of the agent in the file */

struct fleet_row {
    int64_t time_us;
    uint32_t cell; /* geohash.h */
    uint32_t agent;
    uint32_t text; /* offset of "lat,lon,further columns" */
    uint16_t text_length;
    uint16_t flags; /* FLEET_ROW_* */
};
_Static_assert(sizeof(struct fleet_row) == 24, "compact");

struct fleet_agent {
    uint32_t name; /* offset in text */
    uint32_t name_length;
    uint64_t hash; /* of the name */
};

struct fleet_source {
    char label[64];
    struct fleet_row *rows;
    struct fleet_agent *agents;
    char *text;
    uint32_t *map; /* hash of a name to agent + 1; while it is built */
    uint32_t row_count, row_room, agent_count, agent_room, text_bytes, text_room, map_room;
    int64_t period_us;
    uint32_t deal_from; /* process of agent 0; before fleet_source_finish */
    uint64_t silences_cut;
    uint32_t *order; /* rows of process p: order[order_start[p]] .. order[order_start[p + 1]] */
    uint32_t *order_start;
};

/* Add a row.  Returns 0, -ENOMEM, or -E2BIG: a limit above. */
MUST_USE int fleet_source_add(struct fleet_source *s, const struct csv_row *row);

/* All rows are in: sort them if asked, mark who leaves, shorten silences, and deal the agents out
 * to process_count processes.  Returns 0 or -ENOMEM. */
MUST_USE int fleet_source_finish(struct fleet_source *s, bool sort, uint32_t process_count);

/* Which process owns a recorded agent.  In turn, not by hash: agents are numbered as they appear,
 * so those that are in the air together lie with different processes. */
static inline uint32_t fleet_process_of(const struct fleet_source *s, uint32_t agent,
                                        uint32_t process_count)
{
    return (s->deal_from + agent) % process_count;
}

void fleet_source_free(struct fleet_source *s);

/* Load a file (plain or gzip) and finish it.  Returns 0, or a negative errno with a sentence in
 * error that names the file. */
struct fleet_load {
    const char *path;
    const char *agent_column; /* NULL: by the list of csv.h */
    bool sort;
    uint32_t process_count;
};
MUST_USE int fleet_source_load(struct fleet_source *s, const struct fleet_load *load, char *error,
                               size_t error_bytes);

/* Recordings made up from a seed, and finished.
 *   FLEET_SPARSE  aircraft on straight tracks, a report each 10 s, nearly each in a new sector
 *   FLEET_CROWD   vehicles in a town of about seven sectors, a report each second
 * Returns 0 or -ENOMEM. */
enum fleet_kind { FLEET_SPARSE, FLEET_CROWD };
MUST_USE int fleet_source_generate(struct fleet_source *s, enum fleet_kind kind, uint64_t seed,
                                   uint32_t process_count);

#endif
