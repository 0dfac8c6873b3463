#include "dataplane/transport_framed.h"

#include <string.h>

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

/* The bytes that end a fragment, where nothing stands behind them in it; none: {NULL, 0}. */
static struct frame_octets rest_of(const struct transport_datagram *d, uint32_t offset,
                                   uint32_t length)
{
    uint32_t bytes_at = (uint32_t)align_up(d->head_length, 8);
    uint32_t from = (uint32_t)max_u64(offset, bytes_at);
    uint32_t end = offset + length;
    if (from >= end || end > bytes_at + d->length)
        return (struct frame_octets){.length = 0};
    return (struct frame_octets){.bytes = d->bytes + (from - bytes_at), .length = end - from};
}

/* One fragment to the end of the queue. */
static bool seal(struct transport_framed_endpoint *e, struct transport_framed_peer *p,
                 const struct transport_datagram *d, struct frame_header *h)
{
    uint32_t content = frame_content(d->head_length, d->length);
    uint32_t offset = (uint32_t)h->index * p->piece;
    uint32_t length = frame_payload(content, p->piece, h->index);
    uint8_t *frame = e->body->room(e, p);
    struct frame_octets rest = rest_of(d, offset, length);
    bool sealed;
    h->nonce = ++p->nonce; /* used up even if it fails */
    if (e->chains && rest.length >= e->chain_bytes && e->body->chain(e, &rest)) {
        length -= (uint32_t)rest.length;
        gather(d, offset, frame + FRAME_HEADER_BYTES, length);
        sealed = frame_seal_split(p->out, h, frame, length, &rest);
    } else if (length != 0 && rest.length == length) {
        /* Why not always: gathering costs a copy, and most fragments of a long datagram need none. */
        prefetch(rest.bytes + length, (uint32_t)min_u64(p->piece, content - offset - length));
        sealed = frame_seal(p->out, h, frame, rest.bytes, length);
    } else {
        gather(d, offset, frame + FRAME_HEADER_BYTES, length);
        sealed = frame_seal(p->out, h, frame, NULL, length);
    }
    if (!sealed)
        return false;
    e->body->queued(e, p, FRAME_HEADER_BYTES + length);
    p->tail++;
    e->queued++;
    return true;
}

/* All fragments of a datagram; there is room for them.  If the key is not set, those that were sealed
 * leave as they are: the datagram is lost on the way. */
static void seal_all(struct transport_framed_endpoint *e, struct transport_framed_peer *p,
                     const struct transport_datagram *d, uint32_t fragments)
{
    struct frame_header h = {
        .version = p->handshake.version,
        .flags = e->config.authentic_only ? 0 : FRAME_ENCRYPTED,
        .lcore = e->local.lcore,
        .key_id = p->key_id,
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

static bool has_room(const struct transport_framed_endpoint *e,
                     const struct transport_framed_peer *p, uint32_t frames)
{
    return p->tail - p->head + frames <= e->config.queue_frames;
}

static bool queue(struct transport_framed_endpoint *e, struct transport_framed_peer *p,
                  const struct transport_datagram *d)
{
    uint32_t fragments = frame_fragments(frame_content(d->head_length, d->length), p->piece);
    if (UNLIKELY(!has_room(e, p, fragments))) {
        transport_framed_flush(e);
        if (!has_room(e, p, fragments)) {
            e->counters.queue_full++;
            return false;
        }
    }
    if (UNLIKELY(e->body->reserve != NULL && !e->body->reserve(e, p, fragments))) {
        e->counters.queue_full++;
        return false;
    }
    if (UNLIKELY(p->nonce > FRAME_NONCE_MAX - fragments)) {
        e->counters.nonces_out++;
        return false;
    }
    e->chains = d->length >= e->chain_bytes && e->body->chain_begin(e, d);
    seal_all(e, p, d, fragments);
    return true;
}

static bool take(struct transport_framed_endpoint *e, const struct transport_datagram *d)
{
    ASSERT(d->head_length <= TRANSPORT_HEAD_MAX && d->length <= e->transport.length_max &&
           (d->bytes != NULL || d->length == 0));
    struct transport_framed_peer *p = transport_framed_find(e, d->to);
    if (UNLIKELY(p == NULL))
        return false;
    if (UNLIKELY(d->bytes != NULL && e->holds_tail - e->holds_head == TRANSPORT_FRAMED_HOLDS)) {
        e->counters.queue_full++;
        return false;
    }
    if (UNLIKELY(!p->handshake.up))
        e->counters.not_up++;
    else if (!queue(e, p, d))
        return false;
    if (UNLIKELY(e->chains)) {
        e->chains = false;
        e->body->chain_end(e);
    } else if (d->bytes != NULL) {
        e->holds[e->holds_tail++ & (TRANSPORT_FRAMED_HOLDS - 1)] = d->hold;
    }
    return true;
}

uint32_t transport_framed_send(struct transport *t, const struct transport_datagram *datagrams,
                               uint32_t count)
{
    struct transport_framed_endpoint *e = transport_framed_endpoint_of(t);
    uint32_t taken = 0;
    uint32_t left = 0; /* frames that could not leave: they are no reason to try again */
    for (; taken < count && take(e, &datagrams[taken]); taken++) {
        if (e->queued < left + TRANSPORT_FRAMED_FLUSH_FRAMES)
            continue;
        /* Why not behind the burst: what was sealed last is in the cache, and the peer begins sooner. */
        transport_framed_flush(e);
        left = e->queued;
    }
    return taken;
}

uint32_t transport_framed_complete(struct transport *t, uint64_t *holds, uint32_t count)
{
    struct transport_framed_endpoint *e = transport_framed_endpoint_of(t);
    uint32_t got = 0;
    transport_framed_flush(e);
    for (; got < count && e->holds_head != e->holds_tail; got++)
        holds[got] = e->holds[e->holds_head++ & (TRANSPORT_FRAMED_HOLDS - 1)];
    if (got < count && e->body->complete != NULL)
        got += e->body->complete(e, holds + got, count - got);
    return got;
}

void transport_framed_flush(struct transport_framed_endpoint *e)
{
    if (e->queued == 0)
        return;
    if (e->config.rate != 0) {
        uint64_t now = transport_framed_now(e);
        for (uint32_t i = 0; i < e->peer_count; i++)
            pacing_tick(&e->peers[i]->pacing, now);
    }
    e->body->flush(e);
}
