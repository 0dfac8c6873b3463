/* More waits uncommitted, or is missing, than a shard may keep waiting at once (LIMIT_PENDING). */
#include "tests/unit/dataplane/replica_cluster.h"
#include "tests/unit/unit.h"

static const struct cluster_config three = {.node_count = 3};

static void open_quietly(struct cluster *c)
{
    cluster_lead(c, &three);
    c->quiet = true;
}

/* Who lacks more than may wait leads all the same: what the sealed majority knew to be committed is
 * shown as it comes. */
static void a_new_leader_lacks_more_than_may_wait(void)
{
    static struct cluster c;
    open_quietly(&c);
    cluster_cut_off(&c, 2, true);
    for (uint32_t i = 0; i < LIMIT_PENDING + 100; i++)
        cluster_put(&c, 0, i % 8, 8);
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), cluster_log_end(&c, 0));
    cluster_cut_off(&c, 2, false);
    cluster_cut_off(&c, 0, true);
    c.time += 2 * CLUSTER_LEASE; /* promises run out */
    cluster_pend(&c, 2, 2, 7);
    cluster_run(&c, CLUSTER_LEASE);
    CU_ASSERT_EQUAL_FATAL(c.nodes[2].replica.role, REPLICA_BRINGING);
    cluster_activate(&c);
    cluster_run(&c, CLUSTER_LEASE);
    CU_ASSERT(replica_leads(&c.nodes[2].replica));
    CU_ASSERT(cluster_same_log(&c, 1, 2));
    cluster_close(&c);
}

/* A leader that nobody answers takes writes until no more may wait; there is room for the first
 * record of the epoch that ends this, also after epochs that came to nothing. */
static void a_leader_with_all_that_may_wait_begins_another_epoch(void)
{
    static struct cluster c;
    open_quietly(&c);
    cluster_cut_off(&c, 0, true);
    struct fixture *f = &c.nodes[0].shard;
    uint64_t key = 1;
    uint32_t written = 0;
    while (fixture_put(f, &key, sizeof key, "12345678", 8) == 0)
        written++;
    CU_ASSERT(written > LIMIT_PENDING / 2);
    CU_ASSERT(written < LIMIT_PENDING);
    for (uint64_t epoch = 2; epoch < 10; epoch++) {
        cluster_cut_off(&c, 0, false);
        c.cut_off[1][0] = c.cut_off[2][0] = true;
        c.time += 2 * CLUSTER_LEASE;
        c.cut_off[1][0] = epoch % 2 == 0;
        cluster_pend(&c, epoch, 0, 7);
        cluster_run(&c, CLUSTER_LEASE);
        cluster_cut_off(&c, 0, true);
    }
    cluster_cut_off(&c, 0, false);
    cluster_pend(&c, 10, 0, 7);
    cluster_run(&c, 3 * CLUSTER_LEASE);
    CU_ASSERT_EQUAL_FATAL(c.nodes[0].replica.role, REPLICA_BRINGING);
    cluster_activate(&c);
    cluster_run(&c, CLUSTER_LEASE);
    CU_ASSERT(replica_leads(&c.nodes[0].replica));
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), cluster_log_end(&c, 0));
    CU_ASSERT(cluster_same_log(&c, 0, 1));
    CU_ASSERT(cluster_same_log(&c, 0, 2));
    CU_ASSERT_EQUAL(fixture_put(f, &key, sizeof key, "12345678", 8), 0);
    cluster_close(&c);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_new_leader_lacks_more_than_may_wait),
    UNIT_TEST(a_leader_with_all_that_may_wait_begins_another_epoch),
};
UNIT_MAIN("replica_backlog", tests)
