#include "bench/append_watchers.h"

#include "bench/client.h"
#include "bench/watchers.h"
#include "engine/clock.h"

#include <stdio.h>
#include <stdlib.h>

/* Small: each of the handles maps it, and what that costs the kernel is not the question. */
#define QUOTA_BYTES (UINT64_C(8) << 20)
#define SHARDS 4u
#define KEY_BITS 13u
#define WARM_WRITES (1u << 18)
#define IN_FLIGHT 64u
#define WINDOW_WRITES 2048u
#define WINDOWS_MIN 8u
#define WINDOWS_MAX 4096u
#define PARTIES 2u

static const struct pairs_goal goal_none = {PAIRS_NO_GOAL, 0};
static const struct pairs_goal goal_nothing = {PAIRS_AT_MOST, 1.1};

/* A daemon and its writer. */
struct party {
    struct daemon daemon;
    struct client writer;
    uint32_t lcore; /* number of its thread */
    uint64_t nth;
};

/* One that writes to a daemon, and the process that runs beside. */
struct side {
    struct party *party;
    struct watchers *beside;    /* NULL: none */
    uint64_t daemon_ns, writes; /* CPU time of all threads, and writes, over the measurements */
};

/* cpus: its lcore's, and its other threads'. */
static int party_open(struct party *p, const char *name, const int cpus[2], double ticks_per_ns)
{
    const struct daemon_options options = {.name = name,
                                           .cpu = cpus[0],
                                           .shard_count = SHARDS,
                                           .quota_bytes = QUOTA_BYTES,
                                           .quiet_space = true};
    int rc = daemon_start(&p->daemon, &options);
    if (rc != 0)
        return rc;
    rc = client_open(&p->writer, &p->daemon, KEY_BITS, ticks_per_ns);
    if (rc != 0)
        goto fail;
    /* Why so much: chunks are the control thread's to make, which is to be in nobody's way later. */
    rc = client_put_many(&p->writer, 0, WARM_WRITES, IN_FLIGHT);
    if (rc == 0)
        rc = daemon_lcore(&p->daemon, &p->lcore);
    if (rc == 0)
        rc = daemon_confine(&p->daemon, p->lcore, cpus[1]);
    if (rc == 0)
        return 0;
    client_close(&p->writer);
fail:
    daemon_stop(&p->daemon);
    return rc;
}

static void party_close(struct party *p)
{
    client_close(&p->writer);
    daemon_stop(&p->daemon);
}

/* One window.  Its lcore's CPU time per write, ns. */
static int write_window(struct side *s, double *value)
{
    struct party *p = s->party;
    uint64_t lcore_before, lcore_after, daemon_before, daemon_after;
    int rc = daemon_thread_ns(&p->daemon, p->lcore, &lcore_before);
    if (rc == 0)
        rc = daemon_cpu_ns(&p->daemon, &daemon_before);
    if (rc == 0)
        rc = client_put_many(&p->writer, p->nth, WINDOW_WRITES, IN_FLIGHT);
    if (rc == 0)
        rc = daemon_thread_ns(&p->daemon, p->lcore, &lcore_after);
    if (rc == 0)
        rc = daemon_cpu_ns(&p->daemon, &daemon_after);
    if (rc != 0)
        return rc;
    p->nth += WINDOW_WRITES;
    s->daemon_ns += daemon_after - daemon_before;
    s->writes += WINDOW_WRITES;
    *value = (double)(lcore_after - lcore_before) / WINDOW_WRITES;
    return 0;
}

/* The quickest quarter of the windows, as in append_agents: whoever else runs on the machine puts the lcore
 * to sleep and off the processor; what watchers cost is in every window. */
static int write_windows(struct side *s, uint64_t duration_ns, double *value)
{
    const uint64_t began_ns = clock_boottime_ns();
    double values[WINDOWS_MAX];
    uint32_t count = 0;
    int rc = 0;
    while (rc == 0 && count < WINDOWS_MAX &&
           (count < WINDOWS_MIN || clock_boottime_ns() - began_ns < duration_ns))
        rc = write_window(s, &values[count++]);
    if (rc != 0)
        return rc;
    (void)pairs_median(values, count); /* sorts them */
    *value = values[count / 4];
    return 0;
}

/* pairs_measure: the lcore's CPU time per write, ns. */
static int measure(void *context, uint64_t duration_ns, double *value)
{
    struct side *s = context;
    if (s->beside != NULL)
        watchers_resume(s->beside);
    /* First until caches are warm and those who stood still are no longer all awake at once. */
    int rc = write_windows(s, duration_ns / 4, value);
    if (rc == 0)
        rc = write_windows(s, duration_ns * 3 / 4, value);
    if (s->beside != NULL)
        watchers_pause(s->beside);
    return rc;
}

