#include "control/placement.h"

#include "engine/hash.h"

#include <string.h>

#define FRACTION_BITS 32u
#define MANTISSA_BITS 31u

/* log2 of h, which is not 0, in units of 2^-32: the bits of the fraction, one by one, by squaring what is left of
 * the mantissa.  Each of these squares is cut by less than 2^-31, and weighs half as much as the one before. */
static uint64_t log2_of(uint64_t h)
{
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(h);
    uint64_t log = (uint64_t)shift << FRACTION_BITS;
    uint64_t mantissa =
        shift >= MANTISSA_BITS ? h >> (shift - MANTISSA_BITS) : h << (MANTISSA_BITS - shift);
    for (uint32_t bit = FRACTION_BITS; bit-- != 0;) {
        mantissa = mantissa * mantissa >> MANTISSA_BITS;
        if (mantissa >> (MANTISSA_BITS + 1) == 0)
            continue;
        log |= UINT64_C(1) << bit;
        mantissa >>= 1;
    }
    return log;
}

/* Before it is divided by the weight; never 0, so that weights count in all cases. */
static uint64_t cost_of(uint32_t node, uint32_t log)
{
    const uint32_t words[2] = {node, log};
    uint64_t h = hash_key(words, sizeof words);
    return (UINT64_C(64) << FRACTION_BITS) - log2_of(h != 0 ? h : 1);
}

struct candidate {
    const struct placement_node *node;
    uint64_t cost;
};

/* Whether a is to be preferred.  Costs are below 2^38 and weights below 2^10. */
static bool is_better(const struct candidate *a, const struct candidate *b)
{
    uint64_t left = a->cost * b->node->weight, right = b->cost * a->node->weight;
    return left != right ? left < right : a->node->id < b->node->id;
}

static bool has_zone_of(const struct candidate *chosen, uint32_t count,
                        const struct placement_node *n)
{
    for (uint32_t i = 0; i < count && n->zone[0] != 0; i++)
        if (strncmp(chosen[i].node->zone, n->zone, sizeof n->zone) == 0)
            return true;
    return false;
}

/* Of the candidates from the number that is chosen on: the best of a zone that none of the chosen has, or if there
 * is none the best.  They are sorted. */
static uint32_t next_of(const struct candidate *all, uint32_t count, uint32_t chosen)
{
    for (uint32_t i = chosen; i < count; i++)
        if (!has_zone_of(all, chosen, all[i].node))
            return i;
    return chosen;
}

static void candidates_sort(struct candidate *all, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        for (uint32_t at = i; at != 0 && is_better(&all[at], &all[at - 1]); at--) {
            const struct candidate better = all[at];
            all[at] = all[at - 1];
            all[at - 1] = better;
        }
}

uint32_t placement_choose(const struct placement_node *nodes, uint32_t count, uint32_t log,
                          uint32_t replicas, uint32_t chosen[LIMIT_VOTERS])
{
    struct candidate all[LIMIT_VOTERS];
    uint32_t wanted = replicas < count ? replicas : count;
    ASSERT(count <= LIMIT_VOTERS);
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(nodes[i].weight != 0 && nodes[i].weight <= PLACEMENT_WEIGHT_MAX);
        all[i] = (struct candidate){.node = &nodes[i], .cost = cost_of(nodes[i].id, log)};
    }
    candidates_sort(all, count);
    for (uint32_t i = 0; i < wanted; i++) {
        uint32_t next = next_of(all, count, i);
        const struct candidate taken = all[next];
        memmove(&all[i + 1], &all[i], (next - i) * sizeof all[0]);
        all[i] = taken;
        chosen[i] = taken.node->id;
    }
    return wanted;
}
