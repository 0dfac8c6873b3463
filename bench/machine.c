#include "bench/machine.h"

#include "engine/clock.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

/* First line of a file, without its end; "unknown" if there is none. */
static void first_line(const char *path, char *line, size_t capacity)
{
    FILE *file = fopen(path, "r");
    if (file == NULL || fgets(line, (int)capacity, file) == NULL)
        (void)snprintf(line, capacity, "unknown");
    else
        line[strcspn(line, "\n")] = '\0';
    if (file != NULL)
        (void)fclose(file);
}

static void probe_cpu(struct machine *m)
{
    (void)snprintf(m->cpu, sizeof m->cpu, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (file == NULL)
        return;
    char line[4096];
    while (fgets(line, sizeof line, file) != NULL) {
        const char *colon = strchr(line, ':');
        if (colon == NULL)
            continue;
        if (strncmp(line, "model name", 10) == 0) {
            (void)snprintf(m->cpu, sizeof m->cpu, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        } else if (strncmp(line, "flags", 5) == 0) {
            m->virtual_machine = strstr(colon, " hypervisor") != NULL;
            break; /* the other processors say the same */
        }
    }
    (void)fclose(file);
}

/* The setting that stands in brackets, as in "always [madvise] never". */
static void bracketed(const char *path, char *word, size_t capacity)
{
    char line[160];
    first_line(path, line, sizeof line);
    const char *open = strchr(line, '[');
    if (open == NULL)
        (void)snprintf(word, capacity, "unknown");
    else
        (void)snprintf(word, capacity, "%.*s", (int)strcspn(open + 1, "]"), open + 1);
}

static double calibrate(void)
{
    struct timespec from, to;
    (void)clock_gettime(CLOCK_MONOTONIC_RAW, &from);
    uint64_t ticks_from = clock_tsc_ordered();
    struct timespec nap = {.tv_nsec = 20 * (long)NS_PER_MS};
    (void)nanosleep(&nap, NULL); /* cut short by a signal, it is only less exact */
    (void)clock_gettime(CLOCK_MONOTONIC_RAW, &to);
    uint64_t ticks_to = clock_tsc_ordered();
    double ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
    return (double)(ticks_to - ticks_from) / ns;
}

/* What this process may use.  Why remembered: once a thread is pinned, its own mask names one cpu.
 */
static const cpu_set_t *usable_cpus(void)
{
    static cpu_set_t usable;
    static bool known;
    if (!known && sched_getaffinity(0, sizeof usable, &usable) != 0)
        return NULL;
    known = true;
    return &usable;
}

void machine_probe(struct machine *m)
{
    memset(m, 0, sizeof *m);
    probe_cpu(m);
    struct utsname names;
    if (uname(&names) == 0)
        (void)snprintf(m->kernel, sizeof m->kernel, "%.31s %.60s", names.sysname, names.release);
    (void)snprintf(m->compiler, sizeof m->compiler, "%.60s", __VERSION__);
    char anonymous[24], shared[24];
    bracketed("/sys/kernel/mm/transparent_hugepage/enabled", anonymous, sizeof anonymous);
    bracketed("/sys/kernel/mm/transparent_hugepage/shmem_enabled", shared, sizeof shared);
    (void)snprintf(m->huge_pages, sizeof m->huge_pages, "%s / %s", anonymous, shared);
    const cpu_set_t *usable = usable_cpus();
    if (usable != NULL)
        m->cpus = (uint32_t)CPU_COUNT(usable);
    struct sysinfo info;
    if (sysinfo(&info) == 0)
        m->memory_bytes = (uint64_t)info.totalram * info.mem_unit;
    if (getloadavg(&m->load_1min, 1) != 1)
        m->load_1min = 0;
    m->ticks_per_ns = calibrate();
}

int machine_cpu(uint32_t nth)
{
    const cpu_set_t *usable = usable_cpus();
    if (usable == NULL)
        return -errno;
    uint32_t wanted = nth % (uint32_t)CPU_COUNT(usable);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, usable) && wanted-- == 0)
            return (int)cpu;
    return -ENOENT;
}

int machine_pin(uint32_t nth)
{
    int cpu = machine_cpu(nth);
    if (cpu < 0)
        return cpu;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    return sched_setaffinity(0, sizeof set, &set) == 0 ? cpu : -errno;
}

void machine_unpin(void)
{
    const cpu_set_t *usable = usable_cpus();
    /* Why the result does not matter: it was allowed when we started. */
    if (usable != NULL)
        (void)sched_setaffinity(0, sizeof *usable, usable);
}

int machine_huge_bytes(const void *address, uint64_t *huge_bytes, uint64_t *bytes)
{
    FILE *file = fopen("/proc/self/smaps", "r");
    if (file == NULL)
        return -errno;
    char line[512];
    bool inside = false;
    int rc = -ENOENT;
    while (fgets(line, sizeof line, file) != NULL) {
        uint64_t from, to, kilobytes;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &from, &to) == 2) {
            if (inside)
                break;
            inside = (uintptr_t)address >= from && (uintptr_t)address < to;
            if (inside) {
                *bytes = to - from;
                *huge_bytes = 0;
                rc = 0;
            }
        } else if (inside && (sscanf(line, "AnonHugePages: %" SCNu64, &kilobytes) == 1 ||
                              sscanf(line, "ShmemPmdMapped: %" SCNu64, &kilobytes) == 1)) {
            *huge_bytes += kilobytes * 1024;
        }
    }
    (void)fclose(file);
    return rc;
}
