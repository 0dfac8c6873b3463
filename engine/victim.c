/* victim - which segment the cleaner takes next: clean.h. */
#include "engine/shard.h"

/* Looked at for one choice; the next begins where this one ended. */
#define CANDIDATES_MAX 512u
/* Why: what must be met to go, such as a tombstone, counts as live. */
#define IN_TURN 32u
/* Of a segment that is no better than this, cleaning gains next to nothing. */
#define LIVE_SIXTEENTHS_MAX 15u
/* As long as a base segment of which so much is live will do, the log's tail is left so long, for whoever
 * reads it late. */
#define TAIL_SHARE 4u
#define TAIL_SIXTEENTHS 8u

struct choice {
    uint32_t place; /* in the queue */
    uint64_t score;
    bool is_taken; /* there is one */
};

static uint64_t frame_bytes(const struct shard *s)
{
    return UINT64_C(1) << s->geometry.segment_shift;
}

static uint32_t live_of(const struct layout_frame *f)
{
    /* relaxed, here and below: written by this thread */
    return atomic_load_explicit(&f->bytes_live, memory_order_relaxed);
}

static bool is_tail(const struct layout_frame *f)
{
    return atomic_load_explicit(&f->kind, memory_order_relaxed) == FRAME_TAIL;
}

static const struct layout_frame *queued(const struct shard *s, uint32_t place)
{
    return &s->directory[log_queue_at(&s->log, place)];
}

/* All of it is committed, and no peer needs it. */
static bool may_go(const struct shard *s, const struct layout_frame *f)
{
    uint64_t end = atomic_load_explicit(&f->lsn_start, memory_order_relaxed) + frame_bytes(s);
    return !is_tail(f) || end <= min_u64(s->lsn_committed, s->lsn_kept);
}

/* (1 - u) * age / (1 + u): free space gained times the time it is likely to stay so, over the cost of
 * reading and writing.  Age in bytes of log. */
static uint64_t score_of(const struct shard *s, const struct layout_frame *f)
{
    uint64_t live = live_of(f), bytes = frame_bytes(s);
    uint64_t lsn = atomic_load_explicit(&f->lsn_start, memory_order_relaxed);
    uint64_t age = min_u64(s->log.lsn_end - min_u64(lsn, s->log.lsn_end), UINT64_C(1) << 40) + 1;
    return live == 0 ? UINT64_MAX : (bytes - live) * age / (bytes + live);
}

static void consider(const struct shard *s, uint32_t place, struct choice *best)
{
    const struct layout_frame *f = queued(s, place);
    uint64_t score = score_of(s, f);
    bool is_worth = live_of(f) <= frame_bytes(s) / 16 * LIVE_SIXTEENTHS_MAX;
    if (is_worth && (!best->is_taken || score > best->score))
        *best = (struct choice){.place = place, .score = score, .is_taken = true};
}

/* The tail is longer than it is to be kept for nobody in particular. */
static bool tail_is_long(const struct shard *s, const struct layout_frame *oldest)
{
    uint64_t lsn = atomic_load_explicit(&oldest->lsn_start, memory_order_relaxed);
    uint64_t share = (uint64_t)(frames_total(&s->frames) / TAIL_SHARE) << s->geometry.segment_shift;
    return s->log.lsn_end - lsn > share;
}

/* The best of the base segments and the tail's oldest one; *tail: place of that, UINT32_MAX: it may not go. */
static struct choice best_of(struct shard *s, uint32_t *tail)
{
    struct choice best = {.is_taken = false};
    uint32_t count = s->log.queue_count, from = s->cleaner.next_place;
    *tail = UINT32_MAX;
    for (uint32_t i = 0; i < count && *tail == UINT32_MAX; i++)
        if (is_tail(queued(s, i)))
            *tail = i;
    if (*tail != UINT32_MAX && !may_go(s, queued(s, *tail)))
        *tail = UINT32_MAX;
    for (uint32_t i = 0; i < count && i < CANDIDATES_MAX; i++, from++) {
        from = from < count ? from : 0;
        if (!is_tail(queued(s, from)))
            consider(s, from, &best);
    }
    s->cleaner.next_place = from;
    if (*tail != UINT32_MAX &&
        (!best.is_taken || tail_is_long(s, queued(s, *tail)) ||
         live_of(queued(s, best.place)) > frame_bytes(s) / 16 * TAIL_SIXTEENTHS))
        consider(s, *tail, &best);
    return best;
}

void clean_take(struct shard *s, uint32_t place)
{
    struct cleaner *c = &s->cleaner;
    c->victim = log_queue_take(&s->log, place);
    c->position = 0;
    c->cleaning = true;
}

bool clean_choose(struct shard *s)
{
    struct cleaner *c = &s->cleaner;
    uint32_t tail;
    if (c->cleaning)
        return true;
    if (s->log.queue_count == 0)
        return false;
    struct choice best = {.place = 0, .is_taken = may_go(s, queued(s, 0))};
    /* Why in turn beside a snapshot: each segment is to be met once. */
    if (!best.is_taken || (s->install.beside != INSTALL_BUILDING && ++c->choices % IN_TURN != 0)) {
        struct choice turn = best;
        best = best_of(s, &tail);
        if (!best.is_taken && tail != UINT32_MAX)
            best = (struct choice){.place = tail, .is_taken = true};
        if (!best.is_taken && s->starved)
            best = turn;
    }
    if (!best.is_taken)
        return false;
    clean_take(s, best.place);
    return true;
}
