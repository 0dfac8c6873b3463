/* bench read - is a get in place as cheap as the memory reads under it (DESIGN section 10)? */
#include "bench/bench.h"
#include "bench/client.h"
#include "bench/cursor.h"
#include "bench/lmdb_store.h"
#include "bench/plain.h"
#include "bench/report.h"
#include "bench/scan.h"
#include "bench/table.h"
#include "engine/agent/agent.h"
#include "engine/clock.h"
#include "engine/record.h"

#include <stdio.h>
#include <stdlib.h>

#define KEY_BITS 20u
#define SHARDS 16u
#define QUOTA_BYTES (UINT64_C(512) << 20)
#define READER_CPU 0u
#define NODE_CPU 1u /* its lcore, and the busy writer */

static const struct pairs_goal goal_none = {PAIRS_NO_GOAL, 0};
static const struct pairs_goal goal_plain = {PAIRS_AT_MOST, 1.3};
static const struct pairs_goal goal_table = {PAIRS_AT_MOST, 1.1};
static const struct pairs_goal goal_lmdb = {PAIRS_AT_MOST, 1.0 / 3};
static const struct pairs_goal goal_lines = {PAIRS_AT_MOST, 1.5};
static const struct pairs_goal goal_walk = {PAIRS_AT_MOST, 3.0};
static const struct pairs_goal goal_cursor = {PAIRS_AT_LEAST, 20}; /* M records/s */
static const struct pairs_goal goal_scan = {PAIRS_AT_LEAST, 10};

struct bench {
    struct report report;
    struct daemon daemon;
    struct client_writer writer;
    struct client client;
    struct plain plain;
    struct table table;
    struct lmdb_store lmdb;
    uint64_t deadline_ns;
    const char *only;
};

static uint64_t left_ns(const struct bench *b)
{
    uint64_t now_ns = clock_boottime_ns();
    return now_ns < b->deadline_ns ? b->deadline_ns - now_ns : 0;
}

/* Pages that the shards' indexes have now, in bytes. */
static uint64_t index_bytes(const struct read_space *s)
{
    uint64_t pages = 0;
    for (uint32_t shard = 0; shard < s->geometry.shard_count; shard++) {
        const struct layout_board *board = &s->boards[shard];
        uint32_t array = (atomic_load_explicit(&board->index_root, memory_order_acquire) &
                          LAYOUT_ROOT_ARRAY) != 0;
        for (uint32_t i = 0; i < LIMIT_INDEX_PAGES; i++)
            /* relaxed: nobody writes now */
            pages += atomic_load_explicit(&board->pages[array][i], memory_order_relaxed) != 0;
    }
    return pages << s->geometry.segment_shift;
}

static struct plain_shape shape_of(const struct read_space *s)
{
    uint32_t bytes = (uint32_t)record_bytes(0, KEYS_LENGTH, KEYS_VALUE_BYTES);
    return (struct plain_shape){
        .index_bytes = index_bytes(s),
        .key_bits = KEY_BITS,
        .record_bytes = bytes,
        .value_offset = bytes - KEYS_VALUE_BYTES,
        .record_lines = (bytes + CACHE_LINE / 2) / CACHE_LINE + 1,
    };
}

static int baselines_open(struct bench *b)
{
    struct plain_shape shape = shape_of(&b->client.space->read);
    double ticks_per_ns = b->report.machine.ticks_per_ns;
    int rc = plain_open(&b->plain, &shape, ticks_per_ns);
    if (rc != 0)
        return rc;
    rc = table_open(&b->table, KEY_BITS, shape.record_bytes, ticks_per_ns);
    if (rc != 0)
        goto fail_plain;
    rc = lmdb_store_open(&b->lmdb, bench_directory(), KEY_BITS, ticks_per_ns);
    if (rc != 0)
        goto fail_table;
    return 0;
fail_table:
    table_close(&b->table);
fail_plain:
    plain_close(&b->plain);
    return rc;
}

static void baselines_close(struct bench *b)
{
    lmdb_store_close(&b->lmdb);
    table_close(&b->table);
    plain_close(&b->plain);
}

/* ---- the questions ---- */

/* One series (each get waits for the one before, as in a program that uses what it reads, or all
 * back to back, as client.chained says): get against plain reads, the table and perhaps LMDB; a row
 * for each. */
