/* What else a cut ends: reads by the ring that wait for a commit, which let go of what they met, or with
 * next to no memory neither would ever go on; and ranges that were received beyond a gap. */
#include "engine/hash.h"
#include "engine/pending.h"
#include "engine/snapshot.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define LIVE_KEYS 950u /* with 900 bytes each, about half of the memory */
#define VALUE_BYTES 900u
#define READ_KEY 1u
#define TURNS 8u

static const struct fixture_config small = {.quota_bytes = UINT64_C(2) << 20, .shard_count = 1};

static struct fixture f;
static struct shard_answer answer;

static int put(uint64_t key)
{
    static const uint8_t value[VALUE_BYTES];
    return fixture_put(&f, &key, sizeof key, value, sizeof value);
}

/* A read that waits for the log's end. */
static void ask(uint64_t key)
{
    struct shard_read r = {
        .origin = {.operation = RING_GET, .tag = key},
        .hash = hash_key(&key, sizeof key),
        .key = &key,
        .key_length = sizeof key,
    };
    CU_ASSERT_EQUAL_FATAL(shard_read(f.shard, &r), 0);
}

/* So many keys are live. */
static void open_with(uint32_t count)
{
    fixture_open(&f, &small);
    shard_grant(f.shard, UINT64_C(1) << 40);
    for (uint64_t key = 100; key < 100 + count; key++) {
        CU_ASSERT_EQUAL_FATAL(put(key), 0);
        fixture_commit(&f);
        (void)fixture_maintain(&f);
    }
}

/* Half of the memory is live, a read waits, and writes that nobody acknowledges have taken the rest.
 * Returns what the read waits for. */
static uint64_t fill_behind_a_read(void)
{
    open_with(LIVE_KEYS);
    CU_ASSERT_EQUAL(put(READ_KEY), 0);
    ask(READ_KEY);
    uint64_t lsn = f.shard->log.lsn_whole;
    for (uint64_t key = 100; key < 100 + LIVE_KEYS; key++) {
        (void)!put(key); /* the last ones find no room */
        (void)fixture_maintain(&f);
    }
    CU_ASSERT_EQUAL(frames_available(&f.shard->frames), 0);
    CU_ASSERT_NOT_EQUAL(f.shard->reclaim.count, 0);
    CU_ASSERT_EQUAL(f.shard->reads_waiting, 1);
    return lsn;
}

static void a_cut_is_not_held_up_by_a_read_that_waits(void)
{
    uint64_t lsn = fill_behind_a_read();
    int error = -EAGAIN;
    for (uint32_t turn = 0; turn < TURNS && error == -EAGAIN; turn++) {
        error = land_cut(f.shard, lsn, &f.now);
        (void)fixture_maintain(&f);
    }
    CU_ASSERT_EQUAL(error, 0);
    CU_ASSERT_EQUAL(f.shard->reads_waiting, 0);
    CU_ASSERT_FALSE(shard_answer_next(f.shard, &answer)); /* it is not committed yet */
    shard_commit(f.shard, lsn);
    while (shard_answer_next(f.shard, &answer) && answer.origin.operation != RING_GET)
        ;
    CU_ASSERT_EQUAL(answer.origin.tag, READ_KEY);
    CU_ASSERT_EQUAL(answer.status, RING_RETRY);
    fixture_close(&f);
}

/* Who is told to come again asks the table of epochs where to cut. */
static void a_cut_that_waits_for_room_leaves_the_epochs(void)
{
    open_with(LIVE_KEYS);
    uint64_t lsn = f.shard->log.lsn_whole;
    CU_ASSERT_EQUAL_FATAL(shard_epoch_begin(f.shard, 2, f.clock_ns), 0);
    uint32_t epochs = f.shard->log.epoch_count, frames[64], count = 0;
    while (count < 64 && frames_take(&f.shard->frames, FRAME_BASE, 0, &frames[count]) == 0)
        count++;
    CU_ASSERT(count != 0 && count < 64);
    CU_ASSERT_EQUAL(land_cut(f.shard, lsn, &f.now), -EAGAIN);
    CU_ASSERT_EQUAL(f.shard->log.epoch_count, epochs);
    while (count != 0)
        frames_give(&f.shard->frames, frames[--count]);
    CU_ASSERT_EQUAL(land_cut(f.shard, lsn, &f.now), 0);
    CU_ASSERT_EQUAL(f.shard->log.epoch_count, epochs - 1);
    fixture_close(&f);
}

/* Nor is a snapshot that is to replace what lies above the commit LSN. */
static void a_snapshot_is_not_held_up_by_a_read_that_waits(void)
{
    (void)fill_behind_a_read();
    int error = -EAGAIN;
    for (uint32_t turn = 0; turn < TURNS && error == -EAGAIN; turn++) {
        error = install_begin(f.shard, 1);
        (void)fixture_maintain(&f);
    }
    CU_ASSERT_EQUAL(error, 0);
    CU_ASSERT_EQUAL(f.shard->reads_waiting, 0);
    CU_ASSERT_NOT_EQUAL(frames_available(&f.shard->frames), 0);
    fixture_close(&f);
}

