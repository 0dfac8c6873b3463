/* doctor - is this machine set up as a polling data plane wants it: what is found, why it matters, and the
 * command that mends it.  It changes nothing, and opens nothing but a port of DPDK that nobody has, for a moment.
 *
 * Two halves.  doctor_facts reads /proc and /sys (an edge; the command's thread, and nothing else may run
 * meanwhile that cares for the time it takes, some milliseconds).  doctor_judge is pure: facts in, findings out.
 * What the files say is not trusted: it may be missing, cut short, or anybody's bytes; what has no sense is as if
 * it were not there.
 * Sizes are in bytes.  "link" is a network interface of the kernel, "card" an Ethernet device on the PCI bus. */
#ifndef DUNLIN_CONTROL_DOCTOR_H
#define DUNLIN_CONTROL_DOCTOR_H

#include "control/config.h"
#include "control/doctor_cpus.h"

#include <netinet/in.h>

#define DOCTOR_NAME_BYTES 24u
#define DOCTOR_CARDS_MAX 32u
#define DOCTOR_LINKS_MAX 32u
#define DOCTOR_NUMA_MAX 16u
#define DOCTOR_PAGE_SIZES_MAX 4u
#define DOCTOR_UNLIMITED UINT64_MAX

struct doctor_pages {
    uint64_t page_bytes, total, free;
};

struct doctor_memory {
    uint64_t bytes; /* 0: unknown */
    uint64_t swap_bytes;
    uint64_t memlock_bytes; /* of this process, thus of what the same shell starts */
    uint32_t page_size_count;
    struct doctor_pages pages[DOCTOR_PAGE_SIZES_MAX]; /* huge ones */
    bool huge_mounted;
    char huge[DOCTOR_NAME_BYTES],
        shared[DOCTOR_NAME_BYTES]; /* transparent ones: the word chosen; "": none */
};

struct doctor_processors {
    struct doctor_cpus online, isolated, tickless,
        callbacks_off;                /* isolcpus, nohz_full, rcu_nocbs */
    struct doctor_cpus slowed;        /* whose governor is another than performance */
    char governor[DOCTOR_NAME_BYTES]; /* of one of those */
    bool scaled;                      /* the kernel has governors here */
    uint32_t numa_count;
    struct doctor_cpus numa[DOCTOR_NUMA_MAX];
    struct doctor_cpus siblings[LIMIT_LCORES]; /* of the processor of each lcore */
    bool amd, hypervisor, tsc_constant, tsc_nonstop, tsc_available;
    char clocksource[DOCTOR_NAME_BYTES];
};

struct doctor_card {
    char address[DOCTOR_NAME_BYTES]; /* 0000:00:03.0 */
    char driver[DOCTOR_NAME_BYTES];  /* "": none */
    char link[DOCTOR_NAME_BYTES];    /* "": the kernel has none */
    uint32_t vendor, device;
    int32_t numa, group; /* -1: none; group: of the IOMMU */
    /* Another device of that group which neither vfio has nor is a bridge; "": none. */
    char neighbour[DOCTOR_NAME_BYTES];
};

/* What a link, or a port of DPDK that fills the same bits, does for its packets. */
enum doctor_offload {
    DOCTOR_RECEIVE_CHECKSUM = 1u << 0,
    DOCTOR_SEND_CHECKSUM = 1u << 1,
    DOCTOR_SEND_SEGMENTS = 1u << 2, /* one long packet in, many out */
    DOCTOR_RECEIVE_MERGED = 1u << 3,
    DOCTOR_ALL_OFFLOADS = 15u,
};

struct doctor_link {
    char name[DOCTOR_NAME_BYTES];
    uint32_t mtu; /* 0: unknown */
    bool up, default_route, offloads_known;
    bool leads_to_peers;
    uint32_t offloads; /* enum doctor_offload */
};

/* From this node to another of its cluster. */
struct doctor_path {
    uint32_t node;
    char address[INET6_ADDRSTRLEN];
    bool ipv6;
    int32_t link; /* of links; -1: no route, -2: a link that is not among them */
};

struct doctor_service {
    bool installed;
    bool watchdog; /* it has one */
    bool memlock_said;
    uint64_t memlock_bytes; /* if so */
};

/* The port of DPDK, as dunlin-port (dunlin_port.c) told. */
struct doctor_port {
    const char *device; /* of the configuration or the command line; NULL: there is none */
    bool device_said;   /* on the command line */
    bool asked;
    uint32_t user; /* a process that may have it, so that it was left alone; 0: none */
    bool opened;
    char step[DOCTOR_NAME_BYTES], meaning[64]; /* of what it was not opened by */
    char driver[DOCTOR_NAME_BYTES];
    uint32_t mtu, queues, speed_mbps; /* 0: unknown */
    int32_t socket;                   /* NUMA; -1: any */
    bool huge_pages;                  /* its packets lie in such */
    bool multi_segs, sums_out, sums_in, steered, interrupts, link_up;
    bool chain_known;     /* it was tried */
    uint32_t chain_state; /* enum dpdk_chain_state */
    char chain[64];       /* in words */
    uint32_t neighbours;  /* other nodes, or gateways, that answered for it */
};

