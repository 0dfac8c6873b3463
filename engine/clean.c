#include "engine/clean.h"

#include "engine/pending.h"
#include "engine/plant.h"
#include "engine/shard.h"
#include "engine/write.h"

static const struct record *victim_record(const struct shard *s)
{
    uint64_t start = (uint64_t)s->cleaner.victim << s->geometry.segment_shift;
    return (const void *)(s->arena + start + s->cleaner.position);
}

/* Length of the pad at p; a pad's length stands where a record has flags and operation. */
static uint64_t pad_bytes(const struct record *p)
{
    return ((uint64_t)p->flags | (uint64_t)p->operation << 8) * 8;
}

/* A base segment is as old as its youngest record (clean_choose). */
static void base_grow_younger(struct shard *s, const struct log_segment *base, uint64_t lsn)
{
    _Atomic uint64_t *youngest = &s->directory[base->frame].lsn_start;
    /* relaxed: only this thread looks at it, in a base segment */
    if (atomic_load_explicit(youngest, memory_order_relaxed) < lsn)
        atomic_store_explicit(youngest, lsn, memory_order_relaxed);
}

static int base_copy(struct shard *s, const struct record *r, uint64_t *to)
{
    uint64_t size = record_size(r);
    struct log_segment *base = &s->cleaner.base;
    int error = log_base_claim(&s->log, base, size, to);
    if (error != 0)
        return error;
    base_grow_younger(s, base, r->lsn);
    record_copy(s->arena + *to, (const uint8_t *)r, size);
    return 0;
}

/* Where a live record goes. */
static int copy_forward(struct shard *s, const struct record *r, uint64_t offset, uint64_t *to)
{
    uint64_t size = record_size(r);
    if (s->cleaner.moved_to != 0) {
        *to = (uint64_t)(s->cleaner.moved_to - 1) << s->geometry.segment_shift;
        *to += s->cleaner.position;
    } else {
        int error = base_copy(s, r, to);
        if (error != 0)
            return error;
    }
    uint64_t link = atomic_load_explicit(shard_link(s, offset), memory_order_relaxed);
    atomic_store_explicit(shard_link(s, *to), link, memory_order_relaxed);
    shard_live_add(s, *to, size);
    shard_live_sub(s, offset, size);
    counter_add(s->counters, COUNTER_CLEANED_RECORDS, 1);
    counter_add(s->counters, COUNTER_CLEANED_BYTES, size);
    return 0;
}

/* The newest version of a key is a tombstone, and its versions need be kept no longer. */
static bool tombstone_is_over(const struct shard *s, const struct record *r, uint64_t offset)
{
    const struct versions *h = &s->versions;
    if (!s->has_history || write_is_over(s))
        return true;
    if (h->span_ns != 0 && !versions_is_over(s, r))
        return false;
    uint32_t kind = atomic_load_explicit(&s->directory[offset >> s->geometry.segment_shift].kind,
                                         memory_order_relaxed);
    return h->count == 1 || kind == FRAME_BASE;
}

static void tombstone_give_up(struct shard *s, const struct record *r, uint64_t offset,
                              const struct index_place *place)
{
    uint64_t horizon = atomic_load_explicit(&s->board->lsn_tombstone_horizon, memory_order_relaxed);
    /* Why its end: a reader at the LSN where it begins still sees the version before it.
     * release: the horizon is there before the slot is empty */
    if (!PLANTED(HORIZON_SKIPPED))
        atomic_store_explicit(&s->board->lsn_tombstone_horizon,
                              max_u64(horizon, r->lsn + record_size(r)), memory_order_release);
    versions_drop(s, shard_link(s, offset));
    shard_live_sub(s, offset, record_size(r));
    index_erase(&s->index, place);
    order_erase(&s->order, record_key(r), r->key_length);
}

/* What led to a version leads to its copy. */
static void reference_swing(struct shard *s, const struct versions_reference *found,
                            const struct record *r, uint64_t to)
{
    if (found->word == found->place.slot) {
        index_set(&s->index, &found->place, r->hash, to);
        return;
    }
    if (PLANTED(LINK_NOT_SWUNG) && found->rank > 1)
        return;
    uint64_t link = atomic_load_explicit(found->word, memory_order_relaxed);
    link = layout_link_moved(link, to);
    /* release: who follows it finds the copy whole */
    atomic_store_explicit(found->word, link, memory_order_release);
}

static int clean_keyed(struct shard *s, const struct record *r, uint64_t offset)
{
    struct versions_reference found;
    int error = versions_reference_find(s, offset, &found);
    if (error != 0 || found.word == NULL)
        return error;
    bool stays = s->cleaner.moved_to != 0;
    if (r->kind != RECORD_DATA && !stays && found.word == found.place.slot &&
        tombstone_is_over(s, r, offset)) {
        tombstone_give_up(s, r, offset, &found.place);
        return 0;
    }
    if (UNLIKELY(s->has_history) && !stays)
        versions_trim(s, offset, found.rank);
    uint64_t to;
    error = copy_forward(s, r, offset, &to);
    if (error == 0)
        reference_swing(s, &found, r, to);
    return error;
}

static int clean_session(struct shard *s, const struct record *r, uint64_t offset)
{
    /* Why not by its id: that may have been opened again, while this one still counts. */
    uint32_t slot = session_find_lsn(&s->sessions, r->lsn, SESSION_NONE);
    if (slot == SESSION_NONE)
        return 0;
    uint64_t to;
    int error = copy_forward(s, r, offset, &to);
    if (error == 0)
        s->sessions.entries[slot].offset = to;
    return error;
}

