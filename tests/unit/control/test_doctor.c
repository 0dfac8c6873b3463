/* Each finding of the doctor both ways: a machine at which nothing is wrong, and the same with one thing wrong. */
#include "control/doctor.h"

#include "tests/unit/control/doctor_said.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define GIB (UINT64_C(1) << 30)

static struct config config;
static struct doctor_facts facts;
static struct doctor_report report;

static struct doctor_cpus cpus(const char *list)
{
    struct doctor_cpus set = {0};
    CU_ASSERT_EQUAL(doctor_cpus_parse(list, &set), 0);
    return set;
}

static void card_add(const char *address, const char *driver, const char *link)
{
    struct doctor_card *c = &facts.cards[facts.card_count++];
    *c = (struct doctor_card){.vendor = 0x8086, .device = 0x1592, .numa = 0, .group = 7};
    (void)snprintf(c->address, sizeof c->address, "%s", address);
    (void)snprintf(c->driver, sizeof c->driver, "%s", driver);
    (void)snprintf(c->link, sizeof c->link, "%s", link);
}

static void link_add(const char *name, uint32_t mtu, bool to_peers)
{
    struct doctor_link *l = &facts.links[facts.link_count++];
    *l = (struct doctor_link){.mtu = mtu,
                              .up = true,
                              .default_route = !to_peers,
                              .leads_to_peers = to_peers,
                              .offloads_known = true,
                              .offloads = DOCTOR_ALL_OFFLOADS};
    (void)snprintf(l->name, sizeof l->name, "%s", name);
}

/* A server of two sockets: card 03 is the machine's, 41 the cluster's, 42 DPDK's. */
static void machine_good(void)
{
    config = (struct config){.node = {.lcore_count = 2, .lcore_cpus = {2, 3}, .spin = true},
                             .cpu_count = 2,
                             .space_count = 2,
                             .spaces = {{.quota_bytes = GIB}, {.quota_bytes = GIB}},
                             .cluster = {.name = "flock", .frame_bytes = 8952}};
    facts = (struct doctor_facts){.config = &config,
                                  .config_path = "/etc/dunlin/dunlind.yaml",
                                  .iommu_groups = 40,
                                  .vfio = true,
                                  .path_count = 2,
                                  .paths = {{.node = 2, .address = "10.0.0.2", .link = 1},
                                            {.node = 3, .address = "10.0.0.3", .link = 1}},
                                  .service = {.installed = true,
                                              .watchdog = true,
                                              .memlock_said = true,
                                              .memlock_bytes = DOCTOR_UNLIMITED},
                                  .memory = {.bytes = 64 * GIB,
                                             .memlock_bytes = DOCTOR_UNLIMITED,
                                             .page_size_count = 1,
                                             .pages = {{2 << 20, 1024, 1024}},
                                             .huge_mounted = true,
                                             .huge = "madvise",
                                             .shared = "advise"},
                                  .processors = {.numa_count = 2,
                                                 .scaled = true,
                                                 .tsc_constant = true,
                                                 .tsc_nonstop = true,
                                                 .tsc_available = true,
                                                 .clocksource = "tsc"}};
    struct doctor_processors *p = &facts.processors;
    p->online = cpus("0-15");
    p->isolated = p->tickless = p->callbacks_off = cpus("2-3");
    p->numa[0] = cpus("0-3,8-11");
    p->numa[1] = cpus("4-7,12-15");
    p->siblings[0] = cpus("2,10");
    p->siblings[1] = cpus("3,11");
    card_add("0000:03:00.0", "tg3", "eno1");
    card_add("0000:41:00.0", "ice", "ens1");
    card_add("0000:42:00.0", "vfio-pci", "");
    link_add("eno1", 1500, false);
    link_add("ens1", 9000, true);
}

static const struct doctor_finding *found(const char *name, const char *subject)
{
    const struct doctor_finding *one = NULL;
    for (uint32_t i = 0; i < report.count; i++)
        if (strcmp(report.list[i].name, name) == 0 &&
            strcmp(report.list[i].subject, subject) == 0) {
            CU_ASSERT_PTR_NULL(one); /* no two alike */
            one = &report.list[i];
        }
    return one;
}

