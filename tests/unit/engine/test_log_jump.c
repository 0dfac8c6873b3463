/* The jump of a lossy epoch: the log goes on at a segment's start above all that was granted, and what
 * lies before the gap keeps its place. */
#include "engine/log.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/unit.h"

#define SEGMENT UINT64_C(65536)

static struct fixture f;
static uint8_t value[SEGMENT];

/* Powers of two, and not: segments are found by their number modulo this. */
static const uint32_t frame_counts[] = {16, 13, 24};
#define FRAME_COUNTS (sizeof frame_counts / sizeof frame_counts[0])

static struct log *open(uint32_t frames)
{
    fixture_open(&f, &(struct fixture_config){.quota_bytes = UINT64_C(2) << 20,
                                              .shard_count = 1,
                                              .frames_per_shard = frames});
    CU_ASSERT_EQUAL_FATAL(f.geometry.segment_shift, 16);
    CU_ASSERT_EQUAL_FATAL(f.geometry.frames_per_shard, frames);
    shard_grant(f.shard, UINT64_C(1) << 40);
    return &f.shard->log;
}

static int append(struct log *l, uint64_t value_length)
{
    uint64_t offset;
    struct record header = {
        .kind = RECORD_DATA,
        .flags = RECORD_FLAG_TRANSACTION_END,
        .key_length = 8,
        .value_length = (uint32_t)value_length,
    };
    struct record_parts parts = {.key = "12345678", .value = value};
    return log_append(l, &header, &parts, 1, &offset);
}

/* Fill the tail segment to its last byte. */
static void fill_exactly(struct log *l)
{
    CU_ASSERT_EQUAL_FATAL(append(l, SEGMENT - l->tail.used - record_bytes(0, 8, 0)), 0);
    CU_ASSERT_EQUAL_FATAL(l->tail.used, SEGMENT);
    CU_ASSERT_EQUAL_FATAL(l->lsn_end % SEGMENT, 0);
}

static uint64_t up(uint64_t lsn)
{
    return (lsn + SEGMENT - 1) / SEGMENT * SEGMENT;
}

/* A record stands at lsn, and says so. */
static bool record_is_at(const struct log *l, uint64_t lsn)
{
    uint64_t available;
    struct record h;
    const uint8_t *bytes = log_bytes_at(l, lsn, &available);
    return bytes != NULL && record_check(bytes, available, &h) > 0 && h.lsn == lsn;
}

static void it_goes_on_at_the_first_segment_that_may_be(void)
{
    static const int64_t near[] = {-8, 0, 8};
    for (size_t n = 0; n < FRAME_COUNTS; n++) {
        for (uint32_t ahead = 0; ahead <= 2 * frame_counts[n]; ahead++) {
            for (size_t i = 0; i < sizeof near / sizeof near[0]; i++) {
                struct log *l = open(frame_counts[n]);
                uint64_t next = up(l->lsn_end), whole = l->lsn_whole;
                uint64_t floor = next + ahead * SEGMENT + (uint64_t)near[i];
                log_jump(l, floor);
                CU_ASSERT(l->lsn_end >= floor);
                CU_ASSERT_EQUAL(l->lsn_end % SEGMENT, 0);
                /* nearer there is none whose place in by_lsn is the one that comes next */
                uint64_t round = frame_counts[n] * SEGMENT;
                CU_ASSERT_EQUAL((l->lsn_end - next) % round, 0);
                CU_ASSERT(l->lsn_end < up(floor) + round);
                CU_ASSERT_EQUAL(l->lsn_whole, whole); /* nothing was written that counts */
                CU_ASSERT_PTR_NULL(l->tail.base);
                fixture_close(&f);
            }
        }
    }
}

/* So many full segments of the tail as there may be, but for room for one more. */
static uint32_t fill_segments(struct log *l)
{
    uint32_t count = 1;
    fill_exactly(l);
    for (; frames_available(l->frames) > FRAMES_KEPT + 1; count++) {
        CU_ASSERT_EQUAL_FATAL(append(l, 8), 0);
        fill_exactly(l);
    }
    return count;
}

/* Wherever the floor lies, the first segment behind the gap takes the place of none before it. */
static void what_lies_before_the_gap_keeps_its_place(void)
{
    for (size_t n = 0; n < FRAME_COUNTS; n++) {
        for (uint32_t ahead = 0; ahead <= frame_counts[n]; ahead++) {
            struct log *l = open(frame_counts[n]);
            uint64_t first =
                up(l->lsn_end); /* the one before begins with the first epoch's record */
            uint32_t count = fill_segments(l), lost = 0;
            CU_ASSERT(count > 5);
            uint64_t end = l->lsn_end;
            CU_ASSERT_EQUAL(end, first + (count - 1) * SEGMENT);
            log_jump(l, end + ahead * SEGMENT + 8);
            uint64_t start = l->lsn_end;
            CU_ASSERT_EQUAL(append(l, 8), 0);
            CU_ASSERT(record_is_at(l, start));
            for (uint64_t at = first; at < end; at += SEGMENT)
                lost += !record_is_at(l, at);
            CU_ASSERT_EQUAL(lost, 0);
            fixture_close(&f);
        }
    }
}

static void nothing_lies_in_the_gap(void)
{
    for (size_t n = 0; n < FRAME_COUNTS; n++) {
        struct log *l = open(frame_counts[n]);
        CU_ASSERT_EQUAL(append(l, 8), 0);
        uint64_t end = l->lsn_end, available;
        uint32_t found = 0;
        log_jump(l, end + 30 * SEGMENT);
        uint64_t start = l->lsn_end;
        for (int opened = 0; opened < 2; opened++) {
            for (uint64_t at = up(end); at < start; at += SEGMENT / 4)
                found += log_bytes_at(l, at, &available) != NULL;
            CU_ASSERT_PTR_EQUAL(log_bytes_at(l, l->lsn_end, &available), NULL);
            CU_ASSERT_EQUAL(append(l, 8), 0);
        }
        CU_ASSERT_EQUAL(found, 0);
        /* the segment before it is whole: pads to its very end */
        uint64_t at = end;
        while (at < up(end)) {
            struct record h;
            const uint8_t *bytes = log_bytes_at(l, at, &available);
            int64_t size = bytes != NULL ? record_check(bytes, up(end) - at, &h) : -ENOENT;
            CU_ASSERT_FATAL(size > 0);
            CU_ASSERT_EQUAL(h.kind, RECORD_PAD);
            at += (uint64_t)size;
        }
        CU_ASSERT_EQUAL(at, up(end));
        fixture_close(&f);
    }
}

/* Behind a segment that is full to its last byte the next one is where the log ends already. */
static void a_full_segment_needs_no_pad(void)
{
    struct log *l = open(13);
    fill_exactly(l);
    uint64_t end = l->lsn_end;
    log_jump(l, end);
    CU_ASSERT_EQUAL(l->lsn_end, end);
    CU_ASSERT_EQUAL(append(l, 8), 0);
    CU_ASSERT(record_is_at(l, end));
    fixture_close(&f);
}

static const struct unit_test tests[] = {
    UNIT_TEST(it_goes_on_at_the_first_segment_that_may_be),
    UNIT_TEST(what_lies_before_the_gap_keeps_its_place),
    UNIT_TEST(nothing_lies_in_the_gap),
    UNIT_TEST(a_full_segment_needs_no_pad),
};
UNIT_MAIN("log_jump", tests)
