#include "engine/land.h"

#include "engine/pending.h"
#include "engine/plant.h"

/* ---- records taken back ---- */

static void key_forget(struct shard *s, const struct record *r, const struct index_place *place)
{
    index_erase(&s->index, place);
    if (!PLANTED(ORDER_NOT_UNDONE))
        order_erase(&s->order, record_key(r), r->key_length);
}

/* The newest version of a key goes: its slot names the one before again. */
static void undo_keyed(struct shard *s, const struct shard_pending *p)
{
    const struct record *r = shard_record(s, p->offset);
    struct index_place place;
    int error = index_find_offset(&s->index, r->hash, p->offset, &place);
    /* Why it cannot fail: the record was indexed after its bucket was last moved or moves with it,
     * and a bucket that still has to move needs no memory that its growth was not promised. */
    ASSERT(error == 0 && place.value != 0);
    uint64_t link = atomic_load_explicit(shard_link(s, p->offset), memory_order_relaxed);
    shard_live_sub(s, p->offset, record_size(r));
    bool has_older = (link & LAYOUT_SLOT_VALID) != 0;
    if (has_older)
        index_set(&s->index, &place, r->hash, layout_slot_offset(link));
    else
        key_forget(s, r, &place);
    expire_follow(s, r, has_older ? shard_record(s, layout_slot_offset(link)) : NULL, 0);
}

static void undo_session(struct shard *s, const struct shard_pending *p)
{
    struct session *session = &s->sessions.entries[p->session_slot];
    switch (p->record_kind) {
    case RECORD_SESSION:
        shard_live_sub(s, session->offset, record_size(shard_record(s, session->offset)));
        session_forget(&s->sessions, p->session_slot);
        break;
    case RECORD_EXPIRE:
        session->expiring = false;
        break;
    case 0:
        break;
    default:
        session->appended = p->sequence - 1;
    }
}

void pending_undo(struct shard *s, uint64_t lsn)
{
    for (uint32_t i = s->pending_tail; i != s->pending_applied; i--) {
        struct shard_pending *p = pending_at(s, i - 1);
        if (p->lsn_wait <= lsn)
            break;
        if (p->record_kind == RECORD_DATA || p->record_kind == RECORD_TOMBSTONE)
            undo_keyed(s, p);
        if (p->record_kind == RECORD_EPOCH) {
            shard_live_sub(s, p->offset, record_size(shard_record(s, p->offset)));
            s->log.epoch_count--;
        }
        if (p->session_slot != SESSION_NONE)
            undo_session(s, p);
        s->reads_waiting -= pending_is_reading(p);
        p->lsn_wait = lsn;
        p->record_kind = 0;
        p->number = 0;
        p->offset = SHARD_NO_OFFSET;
        p->session_slot = SESSION_NONE;
        p->status = RING_RETRY;
    }
    /* Entries that nobody waits for are gone at once. */
    while (s->pending_tail != s->pending_applied &&
           pending_at(s, s->pending_tail - 1)->origin.operation == 0 &&
           pending_at(s, s->pending_tail - 1)->record_kind == 0)
        s->pending_tail--;
}

void pending_release_reads(struct shard *s)
{
    /* Why not the applied ones: they are answered before anything is reclaimed. */
    for (uint32_t i = s->pending_applied; s->reads_waiting != 0 && i != s->pending_tail; i++) {
        struct shard_pending *p = pending_at(s, i);
        if (!pending_is_reading(p))
            continue;
        p->offset = SHARD_NO_OFFSET;
        p->status = RING_RETRY;
        s->reads_waiting--;
    }
}

/* ---- the segment that the cut falls into ---- */

struct move {
    uint64_t from, to; /* offsets of the segment and of its copy */
    uint64_t length;
};

static uint64_t moved(const struct move *m, uint64_t offset)
{
    return offset - m->from < m->length ? offset - m->from + m->to : offset;
}

/* Links inside the segment lead to the copies of what they led to.  From outside none leads in: newer
 * versions lie in it or above the cut, and what was copied forward lay in older segments. */
static void links_move(struct shard *s, const struct move *m)
{
    for (uint64_t at = 0; at < m->length; at += 64) {
        uint64_t link = atomic_load_explicit(shard_link(s, m->from + at), memory_order_relaxed);
        if (link & LAYOUT_SLOT_VALID)
            link = layout_link_moved(link, moved(m, layout_slot_offset(link)));
        atomic_store_explicit(shard_link(s, m->to + at), link, memory_order_relaxed);
    }
}

static int swing_keyed(struct shard *s, uint64_t offset, uint64_t to)
{
    struct index_place place;
    uint32_t hash = shard_record(s, offset)->hash;
    int error = index_find_offset(&s->index, hash, offset, &place);
    if (error == 0 && place.value != 0)
        index_set(&s->index, &place, hash, to);
    return error;
}

/* Slots that lead into the segment lead into the copy.  -EAGAIN in the middle is harmless:
 * both hold the same bytes, and the next call goes on. */
static int swing_all(struct shard *s, const struct move *m)
{
    for (uint64_t at = 0; at < m->length;) {
        struct record h;
        int64_t size = record_check(s->arena + m->from + at, m->length - at, &h);
        ASSERT(size > 0); /* it was checked when it was appended */
        int error = record_is_keyed(&h) ? swing_keyed(s, m->from + at, m->to + at) : 0;
        if (error != 0)
            return error;
        at += (uint64_t)size;
    }
    return 0;
}

