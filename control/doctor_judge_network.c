#include "control/doctor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HEADERS_IPV4 28u /* of IP and UDP */
#define HEADERS_IPV6 48u

/* Drivers of the kernel beside which DPDK works on the same card (bifurcated). */
static bool driver_shares(const char *driver)
{
    return strcmp(driver, "mlx5_core") == 0 || strcmp(driver, "mlx4_core") == 0;
}

static bool driver_is_uio(const char *driver)
{
    return strcmp(driver, "uio_pci_generic") == 0 || strcmp(driver, "igb_uio") == 0;
}

static bool card_is_vfio(const struct doctor_card *c)
{
    return strcmp(c->driver, "vfio-pci") == 0;
}

/* DPDK can have it. */
static bool card_is_port(const struct doctor_card *c)
{
    return card_is_vfio(c) || driver_shares(c->driver) || driver_is_uio(c->driver);
}

static bool has_port(const struct doctor_facts *facts)
{
    for (uint32_t i = 0; i < facts->card_count; i++)
        if (card_is_port(&facts->cards[i]))
            return true;
    return false;
}

static const struct doctor_link *link_of(const struct doctor_facts *facts,
                                         const struct doctor_card *c)
{
    for (uint32_t i = 0; i < facts->link_count; i++)
        if (c->link[0] != '\0' && strcmp(facts->links[i].name, c->link) == 0)
            return &facts->links[i];
    return NULL;
}

/* ---- vfio ---- */

/* Why not one with the default route: whoever gives that away is cut off. */
static bool card_may_be_given(const struct doctor_facts *facts, const struct doctor_card *c)
{
    const struct doctor_link *l = link_of(facts, c);
    return !driver_shares(c->driver) && (l == NULL || !l->default_route);
}

/* The port is a card, or may be one: it is not said to be a virtual device, whose name is no PCI address. */
static bool port_is_card(const struct doctor_facts *facts)
{
    const char *device = facts->port.device;
    return facts->dpdk && (device == NULL || memchr(device, ':', strcspn(device, ",")) != NULL);
}

/* There are cards that only vfio can give to DPDK. */
static bool vfio_wanted(const struct doctor_facts *facts)
{
    bool wanted = false;
    for (uint32_t i = 0; port_is_card(facts) && i < facts->card_count; i++)
        wanted = wanted || card_may_be_given(facts, &facts->cards[i]);
    return wanted;
}

static void iommu(const struct doctor_facts *facts, struct doctor_report *report)
{
    struct doctor_finding *f = doctor_add(
        report, "iommu", "",
        "it keeps a card from reading and writing what is not its own, and vfio gives no "
        "card away without one; udp needs none");
    if (facts->iommu_groups != 0)
        doctor_is(f, "on, %" PRIu32 " groups", facts->iommu_groups);
    else
        doctor_is(f, "off, or there is none%s",
                  facts->vfio_unsafe ? "; vfio takes cards without it" : "");
    if (!vfio_wanted(facts) || facts->iommu_groups != 0)
        return;
    /* Why a fault no more: it works, and any card may overwrite any memory. */
    enum doctor_state state = facts->vfio_unsafe ? DOCTOR_WARNING : DOCTOR_FAULT;
    if (facts->processors.hypervisor)
        doctor_mend(f, state,
                    "give the guest one (qemu: -device intel-iommu), with intel_iommu=on on its "
                    "kernel's command line");
    else
        doctor_mend_kernel(
            f, state, facts->processors.amd ? "amd_iommu=on iommu=pt" : "intel_iommu=on iommu=pt");
}

static void vfio(const struct doctor_facts *facts, struct doctor_report *report)
{
    struct doctor_finding *f = doctor_add(
        report, "vfio", "", "DPDK has a card through the driver vfio-pci; udp needs none");
    doctor_is(f, facts->vfio ? "vfio-pci is loaded" : "vfio-pci is not loaded");
    if (vfio_wanted(facts) && !facts->vfio)
        doctor_mend(f, DOCTOR_FAULT,
                    "modprobe vfio-pci && echo vfio-pci >/etc/modules-load.d/dunlin.conf");
}

/* ---- cards ---- */

