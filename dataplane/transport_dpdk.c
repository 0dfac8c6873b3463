#include "dataplane/transport_dpdk.h"
#include "dataplane/dpdk_eal.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <rte_mbuf.h>

#define MEMORY_BYTES ((uint64_t)(DPDK_CHAIN_MEMORY_BYTES)) /* of the self-test */

_Static_assert(TRANSPORT_DPDK_STASH >= FRAME_FRAGMENTS_MAX + TRANSPORT_DPDK_STASH_MORE, "stash");

/* ---- addresses ---- */

static bool is_v4(const struct sockaddr_storage *address, uint32_t *host, uint16_t *port)
{
    struct sockaddr_in v4;
    memcpy(&v4, address, sizeof v4);
    *host = ntohl(v4.sin_addr.s_addr);
    *port = ntohs(v4.sin_port);
    return address->ss_family == AF_INET;
}

/* Payload of UDP that the port carries. */
static uint32_t payload_max(const struct dpdk_port *port)
{
    uint32_t carried = dpdk_port_facts(port)->mtu - PACKET_IP_BYTES - PACKET_UDP_BYTES;
    return (uint32_t)min_u64(carried, FRAME_BYTES_MAX);
}

/* ---- peers ---- */

static int peer_open(struct transport_framed_endpoint *framed, struct transport_framed_peer *peer,
                     const struct sockaddr_storage *address)
{
    const struct transport_dpdk_endpoint *e = transport_dpdk_of(framed);
    struct transport_dpdk_peer *p = transport_dpdk_peer_of(peer);
    p->path = (struct packet_path){
        .from_mac = e->local.mac, .from = e->local.address, .from_port = e->local.port};
    if (!is_v4(address, &p->path.to, &p->path.to_port))
        return -EAFNOSUPPORT;
    /* Why now: it reads what is constant since open, and joining cannot fail. */
    if (arp_hop(&e->arp, p->path.to) == 0)
        return -EHOSTUNREACH;
    peer->frame_bytes = (uint32_t)min_u64(framed->config.frame_bytes, payload_max(e->queue->port));
    p->places = framed->config.queue_frames;
    p->queue = calloc(p->places, sizeof(struct rte_mbuf *));
    return p->queue != NULL ? 0 : -ENOMEM;
}

static void peer_close(struct transport_framed_peer *peer)
{
    struct transport_dpdk_peer *p = transport_dpdk_peer_of(peer);
    for (; peer->head != peer->tail; peer->head++)
        rte_pktmbuf_free(p->queue[peer->head & (p->places - 1)]);
    free(p->queue);
}

static void peer_join(struct transport_framed_endpoint *framed, struct transport_framed_peer *peer)
{
    struct transport_dpdk_endpoint *e = transport_dpdk_of(framed);
    const struct packet_path *path = &transport_dpdk_peer_of(peer)->path;
    int error = arp_add(&e->arp, path->to, transport_framed_now(framed));
    ASSERT(error == 0); /* there is a way, and a place for each node that there can be */
}

static void peer_leave(struct transport_framed_endpoint *framed, struct transport_framed_peer *peer)
{
    arp_remove(&transport_dpdk_of(framed)->arp, transport_dpdk_peer_of(peer)->path.to);
}

/* ---- what is due with time ---- */

static void arp_send(struct transport_dpdk_endpoint *e, const struct packet_arp *packet,
                     const struct packet_mac *to)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(e->queue->pool);
    if (m == NULL) {
        e->counters.no_memory++;
        return; /* it is asked again */
    }
    m->data_len = PACKET_BYTES_MIN;
    m->pkt_len = PACKET_BYTES_MIN;
    packet_arp_write(rte_pktmbuf_mtod(m, uint8_t *), packet, to);
    if (dpdk_queue_send(e->queue, &m, 1) == 0)
        rte_pktmbuf_free(m);
}

static void neighbours_tick(struct transport_dpdk_endpoint *e, uint64_t now)
{
    struct packet_arp packet;
    struct packet_mac to;
    /* relaxed: a count of events, whose order to others says nothing */
    uint64_t link_ups =
        atomic_load_explicit(&dpdk_port_shown(e->queue->port)->link_ups, memory_order_relaxed);
    if (link_ups != e->link_ups)
        arp_link_up(&e->arp, now);
    e->link_ups = link_ups;
    while (arp_next(&e->arp, now, &packet, &to))
        /* Why: all lcores were asked, and one answer is enough. */
        if (packet.operation == PACKET_ARP_REQUEST || e->queue->lcore == 0)
            arp_send(e, &packet, &to);
}

