/* Leaders that are killed, and what was not served meanwhile.  See fleet_chaos.h. */
#include "bench/fleet_chaos.h"
#include "bench/fleet_supervisor.h"
#include "bench/pairs.h"

#include "engine/clock.h"

#include <signal.h>

#define LOOK_NS (50 * NS_PER_MS)

/* ---- kills ---- */

static int kill_node(struct fleet_chaos *c, struct fleet *f, struct fleet_nodes *nodes,
                     uint32_t node)
{
    struct fleet_chaos_kills *k = &c->kills;
    int pid = fleet_chaos_pid(f, node);
    if (pid == 0)
        return 0;
    f->cpu_ns_dead += fleet_cpu_ns(pid);
    f->options.daemon_pids[node] = 0;
    nodes->away_mask |= 1u << node;
    k->victims[k->count++] = (uint8_t)node;
    k->is_down = true;
    k->killed_ns = clock_boottime_ns();
    /* release: K1 -> K2 (fleet_command.c): claims that end from now on count for this kill */
    atomic_store_explicit(&f->shared->kill_count, k->count, memory_order_release);
    return kill(pid, SIGKILL) == 0 ? 0 : -errno;
}

/* Full redundancy, and who leads most then. */
static bool is_whole(const struct fleet *f, const struct fleet_nodes *nodes, uint32_t *most)
{
    struct fleet_chaos_view v;
    const bool is_whole = fleet_chaos_look(f, nodes, &v);
    *most = 0;
    for (uint32_t i = 1; i < f->node_count; i++)
        if (v.leads[i] > v.leads[*most])
            *most = i;
    return is_whole;
}

static void look_for(struct fleet_chaos *c, struct fleet *f, struct fleet_nodes *nodes)
{
    struct fleet_chaos_kills *k = &c->kills;
    uint32_t victim = k->victims[k->count - 1], most;
    int pid = fleet_chaos_pid(f, victim);
    if (pid == 0 || !is_whole(f, nodes, &most))
        return;
    f->options.daemon_pids[victim] = pid;
    nodes->away_mask &= ~(1u << victim);
    k->is_down = false;
    k->back_ns = max_u64(k->back_ns, clock_boottime_ns() - k->killed_ns);
}

int fleet_chaos_kill_step(struct fleet_chaos *c, struct fleet *f, struct fleet_nodes *nodes,
                          const struct fleet_chaos_due *due)
{
    struct fleet_chaos_kills *k = &c->kills;
    uint64_t now = clock_boottime_ns();
    uint32_t most;
    if (now - k->looked_ns < LOOK_NS)
        return 0;
    k->looked_ns = now;
    if (k->is_down)
        look_for(c, f, nodes);
    if (k->is_down || c->is_frozen || c->cuts.is_cut || fleet_chaos_is_changing(c) ||
        k->count == FLEET_CHAOS_KILLS_MAX)
        return 0;
    k->next_ns = max_u64(k->next_ns, due->period_ns);
    if (due->passed_ns < k->next_ns || !is_whole(f, nodes, &most))
        return 0;
    k->next_ns = due->passed_ns + due->period_ns;
    return kill_node(c, f, nodes, most);
}

void fleet_chaos_kill_end(struct fleet_chaos *c, struct fleet *f, struct fleet_nodes *nodes)
{
    if (c->kills.is_down)
        look_for(c, f, nodes);
}

void fleet_chaos_gaps(const struct fleet_chaos *c, const struct fleet *f,
                      struct fleet_chaos_gaps *gaps)
{
    double ms[FLEET_CHAOS_KILLS_MAX];
    *gaps = (struct fleet_chaos_gaps){.median_ms = 0};
    for (uint32_t k = 0; k < c->kills.count; k++) {
        uint64_t longest = 0;
        for (uint32_t life = 0; life < f->life_count; life++) {
            const struct fleet_region *r = f->regions[life];
            if (fleet_node_of(f, r->process) != c->kills.victims[k])
                /* relaxed: all ended */
                longest =
                    max_u64(longest, atomic_load_explicit(&r->longest_ns[k], memory_order_relaxed));
        }
        ms[k] = (double)longest / 1e6;
        gaps->worst_ms = ms[k] > gaps->worst_ms ? ms[k] : gaps->worst_ms;
    }
    if (c->kills.count != 0)
        gaps->median_ms = pairs_median(ms, c->kills.count);
}
