/* request - judging one copied request of an agent: nothing in it is trusted.
 *
 * Pure; fuzzed (tests/fuzz/fuzz_request.c). */
#ifndef DUNLIN_DATAPLANE_REQUEST_H
#define DUNLIN_DATAPLANE_REQUEST_H

#include "engine/base.h"
#include "engine/ring.h"

/* What the request may refer to; NULL space: there is none of that number. */
struct request_scope {
    const struct layout_geometry *geometry;
    uint32_t partition_prefix;
    uint32_t value_bytes_max;
    uint32_t bulk_bytes; /* of the agent's bulk buffer */
    uint8_t access;      /* AGENT_MAY_* */
};

#define REQUEST_MAY_READ 0x1u
#define REQUEST_MAY_WRITE 0x2u

/* Judge lengths, operation, flags, shard and access; the key is not looked at.  head is the copy that
 * ring_peek judged.  Returns RING_OK or the refusal. */
enum ring_status request_check(const struct ring_head *head, const struct ring_request *copy,
                               const struct request_scope *scope);

/* Judge the copied extension of a request that passed: *ttl_ns is its ttl, 0 if it has none.  Returns
 * RING_OK, or RING_INPUT: it is no ttl, or one outside of LIMIT_TTL_NS_MIN and _MAX. */
enum ring_status request_check_ttl(const struct ring_request *copy, const void *extension,
                                   uint64_t *ttl_ns);

/* Judge a copied key: *hash is its hash.  Returns RING_OK, or RING_INPUT if it belongs to another shard
 * than the request names. */
enum ring_status request_check_key(const struct ring_request *copy, const void *key,
                                   const struct request_scope *scope, uint64_t *hash);

#endif
