#include "engine/index_bucket.h"
#include "engine/plant.h"
#include "engine/record.h"

#include <string.h>

#define OVERFLOW_SHARE 8u /* one overflow bucket per so many main ones */
#define HASH_BITS 32u
_Static_assert(LAYOUT_SLOT_SIZE_LEAST == RECORD_HEADER_BYTES, "a slot tells sizes above a header");

static struct index_table table_make(const struct index *x, uint32_t array, uint32_t bits)
{
    uint32_t buckets_per_page = 1u << x->page_shift;
    uint32_t overflow = (1u << bits) / OVERFLOW_SHARE;
    return (struct index_table){
        .array = array,
        .bits = bits,
        .overflow_count = overflow > buckets_per_page ? overflow : buckets_per_page,
    };
}

static uint32_t table_pages(const struct index *x, const struct index_table *t)
{
    return ((1u << t->bits) + t->overflow_count) >> x->page_shift;
}

uint32_t index_pages(const struct index *x)
{
    return table_pages(x, &x->table) + (x->growing ? table_pages(x, &x->next) : 0);
}

/* Any bucket of the page may be looked at as soon as it is there.  Not so in a growing table, whose buckets
 * are reached by MOVED marks alone, nor among those for overflow, which are reached by the one before: each
 * is cleared when it is first used.  Why then: a page is up to 2 MiB, and the writes of one pass may meet
 * many pages that are new. */
static bool is_open(const struct index *x, const struct index_table *t, uint32_t number)
{
    return t != &x->next && number < 1u << t->bits;
}

/* Give the page that holds this bucket memory, if it has none.  Returns 0 or -EAGAIN: the cleaner
 * has what is promised to the growing table, or the last frame is the cleaner's. */
static int page_ensure(struct index *x, const struct index_table *t, uint32_t number)
{
    uint32_t shift = x->page_shift;
    _Atomic uint32_t *page = &x->board->pages[t->array][number >> shift];
    if (LIKELY(atomic_load_explicit(page, memory_order_relaxed) != 0))
        return 0;
    if (t != &x->next && frames_available(x->frames) <= FRAMES_KEPT)
        return -EAGAIN;
    uint32_t frame;
    if (frames_take(x->frames, FRAME_INDEX, 0, &frame) != 0)
        return -EAGAIN;
    if (t == &x->next)
        frames_unreserve(x->frames, 1);
    /* Why: a page array serves many tables.  A reader that still goes by an older root must not take
     * this page for one of its own; its counter is older than this stamp.
     * relaxed: the page number publishes it */
    uint64_t count = atomic_load_explicit(&x->board->reclaim_count, memory_order_relaxed);
    atomic_store_explicit(&x->frames->directory[frame].stamp, count, memory_order_relaxed);
    if (is_open(x, t, number))
        index_buckets_clear((void *)(x->arena + ((uint64_t)frame << (shift + 6))), 1u << shift);
    atomic_store_explicit(page, frame + 1, memory_order_release);
    return 0;
}

int index_init(struct index *x, struct layout_board *board, struct frames *frames,
               struct reclaim *reclaim, uint8_t *arena)
{
    *x = (struct index){
        .board = board,
        .frames = frames,
        .reclaim = reclaim,
        .arena = arena,
        .page_shift = frames->header->geometry.segment_shift - 6,
    };
    x->table = table_make(x, 0, x->page_shift);
    int error = page_ensure(x, &x->table, 0);
    if (error == 0)
        error = page_ensure(x, &x->table, 1u << x->table.bits);
    if (error != 0)
        return error;
    x->root = x->table.bits;
    atomic_store_explicit(&board->index_root, x->root, memory_order_release);
    return 0;
}

static ALWAYS_INLINE uint32_t bucket_number(const struct index_table *t, uint32_t hash)
{
    return hash & ((1u << t->bits) - 1);
}

static bool is_moved(const struct index *x, uint32_t hash)
{
    if (!x->growing)
        return false;
    uint32_t number = bucket_number(&x->table, hash);
    return number < x->moved ||
           (index_meta_of(index_bucket_at(x, &x->table, number)) & LAYOUT_BUCKET_MOVED);
}

