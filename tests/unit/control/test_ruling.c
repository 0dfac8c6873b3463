#include "control/ruling.h"

#include "tests/unit/unit.h"

#define VOTERS 4u

static const uint64_t since_same[LIMIT_VOTERS];

static struct member member_of(uint32_t node, uint64_t incarnation)
{
    return (struct member){.node = node, .incarnation = incarnation};
}

/* Nodes 1 .. VOTERS, each of incarnation 100; node 1 leads epoch 50. */
static struct configuration first(void)
{
    struct member voters[VOTERS];
    struct configuration c;
    for (uint32_t i = 0; i < VOTERS; i++)
        voters[i] = member_of(i + 1, 100);
    ruling_first(&c, 50, voters, VOTERS);
    return c;
}

static struct configuration active_first(void)
{
    struct configuration c = first();
    c.active = true;
    return c;
}

static struct configuration follow(const struct configuration *newest, uint32_t node,
                                   uint64_t incarnation)
{
    const struct member leader = member_of(node, incarnation);
    struct configuration next;
    ruling_follow(&next, newest, &leader);
    return next;
}

static struct configuration restart(const struct configuration *newest, uint32_t node,
                                    uint64_t incarnation, uint32_t turn)
{
    const struct member born = member_of(node, incarnation);
    struct configuration next;
    ruling_restart(&next, newest, &born, since_same, turn);
    return next;
}

static void is_led_by(const struct configuration *c, uint32_t node, uint64_t incarnation)
{
    CU_ASSERT_TRUE(configuration_is_valid(c));
    CU_ASSERT_EQUAL(c->leader.node, node);
    CU_ASSERT_EQUAL(c->leader.incarnation, incarnation);
}

static void voters_are(const struct member *list, uint32_t count, const uint64_t *incarnations)
{
    CU_ASSERT_EQUAL_FATAL(count, VOTERS);
    for (uint32_t i = 0; i < VOTERS; i++) {
        CU_ASSERT_EQUAL(list[i].node, i + 1);
        CU_ASSERT_EQUAL(list[i].incarnation, incarnations[i]);
    }
}

static void the_first_epoch_has_no_predecessor(void)
{
    struct configuration c = first();
    is_led_by(&c, 1, 100);
    CU_ASSERT_EQUAL(c.epoch, 50);
    CU_ASSERT_EQUAL(c.epoch_before, 0);
    CU_ASSERT_EQUAL(c.voter_before_count, 0);
    CU_ASSERT_FALSE(c.active);
    voters_are(c.voters, c.voter_count, (const uint64_t[]){100, 100, 100, 100});
}

static void what_follows_an_active_epoch_has_it_as_predecessor(void)
{
    struct configuration c = active_first(), next = follow(&c, 3, 100);
    is_led_by(&next, 3, 100);
    CU_ASSERT_EQUAL(next.epoch, 51);
    CU_ASSERT_EQUAL(next.epoch_before, 50);
    CU_ASSERT_FALSE(next.active);
    voters_are(next.voters_before, next.voter_before_count, (const uint64_t[]){100, 100, 100, 100});
}

static void what_replaces_a_pending_epoch_keeps_its_predecessor(void)
{
    struct configuration c = active_first(), pending = follow(&c, 3, 100);
    pending = restart(&pending, 2, 200, 0);
    struct configuration next = follow(&pending, 4, 100);
    is_led_by(&next, 4, 100);
    CU_ASSERT_EQUAL(next.epoch, 53);
    CU_ASSERT_EQUAL(next.epoch_before, 50);
    voters_are(next.voters, next.voter_count, (const uint64_t[]){100, 200, 100, 100});
    voters_are(next.voters_before, next.voter_before_count, (const uint64_t[]){100, 100, 100, 100});
    /* Active, it is the predecessor with the voters that it has. */
    next.active = true;
    next = follow(&next, 2, 200);
    CU_ASSERT_EQUAL(next.epoch_before, 53);
    voters_are(next.voters_before, next.voter_before_count, (const uint64_t[]){100, 200, 100, 100});
}

