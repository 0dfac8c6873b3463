/* install_piece - pieces of a snapshot, as they come from a peer, become the state beside: install.h. */
#include "engine/checksum.h"
#include "engine/hash.h"
#include "engine/install.h"
#include "engine/pending.h"
#include "engine/snapshot.h"

#include <string.h>

#define TABLE_BYTES_PER_CALL (1u << 18) /* of a new index table; a page at least */
/* Of the ordered index, for a guess at its size: usual keys in nodes that are two thirds full. */
#define ORDER_BYTES_PER_KEY 36u
#define CRC_FROM offsetof(struct snapshot_head, log)

static uint64_t segment_bytes(const struct shard *s)
{
    return UINT64_C(1) << s->geometry.segment_shift;
}

/* ---- room ---- */

/* Whether so many frames are free besides the cleaner's: 0; -EAGAIN: they will be; -ENOSPC: not beside
 * what is shown. */
static int room_for(struct shard *s, uint64_t frames)
{
    struct install *in = &s->install;
    uint64_t wanted = frames + FRAMES_KEPT;
    uint64_t available = frames_available(&s->frames);
    if (available >= wanted) {
        in->frames_wanted = 0;
        return 0;
    }
    in->frames_wanted = wanted;
    pending_release_reads(s);
    bool comes = available + reclaim_coming(&s->reclaim) + in->retired_count >= wanted;
    return comes || in->segments_dirty != 0 ? -EAGAIN : -ENOSPC;
}

/* Memory for a record in the base region. */
static int base_claim(struct shard *s, uint64_t size, uint64_t *offset)
{
    struct install *in = &s->install;
    const struct log_segment *base = &in->cleaner.base;
    bool fits = base->base != NULL &&
                base->used + record_pad_before(base->used, size) + size <= segment_bytes(s);
    int error = fits ? 0 : room_for(s, 1);
    return error != 0 ? error : log_base_claim(&in->log, &in->cleaner.base, size, offset);
}

static void live_add(struct shard *s, uint64_t offset, uint64_t size)
{
    _Atomic uint32_t *live = &s->directory[offset >> s->geometry.segment_shift].bytes_live;
    /* relaxed: as in shard_live_add */
    uint32_t before = atomic_load_explicit(live, memory_order_relaxed);
    atomic_store_explicit(live, before + (uint32_t)size, memory_order_relaxed);
    s->install.live_bytes += size;
    s->install.live_charge += shard_charge(s, size);
}

/* ---- what stands in front ---- */

/* Half of what makes a table grow: it cannot while the other page array is in use. */
static uint32_t bits_for(const struct snapshot_header *h)
{
    bool half_full = h->key_count * 4 > UINT64_C(9) << h->index_bits;
    return h->index_bits + (half_full ? 1 : 0);
}

/* Make the table if it and the data will fit; if not, there is none and it is tried again. */
static int table_begin(struct shard *s, const struct snapshot_header *h)
{
    struct install *in = &s->install;
    int pages = index_build(&in->index, &s->index, bits_for(h));
    if (pages < 0)
        return -EPROTO;
    uint64_t wanted = (uint64_t)pages + 2;
    int error = 0;
    if (s->lsn_visible != UINT64_MAX) {
        /* Why an eighth more: ends of segments stay empty. */
        wanted += (h->live_charge * 9 / 8) >> s->geometry.segment_shift;
        if (s->order.enabled)
            wanted += ((h->key_count * ORDER_BYTES_PER_KEY) >> s->geometry.segment_shift) + 1;
        uint64_t live = index_pages(&s->index) + s->order.frame_count +
                        (s->live_charge >> s->geometry.segment_shift);
        error = live + wanted > frames_total(&s->frames) ? -ENOSPC : 0;
    }
    if (error == 0)
        error = room_for(s, wanted);
    if (error != 0)
        (void)index_abandon(&in->index, NULL);
    return error;
}

static int take_header(struct shard *s, const uint8_t *body, uint64_t bytes)
{
    struct install *in = &s->install;
    struct snapshot_header h;
    if (bytes != sizeof h || in->header_taken)
        return -EPROTO;
    memcpy(&h, body, sizeof h);
    if (h.index_bits > 31 || h.key_count >> 32 != 0 || h.live_charge >> LIMIT_ARENA_SHIFT != 0)
        return -EPROTO;
    int error = in->index.table.overflow_count == 0 ? table_begin(s, &h) : 0;
    if (error != 0)
        return error;
    uint32_t pages = TABLE_BYTES_PER_CALL >> s->geometry.segment_shift;
    error = index_build_step(&in->index, pages != 0 ? pages : 1);
    /* Why even if there is room: it may be in a chunk that does not exist yet. */
    if (error != 0)
        return error == -EAGAIN && room_for(s, 1) == -ENOSPC ? -ENOSPC : -EAGAIN;
    in->key_count_max = h.key_count;
    in->header_taken = true;
    return 0;
}

