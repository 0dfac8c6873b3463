/* Whether shards can do without a node, by who is up. */
#include "control/quorum.h"

#include "dataplane/node.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define SHARDS 32u
#define LOG(n) (2u << NODE_LOG_SPACE_SHIFT | (n))

static struct coordinator_state *state;

/* Nodes 1 .. count that have come, and SHARDS shards. */
static void begin(uint32_t count, uint32_t replicas)
{
    free(state);
    state = calloc(1, coordinator_state_bytes(SHARDS));
    CU_ASSERT_PTR_NOT_NULL_FATAL(state);
    state->replicas = replicas;
    state->node_count = count;
    state->shard_count = SHARDS;
    for (uint32_t i = 0; i < count; i++)
        state->nodes[i] = (struct coordinator_node){.id = i + 1, .weight = 100, .start = 7};
    for (uint32_t i = 0; i < SHARDS; i++)
        state->shards[i].log = LOG(i);
}

static void end(void)
{
    free(state);
    state = NULL;
}

/* up: bit n for node n. */
static bool stays(uint32_t node, uint32_t up)
{
    uint32_t ids[LIMIT_VOTERS];
    struct coordinator_some some = {.ids = ids, .count = 0};
    for (uint32_t n = 1; n <= LIMIT_VOTERS; n++)
        if ((up >> n & 1) != 0)
            ids[some.count++] = n;
    return quorum_stays_without(state, node, &some);
}

#define UP2(a, b) (1u << (a) | 1u << (b))
#define UP3(a, b, c) (UP2(a, b) | 1u << (c))

static void two_of_which_one_is_down_are_too_few(void)
{
    begin(3, 3);
    for (uint32_t down = 1; down <= 3; down++) {
        uint32_t up = UP3(1, 2, 3) & ~(1u << down);
        for (uint32_t node = 1; node <= 3; node++)
            CU_ASSERT_EQUAL(stays(node, up), node == down);
    }
    for (uint32_t node = 1; node <= 3; node++)
        CU_ASSERT(stays(node, UP3(1, 2, 3)));
    end();
}

static void three_of_which_one_is_down_are_enough(void)
{
    begin(4, 3);
    CU_ASSERT(stays(3, UP3(1, 2, 3)));
    CU_ASSERT(stays(4, UP3(1, 2, 3)));
    begin(5, 5);
    CU_ASSERT(stays(1, UP3(1, 2, 3) | 1u << 4)); /* 3 of 4 */
    CU_ASSERT(!stays(1, UP3(1, 2, 3)));          /* 2 of 4 */
    CU_ASSERT(stays(5, UP3(1, 2, 3)));
    end();
}

/* Which shards it is about is a matter of placement: of many some want the two that are down. */
static void a_shard_that_would_want_those_that_are_down_is_enough(void)
{
    begin(5, 3);
    CU_ASSERT(!stays(1, UP3(1, 2, 3)));
    for (uint32_t node = 4; node <= 5; node++)
        CU_ASSERT(stays(node, UP3(1, 2, 3)));
    begin(3, 1);
    CU_ASSERT(!stays(1, UP2(1, 2)));
    CU_ASSERT(stays(3, UP2(1, 2)));
    end();
}

static void who_votes_on_nothing_is_not_missed(void)
{
    begin(4, 3);
    state->nodes[3].standing = COORDINATOR_DRAINING;
    CU_ASSERT(stays(4, UP2(1, 4)));
    CU_ASSERT(!stays(2, UP3(1, 2, 4))); /* 4 does not count: 1 of 1 and 3 */
    state->nodes[3].standing = COORDINATOR_LEAVING;
    CU_ASSERT(stays(4, UP2(1, 4)));
    state->nodes[3] = (struct coordinator_node){.id = 4, .weight = 100};
    CU_ASSERT(stays(4, UP2(1, 4)));
    CU_ASSERT(!stays(2, UP3(1, 2, 4)));
    end();
}

static void what_the_log_refuses_is_left_to_it(void)
{
    begin(2, 3);
    CU_ASSERT(stays(1, UP2(1, 2)));
    state->nodes[1].standing = COORDINATOR_DRAINING;
    CU_ASSERT(stays(1, UP2(1, 2)));
    CU_ASSERT(stays(9, UP2(1, 2)));
    begin(1, 3);
    CU_ASSERT(stays(1, 1u << 1));
    begin(3, 3);
    state->shard_count = 0;
    CU_ASSERT(stays(1, UP2(1, 2)));
    end();
}

static const struct unit_test tests[] = {
    UNIT_TEST(two_of_which_one_is_down_are_too_few),
    UNIT_TEST(three_of_which_one_is_down_are_enough),
    UNIT_TEST(a_shard_that_would_want_those_that_are_down_is_enough),
    UNIT_TEST(who_votes_on_nothing_is_not_missed),
    UNIT_TEST(what_the_log_refuses_is_left_to_it),
};
UNIT_MAIN("quorum", tests)