static const struct index_table *table_for(const struct index *x, uint32_t hash)
{
    return is_moved(x, hash) ? &x->next : &x->table;
}

/* After index_abandon there is no bucket to look at. */
static ALWAYS_INLINE bool is_abandoned(const struct index *x)
{
    return x->table.overflow_count == 0;
}

void index_prefetch(const struct index *x, uint32_t hash)
{
    if (UNLIKELY(is_abandoned(x)))
        return;
    const struct index_table *t = table_for(x, hash);
    PREFETCH_WRITE(index_bucket_at(x, t, bucket_number(t, hash)));
}

uint64_t index_prefetch_record(const struct index *x, uint32_t hash)
{
    if (UNLIKELY(is_abandoned(x)))
        return 0;
    const struct index_table *t = table_for(x, hash);
    const struct layout_bucket *b = index_bucket_at(x, t, bucket_number(t, hash));
    for (unsigned i = 0; i < LAYOUT_BUCKET_SLOTS; i++) {
        uint64_t slot = atomic_load_explicit(&b->slots[i], memory_order_relaxed);
        if (layout_slot_matches(slot, hash)) {
            PREFETCH(x->arena + layout_slot_offset(slot));
            PREFETCH(x->arena + layout_slot_offset(slot) + CACHE_LINE);
            return layout_slot_offset(slot);
        }
    }
    return 0;
}

/* LSN of the first byte of the tail segment that a record lies in; 0: it lies in none. */
static ALWAYS_INLINE uint64_t tail_start(const struct index *x, uint64_t offset)
{
    const struct layout_frame *f = &x->frames->directory[offset >> (x->page_shift + 6)];
    /* relaxed: written by this thread */
    return atomic_load_explicit(&f->kind, memory_order_relaxed) == FRAME_TAIL
               ? atomic_load_explicit(&f->lsn_start, memory_order_relaxed)
               : 0;
}

void index_prefetch_version(const struct index *x, uint32_t hash)
{
    if (UNLIKELY(is_abandoned(x)))
        return;
    const struct index_table *t = table_for(x, hash);
    const struct layout_bucket *b = index_bucket_at(x, t, bucket_number(t, hash));
    for (unsigned i = 0; i < LAYOUT_BUCKET_SLOTS; i++) {
        uint64_t slot = atomic_load_explicit(&b->slots[i], memory_order_relaxed);
        if (!layout_slot_matches(slot, hash))
            continue;
        uint64_t offset = layout_slot_offset(slot);
        if (layout_slot_size(slot) == 0 || tail_start(x, offset) == 0)
            PREFETCH(x->arena + offset);
        return;
    }
}

/* An overflow bucket at the end of a chain.  Returns 0, -EAGAIN or -ENOSPC. */
static int chain_extend(struct index *x, struct index_table *t, struct layout_bucket **last)
{
    if (t->overflow_used == t->overflow_count)
        return -ENOSPC;
    uint32_t number = (1u << t->bits) + t->overflow_used;
    int error = page_ensure(x, t, number);
    if (error != 0)
        return error;
    t->overflow_used++;
    struct layout_bucket *b = index_bucket_at(x, t, number);
    index_buckets_clear(b, 1);
    /* release: the page and the bucket's zeros are there before the number leads to them */
    atomic_store_explicit(&(*last)->meta, number, memory_order_release);
    *last = b;
    return 0;
}

/* Store a slot in the first empty place of a bucket that no reader knows yet.  False: it is full. */
static bool bucket_add(struct layout_bucket *b, uint64_t slot)
{
    for (unsigned i = 0; i < LAYOUT_BUCKET_SLOTS; i++) {
        if (atomic_load_explicit(&b->slots[i], memory_order_relaxed) == 0) {
            /* relaxed: the MOVED mark publishes it */
            atomic_store_explicit(&b->slots[i], slot, memory_order_relaxed);
            return true;
        }
    }
    return false;
}

