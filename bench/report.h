/* report - what a bench found: rows, printed as a table for people or as JSON for scripts.
 *
 * JSON, one object (its keys are a contract, see README): bench, machine, rows; a row has name,
 * unit, median, p99, p999, samples, baseline, ratio, note.  A row that is held against a baseline
 * has besides: baseline_median, goal, verdict, pair_ratio (median, low, high: what was judged),
 * pairs, repeats, baseline_swing, refused.  A row with an absolute goal has goal and verdict alone.
 * What was not measured, or has no goal, is null.
 * ratio is median / baseline_median, both medians over the pairs. */
#ifndef DUNLIN_BENCH_REPORT_H
#define DUNLIN_BENCH_REPORT_H

#include "bench/histogram.h"
#include "bench/machine.h"
#include "bench/pairs.h"

#define REPORT_ROWS_MAX 64u
#define REPORT_NOTE_BYTES 320u

struct report_row {
    char name[64];
    const char *unit; /* "ns", "M/s", "%" ... */
    double median;
    double p99, p999; /* NAN: not measured */
    uint64_t samples;
    char baseline[64];      /* "": held against nothing */
    struct pairs_goal goal; /* of the ratio, or without a baseline of the median */
    struct pairs_judgement judgement;
    char note[REPORT_NOTE_BYTES];
};

struct report {
    const char *bench;
    struct machine machine;
    struct report_row rows[REPORT_ROWS_MAX];
    uint32_t row_count;
};

/* Probes the machine too. */
void report_init(struct report *r, const char *bench);

/* A new row without baseline, percentiles unknown; set what is known of it.  The note is printf's.
 */
struct report_row *report_add(struct report *r, const char *name, const char *unit, double median);
void report_note(struct report_row *row, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Percentiles and sample count of a row from a histogram, each value times scale. */
void report_percentiles(struct report_row *row, const struct histogram *h, double scale);

/* Hold a row without a baseline against an absolute goal. */
void report_goal(struct report_row *row, struct pairs_goal goal);

/* What a row is held against, and what came out. */
struct report_against {
    const char *baseline;
    struct pairs_goal goal;
    struct pairs_judgement judgement;
};
struct report_row *report_add_judged(struct report *r, const char *name, const char *unit,
                                     const struct report_against *against);

/* True if any row was refused: the exit code is then BENCH_REFUSED. */
bool report_refused(const struct report *r);

/* Print everything to stdout.  Returns 0 or -errno (the pipe is gone, no memory). */
MUST_USE int report_print(const struct report *r, bool json);

#endif
