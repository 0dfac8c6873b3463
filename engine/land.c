#include "engine/land.h"

#include "engine/pending.h"

#include <string.h>

static uint64_t segment_bytes(const struct shard *s)
{
    return UINT64_C(1) << s->geometry.segment_shift;
}

static uint64_t segment_start(const struct shard *s, uint64_t lsn)
{
    return lsn & ~(segment_bytes(s) - 1);
}

static uint8_t *frame_base(const struct shard *s, uint32_t frame)
{
    return s->arena + ((uint64_t)frame << s->geometry.segment_shift);
}

static uint64_t frame_lsn(const struct shard *s, uint32_t frame)
{
    return atomic_load_explicit(&s->directory[frame].lsn_start, memory_order_relaxed);
}

/* ---- placing bytes ---- */

/* Memory of the tail segment that starts at lsn_start, taken if there is none.  NULL: not now. */
static uint8_t *segment_for(struct shard *s, uint64_t lsn_start)
{
    const struct log *l = &s->log;
    if (l->tail.base != NULL && frame_lsn(s, l->tail.frame) == lsn_start)
        return l->tail.base;
    struct land_segment *unused = NULL;
    for (unsigned i = 0; i < LIMIT_LAND_SEGMENTS; i++) {
        struct land_segment *a = &s->landing.ahead[i];
        if (a->frame != 0 && a->lsn_start == lsn_start)
            return frame_base(s, a->frame - 1);
        if (a->frame == 0)
            unused = a;
    }
    uint32_t frame;
    if (unused == NULL || frames_available(&s->frames) <= FRAMES_KEPT ||
        frames_take(&s->frames, FRAME_TAIL, lsn_start, &frame) != 0) {
        s->starved = true;
        return NULL;
    }
    *unused = (struct land_segment){.lsn_start = lsn_start, .frame = frame + 1};
    return frame_base(s, frame);
}

/* Remember [start, end) beyond a gap.  Full: forget the range, it will be asked for again. */
static void range_add(struct landing *g, uint64_t start, uint64_t end)
{
    uint32_t from = 0;
    while (from < g->range_count && g->ranges[from].lsn_end < start)
        from++;
    uint32_t to = from;
    for (; to < g->range_count && g->ranges[to].lsn_start <= end; to++) {
        start = min_u64(start, g->ranges[to].lsn_start);
        end = max_u64(end, g->ranges[to].lsn_end);
    }
    if (from == to && g->range_count == LIMIT_LAND_RANGES)
        return;
    uint32_t moved = g->range_count - to;
    memmove(&g->ranges[from + 1], &g->ranges[to], moved * sizeof g->ranges[0]);
    g->ranges[from] = (struct land_range){.lsn_start = start, .lsn_end = end};
    g->range_count = from + 1 + moved;
}

static bool received_advance(struct landing *g)
{
    if (g->range_count == 0 || g->ranges[0].lsn_start > g->lsn_received)
        return false;
    g->lsn_received = max_u64(g->lsn_received, g->ranges[0].lsn_end);
    g->range_count--;
    memmove(&g->ranges[0], &g->ranges[1], g->range_count * sizeof g->ranges[0]);
    return true;
}

int land_bytes(struct shard *s, uint64_t lsn, const uint8_t *bytes, uint64_t length)
{
    struct landing *g = &s->landing;
    if (lsn % 8 != 0 || length % 8 != 0 || length == 0 || length > segment_bytes(s) ||
        lsn > UINT64_MAX - length)
        return -EINVAL;
    g->lsn_received = max_u64(g->lsn_received, s->log.lsn_end);
    uint64_t end = lsn + length;
    if (end <= g->lsn_received)
        return 0;
    uint64_t skip = lsn < g->lsn_received ? g->lsn_received - lsn : 0;
    for (uint64_t at = lsn + skip; at < end;) {
        uint64_t start = segment_start(s, at);
        uint64_t piece = min_u64(end, start + segment_bytes(s)) - at;
        uint8_t *base = segment_for(s, start);
        if (base == NULL)
            return -EAGAIN;
        record_copy(base + (at - start), bytes + (at - lsn), piece);
        range_add(g, at, at + piece);
        at += piece;
    }
    return received_advance(g) ? 1 : 0;
}

