#include "tests/unit/dataplane/dpdk_ends.h"

#include "tests/unit/dataplane/datagrams.h"
#include "tests/unit/dataplane/dpdk_ports.h"
#include "tests/unit/unit.h"

#include <netinet/in.h>
#include <sys/mman.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>

static const struct transport_framed_secret secret = {.key_id = 4, .bytes = {1, 2, 3}};
struct transport_framed_config config_a, config_b;
struct transport_dpdk_link link_a, link_b;
struct dpdk_port_config port_config;
uint32_t depth;
struct dpdk_port *ports[2];
struct transport *a, *b;
struct transport_received in[256];
uint64_t holds[256];
uint8_t *bytes;
uint64_t now;
struct transport_framed_counters counters;
struct transport_dpdk_counters dpdk_counters;
static uint32_t mbufs_before[2];

static uint64_t clock_read(void *context)
{
    return *(uint64_t *)context;
}

struct sockaddr_storage v4(uint32_t address, uint16_t port)
{
    struct sockaddr_storage to = {0};
    struct sockaddr_in in4 = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address)};
    memcpy(&to, &in4, sizeof in4);
    return to;
}

void configure(void)
{
    now = NS_PER_S;
    depth = 1024;
    port_config = (struct dpdk_port_config){.lcore_count = 1, .udp_port = UDP_PORT, .mbufs = 4095};
    link_a = link_b = (struct transport_dpdk_link){.prefix = 24};
    config_a = (struct transport_framed_config){
        .node = A,
        .cluster = 5,
        .start = 50,
        .address = v4(A_ADDRESS, UDP_PORT),
        .secrets = &secret,
        .secret_count = 1,
        .length_max = FRAME_LENGTH_MAX,
        .clock = clock_read,
        .clock_context = &now,
    };
    config_b = config_a;
    config_b.node = B;
    config_b.start = 60;
    config_b.address = v4(B_ADDRESS, UDP_PORT);
}

static uint32_t mbufs_used(const struct dpdk_port *port)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < port->config.lcore_count; i++)
        used += rte_mempool_in_use_count(port->queues[i].pool) +
                rte_mempool_in_use_count(port->queues[i].chain_pool);
    return used;
}

void open_both(void)
{
    struct sockaddr_storage address_a = v4(A_ADDRESS, UDP_PORT),
                            address_b = v4(B_ADDRESS, UDP_PORT);
    dpdk_ports_pair(ports, &port_config, depth);
    bytes = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_PTR_NOT_EQUAL_FATAL(bytes, MAP_FAILED);
    for (uint32_t i = 0; i < LOG_BYTES; i++)
        bytes[i] = (uint8_t)(i * 37 + i / 256 + 11);
    for (uint32_t i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL_FATAL(dpdk_port_map(ports[i], bytes, LOG_BYTES), 0);
        mbufs_before[i] = mbufs_used(ports[i]);
    }
    link_a.port = ports[0];
    link_b.port = ports[1];
    CU_ASSERT_EQUAL_FATAL(transport_dpdk_open(&a, &config_a, &link_a), 0);
    CU_ASSERT_EQUAL_FATAL(transport_dpdk_open(&b, &config_b, &link_b), 0);
    CU_ASSERT_EQUAL_FATAL(transport_framed_add(a, B, &address_b), 0);
    CU_ASSERT_EQUAL_FATAL(transport_framed_add(b, A, &address_a), 0);
}

void pass(void)
{
    CU_ASSERT_EQUAL(transport_receive(a, in, 8), 0);
    CU_ASSERT_EQUAL(transport_receive(b, in, 8), 0);
    transport_release(a);
    transport_release(b);
    now += NS_PER_MS;
}

static bool both_are_up(void)
{
    return transport_framed_is_up(a, B, NULL, NULL) && transport_framed_is_up(b, A, NULL, NULL);
}

