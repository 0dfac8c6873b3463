/* Datagrams put together, and the pace at which frames leave. */
#include "dataplane/fragments.h"
#include "dataplane/pacing.h"
#include "tests/unit/unit.h"

#define PLACES 3u
#define CAPACITY 4000u
#define PIECE 448u

static struct fragments f;
static alignas(CACHE_LINE) uint8_t memory[PLACES * 4032];
static struct fragments_place *place;
static uint64_t now;

static void open(void)
{
    CU_ASSERT_EQUAL_FATAL(sizeof memory, fragments_bytes(PLACES, CAPACITY));
    memset(memory, 0xee, sizeof memory);
    fragments_init(&f, memory, PLACES, CAPACITY);
    f.timeout = 100;
    now = 1000;
    place = NULL;
}

static uint8_t octet(uint64_t first, uint32_t at)
{
    return (uint8_t)(first * 7 + at * 3 + at / 256);
}

static struct frame_header header_of(uint64_t first, uint32_t length, uint32_t index)
{
    return (struct frame_header){.nonce = first + index,
                                 .index = (uint16_t)index,
                                 .length = length,
                                 .piece = PIECE,
                                 .head_length = 8};
}

/* Fragment index of the datagram that begins at that nonce. */
static int take(uint64_t first, uint32_t length, uint32_t index)
{
    struct frame_header h = header_of(first, length, index);
    uint8_t payload[PIECE];
    for (uint32_t i = 0; i < PIECE; i++)
        payload[i] = octet(first, index * PIECE + i);
    CU_ASSERT_TRUE(frame_is_sound(&h, frame_payload(8 + length, PIECE, index)));
    return fragments_take(&f, &h, payload, now, &place);
}

static bool is_whole(uint64_t first, uint32_t length)
{
    bool same = place != NULL && place->first == first && place->length == length;
    for (uint32_t i = 0; same && i < 8 + length; i++)
        same = place->bytes[i] == octet(first, i);
    return same;
}

static void any_order_makes_it_whole(void)
{
    static const uint32_t orders[][4] = {
        {0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}, {1, 3, 0, 2}, {3, 0, 1, 2}};
    open();
    for (uint32_t o = 0; o < 5; o++)
        for (uint32_t length = 3 * PIECE - 7; length <= 4 * PIECE - 8; length += 53) {
            uint64_t first = 1 + 4 * (uint64_t)length;
            for (uint32_t i = 0; i < 3; i++)
                CU_ASSERT_EQUAL(take(first, length, orders[o][i]), 0);
            CU_ASSERT_EQUAL(f.filling, 1);
            CU_ASSERT_EQUAL_FATAL(take(first, length, orders[o][3]), 1);
            CU_ASSERT_TRUE(is_whole(first, length));
            CU_ASSERT_EQUAL(f.filling, 0);
            fragments_release(&f, place);
        }
}

static void datagrams_may_be_interleaved(void)
{
    open();
    for (uint32_t i = 0; i < 2; i++)
        for (uint64_t first = 10; first <= 30; first += 10)
            CU_ASSERT_EQUAL(take(first, 3 * PIECE - 8, i), 0);
    for (uint64_t first = 30; first >= 10; first -= 10) {
        CU_ASSERT_EQUAL(take(first, 3 * PIECE - 8, 2), 1);
        CU_ASSERT_TRUE(is_whole(first, 3 * PIECE - 8));
    }
    CU_ASSERT_EQUAL(f.evicted + f.timed_out, 0);
}

static void a_lost_fragment_drops_its_datagram_alone(void)
{
    open();
    CU_ASSERT_EQUAL(take(10, 1000, 0), 0);
    CU_ASSERT_EQUAL(take(10, 1000, 2), 0);
    now += 50;
    CU_ASSERT_EQUAL(take(20, 1000, 0), 0);
    now += 49;
    fragments_expire(&f, now);
    CU_ASSERT_EQUAL(f.timed_out, 0);
    now++;
    fragments_expire(&f, now);
    CU_ASSERT_EQUAL(f.timed_out, 1);
    CU_ASSERT_EQUAL(f.filling, 1);
    CU_ASSERT_EQUAL(take(20, 1000, 1), 0);
    CU_ASSERT_EQUAL(take(20, 1000, 2), 1);
    CU_ASSERT_TRUE(is_whole(20, 1000));
    /* The one that was late finds nothing of its datagram any more. */
    CU_ASSERT_EQUAL(take(10, 1000, 1), 0);
    now += 100;
    fragments_expire(&f, now);
    CU_ASSERT_EQUAL(f.timed_out, 2);
    CU_ASSERT_EQUAL(f.filling, 0);
}

