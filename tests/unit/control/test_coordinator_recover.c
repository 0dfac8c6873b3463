/* Shards that most of their voters have lost, and where they begin again. */
#include "control/ruling.h"

#include "tests/unit/control/members_fixture.h"
#include "tests/unit/unit.h"

#define SHARDS MEMBERS_SHARDS

/* Two of three restart before the rest recovers. */
static void lose_all(struct member left[SHARDS])
{
    for (uint32_t i = 0; i < 2; i++)
        CU_ASSERT_EQUAL(members_enter(10 * (i + 1)), 1);
    for (uint32_t i = 0; i < SHARDS; i++) {
        left[i] = members_state->shards[i].configuration.voters_before[2];
        CU_ASSERT_TRUE_FATAL(ruling_is_lost(&members_state->shards[i].configuration));
    }
}

static void what_is_lost_goes_on_with_what_survived(void)
{
    static const uint32_t all[] = {10, 20, 30};
    struct member left[SHARDS];
    members_begin_alike(3, 3);
    members_obey();
    CU_ASSERT_EQUAL(members_recover(0, all, 3), 0); /* nothing is lost */
    lose_all(left);
    CU_ASSERT_EQUAL(members_recover(0, all, 2), -ENOENT); /* who holds it is not up */
    CU_ASSERT_EQUAL(members_recover(20, all, 3), -ENOENT);
    CU_ASSERT_EQUAL(members_recover(30, all, 3), SHARDS);
    for (uint32_t i = 0; i < SHARDS; i++) {
        const struct configuration *c = &members_state->shards[i].configuration;
        CU_ASSERT_TRUE(c->lossy && c->lsn_floor > members_state->origin);
        CU_ASSERT_EQUAL(c->leader.node, 30);
        CU_ASSERT_EQUAL(c->voter_before_count, 1);
        CU_ASSERT_TRUE(member_equal(&c->voters_before[0], &left[i]));
        CU_ASSERT_FALSE(ruling_is_lost(c));
    }
    members_obey();
    CU_ASSERT_EQUAL(members_check.recovered, SHARDS);
    CU_ASSERT_EQUAL(members_check.given_up, 0);
    members_end();
}

static void of_what_nobody_holds_people_may_begin_again_as_well(void)
{
    static const uint32_t all[] = {10, 20, 30};
    struct member left[SHARDS];
    members_begin_alike(3, 3);
    members_obey();
    lose_all(left);
    CU_ASSERT_EQUAL(members_recover(0, all, 3), SHARDS);
    uint64_t floor = members_state->shards[0].configuration.lsn_floor;
    CU_ASSERT_EQUAL(members_enter(30), 1); /* the survivor, before it could recover */
    CU_ASSERT_TRUE(ruling_is_gone(&members_state->shards[0].configuration));
    CU_ASSERT_EQUAL(members_recover(0, all, 3), SHARDS);
    CU_ASSERT_TRUE(members_state->shards[0].configuration.lsn_floor > floor);
    CU_ASSERT_EQUAL(members_state->shards[0].configuration.voter_before_count, 0);
    members_obey();
    members_end();
}

/* ---- above what begins again lies ---- */