bool land_missing(const struct shard *s, uint64_t lsn_wanted, struct land_range *missing)
{
    const struct landing *g = &s->landing;
    uint64_t received = max_u64(g->lsn_received, s->log.lsn_end);
    missing->lsn_start = received;
    missing->lsn_end = g->range_count != 0 ? g->ranges[0].lsn_start : lsn_wanted;
    return missing->lsn_start < missing->lsn_end;
}

/* ---- applying ---- */

struct landed {
    struct record header; /* copy */
    uint64_t offset;
    uint64_t lsn_end; /* of its transaction */
};

static struct shard_pending *landed_pending(struct shard *s, const struct landed *r)
{
    const struct shard_origin nobody = {.operation = 0};
    struct shard_pending *p = pending_add(s, &nobody);
    p->lsn_wait = r->lsn_end;
    p->lsn = r->header.lsn;
    p->offset = r->offset;
    p->sequence = r->header.sequence;
    p->record_kind = r->header.kind;
    return p;
}

/* The session that wrote a record, if it is known; its sequence must be the next. */
static int landed_session(struct shard *s, const struct landed *r, uint32_t *slot)
{
    *slot = SESSION_NONE;
    if (r->header.session == 0)
        return 0;
    *slot = session_find_lsn(&s->sessions, r->header.session, SESSION_NONE);
    if (*slot == SESSION_NONE)
        return 0;
    struct session *session = &s->sessions.entries[*slot];
    if (r->header.sequence != session->appended + 1)
        return -EBADMSG;
    session->appended++;
    session->traffic_ns = r->header.hybrid_clock;
    return 0;
}

static int apply_keyed(struct shard *s, const struct landed *r)
{
    const struct record *h = &r->header;
    struct index_place place;
    if (h->key_length == 0)
        return -EBADMSG;
    int error = index_find(&s->index, h->hash, record_key(shard_record(s, r->offset)),
                           h->key_length, &place);
    if (error == 0)
        error = index_make_room(&s->index, &place);
    if (error != 0)
        return -EAGAIN;
    uint32_t slot;
    error = landed_session(s, r, &slot);
    if (error != 0)
        return error;
    uint64_t link = place.value != 0 ? layout_link_make(layout_slot_offset(place.value)) : 0;
    /* relaxed: W0 publishes it together with the record */
    atomic_store_explicit(shard_link(s, r->offset), link, memory_order_relaxed);
    shard_live_add(s, r->offset, record_size(h));
    index_set(&s->index, &place, h->hash, r->offset);
    landed_pending(s, r)->session_slot = slot;
    return 0;
}

static int apply_void(struct shard *s, const struct landed *r)
{
    struct record_result result;
    uint32_t slot;
    if (r->header.extension_length != sizeof result)
        return -EBADMSG;
    memcpy(&result, s->arena + r->offset + RECORD_HEADER_BYTES, sizeof result);
    int error = landed_session(s, r, &slot);
    if (error != 0)
        return error;
    struct shard_pending *p = landed_pending(s, r);
    p->session_slot = slot;
    p->lsn = r->header.lsn_previous;
    p->status = (uint8_t)result.status;
    return 0;
}

static int apply_session(struct shard *s, const struct landed *r)
{
    const struct record *in_place = shard_record(s, r->offset);
    uint32_t uid;
    if (r->header.key_length != SESSION_ID_BYTES || r->header.value_length != sizeof uid)
        return -EBADMSG;
    memcpy(&uid, record_value(in_place), sizeof uid);
    uint32_t slot = session_open(&s->sessions, record_key(in_place), uid, r->header.lsn,
                                 r->header.hybrid_clock);
    if (slot == SESSION_NONE)
        return -EAGAIN;
    s->sessions.entries[slot].offset = r->offset;
    shard_live_add(s, r->offset, record_size(&r->header));
    landed_pending(s, r)->session_slot = slot;
    return 0;
}

static int apply_expire(struct shard *s, const struct landed *r)
{
    uint32_t slot = session_find_lsn(&s->sessions, r->header.session, SESSION_NONE);
    struct shard_pending *p = landed_pending(s, r);
    if (slot == SESSION_NONE) {
        p->record_kind = 0;
        return 0;
    }
    s->sessions.entries[slot].expiring = true;
    p->session_slot = slot;
    return 0;
}

