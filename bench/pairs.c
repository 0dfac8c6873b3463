#include "bench/pairs.h"

#include "engine/clock.h"

#include <stdlib.h>
#include <string.h>

#define SLOT_MIN_NS (2 * NS_PER_MS) /* below this a measurement is mostly its own start */

const char *pairs_verdict_name(enum pairs_verdict verdict)
{
    static const char *const names[] = {"pass", "fail", "undecided"};
    return names[verdict];
}

static int compare_values(const void *a, const void *b)
{
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

double pairs_median(double *values, uint32_t count)
{
    ASSERT(count > 0);
    qsort(values, count, sizeof *values, compare_values);
    uint32_t middle = count / 2;
    return count % 2 != 0 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

/* How many of count sorted ratios to leave out at each end; count itself when too few. */
static uint32_t interval_cut(uint32_t count)
{
    double probability = 1; /* of exactly k of count on one side, times 2^count */
    double tail = 0;
    double limit = 0.025;
    for (uint32_t i = 0; i < count; i++)
        limit *= 2;
    for (uint32_t k = 0; k < count; k++) {
        tail += probability;
        if (tail > limit)
            return k == 0 ? count : k - 1;
        probability = probability * (count - k) / (k + 1);
    }
    return count;
}

static double swing_of(const double *values, uint32_t count)
{
    double sorted[PAIRS_MAX];
    memcpy(sorted, values, count * sizeof *values);
    double median = pairs_median(sorted, count);
    uint32_t cut = count / 10;
    return (sorted[count - 1 - cut] - sorted[cut]) / median;
}

void pairs_judge(const double *test, const double *baseline, uint32_t count, struct pairs_goal goal,
                 struct pairs_judgement *judgement)
{
    ASSERT(count >= 1 && count <= PAIRS_MAX);
    double ratios[PAIRS_MAX], copy[PAIRS_MAX];
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(test[i] > 0 && baseline[i] > 0);
        ratios[i] = test[i] / baseline[i];
    }
    *judgement = (struct pairs_judgement){.pairs = count};
    judgement->ratio = pairs_median(ratios, count); /* sorts them */
    memcpy(copy, test, count * sizeof *copy);
    judgement->test_median = pairs_median(copy, count);
    memcpy(copy, baseline, count * sizeof *copy);
    judgement->baseline_median = pairs_median(copy, count);
    judgement->baseline_swing = swing_of(baseline, count);
    judgement->refused = judgement->baseline_swing > PAIRS_SWING_MAX;

    uint32_t cut = interval_cut(count);
    bool known = cut < count;
    judgement->ratio_low = ratios[known ? cut : 0];
    judgement->ratio_high = ratios[count - 1 - (known ? cut : 0)];
    bool most = goal.direction == PAIRS_AT_MOST;
    double worst = most ? judgement->ratio_high : judgement->ratio_low;
    double best = most ? judgement->ratio_low : judgement->ratio_high;
    bool worst_meets = most ? worst <= goal.limit : worst >= goal.limit;
    bool best_meets = most ? best <= goal.limit : best >= goal.limit;
    if (!known || judgement->refused || goal.direction == PAIRS_NO_GOAL)
        judgement->verdict = PAIRS_UNDECIDED;
    else
        judgement->verdict = worst_meets ? PAIRS_PASS : best_meets ? PAIRS_UNDECIDED : PAIRS_FAIL;
}

/* One series: sides in turn, the order reversed each round, until PAIRS_MAX rounds or the deadline.
 */
struct series {
    const struct pairs_side *sides[1 + PAIRS_BASELINES_MAX];
    uint32_t side_count;
    uint32_t rounds;
    double values[1 + PAIRS_BASELINES_MAX][PAIRS_MAX];
};

static int series_run(struct series *s, uint64_t budget_ns)
{
    uint64_t slot_ns = max_u64(budget_ns / PAIRS_MAX / s->side_count, SLOT_MIN_NS);
    uint64_t deadline_ns = clock_boottime_ns() + budget_ns;
    s->rounds = 0;
    while (s->rounds < PAIRS_MAX) {
        uint64_t began_ns = clock_boottime_ns();
        for (uint32_t i = 0; i < s->side_count; i++) {
            uint32_t side = s->rounds % 2 == 0 ? i : s->side_count - 1 - i;
            int rc = s->sides[side]->measure(s->sides[side]->context, slot_ns,
                                             &s->values[side][s->rounds]);
            if (rc != 0)
                return rc;
        }
        s->rounds++;
        uint64_t now_ns = clock_boottime_ns();
        if (now_ns + (now_ns - began_ns) > deadline_ns)
            break;
    }
    return 0;
}

static int repeat_row(const struct pairs_side *test, const struct pairs_baseline *baseline,
                      uint64_t deadline_ns, struct pairs_judgement *judgement)
{
    struct series s = {.sides = {test, &baseline->side}, .side_count = 2};
    for (uint32_t repeat = 1; judgement->refused && repeat <= PAIRS_REPEATS; repeat++) {
        uint64_t now_ns = clock_boottime_ns();
        uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
        uint64_t share_ns = left_ns / (PAIRS_REPEATS + 1 - repeat);
        if (share_ns < UINT64_C(2) * PAIRS_MIN * SLOT_MIN_NS)
            break;
        int rc = series_run(&s, share_ns);
        if (rc != 0)
            return rc;
        pairs_judge(s.values[0], s.values[1], s.rounds, baseline->goal, judgement);
        judgement->repeats = repeat;
    }
    return 0;
}

int pairs_run(const struct pairs_side *test, const struct pairs_baseline *baselines, uint32_t count,
              uint64_t budget_ns, struct pairs_judgement *judgements)
{
    ASSERT(count >= 1 && count <= PAIRS_BASELINES_MAX);
    uint64_t deadline_ns = clock_boottime_ns() + budget_ns;
    struct series s = {.sides = {test}, .side_count = count + 1};
    for (uint32_t i = 0; i < count; i++)
        s.sides[i + 1] = &baselines[i].side;
    int rc = series_run(&s, budget_ns / 2);
    if (rc != 0)
        return rc;
    uint32_t refused = 0;
    for (uint32_t i = 0; i < count; i++) {
        pairs_judge(s.values[0], s.values[i + 1], s.rounds, baselines[i].goal, &judgements[i]);
        refused += judgements[i].refused;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!judgements[i].refused)
            continue;
        uint64_t now_ns = clock_boottime_ns();
        uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
        rc = repeat_row(test, &baselines[i], now_ns + left_ns / refused, &judgements[i]);
        if (rc != 0)
            return rc;
        refused--;
    }
    return 0;
}
