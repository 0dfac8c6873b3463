#include "bench/replicate_net.h"

#include "bench/machine.h"
#include "bench/replicate_net_dunlin.h"
#include "bench/replicate_net_raft.h"
#include "bench/replicate_net_raw.h"
#include "bench/replicate_net_redis.h"
#include "bench/report.h"
#include "dataplane/frame.h"
#include "engine/clock.h"
#include "engine/limits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define KEYS 100000u
#define SLOT_MIN_NS (15 * NS_PER_MS)
#define FILLS 4u /* until the logs reuse their memory */

enum side { DUNLIN, FORWARDED, WIDE, RAFT, REDIS, EXCHANGE, IDLE, SIDES };

static const char *const side_names[SIDES] = {
    [DUNLIN] = "an agent of the leader's node",
    [FORWARDED] = "an agent of a follower's node",
    [WIDE] = "16 shards",
    [RAFT] = "libraft over UDP",
    [REDIS] = "Redis, WAIT 1",
    [EXCHANGE] = "plain UDP, first answer of two",
    [IDLE] = "the same behind an idle process",
};

enum metric { P50, P99, CPU, RATE };

/* A row: side, held against baseline at that batch size. */
struct row {
    uint32_t batch; /* 0: all */
    const char *name;
    enum metric metric;
    enum side side, baseline;
    struct pairs_goal goal;
};

#define AT_MOST(limit)                                                                             \
    {                                                                                              \
        PAIRS_AT_MOST, (limit)                                                                     \
    }
#define NO_GOAL                                                                                    \
    {                                                                                              \
        PAIRS_NO_GOAL, 0                                                                           \
    }

static const struct row rows[] = {
    {1, "latency p50", P50, DUNLIN, REDIS, AT_MOST(1.0)},
    {1, "latency p99", P99, DUNLIN, REDIS, AT_MOST(1.0)},
    {1, "latency p50", P50, DUNLIN, IDLE, AT_MOST(1.5)},
    {1, "latency p50", P50, DUNLIN, EXCHANGE, NO_GOAL},
    {1, "latency p50", P50, DUNLIN, RAFT, NO_GOAL},
    {1, "latency p99", P99, DUNLIN, RAFT, NO_GOAL},
    {1, "forwarded, latency p50", P50, FORWARDED, DUNLIN, NO_GOAL},
    {0, "CPU", CPU, DUNLIN, RAFT, AT_MOST(0.5)},
    {0, "CPU", CPU, DUNLIN, REDIS, NO_GOAL},
    {0, "forwarded, CPU", CPU, FORWARDED, RAFT, NO_GOAL},
    {64, "16 shards, CPU", CPU, WIDE, RAFT, NO_GOAL},
    {0, "rate", RATE, DUNLIN, RAFT, NO_GOAL},
    {0, "rate", RATE, DUNLIN, REDIS, NO_GOAL},
    {0, "forwarded, rate", RATE, FORWARDED, REDIS, NO_GOAL},
};

#define ROWS (sizeof rows / sizeof rows[0])

static const uint32_t batches[] = {1, 8, 64, 512};

#define BATCHES (sizeof batches / sizeof batches[0])

struct series {
    uint32_t rounds;
    struct net_values values[SIDES][PAIRS_MAX];
};

struct bench {
    struct report report;
    uint64_t deadline_ns;
    char shape[160]; /* what a reader of the first rows must know */
    struct net_dunlin dunlin;
    struct net_raft raft;
    struct net_redis redis;
    struct net_raw exchange, idle;
    bool open[SIDES]; /* what is to be closed */
    bool is_there[SIDES];
    struct net_side sides[SIDES];
    struct series series;
    struct pairs_judgement judgements[ROWS];
};

static uint64_t left_ns(const struct bench *b)
{
    uint64_t now_ns = clock_boottime_ns();
    return now_ns < b->deadline_ns ? b->deadline_ns - now_ns : 0;
}

/* ---- rows ---- */

static bool is_asked(const struct row *row, uint32_t batch)
{
    return row->batch == 0 || row->batch == batch;
}

