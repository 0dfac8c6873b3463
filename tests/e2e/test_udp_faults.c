/* What udp_faults does to a flow: each fault by what leaves, in a time that the test makes. */
#include "tests/e2e/udp_faults.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define COUNT 2000u
#define OUT_MAX (COUNT * 3)

struct flow {
    struct udp_faults faults;
    uint64_t now;
    uint32_t out_count;
    uint32_t out[OUT_MAX]; /* numbers in what left, 1 on; 0: not what was given in */
};

static struct flow flow;

/* Datagram number n: n, its complement, and length for the rest. */
struct content {
    uint32_t number, inverse;
    uint8_t rest[24];
};

static void start(const struct udp_faults_config *config, uint64_t stream)
{
    udp_faults_fini(&flow.faults);
    memset(&flow, 0, sizeof flow);
    udp_faults_init(&flow.faults, config, stream);
}

static void collect(void)
{
    for (struct udp_datagram *d; (d = udp_faults_next(&flow.faults, flow.now)) != NULL;) {
        struct content content;
        struct content wanted = {0};
        CU_ASSERT_EQUAL_FATAL(d->length, sizeof content);
        memcpy(&content, d->bytes, sizeof content);
        wanted.number = content.number;
        wanted.inverse = ~content.number;
        bool sound = memcmp(&content, &wanted, sizeof content) == 0;
        CU_ASSERT_FATAL(flow.out_count < OUT_MAX);
        flow.out[flow.out_count++] = sound ? content.number : 0;
        free(d);
    }
}

/* COUNT datagrams, a microsecond apart, and what waits in the end. */
static const struct udp_faults_counters *run(const struct udp_faults_config *config,
                                             uint64_t stream)
{
    start(config, stream);
    for (uint32_t n = 1; n <= COUNT; n++) {
        const struct content content = {.number = n, .inverse = ~n};
        udp_faults_take(&flow.faults, &content, sizeof content, flow.now);
        collect();
        flow.now += 1000;
    }
    flow.now = UINT64_MAX;
    collect();
    CU_ASSERT_EQUAL(udp_faults_deadline(&flow.faults), UINT64_MAX);
    const struct udp_faults_counters *c = &flow.faults.counters;
    CU_ASSERT_EQUAL(c->received, COUNT);
    CU_ASSERT_EQUAL(c->dropped, 0);
    CU_ASSERT_EQUAL(flow.out_count, c->received - c->lost + c->duplicated + c->replayed);
    return c;
}

/* Numbers that left at least once. */
static uint32_t distinct(void)
{
    static bool seen[COUNT + 1];
    uint32_t count = 0;
    memset(seen, 0, sizeof seen);
    for (uint32_t i = 0; i < flow.out_count; i++) {
        count += flow.out[i] != 0 && !seen[flow.out[i]];
        seen[flow.out[i]] = true;
    }
    return count;
}

/* Places where a number is followed by a lower one, by the same one. */
static uint32_t falls(void)
{
    uint32_t count = 0;
    for (uint32_t i = 1; i < flow.out_count; i++)
        count += flow.out[i] < flow.out[i - 1];
    return count;
}

static uint32_t repeats(void)
{
    uint32_t count = 0;
    for (uint32_t i = 1; i < flow.out_count; i++)
        count += flow.out[i] == flow.out[i - 1];
    return count;
}

/* Within five standard deviations of COUNT draws; the seed decides it, not the day. */
static bool is_about(uint64_t count, double share)
{
    double off = (double)count - COUNT * share;
    return off * off <= 25 * COUNT * share * (1 - share);
}

static void without_faults_all_leave_in_order(void)
{
    const struct udp_faults_config config = {.seed = 1};
    const struct udp_faults_counters *c = run(&config, 0);
    CU_ASSERT_EQUAL(flow.out_count, COUNT);
    CU_ASSERT_EQUAL(distinct(), COUNT);
    CU_ASSERT_EQUAL(falls() + repeats(), 0);
    CU_ASSERT_EQUAL(
        c->lost + c->corrupted + c->duplicated + c->replayed + c->reordered + c->dropped, 0);
}

static void loss_loses_and_nothing_else(void)
{
    const struct udp_faults_config config = {.seed = 1, .loss = 0.1};
    const struct udp_faults_counters *c = run(&config, 0);
    CU_ASSERT(is_about(c->lost, 0.1));
    CU_ASSERT_EQUAL(distinct(), COUNT - c->lost);
    CU_ASSERT_EQUAL(falls() + repeats(), 0);
}

