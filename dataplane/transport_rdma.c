#include "dataplane/transport_rdma.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* Why two more: what is left at the end is too short for a frame, and one is never used up to the oldest. */
#define FRAMES_MORE 2u

/* ---- peers ---- */

void transport_rdma_flight_leave(struct transport_rdma_flight *f)
{
    /* release, X2; acquire, X3 <- X2: all that the other one did with it is done before it is freed. */
    if (f != NULL && atomic_fetch_sub_explicit(&f->users, 1, memory_order_acq_rel) == 1)
        free(f);
}

static void peer_close(struct transport_framed_peer *peer)
{
    struct transport_rdma_peer *p = transport_rdma_peer_of(peer);
    if (p->link != NULL)
        rdma_link_close(p->link);
    if (p->flight != NULL)
        /* release, X0 -> X1 */
        atomic_store_explicit(&p->flight->over, 1, memory_order_release);
    transport_rdma_flight_leave(p->flight);
    free(p->frames);
}

static int peer_open(struct transport_framed_endpoint *framed, struct transport_framed_peer *peer,
                     const struct sockaddr_storage *address)
{
    const struct transport_rdma_endpoint *e = transport_rdma_of(framed);
    struct transport_rdma_peer *p = transport_rdma_peer_of(peer);
    const struct rdma_link_config config = {.node = peer->node,
                                            .lcore = framed->config.lcore,
                                            .address = *address,
                                            .wake_fd = e->event_fd,
                                            .send_bytes = e->send_bytes};
    peer->frame_bytes = framed->config.frame_bytes;
    p->places = framed->config.queue_frames * 2;
    p->frames = calloc(p->places, sizeof p->frames[0]);
    p->flight = calloc(1, sizeof *p->flight);
    int error = -ENOMEM;
    if (p->flight != NULL) {
        p->flight->node = peer->node;
        /* relaxed: nobody else knows it yet.  The endpoint is one when the peer left. */
        atomic_store_explicit(&p->flight->users, 1, memory_order_relaxed);
    }
    if (p->frames != NULL && p->flight != NULL)
        error = rdma_link_open(e->port, &config, &p->link);
    if (error != 0) {
        p->link = NULL;
        peer_close(peer);
    }
    return error;
}

static void unwatch(const struct transport_rdma_endpoint *e, const struct transport_rdma_peer *p)
{
    (void)epoll_ctl(e->framed.transport.wake_fd, EPOLL_CTL_DEL, p->c->channel->fd, NULL);
}

/* What is under way goes on without the peer; its holds come back when its link is closed. */
static void peer_leave(struct transport_framed_endpoint *framed, struct transport_framed_peer *peer)
{
    struct transport_rdma_endpoint *e = transport_rdma_of(framed);
    struct transport_rdma_peer *p = transport_rdma_peer_of(peer);
    struct transport_rdma_flight *f = p->flight;
    if (p->state == TRANSPORT_RDMA_LIVE)
        unwatch(e, p);
    f->to_name = framed->transport.log_writes && (p->to_name || p->state != TRANSPORT_RDMA_NONE);
    if (!f->to_name && f->head == f->tail)
        return;
    /* relaxed: the peer is one of its users */
    atomic_fetch_add_explicit(&f->users, 1, memory_order_relaxed);
    f->next = e->left;
    e->left = f;
}

/* ---- connections ---- */

void transport_rdma_retire(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p,
                           uint64_t *reason)
{
    struct transport_framed_endpoint *f = &e->framed;
    e->counters.connections_retired++;
    if (reason != NULL)
        ++*reason;
    p->state = TRANSPORT_RDMA_RETIRED;
    p->staged_count = 0; /* their holds come back with the others */
    unwatch(e, p);
    rdma_link_retire(p->link);
    if (p->framed.tail != p->framed.head)
        transport_framed_pair_forget(f, &p->framed);
    uint64_t kept = p->current + (e->given == p);
    e->counters.messages_dropped += p->filled - kept;
    p->filled = kept;
}

