/* rdma_device - the RDMA device that a bench runs on: one of Ethernet (RoCE v2) that has an IPv4 address.
 *
 * What the kernel says of devices in a directory (RDMA_DEVICE_DIRECTORY), no verbs: nothing is opened. */
#ifndef DUNLIN_BENCH_RDMA_DEVICE_H
#define DUNLIN_BENCH_RDMA_DEVICE_H

#include "engine/base.h"

#include <netinet/in.h>

#define RDMA_DEVICE_DIRECTORY "/sys/class/infiniband"
#define RDMA_DEVICE_NAME_BYTES 64u
#define RDMA_DEVICE_GIDS_MAX 256u /* looked at */

struct rdma_device {
    char name[RDMA_DEVICE_NAME_BYTES];
    uint32_t port;                 /* from 1 on */
    uint32_t gid_index;            /* of the address, as RoCE v2 */
    char address[INET_ADDRSTRLEN]; /* of its network interface */
};

/* The device of that name, or, for NULL, the first by name that will do.
 * Returns 0, or -ENODEV: there is none, or none of its ports is active with such an address. */
MUST_USE int rdma_device_find(const char *directory, const char *name, struct rdma_device *device);

/* Its address with that port, in host order, of librdmacm. */
struct sockaddr_storage rdma_device_address(const struct rdma_device *device, uint16_t port);

/* How many packets its port has sent so far, acknowledgements included, for whomever.
 * Returns 0, or -ENOENT: it does not count them, or not by a name that we know. */
MUST_USE int rdma_device_packets(const char *directory, const struct rdma_device *device,
                                 uint64_t *packets);

#endif
