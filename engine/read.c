#include "engine/read.h"

#include "engine/hash.h"

#include <string.h>

static ALWAYS_INLINE uint64_t load(const _Atomic uint64_t *word)
{
    /* relaxed: inside the protocol; R5 and R6 judge all of them */
    return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)word, memory_order_relaxed);
}

static ALWAYS_INLINE uint64_t load_acquire(const _Atomic uint64_t *word)
{
    return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)word, memory_order_acquire);
}

static ALWAYS_INLINE const struct layout_lease *lease_of(const struct read_space *s,
                                                         const struct layout_board *board)
{
    uint32_t cell = atomic_load_explicit((_Atomic uint32_t *)(uintptr_t)&board->lease_cell,
                                         memory_order_relaxed);
    return &s->node->leases[cell % LIMIT_LEASE_CELLS];
}

/* The key's bytes, the last word filled up with zeros.  Why not one memcpy: most keys are 8 to 16
 * bytes, and a call for a length that the compiler does not know costs more than they do. */
static ALWAYS_INLINE void words_init(uint64_t *words, const uint8_t *key, size_t key_length)
{
    size_t last = (key_length - 1) / 8;
    if (LIKELY(key_length >= 8 && key_length <= 16)) {
        uint64_t tail;
        memcpy(&tail, key + key_length - 8, 8);
        memcpy(&words[0], key, 8);
        words[last] = last != 0 ? tail >> (8 * (16 - key_length)) : words[0];
        return;
    }
    words[last] = 0;
    memcpy(words, key, key_length);
}

void read_key_init(struct read_key *k, const struct read_space *s, const void *key,
                   size_t key_length)
{
    ASSERT(key_length != 0 && key_length <= LIMIT_KEY_BYTES);
    k->hash = hash_key(key, key_length);
    k->shard = hash_shard(key, key_length, k->hash, s->partition_prefix, s->geometry.shard_count);
    k->length = (uint32_t)key_length;
    words_init(k->words, key, key_length);
}

void read_begin(struct read_point *p, const struct read_space *s, uint32_t shard)
{
    const struct layout_board *board = &s->boards[shard];
    p->board = board;
    p->frame_count = 0;
    /* R1: acquire, pairs with W4 */
    p->reclaim_count = load_acquire(&board->reclaim_count);
    p->lease_generation = load_acquire(&lease_of(s, board)->generation);
    p->board_generation = load_acquire(&board->lease_generation);
    p->pending = false;
    /* R2: acquire, pairs with W1: what is committed is whole */
    p->lsn = load_acquire(&board->lsn_committed);
}

static ALWAYS_INLINE void touch(struct read_point *p, uint64_t frame)
{
    if (LIKELY(p->frame_count < READ_FRAMES_MAX))
        p->frames[p->frame_count] = (uint32_t)frame;
    p->frame_count++;
}

/* ---- R3: the slot ---- */

struct table {
    uint32_t array;
    uint32_t bits;
    uint32_t page_shift; /* log2 of the buckets of a page */
};

static ALWAYS_INLINE struct table table_now(const struct read_space *s,
                                            const struct layout_board *board)
{
    /* R3: acquire, pairs with the store of the root */
    uint64_t root = load_acquire(&board->index_root);
    return (struct table){
        .array = (root & LAYOUT_ROOT_ARRAY) != 0,
        .bits = (uint32_t)(root & LAYOUT_ROOT_BITS_MASK) & 31u,
        .page_shift = s->geometry.segment_shift - 6,
    };
}

/* Returns NULL if the number leads nowhere: -EFAULT or -EAGAIN in *error. */
static ALWAYS_INLINE const struct layout_bucket *bucket_at(struct read_point *p,
                                                           const struct read_space *s,
                                                           const struct table *t, uint32_t number,
                                                           int *error)
{
    uint32_t page_number = number >> t->page_shift;
    if (UNLIKELY(page_number >= LIMIT_INDEX_PAGES)) {
        *error = -EAGAIN;
        return NULL;
    }
    uint32_t page =
        atomic_load_explicit((_Atomic uint32_t *)(uintptr_t)&p->board->pages[t->array][page_number],
                             memory_order_acquire);
    uint64_t frame = (uint64_t)page - 1;
    uint64_t offset = frame << s->geometry.segment_shift;
    if (UNLIKELY(page == 0 ||
                 offset + (UINT64_C(1) << s->geometry.segment_shift) > s->mapped_bytes)) {
        *error = page == 0 ? -EAGAIN : -EFAULT;
        return NULL;
    }
    touch(p, frame);
    return (const struct layout_bucket *)(const void *)(s->arena + offset) +
           (number & ((1u << t->page_shift) - 1));
}

