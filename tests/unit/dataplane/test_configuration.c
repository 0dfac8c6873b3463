/* Every clause of a valid configuration, one broken at a time. */
#include "dataplane/configuration.h"
#include "tests/unit/unit.h"

static struct member member(uint32_t node)
{
    return (struct member){.node = node, .incarnation = node + 100};
}

/* Epoch 6 after epoch 5: voters 0, 1 and 2, led by 1, learner 3; voters before: 0, 1 and 4. */
static struct configuration good(void)
{
    struct configuration c = {
        .epoch = 6,
        .epoch_before = 5,
        .voter_count = 3,
        .learner_count = 1,
        .voter_before_count = 3,
        .leader = member(1),
        .learners = {member(3)},
        .voters_before = {member(0), member(1), member(4)},
    };
    for (uint32_t i = 0; i < 3; i++)
        c.voters[i] = member(i);
    return c;
}

static struct configuration lossy(void)
{
    struct configuration c = good();
    c.lossy = true;
    c.lsn_floor = 1;
    c.voter_before_count = 1;
    return c;
}

static void as_they_come_they_are_valid(void)
{
    struct configuration c = good();
    CU_ASSERT(configuration_is_valid(&c));
    c = lossy();
    CU_ASSERT(configuration_is_valid(&c));
    c = good();
    c.epoch_before = c.voter_before_count = 0; /* the first */
    CU_ASSERT(configuration_is_valid(&c));
    c = good();
    c.lsn_floor = 7; /* of no meaning */
    CU_ASSERT(configuration_is_valid(&c));
}

static void epochs_only_grow(void)
{
    struct configuration c = good();
    c.epoch = c.epoch_before;
    CU_ASSERT_FALSE(configuration_is_valid(&c));
    c.epoch--;
    CU_ASSERT_FALSE(configuration_is_valid(&c));
    c = good();
    c.epoch = c.epoch_before = c.voter_before_count = 0;
    CU_ASSERT_FALSE(configuration_is_valid(&c));
}

static void counts_keep_to_their_limits(void)
{
    struct configuration c = good();
    c.voter_count = 0;
    CU_ASSERT_FALSE(configuration_is_valid(&c));
    c = good();
    c.learner_count = 0;
    for (c.voter_count = 0; c.voter_count < LIMIT_VOTERS; c.voter_count++)
        c.voters[c.voter_count] = member(c.voter_count);
    CU_ASSERT(configuration_is_valid(&c));
    c.voter_count++;
    CU_ASSERT_FALSE(configuration_is_valid(&c));

    c = good();
    for (c.learner_count = 0; c.learner_count < LIMIT_PEERS - 3; c.learner_count++)
        c.learners[c.learner_count] = member(10 + c.learner_count);
    CU_ASSERT(configuration_is_valid(&c));
    c.learners[c.learner_count++] = member(20);
    CU_ASSERT_FALSE(configuration_is_valid(&c));
    c.learner_count = UINT32_MAX - 1; /* with the voters it is 1 */
    CU_ASSERT_FALSE(configuration_is_valid(&c));

    c = good();
    for (c.voter_before_count = 0; c.voter_before_count < LIMIT_VOTERS; c.voter_before_count++)
        c.voters_before[c.voter_before_count] = member(c.voter_before_count);
    CU_ASSERT(configuration_is_valid(&c));
    c.voter_before_count++;
    CU_ASSERT_FALSE(configuration_is_valid(&c));
}

static void the_leader_is_a_voter(void)
{
    struct configuration c = good();
    c.leader = member(3); /* a learner */
    CU_ASSERT_FALSE(configuration_is_valid(&c));
    c.leader = member(1);
    c.leader.incarnation++; /* another start of a voter's node */
    CU_ASSERT_FALSE(configuration_is_valid(&c));
}

static void no_member_stands_twice(void)
{
    struct configuration c = good();
    c.voters[2] = member(0);
    c.voters[2].incarnation++; /* its node is what counts */
    CU_ASSERT_FALSE(configuration_is_valid(&c));
    c = good();
    c.learners[0] = member(2);
    CU_ASSERT_FALSE(configuration_is_valid(&c));
    c = good();
    c.learners[1] = c.learners[0];
    c.learner_count = 2;
    CU_ASSERT_FALSE(configuration_is_valid(&c));
    c = good();
    c.voters_before[2] = member(0); /* two of three would be one node */
    CU_ASSERT_FALSE(configuration_is_valid(&c));
}

static void a_predecessor_has_voters(void)
{
    struct configuration c = good();
    c.voter_before_count = 0;
    CU_ASSERT_FALSE(configuration_is_valid(&c));
    c = good();
    c.epoch_before = 0; /* voters before it of no epoch */
    CU_ASSERT_FALSE(configuration_is_valid(&c));
}

static void a_lossy_one_has_a_predecessor_and_a_floor(void)
{
    struct configuration c = lossy();
    c.voter_before_count = 0; /* nobody survived */
    CU_ASSERT(configuration_is_valid(&c));
    c.epoch_before = 0; /* the first epoch has nothing to lose */
    CU_ASSERT_FALSE(configuration_is_valid(&c));
    c = lossy();
    c.epoch_before = 0;
    CU_ASSERT_FALSE(configuration_is_valid(&c));
    c = lossy();
    c.lsn_floor = 0;
    CU_ASSERT_FALSE(configuration_is_valid(&c));
    c = lossy();
    c.voters_before[1] = c.voters_before[0]; /* all are waited for: one of them twice never comes */
    c.voter_before_count = 2;
    CU_ASSERT_FALSE(configuration_is_valid(&c));
}

static const struct unit_test tests[] = {
    UNIT_TEST(as_they_come_they_are_valid),
    UNIT_TEST(epochs_only_grow),
    UNIT_TEST(counts_keep_to_their_limits),
    UNIT_TEST(the_leader_is_a_voter),
    UNIT_TEST(no_member_stands_twice),
    UNIT_TEST(a_predecessor_has_voters),
    UNIT_TEST(a_lossy_one_has_a_predecessor_and_a_floor),
};
UNIT_MAIN("configuration", tests)
