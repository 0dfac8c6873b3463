#include "engine/snapshot.h"

#include "engine/checksum.h"
#include "engine/pending.h"

#include <string.h>

#define BUCKETS_PER_PIECE 4096u /* passed at most, however few of their keys are told */
#define SESSIONS_PER_PIECE 1024u
/* Part of a record that is worth the start of it: below, the next piece takes all. */
#define PART_BYTES_MIN 256u
#define CRC_FROM offsetof(struct snapshot_head, log)

enum stage { STAGE_HEADER, STAGE_EPOCHS, STAGE_KEYS, STAGE_SESSIONS, STAGE_END, STAGE_DONE };

/* What a stage comes back with, besides an error. */
enum told {
    TOLD_ALL,
    TOLD_FULL, /* the piece is full, or has cost enough */
};

int snapshot_begin(struct snapshot_cursor *c, const struct shard *s, uint64_t id)
{
    if (s->lsn_committed == 0 || s->lsn_committed < s->lsn_visible)
        return -EAGAIN;
    *c = (struct snapshot_cursor){
        .id = id,
        .lsn_start = s->lsn_committed & ~((UINT64_C(1) << s->geometry.segment_shift) - 1),
    };
    return 0;
}

/* ---- pieces ---- */

static uint64_t room(const struct snapshot_piece *p)
{
    return p->capacity - p->length;
}

static void add(struct snapshot_piece *p, const void *bytes, uint64_t length)
{
    memcpy(p->bytes + p->length, bytes, length);
    p->length += length;
}

/* An item of a fixed part and more bytes (NULL: none); the caller has looked that there is room. */
static void item_add(struct snapshot_piece *p, const struct snapshot_item *item, const void *fixed,
                     const void *more, uint64_t more_bytes)
{
    add(p, item, sizeof *item);
    add(p, fixed, item->bytes - more_bytes);
    if (more_bytes != 0)
        add(p, more, more_bytes);
}

static void piece_finish(struct snapshot_piece *p, struct snapshot_cursor *c, const struct shard *s)
{
    struct snapshot_head head = {
        .format = SNAPSHOT_FORMAT,
        .log = s->log.number,
        .number = c->piece_next++,
        .bytes = p->length,
        .id = c->id,
        .lsn_start = c->lsn_start,
    };
    memcpy(p->bytes, &head, sizeof head);
    head.crc = checksum(0, p->bytes + CRC_FROM, p->length - CRC_FROM);
    memcpy(p->bytes, &head, sizeof head);
}

/* ---- what stands in front ---- */

static int tell_header(struct snapshot_cursor *c, struct shard *s, struct snapshot_piece *p)
{
    (void)c;
    const struct index *x = &s->index;
    struct snapshot_header header = {
        .key_count = x->key_count,
        .live_charge = s->live_charge,
        .index_bits = x->growing ? x->next.bits : x->table.bits,
    };
    const struct snapshot_item item = {.kind = SNAPSHOT_HEADER, .bytes = sizeof header};
    item_add(p, &item, &header, NULL, 0);
    return TOLD_ALL;
}

static int tell_epochs(struct snapshot_cursor *c, struct shard *s, struct snapshot_piece *p)
{
    const struct snapshot_item item = {.kind = SNAPSHOT_EPOCH, .bytes = sizeof(struct log_epoch)};
    for (uint32_t i = 0; i < s->log.epoch_count; i++) {
        const struct log_epoch *e = &s->log.epochs[i];
        if (e->epoch <= c->epoch_told || e->lsn_start >= c->lsn_start)
            continue;
        if (room(p) < sizeof item + item.bytes)
            return TOLD_FULL;
        item_add(p, &item, e, NULL, 0);
        c->epoch_told = e->epoch;
    }
    return TOLD_ALL;
}

/* ---- keys ---- */

/* The newest committed version behind a slot, or NULL.  Heads may be pending; as many as that list
 * holds. */
static const struct record *committed_version(const struct shard *s, uint64_t slot)
{
    for (uint32_t i = 0; i <= LIMIT_PENDING; i++) {
        uint64_t offset = layout_slot_offset(slot);
        const struct record *r = shard_record(s, offset);
        if (r->lsn + record_size(r) <= s->lsn_committed)
            return r;
        slot = atomic_load_explicit(shard_link(s, offset), memory_order_relaxed);
        if (!(slot & LAYOUT_SLOT_VALID))
            return NULL;
    }
    return NULL;
}

/* As much of a record as there is room for. */
static enum told tell_record(struct snapshot_cursor *c, const struct record *r,
                             struct snapshot_piece *p)
{
    uint64_t size = record_size(r);
    uint64_t heads = sizeof(struct snapshot_item) + sizeof(struct snapshot_record);
    uint64_t told = c->part_lsn == r->lsn ? c->part_bytes : 0;
    uint64_t left = size - told;
    bool fits = room(p) >= heads + left;
    bool fits_next = p->capacity >= sizeof(struct snapshot_head) + heads + left;
    if (!fits && (fits_next || room(p) < heads + PART_BYTES_MIN))
        return TOLD_FULL;
    uint64_t bytes = fits ? left : (room(p) - heads) & ~UINT64_C(7);
    struct snapshot_record part = {
        .lsn = r->lsn,
        .size = (uint32_t)size,
        .offset = (uint32_t)told,
    };
    const struct snapshot_item item = {
        .kind = SNAPSHOT_RECORD,
        .bytes = (uint32_t)(sizeof part + bytes),
    };
    item_add(p, &item, &part, (const uint8_t *)r + told, bytes);
    c->part_lsn = fits ? 0 : r->lsn;
    c->part_bytes = fits ? 0 : (uint32_t)(told + bytes);
    return fits ? TOLD_ALL : TOLD_FULL;
}

