/* index_bucket - the buckets of an index, for the files of the index only (index.h): writer's side, the
 * shard's lcore. */
#ifndef DUNLIN_ENGINE_INDEX_BUCKET_H
#define DUNLIN_ENGINE_INDEX_BUCKET_H

#include "engine/index.h"

/* A bucket by its number: main ones, then overflow. */
static inline struct layout_bucket *index_bucket_at(const struct index *x,
                                                    const struct index_table *t, uint32_t number)
{
    uint32_t shift = x->page_shift;
    /* relaxed: written by this thread */
    uint32_t page =
        atomic_load_explicit(&x->board->pages[t->array][number >> shift], memory_order_relaxed);
    uint64_t offset = (uint64_t)(page - 1) << (shift + 6);
    return (struct layout_bucket *)(void *)(x->arena + offset) + (number & ((1u << shift) - 1));
}

/* The word that leads on from a bucket (layout.h). */
static ALWAYS_INLINE uint64_t index_meta_of(const struct layout_bucket *b)
{
    return atomic_load_explicit(&b->meta, memory_order_relaxed);
}

/* Buckets that no reader has been led to. */
static inline void index_buckets_clear(struct layout_bucket *b, uint32_t count)
{
    _Atomic uint64_t *words = (void *)b;
    /* relaxed: a page number, a bucket number or a MOVED mark is stored later, with release */
    for (uint32_t i = 0; i < count * (CACHE_LINE / 8); i++)
        atomic_store_explicit(&words[i], 0, memory_order_relaxed);
}

/* Copy a bucket of the growing index to the table twice as large, if that was not done.  Returns 0 or
 * -EAGAIN  a page has no memory yet: call again in a later pass. */
MUST_USE int index_bucket_move(struct index *x, uint32_t number);

#endif
