/* What the doctor reads, from a tree made here that stands for /: what a server shows, what a poor container
 * shows, and what somebody shows who means ill. */
#include "control/doctor.h"
#include "control/doctor_read.h"

#include "tests/unit/control/doctor_tree.h"

#include <arpa/inet.h>
#include <stdlib.h>

static struct doctor_facts facts;
static struct config config;

static void tree_begin(void)
{
    tree_make();
    config = (struct config){0};
    facts = (struct doctor_facts){0};
}

static bool offloads_of(const char *link, uint32_t *offloads)
{
    *offloads = DOCTOR_SEND_CHECKSUM;
    return strcmp(link, "ens1") == 0;
}

static void look(bool configured)
{
    const struct doctor_source source = {.root = root, .offloads = offloads_of};
    facts = (struct doctor_facts){.config = configured ? &config : NULL, .config_path = "FILE"};
    doctor_facts_read(&facts, &source);
}

#define PCI "sys/bus/pci/devices/"

static void card_put(const char *address, const char *kind, const char *driver)
{
    char path[DOCTOR_PATH_BYTES];
    (void)snprintf(path, sizeof path, PCI "%s/class", address);
    put(path, kind);
    (void)snprintf(path, sizeof path, PCI "%s/vendor", address);
    put(path, "0x8086\n");
    (void)snprintf(path, sizeof path, PCI "%s/device", address);
    put(path, "0x1592\n");
    if (driver == NULL)
        return;
    (void)snprintf(path, sizeof path, PCI "%s/driver", address);
    put_link(path, driver);
}

/* ---- what a server shows ---- */