static void corrupt_turns_bits_in_place(void)
{
    const struct udp_faults_config config = {.seed = 1, .corrupt = 0.1};
    const struct udp_faults_counters *c = run(&config, 0);
    CU_ASSERT(is_about(c->corrupted, 0.1));
    CU_ASSERT_EQUAL(flow.out_count, COUNT);
    CU_ASSERT_EQUAL(distinct(), COUNT - c->corrupted);
    for (uint32_t i = 0; i < COUNT; i++)
        CU_ASSERT(flow.out[i] == 0 || flow.out[i] == i + 1);
}

static void corrupt_turns_one_bit(void)
{
    const struct udp_faults_config config = {.seed = 1, .corrupt = 1};
    uint8_t zeros[16] = {0};
    uint8_t seen[16] = {0};
    start(&config, 0);
    udp_faults_take(&flow.faults, zeros, 0, 0); /* has no bit to turn */
    CU_ASSERT_EQUAL(flow.faults.counters.corrupted, 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        int bits = 0;
        udp_faults_take(&flow.faults, zeros, sizeof zeros, 0);
        struct udp_datagram *d = udp_faults_next(&flow.faults, 0);
        if (i == 0) {
            CU_ASSERT_EQUAL_FATAL(d->length, 0);
            free(d);
            d = udp_faults_next(&flow.faults, 0);
        }
        for (uint32_t b = 0; b < sizeof zeros; b++) {
            bits += __builtin_popcount(d->bytes[b]);
            seen[b] |= d->bytes[b];
        }
        CU_ASSERT_EQUAL(bits, 1);
        free(d);
    }
    for (uint32_t b = 0; b < sizeof zeros; b++)
        CU_ASSERT_EQUAL(seen[b], 0xff); /* each bit in its turn */
}

static void duplicate_sends_twice(void)
{
    const struct udp_faults_config config = {.seed = 1, .duplicate = 0.1};
    const struct udp_faults_counters *c = run(&config, 0);
    CU_ASSERT(is_about(c->duplicated, 0.1));
    CU_ASSERT_EQUAL(distinct(), COUNT);
    CU_ASSERT_EQUAL(repeats(), c->duplicated);
    CU_ASSERT_EQUAL(falls(), 0);
}

/* Numbers behind a higher one: what reordered says it counts. */
static uint32_t late(void)
{
    uint32_t count = 0, max = 0;
    for (uint32_t i = 0; i < flow.out_count; i++) {
        count += flow.out[i] < max;
        max = flow.out[i] > max ? flow.out[i] : max;
    }
    return count;
}

static void reorder_lets_others_pass(void)
{
    const double shares[] = {0.05, 0.5, 1};
    for (uint32_t s = 0; s < 3; s++) {
        const struct udp_faults_config config = {.seed = 1, .reorder = shares[s]};
        const struct udp_faults_counters *c = run(&config, 0);
        CU_ASSERT_EQUAL(distinct(), COUNT);
        CU_ASSERT_EQUAL(flow.out_count, COUNT);
        CU_ASSERT_EQUAL(c->reordered, late());
        CU_ASSERT((double)c->reordered > COUNT * shares[s] / 3);
        for (uint32_t i = 0; i < COUNT; i++) /* a place in the flow, and 8 others around */
            CU_ASSERT(flow.out[i] <= i + 1 + UDP_FAULTS_HELD &&
                      i + 1 <= flow.out[i] + UDP_FAULTS_HELD);
    }
}

static void held_back_ends_by_time(void)
{
    const struct udp_faults_config config = {.seed = 1, .reorder = 1};
    const struct content content = {.number = 1, .inverse = ~1u};
    start(&config, 0);
    flow.now = 500;
    udp_faults_take(&flow.faults, &content, sizeof content, flow.now);
    CU_ASSERT_EQUAL(udp_faults_deadline(&flow.faults), 500 + UDP_FAULTS_HOLD_NS);
    flow.now = 500 + UDP_FAULTS_HOLD_NS - 1;
    collect();
    CU_ASSERT_EQUAL(flow.out_count, 0);
    flow.now++;
    collect();
    CU_ASSERT_EQUAL(flow.out_count, 1);
    CU_ASSERT_EQUAL(flow.faults.counters.reordered, 0); /* none passed it */
}

static void replay_sends_what_was_seen(void)
{
    const struct udp_faults_config config = {.seed = 1, .replay = 0.5};
    const struct udp_faults_counters *c = run(&config, 0);
    uint32_t max = 0, replayed = 0, old = 0;
    for (uint32_t i = 0; i < flow.out_count; i++) {
        if (flow.out[i] > max) {
            CU_ASSERT_EQUAL(flow.out[i], max + 1); /* the flow itself is in order */
            max = flow.out[i];
            continue;
        }
        replayed++;
        old += max - flow.out[i] > max / 2;
    }
    CU_ASSERT_EQUAL(max, COUNT);
    CU_ASSERT_EQUAL(replayed, c->replayed);
    CU_ASSERT(is_about(c->replayed, 0.5));
    CU_ASSERT(old > replayed / 3 && old < replayed * 2 / 3); /* of any age, as likely */
}

