#include "tests/unit/engine/install_world.h"

#include "engine/pending.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

const struct fixture_config install_config = {
    .quota_bytes = UINT64_C(7) << 20,
    .shard_count = 1,
    .sessions_max = HISTORY_SESSIONS,
};

void install_world_open(struct install_world *w, uint64_t seed,
                        const struct fixture_config *follower)
{
    memset(w, 0, sizeof *w);
    w->seed = seed * 1000;
    w->h = history_open(seed, 3000);
    fixture_open(&w->leader, &install_config);
    fixture_open(&w->follower, follower);
    w->piece = aligned_alloc(64, PIECE_MAX);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w->piece);
}

void install_world_close(struct install_world *w)
{
    free(w->piece);
    history_close(w->h);
    fixture_close(&w->leader);
    fixture_close(&w->follower);
}

/* ---- reading meanwhile ---- */

static void read_begin_one(struct install_world *w, struct install_read *r)
{
    const struct fixture *f = &w->follower;
    char key[32];
    struct read_key k;
    r->number = fixture_below(&w->seed, HISTORY_KEYS);
    read_key_init(&k, &f->space, key, fixture_key(r->number, key));
    read_begin(&r->point, &f->space, 0);
    r->result = read_find(&r->point, &f->space, &k, &r->found);
    r->open = r->result >= 0;
}

static void read_end_one(struct install_world *w, struct install_read *r)
{
    static uint8_t value[HISTORY_VALUE_MAX];
    const struct fixture *f = &w->follower;
    r->open = false;
    if (r->result == 1)
        read_copy(&r->found, value, sizeof value);
    if (!read_validate(&r->point, &f->space, r->result == 0))
        return;
    const struct history_entry *e = history_at(w->h, r->number, r->point.lsn);
    CU_ASSERT_EQUAL_FATAL(r->result, e != NULL);
    if (e != NULL) {
        uint64_t version;
        memcpy(&version, value, sizeof version);
        CU_ASSERT(r->found.lsn == e->lsn && r->found.value_length == e->length);
        CU_ASSERT_EQUAL(version, e->version);
        CU_ASSERT(fixture_value_is(r->number, version, value + 8, e->length - 8));
    }
    w->reads_good++;
    w->reads_hidden += install_lsn_visible(f->shard) != 0;
}

/* Reads that begin and end at any two moments. */
void install_reads_go_on(struct install_world *w)
{
    for (uint32_t i = 0; i < 4; i++) {
        struct install_read *r = &w->reads[fixture_below(&w->seed, OPEN_READS)];
        if (r->open)
            read_end_one(w, r);
        else
            read_begin_one(w, r);
    }
    uint64_t shown = atomic_load_explicit(&w->follower.board->lsn_committed, memory_order_relaxed);
    CU_ASSERT(shown >= w->lsn_shown);
    w->lsn_shown = shown;
}

/* ---- the log ---- */

void install_follower_maintain(struct install_world *w)
{
    struct fixture *f = &w->follower;
    shard_commit(f->shard, min_u64(w->leader.shard->lsn_committed, f->shard->log.lsn_end));
    fixture_answers(f);
    (void)fixture_maintain(f);
}

/* One range of the leader's log, of random length. */
void install_ship(struct install_world *w)
{
    struct shard *s = w->follower.shard;
    struct land_range missing;
    if (land_missing(s, w->leader.shard->log.lsn_end, &missing)) {
        uint64_t available = 0;
        const uint8_t *bytes = log_bytes_at(&w->leader.shard->log, missing.lsn_start, &available);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
        available = min_u64(available, 8 + 8 * (uint64_t)fixture_below(&w->seed, 1000));
        int placed = land_bytes(s, missing.lsn_start, bytes, available);
        CU_ASSERT(placed >= 0 || placed == -EAGAIN);
    }
    int checked = land_check(s);
    CU_ASSERT_FATAL(checked >= 0 || checked == -EAGAIN);
}

/* Land the leader's log, which goes on growing a little at first. */
void install_catch_up(struct install_world *w, uint32_t writes)
{
    const struct shard *s = w->follower.shard;
    for (uint32_t turn = 0; s->log.lsn_end != w->leader.shard->log.lsn_end ||
                            s->lsn_committed != w->leader.shard->lsn_committed;
         turn++) {
        CU_ASSERT_FATAL(turn < 200000);
        w->leader.shard->lsn_kept = s->log.lsn_end;
        if (turn < 50 && writes != 0) {
            history_write(w->h, &w->leader, fixture_below(&w->seed, writes));
            history_commit(w->h, &w->leader);
        }
        install_ship(w);
        install_reads_go_on(w);
        install_follower_maintain(w);
        install_reads_go_on(w);
    }
}

