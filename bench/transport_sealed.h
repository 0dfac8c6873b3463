/* transport_sealed - the side of the transport bench that is measured: the same bytes over two
 * endpoints of transport_udp, tags on. */
#ifndef DUNLIN_BENCH_TRANSPORT_SEALED_H
#define DUNLIN_BENCH_TRANSPORT_SEALED_H

#include "bench/transport_side.h"

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

/* Receive buffer that the kernel granted an end, as it counts: twice what data may take. */
uint32_t transport_sealed_receive_bytes(const void *end);

#endif
