/* The judging rule: medians, intervals, verdicts, refusal, and how often a row is measured again.
 * Measurements are scripted; the values do not depend on time. */
#include "bench/pairs.h"
#include "tests/unit/unit.h"

static const struct pairs_goal most_1_3 = {PAIRS_AT_MOST, 1.3};
static const struct pairs_goal least_0_8 = {PAIRS_AT_LEAST, 0.8};

static void median_of_odd_and_even(void)
{
    double odd[] = {5, 1, 3}, even[] = {4, 1, 3, 2}, one[] = {7};
    CU_ASSERT_EQUAL(pairs_median(odd, 3), 3);
    CU_ASSERT_EQUAL(pairs_median(even, 4), 2.5);
    CU_ASSERT_EQUAL(pairs_median(one, 1), 7);
}

/* Ratios 1 .. n over a steady baseline: the interval shows how many were left out at each end.
 * The numbers are those of the sign test's table at 5 %, two-sided. */
static void check_interval(uint32_t count, double low, double high)
{
    double test[PAIRS_MAX], baseline[PAIRS_MAX];
    for (uint32_t i = 0; i < count; i++) {
        test[(i * 7) % count] =
            i + 1; /* 7 and count have no common divisor: all places are filled */
        baseline[i] = 1;
    }
    struct pairs_judgement j;
    pairs_judge(test, baseline, count, most_1_3, &j);
    CU_ASSERT_EQUAL(j.ratio_low, low);
    CU_ASSERT_EQUAL(j.ratio_high, high);
    CU_ASSERT_EQUAL(j.ratio, (count + 1) / 2.0);
}

static void interval_is_the_sign_tests(void)
{
    check_interval(6, 1, 6);
    check_interval(8, 1, 8);
    check_interval(9, 2, 8);
    check_interval(11, 2, 10);
    check_interval(12, 3, 10);
    check_interval(20, 6, 15);
    check_interval(25, 8, 18);
    check_interval(30, 10, 21);
}

/* count pairs whose ratio is ratio, but for odd ones of them. */
static enum pairs_verdict verdict_of(double ratio, double odd_ratio, uint32_t odd, uint32_t count,
                                     struct pairs_goal goal)
{
    double test[PAIRS_MAX], baseline[PAIRS_MAX];
    for (uint32_t i = 0; i < count; i++) {
        baseline[i] = 100 + i % 3;
        test[i] = baseline[i] * (i < odd ? odd_ratio : ratio);
    }
    struct pairs_judgement j;
    pairs_judge(test, baseline, count, goal, &j);
    return j.verdict;
}

static void verdict_needs_the_whole_interval(void)
{
    CU_ASSERT_EQUAL(verdict_of(1.2, 9, 0, 30, most_1_3), PAIRS_PASS);
    CU_ASSERT_EQUAL(verdict_of(1.2, 9, 9, 30, most_1_3), PAIRS_PASS);
    CU_ASSERT_EQUAL(verdict_of(1.2, 9, 10, 30, most_1_3), PAIRS_UNDECIDED);
    CU_ASSERT_EQUAL(verdict_of(1.2, 9, 20, 30, most_1_3), PAIRS_UNDECIDED);
    CU_ASSERT_EQUAL(verdict_of(1.2, 9, 21, 30, most_1_3), PAIRS_FAIL);
    CU_ASSERT_EQUAL(verdict_of(0.9, 0.1, 9, 30, least_0_8), PAIRS_PASS);
    CU_ASSERT_EQUAL(verdict_of(0.9, 0.1, 10, 30, least_0_8), PAIRS_UNDECIDED);
    CU_ASSERT_EQUAL(verdict_of(0.7, 0.1, 0, 30, least_0_8), PAIRS_FAIL);
    CU_ASSERT_EQUAL(verdict_of(5, 5, 0, 30, (struct pairs_goal){PAIRS_NO_GOAL, 0}),
                    PAIRS_UNDECIDED);
}

static void five_pairs_decide_nothing(void)
{
    CU_ASSERT_EQUAL(verdict_of(1.0, 1, 0, 5, most_1_3), PAIRS_UNDECIDED);
    CU_ASSERT_EQUAL(verdict_of(1.0, 1, 0, 6, most_1_3), PAIRS_PASS);
}

static void swing_is_judged_without_the_outer_tenths(void)
{
    double test[PAIRS_MAX], baseline[PAIRS_MAX];
    for (uint32_t i = 0; i < PAIRS_MAX; i++)
        test[i] = baseline[i] = 100 + i % 2 * 19;
    struct pairs_judgement j;
    baseline[4] = baseline[12] = baseline[20] = 1000; /* a tenth of the pairs met a neighbour */
    pairs_judge(test, baseline, PAIRS_MAX, most_1_3, &j);
    CU_ASSERT_FALSE(j.refused);
    CU_ASSERT_EQUAL(j.verdict, PAIRS_PASS);
    baseline[5] = 1000; /* one more */
    pairs_judge(test, baseline, PAIRS_MAX, most_1_3, &j);
    CU_ASSERT_TRUE(j.refused);
    CU_ASSERT_EQUAL(j.verdict, PAIRS_UNDECIDED);
}