static bool epoch_is_sound(const struct install *in, const struct log_epoch *e)
{
    const struct log *l = &in->log;
    if (e->epoch == 0 || e->lossy > 1 || e->lsn_end_before > e->lsn_start || e->lsn_start == 0 ||
        e->lsn_start >= in->lsn_start || l->epoch_count == LIMIT_EPOCHS)
        return false;
    if (l->epoch_count == 0)
        return true;
    const struct log_epoch *last = &l->epochs[l->epoch_count - 1];
    return e->epoch > last->epoch && e->lsn_end_before > last->lsn_start;
}

/* Why a record is written for it: the epoch table is live state, and lies in the base region for
 * whoever walks that (the cleaner, a disk). */
static int take_epoch(struct shard *s, const uint8_t *body, uint64_t bytes)
{
    struct install *in = &s->install;
    struct log_epoch e;
    if (bytes != sizeof e)
        return -EPROTO;
    memcpy(&e, body, sizeof e);
    if (!epoch_is_sound(in, &e))
        return -EPROTO;
    struct record_epoch extension = {
        .type = RECORD_EXTENSION_EPOCH,
        .length = sizeof extension - 4,
        .lossy = (uint32_t)e.lossy,
        .epoch = e.epoch,
        .lsn_start = e.lsn_start,
        .lsn_end_before = e.lsn_end_before,
    };
    struct record header = {
        .format = RECORD_FORMAT,
        .kind = RECORD_EPOCH,
        .flags = RECORD_FLAG_TRANSACTION_END,
        .log = in->log.number,
        .extension_length = sizeof extension,
        .lsn = e.lsn_start,
    };
    uint64_t offset;
    int error = base_claim(s, record_size(&header), &offset);
    if (error != 0)
        return error;
    const struct record_parts parts = {.extension = &extension};
    record_write(s->arena + offset, &header, &parts);
    live_add(s, offset, record_size(&header));
    log_epoch_add(&in->log, &e);
    return 0;
}

/* ---- records ---- */

/* What came of a record is not needed: the base region is walked record by record, so pads. */
static void part_drop(struct shard *s)
{
    struct install_part *part = &s->install.part;
    if (part->size != 0)
        record_write_pad(s->arena + part->offset, part->size);
    *part = (struct install_part){.size = 0};
}

static void part_keep(struct shard *s)
{
    struct install_part *part = &s->install.part;
    /* relaxed: the root, or a slot, publishes it.  A cut mark, for what was before is not here. */
    atomic_store_explicit(shard_link(s, part->offset), LAYOUT_LINK_CUT, memory_order_relaxed);
    live_add(s, part->offset, part->size);
    *part = (struct install_part){.size = 0};
}

static int finish_data(struct shard *s, const struct record *h)
{
    struct install *in = &s->install;
    const uint8_t *key = record_key(shard_record(s, in->part.offset));
    if (h->key_length == 0 || h->hash != (uint32_t)hash_key(key, h->key_length))
        return -EPROTO;
    struct index_place place;
    int error = index_find(&in->index, h->hash, key, h->key_length, &place);
    ASSERT(error == 0); /* the table does not grow */
    if (place.value != 0) {
        /* A walk that went on after a growth tells some twice. */
        if (shard_record(s, layout_slot_offset(place.value))->lsn != h->lsn)
            return -EPROTO;
        part_drop(s);
        in->record_count++;
        return 0;
    }
    if (in->index.key_count >= in->key_count_max)
        return -EPROTO;
    error = index_make_room(&in->index, &place);
    if (error == 0)
        error = order_make_room(&in->order, 1);
    if (error == -EAGAIN) {
        error = room_for(s, 1);
        return error != 0 ? error : -EAGAIN;
    }
    if (error != 0)
        return -EPROTO; /* the leader's own table had room for them */
    index_set(&in->index, &place, h->hash, in->part.offset);
    order_insert(&in->order, key, h->key_length, h->hash);
    expire_follow(s, NULL, shard_record(s, in->part.offset), 0);
    part_keep(s);
    in->record_count++;
    return 0;
}

