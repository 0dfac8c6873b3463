/* What the fleet prints: a line a second, the summary, the verdict. */
#include "bench/bench.h"
#include "bench/fleet_supervisor.h"
#include "bench/report.h"
#include "engine/clock.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONFLICTS_MIN 0.01 /* share of claims: less did not exercise the compare */
#define REASON_BYTES 512u

static uint64_t load(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed); /* relaxed: a figure that may lag */
}

void fleet_totals_take(const struct fleet *f, struct fleet_totals *totals)
{
    *totals = (struct fleet_totals){0};
    for (uint32_t life = 0; life < f->life_count; life++) {
        const struct fleet_region *r = f->regions[life];
        for (uint32_t i = 0; i < FLEET_COUNTERS; i++)
            totals->counters[i] += load(&r->counters[i]);
        histogram_merge(&totals->latency, &r->latency);
    }
}

void fleet_latency_since(const struct histogram *now, const struct histogram *before,
                         struct histogram *since)
{
    histogram_reset(since);
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t n = load(&now->buckets[i]) - load(&before->buckets[i]);
        if (n > 0)
            histogram_add_many(since, histogram_bucket_value(i), n);
    }
}

uint64_t fleet_latency_above(const struct histogram *h, uint64_t limit)
{
    uint64_t n = 0;
    for (uint32_t i = histogram_bucket(limit) + 1; i < HISTOGRAM_BUCKETS; i++)
        n += load(&h->buckets[i]);
    return n;
}

uint64_t fleet_cpu_ns(int pid)
{
    char path[64], text[1024];
    unsigned long user, system;
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *file = pid > 0 ? fopen(path, "r") : NULL;
    if (file == NULL)
        return 0;
    size_t n = fread(text, 1, sizeof(text) - 1, file);
    (void)fclose(file);
    text[n] = 0;
    /* The second field, the name, may hold anything: count from its closing parenthesis. */
    const char *rest = strrchr(text, ')');
    if (rest == NULL ||
        sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        return 0;
    return (uint64_t)(user + system) * (NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK));
}

/* ---- live ---- */

static void print_head(const struct fleet *f, FILE *out)
{
    (void)fprintf(out, "%6s %11s %9s %9s %8s %8s %9s %6s %6s %10s", "s", "updates/s", "claims/s",
                  "conflict", "p50 us", "p99 us", "speed", "procs", "agents", "violations");
    fleet_watchers_print_head(f, out);
    (void)fputc('\n', out);
}

void fleet_print_line(struct fleet_supervisor *s, uint64_t now_ns)
{
    static struct histogram window;
    const uint64_t *now = s->now.counters, *before = s->at_line.counters;
    double passed_s = (double)(now_ns - s->line_ns) / 1e9;
    FILE *out = s->fleet->options.json ? stderr : stdout;
    bool terminal = isatty(fileno(out)) == 1;
    fleet_totals_take(s->fleet, &s->now);
    fleet_latency_since(&s->now.latency, &s->at_line.latency, &window);
    uint64_t claims = now[FLEET_CLAIMS] - before[FLEET_CLAIMS];
    uint64_t conflicts = now[FLEET_CONFLICTS] - before[FLEET_CONFLICTS];
    uint64_t flown = now[FLEET_AGENTS_STARTED] - now[FLEET_AGENTS_ENDED];
    s->flown_s += (double)flown * passed_s;
    if (s->line_number++ == 0 || (!terminal && s->line_number % 20 == 0))
        print_head(s->fleet, out);
    (void)fprintf(
        out, "%s%6.1f %11.0f %9.0f %8.1f%% %8.0f %8.0f %8.0fx %6u %6" PRIu64 " %10" PRIu64,
        terminal ? "\r" : "", (double)(now_ns - s->started_ns) / 1e9,
        (double)(now[FLEET_UPDATES] - before[FLEET_UPDATES]) / passed_s, (double)claims / passed_s,
        claims == 0 ? 0 : 100 * (double)conflicts / (double)claims,
        (double)histogram_percentile(&window, 0.5) / 1e3,
        (double)histogram_percentile(&window, 0.99) / 1e3,
        (double)(s->slowest_us - s->slowest_at_line_us) / 1e6 / passed_s, s->alive, flown,
        fleet_check_violations(&s->check));
    fleet_watchers_print_columns(s->fleet, out, passed_s);
    (void)fputs(terminal ? "" : "\n", out);
    (void)fflush(out);
    s->at_line = s->now;
    s->line_ns = now_ns;
    s->slowest_at_line_us = s->slowest_us;
}

