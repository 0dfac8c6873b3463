/* coordinator_fixture - what tests of the static coordinator need: a directory that goes away again, and
 * nodes that are no more than a coordinator looks at (no memory, no lcores). */
#ifndef DUNLIN_TESTS_UNIT_CONTROL_COORDINATOR_FIXTURE_H
#define DUNLIN_TESTS_UNIT_CONTROL_COORDINATOR_FIXTURE_H

#include "control/coordinator_file.h"

#define FIXTURE_NODES 3u
#define FIXTURE_SHARDS 6u
#define FIXTURE_START UINT64_C(1795249235478)
#define FIXTURE_LOG(shard) (2u << NODE_LOG_SPACE_SHIFT | (shard))

extern char fixture_directory[64], fixture_path[96];

/* Make the directory; remove it with all that is in it. */
void fixture_begin(void);
void fixture_end(void);

/* A node of the cluster 10, 20, 30 with one space of so many shards (1 .. LIMIT_SHARDS). */
struct fixture_node {
    struct coordinator_file_config config;
    struct space_config space;
    struct node node;
    struct node_space node_space;
    struct layout_board boards[LIMIT_SHARDS];
    struct coordinator_file *coordinator; /* NULL: it is not open */
    unsigned wakes;                       /* of control */
};

void fixture_node_init(struct fixture_node *n, uint32_t number, uint64_t start,
                       uint32_t shard_count);
/* Close what is open, register as this start.  Returns as coordinator_file_open. */
int fixture_node_open(struct fixture_node *n, uint64_t start);

/* What its lcores would ask. */
struct configuration fixture_configuration(const struct fixture_node *n, uint32_t shard);
enum cluster_activation fixture_activate(const struct fixture_node *n, uint32_t shard,
                                         uint64_t epoch);

#endif
