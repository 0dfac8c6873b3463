#include "dataplane/transport_rdma.h"

#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>

static struct transport_rdma_arrival *arrival_at(struct transport_rdma_peer *p, uint64_t position)
{
    return &p->arrivals[position & (RDMA_PORT_MESSAGES - 1)];
}

/* ---- completions ---- */

/* Work requests up to that position are over. */
static void works_done(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p,
                       uint64_t position)
{
    struct transport_rdma_flight *f = p->flight;
    struct transport_rdma_windows *windows = &p->windows;
    ASSERT(position - f->done <
           f->tail - f->done); /* ours: the device gives back what it was given */
    for (; f->done <= position; f->done++) {
        const struct transport_rdma_work *w = transport_rdma_work_at(f, f->done);
        p->oldest += w->kind == TRANSPORT_RDMA_FRAME;
        if (UNLIKELY(w->kind == TRANSPORT_RDMA_REVOKE)) {
            windows->free[windows->free_tail++ % RDMA_PORT_WINDOWS] = (uint16_t)w->hold;
            e->counters.windows_revoked++;
        }
    }
    transport_rdma_flight_skip(f);
}

/* A message.  False: it, or what it says, cannot be. */
static bool arrived(struct transport_rdma_peer *p, const struct ibv_wc *wc)
{
    bool in_ring = wc->opcode == IBV_WC_RECV_RDMA_WITH_IMM;
    uint32_t longest = in_ring ? RDMA_PORT_SLOT_BYTES : p->c->message_bytes;
    ASSERT(p->filled - p->released < p->c->messages && wc->wr_id < p->c->messages); /* the device */
    *arrival_at(p, p->filled++) = (struct transport_rdma_arrival){
        .length = wc->byte_len, .place = (uint16_t)wc->wr_id, .in_ring = in_ring};
    return wc->byte_len <= longest && (wc->wc_flags & IBV_WC_WITH_IMM) != 0 &&
           transport_rdma_taken_by_word(p, ntohl(wc->imm_data));
}

/* Why its kind, too: sending fails with that as well, where a port is down. */
static bool is_invalidation_refused(const struct transport_rdma_peer *p, const struct ibv_wc *wc)
{
    struct transport_rdma_flight *f = p->flight;
    return wc->status == IBV_WC_LOC_QP_OP_ERR && wc->wr_id - f->done < f->tail - f->done &&
           transport_rdma_work_at(f, wc->wr_id)->kind == TRANSPORT_RDMA_REVOKE;
}

static bool take(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p,
                 const struct ibv_wc *wc)
{
    uint64_t *reason = &e->counters.connections_failed;
    if (LIKELY(wc->status == IBV_WC_SUCCESS)) {
        if ((wc->opcode & IBV_WC_RECV) == 0) {
            works_done(e, p, wc->wr_id);
            return true;
        }
        if (LIKELY(arrived(p, wc)))
            return true;
        p->filled--;
        reason = &e->counters.connections_unsound;
    }
    if (wc->status == IBV_WC_MW_BIND_ERR || is_invalidation_refused(p, wc))
        transport_rdma_windows_end(e);
    transport_rdma_retire(e, p, reason);
    return false;
}

uint32_t transport_rdma_poll(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p)
{
    struct ibv_wc wcs[TRANSPORT_RDMA_POLL];
    int got = ibv_poll_cq(p->c->cq, TRANSPORT_RDMA_POLL, wcs);
    if (UNLIKELY(got < 0)) {
        transport_rdma_retire(e, p, &e->counters.connections_failed);
        return 0;
    }
    for (int i = 0; i < got && take(e, p, &wcs[i]); i++) {
    }
    e->counters.completions += (uint32_t)got;
    return (uint32_t)got;
}

/* One look at each connection. */
static void fill(struct transport_rdma_endpoint *e)
{
    bool more = false;
    e->framed.counters.calls_received++;
    for (uint32_t i = 0; i < e->framed.peer_count; i++) {
        struct transport_rdma_peer *p = transport_rdma_peer_at(e, i);
        if (p->state == TRANSPORT_RDMA_LIVE)
            more = transport_rdma_poll(e, p) == TRANSPORT_RDMA_POLL || more;
    }
    e->framed.drained = !more;
}

/* ---- frames ---- */

/* The next peer that has a message, some of one before those of the next; NULL: none has. */
static struct transport_rdma_peer *turn(struct transport_rdma_endpoint *e)
{
    uint32_t count = e->framed.peer_count;
    if (e->in_turn >= count)
        e->in_turn = e->in_count = 0; /* peers leave */
    for (uint32_t i = 0; i <= count && count != 0; i++) {
        struct transport_rdma_peer *p = transport_rdma_peer_at(e, e->in_turn);
        if (e->in_count != 0 && p->current != p->filled) {
            e->in_count--;
            return p;
        }
        e->in_turn = e->in_turn + 1 < count ? e->in_turn + 1 : 0;
        e->in_count = TRANSPORT_RDMA_TURN;
    }
    return NULL;
}

