/* A follower that the leader's log no longer reaches takes a snapshot over, while it is read. */
#include "tests/unit/engine/install_world.h"
#include "tests/unit/unit.h"

static void a_follower_far_behind_equals_the_leader_again(void)
{
    uint64_t good = 0, hidden = 0, grown = 0, opened = 0;
    for (uint64_t run = 1; run <= 8; run++) {
        static struct install_world w;
        install_world_open(&w, run, &install_config);
        history_write(w.h, &w.leader, 300);
        install_catch_up(&w, 20);
        for (uint32_t round = 0; round < 3; round++) {
            w.leader.shard->lsn_kept = UINT64_MAX;
            w.h->keys_in_use = 3000 + 1200 * round;
            history_write(w.h, &w.leader, round == 0 ? 15000 : 5000);
            install_take_snapshot(&w, 40);
            install_catch_up(&w, 60);
            install_check_equal(&w);
            /* what was installed lives on: cleaned, grown, overwritten */
            history_write(w.h, &w.leader, 3000);
            install_catch_up(&w, 200);
            install_check_equal(&w);
        }
        CU_ASSERT_EQUAL(w.discarded, 0);
        good += w.reads_good;
        hidden += w.reads_hidden;
        opened += w.h->sessions_opened;
        grown += fixture_counter(&w.leader, COUNTER_INDEX_GROWTHS);
        install_world_close(&w);
    }
    CU_ASSERT(good > 1000);
    CU_ASSERT(hidden > 100); /* the older state, while the newer one catches up */
    CU_ASSERT(grown > 0);
    CU_ASSERT(opened > 100);
}

/* Land what the leader has, and commit nothing of it. */
static void land_uncommitted(struct install_world *w)
{
    history_write(w->h, &w->leader, 60);
    w->leader.shard->lsn_kept = w->follower.shard->log.lsn_end;
    for (uint32_t i = 0; i < 20; i++)
        install_ship(w);
    struct shard *s = w->follower.shard;
    CU_ASSERT(s->log.lsn_end > s->lsn_committed);
    /* and segments beyond a gap */
    uint64_t segment = UINT64_C(1) << w->follower.geometry.segment_shift;
    for (uint32_t i = 1; i <= LIMIT_LAND_SEGMENTS; i++)
        CU_ASSERT_EQUAL(land_bytes(s, s->log.lsn_end + i * segment, w->piece, 64), 0);
}

/* What is above the commit LSN when a snapshot is taken goes, and who waited for it hears of it. */
static void what_was_not_committed_is_given_up(void)
{
    static struct install_world w;
    install_world_open(&w, 100, &install_config);
    history_write(w.h, &w.leader, 3000);
    install_catch_up(&w, 20);
    land_uncommitted(&w);
    struct shard *s = w.follower.shard;
    uint64_t end = s->log.lsn_end;
    char key[32];
    uint32_t key_length = fixture_key(3, key);
    struct shard_read r = {.origin = {.operation = RING_GET, .tag = 77},
                           .hash = fixture_write_of(&w.leader, RING_GET, key, key_length).hash,
                           .key = key,
                           .key_length = (uint16_t)key_length};
    CU_ASSERT_EQUAL(shard_read(s, &r), 0);
    install_world_begin(&w);
    history_write(w.h, &w.leader, 3000);
    history_commit(w.h, &w.leader);
    struct snapshot_cursor c;
    CU_ASSERT_EQUAL_FATAL(snapshot_begin(&c, w.leader.shard, w.id), 0);
    CU_ASSERT(c.lsn_start > end);
    w.leader.shard->lsn_kept = c.lsn_start;
    for (int more = 1; more != 0;) {
        struct snapshot_piece p = {.bytes = w.piece, .capacity = PIECE_MAX};
        CU_ASSERT_FATAL((more = snapshot_next(&c, w.leader.shard, &p)) >= 0);
        int taken = install_piece(s, p.bytes, p.length);
        CU_ASSERT_EQUAL_FATAL(taken, more == 0);
    }
    struct shard_answer answer;
    CU_ASSERT_TRUE(shard_answer_next(s, &answer));
    CU_ASSERT(answer.origin.tag == 77 && answer.status == RING_RETRY);
    CU_ASSERT_FALSE(shard_answer_next(s, &answer));
    install_catch_up(&w, 20);
    install_check_equal(&w);
    install_world_close(&w);
}

