/* The tree of losers against looking at all sequences. */
#include "engine/agent/merge.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define SEQUENCES_MAX 37u
#define LENGTH_MAX 60u

/* Elements are pairs, of which the rank is the first half: many ranks are equal. */
static struct sequence {
    uint32_t at, count;
    uint64_t ranks[LENGTH_MAX], rests[LENGTH_MAX];
} sequences[SEQUENCES_MAX];

static struct merge_node losers[64];
static uint64_t seed = 1;

static uint64_t below(uint64_t n)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (seed >> 33) % n;
}

static uint64_t rank(const void *context, uint32_t i)
{
    const struct sequence *s = (const struct sequence *)context + i;
    return s->at < s->count ? s->ranks[s->at] : UINT64_MAX;
}

static bool before(const void *context, uint32_t a, uint32_t b)
{
    const struct sequence *one = (const struct sequence *)context + a;
    const struct sequence *other = (const struct sequence *)context + b;
    if (one->at == one->count || other->at == other->count)
        return one->at != one->count;
    return one->rests[one->at] < other->rests[other->at];
}

/* Ranks up to `ranks`, the greatest of them UINT64_MAX, in order; no pair comes twice. */
static void fill(uint32_t count, uint64_t ranks)
{
    for (uint32_t i = 0; i < count; i++) {
        struct sequence *s = &sequences[i];
        s->at = 0;
        s->count = (uint32_t)below(LENGTH_MAX + 1);
        for (uint32_t j = 0; j < s->count; j++) {
            uint64_t step = (uint64_t)j * ranks / LENGTH_MAX;
            s->ranks[j] = step + 1 >= ranks ? UINT64_MAX : step;
            s->rests[j] = (uint64_t)j * SEQUENCES_MAX + i;
        }
    }
}

/* The sequence whose element is the smallest; count: all have ended. */
static uint32_t smallest(uint32_t count)
{
    uint32_t least = count;
    for (uint32_t i = 0; i < count; i++) {
        if (sequences[i].at == sequences[i].count)
            continue;
        if (least == count || rank(sequences, i) < rank(sequences, least) ||
            (rank(sequences, i) == rank(sequences, least) && before(sequences, i, least)))
            least = i;
    }
    return least;
}

static void merge_all(uint32_t count, uint64_t ranks)
{
    struct merge m = {
        .count = count, .losers = losers, .rank = rank, .before = before, .context = sequences};
    fill(count, ranks);
    merge_build(&m);
    for (uint32_t left = smallest(count); left != count; left = smallest(count)) {
        CU_ASSERT_EQUAL_FATAL(m.first, left);
        sequences[left].at++;
        if (below(40) == 0)
            merge_build(&m);
        else
            merge_next(&m, rank(sequences, left));
    }
    CU_ASSERT_FATAL(m.first >= count || sequences[m.first].at == sequences[m.first].count);
}

static void the_first_is_the_smallest(void)
{
    static const uint64_t ranks[] = {1, 2, 7, 1000};
    CU_ASSERT_EQUAL(merge_size(1), 1);
    CU_ASSERT_EQUAL(merge_size(2), 2);
    CU_ASSERT_EQUAL(merge_size(SEQUENCES_MAX), 64);
    for (uint32_t round = 0; round < 20; round++)
        for (uint32_t count = 1; count <= SEQUENCES_MAX; count++)
            for (uint32_t i = 0; i < 4; i++)
                merge_all(count, ranks[i]);
}

static const struct unit_test tests[] = {UNIT_TEST(the_first_is_the_smallest)};
UNIT_MAIN("merge", tests)
