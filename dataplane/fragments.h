/* fragments - datagrams of one peer put together from their fragments, in memory that is bounded.
 *
 * Pure; owned by the lcore that receives from that peer; the memory is the caller's.  What comes here
 * has been found authentic and sound (frame.h).  There are places for a fixed number of datagrams:
 * one that is being filled longer than a time-out is dropped, and so is the oldest when a new one
 * finds no place.  A lost fragment therefore drops its datagram, counted, and nothing else.
 *
 * A datagram that is whole is the caller's until fragments_release.
 *
 * Units: nanoseconds of a clock that does not go back. */
#ifndef DUNLIN_DATAPLANE_FRAGMENTS_H
#define DUNLIN_DATAPLANE_FRAGMENTS_H

#include "dataplane/frame.h"

#define FRAGMENTS_PLACES_MAX 64u

struct fragments_place {
    uint64_t first;   /* nonce of the fragment with index 0: the datagram's name; 0: free */
    uint64_t expires; /* not before */
    uint32_t length, count, missing;
    uint16_t head_length, piece;
    uint64_t have[FRAME_FRAGMENTS_MAX / 64];
    uint8_t *bytes; /* capacity long, 8-aligned */
};

struct fragments {
    struct fragments_place places[FRAGMENTS_PLACES_MAX];
    uint32_t place_count;
    uint32_t capacity; /* content of the longest datagram, rounded up to 8 */
    uint32_t filling;  /* places that are not free and not whole */
    uint64_t timeout;
    /* counters */
    uint64_t timed_out, evicted; /* datagrams that a fragment was missing of */
    uint64_t doubled;            /* fragments that were there already */
    uint64_t unlike;             /* fragments unlike the others of their datagram */
    uint64_t too_long;           /* of datagrams longer than the capacity */
};

/* Bytes that so many places need. */
static inline uint64_t fragments_bytes(uint32_t place_count, uint32_t capacity)
{
    return (uint64_t)place_count * align_up(capacity, CACHE_LINE);
}

/* memory: fragments_bytes, 8-aligned, the caller's, for as long as f is used. */
void fragments_init(struct fragments *f, uint8_t *memory, uint32_t place_count, uint32_t capacity);

/* Take one fragment of a datagram of several; payload is copied.  Returns 1 (the datagram is whole and
 * *place it), 0 (it is not, or the fragment was of no use: counted), or
 *   -EBUSY  every place holds a whole datagram: release, then give the same fragment again. */
MUST_USE int fragments_take(struct fragments *f, const struct frame_header *h,
                            const uint8_t *payload, uint64_t now, struct fragments_place **place);

/* The caller is done with a whole datagram. */
void fragments_release(struct fragments *f, struct fragments_place *place);

/* Drop what is being filled for too long. */
void fragments_expire(struct fragments *f, uint64_t now);

#endif
