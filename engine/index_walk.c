/* index_walk - all keys of an index, one after the other, across its growths. */
#include "engine/index_bucket.h"

static uint32_t reverse(uint32_t v)
{
    v = (v >> 1 & 0x55555555u) | (v & 0x55555555u) << 1;
    v = (v >> 2 & 0x33333333u) | (v & 0x33333333u) << 2;
    v = (v >> 4 & 0x0f0f0f0fu) | (v & 0x0f0f0f0fu) << 4;
    return __builtin_bswap32(v);
}

/* One more, counted from the highest bit of the bucket number down. */
static uint32_t bucket_after(const struct index_walk *w, uint32_t bucket)
{
    uint32_t mask = (1u << w->bits) - 1;
    return reverse(reverse(bucket | ~mask) + 1);
}

static void walk_bucket_on(struct index_walk *w)
{
    w->bucket = bucket_after(w, w->bucket);
    w->position = 0;
    w->done = w->bucket == 0;
}

/* Why: each bucket is a miss, and each record behind it.  The next bucket's line comes while this one's
 * records do. */
static void walk_ahead(const struct index *x, const struct index_table *t,
                       const struct index_walk *w, const struct layout_bucket *b)
{
    for (unsigned i = 0; i < LAYOUT_BUCKET_SLOTS; i++) {
        uint64_t slot = atomic_load_explicit(&b->slots[i], memory_order_relaxed);
        const uint8_t *record = x->arena + layout_slot_offset(slot);
        if (slot == 0)
            continue;
        PREFETCH(record);
        PREFETCH(record + CACHE_LINE);
    }
    if (!x->growing)
        PREFETCH(index_bucket_at(x, t, bucket_after(w, w->bucket)));
}

/* The bucket of the chain that position lies in; NULL behind its end. */
static const struct layout_bucket *walk_bucket(const struct index *x, const struct index_table *t,
                                               const struct index_walk *w)
{
    const struct layout_bucket *b = index_bucket_at(x, t, w->bucket);
    for (uint32_t i = w->position / LAYOUT_BUCKET_SLOTS; i != 0; i--) {
        uint32_t next = (uint32_t)index_meta_of(b);
        if (next == 0)
            return NULL;
        b = index_bucket_at(x, t, next);
    }
    return b;
}

int index_walk(struct index *x, struct index_walk *w, uint32_t *budget, uint64_t *slot)
{
    while (!w->done && *budget != 0) {
        const struct index_table *t = x->growing ? &x->next : &x->table;
        int error = x->growing ? index_bucket_move(x, w->bucket & ((1u << x->table.bits) - 1)) : 0;
        if (error != 0)
            return error;
        if (w->bits != t->bits) {
            /* Why from its beginning: what was passed of it may stand elsewhere now. */
            w->bits = t->bits;
            w->position = 0;
        }
        const struct layout_bucket *b = walk_bucket(x, t, w);
        if (b == NULL) {
            walk_bucket_on(w);
            --*budget;
            continue;
        }
        if (w->position % LAYOUT_BUCKET_SLOTS == 0)
            walk_ahead(x, t, w, b);
        *slot = atomic_load_explicit(&b->slots[w->position % LAYOUT_BUCKET_SLOTS],
                                     memory_order_relaxed);
        if (*slot != 0)
            return 1;
        w->position++;
    }
    return 0;
}
