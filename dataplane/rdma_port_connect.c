/* The port's thread: connections asked for, answered, torn down, and the device when it goes and comes.
 *
 * What a connection is told of the time a lost packet takes:
 *   RDMA_PORT_ACK_TIMEOUT, 4.096 us * 2^12 = 17 ms, and RDMA_PORT_RETRIES, 6: a peer that says nothing to anything is
 *   given up after 7 * 17 ms (devices may wait up to four times as long); a packet in thirty lost, both ways, breaks a
 *   connection in one of 10^8 losses, and answers may take up to 100 ms.  Why not 7, the most that there is: rxe takes
 *   that for ever.
 *   RNR_RETRIES, 7, is for ever: RECVs are posted for all that a peer may send, so it waits for one that is late. */
#include "dataplane/rdma_port_inside.h"
#include "engine/clock.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RESOLVE_MS 1000
#define CONNECT_NS (2 * NS_PER_S)
#define ATTEMPT_NS (2 * (uint64_t)RESOLVE_MS * NS_PER_MS + CONNECT_NS)
#define PAUSE_MIN_NS (10 * NS_PER_MS)
#define PAUSE_MAX_NS NS_PER_S
#define LASTING_NS NS_PER_S /* a connection that was up so long begins with the least pause again */
#define SEVER_NS (100 * NS_PER_MS)
#define DEVICE_NS NS_PER_S
#define PARKED_NS NS_PER_S
#define LEFT_NS (20 * NS_PER_MS) /* chunks that wait for windows */
#define EVENTS 64u               /* at a time */
#define RNR_RETRIES 7

static uint32_t state(const struct rdma_link *link)
{
    /* acquire, R3 <- R2 and R13 <- R12: what the lcore did before it gave the connection back */
    return atomic_load_explicit(&link->state, memory_order_acquire);
}

static void state_set(struct rdma_link *link, enum rdma_link_state to)
{
    /* release, R0 -> R1: the connection is whole; R10 -> R11: it is gone */
    atomic_store_explicit(&link->state, to, memory_order_release);
}

void rdma_link_wake(const struct rdma_link *link)
{
    const uint64_t one = 1;
    (void)!write(link->config.wake_fd, &one,
                 sizeof one); /* one that cannot be written is there already */
}

/* ---- connections ---- */

static struct rdma_connection *connection_new(struct rdma_link *link, struct rdma_cm_id *id)
{
    struct rdma_connection *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->id = id;
    id->context = link;
    link->connection = c;
    link->port->connection_count++;
    return c;
}

static void connection_forget(struct rdma_link *link)
{
    rdma_connection_free(link->port, link->connection);
    link->connection = NULL;
    link->port->connection_count--;
    state_set(link, RDMA_LINK_IDLE);
}

static void pause_grow(struct rdma_link *link)
{
    link->pause = min_u64(max_u64(2 * link->pause, PAUSE_MIN_NS), PAUSE_MAX_NS);
    link->next = clock_boottime_ns() + link->pause;
}

/* An attempt is over.  What cannot be destroyed now is tried again at its deadline. */
static void attempt_end(struct rdma_link *link)
{
    if (rdma_connection_sever(link->port, link->connection) != 0) {
        link->deadline = clock_boottime_ns() + SEVER_NS;
        return;
    }
    connection_forget(link);
    pause_grow(link);
}

static void attempt_fail(struct rdma_link *link)
{
    rdma_port_count(&link->port->shown.failures);
    attempt_end(link);
}

static void link_break(struct rdma_link *link)
{
    /* release: as a flag it orders nothing; the lcore gives the connection back */
    atomic_store_explicit(&link->connection->broken, 1, memory_order_release);
    rdma_link_wake(link);
}

static int ack_timeout_set(struct rdma_port *port, struct rdma_cm_id *id)
{
    const uint32_t wanted = port->config.ack_timeout;
    uint8_t timeout = (uint8_t)(wanted != 0 ? wanted : RDMA_PORT_ACK_TIMEOUT);
    if (rdma_set_option(id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &timeout, sizeof timeout) ==
        0)
        return 0;
    return rdma_port_failed(port, "rdma_set_option", errno);
}