/* ---- summary ---- */

struct figures {
    double seconds, updates_per_s, recorded_s;
    double conflict_share, diverted_share;
    double bytes_per_agent_s; /* at the speed it ran */
    double bytes_per_agent_recorded_s;
    double cpu_ns, cpu_daemon_ns, cpu_per_update_ns;
    uint64_t violations;
    const struct histogram *propagation;
    char reason[REASON_BYTES]; /* why not exercised; empty: it was */
};

__attribute__((format(printf, 2, 3))) static void unexercised(struct figures *g, const char *format,
                                                              ...)
{
    va_list arguments;
    size_t n = strlen(g->reason);
    if (n + 3 >= sizeof(g->reason))
        return;
    if (n > 0) {
        memcpy(g->reason + n, "; ", 3);
        n += 2;
    }
    va_start(arguments, format);
    (void)vsnprintf(g->reason + n, sizeof(g->reason) - n, format, arguments);
    va_end(arguments);
}

/* True if a row of this process was due well within what was replayed, and it lived to tell it. */
static bool had_rows(const struct fleet_supervisor *s, uint32_t process)
{
    if (s->children[process].life != process)
        return false;
    for (uint32_t i = 0; i < s->fleet->source_count; i++) {
        const struct fleet_source *source = &s->fleet->sources[i];
        uint32_t first = source->order_start[process];
        if (first != source->order_start[process + 1] &&
            source->rows[source->order[first]].time_us <= s->slowest_us / 10 * 9)
            return true;
    }
    return false;
}

static void judge_processes(const struct fleet_supervisor *s, struct figures *g)
{
    const struct fleet *f = s->fleet;
    uint32_t silent = 0, without_rows = 0;
    for (uint32_t p = 0; p < f->options.agents; p++) {
        uint64_t updates = 0;
        for (uint32_t life = 0; life < s->life_next; life++) {
            if (f->regions[life]->process == p)
                updates += fleet_counted(f->regions[life], FLEET_UPDATES);
        }
        without_rows += updates == 0 && !had_rows(s, p);
        silent += updates == 0 && had_rows(s, p);
    }
    if (silent > 0)
        unexercised(g, "%u of %u agent processes made no update", silent, f->options.agents);
    if (without_rows * 4 > f->options.agents)
        unexercised(g, "the data had no row for %u of %u agent processes", without_rows,
                    f->options.agents);
}

/* Processes that are attached to the daemon that runs now. */
static uint32_t attached_count(const struct fleet_supervisor *s)
{
    uint32_t n = 0;
    for (uint32_t p = 0; p < s->fleet->options.agents; p++) {
        const struct fleet_region *r = s->fleet->regions[s->children[p].life];
        n += load(&r->start) == s->start;
    }
    return n;
}

static uint64_t observed(const struct fleet *f, uint32_t node, enum fleet_counter counter)
{
    return fleet_counted(fleet_region_observer(f, node), counter);
}

static uint64_t observed_everywhere(const struct fleet *f, enum fleet_counter counter)
{
    uint64_t sum = 0;
    for (uint32_t node = 0; node < f->node_count; node++)
        sum += observed(f, node, counter);
    return sum;
}

/* Replicas that nobody read, or compared, prove nothing. */
static void judge_nodes(const struct fleet_supervisor *s, struct figures *g)
{
    for (uint32_t node = 1; node < s->fleet->node_count; node++)
        if (observed(s->fleet, node, FLEET_READS_LINEARIZABLE) == 0)
            unexercised(g, "no linearizable read was answered at node %u", node + 1);
    if (s->fleet->node_count > 1 && s->controller.compared == 0)
        unexercised(g, "no key was compared between the nodes");
}

/* Watchers that were given nothing, or not judged, prove nothing. */
static void judge_watchers(const struct fleet *f, struct figures *g)
{
    static struct fleet_watching w;
    fleet_watching_take(f, &w);
    if (w.silent > 0)
        unexercised(g, "%u of %u processes of watchers were given nothing", w.silent,
                    f->watcher_count);
    if (w.judged < f->options.watches)
        unexercised(g, "%" PRIu64 " of %u watchers were not judged", f->options.watches - w.judged,
                    f->options.watches);
}

