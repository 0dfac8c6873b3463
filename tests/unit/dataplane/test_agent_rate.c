/* The bound on agents, changed while an lcore runs. */
#include "dataplane/agent_rate.h"

#include "tests/unit/dataplane/ring_agent.h"
#include "tests/unit/unit.h"

#define STRANGER 1000u
#define BURST 64u
#define MANY 100u

static struct ring_node r;
static struct ring_agent trusted, rogue;

static void open_without_a_bound(void)
{
    ring_node_open(&r, 1, 1);
    ring_agent_attach(&r, &trusted, 0, 1u << 14);
    ring_agent_attach(&r, &rogue, STRANGER, 1u << 14);
    ring_node_passes(&r, 1);
}

/* How many of MANY requests are answered by a few passes. */
static uint32_t answered(struct ring_agent *who)
{
    struct ring_completion c;
    uint32_t count = 0;
    for (uint32_t i = 0; i < MANY; i++)
        CU_ASSERT_EQUAL_FATAL(
            ring_agent_send(who, ring_agent_request(&r, who, RING_NOP, NULL), NULL, NULL), 0);
    ring_agent_doorbell(&r, who);
    ring_node_passes(&r, 8);
    while (ring_agent_take(who, &c, NULL))
        count++;
    return count;
}

/* A token comes once a second: not while a test runs its few passes. */
static void a_bound_comes_and_goes(void)
{
    open_without_a_bound();
    CU_ASSERT_EQUAL(answered(&rogue), MANY);
    agent_rate_set(&r.node, 1, BURST, false);
    ring_node_passes(&r, 1);
    CU_ASSERT_EQUAL(answered(&rogue), BURST);
    CU_ASSERT_EQUAL(answered(&trusted), MANY);
    agent_rate_set(&r.node, 0, 0, false);
    ring_node_passes(&r, 1);
    CU_ASSERT_EQUAL(answered(&rogue), 2 * MANY - BURST); /* what waited in the ring, too */
    ring_node_close(&r);
}

static void who_is_bounded_changes(void)
{
    open_without_a_bound();
    agent_rate_set(&r.node, 1, BURST, true);
    ring_node_passes(&r, 1);
    CU_ASSERT_EQUAL(answered(&trusted), BURST);
    agent_rate_set(&r.node, 1, BURST, false);
    ring_node_passes(&r, 1);
    CU_ASSERT_EQUAL(answered(&trusted), 2 * MANY - BURST);
    ring_node_close(&r);
}

/* An empty bucket of a slow rate would hold up a fast one for minutes. */
static void a_change_fills_the_buckets(void)
{
    open_without_a_bound();
    agent_rate_set(&r.node, 1, BURST, false);
    ring_node_passes(&r, 1);
    CU_ASSERT_EQUAL(answered(&rogue), BURST);
    agent_rate_set(&r.node, 1, 2 * BURST, false);
    ring_node_passes(&r, 1);
    CU_ASSERT_EQUAL(answered(&rogue), 2 * BURST);
    ring_node_close(&r);
}

static void agents_that_come_later_have_the_new_bound(void)
{
    struct ring_agent late;
    open_without_a_bound();
    agent_rate_set(&r.node, 1, BURST, false);
    ring_node_passes(&r, 1);
    ring_agent_attach(&r, &late, STRANGER, 1u << 14);
    CU_ASSERT_EQUAL(answered(&late), BURST);
    ring_node_close(&r);
}

/* Chunks that go count the same round up. */
static void another_round_changes_nothing(void)
{
    ring_node_open(&r, 1, 1);
    r.node.config.agent_rate = 1;
    r.node.config.agent_burst = BURST;
    ring_agent_attach(&r, &rogue, STRANGER, 1u << 14);
    atomic_fetch_add_explicit(&r.node.arena_round, 1, memory_order_release);
    ring_node_passes(&r, 1);
    CU_ASSERT(rogue.agent->rings[0].limited);
    ring_node_close(&r);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_bound_comes_and_goes),        UNIT_TEST(who_is_bounded_changes),
    UNIT_TEST(a_change_fills_the_buckets),    UNIT_TEST(agents_that_come_later_have_the_new_bound),
    UNIT_TEST(another_round_changes_nothing),
};
UNIT_MAIN("agent_rate", tests)
