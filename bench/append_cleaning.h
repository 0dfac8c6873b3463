/* append_cleaning - rows of bench append: what a write costs while the cleaner runs all the time, in an arena
 * that is nearly full against one that is nearly empty.
 *
 * In use are the frames that live records fill, those of the index, and those of the ordered index.  Full is
 * what the quota admits, or 80 %.  Both arenas have the same quota; each was overwritten twice before anything is measured, so that the log went
 * round and every segment that is taken must be cleaned first. */
#ifndef DUNLIN_BENCH_APPEND_CLEANING_H
#define DUNLIN_BENCH_APPEND_CLEANING_H

#include "bench/report.h"

/* A row for overwrites that meet all keys alike, and one where nine of ten meet a tenth of the keys.
 * Returns 0, or -errno: end the bench. */
MUST_USE int append_cleaning_run(struct report *report, uint64_t budget_ns);

#endif
