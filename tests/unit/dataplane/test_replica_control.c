/* Golden traces of what replicas ask the control plane for, and of the rules that it may rely on.  One
 * sentence of DESIGN section 2 or 5 stands above each. */
#include "tests/unit/dataplane/replica_cluster.h"
#include "tests/unit/unit.h"

static const struct cluster_config three = {.node_count = 3};

#define SEGMENT 65536u

/* "From a sealed majority the leader takes the log with the highest (last epoch, last LSN)" (Ongaro
 * 3.6.1): the longer log of the older epoch is the one that is cut. */
static void the_later_epoch_beats_the_longer_log(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    cluster_cut_off(&c, 0, true);
    cluster_put(&c, 0, 9, 2000); /* nobody hears it */
    c.time += 2 * CLUSTER_LEASE;
    c.quiet = true;
    cluster_pend(&c, 2, 1, 7);
    cluster_activate(&c);
    c.quiet = false;
    CU_ASSERT(cluster_log_end(&c, 0) > cluster_log_end(&c, 2) + 1000);
    cluster_cut_off(&c, 0, false);
    cluster_cut_off(&c, 1, true);
    c.time += 2 * CLUSTER_LEASE;
    cluster_forget(&c);
    cluster_pend(&c, 3, 2, 7);
    cluster_expect(&c, "pending e3 led by 2\n"
                       "  2 seals e3\n"
                       "2>0 SEAL e3 after e2\n"
                       "  0 follows e3\n"
                       "  0 reads no more\n"
                       "0>2 SEALED e3 end=2280 commit=208 table e1@0\n"
                       "  2 brings e3\n"
                       "0>2 PULSE @4040 list=4 4: remove(e1)\n"
                       "2>0 APPEND e3 commit=352\n"
                       "2>0 ECHO @4040 list=4\n"
                       "0>2 JOIN e3 end=2280 commit=208 table e1@0\n"
                       "2>0 CUT e3 208\n"
                       "0>2 ACK e3 208 commit=208\n"
                       "2>0 APPEND e3 [208,480) commit=352\n"
                       "  0 commits 352\n"
                       "0>2 ACK e3 480 commit=352\n"
                       "  2 asks to activate e3\n");
    cluster_activate(&c);
    CU_ASSERT_EQUAL(cluster_count(&c, 2, REPLICA_COUNT_FETCHES), 0);
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_CUTS), 1);
    CU_ASSERT(cluster_same_log(&c, 0, 2));
    cluster_close(&c);
}

/* "brings a majority of the new voters to that log plus a first record of e, then asks for activation":
 * and asks again until it is told. */
static void an_unanswered_activation_is_asked_for_again(void)
{
    static struct cluster c;
    cluster_open(&c, &three);
    c.quiet = true;
    cluster_pend(&c, 1, 0, 7);
    c.quiet = false;
    cluster_wait(&c, CLUSTER_RETRY - 1);
    cluster_expect(&c, "");
    cluster_wait(&c, 1);
    cluster_expect(&c, "  0 asks to activate e1\n");
    cluster_wait(&c, CLUSTER_RETRY);
    cluster_expect(&c, "  0 asks to activate e1\n");
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), 0);
    cluster_activate(&c);
    cluster_forget(&c);
    cluster_wait(&c, CLUSTER_RETRY);
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), 96);
    CU_ASSERT_PTR_NULL(strstr(c.trace, "asks"));
    cluster_close(&c);
}

/* A write of n bytes, unless there is no room below the ceiling. */
static int put_large(struct cluster *c, uint32_t n)
{
    static uint8_t value[SEGMENT];
    uint64_t key = 7;
    int error = fixture_put(&c->nodes[0].shard, &key, sizeof key, value, n);
    group_wake(&c->nodes[0].group, &c->nodes[0].replica);
    cluster_pass(c, 0);
    return error;
}

