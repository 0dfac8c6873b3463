#include "engine/frames.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define SHARDS_MAX 7u
#define FRAMES_MAX 512u

static struct {
    struct layout_space header;
    struct layout_frame directory[FIXTURE_FRAMES];
    _Atomic uint32_t wanted;
    uint32_t memory[SHARDS_MAX][FRAMES_MAX];
    struct frames frames[SHARDS_MAX];
} t;

static void chunks_set(uint32_t count, uint32_t limit)
{
    atomic_store_explicit(&t.header.chunk_count, count, memory_order_release);
    atomic_store_explicit(&t.header.chunk_limit, limit, memory_order_release);
}

static uint32_t chunks_wanted(void)
{
    return atomic_load_explicit(&t.wanted, memory_order_relaxed);
}

static void open(uint32_t shards, uint64_t quota)
{
    memset(&t, 0, sizeof t);
    struct space_config c;
    space_config_default(&c);
    c.shard_count = shards;
    c.quota_bytes = quota;
    ASSERT(space_geometry(&c, &t.header.geometry) == 0);
    ASSERT(layout_frame_count(&t.header.geometry) <= FIXTURE_FRAMES);
    ASSERT(t.header.geometry.frames_per_shard <= FRAMES_MAX);
    chunks_set(t.header.geometry.chunk_count_max, t.header.geometry.chunk_count_max);
    for (uint32_t i = 0; i < shards; i++) {
        frames_init(&t.frames[i], &t.header, t.directory, &t.wanted, t.memory[i]);
        t.frames[i].shard = i;
    }
}

static void every_shard_gets_its_frames_and_no_other(void)
{
    for (uint32_t shards = 1; shards <= SHARDS_MAX; shards += 2) {
        open(shards, UINT64_C(16) << 20);
        static uint8_t taken[FIXTURE_FRAMES];
        memset(taken, 0, sizeof taken);
        uint32_t each = t.header.geometry.frames_per_shard, frame;
        for (uint32_t n = 0; n < each; n++) {
            for (uint32_t i = 0; i < shards; i++) {
                CU_ASSERT_EQUAL(frames_available(&t.frames[i]), each - n);
                CU_ASSERT_EQUAL_FATAL(frames_take(&t.frames[i], FRAME_TAIL, n + 1, &frame), 0);
                CU_ASSERT_EQUAL(taken[frame]++, 0);
                CU_ASSERT_EQUAL(t.directory[frame].shard, i);
                CU_ASSERT_EQUAL(
                    atomic_load_explicit(&t.directory[frame].lsn_start, memory_order_relaxed),
                    n + 1);
            }
        }
        for (uint32_t i = 0; i < shards; i++) {
            CU_ASSERT_EQUAL(frames_take(&t.frames[i], FRAME_TAIL, 1, &frame), -ENOSPC);
            CU_ASSERT_EQUAL(frames_available(&t.frames[i]), 0);
        }
    }
}

static void a_chunk_is_asked_for_before_it_is_needed(void)
{
    open(3, UINT64_C(16) << 20);
    chunks_set(1, t.header.geometry.chunk_count_max);
    uint32_t frame;
    int r = 0;
    bool asked_early = false;
    while (r == 0) {
        r = frames_take(&t.frames[1], FRAME_TAIL, 1, &frame);
        asked_early |= r == 0 && chunks_wanted() == 2;
    }
    CU_ASSERT_EQUAL(r, -EAGAIN); /* not there yet: not the same as full */
    CU_ASSERT_TRUE(asked_early);
    CU_ASSERT(frames_available(&t.frames[1]) > 0);
    chunks_set(2, t.header.geometry.chunk_count_max);
    CU_ASSERT_EQUAL(frames_take(&t.frames[1], FRAME_TAIL, 1, &frame), 0);
    CU_ASSERT(frame >> (t.header.geometry.chunk_shift - t.header.geometry.segment_shift) == 1);
}

