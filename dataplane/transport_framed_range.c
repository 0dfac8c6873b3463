#include "dataplane/transport_framed.h"

#include <string.h>

/* A proof as it travels. */
struct wire {
    uint64_t nonce;
    uint16_t key_id;
    uint16_t zero[3];
    uint8_t
        tag[FRAME_TAG_BYTES]; /* over a header with FRAME_RANGE and the bytes (frame_range_seal) */
};
_Static_assert(sizeof(struct wire) == GRANT_PROOF_BYTES, "proof of a range");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a copy of struct wire is its encoding");

/* What both ends know of each other, so that a proof is good for these two starts and this lcore alone.  (The key
 * is, too.) */
static struct frame_header header_of(const struct transport_framed_endpoint *e,
                                     const struct transport_framed_peer *p, bool own)
{
    const struct handshake *h = &p->handshake;
    return (struct frame_header){
        .version = h->version,
        .flags = FRAME_RANGE,
        .lcore = e->local.lcore,
        .node = own ? e->transport.node : p->node,
        .cluster = e->local.cluster,
        .start = own ? h->own.start : h->peer_start,
    };
}

static bool is_sound(const struct grant_range *range)
{
    return range->length != 0 && range->length <= FRAME_LENGTH_MAX;
}

bool transport_framed_prove(struct transport *t, uint32_t node, const struct grant_range *range,
                            struct grant_proof *proof)
{
    struct transport_framed_endpoint *e = transport_framed_endpoint_of(t);
    struct transport_framed_peer *p = transport_framed_find(e, node);
    if (UNLIKELY(p == NULL || !p->handshake.up || !is_sound(range)))
        return false;
    if (UNLIKELY(p->nonce >= FRAME_NONCE_MAX)) {
        e->counters.nonces_out++;
        return false;
    }
    const struct frame_octets bytes = {.bytes = range->bytes, .length = range->length};
    struct frame_header h = header_of(e, p, true);
    h.key_id = p->key_id;
    h.length = range->length;
    h.nonce = ++p->nonce; /* used up even if it fails */
    struct wire w = {.nonce = h.nonce, .key_id = h.key_id};
    if (!frame_range_seal(p->out, &h, &bytes, w.tag)) {
        e->counters.seal_failures++;
        return false;
    }
    memcpy(proof->bytes, &w, sizeof w);
    /* Why: what a key has sealed is counted in its longest frames, and a range may be as long as some of them. */
    p->sealed_long += range->length / p->frame_bytes;
    e->counters.ranges_proven++;
    return true;
}

static bool is_proven(struct transport_framed_endpoint *e, uint32_t node,
                      const struct grant_range *range, const struct grant_proof *proof)
{
    struct transport_framed_peer *p = transport_framed_find(e, node);
    struct wire w;
    memcpy(&w, proof->bytes, sizeof w);
    if (p == NULL || !p->handshake.up || !is_sound(range) ||
        (w.zero[0] | w.zero[1] | w.zero[2]) != 0)
        return false;
    const struct frame_octets bytes = {.bytes = range->bytes, .length = range->length};
    uint32_t secret = transport_framed_secret_find(e, p, w.key_id);
    if (secret == FRAME_SECRETS_MAX)
        return false;
    struct frame_header h = header_of(e, p, false);
    h.key_id = w.key_id;
    h.length = range->length;
    h.nonce = w.nonce;
    return h.nonce != 0 && h.nonce <= FRAME_NONCE_MAX &&
           frame_range_open(p->in[secret], &h, &bytes, w.tag);
}

bool transport_framed_proves(struct transport *t, uint32_t node, const struct grant_range *range,
                             const struct grant_proof *proof)
{
    struct transport_framed_endpoint *e = transport_framed_endpoint_of(t);
    bool proven = is_proven(e, node, range, proof);
    e->counters.ranges_taken += proven;
    e->counters.ranges_refused += !proven;
    return proven;
}
