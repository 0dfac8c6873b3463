/* Nodes that come, drain and go, and votes that follow them. */
#include "control/coordinator_members.h"

#include "tests/unit/control/members_fixture.h"
#include "tests/unit/unit.h"

#define SHARDS MEMBERS_SHARDS
#define LOG(n) MEMBERS_LOG(n)
#define START UINT64_C(1795249235478)
#define ROUNDS_MAX 200u

static const struct coordinator_some everybody = {.ids = NULL, .count = 0};

static void three_of_five_vote_and_the_first_choice_leads(void)
{
    members_begin_alike(5, 3);
    uint32_t votes = 0, learns = 0;
    for (uint32_t i = 0; i < SHARDS; i++) {
        const struct configuration *c = &members_state->shards[i].configuration;
        uint32_t wanted[LIMIT_VOTERS];
        CU_ASSERT_EQUAL(coordinator_members_wanted(members_state, members_state->shards[i].log,
                                                   &everybody, wanted),
                        3);
        CU_ASSERT_EQUAL(c->leader.node, wanted[0]);
        CU_ASSERT_EQUAL(c->voter_count, 3);
        CU_ASSERT_EQUAL(c->learner_count, 2);
    }
    for (uint32_t i = 0; i < 5; i++) {
        votes += coordinator_state_votes(members_state, members_state->nodes[i].id);
        learns += coordinator_state_learns(members_state, members_state->nodes[i].id);
    }
    CU_ASSERT_EQUAL(votes, 3 * SHARDS);
    CU_ASSERT_EQUAL(learns, 2 * SHARDS);
    members_obey();
    CU_ASSERT_EQUAL(members_check.voters_changed, 0);
    members_end();
}

static void a_node_that_comes_learns_and_then_votes_and_leads(void)
{
    members_begin_alike(3, 3);
    members_obey();
    CU_ASSERT_EQUAL(members_change(COORDINATOR_NODE_ADD, 40, 100, "a"), 1);
    CU_ASSERT_EQUAL(members_change(COORDINATOR_NODE_ADD, 40, 100, "a"), -EEXIST);
    CU_ASSERT_STRING_EQUAL(coordinator_state_node(members_state, 40)->address, "host-40:7700");
    CU_ASSERT_STRING_EQUAL(coordinator_state_node(members_state, 40)->zone, "a");
    CU_ASSERT_EQUAL(members_state->shards[0].move, 0); /* it has not come */
    CU_ASSERT_EQUAL(members_enter(40), 1);
    uint32_t wanted = 0, first = 0;
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct coordinator_shard *s = &members_state->shards[i];
        uint32_t ids[LIMIT_VOTERS];
        CU_ASSERT_EQUAL(s->move, s->configuration.leader.node); /* a hand-over to itself */
        (void)coordinator_members_wanted(members_state, s->log, &everybody, ids);
        wanted += coordinator_state_wants(members_state, s->log, 40);
        first += ids[0] == 40;
    }
    CU_ASSERT_TRUE_FATAL(wanted > 0 && wanted < SHARDS && first > 0);
    members_obey();
    CU_ASSERT_EQUAL(coordinator_state_votes(members_state, 40), wanted);
    CU_ASSERT_EQUAL(coordinator_state_learns(members_state, 40), SHARDS - wanted);
    CU_ASSERT_EQUAL(members_check.promoted, wanted); /* nothing else moved */
    CU_ASSERT_EQUAL(coordinator_state_duties(members_state, 40), first);
    CU_ASSERT_EQUAL(members_change(COORDINATOR_NODE_ADD, 50, 1, ""), 1);
    CU_ASSERT_EQUAL(members_change(COORDINATOR_NODE_REMOVE, 50, 0, ""), 1); /* it never came */
    CU_ASSERT_PTR_NULL(coordinator_state_node(members_state, 50));
    members_end();
}