static double value_of(const struct net_values *v, enum metric metric)
{
    return metric == P50   ? v->p50_ns
           : metric == P99 ? v->p99_ns
           : metric == CPU ? v->cpu_ns
                           : v->rate / 1000;
}

static void judge(struct bench *b, size_t number, uint32_t repeat)
{
    const struct row *row = &rows[number];
    double test[PAIRS_MAX], baseline[PAIRS_MAX];
    for (uint32_t i = 0; i < b->series.rounds; i++) {
        test[i] = value_of(&b->series.values[row->side][i], row->metric);
        baseline[i] = value_of(&b->series.values[row->baseline][i], row->metric);
    }
    pairs_judge(test, baseline, b->series.rounds, row->goal, &b->judgements[number]);
    b->judgements[number].repeats = repeat;
}

static void note_tails(struct report_row *row, const struct net_side *side,
                       const struct net_side *baseline)
{
    report_percentiles(row, &side->latency, 1);
    report_note(row, "all its batches: p99 %.0f, p99.9 %.0f; the baseline's %.0f, %.0f",
                (double)histogram_percentile(&side->latency, 0.99),
                (double)histogram_percentile(&side->latency, 0.999),
                (double)histogram_percentile(&baseline->latency, 0.99),
                (double)histogram_percentile(&baseline->latency, 0.999));
}

static void report_one(struct bench *b, size_t number, uint32_t batch)
{
    static const char *const units[] = {[P50] = "ns", [P99] = "ns", [CPU] = "ns", [RATE] = "k/s"};
    const struct row *row = &rows[number];
    char name[64];
    (void)snprintf(name, sizeof name, "udp, batch %u, %s", batch, row->name);
    if (!b->is_there[row->baseline] || !b->is_there[row->side]) {
        report_note(report_add(&b->report, name, units[row->metric], NAN),
                    "skipped: no Redis on this machine");
        return;
    }
    const struct report_against to = {side_names[row->baseline], row->goal, b->judgements[number]};
    struct report_row *out = report_add_judged(&b->report, name, units[row->metric], &to);
    if (row->metric == P50 || row->metric == P99)
        note_tails(out, &b->sides[row->side], &b->sides[row->baseline]);
    else if (row->metric == CPU)
        report_note(out, "per write, client and servers together%s",
                    row->baseline == RAFT && row->side == DUNLIN ? b->shape : "");
}

/* ---- measuring ---- */

static bool takes_part(const struct bench *b, enum side side, uint32_t batch)
{
    bool asked = false;
    for (size_t i = 0; i < ROWS; i++)
        asked |= is_asked(&rows[i], batch) && (rows[i].side == side || rows[i].baseline == side);
    return asked && b->is_there[side];
}

static int round_run(struct bench *b, uint32_t batch, uint64_t slot_ns)
{
    struct series *s = &b->series;
    for (uint32_t i = 0; i < SIDES; i++) {
        uint32_t side = s->rounds % 2 == 0 ? i : SIDES - 1 - i;
        if (!takes_part(b, side, batch))
            continue;
        int rc = net_side_measure(&b->sides[side], batch, slot_ns, &s->values[side][s->rounds]);
        if (rc != 0) {
            (void)fprintf(stderr, "dunlin-bench: %s, batch %u: %s\n", side_names[side], batch,
                          strerror(-rc));
            return rc;
        }
    }
    s->rounds++;
    return 0;
}

static int series_run(struct bench *b, uint32_t batch, uint64_t budget_ns)
{
    uint64_t end_ns = clock_boottime_ns() + budget_ns;
    uint32_t count = 0;
    for (uint32_t i = 0; i < SIDES; i++)
        count += takes_part(b, i, batch);
    uint64_t slot_ns = max_u64(budget_ns / PAIRS_MAX / count, SLOT_MIN_NS);
    b->series.rounds = 0;
    while (b->series.rounds < PAIRS_MAX) {
        uint64_t began_ns = clock_boottime_ns();
        int rc = round_run(b, batch, slot_ns);
        if (rc != 0)
            return rc;
        uint64_t now_ns = clock_boottime_ns();
        if (now_ns + (now_ns - began_ns) > end_ns)
            break;
    }
    return 0;
}