static int apply_epoch(struct shard *s, const struct landed *r)
{
    struct record_epoch extension;
    if (r->header.extension_length != sizeof extension)
        return -EBADMSG;
    memcpy(&extension, s->arena + r->offset + RECORD_HEADER_BYTES, sizeof extension);
    const struct log *l = &s->log;
    if (extension.lsn_start != r->header.lsn ||
        (l->epoch_count != 0 && extension.epoch <= l->epochs[l->epoch_count - 1].epoch))
        return -EBADMSG;
    shard_epoch_add(s, &extension);
    shard_live_add(s, r->offset, record_size(&r->header));
    (void)landed_pending(s, r);
    return 0;
}

static int apply(struct shard *s, const struct landed *r)
{
    switch (r->header.kind) {
    case RECORD_DATA:
    case RECORD_TOMBSTONE:
        return apply_keyed(s, r);
    case RECORD_VOID:
        return apply_void(s, r);
    case RECORD_SESSION:
        return apply_session(s, r);
    case RECORD_EXPIRE:
        return apply_expire(s, r);
    case RECORD_EPOCH:
        return apply_epoch(s, r);
    default:
        return -EBADMSG;
    }
}

/* ---- checking ---- */

/* A transaction of length bytes (records sound, pads between) at the tail: apply all of it or none.
 */
static int apply_transaction(struct shard *s, uint64_t length)
{
    struct log *l = &s->log;
    const uint8_t *base = l->tail.base + l->tail.used;
    uint64_t lsn_end = l->lsn_end + length;
    for (uint64_t at = 0; at < length;) {
        struct landed r = {
            .offset = (uint64_t)(base + at - s->arena),
            .lsn_end = lsn_end,
        };
        int64_t size = record_check(base + at, length - at, &r.header);
        ASSERT(size > 0);
        int error = pending_is_full(s) ? -EAGAIN : 0;
        if (error == 0 && r.header.kind != RECORD_PAD)
            error = apply(s, &r);
        if (error != 0) {
            pending_undo(s, l->lsn_end);
            return error;
        }
        at += (uint64_t)size;
    }
    log_tail_advance(l, length);
    return 0;
}

/* Walk one transaction, or one pad between two.  Returns its length, 0 (not all there), or
 * -EBADMSG. */
static int64_t transaction_length(const struct shard *s)
{
    const struct log *l = &s->log;
    const uint8_t *base = l->tail.base + l->tail.used;
    uint64_t there = min_u64(segment_bytes(s) - l->tail.used, s->landing.lsn_received - l->lsn_end);
    for (uint64_t at = 0;;) {
        struct record h;
        int64_t size = record_check(base + at, there - at, &h);
        if (size == -EAGAIN)
            /* A segment holds whole transactions: what does not end in it is none. */
            return l->tail.used + there == segment_bytes(s) ? -EBADMSG : 0;
        if (size < 0)
            return size;
        bool pad = h.kind == RECORD_PAD;
        if (!pad && (h.lsn != l->lsn_end + at || h.log != l->number))
            return -EBADMSG;
        if ((pad && at == 0) || (!pad && (h.flags & RECORD_FLAG_TRANSACTION_END) != 0))
            return (int64_t)at + size;
        at += (uint64_t)size;
    }
}

/* The log's end is at a segment's start: go on in the segment that got bytes ahead.  False: none
 * did. */
static bool tail_follow(struct shard *s)
{
    struct log *l = &s->log;
    if (l->tail.base != NULL && l->tail.used < segment_bytes(s))
        return true;
    for (unsigned i = 0; i < LIMIT_LAND_SEGMENTS; i++) {
        struct land_segment *a = &s->landing.ahead[i];
        if (a->frame == 0 || a->lsn_start != l->lsn_end)
            continue;
        log_tail_adopt(l, a->frame - 1);
        a->frame = 0;
        return true;
    }
    return false;
}

static void received_drop(struct shard *s)
{
    s->landing.lsn_received = s->log.lsn_end;
    s->landing.range_count = 0;
}

int land_check(struct shard *s)
{
    uint64_t before = s->log.lsn_end;
    int error = 0;
    while (s->landing.lsn_received > s->log.lsn_end && error == 0 && tail_follow(s)) {
        int64_t length = transaction_length(s);
        if (length == 0)
            break;
        error = length < 0 ? (int)length : apply_transaction(s, (uint64_t)length);
    }
    if (error == -EBADMSG)
        received_drop(s);
    return error != 0 ? error : s->log.lsn_end != before;
}
