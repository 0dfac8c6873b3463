#include "dataplane/transport_udp.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define IPV4_HEADERS 28u /* IP and UDP */
#define IPV6_HEADERS 48u
#define BUFFER_BYTES 9216u       /* holds the longest frame */
#define BUFFER_BYTES_MANY 65536u /* holds what the kernel puts together */

/* Why: transport_udp_port reads either kind of address. */
_Static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port),
               "place of the port");
_Static_assert(BUFFER_BYTES > FRAME_BYTES_MAX && BUFFER_BYTES % CACHE_LINE == 0, "buffers");

/* ---- socket ---- */

/* Why forced first: the system's limit is for who has no say; without the right the limit it is. */
static void buffer_bytes_set(int fd, int forced, int plain, uint32_t bytes)
{
    int value = (int)min_u64(bytes, INT32_MAX / 2);
    if (setsockopt(fd, SOL_SOCKET, forced, &value, sizeof value) != 0)
        (void)setsockopt(fd, SOL_SOCKET, plain, &value, sizeof value);
}

static socklen_t address_length(const struct sockaddr_storage *a)
{
    return a->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static int socket_open(struct transport_udp_endpoint *e)
{
    const struct sockaddr_storage *address = &e->framed.config.address;
    static const int off = 0, on = 1;
    if (address->ss_family != AF_INET && address->ss_family != AF_INET6)
        return -EAFNOSUPPORT;
    int fd = socket(address->ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    buffer_bytes_set(fd, SO_RCVBUFFORCE, SO_RCVBUF, e->socket.bytes);
    buffer_bytes_set(fd, SO_SNDBUFFORCE, SO_SNDBUF, e->socket.bytes);
    /* Why unchecked: a kernel without it counts no drops, and all else works. */
    (void)setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
    if ((address->ss_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0) ||
        bind(fd, (const struct sockaddr *)address, address_length(address)) != 0) {
        int error = -errno;
        (void)close(fd);
        return error;
    }
    e->framed.transport.wake_fd = fd;
    int value;
    socklen_t length = sizeof value;
    bool wanted = !e->socket.plain;
    e->offload = wanted && getsockopt(fd, SOL_UDP, UDP_SEGMENT, &value, &length) == 0;
    bool many = wanted && setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof on) == 0;
    e->buffer_bytes = many ? BUFFER_BYTES_MANY : BUFFER_BYTES;
    return 0;
}

uint16_t transport_udp_port(const struct transport *t)
{
    struct sockaddr_in6 address = {.sin6_family = AF_UNSPEC};
    socklen_t length = sizeof address;
    if (getsockname(t->wake_fd, (struct sockaddr *)&address, &length) != 0)
        return 0;
    return ntohs(address.sin6_port);
}

/* ---- peers ---- */

/* The peer's address in the form that our socket takes. */
static int address_convert(const struct transport_udp_endpoint *e, struct transport_udp_peer *p,
                           const struct sockaddr_storage *address)
{
    sa_family_t own = e->framed.config.address.ss_family;
    p->address = *address;
    p->address_length = address_length(address);
    if (address->ss_family != AF_INET && address->ss_family != AF_INET6)
        return -EAFNOSUPPORT;
    if (address->ss_family == own)
        return 0;
    if (own == AF_INET)
        return -EAFNOSUPPORT;
    struct sockaddr_in v4;
    memcpy(&v4, address, sizeof v4);
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = v4.sin_port};
    /* ::ffff:a.b.c.d, RFC 4291, 2.5.5.2 */
    v6.sin6_addr.s6_addr[10] = v6.sin6_addr.s6_addr[11] = 0xff;
    memcpy(&v6.sin6_addr.s6_addr[12], &v4.sin_addr, 4);
    memcpy(&p->address, &v6, sizeof v6);
    p->address_length = sizeof v6;
    return 0;
}

