/* What the doctor reads of devices of verbs, from a tree that stands for /, and what it says of them: where nothing is
 * wrong, with one thing wrong, and of what nobody would expect there. */
#include "control/doctor.h"
#include "tests/unit/control/doctor_said.h"
#include "tests/unit/control/doctor_tree.h"

#include <arpa/inet.h>

#define PATH "/etc/dunlin/dunlind.yaml"
#define IB "sys/class/infiniband/"

static struct config config;
static struct doctor_facts facts;
static struct doctor_report report;
static const struct doctor_rdma *const rdma = &facts.rdma;

/* ---- the tree ---- */

static void node_put(uint32_t place, const char *address)
{
    struct config_node *n = &config.cluster.nodes[place];
    struct sockaddr_in *four = (void *)&n->address;
    struct sockaddr_in6 *six = (void *)&n->address;
    n->id = place + 1;
    n->address.ss_family = strchr(address, ':') != NULL ? AF_INET6 : AF_INET;
    CU_ASSERT_EQUAL(inet_pton(n->address.ss_family, address,
                              n->address.ss_family == AF_INET6 ? (void *)&six->sin6_addr
                                                               : (void *)&four->sin_addr),
                    1);
}

static void port_put(const char *device, const char *layer, const char *state)
{
    char path[128];
    (void)snprintf(path, sizeof path, IB "%s/ports/1/link_layer", device);
    put(path, layer);
    (void)snprintf(path, sizeof path, IB "%s/ports/1/state", device);
    put(path, state);
}

static void gid_put(const char *device, const char *index, const char *gid, const char *kind)
{
    char path[128];
    (void)snprintf(path, sizeof path, IB "%s/ports/1/gids/%s", device, index);
    put(path, gid);
    (void)snprintf(path, sizeof path, IB "%s/ports/1/gid_attrs/types/%s", device, index);
    put(path, kind);
    (void)snprintf(path, sizeof path, IB "%s/ports/1/gid_attrs/ndevs/%s", device, index);
    put(path, "ens1\n");
}

#define MAPPED "0000:0000:0000:0000:0000:ffff:0a00:0001\n" /* 10.0.0.1 */

/* Node 1 of two, at a card of two devices of which the second has its address. */
static void tree_begin(void)
{
    tree_make();
    config = (struct config){.node = {.id = 1, .lcore_count = 2},
                             .space_count = 1,
                             .spaces = {{.quota_bytes = UINT64_C(1) << 30}},
                             .cluster = {.node_count = 2, .transport = CONFIG_TRANSPORT_RDMA}};
    node_put(0, "10.0.0.1");
    node_put(1, "10.0.0.2");
    put("dev/infiniband/uverbs0", "");
    put("dev/infiniband/uverbs1", "");
    put("dev/infiniband/rdma_cm", "");
    put("sys/class/net/ens1/mtu", "9000\n");
    port_put("mlx5_0", "Ethernet\n", "1: DOWN\n");
    gid_put("mlx5_0", "0", "fe80:0000:0000:0000:0000:0000:0000:0001\n", "RoCE v2\n");
    port_put("mlx5_1", "Ethernet\n", "4: ACTIVE\n");
    gid_put("mlx5_1", "2", MAPPED, "IB/RoCE v1\n");
    gid_put("mlx5_1", "3", MAPPED, "RoCE v2\n");
    gid_put("mlx5_1", "4", "0000:0000:0000:0000:0000:ffff:0a00:0002\n", "RoCE v2\n");
}

static void look(void)
{
    facts = (struct doctor_facts){.config = &config, .config_path = PATH, .rdma = {.wanted = true}};
    doctor_rdma_read(&facts, root);
}

static void the_device_of_the_address_is_found(void)
{
    tree_begin();
    look();
    CU_ASSERT(rdma->wanted && rdma->uverbs && rdma->manager);
    CU_ASSERT_EQUAL(rdma->device_count, 2);
    CU_ASSERT_STRING_EQUAL(rdma->address, "10.0.0.1");
    CU_ASSERT_STRING_EQUAL(rdma->device, "mlx5_1");
    CU_ASSERT_EQUAL(rdma->port, 1);
    CU_ASSERT(rdma->ethernet && rdma->has_address && rdma->v2 && rdma->active);
    CU_ASSERT_STRING_EQUAL(rdma->state, "ACTIVE");
    CU_ASSERT_STRING_EQUAL(rdma->link, "ens1");
    CU_ASSERT_EQUAL(rdma->mtu, 9000);
    CU_ASSERT_STRING_EQUAL(rdma->mode, "");
    put("sys/kernel/config/rdma_cm/mlx5_1/ports/1/default_roce_mode", "IB/RoCE v1\n");
    look();
    CU_ASSERT_STRING_EQUAL(rdma->mode, "IB/RoCE v1");
    node_put(0, "fe80::1");
    look();
    CU_ASSERT_STRING_EQUAL(rdma->address, "fe80::1");
    CU_ASSERT_STRING_EQUAL(rdma->device, "mlx5_0");
    CU_ASSERT(!rdma->active && rdma->v2);
    CU_ASSERT_STRING_EQUAL(rdma->state, "DOWN");
    tree_end();
}

