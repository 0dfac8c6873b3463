/* bench replicate - what a replicated write costs all three of its replicas together, in one thread and
 * over memory, against libraft (DESIGN section 10).
 *
 * A write's cost is a mean, since the cleaners' work is part of it and comes in lumps; the percentiles
 * show the lumps. */
#include "bench/bench.h"
#include "bench/net_options.h"
#include "bench/raft_store.h"
#include "bench/rdma_replicate.h"
#include "bench/replicate_net.h"
#include "bench/replicate_port.h"
#include "bench/replicate_rig.h"
#include "bench/report.h"
#include "engine/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)
#define KEYS 100000u
#define KEYS_FEW 1000u
#define KEYS_MANY 10000000u
#define SHARDS_MANY 1024u
#define WINDOW 64u
#define COST_MAX_NS 500.0

static const struct pairs_goal goal_raft = {PAIRS_AT_MOST, 1.0 / 3};
static const struct pairs_goal goal_flat = {PAIRS_AT_MOST, 2.0};
static const struct pairs_goal goal_cost = {PAIRS_AT_MOST, COST_MAX_NS};
static const struct pairs_goal goal_tail = {PAIRS_AT_MOST, 1.5};

struct bench {
    struct report report;
    uint64_t deadline_ns;
    uint64_t filled_ns; /* what making the last rig took */
};

static uint64_t left_ns(const struct bench *b)
{
    uint64_t now_ns = clock_boottime_ns();
    return now_ns < b->deadline_ns ? b->deadline_ns - now_ns : 0;
}

static double ticks_per_ns(const struct bench *b)
{
    return b->report.machine.ticks_per_ns;
}

/* Small batches are timed several at a time. */
static struct sampler *sampler_for(const struct bench *b, uint32_t batch)
{
    return sampler_new(batch < 16 ? 16 : batch, ticks_per_ns(b));
}

static void note_rig(struct report_row *row, const struct replicate_rig *rig)
{
    uint64_t cleaned, appended;
    replicate_rig_amplification(rig, &cleaned, &appended);
    report_note(row, "%u keys, %u shards, quota %llu MiB; write amplification so far %.2f; %s",
                rig->shape.key_count, rig->shape.shard_count,
                (unsigned long long)(rig->shape.quota_bytes / MIB),
                (double)(cleaned + appended) / (double)appended,
                replicate_rig_agrees(rig) ? "replicas agree" : "REPLICAS DIFFER");
}

/* How the baseline's tail looks. */
static void note_baseline(struct report_row *row, const struct sampler *baseline)
{
    size_t length = strlen(row->note);
    (void)snprintf(row->note + length, sizeof row->note - length,
                   "; the baseline's p99 %.0f, p99.9 %.0f",
                   (double)histogram_percentile(&baseline->histogram, 0.99) * SAMPLER_SCALE,
                   (double)histogram_percentile(&baseline->histogram, 0.999) * SAMPLER_SCALE);
}

/* ---- batches, against libraft ---- */

static const char *const store_names[] = {
    [RAFT_TABLE_PLAIN] = "libraft, a plain table",
    [RAFT_TABLE_SHARED] = "libraft, a table others may read (cds_lfht)",
};

/* What a write costs all replicas, as a figure of its own. */
static void report_cost(struct bench *b, const struct replicate_side *side, double median)
{
    struct report_row *row =
        report_add(&b->report, "replicated write, batch 64, all replicas", "ns", median);
    report_percentiles(row, &side->sampler->histogram, SAMPLER_SCALE);
    report_goal(row, goal_cost);
    note_rig(row, side->rig);
}

static int run_batch(struct bench *b, struct replicate_rig *rig, struct raft_store *store,
                     uint32_t batch, uint64_t budget_ns)
{
    struct replicate_side side = {.rig = rig, .batch = batch, .sampler = sampler_for(b, batch)};
    struct pairs_judgement judgement;
    store->batch = batch;
    store->sampler = sampler_for(b, batch);
    int rc = side.sampler == NULL || store->sampler == NULL ? -ENOMEM : 0;
    if (rc == 0) {
        const struct pairs_side test = {replicate_rig_measure, &side};
        const struct pairs_baseline baseline = {{raft_store_measure, store}, goal_raft};
        rc = pairs_run(&test, &baseline, 1, budget_ns, &judgement);
    }
    if (rc == 0) {
        char name[64];
        (void)snprintf(name, sizeof name, "replicated write, batch %u", batch);
        const struct report_against to = {store_names[store->kind], goal_raft, judgement};
        struct report_row *row = report_add_judged(&b->report, name, "ns", &to);
        report_percentiles(row, &side.sampler->histogram, SAMPLER_SCALE);
        note_rig(row, rig);
        note_baseline(row, store->sampler);
        if (batch == WINDOW && store->kind == RAFT_TABLE_PLAIN)
            report_cost(b, &side, judgement.test_median);
    }
    sampler_delete(side.sampler);
    sampler_delete(store->sampler);
    return rc;
}

/* ---- tails ---- */