/* With chaos no write may fail, and what was frozen or killed comes back. */
static void judge_chaos(const struct fleet_supervisor *s, struct figures *g)
{
    const struct fleet_chaos *c = &s->chaos;
    uint64_t failed = s->now.counters[FLEET_REFUSED];
    if (c->event_count == 0)
        return;
    if (!fleet_chaos_may_fail(c))
        failed += s->now.counters[FLEET_UNKNOWN];
    const char *fault = fleet_chaos_fault(s);
    if (fault != NULL)
        unexercised(g, "%s", fault);
    if (failed != 0)
        unexercised(g, "%" PRIu64 " writes failed", failed);
    if (c->back_ns == UINT64_MAX)
        unexercised(g, "the frozen node did not come back");
    if (c->moves_failed != 0)
        unexercised(g, "%u moves failed", c->moves_failed);
    for (uint32_t i = 0; i < c->event_count; i++)
        if (!fleet_chaos_came_about(c, &c->events[i]))
            unexercised(g, "not all of the chaos came about");
}

static void judge_exercise(const struct fleet_supervisor *s, struct figures *g)
{
    const struct fleet_options *o = &s->fleet->options;
    const uint64_t *n = s->now.counters;
    int refusal = 0;
    judge_processes(s, g);
    if (g->conflict_share < CONFLICTS_MIN)
        unexercised(g, "%.2f %% of claims met a conflict, at least 1 %% were wanted",
                    100 * g->conflict_share);
    if (s->kill_done < o->kills)
        unexercised(g, "%u of %u kills happened", s->kill_done, o->kills);
    if (histogram_count(g->propagation) == 0)
        unexercised(g, "the observer saw no update become visible%s",
                    s->fleet->node_count > 1 ? " at every node" : "");
    judge_nodes(s, g);
    judge_watchers(s->fleet, g);
    judge_chaos(s, g);
    if (o->restarts_expected && s->restarts == 0)
        unexercised(g, "the daemon was not restarted");
    if (attached_count(s) < o->agents)
        unexercised(g, "%u of %u agent processes did not attach again",
                    o->agents - attached_count(s), o->agents);
    if (s->failed > 0)
        unexercised(g, "%u processes ended by themselves", s->failed);
    if (s->incomplete)
        unexercised(g, "not all checks could be made");
    for (uint32_t life = 0; life < s->life_next && refusal == 0; life++)
        refusal = atomic_load_explicit(&s->fleet->regions[life]->last_refusal,
                                       memory_order_relaxed); /* relaxed: all ended */
    if (n[FLEET_REFUSED] > 0)
        unexercised(g, "%" PRIu64 " writes were refused (%s)", n[FLEET_REFUSED],
                    strerror(-refusal));
}

static void figures_make(const struct fleet_supervisor *s, struct figures *g)
{
    const uint64_t *n = s->now.counters;
    struct rusage usage;
    (void)getrusage(RUSAGE_CHILDREN, &usage); /* cannot fail with these arguments */
    uint64_t children_us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    uint64_t daemon_ns = fleet_daemons_cpu_ns(s->fleet);
    double claims = n[FLEET_CLAIMS] == 0 ? 1 : (double)n[FLEET_CLAIMS];
    double updates = n[FLEET_UPDATES] == 0 ? 1 : (double)n[FLEET_UPDATES];
    *g = (struct figures){
        .seconds = (double)(s->ended_ns - s->started_ns) / 1e9,
        .recorded_s = (double)s->slowest_us / 1e6,
        .conflict_share = (double)n[FLEET_CONFLICTS] / claims,
        .diverted_share = (double)n[FLEET_DIVERTED] / claims,
        .violations = fleet_check_violations(&s->check),
        .propagation = &s->fleet->shared->farthest,
    };
    g->updates_per_s = (double)n[FLEET_UPDATES] / g->seconds;
    double flown_s = s->flown_s > 0 ? s->flown_s : 1;
    double speed = g->recorded_s > 0 ? g->recorded_s / g->seconds : 1;
    g->bytes_per_agent_s = (double)n[FLEET_RING_BYTES] / flown_s;
    g->bytes_per_agent_recorded_s = g->bytes_per_agent_s / speed;
    if (daemon_ns > s->daemon_ns_at_start)
        g->cpu_daemon_ns = (double)(daemon_ns - s->daemon_ns_at_start);
    g->cpu_ns = (double)children_us * 1e3 + (double)(fleet_cpu_ns(getpid()) - s->own_ns_at_start) +
                g->cpu_daemon_ns;
    g->cpu_per_update_ns = g->cpu_ns / updates;
    if (s->restarts > 0 && !s->fleet->options.restarts_expected)
        g->violations++;
    g->violations += s->nodes.stopped;
    judge_exercise(s, g);
}

