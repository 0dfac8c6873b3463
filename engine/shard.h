/* shard - the writer of one shard: log, index, sessions and cleaner joined into the operations that
 * agents ask for.  Stations 2 and 6 of a write (DESIGN section 2).
 *
 * Pure: no I/O, no clock (time comes in), no allocation.  Owned by one lcore; nobody else calls.
 *
 *   shard_write, shard_transaction, shard_read, shard_session_*
 *                      append or judge; the answer waits in a bounded list (write.c, transaction.c)
 *   shard_commit                               what replication decided: all up to an LSN counts
 *   shard_answer_next                          answers whose LSN is committed, in order
 *   shard_maintain                             grow the index, clean, reclaim: bounded steps
 *   shard_expire                               what a leader does to keys whose ttl is over: expire.h
 *
 * What a commit changes, and in this order: sessions' results; board commit LSN (W1, release: that
 * alone makes the records, and whole transactions, visible); then the link that each committed
 * record has to an older version is cut, since a reader at the commit LSN needs it no more, but where
 * the space keeps history (versions.h).  Between append and commit a key's head is pending and its link
 * leads to what is visible. */
#ifndef DUNLIN_ENGINE_SHARD_H
#define DUNLIN_ENGINE_SHARD_H

#include "engine/base.h"
#include "engine/clean.h"
#include "engine/expire.h"
#include "engine/expiry.h"
#include "engine/index.h"
#include "engine/install.h"
#include "engine/land.h"
#include "engine/leave.h"
#include "engine/log.h"
#include "engine/order.h"
#include "engine/reclaim.h"
#include "engine/ring.h"
#include "engine/session.h"
#include "engine/versions.h"

/* Who asked; given back with the answer, not looked at. */
struct shard_origin {
    uint64_t generation;
    uint64_t tag;
    uint32_t agent;
    uint32_t lcore;
    uint32_t room; /* READ: bytes of value the asker can take */
    uint32_t bulk_offset;
    uint32_t owed;     /* bytes reserved for the answer */
    uint8_t operation; /* enum ring_operation */
    uint8_t bulk;
};

#define SHARD_NO_OFFSET UINT64_MAX
struct shard_pending {
    /* Why aligned so: no entry lies in more than two lines. */
    alignas(32) struct shard_origin origin;
    uint64_t lsn_wait; /* answer when commit is here */
    uint64_t lsn;      /* of the record made, met or read */
    uint64_t offset;   /* of that record in the arena, or SHARD_NO_OFFSET */
    uint64_t sequence;
    uint32_t session_slot; /* SESSION_NONE: not sequenced */
    uint8_t status;        /* enum ring_status */
    uint8_t record_kind;   /* enum record_kind made; 0: none (read, duplicate) */
    int64_t number;        /* as in struct ring_completion */
};
_Static_assert((size_t)2 * CACHE_LINE % sizeof(struct shard_pending) == 0 ||
                   sizeof(struct shard_pending) % CACHE_LINE == CACHE_LINE / 2,
               "two lines at most");

struct shard_answer {
    struct shard_origin origin;
    uint32_t status; /* enum ring_status */
    uint32_t session_slot;
    uint64_t lsn;
    uint64_t sequence;
    int64_t number;              /* as in struct ring_completion */
    bool judged;                 /* by the state alone: leaves only under a right to read */
    const struct record *record; /* READ that found something: good until the next shard_maintain */
};

struct shard_write {
    struct shard_origin origin;
    uint64_t hash;
    const void *key;       /* stable */
    const void *value;     /* may change under us: read once */
    const void *extension; /* stable; TTL, or nothing */
    uint32_t value_length;
    uint16_t key_length;
    uint16_t extension_length;
    uint8_t compare;       /* enum ring_compare */
    uint64_t expected_lsn; /* or the token */
    int64_t delta;         /* INCREMENT: to be added */
    uint32_t session_slot; /* SESSION_NONE: without exactly-once (the daemon's own writes) */
    uint32_t uid;
    uint64_t session; /* LSN that opened it */
    uint64_t sequence;
    uint64_t clock_ns;  /* since 1970 */
    uint64_t steady_ns; /* of the lcore's steady clock, where there is a ttl; 0: not known */
};

