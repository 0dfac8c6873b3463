/* bench append - what a write costs: in the engine, through libdunlin, and what a node costs that
 * does nothing (DESIGN section 10).
 *
 * A write's cost in the engine is a mean, since the cleaner's work is part of it and comes in
 * lumps; the percentiles show the lumps.  What waits for somebody (put through libdunlin) is a
 * median. */
#include "bench/append_agents.h"
#include "bench/append_cleaning.h"
#include "bench/append_growth.h"
#include "bench/append_idle.h"
#include "bench/append_order.h"
#include "bench/append_watchers.h"
#include "bench/bench.h"
#include "bench/client.h"
#include "bench/report.h"
#include "bench/rig.h"
#include "bench/stores.h"
#include "engine/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CLIENT_CPU 0u
#define NODE_CPU 1u
#define MIB (UINT64_C(1) << 20)
#define LOG_BYTES (256 * MIB)
#define KEY_BITS 17u /* of the end-to-end rows */
#define WINDOW 64u
#define IDLE_SHARDS 1024u
#define IDLE_SETTLE_NS (500 * NS_PER_MS)
#define KEYS_MANY 10000000u
#define FIXED_NS (6 * NS_PER_S)

static const struct pairs_goal goal_none = {PAIRS_NO_GOAL, 0};
static const struct pairs_goal goal_flat = {PAIRS_AT_MOST, 2.0};
static const struct pairs_goal goal_idle = {PAIRS_AT_MOST, 2.0};

struct bench {
    struct report report;
    uint64_t deadline_ns;
    double ticks_per_ns;
    uint64_t seconds_ns; /* the whole run's */
    uint64_t filled_ns;  /* what making the last rig took */
};

static uint64_t left_ns(const struct bench *b)
{
    uint64_t now_ns = clock_boottime_ns();
    return now_ns < b->deadline_ns ? b->deadline_ns - now_ns : 0;
}

/* A side needs a sampler of its batch's size; small batches are timed several at a time. */
static int side_open(struct rig_side *side, struct rig *rig, uint32_t batch, double ticks_per_ns)
{
    uint32_t group = batch < 16 ? 16 : batch;
    *side =
        (struct rig_side){.rig = rig, .batch = batch, .sampler = sampler_new(group, ticks_per_ns)};
    return side->sampler != NULL ? 0 : -ENOMEM;
}

static void note_amplification(struct report_row *row, const struct rig *rig)
{
    uint64_t cleaned, appended;
    rig_amplification(rig, &cleaned, &appended);
    report_note(row, "%u keys, %u shards, quota %llu MiB; write amplification so far %.2f",
                rig->shape.key_count, rig->shape.shard_count,
                (unsigned long long)(rig->shape.quota_bytes / MIB),
                (double)(cleaned + appended) / (double)appended);
}

/* ---- batches ---- */

static int run_batch(struct bench *b, struct rig *rig, uint32_t batch,
                     const struct pairs_baseline *baselines, uint64_t budget_ns)
{
    static const char *const against[] = {"memcpy and crc32c into a log",
                                          "cds_lfht add_replace, malloc"};
    struct rig_side side;
    struct pairs_judgement judgements[2];
    int rc = side_open(&side, rig, batch, b->ticks_per_ns);
    if (rc != 0)
        return rc;
    struct pairs_side test = {rig_measure, &side};
    rc = pairs_run(&test, baselines, 2, budget_ns, judgements);
    char name[64];
    (void)snprintf(name, sizeof name, "write in the engine, batch %u", batch);
    for (uint32_t i = 0; i < 2 && rc == 0; i++) {
        const struct report_against to = {against[i], goal_none, judgements[i]};
        struct report_row *row = report_add_judged(&b->report, name, "ns", &to);
        report_percentiles(row, &side.sampler->histogram, SAMPLER_SCALE);
        if (i == 0)
            note_amplification(row, rig);
    }
    sampler_delete(side.sampler);
    return rc;
}

static int run_batches(struct bench *b, struct rig *rig, uint64_t budget_ns)
{
    static const uint32_t batches[] = {1, 8, 64, 512};
    struct store_log log;
    struct store_table table;
    int rc = store_log_open(&log, LOG_BYTES, b->ticks_per_ns);
    if (rc != 0)
        return rc;
    rc = store_table_open(&table, rig->shape.key_count, b->ticks_per_ns);
    if (rc != 0)
        goto fail_log;
    struct pairs_baseline baselines[] = {
        {{store_log_measure, &log}, goal_none},
        {{store_table_measure, &table}, goal_none},
    };
    for (size_t i = 0; i < 4 && rc == 0; i++)
        rc = run_batch(b, rig, batches[i], baselines, budget_ns / 4);
    store_table_close(&table);
fail_log:
    store_log_close(&log);
    return rc;
}

