/* frames - the segments' places that one shard may use.
 *
 * Pure; the shard's lcore only.  Every shard of a space gets the same number of frames, dealt in turn
 * over the chunks (layout_frame_of), so no two lcores share a free list.  Frames never used come from
 * chunks that control makes in order; when the next one is not there yet, it is asked for. */
#ifndef DUNLIN_ENGINE_FRAMES_H
#define DUNLIN_ENGINE_FRAMES_H

#include "engine/base.h"
#include "engine/layout.h"

/* Frames that all but the cleaner leave free: what is live in one victim fits what is left of its base
 * segment and one more. */
#define FRAMES_KEPT 1u

struct frames {
    struct layout_space *header; /* geometry, and chunk_count as control publishes it */
    struct layout_frame *directory;
    _Atomic uint32_t *chunks_wanted; /* raised by all shards of the space, lowered by nobody */
    uint32_t *free;                  /* frames given back; frames_per_shard entries */
    uint32_t free_count;
    uint32_t fresh_next; /* n of the first frame never used */
    uint32_t shard;
    uint32_t reserved; /* promised to an index growth that has begun */
};

void frames_init(struct frames *f, struct layout_space *header, struct layout_frame *directory,
                 _Atomic uint32_t *chunks_wanted, uint32_t *free_memory);

/* Frames that can still be taken, those in chunks that do not exist yet included, promised ones not.
 * A chunk that could not be made (chunk_limit) counts for nothing. */
uint32_t frames_available(const struct frames *f);

/* Frames the shard may have in all: those of its frames_per_shard whose chunks can be made; and those of
 * them whose chunks are there. */
uint32_t frames_total(const struct frames *f);
uint32_t frames_existing(const struct frames *f);

/* Ask control for the next chunk, if there are not all that can be made. */
void frames_ask(struct frames *f);

/* Promise n frames, of chunks that exist and no others, so that what has begun can end when control finds
 * no more memory.  False: there are not so many, control has been asked.  Only the cleaner may take a
 * promised frame, for a while: what it takes it gives back by cleaning. */
MUST_USE bool frames_reserve(struct frames *f, uint32_t n);
void frames_unreserve(struct frames *f, uint32_t n);

/* Take a frame for this kind; its directory entry is set (stamp kept).  Returns 0 and *frame, or
 *   -EAGAIN  its chunk is not there yet; control has been asked: call again in a later pass
 *   -ENOSPC  all frames of the shard are in use. */
MUST_USE int frames_take(struct frames *f, enum frame_kind kind, uint64_t lsn_start,
                         uint32_t *frame);

/* Give back a frame that reclaim has stamped. */
void frames_give(struct frames *f, uint32_t frame);

#endif
