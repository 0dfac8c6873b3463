#include "dataplane/request.h"

#include "engine/extension.h"
#include "engine/hash.h"
#include "engine/session.h"

static bool lengths_agree(const struct ring_head *head, const struct ring_request *r)
{
    bool inline_value = r->head.operation != RING_GET && (r->head.flags & RING_FLAG_BULK) == 0;
    return r->key_length <= LIMIT_KEY_BYTES && r->extension_length <= LIMIT_EXTENSION_BYTES &&
           head->length == ring_request_bytes(r->extension_length, r->key_length,
                                              inline_value ? r->value_length : 0);
}

static bool bulk_is_inside(const struct ring_request *r, uint32_t bulk_bytes)
{
    return (r->head.flags & RING_FLAG_BULK) == 0 ||
           (r->bulk_offset % 8 == 0 && r->bulk_offset <= bulk_bytes &&
            r->value_length <= bulk_bytes - r->bulk_offset);
}

static bool flags_are_known(const struct ring_request *r)
{
    static const uint16_t known[RING_OPERATION_COUNT] = {
        [RING_SESSION_OPEN] = RING_FLAG_EXISTING, [RING_PUT] = RING_FLAG_BULK | RING_FLAG_COMPARE,
        [RING_DELETE] = RING_FLAG_COMPARE,        [RING_GET] = RING_FLAG_BULK,
        [RING_TRANSACTION] = RING_FLAG_BULK,      [RING_INCREMENT] = RING_FLAG_COMPARE,
    };
    return (r->head.flags & ~(uint32_t)known[r->head.operation]) == 0;
}

/* Lengths that each operation may have. */
static bool shape_is_known(const struct ring_request *r)
{
    switch (r->head.operation) {
    case RING_SESSION_OPEN:
    case RING_SESSION_CLOSE:
        return r->key_length == SESSION_ID_BYTES && r->value_length == 0;
    case RING_PUT:
    case RING_GET:
        return r->key_length != 0;
    case RING_DELETE:
        return r->key_length != 0 && r->value_length == 0;
    case RING_INCREMENT:
        return r->key_length != 0 && r->value_length == sizeof(int64_t);
    case RING_LEASE_ACQUIRE:
        return r->key_length != 0 && r->value_length != 0 &&
               r->value_length <= LIMIT_LEASE_OWNER_BYTES;
    case RING_LEASE_RENEW:
    case RING_LEASE_RELEASE:
        return r->key_length != 0 && r->value_length == 0;
    case RING_TRANSACTION:
        return r->key_length == 0 && r->value_length % 8 == 0 &&
               r->value_length >= sizeof(struct ring_item);
    case RING_POSITION:
        return r->key_length == 0 && r->value_length == 0;
    default:
        return false;
    }
}

/* The only extension of a request is a ttl (request_check_ttl), where it means something. */
static bool extension_is_known(const struct ring_request *r)
{
    bool is_there = r->extension_length == sizeof(struct record_ttl);
    switch (r->head.operation) {
    case RING_LEASE_ACQUIRE:
    case RING_LEASE_RENEW:
        return is_there;
    case RING_PUT:
        return is_there || r->extension_length == 0;
    default:
        return r->extension_length == 0;
    }
}

enum ring_status request_check(const struct ring_head *head, const struct ring_request *r,
                               const struct request_scope *scope)
{
    if (head->length < sizeof *r)
        return RING_INPUT;
    if (r->head.operation == RING_NOP)
        return RING_OK;
    if (!lengths_agree(head, r) || !shape_is_known(r) || !flags_are_known(r) ||
        !extension_is_known(r))
        return RING_INPUT;
    if (scope->geometry == NULL)
        return RING_UNAVAILABLE;
    if (r->shard >= scope->geometry->shard_count || !bulk_is_inside(r, scope->bulk_bytes))
        return RING_INPUT;
    bool is_read = r->head.operation == RING_GET || r->head.operation == RING_POSITION;
    uint8_t needed = is_read ? REQUEST_MAY_READ : REQUEST_MAY_WRITE;
    if ((scope->access & needed) == 0)
        return RING_ACCESS;
    if (r->head.operation == RING_PUT && r->value_length > scope->value_bytes_max)
        return RING_TOO_LARGE;
    if (r->head.operation == RING_TRANSACTION && r->value_length > LIMIT_TRANSACTION_BYTES)
        return RING_TOO_LARGE;
    return RING_OK;
}

enum ring_status request_check_ttl(const struct ring_request *r, const void *extension,
                                   uint64_t *ttl_ns)
{
    *ttl_ns = r->extension_length != 0 ? extension_ttl_asked(extension, r->extension_length) : 0;
    return r->extension_length == 0 || *ttl_ns != 0 ? RING_OK : RING_INPUT;
}

enum ring_status request_check_key(const struct ring_request *r, const void *key,
                                   const struct request_scope *scope, uint64_t *hash)
{
    *hash = hash_key(key, r->key_length);
    /* Why: a transaction's keys are judged with the rest of its parts (items.h). */
    if (r->head.operation == RING_SESSION_OPEN || r->head.operation == RING_SESSION_CLOSE ||
        r->head.operation == RING_TRANSACTION || r->head.operation == RING_POSITION)
        return RING_OK;
    uint32_t shard = hash_shard(key, r->key_length, *hash, scope->partition_prefix,
                                scope->geometry->shard_count);
    return shard == r->shard ? RING_OK : RING_INPUT;
}