static void memory_of_a_server(void)
{
    tree_begin();
    put("proc/meminfo", "MemTotal:       65536 kB\nMemFree:  1 kB\n");
    put("proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
                      "/dev/sda2 partition 1024 0 -2\n/swap file 512 0 -3\n");
    put("proc/self/limits",
        "Limit                     Soft Limit           Hard Limit           Units     \n"
        "Max locked memory         65536                unlimited            bytes     \n");
    put("proc/self/mounts", "proc /proc proc rw 0 0\nh /dev/hugepages hugetlbfs rw 0 0\n");
    put("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "512\n");
    put("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "500\n");
    put("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    put("sys/kernel/mm/transparent_hugepage/shmem_enabled",
        "always within_size [advise] never deny force\n");
    look(false);
    const struct doctor_memory *m = &facts.memory;
    CU_ASSERT_EQUAL(m->bytes, 64 << 20);
    CU_ASSERT_EQUAL(m->swap_bytes, 1536 << 10);
    CU_ASSERT_EQUAL(m->memlock_bytes, 65536);
    CU_ASSERT(m->huge_mounted);
    CU_ASSERT_EQUAL(m->page_size_count, 1);
    CU_ASSERT_EQUAL(m->pages[0].page_bytes, 2 << 20);
    CU_ASSERT_EQUAL(m->pages[0].total, 512);
    CU_ASSERT_EQUAL(m->pages[0].free, 500);
    CU_ASSERT_STRING_EQUAL(m->huge, "madvise");
    CU_ASSERT_STRING_EQUAL(m->shared, "advise");
    put("proc/self/limits", "Max locked memory         unlimited            unlimited    bytes\n");
    put("proc/self/mounts", "hugetlbfs /hugetlbfs tmpfs rw 0 0\n");
    look(false);
    CU_ASSERT_EQUAL(m->memlock_bytes, DOCTOR_UNLIMITED);
    CU_ASSERT(!m->huge_mounted);
    put("sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "3\n");
    put("sys/kernel/mm/hugepages/hugepages-64kB/nr_hugepages", "4\n");
    look(false);
    CU_ASSERT_EQUAL(m->page_size_count, 3);
    tree_end();
}

static void processors_of_a_server(void)
{
    const struct doctor_processors *p = &facts.processors;
    tree_begin();
    put("proc/cpuinfo", "processor : 0\nvendor_id\t: AuthenticAMD\n"
                        "flags\t\t: fpu constant_tsc nonstop_tsc hypervisor\n\n"
                        "processor : 1\nflags : fpu\n");
    put("proc/cmdline", "BOOT=/vmlinuz norcu_nocbs=9 rcu_nocbs=5-6 quiet\n");
    put("sys/devices/system/cpu/online", "0-7\n");
    put("sys/devices/system/cpu/isolated", "4-5\n");
    put("sys/devices/system/cpu/nohz_full", "4\n");
    put("sys/devices/system/cpu/cpu4/cpufreq/scaling_governor", "performance\n");
    put("sys/devices/system/cpu/cpu5/cpufreq/scaling_governor", "powersave\n");
    put("sys/devices/system/cpu/cpu4/topology/thread_siblings_list", "4,6\n");
    put("sys/devices/system/node/node0/cpulist", "0-3\n");
    put("sys/devices/system/node/node1/cpulist", "4-7\n");
    put("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n");
    put("sys/devices/system/clocksource/clocksource0/available_clocksource", "hpet tsc acpi_pm \n");
    config.node.lcore_count = config.cpu_count = 1;
    config.node.lcore_cpus[0] = 4;
    look(true);
    CU_ASSERT(p->amd && p->hypervisor && p->tsc_constant && p->tsc_nonstop && p->tsc_available);
    CU_ASSERT_STRING_EQUAL(p->clocksource, "hpet");
    CU_ASSERT_EQUAL(doctor_cpus_count(&p->online), 8);
    CU_ASSERT(doctor_cpus_has(&p->isolated, 5) && !doctor_cpus_has(&p->isolated, 6));
    CU_ASSERT(doctor_cpus_has(&p->tickless, 4) && doctor_cpus_count(&p->tickless) == 1);
    CU_ASSERT_EQUAL(doctor_cpus_count(&p->callbacks_off), 3); /* 4 by nohz_full, 5, 6 */
    CU_ASSERT(p->scaled && doctor_cpus_count(&p->slowed) == 1 && doctor_cpus_has(&p->slowed, 5));
    CU_ASSERT_STRING_EQUAL(p->governor, "powersave");
    CU_ASSERT(p->numa_count == 2 && doctor_cpus_has(&p->numa[1], 7));
    CU_ASSERT(doctor_cpus_has(&p->siblings[0], 6));
    put("proc/cmdline", "rcu_nocbs=all");
    put("sys/devices/system/cpu/nohz_full", "(null)\n");
    put("sys/devices/system/clocksource/clocksource0/available_clocksource", "hpet xtsc tscx\n");
    put("proc/cpuinfo", "processor : 0\nvendor_id : GenuineIntel\nflags : xconstant_tsc fpu\n");
    look(true);
    CU_ASSERT_EQUAL(doctor_cpus_count(&p->callbacks_off), 8);
    CU_ASSERT_EQUAL(doctor_cpus_count(&p->tickless), 0);
    CU_ASSERT(!p->amd && !p->hypervisor && !p->tsc_constant && !p->tsc_nonstop &&
              !p->tsc_available);
    tree_end();
}

static void cards_of_a_server(void)
{
    tree_begin();
    card_put("0000:42:00.0", "0x020000\n", "../../../bus/pci/drivers/vfio-pci");
    card_put("0000:41:00.0", "0x020000\n", "../../../bus/pci/drivers/virtio-pci");
    card_put("0000:41:00.1", "0x030000\n", "../../../bus/pci/drivers/nouveau");
    card_put("0000:00:01.0", "0x060400\n", "../../../bus/pci/drivers/pcieport");
    put(PCI "0000:41:00.0/virtio2/net/ens1/mtu", "1\n");
    put(PCI "0000:41:00.0/numa_node", "1\n");
    put_link(PCI "0000:42:00.0/iommu_group", "../../../kernel/iommu_groups/12");
    put("sys/kernel/iommu_groups/12/devices/0000:42:00.0", "");
    put("sys/kernel/iommu_groups/12/devices/0000:00:01.0", "");
    put("sys/kernel/iommu_groups/13/type", "DMA\n");
    put("sys/bus/pci/drivers/vfio-pci/bind", "");
    put("sys/class/net/ens1/mtu", "9000\n");
    put("sys/class/net/ens1/operstate", "up\n");
    look(false);
    CU_ASSERT_EQUAL_FATAL(facts.card_count, 2);
    const struct doctor_card *c = facts.cards;
    CU_ASSERT_STRING_EQUAL(c[0].address, "0000:41:00.0");
    CU_ASSERT_STRING_EQUAL(c[0].driver, "virtio-pci");
    CU_ASSERT_STRING_EQUAL(c[0].link, "ens1");
    CU_ASSERT(c[0].numa == 1 && c[0].group == -1 && c[0].vendor == 0x8086 && c[0].device == 0x1592);
    CU_ASSERT_STRING_EQUAL(c[1].driver, "vfio-pci");
    CU_ASSERT(c[1].link[0] == '\0' && c[1].numa == -1 && c[1].group == 12);
    CU_ASSERT_STRING_EQUAL(c[1].neighbour, "");
    CU_ASSERT(facts.iommu_groups == 2 && facts.vfio && !facts.vfio_unsafe);
    CU_ASSERT_EQUAL_FATAL(facts.link_count, 1);
    CU_ASSERT(facts.links[0].mtu == 9000 && facts.links[0].up && facts.links[0].offloads_known);
    CU_ASSERT(facts.links[0].offloads == DOCTOR_SEND_CHECKSUM);
    /* Another function of the card, in the same group, under another driver; a group made for no IOMMU. */
    put("sys/kernel/iommu_groups/12/devices/0000:41:00.1", "");
    put("sys/kernel/iommu_groups/13/name", "vfio-noiommu\n");
    put("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
    put("sys/class/net/ens1/operstate", "down\n");
    put("sys/class/net/ens1/mtu", "12abc\n");
    look(false);
    CU_ASSERT_EQUAL(facts.links[0].mtu, 0);
    CU_ASSERT_STRING_EQUAL(facts.cards[1].neighbour, "0000:41:00.1");
    CU_ASSERT(facts.iommu_groups == 1 && facts.vfio_unsafe && !facts.links[0].up);
    put("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "N\n");
    look(false);
    CU_ASSERT(!facts.vfio_unsafe);
    tree_end();
}

static void node_put(uint32_t id, const char *address)
{
    struct config_node *n = &config.cluster.nodes[config.cluster.node_count++];
    struct sockaddr_in *four = (void *)&n->address;
    struct sockaddr_in6 *six = (void *)&n->address;
    n->id = id;
    if (inet_pton(AF_INET, address, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        return;
    }
    six->sin6_family = AF_INET6;
    CU_ASSERT_EQUAL(inet_pton(AF_INET6, address, &six->sin6_addr), 1);
}

static const char *way(uint32_t path)
{
    CU_ASSERT_FATAL(path < facts.path_count);
    return facts.paths[path].link >= 0 ? facts.links[facts.paths[path].link].name : "none";
}

static void ways_to_other_nodes(void)
{
    tree_begin();
    put("proc/net/route",
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eno1\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "ens1\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        "down\t0200000A\t00000000\t0000\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n"
        "deny\t0300000A\t00000000\t0201\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n");
    config.node.id = 1;
    node_put(1, "10.0.0.1");
    node_put(2, "10.0.0.2");
    node_put(3, "10.0.0.3");
    node_put(4, "172.16.0.4");
    node_put(5, "127.0.0.1");
    look(true);
    CU_ASSERT_EQUAL(facts.path_count, 4);
    CU_ASSERT_STRING_EQUAL(way(0), "ens1");
    CU_ASSERT_STRING_EQUAL(way(1), "ens1");
    CU_ASSERT_STRING_EQUAL(way(2), "eno1");
    CU_ASSERT_STRING_EQUAL(way(3), "lo");
    CU_ASSERT_STRING_EQUAL(facts.paths[0].address, "10.0.0.2");
    CU_ASSERT(facts.paths[0].node == 2 && !facts.paths[0].ipv6);
    for (uint32_t i = 0; i < facts.link_count; i++) {
        CU_ASSERT_EQUAL(facts.links[i].default_route, strcmp(facts.links[i].name, "eno1") == 0);
        CU_ASSERT(facts.links[i].leads_to_peers);
    }
    put("proc/net/route", "one\t00000000\t0\t0003\t0\t0\t0\t00000000\n"
                          "two\t00000000\t0\t0003\t0\t0\t9\t00000000\n");
    look(true);
    CU_ASSERT(facts.links[0].default_route && facts.links[1].default_route);
    put("proc/net/route", "Iface\n");
    look(true);
    CU_ASSERT_STRING_EQUAL(way(0), "none");
    CU_ASSERT_EQUAL(facts.paths[0].link, -1);
    tree_end();
}

static void ways_by_ipv6(void)
{
    static const char zero[] = "00000000000000000000000000000000";
    char text[1024];
    tree_begin();
    (void)snprintf(text, sizeof text,
                   "%s 00 %s 00 %s ffffffff 1 0 00200200 lo\n"
                   "fd000000000000000000000000000000 3d %s 00 %s 00000100 1 0 00000001 ens1\n"
                   "fd000000000000100000000000000000 40 %s 00 %s 00000100 1 0 00000001 ens2\n"
                   "fd000000000000100000000000000009 80 %s 00 %s 00000100 1 0 80200001 lo\n",
                   zero, zero, zero, zero, zero, zero, zero, zero, zero);
    put("proc/net/ipv6_route", text);
    node_put(2, "fd00:0:0:7::1");  /* within /61 */
    node_put(3, "fd00:0:0:8::1");  /* just outside */
    node_put(4, "fd00:0:0:10::1"); /* within /64 */
    node_put(5, "fd00:0:0:10::9"); /* this machine's own */
    look(true);
    CU_ASSERT_STRING_EQUAL(way(0), "ens1");
    CU_ASSERT_STRING_EQUAL(way(1), "none");
    CU_ASSERT_STRING_EQUAL(way(2), "ens2");
    CU_ASSERT_STRING_EQUAL(way(3), "lo");
    CU_ASSERT(facts.paths[0].ipv6);
    tree_end();
}

static void the_service(void)
{
    const struct doctor_service *s = &facts.service;
    tree_begin();
    look(false);
    CU_ASSERT(!s->installed);
    put("usr/lib/systemd/system/dunlind.service", "[Service]\nWatchdogSec=20s\nLimitMEMLOCK=64M\n");
    look(false);
    CU_ASSERT(s->installed && s->watchdog && s->memlock_said);
    CU_ASSERT_EQUAL(s->memlock_bytes, 64 << 20);
    /* The administrator's own unit comes first, and parts come behind it. */
    put("etc/systemd/system/dunlind.service", "[Service]\nType=notify\n");
    look(false);
    CU_ASSERT(s->installed && !s->watchdog && !s->memlock_said);
    put("etc/systemd/system/dunlind.service.d/a.conf", "[Service]\nLimitMEMLOCK=infinity\n");
    put("etc/systemd/system/dunlind.service.d/b.txt", "[Service]\nWatchdogSec=1\n");
    look(false);
    CU_ASSERT(!s->watchdog && s->memlock_said && s->memlock_bytes == DOCTOR_UNLIMITED);
    put("etc/systemd/system/dunlind.service", "[Service]\nWatchdogSec=0\n");
    look(false);
    CU_ASSERT(!s->watchdog);
    tree_end();
}

/* ---- what has no sense is as if it were not there ---- */

static const char *const files[] = {
    "proc/meminfo",
    "proc/swaps",
    "proc/self/limits",
    "proc/self/mounts",
    "proc/cpuinfo",
    "proc/cmdline",
    "proc/net/route",
    "proc/net/ipv6_route",
    "sys/devices/system/cpu/online",
    "sys/devices/system/cpu/isolated",
    "sys/devices/system/cpu/nohz_full",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    "sys/devices/system/node/node0/cpulist",
    "sys/devices/system/clocksource/clocksource0/current_clocksource",
    "sys/devices/system/clocksource/clocksource0/available_clocksource",
    "sys/kernel/mm/transparent_hugepage/enabled",
    "sys/kernel/mm/transparent_hugepage/shmem_enabled",
    "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
    "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
    "sys/bus/pci/devices/0000:01:00.0/numa_node",
    "sys/bus/pci/devices/0000:01:00.0/vendor",
    "sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
    "sys/kernel/iommu_groups/1/name",
    "sys/class/net/eth0/mtu",
    "sys/class/net/eth0/operstate",
    "usr/lib/systemd/system/dunlind.service",
};
#define FILES (sizeof files / sizeof files[0])

static void text_is_plain(const char *text, size_t bytes)
{
    CU_ASSERT_PTR_NOT_NULL_FATAL(memchr(text, '\0', bytes));
    for (; *text != '\0'; text++)
        CU_ASSERT(*text >= ' ' && *text <= '~');
}

/* Whatever was read can be judged, and what is said of it is plain text. */
static void judge_all(void)
{
    static struct doctor_report report;
    for (int dpdk = 0; dpdk < 2; dpdk++) {
        facts.dpdk = dpdk == 1;
        doctor_judge(&facts, &report);
        for (uint32_t i = 0; i < report.count; i++) {
            text_is_plain(report.list[i].subject, sizeof report.list[i].subject);
            text_is_plain(report.list[i].is, sizeof report.list[i].is);
            text_is_plain(report.list[i].mend, sizeof report.list[i].mend);
        }
    }
}

static void tree_hostile(void)
{
    tree_begin();
    config.node = (struct node_config){.lcore_count = 1, .lcore_cpus = {0}};
    config.cpu_count = 1;
    node_put(2, "10.0.0.2");
    node_put(3, "fd00::3");
    card_put("0000:01:00.0", "0x020000\n", "../$(reboot)");
    put(PCI "0000:01:00.0/net/eth0/mtu", "1\n");
    put(PCI "0000:01:00.0;reboot/class", "0x020000\n");
    put_link(PCI "0000:01:00.0/iommu_group", "../1;reboot");
}

static void files_with_no_sense(void)
{
    static char noise[100000];
    uint32_t seed = 1;
    tree_hostile();
    for (int round = 0; round < 6; round++) {
        for (size_t i = 0; i < sizeof noise; i++) {
            static const char likely[] = "0123456789-, \n[]xX:=\tMemTotal";
            seed = seed * 1664525 + 1013904223;
            noise[i] = round == 0   ? '9'
                       : round == 1 ? '['
                       : round == 2 ? '\n'
                       : round == 3 ? (char)(seed >> 24)
                                    : likely[(seed >> 16) % (sizeof likely - 1)];
        }
        for (size_t i = 0; i < FILES; i++)
            put_bytes(files[i], noise, round == 5 ? i : sizeof noise);
        look(true);
        CU_ASSERT_EQUAL(facts.card_count, 1);
        CU_ASSERT_STRING_EQUAL(facts.cards[0].driver, "??reboot?");
        CU_ASSERT_EQUAL(facts.cards[0].group, -1);
        judge_all();
    }
    tree_end();
}

static void lines_with_no_sense(void)
{
    tree_hostile();
    put("proc/meminfo", "MemTotal: -1 kB\n");
    put("proc/swaps", "x y 99999999999999999999999 0\nx y -3 0\nshort\n");
    put("proc/self/limits", "Max locked memory");
    put("proc/net/route", "eth0 zz\n`id`\t00000000\t0\t0003\t0\t0\t0\t00000000\n");
    put("proc/net/ipv6_route", "fd 80\nzz000000000000000000000000000000 ff 0 0 0 0 0 0 1 x\n");
    put("sys/class/net/eth0/mtu", "-5\n");
    put("sys/kernel/mm/transparent_hugepage/enabled", "]always[\n");
    put("sys/kernel/mm/hugepages/hugepages-kB/nr_hugepages", "5\n");
    put("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "-5\n");
    put("sys/kernel/mm/hugepages/hugepages-4kB/nr_hugepages", "3\n");
    put("sys/kernel/mm/hugepages/hugepages-4kB/free_hugepages", "4\n");
    look(true);
    CU_ASSERT_EQUAL(facts.memory.bytes, 0);
    CU_ASSERT_EQUAL(facts.memory.memlock_bytes, 0);
    CU_ASSERT_STRING_EQUAL(facts.memory.huge, "");
    CU_ASSERT_EQUAL(facts.memory.page_size_count, 2);
    for (uint32_t i = 0; i < facts.memory.page_size_count; i++)
        CU_ASSERT(facts.memory.pages[i].total <= 3 && facts.memory.pages[i].free == 0);
    CU_ASSERT_STRING_EQUAL(way(0), "?id?");
    CU_ASSERT_STRING_EQUAL(way(1), "none");
    CU_ASSERT_EQUAL(facts.links[0].mtu, 0);
    judge_all();
    tree_end();
}

/* None of these may make it wait, or follow a way out. */
static void things_that_are_no_files(void)
{
    char whole[2 * DOCTOR_PATH_BYTES];
    for (int kind = 0; kind < 3; kind++) {
        tree_hostile();
        for (size_t i = 0; i < FILES; i++) {
            (void)snprintf(whole, sizeof whole, "%s/%s", root, files[i]);
            parents_make(whole);
            (void)unlink(whole);
            CU_ASSERT_EQUAL(kind == 0   ? mkfifo(whole, 0600)
                            : kind == 1 ? mkdir(whole, 0700)
                                        : symlink(whole, whole),
                            0);
        }
        look(true);
        CU_ASSERT(facts.memory.bytes == 0 && facts.processors.clocksource[0] == '\0');
        CU_ASSERT(!facts.service.installed && facts.path_count == 2);
        judge_all();
        tree_end();
    }
    tree_begin();
    look(false);
    judge_all();
    tree_end();
}

/* What is behind as much of a line as it takes is no line of its own. */
static void lines_without_end(void)
{
    char text[DOCTOR_LINE_BYTES + 64];
    tree_begin();
    memset(text, 'x', sizeof text);
    (void)strcpy(text + DOCTOR_LINE_BYTES - 1, "MemTotal: 5 kB\nMemTotal: 7 kB\n");
    put("proc/meminfo", text);
    look(false);
    CU_ASSERT_EQUAL(facts.memory.bytes, 7 << 10);
    tree_end();
}

static void more_cards_and_links_than_it_takes(void)
{
    char path[DOCTOR_PATH_BYTES], routes[8192] = "Iface\n";
    tree_begin();
    for (uint32_t i = 0; i < DOCTOR_CARDS_MAX + 8; i++) {
        char address[DOCTOR_NAME_BYTES];
        (void)snprintf(address, sizeof address, "0000:%02x:00.0", i);
        card_put(address, "0x020000\n", NULL);
        (void)snprintf(path, sizeof path, PCI "%s/net/eth%u/mtu", address, i);
        put(path, "");
    }
    for (uint32_t i = 0; i < DOCTOR_LINKS_MAX + 8; i++) {
        size_t used = strlen(routes);
        (void)snprintf(routes + used, sizeof routes - used,
                       "v%u\t00000000\t0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n", i);
    }
    put("proc/net/route", routes);
    node_put(2, "10.0.0.2");
    look(true);
    CU_ASSERT_EQUAL(facts.card_count, DOCTOR_CARDS_MAX);
    CU_ASSERT_EQUAL(facts.link_count, DOCTOR_LINKS_MAX);
    CU_ASSERT_EQUAL(facts.paths[0].link, -2);
    judge_all();
    tree_end();
}

static void a_link_that_is_not_there_has_no_offloads(void)
{
    uint32_t offloads = 7;
    CU_ASSERT(!doctor_offloads("dunlin-none", &offloads));
    CU_ASSERT_EQUAL(offloads, 0);
    CU_ASSERT(!doctor_offloads("a-name-that-is-longer-than-any", &offloads));
}

static const struct unit_test tests[] = {
    UNIT_TEST(memory_of_a_server),
    UNIT_TEST(processors_of_a_server),
    UNIT_TEST(cards_of_a_server),
    UNIT_TEST(ways_to_other_nodes),
    UNIT_TEST(ways_by_ipv6),
    UNIT_TEST(the_service),
    UNIT_TEST(files_with_no_sense),
    UNIT_TEST(lines_with_no_sense),
    UNIT_TEST(things_that_are_no_files),
    UNIT_TEST(lines_without_end),
    UNIT_TEST(more_cards_and_links_than_it_takes),
    UNIT_TEST(a_link_that_is_not_there_has_no_offloads),
};
UNIT_MAIN("doctor_facts", tests)
