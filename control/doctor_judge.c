#include "control/doctor.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define GIB (UINT64_C(1) << 30)
#define MIB (UINT64_C(1) << 20)
/* What DPDK wants beside the spaces: packets and its own tables. */
#define DPDK_BYTES GIB
/* What a connection of an lcore with a peer has registered: places for what comes, and what is to be sent. */
#define RDMA_LINK_BYTES (8 * MIB)
/* What systemd gives a service that says nothing. */
#define MEMLOCK_DEFAULT (8 * MIB)

/* ---- findings ---- */

struct doctor_finding *doctor_add(struct doctor_report *report, const char *name,
                                  const char *subject, const char *why)
{
    ASSERT(report->count < DOCTOR_FINDINGS_MAX);
    struct doctor_finding *f = &report->list[report->count++];
    *f = (struct doctor_finding){.name = name, .why = why};
    (void)snprintf(f->subject, sizeof f->subject, "%s", subject);
    return f;
}

void doctor_is(struct doctor_finding *finding, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start is one line above */
    (void)vsnprintf(finding->is, sizeof finding->is, format, arguments);
    va_end(arguments);
}

void doctor_mend(struct doctor_finding *finding, enum doctor_state state, const char *format, ...)
{
    va_list arguments;
    finding->state = state;
    va_start(arguments, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start is one line above */
    (void)vsnprintf(finding->mend, sizeof finding->mend, format, arguments);
    va_end(arguments);
}

/* Why a file of its own: nobody's line is edited, and to take it back is to remove it. */
void doctor_mend_kernel(struct doctor_finding *finding, enum doctor_state state, const char *words)
{
    doctor_mend(finding, state,
                "echo 'GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX %s\"' "
                ">>/etc/default/grub.d/dunlin.cfg && update-grub && reboot",
                words);
}

const char *doctor_size(uint64_t bytes, char text[DOCTOR_SIZE_BYTES])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    double size = (double)bytes;
    for (; size >= 1024 && unit + 1 < sizeof units / sizeof units[0]; unit++)
        size /= 1024;
    (void)snprintf(text, DOCTOR_SIZE_BYTES, unit == 0 || size >= 100 ? "%.0f %s" : "%.1f %s", size,
                   units[unit]);
    return text;
}

/* ---- memory ---- */

static const struct doctor_pages *pages_choose(const struct doctor_memory *m)
{
    const struct doctor_pages *best = NULL;
    for (uint32_t i = 0; i < m->page_size_count; i++)
        if (best == NULL || (best->total == 0 && m->pages[i].total != 0) ||
            ((best->total == 0) == (m->pages[i].total == 0) &&
             m->pages[i].page_bytes < best->page_bytes))
            best = &m->pages[i];
    return best;
}

static void huge_pages(const struct doctor_facts *facts, struct doctor_report *report)
{
    const struct doctor_pages *p = pages_choose(&facts->memory);
    char size[DOCTOR_SIZE_BYTES];
    struct doctor_finding *f =
        doctor_add(report, "huge_pages", "",
                   "without them DPDK maps packets in pages of 4 KiB: more address translations, "
                   "and each page pinned by itself; udp uses none");
    if (p == NULL || p->total == 0)
        doctor_is(f, "none reserved");
    else
        doctor_is(f, "%" PRIu64 " of %s, %" PRIu64 " free, %s", p->total,
                  doctor_size(p->page_bytes, size), p->free,
                  facts->memory.huge_mounted ? "mounted" : "not mounted");
    if (!facts->dpdk)
        return;
    uint64_t bytes = p != NULL ? p->page_bytes : 2 * MIB;
    /* Why not more than a quarter: a machine that gives away what it needs itself stands still. */
    uint64_t most = facts->memory.bytes != 0 ? facts->memory.bytes / 4 : DPDK_BYTES;
    uint64_t wanted = min_u64(DPDK_BYTES, most) / bytes;
    if (p == NULL || p->free == 0)
        doctor_mend(f, DOCTOR_WARNING,
                    "echo %" PRIu64 " >/sys/kernel/mm/hugepages/hugepages-%" PRIu64
                    "kB/nr_hugepages",
                    (p != NULL ? p->total : 0) + max_u64(wanted, 1), bytes / 1024);
    else if (!facts->memory.huge_mounted)
        doctor_mend(f, DOCTOR_WARNING,
                    "mkdir -p /dev/hugepages && mount -t hugetlbfs hugetlbfs /dev/hugepages");
}

static void transparent_pages(const struct doctor_memory *m, struct doctor_report *report)
{
    struct doctor_finding *f =
        doctor_add(report, "transparent_huge_pages", "",
                   "always lets any page fault wait until the kernel has put together a huge page");
    doctor_is(f, "%s", m->huge[0] != '\0' ? m->huge : "this kernel has none");
    if (strcmp(m->huge, "always") == 0)
        doctor_mend(f, DOCTOR_WARNING, "echo madvise >/sys/kernel/mm/transparent_hugepage/enabled");
    f = doctor_add(
        report, "shared_huge_pages", "",
        "chunks of spaces are shared memory that asks for huge pages; without them reads "
        "in place miss the TLB more");
    doctor_is(f, "%s", m->shared[0] != '\0' ? m->shared : "this kernel has none");
    if (strcmp(m->shared, "never") == 0 || strcmp(m->shared, "deny") == 0)
        doctor_mend(f, DOCTOR_WARNING,
                    "echo advise >/sys/kernel/mm/transparent_hugepage/shmem_enabled");
}

