/* The histogram's promises: exact below 128, 0.8 % above, mergeable, nothing lost at the ends. */
#include "bench/histogram.h"
#include "tests/unit/unit.h"

static struct histogram h, other;

static void small_values_are_exact(void)
{
    histogram_reset(&h);
    for (uint64_t value = 0; value < 128; value++)
        histogram_add(&h, value);
    CU_ASSERT_EQUAL(histogram_count(&h), 128);
    CU_ASSERT_EQUAL(histogram_max(&h), 127);
    CU_ASSERT_EQUAL(histogram_percentile(&h, 0), 0);
    CU_ASSERT_EQUAL(histogram_percentile(&h, 0.5), 63);
    CU_ASSERT_EQUAL(histogram_percentile(&h, 1), 127);
    CU_ASSERT_DOUBLE_EQUAL(histogram_mean(&h), 63.5, 1e-9);
}

/* Every value lies in the bucket that ends at or above it, and the one before ends below it. */
static void buckets_cover_all_values_once(void)
{
    uint64_t wrong = 0;
    for (uint64_t value = 1; value < UINT64_C(1) << HISTOGRAM_VALUE_BITS; value += value / 97 + 1) {
        uint32_t bucket = histogram_bucket(value);
        wrong += histogram_bucket_value(bucket) < value;
        wrong += histogram_bucket_value(bucket - 1) >= value;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    uint64_t previous = 0;
    for (uint32_t bucket = 1; bucket < HISTOGRAM_BUCKETS; bucket++) {
        wrong += histogram_bucket_value(bucket) <= previous;
        previous = histogram_bucket_value(bucket);
        wrong += histogram_bucket(previous) != bucket;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(previous, (UINT64_C(1) << HISTOGRAM_VALUE_BITS) - 1);
}

static void percentiles_are_within_a_bucket(void)
{
    histogram_reset(&h);
    for (uint64_t value = 1; value <= 1000000; value++)
        histogram_add(&h, value);
    static const double fractions[] = {0.001, 0.01, 0.5, 0.9, 0.99, 0.999, 0.9999};
    for (size_t i = 0; i < sizeof fractions / sizeof fractions[0]; i++) {
        double exact = fractions[i] * 1e6;
        double got = (double)histogram_percentile(&h, fractions[i]);
        CU_ASSERT(got >= exact - 0.5 && got <= exact * 1.008 + 1);
    }
    CU_ASSERT_EQUAL(histogram_percentile(&h, 1), 1000000);
}

static void values_beyond_the_range_count_and_keep_their_max(void)
{
    histogram_reset(&h);
    histogram_add(&h, UINT64_MAX);
    histogram_add(&h, UINT64_C(1) << HISTOGRAM_VALUE_BITS);
    CU_ASSERT_EQUAL(histogram_count(&h), 2);
    CU_ASSERT_EQUAL(histogram_max(&h), UINT64_MAX);
    CU_ASSERT_EQUAL(histogram_percentile(&h, 0.5), (UINT64_C(1) << HISTOGRAM_VALUE_BITS) - 1);
}

static void an_empty_one_says_zero(void)
{
    histogram_reset(&h);
    CU_ASSERT_EQUAL(histogram_count(&h), 0);
    CU_ASSERT_EQUAL(histogram_percentile(&h, 0.99), 0);
    CU_ASSERT_EQUAL(histogram_mean(&h), 0);
}

static void merging_is_adding_the_values_of_both(void)
{
    histogram_reset(&h);
    histogram_reset(&other);
    for (uint64_t value = 0; value < 1000; value++)
        histogram_add(value % 3 == 0 ? &h : &other, value * value);
    histogram_add_many(&other, 7, 5);
    histogram_merge(&h, &other);
    CU_ASSERT_EQUAL(histogram_count(&h), 1005);
    CU_ASSERT_EQUAL(histogram_max(&h), 999 * 999);
    CU_ASSERT_DOUBLE_EQUAL(histogram_mean(&h), (999.0 * 1000 * 1999 / 6 + 35) / 1005, 1e-6);
    uint64_t median = histogram_percentile(&h, 0.5);
    CU_ASSERT(median >= 497 * 497 && median <= 499 * 499 * 1008 / 1000);
    CU_ASSERT_EQUAL(histogram_count(&other), 671);
    histogram_reset(&h);
    histogram_merge(&h, &other);
    CU_ASSERT_EQUAL(histogram_max(&h), 998 * 998);
    CU_ASSERT_EQUAL(histogram_percentile(&h, 1), 998 * 998);
}

static const struct unit_test tests[] = {
    UNIT_TEST(small_values_are_exact),
    UNIT_TEST(buckets_cover_all_values_once),
    UNIT_TEST(percentiles_are_within_a_bucket),
    UNIT_TEST(values_beyond_the_range_count_and_keep_their_max),
    UNIT_TEST(an_empty_one_says_zero),
    UNIT_TEST(merging_is_adding_the_values_of_both),
};
UNIT_MAIN("histogram", tests)
