/* replicate_net_raft - baseline of the replicate bench over sockets: three servers of libraft, a process
 * each, over UDP, and their client.
 *
 * As fair to libraft as we could make it.  A server has one socket, so that one blocking call waits for
 * peers and clients alike, and takes what has come since in the same call; what it has to send leaves in
 * one call, too, and a message for both followers is encoded once.  A batch of the client is one raft_apply,
 * hence one AppendEntries.  The client hands its writes over in memory that it shares with the leader,
 * rings by a datagram of one byte, and is woken by a futex.  Nothing is stored, sealed or summed, snapshots
 * cost their bookkeeping alone, writes carry no session and are not applied exactly once, the state machine
 * is the plain table of raft_table.h, which nobody reads meanwhile.
 * Source: Ongaro (2014); libraft 0.15, raft.h. */
#ifndef DUNLIN_BENCH_REPLICATE_NET_RAFT_H
#define DUNLIN_BENCH_REPLICATE_NET_RAFT_H

#include "bench/raft_table.h"
#include "bench/replicate_net_side.h"

#define NET_RAFT_DATAGRAM_BYTES 64960u /* a multiple of a line, and what loopback carries whole */

/* Between the client and the leader.  One batch at a time: the client fills it in and rings, the leader
 * sets status and then answered. */
struct net_raft_shared {
    _Atomic uint32_t leading;  /* 1: the first server was elected */
    _Atomic uint32_t answered; /* batches */
    int status;
    uint32_t count;
    struct raft_command commands[NET_BATCH_MAX];
};

struct net_raft_server {
    uint32_t number; /* 0 is to lead */
    int fd;
    const uint16_t *ports; /* NET_SERVERS, in network order */
    struct net_raft_shared *shared;
    struct raft_table *table;
};

/* What such a process does: net_fork's task, context a struct net_raft_server.  Returns if libraft fails,
 * after a word on stderr. */
void net_raft_serve(void *context);

struct net_raft {
    struct net_raft_shared *shared;
    struct raft_table tables[NET_SERVERS]; /* in shared memory */
    struct net_raft_server servers[NET_SERVERS];
    uint16_t ports[NET_SERVERS];
    pid_t pids[NET_SERVERS];
    int fd; /* the client's */
};

/* Servers, the first of them elected.  Returns 0 or -errno, and net_raft_close is due in any case. */
MUST_USE int net_raft_open(struct net_raft *r, const struct net_cpus *cpus, uint32_t key_count);
void net_raft_close(struct net_raft *r);

int net_raft_write(void *client, const struct net_write *writes, uint32_t count);

/* Whether all servers hold the same, a heartbeat after the last write. */
bool net_raft_agrees(const struct net_raft *r, uint32_t key_count);

#endif