static int finish_session(struct shard *s, const struct record *h)
{
    struct install *in = &s->install;
    const struct record *r = shard_record(s, in->part.offset);
    uint32_t uid;
    if (h->key_length != SESSION_ID_BYTES || h->value_length != sizeof uid ||
        session_find(&in->sessions, record_key(r)) != SESSION_NONE ||
        session_find_lsn(&in->sessions, h->lsn, SESSION_NONE) != SESSION_NONE)
        return -EPROTO;
    memcpy(&uid, record_value(r), sizeof uid);
    uint32_t slot = session_open(&in->sessions, record_key(r), uid, h->lsn, h->hybrid_clock);
    if (slot == SESSION_NONE)
        return -EPROTO;
    in->sessions.entries[slot].offset = in->part.offset;
    part_keep(s);
    return 0;
}

/* All of it is here, in our copy. */
static int part_finish(struct shard *s)
{
    struct install *in = &s->install;
    const struct install_part *part = &in->part;
    struct record h;
    int64_t size = record_check(s->arena + part->offset, part->size, &h);
    if (size != part->size || h.kind == RECORD_PAD || h.log != in->log.number ||
        h.lsn != part->lsn || h.lsn == 0 || h.lsn >= in->lsn_start ||
        in->lsn_start - h.lsn < part->size)
        return -EPROTO;
    if (h.kind == RECORD_DATA)
        return finish_data(s, &h);
    return h.kind == RECORD_SESSION ? finish_session(s, &h) : -EPROTO;
}

static int part_begin(struct shard *s, const struct snapshot_record *r)
{
    part_drop(s); /* it was broken off */
    if (r->size < RECORD_HEADER_BYTES || r->size % 8 != 0 || r->size > segment_bytes(s))
        return -EPROTO;
    uint64_t offset;
    int error = base_claim(s, r->size, &offset);
    if (error == 0)
        s->install.part = (struct install_part){.lsn = r->lsn, .offset = offset, .size = r->size};
    return error;
}

static int take_record(struct shard *s, const uint8_t *body, uint64_t bytes)
{
    struct install_part *part = &s->install.part;
    struct snapshot_record r;
    if (bytes <= sizeof r || bytes % 8 != 0)
        return -EPROTO;
    memcpy(&r, body, sizeof r);
    uint64_t length = bytes - sizeof r;
    bool known = part->size != 0 && part->lsn == r.lsn && part->size == r.size;
    /* Why: it may be whole and have waited for memory of the index. */
    bool waits = known && part->bytes == part->size && r.offset + length == part->size;
    if (!waits) {
        int error = r.offset == 0 ? part_begin(s, &r) : 0;
        if (error != 0)
            return error;
        if ((r.offset != 0 && !known) || r.offset != part->bytes ||
            length > part->size - part->bytes)
            return -EPROTO;
        record_copy(s->arena + part->offset + part->bytes, body + sizeof r, length);
        part->bytes += (uint32_t)length;
    }
    return part->bytes == part->size ? part_finish(s) : 0;
}

/* ---- sessions ---- */

static int take_session(struct shard *s, const uint8_t *body, uint64_t bytes)
{
    struct install *in = &s->install;
    struct snapshot_session from;
    if (bytes < sizeof from)
        return -EPROTO;
    memcpy(&from, body, sizeof from);
    uint32_t slot = session_find_lsn(&in->sessions, from.lsn_opened, SESSION_NONE);
    if (from.lsn_opened == 0 || slot == SESSION_NONE ||
        from.result_count != min_u64(from.committed, LIMIT_SESSION_WINDOW) ||
        bytes != sizeof from + from.result_count * sizeof(struct session_kept))
        return -EPROTO;
    struct session *session = &in->sessions.entries[slot];
    if (!session->opening)
        return -EPROTO;
    for (uint64_t i = 0; i < from.result_count; i++) {
        uint64_t sequence = from.committed - from.result_count + 1 + i;
        struct session_kept *kept = &session->results[sequence % LIMIT_SESSION_WINDOW];
        memcpy(kept, body + sizeof from + i * sizeof *kept, sizeof *kept);
        kept->has_number = 0;
    }
    session->opening = false;
    session->committed = session->appended = from.committed;
    session->traffic_ns = from.traffic_ns;
    in->session_count++;
    in->session_taken = slot;
    return 0;
}