static void of_two_the_better_and_the_first_counts(void)
{
    tree_begin();
    gid_put("mlx5_0", "1", MAPPED, "IB/RoCE v1\n");
    look();
    CU_ASSERT_STRING_EQUAL(rdma->device, "mlx5_1");
    gid_put("mlx5_0", "1", MAPPED, "RoCE v2\n");
    look();
    CU_ASSERT_STRING_EQUAL(rdma->device, "mlx5_0");
    gid_put("mlx5_1", "3", MAPPED, "IB/RoCE v1\n");
    look();
    CU_ASSERT_STRING_EQUAL(rdma->device, "mlx5_0");
    CU_ASSERT(rdma->v2);
    gid_put("mlx5_0", "1", MAPPED, "?\n");
    gid_put("mlx5_1", "3", MAPPED, "?\n");
    look();
    CU_ASSERT_STRING_EQUAL(rdma->device, "mlx5_0");
    CU_ASSERT(rdma->has_address && !rdma->v2);
    tree_end();
}

static void a_device_that_could_have_it_is_named(void)
{
    tree_begin();
    node_put(0, "10.9.9.9");
    look();
    CU_ASSERT_STRING_EQUAL(rdma->device, "");
    CU_ASSERT_STRING_EQUAL(rdma->spare, "ens1");
    put(IB "mlx5_1/ports/1/gid_attrs/ndevs/0", "ens0\n");
    look();
    CU_ASSERT_STRING_EQUAL(rdma->spare, "ens0");
    tree_end();
}

static void without_a_configuration_any_device_counts(void)
{
    tree_begin();
    facts = (struct doctor_facts){.rdma = {.wanted = true}};
    doctor_rdma_read(&facts, root);
    CU_ASSERT_STRING_EQUAL(rdma->device, "mlx5_0");
    CU_ASSERT_STRING_EQUAL(rdma->address, "");
    CU_ASSERT(!rdma->has_address && rdma->mtu == 0);
    tree_end();
}

/* Whose GIDs are no addresses. */
static void a_device_of_infiniband_may_have_it(void)
{
    tree_begin();
    node_put(0, "10.9.9.9");
    port_put("ibp3", "InfiniBand\n", "2: INIT\n");
    look();
    CU_ASSERT_STRING_EQUAL(rdma->device, "ibp3");
    CU_ASSERT(!rdma->ethernet && !rdma->has_address && !rdma->active);
    tree_end();
}

static void a_machine_without_any(void)
{
    tree_make();
    look();
    CU_ASSERT_STRING_EQUAL(rdma->device, "");
    CU_ASSERT_EQUAL(rdma->device_count, 0);
    CU_ASSERT(!rdma->uverbs && !rdma->manager);
    tree_end();
}

/* Names and texts that are none, too long, or not of the kind that they ought to be. */
static void what_makes_no_sense_is_not_believed(void)
{
    static const char name[] = "0123456789012345678901234567890123456789";
    char path[256];
    tree_begin();
    port_put("mlx5_1", "", "\x01\x02: \x1b[31m \xe4 \x7f\n");
    port_put("a\nb", "Ethernet\n", "4: ACTIVE\n");
    gid_put("mlx5_0", "0", "ffff\n", "");
    gid_put("mlx5_0", name, MAPPED, "RoCE v2\n");
    put("sys/class/net/ens1/mtu", "-7\n");
    (void)snprintf(path, sizeof path, IB "%s/ports/%s/state", name, name);
    put(path, "4: ACTIVE\n");
    put(IB "file", "no directory\n");
    look();
    CU_ASSERT_EQUAL(rdma->mtu, 0);
    CU_ASSERT_STRING_EQUAL(rdma->device, "mlx5_1");
    CU_ASSERT_NOT_EQUAL(rdma->state[0], '\0');
    for (const char *c = rdma->device; *c != '\0'; c++)
        CU_ASSERT(*c > ' ' && *c <= '~');
    for (const char *c = rdma->state; *c != '\0'; c++)
        CU_ASSERT(*c > ' ' && *c <= '~');
    doctor_judge_rdma(&facts, &report); /* whatever it says */
    tree_end();
}

