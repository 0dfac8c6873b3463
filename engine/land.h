/* land - a follower's side of the log: bytes that the leader wrote, placed at the same LSN here.
 * Station 5 of a write (DESIGN sections 2 and 5).
 *
 * Pure; the shard's lcore only.  Ranges come in any order, twice, or not at all.  What is placed
 * counts for nothing until land_check has walked it: whole transactions of whole, sound records of
 * this log, each at its own LSN, are indexed, and only then does the log's end move.  Foreign bytes
 * are checked in our copy.  An incomplete tail counts as absent. What is checked and not committed
 * is the shard's bounded list of pending records; a cut takes it back record by record, newest
 * first. */
#ifndef DUNLIN_ENGINE_LAND_H
#define DUNLIN_ENGINE_LAND_H

#include "engine/base.h"
#include "engine/grant.h"
#include "engine/limits.h"

struct shard;

struct land_range {
    uint64_t lsn_start, lsn_end;
};

/* A tail segment that got bytes before the log's end reached it. */
struct land_segment {
    uint64_t lsn_start;
    uint32_t frame; /* frame + 1; 0: none */
};

struct landing {
    uint64_t lsn_received; /* bytes below are here without a gap; at or above the log's end */
    uint64_t lsn_judged; /* records below were found sound as they were copied; a record's start */
    struct land_segment ahead[LIMIT_LAND_SEGMENTS];
    uint32_t range_count;
    uint32_t cut_frame; /* frame + 1 that a cut has begun to copy into; 0: none */
    struct land_range ranges[LIMIT_LAND_RANGES]; /* beyond the first gap, ordered, not touching */
};

/* Place length bytes (a multiple of 8, as lsn is) that belong at lsn.  What is here already is
 * passed over.  Returns 1 if lsn_received moved, 0 if not (a duplicate, or behind a gap), or
 *   -EAGAIN  further ahead than this follower keeps, or no segment is free now: drop it, it will be
 *            asked for again
 *   -EINVAL  not aligned, or more than a segment: the peer is broken. */
MUST_USE int land_bytes(struct shard *s, uint64_t lsn, const uint8_t *bytes, uint64_t length);

/* Give this holder a segment to write to: the tail's, or the one that follows.  Returns the grant, good
 * until the next call, or NULL: both are given, or no more may be, or no memory is to spare now. */
const struct grant *land_grant(struct shard *s, const struct grant_holder *holder);

/* What a holder says it has written, and what judges that. */
struct land_announcement {
    struct land_range range;
    const struct grant_proof *proof;
    const struct grant_prover *prover;
};

/* The holder says that the bytes of a range are written, and proves it.  If so they are received as by
 * land_bytes, where they lie.  Returns as land_bytes, or
 *   -EAGAIN  the range is in no open grant of that holder, or other bytes are there: the write is
 *            late, torn or lost; ask for it, to come by message
 *   -EINVAL  not aligned, or not inside a segment: the peer is broken. */
MUST_USE int land_announced(struct shard *s, const struct grant_holder *holder,
                            const struct land_announcement *announced);

/* Whether what is written under a grant may yet become part of the log. */
bool land_grant_is_open(const struct shard *s, const struct grant *g);

/* Whether somebody may write into the segment that the log's next byte falls into: nothing else may be
 * appended there before land_cut at the log's end. */
bool land_tail_is_granted(const struct shard *s);

/* Whether segments wait for bytes ahead of the log's end, granted or partly received.  Before the shard appends
 * records of its own they go, by land_cut at the log's end: its log goes on elsewhere, and they would come to lie
 * below its end without being a part of it. */
bool land_has_ahead(const struct shard *s);

/* Walk what was received: index whole transactions, move the log's end.  Returns 1 if it moved, 0
 * if not, or
 *   -EBADMSG  what was received is not what the leader wrote: all beyond the log's end is dropped, ask for
 *             it again
 *   -EPROTO   a transaction of more than LIMIT_TRANSACTION_RECORDS: the peer is broken, what it sent is dropped
 *   -EAGAIN   more is here than may wait uncommitted, or no memory now: call again after a commit. */
MUST_USE int land_check(struct shard *s);

/* Drop all that was received and not made part of the log. */
void land_forget(struct shard *s);

/* First missing range at or above lsn_received, to ask for: up to the next range here, else up to
 * lsn_wanted.  False: nothing is missing below lsn_wanted. */
bool land_missing(const struct shard *s, uint64_t lsn_wanted, struct land_range *missing);

/* Cut the log at lsn, a transaction end at or above the commit LSN: take back every record above
 * it, drop what was received beyond.  No byte is rewritten in place: what stays of the segment that
 * the cut falls into is copied to a fresh one, and the old one is retired.  Who waits for what is taken
 * back, and every read that waits, is answered "try again" when lsn is committed.  now as in
 * shard_maintain.  Returns 0 or -EAGAIN (no segment free now: call again). */
struct reclaim_now;
MUST_USE int land_cut(struct shard *s, uint64_t lsn, const struct reclaim_now *now);

#endif
