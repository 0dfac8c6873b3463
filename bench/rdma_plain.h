/* rdma_plain - the floor of the replicate bench over an RDMA device, by as many processes as there are with us, which idle
 * as ours do: a client that sleeps, a process in front, and two that answer.  A write goes to both of these by one RDMA
 * write each, and is done when the first one's answer is there.
 *
 * Each process polls its connections' completion queues; what nothing comes to for a while yields, and then sleeps until
 * the next completion.  Connections are those of dataplane/rdma_port, nothing else is: no frames, no tags, no log.
 *
 * Source: DESIGN section 10, "raw exchange with two echo peers, waiting for the first answer, plus one idle client". */
#ifndef DUNLIN_BENCH_RDMA_PLAIN_H
#define DUNLIN_BENCH_RDMA_PLAIN_H

#include "bench/rdma_device.h"
#include "bench/replicate_net_side.h"

/* Between the client and the other processes. */
struct rdma_plain_shared {
    struct net_front front;
    _Atomic uint32_t ready[NET_SERVERS]; /* 1: its connections are there; 2: it failed */
};

struct rdma_plain {
    struct rdma_device device;
    uint16_t ports[NET_SERVERS];
    uint32_t bytes; /* of a write, as the device carries it */
    struct rdma_plain_shared *shared;
    pid_t pids[NET_SERVERS]; /* the one in front first */
};

/* Returns when all are connected: 0, or -errno after a word on stderr; rdma_plain_close is due in any case. */
MUST_USE int rdma_plain_open(struct rdma_plain *p, const struct rdma_device *device,
                             const struct net_cpus *cpus, uint32_t bytes);
void rdma_plain_close(struct rdma_plain *p);

/* net_write_batch, of batches of one write alone. */
int rdma_plain_write(void *client, const struct net_write *writes, uint32_t count);

#endif
