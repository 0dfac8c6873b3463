/* lines - baseline of the ring bench: bare cache lines between two cores, the least that any
 * channel costs.  Round trip: one line each way, a counter in it.  Stream: a circle of lines, each
 * with its payload and a sequence number; the reader gives back whole bursts. */
#ifndef DUNLIN_BENCH_LINES_H
#define DUNLIN_BENCH_LINES_H

#include "bench/duo.h"

extern const struct duo_channel lines_channel;

struct lines;

/* NULL: no memory. */
struct lines *lines_new(void);
void lines_delete(struct lines *l);

#endif
