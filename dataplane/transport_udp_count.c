#include "dataplane/transport_udp.h"

#include <string.h>

/* In the order of struct transport_udp_counters, which has nothing but words. */
const char *const transport_udp_count_names[] = {
    "frames_taken",
    "refused_too_short",
    "refused_other_magic",
    "refused_version_older",
    "refused_version_newer",
    "refused_other_cluster",
    "refused_other_lcore",
    "refused_unknown_peer",
    "refused_unknown_key",
    "refused_not_up",
    "refused_other_start",
    "refused_replayed",
    "refused_too_old",
    "refused_wrong_tag",
    "refused_malformed",
    "datagrams_sent",
    "datagrams_received",
    "frames_sent",
    "bytes_sent",
    "calls_sent",
    "calls_received",
    "queue_full",
    "nonces_out",
    "not_up",
    "frames_ended",
    "send_retries",
    "send_errors",
    "offload_errors",
    "receive_errors",
    "kernel_dropped",
    "truncated",
    "seal_failures",
    "hellos_sent",
    "hellos_received",
    "pairs_up",
    "fragments_timed_out",
    "fragments_evicted",
    "fragments_doubled",
    "fragments_unlike",
    "datagrams_too_long",
    NULL,
};

#define COUNTERS (sizeof(struct transport_udp_counters) / sizeof(uint64_t))
_Static_assert(sizeof transport_udp_count_names / sizeof transport_udp_count_names[0] ==
                   COUNTERS + 1,
               "a counter without a name");
_Static_assert(COUNTERS < TRANSPORT_COUNTS_MAX, "room for the counters");
_Static_assert(FRAME_TAKEN == 0 && FRAME_MALFORMED == 14 && FRAME_REFUSALS == 15,
               "order of the refusals");

static void starts_show(struct transport_udp_endpoint *e)
{
    for (uint32_t i = 0; i < e->peer_count; i++) {
        const struct handshake *h = &e->peers[i]->handshake;
        /* relaxed: for people to look at */
        atomic_store_explicit(&e->starts_shown[i], h->up ? h->peer_start : 0, memory_order_relaxed);
        atomic_store_explicit(&e->heard_shown[i], e->peers[i]->heard_at, memory_order_relaxed);
    }
}

void transport_udp_count_all(struct transport *t, uint64_t *counted)
{
    struct transport_udp_counters counters;
    transport_udp_count(t, &counters);
    memcpy(counted, &counters, sizeof counters);
    starts_show(transport_udp_endpoint_of(t));
}

/* What is shown of a node; 0: it is no peer.  Why nodes may be read: peers are added before the endpoint's
 * thread starts. */
static uint64_t shown_of(const struct transport_udp_endpoint *e, const _Atomic uint64_t *words,
                         uint32_t node)
{
    for (uint32_t i = 0; i < e->peer_count; i++)
        if (e->nodes[i] == node)
            /* relaxed: for people to look at */
            return atomic_load_explicit(&words[i], memory_order_relaxed);
    return 0;
}

uint64_t transport_udp_start_shown(const struct transport *t, uint32_t node)
{
    const struct transport_udp_endpoint *e = (const void *)t; /* its first member */
    return shown_of(e, e->starts_shown, node);
}

uint64_t transport_udp_heard_shown(const struct transport *t, uint32_t node)
{
    const struct transport_udp_endpoint *e = (const void *)t; /* as above */
    return shown_of(e, e->heard_shown, node);
}
