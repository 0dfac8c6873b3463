#include "engine/topic.h"

#include <string.h>

/* The level that begins at from: up to the next '/', or the end. */
static const uint8_t *level_end(const uint8_t *from, const uint8_t *end)
{
    const uint8_t *slash = from != end ? memchr(from, '/', (size_t)(end - from)) : NULL;
    return slash != NULL ? slash : end;
}

static bool is_sign(const uint8_t *from, const uint8_t *end, char sign)
{
    return end - from == 1 && *from == (uint8_t)sign;
}

/* The first level that is a sign; end: there is none. */
static const uint8_t *first_sign(const uint8_t *from, const uint8_t *end)
{
    while (from != end) {
        const uint8_t *to = level_end(from, end);
        if (is_sign(from, to, '*') || is_sign(from, to, '>'))
            return from;
        from = to != end ? to + 1 : end;
    }
    return end;
}

bool topic_has_wildcard(const void *text, size_t length)
{
    const uint8_t *from = text;
    return length != 0 && first_sign(from, from + length) != from + length;
}

int topic_prefix(struct topic *t, const void *prefix, size_t length)
{
    if (length > LIMIT_KEY_BYTES)
        return -EMSGSIZE;
    *t = (struct topic){
        .length = (uint32_t)length, .literal_length = (uint32_t)length, .prefix = true};
    if (length != 0)
        memcpy(t->bytes, prefix, length);
    return 0;
}

/* > stands last or nowhere. */
static bool is_sound(const uint8_t *from, const uint8_t *end)
{
    for (;;) {
        const uint8_t *to = level_end(from, end);
        if (to == end)
            return true;
        if (is_sign(from, to, '>'))
            return false;
        from = to + 1;
    }
}

int topic_pattern(struct topic *t, const void *pattern, size_t length)
{
    const uint8_t *from = pattern;
    if (length > LIMIT_KEY_BYTES)
        return -EMSGSIZE;
    if (length == 0 || !is_sound(from, from + length))
        return -EINVAL;
    size_t literal = (size_t)(first_sign(from, from + length) - from);
    bool prefix = literal == length - 1 && from[literal] == '>';
    *t = (struct topic){
        .length = (uint32_t)(prefix ? literal : length),
        .literal_length = (uint32_t)literal,
        .prefix = prefix,
    };
    memcpy(t->bytes, pattern, length);
    return 0;
}

static bool levels_match(const struct topic *t, const uint8_t *key, const uint8_t *key_end)
{
    const uint8_t *at = t->bytes, *end = t->bytes + t->length;
    for (;;) {
        const uint8_t *to = level_end(at, end);
        if (to == end && is_sign(at, to, '>'))
            return true;
        const uint8_t *key_to = level_end(key, key_end);
        if (!is_sign(at, to, '*') &&
            (to - at != key_to - key || memcmp(at, key, (size_t)(to - at)) != 0))
            return false;
        if (to == end || key_to == key_end)
            return to == end && key_to == key_end;
        at = to + 1;
        key = key_to + 1;
    }
}

bool topic_match(const struct topic *t, const void *key, size_t length)
{
    if (length < t->literal_length || memcmp(t->bytes, key, t->literal_length) != 0)
        return false;
    return t->prefix || levels_match(t, key, (const uint8_t *)key + length);
}
