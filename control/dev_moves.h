/* dev_moves - the script of `dunlind dev --moves`: a thread that moves the leadership of all shards
 * from node 1 to another node, in turn, and back as soon as that is active.
 *
 * Agents are attached to node 1, and their requests are not forwarded: so it always comes back.  The
 * first move, the third and so on are handed over (the leader lets go of its rights first), there
 * and back; the others are not: the next leader waits for the promises to run out.  Before the
 * third of every four the next leader is cut off for a moment, so that it lacks what was committed
 * meanwhile; during the fourth node 1 is, so that it goes on for as long as it may. */
#ifndef DUNLIN_CONTROL_DEV_MOVES_H
#define DUNLIN_CONTROL_DEV_MOVES_H

#include "control/coordinator_script.h"
#include "control/dev_link.h"

#define DEV_MOVES_MS_MIN 20u
#define DEV_MOVES_MS_MAX 3600000u

struct dev_moves;

/* What it moves with; outlives it. */
struct dev_moves_config {
    struct coordinator_script *coordinator;
    struct dev_links *links;
    uint32_t node_count; /* their ids are 1 .. node_count */
    uint32_t period_ms;  /* between the begins of two moves; one that takes longer is waited for */
};

/* Start it; all signals are blocked in the calling thread.  Returns 0, -ENOMEM or -EAGAIN (no
 * thread). */
MUST_USE int dev_moves_start(struct dev_moves **m, const struct dev_moves_config *config);

/* End it, at the latest when the move that is under way gives up.  m may be NULL. */
void dev_moves_stop(struct dev_moves *m);

#endif
