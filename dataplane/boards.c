#include "dataplane/boards.h"

#include "engine/plant.h"

void boards_init(struct boards *b, struct group *group, struct layout_lease *cells,
                 uint32_t cell_first)
{
    *b = (struct boards){.group = group, .cells = cells, .cell_first = cell_first};
}

/* ---- lease cells ---- */

/* Number of a lease cell among the lcore's own: rights of leaders first, then pairs. */
static uint32_t cell_number(const struct group *g, const struct lease_cell *cell)
{
    for (uint32_t i = 0; i < LIMIT_RIGHTS; i++)
        if (cell == &g->rights[i].cell)
            return i;
    for (uint32_t i = 0; i < g->pair_count; i++)
        if (cell == &g->pairs[i].cell)
            return LIMIT_RIGHTS + i;
    return 0;
}

static void cell_show(struct boards *b, uint32_t number, const struct lease_cell *cell)
{
    struct lease_cell *shown = &b->cells_shown[number];
    struct layout_lease *to = &b->cells[number];
    if (shown->generation != cell->generation)
        /* release: before any deadline of it; pairs with R7 */
        atomic_store_explicit(&to->generation, cell->generation, memory_order_release);
    if (shown->end != cell->end)
        atomic_store_explicit(&to->ticks_deadline, cell->end, memory_order_release);
    *shown = *cell;
}

static void cells_show(struct boards *b)
{
    const struct group *g = b->group;
    for (uint32_t i = 0; i < LIMIT_RIGHTS; i++)
        cell_show(b, i, &g->rights[i].cell);
    for (uint32_t i = 0; i < g->pair_count; i++) {
        const struct pair *p = &g->pairs[i];
        cell_show(b, LIMIT_RIGHTS + i, &p->cell);
        /* relaxed: an age */
        atomic_store_explicit(&b->cells[LIMIT_RIGHTS + i].ticks_current, p->ticks_current,
                              memory_order_relaxed);
    }
}

/* ---- boards ---- */

/* The cell that judges reads of a shard: of its right, or of its leader's pair, whose age counts also
 * while it has no right. */
static const struct lease_cell *cell_for(const struct group *g, const struct replica *r)
{
    if (r->may_read || r->role != REPLICA_FOLLOWER)
        return r->cell;
    const struct pair *p = group_pair(g, r->leader.node);
    return p != NULL ? &p->cell : r->cell;
}

void boards_change(const struct boards *b, struct replica *r, uint64_t generation)
{
    struct layout_board *board = r->shard->board;
    bool follower = r->role != REPLICA_LEADING;
    bool begins = r->may_read;
    const struct lease_cell *cell = cell_for(b->group, r);
    if (!begins)
        /* release: pairs with R7 */
        atomic_store_explicit(&board->lease_generation, generation, memory_order_release);
    /* relaxed: whoever read under another cell or role finds another generation */
    atomic_store_explicit(&board->follower, follower, memory_order_relaxed);
    atomic_store_explicit(&board->lease_cell, b->cell_first + cell_number(b->group, cell),
                          memory_order_relaxed);
    if (begins)
        /* release: after the cell and the role that it is read under; pairs with R1 */
        atomic_store_explicit(&board->lease_generation, generation, memory_order_release);
    r->generation_shown = generation;
    r->follower_shown = follower;
}

/* What a frame of a peer changed, of whatever shard: a frame that says we know, or a deadline that was
 * renewed without the shard, must not leave before agents know, too. */
static void show(struct boards *b)
{
    struct group *g = b->group;
    if (UNLIKELY(g->reads_changed)) {
        g->reads_changed = false;
        for (uint32_t i = 0; i < g->replica_count; i++)
            board_show(b, g->replicas[i]);
    }
    cells_show(b);
}

bool boards_frame(struct boards *b, struct pair_frame *f, uint32_t *to, uint64_t now_late)
{
    if (!PLANTED(BOARD_AFTER_ECHO))
        show(b);
    if (group_frame(b->group, f, to, now_late))
        return true;
    if (PLANTED(BOARD_AFTER_ECHO))
        show(b);
    return false;
}