static void card_bind(struct doctor_finding *f, enum doctor_state state, const char *address)
{
    char device[80];
    (void)snprintf(device, sizeof device, "/sys/bus/pci/devices/%s", address);
    doctor_mend(f, state,
                "modprobe vfio-pci; echo vfio-pci >%s/driver_override; echo %s >%s/driver/unbind; "
                "echo %s >/sys/bus/pci/drivers_probe",
                device, address, device, address);
}

static void card_vfio(const struct doctor_facts *facts, const struct doctor_card *c,
                      struct doctor_finding *f)
{
    if (c->neighbour[0] != '\0') {
        doctor_is(f,
                  "%04x:%04x, driver vfio-pci, but %s in its IOMMU group %" PRId32
                  " belongs to another driver",
                  c->vendor, c->device, c->neighbour, c->group);
        card_bind(f, facts->dpdk ? DOCTOR_FAULT : DOCTOR_WARNING, c->neighbour);
        return;
    }
    if (c->group >= 0 && facts->iommu_groups != 0)
        doctor_is(f, "%04x:%04x, driver vfio-pci, IOMMU group %" PRId32, c->vendor, c->device,
                  c->group);
    else
        doctor_is(f, "%04x:%04x, driver vfio-pci, without an IOMMU", c->vendor, c->device);
}

static void card(const struct doctor_facts *facts, const struct doctor_card *c,
                 struct doctor_report *report)
{
    const struct doctor_link *l = link_of(facts, c);
    struct doctor_finding *f =
        doctor_add(report, "card", c->address,
                   "the kernel's driver serves udp; for DPDK a card is bound to vfio-pci, and the "
                   "kernel loses it");
    if (card_is_vfio(c)) {
        card_vfio(facts, c, f);
        return;
    }
    doctor_is(f, "%04x:%04x, driver %s%s%s%s", c->vendor, c->device,
              c->driver[0] != '\0' ? c->driver : "none", l != NULL ? ", link " : "",
              l != NULL ? l->name : "",
              l != NULL && l->default_route ? ", which has the default route" : "");
    if (driver_is_uio(c->driver) || c->driver[0] == '\0')
        card_bind(f, DOCTOR_WARNING, c->address);
    else if (port_is_card(facts) && !has_port(facts) && card_may_be_given(facts, c))
        card_bind(f, DOCTOR_WARNING, c->address);
}

/* Does this node use it: of DPDK all that it can have, else the way to the other nodes. */
static bool card_is_used(const struct doctor_facts *facts, const struct doctor_card *c)
{
    const struct doctor_link *l = link_of(facts, c);
    return facts->dpdk ? card_is_port(c) : l != NULL && l->leads_to_peers;
}

static void card_numa(const struct doctor_facts *facts, const struct doctor_card *c,
                      struct doctor_report *report)
{
    const struct doctor_processors *p = &facts->processors;
    char list[96], far[96];
    struct doctor_cpus away = {0};
    if (facts->config == NULL || facts->config->cpu_count == 0 || !card_is_used(facts, c) ||
        p->numa_count < 2 || c->numa < 0 || (uint32_t)c->numa >= p->numa_count)
        return;
    for (uint32_t i = 0; i < facts->config->cpu_count; i++)
        if (!doctor_cpus_has(&p->numa[c->numa], (uint32_t)facts->config->node.lcore_cpus[i]))
            doctor_cpus_add(&away, (uint32_t)facts->config->node.lcore_cpus[i]);
    struct doctor_finding *f = doctor_add(
        report, "numa", c->address,
        "each packet that a processor of another socket handles crosses between them twice");
    doctor_is(f, "NUMA node %" PRId32 ", as all lcores", c->numa);
    if (doctor_cpus_count(&away) == 0)
        return;
    doctor_cpus_print(&p->numa[c->numa], list, sizeof list);
    doctor_cpus_print(&away, far, sizeof far);
    doctor_is(f, "NUMA node %" PRId32 ", but lcores on processors %s are not", c->numa, far);
    doctor_mend(f, DOCTOR_WARNING, "in %s: lcores: {cpus: [...]} out of %s", facts->config_path,
                list);
}

void doctor_judge_cards(const struct doctor_facts *facts, struct doctor_report *report)
{
    iommu(facts, report);
    vfio(facts, report);
    for (uint32_t i = 0; i < facts->card_count; i++) {
        card(facts, &facts->cards[i], report);
        card_numa(facts, &facts->cards[i], report);
    }
}

