/* raft_disk_format - the bytes of raft_disk's files, written and checked.
 *
 * Pure: no I/O, no clock, no allocation.  Numbers are little endian, as this machine's.
 *
 * Everything is made of sectors of 512 bytes.  What the disk is trusted with: a sector that was written while
 * power failed has its old or its new content, in whatever order sectors arrive; a sector that rots, or that
 * belongs elsewhere, fails its checksum, which is chained over cluster, node, file and position.
 *
 * A segment is a file of zeros that is filled from its beginning by writes, each of one or more whole sectors
 * and synced before the next one starts; no sector is written twice.  A sector says how many of its write
 * come, itself included, and whether it is the first.  So, of the last segment, this can be told:
 *   all zeros behind the last whole write     the end
 *   only sectors of one write, some of them zero, and zeros behind     that write was under way when the
 *                                             power failed: its sync never returned, so nobody was told of
 *                                             it, and it may be cut
 *   anything else: a sector that fails its check, a write with others behind it     corrupt
 * In all other segments each write must be whole.
 *
 * The payload of a segment is a list of records: the first is START, then entries, and what voids them.
 *
 * Source: Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage" (FAST 2018), section 3.3:
 * a crash and a corruption must be told apart, by what a crash alone can leave. */
#ifndef DUNLIN_CONTROL_RAFT_DISK_FORMAT_H
#define DUNLIN_CONTROL_RAFT_DISK_FORMAT_H

#include "engine/base.h"

#define RAFT_DISK_SECTOR 512u
#define RAFT_DISK_PAYLOAD 500u                      /* of a sector */
#define RAFT_DISK_SEGMENT_BYTES (UINT32_C(1) << 20) /* but for a write that is larger by itself */
#define RAFT_DISK_ENTRY_MAX (UINT32_C(1) << 24)
#define RAFT_DISK_SNAPSHOT_MAX (UINT32_C(1) << 28)

/* Whose sectors they are: chained into each checksum.  File: counter of a segment; 0: metadata. */
struct raft_disk_place {
    uint64_t cluster, node, file;
};

/* ---- records ---- */

enum raft_disk_record_kind {
    RAFT_DISK_START = 1, /* first of a segment: the next entry has this index */
    RAFT_DISK_ENTRY,
    RAFT_DISK_TRUNCATE, /* entries from index on are void */
    RAFT_DISK_RESET,    /* all entries before are void, the next one has this index */
};

struct raft_disk_record {
    uint16_t kind; /* enum raft_disk_record_kind */
    uint16_t type; /* ENTRY: of libraft */
    uint64_t index;
    uint64_t term;       /* ENTRY */
    const uint8_t *data; /* ENTRY */
    uint32_t length;
};

#define RAFT_DISK_RECORD_BYTES 32u /* before the data, which is padded to 8 */

/* Bytes of a record with that much data. */
size_t raft_disk_record_bytes(size_t length);
/* Write it, 8-aligned; returns how many bytes. */
size_t raft_disk_record_put(uint8_t *to, const struct raft_disk_record *r);
/* The record at *offset, which moves behind it; r->data points into payload.  Returns 1, 0 at the end, or
 * -EBADMSG. */
MUST_USE int raft_disk_record_next(const uint8_t *payload, size_t length, size_t *offset,
                                   struct raft_disk_record *r);

/* ---- sectors ---- */

/* How many a write of that payload (not 0) takes. */
size_t raft_disk_sector_count(size_t payload_length);
/* Make the sectors of one write that begins at sector first of its file. */
void raft_disk_pack(const struct raft_disk_place *place, uint64_t first, const uint8_t *payload,
                    size_t length, uint8_t *to);

struct raft_disk_unpacked {
    size_t length;       /* payload of the whole writes, now at the front of the buffer */
    size_t sector_count; /* that they take */
    bool is_torn;        /* a write that was under way stands behind them */
    const char *fault;   /* -EBADMSG: what, */
    size_t fault_offset; /* and where */
};

/* Check a whole segment and take its payload out of the sectors, in place.  Returns 0 or -EBADMSG. */
MUST_USE int raft_disk_unpack(const struct raft_disk_place *place, uint8_t *bytes, size_t length,
                              struct raft_disk_unpacked *u);

/* ---- metadata ---- */

struct raft_disk_metadata {
    uint64_t version; /* higher is newer; odd ones stand in metadata1 */
    uint64_t term;
    uint64_t vote; /* 0: none */
};

/* One sector. */
void raft_disk_metadata_put(const struct raft_disk_place *place, const struct raft_disk_metadata *m,
                            uint8_t to[RAFT_DISK_SECTOR]);
/* Returns 0 or -EBADMSG. */
MUST_USE int raft_disk_metadata_get(const struct raft_disk_place *place, const uint8_t *bytes,
                                    size_t length, struct raft_disk_metadata *m);

/* ---- snapshots ---- */

struct raft_disk_snapshot_header {
    uint64_t index, term, configuration_index;
    uint32_t configuration_bytes; /* first behind the header */
    uint64_t data_bytes;          /* then these; the file ends with them */
    uint32_t body_checksum;       /* of both, chained from 0 */
};

#define RAFT_DISK_SNAPSHOT_HEADER_BYTES 64u

void raft_disk_snapshot_put_header(const struct raft_disk_place *place,
                                   const struct raft_disk_snapshot_header *h,
                                   uint8_t to[RAFT_DISK_SNAPSHOT_HEADER_BYTES]);
/* Check a whole file.  Returns 0 or -EBADMSG. */
MUST_USE int raft_disk_snapshot_check(const struct raft_disk_place *place, const uint8_t *bytes,
                                      size_t length, struct raft_disk_snapshot_header *h);

#endif