/* ---- R4: the record ---- */

static ALWAYS_INLINE uint64_t word_at(const uint8_t *at)
{
    return load((const _Atomic uint64_t *)(const void *)at);
}

static bool key_words_equal(const uint8_t *at, const struct read_key *k)
{
    uint64_t different = word_at(at) ^ k->words[0];
    for (uint32_t i = 1; i < (k->length + 7) / 8; i++)
        different |= word_at(at + (size_t)i * 8) ^ k->words[i];
    return different == 0;
}

/* Lines behind the header's of a record with a key and value of a few dozen bytes; past the arena a
 * prefetch does nothing. */
static ALWAYS_INLINE void record_prefetch_rest(const uint8_t *at)
{
    PREFETCH(at + CACHE_LINE);
    PREFETCH(at + 2 * (size_t)CACHE_LINE);
}

/* The header's words that a reader needs, each loaded once. */
struct header_view {
    uint64_t kinds;   /* crc, format, kind, flags, operation */
    uint64_t lengths; /* key length, extension length, hash */
    uint64_t value_length;
    uint64_t lsn;
    uint64_t size;
};

static ALWAYS_INLINE struct header_view header_load(const uint8_t *at)
{
    struct header_view h = {
        .kinds = word_at(at),
        .value_length = word_at(at + 8) >> 32,
        .lengths = word_at(at + 16),
        .lsn = word_at(at + 24),
    };
    h.size = record_bytes((h.lengths >> 16) & 0xffff, h.lengths & 0xffff, h.value_length);
    return h;
}

static ALWAYS_INLINE uint32_t header_kind(const struct header_view *h)
{
    return (uint32_t)(h->kinds >> 40) & 0xff;
}

/* Walk from a slot to the newest version at or below p->lsn.
 * Returns 1 found, 0 not (found->lsn of a tombstone), 2 the slot names another key, or a read
 * error. */
static int version_find(struct read_point *p, const struct read_space *s, const struct read_key *k,
                        uint64_t slot, struct read_found *found)
{
    uint64_t segment = UINT64_C(1) << s->geometry.segment_shift;
    for (unsigned i = 0; i < LIMIT_VERSION_WALK; i++) {
        uint64_t offset = layout_slot_offset(slot);
        uint64_t position = offset & (segment - 1);
        uint64_t frame = offset >> s->geometry.segment_shift;
        /* Why this suffices: whole chunks are mapped, and no segment crosses one */
        if (UNLIKELY(offset >= s->mapped_bytes))
            return -EFAULT;
        if (UNLIKELY(position + RECORD_HEADER_BYTES > segment))
            return -EAGAIN;
        const uint8_t *at = s->arena + offset;
        record_prefetch_rest(at);
        struct header_view h = header_load(at);
        touch(p, frame);
        if (UNLIKELY(h.size > segment - position))
            return -EAGAIN;
        uint64_t extension_bytes = align_up((h.lengths >> 16) & 0xffff, 8);
        const uint8_t *key = at + RECORD_HEADER_BYTES + extension_bytes;
        if (i == 0 && ((h.lengths & 0xffff) != k->length || !key_words_equal(key, k)))
            return 2;
        if (LIKELY(h.lsn + h.size <= p->lsn)) {
            found->lsn = h.lsn;
            if (UNLIKELY(header_kind(&h) != RECORD_DATA))
                return 0;
            found->record = at;
            found->value = key + align_up(h.lengths & 0xffff, 8);
            found->value_length = (uint32_t)h.value_length;
            found->frame = (uint32_t)frame;
            return 1;
        }
        p->pending = true;
        uint64_t links = layout_links_of(&s->geometry, frame);
        if (UNLIKELY(links + segment / 8 > s->mapped_bytes))
            return -EFAULT;
        slot = word_at(s->arena + links + (position >> 6) * 8);
        if (slot == 0)
            return 0;
        if (!(slot & LAYOUT_SLOT_VALID))
            return -EAGAIN; /* cut: what this commit LSN showed is gone, a newer one shows more */
    }
    return -EAGAIN;
}

