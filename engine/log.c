#include "engine/log.h"

#include <string.h>

void log_init(struct log *l, struct frames *frames, const struct log_place *place)
{
    uint32_t shift = frames->header->geometry.segment_shift;
    uint64_t lsn_start = place->lsn_start;
    ASSERT(lsn_start != 0 && (lsn_start & ((UINT64_C(1) << shift) - 1)) == 0);
    *l = (struct log){
        .frames = frames,
        .arena = place->arena,
        .number = place->number,
        .segment_shift = shift,
        .lsn_origin = lsn_start,
        .lsn_whole = lsn_start,
        .lsn_end = lsn_start,
        .lsn_ceiling = lsn_start,
        .queue = place->memory,
        .by_lsn = place->memory + frames->header->geometry.frames_per_shard,
    };
}

void log_grant(struct log *l, uint64_t lsn_ceiling)
{
    l->lsn_ceiling = max_u64(l->lsn_ceiling, lsn_ceiling);
}

static uint32_t segment_bytes(const struct log *l)
{
    return 1u << l->segment_shift;
}

static void queue_push(struct log *l, uint32_t frame)
{
    uint32_t capacity = l->frames->header->geometry.frames_per_shard;
    ASSERT(l->queue_count < capacity);
    l->queue[(l->queue_head + l->queue_count++) % capacity] = frame;
}

bool log_queue_pop(struct log *l, uint32_t *frame)
{
    if (l->queue_count == 0)
        return false;
    *frame = l->queue[l->queue_head];
    l->queue_head = (l->queue_head + 1) % l->frames->header->geometry.frames_per_shard;
    l->queue_count--;
    return true;
}

uint32_t log_queue_at(const struct log *l, uint32_t place)
{
    ASSERT(place < l->queue_count);
    return l->queue[(l->queue_head + place) % l->frames->header->geometry.frames_per_shard];
}

uint32_t log_queue_take(struct log *l, uint32_t place)
{
    uint32_t capacity = l->frames->header->geometry.frames_per_shard;
    uint32_t frame = log_queue_at(l, place);
    /* Why the older ones: most are taken near the front. */
    for (uint32_t i = place; i != 0; i--)
        l->queue[(l->queue_head + i) % capacity] = l->queue[(l->queue_head + i - 1) % capacity];
    l->queue_head = (l->queue_head + 1) % capacity;
    l->queue_count--;
    return frame;
}

static void segment_fill_up(struct log *l, struct log_segment *s)
{
    record_write_pad(s->base + s->used, segment_bytes(l) - s->used);
    s->used = segment_bytes(l);
}

static void segment_close(struct log *l, struct log_segment *s)
{
    atomic_store_explicit(&l->frames->directory[s->frame].bytes_used, s->used,
                          memory_order_relaxed);
    queue_push(l, s->frame);
    s->base = NULL;
}

static uint32_t *by_lsn(const struct log *l, uint64_t lsn)
{
    return &l->by_lsn[(lsn >> l->segment_shift) % l->frames->header->geometry.frames_per_shard];
}

static void by_lsn_set(struct log *l, uint64_t lsn, uint32_t frame)
{
    uint32_t *at = by_lsn(l, lsn);
    *at = frame + 1;
    if (l->shown != NULL)
        /* release: the directory's entry is there and, after a cut, the bytes of the copy; pairs with C2
         * (cursor.h) */
        atomic_store_explicit(&l->shown[at - l->by_lsn], frame + 1, memory_order_release);
}

void log_show(struct log *l, _Atomic uint32_t *table)
{
    l->shown = table;
    for (uint32_t i = 0; i < l->frames->header->geometry.frames_per_shard; i++)
        /* release: as in by_lsn_set */
        atomic_store_explicit(&table[i], l->by_lsn[i], memory_order_release);
}

static int segment_open(struct log *l, struct log_segment *s, enum frame_kind kind)
{
    uint32_t frame;
    int error = frames_take(l->frames, kind, kind == FRAME_TAIL ? l->lsn_end : 0, &frame);
    if (error != 0)
        return error;
    *s = (struct log_segment){
        .base = l->arena + ((uint64_t)frame << l->segment_shift),
        .frame = frame,
    };
    if (kind == FRAME_TAIL)
        by_lsn_set(l, l->lsn_end, frame);
    return 0;
}

/* Make the tail segment have room for size bytes, pads in front included. */
static int tail_make_room(struct log *l, uint64_t size)
{
    if (LIKELY(l->tail.base != NULL)) {
        uint64_t pad = record_pad_before(l->tail.used, size);
        if (LIKELY(l->tail.used + pad + size <= segment_bytes(l))) {
            if (pad != 0)
                record_write_pad(l->tail.base + l->tail.used, pad);
            l->tail.used += (uint32_t)pad;
            l->lsn_end += pad;
            return 0;
        }
        l->lsn_end += segment_bytes(l) - l->tail.used;
        segment_fill_up(l, &l->tail);
        segment_close(l, &l->tail);
    }
    if (frames_available(l->frames) <= FRAMES_KEPT)
        return -ENOSPC;
    return segment_open(l, &l->tail, FRAME_TAIL);
}