/* "The control plane grants each shard an LSN ceiling ahead of use; a leader never appends past it." */
static void a_ceiling_is_asked_for_ahead_of_use(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.quiet = true;
    cluster_grant(&c, 5 * SEGMENT);
    c.quiet = false;
    while (cluster_log_end(&c, 0) <= SEGMENT) {
        CU_ASSERT_PTR_NULL(strstr(c.trace, "ceiling"));
        cluster_forget(&c);
        CU_ASSERT_EQUAL_FATAL(put_large(&c, 20000), 0);
    }
    CU_ASSERT_PTR_NOT_NULL(strstr(c.trace, "  0 asks for a ceiling of 609896\n"));
    cluster_forget(&c);
    c.time += CLUSTER_RETRY - 1;
    cluster_put(&c, 0, 8, 8); /* not at every turn */
    cluster_expect(&c, "put at 0\n"
                       "0>1 APPEND e1 [85608,85712) commit=85608\n"
                       "0>2 APPEND e1 [85608,85712) commit=85608\n"
                       "1>0 ACK e1 85712 commit=85608\n"
                       "  0 commits 85712\n"
                       "2>0 ACK e1 85712 commit=85608\n"
                       "0>1 APPEND e1 commit=85712\n"
                       "  1 commits 85712\n"
                       "0>2 APPEND e1 commit=85712\n"
                       "  2 commits 85712\n");
    c.time++;
    cluster_put(&c, 0, 8, 8);
    cluster_expect(&c, "put at 0\n"
                       "  0 asks for a ceiling of 610128\n"
                       "0>1 APPEND e1 [85712,85840) commit=85712\n"
                       "0>2 APPEND e1 [85712,85840) commit=85712\n"
                       "1>0 ACK e1 85840 commit=85712\n"
                       "  0 commits 85840\n"
                       "2>0 ACK e1 85840 commit=85712\n"
                       "0>1 APPEND e1 commit=85840\n"
                       "  1 commits 85840\n"
                       "0>2 APPEND e1 commit=85840\n"
                       "  2 commits 85840\n");
    /* Nobody answers: it goes on to the last byte that it may give, and no further. */
    c.quiet = true;
    while (put_large(&c, 20000) == 0)
        CU_ASSERT_FATAL(cluster_log_end(&c, 0) <= 5 * SEGMENT);
    while (put_large(&c, 8) == 0)
        CU_ASSERT_FATAL(cluster_log_end(&c, 0) <= 5 * SEGMENT);
    CU_ASSERT_EQUAL(put_large(&c, 8), -EAGAIN);
    CU_ASSERT(cluster_log_end(&c, 0) > 4 * SEGMENT - 256);
    c.quiet = false;
    cluster_grant(&c, 10 * SEGMENT);
    CU_ASSERT_PTR_NULL(strstr(c.trace, "asks"));
    cluster_forget(&c);
    CU_ASSERT_EQUAL(put_large(&c, 8), 0);
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), cluster_log_end(&c, 0));
    cluster_close(&c);
}

/* "A caught-up learner is made voter by itself": it has kept up for a lease. */
static void a_learner_that_keeps_up_is_found_fit_to_vote(void)
{
    static struct cluster c;
    cluster_open(&c, &three);
    c.quiet = true;
    cluster_learn(&c, 1, 0, 3);
    cluster_activate(&c);
    cluster_put(&c, 0, 7, 8);
    cluster_pass(&c, 0);
    cluster_wait(&c, CLUSTER_LEASE - 1);
    c.quiet = false;
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_PROMOTIONS), 0);
    c.time++;
    cluster_pass(&c, 0);
    cluster_expect(&c, "  0 finds 2 fit to vote\n");
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_PROMOTIONS), 1);
    cluster_put(&c, 0, 8, 8);
    /* "A change of voters under the same leader is a hand-over to itself." */
    c.quiet = true;
    cluster_hand_over(&c, 0);
    c.quiet = false;
    cluster_forget(&c);
    cluster_pend(&c, 2, 0, 7);
    cluster_expect(&c, "pending e2 led by 0\n"
                       "  0 seals e2\n"
                       "0>1 SEAL e2 after e1\n"
                       "1>0 SEALED e2 end=336 commit=336 table e1@0\n"
                       "  0 brings e2\n"
                       "0>1 APPEND e2 commit=336\n"
                       "0>2 APPEND e2 commit=336\n"
                       "1>0 JOIN e2 end=336 commit=336 table e1@0\n"
                       "2>0 JOIN e2 end=336 commit=336 table e1@0\n"
                       "0>1 CUT e2 336\n"
                       "0>2 CUT e2 336\n"
                       "1>0 ACK e2 336 commit=336\n"
                       "2>0 ACK e2 336 commit=336\n"
                       "0>1 APPEND e2 [336,480) commit=336\n"
                       "0>2 APPEND e2 [336,480) commit=336\n"
                       "1>0 ACK e2 480 commit=336\n"
                       "  0 asks to activate e2\n"
                       "2>0 ACK e2 480 commit=336\n");
    cluster_activate(&c);
    cluster_cut_off(&c, 1, true);
    cluster_put(&c, 0, 9, 8);
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), cluster_log_end(&c, 0)); /* its word counts */
    cluster_close(&c);
}

