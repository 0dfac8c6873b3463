/* A lossy epoch in a shard: its first record stands behind a gap that no LSN was ever given in; what is
 * read, cut, cleaned, landed and shipped as a snapshot on both sides of it. */
#include "engine/land.h"
#include "tests/unit/engine/install_world.h"
#include "tests/unit/unit.h"

#define SEGMENT UINT64_C(65536)
#define KEYS 300u
#define VALUE_BYTES 200u

static const struct fixture_config small = {
    .quota_bytes = UINT64_C(2) << 20,
    .shard_count = 1,
    .frames_per_shard = 27,
};

static struct fixture f;
static uint64_t versions[KEYS]; /* 0: none */

static int put(uint32_t number, uint64_t version)
{
    char key[32];
    uint8_t value[VALUE_BYTES];
    uint32_t length = fixture_key(number, key);
    fixture_value(number, version, value, sizeof value);
    return fixture_put(&f, key, length, value, sizeof value);
}

static void put_all(uint32_t from, uint32_t to, uint64_t version)
{
    for (uint32_t i = from; i < to; i++) {
        CU_ASSERT_EQUAL_FATAL(put(i, version), 0);
        versions[i] = version;
    }
}

/* Keys that do not read as versions says. */
static uint32_t wrong_keys(void)
{
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        char key[32];
        uint8_t value[VALUE_BYTES];
        struct read_found found;
        int result = fixture_read(&f, key, fixture_key(i, key), &found);
        if (result == 1)
            read_copy(&found, value, sizeof value);
        wrong += result != (versions[i] != 0) ||
                 (result == 1 && !fixture_value_is(i, versions[i], value, sizeof value));
    }
    return wrong;
}

/* A shard with half of its keys written and committed. */
static struct shard *open(void)
{
    fixture_open(&f, &small);
    memset(versions, 0, sizeof versions);
    put_all(0, KEYS / 2, 1);
    fixture_settle(&f);
    return f.shard;
}

static uint64_t floor_far(const struct shard *s)
{
    return s->log.lsn_end + 40 * SEGMENT + 8;
}

static void the_epoch_tells_of_the_gap(void)
{
    struct shard *s = open();
    uint64_t end = s->log.lsn_whole, floor = floor_far(s);
    CU_ASSERT_EQUAL(shard_epoch_lossy(s, 5, floor, 0), 0);
    CU_ASSERT_EQUAL_FATAL(s->log.epoch_count, 2);
    const struct log_epoch *e = &s->log.epochs[1];
    CU_ASSERT_EQUAL(e->epoch, 5);
    CU_ASSERT_EQUAL(e->lossy, 1);
    CU_ASSERT_EQUAL(e->lsn_end_before, end);
    CU_ASSERT(e->lsn_start >= floor);
    CU_ASSERT_EQUAL(e->lsn_start % SEGMENT, 0);
    CU_ASSERT_EQUAL(log_epoch_at(&s->log, e->lsn_start - 1), 1);
    CU_ASSERT_EQUAL(log_epoch_at(&s->log, e->lsn_start), 5);
    uint64_t available;
    CU_ASSERT_PTR_NULL(log_bytes_at(&s->log, floor - SEGMENT, &available));
    CU_ASSERT_PTR_NOT_NULL(log_bytes_at(&s->log, e->lsn_start, &available));
    fixture_close(&f);
}

static void a_log_above_the_floor_does_not_jump(void)
{
    struct shard *s = open();
    for (uint64_t below = 0; below < 2; below++) {
        uint64_t end = s->log.lsn_end;
        CU_ASSERT_EQUAL(shard_epoch_lossy(s, 5 + below, end - 8 * below, 0), 0);
        const struct log_epoch *e = &s->log.epochs[s->log.epoch_count - 1];
        CU_ASSERT_EQUAL(e->lossy, 1);
        CU_ASSERT_EQUAL(e->lsn_end_before, end);
        CU_ASSERT(e->lsn_start >= end && e->lsn_start < end + 128); /* behind a pad */
    }
    fixture_close(&f);
}

