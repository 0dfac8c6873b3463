/* coordinator_fixture - what tests of the coordinator need: a directory that goes away again; a body whose log is
 * this process: what one of its nodes asks is applied to the one state, which the others see when they step; and
 * nodes that are no more than a coordinator looks at (no memory, no lcores). */
#ifndef DUNLIN_TESTS_UNIT_CONTROL_COORDINATOR_FIXTURE_H
#define DUNLIN_TESTS_UNIT_CONTROL_COORDINATOR_FIXTURE_H

#include "control/coordinator.h"
#include "control/coordinator_register.h"

#define FIXTURE_NODES 3u
#define FIXTURE_SHARDS 6u
#define FIXTURE_START UINT64_C(1795249235478)
#define FIXTURE_LOG(shard) (2u << NODE_LOG_SPACE_SHIFT | (shard))

extern char fixture_directory[64];
extern struct coordinator_state *fixture_state; /* what is decided; NULL: nobody has registered */

/* Make the directory; remove it with all that is in it, and forget what is decided. */
void fixture_begin(void);
void fixture_end(void);

/* Register this start, as coordinator_raft_open does, with the state of this process.  Returns 0, -EINVAL, or what a
 * REGISTER does. */
MUST_USE int fixture_coordinator_open(struct coordinator **c,
                                      const struct coordinator_entry_config *config,
                                      uint64_t *lsn_origin);

/* A node of the cluster 10, 20, 30 with one space of so many shards (1 .. LIMIT_SHARDS), all voters.  Weights are
 * such that node 10 is the first choice of all shards but few. */
struct fixture_node {
    struct coordinator_entry_config config;
    struct space_config space;
    struct node node;
    struct node_space node_space;
    struct layout_board boards[LIMIT_SHARDS];
    struct coordinator *coordinator; /* NULL: it is not open */
    unsigned wakes;                  /* of control */
};

void fixture_node_init(struct fixture_node *n, uint32_t number, uint64_t start,
                       uint32_t shard_count);
/* Close what is open, register as this start.  Returns as fixture_coordinator_open. */
int fixture_node_open(struct fixture_node *n, uint64_t start);

/* What its lcores would ask. */
struct configuration fixture_configuration(const struct fixture_node *n, uint32_t shard);
enum cluster_activation fixture_activate(const struct fixture_node *n, uint32_t shard,
                                         uint64_t epoch);

#endif