uint64_t log_next_lsn(const struct log *l, uint64_t size)
{
    if (l->tail.base == NULL)
        return l->lsn_end;
    uint64_t pad = record_pad_before(l->tail.used, size);
    uint64_t left = segment_bytes(l) - l->tail.used;
    return l->lsn_end + (pad + size <= left ? pad : left);
}

int log_append(struct log *l, struct record *header, const struct record_parts *parts,
               uint64_t clock_ns, uint64_t *offset)
{
    uint64_t size = record_size(header);
    ASSERT(size <= segment_bytes(l));
    if (UNLIKELY(l->lsn_end + segment_bytes(l) + size > l->lsn_ceiling))
        return -ERANGE;
    int error = tail_make_room(l, size);
    if (UNLIKELY(error != 0))
        return error;
    l->hybrid_clock = max_u64(l->hybrid_clock + 1, clock_ns);
    header->format = RECORD_FORMAT;
    header->log = l->number;
    header->lsn = l->lsn_end;
    header->hybrid_clock = l->hybrid_clock;
    header->flags |= l->unfinished ? RECORD_FLAG_CONTINUES : 0;
    l->unfinished = (header->flags & RECORD_FLAG_TRANSACTION_END) == 0;
    uint8_t *at = l->tail.base + l->tail.used;
    record_write(at, header, parts);
    *offset = (uint64_t)(at - l->arena);
    l->tail.used += (uint32_t)size;
    l->lsn_end += size;
    if ((header->flags & RECORD_FLAG_TRANSACTION_END) != 0)
        l->lsn_whole = l->lsn_end;
    return 0;
}

static uint64_t align_up_to(uint64_t n, uint64_t step)
{
    return (n + step - 1) / step * step;
}

void log_jump(struct log *l, uint64_t lsn_floor)
{
    uint64_t segments = l->frames->header->geometry.frames_per_shard;
    uint64_t next = align_up(l->lsn_end, segment_bytes(l)) >> l->segment_shift;
    uint64_t number = align_up(lsn_floor, segment_bytes(l)) >> l->segment_shift;
    ASSERT(number >= next);
    /* Why: so that its place in by_lsn is that of no segment before the gap. */
    number = next + align_up_to(number - next, segments);
    if (l->tail.base != NULL) {
        segment_fill_up(l, &l->tail);
        segment_close(l, &l->tail);
    }
    l->lsn_end = number << l->segment_shift;
}

void log_epoch_add(struct log *l, const struct log_epoch *entry)
{
    ASSERT(l->epoch_count == 0 || entry->epoch > l->epochs[l->epoch_count - 1].epoch);
    if (l->epoch_count == LIMIT_EPOCHS) {
        /* Why forgotten and not joined to its neighbour: a range that stood for two epochs would find a
         * prefix in common where there is none. */
        l->epoch_count--;
        memmove(&l->epochs[0], &l->epochs[1], l->epoch_count * sizeof l->epochs[0]);
    }
    l->epochs[l->epoch_count++] = *entry;
}

uint64_t log_epoch_at(const struct log *l, uint64_t lsn)
{
    for (uint32_t i = l->epoch_count; i-- > 0;)
        if (l->epochs[i].lsn_start <= lsn)
            return l->epochs[i].epoch;
    return 0;
}

int log_base_claim(struct log *l, struct log_segment *base, uint64_t size, uint64_t *offset)
{
    if (base->base != NULL) {
        uint64_t pad = record_pad_before(base->used, size);
        if (base->used + pad + size > segment_bytes(l)) {
            segment_fill_up(l, base);
            segment_close(l, base);
        } else if (pad != 0) {
            record_write_pad(base->base + base->used, pad);
            base->used += (uint32_t)pad;
        }
    }
    if (base->base == NULL) {
        int error = segment_open(l, base, FRAME_BASE);
        if (error != 0)
            return error;
    }
    *offset = (uint64_t)(base->base + base->used - l->arena);
    base->used += (uint32_t)size;
    return 0;
}

bool log_base_close(struct log *l, struct log_segment *base)
{
    if (base->base == NULL)
        return false;
    if (base->used != segment_bytes(l))
        segment_fill_up(l, base);
    segment_close(l, base);
    return true;
}

void log_tail_replace(struct log *l, uint32_t place, uint32_t frame)
{
    uint64_t lsn =
        atomic_load_explicit(&l->frames->directory[frame].lsn_start, memory_order_relaxed);
    if (place == l->queue_count) {
        ASSERT(l->tail.base != NULL);
        l->tail.base = l->arena + ((uint64_t)frame << l->segment_shift);
        l->tail.frame = frame;
    } else {
        l->queue[(l->queue_head + place) % l->frames->header->geometry.frames_per_shard] = frame;
    }
    by_lsn_set(l, lsn, frame);
}