static void who_restarts_is_somebody_else_and_others_go_on_leading(void)
{
    struct configuration c = active_first(), next = restart(&c, 4, 200, 0);
    is_led_by(&next, 1, 100);
    CU_ASSERT_EQUAL(next.epoch, 51);
    voters_are(next.voters, next.voter_count, (const uint64_t[]){100, 100, 100, 200});
    voters_are(next.voters_before, next.voter_before_count, (const uint64_t[]){100, 100, 100, 100});
}

static void what_it_led_spreads_over_the_others(void)
{
    struct configuration c = active_first();
    for (uint32_t turn = 0; turn < 9; turn++) {
        struct configuration next = restart(&c, 1, 200, turn);
        is_led_by(&next, 2 + turn % 3, 100);
    }
    struct configuration led_by_3 = follow(&c, 3, 100);
    led_by_3.active = true;
    static const uint32_t order[] = {4, 1, 2, 4};
    for (uint32_t turn = 0; turn < 4; turn++) {
        struct configuration next = restart(&led_by_3, 3, 200, turn);
        is_led_by(&next, order[turn], 100);
    }
}

static void who_lost_its_memory_leads_nothing_before_it_was_a_voter_of_the_predecessor(void)
{
    struct configuration c = active_first(), next = restart(&c, 2, 200, 0);
    for (uint32_t turn = 0; turn < 6; turn++) {
        struct configuration again = restart(&next, 1, 300, turn);
        is_led_by(&again, 3 + turn % 2, 100);
    }
    CU_ASSERT_FALSE(ruling_may_lead(&next, &next.voters[1]));
    CU_ASSERT_TRUE(ruling_may_lead(&next, &next.voters[2]));
    CU_ASSERT_FALSE(ruling_may_lead(&next, &c.voters[1])); /* it is no voter any more */
    next.active = true;
    CU_ASSERT_TRUE(ruling_may_lead(&next, &next.voters[1]));
    struct configuration again = restart(&next, 1, 300, 0);
    is_led_by(&again, 2, 200);
}

static void who_has_been_there_for_longest_is_preferred(void)
{
    static const uint64_t since[LIMIT_VOTERS] = {4, 7, 3, 3};
    struct configuration c = active_first(), next;
    const struct member born = member_of(1, 200);
    for (uint32_t turn = 0; turn < 4; turn++) {
        ruling_restart(&next, &c, &born, since, turn);
        is_led_by(&next, 3 + turn % 2, 100);
    }
    /* It must be able to, all the same. */
    struct configuration pending = restart(&c, 3, 200, 0);
    pending = restart(&pending, 4, 200, 0);
    ruling_restart(&next, &pending, &born, since, 0);
    is_led_by(&next, 2, 100);
}

static void nobody_is_left(void)
{
    struct configuration c = active_first();
    for (uint32_t node = VOTERS; node > 1; node--)
        c = restart(&c, node, 200, 0);
    is_led_by(&c, 1, 100);
    c = restart(&c, 1, 300, 0);
    is_led_by(&c, 1, 300);
    CU_ASSERT_TRUE(ruling_is_lost(&c));
    CU_ASSERT_EQUAL(c.epoch_before, 50);
}

static void a_first_epoch_that_was_never_active_holds_nothing(void)
{
    struct configuration c = first();
    for (uint32_t round = 0; round < 3; round++)
        for (uint32_t node = 1; node <= VOTERS; node++)
            c = restart(&c, node, 200 + round, round);
    is_led_by(&c, 1, 202);
    CU_ASSERT_EQUAL(c.epoch, 50 + 3 * VOTERS);
    CU_ASSERT_EQUAL(c.epoch_before, 0);
    CU_ASSERT_EQUAL(c.voter_before_count, 0);
    CU_ASSERT_FALSE(ruling_is_lost(&c));
    CU_ASSERT_TRUE(ruling_may_lead(&c, &c.voters[3]));
}

