/* read_all - the bytes of a file that has no business to be long. */
#ifndef DUNLIN_CONTROL_READ_ALL_H
#define DUNLIN_CONTROL_READ_ALL_H

#include "engine/base.h"

#include <unistd.h>

/* Read until the end or until size bytes.  Returns bytes read or -errno.  Why not stdio: its buffer
 * would keep what may be a secret. */
static inline ssize_t read_all(int fd, void *bytes, size_t size)
{
    size_t used = 0;
    while (used < size) {
        ssize_t n = read(fd, (uint8_t *)bytes + used, size - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        used += (size_t)n;
    }
    return (ssize_t)used;
}

#endif
