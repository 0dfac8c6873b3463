#include "dataplane/dpdk_chain.h"

#include <string.h>

#include <rte_mbuf.h>

#define IDENTIFIER 0xd000u /* and the lcore: answers come to all */
#define HEAD_BYTES 24u     /* of the pattern, that stand in the first mbuf */
#define PAUSE_MIN_NS (100 * NS_PER_MS)
#define PUSHES 16u /* each PUSH_NS */
#define PUSH_NS NS_PER_MS

_Static_assert(sizeof(struct rte_mbuf_ext_shared_info) <= DPDK_CHAIN_SHARED_BYTES, "shared");
_Static_assert(PACKET_PAYLOAD_MAX + PAGE <= DPDK_CHAIN_MEMORY_BYTES, "pattern");

const char *dpdk_chain_state_name(enum dpdk_chain_state state)
{
    switch (state) {
    case DPDK_CHAIN_UNPROVEN:
        return "unproven";
    case DPDK_CHAIN_PROVEN:
        return "proven";
    case DPDK_CHAIN_NOT_OFFERED:
        return "not offered";
    case DPDK_CHAIN_OTHER_BYTES:
        return "other bytes came back";
    case DPDK_CHAIN_NOT_SENT:
        return "chained frames do not arrive";
    case DPDK_CHAIN_NOT_RETURNED:
        return "memory not given back";
    }
    return "unknown";
}

/* ---- the pattern ---- */

/* Other bytes for each request, at each place. */
static uint8_t pattern(const struct dpdk_chain *c, uint32_t at)
{
    uint64_t x = c->config.seed ^ (uint64_t)c->sequence << 32 ^ at / 8;
    x *= UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 29;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    return (uint8_t)(x >> (at % 8 * 8));
}

static void pattern_fill(const struct dpdk_chain *c, uint8_t *bytes, uint32_t from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        bytes[i] = pattern(c, from + i);
}

static bool pattern_is(const struct dpdk_chain *c, const struct packet_received *r)
{
    bool same = r->length == c->length;
    for (uint32_t i = 0; same && i < c->length; i++)
        same = r->payload[i] == pattern(c, i);
    return same;
}

/* ---- requests ---- */

static uint32_t send_packets(void *context, struct rte_mbuf **mbufs, uint32_t count)
{
    return dpdk_queue_send(context, mbufs, count);
}

static void on_free(void *address, void *context)
{
    struct dpdk_chain *c = context;
    (void)address;
    /* release, H0 -> H1 (dpdk_chain_is_held): nobody reads the memory any more. */
    atomic_store_explicit(&c->held, 0, memory_order_release);
}

bool dpdk_chain_is_held(const struct dpdk_chain *c)
{
    /* acquire, H1 <- H0: the pattern may be written. */
    return atomic_load_explicit(&c->held, memory_order_acquire) != 0;
}

/* Round by round up to the longest packet, in memory that goes over the end of a page. */
static uint32_t length_of(const struct dpdk_chain *c)
{
    uint32_t longest = c->config.queue->port->facts.mtu - PACKET_IP_BYTES - PACKET_UDP_BYTES;
    return c->rounds + 1 >= DPDK_CHAIN_ROUNDS ? longest
                                              : 100 + c->rounds * (longest / DPDK_CHAIN_ROUNDS);
}

static struct rte_mbuf *chained(struct dpdk_chain *c, struct rte_mbuf *head, uint32_t *sum)
{
    struct rte_mbuf_ext_shared_info *shared = (void *)c->shared;
    uint32_t rest = c->length - HEAD_BYTES;
    uint8_t *bytes = c->config.memory + PAGE - (size_t)8 * (c->rounds + 1);
    struct rte_mbuf *tail = rte_pktmbuf_alloc(c->config.queue->chain_pool);
    if (tail == NULL)
        return NULL;
    pattern_fill(c, bytes, HEAD_BYTES, rest);
    *sum = packet_sum(*sum, bytes, rest);
    shared->free_cb = on_free;
    shared->fcb_opaque = c;
    rte_mbuf_ext_refcnt_set(shared, 1);
    /* relaxed: what it is sent by hands it on */
    atomic_store_explicit(&c->held, 1, memory_order_relaxed);
    rte_pktmbuf_attach_extbuf(tail, bytes, (rte_iova_t)(uintptr_t)bytes, (uint16_t)rest, shared);
    tail->data_off = 0;
    tail->data_len = (uint16_t)rest;
    tail->pkt_len = rest;
    head->next = tail;
    head->nb_segs = 2;
    head->pkt_len += rest;
    return head;
}

static bool request_send(struct dpdk_chain *c, bool chain, uint32_t length)
{
    struct dpdk_queue *q = c->config.queue;
    struct packet_path path = c->path;
    uint8_t *bytes;
    c->sequence++;
    c->length = length;
    uint32_t own = chain ? HEAD_BYTES : c->length;
    struct rte_mbuf *m = rte_pktmbuf_alloc(q->pool);
    if (m == NULL)
        return false;
    bytes = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(PACKET_HEADER_BYTES + own));
    ASSERT(bytes != NULL); /* the pool has room for a whole packet */
    pattern_fill(c, bytes + PACKET_HEADER_BYTES, 0, own);
    uint32_t sum = packet_sum(0, bytes + PACKET_HEADER_BYTES, own);
    if (chain && chained(c, m, &sum) == NULL) {
        rte_pktmbuf_free(m);
        return false;
    }
    path.from_port = (uint16_t)(IDENTIFIER + q->lcore);
    path.to_port = c->sequence;
    packet_echo_write(bytes, &path, c->length, q->offloads, sum);
    dpdk_queue_mark(q, m, false);
    if (c->config.send(c->config.send_context, &m, 1) == 0) {
        rte_pktmbuf_free(m);
        return false;
    }
    c->requests++;
    return true;
}

