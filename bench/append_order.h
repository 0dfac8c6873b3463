/* append_order - what it costs a write of a new key that its space keeps the keys in order, too. */
#ifndef DUNLIN_BENCH_APPEND_ORDER_H
#define DUNLIN_BENCH_APPEND_ORDER_H

#include "bench/report.h"

/* A row for keys that come in random order, ordered against unordered.  Each measurement makes a rig
 * (bench/rig.h) and times its first writes.  Returns 0, or -errno: end the bench. */
MUST_USE int append_order_run(struct report *report, uint64_t budget_ns);

#endif
