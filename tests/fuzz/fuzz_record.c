/* Any bytes as a piece of log: a walk by record_check stays inside, always gets on, and what it
 * accepts is what record_write would write again. */
#include "engine/checksum.h"
#include "engine/record.h"

#include <stdlib.h>
#include <string.h>

static void require_same_bytes(const struct record *h, const uint8_t *bytes, uint64_t size)
{
    uint8_t *again = aligned_alloc(8, size);
    ASSERT(again != NULL);
    struct record_parts parts = {
        .extension = bytes + RECORD_HEADER_BYTES,
        .key = record_key((const void *)bytes),
        .value = record_value((const void *)bytes),
    };
    record_write(again, h, &parts);
    /* Padding of foreign records may hold anything that its checksum covers; ours is zero. */
    ASSERT(memcmp(again + 4, bytes + 4, RECORD_HEADER_BYTES - 4) == 0);
    free(again);
}

/* Give what may be a record the checksum that it should have, or hardly any input would get
 * further. */
static void seal(uint8_t *bytes, uint64_t available)
{
    struct record h;
    if (available < sizeof h)
        return;
    memcpy(&h, bytes, sizeof h);
    uint64_t size = record_size(&h);
    if (size > available)
        return;
    h.crc = checksum(0, bytes + sizeof h, size - sizeof h);
    h.crc = checksum(h.crc, bytes + 4, sizeof h - 4);
    memcpy(bytes, &h.crc, sizeof h.crc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* A log's records are 8-aligned and end with the bytes: a byte too far is found. */
    size_t length = size / 8 * 8;
    if (length == 0)
        return 0;
    uint8_t *bytes = aligned_alloc(8, length);
    ASSERT(bytes != NULL);
    memcpy(bytes, data, length);
    for (size_t at = 0; at < length;) {
        struct record h = {.kind = 0};
        if (size % 8 != 0)
            seal(bytes + at, length - at);
        int64_t n = record_check(bytes + at, length - at, &h);
        ASSERT(n == -EAGAIN || n == -EBADMSG || n > 0);
        if (n < 0)
            break;
        ASSERT(n % 8 == 0 && (uint64_t)n <= length - at);
        ASSERT(h.kind >= RECORD_DATA && h.kind <= RECORD_MERGED);
        if (h.kind != RECORD_PAD) {
            ASSERT((uint64_t)n == record_size(&h));
            require_same_bytes(&h, bytes + at, (uint64_t)n);
        }
        at += (size_t)n;
    }
    free(bytes);
    return 0;
}
