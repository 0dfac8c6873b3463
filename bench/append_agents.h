/* append_agents - rows of bench append: does a write cost more when more agents are attached?
 *
 * Three daemons take the same load in turn: 10 active agents of 1,000 attached (the others attached,
 * wrote once and are silent), 10 active of 10, and 1 of 1.  As many writes are in flight on each.  The
 * daemons share a processor, where those whose turn it is not sleep.
 *
 * What is judged is the daemon's CPU time per write, the writer on the daemons' processor, too: with
 * many in flight, which holds the work per write and the cleaner's; and each waited for, which holds
 * the passes of the daemon's loop.  Why there: on two processors a daemon polls while it waits for a
 * writer that is slower than itself, and that time says what the writer costs; on one it runs only
 * when there is something to do.  Latency, and the CPU time with that polling, are measured on two
 * processors and reported, not judged: they swing with whatever else the machine does. */
#ifndef DUNLIN_BENCH_APPEND_AGENTS_H
#define DUNLIN_BENCH_APPEND_AGENTS_H

#include "bench/report.h"

/* Raise the limit of open files to what 1,000 attached agents need, here and in the daemons that we
 * start.  Call it before anything is measured.
 * Returns 0, or -EMFILE after a word on stderr: it cannot be raised so far. */
MUST_USE int append_agents_prepare(void);

/* Places of machine_pin. */
struct append_agents_cpus {
    uint32_t writer, daemons;
};

/* Measure for about budget_ns, which the attaching (a second) counts against, and add the rows; with
 * little left there are few pairs, and they say "undecided".  The calling thread ends up pinned to the
 * writer's processor.  Returns 0, or -errno: end the bench. */
MUST_USE int append_agents_run(struct report *r, struct append_agents_cpus cpus,
                               uint64_t budget_ns);

#endif