static int tell_keys(struct snapshot_cursor *c, struct shard *s, struct snapshot_piece *p)
{
    uint32_t budget = BUCKETS_PER_PIECE;
    for (;;) {
        uint64_t slot;
        int met = index_walk(&s->index, &c->walk, &budget, &slot);
        if (met < 0)
            return met;
        if (met == 0)
            return c->walk.done ? TOLD_ALL : TOLD_FULL;
        const struct record *r = committed_version(s, slot);
        /* Why none from S0 on: the log has them, and the peer never holds a newer version than the
         * one that lands. */
        if (r != NULL && r->kind == RECORD_DATA && r->lsn < c->lsn_start) {
            if (tell_record(c, r, p) != TOLD_ALL)
                return TOLD_FULL;
            c->record_count++;
        }
        index_walk_on(&c->walk);
    }
}

/* ---- sessions ---- */

/* The record that opened it, and what it has been answered. */
static void tell_session(const struct shard *s, const struct session *from,
                         struct snapshot_piece *p)
{
    const struct record *opened = shard_record(s, from->offset);
    uint64_t size = record_size(opened);
    struct snapshot_record whole = {.lsn = opened->lsn, .size = (uint32_t)size};
    struct snapshot_item item = {
        .kind = SNAPSHOT_RECORD,
        .bytes = (uint32_t)(sizeof whole + size),
    };
    item_add(p, &item, &whole, opened, size);

    struct session_kept results[LIMIT_SESSION_WINDOW];
    int64_t numbers[LIMIT_SESSION_WINDOW];
    bool has_numbers = false;
    struct snapshot_session session = {
        .lsn_opened = from->lsn_opened,
        .committed = from->committed,
        .traffic_ns = from->traffic_ns,
        .result_count = min_u64(from->committed, LIMIT_SESSION_WINDOW),
    };
    for (uint64_t i = 0; i < session.result_count; i++) {
        uint64_t sequence = from->committed - session.result_count + 1 + i;
        results[i] = from->results[sequence % LIMIT_SESSION_WINDOW];
        numbers[i] =
            results[i].has_number != 0 ? from->numbers[sequence % LIMIT_SESSION_WINDOW] : 0;
        has_numbers |= results[i].has_number != 0;
        results[i].has_number = 0;
    }
    uint64_t bytes = session.result_count * sizeof results[0];
    item = (struct snapshot_item){
        .kind = SNAPSHOT_SESSION,
        .bytes = (uint32_t)(sizeof session + bytes),
    };
    item_add(p, &item, &session, results, bytes);
    if (!has_numbers)
        return;
    /* Why only then: a release that knows no numbers takes all that comes without them. */
    item = (struct snapshot_item){
        .kind = SNAPSHOT_NUMBERS,
        .bytes = (uint32_t)(session.result_count * sizeof numbers[0]),
    };
    item_add(p, &item, numbers, NULL, 0);
}

static uint64_t session_item_bytes(const struct session *from)
{
    uint64_t results = min_u64(from->committed, LIMIT_SESSION_WINDOW);
    return 3 * sizeof(struct snapshot_item) + sizeof(struct snapshot_record) +
           record_bytes(0, SESSION_ID_BYTES, sizeof from->uid) + sizeof(struct snapshot_session) +
           results * (sizeof(struct session_kept) + sizeof from->numbers[0]);
}

static int tell_sessions(struct snapshot_cursor *c, struct shard *s, struct snapshot_piece *p)
{
    uint32_t end = c->session_next + SESSIONS_PER_PIECE;
    for (; c->session_next < s->sessions.fresh; c->session_next++) {
        if (c->session_next == end)
            return TOLD_FULL;
        const struct session *from = &s->sessions.entries[c->session_next];
        /* Those opened from S0 on, and all that they did, are in the log. */
        if (from->lsn_opened != 0 && from->lsn_opened < c->lsn_start) {
            if (room(p) < session_item_bytes(from))
                return TOLD_FULL;
            tell_session(s, from, p);
            c->session_count++;
        }
    }
    return TOLD_ALL;
}

static int tell_end(struct snapshot_cursor *c, struct shard *s, struct snapshot_piece *p)
{
    struct snapshot_end end = {
        .lsn_end = s->lsn_committed,
        .hybrid_clock = s->log.hybrid_clock,
        .record_count = c->record_count,
        .session_count = c->session_count,
    };
    const struct snapshot_item item = {.kind = SNAPSHOT_END, .bytes = sizeof end};
    if (room(p) < sizeof item + sizeof end)
        return TOLD_FULL;
    item_add(p, &item, &end, NULL, 0);
    return TOLD_ALL;
}

int snapshot_next(struct snapshot_cursor *c, struct shard *s, struct snapshot_piece *p)
{
    static int (*const tell[])(struct snapshot_cursor *, struct shard *,
                               struct snapshot_piece *) = {tell_header, tell_epochs, tell_keys,
                                                           tell_sessions, tell_end};
    if (c->stage == STAGE_DONE || p->capacity < SNAPSHOT_PIECE_MIN)
        return -EINVAL;
    p->length = sizeof(struct snapshot_head);
    int told = TOLD_ALL;
    while (told == TOLD_ALL && c->stage != STAGE_DONE) {
        told = tell[c->stage](c, s, p);
        c->stage += told == TOLD_ALL;
    }
    if (told < 0 && p->length == sizeof(struct snapshot_head))
        return told;
    piece_finish(p, c, s);
    return c->stage != STAGE_DONE;
}