/* ---- asking ---- */

static bool asks(const struct rdma_link *link)
{
    return link->port->config.node < link->config.node;
}

static int resolve(struct rdma_link *link, struct rdma_cm_id *id)
{
    struct rdma_port *port = link->port;
    struct sockaddr_storage own = port->config.address, peer = link->config.address;
    if (own.ss_family == AF_INET)
        ((struct sockaddr_in *)&own)->sin_port = 0;
    else
        ((struct sockaddr_in6 *)&own)->sin6_port = 0;
    int error = ack_timeout_set(port, id);
    if (error != 0)
        return error;
    if (rdma_resolve_addr(id, (struct sockaddr *)&own, (struct sockaddr *)&peer, RESOLVE_MS) != 0)
        return rdma_port_failed(port, "rdma_resolve_addr", errno);
    return 0;
}

static void attempt_begin(struct rdma_link *link)
{
    struct rdma_port *port = link->port;
    struct rdma_cm_id *id;
    if (!rdma_device_is_active(port)) {
        rdma_port_count(&port->shown.failures);
        pause_grow(link);
        return;
    }
    if (rdma_create_id(port->channel, &id, link, RDMA_PS_TCP) != 0) {
        (void)rdma_port_failed(port, "rdma_create_id", errno);
        rdma_port_count(&port->shown.failures);
        pause_grow(link);
        return;
    }
    if (connection_new(link, id) == NULL) {
        (void)rdma_destroy_id(id); /* nothing was done with it yet */
        rdma_port_count(&port->shown.failures);
        pause_grow(link);
        return;
    }
    state_set(link, RDMA_LINK_CONNECTING);
    link->deadline = clock_boottime_ns() + ATTEMPT_NS;
    if (resolve(link, id) != 0)
        attempt_fail(link);
}

static void parameters(const struct rdma_link *link, struct rdma_conn_param *p,
                       uint8_t hello[RDMA_HELLO_BYTES])
{
    rdma_connection_hello(link, link->connection, hello);
    /* Nobody READs, nor asks for atomics. */
    *p = (struct rdma_conn_param){.private_data = hello,
                                  .private_data_len = RDMA_HELLO_BYTES,
                                  .retry_count = RDMA_PORT_RETRIES,
                                  .rnr_retry_count = RNR_RETRIES};
}

static int ask(struct rdma_link *link)
{
    struct rdma_conn_param p;
    uint8_t hello[RDMA_HELLO_BYTES];
    int error = rdma_connection_make(link, link->connection);
    if (error != 0)
        return error;
    if (!rdma_device_is_active(link->port)) /* since; see parked of struct rdma_port */
        return rdma_port_failed(link->port, "rdma_connect", ENETDOWN);
    parameters(link, &p, hello);
    link->deadline = clock_boottime_ns() + CONNECT_NS;
    if (rdma_connect(link->connection->id, &p) != 0)
        return rdma_port_failed(link->port, "rdma_connect", errno);
    return 0;
}

static void ready(struct rdma_link *link)
{
    struct rdma_connection *c = link->connection;
    c->peer_number = c->peer.number;
    rdma_windows_make(link->port, c);
    link->ready = clock_boottime_ns();
    rdma_port_count(&link->port->shown.connections);
    state_set(link, RDMA_LINK_READY);
    rdma_link_wake(link);
}

/* ---- being asked ---- */

/* An event, copied: it is acknowledged before anything is done, since who destroys an id waits for that. */
struct heard {
    enum rdma_cm_event_type type;
    int status;
    struct rdma_cm_id *id;
    uint8_t hello[RDMA_HELLO_BYTES];
    uint64_t hello_bytes;
};

