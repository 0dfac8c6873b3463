/* bench transport - what frames and tags cost between two processes: the udp transport on loopback
 * sockets, held against the same bytes over plain ones (DESIGN section 10).
 *
 * Loopback is the hardest wire there is: 64 KiB cost the sender little more than one copy.  On the
 * machine that this was written on that takes 7 microseconds, and AES-256-GCM, on the same core, 6 more;
 * so a stream with offload cannot reach 0.85 of its baseline there.  The row says what is left for the
 * wire to hide. */
#include "bench/bench.h"
#include "bench/report.h"
#include "bench/transport_raw.h"
#include "bench/transport_sealed.h"
#include "dataplane/transport_udp.h"
#include "engine/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIB 1024u
#define STREAM_BYTES (1u << 19) /* under way at most */
#define STREAM_MESSAGES 1024u
#define RANGE_BURST 4u
/* What a message takes of a socket's buffer: its packets, with what the kernel needs for each. */
#define PACKET_COST 1024u

#define GOAL_ROUND_TRIP                                                                            \
    {                                                                                              \
        PAIRS_AT_MOST, 1.5                                                                         \
    }
#define GOAL_STREAM                                                                                \
    {                                                                                              \
        PAIRS_AT_LEAST, 0.85                                                                       \
    }
#define GOAL_NONE                                                                                  \
    {                                                                                              \
        PAIRS_NO_GOAL, 0                                                                           \
    }
#define FRAME TRANSPORT_FRAMED_FRAME_BYTES

static const struct pairs_goal goal_none = GOAL_NONE;

struct bench {
    struct report report;
    uint64_t deadline_ns;
    uint32_t left; /* questions that are still to be asked */
};

/* A row or two: a message length under a way to send. */
struct question {
    uint32_t length;
    bool stream; /* else round trips */
    bool authentic_only, plain_socket;
    uint32_t frame_bytes;
    struct pairs_goal goal;
};

static const struct question questions[] = {
    {64, false, false, false, FRAME, GOAL_ROUND_TRIP},
    {64, false, true, false, FRAME, GOAL_ROUND_TRIP},
    {KIB, false, false, false, FRAME, GOAL_ROUND_TRIP},
    {KIB, false, true, false, FRAME, GOAL_ROUND_TRIP},
    {64, true, false, false, FRAME, GOAL_NONE},
    {64, true, true, false, FRAME, GOAL_NONE},
    {64, true, false, true, FRAME, GOAL_NONE},
    {64, true, true, true, FRAME, GOAL_NONE},
    {64 * KIB, true, false, false, FRAME, GOAL_STREAM},
    {64 * KIB, true, true, false, FRAME, GOAL_STREAM},
    {64 * KIB, true, false, true, FRAME, GOAL_STREAM},
    {64 * KIB, true, true, true, FRAME, GOAL_STREAM},
    {64 * KIB, true, false, false, FRAME_BYTES_MAX, GOAL_STREAM},
    {64 * KIB, true, true, false, FRAME_BYTES_MAX, GOAL_STREAM},
};

#define QUESTIONS (sizeof questions / sizeof questions[0])

static uint64_t left_ns(const struct bench *b)
{
    uint64_t now_ns = clock_boottime_ns();
    return now_ns < b->deadline_ns ? b->deadline_ns - now_ns : 0;
}

/* ---- rows ---- */

static enum transport_raw_kind raw_kind(const struct question *q)
{
    if (!q->stream)
        return TRANSPORT_RAW_SINGLE;
    return q->plain_socket ? TRANSPORT_RAW_BURST : TRANSPORT_RAW_OFFLOAD;
}

static const char *raw_name(const struct question *q)
{
    static const char *const names[] = {
        [TRANSPORT_RAW_SINGLE] = "plain UDP, send and recv",
        [TRANSPORT_RAW_BURST] = "plain UDP, sendmmsg and recvmmsg",
        [TRANSPORT_RAW_OFFLOAD] = "plain UDP, the same with GSO and GRO",
    };
    return names[raw_kind(q)];
}

