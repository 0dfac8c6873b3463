/* merge - which of many sorted sequences goes on next: a tree of losers.
 *
 * Pure.  Each sequence is at an element with a rank; the least is first, and where ranks are equal the
 * caller's `before` tells.  An inner node of the tree keeps who lost there, so that when the first goes
 * on, its new rank meets those on one path, without a branch that could be guessed wrong.
 * Source: Knuth, "The Art of Computer Programming" vol. 3 (1998), 5.4.1. */
#ifndef DUNLIN_ENGINE_AGENT_MERGE_H
#define DUNLIN_ENGINE_AGENT_MERGE_H

#include "engine/base.h"

struct merge_node {
    uint64_t rank;
    uint32_t sequence;
};

struct merge {
    uint32_t count; /* of sequences, 1 or more */
    uint32_t size;  /* the next power of two: more of them, that are behind all */
    uint32_t first;
    struct merge_node *losers; /* merge_size(count) of them, the caller's */
    /* The rank of a sequence's element now; an ended one has UINT64_MAX. */
    uint64_t (*rank)(const void *context, uint32_t sequence);
    /* Whether a's element comes before b's, their ranks equal: no if a has ended, yes if only b has. */
    bool (*before)(const void *context, uint32_t a, uint32_t b);
    const void *context;
};

static inline uint32_t merge_size(uint32_t count)
{
    return count > 1 ? 1u << (32 - __builtin_clz(count - 1)) : 1;
}

/* Find the first anew: at the beginning, and after all ranks changed. */
void merge_build(struct merge *m);

static ALWAYS_INLINE bool merge_before(const struct merge *m, uint32_t a, uint32_t b)
{
    return a < m->count && (b >= m->count || m->before(m->context, a, b));
}

/* The first sequence went on: it has this rank now. */
static ALWAYS_INLINE void merge_next(struct merge *m, uint64_t rank)
{
    uint32_t sequence = m->first;
    for (uint32_t i = (m->size + sequence) / 2; i != 0; i /= 2) {
        struct merge_node *n = &m->losers[i];
        uint64_t other = n->rank;
        bool loses = other < rank;
        if (UNLIKELY(other == rank))
            loses = merge_before(m, n->sequence, sequence);
        /* Why masks: of two keys each is the smaller as often as the other. */
        uint64_t mask = 0 - (uint64_t)loses;
        uint64_t ranks = (other ^ rank) & mask;
        uint32_t sequences = (n->sequence ^ sequence) & (uint32_t)mask;
        n->rank = other ^ ranks;
        n->sequence ^= sequences;
        rank ^= ranks;
        sequence ^= sequences;
    }
    m->first = sequence;
}

#endif