/* ---- steps ---- */

static void rest(struct dpdk_chain *c, uint64_t now)
{
    c->step = DPDK_CHAIN_REST;
    c->at = now + c->pause;
    c->pause = min_u64(2 * c->pause, DPDK_CHAIN_PAUSE_MAX_NS);
}

static void ask(struct dpdk_chain *c, enum dpdk_chain_step step, uint64_t now)
{
    ASSERT(!dpdk_chain_is_held(c)); /* the pattern would change under the port */
    c->is_answered = false;
    c->pushed = 0;
    if (!request_send(c, step == DPDK_CHAIN_CHAINED, length_of(c))) {
        rest(c, now);
        return;
    }
    c->step = step;
    c->at = now + DPDK_CHAIN_WAIT_NS;
}

static void round_end(struct dpdk_chain *c, uint64_t now)
{
    c->lost = 0;
    c->pause = PAUSE_MIN_NS;
    if (++c->rounds == DPDK_CHAIN_ROUNDS) {
        c->state = DPDK_CHAIN_PROVEN;
        return;
    }
    ask(c, DPDK_CHAIN_COPIED, now);
}

/* Given back, at last. */
static void returned(struct dpdk_chain *c, uint64_t now)
{
    if (c->is_answered)
        round_end(c, now);
    else
        ask(c, DPDK_CHAIN_CONTROL, now);
}

static bool is_pushed(const struct dpdk_chain *c)
{
    return c->pushed >= 2u * c->config.queue->port->descriptors_out;
}

static void push(struct dpdk_chain *c, uint64_t now)
{
    if (is_pushed(c) || now < c->push_at)
        return;
    for (uint32_t i = 0; i < PUSHES && request_send(c, false, HEAD_BYTES); i++)
        c->pushed++;
    c->push_at = now + PUSH_NS;
    c->at = now + DPDK_CHAIN_WAIT_NS;
}

static void on_time(struct dpdk_chain *c, uint64_t now)
{
    switch (c->step) {
    case DPDK_CHAIN_REST:
        ask(c, DPDK_CHAIN_COPIED, now);
        break;
    case DPDK_CHAIN_CHAINED:
        if (dpdk_chain_is_held(c))
            c->step = DPDK_CHAIN_PUSH;
        else
            ask(c, DPDK_CHAIN_CONTROL, now);
        break;
    case DPDK_CHAIN_RETURN:
        c->step = DPDK_CHAIN_PUSH;
        break;
    case DPDK_CHAIN_PUSH:
        c->state = DPDK_CHAIN_NOT_RETURNED;
        break;
    case DPDK_CHAIN_COPIED:
    case DPDK_CHAIN_CONTROL:
        rest(c, now); /* nobody answers: that says nothing of chained ones */
        break;
    }
}

void dpdk_chain_init(struct dpdk_chain *c, const struct dpdk_chain_config *config)
{
    memset(c, 0, sizeof *c);
    c->config = *config;
    if (c->config.send == NULL) {
        c->config.send = send_packets;
        c->config.send_context = config->queue;
    }
    c->pause = PAUSE_MIN_NS;
    if (!config->queue->port->facts.multi_segs || config->memory == NULL)
        c->state = DPDK_CHAIN_NOT_OFFERED;
}

void dpdk_chain_path(struct dpdk_chain *c, const struct packet_path *path, uint64_t now)
{
    c->path = *path;
    if (!c->has_path)
        c->at = now;
    c->has_path = true;
}

void dpdk_chain_tick(struct dpdk_chain *c, uint64_t now)
{
    if (c->state != DPDK_CHAIN_UNPROVEN || !c->has_path)
        return;
    if (dpdk_chain_is_held(c))
        dpdk_queue_clean(c->config.queue);
    if ((c->step == DPDK_CHAIN_RETURN || c->step == DPDK_CHAIN_PUSH) && !dpdk_chain_is_held(c))
        returned(c, now);
    else if (c->step == DPDK_CHAIN_PUSH && !is_pushed(c))
        push(c, now);
    else if (now >= c->at)
        on_time(c, now);
}

void dpdk_chain_receive(struct dpdk_chain *c, const struct packet_received *r, uint64_t now)
{
    if (c->state != DPDK_CHAIN_UNPROVEN || !c->has_path || r->source != c->path.to ||
        r->identifier != (uint16_t)(IDENTIFIER + c->config.queue->lcore) ||
        r->sequence != c->sequence)
        return;
    bool same = pattern_is(c, r);
    switch (c->step) {
    case DPDK_CHAIN_COPIED:
        c->answers++;
        if (same)
            ask(c, DPDK_CHAIN_CHAINED, now);
        break;
    case DPDK_CHAIN_CHAINED:
        c->answers++;
        if (!same) {
            c->state = DPDK_CHAIN_OTHER_BYTES;
            break;
        }
        c->step = DPDK_CHAIN_RETURN;
        c->is_answered = true;
        c->at = now + DPDK_CHAIN_WAIT_NS;
        break;
    case DPDK_CHAIN_CONTROL:
        c->answers++;
        if (++c->lost == DPDK_CHAIN_LOST)
            c->state = DPDK_CHAIN_NOT_SENT;
        else
            rest(c, now);
        break;
    case DPDK_CHAIN_REST:
    case DPDK_CHAIN_RETURN:
    case DPDK_CHAIN_PUSH:
        break; /* doubled on the way, or late */
    }
}
