#include "dataplane/transport_rdma.h"

#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

#define NO_ROOM UINT32_MAX

static struct transport_rdma_frame *frame_at(const struct transport_rdma_peer *p, uint64_t position)
{
    return &p->frames[position & (p->places - 1)];
}

/* ---- memory ---- */

/* Behind the newest frame.  Why packed, and from the begin on when none is left: as in transport_udp_send.c. */
static uint32_t end_of(const struct transport_rdma_peer *p)
{
    if (p->newest == p->oldest)
        return 0;
    const struct transport_rdma_frame *last = frame_at(p, p->newest - 1);
    return last->at + last->length;
}

/* Frames of the longest kind that there is room for, one behind the other.  Why never up to the oldest one: an end
 * that is where it begins would be that of nothing. */
static uint64_t slots_free(const struct transport_rdma_endpoint *e,
                           const struct transport_rdma_peer *p)
{
    uint64_t slot = e->framed.slot_bytes;
    uint64_t end = end_of(p);
    uint64_t begin = frame_at(p, p->oldest)->at;
    if (p->newest == p->oldest)
        return e->frames_bytes / slot;
    if (end <= begin)
        return begin == end ? 0 : (begin - end - 1) / slot;
    return (e->frames_bytes - end) / slot + (begin != 0 ? (begin - 1) / slot : 0);
}

static bool has_memory(const struct transport_rdma_endpoint *e, const struct transport_rdma_peer *p,
                       uint32_t frames)
{
    return p->newest - p->oldest + frames <= p->places && slots_free(e, p) >= frames;
}

bool transport_rdma_reserve(struct transport_framed_endpoint *framed,
                            struct transport_framed_peer *peer, uint32_t frames)
{
    struct transport_rdma_endpoint *e = transport_rdma_of(framed);
    struct transport_rdma_peer *p = transport_rdma_peer_of(peer);
    if (p->state != TRANSPORT_RDMA_LIVE || LIKELY(has_memory(e, p, frames)))
        return true;
    /* Why until nothing is over: what is under way has memory, and may have left by now. */
    while (transport_rdma_poll(e, p) != 0 && p->state == TRANSPORT_RDMA_LIVE)
        if (has_memory(e, p, frames))
            return true;
    if (p->state != TRANSPORT_RDMA_LIVE)
        return true;
    e->counters.no_memory++;
    return false;
}

uint8_t *transport_rdma_room(struct transport_framed_endpoint *framed,
                             struct transport_framed_peer *peer)
{
    struct transport_rdma_endpoint *e = transport_rdma_of(framed);
    struct transport_rdma_peer *p = transport_rdma_peer_of(peer);
    p->room = NO_ROOM;
    if (p->state != TRANSPORT_RDMA_LIVE)
        return e->scratch;
    uint32_t end = end_of(p);
    p->room = end + (uint64_t)framed->slot_bytes <= e->frames_bytes ? end : 0;
    return p->c->send + p->room;
}

void transport_rdma_queued(struct transport_framed_endpoint *framed,
                           struct transport_framed_peer *peer, uint32_t length)
{
    struct transport_rdma_peer *p = transport_rdma_peer_of(peer);
    (void)framed;
    if (p->room == NO_ROOM)
        p->lost++;
    else
        *frame_at(p, p->newest++) = (struct transport_rdma_frame){.at = p->room, .length = length};
}

/* Why not those under way: the framed queue does not count them, and the device reads them. */
void transport_rdma_drop(struct transport_framed_endpoint *framed,
                         struct transport_framed_peer *peer)
{
    struct transport_rdma_peer *p = transport_rdma_peer_of(peer);
    (void)framed;
    p->newest = p->posted;
    p->lost = 0;
}

/* ---- credit ---- */

static bool taken_set(struct transport_rdma_peer *p, uint64_t *said, uint64_t taken)
{
    if (taken < *said || taken > p->sent)
        return false;
    *said = taken;
    p->taken = max_u64(p->taken, taken);
    return true;
}

bool transport_rdma_taken_by_word(struct transport_rdma_peer *p, uint32_t low)
{
    /* Why it may be below taken: what was written came behind the message, and was looked at before. */
    return taken_set(p, &p->by_word, p->by_word + (uint32_t)(low - (uint32_t)p->by_word));
}

bool transport_rdma_taken_by_write(struct transport_rdma_peer *p)
{
    /* relaxed: it says that places are free, and nothing was written there by the peer */
    uint64_t taken = atomic_load_explicit(&p->c->inlet->taken, memory_order_relaxed);
    return taken_set(p, &p->by_write, le64toh(taken));
}

/* Messages that the peer has places for. */
static uint64_t credits(const struct transport_rdma_peer *p)
{
    return p->c->peer.messages - min_u64(p->c->peer.messages, p->sent - p->taken);
}

bool transport_rdma_owes(const struct transport_rdma_peer *p)
{
    return p->released - p->told > p->c->messages / 4;
}

/* ---- work requests ---- */

