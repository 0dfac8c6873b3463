/* Nodes that come and go while the fleet flies, and the votes that move with them.  See fleet_chaos.h.
 *
 * Votes are counted as the first node tells of them, again and again: moved is how many the nodes got from
 * one look to the next, all together, and least how many they have more in the end than at first.  Where
 * moved is more, a vote went somewhere only to go on. */
#include "bench/fleet_chaos.h"
#include "bench/fleet_supervisor.h"

#include "engine/clock.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_NS (20 * NS_PER_MS)
#define QUIET_NS NS_PER_S /* nothing moves for so long: it is over */

static bool is_under_way(const struct fleet_chaos_change *g)
{
    return g->stage != FLEET_CHANGE_NONE && g->stage != FLEET_CHANGE_DONE &&
           g->stage != FLEET_CHANGE_FAILED;
}

bool fleet_chaos_is_changing(const struct fleet_chaos *c)
{
    return is_under_way(&c->added) || is_under_way(&c->removed);
}

/* ---- it begins ---- */

static void latency_take(const struct fleet *f, struct histogram *h)
{
    static struct fleet_totals totals;
    fleet_totals_take(f, &totals);
    histogram_reset(h);
    histogram_merge(h, &totals.latency);
}

static _Noreturn void become(const struct fleet *f, bool adds, uint32_t node)
{
    char id[16];
    (void)snprintf(id, sizeof id, "%u", node + 1);
    (void)freopen("/dev/null", "w", stdout);
    if (adds)
        execl(f->options.adder, f->options.adder, (char *)NULL);
    else
        execl(f->options.dunlin, "dunlin", "--socket", f->options.sockets[0], "node", "remove", id,
              (char *)NULL);
    _exit(127);
}

static int begin(struct fleet_chaos_change *g, const struct fleet *f, bool adds,
                 const struct fleet_chaos_view *v)
{
    g->node = adds ? f->node_count - 1 : f->first_count - 1;
    memcpy(g->votes_before, v->votes, sizeof g->votes_before);
    memcpy(g->votes, v->votes, sizeof g->votes);
    latency_take(f, &g->before);
    g->begun_ns = clock_boottime_ns();
    g->pid = fork();
    if (g->pid < 0)
        return -errno;
    if (g->pid == 0)
        become(f, adds, g->node);
    g->stage = FLEET_CHANGE_COMMAND;
    return 0;
}

static bool is_time_to_look(struct fleet_chaos *c)
{
    const uint64_t now = clock_boottime_ns();
    const bool is_time = now - c->looked_ns >= LOOK_NS;
    c->looked_ns = is_time ? now : c->looked_ns;
    return is_time;
}

int fleet_chaos_change_step(struct fleet_chaos *c, const struct fleet *f,
                            const struct fleet_nodes *nodes, const struct fleet_chaos_event *e,
                            uint64_t passed_ns)
{
    const bool adds = e->kind == FLEET_CHAOS_ADD;
    struct fleet_chaos_change *g = adds ? &c->added : &c->removed;
    struct fleet_chaos_view v;
    if (g->stage != FLEET_CHANGE_NONE || passed_ns < e->from_ns || fleet_chaos_is_changing(c) ||
        c->is_frozen || c->is_behind || c->kills.is_down || c->cuts.is_cut || !is_time_to_look(c) ||
        !fleet_chaos_look(f, nodes, &v))
        return 0;
    return begin(g, f, adds, &v);
}

/* ---- it goes on ---- */

static void command_reap(struct fleet_chaos_change *g)
{
    int status;
    if (g->pid == 0 || waitpid(g->pid, &status, WNOHANG) != g->pid)
        return;
    g->pid = 0;
    g->command_ns = clock_boottime_ns() - g->begun_ns;
    g->stage =
        WIFEXITED(status) && WEXITSTATUS(status) == 0 ? FLEET_CHANGE_NODE : FLEET_CHANGE_FAILED;
}

static void votes_count(struct fleet_chaos_change *g, const struct fleet_chaos_view *v)
{
    for (uint32_t i = 0; i < FLEET_NODES_MAX && v->listed_mask != 0; i++) {
        g->moved += v->votes[i] > g->votes[i] ? v->votes[i] - g->votes[i] : 0;
        g->votes[i] = v->votes[i];
    }
}

