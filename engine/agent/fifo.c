#include "engine/agent/fifo.h"

void agent_fifo_init(struct fifo *f, uint64_t bytes)
{
    f->bytes = bytes & ~(uint64_t)(CACHE_LINE - 1);
    f->head = f->tail = 0;
    f->first = f->count = 0;
}

int agent_fifo_take(struct fifo *f, uint64_t bytes, uint32_t *offset, uint32_t *piece)
{
    uint64_t wanted = align_up(max_u64(bytes, 1), CACHE_LINE);
    if (f->count == FIFO_PIECES || wanted > f->bytes)
        return -EAGAIN;
    if (f->count == 0)
        f->head = f->tail = 0; /* why: stay in the part of the buffer that is in the cache */
    uint64_t at = f->head % f->bytes;
    uint64_t skipped = at + wanted > f->bytes ? f->bytes - at : 0;
    if (f->head + skipped + wanted - f->tail > f->bytes)
        return -EAGAIN;
    *offset = (uint32_t)(skipped != 0 ? 0 : at);
    *piece = (f->first + f->count) % FIFO_PIECES;
    f->pieces[*piece].bytes = (uint32_t)(skipped + wanted);
    f->pieces[*piece].returned = false;
    f->count++;
    f->head += skipped + wanted;
    return 0;
}

void agent_fifo_return(struct fifo *f, uint32_t piece)
{
    ASSERT((piece - f->first) % FIFO_PIECES < f->count && !f->pieces[piece].returned);
    f->pieces[piece].returned = true;
    while (f->count != 0 && f->pieces[f->first].returned) {
        f->tail += f->pieces[f->first].bytes;
        f->first = (f->first + 1) % FIFO_PIECES;
        f->count--;
    }
}
