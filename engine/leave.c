#include "engine/leave.h"

#include "engine/pending.h"
#include "engine/write.h"

/* Of what is left, so much may be live: less than makes a write ask for the next chunk. */
#define LEAVE_EIGHTHS 4u
/* Beside what is in use for good, so many frames are left over: what cleaning wants free, twice. */
#define LEAVE_SHARE 4u
/* Frames that what is moved never takes. */
#define LEAVE_FRAMES_KEPT (FRAMES_KEPT + 1u)
/* Free to begin with: a follower grants its leader others for those that it leaves. */
#define LEAVE_FRAMES_FREE (LEAVE_FRAMES_KEPT + LIMIT_GRANTS + 2u)
#define LEAVE_NODES 16u
/* Deletes make cleaning worth it from such a share of what is live on: the cleaner's own ratio. */
#define LEAVE_DELETES_SHARE 8u
/* Where versions are kept, a tombstone goes the second time that it is met: versions.h. */
#define LEAVE_ROUNDS_HISTORY 2u
#define LEAVE_BYTES (64u << 10)

/* ---- whether ---- */

static bool fits(const struct shard *s, uint32_t chunk, uint64_t live_charge)
{
    const struct frames *f = &s->frames;
    uint32_t frames = frames_within(f, chunk);
    uint32_t taken = index_pages(&s->index) + index_pages_wanted(&s->index) + s->order.frame_count +
                     s->order.leaving;
    uint32_t spare = frames / LEAVE_SHARE + 2 * WRITE_FRAMES_WORKING;
    uint64_t live = live_charge >> s->geometry.segment_shift;
    return frames >= LIMIT_SHARD_FRAMES_MIN && f->reserved == 0 && taken + live + spare <= frames &&
           live_charge <= write_live_max(s, frames, LEAVE_EIGHTHS);
}

/* It does not fit, but may when what was deleted is forgotten. */
static bool sweep_helps(const struct shard *s, uint32_t chunk)
{
    uint64_t gain = min_u64(s->leave.deletes * RECORD_SMALL_BYTES, s->live_charge);
    if (gain == 0 || gain < s->live_charge / LEAVE_DELETES_SHARE)
        return false;
    /* Why: with a tombstone go the versions that were kept below it. */
    return fits(s, chunk, s->has_history ? 0 : s->live_charge - gain);
}

/* A state that is being taken over, or given up, moves by itself. */
static bool is_settled(const struct shard *s)
{
    return s->install.beside == INSTALL_NONE && s->install.retired_count == 0 &&
           s->lsn_visible == 0 && !s->index.growing && s->landing.cut_frame == 0;
}

static void answer(const struct shard *s, uint64_t word)
{
    /* release: nothing of the shard is there any more, and nothing will be; pairs with control's acquire */
    atomic_store_explicit(&s->board->leave_answer, word, memory_order_release);
}

/* L1: the board says what readers have to have mapped. */
static void generation_show(struct shard *s)
{
    uint32_t generation =
        atomic_load_explicit(&s->frames.header->arena_generation, memory_order_relaxed);
    /* relaxed: this thread's own */
    if (atomic_load_explicit(&s->board->arena_generation, memory_order_relaxed) == generation)
        return;
    /* release: whoever finds it here finds it in the header */
    atomic_store_explicit(&s->board->arena_generation, generation, memory_order_release);
    uint64_t count = atomic_load_explicit(&s->board->reclaim_count, memory_order_relaxed);
    /* Why: both wait for a number of frames to be stamped, and this is none. */
    if (s->index.growth_stamp > count && s->index.growth_stamp != UINT64_MAX)
        s->index.growth_stamp++;
    atomic_store_explicit(&s->board->reclaim_count, count + 1, memory_order_release);
    atomic_thread_fence(memory_order_release);
}

static void order_begin(struct shard *s)
{
    for (uint32_t i = s->order.frame_count; i-- > 0;)
        if (frames_is_leaving(&s->frames, s->order.list[i]))
            order_leave(&s->order, i);
}

/* Control says something new. */
static void word_take(struct shard *s, uint64_t word)
{
    struct frames *f = &s->frames;
    uint32_t chunk = (uint32_t)word;
    if (f->leave_frame != UINT32_MAX) {
        frames_leave_end(f);
        order_leave_end(&s->order);
    }
    f->leave_chunk = UINT32_MAX;
    f->leave_seen = word;
    s->leave.sweep = 0;
    generation_show(s);
    if (chunk == LAYOUT_LEAVE_NONE || word == 0)
        return;
    bool fits_now = fits(s, chunk, s->live_charge);
    if (!is_settled(s) || (!fits_now && !sweep_helps(s, chunk))) {
        answer(s, word | LAYOUT_LEAVE_REFUSED);
        return;
    }
    f->leave_chunk = chunk;
    if (!fits_now)
        s->leave.sweep = (s->log.queue_count + 1) * (s->has_history ? LEAVE_ROUNDS_HISTORY : 1);
}

/* Why before anything is closed to it: the cleaner needs frames to make frames.  True: go on. */
static bool begin_step(struct shard *s, const struct reclaim_now *now)
{
    struct frames *f = &s->frames;
    if (frames_ready_before(f, f->leave_chunk) < LEAVE_FRAMES_FREE)
        return clean_step(s, LEAVE_BYTES, now);
    frames_leave(f, f->leave_chunk);
    order_begin(s);
    return true;
}

