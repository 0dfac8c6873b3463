/* cursor - reading a shard's log in place as its lcore goes on writing: what a subscription is made of.
 *
 * Pure: no system call, no allocation, no clock.  Used by libdunlin, in the agent's thread, and by tests
 * that interleave it.  A cursor is a position of the log and costs the writer nothing: it reads the tail's
 * segments where they lie, up to the board's commit LSN, so that it works at every node, and by the same
 * protocol as a get (read.h): all that is loaded is a guess until R6, and nothing is given out before.
 *
 *   R1, R2   reclaim counter, commit LSN
 *   C2       the frame of the position's segment, from the table by LSN; acquire, pairs with the release
 *            of log.c: bytes that a cut moved there are whole
 *   C3       its directory entry: a tail segment, not retiring, that begins at this LSN; acquire, pairs
 *            with frames.c.  Why not one that retires: its stamp may be in R1's count already
 *   R4       records, by relaxed 8-byte loads, each checked to end inside what is committed
 *   R5, R6   as in read.h
 *
 * Transactions are given out whole, and a position is always the end of one (or the log's beginning).
 * Order: as in the log; a shard's log, so nothing is said about two shards.
 * What was cleaned is behind: the tail is kept as long as memory allows (clean.h), so a cursor that does
 * not keep up is told that it lagged, and where the tail begins.  It is told the same where LSNs jump (a
 * lossy epoch), and where this replica took over a snapshot instead of the log. */
#ifndef DUNLIN_ENGINE_CURSOR_H
#define DUNLIN_ENGINE_CURSOR_H

#include "engine/read.h"
#include "engine/topic.h"

enum cursor_start {
    CURSOR_READY = 0, /* lsn is a position that cursor_read gave */
    CURSOR_SEEK,      /* the transaction that lsn lies in, or the next one */
    CURSOR_NOW,       /* what is committed from the first call on; lsn is not used */
    CURSOR_OLDEST,    /* the oldest that is held */
    CURSOR_LOST,      /* as SEEK: lsn was READY, and no record stands there */
};

struct cursor {
    uint64_t lsn; /* end of what was given out */
    uint32_t shard;
    enum cursor_start start;
};

/* Log walked in one go, a transaction that began apart: then what was found is validated. */
#define CURSOR_STRIDE (64u << 10)

/* Stands behind the records of a transaction: to record_step a pad. */
struct cursor_mark {
    uint32_t crc; /* 0 */
    uint8_t format, kind;
    uint16_t units;
    uint64_t lsn_end; /* of the transaction: a position */
};
_Static_assert(sizeof(struct cursor_mark) == 16, "two words");

/* Whole records, one behind the other, as record_step takes them, and marks. */
struct cursor_batch {
    uint8_t *bytes; /* the caller's, 8-aligned */
    uint64_t capacity;
    uint64_t length; /* answered */
    uint64_t needed; /* answered with -ENOBUFS: at least so much capacity */
};

/* Make out where CURSOR_NOW or CURSOR_OLDEST is: lsn is set then.  False: nothing is shown of the shard
 * yet. */
bool cursor_begin(struct cursor *c, const struct read_space *s);

/* Give out the next records that matter: data, tombstones, and expiries of keys, whose key the topic
 * matches.  Returns
 *   1          the position moved, and batch has what was found on the way, perhaps nothing
 *   0          nothing is committed behind the position
 *   -EAGAIN    the shard changed under the read: call again
 *   -EFAULT    it lies in a chunk that is not mapped: map what exists, call again
 *   -ENODATA   lagged: what follows the position is not held any more; go on by cursor_resume
 *   -ENOBUFS   the next transaction needs batch->needed bytes: with that, call again
 *   -EBADMSG   validated, and yet no log: the memory is damaged.
 * Where it is not 1 nothing was given out and the position stands. */
MUST_USE int cursor_read(struct cursor *c, const struct read_space *s, const struct topic *t,
                         struct cursor_batch *batch);

/* Where the tail begins that reaches up to what is committed: a hint, it may be cleaned meanwhile. */
uint64_t cursor_oldest(const struct read_space *s, uint32_t shard);

/* After -ENODATA: go on where the tail begins.  Returns how many bytes of the log were missed. */
uint64_t cursor_resume(struct cursor *c, const struct read_space *s);

/* Whether a read would find something: one load. */
bool cursor_has_more(const struct cursor *c, const struct read_space *s);

#endif
