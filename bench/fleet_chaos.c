/* See fleet_chaos.h. */
#include "bench/fleet_chaos.h"

#include "engine/clock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BACK_LIMIT_NS (20 * NS_PER_S)
#define LOOK_NS (20 * NS_PER_MS)
#define COMMAND_LIMIT_NS (10 * NS_PER_S)
#define CHANGE_LIMIT_NS (60 * NS_PER_S)
#define MOVE_UNAVAILABLE 3 /* exit status of `dunlin move` */

/* ---- freeze ---- */

static uint32_t victim(const struct fleet *f)
{
    return f->first_count - 1;
}

static int freeze(struct fleet_chaos *c, const struct fleet *f, struct fleet_nodes *nodes)
{
    if (kill(f->options.daemon_pids[victim(f)], SIGSTOP) != 0)
        return -errno;
    nodes->away_mask |= 1u << victim(f);
    c->is_frozen = true;
    c->is_behind = false;
    c->freezes++;
    return 0;
}

static int thaw(struct fleet_chaos *c, const struct fleet *f, struct fleet_nodes *nodes)
{
    if (!c->is_frozen)
        return 0;
    c->is_frozen = false;
    /* Why before it goes on: this is what it has missed. */
    int error = fleet_nodes_look(f, nodes);
    c->log_bytes = nodes->log_bytes[0];
    if (kill(f->options.daemon_pids[victim(f)], SIGCONT) != 0)
        return -errno;
    c->thawed_ns = clock_boottime_ns();
    c->is_behind = true;
    nodes->away_mask &= ~(1u << victim(f));
    return error;
}

static void look_behind(struct fleet_chaos *c, const struct fleet *f, struct fleet_nodes *nodes)
{
    if (!c->is_behind || fleet_nodes_look(f, nodes) != 0 ||
        nodes->log_bytes[victim(f)] < c->log_bytes)
        return;
    c->is_behind = false;
    c->back_ns = max_u64(c->back_ns, clock_boottime_ns() - c->thawed_ns);
}

/* ---- move ---- */

/* A command that moves everything to the node whose turn it is. */
static int mover_start(struct fleet_chaos *c, const struct fleet *f)
{
    char node[16];
    (void)snprintf(node, sizeof(node), "%u", c->leader + 1);
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        (void)freopen("/dev/null", "w", stdout);
        execl(f->options.dunlin, "dunlin", "--socket", f->options.sockets[0], "move", node,
              (char *)NULL);
        _exit(127);
    }
    c->mover = pid;
    return 0;
}

/* Why again: a node whose lease ended while it was to lead is passed over. */
static void mover_reap(struct fleet_chaos *c, const struct fleet *f)
{
    int status;
    if (c->mover == 0 || waitpid(c->mover, &status, WNOHANG) != c->mover)
        return;
    c->mover = 0;
    bool well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    bool is_unavailable = WIFEXITED(status) && WEXITSTATUS(status) == MOVE_UNAVAILABLE;
    bool is_in_time = clock_boottime_ns() - c->moving_ns < COMMAND_LIMIT_NS;
    if (is_unavailable && is_in_time && mover_start(c, f) == 0)
        return;
    c->moves += well;
    c->moves_failed += !well;
}

static int move(struct fleet_chaos *c, const struct fleet *f)
{
    /* Why not only while it is: who is frozen as a leader takes its shards with it until it comes back. */
    uint32_t healthy = f->first_count - (fleet_chaos_has(c, FLEET_CHAOS_FREEZE) ||
                                         fleet_chaos_has(c, FLEET_CHAOS_REMOVE));
    c->leader = (c->leader + 1) % healthy;
    c->moving_ns = clock_boottime_ns();
    return mover_start(c, f);
}

/* ---- the run ---- */

static int event_step(struct fleet_chaos *c, struct fleet_chaos_event *e, struct fleet *f,
                      struct fleet_nodes *nodes, uint64_t passed_ns)
{
    const struct fleet_chaos_due due = {.passed_ns = passed_ns, .period_ns = e->from_ns};
    int error = 0;
    if (e->kind == FLEET_CHAOS_KILL_LEADER)
        return fleet_chaos_kill_step(c, f, nodes, &due);
    if (e->kind == FLEET_CHAOS_PARTITION)
        return fleet_chaos_cut_step(c, f, &due);
    if (e->kind == FLEET_CHAOS_ADD || e->kind == FLEET_CHAOS_REMOVE)
        return fleet_chaos_change_step(c, f, nodes, e, passed_ns);
    if (e->kind == FLEET_CHAOS_MOVE) {
        if (c->mover != 0 || passed_ns < max_u64(c->next_move_ns, e->from_ns))
            return 0;
        c->next_move_ns = passed_ns + e->from_ns;
        return move(c, f);
    }
    /* Why not while another is away: those that are left are to be most of them. */
    if (!e->begun && passed_ns >= e->from_ns && !c->kills.is_down && !c->cuts.is_cut &&
        !fleet_chaos_is_changing(c) && c->removed.stage == FLEET_CHANGE_NONE) {
        e->begun = true;
        error = freeze(c, f, nodes);
    }
    if (error == 0 && e->begun && !e->ended && passed_ns >= e->until_ns) {
        e->ended = true;
        error = thaw(c, f, nodes);
    }
    return error;
}

int fleet_chaos_step(struct fleet_chaos *c, struct fleet *f, struct fleet_nodes *nodes,
                     uint64_t passed_ns)
{
    int error = 0;
    mover_reap(c, f);
    for (uint32_t i = 0; error == 0 && i < c->event_count; i++)
        error = event_step(c, &c->events[i], f, nodes, passed_ns);
    look_behind(c, f, nodes);
    fleet_chaos_change_look(c, f, nodes);
    return error;
}

void fleet_chaos_end(struct fleet_chaos *c, struct fleet *f, struct fleet_nodes *nodes)
{
    struct timespec pause = {.tv_nsec = (long)LOOK_NS};
    uint64_t until = clock_boottime_ns() + COMMAND_LIMIT_NS;
    for (; c->mover != 0 && clock_boottime_ns() < until; mover_reap(c, f))
        (void)nanosleep(&pause, NULL); /* a signal shortens it: looked again all the same */
    if (c->mover != 0) {
        (void)kill(c->mover, SIGKILL);
        (void)waitpid(c->mover, NULL, 0);
        c->moves_failed++;
        c->mover = 0;
    }
    if (thaw(c, f, nodes) != 0)
        c->back_ns = UINT64_MAX;
    until = clock_boottime_ns() + BACK_LIMIT_NS;
    for (; c->is_behind && clock_boottime_ns() < until; look_behind(c, f, nodes))
        (void)nanosleep(&pause, NULL); /* as above */
    if (c->is_behind)
        c->back_ns = UINT64_MAX;
    fleet_chaos_cut_end(c, f);
    until = clock_boottime_ns() + CHANGE_LIMIT_NS;
    for (; fleet_chaos_is_changing(c) && clock_boottime_ns() < until;
         fleet_chaos_change_look(c, f, nodes))
        (void)nanosleep(&pause, NULL); /* as above */
    fleet_chaos_change_end(c);
    until = clock_boottime_ns() + BACK_LIMIT_NS;
    for (; c->kills.is_down && clock_boottime_ns() < until; fleet_chaos_kill_end(c, f, nodes))
        (void)nanosleep(&pause, NULL); /* as above */
}
