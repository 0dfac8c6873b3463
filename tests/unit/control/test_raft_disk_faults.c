/* Disks that are full, fail, lie after a failed sync, or rot. */
#include "tests/unit/control/raft_disk_fixture.h"
#include "tests/unit/control/raft_disk_shim.h"
#include "tests/unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct shim *begin(struct disk_fixture *f)
{
    disk_begin(f);
    struct shim *s = shim_begin(f->path, NULL, NULL);
    CU_ASSERT_EQUAL_FATAL(disk_open(f), 0);
    CU_ASSERT(disk_loads_model(f));
    CU_ASSERT_EQUAL(disk_term(f, 1), 0);
    CU_ASSERT_EQUAL(disk_append(f, 3, 1, 10, 700), 0);
    disk_wait(f);
    return s;
}

static void end(struct disk_fixture *f, struct shim *s)
{
    disk_close(f);
    shim_end(s);
    disk_end(f);
}

/* A new instance, which is told what the disk holds: all that was acknowledged, perhaps more. */
static void restart(struct disk_fixture *f)
{
    int code;
    if (f->disk != NULL)
        disk_close(f);
    int happened = disk_holds(f, f->path, &code);
    CU_ASSERT(happened >= 0);
    if (happened > 0)
        f->model.next = 0; /* not expected by these tests */
    f->step_count = 0;
    f->next = f->model.next;
    CU_ASSERT_EQUAL_FATAL(disk_open(f), 0);
    CU_ASSERT(disk_loads_model(f));
}

