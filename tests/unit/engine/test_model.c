/* Random runs of two nodes against a map (model.h): test_engine_model [SEED].  Without a seed, those below. */
#include "engine/land.h"
#include "engine/pending.h"
#include "engine/plant.h"
#include "engine/snapshot.h"
#include "tests/unit/engine/chunks.h"
#include "tests/unit/engine/model.h"
#include "tests/unit/engine/model_cursor.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define STEPS 8000u
#define STEPS_PER_PHASE 2000u
#define TURNS_MAX 20000u /* of anything that is to end */
#define EPOCHS_MAX 60u

/* What is slow for a while. */
enum phase { PHASE_EVEN, PHASE_COMMIT, PHASE_SHIP, PHASE_FOLLOWER, PHASE_COUNT };

static bool is_whole(const struct fixture *f)
{
    return f->shard->lsn_visible == 0 && f->shard->install.beside == INSTALL_NONE;
}

/* End of the log, or where some pending operation ends. */
static uint64_t some_end(struct model *m, const struct shard *s, uint32_t chance)
{
    if (model_below(m, chance) == 0 || s->pending_tail == s->pending_applied)
        return s->log.lsn_whole;
    uint32_t at = s->pending_applied + model_below(m, s->pending_tail - s->pending_applied);
    return pending_at(s, at)->lsn_wait;
}

/* ---- chunks ---- */

static uint64_t chunks_made, chunks_taken, chunks_kept; /* in all runs */

/* Why: with fewer the tail is gone so soon that cursors see little of it. */
#define CHUNK_FRAMES_LEAST 28u

/* What control does, at random. */
static void chunks_step(struct model *m, struct fixture *f)
{
    uint32_t count = chunks_count(f);
    uint64_t leave = atomic_load_explicit(&f->header->leave, memory_order_relaxed);
    bool wants = atomic_load_explicit(f->chunks_wanted, memory_order_relaxed) > (uint32_t)leave;
    if (!chunks_leaving(f)) {
        m->counts.chunks_made += chunks_grow(f);
        chunks_map(f);
        uint32_t least = (CHUNK_FRAMES_LEAST - 1) / f->geometry.frames_per_chunk + 1;
        if (count > least && model_below(m, 40) == 0)
            chunks_leave(f, least + model_below(m, count - least));
        return;
    }
    int answer = chunks_answer(f);
    if (answer == 1)
        chunks_take(f);
    else if (answer < 0 || wants || model_below(m, 300) == 0)
        chunks_give_up(f);
    m->counts.chunks_taken += answer == 1 ? count - chunks_count(f) : 0;
    m->counts.chunks_kept += answer != 1 && !chunks_leaving(f);
    chunks_map(f);
    if (answer == 1)
        model_check_live(m, f);
}

/* ---- the log ---- */

static void commit(struct model *m)
{
    struct shard *s = model_leader(m)->shard;
    uint64_t lsn = some_end(m, s, 2);
    if (model_below(m, 4) != 0) /* most commits wait for the other */
        lsn = min_u64(lsn, model_follower(m)->shard->log.lsn_whole);
    if (lsn <= m->committed || lsn <= s->lsn_committed)
        return;
    shard_commit(s, lsn);
    m->committed = s->lsn_committed;
}

static void follower_commit(struct model *m)
{
    struct shard *s = model_follower(m)->shard;
    shard_commit(s, min_u64(m->committed, s->log.lsn_whole));
}

/* One range, sometimes with a gap before it. */
static void ship(struct model *m)
{
    struct shard *s = model_follower(m)->shard;
    const struct shard *leader = model_leader(m)->shard;
    struct land_range missing;
    if (s->log.lsn_end > leader->log.lsn_end)
        return;
    if (land_missing(s, leader->log.lsn_end, &missing)) {
        uint64_t available = 0, from = missing.lsn_start;
        if (model_below(m, 6) == 0)
            from += 8 * (uint64_t)model_below(m, 2000);
        if (from >= leader->log.lsn_end)
            from = missing.lsn_start;
        const uint8_t *bytes = log_bytes_at(&leader->log, from, &available);
        if (bytes == NULL)
            return;
        uint32_t most = model_below(m, 3) != 0 ? 3000 : 40;
        int landed =
            land_bytes(s, from, bytes, min_u64(available, 8 + 8 * (uint64_t)model_below(m, most)));
        MODEL_CHECK(m, landed >= 0 || landed == -EAGAIN);
    }
    int checked = land_check(s);
    MODEL_CHECK(m, checked >= 0 || checked == -EAGAIN);
    MODEL_CHECK(m, s->log.lsn_whole <= leader->log.lsn_whole || s->log.lsn_whole == s->log.lsn_end);
}

