#include "dataplane/transport_framed.h"

#include <string.h>

/* ---- frames ---- */

static enum frame_refusal open_with(struct transport_framed_endpoint *e,
                                    struct transport_framed_peer *p, uint8_t *frame,
                                    uint32_t length)
{
    const struct frame_header *h = &e->header;
    uint32_t payload = length - FRAME_HEADER_BYTES;
    uint32_t secret = transport_framed_secret_find(e, p, h->key_id);
    if (secret == FRAME_SECRETS_MAX)
        return FRAME_UNKNOWN_KEY;
    if (UNLIKELY((h->flags & FRAME_HELLO) != 0))
        return transport_framed_pair_hello(e, p, h, frame, payload);
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
static enum frame_refusal open_frame(struct transport_framed_endpoint *e, uint8_t *frame,
                                     uint32_t length)
{
    enum frame_refusal refusal = frame_header_decode(&e->header, frame, length, &e->local);
    if (refusal != FRAME_TAKEN)
        return refusal;
    e->from = transport_framed_find(e, e->header.node);
    return e->from == NULL ? FRAME_UNKNOWN_PEER : open_with(e, e->from, frame, length);
}

/* Content where transport.h wants it.  Why what is in front may be overwritten: it is the frame's header, which was
 * decoded, or nothing. */
static const uint8_t *aligned(uint8_t *content, uint32_t length)
{
    uint32_t past = (uint32_t)((uintptr_t)content % 8);
    if (LIKELY(past == 0))
        return content;
    memmove(content - past, content, length);
    return content - past;
}

static void give(struct transport_framed_endpoint *e, struct transport_received *r,
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
static int deliver(struct transport_framed_endpoint *e, uint64_t now, struct transport_received *r)
{
    const struct frame_header *h = &e->header;
    uint8_t *payload = e->frame + FRAME_HEADER_BYTES;
    struct fragments_place *place;
    if (frame_content(h->head_length, h->length) <= h->piece) {
        give(e, r, aligned(payload, e->frame_length - FRAME_HEADER_BYTES));
        return 1;
    }
    if (e->whole_count == TRANSPORT_FRAMED_WHOLE)
        return -EBUSY;
    int whole = fragments_take(&e->from->fragments, h, payload, now, &place);
    if (whole == 1) {
        e->whole[e->whole_count++] =
            (struct transport_framed_whole){.fragments = &e->from->fragments, .place = place};
        give(e, r, place->bytes);
    }
    return whole;
}

/* The frame at hand; leaves it there if it has to wait (-EBUSY), goes on behind it otherwise. */
static int take(struct transport_framed_endpoint *e, uint64_t now, struct transport_received *r)
{
    int taken = 0;
    if (!e->opened) {
        enum frame_refusal refusal = open_frame(e, e->frame, e->frame_length);
        e->counters.refused[refusal]++;
        e->opened = refusal == FRAME_TAKEN && (e->header.flags & FRAME_HELLO) == 0;
    }
    if (e->opened)
        taken = deliver(e, now, r);
    if (taken < 0)
        return taken;
    e->opened = false;
    e->frame = NULL;
    e->body->pass(e);
    return taken;
}

/* Whether there is a frame at hand. */
static bool at_hand(struct transport_framed_endpoint *e)
{
    if (e->frame == NULL)
        e->frame = e->body->next(e, &e->frame_length);
    return e->frame != NULL;
}

uint32_t transport_framed_receive(struct transport *t, struct transport_received *received,
                                  uint32_t count)
{
    struct transport_framed_endpoint *e = transport_framed_endpoint_of(t);
    uint64_t now = transport_framed_now(e);
    uint32_t got = 0;
    transport_framed_flush(e);
    transport_framed_pair_tick(e, now);
    e->receive_at = now;
    e->drained = false;
    while (got < count && at_hand(e)) {
        int taken = take(e, now, &received[got]);
        if (taken < 0)
            break;
        got += (uint32_t)taken;
    }
    return got;
}

void transport_framed_release(struct transport *t)
{
    struct transport_framed_endpoint *e = transport_framed_endpoint_of(t);
    while (e->whole_count != 0) {
        const struct transport_framed_whole *w = &e->whole[--e->whole_count];
        fragments_release(w->fragments, w->place);
    }
    e->body->release(e);
}

bool transport_framed_sleep(struct transport *t)
{
    struct transport_framed_endpoint *e = transport_framed_endpoint_of(t);
    transport_framed_flush(e);
    /* Why a millisecond: nobody who sleeps wakes sooner, and the pace would not be kept. */
    if (e->queued != 0 && transport_framed_deadline(t) < transport_framed_now(e) + NS_PER_MS)
        return false;
    return e->holds_head == e->holds_tail && e->frame == NULL && e->body->sleep(e);
}
