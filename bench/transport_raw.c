#include "bench/transport_raw.h"

#include "dataplane/transport_udp.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* The same batches and sizes as the transport's. */
#define BATCH TRANSPORT_UDP_BATCH
#define SEGMENTS TRANSPORT_UDP_SEGMENTS
#define MESSAGE_BYTES TRANSPORT_UDP_MESSAGE_BYTES
#define BUFFER_BYTES 65536u

struct raw_end {
    int fd;
    enum transport_raw_kind kind;
    uint32_t segment;
    struct mmsghdr out[BATCH], in[BATCH];
    struct iovec out_parts[BATCH], in_parts[BATCH];
    alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(uint16_t))];
    uint8_t *buffers;
    uint64_t sum; /* of a word of each message: so that all are looked at */
};

/* ---- sending ---- */

static int send_single(struct raw_end *e, const uint8_t *bytes, uint32_t length)
{
    while (send(e->fd, bytes, length, MSG_DONTWAIT) < 0)
        if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
            return -errno;
    return 0;
}

static int send_batch(struct raw_end *e, uint32_t count)
{
    for (uint32_t m = 0; m < count;) {
        int sent = sendmmsg(e->fd, e->out + m, count - m, MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
            return -errno;
        m += sent > 0 ? (uint32_t)sent : 0;
    }
    return 0;
}

/* Bytes cut into messages of step each, the kernel cutting those into segments if they are longer. */
static int send_cut(struct raw_end *e, const uint8_t *bytes, uint64_t length, uint32_t step)
{
    int rc = 0;
    for (uint64_t at = 0; at < length && rc == 0;) {
        uint32_t count = 0;
        for (; count < BATCH && at < length; count++, at += step) {
            e->out_parts[count] =
                (struct iovec){(void *)(uintptr_t)(bytes + at), min_u64(step, length - at)};
            e->out[count].msg_hdr.msg_iov = &e->out_parts[count];
        }
        rc = send_batch(e, count);
    }
    return rc;
}

/* A segment is a message, or a part of one that is longer. */
static void segment_set(struct raw_end *e, uint32_t length)
{
    uint16_t segment = (uint16_t)min_u64(e->segment, length);
    struct msghdr header = {.msg_control = e->control, .msg_controllen = sizeof e->control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof segment);
    memcpy(CMSG_DATA(c), &segment, sizeof segment);
}

static int raw_send(void *end, const uint8_t *bytes, uint32_t length, uint32_t count)
{
    struct raw_end *e = end;
    if (e->kind == TRANSPORT_RAW_SINGLE)
        return send_single(e, bytes, length);
    uint32_t segment = (uint32_t)min_u64(e->segment, length);
    if (e->kind == TRANSPORT_RAW_BURST)
        return send_cut(e, bytes, (uint64_t)length * count, segment);
    segment_set(e, length);
    return send_cut(e, bytes, (uint64_t)length * count,
                    (uint32_t)min_u64(SEGMENTS, MESSAGE_BYTES / segment) * segment);
}

/* ---- receiving ---- */

static int looked_at(struct raw_end *e, const uint8_t *bytes, int length)
{
    uint64_t word = 0;
    memcpy(&word, bytes, min_u64((uint64_t)length, sizeof word));
    e->sum += word;
    return length;
}

static int receive_single(struct raw_end *e)
{
    ssize_t got = recv(e->fd, e->buffers, BUFFER_BYTES, MSG_DONTWAIT);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    return looked_at(e, e->buffers, (int)got);
}

static int raw_take(void *end)
{
    struct raw_end *e = end;
    if (e->kind == TRANSPORT_RAW_SINGLE)
        return receive_single(e);
    int got = recvmmsg(e->fd, e->in, BATCH, MSG_DONTWAIT, NULL);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    int all = 0;
    for (int i = 0; i < got; i++)
        all += looked_at(e, e->in_parts[i].iov_base, (int)e->in[i].msg_len);
    return all;
}

static int raw_echo(void *end)
{
    struct raw_end *e = end;
    int got = receive_single(e);
    if (got <= 0)
        return got;
    int rc = send_single(e, e->buffers, (uint32_t)got);
    return rc != 0 ? rc : got;
}

/* ---- opening ---- */

static void raw_close(void *end)
{
    struct raw_end *e = end;
    if (e == NULL)
        return;
    if (e->fd >= 0)
        (void)close(e->fd);
    free(e->buffers);
    free(e);
}

static int socket_make(struct raw_end *e)
{
    static const int bytes = (int)TRANSPORT_UDP_SOCKET_BYTES, on = 1;
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    e->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (e->fd < 0 || bind(e->fd, (const struct sockaddr *)&address, sizeof address) != 0)
        return -errno;
    /* As the transport's: by force where we may, up to the system's limit where not. */
    if (setsockopt(e->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0)
        (void)setsockopt(e->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (setsockopt(e->fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) != 0)
        (void)setsockopt(e->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    if (e->kind == TRANSPORT_RAW_OFFLOAD &&
        setsockopt(e->fd, SOL_UDP, UDP_GRO, &on, sizeof on) != 0)
        return -EOPNOTSUPP;
    return 0;
}

static void messages_init(struct raw_end *e)
{
    for (uint32_t i = 0; i < BATCH; i++) {
        e->in_parts[i] = (struct iovec){e->buffers + (uint64_t)i * BUFFER_BYTES, BUFFER_BYTES};
        e->in[i].msg_hdr = (struct msghdr){.msg_iov = &e->in_parts[i], .msg_iovlen = 1};
        e->out[i].msg_hdr = (struct msghdr){.msg_iovlen = 1};
        if (e->kind == TRANSPORT_RAW_OFFLOAD) {
            e->out[i].msg_hdr.msg_control = e->control;
            e->out[i].msg_hdr.msg_controllen = sizeof e->control;
        }
    }
}

static int end_open(void **end, enum transport_raw_kind kind, uint32_t segment)
{
    struct raw_end *e = calloc(1, sizeof *e);
    if (e == NULL)
        return -ENOMEM;
    e->fd = -1;
    e->kind = kind;
    e->segment = segment;
    e->buffers = calloc(BATCH, BUFFER_BYTES);
    int rc = e->buffers != NULL ? socket_make(e) : -ENOMEM;
    if (rc != 0) {
        raw_close(e);
        return rc;
    }
    messages_init(e);
    *end = e;
    return 0;
}

static int connect_to(const struct raw_end *e, const struct raw_end *to)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    if (getsockname(to->fd, (struct sockaddr *)&address, &length) != 0 ||
        connect(e->fd, (const struct sockaddr *)&address, length) != 0)
        return -errno;
    return 0;
}

int transport_raw_open(void *ends[2], enum transport_raw_kind kind, uint32_t segment)
{
    ends[0] = ends[1] = NULL;
    int rc = end_open(&ends[0], kind, segment);
    if (rc == 0)
        rc = end_open(&ends[1], kind, segment);
    if (rc == 0)
        rc = connect_to(ends[0], ends[1]);
    if (rc == 0)
        rc = connect_to(ends[1], ends[0]);
    if (rc != 0) {
        raw_close(ends[0]);
        raw_close(ends[1]);
    }
    return rc;
}

const struct transport_link transport_raw_link = {
    .send = raw_send, .take = raw_take, .echo = raw_echo, .close = raw_close};