static void settle(struct model *m)
{
    struct shard *s = model_leader(m)->shard;
    const struct shard *other = model_follower(m)->shard;
    for (uint32_t turn = 0; other->log.lsn_end < s->log.lsn_end; turn++) {
        MODEL_CHECK(m, turn < TURNS_MAX);
        s->lsn_kept = min_u64(other->log.lsn_end, s->lsn_kept);
        if (turn % 7 == 0)
            ship(m);
        if (turn % 8 == 0)
            shard_commit(s, other->log.lsn_whole);
        m->committed = max_u64(m->committed, s->lsn_committed);
        follower_commit(m);
        model_maintain(m, model_follower(m));
        chunks_step(m, model_follower(m));
        model_answers(m, model_leader(m));
    }
}

/* ---- cuts ---- */

static void cut_one(struct model *m, struct fixture *f, uint64_t lsn)
{
    int error = -EAGAIN;
    for (uint32_t turn = 0; error == -EAGAIN; turn++) {
        MODEL_CHECK(m, turn < TURNS_MAX);
        error = land_cut(f->shard, lsn, &f->now);
        if (error == -EAGAIN) {
            model_maintain(m, f);
            chunks_step(m, f);
        }
    }
    MODEL_CHECK(m, error == 0);
    m->counts.cuts++;
}

/* The same leader goes on, with less. */
static void cut(struct model *m)
{
    struct fixture *leader = model_leader(m), *follower = model_follower(m);
    uint64_t lsn = max_u64(some_end(m, leader->shard, 3), m->committed);
    if (!is_whole(follower) || lsn < leader->shard->lsn_committed ||
        lsn > leader->shard->log.lsn_end)
        return;
    if (follower->shard->log.lsn_end <= lsn)
        land_forget(follower->shard);
    cut_one(m, follower, min_u64(lsn, follower->shard->log.lsn_whole));
    cut_one(m, leader, lsn);
    model_forget(m, lsn);
    model_check_live(m, leader);
    model_check_live(m, follower);
}

/* They change places. */
static void swap(struct model *m)
{
    struct fixture *next = model_follower(m), *before = model_leader(m);
    uint64_t lsn = next->shard->log.lsn_whole;
    if (!is_whole(next) || lsn < m->committed)
        return;
    cut_one(m, next, lsn); /* what was received beyond goes */
    if (before->shard->log.lsn_end > lsn)
        cut_one(m, before, lsn);
    model_forget(m, lsn);
    m->leader = 1 - m->leader;
    shard_commit(next->shard, m->committed); /* a sealed majority knows it */
    next->shard->lsn_kept = before->shard->log.lsn_end;
    before->shard->lsn_kept = UINT64_MAX;
    shard_grant(next->shard, next->shard->log.lsn_end + (UINT64_C(1) << 32));
    if (next->shard->log.epoch_count < EPOCHS_MAX &&
        shard_epoch_begin(next->shard, m->epoch + 1, 0) == 0)
        m->epoch++;
    m->counts.swaps++;
    model_check_live(m, next);
    model_check_live(m, before);
}

/* ---- snapshots ---- */

static int piece_take(struct model *m, const struct snapshot_piece *p)
{
    struct fixture *f = model_follower(m);
    int taken;
    for (uint32_t turn = 0; (taken = install_piece(f->shard, p->bytes, p->length)) < 0; turn++) {
        MODEL_CHECK(m, turn < TURNS_MAX && (taken == -EAGAIN || taken == -ENOSPC));
        if (taken == -ENOSPC)
            install_discard(f->shard);
        model_maintain(m, f);
        chunks_step(m, f);
    }
    return taken;
}

/* Between two pieces. */
static void go_on(struct model *m, uint64_t lsn_start)
{
    struct fixture *leader = model_leader(m), *follower = model_follower(m);
    for (uint32_t i = model_below(m, 6); i-- > 0;)
        model_write(m);
    if (model_below(m, 3) == 0) {
        commit(m);
        model_maintain(m, leader);
    }
    if (model_below(m, 3) == 0) {
        leader->shard->lsn_kept = min_u64(lsn_start, follower->shard->log.lsn_end);
        ship(m);
        follower_commit(m);
    }
    for (uint32_t i = 0; i < 4; i++) {
        model_check_key(m, follower, model_some_key(m));
        model_check_key(m, leader, model_some_key(m));
    }
}

