/* members_fixture - a cluster whose nodes come and go, as one state that commands change: each goes through its bytes, and
 * what comes of it is held against the rules of coordinator_check.h. */
#ifndef DUNLIN_TESTS_UNIT_CONTROL_MEMBERS_FIXTURE_H
#define DUNLIN_TESTS_UNIT_CONTROL_MEMBERS_FIXTURE_H

#include "control/coordinator_command.h"
#include "dataplane/node.h"
#include "tests/unit/control/coordinator_check.h"

#define MEMBERS_SHARDS 8u
#define MEMBERS_LOG(n) (2u << NODE_LOG_SPACE_SHIFT | (n))

extern struct coordinator_state *members_state; /* of the cluster that began last; NULL: none */
extern struct coordinator_check members_check;
extern uint64_t members_start_last; /* of all nodes that came back */

/* As coordinator_command_apply, of a command without a fault. */
int64_t members_apply(const struct coordinator_command *c);
/* 0: there is no such node, or it has not come. */
uint64_t members_start_of(uint32_t node);

int64_t members_enter_as(uint32_t node, uint64_t start, const struct coordinator_entry *entry);
/* A later start of a node. */
int64_t members_enter(uint32_t node);
/* weight and zone: of one that is added; else 0 and "". */
int64_t members_change(enum coordinator_node_kind kind, uint32_t node, uint32_t weight,
                       const char *zone);
/* Of the newest epoch of a shard.  learner: PROMOTE, else 0. */
int64_t members_of_epoch(enum coordinator_command_type type, const struct coordinator_shard *s,
                         const struct member *asker, uint32_t learner);
/* All shards that are lost, from one node (0: the best), where these are up. */
int64_t members_recover(uint32_t from, const uint32_t *up, uint32_t up_count);
/* A node's logs come near the ceiling that it knows. */
int64_t members_raise(uint32_t node, uint64_t known);
/* Nodes that have come; returns how many. */
uint32_t members_all_up(uint32_t up[LIMIT_VOTERS]);

/* A cluster of these nodes: all have come, nothing is active. */
void members_begin(const struct coordinator_entry_node *nodes, uint32_t count, uint32_t replicas);
/* Likewise of nodes 10, 20 ..., each like the other. */
void members_begin_alike(uint32_t count, uint32_t replicas);
void members_end(void);

/* What one shard is asked for is done; false: it is asked for nothing. */
bool members_obey_one(uint32_t i);
/* So of all, until nothing is asked of any: then the wanted ones vote, and all others learn. */
void members_obey(void);

#endif
