/* listener - the daemon's place in the file system: its lock, its start number, its socket.
 *
 * Beside the socket PATH lies PATH.state.  Whoever holds its flock is the living daemon of this
 * PATH; the kernel lets go of it when the process ends, in whatever way.  So a socket file found
 * under the lock belongs to a dead daemon and is replaced.  The file stays when the daemon ends; it
 * holds what the next start must be above:
 *
 *   start number  milliseconds since 1970, or the stored one plus one if the clock was set back
 *   LSN ceiling   granted to logs so far: a start begins its logs at or above it
 *   lease         that start's lease time in ns: agents of a daemon that just died may answer
 *                 linearizable reads from its memory for so long
 *
 * So start numbers, LSNs and with them versions and fencing tokens only grow, as long as either the
 * file or the clock survives (the directory may be a tmpfs: over a boot the clock has to grow).
 * Part E replaces both by what the control plane issues.
 *
 * Control thread. */
#ifndef DUNLIN_CONTROL_LISTENER_H
#define DUNLIN_CONTROL_LISTENER_H

#include "engine/base.h"

#include <sys/types.h>
#include <sys/un.h>

struct listener {
    int fd; /* SOCK_SEQPACKET, nonblocking, listening */
    int state_fd;
    uint64_t start;
    uint64_t lsn_ceiling;     /* as stored: 0 if nothing was known */
    uint64_t lease_before_ns; /* of the start before; 0 if there was none */
    uint64_t lease_ns;
    dev_t device; /* of the socket file as we made it: nobody else's is ever unlinked */
    ino_t inode;
    struct sockaddr_un address;
};

/* Take the path, make its directory (0755) if it is missing, and listen; the file has exactly the
 * permissions of mode from its first moment.  Returns 0, or with nothing left open
 *   -EADDRINUSE    a living daemon is there
 *   -ENAMETOOLONG  path does not fit a socket address
 *   -ENOTSOCK      something else stands at path; it is left alone
 *   -EOVERFLOW     the clock, or the starts before, are beyond what start numbers reach (2039)
 *   another -errno of the system call that failed. */
MUST_USE int listener_open(struct listener *l, const char *path, uint32_t mode);

/* Nodes of one process are one start: take over the highest start number and LSN ceiling among them,
 * before anything hangs on ours.  Returns 0 or -errno of the store. */
MUST_USE int listener_raise(struct listener *l, uint64_t start, uint64_t lsn_ceiling);

/* Store a higher LSN ceiling; only then may it be granted.  Returns 0 or -errno. */
MUST_USE int listener_grant(struct listener *l, uint64_t lsn_ceiling);

/* Store our own lease time, before the first lease.  lease_before_ns stays what it was.  Returns 0
 * or -errno. */
MUST_USE int listener_lease(struct listener *l, uint64_t lease_ns);

/* Close, and unlink the socket if it is still the one that was made here. */
void listener_close(struct listener *l);

#endif
