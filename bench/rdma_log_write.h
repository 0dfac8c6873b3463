/* rdma_log_write - a link of the transport bench (transport_side.h) on which a message is a range of a log: written into
 * memory of the other end by its side alone, announced by a small message, and answered when it is proven there.
 *
 * Each end has memory of its own that the device has; the bytes that are sent are those, whatever the side says. */
#ifndef DUNLIN_BENCH_RDMA_LOG_WRITE_H
#define DUNLIN_BENCH_RDMA_LOG_WRITE_H

#include "bench/transport_side.h"
#include "dataplane/transport.h"

#define RDMA_LOG_WRITE_MEMORY (UINT32_C(1) << 21) /* bytes, aligned as much */

struct rdma_log_write {
    struct transport *transport;
    uint32_t other;           /* node id */
    uint8_t *memory;          /* own, RDMA_LOG_WRITE_MEMORY */
    struct grant_token token; /* of the other's */
    uint32_t at;              /* of the next range */
    uint64_t refused;         /* writes that the transport did not take at once */
    uint64_t unproven;        /* looks at ranges that were announced and not there yet */
};

/* Round trips alone; ends are struct rdma_log_write, the caller's. */
extern const struct transport_link rdma_log_write_link;

#endif
