#include "bench/report.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void report_init(struct report *r, const char *bench)
{
    memset(r, 0, sizeof *r);
    r->bench = bench;
    machine_probe(&r->machine);
}

struct report_row *report_add(struct report *r, const char *name, const char *unit, double median)
{
    ASSERT(r->row_count < REPORT_ROWS_MAX);
    struct report_row *row = &r->rows[r->row_count++];
    *row = (struct report_row){.unit = unit, .median = median, .p99 = NAN, .p999 = NAN};
    (void)snprintf(row->name, sizeof row->name, "%s", name);
    return row;
}

void report_note(struct report_row *row, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(row->note, sizeof row->note, format, arguments);
    va_end(arguments);
}

void report_percentiles(struct report_row *row, const struct histogram *h, double scale)
{
    row->samples = histogram_count(h);
    if (row->samples >= 100)
        row->p99 = (double)histogram_percentile(h, 0.99) * scale;
    if (row->samples >= 1000)
        row->p999 = (double)histogram_percentile(h, 0.999) * scale;
}

void report_goal(struct report_row *row, struct pairs_goal goal)
{
    bool meets =
        goal.direction == PAIRS_AT_MOST ? row->median <= goal.limit : row->median >= goal.limit;
    row->goal = goal;
    row->judgement.verdict = meets ? PAIRS_PASS : PAIRS_FAIL;
}

struct report_row *report_add_judged(struct report *r, const char *name, const char *unit,
                                     const struct report_against *against)
{
    struct report_row *row = report_add(r, name, unit, against->judgement.test_median);
    (void)snprintf(row->baseline, sizeof row->baseline, "%s", against->baseline);
    row->goal = against->goal;
    row->judgement = against->judgement;
    row->samples = against->judgement.pairs;
    return row;
}

bool report_refused(const struct report *r)
{
    for (uint32_t i = 0; i < r->row_count; i++)
        if (r->rows[i].baseline[0] != '\0' && r->rows[i].judgement.refused)
            return true;
    return false;
}

/* ---- JSON ---- */

/* Four significant digits: no figure here is better than that. */
static json_t *number(double value)
{
    if (!isfinite(value))
        return json_null();
    char text[32];
    (void)snprintf(text, sizeof text, "%.4g", value);
    double rounded = value;
    (void)sscanf(text, "%lf", &rounded);
    return json_real(rounded);
}

static json_t *machine_json(const struct machine *m)
{
    return json_pack("{s:s, s:i, s:I, s:s, s:s, s:s, s:o, s:o, s:b}", "cpu", m->cpu, "cpus",
                     (int)m->cpus, "memory_mb", (json_int_t)(m->memory_bytes >> 20), "kernel",
                     m->kernel, "compiler", m->compiler, "huge_pages", m->huge_pages, "tsc_ghz",
                     number(m->ticks_per_ns), "load_1min", number(m->load_1min), "virtual",
                     (int)m->virtual_machine);
}

static void goal_text(struct pairs_goal goal, char *text, size_t capacity)
{
    (void)snprintf(text, capacity, "%s %.3g",
                   goal.direction == PAIRS_AT_MOST ? "<=" : ">=", goal.limit);
}

static json_t *judged_json(const struct report_row *row)
{
    const struct pairs_judgement *j = &row->judgement;
    return json_pack("{s:s, s:o, s:o, s:{s:o, s:o, s:o}, s:i, s:i, s:o, s:b}", "baseline",
                     row->baseline, "ratio", number(j->test_median / j->baseline_median),
                     "baseline_median", number(j->baseline_median), "pair_ratio", "median",
                     number(j->ratio), "low", number(j->ratio_low), "high", number(j->ratio_high),
                     "pairs", (int)j->pairs, "repeats", (int)j->repeats, "baseline_swing",
                     number(j->baseline_swing), "refused", (int)j->refused);
}

static json_t *goal_json(const struct report_row *row)
{
    if (row->goal.direction == PAIRS_NO_GOAL)
        return json_pack("{s:n, s:n}", "goal", "verdict");
    char goal[32];
    goal_text(row->goal, goal, sizeof goal);
    return json_pack("{s:s, s:s}", "goal", goal, "verdict",
                     pairs_verdict_name(row->judgement.verdict));
}

