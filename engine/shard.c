#include "engine/shard.h"

#include "engine/leave.h"
#include "engine/pending.h"
#include "engine/plant.h"
#include "engine/write.h"

#include <string.h>

static size_t aligned(size_t bytes)
{
    return (size_t)align_up(bytes, CACHE_LINE);
}

size_t shard_bytes(const struct layout_geometry *g, uint32_t sessions_max)
{
    return aligned(sizeof(struct shard)) + aligned(g->frames_per_shard * sizeof(uint32_t)) +
           aligned(2 * (size_t)g->frames_per_shard * sizeof(uint32_t)) +
           aligned(g->frames_per_shard * sizeof(struct reclaim_entry)) +
           aligned(LIMIT_PENDING * sizeof(struct shard_pending)) +
           2 * aligned(session_table_bytes(sessions_max)) +
           aligned(3 * (size_t)g->frames_per_shard * sizeof(uint32_t)) +
           aligned(g->frames_per_shard * sizeof(struct versions_frame)) +
           aligned(expiry_bytes(expire_capacity(g))) +
           aligned(2 * (size_t)g->frames_per_shard * sizeof(uint32_t));
}

/* Deal the memory behind the struct to its parts, in the order of shard_bytes. */
static void parts_init(struct shard *s, const struct shard_config *c)
{
    uint32_t frames = s->geometry.frames_per_shard;
    uint8_t *at = (uint8_t *)s + aligned(sizeof *s);
    frames_init(&s->frames, c->header, c->directory, c->chunks_wanted, (uint32_t *)(void *)at);
    s->frames.shard = c->number;
    s->frames.board = c->board;
    at += aligned(frames * sizeof(uint32_t));
    uint64_t segment = UINT64_C(1) << s->geometry.segment_shift;
    struct log_place place = {
        .arena = c->arena,
        .memory = (uint32_t *)(void *)at,
        .lsn_start = align_up(c->lsn_start, segment),
        .number = c->log,
    };
    log_init(&s->log, &s->frames, &place);
    log_show(&s->log, shard_by_lsn(s));
    at += aligned(2 * (size_t)frames * sizeof(uint32_t));
    reclaim_init(&s->reclaim, c->board, &s->frames, (struct reclaim_entry *)(void *)at);
    s->reclaim.grants = &s->grants;
    at += aligned(frames * sizeof(struct reclaim_entry));
    s->pending = (struct shard_pending *)(void *)at;
    at += aligned(LIMIT_PENDING * sizeof(struct shard_pending));
    session_table_init(&s->sessions, c->sessions_max, at);
    at += aligned(session_table_bytes(c->sessions_max));
    void *sessions_beside = at;
    at += aligned(session_table_bytes(c->sessions_max));
    place.memory = (uint32_t *)(void *)at;
    install_init(s, &place, sessions_beside, place.memory + 2 * (size_t)frames);
    at += aligned(3 * (size_t)frames * sizeof(uint32_t));
    s->versions.frames = (struct versions_frame *)(void *)at;
    at += aligned(frames * sizeof(struct versions_frame));
    expiry_init(&s->expiry, expire_capacity(&s->geometry), at);
    at += aligned(expiry_bytes(expire_capacity(&s->geometry)));
    s->order = (struct order){
        .board = c->board,
        .frames = &s->frames,
        .arena = c->arena,
        .list = (uint32_t *)(void *)at,
        .enabled = c->ordered,
    };
    s->install.order = s->order;
    s->install.order.list += frames;
}

void shard_epoch_add(struct shard *s, const struct record_epoch *e)
{
    struct log_epoch entry = {
        .epoch = e->epoch,
        .lsn_start = e->lsn_start,
        .lsn_end_before = e->lsn_end_before,
        .lossy = e->lossy,
    };
    log_epoch_add(&s->log, &entry);
    atomic_store_explicit(&s->board->epoch, e->epoch, memory_order_relaxed);
}

static bool may_begin_epoch(const struct shard *s)
{
    /* Why the second: who lacks a part of the state cannot lead. */
    return !pending_is_full(s) && s->log.lsn_end >= s->lsn_visible;
}

