/* dpdk_ports - DPDK in a test: the environment, started once in the process, and ports without hardware. */
#ifndef DUNLIN_TESTS_UNIT_DATAPLANE_DPDK_PORTS_H
#define DUNLIN_TESTS_UNIT_DATAPLANE_DPDK_PORTS_H

#include "dataplane/dpdk_port.h"

#define DPDK_PORTS_UDP 7000u /* port of UDP of lcore 0 */

/* Small pages, no devices of the machine; ends with the process.  The first call starts it. */
void dpdk_ports_start(void);

/* Two ports of net_ring: what one sends, the other receives, by reference.  depth: packets on the way. */
void dpdk_ports_pair(struct dpdk_port *ports[2], const struct dpdk_port_config *config,
                     uint32_t depth);
void dpdk_ports_close(struct dpdk_port *ports[2]);

/* A packet of UDP to that lcore, whose payload of length bytes goes up by 7 from the lcore's number; by any thread.
 * NULL: there is no mbuf. */
struct rte_mbuf *dpdk_ports_packet(struct dpdk_queue *q, uint32_t lcore, uint32_t length);

#endif
