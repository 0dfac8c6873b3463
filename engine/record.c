#include "engine/record.h"

#include "engine/checksum.h"

/* The first word of a pad, which has no more. */
struct pad {
    uint32_t crc;
    uint8_t format;
    uint8_t kind;
    uint16_t units; /* of 8 bytes, this word included */
};
_Static_assert(sizeof(struct pad) == 8, "a pad fits any gap");

static ALWAYS_INLINE void store_word(uint8_t *at, uint64_t word)
{
    /* relaxed: as in checksum_copy */
    atomic_store_explicit((_Atomic uint64_t *)(void *)at, word, memory_order_relaxed);
}

/* The first word of a header, which the others and the payload are summed for. */
static ALWAYS_INLINE void store_first(uint8_t *at, const struct record *header)
{
    uint64_t word;
    memcpy(&word, header, sizeof word);
    store_word(at, word);
}

void record_write(uint8_t *destination, const struct record *header,
                  const struct record_parts *parts)
{
    uint8_t *at = destination + RECORD_HEADER_BYTES;
    uint32_t crc = 0;
    if (header->extension_length != 0) {
        crc = checksum_copy(crc, at, parts->extension, header->extension_length);
        at += align_up(header->extension_length, 8);
    }
    crc = checksum_copy(crc, at, parts->key, header->key_length);
    at += align_up(header->key_length, 8);
    crc = checksum_copy(crc, at, parts->value, header->value_length);

    struct record whole = *header;
    whole.crc = checksum_header(crc, destination, &whole);
    store_first(destination, &whole);
}

void record_copy(uint8_t *destination, const uint8_t *source, uint64_t size)
{
    for (uint64_t i = 0; i < size; i += 8) {
        uint64_t word;
        memcpy(&word, source + i, 8);
        store_word(destination + i, word);
    }
}

void record_write_pad(uint8_t *destination, uint64_t length)
{
    ASSERT(length % 8 == 0);
    while (length != 0) {
        uint64_t units = min_u64(length / 8, RECORD_PAD_UNITS_MAX);
        struct pad pad = {.format = RECORD_FORMAT, .kind = RECORD_PAD, .units = (uint16_t)units};
        pad.crc = checksum(0, (const uint8_t *)&pad + 4, 4);
        uint64_t word;
        memcpy(&word, &pad, 8);
        store_word(destination, word);
        for (uint64_t i = 1; i < units; i++)
            store_word(destination + i * 8, 0);
        destination += units * 8;
        length -= units * 8;
    }
}

static int64_t check_pad(const uint8_t *bytes, uint64_t available, struct record *header)
{
    struct pad pad;
    memcpy(&pad, bytes, sizeof pad);
    if (pad.units == 0 || pad.crc != checksum(0, bytes + 4, 4))
        return -EBADMSG;
    if ((uint64_t)pad.units * 8 > available)
        return -EAGAIN;
    for (uint64_t i = 1; i < pad.units; i++) {
        uint64_t word;
        memcpy(&word, bytes + i * 8, 8);
        if (word != 0)
            return -EBADMSG;
    }
    *header = (struct record){.format = pad.format, .kind = pad.kind};
    return (int64_t)pad.units * 8;
}

static ALWAYS_INLINE bool header_is_sound(const struct record *h)
{
    return h->format == RECORD_FORMAT && h->kind >= RECORD_DATA && h->kind <= RECORD_MERGED &&
           h->kind != RECORD_PAD && h->key_length <= LIMIT_KEY_BYTES &&
           h->extension_length <= LIMIT_EXTENSION_BYTES && h->value_length <= LIMIT_VALUE_BYTES;
}

int64_t record_check(const uint8_t *bytes, uint64_t available, struct record *header)
{
    if (available < 8)
        return -EAGAIN;
    if (bytes[4] != RECORD_FORMAT || bytes[5] < RECORD_DATA || bytes[5] > RECORD_MERGED)
        return -EBADMSG; /* before a header is there */
    if (bytes[5] == RECORD_PAD)
        return check_pad(bytes, available, header);
    if (available < RECORD_HEADER_BYTES)
        return -EAGAIN;
    struct record h;
    memcpy(&h, bytes, sizeof h);
    if (!header_is_sound(&h))
        return -EBADMSG;
    uint64_t size = record_size(&h);
    if (size > available)
        return -EAGAIN;
    uint32_t crc = checksum(0, bytes + RECORD_HEADER_BYTES, size - RECORD_HEADER_BYTES);
    crc = checksum(crc, bytes + 4, RECORD_HEADER_BYTES - 4);
    if (crc != h.crc)
        return -EBADMSG;
    *header = h;
    return (int64_t)size;
}

static int64_t land_pad(uint8_t *destination, const uint8_t *source, uint64_t available,
                        struct record *header)
{
    struct pad pad;
    memcpy(&pad, source, sizeof pad);
    uint64_t size = min_u64((uint64_t)pad.units * 8, available & ~UINT64_C(7));
    record_copy(destination, source, size);
    return size < sizeof pad ? -EBADMSG : record_check(destination, size, header);
}

int64_t record_land(uint8_t *destination, const uint8_t *source, uint64_t available,
                    struct record *header)
{
    if (available < 8)
        return -EAGAIN;
    if (source[5] == RECORD_PAD)
        return land_pad(destination, source, available, header);
    if (available < RECORD_HEADER_BYTES)
        return -EAGAIN;
    struct record h;
    memcpy(&h, source, sizeof h);
    if (!header_is_sound(&h))
        return -EBADMSG;
    uint64_t size = record_size(&h);
    if (size > available)
        return -EAGAIN;
    uint32_t crc = checksum_copy(0, destination + RECORD_HEADER_BYTES, source + RECORD_HEADER_BYTES,
                                 size - RECORD_HEADER_BYTES);
    if (checksum_header(crc, destination, &h) != h.crc)
        return -EBADMSG;
    store_first(destination, &h);
    *header = h;
    return (int64_t)size;
}

bool record_extension(const struct record *r, uint16_t type, void *into, uint64_t bytes)
{
    const uint8_t *at = (const uint8_t *)r + RECORD_HEADER_BYTES;
    const uint8_t *end = at + r->extension_length;
    struct {
        uint16_t type, length; /* of what follows */
    } head;
    while ((uint64_t)(end - at) >= sizeof head) {
        memcpy(&head, at, sizeof head);
        uint64_t whole = sizeof head + head.length;
        if (whole > (uint64_t)(end - at))
            return false;
        if (head.type == type && whole == bytes) {
            memcpy(into, at, bytes);
            return true;
        }
        at += min_u64(align_up(whole, 4), (uint64_t)(end - at));
    }
    return false;
}
