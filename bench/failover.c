/* failover - how long nobody is served when a leader is killed.
 *
 * Three daemons on loopback; a thread writes one value after the other, to a key of each shard in turn, at a
 * node that lives.  Then, again and again: one node leads every shard, all hold everything, it is killed with
 * SIGKILL, the time is taken, it is started again.  Half of the killed nodes are control leaders as well.
 * Last, control leaders that lead no shard are killed: nothing may fail or be late.
 *
 * Only kill -9 is measured: a node that is asked to end hands its leaderships over first. */
#include "bench/bench.h"
#include "bench/failover_cluster.h"
#include "bench/failover_writer.h"
#include "bench/report.h"
#include "engine/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KILLS_MIN 15u /* of each kind */
#define KILLS_MAX 200u
#define SERVED_NS (20 * NS_PER_S)
#define WATCHED_NS (NS_PER_S / 2) /* after a kill that nobody should notice */
#define MEDIAN_MS (FAILOVER_LEASE_MS + 20.0)
#define WORST_MS (FAILOVER_LEASE_MS + 100.0)

enum kind { LEADER_AND_CONTROL, LEADER_ALONE, CONTROL_ALONE, KINDS };

static const char *const kind_names[KINDS] = {
    [LEADER_AND_CONTROL] = "leader and control leader killed",
    [LEADER_ALONE] = "leader killed",
    [CONTROL_ALONE] = "control leader killed",
};

struct tries {
    double first_ms[KILLS_MAX], all_ms[KILLS_MAX], longest_ms[KILLS_MAX];
    uint32_t count;
    uint64_t writes, failed, unknown;
};

struct run {
    struct failover_cluster cluster;
    struct failover_writer writer;
    struct tries tries[KINDS];
};

/* Returns 0 or -ETIMEDOUT: nobody is served. */
static int await_served(struct run *r, enum kind kind, struct failover_served *served)
{
    uint64_t begun = clock_boottime_ns();
    uint64_t least_ns = kind == CONTROL_ALONE ? WATCHED_NS : 0, passed_ns;
    do {
        (void)usleep(1000);
        failover_writer_served(&r->writer, served);
        passed_ns = clock_boottime_ns() - begun;
    } while ((served->all_ns == 0 || passed_ns < least_ns) && passed_ns < SERVED_NS);
    return served->all_ns != 0 ? 0 : -ETIMEDOUT;
}

static int kill_one(struct run *r, enum kind kind)
{
    struct tries *t = &r->tries[kind];
    struct failover_served served;
    uint32_t control, at;
    int rc = failover_cluster_await(&r->cluster, &control);
    if (rc != 0)
        return rc;
    /* Why by the count: each of the others leads in turn, and each is written at in turn. */
    uint32_t other = (control + 1 + t->count % (NET_SERVERS - 1)) % NET_SERVERS;
    uint32_t victim = kind == LEADER_ALONE ? other : control;
    rc = failover_cluster_lead(&r->cluster, kind == CONTROL_ALONE ? other : victim);
    if (rc == 0)
        rc = failover_cluster_await(&r->cluster, &control);
    if (rc != 0)
        return rc;
    if ((kind != LEADER_ALONE) != (victim == control))
        return -EAGAIN; /* control leadership has moved meanwhile */
    at = (victim + 1 + t->count / (NET_SERVERS - 1) % (NET_SERVERS - 1)) % NET_SERVERS;
    failover_writer_go(&r->writer, at);
    failover_writer_killed(&r->writer);
    failover_cluster_kill(&r->cluster, victim);
    rc = await_served(r, kind, &served);
    if (rc != 0)
        return rc;
    t->first_ms[t->count] = (double)served.first_ns / 1e6;
    t->all_ms[t->count] = (double)served.all_ns / 1e6;
    t->longest_ms[t->count] = (double)served.longest_ns / 1e6;
    t->writes += served.writes;
    t->failed += served.failed;
    t->unknown += served.unknown;
    t->count++;
    return failover_cluster_start(&r->cluster, victim);
}

