/* Who is in libraft's configuration, step by step. */
#include "control/raft_members.h"

#include "tests/unit/unit.h"

#define NODES 5u

static struct raft_member members[NODES];

static struct raft_members_step next(uint32_t count, uint32_t self)
{
    return raft_members_next(members, count, self);
}

static bool is(struct raft_members_step s, enum raft_members_kind kind, uint32_t node, int role)
{
    return s.kind == kind && s.node == node && s.role == role;
}

/* Nodes 1 .. count, the first ones voters, all of them there. */
static void begin(uint32_t count, uint32_t voters)
{
    for (uint32_t i = 0; i < NODES; i++)
        members[i] = (struct raft_member){.node = i + 1,
                                          .role = i < voters ? RAFT_VOTER : RAFT_STANDBY,
                                          .is_named = true,
                                          .is_eligible = true,
                                          .is_up = true};
    for (uint32_t i = count; i < NODES; i++)
        members[i] = (struct raft_member){.node = i + 1, .role = RAFT_MEMBERS_ABSENT};
}

static void gone(uint32_t node)
{
    members[node - 1].is_named = false;
    members[node - 1].is_eligible = false;
}

static void what_is_right_stays(void)
{
    begin(3, 3);
    CU_ASSERT_EQUAL(next(3, 1).kind, RAFT_MEMBERS_NONE);
    begin(5, 3);
    CU_ASSERT_EQUAL(next(5, 3).kind, RAFT_MEMBERS_NONE);
    begin(2, 1);
    CU_ASSERT_EQUAL(next(2, 1).kind, RAFT_MEMBERS_NONE);
    /* Voters of higher ids are not replaced by lower ones, and one that is down stays. */
    begin(4, 3);
    members[0].role = RAFT_STANDBY;
    members[3].role = RAFT_VOTER;
    members[2].is_up = false;
    CU_ASSERT_EQUAL(next(4, 4).kind, RAFT_MEMBERS_NONE);
}

static void a_node_comes_in_two_steps(void)
{
    begin(4, 3);
    members[3] = (struct raft_member){.node = 4, .role = RAFT_MEMBERS_ABSENT, .is_named = true};
    CU_ASSERT_TRUE(is(next(4, 1), RAFT_MEMBERS_ADD, 4, 0));
    CU_ASSERT_FALSE(next(4, 1).is_of_voters);
    members[3].role = RAFT_SPARE;
    CU_ASSERT_TRUE(is(next(4, 1), RAFT_MEMBERS_ASSIGN, 4, RAFT_STANDBY));
    members[3].role = RAFT_STANDBY;
    CU_ASSERT_EQUAL(next(4, 1).kind, RAFT_MEMBERS_NONE);
}

static void a_voter_is_replaced_before_it_goes(void)
{
    begin(4, 3);
    members[2].is_eligible = false; /* it is leaving */
    struct raft_members_step s = next(4, 1);
    CU_ASSERT_TRUE(is(s, RAFT_MEMBERS_ASSIGN, 4, RAFT_VOTER) && s.is_of_voters);
    members[3].is_up = false;
    CU_ASSERT_EQUAL(next(4, 1).kind, RAFT_MEMBERS_NONE); /* nobody is there to take its place */
    members[3].is_up = true;
    members[3].role = RAFT_VOTER;
    s = next(4, 1);
    CU_ASSERT_TRUE(is(s, RAFT_MEMBERS_ASSIGN, 3, RAFT_STANDBY) && s.is_of_voters);
    members[2].role = RAFT_STANDBY;
    CU_ASSERT_EQUAL(next(4, 1).kind, RAFT_MEMBERS_NONE);
    gone(3);
    CU_ASSERT_EQUAL(next(4, 1).kind, RAFT_MEMBERS_NONE);
    members[2].is_due = true;
    CU_ASSERT_TRUE(is(next(4, 1), RAFT_MEMBERS_REMOVE, 3, 0));
}

static void who_is_gone_does_not_vote_whatever_else(void)
{
    begin(4, 3);
    gone(3);
    members[3].is_up = false;
    CU_ASSERT_TRUE(is(next(4, 1), RAFT_MEMBERS_ASSIGN, 3, RAFT_STANDBY));
}