/* A side of which not the mean is wanted, but how far its tail is from its median. */
struct tail_side {
    struct pairs_side side;
    const struct sampler *sampler;
    double percentile;
    uint32_t sorted[SAMPLER_GROUPS_MAX];
};

static int ticks_compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static int tail_measure(void *context, uint64_t duration_ns, double *value)
{
    struct tail_side *t = context;
    int rc = t->side.measure(t->side.context, duration_ns, value);
    if (rc != 0)
        return rc;
    uint32_t count = t->sampler->count;
    memcpy(t->sorted, t->sampler->ticks, count * sizeof t->sorted[0]);
    qsort(t->sorted, count, sizeof t->sorted[0], ticks_compare);
    uint32_t middle = count / 2;
    *value = (double)t->sorted[(uint32_t)(count * t->percentile)] / (double)t->sorted[middle];
    return 0;
}

static int run_tail(struct bench *b, struct replicate_side *side, struct raft_store *store,
                    double percentile, uint64_t budget_ns)
{
    struct tail_side *sides = calloc(2, sizeof *sides);
    if (sides == NULL)
        return -ENOMEM;
    sides[0].side = (struct pairs_side){replicate_rig_measure, side};
    sides[0].sampler = side->sampler;
    sides[1].side = (struct pairs_side){raft_store_measure, store};
    sides[1].sampler = store->sampler;
    sides[0].percentile = sides[1].percentile = percentile;
    const struct pairs_side test = {tail_measure, &sides[0]};
    const struct pairs_baseline baseline = {{tail_measure, &sides[1]}, goal_tail};
    struct pairs_judgement judgement;
    int rc = pairs_run(&test, &baseline, 1, budget_ns, &judgement);
    if (rc == 0) {
        char name[64];
        (void)snprintf(name, sizeof name, "replicated write, batch 64, p%g / p50",
                       percentile * 100);
        const struct report_against to = {"libraft's own, a plain table", goal_tail, judgement};
        (void)report_add_judged(&b->report, name, "x", &to);
    }
    free(sides);
    return rc;
}

static int run_tails(struct bench *b, struct replicate_rig *rig, struct raft_store *store,
                     uint64_t budget_ns)
{
    struct replicate_side side = {.rig = rig, .batch = WINDOW, .sampler = sampler_for(b, WINDOW)};
    store->batch = WINDOW;
    store->sampler = sampler_for(b, WINDOW);
    int rc = side.sampler == NULL || store->sampler == NULL ? -ENOMEM : 0;
    if (rc == 0)
        rc = run_tail(b, &side, store, 0.99, budget_ns / 2);
    if (rc == 0)
        rc = run_tail(b, &side, store, 0.999, budget_ns / 2);
    sampler_delete(side.sampler);
    sampler_delete(store->sampler);
    return rc;
}

/* Why one store after the other: two would share a heap and spread each other's entries over it. */
static int run_store(struct bench *b, struct replicate_rig *rig, enum raft_table_kind kind,
                     uint64_t budget_ns)
{
    static const uint32_t batches[] = {1, 8, 64, 512};
    struct raft_store store;
    int rc = raft_store_open(&store, kind, rig->shape.key_count);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < 4 && rc == 0; i++)
        rc = run_batch(b, rig, &store, batches[i], budget_ns / 5);
    if (rc == 0 && kind == RAFT_TABLE_PLAIN)
        rc = run_tails(b, rig, &store, budget_ns / 5);
    if (rc == 0 && !raft_store_agrees(&store))
        rc = -EPROTO;
    raft_store_close(&store);
    return rc;
}

/* ---- flatness ---- */

static int run_flat(struct bench *b, struct replicate_rig *small, struct replicate_rig *big,
                    const char *against, uint64_t budget_ns)
{
    struct replicate_side test_side = {big, WINDOW, sampler_for(b, WINDOW)};
    struct replicate_side baseline_side = {small, WINDOW, sampler_for(b, WINDOW)};
    struct pairs_judgement judgement;
    int rc = test_side.sampler == NULL || baseline_side.sampler == NULL ? -ENOMEM : 0;
    if (rc == 0) {
        const struct pairs_side test = {replicate_rig_measure, &test_side};
        const struct pairs_baseline baseline = {{replicate_rig_measure, &baseline_side}, goal_flat};
        rc = pairs_run(&test, &baseline, 1, budget_ns, &judgement);
    }
    if (rc == 0) {
        char name[64];
        if (big->shape.shard_count != small->shape.shard_count)
            (void)snprintf(name, sizeof name, "replicated write, batch 64, %u shards",
                           big->shape.shard_count);
        else
            (void)snprintf(name, sizeof name, "replicated write, batch 64, %u keys",
                           big->shape.key_count);
        const struct report_against to = {against, goal_flat, judgement};
        struct report_row *row = report_add_judged(&b->report, name, "ns", &to);
        report_percentiles(row, &test_side.sampler->histogram, SAMPLER_SCALE);
        note_rig(row, big);
    }
    sampler_delete(test_side.sampler);
    sampler_delete(baseline_side.sampler);
    return rc;
}

/* What a space has by default, and at least twice what the keys need, so that the cleaner has the
 * room it has in use. */
