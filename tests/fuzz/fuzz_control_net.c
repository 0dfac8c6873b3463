/* Any bytes as frames of the control plane, or as the name in a certificate: the same messages whether
 * they come as a whole or in pieces, none longer than may be; and a name that is read prints as it was. */
#include "control/authority.h"
#include "control/control_net_frame.h"

#include <stdlib.h>
#include <string.h>

#define LENGTH_MAX 3000u

/* Sum over type, length and bytes of each message, in order. */
static uint64_t mix(uint64_t sum, const void *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        sum = (sum ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
    return sum;
}

struct seen {
    uint32_t count;
    uint64_t sum;
    int end; /* 0 or the error */
};

/* The pieces' lengths follow from seed; 0: one piece. */
static struct seen frames_take(const uint8_t *bytes, size_t size, uint8_t seed)
{
    struct seen s = {.count = 0};
    struct control_frame_reader r = {.length_max = LENGTH_MAX};
    for (size_t at = 0; at < size && s.end == 0;) {
        size_t n = seed == 0 ? size : min_u64(1 + (at * 31 + seed) % seed, size - at);
        uint8_t *piece = malloc(n);
        ASSERT(piece != NULL);
        memcpy(piece, bytes + at, n);
        at += n;
        const uint8_t *left = piece;
        struct control_frame f;
        while ((s.end = control_frame_take(&r, &left, &n, &f)) == 1) {
            ASSERT(f.length <= LENGTH_MAX);
            s.count++;
            s.sum =
                mix(mix(mix(s.sum, &f.type, 1), &f.length, sizeof(f.length)), f.bytes, f.length);
            int version = control_frame_hello_judge(&f);
            ASSERT(version == (int)CONTROL_FRAME_VERSION || version == -EPROTO ||
                   version == -EPROTONOSUPPORT || version == -ENOENT);
        }
        ASSERT(s.end != 0 || n == 0);
        ASSERT(r.body_capacity <= 2 * max_u64(r.body_used, 4096));
        free(piece);
    }
    control_frame_reader_fini(&r);
    return s;
}

static void name_take(const char *bytes, size_t size)
{
    struct authority_identity id;
    char uri[AUTHORITY_URI_BYTES];
    char *copy = malloc(size + 1);
    ASSERT(copy != NULL);
    memcpy(copy, bytes, size);
    int error = authority_uri_parse(copy, size, &id);
    ASSERT(error == 0 || error == -EINVAL);
    if (error == 0) {
        ASSERT(id.node != 0 && authority_name_is_good(id.cluster));
        authority_uri_print(uri, &id);
        ASSERT(strlen(uri) == size && memcmp(uri, copy, size) == 0);
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return 0;
    struct seen whole = frames_take(bytes + 1, size - 1, 0);
    struct seen pieces = frames_take(bytes + 1, size - 1, bytes[0]);
    ASSERT(whole.count == pieces.count && whole.sum == pieces.sum && whole.end == pieces.end);
    name_take((const char *)bytes + 1, size - 1);
    return 0;
}
