#include "bench/fleet_look.h"

#include "bench/fleet_copy.h"
#include "tests/unit/unit.h"

#define NODES 3u
#define ALL ((1u << NODES) - 1)

static uint64_t expected;

static int judge(const struct fleet_look *l, uint32_t node, bool linearizable, uint64_t lsn)
{
    const struct fleet_answer a = {.node = node, .linearizable = linearizable, .lsn = lsn};
    return fleet_look_judge(l, &a, &expected);
}

static bool take(struct fleet_look *l, uint32_t node, bool linearizable, uint64_t lsn)
{
    const struct fleet_answer a = {.node = node, .linearizable = linearizable, .lsn = lsn};
    CU_ASSERT_EQUAL(fleet_look_judge(l, &a, &expected), 0);
    return fleet_look_take(l, &a, ALL);
}

static void versions_never_fall_at_one_node(void)
{
    struct fleet_look l = {0};
    (void)take(&l, 1, false, 20);
    CU_ASSERT_EQUAL(judge(&l, 1, false, 20), 0);
    CU_ASSERT_EQUAL(judge(&l, 1, false, 19), FLEET_FINDING_VERSION_FELL);
    CU_ASSERT_EQUAL(expected, 20);
    CU_ASSERT_EQUAL(judge(&l, 1, true, 19), FLEET_FINDING_VERSION_FELL);
    CU_ASSERT_EQUAL(judge(&l, 1, false, 0), FLEET_FINDING_MISSING);
    /* Another node lags behind, locally. */
    CU_ASSERT_EQUAL(judge(&l, 2, false, 19), 0);
    CU_ASSERT_EQUAL(judge(&l, 2, false, 0), 0);
}

/* The leader answered through a node that had nothing to show; then it has an older state again. */
static void an_aged_answer_is_held_against_aged_ones(void)
{
    struct fleet_look l = {0};
    struct fleet_answer aged = {.node = 1, .aged = true, .lsn = 10};
    CU_ASSERT_EQUAL(fleet_look_judge(&l, &aged, &expected), 0);
    CU_ASSERT_FALSE(fleet_look_take(&l, &aged, ALL));
    (void)take(&l, 1, false, 20);
    CU_ASSERT_EQUAL(fleet_look_judge(&l, &aged, &expected), 0);
    CU_ASSERT_FALSE(fleet_look_take(&l, &aged, ALL));
    aged.lsn = 9;
    CU_ASSERT_EQUAL(fleet_look_judge(&l, &aged, &expected), FLEET_FINDING_VERSION_FELL);
    CU_ASSERT_EQUAL(expected, 10);
    CU_ASSERT_EQUAL(judge(&l, 1, false, 19), FLEET_FINDING_VERSION_FELL);
    CU_ASSERT_EQUAL(expected, 20);
}

static void a_linearizable_read_has_what_was_acknowledged(void)
{
    const struct fleet_look l = {.lsn_acked = 10};
    for (uint32_t node = 0; node < NODES; node++) {
        CU_ASSERT_EQUAL(judge(&l, node, true, 10), 0);
        CU_ASSERT_EQUAL(judge(&l, node, true, 9), FLEET_FINDING_NOT_VISIBLE);
        CU_ASSERT_EQUAL(expected, 10);
        CU_ASSERT_EQUAL(judge(&l, node, true, 0), FLEET_FINDING_MISSING);
        CU_ASSERT_EQUAL(judge(&l, node, false, 9), 0);
        CU_ASSERT_EQUAL(judge(&l, node, false, 0), 0);
    }
}

static void a_linearizable_read_has_what_one_before_it_returned(void)
{
    struct fleet_look l = {0};
    (void)take(&l, 0, false, 30); /* a local one promises nothing to others */
    CU_ASSERT_EQUAL(judge(&l, 2, true, 29), 0);
    (void)take(&l, 2, true, 30);
    CU_ASSERT_EQUAL(judge(&l, 1, true, 29), FLEET_FINDING_NOT_VISIBLE);
    CU_ASSERT_EQUAL(judge(&l, 1, true, 0), FLEET_FINDING_MISSING);
    CU_ASSERT_EQUAL(judge(&l, 1, true, 30), 0);
    CU_ASSERT_EQUAL(judge(&l, 1, false, 29), 0);
}