static int run_get(struct bench *b, const char *name, bool with_lmdb, uint64_t budget_ns)
{
    struct pairs_side test = {client_measure_get, &b->client};
    struct pairs_baseline baselines[] = {
        /* Why none back to back: the reads of one key are then free to overlap those of the next,
         * and no goal is set for that. */
        {{plain_measure_dependent, &b->plain}, b->client.chained ? goal_plain : goal_none},
        {{table_measure, &b->table}, goal_table},
        {{lmdb_store_measure, &b->lmdb}, goal_lmdb},
    };
    static const char *const against[] = {"two dependent random reads", "liburcu cds_lfht",
                                          "LMDB mdb_get"};
    struct pairs_judgement judgements[3];
    uint32_t count = with_lmdb ? 3 : 2;
    struct dunlin_info before, after;
    dunlin_info(b->client.handle, &before);
    histogram_reset(&b->client.get_sampler->histogram);
    b->table.chained = b->plain.chained = b->client.chained;
    uint64_t writes = client_writer_count(&b->writer);
    uint64_t began_ns = clock_boottime_ns();
    int rc = pairs_run(&test, baselines, count, budget_ns, judgements);
    if (rc != 0)
        return rc;
    uint64_t elapsed_ns = clock_boottime_ns() - began_ns;
    writes = client_writer_count(&b->writer) - writes;
    dunlin_info(b->client.handle, &after);
    for (uint32_t i = 0; i < count; i++) {
        const struct report_against to = {against[i], baselines[i].goal, judgements[i]};
        struct report_row *row = report_add_judged(&b->report, name, "ns", &to);
        report_percentiles(row, &b->client.get_sampler->histogram, SAMPLER_SCALE);
        uint64_t by_ring = after.reads_by_ring - before.reads_by_ring;
        if (i == 0)
            report_note(row,
                        "%llu of them through the ring, %llu retried; %.2f M writes/s meanwhile",
                        (unsigned long long)by_ring,
                        (unsigned long long)(after.reads_retried - before.reads_retried),
                        (double)writes * 1e3 / (double)elapsed_ns);
    }
    return 0;
}

static int run_many(struct bench *b, const char *name, uint64_t budget_ns)
{
    struct pairs_side test = {client_measure_get_many, &b->client};
    struct pairs_baseline baseline = {{plain_measure_lines, &b->plain}, goal_lines};
    struct pairs_judgement judgement;
    histogram_reset(&b->client.many_sampler->histogram);
    int rc = pairs_run(&test, &baseline, 1, budget_ns, &judgement);
    if (rc != 0)
        return rc;
    const struct report_against to = {"independent random lines", goal_lines, judgement};
    struct report_row *row = report_add_judged(&b->report, name, "ns", &to);
    report_percentiles(row, &b->client.many_sampler->histogram, SAMPLER_SCALE);
    report_note(row, "per key; %u lines per key in the baseline", 1 + b->plain.shape.record_lines);
    return 0;
}

/* A subscriber that reads the whole log, against a walk over the same bytes. */
static int run_cursor(struct bench *b, uint64_t budget_ns)
{
    struct cursor_side side;
    struct pairs_judgement judgement;
    int rc = cursor_side_open(&side, b->client.space);
    if (rc != 0)
        return rc;
    struct pairs_side test = {cursor_measure, &side};
    struct pairs_baseline baseline = {{cursor_measure_plain, &side}, goal_walk};
    rc = pairs_run(&test, &baseline, 1, budget_ns, &judgement);
    if (rc == 0) {
        const struct report_against to = {"bare walk of the same bytes", goal_walk, judgement};
        const double own_ns = judgement.test_median;
        report_note(report_add_judged(&b->report, "cursor", "ns", &to),
                    "own time per record, values of %u bytes", KEYS_VALUE_BYTES);
        struct report_row *row =
            report_add(&b->report, "cursor, records passed", "M/s", 1e3 / own_ns);
        row->samples = side.records;
        report_goal(row, goal_cursor);
        report_note(row, "per second of the thread's own time; by the clock %.1f M/s",
                    (double)side.records * 1e3 / (double)max_u64(side.clock_ns, 1));
    }
    cursor_side_close(&side);
    return rc;
}

/* All keys in order, against as many random lines as their buckets and records cover: what finding out
 * the order, and putting the shards together, costs on top. */
static int run_scan(struct bench *b, uint64_t budget_ns)
{
    struct pairs_side test = {scan_measure, &b->client};
    struct pairs_baseline baseline = {{plain_measure_lines, &b->plain}, goal_lines};
    struct pairs_judgement judgement;
    int rc = pairs_run(&test, &baseline, 1, budget_ns, &judgement);
    if (rc != 0)
        return rc;
    const struct report_against to = {"independent random lines", goal_lines, judgement};
    report_note(report_add_judged(&b->report, "scan, writer idle", "ns", &to),
                "own time per record, in order, %u shards merged; %u lines per key in the baseline",
                SHARDS, 1 + b->plain.shape.record_lines);
    struct report_row *row =
        report_add(&b->report, "scan, records in order", "M/s", 1e3 / judgement.test_median);
    row->samples = judgement.pairs;
    report_goal(row, goal_scan);
    report_note(row, "per second of the thread's own time, %u keys", 1u << KEY_BITS);
    return 0;
}