/* S0 is a segment's start, so it may lie below what the follower shows. */
static void a_snapshot_may_begin_below_what_is_shown(void)
{
    static struct install_world w;
    for (uint64_t run = 1; run <= 10; run++) {
        install_world_open(&w, 150 + run, &install_config);
        history_write(w.h, &w.leader, 3000);
        history_commit(w.h, &w.leader);
        install_catch_up(&w, 0);
        struct shard *s = w.follower.shard;
        uint64_t shown = s->lsn_committed;
        history_write(w.h, &w.leader, 30);
        install_world_begin(&w);
        struct shard_read r = {
            .origin = {.operation = RING_GET, .tag = 78}, .key = "none", .key_length = 4};
        CU_ASSERT_EQUAL(shard_read(s, &r), 0);
        struct snapshot_cursor c;
        CU_ASSERT_EQUAL_FATAL(snapshot_begin(&c, w.leader.shard, w.id), 0);
        w.leader.shard->lsn_kept = c.lsn_start;
        for (int more = 1; more != 0;) {
            struct snapshot_piece p = {.bytes = w.piece, .capacity = PIECE_MAX};
            CU_ASSERT_FATAL((more = snapshot_next(&c, w.leader.shard, &p)) >= 0);
            CU_ASSERT_EQUAL_FATAL(install_piece(s, p.bytes, p.length), more == 0);
            history_write(w.h, &w.leader, 5);
            install_reads_go_on(&w);
        }
        CU_ASSERT(c.lsn_start <= shown);
        struct shard_answer answer;
        CU_ASSERT_TRUE(shard_answer_next(s, &answer));
        CU_ASSERT(answer.origin.tag == 78 && answer.status == RING_NOT_FOUND);
        install_catch_up(&w, 20);
        install_check_equal(&w);
        install_world_close(&w);
    }
}

/* While the log has not reached S1, and the other states in which something is refused. */
static void what_is_not_whole_is_not_used(void)
{
    static struct install_world w;
    install_world_open(&w, 200, &install_config);
    history_write(w.h, &w.leader, 500);
    install_catch_up(&w, 20);
    struct shard *s = w.follower.shard;
    uint64_t shown = w.lsn_shown;
    CU_ASSERT_EQUAL(install_piece(s, w.piece, 40), -EINVAL);
    history_write(w.h, &w.leader, 3000);
    install_take_snapshot(&w, 40);
    CU_ASSERT(install_lsn_visible(s) > s->log.lsn_end);
    CU_ASSERT_EQUAL(atomic_load_explicit(&w.follower.board->lsn_committed, memory_order_relaxed),
                    shown);
    CU_ASSERT_EQUAL(install_begin(s, 1), -EBUSY);
    struct shard_read r = {.origin = {.operation = RING_GET}, .key = "k", .key_length = 1};
    CU_ASSERT_EQUAL(shard_read(s, &r), -EAGAIN);
    CU_ASSERT_EQUAL(shard_epoch_begin(s, 1000, 0), -EAGAIN);
    struct snapshot_cursor c;
    CU_ASSERT_EQUAL(snapshot_begin(&c, s, 1), -EAGAIN);
    /* another leader, whose log does not reach back to ours: what is shown goes, then another snapshot */
    install_discard(s);
    CU_ASSERT(install_lsn_visible(s) != UINT64_MAX); /* the newer one is still to be had */
    history_write(w.h, &w.leader, 3000);
    install_take_snapshot(&w, 40);
    install_catch_up(&w, 40);
    install_check_equal(&w);
    CU_ASSERT_EQUAL(shard_read(s, &r), 0);
    /* and once more, of a shard that was given up altogether */
    install_world_begin(&w);
    install_discard(s);
    CU_ASSERT_EQUAL(install_lsn_visible(s), UINT64_MAX);
    CU_ASSERT_EQUAL(shard_read(s, &r), -EAGAIN);
    CU_ASSERT_EQUAL(install_begin(s, 1), -EBUSY);
    install_abort(s);
    install_discard(s);
    for (uint32_t i = 0; i < 50; i++) {
        install_follower_maintain(&w);
        install_reads_go_on(&w);
    }
    history_write(w.h, &w.leader, 3000);
    install_take_snapshot(&w, 40);
    install_catch_up(&w, 40);
    install_check_equal(&w);
    install_world_close(&w);
}

