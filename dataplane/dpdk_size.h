/* dpdk_size - how much of DPDK's memory a port takes, before there is one.
 *
 * Arithmetic over what dpdk_port.c makes for each lcore, with the sizes of DPDK 22.11, which dpdk_port.c asserts.
 * Who configures a node is told by it what is too little, and EAL is asked for what it says.
 *
 * Pages: no buffer lies across the end of one, since a device may find the next elsewhere; so buffers take more of small
 * pages than of huge ones.  Those of net_af_xdp lie one behind the other.
 *
 * Units: MiB, rounded up. */
#ifndef DUNLIN_DATAPLANE_DPDK_SIZE_H
#define DUNLIN_DATAPLANE_DPDK_SIZE_H

#include "engine/base.h"

#define DPDK_SIZE_MBUFS 8192u /* of each lcore's pools */
#define DPDK_SIZE_INBOX 1024u /* packets handed over that wait for an lcore */
#define DPDK_SIZE_CACHED 256u /* mbufs that a thread keeps of a pool */
#define DPDK_SIZE_HEADROOM                                                                         \
    256u /* of a buffer, at most: DPDK's, and what shifts a payload to 8 bytes */
#define DPDK_SIZE_MBUF 128u
#define DPDK_SIZE_THREADS 128u /* that may have joined: each has its place in every pool's caches */

struct dpdk_size {
    const char *device; /* and its arguments, as dpdk_port.h takes them */
    uint32_t lcore_count;
    uint32_t mtu;     /* 0: 1500 */
    bool small_pages; /* of 4 KiB; else of 2 MiB */
};

/* Bytes of a packet's buffer behind the headroom, a multiple of 1 KiB: the packet, Ethernet's head and checksum, and two
 * VLAN tags. */
uint32_t dpdk_size_room(uint32_t mtu);

/* Of net_af_packet, whose buffers are as long at least.  Why from its arguments: it says 1,518 bytes whatever its frames
 * hold. */
uint32_t dpdk_size_frame_bytes(const char *device);

/* What pools and rings take: with less the port does not open. */
uint32_t dpdk_size_least_mib(const struct dpdk_size *s);
/* What to ask for: with what drivers take for their own rings. */
uint32_t dpdk_size_mib(const struct dpdk_size *s);

#endif
