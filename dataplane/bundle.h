/* bundle - several short datagrams for one peer in one: what many shards have to say to it in a pass of the
 * loop, their acknowledgements above all, costs one frame and one way through the network.
 *
 * Pure; the lcore's thread.  A datagram is a head of 8 bytes, the first of which is BUNDLE_KIND, and items:
 * the length in 4 bytes, 4 zeros, and so many bytes, with zeros up to 8.  Each item is what would have been
 * a datagram's head, and is judged as that; they are taken in their order.  Integers are little-endian.
 *
 * It has no more room than what travels in one piece: who loses a frame loses what was in it and no more. */
#ifndef DUNLIN_DATAPLANE_BUNDLE_H
#define DUNLIN_DATAPLANE_BUNDLE_H

#include "dataplane/transport.h"

/* First byte of the datagram: another value than those of message.h, pair.h and forward.h. */
#define BUNDLE_KIND 64u
#define BUNDLE_WIRE_VERSION 3u /* from this version of the wire on (frame.h) */

#define BUNDLE_HEAD_BYTES 8u
#define BUNDLE_ITEM_HEAD_BYTES 8u
/* A longer one goes alone: there is little to save, and its bytes need no copy. */
#define BUNDLE_ITEM_BYTES_MAX 1088u
#define BUNDLE_ITEMS_MAX 64u

struct bundle {
    uint32_t length; /* 0: empty */
    uint32_t count;
    alignas(8) uint8_t bytes[TRANSPORT_HEAD_MAX];
};

/* A place for an item of length bytes, 8-aligned, the caller's to fill before the next call.  NULL: not
 * within limit bytes in all; send what there is, or the item alone.  length: 1 .. BUNDLE_ITEM_BYTES_MAX. */
MUST_USE uint8_t *bundle_place(struct bundle *b, uint32_t length, uint32_t limit);

/* What is to be sent, good until the next bundle_place, and its length; an only item goes as it is.  The
 * bundle is empty then.  length 0: there is nothing. */
const uint8_t *bundle_close(struct bundle *b, uint32_t *length);

static inline bool bundle_is(const uint8_t *head, uint32_t length)
{
    return length != 0 && head[0] == BUNDLE_KIND;
}

struct bundle_item {
    const uint8_t *bytes; /* 8-aligned, in the datagram */
    uint32_t length;
};

/* The items of a datagram that bundle_is.  Returns how many, 1 .. BUNDLE_ITEMS_MAX, or
 *   -EPROTO  it is not sound to its end: no correct peer says this, take nothing of it. */
MUST_USE int bundle_split(const uint8_t *head, uint32_t length,
                          struct bundle_item items[BUNDLE_ITEMS_MAX]);

#endif