static void a_node_that_drains_learns_and_comes_back(void)
{
    members_begin_alike(4, 3);
    members_obey();
    uint32_t votes = coordinator_state_votes(members_state, 20);
    CU_ASSERT_TRUE_FATAL(votes > 0);
    CU_ASSERT_EQUAL(members_change(COORDINATOR_NODE_DRAIN, 20, 0, ""), 1);
    CU_ASSERT_EQUAL(members_change(COORDINATOR_NODE_DRAIN, 20, 0, ""), 0);
    CU_ASSERT_EQUAL(members_change(COORDINATOR_NODE_DRAIN, 99, 0, ""), -ENOENT);
    CU_ASSERT_EQUAL(coordinator_state_votes(members_state, 20),
                    votes); /* until others have kept up */
    members_obey();
    CU_ASSERT_EQUAL(coordinator_state_votes(members_state, 20), 0);
    CU_ASSERT_EQUAL(coordinator_state_duties(members_state, 20), 0);
    CU_ASSERT_EQUAL(coordinator_state_learns(members_state, 20), SHARDS);
    const struct coordinator_command move = {
        .type = COORDINATOR_MOVE, .node = 20, .logs = {.first = 0, .last = UINT32_MAX}};
    CU_ASSERT_EQUAL(members_apply(&move), -ENOENT);
    CU_ASSERT_EQUAL(members_change(COORDINATOR_NODE_UNDRAIN, 20, 0, ""), 1);
    members_obey();
    CU_ASSERT_EQUAL(coordinator_state_votes(members_state, 20), votes);
    members_end();
}

static void a_node_that_is_removed_goes_when_nobody_names_it(void)
{
    members_begin_alike(3, 3);
    members_obey();
    struct coordinator_shard *s = &members_state->shards[0];
    uint64_t epoch = s->configuration.epoch;
    uint32_t gone = s->configuration.leader.node;
    CU_ASSERT_EQUAL(members_change(COORDINATOR_NODE_REMOVE, gone, 0, ""), 1);
    CU_ASSERT_EQUAL(members_change(COORDINATOR_NODE_REMOVE, gone, 0, ""), 0);
    CU_ASSERT_EQUAL(members_change(COORDINATOR_NODE_UNDRAIN, gone, 0, ""), -EPERM);
    CU_ASSERT_EQUAL(members_change(COORDINATOR_NODE_DRAIN, gone, 0, ""), -EPERM);
    CU_ASSERT_EQUAL(members_change(COORDINATOR_NODE_REMOVE, gone == 10 ? 20 : 10, 0, ""), -EPERM);
    CU_ASSERT_NOT_EQUAL(s->move, 0);
    CU_ASSERT_NOT_EQUAL(s->move, gone); /* it shall not vote: another one leads */
    CU_ASSERT_TRUE(members_obey_one(0));
    s = &members_state->shards[0];
    CU_ASSERT_EQUAL(s->configuration.epoch, epoch + 1);
    CU_ASSERT_EQUAL(s->configuration.voter_count, 2);
    CU_ASSERT_EQUAL(s->configuration.learners[0].node, gone); /* what is recovered is on it, too */
    CU_ASSERT_TRUE(members_obey_one(0));
    CU_ASSERT_NOT_EQUAL(s->move, 0); /* and now it is not needed any more */
    members_obey();
    CU_ASSERT_PTR_NULL(coordinator_state_node(members_state, gone));
    CU_ASSERT_EQUAL(members_state->node_count, 2);
    CU_ASSERT_EQUAL(members_enter(gone), -ENOENT);
    /* It may come again, as somebody else. */
    CU_ASSERT_EQUAL(members_change(COORDINATOR_NODE_ADD, gone, 100, ""), 1);
    CU_ASSERT_EQUAL(members_enter(gone), 1);
    members_obey();
    CU_ASSERT_EQUAL(coordinator_state_votes(members_state, gone), SHARDS);
    members_end();
}

