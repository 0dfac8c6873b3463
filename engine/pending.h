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

/* Room for so many more operations of agents.  Why not the last places: a leader that nobody answers
 * fills up, and each epoch that is to end this begins with a record of its own. */
static inline bool pending_has_room(const struct shard *s, uint32_t count)
{
    return s->pending_tail - s->pending_head + count <= LIMIT_PENDING - LIMIT_EPOCHS;
}

static inline struct shard_pending *pending_at(const struct shard *s, uint32_t position)
{
    return &s->pending[position & PENDING_MASK];
}

/* A new entry that waits for all that is in the log now.  Why not for the log's end: a pad behind the last
 * transaction belongs to the next one, which may be waiting for memory that is not reclaimed before
 * this entry is answered. */
static inline struct shard_pending *pending_add(struct shard *s, const struct shard_origin *origin)
{
    ASSERT(!pending_is_full(s));
    struct shard_pending *p = pending_at(s, s->pending_tail++);
    *p = (struct shard_pending){
        .origin = *origin,
        .lsn_wait = s->log.lsn_whole,
        .offset = SHARD_NO_OFFSET,
        .session_slot = SESSION_NONE,
    };
    return p;
}

/* A read that names the record it met.  What is retired is not reclaimed while one waits: reads_waiting
 * counts them. */
static inline bool pending_is_reading(const struct shard_pending *p)
{
    return p->origin.operation == RING_GET && p->offset != SHARD_NO_OFFSET;
}

/* Memory is to come from what is retired, and without it the commit that reads wait for may never come:
 * they let go of what they met and are answered "try again". */
void pending_release_reads(struct shard *s);

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
