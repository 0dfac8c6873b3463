/* holds - which frames of an arena a transport still reads.
 *
 * Pure; one thread's, an lcore's, for one space.  A datagram whose bytes lie in a frame adds one
 * before it is sent, its completion (or its refusal) takes one away.  Unlike a reader's pin a hold
 * does not lapse: the lcore answers reclaim's `held` with hold_is_held, and a frame that is held is
 * neither stamped nor used again, however long a peer takes.
 *
 * No atomics: the thread that sends is the one that completes and reclaims. */
#ifndef DUNLIN_DATAPLANE_HOLDS_H
#define DUNLIN_DATAPLANE_HOLDS_H

#include "engine/base.h"

struct holds {
    uint32_t *counts; /* by frame */
    uint32_t frame_count;
    uint64_t total; /* over all frames; 0: the arena may be freed */
};

/* memory: frame_count words, the caller's, set to 0 here; outlives the holds. */
void holds_init(struct holds *h, uint32_t *memory, uint32_t frame_count);

void hold_add(struct holds *h, uint32_t frame);
/* One of hold_add; that it was there is asserted: complete() gives back only what send took. */
void hold_sub(struct holds *h, uint32_t frame);
bool hold_is_held(const struct holds *h, uint32_t frame);

/* A transport's hold word: a frame, and whose (space or shard, as the lcore numbers them). */
static inline uint64_t hold_word(uint32_t owner, uint32_t frame)
{
    return (uint64_t)owner << 32 | frame;
}
static inline uint32_t hold_word_owner(uint64_t word)
{
    return (uint32_t)(word >> 32);
}
static inline uint32_t hold_word_frame(uint64_t word)
{
    return (uint32_t)word;
}

#endif
