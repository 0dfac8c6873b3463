/* udp_cluster - three nodes in this process whose lcores, each a thread, talk over transport_udp on the
 * loopback interface, with a coordinator that decides what the test says (control/coordinator_script.h),
 * and clients that write through rings (tests/unit/dataplane/ring_agent.h).
 *
 * Between a lcore and its endpoint stands a link, by which the test can hold the lcore where it receives
 * (the thread does nothing, as in a process that was stopped), cut a node off, or have the endpoint closed
 * and opened again under a new start.
 *
 * All functions are for the thread that runs the tests.  What does not come within WAIT_MS never comes. */
#ifndef DUNLIN_TESTS_UNIT_CONTROL_UDP_CLUSTER_H
#define DUNLIN_TESTS_UNIT_CONTROL_UDP_CLUSTER_H

#include "control/coordinator_script.h"
#include "dataplane/transport_udp.h"
#include "tests/unit/dataplane/ring_agent.h"

#define UDP_NODES 3u
#define UDP_SHARDS 4u
#define WAIT_MS 60000u
#define LEASE_NS (50 * NS_PER_MS)
#define HOUR_NS (3600 * NS_PER_S)

struct udp_cluster_options {
    uint32_t lcore_count; /* of each node */
    bool authentic_only;
    bool spin;
    uint64_t rate, burst; /* of each endpoint to each peer: transport_udp.h */
    uint32_t absent;      /* id of a node whose lcores udp_cluster_arrive starts; 0: none */
    /* Leases of an hour, and heartbeats as seldom: nobody wakes but for what arrives, and nothing is
     * said twice, so that the endpoints come up before the lcores start. */
    bool hours;
};

extern struct ring_node nodes[UDP_NODES]; /* ids 1 .. UDP_NODES */
extern struct coordinator_script *coordinator;

/* The first node leads every shard, or the test ends. */
void udp_cluster_open(const struct udp_cluster_options *options);
void udp_cluster_arrive(uint32_t node);
/* Stop the lcores; the nodes' memory can be looked at. */
void udp_cluster_stop(void);
void udp_cluster_close(void);

/* From here on nodes are told by their index in nodes. */

/* The lcores of a node stand still when hold returns, and go on after release. */
void udp_cluster_hold(uint32_t node);
void udp_cluster_release(uint32_t node);
/* As hold, and go on with endpoints of a new start on the same ports. */
void udp_cluster_renew(uint32_t node);
/* Nothing arrives at a node nor of it; UDP_NODES: nobody is cut off. */
void udp_cluster_cut_off(uint32_t node);
/* Somebody else leads every shard, or the test ends. */
void udp_cluster_move(uint32_t leader);

/* What the transport of a node's lcore published under a name; UINT64_MAX: there is no such name. */
uint64_t udp_cluster_counted(uint32_t node, uint32_t lcore, const char *name);
/* Of the lcores together. */
uint64_t udp_cluster_counter(uint32_t node, enum counter counter);
struct transport *udp_cluster_endpoint(uint32_t node, uint32_t lcore);
uint16_t udp_cluster_port(uint32_t node, uint32_t lcore);

/* A client at a node that leads every shard.  One session per shard. */
struct udp_client {
    uint32_t node;
    struct ring_agent lanes[LIMIT_LCORES];
    struct {
        uint64_t lsn, sequence;
        uint32_t slot;
    } sessions[UDP_SHARDS];
};
void udp_client_open(struct udp_client *c, uint32_t node);
void udp_client_close(struct udp_client *c);
/* Write count keys, each with a value of so many bytes, over all shards; all are answered with success, or
 * the test ends.  Up to `flight` at a time, at most LIMIT_SESSION_WINDOW. */
void udp_client_write(struct udp_client *c, uint32_t count, uint32_t bytes, uint32_t flight);

/* Wait until the nodes of a mask hold and show all that the leader's logs hold: nothing is written
 * meanwhile. */
bool udp_cluster_converges(uint32_t leader, uint32_t mask);
/* After udp_cluster_stop: all logs that were not stopped are the same, as far back as both are kept. */
void udp_cluster_compare(void);

#endif
