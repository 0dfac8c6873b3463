#include "dataplane/dpdk_eal.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_debug.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>

#define OWN_ARGUMENTS 10u
#define TEXT_BYTES 64u
#define PATH_BYTES 512u
#define PREFIX "dunlin-"

static bool started, used;

/* ---- what the machine has ---- */

static bool has_hugetlbfs(void)
{
    char line[512];
    bool found = false;
    FILE *mounts = fopen("/proc/mounts", "re");
    while (mounts != NULL && !found && fgets(line, sizeof line, mounts) != NULL)
        found = strstr(line, " hugetlbfs ") != NULL;
    if (mounts != NULL)
        fclose(mounts);
    return found;
}

static uint64_t number_in(int dir, const char *name, const char *file)
{
    char path[512], text[32] = "";
    snprintf(path, sizeof path, "%s/%s", name, file);
    int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0)
        close(fd);
    return length > 0 ? strtoull(text, NULL, 10) : 0;
}

/* Of one page size, as DPDK takes them. */
static bool has_free_huge_pages(uint32_t mib)
{
    bool enough = false;
    DIR *sizes = opendir("/sys/kernel/mm/hugepages");
    struct dirent *size;
    while (sizes != NULL && !enough && (size = readdir(sizes)) != NULL) {
        uint64_t kib = 0;
        if (strncmp(size->d_name, "hugepages-", 10) == 0)
            kib = strtoull(size->d_name + 10, NULL, 10);
        enough = number_in(dirfd(sizes), size->d_name, "free_hugepages") * kib / 1024 >= mib;
    }
    if (sizes != NULL)
        closedir(sizes);
    return enough && has_hugetlbfs();
}

/* ---- arguments ---- */

static bool has_argument(const struct dpdk_eal_config *config, const char *name)
{
    size_t length = strlen(name);
    for (uint32_t i = 0; i < config->argument_count; i++) {
        const char *a = config->arguments[i];
        /* A short option may carry its value: -l0-3; a long one behind a sign: --lcores=0. */
        if (strncmp(a, name, length) == 0 &&
            (name[1] != '-' || a[length] == '\0' || a[length] == '='))
            return true;
    }
    return false;
}

static bool chooses_processors(const struct dpdk_eal_config *config)
{
    static const char *const names[] = {"-l", "-c", "-s", "--lcores", "--main-lcore"};
    for (uint32_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (has_argument(config, names[i]))
            return true;
    return false;
}

static bool takes_small_pages(const struct dpdk_eal_config *config, uint32_t mib)
{
    if (has_argument(config, "--no-huge"))
        return true;
    return config->pages == DPDK_EAL_PAGES_SMALL ||
           (config->pages == DPDK_EAL_PAGES_FREE && !has_free_huge_pages(mib));
}

struct arguments {
    char *values[OWN_ARGUMENTS + DPDK_EAL_ARGUMENTS_MAX + 1];
    char own[OWN_ARGUMENTS][TEXT_BYTES];
    char *copied[DPDK_EAL_ARGUMENTS_MAX]; /* DPDK overwrites values */
    uint32_t count;
};

__attribute__((format(printf, 2, 3))) static void add(struct arguments *a, const char *format, ...)
{
    va_list values;
    ASSERT(a->count < OWN_ARGUMENTS);
    va_start(values, format);
    vsnprintf(a->own[a->count], TEXT_BYTES, format, values);
    va_end(values);
    a->values[a->count] = a->own[a->count];
    a->count++;
}

static void add_processor(struct arguments *a, const cpu_set_t *may)
{
    for (uint32_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, may)) {
            add(a, "--lcores=0@%u", cpu);
            return;
        }
}

static uint32_t or_default(uint32_t mib)
{
    return mib != 0 ? mib : DPDK_EAL_MEMORY_MIB;
}

/* Why static: DPDK keeps pointers into what it is given. */
static struct arguments *arguments_of(const struct dpdk_eal_config *config, const cpu_set_t *may)
{
    static struct arguments a;
    uint32_t mib = or_default(config->memory_mib);
    bool small = takes_small_pages(config, mib);
    memset(&a, 0, sizeof a);
    add(&a, "dunlind");
    add(&a, "--log-level=*:warning");
    if (!chooses_processors(config))
        add_processor(&a, may);
    add(&a, "--file-prefix=" PREFIX "%d", (int)getpid());
    /* Why not always: DPDK takes only one of the two. */
    if (!has_argument(config, "--socket-mem"))
        add(&a, "-m%u", small ? or_default(config->memory_small_mib) : mib);
    if (small)
        add(&a, "--no-huge");
    else
        add(&a, "--huge-unlink=always");
    for (uint32_t i = 0; i < config->argument_count; i++) {
        a.copied[i] = strdup(config->arguments[i]);
        if (a.copied[i] == NULL)
            return NULL; /* what was copied stays: the process does not start */
        a.values[a.count++] = a.copied[i];
    }
    return &a;
}

