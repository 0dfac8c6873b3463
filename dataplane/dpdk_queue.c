#include "dataplane/dpdk_port.h"

#include <string.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#define TO_ALL UINT32_MAX

/* ---- receive ---- */

uint32_t dpdk_queue_checked(const struct rte_mbuf *m)
{
    uint32_t checked = 0;
    if ((m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_GOOD)
        checked |= PACKET_IP_BY_PORT;
    if ((m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD)
        checked |= PACKET_UDP_BY_PORT;
    return checked;
}

static bool is_ours_alone(const struct rte_mbuf *m)
{
    return m->nb_segs == 1 && RTE_MBUF_DIRECT(m) && rte_mbuf_refcnt_read(m) == 1;
}

/* A packet of its own in one mbuf of our pool; frees m.  NULL: there is no mbuf, or it does not fit one. */
static struct rte_mbuf *copy(struct dpdk_queue *q, struct rte_mbuf *m)
{
    struct rte_mbuf *own = rte_pktmbuf_copy(m, q->pool, 0, UINT32_MAX);
    rte_pktmbuf_free(m);
    if (own == NULL || own->nb_segs != 1) {
        rte_pktmbuf_free(own);
        q->counters.no_mbuf++;
        return NULL;
    }
    q->counters.copied++;
    return own;
}

/* In place: towards the head, where nothing stands. */
static void move(struct dpdk_queue *q, struct rte_mbuf *m, uint32_t by)
{
    uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);
    memmove(data - by, data, m->data_len);
    m->data_off = (uint16_t)(m->data_off - by);
    q->counters.moved++;
}

static uint32_t misplaced(const struct rte_mbuf *m)
{
    return (uint32_t)((rte_pktmbuf_mtod(m, uintptr_t) + PACKET_HEADER_BYTES) & 7);
}

/* As dpdk_port.h promises it; NULL: dropped, counted. */
static struct rte_mbuf *put_right(struct dpdk_queue *q, struct rte_mbuf *m)
{
    if (UNLIKELY(!is_ours_alone(m)))
        m = copy(q, m);
    if (m == NULL || LIKELY(misplaced(m) == 0))
        return m;
    if (UNLIKELY(rte_pktmbuf_headroom(m) < misplaced(m)))
        m = copy(q, m);
    if (m != NULL && misplaced(m) != 0)
        move(q, m, misplaced(m));
    return m;
}

/* The lcore that a packet is for.  A guess: packet_judge finds out what it is. */
static uint32_t lcore_of(const struct dpdk_queue *q, const struct rte_mbuf *m)
{
    const struct dpdk_port_config *c = &q->port->config;
    const uint8_t *b = rte_pktmbuf_mtod(m, const uint8_t *);
    if (m->data_len < PACKET_HEADER_BYTES)
        return q->lcore;
    if (b[12] == 0x08 && b[13] == 0x06)
        return TO_ALL; /* ARP */
    if (b[12] != 0x08 || b[13] != 0x00 || b[14] != 0x45)
        return q->lcore;
    if (b[23] == 1)
        return TO_ALL; /* ICMP */
    uint32_t lcore = (uint32_t)(b[36] << 8 | b[37]) - c->udp_port;
    return lcore < c->lcore_count ? lcore : q->lcore;
}

static void hand_over(struct dpdk_queue *q, uint32_t lcore, struct rte_mbuf *m)
{
    if (LIKELY(rte_ring_enqueue(q->port->queues[lcore].inbox, m) == 0)) {
        q->counters.handed_over++;
        return;
    }
    rte_pktmbuf_free(m);
    q->counters.inbox_full++;
}

static void hand_to_all(struct dpdk_queue *q, const struct rte_mbuf *m)
{
    for (uint32_t i = 0; i < q->port->config.lcore_count; i++) {
        struct rte_mbuf *other = NULL;
        if (i == q->lcore)
            continue;
        other = rte_pktmbuf_copy(m, q->pool, 0, UINT32_MAX);
        if (other != NULL)
            hand_over(q, i, other);
        else
            q->counters.no_mbuf++;
    }
}

/* Keep what is for this lcore, in order. */
static uint32_t sort(struct dpdk_queue *q, struct rte_mbuf **mbufs, uint32_t count)
{
    uint64_t before = q->counters.handed_over;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct rte_mbuf *m = mbufs[i];
        uint32_t lcore = lcore_of(q, m);
        if (lcore == TO_ALL)
            hand_to_all(q, m);
        if (lcore == q->lcore || lcore == TO_ALL)
            mbufs[kept++] = m;
        else
            hand_over(q, lcore, m);
    }
    if (q->counters.handed_over != before)
        dpdk_port_wake(q->port, false);
    return kept;
}

