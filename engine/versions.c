#include "engine/versions.h"

#include "engine/pending.h"
#include "engine/plant.h"
#include "engine/write.h"

/* Versions by time are counted modulo LAYOUT_LINK_COUNTS: so many may come between two walks. */
#define VERSIONS_AFTER_WALK (LIMIT_VERSION_WALK - LAYOUT_LINK_COUNTS)

#define SWEEP_FRAMES 8u
#define SWEEP_RECORDS_MIN 32u
#define SWEEP_RECORDS_MAX 2048u

static uint64_t link_load(const _Atomic uint64_t *word)
{
    /* relaxed: written by this thread */
    return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)word, memory_order_relaxed);
}

static uint64_t frame_bytes(const struct shard *s)
{
    return UINT64_C(1) << s->geometry.segment_shift;
}

/* ---- cutting ---- */

void versions_drop(struct shard *s, _Atomic uint64_t *word)
{
    for (uint64_t link = link_load(word); link & LAYOUT_SLOT_VALID; link = link_load(word)) {
        uint64_t older = layout_slot_offset(link);
        uint64_t size = layout_link_size(link);
        shard_live_sub(s, older, size != 0 ? size : record_size(shard_record(s, older)));
        /* relaxed: a reader that still follows the old link is caught by the stamp */
        atomic_store_explicit(word, PLANTED(CUT_IS_NOTHING) ? 0 : LAYOUT_LINK_CUT,
                              memory_order_relaxed);
        word = shard_link(s, older);
    }
}

/* The offset of the version steps below the one at offset; false: the chain ends before. */
static bool version_below(const struct shard *s, uint64_t *offset, uint32_t steps)
{
    for (; steps != 0; steps--) {
        uint64_t link = link_load(shard_link(s, *offset));
        if (!(link & LAYOUT_SLOT_VALID))
            return false;
        *offset = layout_slot_offset(link);
    }
    return true;
}

bool versions_is_over(const struct shard *s, const struct record *r)
{
    uint64_t now = max_u64(s->log.hybrid_clock, s->versions.clock_ns);
    uint64_t span_ns = PLANTED(SPAN_HALVED) ? s->versions.span_ns / 2 : s->versions.span_ns;
    return now > r->hybrid_clock && now - r->hybrid_clock > span_ns;
}

/* By time: count this version, and see to the limit now and then. */
static void commit_counted(struct shard *s, uint64_t offset)
{
    _Atomic uint64_t *word = shard_link(s, offset);
    uint64_t link = link_load(word);
    if (!(link & LAYOUT_SLOT_VALID))
        return;
    uint64_t older = link_load(shard_link(s, layout_slot_offset(link)));
    uint64_t count = (layout_link_count(older) + 1) % LAYOUT_LINK_COUNTS;
    /* relaxed: readers do not look at the count */
    atomic_store_explicit(word, layout_link_counted(link, count), memory_order_relaxed);
    /* Why at each commit where so many count: what is kept besides them is less than comes between two. */
    bool is_many = s->versions.count > VERSIONS_AFTER_WALK;
    if ((count == 0 || is_many) &&
        version_below(s, &offset, (is_many ? LIMIT_VERSION_WALK : VERSIONS_AFTER_WALK) - 1))
        versions_drop(s, shard_link(s, offset));
}

void versions_trim(struct shard *s, uint64_t offset, uint32_t rank)
{
    _Atomic uint64_t *word = shard_link(s, offset);
    bool pressed = rank == 1 && write_is_over(s);
    if (!(link_load(word) & LAYOUT_SLOT_VALID))
        return;
    if (pressed)
        counter_add(s->counters, COUNTER_HISTORIES_CUT, 1);
    if (pressed || (s->versions.span_ns != 0 && rank >= s->versions.count &&
                    versions_is_over(s, shard_record(s, offset))))
        versions_drop(s, word);
}

