/* How old a read without a lease may be: by whose word the board says that it goes. */
#include "engine/read.h"

static uint64_t load(const _Atomic uint64_t *word)
{
    /* relaxed: clocks; those that go with a cell and a role are stored before these */
    return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)word, memory_order_relaxed);
}

/* It has the newest there is for as long as it may read; after that others may lead. */
static uint64_t asked_of_leader(const struct layout_lease *cell, uint64_t alive)
{
    const uint64_t deadline = load(&cell->ticks_deadline);
    return deadline == 0 || deadline > alive ? alive : deadline;
}

static uint64_t asked_of_follower(const struct layout_board *board, const struct layout_lease *cell,
                                  bool is_listed)
{
    const uint64_t told = is_listed ? load(&cell->ticks_current) : 0;
    const uint64_t sure = load(&board->ticks_sure);
    return told >= load(&board->ticks_listed) ? max_u64(told, sure) : sure;
}

uint64_t read_age_ns(const struct read_point *p, const struct read_space *s, uint64_t ticks)
{
    const struct layout_board *board = p->board;
    const uint32_t follower =
        atomic_load_explicit((_Atomic uint16_t *)(uintptr_t)&board->follower, memory_order_relaxed);
    const uint32_t cell = atomic_load_explicit((_Atomic uint32_t *)(uintptr_t)&board->lease_cell,
                                               memory_order_relaxed);
    /* acquire, of both above: pairs with their release, behind the clocks (dataplane/boards.c) */
    atomic_thread_fence(memory_order_acquire);
    const struct layout_lease *lease = &s->node->leases[cell % LIMIT_LEASE_CELLS];
    const uint64_t alive = load(&s->node->lcores[board->lcore % LIMIT_LCORES].ticks_alive);
    const uint64_t asked = follower == LAYOUT_LEADS
                               ? asked_of_leader(lease, alive)
                               : asked_of_follower(board, lease, follower == LAYOUT_FOLLOWS);
    if (asked == 0)
        return UINT64_MAX;
    return ticks > asked ? clock_ticks_to_ns(ticks - asked, s->node->ticks_per_s) : 0;
}