static uint64_t quotas(const struct config *config)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < config->space_count; i++)
        sum += config->spaces[i].quota_bytes;
    return sum;
}

static void memory_size(const struct doctor_facts *facts, struct doctor_report *report)
{
    char wanted[DOCTOR_SIZE_BYTES], there[DOCTOR_SIZE_BYTES];
    uint64_t sum = facts->config != NULL ? quotas(facts->config) : 0;
    if (facts->config == NULL || facts->memory.bytes == 0)
        return;
    struct doctor_finding *f = doctor_add(
        report, "memory", "", "a space that grows to its quota takes that much memory for good");
    doctor_is(f, "quotas of %" PRIu32 " spaces %s, memory %s", facts->config->space_count,
              doctor_size(sum, wanted), doctor_size(facts->memory.bytes, there));
    if (sum > facts->memory.bytes / 10 * 8)
        doctor_mend(f, sum > facts->memory.bytes ? DOCTOR_FAULT : DOCTOR_WARNING,
                    "lower a `quota:` in %s, then: systemctl restart dunlind", facts->config_path);
}

static void swap(const struct doctor_memory *m, struct doctor_report *report)
{
    char size[DOCTOR_SIZE_BYTES];
    struct doctor_finding *f = doctor_add(
        report, "swap", "",
        "a polling thread that touches a page on disk stands still for milliseconds, and "
        "a lease with it");
    doctor_is(f, m->swap_bytes != 0 ? "%s" : "off", doctor_size(m->swap_bytes, size));
    if (m->swap_bytes != 0)
        doctor_mend(f, DOCTOR_WARNING, "swapoff -a && sed -i '/\\sswap\\s/s/^/#/' /etc/fstab");
}

#define PART "/etc/systemd/system/dunlind.service.d"

/* What the transport's device locks.  Why no quotas of a cluster that encrypts: its logs go by message. */
static uint64_t locked_bytes(const struct doctor_facts *facts)
{
    const struct config *config = facts->config;
    uint64_t sum = facts->dpdk ? DPDK_BYTES : 0;
    if (facts->rdma.wanted)
        sum = RDMA_LINK_BYTES *
              (config != NULL ? (uint64_t)config->node.lcore_count * config->cluster.node_count
                              : LIMIT_VOTERS);
    if (config != NULL && (facts->dpdk || (facts->rdma.wanted && !config->cluster.encrypt)))
        sum += quotas(config);
    return sum;
}

static void memlock(const struct doctor_facts *facts, struct doctor_report *report)
{
    char size[DOCTOR_SIZE_BYTES];
    const struct doctor_service *s = &facts->service;
    uint64_t limit = !s->installed     ? facts->memory.memlock_bytes
                     : s->memlock_said ? s->memlock_bytes
                                       : MEMLOCK_DEFAULT;
    struct doctor_finding *f =
        doctor_add(report, "memlock", "",
                   "what a network card reads and writes is locked, and more than the limit is "
                   "refused; udp locks nothing");
    doctor_is(f, "%s for %s", limit == DOCTOR_UNLIMITED ? "no limit" : doctor_size(limit, size),
              s->installed ? "the service" : "what this shell starts");
    if (limit >= locked_bytes(facts))
        return;
    if (s->installed)
        doctor_mend(f, DOCTOR_FAULT,
                    "mkdir -p " PART " && printf '[Service]\\nLimitMEMLOCK=infinity\\n' >" PART
                    "/memlock.conf && systemctl daemon-reload && systemctl restart dunlind");
    else
        doctor_mend(f, DOCTOR_FAULT, "ulimit -l unlimited");
}

static void service(const struct doctor_service *s, struct doctor_report *report)
{
    struct doctor_finding *f = doctor_add(
        report, "service", "",
        "without it nobody restarts a daemon whose polling threads or control log stand still");
    doctor_is(f, "%s",
              !s->installed ? "no unit of systemd is installed"
              : s->watchdog ? "systemd watches over it"
                            : "systemd does not watch over it");
    if (s->installed && !s->watchdog)
        doctor_mend(f, DOCTOR_WARNING,
                    "mkdir -p " PART " && printf '[Service]\\nWatchdogSec=20s\\n' >" PART
                    "/watchdog.conf && systemctl daemon-reload && systemctl restart dunlind");
}

void doctor_judge(const struct doctor_facts *facts, struct doctor_report *report)
{
    report->count = 0;
    memory_size(facts, report);
    huge_pages(facts, report);
    transparent_pages(&facts->memory, report);
    swap(&facts->memory, report);
    memlock(facts, report);
    doctor_judge_processors(facts, report);
    doctor_judge_cards(facts, report);
    doctor_judge_paths(facts, report);
    doctor_judge_port(facts, report);
    doctor_judge_rdma(facts, report);
    service(&facts->service, report);
}
