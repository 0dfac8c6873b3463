/* boards - what agents may read of the shards of one lcore, as its words in shared memory say it, and
 * the one order in which those are stored and frames leave.
 *
 * Pure core; owned by the lcore, which stores to memory that agents map.  The daemon's poll loop and the
 * simulator's nodes both show their group through it:
 *   board_show     the board of a shard whose replica made a step, before what the step says is sent
 *   boards_frame   all boards and lease cells, before each frame of a pair
 *
 * Why before: a frame, or a message, tells another node what we know.  Once it knows that we read no
 * longer, it commits without us, and an agent that still finds our right would answer with the past.
 * Memory order: the generation of a board or a cell is stored before what it gives a right to, each with
 * release; pairs with R1 and R7 (engine/read.h). */
#ifndef DUNLIN_DATAPLANE_BOARDS_H
#define DUNLIN_DATAPLANE_BOARDS_H

#include "dataplane/group.h"
#include "engine/layout.h"

struct boards {
    struct group *group;
    struct layout_lease *cells; /* LIMIT_LEASE_CELLS_PER_LCORE of them, this lcore's */
    uint32_t cell_first;        /* number of the first in the node file */
    struct lease_cell cells_shown[LIMIT_LEASE_CELLS_PER_LCORE];
};

/* Both are the caller's and outlive it; the cells are zero, as the boards of the group's shards are. */
void boards_init(struct boards *b, struct group *group, struct layout_lease *cells,
                 uint32_t cell_first);

/* Epoch of the list that a follower's shard stands on; 0: none. */
static ALWAYS_INLINE uint64_t replica_listed(const struct replica *r)
{
    return r->list_pair != NULL ? r->list_epoch : 0;
}

/* The words of a replica's board that changed; board_show has seen that some did. */
void boards_change(const struct boards *b, struct replica *r, uint64_t generation);

/* Show one replica's board. */
static ALWAYS_INLINE void board_show(const struct boards *b, struct replica *r)
{
    uint64_t generation = r->generation << 1 | (r->may_read ? LAYOUT_GENERATION_MAY_READ : 0);
    if (r->generation_shown != generation || r->list_shown != replica_listed(r) ||
        (r->follower_shown == LAYOUT_LEADS) != (r->role == REPLICA_LEADING))
        boards_change(b, r, generation);
}

/* Show every board and cell, whether or not anything changed: a pair begins or ended, and a cell is judged by
 * its number. */
void boards_again(struct boards *b);

/* Show every board and cell, then as group_frame. */
MUST_USE bool boards_frame(struct boards *b, struct pair_frame *f, uint32_t *to, uint64_t now_late);

#endif
