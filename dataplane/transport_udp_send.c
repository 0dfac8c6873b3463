#include "dataplane/transport_udp.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

static struct transport_udp_frame *frame_at(const struct transport_udp_endpoint *e,
                                            const struct transport_udp_peer *p, uint32_t position)
{
    return &p->queue[position & (e->framed.config.queue_frames - 1)];
}

/* Where the next frame begins: behind the last one, or at the begin of the memory.  Why packed: frames
 * that lie one behind the other are one piece for the kernel, and short ones few cache lines.  Room for
 * the longest frame is there for sure when the queue is not full: the memory has one more. */
static uint32_t room_at(const struct transport_udp_endpoint *e, const struct transport_udp_peer *p)
{
    const struct transport_framed_peer *f = &p->framed;
    if (f->tail == f->head)
        return 0;
    const struct transport_udp_frame *last = frame_at(e, p, f->tail - 1);
    uint32_t end = last->at + last->length;
    return end + e->framed.slot_bytes <= p->frames_bytes ? end : 0;
}

uint8_t *transport_udp_room(struct transport_framed_endpoint *framed,
                            struct transport_framed_peer *peer)
{
    struct transport_udp_peer *p = transport_udp_peer_of(peer);
    p->room = room_at(transport_udp_of(framed), p);
    return p->frames + p->room;
}

void transport_udp_queued(struct transport_framed_endpoint *framed,
                          struct transport_framed_peer *peer, uint32_t length)
{
    struct transport_udp_peer *p = transport_udp_peer_of(peer);
    *frame_at(transport_udp_of(framed), p, peer->tail) =
        (struct transport_udp_frame){.at = p->room, .length = length};
}

bool transport_udp_send_beside(struct transport_framed_endpoint *framed,
                               struct transport_framed_peer *peer, const uint8_t *frame,
                               uint32_t length)
{
    struct transport_udp_peer *p = transport_udp_peer_of(peer);
    framed->counters.calls_sent++;
    return sendto(framed->transport.wake_fd, frame, length, 0, (const struct sockaddr *)&p->address,
                  p->address_length) == (ssize_t)length;
}

/* ---- batches ---- */

static void control_set(struct transport_udp_endpoint *e, uint32_t m, uint16_t segment)
{
    struct msghdr *header = &e->out[m].msg_hdr;
    header->msg_control = &e->out_control[m];
    header->msg_controllen = CMSG_SPACE(sizeof segment);
    struct cmsghdr *c = CMSG_FIRSTHDR(header);
    c->cmsg_level = SOL_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof segment);
    memcpy(CMSG_DATA(c), &segment, sizeof segment);
}

/* The next frames of a peer that fit one message: as long as the first, and at last a shorter one. */
static struct transport_udp_message message_gather(struct transport_udp_endpoint *e,
                                                   struct transport_udp_peer *p,
                                                   struct iovec *parts, uint32_t *part_count)
{
    struct transport_udp_message message = {.peer = p};
    uint32_t frames_max = p->offload ? TRANSPORT_UDP_SEGMENTS : 1;
    uint32_t segment =
        p->framed.sending != p->framed.tail ? frame_at(e, p, p->framed.sending)->length : 0;
    uint32_t last = segment;
    const uint8_t *end = NULL;
    *part_count = 0;
    while (message.frames < frames_max && p->framed.sending != p->framed.tail &&
           pacing_may_send(&p->framed.pacing)) {
        const struct transport_udp_frame *f = frame_at(e, p, p->framed.sending);
        if (last != segment || f->length > segment ||
            message.bytes + f->length > TRANSPORT_UDP_MESSAGE_BYTES)
            break;
        if (p->frames + f->at == end)
            parts[*part_count - 1].iov_len += f->length;
        else
            parts[(*part_count)++] =
                (struct iovec){.iov_base = p->frames + f->at, .iov_len = f->length};
        end = p->frames + f->at + f->length;
        p->framed.sending++;
        pacing_sent(&p->framed.pacing, f->length);
        message.frames++;
        message.bytes += f->length;
        last = f->length;
    }
    message.segment = segment;
    return message;
}

