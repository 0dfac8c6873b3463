#include "engine/hash.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

static struct fixture f;
static uint8_t value[65536];

static void open(uint32_t frames)
{
    fixture_open(&f, &(struct fixture_config){
                         .quota_bytes = UINT64_C(2) << 20,
                         .shard_count = 1,
                         .frames_per_shard = frames,
                     });
    shard_grant(f.shard, UINT64_C(1) << 40);
}

static uint64_t horizon(void)
{
    return atomic_load_explicit(&f.board->lsn_tombstone_horizon, memory_order_relaxed);
}

static int put(const char *key, uint32_t length)
{
    return fixture_put(&f, key, (uint32_t)strlen(key), value, length);
}

/* Write so much that every old segment is cleaned. */
static void log_moves_on(void)
{
    for (unsigned i = 0; i < 60; i++) {
        int r = put("filler", 20000);
        CU_ASSERT(r == 0 || r == -EAGAIN);
        fixture_settle(&f);
    }
}

static void a_live_record_keeps_its_lsn_and_bytes_wherever_it_goes(void)
{
    open(8);
    struct read_found found;
    fixture_value(1, 1, value, 500);
    CU_ASSERT_EQUAL(put("k", 500), 0);
    fixture_settle(&f);
    CU_ASSERT_EQUAL(fixture_read(&f, "k", 1, &found), 1);
    uint64_t lsn = found.lsn;
    const uint8_t *was = found.record;
    log_moves_on();
    CU_ASSERT_EQUAL(fixture_read(&f, "k", 1, &found), 1);
    CU_ASSERT_EQUAL(found.lsn, lsn);
    CU_ASSERT(found.record != was);
    CU_ASSERT_TRUE(found.value_length == 500 && fixture_value_is(1, 1, found.value, 500));
    struct record h;
    CU_ASSERT(record_check(found.record, 4096, &h) > 0);
    CU_ASSERT(fixture_counter(&f, COUNTER_CLEANED_RECORDS) > 0);
    fixture_close(&f);
}

static void a_tombstone_goes_and_the_horizon_tells(void)
{
    open(8);
    CU_ASSERT_EQUAL(put("k", 10), 0);
    CU_ASSERT_EQUAL(fixture_delete(&f, "k", 1), 0);
    uint64_t end = f.shard->log.lsn_end;
    fixture_settle(&f);
    CU_ASSERT_EQUAL(horizon(), 0);
    uint64_t keys = f.shard->index.key_count;
    log_moves_on();
    CU_ASSERT_EQUAL(horizon(), end);                 /* where it became visible */
    CU_ASSERT_EQUAL(f.shard->index.key_count, keys); /* "filler" came, "k" went */
    struct read_found found;
    CU_ASSERT_EQUAL(fixture_read(&f, "k", 1, &found), 0);
    CU_ASSERT_EQUAL(found.lsn, 0);
    fixture_close(&f);
}

/* The word of a miss: good at the horizon, not below it. */
static void a_miss_below_the_horizon_is_no_answer(void)
{
    open(8);
    struct read_point p;
    read_begin(&p, &f.space, 0);
    atomic_store_explicit(&f.board->lsn_tombstone_horizon, p.lsn, memory_order_release);
    CU_ASSERT_TRUE(read_validate(&p, &f.space, true));
    atomic_store_explicit(&f.board->lsn_tombstone_horizon, p.lsn + 8, memory_order_release);
    CU_ASSERT_FALSE(read_validate(&p, &f.space, true));
    CU_ASSERT_TRUE(read_validate(&p, &f.space, false));
    fixture_close(&f);
}

/* Heads above the commit LSN while what they hide is cleaned: the visible version stays readable.
 */