static void both_sides_of_the_gap_are_read(void)
{
    struct shard *s = open();
    put_all(0, 30, 2); /* not committed: the survivor's tail counts when the epoch commits */
    for (uint32_t i = 0; i < 30; i++)
        versions[i] = 1;
    CU_ASSERT_EQUAL(shard_epoch_lossy(s, 5, floor_far(s), 0), 0);
    CU_ASSERT_EQUAL(wrong_keys(), 0);
    shard_commit(s, s->log.lsn_whole);
    fixture_answers(&f);
    for (uint32_t i = 0; i < 30; i++)
        versions[i] = 2;
    CU_ASSERT_EQUAL(wrong_keys(), 0);
    put_all(20, 40, 3); /* newer versions of what lies before it */
    put_all(KEYS / 2, KEYS, 3);
    fixture_settle(&f);
    CU_ASSERT_EQUAL(wrong_keys(), 0);
    CU_ASSERT_EQUAL(s->live_bytes, fixture_live_bytes(&f, NULL));
    fixture_close(&f);
}

/* ---- -EAGAIN ---- */

static void a_full_list_of_pending_records_is_waited_for(void)
{
    struct shard *s = open();
    int error = 0;
    for (uint64_t i = 0; (error = put((uint32_t)(i % 20), 2)) == 0; i++)
        CU_ASSERT_FATAL(i <= LIMIT_PENDING);
    CU_ASSERT_EQUAL(error, -EAGAIN);
    uint64_t epoch = 5;
    while (shard_epoch_begin(s, epoch, 0) == 0) /* the last places are for epochs */
        epoch++;
    uint64_t end = s->log.lsn_end;
    uint32_t count = s->log.epoch_count;
    CU_ASSERT_EQUAL(shard_epoch_lossy(s, epoch, floor_far(s), 0), -EAGAIN);
    CU_ASSERT_EQUAL(s->log.lsn_end, end); /* it has not jumped */
    CU_ASSERT_EQUAL(s->log.epoch_count, count);
    CU_ASSERT_EQUAL(log_epoch_at(&s->log, end), epoch == 5 ? 1 : epoch - 1);
    fixture_commit(&f);
    fixture_answers(&f);
    CU_ASSERT_EQUAL(shard_epoch_lossy(s, epoch, floor_far(s), 0), 0);
    CU_ASSERT_EQUAL(log_epoch_at(&s->log, s->log.lsn_end), epoch);
    fixture_close(&f);
}

/* The jump is made, the record finds no memory: the next attempt jumps no further. */
static void short_of_memory_it_jumps_once(void)
{
    struct shard *s = open();
    uint32_t taken[64], count = 0;
    uint64_t whole = s->log.lsn_whole, floor = floor_far(s);
    while (frames_available(&s->frames) > FRAMES_KEPT)
        CU_ASSERT_EQUAL_FATAL(frames_take(&s->frames, FRAME_BASE, 0, &taken[count++]), 0);
    CU_ASSERT_EQUAL(shard_epoch_lossy(s, 5, floor, 0), -EAGAIN);
    CU_ASSERT(s->starved);
    uint64_t start = s->log.lsn_end;
    CU_ASSERT(start >= floor);
    CU_ASSERT_EQUAL(shard_epoch_lossy(s, 5, floor, 0), -EAGAIN);
    CU_ASSERT_EQUAL(s->log.lsn_end, start);
    CU_ASSERT_EQUAL(s->log.lsn_whole, whole);
    CU_ASSERT_EQUAL(s->log.epoch_count, 1);
    CU_ASSERT_EQUAL(wrong_keys(), 0);
    while (count != 0)
        frames_give(&s->frames, taken[--count]);
    CU_ASSERT_EQUAL(shard_epoch_lossy(s, 5, floor, 0), 0);
    CU_ASSERT_EQUAL(s->log.epochs[1].lsn_start, start);
    CU_ASSERT_EQUAL(s->log.epochs[1].lsn_end_before, whole);
    fixture_settle(&f);
    CU_ASSERT_EQUAL(wrong_keys(), 0);
    CU_ASSERT_EQUAL(s->live_bytes, fixture_live_bytes(&f, NULL));
    fixture_close(&f);
}

static void it_never_begins_above_the_ceiling(void)
{
    struct shard *s = open();
    uint64_t floor = s->log.lsn_ceiling, whole = s->log.lsn_whole;
    CU_ASSERT_EQUAL(shard_epoch_lossy(s, 5, floor, 0), -EAGAIN);
    uint64_t start = s->log.lsn_end;
    CU_ASSERT_EQUAL(shard_epoch_lossy(s, 5, floor, 0), -EAGAIN);
    CU_ASSERT_EQUAL(s->log.lsn_end, start);
    CU_ASSERT_EQUAL(s->log.epoch_count, 1);
    shard_grant(s, start + 2 * SEGMENT);
    CU_ASSERT_EQUAL(shard_epoch_lossy(s, 5, floor, 0), 0);
    CU_ASSERT_EQUAL(s->log.epochs[1].lsn_start, start);
    CU_ASSERT_EQUAL(s->log.epochs[1].lsn_end_before, whole);
    fixture_close(&f);
}

