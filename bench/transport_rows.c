#include "bench/transport_rows.h"

#include "dataplane/transport_framed.h"
#include "engine/clock.h"

#include <stdio.h>

static const struct pairs_goal goal_none = {PAIRS_NO_GOAL, 0};

/* A question, and who answered it. */
struct asked {
    const struct transport_question *question;
    const struct transport_rows_names *names;
    const struct transport_side *sides[2]; /* sealed, raw */
};

static uint64_t left_ns(const struct transport_rows *r)
{
    uint64_t now_ns = clock_boottime_ns();
    return now_ns < r->deadline_ns ? r->deadline_ns - now_ns : 0;
}

static void row_name(const struct asked *a, const char *what, char name[64])
{
    const struct transport_question *q = a->question;
    char length[16], frames[32] = "";
    if (q->length % TRANSPORT_ROWS_KIB == 0)
        (void)snprintf(length, sizeof length, "%u KiB", q->length / TRANSPORT_ROWS_KIB);
    else
        (void)snprintf(length, sizeof length, "%u B", q->length);
    if (q->frame_bytes != TRANSPORT_FRAMED_FRAME_BYTES &&
        q->frame_bytes != TRANSPORT_FRAMED_FRAME_PATH)
        (void)snprintf(frames, sizeof frames, ", %u B frames", q->frame_bytes);
    (void)snprintf(name, 64, "%s%s%s %s, %s%s%s", a->names->over,
                   a->names->over[0] != '\0' ? ", " : "", what, length,
                   q->authentic_only ? "tags only" : "encrypted",
                   q->plain_socket ? ", no offload" : "", frames);
}

static void report_round_trip(struct report *report, const struct asked *a,
                              const struct pairs_judgement *judgement)
{
    char name[64];
    row_name(a, "round trip", name);
    const struct report_against to = {a->names->baseline, a->question->goal, *judgement};
    struct report_row *row = report_add_judged(report, name, "ns", &to);
    report_percentiles(row, &a->sides[0]->sampler->histogram, SAMPLER_SCALE);
    const struct histogram *h = &a->sides[1]->sampler->histogram;
    report_note(row, "the baseline's p99 %.0f, p99.9 %.0f",
                (double)histogram_percentile(h, 0.99) * SAMPLER_SCALE,
                (double)histogram_percentile(h, 0.999) * SAMPLER_SCALE);
}

/* The last pairs' CPU per message: one value of each side for each measurement. */
static void judge_cpu(const struct asked *a, struct pairs_judgement *judgement)
{
    uint32_t count = (uint32_t)min_u64(a->sides[0]->cpu_count, PAIRS_MAX);
    pairs_judge(a->sides[0]->cpu, a->sides[1]->cpu, count, goal_none, judgement);
}

/* Small messages by their number, large ones by their bytes. */
static void report_stream(struct report *report, const struct asked *a,
                          const struct pairs_judgement *judgement)
{
    char name[64];
    bool large = a->question->length >= TRANSPORT_ROWS_KIB;
    struct pairs_judgement rate = *judgement, cpu;
    double scale = large ? (double)a->question->length * 1e-9 : 1e-6;
    rate.test_median *= scale;
    rate.baseline_median *= scale;
    row_name(a, "stream of", name);
    const struct report_against to = {a->names->baseline, a->question->goal, rate};
    struct report_row *row = report_add_judged(report, name, large ? "GB/s" : "M/s", &to);
    report_note(row, "%.0f messages/s, %.0f MB/s; %u KiB under way; lost %llu of %llu KiB",
                judgement->test_median, judgement->test_median * a->question->length * 1e-6,
                (uint32_t)(a->sides[0]->shape.window / TRANSPORT_ROWS_KIB),
                (unsigned long long)(a->sides[0]->written_off / TRANSPORT_ROWS_KIB),
                (unsigned long long)(a->sides[0]->sent / TRANSPORT_ROWS_KIB));
    judge_cpu(a, &cpu);
    row_name(a, "CPU of", name);
    const struct report_against cpu_to = {a->names->baseline, goal_none, cpu};
    row = report_add_judged(report, name, "ns", &cpu_to);
    report_note(row, "per message, sender and receiver together, idle looks left out");
}

int transport_rows_ask(struct transport_rows *r, const struct transport_question *q,
                       const struct transport_rows_names *names, struct transport_side *sealed,
                       struct transport_side *raw)
{
    const struct asked a = {q, names, {sealed, raw}};
    pairs_measure how =
        q->stream ? transport_side_measure_stream : transport_side_measure_round_trip;
    const struct pairs_side test = {how, sealed};
    const struct pairs_baseline baseline = {{how, raw}, q->goal};
    struct pairs_judgement judgement;
    int rc = pairs_run(&test, &baseline, 1, left_ns(r) / r->left, &judgement);
    if (rc != 0)
        return rc;
    if (q->stream)
        report_stream(&r->report, &a, &judgement);
    else
        report_round_trip(&r->report, &a, &judgement);
    return 0;
}
