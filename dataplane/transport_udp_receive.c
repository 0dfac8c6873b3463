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
    uint32_t wanted = (uint32_t)min_u64(room, (uint64_t)e->came * 2 + e->peer_count + 1);
    int got = recvmmsg(e->transport.wake_fd, e->in + first, wanted, MSG_DONTWAIT, NULL);
    e->counters.calls_received++;
    e->came = got > 0 ? (uint32_t)got : 0;
    e->drained = got < (int)wanted;
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

static enum frame_refusal open_with(struct transport_udp_endpoint *e, struct transport_udp_peer *p,
                                    uint8_t *frame, uint32_t length)
{
    const struct frame_header *h = &e->header;
    uint32_t payload = length - FRAME_HEADER_BYTES;
    uint32_t secret = transport_udp_secret_find(e, h->key_id);
    if (secret == FRAME_SECRETS_MAX)
        return FRAME_UNKNOWN_KEY;
    if (UNLIKELY((h->flags & FRAME_HELLO) != 0))
        return transport_udp_pair_hello(e, p, h, frame, payload);
    if (!p->handshake.up)
        return FRAME_NOT_UP;
    if (h->start != p->handshake.peer_start)
        return FRAME_OTHER_START;
    if (h->version != p->handshake.version)
        return h->version < p->handshake.version ? FRAME_VERSION_OLDER : FRAME_VERSION_NEWER;
    enum frame_refusal refusal = frame_window_check(&p->windows[secret], h->nonce);
    if (refusal != FRAME_TAKEN)
        return refusal;
    if (!frame_open(p->in[secret], h, frame, payload))
        return FRAME_WRONG_TAG;
    frame_window_mark(&p->windows[secret], h->nonce);
    p->heard_at = e->receive_at;
    return frame_is_sound(h, payload) ? FRAME_TAKEN : FRAME_MALFORMED;
}

/* Judge and open the frame; header and from are set when it is taken and no HELLO. */
static enum frame_refusal open_frame(struct transport_udp_endpoint *e, uint8_t *frame,
                                     uint32_t length)
{
    enum frame_refusal refusal = frame_header_decode(&e->header, frame, length, &e->local);
    if (refusal != FRAME_TAKEN)
        return refusal;
    e->from = transport_udp_find(e, e->header.node);
    return e->from == NULL ? FRAME_UNKNOWN_PEER : open_with(e, e->from, frame, length);
}

static void give(struct transport_udp_endpoint *e, struct transport_received *r,
                 const uint8_t *content)
{
    const struct frame_header *h = &e->header;
    *r = (struct transport_received){
        .from = h->node,
        .head_length = h->head_length,
        .head = content,
        .bytes = h->length != 0 ? content + align_up(h->head_length, 8) : NULL,
        .length = h->length,
    };
    e->counters.datagrams_received++;
}

/* The datagram of the frame that was opened: 1 given, 0 not whole, -EBUSY no place before release. */
static int deliver(struct transport_udp_endpoint *e, const uint8_t *frame, uint64_t now,
                   struct transport_received *r)
{
    const struct frame_header *h = &e->header;
    struct fragments_place *place;
    if (frame_content(h->head_length, h->length) <= h->piece) {
        give(e, r, frame + FRAME_HEADER_BYTES);
        return 1;
    }
    if (e->whole_count == TRANSPORT_UDP_WHOLE)
        return -EBUSY;
    int whole = fragments_take(&e->from->fragments, h, frame + FRAME_HEADER_BYTES, now, &place);
    if (whole == 1) {
        e->whole[e->whole_count++] =
            (struct transport_udp_whole){.fragments = &e->from->fragments, .place = place};
        give(e, r, place->bytes);
    }
    return whole;
}

/* The frame at hand; leaves it there if it has to wait (-EBUSY), goes on behind it otherwise. */
static int take(struct transport_udp_endpoint *e, uint64_t now, struct transport_received *r)
{
    uint32_t i = index_of(e->current);
    uint32_t length = (uint32_t)min_u64(e->segments[i], e->lengths[i] - e->at);
    uint8_t *frame = e->buffers + (uint64_t)i * e->buffer_bytes + e->at;
    /* Why: frames are multiples of 8; what the kernel put behind a stranger's is not where it should
     * be, and what it overwrites can be no frame that was taken. */
    if (UNLIKELY(e->at % 8 != 0)) {
        uint8_t *down = frame - e->at % 8;
        if (!e->opened)
            memmove(down, frame, length);
        frame = down;
    }
    int taken = 0;
    if (!e->opened) {
        enum frame_refusal refusal = open_frame(e, frame, length);
        e->counters.refused[refusal]++;
        e->opened = refusal == FRAME_TAKEN && (e->header.flags & FRAME_HELLO) == 0;
    }
    if (e->opened)
        taken = deliver(e, frame, now, r);
    if (taken < 0)
        return taken;
    e->opened = false;
    e->at += length;
    return taken;
}

/* Whether there is a frame at hand; buffers that are cut up are passed. */
static bool at_hand(struct transport_udp_endpoint *e)
{
    while (e->current != e->filled && e->at >= e->lengths[index_of(e->current)]) {
        e->current++;
        e->at = 0;
    }
    return e->current != e->filled;
}

uint32_t transport_udp_receive(struct transport *t, struct transport_received *received,
                               uint32_t count)
{
    struct transport_udp_endpoint *e = transport_udp_endpoint_of(t);
    uint64_t now = transport_udp_now(e);
    uint32_t got = 0;
    transport_udp_flush(e);
    transport_udp_pair_tick(e, now);
    e->receive_at = now;
    e->drained = false;
    /* Why not until nothing comes: a last call for nothing would cost as much as the one before. */
    while (got < count && (at_hand(e) || (!e->drained && fill(e) && at_hand(e)))) {
        int taken = take(e, now, &received[got]);
        if (taken < 0)
            break;
        got += (uint32_t)taken;
    }
    return got;
}

void transport_udp_release(struct transport *t)
{
    struct transport_udp_endpoint *e = transport_udp_endpoint_of(t);
    while (e->whole_count != 0) {
        const struct transport_udp_whole *w = &e->whole[--e->whole_count];
        fragments_release(w->fragments, w->place);
    }
    (void)at_hand(e);
    e->released = e->current;
}

bool transport_udp_sleep(struct transport *t)
{
    struct transport_udp_endpoint *e = transport_udp_endpoint_of(t);
    transport_udp_flush(e);
    /* Why a millisecond: nobody who sleeps wakes sooner, and the pace would not be kept. */
    if (e->queued != 0 && transport_udp_deadline(t) < transport_udp_now(e) + NS_PER_MS)
        return false;
    /* Why the last one: what arrives behind it finds the socket empty, which is what wakes. */
    return e->holds_head == e->holds_tail && !at_hand(e) && !fill(e) &&
           e->filled - e->released != TRANSPORT_UDP_BUFFERS;
}