/* ---- what is said ---- */

static const struct doctor_finding *found(const char *name)
{
    for (uint32_t i = 0; i < report.count; i++)
        if (strcmp(report.list[i].name, name) == 0)
            return &report.list[i];
    return NULL;
}

static void judge(void)
{
    report.count = 0;
    doctor_judge_rdma(&facts, &report);
}

/* Only this finding is not ok, and this is what it says. */
static void only(const char *name, enum doctor_state state, const char *is, const char *mend)
{
    judge();
    CU_ASSERT_PTR_NOT_NULL_FATAL(found(name));
    for (uint32_t i = 0; i < report.count; i++) {
        const struct doctor_finding *f = &report.list[i];
        CU_ASSERT_EQUAL(f->state, strcmp(f->name, name) == 0 ? state : DOCTOR_OK);
        CU_ASSERT((f->state == DOCTOR_OK) == (f->mend[0] == '\0'));
    }
    contains(found(name)->is, is);
    contains(found(name)->mend, mend);
}

static void good(void)
{
    config = (struct config){.node = {.id = 1, .lcore_count = 2},
                             .cluster = {.node_count = 3, .transport = CONFIG_TRANSPORT_RDMA}};
    facts = (struct doctor_facts){.config = &config,
                                  .config_path = PATH,
                                  .link_count = 1,
                                  .links = {{.name = "ens7", .leads_to_peers = true}},
                                  .rdma = {.wanted = true,
                                           .uverbs = true,
                                           .manager = true,
                                           .device_count = 2,
                                           .address = "10.0.0.1",
                                           .device = "mlx5_1",
                                           .port = 1,
                                           .ethernet = true,
                                           .has_address = true,
                                           .v2 = true,
                                           .active = true,
                                           .state = "ACTIVE",
                                           .link = "ens1",
                                           .mtu = 9000}};
}

static void a_device_is_looked_at(void)
{
    static const struct {
        const char *name, *is;
    } wanted[] = {{"rdma_modules", "ib_uverbs and rdma_ucm are there"},
                  {"rdma_device", "port 1, Ethernet, has 10.0.0.1"},
                  {"rdma_port", "ACTIVE"},
                  {"rdma_gid", "RoCE v2 for 10.0.0.1"},
                  {"rdma_mtu", "packets carry 4096, of an MTU of 9000 at ens1"}};
    good();
    judge();
    CU_ASSERT_EQUAL(report.count, sizeof wanted / sizeof wanted[0]);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        const struct doctor_finding *f = found(wanted[i].name);
        CU_ASSERT_PTR_NOT_NULL_FATAL(f);
        CU_ASSERT_STRING_EQUAL(f->is, wanted[i].is);
        CU_ASSERT_EQUAL(f->state, DOCTOR_OK);
    }
    facts.rdma.wanted = false;
    judge();
    CU_ASSERT_EQUAL(report.count, 0);
}

static void no_device_is_a_fault(void)
{
    good();
    facts.rdma.device[0] = '\0';
    only("rdma_device", DOCTOR_FAULT, "none of 2 has 10.0.0.1, which " PATH " has for this node",
         "ip address add 10.0.0.1/24 dev NETDEV");
    (void)strcpy(facts.rdma.spare, "ens5");
    (void)strcpy(facts.rdma.address, "fd00::1");
    only("rdma_device", DOCTOR_FAULT, "none of 2 has fd00::1",
         "ip address add fd00::1/64 dev ens5");
    CU_ASSERT_PTR_NULL(found("rdma_port"));
    facts.rdma.device_count = 0;
    only("rdma_device", DOCTOR_FAULT, "there is none", "rdma link add rxe0 type rxe netdev ens7");
    facts.link_count = 0;
    only("rdma_device", DOCTOR_FAULT, "there is none", "netdev LINK");
}

static void modules_that_are_missing_are_named(void)
{
    good();
    facts.rdma.manager = false;
    only("rdma_modules", DOCTOR_FAULT, "rdma_cm is missing", "modprobe -a ib_uverbs rdma_ucm");
    facts.rdma.uverbs = false;
    only("rdma_modules", DOCTOR_FAULT, "neither", "modprobe -a ib_uverbs rdma_ucm");
    facts.rdma.manager = true;
    only("rdma_modules", DOCTOR_FAULT, "uverbs0 is missing", "modprobe -a ib_uverbs rdma_ucm");
}

