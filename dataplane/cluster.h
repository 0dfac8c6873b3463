/* cluster - a node's place in its cluster: who its peers are, how they are reached, and whom its
 * lcores ask who leads which shard.
 *
 * Control fills it after the spaces were added, points node.cluster to it, and then starts the
 * lcores; its words are constant until they stopped, but for node_count and nodes, which are control's own from
 * then on (node_peer_add, node_peer_remove).  A node that is alone has none.  The functions
 * stand for a coordinator (control/coordinator_script.h); dataplane/ knows no more of it.
 *
 * What a coordinator decides, it publishes, then adds to *version, then wakes lcores that sleep: an
 * lcore looks at version once per pass and asks for its shards when it moved.
 *
 * Threads: lcores call the functions, each for the shards that it owns; none blocks or allocates.
 *   What they read is protected by RCU: the caller is an online thread (rcu.h), or control while no
 *   lcore runs.
 * Memory order: E1 version (release, coordinator) -> E2 (acquire, lcore): what was decided before is
 *   what the functions then tell.  An epoch is activated by an exchange (acquire and release): what
 *   its leader did before, and those before it, come before all that anybody does who met it.
 * Source: DESIGN section 5, configuration: pending, activated by a compare-and-set, never
 * withdrawn. */
#ifndef DUNLIN_DATAPLANE_CLUSTER_H
#define DUNLIN_DATAPLANE_CLUSTER_H

#include "dataplane/configuration.h"
#include "engine/base.h"
#include "engine/limits.h"

struct lag;
struct transport;

enum cluster_activation {
    CLUSTER_REFUSED = 0, /* not the pending epoch, or not this node's to lead: ask no more for it */
    CLUSTER_ACTIVE = 1,
    CLUSTER_ASKED = 2, /* not known yet: ask again when the version moved */
};

struct node_cluster {
    struct member self;
    uint32_t node_count;         /* self included; up to LIMIT_VOTERS */
    uint32_t nodes[LIMIT_NODES]; /* ids */
    /* By number of the lcore, each for the one thread that polls there; its maker's. */
    struct transport *transports[LIMIT_LCORES];
    /* Likewise; what it tells is for any thread.  NULL: nobody wants to know. */
    struct lag *lags[LIMIT_LCORES];
    /* The node's leader lease ends then, by clock_boottime_ns; 0: it has not had one.  NULL: there are none. */
    const _Atomic uint64_t *lead_until_ns;
    const _Atomic uint64_t *version; /* moves with every decision; read it by cluster_version */
    /* Copy the newest configuration of a shard, if its epoch is above known_epoch.  False: it is
     * not, or there is none (the node has no part in the shard). */
    bool (*configuration)(void *context, uint32_t log, uint64_t known_epoch,
                          struct configuration *copy);
    /* The leader of a pending epoch has recovered the shard, and asks that it be active. */
    enum cluster_activation (*activate)(void *context, uint32_t log, uint64_t epoch);
    /* Whether another leader will follow that of this epoch, which is to let go of its rights now:
     * replica_hand_over. */
    bool (*hands_over)(void *context, uint32_t log, uint64_t epoch);
    /* It has; once for each time that it was asked. */
    void (*handed_over)(void *context, uint32_t log, uint64_t epoch);
    /* A learner of an active epoch that this node leads may be a voter: it has kept up for a lease.  Told once
     * per epoch and learner.  NULL: nobody wants to know. */
    void (*promote)(void *context, uint32_t log, uint64_t epoch, const struct member *learner);
    void *context; /* of the functions */
};

static inline uint64_t cluster_version(const struct node_cluster *c)
{
    return atomic_load_explicit(c->version, memory_order_acquire); /* E2 */
}

#endif