static struct ibv_send_wr *batch_add(struct transport_rdma_endpoint *e,
                                     const struct transport_rdma_peer *p,
                                     const struct ibv_sge *from, uint64_t position)
{
    uint32_t i = e->batch_count++;
    struct ibv_send_wr *w = &e->batch[i];
    e->batch_from[i] = *from;
    *w = (struct ibv_send_wr){.wr_id = position,
                              .next = w + 1,
                              .sg_list = &e->batch_from[i],
                              .num_sge = 1,
                              .send_flags =
                                  from->length <= p->c->inline_bytes ? IBV_SEND_INLINE : 0};
    return w;
}

static uint64_t work_add(struct transport_rdma_peer *p, enum transport_rdma_kind kind)
{
    transport_rdma_work_at(p->flight, p->flight->tail)->kind = kind;
    return p->flight->tail++;
}

/* Of no bytes. */
static struct ibv_send_wr *local_add(struct transport_rdma_endpoint *e,
                                     const struct transport_rdma_peer *p, enum ibv_wr_opcode opcode,
                                     uint64_t position)
{
    static const struct ibv_sge nothing = {0};
    struct ibv_send_wr *w = batch_add(e, p, &nothing, position);
    w->opcode = opcode;
    w->sg_list = NULL;
    w->num_sge = 0;
    w->send_flags = 0;
    return w;
}

static void bind_add(struct transport_rdma_endpoint *e, const struct transport_rdma_peer *p,
                     const struct transport_rdma_staged *s, uint64_t position)
{
    struct ibv_send_wr *w = local_add(e, p, IBV_WR_BIND_MW, position);
    w->bind_mw.mw = s->window;
    w->bind_mw.rkey = s->key;
    w->bind_mw.bind_info = (struct ibv_mw_bind_info){.mr = s->region,
                                                     .addr = s->address,
                                                     .length = s->from.length,
                                                     .mw_access_flags = IBV_ACCESS_REMOTE_WRITE};
}

/* They are the last ones of the flight, so whatever is posted follows them. */
static void staged_add(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p)
{
    uint64_t position = p->flight->tail - p->staged_count;
    for (uint32_t i = 0; i < p->staged_count; i++) {
        const struct transport_rdma_staged *s = &p->staged[i];
        if (UNLIKELY(s->window != NULL)) {
            bind_add(e, p, s, position + i);
            continue;
        }
        struct ibv_send_wr *w = batch_add(e, p, &s->from, position + i);
        w->opcode = IBV_WR_RDMA_WRITE;
        w->wr.rdma.remote_addr = s->address;
        w->wr.rdma.rkey = s->key;
    }
    p->staged_count = 0;
}

/* Windows that are over, as far as the device allows.  Why no fence: what was posted before uses none of them. */
static void revokes_add(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p)
{
    struct transport_rdma_windows *windows = &p->windows;
    while (UNLIKELY(windows->over_count != 0) && e->batch_count < TRANSPORT_RDMA_BATCH &&
           transport_rdma_sends(p) != 0) {
        uint32_t i = windows->over[--windows->over_count];
        uint64_t position = work_add(p, TRANSPORT_RDMA_REVOKE);
        transport_rdma_work_at(p->flight, position)->hold = i;
        local_add(e, p, IBV_WR_LOCAL_INV, position)->invalidate_rkey = windows->of[i].key;
    }
}

/* What every message is beside its bytes. */
static void message_add(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p,
                        const struct ibv_sge *from, enum transport_rdma_kind kind)
{
    const struct rdma_hello *peer = &p->c->peer;
    struct ibv_send_wr *w = batch_add(e, p, from, work_add(p, kind));
    w->imm_data = htonl((uint32_t)p->released);
    if (from->length <= RDMA_PORT_SLOT_BYTES) {
        w->opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
        w->wr.rdma.remote_addr = peer->address + offsetof(struct rdma_inlet, ring) +
                                 p->sent % peer->messages * RDMA_PORT_SLOT_BYTES;
        w->wr.rdma.rkey = peer->key;
        e->counters.messages_written++;
    } else {
        w->opcode = IBV_WR_SEND_WITH_IMM;
        e->counters.messages_sent++;
    }
    p->told = p->released;
    p->sent++;
}

/* Frames, as far as pace, credit and device allow. */
static void frames_add(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p)
{
    struct transport_framed_peer *f = &p->framed;
    struct transport_framed_counters *c = &e->framed.counters;
    uint64_t most = min_u64(credits(p), transport_rdma_sends(p));
    uint32_t count = 0;
    while (count < most && e->batch_count < TRANSPORT_RDMA_BATCH && p->posted != p->newest &&
           pacing_may_send(&f->pacing)) {
        const struct transport_rdma_frame *frame = frame_at(p, p->posted++);
        const struct ibv_sge from = {.addr = (uintptr_t)(p->c->send + frame->at),
                                     .length = frame->length,
                                     .lkey = p->c->mr->lkey};
        message_add(e, p, &from, TRANSPORT_RDMA_FRAME);
        pacing_sent(&f->pacing, frame->length);
        c->bytes_sent += frame->length;
        count++;
    }
    c->frames_sent += count;
    transport_framed_left(&e->framed, f, count);
}