void versions_commit(struct shard *s, uint64_t offset)
{
    const struct versions *h = &s->versions;
    if (h->span_ns != 0)
        commit_counted(s, offset);
    uint32_t steps = h->count - 1;
    if (PLANTED(VERSION_TRIMMED_EARLY) && steps != 0)
        steps--;
    /* Why not the newest by time: it is as young as can be. */
    if ((steps == 0 && h->span_ns != 0) || !version_below(s, &offset, steps))
        return;
    /* Why the cursor need not come back: what was not over when it pushed this one out of the count, the
     * cursor has not passed yet. */
    if (h->span_ns == 0 || versions_is_over(s, shard_record(s, offset)))
        versions_drop(s, shard_link(s, offset));
}

uint64_t versions_freed(const struct shard *s, uint64_t offset)
{
    if (s->versions.span_ns != 0 || !version_below(s, &offset, s->versions.count - 1))
        return 0;
    return shard_charge(s, record_size(shard_record(s, offset)));
}

void versions_refused(struct shard *s, uint64_t clock_ns)
{
    s->versions.clock_ns = max_u64(s->versions.clock_ns, clock_ns);
    s->starved = true;
}

/* ---- who refers to a record ---- */

#define CANDIDATES_MAX 4u

/* Whether a key of this hash may have a version above the commit LSN: told from where its newest one
 * lies, since nearly every look at that itself is a miss. */
static bool may_be_pending(const struct shard *s, uint32_t hash)
{
    uint64_t offsets[CANDIDATES_MAX];
    uint32_t count = index_candidates(&s->index, hash, offsets, CANDIDATES_MAX);
    if (s->log.lsn_end == s->lsn_committed || count > CANDIDATES_MAX)
        return s->log.lsn_end != s->lsn_committed;
    for (uint32_t i = 0; i < count; i++) {
        const struct layout_frame *f = &s->directory[offsets[i] >> s->geometry.segment_shift];
        uint64_t position = offsets[i] & (frame_bytes(s) - 1);
        /* relaxed: written by this thread; base segments hold what is committed */
        if (atomic_load_explicit(&f->kind, memory_order_relaxed) != FRAME_BASE &&
            atomic_load_explicit(&f->lsn_start, memory_order_relaxed) + position >=
                s->lsn_committed)
            return true;
    }
    return false;
}

static bool is_committed(const struct shard *s, uint64_t offset)
{
    const struct record *r = shard_record(s, offset);
    return r->lsn + record_size(r) <= s->lsn_committed;
}

/* Walk from the newest version, which place names, to the one at offset. */
static void chain_search(struct shard *s, uint64_t offset, struct versions_reference *found)
{
    _Atomic uint64_t *at = found->place.slot;
    uint64_t to = layout_slot_offset(found->place.value);
    uint32_t rank = 0;
    /* Why so far: each pending version is on the list of pending operations. */
    for (unsigned i = 0; i <= LIMIT_PENDING + LIMIT_VERSION_WALK; i++) {
        rank += rank != 0 || is_committed(s, to);
        if (to == offset) {
            found->word = at;
            found->rank = rank;
            return;
        }
        if (rank != 0 && !s->has_history)
            return;
        at = shard_link(s, to);
        uint64_t link = link_load(at);
        if (!(link & LAYOUT_SLOT_VALID))
            return;
        to = layout_slot_offset(link);
    }
}

int versions_reference_find(struct shard *s, uint64_t offset, struct versions_reference *found)
{
    const struct record *r = shard_record(s, offset);
    found->word = NULL;
    found->rank = 1;
    /* Why so first: most records are dead or in a slot, which takes no look at the key's newest
     * one. */
    int error = index_find_offset(&s->index, r->hash, offset, &found->place);
    if (error != 0)
        return error;
    if (found->place.value != 0) {
        found->word = found->place.slot;
        return 0;
    }
    /* Why that suffices without history: links lead only from pending versions to older ones. */
    if (!s->has_history && !may_be_pending(s, r->hash))
        return 0;
    error = index_find(&s->index, r->hash, record_key(r), r->key_length, &found->place);
    if (error == 0 && found->place.value != 0)
        chain_search(s, offset, found);
    return error;
}