struct variant {
    const char *name;
    struct watchers_what what;
};

/* Watched; alone; alone beside a process that is as busy. */
enum { WATCHED, ALONE, BESIDE, SIDES };

static double per_write(const struct side *s)
{
    return (double)s->daemon_ns / (double)max_u64(s->writes, 1);
}

static void add_rows(struct report *r, const char *name, const struct side *sides,
                     const struct report_against *against)
{
    struct watchers_counted counted;
    watchers_count(sides[WATCHED].beside, &counted);
    for (unsigned i = 0; i < SIDES - 1; i++) {
        struct report_row *row = report_add_judged(r, name, "ns", &against[i]);
        report_note(
            row,
            "lcore's CPU; all threads of dunlind: %.0f ns for %.0f; %llu events, %llu lags, "
            "the watchers used %.2f of a core",
            per_write(&sides[WATCHED]), per_write(&sides[1 + i]),
            (unsigned long long)counted.events, (unsigned long long)counted.lags, counted.cores);
    }
}

static int measure_variant(struct report *r, struct side *sides, const char *name,
                           uint64_t budget_ns)
{
    const struct pairs_side test = {measure, &sides[WATCHED]};
    const struct pairs_baseline baselines[] = {{{measure, &sides[ALONE]}, goal_none},
                                               {{measure, &sides[BESIDE]}, goal_nothing}};
    struct pairs_judgement judgements[2];
    int rc = pairs_run(&test, baselines, 2, budget_ns, judgements);
    if (rc != 0)
        return rc;
    const struct report_against against[] = {
        {"nobody watches, the other core idles", goal_none, judgements[0]},
        {"nobody watches, the other core reads", goal_nothing, judgements[1]}};
    add_rows(r, name, sides, against);
    return 0;
}

static int run_variant(struct report *r, struct party *parties, const struct variant *v,
                       uint64_t budget_ns)
{
    struct watchers watchers, neighbour;
    const uint64_t deadline_ns = clock_boottime_ns() + budget_ns;
    const struct watchers_what other = {
        .cpu = v->what.cpu, .is_neighbour = true, .copies = v->what.copies};
    int rc = watchers_start(&watchers, &parties[0].daemon, &v->what);
    if (rc != 0)
        return rc;
    watchers_pause(&watchers);
    rc = watchers_start(&neighbour, &parties[1].daemon, &other);
    if (rc != 0)
        goto fail;
    watchers_pause(&neighbour);
    struct side sides[SIDES] = {[WATCHED] = {.party = &parties[0], .beside = &watchers},
                                [ALONE] = {.party = &parties[1]},
                                [BESIDE] = {.party = &parties[1], .beside = &neighbour}};
    const uint64_t now_ns = clock_boottime_ns();
    rc = measure_variant(r, sides, v->name, deadline_ns > now_ns ? deadline_ns - now_ns : 0);
    watchers_stop(&neighbour);
fail:
    watchers_stop(&watchers);
    return rc;
}

int append_watchers_run(struct report *r, struct append_watchers_cpus cpus, uint64_t budget_ns)
{
    const struct variant variants[] = {
        {"put, 1,000 watch another space", {.space = DAEMON_SPACE_QUIET, .cpu = cpus.watchers}},
        {"put, 1,000 watch, nothing matches",
         {.space = DAEMON_SPACE, .prefix = "nobody writes this/", .cpu = cpus.watchers}},
        {"put, 1,000 watch, all match",
         {.space = DAEMON_SPACE, .cpu = cpus.watchers, .copies = true}},
    };
    static const char *const names[PARTIES] = {"watched", "alone"};
    const uint64_t count = sizeof variants / sizeof variants[0];
    struct party *parties = calloc(PARTIES, sizeof *parties);
    if (parties == NULL)
        return -ENOMEM;
    const uint64_t deadline_ns = clock_boottime_ns() + budget_ns;
    const int places[] = {machine_pin(cpus.daemons), machine_cpu(cpus.watchers)};
    uint32_t opened = 0;
    int rc = places[0] < 0 ? places[0] : places[1] < 0 ? places[1] : 0;
    while (rc == 0 && opened < PARTIES) {
        rc = party_open(&parties[opened], names[opened], places, r->machine.ticks_per_ns);
        opened += rc == 0;
    }
    for (uint64_t i = 0; i < count && rc == 0; i++) {
        const uint64_t now_ns = clock_boottime_ns();
        const uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
        rc = run_variant(r, parties, &variants[i], left_ns / (count - i));
    }
    while (opened > 0)
        party_close(&parties[--opened]);
    free(parties);
    const int pinned = machine_pin(cpus.watchers);
    return rc == 0 && pinned < 0 ? pinned : rc;
}