static int kill_on(struct run *r, double seconds)
{
    uint64_t until = clock_boottime_ns() + (uint64_t)(seconds * 1e9);
    int rc = 0;
    for (uint32_t round = 0; rc == 0 && r->tries[KINDS - 1].count < KILLS_MAX; round++) {
        if (round >= KILLS_MIN && clock_boottime_ns() >= until)
            break;
        for (enum kind kind = 0; rc == 0 && kind < KINDS; kind++)
            while ((rc = kill_one(r, kind)) == -EAGAIN)
                continue;
    }
    return rc;
}

/* ---- rows ---- */

static double worst(const double *values, uint32_t count)
{
    double most = 0;
    for (uint32_t i = 0; i < count; i++)
        most = values[i] > most ? values[i] : most;
    return most;
}

static struct report_row *row_add(struct report *report, const struct tries *t, const char *name,
                                  double value)
{
    struct report_row *row = report_add(report, name, "ms", value);
    row->samples = t->count;
    return row;
}

static void gap_rows(struct report *report, struct tries *t, enum kind kind)
{
    static const struct pairs_goal goal_median = {PAIRS_AT_MOST, MEDIAN_MS};
    static const struct pairs_goal goal_worst = {PAIRS_AT_MOST, WORST_MS};
    char name[64];
    (void)snprintf(name, sizeof name, "%s: gap, worst", kind_names[kind]);
    struct report_row *row = row_add(report, t, name, worst(t->first_ms, t->count));
    report_goal(row, goal_worst);
    report_note(row,
                "limit: lease (%u ms) + 100 ms; every shard served: worst %.1f ms; %llu of %llu "
                "writes failed, %llu of unknown fate",
                FAILOVER_LEASE_MS, worst(t->all_ms, t->count), (unsigned long long)t->failed,
                (unsigned long long)t->writes, (unsigned long long)t->unknown);
    (void)snprintf(name, sizeof name, "%s: gap, median", kind_names[kind]);
    row = row_add(report, t, name, pairs_median(t->first_ms, t->count));
    report_goal(row, goal_median);
    report_note(
        row,
        "limit: lease (%u ms) + 20 ms; from SIGKILL to the end of the first write that began "
        "after it; every shard served: median %.1f ms",
        FAILOVER_LEASE_MS, pairs_median(t->all_ms, t->count));
}

static void control_rows(struct report *report, struct tries *t)
{
    static const struct pairs_goal goal_none = {PAIRS_AT_MOST, 0};
    static const struct pairs_goal goal_late = {PAIRS_AT_MOST, MEDIAN_MS};
    char name[64];
    (void)snprintf(name, sizeof name, "%s: failed writes", kind_names[CONTROL_ALONE]);
    struct report_row *row = report_add(report, name, "count", (double)t->failed);
    row->samples = t->writes;
    report_goal(row, goal_none);
    report_note(row, "%u kills of control leaders that led no shard", t->count);
    (void)snprintf(name, sizeof name, "%s: longest write", kind_names[CONTROL_ALONE]);
    row = row_add(report, t, name, worst(t->longest_ms, t->count));
    report_goal(row, goal_late);
    report_note(row,
                "in the half second after each kill; median of the longest %.1f ms; limit: lease + "
                "20 ms, since a "
                "write may have to wait for the read lease of who died",
                pairs_median(t->longest_ms, t->count));
}

int bench_failover(int argc, char **argv)
{
    static struct run r;
    static struct report report;
    struct bench_options options;
    if (bench_options_parse(argc, argv, &options) != 0)
        return BENCH_USAGE;
    report_init(&report, "failover");
    int rc = failover_cluster_open(&r.cluster, FAILOVER_SHARDS);
    if (rc == 0)
        rc = failover_writer_open(&r.writer, &r.cluster);
    if (rc == 0) {
        rc = kill_on(&r, options.seconds);
        failover_writer_close(&r.writer);
    }
    failover_cluster_close(&r.cluster);
    if (rc == 0) {
        gap_rows(&report, &r.tries[LEADER_AND_CONTROL], LEADER_AND_CONTROL);
        gap_rows(&report, &r.tries[LEADER_ALONE], LEADER_ALONE);
        control_rows(&report, &r.tries[CONTROL_ALONE]);
    }
    return bench_end(&report, rc, options.json);
}
