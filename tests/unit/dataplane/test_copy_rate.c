/* A bucket of bytes in ticks. */
#include "dataplane/copy_rate.h"
#include "tests/unit/unit.h"

#define TICKS_PER_S UINT64_C(1000000) /* so a burst is 10,000 ticks */
#define BURST (TICKS_PER_S / COPY_RATE_BURSTS_PER_S)
#define MIB (UINT64_C(1) << 20)
#define WAIT_MAX (TICKS_PER_S / 4)

/* Copies in pieces of so many bytes, whenever that is allowed, until a time.  Returns how many bytes. */
static uint64_t copied(struct copy_rate *c, uint64_t piece, uint64_t until)
{
    uint64_t bytes = 0;
    for (uint64_t now = 1; now < until; now++)
        while (copy_rate_allows(c, now)) {
            copy_rate_spend(c, piece, now);
            bytes += piece;
        }
    return bytes;
}

static void in_the_long_run_it_is_the_rate(void)
{
    struct copy_rate c;
    copy_rate_init(&c, 16 * MIB, TICKS_PER_S, WAIT_MAX);
    uint64_t bytes = copied(&c, 4096, 2 * TICKS_PER_S);
    /* two seconds, and a burst; a tick less than a byte costs is lost with each KiB */
    CU_ASSERT(bytes >= 32 * MIB && bytes <= 33 * MIB);
}

static void a_rest_is_worth_a_burst(void)
{
    struct copy_rate c;
    copy_rate_init(&c, MIB, TICKS_PER_S, WAIT_MAX);
    uint64_t now = 100 * TICKS_PER_S, pieces = 0;
    for (; copy_rate_allows(&c, now); pieces++)
        copy_rate_spend(&c, 1024, now);
    CU_ASSERT(pieces >= 10 && pieces <= 11); /* 10 ms at a KiB per ms */
    CU_ASSERT_FALSE(copy_rate_allows(&c, now));
    CU_ASSERT(copy_rate_allows(&c, now + 1000));
}

/* One piece leaves when the bucket is full, however long it is, and the next one waits for what it cost. */
static void what_is_longer_than_the_burst_leaves_too(void)
{
    struct copy_rate c;
    copy_rate_init(&c, MIB, TICKS_PER_S, WAIT_MAX);
    uint64_t now = 5;
    CU_ASSERT_TRUE(copy_rate_allows(&c, now));
    copy_rate_spend(&c, 100u << 10, now); /* 100 ms */
    uint64_t cost = 100 * (TICKS_PER_S / 1024);
    CU_ASSERT_FALSE(copy_rate_allows(&c, now + cost - BURST));
    CU_ASSERT_TRUE(copy_rate_allows(&c, now + cost - BURST + 1));
}

/* However slow the rate is: nobody waits for a piece until he takes it for lost. */
static void nobody_waits_longer_than_the_longest_wait(void)
{
    struct copy_rate c;
    copy_rate_init(&c, 1, TICKS_PER_S, WAIT_MAX);
    uint64_t now = 7;
    for (uint32_t i = 0; i < 3; i++, now += WAIT_MAX + 1) {
        CU_ASSERT_TRUE(copy_rate_allows(&c, now));
        copy_rate_spend(&c, COPY_RATE_BYTES_MAX, now);
        CU_ASSERT_FALSE(copy_rate_allows(&c, now + WAIT_MAX));
    }
}

static void without_a_rate_there_is_no_bound(void)
{
    struct copy_rate c;
    copy_rate_init(&c, 0, TICKS_PER_S, WAIT_MAX);
    for (uint32_t i = 0; i < 1000; i++) {
        CU_ASSERT_TRUE(copy_rate_allows(&c, 1));
        copy_rate_spend(&c, COPY_RATE_BYTES_MAX, 1);
    }
    struct copy_rate none = {0}; /* as it is before anybody says anything */
    copy_rate_spend(&none, 1, 0);
    CU_ASSERT_TRUE(copy_rate_allows(&none, 0));
}

/* The fastest links and the slowest clocks: still a bound, and no overflow on the way there. */
static void it_holds_at_its_ends(void)
{
    struct copy_rate c;
    copy_rate_init(&c, UINT64_C(1) << 40, TICKS_PER_S, WAIT_MAX);
    CU_ASSERT_EQUAL(c.ticks_per_kib, 1);
    copy_rate_init(&c, 1, UINT64_C(10000000000), UINT64_MAX >> 8);
    copy_rate_spend(&c, COPY_RATE_BYTES_MAX, 1);
    CU_ASSERT_EQUAL(c.paid_at, 1 + 4096 * UINT64_C(10000000000));
}

static const struct unit_test tests[] = {
    UNIT_TEST(in_the_long_run_it_is_the_rate),
    UNIT_TEST(a_rest_is_worth_a_burst),
    UNIT_TEST(what_is_longer_than_the_burst_leaves_too),
    UNIT_TEST(nobody_waits_longer_than_the_longest_wait),
    UNIT_TEST(without_a_rate_there_is_no_bound),
    UNIT_TEST(it_holds_at_its_ends),
};
UNIT_MAIN("copy_rate", tests)
