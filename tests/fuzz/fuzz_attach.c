/* fuzz_attach - any bytes as a request on the daemon's socket.
 *
 * The first byte says whether the connection has said HELLO; the rest is the message.  What is
 * accepted must lie within every limit that the server relies on. */
#include "control/attach_validate.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static bool ring_is_valid(uint32_t bytes)
{
    return bytes == 0 || (is_power_of_two(bytes) && bytes >= LIMIT_RING_BYTES_MIN &&
                          bytes <= LIMIT_RING_BYTES_MAX);
}

static void check_accepted(const struct attach_request *r, bool attached)
{
    switch (r->kind) {
    case ATTACH_HELLO:
        ASSERT(!attached && r->fingerprint == LAYOUT_FINGERPRINT);
        ASSERT(ring_is_valid(r->request_bytes) && ring_is_valid(r->completion_bytes));
        ASSERT(r->bulk_bytes <= LIMIT_BULK_BYTES_MAX);
        break;
    case ATTACH_SPACE:
        ASSERT(attached && strnlen(r->space, sizeof(r->space)) < sizeof(r->space));
        break;
    case ATTACH_CHUNK:
        ASSERT(attached && r->space_id >= 1 && r->space_id <= LIMIT_SPACES);
        ASSERT(r->chunk < LIMIT_CHUNKS);
        break;
    case ATTACH_MOVE:
        ASSERT(r->node != 0 && strnlen(r->space, sizeof(r->space)) < sizeof(r->space));
        ASSERT(r->shard == ATTACH_SHARDS_ALL || (r->space[0] != 0 && r->shard < LIMIT_SHARDS));
        break;
    case ATTACH_WATCH:
        ASSERT(attached);
        break;
    default:
        ASSERT(r->kind == ATTACH_STATUS || r->kind == ATTACH_CLOCK || r->kind == ATTACH_NODES ||
               r->kind == ATTACH_SHARDS);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return 0;
    struct attach_request request;
    bool attached = (bytes[0] & 1) != 0;
    int error = attach_validate(bytes + 1, size - 1, attached, &request);
    ASSERT(error == 0 || error == -EPROTO);
    if (error == 0) {
        ASSERT(size - 1 == sizeof(request) && memcmp(&request, bytes + 1, sizeof(request)) == 0);
        check_accepted(&request, attached);
    }
    return 0;
}
