#include "dataplane/transport_framed.h"

#include <string.h>

/* A proof, little-endian:
 *
 *    0   8  nonce
 *    8   2  key id
 *   10   6  0
 *   16  16  tag, over a header with FRAME_RANGE and the bytes (frame_range_seal) */
#define KEY_ID_AT 8u
#define ZERO_AT 10u
#define TAG_AT 16u
_Static_assert(TAG_AT + FRAME_TAG_BYTES == GRANT_PROOF_BYTES, "proof of a range");

static void put(uint8_t *bytes, uint64_t v, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get(const uint8_t *bytes, uint32_t length)
{
    uint64_t v = 0;
    for (uint32_t i = 0; i < length; i++)
        v |= (uint64_t)bytes[i] << (8 * i);
    return v;
}

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
    *proof = (struct grant_proof){.bytes = {0}};
    put(proof->bytes, h.nonce, 8);
    put(proof->bytes + KEY_ID_AT, h.key_id, 2);
    if (!frame_range_seal(p->out, &h, &bytes, proof->bytes + TAG_AT)) {
        e->counters.seal_failures++;
        return false;
    }
    /* Why: what a key has sealed is counted in its longest frames, and a range may be as long as some of them. */
    p->sealed_long += range->length / p->frame_bytes;
    e->counters.ranges_proven++;
    return true;
}

static bool is_proven(struct transport_framed_endpoint *e, uint32_t node,
                      const struct grant_range *range, const struct grant_proof *proof)
{
    struct transport_framed_peer *p = transport_framed_find(e, node);
    if (p == NULL || !p->handshake.up || !is_sound(range) || get(proof->bytes + ZERO_AT, 6) != 0)
        return false;
    const struct frame_octets bytes = {.bytes = range->bytes, .length = range->length};
    uint16_t key_id = (uint16_t)get(proof->bytes + KEY_ID_AT, 2);
    uint32_t secret = transport_framed_secret_find(e, p, key_id);
    if (secret == FRAME_SECRETS_MAX)
        return false;
    struct frame_header h = header_of(e, p, false);
    h.key_id = key_id;
    h.length = range->length;
    h.nonce = get(proof->bytes, 8);
    return h.nonce != 0 && h.nonce <= FRAME_NONCE_MAX &&
           frame_range_open(p->in[secret], &h, &bytes, proof->bytes + TAG_AT);
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
