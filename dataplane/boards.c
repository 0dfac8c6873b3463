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
    for (uint32_t i = 0; i < g->right_count; i++)
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
static const struct lease_cell *cell_for(const struct replica *r)
{
    return !r->may_read && r->list_pair != NULL ? &r->list_pair->cell : r->cell;
}

/* relaxed, all: words of its own lcore, which alone writes them */
static uint64_t load(_Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

/* Until when the shard was the newest by what its board says up to now, which is about to change. */
static uint64_t sure_until(const struct boards *b, const struct replica *r)
{
    struct layout_board *board = r->shard->board;
    /* relaxed: as load */
    const uint32_t cell =
        atomic_load_explicit(&board->lease_cell, memory_order_relaxed) - b->cell_first;
    uint64_t until = 0;
    if (cell >= LIMIT_LEASE_CELLS_PER_LCORE)
        return load(&board->ticks_sure); /* it was never shown */
    if (r->follower_shown == LAYOUT_FOLLOWS)
        until = load(&b->cells[cell].ticks_current);
    else if (r->follower_shown == LAYOUT_LEADS &&
             (r->generation_shown & LAYOUT_GENERATION_MAY_READ) != 0)
        until = min_u64(b->cells_shown[cell].end, b->group->now);
    if (r->follower_shown == LAYOUT_FOLLOWS && until < load(&board->ticks_listed))
        until = 0;
    return max_u64(until, load(&board->ticks_sure));
}

/* Before the cell and the role that go with them. */
static void clocks_show(const struct boards *b, struct replica *r)
{
    struct layout_board *board = r->shard->board;
    atomic_store_explicit(&board->ticks_sure, sure_until(b, r), memory_order_relaxed);
    if (r->list_shown == replica_listed(r))
        return;
    r->list_shown = replica_listed(r);
    /* What it said before was said without knowing how far behind this shard is. */
    atomic_store_explicit(&board->ticks_listed, b->group->now, memory_order_relaxed);
}

static enum layout_follower follower_of(const struct replica *r)
{
    if (r->role == REPLICA_LEADING)
        return LAYOUT_LEADS;
    return r->list_pair != NULL ? LAYOUT_FOLLOWS : LAYOUT_LEADERLESS;
}

void boards_change(const struct boards *b, struct replica *r, uint64_t generation)
{
    struct layout_board *board = r->shard->board;
    const enum layout_follower follower = follower_of(r);
    bool begins = r->may_read;
    const struct lease_cell *cell = cell_for(r);
    if (!begins)
        /* release: pairs with R7 */
        atomic_store_explicit(&board->lease_generation, generation, memory_order_release);
    clocks_show(b, r);
    /* release: behind the clocks that go with them; whoever read under another cell or role finds another
     * generation, too */
    atomic_store_explicit(&board->lease_cell, b->cell_first + cell_number(b->group, cell),
                          memory_order_release);
    atomic_store_explicit(&board->follower, (uint16_t)follower, memory_order_release);
    if (begins)
        /* release: after the cell and the role that it is read under; pairs with R1 */
        atomic_store_explicit(&board->lease_generation, generation, memory_order_release);
    r->generation_shown = generation;
    r->follower_shown = (uint8_t)follower;
}

void boards_again(struct boards *b)
{
    struct group *g = b->group;
    for (uint32_t i = 0; i < g->replica_count; i++) {
        struct replica *r = g->replicas[i];
        boards_change(b, r, r->generation << 1 | (r->may_read ? LAYOUT_GENERATION_MAY_READ : 0));
    }
    cells_show(b);
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
