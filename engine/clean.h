/* clean - the cleaner: makes room behind the log's tail.
 *
 * Pure; a part of shard.h.  Live records of a victim are copied forward to a base segment (they keep
 * their LSN), the slot or the link of the next newer version swings to the copy, and the segment is
 * retired.  A segment without live bytes is retired unread.  The newest version at or below the commit LSN
 * is never dropped, nor one that history keeps (versions.h); a tombstone is, after its end went into the
 * tombstone horizon.
 * Victims are chosen by cost and benefit, (1 - u) * age / (1 + u) with u the share that is live, among all
 * base segments and the oldest one of the tail: so the tail is always whole, from lsn_kept on it stays, and
 * as long as base segments are at most half live, it stays for a quarter of the shard's frames.  Now and
 * then the oldest in the queue is taken, so that each is met.
 * A segment of the tail that is to go from its place, but not from the tail (leave.h), is the victim, too:
 * its bytes lie in another frame already, and what leads to its live records is led there.
 * One base segment is filled at a time: with some sixty frames a shard, a second one for what was copied
 * before costs more than it saves (measured: write amplification 1.38 for 1.27 where a tenth of the keys
 * gets nine tenths of the writes).
 * Source: Rosenblum and Ousterhout, "The Design and Implementation of a Log-Structured File System"
 * (1992), sections 3.4 and 3.5. */
#ifndef DUNLIN_ENGINE_CLEAN_H
#define DUNLIN_ENGINE_CLEAN_H

#include "engine/base.h"
#include "engine/log.h"
#include "engine/reclaim.h"

struct shard;

struct cleaner {
    struct log_segment base; /* being filled */
    uint32_t victim;
    uint32_t position;   /* in the victim */
    uint32_t moved_to;   /* frame + 1 that holds the victim's bytes, too; 0: it is cleaned */
    uint32_t end;        /* of its records, if so */
    uint32_t next_place; /* in the queue: where the next choice begins */
    uint32_t choices;
    bool cleaning; /* victim is valid */
};

/* The frame is one that records are being copied to. */
static inline bool clean_is_open(const struct cleaner *c, uint32_t frame)
{
    return c->base.base != NULL && c->base.frame == frame;
}

/* There is a victim, chosen now if there was none (victim.c).  False: nothing may go, or is worth it. */
MUST_USE bool clean_choose(struct shard *s);

/* The frame is one that lies in both: the tail's, to which nothing leads yet, or not all that will. */
static inline bool clean_is_filling(const struct cleaner *c, uint32_t frame)
{
    return c->cleaning && c->moved_to == frame + 1;
}

/* Have the victim be the segment at a place of the queue.  There is no victim. */
void clean_take(struct shard *s, uint32_t place);

/* Have the victim be a segment of the tail, at a place of the queue or (queue_count) the one that is being
 * filled; none of its records is pending.  There is no victim.  Returns 0 or -EAGAIN: no frame now. */
MUST_USE int clean_move(struct shard *s, uint32_t place);
/* Have what leads to a segment that is being moved lead to where it is.  Returns 0 or -EAGAIN as index_find. */
MUST_USE int clean_move_end(struct shard *s, const struct reclaim_now *now);

/* Clean up to budget bytes of victims (whole records; a dead segment costs nothing).  Returns true if
 * the budget ran out before the work did. */
MUST_USE bool clean_step(struct shard *s, uint64_t budget, const struct reclaim_now *now);

#endif