/* The same for a chain. */
static int chain_add(struct index *x, struct index_table *t, uint32_t number, uint64_t slot)
{
    struct layout_bucket *b = index_bucket_at(x, t, number);
    for (;;) {
        if (bucket_add(b, slot))
            return 0;
        uint64_t meta = index_meta_of(b);
        if (meta != 0) {
            b = index_bucket_at(x, t, (uint32_t)meta);
            continue;
        }
        int error = chain_extend(x, t, &b);
        if (error != 0)
            return error;
    }
}

/* Bit of the hash that decides between the two buckets of the table twice as large. */
static ALWAYS_INLINE uint32_t growth_bit(const struct index_table *t, uint64_t slot)
{
    return (uint32_t)(slot >> (LAYOUT_SLOT_TAG_SHIFT + t->bits - LAYOUT_HASH_TAG_SHIFT)) & 1u;
}

/* All memory a move of this bucket can need, taken before the first slot is copied: a move either
 * happens whole or not at all.  Overflow suffices: see index_make_room. */
static int move_prepare(struct index *x, uint32_t number)
{
    struct index_table *next = &x->next;
    int error = page_ensure(x, next, number);
    if (error == 0)
        error = page_ensure(x, next, number + (1u << x->table.bits));
    uint32_t extra = 0;
    const struct layout_bucket *b = index_bucket_at(x, &x->table, number);
    for (uint64_t meta = index_meta_of(b); meta != 0; extra++) {
        b = index_bucket_at(x, &x->table, (uint32_t)meta);
        meta = index_meta_of(b);
    }
    for (uint32_t i = 0; i < extra && error == 0; i++)
        error = page_ensure(x, next, (1u << next->bits) + next->overflow_used + i);
    return error;
}

int index_bucket_move(struct index *x, uint32_t number)
{
    struct layout_bucket *first = index_bucket_at(x, &x->table, number);
    if (index_meta_of(first) & LAYOUT_BUCKET_MOVED)
        return 0;
    int error = move_prepare(x, number);
    if (error != 0)
        return error;
    index_buckets_clear(index_bucket_at(x, &x->next, number), 1);
    index_buckets_clear(index_bucket_at(x, &x->next, number + (1u << x->table.bits)), 1);
    const struct layout_bucket *b = first;
    for (;;) {
        for (unsigned i = 0; i < LAYOUT_BUCKET_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&b->slots[i], memory_order_relaxed);
            if (slot == 0)
                continue;
            uint32_t to = number + (growth_bit(&x->table, slot) << x->table.bits);
            error = chain_add(x, &x->next, to, slot);
            ASSERT(error == 0);
        }
        uint64_t meta = index_meta_of(b);
        if (meta == 0)
            break;
        b = index_bucket_at(x, &x->table, (uint32_t)meta);
    }
    /* release: the new slots are there before a reader is sent to them; the way to this bucket's
     * own overflow stays, for readers that looked at the mark before */
    atomic_store_explicit(&first->meta, index_meta_of(first) | LAYOUT_BUCKET_MOVED,
                          memory_order_release);
    for (unsigned i = 0; i < LAYOUT_BUCKET_SLOTS && PLANTED(BUCKET_EMPTIED); i++)
        atomic_store_explicit(&first->slots[i], 0, memory_order_relaxed);
    return 0;
}

/* In whole words: keys in records are padded with zeros, and most are a word or two. */
static bool key_matches(const struct index *x, uint64_t slot, const void *key, uint32_t key_length)
{
    const struct record *r = (const void *)(x->arena + layout_slot_offset(slot));
    if (r->key_length != key_length)
        return false;
    const uint8_t *mine = record_key(r);
    const uint8_t *other = key;
    for (; key_length >= 8; mine += 8, other += 8, key_length -= 8)
        if (memcmp(mine, other, 8) != 0)
            return false;
    uint64_t tail = 0;
    memcpy(&tail, other, key_length);
    return key_length == 0 || memcmp(mine, &tail, 8) == 0;
}