static void lost_is_what_most_of_the_predecessor_has_forgotten(void)
{
    struct configuration c = active_first();
    CU_ASSERT_FALSE(ruling_is_lost(&c));
    c = restart(&c, 2, 200, 0);
    CU_ASSERT_FALSE(ruling_is_lost(&c)); /* 3 of 4 */
    struct configuration healed = c;
    healed.active = true;
    c = restart(&c, 4, 200, 0);
    CU_ASSERT_TRUE(ruling_is_lost(&c)); /* 2 of 4 are no majority */
    c = restart(&healed, 4, 200, 0);
    CU_ASSERT_FALSE(ruling_is_lost(&c));
}

static void what_was_lossy_is_so_once(void)
{
    struct configuration c = active_first();
    c.epoch_before = 40;
    c.voter_before_count = 1;
    c.voters_before[0] = c.voters[0];
    c.lossy = true;
    c.lsn_floor = 1000;
    c.active = false;
    struct configuration next = follow(&c, 1, 100);
    CU_ASSERT_TRUE(next.lossy);
    CU_ASSERT_EQUAL(next.lsn_floor, 1000);
    CU_ASSERT_EQUAL(next.voter_before_count, 1);
    c.active = true;
    next = follow(&c, 1, 100);
    CU_ASSERT_FALSE(next.lossy);
    CU_ASSERT_EQUAL(next.lsn_floor, 0);
    CU_ASSERT_EQUAL(next.voter_before_count, VOTERS);
}

static void what_nobody_holds_may_be_given_up(void)
{
    struct configuration next, c = active_first();
    for (uint32_t node = 1; node < VOTERS; node++)
        c = restart(&c, node, 200, 0);
    CU_ASSERT_TRUE(ruling_is_lost(&c));
    CU_ASSERT_FALSE(ruling_is_gone(&c)); /* the last one holds what it held */
    c = restart(&c, VOTERS, 200, 0);
    CU_ASSERT_TRUE(ruling_is_gone(&c));
    ruling_give_up(&next, &c, 7000);
    CU_ASSERT_TRUE(next.lossy && !next.active);
    CU_ASSERT_EQUAL(next.lsn_floor, 7000);
    CU_ASSERT_EQUAL(next.epoch, c.epoch + 1);
    CU_ASSERT_EQUAL(next.epoch_before, 50);
    CU_ASSERT_EQUAL(next.voter_before_count, 0);
    CU_ASSERT_FALSE(ruling_is_lost(&next) || ruling_is_gone(&next));
    /* It holds nothing, so anybody may lead it, also who comes back once more. */
    CU_ASSERT_TRUE(ruling_may_lead(&next, &next.voters[2]));
    c = restart(&next, next.leader.node, 300, 0);
    CU_ASSERT_TRUE(c.lossy);
    CU_ASSERT_EQUAL(c.lsn_floor, 7000);
    CU_ASSERT_FALSE(ruling_is_lost(&c));
    /* Once it is active it is worth as much as any. */
    c.active = true;
    for (uint32_t node = 1; node <= VOTERS; node++)
        c = restart(&c, node, 400, 0);
    CU_ASSERT_TRUE(ruling_is_gone(&c));
    CU_ASSERT_FALSE(c.lossy);
}

static const struct unit_test tests[] = {
    UNIT_TEST(the_first_epoch_has_no_predecessor),
    UNIT_TEST(what_follows_an_active_epoch_has_it_as_predecessor),
    UNIT_TEST(what_replaces_a_pending_epoch_keeps_its_predecessor),
    UNIT_TEST(who_restarts_is_somebody_else_and_others_go_on_leading),
    UNIT_TEST(what_it_led_spreads_over_the_others),
    UNIT_TEST(who_lost_its_memory_leads_nothing_before_it_was_a_voter_of_the_predecessor),
    UNIT_TEST(who_has_been_there_for_longest_is_preferred),
    UNIT_TEST(nobody_is_left),
    UNIT_TEST(a_first_epoch_that_was_never_active_holds_nothing),
    UNIT_TEST(lost_is_what_most_of_the_predecessor_has_forgotten),
    UNIT_TEST(what_was_lossy_is_so_once),
    UNIT_TEST(what_nobody_holds_may_be_given_up),
};
UNIT_MAIN("ruling", tests)
