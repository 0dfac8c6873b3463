/* raft_disk_log - the log of a node of the control plane on its disk, in segments.
 *
 *   open-COUNTER             the one that is written
 *   log-COUNTER-FIRST-LAST   closed: its first entry, if there is one, has index FIRST; where it ends, the log
 *                            ends with LAST (below FIRST: all was truncated)
 * all numbers of 20 digits, counters without a gap.  Records are only appended, those that void entries, too:
 * bytes that were synced are never touched again.  A segment goes when all entries that it still adds to the
 * log are covered by a durable snapshot.
 *
 * A segment begins as the file `reserve`, zeros on the disk, so that a write in the middle of it needs no
 * metadata of the file system.  One that was open when the directory was read is written to a new, closed
 * file, without what was torn.
 *
 * Thread: whoever holds it, one at a time (raft_disk.c: a worker, or the loop while no worker runs). */
#ifndef DUNLIN_CONTROL_RAFT_DISK_LOG_H
#define DUNLIN_CONTROL_RAFT_DISK_LOG_H

#include "control/raft_disk_files.h"

#include <raft.h>

struct raft_disk_segment {
    uint64_t counter;
    uint64_t first, last;
    char name[RAFT_DISK_NAME_BYTES];
};

/* Give it the name of a closed one. */
void raft_disk_segment_name(struct raft_disk_segment *s);

struct raft_disk_log {
    struct raft_disk_files *files;
    struct raft_disk_segment *segments; /* oldest first; the last is the open one if fd >= 0 */
    size_t segment_count, segment_room;
    int fd;
    uint64_t sector, sector_count; /* of the open one: next free, all */
    uint64_t next;                 /* index of the next entry */
    bool wants_reserve;            /* it was taken for a segment */
    uint8_t *payload;              /* of the write that is being put together */
    size_t payload_length, payload_room;
};

/* Entries of a log, in order; struct and memory as libraft has them. */
struct raft_disk_entries {
    struct raft_entry *list;
    size_t count, room;
    uint64_t first; /* index of the first */
};
/* Free them all. */
void raft_disk_entries_drop(struct raft_disk_entries *e);
/* Drop those from index on. */
void raft_disk_entries_cut(struct raft_disk_entries *e, uint64_t index);

void raft_disk_log_init(struct raft_disk_log *l, struct raft_disk_files *files);
void raft_disk_log_fini(struct raft_disk_log *l);

/* Everything below returns 0 or a RAFT_ code that the files said. */

/* Read the directory, close what is open in it.  The entries are the caller's. */
MUST_USE int raft_disk_log_load(struct raft_disk_log *l, struct raft_disk_entries *entries);

/* Add a record to the next write; data is copied.  An entry gets the index l->next. */
MUST_USE int raft_disk_log_add(struct raft_disk_log *l, const struct raft_disk_record *r);
/* One write and one sync of what was added. */
MUST_USE int raft_disk_log_flush(struct raft_disk_log *l);

/* Remove segments that add nothing above index. */
MUST_USE int raft_disk_log_forget(struct raft_disk_log *l, uint64_t index);

#endif
