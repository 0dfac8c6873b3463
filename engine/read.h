/* read - the read protocol R1 to R7 of DESIGN section 3: reading a shard in place while its lcore
 * goes on writing.  Optimistic: everything loaded is a guess until read_validate says otherwise.
 *
 * Pure: no system call, no allocation.  Used by libdunlin, and by tests that interleave it.
 * The shared memory is the daemon's and trusted not to be malicious, but it may be reused under the
 * reader at any moment, so each offset and length is bounds-checked and each walk is bounded.
 *
 *   read_begin     R1 reclaim counter and lease generations, R2 commit LSN
 *   read_find      R3 slot, R4 walk to the newest version at or below the commit LSN
 *   read_find_at   the same at an older version
 *   read_copy      R4 copy with relaxed 8-byte loads
 *   read_validate  R5 fence, R6 nothing touched was reused
 *   read_lease     R7 the answer was the newest: after everything else, once per get or batch
 *
 * A chunk that went and was made again is another file, and a reader may have the older one mapped:
 * read_is_stale, loaded after R1 (leave.h says why that suffices).
 *
 * Memory order: R1 pairs with W4 (reclaim.h), R2 with W1 (shard.h), R3 with W0 (index.h). */
#ifndef DUNLIN_ENGINE_READ_H
#define DUNLIN_ENGINE_READ_H

#include "engine/base.h"
#include "engine/clock.h"
#include "engine/layout.h"
#include "engine/plant.h"
#include "engine/record.h"

/* What a reader knows of a space; private memory, constant but for the two of what is mapped. */
struct read_space {
    const uint8_t *arena;      /* chunk 0 */
    uint64_t mapped_bytes;     /* chunks are made and mapped in order */
    uint32_t arena_generation; /* the header's, loaded before what is mapped now was mapped */
    struct layout_geometry geometry;
    const struct layout_board *boards;
    const struct layout_frame *directory;
    const struct layout_node *node;
    uint32_t partition_prefix;
};

#define READ_FRAMES_MAX 12u

struct read_point {
    const struct layout_board *board;
    uint64_t reclaim_count;
    uint64_t lease_generation;        /* the cell's */
    uint64_t board_generation;        /* the shard's own */
    uint64_t lsn;                     /* commit LSN: the read sees exactly the shard at it */
    uint32_t frames[READ_FRAMES_MAX]; /* touched: segments and index pages */
    uint32_t frame_count;             /* above READ_FRAMES_MAX: only the counter can validate */
    uint64_t pending; /* a key has newer versions above lsn: end of the newest met; 0: none has */
};

struct read_found {
    const uint8_t *record; /* in place */
    const uint8_t *value;
    uint64_t lsn;
    uint32_t value_length;
    uint32_t frame;
};

/* A key made ready: hashed, and its words padded with zeros for comparing. */
struct read_key {
    uint64_t hash;
    uint32_t shard;
    uint32_t length;
    uint64_t words[LIMIT_KEY_BYTES / 8 + 1]; /* one more: scan.c stores whole words */
};

/* key_length 1 .. LIMIT_KEY_BYTES. */
void read_key_init(struct read_key *k, const struct read_space *s, const void *key,
                   size_t key_length);

void read_begin(struct read_point *p, const struct read_space *s, uint32_t shard);

/* What is mapped may be of a chunk that was made again since: the read is worth nothing.  Once between
 * read_begin and read_validate, anywhere. */
static ALWAYS_INLINE bool read_is_stale(const struct read_point *p, const struct read_space *s)
{
    /* L2: R1's acquire comes before it; acquire, pairs with leave.c: who maps anew finds the header's */
    uint32_t generation = atomic_load_explicit(
        (_Atomic uint32_t *)(uintptr_t)&p->board->arena_generation, memory_order_acquire);
    return (int32_t)(generation - s->arena_generation) > 0 && !PLANTED(CHUNK_GENERATION_IGNORED);
}

