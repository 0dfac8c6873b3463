/* fleet_supervisor - the parent of the fleet: forks, kills, replaces, reads journals, keeps the
 * clock. Owner of all memory here: fleet.c, until the process ends. */
#ifndef DUNLIN_BENCH_FLEET_SUPERVISOR_H
#define DUNLIN_BENCH_FLEET_SUPERVISOR_H

#include "bench/fleet.h"
#include "bench/fleet_chaos.h"
#include "bench/fleet_speed.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/types.h>

#define FLEET_VIOLATIONS_PRINTED 20u

struct fleet_kill {
    uint64_t at_ns; /* from the start */
    uint32_t process;
};

struct fleet_child {
    pid_t pid; /* 0: none */
    uint32_t life;
    bool was_killed;
};

struct fleet_totals {
    uint64_t counters[FLEET_COUNTERS];
    struct histogram latency;
};

struct fleet_supervisor {
    struct fleet *fleet;
    struct fleet_check check;
    struct fleet_controller controller;
    struct fleet_nodes nodes;
    struct fleet_chaos chaos;
    struct fleet_speed speed;
    struct fleet_child *children; /* per process; the last one is the observer */
    struct fleet_child watchers[FLEET_WATCHERS_MAX];
    struct fleet_kill *kills;
    uint32_t *to_adopt; /* lives */
    uint32_t kill_done, life_next, adopt_count, alive;
    uint32_t failed; /* children that ended by themselves, not well */
    uint64_t started_ns, speed_ns, line_ns, ended_ns;
    uint64_t start;       /* of the daemon at first */
    uint64_t restarts;    /* of the daemon, seen by the supervisor */
    uint32_t daemon_away; /* looks in a row that did not find it */
    int64_t slowest_us, slowest_at_speed_us, slowest_at_line_us;
    uint64_t daemon_ns_at_start, own_ns_at_start;
    double achieved; /* speed, of late */
    double cpus;
    double flown_s; /* agents in the air times seconds, summed once a second */
    uint64_t line_number;
    struct fleet_totals now, at_speed, at_line;
    bool incomplete; /* a check could not be made */
};

/* fleet.c: give the check all that the journals have.  Returns 0 or -ENOMEM. */
MUST_USE int fleet_drain_journals(struct fleet_supervisor *s);

/* Sums of all processes so far. */
void fleet_totals_take(const struct fleet *f, struct fleet_totals *totals);
/* What was added since before, as a histogram. */
void fleet_latency_since(const struct histogram *now, const struct histogram *before,
                         struct histogram *since);

/* How many values lie above a limit, up to a bucket's width. */
uint64_t fleet_latency_above(const struct histogram *h, uint64_t limit);

/* CPU time of a process with all its threads, or 0 if it is not there. */
uint64_t fleet_cpu_ns(int pid);
/* The same of all daemons together. */
uint64_t fleet_daemons_cpu_ns(const struct fleet *f);

/* One line (a terminal: the same line again) of what happens now. */
void fleet_print_line(struct fleet_supervisor *s, uint64_t now_ns);
/* The summary.  Returns the exit code. */
int fleet_print_summary(struct fleet_supervisor *s);

/* ---- fleet_watchers.c ---- */

/* Fork them, before anything is written, and wait until all watch.  Returns 0 or -errno. */
MUST_USE int fleet_watchers_start(struct fleet_supervisor *s);
/* Whether one has ended by itself: counted as failed, told on stderr. */
void fleet_watchers_look(struct fleet_supervisor *s);
/* Nobody writes any more, and every key is still there: have them judge, and end.  Returns 0, -ENOMEM, or
 * -ETIMEDOUT. */
MUST_USE int fleet_watchers_judge(struct fleet_supervisor *s);
void fleet_watchers_kill(const struct fleet_supervisor *s);

/* Of all of them so far. */
struct fleet_watching {
    uint64_t watches, judged, events, lags, cpu_ns;
    uint32_t silent; /* processes that were given nothing */
    struct histogram propagation;
};
void fleet_watching_take(const struct fleet *f, struct fleet_watching *sum);
/* Further columns of the line, and of its head; nothing without watchers. */
void fleet_watchers_print_head(const struct fleet *f, FILE *out);
void fleet_watchers_print_columns(const struct fleet *f, FILE *out, double passed_s);
/* Their part of the summary. */
void fleet_watchers_print(const struct fleet *f, double seconds);
struct report;
void fleet_watchers_report(const struct fleet *f, double seconds, struct report *r);

#endif