/* ---- cuts ---- */

/* Fill the tail segment to its last byte. */
static void fill_exactly(struct shard *s)
{
    static uint8_t value[SEGMENT];
    uint64_t left = SEGMENT - s->log.tail.used - record_bytes(0, 4, 0);
    CU_ASSERT_EQUAL_FATAL(fixture_put(&f, "fill", 4, value, (uint32_t)(left & ~UINT64_C(7))), 0);
    CU_ASSERT_EQUAL_FATAL(s->log.lsn_end % SEGMENT, 0);
}

/* It was never active, and the next leader knows nothing of it: the cut falls before the jump, inside a
 * segment or at one's end. */
static void a_cut_before_the_jump_takes_it_back(void)
{
    for (unsigned full = 0; full < 2; full++) {
        for (unsigned opened = 0; opened < 2; opened++) {
            struct shard *s = open();
            if (full != 0)
                fill_exactly(s);
            uint64_t cut = s->log.lsn_whole, available;
            uint64_t floor = opened != 0 ? floor_far(s) : s->log.lsn_ceiling;
            CU_ASSERT_EQUAL(shard_epoch_lossy(s, 5, floor, 0), opened != 0 ? 0 : -EAGAIN);
            uint64_t start = s->log.lsn_end & ~(SEGMENT - 1);
            if (opened != 0)
                CU_ASSERT_EQUAL(put(0, 2), 0);
            CU_ASSERT_EQUAL(land_cut(s, cut, &f.now), 0);
            CU_ASSERT_EQUAL(s->log.lsn_end, cut);
            CU_ASSERT_EQUAL(s->log.lsn_whole, cut);
            CU_ASSERT_EQUAL(s->log.epoch_count, 1);
            CU_ASSERT_PTR_NULL(log_bytes_at(&s->log, start, &available));
            fixture_settle(&f);
            CU_ASSERT_EQUAL(wrong_keys(), 0);
            /* It goes on where it was cut. */
            CU_ASSERT_EQUAL(shard_epoch_begin(s, 6, 0), 0);
            CU_ASSERT_EQUAL(s->log.epochs[1].lsn_end_before, cut);
            CU_ASSERT(s->log.epochs[1].lsn_start < cut + 128);
            put_all(10, 20, 4);
            fixture_settle(&f);
            CU_ASSERT_EQUAL(wrong_keys(), 0);
            CU_ASSERT_EQUAL(s->live_bytes, fixture_live_bytes(&f, NULL));
            fixture_close(&f);
        }
    }
}

/* No cut is where nothing lies. */
static void no_cut_falls_into_the_gap(void)
{
    struct shard *s = open();
    CU_ASSERT_EQUAL(shard_epoch_lossy(s, 5, floor_far(s), 0), 0);
    uint64_t start = s->log.epochs[1].lsn_start, end = s->log.lsn_end;
    CU_ASSERT_EQUAL(land_cut(s, start - SEGMENT + 64, &f.now), -EINVAL);
    CU_ASSERT_EQUAL(land_cut(s, start - 8, &f.now), -EINVAL);
    CU_ASSERT_EQUAL(s->log.lsn_end, end);
    fixture_close(&f);
}

/* ---- cleaning ---- */

static void the_cleaner_crosses_gaps(void)
{
    struct shard *s = open();
    uint64_t seed = 5, epoch = 5, version = 2;
    for (uint32_t round = 0; round < 400; round++) {
        for (uint32_t i = 0; i < 60; i++) {
            uint32_t number = fixture_below(&seed, KEYS);
            if (put(number, version) == 0)
                versions[number] = version++;
        }
        shard_commit(s, s->log.lsn_whole);
        (void)fixture_maintain(&f);
        if (fixture_below(&seed, 10) != 0)
            continue;
        fixture_settle(&f);
        uint64_t floor = s->log.lsn_end + fixture_below(&seed, 50) * SEGMENT + 8;
        CU_ASSERT_EQUAL_FATAL(shard_epoch_lossy(s, epoch++, floor, 0), 0);
    }
    fixture_settle(&f);
    CU_ASSERT(epoch > 20);
    CU_ASSERT(fixture_counter(&f, COUNTER_SEGMENTS_FREED) > 40);
    CU_ASSERT_EQUAL(wrong_keys(), 0);
    CU_ASSERT_EQUAL(s->live_bytes, fixture_live_bytes(&f, NULL));
    fixture_close(&f);
}

