#include "dataplane/transport_mem.h"

#include "engine/hash.h"

#include <string.h>
#include <unistd.h>

#define NO_PEER UINT32_MAX

static struct transport_mem_endpoint *endpoint_of(struct transport *t)
{
    return (struct transport_mem_endpoint *)(void *)t; /* its first member */
}

static struct transport_mem_cell *cell_at(uint8_t *data, uint64_t bytes, uint64_t position)
{
    return (struct transport_mem_cell *)(void *)(data + (position & (bytes - 1)));
}

static uint64_t cell_bytes(const struct transport_mem_cell *c)
{
    return (uint64_t)c->granules * TRANSPORT_MEM_GRANULE;
}

static struct transport_mem_queue *queue_from(const struct transport_mem_endpoint *e, uint32_t from)
{
    return &e->in[(uint64_t)from * e->node_count];
}

/* True in share of 4; splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
static bool chance(struct transport_mem_endpoint *e, uint32_t share)
{
    uint64_t z = e->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return ((z ^ (z >> 31)) & 3) < share;
}

/* ---- sender ---- */

/* Index of a node that is not this one, or NO_PEER. */
static uint32_t peer_find(struct transport_mem_endpoint *e, uint32_t id)
{
    if (LIKELY(e->ids[e->to] == id && e->to != e->self))
        return e->to;
    for (uint32_t i = 0; i < e->node_count; i++)
        if (e->ids[i] == id && i != e->self) {
            e->to = i;
            return i;
        }
    return NO_PEER;
}

/* Position up to which the peer's receiver is done, loaded anew. */
static uint64_t consumed_load(const struct transport_mem_endpoint *e, uint32_t to)
{
    struct transport_mem_queue *q = &e->out[to];
    /* T8: acquire, pairs with T7: nobody reads any of it any more */
    if (UNLIKELY(atomic_load_explicit(&e->peers[to].left, memory_order_acquire)))
        return q->out.tail;
    /* T4: acquire, pairs with T3 */
    return atomic_load_explicit(&q->consumed, memory_order_acquire);
}

/* Free the cells that the receiver is done with, up to the first whose hold there is no place for.
 * Returns how many holds came back. */
static uint32_t reap(struct transport_mem_queue *q, uint64_t *holds, uint32_t count)
{
    uint32_t got = 0;
    while (q->out.completed != q->out.consumed) {
        const struct transport_mem_cell *c = cell_at(q->out.data, q->out.bytes, q->out.completed);
        if (c->bytes != NULL) {
            if (got == count)
                break;
            holds[got++] = c->hold;
        }
        q->out.completed += cell_bytes(c);
    }
    return got;
}

static bool fits(const struct transport_mem_queue *q, uint64_t bytes)
{
    return q->out.tail + bytes - q->out.completed <= q->out.bytes;
}

/* Room for a cell with such a head, filler in front of it written if it does not fit before the
 * ring's end; NULL: the queue is full. */
static struct transport_mem_cell *claim(struct transport_mem_endpoint *e, uint32_t to,
                                        uint32_t head_length)
{
    struct transport_mem_queue *q = &e->out[to];
    uint64_t bytes =
        align_up(sizeof(struct transport_mem_cell) + head_length, TRANSPORT_MEM_GRANULE);
    uint64_t to_end = q->out.bytes - (q->out.tail & (q->out.bytes - 1));
    uint64_t filler = UNLIKELY(bytes > to_end) ? to_end : 0;
    if (UNLIKELY(!fits(q, bytes + filler))) {
        q->out.consumed = consumed_load(e, to);
        (void)reap(q, NULL, 0);
        if (!fits(q, bytes + filler))
            return NULL;
    }
    if (UNLIKELY(filler != 0)) {
        *cell_at(q->out.data, q->out.bytes, q->out.tail) = (struct transport_mem_cell){
            .granules = (uint16_t)(filler / TRANSPORT_MEM_GRANULE),
            .kind = TRANSPORT_MEM_FILLER,
        };
        q->out.tail += filler;
    }
    struct transport_mem_cell *c = cell_at(q->out.data, q->out.bytes, q->out.tail);
    c->granules = (uint16_t)(bytes / TRANSPORT_MEM_GRANULE);
    c->head_length = head_length;
    q->out.tail += bytes;
    return c;
}

/* A peer that sleeps is woken by one of us.  Why not read the flag alone: every sender of a burst
 * would call into the kernel until the peer runs. */
static void wake(struct transport_mem_endpoint *peer)
{
    /* relaxed, both: the fence of T5 orders them; the eventfd orders what follows */
    if (LIKELY(atomic_load_explicit(&peer->sleeping, memory_order_relaxed) == 0) ||
        atomic_exchange_explicit(&peer->sleeping, 0, memory_order_relaxed) == 0)
        return;
    uint64_t one = 1;
    ssize_t written = write(peer->transport.wake_fd, &one, sizeof one);
    (void)written; /* full is as good as rung */
}