static int epoch_append(struct shard *s, uint64_t epoch, bool lossy, uint64_t clock_ns)
{
    ASSERT(!land_has_ahead(s));
    struct record header = {
        .kind = RECORD_EPOCH,
        .flags = RECORD_FLAG_TRANSACTION_END,
        .extension_length = sizeof(struct record_epoch),
    };
    struct record_epoch extension = {
        .type = RECORD_EXTENSION_EPOCH,
        .length = sizeof extension - 4,
        .lossy = lossy,
        .epoch = epoch,
        .lsn_start = log_next_lsn(&s->log, record_size(&header)),
        .lsn_end_before = s->log.lsn_whole,
    };
    struct record_parts parts = {.extension = &extension};
    uint64_t offset;
    int error = write_append(s, &header, &parts, clock_ns, &offset);
    if (error != 0)
        return error;
    ASSERT(header.lsn == extension.lsn_start);
    shard_epoch_add(s, &extension);
    shard_live_add(s, offset, record_size(&header));
    const struct shard_origin nobody = {.operation = 0};
    struct shard_pending *p = pending_add(s, &nobody);
    p->lsn = header.lsn;
    p->offset = offset;
    p->record_kind = RECORD_EPOCH;
    return 0;
}

int shard_epoch_begin(struct shard *s, uint64_t epoch, uint64_t clock_ns)
{
    return may_begin_epoch(s) ? epoch_append(s, epoch, false, clock_ns) : -EAGAIN;
}

int shard_epoch_lossy(struct shard *s, uint64_t epoch, uint64_t lsn_floor, uint64_t clock_ns)
{
    if (!may_begin_epoch(s))
        return -EAGAIN;
    if (s->log.lsn_end <
        lsn_floor) /* or it jumped already, and there was no memory for the record */
        log_jump(&s->log, lsn_floor);
    return epoch_append(s, epoch, true, clock_ns);
}

int shard_init(struct shard *s, const struct shard_config *c)
{
    *s = (struct shard){
        .board = c->board,
        .directory = c->directory,
        .counters = c->counters,
        .arena = c->arena,
        .geometry = c->header->geometry,
        .number = c->number,
        .value_bytes_max = c->value_bytes_max,
        .session_ttl_ns = c->session_ttl_ns,
        .lsn_kept = UINT64_MAX,
        .has_history = c->history > 1 || c->history_ns != 0,
        .versions = {.count = c->history != 0 ? c->history : 1, .span_ns = c->history_ns},
    };
    ASSERT(s->versions.count <= LIMIT_VERSION_WALK);
    parts_init(s, c);
    shard_grant(s, s->log.lsn_end + (UINT64_C(4) << s->geometry.segment_shift));
    int error = index_init(&s->index, c->board, &s->frames, &s->reclaim, c->arena);
    if (error != 0 || c->epoch == 0)
        return error;
    error = shard_epoch_begin(s, c->epoch, c->clock_ns);
    shard_commit(s, s->log.lsn_end);
    return error;
}

void shard_grant(struct shard *s, uint64_t lsn_ceiling)
{
    log_grant(&s->log, lsn_ceiling);
}

/* ---- reads by the ring ---- */

int shard_read(struct shard *s, const struct shard_read *r)
{
    if (!pending_has_room(s, 1) || UNLIKELY(s->log.lsn_end < s->lsn_visible))
        return -EAGAIN;
    struct index_place place;
    int error = index_find(&s->index, (uint32_t)r->hash, r->key, r->key_length, &place);
    if (error != 0)
        return error;
    struct shard_pending *p = pending_add(s, &r->origin);
    if (PLANTED(ANSWER_UNCOMMITTED))
        p->lsn_wait = 0;
    p->status = RING_NOT_FOUND;
    if (place.value != 0) {
        uint64_t offset = layout_slot_offset(place.value);
        const struct record *head = shard_record(s, offset);
        p->lsn = head->lsn;
        if (head->kind == RECORD_DATA) {
            p->offset = offset;
            p->status = RING_OK;
            s->reads_waiting++;
        }
    }
    counter_add(s->counters, COUNTER_READS_BY_RING, 1);
    return 0;
}

int shard_position(struct shard *s, const struct shard_origin *origin)
{
    if (!pending_has_room(s, 1) || UNLIKELY(s->log.lsn_end < s->lsn_visible))
        return -EAGAIN;
    pending_add(s, origin)->lsn = s->log.lsn_whole;
    counter_add(s->counters, COUNTER_READS_BY_RING, 1);
    return 0;
}

/* ---- sessions ---- */

