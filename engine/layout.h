/* layout - every byte that two processes share, but for rings (ring.h) and records (record.h).
 *
 * Four kinds of shared memory, each a memfd made and sealed by the daemon:
 *   node file   one per daemon start; agents map it read-only.  Clock, lcores, lease cells, counters.
 *   space file  one per space; read-only.  Geometry, one board page per shard, segment directory, and by
 *               which frame each segment of a shard's tail is held.
 *   chunk       many per space; read-only.  Segments: log bytes, link arrays, index pages.  The last ones
 *               go when they are needed no more; a later one of that number is another file (leave.h).
 *   doorbell    one per daemon; agents may write it, so it is only a hint.
 * (The fourth sort, one file per agent for its rings, is written by both: see ring.h.)
 *
 * Units: offset  byte position in a space's arena; chunk n covers [n << chunk_shift, ...)
 *        frame   offset >> segment_shift: one segment's place
 *        ticks   of the clock kind that the node file names (clock.h)
 *        lsn     byte position in a shard's log
 * Ownership: every word has one writer, named beside it; readers use acquire loads, or relaxed ones
 *        inside the read protocol (read.h), whose last check validates them all.
 * Source: DESIGN sections 2 and 3. */
#ifndef DUNLIN_ENGINE_LAYOUT_H
#define DUNLIN_ENGINE_LAYOUT_H

#include "engine/base.h"
#include "engine/limits.h"

#define LAYOUT_MAGIC_NODE UINT64_C(0x65646f6e6c6e7564)  /* "dunlnode" */
#define LAYOUT_MAGIC_SPACE UINT64_C(0x63617073736c6e64) /* "dnlsspac" */
#define LAYOUT_MAGIC_AGENT UINT64_C(0x746e65676c6e7564) /* "dunlgent" */

/* Changes with any layout: a library and a daemon that disagree refuse each other by it. */
#define LAYOUT_VERSION UINT64_C(6)
#define LAYOUT_FINGERPRINT                                                                         \
    ((LAYOUT_VERSION << 48) ^ ((uint64_t)sizeof(struct layout_board) << 32) ^                      \
     ((uint64_t)sizeof(struct layout_node) << 20) ^                                                \
     ((uint64_t)sizeof(struct layout_frame) << 12) ^ ((uint64_t)LIMIT_INDEX_PAGES << 4) ^          \
     LIMIT_PINS)

/* ---- node file ---- */

/* Written by its lcore only. */
struct layout_lcore {
    alignas(CACHE_LINE) _Atomic uint64_t ticks_alive; /* last pass; the age of local reads */
    /* Not 0: blocked on its descriptors, ring its eventfd, once for each value. */
    _Atomic uint32_t sleeping;
    /* By id - 1 of a space: changes when something of it was committed here; it wraps. */
    alignas(CACHE_LINE) _Atomic uint32_t commits[LIMIT_SPACES];
};

/* A lease cell: until when linearizable reads under it are good.  An idle shard costs nothing: all
 * shards of an lcore with the same voters share one.  Generation changes before a new deadline is
 * stored whenever the lease lapsed, was dropped, or an epoch of its shards changed. */
struct layout_lease {
    alignas(CACHE_LINE) _Atomic uint64_t generation;
    _Atomic uint64_t ticks_deadline;
    _Atomic uint64_t ticks_current; /* of a leader's cell at a follower: age counts from here */
};