static int run_gets(struct bench *b)
{
    uint64_t all_ns = left_ns(b);
    b->client.chained = true;
    int rc = run_get(b, "get, writer idle", true, all_ns * 40 / 100);
    if (rc == 0)
        rc = run_many(b, "get of 32, writer idle", all_ns * 15 / 100);
    b->client.chained = false;
    if (rc == 0)
        rc = run_get(b, "get back to back, writer idle", false, all_ns * 22 / 100);
    b->client.chained = true;
    if (rc == 0)
        rc = client_writer_resume(&b->writer);
    if (rc == 0)
        rc = run_get(b, "get, writer busy", false, left_ns(b) * 7 / 10);
    if (rc == 0)
        rc = run_many(b, "get of 32, writer busy", left_ns(b));
    return rc;
}

/* What --only takes.  The gets last: the writer goes on from there. */
static const char *const parts[] = {"cursor", "scan", "get", NULL};

static int run_all(struct bench *b)
{
    const bool cursor = b->only == NULL || strcmp(b->only, parts[0]) == 0;
    const bool scan = b->only == NULL || strcmp(b->only, parts[1]) == 0;
    const uint64_t share_ns = left_ns(b) * (b->only == NULL ? 8 : 90) / 100;
    int rc = 0;
    if (cursor)
        rc = run_cursor(b, share_ns);
    if (rc == 0 && scan)
        rc = run_scan(b, share_ns);
    if (rc == 0 && (b->only == NULL || strcmp(b->only, parts[2]) == 0))
        rc = run_gets(b);
    return rc;
}

/* Last: a page that this process has not read yet counts as none. */
static void add_memory_row(struct bench *b)
{
    uint64_t huge = 0, bytes = 0;
    const struct plain_shape *shape = &b->plain.shape;
    struct report_row *row =
        report_add(&b->report, "index", "MiB", (double)shape->index_bytes / (1 << 20));
    int rc = machine_huge_bytes(b->client.space->read.arena, &huge, &bytes);
    report_note(row,
                "%u keys of %u bytes, values of %u, records of %u; the agent's first chunk is on "
                "%s pages",
                1u << KEY_BITS, KEYS_LENGTH, KEYS_VALUE_BYTES, shape->record_bytes,
                rc != 0     ? "unknown"
                : huge != 0 ? "2 MiB"
                            : "4 KiB");
    row->samples = 1;
}

static int run(struct bench *b)
{
    struct daemon_options options = {
        .name = "read",
        .cpu = machine_cpu(NODE_CPU),
        .shard_count = SHARDS,
        .quota_bytes = QUOTA_BYTES,
    };
    int rc = daemon_start(&b->daemon, &options);
    if (rc != 0)
        return rc;
    rc = client_writer_start(&b->writer, &b->daemon, KEY_BITS, NODE_CPU);
    if (rc != 0)
        goto fail_daemon;
    rc = client_open(&b->client, &b->daemon, KEY_BITS, b->report.machine.ticks_per_ns);
    if (rc != 0)
        goto fail_writer;
    rc = client_fill(&b->client);
    if (rc != 0)
        goto fail_client;
    rc = baselines_open(b);
    if (rc != 0)
        goto fail_client;
    rc = run_all(b);
    add_memory_row(b);
    baselines_close(b);
fail_client:
    client_close(&b->client);
fail_writer:
    client_writer_stop(&b->writer);
fail_daemon:
    daemon_stop(&b->daemon);
    return rc;
}

int bench_read(int argc, char **argv)
{
    struct bench_options options;
    if (bench_options_parse_parts(argc, argv, parts, &options) != 0)
        return BENCH_USAGE;
    struct bench *b = calloc(1, sizeof *b);
    if (b == NULL)
        return BENCH_REFUSED;
    b->deadline_ns = clock_boottime_ns() + (uint64_t)(options.seconds * 1e9);
    b->only = options.only;
    report_init(&b->report, "read");
    int rc = machine_pin(READER_CPU);
    if (rc >= 0)
        rc = run(b);
    int code = bench_end(&b->report, rc, options.json);
    free(b);
    return code;
}
