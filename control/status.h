/* status - what the daemon tells about itself: one JSON object, also the body of `dunlin status`.
 *
 * Control thread.  Reads only shared and published words, so no lcore notices.  Numbers are taken
 * one after the other, not at one instant.  Keys are stable; more may come:
 *
 *   version; node {name, id, pid}; start; uptime_ms
 *   clock {kind: "tsc"|"boottime", ticks_per_s}
 *   lease {duration_ms, heartbeat_ms, view_ms, virtual}
 *   lcores [{lcore, cpu (-1: not pinned), sleeping, silent_ms, lease_left_ms, counters {...},
 *            transport {...}: what the body counts, in a cluster}]
 *   counters {...}: sums over the lcores, of stall_longest_ns the longest; names are those of
 *            status_counter_name
 *   agents {attached, limit, attachments, faults, list [{slot, uid, pid, attached_ms,
 *            throttled: times that it had used up its rate with requests waiting}]}
 *   server {connections, limit, accepted, refused_connections, refused_requests, closed_slow,
 *           throttled}
 *   cluster {...}: what struct server_admin says; absent when the node is alone
 *   spaces [{name, id, consistency, durability, shards, keys, live_bytes, quota_bytes, arena_bytes,
 *            chunks, chunks_max, value_bytes_max, epoch, log_bytes, uncommitted_bytes, lsn_committed,
 *            segments {free, tail, base, index, order, retiring}, used_bytes: in segments that are not free,
 *            history, history_ms, session_ttl_ms, ordered, read, write: "any", or the uids beside root and
 *            the daemon's own}]
 *            log_bytes were written to the space's logs since the start; lsn_committed is the highest of any
 *            shard, as a string, since it does not fit a double
 *   hot_keys status_keys.h; only for root and the daemon's own uid */
#ifndef DUNLIN_CONTROL_STATUS_H
#define DUNLIN_CONTROL_STATUS_H

#include "dataplane/node.h"

struct status_agent {
    uint32_t slot, uid;
    int32_t pid;
    uint64_t attached_boottime_ns;
    uint64_t throttled; /* times that it had used up its rate */
};

/* Counted by the server since the start. */
struct status_server {
    uint64_t connections, connections_limit;
    uint64_t accepted, refused_connections, refused_requests, closed_slow, throttled;
    uint64_t attachments, faults;
};

struct status_source {
    const struct node *node;
    uint64_t started_boottime_ns;
    struct status_server server;
    const struct status_agent *agents;
    uint32_t agent_count;
    const char *cluster_json; /* an object; NULL: the node is alone */
    bool shows_keys;          /* it is for who may see every key */
};

/* The text, ending with 0, owned by the caller (free); NULL: no memory. */
char *status_json(const struct status_source *source);

/* Name of a counter in JSON; stable. */
const char *status_counter_name(enum counter counter);

#endif
