/* expiry - which keys of a shard have a ttl, and which of them may run out next.
 *
 * Pure; the shard's lcore only.  One entry per key whose newest version has a ttl, named by that
 * version's LSN: a binary heap by due_ns in the shard's private memory, which is touched as it is used,
 * and a table that finds an entry by its LSN.  Who keeps it (expire.h) says what an entry means.
 *
 * Units: *_ns nanoseconds of the lcore's steady clock.
 * Source: Williams, "Algorithm 232: Heapsort" (CACM 7, 1964); Knuth, TAOCP 3, 6.4, algorithm R. */
#ifndef DUNLIN_ENGINE_EXPIRY_H
#define DUNLIN_ENGINE_EXPIRY_H

#include "engine/base.h"

struct expiry_entry {
    uint64_t due_ns;     /* it runs out then, or later; never earlier */
    uint64_t counted_ns; /* its ttl is counted from there; 0: nobody counts it yet */
    uint64_t lsn;        /* of the version */
    uint32_t hash;       /* of the key */
    uint32_t slot;       /* in the table */
};
_Static_assert(sizeof(struct expiry_entry) == 32, "two in a line");

struct expiry {
    struct expiry_entry *heap;
    uint32_t *by_lsn; /* open addressing, linear: place in the heap + 1; 0: empty */
    uint32_t capacity, mask;
    uint32_t count;
    uint32_t sweep;     /* next place that is looked at for entries that mean nothing any more */
    uint64_t epoch;     /* that this node counts in, as the leader; 0: it never did */
    uint64_t active_ns; /* since then */
};

/* Bytes of zeroed memory for so many entries; only what is used gets touched. */
size_t expiry_bytes(uint32_t capacity);
void expiry_init(struct expiry *e, uint32_t capacity, void *memory);

static inline bool expiry_is_full(const struct expiry *e)
{
    return e->count == e->capacity;
}

/* Place of the entry of a version in the heap, or UINT32_MAX. */
uint32_t expiry_find(const struct expiry *e, uint64_t lsn);

/* A new entry; its slot is filled in.  It is not full, and there is none of that LSN. */
void expiry_add(struct expiry *e, const struct expiry_entry *entry);
/* What stands at a place is another entry now: a newer version of that key, or counted anew. */
void expiry_set(struct expiry *e, uint32_t place, const struct expiry_entry *entry);
void expiry_remove(struct expiry *e, uint32_t place);

/* The one that is due first; NULL: there is none. */
static inline const struct expiry_entry *expiry_first(const struct expiry *e)
{
    return e->count != 0 ? &e->heap[0] : NULL;
}

#endif