/* Only this finding is not ok, and this is what it says. */
static void only(const char *name, const char *subject, enum doctor_state state, const char *is,
                 const char *mend)
{
    doctor_judge(&facts, &report);
    const struct doctor_finding *one = found(name, subject);
    CU_ASSERT_PTR_NOT_NULL_FATAL(one);
    CU_ASSERT_EQUAL(one->state, state);
    contains(one->is, is);
    contains(one->mend, mend);
    for (uint32_t i = 0; i < report.count; i++) {
        const struct doctor_finding *f = &report.list[i];
        CU_ASSERT((f->state == DOCTOR_OK) == (f->mend[0] == '\0'));
        CU_ASSERT_NOT_EQUAL(f->is[0], '\0');
        CU_ASSERT_NOT_EQUAL(f->why[0], '\0');
        if (f != one && f->state != DOCTOR_OK)
            (void)fprintf(stderr, "\n--- not ok: %s %s: %s\n", f->name, f->subject, f->is);
        CU_ASSERT(f == one || f->state == DOCTOR_OK);
    }
}

static void all_good(void)
{
    only("service", "", DOCTOR_OK, "watches over it", "");
}

/* ---- the tests ---- */

static void nothing_is_wrong_at_a_good_machine(void)
{
    machine_good();
    all_good();
    facts.dpdk = true;
    all_good();
    CU_ASSERT_PTR_NOT_NULL(found("mtu", "ens1"));
    CU_ASSERT_PTR_NOT_NULL(found("card", "0000:42:00.0"));
    CU_ASSERT_PTR_NOT_NULL(found("numa", "0000:42:00.0"));
    CU_ASSERT_PTR_NULL(found("numa", "0000:41:00.0"));
    facts.config = NULL;
    facts.path_count = 0;
    all_good();
    CU_ASSERT_PTR_NULL(found("lcores", ""));
}

static void of_a_machine_that_shows_nothing_it_says_little(void)
{
    facts = (struct doctor_facts){.processors = {.tsc_constant = true, .tsc_nonstop = true}};
    facts.processors.tsc_available = true;
    (void)strcpy(facts.processors.clocksource, "tsc");
    only("service", "", DOCTOR_OK, "no unit", "");
}

static void memory_and_swap(void)
{
    machine_good();
    config.spaces[1].quota_bytes = 60 * GIB;
    only("memory", "", DOCTOR_WARNING, "2 spaces 61.0 GiB, memory 64.0 GiB", "dunlind.yaml");
    config.spaces[1].quota_bytes = 64 * GIB;
    only("memory", "", DOCTOR_FAULT, "65.0 GiB", "lower a `quota:`");
    machine_good();
    facts.memory.swap_bytes = 2 * GIB;
    only("swap", "", DOCTOR_WARNING, "2.0 GiB", "swapoff -a");
}

static void huge_pages(void)
{
    machine_good();
    facts.memory.pages[0] = (struct doctor_pages){2 << 20, 0, 0};
    only("huge_pages", "", DOCTOR_OK, "none reserved", "");
    facts.dpdk = true;
    only("huge_pages", "", DOCTOR_WARNING, "none reserved", "echo 512 >");
    facts.memory.pages[0] = (struct doctor_pages){2 << 20, 100, 0};
    only("huge_pages", "", DOCTOR_WARNING, "100 of 2.0 MiB, 0 free", "echo 612 >");
    facts.memory.page_size_count = 0;
    only("huge_pages", "", DOCTOR_WARNING, "none reserved", "hugepages-2048kB");
    machine_good();
    facts.dpdk = true;
    facts.memory.huge_mounted = false;
    only("huge_pages", "", DOCTOR_WARNING, "not mounted", "mount -t hugetlbfs");
    /* Of two sizes of which none is reserved the smaller one, wherever it stands. */
    for (uint32_t i = 0; i < 2; i++) {
        machine_good();
        facts.dpdk = true;
        facts.memory.page_size_count = 2;
        facts.memory.pages[i] = (struct doctor_pages){GIB, 0, 0};
        facts.memory.pages[1 - i] = (struct doctor_pages){2 << 20, 0, 0};
        only("huge_pages", "", DOCTOR_WARNING, "none reserved", "hugepages-2048kB");
        facts.memory.pages[i].total = 4;
        only("huge_pages", "", DOCTOR_WARNING, "4 of 1.0 GiB", "hugepages-1048576kB");
    }
    /* A small machine keeps most of its memory. */
    machine_good();
    facts.dpdk = true;
    facts.config = NULL;
    facts.path_count = 0;
    facts.memory.bytes = GIB;
    facts.memory.page_size_count = 0;
    only("huge_pages", "", DOCTOR_WARNING, "none reserved", "echo 128 >");
    facts.memory.bytes = 4 << 20;
    only("huge_pages", "", DOCTOR_WARNING, "none reserved", "echo 1 >");
    /* Of two sizes the one that is reserved counts. */
    machine_good();
    facts.dpdk = true;
    facts.memory.page_size_count = 2;
    facts.memory.pages[0] = (struct doctor_pages){2 << 20, 0, 0};
    facts.memory.pages[1] = (struct doctor_pages){GIB, 4, 0};
    only("huge_pages", "", DOCTOR_WARNING, "4 of 1.0 GiB",
         "echo 5 >/sys/kernel/mm/hugepages/hugepages-1048576kB");
}

