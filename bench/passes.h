/* passes - how long the passes of a polling thread take: by the clock, and of the thread's own time.
 *
 * On a machine that others use, too, a pass may be long because the thread was put off the processor.  A
 * pass's own time is therefore the lesser of what the timestamp counter says and what the kernel charged
 * the thread with (CLOCK_THREAD_CPUTIME_ID).  What a hypervisor takes is in both.
 * One thread, its own passes. */
#ifndef DUNLIN_BENCH_PASSES_H
#define DUNLIN_BENCH_PASSES_H

#include "bench/histogram.h"

#define PASSES_LONG_NS NS_PER_MS /* longer ones are counted */

struct passes {
    double ns_per_tick;
    uint64_t ticks, cpu_ns;          /* when this one began */
    long switches, faults;           /* of the thread, when it began */
    uint64_t longest_ns;             /* of those in which the thread was not put off */
    uint64_t own_ns;                 /* of the last one */
    bool was_switched;               /* in it the thread was put off */
    uint64_t count_clock, count_own; /* of long ones */
    uint64_t count_switched,
        count_faulting;          /* of count_own: the thread was put off; a page was missing */
    struct histogram clock, own; /* ns */
};

/* CPU time of the calling thread, ns. */
uint64_t passes_cpu_ns(void);

/* Nothing counted yet. */
void passes_reset(struct passes *p, double ticks_per_ns);

void passes_begin(struct passes *p);
void passes_end(struct passes *p);

#endif
