#include "control/doctor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Of a packet of RDMA over Ethernet, as the kernel reckons them: GRH, UDP, BTH, XRC, AtomicETH, ICRC. */
#define HEADERS 96u
#define PAYLOAD_MAX 4096u
#define PAYLOAD_MIN 256u

static const char *config_path(const struct doctor_facts *facts)
{
    return facts->config_path != NULL ? facts->config_path : "dunlind.yaml";
}

/* A link that could have a device in software: that to the other nodes. */
static const char *link_proposed(const struct doctor_facts *facts)
{
    for (uint32_t i = 0; i < facts->link_count; i++)
        if (facts->links[i].leads_to_peers)
            return facts->links[i].name;
    return "LINK";
}

/* True: there is one to say more of. */
static bool device(const struct doctor_facts *facts, struct doctor_report *report)
{
    const struct doctor_rdma *r = &facts->rdma;
    struct doctor_finding *f = doctor_add(report, "rdma_device", r->device,
                                          "without one that has its address the node reaches no "
                                          "other node");
    if (r->device[0] != '\0') {
        doctor_is(f, "port %" PRIu32 ", %s%s%s", r->port, r->ethernet ? "Ethernet" : "InfiniBand",
                  r->has_address ? ", has " : "", r->has_address ? r->address : "");
        return true;
    }
    if (r->device_count == 0) {
        doctor_is(f, "there is none: the driver of a card makes one (mlx5_ib, irdma, bnxt_re ...), "
                     "or software does");
        doctor_mend(f, DOCTOR_FAULT, "modprobe rdma_rxe && rdma link add rxe0 type rxe netdev %s",
                    link_proposed(facts));
    } else {
        doctor_is(f, "none of %" PRIu32 " has %s, which %s has for this node", r->device_count,
                  r->address, config_path(facts));
        doctor_mend(f, DOCTOR_FAULT, "ip address add %s/%u dev %s", r->address,
                    strchr(r->address, ':') != NULL ? 64u : 24u,
                    r->spare[0] != '\0' ? r->spare : "NETDEV");
    }
    return false;
}

static void modules(const struct doctor_rdma *r, struct doctor_report *report)
{
    struct doctor_finding *f = doctor_add(report, "rdma_modules", "",
                                          "a process uses a device by ib_uverbs, and makes "
                                          "connections by rdma_ucm");
    doctor_is(f, "%s",
              r->uverbs && r->manager ? "ib_uverbs and rdma_ucm are there"
              : r->manager            ? "/dev/infiniband/uverbs0 is missing"
              : r->uverbs             ? "/dev/infiniband/rdma_cm is missing"
                                      : "neither ib_uverbs nor rdma_ucm is there");
    if (!r->uverbs || !r->manager)
        doctor_mend(f, DOCTOR_FAULT,
                    "modprobe -a ib_uverbs rdma_ucm && printf 'ib_uverbs\\nrdma_ucm\\n' "
                    ">/etc/modules-load.d/dunlin.conf");
}

static void port(const struct doctor_rdma *r, struct doctor_report *report)
{
    struct doctor_finding *f = doctor_add(report, "rdma_port", r->device,
                                          "nothing reaches the other nodes while it is down");
    doctor_is(f, "%s%s", r->state[0] != '\0' ? r->state : "unknown",
              r->active || r->ethernet ? "" : "; the link needs a subnet manager somewhere");
    if (!r->active && r->ethernet)
        doctor_mend(f, DOCTOR_FAULT, "ip link set dev %s up",
                    r->link[0] != '\0' ? r->link : "NETDEV");
    else if (!r->active)
        doctor_mend(f, DOCTOR_FAULT, "systemctl start opensm");
}

/* Of Ethernet only. */
static void roce(const struct doctor_rdma *r, struct doctor_report *report)
{
    struct doctor_finding *f = doctor_add(report, "rdma_gid", r->device,
                                          "RoCE v2 is UDP, which routers and switches know what to "
                                          "do with; v1, of old cards, drivers "
                                          "and settings, is a protocol of its own on one link");
    bool told_v1 = r->mode[0] != '\0' && strcmp(r->mode, "RoCE v2") != 0;
    doctor_is(f, "%s for %s%s%s", r->v2 ? "RoCE v2" : "RoCE v1 alone", r->address,
              told_v1 ? ", but connections are made over " : "", told_v1 ? r->mode : "");
    if (!r->v2)
        doctor_mend(f, DOCTOR_WARNING,
                    "grep . /sys/class/infiniband/%s/ports/%" PRIu32 "/gid_attrs/types/*",
                    r->device, r->port);
    else if (told_v1)
        doctor_mend(f, DOCTOR_WARNING,
                    "echo 'RoCE v2' >/sys/kernel/config/rdma_cm/%s/ports/%" PRIu32
                    "/default_roce_mode",
                    r->device, r->port);
}

/* Longest payload of a packet: a power of two that goes with its headers into the Ethernet MTU; 0: none does. */
static uint32_t payload_of(uint32_t mtu)
{
    uint32_t payload = PAYLOAD_MAX;
    while (payload >= PAYLOAD_MIN && payload + HEADERS > mtu)
        payload /= 2;
    return payload >= PAYLOAD_MIN ? payload : 0;
}

static void mtu(const struct doctor_rdma *r, struct doctor_report *report)
{
    if (r->mtu == 0)
        return;
    uint32_t payload = payload_of(r->mtu);
    struct doctor_finding *f = doctor_add(
        report, "rdma_mtu", r->device,
        "a log goes in packets of that payload at most: short ones cost headers, and the cards' "
        "time for each; all nodes, and the switches between them, have to carry them");
    doctor_is(f, "packets carry %" PRIu32 ", of an MTU of %" PRIu32 " at %s", payload, r->mtu,
              r->link);
    if (payload != PAYLOAD_MAX)
        doctor_mend(f, payload == 0 ? DOCTOR_FAULT : DOCTOR_WARNING,
                    "ip link set dev %s mtu %" PRIu32, r->link, PAYLOAD_MAX + HEADERS);
}

void doctor_judge_rdma(const struct doctor_facts *facts, struct doctor_report *report)
{
    const struct doctor_rdma *r = &facts->rdma;
    if (!r->wanted)
        return;
    modules(r, report);
    if (!device(facts, report))
        return;
    port(r, report);
    if (r->ethernet && r->has_address)
        roce(r, report);
    mtu(r, report);
}