/* Returns 1 found, 0 no such key at p->lsn (also a tombstone: *found then has its lsn, else lsn 0), or
 *   -EAGAIN  the shard changed under the read: begin again (bounded, then go by the ring)
 *   -EFAULT  an offset lies in a chunk that is not mapped yet, or was made again: map what exists, begin
 *            again.
 * All three are guesses before read_validate; on -EAGAIN and -EFAULT nothing need be validated. */
MUST_USE int read_find(struct read_point *p, const struct read_space *s, const struct read_key *k,
                       struct read_found *found);

/* The same at a version of this shard's log below p->lsn: the key as it was when the record at lsn_at was
 * visible, which is up to the end of its transaction.  Needs no lease: that state never changes.  Returns
 * as read_find, or
 *   -ENODATA  trimmed, or the record lies where the end of that transaction cannot be told any more;
 *             found->lsn: the oldest version of the key that is kept, 0: none is known.
 * After 0, read_missed_at says whether it is an answer, after read_validate with missed false. */
MUST_USE int read_find_at(struct read_point *p, const struct read_space *s,
                          const struct read_key *k, uint64_t lsn_at, struct read_found *found);
MUST_USE bool read_missed_at(const struct read_point *p, uint64_t lsn_at);

/* First halves of read_find, for batches: prefetch the bucket, then the record behind the slot. */
void read_prefetch_bucket(const struct read_space *s, const struct read_key *k);
void read_prefetch_record(const struct read_space *s, const struct read_key *k);

/* ---- many keys of one shard (scan.h) ---- */

/* Keys by their hashes, a step at a time for a few dozen of them.  Why so: a prefetch holds up what follows
 * until its page's address is known, and only such waits as stand close together overlap. */
struct read_group {
    const uint32_t *hashes;
    uint64_t *slots; /* as many: R3's, or 0: read_find is to say */
    uint64_t root;   /* of the table that they were found in */
    bool keys_only;  /* no value will be read */
    struct read_key key;
};

/* After read_begin; hashes, slots, keys_only and key.shard are the caller's. */
void read_group_begin(const struct read_point *p, const struct read_space *s, struct read_group *g);
/* Prefetch the buckets of keys from .. to - 1. */
void read_group_buckets(const struct read_point *p, const struct read_space *s,
                        const struct read_group *g, uint32_t from, uint32_t to);
/* R3 of those that one bucket tells of, and prefetch their records. */
void read_group_slots(struct read_point *p, const struct read_space *s, struct read_group *g,
                      uint32_t from, uint32_t to);
/* As read_find of g->key, which is key i. */
MUST_USE int read_group_find(struct read_point *p, const struct read_space *s,
                             const struct read_group *g, uint32_t i, struct read_found *found);

/* Copy min(length, capacity) bytes of the value. */
void read_copy(const struct read_found *found, void *buffer, size_t capacity);

/* True: what read_find and read_copy gave since read_begin is good.  missed: they gave 0. */
MUST_USE bool read_validate(const struct read_point *p, const struct read_space *s, bool missed);

/* True: the answer, already validated, reflects all that was committed before read_begin.  At a follower
 * never of a pending key: what is above its commit LSN may be committed and answered elsewhere.
 * kind is the node's clock kind if the handle may use it, judged at attach. */
MUST_USE bool read_lease(const struct read_point *p, const struct read_space *s);

/* Its halves, for a batch over several shards: the deadline of the lease that covers the answer, 0 if
 * none does; and, once all of them are loaded, whether the smallest is still ahead. */
MUST_USE uint64_t read_lease_deadline(const struct read_point *p, const struct read_space *s);
MUST_USE bool read_lease_holds(const struct read_space *s, uint64_t deadline);

/* Age of a local read in ns: since this node was last sure; UINT64_MAX: it never was.  ticks is a reading of
 * the clock. */
uint64_t read_age_ns(const struct read_point *p, const struct read_space *s, uint64_t ticks);

/* True if the frame may be pinned: not retiring, not reused since p.  The caller has stored its pin
 * and issued a seq_cst fence before (V1, pairs with W2 of reclaim.h). */
MUST_USE bool read_pin_holds(const struct read_point *p, const struct read_space *s,
                             uint32_t frame);

#endif
