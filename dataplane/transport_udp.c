#include "dataplane/transport_udp.h"

#include "engine/clock.h"

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

static const struct transport_udp_endpoint *endpoint_of(const struct transport *t)
{
    return (const struct transport_udp_endpoint *)(const void *)t; /* its first member */
}

static void udp_awake(struct transport *t)
{
    (void)t; /* nothing was set: the socket wakes by itself */
}

static uint8_t udp_version(const struct transport *t, uint32_t node)
{
    uint8_t version = 0;
    return transport_udp_is_up(t, node, &version, NULL) ? version : 0;
}

static const struct transport_ops udp_ops = {
    .send = transport_udp_send,
    .receive = transport_udp_receive,
    .release = transport_udp_release,
    .complete = transport_udp_complete,
    .sleep = transport_udp_sleep,
    .awake = udp_awake,
    .version = udp_version,
    .deadline = transport_udp_deadline,
    .count = transport_udp_count_all,
    .count_names = transport_udp_count_names,
};

uint64_t transport_udp_now(const struct transport_udp_endpoint *e)
{
    return e->config.clock != NULL ? e->config.clock(e->config.clock_context) : clock_boottime_ns();
}

struct transport_udp_peer *transport_udp_find(struct transport_udp_endpoint *e, uint32_t node)
{
    if (LIKELY(e->found < e->peer_count && e->nodes[e->found] == node))
        return e->peers[e->found];
    for (uint32_t i = 0; i < e->peer_count; i++)
        if (e->nodes[i] == node) {
            e->found = i;
            return e->peers[i];
        }
    return NULL;
}

/* ---- configuration ---- */

static void or_default(uint32_t *value, uint32_t otherwise)
{
    *value = *value != 0 ? *value : otherwise;
}

static void defaults_set(struct transport_udp_config *c)
{
    or_default(&c->frame_bytes, TRANSPORT_UDP_FRAME_BYTES);
    or_default(&c->length_max, TRANSPORT_UDP_LENGTH_MAX);
    or_default(&c->queue_frames, TRANSPORT_UDP_QUEUE_FRAMES);
    or_default(&c->places, TRANSPORT_UDP_PLACES);
    or_default(&c->socket_bytes, TRANSPORT_UDP_SOCKET_BYTES);
    if (c->timeout_ns == 0)
        c->timeout_ns = TRANSPORT_UDP_TIMEOUT_NS;
    if (c->silence_ns == 0)
        c->silence_ns = TRANSPORT_UDP_SILENCE_NS;
    if (c->version_highest == 0) {
        c->version_lowest = FRAME_VERSION_LOWEST;
        c->version_highest = FRAME_VERSION_HIGHEST;
    }
}

static uint32_t content_max(const struct transport_udp_config *c)
{
    return (uint32_t)align_up(frame_content(TRANSPORT_HEAD_MAX, c->length_max), 8);
}

static uint32_t piece_of(uint32_t frame_bytes)
{
    return (frame_bytes - FRAME_HEADER_BYTES) & ~7u;
}