/* UDP payload that the route to an address carries in one packet. */
static int path_bytes(const struct sockaddr_storage *address, uint32_t *bytes)
{
    bool v6 = address->ss_family == AF_INET6;
    int mtu = 0;
    socklen_t length = sizeof mtu;
    int fd = socket(address->ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int error = 0;
    if (connect(fd, (const struct sockaddr *)address, address_length(address)) != 0 ||
        getsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU : IP_MTU, &mtu, &length) != 0)
        error = -errno;
    (void)close(fd);
    uint64_t headers = v6 ? IPV6_HEADERS : IPV4_HEADERS;
    uint64_t payload = mtu > (int)headers ? (uint64_t)mtu - headers : 0;
    *bytes = (uint32_t)max_u64(min_u64(payload, FRAME_BYTES_MAX), FRAME_BYTES_MIN);
    return error;
}

/* Of its queue. */
static int peer_memory(const struct transport_udp_endpoint *e, struct transport_udp_peer *p)
{
    const struct transport_framed_endpoint *f = &e->framed;
    /* Why one more: room that is left at the end is too short for a frame. */
    p->frames_bytes = align_up(((uint64_t)f->config.queue_frames + 1) * f->slot_bytes, CACHE_LINE);
    p->queue = calloc(f->config.queue_frames, sizeof p->queue[0]);
    if (p->queue == NULL)
        return -ENOMEM;
    p->frames = transport_framed_map(p->frames_bytes);
    if (p->frames != NULL)
        return 0;
    free(p->queue);
    return -ENOMEM;
}

static int peer_open(struct transport_framed_endpoint *framed, struct transport_framed_peer *peer,
                     const struct sockaddr_storage *address)
{
    struct transport_udp_endpoint *e = transport_udp_of(framed);
    struct transport_udp_peer *p = transport_udp_peer_of(peer);
    p->offload = e->offload;
    peer->frame_bytes = framed->config.frame_bytes;
    int error = address_convert(e, p, address);
    if (error == 0 && framed->config.frame_bytes == TRANSPORT_FRAMED_FRAME_PATH)
        error = path_bytes(address, &peer->frame_bytes);
    return error != 0 ? error : peer_memory(e, p);
}

static void peer_close(struct transport_framed_peer *peer)
{
    struct transport_udp_peer *p = transport_udp_peer_of(peer);
    (void)munmap(p->frames, p->frames_bytes);
    free(p->queue);
}

/* ---- endpoint ---- */

static const struct transport_ops udp_ops = {
    TRANSPORT_FRAMED_OPS,
    .count_names = transport_udp_count_names,
};

static const struct transport_framed_body udp_body = {
    .ops = &udp_ops,
    .peer_bytes = sizeof(struct transport_udp_peer),
    .peer_open = peer_open,
    .peer_close = peer_close,
    .room = transport_udp_room,
    .queued = transport_udp_queued,
    .flush = transport_udp_flush,
    .send_beside = transport_udp_send_beside,
    .next = transport_udp_next,
    .pass = transport_udp_pass,
    .release = transport_udp_release,
    .sleep = transport_udp_sleep,
    .count = transport_udp_count_all,
};

int transport_udp_open(struct transport **t, const struct transport_framed_config *config,
                       const struct transport_udp_socket *options)
{
    struct transport_udp_endpoint *e = calloc(1, sizeof *e);
    if (e == NULL)
        return -ENOMEM;
    if (options != NULL)
        e->socket = *options;
    if (e->socket.bytes == 0)
        e->socket.bytes = TRANSPORT_UDP_SOCKET_BYTES;
    int error = transport_framed_init(&e->framed, config, &udp_body);
    if (error != 0)
        goto free_endpoint;
    error = socket_open(e);
    if (error != 0)
        goto fini_framed;
    e->buffers_bytes = (uint64_t)TRANSPORT_UDP_BUFFERS * e->buffer_bytes;
    e->buffers = transport_framed_map(e->buffers_bytes);
    error = -ENOMEM;
    if (e->buffers == NULL)
        goto close_socket;
    transport_udp_receive_init(e);
    *t = &e->framed.transport;
    return 0;
close_socket:
    (void)close(e->framed.transport.wake_fd);
fini_framed:
    transport_framed_fini(&e->framed);
free_endpoint:
    free(e);
    return error;
}

void transport_udp_close(struct transport *t)
{
    struct transport_udp_endpoint *e = transport_udp_endpoint_of(t);
    transport_framed_fini(&e->framed);
    (void)munmap(e->buffers, e->buffers_bytes);
    (void)close(t->wake_fd);
    free(e);
}