/* One part of a transaction: what is done to a key, or only asked of it. */
struct shard_item {
    uint64_t hash;
    const void *key;       /* stable */
    const void *value;     /* may change under us: read once */
    const void *extension; /* as value */
    uint32_t value_length;
    uint16_t key_length;
    uint16_t extension_length;
    uint8_t section;       /* enum ring_section; only THEN and COMPARE may have a condition */
    uint8_t operation;     /* RING_PUT, RING_DELETE, RING_INCREMENT; RING_NOP: only a condition */
    uint8_t compare;       /* enum ring_compare */
    uint64_t expected_lsn; /* or the token */
    int64_t delta;         /* INCREMENT: to be added */
};

/* Of one shard, under one (session, sequence). */
struct shard_transaction {
    struct shard_origin origin;
    const struct shard_item *items;
    uint32_t count;        /* up to LIMIT_TRANSACTION_RECORDS */
    uint32_t session_slot; /* as in shard_write */
    uint32_t uid;
    uint64_t session;
    uint64_t sequence;
    uint64_t clock_ns;
    uint64_t steady_ns; /* as in shard_write; 0 where no item has a ttl */
};

/* What a write touches stands together and first: with many shards each line of it is a miss. */
struct shard {
    struct layout_board *board;
    struct layout_frame *directory;
    struct layout_counters *counters;
    uint8_t *arena;
    struct layout_geometry geometry;
    uint32_t number;
    uint32_t value_bytes_max;
    uint64_t session_ttl_ns;
    uint64_t lsn_committed;
    uint64_t lsn_visible; /* a commit below it changes the board not yet: install.h; 0: none does */
    uint64_t live_bytes;
    uint64_t live_charge;          /* live records as the quota counts them: shard_charge */
    uint64_t bytes_appended;       /* since the last maintenance */
    uint32_t reads_waiting;        /* on the pending list; what they met is not reclaimed */
    bool shown;                    /* the board's commit LSN rose; the lcore clears it */
    struct shard_pending *pending; /* LIMIT_PENDING */
    /* Positions in it, 0 again when it is empty: so its first entries stay in the cache. */
    uint32_t pending_head, pending_applied, pending_tail;
    bool dirty;           /* the lcore has it on its list of this pass */
    bool active;          /* the lcore has it on its list of shards to maintain */
    bool starved;         /* an append found no frame since the last maintenance */
    bool has_history;     /* a commit cuts not every link: versions.h */
    struct expiry expiry; /* keys that have a ttl */
    struct frames frames;
    struct reclaim reclaim;
    struct index index;
    struct session_table sessions;
    struct cleaner cleaner;
    uint64_t lsn_kept;      /* the log from here on is kept for peers: not cleaned */
    struct landing landing; /* as a follower */
    struct log log;         /* Why last of what a write touches: it ends with the epoch table */
    struct order order;   /* Why behind it: only a new key, or one that is forgotten, touches it */
    struct grants grants; /* what leaders may write to */
    struct install install;   /* a snapshot that it takes over */
    struct versions versions; /* versions that are kept */
    struct leave leave;       /* chunks that it is asked to leave */
};

/* Where a shard lives and what it obeys; everything outlives the shard. */
struct shard_config {
    struct layout_space *header;
    struct layout_frame *directory;
    struct layout_board *board;
    uint8_t *arena;
    _Atomic uint32_t *chunks_wanted;
    struct layout_counters *counters; /* of its lcore */
    uint32_t number;                  /* shard in the space */
    uint32_t log;                     /* log number */
    uint32_t sessions_max;
    uint32_t value_bytes_max;
    uint64_t session_ttl_ns;
    uint64_t lsn_start; /* rounded up to a segment; above every LSN this log ever had */
    uint64_t epoch;     /* its first record is written and committed; 0: replication will do it */
    uint64_t clock_ns;
    bool ordered;        /* keeps its keys in order: order.h */
    uint32_t history;    /* versions of a key that are kept; 0 is 1 */
    uint64_t history_ns; /* and those replaced since so long */
};