static bool snapshot_open(struct model *m, struct snapshot_cursor *c)
{
    struct fixture *leader = model_leader(m), *follower = model_follower(m);
    int error = -EAGAIN;
    for (uint32_t turn = 0; turn < 200 && error == -EAGAIN; turn++) {
        error = install_begin(follower->shard, ++m->snapshots);
        model_maintain(m, follower);
    }
    if (error != 0)
        return false;
    if (snapshot_begin(c, leader->shard, m->snapshots) == 0)
        return true;
    install_abort(follower->shard);
    return false;
}

static void snapshot(struct model *m)
{
    static uint8_t bytes[SNAPSHOT_PIECE_MIN + 8 * 1800];
    struct snapshot_cursor c;
    struct snapshot_piece p = {.bytes = bytes,
                               .capacity = SNAPSHOT_PIECE_MIN + 8 * (uint64_t)model_below(m, 1800)};
    struct fixture *leader = model_leader(m);
    if (!is_whole(model_follower(m)) || leader->shard->lsn_visible != 0 || !snapshot_open(m, &c))
        return;
    leader->shard->lsn_kept = min_u64(leader->shard->lsn_kept, c.lsn_start);
    for (int more = 1; more != 0;) {
        more = snapshot_next(&c, leader->shard, &p);
        if (more < 0) {
            MODEL_CHECK(m, more == -EAGAIN);
            model_maintain(m, leader);
            continue;
        }
        int taken = piece_take(m, &p);
        MODEL_CHECK(m, (taken == 1) == (more == 0));
        go_on(m, c.lsn_start);
    }
    leader->shard->lsn_kept = c.lsn_start;
    m->installed[1 - m->leader] = leader->shard->log.lsn_end;
    m->counts.snapshots++;
}

/* ---- a run ---- */

static void phase_begin(struct model *m, enum phase *phase)
{
    m->keys_in_use = (uint32_t)min_u64(MODEL_KEYS, 1000 + m->step / 2 + model_below(m, 1000));
    *phase = (enum phase)model_below(m, PHASE_COUNT);
}

static void log_step(struct model *m, enum phase phase)
{
    struct fixture *leader = model_leader(m), *follower = model_follower(m);
    for (uint32_t i = model_below(m, 6); i-- > 0;)
        model_write(m);
    if (model_below(m, phase == PHASE_COMMIT ? 20 : 3) == 0)
        commit(m);
    model_answers(m, leader);
    if (model_below(m, 3) == 0)
        model_maintain(m, leader);
    if (model_below(m, phase == PHASE_SHIP ? 30 : 2) == 0)
        ship(m);
    if (model_below(m, phase == PHASE_FOLLOWER ? 30 : 3) == 0)
        follower_commit(m);
    model_answers(m, follower);
    if (model_below(m, 3) == 0)
        model_maintain(m, follower);
    uint64_t kept = is_whole(follower) ? leader->shard->log.lsn_end : leader->shard->lsn_kept;
    leader->shard->lsn_kept = min_u64(kept, follower->shard->log.lsn_end);
}

static void one_step(struct model *m, enum phase phase)
{
    m->nodes[0].clock_ns += 1000;
    m->nodes[1].clock_ns += 1000;
    log_step(m, phase);
    chunks_step(m, &m->nodes[0]);
    chunks_step(m, &m->nodes[1]);
    model_check_key(m, model_leader(m), model_some_key(m));
    model_check_key(m, model_follower(m), model_some_key(m));
    model_check_at(m, model_leader(m));
    model_check_at(m, model_follower(m));
    if (model_below(m, 16) == 0)
        model_check_page(m, model_below(m, 2) == 0 ? model_leader(m) : model_follower(m));
    if (model_below(m, 60) == 0)
        cut(m);
    if (model_below(m, 100) == 0)
        swap(m);
    if (model_below(m, 1000) == 0)
        snapshot(m);
    if (model_below(m, 150) == 0)
        settle(m);
    if (m->step % 1000 == 999)
        model_check_all(m);
}

