#include "engine/extension.h"

#include <string.h>

bool extension_find(const void *bytes, uint32_t total, uint16_t type, void *into, uint32_t size)
{
    const uint8_t *at = bytes;
    for (uint32_t left = total; left >= 4;) {
        uint16_t head[2];
        memcpy(head, at, sizeof head);
        uint32_t whole = 4 + (uint32_t)align_up(head[1], 4);
        if (whole > left)
            return false;
        if (head[0] == type && head[1] + 4u == size) {
            memcpy(into, at, size);
            return true;
        }
        at += whole;
        left -= whole;
    }
    return false;
}

static const uint8_t *extensions_of(const struct record *r)
{
    return (const uint8_t *)r + RECORD_HEADER_BYTES;
}

uint64_t extension_ttl(const struct record *r)
{
    struct record_ttl ttl;
    if (LIKELY(r->extension_length == 0) || r->kind != RECORD_DATA ||
        !extension_find(extensions_of(r), r->extension_length, RECORD_EXTENSION_TTL, &ttl,
                        sizeof ttl))
        return 0;
    return min_u64(ttl.ttl_ns, LIMIT_TTL_NS_MAX);
}

uint64_t extension_token(const struct record *r)
{
    struct record_token token;
    if (LIKELY(r->extension_length == 0) || r->kind != RECORD_DATA ||
        !extension_find(extensions_of(r), r->extension_length, RECORD_EXTENSION_TOKEN, &token,
                        sizeof token))
        return 0;
    return token.token != 0 ? token.token : r->lsn;
}

uint64_t extension_ttl_asked(const void *bytes, uint32_t total)
{
    struct record_ttl ttl;
    bool found =
        total == sizeof ttl && extension_find(bytes, total, RECORD_EXTENSION_TTL, &ttl, sizeof ttl);
    return found && ttl.reserved == 0 && ttl.ttl_ns >= LIMIT_TTL_NS_MIN &&
                   ttl.ttl_ns <= LIMIT_TTL_NS_MAX
               ? ttl.ttl_ns
               : 0;
}
