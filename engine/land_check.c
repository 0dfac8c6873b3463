/* land_check - what a follower was sent becomes its log: records judged, whole transactions indexed. */
#include "engine/land.h"

#include "engine/hash.h"
#include "engine/lease.h"
#include "engine/number.h"
#include "engine/pending.h"
#include "engine/plant.h"

#include <string.h>

/* Records walked before they are applied: enough that the misses of one hide behind those of the
 * others, few enough that what was fetched is still there. */
#define WALK_RECORDS 64u
_Static_assert(WALK_RECORDS >= LIMIT_TRANSACTION_RECORDS, "a walk holds a transaction");

static uint64_t segment_bytes(const struct shard *s)
{
    return UINT64_C(1) << s->geometry.segment_shift;
}

/* ---- applying ---- */

struct landed {
    struct record header; /* copy */
    uint64_t offset;
    uint64_t lsn_end;      /* of its transaction */
    uint32_t session_slot; /* a hint */
};

static struct shard_pending *landed_pending(struct shard *s, const struct landed *r)
{
    const struct shard_origin nobody = {.operation = 0};
    struct shard_pending *p = pending_add(s, &nobody);
    s->log.hybrid_clock = max_u64(s->log.hybrid_clock, r->header.hybrid_clock);
    p->lsn_wait = r->lsn_end;
    p->lsn = r->header.lsn;
    p->offset = r->offset;
    p->sequence = r->header.sequence;
    /* Why: a key's expiry acts as a tombstone from here on. */
    p->record_kind = record_is_keyed(&r->header) && r->header.kind != RECORD_DATA
                         ? (uint8_t)RECORD_TOMBSTONE
                         : r->header.kind;
    return p;
}

/* The session that wrote a record, if it is known; its sequence must be the next. */
static int landed_session(struct shard *s, const struct landed *r, uint32_t *slot)
{
    *slot = SESSION_NONE;
    if (r->header.session == 0)
        return 0;
    *slot = session_find_lsn(&s->sessions, r->header.session, r->session_slot);
    if (*slot == SESSION_NONE)
        return 0;
    struct session *session = &s->sessions.entries[*slot];
    if (UNLIKELY(r->header.lsn < s->lsn_visible) && r->header.sequence <= session->committed) {
        /* Why: a snapshot's sessions are ahead of where its log begins. */
        *slot = SESSION_NONE;
        return 0;
    }
    if (r->header.sequence != session->appended + 1 || session->expiring)
        return -EBADMSG;
    session->appended++;
    session->traffic_ns = r->header.hybrid_clock;
    return 0;
}

/* What the answer to the operation that made it says beside its LSN, as its leader answered. */
static int landed_number(const struct shard *s, const struct landed *r, int64_t *number)
{
    const struct record *h = &r->header;
    *number = 0;
    if (h->operation == RING_TRANSACTION) {
        *number = (h->flags & RECORD_FLAG_ELSE) == 0;
        return 0;
    }
    if (lease_is_operation(h->operation)) {
        *number = (int64_t)lease_number(shard_record(s, r->offset));
        return 0;
    }
    if (h->operation != RING_INCREMENT || h->kind != RECORD_DATA)
        return 0;
    return number_parse(record_value(shard_record(s, r->offset)), h->value_length, number) == 0
               ? 0
               : -EBADMSG;
}

/* Where the key's slot is.  The version before, which the record names, says so without a look at the key
 * that stands there, unless one of the replicas has forgotten it. */
static int place_find(struct shard *s, const struct landed *r, struct index_place *place)
{
    const struct record *h = &r->header;
    if (h->lsn_previous != 0) {
        int error = index_find_version(&s->index, h->hash, h->lsn_previous, place);
        if (error != 0 || LIKELY(place->value != 0))
            return error;
    }
    return index_find(&s->index, h->hash, record_key(shard_record(s, r->offset)), h->key_length,
                      place);
}

/* Link to what a slot names; it keeps what the slot tells of its size. */
static ALWAYS_INLINE uint64_t link_to(uint64_t slot)
{
    uint64_t size = layout_slot_size(slot);
    return layout_link_make(layout_slot_offset(slot)) | layout_link_units(size);
}

