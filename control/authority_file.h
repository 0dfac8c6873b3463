/* authority_file - the files of keys and certificates: how they are read and written, nothing of what
 * is in them.
 *
 * Blocks for as long as the file system does.  Any thread; nothing is kept between calls. */
#ifndef DUNLIN_CONTROL_AUTHORITY_FILE_H
#define DUNLIN_CONTROL_AUTHORITY_FILE_H

#include "engine/base.h"

#include <stdio.h>
#include <sys/types.h>

#define AUTHORITY_FILE_BYTES_MAX ((size_t)64 << 10)
#define AUTHORITY_PATH_BYTES 4096u

/* A fault is one line on errors:  PATH: what; what to do.  Returns error. */
__attribute__((format(printf, 4, 5))) int authority_fault(FILE *errors, int error, const char *path,
                                                          const char *format, ...);

/* All of a regular file; secret: only root or this process' user may own it, and nobody else may read
 * or write it.  Returns 0, *bytes and *size, for authority_file_free; or, told on errors,
 *   -EINVAL  no regular file
 *   -EPERM   a secret that others may read or write, or whose owner is a stranger
 *   -EFBIG   more than AUTHORITY_FILE_BYTES_MAX
 *   or what open, read and malloc say. */
MUST_USE int authority_file_read(const char *path, bool secret, char **bytes, size_t *size,
                                 FILE *errors);
void authority_file_free(char *bytes, size_t size); /* wiped */

struct authority_file {
    const char *path;
    const void *bytes;
    size_t size;
    mode_t mode;
    bool force; /* take the place of a file that is there */
};

/* Whole on the disk under its name, or not there at all.  Returns 0 or, told on errors, -EEXIST: there
 * is one already, or another -errno. */
MUST_USE int authority_file_write(const struct authority_file *f, FILE *errors);

#endif