static bool secrets_are_sound(const struct transport_udp_config *c)
{
    if (c->secret_count == 0 || c->secret_count > FRAME_SECRETS_MAX)
        return false;
    for (uint32_t i = 0; i < c->secret_count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (c->secrets[i].key_id == c->secrets[j].key_id)
                return false;
    return true;
}

static bool is_sound(const struct transport_udp_config *c)
{
    bool path = c->frame_bytes == TRANSPORT_UDP_FRAME_PATH;
    if (!path && (c->frame_bytes < FRAME_BYTES_MIN || c->frame_bytes > FRAME_BYTES_MAX))
        return false;
    if (c->length_max > FRAME_LENGTH_MAX || c->places > FRAGMENTS_PLACES_MAX ||
        c->rate > PACING_RATE_MAX || c->burst > PACING_BURST_MAX || (c->rate != 0 && c->burst == 0))
        return false;
    /* Why the smallest: what the path to a peer carries is known only when the peer is. */
    uint32_t piece = piece_of(path ? FRAME_BYTES_MIN : c->frame_bytes);
    if (!is_power_of_two(c->queue_frames) || c->queue_frames > TRANSPORT_UDP_QUEUE_FRAMES_MAX ||
        c->queue_frames < frame_fragments(content_max(c), piece))
        return false;
    return c->start != 0 && c->version_lowest != 0 && c->version_lowest <= c->version_highest &&
           secrets_are_sound(c);
}

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
    const struct sockaddr_storage *address = &e->config.address;
    static const int off = 0, on = 1;
    if (address->ss_family != AF_INET && address->ss_family != AF_INET6)
        return -EAFNOSUPPORT;
    int fd = socket(address->ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    buffer_bytes_set(fd, SO_RCVBUFFORCE, SO_RCVBUF, e->config.socket_bytes);
    buffer_bytes_set(fd, SO_SNDBUFFORCE, SO_SNDBUF, e->config.socket_bytes);
    /* Why unchecked: a kernel without it counts no drops, and all else works. */
    (void)setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
    if ((address->ss_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0) ||
        bind(fd, (const struct sockaddr *)address, address_length(address)) != 0) {
        int error = -errno;
        (void)close(fd);
        return error;
    }
    e->transport.wake_fd = fd;
    int value;
    socklen_t length = sizeof value;
    bool wanted = !e->config.plain_socket;
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

/* ---- endpoint ---- */

/* Why mapped: pages of buffers and queues that are never used cost nothing. */
static uint8_t *memory_map(uint64_t bytes)
{
    void *m = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return m == MAP_FAILED ? NULL : m;
}

static void endpoint_init(struct transport_udp_endpoint *e)
{
    struct transport_udp_config *c = &e->config;
    memcpy(e->secrets, c->secrets, c->secret_count * sizeof e->secrets[0]);
    c->secrets = NULL;
    e->transport = (struct transport){
        .ops = &udp_ops, .node = c->node, .length_max = c->length_max, .wake_fd = -1};
    e->local = (struct frame_local){.cluster = c->cluster,
                                    .lcore = c->lcore,
                                    .version_lowest = c->version_lowest,
                                    .version_highest = c->version_highest};
    uint32_t longest =
        c->frame_bytes == TRANSPORT_UDP_FRAME_PATH ? FRAME_BYTES_MAX : c->frame_bytes;
    e->slot_bytes = (uint32_t)align_up(longest, 8);
}

int transport_udp_open(struct transport **t, const struct transport_udp_config *config)
{
    struct transport_udp_endpoint *e = calloc(1, sizeof *e);
    if (e == NULL)
        return -ENOMEM;
    e->config = *config;
    defaults_set(&e->config);
    int error = -EINVAL;
    if (!is_sound(&e->config))
        goto free_endpoint;
    endpoint_init(e);
    error = socket_open(e);
    if (error != 0)
        goto free_endpoint;
    e->buffers_bytes = (uint64_t)TRANSPORT_UDP_BUFFERS * e->buffer_bytes;
    e->buffers = memory_map(e->buffers_bytes);
    error = -ENOMEM;
    if (e->buffers == NULL)
        goto close_socket;
    transport_udp_receive_init(e);
    *t = &e->transport;
    return 0;
close_socket:
    (void)close(e->transport.wake_fd);
free_endpoint:
    explicit_bzero(e->secrets, sizeof e->secrets);
    free(e);
    return error;
}

static void peer_free(struct transport_udp_peer *p)
{
    transport_udp_pair_close(p);
    (void)munmap(p->memory, p->memory_bytes);
    free(p->queue);
    free(p);
}

void transport_udp_close(struct transport *t)
{
    struct transport_udp_endpoint *e = transport_udp_endpoint_of(t);
    for (uint32_t i = 0; i < e->peer_count; i++)
        peer_free(e->peers[i]);
    (void)munmap(e->buffers, e->buffers_bytes);
    (void)close(e->transport.wake_fd);
    explicit_bzero(e->secrets, sizeof e->secrets);
    free(e);
}

/* ---- peers ---- */

static void fragments_count(struct transport_udp_counters *c, const struct fragments *f)
{
    c->fragments_timed_out += f->timed_out;
    c->fragments_evicted += f->evicted;
    c->fragments_doubled += f->doubled;
    c->fragments_unlike += f->unlike;
    c->datagrams_too_long += f->too_long;
}

/* The peer's address in the form that our socket takes. */
static int address_convert(const struct transport_udp_endpoint *e, struct transport_udp_peer *p,
                           const struct sockaddr_storage *address)
{
    sa_family_t own = e->config.address.ss_family;
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

static int peer_memory(struct transport_udp_endpoint *e, struct transport_udp_peer *p)
{
    const struct transport_udp_config *c = &e->config;
    /* Why one more: room that is left at the end is too short for a frame. */
    p->frames_bytes = align_up(((uint64_t)c->queue_frames + 1) * e->slot_bytes, CACHE_LINE);
    p->memory_bytes = p->frames_bytes + fragments_bytes(c->places, content_max(c));
    p->queue = calloc(c->queue_frames, sizeof p->queue[0]);
    if (p->queue == NULL)
        return -ENOMEM;
    p->memory = memory_map(p->memory_bytes);
    if (p->memory == NULL) {
        free(p->queue);
        return -ENOMEM;
    }
    p->frames = p->memory;
    fragments_init(&p->fragments, p->memory + p->frames_bytes, c->places, content_max(c));
    p->fragments.timeout = c->timeout_ns;
    return 0;
}

static int peer_open(struct transport_udp_endpoint *e, struct transport_udp_peer *p,
                     const struct sockaddr_storage *address)
{
    p->offload = e->offload;
    p->frame_bytes = e->config.frame_bytes;
    int error = address_convert(e, p, address);
    if (error == 0 && e->config.frame_bytes == TRANSPORT_UDP_FRAME_PATH)
        error = path_bytes(address, &p->frame_bytes);
    if (error != 0)
        return error;
    p->piece = piece_of(p->frame_bytes);
    if (e->transport.head_whole == 0 || p->piece < e->transport.head_whole)
        e->transport.head_whole = p->piece;
    pacing_init(&p->pacing, e->config.rate, e->config.burst, transport_udp_now(e));
    error = peer_memory(e, p);
    if (error != 0)
        return error;
    error = transport_udp_pair_open(e, p);
    if (error != 0) {
        (void)munmap(p->memory, p->memory_bytes);
        free(p->queue);
    }
    return error;
}

int transport_udp_add(struct transport *t, uint32_t node, const struct sockaddr_storage *address)
{
    struct transport_udp_endpoint *e = transport_udp_endpoint_of(t);
    if (node == t->node)
        return -EINVAL;
    if (transport_udp_find(e, node) != NULL)
        return -EEXIST;
    if (e->peer_count == LIMIT_NODES)
        return -ENOSPC;
    struct transport_udp_peer *p = calloc(1, sizeof *p);
    if (p == NULL)
        return -ENOMEM;
    p->node = node;
    int error = peer_open(e, p, address);
    if (error != 0) {
        free(p);
        return error;
    }
    e->nodes[e->peer_count] = node;
    e->peers[e->peer_count++] = p;
    return 0;
}

int transport_udp_remove(struct transport *t, uint32_t node)
{
    struct transport_udp_endpoint *e = transport_udp_endpoint_of(t);
    struct transport_udp_peer *p = transport_udp_find(e, node);
    if (p == NULL)
        return -ENOENT;
    uint32_t i = e->found;
    /* Why: fragments count of their own; what they counted goes on in the endpoint's. */
    fragments_count(&e->counters, &p->fragments);
    e->queued -= p->tail - p->head;
    peer_free(p);
    e->nodes[i] = e->nodes[--e->peer_count];
    e->peers[i] = e->peers[e->peer_count];
    e->turn = 0;
    return 0;
}

/* ---- what others see ---- */

void transport_udp_count(const struct transport *t, struct transport_udp_counters *counters)
{
    const struct transport_udp_endpoint *e = endpoint_of(t);
    *counters = e->counters;
    for (uint32_t i = 0; i < e->peer_count; i++)
        fragments_count(counters, &e->peers[i]->fragments);
}

bool transport_udp_is_up(const struct transport *t, uint32_t node, uint8_t *version,
                         uint64_t *features)
{
    const struct transport_udp_endpoint *e = endpoint_of(t);
    for (uint32_t i = 0; i < e->peer_count; i++) {
        const struct handshake *h = &e->peers[i]->handshake;
        if (e->nodes[i] != node || !h->up)
            continue;
        if (version != NULL)
            *version = h->version;
        if (features != NULL)
            *features = h->features;
        return true;
    }
    return false;
}
