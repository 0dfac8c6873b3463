/* items - the packed parts of a transaction, judged: nothing in them is trusted.
 *
 * Pure; fuzzed (tests/fuzz/fuzz_request.c).  The bytes are a copy that nobody else writes to: an agent may
 * change its own while they are read. */
#ifndef DUNLIN_DATAPLANE_ITEMS_H
#define DUNLIN_DATAPLANE_ITEMS_H

#include "dataplane/request.h"
#include "engine/shard.h"

/* What came of it; keys and values lie in the packed bytes. */
struct items {
    uint32_t count;
    struct shard_item items[LIMIT_TRANSACTION_RECORDS];
};

/* Judge packed struct ring_item of a request for a shard.  Returns RING_OK, or
 *   RING_INPUT      lengths, operations or holes do not agree, or a key belongs to another shard
 *   RING_TOO_LARGE  more items than LIMIT_TRANSACTION_RECORDS.
 * What an item means where it stands is judged by shard_transaction. */
enum ring_status items_take(struct items *into, const struct request_scope *scope, uint32_t shard,
                            const uint8_t *packed, uint64_t length);

#endif
