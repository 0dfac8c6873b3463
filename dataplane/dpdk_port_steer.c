#include "dataplane/dpdk_port.h"

#include <rte_byteorder.h>
#include <rte_ethdev.h>
#include <rte_flow.h>

/* Packets of UDP to the port of that lcore go to its queue. */
static bool rule_make(const struct dpdk_port *port, uint16_t lcore)
{
    const struct rte_flow_attr attributes = {.ingress = 1};
    const struct rte_flow_item_udp wanted = {
        .hdr = {.dst_port = rte_cpu_to_be_16((uint16_t)(port->config.udp_port + lcore))}};
    const struct rte_flow_item_udp mask = {.hdr = {.dst_port = UINT16_MAX}};
    const struct rte_flow_item pattern[] = {
        {.type = RTE_FLOW_ITEM_TYPE_ETH},
        {.type = RTE_FLOW_ITEM_TYPE_IPV4},
        {.type = RTE_FLOW_ITEM_TYPE_UDP, .spec = &wanted, .mask = &mask},
        {.type = RTE_FLOW_ITEM_TYPE_END},
    };
    const struct rte_flow_action_queue queue = {.index = lcore};
    const struct rte_flow_action actions[] = {
        {.type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &queue},
        {.type = RTE_FLOW_ACTION_TYPE_END},
    };
    struct rte_flow_error error;
    return rte_flow_create(port->id, &attributes, pattern, actions, &error) != NULL;
}

bool dpdk_port_steer(const struct dpdk_port *port)
{
    struct rte_flow_error error;
    uint16_t made = 0;
    if (port->config.lcore_count == 1 || port->facts.pairs < port->config.lcore_count)
        return false;
    /* Why first: with a device that keeps them over a stop (net_tap) those of before would be in the way. */
    (void)rte_flow_flush(port->id, &error);
    while (made < port->facts.pairs && rule_make(port, made))
        made++;
    if (made == port->facts.pairs)
        return true;
    if (made != 0)
        (void)rte_flow_flush(port->id, &error); /* what stays is put right by handing over */
    return false;
}
