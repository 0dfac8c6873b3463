#include "dataplane/fragments.h"

#include <string.h>

void fragments_init(struct fragments *f, uint8_t *memory, uint32_t place_count, uint32_t capacity)
{
    ASSERT(place_count != 0 && place_count <= FRAGMENTS_PLACES_MAX && (uintptr_t)memory % 8 == 0);
    *f = (struct fragments){.place_count = place_count, .capacity = capacity};
    for (uint32_t i = 0; i < place_count; i++)
        f->places[i].bytes = memory + fragments_bytes(i, capacity);
}

static bool is_filling(const struct fragments_place *p)
{
    return p->first != 0 && p->missing != 0;
}

static void drop(struct fragments *f, struct fragments_place *p)
{
    p->first = 0;
    f->filling--;
}

void fragments_release(struct fragments *f, struct fragments_place *place)
{
    ASSERT(place >= f->places && place < f->places + f->place_count && place->first != 0 &&
           place->missing == 0);
    place->first = 0;
}

void fragments_expire(struct fragments *f, uint64_t now)
{
    for (uint32_t i = 0; i < f->place_count && f->filling != 0; i++) {
        struct fragments_place *p = &f->places[i];
        if (!is_filling(p) || now < p->expires)
            continue;
        drop(f, p);
        f->timed_out++;
    }
}

static struct fragments_place *find(struct fragments *f, uint64_t first)
{
    for (uint32_t i = 0; i < f->place_count; i++)
        if (f->places[i].first == first)
            return &f->places[i];
    return NULL;
}

/* A place for a new datagram: a free one, or that of the oldest that is not whole; NULL: all are. */
static struct fragments_place *find_room(struct fragments *f)
{
    struct fragments_place *oldest = NULL;
    for (uint32_t i = 0; i < f->place_count; i++) {
        struct fragments_place *p = &f->places[i];
        if (p->first == 0)
            return p;
        if (is_filling(p) && (oldest == NULL || p->expires < oldest->expires))
            oldest = p;
    }
    if (oldest == NULL)
        return NULL;
    drop(f, oldest);
    f->evicted++;
    return oldest;
}

static void begin(struct fragments *f, struct fragments_place *p, const struct frame_header *h,
                  uint64_t now)
{
    p->first = h->nonce - h->index;
    p->expires = now + f->timeout;
    p->length = h->length;
    p->head_length = h->head_length;
    p->piece = h->piece;
    p->count = frame_fragments(frame_content(h->head_length, h->length), h->piece);
    p->missing = p->count;
    memset(p->have, 0, sizeof p->have);
    f->filling++;
}

int fragments_take(struct fragments *f, const struct frame_header *h, const uint8_t *payload,
                   uint64_t now, struct fragments_place **place)
{
    uint32_t content = frame_content(h->head_length, h->length);
    if (align_up(content, 8) > f->capacity) {
        f->too_long++;
        return 0;
    }
    struct fragments_place *p = find(f, h->nonce - h->index);
    if (p == NULL) {
        p = find_room(f);
        if (p == NULL)
            return -EBUSY;
        begin(f, p, h, now);
    } else if (p->length != h->length || p->head_length != h->head_length || p->piece != h->piece) {
        f->unlike++;
        return 0;
    }
    uint64_t bit = UINT64_C(1) << (h->index % 64);
    if ((p->have[h->index / 64] & bit) != 0) { /* so are all of one that is whole */
        f->doubled++;
        return 0;
    }
    p->have[h->index / 64] |= bit;
    memcpy(p->bytes + (uint64_t)h->index * h->piece, payload,
           frame_payload(content, h->piece, h->index));
    if (--p->missing != 0)
        return 0;
    f->filling--;
    *place = p;
    return 1;
}