/* ---- the tail as bytes ---- */

static uint64_t segment_start(const struct log *l, uint64_t lsn)
{
    return lsn & ~((uint64_t)segment_bytes(l) - 1);
}

const uint8_t *log_bytes_at(const struct log *l, uint64_t lsn, uint64_t *available)
{
    uint32_t known = *by_lsn(l, lsn);
    if (lsn >= l->lsn_end || known == 0)
        return NULL;
    const struct layout_frame *entry = &l->frames->directory[known - 1];
    /* Why both: a frame may have been retired, or serve another LSN of the same remainder. */
    if (atomic_load_explicit(&entry->kind, memory_order_relaxed) != FRAME_TAIL ||
        atomic_load_explicit(&entry->lsn_start, memory_order_relaxed) != segment_start(l, lsn))
        return NULL;
    uint64_t position = lsn - segment_start(l, lsn);
    *available = min_u64(segment_bytes(l) - position, l->lsn_end - lsn);
    return l->arena + ((uint64_t)(known - 1) << l->segment_shift) + position;
}

void log_tail_adopt(struct log *l, uint32_t frame)
{
    ASSERT(l->lsn_end == segment_start(l, l->lsn_end));
    if (l->tail.base != NULL) {
        ASSERT(l->tail.used == segment_bytes(l));
        segment_close(l, &l->tail);
    }
    l->tail = (struct log_segment){
        .base = l->arena + ((uint64_t)frame << l->segment_shift),
        .frame = frame,
    };
    by_lsn_set(l, l->lsn_end, frame);
}

void log_tail_advance(struct log *l, uint64_t bytes)
{
    ASSERT(l->tail.used + bytes <= segment_bytes(l));
    l->tail.used += (uint32_t)bytes;
    l->lsn_end += bytes;
}

static uint64_t lsn_start_of(const struct log *l, uint32_t frame)
{
    return atomic_load_explicit(&l->frames->directory[frame].lsn_start, memory_order_relaxed);
}

static bool is_tail(const struct log *l, uint32_t frame)
{
    return atomic_load_explicit(&l->frames->directory[frame].kind, memory_order_relaxed) ==
           FRAME_TAIL;
}

/* Take a full tail segment that starts in [from, to) off the queue, wherever it stands there. */
static bool queue_take(struct log *l, uint64_t from, uint64_t to, uint32_t *frame)
{
    uint32_t capacity = l->frames->header->geometry.frames_per_shard;
    for (uint32_t i = l->queue_count; i-- > 0;) {
        uint32_t at = l->queue[(l->queue_head + i) % capacity];
        if (!is_tail(l, at) || lsn_start_of(l, at) < from || lsn_start_of(l, at) >= to)
            continue;
        *frame = log_queue_take(l, i);
        return true;
    }
    return false;
}

bool log_take_above(struct log *l, uint64_t lsn, uint32_t *frame)
{
    if (l->tail.base != NULL && lsn_start_of(l, l->tail.frame) >= lsn) {
        *frame = l->tail.frame;
        l->tail.base = NULL;
        return true;
    }
    return queue_take(l, lsn, UINT64_MAX, frame);
}

bool log_end_at(struct log *l, uint64_t lsn, uint32_t frame, uint32_t *replaced)
{
    uint64_t start = segment_start(l, lsn);
    l->lsn_whole = l->lsn_end = lsn;
    if (start == lsn)
        return false;
    if (l->tail.base != NULL)
        *replaced = l->tail.frame;
    else if (!queue_take(l, start, lsn, replaced))
        ASSERT(false); /* what is not committed is not cleaned */
    l->tail = (struct log_segment){
        .base = l->arena + ((uint64_t)frame << l->segment_shift),
        .frame = frame,
        .used = (uint32_t)(lsn - start),
    };
    by_lsn_set(l, start, frame);
    return true;
}

uint32_t log_abandon(struct log *l, uint64_t lsn, uint32_t *frames)
{
    uint32_t count = 0;
    while (l->queue_count != 0 && log_queue_pop(l, &frames[count]))
        count++;
    if (l->tail.base != NULL)
        frames[count++] = l->tail.frame;
    l->tail.base = NULL;
    l->lsn_origin = 0;
    l->lsn_base = lsn;
    l->lsn_whole = l->lsn_end = lsn;
    l->epoch_count = 0;
    memset(l->by_lsn, 0, l->frames->header->geometry.frames_per_shard * sizeof l->by_lsn[0]);
    if (l->shown != NULL)
        log_show(l, l->shown);
    l->shown = NULL;
    return count;
}
