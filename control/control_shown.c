#include "control/control_shown.h"

#include "engine/clock.h"

static json_t *lease_left(const struct raft_node_shown *s)
{
    uint64_t now = clock_boottime_ns();
    if (s->lease_until_ns == 0)
        return json_null();
    int64_t left_ns = (int64_t)(s->lease_until_ns - now);
    return json_integer(left_ns / (int64_t)NS_PER_MS);
}

json_t *control_shown(struct raft_node *n)
{
    struct raft_node_shown s;
    if (n == NULL)
        return json_null();
    raft_node_shown(n, &s);
    return json_pack("{s:I, s:I, s:I, s:b, s:I, s:o, s:b}", "leader", (json_int_t)s.leader, "term",
                     (json_int_t)s.term, "applied", (json_int_t)s.applied, "voter", s.is_voter,
                     "connected", (json_int_t)s.connected, "lease_ms", lease_left(&s), "full",
                     s.is_full);
}
