#include "dataplane/transport_dpdk.h"

#include <rte_mbuf.h>

static struct rte_mbuf **place(struct transport_dpdk_endpoint *e, uint64_t position)
{
    return &e->in[position & (TRANSPORT_DPDK_IN - 1)];
}

bool transport_dpdk_fill(struct transport_dpdk_endpoint *e)
{
    uint32_t first = (uint32_t)(e->filled & (TRANSPORT_DPDK_IN - 1));
    uint64_t room = TRANSPORT_DPDK_IN - (e->filled - e->released);
    uint32_t wanted = (uint32_t)min_u64(room, TRANSPORT_DPDK_IN - first);
    if (wanted == 0)
        return false;
    wanted = (uint32_t)min_u64(wanted, DPDK_PORT_BURST);
    uint32_t got = dpdk_queue_receive(e->queue, &e->in[first], wanted);
    e->framed.counters.calls_received++;
    e->framed.drained = got < wanted;
    e->filled += got;
    return got != 0;
}

/* ---- packets ---- */

/* Why by the first lcore alone: all of them get what is for no one lcore. */
static void echo_answer(struct transport_dpdk_endpoint *e, const struct packet_received *r)
{
    struct rte_mbuf **m = place(e, e->current);
    if (e->queue->lcore != 0)
        return;
    uint32_t length = packet_echo_answer(rte_pktmbuf_mtod(*m, uint8_t *), r, &e->local);
    (*m)->data_len = (uint16_t)length;
    (*m)->pkt_len = length;
    (*m)->ol_flags = 0; /* its checksums are whole */
    if (dpdk_queue_send(e->queue, m, 1) == 0)
        return;
    *m = NULL;
    e->counters.echoes_answered++;
}

static void arp_take(struct transport_dpdk_endpoint *e, const uint8_t *bytes)
{
    struct packet_arp packet;
    packet_arp_read(&packet, bytes);
    arp_receive(&e->arp, &packet, e->framed.receive_at);
}

static void echo_take(struct transport_dpdk_endpoint *e, enum packet_verdict verdict,
                      const struct packet_received *r)
{
    if (verdict == PACKET_ECHO_REPLY || r->source == e->local.address)
        dpdk_chain_receive(&e->chain->chain, r, e->framed.receive_at);
    else
        echo_answer(e, r);
}

/* The frame in the packet at hand; NULL: it is none, and was seen to. */
static uint8_t *frame_in(struct transport_dpdk_endpoint *e, uint32_t *length)
{
    struct rte_mbuf *m = *place(e, e->current);
    uint8_t *bytes = rte_pktmbuf_mtod(m, uint8_t *);
    struct packet_received r;
    /* Why UDP's checksum is not looked at: transport_dpdk.h. */
    enum packet_verdict verdict =
        packet_judge(&r, bytes, m->data_len, &e->local, dpdk_queue_checked(m) | PACKET_UDP_BY_PORT);
    if (LIKELY(verdict == PACKET_UDP)) {
        *length = r.length;
        return bytes + PACKET_HEADER_BYTES;
    }
    if (verdict == PACKET_ARP)
        arp_take(e, bytes);
    else if (verdict >= PACKET_TAKEN)
        e->counters.refused[verdict - PACKET_TAKEN]++;
    else
        echo_take(e, verdict, &r);
    return NULL;
}

uint8_t *transport_dpdk_next(struct transport_framed_endpoint *framed, uint32_t *length)
{
    struct transport_dpdk_endpoint *e = transport_dpdk_of(framed);
    /* Why this ends: no more than TRANSPORT_DPDK_IN come before a release. */
    while (e->current != e->filled || (!framed->drained && transport_dpdk_fill(e))) {
        uint8_t *frame = frame_in(e, length);
        if (frame != NULL)
            return frame;
        e->current++;
    }
    return NULL;
}

void transport_dpdk_pass(struct transport_framed_endpoint *framed)
{
    transport_dpdk_of(framed)->current++;
}

void transport_dpdk_release(struct transport_framed_endpoint *framed)
{
    struct transport_dpdk_endpoint *e = transport_dpdk_of(framed);
    while (e->released != e->current) {
        uint32_t first = (uint32_t)(e->released & (TRANSPORT_DPDK_IN - 1));
        uint32_t count = (uint32_t)min_u64(e->current - e->released, TRANSPORT_DPDK_IN - first);
        rte_pktmbuf_free_bulk(&e->in[first], count);
        e->released += count;
    }
}