/* ---- followers ---- */

/* Bytes from behind the gap are none of a log that ends before it: it has nothing in between, and gets a
 * snapshot. What was placed goes with the cut. */
static void a_log_from_before_does_not_land_what_lies_behind(void)
{
    struct fixture follower;
    fixture_open(&follower, &small);
    struct shard *s = open(), *to = follower.shard;
    uint64_t available, end = to->log.lsn_end;
    CU_ASSERT_EQUAL(s->log.lsn_end > end, true);
    const uint8_t *bytes = log_bytes_at(&s->log, end, &available);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    available = min_u64(available, s->log.lsn_whole - end);
    CU_ASSERT_EQUAL(land_bytes(to, end, bytes, available), 1);
    CU_ASSERT_EQUAL(land_check(to), 1);
    end = to->log.lsn_end;
    CU_ASSERT_EQUAL(end, s->log.lsn_end);
    shard_commit(to, end);
    fixture_answers(&follower);
    uint32_t frames = frames_available(&to->frames);

    CU_ASSERT_EQUAL(shard_epoch_lossy(s, 5, floor_far(s), 0), 0);
    put_all(0, 30, 2);
    uint64_t start = s->log.epochs[1].lsn_start;
    bytes = log_bytes_at(&s->log, start, &available);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    CU_ASSERT_EQUAL(land_bytes(to, start, bytes, available), 0);
    CU_ASSERT_EQUAL(land_check(to), 0);
    CU_ASSERT_EQUAL(to->log.lsn_end, end);
    CU_ASSERT_EQUAL(to->log.epoch_count, 1);
    struct land_range missing;
    CU_ASSERT(land_missing(to, s->log.lsn_whole, &missing));
    CU_ASSERT_EQUAL(missing.lsn_start, end);
    CU_ASSERT_EQUAL(missing.lsn_end, start);
    CU_ASSERT_EQUAL(land_cut(to, end, &follower.now), 0);
    fixture_settle(&follower);
    CU_ASSERT_EQUAL(frames_available(&to->frames), frames);
    fixture_close(&follower);
    fixture_close(&f);
}

/* Its way to the lossy epoch: the state at an LSN behind the gap, then the log. */
static void a_snapshot_leads_over_the_gap(void)
{
    static struct install_world w;
    for (uint64_t run = 1; run <= 6; run++) {
        install_world_open(&w, 300 + run, &install_config);
        history_write(w.h, &w.leader, 2000);
        history_commit(w.h, &w.leader);
        install_catch_up(&w, 0); /* up to the gap, or empty */
        struct shard *s = w.leader.shard;
        uint64_t floor = s->log.lsn_end + run * 9 * SEGMENT;
        CU_ASSERT_EQUAL_FATAL(shard_epoch_lossy(s, ++w.h->epoch, floor, 0), 0);
        uint64_t start = s->log.epochs[s->log.epoch_count - 1].lsn_start;
        history_commit(w.h, &w.leader);
        history_write(w.h, &w.leader, run % 2 != 0 ? 0 : 1500);
        history_commit(w.h, &w.leader);
        install_take_snapshot(&w, 20);
        CU_ASSERT(w.follower.shard->log.lsn_base >= start);
        install_catch_up(&w, 20);
        install_check_equal(&w);
        const struct log *to = &w.follower.shard->log;
        CU_ASSERT_EQUAL(to->lsn_end, s->log.lsn_end);
        uint32_t lossy = 0;
        for (uint32_t i = 0; i < to->epoch_count; i++)
            lossy += to->epochs[i].lossy != 0 && to->epochs[i].lsn_start == start;
        CU_ASSERT_EQUAL(lossy, 1);
        install_world_close(&w);
    }
}

static const struct unit_test tests[] = {
    UNIT_TEST(the_epoch_tells_of_the_gap),
    UNIT_TEST(a_log_above_the_floor_does_not_jump),
    UNIT_TEST(both_sides_of_the_gap_are_read),
    UNIT_TEST(a_full_list_of_pending_records_is_waited_for),
    UNIT_TEST(short_of_memory_it_jumps_once),
    UNIT_TEST(it_never_begins_above_the_ceiling),
    UNIT_TEST(a_cut_before_the_jump_takes_it_back),
    UNIT_TEST(no_cut_falls_into_the_gap),
    UNIT_TEST(the_cleaner_crosses_gaps),
    UNIT_TEST(a_log_from_before_does_not_land_what_lies_behind),
    UNIT_TEST(a_snapshot_leads_over_the_gap),
};
UNIT_MAIN("lossy", tests)
