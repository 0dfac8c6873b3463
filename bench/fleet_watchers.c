/* The watchers' processes, as the supervisor has them: started, looked after, printed. */
#include "bench/fleet_supervisor.h"

#include "bench/report.h"
#include "engine/clock.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ATTACH_NS (20 * NS_PER_S)
#define JUDGE_NS (90 * NS_PER_S)
#define TICK_NS (5 * NS_PER_MS)

static void pause_shortly(void)
{
    const struct timespec sleep = {.tv_nsec = (long)TICK_NS};
    (void)nanosleep(&sleep, NULL); /* a signal shortens it: looked again all the same */
}

static int spawn(struct fleet_supervisor *s, uint32_t watcher)
{
    struct fleet_region *region = fleet_region_watcher(s->fleet, watcher);
    region->process = watcher;
    int pid = fleet_fork();
    if (pid < 0)
        return pid;
    if (pid == 0)
        _exit(fleet_watcher_main(s->fleet, region));
    s->watchers[watcher] = (struct fleet_child){.pid = pid, .life = region->life};
    return 0;
}

static bool all_watch(const struct fleet *f)
{
    for (uint32_t i = 0; i < f->watcher_count; i++)
        if (atomic_load_explicit(&fleet_region_watcher(f, i)->start, memory_order_acquire) == 0)
            return false;
    return true;
}

int fleet_watchers_start(struct fleet_supervisor *s)
{
    uint64_t until_ns = clock_boottime_ns() + ATTACH_NS;
    for (uint32_t i = 0; i < s->fleet->watcher_count; i++) {
        int error = spawn(s, i);
        if (error != 0)
            return error;
    }
    while (!all_watch(s->fleet)) {
        pause_shortly();
        fleet_watchers_look(s);
        if (s->failed > 0 || clock_boottime_ns() > until_ns)
            return -ENOTCONN;
    }
    return 0;
}

void fleet_watchers_look(struct fleet_supervisor *s)
{
    int status;
    /* relaxed: our own word */
    bool may_end = atomic_load_explicit(&s->fleet->shared->is_quiet, memory_order_relaxed) != 0;
    for (uint32_t i = 0; i < s->fleet->watcher_count; i++) {
        struct fleet_child *c = &s->watchers[i];
        if (c->pid == 0 || waitpid(c->pid, &status, WNOHANG) <= 0)
            continue;
        c->pid = 0;
        if (may_end && WIFEXITED(status) && WEXITSTATUS(status) == 0)
            continue;
        (void)fprintf(stderr, "dunlin-bench fleet: watchers' process %u ended by itself: %s %d\n",
                      i, WIFSIGNALED(status) ? "signal" : "exit code",
                      WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        s->failed++;
    }
}

static bool any_runs(const struct fleet_supervisor *s)
{
    for (uint32_t i = 0; i < s->fleet->watcher_count; i++)
        if (s->watchers[i].pid != 0)
            return true;
    return false;
}

int fleet_watchers_judge(struct fleet_supervisor *s)
{
    uint64_t until_ns = clock_boottime_ns() + JUDGE_NS;
    /* release: Q1 -> Q2 (fleet_watcher.c): whatever was counted before is seen */
    atomic_store_explicit(&s->fleet->shared->is_quiet, 1, memory_order_release);
    while (any_runs(s)) {
        if (clock_boottime_ns() > until_ns)
            return -ETIMEDOUT;
        int error = fleet_drain_journals(s);
        if (error != 0)
            return error;
        pause_shortly();
        fleet_watchers_look(s);
    }
    return fleet_drain_journals(s);
}

void fleet_watchers_kill(const struct fleet_supervisor *s)
{
    for (uint32_t i = 0; i < FLEET_WATCHERS_MAX; i++) {
        if (s->watchers[i].pid == 0)
            continue;
        (void)kill(s->watchers[i].pid, SIGKILL); /* it may just have ended by itself */
        (void)waitpid(s->watchers[i].pid, NULL, 0);
    }
}

/* ---- figures ---- */

void fleet_watching_take(const struct fleet *f, struct fleet_watching *sum)
{
    *sum = (struct fleet_watching){0};
    for (uint32_t i = 0; i < f->watcher_count; i++) {
        const struct fleet_region *r = fleet_region_watcher(f, i);
        uint64_t events = fleet_counted(r, FLEET_EVENTS);
        sum->watches += fleet_counted(r, FLEET_WATCHES);
        sum->judged += fleet_counted(r, FLEET_WATCHES_JUDGED);
        sum->events += events;
        sum->lags += fleet_counted(r, FLEET_LAGS);
        sum->cpu_ns += fleet_counted(r, FLEET_CPU_NS);
        sum->silent += events == 0;
        histogram_merge(&sum->propagation, &r->latency);
    }
}

void fleet_watchers_print_head(const struct fleet *f, FILE *out)
{
    if (f->watcher_count > 0)
        (void)fprintf(out, " %9s %11s %7s %12s %12s", "watchers", "events/s", "lagged",
                      "watch p50 us", "watch p99 us");
}

void fleet_watchers_print_columns(const struct fleet *f, FILE *out, double passed_s)
{
    static struct fleet_watching now, before;
    static struct histogram window;
    if (f->watcher_count == 0)
        return;
    fleet_watching_take(f, &now);
    fleet_latency_since(&now.propagation, &before.propagation, &window);
    (void)fprintf(out, " %9" PRIu64 " %11.0f %7" PRIu64 " %12.0f %12.0f", now.watches,
                  (double)(now.events - before.events) / passed_s, now.lags,
                  (double)histogram_percentile(&window, 0.5) / 1e3,
                  (double)histogram_percentile(&window, 0.99) / 1e3);
    before = now;
}

static double cpu_us_per_event(const struct fleet_watching *w)
{
    return w->events != 0 ? (double)w->cpu_ns / 1e3 / (double)w->events : 0;
}

void fleet_watchers_print(const struct fleet *f, double seconds)
{
    static struct fleet_watching w;
    if (f->watcher_count == 0)
        return;
    fleet_watching_take(f, &w);
    (void)printf("watchers             %" PRIu64 " in %u processes at %u nodes: %.0f events/s, "
                 "lagged %" PRIu64 " times, propagation p50 %.0f us, p99 %.0f; %.2f cores, %.2f us "
                 "CPU per event; %" PRIu64 " held against what stood at the end\n",
                 w.watches, f->watcher_count, fleet_staying(f), (double)w.events / seconds, w.lags,
                 (double)histogram_percentile(&w.propagation, 0.5) / 1e3,
                 (double)histogram_percentile(&w.propagation, 0.99) / 1e3,
                 (double)w.cpu_ns / 1e9 / seconds, cpu_us_per_event(&w), w.judged);
}

void fleet_watchers_report(const struct fleet *f, double seconds, struct report *r)
{
    static struct fleet_watching w;
    if (f->watcher_count == 0)
        return;
    fleet_watching_take(f, &w);
    report_note(report_add(r, "watchers", "count", (double)w.watches), "in %u processes",
                f->watcher_count);
    report_add(r, "events", "1/s", (double)w.events / seconds)->samples = w.events;
    report_add(r, "lagged", "count", (double)w.lags);
    report_percentiles(report_add(r, "propagation latency, watchers", "us",
                                  (double)histogram_percentile(&w.propagation, 0.5) / 1e3),
                       &w.propagation, 1e-3);
    report_add(r, "CPU per event", "us", cpu_us_per_event(&w));
}
