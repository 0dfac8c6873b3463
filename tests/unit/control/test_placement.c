#include "control/placement.h"

#include "tests/unit/unit.h"

#include <stdlib.h>

#define LOGS 10000u
#define NODES_MAX 7u

static struct placement_node nodes[NODES_MAX];

/* Ids 1 to count, of one weight, without zones. */
static void make(uint32_t count)
{
    memset(nodes, 0, sizeof nodes);
    for (uint32_t i = 0; i < count; i++)
        nodes[i] = (struct placement_node){.id = i + 1, .weight = 100};
}

static void zone(uint32_t node, const char *name)
{
    (void)snprintf(nodes[node].zone, sizeof nodes[node].zone, "%s", name);
}

static bool has(const uint32_t *ids, uint32_t count, uint32_t id)
{
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static void the_order_of_nodes_does_not_matter(void)
{
    unsigned seed = 7;
    make(NODES_MAX);
    zone(1, "a");
    zone(4, "a");
    zone(5, "b");
    for (uint32_t log = 0; log < LOGS; log++) {
        uint32_t before[LIMIT_VOTERS], after[LIMIT_VOTERS];
        CU_ASSERT_EQUAL(placement_choose(nodes, NODES_MAX, log, 4, before), 4);
        for (uint32_t i = NODES_MAX; i > 1; i--) {
            uint32_t other = (uint32_t)rand_r(&seed) % i;
            const struct placement_node moved = nodes[other];
            nodes[other] = nodes[i - 1];
            nodes[i - 1] = moved;
        }
        CU_ASSERT_EQUAL(placement_choose(nodes, NODES_MAX, log, 4, after), 4);
        CU_ASSERT_EQUAL(memcmp(before, after, 4 * sizeof before[0]), 0);
    }
}

/* What every release finds: from here on it cannot change without moving everything. */
static void it_is_what_it_was(void)
{
    uint32_t chosen[LIMIT_VOTERS], sum = 0;
    make(5);
    nodes[1].weight = 300;
    for (uint32_t log = 65536; log < 65536 + 64; log++) {
        CU_ASSERT_EQUAL(placement_choose(nodes, 5, log, 3, chosen), 3);
        sum = sum * 31 + chosen[0] + 7 * chosen[1] + 49 * chosen[2];
    }
    CU_ASSERT_EQUAL(sum, UINT32_C(3015506352));
}

static void as_many_as_there_are(void)
{
    uint32_t chosen[LIMIT_VOTERS];
    make(2);
    CU_ASSERT_EQUAL(placement_choose(nodes, 0, 5, 3, chosen), 0);
    CU_ASSERT_EQUAL(placement_choose(nodes, 1, 5, 3, chosen), 1);
    CU_ASSERT_EQUAL(chosen[0], 1);
    CU_ASSERT_EQUAL(placement_choose(nodes, 2, 5, 3, chosen), 2);
    CU_ASSERT_EQUAL(chosen[0] + chosen[1], 3);
    CU_ASSERT_EQUAL(placement_choose(nodes, 2, 5, 1, chosen), 1);
}

static void first_choices_go_by_weight(void)
{
    static const uint32_t weights[] = {50, 100, 200, 400, 1};
    uint32_t first[5] = {0}, sum = 0;
    make(5);
    for (uint32_t i = 0; i < 5; i++)
        sum += nodes[i].weight = weights[i];
    for (uint32_t log = 0; log < LOGS; log++) {
        uint32_t chosen[LIMIT_VOTERS];
        (void)placement_choose(nodes, 5, log, 3, chosen);
        first[chosen[0] - 1]++;
    }
    for (uint32_t i = 0; i < 5; i++) {
        double expected = (double)LOGS * weights[i] / sum;
        printf("weight %3u: first choice of %5u logs, %.0f expected\n", weights[i], first[i],
               expected);
        /* Four deviations of a binomial. */
        double off = (first[i] - expected) * (first[i] - expected);
        CU_ASSERT_TRUE(off <= 16 * expected * (1 - expected / LOGS));
    }
}

static void equal_nodes_have_equal_shares(void)
{
    uint32_t votes[NODES_MAX] = {0};
    make(NODES_MAX);
    for (uint32_t log = 0; log < LOGS; log++) {
        uint32_t chosen[LIMIT_VOTERS];
        (void)placement_choose(nodes, NODES_MAX, log, 3, chosen);
        for (uint32_t i = 0; i < 3; i++)
            votes[chosen[i] - 1]++;
    }
    for (uint32_t i = 0; i < NODES_MAX; i++)
        CU_ASSERT_TRUE(votes[i] > LOGS * 3 / 7 * 95 / 100 && votes[i] < LOGS * 3 / 7 * 105 / 100);
}

/* One node more: who is chosen anew is that one, and it takes no more than its part. */
static void a_node_that_comes_takes_its_part(void)
{
    for (uint32_t count = 3; count < NODES_MAX; count++) {
        uint32_t gained = 0, moved = 0;
        make(count + 1);
        for (uint32_t log = 0; log < LOGS; log++) {
            uint32_t before[LIMIT_VOTERS], after[LIMIT_VOTERS];
            (void)placement_choose(nodes, count, log, 3, before);
            (void)placement_choose(nodes, count + 1, log, 3, after);
            for (uint32_t i = 0; i < 3; i++) {
                moved += !has(before, 3, after[i]);
                gained += after[i] == count + 1;
            }
        }
        double least = 3.0 * LOGS / (count + 1);
        printf("%u nodes and one: %u votes move, ratio %.3f to the least\n", count, moved,
               moved / least);
        CU_ASSERT_EQUAL(moved, gained);
        CU_ASSERT_TRUE(moved < least * 1.05 && moved > least * 0.95);
    }
}

static void of_a_node_that_goes_only_what_it_had_moves(void)
{
    for (uint32_t count = 4; count <= NODES_MAX; count++) {
        uint32_t had = 0, moved = 0;
        make(count);
        nodes[count - 1].weight = 250;
        for (uint32_t log = 0; log < LOGS; log++) {
            uint32_t before[LIMIT_VOTERS], after[LIMIT_VOTERS];
            (void)placement_choose(nodes, count, log, 3, before);
            (void)placement_choose(nodes, count - 1, log, 3, after);
            had += has(before, 3, count);
            for (uint32_t i = 0; i < 3; i++)
                moved += !has(before, 3, after[i]);
        }
        printf("%u nodes but one: %u votes move, ratio %.3f to the least\n", count, moved,
               (double)moved / had);
        CU_ASSERT_TRUE(had > LOGS / 10 && moved <= had);
    }
}

/* Two nodes in each of three zones, and one that has none. */
static void zones_differ_while_there_are_enough(void)
{
    make(NODES_MAX);
    for (uint32_t i = 0; i < 6; i++)
        zone(i, i < 2 ? "a" : i < 4 ? "b" : "c");
    for (uint32_t log = 0; log < LOGS; log++) {
        uint32_t chosen[LIMIT_VOTERS], all[LIMIT_VOTERS], zones[3] = {0};
        CU_ASSERT_EQUAL(placement_choose(nodes, NODES_MAX, log, 4, chosen), 4);
        for (uint32_t i = 0; i < 4; i++)
            if (chosen[i] < 7)
                zones[(chosen[i] - 1) / 2]++;
        CU_ASSERT_TRUE(zones[0] == 1 && zones[1] == 1 && zones[2] == 1);
        CU_ASSERT_TRUE(has(chosen, 4, 7));
        /* More than there are zones: the first of them are those, and nobody comes twice. */
        CU_ASSERT_EQUAL(placement_choose(nodes, NODES_MAX, log, 6, all), 6);
        CU_ASSERT_EQUAL(memcmp(all, chosen, 4 * sizeof all[0]), 0);
        for (uint32_t i = 1; i < 6; i++)
            CU_ASSERT_FALSE(has(all, i, all[i]));
    }
}

/* Without a zone, two nodes are not in the same one. */
static void no_zone_is_none(void)
{
    make(3);
    zone(0, "a");
    for (uint32_t log = 0; log < 100; log++) {
        uint32_t chosen[LIMIT_VOTERS], free_of_zones[LIMIT_VOTERS];
        (void)placement_choose(nodes, 3, log, 3, chosen);
        nodes[0].zone[0] = 0;
        (void)placement_choose(nodes, 3, log, 3, free_of_zones);
        zone(0, "a");
        CU_ASSERT_EQUAL(memcmp(chosen, free_of_zones, 3 * sizeof chosen[0]), 0);
    }
}

static const struct unit_test tests[] = {
    UNIT_TEST(the_order_of_nodes_does_not_matter),
    UNIT_TEST(it_is_what_it_was),
    UNIT_TEST(as_many_as_there_are),
    UNIT_TEST(first_choices_go_by_weight),
    UNIT_TEST(equal_nodes_have_equal_shares),
    UNIT_TEST(a_node_that_comes_takes_its_part),
    UNIT_TEST(of_a_node_that_goes_only_what_it_had_moves),
    UNIT_TEST(zones_differ_while_there_are_enough),
    UNIT_TEST(no_zone_is_none),
};
UNIT_MAIN("placement", tests)
