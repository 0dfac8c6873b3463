/* bench ring - is a message between agent and lcore as cheap as the cache lines under it
 * (DESIGN section 10)? */
#include "bench/bench.h"
#include "bench/daemon.h"
#include "bench/dpdk_ring.h"
#include "bench/lines.h"
#include "bench/loop.h"
#include "bench/own_ring.h"
#include "bench/report.h"
#include "engine/agent/dunlin.h"
#include "engine/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGENT_CPU 0u
#define NODE_CPU 1u
#define PING_GROUP 8u
#define PING_SLEEPY_GROUP 1u
#define SPIN_NS (10 * NS_PER_S)
#define QUOTA_BYTES (UINT64_C(64) << 20)

static const struct pairs_goal goal_round_trip = {PAIRS_AT_MOST, 1.3};
static const struct pairs_goal goal_none = {PAIRS_NO_GOAL, 0};
static const struct pairs_goal goal_stream = {PAIRS_AT_LEAST, 0.8};

/* A daemon and a handle to it; frozen whenever its core is needed for something else. */
struct pinger {
    struct daemon daemon;
    struct dunlin *handle;
    struct sampler *sampler;
};

struct bench {
    struct report report;
    struct lines *lines;
    struct own_ring *own;
    struct dpdk_ring *dpdk;
    struct duo lines_duo, own_duo, dpdk_duo;
    struct loop loop;
    struct pinger pinger;
    uint64_t deadline_ns;
};

static uint64_t left_ns(const struct bench *b)
{
    uint64_t now_ns = clock_boottime_ns();
    return now_ns < b->deadline_ns ? b->deadline_ns - now_ns : 0;
}

/* ---- through the daemon ---- */

static int pinger_open(struct pinger *p, const char *name, bool spin, uint32_t group,
                       double ticks_per_ns)
{
    struct daemon_options options = {
        .name = name,
        .cpu = machine_cpu(NODE_CPU),
        .spin = spin,
        .shard_count = 4,
        .quota_bytes = QUOTA_BYTES,
    };
    int rc = daemon_start(&p->daemon, &options);
    if (rc != 0)
        return rc;
    rc = daemon_attach(&p->daemon, spin ? SPIN_NS : 0, &p->handle);
    if (rc != 0)
        goto fail_daemon;
    p->sampler = sampler_new(group, ticks_per_ns);
    if (p->sampler != NULL)
        return 0;
    rc = -ENOMEM;
    dunlin_close(p->handle);
fail_daemon:
    daemon_stop(&p->daemon);
    return rc;
}

static void pinger_close(struct pinger *p)
{
    daemon_thaw(&p->daemon);
    sampler_delete(p->sampler);
    dunlin_close(p->handle);
    daemon_stop(&p->daemon);
}

static int measure_ping(void *context, uint64_t duration_ns, double *value)
{
    struct pinger *p = context;
    int rc = 0;
    bool more;
    sampler_start(p->sampler, duration_ns);
    do {
        uint64_t from = sampler_now();
        for (uint32_t i = 0; i < p->sampler->group && rc == 0; i++)
            rc = dunlin_ping(p->handle, 0);
        if (rc != 0)
            return rc;
        more = sampler_add(p->sampler, from, sampler_now());
    } while (more);
    *value = sampler_finish(p->sampler);
    return 0;
}

static int measure_ping_thawed(void *context, uint64_t duration_ns, double *value)
{
    struct pinger *p = context;
    daemon_thaw(&p->daemon);
    int rc = measure_ping(p, duration_ns, value);
    daemon_freeze(&p->daemon);
    return rc;
}

static int run_sleepy_ping(struct bench *b, uint64_t budget_ns)
{
    struct pinger *p = &b->pinger;
    int rc = pinger_open(p, "sleepy", false, PING_SLEEPY_GROUP, b->report.machine.ticks_per_ns);
    if (rc != 0)
        return rc;
    double value;
    rc = measure_ping(p, budget_ns, &value);
    if (rc == 0) {
        struct report_row *row =
            report_add(&b->report, "dunlin_ping, node and agent may sleep", "ns", value);
        report_percentiles(row, &p->sampler->histogram, SAMPLER_SCALE);
        report_note(row,
                    "one at a time, as users run it: the node idles adaptively, the agent spins "
                    "as libdunlin chooses");
    }
    pinger_close(p);
    return rc;
}

/* ---- the questions ---- */

struct question {
    const char *name, *unit, *note;
    struct pairs_side test;
    pairs_measure baseline; /* of each duo */
    struct pairs_goal goal;
    const struct sampler *sampler; /* of the test; NULL: no percentiles */
};

