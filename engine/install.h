/* install - a follower takes over a shard's state from the pieces of a snapshot (snapshot.h), while
 * readers go on reading the older state that it has.
 *
 * Pure; the shard's lcore only.  Pieces are foreign bytes: records are checked in our copy, and whatever
 * breaks a rule is refused by name.
 *
 *   beside    the pieces become base segments, an index table in the board's other page array and a
 *             second session table; the state that lands, commits and is read is not touched
 *   taken     with the last piece the two change places: the log begins at S0 and goes on by land.h and
 *             shard_commit as ever, but the board still shows the older state
 *   shown     with the first commit at or above S1 (shard.lsn_visible) tombstone horizon, index root
 *             and commit LSN are stored, in that order, and the older state retires through reclaim
 *
 * So a reader sees the older state at the commit LSN that it had, or the new one at S1 or above; the
 * commit LSN shown never falls.  What lands below S1 may repeat what came with a session (land.c).
 *
 * What the caller owes:
 *   - while shard.lsn_visible is above the log's end (install_lsn_visible) the shard is not whole: no
 *     read by the ring (shard_read says -EAGAIN), no linearizable read, no leading
 *     (shard_epoch_begin says -EAGAIN), nothing fed to peers but as what was landed;
 *   - what was appended here above the commit LSN is gone when the snapshot is taken, and all of it with
 *     install_discard: a voter that acknowledged more than S1 is no more who it was.
 *
 * Memory: both states at a time, if they fit.  The older one is cleaned for it; if that is not enough,
 * install_piece says -ENOSPC and install_discard gives the older state up: until S1 readers in place then
 * get no answer ("began again", "compacted"), never a wrong one. */
#ifndef DUNLIN_ENGINE_INSTALL_H
#define DUNLIN_ENGINE_INSTALL_H

#include "engine/base.h"
#include "engine/clean.h"
#include "engine/index.h"
#include "engine/log.h"
#include "engine/order.h"
#include "engine/reclaim.h"
#include "engine/session.h"

struct shard;
struct snapshot_end;

/* What install.beside is. */
enum install_beside {
    INSTALL_NONE = 0,
    INSTALL_BUILDING, /* newer than the shard's own: pieces go there */
    INSTALL_SHOWN,    /* older: readers have it until the shard's own is whole */
};

/* A record that has not come whole, or has and is not in the index yet. */
struct install_part {
    uint64_t lsn;
    uint64_t offset; /* in the arena */
    uint32_t size;   /* 0: none */
    uint32_t bytes;  /* of it here */
};

struct install {
    enum install_beside beside;
    struct index index;
    struct order order;
    struct session_table sessions;
    struct cleaner cleaner; /* its base segment is the one being filled */
    uint64_t live_bytes, live_charge;

    uint64_t id;
    uint64_t lsn_start;
    uint64_t key_count_max;
    uint64_t record_count, session_count;
    uint32_t session_taken; /* slot of the last one, beside */
    struct install_part part;
    bool header_taken;
    uint32_t piece_next;
    uint32_t piece_crc; /* of the one that was begun and waits */
    uint64_t position;  /* in it; 0: none was begun */

    uint64_t frames_wanted;  /* the cleaner makes so many free; 0: enough are */
    uint32_t segments_dirty; /* that it has not been through for this; SHOWN: for lsn_cleaned */
    uint64_t lsn_cleaned;    /* SHOWN: commit LSN that the cleaner goes, or went, round for */
    uint32_t *retired;       /* frames without reference, to be handed to reclaim */
    uint32_t retired_count;
    struct log log; /* Why last: it ends with the epoch table */
};

/* Begin to take the snapshot of this id.  Reads by the ring that wait, and those that are asked while it
 * comes and memory is short, are answered "try again".  Returns 0, or
 *   -EAGAIN  the index grows, or frames of an install before have not retired: later
 *   -EBUSY   another snapshot is being built (install_abort), or was taken and is not shown yet (feed
 *            its log, or give up what is shown: install_discard). */
MUST_USE int install_begin(struct shard *s, uint64_t id);

/* Take a piece.  Returns 1: it was the last, the snapshot is taken, the log begins at S0;
 * 0: taken now or before; or, with nothing of it lost,
 *   -EAGAIN   memory is on its way: the same piece again after shard_maintain
 *   -ENOSPC   does not fit beside the state that is shown: install_discard, then the same piece again;
 *             after a discard: does not fit at all
 *   -EBADMSG  damaged on its way: fetch it again
 *   -ENOENT   not the next one: fetch install_piece_next
 *   -ESTALE   of another snapshot or log; or what is shown here is newer: install_abort
 *   -EINVAL   none is being built
 *   -EPROTO   sound, and yet against the rules: install_abort, stop listening to that peer. */
MUST_USE int install_piece(struct shard *s, const uint8_t *bytes, uint64_t length);

/* Number of the piece that is wanted next. */
uint32_t install_piece_next(const struct shard *s);

/* Forget the snapshot that is being built; what was there before stays as it was. */
void install_abort(struct shard *s);

/* Give up the older state: the one shown beside a snapshot that was taken, else the shard's own, which
 * is empty then until a snapshot is taken. */
void install_discard(struct shard *s);

/* Nothing of the log below may be shown; 0: all that is committed is.  UINT64_MAX: the shard was
 * discarded. */
uint64_t install_lsn_visible(const struct shard *s);

/* ---- inside the engine ---- */

/* The last piece was sound: the state beside and the shard's own change places. */
void install_adopt(struct shard *s, const struct snapshot_end *end);

/* session_memory: as session_table_init; log and frames as log_init.  retired: frames_per_shard words. */
void install_init(struct shard *s, const struct log_place *place, void *session_memory,
                  uint32_t *retired);

/* The log has reached lsn_visible: store tombstone horizon and index root; the commit LSN follows. */
void install_show(struct shard *s);

/* The cleaner may go on.  False: beside an older state it has been through all segments of the newer one,
 * and nothing was committed since that it could gain by: it would only take the frames that come back, and
 * neither the log would get them nor the older state be given up. */
bool install_may_clean(const struct shard *s);

/* A bounded step of housekeeping: make room, retire.  True: there is more to do. */
MUST_USE bool install_step(struct shard *s, const struct reclaim_now *now);

#endif