static void a_pending_head_hides_nothing(void)
{
    open(0);
    struct read_found found;
    fixture_value(1, 1, value, 300);
    CU_ASSERT_EQUAL(put("k", 300), 0);
    fixture_settle(&f);
    CU_ASSERT_EQUAL(fixture_read(&f, "k", 1, &found), 1);
    uint64_t lsn = found.lsn;
    const uint8_t *was = found.record;
    for (unsigned i = 0; i < 12; i++)
        CU_ASSERT_EQUAL(put("filler", 50000), 0);
    fixture_commit(&f);
    CU_ASSERT_EQUAL(put("k", 20), 0); /* pending from here on */
    for (unsigned i = 0; i < 40; i++) {
        f.shard->starved = true; /* clean whatever can be */
        (void)fixture_maintain(&f);
        CU_ASSERT_EQUAL(fixture_read(&f, "k", 1, &found), 1);
        CU_ASSERT(found.lsn == lsn && found.value_length == 300);
        CU_ASSERT_TRUE(fixture_value_is(1, 1, found.value, 300));
    }
    CU_ASSERT(found.record != was);
    CU_ASSERT_EQUAL(f.shard->live_bytes, fixture_live_bytes(&f, NULL));
    fixture_settle(&f);
    CU_ASSERT_EQUAL(fixture_read(&f, "k", 1, &found), 1);
    CU_ASSERT(found.lsn > lsn && found.value_length == 20);
    CU_ASSERT_EQUAL(f.shard->live_bytes, fixture_live_bytes(&f, NULL));
    fixture_close(&f);
}

/* As many pending versions of one key as there can be, above one that is cleaned. */
static void a_long_pending_chain_hides_nothing(void)
{
    open(0);
    struct read_found found;
    CU_ASSERT_EQUAL(put("k", 300), 0);
    for (unsigned i = 0; i < 12; i++)
        CU_ASSERT_EQUAL(put("filler", 50000), 0);
    fixture_settle(&f);
    for (unsigned i = 0; i < LIMIT_PENDING - LIMIT_EPOCHS; i++)
        CU_ASSERT_EQUAL(put("k", 20), 0);
    CU_ASSERT_EQUAL(put("k", 20), -EAGAIN);
    for (unsigned i = 0; i < 40; i++) {
        f.shard->starved = true;
        (void)fixture_maintain(&f);
    }
    CU_ASSERT_EQUAL(f.shard->live_bytes, fixture_live_bytes(&f, NULL));
    shard_commit(f.shard, f.shard->pending[(f.shard->pending_tail - 10) % LIMIT_PENDING].lsn_wait);
    CU_ASSERT_EQUAL(fixture_read(&f, "k", 1, &found), 1);
    fixture_settle(&f);
    CU_ASSERT_EQUAL(f.shard->live_bytes, fixture_live_bytes(&f, NULL));
    fixture_close(&f);
}

/* A read by the ring waits for what is pending beside its key, while the record that it met is
 * moved and the segment it lay in used again. */
static void a_read_that_waits_keeps_what_it_met(void)
{
    open(0);
    fixture_value(1, 1, value, 300);
    CU_ASSERT_EQUAL(put("k", 300), 0);
    memset(value, 0xcc, sizeof value);
    for (unsigned i = 0; i < 12; i++)
        CU_ASSERT_EQUAL(put("filler", 50000), 0);
    fixture_settle(&f);
    CU_ASSERT_EQUAL(put("x", 8), 0);
    struct shard_read r = {.origin = {.operation = RING_GET, .tag = 9},
                           .hash = hash_key("k", 1),
                           .key = "k",
                           .key_length = 1};
    CU_ASSERT_EQUAL(shard_read(f.shard, &r), 0);
    for (unsigned i = 0; i < 60; i++) {
        f.shard->starved = true;
        (void)fixture_maintain(&f);
        int error = put("filler", 50000);
        CU_ASSERT(error == 0 || error == -EAGAIN);
    }
    uint64_t freed = fixture_counter(&f, COUNTER_SEGMENTS_FREED);
    CU_ASSERT(freed != 0);
    fixture_commit(&f);
    struct shard_answer answer;
    do {
        CU_ASSERT_TRUE_FATAL(shard_answer_next(f.shard, &answer));
    } while (answer.origin.tag != 9);
    CU_ASSERT_PTR_NOT_NULL_FATAL(answer.record);
    CU_ASSERT_EQUAL(answer.record->lsn, answer.lsn);
    CU_ASSERT_TRUE(fixture_value_is(1, 1, record_value(answer.record), 300));
    fixture_settle(&f);
    CU_ASSERT_EQUAL(f.shard->reclaim.count, 0);
    fixture_close(&f);
}

