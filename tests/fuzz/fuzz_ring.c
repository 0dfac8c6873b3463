/* A ring whose memory the other side writes as it likes, at any moment: both of our sides stay
 * inside, and say -EPROTO rather than do what they are told. */
#include "engine/ring.h"

#include <string.h>

#define BYTES LIMIT_RING_BYTES_MIN

static struct {
    struct ring_shared shared;
    alignas(64) uint8_t data[BYTES];
} memory;

static void require_inside(const struct ring *r, const void *message, uint64_t length)
{
    const uint8_t *at = message;
    ASSERT(at >= memory.data && at + length <= memory.data + BYTES);
    ASSERT((uintptr_t)at % RING_CELL == 0);
    ASSERT(length <= ring_message_max(r));
}

static void consume(struct ring *r)
{
    void *message;
    struct ring_head head;
    int n = ring_peek(r, &message, &head);
    ASSERT(n == 0 || n == 1 || n == -EPROTO);
    if (n != 1)
        return;
    require_inside(r, message, head.length);
    ASSERT(head.length >= sizeof head && head.operation != 0);
    uint64_t position = r->position;
    ring_consume(r, &head);
    ASSERT(r->position > position && r->position % RING_CELL == 0);
    ring_publish(r);
}

static void produce(struct ring *r, uint32_t length)
{
    void *message;
    int n = ring_claim(r, length, &message);
    ASSERT(n == 0 || n == -EAGAIN || n == -EMSGSIZE || n == -EPROTO);
    int room = ring_has_room(r, length);
    ASSERT(room == 0 || room == 1 || room == -EPROTO);
    if (n != 0)
        return;
    require_inside(r, message, length);
    memset((uint8_t *)message + 8, 0x5a, length - 8);
    ring_commit(r, message, (struct ring_head){.length = length, .operation = RING_NOP});
    ASSERT(r->position % RING_CELL == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each step is 12 bytes: what to do, where, and a word. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    memset(&memory, 0, sizeof memory);
    struct ring producer, consumer;
    ring_join(&producer, &memory.shared, memory.data, BYTES);
    ring_join(&consumer, &memory.shared, memory.data, BYTES);
    for (; size >= 12; data += 12, size -= 12) {
        uint16_t where;
        uint64_t word;
        memcpy(&where, data + 2, sizeof where);
        memcpy(&word, data + 4, sizeof word);
        switch (data[0] % 6) {
        case 0: /* the other side writes a word */
            atomic_store_explicit((_Atomic uint64_t *)(void *)&memory.data[where % BYTES / 8 * 8],
                                  word, memory_order_relaxed);
            break;
        case 1: /* a head that is nearly right */
            word = (word & 0xffffff0000000000u) | (where % 2048u) | (uint64_t)(data[1] % 8) << 32;
            atomic_store_explicit(
                (_Atomic uint64_t *)(void *)&memory.data[consumer.position % BYTES], word,
                memory_order_relaxed);
            break;
        case 2:
            atomic_store_explicit(&memory.shared.consumed,
                                  data[1] & 1 ? word : producer.position - where % BYTES / 64 * 64,
                                  memory_order_relaxed);
            break;
        case 3:
            produce(&producer, where % 1200u);
            break;
        default:
            consume(&consumer);
        }
    }
    return 0;
}
