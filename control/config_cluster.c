#include "control/config_cluster.h"

#include <inttypes.h>

#define IPV4_UDP_BYTES 28u /* headers of a frame's packet, within its mtu */

void config_cluster_node_seen(struct config_cluster_seen *seen,
                              const struct config_cluster_node *node)
{
    if (seen->count < LIMIT_VOTERS)
        seen->nodes[seen->count++] = *node;
}

static void rule_own_id(struct events *in, const struct config_cluster_seen *seen)
{
    for (uint32_t i = 0; i < seen->count; i++)
        /* One whose id is at fault may be meant to be this node. */
        if (seen->nodes[i].id == seen->own_id || seen->nodes[i].id == 0)
            return;
    if (seen->own_id != 0)
        events_fault(in, seen->place,
                     "no node %" PRIu64
                     " in nodes, which is the id of this node; expected it among "
                     "them",
                     seen->own_id);
}

static void rule_ports_exist(struct events *in, const struct config_cluster_seen *seen,
                             const struct config_cluster_node *n)
{
    uint32_t port = config_address_port(&n->address);
    if (port + seen->lcore_count - 1 > UINT16_MAX)
        events_fault(in, n->address_place,
                     "port %u with %u lcores, which receive at ports of their own from there on; "
                     "expected at most port %u",
                     port, seen->lcore_count, UINT16_MAX + 1 - seen->lcore_count);
}

static bool ports_overlap(uint32_t a, uint32_t b, uint32_t count)
{
    return a < b ? b - a < count : a - b < count;
}

/* Each of the two returns false when the second node was told about. */
static bool rule_ports_differ(struct events *in, const struct config_cluster_seen *seen,
                              const struct config_cluster_node *first,
                              const struct config_cluster_node *n)
{
    if (!config_address_same_host(&first->address, &n->address) ||
        !ports_overlap(config_address_port(&first->address), config_address_port(&n->address),
                       seen->lcore_count))
        return true;
    events_fault(in, n->address_place,
                 "port %u of the host in line %zu, whose %u lcores receive from port %u on; "
                 "expected other ports, or another host",
                 config_address_port(&n->address), first->address_place.line, seen->lcore_count,
                 config_address_port(&first->address));
    return false;
}

/* Why: an IPv4 socket reaches no IPv6 address, so one node or the other could not answer. */
static bool rule_family(struct events *in, const struct config_cluster_node *first,
                        const struct config_cluster_node *n)
{
    if (first->address.ss_family == n->address.ss_family)
        return true;
    events_fault(in, n->address_place,
                 "an %s address, other than the one in line %zu; expected all IPv4 or all IPv6",
                 n->address.ss_family == AF_INET6 ? "IPv6" : "IPv4", first->address_place.line);
    return false;
}

/* At most one fault for each address: those that follow from it are not told. */
static void rule_address(struct events *in, const struct config_cluster_seen *seen, uint32_t number)
{
    const struct config_cluster_node *n = &seen->nodes[number];
    if (!n->has_address)
        return;
    rule_ports_exist(in, seen, n);
    for (uint32_t i = 0; i < number; i++) {
        const struct config_cluster_node *first = &seen->nodes[i];
        if (first->has_address &&
            !(rule_family(in, first, n) && rule_ports_differ(in, seen, first, n)))
            return;
    }
}

static void rule_id(struct events *in, const struct config_cluster_seen *seen, uint32_t number)
{
    const struct config_cluster_node *n = &seen->nodes[number];
    for (uint32_t i = 0; i < number && n->id != 0; i++) {
        if (seen->nodes[i].id != n->id)
            continue;
        events_fault(in, n->id_place,
                     "node id %" PRIu64 " again, first in line %zu; expected another", n->id,
                     seen->nodes[i].id_place.line);
        return;
    }
}

void config_cluster_dpdk_seen(struct config_cluster_seen *seen, bool is_eal, const char *text,
                              struct events_place place)
{
    if (is_eal) {
        eal_words_read(&seen->eal, text);
        seen->eal_place = place;
    } else {
        (void)snprintf(seen->port, sizeof seen->port, "%s",
                       text); /* no longer than that: its key says so */
    }
}

static void rule_memory(struct events *in, const struct config_cluster_seen *seen)
{
    const struct dpdk_size size = {
        .device = seen->port, .lcore_count = seen->lcore_count, .mtu = (uint32_t)seen->mtu};
    uint32_t least = eal_words_missing(&seen->eal, &size);
    if (least == 0 || seen->port[0] == '\0')
        return;
    events_fault(in, seen->eal_place,
                 "%" PRIu32 " MiB for a port of %" PRIu32 " lcores with an mtu of %" PRIu64
                 "B in eal; expected -m %" PRIu32 " or more, or nothing of memory",
                 seen->eal.memory_mib, size.lcore_count, seen->mtu, least);
}

static void rule_transport(struct events *in, const struct config_cluster_seen *seen)
{
    if (!seen->is_dpdk)
        return;
    if (!seen->has_dpdk)
        events_fault(in, seen->transport_place,
                     "no section 'dpdk' in cluster for transport dpdk; expected it, with a port");
    if (seen->mtu != 0 && seen->frame_bytes + IPV4_UDP_BYTES > seen->mtu)
        events_fault(in, seen->mtu_place,
                     "an mtu that carries no frame of %" PRIu64 "B and its headers of %uB; "
                     "expected a larger one, or a smaller frame",
                     seen->frame_bytes, IPV4_UDP_BYTES);
    rule_memory(in, seen);
    for (uint32_t i = 0; i < seen->count; i++)
        if (seen->nodes[i].has_address && seen->nodes[i].address.ss_family != AF_INET)
            events_fault(in, seen->nodes[i].address_place,
                         "no IPv4 address for transport dpdk; expected one");
}

void config_cluster_rules(struct events *in, const struct config_cluster_seen *seen)
{
    if (seen->place.line == 0)
        return;
    rule_own_id(in, seen);
    rule_transport(in, seen);
    for (uint32_t i = 0; i < seen->count; i++) {
        rule_id(in, seen, i);
        rule_address(in, seen, i);
    }
}