/* Have the port show whether it sends chained frames: to a peer that may answer, another one each time. */
static void chain_tick(struct transport_dpdk_endpoint *e, uint64_t now)
{
    struct dpdk_chain *c = &e->chain->chain;
    const struct transport_framed_endpoint *f = &e->framed;
    if (c->state != DPDK_CHAIN_UNPROVEN)
        return;
    if (now >= e->chain_turn_at && f->peer_count != 0) {
        uint32_t at = e->chain_turn++ % f->peer_count;
        struct packet_path path = transport_dpdk_peer_of(f->peers[at])->path;
        if (arp_find(&e->arp, path.to, &path.to_mac)) {
            dpdk_chain_path(c, &path, now);
            e->chain_turn_at = now + TRANSPORT_DPDK_CHAIN_TURN_NS;
        }
    }
    dpdk_chain_tick(c, now);
}

static void tick(struct transport_framed_endpoint *framed, uint64_t now)
{
    struct transport_dpdk_endpoint *e = transport_dpdk_of(framed);
    neighbours_tick(e, now);
    chain_tick(e, now);
}

static bool arm(struct transport_dpdk_endpoint *e)
{
    /* Why not while something is held: it comes back without waking anybody. */
    if (e->held != 0 || e->filled - e->released == TRANSPORT_DPDK_IN || !dpdk_queue_arm(e->queue))
        return false;
    if (!transport_dpdk_fill(e))
        return true;
    dpdk_queue_disarm(e->queue);
    return false;
}

/* Nothing came for a while. */
static bool is_quiet(struct transport_dpdk_endpoint *e)
{
    if (e->quiet_filled != e->filled || e->held != 0) {
        e->quiet_filled = e->filled;
        e->quiet_since = e->framed.receive_at;
    }
    return e->framed.receive_at - e->quiet_since >= TRANSPORT_DPDK_QUIET_NS;
}

/* Why quiet first where nothing wakes, or it is not sure yet: what follows the last packet soon is not to wait for a
 * millisecond. */
static bool nap_or_sleep(struct transport_framed_endpoint *framed)
{
    static const struct timespec nap = {.tv_nsec = 1}; /* and the slack of the thread's timers */
    struct transport_dpdk_endpoint *e = transport_dpdk_of(framed);
    bool may = !framed->wakes_nobody || is_quiet(e);
    if (may && (framed->transport.wake_fd < 0 || arm(e)))
        return true;
    if (e->current == e->filled)
        (void)nanosleep(&nap, NULL); /* a shorter one will do */
    return false;
}

static void awake(struct transport_framed_endpoint *framed)
{
    struct transport_dpdk_endpoint *e = transport_dpdk_of(framed);
    if (framed->wakes_nobody && dpdk_queue_was_interrupted(e->queue)) {
        framed->wakes_nobody = false;
        e->counters.interrupts_proven = 1;
    }
    dpdk_queue_disarm(e->queue);
}

/* ---- endpoint ---- */

/* Why it may fail: without caches of its own the thread is slower, and that is shown (threads_joined). */
static void enter(struct transport *t)
{
    struct transport_dpdk_endpoint *e = transport_dpdk_of(transport_framed_endpoint_of(t));
    e->counters.threads_joined += dpdk_eal_join() == 0;
}

static void leave(struct transport *t)
{
    (void)t;
    dpdk_eal_leave();
}

static const struct transport_ops dpdk_ops = {
    TRANSPORT_FRAMED_OPS,
    .enter = enter,
    .leave = leave,
    .count_names = transport_dpdk_count_names,
};

static const struct transport_framed_body dpdk_body = {
    .ops = &dpdk_ops,
    .peer_bytes = sizeof(struct transport_dpdk_peer),
    .peer_open = peer_open,
    .peer_close = peer_close,
    .join = peer_join,
    .leave = peer_leave,
    .tick = tick,
    .reserve = transport_dpdk_reserve,
    .room = transport_dpdk_room,
    .queued = transport_dpdk_queued,
    .chain_begin = transport_dpdk_chain_begin,
    .chain = transport_dpdk_chain,
    .chain_end = transport_dpdk_chain_end,
    .complete = transport_dpdk_complete,
    .drop = transport_dpdk_drop,
    .flush = transport_dpdk_flush,
    .send_beside = transport_dpdk_send_beside,
    .next = transport_dpdk_next,
    .pass = transport_dpdk_pass,
    .release = transport_dpdk_release,
    .sleep = nap_or_sleep,
    .awake = awake,
    .count = transport_dpdk_count_all,
};

