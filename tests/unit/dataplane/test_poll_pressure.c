/* Agents with a bound on their rate, and the keys that are asked for most: the poll loop with rings that the
 * test drives by hand. */
#include "dataplane/hot_keys.h"
#include "tests/unit/dataplane/ring_agent.h"
#include "tests/unit/unit.h"

#define STRANGER 1000u
#define RATE 1000u /* so that no token comes while a test runs its few passes, but on purpose */
#define BURST 8u

static struct ring_node r;
static struct ring_agent trusted, rogue;
static struct ring_completion c;

static void open_with(uint64_t rate, bool all)
{
    ring_node_open(&r, 1, 1);
    r.node.config.agent_rate = rate;
    r.node.config.agent_burst = BURST;
    r.node.config.agents_all = all;
    ring_agent_attach(&r, &trusted, 0, 1u << 14);
    ring_agent_attach(&r, &rogue, STRANGER, 1u << 14);
}

/* One pass by a clock that stands still: between two passes no token comes. */
static void pass(void)
{
    ring_node_passes(&r, 1);
    /* Why the interval: the lcore reads the clock itself, and a machine may be slow. */
    r.lcore->agent_rate.interval = UINT64_C(1) << 50;
}

static void send_many(struct ring_agent *who, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        CU_ASSERT_EQUAL_FATAL(
            ring_agent_send(who, ring_agent_request(&r, who, RING_NOP, NULL), NULL, NULL), 0);
    ring_agent_doorbell(&r, who);
}

static uint32_t take_all(struct ring_agent *who)
{
    uint32_t count = 0;
    while (ring_agent_take(who, &c, NULL)) {
        CU_ASSERT_EQUAL(c.status, RING_OK);
        count++;
    }
    return count;
}

static uint64_t throttled(const struct ring_agent *who)
{
    return atomic_load_explicit(&who->agent->rings[0].throttled, memory_order_relaxed);
}

static uint64_t counter(enum counter which)
{
    return atomic_load_explicit(&r.node.shared->counters[0].value[which], memory_order_relaxed);
}

/* Give the rogue so many tokens. */
static void tokens_come(uint32_t count)
{
    bucket_return(&rogue.agent->rings[0].bucket, &r.lcore->agent_rate, count);
}

static void what_is_too_much_stays_in_the_ring(void)
{
    open_with(RATE, false);
    pass();
    send_many(&rogue, 3 * BURST);
    pass();
    pass();
    CU_ASSERT_EQUAL(take_all(&rogue), BURST);
    CU_ASSERT_EQUAL(throttled(&rogue), 1);
    CU_ASSERT_EQUAL(counter(COUNTER_AGENTS_THROTTLED), 1);
    for (uint32_t i = 0; i < 10; i++)
        pass();
    CU_ASSERT_EQUAL(take_all(&rogue), 0);
    CU_ASSERT_EQUAL(throttled(&rogue), 1); /* it is still the same wait */
    tokens_come(5);
    pass();
    CU_ASSERT_EQUAL(take_all(&rogue), 5);
    CU_ASSERT_EQUAL(throttled(&rogue), 2);
    tokens_come(BURST);
    pass();
    CU_ASSERT_EQUAL(take_all(&rogue), BURST);
    tokens_come(BURST);
    pass();
    CU_ASSERT_EQUAL(take_all(&rogue), BURST - 5); /* nothing was lost */
    pass();
    CU_ASSERT_EQUAL(throttled(&rogue), 3);
    CU_ASSERT_EQUAL(rogue.agent->rings[0].owed, 0);
    ring_node_close(&r);
}

static void others_do_not_wait_for_it(void)
{
    open_with(RATE, false);
    pass();
    for (uint32_t i = 0; i < 20; i++) {
        send_many(&rogue, i == 0 ? 64 : 0);
        send_many(&trusted, 40);
        pass();
        pass();
        CU_ASSERT_EQUAL(take_all(&trusted), 40);
    }
    CU_ASSERT_EQUAL(take_all(&rogue), BURST);
    CU_ASSERT_EQUAL(throttled(&trusted), 0);
    ring_node_close(&r);
}

static void the_trusted_are_bounded_only_on_request(void)
{
    open_with(RATE, true);
    pass();
    send_many(&trusted, 3 * BURST);
    pass();
    pass();
    CU_ASSERT_EQUAL(take_all(&trusted), BURST);
    CU_ASSERT_EQUAL(throttled(&trusted), 1);
    ring_node_close(&r);
}

static void without_a_rate_nobody_is_bounded(void)
{
    open_with(0, true);
    pass();
    send_many(&rogue, 100);
    send_many(&trusted, 100);
    for (uint32_t i = 0; i < 8; i++)
        pass();
    CU_ASSERT_EQUAL(take_all(&rogue), 100);
    CU_ASSERT_EQUAL(take_all(&trusted), 100);
    CU_ASSERT_EQUAL(counter(COUNTER_AGENTS_THROTTLED), 0);
    ring_node_close(&r);
}