/* Which of the records that slots with a hash's tag name is meant: by key, or by place, or by lsn. */
struct wanted {
    const void *key; /* NULL: not by key */
    uint32_t key_length;
    uint64_t offset;
    uint64_t lsn; /* 0: not by lsn */
};

static ALWAYS_INLINE uint64_t lsn_of(const struct index *x, uint64_t offset)
{
    uint64_t start = tail_start(x, offset);
    uint64_t position = offset & ((UINT64_C(1) << (x->page_shift + 6)) - 1);
    return LIKELY(start != 0) ? start + position
                              : ((const struct record *)(const void *)(x->arena + offset))->lsn;
}

static ALWAYS_INLINE bool is_wanted(const struct index *x, uint64_t slot, const struct wanted *w)
{
    if (w->key != NULL)
        return key_matches(x, slot, w->key, w->key_length);
    uint64_t offset = layout_slot_offset(slot);
    return w->lsn != 0 ? lsn_of(x, offset) == w->lsn : offset == w->offset;
}

/* Walks the chain of a hash. */
static ALWAYS_INLINE int find(struct index *x, uint32_t hash, const struct wanted *wanted,
                              struct index_place *place)
{
    if (UNLIKELY(is_abandoned(x)))
        return -EAGAIN;
    if (UNLIKELY(x->growing)) {
        int error = index_bucket_move(x, bucket_number(&x->table, hash));
        if (error != 0)
            return error;
    }
    const struct index_table *t = x->growing ? &x->next : &x->table;
    struct layout_bucket *b = index_bucket_at(x, t, bucket_number(t, hash));
    *place = (struct index_place){.slot = NULL};
    for (;;) {
        place->last = b;
        place->chain++;
        for (unsigned i = 0; i < LAYOUT_BUCKET_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&b->slots[i], memory_order_relaxed);
            if (slot == 0 && place->slot == NULL)
                place->slot = &b->slots[i];
            if (layout_slot_matches(slot, hash) && is_wanted(x, slot, wanted)) {
                place->slot = &b->slots[i];
                place->value = slot;
                return 0;
            }
        }
        uint64_t meta = index_meta_of(b);
        if (meta == 0)
            return 0;
        b = index_bucket_at(x, t, (uint32_t)meta);
    }
}

int index_find(struct index *x, uint32_t hash, const void *key, uint32_t key_length,
               struct index_place *place)
{
    const struct wanted wanted = {.key = key, .key_length = key_length};
    return find(x, hash, &wanted, place);
}

int index_find_offset(struct index *x, uint32_t hash, uint64_t offset, struct index_place *place)
{
    const struct wanted wanted = {.offset = offset};
    return find(x, hash, &wanted, place);
}

int index_find_version(struct index *x, uint32_t hash, uint64_t lsn, struct index_place *place)
{
    ASSERT(lsn != 0);
    const struct wanted wanted = {.lsn = lsn};
    return find(x, hash, &wanted, place);
}

uint32_t index_candidates(const struct index *x, uint32_t hash, uint64_t *offsets, uint32_t max)
{
    const struct index_table *t = table_for(x, hash);
    const struct layout_bucket *b = index_bucket_at(x, t, bucket_number(t, hash));
    uint32_t count = 0;
    for (;;) {
        for (unsigned i = 0; i < LAYOUT_BUCKET_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&b->slots[i], memory_order_relaxed);
            if (!layout_slot_matches(slot, hash))
                continue;
            if (count < max)
                offsets[count] = layout_slot_offset(slot);
            count++;
        }
        uint64_t meta = index_meta_of(b);
        if (meta == 0)
            return count;
        b = index_bucket_at(x, t, (uint32_t)meta);
    }
}

/* The last growth's pages are not all stamped: the next one cannot begin, but soon. */
static bool growth_waits(const struct index *x)
{
    return x->growth_stamp > atomic_load_explicit(&x->board->reclaim_count, memory_order_relaxed);
}