/* What observe and `dunlin status` read; every counter has one writer, its lcore. */
enum counter {
    COUNTER_PASSES,
    COUNTER_PASSES_BUSY,
    COUNTER_SLEEPS,
    COUNTER_OPERATIONS, /* sequenced, applied */
    COUNTER_DUPLICATES, /* answered from a session's results */
    COUNTER_CONDITIONS_FAILED,
    COUNTER_READS_BY_RING,
    COUNTER_REFUSED_ACCESS,
    COUNTER_REFUSED_QUOTA,
    COUNTER_REFUSED_SESSION,
    COUNTER_REFUSED_INPUT,
    COUNTER_BACK_PRESSURE, /* messages left in a ring because a shard could not take them yet */
    COUNTER_RECORDS,
    COUNTER_RECORD_BYTES,
    COUNTER_CLEANED_RECORDS,
    COUNTER_CLEANED_BYTES, /* copied forward: write amplification = (RECORD + this) / RECORD */
    COUNTER_SEGMENTS_FREED,
    COUNTER_SEGMENTS_PINNED, /* times a segment waited for a view */
    COUNTER_INDEX_GROWTHS,
    COUNTER_AGENT_FAULTS, /* agents detached for what they wrote into their ring */
    COUNTER_PEER_MESSAGES,
    COUNTER_PEER_PROTOCOL, /* messages of peers that no correct peer sends */
    COUNTER_ACTIVATIONS,   /* epochs of shards that began to be led here */
    COUNTER_STOPPED,       /* shards that met what must not be: their replica here stopped */
    COUNTER_STALLS, /* passes of the poll loop that took longer than a quarter of the lease */
    COUNTER_STALL_LONGEST_NS,
    COUNTER_FORWARDED,          /* operations sent to the node that leads their shard */
    COUNTER_FORWARDED_ANSWERED, /* of them */
    COUNTER_FORWARDED_RETRIED,  /* of them, given up: the agent is told to ask again */
    COUNTER_FORWARDS_LATE,      /* answers for what was given up */
    COUNTER_FORWARDS_EXECUTED,  /* operations of agents of other nodes */
    COUNTER_KEYS_EXPIRED,       /* by their ttl */
    COUNTER_HISTORIES_CUT,      /* keys whose older versions went early, for lack of memory */
    COUNTER_AGENTS_THROTTLED,   /* times that an agent had used up its rate with requests waiting */
    COUNTER_LOG_WRITES,         /* ranges of logs put into peers' memory */
    COUNTER_LOG_WRITES_REFUSED, /* by the transport: their bytes went by message */
    COUNTER_LOG_WRITES_STRAY,   /* of peers, dropped: where they are to stand nothing is granted */
    COUNTER_DISCONNECTS,        /* connections for log writes that were torn down */
    COUNTER_COUNT
};

#define LAYOUT_COUNTERS 48u
_Static_assert(COUNTER_COUNT <= LAYOUT_COUNTERS, "room for the counters");

struct layout_counters {
    alignas(CACHE_LINE) _Atomic uint64_t value[LAYOUT_COUNTERS];
};

struct layout_node {
    /* constant after the file is made */
    uint64_t magic;
    uint64_t fingerprint;
    uint64_t start; /* number of this start of the daemon */
    uint32_t node_id;
    uint32_t clock_kind; /* enum clock_kind */
    uint64_t ticks_per_s;
    uint64_t lease_ns;     /* lease time L */
    uint64_t heartbeat_ns; /* no wait of an agent is longer before it looks if we live */
    uint64_t view_ns;      /* a pin lapses this long after its segment began to retire */
    uint32_t lcore_count;
    uint32_t lease_virtual; /* 1: no linearizable reads in place (clock may stop) */
    uint32_t light_fences;  /* 1: lcores fence for registered agents too (membarrier(2), global
                                 expedited), so these need none between commit and consumer_state */
    uint32_t reserved;
    char name[LIMIT_NAME_BYTES];
    char zone[LIMIT_NAME_BYTES]; /* "": none; written once, before agents attach */
    struct layout_lcore lcores[LIMIT_LCORES];
    struct layout_lease leases[LIMIT_LEASE_CELLS]; /* lcore * LIMIT_LEASE_CELLS_PER_LCORE + cell */
    struct layout_counters counters[LIMIT_LCORES];
};

/* Agents set bits; the lcore clears them.  Anybody may clear anybody's: a slow sweep visits all.
 * watched: bit id - 1 is set where some sleep on the watch_round of that space; agents set it, control
 * clears it and wakes them.  Where somebody else clears it they wake by their own clock. */
struct layout_doorbell {
    struct {
        alignas(CACHE_LINE) _Atomic uint64_t bits[LIMIT_AGENTS / 64];
    } lcores[LIMIT_LCORES];
    alignas(CACHE_LINE) _Atomic uint64_t watched;
};
_Static_assert(LIMIT_SPACES <= 64, "a bit of watched for each space");

/* Of a futex that watchers sleep on: those of a round, so that who wakes the sleepers of earlier rounds wakes
 * none of this one. */
