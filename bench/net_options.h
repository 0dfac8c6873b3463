/* net_options - what the benches of the network take beside what all benches take: over what, on which ports and
 * processors. */
#ifndef DUNLIN_BENCH_NET_OPTIONS_H
#define DUNLIN_BENCH_NET_OPTIONS_H

#include "bench/replicate_net_side.h"

#define NET_PORTS_MAX NET_SERVERS

enum net_transport { NET_UNSAID = 0, NET_MEM = 1, NET_UDP = 2, NET_DPDK = 4, NET_RDMA = 8 };

struct net_options {
    enum net_transport transport;
    const char *ports[NET_PORTS_MAX]; /* devargs, of argv; of the processes in order */
    uint32_t port_count;              /* 0: the bench makes cables of its own */
    struct net_cpus cpus;             /* count 0: not said */
    const char *device;               /* of RDMA, of argv; NULL: the bench takes one */
};

/* Take --transport NAME, --port DEVARGS, --device NAME and --cpus LIST out of the arguments, of which *count are left.
 * Returns 0, or -EINVAL after a word on stderr: exit with BENCH_USAGE. */
MUST_USE int net_options_take(int *count, char **arguments, struct net_options *options);

/* Whether a bench can do what they say: transports is a mask of those that it has, port_count how many processes have a
 * port.  Where it makes cables of its own, that is the privilege for it, too.  Returns as net_options_take. */
MUST_USE int net_options_judge(const struct net_options *options, uint32_t transports,
                               uint32_t port_count);

#endif
