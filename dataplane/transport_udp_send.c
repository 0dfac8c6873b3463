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
    return &p->queue[position & (e->config.queue_frames - 1)];
}

/* Where the next frame begins: behind the last one, or at the begin of the memory.  Why packed: frames
 * that lie one behind the other are one piece for the kernel, and short ones few cache lines.  Room for
 * the longest frame is there for sure when the queue is not full: the memory has one more. */
static uint32_t room_at(const struct transport_udp_endpoint *e, const struct transport_udp_peer *p)
{
    if (p->tail == p->head)
        return 0;
    const struct transport_udp_frame *last = frame_at(e, p, p->tail - 1);
    uint32_t end = last->at + last->length;
    return end + e->slot_bytes <= p->frames_bytes ? end : 0;
}

/* ---- sealing ---- */

/* Content of a datagram from offset on, length bytes of it, zeros between and behind its parts. */
static void gather(const struct transport_datagram *d, uint32_t offset, uint8_t *to,
                   uint32_t length)
{
    uint32_t bytes_at = (uint32_t)align_up(d->head_length, 8);
    uint32_t end = offset + length;
    /* The zeros lie in the last 8 bytes, and in the 8 in front of the bytes: all ends are multiples. */
    if (length != 0)
        memset(to + length - 8, 0, 8);
    if (offset < bytes_at && end >= bytes_at)
        memset(to + (bytes_at - offset) - 8, 0, 8);
    if (offset < d->head_length)
        memcpy(to, d->head + offset, min_u64(d->head_length, end) - offset);
    uint32_t from = (uint32_t)max_u64(offset, bytes_at);
    uint32_t until = (uint32_t)min_u64(end, (uint64_t)bytes_at + d->length);
    if (from < until)
        memcpy(to + (from - offset), d->bytes + (from - bytes_at), until - from);
}

/* Bring what is sealed next into the cache while this is sealed.  Why by hand: a log is far away, and
 * the processor looks ahead neither past a page nor past what depends on it. */
static void prefetch(const uint8_t *bytes, uint32_t length)
{
    for (uint32_t at = 0; at < length; at += CACHE_LINE)
        __builtin_prefetch(bytes + at);
}

/* One fragment to the end of the queue. */
static bool seal(struct transport_udp_endpoint *e, struct transport_udp_peer *p,
                 const struct transport_datagram *d, struct frame_header *h)
{
    uint32_t bytes_at = (uint32_t)align_up(d->head_length, 8);
    uint32_t offset = (uint32_t)h->index * p->piece;
    uint32_t length = frame_payload(bytes_at + d->length, p->piece, h->index);
    uint32_t at = room_at(e, p);
    uint8_t *frame = p->frames + at;
    const uint8_t *in_place = NULL;
    /* Why not always: gathering costs a copy, and most fragments of a long datagram need none. */
    if (length != 0 && offset >= bytes_at && offset + length <= bytes_at + d->length) {
        in_place = d->bytes + (offset - bytes_at);
        prefetch(in_place + length,
                 (uint32_t)min_u64(p->piece, bytes_at + d->length - offset - length));
    } else {
        gather(d, offset, frame + FRAME_HEADER_BYTES, length);
    }
    h->nonce = ++p->nonce; /* used up even if it fails */
    if (!frame_seal(p->out, h, frame, in_place, length))
        return false;
    *frame_at(e, p, p->tail) =
        (struct transport_udp_frame){.at = at, .length = FRAME_HEADER_BYTES + length};
    p->tail++;
    e->queued++;
    return true;
}

/* All fragments of a datagram; there is room for them.  If the key is not set, those that were sealed
 * leave as they are: the datagram is lost on the way. */
static void seal_all(struct transport_udp_endpoint *e, struct transport_udp_peer *p,
                     const struct transport_datagram *d, uint32_t fragments)
{
    struct frame_header h = {
        .version = p->handshake.version,
        .flags = e->config.authentic_only ? 0 : FRAME_ENCRYPTED,
        .lcore = e->local.lcore,
        .key_id = e->secrets[0].key_id,
        .head_length = (uint16_t)d->head_length,
        .piece = (uint16_t)p->piece,
        .node = e->transport.node,
        .length = d->length,
        .cluster = e->local.cluster,
        .start = p->handshake.own.start,
    };
    for (uint32_t i = 0; i < fragments; i++) {
        h.index = (uint16_t)i;
        if (!seal(e, p, d, &h)) {
            e->counters.seal_failures++;
            return;
        }
    }
    e->counters.datagrams_sent++;
}

static bool has_room(const struct transport_udp_endpoint *e, const struct transport_udp_peer *p,
                     uint32_t frames)
{
    return p->tail - p->head + frames <= e->config.queue_frames;
}

static bool queue(struct transport_udp_endpoint *e, struct transport_udp_peer *p,
                  const struct transport_datagram *d)
{
    uint32_t fragments = frame_fragments(frame_content(d->head_length, d->length), p->piece);
    if (UNLIKELY(!has_room(e, p, fragments))) {
        transport_udp_flush(e);
        if (!has_room(e, p, fragments)) {
            e->counters.queue_full++;
            return false;
        }
    }
    if (UNLIKELY(p->nonce > FRAME_NONCE_MAX - fragments)) {
        e->counters.nonces_out++;
        return false;
    }
    seal_all(e, p, d, fragments);
    return true;
}