static void uncommitted_segments_are_left_alone(void)
{
    open(0);
    for (unsigned i = 0; i < 12; i++)
        CU_ASSERT_EQUAL(put("filler", 50000), 0);
    uint64_t freed = fixture_counter(&f, COUNTER_SEGMENTS_FREED);
    for (unsigned i = 0; i < 40; i++) {
        f.shard->starved = true;
        (void)fixture_maintain(&f);
    }
    CU_ASSERT_EQUAL(fixture_counter(&f, COUNTER_SEGMENTS_FREED), freed);
    fixture_close(&f);
}

static void sessions_and_the_epoch_are_live_state(void)
{
    open(8);
    static const uint8_t id[] = "0123456789abcdef";
    struct shard_origin origin = {.operation = RING_SESSION_OPEN};
    CU_ASSERT_EQUAL(shard_session_open(f.shard, &origin, id, 7, 0), 0);
    fixture_settle(&f);
    uint64_t lsn = f.shard->sessions.entries[0].lsn_opened;
    uint64_t offset = f.shard->sessions.entries[0].offset;
    log_moves_on();
    uint64_t now = f.shard->sessions.entries[0].offset;
    CU_ASSERT(now != offset);
    const struct record *r = (const void *)(f.arena + now);
    struct record h;
    CU_ASSERT(record_check((const uint8_t *)r, 4096, &h) > 0);
    CU_ASSERT(h.kind == RECORD_SESSION && h.lsn == lsn);
    CU_ASSERT_EQUAL(memcmp(record_key(r), id, 16), 0);
    CU_ASSERT_EQUAL(f.shard->live_bytes, fixture_live_bytes(&f, NULL));
    fixture_close(&f);
}

static void a_small_budget_cleans_in_steps(void)
{
    open(0);
    for (unsigned i = 0; i < 600; i++) {
        char key[32];
        (void)fixture_put(&f, key, fixture_key(i, key), value, 300);
        if (i % 32 == 0)
            fixture_settle(&f);
    }
    fixture_settle(&f);
    uint32_t steps = 0;
    uint32_t position = 0;
    uint64_t freed = fixture_counter(&f, COUNTER_SEGMENTS_FREED);
    while (clean_step(f.shard, 1000, &f.now) &&
           fixture_counter(&f, COUNTER_SEGMENTS_FREED) == freed) {
        CU_ASSERT(!f.shard->cleaner.cleaning || f.shard->cleaner.position > position);
        CU_ASSERT(f.shard->cleaner.position - position < 2000);
        position = f.shard->cleaner.position;
        steps++;
    }
    CU_ASSERT(steps > 30);
    fixture_close(&f);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_live_record_keeps_its_lsn_and_bytes_wherever_it_goes),
    UNIT_TEST(a_tombstone_goes_and_the_horizon_tells),
    UNIT_TEST(a_miss_below_the_horizon_is_no_answer),
    UNIT_TEST(a_pending_head_hides_nothing),
    UNIT_TEST(a_long_pending_chain_hides_nothing),
    UNIT_TEST(a_read_that_waits_keeps_what_it_met),
    UNIT_TEST(uncommitted_segments_are_left_alone),
    UNIT_TEST(sessions_and_the_epoch_are_live_state),
    UNIT_TEST(a_small_budget_cleans_in_steps),
};
UNIT_MAIN("clean", tests)
