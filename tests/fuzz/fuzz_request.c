/* Any bytes as a copied request: what request_check lets through stays inside the message, the bulk
 * buffer and the limits. */
#include "dataplane/items.h"
#include "engine/extension.h"
#include "engine/session.h"

#include <string.h>

#define BULK 65536u

static void require_sound(const struct ring_request *q, const struct request_scope *s)
{
    if (q->head.operation == RING_NOP)
        return;
    bool bulk = (q->head.flags & RING_FLAG_BULK) != 0;
    uint64_t inside = q->head.operation == RING_GET || bulk ? 0 : q->value_length;
    ASSERT(q->head.operation < RING_OPERATION_COUNT);
    ASSERT((q->key_length != 0) ==
           (q->head.operation != RING_TRANSACTION && q->head.operation != RING_POSITION));
    ASSERT(q->key_length <= LIMIT_KEY_BYTES);
    ASSERT(q->head.length == sizeof *q + align_up(q->extension_length, 8) +
                                 align_up(q->key_length, 8) + align_up(inside, 8));
    bool is_lease =
        q->head.operation == RING_LEASE_ACQUIRE || q->head.operation == RING_LEASE_RENEW;
    ASSERT(q->extension_length == sizeof(struct record_ttl) ||
           (q->extension_length == 0 && !is_lease));
    ASSERT(q->extension_length == 0 || is_lease || q->head.operation == RING_PUT);
    ASSERT(!bulk || (uint64_t)q->bulk_offset + q->value_length <= BULK);
    ASSERT(q->head.operation != RING_PUT || q->value_length <= s->value_bytes_max);
    ASSERT(q->head.operation != RING_TRANSACTION || q->value_length <= LIMIT_TRANSACTION_BYTES);
    ASSERT(q->head.operation != RING_INCREMENT || q->value_length == sizeof(int64_t));
    ASSERT(q->head.operation != RING_SESSION_OPEN || q->key_length == SESSION_ID_BYTES);
    ASSERT(s->geometry != NULL && q->shard < s->geometry->shard_count);
    bool is_read = q->head.operation == RING_GET || q->head.operation == RING_POSITION;
    ASSERT((s->access & (is_read ? REQUEST_MAY_READ : REQUEST_MAY_WRITE)) != 0);
}

/* What is taken of packed parts lies inside them, and every byte of them belongs to one. */
static void take_items(const uint8_t *packed, size_t length, const struct request_scope *s)
{
    static struct items items;
    uint32_t shard = length != 0 ? packed[0] % s->geometry->shard_count : 0;
    enum ring_status status = items_take(&items, s, shard, packed, length);
    ASSERT(status == RING_OK || status == RING_INPUT || status == RING_TOO_LARGE);
    if (status != RING_OK)
        return;
    uint64_t bytes = 0;
    ASSERT(items.count != 0 && items.count <= LIMIT_TRANSACTION_RECORDS);
    for (uint32_t i = 0; i < items.count; i++) {
        const struct shard_item *item = &items.items[i];
        const uint8_t *key = item->key, *value = item->value;
        uint64_t value_length =
            item->operation == RING_INCREMENT ? sizeof(int64_t) : item->value_length;
        ASSERT(key >= packed && value + value_length <= packed + length);
        ASSERT(item->key_length != 0 && item->key_length <= LIMIT_KEY_BYTES);
        ASSERT(item->section <= RING_SECTION_ELSE && item->compare < RING_COMPARE_COUNT);
        ASSERT(item->extension_length == 0 ||
               extension_ttl_asked(item->extension, item->extension_length) != 0);
        bytes += item->extension_length + ring_item_bytes(item->key_length, value_length);
    }
    ASSERT(bytes == length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ring_request q;
    if (size < sizeof q + 1)
        return 0;
    uint8_t how = data[0];
    memcpy(&q, data + 1, sizeof q);
    struct layout_geometry geometry = {.shard_count = how % 16 + 1u};
    struct request_scope scope = {
        .geometry = how & 0x80 ? NULL : &geometry,
        .partition_prefix = how & 0x40 ? 4 : 0,
        .value_bytes_max = 60000,
        .bulk_bytes = BULK,
        .access = how >> 4 & 3,
    };
    /* Half of the inputs get a length that agrees, or hardly any would get further. */
    if (how & 1) {
        bool inside = q.head.operation != RING_GET && (q.head.flags & RING_FLAG_BULK) == 0;
        q.head.length = (uint32_t)ring_request_bytes(q.extension_length, q.key_length,
                                                     inside ? q.value_length : 0);
    }
    enum ring_status status = request_check(&q.head, &q, &scope);
    ASSERT((unsigned)status < RING_STATUS_COUNT);
    if (status != RING_OK)
        return 0;
    require_sound(&q, &scope);
    if (q.head.operation == RING_NOP)
        return 0;
    static uint8_t key[LIMIT_KEY_BYTES];
    memset(key, 0, sizeof key);
    memcpy(key, data + 1 + sizeof q,
           size - 1 - sizeof q < sizeof key ? size - 1 - sizeof q : sizeof key);
    uint64_t hash = 0;
    if (q.head.operation == RING_TRANSACTION)
        take_items(data + 1 + sizeof q, size - 1 - sizeof q, &scope);
    status = request_check_key(&q, key, &scope, &hash);
    ASSERT(status == RING_OK || status == RING_INPUT);
    return 0;
}