/* The node that was added serves: from now on it is looked at as all others. */
static bool has_come(const struct fleet_chaos_change *g, struct fleet *f, struct fleet_nodes *nodes)
{
    const struct dunlin_options options = {.socket = f->options.sockets[g->node]};
    const int pid = fleet_chaos_pid(f, g->node);
    if (pid == 0 || dunlin_open(&options, &nodes->handles[g->node]) != 0)
        return false;
    f->options.daemon_pids[g->node] = pid;
    f->options.daemon_pid_count = g->node + 1;
    /* release: M1 -> M2 */
    (void)atomic_fetch_or_explicit(&f->shared->member_mask, 1u << g->node, memory_order_release);
    return true;
}

/* The daemon of the node that was removed has ended; what it used until then goes to the dead. */
static bool has_gone(struct fleet_chaos_change *g, struct fleet *f)
{
    int *pid = &f->options.daemon_pids[g->node];
    g->cpu_ns = max_u64(g->cpu_ns, fleet_cpu_ns(*pid));
    if (fleet_chaos_pid(f, g->node) != 0)
        return false;
    f->cpu_ns_dead += *pid != 0 ? g->cpu_ns : 0;
    *pid = 0;
    /* release: M1 -> M2 */
    (void)atomic_fetch_and_explicit(&f->shared->member_mask, ~(1u << g->node),
                                    memory_order_release);
    return true;
}

static void settle(struct fleet_chaos_change *g, const struct fleet *f)
{
    static struct histogram now, since;
    g->stage = FLEET_CHANGE_DONE;
    g->settled_ns = g->quiet_ns - g->begun_ns;
    for (uint32_t i = 0; i < FLEET_NODES_MAX; i++)
        g->least += g->votes[i] > g->votes_before[i] ? g->votes[i] - g->votes_before[i] : 0;
    latency_take(f, &now);
    fleet_latency_since(&now, &g->before, &since);
    g->longest_ns = histogram_max(&since);
}

static void go_on(struct fleet_chaos_change *g, bool adds, struct fleet *f,
                  struct fleet_nodes *nodes)
{
    struct fleet_chaos_view v;
    const uint64_t now = clock_boottime_ns();
    command_reap(g);
    /* Why also while the command runs: nobody is to ask a daemon that ends. */
    const bool is_gone = !adds && has_gone(g, f);
    const bool is_whole = fleet_chaos_look(f, nodes, &v);
    votes_count(g, &v);
    if (g->stage == FLEET_CHANGE_NODE && (is_gone || (adds && has_come(g, f, nodes)))) {
        g->node_ns = clock_boottime_ns() - g->begun_ns;
        g->stage = FLEET_CHANGE_VOTES;
        return;
    }
    const bool is_over =
        g->stage == FLEET_CHANGE_VOTES && is_whole && (!adds || v.votes[g->node] != 0);
    if (!is_over)
        g->quiet_ns = 0;
    else if (g->quiet_ns == 0)
        g->quiet_ns = now;
    else if (now - g->quiet_ns >= QUIET_NS)
        settle(g, f);
}

void fleet_chaos_change_look(struct fleet_chaos *c, struct fleet *f, struct fleet_nodes *nodes)
{
    if (!fleet_chaos_is_changing(c) || !is_time_to_look(c))
        return;
    if (is_under_way(&c->added))
        go_on(&c->added, true, f, nodes);
    if (is_under_way(&c->removed))
        go_on(&c->removed, false, f, nodes);
}

/* ---- it ends ---- */

static void give_up(struct fleet_chaos_change *g)
{
    if (g->pid != 0) {
        (void)kill(g->pid, SIGKILL);
        (void)waitpid(g->pid, NULL, 0);
        g->pid = 0;
    }
    if (is_under_way(g))
        g->stage = FLEET_CHANGE_FAILED;
}

void fleet_chaos_change_end(struct fleet_chaos *c)
{
    give_up(&c->added);
    give_up(&c->removed);
}
