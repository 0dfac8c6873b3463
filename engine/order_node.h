/* order_node - a node of the ordered index as it lies in a space's arena: what its writer (order.h) and
 * its readers (scan.h) share.
 *
 * Pure.  A node is 4 KiB: it holds seven of the longest keys, so that every split leaves both halves
 * with something; a hundred and more of usual ones, so that three levels are enough for millions; and
 * copying one costs a reader less than the misses of a few of its records.  All of it is 8-byte words,
 * stored and loaded relaxed:
 *
 *   0       version; odd while the node is written.  It only grows while the node's frame is of this
 *           kind, also when the node is given up and used again, so an unchanged one means an
 *           unchanged node; frames that were given back are told by their stamp (R6 of read.h)
 *   1       count of entries (bits 0..15), bytes of the common prefix (16..31), word where the heap
 *           begins (32..47), level (48..51; 0: a leaf), words of the heap that nothing names (52..63)
 *   2..     the prefix that all keys of the node have in common; of an inner node all but the first
 *   then    two words for each entry, in key order: the next eight bytes of its key, big-endian, so
 *           that they compare as numbers; and payload (bits 0..31), word in the heap (32..47), bytes of
 *           the key behind the prefix (48..63)
 *   heap    the rest of longer keys, from the node's end down
 *
 * Payload: of a leaf the hash by which the key's bucket is found, of an inner node the number of the
 * child that holds the keys from this one on.  An inner node's first entry has no key: it stands for all
 * below the second.  Parts of keys are filled up with zeros to whole words.
 * Source: Bayer and Unterauer, "Prefix B-Trees" (TODS 1977); Cha et al., "Cache-Conscious Concurrency
 * Control of Main-Memory Indexes" (VLDB 2001), OLFIT, for the versions. */
#ifndef DUNLIN_ENGINE_ORDER_NODE_H
#define DUNLIN_ENGINE_ORDER_NODE_H

#include "engine/base.h"
#include "engine/limits.h"

#include <string.h>

#define ORDER_NODE_SHIFT 12u
#define ORDER_NODE_BYTES (1u << ORDER_NODE_SHIFT)
#define ORDER_NODE_WORDS (ORDER_NODE_BYTES / 8)
#define ORDER_HEAD_WORDS 2u
#define ORDER_NODE_ENTRIES ((ORDER_NODE_WORDS - ORDER_HEAD_WORDS) / 2)
/* A walk from the root never passes more; the writer refuses what would need more. */
#define ORDER_LEVELS_MAX 16u

struct order_node {
    alignas(CACHE_LINE) _Atomic uint64_t words[ORDER_NODE_WORDS];
};
_Static_assert(sizeof(struct order_node) == ORDER_NODE_BYTES, "no holes");

/* A key that is looked for: a zero byte may follow it (order_key_after), and zeros up to a word. */
struct order_key {
    uint32_t length;
    alignas(8) uint8_t bytes[LIMIT_KEY_BYTES + 16];
};

static inline void order_key_set(struct order_key *k, const void *bytes, uint32_t length)
{
    k->length = length;
    if (length != 0) /* else bytes may be NULL */
        memcpy(k->bytes, bytes, length);
    memset(k->bytes + length, 0, 9);
}

/* The smallest key behind it. */
static inline void order_key_after(struct order_key *k)
{
    k->length++;
    memset(k->bytes + k->length, 0, 8);
}

static ALWAYS_INLINE uint64_t order_key_word(const struct order_key *k, uint32_t at)
{
    uint64_t word;
    if (at >= k->length)
        return 0;
    memcpy(&word, k->bytes + at, sizeof word);
    return __builtin_bswap64(word);
}

/* ---- words ---- */

struct order_meta {
    uint32_t count, prefix_length, heap, level, garbage;
};

static ALWAYS_INLINE uint64_t order_word(const struct order_node *n, uint32_t i)
{
    /* relaxed: the version judges them all */
    return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)&n->words[i], memory_order_relaxed);
}

static ALWAYS_INLINE struct order_meta order_meta_of(uint64_t word)
{
    return (struct order_meta){
        .count = word & 0xffff,
        .prefix_length = word >> 16 & 0xffff,
        .heap = word >> 32 & 0xffff,
        .level = word >> 48 & 0xf,
        .garbage = (uint32_t)(word >> 52),
    };
}

static ALWAYS_INLINE uint64_t order_meta_word(const struct order_meta *m)
{
    return (uint64_t)m->count | (uint64_t)m->prefix_length << 16 | (uint64_t)m->heap << 32 |
           (uint64_t)m->level << 48 | (uint64_t)m->garbage << 52;
}

/* Word of the first entry. */
static ALWAYS_INLINE uint32_t order_base(const struct order_meta *m)
{
    return ORDER_HEAD_WORDS + (m->prefix_length + 7) / 8;
}

/* What a reader found may be half written: whether all that meta says lies inside the node. */
static ALWAYS_INLINE bool order_meta_sound(const struct order_meta *m)
{
    return m->prefix_length <= LIMIT_KEY_BYTES && m->heap <= ORDER_NODE_WORDS && m->count != 0 &&
           order_base(m) + 2 * m->count <= m->heap && m->level < ORDER_LEVELS_MAX;
}

