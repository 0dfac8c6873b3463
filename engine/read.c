#include "engine/read.h"

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

void read_begin(struct read_point *p, const struct read_space *s, uint32_t shard)
{
    const struct layout_board *board = &s->boards[shard];
    p->board = board;
    p->frame_count = 0;
    /* R1: acquire, pairs with W4 */
    p->reclaim_count = load_acquire(&board->reclaim_count);
    p->lease_generation = load_acquire(&lease_of(s, board)->generation);
    p->board_generation = load_acquire(&board->lease_generation);
    p->pending = 0;
    /* R2: acquire, pairs with W1: what is committed is whole */
    p->lsn = load_acquire(&board->lsn_committed);
}

static ALWAYS_INLINE void touch(struct read_point *p, uint64_t frame)
{
    if (LIKELY(p->frame_count < READ_FRAMES_MAX))
        p->frames[p->frame_count] = (uint32_t)frame;
    p->frame_count++;
}

/* The last one was touched just before, too: versions of a key often lie side by side. */
static ALWAYS_INLINE void touch_once(struct read_point *p)
{
    uint32_t n = p->frame_count;
    if (n >= 2 && n <= READ_FRAMES_MAX && p->frames[n - 1] == p->frames[n - 2])
        p->frame_count--;
}

/* ---- R3: the slot ---- */

struct table {
    uint64_t root; /* that the board has as long as what is found in it counts */
    uint32_t array;
    uint32_t bits;
    uint32_t page_shift; /* log2 of the buckets of a page */
};

/* R3: acquire, pairs with the store of the root */
static ALWAYS_INLINE uint64_t root_now(const struct layout_board *board)
{
    return load_acquire(&board->index_root);
}