/* Whether a hello of the other end fits the link. */
static bool fits(const struct rdma_link *link, const struct rdma_hello *h)
{
    const struct rdma_port_config *own = &link->port->config;
    return h->cluster == own->cluster && h->from == link->config.node && h->to == own->node &&
           h->lcore == link->config.lcore;
}

/* The link that is asked for by whom may; NULL: nobody's. */
static struct rdma_link *link_asked(struct rdma_port *port, const struct heard *e,
                                    struct rdma_hello *hello)
{
    if (rdma_hello_decode(hello, e->hello, e->hello_bytes) != 0)
        return NULL;
    for (uint32_t i = 0; i < port->link_count; i++) {
        struct rdma_link *link = port->links[i];
        if (fits(link, hello) && !asks(link) && !link->closing &&
            rdma_same_host(rdma_get_peer_addr(e->id), &link->config.address))
            return link;
    }
    return NULL;
}

static int accept_it(struct rdma_link *link)
{
    struct rdma_conn_param p;
    uint8_t hello[RDMA_HELLO_BYTES];
    struct rdma_connection *c = link->connection;
    int error = ack_timeout_set(link->port, c->id);
    if (error == 0)
        error = rdma_connection_make(link, c);
    if (error != 0)
        return error;
    parameters(link, &p, hello);
    if (rdma_accept(c->id, &p) != 0)
        return rdma_port_failed(link->port, "rdma_accept", errno);
    return 0;
}

/* What there is of the link before is over: the peer would not ask else.  True: it is idle. */
static bool link_vacate(struct rdma_link *link)
{
    uint32_t now = state(link);
    if (now == RDMA_LINK_READY || now == RDMA_LINK_TAKEN)
        link_break(link);
    else if (now == RDMA_LINK_CONNECTING)
        attempt_end(link);
    else if (now == RDMA_LINK_FREED)
        connection_forget(link);
    return state(link) == RDMA_LINK_IDLE;
}

static void on_request(struct rdma_port *port, const struct heard *e)
{
    struct rdma_hello hello;
    struct rdma_link *link = link_asked(port, e, &hello);
    if (link == NULL || port->is_lost || !link_vacate(link) ||
        connection_new(link, e->id) == NULL) {
        rdma_port_count(&port->shown.refusals);
        (void)rdma_reject(e->id, NULL, 0); /* else it hears by itself that nobody answers */
        if (rdma_destroy_id(e->id) != 0)
            (void)rdma_port_failed(port, "rdma_destroy_id", errno);
        return;
    }
    link->connection->peer = hello;
    link->deadline = clock_boottime_ns() + CONNECT_NS;
    state_set(link, RDMA_LINK_CONNECTING);
    if (accept_it(link) != 0) {
        (void)rdma_reject(e->id, NULL, 0); /* as above */
        attempt_fail(link);
    }
}

/* ---- events ---- */

/* The asker's comes with the answer's hello. */
static void on_established(struct rdma_link *link, const struct heard *e)
{
    struct rdma_connection *c = link->connection;
    if (asks(link) &&
        (rdma_hello_decode(&c->peer, e->hello, e->hello_bytes) != 0 || !fits(link, &c->peer))) {
        (void)rdma_port_failed(link->port, "rdma_hello", EPROTO);
        attempt_fail(link);
        return;
    }
    ready(link);
}

static void on_connecting(struct rdma_link *link, const struct heard *e)
{
    int error = 0;
    switch (e->type) {
    case RDMA_CM_EVENT_ADDR_RESOLVED:
        if (rdma_resolve_route(e->id, RESOLVE_MS) != 0)
            error = rdma_port_failed(link->port, "rdma_resolve_route", errno);
        break;
    case RDMA_CM_EVENT_ROUTE_RESOLVED:
        error = ask(link);
        break;
    case RDMA_CM_EVENT_ESTABLISHED:
        on_established(link, e);
        return;
    case RDMA_CM_EVENT_TIMEWAIT_EXIT:
        break;
    default:
        /* Status: of errno, or a reason of the peer's device. */
        error =
            rdma_port_failed(link->port, rdma_event_str(e->type), e->status < 0 ? -e->status : 0);
    }
    if (error != 0)
        attempt_fail(link);
}

