/* poll_cut_off - what a node answers to strong operations while it is on the minority side of a partition: that they
 * are not available, at once, instead of keeping agents waiting.
 *
 * It is taken for cut off when its leader lease, which most control voters give, has been over for two lease times of
 * the data plane while the lcore ran, and only where the data plane proves it as well:
 *   - a shard led here is refused while the leader has no right to answer (its voters do not echo); what was
 *     appended and waits for them is answered RING_RETRY, asked again by libdunlin and then of unknown fate
 *   - what is to go to another node is refused when an ask to that node was given up and nothing came from it since,
 *     or when no leader is known and most others are such or not agreed with
 * So a node whose control plane alone is cut off, or that alone lost its lease, serves on.  Nothing is refused where
 * the cluster has no control log.
 *
 * The lcore's thread.  Source: DESIGN section 4, partition. */
#ifndef DUNLIN_DATAPLANE_POLL_CUT_OFF_H
#define DUNLIN_DATAPLANE_POLL_CUT_OFF_H

#include "dataplane/lcore_cluster.h"

/* Whether the lease has been over for so long. */
static inline bool poll_is_cut_off(const struct lcore_cluster *c)
{
    return c != NULL && c->is_cut_off;
}

/* Once a pass: what waits in vain in shards led here is answered. */
void poll_cut_off_step(struct lcore *l);

#endif
