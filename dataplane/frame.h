/* frame - what every UDP datagram on the wire is: a 64-byte header and a payload.
 *
 * Pure; no thread of its own.  What seals and opens frames is frame_key.h.  All integers are
 * little-endian, of fixed width:
 *
 *    0   4  magic, "DUN1"
 *    4   1  wire version; of a HELLO always FRAME_VERSION_HELLO
 *    5   1  flags (enum frame_flag)
 *    6   2  key id: which of the cluster's secrets
 *    8   8  cluster id
 *   16   4  node id of the sender
 *   20   2  head length of the datagram
 *   22   2  piece: payload bytes of each of its fragments but the last; a multiple of 8
 *   24   8  start of the sender
 *   32   8  nonce: counts the frames of one key from 1 on
 *   40   4  length of the datagram's bytes
 *   44   2  index of this fragment
 *   46   1  lcore, of sender and receiver
 *   47   1  0
 *   48  16  tag, over bytes 0 to 47 and the payload
 *   64      payload
 *
 * A datagram's content is its head, zeros up to a multiple of 8, its bytes, zeros up to a multiple of
 * 8.  Fragment i carries content from i * piece on, and has nonce first + i, so nonce - index names
 * the datagram.  Each frame says all of it anew: fragments cannot be made to overlap, or to be more
 * than the content.  The payload is encrypted or in the clear (FRAME_ENCRYPTED); the tag covers it
 * either way.
 *
 * A HELLO (handshake.h) is never fragmented or encrypted; its fragment fields are 0.
 *
 * Source: NIST SP 800-38D for the tag; RFC 6479 for the replay window. */
#ifndef DUNLIN_DATAPLANE_FRAME_H
#define DUNLIN_DATAPLANE_FRAME_H

#include "dataplane/transport.h"
#include "engine/base.h"

#define FRAME_MAGIC 0x314e5544u
/* Of the wire, that this program speaks:
 *   1  messages of replicas and frames of pairs
 *   2  operations that go on to leaders, too (forward.h)
 *   3  transactions, increments, ttls and leases among them, and among what is replicated;
 *      several datagrams in one (bundle.h) */
#define FRAME_VERSION_LOWEST 1u
#define FRAME_VERSION_HIGHEST 3u
#define FRAME_VERSION_HELLO 1u /* the layout of a HELLO never changes; it may grow at its end */

#define FRAME_HEADER_BYTES 64u
#define FRAME_TAG_AT 48u /* bytes in front of the tag */
#define FRAME_TAG_BYTES 16u
#define FRAME_BYTES_MIN 512u             /* what a path has to carry at least */
#define FRAME_BYTES_MAX 8952u            /* UDP payload of a 9,000-byte IPv6 packet */
#define FRAME_LENGTH_MAX (1u << 16)      /* bytes of one datagram */
#define FRAME_FRAGMENTS_MAX 256u         /* of one datagram */
#define FRAME_NONCE_MAX (UINT64_MAX - 1) /* the last one of a key */

#define FRAME_WINDOW_WORDS 128u
/* Nonces this far below the highest seen are still told apart. */
#define FRAME_WINDOW (FRAME_WINDOW_WORDS * 64 - 64)

/* Why: any datagram that is allowed can be cut for any path that is allowed. */
_Static_assert(FRAME_LENGTH_MAX + TRANSPORT_HEAD_MAX + 8 <=
                   FRAME_FRAGMENTS_MAX * (FRAME_BYTES_MIN - FRAME_HEADER_BYTES),
               "fragments of the longest datagram");
_Static_assert(FRAME_WINDOW >= 4096, "replay window");

enum frame_flag {
    FRAME_ENCRYPTED = 1,
    FRAME_HELLO = 2,
    FRAME_FLAGS = 3, /* those that a frame may have */
    FRAME_RANGE = 4  /* no frame: the tag of bytes that lie elsewhere (frame_range_seal) */
};

/* Why a frame is not taken, in the order of the checks. */
enum frame_refusal {
    FRAME_TAKEN = 0,
    FRAME_TOO_SHORT,
    FRAME_OTHER_MAGIC,
    FRAME_VERSION_OLDER, /* than any that we speak, or than the pair's */
    FRAME_VERSION_NEWER,
    FRAME_OTHER_CLUSTER,
    FRAME_OTHER_LCORE,
    FRAME_UNKNOWN_PEER,
    FRAME_UNKNOWN_KEY,
    FRAME_NOT_UP,      /* the handshake with that peer is not done */
    FRAME_OTHER_START, /* of the sender than the current one */
    FRAME_REPLAYED,
    FRAME_TOO_OLD, /* below the replay window: replayed or not, nobody knows */
    FRAME_WRONG_TAG,
    FRAME_MALFORMED, /* behind a sound tag: the peer is at fault */
    FRAME_REFUSALS
};

struct frame_header {
    uint8_t version, flags, lcore;
    uint16_t key_id, head_length, piece, index;
    uint32_t node, length;
    uint64_t cluster, start, nonce;
};

/* What a node takes frames for. */
struct frame_local {
    uint64_t cluster;
    uint8_t lcore;
    uint8_t version_lowest, version_highest;
};

/* In words, for logs and counters. */
const char *frame_refusal_name(enum frame_refusal refusal);

/* Write the header's 48 bytes in front of the tag. */
void frame_header_encode(const struct frame_header *h, uint8_t *bytes);

/* Read a copy of the header of the frame in bytes; what it says is not authentic yet.  Checks up to
 * FRAME_OTHER_LCORE, which need no key; the rest is the caller's. */
MUST_USE enum frame_refusal frame_header_decode(struct frame_header *h, const uint8_t *bytes,
                                                uint64_t length, const struct frame_local *local);

/* ---- fragments ---- */

/* Bytes of a datagram's content, the zeros behind its bytes not counted. */
static inline uint32_t frame_content(uint32_t head_length, uint32_t length)
{
    return (uint32_t)align_up(head_length, 8) + length;
}

/* Fragments that such a content is cut into. */
static inline uint32_t frame_fragments(uint32_t content, uint32_t piece)
{
    return content <= piece ? 1 : (content + piece - 1) / piece;
}

/* Payload bytes of one fragment, the zeros at its end counted. */
static inline uint32_t frame_payload(uint32_t content, uint32_t piece, uint32_t index)
{
    return (uint32_t)align_up(min_u64(piece, content - (uint64_t)index * piece), 8);
}

/* Behind the tag: whether the fragment fields agree with each other and with the payload's length.
 * False: FRAME_MALFORMED. */
MUST_USE bool frame_is_sound(const struct frame_header *h, uint64_t payload_length);

/* ---- replay ---- */

/* Which nonces of one key were seen; all zero to begin with. */
struct frame_window {
    uint64_t highest; /* 0: none yet */
    uint64_t seen[FRAME_WINDOW_WORDS];
};

/* FRAME_TAKEN, FRAME_REPLAYED or FRAME_TOO_OLD; changes nothing.  Ask before the tag is checked, it
 * is cheaper, and mark behind it. */
MUST_USE enum frame_refusal frame_window_check(const struct frame_window *w, uint64_t nonce);
void frame_window_mark(struct frame_window *w, uint64_t nonce);

#endif
