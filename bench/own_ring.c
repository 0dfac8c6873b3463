#include "bench/own_ring.h"

#include "engine/ring.h"

#include <stdlib.h>
#include <string.h>

/* Each side of each ring has a line of its own, as in two processes. */
struct side {
    alignas(CACHE_LINE) struct ring ring;
};

struct own_ring {
    struct ring_shared shared[3];
    struct side there_from, there_to; /* request: caller to echo */
    struct side back_from, back_to;   /* completion: echo to caller */
    struct side stream_from, stream_to;
    alignas(PAGE) uint8_t data[3][DUO_RING_BYTES];
};

struct own_ring *own_ring_new(void)
{
    struct own_ring *o = aligned_alloc(PAGE, align_up(sizeof *o, PAGE));
    if (o == NULL)
        return NULL;
    memset(o, 0, sizeof *o);
    ring_join(&o->there_from.ring, &o->shared[0], o->data[0], DUO_RING_BYTES);
    ring_join(&o->there_to.ring, &o->shared[0], o->data[0], DUO_RING_BYTES);
    ring_join(&o->back_from.ring, &o->shared[1], o->data[1], DUO_RING_BYTES);
    ring_join(&o->back_to.ring, &o->shared[1], o->data[1], DUO_RING_BYTES);
    ring_join(&o->stream_from.ring, &o->shared[2], o->data[2], DUO_RING_BYTES);
    ring_join(&o->stream_to.ring, &o->shared[2], o->data[2], DUO_RING_BYTES);
    return o;
}

void own_ring_delete(struct own_ring *o)
{
    free(o);
}

/* The next message's payload in place, or NULL.  Both sides are ours: what cannot happen ends the
 * bench. */
static ALWAYS_INLINE const uint64_t *peek(struct ring *r, struct ring_head *head)
{
    void *message;
    int rc = ring_peek(r, &message, head);
    if (rc == 0)
        return NULL;
    ASSERT(rc == 1 && head->length == DUO_MESSAGE_BYTES);
    return (const uint64_t *)message + 1;
}

static ALWAYS_INLINE uint64_t *claim(struct ring *r)
{
    void *message;
    int rc = ring_claim(r, DUO_MESSAGE_BYTES, &message);
    if (rc == -EAGAIN)
        return NULL;
    ASSERT(rc == 0);
    return (uint64_t *)message + 1;
}

static ALWAYS_INLINE void commit(struct ring *r, uint64_t *payload)
{
    struct ring_head head = {.length = DUO_MESSAGE_BYTES, .operation = RING_NOP};
    ring_commit(r, payload - 1, head);
}

static void echo(void *channel, const _Atomic uint32_t *stop)
{
    struct own_ring *o = channel;
    const uint64_t *request;
    uint64_t *answer;
    struct ring_head head;
    while (atomic_load_explicit(stop, memory_order_relaxed) == 0) {
        if ((request = peek(&o->there_to.ring, &head)) == NULL)
            continue;
        while ((answer = claim(&o->back_from.ring)) == NULL)
            continue;
        answer[0] = request[0];
        commit(&o->back_from.ring, answer);
        ring_consume(&o->there_to.ring, &head);
        ring_publish_due(&o->there_to.ring);
    }
}

static void exchange(void *channel, uint32_t count)
{
    struct own_ring *o = channel;
    const uint64_t *answer;
    uint64_t *request;
    struct ring_head head;
    while (count-- > 0) {
        while ((request = claim(&o->there_from.ring)) == NULL)
            continue;
        request[0] = count;
        commit(&o->there_from.ring, request);
        while ((answer = peek(&o->back_to.ring, &head)) == NULL)
            continue;
        ASSERT(answer[0] == count);
        ring_consume(&o->back_to.ring, &head);
        ring_publish_due(&o->back_to.ring);
    }
}

static void sink(void *channel, struct duo_sink *out, const _Atomic uint32_t *stop)
{
    struct own_ring *o = channel;
    struct ring *r = &o->stream_to.ring;
    struct ring_head head;
    uint64_t sum = out->sum, taken = atomic_load_explicit(&out->taken, memory_order_relaxed);
    while (atomic_load_explicit(stop, memory_order_relaxed) == 0) {
        const uint64_t *payload = peek(r, &head);
        if (payload == NULL)
            continue;
        sum += duo_read(payload);
        ring_consume(r, &head);
        if (++taken % DUO_BURST == 0) {
            ring_publish(r);
            atomic_store_explicit(&out->taken, taken, memory_order_relaxed);
        }
    }
    out->sum = sum;
}

static void pour(void *channel, uint64_t first, uint32_t count)
{
    struct own_ring *o = channel;
    struct ring *r = &o->stream_from.ring;
    for (uint64_t n = first; n < first + count; n++) {
        uint64_t *payload;
        while ((payload = claim(r)) == NULL)
            continue;
        duo_fill(payload, n);
        commit(r, payload);
    }
}

const struct duo_channel own_ring_channel = {
    .echo = echo, .sink = sink, .exchange = exchange, .pour = pour};
