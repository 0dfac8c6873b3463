/* append_watchers - what watchers cost who writes: 1,000 cursors, each on every shard's log, read on another
 * processor as watches do that find nothing for them, while the engine writes. */
#ifndef DUNLIN_BENCH_APPEND_WATCHERS_H
#define DUNLIN_BENCH_APPEND_WATCHERS_H

#include "bench/report.h"
#include "bench/rig.h"

struct append_watchers_cpus {
    uint32_t writer, watchers; /* places of machine_pin; the writer is the caller */
};

/* Measure for about budget_ns and add the row.  Returns 0, or -errno: end the bench. */
MUST_USE int append_watchers_run(struct report *r, struct rig *rig,
                                 const struct append_watchers_cpus *cpus, uint64_t budget_ns);

#endif