static void rename_rest(struct shard *s, const struct move *m)
{
    for (uint32_t i = s->pending_head; i != s->pending_tail; i++)
        pending_at(s, i)->offset = moved(m, pending_at(s, i)->offset);
    for (uint32_t i = 0; i < s->sessions.fresh; i++)
        s->sessions.entries[i].offset = moved(m, s->sessions.entries[i].offset);
    _Atomic uint32_t *from = &s->directory[m->from >> s->geometry.segment_shift].bytes_live;
    _Atomic uint32_t *to = &s->directory[m->to >> s->geometry.segment_shift].bytes_live;
    atomic_store_explicit(to, atomic_load_explicit(from, memory_order_relaxed),
                          memory_order_relaxed);
    atomic_store_explicit(from, 0, memory_order_relaxed);
}

/* Copy the bytes and links of [segment start, lsn) to a fresh frame and lead everything there. */
static int prefix_move(struct shard *s, uint64_t lsn)
{
    uint64_t start = lsn & ~((UINT64_C(1) << s->geometry.segment_shift) - 1);
    uint64_t available;
    const uint8_t *bytes = log_bytes_at(&s->log, start, &available);
    ASSERT(bytes != NULL);
    if (s->landing.cut_frame == 0) {
        uint32_t frame;
        if (frames_take(&s->frames, FRAME_TAIL, start, &frame) != 0) {
            s->starved = true;
            return -EAGAIN;
        }
        s->landing.cut_frame = frame + 1;
    }
    struct move m = {
        .from = (uint64_t)(bytes - s->arena),
        .to = (uint64_t)(s->landing.cut_frame - 1) << s->geometry.segment_shift,
        .length = lsn - start,
    };
    record_copy(s->arena + m.to, bytes, m.length);
    links_move(s, &m);
    int error = swing_all(s, &m);
    if (error == 0)
        rename_rest(s, &m);
    return error;
}

static void landing_reset(struct shard *s, uint64_t lsn, const struct reclaim_now *now)
{
    for (unsigned i = 0; i < LIMIT_LAND_SEGMENTS; i++) {
        if (s->landing.ahead[i].frame != 0)
            reclaim_retire(&s->reclaim, s->landing.ahead[i].frame - 1, now);
        s->landing.ahead[i].frame = 0;
    }
    s->landing.lsn_received = lsn;
    s->landing.range_count = 0;
}

/* A transaction, or a pad behind one, ends at lsn.  It may come from a peer, so it is walked to, not
 * believed. */
static bool is_boundary(const struct shard *s, uint64_t lsn)
{
    uint64_t at = lsn & ~((UINT64_C(1) << s->geometry.segment_shift) - 1);
    bool is_whole = true;
    while (at < lsn) {
        uint64_t available;
        struct record h;
        const uint8_t *bytes = log_bytes_at(&s->log, at, &available);
        int64_t size = bytes != NULL ? record_check(bytes, available, &h) : -ENOENT;
        if (size <= 0)
            return false;
        if (h.kind != RECORD_PAD)
            is_whole = (h.flags & RECORD_FLAG_TRANSACTION_END) != 0;
        at += (uint64_t)size;
    }
    return at == lsn && is_whole;
}

/* Where the log's bytes just below lsn lie, which is above a segment's start. */
static uint32_t frame_of(const struct shard *s, uint64_t lsn)
{
    uint64_t available;
    const uint8_t *bytes = log_bytes_at(&s->log, lsn - 1, &available);
    ASSERT(bytes != NULL);
    return (uint32_t)((uint64_t)(bytes - s->arena) >> s->geometry.segment_shift);
}

/* With a planted bug: the log goes on in the segment that it is cut in. */
static bool stays_in_place(const struct shard *s, uint64_t lsn)
{
    return PLANTED(REWRITE_IN_PLACE) ||
           (PLANTED(GRANT_OUTLIVES_SEAL) && grant_is_out(&s->grants, frame_of(s, lsn)));
}

int land_cut(struct shard *s, uint64_t lsn, const struct reclaim_now *now)
{
    if (lsn < s->lsn_committed || lsn > s->log.lsn_end || !is_boundary(s, lsn))
        return -EINVAL;
    if (clean_move_end(s, now) != 0)
        return -EAGAIN;
    bool inside = (lsn & ((UINT64_C(1) << s->geometry.segment_shift) - 1)) != 0;
    uint32_t epochs = s->log.epoch_count;
    pending_undo(s, lsn);
    /* Why they stay until the end: who is told to come again asks the table where to cut. */
    s->log.epoch_count = epochs;
    pending_release_reads(s);
    bool stays = inside && stays_in_place(s, lsn);
    if (stays)
        s->landing.cut_frame = frame_of(s, lsn) + 1;
    int error = inside && !stays ? prefix_move(s, lsn) : 0;
    if (error != 0)
        return error;
    landing_reset(s, lsn, now);
    uint32_t frame;
    while (log_take_above(&s->log, lsn, &frame))
        reclaim_retire(&s->reclaim, frame, now);
    if (log_end_at(&s->log, lsn, s->landing.cut_frame - 1, &frame) && !stays)
        reclaim_retire(&s->reclaim, frame, now);
    s->landing.cut_frame = 0;
    while (s->log.epoch_count != 0 && s->log.epochs[s->log.epoch_count - 1].lsn_start >= lsn)
        s->log.epoch_count--;
    atomic_store_explicit(&s->board->lsn_end, lsn, memory_order_relaxed);
    return 0;
}