void come_up(void)
{
    for (uint32_t i = 0; i < PASSES && !both_are_up(); i++)
        pass();
    CU_ASSERT_TRUE_FATAL(both_are_up());
}

void open_up(void)
{
    open_both();
    come_up();
}

void prove(void)
{
    count(a);
    for (uint32_t i = 0; i < PASSES && dpdk_counters.chain_state == DPDK_CHAIN_UNPROVEN; i++) {
        pass();
        count(a);
    }
    CU_ASSERT_EQUAL_FATAL(dpdk_counters.chain_state, DPDK_CHAIN_PROVEN);
}

static void on_the_way_free(void)
{
    struct rte_mbuf *m;
    for (uint32_t i = 0; i < 2; i++) {
        while (rte_eth_rx_burst(ports[i]->id, 0, &m, 1) == 1)
            rte_pktmbuf_free(m);
        for (uint32_t l = 0; l < ports[i]->config.lcore_count; l++)
            while (rte_ring_dequeue(ports[i]->queues[l].inbox, (void **)&m) == 0)
                rte_pktmbuf_free(m);
    }
}

void close_both(void)
{
    transport_dpdk_close(a);
    transport_dpdk_close(b);
    on_the_way_free();
    for (uint32_t i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(mbufs_used(ports[i]), mbufs_before[i]);
        dpdk_port_unmap(ports[i], bytes, LOG_BYTES);
    }
    dpdk_ports_close(ports);
    CU_ASSERT_EQUAL(munmap(bytes, LOG_BYTES), 0);
}

/* ---- datagrams ---- */

void count(const struct transport *t)
{
    transport_framed_count(t, &counters);
    transport_dpdk_count(t, &dpdk_counters);
}

bool send_one(struct transport *t, uint32_t to, const char *head, uint32_t length)
{
    struct transport_datagram d = datagram_of(to, head, bytes, length);
    d.is_mapped = true;
    return transport_send(t, &d, 1) == 1;
}

uint32_t complete(struct transport *t)
{
    return transport_complete(t, holds, sizeof holds / sizeof holds[0]);
}

bool comes(struct transport *t)
{
    for (uint32_t i = 0; i < PASSES; i++) {
        if (transport_receive(t, in, 1) == 1)
            return true;
        transport_release(t);
        CU_ASSERT_EQUAL(transport_receive(t == a ? b : a, in, 1), 0);
        transport_release(t == a ? b : a);
        now += NS_PER_MS / 4;
    }
    return false;
}

bool is(const struct transport_received *r, const char *head, uint32_t length)
{
    return datagram_came(r, head, bytes, length);
}

/* ---- on the way ---- */

struct rte_mbuf *caught[CAUGHT];

uint32_t catch (void)
{
    uint32_t got = 0;
    for (uint32_t more = 1; more != 0; got += more)
        more = rte_eth_rx_burst(ports[1]->id, 0, caught + got, (uint16_t)(CAUGHT - got));
    return got;
}

void put(struct rte_mbuf *m)
{
    CU_ASSERT_EQUAL_FATAL(rte_eth_tx_burst(ports[0]->id, 0, &m, 1), 1);
}

static const uint32_t lengths[] = {0,    1,    7,    8,     500,   1328,  1329,  1336,
                                   1400, 4095, 4096, 17000, 32768, 65529, 65536, 65535};

void every_shape_passes(void)
{
    static char long_head[1400];
    memset(long_head, 'h', sizeof long_head - 1);
    static const char *const heads[] = {"", "h", "eighteig", "thirteen byte", long_head};
    for (uint32_t h = 0; h < 5; h++)
        for (uint32_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            CU_ASSERT_TRUE_FATAL(send_one(a, B, heads[h], lengths[i]));
            CU_ASSERT_TRUE_FATAL(comes(b));
            CU_ASSERT_EQUAL(in[0].from, A);
            CU_ASSERT_TRUE(is(&in[0], heads[h], lengths[i]));
            transport_release(b);
            while (complete(a) != 0) {
            }
        }
}