/* Of the results of the session that was taken last. */
static int take_numbers(struct shard *s, const uint8_t *body, uint64_t bytes)
{
    struct install *in = &s->install;
    if (in->session_count == 0)
        return -EPROTO;
    struct session *session = &in->sessions.entries[in->session_taken];
    uint64_t count = min_u64(session->committed, LIMIT_SESSION_WINDOW);
    if (count == 0 || bytes != count * sizeof(int64_t))
        return -EPROTO;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t at = (session->committed - count + 1 + i) % LIMIT_SESSION_WINDOW;
        memcpy(&session->numbers[at], body + i * sizeof(int64_t), sizeof(int64_t));
        session->results[at].has_number = session->numbers[at] != 0;
    }
    return 0;
}

/* ---- the end ---- */

static int take_end(struct shard *s, const uint8_t *body, uint64_t bytes)
{
    struct install *in = &s->install;
    struct snapshot_end end;
    if (bytes != sizeof end)
        return -EPROTO;
    memcpy(&end, body, sizeof end);
    if (end.lsn_end < in->lsn_start || end.lsn_end == UINT64_MAX ||
        end.record_count != in->record_count || end.session_count != in->session_count ||
        in->session_count != in->sessions.used)
        return -EPROTO;
    if (end.lsn_end < atomic_load_explicit(&s->board->lsn_committed, memory_order_relaxed))
        return -ESTALE;
    part_drop(s);
    install_adopt(s, &end);
    return 1;
}

/* ---- pieces ---- */

/* Returns 1: take the piece; 0: it was taken before; or an error of install_piece. */
static int piece_check(struct shard *s, const uint8_t *bytes, uint64_t length)
{
    struct install *in = &s->install;
    struct snapshot_head head;
    if (length < sizeof head || length % 8 != 0)
        return -EBADMSG;
    memcpy(&head, bytes, sizeof head);
    if (head.format != SNAPSHOT_FORMAT || head.bytes != length ||
        head.crc != checksum(0, bytes + CRC_FROM, length - CRC_FROM))
        return -EBADMSG;
    if (head.id != in->id || head.log != s->log.number)
        return -ESTALE;
    if (head.number != in->piece_next)
        return head.number < in->piece_next ? 0 : -ENOENT;
    if (in->position != 0)
        return head.crc == in->piece_crc && head.lsn_start == in->lsn_start ? 1 : -EPROTO;
    if (head.number == 0) {
        if (head.lsn_start == 0 || head.lsn_start % segment_bytes(s) != 0 ||
            head.lsn_start > INT64_MAX)
            return -EPROTO;
        in->lsn_start = head.lsn_start;
        (void)log_abandon(&in->log, in->lsn_start, NULL);
    } else if (head.lsn_start != in->lsn_start) {
        return -EPROTO;
    }
    in->piece_crc = head.crc;
    in->position = sizeof head;
    return 1;
}

static int take_item(struct shard *s, const struct snapshot_item *item, const uint8_t *body)
{
    if (!s->install.header_taken && item->kind != SNAPSHOT_HEADER)
        return -EPROTO;
    switch (item->kind) {
    case SNAPSHOT_HEADER:
        return take_header(s, body, item->bytes);
    case SNAPSHOT_EPOCH:
        return take_epoch(s, body, item->bytes);
    case SNAPSHOT_RECORD:
        return take_record(s, body, item->bytes);
    case SNAPSHOT_SESSION:
        return take_session(s, body, item->bytes);
    case SNAPSHOT_NUMBERS:
        return take_numbers(s, body, item->bytes);
    case SNAPSHOT_END:
        return take_end(s, body, item->bytes);
    default:
        return -EPROTO;
    }
}

int install_piece(struct shard *s, const uint8_t *bytes, uint64_t length)
{
    struct install *in = &s->install;
    if (in->beside != INSTALL_BUILDING)
        return -EINVAL;
    int result = piece_check(s, bytes, length);
    if (result <= 0)
        return result;
    for (result = 0; result == 0 && in->position < length;) {
        struct snapshot_item item;
        if (length - in->position < sizeof item)
            return -EPROTO;
        memcpy(&item, bytes + in->position, sizeof item);
        uint64_t end = in->position + sizeof item + item.bytes;
        if (item.bytes % 8 != 0 || end > length || (item.kind == SNAPSHOT_END && end != length))
            return -EPROTO;
        result = take_item(s, &item, bytes + in->position + sizeof item);
        if (result < 0)
            return result;
        in->position = end;
    }
    in->piece_next++;
    in->position = 0;
    return result;
}
