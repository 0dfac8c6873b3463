/* config - the YAML file that tells dunlind who it is and which spaces it serves.
 *
 * Two passes over the same bytes, one table of keys and limits (config_table.h) behind both:
 *   check   walks libyaml's events, reports every fault, and writes what it accepted in a canonical
 *           form: absent keys filled in, sizes in bytes, durations in nanoseconds, words as numbers
 *   fill    libcyaml reads the canonical form into struct config by a schema made from the table
 * So libcyaml never meets a byte that was not accepted before, and the two cannot disagree; should
 * they do so all the same, that is -EPROTO and a line that says so.
 *
 * A fault is one line:   FILE:LINE:COLUMN: what was found; expected what
 * LINE and COLUMN count from 1, columns in characters; 0:0 means the file as a whole.
 *
 * Any bytes at all are good input: they give a configuration or faults.  Called before the daemon
 * starts its threads; nothing here is kept between calls.
 *
 * Keys (control/dunlind.example.yaml and, for a cluster, dunlind.cluster.yaml explain each): a
 * value with a unit must name it (64MiB, 50ms), a count has none.  Access lists are fail-safe: a
 * space that does not say who may read or write it is open to root and to the daemon's own uid
 * only. */
#ifndef DUNLIN_CONTROL_CONFIG_H
#define DUNLIN_CONTROL_CONFIG_H

#include "dataplane/node.h"

#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#define CONFIG_FILE_BYTES_MAX (1u << 20)
#define CONFIG_DEPTH_MAX 8u    /* lists and mappings inside each other */
#define CONFIG_FAULTS_MAX 100u /* reported of one file; then one more line says that it stopped */
#define CONFIG_SOCKET_PATH_BYTES sizeof(((struct sockaddr_un *)NULL)->sun_path) /* with final 0 */

#define CONFIG_PATH_BYTES 256u
#define CONFIG_LINE_BYTES 1024u

/* A server of the cluster, and where the lcores of its node receive: lcore i at port + i; over RDMA all by connections
 * with the port. */
struct config_node {
    uint32_t id;
    uint32_t weight;             /* its part of what voters hold, against those of the others */
    char zone[LIMIT_NAME_BYTES]; /* what may fail as a whole with it; "": none */
    struct sockaddr_storage address;
    struct sockaddr_storage control_address; /* TCP, of the control plane; all zero: as address */
};

enum config_transport { CONFIG_TRANSPORT_UDP, CONFIG_TRANSPORT_DPDK, CONFIG_TRANSPORT_RDMA };

#define CONFIG_MTU_MIN 576u /* carries a frame of FRAME_BYTES_MIN */
#define CONFIG_MTU_MAX 9000u

/* How this node's lcores reach the others past the kernel: dpdk_port.h.  Absent: all zero. */
struct config_dpdk {
    char port[CONFIG_LINE_BYTES]; /* PCI address, or name of a virtual device and its arguments */
    char eal[CONFIG_LINE_BYTES];  /* arguments of EAL, with spaces between */
    char *const
        *eal_more; /* of the command line, not the file: behind those; NULL, or ended by NULL */
    uint32_t mtu;
    uint32_t prefix; /* bits of the own address that the neighbours' begin with, too */
    char gateway[INET_ADDRSTRLEN]; /* for all other addresses; "": none */
};

#define CONFIG_ACK_TIMEOUT_NS_MAX (10 * NS_PER_S)

/* The device of transport rdma: rdma_port.h. */
struct config_rdma {
    uint64_t ack_timeout_ns; /* until a packet that nobody acknowledged is sent again */
};

#define CONFIG_LEADER_LEASE_NS_MAX (10 * NS_PER_S)

/* The control log of a cluster: raft_node.h. */
struct config_control {
    char directory[CONFIG_PATH_BYTES];
    char certificate_path[CONFIG_PATH_BYTES], key_path[CONFIG_PATH_BYTES],
        authority_path[CONFIG_PATH_BYTES]; /* authority.h */
    uint64_t lease_ns;                     /* of leaders */
};

/* Absent (all zero): the node is alone.  Else node.replicated is set, node.id is among nodes, their
 * addresses are of one family, and no port of any lcore is another's. */
struct config_cluster {
    char name[LIMIT_NAME_BYTES];
    struct config_control control; /* coordinator_raft.h */
    uint32_t transport;            /* enum config_transport */
    struct config_dpdk dpdk;
    struct config_rdma rdma;
    uint32_t replicas;                /* voters that a shard is to have */
    char key_path[CONFIG_PATH_BYTES]; /* the secret that all nodes share; "": none */
    bool encrypt;                     /* else tags only */
    uint32_t frame_bytes;             /* UDP payload; of rdma nothing */
    uint32_t wire_version;            /* the newest that is spoken: frame.h */
    uint64_t rate;                    /* to each peer, bytes per second; 0: no limit */
    uint64_t
        copy_rate; /* of an lcore, for snapshots and catching up; bytes per second, 0: no limit */
    bool lost_reopens; /* a shard that nobody holds any more begins again, empty */
    uint32_t node_count;
    struct config_node nodes[LIMIT_VOTERS]; /* this one, too */
};

struct config {
    struct node_config node;
    uint32_t cpu_count; /* of node.lcore_cpus, how many the file names: 0 or lcore_count */
    char socket_path[CONFIG_SOCKET_PATH_BYTES];
    uint32_t socket_mode;
    uint32_t space_count;
    struct space_config spaces[LIMIT_SPACES];
    struct config_cluster cluster;
};

/* Read a file.  Each fault is a line on errors.  Returns 0, or with *out untouched
 *   -EINVAL  the content has faults, or the path names no regular file
 *   -EFBIG   more than CONFIG_FILE_BYTES_MAX
 *   -ENOMEM
 *   -EPROTO  the passes disagree: our bug, or memory ran out inside libyaml
 *   or what open and read say (-ENOENT, -EACCES, -EISDIR ...).
 * All of them are reported, so the caller only has to exit. */
MUST_USE int config_load(const char *path, struct config *out, FILE *errors);

/* The same for a file of which only the spaces are wanted: it may be a whole configuration or its
 * `spaces:` alone.  In *out a node that the file does not describe is called "node", with id 1. */
MUST_USE int config_load_spaces(const char *path, struct config *out, FILE *errors);

/* config_load for bytes in memory; name stands where the file's would. */
MUST_USE int config_parse(const char *name, const uint8_t *bytes, size_t size, struct config *out,
                          FILE *errors);

#endif