/* Nothing can be said by it. */
static bool is_in_vain(const struct pairs_judgement *j)
{
    return j->refused || j->pairs < PAIRS_MIN;
}

/* Judge what is asked, or again what was judged in vain.  Returns how many are so now. */
static uint32_t judge_all(struct bench *b, uint32_t batch, uint32_t repeat)
{
    uint32_t in_vain = 0;
    for (size_t i = 0; i < ROWS; i++) {
        if (!is_asked(&rows[i], batch) || !b->is_there[rows[i].side] ||
            !b->is_there[rows[i].baseline])
            continue;
        if (repeat == 0 || is_in_vain(&b->judgements[i]))
            judge(b, i, repeat);
        in_vain += is_in_vain(&b->judgements[i]);
    }
    return in_vain;
}

static int ask(struct bench *b, uint32_t batch, uint64_t budget_ns)
{
    uint64_t end_ns = clock_boottime_ns() + budget_ns;
    for (uint32_t i = 0; i < SIDES; i++)
        net_side_reset(&b->sides[i]);
    int rc = series_run(b, batch, budget_ns / 2);
    for (uint32_t repeat = 0; rc == 0; repeat++) {
        uint64_t now_ns = clock_boottime_ns();
        uint64_t rest_ns = end_ns > now_ns ? end_ns - now_ns : 0;
        if (judge_all(b, batch, repeat) == 0 || repeat == PAIRS_REPEATS)
            break;
        uint64_t share_ns = rest_ns / (PAIRS_REPEATS - repeat);
        if (share_ns < UINT64_C(1) * PAIRS_MIN * SIDES * SLOT_MIN_NS)
            break;
        rc = series_run(b, batch, share_ns);
    }
    for (size_t i = 0; i < ROWS && rc == 0; i++)
        if (is_asked(&rows[i], batch))
            report_one(b, i, batch);
    return rc;
}

/* ---- sides ---- */

static void side_set(struct bench *b, enum side side, net_write_batch write, void *client)
{
    struct net_side *s = &b->sides[side];
    s->write = write;
    s->client = client;
    s->key_count = KEYS;
    b->is_there[side] = true;
}

static void pids_set(struct net_side *s, const pid_t pids[NET_SERVERS])
{
    for (uint32_t i = 0; i < NET_SERVERS; i++)
        if (pids[i] > 0)
            s->pids[s->pid_count++] = pids[i];
}

static int fill(struct bench *b, enum side side, uint32_t batch)
{
    int rc = net_side_fill(&b->sides[side], batch);
    if (rc != 0)
        (void)fprintf(stderr, "dunlin-bench: filling %s: %s\n", side_names[side], strerror(-rc));
    return rc;
}

static int dunlin_set(struct bench *b, const struct net_cpus *cpus)
{
    b->open[DUNLIN] = true;
    int rc = net_dunlin_open(&b->dunlin, cpus);
    if (rc != 0)
        return rc;
    static const enum side sides[] = {DUNLIN, FORWARDED, WIDE};
    struct net_dunlin_client *const clients[] = {&b->dunlin.at_leader, &b->dunlin.at_follower,
                                                 &b->dunlin.at_leader_wide};
    for (uint32_t i = 0; i < 3; i++) {
        side_set(b, sides[i], net_dunlin_write, clients[i]);
        for (uint32_t n = 0; n < NET_SERVERS; n++)
            b->sides[sides[i]].pids[b->sides[sides[i]].pid_count++] = b->dunlin.daemons[n].pid;
    }
    for (uint32_t i = 0; i < FILLS && rc == 0; i++) {
        /* In batches that do not leave the space of one shard. */
        rc = fill(b, DUNLIN, LIMIT_SESSION_WINDOW);
        if (rc == 0)
            rc = fill(b, WIDE, NET_BATCH_MAX);
    }
    return rc;
}

