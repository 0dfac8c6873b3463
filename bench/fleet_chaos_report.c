/* What is told of kills and partitions, and whether they did what they are for.  See fleet_chaos.h. */
#include "bench/fleet_supervisor.h"
#include "bench/report.h"

#include <inttypes.h>
#include <stdio.h>

/* Not by a time-out, which takes two seconds.  Why no less: each time that the machine stands still, what a node that
 * is cut off must have heard within two leases is waited for anew. */
#define REFUSAL_LIMIT_NS NS_PER_S

bool fleet_chaos_may_fail(const struct fleet_chaos *c)
{
    return fleet_chaos_has(c, FLEET_CHAOS_KILL_LEADER) || fleet_chaos_has(c, FLEET_CHAOS_PARTITION);
}

bool fleet_chaos_came_about(const struct fleet_chaos *c, const struct fleet_chaos_event *e)
{
    switch (e->kind) {
    case FLEET_CHAOS_FREEZE:
        return e->begun;
    case FLEET_CHAOS_MOVE:
        return c->moves != 0;
    case FLEET_CHAOS_KILL_LEADER:
        return c->kills.count != 0;
    case FLEET_CHAOS_PARTITION:
        return c->cuts.count != 0;
    case FLEET_CHAOS_ADD:
        return c->added.stage == FLEET_CHANGE_DONE;
    default:
        return c->removed.stage == FLEET_CHANGE_DONE;
    }
}

/* Why more than had to move is a fault: data was copied for nothing. */
static const char *fault_of_changes(const struct fleet_chaos *c)
{
    if (c->added.stage == FLEET_CHANGE_FAILED)
        return "a node was not added, or did not come to vote";
    if (c->removed.stage == FLEET_CHANGE_FAILED)
        return "a node was not removed, or its daemon did not end";
    if (c->added.moved > c->added.least || c->removed.moved > c->removed.least)
        return "more votes moved than had to";
    return NULL;
}

const char *fleet_chaos_fault(const struct fleet_supervisor *s)
{
    const struct fleet_chaos *c = &s->chaos;
    const struct fleet_probed *p = &s->fleet->shared->probed;
    const char *fault = fault_of_changes(c);
    if (fault != NULL)
        return fault;
    if (c->kills.is_down)
        return "a node that was killed did not come back";
    if (c->cuts.failed != 0)
        return "cuts or probes of nodes failed";
    if (c->cuts.count == 0)
        return NULL;
    if (p->refused == 0)
        return "no write was refused at a node that was cut off";
    if (p->slowest_ns > REFUSAL_LIMIT_NS)
        return "a write at a node that was cut off was not refused at once";
    if (p->reads_failed != 0)
        return "local reads at a node that was cut off had no answer";
    return p->age_ns == 0 ? "local reads at a node that was cut off did not tell their age" : NULL;
}

static void print_kills(const struct fleet_supervisor *s)
{
    const struct fleet_chaos *c = &s->chaos;
    struct fleet_chaos_gaps gaps;
    fleet_chaos_gaps(c, s->fleet, &gaps);
    (void)printf(
        "kills                %u leaders killed and started again, full redundancy after at "
        "most %.1f s\n"
        "                     gap in service (longest claim per kill, at nodes that lived): "
        "median %.1f ms, worst %.1f; %" PRIu64
        " writes refused as unavailable or of unknown fate\n",
        c->kills.count, (double)c->kills.back_ns / 1e9, gaps.median_ms, gaps.worst_ms,
        s->now.counters[FLEET_UNKNOWN]);
}

static void print_cuts(const struct fleet_supervisor *s)
{
    const struct fleet_probed *p = &s->fleet->shared->probed;
    (void)printf(
        "partitions           %u, each of a second; writes there: %" PRIu64
        " refused, the first at most %.0f ms after the cut, later ones in at most %.1f ms, "
        "%" PRIu64 " of unknown fate\n",
        s->chaos.cuts.count, p->refused, (double)p->silent_ns / 1e6, (double)p->slowest_ns / 1e6,
        p->unknown);
    (void)printf("                     local reads there: %" PRIu64 " answered, %" PRIu64
                 " not, %" PRIu64 " said to be stale, age up to %.0f ms\n",
                 p->reads - p->reads_failed, p->reads_failed, p->stale, (double)p->age_ns / 1e6);
}

static void print_change(const struct fleet_chaos_change *g, bool adds)
{
    if (g->stage != FLEET_CHANGE_DONE)
        return;
    (void)printf("%s node %u; it %s after %.1f s, and the votes were where they belong after %.1f; "
                 "%u votes moved, at least %u had to; the longest claim meanwhile took %.1f ms\n",
                 adds ? "added               " : "removed             ", g->node + 1,
                 adds ? "served" : "had ended", (double)g->node_ns / 1e9,
                 (double)g->settled_ns / 1e9, g->moved, g->least, (double)g->longest_ns / 1e6);
}

void fleet_chaos_print(const struct fleet_supervisor *s)
{
    print_change(&s->chaos.added, true);
    print_change(&s->chaos.removed, false);
    if (fleet_chaos_has(&s->chaos, FLEET_CHAOS_KILL_LEADER))
        print_kills(s);
    if (fleet_chaos_has(&s->chaos, FLEET_CHAOS_PARTITION))
        print_cuts(s);
}

static struct report_row *add(struct report *r, const char *what, const char *name,
                              const char *unit, double value)
{
    char text[64];
    (void)snprintf(text, sizeof text, "%s, %s", what, name);
    return report_add(r, text, unit, value);
}

static void report_change(const struct fleet_chaos_change *g, bool adds, struct report *r)
{
    const char *what = adds ? "node added" : "node removed";
    if (g->stage != FLEET_CHANGE_DONE)
        return;
    report_note(add(r, what, "votes settled", "ms", (double)g->settled_ns / 1e6), "%s",
                adds ? "it votes in its share" : "its votes are with others");
    (void)add(r, what, adds ? "served" : "daemon ended", "ms", (double)g->node_ns / 1e6);
    report_note(add(r, what, "votes moved", "count", g->moved), "at least %u had to", g->least);
    (void)add(r, what, "longest claim", "ms", (double)g->longest_ns / 1e6);
}

void fleet_chaos_report(const struct fleet_supervisor *s, struct report *r)
{
    report_change(&s->chaos.added, true, r);
    report_change(&s->chaos.removed, false, r);
    const struct fleet_probed *p = &s->fleet->shared->probed;
    struct fleet_chaos_gaps gaps;
    fleet_chaos_gaps(&s->chaos, s->fleet, &gaps);
    (void)report_add(r, "leaders killed", "count", s->chaos.kills.count);
    report_note(report_add(r, "gap in service, median", "ms", gaps.median_ms),
                "longest claim per kill, at nodes that lived");
    (void)report_add(r, "gap in service, worst", "ms", gaps.worst_ms);
    (void)report_add(r, "writes refused or of unknown fate", "count",
                     (double)s->now.counters[FLEET_UNKNOWN]);
    (void)report_add(r, "partitions", "count", s->chaos.cuts.count);
    report_note(report_add(r, "refused while cut off", "count", (double)p->refused),
                "strong writes, asked for by a prober");
    report_note(report_add(r, "refusal, slowest", "ms", (double)p->slowest_ns / 1e6),
                "after the first");
    report_note(report_add(r, "age of local reads", "ms", (double)p->age_ns / 1e6),
                "at a node that was cut off, the greatest");
}
