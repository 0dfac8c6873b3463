/* log - the byte stream of one shard: segments, positions, epochs.
 *
 * Pure; the shard's lcore only.  A record is written whole at the end, then lsn_end moves; bytes below
 * it are never written again.  What is visible is the board's business (shard.h).
 * Segments stand in one queue by age: tail segments, whose bytes are the replicated stream, and base
 * segments, into which the cleaner copied live records forward (clean.h).
 * Which frame holds which segment of the tail is shown to agents, too, but by a log that boards do not
 * show yet (install.h): log_show.
 * The epoch table says which epoch wrote which LSNs (DESIGN section 5; KIP-101): entries are added by
 * epoch records, and the oldest collapse into one when the table is full. */
#ifndef DUNLIN_ENGINE_LOG_H
#define DUNLIN_ENGINE_LOG_H

#include "engine/base.h"
#include "engine/frames.h"
#include "engine/record.h"

struct log_epoch {
    uint64_t epoch;
    uint64_t lsn_start;
    uint64_t lsn_end_before; /* of the epoch before */
    uint64_t lossy;          /* 1: opened by a recovery that lost data; LSNs may have jumped */
};

/* A segment being filled. */
struct log_segment {
    uint8_t *base; /* NULL: none open */
    uint32_t frame;
    uint32_t used;
};

struct log {
    struct frames *frames;
    uint8_t *arena;
    uint32_t number;
    uint32_t segment_shift;
    uint64_t lsn_origin;   /* where it began, empty; 0: it goes on from a snapshot */
    uint64_t lsn_base;     /* which stands for all below, committed; 0: it does not */
    uint64_t lsn_whole;    /* end of the last whole transaction: a pad behind belongs to the next */
    uint64_t lsn_end;      /* next byte to be written */
    uint64_t lsn_ceiling;  /* granted by the control plane: never append past it */
    uint64_t hybrid_clock; /* of the last record */
    bool unfinished;       /* the last record appended did not end its transaction */
    struct log_segment tail; /* lsn_end lies in it */
    uint32_t *queue;         /* full segments, oldest first; ring of frames_per_shard */
    uint32_t queue_head, queue_count;
    uint32_t *by_lsn;        /* tail segments, by number modulo frames_per_shard: frame + 1 */
    _Atomic uint32_t *shown; /* the same for cursors (layout_by_lsn_offset); NULL: not shown */
    struct log_epoch epochs[LIMIT_EPOCHS];
    uint32_t epoch_count;
};

/* Where a log lies.  lsn_start: multiple of the segment size, above 0.  memory: two zeroed arrays of
 * frames_per_shard words. */
struct log_place {
    uint8_t *arena;
    uint32_t *memory;
    uint64_t lsn_start;
    uint32_t number;
};

void log_init(struct log *l, struct frames *frames, const struct log_place *place);

/* Have agents find the tail's segments by this table of the space file from now on; before what the log
 * holds is shown as committed. */
void log_show(struct log *l, _Atomic uint32_t *table);

/* Raise the ceiling; a lower one is ignored. */
void log_grant(struct log *l, uint64_t lsn_ceiling);

/* Append one record.  header: everything but crc, format, log, lsn and hybrid clock, which are set
 * here (clock_ns is the writer's clock; the record's clock only grows).  Returns 0, *offset being the
 * record's place in the arena and header complete, or, with nothing written but pads,
 *   -EAGAIN  no frame now: chunk on its way or cleaner behind; call again in a later pass
 *   -ENOSPC  all frames are in use: clean first
 *   -ERANGE  the ceiling is reached: ask for a higher one, call again. */
MUST_USE int log_append(struct log *l, struct record *header, const struct record_parts *parts,
                        uint64_t clock_ns, uint64_t *offset);

/* Where log_append would put a record of this size. */
uint64_t log_next_lsn(const struct log *l, uint64_t size);

/* A lossy epoch: go on at a segment's start at or above lsn_floor, which is above the log's end; nothing
 * lies between. */
void log_jump(struct log *l, uint64_t lsn_floor);

/* Add an epoch to the table (its record was appended or received); the oldest is forgotten when it is
 * full. */
void log_epoch_add(struct log *l, const struct log_epoch *entry);
/* Epoch of the record at lsn; 0 if it lies before all that the table knows. */
uint64_t log_epoch_at(const struct log *l, uint64_t lsn);

/* Room for size bytes in a segment of the base region, opening or changing it if it has to; the filled
 * one joins the queue.  Returns 0 and *offset, or as frames_take. */
MUST_USE int log_base_claim(struct log *l, struct log_segment *base, uint64_t size,
                            uint64_t *offset);

/* Close it as it is; false: none is open.  It joins the queue. */
bool log_base_close(struct log *l, struct log_segment *base);

/* A tail segment's bytes lie in another frame from now on: in that at a place of the queue, or, place
 * being queue_count, in the one that is being filled. */
void log_tail_replace(struct log *l, uint32_t place, uint32_t frame);

/* The retained bytes at lsn: up to *available of them lie at the address returned (to the end of the
 * segment or of the log).  NULL: lsn is beyond the end, or behind what the tail still holds. */
const uint8_t *log_bytes_at(const struct log *l, uint64_t lsn, uint64_t *available);

/* Follower: make frame, whose bytes belong at the log's end, the tail; the old tail is full. */
void log_tail_adopt(struct log *l, uint32_t frame);
/* Follower: bytes more of the tail are checked. */
void log_tail_advance(struct log *l, uint64_t bytes);

/* A segment of the tail that starts at or above lsn, taken off the log, which is cut there; false: none
 * is left. */
MUST_USE bool log_take_above(struct log *l, uint64_t lsn, uint32_t *frame);
/* End the log at lsn.  If that is inside a segment, frame (a copy of it up to lsn) becomes the tail in its
 * place, and *replaced is the one that was; at a segment's start frame is not used, and false returned. */
MUST_USE bool log_end_at(struct log *l, uint64_t lsn, uint32_t frame, uint32_t *replaced);

/* Every segment, off the log, into frames (room for frames_per_shard); returns how many.  What is left
 * is a log without epochs that begins at lsn, for bytes that land there if that is a segment's start;
 * it is shown no more. */
uint32_t log_abandon(struct log *l, uint64_t lsn, uint32_t *frames);

/* Frame of the full segment at a place of the queue, 0 being the oldest; and the same, taken off it. */
uint32_t log_queue_at(const struct log *l, uint32_t place);
uint32_t log_queue_take(struct log *l, uint32_t place);

/* The oldest full segment, taken off the queue; false if there is none. */
MUST_USE bool log_queue_pop(struct log *l, uint32_t *frame);

#endif