static void credit_add(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p)
{
    if (!transport_rdma_owes(p) || e->batch_count == TRANSPORT_RDMA_BATCH ||
        transport_rdma_sends(p) == 0)
        return;
    struct ibv_sge from = {
        .addr = (uintptr_t)&p->credit, .length = sizeof p->credit, .lkey = p->c->mr->lkey};
    p->credit = htole64(p->released);
    if (p->c->inline_bytes < sizeof p->credit) {
        /* Why it may be written to while the one before is read: either count is true by now. */
        uint8_t *place = p->c->send + e->send_bytes - CACHE_LINE;
        memcpy(place, &p->credit, sizeof p->credit);
        from.addr = (uintptr_t)place;
    }
    struct ibv_send_wr *w = batch_add(e, p, &from, work_add(p, TRANSPORT_RDMA_OTHER));
    w->opcode = IBV_WR_RDMA_WRITE;
    w->wr.rdma.remote_addr = p->c->peer.address + offsetof(struct rdma_inlet, taken);
    w->wr.rdma.rkey = p->c->peer.key;
    p->told = p->released;
    e->counters.credits_told++;
}

/* One doorbell.  False: the connection ended. */
static bool batch_post(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p)
{
    struct ibv_send_wr *last, *bad;
    if (e->batch_count == 0)
        return true;
    last = &e->batch[e->batch_count - 1];
    last->next = NULL;
    last->send_flags |= IBV_SEND_SIGNALED;
    e->batch_count = 0;
    e->framed.counters.calls_sent++;
    if (LIKELY(ibv_post_send(p->c->qp, e->batch, &bad) == 0))
        return true;
    e->framed.counters.send_errors++;
    if (bad->opcode == IBV_WR_BIND_MW || bad->opcode == IBV_WR_LOCAL_INV)
        transport_rdma_windows_end(e);
    transport_rdma_retire(e, p, &e->counters.connections_failed);
    return false;
}

/* Frames wait though the pace would let them go: count why, and look whether that is so any more. */
static bool waits_no_more(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p)
{
    if (p->posted == p->newest || !pacing_may_send(&p->framed.pacing))
        return false;
    if (!transport_rdma_taken_by_write(p)) {
        transport_rdma_retire(e, p, &e->counters.connections_unsound);
        return false;
    }
    if (credits(p) == 0 || transport_rdma_sends(p) == 0)
        (void)transport_rdma_poll(e, p);
    if (p->state != TRANSPORT_RDMA_LIVE)
        return false;
    e->counters.no_credit += credits(p) == 0;
    e->counters.no_sends += transport_rdma_sends(p) == 0;
    bool may = credits(p) != 0 && transport_rdma_sends(p) != 0;
    e->framed.counters.send_retries += !may;
    return may;
}

void transport_rdma_post(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p)
{
    do {
        staged_add(e, p);
        revokes_add(e, p);
        frames_add(e, p);
        credit_add(e, p);
    } while (batch_post(e, p) && waits_no_more(e, p));
}

/* ---- the body's functions ---- */

void transport_rdma_flush(struct transport_framed_endpoint *framed)
{
    struct transport_rdma_endpoint *e = transport_rdma_of(framed);
    for (uint32_t i = 0; i < framed->peer_count; i++) {
        struct transport_rdma_peer *p = transport_rdma_peer_of(transport_framed_turn(framed));
        if (UNLIKELY(p->lost != 0)) {
            e->counters.no_connection += p->lost;
            framed->counters.send_errors += p->lost;
            transport_framed_left(framed, &p->framed, p->lost);
            p->lost = 0;
        }
        if (p->posted != p->newest && LIKELY(p->state == TRANSPORT_RDMA_LIVE))
            transport_rdma_post(e, p);
    }
}

/* Why places in turn, and not until a completion: frames beside the queue are a millisecond and more apart, and one that
 * is overwritten while it is read has a wrong tag, and is lost. */
bool transport_rdma_send_beside(struct transport_framed_endpoint *framed,
                                struct transport_framed_peer *peer, const uint8_t *frame,
                                uint32_t length)
{
    struct transport_rdma_endpoint *e = transport_rdma_of(framed);
    struct transport_rdma_peer *p = transport_rdma_peer_of(peer);
    if (p->state != TRANSPORT_RDMA_LIVE || length > TRANSPORT_RDMA_HELLO_BYTES) {
        e->counters.no_connection++;
        return false;
    }
    if (credits(p) == 0 && !transport_rdma_taken_by_write(p)) {
        transport_rdma_retire(e, p, &e->counters.connections_unsound);
        return false;
    }
    if (credits(p) == 0 || transport_rdma_sends(p) == 0)
        return false;
    uint32_t turn = p->hello_turn++ % TRANSPORT_RDMA_HELLOS;
    uint8_t *place = p->c->send + e->frames_bytes + (uint64_t)turn * TRANSPORT_RDMA_HELLO_BYTES;
    memcpy(place, frame, length);
    const struct ibv_sge from = {
        .addr = (uintptr_t)place, .length = length, .lkey = p->c->mr->lkey};
    staged_add(e, p);
    message_add(e, p, &from, TRANSPORT_RDMA_OTHER);
    return batch_post(e, p);
}
