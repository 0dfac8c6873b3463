/* fleet_look - which versions of one key may be seen one after the other, at several nodes.
 *
 * Pure.  One observer asks all nodes, one after the other and again and again; each answer is
 * judged by what was seen before:
 *   at one node versions never fall, however they are read; but an aged answer, of a node that has
 *   lost touch, may be older than those that the leader gave through it or that were fresh (dunlin.h);
 *   a linearizable read, at whatever node, is not older than what was acknowledged before it began
 *   nor than what any linearizable read before it returned.
 * The key is one that is not deleted meanwhile: the caller sees to it. */
#ifndef DUNLIN_BENCH_FLEET_LOOK_H
#define DUNLIN_BENCH_FLEET_LOOK_H

#include "bench/fleet_journal.h"
#include "engine/base.h"

#define FLEET_NODES_MAX 7u

struct fleet_look {
    uint64_t lsn_acked;                 /* acknowledged before the first look; 0: nothing */
    uint64_t lsn_floor;                 /* highest that a linearizable read returned; 0: none did */
    uint64_t lsn[FLEET_NODES_MAX];      /* newest seen at each node; 0: not there yet */
    uint64_t lsn_aged[FLEET_NODES_MAX]; /* in aged answers alone */
};

struct fleet_answer {
    uint32_t node;
    bool linearizable;
    bool aged;    /* a local one that says an age */
    uint64_t lsn; /* 0: there is no such key */
};

/* Returns 0, or what is wrong with the answer; *expected: the least version it had to have. */
MUST_USE int fleet_look_judge(const struct fleet_look *l, const struct fleet_answer *a,
                              uint64_t *expected);

/* Take an answer over.  True: it is a version that its node had not shown, and with it all of
 * the nodes of the mask have shown that version or a newer one: it has reached the farthest. */
bool fleet_look_take(struct fleet_look *l, const struct fleet_answer *a, uint32_t node_mask);

#endif
