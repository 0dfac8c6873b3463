/* pairs - the judging rule of DESIGN section 10: is a thing as fast as a goal says, held against
 * its baseline in the same run.
 *
 * Test and baseline are measured in turn, up to PAIRS_MAX times, in an order that reverses each
 * round, so that whatever drifts (clocks, neighbours on the machine, caches) meets both.  Each pair
 * gives a ratio test / baseline; what is judged is their median and its 95 % interval by order
 * statistics: of n independent ratios the k smallest and k greatest are left out, k being the most
 * for which that many or fewer fall on one side of the true median with probability 2.5 % or less
 * (binomial, p = 1/2; Hollander, Wolfe, "Nonparametric Statistical Methods", 3.6).
 *
 *   pass       the whole interval meets the goal
 *   fail       the whole interval misses it
 *   undecided  the goal lies in the interval, there were fewer than PAIRS_MIN pairs, or the row is
 *              refused
 *
 * A baseline's swing is the range of its values, without the smallest and the greatest tenth, over
 * their median.  Above PAIRS_SWING_MAX the machine was not quiet enough to say anything: the row is
 * measured again up to PAIRS_REPEATS times and then refused. */
#ifndef DUNLIN_BENCH_PAIRS_H
#define DUNLIN_BENCH_PAIRS_H

#include "engine/base.h"

#define PAIRS_MAX 30u
#define PAIRS_MIN 6u /* with fewer no 95 % interval exists */
#define PAIRS_REPEATS 3u
#define PAIRS_SWING_MAX 0.20
#define PAIRS_BASELINES_MAX 4u

enum pairs_direction {
    PAIRS_NO_GOAL,  /* the ratio is for information; its verdict is PAIRS_UNDECIDED */
    PAIRS_AT_MOST,  /* times, costs: ratio <= limit */
    PAIRS_AT_LEAST, /* rates: ratio >= limit */
};

struct pairs_goal {
    enum pairs_direction direction;
    double limit;
};

enum pairs_verdict { PAIRS_PASS, PAIRS_FAIL, PAIRS_UNDECIDED };

struct pairs_judgement {
    uint32_t pairs;
    uint32_t repeats; /* times it was measured again because the baseline swung */
    double test_median;
    double baseline_median;
    double ratio; /* median of the pair ratios */
    double ratio_low, ratio_high;
    double baseline_swing;
    enum pairs_verdict verdict;
    bool refused;
};

const char *pairs_verdict_name(enum pairs_verdict verdict);

/* Median of count values; the caller's array is sorted. */
double pairs_median(double *values, uint32_t count);

/* Judge count (1 .. PAIRS_MAX) pairs of values, all above 0. */
void pairs_judge(const double *test, const double *baseline, uint32_t count, struct pairs_goal goal,
                 struct pairs_judgement *judgement);

/* One measurement: run for about duration_ns and give one value, greater than 0.
 * Returns 0 or -errno, which ends the whole run. */
typedef int (*pairs_measure)(void *context, uint64_t duration_ns, double *value);

struct pairs_side {
    pairs_measure measure;
    void *context;
};

struct pairs_baseline {
    struct pairs_side side;
    struct pairs_goal goal;
};

/* Measure test against count (1 .. PAIRS_BASELINES_MAX) baselines in one series of rounds, and
 * judge each.  budget_ns bounds all of it: about half for the first series, the rest for repeating
 * the rows whose baselines swung; a repeat that has no time left is not made, and the row is
 * refused. Returns 0 or what a measurement returned. */
MUST_USE int pairs_run(const struct pairs_side *test, const struct pairs_baseline *baselines,
                       uint32_t count, uint64_t budget_ns, struct pairs_judgement *judgements);

#endif