static void a_whole_datagram_does_not_expire(void)
{
    open();
    CU_ASSERT_EQUAL(take(10, 500, 0), 0);
    CU_ASSERT_EQUAL(take(10, 500, 1), 1);
    now += 1000000;
    fragments_expire(&f, now);
    CU_ASSERT_TRUE(is_whole(10, 500));
    CU_ASSERT_EQUAL(f.timed_out, 0);
}

static void a_doubled_fragment_counts_once(void)
{
    open();
    CU_ASSERT_EQUAL(take(10, 1000, 0), 0);
    CU_ASSERT_EQUAL(take(10, 1000, 0), 0);
    CU_ASSERT_EQUAL(take(10, 1000, 0), 0);
    CU_ASSERT_EQUAL(f.doubled, 2);
    CU_ASSERT_EQUAL(take(10, 1000, 1), 0);
    CU_ASSERT_EQUAL(take(10, 1000, 2), 1);
    CU_ASSERT_EQUAL(take(10, 1000, 1), 0); /* already handed out */
    CU_ASSERT_EQUAL(f.doubled, 3);
    CU_ASSERT_TRUE(is_whole(10, 1000));
}

static void fragments_that_disagree_are_dropped(void)
{
    uint8_t payload[1024] = {0};
    open();
    CU_ASSERT_EQUAL(take(10, 1000, 0), 0);
    struct frame_header h = header_of(10, 1001, 1);
    CU_ASSERT_EQUAL(fragments_take(&f, &h, payload, now, &place), 0);
    h = header_of(10, 1000, 1);
    h.piece = 456; /* would overlap */
    CU_ASSERT_EQUAL(fragments_take(&f, &h, payload, now, &place), 0);
    h = header_of(10, 1000, 1);
    h.head_length = 7;
    CU_ASSERT_EQUAL(fragments_take(&f, &h, payload, now, &place), 0);
    CU_ASSERT_EQUAL(f.unlike, 3);
    CU_ASSERT_EQUAL(take(10, 1000, 1), 0);
    CU_ASSERT_EQUAL(take(10, 1000, 2), 1);
    CU_ASSERT_TRUE(is_whole(10, 1000));
}

static void what_is_longer_than_the_memory_is_dropped(void)
{
    open();
    CU_ASSERT_EQUAL(take(10, CAPACITY - 7, 0), 0);
    CU_ASSERT_EQUAL(f.too_long, 1);
    CU_ASSERT_EQUAL(f.filling, 0);
    CU_ASSERT_EQUAL(take(10, FRAME_LENGTH_MAX, 100), 0);
    CU_ASSERT_EQUAL(f.too_long, 2);
    uint32_t fragments = frame_fragments(CAPACITY, PIECE);
    for (uint32_t i = 0; i < fragments; i++)
        CU_ASSERT_EQUAL(take(1000, CAPACITY - 8, i), i + 1 == fragments);
    CU_ASSERT_TRUE(is_whole(1000, CAPACITY - 8));
}

static void a_new_datagram_takes_the_oldest_place(void)
{
    open();
    for (uint64_t first = 10; first <= 30; first += 10, now++)
        CU_ASSERT_EQUAL(take(first, 500, 0), 0);
    CU_ASSERT_EQUAL(take(40, 500, 0), 0);
    CU_ASSERT_EQUAL(f.evicted, 1);
    CU_ASSERT_EQUAL(f.filling, 3);
    for (uint64_t first = 40; first >= 20; first -= 10) {
        CU_ASSERT_EQUAL(take(first, 500, 1), 1);
        CU_ASSERT_TRUE(is_whole(first, 500));
        fragments_release(&f, place);
    }
    CU_ASSERT_EQUAL(take(10, 500, 1), 0); /* was dropped */
    CU_ASSERT_EQUAL(f.filling, 1);
}

static void whole_datagrams_are_never_overwritten(void)
{
    struct fragments_place *whole[PLACES];
    open();
    for (uint32_t i = 0; i < PLACES; i++) {
        CU_ASSERT_EQUAL(take(10 * (i + 1), 500, 0), 0);
        CU_ASSERT_EQUAL(take(10 * (i + 1), 500, 1), 1);
        whole[i] = place;
    }
    CU_ASSERT_EQUAL(take(90, 500, 0), -EBUSY);
    for (uint32_t i = 0; i < PLACES; i++) {
        place = whole[i];
        CU_ASSERT_TRUE(is_whole(10 * (i + 1), 500));
    }
    fragments_release(&f, whole[1]);
    CU_ASSERT_EQUAL(take(90, 500, 0), 0);
    CU_ASSERT_EQUAL(take(90, 500, 1), 1);
    CU_ASSERT_TRUE(is_whole(90, 500));
    CU_ASSERT_EQUAL(f.evicted, 0);
}

