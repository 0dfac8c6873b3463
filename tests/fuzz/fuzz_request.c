/* Any bytes as a copied request: what request_check lets through stays inside the message, the bulk
 * buffer and the limits. */
#include "dataplane/request.h"
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
    ASSERT(q->key_length != 0 && q->key_length <= LIMIT_KEY_BYTES && q->extension_length == 0);
    ASSERT(q->head.length == sizeof *q + align_up(q->key_length, 8) + align_up(inside, 8));
    ASSERT(!bulk || (uint64_t)q->bulk_offset + q->value_length <= BULK);
    ASSERT(q->head.operation != RING_PUT || q->value_length <= s->value_bytes_max);
    ASSERT(q->head.operation != RING_SESSION_OPEN || q->key_length == SESSION_ID_BYTES);
    ASSERT(s->geometry != NULL && q->shard < s->geometry->shard_count);
    ASSERT((s->access & (q->head.operation == RING_GET ? REQUEST_MAY_READ : REQUEST_MAY_WRITE)) !=
           0);
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
    status = request_check_key(&q, key, &scope, &hash);
    ASSERT(status == RING_OK || status == RING_INPUT);
    return 0;
}