static void a_full_disk_is_said_and_left_when_there_is_room(void)
{
    struct disk_fixture f;
    struct shim *s = begin(&f);
    f.answers = 0;
    shim_fail(s, 1, ENOSPC, false);
    for (unsigned i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(disk_append(&f, 1, 1, i, 3000), 0);
    disk_wait(&f);
    CU_ASSERT_EQUAL(f.failed, RAFT_NOSPACE);
    CU_ASSERT_EQUAL(f.answers_by_then, 0); /* before the first of them */
    CU_ASSERT_EQUAL(f.answers, 4);
    CU_ASSERT_EQUAL(f.status, RAFT_NOSPACE);
    CU_ASSERT_EQUAL(f.answered_first, 4); /* newest first, so the oldest last */
    CU_ASSERT(raft_disk_is_full(f.disk));
    CU_ASSERT_PTR_NOT_NULL(strstr(raft_disk_error(f.disk), "open-"));
    CU_ASSERT_PTR_NOT_NULL(strstr(raft_disk_error(f.disk), "make room"));
    shim_fail(s, 0, 0, false);
    /* There is room, but nobody knows what raft has in memory: not before it is opened anew. */
    CU_ASSERT_EQUAL(disk_append(&f, 1, 1, 9, 10), 0);
    disk_wait(&f);
    CU_ASSERT_EQUAL(f.status, RAFT_NOSPACE);
    restart(&f);
    CU_ASSERT(!raft_disk_is_full(f.disk));
    CU_ASSERT_EQUAL(disk_append(&f, 2, 1, 77, 3000), 0);
    disk_wait(&f);
    CU_ASSERT_EQUAL(f.status, 0);
    CU_ASSERT(!raft_disk_is_full(f.disk));
    restart(&f);
    end(&f, s);
}

static void term_and_vote_are_written_on_a_full_disk(void)
{
    struct disk_fixture f;
    struct shim *s = begin(&f);
    shim_fail(s, 1, ENOSPC, false);
    CU_ASSERT_EQUAL(disk_term(&f, 9), 0);
    CU_ASSERT_EQUAL(disk_vote(&f, 4), 0);
    shim_fail(s, 0, 0, false);
    restart(&f);
    CU_ASSERT(f.model.term == 9 && f.model.vote == 4);
    end(&f, s);
}

static void a_full_disk_is_not_opened(void)
{
    struct disk_fixture f;
    char reserve[96];
    struct shim *s = begin(&f);
    disk_close(&f);
    (void)snprintf(reserve, sizeof reserve, "%s/reserve", f.path);
    CU_ASSERT_EQUAL(unlink(reserve), 0);
    shim_fail(s, 1, ENOSPC, false);
    CU_ASSERT_EQUAL(disk_open(&f), -ENOSPC);
    CU_ASSERT_EQUAL(disk_open(&f), -ENOSPC);
    shim_fail(s, 0, 0, false);
    f.disk = NULL;
    restart(&f);
    end(&f, s);
}

/* An own snapshot is no promise: the log goes on. */
static void an_own_snapshot_may_fail(void)
{
    struct disk_fixture f;
    struct shim *s = begin(&f);
    shim_fail(s, 1, ENOSPC, false);
    CU_ASSERT_EQUAL(disk_snapshot(&f, 2, 1, 1, 5000), 0);
    disk_wait(&f);
    CU_ASSERT_EQUAL(f.status, RAFT_NOSPACE);
    CU_ASSERT_EQUAL(f.failed, 0);
    CU_ASSERT(raft_disk_is_full(f.disk));
    f.step_count = 0;
    shim_fail(s, 0, 0, false);
    CU_ASSERT_EQUAL(disk_append(&f, 1, 1, 5, 10), 0);
    disk_wait(&f);
    CU_ASSERT_EQUAL(f.status, 0);
    CU_ASSERT(!raft_disk_is_full(f.disk));
    CU_ASSERT_EQUAL(disk_snapshot(&f, 2, 1, 1, 5000), 0);
    disk_wait(&f);
    CU_ASSERT_EQUAL(f.status, 0);
    restart(&f);
    end(&f, s);
}

static void an_installed_snapshot_that_fails_is_the_end(void)
{
    struct disk_fixture f;
    struct shim *s = begin(&f);
    shim_fail(s, 1, ENOSPC, false);
    CU_ASSERT_EQUAL(disk_snapshot(&f, 50, 1, 0, 5000), 0);
    CU_ASSERT_EQUAL(disk_append(&f, 1, 1, 5, 10), 0);
    disk_wait(&f);
    CU_ASSERT_EQUAL(f.failed, RAFT_NOSPACE);
    CU_ASSERT_EQUAL(f.answers, 3);
    shim_fail(s, 0, 0, false);
    restart(&f);
    CU_ASSERT_EQUAL(f.model.next, 4);
    end(&f, s);
}

/* After it the page reads as if it were on the disk.  What a new instance takes for held is on the disk, even
 * if the power fails at once. */
static void a_failed_sync_is_never_trusted(void)
{
    struct disk_fixture f;
    char path[64];
    unsigned seed = 1;
    int code;
    struct shim *s = begin(&f);
    shim_directory_make(path);
    shim_fail(s, 2, EIO, true); /* the write works */
    CU_ASSERT_EQUAL(disk_append(&f, 1, 1, 5, 2000), 0);
    disk_wait(&f);
    CU_ASSERT_EQUAL(f.failed, RAFT_IOERR);
    CU_ASSERT_PTR_NOT_NULL(strstr(raft_disk_error(f.disk), "sync"));
    CU_ASSERT(!raft_disk_is_full(f.disk));
    shim_fail(s, 0, 0, false);
    disk_close(&f);
    CU_ASSERT_EQUAL_FATAL(disk_open(&f), 0);
    CU_ASSERT(!disk_loads_model(&f)); /* it is there, though it failed: as after a crash */
    disk_close(&f);
    CU_ASSERT_EQUAL(disk_holds(&f, f.path, &code), 1);
    shim_crash(s, path, 0, &seed);
    CU_ASSERT_EQUAL(disk_holds(&f, path, &code), 1);
    shim_directory_remove(path);
    CU_ASSERT_EQUAL_FATAL(disk_open(&f), 0);
    end(&f, s);
}

/* Any change of the disk may be the one that fails; then there is a new instance. */
static void nothing_acknowledged_is_lost_whatever_fails(void)
{
    static const int errors[] = {ENOSPC, EIO};
    struct disk_fixture f;
    char path[64];
    unsigned seed = 1, failures = 0;
    shim_directory_make(path);
    for (unsigned i = 0; i < 60; i++) {
        int code;
        struct shim *s = begin(&f);
        CU_ASSERT_EQUAL(disk_snapshot(&f, 2, 1, 1, 200), 0);
        disk_wait(&f);
        shim_fail(s, 1 + i / 2, errors[i % 2], i % 2 == 1);
        for (unsigned k = 0; k < 12; k++) {
            CU_ASSERT_EQUAL(disk_append(&f, 1, 1, k, 200000), 0);
            if (k == 6)
                CU_ASSERT_EQUAL(disk_truncate(&f, f.next - 2), 0);
            disk_wait(&f);
        }
        CU_ASSERT_EQUAL(disk_snapshot(&f, 300, 1, 0, 100), 0);
        disk_wait(&f);
        failures += f.failed != 0;
        shim_fail(s, 0, 0, false);
        disk_close(&f);
        CU_ASSERT(disk_holds(&f, f.path, &code) >= 0);
        shim_directory_clear(path);
        shim_crash(s, path, 0, &seed);
        CU_ASSERT(disk_holds(&f, path, &code) >= 0);
        shim_end(s);
        disk_end(&f);
    }
    CU_ASSERT(failures > 30);
    shim_directory_remove(path);
}

/* ---- rot ---- */

/* A file with one bit flipped; returns what loading says. */
static int code_with_flip(struct disk_fixture *f, const char *name, long bit, char text[256])
{
    char path[400];
    uint8_t byte = 0;
    raft_term term;
    raft_id vote;
    raft_index first;
    struct raft_snapshot *snapshot;
    struct raft_entry *entries;
    size_t count;
    (void)snprintf(path, sizeof path, "%s/%s", f->path, name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    CU_ASSERT_FATAL(fd >= 0 && pread(fd, &byte, 1, bit / 8) == 1);
    byte ^= (uint8_t)(1u << bit % 8);
    CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, bit / 8), 1);
    CU_ASSERT_EQUAL_FATAL(disk_open(f), 0);
    int code = raft_disk_load(f->disk, &term, &vote, &snapshot, &first, &entries, &count);
    CU_ASSERT_EQUAL_FATAL(code, RAFT_CORRUPT);
    (void)snprintf(text, 256, "%s", raft_disk_error(f->disk));
    disk_close(f);
    byte ^= (uint8_t)(1u << bit % 8);
    CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, bit / 8), 1);
    (void)close(fd);
    return code;
}

