#include "control/listener.h"

#include "dataplane/node.h"
#include "engine/clock.h"

#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG 512
#define STATE_PRINT "start=%020" PRIu64 "\nlsn_ceiling=%020" PRIu64 "\nlease_ns=%020" PRIu64 "\n"
#define STATE_SCAN "start=%20" SCNu64 "\nlsn_ceiling=%20" SCNu64 "\nlease_ns=%20" SCNu64
#define STATE_BYTES 90u
/* Of a start number, so that its logs begin below 2^63: year 2039; more is damage. */
#define STATE_START_MAX ((UINT64_C(1) << (63 - NODE_LSN_PER_START_SHIFT)) - 1)

static int directory_make(const char *path)
{
    char copy[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    memcpy(copy, path, strlen(path) + 1);
    if (mkdir(dirname(copy), 0755) == 0 || errno == EEXIST)
        return 0;
    return -errno;
}

static int state_lock(struct listener *l, const char *path)
{
    char state_path[sizeof(l->address.sun_path) + sizeof(".state")];
    (void)snprintf(state_path, sizeof(state_path), "%s.state", path);
    l->state_fd = open(state_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (l->state_fd < 0)
        return -errno;
    if (flock(l->state_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    return errno == EWOULDBLOCK ? -EADDRINUSE : -errno;
}

/* Whatever the file holds: its numbers are used, anything else counts as no file. */
static void state_load(struct listener *l)
{
    char text[STATE_BYTES + 1];
    uint64_t start, ceiling;
    uint64_t lease = 0;
    l->start = 0;
    l->lsn_ceiling = 0;
    ssize_t length = pread(l->state_fd, text, STATE_BYTES, 0);
    if (length <= 0)
        return;
    text[length] = 0;
    if (sscanf(text, STATE_SCAN, &start, &ceiling, &lease) < 2 || start > STATE_START_MAX)
        return;
    l->start = start;
    l->lsn_ceiling = ceiling;
    l->lease_before_ns = l->lease_ns = lease;
}

/* Why one write of fixed length: a daemon killed here leaves the old numbers or the new ones. */
static int state_store(struct listener *l)
{
    char text[STATE_BYTES + 1];
    int length = snprintf(text, sizeof(text), STATE_PRINT, l->start, l->lsn_ceiling, l->lease_ns);
    ssize_t written = pwrite(l->state_fd, text, (size_t)length, 0);
    if (written < 0)
        return -errno;
    if (written != length)
        return -EIO;
    return fdatasync(l->state_fd) == 0 ? 0 : -errno;
}

static int state_take(struct listener *l)
{
    state_load(l);
    l->start = max_u64(clock_realtime_ns() / NS_PER_MS, l->start + 1);
    /* Why nothing is stored then: one day of a wrong clock would be every later start's. */
    return l->start <= STATE_START_MAX ? state_store(l) : -EOVERFLOW;
}

int listener_raise(struct listener *l, uint64_t start, uint64_t lsn_ceiling)
{
    l->start = max_u64(l->start, start);
    l->lsn_ceiling = max_u64(l->lsn_ceiling, lsn_ceiling);
    return state_store(l);
}

int listener_grant(struct listener *l, uint64_t lsn_ceiling)
{
    l->lsn_ceiling = max_u64(l->lsn_ceiling, lsn_ceiling);
    return state_store(l);
}

int listener_lease(struct listener *l, uint64_t lease_ns)
{
    l->lease_ns = lease_ns;
    return state_store(l);
}

/* Why a look although we hold the lock: a program that knows no lock may listen there. */
static int stale_remove(const struct listener *l)
{
    struct stat status;
    if (lstat(l->address.sun_path, &status) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(status.st_mode))
        return -ENOTSOCK;
    int probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return -errno;
    int answer =
        connect(probe, (const struct sockaddr *)&l->address, sizeof(l->address)) == 0 ? 0 : errno;
    (void)close(probe);
    if (answer != ECONNREFUSED)
        return -EADDRINUSE;
    return unlink(l->address.sun_path) == 0 || errno == ENOENT ? 0 : -errno;
}

static int socket_listen(struct listener *l, uint32_t mode)
{
    struct stat status;
    l->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        return -errno;
    /* Why umask: between bind and chmod the file must not be more open than mode. */
    mode_t before = umask((mode_t)(~mode & 0777u));
    int bound = bind(l->fd, (const struct sockaddr *)&l->address, sizeof(l->address));
    int error = bound == 0 ? 0 : -errno;
    (void)umask(before);
    if (error != 0)
        return error;
    if (lstat(l->address.sun_path, &status) != 0)
        return -errno;
    l->device = status.st_dev;
    l->inode = status.st_ino;
    /* Why once more: a default ACL of the directory counts instead of umask. */
    if (chmod(l->address.sun_path, (mode_t)mode) != 0 || listen(l->fd, BACKLOG) != 0)
        return -errno;
    return 0;
}

int listener_open(struct listener *l, const char *path, uint32_t mode)
{
    *l = (struct listener){.fd = -1, .state_fd = -1, .address.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof(l->address.sun_path))
        return length == 0 ? -EINVAL : -ENAMETOOLONG;
    memcpy(l->address.sun_path, path, length + 1);
    int error = directory_make(path);
    if (error == 0)
        error = state_lock(l, path);
    if (error == 0)
        error = stale_remove(l);
    if (error == 0)
        error = state_take(l);
    if (error == 0)
        error = socket_listen(l, mode);
    if (error != 0)
        listener_close(l);
    return error;
}

void listener_close(struct listener *l)
{
    struct stat status;
    if (l->inode != 0 && lstat(l->address.sun_path, &status) == 0 && status.st_dev == l->device &&
        status.st_ino == l->inode)
        (void)unlink(l->address.sun_path);
    if (l->fd >= 0)
        (void)close(l->fd);
    if (l->state_fd >= 0)
        (void)close(l->state_fd);
    l->fd = -1;
    l->state_fd = -1;
    l->inode = 0;
}