static int session_append(struct shard *s, const uint8_t *id, uint32_t uid, uint64_t clock_ns,
                          struct shard_pending *p)
{
    struct record header = {
        .kind = RECORD_SESSION,
        .flags = RECORD_FLAG_TRANSACTION_END,
        .operation = RING_SESSION_OPEN,
        .key_length = SESSION_ID_BYTES,
        .value_length = sizeof uid,
    };
    uint64_t charge = shard_charge(s, record_size(&header));
    int error = write_admit_charge(s, s->live_charge + charge, WRITE_EIGHTHS_SESSIONS);
    if (error != 0)
        return error;
    struct record_parts parts = {.key = id, .value = &uid};
    uint64_t offset;
    error = write_append(s, &header, &parts, clock_ns, &offset);
    if (error != 0)
        return error;
    shard_live_add(s, offset, record_size(&header));
    uint32_t slot = session_open(&s->sessions, id, uid, header.lsn, clock_ns);
    s->sessions.entries[slot].offset = offset;
    p->lsn = header.lsn;
    p->session_slot = slot;
    p->record_kind = RECORD_SESSION;
    return 0;
}

int shard_session_open(struct shard *s, const struct shard_origin *origin,
                       const uint8_t id[SESSION_ID_BYTES], uint32_t uid, uint64_t clock_ns)
{
    if (!pending_has_room(s, 1))
        return -EAGAIN;
    struct shard_pending entry = {
        .origin = *origin,
        .offset = SHARD_NO_OFFSET,
        .session_slot = SESSION_NONE,
    };
    uint32_t slot = session_find(&s->sessions, id);
    if (slot != SESSION_NONE) {
        struct session *known = &s->sessions.entries[slot];
        if (known->uid != uid)
            return RING_ACCESS;
        if (known->expiring)
            return -EAGAIN;
        known->traffic_ns = clock_ns;
        entry.lsn = known->lsn_opened;
        entry.session_slot = slot;
    } else {
        if (session_table_is_full(&s->sessions))
            return RING_SESSION_LIMIT;
        int error = session_append(s, id, uid, clock_ns, &entry);
        if (error != 0)
            return error;
    }
    entry.lsn_wait = s->log.lsn_whole;
    *pending_at(s, s->pending_tail++) = entry;
    return 0;
}

/* The answer, if origin wants one, comes when the session is forgotten. */
static int session_expire(struct shard *s, uint32_t slot, const struct shard_origin *origin,
                          uint64_t clock_ns)
{
    struct session *expired = &s->sessions.entries[slot];
    struct record header = {
        .kind = RECORD_EXPIRE,
        .flags = RECORD_FLAG_TRANSACTION_END,
        .key_length = SESSION_ID_BYTES,
        .session = expired->lsn_opened,
    };
    struct record_parts parts = {.key = expired->id};
    uint64_t offset;
    int error = write_append(s, &header, &parts, clock_ns, &offset);
    if (error != 0)
        return error;
    expired->expiring = true;
    struct shard_pending *p = pending_add(s, origin);
    p->session_slot = slot;
    p->record_kind = RECORD_EXPIRE;
    return 0;
}

int shard_session_close(struct shard *s, const struct shard_origin *origin,
                        const uint8_t id[SESSION_ID_BYTES], uint32_t uid, uint64_t clock_ns)
{
    if (!pending_has_room(s, 1))
        return -EAGAIN;
    uint32_t slot = session_find(&s->sessions, id);
    if (slot == SESSION_NONE)
        return RING_NOT_FOUND;
    const struct session *known = &s->sessions.entries[slot];
    if (known->uid != uid)
        return RING_ACCESS;
    if (known->expiring) {
        /* Why later: where its expiry is cut it lives on. */
        pending_add(s, origin)->status = RING_NOT_FOUND;
        return 0;
    }
    if (known->opening || known->committed != known->appended)
        return RING_SEQUENCE;
    return session_expire(s, slot, origin, clock_ns);
}

void shard_sweep_sessions(struct shard *s, uint32_t count, uint64_t clock_ns)
{
    const struct shard_origin nobody = {.operation = 0};
    uint32_t slot = session_sweep(&s->sessions, count, clock_ns, s->session_ttl_ns);
    if (slot != SESSION_NONE && pending_has_room(s, 1))
        /* Why the result does not matter: a later sweep finds it again. */
        (void)!session_expire(s, slot, &nobody, clock_ns);
}

/* ---- commit ---- */