static bool is_vital(const char *name)
{
    return strncmp(name, "log-", 4) == 0 || strncmp(name, "open-", 5) == 0 ||
           strncmp(name, "snapshot-", 9) == 0 || strncmp(name, "metadata", 8) == 0;
}

static void a_flipped_bit_anywhere_is_found_and_named(void)
{
    struct disk_fixture f;
    unsigned seed = 3, files = 0;
    struct shim *s = begin(&f);
    CU_ASSERT_EQUAL(disk_snapshot(&f, 2, 1, 1, 2000), 0);
    for (unsigned i = 0; i < 8; i++)
        CU_ASSERT_EQUAL(disk_append(&f, 1, 1, i, 200000), 0);
    disk_wait(&f);
    CU_ASSERT_EQUAL(disk_term(&f, 2), 0);
    disk_close(&f);
    DIR *stream = opendir(f.path);
    for (const struct dirent *e = readdir(stream); e != NULL; e = readdir(stream)) {
        char path[400], text[256];
        struct stat status;
        if (!is_vital(e->d_name))
            continue;
        files++;
        (void)snprintf(path, sizeof path, "%s/%s", f.path, e->d_name);
        CU_ASSERT_EQUAL(stat(path, &status), 0);
        for (unsigned i = 0; i < 40; i++) {
            long bits = (long)status.st_size * 8;
            long bit = i == 0 ? 0 : i == 1 ? bits - 1 : (long)rand_r(&seed) % bits;
            CU_ASSERT_EQUAL(code_with_flip(&f, e->d_name, bit, text), RAFT_CORRUPT);
            CU_ASSERT_PTR_NOT_NULL(strstr(text, e->d_name));
            CU_ASSERT_PTR_NOT_NULL(strstr(text, "at byte"));
        }
    }
    (void)closedir(stream);
    CU_ASSERT(files >= 5);
    restart(&f); /* and nothing was touched meanwhile */
    end(&f, s);
}

