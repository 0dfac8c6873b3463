/* Any bytes as a bundle: what is taken of them lies within them, in order and apart, and made into a bundle
 * again comes out the same. */
#include "dataplane/bundle.h"

#include <string.h>

static struct bundle b;
static alignas(8) uint8_t bytes[TRANSPORT_HEAD_MAX], again[TRANSPORT_HEAD_MAX];

static void require_same(const struct bundle_item *items, int count)
{
    struct bundle_item others[BUNDLE_ITEMS_MAX];
    uint32_t length;
    for (int i = 0; i < count; i++) {
        uint8_t *place = bundle_place(&b, items[i].length, sizeof b.bytes);
        ASSERT(place != NULL);
        memcpy(place, items[i].bytes, items[i].length);
    }
    memcpy(again, bundle_close(&b, &length),
           sizeof again - BUNDLE_HEAD_BYTES - BUNDLE_ITEM_HEAD_BYTES);
    if (count == 1)
        return;
    ASSERT(bundle_split(again, length, others) == count);
    for (int i = 0; i < count; i++)
        ASSERT(others[i].length == items[i].length &&
               memcmp(others[i].bytes, items[i].bytes, items[i].length) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bundle_item items[BUNDLE_ITEMS_MAX];
    if (size > sizeof bytes)
        return 0;
    memcpy(bytes, data, size);
    if (!bundle_is(bytes, (uint32_t)size))
        return 0;
    int count = bundle_split(bytes, (uint32_t)size, items);
    const uint8_t *end = bytes;
    for (int i = 0; i < count; i++) {
        ASSERT(items[i].bytes > end && items[i].length != 0 &&
               items[i].bytes + items[i].length <= bytes + size);
        end = items[i].bytes + items[i].length;
    }
    if (count > 0)
        require_same(items, count);
    return 0;
}