/* Bytes of zeroed, 64-aligned memory for a shard; touched as it is used. */
size_t shard_bytes(const struct layout_geometry *g, uint32_t sessions_max);

/* Make a shard in such memory, with empty index and log, its first epoch record committed.  Returns
 * 0, or -EAGAIN (its first chunks do not exist yet). */
MUST_USE int shard_init(struct shard *s, const struct shard_config *c);

/* Its part of the table by LSN, behind the directory: layout_by_lsn_offset. */
static inline _Atomic uint32_t *shard_by_lsn(const struct shard *s)
{
    _Atomic uint32_t *all = (void *)(s->directory + layout_frame_count(&s->geometry));
    return all + (size_t)s->number * s->geometry.frames_per_shard;
}

/* Link word of the record at an offset: where the key's previous version lies. */
static ALWAYS_INLINE _Atomic uint64_t *shard_link(const struct shard *s, uint64_t offset)
{
    uint64_t links = layout_links_of(&s->geometry, offset >> s->geometry.segment_shift);
    uint64_t position = offset & ((UINT64_C(1) << s->geometry.segment_shift) - 1);
    return (_Atomic uint64_t *)(void *)(s->arena + links) + (position >> 6);
}

/* What may change while it runs. Why history once kept stays so: chains that are there must be cut. */
static inline void shard_alter(struct shard *s, uint32_t history, uint64_t history_ns,
                               uint64_t session_ttl_ns)
{
    s->versions.count = history != 0 ? history : 1;
    s->versions.span_ns = history_ns;
    s->has_history = s->has_history || history > 1 || history_ns != 0;
    s->session_ttl_ns = session_ttl_ns;
}

/* Stages of a batch: fetch what every operation touches of the shard itself; then the bucket, where
 * the log goes on and where the answer will wait; then the record that the slot names. */
static inline void shard_prefetch_self(const struct shard *s)
{
    for (size_t at = 0; at < offsetof(struct shard, log.epochs); at += CACHE_LINE)
        PREFETCH_WRITE((const uint8_t *)s + at);
    PREFETCH(&s->install); /* housekeeping looks whether there is one */
}
static inline void shard_prefetch(const struct shard *s, uint64_t hash)
{
    index_prefetch(&s->index, (uint32_t)hash);
    PREFETCH_WRITE(s->board);
    PREFETCH(&s->board->reclaim_count);
    const struct shard_pending *entry = &s->pending[s->pending_tail % LIMIT_PENDING];
    PREFETCH_WRITE(entry);
    PREFETCH_WRITE((const uint8_t *)entry + CACHE_LINE);
    if (UNLIKELY(s->log.tail.base == NULL))
        return;
    const uint8_t *end = s->log.tail.base + s->log.tail.used;
    PREFETCH_WRITE(end);
    PREFETCH_WRITE(end + CACHE_LINE);
    PREFETCH_WRITE(end + 2 * (size_t)CACHE_LINE);
    PREFETCH_WRITE(shard_link(s, (uint64_t)(end - s->arena)));
    PREFETCH_WRITE(&s->directory[s->log.tail.frame]);
}
static inline void shard_prefetch_record(const struct shard *s, uint64_t hash)
{
    uint64_t offset = index_prefetch_record(&s->index, (uint32_t)hash);
    if (offset != 0)
        PREFETCH_WRITE(&s->directory[offset >> s->geometry.segment_shift]);
}
/* The session that a write may belong to: a hint, so it may be anything. */
static inline void shard_prefetch_session(const struct shard *s, uint32_t slot, uint64_t sequence)
{
    if (slot >= s->sessions.capacity)
        return;
    const struct session *session = &s->sessions.entries[slot];
    PREFETCH_WRITE(session);
    PREFETCH_WRITE((const uint8_t *)session + CACHE_LINE);
    PREFETCH_WRITE(&session->results[sequence % LIMIT_SESSION_WINDOW]);
}

