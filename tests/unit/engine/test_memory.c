/* memory: what was sealed cannot be resized, punched or written by whoever holds the descriptor. */
#include "engine/memory.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BYTES (16u * PAGE)

static int reopen(int fd)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_RDWR | O_CLOEXEC);
}

/* Everything that changes size or content, tried through one descriptor. */
static void expect_fixed_size(int fd)
{
    CU_ASSERT_EQUAL(ftruncate(fd, 0), -1);
    CU_ASSERT_EQUAL(ftruncate(fd, 2 * BYTES), -1);
    CU_ASSERT_EQUAL(fallocate(fd, 0, BYTES, PAGE), -1);
    CU_ASSERT_EQUAL(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
}

static void expect_read_only(int fd)
{
    char byte = 1;
    CU_ASSERT_EQUAL(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE), -1);
    CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, 0), -1);
    CU_ASSERT_EQUAL(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    void *at = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    CU_ASSERT_NOT_EQUAL_FATAL(at, MAP_FAILED);
    CU_ASSERT_EQUAL(mprotect(at, PAGE, PROT_READ | PROT_WRITE), -1);
    (void)munmap(at, PAGE);
}

static void read_only_memory_resists_its_holders(void)
{
    struct memory m;
    CU_ASSERT_EQUAL_FATAL(memory_create(&m, "test", BYTES, MEMORY_READ_ONLY, true, NULL), 0);
    memset(m.base, 0x5a, BYTES); /* the maker's own mapping still writes */
    int copies[] = {fcntl(m.fd, F_DUPFD_CLOEXEC, 0), reopen(m.fd)};
    for (size_t i = 0; i < 2; i++) {
        CU_ASSERT_FATAL(copies[i] >= 0);
        expect_fixed_size(copies[i]);
        expect_read_only(copies[i]);
        (void)close(copies[i]);
    }
    CU_ASSERT_EQUAL(m.base[0], 0x5a);
    CU_ASSERT_EQUAL(m.base[BYTES - 1], 0x5a);
    memory_destroy(&m, false);
    CU_ASSERT_EQUAL(m.fd, -1);
    memory_destroy(&m, false); /* twice does no harm */
}

static void shared_memory_is_writable_and_of_fixed_size(void)
{
    struct memory m;
    uint8_t *other = NULL;
    CU_ASSERT_EQUAL_FATAL(memory_create(&m, "test", BYTES, MEMORY_SHARED, false, NULL), 0);
    int copy = fcntl(m.fd, F_DUPFD_CLOEXEC, 0);
    expect_fixed_size(copy);
    CU_ASSERT_EQUAL_FATAL(memory_map(&other, copy, BYTES, MEMORY_SHARED, true, NULL), 0);
    other[PAGE] = 7;
    CU_ASSERT_EQUAL(m.base[PAGE], 7);
    CU_ASSERT_EQUAL(fcntl(copy, F_GETFD), -1); /* memory_map closed it */
    (void)munmap(other, BYTES);
    memory_destroy(&m, false);
}