/* ---- flatness ---- */

static int run_flat(struct bench *b, struct rig *small, struct rig *big, const char *against,
                    uint64_t budget_ns)
{
    struct rig_side test_side = {0}, baseline_side = {0};
    struct pairs_judgement judgement;
    int rc = side_open(&test_side, big, WINDOW, b->ticks_per_ns);
    if (rc == 0)
        rc = side_open(&baseline_side, small, WINDOW, b->ticks_per_ns);
    if (rc == 0) {
        struct pairs_side test = {rig_measure, &test_side};
        struct pairs_baseline baseline = {{rig_measure, &baseline_side}, goal_flat};
        rc = pairs_run(&test, &baseline, 1, budget_ns, &judgement);
    }
    if (rc == 0) {
        char name[64];
        if (big->shape.shard_count != small->shape.shard_count)
            (void)snprintf(name, sizeof name, "write, batch 64, %u shards", big->shape.shard_count);
        else
            (void)snprintf(name, sizeof name, "write, batch 64, %u keys", big->shape.key_count);
        const struct report_against to = {against, goal_flat, judgement};
        struct report_row *row = report_add_judged(&b->report, name, "ns", &to);
        report_percentiles(row, &test_side.sampler->histogram, SAMPLER_SCALE);
        note_amplification(row, big);
    }
    sampler_delete(test_side.sampler);
    sampler_delete(baseline_side.sampler);
    return rc;
}

static int run_against(struct bench *b, struct rig *small, const struct rig_shape *shape,
                       const char *against, uint64_t budget_ns)
{
    uint64_t began_ns = clock_boottime_ns();
    struct rig *big = rig_new(shape);
    if (big == NULL)
        return -ENOMEM;
    b->filled_ns = clock_boottime_ns() - began_ns;
    int rc = run_flat(b, small, big, against, min_u64(budget_ns, left_ns(b)));
    rig_delete(big);
    return rc;
}

/* Ten times the keys each time, as long as the time allows: clearing gigabytes takes machines very
 * different times. */
static int run_keys(struct bench *b, uint64_t left_at_first_ns)
{
    const uint64_t budget_ns = left_at_first_ns / 6;
    struct rig_shape shape = {
        .key_count = 1000, .shard_count = 16, .quota_bytes = rig_quota_for(1000)};
    struct rig *small = rig_new(&shape);
    if (small == NULL)
        return -ENOMEM;
    int rc = 0;
    for (uint32_t count = 100000; count <= KEYS_MANY && rc == 0; count *= 10) {
        uint64_t fill_ns = count == 100000 ? 0 : b->filled_ns * 11 + budget_ns;
        if (fill_ns > left_ns(b)) {
            struct report_row *row = &b->report.rows[b->report.row_count - 1];
            size_t length = strlen(row->note);
            (void)snprintf(row->note + length, sizeof row->note - length,
                           "; no time for %u keys, try --seconds %.0f", count,
                           (double)(fill_ns + b->seconds_ns) / 1e9);
            break;
        }
        shape.key_count = count;
        shape.quota_bytes = rig_quota_for(count);
        rc = run_against(b, small, &shape, "1,000 keys", budget_ns);
    }
    rig_delete(small);
    return rc;
}

static int run_shards(struct bench *b, uint64_t budget_ns)
{
    struct rig_shape shape = {
        .key_count = 100000, .shard_count = 1, .quota_bytes = space_quota_min(IDLE_SHARDS)};
    shape.quota_bytes = max_u64(shape.quota_bytes, 256 * MIB);
    struct rig *one = rig_new(&shape);
    if (one == NULL)
        return -ENOMEM;
    shape.shard_count = IDLE_SHARDS;
    int rc = run_against(b, one, &shape, "1 shard", budget_ns);
    rig_delete(one);
    return rc;
}

/* ---- through libdunlin ---- */

