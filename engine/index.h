/* index - where the newest appended record of each key lies: writer's side.
 *
 * Pure; the shard's lcore only.  Readers go by read.h and never wait.
 * A table is a power of two of one-line buckets (bucket number: low bits of the hash) and an eighth
 * as many for overflow, cut into pages of one frame each; the board lists the pages.  It grows by
 * doubling, incrementally: each bucket's slots are copied to its two buckets in the new table, then
 * the old bucket is marked MOVED (release) and never changes again.  Writers move a bucket before
 * they use it, so a bucket is the truth if and only if it is not marked.  The mark leads to "the
 * other page array of the board, one bit more", which stays true until the old pages are stamped
 * (reclaim.h). Slots never move inside a table; slots move by the tag alone, without a look at the
 * records. W0: a slot is stored with release after the record it names is whole; pairs with R3. */
#ifndef DUNLIN_ENGINE_INDEX_H
#define DUNLIN_ENGINE_INDEX_H

#include "engine/base.h"
#include "engine/frames.h"
#include "engine/layout.h"
#include "engine/reclaim.h"

struct index_table {
    uint32_t array;         /* which page array of the board */
    uint32_t bits;          /* log2 of the bucket count */
    uint32_t overflow_used; /* buckets handed out behind the main ones */
    uint32_t overflow_count;
};

struct index {
    struct layout_board *board;
    struct frames *frames;
    struct reclaim *reclaim;
    uint8_t *arena;
    struct index_table table; /* holds whatever has not moved */
    struct index_table next;  /* while growing */
    bool growing;
    uint32_t moved; /* buckets below are moved */
    uint64_t key_count;
    uint64_t growth_stamp; /* no growth before the board's reclaim counter is there */
};

/* Where a key's slot is, or would be; good until the next call on the index. */
struct index_place {
    _Atomic uint64_t *slot;     /* NULL until index_make_room */
    uint64_t value;             /* the slot's word; 0: the key is not there */
    struct layout_bucket *last; /* of the chain */
    uint32_t chain;             /* buckets in it */
};

/* Take the first pages.  Returns 0 or -EAGAIN (chunk not there yet). */
MUST_USE int index_init(struct index *x, struct layout_board *board, struct frames *frames,
                        struct reclaim *reclaim, uint8_t *arena);

void index_prefetch(const struct index *x, uint32_t hash);
/* Second stage: the record behind the first slot that matches.  Returns its offset, 0: there is
 * none. */
uint64_t index_prefetch_record(const struct index *x, uint32_t hash);

/* Find the key, moving its bucket first if it has to.  Returns 0 (place->value 0 if absent), or
 *   -EAGAIN  a page of the growing table has no memory yet: call again in a later pass. */
MUST_USE int index_find(struct index *x, uint32_t hash, const void *key, uint32_t key_length,
                        struct index_place *place);

/* Find the slot that names this very offset.  As index_find. */
MUST_USE int index_find_offset(struct index *x, uint32_t hash, uint64_t offset,
                               struct index_place *place);

/* Make sure an absent key has a slot, so that index_set cannot fail.  Returns 0 or
 *   -EAGAIN  as index_find, or a growth must get further first
 *   -ENOSPC  the chain is as long as it may be, or no bucket is left and the table cannot grow. */
MUST_USE int index_make_room(struct index *x, struct index_place *place);

/* Point the slot at a record (W0). */
void index_set(struct index *x, const struct index_place *place, uint32_t hash, uint64_t offset);

/* Empty the slot of a key whose tombstone is given up (its horizon is stored already). */
void index_erase(struct index *x, const struct index_place *place);

/* Begin to grow if it is time, move up to buckets more, finish if all are moved. */
void index_step(struct index *x, uint32_t buckets, const struct reclaim_now *now);

/* Pages in use or promised, both tables; and those a growth that is due would take. */
uint32_t index_pages(const struct index *x);
uint32_t index_pages_wanted(const struct index *x);

#endif