/* Much is dead here and not cleaned yet, and the snapshot would fit: a read is asked while it comes. */
static void nor_is_one_that_is_being_taken(void)
{
    static uint8_t bytes[1 << 14];
    struct snapshot_piece p = {.bytes = bytes, .capacity = sizeof bytes};
    struct snapshot_cursor c;
    open_with(LIVE_KEYS / 2);
    struct fixture leader = f;
    CU_ASSERT_EQUAL(snapshot_begin(&c, leader.shard, 1), 0);
    CU_ASSERT(snapshot_next(&c, leader.shard, &p) >= 0);
    fixture_open(&f, &small);
    shard_grant(f.shard, UINT64_C(1) << 40);
    for (uint64_t key = 0; frames_available(&f.shard->frames) > FRAMES_KEPT; key++) {
        CU_ASSERT_EQUAL_FATAL(put(key % 50), 0);
        fixture_commit(&f);
        fixture_answers(&f);
    }
    CU_ASSERT_EQUAL(install_begin(f.shard, 1), 0);
    CU_ASSERT_EQUAL(put(READ_KEY), 0);
    ask(READ_KEY);
    int taken = -EAGAIN;
    for (uint32_t turn = 0; turn < 8 * TURNS && taken == -EAGAIN; turn++) {
        taken = install_piece(f.shard, p.bytes, p.length);
        (void)fixture_maintain(&f);
    }
    CU_ASSERT_EQUAL(taken, 0);
    CU_ASSERT_EQUAL(f.shard->reads_waiting, 0);
    fixture_close(&f);
    fixture_close(&leader);
}

/* Released by one cut, undone by the next one, then answered: it counts once. */
static void a_read_is_counted_once_whatever_ends_its_wait(void)
{
    fixture_open(&f, &small);
    shard_grant(f.shard, UINT64_C(1) << 40);
    CU_ASSERT_EQUAL(put(READ_KEY), 0);
    fixture_commit(&f);
    (void)fixture_maintain(&f);
    uint64_t committed = f.shard->lsn_committed;
    CU_ASSERT_EQUAL(put(2), 0);
    uint64_t middle = f.shard->log.lsn_whole;
    ask(READ_KEY);
    ask(3); /* meets nothing, and holds nothing */
    CU_ASSERT_EQUAL(put(2), 0);
    ask(2);
    CU_ASSERT_EQUAL(f.shard->reads_waiting, 2);
    CU_ASSERT_EQUAL(land_cut(f.shard, middle, &f.now),
                    0); /* the last is undone, the first released */
    CU_ASSERT_EQUAL(f.shard->reads_waiting, 0);
    ask(READ_KEY);
    CU_ASSERT_EQUAL(f.shard->reads_waiting, 1);
    CU_ASSERT_EQUAL(land_cut(f.shard, committed, &f.now), 0); /* all are undone */
    CU_ASSERT_EQUAL(f.shard->reads_waiting, 0);
    CU_ASSERT_EQUAL(put(4), 0);
    ask(4);
    CU_ASSERT_EQUAL(f.shard->reads_waiting, 1);
    install_discard(f.shard);
    CU_ASSERT_EQUAL(f.shard->reads_waiting, 0);
    uint32_t retries = 0;
    while (shard_answer_next(f.shard, &answer))
        retries += answer.status == RING_RETRY;
    CU_ASSERT_EQUAL(retries, 8);
    CU_ASSERT_EQUAL(f.shard->reads_waiting, 0);
    fixture_close(&f);
}

/* What is answered in the ordinary way is counted as ever. */
static void a_read_that_is_answered_holds_memory_no_more(void)
{
    fixture_open(&f, &small);
    shard_grant(f.shard, UINT64_C(1) << 40);
    CU_ASSERT_EQUAL(put(READ_KEY), 0);
    ask(READ_KEY);
    CU_ASSERT_EQUAL(f.shard->reads_waiting, 1);
    fixture_commit(&f);
    while (shard_answer_next(f.shard, &answer) && answer.origin.operation != RING_GET)
        ;
    CU_ASSERT_EQUAL(answer.status, RING_OK);
    CU_ASSERT_PTR_NOT_NULL(answer.record);
    CU_ASSERT_EQUAL(f.shard->reads_waiting, 0);
    fixture_close(&f);
}

/* What came for the log that was cut is no part of the one that goes on there. */
static void a_cut_forgets_what_was_received_beyond_a_gap(void)
{
    struct fixture leader;
    struct land_range missing;
    fixture_open(&leader, &small);
    fixture_open(&f, &(struct fixture_config){
                         .quota_bytes = UINT64_C(2) << 20, .shard_count = 1, .follower = true});
    uint64_t key = 1, available, start = f.shard->log.lsn_end;
    CU_ASSERT_EQUAL(fixture_put(&leader, &key, sizeof key, &key, sizeof key), 0);
    CU_ASSERT_EQUAL(fixture_put(&leader, &key, sizeof key, &key, sizeof key), 0);
    uint64_t end = leader.shard->log.lsn_end;
    const uint8_t *bytes = log_bytes_at(&leader.shard->log, start, &available);
    CU_ASSERT_EQUAL(land_bytes(f.shard, start + 96, bytes + 96, end - start - 96), 0);
    CU_ASSERT_TRUE(land_missing(f.shard, end, &missing));
    CU_ASSERT(missing.lsn_start == start && missing.lsn_end == start + 96);
    CU_ASSERT_EQUAL(land_cut(f.shard, start, &f.now), 0);
    CU_ASSERT_TRUE(land_missing(f.shard, end, &missing));
    CU_ASSERT(missing.lsn_start == start && missing.lsn_end == end);
    fixture_close(&f);
    fixture_close(&leader);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_cut_is_not_held_up_by_a_read_that_waits),
    UNIT_TEST(a_cut_that_waits_for_room_leaves_the_epochs),
    UNIT_TEST(a_snapshot_is_not_held_up_by_a_read_that_waits),
    UNIT_TEST(nor_is_one_that_is_being_taken),
    UNIT_TEST(a_read_is_counted_once_whatever_ends_its_wait),
    UNIT_TEST(a_read_that_is_answered_holds_memory_no_more),
    UNIT_TEST(a_cut_forgets_what_was_received_beyond_a_gap),
};
UNIT_MAIN("cut", tests)
