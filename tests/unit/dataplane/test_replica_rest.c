/* Which leaders rest until an answer comes (replica_waits, group_rest): all is said, and only a retry is left
 * to do.  Three replicas. */
#include "tests/unit/dataplane/replica_cluster.h"
#include "tests/unit/unit.h"

/* All of a write is said, and 2 answers nothing. */
static struct replica *lead_without_2(struct cluster *c, const struct cluster_config *config)
{
    cluster_lead(c, config);
    c->quiet = true;
    cluster_run(c, 2 * CLUSTER_HEARTBEAT);
    cluster_cut_off(c, 2, true);
    cluster_put(c, 0, 8, 8);
    CU_ASSERT_FALSE(replica_is_idle(&c->nodes[0].replica));
    return &c->nodes[0].replica;
}

static void who_waits_for_an_answer_alone_rests(void)
{
    static struct cluster c;
    const struct replica *r = lead_without_2(&c, &(struct cluster_config){.node_count = 3});
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), cluster_log_end(&c, 0));
    CU_ASSERT_TRUE(replica_waits(r));
    cluster_close(&c);
}

/* The holder's grant ends at a moment of its own, which is not one of the retry. */
static void who_waits_for_a_holder_does_not_rest(void)
{
    static struct cluster c;
    const struct replica *r =
        lead_without_2(&c, &(struct cluster_config){.node_count = 3, .read_leases = true});
    CU_ASSERT_NOT_EQUAL(cluster_committed(&c, 0), cluster_log_end(&c, 0));
    CU_ASSERT_NOT_EQUAL(r->ticks_waited_from, 0);
    CU_ASSERT_FALSE(replica_waits(r));
    cluster_close(&c);
}

/* However often others come to rest meanwhile: or what was lost would never be said again. */
static void a_rest_ends_when_the_first_one_said_so(void)
{
    static struct cluster c;
    const struct replica *r = lead_without_2(&c, &(struct cluster_config){.node_count = 3});
    struct group *g = &c.nodes[0].group;
    CU_ASSERT_EQUAL_FATAL(g->busy_count, 1);
    group_rest(g);
    CU_ASSERT(r->busy && g->ready_count == 0);
    uint64_t until = g->rest_until;
    CU_ASSERT(until > g->now && until <= g->now + CLUSTER_RETRY);
    group_begin(g, until - 1);
    CU_ASSERT_EQUAL(g->ready_count, 0);
    group_rest(g);
    CU_ASSERT_EQUAL(g->rest_until, until);
    group_begin(g, until);
    CU_ASSERT_EQUAL(g->ready_count, 1);
    group_rest(g);
    CU_ASSERT(g->rest_until > until);
    cluster_close(&c);
}

static const struct unit_test tests[] = {
    UNIT_TEST(who_waits_for_an_answer_alone_rests),
    UNIT_TEST(who_waits_for_a_holder_does_not_rest),
    UNIT_TEST(a_rest_ends_when_the_first_one_said_so),
};
UNIT_MAIN("replica_rest", tests)