static void an_empty_follower_gets_everything(void)
{
    static struct install_world w;
    struct fixture_config empty = install_config;
    empty.follower = true;
    install_world_open(&w, 300, &empty);
    history_write(w.h, &w.leader, 12000);
    install_take_snapshot(&w, 40);
    install_catch_up(&w, 40);
    install_check_equal(&w);
    /* exactly-once: a retry is answered as the leader answered it, and applied no more */
    struct session *one = NULL;
    for (uint32_t i = 0; i < w.follower.shard->sessions.fresh; i++)
        if (w.follower.shard->sessions.entries[i].lsn_opened != 0 &&
            w.follower.shard->sessions.entries[i].committed > 3)
            one = &w.follower.shard->sessions.entries[i];
    CU_ASSERT_PTR_NOT_NULL_FATAL(one);
    struct shard_write retry = fixture_write_of(&w.follower, RING_DELETE, "key-1", 5);
    retry.session_slot = 0;
    retry.session = one->lsn_opened;
    retry.uid = 7;
    retry.sequence = one->committed - 1;
    uint64_t end = w.follower.shard->log.lsn_end;
    CU_ASSERT_EQUAL(shard_write(w.follower.shard, &retry), 0);
    struct shard_answer answer;
    CU_ASSERT_TRUE_FATAL(shard_answer_next(w.follower.shard, &answer));
    struct session_result original;
    CU_ASSERT_EQUAL(session_order(one, retry.sequence, &original), SESSION_DUPLICATE);
    CU_ASSERT(answer.lsn == original.lsn && answer.status == original.status);
    CU_ASSERT_EQUAL(w.follower.shard->log.lsn_end, end);
    install_world_close(&w);
}

static void an_aborted_install_changes_nothing(void)
{
    static struct install_world w;
    install_world_open(&w, 400, &install_config);
    history_write(w.h, &w.leader, 2000);
    install_catch_up(&w, 20);
    for (uint32_t round = 0; round < 6; round++) {
        install_world_begin(&w);
        struct snapshot_cursor c;
        CU_ASSERT_EQUAL_FATAL(snapshot_begin(&c, w.leader.shard, w.id), 0);
        struct snapshot_piece p = {.bytes = w.piece, .capacity = 4000};
        for (uint32_t i = 0; i < 10 * round; i++)
            if (snapshot_next(&c, w.leader.shard, &p) == 1)
                (void)install_hand_over(&w, &p);
        install_abort(w.follower.shard);
        CU_ASSERT_EQUAL(install_piece(w.follower.shard, p.bytes, p.length), -EINVAL);
        CU_ASSERT_EQUAL(install_lsn_visible(w.follower.shard), 0);
        CU_ASSERT_EQUAL(history_differences(w.h, &w.follower), 0);
        w.leader.shard->lsn_kept = w.follower.shard->log.lsn_end;
        history_write(w.h, &w.leader, 500);
        install_catch_up(&w, 20);
        install_check_equal(&w);
    }
    CU_ASSERT_EQUAL(w.discarded, 0);
    install_world_close(&w);
}

