#include "dataplane/transport_dpdk.h"

#include <string.h>

/* In the order of the structs of counters. */
const char *const transport_dpdk_count_names[] = {
    TRANSPORT_FRAMED_COUNT_NAMES,
    "packet_too_short",
    "packet_other_mac",
    "packet_vlan_tagged",
    "packet_other_type",
    "packet_other_arp",
    "packet_other_version",
    "packet_ip_options",
    "packet_wrong_length",
    "packet_wrong_ip_checksum",
    "packet_fragment",
    "packet_other_address",
    "packet_wrong_source",
    "packet_other_protocol",
    "packet_wrong_udp_length",
    "packet_other_port",
    "packet_wrong_checksum",
    "echoes_answered",
    "no_neighbour",
    "no_memory",
    "frames_chained",
    "chain_unmapped",
    "chain_state",
    "threads_joined",
    "interrupts_proven",
    "arp_asked",
    "arp_answered",
    "arp_learned",
    "arp_changed",
    "arp_expired",
    "arp_doubted",
    "arp_not_asked_for",
    "arp_own_address",
    "arp_answers_dropped",
    "packets_received",
    "packets_sent",
    "packet_bytes_received",
    "packet_bytes_sent",
    "packets_handed_over",
    "inbox_full",
    "packets_copied",
    "packets_moved",
    "packets_no_mbuf",
    "pair_busy",
    "prepare_failed",
    "packets_pushed",
    NULL,
};

#define OWN (sizeof(struct transport_dpdk_counters) / sizeof(uint64_t))
#define ARP (sizeof(struct arp_counters) / sizeof(uint64_t))
#define QUEUE (sizeof(struct dpdk_queue_counters) / sizeof(uint64_t))
#define COUNTERS (TRANSPORT_FRAMED_COUNTS + OWN + ARP + QUEUE)
_Static_assert(sizeof transport_dpdk_count_names / sizeof transport_dpdk_count_names[0] ==
                   COUNTERS + 1,
               "a counter without a name");
_Static_assert(COUNTERS < TRANSPORT_COUNTS_MAX, "room for the counters");
_Static_assert(PACKET_TOO_SHORT == PACKET_TAKEN && PACKET_WRONG_CHECKSUM == PACKET_TAKEN + 15 &&
                   PACKET_VERDICTS == PACKET_TAKEN + 16,
               "order of the refusals");

static const struct transport_dpdk_endpoint *endpoint_of(const struct transport *t)
{
    return (const void *)t; /* its first member */
}

void transport_dpdk_count(const struct transport *t, struct transport_dpdk_counters *counters)
{
    const struct transport_dpdk_endpoint *e = endpoint_of(t);
    *counters = e->counters;
    counters->chain_state = (uint64_t)e->chain->chain.state;
}

const struct arp_counters *transport_dpdk_arp_counters(const struct transport *t)
{
    return &endpoint_of(t)->arp.counters;
}

void transport_dpdk_count_all(const struct transport_framed_endpoint *framed, uint64_t *counted)
{
    const struct transport_dpdk_endpoint *e = endpoint_of(&framed->transport);
    struct transport_dpdk_counters own;
    transport_dpdk_count(&framed->transport, &own);
    memcpy(counted, &own, sizeof own);
    memcpy(counted + OWN, &e->arp.counters, sizeof e->arp.counters);
    memcpy(counted + OWN + ARP, &e->queue->counters, sizeof e->queue->counters);
}
