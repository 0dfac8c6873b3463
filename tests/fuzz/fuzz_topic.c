/* Any pattern and key, two bytes for the pattern's length in front: what topic_match says is what a slow
 * match by recursion says. */
#include "engine/topic.h"

#include <stdlib.h>
#include <string.h>

static size_t level(const uint8_t *at, size_t length)
{
    size_t n = 0;
    while (n < length && at[n] != '/')
        n++;
    return n;
}

/* As NATS has it: level by level. */
static bool slow(const uint8_t *p, size_t p_length, const uint8_t *k, size_t k_length)
{
    size_t p_level = level(p, p_length), k_level = level(k, k_length);
    if (p_level == p_length && p_length == 1 && p[0] == '>')
        return true;
    bool star = p_level == 1 && p[0] == '*';
    if (!star && (p_level != k_level || memcmp(p, k, p_level) != 0))
        return false;
    bool p_more = p_level != p_length, k_more = k_level != k_length;
    if (!p_more || !k_more)
        return p_more == k_more;
    return slow(p + p_level + 1, p_length - p_level - 1, k + k_level + 1, k_length - k_level - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct topic t;
    if (size < 2)
        return 0;
    size_t length = (data[0] | (size_t)data[1] << 8) % (size - 1);
    size_t key_length = size - 2 - length;
    /* Memory of its own: a byte too far is found. */
    uint8_t *pattern = malloc(length + 1), *key = malloc(key_length + 1);
    ASSERT(pattern != NULL && key != NULL);
    memcpy(pattern, data + 2, length);
    memcpy(key, data + 2 + length, key_length);
    int error = topic_pattern(&t, pattern, length);
    ASSERT(error == 0 || error == -EINVAL || error == -EMSGSIZE);
    if (error == 0)
        ASSERT(topic_match(&t, key, key_length) == slow(pattern, length, key, key_length));
    if (topic_prefix(&t, pattern, length) == 0)
        ASSERT(topic_match(&t, key, key_length) ==
               (key_length >= length && memcmp(pattern, key, length) == 0));
    (void)topic_has_wildcard(pattern, length);
    free(pattern);
    free(key);
    return 0;
}
