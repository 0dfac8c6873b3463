/* frames - the segments' places that one shard may use.
 *
 * Pure; the shard's lcore only.  Every shard of a space gets the same number of frames, dealt in turn
 * over the chunks (layout_frame_of), so no two lcores share a free list.  Frames never used come from
 * chunks that control makes in order; when the next one is not there yet, it is asked for.
 * Chunks that are to go (leave.h): no frame of them is taken, and what is given back stays apart until
 * all of the shard's there is; then they count as never used. */
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
    uint32_t reserved;          /* promised to an index growth that has begun */
    struct layout_board *board; /* set after frames_init; NULL: no chunk of this space ever goes */
    uint32_t leave_frame;       /* first frame of the chunks that are to go; UINT32_MAX: none are */
    uint32_t leave_n;           /* n of the shard's first one there */
    uint32_t away;              /* of those frames, given back */
    uint32_t leave_chunk; /* that control named and the shard has not refused; UINT32_MAX: none */
    uint64_t leave_seen;  /* the header's leave that leave_step took last */
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

/* The same within that many chunks; and those that may be taken at once, promised ones not. */
uint32_t frames_within(const struct frames *f, uint32_t chunk_count);
uint32_t frames_ready(const struct frames *f);

/* Ask control for the next chunk, if there are not all that can be made. */
void frames_ask(struct frames *f);

/* Promise n frames, of chunks that exist and no others, so that what has begun can end when control finds
 * no more memory.  False: there are not so many, control has been asked.  Only the cleaner may take a
 * promised frame, for a while: what it takes it gives back by cleaning. */
MUST_USE bool frames_reserve(struct frames *f, uint32_t n);
void frames_unreserve(struct frames *f, uint32_t n);

/* Take a frame for this kind; its directory entry is set (stamp kept, or, of a chunk that was made again,
 * that of now: leave.h).  Returns 0 and *frame, or
 *   -EAGAIN  its chunk is not there yet, or is to go; control has been asked: call again in a later pass
 *   -ENOSPC  all frames of the shard are in use. */
MUST_USE int frames_take(struct frames *f, enum frame_kind kind, uint64_t lsn_start,
                         uint32_t *frame);

/* Give back a frame that reclaim has stamped. */
void frames_give(struct frames *f, uint32_t frame);

/* ---- chunks that are to go ---- */

/* Frames that may be taken at once in the chunks before this one. */
uint32_t frames_ready_before(const struct frames *f, uint32_t chunk);
/* Take no frame of this chunk and those behind it any more.  None were to go before. */
void frames_leave(struct frames *f, uint32_t chunk);
static ALWAYS_INLINE bool frames_is_leaving(const struct frames *f, uint32_t frame)
{
    return UNLIKELY(frame >= f->leave_frame);
}
/* Whether the shard uses none there. */
bool frames_left(const struct frames *f);
/* It uses none: they may go, or be made again, as if never used. */
void frames_leave_done(struct frames *f);
/* None are to go any more: those that are still there may be taken again. */
void frames_leave_end(struct frames *f);

#endif
