#include "engine/expiry.h"

#include <string.h>

#define NOWHERE UINT32_MAX

/* Why a third more: the walks of a linear table grow long when it is nearly full. */
static uint32_t slots_for(uint32_t capacity)
{
    uint32_t size = 4;
    while (size < capacity + capacity / 3)
        size *= 2;
    return size;
}

size_t expiry_bytes(uint32_t capacity)
{
    return (size_t)capacity * sizeof(struct expiry_entry) +
           (size_t)slots_for(capacity) * sizeof(uint32_t);
}

void expiry_init(struct expiry *e, uint32_t capacity, void *memory)
{
    ASSERT(capacity != 0 && capacity <= UINT32_MAX / 4);
    *e = (struct expiry){
        .heap = memory,
        .by_lsn = (uint32_t *)(void *)((struct expiry_entry *)memory + capacity),
        .capacity = capacity,
        .mask = slots_for(capacity) - 1,
    };
}

/* ---- by LSN ---- */

static uint32_t home_of(const struct expiry *e, uint64_t lsn)
{
    return (uint32_t)((lsn * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & e->mask;
}

/* Its slot, or the empty one where it belongs. */
static uint32_t slot_of(const struct expiry *e, uint64_t lsn)
{
    uint32_t slot = home_of(e, lsn);
    while (e->by_lsn[slot] != 0 && e->heap[e->by_lsn[slot] - 1].lsn != lsn)
        slot = (slot + 1) & e->mask;
    return slot;
}

/* Close the gap, so that no walk meets a hole. */
static void slot_empty(struct expiry *e, uint32_t gap)
{
    for (uint32_t next = (gap + 1) & e->mask; e->by_lsn[next] != 0; next = (next + 1) & e->mask) {
        struct expiry_entry *entry = &e->heap[e->by_lsn[next] - 1];
        uint32_t home = home_of(e, entry->lsn);
        if (((next - home) & e->mask) < ((next - gap) & e->mask))
            continue;
        e->by_lsn[gap] = e->by_lsn[next];
        entry->slot = gap;
        gap = next;
    }
    e->by_lsn[gap] = 0;
}

uint32_t expiry_find(const struct expiry *e, uint64_t lsn)
{
    if (e->count == 0)
        return NOWHERE;
    uint32_t place = e->by_lsn[slot_of(e, lsn)];
    return place != 0 ? place - 1 : NOWHERE;
}

/* ---- by time ---- */

static void put(struct expiry *e, uint32_t place, const struct expiry_entry *entry)
{
    e->heap[place] = *entry;
    e->by_lsn[entry->slot] = place + 1;
}

/* Move the entry at a place to where its time belongs. */
static void settle(struct expiry *e, uint32_t place)
{
    const struct expiry_entry moving = e->heap[place];
    while (place != 0 && moving.due_ns < e->heap[(place - 1) / 2].due_ns) {
        put(e, place, &e->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    for (;;) {
        uint64_t child = 2 * (uint64_t)place + 1;
        if (child >= e->count)
            break;
        if (child + 1 < e->count && e->heap[child + 1].due_ns < e->heap[child].due_ns)
            child++;
        if (moving.due_ns <= e->heap[child].due_ns)
            break;
        put(e, place, &e->heap[child]);
        place = (uint32_t)child;
    }
    put(e, place, &moving);
}

void expiry_add(struct expiry *e, const struct expiry_entry *entry)
{
    ASSERT(!expiry_is_full(e));
    struct expiry_entry added = *entry;
    added.slot = slot_of(e, entry->lsn);
    ASSERT(e->by_lsn[added.slot] == 0);
    put(e, e->count++, &added);
    settle(e, e->count - 1);
}

void expiry_set(struct expiry *e, uint32_t place, const struct expiry_entry *entry)
{
    struct expiry_entry changed = *entry;
    changed.slot = e->heap[place].slot;
    if (changed.lsn != e->heap[place].lsn) {
        slot_empty(e, changed.slot);
        changed.slot = slot_of(e, changed.lsn);
        ASSERT(e->by_lsn[changed.slot] == 0);
    }
    put(e, place, &changed);
    settle(e, place);
}

void expiry_remove(struct expiry *e, uint32_t place)
{
    ASSERT(place < e->count);
    slot_empty(e, e->heap[place].slot);
    if (place == --e->count)
        return;
    put(e, place, &e->heap[e->count]);
    settle(e, place);
}
