/* Plain packets over ports of net_ring: all bytes come, to the function that is shown them and back from an echo, and
 * what is for somebody else does not count.  And what devices are called, and how a cable is limited. */
#include "bench/port_eal.h"
#include "bench/port_net.h"
#include "bench/port_raw.h"
#include "tests/unit/dataplane/dpdk_ports.h"
#include "tests/unit/unit.h"

#include <rte_mbuf.h>

#define LENGTH 20000u

static struct dpdk_port *ports[2];
static struct port_raw raw[2];
static uint8_t bytes[LENGTH];

static void open_both(void)
{
    const struct dpdk_port_config config = {.lcore_count = 1, .udp_port = DPDK_PORTS_UDP};
    dpdk_ports_pair(ports, &config, 256);
    for (uint32_t i = 0; i < 2; i++) {
        const struct port_raw_station own = {.mac = {{2, (uint8_t)i}}, .address = 0x0a000001 + i};
        const struct port_raw_station peer = {.mac = {{2, (uint8_t)(1 - i)}},
                                              .address = 0x0a000002 - i};
        port_raw_init(&raw[i], dpdk_port_queue(ports[i], 0), &own, &peer, 1);
    }
    for (uint32_t i = 0; i < LENGTH; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 256);
}

/* What came, put one behind the other. */
struct heap {
    uint8_t bytes[LENGTH];
    uint32_t length, packets;
};

static void heap_add(void *context, const uint8_t *payload, uint32_t length)
{
    struct heap *h = context;
    CU_ASSERT_FATAL(h->length + length <= LENGTH);
    memcpy(h->bytes + h->length, payload, length);
    h->length += length;
    h->packets++;
}

static void all_bytes_come_in_packets_of_that_length(void)
{
    static struct heap h;
    open_both();
    CU_ASSERT_EQUAL(raw[0].payload_max, 1472);
    CU_ASSERT_EQUAL(port_raw_send(&raw[0], 0, bytes, LENGTH, 1472), 0);
    while (port_raw_take(&raw[1], heap_add, &h) != 0)
        continue;
    CU_ASSERT_EQUAL(h.packets, (LENGTH + 1471) / 1472);
    CU_ASSERT_EQUAL(h.length, LENGTH);
    CU_ASSERT_EQUAL(memcmp(h.bytes, bytes, LENGTH), 0);
    dpdk_ports_close(ports);
}

static void an_echo_sends_back_what_came(void)
{
    static struct heap h;
    open_both();
    CU_ASSERT_EQUAL(port_raw_echo(&raw[1]), 0);
    CU_ASSERT_EQUAL(port_raw_send(&raw[0], 0, bytes, 300, 100), 0);
    CU_ASSERT_EQUAL(port_raw_echo(&raw[1]), 300);
    CU_ASSERT_EQUAL(port_raw_take(&raw[0], heap_add, &h), 300);
    CU_ASSERT_EQUAL(h.packets, 3);
    CU_ASSERT_EQUAL(memcmp(h.bytes, bytes, 300), 0);
    dpdk_ports_close(ports);
}

static void what_is_for_others_is_passed_over(void)
{
    open_both();
    struct rte_mbuf *m = dpdk_ports_packet(raw[0].queue, 0, 64);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(dpdk_queue_send(raw[0].queue, &m, 1), 1);
    CU_ASSERT_EQUAL(port_raw_take(&raw[1], NULL, NULL), 0);
    m = dpdk_ports_packet(raw[0].queue, 0, 64);
    CU_ASSERT_EQUAL(dpdk_queue_send(raw[0].queue, &m, 1), 1);
    CU_ASSERT_EQUAL(port_raw_echo(&raw[1]), 0);
    CU_ASSERT_EQUAL(port_raw_take(&raw[0], NULL, NULL), 0); /* nothing was sent back */
    dpdk_ports_close(ports);
}

static void a_device_has_a_name_and_words(void)
{
    static const struct {
        const char *device, *name;
        uint32_t words;
    } of[] = {
        {"net_af_packet0,iface=eth1", "net_af_packet", 2},
        {"net_memif12,role=server", "net_memif", 2},
        {"net_af_xdp0", "net_af_xdp", 2},
        {"0000:00:04.0", "0000:00:04.0", 3},
        {"3b:00.1,option=1", "3b:00.1", 3},
        {"7", "7", 2},
    };
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        struct port_eal_words words;
        char name[PORT_EAL_NAME_BYTES];
        port_eal_name(of[i].device, name);
        port_eal_words(&words, of[i].device);
        CU_ASSERT_STRING_EQUAL(name, of[i].name);
        CU_ASSERT_EQUAL(words.count, of[i].words);
        CU_ASSERT_STRING_EQUAL(words.list[words.count - 1],
                               of[i].words == 3 ? of[i].name : "--no-pci");
    }
}

static void memory_that_two_share_has_a_server_and_a_client(void)
{
    char devargs[PORT_NET_MEMIF_BYTES], name[PORT_EAL_NAME_BYTES];
    port_net_memif(devargs, "/tmp/x", 0, true);
    CU_ASSERT_STRING_EQUAL(devargs, "net_memif0,role=server,id=0,socket=/tmp/x,socket-abstract=no");
    port_net_memif(devargs, "/tmp/x", 12, false);
    CU_ASSERT_STRING_EQUAL(devargs,
                           "net_memif12,role=client,id=12,socket=/tmp/x,socket-abstract=no");
    port_eal_name(devargs, name);
    CU_ASSERT_STRING_EQUAL(name, "net_memif");
}

static void a_cable_has_a_rate_and_a_bucket_by_it(void)
{
    static const struct {
        uint32_t mbit;
        const char *command;
    } of[] = {
        {10, "exec tc qdisc replace dev port1.0 root tbf rate 10mbit burst 3028 limit 775168"},
        {96, "exec tc qdisc replace dev port1.0 root tbf rate 96mbit burst 3028 limit 775168"},
        {400, "exec tc qdisc replace dev port1.0 root tbf rate 400mbit burst 12500 limit 775168"},
        {100000,
         "exec tc qdisc replace dev port1.0 root tbf rate 100000mbit burst 3125000 limit 775168"},
    };
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        char command[PORT_NET_COMMAND_BYTES];
        port_net_limit_command(command, "port1.0", of[i].mbit);
        CU_ASSERT_STRING_EQUAL(command, of[i].command);
    }
}

static const struct unit_test tests[] = {
    UNIT_TEST(all_bytes_come_in_packets_of_that_length),
    UNIT_TEST(an_echo_sends_back_what_came),
    UNIT_TEST(what_is_for_others_is_passed_over),
    UNIT_TEST(a_device_has_a_name_and_words),
    UNIT_TEST(memory_that_two_share_has_a_server_and_a_client),
    UNIT_TEST(a_cable_has_a_rate_and_a_bucket_by_it),
};
UNIT_MAIN("bench_ports", tests)