/* A side that plays back: value is base, and while swings are left alternates with five times that.
 */
struct script {
    double base;
    uint32_t swinging; /* measurements that swing */
    uint32_t calls;
    int error;
};

static int play(void *context, uint64_t duration_ns, double *value)
{
    struct script *s = context;
    (void)duration_ns;
    bool high = s->calls < s->swinging && s->calls % 2 == 1;
    s->calls++;
    *value = high ? s->base * 5 : s->base;
    return s->error;
}

#define BUDGET_NS (UINT64_C(3600) * NS_PER_S) /* scripts take none of it */

static void a_steady_baseline_is_measured_once(void)
{
    struct script test = {.base = 120}, first = {.base = 100}, second = {.base = 200};
    struct pairs_side side = {play, &test};
    struct pairs_baseline baselines[] = {{{play, &first}, most_1_3}, {{play, &second}, least_0_8}};
    struct pairs_judgement j[2];
    CU_ASSERT_EQUAL(pairs_run(&side, baselines, 2, BUDGET_NS, j), 0);
    CU_ASSERT_EQUAL(test.calls, PAIRS_MAX);
    CU_ASSERT_EQUAL(first.calls, PAIRS_MAX);
    CU_ASSERT_EQUAL(j[0].pairs, PAIRS_MAX);
    CU_ASSERT_EQUAL(j[0].repeats, 0);
    CU_ASSERT_EQUAL(j[0].verdict, PAIRS_PASS);
    CU_ASSERT_DOUBLE_EQUAL(j[0].ratio, 1.2, 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(j[1].ratio, 0.6, 1e-9);
    CU_ASSERT_EQUAL(j[1].verdict, PAIRS_FAIL);
}

static void a_swinging_row_alone_is_repeated(void)
{
    struct script test = {.base = 120}, calm = {.base = 100};
    struct script wild = {.base = 100, .swinging = 2 * PAIRS_MAX};
    struct pairs_side side = {play, &test};
    struct pairs_baseline baselines[] = {{{play, &calm}, most_1_3}, {{play, &wild}, most_1_3}};
    struct pairs_judgement j[2];
    CU_ASSERT_EQUAL(pairs_run(&side, baselines, 2, BUDGET_NS, j), 0);
    CU_ASSERT_EQUAL(calm.calls, PAIRS_MAX);
    CU_ASSERT_EQUAL(wild.calls, 3 * PAIRS_MAX); /* swung, swung again, was calm */
    CU_ASSERT_EQUAL(test.calls, 3 * PAIRS_MAX);
    CU_ASSERT_EQUAL(j[1].repeats, 2);
    CU_ASSERT_FALSE(j[1].refused);
    CU_ASSERT_EQUAL(j[1].verdict, PAIRS_PASS);
}

static void after_three_repeats_it_is_refused(void)
{
    struct script test = {.base = 120}, wild = {.base = 100, .swinging = UINT32_MAX};
    struct pairs_side side = {play, &test};
    struct pairs_baseline baseline = {{play, &wild}, most_1_3};
    struct pairs_judgement j;
    CU_ASSERT_EQUAL(pairs_run(&side, &baseline, 1, BUDGET_NS, &j), 0);
    CU_ASSERT_EQUAL(wild.calls, 4 * PAIRS_MAX);
    CU_ASSERT_EQUAL(j.repeats, 3);
    CU_ASSERT_TRUE(j.refused);
}

static void no_time_means_one_round_and_no_verdict(void)
{
    struct script test = {.base = 120}, calm = {.base = 100};
    struct pairs_side side = {play, &test};
    struct pairs_baseline baseline = {{play, &calm}, most_1_3};
    struct pairs_judgement j;
    CU_ASSERT_EQUAL(pairs_run(&side, &baseline, 1, 0, &j), 0);
    CU_ASSERT_EQUAL(calm.calls, 1);
    CU_ASSERT_EQUAL(j.verdict, PAIRS_UNDECIDED);
}

static void an_error_of_a_side_ends_the_run(void)
{
    struct script test = {.base = 120}, broken = {.base = 100, .error = -EIO};
    struct pairs_side side = {play, &test};
    struct pairs_baseline baseline = {{play, &broken}, most_1_3};
    struct pairs_judgement j;
    CU_ASSERT_EQUAL(pairs_run(&side, &baseline, 1, BUDGET_NS, &j), -EIO);
    CU_ASSERT_EQUAL(broken.calls, 1);
}

static const struct unit_test tests[] = {
    UNIT_TEST(median_of_odd_and_even),
    UNIT_TEST(interval_is_the_sign_tests),
    UNIT_TEST(verdict_needs_the_whole_interval),
    UNIT_TEST(five_pairs_decide_nothing),
    UNIT_TEST(swing_is_judged_without_the_outer_tenths),
    UNIT_TEST(a_steady_baseline_is_measured_once),
    UNIT_TEST(a_swinging_row_alone_is_repeated),
    UNIT_TEST(after_three_repeats_it_is_refused),
    UNIT_TEST(no_time_means_one_round_and_no_verdict),
    UNIT_TEST(an_error_of_a_side_ends_the_run),
};
UNIT_MAIN("pairs", tests)