int index_make_room(struct index *x, struct index_place *place)
{
    if (LIKELY(place->slot != NULL))
        return 0;
    if (place->chain == LIMIT_INDEX_CHAIN)
        return -ENOSPC;
    struct index_table *t = x->growing ? &x->next : &x->table;
    /* Why: while growing, as many overflow buckets stay untouched as the old table has in use; a
     * move needs at most that many: the keys of a chain with m of them fill two chains with at most
     * m between them. */
    if (x->growing && t->overflow_count - t->overflow_used <= x->table.overflow_used)
        return -EAGAIN;
    int error = chain_extend(x, t, &place->last);
    if (error != 0)
        return error == -ENOSPC && growth_waits(x) ? -EAGAIN : error;
    place->chain++;
    place->slot = &place->last->slots[0];
    return 0;
}

void index_set_sized(struct index *x, const struct index_place *place, uint32_t hash,
                     struct index_record record)
{
    uint64_t units = record.size != 0 ? layout_slot_units(record.size) : 0;
    x->key_count += place->value == 0;
    /* W0: release, pairs with R3 */
    atomic_store_explicit(place->slot, layout_slot_make(hash, record.offset) | units,
                          memory_order_release);
}

void index_erase(struct index *x, const struct index_place *place)
{
    ASSERT(x->key_count != 0 && place->value != 0);
    x->key_count--;
    /* release: the tombstone horizon was stored before */
    atomic_store_explicit(place->slot, 0, memory_order_release);
}

/* Four and a half keys per bucket of seven: one bucket in eleven overflows. */
static bool is_crowded(const struct index *x)
{
    return x->key_count * 2 > (UINT64_C(9) << x->table.bits) ||
           x->table.overflow_used * 8u > x->table.overflow_count * 7u;
}

uint32_t index_pages_wanted(const struct index *x)
{
    if (x->growing || !is_crowded(x))
        return 0;
    struct index_table next = table_make(x, 1 - x->table.array, x->table.bits + 1);
    uint32_t pages = table_pages(x, &next);
    return pages <= LIMIT_INDEX_PAGES ? pages : 0;
}

static void growth_begin(struct index *x)
{
    if (x->table.bits + 1 > HASH_BITS - 1 || growth_waits(x))
        return;
    struct index_table next = table_make(x, 1 - x->table.array, x->table.bits + 1);
    uint32_t pages = table_pages(x, &next);
    if (pages > LIMIT_INDEX_PAGES || frames_available(x->frames) < pages + FRAMES_KEPT ||
        !frames_reserve(x->frames, pages))
        return;
    for (uint32_t i = 0; i < pages; i++)
        atomic_store_explicit(&x->board->pages[next.array][i], 0, memory_order_relaxed);
    x->next = next;
    x->moved = 0;
    x->growing = true;
}

static bool nobody_pins(void *context, uint32_t frame)
{
    (void)context, (void)frame;
    return false;
}

static void growth_finish(struct index *x, const struct reclaim_now *now)
{
    struct index_table old = x->table;
    /* Why: a view pins the segment of its record, never a page, and the question goes to every agent. */
    struct reclaim_now unpinned = *now;
    unpinned.pinned = nobody_pins;
    uint32_t pages = table_pages(x, &x->next);
    for (uint32_t i = 0; i < pages; i++)
        if (atomic_load_explicit(&x->board->pages[x->next.array][i], memory_order_relaxed) == 0)
            frames_unreserve(x->frames, 1);
    x->table = x->next;
    x->growing = false;
    if (!x->unshown)
        index_show(x);
    for (uint32_t i = 0; i < table_pages(x, &old); i++) {
        uint32_t page = atomic_load_explicit(&x->board->pages[old.array][i], memory_order_relaxed);
        if (page != 0)
            reclaim_retire(x->reclaim, page - 1, &unpinned);
    }
    /* Why: the other page array may be rewritten only when no reader that started from the old root
     * can validate any more: after all frames retired so far are stamped. */
    x->growth_stamp =
        atomic_load_explicit(&x->board->reclaim_count, memory_order_relaxed) + x->reclaim->count;
}

