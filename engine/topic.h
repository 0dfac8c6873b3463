/* topic - which keys a subscription is about: those with a prefix, or those that a pattern matches.
 *
 * Pure.  Keys are bytes; a pattern sees them as levels separated by '/', as NATS does subjects by '.':
 *   *   as a whole level matches any one level, also an empty one
 *   >   as the last level matches what is left, one level or more
 * Everything else stands for itself, '*' and '>' beside other bytes of a level too.  So "air/>" is the
 * prefix "air/", and a pattern without such a level is one key. */
#ifndef DUNLIN_ENGINE_TOPIC_H
#define DUNLIN_ENGINE_TOPIC_H

#include "engine/base.h"
#include "engine/limits.h"

struct topic {
    uint32_t length;
    uint32_t literal_length; /* bytes that every matching key begins with */
    bool prefix;             /* and there is no more to it */
    alignas(8) uint8_t bytes[LIMIT_KEY_BYTES];
};

/* Every key that begins with these bytes; length 0: every key.  Returns 0, or -EMSGSIZE: longer than any
 * key. */
MUST_USE int topic_prefix(struct topic *t, const void *prefix, size_t length);

/* Returns 0, or -EMSGSIZE, -EINVAL: it is empty, or > is a level and not the last one. */
MUST_USE int topic_pattern(struct topic *t, const void *pattern, size_t length);

/* Whether a text is more than a literal: some level of it is * or >. */
bool topic_has_wildcard(const void *text, size_t length);

bool topic_match(const struct topic *t, const void *key, size_t length);

#endif
