/* Nodes that come and go under a shard that is led, and more sets of voters than there are rights. */
#include "dataplane/replica_lease.h"
#include "tests/unit/dataplane/replica_cluster.h"
#include "tests/unit/unit.h"

static const struct cluster_config three = {.node_count = 3};
static const struct cluster_config readers = {.node_count = 3, .read_leases = true};

static uint32_t slot_of(const struct cluster *c, uint32_t node)
{
    const struct replica *r = &c->nodes[0].replica;
    for (uint32_t i = 1; i < r->commit.peer_count; i++)
        if (r->peers[i].id.node == node)
            return i;
    return 0;
}

/* Nothing that a node has points to a pair. */
static bool is_forgotten(const struct cluster *c, uint32_t node, const struct pair *p)
{
    const struct replica *r = &c->nodes[node].replica;
    bool any = r->list_pair == p || r->cell == &p->cell;
    for (uint32_t i = 0; i < LIMIT_PEERS; i++)
        any |= r->peers[i].pair == p;
    return !any && p->peer.node == PAIR_NOBODY && p->listed == 0 && p->reader_count == 0 &&
           p->learner_count == 0 && p->behind == 0;
}

/* A leader that has not heard of an epoch without the node goes on with the others, and rests. */
static void a_leader_goes_on_without_a_node_that_was_removed(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.quiet = true;
    struct group *g = &c.nodes[0].group;
    struct pair *p = cluster_pair(&c, 0, 2);
    group_pair_remove(g, p);
    CU_ASSERT(is_forgotten(&c, 0, p));
    CU_ASSERT_PTR_NULL(group_pair(g, 2));
    CU_ASSERT_FALSE(c.nodes[0].replica.peers[slot_of(&c, 2)].joined);
    cluster_put(&c, 0, 8, 8);
    cluster_run(&c, 2 * CLUSTER_LEASE);
    CU_ASSERT_EQUAL(cluster_committed(&c, 1), cluster_log_end(&c, 0));
    CU_ASSERT(cluster_log_end(&c, 2) < cluster_log_end(&c, 0)); /* it was fed no more */
    CU_ASSERT_TRUE(cluster_may_answer(&c, 0));                  /* 0 and 1 are a majority */
    CU_ASSERT_EQUAL(g->busy_count, 0);
    CU_ASSERT_TRUE(is_forgotten(&c, 0, p));
    /* What comes from there is nobody's. */
    const struct pair_frame f = {.kind = PAIR_PULSE, .from = c.nodes[2].replica.self};
    CU_ASSERT_EQUAL(cluster_tell_frame(&c, 0, &f), -EPROTO);
    cluster_close(&c);
}

/* It comes back while the epoch goes on: listed, fed and counted as before. */
static void a_node_that_comes_is_listed_and_fed(void)
{
    static struct cluster c;
    cluster_lead(&c, &readers);
    c.quiet = true;
    struct group *g = &c.nodes[0].group;
    struct pair *p = cluster_pair(&c, 0, 2);
    cluster_run(&c, 4 * CLUSTER_HEARTBEAT);
    CU_ASSERT_TRUE(cluster_may_answer(&c, 2));
    uint64_t number = p->number, generation = p->cell.generation;
    group_pair_remove(g, p);
    group_pair_remove(&c.nodes[2].group, cluster_pair(&c, 2, 0));
    CU_ASSERT(is_forgotten(&c, 2, &c.nodes[2].pairs[0]));
    cluster_run(&c, 2 * CLUSTER_LEASE);
    cluster_put(&c, 0, 8, 8);
    CU_ASSERT_PTR_EQUAL(group_pair_add(g, 2), p); /* in the place that is free */
    CU_ASSERT(p->number > number && p->cell.generation > generation && p->cell.end == 0);
    CU_ASSERT_EQUAL(p->listed, 1);
    CU_ASSERT_PTR_EQUAL(group_pair_add(&c.nodes[2].group, 0), &c.nodes[2].pairs[0]);
    cluster_run(&c, 2 * CLUSTER_LEASE);
    CU_ASSERT_EQUAL(cluster_committed(&c, 2), cluster_log_end(&c, 0));
    CU_ASSERT_TRUE(cluster_may_answer(&c, 2));
    CU_ASSERT_EQUAL(g->busy_count, 0);
    cluster_close(&c);
}

/* Commits wait for a holder of a read lease until it cannot read any more, also when its node was removed: its
 * agents do not know. */
