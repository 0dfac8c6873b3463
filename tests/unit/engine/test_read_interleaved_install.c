/* Readers in place and a follower that takes over snapshots, interleaved at every step: see
 * interleave.h.  What the leader tells is recorded once; the follower takes it over again and again,
 * with a read that stops at each step in turn. */
#include "engine/snapshot.h"
#include "tests/unit/engine/interleave.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#define HOT_BYTES 100u
#define SNAPSHOTS 2u
#define PIECES_MAX 64u
#define PIECE_BYTES 4096u
#define TAIL_MAX (UINT64_C(1) << 20)

/* A snapshot and the log behind it. */
struct recorded {
    uint8_t *pieces[PIECES_MAX];
    uint64_t lengths[PIECES_MAX];
    uint32_t count;
    uint8_t *tail;
    uint64_t lsn_start, lsn_end;
};

static struct recorded recorded[SNAPSHOTS];
static struct interleave_history told[INTERLEAVE_HOT_KEYS]; /* what will have happened then */

/* ---- the leader, beforehand ---- */

static void some_hot_keys(uint32_t from)
{
    for (uint32_t i = from; i < from + 3; i++)
        interleave_put(i % INTERLEAVE_HOT_KEYS, HOT_BYTES);
    fixture_commit(interleave.f);
}

static void log_moves_on(uint32_t times)
{
    for (uint32_t i = 0; i < times; i++) {
        interleave_put(INTERLEAVE_HOT_KEYS, 20000);
        fixture_commit(interleave.f);
        interleave_maintain(4);
    }
}

static void record_tail(struct recorded *r, const struct fixture *leader)
{
    r->lsn_end = leader->shard->log.lsn_end;
    ASSERT(r->lsn_end - r->lsn_start <= TAIL_MAX);
    for (uint64_t lsn = r->lsn_start; lsn != r->lsn_end;) {
        uint64_t available;
        const uint8_t *bytes = log_bytes_at(&leader->shard->log, lsn, &available);
        ASSERT(bytes != NULL);
        memcpy(r->tail + (lsn - r->lsn_start), bytes, available);
        lsn += available;
    }
}

/* Hot keys change before, while and after it tells. */
static void record_snapshot(struct recorded *r, struct fixture *leader, uint64_t id)
{
    r->tail = malloc(TAIL_MAX);
    ASSERT(r->tail != NULL);
    log_moves_on(30);
    some_hot_keys((uint32_t)id * 5);
    interleave_bury((uint32_t)id);
    struct snapshot_cursor c;
    ASSERT(snapshot_begin(&c, leader->shard, id) == 0);
    leader->shard->lsn_kept = r->lsn_start = c.lsn_start;
    for (int more = 1; more != 0; r->count++) {
        ASSERT(r->count < PIECES_MAX);
        struct snapshot_piece p = {.bytes = malloc(PIECE_BYTES), .capacity = SNAPSHOT_PIECE_MIN};
        ASSERT(p.bytes != NULL && (more = snapshot_next(&c, leader->shard, &p)) >= 0);
        r->pieces[r->count] = p.bytes;
        r->lengths[r->count] = p.length;
        if (r->count % 4 == 0)
            some_hot_keys((uint32_t)id * 5 + r->count);
    }
    log_moves_on(6);
    some_hot_keys((uint32_t)id * 7);
    record_tail(r, leader);
    leader->shard->lsn_kept = UINT64_MAX;
}

/* All of the leader's log so far, committed. */
static void feed(const struct fixture *leader, struct fixture *follower)
{
    while (follower->shard->log.lsn_end != leader->shard->log.lsn_end) {
        uint64_t lsn = follower->shard->log.lsn_end;
        uint64_t available;
        const uint8_t *bytes = log_bytes_at(&leader->shard->log, lsn, &available);
        ASSERT(bytes != NULL && land_bytes(follower->shard, lsn, bytes, available) >= 0);
        ASSERT(land_check(follower->shard) >= 0);
        fixture_settle(follower);
    }
}

static void open_behind(struct interleave_scene *s)
{
    static struct interleave_scene leads;
    interleave_open(&leads, UINT64_C(2) << 20, 0);
    for (uint32_t i = 0; i < INTERLEAVE_HOT_KEYS; i += 2)
        interleave_put(i, HOT_BYTES);
    interleave_fill(INTERLEAVE_HOT_KEYS + 1, 80);
    fixture_settle(interleave.f);
    memcpy(told, interleave.histories, sizeof told);
    interleave_open(s, UINT64_C(2) << 20, 0);
    feed(&leads.f, &s->f);
    memcpy(interleave.histories, told, sizeof told);
    interleave_keep(s);
    interleave.f = &leads.f;
    memset(recorded, 0, sizeof recorded);
    for (uint32_t i = 0; i < SNAPSHOTS; i++)
        record_snapshot(&recorded[i], &leads.f, i + 1);
    memcpy(told, interleave.histories, sizeof told);
    interleave_close(&leads);
}

static void close_behind(struct interleave_scene *s)
{
    for (uint32_t i = 0; i < SNAPSHOTS; i++) {
        for (uint32_t j = 0; j < recorded[i].count; j++)
            free(recorded[i].pieces[j]);
        free(recorded[i].tail);
    }
    interleave_close(s);
}