static int raft_set(struct bench *b, const struct net_cpus *cpus)
{
    b->open[RAFT] = true;
    int rc = net_raft_open(&b->raft, cpus, KEYS);
    if (rc != 0)
        return rc;
    side_set(b, RAFT, net_raft_write, &b->raft);
    pids_set(&b->sides[RAFT], b->raft.pids);
    return fill(b, RAFT, NET_BATCH_MAX);
}

static int redis_set(struct bench *b, const struct net_cpus *cpus)
{
    b->open[REDIS] = true;
    int rc = net_redis_open(&b->redis, cpus);
    if (rc == -ENOENT)
        return 0; /* its rows say so */
    if (rc != 0)
        return rc;
    side_set(b, REDIS, net_redis_write, &b->redis);
    pids_set(&b->sides[REDIS], b->redis.pids);
    return fill(b, REDIS, NET_BATCH_MAX);
}

static int raw_set(struct bench *b, enum side side, struct net_raw *raw,
                   const struct net_cpus *cpus)
{
    b->open[side] = true;
    int rc = net_raw_open(raw, cpus, side == IDLE);
    if (rc != 0)
        return rc;
    side_set(b, side, net_raw_write, raw);
    pids_set(&b->sides[side], raw->pids);
    return 0;
}

static int sides_open(struct bench *b, const struct net_cpus *cpus)
{
    int rc = raft_set(b, cpus);
    if (rc == 0)
        rc = redis_set(b, cpus);
    if (rc == 0)
        rc = raw_set(b, EXCHANGE, &b->exchange, cpus);
    if (rc == 0)
        rc = raw_set(b, IDLE, &b->idle, cpus);
    return rc != 0 ? rc : dunlin_set(b, cpus);
}

static void sides_close(struct bench *b)
{
    if (b->open[DUNLIN])
        net_dunlin_close(&b->dunlin);
    if (b->open[RAFT])
        net_raft_close(&b->raft);
    if (b->open[REDIS])
        net_redis_close(&b->redis);
    if (b->open[EXCHANGE])
        net_raw_close(&b->exchange);
    if (b->open[IDLE])
        net_raw_close(&b->idle);
}

/* ---- all ---- */

static int run(struct bench *b, const struct net_cpus *cpus)
{
    int rc = sides_open(b, cpus);
    for (uint32_t i = 0; i < BATCHES && rc == 0; i++)
        rc = ask(b, batches[i], left_ns(b) / (BATCHES - i));
    if (rc == 0 && !net_raft_agrees(&b->raft, KEYS)) {
        (void)fprintf(stderr, "dunlin-bench: libraft's servers differ\n");
        rc = -EPROTO;
    }
    if (rc == 0)
        rc = net_dunlin_verify(&b->dunlin, KEYS);
    sides_close(b);
    return rc;
}

static void shape_tell(struct bench *b, const struct net_cpus *cpus)
{
    size_t at = (size_t)snprintf(b->shape, sizeof b->shape,
                                 "; frames of %u B, sealed; libraft's of up to %u B, not sealed; "
                                 "client, servers on cpus",
                                 FRAME_BYTES_MAX, NET_RAFT_DATAGRAM_BYTES);
    for (uint32_t i = 0; i <= NET_SERVERS && at < sizeof b->shape; i++)
        at += (size_t)snprintf(b->shape + at, sizeof b->shape - at, "%s%u", i == 0 ? " " : ",",
                               net_cpu(cpus, i));
}

int bench_replicate_net(const struct bench_options *options, const struct net_cpus *cpus)
{
    struct bench *b = calloc(1, sizeof *b);
    if (b == NULL)
        return BENCH_REFUSED;
    b->deadline_ns = clock_boottime_ns() + (uint64_t)(options->seconds * 1e9);
    report_init(&b->report, "replicate");
    shape_tell(b, cpus);
    int rc = machine_pin(net_cpu(cpus, 0));
    if (rc >= 0)
        rc = run(b, cpus);
    int code = bench_end(&b->report, rc, options->json);
    free(b);
    return code;
}
