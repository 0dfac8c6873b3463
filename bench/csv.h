/* csv - recorded fleets as comma-separated text: rows out of bytes that may be anything.
 *
 * Pure: bytes are pushed in pieces of any size, rows come out of a callback; no I/O, no allocation.
 * The first bad line ends it with -EINVAL and a sentence that names the line and what was expected;
 * bytes of the file that it quotes are made printable.
 *
 * Accepted  a header with time_s, lat_deg, lon_deg and an agent column; further columns are the
 * value LF or CR LF; a byte order mark; blank lines at the end; fields in double quotes (a doubled
 * quote stands for one) that end on their line Numbers   plain decimals with an optional sign;
 * digits past the unit kept are cut off Refused   everything else, by name: too few or many fields,
 * an empty or non-numeric or out-of-range number, an empty or over-long agent, control bytes, an
 * over-long line, a time before that of the line before unless any_order is set Units     time_us
 * microseconds, *_e7 1e-7 degrees, lines count from 1 (the header). */
#ifndef DUNLIN_BENCH_CSV_H
#define DUNLIN_BENCH_CSV_H

#include "engine/base.h"

#define CSV_LINE_BYTES 4096u
#define CSV_COLUMNS 64u
#define CSV_AGENT_BYTES 64u
#define CSV_VALUE_BYTES 512u        /* the further columns of a row */
#define CSV_TIME_S_MAX 100000000000 /* either way from 1970 */
#define CSV_ERROR_BYTES 256u

struct csv_text {
    const char *bytes;
    size_t length;
};

/* One row; its texts are good until the callback returns. */
struct csv_row {
    uint64_t line;
    int64_t time_us;
    int32_t lat_e7, lon_e7;
    struct csv_text agent;
    struct csv_text value; /* further columns in the file's order, commas between */
};

/* Returns 0, or -errno to stop; csv_feed passes it on. */
typedef int csv_on_row(void *context, const struct csv_row *row);

struct csv_options {
    const char
        *agent_column; /* NULL: the first there is of agent, icao24, mmsi, track_id, device */
    bool any_order;    /* times need not grow */
};

struct csv {
    struct csv_options options;
    csv_on_row *on_row;
    void *context;
    uint64_t line; /* of the last whole line */
    uint64_t row_count;
    uint64_t blank_line; /* first of a run of blank lines, 0: none */
    uint64_t time_line;  /* line that time_us came from */
    int64_t time_us;
    uint32_t column_count, column_time, column_lat, column_lon, column_agent;
    uint32_t length; /* of the line so far */
    char buffer[CSV_LINE_BYTES + 1];
    char value[CSV_VALUE_BYTES];
    char error[CSV_ERROR_BYTES]; /* "line 12: ..."; empty: no error */
};

/* options and context are kept by reference of their members: they outlive c. */
void csv_init(struct csv *c, const struct csv_options *options, csv_on_row *on_row, void *context);

/* Returns 0; -EINVAL with c->error; or what on_row returned.  After an error only csv_init helps.
 */
MUST_USE int csv_feed(struct csv *c, const char *bytes, size_t length);

/* The file is over: takes a last line without a line end.  Returns as csv_feed; -EINVAL also when
 * there was no header or no row. */
MUST_USE int csv_end(struct csv *c);

/* text as a number in units of 10^-decimals, from its first 18 digits.  Returns 0; -EINVAL: not
 * one; -ERANGE: it does not fit. */
MUST_USE int csv_decimal(struct csv_text text, uint32_t decimals, int64_t *value);

#endif
