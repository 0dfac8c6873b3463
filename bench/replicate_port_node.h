/* replicate_port_node - the nodes of the replicate bench over ports of DPDK: three daemons whose lcores exchange plain
 * packets on their own port instead, for as long as they are told to.
 *
 * So both sides have the same processes, processors, ports and namespaces, and idle in the same way.  A node is the
 * program dunlin-bench-node: dunlind, linked with replicate_port_plain.c, which puts a function of its own in front of
 * its endpoint's receive (transport.h).  After the nodes were told to, that one does not return before they are told
 * otherwise, and does the plain side meanwhile, on the lcore's thread.  That takes less than a leader's lease, so the
 * cluster is there afterwards as it was before.
 *
 * The plain side: the client asks the first node, by a word, for an exchange; its lcore sends so many bytes to both
 * others, in turn and in shares of what a leader feeds a peer in a pass (group.h), with a yield behind each as
 * poll_idle has it; each of them answers when it has all; the first answer ends it, and wakes the client.  No node is
 * sent more than REPLICATE_PORT_LAG packets that it has not answered, so that none overflows.
 *
 * Ports of net_memif are joined by a switch, a process more, which idles like them and whose CPU is nobody's.
 *
 * Idling: as poll_idle in dataplane/poll_doorbell.c on a port that wakes nobody, a yield after each look in vain, and
 * naps of the shortest kind when 20 us of looks found nothing.  Where a port has interrupts, a node sleeps on them and
 * the plain side naps all the same. */
#ifndef DUNLIN_BENCH_REPLICATE_PORT_NODE_H
#define DUNLIN_BENCH_REPLICATE_PORT_NODE_H

#include "bench/daemon.h"
#include "bench/port_raw.h"
#include "bench/replicate_net_side.h"

#define REPLICATE_PORT_VARIABLE "DUNLIN_BENCH_NODE" /* of the environment: "FD:NUMBER" */
#define REPLICATE_PORT_LAG 192u
#define REPLICATE_PORT_BYTES_MAX (UINT32_C(1) << 18) /* of an exchange */

/* Between all processes of the bench, mapped shared. */
struct replicate_port_shared {
    alignas(CACHE_LINE) _Atomic uint32_t plain;           /* nodes are to be so, or not */
    alignas(CACHE_LINE) _Atomic uint32_t is[NET_SERVERS]; /* this one is */
    alignas(CACHE_LINE) _Atomic uint32_t asked;
    alignas(CACHE_LINE) _Atomic uint32_t answered;
    int status;
    uint32_t bytes;                                /* of an exchange */
    _Atomic uint32_t left[NET_SERVERS];            /* into a namespace of its own, 1; or -errno */
    _Atomic uint32_t go;                           /* cables lie */
    _Atomic uint32_t joined;                       /* by the switch, 1; or -errno */
    struct port_raw_station stations[NET_SERVERS]; /* since its port is open */
};

struct replicate_port_node {
    uint32_t number; /* from 0; the first one leads */
    const char *config_path, *log_path;
    bool has_cable; /* it makes a namespace, and waits for go */
    struct replicate_port_shared *shared;
    int shared_fd; /* of it; the child inherits it */
};

/* A node, on the nth usable cpu; n outlives it.  Returns its pid or -errno. */
MUST_USE pid_t replicate_port_node_start(struct replicate_port_node *n, uint32_t cpu);

/* A process that joins ports of net_memif (port_switch.h), on the nth usable cpu; nodes are clients of that file, by their
 * number from 1.  Tells by joined; ended by a signal.  Returns its pid or -errno. */
MUST_USE pid_t replicate_port_switch_start(struct replicate_port_shared *shared, const char *file,
                                           uint32_t cpu);

/* Addresses: of ports, and of the interfaces of kernels beside them. */
#define REPLICATE_PORT_ADDRESS "10.77.250.%u"
#define REPLICATE_PORT_CONTROL "10.77.251.%u"
#define REPLICATE_PORT_UDP 7700u

#endif
