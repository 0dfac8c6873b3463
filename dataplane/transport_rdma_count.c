#include "dataplane/transport_rdma.h"

#include <string.h>

/* In the order of the structs of counters. */
const char *const transport_rdma_count_names[] = {
    TRANSPORT_FRAMED_COUNT_NAMES,
    "connections_taken",
    "connections_retired",
    "connections_failed",
    "connections_unsound",
    "connections_stuck",
    "no_connection",
    "no_memory",
    "no_credit",
    "no_sends",
    "messages_written",
    "messages_sent",
    "messages_dropped",
    "credits_told",
    "completions",
    "log_writes",
    "log_write_bytes",
    "log_writes_refused",
    "log_writes_unmapped",
    "windows",
    "windows_bound",
    "windows_revoked",
    "windows_failed",
    "grants_unwindowed",
    NULL,
};

#define COUNTERS                                                                                   \
    (TRANSPORT_FRAMED_COUNTS + sizeof(struct transport_rdma_counters) / sizeof(uint64_t))
_Static_assert(sizeof transport_rdma_count_names / sizeof transport_rdma_count_names[0] ==
                   COUNTERS + 1,
               "a counter without a name");
_Static_assert(COUNTERS < TRANSPORT_COUNTS_MAX, "room for the counters");

void transport_rdma_count(const struct transport *t, struct transport_rdma_counters *counters)
{
    const struct transport_rdma_endpoint *e = (const void *)t; /* its first member */
    *counters = e->counters;
    counters->windows = 0;
    for (uint32_t i = 0; i < e->framed.peer_count; i++) {
        const struct transport_rdma_peer *p = transport_rdma_peer_of(e->framed.peers[i]);
        counters->windows += p->state == TRANSPORT_RDMA_LIVE ? p->c->window_count : 0;
    }
}

void transport_rdma_count_all(const struct transport_framed_endpoint *framed, uint64_t *counted)
{
    struct transport_rdma_counters counters;
    transport_rdma_count(&framed->transport, &counters);
    memcpy(counted, &counters, sizeof counters);
}
