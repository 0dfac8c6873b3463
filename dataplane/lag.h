/* lag - how far the other nodes are behind what an lcore leads, where control can read it: bytes of log that
 * the leader has appended and the peer has not acknowledged.
 *
 * Pure core.  lag_look is the lcore's; it looks at every shard, so it does that once per interval.  The
 * words of lag_shown are read by any thread; each is one number for people, nothing follows from their
 * order.
 *
 * Time: a peer is behind for at least as long as something is missing there that the leader had when it
 * looked.  One that keeps up is never missing what there was a look ago, however much is under way.
 *
 * Units: bytes of log; ticks of the node's clock. */
#ifndef DUNLIN_DATAPLANE_LAG_H
#define DUNLIN_DATAPLANE_LAG_H

#include "dataplane/group.h"

#define LAG_INTERVAL_NS (500 * NS_PER_MS)

/* Of one node, as of the last look. */
struct lag_shown {
    _Atomic uint64_t shards; /* led here that it has a part in; 0: the others say nothing */
    _Atomic uint64_t bytes_max, bytes_sum; /* over these */
    _Atomic uint64_t ticks_behind;         /* at least; 0: it has what there was a look ago */
};

struct lag {
    uint64_t interval, looked_at; /* looked_at 0: never */
    uint32_t shard_count;
    _Atomic uint32_t nodes[LIMIT_VOTERS]; /* ids; PAIR_NOBODY: none */
    struct lag_shown shown[LIMIT_VOTERS];
    uint64_t since[LIMIT_VOTERS]; /* when ends were noted */
    _Atomic uint64_t *missing;    /* bytes + 1, by node and replica of the group; 0: not led here */
    uint64_t ends[];              /* of logs led here, by node and replica of the group */
};

/* Of an lcore with at most so many shards, and LIMIT_VOTERS nodes: others come while it runs. */
static inline size_t lag_bytes(uint32_t shard_count)
{
    return sizeof(struct lag) + 2 * (size_t)LIMIT_VOTERS * shard_count * sizeof(uint64_t);
}

/* lag_bytes of the caller's memory, all 0.  nodes: up to LIMIT_VOTERS ids. */
void lag_init(struct lag *g, const uint32_t *nodes, uint32_t node_count, uint32_t shard_count);

/* The lcore's: a node comes, of which nothing is known yet, or goes. */
void lag_node_add(struct lag *g, uint32_t node);
void lag_node_remove(struct lag *g, uint32_t node);

/* Its group has other replicas, up to count of them before and after: what was noted is nobody's. */
void lag_again(struct lag *g, uint32_t count);

/* Once per interval; between, nothing.  interval is set by then. */
void lag_look(struct lag *g, const struct group *group, uint64_t now);

/* What a node lacks of one shard, by its number among those of the lcore.  False: it is not led here, the
 * node has no part in it, or nobody looked yet.  Any thread. */
bool lag_of_shard(const struct lag *g, uint32_t node, uint32_t shard, uint64_t *bytes);

/* What is shown of a node; NULL: it is none of these. */
const struct lag_shown *lag_of(const struct lag *g, uint32_t node);

#endif
