#include "engine/record.h"

#include "engine/checksum.h"

#include <string.h>

#define HEADER_WORDS (RECORD_HEADER_BYTES / 8)

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
    whole.crc = checksum(crc, (const uint8_t *)&whole + 4, RECORD_HEADER_BYTES - 4);
    uint64_t words[HEADER_WORDS];
    memcpy(words, &whole, sizeof whole);
    for (unsigned i = 0; i < HEADER_WORDS; i++)
        store_word(destination + (size_t)i * 8, words[i]);
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

static bool lengths_are_sound(const struct record *h)
{
    return h->key_length <= LIMIT_KEY_BYTES && h->extension_length <= LIMIT_EXTENSION_BYTES &&
           h->value_length <= LIMIT_VALUE_BYTES;
}

int64_t record_check(const uint8_t *bytes, uint64_t available, struct record *header)
{
    if (available < 8)
        return -EAGAIN;
    if (bytes[4] != RECORD_FORMAT || bytes[5] < RECORD_DATA || bytes[5] > RECORD_MERGED)
        return -EBADMSG;
    if (bytes[5] == RECORD_PAD)
        return check_pad(bytes, available, header);
    if (available < RECORD_HEADER_BYTES)
        return -EAGAIN;
    struct record h;
    memcpy(&h, bytes, sizeof h);
    if (!lengths_are_sound(&h))
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
