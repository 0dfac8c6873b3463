/* replicate_net_raw - the floors of the replicate bench over sockets: one datagram with a write to each of
 * two echoing processes over plain UDP, done when the first answer is there.
 *
 *   exchange    the client sends itself
 *   plus idle   a third process sends, which the client wakes by a futex and which wakes the client: what a
 *               replicated store that sleeps must spend, if what it does in between cost nothing */
#ifndef DUNLIN_BENCH_REPLICATE_NET_RAW_H
#define DUNLIN_BENCH_REPLICATE_NET_RAW_H

#include "bench/replicate_net_side.h"

#include <netinet/in.h>

#define NET_ECHOES 2u

struct net_raw {
    bool has_front;
    int fd; /* of who sends */
    int echo_fds[NET_ECHOES];
    struct sockaddr_in echoes[NET_ECHOES];
    uint64_t sequence;
    struct net_front *shared;
    pid_t pids[NET_SERVERS]; /* the process in front or nobody, the echoes */
};

/* Returns 0 or -errno; net_raw_close is due in any case. */
MUST_USE int net_raw_open(struct net_raw *r, const struct net_cpus *cpus, bool has_front);
void net_raw_close(struct net_raw *r);

/* Of batches of one write alone. */
int net_raw_write(void *client, const struct net_write *writes, uint32_t count);

#endif