/* ---- life ---- */

static void remove_all_in(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir != NULL)
        closedir(dir);
    rmdir(path);
}

/* Where this process has its files, and all others; false: it has none. */
static bool runtime_path(char *own, char *all, size_t bytes)
{
    snprintf(own, bytes, "%s", rte_eal_get_runtime_dir());
    snprintf(all, bytes, "%s", own);
    char *last = strrchr(all, '/');
    if (last == NULL || last == all)
        return false;
    *last = '\0';
    return true;
}

/* Why: DPDK leaves its files for another process of that prefix; ours has a prefix of its own. */
static void runtime_remove(void)
{
    char own[PATH_BYTES], all[PATH_BYTES];
    if (!runtime_path(own, all, sizeof own))
        return;
    remove_all_in(own);
    rmdir(all); /* unless another process has one */
}

/* DPDK holds a lock on that file as long as the process lives.  Why not by the process's number alone: one of another
 * PID namespace has a number that is nobody's here. */
static bool is_in_use(const char *directory)
{
    char path[3 * PATH_BYTES];
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    snprintf(path, sizeof path, "%s/config", directory);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool in_use = fd < 0 || fcntl(fd, F_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
    if (fd >= 0)
        close(fd);
    return in_use;
}

/* Files of processes of ours that were killed. */
static void runtime_sweep(void)
{
    char own[PATH_BYTES], all[PATH_BYTES], path[2 * PATH_BYTES];
    struct dirent *entry;
    DIR *dir = runtime_path(own, all, sizeof own) ? opendir(all) : NULL;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        int pid = strncmp(entry->d_name, PREFIX, sizeof PREFIX - 1) == 0
                      ? atoi(entry->d_name + sizeof PREFIX - 1)
                      : 0;
        if (pid <= 0 || kill(pid, 0) == 0 || errno != ESRCH)
            continue;
        snprintf(path, sizeof path, "%s/%s", all, entry->d_name);
        if (!is_in_use(path))
            remove_all_in(path);
    }
    if (dir != NULL)
        closedir(dir);
}

int dpdk_eal_start(const struct dpdk_eal_config *config)
{
    cpu_set_t may;
    if (used)
        return -EALREADY;
    if (config->argument_count > DPDK_EAL_ARGUMENTS_MAX)
        return -E2BIG;
    int failed = pthread_getaffinity_np(pthread_self(), sizeof may, &may);
    if (failed != 0)
        return -failed;
    struct arguments *a = arguments_of(config, &may);
    if (a == NULL)
        return -ENOMEM;
    used = true;
    rte_errno = 0;
    int result = rte_eal_init((int)a->count, a->values);
    int reason = rte_errno;
    /* Why: DPDK ties the thread that starts it to one processor. */
    pthread_setaffinity_np(pthread_self(), sizeof may, &may);
    if (result < 0) {
        runtime_remove();
        return reason > 0 ? -reason : -EINVAL;
    }
    started = true;
    runtime_sweep();
    return 0;
}

void dpdk_eal_stop(void)
{
    if (!started)
        return;
    started = false;
    rte_eal_cleanup();
    runtime_remove();
}

bool dpdk_eal_is_started(void)
{
    return started;
}

bool dpdk_eal_has_huge_pages(void)
{
    return started && rte_eal_has_hugepages() != 0;
}

bool dpdk_eal_addresses_are_virtual(void)
{
    return started && rte_eal_iova_mode() == RTE_IOVA_VA;
}

int dpdk_eal_join(void)
{
    if (!started)
        return -EINVAL;
    if (rte_lcore_id() != LCORE_ID_ANY)
        return 0;
    return rte_thread_register() == 0 ? 0 : rte_errno == ENOMEM ? -ENOSPC : -EINVAL;
}

void dpdk_eal_leave(void)
{
    if (started && rte_lcore_id() != LCORE_ID_ANY && rte_lcore_id() != rte_get_main_lcore())
        rte_thread_unregister();
}