static void device_lost(struct rdma_port *port)
{
    if (port->is_lost || port->listen == NULL)
        return;
    port->is_lost = true;
    rdma_port_count(&port->shown.removals);
    rdma_memory_lost(port);
    rdma_connections_unpark(port);
    for (uint32_t i = 0; i < port->link_count; i++) {
        uint32_t now = state(port->links[i]);
        if (now == RDMA_LINK_CONNECTING)
            attempt_fail(port->links[i]);
        else if (now == RDMA_LINK_READY || now == RDMA_LINK_TAKEN)
            link_break(port->links[i]);
    }
}

static void on_event(struct rdma_port *port, const struct heard *e)
{
    struct rdma_link *link = e->id->context;
    if (e->type == RDMA_CM_EVENT_CONNECT_REQUEST) {
        on_request(port, e);
        return;
    }
    if (e->type == RDMA_CM_EVENT_DEVICE_REMOVAL) {
        device_lost(port);
        return;
    }
    if (link == NULL) /* of the id that listens, whose address changed, or of one that was parked */
        return;
    uint32_t now = state(link);
    if (now == RDMA_LINK_CONNECTING)
        on_connecting(link, e);
    else if ((now == RDMA_LINK_READY || now == RDMA_LINK_TAKEN) &&
             e->type != RDMA_CM_EVENT_TIMEWAIT_EXIT)
        link_break(link);
}

/* One event; false: there is none. */
static bool event_take(struct rdma_port *port)
{
    struct rdma_cm_event *event;
    struct heard e = {0};
    if (rdma_get_cm_event(port->channel, &event) != 0)
        return false;
    e.type = event->event;
    e.status = event->status;
    e.id = event->id;
    if (e.type == RDMA_CM_EVENT_CONNECT_REQUEST || e.type == RDMA_CM_EVENT_ESTABLISHED) {
        const struct rdma_conn_param *p = &event->param.conn;
        e.hello_bytes = p->private_data != NULL ? min_u64(p->private_data_len, sizeof e.hello) : 0;
        if (e.hello_bytes != 0)
            memcpy(e.hello, p->private_data, e.hello_bytes);
    }
    (void)rdma_ack_cm_event(event); /* fails for NULL only */
    on_event(port, &e);
    return true;
}

/* ---- what is due ---- */

/* Control wants it closed: whatever its connection does. */
static void closing_step(struct rdma_link *link)
{
    if (link->connection != NULL) {
        if (rdma_connection_sever(link->port, link->connection) != 0)
            return; /* again later */
        connection_forget(link);
    }
    link->closed = true;
    pthread_cond_broadcast(&link->port->closed);
}

static void retired_step(struct rdma_link *link)
{
    if (rdma_connection_sever(link->port, link->connection) != 0) {
        link->deadline = clock_boottime_ns() + SEVER_NS;
        return;
    }
    rdma_port_count(&link->port->shown.broken);
    state_set(link, RDMA_LINK_GONE);
    rdma_link_wake(link);
}

static void freed_step(struct rdma_link *link)
{
    uint64_t now = clock_boottime_ns();
    connection_forget(link);
    if (now - link->ready >= LASTING_NS)
        link->pause = 0;
    pause_grow(link);
}

static void link_step(struct rdma_link *link, uint64_t now)
{
    const struct rdma_port *port = link->port;
    if (link->closing) {
        if (!link->closed)
            closing_step(link);
        return;
    }
    switch (state(link)) {
    case RDMA_LINK_IDLE:
        if (asks(link) && now >= link->next && port->listen != NULL && !port->is_lost)
            attempt_begin(link);
        break;
    case RDMA_LINK_CONNECTING:
        if (now >= link->deadline)
            attempt_fail(link);
        break;
    case RDMA_LINK_RETIRED:
        retired_step(link);
        break;
    case RDMA_LINK_FREED:
        freed_step(link);
        break;
    default: /* the lcore's */
        break;
    }
}

