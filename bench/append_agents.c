#include "bench/append_agents.h"

#include "bench/client.h"
#include "bench/daemon.h"
#include "engine/clock.h"
#include "engine/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define ATTACHED_MAX 1000u
#define ACTIVE_MAX 10u
#define VISIT 6u                       /* writes that an agent submits when it is its turn */
#define IN_FLIGHT (VISIT * ACTIVE_MAX) /* on each side, over all its agents */
/* Open files of the daemon, which has one lcore; we need fewer. */
#define FILES_PER_AGENT 3u
#define FILES_OTHER (LIMIT_CHUNKS + 64)
#define KEY_BITS 14u
#define QUOTA_BYTES (UINT64_C(64) << 20)
#define SHARD_COUNT 16u
#define CROWDS 3u
#define WINDOW_WRITES 64u /* of measure_single */
#define WINDOWS_MIN 8u
#define WINDOWS_MAX 4096u
#define MANY_WRITES_MIN 8192u /* of measure_many: several lumps of the cleaner's */

_Static_assert(ATTACHED_MAX <= LIMIT_AGENTS && ATTACHED_MAX <= LIMIT_AGENTS_PER_UID,
               "the daemon takes so many agents of one uid");
_Static_assert(IN_FLIGHT <= LIMIT_SESSION_WINDOW, "one agent may have all of it in flight");
_Static_assert(IN_FLIGHT == 60 && ACTIVE_MAX == 10 && ATTACHED_MAX == 1000, "rows name them");

static const struct pairs_goal goal_flat = {PAIRS_AT_MOST, 2.0};

/* What a daemon used for what. */
struct use {
    uint64_t cpu_ns, writes;
};

/* A daemon and those attached to it. */
struct crowd {
    const char *name; /* of the daemon's files */
    uint32_t active_count, attached_count;
    struct daemon daemon;
    struct client active[ACTIVE_MAX];
    struct dunlin *silent[ATTACHED_MAX];
    uint32_t active_opened, silent_opened;
    uint64_t nth; /* next write; the agents share one order of writing */
    struct append_agents_cpus cpus;
    double ps_per_tick;
    struct histogram latency; /* ps, of writes that wait, on two processors */
    struct use apart;         /* on two processors, many in flight, over all measurements */
    uint64_t single_writes, many_writes; /* that the judged times are of */
};