static inline uint32_t layout_watch_bit(uint32_t round)
{
    return UINT32_C(1) << (round % 32);
}

/* ---- space file ---- */

/* Geometry of a space's arena; constant. */
struct layout_geometry {
    uint32_t segment_shift;
    uint32_t chunk_shift;
    uint32_t frames_per_chunk; /* usable as segments; link arrays lie behind them */
    uint32_t frames_per_shard; /* most a shard may ever use */
    uint32_t shard_count;
    uint32_t chunk_count_max;
};

/* Offset of the link array of a frame: one 8-byte word per 64 bytes of log, at the chunk's end. */
static inline uint64_t layout_links_of(const struct layout_geometry *g, uint64_t frame)
{
    uint32_t frames_shift = g->chunk_shift - g->segment_shift;
    uint64_t chunk = frame >> frames_shift;
    uint64_t in_chunk = frame & ((UINT64_C(1) << frames_shift) - 1);
    return ((chunk + 1) << g->chunk_shift) - ((in_chunk + 1) << (g->segment_shift - 3));
}

/* The nth frame that a shard may use: frames are dealt to the shards in turn, so that no two lcores
 * ever share a free list and chunks are needed in order. */
static inline uint64_t layout_frame_of(const struct layout_geometry *g, uint32_t shard, uint32_t n)
{
    uint64_t usable = (uint64_t)n * g->shard_count + shard;
    uint64_t chunk = usable / g->frames_per_chunk;
    return (chunk << (g->chunk_shift - g->segment_shift)) + usable % g->frames_per_chunk;
}

/* Which shard may use a frame, if it is usable at all: the inverse of layout_frame_of. */
static inline uint32_t layout_frame_shard(const struct layout_geometry *g, uint32_t frame)
{
    uint32_t frames_shift = g->chunk_shift - g->segment_shift;
    uint64_t in_chunk = frame & ((UINT32_C(1) << frames_shift) - 1);
    uint64_t usable = (uint64_t)(frame >> frames_shift) * g->frames_per_chunk + in_chunk;
    return (uint32_t)(usable % g->shard_count);
}

/* Number of directory entries. */
static inline uint64_t layout_frame_count(const struct layout_geometry *g)
{
    return (uint64_t)g->chunk_count_max << (g->chunk_shift - g->segment_shift);
}

/* Index slot: bit 63 set, tag in bits 37..58, offset / 8 in bits 0..36; 0 is an empty slot.
 * Link word:  same without the tag; 0 says there was no older version, LAYOUT_LINK_CUT that it was
 * trimmed.  The tag is bits 10..31 of the key's hash, so that growth needs no look at the record.
 * Both may tell how large the record is, so that the writer need not look at it; 0: they do not.  A slot
 * in bits 59..62: 8-byte units above a record's header, up to 15; a link in bits 37..58: 8-byte units.
 * Bits 59..61 of a link are the writer's own (versions.h). */
#define LAYOUT_SLOT_VALID (UINT64_C(1) << 63)
#define LAYOUT_LINK_CUT (UINT64_C(1) << 62)
#define LAYOUT_SLOT_OFFSET_BITS 37u
#define LAYOUT_SLOT_OFFSET_MASK ((UINT64_C(1) << LAYOUT_SLOT_OFFSET_BITS) - 1)
#define LAYOUT_SLOT_TAG_BITS 22u
#define LAYOUT_SLOT_TAG_SHIFT LAYOUT_SLOT_OFFSET_BITS
#define LAYOUT_SLOT_TAG_MASK (((UINT64_C(1) << LAYOUT_SLOT_TAG_BITS) - 1) << LAYOUT_SLOT_TAG_SHIFT)
#define LAYOUT_HASH_TAG_SHIFT 10u
#define LAYOUT_SLOT_UNITS_SHIFT (LAYOUT_SLOT_TAG_SHIFT + LAYOUT_SLOT_TAG_BITS)
#define LAYOUT_SLOT_UNITS_MAX 15u
#define LAYOUT_SLOT_SIZE_LEAST 64u
#define LAYOUT_LINK_UNITS_SHIFT LAYOUT_SLOT_OFFSET_BITS
#define LAYOUT_LINK_UNITS_MAX ((UINT64_C(1) << 22) - 1)
#define LAYOUT_LINK_COUNT_SHIFT 59u
#define LAYOUT_LINK_COUNTS 8u
_Static_assert(LIMIT_ARENA_SHIFT == LAYOUT_SLOT_OFFSET_BITS + 3, "offsets fit a slot");

