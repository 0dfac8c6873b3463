/* transport_sealed - the side of the transport bench that is measured: the same bytes over two endpoints of
 * transport_framed, tags on; of transport_udp here, of transport_dpdk in transport_ports.h. */
#ifndef DUNLIN_BENCH_TRANSPORT_SEALED_H
#define DUNLIN_BENCH_TRANSPORT_SEALED_H

#include "bench/transport_side.h"
#include "dataplane/transport_framed.h"

struct transport_sealed_shape {
    bool authentic_only;  /* tags, but no encryption */
    bool plain_socket;    /* no segmentation offload */
    uint32_t frame_bytes; /* as in struct transport_framed_config */
};

#define TRANSPORT_SEALED_HEAD_BYTES 64u /* messages up to here are heads, longer ones log bytes */

extern const struct transport_link transport_sealed_link;

/* Two ends on the loopback interface that are up with each other.  Returns 0, -ETIMEDOUT, or what
 * transport_udp_open and _add say, with nothing left behind. */
MUST_USE int transport_sealed_open(void *ends[2], const struct transport_sealed_shape *shape);

/* One end over an endpoint that the caller opened: by transport_sealed_config, but for the address; node ids are 1 and
 * 2, and the other one is added as a peer.  transport_sealed_link's close then closes it by close.  The caller's thread
 * enters it as an lcore does, and leaves it by that close: who uses the end is of the same thread, or of a process that
 * began from it (bodies that have something for each thread are opened where they are used).
 * Returns 0 or -ENOMEM: the endpoint is the caller's still. */
void transport_sealed_config(struct transport_framed_config *config, uint32_t node,
                             const struct transport_sealed_shape *shape);
MUST_USE int transport_sealed_end(void **end, struct transport *transport, uint32_t other,
                                  void (*close)(struct transport *transport));

/* Whether the end is up with the other; takes and drops what came. */
bool transport_sealed_is_up(void *end);

/* Receive buffer that the kernel granted an end, as it counts: twice what data may take. */
uint32_t transport_sealed_receive_bytes(const void *end);

#endif