static int measure_sync(struct bench *b, struct client *c, uint64_t duration_ns)
{
    struct sampler *s = sampler_new(1, b->ticks_per_ns);
    if (s == NULL)
        return -ENOMEM;
    uint64_t value[KEYS_VALUE_BYTES / 8] = {0}, nth = 0;
    int rc = 0;
    bool more = true;
    sampler_start(s, duration_ns);
    while (more && rc == 0) {
        char key[KEYS_LENGTH];
        keys_text(keys_shuffle(nth++, c->key_bits), key);
        value[0] = nth;
        uint64_t from = sampler_now();
        rc = dunlin_put(c->space, key, sizeof key, value, sizeof value, NULL);
        more = sampler_add(s, from, sampler_now());
    }
    if (rc == 0) {
        struct report_row *row =
            report_add(&b->report, "put, waiting for each", "ns", sampler_finish(s));
        report_percentiles(row, &s->histogram, SAMPLER_SCALE);
        report_note(row, "dunlin_put to a dunlind as users run it (it may sleep), other core");
    } else {
        (void)fprintf(stderr, "dunlin-bench: a put failed: %s\n", strerror(-rc));
    }
    sampler_delete(s);
    return rc;
}

static int measure_async(struct bench *b, struct client *c, const struct daemon *d,
                         uint64_t duration_ns)
{
    uint64_t cpu_before, cpu_after, writes = 0;
    int rc = daemon_cpu_ns(d, &cpu_before);
    uint64_t began_ns = clock_boottime_ns(), now_ns = began_ns;
    for (; rc == 0 && now_ns - began_ns < duration_ns; now_ns = clock_boottime_ns()) {
        rc = client_put_many(c, writes, 16384, WINDOW);
        writes += 16384;
    }
    if (rc == 0)
        rc = daemon_cpu_ns(d, &cpu_after);
    if (rc != 0)
        return rc;
    struct report_row *row = report_add(&b->report, "put, 64 in flight", "M/s",
                                        (double)writes * 1e3 / (double)(now_ns - began_ns));
    row->samples = writes;
    report_note(row,
                "dunlin_submit and dunlin_poll, one agent; dunlind used %.0f ns of CPU per write",
                (double)(cpu_after - cpu_before) / (double)writes);
    return 0;
}

static int run_end_to_end(struct bench *b, uint64_t budget_ns)
{
    struct daemon daemon;
    struct client client;
    struct daemon_options options = {
        .name = "append",
        .cpu = machine_cpu(NODE_CPU),
        .shard_count = 16,
        .quota_bytes = 256 * MIB,
    };
    int rc = daemon_start(&daemon, &options);
    if (rc != 0)
        return rc;
    rc = client_open(&client, &daemon, KEY_BITS, b->ticks_per_ns);
    if (rc != 0)
        goto fail;
    rc = measure_sync(b, &client, budget_ns / 2);
    if (rc == 0)
        rc = measure_async(b, &client, &daemon, budget_ns / 2);
    client_close(&client);
fail:
    daemon_stop(&daemon);
    return rc;
}

static int run_agents(struct bench *b, uint64_t budget_ns)
{
    const struct append_agents_cpus cpus = {.writer = CLIENT_CPU, .daemons = NODE_CPU};
    return append_agents_run(&b->report, cpus, budget_ns);
}

/* ---- idle ---- */

static void sleep_ns(uint64_t ns)
{
    struct timespec nap = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
    while (nanosleep(&nap, &nap) != 0 && errno == EINTR)
        continue;
}

static int run_idle_alone(struct bench *b, uint64_t budget_ns)
{
    struct daemon daemon;
    struct client client;
    struct daemon_options options = {
        .name = "idle",
        .cpu = -1,
        .shard_count = IDLE_SHARDS,
        .quota_bytes = max_u64(space_quota_min(IDLE_SHARDS), 256 * MIB),
    };
    int rc = daemon_start(&daemon, &options);
    if (rc != 0)
        return rc;
    rc = client_open(&client, &daemon, KEY_BITS, b->ticks_per_ns);
    if (rc != 0)
        goto fail;
    rc = client_put_many(&client, 0, 1024, WINDOW); /* it has served before it idles */
    if (rc != 0)
        goto fail_client;
    sleep_ns(IDLE_SETTLE_NS);
    uint64_t before, after, began_ns = clock_boottime_ns();
    rc = daemon_cpu_ns(&daemon, &before);
    if (rc != 0)
        goto fail_client;
    sleep_ns(budget_ns);
    rc = daemon_cpu_ns(&daemon, &after);
    if (rc != 0)
        goto fail_client;
    double elapsed_ns = (double)(clock_boottime_ns() - began_ns);
    struct report_row *row = report_add(&b->report, "idle node, 1,024 shards", "%",
                                        100 * (double)(after - before) / elapsed_ns);
    row->samples = 1;
    report_goal(row, goal_idle);
    report_note(row,
                "of one core, all threads of dunlind, one agent attached, default lease, over "
                "%.1f s",
                elapsed_ns / 1e9);
fail_client:
    client_close(&client);
fail:
    daemon_stop(&daemon);
    return rc;
}