static ALWAYS_INLINE uint64_t layout_slot_tag(uint32_t hash)
{
    return (uint64_t)(hash >> LAYOUT_HASH_TAG_SHIFT) << LAYOUT_SLOT_TAG_SHIFT;
}
static ALWAYS_INLINE uint64_t layout_slot_make(uint32_t hash, uint64_t offset)
{
    return LAYOUT_SLOT_VALID | layout_slot_tag(hash) | offset >> 3;
}
static ALWAYS_INLINE bool layout_slot_matches(uint64_t slot, uint32_t hash)
{
    return (slot & (LAYOUT_SLOT_VALID | LAYOUT_SLOT_TAG_MASK)) ==
           (LAYOUT_SLOT_VALID | layout_slot_tag(hash));
}
static ALWAYS_INLINE uint64_t layout_slot_offset(uint64_t slot_or_link)
{
    return (slot_or_link & LAYOUT_SLOT_OFFSET_MASK) << 3;
}
static ALWAYS_INLINE uint64_t layout_link_make(uint64_t offset)
{
    return LAYOUT_SLOT_VALID | offset >> 3;
}
/* The bits that tell a record's size, to be set in a slot; and the size that a slot tells, 0: none. */
static ALWAYS_INLINE uint64_t layout_slot_units(uint64_t size)
{
    uint64_t units = (size - LAYOUT_SLOT_SIZE_LEAST) / 8;
    return (units <= LAYOUT_SLOT_UNITS_MAX ? units : 0) << LAYOUT_SLOT_UNITS_SHIFT;
}
static ALWAYS_INLINE uint64_t layout_slot_size(uint64_t slot)
{
    uint64_t units = slot >> LAYOUT_SLOT_UNITS_SHIFT & LAYOUT_SLOT_UNITS_MAX;
    return units != 0 ? LAYOUT_SLOT_SIZE_LEAST + units * 8 : 0;
}
/* The same for a link; size 0: not known. */
static ALWAYS_INLINE uint64_t layout_link_units(uint64_t size)
{
    uint64_t units = size / 8;
    return (units <= LAYOUT_LINK_UNITS_MAX ? units : 0) << LAYOUT_LINK_UNITS_SHIFT;
}
static ALWAYS_INLINE uint64_t layout_link_size(uint64_t link)
{
    return (link >> LAYOUT_LINK_UNITS_SHIFT & LAYOUT_LINK_UNITS_MAX) * 8;
}

/* The version that a link word belongs to is this one of its key, modulo LAYOUT_LINK_COUNTS. */
static ALWAYS_INLINE uint64_t layout_link_count(uint64_t link)
{
    return link >> LAYOUT_LINK_COUNT_SHIFT & (LAYOUT_LINK_COUNTS - 1);
}
static ALWAYS_INLINE uint64_t layout_link_counted(uint64_t link, uint64_t count)
{
    return (link & ~(UINT64_C(7) << LAYOUT_LINK_COUNT_SHIFT)) | count << LAYOUT_LINK_COUNT_SHIFT;
}
/* The same link to where its record lies now. */
static ALWAYS_INLINE uint64_t layout_link_moved(uint64_t link, uint64_t offset)
{
    return (link & ~LAYOUT_SLOT_OFFSET_MASK) | offset >> 3;
}

/* Bucket: seven slots and a word that leads on.  meta: bits 0..31 number of the overflow bucket,
 * 0 for none; LAYOUT_BUCKET_MOVED once the bucket's live slots stand in the board's other table. */
#define LAYOUT_BUCKET_SLOTS 7u
#define LAYOUT_BUCKET_MOVED (UINT64_C(1) << 63)
struct layout_bucket {
    alignas(CACHE_LINE) _Atomic uint64_t meta;
    _Atomic uint64_t slots[LAYOUT_BUCKET_SLOTS];
};
_Static_assert(sizeof(struct layout_bucket) == CACHE_LINE, "a bucket is one line");

