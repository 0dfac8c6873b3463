/* placement - which nodes are to vote in a shard: weighted rendezvous, zones respected.
 *
 * Every node has a score in every log, of which nobody needs to keep anything: a node that comes takes what it is
 * best in and nothing else moves, what a node has that goes falls to the next best.  The best of all in a log
 * is the first choice, who is to lead it: in proportion to the weights.
 *
 * Pure, and integers only: all nodes must find the same, whatever they are built with.  Zones come first: while
 * there are zones without one of the chosen, the next is the best of those; a node without a zone is one alone.
 * So what moves is the least that there is as long as zones have no say, and little more when they have.
 *
 * Source: Thaler, Ravishankar, "Using Name-Based Mappings to Increase Hit Rates" (IEEE/ACM ToN 1998), for the
 *   score; Schindelhauer, Schomaker, "Weighted Distributed Hash Tables" (SPAA 2005), for the weights: the
 *   smallest -ln(h) / w, h uniform in (0, 1); here -log2(h) in fixed point, which orders alike. */
#ifndef DUNLIN_CONTROL_PLACEMENT_H
#define DUNLIN_CONTROL_PLACEMENT_H

#include "engine/base.h"
#include "engine/limits.h"

#define PLACEMENT_WEIGHT_MAX 1000u

struct placement_node {
    uint32_t id, weight; /* 1 .. PLACEMENT_WEIGHT_MAX; ids differ */
    char zone[LIMIT_NAME_BYTES];
};

/* The best of count (0 .. LIMIT_VOTERS) nodes in a log: their ids, best first.  Returns how many: replicas, or
 * count where that is less.  The order of nodes does not matter. */
uint32_t placement_choose(const struct placement_node *nodes, uint32_t count, uint32_t log,
                          uint32_t replicas, uint32_t chosen[LIMIT_VOTERS]);

#endif