/* ---- pacing ---- */

static struct pacing pace;

static uint64_t sent_within(uint64_t ns, uint64_t step, uint64_t bytes)
{
    uint64_t sent = 0;
    for (uint64_t end = now + ns; now < end; now += step) {
        pacing_tick(&pace, now);
        for (; pacing_may_send(&pace); sent += bytes)
            pacing_sent(&pace, bytes);
    }
    return sent;
}

static void no_rate_is_no_limit(void)
{
    pacing_init(&pace, 0, 0, 5);
    for (uint32_t i = 0; i < 1000; i++) {
        CU_ASSERT_TRUE(pacing_may_send(&pace));
        pacing_sent(&pace, UINT64_C(1) << 30);
    }
    CU_ASSERT_EQUAL(pacing_wait(&pace), 0);
}

static void the_burst_leaves_at_once_then_the_rate_holds(void)
{
    static const uint64_t steps[] = {1, 333, 1000, 777777};
    for (uint32_t i = 0; i < 4; i++) {
        now = 5;
        pacing_init(&pace, 1500000, 10000, now);
        pacing_tick(&pace, now);
        uint64_t burst = 0;
        for (; pacing_may_send(&pace); burst += 100)
            pacing_sent(&pace, 100);
        CU_ASSERT_EQUAL(burst, 10000);
        uint64_t sent = sent_within(10 * NS_PER_MS, steps[i], 100);
        CU_ASSERT(sent <= 15000 + 100);
        CU_ASSERT(sent >= 15000 - 1200 - 100); /* of the last step */
    }
}

static void idle_time_saves_no_more_than_the_burst(void)
{
    now = 5;
    pacing_init(&pace, PACING_RATE_MAX, PACING_BURST_MAX, now);
    pacing_tick(&pace, UINT64_MAX); /* sums that fit */
    CU_ASSERT_EQUAL(pace.tokens, (int64_t)PACING_BURST_MAX);
    pacing_init(&pace, 1000, 500, now);
    now += 3600 * NS_PER_S;
    CU_ASSERT(sent_within(1, 1, 100) == 500);
    pacing_tick(&pace, 1); /* a clock that went back */
    CU_ASSERT_FALSE(pacing_may_send(&pace));
}

static void a_frame_longer_than_the_burst_leaves_and_is_paid_for(void)
{
    now = 5;
    pacing_init(&pace, 1000, 10, now);
    CU_ASSERT_TRUE(pacing_may_send(&pace));
    pacing_sent(&pace, 110);
    CU_ASSERT_FALSE(pacing_may_send(&pace));
    uint64_t wait = pacing_wait(&pace);
    CU_ASSERT_EQUAL(wait, 101 * NS_PER_MS);
    pacing_tick(&pace, now + wait - 1);
    CU_ASSERT_FALSE(pacing_may_send(&pace));
    pacing_tick(&pace, now + wait);
    CU_ASSERT_TRUE(pacing_may_send(&pace));
    pacing_sent(&pace, 50);
    pacing_unsent(&pace, 50);
    CU_ASSERT_TRUE(pacing_may_send(&pace));
}

static const struct unit_test tests[] = {
    UNIT_TEST(any_order_makes_it_whole),
    UNIT_TEST(datagrams_may_be_interleaved),
    UNIT_TEST(a_lost_fragment_drops_its_datagram_alone),
    UNIT_TEST(a_whole_datagram_does_not_expire),
    UNIT_TEST(a_doubled_fragment_counts_once),
    UNIT_TEST(fragments_that_disagree_are_dropped),
    UNIT_TEST(what_is_longer_than_the_memory_is_dropped),
    UNIT_TEST(a_new_datagram_takes_the_oldest_place),
    UNIT_TEST(whole_datagrams_are_never_overwritten),
    UNIT_TEST(no_rate_is_no_limit),
    UNIT_TEST(the_burst_leaves_at_once_then_the_rate_holds),
    UNIT_TEST(idle_time_saves_no_more_than_the_burst),
    UNIT_TEST(a_frame_longer_than_the_burst_leaves_and_is_paid_for),
};
UNIT_MAIN("fragments", tests)
