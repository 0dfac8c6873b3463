#include "control/doctor.h"
#include "control/eal_words.h"
#include "dataplane/dpdk_chain.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HEADERS 28u /* of IPv4 and UDP */

static const char *config_path(const struct doctor_facts *facts)
{
    return facts->config_path != NULL ? facts->config_path : "dunlind.yaml";
}

/* Of a device and its arguments. */
static const char *name_of(const struct doctor_port *p, char name[DOCTOR_NAME_BYTES])
{
    (void)snprintf(name, DOCTOR_NAME_BYTES, "%.*s", (int)strcspn(p->device, ","), p->device);
    return name;
}

static struct doctor_finding *add(const struct doctor_facts *facts, struct doctor_report *report,
                                  const char *name, const char *why)
{
    char subject[DOCTOR_NAME_BYTES];
    return doctor_add(report, name, name_of(&facts->port, subject), why);
}

/* True: there is more to say. */
static bool port(const struct doctor_facts *facts, struct doctor_report *report)
{
    const struct doctor_port *p = &facts->port;
    struct doctor_finding *f =
        add(facts, report, "port", "without it the node reaches no other node");
    if (p->user != 0) {
        doctor_is(f, "not looked at: process %" PRIu32 ", a dunlind, drives a port", p->user);
        doctor_mend(
            f, DOCTOR_WARNING,
            "dunlin nodes --json (its \"port\"), or, to look at it: systemctl stop dunlind");
    } else if (!p->opened) {
        doctor_is(f, "not opened (%s: %s); what DPDK says of it is on stderr", p->step, p->meaning);
        doctor_mend(
            f, DOCTOR_FAULT,
            "dpdk-devbind.py --status-dev net; then, in %s: cluster: {dpdk: {port: ..., eal: "
            "...}}, as root or a user who may use it",
            config_path(facts));
    } else {
        doctor_is(f, "opened, driver %s, packets in %s pages", p->driver,
                  p->huge_pages ? "huge" : "small");
    }
    return p->user == 0 && p->opened;
}

static void port_link(const struct doctor_facts *facts, struct doctor_report *report)
{
    const struct doctor_port *p = &facts->port;
    struct doctor_finding *f =
        add(facts, report, "port_link", "nothing reaches the other nodes while it is down");
    if (p->link_up && p->speed_mbps != 0)
        doctor_is(f, "up, %" PRIu32 " Mbit/s", p->speed_mbps);
    else
        doctor_is(f, p->link_up ? "up" : "down");
    if (!p->link_up)
        doctor_mend(f, DOCTOR_FAULT,
                    "plug in its cable, or bring up what it stands on: ip link set dev LINK up");
}

static void port_mtu(const struct doctor_facts *facts, struct doctor_report *report)
{
    const struct doctor_port *p = &facts->port;
    uint32_t wanted = facts->config != NULL ? facts->config->cluster.frame_bytes + HEADERS : p->mtu;
    struct doctor_finding *f =
        add(facts, report, "port_mtu", "the daemon does not start with frames that do not fit");
    doctor_is(f, "%" PRIu32 ", packets to other nodes have up to %" PRIu32, p->mtu, wanted);
    if (wanted > p->mtu)
        doctor_mend(f, DOCTOR_FAULT,
                    "in %s: cluster: {dpdk: {mtu: %" PRIu32 "B}}, or {frame: %" PRIu32
                    "B}; the same on every switch between",
                    config_path(facts), wanted, p->mtu - HEADERS);
}

static void port_numa(const struct doctor_facts *facts, struct doctor_report *report)
{
    const struct doctor_processors *p = &facts->processors;
    int32_t socket = facts->port.socket;
    char list[96], far[96];
    struct doctor_cpus away = {0};
    if (facts->config == NULL || facts->config->cpu_count == 0 || p->numa_count < 2 || socket < 0 ||
        (uint32_t)socket >= p->numa_count)
        return;
    for (uint32_t i = 0; i < facts->config->cpu_count; i++)
        if (!doctor_cpus_has(&p->numa[socket], (uint32_t)facts->config->node.lcore_cpus[i]))
            doctor_cpus_add(&away, (uint32_t)facts->config->node.lcore_cpus[i]);
    struct doctor_finding *f = add(facts, report, "port_numa",
                                   "each packet that a processor of another socket handles crosses "
                                   "between them twice");
    doctor_is(f, "NUMA node %" PRId32 ", as all lcores", socket);
    if (doctor_cpus_count(&away) == 0)
        return;
    doctor_cpus_print(&p->numa[socket], list, sizeof list);
    doctor_cpus_print(&away, far, sizeof far);
    doctor_is(f, "NUMA node %" PRId32 ", but lcores on processors %s are not", socket, far);
    doctor_mend(f, DOCTOR_WARNING, "in %s: lcores: {cpus: [...]} out of %s", config_path(facts),
                list);
}

static void port_queues(const struct doctor_facts *facts, struct doctor_report *report)
{
    const struct doctor_port *p = &facts->port;
    uint32_t lcores = facts->config != NULL ? facts->config->node.lcore_count : 1;
    struct doctor_finding *f = add(facts, report, "port_queues",
                                   "an lcore without a pair of queues of its own shares one, and "
                                   "packets are handed over between lcores");
    if (lcores == 1 || p->queues < lcores)
        doctor_is(f, "%" PRIu32 " pairs for %" PRIu32 " lcores", p->queues, lcores);
    else
        doctor_is(f, "%" PRIu32 " pairs for %" PRIu32 " lcores, %s", p->queues, lcores,
                  p->steered ? "each packet in that of its lcore"
                             : "and lcores hand over what comes in another's");
    if (p->queues < lcores)
        doctor_mend(f, DOCTOR_WARNING,
                    "in %s: lcores: {count: %" PRIu32
                    "}, or more queues in the port's arguments (af_packet: qpairs=%" PRIu32
                    ", af_xdp: queue_count=%" PRIu32 ")",
                    config_path(facts), p->queues, lcores, lcores);
}

