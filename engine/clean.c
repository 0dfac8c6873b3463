#include "engine/clean.h"

#include "engine/shard.h"

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

#define CANDIDATES_MAX 4u

/* Whether a key of this hash may have a version above the commit LSN: told from where its newest one
 * lies, since nearly every look at that itself is a miss. */
static bool may_be_pending(const struct shard *s, uint32_t hash)
{
    uint64_t offsets[CANDIDATES_MAX];
    uint32_t count = index_candidates(&s->index, hash, offsets, CANDIDATES_MAX);
    if (count > CANDIDATES_MAX)
        return true;
    for (uint32_t i = 0; i < count; i++) {
        const struct layout_frame *f = &s->directory[offsets[i] >> s->geometry.segment_shift];
        uint64_t position = offsets[i] & ((UINT64_C(1) << s->geometry.segment_shift) - 1);
        /* relaxed: written by this thread; base segments hold what is committed */
        if (atomic_load_explicit(&f->kind, memory_order_relaxed) != FRAME_BASE &&
            atomic_load_explicit(&f->lsn_start, memory_order_relaxed) + position >=
                s->lsn_committed)
            return true;
    }
    return false;
}

/* Where the record at an offset is referred to from: its key's slot (place then names it), or the link
 * of a newer, pending version; *reference NULL: from nowhere, it is dead. */
static int reference_find(struct shard *s, uint64_t offset, struct index_place *place,
                          _Atomic uint64_t **reference)
{
    const struct record *r = (const void *)(s->arena + offset);
    *reference = NULL;
    /* Why so first: most records are dead or in a slot, which takes no look at the key's newest
     * one. */
    int error = index_find_offset(&s->index, r->hash, offset, place);
    if (error != 0)
        return error;
    if (place->value != 0) {
        *reference = place->slot;
        return 0;
    }
    /* Why that suffices: links lead only from pending versions to older ones; commit cuts them. */
    if (s->log.lsn_end == s->lsn_committed || !may_be_pending(s, r->hash))
        return 0;
    error = index_find(&s->index, r->hash, record_key(r), r->key_length, place);
    if (error != 0 || place->value == 0)
        return error;
    _Atomic uint64_t *at = place->slot;
    uint64_t to = layout_slot_offset(place->value);
    /* Why so far: each pending version is on the list of pending operations. */
    for (unsigned i = 0; i <= LIMIT_PENDING; i++) {
        if (to == offset) {
            *reference = at;
            return 0;
        }
        const struct record *newer = (const void *)(s->arena + to);
        if (newer->lsn + record_size(newer) <= s->lsn_committed)
            return 0;
        at = shard_link(s, to);
        uint64_t link = atomic_load_explicit(at, memory_order_relaxed);
        if (!(link & LAYOUT_SLOT_VALID))
            return 0;
        to = layout_slot_offset(link);
    }
    return 0;
}

static int copy_forward(struct shard *s, const struct record *r, uint64_t offset, uint64_t *to)
{
    uint64_t size = record_size(r);
    int error = log_base_claim(&s->log, &s->cleaner.base, size, to);
    if (error != 0)
        return error;
    record_copy(s->arena + *to, (const uint8_t *)r, size);
    uint64_t link = atomic_load_explicit(shard_link(s, offset), memory_order_relaxed);
    atomic_store_explicit(shard_link(s, *to), link, memory_order_relaxed);
    shard_live_add(s, *to, size);
    shard_live_sub(s, offset, size);
    counter_add(s->counters, COUNTER_CLEANED_RECORDS, 1);
    counter_add(s->counters, COUNTER_CLEANED_BYTES, size);
    return 0;
}

static int clean_keyed(struct shard *s, const struct record *r, uint64_t offset)
{
    struct index_place place;
    _Atomic uint64_t *reference;
    int error = reference_find(s, offset, &place, &reference);
    if (error != 0 || reference == NULL)
        return error;
    bool in_slot = reference == place.slot;
    if (r->kind == RECORD_TOMBSTONE && in_slot) {
        uint64_t horizon =
            atomic_load_explicit(&s->board->lsn_tombstone_horizon, memory_order_relaxed);
        /* Why its end: a reader at the LSN where it begins still sees the version before it.
         * release: the horizon is there before the slot is empty */
        atomic_store_explicit(&s->board->lsn_tombstone_horizon,
                              max_u64(horizon, r->lsn + record_size(r)), memory_order_release);
        shard_live_sub(s, offset, record_size(r));
        index_erase(&s->index, &place);
        return 0;
    }
    uint64_t to;
    error = copy_forward(s, r, offset, &to);
    if (error != 0)
        return error;
    if (in_slot)
        index_set(&s->index, &place, r->hash, to);
    else
        atomic_store_explicit(reference, layout_link_make(to), memory_order_release);
    return 0;
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

/* Everything else (void, expire) lives on only in what was derived from it. */
static int clean_record(struct shard *s, const struct record *r, uint64_t offset)
{
    switch (r->kind) {
    case RECORD_DATA:
    case RECORD_TOMBSTONE:
        return clean_keyed(s, r, offset);
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

/* A victim whose records are all committed, and that no peer needs. */
static bool victim_choose(struct shard *s)
{
    struct cleaner *c = &s->cleaner;
    if (c->cleaning)
        return true;
    if (s->log.queue_count == 0)
        return false;
    const struct layout_frame *oldest = &s->directory[s->log.queue[s->log.queue_head]];
    uint64_t lsn_start = atomic_load_explicit(&oldest->lsn_start, memory_order_relaxed);
    uint32_t kind = atomic_load_explicit(&oldest->kind, memory_order_relaxed);
    if (kind == FRAME_TAIL && lsn_start + (UINT64_C(1) << s->geometry.segment_shift) >
                                  min_u64(s->lsn_committed, s->lsn_kept))
        return false;
    c->cleaning = log_queue_pop(&s->log, &c->victim);
    c->position = 0;
    return c->cleaning;
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
    uint32_t segment = 1u << s->geometry.segment_shift;
    for (; ahead->records < CLEAN_AHEAD && ahead->position < segment; ahead->records++) {
        const struct record *r = (const void *)(base + ahead->position);
        if (r->kind == RECORD_DATA || r->kind == RECORD_TOMBSTONE)
            index_prefetch(&s->index, r->hash);
        ahead->position += (uint32_t)bytes_of(r);
    }
    ahead->records -= ahead->records != 0;
}

bool clean_step(struct shard *s, uint64_t budget, const struct reclaim_now *now)
{
    struct cleaner *c = &s->cleaner;
    uint32_t segment = 1u << s->geometry.segment_shift;
    if (!victim_choose(s))
        return false;
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
    counter_add(s->counters, COUNTER_SEGMENTS_FREED, 1);
    return true;
}
