#include "engine/reclaim.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/unit.h"

static struct fixture f;
static uint32_t asked_while_unmarked;

/* The pins are looked at after the mark is set (W2), never before. */
static bool watch(void *context, uint32_t frame)
{
    (void)context;
    uint32_t kind = atomic_load_explicit(&f.directory[frame].kind, memory_order_relaxed);
    asked_while_unmarked += (kind & FRAME_RETIRING) == 0;
    return f.pinned[frame];
}

static struct reclaim *open(uint32_t *frames, uint32_t count)
{
    fixture_open(&f, &(struct fixture_config){.quota_bytes = UINT64_C(2) << 20, .shard_count = 1});
    asked_while_unmarked = 0;
    f.now =
        (struct reclaim_now){.ticks = 1000, .view_ticks = 100, .ticket_next = 1, .pinned = watch};
    for (uint32_t i = 0; i < count; i++)
        ASSERT(frames_take(&f.shard->frames, FRAME_TAIL, 1, &frames[i]) == 0);
    return &f.shard->reclaim;
}

static uint64_t stamp_of(uint32_t frame)
{
    return atomic_load_explicit(&f.directory[frame].stamp, memory_order_relaxed);
}

static uint64_t board_count(void)
{
    return atomic_load_explicit(&f.board->reclaim_count, memory_order_relaxed);
}

static void a_frame_waits_for_its_grace_period(void)
{
    uint32_t frame;
    struct reclaim *r = open(&frame, 1);
    uint32_t available = frames_available(&f.shard->frames);
    f.now.ticket_next = 5;
    f.now.ticket_done = 4;
    reclaim_retire(r, frame, &f.now);
    CU_ASSERT_EQUAL(atomic_load_explicit(&f.directory[frame].kind, memory_order_relaxed),
                    FRAME_TAIL | FRAME_RETIRING);
    CU_ASSERT_EQUAL(reclaim_step(r, &f.now), 0);
    CU_ASSERT_EQUAL(stamp_of(frame), 0);
    CU_ASSERT_EQUAL(board_count(), 0);
    f.now.ticket_done = 5;
    CU_ASSERT_EQUAL(reclaim_step(r, &f.now), 1);
    CU_ASSERT_EQUAL(stamp_of(frame), 1);
    CU_ASSERT_EQUAL(board_count(), 1);
    CU_ASSERT_EQUAL(frames_available(&f.shard->frames), available + 1);
    CU_ASSERT_EQUAL(asked_while_unmarked, 0);
    fixture_close(&f);
}

static void a_pin_is_honoured_until_it_ends(void)
{
    uint32_t frame;
    struct reclaim *r = open(&frame, 1);
    f.pinned[frame] = true;
    reclaim_retire(r, frame, &f.now);
    f.now.ticket_done = 9;
    f.now.ticks += 99;
    CU_ASSERT_EQUAL(reclaim_step(r, &f.now), 0);
    f.pinned[frame] = false;
    CU_ASSERT_EQUAL(reclaim_step(r, &f.now), 1);
    fixture_close(&f);
}

static void a_pin_lapses(void)
{
    uint32_t frame;
    struct reclaim *r = open(&frame, 1);
    f.pinned[frame] = true;
    reclaim_retire(r, frame, &f.now);
    f.now.ticket_done = 9;
    f.now.ticks += 100;
    CU_ASSERT_EQUAL(reclaim_step(r, &f.now), 1);
    CU_ASSERT_EQUAL(stamp_of(frame), 1);
    fixture_close(&f);
}

static void a_lapsed_pin_does_not_replace_the_grace_period(void)
{
    uint32_t frame;
    struct reclaim *r = open(&frame, 1);
    f.pinned[frame] = true;
    reclaim_retire(r, frame, &f.now);
    f.now.ticks += 100000;
    CU_ASSERT_EQUAL(reclaim_step(r, &f.now), 0);
    fixture_close(&f);
}