/* Let the peers of the mask see what was put for them. */
static void publish(struct transport_mem_endpoint *e, uint64_t mask)
{
    if (mask == 0)
        return;
    for (uint64_t m = mask; m != 0; m &= m - 1) {
        struct transport_mem_queue *q = &e->out[__builtin_ctzll(m)];
        /* T1: release, the cells are whole */
        atomic_store_explicit(&q->tail, q->out.tail, memory_order_release);
    }
    atomic_thread_fence(memory_order_seq_cst); /* T5: pairs with T6 */
    for (uint64_t m = mask; m != 0; m &= m - 1)
        wake(&e->peers[__builtin_ctzll(m)]);
}

static uint64_t sum_of(const struct transport_mem_endpoint *e, const uint8_t *bytes,
                       uint32_t length)
{
    return UNLIKELY(e->delayed) && bytes != NULL ? hash_key(bytes, length) : 0;
}

static bool put(struct transport_mem_endpoint *e, uint32_t to, const struct transport_datagram *d)
{
    ASSERT(d->head_length <= TRANSPORT_HEAD_MAX && (d->bytes != NULL || d->length == 0));
    struct transport_mem_cell *c = claim(e, to, d->head_length);
    if (UNLIKELY(c == NULL))
        return false;
    c->kind = TRANSPORT_MEM_DATAGRAM;
    c->length = d->length;
    c->bytes = d->bytes;
    c->hold = d->hold;
    c->sum = sum_of(e, d->bytes, d->length);
    if (d->head_length != 0)
        memcpy(c->head, d->head, d->head_length);
    return true;
}

static uint32_t mem_send(struct transport *t, const struct transport_datagram *datagrams,
                         uint32_t count)
{
    struct transport_mem_endpoint *e = endpoint_of(t);
    uint64_t mask = 0;
    uint32_t taken = 0;
    for (; taken < count; taken++) {
        uint32_t to = peer_find(e, datagrams[taken].to);
        if (UNLIKELY(to == NO_PEER) || !put(e, to, &datagrams[taken]))
            break;
        mask |= UINT64_C(1) << to;
    }
    publish(e, mask);
    return taken;
}

static int mem_log_write(struct transport *t, const struct transport_log_write *w)
{
    struct transport_mem_endpoint *e = endpoint_of(t);
    uint32_t to = peer_find(e, w->to);
    if (to == NO_PEER)
        return -ENXIO;
    ASSERT(w->bytes != NULL);
    struct transport_mem_cell *c = claim(e, to, sizeof w->token);
    if (c == NULL)
        return -EAGAIN;
    c->kind = TRANSPORT_MEM_WRITE;
    c->length = w->length;
    c->bytes = w->bytes;
    c->hold = w->hold;
    c->sum = sum_of(e, w->bytes, w->length);
    memcpy(c->head, &w->token, sizeof w->token);
    publish(e, UINT64_C(1) << to);
    return 0;
}

static void shuffle(struct transport_mem_endpoint *e, uint64_t *holds, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        if (!chance(e, 2))
            continue;
        uint64_t other = holds[i - 1];
        holds[i - 1] = holds[i];
        holds[i] = other;
    }
}

static uint32_t mem_complete(struct transport *t, uint64_t *holds, uint32_t count)
{
    struct transport_mem_endpoint *e = endpoint_of(t);
    uint32_t got = 0;
    for (uint32_t to = 0; to < e->node_count; to++) {
        struct transport_mem_queue *q = &e->out[to];
        if (q->out.completed == q->out.tail || (UNLIKELY(e->delayed) && chance(e, 2)))
            continue;
        q->out.consumed = consumed_load(e, to);
        got += reap(q, holds + got, count - got);
    }
    if (UNLIKELY(e->delayed))
        shuffle(e, holds, got);
    return got;
}

/* ---- receiver ---- */

/* Give cells back to the sender up to this position. */
static void consume(struct transport_mem_queue *q, uint64_t position)
{
    if (position == q->in.consumed)
        return;
    q->in.consumed = position;
    /* T3: release, cells and bytes are read */
    atomic_store_explicit(&q->consumed, position, memory_order_release);
}

/* With delays: give back some of what was released; what the sender changed too early shows here. */
static void consume_late(struct transport_mem_endpoint *e, struct transport_mem_queue *q)
{
    uint64_t position = q->in.consumed;
    while (position != q->in.released && chance(e, 3)) {
        const struct transport_mem_cell *c = cell_at(q->in.data, q->in.bytes, position);
        if (c->bytes != NULL && sum_of(e, c->bytes, c->length) != c->sum)
            /* relaxed: a counter with one writer */
            atomic_fetch_add_explicit(&e->damaged, 1, memory_order_relaxed);
        position += cell_bytes(c);
    }
    consume(q, position);
}

static void place(const struct transport *t, uint32_t from, const struct transport_mem_cell *c)
{
    struct grant_token token;
    memcpy(&token, c->head, sizeof token);
    if (t->place != NULL)
        t->place(t->place_context, from, &token, c->bytes, c->length);
}