/* Two states do not fit: the older one goes, readers get no answer until the newer one is whole. */
static void without_memory_for_both_the_older_state_goes(void)
{
    uint64_t discarded = 0;
    for (uint64_t run = 1; run <= 4; run++) {
        static struct install_world w;
        install_world_open(&w, 500 + run, &install_config);
        w.h->keys_in_use = HISTORY_KEYS;
        history_write(w.h, &w.leader, 2000);
        install_catch_up(&w, 20);
        for (uint32_t round = 0; round < 2; round++) {
            w.leader.shard->lsn_kept = UINT64_MAX;
            history_write(w.h, &w.leader, 4000);
            for (uint32_t i = 0; i < HISTORY_KEYS; i += 2) {
                (void)!history_put(w.h, &w.leader, i, 600 + i % 64);
                if (i % 64 == 0)
                    history_commit(w.h, &w.leader);
            }
            install_take_snapshot(&w, 20);
            install_catch_up(&w, 20);
            install_check_equal(&w);
        }
        discarded += w.discarded;
        CU_ASSERT(w.waited > 0);
        install_world_close(&w);
    }
    CU_ASSERT(discarded > 0);
}

/* They fit, but then the log needs what the older one has. */
static void the_log_that_catches_up_gets_the_memory_of_the_older_state(void)
{
    static struct install_world w;
    struct fixture_config few = install_config;
    few.frames_per_shard = 36;
    install_world_open(&w, 600, &few);
    history_write(w.h, &w.leader, 9000);
    install_catch_up(&w, 20);
    w.leader.shard->lsn_kept = UINT64_MAX;
    history_write(w.h, &w.leader, 9000);
    install_take_snapshot(&w, 120);
    CU_ASSERT_EQUAL(w.discarded, 0);
    CU_ASSERT_EQUAL(w.follower.shard->install.beside, INSTALL_SHOWN);
    w.h->keys_in_use = HISTORY_KEYS;
    history_write(w.h, &w.leader, 13000);
    bool given_up = false;
    while (install_lsn_visible(w.follower.shard) != 0) {
        w.leader.shard->lsn_kept = w.follower.shard->log.lsn_end;
        install_ship(&w);
        install_follower_maintain(&w);
        install_reads_go_on(&w);
        given_up |= w.follower.shard->install.beside == INSTALL_NONE &&
                    install_lsn_visible(w.follower.shard) != 0;
    }
    install_catch_up(&w, 20);
    install_check_equal(&w);
    CU_ASSERT_TRUE(given_up);
    install_world_close(&w);
}

/* Frames that somebody else has, for the rest of the test. */
static void take_all_but(struct fixture *f, uint32_t left)
{
    uint32_t frame;
    while (frames_available(&f->shard->frames) > left)
        CU_ASSERT_EQUAL_FATAL(frames_take(&f->shard->frames, FRAME_BASE, 0, &frame), 0);
}

/* A frame that is retired, and that a peer may still write into for the rest of the test. */
static void quarantine_one(struct fixture *f)
{
    uint32_t frame;
    CU_ASSERT_EQUAL_FATAL(frames_take(&f->shard->frames, FRAME_BASE, 0, &frame), 0);
    f->shard->grants.out[0] = (struct grant){.number = ++f->shard->grants.number, .frame = frame};
    reclaim_retire(&f->shard->reclaim, frame, &f->now);
}

/* Nothing is free and nothing has died: what the cleaner moves must not look like memory on its way, nor
 * what is in quarantine. */
