/* failover_writer - a thread that writes one value after the other, to a key of each shard in turn, at a node that
 * it is told, and takes the time from a kill until it is served again.
 *
 * Time counts from the kill to the end of a write that began after it: what was on its way at the kill may have
 * been answered already, and is no service.
 *
 * Threads: the functions are the main thread's.  Memory order: between kills everything is behind one mutex. */
#ifndef DUNLIN_BENCH_FAILOVER_WRITER_H
#define DUNLIN_BENCH_FAILOVER_WRITER_H

#include "bench/failover_cluster.h"

#include <pthread.h>

struct failover_served {
    uint64_t
        first_ns; /* first write that began after the kill, from the kill to its end; 0: none yet */
    uint64_t all_ns;     /* likewise of every shard, the last one; 0: not yet */
    uint64_t longest_ns; /* write that ended since the kill, the one on its way at it among them */
    uint64_t writes, failed, unknown;
};

struct failover_writer {
    pthread_t thread;
    pthread_mutex_t mutex; /* of what follows, down to the next empty line */
    uint32_t node;         /* where it writes */
    uint64_t killed_ns;    /* 0: nobody was */
    uint32_t served_mask;
    struct failover_served served;
    bool is_ending;

    struct dunlin *handles[NET_SERVERS];
    struct dunlin_space *spaces[NET_SERVERS];
    char keys[FAILOVER_SHARDS][16]; /* one in each shard */
};

/* Attached to every node, and writing at the first.  Returns 0, or -errno after a word on stderr and with nothing
 * left behind. */
MUST_USE int failover_writer_open(struct failover_writer *w, const struct failover_cluster *c);
void failover_writer_close(struct failover_writer *w);

/* Write at that node from now on.  Returns when no write elsewhere is on its way. */
void failover_writer_go(struct failover_writer *w, uint32_t node);

/* A node is about to be killed: counting begins anew. */
void failover_writer_killed(struct failover_writer *w);

/* What it has counted since. */
void failover_writer_served(struct failover_writer *w, struct failover_served *served);

#endif
