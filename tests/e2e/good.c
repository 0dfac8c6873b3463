#include "tests/e2e/good.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define STALL_NS (5 * NS_PER_S)
#define SAMPLES_MIN 20000u
#define CALIBRATE_MS 50u

/* ---- the two processes ---- */

bool good_alive(struct good *g)
{
    for (uint32_t side = 0; side < GOOD_SIDES; side++) {
        int status;
        pid_t pid = g->pids[side];
        if (pid != 0 && waitpid(pid, &status, WNOHANG) == 0)
            continue;
        if (pid != 0)
            e2e_fail("the good agent ended: %s %d", WIFEXITED(status) ? "status" : "signal",
                     WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
        g->pids[side] = 0;
        return false;
    }
    return true;
}

static void start(struct good *g, enum good_side side)
{
    g->pids[side] = e2e_fork();
    if (g->pids[side] < 0)
        e2e_die("cannot fork: %s", strerror(errno));
    if (g->pids[side] == 0)
        good_run(g, side);
}

static double ns_per_tick(void)
{
    uint64_t ns = clock_boottime_ns();
    uint64_t ticks = clock_tsc_ordered();
    e2e_sleep_ms(CALIBRATE_MS);
    return (double)(clock_boottime_ns() - ns) / (double)(clock_tsc_ordered() - ticks);
}

void good_begin(struct good *g, const char *socket, const char *space)
{
    int status;
    *g = (struct good){.socket = socket, .space = space, .ns_per_tick = ns_per_tick()};
    g->shared = e2e_shared(sizeof *g->shared);
    start(g, GOOD_WRITER);
    while (atomic_load_explicit(&g->shared->ready, memory_order_acquire) == 0) {
        if (waitpid(g->pids[GOOD_WRITER], &status, WNOHANG) != 0)
            e2e_die("the good agent cannot begin: status %x", (unsigned)status);
        e2e_sleep_ms(10);
    }
    start(g, GOOD_READER);
}

void good_end(struct good *g)
{
    for (uint32_t side = 0; side < GOOD_SIDES; side++) {
        if (g->pids[side] == 0)
            continue;
        (void)kill(g->pids[side], SIGKILL);
        (void)waitpid(g->pids[side], NULL, 0);
        g->pids[side] = 0;
    }
}

static bool cut_is_done(const struct good *g, uint32_t wanted)
{
    for (uint32_t side = 0; side < GOOD_SIDES; side++)
        if (atomic_load_explicit(&g->shared->sides[side].cut_done, memory_order_acquire) != wanted)
            return false; /* G2 */
    return true;
}

bool good_cut(struct good *g)
{
    uint32_t wanted = atomic_load_explicit(&g->shared->cut_wanted, memory_order_relaxed) + 1;
    atomic_store_explicit(&g->shared->cut_wanted, wanted, memory_order_release);
    uint64_t until = clock_boottime_ns() + 2 * STALL_NS;
    while (!cut_is_done(g, wanted)) {
        if (!good_alive(g))
            return false;
        if (clock_boottime_ns() > until) {
            e2e_fail("the good agent is stuck in one operation");
            return false;
        }
        e2e_sleep_ms(1);
    }
    return true;
}

/* ---- judging ---- */

void good_print_head(const char *title)
{
    (void)printf("%-27s %8s %9s %6s %8s %8s %8s %7s\n", title, "writes", "reads", "wrong",
                 "worst ms", "new ms", "p99 ns", "ratio");
}

static double p99_ns(const struct good *g)
{
    const struct histogram *h = &g->shared->sides[GOOD_READER].report.in_place_ticks;
    return histogram_count(h) >= SAMPLES_MIN
               ? (double)histogram_percentile(h, 0.99) * g->ns_per_tick
               : 0;
}

double good_judge(struct good *g, const char *name, uint64_t newcomer_ns)
{
    const struct good_stats *w = &g->shared->sides[GOOD_WRITER].report;
    const struct good_stats *r = &g->shared->sides[GOOD_READER].report;
    double p99 = p99_ns(g);
    double ratio = g->p99_quiet_ns > 0 ? p99 / g->p99_quiet_ns : 0;
    (void)printf("%-27s %8" PRIu64 " %9" PRIu64 " %6" PRIu64 " %8.1f %8.1f %8.0f %7.2f\n", name,
                 w->writes, w->reads + r->reads, w->wrong + r->wrong,
                 (double)w->worst_ns / NS_PER_MS, (double)newcomer_ns / NS_PER_MS, p99, ratio);
    for (uint32_t side = 0; side < GOOD_SIDES; side++) {
        const struct good_stats *s = &g->shared->sides[side].report;
        if (s->wrong != 0 || s->refused != 0)
            e2e_fail("%s: %" PRIu64 " wrong reads, %" PRIu64 " refused operations: %s", name,
                     s->wrong, s->refused, s->fault);
    }
    if (w->writes == 0 || r->reads == 0)
        e2e_fail("%s: the good agent stood still", name);
    if (w->worst_ns > STALL_NS)
        e2e_fail("%s: an operation of the good agent took %.1f s", name,
                 (double)w->worst_ns / NS_PER_S);
    return ratio;
}

void good_measure_quiet(struct good *g, uint64_t ms)
{
    g->p99_quiet_ns = 0;
    if (!good_cut(g))
        return;
    e2e_sleep_ms(ms);
    if (!good_cut(g))
        return;
    g->p99_quiet_ns = p99_ns(g);
    (void)good_judge(g, "  (quiet)", 0);
}
