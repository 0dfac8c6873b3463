#include "control/attach_validate.h"

#include <string.h>

static bool ring_size_is_valid(uint32_t bytes)
{
    return bytes == 0 || (is_power_of_two(bytes) && bytes >= LIMIT_RING_BYTES_MIN &&
                          bytes <= LIMIT_RING_BYTES_MAX);
}

static bool hello_is_valid(const struct attach_request *r)
{
    return r->fingerprint == LAYOUT_FINGERPRINT && ring_size_is_valid(r->request_bytes) &&
           ring_size_is_valid(r->completion_bytes) && r->bulk_bytes <= LIMIT_BULK_BYTES_MAX;
}

static bool space_ends(const struct attach_request *r)
{
    return memchr(r->space, 0, sizeof(r->space)) != NULL;
}

static bool move_is_valid(const struct attach_request *r)
{
    return r->node != 0 && space_ends(r) &&
           (r->shard == ATTACH_SHARDS_ALL || (r->space[0] != 0 && r->shard < LIMIT_SHARDS));
}

static bool recover_is_valid(const struct attach_request *r)
{
    return r->space[0] != 0 && space_ends(r) &&
           (r->shard == ATTACH_SHARDS_ALL || r->shard < LIMIT_SHARDS);
}

static bool has_words(uint32_t kind)
{
    return kind == ATTACH_SPACE_CREATE || kind == ATTACH_SPACE_ALTER || kind == ATTACH_NODE_ADD;
}

/* Words end with the only 0 that there is. */
static bool length_is_valid(uint32_t kind, const uint8_t *bytes, size_t length)
{
    const size_t head = sizeof(struct attach_request);
    if (!has_words(kind))
        return length == head;
    if (length <= head || length > head + ATTACH_WORDS_BYTES)
        return false;
    return memchr(bytes + head, 0, length - head) == bytes + length - 1;
}

static bool is_valid(const struct attach_request *r, bool attached)
{
    switch (r->kind) {
    case ATTACH_SPACE_CREATE:
        return r->space_id <= LIMIT_SPACES && r->space[0] != 0 && space_ends(r);
    case ATTACH_SPACE_ALTER:
    case ATTACH_SPACE_DROP:
        return r->space[0] != 0 && space_ends(r);
    case ATTACH_HELLO:
        return !attached && hello_is_valid(r);
    case ATTACH_SPACE:
        return attached && r->space[0] != 0 && space_ends(r);
    case ATTACH_CHUNK:
        return attached && r->space_id >= 1 && r->space_id <= LIMIT_SPACES &&
               r->chunk < LIMIT_CHUNKS;
    case ATTACH_WATCH:
        return attached;
    case ATTACH_MOVE:
        return move_is_valid(r);
    case ATTACH_NODE_ADD:
    case ATTACH_NODE_DRAIN:
    case ATTACH_NODE_UNDRAIN:
    case ATTACH_NODE_REMOVE:
        return r->node != 0;
    case ATTACH_RECOVER:
        return recover_is_valid(r);
    case ATTACH_STATUS:
    case ATTACH_CLOCK:
    case ATTACH_NODES:
    case ATTACH_SHARDS:
    case ATTACH_RELOAD:
        return true;
    default:
        return false;
    }
}

int attach_validate(const void *bytes, size_t length, bool attached, struct attach_request *request)
{
    *request = (struct attach_request){0};
    if (length >= sizeof(request->kind))
        memcpy(&request->kind, bytes, sizeof(request->kind));
    if (!length_is_valid(request->kind, bytes, length))
        return -EPROTO;
    memcpy(request, bytes, sizeof(*request));
    return is_valid(request, attached) ? 0 : -EPROTO;
}