static bool take(struct transport_udp_endpoint *e, const struct transport_datagram *d)
{
    ASSERT(d->head_length <= TRANSPORT_HEAD_MAX && d->length <= e->transport.length_max &&
           (d->bytes != NULL || d->length == 0));
    struct transport_udp_peer *p = transport_udp_find(e, d->to);
    if (UNLIKELY(p == NULL))
        return false;
    if (UNLIKELY(d->bytes != NULL && e->holds_tail - e->holds_head == TRANSPORT_UDP_HOLDS)) {
        e->counters.queue_full++;
        return false;
    }
    if (UNLIKELY(!p->handshake.up))
        e->counters.not_up++;
    else if (!queue(e, p, d))
        return false;
    if (d->bytes != NULL)
        e->holds[e->holds_tail++ & (TRANSPORT_UDP_HOLDS - 1)] = d->hold;
    return true;
}

uint32_t transport_udp_send(struct transport *t, const struct transport_datagram *datagrams,
                            uint32_t count)
{
    struct transport_udp_endpoint *e = transport_udp_endpoint_of(t);
    uint32_t taken = 0;
    uint32_t left = 0; /* frames that could not leave: they are no reason to try again */
    for (; taken < count && take(e, &datagrams[taken]); taken++) {
        if (e->queued < left + TRANSPORT_UDP_FLUSH_FRAMES)
            continue;
        /* Why not behind the burst: what was sealed last is in the cache, and the peer begins sooner. */
        transport_udp_flush(e);
        left = e->queued;
    }
    return taken;
}

uint32_t transport_udp_complete(struct transport *t, uint64_t *holds, uint32_t count)
{
    struct transport_udp_endpoint *e = transport_udp_endpoint_of(t);
    uint32_t got = 0;
    transport_udp_flush(e);
    for (; got < count && e->holds_head != e->holds_tail; got++)
        holds[got] = e->holds[e->holds_head++ & (TRANSPORT_UDP_HOLDS - 1)];
    return got;
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
    uint32_t segment = p->sending != p->tail ? frame_at(e, p, p->sending)->length : 0;
    uint32_t last = segment;
    const uint8_t *end = NULL;
    *part_count = 0;
    while (message.frames < frames_max && p->sending != p->tail && pacing_may_send(&p->pacing)) {
        const struct transport_udp_frame *f = frame_at(e, p, p->sending);
        if (last != segment || f->length > segment ||
            message.bytes + f->length > TRANSPORT_UDP_MESSAGE_BYTES)
            break;
        if (p->frames + f->at == end)
            parts[*part_count - 1].iov_len += f->length;
        else
            parts[(*part_count)++] =
                (struct iovec){.iov_base = p->frames + f->at, .iov_len = f->length};
        end = p->frames + f->at + f->length;
        p->sending++;
        pacing_sent(&p->pacing, f->length);
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
    uint32_t count = 0;
    for (uint32_t i = 0; i < e->peer_count && count < TRANSPORT_UDP_BATCH; i++) {
        struct transport_udp_peer *p = e->peers[e->turn];
        e->turn = e->turn + 1 >= e->peer_count ? 0 : e->turn + 1;
        while (count < TRANSPORT_UDP_BATCH && message_build(e, p, count))
            count++;
    }
    return count;
}

/* A message left, or is given up. */
static void message_done(struct transport_udp_endpoint *e, uint32_t m)
{
    struct transport_udp_peer *p = e->messages[m].peer;
    p->head += e->messages[m].frames;
    e->queued -= e->messages[m].frames;
    /* Why: a queue that is empty begins at memory that is still in the cache. */
    if (p->head == p->tail)
        p->head = p->sending = p->tail = 0;
}

/* Messages from m on stay in their queues. */
static void batch_undo(struct transport_udp_endpoint *e, uint32_t m, uint32_t count)
{
    for (; m < count; m++) {
        struct transport_udp_peer *p = e->messages[m].peer;
        p->sending = p->head;
        pacing_unsent(&p->pacing, e->messages[m].bytes);
    }
}

/* The kernel did not take message m.  Returns whether to go on behind it. */
static bool message_failed(struct transport_udp_endpoint *e, uint32_t m, uint32_t count, int error)
{
    struct transport_udp_message *message = &e->messages[m];
    if (error == EAGAIN || error == ENOBUFS || error == ENOMEM) {
        e->counters.send_retries++;
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
    e->counters.send_errors += message->frames;
    message_done(e, m);
    return true;
}

/* As sendmmsg.  Why another call for one: that one alone costs less. */
static int messages_send(struct transport_udp_endpoint *e, uint32_t m, uint32_t count)
{
    int fd = e->transport.wake_fd;
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
        e->counters.calls_sent++;
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0) {
            if (!message_failed(e, m, count, errno))
                return m;
            m++;
            continue;
        }
        for (int i = 0; i < sent; i++, m++) {
            e->counters.frames_sent += e->messages[m].frames;
            e->counters.bytes_sent += e->messages[m].bytes;
            message_done(e, m);
        }
    }
    return count;
}

void transport_udp_flush(struct transport_udp_endpoint *e)
{
    if (e->queued == 0)
        return;
    if (e->config.rate != 0) {
        uint64_t now = transport_udp_now(e);
        for (uint32_t i = 0; i < e->peer_count; i++)
            pacing_tick(&e->peers[i]->pacing, now);
    }
    for (bool again = true; again && e->queued != 0;) {
        uint64_t offload_errors = e->counters.offload_errors;
        uint32_t count = batch_build(e);
        /* Once more when that peer is to be reached without offload. */
        again = count != 0 &&
                (batch_send(e, count) == count || e->counters.offload_errors != offload_errors);
    }
}