static void a_leader_hands_over_before_it_goes(void)
{
    begin(4, 3);
    gone(1);
    CU_ASSERT_TRUE(is(next(4, 1), RAFT_MEMBERS_ASSIGN, 4, RAFT_VOTER));
    members[3].role = RAFT_VOTER;
    members[1].is_up = false;
    CU_ASSERT_TRUE(is(next(4, 1), RAFT_MEMBERS_TRANSFER, 3, 0));
    CU_ASSERT_TRUE(is(next(4, 3), RAFT_MEMBERS_ASSIGN, 1, RAFT_STANDBY));
    members[0].role = RAFT_STANDBY;
    members[0].is_due = true;
    CU_ASSERT_NOT_EQUAL(next(4, 1).kind, RAFT_MEMBERS_REMOVE); /* itself: never */
}

static void of_two_nodes_one_votes(void)
{
    begin(3, 3);
    gone(3);
    CU_ASSERT_TRUE(is(next(3, 1), RAFT_MEMBERS_ASSIGN, 3, RAFT_STANDBY));
    CU_ASSERT_TRUE(is(next(3, 2), RAFT_MEMBERS_TRANSFER, 1, 0));
    members[2].role = RAFT_STANDBY;
    CU_ASSERT_TRUE(is(next(3, 1), RAFT_MEMBERS_ASSIGN, 2, RAFT_STANDBY));
    begin(3, 1);
    CU_ASSERT_TRUE(is(next(3, 1), RAFT_MEMBERS_ASSIGN, 2, RAFT_VOTER));
    members[2].is_eligible = false; /* it has not come yet */
    CU_ASSERT_EQUAL(next(3, 1).kind, RAFT_MEMBERS_NONE);
}

/* Of three voters a dead one leaves, still a node of the state: demoting a living one first would leave no
 * majority. */
static void who_is_down_is_demoted_before_who_is_up(void)
{
    begin(3, 3);
    members[1].is_eligible = false;
    members[1].is_up = false;
    CU_ASSERT_TRUE(is(next(3, 1), RAFT_MEMBERS_ASSIGN, 2, RAFT_STANDBY));
    members[1].role = RAFT_STANDBY;
    CU_ASSERT_TRUE(is(next(3, 1), RAFT_MEMBERS_ASSIGN, 3, RAFT_STANDBY));
    begin(3, 3);
    members[1].is_eligible = false; /* it leaves, and is up */
    CU_ASSERT_TRUE(is(next(3, 1), RAFT_MEMBERS_ASSIGN, 2, RAFT_STANDBY));
}

static void without_one_that_stays_nothing_changes(void)
{
    begin(2, 2);
    gone(1);
    gone(2);
    members[1].is_due = true;
    CU_ASSERT_EQUAL(next(2, 1).kind, RAFT_MEMBERS_NONE);
}

static void a_server_is_found_by_its_id(void)
{
    struct raft_server servers[] = {{.id = 3, .role = RAFT_VOTER}, {.id = 1, .role = RAFT_STANDBY}};
    const struct raft_configuration c = {.servers = servers, .n = 2};
    CU_ASSERT_PTR_EQUAL(raft_members_server(&c, 1), &servers[1]);
    CU_ASSERT_PTR_EQUAL(raft_members_server(&c, 3), &servers[0]);
    CU_ASSERT_PTR_NULL(raft_members_server(&c, 2));
}

static const struct unit_test tests[] = {
    UNIT_TEST(what_is_right_stays),
    UNIT_TEST(a_node_comes_in_two_steps),
    UNIT_TEST(a_voter_is_replaced_before_it_goes),
    UNIT_TEST(who_is_gone_does_not_vote_whatever_else),
    UNIT_TEST(a_leader_hands_over_before_it_goes),
    UNIT_TEST(of_two_nodes_one_votes),
    UNIT_TEST(who_is_down_is_demoted_before_who_is_up),
    UNIT_TEST(without_one_that_stays_nothing_changes),
    UNIT_TEST(a_server_is_found_by_its_id),
};
UNIT_MAIN("raft_members", tests)