static void a_holder_that_was_removed_is_waited_for(void)
{
    static struct cluster c;
    cluster_lead(&c, &readers);
    c.quiet = true;
    cluster_run(&c, 4 * CLUSTER_HEARTBEAT);
    uint32_t bit = 1u << slot_of(&c, 2);
    CU_ASSERT((c.nodes[0].replica.commit.lease_holder_mask & bit) != 0);
    cluster_cut_off(&c, 2, true);
    group_pair_remove(&c.nodes[0].group, cluster_pair(&c, 0, 2));
    cluster_put(&c, 0, 8, 8);
    CU_ASSERT_TRUE(cluster_may_answer(&c, 2)); /* by its own clock */
    CU_ASSERT(cluster_committed(&c, 0) < cluster_log_end(&c, 0));
    for (uint32_t i = 0; cluster_may_answer(&c, 2); i++) {
        CU_ASSERT_FATAL(i < CLUSTER_LEASE);
        CU_ASSERT(cluster_committed(&c, 0) < cluster_log_end(&c, 0));
        cluster_wait(&c, CLUSTER_HEARTBEAT);
    }
    cluster_run(&c, CLUSTER_LEASE);
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), cluster_log_end(&c, 0));
    CU_ASSERT_EQUAL(c.nodes[0].replica.commit.lease_holder_mask & bit, 0);
    cluster_close(&c);
}

/* What a follower promised to a leader whose node was removed binds it as before. */
static void a_promise_to_a_node_that_was_removed_is_kept(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.quiet = true;
    cluster_run(&c, 2 * CLUSTER_HEARTBEAT);
    const struct replica *r = &c.nodes[1].replica;
    uint64_t promised = cluster_pair(&c, 1, 0)->promise_end;
    CU_ASSERT(promised > cluster_clock(&c, 1));
    struct pair *p = cluster_pair(&c, 1, 0);
    group_pair_remove(&c.nodes[1].group, p);
    CU_ASSERT(is_forgotten(&c, 1, p));
    CU_ASSERT_EQUAL(r->promise_end, promised);
    cluster_close(&c);
}

/* ---- rights ---- */

/* All rights of node 0 are others'. */
static void rights_take(struct group *g)
{
    for (uint32_t i = 0; i < LIMIT_RIGHTS; i++)
        g->rights[i] = (struct right){.voter_count = 1,
                                      .voters = {{.node = 100 + i, .incarnation = 1}},
                                      .user_count = 1,
                                      .cell.generation = 1};
    g->right_count = LIMIT_RIGHTS;
}

/* "No right to read in place, reads wait": writes are committed, nobody spins, and the first right that is free
 * is taken. */
static void without_a_right_a_shard_is_written_and_not_read(void)
{
    static struct cluster c;
    cluster_open(&c, &three);
    c.quiet = true;
    struct group *g = &c.nodes[0].group;
    const struct replica *r = &c.nodes[0].replica;
    rights_take(g);
    cluster_pend(&c, 1, 0, 7);
    cluster_activate(&c);
    cluster_put(&c, 0, 7, 8);
    cluster_run(&c, 2 * CLUSTER_LEASE);
    CU_ASSERT_PTR_NULL(r->right);
    for (uint32_t i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(cluster_committed(&c, i), cluster_log_end(&c, 0));
    CU_ASSERT_FALSE(cluster_may_answer(&c, 0));
    CU_ASSERT_EQUAL(r->commit.lease_holder_mask, 0);
    CU_ASSERT(replica_waits(r) && !replica_is_idle(r));
    group_rest(g);
    CU_ASSERT_EQUAL(g->ready_count, 0); /* it rests between two looks */
    g->rights[5].user_count = 0;
    cluster_run(&c, 2 * CLUSTER_HEARTBEAT);
    CU_ASSERT_PTR_EQUAL(r->right, &g->rights[5]);
    CU_ASSERT_TRUE(cluster_may_answer(&c, 0));
    CU_ASSERT_EQUAL(g->busy_count, 0);
    CU_ASSERT_EQUAL(g->rights[5].cell.generation, 3); /* of nobody who read under it before */
    cluster_close(&c);
}

/* Those that were given back are looked at no more. */
static void rights_that_are_unused_cost_nothing(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.quiet = true;
    struct group *g = &c.nodes[0].group;
    CU_ASSERT_EQUAL(g->right_count, 1);
    cluster_hand_over(&c, 0);
    CU_ASSERT_EQUAL(g->right_count, 0);
    cluster_pend(&c, 2, 0, 7);
    cluster_activate(&c);
    cluster_run(&c, CLUSTER_LEASE);
    CU_ASSERT_EQUAL(g->right_count, 1);
    CU_ASSERT_TRUE(cluster_may_answer(&c, 0));
    cluster_close(&c);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_leader_goes_on_without_a_node_that_was_removed),
    UNIT_TEST(a_node_that_comes_is_listed_and_fed),
    UNIT_TEST(a_holder_that_was_removed_is_waited_for),
    UNIT_TEST(a_promise_to_a_node_that_was_removed_is_kept),
    UNIT_TEST(without_a_right_a_shard_is_written_and_not_read),
    UNIT_TEST(rights_that_are_unused_cost_nothing),
};
UNIT_MAIN("replica_peers", tests)
