/* rdma_fabric - verbs and links of rdma_port.h without a device, for one thread: what is posted lies in the test's
 * hands until it is delivered, and then goes to the other end as a device would put it there.
 *
 * It is not linked with libibverbs or the port: it stands in for both.  Whatever a device would refuse (keys, bounds, a RECV
 * that is not there) ends the connection as a device would end it, and is counted. */
#ifndef DUNLIN_TESTS_UNIT_DATAPLANE_RDMA_FABRIC_H
#define DUNLIN_TESTS_UNIT_DATAPLANE_RDMA_FABRIC_H

#include "dataplane/rdma_port.h"

#define FABRIC_LINKS 8u
#define FABRIC_QUEUE 1024u

struct rdma_port {
    uint32_t node;
};

/* How connections are made from now on. */
extern struct fabric {
    uint32_t messages, message_bytes, sends, inline_bytes;
    bool held;         /* what is posted is delivered by fabric_deliver alone */
    bool dies;         /* nothing that was retired is gone */
    bool asunder;      /* no connections are made */
    uint32_t windows;  /* of each connection */
    bool unbindable;   /* no window can be bound to the log's memory */
    bool window_fault; /* what binds or invalidates one fails */
    int window_error;  /* or cannot be posted */
    int post_error;
    uint32_t violations; /* what a device would have refused */
    uint32_t doorbells, requests, inlined;
    /* Memory that all devices have, with keys. */
    uint8_t *log;
    uint64_t log_bytes;
} fabric;

#define FABRIC_LOG_LOCAL 77u
#define FABRIC_LOG_REMOTE 88u

/* No links are open. */
void fabric_reset(void);
/* Make the connections that both ends are ready for. */
void fabric_connect(void);
/* Deliver up to so many work requests of that node to that peer.  Returns how many. */
uint32_t fabric_deliver(uint32_t node, uint32_t peer, uint32_t count);
/* All, of all nodes, until nothing is left that can be. */
void fabric_deliver_all(void);
/* Work requests posted and not delivered. */
uint32_t fabric_waiting(uint32_t node, uint32_t peer);
/* The network is gone between two: what was posted fails. */
void fabric_break(uint32_t node, uint32_t peer);
/* The oldest work request that was not delivered fails at the node's own device. */
void fabric_fail(uint32_t node, uint32_t peer, enum ibv_wc_status status);
/* The end of a node's connection; NULL: there is none. */
struct rdma_connection *fabric_end(uint32_t node, uint32_t peer);
/* Windows that are bound, of all ends. */
uint32_t fabric_bound(void);
/* Links whose memory was not freed. */
uint32_t fabric_connections(void);
/* A message from node to peer that its transport did not send: as if by its device. */
void fabric_forge(uint32_t node, uint32_t peer, const struct ibv_send_wr *w);

#endif
