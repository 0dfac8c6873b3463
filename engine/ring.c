#include "engine/ring.h"

#include <string.h>

static ALWAYS_INLINE _Atomic uint64_t *first_word(const struct ring *r, uint64_t position)
{
    return (_Atomic uint64_t *)(void *)(r->data + (position & (r->bytes - 1)));
}

static ALWAYS_INLINE uint64_t head_word(struct ring_head head)
{
    uint64_t word;
    memcpy(&word, &head, sizeof word);
    return word;
}

void ring_join(struct ring *r, struct ring_shared *shared, void *data, uint64_t bytes)
{
    ASSERT(is_power_of_two(bytes) && bytes >= LIMIT_RING_BYTES_MIN && bytes <= LIMIT_RING_BYTES_MAX);
    *r = (struct ring){.data = data, .shared = shared, .bytes = bytes};
}

/* Bytes that a message takes, with the filler in front of it if it does not fit before the end. */
static ALWAYS_INLINE uint64_t claim_bytes(const struct ring *r, uint64_t length, uint64_t *filler)
{
    uint64_t cells = align_up(length, RING_CELL);
    uint64_t to_end = r->bytes - (r->position & (r->bytes - 1));
    *filler = cells > to_end ? to_end : 0;
    return cells + *filler;
}

/* One cell beyond the message must be free too: its first word gets cleared. */
static int wait_free(struct ring *r, uint64_t needed)
{
    if (LIKELY(r->position + needed + RING_CELL - r->seen <= r->bytes))
        return 1;
    /* B2: acquire, the consumer is done with the cells it counts */
    uint64_t consumed = atomic_load_explicit(&r->shared->consumed, memory_order_acquire);
    if (consumed > r->position || consumed < r->seen || consumed % RING_CELL != 0)
        return -EPROTO;
    r->seen = consumed;
    return r->position + needed + RING_CELL - consumed <= r->bytes;
}

int ring_has_room(struct ring *r, uint64_t length)
{
    uint64_t filler;
    return wait_free(r, claim_bytes(r, length, &filler));
}

int ring_claim(struct ring *r, uint64_t length, void **message)
{
    uint64_t filler;
    uint64_t needed = claim_bytes(r, length, &filler);
    if (UNLIKELY(length > ring_message_max(r) || length < sizeof(struct ring_head)))
        return -EMSGSIZE;
    int room = wait_free(r, needed);
    if (UNLIKELY(room <= 0))
        return room == 0 ? -EAGAIN : room;
    if (UNLIKELY(filler != 0)) {
        /* Why now: filler is visible before its message, which is harmless, and a claim that is
         * never committed then starts at the ring's beginning anyway. */
        struct ring_head head = {.length = (uint32_t)filler};
        atomic_store_explicit(first_word(r, r->position + filler), 0, memory_order_relaxed);
        atomic_store_explicit(first_word(r, r->position), head_word(head), memory_order_release);
        r->position += filler;
    }
    *message = r->data + (r->position & (r->bytes - 1));
    return 0;
}

void ring_commit(struct ring *r, void *message, struct ring_head head)
{
    uint64_t next = r->position + align_up(head.length, RING_CELL);
    ASSERT_SLOW(message == r->data + (r->position & (r->bytes - 1)));
    /* relaxed: A1 orders it before the consumer can get that far */
    atomic_store_explicit(first_word(r, next), 0, memory_order_relaxed);
    /* A1: release, the message is whole */
    atomic_store_explicit((_Atomic uint64_t *)message, head_word(head), memory_order_release);
    r->position = next;
}

int ring_peek(struct ring *r, void **message, struct ring_head *head)
{
    for (;;) {
        /* A2: acquire */
        uint64_t word = atomic_load_explicit(first_word(r, r->position), memory_order_acquire);
        memcpy(head, &word, sizeof word);
        if (head->length == 0)
            return 0;
        uint64_t to_end = r->bytes - (r->position & (r->bytes - 1));
        uint64_t cells = align_up(head->length, RING_CELL);
        if (UNLIKELY(head->operation == 0)) {
            if (head->length != to_end || to_end >= r->bytes)
                return -EPROTO;
            r->position += to_end;
            continue; /* at most once: the next message starts at the ring's beginning */
        }
        if (UNLIKELY(head->length < sizeof *head || head->length > ring_message_max(r) ||
                     cells > to_end))
            return -EPROTO;
        *message = r->data + (r->position & (r->bytes - 1));
        return 1;
    }
}

void ring_consume(struct ring *r, const struct ring_head *head)
{
    r->position += align_up(head->length, RING_CELL);
}

void ring_publish(struct ring *r)
{
    if (r->position != r->seen) {
        /* B1: release, our reads of the cells are done */
        atomic_store_explicit(&r->shared->consumed, r->position, memory_order_release);
        r->seen = r->position;
    }
}