static ALWAYS_INLINE struct table table_now(const struct read_space *s,
                                            const struct layout_board *board)
{
    uint64_t root = root_now(board);
    return (struct table){
        .root = root & ~LAYOUT_ROOT_GIVEN_UP,
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

/* One version as a walk meets it. */
struct version {
    const uint8_t *at, *key;
    struct header_view h;
    uint64_t frame, position;
};

/* What a slot or link leads to, on its way here already.  Returns 0, -EFAULT or -EAGAIN. */
static ALWAYS_INLINE int version_load_fetched(struct read_point *p, const struct read_space *s,
                                              uint64_t slot, struct version *v)
{
    uint64_t segment = UINT64_C(1) << s->geometry.segment_shift;
    uint64_t offset = layout_slot_offset(slot);
    v->position = offset & (segment - 1);
    v->frame = offset >> s->geometry.segment_shift;
    /* Why this suffices: whole chunks are mapped, and no segment crosses one */
    if (UNLIKELY(offset >= s->mapped_bytes))
        return -EFAULT;
    if (UNLIKELY(v->position + RECORD_HEADER_BYTES > segment))
        return -EAGAIN;
    v->at = s->arena + offset;
    v->h = header_load(v->at);
    touch(p, v->frame);
    if (UNLIKELY(v->h.size > segment - v->position))
        return -EAGAIN;
    v->key = v->at + RECORD_HEADER_BYTES + align_up((v->h.lengths >> 16) & 0xffff, 8);
    return 0;
}

static ALWAYS_INLINE int version_load(struct read_point *p, const struct read_space *s,
                                      uint64_t slot, struct version *v)
{
    /* Why not checked: past the arena a prefetch does nothing. */
    record_prefetch_rest(s->arena + layout_slot_offset(slot));
    return version_load_fetched(p, s, slot, v);
}

/* Its link word.  Returns 0 or -EFAULT. */
static ALWAYS_INLINE int version_link(const struct read_space *s, const struct version *v,
                                      uint64_t *link)
{
    uint64_t links = layout_links_of(&s->geometry, v->frame);
    if (UNLIKELY(links + (UINT64_C(1) << s->geometry.segment_shift) / 8 > s->mapped_bytes))
        return -EFAULT;
    *link = word_at(s->arena + links + (v->position >> 6) * 8);
    return 0;
}

static ALWAYS_INLINE bool version_is_of(const struct version *v, const struct read_key *k)
{
    return (v->h.lengths & 0xffff) == k->length && key_words_equal(v->key, k);
}

/* It is the answer.  Returns 1, or 0: there is no such key. */
static ALWAYS_INLINE int version_take(const struct version *v, struct read_found *found)
{
    found->lsn = v->h.lsn;
    if (UNLIKELY(header_kind(&v->h) != RECORD_DATA))
        return 0;
    found->record = v->at;
    found->value = v->key + align_up(v->h.lengths & 0xffff, 8);
    found->value_length = (uint32_t)v->h.value_length;
    found->frame = (uint32_t)v->frame;
    return 1;
}

/* Walk from a slot to the newest version at or below p->lsn.
 * Returns 1 found, 0 not (found->lsn of a tombstone), 2 the slot names another key, or a read
 * error. */
static int version_find(struct read_point *p, const struct read_space *s, const struct read_key *k,
                        uint64_t slot, struct read_found *found)
{
    for (unsigned i = 0; i < LIMIT_VERSION_WALK; i++) {
        struct version v;
        int error = version_load(p, s, slot, &v);
        if (UNLIKELY(error != 0))
            return error;
        if (i == 0 && !version_is_of(&v, k))
            return 2;
        if (LIKELY(v.h.lsn + v.h.size <= p->lsn))
            return version_take(&v, found);
        p->pending = max_u64(p->pending, v.h.lsn + v.h.size);
        error = version_link(s, &v, &slot);
        if (UNLIKELY(error != 0))
            return error;
        if (slot == 0)
            return 0;
        if (!(slot & LAYOUT_SLOT_VALID))
            return -EAGAIN; /* cut: what this commit LSN showed is gone, a newer one shows more */
    }
    return -EAGAIN;
}

/* ---- R4 at a version ---- */

/* What is looked up, and at which version; lsn_at 0: at the commit LSN. */
struct wanted {
    const struct read_key *k;
    uint64_t lsn_at;
};

#define TRANSACTION_OTHER 0
#define TRANSACTION_SAME 1
#define TRANSACTION_UNKNOWN 2
#define TRANSACTION_STEPS (2 * LIMIT_TRANSACTION_RECORDS) /* each with a pad in front */

/* Whether a version above lsn_at belongs to the transaction of the record there: if no record from there
 * to it ends one.  The log's own bytes tell that; once the record was copied forward, nothing does. */
static int transaction_of(const struct read_space *s, const struct version *v, uint64_t lsn_at)
{
    uint64_t flags = v->h.kinds >> 48 & 0xff;
    uint64_t distance = v->h.lsn - lsn_at;
    if ((flags & RECORD_FLAG_CONTINUES) == 0 ||
        v->h.lsn >> s->geometry.segment_shift != lsn_at >> s->geometry.segment_shift)
        return TRANSACTION_OTHER;
    const struct layout_frame *f = &s->directory[v->frame];
    /* relaxed: inside the protocol, as all loads here */
    uint32_t kind =
        atomic_load_explicit((_Atomic uint32_t *)(uintptr_t)&f->kind, memory_order_relaxed);
    if ((kind & ~FRAME_RETIRING) != FRAME_TAIL || load(&f->lsn_start) + v->position != v->h.lsn ||
        distance % 8 != 0)
        return TRANSACTION_UNKNOWN;
    for (unsigned i = 0; i < TRANSACTION_STEPS && distance != 0; i++) {
        struct header_view h = header_load(v->at - distance);
        bool is_pad = header_kind(&h) == RECORD_PAD;
        uint64_t size = is_pad ? (h.kinds >> 48) * 8 : h.size;
        if (size == 0 || size > distance ||
            (!is_pad && (h.kinds >> 48 & RECORD_FLAG_TRANSACTION_END) != 0))
            return TRANSACTION_OTHER;
        distance -= size;
    }
    return distance == 0 ? TRANSACTION_SAME : TRANSACTION_OTHER;
}

/* Judge a committed version: 1 it is the one, 0 an older one is, or -ENODATA.  unsure: so far the newest
 * above lsn_at of which nobody can tell. */
static int version_judge(const struct read_space *s, const struct version *v, uint64_t lsn_at,
                         bool *unsure)
{
    /* Why a version above lsn_at settles it: a transaction writes a key once. */
    bool was_unsure = *unsure;
    *unsure = false;
    if (v->h.lsn <= lsn_at)
        return was_unsure && v->h.lsn != lsn_at ? -ENODATA : 1;
    int same = transaction_of(s, v, lsn_at);
    *unsure = same == TRANSACTION_UNKNOWN;
    return same == TRANSACTION_SAME;
}

/* As version_find, at a version. */
static int version_find_at(struct read_point *p, const struct read_space *s,
                           const struct wanted *wanted, uint64_t slot, struct read_found *found)
{
    bool unsure = false;
    for (unsigned i = 0; i < LIMIT_VERSION_WALK + LIMIT_PENDING; i++) {
        struct version v;
        int error = version_load(p, s, slot, &v);
        if (error != 0)
            return error;
        if (i == 0 && !version_is_of(&v, wanted->k))
            return 2;
        bool committed = v.h.lsn + v.h.size <= p->lsn;
        int judged = committed ? version_judge(s, &v, wanted->lsn_at, &unsure) : 0;
        if (judged == 1)
            return version_take(&v, found);
        if (judged < 0)
            return judged;
        found->lsn = committed ? v.h.lsn : 0;
        error = version_link(s, &v, &slot);
        if (error != 0)
            return error;
        if (slot == 0 && !unsure) {
            found->lsn = 0;
            return 0;
        }
        if (!(slot & LAYOUT_SLOT_VALID))
            return -ENODATA;
        touch_once(p);
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
                                 struct wanted wanted, struct table t, struct read_found *found)
{
    const struct read_key *k = wanted.k;
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
            int result = 2;
            if (LIKELY(slot != 0))
                result = wanted.lsn_at == 0 ? version_find(p, s, k, slot, found)
                                            : version_find_at(p, s, &wanted, slot, found);
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

static ALWAYS_INLINE int find_checked(struct read_point *p, const struct read_space *s,
                                      struct wanted wanted, struct read_found *found)
{
    struct table t = table_now(s, p->board);
    int result = find_in(p, s, wanted, t, found);
    /* Why: no stamp covers the page arrays, and the growth after next uses ours for another table.
     * The pages' numbers were loaded with acquire, so one of another table comes with a newer root;
     * roots never come back. */
    uint64_t now = root_now(p->board);
    if (UNLIKELY(read_is_stale(p, s)))
        return -EFAULT;
    return LIKELY(now == t.root) ? result : -EAGAIN;
}

int read_find(struct read_point *p, const struct read_space *s, const struct read_key *k,
              struct read_found *found)
{
    return find_checked(p, s, (struct wanted){.k = k}, found);
}

int read_find_at(struct read_point *p, const struct read_space *s, const struct read_key *k,
                 uint64_t lsn_at, struct read_found *found)
{
    ASSERT(lsn_at != 0 && lsn_at < p->lsn);
    return find_checked(p, s, (struct wanted){.k = k, .lsn_at = lsn_at}, found);
}

bool read_missed_at(const struct read_point *p, uint64_t lsn_at)
{
    return load_acquire(&p->board->lsn_tombstone_horizon) <= lsn_at;
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

/* ---- groups ---- */

void read_group_begin(const struct read_point *p, const struct read_space *s, struct read_group *g)
{
    g->root = table_now(s, p->board).root;
}

void read_group_buckets(const struct read_point *p, const struct read_space *s,
                        const struct read_group *g, uint32_t from, uint32_t to)
{
    struct read_point guess = {.board = p->board}; /* what a prefetch touches does not count */
    struct table t = table_now(s, p->board);
    for (uint32_t i = from; i < to; i++) {
        int error;
        PREFETCH(bucket_at(&guess, s, &t, g->hashes[i] & ((1u << t.bits) - 1), &error));
    }
}

/* R3, where the first bucket has the hash; else 0. */
static ALWAYS_INLINE uint64_t group_slot(struct read_point *p, const struct read_space *s,
                                         const struct table *t, uint32_t hash)
{
    int error;
    const struct layout_bucket *b = bucket_at(p, s, t, hash & ((1u << t->bits) - 1), &error);
    if (UNLIKELY(b == NULL))
        return 0;
    /* acquire, as in find_in */
    uint64_t meta = load_acquire(&b->meta);
    uint32_t matching = slots_matching(b, hash);
    if (UNLIKELY((meta & LAYOUT_BUCKET_MOVED) != 0 || matching == 0))
        return 0;
    return slot_again(b, matching, hash);
}

void read_group_slots(struct read_point *p, const struct read_space *s, struct read_group *g,
                      uint32_t from, uint32_t to)
{
    struct table t = table_now(s, p->board);
    for (uint32_t i = from; i < to; i++)
        g->slots[i] = LIKELY(t.root == g->root) ? group_slot(p, s, &t, g->hashes[i]) : 0;
    for (uint32_t i = from; i < to; i++) {
        const uint8_t *at = s->arena + layout_slot_offset(g->slots[i]);
        PREFETCH(at);
        PREFETCH(at + CACHE_LINE);
        if (!g->keys_only)
            PREFETCH(at + 2 * (size_t)CACHE_LINE);
    }
}

int read_group_find(struct read_point *p, const struct read_space *s, const struct read_group *g,
                    uint32_t i, struct read_found *found)
{
    struct version v;
    /* Why the root: as in find_checked. */
    if (LIKELY(g->slots[i] != 0 && version_load_fetched(p, s, g->slots[i], &v) == 0 &&
               version_is_of(&v, &g->key) && v.h.lsn + v.h.size <= p->lsn &&
               root_now(p->board) == g->root))
        return version_take(&v, found);
    return read_find(p, s, &g->key, found);
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
        atomic_load_explicit((_Atomic uint16_t *)(uintptr_t)&p->board->follower,
                             memory_order_relaxed) != 0)
        return 0;
    return deadline;
}

bool read_pin_holds(const struct read_point *p, const struct read_space *s, uint32_t frame)
{
    const struct layout_frame *entry = &s->directory[frame];
    /* V1: the caller's fence is in front of this load */
    uint32_t kind =
        atomic_load_explicit((_Atomic uint32_t *)(uintptr_t)&entry->kind, memory_order_relaxed);
    return (kind & FRAME_RETIRING) == 0 && load(&entry->stamp) <= p->reclaim_count;
}
