/* A node of each transport on one wire: a kernel socket at one end of a pair of virtual Ethernet devices, a port of
 * DPDK at the other, in a network of this process's own. */
#include "dataplane/transport_dpdk.h"
#include "dataplane/transport_udp.h"
#include "engine/clock.h"
#include "tests/unit/dataplane/dpdk_ports.h"
#include "tests/unit/unit.h"

#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#define SKIPPED 77
#define KERNEL 4u /* node ids */
#define PORT 5u
#define KERNEL_ADDRESS 0x0a630001u
#define PORT_ADDRESS 0x0a630002u
#define UDP_PORT 7100u
#define WAIT_NS (20 * (uint64_t)NS_PER_S)

static const struct transport_framed_secret secret = {.key_id = 1, .bytes = {9, 8, 7}};
static struct transport *kernel, *port_end;
static struct dpdk_port *port;
static struct transport_received in[64];
static uint64_t holds[64];
static uint8_t bytes[FRAME_LENGTH_MAX];

/* What net_af_xdp does not free when its port is closed.  Why so called: the sanitizer asks for it.
 * NOLINTNEXTLINE(readability-identifier-naming) */
const char *__lsan_default_suppressions(void);

/* NOLINTNEXTLINE(readability-identifier-naming) */
const char *__lsan_default_suppressions(void)
{
    return "leak:xsk_umem__create";
}

/* ---- the wire ---- */

/* Why segments of one packet: what the kernel leaves to a device to cut, a pair of virtual ones hands over whole. */
static bool wire_lay(uint32_t mtu)
{
    char command[512];
    snprintf(command, sizeof command,
             "ip link add wire_k type veth peer name wire_p && "
             "ip link set wire_k mtu %u gso_max_segs 1 up && ip link set wire_p mtu %u up && "
             "ip addr add 10.99.0.1/24 dev wire_k",
             mtu, mtu);
    return system(command) == 0;
}

static void wire_cut(void)
{
    CU_ASSERT_EQUAL(system("ip link del wire_k"), 0);
}

/* ---- ends ---- */

static struct sockaddr_storage v4(uint32_t address)
{
    struct sockaddr_storage to = {0};
    struct sockaddr_in in4 = {
        .sin_family = AF_INET, .sin_port = htons(UDP_PORT), .sin_addr.s_addr = htonl(address)};
    memcpy(&to, &in4, sizeof in4);
    return to;
}

static struct transport_framed_config config_of(uint32_t node, uint32_t address)
{
    return (struct transport_framed_config){
        .node = node,
        .cluster = 3,
        .start = node + 10,
        .address = v4(address),
        .secrets = &secret,
        .secret_count = 1,
        .frame_bytes = TRANSPORT_FRAMED_FRAME_PATH,
        .length_max = FRAME_LENGTH_MAX,
        .queue_frames = 256,
    };
}

