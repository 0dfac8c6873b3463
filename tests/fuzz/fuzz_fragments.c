/* Any fragments, in any order, at any time: what becomes whole is what its fragments said, nothing is
 * written outside the places or into a datagram that is handed out, and every place comes back. */
#include "dataplane/fragments.h"

#include <stdlib.h>
#include <string.h>

#define PLACES 3u
#define CAPACITY 2048u
#define EVENTS_MAX 400u

struct event {
    uint8_t what, first, index, wait;
    uint16_t head_length, piece;
    uint32_t length;
};
_Static_assert(sizeof(struct event) == 12, "no holes in what the fuzzer writes");

static struct fragments f;
static struct fragments_place *whole[PLACES];
static uint32_t whole_count;
static uint64_t now;

static uint8_t octet(uint64_t first, uint64_t at)
{
    return (uint8_t)(first * 31 + at * 7 + at / 256);
}

static void require_content(const struct fragments_place *p)
{
    uint64_t content = frame_content(p->head_length, p->length);
    for (uint64_t i = 0; i < content; i++)
        ASSERT(p->bytes[i] == octet(p->first, i));
}

static void require_whole(void)
{
    uint32_t filling = 0;
    for (uint32_t i = 0; i < PLACES; i++) {
        const struct fragments_place *p = &f.places[i];
        filling += p->first != 0 && p->missing != 0;
        ASSERT(p->first == 0 || p->missing <= p->count);
        for (uint32_t j = 0; j < i; j++)
            ASSERT(p->first == 0 || p->first != f.places[j].first);
    }
    ASSERT(filling == f.filling);
}

/* Sound, as all that comes here is, but otherwise as the fuzzer says. */
static bool header_make(const struct event *e, struct frame_header *h)
{
    static const uint16_t pieces[] = {8, 64, 448, 1336};
    static const uint32_t lengths[] = {500, 1000, 1500, 2000};
    bool likely = (e->what & 8) != 0;
    *h = (struct frame_header){
        .nonce = 1 + (uint64_t)(e->first % 8) * 64 + e->index,
        .index = e->index,
        .head_length = likely ? 8 : e->head_length,
        .piece = likely ? pieces[e->piece % 4] : e->piece,
        .length = likely ? lengths[e->length % 4] : e->length,
    };
    uint32_t content = frame_content(h->head_length, h->length);
    return h->piece != 0 && h->index < frame_fragments(content, h->piece) &&
           frame_is_sound(h, frame_payload(content, h->piece, h->index)) && content > h->piece;
}

static void take(const struct event *e)
{
    struct frame_header h;
    struct fragments_place *place = NULL;
    if (!header_make(e, &h))
        return;
    /* The payload ends with its memory. */
    uint32_t length = frame_payload(frame_content(h.head_length, h.length), h.piece, h.index);
    uint8_t *payload = malloc(length);
    ASSERT(payload != NULL);
    for (uint32_t i = 0; i < length; i++)
        payload[i] = octet(h.nonce - h.index, (uint64_t)h.index * h.piece + i);
    int result = fragments_take(&f, &h, payload, now, &place);
    free(payload);
    ASSERT(result == -EBUSY ? whole_count == PLACES : result == 0 || result == 1);
    if (result != 1)
        return;
    ASSERT(place->first == h.nonce - h.index && place->length == h.length &&
           place->head_length == h.head_length);
    require_content(place);
    whole[whole_count++] = place;
}

static void release(uint32_t which)
{
    if (whole_count == 0)
        return;
    which %= whole_count;
    require_content(whole[which]); /* nobody wrote into it meanwhile */
    fragments_release(&f, whole[which]);
    whole[which] = whole[--whole_count];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *memory = aligned_alloc(CACHE_LINE, fragments_bytes(PLACES, CAPACITY));
    ASSERT(memory != NULL);
    fragments_init(&f, memory, PLACES, CAPACITY);
    f.timeout = 50;
    now = 1000;
    whole_count = 0;
    for (size_t i = 0; i < EVENTS_MAX && (i + 1) * sizeof(struct event) <= size; i++) {
        struct event e;
        memcpy(&e, data + i * sizeof e, sizeof e);
        now += e.wait;
        if (e.what % 8 == 0)
            release(e.index);
        else if (e.what % 8 == 1)
            fragments_expire(&f, now);
        else
            take(&e);
        require_whole();
    }
    while (whole_count != 0)
        release(0);
    now += f.timeout;
    fragments_expire(&f, now + UINT32_MAX);
    ASSERT(f.filling == 0);
    for (uint32_t i = 0; i < PLACES; i++)
        ASSERT(f.places[i].first == 0);
    free(memory);
    return 0;
}
