/* control_net_frame - messages of the control plane in the bytes that TLS delivers, in whatever pieces.
 *
 *   u32 length (little-endian, of what follows the eight), u8 type, u8[3] zero, then the bytes
 *
 * Type 0 is control_net's own; its first is the HELLO of each side:
 *   u16 lowest version, u16 highest version, and whatever a later version adds
 *   versions 0 to 0: who is spoken to is no node of ours, and the connection ends
 *
 * No I/O, no clock.  A message that comes in pieces is put together in memory that grows as its bytes
 * arrive, so that one which only claims to be long costs nothing.  One thread per reader. */
#ifndef DUNLIN_CONTROL_CONTROL_NET_FRAME_H
#define DUNLIN_CONTROL_CONTROL_NET_FRAME_H

#include "engine/base.h"

#define CONTROL_FRAME_HEAD_BYTES 8u
#define CONTROL_FRAME_LENGTH_MAX ((size_t)64 << 20)
#define CONTROL_FRAME_HELLO 0u
#define CONTROL_FRAME_HELLO_BYTES 4u
#define CONTROL_FRAME_HELLO_BYTES_MAX 1024u
#define CONTROL_FRAME_VERSION 1u

struct control_frame {
    uint8_t type;
    const uint8_t *bytes; /* until the reader is used again */
    size_t length;
};

/* Zeroed but for length_max at first. */
struct control_frame_reader {
    size_t length_max; /* of a message from now on */
    uint8_t head[CONTROL_FRAME_HEAD_BYTES];
    size_t head_used;
    uint8_t *body;
    size_t body_used, body_capacity;
    bool delivered; /* what is in body was returned by the call before */
};

void control_frame_head_encode(uint8_t head[CONTROL_FRAME_HEAD_BYTES], uint8_t type, size_t length);

/* Take from *length bytes at *bytes, which move past what was taken.  Returns 1 and *f, 0: all taken and no
 * message whole, or, for good,
 *   -EMSGSIZE  a message longer than length_max
 *   -EPROTO    not a head
 *   -ENOMEM */
MUST_USE int control_frame_take(struct control_frame_reader *r, const uint8_t **bytes,
                                size_t *length, struct control_frame *f);

/* Free its memory; it is zeroed. */
void control_frame_reader_fini(struct control_frame_reader *r);

void control_frame_hello_encode(uint8_t hello[CONTROL_FRAME_HELLO_BYTES]);
/* To somebody who is no node of ours. */
void control_frame_hello_encode_refusal(uint8_t hello[CONTROL_FRAME_HELLO_BYTES]);
/* Returns the version to speak, or -EPROTO: no HELLO, -EPROTONOSUPPORT: none that both know, -ENOENT: we are no
 * node of theirs. */
MUST_USE int control_frame_hello_judge(const struct control_frame *f);

#endif