/* False: this machine has no such port. */
static bool open_both(const char *device, bool authentic_only)
{
    struct dpdk_port_config wanted = {
        .device = device, .lcore_count = 1, .udp_port = UDP_PORT, .mbufs = 4095};
    dpdk_ports_start();
    int error = dpdk_port_open(&port, &wanted);
    if (error == -ENODEV)
        return false;
    CU_ASSERT_EQUAL_FATAL(error, 0);
    struct transport_dpdk_link link = {.port = port, .prefix = 24};
    struct transport_framed_config k = config_of(KERNEL, KERNEL_ADDRESS);
    struct transport_framed_config p = config_of(PORT, PORT_ADDRESS);
    k.authentic_only = p.authentic_only = authentic_only;
    CU_ASSERT_EQUAL_FATAL(transport_udp_open(&kernel, &k, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(transport_dpdk_open(&port_end, &p, &link), 0);
    struct sockaddr_storage address = v4(PORT_ADDRESS);
    CU_ASSERT_EQUAL_FATAL(transport_framed_add(kernel, PORT, &address), 0);
    address = v4(KERNEL_ADDRESS);
    CU_ASSERT_EQUAL_FATAL(transport_framed_add(port_end, KERNEL, &address), 0);
    return true;
}

static void close_both(void)
{
    transport_dpdk_close(port_end);
    transport_udp_close(kernel);
    dpdk_port_close(port);
}

/* Both ends do what they have to; what came to t is in[]. */
static uint32_t pass(struct transport *t)
{
    struct transport *other = t == kernel ? port_end : kernel;
    CU_ASSERT_EQUAL(transport_receive(other, in, 64), 0);
    transport_release(other);
    while (transport_complete(other, holds, 64) == 64) {
    }
    return transport_receive(t, in, 64);
}

static void come_up(void)
{
    uint64_t end = clock_boottime_ns() + WAIT_NS;
    while (clock_boottime_ns() < end && !(transport_framed_is_up(kernel, PORT, NULL, NULL) &&
                                          transport_framed_is_up(port_end, KERNEL, NULL, NULL))) {
        CU_ASSERT_EQUAL(pass(kernel), 0);
        transport_release(kernel);
    }
    CU_ASSERT_TRUE_FATAL(transport_framed_is_up(kernel, PORT, NULL, NULL));
    CU_ASSERT_TRUE_FATAL(transport_framed_is_up(port_end, KERNEL, NULL, NULL));
}

static const uint32_t lengths[] = {0, 1, 8, 1000, 1400, 1472, 4000, 20000, 65536};
#define LENGTHS (sizeof lengths / sizeof lengths[0])

/* A datagram is sent until it comes: a network may lose it. */
static void passes(struct transport *from, struct transport *to, uint32_t length)
{
    const struct transport_datagram d = {.to = to->node,
                                         .head_length = 5,
                                         .head = (const uint8_t *)"wire",
                                         .bytes = length != 0 ? bytes : NULL,
                                         .length = length};
    uint64_t end = clock_boottime_ns() + WAIT_NS, again = 0;
    uint32_t got = 0;
    while (got == 0 && clock_boottime_ns() < end) {
        if (clock_boottime_ns() >= again) {
            CU_ASSERT_EQUAL(transport_send(from, &d, 1), 1);
            again = clock_boottime_ns() + NS_PER_S;
        }
        got = pass(to);
        for (uint32_t i = 0; i < got; i++) {
            CU_ASSERT(in[i].from == from->node && in[i].head_length == 5 &&
                      in[i].length == length && (uintptr_t)in[i].head % 8 == 0);
            CU_ASSERT(length == 0 || memcmp(in[i].bytes, bytes, length) == 0);
        }
        transport_release(to);
    }
    CU_ASSERT(got != 0);
}

static void talk(const char *device, uint32_t mtu, bool authentic_only)
{
    for (uint32_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 41 + i / 256 + 3);
    CU_ASSERT_TRUE_FATAL(wire_lay(mtu));
    if (open_both(device, authentic_only)) {
        come_up();
        for (uint32_t i = 0; i < LENGTHS; i++) {
            passes(kernel, port_end, lengths[i]);
            passes(port_end, kernel, lengths[i]);
        }
        struct transport_dpdk_counters c;
        transport_dpdk_count(port_end, &c);
        CU_ASSERT_EQUAL(c.refused[PACKET_WRONG_IP_CHECKSUM - PACKET_TAKEN], 0);
        CU_ASSERT_EQUAL(transport_dpdk_arp_counters(port_end)->learned, 1);
        close_both();
    } else {
        CU_PASS("skipped: this machine has no such port");
    }
    wire_cut();
}

static void af_packet_and_a_socket_understand_each_other(void)
{
    talk("net_af_packet0,iface=wire_p", 1500, false);
    talk("net_af_packet1,iface=wire_p", 1500, true);
}

static void af_xdp_and_a_socket_understand_each_other(void)
{
    talk("net_af_xdp0,iface=wire_p", 1500, false);
    talk("net_af_xdp1,iface=wire_p", 1500, true);
}

static const struct unit_test tests[] = {
    UNIT_TEST(af_packet_and_a_socket_understand_each_other),
    UNIT_TEST(af_xdp_and_a_socket_understand_each_other),
};

int main(int argc, char **argv)
{
    if (unshare(CLONE_NEWNET) != 0 || system("ip link set lo up") != 0) {
        printf("skipped: no network of its own can be made here\n");
        return SKIPPED;
    }
    return unit_main("transport_dpdk_wire", tests, sizeof tests / sizeof tests[0], argc, argv);
}
