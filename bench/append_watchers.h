/* append_watchers - rows of bench append: does a write cost the daemon more when a thousand watch?
 *
 * Two daemons take the same load in turn, many writes in flight; one of them has 1,000 watches, each in a
 * thread and with a handle of its own, in another process.  What is measured is the CPU time of the daemon's
 * lcore per write: the engine's.  That of all its threads stands beside it: the control thread wakes who
 * sleeps.  Writer and lcores share a processor, as in append_agents; all else has the other one (of a single
 * one it gets its part), and the watchers stand still while it is the other daemon's turn.
 * A processor that is busy slows the one beside it through the memory that they share, whatever it does.  So
 * what is judged is held against a daemon that nobody watches beside a process that reads as much; and shown
 * against one with an idle processor beside it. */
#ifndef DUNLIN_BENCH_APPEND_WATCHERS_H
#define DUNLIN_BENCH_APPEND_WATCHERS_H

#include "bench/report.h"

/* Places of machine_pin. */
struct append_watchers_cpus {
    uint32_t watchers, daemons;
};

/* Rows for watches of another space than the one that is written, of keys that nobody writes, and of all
 * keys.  append_agents_prepare was called.  The calling thread ends up pinned to the watchers' processor.
 * Returns 0, or -errno: end the bench. */
MUST_USE int append_watchers_run(struct report *r, struct append_watchers_cpus cpus,
                                 uint64_t budget_ns);

#endif
