/* replicate_node - one of the nodes that replicate a space among themselves in the calling thread:
 * its memory, its shards, its replicas, and the messages on their way to it.
 *
 * What a poll loop does for its shards is done here for all of them, in its order (poll.c): deliver what
 * came, take requests, step each replica once, take the answers, housekeeping with cleaner and
 * reclamation.  Messages are encoded and
 * decoded as on a wire, but for the log bytes of an APPEND: those are read where they lie in the
 * sender's log, as inside one process they can be.  No leases: they cost a frame per pair of nodes
 * and heartbeat, whatever is written.  Everything that knows the replica core's interface is here.
 *
 * Units: ticks are those of the timestamp counter. */
#ifndef DUNLIN_BENCH_REPLICATE_NODE_H
#define DUNLIN_BENCH_REPLICATE_NODE_H

#include "dataplane/group.h"
#include "engine/memory.h"
#include "engine/space.h"

#define REPLICATE_NODES 3u

struct replicate_shape {
    uint32_t key_count;
    uint32_t shard_count;
    uint64_t quota_bytes; /* of each node */
    uint32_t sessions_max;
    double ticks_per_ns;
};

/* Messages to one node, in the order in which they were sent. */
struct replicate_queue {
    uint8_t *bytes;
    uint32_t used;
};

struct replicate_node {
    uint32_t number;
    struct space_config config;
    struct memory file;  /* header, boards, directory */
    struct memory arena; /* all chunks */
    struct memory shard_memory;
    struct shard *shards[LIMIT_SHARDS];
    struct replica *replicas; /* by shard */
    struct group group;       /* without pairs: which replicas a pass steps */
    uint32_t shard_count;
    struct layout_counters *counters;
    _Atomic uint32_t chunks_wanted;
    struct replicate_queue incoming;
    uint64_t now;         /* ticks, of this pass */
    uint64_t clock_ns;    /* since 1970, of this pass */
    struct shard **dirty; /* something to answer in this pass */
    uint32_t dirty_count;
    struct shard **active; /* housekeeping to do */
    uint32_t active_count;
    uint64_t answer_count;  /* writes answered so far; their answers are dropped */
    uint64_t refused_count; /* answers other than OK */
};

/* Memory and empty shards of a node.  Returns 0 or -errno, nothing being left behind. */
MUST_USE int replicate_node_open(struct replicate_node *n, uint32_t number,
                                 const struct replicate_shape *shape);
void replicate_node_close(struct replicate_node *n);

/* Make node 0 the leader of all shards of all nodes; nothing is in the queues afterwards.
 * Returns 0, or -EPROTO: they did not come to terms. */
MUST_USE int replicate_nodes_lead(struct replicate_node nodes[REPLICATE_NODES]);

/* One pass, in this order: read the clock; deliver all that came; (leader: take writes, their shards
 * being marked, with the clock of records;) step the replicas to which something happened; answers and
 * upkeep. */
void replicate_node_begin(struct replicate_node *n);
void replicate_node_deliver(struct replicate_node *n, struct replicate_node nodes[REPLICATE_NODES]);
void replicate_node_clock(struct replicate_node *n);
void replicate_node_decide(struct replicate_node *n, struct replicate_node nodes[REPLICATE_NODES]);
void replicate_node_finish(struct replicate_node *n);

static inline void replicate_node_mark(struct replicate_node *n, struct shard *s)
{
    if (!s->dirty) {
        s->dirty = true;
        n->dirty[n->dirty_count++] = s;
    }
}

#endif
