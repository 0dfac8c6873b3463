#include "dataplane/transport_udp.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

static uint32_t index_of(uint64_t buffer)
{
    return (uint32_t)(buffer & (TRANSPORT_UDP_BUFFERS - 1));
}

void transport_udp_receive_init(struct transport_udp_endpoint *e)
{
    for (uint32_t i = 0; i < TRANSPORT_UDP_BUFFERS; i++) {
        e->in_parts[i] = (struct iovec){.iov_base = e->buffers + (uint64_t)i * e->buffer_bytes,
                                        .iov_len = e->buffer_bytes};
        e->in[i].msg_hdr = (struct msghdr){
            .msg_iov = &e->in_parts[i],
            .msg_iovlen = 1,
            .msg_control = &e->in_control[i],
            .msg_controllen = sizeof e->in_control[i],
        };
    }
}

/* ---- from the kernel ---- */

/* What came into a buffer: how long, and of how many bytes each frame is. */
static void buffer_filled(struct transport_udp_endpoint *e, uint32_t i)
{
    struct msghdr *header = &e->in[i].msg_hdr;
    uint32_t length = e->in[i].msg_len;
    uint32_t segment = length;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
        uint32_t value;
        memcpy(&value, CMSG_DATA(c), sizeof value);
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO && value != 0)
            segment = value;
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
            /* The kernel's own count goes round at 2^32. */
            e->counters.kernel_dropped += value - e->kernel_dropped;
            e->kernel_dropped = value;
        }
    }
    if ((header->msg_flags & MSG_TRUNC) != 0) {
        e->counters.truncated++;
        length = 0;
    }
    header->msg_controllen = sizeof e->in_control[i];
    e->lengths[i] = length;
    e->segments[i] = segment;
}

/* One call for what there is, into the buffers that are free: one from each peer and twice as many as came
 * last time, and one.  Why not always all: each that is asked for has to be set up.  Why one more than is
 * expected: a call that is not filled says that there was no more.  False: nothing came. */
static bool fill(struct transport_udp_endpoint *e)
{
    uint32_t first = index_of(e->filled);
    uint32_t free_count = TRANSPORT_UDP_BUFFERS - (uint32_t)(e->filled - e->released);
    uint32_t room = (uint32_t)min_u64(free_count, TRANSPORT_UDP_BUFFERS - first);
    if (room == 0)
        return false;
    uint32_t wanted = (uint32_t)min_u64(room, (uint64_t)e->came * 2 + e->framed.peer_count + 1);
    int got = recvmmsg(e->framed.transport.wake_fd, e->in + first, wanted, MSG_DONTWAIT, NULL);
    e->framed.counters.calls_received++;
    e->came = got > 0 ? (uint32_t)got : 0;
    /* Why so: an error that is another's ends a call, too, and datagrams stand behind it. */
    e->framed.drained = got < 0 ? errno == EAGAIN : got < (int)wanted;
    if (got <= 0) {
        e->counters.receive_errors += got < 0 && errno != EAGAIN && errno != EINTR;
        return false;
    }
    for (uint32_t i = 0; i < (uint32_t)got; i++)
        buffer_filled(e, first + i);
    e->filled += (uint32_t)got;
    return true;
}

/* ---- frames ---- */

/* Whether there is a frame at hand; buffers that are cut up are passed. */
static bool at_hand(struct transport_udp_endpoint *e)
{
    while (e->current != e->filled && e->at >= e->lengths[index_of(e->current)]) {
        e->current++;
        e->at = 0;
    }
    return e->current != e->filled;
}

uint8_t *transport_udp_next(struct transport_framed_endpoint *framed, uint32_t *length)
{
    struct transport_udp_endpoint *e = transport_udp_of(framed);
    /* Why not until nothing comes: a last call for nothing would cost as much as the one before. */
    if (!at_hand(e) && (framed->drained || !fill(e) || !at_hand(e)))
        return NULL;
    uint32_t i = index_of(e->current);
    *length = e->length = (uint32_t)min_u64(e->segments[i], e->lengths[i] - e->at);
    return e->buffers + (uint64_t)i * e->buffer_bytes + e->at;
}

void transport_udp_pass(struct transport_framed_endpoint *framed)
{
    struct transport_udp_endpoint *e = transport_udp_of(framed);
    e->at += e->length;
}

void transport_udp_release(struct transport_framed_endpoint *framed)
{
    struct transport_udp_endpoint *e = transport_udp_of(framed);
    (void)at_hand(e);
    e->released = e->current;
}

bool transport_udp_sleep(struct transport_framed_endpoint *framed)
{
    struct transport_udp_endpoint *e = transport_udp_of(framed);
    /* Why one more call unless the last one emptied the socket: what arrives in an empty one is what wakes. */
    return !at_hand(e) && (framed->drained || !fill(e)) &&
           e->filled - e->released != TRANSPORT_UDP_BUFFERS;
}
