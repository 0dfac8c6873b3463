#include "control/raft_disk_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <raft.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NUMBER_DIGITS 20u

/* ---- faults ---- */

static const char *help_of(int code)
{
    if (code == RAFT_NOSPACE)
        return "make room in this file system: the node goes on by itself then";
    if (code == RAFT_NOMEM)
        return "the node tries again";
    return "look at the device and its file system (kernel log): the node tries again";
}

int raft_disk_files_fail(struct raft_disk_files *f, const char *what, const char *name, int error)
{
    int code = error == ENOSPC || error == EDQUOT ? RAFT_NOSPACE
               : error == ENOMEM                  ? RAFT_NOMEM
                                                  : RAFT_IOERR;
    (void)snprintf(f->fault, sizeof f->fault, "%s %s/%s: %s; %s", what, f->path, name,
                   strerrordesc_np(error), help_of(code));
    return code;
}

int raft_disk_files_corrupt(struct raft_disk_files *f, const char *name, uint64_t offset,
                            const char *what)
{
    (void)snprintf(
        f->fault, sizeof f->fault,
        "%s/%s is damaged at byte %llu: %s; what this node promised to others is unknown: "
        "replace it by a node with a new id, do not start it with an empty directory",
        f->path, name, (unsigned long long)offset, what);
    return RAFT_CORRUPT;
}

/* ---- reading ---- */

static int file_length(struct raft_disk_files *f, int fd, const char *name, size_t most,
                       size_t *length)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return raft_disk_files_fail(f, "cannot look at", name, errno);
    if (!S_ISREG(status.st_mode))
        return raft_disk_files_corrupt(f, name, 0, "it is no file");
    if ((uint64_t)status.st_size > most)
        return raft_disk_files_corrupt(f, name, most, "it is longer than such a file can be");
    *length = (size_t)status.st_size;
    return 0;
}

static int bytes_read(struct raft_disk_files *f, int fd, const char *name, uint8_t *bytes,
                      size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t count = pread(fd, bytes + done, length - done, (off_t)done);
        if (count < 0 && errno != EINTR)
            return raft_disk_files_fail(f, "cannot read", name, errno);
        if (count == 0)
            return raft_disk_files_corrupt(f, name, done, "it ends while it is read");
        done += count > 0 ? (size_t)count : 0;
    }
    return 0;
}

int raft_disk_files_read(struct raft_disk_files *f, const char *name, size_t most, uint8_t **bytes,
                         size_t *length)
{
    int fd = openat(f->directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    *bytes = NULL;
    if (fd < 0 && errno == ENOENT)
        return RAFT_NOTFOUND;
    if (fd < 0)
        return raft_disk_files_fail(f, "cannot open", name, errno);
    int code = file_length(f, fd, name, most, length);
    if (code == 0) {
        *bytes = malloc(*length + 1);
        code = *bytes != NULL ? bytes_read(f, fd, name, *bytes, *length)
                              : raft_disk_files_fail(f, "cannot read", name, ENOMEM);
    }
    (void)close(fd);
    if (code != 0) {
        free(*bytes);
        *bytes = NULL;
    }
    return code;
}

int raft_disk_files_list(struct raft_disk_files *f, int (*look)(void *context, const char *name),
                         void *context)
{
    /* Why anew: a directory stream takes its descriptor, and where it stands, for itself. */
    int fd = openat(f->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    if (stream == NULL) {
        int error = errno;
        if (fd >= 0)
            (void)close(fd);
        return raft_disk_files_fail(f, "cannot list", "", error);
    }
    int code = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL)
            break;
        code = look(context, entry->d_name);
        if (code != 0)
            break;
    }
    if (code == 0 && errno != 0)
        code = raft_disk_files_fail(f, "cannot list", "", errno);
    (void)closedir(stream);
    return code;
}

const char *raft_disk_files_number(const char *text, char end, uint64_t *number)
{
    uint64_t n = 0;
    for (size_t i = 0; i < NUMBER_DIGITS; i++) {
        if (text[i] < '0' || text[i] > '9')
            return NULL;
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (n > (UINT64_MAX - digit) / 10)
            return NULL;
        n = n * 10 + digit;
    }
    *number = n;
    if (text[NUMBER_DIGITS] != end)
        return NULL;
    return text + NUMBER_DIGITS + (end != 0);
}

/* ---- writing ---- */

int raft_disk_files_write(struct raft_disk_files *f, const struct raft_disk_target *to,
                          const uint8_t *bytes, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t count = pwrite(to->fd, bytes + done, length - done, (off_t)(to->offset + done));
        if (count < 0 && errno != EINTR)
            return raft_disk_files_fail(f, "cannot write", to->name, errno);
        done += count > 0 ? (size_t)count : 0;
    }
    if (fdatasync(to->fd) != 0)
        return raft_disk_files_fail(f, "cannot sync", to->name, errno);
    return 0;
}

int raft_disk_files_sync(struct raft_disk_files *f)
{
    return fsync(f->directory) == 0 ? 0
                                    : raft_disk_files_fail(f, "cannot sync directory", "", errno);
}

int raft_disk_files_rename(struct raft_disk_files *f, const char *from, const char *to)
{
    if (renameat(f->directory, from, f->directory, to) == 0)
        return 0;
    return errno == ENOENT ? RAFT_NOTFOUND : raft_disk_files_fail(f, "cannot rename to", to, errno);
}

int raft_disk_files_remove(struct raft_disk_files *f, const char *name)
{
    return unlinkat(f->directory, name, 0) == 0 || errno == ENOENT
               ? 0
               : raft_disk_files_fail(f, "cannot remove", name, errno);
}

int raft_disk_files_replace(struct raft_disk_files *f, const char *name, const uint8_t *bytes,
                            size_t length)
{
    char made[RAFT_DISK_NAME_BYTES];
    (void)snprintf(made, sizeof made, "%s.new", name);
    /* Why not what an earlier try left: after a failed sync its pages are not to be trusted. */
    int code = raft_disk_files_remove(f, made);
    if (code != 0)
        return code;
    int fd = openat(f->directory, made, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return raft_disk_files_fail(f, "cannot make", made, errno);
    const struct raft_disk_target to = {.fd = fd, .name = made};
    code = raft_disk_files_write(f, &to, bytes, length);
    (void)close(fd);
    if (code == 0)
        code = raft_disk_files_rename(f, made, name);
    if (code == RAFT_NOTFOUND)
        code = raft_disk_files_fail(f, "somebody removed", made, ENOENT);
    if (code != 0) {
        (void)unlinkat(f->directory, made, 0); /* Why no check: the next try removes it as well */
        return code;
    }
    return raft_disk_files_sync(f);
}

int raft_disk_files_zeros(struct raft_disk_files *f, const char *name, size_t length)
{
    /* Why not fallocate alone: what it makes is unwritten, and each first write there changes the file
     * system's own metadata, which fdatasync then has to write as well. */
    uint8_t *zeros = calloc(1, length);
    if (zeros == NULL)
        return raft_disk_files_fail(f, "cannot make", name, ENOMEM);
    int code = raft_disk_files_replace(f, name, zeros, length);
    free(zeros);
    return code;
}

int raft_disk_files_open(struct raft_disk_files *f, const char *name, int *fd)
{
    *fd = openat(f->directory, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    return *fd >= 0 ? 0 : raft_disk_files_fail(f, "cannot open", name, errno);
}