static int apply_keyed(struct shard *s, const struct landed *r)
{
    const struct record *h = &r->header;
    struct index_place place;
    /* Why the hash: the version before is found by it alone, and a wrong one would take another key's slot. */
    if (h->key_length == 0 ||
        h->hash != (uint32_t)hash_key(record_key(shard_record(s, r->offset)), h->key_length))
        return -EBADMSG;
    int error = place_find(s, r, &place);
    if (error == 0 && UNLIKELY(place.slot == NULL))
        error = index_make_room(&s->index, &place);
    if (error == 0 && place.value == 0)
        error = order_make_room(&s->order, 1);
    if (error != 0)
        return -EAGAIN;
    uint32_t slot;
    int64_t number;
    error = landed_number(s, r, &number);
    if (error == 0)
        error = landed_session(s, r, &slot);
    if (error != 0)
        return error;
    const struct index_record record = {.offset = r->offset, .size = record_size(h)};
    uint64_t link = place.value != 0 ? link_to(place.value) : 0;
    /* relaxed: W0 publishes it together with the record */
    atomic_store_explicit(shard_link(s, r->offset), link, memory_order_relaxed);
    shard_live_add(s, r->offset, record.size);
    const struct record *before = place.value != 0 && s->expiry.count != 0
                                      ? shard_record(s, layout_slot_offset(place.value))
                                      : NULL;
    index_set_sized(&s->index, &place, h->hash, record);
    if (place.value == 0)
        order_insert(&s->order, record_key(shard_record(s, r->offset)), h->key_length, h->hash);
    if (UNLIKELY(h->extension_length != 0 || before != NULL))
        expire_follow(s, before, shard_record(s, r->offset), 0);
    struct shard_pending *p = landed_pending(s, r);
    p->session_slot = slot;
    p->number = number;
    return 0;
}

