/* handshake - how two starts of two nodes come to share keys, a wire version and features.
 *
 * Pure state machine, one per peer and lcore; owned by the lcore.  Time (nanoseconds of a clock that
 * does not go back) and randomness are given.  Both sides do the same: they send HELLOs until the
 * peer has answered, each under a key that depends on the cluster's secret and the two node ids
 * (frame_key.h).  A HELLO says who its sender is (start, in the frame's header) and carries
 *
 *    0   8  features
 *    8   1  lowest wire version      9   1  highest
 *   10   1  1: the sender's challenge came back to it, 0: not yet
 *   11   5  0
 *   16  16  challenge of the sender: random, the same as long as the start
 *   32  16  echo: the receiver's challenge as the sender knows it, or zeros
 *
 * all behind the header of frame.h.  The pair is up when our own challenge comes back: then the peer
 * is alive now, and not a recording.  What may be recorded changes nothing: a HELLO of a lower start
 * is refused, one of the same start says again what we know.  A higher start ends the pair with the
 * one before at once, for that start is over; it is up with the new one when our challenge comes back
 * from there.  Version: the highest that both speak; features: those that both have.
 *
 * Source: Needham and Schroeder (1978) for challenges; the doubling of QUIC's probe time-out (RFC
 * 9002, 6.2.1) for the back-off. */
#ifndef DUNLIN_DATAPLANE_HANDSHAKE_H
#define DUNLIN_DATAPLANE_HANDSHAKE_H

#include "engine/base.h"

#define HANDSHAKE_CHALLENGE_BYTES 16u
#define HANDSHAKE_HELLO_BYTES 48u /* at least: newer versions may append */
#define HANDSHAKE_RESEND_NS (10 * NS_PER_MS)
#define HANDSHAKE_RESEND_MAX_NS (1000 * NS_PER_MS)
#define HANDSHAKE_ANSWER_NS (1 * NS_PER_MS) /* between two answers to the same: no amplifier */

struct handshake_hello {
    uint64_t start; /* of the sender; travels in the frame's header */
    uint64_t features;
    uint8_t version_lowest, version_highest;
    bool up;
    uint8_t challenge[HANDSHAKE_CHALLENGE_BYTES];
    uint8_t echo[HANDSHAKE_CHALLENGE_BYTES];
};

struct handshake {
    struct handshake_hello own; /* all but echo and up are constant */
    /* of the peer; 0: never heard */
    uint64_t peer_start;
    uint8_t peer_challenge[HANDSHAKE_CHALLENGE_BYTES];
    bool up;
    uint8_t version;   /* of the pair, when up */
    uint64_t features; /* of the pair, when up */
    uint64_t resend_at, resend_after;
    uint64_t answered_at; /* last HELLO sent */
    bool answer;          /* one is owed */
};

enum handshake_result {
    HANDSHAKE_NOTHING = 0, /* nothing changed */
    HANDSHAKE_REPLACED,    /* a new start of the peer, not up: forget the keys of the one before */
    HANDSHAKE_UP,          /* up with the start that peer_start names: derive the keys */
    HANDSHAKE_OLDER_START, /* refused: of a start that is over */
    HANDSHAKE_OTHER_START, /* refused: the same start with another challenge; one of two liars */
    HANDSHAKE_VERSION_OLDER, /* the peer's highest is below our lowest; not up */
    HANDSHAKE_VERSION_NEWER, /* its lowest is above our highest; not up */
};

/* Encoded is HANDSHAKE_HELLO_BYTES; decode returns false for what is none, without a start. */
void handshake_hello_encode(const struct handshake_hello *hello, uint8_t *bytes);
MUST_USE bool handshake_hello_decode(struct handshake_hello *hello, const uint8_t *bytes,
                                     uint64_t length);

/* own: start (not 0), versions, features, and a challenge of random bytes, not all 0. */
void handshake_init(struct handshake *h, const struct handshake_hello *own, uint64_t now);

/* A HELLO of the peer, behind a sound tag. */
MUST_USE enum handshake_result handshake_receive(struct handshake *h,
                                                 const struct handshake_hello *hello);

/* Whether a HELLO is due, and which; call it after each receive and when the deadline is reached.
 * One that is not sent in spite of that is lost: the next one follows by itself. */
MUST_USE bool handshake_send(struct handshake *h, uint64_t now, struct handshake_hello *hello);

/* The keys that the pair came up with are void: it is not up any more, and HELLOs go to the peer as at the
 * beginning.  Why the start stays: older ones are refused as before.  Who calls it sees to it that keys of another
 * secret follow, or one pair of starts and challenges would give the same ones twice. */
void handshake_end(struct handshake *h);

/* The peer may understand from now on what it did not before: if the pair is not up, the next HELLO is due at once. */
void handshake_hurry(struct handshake *h);

/* When handshake_send will want to send; UINT64_MAX: not by itself. */
uint64_t handshake_deadline(const struct handshake *h);

#endif