static void catch_up_without_memory(bool quarantined)
{
    uint32_t given_up = 0;
    for (uint32_t run = 1; run <= 12; run++) {
        static struct install_world w;
        install_world_open(&w, 700 + run, &install_config);
        history_write(w.h, &w.leader, 3000);
        install_catch_up(&w, 20);
        w.leader.shard->lsn_kept = UINT64_MAX;
        history_write(w.h, &w.leader, 1500);
        install_take_snapshot(&w, 20);
        struct shard *s = w.follower.shard;
        CU_ASSERT_EQUAL(s->install.beside, INSTALL_SHOWN);
        history_write(w.h, &w.leader, 3000);
        history_commit(w.h, &w.leader);
        if (quarantined)
            quarantine_one(&w.follower);
        take_all_but(&w.follower, FRAMES_KEPT + 2);
        for (uint32_t turn = 0; install_lsn_visible(s) != 0; turn++) {
            CU_ASSERT_FATAL(turn < 20000);
            w.leader.shard->lsn_kept = s->log.lsn_end;
            install_ship(&w);
            install_follower_maintain(&w);
            install_reads_go_on(&w);
            given_up += s->install.beside == INSTALL_NONE && install_lsn_visible(s) != 0;
        }
        install_catch_up(&w, 20);
        install_check_equal(&w);
        install_world_close(&w);
    }
    CU_ASSERT(given_up != 0);
}

static void the_cleaner_does_not_go_round_and_round_beside_an_older_state(void)
{
    catch_up_without_memory(false);
}

static void a_frame_in_quarantine_holds_up_no_install(void)
{
    catch_up_without_memory(true);
}

/* ---- growth ---- */

static uint64_t root(const struct fixture *f)
{
    return atomic_load_explicit(&f->board->index_root, memory_order_relaxed);
}

/* Two tables take both page arrays of the board, so neither grows. */
static void no_index_grows_while_there_are_two(void)
{
    static struct install_world w;
    install_world_open(&w, 1000, &install_config);
    w.h->keys_in_use = 2000;
    history_write(w.h, &w.leader, 6000);
    install_catch_up(&w, 20);
    struct shard *s = w.follower.shard;
    /* the older one, which the log still reaches while the snapshot is built */
    install_world_begin(&w);
    w.h->keys_in_use = HISTORY_KEYS;
    w.leader.shard->lsn_kept = s->log.lsn_end;
    history_write(w.h, &w.leader, 7000);
    struct snapshot_cursor c;
    CU_ASSERT_EQUAL_FATAL(snapshot_begin(&c, w.leader.shard, w.id), 0);
    struct snapshot_piece p = {.bytes = w.piece, .capacity = PIECE_MAX};
    for (uint32_t i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL_FATAL(snapshot_next(&c, w.leader.shard, &p), 1);
        (void)install_hand_over(&w, &p);
    }
    history_commit(w.h, &w.leader);
    install_catch_up(&w, 0);
    CU_ASSERT(index_pages_wanted(&s->index) != 0 && !s->index.growing);
    CU_ASSERT_EQUAL(history_differences(w.h, &w.follower), 0);
    install_abort(s);
    install_catch_up(&w, 20);
    for (uint32_t i = 0; i < 200; i++)
        install_follower_maintain(&w);
    CU_ASSERT_EQUAL(index_pages_wanted(&s->index), 0); /* it has grown */
    install_check_equal(&w);
    install_world_close(&w);
}

/* Both its tables go. */
static void what_grows_can_be_given_up(void)
{
    static struct install_world w;
    install_world_open(&w, 1050, &install_config);
    w.h->keys_in_use = HISTORY_KEYS;
    struct shard *s = w.follower.shard;
    for (uint32_t i = 0; !s->index.growing; i++) {
        CU_ASSERT_FATAL(i < 1000);
        history_write(w.h, &w.leader, 50);
        history_commit(w.h, &w.leader);
        install_catch_up(&w, 0);
        s->bytes_appended = 0; /* a small step: it does not end with it */
    }
    CU_ASSERT_EQUAL(install_begin(s, 1), -EAGAIN);
    install_discard(s);
    for (uint32_t i = 0; i < 20; i++)
        install_reads_go_on(&w);
    w.leader.shard->lsn_kept = UINT64_MAX;
    history_write(w.h, &w.leader, 3000);
    install_take_snapshot(&w, 40);
    install_catch_up(&w, 40);
    install_check_equal(&w);
    install_world_close(&w);
}