static uint32_t burst(struct dpdk_queue *q, struct rte_mbuf **mbufs, uint32_t count)
{
    _Atomic uint32_t *busy = &q->port->pairs[q->pair].receive_busy;
    uint32_t got = 0;
    if (count == 0 || !dpdk_queue_try(q, busy))
        return 0;
    if (LIKELY(q->port->running))
        got = rte_eth_rx_burst(q->port_id, q->pair, mbufs, (uint16_t)count);
    dpdk_queue_give(busy);
    return got;
}

uint32_t dpdk_queue_receive(struct dpdk_queue *q, struct rte_mbuf **mbufs, uint32_t count)
{
    uint32_t got = 0, kept = 0;
    count = (uint32_t)min_u64(count, DPDK_PORT_BURST);
    if (q->port->config.lcore_count == 1) {
        got = burst(q, mbufs, count);
    } else {
        got = rte_ring_dequeue_burst(q->inbox, (void **)mbufs, count, NULL);
        uint32_t more = burst(q, mbufs + got, count - got);
        got += sort(q, mbufs + got, more);
    }
    for (uint32_t i = 0; i < got; i++) {
        struct rte_mbuf *m = put_right(q, mbufs[i]);
        if (UNLIKELY(m == NULL))
            continue;
        q->counters.received_bytes += m->pkt_len;
        mbufs[kept++] = m;
    }
    q->counters.received += kept;
    return kept;
}

/* ---- send ---- */

void dpdk_queue_mark(const struct dpdk_queue *q, struct rte_mbuf *m, bool udp)
{
    if (q->send_flags == 0)
        return;
    m->l2_len = PACKET_ETHERNET_BYTES;
    m->l3_len = PACKET_IP_BYTES;
    m->ol_flags |= udp ? q->send_flags : q->send_flags & ~RTE_MBUF_F_TX_L4_MASK;
}

/* Packets that the driver takes as they are; at the first other one, which is dropped, this ends: *dropped. */
static uint32_t prepare(struct dpdk_queue *q, struct rte_mbuf **mbufs, uint32_t count,
                        bool *dropped)
{
    *dropped = false;
    if (q->send_flags == 0)
        return count;
    uint32_t ready = rte_eth_tx_prepare(q->port_id, q->pair, mbufs, (uint16_t)count);
    *dropped = ready < count;
    return ready;
}

uint32_t dpdk_queue_send(struct dpdk_queue *q, struct rte_mbuf **mbufs, uint32_t count)
{
    _Atomic uint32_t *busy = &q->port->pairs[q->pair].send_busy;
    uint64_t bytes = 0, unsent = 0;
    uint32_t taken = 0;
    bool dropped;
    if (count == 0 || !dpdk_queue_try(q, busy))
        return 0;
    if (LIKELY(q->port->running)) {
        count = (uint32_t)min_u64(count, UINT16_MAX);
        uint32_t ready = prepare(q, mbufs, count, &dropped);
        for (uint32_t i = 0; i < ready; i++)
            bytes += mbufs[i]->pkt_len;
        taken = rte_eth_tx_burst(q->port_id, q->pair, mbufs, (uint16_t)ready);
        for (uint32_t i = taken; i < ready; i++)
            unsent += mbufs[i]->pkt_len;
        q->counters.sent += taken;
        q->counters.sent_bytes += bytes - unsent;
        if (UNLIKELY(dropped && taken == ready)) {
            rte_pktmbuf_free(mbufs[taken++]);
            q->counters.prepare_failed++;
        }
    }
    dpdk_queue_give(busy);
    return taken;
}

void dpdk_queue_clean(struct dpdk_queue *q)
{
    _Atomic uint32_t *busy = &q->port->pairs[q->pair].send_busy;
    if (!dpdk_queue_try(q, busy))
        return;
    if (LIKELY(q->port->running))
        (void)rte_eth_tx_done_cleanup(q->port_id, q->pair, 0); /* not every driver has it */
    dpdk_queue_give(busy);
}
