/* raft_disk_snapshot - the newest snapshot of the control plane's state on a node's disk.
 *
 * One file, snapshot-TERM-INDEX (20 digits each): header, configuration, data.  It is there whole or not at
 * all; older ones go once it is durable.  Log segments that it covers may go after that.
 *
 * Thread: as raft_disk_log. */
#ifndef DUNLIN_CONTROL_RAFT_DISK_SNAPSHOT_H
#define DUNLIN_CONTROL_RAFT_DISK_SNAPSHOT_H

#include "control/raft_disk_files.h"

#include <raft.h>

/* A whole file to a snapshot, which is the caller's: raft_disk_snapshot_free.  Returns 0, RAFT_CORRUPT or
 * RAFT_NOMEM.  For what index (a part of its place) it is stands in its name. */
MUST_USE int raft_disk_snapshot_parse(const struct raft_disk_place *place, const uint8_t *bytes,
                                      size_t length, struct raft_snapshot **snapshot);
void raft_disk_snapshot_free(struct raft_snapshot *snapshot); /* NULL: nothing */

/* Bytes of a snapshot's data. */
uint64_t raft_disk_snapshot_bytes(const struct raft_snapshot *snapshot);

/* 0 or a RAFT_ code that the files said. */

/* *snapshot: NULL if there is none. */
MUST_USE int raft_disk_snapshot_read(struct raft_disk_files *f, struct raft_snapshot **snapshot);
/* Durable when it returns 0; then older ones are gone, or as good as gone. */
MUST_USE int raft_disk_snapshot_write(struct raft_disk_files *f,
                                      const struct raft_snapshot *snapshot);

#endif
