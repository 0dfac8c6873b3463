/* control_net_nodes - nodes of a cluster that speak over control_net, in one loop, with certificates of
 * their own, for tests: what each of them was told, in order. */
#ifndef DUNLIN_TESTS_UNIT_CONTROL_CONTROL_NET_NODES_H
#define DUNLIN_TESTS_UNIT_CONTROL_CONTROL_NET_NODES_H

#include "control/control_net.h"

#define NET_NODES 3u        /* ids 1 .. 3 */
#define NET_CERTIFICATES 5u /* 4: of the cluster, and in nobody's list; 5: its time is over */

struct net_node {
    uint32_t id;
    struct control_net *net; /* NULL: not open */
    struct sockaddr_storage address;
    uint32_t ups[NET_CERTIFICATES + 1], downs[NET_CERTIFICATES + 1], refused[NET_CERTIFICATES + 1];
    uint64_t received[NET_CERTIFICATES + 1]; /* messages */
    uint64_t received_bytes[NET_CERTIFICATES + 1];
    uint64_t disordered; /* messages whose number was not the next one of that peer */
    uint64_t damaged;    /* messages whose bytes were not those of their number */
    uint8_t echo_type;   /* 0: none; else messages of that type go back */
};

struct net_nodes {
    uv_loop_t loop;
    char directory[64];
    struct net_node nodes[NET_NODES + 1]; /* by id */
    uint32_t closing;
    uint32_t hidden; /* in nobody's list but its own; 0: none */
};

/* An authority, certificates of nodes 1 .. NET_CERTIFICATES, and a loop. */
void net_nodes_init(struct net_nodes *t);
void net_nodes_fini(struct net_nodes *t);
/* The same in another process, with the files of the first one. */
void net_nodes_join(struct net_nodes *t, const char *directory);

/* "DIR/node-ID.NAME", or "DIR/NAME" for id 0; good until the eighth call after it. */
const char *net_path(const struct net_nodes *t, const char *name, uint32_t id);

/* What control_net_open takes for that node: it listens where it did before, or anywhere. */
struct control_net_config net_config(struct net_nodes *t, uint32_t id,
                                     struct control_net_peer peers[NET_NODES]);
/* Open it; those of higher ids have to be open, or have been: it connects to them. */
void net_open(struct net_nodes *t, uint32_t id);
void net_open_all(struct net_nodes *t);
void net_close(struct net_nodes *t, uint32_t id); /* and wait for the end of that */

/* Run the loop until it is so; false: not within a minute, which nothing but a fault takes. */
bool net_until(struct net_nodes *t, bool (*is_so)(struct net_nodes *t));
/* Run it once, waiting for an event. */
void net_once(struct net_nodes *t);
bool net_all_up(struct net_nodes *t);

/* The message of that number, whose length and bytes follow from it; at most 4 KiB.  Returns what send does. */
int net_send(struct net_nodes *t, uint32_t from, uint32_t to, uint64_t number);

#endif
