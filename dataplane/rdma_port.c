#include "dataplane/rdma_port_inside.h"
#include "engine/clock.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#define BACKLOG 64

int rdma_port_failed(struct rdma_port *port, const char *call, int error)
{
    rdma_port_count(&port->shown.errors);
    /* relaxed: words for people, each good by itself */
    atomic_store_explicit(&port->shown.error, error, memory_order_relaxed);
    atomic_store_explicit(&port->shown.error_call, call, memory_order_relaxed);
    return error != 0 ? -error : -EIO;
}

void rdma_port_kick(struct rdma_port *port)
{
    const uint64_t one = 1;
    (void)!write(port->event_fd, &one,
                 sizeof one); /* one that cannot be written is there already */
}

/* ---- the device ---- */

/* Why other errors are the same: no module, no device at all, or an address that is nowhere. */
static int absent(int error)
{
    return error == -ENOENT || error == -EADDRNOTAVAIL || error == -ENXIO ? -ENODEV : error;
}

static int listen_open(struct rdma_port *port)
{
    struct sockaddr_storage address = port->config.address;
    if (rdma_create_id(port->channel, &port->listen, NULL, RDMA_PS_TCP) != 0) {
        port->listen = NULL;
        return rdma_port_failed(port, "rdma_create_id", errno);
    }
    if (rdma_bind_addr(port->listen, (struct sockaddr *)&address) != 0)
        return absent(rdma_port_failed(port, "rdma_bind_addr", errno));
    if (port->listen->verbs == NULL) /* all addresses, or the loopback's */
        return rdma_port_failed(port, "rdma_bind_addr", ENODEV);
    if (rdma_listen(port->listen, BACKLOG) != 0)
        return rdma_port_failed(port, "rdma_listen", errno);
    return 0;
}

static int watch_open(struct rdma_port *port)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = RDMA_FD_WATCH};
    port->watch = ibv_open_device(port->listen->verbs->device);
    if (port->watch == NULL)
        return rdma_port_failed(port, "ibv_open_device", errno);
    if (fcntl(port->watch->async_fd, F_SETFL, O_NONBLOCK) != 0 ||
        epoll_ctl(port->epoll_fd, EPOLL_CTL_ADD, port->watch->async_fd, &event) != 0)
        return rdma_port_failed(port, "epoll_ctl", errno);
    return 0;
}

/* What it has room for; the queue pairs of all links are alike. */
static int sizes_choose(struct rdma_port *port)
{
    const struct rdma_port_config *c = &port->config;
    int error = ibv_query_device(port->listen->verbs, &port->device);
    if (error != 0)
        return rdma_port_failed(port, "ibv_query_device", error);
    uint64_t requests = (uint64_t)port->device.max_qp_wr, entries = (uint64_t)port->device.max_cqe;
    port->messages = c->messages != 0 ? c->messages : RDMA_PORT_MESSAGES;
    while (port->messages > requests || port->messages > entries / 2)
        port->messages /= 2;
    uint64_t sends = min_u64(c->sends != 0 ? c->sends : RDMA_PORT_SENDS, requests);
    if (port->messages == 0)
        return -ENOTSUP;
    port->sends = (uint32_t)min_u64(sends, entries - port->messages);
    return 0;
}

static int pd_open(struct rdma_port *port)
{
    struct ibv_pd *pd = ibv_alloc_pd(port->listen->verbs);
    if (pd == NULL)
        return rdma_port_failed(port, "ibv_alloc_pd", errno);
    pthread_mutex_lock(&port->memory_lock);
    port->pd = pd;
    pthread_mutex_unlock(&port->memory_lock);
    return 0;
}

static void up_set(struct rdma_port *port, bool is_up)
{
    /* relaxed: words for people; written by the thread only, and before it starts */
    bool was = atomic_load_explicit(&port->shown.is_up, memory_order_relaxed) != 0;
    atomic_store_explicit(&port->shown.is_up, is_up, memory_order_relaxed);
    if (is_up != was)
        rdma_port_count(is_up ? &port->shown.ups : &port->shown.downs);
}

bool rdma_same_host(const struct sockaddr *a, const struct sockaddr_storage *b)
{
    if (a->sa_family != b->ss_family)
        return false;
    if (a->sa_family == AF_INET)
        return ((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)b)->sin_addr.s_addr;
    return memcmp(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr,
                  &((const struct sockaddr_in6 *)b)->sin6_addr, sizeof(struct in6_addr)) == 0;
}

