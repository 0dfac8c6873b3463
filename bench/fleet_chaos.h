/* fleet_chaos - what happens to the nodes of a cluster while the fleet flies.
 *
 *   freeze:A-Bs   the process of the last node is stopped (SIGSTOP) at second A of the run and goes on
 *                 (SIGCONT) at second B; then the time is taken until it has all that the first node had
 *                 at that moment
 *   move:Ns       every N seconds all leaderships go to the next node, by `dunlin move`; not to the last one
 *                 if that is to be frozen
 * Several, with commas between them.  The supervisor's thread.  What is frozen goes on in any case: when the
 * run ends, and when it fails. */
#ifndef DUNLIN_BENCH_FLEET_CHAOS_H
#define DUNLIN_BENCH_FLEET_CHAOS_H

#include "bench/fleet.h"

#include <sys/types.h>

#define FLEET_CHAOS_EVENTS 8u
#define FLEET_CHAOS_SECONDS_MAX 86400u

enum fleet_chaos_kind { FLEET_CHAOS_FREEZE, FLEET_CHAOS_MOVE };

struct fleet_chaos_event {
    enum fleet_chaos_kind kind;
    uint64_t from_ns, until_ns; /* from the start; a move: period, and 0 */
    bool begun, ended;
};

struct fleet_chaos {
    struct fleet_chaos_event events[FLEET_CHAOS_EVENTS];
    uint32_t event_count;
    uint64_t next_move_ns;
    pid_t mover;     /* the command that runs; 0: none */
    uint32_t leader; /* position of the node that is to lead */
    uint32_t freezes, moves, moves_failed;
    bool is_frozen, is_behind;
    uint64_t thawed_ns, log_bytes; /* what it has to reach since then */
    uint64_t back_ns;              /* the longest that it took; UINT64_MAX: it did not come back */
};

/* Returns 0 or -EINVAL: not of that form, or times that are not in order. */
MUST_USE int fleet_chaos_parse(const char *text, struct fleet_chaos *chaos);

/* What is due.  passed_ns: since the start.  Returns 0, or -errno of a signal or of fork. */
MUST_USE int fleet_chaos_step(struct fleet_chaos *c, const struct fleet *f,
                              struct fleet_nodes *nodes, uint64_t passed_ns);

/* No more of it; until the frozen node is back, or a bounded time is over. */
void fleet_chaos_end(struct fleet_chaos *c, const struct fleet *f, struct fleet_nodes *nodes);

#endif
