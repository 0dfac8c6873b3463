/* write - the steps that single writes (write.c) and transactions (transaction.c) are made of: judge the
 * session, judge the key, see that there is room, append.  Inside the engine only; see shard.h.
 *
 * Pure; the shard's lcore only.  Nothing is appended before all that can refuse a write has been asked,
 * so that a write which is put back has left nothing behind but room. */
#ifndef DUNLIN_ENGINE_WRITE_H
#define DUNLIN_ENGINE_WRITE_H

#include "engine/lease.h"
#include "engine/number.h"
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

/* What live records may be charged for where so many frames are there, so many eighths of what is not the
 * index's or kept to work with. */
uint64_t write_live_max(const struct shard *s, uint32_t frames, unsigned eighths);

/* More is live than any write is admitted for.  A replica may come to that: it holds history that its
 * leader has not. */
bool write_is_over(const struct shard *s);

/* What the quota gets back for the newest version of a key when another replaces it. */
static inline uint64_t write_freed(const struct shard *s, const struct record *head)
{
    if (head == NULL)
        return 0;
    if (UNLIKELY(s->has_history))
        return versions_freed(s, (uint64_t)((const uint8_t *)head - s->arena));
    return shard_charge(s, record_size(head));
}

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
    /* What the record will say: INCREMENT: of the sum, which is also its value; the end of a
     * RING_TRANSACTION: that it is one, and which branch. */
    uint8_t operation;
    uint8_t flags;
    int64_t number;
    uint64_t steady_ns; /* as in shard_write */
    uint64_t ttl_ns;    /* of the version before, which an INCREMENT keeps; else not set */
    uint32_t text_length;
    uint8_t text[NUMBER_BYTES_MAX];
};

/* It makes a value, not a tombstone. */
static inline bool write_is_value(const struct shard_write *w)
{
    return w->origin.operation != RING_DELETE && w->origin.operation != RING_LEASE_RELEASE;
}

/* Bytes of the value that it will write. */
static inline uint32_t write_value_length(const struct shard_write *w,
                                          const struct write_judgement *j)
{
    switch (w->origin.operation) {
    case RING_PUT:
    case RING_LEASE_ACQUIRE:
        return w->value_length;
    case RING_INCREMENT:
        return j->text_length;
    case RING_LEASE_RENEW:
        return j->head->value_length;
    default:
        return 0;
    }
}

/* Bytes of its extensions, by what is asked. */
static inline uint16_t write_extension_asked(const struct shard_write *w)
{
    return UNLIKELY(lease_is_operation(w->origin.operation)) && write_is_value(w)
               ? (uint16_t)sizeof(struct lease_extensions)
               : w->extension_length;
}

/* Bytes of its extensions. */
static inline uint16_t write_extension_length(const struct shard_write *w,
                                              const struct write_judgement *j)
{
    return UNLIKELY(w->origin.operation == RING_INCREMENT) && j->ttl_ns != 0
               ? (uint16_t)sizeof(struct record_ttl)
               : write_extension_asked(w);
}

/* Returns 0, or -EAGAIN as index_find. */
MUST_USE int write_judge(struct shard *s, const struct shard_write *w, struct write_judgement *j);

/* Append the record of an operation whose condition held, point the index at it and fill in what it made
 * of p.  last: it ends its transaction.  There is room in the index.  Returns 0 or -EAGAIN. */
MUST_USE int write_effect(struct shard *s, const struct shard_write *w,
                          const struct write_judgement *j, bool last, struct shard_pending *p);

/* Point the index at a record that was appended at offset: of the key that j found, whose newest version
 * was j's head; with its link, its live bytes, and its ttl. */
void write_point(struct shard *s, const struct write_judgement *j, const struct record *header,
                 uint64_t offset);

/* Append the void that keeps the result of an operation that changes nothing: its condition did not hold
 * (j's status and lsn_current say how), or all that it would delete is gone already (RING_OK).  As
 * write_effect; a transaction of its own. */
MUST_USE int write_void(struct shard *s, const struct shard_write *w,
                        const struct write_judgement *j, struct shard_pending *p);

#endif
