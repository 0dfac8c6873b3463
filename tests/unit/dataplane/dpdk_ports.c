#include "tests/unit/dataplane/dpdk_ports.h"
#include "dataplane/dpdk_eal.h"

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

static struct rte_ring *rings[2];
static uint32_t pairs;

void dpdk_ports_start(void)
{
    static const char *const arguments[] = {"--no-pci", "--no-telemetry"};
    struct dpdk_eal_config config = {
        .arguments = arguments, .argument_count = 2, .pages = DPDK_EAL_PAGES_SMALL};
    if (dpdk_eal_is_started())
        return;
    CU_ASSERT_EQUAL_FATAL(dpdk_eal_start(&config), 0);
    atexit(dpdk_eal_stop);
}

static struct dpdk_port *open(uint32_t number, const struct dpdk_port_config *config)
{
    struct dpdk_port_config own = *config;
    struct dpdk_port *port;
    char name[RTE_ETH_NAME_MAX_LEN], wanted[32];
    snprintf(wanted, sizeof wanted, "pair%u_%u", pairs, number);
    int id = rte_eth_from_rings(wanted, &rings[number], 1, &rings[1 - number], 1, 0);
    CU_ASSERT_TRUE_FATAL(id >= 0);
    CU_ASSERT_EQUAL_FATAL(rte_eth_dev_get_name_by_port((uint16_t)id, name), 0);
    own.device = name;
    CU_ASSERT_EQUAL_FATAL(dpdk_port_open(&port, &own), 0);
    return port;
}

void dpdk_ports_pair(struct dpdk_port *ports[2], const struct dpdk_port_config *config,
                     uint32_t depth)
{
    char name[32];
    dpdk_ports_start();
    pairs++;
    for (uint32_t i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "ring%u_%u", pairs, i);
        rings[i] = rte_ring_create(name, depth, SOCKET_ID_ANY, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(rings[i]);
    }
    for (uint32_t i = 0; i < 2; i++)
        ports[i] = open(i, config);
}

/* Why first: what is on its way lies in mbufs of either. */
void dpdk_ports_close(struct dpdk_port *ports[2])
{
    void *m;
    for (uint32_t i = 0; i < 2; i++)
        while (rte_ring_dequeue(rings[i], &m) == 0)
            rte_pktmbuf_free(m);
    for (uint32_t i = 0; i < 2; i++)
        dpdk_port_close(ports[i]);
    for (uint32_t i = 0; i < 2; i++)
        rte_ring_free(rings[i]);
}

struct rte_mbuf *dpdk_ports_packet(struct dpdk_queue *q, uint32_t lcore, uint32_t length)
{
    struct packet_path path = {.from = 0x0a000001,
                               .to = 0x0a000002,
                               .from_port = DPDK_PORTS_UDP,
                               .to_port = (uint16_t)(DPDK_PORTS_UDP + lcore)};
    struct rte_mbuf *m = rte_pktmbuf_alloc(q->pool);
    if (m == NULL)
        return NULL;
    uint8_t *b = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(PACKET_HEADER_BYTES + length));
    for (uint32_t i = 0; i < length; i++)
        b[PACKET_HEADER_BYTES + i] = (uint8_t)(i * 7 + lcore);
    packet_write(b, &path, length, q->offloads, packet_sum(0, b + PACKET_HEADER_BYTES, length));
    dpdk_queue_mark(q, m, true);
    return m;
}
