#include "engine/land.h"

#include "engine/pending.h"
#include "engine/plant.h"

#include <string.h>

static uint64_t segment_bytes(const struct shard *s)
{
    return UINT64_C(1) << s->geometry.segment_shift;
}

static uint64_t segment_start(const struct shard *s, uint64_t lsn)
{
    return lsn & ~(segment_bytes(s) - 1);
}

static uint8_t *frame_base(const struct shard *s, uint32_t frame)
{
    return s->arena + ((uint64_t)frame << s->geometry.segment_shift);
}

static uint64_t frame_lsn(const struct shard *s, uint32_t frame)
{
    return atomic_load_explicit(&s->directory[frame].lsn_start, memory_order_relaxed);
}

/* ---- placing bytes ---- */

#define FRAME_NONE UINT32_MAX

/* Frame of the tail segment that starts at lsn_start; FRAME_NONE: it got no bytes yet. */
static uint32_t frame_for(const struct shard *s, uint64_t lsn_start)
{
    const struct log *l = &s->log;
    if (l->tail.base != NULL && frame_lsn(s, l->tail.frame) == lsn_start)
        return l->tail.frame;
    for (unsigned i = 0; i < LIMIT_LAND_SEGMENTS; i++) {
        const struct land_segment *a = &s->landing.ahead[i];
        if (a->frame != 0 && a->lsn_start == lsn_start)
            return a->frame - 1;
    }
    return FRAME_NONE;
}

/* Memory of the tail segment that starts at lsn_start, taken if there is none.  NULL: not now. */
static uint8_t *segment_for(struct shard *s, uint64_t lsn_start)
{
    uint32_t frame = frame_for(s, lsn_start);
    if (LIKELY(frame != FRAME_NONE))
        return frame_base(s, frame);
    struct land_segment *unused = NULL;
    for (unsigned i = 0; i < LIMIT_LAND_SEGMENTS; i++)
        if (s->landing.ahead[i].frame == 0)
            unused = &s->landing.ahead[i];
    if (unused == NULL || frames_available(&s->frames) <= FRAMES_KEPT ||
        frames_take(&s->frames, FRAME_TAIL, lsn_start, &frame) != 0) {
        s->starved = true;
        return NULL;
    }
    *unused = (struct land_segment){.lsn_start = lsn_start, .frame = frame + 1};
    return frame_base(s, frame);
}

/* Remember [start, end) beyond a gap.  Full: forget the range, it will be asked for again. */
static void range_add(struct landing *g, uint64_t start, uint64_t end)
{
    uint32_t from = 0;
    while (from < g->range_count && g->ranges[from].lsn_end < start)
        from++;
    uint32_t to = from;
    for (; to < g->range_count && g->ranges[to].lsn_start <= end; to++) {
        start = min_u64(start, g->ranges[to].lsn_start);
        end = max_u64(end, g->ranges[to].lsn_end);
    }
    if (from == to && g->range_count == LIMIT_LAND_RANGES)
        return;
    uint32_t moved = g->range_count - to;
    memmove(&g->ranges[from + 1], &g->ranges[to], moved * sizeof g->ranges[0]);
    g->ranges[from] = (struct land_range){.lsn_start = start, .lsn_end = end};
    g->range_count = from + 1 + moved;
}

static bool received_advance(struct landing *g)
{
    if (g->range_count == 0 || g->ranges[0].lsn_start > g->lsn_received)
        return false;
    g->lsn_received = max_u64(g->lsn_received, g->ranges[0].lsn_end);
    g->range_count--;
    memmove(&g->ranges[0], &g->ranges[1], g->range_count * sizeof g->ranges[0]);
    return true;
}

/* Fetch what a record will touch when it is applied. */
static ALWAYS_INLINE void prefetch(const struct shard *s, const struct record *h)
{
    if (h->kind == RECORD_PAD)
        return;
    index_prefetch(&s->index, h->hash);
    session_prefetch(&s->sessions, h->session);
}

/* Copy length bytes that begin where a record does, and judge each record as it is copied: one pass
 * over the bytes.  Returns the bytes of the whole, sound records at the front. */
