/* replicate_net_redis - baseline of the replicate bench over sockets: redis-server, a primary and two
 * replicas that hear from it over TCP on loopback, and their client on its Unix socket.
 *
 * As fair to Redis as we could make it: nothing is stored or logged, no latency tracking, one thread for
 * input and output, and a batch of the client is one write of all its SETs with one WAIT 1 behind them, so
 * one replica besides the primary has them when it is answered.  Nothing is sealed, and a failover may lose
 * what was answered, which strong spaces never do.
 * Source: redis.io, "Redis serialization protocol", WAIT. */
#ifndef DUNLIN_BENCH_REPLICATE_NET_REDIS_H
#define DUNLIN_BENCH_REPLICATE_NET_REDIS_H

#include "bench/replicate_net_side.h"

struct net_redis {
    char program[256];
    pid_t pids[NET_SERVERS];
    char paths[NET_SERVERS][96];
    int fd;
    char *request, *reply;
};

/* Returns 0, -ENOENT when there is no Redis on this machine, or another -errno after a word on stderr; net_redis_close
 * is due in any case. */
MUST_USE int net_redis_open(struct net_redis *r, const struct net_cpus *cpus);
void net_redis_close(struct net_redis *r);

/* Whether a reply says that count SETs were done and at least replicas (0 .. 9) have them, as text. */
MUST_USE bool net_redis_is_done(const char *reply, size_t length, uint32_t count,
                                uint32_t replicas);

int net_redis_write(void *client, const struct net_write *writes, uint32_t count);

#endif
