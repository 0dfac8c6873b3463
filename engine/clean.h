/* clean - the cleaner: makes room behind the log's tail.
 *
 * Pure; a part of shard.h.  Oldest segment first: live records are copied forward to a base segment
 * (they keep their LSN), the slot or the link of the next newer version swings to the copy, and the
 * segment is retired.  A segment without live bytes is retired unread.  The newest version at or below
 * the commit LSN is never dropped; a tombstone is, after its end went into the tombstone horizon.
 * Source: Rosenblum and Ousterhout, "The Design and Implementation of a Log-Structured File System"
 * (1992), section 3, with first-in first-out choice of victims. */
#ifndef DUNLIN_ENGINE_CLEAN_H
#define DUNLIN_ENGINE_CLEAN_H

#include "engine/base.h"
#include "engine/log.h"
#include "engine/reclaim.h"

struct shard;

struct cleaner {
    struct log_segment base; /* being filled */
    uint32_t victim;
    uint32_t position; /* in the victim */
    bool cleaning;     /* victim is valid */
};

/* Clean up to budget bytes of victims (whole records; a dead segment costs nothing).  Returns true if
 * the budget ran out before the work did. */
MUST_USE bool clean_step(struct shard *s, uint64_t budget, const struct reclaim_now *now);

#endif