static uint64_t place_judged(const struct shard *s, uint8_t *to, const uint8_t *from,
                             uint64_t length)
{
    uint64_t at = 0;
    while (at < length) {
        struct record h;
        int64_t size = record_land(to + at, from + at, length - at, &h);
        if (size < 0)
            break;
        prefetch(s, &h);
        at += (uint64_t)size;
    }
    record_copy(to + at, from + at, length - at);
    return at;
}

/* The record at start, of which the range before brought there bytes: copy what completes it and judge
 * it.  Returns how many bytes that took; 0: it does not end here, or is not sound. */
static uint64_t place_rest(const struct shard *s, uint8_t *start, uint64_t there,
                           const uint8_t *from, uint64_t length)
{
    struct record h;
    if (there + length < RECORD_HEADER_BYTES)
        return 0;
    if (there < RECORD_HEADER_BYTES)
        record_copy(start + there, from, RECORD_HEADER_BYTES - there);
    uint64_t size = record_step(start, &h);
    if (size <= there || size > there + length)
        return 0;
    record_copy(start + there, from, size - there);
    if (record_check(start, size, &h) != (int64_t)size)
        return 0;
    prefetch(s, &h);
    return size - there;
}

/* Place a range that begins where what was received ends. */
static void place_next(struct shard *s, uint8_t *to, const uint8_t *from, uint64_t length)
{
    struct landing *g = &s->landing;
    uint64_t there = g->lsn_received - g->lsn_judged, rest = 0;
    if (there != 0) {
        if (segment_start(s, g->lsn_judged) == segment_start(s, g->lsn_received))
            rest = place_rest(s, to - there, there, from, length);
        if (rest == 0) {
            record_copy(to, from, length);
            return;
        }
    }
    g->lsn_judged += there + rest + place_judged(s, to + rest, from + rest, length - rest);
}

static void place(struct shard *s, uint8_t *to, uint64_t lsn, const uint8_t *from, uint64_t length)
{
    if (lsn == s->landing.lsn_received)
        place_next(s, to, from, length);
    else
        record_copy(to, from, length);
    range_add(&s->landing, lsn, lsn + length);
}

/* Where what was received ends, before more is. */
static ALWAYS_INLINE void received_settle(struct shard *s)
{
    struct landing *g = &s->landing;
    g->lsn_received = max_u64(g->lsn_received, s->log.lsn_end);
    /* Why: received falls when something is dropped or cut off, and other bytes may come there. */
    g->lsn_judged = max_u64(min_u64(g->lsn_judged, g->lsn_received), s->log.lsn_end);
}

int land_bytes(struct shard *s, uint64_t lsn, const uint8_t *bytes, uint64_t length)
{
    struct landing *g = &s->landing;
    if (lsn % 8 != 0 || length % 8 != 0 || length == 0 || length > segment_bytes(s) ||
        lsn > INT64_MAX - length)
        return -EINVAL;
    received_settle(s);
    uint64_t end = lsn + length;
    if (end <= g->lsn_received)
        return 0;
    uint64_t skip = lsn < g->lsn_received ? g->lsn_received - lsn : 0;
    for (uint64_t at = lsn + skip; at < end;) {
        uint64_t start = segment_start(s, at);
        uint64_t piece = min_u64(end, start + segment_bytes(s)) - at;
        uint8_t *base = segment_for(s, start);
        if (base == NULL) {
            (void)received_advance(g); /* what was placed before counts */
            return -EAGAIN;
        }
        place(s, base + (at - start), at, bytes + (at - lsn), piece);
        at += piece;
    }
    return received_advance(g) ? 1 : 0;
}

bool land_missing(const struct shard *s, uint64_t lsn_wanted, struct land_range *missing)
{
    const struct landing *g = &s->landing;
    uint64_t received = max_u64(g->lsn_received, s->log.lsn_end);
    missing->lsn_start = received;
    missing->lsn_end = g->range_count != 0 ? g->ranges[0].lsn_start : lsn_wanted;
    return missing->lsn_start < missing->lsn_end;
}

/* ---- bytes that the leader writes ---- */