static void the_last_node_to_show_a_version_is_the_farthest(void)
{
    struct fleet_look l = {0};
    CU_ASSERT_FALSE(take(&l, 0, false, 5));
    CU_ASSERT_FALSE(take(&l, 1, false, 5));
    CU_ASSERT_TRUE(take(&l, 2, false, 5));
    CU_ASSERT_FALSE(take(&l, 2, false, 5)); /* it had it */
    /* One runs ahead by two: what the others then show is the older one. */
    CU_ASSERT_FALSE(take(&l, 0, false, 7));
    CU_ASSERT_FALSE(take(&l, 1, false, 6));
    CU_ASSERT_TRUE(take(&l, 2, false, 6));
    CU_ASSERT_FALSE(take(&l, 2, false, 7));
    CU_ASSERT_TRUE(take(&l, 1, false, 7));
}

/* Node 1 goes and node 3 comes. */
static void who_is_not_in_the_mask_is_not_waited_for(void)
{
    struct fleet_look l = {0};
    struct fleet_answer a = {.node = 0, .lsn = 5};
    CU_ASSERT_FALSE(fleet_look_take(&l, &a, 0xd));
    a.node = 2;
    CU_ASSERT_FALSE(fleet_look_take(&l, &a, 0xd));
    a.node = 3;
    CU_ASSERT_TRUE(fleet_look_take(&l, &a, 0xd));
    a.lsn = 6;
    CU_ASSERT_FALSE(fleet_look_take(&l, &a, 0x9));
    a.node = 0;
    CU_ASSERT_TRUE(fleet_look_take(&l, &a, 0x9));
}

static void alone_every_change_is_the_farthest(void)
{
    struct fleet_look l = {0};
    const struct fleet_answer first = {.lsn = 3}, second = {.lsn = 4};
    CU_ASSERT_TRUE(fleet_look_take(&l, &first, 1u << 0));
    CU_ASSERT_FALSE(fleet_look_take(&l, &first, 1u << 0));
    CU_ASSERT_TRUE(fleet_look_take(&l, &second, 1u << 0));
}

static struct fleet_copy copy(uint64_t lsn, const char *value)
{
    struct fleet_copy c = {.lsn = lsn, .length = strlen(value)};
    memcpy(c.value, value, c.length);
    return c;
}

static void copies_differ_by_version_or_value(void)
{
    struct fleet_copy first = copy(8, "heron"), same = first, older = copy(7, "heron"),
                      other = copy(8, "egret"), longer = copy(8, "herons"), none = copy(0, "");
    CU_ASSERT_EQUAL(fleet_copy_compare(&first, &same), 0);
    CU_ASSERT_EQUAL(fleet_copy_compare(&none, &none), 0);
    CU_ASSERT_EQUAL(fleet_copy_compare(&first, &older), FLEET_FINDING_REPLICA_VERSION);
    CU_ASSERT_EQUAL(fleet_copy_compare(&first, &none), FLEET_FINDING_REPLICA_VERSION);
    CU_ASSERT_EQUAL(fleet_copy_compare(&none, &first), FLEET_FINDING_REPLICA_VERSION);
    CU_ASSERT_EQUAL(fleet_copy_compare(&first, &other), FLEET_FINDING_REPLICA_VALUE);
    CU_ASSERT_EQUAL(fleet_copy_compare(&first, &longer), FLEET_FINDING_REPLICA_VALUE);
    CU_ASSERT_EQUAL(fleet_copy_compare(&longer, &first), FLEET_FINDING_REPLICA_VALUE);
}

static const struct unit_test tests[] = {
    UNIT_TEST(versions_never_fall_at_one_node),
    UNIT_TEST(an_aged_answer_is_held_against_aged_ones),
    UNIT_TEST(a_linearizable_read_has_what_was_acknowledged),
    UNIT_TEST(a_linearizable_read_has_what_one_before_it_returned),
    UNIT_TEST(the_last_node_to_show_a_version_is_the_farthest),
    UNIT_TEST(who_is_not_in_the_mask_is_not_waited_for),
    UNIT_TEST(alone_every_change_is_the_farthest),
    UNIT_TEST(copies_differ_by_version_or_value),
};
UNIT_MAIN("fleet_look", tests)