static void device_step(struct rdma_port *port, uint64_t now)
{
    if (port->is_lost && port->connection_count == 0) {
        rdma_device_close(port);
        port->device_next = now + DEVICE_NS;
    }
    if (port->listen != NULL || now < port->device_next)
        return;
    rdma_contexts_forget();
    if (rdma_device_open(port) == 0)
        rdma_memory_regain(port);
    else
        port->device_next = clock_boottime_ns() + DEVICE_NS;
}

/* When something is due next. */
static uint64_t due(const struct rdma_port *port)
{
    uint64_t at = port->listen == NULL ? port->device_next : UINT64_MAX;
    if (port->parked_count != 0)
        at = min_u64(at, clock_boottime_ns() + PARKED_NS);
    if (port->is_left)
        at = min_u64(at, clock_boottime_ns() + LEFT_NS);
    for (uint32_t i = 0; i < port->link_count; i++) {
        const struct rdma_link *link = port->links[i];
        uint32_t now = state(link);
        if (link->closing)
            at = link->closed ? at : min_u64(at, clock_boottime_ns() + SEVER_NS);
        else if (now == RDMA_LINK_IDLE && asks(link) && port->listen != NULL && !port->is_lost)
            at = min_u64(at, link->next);
        else if (now == RDMA_LINK_CONNECTING || now == RDMA_LINK_RETIRED)
            at = min_u64(at, link->deadline);
    }
    return at;
}

static int wait_ms(uint64_t at)
{
    uint64_t now = clock_boottime_ns();
    if (at == UINT64_MAX)
        return -1;
    return at <= now ? 0 : (int)min_u64((at - now) / NS_PER_MS + 1, 1000);
}

static void step(struct rdma_port *port)
{
    for (uint32_t i = 0; i < EVENTS && event_take(port); i++)
        ;
    if (rdma_device_heard(port))
        device_lost(port);
    for (uint32_t i = 0; i < port->link_count; i++)
        link_step(port->links[i], clock_boottime_ns());
    if (port->parked_count != 0 && port->listen != NULL && rdma_device_is_active(port))
        rdma_connections_unpark(port);
    device_step(port, clock_boottime_ns());
    port->is_left = rdma_memory_sweep(port);
}

static void *run(void *context)
{
    struct rdma_port *port = context;
    struct epoll_event events[4];
    uint64_t kicks;
    pthread_mutex_lock(&port->lock);
    port->begin_error = rdma_port_begin(port);
    port->has_begun = true;
    pthread_cond_broadcast(&port->begun);
    /* relaxed: the eventfd says that it is to be looked at */
    while (port->begin_error == 0 &&
           atomic_load_explicit(&port->stops, memory_order_relaxed) == 0) {
        step(port);
        int timeout = wait_ms(due(port));
        pthread_mutex_unlock(&port->lock);
        (void)epoll_wait(port->epoll_fd, events, 4, timeout);
        (void)!read(port->event_fd, &kicks, sizeof kicks);
        pthread_mutex_lock(&port->lock);
    }
    pthread_mutex_unlock(&port->lock);
    return NULL;
}

int rdma_thread_start(struct rdma_port *port)
{
    int error = pthread_create(&port->thread, NULL, run, port);
    port->thread_runs = error == 0;
    if (error != 0)
        return -error;
    pthread_mutex_lock(&port->lock);
    while (!port->has_begun)
        pthread_cond_wait(&port->begun, &port->lock);
    error = port->begin_error;
    pthread_mutex_unlock(&port->lock);
    return error;
}

void rdma_thread_stop(struct rdma_port *port)
{
    if (!port->thread_runs)
        return;
    atomic_store_explicit(&port->stops, 1, memory_order_relaxed); /* as above */
    rdma_port_kick(port);
    (void)pthread_join(port->thread, NULL);
    port->thread_runs = false;
}