static void run(uint64_t seed, const struct model_policy *policy)
{
    struct model *m = model_open(seed, policy);
    struct model_cursors cursors;
    model_cursors_open(&cursors);
    enum phase phase = PHASE_EVEN;
    for (m->step = 0; m->step < STEPS; m->step++) {
        if (m->step % STEPS_PER_PHASE == 0)
            phase_begin(m, &phase);
        one_step(m, phase);
        model_cursors_step(&cursors, m);
    }
    settle(m);
    shard_commit(model_leader(m)->shard, model_leader(m)->shard->log.lsn_whole);
    m->committed = model_leader(m)->shard->lsn_committed;
    follower_commit(m);
    model_check_all(m);
    model_cursors_drain(&cursors, m);
    CU_ASSERT(cursors.events > STEPS && cursors.lagged != 0 && cursors.grown != 0);
    CU_ASSERT(cursors.skipped <= m->counts.chunks_taken);
    model_cursors_close(&cursors);
    const struct model_counts *n = &m->counts;
    CU_ASSERT(n->reads > STEPS && n->asked != 0 && n->retried != 0 && n->duplicates != 0);
    CU_ASSERT(n->sums != 0 && n->not_numbers != 0 && n->out_of_range != 0 && n->elses != 0);
    CU_ASSERT(n->pages != 0);
    CU_ASSERT(n->transactions != 0 && n->cuts != 0 && n->swaps != 0 && n->snapshots != 0);
    CU_ASSERT(n->at_found != 0 && n->at_missed != 0 && n->at_compacted != 0);
    chunks_taken += n->chunks_taken;
    chunks_made += n->chunks_made;
    chunks_kept += n->chunks_kept;
    CU_ASSERT((n->at_older != 0) == (policy->history > 1 || policy->history_ns != 0));
    model_close(m);
}

static const struct model_policy policies[] = {
    {.history = 1},
    {.history = 4},
    {.history = 64},
    {.history = 1, .history_ns = 400 * 1000},
    {.history = 3, .history_ns = 100 * 1000},
};
#define POLICIES (sizeof policies / sizeof policies[0])

static uint64_t seed_given;

static void the_map_holds_for_the_seed_given(void)
{
    for (uint32_t i = 0; i < POLICIES; i++)
        run(seed_given, &policies[i]);
}

static void the_map_holds_whatever_is_done_to_the_logs(void)
{
    static const uint64_t seeds[] = {1, 2, 3, 4, 5, 6};
    for (uint32_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++)
        run(seeds[i], &policies[0]);
}

static void the_map_holds_at_every_version_that_is_kept(void)
{
    static const uint64_t seeds[] = {7, 8};
    for (uint32_t i = 1; i < POLICIES; i++)
        for (uint32_t j = 0; j < sizeof seeds / sizeof seeds[0]; j++)
            run(seeds[j], &policies[i]);
    CU_ASSERT(chunks_made != 0 && chunks_taken != 0 && chunks_kept != 0);
}

/* ---- planted bugs, which all this must find ---- */

#ifdef DUNLIN_PLANT
/* In a child, since an assertion of the engine may find it first. */
static void planted(const char *bug, const struct model_policy *policy)
{
    int status = 0;
    (void)fflush(stdout);
    pid_t child = fork();
    CU_ASSERT_FATAL(child >= 0);
    if (child == 0) {
        struct model_policy exits = *policy;
        exits.exits = true;
        if (plant_set(bug) == 0)
            for (uint64_t seed = 1; seed <= 3; seed++)
                run(seed, &exits);
        _exit(0);
    }
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
}

static void planted_version_trimmed_early_is_found(void)
{
    planted("version-trimmed-early", &policies[1]);
}

static void planted_link_not_swung_is_found(void)
{
    planted("link-not-swung", &policies[1]);
}

static void planted_increment_applied_twice_is_found(void)
{
    planted("increment-applied-twice", &policies[0]);
}

static void planted_else_ignores_condition_is_found(void)
{
    planted("else-ignores-condition", &policies[0]);
}
#endif

int main(int argc, char **argv)
{
    static const struct unit_test tests[] = {
        UNIT_TEST(the_map_holds_whatever_is_done_to_the_logs),
        UNIT_TEST(the_map_holds_at_every_version_that_is_kept),
#ifdef DUNLIN_PLANT
        UNIT_TEST(planted_version_trimmed_early_is_found),
        UNIT_TEST(planted_link_not_swung_is_found),
        UNIT_TEST(planted_increment_applied_twice_is_found),
        UNIT_TEST(planted_else_ignores_condition_is_found),
#endif
    };
    static const struct unit_test given[] = {UNIT_TEST(the_map_holds_for_the_seed_given)};
    char *end = NULL;
    seed_given = argc == 2 ? strtoull(argv[1], &end, 0) : 0;
    if (end != NULL && end != argv[1] && *end == 0)
        return unit_main("model", given, 1, 1, argv);
    return unit_main("model", tests, sizeof tests / sizeof tests[0], argc, argv);
}
