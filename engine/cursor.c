#include "engine/cursor.h"

#include "engine/plant.h"

#include <string.h>

static ALWAYS_INLINE uint64_t load(const uint8_t *at)
{
    /* relaxed: inside the protocol; R5 and R6 judge all of them */
    return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)at, memory_order_relaxed);
}

static ALWAYS_INLINE uint64_t load_acquire(const _Atomic uint64_t *word)
{
    return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)word, memory_order_acquire);
}

static uint64_t segment_bytes(const struct read_space *s)
{
    return UINT64_C(1) << s->geometry.segment_shift;
}

static uint64_t segment_start(const struct read_space *s, uint64_t lsn)
{
    return lsn & ~(segment_bytes(s) - 1);
}

static uint64_t committed(const struct read_space *s, uint32_t shard)
{
    /* R2: acquire, pairs with W1 */
    return load_acquire(&s->boards[shard].lsn_committed);
}

/* ---- where the bytes of an LSN lie ---- */

/* Frame of the segment that begins at lsn_start, in *frame.  Returns 0, -ENODATA: it is not held,
 * -EFAULT: it is not mapped. */
static int frame_find(const struct read_space *s, uint32_t shard, uint64_t lsn_start,
                      uint32_t *frame)
{
    const struct layout_geometry *g = &s->geometry;
    const _Atomic uint32_t *table = (const void *)(s->directory + layout_frame_count(g));
    uint64_t at = (uint64_t)shard * g->frames_per_shard +
                  (lsn_start >> g->segment_shift) % g->frames_per_shard;
    /* C2 */
    uint32_t known =
        atomic_load_explicit((_Atomic uint32_t *)(uintptr_t)&table[at], memory_order_acquire);
    if (known == 0 || known > layout_frame_count(g))
        return -ENODATA;
    const struct layout_frame *entry = &s->directory[known - 1];
    /* C3 */
    uint32_t kind =
        atomic_load_explicit((_Atomic uint32_t *)(uintptr_t)&entry->kind, memory_order_acquire);
    if (kind != FRAME_TAIL || load((const void *)&entry->lsn_start) != lsn_start)
        return -ENODATA;
    *frame = known - 1;
    /* Why this suffices: whole chunks are mapped, and no segment crosses one. */
    return ((uint64_t)(known - 1) << g->segment_shift) < s->mapped_bytes ? 0 : -EFAULT;
}

uint64_t cursor_oldest(const struct read_space *s, uint32_t shard)
{
    uint64_t oldest = committed(s, shard);
    uint64_t at = oldest != 0 ? segment_start(s, oldest - 1) : 0;
    uint32_t frame;
    for (uint32_t i = 0; i < s->geometry.frames_per_shard; i++) {
        if (at == 0 || frame_find(s, shard, at, &frame) == -ENODATA)
            break;
        oldest = at;
        at -= segment_bytes(s);
    }
    return oldest;
}

uint64_t cursor_resume(struct cursor *c, const struct read_space *s)
{
    uint64_t from = c->lsn;
    uint64_t oldest = cursor_oldest(s, c->shard);
    if (oldest <= from)
        return 0; /* the tail changed again: the next read says how */
    c->lsn = oldest;
    c->start = CURSOR_SEEK;
    return oldest - from;
}

bool cursor_has_more(const struct cursor *c, const struct read_space *s)
{
    uint64_t lsn = committed(s, c->shard);
    return c->start == CURSOR_NOW || c->start == CURSOR_OLDEST ? lsn != 0 : lsn > c->lsn;
}

/* ---- walking ---- */

/* What is committed of one segment, a guess. */
struct walk {
    const uint8_t *base;
    uint64_t lsn_base;
    uint64_t at, end; /* positions in it */
};

/* A record's words, each loaded once. */
struct step {
    uint64_t kinds, lengths, size;
    uint32_t kind;
    bool end; /* of a transaction */
};