static void port_offloads(const struct doctor_facts *facts, struct doctor_report *report)
{
    const struct doctor_port *p = &facts->port;
    struct doctor_finding *f =
        add(facts, report, "port_offloads",
            "checksums of headers are little work; UDP's is left out where the port writes none");
    doctor_is(f, "checksums out %s, in %s; packets of several pieces %s",
              p->sums_out ? "by the port" : "by the processor",
              p->sums_in ? "by the port" : "by the processor", p->multi_segs ? "yes" : "no");
}

static void port_chain(const struct doctor_facts *facts, struct doctor_report *report)
{
    const struct doctor_port *p = &facts->port;
    struct doctor_finding *f =
        add(facts, report, "port_chain",
            "a port that sends packets of two pieces sends bytes of the log "
            "from where they lie; else they are copied, as encrypted ones are");
    if (!p->multi_segs) {
        doctor_is(f, "it says that it does not: bytes are copied");
    } else if (!p->chain_known) {
        doctor_is(f, "it says that it does; there is no other node to prove it with");
    } else if (p->chain_state == DPDK_CHAIN_PROVEN) {
        doctor_is(f, "it does: a neighbour returned what was sent");
    } else {
        doctor_is(f, "self-test: %s; %" PRIu32 " neighbours are known", p->chain, p->neighbours);
        if (facts->config != NULL && !facts->config->cluster.encrypt)
            doctor_mend(
                f, DOCTOR_WARNING, "%s",
                p->chain_state == DPDK_CHAIN_UNPROVEN
                    ? "have another node, or its gateway, up and answer echo requests (ping)"
                    : "another driver or firmware; until then bytes are copied");
    }
}

static void port_interrupts(const struct doctor_facts *facts, struct doctor_report *report)
{
    struct doctor_finding *f =
        add(facts, report, "port_interrupts",
            "without them an lcore that sleeps finds what comes up to a millisecond late");
    bool spins = facts->config != NULL && facts->config->node.spin;
    doctor_is(f, "%s%s",
              facts->port.interrupts ? "its receive queues offer them; `interrupts_proven` of "
                                       "`dunlin status` tells if they came"
                                     : "none",
              spins ? "; lcores do not sleep" : "");
    if (!facts->port.interrupts && !spins)
        doctor_mend(f, DOCTOR_WARNING,
                    "in %s: lcores: {spin: true}, each on a processor of its own",
                    config_path(facts));
}

/* As they were taken, or as EAL takes them: huge ones where there is as much free of one size as it is asked for. */
static bool has_small_pages(const struct doctor_facts *facts, uint32_t mib)
{
    const struct doctor_memory *m = &facts->memory;
    if (facts->port.opened)
        return !facts->port.huge_pages;
    for (uint32_t i = 0; i < m->page_size_count && m->huge_mounted; i++)
        if (m->pages[i].free * m->pages[i].page_bytes >> 20 >= mib)
            return false;
    return true;
}

/* Why also of a port that was not opened: that may be why. */
static void port_memory(const struct doctor_facts *facts, struct doctor_report *report)
{
    const struct config *config = facts->config;
    struct eal_words words;
    if (config == NULL || facts->port.user != 0)
        return; /* what it would be asked for is not known, or it was asked for already */
    eal_words_read(&words, config->cluster.dpdk.eal);
    struct dpdk_size size = {.device = facts->port.device,
                             .lcore_count = config->node.lcore_count,
                             .mtu = config->cluster.dpdk.mtu};
    size.small_pages = words.no_huge || has_small_pages(facts, dpdk_size_mib(&size));
    uint32_t missing = eal_words_missing(&words, &size);
    struct doctor_finding *f =
        add(facts, report, "port_memory",
            "an lcore has a pool of packets and its queues; with less the port does not open");
    doctor_is(f, "%" PRIu32 " MiB of %s pages for %" PRIu32 " lcores with an mtu of %" PRIu32,
              dpdk_size_least_mib(&size), size.small_pages ? "small" : "huge", size.lcore_count,
              size.mtu);
    if (missing == 0)
        return;
    doctor_is(f, "%" PRIu32 " MiB, but %" PRIu32 " lcores with an mtu of %" PRIu32 " take %" PRIu32,
              words.memory_mib, size.lcore_count, size.mtu, missing);
    doctor_mend(f, DOCTOR_FAULT,
                "in %s: cluster: {dpdk: {eal: \"... -m %" PRIu32
                "\"}}, or no -m and no --socket-mem at all",
                config_path(facts), dpdk_size_mib(&size));
}

void doctor_judge_port(const struct doctor_facts *facts, struct doctor_report *report)
{
    if (!facts->port.asked)
        return;
    bool opened = port(facts, report);
    port_memory(facts, report);
    if (!opened)
        return;
    port_link(facts, report);
    port_mtu(facts, report);
    port_numa(facts, report);
    port_queues(facts, report);
    port_offloads(facts, report);
    port_chain(facts, report);
    port_interrupts(facts, report);
}
