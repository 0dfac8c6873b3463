/* cluster_files - what a cluster of this build on loopback needs on the disk: its secrets and certificates, and the
 * part of each node's configuration that says so.  All of it lies in the bench's directory. */
#ifndef DUNLIN_BENCH_CLUSTER_FILES_H
#define DUNLIN_BENCH_CLUSTER_FILES_H

#include "bench/replicate_net_side.h"

#include <stdio.h>

/* A key for frames, a certificate authority, and a certificate for each of NET_SERVERS nodes, ids from 1 on.
 * Returns 0 or -errno; faults are lines on stderr. */
MUST_USE int cluster_files_write(void);

struct cluster_files_node {
    uint32_t id;
    const char *socket_path;
    const uint16_t *ports; /* of NET_SERVERS nodes, UDP, and TCP for the control plane */
    uint32_t lease_ms;     /* of leaders */
    uint32_t frame_bytes;  /* payload of a datagram */
};

/* A node's configuration without its spaces. */
void cluster_files_print(FILE *file, const struct cluster_files_node *node);

#endif