/* ---- equality ---- */

static void sessions_are_equal(const struct install_world *w)
{
    const struct session_table *a = &w->leader.shard->sessions;
    const struct session_table *b = &w->follower.shard->sessions;
    CU_ASSERT_EQUAL(a->used, b->used);
    for (uint32_t i = 0; i < a->fresh; i++) {
        const struct session *one = &a->entries[i];
        if (one->lsn_opened == 0)
            continue;
        uint32_t slot = session_find_lsn(b, one->lsn_opened, SESSION_NONE);
        CU_ASSERT_FATAL(slot != SESSION_NONE);
        CU_ASSERT_EQUAL(slot, session_find(b, one->id));
        const struct session *other = &b->entries[slot];
        CU_ASSERT(one->uid == other->uid && one->opening == other->opening);
        CU_ASSERT(one->committed == other->committed && one->appended == other->appended);
        uint64_t kept = min_u64(one->committed, LIMIT_SESSION_WINDOW);
        for (uint64_t q = one->committed - kept + 1; q <= one->committed; q++) {
            struct session_result mine, theirs;
            CU_ASSERT_EQUAL(session_order(one, q, &mine), SESSION_DUPLICATE);
            CU_ASSERT_EQUAL(session_order(other, q, &theirs), SESSION_DUPLICATE);
            CU_ASSERT(mine.lsn == theirs.lsn && mine.status == theirs.status);
        }
    }
}

/* What live records are charged for, counted afresh; nothing is pending. */
static uint64_t charge_counted(struct fixture *f)
{
    struct shard *s = f->shard;
    struct index_walk walk = {.bits = 0};
    uint64_t slot, charge = 0;
    uint32_t budget = UINT32_MAX;
    while (index_walk(&s->index, &walk, &budget, &slot) == 1) {
        charge += shard_charge(s, record_size(shard_record(s, layout_slot_offset(slot))));
        index_walk_on(&walk);
    }
    CU_ASSERT_TRUE(walk.done);
    for (uint32_t i = 0; i < s->sessions.fresh; i++)
        if (s->sessions.entries[i].lsn_opened != 0)
            charge += shard_charge(s, record_size(shard_record(s, s->sessions.entries[i].offset)));
    return charge + s->log.epoch_count * shard_charge(s, record_bytes(32, 0, 0));
}

void install_check_equal(struct install_world *w)
{
    struct shard *a = w->leader.shard, *b = w->follower.shard;
    CU_ASSERT_EQUAL(install_lsn_visible(b), 0);
    CU_ASSERT_EQUAL(history_differences(w->h, &w->leader), 0);
    CU_ASSERT_EQUAL(history_differences(w->h, &w->follower), 0);
    CU_ASSERT_EQUAL(atomic_load_explicit(&w->follower.board->lsn_committed, memory_order_relaxed),
                    a->lsn_committed);
    sessions_are_equal(w);
    CU_ASSERT_EQUAL_FATAL(a->log.epoch_count, b->log.epoch_count);
    CU_ASSERT_EQUAL(
        memcmp(a->log.epochs, b->log.epochs, a->log.epoch_count * sizeof a->log.epochs[0]), 0);
    CU_ASSERT_EQUAL(b->live_bytes, fixture_live_bytes(&w->follower, NULL));
    CU_ASSERT_EQUAL(b->live_charge, charge_counted(&w->follower));
    CU_ASSERT_EQUAL(atomic_load_explicit(&w->leader.board->epoch, memory_order_relaxed),
                    atomic_load_explicit(&w->follower.board->epoch, memory_order_relaxed));
    CU_ASSERT(b->log.hybrid_clock >= 1);
}

/* ---- the snapshot ---- */

static void leader_goes_on(struct install_world *w, uint32_t writes)
{
    history_write(w->h, &w->leader, fixture_below(&w->seed, writes));
    if (fixture_below(&w->seed, 2) == 0)
        history_commit(w->h, &w->leader);
}

