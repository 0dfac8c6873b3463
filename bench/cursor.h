/* cursor - how fast a subscriber passes the log: all records of the tails of a space's shards, out of the
 * agent's mapping, again and again. */
#ifndef DUNLIN_BENCH_CURSOR_H
#define DUNLIN_BENCH_CURSOR_H

#include "bench/client.h"
#include "bench/pairs.h"

struct cursor_side {
    struct dunlin_space *space;
    uint8_t *bytes;
    uint64_t sum;               /* so that nothing is left out */
    uint64_t clock_ns, records; /* of cursor_measure so far, by the clock */
};

/* Maps what the space has so far.  Returns 0 or -ENOMEM. */
MUST_USE int cursor_side_open(struct cursor_side *s, struct dunlin_space *space);
void cursor_side_close(struct cursor_side *s);

/* pairs_measure, ns of the thread's own time (passes.h) per record.  cursor: by engine/cursor.h, whose records are then walked as an agent does;
 * plain: the same segments walked in place, every word of every record added up, no checks. */
int cursor_measure(void *context, uint64_t duration_ns, double *value);
int cursor_measure_plain(void *context, uint64_t duration_ns, double *value);

#endif