void index_step(struct index *x, uint32_t buckets, const struct reclaim_now *now)
{
    if (!x->growing) {
        if (LIKELY(!is_crowded(x)))
            return;
        growth_begin(x);
        if (!x->growing)
            return;
    }
    uint32_t all = 1u << x->table.bits;
    for (; buckets != 0 && x->moved < all; buckets--) {
        if (index_bucket_move(x, x->moved) != 0)
            return;
        x->moved++;
    }
    if (x->moved == all)
        growth_finish(x, now);
}

/* ---- a second table ---- */

int index_build(struct index *x, const struct index *shown, uint32_t bits)
{
    ASSERT(!shown->growing);
    *x = (struct index){
        .board = shown->board,
        .frames = shown->frames,
        .reclaim = shown->reclaim,
        .arena = shown->arena,
        .page_shift = shown->page_shift,
        .unshown = true,
    };
    uint32_t array = 1 - shown->table.array;
    uint32_t least = x->page_shift;
    if (bits > HASH_BITS - 1)
        return -ERANGE;
    x->table = table_make(x, array, bits > least ? bits : least);
    uint32_t pages = table_pages(x, &x->table);
    if (pages > LIMIT_INDEX_PAGES) {
        x->table = (struct index_table){.array = array};
        return -ERANGE;
    }
    for (uint32_t i = 0; i < LIMIT_INDEX_PAGES; i++)
        atomic_store_explicit(&x->board->pages[array][i], 0, memory_order_relaxed);
    return (int)pages;
}

int index_build_step(struct index *x, uint32_t count)
{
    uint32_t shift = x->page_shift;
    uint32_t buckets = 1u << x->table.bits;
    /* One page of overflow: more of it comes as it is needed. */
    for (uint32_t number = 0; number <= buckets; number += 1u << shift) {
        if (atomic_load_explicit(&x->board->pages[x->table.array][number >> shift],
                                 memory_order_relaxed) != 0)
            continue;
        if (count-- == 0)
            return 1;
        int error = page_ensure(x, &x->table, number);
        if (error != 0)
            return error;
    }
    return 0;
}

void index_show(struct index *x)
{
    x->unshown = false;
    /* relaxed: written by this thread */
    uint64_t before = atomic_load_explicit(&x->board->index_root, memory_order_relaxed);
    x->root = (before & ~(LAYOUT_ROOT_SHOWN - 1)) + LAYOUT_ROOT_SHOWN + x->table.bits +
              (x->table.array != 0 ? LAYOUT_ROOT_ARRAY : 0);
    /* release: pairs with R3's load of the root */
    atomic_store_explicit(&x->board->index_root, x->root, memory_order_release);
}

/* Frames of a table's pages; those of a growing table that have none yet are promised no more. */
static uint32_t table_abandon(struct index *x, const struct index_table *t, uint32_t *frames)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < table_pages(x, t); i++) {
        _Atomic uint32_t *page = &x->board->pages[t->array][i];
        uint32_t frame = atomic_load_explicit(page, memory_order_relaxed);
        if (frame != 0)
            frames[count++] = frame - 1;
        else if (t == &x->next)
            frames_unreserve(x->frames, 1);
        /* relaxed: a reader finds the page, which its stamp judges, or none and begins again */
        atomic_store_explicit(page, 0, memory_order_relaxed);
    }
    return count;
}

uint32_t index_abandon(struct index *x, uint32_t *frames)
{
    if (is_abandoned(x))
        return 0;
    /* relaxed: written by this thread.  Why only then: the board may name another table by now.  release: it is there
     * before a page of the next one is. */
    if (atomic_load_explicit(&x->board->index_root, memory_order_relaxed) == x->root)
        atomic_store_explicit(&x->board->index_root, x->root | LAYOUT_ROOT_GIVEN_UP,
                              memory_order_release);
    uint32_t count = table_abandon(x, &x->table, frames);
    if (x->growing)
        count += table_abandon(x, &x->next, frames + count);
    x->growing = false;
    x->key_count = 0;
    x->table = (struct index_table){.array = x->table.array};
    return count;
}
