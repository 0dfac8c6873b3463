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
    uint32_t page_shift;      /* log2 of the buckets in a page */
    struct index_table table; /* holds whatever has not moved */
    struct index_table next;  /* while growing */
    bool growing;
    uint32_t moved; /* buckets below are moved */
    uint64_t key_count;
    uint64_t growth_stamp; /* no growth before the board's reclaim counter is there */
    uint64_t root;         /* as it was shown last; 0: it never was */
    bool unshown;          /* being built: the board's root does not name it */
};

/* Where a walk over all keys is (index_walk); zeroed: at the beginning. */
struct index_walk {
    uint32_t bucket;
    uint32_t bits;     /* of the table that position belongs to */
    uint32_t position; /* in the bucket's chain */
    bool done;
};

/* Where a key's slot is, or would be; good until the next call on the index. */
struct index_place {
    _Atomic uint64_t *slot;     /* NULL until index_make_room */
    uint64_t value;             /* the slot's word; 0: the key is not there */
    struct layout_bucket *last; /* of the chain */
    uint32_t chain;             /* buckets in it */
};

/* What a slot is to name. */
struct index_record {
    uint64_t offset;
    uint64_t size; /* 0: the slot does not tell it */
};

/* Take the first pages.  Returns 0 or -EAGAIN (chunk not there yet). */
MUST_USE int index_init(struct index *x, struct layout_board *board, struct frames *frames,
                        struct reclaim *reclaim, uint8_t *arena);

void index_prefetch(const struct index *x, uint32_t hash);
/* Second stage: the record behind the first slot that matches.  Returns its offset, 0: there is
 * none. */
uint64_t index_prefetch_record(const struct index *x, uint32_t hash);

/* Second stage for index_find_version: fetch the record only if that will look at it. */
void index_prefetch_version(const struct index *x, uint32_t hash);

/* Find the key, moving its bucket first if it has to.  Returns 0 (place->value 0 if absent), or
 *   -EAGAIN  a page of the growing table has no memory yet: call again in a later pass. */
MUST_USE int index_find(struct index *x, uint32_t hash, const void *key, uint32_t key_length,
                        struct index_place *place);

/* Find the slot that names this very offset.  As index_find. */
MUST_USE int index_find_offset(struct index *x, uint32_t hash, uint64_t offset,
                               struct index_place *place);

/* Find the slot that names the record at lsn of this log.  Where a tail segment holds it, its place says
 * which one it is, and no record is looked at.  As index_find. */
MUST_USE int index_find_version(struct index *x, uint32_t hash, uint64_t lsn,
                                struct index_place *place);

/* Offsets that slots with this hash's tag name, at most max of them: without a look at the records,
 * so one of another key may be among them.  Returns how many there are, which may be more than max.
 * The hash's bucket was looked up before and not changed since. */
uint32_t index_candidates(const struct index *x, uint32_t hash, uint64_t *offsets, uint32_t max);

/* Make sure an absent key has a slot, so that index_set cannot fail.  Returns 0 or
 *   -EAGAIN  as index_find, or a growth must get further first
 *   -ENOSPC  the chain is as long as it may be, or no bucket is left and the table cannot grow. */
MUST_USE int index_make_room(struct index *x, struct index_place *place);

/* Point the slot at a record (W0).  size: of the record, which a small one's slot tells (layout.h); 0:
 * it is not told. */
void index_set_sized(struct index *x, const struct index_place *place, uint32_t hash,
                     struct index_record record);
static inline void index_set(struct index *x, const struct index_place *place, uint32_t hash,
                             uint64_t offset)
{
    index_set_sized(x, place, hash, (struct index_record){.offset = offset});
}

/* Empty the slot of a key whose tombstone is given up (its horizon is stored already). */
void index_erase(struct index *x, const struct index_place *place);

/* Begin to grow if it is time, move up to buckets more, finish if all are moved. */
void index_step(struct index *x, uint32_t buckets, const struct reclaim_now *now);

/* ---- a second table beside the one that readers use (install.h) ---- */

/* An empty table of at least 2^bits buckets in the page array that shown, which does not grow,
 * leaves free.  Readers do not get there before index_show.  Returns the pages that the buckets
 * take, or -ERANGE: more than a table may have. */
MUST_USE int index_build(struct index *x, const struct index *shown, uint32_t bits);
/* Give up to count of its pages memory.  Returns 0: all have some, 1: call again, or -EAGAIN (no
 * frame now).  Nothing else may be done with it before 0. */
MUST_USE int index_build_step(struct index *x, uint32_t count);
/* The board's root names it from now on. */
void index_show(struct index *x);
/* Take all pages from it, so that readers find nothing any more: their frames, which the caller
 * retires, go to frames (room for two tables).  Returns how many.  What is left finds nothing and takes
 * nothing: index_find says -EAGAIN. */
uint32_t index_abandon(struct index *x, uint32_t *frames);

/* The next slot in use of a walk over all of them, which goes on across growths: a key that is in
 * the index from the walk's beginning to its end is met at least once.  *budget: buckets that may be
 * passed.  Returns 1: *slot is set, and will be again until index_walk_on; 0: the walk is over, or
 * the budget is used up (*budget 0); or -EAGAIN as index_find.
 * Source: the cursor of Redis' SCAN (dict.c, P. Noordhuis): buckets in the order of their reversed
 * numbers, so that those passed stay together when the table doubles. */
MUST_USE int index_walk(struct index *x, struct index_walk *w, uint32_t *budget, uint64_t *slot);
static inline void index_walk_on(struct index_walk *w)
{
    w->position++;
}

/* ---- chunks that are to go (leave.h) ---- */

/* Move one page that lies there.  Returns 1: it did; 0: none does; -EAGAIN: it grows, or no frame now. */
MUST_USE int index_leave_step(struct index *x, const struct reclaim_now *now);

/* Pages in use or promised, both tables; and those a growth that is due would take. */
uint32_t index_pages(const struct index *x);
uint32_t index_pages_wanted(const struct index *x);

#endif