/* Times that follow from the configuration, and not from whoever was here before. */
static void rate_and_burst_become_ticks(void)
{
    ring_node_open(&r, 1, 1);
    r.node.config.agent_rate = 100000;
    ring_node_passes(&r, 1);
    CU_ASSERT_EQUAL(r.lcore->agent_rate.interval, r.node.ticks_per_s / 100000);
    CU_ASSERT_EQUAL(r.lcore->agent_rate.burst, 1000); /* 10 ms */
    ring_node_close(&r);
    ring_node_open(&r, 1, 1);
    r.node.config.agent_rate = 100000;
    r.node.config.agent_burst = 1;
    ring_node_passes(&r, 1);
    CU_ASSERT_EQUAL(r.lcore->agent_rate.burst, 201); /* 2 ms */
    ring_node_close(&r);
    ring_node_open(&r, 1, 1);
    r.node.config.agent_rate = 10;
    ring_node_passes(&r, 1);
    CU_ASSERT_EQUAL(r.lcore->agent_rate.burst, 64);
    ring_node_close(&r);
}

/* ---- keys ---- */

static void get_many(const char *key, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        CU_ASSERT_EQUAL_FATAL(
            ring_agent_send(&trusted, ring_agent_request(&r, &trusted, RING_GET, key), key, NULL),
            0);
        ring_agent_doorbell(&r, &trusted);
        ring_node_passes(&r, 2);
        CU_ASSERT_TRUE_FATAL(ring_agent_take(&trusted, &c, NULL));
        CU_ASSERT_EQUAL(c.status, RING_NOT_FOUND);
    }
}

static void what_is_asked_for_most_is_shown(void)
{
    struct hot_keys_top top;
    open_with(0, false);
    CU_ASSERT_PTR_NULL(node_hot_keys(&r.node, 0)); /* it does not run yet */
    pass();
    const struct hot_keys_shown *shown = node_hot_keys(&r.node, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(shown);
    for (uint32_t i = 0; i < 10; i++) {
        get_many("heron", 60);
        get_many(i % 2 == 0 ? "teal" : "snipe", 20);
    }
    r.lcore->ticks_keys_shown = 0; /* it is time */
    r.lcore->keys_noted = true;
    pass();
    CU_ASSERT_TRUE_FATAL(hot_keys_copy(shown, &top));
    CU_ASSERT_EQUAL_FATAL(top.count, 3);
    CU_ASSERT_EQUAL(top.entries[0].key.space, RING_AGENT_SPACE);
    CU_ASSERT_EQUAL(top.entries[0].key.length, 5);
    CU_ASSERT_EQUAL(memcmp(top.entries[0].key.bytes, "heron", 5), 0);
    /* One in sixteen of 800, three in four of which are the first one's. */
    CU_ASSERT(top.noted >= 800 / 31 && top.noted <= 800 / 8);
    CU_ASSERT(top.entries[0].count * 4 > top.noted * 2);
    CU_ASSERT_FALSE(r.lcore->keys_noted);
    ring_node_close(&r);
}

/* What has no key is none: NOPs, sessions, positions. */
static void what_has_no_key_is_not_noted(void)
{
    open_with(0, false);
    pass();
    for (uint32_t i = 0; i < 4; i++) {
        send_many(&trusted, 60);
        pass();
        pass();
        CU_ASSERT_EQUAL(take_all(&trusted), 60);
    }
    static const char id[] = "0123456789abcdef";
    for (uint32_t i = 0; i < 60; i++) {
        struct ring_request q = ring_agent_request(&r, &trusted, RING_SESSION_OPEN, id);
        q.shard = 0;
        CU_ASSERT_EQUAL(ring_agent_send(&trusted, q, id, NULL), 0);
        ring_agent_doorbell(&r, &trusted);
        pass();
        pass();
        CU_ASSERT_EQUAL(take_all(&trusted), 1);
    }
    CU_ASSERT_EQUAL(r.lcore->hot_keys.noted, 0);
    ring_node_close(&r);
}

static const struct unit_test tests[] = {
    UNIT_TEST(what_is_too_much_stays_in_the_ring),
    UNIT_TEST(others_do_not_wait_for_it),
    UNIT_TEST(the_trusted_are_bounded_only_on_request),
    UNIT_TEST(without_a_rate_nobody_is_bounded),
    UNIT_TEST(rate_and_burst_become_ticks),
    UNIT_TEST(what_is_asked_for_most_is_shown),
    UNIT_TEST(what_has_no_key_is_not_noted),
};
UNIT_MAIN("poll_pressure", tests)
