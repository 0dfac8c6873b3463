#include "bench/transport_sealed.h"

#include "dataplane/transport_udp.h"
#include "engine/clock.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define BURST 64u
#define UP_NS (10 * NS_PER_S)

struct sealed_end {
    struct transport *transport;
    void (*close)(struct transport *transport);
    uint32_t other; /* node id */
    struct transport_datagram out[TRANSPORT_SIDE_BURST_MAX];
    struct transport_received in[BURST];
    uint64_t holds[BURST];
    uint64_t sum; /* of a word of each message: so that all are looked at */
};

/* ---- the link ---- */

static void complete_all(struct sealed_end *e)
{
    while (transport_complete(e->transport, e->holds, BURST) == BURST)
        continue;
}

static int send_all(struct sealed_end *e, uint32_t count)
{
    for (uint32_t sent = 0; sent < count;) {
        sent += transport_send(e->transport, e->out + sent, count - sent);
        complete_all(e); /* what is queued leaves */
    }
    return 0;
}

static int sealed_send(void *end, const uint8_t *bytes, uint32_t length, uint32_t count)
{
    struct sealed_end *e = end;
    ASSERT(count <= TRANSPORT_SIDE_BURST_MAX);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *message = bytes + (uint64_t)i * length;
        if (length <= TRANSPORT_SEALED_HEAD_BYTES)
            e->out[i] =
                (struct transport_datagram){.to = e->other, .head = message, .head_length = length};
        else
            e->out[i] = (struct transport_datagram){
                .to = e->other, .bytes = message, .length = length, .hold = i};
    }
    return send_all(e, count);
}

/* Bytes of what came, its content looked at. */
static int looked_at(struct sealed_end *e, const struct transport_received *r)
{
    uint64_t word = 0;
    const uint8_t *bytes = r->head_length != 0 ? r->head : r->bytes;
    uint32_t length = r->head_length + r->length;
    memcpy(&word, bytes, min_u64(length, sizeof word));
    e->sum += word;
    return (int)length;
}

static int sealed_take(void *end)
{
    struct sealed_end *e = end;
    int all = 0;
    uint32_t got = transport_receive(e->transport, e->in, BURST);
    for (uint32_t i = 0; i < got; i++)
        all += looked_at(e, &e->in[i]);
    transport_release(e->transport);
    return all;
}

static int sealed_echo(void *end)
{
    struct sealed_end *e = end;
    uint32_t got = transport_receive(e->transport, e->in, 1);
    if (got != 0) {
        const struct transport_received *r = &e->in[0];
        e->out[0] = (struct transport_datagram){
            .to = r->from,
            .head = r->head,
            .head_length = r->head_length,
            .bytes = r->bytes,
            .length = r->length,
        };
        (void)send_all(e, 1);
    }
    transport_release(e->transport);
    return (int)got;
}

static void sealed_close(void *end)
{
    struct sealed_end *e = end;
    if (e == NULL)
        return;
    if (e->transport != NULL) {
        transport_leave(e->transport);
        e->close(e->transport);
    }
    free(e);
}

const struct transport_link transport_sealed_link = {
    .send = sealed_send, .take = sealed_take, .echo = sealed_echo, .close = sealed_close};

uint32_t transport_sealed_receive_bytes(const void *end)
{
    const struct sealed_end *e = end;
    int value = 0;
    socklen_t length = sizeof value;
    if (getsockopt(transport_wake_fd(e->transport), SOL_SOCKET, SO_RCVBUF, &value, &length) != 0)
        return 0;
    return (uint32_t)value;
}

/* ---- opening ---- */

void transport_sealed_config(struct transport_framed_config *config, uint32_t node,
                             const struct transport_sealed_shape *shape)
{
    static const struct transport_framed_secret secret = {.key_id = 1, .bytes = {1, 2, 3, 4}};
    *config = (struct transport_framed_config){
        .node = node,
        .cluster = 1,
        .start = node,
        .secrets = &secret,
        .secret_count = 1,
        .authentic_only = shape->authentic_only,
        .frame_bytes = shape->frame_bytes,
        .length_max = FRAME_LENGTH_MAX,
        .queue_frames = TRANSPORT_FRAMED_QUEUE_FRAMES,
    };
}

int transport_sealed_end(void **end, struct transport *transport, uint32_t other,
                         void (*close)(struct transport *transport))
{
    struct sealed_end *e = calloc(1, sizeof *e);
    if (e == NULL)
        return -ENOMEM;
    *e = (struct sealed_end){.transport = transport, .close = close, .other = other};
    transport_enter(transport);
    *end = e;
    return 0;
}

static struct sockaddr_storage loopback(uint16_t port)
{
    struct sockaddr_storage address = {.ss_family = AF_INET};
    const struct sockaddr_in v4 = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    memcpy(&address, &v4, sizeof v4);
    return address;
}

static int end_open(void **end, uint32_t node, const struct transport_sealed_shape *shape)
{
    struct transport_framed_config config;
    const struct transport_udp_socket socket = {.plain = shape->plain_socket};
    struct transport *transport;
    transport_sealed_config(&config, node, shape);
    config.address = loopback(0);
    int rc = transport_udp_open(&transport, &config, &socket);
    if (rc != 0)
        return rc;
    rc = transport_sealed_end(end, transport, 3 - node, transport_udp_close);
    if (rc != 0)
        transport_udp_close(transport);
    return rc;
}

static int introduce(struct sealed_end *e, const struct sealed_end *to)
{
    struct sockaddr_storage address = loopback(transport_udp_port(to->transport));
    return transport_framed_add(e->transport, e->other, &address);
}

bool transport_sealed_is_up(void *end)
{
    struct sealed_end *e = end;
    (void)sealed_take(e);
    return transport_framed_is_up(e->transport, e->other, NULL, NULL);
}

/* Both in this thread, in turn. */
static int come_up(void *ends[2])
{
    uint64_t deadline_ns = clock_boottime_ns() + UP_NS;
    bool first = false, second = false;
    while (!first || !second) {
        if (clock_boottime_ns() > deadline_ns)
            return -ETIMEDOUT;
        first = transport_sealed_is_up(ends[0]);
        second = transport_sealed_is_up(ends[1]);
    }
    return 0;
}

int transport_sealed_open(void *ends[2], const struct transport_sealed_shape *shape)
{
    ends[0] = ends[1] = NULL;
    int rc = end_open(&ends[0], 1, shape);
    if (rc == 0)
        rc = end_open(&ends[1], 2, shape);
    if (rc == 0)
        rc = introduce(ends[0], ends[1]);
    if (rc == 0)
        rc = introduce(ends[1], ends[0]);
    if (rc == 0)
        rc = come_up(ends);
    if (rc != 0) {
        sealed_close(ends[0]);
        sealed_close(ends[1]);
    }
    return rc;
}
