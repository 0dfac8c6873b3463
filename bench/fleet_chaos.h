/* fleet_chaos - what happens to the nodes of a cluster while the fleet flies.
 *
 *   freeze:A-Bs   the process of the last node is stopped (SIGSTOP) at second A of the run and goes on
 *                 (SIGCONT) at second B; then the time is taken until it has all that the first node had
 *                 at that moment
 *   move:Ns       every N seconds all leaderships go to the next node, by `dunlin move`; not to the last one
 *                 if that is to be frozen
 *   kill-leader:Ns  every N seconds, when redundancy is full, the process that leads most shards is killed
 *                 (SIGKILL).  Who started it starts it again, on the same socket; its end is seen there
 *   partition:Ns  every N seconds the next node is cut off from all others for FLEET_CHAOS_CUT_NS, and
 *                 probed meanwhile (fleet_chaos_cut.c); not while one is down, frozen or cut off
 *   add-node:Ns   at second N the last socket's node is added and started, and time and votes are taken
 *                 until it votes in its share (fleet_chaos_change.c)
 *   remove-node:Ns  at second N the last of the first nodes is removed by `dunlin node remove`, and its
 *                 daemon ends by itself
 * While a node comes or goes nobody is frozen, killed or cut off; one comes or goes at a time.
 * Position p among the sockets is the node with id p + 1.
 * Several, with commas between them.  The supervisor's thread.  What is frozen goes on in any case: when the
 * run ends, and when it fails. */
#ifndef DUNLIN_BENCH_FLEET_CHAOS_H
#define DUNLIN_BENCH_FLEET_CHAOS_H

#include "bench/fleet.h"
#include "bench/histogram.h"

#include <sys/types.h>

#define FLEET_CHAOS_EVENTS 8u
#define FLEET_CHAOS_SECONDS_MAX 86400u
#define FLEET_CHAOS_CUT_NS NS_PER_S

enum fleet_chaos_kind {
    FLEET_CHAOS_FREEZE,
    FLEET_CHAOS_MOVE,
    FLEET_CHAOS_KILL_LEADER,
    FLEET_CHAOS_PARTITION,
    FLEET_CHAOS_ADD,
    FLEET_CHAOS_REMOVE,
};

struct fleet_chaos_event {
    enum fleet_chaos_kind kind;
    uint64_t from_ns,
        until_ns; /* from the start; until 0 but for freeze; of what comes again: period */
    bool begun, ended;
};

struct fleet_chaos_kills {
    uint64_t next_ns, looked_ns, killed_ns;
    uint64_t back_ns; /* the longest until redundancy was full again */
    uint32_t count;
    bool is_down;
    uint8_t victims[FLEET_CHAOS_KILLS_MAX]; /* positions */
};

struct fleet_chaos_cuts {
    uint64_t next_ns, cut_ns;
    uint32_t count, failed;
    uint32_t victim;
    bool is_cut;
    int mender, prober; /* processes that run; 0: none */
};

/* What a node says of all nodes, by position. */
struct fleet_chaos_view {
    uint32_t self; /* who says it */
    bool is_whole; /* each shard is led, by nobody else soon, by all voters that it is to have */
    uint32_t listed_mask, up_mask;
    uint32_t votes[FLEET_NODES_MAX], leads[FLEET_NODES_MAX];
};

/* A node that comes, or goes. */
enum fleet_chaos_stage {
    FLEET_CHANGE_NONE,
    FLEET_CHANGE_COMMAND, /* the command runs */
    FLEET_CHANGE_NODE,    /* the daemon is to serve, or to end */
    FLEET_CHANGE_VOTES,   /* shards are on their way */
    FLEET_CHANGE_DONE,
    FLEET_CHANGE_FAILED,
};
struct fleet_chaos_change {
    enum fleet_chaos_stage stage;
    uint32_t node;                          /* position */
    int pid;                                /* of the command; 0: none */
    uint64_t begun_ns, command_ns, node_ns; /* the latter: how long until then */
    uint64_t quiet_ns;                      /* since when nothing moves any more; 0: it does */
    uint64_t settled_ns;                    /* how long until then */
    uint64_t longest_ns;                    /* claim meanwhile */
    uint64_t cpu_ns;                        /* of the daemon that goes, as far as was seen */
    uint32_t moved, least; /* votes that nodes got, and as many as they had to get */
    uint32_t votes_before[FLEET_NODES_MAX], votes[FLEET_NODES_MAX];
    struct histogram before; /* claims */
};