/* It restarts when it only counts as one that voted before: then it is no member, and not forgotten either. */
static void who_voted_before_is_not_forgotten_while_that_counts(void)
{
    members_begin_alike(3, 3);
    members_obey();
    CU_ASSERT_EQUAL(members_change(COORDINATOR_NODE_REMOVE, 30, 0, ""), 1);
    for (uint32_t i = 0; i < SHARDS; i++)
        CU_ASSERT_TRUE(members_obey_one(i));
    CU_ASSERT_EQUAL(coordinator_state_learns(members_state, 30), SHARDS);
    CU_ASSERT_EQUAL(members_enter(30), 1);
    CU_ASSERT_EQUAL(coordinator_state_learns(members_state, 30) +
                        coordinator_state_votes(members_state, 30),
                    0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(coordinator_state_node(members_state, 30));
    members_obey();
    CU_ASSERT_PTR_NULL(coordinator_state_node(members_state, 30));
    members_end();
}

static void no_more_nodes_than_there_can_be(void)
{
    members_begin_alike(LIMIT_VOTERS, 3);
    CU_ASSERT_EQUAL(members_change(COORDINATOR_NODE_ADD, 90, 100, ""), -ENOSPC);
    members_end();
    members_state = NULL;
    members_check = (struct coordinator_check){.begun = false};
    CU_ASSERT_EQUAL(members_change(COORDINATOR_NODE_ADD, 90, 100, ""), -ENOMEDIUM);
    struct coordinator_entry entry = {.origin = 1,
                                      .replicas = 1,
                                      .node_count = 2,
                                      .nodes = {{10, 1, ""}, {20, 1, ""}},
                                      .space_count = 1,
                                      .space = {{2, 1}}};
    CU_ASSERT_EQUAL(members_enter_as(10, START, &entry), 1);
    CU_ASSERT_EQUAL(members_change(COORDINATOR_NODE_ADD, 90, 100, ""), -EAGAIN);
    entry.nodes[0].weight = 2;
    CU_ASSERT_EQUAL(members_enter_as(20, START, &entry),
                    -EEXIST); /* they do not agree on who begins */
    entry.nodes[0].weight = 1;
    entry.replicas = 2;
    CU_ASSERT_EQUAL(members_enter_as(20, START, &entry), -EEXIST);
    members_end();
}

/* The one voter of a shard is another one: through two. */
static void a_single_voter_is_followed_through_two(void)
{
    members_begin_alike(3, 1);
    members_obey();
    uint32_t from = members_state->shards[0].configuration.voters[0].node;
    CU_ASSERT_EQUAL(members_change(COORDINATOR_NODE_DRAIN, from, 0, ""), 1);
    uint32_t most = 0;
    for (uint32_t i = 0; i < ROUNDS_MAX && members_obey_one(0); i++)
        most = max_u64(most, members_state->shards[0].configuration.voter_count) == 2 ? 2 : most;
    CU_ASSERT_EQUAL(most, 2);
    CU_ASSERT_EQUAL(members_state->shards[0].configuration.voter_count, 1);
    CU_ASSERT_NOT_EQUAL(members_state->shards[0].configuration.voters[0].node, from);
    members_obey();
    members_end();
}

static void only_a_wanted_learner_is_promoted_and_only_by_its_leader(void)
{
    members_begin_alike(4, 3);
    members_obey();
    CU_ASSERT_EQUAL(members_change(COORDINATOR_NODE_DRAIN, 20, 0, ""), 1);
    uint32_t i = 0;
    while (coordinator_state_wants(members_state, LOG(i),
                                   members_state->shards[i].configuration.learners[0].node) ==
           false)
        i++;
    CU_ASSERT_TRUE_FATAL(i < SHARDS);
    struct coordinator_shard *s = &members_state->shards[i], other = *s;
    const struct configuration *c = &s->configuration;
    const struct member leader = c->leader;
    const struct member voter = c->voters[leader.node == c->voters[0].node ? 1 : 0];
    uint32_t learner = c->learners[0].node;
    other.configuration.epoch++;
    CU_ASSERT_EQUAL(members_of_epoch(COORDINATOR_PROMOTE, &other, &leader, learner), 0);
    CU_ASSERT_EQUAL(members_of_epoch(COORDINATOR_PROMOTE, s, &voter, learner), 0);
    CU_ASSERT_EQUAL(members_of_epoch(COORDINATOR_PROMOTE, s, &leader, voter.node), 0);
    CU_ASSERT_EQUAL(members_of_epoch(COORDINATOR_PROMOTE, s, &leader, 77), 0);
    CU_ASSERT_EQUAL(members_of_epoch(COORDINATOR_PROMOTE, s, &leader, learner), 1);
    CU_ASSERT_EQUAL(members_of_epoch(COORDINATOR_PROMOTE, s, &leader, learner), 0);
    CU_ASSERT_EQUAL(s->promote, learner);
    CU_ASSERT_NOT_EQUAL(s->move, 0);
    /* It restarts before the leader lets go: what kept up is no more. */
    CU_ASSERT_EQUAL(members_enter(learner), 1);
    s = &members_state->shards[i];
    CU_ASSERT_EQUAL(s->promote, 0);
    CU_ASSERT_EQUAL(members_of_epoch(COORDINATOR_PROMOTE, s, &leader, learner), 0);
    members_obey();
    members_end();
}

static void who_learns_is_no_heir(void)
{
    members_begin_alike(4, 3);
    members_obey();
    const struct configuration *c = &members_state->shards[0].configuration;
    const struct member leader = c->leader;
    uint32_t learner = c->learners[0].node;
    struct coordinator_command command = {.type = COORDINATOR_LEAVE,
                                          .node = leader.node,
                                          .start = leader.incarnation,
                                          .others = {.nodes = {learner}, .count = 1}};
    CU_ASSERT(members_apply(&command) >= 0);
    CU_ASSERT_EQUAL(members_state->shards[0].move, 0);
    command = (struct coordinator_command){
        .type = COORDINATOR_MOVE, .node = learner, .logs = {.first = LOG(0), .last = LOG(0)}};
    CU_ASSERT_EQUAL(members_apply(&command), -ENOENT);
    command = (struct coordinator_command){.type = COORDINATOR_FAIL,
                                           .node = leader.node,
                                           .start = leader.incarnation,
                                           .others = {.nodes = {learner}, .count = 1}};
    CU_ASSERT(members_apply(&command) >= 0);
    CU_ASSERT_EQUAL(members_state->shards[0].configuration.leader.node, leader.node);
    for (uint32_t i = 0; i < 3; i++)
        if (c->voters[i].node != leader.node)
            command.others.nodes[command.others.count++] = c->voters[i].node;
    CU_ASSERT(members_apply(&command) > 0);
    CU_ASSERT_NOT_EQUAL(members_state->shards[0].configuration.leader.node, leader.node);
    CU_ASSERT_NOT_EQUAL(members_state->shards[0].configuration.leader.node, learner);
    members_obey();
    members_end();
}

/* It votes in nothing: no epoch ends for it before its leader has let go. */
static void a_learner_that_restarts_is_due(void)
{
    members_begin_alike(4, 3);
    members_obey();
    const struct configuration before = members_state->shards[0].configuration;
    CU_ASSERT_EQUAL(members_enter(before.learners[0].node), 1);
    CU_ASSERT_EQUAL(members_state->shards[0].configuration.epoch, before.epoch);
    CU_ASSERT_EQUAL(members_state->shards[0].move, before.leader.node);
    members_obey();
    CU_ASSERT_EQUAL(members_state->shards[0].configuration.leader.node, before.leader.node);
    CU_ASSERT_EQUAL(members_state->shards[0].configuration.learners[0].incarnation,
                    members_start_last);
    members_end();
}

static const struct unit_test tests[] = {
    UNIT_TEST(three_of_five_vote_and_the_first_choice_leads),
    UNIT_TEST(a_node_that_comes_learns_and_then_votes_and_leads),
    UNIT_TEST(a_node_that_drains_learns_and_comes_back),
    UNIT_TEST(a_node_that_is_removed_goes_when_nobody_names_it),
    UNIT_TEST(who_voted_before_is_not_forgotten_while_that_counts),
    UNIT_TEST(no_more_nodes_than_there_can_be),
    UNIT_TEST(a_single_voter_is_followed_through_two),
    UNIT_TEST(only_a_wanted_learner_is_promoted_and_only_by_its_leader),
    UNIT_TEST(who_learns_is_no_heir),
    UNIT_TEST(a_learner_that_restarts_is_due),
};
UNIT_MAIN("coordinator_members", tests)
