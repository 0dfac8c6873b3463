#include "dataplane/rdma_port.h"

#include <string.h>

/* As it travels: RDMA_HELLO_BYTES, each field where its type wants to be. */
struct wire {
    uint32_t magic;
    uint16_t version, lcore;
    uint32_t from, to;
    uint64_t cluster;
    uint32_t number, messages, key, message_bytes;
    uint64_t address;
    uint8_t unused[8]; /* zero */
};
_Static_assert(sizeof(struct wire) == RDMA_HELLO_BYTES, "hello");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a copy of struct wire is its encoding");

void rdma_hello_encode(const struct rdma_hello *h, uint8_t bytes[RDMA_HELLO_BYTES])
{
    const struct wire w = {.magic = RDMA_HELLO_MAGIC,
                           .version = h->version,
                           .lcore = h->lcore,
                           .from = h->from,
                           .to = h->to,
                           .cluster = h->cluster,
                           .number = h->number,
                           .messages = h->messages,
                           .key = h->key,
                           .message_bytes = h->message_bytes,
                           .address = h->address};
    memcpy(bytes, &w, sizeof w);
}

/* Where a peer may write to: in one piece of its address space, and aligned as struct rdma_inlet is. */
static bool inlet_is_sound(const struct wire *w)
{
    uint64_t bytes = sizeof(struct rdma_inlet) + (uint64_t)w->messages * RDMA_PORT_SLOT_BYTES;
    return w->address != 0 && w->address % alignof(struct rdma_inlet) == 0 &&
           w->address <= UINT64_MAX - bytes;
}

static bool is_sound(const struct wire *w)
{
    static const uint8_t zeros[sizeof w->unused];
    return w->lcore < LIMIT_LCORES && w->from != w->to && w->number != 0 &&
           is_power_of_two(w->messages) && w->messages <= RDMA_PORT_MESSAGES_MAX &&
           w->message_bytes != 0 && w->message_bytes % CACHE_LINE == 0 &&
           w->message_bytes <= RDMA_PORT_MESSAGE_BYTES_MAX && inlet_is_sound(w) &&
           memcmp(w->unused, zeros, sizeof zeros) == 0;
}

int rdma_hello_decode(struct rdma_hello *h, const uint8_t *bytes, uint64_t length)
{
    struct wire w;
    if (length < sizeof w)
        return -EPROTO;
    memcpy(&w, bytes, sizeof w);
    if (w.magic != RDMA_HELLO_MAGIC)
        return -EPROTO;
    if (w.version != RDMA_HELLO_VERSION)
        return -EPROTONOSUPPORT;
    if (!is_sound(&w))
        return -EPROTO;
    *h = (struct rdma_hello){.version = w.version,
                             .lcore = w.lcore,
                             .from = w.from,
                             .to = w.to,
                             .cluster = w.cluster,
                             .number = w.number,
                             .messages = w.messages,
                             .key = w.key,
                             .address = w.address,
                             .message_bytes = w.message_bytes};
    return 0;
}
