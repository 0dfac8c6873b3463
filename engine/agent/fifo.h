/* fifo - pieces of a buffer, given out in order and taken back in any order.
 *
 * The books are private memory, never the buffer's own: the bulk buffer is shared with the daemon.
 * A piece is contiguous; what was taken back is reused once everything given out before it is back
 * too.  One thread.  Units: bytes, offsets from the buffer's start, multiples of 64. */
#ifndef DUNLIN_ENGINE_AGENT_FIFO_H
#define DUNLIN_ENGINE_AGENT_FIFO_H

#include "engine/base.h"
#include "engine/limits.h"

#define FIFO_PIECES LIMIT_AGENT_OPERATIONS
#define FIFO_NONE UINT32_MAX
_Static_assert((FIFO_PIECES & (FIFO_PIECES - 1)) == 0, "numbers of pieces wrap");

struct fifo {
    uint64_t bytes;
    uint64_t head; /* next to give out; only grows until all is back */
    uint64_t tail; /* oldest not taken back */
    uint32_t first, count;
    struct {
        uint32_t bytes; /* with what was skipped in front of it at the buffer's end */
        bool returned;
    } pieces[FIFO_PIECES];
};

/* bytes: size of the buffer; 0 gives nothing out. */
void agent_fifo_init(struct fifo *f, uint64_t bytes);

/* Returns 0 with the place and the number to take it back by, or -EAGAIN: nothing free now. */
MUST_USE int agent_fifo_take(struct fifo *f, uint64_t bytes, uint32_t *offset, uint32_t *piece);
void agent_fifo_return(struct fifo *f, uint32_t piece);

#endif
