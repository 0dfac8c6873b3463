/* rdma_cm - librdmacm, verbs and the rest of a port for rdma_port_connect.c, _connection.c and _link.c, without a device:
 * one port, of one test, whose peers the test plays.  Its thread runs pass by pass and time stands still, so that nothing
 * depends on who is faster.
 *
 * Not for two threads: the port's runs while the test waits for it. */
#ifndef DUNLIN_TESTS_UNIT_DATAPLANE_RDMA_CM_H
#define DUNLIN_TESTS_UNIT_DATAPLANE_RDMA_CM_H

#include "dataplane/rdma_port_inside.h"

#define CM_PEERS 16u /* of each test */
#define CM_CLUSTER UINT64_C(5)
#define CM_ASKS 1u /* node ids: who asks us, */
#define CM_OWN 2u
#define CM_ASKED 3u     /* and whom we ask */
#define CM_RESOURCES 4u /* of a connection, beside its queue pair and id */

/* Our end of a connection. */
struct cm_peer {
    struct rdma_cm_id id; /* first */
    struct ibv_qp qp;
    uint8_t hello[RDMA_HELLO_BYTES];
    uint32_t recvs;
    bool has_qp, destroyed;
};

extern struct cm {
    struct cm_peer peers[CM_PEERS]; /* from 1 on; the nth is n in what was done */
    uint32_t peer_count;
    /* What librdmacm and the device were told: "accept 1, reject 2". */
    char done[256];
    uint32_t wrong;     /* what no caller may do; asserted by cm_end */
    uint32_t resources; /* made and not destroyed */
    struct rdma_hello answer;
    int destroy_error; /* of queue pairs */
    uint64_t now_ns;
} cm;
extern struct rdma_port cm_port;

void cm_begin(void);
/* Links close, and nothing is left then. */
void cm_end(void);
/* The port's thread looks at all that is there, once. */
void cm_pass(void);
struct sockaddr_storage cm_address_of(uint32_t node);
/* Somebody at a node's address asks us, with those words; heard with the next pass, as is what follows. */
struct cm_peer *cm_asked(uint32_t at, const struct rdma_hello *h);
void cm_established(struct cm_peer *p);

#endif
