/* raft_disk_meta - term and vote of a node on its disk.
 *
 * Two files of one sector, written in place and alternately, so that the newest whole one says what was last
 * acknowledged.  Since a sector is written whole or not at all (raft_disk_format.h), one that fails its check
 * was not torn: it is damaged, it may have held the newest vote, and nobody may vote again without it.
 * Both exist from the first start on; a missing one is damage, too, but for the first start itself.
 *
 * Thread: the loop's. */
#ifndef DUNLIN_CONTROL_RAFT_DISK_META_H
#define DUNLIN_CONTROL_RAFT_DISK_META_H

#include "control/raft_disk_files.h"

struct raft_disk_meta {
    struct raft_disk_files *files;
    struct raft_disk_metadata now;
    uint64_t version_next; /* above all that may stand on the disk */
    int fd[2];
};

/* Read both; make them if is_new (the directory holds nothing else).  Returns 0 or a RAFT_ code; to be closed
 * either way. */
MUST_USE int raft_disk_meta_open(struct raft_disk_meta *m, struct raft_disk_files *files,
                                 bool is_new);
/* On the disk when it returns 0.  Else unknown: m->now is what it was, and the next write replaces what may
 * have been written, never the other file. */
MUST_USE int raft_disk_meta_write(struct raft_disk_meta *m, uint64_t term, uint64_t vote);
void raft_disk_meta_close(struct raft_disk_meta *m);

#endif
