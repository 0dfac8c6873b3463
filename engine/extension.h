/* extension - what stands between a record's header and its key: ttl and fencing token.
 *
 * Pure; any thread.  Each extension is a 4-byte head (type, length of what follows) and its bytes padded
 * to 4 (record.h).  They may come from a peer or an agent: every length is checked, a part that does not
 * fit ends the search.
 * Units: ttl_ns nanoseconds of whoever counts; token an LSN of the key's log. */
#ifndef DUNLIN_ENGINE_EXTENSION_H
#define DUNLIN_ENGINE_EXTENSION_H

#include "engine/base.h"
#include "engine/record.h"

static inline struct record_ttl extension_ttl_make(uint64_t ttl_ns)
{
    return (struct record_ttl){
        .type = RECORD_EXTENSION_TTL,
        .length = sizeof(struct record_ttl) - 4,
        .ttl_ns = ttl_ns,
    };
}

static inline struct record_token extension_token_make(uint64_t token)
{
    return (struct record_token){
        .type = RECORD_EXTENSION_TOKEN,
        .length = sizeof(struct record_token) - 4,
        .token = token,
    };
}

/* Copy the first extension of this type and of size bytes, head included, out of total bytes.  False:
 * there is none. */
MUST_USE bool extension_find(const void *bytes, uint32_t total, uint16_t type, void *into,
                             uint32_t size);

/* Ttl of a value, at most LIMIT_TTL_NS_MAX; 0: it stays.  r: in its log, sound. */
uint64_t extension_ttl(const struct record *r);

/* Token of the lease that a value is; 0: it is none. */
uint64_t extension_token(const struct record *r);

/* The ttl that a request brings along: exactly that one extension, within its limits.  0: it is not. */
uint64_t extension_ttl_asked(const void *bytes, uint32_t total);

#endif
