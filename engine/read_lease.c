#include "engine/read.h"

/* Edge: the only part of the read protocol that reads a clock. */

bool read_lease_holds(const struct read_space *s, uint64_t deadline)
{
    return clock_ticks((enum clock_kind)s->node->clock_kind) < deadline;
}

bool read_lease(const struct read_point *p, const struct read_space *s)
{
    uint64_t deadline = read_lease_deadline(p, s);
    return deadline != 0 && read_lease_holds(s, deadline);
}