/* Index root: bits 0..7 log2 of the bucket count, bit 8 which page array, bit 9 below, from bit 16 on how many were shown
 * before: no root ever comes back. */
#define LAYOUT_ROOT_BITS_MASK UINT64_C(0xff)
#define LAYOUT_ROOT_ARRAY UINT64_C(0x100)
/* It was given up: what its array names from then on may be of another table.  Until one is shown, nothing is found and
 * nothing is missed. */
#define LAYOUT_ROOT_GIVEN_UP UINT64_C(0x200)
#define LAYOUT_ROOT_SHOWN UINT64_C(0x10000) /* one more */

#define LAYOUT_GENERATION_MAY_READ UINT64_C(1)

/* Whose word a read without a lease counts its age by.  Not LEADS: what is above the commit LSN may be
 * committed elsewhere. */
enum layout_follower {
    LAYOUT_LEADS = 0,
    LAYOUT_FOLLOWS = 1,   /* the leader's, by the cell, for what was asked from ticks_listed on */
    LAYOUT_LEADERLESS = 2 /* nobody's yet: by ticks_sure */
};

/* What the board names instead of a tree of keys in order.  Given up: why not as if it were empty: who loaded that
 * and is stopped until a state of the same LSN is shown in its place would find nothing that contradicts it. */
#define LAYOUT_ORDER_EMPTY UINT64_C(0) /* there is no key in order */
#define LAYOUT_ORDER_GIVEN_UP UINT64_C(0xffffffff)

/* Board: all that a reader needs to judge a read of the shard.  Written by its lcore. */
struct layout_board {
    /* changes with every commit */
    alignas(CACHE_LINE) _Atomic uint64_t lsn_committed;
    _Atomic uint64_t lsn_end; /* of the log: appended, perhaps not committed */
    _Atomic uint64_t live_bytes;
    _Atomic uint64_t key_count;
    /* changes seldom */
    alignas(CACHE_LINE) _Atomic uint64_t reclaim_count;
    _Atomic uint64_t lsn_tombstone_horizon; /* a miss at an LSN below it is "compacted" */
    _Atomic uint64_t lease_generation;      /* own generation; odd while it has part in the cell */
    _Atomic uint64_t index_root;
    _Atomic uint64_t epoch;
    _Atomic uint64_t order_root; /* number of the node + 1, or LAYOUT_ORDER_* */
    _Atomic uint32_t lease_cell; /* number of the cell in the node file */
    uint32_t log;                /* constant: number of the shard's log */
    uint16_t lcore;              /* constant: who owns the shard */
    _Atomic uint16_t follower;   /* enum layout_follower */
    /* The header's, stored before anything of the shard lies in a chunk that was made since (leave.h). */
    _Atomic uint32_t arena_generation;
    /* frames of the pages of the two tables that can exist at a time */
    alignas(CACHE_LINE) _Atomic uint32_t pages[2][LIMIT_INDEX_PAGES];
    _Atomic uint64_t leave_answer; /* to the header's leave */
    /* Clocks; stored before the cell and the role that go with them.  0: never. */
    _Atomic uint64_t ticks_sure;   /* what it shows was the newest then, as leaders before said */
    _Atomic uint64_t ticks_listed; /* since then the leader's word is about this shard, too */
    uint8_t pad[PAGE - 2 * CACHE_LINE - 8 * LIMIT_INDEX_PAGES - 24];
};
_Static_assert(sizeof(struct layout_board) == PAGE, "a board is one page");

/* Segment directory entry; written by the lcore of the shard that owns the frame. */
enum frame_kind {
    FRAME_FREE = 0,
    FRAME_TAIL = 1,  /* replicated log bytes at lsn_start + position */
    FRAME_BASE = 2,  /* live records copied forward by the cleaner; records keep their LSN */
    FRAME_INDEX = 3, /* a page of an index table */
    FRAME_ORDER = 4, /* nodes of the ordered index: order_node.h */
};
#define FRAME_RETIRING 0x80u /* no reference leads here any more; a new pin does not count */
struct layout_frame {
    alignas(32) _Atomic uint64_t stamp; /* value of reclaim_count when it was last given up */
    _Atomic uint64_t lsn_start;         /* TAIL: LSN of its first byte */
    _Atomic uint32_t kind;              /* enum frame_kind, with FRAME_RETIRING */
    _Atomic uint32_t bytes_used;        /* BASE: end of its records */
    _Atomic uint32_t bytes_live;        /* TAIL, BASE: records that a slot names */
    uint32_t shard;
};
_Static_assert(sizeof(struct layout_frame) == 32, "two directory entries a line");

