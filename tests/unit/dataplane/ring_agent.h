/* ring_agent - a node in this process and agents whose rings a test drives by hand, without a
 * socket or libdunlin: what a daemon sees of an agent, honest or not. */
#ifndef DUNLIN_TESTS_UNIT_DATAPLANE_RING_AGENT_H
#define DUNLIN_TESTS_UNIT_DATAPLANE_RING_AGENT_H

#include "dataplane/lcore.h"

#define RING_AGENT_SPACE 1u

struct ring_node {
    struct node node;
    struct lcore *lcore; /* lcore 0 when the test drives it; NULL while threads run */
    _Atomic uint32_t control_wakes;
};

/* A node with one space of shard_count shards over lcore_count lcores.  Aborts when that fails. The
 * calling thread is RCU-registered and plays control. */
void ring_node_open(struct ring_node *r, uint32_t lcore_count, uint32_t shard_count);
void ring_node_close(struct ring_node *r);
/* Passes of lcore 0, with the grace periods that a loop would have. */
void ring_node_passes(struct ring_node *r, unsigned passes);

struct ring_agent {
    struct agent *agent;
    struct ring request, completion; /* the agent's sides */
    uint32_t lcore;                  /* of this pair */
    uint64_t tag;
};

/* Attach; the pair of lcore 0. */
void ring_agent_attach(struct ring_node *r, struct ring_agent *a, uint32_t uid,
                       uint32_t ring_bytes);
/* The pair of another lcore of the same agent. */
void ring_agent_join(struct ring_agent *a, struct agent *agent, uint32_t lcore);

/* A request of the space's shard 0, or of the shard its key belongs to; tag is ++a->tag. */
struct ring_request ring_agent_request(const struct ring_node *r, struct ring_agent *a,
                                       uint8_t operation, const char *key);
/* Put it into the ring with key and value; no doorbell.  Returns ring_claim's result. */
int ring_agent_send(struct ring_agent *a, struct ring_request q, const char *key,
                    const void *value);
void ring_agent_doorbell(struct ring_node *r, const struct ring_agent *a);
/* Next completion; false: none.  value: copied if not NULL. */
bool ring_agent_take(struct ring_agent *a, struct ring_completion *c, void *value);

#endif