static void a_port_that_is_down_is_a_fault(void)
{
    good();
    facts.rdma.active = false;
    (void)strcpy(facts.rdma.state, "DOWN");
    only("rdma_port", DOCTOR_FAULT, "DOWN", "ip link set dev ens1 up");
    facts.rdma.ethernet = false;
    only("rdma_port", DOCTOR_FAULT, "DOWN; the link needs a subnet manager",
         "systemctl start opensm");
    CU_ASSERT_PTR_NULL(found("rdma_gid"));
}

static void roce_of_version_1_is_a_warning(void)
{
    good();
    facts.rdma.v2 = false;
    only("rdma_gid", DOCTOR_WARNING, "RoCE v1 alone for 10.0.0.1",
         "/sys/class/infiniband/mlx5_1/ports/1/gid_attrs/types/");
    good();
    (void)strcpy(facts.rdma.mode, "IB/RoCE v1");
    only("rdma_gid", DOCTOR_WARNING, "connections are made over IB/RoCE v1",
         "echo 'RoCE v2' >/sys/kernel/config/rdma_cm/mlx5_1/ports/1/default_roce_mode");
    (void)strcpy(facts.rdma.mode, "RoCE v2");
    judge();
    CU_ASSERT_EQUAL(found("rdma_gid")->state, DOCTOR_OK);
}

static void short_packets_are_a_warning(void)
{
    static const struct {
        uint32_t mtu;
        const char *is;
    } given[] = {{4191, "packets carry 2048, of an MTU of 4191"},
                 {1500, "packets carry 1024, of an MTU of 1500"},
                 {352, "packets carry 256, of an MTU of 352"}};
    good();
    for (size_t i = 0; i < sizeof given / sizeof given[0]; i++) {
        facts.rdma.mtu = given[i].mtu;
        only("rdma_mtu", DOCTOR_WARNING, given[i].is, "ip link set dev ens1 mtu 4192");
    }
    facts.rdma.mtu = 351;
    only("rdma_mtu", DOCTOR_FAULT, "packets carry 0", "ip link set dev ens1 mtu 4192");
    facts.rdma.mtu = 4192;
    judge();
    CU_ASSERT_EQUAL(found("rdma_mtu")->state, DOCTOR_OK);
    facts.rdma.mtu = 0;
    judge();
    CU_ASSERT_PTR_NULL(found("rdma_mtu"));
}

/* What a device locks: places of connections, and the log's memory where it is written to. */
static void memory_that_may_not_be_locked_is_a_fault(void)
{
    good();
    config.spaces[0].quota_bytes = UINT64_C(1) << 30;
    config.space_count = 1;
    config.cluster.encrypt = true;
    facts.memory.memlock_bytes = UINT64_C(48) << 20; /* 8 MiB for each of 2 lcores and 3 nodes */
    doctor_judge(&facts, &report);
    CU_ASSERT_EQUAL(found("memlock")->state, DOCTOR_OK);
    CU_ASSERT_PTR_NOT_NULL(found("rdma_device"));
    facts.memory.memlock_bytes--;
    doctor_judge(&facts, &report);
    CU_ASSERT_EQUAL(found("memlock")->state, DOCTOR_FAULT);
    contains(found("memlock")->mend, "ulimit -l unlimited");
    config.cluster.encrypt = false;
    facts.memory.memlock_bytes = (UINT64_C(48) << 20) + (UINT64_C(1) << 30);
    doctor_judge(&facts, &report);
    CU_ASSERT_EQUAL(found("memlock")->state, DOCTOR_OK);
    facts.memory.memlock_bytes--;
    doctor_judge(&facts, &report);
    CU_ASSERT_EQUAL(found("memlock")->state, DOCTOR_FAULT);
    facts.rdma.wanted = false;
    doctor_judge(&facts, &report);
    CU_ASSERT_EQUAL(found("memlock")->state, DOCTOR_OK);
}

static const struct unit_test tests[] = {
    UNIT_TEST(the_device_of_the_address_is_found),
    UNIT_TEST(of_two_the_better_and_the_first_counts),
    UNIT_TEST(a_device_that_could_have_it_is_named),
    UNIT_TEST(without_a_configuration_any_device_counts),
    UNIT_TEST(a_device_of_infiniband_may_have_it),
    UNIT_TEST(a_machine_without_any),
    UNIT_TEST(what_makes_no_sense_is_not_believed),
    UNIT_TEST(a_device_is_looked_at),
    UNIT_TEST(no_device_is_a_fault),
    UNIT_TEST(modules_that_are_missing_are_named),
    UNIT_TEST(a_port_that_is_down_is_a_fault),
    UNIT_TEST(roce_of_version_1_is_a_warning),
    UNIT_TEST(short_packets_are_a_warning),
    UNIT_TEST(memory_that_may_not_be_locked_is_a_fault),
};

UNIT_MAIN("doctor_rdma", tests)
