/* The environment of DPDK: it starts once, leaves the processor of its caller alone, and cleans up behind itself and
 * behind who was killed. */
#include "dataplane/dpdk_eal.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_lcore.h>

static char base[] = "/tmp/dunlin-test-eal-XXXXXX";

static bool is_there(const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/dpdk/%s", base, name);
    return access(path, F_OK) == 0;
}

static void leave_files(const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/dpdk/%s", base, name);
    CU_ASSERT_EQUAL_FATAL(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/dpdk/%s/config", base, name);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    CU_ASSERT_TRUE_FATAL(fd >= 0);
    close(fd);
}

/* As somebody holds whom this process does not see by number. */
static pid_t lock_files(const char *name)
{
    char path[PATH_MAX], byte;
    int ready[2];
    snprintf(path, sizeof path, "%s/dpdk/%s/config", base, name);
    CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 8, .l_len = 8};
        int fd = open(path, O_RDWR);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (fd < 0 || fcntl(fd, F_SETLK, &lock) != 0 || write(ready[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    CU_ASSERT_EQUAL_FATAL(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return child;
}

/* A number that was a process's and is nobody's. */
static int dead(void)
{
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    CU_ASSERT_EQUAL_FATAL(waitpid(child, NULL, 0), child);
    return child;
}

static void *join_and_leave(void *context)
{
    int *result = context;
    *result = dpdk_eal_join();
    if (*result == 0 && (rte_lcore_id() == LCORE_ID_ANY || dpdk_eal_join() != 0))
        *result = -1;
    dpdk_eal_leave();
    if (rte_lcore_id() != LCORE_ID_ANY)
        *result = -2;
    return NULL;
}

/* Why one: a process has one start. */
static void it_starts_once_and_leaves_nothing(void)
{
    static const char *arguments[DPDK_EAL_ARGUMENTS_MAX + 1] = {"--no-pci", "--no-telemetry"};
    struct dpdk_eal_config config = {.arguments = arguments,
                                     .argument_count = DPDK_EAL_ARGUMENTS_MAX + 1,
                                     .pages = DPDK_EAL_PAGES_SMALL,
                                     .memory_mib = 64};
    char path[PATH_MAX], gone[64], held[64], alive[64], own[64];
    cpu_set_t before, after;
    pthread_t thread;
    int joined = 1;

    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(base));
    snprintf(path, sizeof path, "%s/dpdk", base);
    CU_ASSERT_EQUAL_FATAL(mkdir(path, 0700), 0);
    CU_ASSERT_EQUAL_FATAL(setenv("RUNTIME_DIRECTORY", base, 1), 0);
    snprintf(gone, sizeof gone, "dunlin-%d", dead());
    snprintf(alive, sizeof alive, "dunlin-%d", (int)getppid());
    snprintf(held, sizeof held, "dunlin-%d", dead());
    leave_files(gone);
    leave_files(held);
    leave_files(alive);
    pid_t holder = lock_files(held);
    leave_files("rte");
    CU_ASSERT_EQUAL_FATAL(pthread_getaffinity_np(pthread_self(), sizeof before, &before), 0);

    CU_ASSERT_EQUAL(dpdk_eal_join(), -EINVAL);
    CU_ASSERT_FALSE(dpdk_eal_addresses_are_virtual());
    CU_ASSERT_EQUAL(dpdk_eal_start(&config), -E2BIG);
    config.argument_count = 2;
    CU_ASSERT_EQUAL_FATAL(dpdk_eal_start(&config), 0);
    CU_ASSERT_TRUE(dpdk_eal_is_started());
    CU_ASSERT_TRUE(dpdk_eal_addresses_are_virtual());
    CU_ASSERT_EQUAL(dpdk_eal_start(&config), -EALREADY);

    CU_ASSERT_EQUAL_FATAL(pthread_getaffinity_np(pthread_self(), sizeof after, &after), 0);
    CU_ASSERT_TRUE(CPU_EQUAL(&before, &after));
    CU_ASSERT_EQUAL(rte_lcore_count(), 1); /* no threads of its own that poll */
    CU_ASSERT_FALSE(is_there(gone));
    CU_ASSERT_TRUE(is_there(held) && is_there(alive) && is_there("rte"));
    CU_ASSERT_EQUAL(kill(holder, SIGKILL), 0);
    CU_ASSERT_EQUAL(waitpid(holder, NULL, 0), holder);

    CU_ASSERT_EQUAL(dpdk_eal_join(), 0); /* who started it is in, and stays */
    dpdk_eal_leave();
    CU_ASSERT_EQUAL(rte_lcore_id(), rte_get_main_lcore());
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, join_and_leave, &joined), 0);
    pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(joined, 0);

    snprintf(own, sizeof own, "dunlin-%d", (int)getpid());
    CU_ASSERT_TRUE(is_there(own));
    dpdk_eal_stop();
    dpdk_eal_stop();
    CU_ASSERT_FALSE(is_there(own));
    CU_ASSERT_FALSE(dpdk_eal_is_started());
    CU_ASSERT_EQUAL(dpdk_eal_start(&config), -EALREADY);
    snprintf(path, sizeof path, "rm -rf %s", base);
    CU_ASSERT_EQUAL(system(path), 0);
}

/* In a process of its own. */
static int start_in_child(const char *argument)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        const char *const arguments[] = {"--no-pci", "--no-telemetry", argument};
        struct dpdk_eal_config config = {
            .arguments = arguments, .argument_count = 3, .pages = DPDK_EAL_PAGES_SMALL};
        int null = open("/dev/null", O_WRONLY); /* it prints all that it would take */
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        int result = dpdk_eal_start(&config);
        dpdk_eal_stop();
        _exit(-result);
    }
    CU_ASSERT_EQUAL_FATAL(waitpid(child, &status, 0), child);
    CU_ASSERT_TRUE(WIFEXITED(status));
    return -WEXITSTATUS(status);
}

static void arguments_are_the_users(void)
{
    CU_ASSERT_EQUAL(start_in_child("--no-such-thing"), -EINVAL);
    CU_ASSERT_EQUAL(start_in_child("--huge-dir"), -EINVAL);
    CU_ASSERT_EQUAL(start_in_child("-m32"), 0);
    CU_ASSERT_EQUAL(start_in_child("-l0"), 0);
    CU_ASSERT_EQUAL(start_in_child("--lcores=0"), 0);
    CU_ASSERT_EQUAL(start_in_child("--no-huge"), 0);
    CU_ASSERT_EQUAL(start_in_child("--file-prefix=other"), 0);
    CU_ASSERT_EQUAL(start_in_child("--log-level=lib.eal:error"), 0);
}

static const struct unit_test tests[] = {
    UNIT_TEST(arguments_are_the_users), /* first: children begin without one */
    UNIT_TEST(it_starts_once_and_leaves_nothing),
};
UNIT_MAIN("dpdk_eal", tests)
