/* hold_nodes - two nodes of one cluster in the test's own thread, over endpoints that it gives: the first one leads the
 * only shard and is its only voter, the second one learns what the first one writes.  So the first one writes and
 * cleans whatever becomes of its frames, which leave from its log's own memory as far as the port may have that. */
#ifndef DUNLIN_TESTS_UNIT_DATAPLANE_HOLD_NODES_H
#define DUNLIN_TESTS_UNIT_DATAPLANE_HOLD_NODES_H

#include "dataplane/dpdk_port.h"
#include "dataplane/lcore_cluster.h"
#include "tests/unit/dataplane/ring_agent.h"

#define HOLD_VALUE_BYTES 6000u

struct hold_nodes_config {
    uint32_t ids[2];
    struct transport *transports[2];
    struct dpdk_port *port; /* of the first */
    uint64_t quota_bytes;
    void (*between)(
        void); /* after each pass of the first, and before one of the second; NULL: nothing */
};

struct hold_nodes {
    struct hold_nodes_config config;
    struct ring_node nodes[2];
    struct node_cluster clusters[2];
    struct configuration configuration;
    _Atomic uint64_t version;
    struct node_space *space; /* of the first */
    uint32_t mapped;          /* its chunks that the port has */
    struct ring_agent agent;  /* at the first */
    uint64_t session;
    uint32_t session_slot;
    uint64_t sequence;
    uint64_t written; /* values */
};

/* The first one leads.  Aborts when it fails. */
void hold_nodes_open(struct hold_nodes *n, const struct hold_nodes_config *config);
/* The endpoints are the caller's to close: first. */
void hold_nodes_end_lcores(struct hold_nodes *n);
void hold_nodes_close(struct hold_nodes *n);

/* One pass of each, and the chunks that they ask for. */
void hold_nodes_pass(struct hold_nodes *n);
/* Write a value that differs from all others, under the key of that number.  False: it was refused. */
bool hold_nodes_write(struct hold_nodes *n, uint32_t key);

/* The frame of the first one's arena that a byte lies in; UINT32_MAX: none. */
uint32_t hold_nodes_frame(const struct hold_nodes *n, const uint8_t *at);
/* As the directory has it: enum frame_kind, and FRAME_RETIRING. */
uint32_t hold_nodes_kind(const struct hold_nodes *n, uint32_t frame);
uint64_t hold_nodes_counted(const struct hold_nodes *n, enum counter counter);

#endif
