/* fuzz_attach - any bytes as a request on the daemon's socket.
 *
 * The first byte says whether the connection has said HELLO; the rest is the message.  What is
 * accepted must lie within every limit that the server relies on. */
#include "control/attach_validate.h"
#include "control/config_address.h"
#include "control/node_words.h"

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
    case ATTACH_SPACE_CREATE:
    case ATTACH_SPACE_ALTER:
    case ATTACH_SPACE_DROP:
        ASSERT(r->space[0] != 0 && strnlen(r->space, sizeof(r->space)) < sizeof(r->space));
        ASSERT(r->kind != ATTACH_SPACE_CREATE || r->space_id <= LIMIT_SPACES);
        break;
    case ATTACH_NODE_ADD:
    case ATTACH_NODE_DRAIN:
    case ATTACH_NODE_UNDRAIN:
    case ATTACH_NODE_REMOVE:
        ASSERT(r->node != 0);
        break;
    case ATTACH_RECOVER:
        ASSERT(r->space[0] != 0 && strnlen(r->space, sizeof(r->space)) < sizeof(r->space));
        ASSERT(r->shard == ATTACH_SHARDS_ALL || r->shard < LIMIT_SHARDS);
        break;
    default:
        ASSERT(r->kind == ATTACH_STATUS || r->kind == ATTACH_CLOCK || r->kind == ATTACH_NODES ||
               r->kind == ATTACH_SHARDS || r->kind == ATTACH_RELOAD);
    }
}

/* Words that are taken are bounded, and texts of addresses. */
static void check_node_words(const char *words)
{
    char fault[NODE_WORDS_FAULT_BYTES] = "";
    struct sockaddr_storage address;
    struct node_words w;
    int error = node_words_read(&w, words, fault);
    ASSERT(error == 0 || error == -EINVAL);
    ASSERT((error == 0) == (fault[0] == 0) && memchr(fault, 0, sizeof(fault)) != NULL);
    if (error != 0)
        return;
    ASSERT(w.weight >= 1 && w.weight <= 1000);
    ASSERT(strnlen(w.zone, sizeof(w.zone)) < sizeof(w.zone));
    ASSERT(config_address_parse(w.address, strlen(w.address), &address) == 0);
    ASSERT(config_address_parse(w.control, strlen(w.control), &address) == 0);
}

/* What follows a request: words that end with the only 0 that there is, where there may be any. */
static void check_rest(const struct attach_request *r, const uint8_t *rest, size_t size)
{
    bool has_words = r->kind == ATTACH_SPACE_CREATE || r->kind == ATTACH_SPACE_ALTER ||
                     r->kind == ATTACH_NODE_ADD;
    ASSERT(has_words ? size != 0 && size <= ATTACH_WORDS_BYTES : size == 0);
    ASSERT(!has_words || memchr(rest, 0, size) == rest + size - 1);
    if (r->kind == ATTACH_NODE_ADD)
        check_node_words((const char *)rest);
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
        ASSERT(size - 1 >= sizeof(request) && memcmp(&request, bytes + 1, sizeof(request)) == 0);
        check_rest(&request, bytes + 1 + sizeof(request), size - 1 - sizeof(request));
        check_accepted(&request, attached);
    }
    return 0;
}