static void a_missing_file_is_found(void)
{
    static const char *const prefixes[] = {"metadata1", "metadata2", "log-00000000000000000002",
                                           "log-00000000000000000001"};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        struct disk_fixture f;
        int code = 0;
        struct shim *s = begin(&f);
        for (unsigned k = 0; k < 20; k++)
            CU_ASSERT_EQUAL(disk_append(&f, 1, 1, k, 200000), 0);
        disk_wait(&f);
        disk_close(&f);
        DIR *stream = opendir(f.path);
        unsigned removed = 0;
        for (const struct dirent *e = readdir(stream); e != NULL; e = readdir(stream)) {
            if (strncmp(e->d_name, prefixes[i], strlen(prefixes[i])) == 0)
                removed += unlinkat(dirfd(stream), e->d_name, 0) == 0;
        }
        (void)closedir(stream);
        CU_ASSERT_EQUAL(removed, 1);
        CU_ASSERT_EQUAL(disk_holds(&f, f.path, &code), -2);
        CU_ASSERT_EQUAL(code, RAFT_CORRUPT);
        shim_end(s);
        disk_end(&f);
    }
}

static void the_directory_of_another_node_is_refused(void)
{
    struct disk_fixture f;
    struct raft_disk *disk;
    struct shim *s = begin(&f);
    disk_close(&f);
    const struct raft_disk_config config = {
        .loop = &f.loop, .directory = f.path, .cluster = DISK_CLUSTER, .node = DISK_NODE + 1};
    CU_ASSERT_EQUAL_FATAL(raft_disk_open(&disk, &config), 0);
    raft_term term;
    raft_id vote;
    raft_index first;
    struct raft_snapshot *snapshot;
    struct raft_entry *entries;
    size_t count;
    CU_ASSERT_EQUAL(raft_disk_load(disk, &term, &vote, &snapshot, &first, &entries, &count),
                    RAFT_CORRUPT);
    CU_ASSERT_PTR_NOT_NULL(strstr(raft_disk_error(disk), "metadata"));
    f.disk = disk;
    disk_close(&f);
    CU_ASSERT_EQUAL_FATAL(disk_open(&f), 0);
    CU_ASSERT(disk_loads_model(&f));
    end(&f, s);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_full_disk_is_said_and_left_when_there_is_room),
    UNIT_TEST(term_and_vote_are_written_on_a_full_disk),
    UNIT_TEST(a_full_disk_is_not_opened),
    UNIT_TEST(an_own_snapshot_may_fail),
    UNIT_TEST(an_installed_snapshot_that_fails_is_the_end),
    UNIT_TEST(a_failed_sync_is_never_trusted),
    UNIT_TEST(nothing_acknowledged_is_lost_whatever_fails),
    UNIT_TEST(a_flipped_bit_anywhere_is_found_and_named),
    UNIT_TEST(a_missing_file_is_found),
    UNIT_TEST(the_directory_of_another_node_is_refused),
};
UNIT_MAIN("raft_disk_faults", tests)
