/* scan - the keys of a shard in their order, read in place while its lcore goes on writing: the reader's
 * side of order.h, by the rules of read.h.
 *
 * Pure: no system call, no allocation.  Used by libdunlin, and by tests that interleave it.
 * A page is what one leaf holds of a range, at most: the leaf is copied and its version checked, then
 * each key is looked up as read_find does, at the one commit LSN of the page, its misses overlapped.  So a
 * page is the shard exactly as it was at that LSN, transactions whole; two pages are not one snapshot, nor
 * are two shards.  A page begins where the one before ended, so that a key that stays is met once.
 *
 * Why a page is complete: a key that is visible at p->lsn has been in the tree since before R2, and until
 * the tombstone horizon was stored above p->lsn; R6 sees that (every page counts as a miss).
 * Memory order: O2 (acquire fence, then the version again) pairs with O1, the first load of a version
 * with O3 (order.c). */
#ifndef DUNLIN_ENGINE_SCAN_H
#define DUNLIN_ENGINE_SCAN_H

#include "engine/order_node.h"
#include "engine/read.h"

/* In the buffer of a page, 8-aligned; behind it the key and the value, each padded to 8 bytes. */
struct scan_entry {
    uint64_t lsn;
    uint32_t key_length;
    uint32_t value_length; /* also where only keys are asked for */
};

struct scan_page {
    /* asked */
    uint32_t shard;
    bool keys_only;
    uint32_t count_max; /* entries that are looked at, 1 or more */
    uint8_t *buffer;    /* 8-aligned */
    uint64_t capacity;
    struct order_key prefix;
    /* where it begins; moved on by each page */
    struct order_key from;
    bool done; /* nothing is behind it */
    /* answered */
    uint32_t count;  /* entries in the buffer, perhaps none; then go on */
    uint64_t used;   /* bytes of it */
    uint64_t last;   /* where the last entry begins */
    uint64_t wanted; /* with -ENOBUFS: what one entry takes */
};

/* All keys that begin with prefix and, after_length not 0, come behind after.  The rest of what is asked
 * is the caller's to fill in.  Lengths up to LIMIT_KEY_BYTES. */
void scan_begin(struct scan_page *page, const void *prefix, uint32_t prefix_length,
                const void *after, uint32_t after_length);

/* One page, from R1 to R6; whether it is the newest is R7's to say (read_lease), as of a get, and p->pending
 * above what commit LSN it would be.  Returns 0, or with the page as it was
 *   -EAGAIN   the shard changed under it: again, with a smaller count_max the oftener that happens
 *   -EFAULT   an offset lies in a chunk that is not mapped yet: map what exists, again
 *   -ENOBUFS  not one entry fits: again with page->wanted bytes. */
MUST_USE int scan_read(struct scan_page *page, const struct read_space *s, struct read_point *p);

static inline const uint8_t *scan_entry_key(const struct scan_entry *e)
{
    return (const uint8_t *)(e + 1);
}
static inline const uint8_t *scan_entry_value(const struct scan_entry *e)
{
    return scan_entry_key(e) + align_up(e->key_length, 8);
}
static inline const struct scan_entry *scan_entry_next(const struct scan_entry *e, bool keys_only)
{
    uint64_t value = keys_only ? 0 : align_up(e->value_length, 8);
    return (const void *)(scan_entry_value(e) + value);
}

#endif
