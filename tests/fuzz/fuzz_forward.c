/* Any bytes as a datagram of a peer: every item that is read lies inside, and says nothing that the
 * next stations do not bound; what was read can be written, and is then read alike. */
#include "dataplane/forward.h"

#include <string.h>

static void require_inside(const struct transport_received *d, const uint8_t *at, uint64_t length,
                           bool beside)
{
    const uint8_t *begin = beside ? d->bytes : d->head;
    uint64_t bytes = beside ? d->length : d->head_length;
    ASSERT(at >= begin && (uint64_t)(at - begin) + length <= bytes);
}

static void require_parts(const struct transport_received *d, uint16_t key_length, uint32_t here,
                          uint8_t how, const uint8_t *const parts[2])
{
    bool beside = (how & FORWARD_BESIDE) != 0;
    ASSERT(key_length <= LIMIT_KEY_BYTES);
    require_inside(d, parts[0], key_length, false);
    require_inside(d, parts[1], here, beside);
    ASSERT(!beside || here == d->length);
}

static void asks(const struct transport_received *d, struct forward_reader *r)
{
    static struct forward_pack again;
    struct forward_ask a, b;
    const uint8_t *parts[2], *same[2];
    uint32_t count = 0;
    while (forward_next_ask(r, &a, &parts[0], &parts[1]) > 0) {
        ASSERT(++count <= FORWARD_ASKS_MAX);
        require_parts(d, a.key_length, a.value_here, a.how, parts);
        ASSERT((uint64_t)a.value_offset + a.value_here <= LIMIT_VALUE_BYTES);
        ASSERT(a.value_length <= LIMIT_VALUE_BYTES && a.operation < RING_OPERATION_COUNT);
        again.length = 0;
        bool fits = forward_put_ask(&again, &a, parts[0], parts[1]);
        ASSERT(fits);
        forward_seal(&again, r->start, r->number);
        const struct transport_received copy = {.head = again.bytes,
                                                .head_length = again.length,
                                                .bytes = d->bytes,
                                                .length = d->length};
        struct forward_reader second;
        int opened = forward_open(&second, &copy);
        ASSERT(opened == 0);
        int read = forward_next_ask(&second, &b, &same[0], &same[1]);
        ASSERT(read == 1 && memcmp(&a, &b, sizeof a) == 0);
        ASSERT(memcmp(parts[0], same[0], a.key_length) == 0);
        ASSERT(memcmp(parts[1], same[1], a.value_here) == 0);
    }
}

static void answers(const struct transport_received *d, struct forward_reader *r)
{
    struct forward_answer a;
    const uint8_t *parts[2];
    while (forward_next_answer(r, &a, &parts[0], &parts[1]) > 0) {
        require_parts(d, a.key_length, a.value_here, a.how, parts);
        ASSERT((uint64_t)a.value_offset + a.value_here <= a.value_length);
        ASSERT(a.value_length <= LIMIT_VALUE_BYTES && a.status < RING_STATUS_COUNT);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte says how many of the last ones travel beside the head, in eights. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    alignas(8) static uint8_t head[TRANSPORT_HEAD_MAX];
    struct forward_reader r;
    if (size < 1 || size - 1 > sizeof head)
        return 0;
    size_t beside = data[0] * (size_t)8 < size - 1 ? data[0] * (size_t)8 : 0;
    size_t head_length = size - 1 - beside;
    memcpy(head, data + 1, head_length);
    const struct transport_received d = {
        .from = 1,
        .head_length = (uint32_t)head_length,
        .head = head,
        .bytes = beside != 0 ? data + 1 + head_length : NULL,
        .length = (uint32_t)beside,
    };
    if (forward_open(&r, &d) != 0)
        return 0;
    if (r.kind == FORWARD_ASK)
        asks(&d, &r);
    else
        answers(&d, &r);
    return 0;
}