static double percentile_us(const struct histogram *h, double fraction)
{
    return (double)histogram_percentile(h, fraction) / 1e3;
}

uint64_t fleet_daemons_cpu_ns(const struct fleet *f)
{
    uint64_t sum = f->cpu_ns_dead;
    for (uint32_t i = 0; i < f->options.daemon_pid_count; i++)
        sum += fleet_cpu_ns(f->options.daemon_pids[i]);
    return sum;
}

/* There and back, of all shards together. */
static uint64_t moves(const struct fleet_supervisor *s)
{
    return s->nodes.shards != 0 ? s->nodes.activations / s->nodes.shards : 0;
}

static const char *wire_note(const struct fleet *f)
{
    return f->node_count > 1 ? "what the nodes say to each other is not counted"
                             : "nothing is on a wire with one node";
}

static void print_nodes(const struct fleet *f)
{
    for (uint32_t node = 0; f->node_count > 1 && node < f->node_count; node++) {
        const struct histogram *h = &fleet_region_observer(f, node)->latency;
        (void)printf(
            "  at node %u          p50 %.0f us, p99 %.0f; %" PRIu64 " reads, %" PRIu64
            " in place, %" PRIu64 " by the ring, %" PRIu64 " linearizable, %" PRIu64
            " not answered\n",
            node + 1, percentile_us(h, 0.5), percentile_us(h, 0.99), observed(f, node, FLEET_READS),
            observed(f, node, FLEET_READS_IN_PLACE), observed(f, node, FLEET_READS_BY_RING),
            observed(f, node, FLEET_READS_LINEARIZABLE), observed(f, node, FLEET_READS_REFUSED));
    }
}

static void print_chaos(const struct fleet_supervisor *s)
{
    const struct fleet_chaos *c = &s->chaos;
    fleet_chaos_print(s);
    (void)printf("chaos                %u moves of all leaderships, %u freezes of the last node",
                 c->moves, c->freezes);
    if (c->freezes != 0 && c->back_ns != UINT64_MAX)
        (void)printf(", which had caught up %.0f ms after it went on", (double)c->back_ns / 1e6);
    (void)printf("; the longest claim took %.1f ms; %" PRIu64 " failed writes%s\n",
                 (double)histogram_max(&s->now.latency) / 1e6,
                 s->now.counters[FLEET_UNKNOWN] + s->now.counters[FLEET_REFUSED],
                 fleet_chaos_has(c, FLEET_CHAOS_PARTITION) ? ", at nodes that were cut off" : "");
}

