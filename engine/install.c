#include "engine/install.h"

#include "engine/pending.h"
#include "engine/snapshot.h"

#define RETIRE_PER_STEP 64u

static uint64_t segment_bytes(const struct shard *s)
{
    return UINT64_C(1) << s->geometry.segment_shift;
}

void install_init(struct shard *s, const struct log_place *place, void *session_memory,
                  uint32_t *retired)
{
    struct install *in = &s->install;
    log_init(&in->log, &s->frames, place);
    session_table_init(&in->sessions, s->sessions.capacity, session_memory);
    in->retired = retired;
}

uint64_t install_lsn_visible(const struct shard *s)
{
    return s->lsn_visible;
}

uint32_t install_piece_next(const struct shard *s)
{
    return s->install.piece_next;
}

/* ---- frames that nothing leads to any more ---- */

/* The index may grow again when all that was retired is stamped: readers of an older root are gone then
 * from the other page array. */
static void growth_allow(struct shard *s)
{
    if (s->install.beside == INSTALL_NONE && s->install.retired_count == 0 &&
        s->index.growth_stamp == UINT64_MAX)
        s->index.growth_stamp =
            atomic_load_explicit(&s->board->reclaim_count, memory_order_relaxed) + s->reclaim.count;
}

static uint32_t *retired_end(struct install *in)
{
    return &in->retired[in->retired_count];
}

static void retired_add(struct install *in, uint32_t frame)
{
    in->retired[in->retired_count++] = frame;
}

/* Take all frames from a state: what is left of it is empty, its log begins at lsn. */
static void state_abandon(struct install *in, struct log *l, struct index *x, struct cleaner *c,
                          uint64_t lsn)
{
    in->retired_count += log_abandon(l, lsn, retired_end(in));
    in->retired_count += index_abandon(x, retired_end(in));
    if (c->base.base != NULL)
        retired_add(in, c->base.frame);
    if (c->cleaning)
        retired_add(in, c->victim);
    *c = (struct cleaner){.cleaning = false};
}

static void beside_abandon(struct shard *s)
{
    struct install *in = &s->install;
    state_abandon(in, &in->log, &in->index, &in->cleaner, s->log.lsn_end);
    in->retired_count += order_abandon(&in->order, retired_end(in));
    in->beside = INSTALL_NONE;
    in->frames_wanted = 0;
    growth_allow(s);
}

/* What landed beyond the end of a log that is given up, or was begun for a cut. */
static void landing_abandon(struct shard *s, uint64_t lsn)
{
    struct install *in = &s->install;
    struct landing *g = &s->landing;
    for (unsigned i = 0; i < LIMIT_LAND_SEGMENTS; i++)
        if (g->ahead[i].frame != 0)
            retired_add(in, g->ahead[i].frame - 1);
    if (g->cut_frame != 0)
        retired_add(in, g->cut_frame - 1);
    *g = (struct landing){.lsn_received = lsn};
}

/* The log above the commit LSN is given up.  Those who wait for it are told so when lsn is committed;
 * nothing on the list waits for more. */
static void pending_abandon(struct shard *s, uint64_t lsn)
{
    pending_undo(s, s->lsn_committed);
    for (uint32_t i = s->pending_head; i != s->pending_tail; i++)
        pending_at(s, i)->lsn_wait = min_u64(pending_at(s, i)->lsn_wait, lsn);
}

/* ---- the two states change places ---- */

#define SWAP(type, a, b)                                                                           \
    do {                                                                                           \
        type swapped = (a);                                                                        \
        (a) = (b);                                                                                 \
        (b) = swapped;                                                                             \
    } while (0)

static void states_swap(struct shard *s)
{
    struct install *in = &s->install;
    in->log.lsn_ceiling = s->log.lsn_ceiling;
    in->log.hybrid_clock = max_u64(in->log.hybrid_clock, s->log.hybrid_clock);
    SWAP(struct log, s->log, in->log);
    SWAP(struct index, s->index, in->index);
    SWAP(struct order, s->order, in->order);
    SWAP(struct session_table, s->sessions, in->sessions);
    SWAP(struct cleaner, s->cleaner, in->cleaner);
    SWAP(uint64_t, s->live_bytes, in->live_bytes);
    SWAP(uint64_t, s->live_charge, in->live_charge);
    /* Why: the other page array is what readers use, or did. */
    s->index.growth_stamp = UINT64_MAX;
}

static void epoch_show(struct shard *s)
{
    const struct log *l = &s->log;
    uint64_t known = atomic_load_explicit(&s->board->epoch, memory_order_relaxed);
    if (l->epoch_count != 0)
        atomic_store_explicit(&s->board->epoch, max_u64(known, l->epochs[l->epoch_count - 1].epoch),
                              memory_order_relaxed);
}

void install_adopt(struct shard *s, const struct snapshot_end *end)
{
    struct install *in = &s->install;
    bool shown = s->lsn_visible == 0;
    pending_abandon(s, in->lsn_start);
    landing_abandon(s, in->lsn_start);
    in->log.hybrid_clock = end->hybrid_clock;
    states_swap(s);
    epoch_show(s);
    s->lsn_committed = in->lsn_start;
    s->lsn_visible = end->lsn_end;
    in->beside = INSTALL_SHOWN;
    in->frames_wanted = 0;
    in->lsn_cleaned = UINT64_MAX;
    if (!shown)
        beside_abandon(s);
    if (s->lsn_committed >= s->lsn_visible)
        shard_show(s);
}

