/* raft_disk_files - the directory of raft_disk: whole files read and replaced, names, what failed.
 *
 * A new file is written under NAME.new, synced, renamed, and the directory synced: it is there whole or not at
 * all.  Nothing is ever cut or written twice but metadata1, metadata2 and the unwritten end of a segment.
 *
 * Thread: one at a time for each struct; two of them may share a directory.
 * Source: Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014). */
#ifndef DUNLIN_CONTROL_RAFT_DISK_FILES_H
#define DUNLIN_CONTROL_RAFT_DISK_FILES_H

#include "control/raft_disk_format.h"

#define RAFT_DISK_NAME_BYTES 72u
#define RAFT_DISK_FAULT_BYTES 480u
#define RAFT_DISK_RESERVE "reserve"

struct raft_disk_files {
    int directory;    /* descriptor */
    const char *path; /* of the directory, for texts */
    uint64_t cluster, node;
    char fault[RAFT_DISK_FAULT_BYTES]; /* text of the last failure */
};

/* Say what failed.  Returns RAFT_NOSPACE, RAFT_NOMEM or RAFT_IOERR, by the errno. */
int raft_disk_files_fail(struct raft_disk_files *f, const char *what, const char *name, int error);
/* Say what is damaged, and where.  Returns RAFT_CORRUPT. */
int raft_disk_files_corrupt(struct raft_disk_files *f, const char *name, uint64_t offset,
                            const char *what);

/* All below return 0 or a RAFT_ code, which raft_disk_files_fail said. */

/* A whole file, the caller's to free().  RAFT_NOTFOUND: there is none; RAFT_CORRUPT: longer than that. */
MUST_USE int raft_disk_files_read(struct raft_disk_files *f, const char *name, size_t most,
                                  uint8_t **bytes, size_t *length);
/* Make or replace a file. */
MUST_USE int raft_disk_files_replace(struct raft_disk_files *f, const char *name,
                                     const uint8_t *bytes, size_t length);
/* The same, of zeros that are on the disk: writing over them changes no metadata. */
MUST_USE int raft_disk_files_zeros(struct raft_disk_files *f, const char *name, size_t length);
/* Where to write: an open file, its name for texts. */
struct raft_disk_target {
    int fd;
    const char *name;
    uint64_t offset;
};
/* Write there, and sync. */
MUST_USE int raft_disk_files_write(struct raft_disk_files *f, const struct raft_disk_target *to,
                                   const uint8_t *bytes, size_t length);
/* RAFT_NOTFOUND: there is no such file. */
MUST_USE int raft_disk_files_rename(struct raft_disk_files *f, const char *from, const char *to);
MUST_USE int raft_disk_files_sync(struct raft_disk_files *f); /* the directory */
/* It need not be there. */
MUST_USE int raft_disk_files_remove(struct raft_disk_files *f, const char *name);
/* To write an existing one; *fd the caller's to close. */
MUST_USE int raft_disk_files_open(struct raft_disk_files *f, const char *name, int *fd);

/* Give each name in the directory to look, which returns 0 or the code to end with. */
MUST_USE int raft_disk_files_list(struct raft_disk_files *f,
                                  int (*look)(void *context, const char *name), void *context);

/* A number of exactly that many decimal digits (at most 20), and then end; the rest of the text, or NULL. */
const char *raft_disk_files_number(const char *text, char end, uint64_t *number);

#endif
