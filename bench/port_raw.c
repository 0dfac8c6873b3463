#include "bench/port_raw.h"

#include "dataplane/dpdk_port.h"

#include <string.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#define TRIES_MAX 100000000u
#define UDP_PORT_AT 36u
#define UDP_LENGTH_AT 38u

void port_raw_init(struct port_raw *r, struct dpdk_queue *queue, const struct port_raw_station *own,
                   const struct port_raw_station *peers, uint32_t peer_count)
{
    ASSERT(peer_count <= PORT_RAW_PEERS);
    *r = (struct port_raw){
        .queue = queue,
        .payload_max = dpdk_port_facts(queue->port)->mtu - PACKET_IP_BYTES - PACKET_UDP_BYTES,
    };
    for (uint32_t i = 0; i < peer_count; i++)
        r->peers[i].path = (struct packet_path){.from_mac = own->mac,
                                                .to_mac = peers[i].mac,
                                                .from = own->address,
                                                .to = peers[i].address,
                                                .from_port = PORT_RAW_UDP_PORT,
                                                .to_port = PORT_RAW_UDP_PORT};
}

/* ---- sending ---- */

static void header_put(struct port_raw_peer *p, struct rte_mbuf *m, uint32_t length)
{
    if (UNLIKELY(p->length != length)) {
        packet_write(p->header, &p->path, length, PACKET_UDP_BY_PORT, 0);
        memset(p->header + PACKET_HEADER_BYTES - 2, 0, 2); /* no checksum of UDP */
        p->length = length;
    }
    memcpy(rte_pktmbuf_mtod(m, uint8_t *), p->header, PACKET_HEADER_BYTES);
    m->data_len = (uint16_t)(PACKET_HEADER_BYTES + length);
    m->pkt_len = m->data_len;
}

/* Why bounded: a port whose link is gone takes nothing, ever. */
static int leave(const struct port_raw *r, struct rte_mbuf **mbufs, uint32_t count)
{
    uint32_t sent = 0;
    for (uint32_t tries = 0; sent < count && tries < TRIES_MAX; tries++)
        sent += rte_eth_tx_burst(r->queue->port_id, r->queue->pair, mbufs + sent,
                                 (uint16_t)(count - sent));
    if (LIKELY(sent == count))
        return 0;
    rte_pktmbuf_free_bulk(mbufs + sent, count - sent);
    return -ENETDOWN;
}

int port_raw_send(struct port_raw *r, uint32_t peer, const uint8_t *bytes, uint64_t length,
                  uint32_t step)
{
    struct rte_mbuf *mbufs[PORT_RAW_BURST];
    for (uint64_t at = 0; at < length;) {
        uint32_t count = (uint32_t)min_u64(PORT_RAW_BURST, (length - at + step - 1) / step);
        if (rte_pktmbuf_alloc_bulk(r->queue->pool, mbufs, count) != 0)
            return -ENOMEM;
        for (uint32_t i = 0; i < count; i++) {
            uint32_t payload = (uint32_t)min_u64(step, length - at);
            header_put(&r->peers[peer], mbufs[i], payload);
            memcpy(rte_pktmbuf_mtod_offset(mbufs[i], uint8_t *, PACKET_HEADER_BYTES), bytes + at,
                   payload);
            at += payload;
        }
        int rc = leave(r, mbufs, count);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* ---- receiving ---- */

static uint32_t big_endian(const uint8_t *bytes)
{
    return (uint32_t)(bytes[0] << 8 | bytes[1]);
}

/* Payload of one of ours; 0: of somebody else. */
static uint32_t payload_of(const struct rte_mbuf *m)
{
    const uint8_t *b = rte_pktmbuf_mtod(m, const uint8_t *);
    if (m->data_len < PACKET_HEADER_BYTES || big_endian(b + UDP_PORT_AT) != PORT_RAW_UDP_PORT)
        return 0;
    uint32_t length = big_endian(b + UDP_LENGTH_AT);
    return length > PACKET_UDP_BYTES && length <= m->data_len - (PACKET_HEADER_BYTES - 8)
               ? length - PACKET_UDP_BYTES
               : 0;
}

static uint32_t burst(const struct port_raw *r, struct rte_mbuf **mbufs)
{
    return rte_eth_rx_burst(r->queue->port_id, r->queue->pair, mbufs, PORT_RAW_BURST);
}

static void look_at(struct port_raw *r, const struct rte_mbuf *m, uint32_t payload)
{
    uint64_t word = 0;
    memcpy(&word, rte_pktmbuf_mtod_offset(m, const uint8_t *, PACKET_HEADER_BYTES),
           min_u64(payload, sizeof word));
    r->sum += word;
}

uint32_t port_raw_take(struct port_raw *r, port_raw_each *each, void *context)
{
    struct rte_mbuf *mbufs[PORT_RAW_BURST];
    uint32_t got = burst(r, mbufs), all = 0;
    for (uint32_t i = 0; i < got; i++) {
        uint32_t payload = payload_of(mbufs[i]);
        if (payload == 0)
            continue;
        look_at(r, mbufs[i], payload);
        if (each != NULL)
            each(context, rte_pktmbuf_mtod_offset(mbufs[i], const uint8_t *, PACKET_HEADER_BYTES),
                 payload);
        all += payload;
    }
    if (got != 0)
        rte_pktmbuf_free_bulk(mbufs, got);
    return all;
}

int port_raw_echo(struct port_raw *r)
{
    struct rte_mbuf *mbufs[PORT_RAW_BURST];
    uint32_t got = burst(r, mbufs), kept = 0, all = 0;
    for (uint32_t i = 0; i < got; i++) {
        uint32_t payload = payload_of(mbufs[i]);
        if (payload == 0) {
            rte_pktmbuf_free(mbufs[i]);
            continue;
        }
        look_at(r, mbufs[i], payload);
        header_put(&r->peers[0], mbufs[i], payload);
        mbufs[i]->ol_flags = 0; /* of how it came */
        mbufs[kept++] = mbufs[i];
        all += payload;
    }
    int rc = leave(r, mbufs, kept);
    return rc != 0 ? rc : (int)all;
}
