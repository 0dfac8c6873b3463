/* own_ring - the ring of engine/ring.h between two threads, without a daemon: what the ring itself
 * costs.  Messages of one cell each way; the stream gives back cells once per burst. */
#ifndef DUNLIN_BENCH_OWN_RING_H
#define DUNLIN_BENCH_OWN_RING_H

#include "bench/duo.h"

extern const struct duo_channel own_ring_channel;

struct own_ring;

/* NULL: no memory. */
struct own_ring *own_ring_new(void);
void own_ring_delete(struct own_ring *o);

#endif