/* Nodes 0 and 1 vote, 2 learns, and one write is everywhere; no time has passed since. */
static void learner_open(struct cluster *c)
{
    cluster_open(c, &three);
    c->quiet = true;
    cluster_learn(c, 1, 0, 3);
    cluster_activate(c);
    cluster_put(c, 0, 7, 8);
    cluster_pass(c, 0);
    c->quiet = false;
    cluster_forget(c);
}

static uint64_t promotions(const struct cluster *c)
{
    return cluster_count(c, 0, REPLICA_COUNT_PROMOTIONS);
}

/* A write that it lacks begins the lease anew that it must keep up for. */
static void a_learner_that_fell_behind_is_found_fit_later(void)
{
    static struct cluster c;
    learner_open(&c);
    cluster_wait(&c, CLUSTER_LEASE / 2);
    c.cut_off[0][2] = true;
    cluster_put(&c, 0, 8, 8);
    c.cut_off[0][2] = false;
    cluster_wait(&c, CLUSTER_RETRY); /* it is there again from here on */
    cluster_run(&c, CLUSTER_LEASE - CLUSTER_HEARTBEAT);
    CU_ASSERT_EQUAL(promotions(&c), 0);
    cluster_run(&c, CLUSTER_HEARTBEAT);
    CU_ASSERT_EQUAL(promotions(&c), 1);
    cluster_close(&c);
}

/* "An idle shard costs no message and no cycle": nor with a learner, from the moment on that it was found fit,
 * which is said once, whether or not it falls behind later. */
static void a_learner_that_stays_one_costs_no_cycle(void)
{
    static struct cluster c;
    learner_open(&c);
    CU_ASSERT_FALSE(replica_is_idle(&c.nodes[0].replica)); /* watched */
    CU_ASSERT(replica_waits(&c.nodes[0].replica));         /* now and then */
    cluster_run(&c, 2 * CLUSTER_LEASE);
    CU_ASSERT_EQUAL(promotions(&c), 1);
    CU_ASSERT(replica_is_idle(&c.nodes[0].replica) && replica_is_idle(&c.nodes[2].replica));
    CU_ASSERT_EQUAL(c.nodes[0].group.busy_count, 0);
    c.cut_off[0][2] = true;
    cluster_put(&c, 0, 8, 8);
    c.cut_off[0][2] = false;
    cluster_run(&c, 3 * CLUSTER_LEASE);
    CU_ASSERT_EQUAL(cluster_log_end(&c, 2), cluster_log_end(&c, 0));
    CU_ASSERT_EQUAL(promotions(&c), 1);
    CU_ASSERT_EQUAL(c.nodes[0].group.busy_count, 0);
    /* Another epoch, another leader's word. */
    cluster_hand_over(&c, 0);
    cluster_learn(&c, 2, 0, 3);
    cluster_activate(&c);
    cluster_run(&c, 2 * CLUSTER_LEASE);
    CU_ASSERT_EQUAL(promotions(&c), 2);
    cluster_close(&c);
}

/* A learner that is not there is not watched, and is found fit a lease after it came, not at once. */
static void a_learner_that_was_away_is_found_fit_a_lease_after_it_came(void)
{
    static struct cluster c;
    learner_open(&c);
    cluster_cut_off(&c, 2, true);
    cluster_run(&c, 3 * CLUSTER_LEASE);
    CU_ASSERT_EQUAL(promotions(&c), 0);
    CU_ASSERT_EQUAL(c.nodes[0].group.busy_count, 0);
    cluster_cut_off(&c, 2, false);
    cluster_run(&c, CLUSTER_LEASE - CLUSTER_HEARTBEAT);
    CU_ASSERT_EQUAL(promotions(&c), 0);
    cluster_run(&c, 3 * CLUSTER_HEARTBEAT);
    CU_ASSERT_EQUAL(promotions(&c), 1);
    CU_ASSERT_EQUAL(c.nodes[0].group.busy_count, 0);
    cluster_close(&c);
}

static const struct unit_test tests[] = {
    UNIT_TEST(the_later_epoch_beats_the_longer_log),
    UNIT_TEST(an_unanswered_activation_is_asked_for_again),
    UNIT_TEST(a_ceiling_is_asked_for_ahead_of_use),
    UNIT_TEST(a_learner_that_keeps_up_is_found_fit_to_vote),
    UNIT_TEST(a_learner_that_fell_behind_is_found_fit_later),
    UNIT_TEST(a_learner_that_stays_one_costs_no_cycle),
    UNIT_TEST(a_learner_that_was_away_is_found_fit_a_lease_after_it_came),
};
UNIT_MAIN("replica_control", tests)
