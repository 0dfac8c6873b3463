/* Tokens, with time as a plain number. */
#include "engine/bucket.h"
#include "tests/unit/unit.h"

static const struct bucket_rate rate = {.interval = 10, .burst = 3};

static void a_bucket_gives_its_burst_then_its_rate(void)
{
    uint64_t bucket = 0;
    uint64_t now = 1000;
    for (int i = 0; i < 3; i++)
        CU_ASSERT_TRUE(bucket_take(&bucket, &rate, now));
    CU_ASSERT_FALSE(bucket_take(&bucket, &rate, now));
    CU_ASSERT_FALSE(bucket_take(&bucket, &rate, now + 9));
    CU_ASSERT_TRUE(bucket_take(&bucket, &rate, now + 10));
    CU_ASSERT_FALSE(bucket_take(&bucket, &rate, now + 10));
    for (int i = 0; i < 3; i++)
        CU_ASSERT_TRUE(bucket_take(&bucket, &rate, now + 1000));
    CU_ASSERT_FALSE(bucket_take(&bucket, &rate, now + 1000));
}

static void whether_there_is_one_changes_nothing(void)
{
    uint64_t bucket = 0;
    for (int i = 0; i < 10; i++)
        CU_ASSERT_TRUE(bucket_has(bucket, &rate, 500));
    for (int i = 0; i < 3; i++)
        CU_ASSERT_TRUE(bucket_take(&bucket, &rate, 500));
    CU_ASSERT_FALSE(bucket_has(bucket, &rate, 509));
    CU_ASSERT_TRUE(bucket_has(bucket, &rate, 510));
    CU_ASSERT_TRUE(bucket_take(&bucket, &rate, 510));
}

static void what_is_given_back_can_be_taken_again(void)
{
    uint64_t bucket = 0;
    for (int i = 0; i < 3; i++)
        CU_ASSERT_TRUE(bucket_take(&bucket, &rate, 500));
    bucket_return(&bucket, &rate, 2);
    CU_ASSERT_TRUE(bucket_take(&bucket, &rate, 500));
    CU_ASSERT_TRUE(bucket_take(&bucket, &rate, 500));
    CU_ASSERT_FALSE(bucket_take(&bucket, &rate, 500));
}

/* However long it rested, and in whatever steps: never more than its burst and what came since. */
static void no_more_than_burst_and_rate(void)
{
    uint64_t bucket = 0, taken = 0, seed = 7;
    for (uint64_t now = 0; now < 20000; now += 1 + (seed >> 60)) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
        while (bucket_take(&bucket, &rate, now))
            taken++;
        CU_ASSERT(taken <= rate.burst + now / rate.interval);
        CU_ASSERT(taken + 1 >= now / rate.interval);
    }
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_bucket_gives_its_burst_then_its_rate),
    UNIT_TEST(whether_there_is_one_changes_nothing),
    UNIT_TEST(what_is_given_back_can_be_taken_again),
    UNIT_TEST(no_more_than_burst_and_rate),
};
UNIT_MAIN("bucket", tests)
