#include "engine/frames.h"

void frames_init(struct frames *f, struct layout_space *header, struct layout_frame *directory,
                 _Atomic uint32_t *chunks_wanted, uint32_t *free_memory)
{
    *f = (struct frames){
        .header = header,
        .directory = directory,
        .chunks_wanted = chunks_wanted,
        .free = free_memory,
        .leave_frame = UINT32_MAX,
        .leave_chunk = UINT32_MAX,
    };
}

uint32_t frames_within(const struct frames *f, uint32_t chunk_count)
{
    const struct layout_geometry *g = &f->header->geometry;
    uint64_t usable = (uint64_t)chunk_count * g->frames_per_chunk;
    uint64_t n = usable <= f->shard ? 0 : (usable - f->shard - 1) / g->shard_count + 1;
    return (uint32_t)min_u64(n, g->frames_per_shard);
}

uint32_t frames_total(const struct frames *f)
{
    /* relaxed: a bound that control moves now and then; a late look only delays */
    uint32_t limit = atomic_load_explicit(&f->header->chunk_limit, memory_order_relaxed);
    return frames_within(f, limit);
}

uint32_t frames_existing(const struct frames *f)
{
    /* relaxed: only a count; frames_take loads it with acquire before it uses a chunk */
    uint32_t count = atomic_load_explicit(&f->header->chunk_count, memory_order_relaxed);
    uint32_t within = frames_within(f, count);
    return UNLIKELY(f->leave_frame != UINT32_MAX) ? (uint32_t)min_u64(within, f->leave_n) : within;
}

uint32_t frames_ready(const struct frames *f)
{
    uint32_t existing = frames_existing(f);
    uint32_t fresh = existing > f->fresh_next ? existing - f->fresh_next : 0;
    uint32_t all = f->free_count + fresh;
    return all > f->reserved ? all - f->reserved : 0;
}

uint32_t frames_available(const struct frames *f)
{
    uint32_t within = frames_total(f);
    uint32_t fresh = within > f->fresh_next ? within - f->fresh_next : 0;
    uint32_t all = f->free_count + fresh;
    return all > f->reserved ? all - f->reserved : 0;
}

static uint32_t chunk_of(const struct frames *f, uint32_t n)
{
    const struct layout_geometry *g = &f->header->geometry;
    uint32_t last = n < g->frames_per_shard ? n : g->frames_per_shard - 1;
    return (uint32_t)(((uint64_t)last * g->shard_count + f->shard) / g->frames_per_chunk);
}

