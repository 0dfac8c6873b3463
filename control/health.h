/* health - what nodes report of each other's data planes, and what it proves against one of them.
 *
 * Every node reports to every control voter, with each ask for its lease: for how long it has not heard each
 * other node on the data plane, and how many shards that node leads where something waits and nothing moves.  A
 * voter denies a node its leader lease only when the nodes that are left would be a working cluster: a majority of
 * all nodes hear each other, both ways, and
 *   none of them has heard the node for longer than a lease, or
 *   the node itself reports that, with itself, it hears no majority.
 * So a link that is cut, one way or both, denies nobody: whoever misses the node is not heard by enough, or hears who
 * still hears it.  Nor does silence: a voter that gets no reports denies nobody.  A denied node's lease
 * runs out by itself, and it is granted again when it is heard.
 *
 * Pure; one thread.  Units: ms of silence, counted by who reports; ns of the voter's monotonic clock.
 * Source: DESIGN section 8; Huang et al., "Gray Failure: The Achilles' Heel of Cloud-Scale Systems" (HotOS
 * 2017): what its peers observe counts, not what a node says of its own health. */
#ifndef DUNLIN_CONTROL_HEALTH_H
#define DUNLIN_CONTROL_HEALTH_H

#include "engine/base.h"
#include "engine/limits.h"

#define HEALTH_NEVER_MS UINT32_MAX /* not heard since it began to count */

struct health_view {
    uint32_t node;
    uint32_t silent_ms;    /* on the data plane: of the lcore that has waited for longest */
    uint32_t stuck_shards; /* led by node, as far as the reporter knows */
};

struct health_report {
    uint32_t from, count;
    struct health_view views[LIMIT_VOTERS];
};

struct health_config {
    uint32_t node_count;          /* of the cluster, 2 .. LIMIT_VOTERS */
    uint32_t nodes[LIMIT_VOTERS]; /* ids */
    uint32_t silent_ms_max;       /* longer than that is not heard: one leader lease */
    uint64_t report_ns_max;       /* an older report is none */
};

struct health {
    struct health_config config;
    bool has_reported[LIMIT_VOTERS];
    uint64_t came_ns[LIMIT_VOTERS];
    struct health_view seen[LIMIT_VOTERS][LIMIT_VOTERS]; /* by whom, of whom; by position */
};

void health_init(struct health *h, const struct health_config *config);

/* A report has come.  It replaces the one before as a whole; of a node that it does not name it says that it was
 * never heard.  Returns 0, or -ENOENT: from no node of this cluster, or names one twice or none of it. */
MUST_USE int health_report(struct health *h, const struct health_report *report, uint64_t now);

/* Whether the node is to be granted no leader lease; false also for one that does not exist. */
bool health_is_denied(const struct health *h, uint32_t node, uint64_t now);

/* So many of the shards that the node leads are stuck at least, as a majority of all nodes see it. */
uint32_t health_stuck(const struct health *h, uint32_t node, uint64_t now);

#endif
