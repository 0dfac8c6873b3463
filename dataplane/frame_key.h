/* frame_key - keys of frames: where they come from, and sealing and opening with them.
 *
 * Edge: keys are derived by libcrypto; frames are sealed and opened by libipsec-mb, which DPDK uses
 * for the same.  Why not libcrypto for both: a frame of 1,400 bytes takes it 540 ns and this 120, an
 * empty one 200 and 40.  A key belongs to the lcore that seals or opens with it.  It is made at set-up,
 * and another one may be put in its place; per frame only the nonce changes and nothing is allocated.
 *
 * Keys come out of a secret by HKDF-SHA256, one for each direction.  The secret is the cluster's, from a file that
 * all nodes have, or one that two starts of two nodes share (pair_secrets.h):
 *
 *   HELLO  of key id, cluster, lcore, from, to.  It outlives starts, so its nonces must differ
 *          between starts without any memory of them: the sender begins at a random one and counts on,
 *          and the start is part of the initialization vector.
 *   pair   of the same, and the starts and challenges of from and to.  Each start counts its nonces
 *          from 1.  Why the challenges: should a start ever be issued twice, the keys still differ.
 *
 * Why the lcore: lcores of a node send at the same time and each counts its own nonces; with one key
 * two of them would use one nonce twice, which gives both key stream and authentication key away.
 *
 * AES-256-GCM; where only authenticity is wanted GMAC, the same with the payload as additional data.
 *
 * How much one key may seal: nonces never run out, but the more blocks a key has enciphered the better they can be
 * told from random ones.  What QUIC allows, 2^28 packets of 2^11 bytes, is 2^35 blocks of 16 bytes, for an advantage
 * of 2^-57.  At half of that (FRAME_KEY_BLOCKS: 256 GiB, three minutes at 10 Gbit/s) a pair of starts is given
 * another secret, where its secrets come from the control plane; those of a file are good for as long as the file
 * is.  A pair that gets none, for want of a control plane, goes on: the advantage grows with the square of the
 * blocks, and is 2^-35 after a petabyte.
 *
 * Source: RFC 5869; NIST SP 800-38D, 8.2.1 for deterministic initialization vectors; RFC 9001, 6.6 and B.1 for how
 * much a key may seal. */
#ifndef DUNLIN_DATAPLANE_FRAME_KEY_H
#define DUNLIN_DATAPLANE_FRAME_KEY_H

#include "dataplane/frame.h"
#include "dataplane/handshake.h"

#define FRAME_SECRET_BYTES 32u
#define FRAME_SECRETS_MAX 4u                 /* of a cluster at a time, while they are changed */
#define FRAME_KEY_BLOCKS (UINT64_C(1) << 34) /* of 16 bytes: then another secret is wanted */

/* HKDF-SHA256 with any salt, secret and info.  Returns 0, -ENOMEM, or -EINVAL for lengths that RFC 5869
 * does not allow. */
struct frame_octets {
    const uint8_t *bytes;
    uint64_t length;
};
MUST_USE int frame_hkdf(const struct frame_octets *secret, const struct frame_octets *salt,
                        const struct frame_octets *info, uint8_t *out, uint64_t out_length);

/* One end of a direction. */
struct frame_end {
    uint32_t node;
    uint64_t start; /* pair keys */
    const uint8_t
        *challenge; /* pair keys, HANDSHAKE_CHALLENGE_BYTES; NULL: this is a HELLO's key */
};

struct frame_key_source {
    const uint8_t *secret; /* FRAME_SECRET_BYTES */
    uint64_t cluster;
    uint16_t key_id;
    uint8_t lcore;
    struct frame_end from, to;
};

struct frame_key; /* a context and the key in it */

/* Returns 0 and a key, to be closed by the caller, that seals and opens nothing before it is set; or
 * -ENOMEM. */
MUST_USE int frame_key_open(struct frame_key **key);
void frame_key_close(struct frame_key *key); /* NULL: nothing */

/* Derive the key from its source and put it in place of the one before.  Returns 0 or -ENOMEM; then it
 * is unset. */
MUST_USE int frame_key_set(struct frame_key *key, const struct frame_key_source *source);
/* It is void: overwritten, it seals and opens nothing. */
void frame_key_unset(struct frame_key *key);

/* Seal one frame into frame: FRAME_HEADER_BYTES, then length bytes of payload, which come from payload
 * (encrypted or copied on the way) or are there already (NULL).  h->nonce must be new for this key,
 * from 1 to FRAME_NONCE_MAX: the caller counts.  False: the key is not set; nothing of it may be sent. */
MUST_USE bool frame_seal(struct frame_key *key, const struct frame_header *h, uint8_t *frame,
                         const uint8_t *payload, uint32_t length);

/* The same where the payload's end lies elsewhere, and stays there: length bytes of it are in frame already, then
 * come those of rest, which the caller sends behind them.  A multiple of 8 each; authentic only. */
MUST_USE bool frame_seal_split(struct frame_key *key, const struct frame_header *h, uint8_t *frame,
                               uint32_t length, const struct frame_octets *rest);

/* Check the tag of the frame whose header h was decoded from it, and decrypt its length bytes of payload
 * in place.  False: FRAME_WRONG_TAG; the payload is garbage.  So it is for whoever has FRAME_RANGE: the tag of a
 * range opens no frame. */
MUST_USE bool frame_open(struct frame_key *key, const struct frame_header *h, uint8_t *frame,
                         uint32_t length);

/* ---- ranges: bytes that came another way, and are proven by a tag that comes in a frame ---- */

/* The tag of the 48 bytes of header h, which is sent nowhere, and of length bytes where they lie, of any length and
 * alignment.  h->flags is FRAME_RANGE, and h->nonce new for this key: it is counted with those of frames, and one that
 * both had would give the authentication key away.  False: the key is not set. */
MUST_USE bool frame_range_seal(struct frame_key *key, const struct frame_header *h,
                               const struct frame_octets *range, uint8_t tag[FRAME_TAG_BYTES]);

/* Whether that is their tag, as the bytes are now.  Who may write to them may do so again: to be believed are only
 * those that were looked at since, or that can be written no other way. */
MUST_USE bool frame_range_open(struct frame_key *key, const struct frame_header *h,
                               const struct frame_octets *range,
                               const uint8_t tag[FRAME_TAG_BYTES]);

#endif