static ALWAYS_INLINE uint64_t order_head_make(uint32_t payload, uint32_t heap, uint32_t length)
{
    uint64_t upper = length << 16 | heap;
    return upper << 32 | payload;
}
static ALWAYS_INLINE uint32_t order_head_payload(uint64_t head)
{
    return (uint32_t)head;
}
static ALWAYS_INLINE uint32_t order_head_heap(uint64_t head)
{
    return (uint32_t)(head >> 32) & 0xffff;
}
static ALWAYS_INLINE uint32_t order_head_length(uint64_t head)
{
    return (uint32_t)(head >> 48);
}

/* Words that the rest of a key of this length behind the prefix takes in the heap. */
static ALWAYS_INLINE uint32_t order_heap_words(uint32_t length)
{
    return length > 8 ? (length - 1) / 8 : 0;
}

/* ---- looking for a key ---- */

/* The key's place against the node's prefix: -1 before all that have it, 0 it has it, 1 behind. */
static inline int order_prefix_compare(const struct order_node *n, const struct order_meta *m,
                                       const struct order_key *k)
{
    for (uint32_t at = 0; at < m->prefix_length; at += 8) {
        uint32_t left = m->prefix_length - at;
        uint64_t mask = left < 8 ? ~(UINT64_MAX >> (8 * left)) : UINT64_MAX;
        uint64_t theirs = __builtin_bswap64(order_word(n, ORDER_HEAD_WORDS + at / 8)) & mask;
        uint64_t mine = order_key_word(k, at) & mask;
        if (mine != theirs)
            return mine < theirs ? -1 : 1;
    }
    /* Why: where it ends inside the prefix, zeros of that looked like its own. */
    return k->length < m->prefix_length ? -1 : 0;
}

/* An entry against the key, which has the node's prefix: -1 it comes before, 0 equal, 1 behind. */
static inline int order_entry_compare(const struct order_node *n, const struct order_meta *m,
                                      uint32_t i, const struct order_key *k)
{
    uint32_t at = order_base(m) + 2 * i;
    uint64_t theirs = order_word(n, at), mine = order_key_word(k, m->prefix_length);
    if (LIKELY(theirs != mine))
        return theirs < mine ? -1 : 1;
    uint64_t head = order_word(n, at + 1);
    uint32_t length = order_head_length(head), own = k->length - m->prefix_length;
    uint32_t shorter = length < own ? length : own;
    uint32_t heap = order_head_heap(head);
    for (uint32_t w = 0; w < order_heap_words(shorter); w++) {
        /* Why bounded: what a reader found may be of no node that ever was. */
        theirs = __builtin_bswap64(order_word(n, (heap + w) % ORDER_NODE_WORDS));
        mine = order_key_word(k, m->prefix_length + 8 * (w + 1));
        if (theirs != mine)
            return theirs < mine ? -1 : 1;
    }
    return length < own ? -1 : length > own;
}

/* First entry from first on that is not before the key; *equal: it is the key. */
static inline uint32_t order_find(const struct order_node *n, const struct order_meta *m,
                                  uint32_t first, const struct order_key *k, bool *equal)
{
    uint32_t low = first, high = m->count;
    *equal = false;
    int place = order_prefix_compare(n, m, k);
    if (place != 0)
        return place < 0 ? first : m->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int compared = order_entry_compare(n, m, middle, k);
        if (compared == 0) {
            *equal = true;
            return middle;
        }
        if (compared < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Entry of an inner node whose child holds the key. */
static inline uint32_t order_find_child(const struct order_node *n, const struct order_meta *m,
                                        const struct order_key *k)
{
    bool equal;
    uint32_t i = order_find(n, m, 1, k, &equal);
    return equal ? i : i - 1;
}

/* The whole key of an entry.  False: a reader found what cannot be. */
static inline bool order_key_load(const struct order_node *n, const struct order_meta *m,
                                  uint32_t i, struct order_key *k)
{
    uint32_t at = order_base(m) + 2 * i;
    uint64_t head = order_word(n, at + 1);
    uint32_t length = order_head_length(head), heap = order_head_heap(head);
    if (m->prefix_length + length > LIMIT_KEY_BYTES)
        return false;
    uint64_t word;
    for (uint32_t w = 0; w < (m->prefix_length + 7) / 8; w++) {
        word = order_word(n, ORDER_HEAD_WORDS + w);
        memcpy(k->bytes + 8 * (size_t)w, &word, sizeof word);
    }
    uint8_t *to = k->bytes + m->prefix_length;
    word = __builtin_bswap64(order_word(n, at));
    memcpy(to, &word, sizeof word);
    for (uint32_t w = 0; w < order_heap_words(length); w++) {
        word = order_word(n, (heap + w) % ORDER_NODE_WORDS);
        memcpy(to + 8 * ((size_t)w + 1), &word, sizeof word);
    }
    k->length = m->prefix_length + length;
    memset(k->bytes + k->length, 0, 9);
    return true;
}

#endif
