#include "bench/fleet_journal.h"

#include <time.h>

#define WAIT_NS 200000

void fleet_region_init(struct fleet_region *r, uint32_t life, uint32_t slot_count)
{
    r->life = life;
    r->slot_count = slot_count;
    r->slots_at = align_up(sizeof(*r), PAGE);
}

static uint64_t used(const struct fleet_region *r)
{
    /* relaxed: its only writer asks.  K2 acquire */
    return atomic_load_explicit(&r->tail, memory_order_relaxed) -
           atomic_load_explicit(&r->head, memory_order_acquire);
}

bool fleet_journal_has_room(const struct fleet_region *r)
{
    return used(r) < FLEET_JOURNAL_ENTRIES - FLEET_JOURNAL_RESERVE;
}

void fleet_journal_put(struct fleet_region *r, const struct fleet_entry *entry)
{
    while (used(r) >= FLEET_JOURNAL_ENTRIES) {
        struct timespec wait = {.tv_nsec = WAIT_NS};
        fleet_count(r, FLEET_JOURNAL_WAITS, 1);
        (void)nanosleep(&wait, NULL); /* a signal shortens it: looked again all the same */
    }
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed); /* relaxed: own */
    r->entries[tail % FLEET_JOURNAL_ENTRIES] = *entry;
    atomic_store_explicit(&r->tail, tail + 1, memory_order_release); /* J1 */
}

size_t fleet_journal_take(struct fleet_region *r, struct fleet_entry *entries, size_t capacity)
{
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_acquire); /* J2 */
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed); /* relaxed: own */
    size_t n = 0;
    for (; head != tail && n < capacity; n++, head++)
        entries[n] = r->entries[head % FLEET_JOURNAL_ENTRIES];
    atomic_store_explicit(&r->head, head, memory_order_release); /* K1 */
    return n;
}