/* Addresses and neighbours; nothing is to be undone. */
static int link_set(struct transport_dpdk_endpoint *e, const struct transport_dpdk_link *link)
{
    const struct transport_framed_config *c = &e->framed.config;
    const struct dpdk_port *port = link->port;
    struct packet_local *local = &e->local;
    if (!is_v4(&c->address, &local->address, &local->port))
        return -EAFNOSUPPORT;
    if (c->lcore >= port->config.lcore_count || local->port != port->config.udp_port + c->lcore)
        return -EINVAL;
    if (c->frame_bytes != TRANSPORT_FRAMED_FRAME_PATH && c->frame_bytes > payload_max(port))
        return -EMSGSIZE;
    local->mac = dpdk_port_facts(port)->mac;
    local->port_count = 1;
    e->queue = dpdk_port_queue(link->port, c->lcore);
    e->framed.transport.wake_fd = e->queue->wake_fd;
    e->framed.wakes_nobody = true;
    if (c->authentic_only)
        e->framed.chain_bytes =
            link->chain_bytes != 0 ? link->chain_bytes : TRANSPORT_DPDK_CHAIN_BYTES;
    const struct arp_config arp = {.mac = local->mac,
                                   .address = local->address,
                                   .prefix = link->prefix,
                                   .gateway = link->gateway};
    return arp_init(&e->arp, &arp);
}

/* The self-test's memory, if frames are to be chained at all. */
static int chain_open(struct transport_dpdk_endpoint *e)
{
    struct dpdk_port *port = e->queue->port;
    e->chain = calloc(1, sizeof *e->chain);
    if (e->chain == NULL)
        return -ENOMEM;
    if (e->framed.chain_bytes != UINT32_MAX && dpdk_port_facts(port)->multi_segs)
        e->chain->memory = transport_framed_map(MEMORY_BYTES);
    if (e->chain->memory != NULL && dpdk_port_map(port, e->chain->memory, MEMORY_BYTES) != 0) {
        (void)munmap(e->chain->memory, MEMORY_BYTES);
        e->chain->memory = NULL;
    }
    const struct dpdk_chain_config config = {
        .queue = e->queue, .memory = e->chain->memory, .seed = e->framed.config.start};
    dpdk_chain_init(&e->chain->chain, &config);
    return 0;
}

static void chain_close(struct transport_dpdk_endpoint *e)
{
    struct transport_dpdk_chain *c = e->chain;
    if (dpdk_chain_is_held(&c->chain))
        return; /* the port writes to it when it lets go, whenever that is: it stays */
    if (c->memory != NULL) {
        dpdk_port_unmap(e->queue->port, c->memory, MEMORY_BYTES);
        (void)munmap(c->memory, MEMORY_BYTES);
    }
    free(c);
}

int transport_dpdk_open(struct transport **t, const struct transport_framed_config *config,
                        const struct transport_dpdk_link *link)
{
    struct transport_dpdk_endpoint *e = calloc(1, sizeof *e);
    if (e == NULL)
        return -ENOMEM;
    int error = transport_framed_init(&e->framed, config, &dpdk_body);
    if (error != 0)
        goto free_endpoint;
    error = link_set(e, link);
    if (error != 0)
        goto fini_framed;
    error = -ENOMEM;
    e->holds = transport_dpdk_holds_make();
    if (e->holds == NULL)
        goto fini_framed;
    error = chain_open(e);
    if (error != 0)
        goto leave_holds;
    *t = &e->framed.transport;
    return 0;
leave_holds:
    transport_dpdk_holds_leave(e->holds);
fini_framed:
    transport_framed_fini(&e->framed);
free_endpoint:
    free(e);
    return error;
}

void transport_dpdk_close(struct transport *t)
{
    struct transport_dpdk_endpoint *e = transport_dpdk_of(transport_framed_endpoint_of(t));
    transport_framed_fini(&e->framed);
    rte_pktmbuf_free_bulk(e->stash, e->stash_count);
    rte_pktmbuf_free(e->rest);
    e->current = e->filled;
    transport_dpdk_release(&e->framed);
    chain_close(e);
    transport_dpdk_holds_leave(e->holds);
    free(e);
}
