#include "engine/log.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/unit.h"

static struct fixture f;
static uint8_t value[65536];

static struct log *open(void)
{
    fixture_open(&f, &(struct fixture_config){.quota_bytes = UINT64_C(2) << 20, .shard_count = 1});
    shard_grant(f.shard, UINT64_C(1) << 40);
    return &f.shard->log;
}

static int append(struct log *l, uint32_t value_length, uint64_t clock, struct record *header)
{
    uint64_t offset;
    *header = (struct record){.kind = RECORD_DATA, .key_length = 8, .value_length = value_length};
    struct record_parts parts = {.key = "12345678", .value = value};
    return log_append(l, header, &parts, clock, &offset);
}

static void lsns_and_clocks_only_grow(void)
{
    struct log *l = open();
    struct record h;
    uint64_t lsn = 0, clock = 0, seed = 1;
    int r;
    for (unsigned i = 0;
         (r = append(l, fixture_below(&seed, 300), fixture_below(&seed, 1000), &h)) == 0; i++) {
        CU_ASSERT(h.lsn > lsn && h.hybrid_clock > clock);
        CU_ASSERT_EQUAL(l->lsn_end, h.lsn + record_size(&h));
        lsn = h.lsn;
        clock = h.hybrid_clock;
    }
    CU_ASSERT_EQUAL(r, -ENOSPC);
    CU_ASSERT_EQUAL(frames_available(l->frames), FRAMES_KEPT);
    fixture_close(&f);
}

/* A segment is records and pads to its very end, and its bytes' LSNs are the frame's plus position.
 */
static void a_full_segment_is_walked_to_its_end(void)
{
    struct log *l = open();
    struct record h;
    uint64_t seed = 2;
    while (append(l,
                  fixture_below(&seed, 2) ? fixture_below(&seed, 100) : fixture_below(&seed, 20000),
                  1, &h) == 0) {
    }
    uint32_t frame, segments = 0;
    uint64_t expected = 0;
    while (log_queue_pop(l, &frame)) {
        const struct layout_frame *d = &f.directory[frame];
        uint64_t start = atomic_load_explicit(&d->lsn_start, memory_order_relaxed);
        CU_ASSERT(expected == 0 || start == expected);
        expected = start + 65536;
        uint64_t at = 0;
        while (at < 65536) {
            int64_t size = record_check(f.arena + ((uint64_t)frame << 16) + at, 65536 - at, &h);
            CU_ASSERT_FATAL(size > 0);
            if (h.kind != RECORD_PAD)
                CU_ASSERT_EQUAL(h.lsn, start + at);
            at += (uint64_t)size;
        }
        CU_ASSERT_EQUAL(at, 65536);
        segments++;
    }
    CU_ASSERT(segments > 10);
    fixture_close(&f);
}

static void the_ceiling_is_never_passed(void)
{
    struct log *l = open();
    struct record h;
    for (unsigned i = 0; i < 100; i++) {
        l->lsn_ceiling = l->lsn_end + 65536 + 1000 + i * 8;
        while (append(l, 200, 1, &h) == 0)
            CU_ASSERT(l->lsn_end <= l->lsn_ceiling);
        uint64_t end = l->lsn_end;
        CU_ASSERT_EQUAL(append(l, 200, 1, &h), -ERANGE);
        CU_ASSERT_EQUAL(l->lsn_end, end); /* nothing, not even pads */
        log_grant(l, 5);
        CU_ASSERT_EQUAL(append(l, 200, 1, &h), -ERANGE);
    }
    fixture_close(&f);
}

static void a_base_segment_is_whole_too(void)
{
    struct log *l = open();
    struct log_segment base = {.base = NULL};
    uint64_t seed = 3, offset, last = 0;
    struct record h;
    static const struct record_parts parts = {.key = "12345678", .value = value};
    for (unsigned i = 0; i < 400; i++) {
        struct record r = {.kind = RECORD_DATA, .format = RECORD_FORMAT, .key_length = 8};
        r.value_length =
            fixture_below(&seed, 2) ? fixture_below(&seed, 60) : fixture_below(&seed, 9000);
        if (log_base_claim(l, &base, record_size(&r), &offset) != 0)
            break;
        record_write(f.arena + offset, &r, &parts);
        CU_ASSERT(record_pad_before(offset & 65535, record_size(&r)) == 0);
        last = offset;
    }
    CU_ASSERT(last != 0);
    uint32_t frame, segments = 0;
    while (log_queue_pop(l, &frame)) {
        CU_ASSERT_EQUAL(atomic_load_explicit(&f.directory[frame].kind, memory_order_relaxed),
                        FRAME_BASE);
        uint64_t at = 0;
        while (at < 65536) {
            int64_t size = record_check(f.arena + ((uint64_t)frame << 16) + at, 65536 - at, &h);
            CU_ASSERT_FATAL(size > 0);
            at += (uint64_t)size;
        }
        segments++;
    }
    CU_ASSERT(segments >= 3);
    fixture_close(&f);
}

static void an_lsn_knows_its_epoch(void)
{
    struct log *l = open();
    CU_ASSERT_EQUAL(l->epoch_count, 1);
    uint64_t first = l->epochs[0].lsn_start;
    CU_ASSERT_EQUAL(log_epoch_at(l, first - 1), 0);
    CU_ASSERT_EQUAL(log_epoch_at(l, first), 1);
    for (uint64_t e = 2; e < 10; e++)
        log_epoch_add(l, &(struct log_epoch){.epoch = e * 10, .lsn_start = first + e * 1000});
    CU_ASSERT_EQUAL(log_epoch_at(l, first + 1999), 1);
    CU_ASSERT_EQUAL(log_epoch_at(l, first + 2000), 20);
    CU_ASSERT_EQUAL(log_epoch_at(l, UINT64_MAX), 90);
    fixture_close(&f);
}

static void old_epochs_are_forgotten_and_new_ones_stay_exact(void)
{
    struct log *l = open();
    uint64_t first = l->epochs[0].lsn_start;
    for (uint64_t e = 2; e <= 1000; e++)
        log_epoch_add(l, &(struct log_epoch){.epoch = e, .lsn_start = first + e * 1000});
    CU_ASSERT_EQUAL(l->epoch_count, LIMIT_EPOCHS);
    uint32_t wrong = 0;
    for (uint64_t e = 1000; e > 1000 - LIMIT_EPOCHS + 1; e--)
        wrong +=
            log_epoch_at(l, first + e * 1000) != e || log_epoch_at(l, first + e * 1000 + 999) != e;
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(log_epoch_at(l, first), 0); /* forgotten, and not taken for another */
    CU_ASSERT_EQUAL(log_epoch_at(l, first + 500000), 0);
    fixture_close(&f);
}

static const struct unit_test tests[] = {
    UNIT_TEST(lsns_and_clocks_only_grow),
    UNIT_TEST(a_full_segment_is_walked_to_its_end),
    UNIT_TEST(the_ceiling_is_never_passed),
    UNIT_TEST(a_base_segment_is_whole_too),
    UNIT_TEST(an_lsn_knows_its_epoch),
    UNIT_TEST(old_epochs_are_forgotten_and_new_ones_stay_exact),
};
UNIT_MAIN("log", tests)