static void a_chunk_that_cannot_be_made_counts_for_nothing(void)
{
    open(3, UINT64_C(16) << 20);
    chunks_set(1, 1);
    struct frames *f = &t.frames[2];
    uint32_t frame, taken = 0, available = frames_available(f);
    CU_ASSERT_EQUAL(frames_total(f), available);
    CU_ASSERT_EQUAL(frames_existing(f), available);
    while (frames_take(f, FRAME_TAIL, 1, &frame) == 0)
        taken++;
    CU_ASSERT_EQUAL(taken, available);
    CU_ASSERT_EQUAL(frames_take(f, FRAME_TAIL, 1, &frame), -ENOSPC);
    chunks_set(1, t.header.geometry.chunk_count_max);
    CU_ASSERT_EQUAL(frames_take(f, FRAME_TAIL, 1, &frame), -EAGAIN);
    CU_ASSERT_EQUAL(frames_existing(f), available);
    CU_ASSERT_EQUAL(frames_total(f), t.header.geometry.frames_per_shard);
}

static void promised_frames_are_not_available(void)
{
    open(1, UINT64_C(4) << 20);
    struct frames *f = &t.frames[0];
    uint32_t all = frames_available(f), frame;
    CU_ASSERT_FALSE(frames_reserve(f, all + 1));
    CU_ASSERT_TRUE(frames_reserve(f, all - 2));
    CU_ASSERT_EQUAL(frames_available(f), 2);
    CU_ASSERT_FALSE(frames_reserve(f, 3));
    CU_ASSERT_EQUAL(frames_take(f, FRAME_INDEX, 0, &frame), 0);
    frames_unreserve(f, 1);
    CU_ASSERT_EQUAL(frames_available(f), 2);
    frames_unreserve(f, all - 3);
    CU_ASSERT_EQUAL(frames_available(f), all - 1);
}

static void a_promise_is_made_of_chunks_that_exist(void)
{
    open(1, UINT64_C(8) << 20);
    chunks_set(1, t.header.geometry.chunk_count_max);
    struct frames *f = &t.frames[0];
    uint32_t existing = frames_existing(f);
    CU_ASSERT(existing < frames_available(f));
    CU_ASSERT_FALSE(frames_reserve(f, existing + 1));
    CU_ASSERT_EQUAL(chunks_wanted(), 2);
    CU_ASSERT_TRUE(frames_reserve(f, existing));
}

static void a_frame_given_back_comes_again_with_its_stamp(void)
{
    open(1, UINT64_C(2) << 20);
    uint32_t frame, again;
    CU_ASSERT_EQUAL(frames_take(&t.frames[0], FRAME_TAIL, 5, &frame), 0);
    atomic_store_explicit(&t.directory[frame].stamp, 9, memory_order_relaxed);
    atomic_store_explicit(&t.directory[frame].bytes_live, 9, memory_order_relaxed);
    frames_give(&t.frames[0], frame);
    CU_ASSERT_EQUAL(atomic_load_explicit(&t.directory[frame].kind, memory_order_relaxed),
                    FRAME_FREE);
    CU_ASSERT_EQUAL(frames_take(&t.frames[0], FRAME_BASE, 0, &again), 0);
    CU_ASSERT_EQUAL(again, frame);
    CU_ASSERT_EQUAL(atomic_load_explicit(&t.directory[frame].stamp, memory_order_relaxed), 9);
    CU_ASSERT_EQUAL(atomic_load_explicit(&t.directory[frame].bytes_live, memory_order_relaxed), 0);
    CU_ASSERT_EQUAL(atomic_load_explicit(&t.directory[frame].kind, memory_order_relaxed),
                    FRAME_BASE);
}

static const struct unit_test tests[] = {
    UNIT_TEST(every_shard_gets_its_frames_and_no_other),
    UNIT_TEST(a_chunk_is_asked_for_before_it_is_needed),
    UNIT_TEST(a_chunk_that_cannot_be_made_counts_for_nothing),
    UNIT_TEST(promised_frames_are_not_available),
    UNIT_TEST(a_promise_is_made_of_chunks_that_exist),
    UNIT_TEST(a_frame_given_back_comes_again_with_its_stamp),
};
UNIT_MAIN("frames", tests)