void install_show(struct shard *s)
{
    /* release, each: who finds the new table, by R3 or R2, finds that a miss below means nothing */
    atomic_store_explicit(&s->board->lsn_tombstone_horizon, s->lsn_visible, memory_order_release);
    order_show(&s->order);
    index_show(&s->index);
    s->install.log.shown = NULL;
    log_show(&s->log, shard_by_lsn(s));
    s->lsn_visible = 0;
}

/* ---- beginning and giving up ---- */

int install_begin(struct shard *s, uint64_t id)
{
    struct install *in = &s->install;
    if (in->beside == INSTALL_BUILDING || (in->beside == INSTALL_SHOWN && s->lsn_visible != 0))
        return -EBUSY;
    pending_release_reads(s);
    if (in->beside != INSTALL_NONE || in->retired_count != 0 || s->index.growing ||
        s->index.growth_stamp >
            atomic_load_explicit(&s->board->reclaim_count, memory_order_relaxed))
        return -EAGAIN;
    session_table_clear(&in->sessions);
    in->index = (struct index){.unshown = true};
    in->order.unshown = true;
    in->cleaner = (struct cleaner){.cleaning = false};
    in->part = (struct install_part){.size = 0};
    in->live_bytes = in->live_charge = 0;
    in->id = id;
    in->lsn_start = 0;
    in->record_count = in->session_count = 0;
    in->header_taken = false;
    in->piece_next = 0;
    in->position = 0;
    in->frames_wanted = 0;
    in->segments_dirty = s->log.queue_count;
    in->beside = INSTALL_BUILDING;
    /* Why: nobody is fed from a log that is behind everybody's, and it may have to be cleaned. */
    s->lsn_kept = UINT64_MAX;
    s->index.growth_stamp = UINT64_MAX;
    return 0;
}

void install_abort(struct shard *s)
{
    if (s->install.beside == INSTALL_BUILDING)
        beside_abandon(s);
}

void install_discard(struct shard *s)
{
    struct install *in = &s->install;
    if (in->beside == INSTALL_SHOWN && s->lsn_visible == 0)
        return; /* it is on its way out already */
    /* release: it is there before anything is missing.  Readers get no answer until S1. */
    atomic_store_explicit(&s->board->lsn_tombstone_horizon, UINT64_MAX, memory_order_release);
    if (in->beside == INSTALL_SHOWN) {
        beside_abandon(s);
        return;
    }
    uint64_t lsn = atomic_load_explicit(&s->board->lsn_committed, memory_order_relaxed);
    pending_abandon(s, lsn);
    landing_abandon(s, lsn);
    state_abandon(in, &s->log, &s->index, &s->cleaner, lsn);
    in->retired_count += order_abandon(&s->order, retired_end(in));
    session_table_clear(&s->sessions);
    s->live_bytes = s->live_charge = 0;
    s->lsn_committed = lsn;
    s->lsn_visible = UINT64_MAX;
    s->index.growth_stamp = UINT64_MAX;
    in->segments_dirty = 0;
    growth_allow(s);
}

/* ---- housekeeping ---- */

/* One pass over the older state at most: what is dirty after it is live. */
static bool make_room(struct shard *s, const struct reclaim_now *now)
{
    struct install *in = &s->install;
    if (in->segments_dirty == 0 ||
        frames_available(&s->frames) + reclaim_coming(&s->reclaim) + in->retired_count >=
            in->frames_wanted)
        return false;
    bool went_on = clean_step(s, segment_bytes(s), now);
    if (!went_on && reclaim_coming(&s->reclaim) == 0 && in->retired_count == 0)
        in->segments_dirty = 0;
    return true;
}

bool install_may_clean(const struct shard *s)
{
    return s->install.beside != INSTALL_SHOWN || s->install.segments_dirty != 0;
}

/* Records die by a commit, so the cleaner goes round once for each; what time alone ends (history) waits
 * for the next. */
static void round_begin(struct shard *s)
{
    struct install *in = &s->install;
    if (in->lsn_cleaned == s->lsn_committed)
        return;
    in->lsn_cleaned = s->lsn_committed;
    in->segments_dirty = s->log.queue_count + s->cleaner.cleaning;
}

/* The state that catches up has no memory to go on, and none is on its way: what a peer may still write into
 * may never be. */
static bool is_starved(const struct shard *s)
{
    const struct index_table *t = &s->index.table;
    if (t->overflow_used == t->overflow_count)
        return true;
    return s->starved && frames_available(&s->frames) <= FRAMES_KEPT &&
           reclaim_coming(&s->reclaim) == 0 && s->install.retired_count == 0;
}

bool install_step(struct shard *s, const struct reclaim_now *now)
{
    struct install *in = &s->install;
    if (in->beside == INSTALL_SHOWN && s->lsn_visible == 0)
        beside_abandon(s);
    /* Why by itself: without it the newer state would never be shown, and nobody could tell. */
    if (in->beside == INSTALL_SHOWN && is_starved(s))
        install_discard(s);
    if (in->beside == INSTALL_SHOWN)
        round_begin(s);
    for (uint32_t i = 0; i < RETIRE_PER_STEP && in->retired_count != 0; i++)
        reclaim_retire(&s->reclaim, in->retired[--in->retired_count], now);
    growth_allow(s);
    bool cleaning = in->beside == INSTALL_BUILDING && make_room(s, now);
    return cleaning || in->retired_count != 0;
}
