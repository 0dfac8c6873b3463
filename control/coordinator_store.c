#include "control/coordinator_store.h"

#include "engine/clock.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <unistd.h>

#define LOCK_LOOK_US 500u
#define LOCK_REST_NS (2 * NS_PER_MS)

/* ---- open and close ---- */

static char *path_with(const char *path, const char *end)
{
    char *text = NULL;
    return asprintf(&text, "%s%s", path, end) < 0 ? NULL : text;
}

static int paths_make(struct coordinator_store *f, const char *path)
{
    char *copy = strdup(path);
    f->path = path_with(path, "");
    f->path_lock = path_with(path, ".lock");
    f->path_new = path_with(path, ".new");
    f->directory = copy != NULL ? strdup(dirname(copy)) : NULL;
    free(copy);
    return f->path != NULL && f->path_lock != NULL && f->path_new != NULL && f->directory != NULL
               ? 0
               : -ENOMEM;
}

static int lock_open(const struct coordinator_store *f)
{
    /* Why to write as well: as a POSIX lock on NFS an exclusive one asks for that. */
    int fd = open(f->path_lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd < 0 ? -errno : fd;
}

int coordinator_store_open(struct coordinator_store *f, const char *path)
{
    *f = (struct coordinator_store){.lock_fd = -1, .read_fd = -1};
    if (path[0] == 0)
        return -EINVAL;
    int error = paths_make(f, path);
    if (error == 0) {
        f->lock_fd = lock_open(f);
        error = f->lock_fd < 0 ? f->lock_fd : 0;
    }
    if (error != 0)
        coordinator_store_close(f);
    return error;
}

void coordinator_store_close(struct coordinator_store *f)
{
    coordinator_store_forget(f);
    if (f->lock_fd >= 0)
        (void)close(f->lock_fd);
    f->lock_fd = -1;
    free(f->path);
    free(f->path_lock);
    free(f->path_new);
    free(f->directory);
    f->path = f->path_lock = f->path_new = f->directory = NULL;
}

/* ---- lock ---- */

/* Why: somebody may have removed the file, and who starts then locks another one.  Returns 1: it is the
 * one that stands there; 0: that is open now, and not locked; or -errno. */
static int lock_again(struct coordinator_store *f)
{
    struct stat held, there;
    if (fstat(f->lock_fd, &held) != 0)
        return -errno;
    if (stat(f->path_lock, &there) == 0 && there.st_ino == held.st_ino &&
        there.st_dev == held.st_dev)
        return 1;
    int fd = lock_open(f);
    if (fd < 0)
        return fd;
    (void)close(f->lock_fd);
    f->lock_fd = fd;
    return 0;
}

/* Why no flock that waits: who holds it may be stopped, and control serves agents meanwhile.
 * Why a rest: who takes it again at once leaves no moment in which those that wait look. */
int coordinator_store_lock(struct coordinator_store *f, uint32_t wait_ms)
{
    uint64_t end = clock_boottime_ns() + wait_ms * NS_PER_MS;
    while (clock_boottime_ns() < f->unlocked_ns + LOCK_REST_NS)
        (void)usleep(LOCK_LOOK_US);
    for (;;) {
        if (flock(f->lock_fd, LOCK_EX | LOCK_NB) == 0) {
            int same = lock_again(f);
            if (same != 0)
                return same < 0 ? same : 0;
        } else if (errno != EWOULDBLOCK && errno != EINTR) {
            return -errno;
        } else if (clock_boottime_ns() >= end) {
            return -EAGAIN;
        } else {
            (void)usleep(LOCK_LOOK_US);
        }
    }
}

void coordinator_store_unlock(struct coordinator_store *f)
{
    (void)flock(f->lock_fd, LOCK_UN);
    f->unlocked_ns = clock_boottime_ns();
}

/* ---- read ---- */

/* Why no link: rename would replace the link, and leave the others with another file. */
static int file_open(const struct coordinator_store *f, struct stat *status)
{
    int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    int error = fstat(fd, status) != 0 ? -errno : S_ISREG(status->st_mode) ? 0 : -EBADMSG;
    if (error == 0)
        return fd;
    (void)close(fd);
    return error;
}

/* The number alone would do where it cannot be used again while the file is open; a server of files
 * does not know that we have it open, and somebody may have edited it in place. */
static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Why it is opened: NFS then asks its server (close-to-open consistency), where stat may not. */
int coordinator_store_is_replaced(const struct coordinator_store *f)
{
    struct stat status = {0};
    int fd = file_open(f, &status);
    if (fd < 0)
        return fd;
    (void)close(fd);
    return f->read_fd < 0 || !is_same(&status, &f->read_status);
}

void coordinator_store_forget(struct coordinator_store *f)
{
    if (f->read_fd >= 0)
        (void)close(f->read_fd);
    f->read_fd = -1;
}

static void keep(struct coordinator_store *f, int fd, const struct stat *status)
{
    coordinator_store_forget(f);
    f->read_fd = fd;
    f->read_status = *status;
}

static int bytes_read(int fd, char *bytes, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t count = pread(fd, bytes + done, length - done, (off_t)done);
        if (count < 0 && errno != EINTR)
            return -errno;
        if (count == 0)
            return -EAGAIN; /* it shrinks while it is read: nobody of ours does that */
        done += count > 0 ? (size_t)count : 0;
    }
    return 0;
}

