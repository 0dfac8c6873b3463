#include "engine/hash.h"
#include "engine/read.h"

#include <string.h>

/* The key's bytes, the last word filled up with zeros.  Why not one memcpy: most keys are 8 to 16
 * bytes, and a call for a length that the compiler does not know costs more than they do. */
static ALWAYS_INLINE void words_init(uint64_t *words, const uint8_t *key, size_t key_length)
{
    size_t last = (key_length - 1) / 8;
    if (LIKELY(key_length >= 8 && key_length <= 16)) {
        uint64_t tail;
        memcpy(&tail, key + key_length - 8, 8);
        memcpy(&words[0], key, 8);
        words[last] = last != 0 ? tail >> (8 * (16 - key_length)) : words[0];
        return;
    }
    words[last] = 0;
    memcpy(words, key, key_length);
}

void read_key_init(struct read_key *k, const struct read_space *s, const void *key,
                   size_t key_length)
{
    ASSERT(key_length != 0 && key_length <= LIMIT_KEY_BYTES);
    k->hash = hash_key(key, key_length);
    k->shard = hash_shard(key, key_length, k->hash, s->partition_prefix, s->geometry.shard_count);
    k->length = (uint32_t)key_length;
    words_init(k->words, key, key_length);
}