static json_t *row_json(const struct report_row *row)
{
    json_t *object =
        json_pack("{s:s, s:s, s:o, s:o, s:o, s:I, s:s}", "name", row->name, "unit", row->unit,
                  "median", number(row->median), "p99", number(row->p99), "p999", number(row->p999),
                  "samples", (json_int_t)row->samples, "note", row->note);
    json_t *judged =
        row->baseline[0] != '\0' ? judged_json(row) : json_pack("{s:n, s:n}", "baseline", "ratio");
    json_t *goal = goal_json(row);
    int rc = object == NULL || judged == NULL || goal == NULL ? -1 : 0;
    if (rc == 0)
        rc = json_object_update(object, judged);
    if (rc == 0)
        rc = json_object_update(object, goal);
    json_decref(judged);
    json_decref(goal);
    if (rc == 0)
        return object;
    json_decref(object);
    return NULL;
}

static int print_json(const struct report *r)
{
    json_t *rows = json_array();
    for (uint32_t i = 0; i < r->row_count; i++)
        if (json_array_append_new(rows, row_json(&r->rows[i])) != 0) {
            json_decref(rows);
            return -ENOMEM;
        }
    json_t *root = json_pack("{s:s, s:o, s:o}", "bench", r->bench, "machine",
                             machine_json(&r->machine), "rows", rows);
    if (root == NULL)
        return -ENOMEM;
    int rc = json_dumpf(root, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(15)) == 0 ? 0 : -EIO;
    json_decref(root);
    if (rc == 0 && (putchar('\n') == EOF || fflush(stdout) != 0))
        rc = -EIO;
    return rc;
}

/* ---- table ---- */

static const char *cell(double value, char *text, size_t capacity)
{
    if (!isfinite(value))
        (void)snprintf(text, capacity, "-");
    else
        (void)snprintf(text, capacity, fabs(value) >= 1000 ? "%.0f" : "%.4g", value);
    return text;
}

static void print_verdict(const struct report_row *row)
{
    char goal[32];
    goal_text(row->goal, goal, sizeof goal);
    if (row->goal.direction != PAIRS_NO_GOAL)
        printf("    goal %s: %s\n", goal, pairs_verdict_name(row->judgement.verdict));
}

static void print_judgement(const struct report_row *row)
{
    const struct pairs_judgement *j = &row->judgement;
    char against[24];
    printf("    %s: %s %s; ratio %.3f (95 %% %.3f to %.3f, %u pairs)\n", row->baseline,
           cell(j->baseline_median, against, sizeof against), row->unit, j->ratio, j->ratio_low,
           j->ratio_high, j->pairs);
    if (j->refused)
        printf("    REFUSED: the baseline swung by %.0f %% (%u repeats); is the machine busy?\n",
               j->baseline_swing * 100, j->repeats);
}

static void print_row(const struct report_row *row)
{
    char median[24], p99[24], p999[24];
    printf("%-40s %10s %-8s %10s %10s %9llu\n", row->name, cell(row->median, median, sizeof median),
           row->unit, cell(row->p99, p99, sizeof p99), cell(row->p999, p999, sizeof p999),
           (unsigned long long)row->samples);
    if (row->baseline[0] != '\0')
        print_judgement(row);
    print_verdict(row);
    if (row->note[0] != '\0')
        printf("    %s\n", row->note);
}

static int print_table(const struct report *r)
{
    const struct machine *m = &r->machine;
    printf("bench %s on %s, %u cpus%s, %llu MB, %s, TSC %.2f GHz, load %.2f\n", r->bench, m->cpu,
           m->cpus, m->virtual_machine ? " (virtual)" : "",
           (unsigned long long)(m->memory_bytes >> 20), m->kernel, m->ticks_per_ns, m->load_1min);
    printf("%-40s %10s %-8s %10s %10s %9s\n", "", "median", "unit", "p99", "p99.9", "samples");
    for (uint32_t i = 0; i < r->row_count; i++)
        print_row(&r->rows[i]);
    return fflush(stdout) == 0 ? 0 : -EIO;
}

int report_print(const struct report *r, bool json)
{
    return json ? print_json(r) : print_table(r);
}