static uint64_t quota_for(uint32_t key_count)
{
    struct space_config config;
    space_config_default(&config);
    uint64_t per_key = record_bytes(0, KEYS_LENGTH, KEYS_VALUE_BYTES) * 9 / 8 + 32;
    return max_u64(config.quota_bytes, align_up(2 * per_key * key_count, MIB));
}

static struct replicate_shape shape_of(const struct bench *b, uint32_t key_count,
                                       uint32_t shard_count)
{
    return (struct replicate_shape){
        .key_count = key_count,
        .shard_count = shard_count,
        .quota_bytes = max_u64(quota_for(key_count), space_quota_min(shard_count)),
        .ticks_per_ns = ticks_per_ns(b),
    };
}

static int run_against(struct bench *b, struct replicate_rig *small,
                       const struct replicate_shape *shape, const char *against, uint64_t budget_ns)
{
    uint64_t began_ns = clock_boottime_ns();
    struct replicate_rig *big = replicate_rig_new(shape);
    if (big == NULL)
        return -ENOMEM;
    b->filled_ns = clock_boottime_ns() - began_ns;
    int rc = run_flat(b, small, big, against, min_u64(budget_ns, left_ns(b)));
    replicate_rig_delete(big);
    return rc;
}

static void note_skipped(struct bench *b, uint32_t key_count, const char *why)
{
    struct report_row *row = &b->report.rows[b->report.row_count - 1];
    size_t length = strlen(row->note);
    (void)snprintf(row->note + length, sizeof row->note - length, "; %u keys not measured: %s",
                   key_count, why);
}

/* Ten times the keys each time, as far as time and memory go. */
static int run_keys(struct bench *b, uint64_t budget_ns)
{
    struct replicate_shape shape = shape_of(b, KEYS_FEW, 1);
    struct replicate_rig *small = replicate_rig_new(&shape);
    if (small == NULL)
        return -ENOMEM;
    int rc = 0;
    for (uint32_t count = 10 * KEYS_FEW; count <= KEYS_MANY && rc == 0; count *= 10) {
        uint64_t fill_ns = count == 10 * KEYS_FEW ? 0 : b->filled_ns * 11 + budget_ns;
        if (REPLICATE_NODES * quota_for(count) > b->report.machine.memory_bytes / 2) {
            note_skipped(b, count, "not enough memory");
            break;
        }
        if (fill_ns > left_ns(b)) {
            note_skipped(b, count, "no time, try a longer --seconds");
            break;
        }
        shape = shape_of(b, count, 1);
        rc = run_against(b, small, &shape, "1,000 keys", budget_ns);
    }
    replicate_rig_delete(small);
    return rc;
}

/* ---- all ---- */

static int run(struct bench *b)
{
    uint64_t all_ns = left_ns(b);
    struct replicate_shape shape = shape_of(b, KEYS, 1);
    struct replicate_rig *rig = replicate_rig_new(&shape);
    if (rig == NULL)
        return -ENOMEM;
    int rc = run_store(b, rig, RAFT_TABLE_PLAIN, all_ns / 3);
    if (rc == 0)
        rc = run_store(b, rig, RAFT_TABLE_SHARED, all_ns / 5);
    if (rc == 0) {
        shape = shape_of(b, KEYS, SHARDS_MANY);
        rc = run_against(b, rig, &shape, "1 shard", all_ns / 10);
    }
    replicate_rig_delete(rig);
    /* Last, since filling takes its own time. */
    if (rc == 0)
        rc = run_keys(b, left_ns(b) / 6);
    return rc;
}

static int bench_replicate_mem(const struct bench_options *options)
{
    struct bench *b = calloc(1, sizeof *b);
    if (b == NULL)
        return BENCH_REFUSED;
    b->deadline_ns = clock_boottime_ns() + (uint64_t)(options->seconds * 1e9);
    report_init(&b->report, "replicate");
    int rc = machine_pin(0);
    if (rc >= 0)
        rc = run(b);
    int code = bench_end(&b->report, rc, options->json);
    free(b);
    return code;
}

/* --transport mem|udp|dpdk|rdma [--cpus LIST] [--port DEVARGS ...] [--device NAME], and what all benches take. */
int bench_replicate(int argc, char **argv)
{
    struct bench_options options;
    struct net_options net;
    if (net_options_take(&argc, argv, &net) != 0 ||
        net_options_judge(&net, NET_MEM | NET_UDP | NET_DPDK | NET_RDMA, NET_SERVERS) != 0 ||
        bench_options_parse(argc, argv, &options) != 0)
        return BENCH_USAGE;
    if (net.transport == NET_DPDK)
        return bench_replicate_port(&options, &net);
    if (net.transport == NET_RDMA)
        return bench_rdma_replicate(&options, &net);
    if (net.transport == NET_UDP) {
        net.cpus.count = net.cpus.count == 0 ? 1 : net.cpus.count; /* all on the first */
        return bench_replicate_net(&options, &net.cpus);
    }
    if (net.cpus.count == 0)
        return bench_replicate_mem(&options);
    (void)fprintf(stderr, "dunlin-bench: --cpus needs --transport udp, dpdk or rdma\n");
    return BENCH_USAGE;
}
