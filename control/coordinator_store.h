/* coordinator_store - the file of the static coordinator: its bytes, its lock, its replacement.
 *
 *   PATH       JSON, replaced as a whole by rename: whoever opens it reads one version, old or new
 *   PATH.lock  flocked by who is about to replace it; never replaced or removed itself
 *   PATH.new   what PATH becomes: made, synced and renamed under the lock; a crash leaves it behind, and
 *              the next writer begins it anew
 *
 * flock is held by an open file: the kernel lets go of it when its process ends, in whatever way.  On NFS
 * Linux makes a POSIX lock of the whole file out of it, which the server knows (NFSv4; since Linux
 * 2.6.12), and which a server that lost the client for longer than its lease breaks.
 *
 * Control thread of one process; the lock is between processes.
 * Source: Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014), for write, fsync, rename,
 * fsync of the directory. */
#ifndef DUNLIN_CONTROL_COORDINATOR_STORE_H
#define DUNLIN_CONTROL_COORDINATOR_STORE_H

#include "control/coordinator_state.h"

#include <sys/stat.h>

#define COORDINATOR_FILE_BYTES_MAX (UINT32_C(1) << 26)
#define COORDINATOR_FAULT_BYTES 200u

/* Where bytes are not those of such a file, for people. */
struct coordinator_fault {
    char text[COORDINATOR_FAULT_BYTES];
};

/* Bytes to a state, which is the caller's to free().  Returns 0, -EBADMSG with the fault, or -ENOMEM. */
MUST_USE int coordinator_parse(const char *bytes, size_t length, struct coordinator_state **s,
                               struct coordinator_fault *fault);

/* A state to bytes, with a final 0 that does not count; the caller's to free(); they parse to the same.
 * Returns 0 or -ENOMEM. */
MUST_USE int coordinator_print(const struct coordinator_state *s, char **bytes, size_t *length);

struct coordinator_store {
    char *path, *path_lock, *path_new, *directory;
    int lock_fd;
    uint64_t unlocked_ns; /* when we let go of the lock last; 0: never */
    int read_fd; /* the version read last: kept open, so that no other file can have its number; or -1 */
    struct stat read_status;
};

/* The directory must exist.  Returns 0, or with nothing left open -EINVAL (an empty path), -ENOMEM, or
 * -errno of the lock file. */
MUST_USE int coordinator_store_open(struct coordinator_store *f, const char *path);
void coordinator_store_close(struct coordinator_store *f);

/* Returns 0, -EAGAIN (somebody else has held it for wait_ms), or -errno. */
MUST_USE int coordinator_store_lock(struct coordinator_store *f, uint32_t wait_ms);
void coordinator_store_unlock(struct coordinator_store *f);

/* Whether the file is another one than was read last; 1, 0, or -errno (-ENOENT: there is none). */
MUST_USE int coordinator_store_is_replaced(const struct coordinator_store *f);

/* Read it, with the lock or without; the state is the caller's to free().  Returns 0, -ENOENT (none), as
 * coordinator_parse, -EFBIG, or -errno. */
MUST_USE int coordinator_store_read(struct coordinator_store *f, struct coordinator_state **s,
                                    struct coordinator_fault *fault);
/* What was read last is not to be used after all: it counts as replaced. */
void coordinator_store_forget(struct coordinator_store *f);

/* A descriptor, the caller's to close, that is readable when something in the directory was replaced; -1: not
 * to be had here. */
MUST_USE int coordinator_store_watch(const struct coordinator_store *f);
/* Not readable any more, until the next time.  fd may be -1. */
void coordinator_store_watch_drain(int fd);

/* Replace it, under the lock.  It counts as read, too.  Returns 0: on the disk; -EFBIG, -ENOMEM, or
 * -errno: the old file stands, or, if only the directory could not be synced, the new one: read it. */
MUST_USE int coordinator_store_write(struct coordinator_store *f,
                                     const struct coordinator_state *s);

#endif
