#include "engine/agent/merge.h"

/* The first of all below a node; losers are left on the way.  As deep as the tree. */
static struct merge_node play(struct merge *m, uint32_t i)
{
    if (i >= m->size) {
        uint32_t sequence = i - m->size;
        uint64_t rank = sequence < m->count ? m->rank(m->context, sequence) : UINT64_MAX;
        return (struct merge_node){.rank = rank, .sequence = sequence};
    }
    struct merge_node a = play(m, 2 * i), b = play(m, 2 * i + 1);
    bool loses = a.rank != b.rank ? b.rank < a.rank : merge_before(m, b.sequence, a.sequence);
    m->losers[i] = loses ? a : b;
    return loses ? b : a;
}

void merge_build(struct merge *m)
{
    m->size = merge_size(m->count);
    m->first = play(m, 1).sequence;
}