static void a_ceiling_rises_once_for_all_who_know_it(void)
{
    members_begin_alike(3, 3);
    uint64_t first = members_state->lsn_ceiling;
    CU_ASSERT_EQUAL(first, members_state->origin + NODE_LSN_GRANT);
    CU_ASSERT_EQUAL(members_raise(10, first), 1);
    CU_ASSERT_EQUAL(members_state->lsn_ceiling, first + NODE_LSN_GRANT);
    CU_ASSERT_EQUAL(members_raise(20, first), 0);
    CU_ASSERT_EQUAL(members_raise(20, first + NODE_LSN_GRANT + 1), 0);
    CU_ASSERT_EQUAL(members_state->lsn_ceiling, first + NODE_LSN_GRANT);
    CU_ASSERT_EQUAL(members_raise(20, first + NODE_LSN_GRANT), 1);
    struct coordinator_command c = {.type = COORDINATOR_CEILING,
                                    .node = 10,
                                    .start = members_start_of(10) - 1,
                                    .lsn_ceiling = members_state->lsn_ceiling};
    CU_ASSERT_EQUAL(members_apply(&c), -ESTALE); /* a start before it needs nothing any more */
    members_state->lsn_ceiling = INT64_MAX - 1;
    CU_ASSERT_EQUAL(members_raise(10, INT64_MAX - 1), 1);
    CU_ASSERT_EQUAL(members_raise(10, INT64_MAX), 0);
    CU_ASSERT_EQUAL(members_state->lsn_ceiling, INT64_MAX);
    c.lsn_ceiling = 0;
    CU_ASSERT_STRING_EQUAL(coordinator_command_fault(&c), "ceiling");
    c.lsn_ceiling = (uint64_t)INT64_MAX + 1;
    CU_ASSERT_STRING_EQUAL(coordinator_command_fault(&c), "ceiling");
    members_end();
}

/* All that vote are lost, but for the last; what begins again lies above what others led up to. */
static void lose_and_judge(uint64_t granted)
{
    uint32_t up[LIMIT_VOTERS];
    for (uint32_t i = 0; i < SHARDS; i++) {
        const struct configuration c = members_state->shards[i].configuration;
        for (uint32_t v = 0; v + 1 < c.voter_count; v++)
            if (member_find(members_state->shards[i].configuration.voters, c.voter_count,
                            &c.voters[v]) >= 0)
                CU_ASSERT_EQUAL(members_enter(c.voters[v].node), 1);
    }
    CU_ASSERT_TRUE_FATAL(ruling_is_lost(&members_state->shards[0].configuration));
    CU_ASSERT_TRUE_FATAL(members_recover(0, up, members_all_up(up)) > 0);
    const struct configuration *c = &members_state->shards[0].configuration;
    CU_ASSERT_TRUE(c->lossy && c->lsn_floor > granted);
    CU_ASSERT_EQUAL(members_state->lsn_ceiling, c->lsn_floor + NODE_LSN_GRANT);
}

/* It lives, and was never asked: nobody but the log knows what it granted its logs. */
static void what_begins_again_lies_above_who_led_before_and_votes_no_more(void)
{
    members_begin_alike(4, 3);
    members_obey();
    uint32_t led = members_state->shards[0].configuration.leader.node;
    for (uint32_t i = 0; i < 100; i++)
        CU_ASSERT_EQUAL(members_raise(led, members_state->lsn_ceiling), 1);
    uint64_t granted = members_state->lsn_ceiling;
    CU_ASSERT_EQUAL(members_change(COORDINATOR_NODE_DRAIN, led, 0, ""), 1);
    members_obey();
    CU_ASSERT_EQUAL(coordinator_state_votes(members_state, led), 0);
    lose_and_judge(granted);
    members_end();
}

static void what_begins_again_lies_above_who_was_removed(void)
{
    members_begin_alike(4, 3);
    members_obey();
    uint32_t led = members_state->shards[0].configuration.leader.node;
    for (uint32_t i = 0; i < 100; i++)
        CU_ASSERT_EQUAL(members_raise(led, members_state->lsn_ceiling), 1);
    uint64_t granted = members_state->lsn_ceiling;
    CU_ASSERT_EQUAL(members_change(COORDINATOR_NODE_REMOVE, led, 0, ""), 1);
    members_obey();
    CU_ASSERT_PTR_NULL(coordinator_state_node(members_state, led));
    lose_and_judge(granted);
    members_end();
}

static const struct unit_test tests[] = {
    UNIT_TEST(what_is_lost_goes_on_with_what_survived),
    UNIT_TEST(of_what_nobody_holds_people_may_begin_again_as_well),
    UNIT_TEST(a_ceiling_rises_once_for_all_who_know_it),
    UNIT_TEST(what_begins_again_lies_above_who_led_before_and_votes_no_more),
    UNIT_TEST(what_begins_again_lies_above_who_was_removed),
};
UNIT_MAIN("coordinator_recover", tests)
