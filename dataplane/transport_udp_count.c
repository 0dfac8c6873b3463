#include "dataplane/transport_udp.h"

#include <string.h>

/* In the order of the structs of counters. */
const char *const transport_udp_count_names[] = {
    TRANSPORT_FRAMED_COUNT_NAMES,
    "offload_errors",
    "receive_errors",
    "kernel_dropped",
    "truncated",
    NULL,
};

#define COUNTERS                                                                                   \
    (TRANSPORT_FRAMED_COUNTS + sizeof(struct transport_udp_counters) / sizeof(uint64_t))
_Static_assert(sizeof transport_udp_count_names / sizeof transport_udp_count_names[0] ==
                   COUNTERS + 1,
               "a counter without a name");
_Static_assert(COUNTERS < TRANSPORT_COUNTS_MAX, "room for the counters");

void transport_udp_count_all(const struct transport_framed_endpoint *framed, uint64_t *counted)
{
    struct transport_udp_counters counters;
    transport_udp_count(&framed->transport, &counters);
    memcpy(counted, &counters, sizeof counters);
}

void transport_udp_count(const struct transport *t, struct transport_udp_counters *counters)
{
    const struct transport_udp_endpoint *e = (const void *)t; /* its first member */
    *counters = e->counters;
}
