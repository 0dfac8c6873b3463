/* node_clock - which clock leases are told in on this machine, and how fast it ticks.
 *
 * Control thread, once, before anything is shared. */
#ifndef DUNLIN_DATAPLANE_NODE_CLOCK_H
#define DUNLIN_DATAPLANE_NODE_CLOCK_H

#include "engine/base.h"
#include "engine/clock.h"

struct node_clock {
    enum clock_kind kind;
    uint64_t ticks_per_s;
};

/* The processor's counter if the processor calls it invariant, the kernel has not found it
 * unstable, and it measures to a rate that can be true; else CLOCK_BOOTTIME.  Takes 20 ms. The rate
 * is good to some 10 ppm, far inside the 1,000 ppm that the lease rules allow for. */
void node_clock_choose(struct node_clock *c);

#endif