/* Stages of a burst of messages for many shards, after shard_prefetch_self: the board, by which the
 * bucket is found, and the operation that the next commit begins with; where a range of the log will
 * lie and what its first record will touch (bytes are a peer's: hints); then the record that the slot
 * names, the session, and the link. */
static inline void shard_prefetch_board(const struct shard *s)
{
    PREFETCH_WRITE(s->board);
    PREFETCH(&s->board->reclaim_count);
    PREFETCH(&s->board->pages[s->index.table.array]);
    PREFETCH_WRITE(&s->pending[s->pending_applied % LIMIT_PENDING]);
    PREFETCH_WRITE((const uint8_t *)&s->pending[s->pending_applied % LIMIT_PENDING] + CACHE_LINE);
}
static inline void shard_prefetch_land(const struct shard *s, const uint8_t *bytes, uint64_t length)
{
    if (length < RECORD_HEADER_BYTES)
        return;
    struct record h;
    memcpy(&h, bytes, sizeof h);
    shard_prefetch(s, h.hash);
    session_prefetch(&s->sessions, h.session);
}
static inline void shard_prefetch_apply(const struct shard *s, const uint8_t *bytes,
                                        uint64_t length)
{
    if (s->pending_applied != s->pending_tail) {
        const struct shard_pending *p = &s->pending[s->pending_applied % LIMIT_PENDING];
        shard_prefetch_session(s, p->session_slot, p->sequence);
        if (p->offset != SHARD_NO_OFFSET)
            PREFETCH_WRITE(shard_link(s, p->offset));
    }
    if (length < RECORD_HEADER_BYTES)
        return;
    struct record h;
    memcpy(&h, bytes, sizeof h);
    shard_prefetch_record(s, h.hash);
    shard_prefetch_session(s, session_find_lsn(&s->sessions, h.session, SESSION_NONE), h.sequence);
}

/* Let the log grow up to an LSN (granted by the control plane). */
void shard_grant(struct shard *s, uint64_t lsn_ceiling);

/* RING_PUT, RING_DELETE, RING_INCREMENT, RING_LEASE_* (lease.h).  Returns 0: the answer will come from shard_answer_next; an enum
 * ring_status: refused, nothing was appended, answer it now; or -EAGAIN  no room at the moment:
 * leave the request where it is, call again in a later pass. */
MUST_USE int shard_write(struct shard *s, const struct shard_write *w);

/* Several writes and conditions that count together or not at all.  All conditions are judged first; if
 * they hold, the writes of section THEN are done, else those of section ELSE.  Their records are appended
 * with nothing in between and become visible together.  One answer:
 *   RING_OK         lsn: of the last record (0: all that it would delete was gone already); number
 *                   (of a RING_TRANSACTION): 1 THEN was done, 0 ELSE was
 *   RING_CONDITION  nothing is to be done ELSE: the first condition that did not hold; lsn: of the
 *                   version that stands there
 *   RING_NOT_NUMBER, RING_RANGE  of the first increment that cannot be; nothing was done
 * A key that is to be deleted and is not there is no reason to refuse the others.  As shard_write;
 * RING_INPUT: no item, a key named twice in THEN or in ELSE, or an item that has no meaning there;
 * RING_TOO_LARGE: more than LIMIT_TRANSACTION_RECORDS, a value above the limit, or more in a branch than
 * a segment holds. */
MUST_USE int shard_transaction(struct shard *s, const struct shard_transaction *t);

/* RING_SESSION_OPEN.  As shard_write; the answer's lsn and session_slot name the session. */
MUST_USE int shard_session_open(struct shard *s, const struct shard_origin *origin,
                                const uint8_t id[SESSION_ID_BYTES], uint32_t uid,
                                uint64_t clock_ns);

/* RING_SESSION_CLOSE: forget it now instead of after its ttl.  As shard_write; RING_NOT_FOUND: it
 * is forgotten, RING_SEQUENCE: it has writes that are not committed. */
MUST_USE int shard_session_close(struct shard *s, const struct shard_origin *origin,
                                 const uint8_t id[SESSION_ID_BYTES], uint32_t uid,
                                 uint64_t clock_ns);