/* What stands at the walk's position.  False: it is no record that ends inside. */
static ALWAYS_INLINE bool step_load(const struct walk *w, struct step *step)
{
    const uint8_t *at = w->base + w->at;
    uint64_t left = w->end - w->at;
    step->kinds = load(at);
    step->kind = (uint32_t)(step->kinds >> 40) & 0xff;
    step->end = (step->kinds >> 48 & RECORD_FLAG_TRANSACTION_END) != 0;
    if (UNLIKELY(step->kind == RECORD_PAD)) {
        step->size = (step->kinds >> 48) * 8;
        return step->size != 0 && step->size <= left;
    }
    if (UNLIKELY(left < RECORD_HEADER_BYTES))
        return false;
    step->lengths = load(at + 16);
    step->size =
        record_bytes((step->lengths >> 16) & 0xffff, step->lengths & 0xffff, load(at + 8) >> 32);
    return step->size <= left && load(at + 24) == w->lsn_base + w->at;
}

static ALWAYS_INLINE bool matters(const struct step *step)
{
    if (LIKELY(step->kind == RECORD_DATA || step->kind == RECORD_TOMBSTONE))
        return true;
    return step->kind == RECORD_EXPIRE && (step->kinds >> 48 & RECORD_FLAG_KEY) != 0;
}

/* The key's first bytes are the topic's. */
static ALWAYS_INLINE bool begins_with(const uint8_t *key, const struct topic *t)
{
    uint32_t whole = t->literal_length / 8 * 8;
    for (uint32_t i = 0; i < whole; i += 8) {
        uint64_t word;
        memcpy(&word, t->bytes + i, 8);
        if (load(key + i) != word)
            return false;
    }
    if (t->literal_length == whole)
        return true;
    uint64_t last;
    memcpy(&last, t->bytes + whole, 8); /* what follows the literal is masked */
    uint64_t mask = (UINT64_C(1) << 8 * (t->literal_length - whole)) - 1;
    return ((load(key + whole) ^ last) & mask) == 0;
}

static bool key_matches(const uint8_t *key, uint32_t length, const struct topic *t)
{
    alignas(8) uint8_t copy[LIMIT_KEY_BYTES];
    if (length < t->literal_length || length > LIMIT_KEY_BYTES || !begins_with(key, t))
        return false;
    if (t->prefix)
        return true;
    for (uint32_t i = 0; i < length; i += 8) {
        uint64_t word = load(key + i);
        memcpy(copy + i, &word, 8);
    }
    return topic_match(t, copy, length);
}

static ALWAYS_INLINE bool is_wanted(const struct walk *w, const struct step *step,
                                    const struct topic *t)
{
    if (t->prefix && t->length == 0)
        return true;
    uint64_t extension = align_up((step->lengths >> 16) & 0xffff, 8);
    uint32_t key_length = step->lengths & 0xffff;
    /* Why the bound: a guess may say more than the record has. */
    if (RECORD_HEADER_BYTES + extension + align_up(key_length, 8) > step->size)
        return false;
    return key_matches(w->base + w->at + RECORD_HEADER_BYTES + extension, key_length, t);
}

static ALWAYS_INLINE void copy_out(uint8_t *to, const uint8_t *from, uint64_t size)
{
    for (uint64_t i = 0; i < size; i += 8) {
        uint64_t word = load(from + i);
        memcpy(to + i, &word, 8);
    }
}

/* Behind the records of a transaction: where it ends. */
static uint64_t mark_end(uint8_t *to, uint64_t lsn_end)
{
    const struct cursor_mark mark = {
        .format = RECORD_FORMAT, .kind = RECORD_PAD, .units = sizeof mark / 8, .lsn_end = lsn_end};
    memcpy(to, &mark, sizeof mark);
    return sizeof mark;
}

static ALWAYS_INLINE bool fits(const struct cursor_batch *batch, uint64_t length,
                               const struct step *step)
{
    return length + step->size + sizeof(struct cursor_mark) <= batch->capacity;
}

/* Walk, and copy what is wanted, to the end of the stride or of a transaction behind it.  Sets w->at and
 * batch->length to the last transaction's end.  Returns 0 or -ENOBUFS: not all of the first fits. */