static void print_text(const struct fleet_supervisor *s, const struct figures *g)
{
    const struct fleet_options *o = &s->fleet->options;
    const uint64_t *n = s->now.counters;
    const struct histogram *h = &s->now.latency;
    (void)printf(
        "\nfleet                %u agent processes, %u killed and replaced, %.1f s, seed %" PRIu64
        "\n",
        o->agents, s->kill_done, g->seconds, o->seed);
    for (uint32_t i = 0; i < s->fleet->source_count; i++) {
        const struct fleet_source *source = &s->fleet->sources[i];
        (void)printf("%-20s %s: %u rows, %u agents%s\n", i == 0 ? "data" : "", source->label,
                     source->row_count, source->agent_count,
                     source->silences_cut > 0 ? ", silences shortened" : "");
    }
    (void)printf("replayed             %.0f recorded seconds, %.0f times faster than recorded\n",
                 g->recorded_s, g->recorded_s / g->seconds);
    (void)printf("updates/s            %.0f (%" PRIu64
                 " telemetry writes; in a strong space, as eventual ones do not exist yet)\n",
                 g->updates_per_s, n[FLEET_UPDATES]);
    (void)printf("command latency      mean %.0f us, p50 %.0f, p99 %.0f, p99.9 %.0f (%" PRIu64
                 " claims, %.0f/s, retries included)\n",
                 histogram_mean(h) / 1e3, percentile_us(h, 0.5), percentile_us(h, 0.99),
                 percentile_us(h, 0.999), n[FLEET_CLAIMS], (double)n[FLEET_CLAIMS] / g->seconds);
    (void)printf("propagation latency  p50 %.0f us, p99 %.0f (%" PRIu64
                 " samples, submission to visible in place in another process%s)\n",
                 percentile_us(g->propagation, 0.5), percentile_us(g->propagation, 0.99),
                 histogram_count(g->propagation),
                 s->fleet->node_count > 1 ? ", at the farthest replica"
                                          : "; the only replica is this node");
    print_nodes(s->fleet);
    fleet_watchers_print(s->fleet, g->seconds);
    if (s->chaos.event_count != 0)
        print_chaos(s);
    else if (s->fleet->node_count > 1 && !fleet_is_cluster(s->fleet))
        (void)printf("moves                %" PRIu64
                     " of all leaderships to another node and back; "
                     "the longest claim took %.1f ms\n",
                     moves(s), (double)histogram_max(h) / 1e6);
    (void)printf("conflicts            %.1f %% of claims (%" PRIu64 "), diverted %.1f %%, %" PRIu64
                 " compares refused\n",
                 100 * g->conflict_share, n[FLEET_CONFLICTS], 100 * g->diverted_share,
                 n[FLEET_COMPARES_FAILED]);
    (void)printf(
        "bytes                %.0f per agent per second, %.0f per agent per recorded second "
        "(ring bytes; %s)\n",
        g->bytes_per_agent_s, g->bytes_per_agent_recorded_s, wire_note(s->fleet));
    (void)printf("CPU per update       %.2f us over all processes (daemon %s%.2f)\n",
                 g->cpu_per_update_ns / 1e3, g->cpu_daemon_ns > 0 ? "" : "not counted: ",
                 n[FLEET_UPDATES] == 0 ? 0 : g->cpu_daemon_ns / 1e3 / (double)n[FLEET_UPDATES]);
    (void)printf("checked              %" PRIu64 " sector writes in %" PRIu64 " chains, %" PRIu64
                 " of unknown fate (%" PRIu64 " holes they explain), %" PRIu64 " reads and %" PRIu64
                 " views by the observer\n",
                 s->check.writes, s->check.sector_count, s->check.unknowns, s->check.explained,
                 observed_everywhere(s->fleet, FLEET_READS),
                 observed_everywhere(s->fleet, FLEET_VIEWS));
    if (s->fleet->node_count > 1)
        (void)printf("replicas             %" PRIu64
                     " times a key was compared between the first node and another\n",
                     s->controller.compared);
    (void)printf("the dead             %" PRIu64 " sectors freed, %" PRIu64 " fenced\n",
                 s->controller.freed, s->controller.fenced + n[FLEET_FENCED]);
    if (s->restarts > 0)
        (void)printf("daemon               restarted %" PRIu64
                     " times; %u of %u processes are attached to "
                     "the last one; what it held was lost each time (this version keeps nothing on "
                     "disk)\n",
                     s->restarts, attached_count(s), o->agents);
}

static struct report_row *add(struct report *r, const char *name, const char *unit, double value,
                              const char *note)
{
    struct report_row *row = report_add(r, name, unit, value);
    if (note != NULL)
        report_note(row, "%s", note);
    return row;
}

static void add_nodes(struct report *r, const struct fleet_supervisor *s)
{
    char name[64];
    for (uint32_t node = 0; s->fleet->node_count > 1 && node < s->fleet->node_count; node++) {
        const struct histogram *h = &fleet_region_observer(s->fleet, node)->latency;
        (void)snprintf(name, sizeof(name), "propagation latency, node %u", node + 1);
        report_percentiles(add(r, name, "us", percentile_us(h, 0.5), NULL), h, 1e-3);
        (void)snprintf(name, sizeof(name), "linearizable reads, node %u", node + 1);
        add(r, name, "count", (double)observed(s->fleet, node, FLEET_READS_LINEARIZABLE), NULL);
        (void)snprintf(name, sizeof(name), "reads in place, node %u", node + 1);
        add(r, name, "count", (double)observed(s->fleet, node, FLEET_READS_IN_PLACE), NULL);
    }
    if (s->fleet->node_count > 1)
        add(r, "keys compared", "count", (double)s->controller.compared,
            "between the first node and another");
}