/* The device of verbs that has this node's address, or any if that is not known; of the first name if there are more. */
struct doctor_rdma {
    bool wanted;          /* the transport is rdma, or is to be */
    bool uverbs, manager; /* what programs open: /dev/infiniband/uverbs*, and rdma_cm */
    uint32_t device_count;
    char address[INET6_ADDRSTRLEN]; /* of this node; "": not known */
    char device[DOCTOR_NAME_BYTES]; /* "": none */
    uint32_t port;                  /* of the device, from 1 on */
    bool ethernet;                  /* else InfiniBand */
    bool has_address, v2;           /* it was seen to have it; as one of RoCE v2 */
    bool active;
    char state[DOCTOR_NAME_BYTES]; /* "ACTIVE", "DOWN" */
    char link[DOCTOR_NAME_BYTES];  /* of the kernel, that it is beside; "": not known */
    uint32_t mtu;                  /* of that; 0: not known */
    char spare[DOCTOR_NAME_BYTES]; /* one beside a device that has not the address */
    char mode[DOCTOR_NAME_BYTES];  /* that connections are made with; "": nothing was said */
};

struct doctor_facts {
    const char *config_path; /* NULL: none was given, and config counts for nothing */
    const struct config *config;
    bool dpdk; /* the transport is dpdk, or is to be */
    struct doctor_memory memory;
    struct doctor_processors processors;
    uint32_t iommu_groups;
    bool vfio, vfio_unsafe; /* the driver is there; it takes cards without an IOMMU */
    uint32_t card_count, link_count, path_count;
    struct doctor_card cards[DOCTOR_CARDS_MAX]; /* by address */
    struct doctor_link links[DOCTOR_LINKS_MAX];
    struct doctor_path paths[LIMIT_VOTERS];
    struct doctor_service service;
    struct doctor_rdma rdma;
    struct doctor_port port;
};

/* Where the facts are. */
struct doctor_source {
    const char *root; /* "" or a directory that stands for / */
    /* The bits of enum doctor_offload that a link has; false: unknown. */
    bool (*offloads)(const char *link, uint32_t *offloads);
};

/* Fills all of facts but config_path, config, dpdk, port and rdma.wanted, which the caller set before. */
void doctor_facts_read(struct doctor_facts *facts, const struct doctor_source *source);
/* The parts of it that have to do with the network. */
void doctor_network_read(struct doctor_facts *facts, const struct doctor_source *source);
void doctor_rdma_read(struct doctor_facts *facts, const char *root);
/* The port, whose device is set: some seconds.  It is opened unless a dunlind that runs drives one. */
void doctor_port_read(struct doctor_facts *facts, const char *root);
/* What that program said, which may be nothing. */
void doctor_port_parse(struct doctor_port *port, const char *text);
/* offloads of this machine's kernel, by ethtool's ioctl. */
bool doctor_offloads(const char *link, uint32_t *offloads);

enum doctor_state { DOCTOR_OK, DOCTOR_WARNING, DOCTOR_FAULT };

/* One thing that was looked at. */
struct doctor_finding {
    enum doctor_state state;
    const char *name;                /* of the check; stable, scripts read it */
    char subject[DOCTOR_NAME_BYTES]; /* a card, a link, a node; "": the machine */
    char is[192];
    const char *why;
    char mend[448]; /* never "" unless state is DOCTOR_OK */
};

/* Two of a card, three of a link, one of a path, those of the port, of the device of verbs and of the machine. */
#define DOCTOR_FINDINGS_MAX                                                                        \
    (2 * DOCTOR_CARDS_MAX + 3 * DOCTOR_LINKS_MAX + LIMIT_VOTERS + 9 + 5 + 16)

struct doctor_report {
    uint32_t count;
    struct doctor_finding list[DOCTOR_FINDINGS_MAX];
};

void doctor_judge(const struct doctor_facts *facts, struct doctor_report *report);
/* Its parts. */
void doctor_judge_processors(const struct doctor_facts *facts, struct doctor_report *report);
void doctor_judge_cards(const struct doctor_facts *facts, struct doctor_report *report);
void doctor_judge_paths(const struct doctor_facts *facts, struct doctor_report *report);
void doctor_judge_port(const struct doctor_facts *facts, struct doctor_report *report);
void doctor_judge_rdma(const struct doctor_facts *facts, struct doctor_report *report);

/* For those: a finding whose is and mend are yet empty. */
struct doctor_finding *doctor_add(struct doctor_report *report, const char *name,
                                  const char *subject, const char *why);
__attribute__((format(printf, 2, 3))) void doctor_is(struct doctor_finding *finding,
                                                     const char *format, ...);
/* It is not as it should be, and this mends it. */
__attribute__((format(printf, 3, 4))) void
doctor_mend(struct doctor_finding *finding, enum doctor_state state, const char *format, ...);
/* The same by words for the kernel's command line, from the next boot on. */
void doctor_mend_kernel(struct doctor_finding *finding, enum doctor_state state, const char *words);

/* "512 B", "1.5 GiB". */
#define DOCTOR_SIZE_BYTES 16u
const char *doctor_size(uint64_t bytes, char text[DOCTOR_SIZE_BYTES]);

#endif