static void commit_session(struct shard *s, const struct shard_pending *p)
{
    struct session *session = &s->sessions.entries[p->session_slot];
    switch (p->record_kind) {
    case RECORD_SESSION:
        session->opening = false;
        break;
    case RECORD_EXPIRE:
        shard_live_sub(s, session->offset, record_size(shard_record(s, session->offset)));
        session_forget(&s->sessions, p->session_slot);
        break;
    case 0:
        break;
    default:
        session_commit_result(
            session, p->sequence,
            (struct session_result){.lsn = p->lsn, .status = p->status, .number = p->number});
    }
}

#define COMMIT_LONG 128u
#define COMMIT_AHEAD 8u

/* Fetch what commit_link will touch: in a long list what was met when it was appended has left the
 * cache. */
static ALWAYS_INLINE void commit_prefetch(const struct shard *s, const struct shard_pending *p)
{
    if (p->offset == SHARD_NO_OFFSET)
        return;
    uint64_t link = atomic_load_explicit(shard_link(s, p->offset), memory_order_relaxed);
    if (layout_link_size(link) == 0)
        PREFETCH(s->arena + layout_slot_offset(link));
    PREFETCH_WRITE(&s->directory[layout_slot_offset(link) >> s->geometry.segment_shift]);
}

/* The version below a committed one is needed no more, unless history is kept. */
static void commit_link(struct shard *s, const struct shard_pending *p)
{
    if (p->record_kind != RECORD_DATA && p->record_kind != RECORD_TOMBSTONE)
        return;
    if (p->record_kind == RECORD_TOMBSTONE)
        s->leave.deletes++;
    if (UNLIKELY(s->has_history)) {
        versions_commit(s, p->offset);
        return;
    }
    _Atomic uint64_t *word = shard_link(s, p->offset);
    uint64_t link = atomic_load_explicit(word, memory_order_relaxed);
    if (!(link & LAYOUT_SLOT_VALID))
        return;
    uint64_t older = layout_slot_offset(link);
    uint64_t size = layout_link_size(link);
    shard_live_sub(s, older, size != 0 ? size : record_size(shard_record(s, older)));
    /* relaxed: a reader that still follows the old link is caught by the stamp */
    atomic_store_explicit(word, LAYOUT_LINK_CUT, memory_order_relaxed);
}

void shard_show(struct shard *s)
{
    if (UNLIKELY(s->lsn_visible != 0))
        install_show(s);
    atomic_store_explicit(&s->board->live_bytes, s->live_bytes, memory_order_relaxed);
    atomic_store_explicit(&s->board->key_count, s->index.key_count, memory_order_relaxed);
    atomic_store_explicit(&s->board->lsn_end, s->log.lsn_end, memory_order_relaxed);
    /* W1: release, pairs with R2: records, links and slots at or below lsn are whole */
    atomic_store_explicit(&s->board->lsn_committed, s->lsn_committed, memory_order_release);
    s->shown = true;
}

void shard_commit(struct shard *s, uint64_t lsn)
{
    ASSERT(lsn <= s->log.lsn_end);
    if (lsn <= s->lsn_committed)
        return;
    uint32_t end = s->pending_applied;
    for (; end != s->pending_tail && pending_at(s, end)->lsn_wait <= lsn; end++)
        if (pending_at(s, end)->session_slot != SESSION_NONE)
            commit_session(s, pending_at(s, end));
    s->lsn_committed = lsn;
    if (LIKELY(lsn >= s->lsn_visible))
        shard_show(s);
    bool is_long = end - s->pending_applied > COMMIT_LONG;
    for (; s->pending_applied != end; s->pending_applied++) {
        if (is_long && end - s->pending_applied > COMMIT_AHEAD)
            commit_prefetch(s, pending_at(s, s->pending_applied + COMMIT_AHEAD));
        commit_link(s, pending_at(s, s->pending_applied));
    }
}

bool shard_answer_next(struct shard *s, struct shard_answer *answer)
{
    while (s->pending_head != s->pending_tail &&
           pending_at(s, s->pending_head)->lsn_wait <= s->lsn_committed) {
        const struct shard_pending *p = pending_at(s, s->pending_head);
        /* Why: a read that waited for nothing was passed by no commit */
        if (s->pending_applied == s->pending_head)
            s->pending_applied++;
        s->pending_head++;
        s->reads_waiting -= pending_is_reading(p);
        if (p->origin.operation == 0)
            continue;
        bool is_read = p->origin.operation == RING_GET && p->offset != SHARD_NO_OFFSET;
        *answer = (struct shard_answer){
            .origin = p->origin,
            .status = p->status,
            .session_slot = p->session_slot,
            .lsn = p->lsn,
            .sequence = p->sequence,
            .number = p->number,
            /* Why not a duplicate: what was answered once is true for ever. */
            .judged = p->record_kind == 0 && p->sequence == 0 &&
                      (p->origin.operation != RING_POSITION || !PLANTED(POSITION_UNJUDGED)),
            .record = is_read ? shard_record(s, p->offset) : NULL,
        };
        return true;
    }
    if (s->pending_head == s->pending_tail)
        s->pending_head = s->pending_applied = s->pending_tail = 0;
    return false;
}

