/* How far peers are behind, over one shard of three replicas. */
#include "dataplane/lag.h"

#include "tests/unit/dataplane/replica_cluster.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define INTERVAL 100u

static const struct cluster_config three = {.node_count = 3};
static const uint32_t ids[] = {0, 1, 2};

static struct lag *lag_make(void)
{
    struct lag *g = calloc(1, lag_bytes(1));
    CU_ASSERT_PTR_NOT_NULL_FATAL(g);
    lag_init(g, ids, 3, 1);
    g->interval = INTERVAL;
    return g;
}

/* A look at a node, an interval after the one before. */
static void look(struct cluster *c, struct lag *g, uint32_t node)
{
    cluster_run(c, INTERVAL);
    lag_look(g, &c->nodes[node].group, cluster_clock(c, node));
}

static uint64_t missing(const struct cluster *c, uint32_t slot)
{
    const struct replica *r = &c->nodes[0].replica;
    return r->shard->log.lsn_whole - r->commit.lsn_match[slot];
}

static void who_keeps_up_is_not_behind(void)
{
    static struct cluster c;
    struct lag *g = lag_make();
    cluster_lead(&c, &three);
    c.quiet = true;
    for (uint32_t i = 0; i < 5; i++) {
        cluster_put(&c, 0, i, 100);
        look(&c, g, 0);
        for (uint32_t n = 1; n <= 2; n++) {
            const struct lag_shown *shown = lag_of(g, n);
            CU_ASSERT_EQUAL(shown->shards, 1);
            CU_ASSERT_EQUAL(shown->bytes_sum, 0);
            CU_ASSERT_EQUAL(shown->bytes_max, 0);
            CU_ASSERT_EQUAL(shown->ticks_behind, 0);
        }
    }
    CU_ASSERT_EQUAL(lag_of(g, 0)->shards, 0); /* the leader itself */
    CU_ASSERT_PTR_NULL(lag_of(g, 3));
    cluster_close(&c);
    free(g);
}

static void who_is_cut_off_is_behind_by_what_it_lacks(void)
{
    static struct cluster c;
    struct lag *g = lag_make();
    cluster_lead(&c, &three);
    c.quiet = true;
    uint64_t nothing;
    CU_ASSERT_FALSE(lag_of_shard(g, 2, 0, &nothing)); /* nobody looked yet */
    look(&c, g, 0);
    cluster_cut_off(&c, 2, true);
    cluster_put(&c, 0, 1, 1000);
    uint64_t begun = 0;
    for (uint32_t i = 0; i < 4; i++) {
        uint64_t before = lag_of(g, 2)->ticks_behind;
        look(&c, g, 0);
        CU_ASSERT_EQUAL(lag_of(g, 1)->bytes_sum, 0);
        CU_ASSERT(lag_of(g, 2)->bytes_sum >= 1000);
        CU_ASSERT_EQUAL(lag_of(g, 2)->bytes_sum, missing(&c, 2));
        CU_ASSERT_EQUAL(lag_of(g, 2)->bytes_max, missing(&c, 2));
        uint64_t of_shard[3] = {0};
        CU_ASSERT_TRUE(lag_of_shard(g, 1, 0, &of_shard[1]));
        CU_ASSERT_TRUE(lag_of_shard(g, 2, 0, &of_shard[2]));
        CU_ASSERT_EQUAL(of_shard[1], 0);
        CU_ASSERT_EQUAL(of_shard[2], missing(&c, 2));
        CU_ASSERT_FALSE(lag_of_shard(g, 0, 0, of_shard)); /* the leader itself */
        CU_ASSERT_FALSE(lag_of_shard(g, 3, 0, of_shard)); /* no such node */
        CU_ASSERT_FALSE(lag_of_shard(g, 2, 1, of_shard)); /* no such shard */
        CU_ASSERT(i == 0 || lag_of(g, 2)->ticks_behind >= before + INTERVAL);
        begun += i == 0 ? lag_of(g, 2)->ticks_behind : 0;
    }
    /* What was written after the last time that it had all, was noted by the look behind that. */
    CU_ASSERT(begun <= 2 * (uint64_t)INTERVAL);
    cluster_cut_off(&c, 2, false);
    cluster_run(&c, 4 * CLUSTER_LEASE);
    look(&c, g, 0);
    CU_ASSERT_EQUAL(lag_of(g, 2)->bytes_sum, 0);
    CU_ASSERT_EQUAL(lag_of(g, 2)->ticks_behind, 0);
    cluster_close(&c);
    free(g);
}

/* However much is under way at each look: what there was a look ago has arrived by then. */
static void what_is_under_way_is_no_delay(void)
{
    static struct cluster c;
    struct lag *g = lag_make();
    cluster_lead(&c, &three);
    c.quiet = true;
    look(&c, g, 0);
    for (uint32_t i = 0; i < 5; i++) {
        c.delayed[0][2] = true;
        cluster_put(&c, 0, i, 100);
        lag_look(g, &c.nodes[0].group, cluster_clock(&c, 0) + INTERVAL);
        CU_ASSERT(lag_of(g, 2)->bytes_sum >= 100);
        CU_ASSERT_EQUAL(lag_of(g, 2)->ticks_behind, 0);
        c.delayed[0][2] = false;
        cluster_deliver_late(&c);
        cluster_run(&c, INTERVAL);
    }
    cluster_close(&c);
    free(g);
}

static void looks_are_seldom_and_a_follower_says_nothing(void)
{
    static struct cluster c;
    struct lag *g = lag_make(), *follower = lag_make();
    cluster_lead(&c, &three);
    c.quiet = true;
    look(&c, g, 0);
    cluster_cut_off(&c, 2, true);
    cluster_put(&c, 0, 1, 100);
    lag_look(g, &c.nodes[0].group, cluster_clock(&c, 0)); /* too soon */
    CU_ASSERT_EQUAL(lag_of(g, 2)->bytes_sum, 0);
    look(&c, follower, 1);
    CU_ASSERT_EQUAL(lag_of(follower, 0)->shards, 0);
    CU_ASSERT_EQUAL(lag_of(follower, 2)->shards, 0);
    cluster_close(&c);
    free(g);
    free(follower);
}

static const struct unit_test tests[] = {
    UNIT_TEST(who_keeps_up_is_not_behind),
    UNIT_TEST(who_is_cut_off_is_behind_by_what_it_lacks),
    UNIT_TEST(what_is_under_way_is_no_delay),
    UNIT_TEST(looks_are_seldom_and_a_follower_says_nothing),
};
UNIT_MAIN("lag", tests)
