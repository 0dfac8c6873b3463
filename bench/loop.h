/* loop - round trips of the smallest message through a real poll loop, without sockets and without
 * libdunlin: one side is a node's lcore in a thread of its own, the other an agent's two rings in
 * the calling thread's hands. */
#ifndef DUNLIN_BENCH_LOOP_H
#define DUNLIN_BENCH_LOOP_H

#include "bench/sampler.h"
#include "dataplane/node.h"

struct loop {
    struct node *node;
    struct agent *agent;
    struct ring request, completion; /* the agent's sides */
    struct sampler *sampler;
};

/* The lcore runs on that cpu while it is measured, and does not exist in between.
 * Returns 0 or -errno with nothing left behind. */
MUST_USE int loop_open(struct loop *l, int cpu, uint32_t group, double ticks_per_ns);
void loop_close(struct loop *l);

/* pairs_measure: nanoseconds per RING_NOP and its completion. */
int loop_measure(void *context, uint64_t duration_ns, double *value);

#endif
