/* write - the steps that single writes (write.c) and transactions (transaction.c) are made of: judge the
 * session, judge the key, see that there is room, append.  Inside the engine only; see shard.h.
 *
 * Pure; the shard's lcore only.  Nothing is appended before all that can refuse a write has been asked,
 * so that a write which is put back has left nothing behind but room. */
#ifndef DUNLIN_ENGINE_WRITE_H
#define DUNLIN_ENGINE_WRITE_H

#include "engine/shard.h"

/* Of what a shard's segments hold, this much may be live: the rest keeps cleaning cheap. */
#define WRITE_EIGHTHS 6u
/* Sessions may have a little more, so that a shard full of values can still be told to delete some. */
#define WRITE_EIGHTHS_SESSIONS 7u
#define WRITE_FRAMES_WORKING 3u /* tail, base, and one on its way through reclaim */

/* Append a record.  Returns 0 or -EAGAIN: what does not fit now is back-pressure, not an error of the
 * agent. */
MUST_USE int write_append(struct shard *s, struct record *header, const struct record_parts *parts,
                          uint64_t clock_ns, uint64_t *offset);

/* Whether live records may be charged for so much.  They must fit the chunks that exist: who counted on
 * one that control cannot make would have no room left, not even to delete.  Returns 0, RING_QUOTA, or
 * -EAGAIN: a chunk is on its way. */
MUST_USE int write_admit_charge(struct shard *s, uint64_t charge, unsigned eighths);

/* Judge the session of a write.  Returns 0 to go on, else what shard_write returns; *done then.
 * *session NULL: it has none. */
MUST_USE int write_judge_session(struct shard *s, const struct shard_write *w,
                                 struct session **session, bool *done);

static inline uint32_t write_session_slot(const struct shard *s, const struct session *session)
{
    return session != NULL ? (uint32_t)(session - s->sessions.entries) : SESSION_NONE;
}

/* What a write will do to the key, judged at the newest record, committed or not. */
struct write_judgement {
    struct index_place place;
    const struct record *head; /* NULL: the key never was, or is forgotten */
    uint64_t lsn_current;      /* 0: no such key */
    enum ring_status status;   /* RING_OK: append it; else a void with this result */
};

/* Returns 0, or -EAGAIN as index_find. */
MUST_USE int write_judge(struct shard *s, const struct shard_write *w, struct write_judgement *j);

/* Append the record of an operation whose condition held, point the index at it and fill in what it made
 * of p.  last: it ends its transaction.  There is room in the index.  Returns 0 or -EAGAIN. */
MUST_USE int write_effect(struct shard *s, const struct shard_write *w,
                          const struct write_judgement *j, bool last, struct shard_pending *p);

/* Append the void that keeps the result of an operation that changes nothing: its condition did not hold
 * (j's status and lsn_current say how), or all that it would delete is gone already (RING_OK).  As
 * write_effect; a transaction of its own. */
MUST_USE int write_void(struct shard *s, const struct shard_write *w,
                        const struct write_judgement *j, struct shard_pending *p);

#endif