static int walk(struct walk *w, const struct topic *t, struct cursor_batch *batch)
{
    uint64_t from = w->at, whole = w->at, length = 0;
    bool inside = false, full = false;
    struct step step;
    while (w->at < w->end && (inside || w->at - from < CURSOR_STRIDE) && step_load(w, &step)) {
        if (LIKELY(step.kind != RECORD_PAD)) {
            if (matters(&step) && is_wanted(w, &step, t)) {
                full = !fits(batch, length, &step);
                if (UNLIKELY(full))
                    break;
                copy_out(batch->bytes + length, w->base + w->at, step.size);
                length += step.size;
            }
            inside = !step.end && !PLANTED(CURSOR_HALF_TRANSACTION);
        }
        w->at += step.size;
        if (inside)
            continue;
        whole = w->at;
        if (length != batch->length)
            length += mark_end(batch->bytes + length, w->lsn_base + whole);
        batch->length = length;
    }
    full = full && whole == from;
    batch->needed = full ? 2 * batch->capacity + step.size + sizeof(struct cursor_mark) : 0;
    w->at = whole;
    return full ? -ENOBUFS : 0;
}

/* From the segment's beginning, the last beginning of a transaction at or before position to. */
static uint64_t walk_to(struct walk *w, uint64_t to)
{
    uint64_t begin = 0;
    bool inside = false;
    struct step step;
    for (w->at = 0; w->at < to && step_load(w, &step);) {
        w->at += step.size;
        if (step.kind != RECORD_PAD)
            inside = !step.end;
        if (!inside && w->at <= to)
            begin = w->at;
    }
    return begin;
}

/* ---- the protocol ---- */

static bool validate(const struct read_point *p, const struct read_space *s)
{
    return PLANTED(CURSOR_UNVALIDATED) || read_validate(p, s, false);
}

bool cursor_begin(struct cursor *c, const struct read_space *s)
{
    if (c->start != CURSOR_NOW && c->start != CURSOR_OLDEST)
        return true;
    uint64_t lsn = committed(s, c->shard);
    if (lsn == 0)
        return false;
    c->lsn = c->start == CURSOR_NOW ? lsn : cursor_oldest(s, c->shard);
    c->start = c->start == CURSOR_NOW ? CURSOR_READY : CURSOR_SEEK;
    return true;
}

static int seek(struct cursor *c, const struct read_space *s, const struct read_point *p,
                struct walk *w)
{
    uint64_t begin = walk_to(w, c->lsn - w->lsn_base);
    bool sound = w->at >= c->lsn - w->lsn_base;
    if (!validate(p, s))
        return -EAGAIN;
    if (!sound || (c->start == CURSOR_LOST && begin == c->lsn - w->lsn_base))
        return -EBADMSG;
    c->lsn = w->lsn_base + begin;
    c->start = CURSOR_READY;
    return 1;
}

/* Not held: lagged, unless the table is ahead of the commit LSN that we loaded before it. */
static int lagged(const struct cursor *c, const struct read_space *s)
{
    return cursor_oldest(s, c->shard) > c->lsn ? -ENODATA : -EAGAIN;
}

int cursor_read(struct cursor *c, const struct read_space *s, const struct topic *t,
                struct cursor_batch *batch)
{
    struct read_point p = {.board = &s->boards[c->shard], .frame_count = 1};
    batch->length = 0;
    if (!cursor_begin(c, s))
        return 0;
    /* R1: acquire, pairs with W4 */
    p.reclaim_count = load_acquire(&p.board->reclaim_count);
    p.lsn = committed(s, c->shard);
    if (p.lsn <= c->lsn)
        return 0;
    struct walk w = {.lsn_base = segment_start(s, c->lsn)};
    int error = frame_find(s, c->shard, w.lsn_base, &p.frames[0]);
    if (error == 0 && UNLIKELY(read_is_stale(&p, s)))
        error = -EFAULT;
    if (error != 0)
        return error == -ENODATA ? lagged(c, s) : error;
    w.base = s->arena + ((uint64_t)p.frames[0] << s->geometry.segment_shift);
    w.end = min_u64(p.lsn - w.lsn_base, segment_bytes(s));
    if (c->start != CURSOR_READY)
        return seek(c, s, &p, &w);
    w.at = c->lsn - w.lsn_base;
    error = walk(&w, t, batch);
    if (!validate(&p, s))
        error = -EAGAIN;
    if (error != 0) {
        batch->length = 0;
        return error;
    }
    if (w.lsn_base + w.at == c->lsn) {
        /* Why once more: the position may be of another history of this replica, which a lossy epoch gave
         * up; there is no record at it then. */
        c->start = CURSOR_LOST;
        return -EAGAIN;
    }
    c->lsn = w.lsn_base + w.at;
    return 1;
}