/* ---- the follower ---- */

static void begin(uint64_t id)
{
    int begun;
    memcpy(interleave.histories, told, sizeof told);
    while ((begun = install_begin(interleave.f->shard, id)) == -EAGAIN)
        interleave_maintain(1);
    ASSERT(begun == 0);
}

static void take_pieces(const struct recorded *r)
{
    for (uint32_t i = 0; i < r->count; i++) {
        int taken;
        while ((taken = install_piece(interleave.f->shard, r->pieces[i], r->lengths[i])) == -EAGAIN)
            interleave_maintain(1);
        ASSERT(taken == (i + 1 == r->count));
    }
}

static void land_tail_up_to(const struct recorded *r, uint64_t end)
{
    struct shard *s = interleave.f->shard;
    for (unsigned turn = 0; s->log.lsn_end < end; turn++) {
        uint64_t lsn = max_u64(s->landing.lsn_received, s->log.lsn_end);
        ASSERT(turn < 10000);
        if (lsn < end)
            (void)!land_bytes(s, lsn, r->tail + (lsn - r->lsn_start), min_u64(end - lsn, 9000));
        if (land_check(s) == -EBADMSG)
            interleave_fail("the log behind the snapshot is refused", INTERLEAVE_HOT_KEYS);
        if (s->log.lsn_end != end)
            interleave_maintain(1);
    }
}

static void commit_all(void)
{
    fixture_commit(interleave.f);
    ASSERT(install_lsn_visible(interleave.f->shard) == 0);
}

static void install(const struct recorded *r, uint64_t id)
{
    begin(id);
    take_pieces(r);
    land_tail_up_to(r, r->lsn_end);
    commit_all();
    interleave_maintain(6);
}

static void script_install(void)
{
    install(&recorded[0], 1);
}

/* Both page arrays serve twice. */
static void script_install_twice(void)
{
    install(&recorded[0], 1);
    install(&recorded[1], 2);
}

static void script_discard(void)
{
    begin(1);
    install_discard(interleave.f->shard);
    interleave_maintain(4);
    take_pieces(&recorded[0]);
    land_tail_up_to(&recorded[0], recorded[0].lsn_end);
    commit_all();
    interleave_maintain(6);
}

static void script_abort(void)
{
    begin(1);
    install_abort(interleave.f->shard);
    interleave_maintain(4);
    begin(2);
    take_pieces(&recorded[1]);
}

/* Only the steps from the moment at which the newer state is shown are steps. */
static void script_show(void)
{
    bool active = interleave.active;
    interleave.active = false;
    begin(1);
    take_pieces(&recorded[0]);
    land_tail_up_to(&recorded[0], recorded[0].lsn_end);
    interleave.active = active;
    commit_all();
    interleave_maintain(3);
}

/* The same for a state that is given up while a newer one is built. */
static void script_give_up(void)
{
    bool active = interleave.active;
    interleave.active = false;
    begin(2);
    interleave.active = active;
    install_discard(interleave.f->shard);
    interleave_maintain(3);
    interleave.active = false;
    take_pieces(&recorded[1]);
    interleave.active = active;
}

/* ---- tests ---- */

static void a_read_may_stop_at_any_step_while_a_snapshot_is_taken_over(void)
{
    static void (*const scripts[])(void) = {script_install, script_install_twice, script_discard,
                                            script_abort};
    static struct interleave_scene s;
    interleave_begin(1);
    open_behind(&s);
    CU_ASSERT(recorded[0].count > 4 && recorded[1].count > 4);
    for (unsigned i = 0; i < sizeof scripts / sizeof scripts[0]; i++)
        interleave_stop_everywhere(&s, scripts[i]);
    interleave_print("stops, install");
    CU_ASSERT_EQUAL(interleave.failures, 0);
    CU_ASSERT(interleave.met.found != 0 && interleave.met.missed != 0);
    CU_ASSERT(interleave.met.stamped != 0 && interleave.met.horizon != 0);
    close_behind(&s);
}

static void a_read_may_run_between_any_two_stores_of_the_change(void)
{
    static void (*const scripts[])(void) = {script_show, script_give_up};
    static struct interleave_scene s;
    interleave_begin(1);
    open_behind(&s);
    uint64_t stores = 0;
    for (unsigned i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        for (interleave.focus = 0; interleave.focus < INTERLEAVE_HOT_KEYS; interleave.focus++) {
            for (uint32_t stop = 1; stop <= 17; stop += 4)
                for (uint64_t store = 1; interleave.failures == 0; store++, stores++)
                    if (!interleave_stop_stores(&s, stop, store, scripts[i]))
                        break;
        }
    }
    interleave_print("stores, install");
    printf("    %llu stores\n", (unsigned long long)stores);
    CU_ASSERT_EQUAL(interleave.failures, 0);
    CU_ASSERT(stores > 1000 && interleave.met.found != 0 && interleave.met.horizon != 0);
    close_behind(&s);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_read_may_stop_at_any_step_while_a_snapshot_is_taken_over),
    UNIT_TEST(a_read_may_run_between_any_two_stores_of_the_change),
};
UNIT_MAIN("read_interleaved_install", tests)
