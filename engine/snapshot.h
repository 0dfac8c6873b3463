/* snapshot - the live state of one shard as a stream of pieces, for a peer that is too far behind to
 * be fed from the log.  The leader's side; install.h is the other end.  DESIGN sections 3 and 5.
 *
 * Pure; the shard's lcore only.  A cursor walks the keys, then the sessions, a bounded step per call,
 * while the writer goes on.  What it tells is the state at no single LSN:
 *   S0  where the tail begins: a segment's start at or below the commit LSN when the cursor began.
 *       Records from S0 on are never told; the log has them.  So the caller keeps the log from S0 on
 *       (shard.lsn_kept) until the peer has taken it over.
 *   S1  the commit LSN when the cursor ended.  What was overwritten, deleted or expired between S0 and
 *       S1 may be missing, and sessions may be ahead of S0: only state plus log up to S1 is whole, and
 *       nobody may be shown less.
 * The newest committed version of each key is told, with its own LSN, header, payload and crc; of
 * deleted keys nothing: a miss below S1 has no meaning at the peer, and it knows.
 *
 * A piece: struct snapshot_head, then items, each struct snapshot_item and its body, a multiple of 8
 * bytes.  Little-endian.  A record that fits no piece is told in several parts, which follow each other
 * but may be broken off when the record is overwritten meanwhile.
 * Pieces are numbered from 0 and cannot be made twice: keep one until the peer has taken it.
 * Source: fuzzy snapshot plus log as in ARIES checkpoints (Mohan et al., TODS 1992); the order of the
 * walk is that of Redis' SCAN (index.h). */
#ifndef DUNLIN_ENGINE_SNAPSHOT_H
#define DUNLIN_ENGINE_SNAPSHOT_H

#include "engine/base.h"
#include "engine/index.h"
#include "engine/session.h"

struct shard;

#define SNAPSHOT_FORMAT UINT32_C(0x316e7364) /* "dsn1" */
#define SNAPSHOT_PIECE_MIN 2048u             /* least capacity: a session with all its results */

struct snapshot_head {
    uint32_t format;
    uint32_t crc; /* crc32c of all that follows it in the piece */
    uint32_t log;
    uint32_t number; /* of the piece */
    uint64_t bytes;  /* of the piece */
    uint64_t id;     /* of the snapshot: the caller's, another one for each attempt */
    uint64_t lsn_start;
};
_Static_assert(sizeof(struct snapshot_head) == 40, "no holes on the wire");

enum snapshot_kind {
    SNAPSHOT_HEADER = 1,  /* first, once */
    SNAPSHOT_EPOCH = 2,   /* struct log_epoch, oldest first */
    SNAPSHOT_RECORD = 3,  /* struct snapshot_record, bytes of a data or session record */
    SNAPSHOT_SESSION = 4, /* struct snapshot_session, results; its record stands before it */
    SNAPSHOT_END = 5,     /* last, once */
    SNAPSHOT_NUMBERS = 6, /* int64_t for each result of the session before it; 0: none */
};
struct snapshot_item {
    uint32_t kind;  /* enum snapshot_kind */
    uint32_t bytes; /* of the body */
};

struct snapshot_header {
    uint64_t key_count;   /* at least as many as will be told */
    uint64_t live_charge; /* what live records count for at the leader (shard_charge) */
    uint32_t index_bits;
    uint32_t reserved;
};
struct snapshot_record {
    uint64_t lsn;
    uint32_t size;   /* of the whole record */
    uint32_t offset; /* in it, of the bytes that follow */
};
struct snapshot_session {
    uint64_t lsn_opened;
    uint64_t committed; /* sequence; the results of the last result_count follow, oldest first */
    uint64_t traffic_ns;
    uint64_t result_count;
};
struct snapshot_end {
    uint64_t lsn_end; /* S1 */
    uint64_t hybrid_clock;
    uint64_t record_count; /* data records told whole, those told twice included */
    uint64_t session_count;
};
_Static_assert(sizeof(struct session_kept) == 16, "results travel as they are");
_Static_assert(sizeof(struct snapshot_head) + 4 * sizeof(struct snapshot_item) +
                       sizeof(struct snapshot_record) + 128 + sizeof(struct snapshot_session) +
                       LIMIT_SESSION_WINDOW * (sizeof(struct session_kept) + sizeof(int64_t)) <=
                   SNAPSHOT_PIECE_MIN,
               "a session fits every piece");

struct snapshot_cursor {
    uint64_t id;
    uint64_t lsn_start; /* S0: keep the log from here on */
    uint64_t epoch_told;
    struct index_walk walk;
    uint64_t part_lsn;     /* record that is told in parts; 0: none */
    uint32_t part_bytes;   /* of it told */
    uint32_t session_next; /* slot */
    uint64_t record_count, session_count;
    uint32_t piece_next;
    uint32_t stage;
};

/* Returns 0, or -EAGAIN: nothing is committed, or what is committed is itself not whole here. */
MUST_USE int snapshot_begin(struct snapshot_cursor *c, const struct shard *s, uint64_t id);

/* Where a piece goes, and how long it became. */
struct snapshot_piece {
    uint8_t *bytes;
    uint64_t capacity; /* at least SNAPSHOT_PIECE_MIN */
    uint64_t length;
};

/* Make the next piece.  Returns 1: there is more to tell; 0: this piece was the last one; or
 *   -EAGAIN  nothing was made, the index waits for memory: call again in a later pass
 *   -EINVAL  the last piece was made already, or capacity is too small. */
MUST_USE int snapshot_next(struct snapshot_cursor *c, struct shard *s, struct snapshot_piece *p);

#endif