static void transparent_huge_pages(void)
{
    machine_good();
    (void)strcpy(facts.memory.huge, "always");
    only("transparent_huge_pages", "", DOCTOR_WARNING, "always", "echo madvise >");
    machine_good();
    (void)strcpy(facts.memory.shared, "never");
    only("shared_huge_pages", "", DOCTOR_WARNING, "never", "shmem_enabled");
    (void)strcpy(facts.memory.shared, "deny");
    only("shared_huge_pages", "", DOCTOR_WARNING, "deny", "echo advise >");
}

static void locked_memory(void)
{
    machine_good();
    facts.service.memlock_bytes = 8 << 20;
    only("memlock", "", DOCTOR_OK, "8.0 MiB for the service", "");
    facts.dpdk = true;
    only("memlock", "", DOCTOR_FAULT, "8.0 MiB for the service", "LimitMEMLOCK=infinity");
    facts.service.memlock_said = false;
    facts.service.memlock_bytes = DOCTOR_UNLIMITED;
    only("memlock", "", DOCTOR_FAULT, "8.0 MiB", "systemctl");
    facts.service.installed = false;
    facts.memory.memlock_bytes = 64 << 10;
    only("memlock", "", DOCTOR_FAULT, "64.0 KiB for what this shell starts", "ulimit -l unlimited");
}

static void the_service(void)
{
    machine_good();
    facts.service.watchdog = false;
    only("service", "", DOCTOR_WARNING, "does not watch", "WatchdogSec=20s");
}

static void lcores_have_processors_of_their_own(void)
{
    machine_good();
    config.cpu_count = 0;
    facts.processors.isolated = cpus("");
    only("lcores", "", DOCTOR_WARNING, "2, not pinned, and they poll", "cpus: [14-15]");
    config.node.spin = false;
    only("lcores", "", DOCTOR_OK, "2, not pinned", "");
    facts.dpdk = true;
    only("lcores", "", DOCTOR_WARNING, "2, not pinned", "/etc/dunlin/dunlind.yaml");
    machine_good();
    facts.processors.online = cpus("0-2,4-15");
    only("lcores", "", DOCTOR_FAULT, "processors 3 are not there", "cpus: [14-15]");
    machine_good();
    facts.processors.siblings[0] = facts.processors.siblings[1] = cpus("2-3");
    only("lcores", "", DOCTOR_WARNING, "share a core", "thread_siblings_list");
}

static void processors_are_isolated(void)
{
    machine_good();
    facts.processors.isolated = cpus("3");
    only("isolation", "", DOCTOR_WARNING, "2-3", "isolcpus=domain,managed_irq,2-3\"'");
    machine_good();
    facts.processors.tickless = cpus("2");
    only("isolation", "", DOCTOR_WARNING, "2-3", " nohz_full=2-3\"'");
    machine_good();
    facts.processors.callbacks_off = cpus("");
    only("isolation", "", DOCTOR_WARNING, "2-3",
         " rcu_nocbs=2-3\"' >>/etc/default/grub.d/dunlin.cfg");
    facts.processors.isolated = facts.processors.tickless = cpus("");
    only("isolation", "", DOCTOR_WARNING, "2-3",
         "isolcpus=domain,managed_irq,2-3 nohz_full=2-3 rcu_nocbs=2-3");
}

static void governors(void)
{
    machine_good();
    facts.processors.slowed = cpus("3-15");
    (void)strcpy(facts.processors.governor, "schedutil");
    only("governor", "", DOCTOR_WARNING, "schedutil on processors 3", "echo performance");
    facts.processors.slowed = cpus("4-15");
    only("governor", "", DOCTOR_OK, "performance", "");
    config.cpu_count = 0;
    config.node.spin = false;
    only("governor", "", DOCTOR_WARNING, "processors 4-15", "scaling_governor");
}

static void the_clock(void)
{
    machine_good();
    (void)strcpy(facts.processors.clocksource, "hpet");
    only("clock", "", DOCTOR_WARNING, "hpet", "echo tsc >");
    facts.processors.tsc_available = false;
    only("clock", "", DOCTOR_WARNING, "does not trust", "tsc=reliable");
    facts.processors.tsc_nonstop = false;
    only("clock", "", DOCTOR_WARNING, "not invariant", "CLOCK_BOOTTIME");
    machine_good();
    facts.processors.tsc_constant = false;
    facts.processors.hypervisor = config.node.lease_virtual = true;
    only("clock", "", DOCTOR_WARNING, "not invariant", "+invtsc");
}