void transport_rdma_let_go(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p)
{
    if (p->state != TRANSPORT_RDMA_GONE || p->released != p->filled ||
        p->flight->head != p->flight->tail)
        return;
    p->state = TRANSPORT_RDMA_NONE;
    p->c = NULL;
    e->framed.tick_at = 0; /* another one may be there soon */
    rdma_link_free(p->link);
}

static void windows_begin(struct transport_rdma_windows *w, const struct rdma_connection *c)
{
    for (uint32_t i = 0; i < c->window_count; i++) {
        w->of[i] = (struct transport_rdma_window){.key = c->windows[i]->rkey};
        w->free[i] = (uint16_t)i;
    }
    w->free_head = 0;
    w->free_tail = c->window_count;
    w->over_count = 0;
}

static void connection_taken(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p,
                             struct rdma_connection *c)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = p->framed.node};
    ASSERT(c->messages != 0 && is_power_of_two(c->messages) && c->messages <= RDMA_PORT_MESSAGES &&
           c->message_bytes >= TRANSPORT_RDMA_MESSAGE_BYTES);
    e->counters.connections_taken++;
    p->c = c;
    p->state = TRANSPORT_RDMA_LIVE;
    p->armed = false;
    p->sent = p->taken = p->by_word = p->by_write = 0;
    p->stuck_at = 0;
    p->oldest = p->posted = p->newest = 0;
    p->told = 0;
    p->released = p->current = p->filled = 0;
    windows_begin(&p->windows, c);
    bool sound = c->peer.messages != 0 && c->peer.message_bytes >= p->framed.frame_bytes;
    if (!sound)
        transport_rdma_retire(e, p, &e->counters.connections_unsound);
    else if (epoll_ctl(e->framed.transport.wake_fd, EPOLL_CTL_ADD, c->channel->fd, &event) != 0)
        transport_rdma_retire(e, p, &e->counters.connections_failed);
    else
        handshake_hurry(&p->framed.handshake);
}

/* Frames wait, and the peer takes none. */
static bool is_stuck(struct transport_rdma_peer *p, uint64_t now)
{
    bool waits = p->posted != p->newest && p->sent - p->taken >= p->c->peer.messages;
    if (!waits) {
        p->stuck_at = 0;
    } else if (p->stuck_at == 0 || p->taken != p->stuck_taken) {
        p->stuck_at = now + TRANSPORT_RDMA_STUCK_NS;
        p->stuck_taken = p->taken;
    }
    return waits && now >= p->stuck_at;
}

static void link_look(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p,
                      uint64_t now)
{
    struct rdma_connection *c;
    switch (p->state) {
    case TRANSPORT_RDMA_NONE:
        /* Why not before it was named: what is granted over another one would be taken for granted over this one. */
        c = p->to_name ? NULL : rdma_link_take(p->link);
        if (c != NULL)
            connection_taken(e, p, c);
        break;
    case TRANSPORT_RDMA_LIVE:
        /* acquire: what was done to it before is seen */
        if (atomic_load_explicit(&p->c->broken, memory_order_acquire) != 0)
            transport_rdma_retire(e, p, NULL);
        else if (is_stuck(p, now))
            transport_rdma_retire(e, p, &e->counters.connections_stuck);
        break;
    case TRANSPORT_RDMA_RETIRED:
        if (!rdma_link_is_gone(p->link))
            break;
        p->state = TRANSPORT_RDMA_GONE;
        p->to_name = e->framed.transport.log_writes;
        p->flight->done = p->flight->tail;
        transport_rdma_flight_skip(p->flight);
        transport_rdma_let_go(e, p);
        break;
    case TRANSPORT_RDMA_GONE:
        transport_rdma_let_go(e, p);
        break;
    }
}

static void tick(struct transport_framed_endpoint *framed, uint64_t now)
{
    struct transport_rdma_endpoint *e = transport_rdma_of(framed);
    for (uint32_t i = 0; i < framed->peer_count; i++)
        link_look(e, transport_rdma_peer_at(e, i), now);
}

/* ---- endpoint ---- */