#define GRANTS_OPEN 2u /* the tail's segment and the next */
#define GRANT_SHARE 3u /* grants are out for at most a third of the frames */
#define GRANT_SPARE 2u /* frames left free when one is taken ahead of its first byte */

bool land_grant_is_open(const struct shard *s, const struct grant *g)
{
    const struct log *l = &s->log;
    return g->lsn_start + segment_bytes(s) > l->lsn_end && frame_for(s, g->lsn_start) == g->frame;
}

bool land_tail_is_granted(const struct shard *s)
{
    const struct log *l = &s->log;
    return l->tail.base != NULL && l->tail.used < segment_bytes(s) &&
           grant_is_out(&s->grants, l->tail.frame);
}

bool land_has_ahead(const struct shard *s)
{
    for (unsigned i = 0; i < LIMIT_LAND_SEGMENTS; i++)
        if (s->landing.ahead[i].frame != 0)
            return true;
    return false;
}

/* Frame to grant for a segment: it has none of its own yet, or is nobody's.  FRAME_NONE: not now. */
static uint32_t grant_frame(struct shard *s, uint64_t lsn_start)
{
    uint32_t frame = frame_for(s, lsn_start);
    if (frame == FRAME_NONE && frames_available(&s->frames) > FRAMES_KEPT + GRANT_SPARE &&
        segment_for(s, lsn_start) != NULL)
        frame = frame_for(s, lsn_start);
    return frame != FRAME_NONE && grant_is_out(&s->grants, frame) ? FRAME_NONE : frame;
}

const struct grant *land_grant(struct shard *s, const struct grant_holder *holder)
{
    struct grant *unused = NULL;
    uint32_t count = 0;
    for (unsigned i = 0; i < LIMIT_GRANTS; i++) {
        if (s->grants.out[i].number == 0)
            unused = &s->grants.out[i];
        count += s->grants.out[i].number != 0;
    }
    if (unused == NULL || (count + 1) * GRANT_SHARE > frames_total(&s->frames))
        return NULL;
    uint64_t first = segment_start(s, s->log.lsn_end);
    for (uint64_t at = first; at != first + GRANTS_OPEN * segment_bytes(s);
         at += segment_bytes(s)) {
        uint32_t frame = grant_frame(s, at);
        if (frame == FRAME_NONE)
            continue;
        *unused = (struct grant){
            .number = ++s->grants.number,
            .lsn_start = at,
            .holder = *holder,
            .frame = frame,
        };
        return unused;
    }
    return NULL;
}

/* The open grant of this holder that a range lies in; NULL: there is none. */
static const struct grant *grant_of(const struct shard *s, const struct grant_holder *holder,
                                    uint64_t lsn)
{
    for (unsigned i = 0; i < LIMIT_GRANTS; i++) {
        const struct grant *g = &s->grants.out[i];
        if (g->number != 0 && g->lsn_start == segment_start(s, lsn) &&
            g->holder.node == holder->node && g->holder.incarnation == holder->incarnation &&
            g->holder.epoch == holder->epoch && land_grant_is_open(s, g))
            return g;
    }
    return NULL;
}

int land_announced(struct shard *s, const struct grant_holder *holder,
                   const struct land_announcement *announced)
{
    uint64_t lsn = announced->range.lsn_start, end = announced->range.lsn_end;
    if (lsn % 8 != 0 || end % 8 != 0 || lsn >= end || end > INT64_MAX ||
        end > segment_start(s, lsn) + segment_bytes(s))
        return -EINVAL;
    received_settle(s);
    if (end <= s->landing.lsn_received)
        return 0;
    const struct grant *g = grant_of(s, holder, lsn);
    if (g == NULL)
        return -EAGAIN;
    const struct grant_prover *prover = announced->prover;
    const struct grant_range there = {
        .bytes = frame_base(s, g->frame) + (lsn - g->lsn_start),
        .length = (uint32_t)(end - lsn),
    };
    if (!prover->proves(prover->context, holder->node, &there, announced->proof) &&
        !PLANTED(ANNOUNCE_UNCHECKED))
        return -EAGAIN;
    range_add(&s->landing, lsn, end);
    return received_advance(&s->landing) ? 1 : 0;
}