static void row_name(const struct question *q, const char *what, char name[64])
{
    char length[16], frames[32] = "";
    if (q->length % KIB == 0)
        (void)snprintf(length, sizeof length, "%u KiB", q->length / KIB);
    else
        (void)snprintf(length, sizeof length, "%u B", q->length);
    if (q->frame_bytes != TRANSPORT_FRAMED_FRAME_BYTES)
        (void)snprintf(frames, sizeof frames, ", %u B frames", q->frame_bytes);
    (void)snprintf(name, 64, "%s %s, %s%s%s", what, length,
                   q->authentic_only ? "tags only" : "encrypted",
                   q->plain_socket ? ", no offload" : "", frames);
}

static void report_round_trip(struct bench *b, const struct question *q,
                              const struct transport_side *sides[2],
                              const struct pairs_judgement *judgement)
{
    char name[64];
    row_name(q, "round trip", name);
    const struct report_against to = {raw_name(q), q->goal, *judgement};
    struct report_row *row = report_add_judged(&b->report, name, "ns", &to);
    report_percentiles(row, &sides[0]->sampler->histogram, SAMPLER_SCALE);
    const struct histogram *h = &sides[1]->sampler->histogram;
    report_note(row, "the baseline's p99 %.0f, p99.9 %.0f",
                (double)histogram_percentile(h, 0.99) * SAMPLER_SCALE,
                (double)histogram_percentile(h, 0.999) * SAMPLER_SCALE);
}

/* The last pairs' CPU per message: one value of each side for each measurement. */
static void judge_cpu(const struct transport_side *sides[2], struct pairs_judgement *judgement)
{
    uint32_t count = (uint32_t)min_u64(sides[0]->cpu_count, PAIRS_MAX);
    pairs_judge(sides[0]->cpu, sides[1]->cpu, count, goal_none, judgement);
}

/* Small messages by their number, large ones by their bytes. */
static void report_stream(struct bench *b, const struct question *q,
                          const struct transport_side *sides[2],
                          const struct pairs_judgement *judgement)
{
    char name[64];
    bool large = q->length >= KIB;
    struct pairs_judgement rate = *judgement, cpu;
    double scale = large ? (double)q->length * 1e-9 : 1e-6;
    rate.test_median *= scale;
    rate.baseline_median *= scale;
    row_name(q, "stream of", name);
    const struct report_against to = {raw_name(q), q->goal, rate};
    struct report_row *row = report_add_judged(&b->report, name, large ? "GB/s" : "M/s", &to);
    report_note(row, "%.0f messages/s, %.0f MB/s; %u KiB under way; lost %llu of %llu KiB",
                judgement->test_median, judgement->test_median * q->length * 1e-6,
                (uint32_t)(sides[0]->shape.window / KIB),
                (unsigned long long)(sides[0]->written_off / KIB),
                (unsigned long long)(sides[0]->sent / KIB));
    judge_cpu(sides, &cpu);
    row_name(q, "CPU of", name);
    const struct report_against cpu_to = {raw_name(q), goal_none, cpu};
    row = report_add_judged(&b->report, name, "ns", &cpu_to);
    report_note(row, "per message, sender and receiver together, idle looks left out");
}

/* ---- measuring ---- */

