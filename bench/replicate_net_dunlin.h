/* replicate_net_dunlin - what the replicate bench over sockets is about: three daemons of this build as a
 * cluster on loopback, everything between them sealed, datagrams as long as that path and the configuration
 * allow, and agents of libdunlin, one attached to the node that leads and one to a node whose operations are
 * forwarded.
 *
 * Batches up to what a session may have in flight go to a space of one shard, so that dunlin has one log as
 * its baselines have; larger ones to a space of as many shards as a space has by default, as does everything
 * of the third agent, at the leader's node. */
#ifndef DUNLIN_BENCH_REPLICATE_NET_DUNLIN_H
#define DUNLIN_BENCH_REPLICATE_NET_DUNLIN_H

#include "bench/daemon.h"
#include "bench/replicate_net_side.h"

#include <stdio.h>

struct dunlin_space;

struct net_dunlin_client {
    struct dunlin *handle;
    struct dunlin_space *narrow, *wide;
    bool always_wide;
    const void *large; /* value of every write of a batch instead of its own; NULL: its own */
    uint32_t large_bytes;
};

struct net_dunlin {
    struct daemon daemons[NET_SERVERS];
    uint32_t daemon_count; /* that were started */
    struct net_dunlin_client at_leader, at_follower, at_leader_wide;
};

/* The first node leads everything when it returns 0; else -errno after a word on stderr.  net_dunlin_close is
 * due in any case. */
MUST_USE int net_dunlin_open(struct net_dunlin *d, const struct net_cpus *cpus);
void net_dunlin_close(struct net_dunlin *d);

/* Whether the nodes with agents answer every key with the same, asked by linearizable reads in place.  Returns 0, or
 * -errno after a word on stderr. */
MUST_USE int net_dunlin_verify(const struct net_dunlin *d, uint32_t key_count);

/* For clusters that are made otherwise (replicate_port.h, rdma_replicate.h): the section of spaces; that all NET_SERVERS
 * daemons serve and node LEADER leads everything, with an agent there, which the caller closes in any case.  Returns 0
 * or -errno. */
#define NET_DUNLIN_LEADER 1u /* id */
void net_dunlin_spaces_print(FILE *file);
MUST_USE int net_dunlin_settle(struct net_dunlin_client *at_leader, const struct daemon *daemons);

/* client is a struct net_dunlin_client. */
int net_dunlin_write(void *client, const struct net_write *writes, uint32_t count);

#endif
