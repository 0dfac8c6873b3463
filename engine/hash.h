/* hash - one hash of the key for the index, one of the partition key for the shard.
 *
 * XXH3 (xxhash 0.8, header only, so that libdunlin links nothing but libc).  The index uses the low
 * 32 bits, the shard the high 32 bits: for a key without a partition part one hash serves both. */
#ifndef DUNLIN_ENGINE_HASH_H
#define DUNLIN_ENGINE_HASH_H

#include "engine/base.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static ALWAYS_INLINE uint64_t hash_key(const void *key, size_t length)
{
    return XXH3_64bits(key, length);
}

/* Whether any byte is '{': eight at a time (Mycroft's zero-byte test), since keys are short and a call
 * costs more than they do.  May say yes for a key without one, never no for a key with one. */
static inline bool hash_may_have_brace(const char *key, size_t length)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t found = 0;
    uint64_t word = 0;
    for (; length >= 8; key += 8, length -= 8) {
        memcpy(&word, key, 8);
        word ^= ones * '{';
        found |= (word - ones) & ~word & (ones << 7);
    }
    for (; length != 0; key++, length--)
        found |= *key == '{';
    return found != 0;
}

/* The part of the key that names its shard: what is inside the first {} if that is not empty, else
 * the first prefix_length bytes if the space declares one, else all of it.
 * Returns its length and sets *part. */
static inline size_t hash_partition_part(const char *key, size_t length, size_t prefix_length,
                                         const char **part)
{
    const char *open = hash_may_have_brace(key, length) ? memchr(key, '{', length) : NULL;
    if (UNLIKELY(open != NULL)) {
        size_t rest = length - (size_t)(open + 1 - key);
        const char *close = memchr(open + 1, '}', rest);
        if (close != NULL && close != open + 1) {
            *part = open + 1;
            return (size_t)(close - open - 1);
        }
    }
    *part = key;
    return prefix_length != 0 && prefix_length < length ? prefix_length : length;
}

/* hash is hash_key(key, length), so that the usual key is hashed once. */
static inline uint32_t hash_shard(const void *key, size_t length, uint64_t hash,
                                  size_t prefix_length, uint32_t shard_count)
{
    const char *part;
    size_t part_length = hash_partition_part(key, length, prefix_length, &part);
    uint64_t h = part_length == length ? hash : hash_key(part, part_length);
    return (uint32_t)(((h >> 32) * shard_count) >> 32);
}

#endif