/* First page of a space file; boards and directory follow at fixed places. */
struct layout_space {
    uint64_t magic;
    uint64_t fingerprint;
    uint64_t start;
    uint64_t bytes; /* of this file */
    struct layout_geometry geometry;
    uint32_t id;
    uint32_t consistency;      /* enum space_consistency */
    uint32_t partition_prefix; /* bytes of the key that name the shard, 0: all */
    uint32_t value_bytes_max;
    uint32_t ordered; /* 1: its shards keep their keys in order, so it can be scanned */
    char name[LIMIT_NAME_BYTES];
    /* written by control */
    alignas(CACHE_LINE) _Atomic uint32_t chunk_count; /* chunks that exist */
    _Atomic uint32_t chunk_limit;      /* chunk_count_max; chunk_count while no more can be made */
    _Atomic uint64_t leave;            /* which chunks the shards are to leave: layout_leave */
    _Atomic uint32_t arena_generation; /* one more each time that chunks went */
    _Atomic uint32_t dropped; /* 1: the space is no more, stored before any of its boards says so */
    /* Written by control: changes when something was committed since watchers told in the doorbell file that
     * they sleep on it (futex); then the first of them are woken, and each wakes others: waker.h. */
    alignas(CACHE_LINE) _Atomic uint32_t watch_round;
};
_Static_assert(sizeof(struct layout_space) <= PAGE, "the header is one page");

static inline uint64_t layout_board_offset(uint32_t shard)
{
    return PAGE + (uint64_t)shard * sizeof(struct layout_board);
}
static inline uint64_t layout_directory_offset(const struct layout_geometry *g)
{
    return layout_board_offset(g->shard_count);
}
/* Behind the directory, for each shard frames_per_shard words: by the number of a segment (LSN over
 * segment size) modulo that, the frame that holds it in the tail, plus 1; 0: none.  An entry stays when
 * its segment goes: the directory's kind and lsn_start say if it holds.  Written by the shard's lcore. */
static inline uint64_t layout_by_lsn_offset(const struct layout_geometry *g, uint32_t shard)
{
    return layout_directory_offset(g) + layout_frame_count(g) * sizeof(struct layout_frame) +
           (uint64_t)shard * g->frames_per_shard * sizeof(uint32_t);
}
/* Behind those, for each chunk one word: the arena's generation when it was last made.  Written by
 * control, before chunk_count says that it is there. */
static inline uint64_t layout_chunk_generation_offset(const struct layout_geometry *g)
{
    return layout_by_lsn_offset(g, g->shard_count);
}
static inline uint64_t layout_space_bytes(const struct layout_geometry *g)
{
    return align_up(layout_chunk_generation_offset(g) + g->chunk_count_max * sizeof(uint32_t),
                    PAGE);
}
/* Address space of an arena, with all the chunks that there may be. */
static inline uint64_t layout_arena_bytes(const struct layout_geometry *g)
{
    return (uint64_t)g->chunk_count_max << g->chunk_shift;
}
/* The word of a chunk; of the space file at file. */
static inline _Atomic uint32_t *layout_chunk_generation(const struct layout_space *file,
                                                        uint32_t chunk)
{
    uintptr_t at = (uintptr_t)file + layout_chunk_generation_offset(&file->geometry);
    return (_Atomic uint32_t *)at + chunk;
}

/* layout_space.leave: a number that is never used twice, and the first of the chunks that are to be left,
 * or LAYOUT_LEAVE_NONE.  A shard that has nothing there any more answers the same word, one that has too
 * much to do without them that word with LAYOUT_LEAVE_REFUSED. */
#define LAYOUT_LEAVE_NONE UINT32_MAX
#define LAYOUT_LEAVE_REFUSED (UINT64_C(1) << 63)
static inline uint64_t layout_leave(uint32_t number, uint32_t chunk)
{
    return (uint64_t)(number & INT32_MAX) << 32 | chunk;
}

#endif