static int apply_void(struct shard *s, const struct landed *r)
{
    struct lease_void extensions = {.token.token = 0};
    uint32_t slot;
    int64_t number;
    if (r->header.extension_length != sizeof extensions.result &&
        r->header.extension_length != sizeof extensions)
        return -EBADMSG;
    memcpy(&extensions, s->arena + r->offset + RECORD_HEADER_BYTES, r->header.extension_length);
    int error = landed_number(s, r, &number);
    if (error == 0)
        error = landed_session(s, r, &slot);
    if (error != 0)
        return error;
    struct shard_pending *p = landed_pending(s, r);
    p->session_slot = slot;
    p->lsn = r->header.lsn_previous;
    p->status = (uint8_t)extensions.result.status;
    p->number = extensions.result.status == RING_OK ? number : (int64_t)extensions.token.token;
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
    /* Why: it is forgotten once. */
    if (slot != SESSION_NONE && s->sessions.entries[slot].expiring)
        return -EBADMSG;
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
    if (LIKELY(record_is_keyed(&r->header)))
        return apply_keyed(s, r);
    switch (r->header.kind) {
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

/* Records from the log's end on, whole transactions first. */
struct walk {
    uint32_t count;    /* records, without pads */
    uint32_t complete; /* of them in whole transactions */
    uint64_t bytes;    /* of whole transactions and what pads follow them */
    struct landed records[WALK_RECORDS];
};

/* One record or pad at position at of the walk: as record_check, but what was judged when it was
 * copied is not judged again. */
static int64_t look(const struct shard *s, uint64_t at, uint64_t there, struct record *h)
{
    const struct log *l = &s->log;
    const uint8_t *bytes = l->tail.base + l->tail.used + at;
    int64_t size = LIKELY(l->lsn_end + at < s->landing.lsn_judged)
                       ? (int64_t)record_step(bytes, h)
                       : record_check(bytes, there - at, h);
    if (size > 0 && h->kind != RECORD_PAD && (h->lsn != l->lsn_end + at || h->log != l->number))
        return -EBADMSG;
    return size;
}

/* Bytes that were received into the tail segment and not walked. */
static uint64_t bytes_there(const struct shard *s)
{
    const struct log *l = &s->log;
    return min_u64(segment_bytes(s) - l->tail.used, s->landing.lsn_received - l->lsn_end);
}

static bool ends(const struct record *h)
{
    return (h->flags & RECORD_FLAG_TRANSACTION_END) != 0 || PLANTED(HALF_TRANSACTION);
}

/* The records in [first, walk.count) are a transaction that ends at lsn_end. */
static void walk_close(struct walk *w, uint64_t lsn_end)
{
    while (w->complete != w->count)
        w->records[w->complete++].lsn_end = lsn_end;
}

/* Walk up to WALK_RECORDS records and fetch what applying them will touch.  Returns 0; or, where there is no
 * whole transaction, -EBADMSG: what stands there is not what the leader wrote, or -EPROTO: a transaction of
 * more records than any leader writes. */
static int walk(struct shard *s, struct walk *w)
{
    const struct log *l = &s->log;
    const uint64_t there = bytes_there(s);
    const uint64_t offset = (uint64_t)(l->tail.base + l->tail.used - s->arena);
    int64_t size = 0;
    w->count = w->complete = 0;
    w->bytes = 0;
    for (uint64_t at = 0; at < there && w->count < WALK_RECORDS; at += (uint64_t)size) {
        struct landed *r = &w->records[w->count];
        size = look(s, at, there, &r->header);
        if (size < 0)
            break;
        if (r->header.kind != RECORD_PAD) {
            r->offset = offset + at;
            index_prefetch_version(&s->index, r->header.hash);
            r->session_slot = session_find_lsn(&s->sessions, r->header.session, SESSION_NONE);
            shard_prefetch_session(s, r->session_slot, r->header.sequence);
            w->count++;
            if (ends(&r->header))
                walk_close(w, l->lsn_end + at + (uint64_t)size);
        }
        if (w->complete == w->count)
            w->bytes = at + (uint64_t)size;
    }
    if (UNLIKELY(w->complete == 0 && w->count == WALK_RECORDS))
        return -EPROTO;
    /* A segment holds whole transactions: what does not end in it is none. */
    bool cut_off = size == -EAGAIN || (size > 0 && w->count < WALK_RECORDS && w->bytes < there);
    if (w->bytes == 0 && cut_off && l->tail.used + there == segment_bytes(s))
        return -EBADMSG;
    return w->bytes == 0 && size == -EBADMSG ? -EBADMSG : 0;
}

/* Move the log's end to lsn; its last whole transaction ends at lsn_whole. */
static void advance(struct shard *s, uint64_t lsn_whole, uint64_t lsn)
{
    uint64_t length = lsn - s->log.lsn_end;
    s->log.lsn_whole = lsn_whole;
    log_tail_advance(&s->log, length);
    s->bytes_appended += length; /* so that the cleaner keeps pace, as behind a leader's writes */
}

/* Apply the whole transactions of a walk, each of them whole or not at all. */
static int apply_walk(struct shard *s, const struct walk *w)
{
    uint64_t lsn_done = s->log.lsn_whole, lsn_end = s->log.lsn_end + w->bytes;
    int error = 0;
    for (uint32_t i = 0; i < w->complete; i++) {
        const struct landed *r = &w->records[i];
        error = pending_is_full(s) ? -EAGAIN : apply(s, r);
        if (UNLIKELY(error != 0)) {
            pending_undo(s, lsn_done);
            lsn_end = max_u64(lsn_done, s->log.lsn_end);
            break;
        }
        if (ends(&r->header))
            lsn_done = r->lsn_end;
    }
    advance(s, lsn_done, lsn_end);
    return error;
}

/* ---- all of it ---- */

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

void land_forget(struct shard *s)
{
    s->landing.lsn_received = s->log.lsn_end;
    s->landing.range_count = 0;
}

/* Some of what was received, as much as one walk takes. */
static int check_step(struct shard *s)
{
    struct walk w;
    int error = walk(s, &w);
    return error != 0 || w.bytes == 0 ? error : apply_walk(s, &w);
}

int land_check(struct shard *s)
{
    uint64_t before = s->log.lsn_end, last = 0;
    int error = 0;
    while (s->landing.lsn_received > s->log.lsn_end && s->log.lsn_end != last && error == 0 &&
           tail_follow(s)) {
        last = s->log.lsn_end;
        error = check_step(s);
    }
    if (error == -EBADMSG || error == -EPROTO)
        land_forget(s);
    return error != 0 ? error : s->log.lsn_end != before;
}