/* RING_GET of the newest record, committed or not; the answer waits for it.  As shard_write. */
struct shard_read {
    struct shard_origin origin;
    uint64_t hash;
    const void *key; /* stable */
    uint16_t key_length;
};
MUST_USE int shard_read(struct shard *s, const struct shard_read *r);

/* RING_POSITION: the end of what is appended whole; the answer waits until it is committed.  As shard_write,
 * and judged as a read is. */
MUST_USE int shard_position(struct shard *s, const struct shard_origin *origin);

/* Leader: append the first record of an epoch.  Nothing may wait ahead of the log: land_has_ahead.
 * Returns 0 or -EAGAIN. */
MUST_USE int shard_epoch_begin(struct shard *s, uint64_t epoch, uint64_t clock_ns);
/* The same for an epoch that gives up what a lost majority had: the log goes on above lsn_floor, by as
 * many segments at most as the shard may have, so that no version is ever given twice. */
MUST_USE int shard_epoch_lossy(struct shard *s, uint64_t epoch, uint64_t lsn_floor,
                               uint64_t clock_ns);

/* lsn: a transaction end at or below the log's end; a lower one than before is ignored. */
void shard_commit(struct shard *s, uint64_t lsn);

/* Next answer, or false. All of them must be taken before shard_maintain. */
MUST_USE bool shard_answer_next(struct shard *s, struct shard_answer *answer);

/* One bounded step of housekeeping.  clock_ns as in shard_write.  True: call again in the next
 * pass, there is more to do. */
MUST_USE bool shard_maintain(struct shard *s, const struct reclaim_now *now);

/* Append an expire record for at most one session without traffic, looking at count entries. */
void shard_sweep_sessions(struct shard *s, uint32_t count, uint64_t clock_ns);

/* What a live record of this size counts for in the quota: at least what it takes from a segment
 * where records lie worst.  A small one has a 128-byte block to itself, since two headers fit none;
 * one above a quarter of a segment can leave as much empty in front of it, since it crosses no
 * segment's end; of all others the end of a segment wastes less than a quarter, which LIVE_SHARE
 * allows for. */
static ALWAYS_INLINE uint64_t shard_charge(const struct shard *s, uint64_t size)
{
    if (LIKELY(size <= RECORD_SMALL_BYTES))
        return RECORD_SMALL_BYTES;
    return size > UINT64_C(1) << (s->geometry.segment_shift - 2) ? 2 * size : size;
}

/* Count a record's bytes among the live ones of its segment, or no more. */
static ALWAYS_INLINE void shard_live_add(struct shard *s, uint64_t offset, uint64_t size)
{
    struct layout_frame *frame = &s->directory[offset >> s->geometry.segment_shift];
    /* relaxed: this lcore's own count, others only look */
    uint32_t live = atomic_load_explicit(&frame->bytes_live, memory_order_relaxed);
    atomic_store_explicit(&frame->bytes_live, live + (uint32_t)size, memory_order_relaxed);
    s->live_bytes += size;
    s->live_charge += shard_charge(s, size);
}
static ALWAYS_INLINE void shard_live_sub(struct shard *s, uint64_t offset, uint64_t size)
{
    struct layout_frame *frame = &s->directory[offset >> s->geometry.segment_shift];
    uint32_t live = atomic_load_explicit(&frame->bytes_live, memory_order_relaxed);
    ASSERT(live >= size && s->live_bytes >= size);
    atomic_store_explicit(&frame->bytes_live, live - (uint32_t)size, memory_order_relaxed);
    s->live_bytes -= size;
    s->live_charge -= shard_charge(s, size);
}

static ALWAYS_INLINE void counter_add(struct layout_counters *c, enum counter which, uint64_t n)
{
    /* relaxed load and store: one writer, and readers want no more than a recent number */
    uint64_t value = atomic_load_explicit(&c->value[which], memory_order_relaxed);
    atomic_store_explicit(&c->value[which], value + n, memory_order_relaxed);
}

#endif
