/* How peers learn of a commit: by the next bytes; alone when none came for a time, or when the leader is
 * about to sleep; again when that was lost.  Three replicas, golden traces. */
#include "tests/unit/dataplane/replica_cluster.h"
#include "tests/unit/unit.h"

#define NOTICE 30u

static void lead(struct cluster *c)
{
    cluster_lead(c, &(struct cluster_config){.node_count = 3});
    cluster_forget(c);
    c->nodes[0].replica.times.notice = NOTICE;
}

/* A write whose commit nobody but the leader knows of. */
static void put_untold(struct cluster *c, uint64_t key)
{
    cluster_put(c, 0, key, 8);
    CU_ASSERT_EQUAL(cluster_committed(c, 0), cluster_log_end(c, 0));
    CU_ASSERT(cluster_committed(c, 1) < cluster_committed(c, 0));
    CU_ASSERT_EQUAL(cluster_committed(c, 2), cluster_committed(c, 1));
    CU_ASSERT_TRUE(replica_is_untold(&c->nodes[0].replica));
}

static void a_commit_rides_on_the_next_bytes(void)
{
    static struct cluster c;
    lead(&c);
    put_untold(&c, 8);
    put_untold(&c, 9);
    cluster_expect(&c, "put at 0\n"
                       "0>1 APPEND e1 [208,336) commit=208\n"
                       "0>2 APPEND e1 [208,336) commit=208\n"
                       "1>0 ACK e1 336 commit=208\n"
                       "  0 commits 336\n"
                       "2>0 ACK e1 336 commit=208\n"
                       "put at 0\n"
                       "0>1 APPEND e1 [336,464) commit=336\n"
                       "  1 commits 336\n"
                       "0>2 APPEND e1 [336,464) commit=336\n"
                       "  2 commits 336\n"
                       "1>0 ACK e1 464 commit=336\n"
                       "  0 commits 464\n"
                       "2>0 ACK e1 464 commit=336\n");
    cluster_close(&c);
}

static void a_commit_that_no_bytes_carry_goes_alone_in_time(void)
{
    static struct cluster c;
    lead(&c);
    put_untold(&c, 8);
    cluster_forget(&c);
    cluster_wait(&c, NOTICE - 1);
    CU_ASSERT_EQUAL(cluster_committed(&c, 1), 208);
    cluster_expect(&c, "");
    cluster_wait(&c, 1);
    cluster_expect(&c, "0>1 APPEND e1 commit=336\n"
                       "  1 commits 336\n"
                       "0>2 APPEND e1 commit=336\n"
                       "  2 commits 336\n");
    CU_ASSERT_FALSE(replica_is_untold(&c.nodes[0].replica));
    cluster_close(&c);
}

/* Commits that follow each other wait no longer than the first of them would. */
static void later_commits_do_not_put_it_off(void)
{
    static struct cluster c;
    lead(&c);
    put_untold(&c, 8);
    cluster_wait(&c, NOTICE - 1);
    cluster_cut_off(&c, 2, true);
    cluster_put(&c, 0, 9, 8); /* bytes to 1 carry the first; none reach 2 */
    cluster_forget(&c);
    cluster_wait(&c, NOTICE - 1);
    CU_ASSERT_EQUAL(cluster_committed(&c, 1), 336);
    cluster_wait(&c, 1);
    CU_ASSERT_EQUAL(cluster_committed(&c, 1), 464);
    cluster_close(&c);
}

static void who_is_about_to_sleep_tells(void)
{
    static struct cluster c;
    lead(&c);
    struct group *g = &c.nodes[0].group;
    CU_ASSERT_FALSE(group_tell(g));
    put_untold(&c, 8);
    cluster_forget(&c);
    CU_ASSERT_TRUE(group_tell(g));
    cluster_pass(&c, 0);
    cluster_expect(&c, "0>1 APPEND e1 commit=336\n"
                       "  1 commits 336\n"
                       "0>2 APPEND e1 commit=336\n"
                       "  2 commits 336\n");
    CU_ASSERT_FALSE(group_tell(g));
    put_untold(&c, 9);                              /* it was for that pass alone */
    CU_ASSERT_FALSE(group_tell(&c.nodes[1].group)); /* a follower has nothing to tell */
    cluster_close(&c);
}