/* T2: acquire, pairs with T1: cells below are whole. */
static uint64_t tail_load(const struct transport_mem_queue *q)
{
    return atomic_load_explicit(&q->tail, memory_order_acquire);
}

/* Up to count messages of one peer, from those below tail; log writes are placed, and count, too. */
static uint32_t take(struct transport_mem_endpoint *e, uint32_t from, uint64_t tail,
                     struct transport_received *received, uint32_t count)
{
    struct transport_mem_queue *q = queue_from(e, from);
    uint32_t got = 0;
    for (uint32_t i = 0; i < count && q->in.position != tail; i++) {
        if (UNLIKELY(e->delayed) && chance(e, 1))
            break;
        struct transport_mem_cell *c = cell_at(q->in.data, q->in.bytes, q->in.position);
        bool voided = q->in.position < q->in.voided;
        q->in.position += cell_bytes(c);
        if (LIKELY(c->kind == TRANSPORT_MEM_DATAGRAM))
            received[got++] = (struct transport_received){
                .from = e->ids[from],
                .head_length = c->head_length,
                .head = c->head,
                .bytes = c->bytes,
                .length = c->length,
            };
        else if (c->kind == TRANSPORT_MEM_WRITE && !voided)
            place(&e->transport, e->ids[from], c);
    }
    return got;
}

static uint32_t mem_receive(struct transport *t, struct transport_received *received,
                            uint32_t count)
{
    struct transport_mem_endpoint *e = endpoint_of(t);
    uint32_t got = 0;
    uint32_t from = e->turn_in;
    for (uint32_t i = 0; i < e->node_count && got < count; i++) {
        struct transport_mem_queue *q = queue_from(e, from);
        if (UNLIKELY(e->delayed))
            consume_late(e, q);
        uint64_t tail = tail_load(q);
        if (q->in.position != tail) {
            e->received |= UINT64_C(1) << from;
            got += take(e, from, tail, received + got, count - got);
        }
        from = from + 1 == e->node_count ? 0 : from + 1;
    }
    e->turn_in = from;
    return got;
}

/* What is in the queue now is passed over; what comes later under an older key the owner drops. */
static void mem_disconnect(struct transport *t, uint32_t node)
{
    struct transport_mem_endpoint *e = endpoint_of(t);
    for (uint32_t i = 0; i < e->node_count; i++)
        if (e->ids[i] == node && i != e->self) {
            queue_from(e, i)->in.voided = tail_load(queue_from(e, i));
            e->disconnected |= UINT64_C(1) << i;
        }
}

static uint32_t mem_disconnected(struct transport *t)
{
    struct transport_mem_endpoint *e = endpoint_of(t);
    if (LIKELY(e->disconnected == 0))
        return TRANSPORT_NOBODY;
    uint32_t i = (uint32_t)__builtin_ctzll(e->disconnected);
    e->disconnected &= e->disconnected - 1;
    return e->ids[i];
}

static void mem_release(struct transport *t)
{
    struct transport_mem_endpoint *e = endpoint_of(t);
    for (; e->received != 0; e->received &= e->received - 1) {
        struct transport_mem_queue *q = queue_from(e, (uint32_t)__builtin_ctzll(e->received));
        q->in.released = q->in.position;
        if (UNLIKELY(e->delayed))
            consume_late(e, q);
        else
            consume(q, q->in.released);
    }
}

/* ---- sleeping ---- */

/* Whether a queue from or to that peer wants a pass. */
static bool has_work(const struct transport_mem_endpoint *e, uint32_t peer)
{
    const struct transport_mem_queue *in = queue_from(e, peer);
    const struct transport_mem_queue *out = &e->out[peer];
    return in->in.consumed != tail_load(in) ||
           (out->out.completed != out->out.tail && consumed_load(e, peer) != out->out.completed);
}

static bool mem_sleep(struct transport *t)
{
    struct transport_mem_endpoint *e = endpoint_of(t);
    if (e->disconnected != 0)
        return false;
    /* relaxed: the fence orders it */
    atomic_store_explicit(&e->sleeping, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* T6: pairs with T5 */
    for (uint32_t i = 0; i < e->node_count; i++)
        if (has_work(e, i)) {
            atomic_store_explicit(&e->sleeping, 0, memory_order_relaxed);
            return false;
        }
    return true;
}

static void mem_awake(struct transport *t)
{
    /* relaxed: a sender that still sees 1 wakes us once more, for nothing */
    atomic_store_explicit(&endpoint_of(t)->sleeping, 0, memory_order_relaxed);
}

const struct transport_ops transport_mem_ops = {
    .send = mem_send,
    .receive = mem_receive,
    .release = mem_release,
    .complete = mem_complete,
    .log_write = mem_log_write,
    .disconnect = mem_disconnect,
    .disconnected = mem_disconnected,
    .sleep = mem_sleep,
    .awake = mem_awake,
};