/* As much under way as the smaller socket buffer takes for sure. */
static void shape_set(const struct bench *b, const struct question *q, uint32_t receive_bytes,
                      struct transport_shape *shape)
{
    bool large = q->length >= KIB;
    uint32_t burst_max = large ? RANGE_BURST : TRANSPORT_SIDE_BURST_MAX;
    uint64_t cost = large ? 2u * q->length : PACKET_COST;
    /* Why less without offload: each packet is a way through the kernel of its own, and a group of them
     * has to end before its processes lose their cpus. */
    uint64_t most = min_u64(STREAM_BYTES / q->length, STREAM_MESSAGES) / (q->plain_socket ? 4 : 1);
    uint64_t messages = min_u64(receive_bytes / cost, most);
    uint32_t burst = (uint32_t)max_u64(1, min_u64(burst_max, messages / 2));
    *shape = (struct transport_shape){
        .length = q->length,
        .burst = q->stream ? burst : 1,
        .window = max_u64(1, messages / burst) * burst * q->length,
        .ticks_per_ns = b->report.machine.ticks_per_ns,
        .one_cpu = b->report.machine.cpus < 2,
    };
}

static int measure(struct bench *b, const struct question *q, struct transport_side *sealed,
                   struct transport_side *raw)
{
    const struct transport_side *sides[2] = {sealed, raw};
    pairs_measure how =
        q->stream ? transport_side_measure_stream : transport_side_measure_round_trip;
    const struct pairs_side test = {how, sealed};
    const struct pairs_baseline baseline = {{how, raw}, q->goal};
    struct pairs_judgement judgement;
    int rc = pairs_run(&test, &baseline, 1, left_ns(b) / b->left, &judgement);
    if (rc != 0)
        return rc;
    if (q->stream)
        report_stream(b, q, sides, &judgement);
    else
        report_round_trip(b, q, sides, &judgement);
    return 0;
}

static int sides_open(struct bench *b, const struct question *q, struct transport_side *sealed,
                      struct transport_side *raw)
{
    const struct transport_sealed_shape sealed_shape = {q->authentic_only, q->plain_socket,
                                                        q->frame_bytes};
    struct transport_shape shape;
    void *ends[2], *raw_ends[2];
    int rc = transport_raw_open(raw_ends, raw_kind(q), q->frame_bytes);
    if (rc != 0)
        return rc;
    rc = transport_sealed_open(ends, &sealed_shape);
    if (rc == 0) {
        shape_set(b, q, transport_sealed_receive_bytes(ends[0]), &shape);
        rc = transport_side_open(sealed, &transport_sealed_link, ends, &shape);
    }
    if (rc != 0) {
        transport_raw_link.close(raw_ends[0]);
        transport_raw_link.close(raw_ends[1]);
        return rc;
    }
    rc = transport_side_open(raw, &transport_raw_link, raw_ends, &shape);
    if (rc != 0)
        transport_side_close(sealed);
    return rc;
}

/* Without offload in this kernel there is nothing to ask about it. */
static int ask(struct bench *b, const struct question *q)
{
    struct transport_side *sides = calloc(2, sizeof *sides);
    if (sides == NULL)
        return -ENOMEM;
    int rc = sides_open(b, q, &sides[0], &sides[1]);
    if (rc == 0) {
        rc = measure(b, q, &sides[0], &sides[1]);
        transport_side_close(&sides[1]);
        transport_side_close(&sides[0]);
    } else if (rc == -EOPNOTSUPP) {
        rc = 0;
    }
    free(sides);
    return rc;
}

static int run(struct bench *b)
{
    int rc = 0;
    for (b->left = QUESTIONS; b->left != 0 && rc == 0; b->left--)
        rc = ask(b, &questions[QUESTIONS - b->left]);
    return rc;
}

int bench_transport(int argc, char **argv)
{
    struct bench_options options;
    if (bench_options_parse(argc, argv, &options) != 0)
        return BENCH_USAGE;
    struct bench *b = calloc(1, sizeof *b);
    if (b == NULL)
        return BENCH_REFUSED;
    b->deadline_ns = clock_boottime_ns() + (uint64_t)(options.seconds * 1e9);
    report_init(&b->report, "transport");
    int rc = machine_pin(0);
    if (rc >= 0)
        rc = run(b);
    int code = bench_end(&b->report, rc, options.json);
    free(b);
    return code;
}
