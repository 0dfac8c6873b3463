#include "dataplane/dpdk_press.h"

#include <string.h>

#include <rte_mbuf.h>

#define MAC_BYTES PACKET_MAC_BYTES
#define TYPE_AT (2 * (size_t)MAC_BYTES)

static void frame_write(const struct dpdk_queue *q, struct rte_mbuf *m)
{
    const struct packet_mac *own = &q->port->facts.mac;
    uint8_t *bytes = rte_pktmbuf_mtod(m, uint8_t *);
    memset(bytes, 0, PACKET_BYTES_MIN);
    memcpy(bytes, own->bytes, MAC_BYTES);
    memcpy(bytes + MAC_BYTES, own->bytes, MAC_BYTES);
    bytes[TYPE_AT] = (uint8_t)(DPDK_PRESS_TYPE >> 8);
    bytes[TYPE_AT + 1] = (uint8_t)DPDK_PRESS_TYPE;
    m->data_len = PACKET_BYTES_MIN;
    m->pkt_len = PACKET_BYTES_MIN;
}

/* Returns how many the port took. */
static uint32_t frames_send(struct dpdk_queue *q)
{
    struct rte_mbuf *mbufs[DPDK_PRESS_FRAMES];
    if (rte_pktmbuf_alloc_bulk(q->pool, mbufs, DPDK_PRESS_FRAMES) != 0)
        return 0; /* they are out as well: some come back without */
    for (uint32_t i = 0; i < DPDK_PRESS_FRAMES; i++)
        frame_write(q, mbufs[i]);
    uint32_t sent = dpdk_queue_send(q, mbufs, DPDK_PRESS_FRAMES);
    rte_pktmbuf_free_bulk(mbufs + sent, DPDK_PRESS_FRAMES - sent);
    q->counters.pushed += sent;
    return sent;
}

static void push(struct dpdk_press *p, struct dpdk_queue *q, uint64_t now)
{
    p->pushed += frames_send(q);
    p->push_at = now + DPDK_PRESS_PUSH_NS;
    if (p->pushed < 2u * q->port->descriptors_out)
        return;
    p->pushed = 0;
    p->push_at = now + DPDK_PRESS_PAUSE_NS;
}

void dpdk_press(struct dpdk_press *p, struct dpdk_queue *q, uint64_t now)
{
    if (!p->is_out)
        *p =
            (struct dpdk_press){.is_out = true, .ask_at = now, .push_at = now + DPDK_PRESS_WAIT_NS};
    if (now >= p->ask_at) {
        dpdk_queue_clean(q);
        p->ask_at = now + DPDK_PRESS_ASK_NS;
    }
    if (now >= p->push_at)
        push(p, q, now);
}
