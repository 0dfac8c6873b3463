#include "bench/fleet_look.h"

int fleet_look_judge(const struct fleet_look *l, const struct fleet_answer *a, uint64_t *expected)
{
    uint64_t seen = a->aged ? l->lsn_aged[a->node] : l->lsn[a->node];
    uint64_t least = a->linearizable ? max_u64(l->lsn_acked, l->lsn_floor) : 0;
    *expected = max_u64(seen, least);
    if (a->lsn >= *expected)
        return 0;
    if (a->lsn == 0)
        return FLEET_FINDING_MISSING;
    return a->lsn < seen ? FLEET_FINDING_VERSION_FELL : FLEET_FINDING_NOT_VISIBLE;
}

bool fleet_look_take(struct fleet_look *l, const struct fleet_answer *a, uint32_t node_mask)
{
    bool is_new = a->lsn > l->lsn[a->node];
    l->lsn[a->node] = max_u64(l->lsn[a->node], a->lsn);
    if (a->aged)
        l->lsn_aged[a->node] = a->lsn;
    if (a->linearizable)
        l->lsn_floor = max_u64(l->lsn_floor, a->lsn);
    for (uint32_t i = 0; i < FLEET_NODES_MAX && is_new; i++)
        is_new = (node_mask & 1u << i) == 0 || l->lsn[i] >= a->lsn;
    return is_new;
}
