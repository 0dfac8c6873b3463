/* A file system that is really full: a small one of its own, in a mount namespace of its own.  Skipped, with
 * the reason, where that is not allowed. */
#include "tests/unit/control/raft_disk_fixture.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#define SKIPPED 77

/* Room for some segments and not much more. */
static bool small_mount(const char *path)
{
    return mount("dunlin", path, "tmpfs", 0, "size=5m,mode=0700") == 0;
}

/* Fill it up; returns the descriptor of what fills it. */
static int fill(const char *path)
{
    static uint8_t bytes[4096];
    char name[96];
    (void)snprintf(name, sizeof name, "%s/ballast", path);
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CU_ASSERT_FATAL(fd >= 0);
    memset(bytes, 1, sizeof bytes);
    while (write(fd, bytes, sizeof bytes) > 0) {
    }
    return fd;
}

static void a_full_file_system_stops_it_until_there_is_room(void)
{
    struct disk_fixture f;
    disk_begin(&f);
    CU_ASSERT_FATAL(small_mount(f.path));
    CU_ASSERT_EQUAL_FATAL(disk_open(&f), 0);
    CU_ASSERT(disk_loads_model(&f));
    CU_ASSERT_EQUAL(disk_term(&f, 1), 0);
    CU_ASSERT_EQUAL(disk_append(&f, 1, 1, 1, 1000), 0);
    disk_wait(&f);
    CU_ASSERT_EQUAL(f.status, 0);
    int ballast = fill(f.path);
    /* What has its place already goes on: the segment, the reserve behind it, term and vote. */
    for (unsigned i = 0; i < 40 && f.failed == 0; i++) {
        CU_ASSERT_EQUAL(disk_append(&f, 1, 1, i, 100000), 0);
        disk_wait(&f);
    }
    CU_ASSERT_EQUAL(f.failed, RAFT_NOSPACE);
    CU_ASSERT(raft_disk_is_full(f.disk));
    CU_ASSERT(f.model.next > 15);
    f.step_count = 0; /* it did not happen */
    f.next = f.model.next;
    CU_ASSERT_EQUAL(disk_term(&f, 2), 0);
    CU_ASSERT_EQUAL(disk_vote(&f, 5), 0);
    disk_close(&f);
    CU_ASSERT_EQUAL(disk_open(&f), -ENOSPC);
    CU_ASSERT_EQUAL(disk_open(&f), -ENOSPC);
    CU_ASSERT_EQUAL(ftruncate(ballast, 0), 0);
    CU_ASSERT_EQUAL_FATAL(disk_open(&f), 0);
    CU_ASSERT(disk_loads_model(&f));
    CU_ASSERT_EQUAL(disk_snapshot(&f, f.next - 1, 1, 1, 1000), 0); /* and the log goes */
    disk_wait(&f);
    CU_ASSERT_EQUAL(disk_append(&f, 1, 2, 9, 1000), 0);
    disk_wait(&f);
    CU_ASSERT_EQUAL(f.status, 0);
    CU_ASSERT(!raft_disk_is_full(f.disk));
    disk_close(&f);
    CU_ASSERT_EQUAL_FATAL(disk_open(&f), 0);
    CU_ASSERT(disk_loads_model(&f));
    disk_close(&f);
    (void)close(ballast);
    CU_ASSERT_EQUAL(umount2(f.path, MNT_DETACH), 0);
    disk_end(&f);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_full_file_system_stops_it_until_there_is_room),
};

int main(int argc, char **argv)
{
    char path[] = "/tmp/dunlin-full-XXXXXX";
    bool is_allowed = mkdtemp(path) != NULL && unshare(CLONE_NEWNS) == 0 &&
                      mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && small_mount(path);
    if (!is_allowed) {
        printf("skipped: a file system cannot be mounted here: %s\n", strerrordesc_np(errno));
        (void)rmdir(path);
        return SKIPPED;
    }
    (void)umount2(path, MNT_DETACH);
    (void)rmdir(path);
    return unit_main("raft_disk_full", tests, sizeof tests / sizeof tests[0], argc, argv);
}