static int clean_epoch(struct shard *s, const struct record *r, uint64_t offset)
{
    for (uint32_t i = 0; i < s->log.epoch_count; i++) {
        uint64_t to;
        if (s->log.epochs[i].lsn_start == r->lsn)
            return copy_forward(s, r, offset, &to);
    }
    shard_live_sub(s, offset, record_size(r));
    return 0;
}

/* Everything else (a void, a session's expiry) lives on only in what was derived from it. */
static int clean_record(struct shard *s, const struct record *r, uint64_t offset)
{
    if (LIKELY(record_is_keyed(r)))
        return clean_keyed(s, r, offset);
    switch (r->kind) {
    case RECORD_SESSION:
        return clean_session(s, r, offset);
    case RECORD_EPOCH:
        return clean_epoch(s, r, offset);
    default:
        return 0;
    }
}

static bool victim_is_dead(const struct shard *s)
{
    return atomic_load_explicit(&s->directory[s->cleaner.victim].bytes_live,
                                memory_order_relaxed) == 0;
}

/* Behind its last record. */
static uint32_t victim_end(const struct shard *s)
{
    return s->cleaner.moved_to != 0 ? s->cleaner.end : 1u << s->geometry.segment_shift;
}

/* Records whose buckets are on their way while one is looked at. */
#define CLEAN_AHEAD 12u

struct lookahead {
    uint32_t position; /* in the victim */
    uint32_t records;  /* in front of the cleaner */
};

static uint64_t bytes_of(const struct record *r)
{
    return r->kind == RECORD_PAD ? pad_bytes(r) : record_size(r);
}

/* Why: nearly every bucket is a miss, and one record's has nothing to do with the next one's. */
static void look_ahead(const struct shard *s, struct lookahead *ahead)
{
    const uint8_t *base = s->arena + ((uint64_t)s->cleaner.victim << s->geometry.segment_shift);
    uint32_t segment = victim_end(s);
    for (; ahead->records < CLEAN_AHEAD && ahead->position < segment; ahead->records++) {
        const struct record *r = (const void *)(base + ahead->position);
        if (record_is_keyed(r))
            index_prefetch(&s->index, r->hash);
        ahead->position += (uint32_t)bytes_of(r);
    }
    ahead->records -= ahead->records != 0;
}

bool clean_step(struct shard *s, uint64_t budget, const struct reclaim_now *now)
{
    struct cleaner *c = &s->cleaner;
    if (!clean_choose(s))
        return false;
    uint32_t segment = victim_end(s);
    uint64_t start = (uint64_t)c->victim << s->geometry.segment_shift;
    struct lookahead ahead = {.position = c->position};
    while (c->position < segment && !victim_is_dead(s)) {
        const struct record *r = victim_record(s);
        uint64_t size = bytes_of(r);
        look_ahead(s, &ahead);
        ASSERT(size != 0 && size <= segment - c->position);
        if (budget == 0)
            return true;
        if (r->kind != RECORD_PAD && clean_record(s, r, start + c->position) != 0)
            return false;
        c->position += (uint32_t)size;
        budget -= min_u64(size, budget);
    }
    ASSERT(victim_is_dead(s));
    reclaim_retire(&s->reclaim, c->victim, now);
    c->cleaning = false;
    c->moved_to = 0;
    s->install.segments_dirty -= s->install.segments_dirty != 0; /* one less of its round */
    counter_add(s->counters, COUNTER_SEGMENTS_FREED, 1);
    return true;
}

/* ---- a segment of the tail that goes to another frame ---- */

/* Why: no link leads on from a record that is dead, but the frame's memory is of another segment. */
static void links_clear(struct shard *s, uint64_t to)
{
    for (uint64_t at = 0; at < UINT64_C(1) << s->geometry.segment_shift; at += 64)
        /* relaxed: what leads here is stored later */
        atomic_store_explicit(shard_link(s, to + at), 0, memory_order_relaxed);
}

int clean_move(struct shard *s, uint32_t place)
{
    struct cleaner *c = &s->cleaner;
    bool is_open = place == s->log.queue_count;
    uint32_t from = is_open ? s->log.tail.frame : log_queue_at(&s->log, place), to;
    const struct layout_frame *entry = &s->directory[from];
    ASSERT(!c->cleaning);
    if (frames_take(&s->frames, FRAME_TAIL,
                    atomic_load_explicit(&entry->lsn_start, memory_order_relaxed), &to) != 0)
        return -EAGAIN;
    atomic_store_explicit(&s->directory[to].bytes_used,
                          atomic_load_explicit(&entry->bytes_used, memory_order_relaxed),
                          memory_order_relaxed);
    /* Why all of it: behind the log's end there may be what was received. */
    record_copy(s->arena + ((uint64_t)to << s->geometry.segment_shift),
                s->arena + ((uint64_t)from << s->geometry.segment_shift),
                UINT64_C(1) << s->geometry.segment_shift);
    links_clear(s, (uint64_t)to << s->geometry.segment_shift);
    c->end = is_open ? s->log.tail.used : 1u << s->geometry.segment_shift;
    log_tail_replace(&s->log, place, to);
    c->victim = from;
    c->position = 0;
    c->moved_to = to + 1;
    c->cleaning = true;
    return 0;
}

int clean_move_end(struct shard *s, const struct reclaim_now *now)
{
    if (LIKELY(!s->cleaner.cleaning || s->cleaner.moved_to == 0))
        return 0;
    return clean_step(s, UINT64_MAX, now) ? 0 : -EAGAIN;
}
