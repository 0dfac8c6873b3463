/* versions - those of a key that its space keeps, and when they go.
 *
 * Pure; a part of shard.h.  Each record's link word (layout.h) leads to the version before it; the chain
 * from a key's slot down is what reads at an LSN walk.  A version is kept while it is among the count
 * newest committed ones, or while the one that replaced it is younger than span_ns, but never more than
 * LIMIT_VERSION_WALK of a key.  What is kept counts as live.  A trimmed chain ends in LAYOUT_LINK_CUT.
 *
 *   by count   at each commit the chain is walked count links down and cut there; with a count of 1 (and
 *              no span) there is no walk, and nothing of this file is touched
 *   by time    a cursor goes over all full, committed segments, a bounded number of records per
 *              shard_maintain: a record older than the span cuts its own link.  The cleaner does the same
 *              with what it moves.  "Now" is the newest hybrid clock of the log, so that it passes alike on
 *              all replicas and an idle shard costs nothing
 *   the limit  by time a key may be written any number of times: a version counts its place in the link,
 *              modulo 8, and each 8th commit of a key walks; each one where the count is so near the limit
 *              that this would cut into it
 *
 * A replica that has no room for what it must hold, because it keeps versions that its leader lost with a
 * snapshot or a tombstone, gives them up early: the cleaner then cuts every chain below the newest version
 * that it moves.  Reads at a version there say "compacted".
 * A deleted key keeps its versions while its tombstone is kept: by time as above; by count until the
 * cleaner meets the tombstone the second time.
 * Rule on which all of it rests: what no chain leads to has no link itself (versions_drop). */
#ifndef DUNLIN_ENGINE_VERSIONS_H
#define DUNLIN_ENGINE_VERSIONS_H

#include "engine/base.h"
#include "engine/index.h"
#include "engine/record.h"

struct shard;

/* How far the cursor is in a segment. */
struct versions_frame {
    uint64_t stamp;  /* of the frame then: another one means another segment */
    uint64_t due_ns; /* nothing is to be cut before; UINT64_MAX: never */
    uint32_t position;
    uint32_t reserved;
};

struct versions {
    uint32_t count;                /* 1 .. LIMIT_VERSION_WALK */
    uint32_t frame_next;           /* number of the frame that the cursor is at */
    uint64_t span_ns;              /* 0: by count alone */
    uint64_t clock_ns;             /* of writes that were refused: time passes for them, too */
    struct versions_frame *frames; /* frames_per_shard */
};

/* A put, delete or expiry at offset is committed: what it pushes out of the count goes. */
void versions_commit(struct shard *s, uint64_t offset);

/* Cut a chain: all versions below this link word are live no more. */
void versions_drop(struct shard *s, _Atomic uint64_t *word);

/* The record at offset, of this rank (as in struct versions_reference), is about to be copied forward: cut off what need not be. */
void versions_trim(struct shard *s, uint64_t offset, uint32_t rank);

/* What the record replaced is to be kept no longer, by time. */
bool versions_is_over(const struct shard *s, const struct record *r);

/* What the quota gets back when the version that follows the one at offset, its key's newest, is
 * committed. */
uint64_t versions_freed(const struct shard *s, uint64_t offset);

/* A write had no room: time has passed for what may be trimmed, and the cleaner is wanted. */
void versions_refused(struct shard *s, uint64_t clock_ns);

/* Let the cursor go on, by so many records as appended bytes call for.  True: there is more to do. */
MUST_USE bool versions_sweep(struct shard *s, uint64_t appended);

/* Where a record is referred to from. */
struct versions_reference {
    struct index_place place;
    _Atomic uint64_t *word; /* its key's slot (that of place) or a newer version's link; NULL: from
                               nowhere, it is dead */
    uint32_t rank;          /* among the committed versions of its key, the newest is 1 */
};
/* Returns 0 or -EAGAIN as index_find. */
MUST_USE int versions_reference_find(struct shard *s, uint64_t offset,
                                     struct versions_reference *found);

#endif
