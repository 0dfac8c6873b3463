/* transport_raw - the baselines of the transport bench: the same bytes over two connected UDP sockets,
 * without headers, tags or anything put together. */
#ifndef DUNLIN_BENCH_TRANSPORT_RAW_H
#define DUNLIN_BENCH_TRANSPORT_RAW_H

#include "bench/transport_side.h"

enum transport_raw_kind {
    TRANSPORT_RAW_SINGLE,  /* send and recv, one datagram a call */
    TRANSPORT_RAW_BURST,   /* sendmmsg and recvmmsg */
    TRANSPORT_RAW_OFFLOAD, /* the same with segmentation offload on both sides */
};

extern const struct transport_link transport_raw_link;

/* Two ends on the loopback interface.  segment: longest datagram, bytes.  Returns 0 or -errno with
 * nothing left behind; -EOPNOTSUPP: this kernel has no offload. */
MUST_USE int transport_raw_open(void *ends[2], enum transport_raw_kind kind, uint32_t segment);

#endif