/* ---- housekeeping ---- */

#define GROW_BUCKETS_MIN 64u
/* A pass has no more new keys than it may have operations, and one bucket holds several. */
#define GROW_BUCKETS_MAX LIMIT_PENDING
#define CLEAN_BYTES_MIN (2u << 10)
#define CLEAN_RATIO 8u /* bytes looked at for each byte appended: enough at 3/4 live */
/* Clean while fewer frames than one in so many are free, and of those on their way besides.  Why not as
 * many free: what stands free the log does not use, and the fuller the log, the more its cleaning copies
 * (two thirds of the memory live, uniform overwrites: 2.4 bytes written per byte for 3.1). */
#define FREE_SHARE 16u
#define FREE_COMING_SHARE 8u

/* Frames to have free: a share, and what the index is about to need, but no more than half of what
 * cleaning could ever give, or it would copy the same live records round and round. */
static uint32_t free_target(const struct shard *s, uint32_t share)
{
    uint32_t frames = frames_total(&s->frames);
    uint32_t low_water = (uint32_t)max_u64(frames / share, WRITE_FRAMES_WORKING);
    uint64_t taken = index_pages(&s->index) + s->order.frame_count +
                     (s->live_charge >> s->geometry.segment_shift) + 1;
    uint64_t possible = frames > taken ? frames - taken : 0;
    uint64_t wanted = index_pages_wanted(&s->index) + order_frames_wanted(&s->order);
    uint64_t target = min_u64(low_water + wanted, possible / 2);
    return (uint32_t)max_u64(target, FRAMES_KEPT + 1);
}

static bool is_short(const struct shard *s)
{
    uint32_t available = frames_available(&s->frames);
    uint32_t soon = available + reclaim_coming(&s->reclaim);
    if (s->starved)
        return true;
    return soon < free_target(s, FREE_COMING_SHARE) && available < free_target(s, FREE_SHARE);
}

bool shard_maintain(struct shard *s, const struct reclaim_now *now)
{
    ASSERT(s->pending_head == s->pending_applied);
    uint64_t appended = s->bytes_appended;
    s->bytes_appended = 0;
    uint32_t buckets = (uint32_t)min_u64(appended / RECORD_HEADER_BYTES, GROW_BUCKETS_MAX);
    bool more = s->index.growing;
    index_step(&s->index, buckets + GROW_BUCKETS_MIN, now);
    if (s->index.growing && !more)
        counter_add(s->counters, COUNTER_INDEX_GROWTHS, 1);
    more = s->index.growing;
    more |= order_step(&s->order, &s->reclaim, now);
    if (leave_is_due(&s->frames))
        more |= leave_step(s, now);
    if (UNLIKELY(s->install.beside != INSTALL_NONE || s->install.retired_count != 0))
        more |= install_step(s, now);
    if (UNLIKELY(s->has_history))
        more |= versions_sweep(s, appended);

    bool cleaning = false;
    if (is_short(s) && LIKELY(install_may_clean(s))) {
        /* Why a segment for the starved: the write that waits is put back until one is free. */
        uint64_t least = s->starved ? UINT64_C(1) << s->geometry.segment_shift : CLEAN_BYTES_MIN;
        uint64_t budget = appended * CLEAN_RATIO + least;
        cleaning = clean_step(s, budget, now);
    }
    s->starved = false;
    /* Why: a read that waits for its commit names the record that it met, which the cleaner may have
     * moved meanwhile.  New reads cannot hold this up for long: without memory no write comes that they
     * would wait for.  Where the commit itself may wait for memory, they let go: pending_release_reads. */
    if (s->reclaim.count != 0 && s->reads_waiting == 0)
        (void)reclaim_step(&s->reclaim, now);
    return more || cleaning || s->reclaim.count != 0;
}
