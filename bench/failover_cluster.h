/* failover_cluster - three daemons of this build as a cluster with a control log, on loopback, which are killed
 * and started again.
 *
 * All is in the bench's directory: configurations, a certificate authority of the cluster's own, the control
 * logs.  One space.  The bench's main thread. */
#ifndef DUNLIN_BENCH_FAILOVER_CLUSTER_H
#define DUNLIN_BENCH_FAILOVER_CLUSTER_H

#include "bench/daemon.h"
#include "bench/replicate_net_side.h"
#include "engine/agent/dunlin.h"

#define FAILOVER_SHARDS 8u /* of the failover bench */
#define FAILOVER_SPACE "failover"
#define FAILOVER_LEASE_MS 50u

struct failover_cluster {
    struct daemon daemons[NET_SERVERS];
    struct dunlin *handles[NET_SERVERS]; /* asked of the cluster, never of its data */
    char configs[NET_SERVERS][96];
    uint32_t daemon_count; /* that were started */
    uint32_t shard_count;
    char *text; /* room for what a node says */
};

/* Serving, with everything led; of so many shards.  Returns 0, or -errno after a word on stderr; failover_cluster_close is due in
 * any case. */
MUST_USE int failover_cluster_open(struct failover_cluster *c, uint32_t shard_count);
void failover_cluster_close(struct failover_cluster *c);

/* Wait until all nodes are up, hold all that is committed but for what has just been written, and nothing moves.
 * leader: position of the control leader.  Returns 0, or -errno after a word on stderr. */
MUST_USE int failover_cluster_await(struct failover_cluster *c, uint32_t *leader);

/* Have the node at a position lead every shard, and wait for it.  Likewise. */
MUST_USE int failover_cluster_lead(struct failover_cluster *c, uint32_t position);

/* SIGKILL, and gone; and the same daemon again, on what is on its disk.  Likewise. */
void failover_cluster_kill(struct failover_cluster *c, uint32_t position);
MUST_USE int failover_cluster_start(struct failover_cluster *c, uint32_t position);

#endif