/* shown: the older state stays to the end; else it is given up, and what nobody sees may grow. */
static void grow_while_catching_up(bool shown)
{
    static struct install_world w;
    install_world_open(&w, 1100 + shown, &install_config);
    w.h->keys_in_use = 2000;
    history_write(w.h, &w.leader, 6000);
    install_catch_up(&w, 20);
    struct shard *s = w.follower.shard;
    uint64_t root_before = root(&w.follower) | (shown ? 0 : LAYOUT_ROOT_GIVEN_UP);
    w.leader.shard->lsn_kept = UINT64_MAX;
    history_write(w.h, &w.leader, 6000);
    install_world_begin(&w);
    struct snapshot_cursor c;
    fixture_commit(&w.leader);
    CU_ASSERT_EQUAL_FATAL(snapshot_begin(&c, w.leader.shard, w.id), 0);
    w.leader.shard->lsn_kept = c.lsn_start;
    uint8_t last[4096];
    struct snapshot_piece p = {.bytes = last, .capacity = sizeof last};
    while (c.session_next == 0) {
        CU_ASSERT_EQUAL_FATAL(snapshot_next(&c, w.leader.shard, &p), 1);
        (void)install_hand_over(&w, &p);
        if (c.walk.done)
            break;
    }
    /* S1 is far away: many new keys before the end is told */
    w.h->keys_in_use = HISTORY_KEYS;
    history_write(w.h, &w.leader, 7000);
    history_commit(w.h, &w.leader);
    for (int more = 1; more != 0;) {
        CU_ASSERT_FATAL((more = snapshot_next(&c, w.leader.shard, &p)) >= 0);
        CU_ASSERT_EQUAL(install_hand_over(&w, &p), more == 0);
    }
    if (!shown)
        install_discard(s);
    uint64_t wanted = 0, grown = 0;
    uint32_t bits = s->index.table.bits;
    while (install_lsn_visible(s) != 0) {
        CU_ASSERT_EQUAL(root(&w.follower), root_before);
        wanted += index_pages_wanted(&s->index) != 0;
        grown += s->index.growing || s->index.table.bits != bits;
        CU_ASSERT(s->install.beside == INSTALL_NONE || grown == 0);
        install_ship(&w);
        install_reads_go_on(&w);
        install_follower_maintain(&w);
        install_reads_go_on(&w);
    }
    CU_ASSERT(shown ? wanted > 0 : grown > 0);
    install_catch_up(&w, 20);
    install_check_equal(&w);
    install_world_close(&w);
}

static void what_nobody_sees_grows_unseen(void)
{
    grow_while_catching_up(true);
    grow_while_catching_up(false);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_follower_far_behind_equals_the_leader_again),
    UNIT_TEST(what_was_not_committed_is_given_up),
    UNIT_TEST(a_snapshot_may_begin_below_what_is_shown),
    UNIT_TEST(what_is_not_whole_is_not_used),
    UNIT_TEST(an_empty_follower_gets_everything),
    UNIT_TEST(an_aborted_install_changes_nothing),
    UNIT_TEST(without_memory_for_both_the_older_state_goes),
    UNIT_TEST(the_log_that_catches_up_gets_the_memory_of_the_older_state),
    UNIT_TEST(the_cleaner_does_not_go_round_and_round_beside_an_older_state),
    UNIT_TEST(a_frame_in_quarantine_holds_up_no_install),
    UNIT_TEST(no_index_grows_while_there_are_two),
    UNIT_TEST(what_grows_can_be_given_up),
    UNIT_TEST(what_nobody_sees_grows_unseen),
};
UNIT_MAIN("install", tests)
