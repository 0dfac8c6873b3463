/* port_raw - plain UDP packets on a port of DPDK, by rte_eth_rx_burst and rte_eth_tx_burst and nothing else: the
 * baseline of everything that goes over a port (transport_ports.h, replicate_port.h).
 *
 * It shares the port with the transport that is measured, whose packets go to another UDP port; so both take turns:
 * what comes for the other one meanwhile is lost.  One thread, that of the port's lcore.
 *
 * A packet's header is written once for each length, its UDP checksum is 0 (none), and nothing of what comes is looked
 * at but its UDP port: less cannot be done. */
#ifndef DUNLIN_BENCH_PORT_RAW_H
#define DUNLIN_BENCH_PORT_RAW_H

#include "dataplane/packet.h"

#define PORT_RAW_BURST 32u
#define PORT_RAW_UDP_PORT 7701u /* of both sides */
#define PORT_RAW_PEERS 2u

struct dpdk_queue;
struct rte_mbuf;

struct port_raw_peer {
    struct packet_path path;
    uint32_t length; /* that header is written for */
    uint8_t header[PACKET_HEADER_BYTES];
};

struct port_raw {
    struct dpdk_queue *queue;
    uint32_t payload_max; /* of a packet */
    struct port_raw_peer peers[PORT_RAW_PEERS];
    uint64_t sum; /* of a word of each packet: so that all are looked at */
};

/* On the queue of an open port, to up to PORT_RAW_PEERS stations. */
struct port_raw_station {
    struct packet_mac mac;
    uint32_t address; /* host order */
};
void port_raw_init(struct port_raw *r, struct dpdk_queue *queue, const struct port_raw_station *own,
                   const struct port_raw_station *peers, uint32_t peer_count);

/* All bytes, cut into packets of at most step (payload_max or less), to one peer.  Waits for room in the port's queue.
 * Returns 0, -ENOMEM (no mbuf: too much is under way), or -ENETDOWN: the port takes nothing any more. */
MUST_USE int port_raw_send(struct port_raw *r, uint32_t peer, const uint8_t *bytes, uint64_t length,
                           uint32_t step);

/* What came, of all peers: each packet is shown to each, unless that is NULL.  Returns bytes of payload. */
typedef void port_raw_each(void *context, const uint8_t *payload, uint32_t length);
uint32_t port_raw_take(struct port_raw *r, port_raw_each *each, void *context);

/* Send back what came, to the first peer.  Returns its bytes, or as port_raw_send. */
MUST_USE int port_raw_echo(struct port_raw *r);

#endif
