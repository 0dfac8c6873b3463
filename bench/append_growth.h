/* append_growth - rows of bench append: while a space grows from a thousand keys to ten million, is any pass
 * of its lcore long?
 *
 * A pass is what the poll loop does with one batch of requests: the writes, the commit, the answers, and
 * housekeeping (engine/shard.h: the index grows by steps, the cleaner, reclamation).  Chunks are made beside
 * it, as the daemon's control thread makes them.  The same loop on the same rig, once it has grown, is the
 * baseline: what is long there, too, is the machine's. */
#ifndef DUNLIN_BENCH_APPEND_GROWTH_H
#define DUNLIN_BENCH_APPEND_GROWTH_H

#include "bench/report.h"

/* Rows for 16 shards and for one, whose index has the most pages.  As many keys as there is time for; with
 * fewer than ten million the row has no verdict.  Returns 0, or -errno: end the bench. */
MUST_USE int append_growth_run(struct report *report, uint64_t budget_ns);

#endif
