/* memory - shared memory as memfds: made at full size, faulted in, sealed, passed on.
 *
 * Edge file (system calls).  Control thread in the daemon; the agent's thread in libdunlin.
 * A sealed chunk cannot be resized, punched or written through any other descriptor or mapping than
 * the one the daemon made before sealing; mode 0600 keeps other users from reopening it. */
#ifndef DUNLIN_ENGINE_MEMORY_H
#define DUNLIN_ENGINE_MEMORY_H

#include "engine/base.h"

enum memory_seal {
    MEMORY_READ_ONLY, /* GROW, SHRINK, FUTURE_WRITE, SEAL: node and space files, chunks */
    MEMORY_SHARED,    /* GROW, SHRINK, SEAL: agent files, doorbell: both sides write */
};

struct memory {
    int fd;        /* -1: none */
    uint8_t *base; /* mapped read-write in the daemon */
    uint64_t bytes;
};

/* Make bytes (a multiple of 4 KiB) of zeroed shared memory, map it read-write (at fixed_address if
 * that is not NULL, which must lie in a memory_reserve range), and seal it.  populate: fault all of
 * it in now, so that a lack of memory shows here and not later.  Name is for /proc only.
 * Transparent huge pages are asked for from 2 MiB on.
 * Returns 0, or -ENOMEM, -EMFILE, -EINVAL, another system error; nothing is left behind then. */
MUST_USE int memory_create(struct memory *m, const char *name, uint64_t bytes,
                           enum memory_seal seal, bool populate, void *fixed_address);

/* Unmap (unless it lies in a reserved range: then the range is made inaccessible) and close. */
void memory_destroy(struct memory *m, bool in_reserved_range);

/* Address space without memory, for chunks to come.  Returns 0 or -ENOMEM. */
MUST_USE int memory_reserve(uint8_t **base, uint64_t bytes);
void memory_unreserve(uint8_t *base, uint64_t bytes);

/* Make what was mapped in a reserved range inaccessible again; its memory is let go. */
void memory_unmap(uint8_t *base, uint64_t bytes);

/* Agent side: map a received descriptor of at least bytes; closes fd in every case.
 * Returns 0, or -EPROTO if the file is smaller or lacks the seals named, -ENOMEM. */
MUST_USE int memory_map(uint8_t **base, int fd, uint64_t bytes, enum memory_seal seal,
                        bool writable, void *fixed_address);

#endif
