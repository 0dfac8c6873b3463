#include "dataplane/items.h"

#include "engine/extension.h"
#include "engine/hash.h"

#include <string.h>

static bool is_sound(const struct ring_item *i)
{
    bool has_ttl = i->operation == RING_PUT && i->extension_length == sizeof(struct record_ttl);
    if (i->reserved != 0 || i->reserved_too != 0 || (i->extension_length != 0 && !has_ttl) ||
        i->key_length == 0 || i->key_length > LIMIT_KEY_BYTES || i->section > RING_SECTION_ELSE ||
        i->compare >= RING_COMPARE_COUNT)
        return false;
    switch (i->operation) {
    case RING_PUT:
        return true;
    case RING_INCREMENT:
        return i->value_length == sizeof(int64_t);
    case RING_DELETE:
    case RING_NOP:
        return i->value_length == 0;
    default:
        return false;
    }
}

static uint64_t packed_bytes(const struct ring_item *i)
{
    return ring_item_bytes(i->key_length, i->value_length) + i->extension_length;
}

/* extension: what stands behind the head. */
static struct shard_item item_of(const struct ring_item *i, const uint8_t *extension)
{
    const uint8_t *key = extension + i->extension_length;
    const uint8_t *value = key + align_up(i->key_length, 8);
    struct shard_item item = {
        .hash = hash_key(key, i->key_length),
        .key = key,
        .value = value,
        .extension = extension,
        .value_length = i->operation == RING_PUT ? i->value_length : 0,
        .key_length = i->key_length,
        .extension_length = i->extension_length,
        .section = i->section,
        .operation = i->operation,
        .compare = i->compare,
        .expected_lsn = i->expected,
    };
    if (i->operation == RING_INCREMENT)
        memcpy(&item.delta, value, sizeof item.delta);
    return item;
}

enum ring_status items_take(struct items *into, const struct request_scope *scope, uint32_t shard,
                            const uint8_t *packed, uint64_t length)
{
    into->count = 0;
    for (uint64_t at = 0; at < length;) {
        struct ring_item i;
        if (length - at < sizeof i)
            return RING_INPUT;
        memcpy(&i, packed + at, sizeof i);
        if (!is_sound(&i) || packed_bytes(&i) > length - at ||
            (i.extension_length != 0 &&
             extension_ttl_asked(packed + at + sizeof i, i.extension_length) == 0))
            return RING_INPUT;
        if (into->count == LIMIT_TRANSACTION_RECORDS)
            return RING_TOO_LARGE;
        struct shard_item item = item_of(&i, packed + at + sizeof i);
        if (hash_shard(item.key, item.key_length, item.hash, scope->partition_prefix,
                       scope->geometry->shard_count) != shard)
            return RING_INPUT;
        into->items[into->count++] = item;
        at += packed_bytes(&i);
    }
    return into->count != 0 ? RING_OK : RING_INPUT;
}