static const struct transport_ops rdma_ops = {
    TRANSPORT_FRAMED_OPS,
    .log_write = transport_rdma_log_write,
    .disconnect = transport_rdma_disconnect,
    .disconnected = transport_rdma_disconnected,
    .token = transport_rdma_token,
    .revoke = transport_rdma_revoke,
    .prove = transport_framed_prove,
    .proves = transport_framed_proves,
    .count_names = transport_rdma_count_names,
};

static const struct transport_framed_body rdma_body = {
    .ops = &rdma_ops,
    .peer_bytes = sizeof(struct transport_rdma_peer),
    .peer_open = peer_open,
    .peer_close = peer_close,
    .leave = peer_leave,
    .tick = tick,
    .reserve = transport_rdma_reserve,
    .room = transport_rdma_room,
    .queued = transport_rdma_queued,
    .complete = transport_rdma_complete,
    .drop = transport_rdma_drop,
    .flush = transport_rdma_flush,
    .send_beside = transport_rdma_send_beside,
    .next = transport_rdma_next,
    .pass = transport_rdma_pass,
    .release = transport_rdma_release,
    .sleep = transport_rdma_sleep,
    .awake = transport_rdma_awake,
    .count = transport_rdma_count_all,
};

static int wake_open(struct transport_rdma_endpoint *e)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = TRANSPORT_NOBODY};
    int set = epoll_create1(EPOLL_CLOEXEC);
    if (set < 0)
        return -errno;
    e->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int error = e->event_fd < 0 ? -errno : 0;
    if (error == 0 && epoll_ctl(set, EPOLL_CTL_ADD, e->event_fd, &event) != 0) {
        error = -errno;
        (void)close(e->event_fd);
    }
    if (error != 0)
        (void)close(set);
    else
        e->framed.transport.wake_fd = set;
    return error;
}

/* How much memory the frames of each connection have. */
static void sizes_set(struct transport_rdma_endpoint *e)
{
    uint64_t slots = (uint64_t)e->framed.config.queue_frames + FRAMES_MORE;
    e->frames_bytes = align_up(slots * e->framed.slot_bytes, CACHE_LINE);
    e->send_bytes =
        e->frames_bytes + (uint64_t)TRANSPORT_RDMA_HELLOS * TRANSPORT_RDMA_HELLO_BYTES + CACHE_LINE;
}

int transport_rdma_open(struct transport **t, const struct transport_framed_config *config,
                        struct rdma_port *port)
{
    struct transport_framed_config framed = *config;
    struct transport_rdma_endpoint *e = calloc(1, sizeof *e);
    if (e == NULL)
        return -ENOMEM;
    if (framed.frame_bytes == 0 || framed.frame_bytes == TRANSPORT_FRAMED_FRAME_PATH)
        framed.frame_bytes = FRAME_BYTES_MAX;
    int error = transport_framed_init(&e->framed, &framed, &rdma_body);
    if (error != 0)
        goto free_endpoint;
    e->port = port;
    e->framed.transport.log_writes = framed.authentic_only;
    e->framed.transport.brief_bytes = RDMA_PORT_SLOT_BYTES - FRAME_HEADER_BYTES;
    sizes_set(e);
    error = -ENOMEM;
    e->scratch = malloc(e->framed.slot_bytes);
    if (e->scratch == NULL)
        goto fini_framed;
    error = wake_open(e);
    if (error != 0)
        goto free_scratch;
    *t = &e->framed.transport;
    return 0;
free_scratch:
    free(e->scratch);
fini_framed:
    transport_framed_fini(&e->framed);
free_endpoint:
    free(e);
    return error;
}

void transport_rdma_close(struct transport *t)
{
    struct transport_rdma_endpoint *e = transport_rdma_of(transport_framed_endpoint_of(t));
    transport_framed_fini(&e->framed);
    while (e->left != NULL) {
        struct transport_rdma_flight *f = e->left;
        e->left = f->next;
        transport_rdma_flight_leave(f);
    }
    (void)close(t->wake_fd);
    (void)close(e->event_fd);
    free(e->scratch);
    free(e);
}