/* ---- links ---- */

/* Longest packet that this node sends over link i; 0: none, as where the ports are DPDK's, or devices cut up. */
static uint32_t packet_bytes(const struct doctor_facts *facts, uint32_t link)
{
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < facts->path_count && !facts->dpdk && !facts->rdma.wanted; i++) {
        uint32_t headers = facts->paths[i].ipv6 ? HEADERS_IPV6 : HEADERS_IPV4;
        if (facts->paths[i].link == (int32_t)link &&
            facts->config->cluster.frame_bytes + headers > bytes)
            bytes = facts->config->cluster.frame_bytes + headers;
    }
    return bytes;
}

static void mtu(const struct doctor_facts *facts, uint32_t i, struct doctor_report *report)
{
    const struct doctor_link *l = &facts->links[i];
    uint32_t wanted = packet_bytes(facts, i);
    struct doctor_finding *f = doctor_add(
        report, "mtu", l->name,
        "a datagram that is longer than its way carries is lost, or goes in pieces of which "
        "one lost is all lost");
    if (wanted == 0)
        doctor_is(f, "%" PRIu32, l->mtu);
    else
        doctor_is(f, "%" PRIu32 ", packets to other nodes have up to %" PRIu32, l->mtu, wanted);
    if (l->mtu != 0 && wanted > l->mtu)
        doctor_mend(f, DOCTOR_FAULT, "ip link set dev %s mtu %" PRIu32, l->name, wanted);
}

static void link_state(const struct doctor_link *l, struct doctor_report *report)
{
    struct doctor_finding *f =
        doctor_add(report, "link", l->name, "nothing reaches the other nodes while it is down");
    doctor_is(f, l->up ? "up" : "down");
    if (!l->up)
        doctor_mend(f, DOCTOR_FAULT, "ip link set dev %s up", l->name);
}

static void offloads(const struct doctor_link *l, struct doctor_report *report)
{
    static const struct {
        uint32_t bit;
        const char *name, *option;
    } known[] = {{DOCTOR_RECEIVE_CHECKSUM, "checksums in", "rx"},
                 {DOCTOR_SEND_CHECKSUM, "checksums out", "tx"},
                 {DOCTOR_SEND_SEGMENTS, "segments out", "gso"},
                 {DOCTOR_RECEIVE_MERGED, "merged in", "gro"}};
    char missing[64] = "", options[32] = "";
    if (!l->offloads_known)
        return;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if ((l->offloads & known[i].bit) != 0)
            continue;
        size_t used = strlen(missing), options_used = strlen(options);
        (void)snprintf(missing + used, sizeof missing - used, "%s%s", used != 0 ? ", " : "",
                       known[i].name);
        (void)snprintf(options + options_used, sizeof options - options_used, " %s on",
                       known[i].option);
    }
    struct doctor_finding *f = doctor_add(
        report, "offloads", l->name,
        "what the card or the driver does not do, the polling thread's processor does for "
        "each packet");
    doctor_is(f, "%s%s", missing[0] != '\0' ? "off: " : "checksums, segments and merging are on",
              missing);
    if (missing[0] != '\0')
        doctor_mend(f, DOCTOR_WARNING, "ethtool -K %s%s", l->name, options);
}

static void route(const struct doctor_path *p, struct doctor_report *report)
{
    char node[DOCTOR_NAME_BYTES];
    if (p->link != -1)
        return;
    (void)snprintf(node, sizeof node, "node %" PRIu32, p->node);
    struct doctor_finding *f =
        doctor_add(report, "route", node, "this node can send nothing to that one");
    doctor_is(f, "no route to %s", p->address);
    doctor_mend(f, DOCTOR_FAULT, "ip route add %s/%u dev LINK", p->address, p->ipv6 ? 128u : 32u);
}

void doctor_judge_paths(const struct doctor_facts *facts, struct doctor_report *report)
{
    for (uint32_t i = 0; i < facts->path_count && !facts->dpdk; i++)
        route(&facts->paths[i], report);
    for (uint32_t i = 0; i < facts->link_count; i++) {
        if (facts->links[i].leads_to_peers && !facts->dpdk)
            link_state(&facts->links[i], report);
        mtu(facts, i, report);
        offloads(&facts->links[i], report);
    }
}