static void a_guest(void)
{
    machine_good();
    facts.processors.hypervisor = true;
    only("hypervisor", "", DOCTOR_WARNING, "this is a guest",
         "in /etc/dunlin/dunlind.yaml: `lease:");
    config.node.lease_virtual = true;
    only("hypervisor", "", DOCTOR_OK, "this is a guest, `lease: virtual`", "");
}

static void an_iommu(void)
{
    machine_good();
    facts.iommu_groups = 0;
    only("iommu", "", DOCTOR_OK, "off", "");
    facts.dpdk = true;
    only("iommu", "", DOCTOR_FAULT, "off", " intel_iommu=on iommu=pt\"'");
    facts.processors.amd = true;
    only("iommu", "", DOCTOR_FAULT, "off", " amd_iommu=on iommu=pt\"'");
    facts.vfio_unsafe = true;
    only("iommu", "", DOCTOR_WARNING, "takes cards without it", "update-grub");
    facts.processors.hypervisor = config.node.lease_virtual = true;
    only("iommu", "", DOCTOR_WARNING, "off", "-device intel-iommu");
    /* Where DPDK is to have no card of the machine (another kind of port) it needs none. */
    facts.card_count = 1;
    all_good();
}

static void the_driver_vfio(void)
{
    machine_good();
    facts.vfio = false;
    only("vfio", "", DOCTOR_OK, "not loaded", "");
    facts.dpdk = true;
    only("vfio", "", DOCTOR_FAULT, "not loaded", "modprobe vfio-pci");
    (void)strcpy(facts.cards[1].driver, "mlx5_core");
    (void)strcpy(facts.cards[2].driver, "mlx5_core");
    all_good();
}

static void cards(void)
{
    machine_good();
    facts.dpdk = true;
    facts.card_count = 2;
    only("card", "0000:41:00.0", DOCTOR_WARNING, "8086:1592, driver ice, link ens1",
         "echo 0000:41:00.0 >/sys/bus/pci/devices/0000:41:00.0/driver/unbind; echo 0000:41:00.0 "
         ">/sys/bus/pci/drivers_probe");
    contains(found("card", "0000:03:00.0")->is, "link eno1, which has the default route");
    machine_good();
    facts.cards[2].driver[0] = '\0';
    only("card", "0000:42:00.0", DOCTOR_WARNING, "driver none", "driver_override");
    (void)strcpy(facts.cards[2].driver, "uio_pci_generic");
    only("card", "0000:42:00.0", DOCTOR_WARNING, "driver uio_pci_generic", "vfio-pci");
    machine_good();
    (void)strcpy(facts.cards[2].neighbour, "0000:42:00.1");
    only("card", "0000:42:00.0", DOCTOR_WARNING, "0000:42:00.1 in its IOMMU group 7",
         "echo 0000:42:00.1 >/sys/bus/pci/drivers_probe");
    facts.dpdk = true;
    only("card", "0000:42:00.0", DOCTOR_FAULT, "belongs to another", "0000:42:00.1");
    machine_good();
    facts.iommu_groups = 0;
    only("card", "0000:42:00.0", DOCTOR_OK, "without an IOMMU", "");
}

static void lcores_are_where_the_card_is(void)
{
    machine_good();
    facts.dpdk = true;
    facts.cards[2].numa = 1;
    only("numa", "0000:42:00.0", DOCTOR_WARNING, "node 1, but lcores on processors 2-3",
         "out of 4-7,12-15");
    facts.cards[2].numa = -1;
    all_good();
    CU_ASSERT_PTR_NULL(found("numa", "0000:42:00.0"));
    machine_good();
    facts.cards[1].numa = 1;
    only("numa", "0000:41:00.0", DOCTOR_WARNING, "node 1", "4-7,12-15");
}

static void the_way_to_the_other_nodes(void)
{
    machine_good();
    facts.links[1].mtu = 1500;
    only("mtu", "ens1", DOCTOR_FAULT, "1500, packets to other nodes have up to 8980",
         "ip link set dev ens1 mtu 8980");
    facts.dpdk = true;
    all_good();
    machine_good();
    facts.paths[1].ipv6 = true;
    only("mtu", "ens1", DOCTOR_OK, "up to 9000", "");
    facts.links[1].mtu = 8999;
    only("mtu", "ens1", DOCTOR_FAULT, "up to 9000", "mtu 9000");
    machine_good();
    facts.links[1].up = false;
    only("link", "ens1", DOCTOR_FAULT, "down", "ip link set dev ens1 up");
    facts.dpdk = true;
    all_good();
    machine_good();
    facts.paths[0].link = -1;
    only("route", "node 2", DOCTOR_FAULT, "no route to 10.0.0.2", "ip route add 10.0.0.2/32");
}