int append_agents_prepare(void)
{
    const rlim_t wanted = ATTACHED_MAX * FILES_PER_AGENT + FILES_OTHER;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return -errno;
    if (limit.rlim_cur >= wanted)
        return 0;
    limit.rlim_cur = limit.rlim_max;
    if (limit.rlim_max >= wanted && setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return 0;
    (void)fprintf(stderr,
                  "dunlin-bench: %u agents need %llu open files, the limit is %llu: raise it "
                  "(ulimit -Hn) and try again\n",
                  ATTACHED_MAX, (unsigned long long)wanted, (unsigned long long)limit.rlim_max);
    return -EMFILE;
}

/* ---- attaching ---- */

/* One that writes once and then says nothing more: its sessions and its rings stay. */
static int silent_open(struct crowd *c)
{
    struct client client = {.key_bits = KEY_BITS};
    int rc = daemon_attach(&c->daemon, 0, &client.handle);
    if (rc != 0)
        return rc;
    rc = dunlin_space(client.handle, DAEMON_SPACE, &client.space);
    if (rc == 0)
        rc = client_put_many(&client, c->nth++, 1, 1);
    if (rc == 0)
        c->silent[c->silent_opened++] = client.handle;
    else
        dunlin_close(client.handle);
    return rc;
}

static void crowd_close(struct crowd *c)
{
    while (c->silent_opened > 0)
        dunlin_close(c->silent[--c->silent_opened]);
    while (c->active_opened > 0)
        client_close(&c->active[--c->active_opened]);
    daemon_stop(&c->daemon);
}

static int crowd_open(struct crowd *c, struct append_agents_cpus cpus, double ticks_per_ns)
{
    const struct daemon_options options = {.name = c->name,
                                           .cpu = machine_cpu(cpus.daemons),
                                           .shard_count = SHARD_COUNT,
                                           .quota_bytes = QUOTA_BYTES};
    c->cpus = cpus;
    c->ps_per_tick = 1000 / ticks_per_ns;
    int rc = options.cpu >= 0 ? daemon_start(&c->daemon, &options) : options.cpu;
    if (rc != 0)
        return rc;
    while (rc == 0 && c->active_opened < c->active_count) {
        rc = client_open(&c->active[c->active_opened], &c->daemon, KEY_BITS, ticks_per_ns);
        c->active_opened += rc == 0;
    }
    if (rc == 0)
        rc = client_fill(&c->active[0]);
    while (rc == 0 && c->active_count + c->silent_opened < c->attached_count)
        rc = silent_open(c);
    if (rc != 0) {
        (void)fprintf(stderr, "dunlin-bench: agent %u of %u did not attach or write: %s\n",
                      c->active_opened + c->silent_opened + 1, c->attached_count, strerror(-rc));
        crowd_close(c);
    }
    return rc;
}

/* ---- measuring ---- */

static int write_one(struct crowd *c)
{
    struct client *agent = &c->active[c->nth % c->active_count];
    int rc = client_submit(agent, c->nth++);
    return rc == 0 ? client_collect(agent, 0) : rc;
}

/* How long to go on: for the time, and until there are so many writes.  Why both: with the machine
 * busy, few are made in the time, and what they cost says nothing. */
struct quota {
    uint64_t duration_ns, writes;
};

static bool is_used_up(const struct quota *q, uint64_t began_ns, uint64_t writes)
{
    return writes >= q->writes && clock_boottime_ns() - began_ns >= q->duration_ns;
}

/* The agents write in turn, each waiting for its answer. */
static int write_single(struct crowd *c, struct quota quota)
{
    const uint64_t began_ns = clock_boottime_ns(), first = c->nth;
    int rc = 0;
    do
        rc = write_one(c);
    while (rc == 0 && !is_used_up(&quota, began_ns, c->nth - first));
    return rc;
}

/* As write_single, with the latencies. */
static int write_timed(struct crowd *c, struct quota quota)
{
    const uint64_t began_ns = clock_boottime_ns(), first = c->nth;
    int rc = 0;
    do {
        const uint64_t from = sampler_now();
        rc = write_one(c);
        const double ticks = (double)(sampler_now() - from);
        histogram_add(&c->latency, (uint64_t)(ticks * c->ps_per_tick));
    } while (rc == 0 && !is_used_up(&quota, began_ns, c->nth - first));
    return rc;
}

/* The agents take turns, each with its share of what is in flight. */
static int write_many(struct crowd *c, struct quota quota)
{
    const uint64_t began_ns = clock_boottime_ns(), first = c->nth;
    const size_t left = IN_FLIGHT / c->active_count - VISIT;
    int rc = 0;
    do {
        for (uint32_t visit = 0; visit < ACTIVE_MAX && rc == 0; visit++) {
            struct client *agent = &c->active[visit % c->active_count];
            rc = client_collect(agent, left);
            for (uint32_t i = 0; i < VISIT && rc == 0; i++)
                rc = client_submit(agent, c->nth++);
        }
    } while (rc == 0 && !is_used_up(&quota, began_ns, c->nth - first));
    for (uint32_t i = 0; i < c->active_count && rc == 0; i++)
        rc = client_collect(&c->active[i], 0);
    return rc;
}

typedef int (*crowd_write)(struct crowd *c, struct quota quota);

/* Write, and add to use what the daemon used for it, all its threads. */
static int write_counted(struct crowd *c, crowd_write write, struct quota quota, struct use *use)
{
    uint64_t before, after;
    const uint64_t first = c->nth;
    int rc = daemon_cpu_ns(&c->daemon, &before);
    if (rc == 0)
        rc = write(c, quota);
    if (rc == 0)
        rc = daemon_cpu_ns(&c->daemon, &after);
    if (rc == 0) {
        use->cpu_ns += after - before;
        use->writes += c->nth - first;
    } else {
        (void)fprintf(stderr, "dunlin-bench: a write of an agent failed: %s\n", strerror(-rc));
    }
    return rc;
}

static double per_write_ns(const struct use *use)
{
    return (double)use->cpu_ns / (double)use->writes;
}

/* Move to the daemons' processor and let the caches of this side warm up. */
static int together_begin(struct crowd *c, crowd_write write, uint64_t duration_ns)
{
    const struct quota quota = {duration_ns, 1};
    struct use warm = {0};
    int rc = machine_pin(c->cpus.daemons);
    return rc >= 0 ? write_counted(c, write, quota, &warm) : rc;
}

/* pairs_measure: the daemon's CPU time per write, ns, each waited for.  Why the quickest quarter of
 * short windows: who else runs on the machine takes the processor for milliseconds, and a daemon
 * that would have polled a little goes to sleep instead, at twice the price; what a pass of its loop
 * costs is in every window. */
static int measure_single(void *context, uint64_t duration_ns, double *value)
{
    struct crowd *c = context;
    const uint64_t began_ns = clock_boottime_ns();
    const struct quota window = {0, WINDOW_WRITES};
    double values[WINDOWS_MAX];
    uint32_t count = 0;
    int rc = together_begin(c, write_single, duration_ns / 4);
    while (rc == 0 && count < WINDOWS_MAX &&
           (count < WINDOWS_MIN || clock_boottime_ns() - began_ns < duration_ns)) {
        struct use use = {0};
        rc = write_counted(c, write_single, window, &use);
        c->single_writes += use.writes;
        values[count++] = per_write_ns(&use);
    }
    if (rc != 0)
        return rc;
    (void)pairs_median(values, count); /* sorts them */
    *value = values[count / 4];
    return 0;
}

/* For information. */
static int measure_apart(struct crowd *c, uint64_t duration_ns)
{
    const struct quota quota = {duration_ns / 2, 1};
    struct use timed = {0};
    int rc = machine_pin(c->cpus.writer);
    if (rc >= 0)
        rc = write_counted(c, write_many, quota, &c->apart);
    return rc == 0 ? write_counted(c, write_timed, quota, &timed) : rc;
}

/* pairs_measure: the daemon's CPU time per write, ns, with many in flight.  Why a mean: part of it is
 * the cleaner's work, which comes in lumps, and looks at all agents. */
static int measure_many(void *context, uint64_t duration_ns, double *value)
{
    struct crowd *c = context;
    const struct quota quota = {duration_ns / 4 * 3, MANY_WRITES_MIN};
    struct use use = {0};
    int rc = measure_apart(c, duration_ns / 8);
    if (rc == 0)
        rc = together_begin(c, write_many, duration_ns / 8);
    if (rc == 0)
        rc = write_counted(c, write_many, quota, &use);
    if (rc != 0)
        return rc;
    c->many_writes += use.writes;
    *value = per_write_ns(&use);
    return 0;
}

/* ---- rows ---- */

static int run_single(struct report *r, struct crowd *crowds, uint64_t budget_ns)
{
    const struct pairs_side test = {measure_single, &crowds[0]};
    const struct pairs_baseline baseline = {{measure_single, &crowds[1]}, goal_flat};
    struct report_against to = {"10 agents, all active", goal_flat, {0}};
    int rc = pairs_run(&test, &baseline, 1, budget_ns, &to.judgement);
    if (rc != 0)
        return rc;
    struct report_row *row =
        report_add_judged(r, "CPU per put, waiting for each, 10 of 1,000 agents", "ns", &to);
    row->samples = crowds[0].single_writes;
    report_note(row, "dunlind's, same core; the agents in turn; quickest quarter of windows");
    return 0;
}

static int run_many(struct report *r, struct crowd *crowds, uint64_t budget_ns)
{
    static const char *const against[] = {"10 agents, all active", "1 agent"};
    const struct pairs_side test = {measure_many, &crowds[0]};
    const struct pairs_baseline baselines[] = {{{measure_many, &crowds[1]}, goal_flat},
                                               {{measure_many, &crowds[2]}, goal_flat}};
    struct pairs_judgement judgements[2];
    int rc = pairs_run(&test, baselines, 2, budget_ns, judgements);
    for (uint32_t i = 0; i < 2 && rc == 0; i++) {
        const struct report_against to = {against[i], goal_flat, judgements[i]};
        struct report_row *row =
            report_add_judged(r, "CPU per put, 60 in flight, 10 of 1,000 agents", "ns", &to);
        row->samples = crowds[0].many_writes;
        report_note(row,
                    "dunlind's, same core; from the other core, polling for the writer included: "
                    "%.0f ns, %s: %.0f ns",
                    per_write_ns(&crowds[0].apart), against[i], per_write_ns(&crowds[i + 1].apart));
    }
    return rc;
}

static double latency_ns(const struct crowd *c)
{
    return (double)histogram_percentile(&c->latency, 0.5) * SAMPLER_SCALE;
}

static void add_latency(struct report *r, const struct crowd *crowds)
{
    struct report_row *row =
        report_add(r, "put, waiting for each, 10 of 1,000 agents", "ns", latency_ns(&crowds[0]));
    report_percentiles(row, &crowds[0].latency, SAMPLER_SCALE);
    report_note(row,
                "other core, the agents in turn; 10 agents, all active: %.0f ns; 1 agent: %.0f ns",
                latency_ns(&crowds[1]), latency_ns(&crowds[2]));
}

static uint64_t left_ns(uint64_t deadline_ns)
{
    const uint64_t now_ns = clock_boottime_ns();
    return deadline_ns > now_ns ? deadline_ns - now_ns : 0;
}

int append_agents_run(struct report *r, struct append_agents_cpus cpus, uint64_t budget_ns)
{
    struct crowd *crowds = calloc(CROWDS, sizeof *crowds);
    if (crowds == NULL)
        return -ENOMEM;
    crowds[0] = (struct crowd){
        .name = "agents-1000", .active_count = ACTIVE_MAX, .attached_count = ATTACHED_MAX};
    crowds[1] = (struct crowd){
        .name = "agents-10", .active_count = ACTIVE_MAX, .attached_count = ACTIVE_MAX};
    crowds[2] = (struct crowd){.name = "agents-1", .active_count = 1, .attached_count = 1};
    const uint64_t deadline_ns = clock_boottime_ns() + budget_ns;
    uint32_t opened = 0;
    int rc = 0;
    while (rc == 0 && opened < CROWDS) {
        rc = crowd_open(&crowds[opened], cpus, r->machine.ticks_per_ns);
        opened += rc == 0;
    }
    if (rc == 0)
        rc = run_single(r, crowds, left_ns(deadline_ns) / 3);
    if (rc == 0)
        rc = run_many(r, crowds, left_ns(deadline_ns));
    if (rc == 0)
        add_latency(r, crowds);
    while (opened > 0)
        crowd_close(&crowds[--opened]);
    free(crowds);
    const int pinned = machine_pin(cpus.writer);
    return rc == 0 && pinned < 0 ? pinned : rc;
}
