#include "dataplane/bundle.h"

#include <string.h>

/* Both multiples of 8, and no more than 32 bits in front of the item. */
_Static_assert(BUNDLE_HEAD_BYTES % 8 == 0 && BUNDLE_ITEM_HEAD_BYTES % 8 == 0, "items are aligned");

uint8_t *bundle_place(struct bundle *b, uint32_t length, uint32_t limit)
{
    ASSERT(length != 0 && length <= BUNDLE_ITEM_BYTES_MAX && limit <= sizeof b->bytes);
    uint32_t at = b->length != 0 ? b->length : BUNDLE_HEAD_BYTES;
    uint32_t padded = (uint32_t)align_up(length, 8);
    if (b->count == BUNDLE_ITEMS_MAX || at + BUNDLE_ITEM_HEAD_BYTES + padded > limit)
        return NULL;
    const uint64_t head = length;
    memcpy(b->bytes + at, &head, sizeof head);
    at += BUNDLE_ITEM_HEAD_BYTES;
    memset(b->bytes + at + padded - 8, 0, 8); /* before the item is filled in */
    b->length = at + padded;
    b->count++;
    return b->bytes + at;
}

const uint8_t *bundle_close(struct bundle *b, uint32_t *length)
{
    const uint64_t head = BUNDLE_KIND;
    const uint8_t *bytes = b->bytes;
    *length = b->length;
    memcpy(b->bytes, &head, sizeof head);
    if (b->count == 1) {
        bytes += BUNDLE_HEAD_BYTES + BUNDLE_ITEM_HEAD_BYTES;
        memcpy(length, bytes - BUNDLE_ITEM_HEAD_BYTES, sizeof *length);
    }
    b->length = b->count = 0;
    return bytes;
}

int bundle_split(const uint8_t *head, uint32_t length, struct bundle_item items[BUNDLE_ITEMS_MAX])
{
    uint64_t word;
    uint32_t at = BUNDLE_HEAD_BYTES;
    int count = 0;
    if (length < BUNDLE_HEAD_BYTES)
        return -EPROTO;
    memcpy(&word, head, sizeof word);
    if (word != BUNDLE_KIND)
        return -EPROTO;
    while (at != length) {
        if (count == (int)BUNDLE_ITEMS_MAX || length - at < BUNDLE_ITEM_HEAD_BYTES)
            return -EPROTO;
        memcpy(&word, head + at, sizeof word);
        at += BUNDLE_ITEM_HEAD_BYTES;
        if (word == 0 || word > BUNDLE_ITEM_BYTES_MAX || align_up(word, 8) > length - at)
            return -EPROTO;
        items[count++] = (struct bundle_item){.bytes = head + at, .length = (uint32_t)word};
        at += (uint32_t)align_up(word, 8);
    }
    return count != 0 ? count : -EPROTO;
}
