#include "dataplane/transport_dpdk.h"

#include <string.h>

#include <rte_mbuf.h>

#define UDP_CHECKSUM_AT (PACKET_HEADER_BYTES - 2)

static struct rte_mbuf **place(const struct transport_dpdk_peer *p, uint32_t position)
{
    return &p->queue[position & (p->places - 1)];
}

/* ---- sealing ---- */

bool transport_dpdk_reserve(struct transport_framed_endpoint *framed,
                            struct transport_framed_peer *peer, uint32_t frames)
{
    struct transport_dpdk_endpoint *e = transport_dpdk_of(framed);
    (void)peer; /* all have the same pool */
    if (LIKELY(e->stash_count >= frames))
        return true;
    uint32_t wanted = frames + TRANSPORT_DPDK_STASH_MORE - e->stash_count;
    if (rte_pktmbuf_alloc_bulk(e->queue->pool, &e->stash[e->stash_count], wanted) != 0) {
        e->counters.no_memory++;
        return false;
    }
    e->stash_count += wanted;
    return true;
}

uint8_t *transport_dpdk_room(struct transport_framed_endpoint *framed,
                             struct transport_framed_peer *peer)
{
    struct transport_dpdk_endpoint *e = transport_dpdk_of(framed);
    (void)peer;
    /* Why: of a frame that was not sealed after all. */
    rte_pktmbuf_free(e->rest);
    e->rest = NULL;
    return rte_pktmbuf_mtod_offset(e->stash[e->stash_count - 1], uint8_t *, PACKET_HEADER_BYTES);
}

void transport_dpdk_queued(struct transport_framed_endpoint *framed,
                           struct transport_framed_peer *peer, uint32_t length)
{
    struct transport_dpdk_endpoint *e = transport_dpdk_of(framed);
    struct rte_mbuf *m = e->stash[--e->stash_count];
    m->data_len = (uint16_t)(PACKET_HEADER_BYTES + length);
    m->pkt_len = m->data_len;
    if (e->rest != NULL) {
        m->next = e->rest;
        m->nb_segs = 2;
        m->pkt_len += e->rest->pkt_len;
        e->rest = NULL;
        e->counters.frames_chained++;
    }
    *place(transport_dpdk_peer_of(peer), peer->tail) = m;
}

void transport_dpdk_drop(struct transport_framed_endpoint *framed,
                         struct transport_framed_peer *peer)
{
    (void)framed;
    for (uint32_t i = peer->head; i != peer->tail; i++)
        rte_pktmbuf_free(*place(transport_dpdk_peer_of(peer), i));
}

/* ---- headers ---- */

static uint32_t frame_length(const struct rte_mbuf *m)
{
    return m->pkt_len - PACKET_HEADER_BYTES;
}

/* In front of the frame in m, whatever stood there: it may not have left the last time. */
static void headers_write(const struct transport_dpdk_endpoint *e,
                          const struct transport_dpdk_peer *p, struct rte_mbuf *m)
{
    uint8_t *bytes = rte_pktmbuf_mtod(m, uint8_t *);
    uint32_t offloads = e->queue->offloads;
    packet_write(bytes, &p->path, frame_length(m), offloads | PACKET_UDP_BY_PORT, 0);
    if ((offloads & PACKET_UDP_BY_PORT) == 0)
        memset(bytes + UDP_CHECKSUM_AT, 0, 2); /* there is none */
    dpdk_queue_mark(e->queue, m, (offloads & PACKET_UDP_BY_PORT) != 0);
}

bool transport_dpdk_send_beside(struct transport_framed_endpoint *framed,
                                struct transport_framed_peer *peer, const uint8_t *frame,
                                uint32_t length)
{
    struct transport_dpdk_endpoint *e = transport_dpdk_of(framed);
    struct transport_dpdk_peer *p = transport_dpdk_peer_of(peer);
    if (!arp_find(&e->arp, p->path.to, &p->path.to_mac)) {
        e->counters.no_neighbour++;
        return false;
    }
    struct rte_mbuf *m = rte_pktmbuf_alloc(e->queue->pool);
    if (m == NULL) {
        e->counters.no_memory++;
        return false;
    }
    m->data_len = (uint16_t)(PACKET_HEADER_BYTES + length);
    m->pkt_len = m->data_len;
    memcpy(rte_pktmbuf_mtod_offset(m, uint8_t *, PACKET_HEADER_BYTES), frame, length);
    headers_write(e, p, m);
    framed->counters.calls_sent++;
    if (dpdk_queue_send(e->queue, &m, 1) == 1)
        return true;
    rte_pktmbuf_free(m);
    return false;
}

/* ---- batches ---- */

/* What waits for a peer whose station is not known is lost on the way. */
static void unreachable(struct transport_dpdk_endpoint *e, struct transport_dpdk_peer *p)
{
    uint32_t frames = p->framed.tail - p->framed.head;
    transport_dpdk_drop(&e->framed, &p->framed);
    e->counters.no_neighbour += frames;
    e->framed.counters.send_errors += frames;
    transport_framed_left(&e->framed, &p->framed, frames);
}

/* Packets of one peer, as far as the pace allows.  Returns how many the batch has then. */
static uint32_t batch_add(struct transport_dpdk_endpoint *e, struct transport_dpdk_peer *p,
                          uint32_t count)
{
    struct transport_framed_peer *f = &p->framed;
    while (count < TRANSPORT_DPDK_BATCH && f->sending != f->tail && pacing_may_send(&f->pacing)) {
        struct rte_mbuf *m = *place(p, f->sending++);
        headers_write(e, p, m);
        e->out[count] = m;
        e->owners[count] = p;
        e->lengths[count] = frame_length(m);
        pacing_sent(&f->pacing, e->lengths[count++]);
    }
    return count;
}

/* Packets for all peers in turn, as many as fit one call. */
static uint32_t batch_build(struct transport_dpdk_endpoint *e)
{
    struct transport_framed_endpoint *f = &e->framed;
    uint32_t count = 0;
    for (uint32_t i = 0; i < f->peer_count && count < TRANSPORT_DPDK_BATCH; i++) {
        struct transport_dpdk_peer *p = transport_dpdk_peer_of(transport_framed_turn(f));
        if (p->framed.head == p->framed.tail)
            continue;
        if (LIKELY(arp_find(&e->arp, p->path.to, &p->path.to_mac)))
            count = batch_add(e, p, count);
        else
            unreachable(e, p);
    }
    return count;
}

/* Returns how many left; the rest is back in the queues. */
static uint32_t batch_send(struct transport_dpdk_endpoint *e, uint32_t count)
{
    struct transport_framed_counters *c = &e->framed.counters;
    uint32_t sent = dpdk_queue_send(e->queue, e->out, count);
    c->calls_sent++;
    c->frames_sent += sent;
    for (uint32_t i = 0; i < sent; i++) {
        c->bytes_sent += e->lengths[i];
        transport_framed_left(&e->framed, &e->owners[i]->framed, 1);
    }
    for (uint32_t i = sent; i < count; i++) {
        struct transport_framed_peer *p = &e->owners[i]->framed;
        p->sending = p->head;
        pacing_unsent(&p->pacing, e->lengths[i]);
    }
    c->send_retries += sent < count;
    return sent;
}

void transport_dpdk_flush(struct transport_framed_endpoint *framed)
{
    struct transport_dpdk_endpoint *e = transport_dpdk_of(framed);
    uint32_t count;
    do {
        count = batch_build(e);
    } while (count != 0 && batch_send(e, count) == count && framed->queued != 0);
}
