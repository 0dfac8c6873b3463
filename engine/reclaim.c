#include "engine/reclaim.h"

#include "engine/plant.h"

void reclaim_init(struct reclaim *r, struct layout_board *board, struct frames *frames,
                  struct reclaim_entry *memory)
{
    *r = (struct reclaim){.board = board, .frames = frames, .entries = memory};
}

void reclaim_retire(struct reclaim *r, uint32_t frame, const struct reclaim_now *now)
{
    uint32_t capacity = r->frames->header->geometry.frames_per_shard;
    ASSERT(r->count < capacity);
    struct layout_frame *entry = &r->frames->directory[frame];
    uint32_t kind = atomic_load_explicit(&entry->kind, memory_order_relaxed);
    atomic_store_explicit(&entry->kind, kind | FRAME_RETIRING, memory_order_relaxed);
    /* W2: pairs with V1 */
    atomic_thread_fence(memory_order_seq_cst);
    bool pinned = now->pinned(now->context, frame);
    r->entries[r->count++] = (struct reclaim_entry){
        .ticket = now->ticket_next,
        .ticks_deadline = pinned ? now->ticks + now->view_ticks : 0,
        .frame = frame,
    };
}

static bool is_quarantined(const struct reclaim *r, const struct reclaim_entry *e)
{
    return r->grants != NULL && grant_is_out(r->grants, e->frame) && !PLANTED(QUARANTINE_SKIPPED);
}

static bool is_due(const struct reclaim *r, const struct reclaim_entry *e,
                   const struct reclaim_now *now)
{
    if (PLANTED(REUSE_BEFORE_GRACE))
        return true;
    if (is_quarantined(r, e))
        return false;
    if (e->ticket > now->ticket_done || (now->held != NULL && now->held(now->context, e->frame)))
        return false;
    return e->ticks_deadline <= now->ticks || !now->pinned(now->context, e->frame);
}

static void stamp(struct reclaim *r, uint32_t frame)
{
    if (PLANTED(REUSE_BEFORE_GRACE))
        return;
    uint64_t count = atomic_load_explicit(&r->board->reclaim_count, memory_order_relaxed) + 1;
    atomic_store_explicit(&r->frames->directory[frame].stamp, count, memory_order_relaxed);
    /* W4: release, pairs with R1; the fence orders it before all later overwriting (R5, R6) */
    atomic_store_explicit(&r->board->reclaim_count, count, memory_order_release);
    atomic_thread_fence(memory_order_release);
}

uint32_t reclaim_step(struct reclaim *r, const struct reclaim_now *now)
{
    uint32_t kept = 0;
    uint32_t before = r->count;
    for (uint32_t i = 0; i < before; i++) {
        struct reclaim_entry entry = r->entries[i];
        if (is_due(r, &entry, now)) {
            stamp(r, entry.frame);
            frames_give(r->frames, entry.frame);
        } else {
            r->entries[kept++] = entry;
        }
    }
    r->count = kept;
    return before - kept;
}

uint32_t reclaim_coming(const struct reclaim *r)
{
    uint32_t count = 0;
    if (r->grants == NULL || !grant_any(r->grants))
        return r->count;
    for (uint32_t i = 0; i < r->count; i++)
        count += !is_quarantined(r, &r->entries[i]);
    return count;
}
