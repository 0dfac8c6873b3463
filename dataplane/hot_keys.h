/* hot_keys - the keys that an lcore is asked for most: a sketch of fixed size over a sample of its
 * operations, and its top where control can read it.
 *
 * Pure core.  hot_keys_note, hot_keys_gap and hot_keys_show are the lcore's; hot_keys_copy is any
 * thread's.
 *
 * A key that got more than 1 / HOT_KEYS_COUNT of the noted operations is among the entries; the count
 * of an entry is at most its error too high, never too low.  What is long ago counts less: all counts
 * are halved whenever HOT_KEYS_WINDOW operations were noted.
 *
 * Memory order of what is shown (a sequence lock): H1 odd sequence, release fence -> H4 acquire fence,
 *   sequence unchanged: no word of a later showing was read; H2 even sequence (release) -> H3 (acquire):
 *   all words of that showing are there.
 * Source: Metwally, Agrawal, El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data
 *   Streams" (ICDT 2005), the space-saving algorithm; Boehm, "Can Seqlocks Get Along with Programming
 *   Language Memory Models?" (MSPC 2012). */
#ifndef DUNLIN_DATAPLANE_HOT_KEYS_H
#define DUNLIN_DATAPLANE_HOT_KEYS_H

#include "engine/base.h"
#include "engine/limits.h"

#define HOT_KEYS_COUNT 64u
#define HOT_KEYS_TOP 10u
#define HOT_KEYS_GAP_MEAN 16u        /* operations for each that is noted */
#define HOT_KEYS_WINDOW (1u << 16)   /* noted */
#define HOT_KEYS_GUARANTEED_LEAST 2u /* times that a key that is shown was noted for sure */

/* A key as it is asked for; bytes are the caller's, and stable. */
struct hot_keys_asked {
    uint32_t space;
    uint32_t length; /* up to LIMIT_KEY_BYTES */
    uint64_t hash;   /* hash_key of it */
    const uint8_t *bytes;
};

struct hot_keys_key {
    uint32_t space;
    uint32_t length;
    uint8_t bytes[LIMIT_KEY_BYTES];
};

/* Ready when it is all 0. */
struct hot_keys {
    uint32_t
        tags[HOT_KEYS_COUNT]; /* of the hash; first, since every search goes over all of them */
    uint32_t counts[HOT_KEYS_COUNT];
    uint32_t errors[HOT_KEYS_COUNT];
    uint32_t entry_count;
    uint32_t least;  /* no count is below it */
    uint32_t cursor; /* entries before it are above least */
    uint32_t noted;  /* in the window, sum of the counts but for what halving cut off */
    uint64_t random;
    struct hot_keys_key keys[HOT_KEYS_COUNT];
};

struct hot_keys_top {
    uint32_t noted; /* of which: */
    uint32_t count; /* entries below */
    struct {
        uint32_t count, error;
        struct hot_keys_key key;
    } entries[HOT_KEYS_TOP]; /* those with the highest count less error first */
};

#define HOT_KEYS_WORDS (sizeof(struct hot_keys_top) / sizeof(uint64_t))
_Static_assert(sizeof(struct hot_keys_top) % sizeof(uint64_t) == 0, "it is copied by words");

/* Ready when it is all 0: nothing was shown. */
struct hot_keys_shown {
    _Atomic uint64_t sequence; /* odd: the words are being written */
    _Atomic uint64_t words[HOT_KEYS_WORDS];
};

/* One more operation on a key. */
void hot_keys_note(struct hot_keys *h, const struct hot_keys_asked *key);

/* Operations until the next one that is noted, 1 .. 2 * HOT_KEYS_GAP_MEAN - 1.  Why at random, from a fixed
 * beginning: who writes his keys in turn must not have the same one noted each time. */
uint32_t hot_keys_gap(struct hot_keys *h);

/* The top as it is now. */
void hot_keys_top(const struct hot_keys *h, struct hot_keys_top *top);
void hot_keys_show(const struct hot_keys *h, struct hot_keys_shown *shown);

/* What was shown last.  False: its lcore stopped in the middle of showing; try later. */
MUST_USE bool hot_keys_copy(const struct hot_keys_shown *shown, struct hot_keys_top *top);

#endif