static void want_chunks(struct frames *f, uint32_t wanted)
{
    uint32_t old = atomic_load_explicit(f->chunks_wanted, memory_order_relaxed);
    /* relaxed: a number, nothing hangs on it; the waker orders it before control looks */
    while (old < wanted &&
           !atomic_compare_exchange_weak_explicit(f->chunks_wanted, &old, wanted,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

/* Ask for the next chunk when this one is half used, so that making it delays nobody. */
static void ask_ahead(struct frames *f)
{
    const struct layout_geometry *g = &f->header->geometry;
    /* Why not beside chunks that are to go: who only may need more would keep them. */
    if (f->leave_chunk != UINT32_MAX)
        return;
    uint32_t ahead = 2 + g->frames_per_chunk / (2 * g->shard_count);
    want_chunks(f, chunk_of(f, f->fresh_next + ahead) + 1);
}

void frames_ask(struct frames *f)
{
    /* relaxed: as in frames_existing */
    uint32_t count = atomic_load_explicit(&f->header->chunk_count, memory_order_relaxed);
    if (frames_existing(f) < f->header->geometry.frames_per_shard)
        want_chunks(f, count + 1);
}

bool frames_reserve(struct frames *f, uint32_t n)
{
    uint32_t existing = frames_existing(f);
    uint32_t fresh = existing > f->fresh_next ? existing - f->fresh_next : 0;
    if (f->free_count + fresh < f->reserved + n) {
        frames_ask(f);
        return false;
    }
    f->reserved += n;
    return true;
}

void frames_unreserve(struct frames *f, uint32_t n)
{
    ASSERT(f->reserved >= n);
    f->reserved -= n;
}

static void set_entry(struct frames *f, uint32_t frame, enum frame_kind kind, uint64_t lsn_start)
{
    struct layout_frame *entry = &f->directory[frame];
    entry->shard = f->shard;
    /* relaxed: readers get to a frame by a slot or page number stored later (release) */
    atomic_store_explicit(&entry->lsn_start, lsn_start, memory_order_relaxed);
    atomic_store_explicit(&entry->bytes_used, 0, memory_order_relaxed);
    atomic_store_explicit(&entry->bytes_live, 0, memory_order_relaxed);
    /* release: a cursor gets there by an older entry of the table by LSN, too; pairs with C3 (cursor.h) */
    atomic_store_explicit(&entry->kind, (uint32_t)kind, memory_order_release);
}

/* A frame never used, or not since its chunk was made again.  False: the board does not say yet that it
 * was. */
static bool fresh_begin(struct frames *f, uint32_t frame)
{
    /* relaxed, here and below: control stored it before the count that says that the chunk is there; the
     * rest is this thread's own */
    uint32_t generation = atomic_load_explicit(&f->header->arena_generation, memory_order_relaxed);
    if (LIKELY(generation == 0 || f->board == NULL))
        return true;
    if (atomic_load_explicit(&f->board->arena_generation, memory_order_relaxed) != generation)
        return false;
    /* Why: a reader that has the older chunk mapped began before the counter was here. */
    uint64_t count = atomic_load_explicit(&f->board->reclaim_count, memory_order_relaxed);
    atomic_store_explicit(&f->directory[frame].stamp, count, memory_order_relaxed);
    return true;
}

int frames_take(struct frames *f, enum frame_kind kind, uint64_t lsn_start, uint32_t *frame)
{
    const struct layout_geometry *g = &f->header->geometry;
    if (f->free_count != 0) {
        *frame = f->free[--f->free_count];
        set_entry(f, *frame, kind, lsn_start);
        return 0;
    }
    if (f->fresh_next >= g->frames_per_shard)
        return -ENOSPC;
    ask_ahead(f);
    /* acquire: pairs with control's release after it mapped the chunk */
    uint32_t chunks = atomic_load_explicit(&f->header->chunk_count, memory_order_acquire);
    uint32_t chunk = chunk_of(f, f->fresh_next);
    if (chunk >= chunks) {
        uint32_t limit = atomic_load_explicit(&f->header->chunk_limit, memory_order_relaxed);
        return chunk >= limit ? -ENOSPC : -EAGAIN;
    }
    uint32_t fresh = (uint32_t)layout_frame_of(g, f->shard, f->fresh_next);
    if (frames_is_leaving(f, fresh))
        want_chunks(f, chunk + 1); /* more than was to stay: nothing is to go then */
    if (frames_is_leaving(f, fresh) || !fresh_begin(f, fresh))
        return -EAGAIN;
    f->fresh_next++;
    *frame = fresh;
    set_entry(f, *frame, kind, lsn_start);
    return 0;
}

void frames_give(struct frames *f, uint32_t frame)
{
    ASSERT(f->free_count < f->header->geometry.frames_per_shard);
    atomic_store_explicit(&f->directory[frame].kind, (uint32_t)FRAME_FREE, memory_order_relaxed);
    if (frames_is_leaving(f, frame))
        f->away++;
    else
        f->free[f->free_count++] = frame;
}

/* ---- chunks that are to go ---- */

static uint32_t first_frame(const struct frames *f, uint32_t chunk)
{
    const struct layout_geometry *g = &f->header->geometry;
    return chunk << (g->chunk_shift - g->segment_shift);
}

uint32_t frames_ready_before(const struct frames *f, uint32_t chunk)
{
    uint32_t within = frames_within(f, chunk), first = first_frame(f, chunk);
    uint32_t count = within > f->fresh_next ? within - f->fresh_next : 0;
    for (uint32_t i = 0; i < f->free_count; i++)
        count += f->free[i] < first;
    return count;
}

void frames_leave(struct frames *f, uint32_t chunk)
{
    ASSERT(f->leave_frame == UINT32_MAX && f->away == 0);
    f->leave_frame = first_frame(f, chunk);
    f->leave_n = frames_within(f, chunk);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < f->free_count; i++)
        if (!frames_is_leaving(f, f->free[i]))
            f->free[kept++] = f->free[i];
    f->away = f->free_count - kept;
    f->free_count = kept;
}

bool frames_left(const struct frames *f)
{
    return f->fresh_next <= f->leave_n || f->away == f->fresh_next - f->leave_n;
}

void frames_leave_done(struct frames *f)
{
    ASSERT(frames_left(f));
    f->fresh_next = (uint32_t)min_u64(f->fresh_next, f->leave_n);
    f->away = 0;
}

void frames_leave_end(struct frames *f)
{
    for (uint32_t n = f->leave_n; f->away != 0; n++) {
        uint32_t frame = (uint32_t)layout_frame_of(&f->header->geometry, f->shard, n);
        ASSERT(n < f->fresh_next);
        if (atomic_load_explicit(&f->directory[frame].kind, memory_order_relaxed) != FRAME_FREE)
            continue;
        f->free[f->free_count++] = frame;
        f->away--;
    }
    f->leave_frame = UINT32_MAX;
}
