/* pending - what a shard has appended or judged and not answered: the bounded list that commits
 * walk forward and cuts walk back.  Inside the engine only; see shard.h. */
#ifndef DUNLIN_ENGINE_PENDING_H
#define DUNLIN_ENGINE_PENDING_H

#include "engine/shard.h"

#define PENDING_MASK (LIMIT_PENDING - 1)
_Static_assert((LIMIT_PENDING & PENDING_MASK) == 0, "a ring");

static inline bool pending_is_full(const struct shard *s)
{
    return s->pending_tail - s->pending_head == LIMIT_PENDING;
}

static inline struct shard_pending *pending_at(const struct shard *s, uint32_t position)
{
    return &s->pending[position & PENDING_MASK];
}

/* A new entry that waits for all that is in the log now. */
static inline struct shard_pending *pending_add(struct shard *s, const struct shard_origin *origin)
{
    ASSERT(!pending_is_full(s));
    struct shard_pending *p = pending_at(s, s->pending_tail++);
    *p = (struct shard_pending){
        .origin = *origin,
        .lsn_wait = s->log.lsn_end,
        .offset = SHARD_NO_OFFSET,
        .session_slot = SESSION_NONE,
    };
    return p;
}

/* Take back what entries above lsn did, newest first.  Those that somebody waits for stay, to be
 * answered "try again" when lsn is committed. */
void pending_undo(struct shard *s, uint64_t lsn);

/* The board shows what is committed: W1. */
void shard_show(struct shard *s);

/* An epoch record's entry joins the table and the board. */
struct record_epoch;
void shard_epoch_add(struct shard *s, const struct record_epoch *e);

static inline const struct record *shard_record(const struct shard *s, uint64_t offset)
{
    return (const void *)(s->arena + offset);
}

#endif