static void a_pin_that_comes_after_the_mark_holds_nothing(void)
{
    uint32_t frame;
    struct reclaim *r = open(&frame, 1);
    reclaim_retire(r, frame, &f.now);
    f.pinned[frame] = true;
    f.now.ticket_done = 9;
    CU_ASSERT_EQUAL(reclaim_step(r, &f.now), 1);
    fixture_close(&f);
}

static uint32_t held_frame;

static bool is_held(void *context, uint32_t frame)
{
    (void)context;
    return frame == held_frame;
}

static void what_a_transport_holds_does_not_lapse(void)
{
    uint32_t frames[2];
    struct reclaim *r = open(frames, 2);
    f.now.held = is_held;
    held_frame = frames[0];
    f.pinned[frames[0]] = true;
    reclaim_retire(r, frames[0], &f.now);
    reclaim_retire(r, frames[1], &f.now);
    f.now.ticket_done = 9;
    f.now.ticks += 100000;
    CU_ASSERT_EQUAL(reclaim_step(r, &f.now), 1);
    CU_ASSERT_EQUAL(stamp_of(frames[0]), 0);
    CU_ASSERT_EQUAL(stamp_of(frames[1]), 1);
    held_frame = UINT32_MAX;
    CU_ASSERT_EQUAL(reclaim_step(r, &f.now), 1);
    CU_ASSERT_EQUAL(stamp_of(frames[0]), 2);
    fixture_close(&f);
}

static void one_pinned_frame_holds_up_no_other(void)
{
    uint32_t frames[5];
    struct reclaim *r = open(frames, 5);
    f.pinned[frames[0]] = f.pinned[frames[3]] = true;
    for (unsigned i = 0; i < 5; i++)
        reclaim_retire(r, frames[i], &f.now);
    f.now.ticket_done = 9;
    CU_ASSERT_EQUAL(reclaim_step(r, &f.now), 3);
    CU_ASSERT_EQUAL(r->count, 2);
    CU_ASSERT_EQUAL(stamp_of(frames[0]), 0);
    CU_ASSERT_EQUAL(stamp_of(frames[1]), 1);
    CU_ASSERT_EQUAL(stamp_of(frames[2]), 2);
    CU_ASSERT_EQUAL(stamp_of(frames[4]), 3);
    f.now.ticks += 100;
    CU_ASSERT_EQUAL(reclaim_step(r, &f.now), 2);
    CU_ASSERT_EQUAL(stamp_of(frames[0]), 4);
    CU_ASSERT_EQUAL(stamp_of(frames[3]), 5);
    CU_ASSERT_EQUAL(board_count(), 5);
    fixture_close(&f);
}

static void a_pin_counts_only_on_a_living_frame(void)
{
    uint32_t frame;
    struct reclaim *r = open(&frame, 1);
    struct read_point before, after;
    read_begin(&before, &f.space, 0);
    CU_ASSERT_TRUE(read_pin_holds(&before, &f.space, frame));
    reclaim_retire(r, frame, &f.now);
    CU_ASSERT_FALSE(read_pin_holds(&before, &f.space, frame)); /* V1 */
    f.now.ticket_done = 9;
    CU_ASSERT_EQUAL(reclaim_step(r, &f.now), 1);
    CU_ASSERT_FALSE(read_pin_holds(&before, &f.space, frame)); /* the stamp */
    read_begin(&after, &f.space, 0);
    CU_ASSERT_TRUE(read_pin_holds(&after, &f.space, frame));
    fixture_close(&f);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_frame_waits_for_its_grace_period),
    UNIT_TEST(a_pin_is_honoured_until_it_ends),
    UNIT_TEST(a_pin_lapses),
    UNIT_TEST(a_lapsed_pin_does_not_replace_the_grace_period),
    UNIT_TEST(a_pin_that_comes_after_the_mark_holds_nothing),
    UNIT_TEST(what_a_transport_holds_does_not_lapse),
    UNIT_TEST(one_pinned_frame_holds_up_no_other),
    UNIT_TEST(a_pin_counts_only_on_a_living_frame),
};
UNIT_MAIN("reclaim", tests)