/* Slots of a bucket that may name the key, a bit each.  Why all at once: where a walk would stop
 * cannot be predicted. */
static ALWAYS_INLINE uint32_t slots_matching(const struct layout_bucket *b, uint32_t hash)
{
    uint32_t matching = 0;
    for (unsigned i = 0; i < LAYOUT_BUCKET_SLOTS; i++)
        /* relaxed: slot_again loads those that count once more */
        matching |= (uint32_t)layout_slot_matches(load(&b->slots[i]), hash) << i;
    return matching;
}

/* The first of those slots, 0 if it names another key by now. */
static ALWAYS_INLINE uint64_t slot_again(const struct layout_bucket *b, uint32_t matching,
                                         uint32_t hash)
{
    /* R3: acquire, pairs with W0; on x86 it costs nothing more than relaxed */
    uint64_t slot = load_acquire(&b->slots[__builtin_ctz(matching)]);
    return LIKELY(layout_slot_matches(slot, hash)) ? slot : 0;
}

static ALWAYS_INLINE int find_in(struct read_point *p, const struct read_space *s,
                                 const struct read_key *k, struct table t, struct read_found *found)
{
    uint32_t hash = (uint32_t)k->hash;
    int error = 0;
    const struct layout_bucket *b = bucket_at(p, s, &t, hash & ((1u << t.bits) - 1), &error);
    if (UNLIKELY(b == NULL))
        return error;
    /* acquire, and before the slots: a bucket that is not marked after R2 held, whenever its slots
     * are loaded later, at least all that was committed at R2 */
    uint64_t meta = load_acquire(&b->meta);
    if (UNLIKELY(meta & LAYOUT_BUCKET_MOVED)) {
        t.array ^= 1;
        t.bits++;
        b = bucket_at(p, s, &t, hash & ((1u << t.bits) - 1), &error);
        if (b == NULL)
            return error;
        meta = load_acquire(&b->meta);
        if (meta & LAYOUT_BUCKET_MOVED)
            return -EAGAIN;
    }
    found->lsn = 0;
    for (unsigned chain = 0; chain < LIMIT_INDEX_CHAIN; chain++) {
        for (uint32_t m = slots_matching(b, hash); m != 0; m &= m - 1) {
            uint64_t slot = slot_again(b, m, hash);
            int result = slot != 0 ? version_find(p, s, k, slot, found) : 2;
            if (LIKELY(result != 2))
                return result;
        }
        if (LIKELY((uint32_t)meta == 0))
            return 0;
        b = bucket_at(p, s, &t, (uint32_t)meta, &error);
        if (UNLIKELY(b == NULL))
            return error;
        meta = load_acquire(&b->meta);
    }
    return -EAGAIN;
}

int read_find(struct read_point *p, const struct read_space *s, const struct read_key *k,
              struct read_found *found)
{
    struct table t = table_now(s, p->board);
    int result = find_in(p, s, k, t, found);
    /* Why: no stamp covers the page arrays, and the growth after next uses ours for another table.
     * The pages' numbers were loaded with acquire, so one of another table comes with a newer root;
     * roots never come back, since tables only grow. */
    struct table now = table_now(s, p->board);
    return LIKELY(now.bits == t.bits) ? result : -EAGAIN;
}

/* ---- batches ---- */

/* Bucket of a key in the current table, for prefetching only: a guess that need not be right. */
static const struct layout_bucket *bucket_guess(const struct read_space *s,
                                                const struct read_key *k)
{
    struct read_point p = {.board = &s->boards[k->shard]};
    struct table t = table_now(s, p.board);
    int error;
    return bucket_at(&p, s, &t, (uint32_t)k->hash & ((1u << t.bits) - 1), &error);
}

void read_prefetch_bucket(const struct read_space *s, const struct read_key *k)
{
    const struct layout_bucket *b = bucket_guess(s, k);
    if (b != NULL)
        PREFETCH(b);
}

