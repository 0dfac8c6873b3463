#include "control/authority_file.h"

#include "control/read_all.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAULT_BYTES (AUTHORITY_PATH_BYTES + 512) /* it may name another file */

int authority_fault(FILE *errors, int error, const char *path, const char *format, ...)
{
    char text[FAULT_BYTES];
    va_list arguments;
    for (; *path != '\0'; path++)
        (void)fputc((unsigned char)*path < ' ' || *path == 0x7f ? '?' : *path, errors);
    va_start(arguments, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start is the line above */
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    (void)fprintf(errors, ": %s\n", text);
    return error;
}

/* ---- reading ---- */

static int judge(const char *path, int fd, bool secret, FILE *errors)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return authority_fault(errors, -errno, path, "not readable: %s", strerror(errno));
    if (!S_ISREG(st.st_mode))
        return authority_fault(errors, -EINVAL, path, "no regular file; give one");
    if (!secret)
        return 0;
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return authority_fault(errors, -EPERM, path,
                               "a key that belongs to another user; give it to root or to the user "
                               "that runs this");
    if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return authority_fault(errors, -EPERM, path,
                               "a key that others than its owner may use; make its mode 0600");
    return 0;
}

static int read_whole(const char *path, int fd, char *bytes, size_t *size, FILE *errors)
{
    ssize_t n = read_all(fd, bytes, AUTHORITY_FILE_BYTES_MAX + 1);
    if (n < 0)
        return authority_fault(errors, (int)n, path, "not readable: %s", strerror((int)-n));
    if ((size_t)n > AUTHORITY_FILE_BYTES_MAX)
        return authority_fault(errors, -EFBIG, path, "more than %zu bytes; give a file in PEM",
                               AUTHORITY_FILE_BYTES_MAX);
    *size = (size_t)n;
    return 0;
}

int authority_file_read(const char *path, bool secret, char **bytes, size_t *size, FILE *errors)
{
    /* Why O_NONBLOCK: a FIFO without a writer would hold us for ever before it could be refused. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return authority_fault(errors, -errno, path, "not readable: %s", strerror(errno));
    int error = judge(path, fd, secret, errors);
    char *text = error == 0 ? malloc(AUTHORITY_FILE_BYTES_MAX + 1) : NULL;
    if (error == 0)
        error = text != NULL ? read_whole(path, fd, text, size, errors)
                             : authority_fault(errors, -ENOMEM, path, "no memory to read it");
    (void)close(fd);
    if (error == 0)
        *bytes = text;
    else if (text != NULL)
        authority_file_free(text, AUTHORITY_FILE_BYTES_MAX + 1);
    return error;
}

void authority_file_free(char *bytes, size_t size)
{
    explicit_bzero(bytes, size);
    free(bytes);
}

/* ---- writing ---- */

static int write_all(int fd, const void *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, (const uint8_t *)bytes + done, size - done);
        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int fill(int fd, const struct authority_file *f)
{
    int error = write_all(fd, f->bytes, f->size);
    if (error == 0 && (fchmod(fd, f->mode) != 0 || fsync(fd) != 0))
        error = -errno;
    return error;
}

/* Why link: unlike rename it never takes the place of another file. */
static int name_it(const char *temporary, const struct authority_file *f)
{
    if (f->force)
        return rename(temporary, f->path) == 0 ? 0 : -errno;
    if (link(temporary, f->path) != 0)
        return -errno;
    (void)unlink(temporary);
    return 0;
}

static int directory_sync(const char *path)
{
    char copy[AUTHORITY_PATH_BYTES];
    (void)snprintf(copy, sizeof(copy), "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int error = fsync(fd) == 0 ? 0 : -errno;
    (void)close(fd);
    return error;
}

static int write_named(const struct authority_file *f)
{
    char temporary[AUTHORITY_PATH_BYTES];
    int length = snprintf(temporary, sizeof(temporary), "%s.XXXXXX", f->path);
    if (length < 0 || (size_t)length >= sizeof(temporary))
        return -ENAMETOOLONG;
    int fd = mkostemp(temporary, O_CLOEXEC); /* 0600 */
    if (fd < 0)
        return -errno;
    int error = fill(fd, f);
    if (close(fd) != 0 && error == 0)
        error = -errno;
    if (error == 0)
        error = name_it(temporary, f);
    if (error != 0)
        (void)unlink(temporary);
    return error != 0 ? error : directory_sync(f->path);
}

int authority_file_write(const struct authority_file *f, FILE *errors)
{
    int error = write_named(f);
    if (error == -EEXIST)
        return authority_fault(errors, error, f->path,
                               "is there already; --force puts another in its place");
    if (error != 0)
        return authority_fault(errors, error, f->path, "cannot be written: %s", strerror(-error));
    return 0;
}