static int ask(struct bench *b, const struct question *q, uint64_t budget_ns)
{
    struct pairs_baseline baselines[] = {
        {{q->baseline, &b->lines_duo}, q->goal},
        {{q->baseline, &b->dpdk_duo}, q->goal},
    };
    static const char *const against[] = {"bare cache lines", "DPDK rte_ring"};
    struct pairs_judgement judgements[2];
    int rc = pairs_run(&q->test, baselines, 2, budget_ns, judgements);
    if (rc != 0)
        return rc;
    for (uint32_t i = 0; i < 2; i++) {
        const struct report_against to = {against[i], q->goal, judgements[i]};
        struct report_row *row = report_add_judged(&b->report, q->name, q->unit, &to);
        if (q->sampler != NULL)
            report_percentiles(row, &q->sampler->histogram, SAMPLER_SCALE);
        if (i == 0)
            report_note(row, "%s", q->note);
    }
    return 0;
}

static int run_loop(struct bench *b, uint64_t budget_ns)
{
    int rc = loop_open(&b->loop, machine_cpu(NODE_CPU), PING_GROUP, b->report.machine.ticks_per_ns);
    if (rc != 0)
        return rc;
    struct question question = {
        .name = "agent ring round trip through the poll loop",
        .unit = "ns",
        .note = "RING_NOP, a real lcore that spins, an agent's rings without libdunlin",
        .test = {loop_measure, &b->loop},
        .baseline = duo_measure_round_trip,
        .goal = goal_round_trip,
        .sampler = b->loop.sampler,
    };
    rc = ask(b, &question, budget_ns);
    loop_close(&b->loop);
    return rc;
}

static int run_ping(struct bench *b, uint64_t budget_ns)
{
    int rc = pinger_open(&b->pinger, "spinning", true, PING_GROUP, b->report.machine.ticks_per_ns);
    if (rc != 0)
        return rc;
    daemon_freeze(&b->pinger.daemon);
    struct question question = {
        .name = "dunlin_ping, node spins",
        .unit = "ns",
        .note = "RING_NOP through libdunlin, ring and poll loop of another process; no goal is set "
                "for it",
        .test = {measure_ping_thawed, &b->pinger},
        .baseline = duo_measure_round_trip,
        .goal = goal_none,
        .sampler = b->pinger.sampler,
    };
    rc = ask(b, &question, budget_ns);
    pinger_close(&b->pinger);
    return rc;
}

static int run_all(struct bench *b)
{
    uint64_t all_ns = left_ns(b);
    struct question round_trip = {
        .name = "ring round trip",
        .unit = "ns",
        .note = "engine/ring.h between two threads, one cell each way",
        .test = {duo_measure_round_trip, &b->own_duo},
        .baseline = duo_measure_round_trip,
        .goal = goal_round_trip,
        .sampler = b->own_duo.sampler,
    };
    struct question stream = {
        .name = "one-way stream of 64-byte messages",
        .unit = "M/s",
        .note = "claimed, filled, committed; read whole and given back in bursts of 32",
        .test = {duo_measure_stream, &b->own_duo},
        .baseline = duo_measure_stream,
        .goal = goal_stream,
    };
    int rc = ask(b, &round_trip, all_ns / 5);
    if (rc == 0)
        rc = run_loop(b, all_ns / 5);
    if (rc == 0)
        rc = ask(b, &stream, all_ns / 4);
    if (rc == 0)
        rc = run_ping(b, all_ns / 6);
    if (rc == 0)
        rc = run_sleepy_ping(b, min_u64(left_ns(b) / 2, NS_PER_S));
    return rc;
}

static int run(struct bench *b)
{
    double ticks_per_ns = b->report.machine.ticks_per_ns;
    int rc = -ENOMEM;
    b->lines = lines_new();
    b->own = own_ring_new();
    b->dpdk = dpdk_ring_new();
    if (b->lines == NULL || b->own == NULL || b->dpdk == NULL)
        goto fail_memory;
    rc = duo_open(&b->lines_duo, &lines_channel, b->lines, NODE_CPU, ticks_per_ns);
    if (rc != 0)
        goto fail_memory;
    rc = duo_open(&b->own_duo, &own_ring_channel, b->own, NODE_CPU, ticks_per_ns);
    if (rc != 0)
        goto fail_lines;
    rc = duo_open(&b->dpdk_duo, &dpdk_ring_channel, b->dpdk, NODE_CPU, ticks_per_ns);
    if (rc != 0)
        goto fail_own;
    rc = run_all(b);
    duo_close(&b->dpdk_duo);
fail_own:
    duo_close(&b->own_duo);
fail_lines:
    duo_close(&b->lines_duo);
fail_memory:
    if (b->dpdk != NULL)
        dpdk_ring_delete(b->dpdk);
    own_ring_delete(b->own);
    lines_delete(b->lines);
    return rc;
}

int bench_ring(int argc, char **argv)
{
    struct bench_options options;
    if (bench_options_parse(argc, argv, &options) != 0)
        return BENCH_USAGE;
    struct bench *b = aligned_alloc(CACHE_LINE, sizeof *b);
    if (b == NULL)
        return BENCH_REFUSED;
    memset(b, 0, sizeof *b);
    b->deadline_ns = clock_boottime_ns() + (uint64_t)(options.seconds * 1e9);
    report_init(&b->report, "ring");
    int rc = machine_pin(AGENT_CPU);
    if (rc >= 0)
        rc = run(b);
    int code = bench_end(&b->report, rc, options.json);
    free(b);
    return code;
}