void read_prefetch_record(const struct read_space *s, const struct read_key *k)
{
    const struct layout_bucket *b = bucket_guess(s, k);
    uint32_t matching = b != NULL ? slots_matching(b, (uint32_t)k->hash) : 0;
    uint64_t slot = matching != 0 ? slot_again(b, matching, (uint32_t)k->hash) : 0;
    uint64_t offset = layout_slot_offset(slot);
    if (slot == 0 || offset >= s->mapped_bytes)
        return;
    PREFETCH(s->arena + offset);
    record_prefetch_rest(s->arena + offset);
}

/* ---- the rest ---- */

void read_copy(const struct read_found *found, void *buffer, size_t capacity)
{
    size_t length = found->value_length < capacity ? found->value_length : capacity;
    const uint8_t *from = found->value;
    uint8_t *to = buffer;
    for (; length >= 32; from += 32, to += 32, length -= 32) {
        const uint64_t words[4] = {word_at(from), word_at(from + 8), word_at(from + 16),
                                   word_at(from + 24)};
        memcpy(to, words, sizeof words);
    }
    for (; length >= 8; from += 8, to += 8, length -= 8) {
        uint64_t word = word_at(from);
        memcpy(to, &word, 8);
    }
    if (length != 0) {
        /* the last word is whole in the record: its value is padded to 8 */
        uint64_t word = word_at(from);
        memcpy(to, &word, length);
    }
}

static bool frames_unchanged(const struct read_point *p, const struct read_space *s)
{
    if (p->frame_count > READ_FRAMES_MAX)
        return false;
    for (uint32_t i = 0; i < p->frame_count; i++)
        if (load(&s->directory[p->frames[i]].stamp) > p->reclaim_count)
            return false;
    return true;
}

bool read_validate(const struct read_point *p, const struct read_space *s, bool missed)
{
    /* R5: acquire fence, pairs with the fence of W4 */
    atomic_thread_fence(memory_order_acquire);
    /* R6 */
    if (UNLIKELY(load(&p->board->reclaim_count) != p->reclaim_count) && !frames_unchanged(p, s))
        return false;
    return !missed || load_acquire(&p->board->lsn_tombstone_horizon) <= p->lsn;
}

uint64_t read_lease_deadline(const struct read_point *p, const struct read_space *s)
{
    const struct layout_lease *cell = lease_of(s, p->board);
    /* R7: acquire, pairs with the lcore's release of the deadline after the generation */
    uint64_t deadline = load_acquire(&cell->ticks_deadline);
    if (load_acquire(&cell->generation) != p->lease_generation ||
        load_acquire(&p->board->lease_generation) != p->board_generation ||
        (p->board_generation & LAYOUT_GENERATION_MAY_READ) == 0)
        return 0;
    /* relaxed: changes only with the generation above */
    if (UNLIKELY(p->pending) &&
        atomic_load_explicit((_Atomic uint32_t *)(uintptr_t)&p->board->follower,
                             memory_order_relaxed) != 0)
        return 0;
    return deadline;
}

uint64_t read_age_ns(const struct read_point *p, const struct read_space *s, uint64_t ticks)
{
    /* relaxed: an age */
    bool follower = atomic_load_explicit((_Atomic uint32_t *)(uintptr_t)&p->board->follower,
                                         memory_order_relaxed) != 0;
    uint64_t asked = follower ? load(&lease_of(s, p->board)->ticks_current) : 0;
    if (!follower)
        asked = load(&s->node->lcores[p->board->lcore % LIMIT_LCORES].ticks_alive);
    return ticks > asked ? clock_ticks_to_ns(ticks - asked, s->node->ticks_per_s) : 0;
}

bool read_pin_holds(const struct read_point *p, const struct read_space *s, uint32_t frame)
{
    const struct layout_frame *entry = &s->directory[frame];
    /* V1: the caller's fence is in front of this load */
    uint32_t kind =
        atomic_load_explicit((_Atomic uint32_t *)(uintptr_t)&entry->kind, memory_order_relaxed);
    return (kind & FRAME_RETIRING) == 0 && load(&entry->stamp) <= p->reclaim_count;
}
