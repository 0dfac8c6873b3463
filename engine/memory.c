#include "engine/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HUGE_PAGE (UINT64_C(1) << 21)

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; older headers lack it */
#endif

static int seals_of(enum memory_seal seal)
{
    int seals = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
    return seal == MEMORY_READ_ONLY ? seals | F_SEAL_FUTURE_WRITE : seals;
}

/* A file that was never mapped for writing may bear WRITE, which says more than FUTURE_WRITE. */
static bool seals_hold(int seals, enum memory_seal seal)
{
    if ((seals & F_SEAL_WRITE) != 0)
        seals |= F_SEAL_FUTURE_WRITE;
    return (seals & seals_of(seal)) == seals_of(seal);
}

/* Why madvise and not MAP_POPULATE or fallocate: it reports what it could not get, and it faults
 * through the mapping, so that the advice about huge pages counts. */
static int populate_now(int fd, uint8_t *base, uint64_t bytes)
{
    if (madvise(base, bytes, MADV_POPULATE_WRITE) == 0)
        return 0;
    if (errno != EINVAL)
        return errno == EFAULT ? -ENOMEM : -errno;
    if (fallocate(fd, 0, 0, (off_t)bytes) == 0)
        return 0;
    return errno == ENOSPC ? -ENOMEM : -errno;
}

static int map_shared(uint8_t **base, int fd, uint64_t bytes, int protection, void *fixed_address)
{
    int flags = MAP_SHARED | (fixed_address != NULL ? MAP_FIXED : 0);
    void *at = mmap(fixed_address, bytes, protection, flags, fd, 0);
    if (at == MAP_FAILED)
        return -errno;
    /* Why the result does not matter: a kernel without huge pages for shared memory says -EINVAL,
     * and small pages serve as well. */
    if (bytes >= HUGE_PAGE)
        (void)madvise(at, bytes, MADV_HUGEPAGE);
    *base = at;
    return 0;
}

/* Give an address range back, or make it inaccessible again if it belongs to a reserve. */
static void unmap(uint8_t *base, uint64_t bytes, bool in_reserved_range)
{
    if (!in_reserved_range) {
        (void)munmap(base, bytes);
        return;
    }
    void *at = mmap(base, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
                    -1, 0);
    ASSERT(at == base);
}

/* NOLINTNEXTLINE(readability-function-size): what mmap takes, and a name and a seal */
int memory_create(struct memory *m, const char *name, uint64_t bytes, enum memory_seal seal,
                  bool populate, void *fixed_address)
{
    *m = (struct memory){.fd = -1};
    if (bytes == 0 || bytes % PAGE != 0 || bytes > INT64_MAX)
        return -EINVAL;
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    uint8_t *base = NULL;
    int error = 0;
    /* Why fchmod: a memfd is born 0777, and /proc would let everyone reopen it. */
    if (fchmod(fd, 0600) != 0 || ftruncate(fd, (off_t)bytes) != 0)
        error = -errno;
    if (error != 0)
        goto fail_fd;
    error = map_shared(&base, fd, bytes, PROT_READ | PROT_WRITE, fixed_address);
    if (error != 0)
        goto fail_fd;
    if (populate)
        error = populate_now(fd, base, bytes);
    if (error == 0 && fcntl(fd, F_ADD_SEALS, seals_of(seal)) != 0)
        error = -errno;
    if (error != 0)
        goto fail_map;
    *m = (struct memory){.fd = fd, .base = base, .bytes = bytes};
    return 0;

fail_map:
    unmap(base, bytes, fixed_address != NULL);
fail_fd:
    (void)close(fd);
    return error;
}

void memory_destroy(struct memory *m, bool in_reserved_range)
{
    if (m->fd < 0)
        return;
    unmap(m->base, m->bytes, in_reserved_range);
    (void)close(m->fd);
    *m = (struct memory){.fd = -1};
}

int memory_reserve(uint8_t **base, uint64_t bytes)
{
    /* Why more than asked: huge pages need chunks at multiples of their size; the edges go back. */
    uint64_t whole = align_up(bytes, PAGE) + HUGE_PAGE;
    uint8_t *at = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return -ENOMEM;
    uint64_t before = align_up((uintptr_t)at, HUGE_PAGE) - (uintptr_t)at;
    uint64_t after = HUGE_PAGE - before;
    if (before != 0)
        (void)munmap(at, before);
    if (after != 0)
        (void)munmap(at + whole - after, after);
    *base = at + before;
    return 0;
}

void memory_unreserve(uint8_t *base, uint64_t bytes)
{
    if (base != NULL)
        (void)munmap(base, align_up(bytes, PAGE));
}

void memory_unmap(uint8_t *base, uint64_t bytes)
{
    unmap(base, bytes, true);
}

/* NOLINTNEXTLINE(readability-function-size): what mmap takes, and a name and a seal */
int memory_map(uint8_t **base, int fd, uint64_t bytes, enum memory_seal seal, bool writable,
               void *fixed_address)
{
    struct stat status;
    int seals = fcntl(fd, F_GET_SEALS);
    int error = 0;
    if (seals < 0 || fstat(fd, &status) != 0)
        error = -EPROTO;
    else if (bytes == 0 || status.st_size < 0 || (uint64_t)status.st_size < bytes ||
             !seals_hold(seals, seal))
        error = -EPROTO;
    if (error == 0)
        error = map_shared(base, fd, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ,
                           fixed_address);
    if (error == -EPERM || error == -EACCES)
        error = -EPROTO;
    (void)close(fd);
    return error;
}