/* The network device that has our address. */
static bool interface_is_up(const struct rdma_port *port)
{
    struct ifaddrs *all;
    bool is_up = false;
    if (getifaddrs(&all) != 0)
        return false; /* asked again */
    for (const struct ifaddrs *a = all; a != NULL && !is_up; a = a->ifa_next)
        is_up = a->ifa_addr != NULL && (a->ifa_flags & IFF_UP) != 0 &&
                rdma_same_host(a->ifa_addr, &port->config.address);
    freeifaddrs(all);
    return is_up;
}

/* Why the interface, too: when it is shut, work requests fail before the device's port is said to be down, and who
 * looks then, because one failed, would find the port up. */
bool rdma_device_is_active(struct rdma_port *port)
{
    struct ibv_port_attr attr;
    return interface_is_up(port) &&
           ibv_query_port(port->listen->verbs, port->listen->port_num, &attr) == 0 &&
           attr.state == IBV_PORT_ACTIVE;
}

static int state_look(struct rdma_port *port)
{
    struct ibv_port_attr attr;
    int error = ibv_query_port(port->listen->verbs, port->listen->port_num, &attr);
    if (error != 0)
        return rdma_port_failed(port, "ibv_query_port", error);
    up_set(port, attr.state == IBV_PORT_ACTIVE);
    return 0;
}

int rdma_device_open(struct rdma_port *port)
{
    int error = listen_open(port);
    if (error == 0)
        error = watch_open(port);
    if (error == 0)
        error = sizes_choose(port);
    if (error == 0)
        error = state_look(port);
    if (error == 0)
        error = pd_open(port);
    if (error != 0)
        rdma_device_close(port);
    return error;
}

static void closed(struct rdma_port *port, const char *call, int error)
{
    if (error != 0 && !port->is_lost)
        (void)rdma_port_failed(port, call, error);
}

void rdma_contexts_forget(void)
{
    struct ibv_context **contexts = rdma_get_devices(NULL);
    if (contexts != NULL)
        rdma_free_devices(contexts);
}

void rdma_device_close(struct rdma_port *port)
{
    ASSERT(port->connection_count == 0);
    rdma_connections_unpark(port);
    rdma_memory_drop(port);
    pthread_mutex_lock(&port->memory_lock);
    if (port->pd != NULL)
        closed(port, "ibv_dealloc_pd", ibv_dealloc_pd(port->pd));
    port->pd = NULL;
    pthread_mutex_unlock(&port->memory_lock);
    if (port->watch != NULL)
        closed(port, "ibv_close_device", ibv_close_device(port->watch)); /* and out of epoll */
    port->watch = NULL;
    if (port->listen != NULL)
        closed(port, "rdma_destroy_id", rdma_destroy_id(port->listen) == 0 ? 0 : errno);
    port->listen = NULL;
    up_set(port, false);
    port->is_lost = false;
}

bool rdma_device_heard(struct rdma_port *port)
{
    struct ibv_async_event event;
    bool fatal = false;
    while (port->watch != NULL && ibv_get_async_event(port->watch, &event) == 0) {
        enum ibv_event_type type = event.event_type;
        bool ours = event.element.port_num == port->facts.port;
        ibv_ack_async_event(&event);
        if (type == IBV_EVENT_DEVICE_FATAL)
            fatal = true;
        else if ((type == IBV_EVENT_PORT_ACTIVE || type == IBV_EVENT_PORT_ERR) && ours)
            up_set(port, type == IBV_EVENT_PORT_ACTIVE);
    }
    return fatal;
}

/* ---- facts ---- */

/* Codes of IBTA 1.4, PortInfo: LinkWidthActive, LinkSpeedActive; 0: another one. */
static uint64_t speed_mbps(const struct ibv_port_attr *attr)
{
    static const struct {
        uint8_t code;
        uint32_t of; /* lanes, or Mbit/s of each */
    } widths[] = {{1, 1}, {2, 4}, {4, 8}, {8, 12}, {16, 2}},
      speeds[] = {{1, 2500},   {2, 5000},   {4, 10000},  {8, 10000},
                  {16, 14000}, {32, 25000}, {64, 50000}, {128, 100000}};
    uint64_t lanes = 0, each = 0;
    for (uint32_t i = 0; i < sizeof widths / sizeof widths[0]; i++)
        lanes = widths[i].code == attr->active_width ? widths[i].of : lanes;
    for (uint32_t i = 0; i < sizeof speeds / sizeof speeds[0]; i++)
        each = speeds[i].code == attr->active_speed ? speeds[i].of : each;
    return lanes * each;
}