static void nobody_else_may_reopen_it(void)
{
    struct memory m;
    struct stat status;
    CU_ASSERT_EQUAL_FATAL(memory_create(&m, "test", BYTES, MEMORY_READ_ONLY, false, NULL), 0);
    CU_ASSERT_EQUAL(fstat(m.fd, &status), 0);
    CU_ASSERT_EQUAL(status.st_mode & 0777u, 0600);
    CU_ASSERT_EQUAL(fcntl(m.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    memory_destroy(&m, false);
}

static void a_map_is_refused_without_its_seals(void)
{
    uint8_t *at = NULL;
    int bare = memfd_create("bare", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CU_ASSERT_EQUAL(ftruncate(bare, BYTES), 0);
    CU_ASSERT_EQUAL(memory_map(&at, bare, BYTES, MEMORY_SHARED, false, NULL), -EPROTO);
    CU_ASSERT_EQUAL(fcntl(bare, F_GETFD), -1);

    struct memory m;
    CU_ASSERT_EQUAL_FATAL(memory_create(&m, "test", BYTES, MEMORY_SHARED, false, NULL), 0);
    CU_ASSERT_EQUAL(
        memory_map(&at, fcntl(m.fd, F_DUPFD_CLOEXEC, 0), BYTES, MEMORY_READ_ONLY, false, NULL),
        -EPROTO);
    CU_ASSERT_EQUAL(
        memory_map(&at, fcntl(m.fd, F_DUPFD_CLOEXEC, 0), BYTES + 1, MEMORY_SHARED, false, NULL),
        -EPROTO);
    memory_destroy(&m, false);

    int pipe_ends[2];
    CU_ASSERT_EQUAL(pipe(pipe_ends), 0);
    CU_ASSERT_EQUAL(memory_map(&at, pipe_ends[0], BYTES, MEMORY_SHARED, false, NULL), -EPROTO);
    (void)close(pipe_ends[1]);
}

static void a_writable_map_of_read_only_memory_is_refused(void)
{
    struct memory m;
    uint8_t *at = NULL;
    CU_ASSERT_EQUAL_FATAL(memory_create(&m, "test", BYTES, MEMORY_READ_ONLY, false, NULL), 0);
    CU_ASSERT_EQUAL(
        memory_map(&at, fcntl(m.fd, F_DUPFD_CLOEXEC, 0), BYTES, MEMORY_READ_ONLY, true, NULL),
        -EPROTO);
    CU_ASSERT_EQUAL_FATAL(
        memory_map(&at, fcntl(m.fd, F_DUPFD_CLOEXEC, 0), BYTES, MEMORY_READ_ONLY, false, NULL), 0);
    m.base[5] = 9;
    CU_ASSERT_EQUAL(at[5], 9);
    (void)munmap(at, BYTES);
    memory_destroy(&m, false);
}

static void bad_sizes_leave_nothing_behind(void)
{
    struct memory m;
    CU_ASSERT_EQUAL(memory_create(&m, "test", 0, MEMORY_SHARED, false, NULL), -EINVAL);
    CU_ASSERT_EQUAL(memory_create(&m, "test", PAGE + 1, MEMORY_SHARED, false, NULL), -EINVAL);
    CU_ASSERT_EQUAL(m.fd, -1);
    /* More address space than there is. */
    CU_ASSERT_TRUE(memory_create(&m, "test", UINT64_C(1) << 50, MEMORY_SHARED, false, NULL) < 0);
    CU_ASSERT_EQUAL(m.fd, -1);
}

static void chunks_come_and_go_in_a_reserved_range(void)
{
    const uint64_t chunk = UINT64_C(2) << 20;
    struct memory chunks[2];
    uint8_t *base = NULL;
    CU_ASSERT_EQUAL_FATAL(memory_reserve(&base, 4 * chunk), 0);
    CU_ASSERT_EQUAL((uintptr_t)base % chunk, 0); /* so that huge pages fit */
    for (size_t i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL_FATAL(
            memory_create(&chunks[i], "test", chunk, MEMORY_READ_ONLY, true, base + i * chunk), 0);
        CU_ASSERT_PTR_EQUAL(chunks[i].base, base + i * chunk);
        chunks[i].base[chunk - 1] = (uint8_t)(i + 1);
    }
    memory_destroy(&chunks[0], true);
    CU_ASSERT_EQUAL(base[2 * chunk - 1], 2); /* the neighbour stays */
    unsigned char resident;
    CU_ASSERT_EQUAL(mincore(base, PAGE, &resident), 0); /* the range is still ours */
    CU_ASSERT_EQUAL_FATAL(memory_create(&chunks[0], "test", chunk, MEMORY_READ_ONLY, false, base),
                          0);
    CU_ASSERT_EQUAL(base[0], 0); /* zeroed anew */
    memory_destroy(&chunks[0], true);
    memory_destroy(&chunks[1], true);
    memory_unreserve(base, 4 * chunk);
}

static const struct unit_test tests[] = {
    UNIT_TEST(read_only_memory_resists_its_holders),
    UNIT_TEST(shared_memory_is_writable_and_of_fixed_size),
    UNIT_TEST(nobody_else_may_reopen_it),
    UNIT_TEST(a_map_is_refused_without_its_seals),
    UNIT_TEST(a_writable_map_of_read_only_memory_is_refused),
    UNIT_TEST(bad_sizes_leave_nothing_behind),
    UNIT_TEST(chunks_come_and_go_in_a_reserved_range),
};
UNIT_MAIN("memory", tests)
