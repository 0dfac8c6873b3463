#include "engine/grant.h"

bool grant_is_out(const struct grants *g, uint32_t frame)
{
    for (unsigned i = 0; i < LIMIT_GRANTS; i++)
        if (g->out[i].number != 0 && g->out[i].frame == frame)
            return true;
    return false;
}

bool grant_any(const struct grants *g)
{
    for (unsigned i = 0; i < LIMIT_GRANTS; i++)
        if (g->out[i].number != 0)
            return true;
    return false;
}

uint32_t grant_return(struct grants *g, uint32_t node, uint64_t incarnation, uint64_t number)
{
    uint32_t count = 0;
    for (unsigned i = 0; i < LIMIT_GRANTS; i++) {
        struct grant *out = &g->out[i];
        if (out->number == 0 || out->number > number || out->holder.node != node ||
            out->holder.incarnation != incarnation)
            continue;
        out->number = 0;
        count++;
    }
    return count;
}

uint32_t grant_void(struct grants *g, uint32_t node)
{
    uint32_t count = 0;
    for (unsigned i = 0; i < LIMIT_GRANTS; i++) {
        if (g->out[i].number == 0 || g->out[i].holder.node != node)
            continue;
        g->out[i].number = 0;
        count++;
    }
    return count;
}