static int facts_find(struct rdma_port *port)
{
    struct rdma_port_facts *f = &port->facts;
    struct ibv_port_attr attr;
    f->port = port->listen->port_num;
    int error = ibv_query_port(port->listen->verbs, f->port, &attr);
    if (error != 0)
        return rdma_port_failed(port, "ibv_query_port", error);
    snprintf(f->device, sizeof f->device, "%s", ibv_get_device_name(port->listen->verbs->device));
    f->mtu = 128u << attr.active_mtu; /* enum ibv_mtu: 1 is 256 */
    f->is_ethernet = attr.link_layer == IBV_LINK_LAYER_ETHERNET;
    f->memory_windows = rdma_has_windows(port);
    f->speed_mbps = speed_mbps(&attr);
    f->queue_pairs_max = (uint32_t)port->device.max_qp;
    f->work_requests_max = (uint32_t)port->device.max_qp_wr;
    f->registrations_max = (uint32_t)port->device.max_mr;
    return 0;
}

const struct rdma_port_facts *rdma_port_facts(const struct rdma_port *port)
{
    return &port->facts;
}

const struct rdma_port_shown *rdma_port_shown(const struct rdma_port *port)
{
    return &port->shown;
}

/* ---- open and close ---- */

static bool config_is_sound(const struct rdma_port_config *c)
{
    sa_family_t family = c->address.ss_family;
    return (family == AF_INET || family == AF_INET6) && c->lcore_count != 0 &&
           c->lcore_count <= LIMIT_LCORES && c->message_bytes != 0 &&
           c->message_bytes % CACHE_LINE == 0 && c->message_bytes <= RDMA_PORT_MESSAGE_BYTES_MAX &&
           (c->messages == 0 || is_power_of_two(c->messages)) &&
           c->messages <= RDMA_PORT_MESSAGES_MAX && c->sends <= RDMA_PORT_SENDS_MAX &&
           c->ack_timeout <= RDMA_PORT_ACK_TIMEOUT_MAX;
}

static int fd_watch(const struct rdma_port *port, int fd, uint32_t word)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = word};
    return epoll_ctl(port->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static int fds_open(struct rdma_port *port)
{
    port->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    port->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (port->epoll_fd < 0 || port->event_fd < 0)
        return -errno;
    return fd_watch(port, port->event_fd, RDMA_FD_EVENT);
}

static int channel_open(struct rdma_port *port)
{
    port->channel = rdma_create_event_channel();
    if (port->channel == NULL)
        return absent(rdma_port_failed(port, "rdma_create_event_channel", errno));
    if (fcntl(port->channel->fd, F_SETFL, O_NONBLOCK) != 0)
        return -errno;
    return fd_watch(port, port->channel->fd, RDMA_FD_CHANNEL);
}

int rdma_port_begin(struct rdma_port *port)
{
    int error = channel_open(port);
    if (error == 0)
        error = rdma_device_open(port);
    return error != 0 ? error : facts_find(port);
}

static void port_free(struct rdma_port *port)
{
    rdma_thread_stop(port);
    if (port->channel != NULL)
        rdma_device_close(port);
    if (port->channel != NULL)
        rdma_destroy_event_channel(port->channel);
    if (port->event_fd >= 0)
        (void)close(port->event_fd);
    if (port->epoll_fd >= 0)
        (void)close(port->epoll_fd);
    rdma_memory_free(port);
    pthread_cond_destroy(&port->begun);
    pthread_cond_destroy(&port->closed);
    pthread_mutex_destroy(&port->memory_lock);
    pthread_mutex_destroy(&port->lock);
    free(port);
}

int rdma_port_open(struct rdma_port **port, const struct rdma_port_config *config)
{
    if (!config_is_sound(config))
        return -EINVAL;
    struct rdma_port *p = calloc(1, sizeof *p);
    if (p == NULL)
        return -ENOMEM;
    p->config = *config;
    p->epoll_fd = p->event_fd = -1;
    /* Why not from 1 on: a key of an earlier start never passes for one of this one. */
    if (getrandom(&p->number, sizeof p->number, 0) != (ssize_t)sizeof p->number) {
        free(p);
        return -EAGAIN;
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_init(&p->memory_lock, NULL);
    pthread_cond_init(&p->closed, NULL);
    pthread_cond_init(&p->begun, NULL);
    int error = fds_open(p);
    if (error == 0)
        error = rdma_thread_start(p);
    if (error != 0) {
        port_free(p);
        return error;
    }
    *port = p;
    return 0;
}

void rdma_port_close(struct rdma_port *port)
{
    ASSERT(port->link_count == 0);
    port_free(port);
}
