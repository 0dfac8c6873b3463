/* cluster_body - what the transports of a node differ in: sockets, a port of DPDK, a device of verbs.
 *
 *   cluster_transports.c   endpoints of all lcores, and sockets
 *   cluster_body_dpdk.c    a port that this process drives by itself
 *   cluster_body_rdma.c    a device whose queue pairs the lcores use
 *
 * Internal to these.  Control thread. */
#ifndef DUNLIN_CONTROL_CLUSTER_BODY_H
#define DUNLIN_CONTROL_CLUSTER_BODY_H

#include "control/cluster_inner.h"

struct cluster_body {
    /* The port that the lcores share; 0, or an error that was logged.  NULL: they share none, nor is there any of
     * the functions below up to tick. */
    int (*open)(struct cluster_node *c);
    /* It reads and writes no log memory any more.  NULL: it does not when endpoints are closed. */
    void (*stop)(struct cluster_node *c);
    void (*close)(
        struct cluster_node *c); /* no endpoint is left, and no chunk; also where open failed */
    void (*tick)(struct cluster_node *c);

    int (*endpoint_open)(struct cluster_node *c, uint32_t lcore,
                         const struct transport_framed_config *config);
    void (*endpoint_close)(struct transport *t);

    /* Whether it is to have log memory.  Then range_open comes before the first chunk of a space, and range_close
     * behind its last. */
    bool (*wants_memory)(const struct cluster_node *c);
    int (*range_open)(struct cluster_node *c, const struct node_space *s);
    void (*range_close)(struct cluster_node *c, const struct node_space *s);
    int (*map)(struct cluster_node *c, const struct node_space *s, uint8_t *chunk);
    void (*unmap)(struct cluster_node *c, const struct node_space *s, uint8_t *chunk);
    /* It could not have a chunk: what that means, to the log; the first time. */
    void (*short_tell)(const struct cluster_node *c, const struct node_space *s, int error);
};

extern const struct cluster_body cluster_body_dpdk, cluster_body_rdma;

static inline uint64_t cluster_chunk_bytes(const struct node_space *s)
{
    return UINT64_C(1) << s->geometry.chunk_shift;
}

#endif
