/* How many segments of a small shard its leaders may write to: what is in quarantine counts. */
#include "engine/grant.h"
#include "engine/land.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/unit.h"

static const struct grant_holder holder = {.node = 3, .incarnation = 5, .epoch = 1};

/* The tail's segment and the next are granted; then the log is cut in the middle of the tail, so that both
 * go and others take their place.  Returns whether one of these is granted as well. */
static bool third_is_given(uint32_t frames)
{
    struct fixture leader, f;
    struct fixture_config config = {.quota_bytes = UINT64_C(2) << 20, .shard_count = 1};
    fixture_open(&leader, &config);
    config.follower = true;
    config.frames_per_shard = frames;
    fixture_open(&f, &config);
    uint64_t available;
    const uint8_t *bytes = log_bytes_at(&leader.shard->log, f.shard->log.lsn_end, &available);
    CU_ASSERT_EQUAL(land_bytes(f.shard, f.shard->log.lsn_end, bytes, available), 1);
    CU_ASSERT_EQUAL(land_check(f.shard), 1);
    CU_ASSERT_PTR_NOT_NULL(land_grant(f.shard, &holder));
    CU_ASSERT_PTR_NOT_NULL(land_grant(f.shard, &holder));
    CU_ASSERT_EQUAL(land_cut(f.shard, f.shard->log.lsn_end, &f.now), 0);
    CU_ASSERT_EQUAL(f.shard->reclaim.count, 2);
    CU_ASSERT(frames_available(&f.shard->frames) > FRAMES_KEPT);
    bool given = land_grant(f.shard, &holder) != NULL;
    fixture_close(&f);
    fixture_close(&leader);
    return given;
}

static void a_third_of_the_frames_may_be_written_to(void)
{
    CU_ASSERT_FALSE(third_is_given(8));
    CU_ASSERT_TRUE(third_is_given(9));
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_third_of_the_frames_may_be_written_to),
};
UNIT_MAIN("grant_share", tests)
