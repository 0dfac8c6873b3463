/* What the doctor says of a port of DPDK: of one at which nothing is wrong, of the same with one thing wrong, and of what
 * the program that looks may say. */
#include "control/doctor.h"

#include "tests/unit/control/doctor_said.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define PORT "0000:42:00.0"
#define PATH "/etc/dunlin/dunlind.yaml"

static struct config config;
static struct doctor_facts facts;
static struct doctor_report report;

static const struct doctor_finding *found(const char *name, const char *subject)
{
    for (uint32_t i = 0; i < report.count; i++)
        if (strcmp(report.list[i].name, name) == 0 && strcmp(report.list[i].subject, subject) == 0)
            return &report.list[i];
    return NULL;
}

static void judge(void)
{
    report.count = 0;
    doctor_judge_port(&facts, &report);
}

/* Only this finding is not ok, and this is what it says. */
static void only(const char *name, enum doctor_state state, const char *is, const char *mend)
{
    judge();
    for (uint32_t i = 0; i < report.count; i++) {
        const struct doctor_finding *f = &report.list[i];
        bool wanted = strcmp(f->name, name) == 0;
        CU_ASSERT_EQUAL(f->state, wanted ? state : DOCTOR_OK);
        CU_ASSERT((f->state == DOCTOR_OK) == (f->mend[0] == '\0'));
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(found(name, PORT));
    contains(found(name, PORT)->is, is);
    contains(found(name, PORT)->mend, mend);
}

static void all_good(void)
{
    judge();
    for (uint32_t i = 0; i < report.count; i++)
        CU_ASSERT_EQUAL(report.list[i].state, DOCTOR_OK);
}

static void port_good(void)
{
    config = (struct config){.node = {.lcore_count = 2, .lcore_cpus = {2, 3}, .spin = true},
                             .cpu_count = 2,
                             .cluster = {.frame_bytes = 8952, .dpdk = {.mtu = 9000}}};
    facts = (struct doctor_facts){.config = &config,
                                  .config_path = PATH,
                                  .dpdk = true,
                                  .processors = {.numa_count = 2},
                                  .port = {.device = PORT ",cap=1", .asked = true, .socket = -1}};
    CU_ASSERT_EQUAL(doctor_cpus_parse("0-3,8-11", &facts.processors.numa[0]), 0);
    CU_ASSERT_EQUAL(doctor_cpus_parse("4-7,12-15", &facts.processors.numa[1]), 0);
    doctor_port_parse(&facts.port,
                      "{\"name\":\"0000:42:00.0\",\"driver\":\"net_ice\",\"huge_pages\":true,"
                      "\"mtu\":9000,\"socket\":0,"
                      "\"queues\":2,\"multi_segs\":true,\"ip_out\":true,\"udp_out\":true,"
                      "\"ip_in\":true,\"udp_in\":true,\"steered\":true,\"interrupts\":true,"
                      "\"link_up\":true,\"speed_mbps\":25000,\"chain\":{\"state\":1,"
                      "\"name\":\"proven\",\"neighbours_known\":2,\"answers\":8}}");
}

static void a_port_is_looked_at(void)
{
    static const struct {
        const char *name, *is;
    } wanted[] = {{"port", "opened, driver net_ice, packets in huge pages"},
                  {"port_memory", "161 MiB of huge pages for 2 lcores with an mtu of 9000"},
                  {"port_link", "up, 25000 Mbit/s"},
                  {"port_mtu", "9000, packets to other nodes have up to 8980"},
                  {"port_numa", "NUMA node 0, as all lcores"},
                  {"port_queues", "2 pairs for 2 lcores, each packet in that of its lcore"},
                  {"port_offloads", "checksums out by the port, in by the port; packets of several "
                                    "pieces yes"},
                  {"port_chain", "it does: a neighbour returned what was sent"},
                  {"port_interrupts",
                   "its receive queues offer them; `interrupts_proven` of `dunlin "
                   "status` tells if they came; lcores do not sleep"}};
    port_good();
    all_good();
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        const struct doctor_finding *f = found(wanted[i].name, PORT);
        CU_ASSERT_PTR_NOT_NULL_FATAL(f);
        CU_ASSERT_STRING_EQUAL(f->is, wanted[i].is);
    }
    facts.port.asked = false;
    judge();
    CU_ASSERT_PTR_NULL(found("port", PORT));
}

