#include "control/doctor.h"
#include "control/doctor_read.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIB UINT64_C(1024)
/* What the first processor says of itself in /proc/cpuinfo, and more. */
#define WORD_BYTES 256u

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* A number of KiB that stands somewhere behind a name; what does not fit is as much as fits. */
static uint64_t kib_of(const char *text)
{
    char *end;
    errno = 0;
    uint64_t kib = text[strspn(text, " ")] == '-' ? 0 : strtoull(text, &end, 10);
    return kib > UINT64_MAX / KIB ? UINT64_MAX : kib * KIB;
}

/* ---- memory ---- */

static bool meminfo_take(void *context, const char *line)
{
    struct doctor_memory *m = context;
    if (begins(line, "MemTotal:"))
        m->bytes = kib_of(line + sizeof "MemTotal:" - 1);
    return m->bytes == 0;
}

/* Filename Type Size Used Priority */
static bool swap_take(void *context, const char *line)
{
    struct doctor_memory *m = context;
    char kind[WORD_BYTES];
    char size[24];
    if (sscanf(line, "%*255s %255s %23s", kind, size) == 2 && strcmp(size, "Size") != 0)
        m->swap_bytes += kib_of(size);
    return true;
}

/* Limit, soft, hard, unit. */
static bool limits_take(void *context, const char *line)
{
    struct doctor_memory *m = context;
    static const char name[] = "Max locked memory";
    if (!begins(line, name))
        return true;
    const char *value = line + sizeof name - 1;
    value += strspn(value, " ");
    m->memlock_bytes = begins(value, "unlimited") ? DOCTOR_UNLIMITED : strtoull(value, NULL, 10);
    return false;
}

/* Device, directory, type. */
static bool mounts_take(void *context, const char *line)
{
    struct doctor_memory *m = context;
    char type[24];
    m->huge_mounted = sscanf(line, "%*s %*s %23s", type) == 1 && strcmp(type, "hugetlbfs") == 0;
    return !m->huge_mounted;
}

struct pages_search {
    struct doctor_memory *memory;
    const char *root;
};

/* hugepages-2048kB */
static bool pages_take(void *context, const char *name)
{
    struct pages_search *s = context;
    struct doctor_memory *m = s->memory;
    char path[DOCTOR_PATH_BYTES], *end;
    int64_t total = 0, idle = 0;
    static const char before[] = "hugepages-";
    if (!begins(name, before))
        return true;
    uint64_t kib = strtoull(name + sizeof before - 1, &end, 10);
    if (strcmp(end, "kB") != 0 || kib == 0 || kib > UINT64_C(1) << 30 ||
        m->page_size_count == DOCTOR_PAGE_SIZES_MAX)
        return true;
    (void)snprintf(path, sizeof path, "sys/kernel/mm/hugepages/%s/nr_hugepages", name);
    if (!doctor_number(s->root, path, &total) || total < 0)
        total = 0;
    (void)snprintf(path, sizeof path, "sys/kernel/mm/hugepages/%s/free_hugepages", name);
    if (!doctor_number(s->root, path, &idle) || idle < 0 || idle > total)
        idle = 0;
    m->pages[m->page_size_count++] =
        (struct doctor_pages){kib * KIB, (uint64_t)total, (uint64_t)idle};
    return true;
}

static void memory_read(struct doctor_memory *m, const char *root)
{
    struct pages_search search = {.memory = m, .root = root};
    (void)doctor_lines(root, "proc/meminfo", meminfo_take, m);
    (void)doctor_lines(root, "proc/swaps", swap_take, m);
    (void)doctor_lines(root, "proc/self/limits", limits_take, m);
    (void)doctor_lines(root, "proc/self/mounts", mounts_take, m);
    (void)doctor_entries(root, "sys/kernel/mm/hugepages", pages_take, &search);
    (void)doctor_choice(root, "sys/kernel/mm/transparent_hugepage/enabled", m->huge,
                        sizeof m->huge);
    (void)doctor_choice(root, "sys/kernel/mm/transparent_hugepage/shmem_enabled", m->shared,
                        sizeof m->shared);
}