/* What another shard has for a peer takes it along; it is not that peer's alone. */
static void a_commit_rides_on_what_another_shard_sends(void)
{
    static struct cluster c;
    lead(&c);
    struct cluster_node *leader = &c.nodes[0];
    const struct replica *r = &leader->replica;
    put_untold(&c, 8);
    CU_ASSERT_EQUAL(leader->update.out_count, 0);
    group_begin(&leader->group, cluster_clock(&c, 0));
    CU_ASSERT_FALSE(replica_rides(r));
    cluster_pair(&c, 0, 2)->bytes_fed = 1;
    CU_ASSERT_TRUE(replica_rides(r));
    replica_tick(&leader->replica, cluster_clock(&c, 0), &leader->update);
    CU_ASSERT_EQUAL_FATAL(leader->update.out_count, 1);
    CU_ASSERT_EQUAL(leader->update.out[0].to, 2);
    CU_ASSERT_EQUAL(leader->update.out[0].message.length, 0);
    CU_ASSERT_EQUAL(cluster_lsn(&c, leader->update.out[0].message.lsn_committed), 336);
    CU_ASSERT_FALSE(replica_rides(r));
    CU_ASSERT_TRUE(replica_is_untold(r)); /* 1 */
    replica_update_reset(&leader->update);
    group_begin(&leader->group, cluster_clock(&c, 0)); /* the next pass */
    cluster_pair(&c, 0, 2)->bytes_fed = 1;
    CU_ASSERT_FALSE(replica_rides(r));
    cluster_close(&c);
}

static void a_notice_that_is_lost_is_told_again(void)
{
    static struct cluster c;
    lead(&c);
    put_untold(&c, 8);
    c.lost[0][1] = MESSAGE_APPEND;
    cluster_wait(&c, NOTICE);
    CU_ASSERT_EQUAL(cluster_committed(&c, 1), 208);
    CU_ASSERT_EQUAL(cluster_committed(&c, 2), 336);
    CU_ASSERT_FALSE(replica_is_idle(&c.nodes[0].replica)); /* 1 has not confirmed it */
    cluster_wait(&c, CLUSTER_RETRY - 1);
    CU_ASSERT_EQUAL(cluster_committed(&c, 1), 208);
    cluster_wait(&c, 1);
    CU_ASSERT_EQUAL(cluster_committed(&c, 1), 336);
    cluster_close(&c);
}

/* Nobody sleeps the worse for a peer that is not there. */
static void who_is_silent_is_not_told(void)
{
    static struct cluster c;
    lead(&c);
    cluster_cut_off(&c, 1, true);
    cluster_cut_off(&c, 2, true);
    cluster_put(&c, 0, 8, 8);
    cluster_run(&c, CLUSTER_LEASE + CLUSTER_HEARTBEAT);
    CU_ASSERT_FALSE(group_tell(&c.nodes[0].group));
    cluster_cut_off(&c, 1, false);
    cluster_cut_off(&c, 2, false);
    cluster_run(&c, 4 * CLUSTER_HEARTBEAT);
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), 336);
    CU_ASSERT_EQUAL(cluster_committed(&c, 1), 336);
    CU_ASSERT_EQUAL(cluster_committed(&c, 2), 336);
    cluster_close(&c);
}

/* Who led keeps nothing of it. */
static void another_leader_tells_its_own(void)
{
    static struct cluster c;
    lead(&c);
    put_untold(&c, 8);
    cluster_run(&c, CLUSTER_LEASE + CLUSTER_HEARTBEAT);
    c.nodes[1].replica.times.notice = NOTICE;
    c.quiet = true;
    cluster_pend(&c, 2, 1, 7);
    cluster_run(&c, 2 * CLUSTER_LEASE);
    cluster_activate(&c);
    cluster_run(&c, CLUSTER_LEASE);
    CU_ASSERT_FALSE_FATAL(replica_leads(&c.nodes[0].replica));
    CU_ASSERT_FALSE(group_tell(&c.nodes[0].group));
    cluster_put(&c, 1, 9, 8);
    CU_ASSERT(cluster_committed(&c, 0) < cluster_committed(&c, 1));
    CU_ASSERT_TRUE(group_tell(&c.nodes[1].group));
    cluster_pass(&c, 1);
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), cluster_committed(&c, 1));
    cluster_close(&c);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_commit_rides_on_the_next_bytes),
    UNIT_TEST(a_commit_that_no_bytes_carry_goes_alone_in_time),
    UNIT_TEST(later_commits_do_not_put_it_off),
    UNIT_TEST(who_is_about_to_sleep_tells),
    UNIT_TEST(a_commit_rides_on_what_another_shard_sends),
    UNIT_TEST(a_notice_that_is_lost_is_told_again),
    UNIT_TEST(who_is_silent_is_not_told),
    UNIT_TEST(another_leader_tells_its_own),
};
UNIT_MAIN("replica_notice", tests)