static void a_port_that_was_not_opened_says_why(void)
{
    port_good();
    facts.port.user = 4711;
    only("port", DOCTOR_WARNING, "process 4711", "systemctl stop dunlind");
    CU_ASSERT_PTR_NULL(found("port_link", PORT));
    port_good();
    doctor_port_parse(&facts.port,
                      "{\"step\":\"port\",\"error\":19,\"meaning\":\"No such device\"}");
    only("port", DOCTOR_FAULT, "not opened (port: No such device)",
         "in /etc/dunlin/dunlind.yaml: cluster: {dpdk: {port:");
    static const char *const nonsense[] = {"", "{", "[1]", "{\"driver\": 4}", "null"};
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        port_good();
        facts.port.step[0] = '\0';
        doctor_port_parse(&facts.port, nonsense[i]);
        only("port", DOCTOR_FAULT, "not opened (program: it told nothing)", "port");
    }
}

static char root[] = "/tmp/dunlin-test-doctor-port.XXXXXX";

static void file_write(const char *path, const char *text)
{
    char whole[128];
    (void)snprintf(whole, sizeof whole, "%s/%s", root, path);
    FILE *f = fopen(whole, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    CU_ASSERT_TRUE(fputs(text, f) >= 0);
    CU_ASSERT_EQUAL(fclose(f), 0);
}

static void directory_make(const char *path)
{
    char whole[128];
    (void)snprintf(whole, sizeof whole, "%s/%s", root, path);
    CU_ASSERT_EQUAL_FATAL(mkdir(whole, 0700), 0);
}

static void drop(const char *path)
{
    char whole[128];
    (void)snprintf(whole, sizeof whole, "%s/%s", root, path);
    CU_ASSERT_EQUAL(remove(whole), 0);
}

/* Process 42 is a daemon with a port, 41 one with sockets, 43 another program that uses DPDK. */
static void a_daemon_that_drives_a_port_is_left_alone(void)
{
    static const char *const made[] = {"proc/41/comm", "proc/41/maps", "proc/42/comm",
                                       "proc/42/maps", "proc/43/comm", "proc/43/maps"};
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(root));
    directory_make("proc");
    directory_make("proc/41");
    directory_make("proc/42");
    directory_make("proc/43");
    file_write(made[0], "dunlind\n");
    file_write(made[1], "7f00-7f10 r-xp 00000000 08:01 1 /usr/lib/librte_eal.so.23\n");
    file_write(made[2], "dunlind\n");
    file_write(made[3], "7f00-7f10 rw-s 00000000 00:19 9 /run/dpdk/dunlin-42/fbarray_memzone\n");
    file_write(made[4], "other\n");
    file_write(made[5], "7f00-7f10 rw-s 00000000 00:19 9 /run/dpdk/dunlin-43/fbarray_memzone\n");
    port_good();
    doctor_port_read(&facts, root);
    CU_ASSERT_EQUAL(facts.port.user, 42);
    drop("proc/42/maps");
    doctor_port_read(&facts, root); /* it may have one */
    CU_ASSERT_EQUAL(facts.port.user, 42);
    drop("proc/42/comm");
    facts.port.step[0] = '\0';
    doctor_port_read(&facts, root); /* there is no program beside this one */
    CU_ASSERT_EQUAL(facts.port.user, 0);
    CU_ASSERT_STRING_EQUAL(facts.port.meaning, "it told nothing");
    for (uint32_t i = 0; i < sizeof made / sizeof made[0]; i++)
        if (strstr(made[i], "/42/") == NULL)
            drop(made[i]);
    drop("proc/41");
    drop("proc/42");
    drop("proc/43");
    drop("proc");
    drop("");
}

static void a_virtual_port_needs_no_vfio(void)
{
    port_good();
    facts.card_count = 1;
    facts.cards[0] = (struct doctor_card){.address = "0000:03:00.0", .driver = "tg3"};
    report.count = 0;
    doctor_judge_cards(&facts, &report);
    CU_ASSERT_EQUAL(found("vfio", "")->state, DOCTOR_FAULT);
    CU_ASSERT_EQUAL(found("iommu", "")->state, DOCTOR_FAULT);
    CU_ASSERT_EQUAL(found("card", "0000:03:00.0")->state, DOCTOR_WARNING);
    facts.port.device = "net_af_xdp0,iface=a:b";
    report.count = 0;
    doctor_judge_cards(&facts, &report);
    CU_ASSERT_EQUAL(found("vfio", "")->state, DOCTOR_OK);
    CU_ASSERT_EQUAL(found("iommu", "")->state, DOCTOR_OK);
    CU_ASSERT_EQUAL(found("card", "0000:03:00.0")->state, DOCTOR_OK);
}