/* ---- processors ---- */

static bool has_word(const char *line, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = line; (at = strstr(at, word)) != NULL; at += length)
        if ((at == line || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
            return true;
    return false;
}

static bool cpuinfo_take(void *context, const char *line)
{
    struct doctor_processors *p = context;
    if (begins(line, "vendor_id"))
        p->amd = strstr(line, "AuthenticAMD") != NULL || strstr(line, "HygonGenuine") != NULL;
    if (!begins(line, "flags"))
        return line[0] != '\0'; /* the first processor ends by an empty line */
    p->hypervisor = has_word(line, "hypervisor");
    p->tsc_constant = has_word(line, "constant_tsc");
    p->tsc_nonstop = has_word(line, "nonstop_tsc");
    return false;
}

/* What is no list, "(null)" for one, names none. */
static void cpus_read(const char *root, const char *path, struct doctor_cpus *set)
{
    char text[DOCTOR_LINE_BYTES];
    struct doctor_cpus read = {0};
    if (doctor_text(root, path, text, sizeof text) && doctor_cpus_parse(text, &read) == 0)
        *set = read;
}

/* rcu_nocbs=LIST: the kernel shows it nowhere else.  The processors of nohz_full are among them. */
static void callbacks_read(struct doctor_processors *p, const char *root)
{
    static const char name[] = "rcu_nocbs=";
    char line[DOCTOR_LINE_BYTES];
    p->callbacks_off = p->tickless;
    if (!doctor_text(root, "proc/cmdline", line, sizeof line))
        return;
    for (char *at = line; (at = strstr(at, name)) != NULL;) {
        bool whole = at == line || at[-1] == ' ' || at[-1] == '\0'; /* cut off below */
        at += sizeof name - 1;
        char *end = at + strcspn(at, " ");
        bool last = *end == '\0';
        *end = '\0';
        struct doctor_cpus set = {0};
        if (whole && strcmp(at, "all") == 0)
            p->callbacks_off = p->online;
        else if (whole && doctor_cpus_parse(at, &set) == 0)
            for (uint32_t cpu = 0; cpu < DOCTOR_CPUS_MAX; cpu++)
                if (doctor_cpus_has(&set, cpu))
                    doctor_cpus_add(&p->callbacks_off, cpu);
        if (last)
            return;
        at = end + 1;
    }
}

static void governors_read(struct doctor_processors *p, const char *root)
{
    char path[DOCTOR_PATH_BYTES], word[DOCTOR_NAME_BYTES];
    for (uint32_t cpu = 0; cpu < DOCTOR_CPUS_MAX; cpu++) {
        if (!doctor_cpus_has(&p->online, cpu))
            continue;
        (void)snprintf(path, sizeof path, "sys/devices/system/cpu/cpu%u/cpufreq/scaling_governor",
                       cpu);
        if (!doctor_word(root, path, word, sizeof word) || word[0] == '\0')
            continue;
        p->scaled = true;
        if (strcmp(word, "performance") == 0)
            continue;
        doctor_cpus_add(&p->slowed, cpu);
        doctor_name(p->governor, sizeof p->governor, word);
    }
}

static void topology_read(struct doctor_processors *p, const struct config *config,
                          const char *root)
{
    char path[DOCTOR_PATH_BYTES];
    for (uint32_t node = 0; node < DOCTOR_NUMA_MAX; node++) {
        (void)snprintf(path, sizeof path, "sys/devices/system/node/node%u/cpulist", node);
        if (!doctor_exists(root, path))
            break;
        cpus_read(root, path, &p->numa[p->numa_count++]);
    }
    for (uint32_t i = 0; config != NULL && i < config->cpu_count && i < LIMIT_LCORES; i++) {
        (void)snprintf(path, sizeof path,
                       "sys/devices/system/cpu/cpu%" PRId32 "/topology/thread_siblings_list",
                       config->node.lcore_cpus[i]);
        cpus_read(root, path, &p->siblings[i]);
    }
}

static void processors_read(struct doctor_processors *p, const struct config *config,
                            const char *root)
{
    char text[WORD_BYTES];
    cpus_read(root, "sys/devices/system/cpu/online", &p->online);
    cpus_read(root, "sys/devices/system/cpu/isolated", &p->isolated);
    cpus_read(root, "sys/devices/system/cpu/nohz_full", &p->tickless);
    callbacks_read(p, root);
    governors_read(p, root);
    topology_read(p, config, root);
    (void)doctor_lines(root, "proc/cpuinfo", cpuinfo_take, p);
    (void)doctor_word(root, "sys/devices/system/clocksource/clocksource0/current_clocksource",
                      p->clocksource, sizeof p->clocksource);
    p->tsc_available =
        doctor_text(root, "sys/devices/system/clocksource/clocksource0/available_clocksource", text,
                    sizeof text) &&
        has_word(text, "tsc");
}

/* ---- the service ---- */

struct unit_search {
    struct doctor_service *service;
    const char *root, *directory;
};

/* Why the last one counts: so it does for systemd. */
static bool unit_take(void *context, const char *line)
{
    struct doctor_service *s = context;
    static const char watchdog[] = "WatchdogSec=", memlock[] = "LimitMEMLOCK=";
    if (begins(line, watchdog)) {
        const char *value = line + sizeof watchdog - 1;
        s->watchdog = value[0] != '\0' && strtod(value, NULL) > 0;
    }
    if (!begins(line, memlock))
        return true;
    const char *value = line + sizeof memlock - 1;
    char *end;
    s->memlock_said = value[0] != '\0';
    s->memlock_bytes = strtoull(value, &end, 10);
    if (begins(value, "infinity"))
        s->memlock_bytes = DOCTOR_UNLIMITED;
    static const char units[] = "KMGT";
    const char *unit = *end != '\0' ? strchr(units, *end) : NULL;
    if (unit != NULL)
        s->memlock_bytes <<= 10 * (unsigned int)(unit - units + 1);
    return true;
}

static bool part_take(void *context, const char *name)
{
    const struct unit_search *s = context;
    char path[DOCTOR_PATH_BYTES];
    size_t length = strlen(name);
    if (length < 5 || strcmp(name + length - 5, ".conf") != 0)
        return true;
    (void)snprintf(path, sizeof path, "%s/dunlind.service.d/%s", s->directory, name);
    (void)doctor_lines(s->root, path, unit_take, s->service);
    return true;
}

/* The first of these directories that has the unit is what systemd takes; parts may be in any. */
static void service_read(struct doctor_service *s, const char *root)
{
    static const char *const directories[] = {"etc/systemd/system", "run/systemd/system",
                                              "usr/local/lib/systemd/system",
                                              "usr/lib/systemd/system"};
    const size_t count = sizeof directories / sizeof directories[0];
    char path[DOCTOR_PATH_BYTES];
    for (size_t i = 0; i < count && !s->installed; i++) {
        (void)snprintf(path, sizeof path, "%s/dunlind.service", directories[i]);
        s->installed = doctor_lines(root, path, unit_take, s);
    }
    for (size_t i = count; i-- > 0;) {
        struct unit_search search = {.service = s, .root = root, .directory = directories[i]};
        (void)snprintf(path, sizeof path, "%s/dunlind.service.d", directories[i]);
        (void)doctor_entries(root, path, part_take, &search);
    }
}

void doctor_facts_read(struct doctor_facts *facts, const struct doctor_source *source)
{
    memory_read(&facts->memory, source->root);
    processors_read(&facts->processors, facts->config, source->root);
    service_read(&facts->service, source->root);
    doctor_network_read(facts, source);
    doctor_rdma_read(facts, source->root);
}