static bool message_build(struct transport_udp_endpoint *e, struct transport_udp_peer *p,
                          uint32_t m)
{
    uint32_t part_count;
    e->messages[m] = message_gather(e, p, e->out_parts[m], &part_count);
    if (e->messages[m].frames == 0)
        return false;
    e->out[m].msg_hdr = (struct msghdr){
        .msg_name = &p->address,
        .msg_namelen = p->address_length,
        .msg_iov = e->out_parts[m],
        .msg_iovlen = part_count,
    };
    if (e->messages[m].frames > 1)
        control_set(e, m, (uint16_t)e->messages[m].segment);
    return true;
}

/* Messages for all peers in turn, as many as fit one call. */
static uint32_t batch_build(struct transport_udp_endpoint *e)
{
    struct transport_framed_endpoint *f = &e->framed;
    uint32_t count = 0;
    for (uint32_t i = 0; i < f->peer_count && count < TRANSPORT_UDP_BATCH; i++) {
        struct transport_udp_peer *p = transport_udp_peer_of(transport_framed_turn(f));
        while (count < TRANSPORT_UDP_BATCH && message_build(e, p, count))
            count++;
    }
    return count;
}

/* A message left, or is given up. */
static void message_done(struct transport_udp_endpoint *e, uint32_t m)
{
    transport_framed_left(&e->framed, &e->messages[m].peer->framed, e->messages[m].frames);
}

/* Messages from m on stay in their queues. */
static void batch_undo(struct transport_udp_endpoint *e, uint32_t m, uint32_t count)
{
    for (; m < count; m++) {
        struct transport_udp_peer *p = e->messages[m].peer;
        p->framed.sending = p->framed.head;
        pacing_unsent(&p->framed.pacing, e->messages[m].bytes);
    }
}

/* The kernel did not take message m.  Returns whether to go on behind it. */
static bool message_failed(struct transport_udp_endpoint *e, uint32_t m, uint32_t count, int error)
{
    struct transport_udp_message *message = &e->messages[m];
    if (error == EAGAIN || error == ENOBUFS || error == ENOMEM) {
        e->framed.counters.send_retries++;
        batch_undo(e, m, count);
        return false;
    }
    /* Why: routes without checksum offload, and paths narrower than a frame, carry single frames. */
    if (message->frames > 1 && (error == EIO || error == EINVAL || error == EMSGSIZE)) {
        e->counters.offload_errors++;
        message->peer->offload = false;
        batch_undo(e, m, count);
        return false;
    }
    e->framed.counters.send_errors += message->frames;
    message_done(e, m);
    return true;
}

/* As sendmmsg.  Why another call for one: that one alone costs less. */
static int messages_send(struct transport_udp_endpoint *e, uint32_t m, uint32_t count)
{
    int fd = e->framed.transport.wake_fd;
    if (count - m > 1)
        return sendmmsg(fd, e->out + m, count - m, MSG_DONTWAIT);
    return sendmsg(fd, &e->out[m].msg_hdr, MSG_DONTWAIT) < 0 ? -1 : 1;
}

/* Returns how many messages were seen to; the rest is back in the queues. */
static uint32_t batch_send(struct transport_udp_endpoint *e, uint32_t count)
{
    uint32_t m = 0;
    while (m < count) {
        int sent = messages_send(e, m, count);
        e->framed.counters.calls_sent++;
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0) {
            if (!message_failed(e, m, count, errno))
                return m;
            m++;
            continue;
        }
        for (int i = 0; i < sent; i++, m++) {
            e->framed.counters.frames_sent += e->messages[m].frames;
            e->framed.counters.bytes_sent += e->messages[m].bytes;
            message_done(e, m);
        }
    }
    return count;
}

void transport_udp_flush(struct transport_framed_endpoint *framed)
{
    struct transport_udp_endpoint *e = transport_udp_of(framed);
    for (bool again = true; again && framed->queued != 0;) {
        uint64_t offload_errors = e->counters.offload_errors;
        uint32_t count = batch_build(e);
        /* Once more when that peer is to be reached without offload. */
        again = count != 0 &&
                (batch_send(e, count) == count || e->counters.offload_errors != offload_errors);
    }
}