static void what_is_wrong_with_a_port_is_told(void)
{
    port_good();
    facts.port.link_up = false;
    only("port_link", DOCTOR_FAULT, "down", "cable");
    port_good();
    facts.port.mtu = 1500;
    only("port_mtu", DOCTOR_FAULT, "1500, packets to other nodes have up to 8980",
         "{mtu: 8980B}}, or {frame: 1472B}");
    port_good();
    facts.port.socket = 1;
    only("port_numa", DOCTOR_WARNING, "NUMA node 1, but lcores on processors 2-3 are not",
         "out of 4-7,12-15");
    port_good();
    facts.port.queues = 1;
    only("port_queues", DOCTOR_WARNING, "1 pairs for 2 lcores", "queue_count=2");
    port_good();
    facts.port.steered = false;
    all_good();
    contains(found("port_queues", PORT)->is, "hand over");
    facts.port.sums_out = facts.port.multi_segs = false;
    all_good();
    contains(found("port_offloads", PORT)->is, "out by the processor");
    contains(found("port_chain", PORT)->is, "bytes are copied");
    port_good();
    facts.port.chain_state = 3;
    (void)snprintf(facts.port.chain, sizeof facts.port.chain, "other bytes came back");
    only("port_chain", DOCTOR_WARNING, "self-test: other bytes came back", "driver");
    facts.port.chain_state = 0;
    only("port_chain", DOCTOR_WARNING, "2 neighbours are known", "ping");
    config.cluster.encrypt = true; /* then it is no matter */
    all_good();
    port_good();
    config.node.spin = false;
    facts.port.interrupts = false;
    only("port_interrupts", DOCTOR_WARNING, "none", "in " PATH);
}

/* Small pages because of what the file says are a fault of the file: test_config_faults.c. */
static void too_little_memory_is_told_where_pages_are_small(void)
{
    static const char mend[] = "in " PATH ": cluster: {dpdk: {eal: \"... -m 206\"}}";
    port_good();
    (void)snprintf(config.cluster.dpdk.eal, sizeof config.cluster.dpdk.eal, "-m 128");
    all_good(); /* more huge ones are taken */
    facts.port.huge_pages = false;
    only("port_memory", DOCTOR_FAULT, "128 MiB, but 2 lcores with an mtu of 9000 take 200", mend);
    (void)snprintf(config.cluster.dpdk.eal, sizeof config.cluster.dpdk.eal, "-m 200");
    all_good();
    config.cluster.dpdk.eal[0] = '\0';
    all_good();

    /* One that was not opened, perhaps for that. */
    (void)snprintf(config.cluster.dpdk.eal, sizeof config.cluster.dpdk.eal, "-m 128");
    facts.port.opened = false;
    judge();
    CU_ASSERT_EQUAL(found("port_memory", PORT)->state, DOCTOR_FAULT);
    facts.memory = (struct doctor_memory){.page_size_count = 1,
                                          .pages = {{.page_bytes = 2u << 20, .free = 100}},
                                          .huge_mounted = true};
    judge();
    CU_ASSERT_EQUAL(found("port_memory", PORT)->state, DOCTOR_OK);
    facts.memory.pages[0].free = 80;
    judge();
    CU_ASSERT_EQUAL(found("port_memory", PORT)->state, DOCTOR_FAULT);
    facts.port.user = 42;
    judge();
    CU_ASSERT_PTR_NULL(found("port_memory", PORT));
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_port_is_looked_at),
    UNIT_TEST(a_port_that_was_not_opened_says_why),
    UNIT_TEST(a_daemon_that_drives_a_port_is_left_alone),
    UNIT_TEST(a_virtual_port_needs_no_vfio),
    UNIT_TEST(what_is_wrong_with_a_port_is_told),
    UNIT_TEST(too_little_memory_is_told_where_pages_are_small),
};
UNIT_MAIN("doctor_port", tests)