/* Where nobody else writes to it.  Why a copy: the ring is the peer's to write to, whatever was judged before. */
static uint8_t *frame_of(struct transport_rdma_peer *p, uint32_t *length)
{
    const struct transport_rdma_arrival *a = arrival_at(p, p->current);
    const struct rdma_connection *c = p->c;
    uint8_t *bytes = c->received + (uint64_t)a->place * c->message_bytes;
    if (a->in_ring)
        memcpy(bytes, c->inlet->ring + p->current % c->messages * RDMA_PORT_SLOT_BYTES, a->length);
    *length = a->length;
    return bytes;
}

uint8_t *transport_rdma_next(struct transport_framed_endpoint *framed, uint32_t *length)
{
    struct transport_rdma_endpoint *e = transport_rdma_of(framed);
    /* Why also when something is there: it may be of one peer, and the others' was not looked for. */
    bool look = e->unlooked >= TRANSPORT_RDMA_TURN && !framed->drained;
    struct transport_rdma_peer *p = look ? NULL : turn(e);
    if (p == NULL && !framed->drained) {
        fill(e);
        e->unlooked = 0;
        p = turn(e);
    }
    if (p == NULL)
        return NULL;
    e->given = p;
    e->unlooked++;
    return frame_of(p, length);
}

void transport_rdma_pass(struct transport_framed_endpoint *framed)
{
    struct transport_rdma_endpoint *e = transport_rdma_of(framed);
    e->given->current++;
    e->given = NULL;
}

/* ---- giving back ---- */

/* RECVs of so many messages, in one chain, in the order in which they came: that is the order of their places. */
static void recvs_post(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p,
                       uint32_t count)
{
    const struct rdma_connection *c = p->c;
    struct ibv_recv_wr *bad;
    for (uint32_t i = 0; i < count; i++) {
        uint16_t place = arrival_at(p, p->released + i)->place;
        e->recvs_to[i] =
            (struct ibv_sge){.addr = (uintptr_t)(c->received + (uint64_t)place * c->message_bytes),
                             .length = c->message_bytes,
                             .lkey = c->mr->lkey};
        e->recvs[i] = (struct ibv_recv_wr){.wr_id = place,
                                           .next = i + 1 < count ? &e->recvs[i + 1] : NULL,
                                           .sg_list = &e->recvs_to[i],
                                           .num_sge = 1};
    }
    if (UNLIKELY(ibv_post_recv(c->qp, e->recvs, &bad) != 0))
        transport_rdma_retire(e, p, &e->counters.connections_failed);
}

void transport_rdma_release(struct transport_framed_endpoint *framed)
{
    struct transport_rdma_endpoint *e = transport_rdma_of(framed);
    for (uint32_t i = 0; i < framed->peer_count; i++) {
        struct transport_rdma_peer *p = transport_rdma_peer_at(e, i);
        while (p->released != p->current) {
            uint32_t count = (uint32_t)min_u64(p->current - p->released, TRANSPORT_RDMA_BATCH);
            if (p->state == TRANSPORT_RDMA_LIVE)
                recvs_post(e, p, count);
            p->released += count;
        }
        if (UNLIKELY(p->state == TRANSPORT_RDMA_GONE))
            transport_rdma_let_go(e, p);
    }
}

/* ---- sleep ---- */

/* The event that was asked for came. */
static void event_take(struct transport_rdma_peer *p)
{
    struct ibv_cq *cq;
    void *context;
    if (!p->armed || ibv_get_cq_event(p->c->channel, &cq, &context) != 0)
        return;
    ibv_ack_cq_events(cq, 1);
    p->armed = false;
}

/* Be told of the next completion.  Why the event first: one that came when nobody slept has woken nobody. */
static bool arm(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p)
{
    event_take(p);
    if (!p->armed && ibv_req_notify_cq(p->c->cq, 0) != 0) {
        transport_rdma_retire(e, p, &e->counters.connections_failed);
        return false;
    }
    p->armed = true;
    return transport_rdma_poll(e, p) == 0;
}

static bool sleeps(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p)
{
    if (p->state == TRANSPORT_RDMA_LIVE && transport_rdma_waits(p))
        transport_rdma_post(e, p);
    if (p->current != p->filled || p->flight->head != p->flight->done || p->to_name ||
        p->state == TRANSPORT_RDMA_GONE)
        return false;
    return p->state != TRANSPORT_RDMA_LIVE || arm(e, p);
}

bool transport_rdma_sleep(struct transport_framed_endpoint *framed)
{
    struct transport_rdma_endpoint *e = transport_rdma_of(framed);
    bool may = true;
    for (uint32_t i = 0; i < framed->peer_count && may; i++)
        may = sleeps(e, transport_rdma_peer_at(e, i));
    return may;
}

/* Why at once: what woke may be a link that is ready, broken or gone. */
void transport_rdma_awake(struct transport_framed_endpoint *framed)
{
    struct transport_rdma_endpoint *e = transport_rdma_of(framed);
    uint64_t times;
    if (read(e->event_fd, &times, sizeof times) == (ssize_t)sizeof times)
        framed->tick_at = 0;
    for (uint32_t i = 0; i < framed->peer_count; i++)
        if (transport_rdma_peer_at(e, i)->state == TRANSPORT_RDMA_LIVE)
            event_take(transport_rdma_peer_at(e, i));
}