int coordinator_store_read(struct coordinator_store *f, struct coordinator_state **s,
                           struct coordinator_fault *fault)
{
    struct stat status = {0};
    fault->text[0] = 0;
    int fd = file_open(f, &status);
    if (fd < 0)
        return fd;
    size_t length = (size_t)status.st_size;
    int error = status.st_size > COORDINATOR_FILE_BYTES_MAX ? -EFBIG : 0;
    char *bytes = error == 0 ? malloc(length + 1) : NULL;
    if (error == 0)
        error = bytes != NULL ? bytes_read(fd, bytes, length) : -ENOMEM;
    if (error == 0)
        error = coordinator_parse(bytes, length, s, fault);
    free(bytes);
    if (error == 0)
        keep(f, fd, &status);
    else
        (void)close(fd);
    return error;
}

/* ---- write ---- */

static int bytes_write(int fd, const char *bytes, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t count = write(fd, bytes + done, length - done);
        if (count < 0 && errno != EINTR)
            return -errno;
        done += count > 0 ? (size_t)count : 0;
    }
    return fsync(fd) == 0 ? 0 : -errno;
}

/* Why EINVAL is none: some file systems sync no directory, and need not. */
static int directory_sync(const struct coordinator_store *f)
{
    int fd = open(f->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int error = fsync(fd) == 0 || errno == EINVAL ? 0 : -errno;
    (void)close(fd);
    return error;
}

static int replace(struct coordinator_store *f, int fd, const char *bytes, size_t length)
{
    struct stat status = {0};
    int error = bytes_write(fd, bytes, length);
    if (error == 0 && rename(f->path_new, f->path) != 0)
        error = -errno;
    if (error != 0) {
        (void)unlink(f->path_new);
        (void)close(fd);
        return error;
    }
    error = directory_sync(f);
    if (error == 0 && fstat(fd, &status) == 0)
        keep(f, fd, &status);
    else
        (void)close(fd);
    return error;
}

int coordinator_store_write(struct coordinator_store *f, const struct coordinator_state *s)
{
    char *bytes;
    size_t length;
    int error = coordinator_print(s, &bytes, &length);
    if (error != 0)
        return error;
    if (length > COORDINATOR_FILE_BYTES_MAX)
        error = -EFBIG;
    int fd = -1;
    if (error == 0) {
        /* Why not what a writer before us left: it may be open or linked elsewhere. */
        (void)unlink(f->path_new);
        fd = open(f->path_new, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        error = fd < 0 ? -errno : replace(f, fd, bytes, length);
    }
    free(bytes);
    return error;
}

/* ---- watch ---- */

int coordinator_store_watch(const struct coordinator_store *f)
{
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0 || inotify_add_watch(fd, f->directory, IN_MOVED_TO | IN_ONLYDIR) >= 0)
        return fd;
    (void)close(fd);
    return -1;
}

void coordinator_store_watch_drain(int fd)
{
    alignas(struct inotify_event) char events[4096];
    while (fd >= 0 && read(fd, events, sizeof events) > 0) {
        /* that something was renamed is all that they say */
    }
}