/* ---- what lies there ---- */

static uint64_t lsn_start_of(const struct shard *s, uint32_t frame)
{
    return atomic_load_explicit(&s->directory[frame].lsn_start, memory_order_relaxed);
}

static bool is_base(const struct shard *s, uint32_t frame)
{
    return atomic_load_explicit(&s->directory[frame].kind, memory_order_relaxed) == FRAME_BASE;
}

/* No record of the segment that is being filled is pending, and what follows goes to the copy. */
static bool is_quiet(const struct shard *s)
{
    return s->pending_applied == s->pending_tail && s->lsn_committed >= s->log.lsn_whole &&
           !s->log.unfinished;
}

/* The victim is a segment that lies there.  Returns 1: it is; 0: none does that may go; -EAGAIN. */
static int victim_find(struct shard *s)
{
    struct log *l = &s->log;
    if (s->cleaner.cleaning)
        return 1;
    for (uint32_t place = 0; place < l->queue_count; place++) {
        uint32_t frame = log_queue_at(l, place);
        if (!frames_is_leaving(&s->frames, frame))
            continue;
        if (is_base(s, frame)) {
            clean_take(s, place);
            return 1;
        }
        if (lsn_start_of(s, frame) + (UINT64_C(1) << s->geometry.segment_shift) <= s->lsn_committed)
            return clean_move(s, place) == 0 ? 1 : -EAGAIN;
    }
    if (l->tail.base != NULL && frames_is_leaving(&s->frames, l->tail.frame) && is_quiet(s))
        return clean_move(s, l->queue_count) == 0 ? 1 : -EAGAIN;
    return 0;
}

/* A segment that bytes came for before the log's end: they will be asked for again. */
static bool landing_leave(struct shard *s, const struct reclaim_now *now)
{
    bool any = false;
    for (unsigned i = 0; i < LIMIT_LAND_SEGMENTS; i++) {
        struct land_segment *a = &s->landing.ahead[i];
        if (a->frame == 0 || !frames_is_leaving(&s->frames, a->frame - 1))
            continue;
        reclaim_retire(&s->reclaim, a->frame - 1, now);
        a->frame = 0;
        any = true;
    }
    if (any)
        land_forget(s);
    return any;
}

/* ---- what was deleted ---- */

/* The oldest segment is the victim, if it may go. */
static bool oldest_take(struct shard *s)
{
    if (s->log.queue_count == 0)
        return false;
    uint32_t frame = log_queue_at(&s->log, 0);
    uint64_t end = lsn_start_of(s, frame) + (UINT64_C(1) << s->geometry.segment_shift);
    if (!is_base(s, frame) && end > min_u64(s->lsn_committed, s->lsn_kept))
        return false;
    clean_take(s, 0);
    return true;
}

static bool sweep_step(struct shard *s, uint64_t word, const struct reclaim_now *now)
{
    struct leave *v = &s->leave;
    if (fits(s, s->frames.leave_chunk, s->live_charge)) {
        v->sweep = 0;
        return true;
    }
    bool any = s->cleaner.cleaning || oldest_take(s);
    if (any && !clean_step(s, LEAVE_BYTES, now))
        return false;
    if (any && (s->cleaner.cleaning || --v->sweep != 0))
        return true;
    /* Why not where a peer keeps the tail: what was deleted is there still. */
    if (any)
        v->deletes = 0;
    v->sweep = 0;
    s->frames.leave_chunk = UINT32_MAX;
    answer(s, word | LAYOUT_LEAVE_REFUSED);
    return false;
}

/* ---- one step ---- */

/* Room for what moves.  Beside it only the cleaner takes the last frames, which gives back more. */
static bool has_room(const struct shard *s)
{
    return frames_ready(&s->frames) > LEAVE_FRAMES_KEPT;
}

static bool move_step(struct shard *s, const struct reclaim_now *now)
{
    struct log_segment *base = &s->cleaner.base;
    if (base->base != NULL && frames_is_leaving(&s->frames, base->frame))
        return log_base_close(&s->log, base);
    if (landing_leave(s, now))
        return true;
    if (!has_room(s))
        return clean_step(s, LEAVE_BYTES, now);
    if (index_leave_step(&s->index, now) > 0)
        return true;
    if (order_leave_step(&s->order, LEAVE_NODES) > 0)
        return true;
    return victim_find(s) > 0 && clean_step(s, LEAVE_BYTES, now);
}

bool leave_step(struct shard *s, const struct reclaim_now *now)
{
    struct frames *f = &s->frames;
    /* acquire: the generation and the chunks that are there no more were stored before */
    uint64_t word = atomic_load_explicit(&f->header->leave, memory_order_acquire);
    if (word != f->leave_seen)
        word_take(s, word);
    if (f->leave_chunk == UINT32_MAX || !is_settled(s) ||
        atomic_load_explicit(&s->board->leave_answer, memory_order_relaxed) == word)
        return false;
    if (s->leave.sweep != 0)
        return sweep_step(s, word, now);
    if (f->leave_frame == UINT32_MAX)
        return begin_step(s, now);
    if (move_step(s, now))
        return true;
    if (!frames_left(f))
        return false;
    frames_leave_done(f);
    answer(s, word);
    return false;
}
