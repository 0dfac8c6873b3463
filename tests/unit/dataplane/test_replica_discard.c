/* A replica that gave its state up for a snapshot that did not come: it claims nothing, and neither leads
 * nor stops.  Three replicas without read leases. */
#include "tests/unit/dataplane/replica_cluster.h"
#include "tests/unit/unit.h"

static const struct cluster_config three = {.node_count = 3};

static void lead_and_discard(struct cluster *c, uint32_t node)
{
    cluster_lead(c, &three);
    install_discard(c->nodes[node].shard.shard);
    CU_ASSERT_TRUE(replica_has_nothing(&c->nodes[node].replica));
    CU_ASSERT_FALSE(replica_has_nothing(&c->nodes[0].replica));
    c->time += 2 * CLUSTER_LEASE;
}

static void who_has_nothing_joins_with_nothing(void)
{
    static struct cluster c;
    lead_and_discard(&c, 2);
    c.cut_off[0][1] = c.cut_off[1][0] = true;
    cluster_pend(&c, 2, 1, 7);
    cluster_expect(&c, "pending e2 led by 1\n"
                       "  1 seals e2\n"
                       "1>2 SEAL e2 after e1\n"
                       "2>1 SEALED e2 end=0 commit=208 table\n"
                       "  1 brings e2\n"
                       "1>2 APPEND e2 commit=208\n"
                       "2>1 JOIN e2 end=0 commit=208 table\n"
                       "1>2 PIECE e2 piece 0\n");
    cluster_close(&c);
}

static void who_has_nothing_does_not_lead(void)
{
    static struct cluster c;
    lead_and_discard(&c, 2);
    cluster_cut_off(&c, 0, true);
    cluster_pend(&c, 2, 2, 7);
    cluster_expect(&c, "pending e2 led by 2\n"
                       "  2 seals e2\n"
                       "2>1 SEAL e2 after e1\n"
                       "1>2 SEALED e2 end=208 commit=208 table e1@0\n"
                       "  2 fetches e2\n");
    cluster_wait(&c, CLUSTER_RETRY);
    CU_ASSERT_EQUAL(c.nodes[2].replica.role, REPLICA_FETCHING);
    c.quiet = true;
    cluster_pend(&c, 3, 1, 7);
    cluster_activate(&c);
    cluster_cut_off(&c, 0, false);
    for (uint32_t i = 0; i < 40; i++) {
        (void)fixture_maintain(&c.nodes[2].shard); /* what was given up is free */
        cluster_wait(&c, CLUSTER_HEARTBEAT);
    }
    CU_ASSERT_EQUAL(cluster_count(&c, 2, REPLICA_COUNT_INSTALLS), 1);
    CU_ASSERT_EQUAL(cluster_committed(&c, 2), cluster_committed(&c, 1));
    CU_ASSERT_FALSE(replica_has_nothing(&c.nodes[2].replica));
    cluster_close(&c);
}

static const struct unit_test tests[] = {
    UNIT_TEST(who_has_nothing_joins_with_nothing),
    UNIT_TEST(who_has_nothing_does_not_lead),
};
UNIT_MAIN("replica_discard", tests)
