#include "engine/ring.h"

void ring_join(struct ring *r, struct ring_shared *shared, void *data, uint64_t bytes)
{
    ASSERT(is_power_of_two(bytes) && bytes >= LIMIT_RING_BYTES_MIN &&
           bytes <= LIMIT_RING_BYTES_MAX);
    *r = (struct ring){.data = data, .shared = shared, .bytes = bytes};
}

/* Bytes that a message takes, with the filler in front of it if it does not fit before the end. */
static uint64_t claim_bytes(const struct ring *r, uint64_t length, uint64_t *filler)
{
    uint64_t cells = align_up(length, RING_CELL);
    uint64_t to_end = ring_to_end(r);
    *filler = cells > to_end ? to_end : 0;
    return cells + *filler;
}

/* As ring_fits, with the consumer's position loaded anew. */
static int wait_free(struct ring *r, uint64_t needed)
{
    if (r->position + needed + RING_CELL - r->seen <= r->bytes)
        return 1;
    /* B2: acquire, pairs with B1: the consumer is done with the cells it counts */
    uint64_t consumed = atomic_load_explicit(&r->shared->consumed, memory_order_acquire);
    if (consumed > r->position || consumed < r->seen || consumed % RING_CELL != 0)
        return -EPROTO;
    r->seen = consumed;
    return r->position + needed + RING_CELL - consumed <= r->bytes;
}

int ring_has_room_slowly(struct ring *r, uint64_t length)
{
    uint64_t filler;
    return wait_free(r, claim_bytes(r, length, &filler));
}

int ring_claim_slowly(struct ring *r, uint64_t length, void **message)
{
    uint64_t filler;
    int room = wait_free(r, claim_bytes(r, length, &filler));
    if (room <= 0)
        return room == 0 ? -EAGAIN : room;
    if (filler != 0) {
        /* Why now: filler is visible before its message, which is harmless, and a claim that is
         * never committed then starts at the ring's beginning anyway. */
        struct ring_head head = {.length = (uint32_t)filler};
        uint64_t word;
        memcpy(&word, &head, sizeof word);
        /* A1: release, as a message's head */
        atomic_store_explicit(ring_first_word(r, r->position), word, memory_order_release);
        r->position += filler;
    }
    *message = r->data + (r->position & (r->bytes - 1));
    return 0;
}

int ring_peek_slowly(struct ring *r, void **message, struct ring_head *head)
{
    uint64_t to_end = ring_to_end(r);
    if (head->operation != 0 || head->length != to_end || to_end >= r->bytes)
        return -EPROTO;
    r->position += to_end;
    /* Why this ends: at the ring's beginning filler is impossible. */
    return ring_peek(r, message, head);
}