static void delay_is_kept_with_the_order(void)
{
    const struct udp_faults_config config = {.seed = 1, .delay_ns = 5000};
    for (uint32_t n = 1; n <= 3; n++) {
        const struct content content = {.number = n, .inverse = ~n};
        if (n == 1)
            start(&config, 0);
        udp_faults_take(&flow.faults, &content, sizeof content, n * 100);
    }
    for (uint32_t n = 1; n <= 3; n++) {
        CU_ASSERT_EQUAL(udp_faults_deadline(&flow.faults), n * 100 + 5000);
        flow.now = n * 100 + 4999;
        collect();
        CU_ASSERT_EQUAL(flow.out_count, n - 1);
        flow.now++;
        collect();
        CU_ASSERT_EQUAL(flow.out_count, n);
    }
    CU_ASSERT_EQUAL(falls() + repeats(), 0);
    (void)run(&config, 0);
    CU_ASSERT_EQUAL(distinct(), COUNT);
}

static void a_seed_and_stream_repeat(void)
{
    static uint32_t first[OUT_MAX];
    const struct udp_faults_config config = {
        .seed = 7, .loss = 0.1, .corrupt = 0.1, .duplicate = 0.1, .reorder = 0.1, .replay = 0.1};
    const struct udp_faults_config other = {
        .seed = 8, .loss = 0.1, .corrupt = 0.1, .duplicate = 0.1, .reorder = 0.1, .replay = 0.1};
    (void)run(&config, 3);
    uint32_t count = flow.out_count;
    memcpy(first, flow.out, sizeof first);
    (void)run(&config, 3);
    CU_ASSERT(count == flow.out_count && memcmp(first, flow.out, sizeof first) == 0);
    (void)run(&config, 4);
    CU_ASSERT(memcmp(first, flow.out, sizeof first) != 0);
    (void)run(&other, 3);
    CU_ASSERT(memcmp(first, flow.out, sizeof first) != 0);
}

/* With and without another fault, the same ones are lost. */
static void a_fault_does_not_move_another(void)
{
    const struct udp_faults_config alone = {.seed = 7, .loss = 0.1};
    const struct udp_faults_config both = {
        .seed = 7, .loss = 0.1, .duplicate = 0.3, .corrupt = 0.3, .reorder = 0.3, .replay = 0.3};
    static bool left[COUNT + 1];
    uint64_t lost = run(&alone, 0)->lost;
    for (uint32_t i = 0; i < flow.out_count; i++)
        left[flow.out[i]] = true;
    CU_ASSERT_EQUAL(run(&both, 0)->lost, lost);
    for (uint32_t i = 0; i < flow.out_count; i++)
        CU_ASSERT(flow.out[i] == 0 || left[flow.out[i]]);
}

static void what_waits_is_bounded(void)
{
    static const uint8_t bytes[65507];
    const struct udp_faults_config config = {.seed = 1, .delay_ns = 1};
    const uint64_t room = UDP_FAULTS_QUEUE_BYTES / sizeof bytes;
    start(&config, 0);
    for (uint64_t i = 0; i < room + 5; i++)
        udp_faults_take(&flow.faults, bytes, sizeof bytes, 0);
    CU_ASSERT_EQUAL(flow.faults.counters.dropped, 5);
    struct udp_datagram *d = udp_faults_next(&flow.faults, 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(d);
    free(d);
    udp_faults_take(&flow.faults, bytes, sizeof bytes, 0);
    CU_ASSERT_EQUAL(flow.faults.counters.dropped, 5);
    udp_faults_fini(&flow.faults);
}

static const struct unit_test tests[] = {
    UNIT_TEST(without_faults_all_leave_in_order),
    UNIT_TEST(loss_loses_and_nothing_else),
    UNIT_TEST(corrupt_turns_bits_in_place),
    UNIT_TEST(corrupt_turns_one_bit),
    UNIT_TEST(duplicate_sends_twice),
    UNIT_TEST(reorder_lets_others_pass),
    UNIT_TEST(held_back_ends_by_time),
    UNIT_TEST(replay_sends_what_was_seen),
    UNIT_TEST(delay_is_kept_with_the_order),
    UNIT_TEST(a_seed_and_stream_repeat),
    UNIT_TEST(a_fault_does_not_move_another),
    UNIT_TEST(what_waits_is_bounded),
};

UNIT_MAIN("udp_faults", tests)