/* ---- the cursor ---- */

struct sweep {
    struct shard *s;
    struct versions_frame *at;
    uint64_t start; /* of the segment, in the arena */
    uint32_t records;
};

/* The record cuts its link if that is due.  Returns 0; 1: it is not yet; or -EAGAIN as index_find. */
static int sweep_record(struct sweep *w, const struct record *r)
{
    struct shard *s = w->s;
    uint64_t offset = w->start + w->at->position;
    _Atomic uint64_t *word = shard_link(s, offset);
    if (!(link_load(word) & LAYOUT_SLOT_VALID))
        return 0;
    if (!versions_is_over(s, r)) {
        w->at->due_ns = r->hybrid_clock + s->versions.span_ns;
        return 1;
    }
    struct versions_reference found = {.rank = 1};
    int error = s->versions.count > 1 ? versions_reference_find(s, offset, &found) : 0;
    if (error == 0 && found.rank >= s->versions.count)
        versions_drop(s, word);
    return error;
}

/* Returns false when the budget is used up. */
static bool sweep_segment(struct sweep *w)
{
    struct shard *s = w->s;
    while (w->at->position < frame_bytes(s)) {
        const struct record *r = shard_record(s, w->start + w->at->position);
        struct record h;
        if (w->records == 0)
            return false;
        w->records--;
        int result = record_is_keyed(r) ? sweep_record(w, r) : 0;
        if (result != 0)
            return result > 0;
        w->at->position += (uint32_t)record_step((const uint8_t *)r, &h);
    }
    w->at->due_ns = UINT64_MAX;
    return true;
}

/* A full segment, all of it committed, which the cleaner is not in the middle of. */
static bool may_sweep(const struct shard *s, uint32_t frame)
{
    const struct layout_frame *entry = &s->directory[frame];
    const struct cleaner *c = &s->cleaner;
    uint32_t kind = atomic_load_explicit(&entry->kind, memory_order_relaxed);
    if (c->cleaning && (c->victim == frame || clean_is_filling(c, frame)))
        return false;
    if (kind == FRAME_TAIL)
        return atomic_load_explicit(&entry->lsn_start, memory_order_relaxed) + frame_bytes(s) <=
               s->lsn_committed;
    return kind == FRAME_BASE && !clean_is_open(c, frame);
}

bool versions_sweep(struct shard *s, uint64_t appended)
{
    struct versions *h = &s->versions;
    uint64_t records = 2 * appended / RECORD_HEADER_BYTES + SWEEP_RECORDS_MIN;
    struct sweep w = {.s = s, .records = (uint32_t)min_u64(records, SWEEP_RECORDS_MAX)};
    uint64_t now = max_u64(s->log.hybrid_clock, h->clock_ns);
    /* Why not beside a snapshot: frames of two states are there, and not all are whole. */
    if (h->span_ns == 0 || s->install.beside != INSTALL_NONE || s->install.retired_count != 0)
        return false;
    for (uint32_t i = 0; i < SWEEP_FRAMES; i++) {
        uint32_t n = h->frame_next < s->frames.fresh_next ? h->frame_next : 0;
        uint32_t frame = (uint32_t)layout_frame_of(&s->geometry, s->number, n);
        w.at = &h->frames[n];
        w.start = (uint64_t)frame << s->geometry.segment_shift;
        uint64_t stamp = atomic_load_explicit(&s->directory[frame].stamp, memory_order_relaxed);
        if (w.at->stamp != stamp)
            *w.at = (struct versions_frame){.stamp = stamp};
        if (w.at->due_ns <= now && may_sweep(s, frame) && !sweep_segment(&w))
            return true;
        h->frame_next = n + 1;
    }
    return false;
}