static int print_json(const struct fleet_supervisor *s, const struct figures *g)
{
    static struct report r;
    const uint64_t *n = s->now.counters;
    report_init(&r, "fleet");
    add(&r, "updates", "1/s", g->updates_per_s, "telemetry, in a strong space")->samples =
        n[FLEET_UPDATES];
    report_percentiles(add(&r, "command latency", "us", percentile_us(&s->now.latency, 0.5),
                           "claims, retries included"),
                       &s->now.latency, 1e-3);
    add(&r, "command latency mean", "us", histogram_mean(&s->now.latency) / 1e3, NULL);
    report_percentiles(add(&r, "propagation latency", "us", percentile_us(g->propagation, 0.5),
                           s->fleet->node_count > 1 ? "to another process at the farthest node"
                                                    : "to another process of the only node"),
                       g->propagation, 1e-3);
    add_nodes(&r, s);
    fleet_watchers_report(s->fleet, g->seconds, &r);
    add(&r, "claims", "1/s", (double)n[FLEET_CLAIMS] / g->seconds, NULL)->samples = n[FLEET_CLAIMS];
    add(&r, "conflicts", "%", 100 * g->conflict_share, "of claims")->samples = n[FLEET_CONFLICTS];
    add(&r, "diverted", "%", 100 * g->diverted_share, "of claims")->samples = n[FLEET_DIVERTED];
    add(&r, "bytes per agent", "B/s", g->bytes_per_agent_s, wire_note(s->fleet));
    add(&r, "bytes per agent and recorded second", "B", g->bytes_per_agent_recorded_s, NULL);
    add(&r, "CPU per update", "us", g->cpu_per_update_ns / 1e3,
        g->cpu_daemon_ns > 0 ? "all processes" : "without the daemon");
    add(&r, "speed", "x", g->recorded_s / g->seconds, "of the recording");
    if (s->chaos.event_count != 0) {
        add(&r, "chaos moves", "count", s->chaos.moves, "of all leaderships");
        add(&r, "freezes", "count", s->chaos.freezes, "of the last node");
        add(&r, "caught up", "ms",
            s->chaos.back_ns == UINT64_MAX ? -1 : (double)s->chaos.back_ns / 1e6,
            "after it went on; -1: not");
        add(&r, "failed writes", "count", (double)(n[FLEET_UNKNOWN] + n[FLEET_REFUSED]), NULL);
        fleet_chaos_report(s, &r);
    }
    if (s->fleet->node_count > 1) {
        add(&r, "moves", "count", (double)moves(s), "of all leaderships, to another node and back");
        add(&r, "longest claim", "ms", (double)histogram_max(&s->now.latency) / 1e6, NULL);
    }
    add(&r, "kills", "count", s->kill_done, NULL);
    add(&r, "daemon restarts", "count", (double)s->restarts, NULL);
    add(&r, "attached", "processes", attached_count(s), "to the daemon that ran last");
    add(&r, "violations", "count", (double)g->violations, NULL);
    add(&r, "exercised", "bool", g->reason[0] == 0, g->reason);
    return report_print(&r, true);
}

int fleet_print_summary(struct fleet_supervisor *s)
{
    struct figures g;
    FILE *out = s->fleet->options.json ? stderr : stdout;
    int printed = 0;
    fleet_totals_take(s->fleet, &s->now);
    figures_make(s, &g);
    if (s->fleet->options.json)
        printed = print_json(s, &g);
    else
        print_text(s, &g);
    if (s->restarts > 0 && !s->fleet->options.restarts_expected)
        (void)fprintf(stderr, "violation: the daemon restarted and lost its memory\n");
    if (g.reason[0] != 0)
        (void)fprintf(out, "not exercised: %s\n", g.reason);
    (void)fprintf(out, "violations: %" PRIu64 "\n", g.violations);
    return printed == 0 && g.violations == 0 && g.reason[0] == 0 ? BENCH_OK : BENCH_REFUSED;
}
