/* dpdk_ends - two endpoints of the dpdk transport on ports of net_ring that are connected to each other, driven by
 * one thread with a clock of its own. */
#ifndef DUNLIN_TESTS_UNIT_DATAPLANE_DPDK_ENDS_H
#define DUNLIN_TESTS_UNIT_DATAPLANE_DPDK_ENDS_H

#include "dataplane/transport_dpdk.h"

#define A 7u /* node ids */
#define B 3u
#define A_ADDRESS 0x0a000001u
#define B_ADDRESS 0x0a000002u
#define UDP_PORT 7000u
#define PASSES 20000u /* what has not come by then never comes */
#define LOG_BYTES (1u << 17)
#define CAUGHT 64u

extern struct transport_framed_config config_a, config_b;
extern struct transport_dpdk_link link_a, link_b;
extern struct dpdk_port_config port_config; /* of both */
extern uint32_t depth;                      /* packets on the way */
extern struct dpdk_port *ports[2];
extern struct transport *a, *b;
extern struct transport_received in[256];
extern uint64_t holds[256];
extern uint8_t *bytes; /* LOG_BYTES, mapped by both ports */
extern uint64_t now;
extern struct transport_framed_counters counters; /* of what was counted last */
extern struct transport_dpdk_counters dpdk_counters;

/* Configurations of two that come up with each other. */
void configure(void);
struct sockaddr_storage v4(uint32_t address, uint16_t port);
void open_both(void);
/* Both receive once, and nothing comes; a millisecond goes by. */
void pass(void);
void come_up(void);
void open_up(void);
/* Until the port of a has shown that it sends chained frames. */
void prove(void);
/* All mbufs are back then. */
void close_both(void);

void count(const struct transport *t);
bool send_one(struct transport *t, uint32_t to, const char *head, uint32_t length);
/* Send what is queued; holds that came back. */
uint32_t complete(struct transport *t);
/* Wait for one datagram at t, with time going by: in[0]. */
bool comes(struct transport *t);
/* Whether it is this one, aligned, with the bytes that send_one sends. */
bool is(const struct transport_received *r, const char *head, uint32_t length);
/* Send 80 datagrams of all kinds of shapes from a to b, and see that each comes as it is. */
void every_shape_passes(void);

extern struct rte_mbuf *caught[CAUGHT];
/* Take what is on its way to b, as the port of a let it go; and put a packet back. */
uint32_t catch (void);
void put(struct rte_mbuf *m);

#endif