struct fleet_chaos {
    struct fleet_chaos_event events[FLEET_CHAOS_EVENTS];
    uint32_t event_count;
    uint64_t next_move_ns;
    pid_t mover;        /* the command that runs; 0: none */
    uint64_t moving_ns; /* since when it moves */
    uint32_t leader;    /* position of the node that is to lead */
    uint32_t freezes, moves, moves_failed;
    bool is_frozen, is_behind;
    uint64_t thawed_ns, log_bytes; /* what it has to reach since then */
    uint64_t back_ns;              /* the longest that it took; UINT64_MAX: it did not come back */
    struct fleet_chaos_kills kills;
    struct fleet_chaos_cuts cuts;
    struct fleet_chaos_change added, removed;
    uint64_t looked_ns; /* at what both do */
};

static inline bool fleet_chaos_has(const struct fleet_chaos *c, enum fleet_chaos_kind kind)
{
    for (uint32_t i = 0; i < c->event_count; i++)
        if (c->events[i].kind == kind)
            return true;
    return false;
}

/* Returns 0 or -EINVAL: not of that form, or times that are not in order. */
MUST_USE int fleet_chaos_parse(const char *text, struct fleet_chaos *chaos);

/* What is due.  passed_ns: since the start.  Returns 0, or -errno of a signal or of fork. */
MUST_USE int fleet_chaos_step(struct fleet_chaos *c, struct fleet *f, struct fleet_nodes *nodes,
                              uint64_t passed_ns);

/* No more of it; until the frozen node is back, or a bounded time is over. */
void fleet_chaos_end(struct fleet_chaos *c, struct fleet *f, struct fleet_nodes *nodes);

/* ---- parts of it ---- */

/* fleet_chaos_view.c.  Returns 0, or -EBADMSG: not what `dunlin nodes --json` says. */
MUST_USE int fleet_chaos_view_parse(const char *text, struct fleet_chaos_view *v);
/* fleet_chaos_look.c: the process that serves a node's socket now; 0: none. */
int fleet_chaos_pid(const struct fleet *f, uint32_t node);
/* What the first node says of all but leads, which each says of itself.  Returns whether all nodes of the
 * cluster are up and find it whole. */
bool fleet_chaos_look(const struct fleet *f, const struct fleet_nodes *nodes,
                      struct fleet_chaos_view *v);

struct fleet_chaos_due {
    uint64_t passed_ns, period_ns;
};

/* fleet_chaos_kill.c.  Returns as fleet_chaos_step; the second sees whether who was killed is back. */
MUST_USE int fleet_chaos_kill_step(struct fleet_chaos *c, struct fleet *f,
                                   struct fleet_nodes *nodes, const struct fleet_chaos_due *due);
void fleet_chaos_kill_end(struct fleet_chaos *c, struct fleet *f, struct fleet_nodes *nodes);

/* Of each kill the claim that took longest, of those that ended before the next one, by agents at nodes that
 * lived. */
struct fleet_chaos_gaps {
    double median_ms, worst_ms;
};
void fleet_chaos_gaps(const struct fleet_chaos *c, const struct fleet *f,
                      struct fleet_chaos_gaps *gaps);

/* fleet_chaos_report.c */
struct fleet_supervisor;
struct report;
/* Whether writes may have no known fate: of a leader that was killed, or at a node that was cut off. */
bool fleet_chaos_may_fail(const struct fleet_chaos *c);
bool fleet_chaos_came_about(const struct fleet_chaos *c, const struct fleet_chaos_event *e);
/* What kills and partitions did not show though they should; NULL: nothing. */
const char *fleet_chaos_fault(const struct fleet_supervisor *s);
void fleet_chaos_print(const struct fleet_supervisor *s);
void fleet_chaos_report(const struct fleet_supervisor *s, struct report *r);

/* fleet_chaos_change.c.  The first returns as fleet_chaos_step. */
MUST_USE int fleet_chaos_change_step(struct fleet_chaos *c, const struct fleet *f,
                                     const struct fleet_nodes *nodes,
                                     const struct fleet_chaos_event *e, uint64_t passed_ns);
/* What is under way. */
void fleet_chaos_change_look(struct fleet_chaos *c, struct fleet *f, struct fleet_nodes *nodes);
bool fleet_chaos_is_changing(const struct fleet_chaos *c);
/* No more waiting. */
void fleet_chaos_change_end(struct fleet_chaos *c);

/* fleet_chaos_cut.c */
MUST_USE int fleet_chaos_cut_step(struct fleet_chaos *c, const struct fleet *f,
                                  const struct fleet_chaos_due *due);
void fleet_chaos_cut_end(struct fleet_chaos *c, const struct fleet *f);

#endif