static int run_idle(struct bench *b, uint64_t budget_ns)
{
    int rc = run_idle_alone(b, budget_ns / 2);
    return rc != 0 ? rc : append_idle_run(&b->report, IDLE_SHARDS, budget_ns / 2);
}

/* ---- all ---- */

static int run_engine(struct bench *b, uint64_t budget_ns)
{
    struct rig_shape shape = {
        .key_count = 100000, .shard_count = 16, .quota_bytes = rig_quota_for(100000)};
    struct rig *rig = rig_new(&shape);
    if (rig == NULL)
        return -ENOMEM;
    int rc = run_batches(b, rig, budget_ns);
    rig_delete(rig);
    return rc;
}

static int run_cleaning(struct bench *b, uint64_t budget_ns)
{
    return append_cleaning_run(&b->report, budget_ns);
}

static int run_order(struct bench *b, uint64_t budget_ns)
{
    return append_order_run(&b->report, budget_ns);
}

static int run_watchers(struct bench *b, uint64_t budget_ns)
{
    const struct append_watchers_cpus cpus = {.watchers = CLIENT_CPU, .daemons = NODE_CPU};
    return append_watchers_run(&b->report, cpus, budget_ns);
}

static int run_growth(struct bench *b, uint64_t budget_ns)
{
    return append_growth_run(&b->report, budget_ns);
}

/* Those last that go as far as the time lets them. */
static const struct part {
    const char *name;
    int (*run)(struct bench *b, uint64_t budget_ns);
    uint32_t share; /* of the time that is left, in hundredths */
    bool is_fixed;  /* it takes no more than FIXED_NS, unless it is the only one */
} parts[] = {
    {"batches", run_engine, 15, false},    {"cleaning", run_cleaning, 15, false},
    {"order", run_order, 15, false},       {"shards", run_shards, 12, false},
    {"agent", run_end_to_end, 15, false},  {"agents", run_agents, 25, false},
    {"watchers", run_watchers, 25, false}, {"idle", run_idle, 20, true},
    {"growth", run_growth, 40, false},     {"keys", run_keys, 100, false},
};

#define PARTS (sizeof parts / sizeof parts[0])

static int run(struct bench *b, const char *only)
{
    int rc = 0;
    for (size_t i = 0; i < PARTS && rc == 0; i++) {
        const struct part *p = &parts[i];
        if (only != NULL && strcmp(only, p->name) != 0)
            continue;
        uint64_t budget_ns = only != NULL ? left_ns(b) : left_ns(b) * p->share / 100;
        bool is_bounded = p->is_fixed && only == NULL;
        rc = p->run(b, is_bounded ? min_u64(budget_ns, FIXED_NS) : budget_ns);
    }
    return rc;
}

static int parse(int argc, char **argv, struct bench_options *options)
{
    const char *names[PARTS + 1] = {NULL};
    for (size_t i = 0; i < PARTS; i++)
        names[i] = parts[i].name;
    return bench_options_parse_parts(argc, argv, names, options);
}

int bench_append(int argc, char **argv)
{
    struct bench_options options;
    if (parse(argc, argv, &options) != 0)
        return BENCH_USAGE;
    struct bench *b = calloc(1, sizeof *b);
    if (b == NULL)
        return BENCH_REFUSED;
    b->seconds_ns = (uint64_t)(options.seconds * 1e9);
    b->deadline_ns = clock_boottime_ns() + b->seconds_ns;
    report_init(&b->report, "append");
    b->ticks_per_ns = b->report.machine.ticks_per_ns;
    int rc = append_agents_prepare();
    if (rc == 0)
        rc = machine_pin(CLIENT_CPU);
    if (rc >= 0)
        rc = run(b, options.only);
    int code = bench_end(&b->report, rc, options.json);
    free(b);
    return code;
}