static void offloads(void)
{
    machine_good();
    facts.links[1].offloads = DOCTOR_RECEIVE_CHECKSUM | DOCTOR_SEND_SEGMENTS;
    only("offloads", "ens1", DOCTOR_WARNING, "off: checksums out, merged in",
         "ethtool -K ens1 tx on gro on");
    facts.links[1].offloads_known = false;
    all_good();
    CU_ASSERT_PTR_NULL(found("offloads", "ens1"));
}

/* As many of everything as there may be: room for all findings. */
static void everything_at_once(void)
{
    machine_good();
    while (facts.card_count < DOCTOR_CARDS_MAX)
        card_add("0000:43:00.0", "mlx5_core", "");
    while (facts.link_count < DOCTOR_LINKS_MAX)
        link_add("more", 1500, true);
    for (facts.path_count = 0; facts.path_count < LIMIT_VOTERS; facts.path_count++)
        facts.paths[facts.path_count].link = -1;
    doctor_judge(&facts, &report);
    CU_ASSERT(report.count > DOCTOR_CARDS_MAX + 3 * DOCTOR_LINKS_MAX);
    facts.dpdk = true;
    doctor_judge(&facts, &report);
    CU_ASSERT(report.count > 2 * DOCTOR_CARDS_MAX + 2 * DOCTOR_LINKS_MAX);
}

static void lists_of_processors(void)
{
    static const char *const bad[] = {"a",   "1-",  "-1",       "1,",   "1,,2",
                                      "3-1", "1 2", "99999999", "1-2-3"};
    char text[16];
    struct doctor_cpus set = cpus("0-3,8,10-11,1000-2000");
    CU_ASSERT_EQUAL(doctor_cpus_count(&set), 4 + 1 + 2 + DOCTOR_CPUS_MAX - 1000);
    CU_ASSERT(doctor_cpus_has(&set, DOCTOR_CPUS_MAX - 1));
    CU_ASSERT(!doctor_cpus_has(&set, DOCTOR_CPUS_MAX));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        set = (struct doctor_cpus){0};
        CU_ASSERT_EQUAL(doctor_cpus_parse(bad[i], &set), -EINVAL);
    }
    set = cpus("1,3,5,7-9,11,1023");
    doctor_cpus_print(&set, text, sizeof text);
    CU_ASSERT_STRING_EQUAL(text, "1,3,5,7-9,...");
    set = cpus("0-1,1023\n");
    doctor_cpus_print(&set, text, sizeof text);
    CU_ASSERT_STRING_EQUAL(text, "0-1,1023");
}

static void sizes(void)
{
    char text[DOCTOR_SIZE_BYTES];
    CU_ASSERT_STRING_EQUAL(doctor_size(0, text), "0 B");
    CU_ASSERT_STRING_EQUAL(doctor_size(1536, text), "1.5 KiB");
    CU_ASSERT_STRING_EQUAL(doctor_size(256 << 20, text), "256 MiB");
    CU_ASSERT_STRING_EQUAL(doctor_size(UINT64_MAX - 1, text), "16.0 EiB");
}

static const struct unit_test tests[] = {
    UNIT_TEST(nothing_is_wrong_at_a_good_machine),
    UNIT_TEST(of_a_machine_that_shows_nothing_it_says_little),
    UNIT_TEST(memory_and_swap),
    UNIT_TEST(huge_pages),
    UNIT_TEST(transparent_huge_pages),
    UNIT_TEST(locked_memory),
    UNIT_TEST(the_service),
    UNIT_TEST(lcores_have_processors_of_their_own),
    UNIT_TEST(processors_are_isolated),
    UNIT_TEST(governors),
    UNIT_TEST(the_clock),
    UNIT_TEST(a_guest),
    UNIT_TEST(an_iommu),
    UNIT_TEST(the_driver_vfio),
    UNIT_TEST(cards),
    UNIT_TEST(lcores_are_where_the_card_is),
    UNIT_TEST(the_way_to_the_other_nodes),
    UNIT_TEST(offloads),
    UNIT_TEST(everything_at_once),
    UNIT_TEST(lists_of_processors),
    UNIT_TEST(sizes),
};
UNIT_MAIN("doctor", tests)
