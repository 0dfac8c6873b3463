/* message - what replicas of a shard say to each other; DESIGN section 5.
 *
 * Pure.  A message is a fixed head, then what its kind adds: an epoch table, or bytes of the log.
 * Encoded little-endian by message_encode; message_decode judges foreign bytes and names what is
 * wrong. Authenticity is the frame's business (DESIGN section 6); epoch, incarnation and crc are
 * checked here and in land.h again, so that safety hangs on no transport.
 *
 *   SEAL    new leader -> voters of the predecessor: promise my epoch
 *   SEALED  voter -> new leader: promised; my table, end, commit.  Sent when my last promise is over
 *   FETCH   new leader -> the voter with the newest log: bytes from lsn
 *   JOIN    follower -> leader: my table and end
 *   CUT     leader -> follower: cut at lsn, then you hold a prefix of mine; good for a log that ends
 *           at lsn_end, as JOIN said
 *   APPEND  leader -> follower, voter -> fetching leader: bytes at lsn (maybe none), commit LSN
 *   ACK     follower -> leader: checked up to lsn, shown up to lsn_committed
 *   NAK     follower -> leader: [lsn, lsn_end) is missing
 *   PIECE   leader -> follower: piece lsn of snapshot lsn_end
 *   WANT    follower -> leader: piece lsn of snapshot lsn_end is wanted next
 *   GRANT   follower -> leader: write the bytes of the segment that starts at lsn to token; grant
 *           number of this shard at this start
 *   ANNOUNCE  leader -> follower: as APPEND, but the bytes [lsn, lsn + length) were written by log
 *           write into a segment that you granted me in this epoch; proof is of them
 *   RECALL  who granted -> whom: return your grants up to number lsn; in whatever epoch
 *   RETURN  answer: under my grants up to number lsn of your incarnation lsn_end nothing is written any
 *           more; in whatever epoch
 *
 * Promises and leases are not said per shard: pair.h. */
#ifndef DUNLIN_DATAPLANE_MESSAGE_H
#define DUNLIN_DATAPLANE_MESSAGE_H

#include "dataplane/configuration.h"
#include "engine/base.h"
#include "engine/grant.h"
#include "engine/log.h"

enum message_kind {
    MESSAGE_SEAL = 1,
    MESSAGE_SEALED = 2,
    MESSAGE_FETCH = 3,
    MESSAGE_JOIN = 4,
    MESSAGE_CUT = 5,
    MESSAGE_APPEND = 6,
    MESSAGE_ACK = 7,
    MESSAGE_NAK = 8,
    MESSAGE_PIECE = 9,
    MESSAGE_WANT = 10,
    MESSAGE_GRANT = 11,
    MESSAGE_ANNOUNCE = 12,
    MESSAGE_RECALL = 13,
    MESSAGE_RETURN = 14,
    MESSAGE_KIND_COUNT
};

struct message {
    uint8_t kind; /* enum message_kind */
    uint8_t table_count;
    uint16_t reserved;
    uint32_t log;   /* of the shard */
    uint64_t epoch; /* that the sender acts in */
    struct member from;
    uint64_t lsn;           /* see above */
    uint64_t lsn_end;       /* SEALED, JOIN: end of the sender's log, which CUT repeats;
                         APPEND: of the leader's */
    uint64_t lsn_committed; /* SEALED, APPEND, CUT, ACK */
    uint64_t
        lsn_kept; /* APPEND: some peer may still need the log from here on; JOIN, SEALED: what the
                          sender's log goes on from, 0: it has all */
    uint32_t length; /* APPEND, ANNOUNCE, PIECE: bytes; FETCH: wanted */
    uint64_t number; /* GRANT; ANNOUNCE: not told, the grant that the bytes are written under */
    struct grant_token token; /* GRANT; ANNOUNCE: not told, where the bytes are written to */
    struct grant_proof proof; /* ANNOUNCE */
    struct log_epoch table[LIMIT_EPOCHS]; /* SEALED, JOIN */
    const uint8_t *bytes; /* APPEND, ANNOUNCE: in the log; PIECE; or in the received datagram */
};

#define MESSAGE_HEAD_BYTES 64u
#define MESSAGE_BYTES_MAX (MESSAGE_HEAD_BYTES + LIMIT_EPOCHS * 32u + MESSAGE_PAYLOAD_MAX)
#define MESSAGE_PAYLOAD_MAX (1u << 16)
#define MESSAGE_PIECE_MAX 3840u /* so that head and piece fit one datagram's head */
#define MESSAGE_HEAD_BYTES_MAX (MESSAGE_HEAD_BYTES + LIMIT_EPOCHS * 32u)

/* Whether it goes along with memory that is written, or to be. */
static inline bool message_is_of_log_write(const struct message *m)
{
    return m->kind == MESSAGE_GRANT || m->kind == MESSAGE_ANNOUNCE;
}

/* Bytes that message_encode writes. */
uint64_t message_bytes(const struct message *m);
/* Log that a head is about, before it is judged: a hint.  0: it is too short. */
uint32_t message_peek_log(const uint8_t *head, uint64_t length);
/* into: message_bytes(m) bytes. */
void message_encode(const struct message *m, uint8_t *into);
/* The same without the bytes of the log, which then travel beside it. */
uint64_t message_head_bytes(const struct message *m);
void message_encode_head(const struct message *m, uint8_t *into);
/* Judge and read length bytes.  m->bytes points into them.  Returns 0 or
 *   -EBADMSG  kind, counts or length do not agree: drop it, count it. */
MUST_USE int message_decode(struct message *m, const uint8_t *bytes, uint64_t length);
/* The same for a head and what came beside it. */
MUST_USE int message_decode_parts(struct message *m, const uint8_t *head, uint64_t head_length,
                                  const uint8_t *bytes, uint64_t length);

#endif