/* Hand a piece over until it is taken; it arrives damaged, twice and too early as well. */
int install_hand_over(struct install_world *w, const struct snapshot_piece *p)
{
    struct shard *s = w->follower.shard;
    if (fixture_below(&w->seed, 4) == 0) {
        uint64_t at = fixture_below(&w->seed, (uint32_t)p->length);
        p->bytes[at] ^= 0x10;
        CU_ASSERT_EQUAL(install_piece(s, p->bytes, p->length), -EBADMSG);
        p->bytes[at] ^= 0x10;
    }
    uint32_t number = install_piece_next(s);
    for (uint32_t turn = 0;; turn++) {
        CU_ASSERT_FATAL(turn < 100000);
        int taken = install_piece(s, p->bytes, p->length);
        install_reads_go_on(w);
        if (taken >= 0) {
            CU_ASSERT_EQUAL(install_piece_next(s), number + 1);
            CU_ASSERT_EQUAL(install_piece(s, p->bytes, p->length), taken == 1 ? -EINVAL : 0);
            return taken;
        }
        if (taken == -ENOSPC) {
            w->discarded++;
            install_discard(s);
        } else {
            CU_ASSERT_EQUAL_FATAL(taken, -EAGAIN);
        }
        w->waited++;
        install_follower_maintain(w);
        install_reads_go_on(w);
    }
}

void install_world_begin(struct install_world *w)
{
    int begun = -EAGAIN;
    for (uint32_t turn = 0; begun == -EAGAIN && turn < 1000; turn++) {
        begun = install_begin(w->follower.shard, ++w->id);
        if (begun == -EAGAIN)
            install_follower_maintain(w);
    }
    CU_ASSERT_EQUAL_FATAL(begun, 0);
}

/* Pages are newer than every reader that still goes by an older root; of what was before, links say that
 * it was trimmed, not that there was nothing. */
static void check_marks(const struct install_world *w, uint64_t reclaim_count, uint64_t lsn_start)
{
    struct shard *s = w->follower.shard;
    const struct index_table *t = &s->index.table;
    uint64_t pages = 0, old_pages = 0, slot;
    for (uint32_t i = 0; i < LIMIT_INDEX_PAGES; i++) {
        uint32_t page = atomic_load_explicit(&s->board->pages[t->array][i], memory_order_relaxed);
        pages += page != 0;
        old_pages += page != 0 && atomic_load_explicit(&s->directory[page - 1].stamp,
                                                       memory_order_relaxed) < reclaim_count;
    }
    CU_ASSERT(pages != 0 && old_pages == 0);
    struct index_walk walk = {.bits = 0};
    uint32_t budget = UINT32_MAX;
    for (; index_walk(&s->index, &walk, &budget, &slot) == 1; index_walk_on(&walk)) {
        uint64_t offset = layout_slot_offset(slot);
        CU_ASSERT(shard_record(s, offset)->lsn < lsn_start);
        CU_ASSERT_EQUAL(atomic_load_explicit(shard_link(s, offset), memory_order_relaxed),
                        LAYOUT_LINK_CUT);
    }
}

/* A whole snapshot, while both go on.  Afterwards the log is at S0. */
void install_take_snapshot(struct install_world *w, uint32_t writes)
{
    struct snapshot_cursor c;
    install_world_begin(w);
    uint64_t reclaim_count =
        atomic_load_explicit(&w->follower.board->reclaim_count, memory_order_relaxed);
    fixture_commit(&w->leader);
    CU_ASSERT_EQUAL_FATAL(snapshot_begin(&c, w->leader.shard, w->id), 0);
    w->leader.shard->lsn_kept = c.lsn_start;
    int more = 1, taken = 0;
    while (more != 0) {
        struct snapshot_piece p = {
            .bytes = w->piece,
            .capacity = SNAPSHOT_PIECE_MIN +
                        8 * (uint64_t)fixture_below(&w->seed, (PIECE_MAX - SNAPSHOT_PIECE_MIN) / 8),
        };
        more = snapshot_next(&c, w->leader.shard, &p);
        CU_ASSERT_FATAL(more >= 0 || more == -EAGAIN);
        if (more >= 0)
            taken = install_hand_over(w, &p);
        if (taken == 1)
            check_marks(w, reclaim_count, c.lsn_start);
        leader_goes_on(w, writes);
        install_follower_maintain(w);
        install_reads_go_on(w);
    }
    CU_ASSERT_EQUAL(taken, 1);
    CU_ASSERT(w->follower.shard->log.lsn_end >= c.lsn_start);
}
