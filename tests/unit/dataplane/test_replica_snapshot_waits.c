/* A peer that asked for a snapshot in vain for long: it has no memory for the first piece at once, or another
 * is told one before it. */
#include "tests/unit/dataplane/replica_cluster.h"
#include "tests/unit/unit.h"

#define VALUE_BYTES 20000u
#define TURNS 400u
#define VOTERS 3u /* cluster_lead; others learn */

static const struct cluster_config three = {.node_count = 3};
static const struct cluster_config five = {.node_count = 5};

/* Those from 'first' on were away until the leader no longer has the beginning of its log. */
static void fall_behind(struct cluster *c, const struct cluster_config *config, uint32_t first)
{
    struct fixture *f = &c->nodes[0].shard;
    uint64_t available;
    cluster_lead(c, config);
    c->quiet = true;
    if (config->node_count > VOTERS) {
        cluster_learn(c, 2, 0, (1u << VOTERS) - 1);
        cluster_run(c, 4 * CLUSTER_LEASE);
        cluster_activate(c);
        cluster_run(c, CLUSTER_LEASE);
    }
    for (uint32_t i = first; i < config->node_count; i++)
        cluster_cut_off(c, i, true);
    cluster_run(c, CLUSTER_LEASE + CLUSTER_HEARTBEAT);
    for (uint32_t i = 0; log_bytes_at(&f->shard->log, c->origin, &available) != NULL; i++) {
        CU_ASSERT_FATAL(i < TURNS);
        cluster_put(c, 0, i % 2, VALUE_BYTES);
        for (uint32_t k = 0; k < 4; k++)
            (void)!fixture_maintain(f);
        for (uint32_t k = 1; k < first; k++)
            (void)!fixture_maintain(&c->nodes[k].shard);
    }
    for (uint32_t i = first; i < config->node_count; i++)
        cluster_cut_off(c, i, false);
}

/* Why it matters: a leader feeds one snapshot at a time, so all other shards of a node that came back ask in
 * vain for long; and a table of more than one page is never made with the first piece. */
static void a_stream_that_waits_for_memory_is_not_given_up(void)
{
    static struct cluster c;
    fall_behind(&c, &three, 2);
    struct replica *r = &c.nodes[2].replica;
    struct frames *f = &c.nodes[2].shard.shard->frames;
    /* Too few for the index table, enough with those that come of what the peer had. */
    uint32_t taken = frames_available(f) - (FRAMES_KEPT + 2);
    CU_ASSERT_TRUE_FATAL(frames_reserve(f, taken));
    r->retry_shift = REPLICA_RETRY_SHIFT_MAX;
    for (uint32_t i = 0; r->install_id == 0; i++) {
        CU_ASSERT_FATAL(i < TURNS);
        cluster_wait(&c, CLUSTER_RETRY);
    }
    CU_ASSERT_EQUAL(cluster_count(&c, 2, REPLICA_COUNT_INSTALLS), 0);
    frames_unreserve(f, taken);
    for (uint32_t i = 0; cluster_count(&c, 2, REPLICA_COUNT_INSTALLS) == 0; i++) {
        CU_ASSERT_FATAL(i < TURNS);
        cluster_wait(&c, CLUSTER_RETRY);
    }
    /* What was begun went on: nobody had to begin it again. */
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_SNAPSHOTS), 1);
    cluster_wait(&c, CLUSTER_HEARTBEAT);
    CU_ASSERT_EQUAL(cluster_committed(&c, 2), cluster_committed(&c, 0));
    cluster_close(&c);
}

/* The leader knows that it is to be told a snapshot after somebody else. */
static bool wants(const struct cluster *c, uint32_t node)
{
    const struct replica *r = &c->nodes[0].replica;
    bool wants = false;
    for (uint32_t i = 1; i < r->commit.peer_count; i++)
        wants |=
            r->peers[i].id.node == c->nodes[node].replica.self.node && r->peers[i].wants_snapshot;
    return wants;
}

/* One snapshot at a time; who waits for its turn has it when the one before has joined, however long ago it
 * asked and however long it would be silent. */
static void whose_turn_it_is_need_not_ask_again(void)
{
    static struct cluster c;
    fall_behind(&c, &five, 3);
    c.lost[0][3] = c.lost[0][4] = MESSAGE_PIECE;
    for (uint32_t i = 0; i < TURNS && !wants(&c, 3) && !wants(&c, 4); i++)
        cluster_wait(&c, 1);
    uint32_t second = wants(&c, 4) ? 4 : 3, first = 7 - second;
    CU_ASSERT_TRUE_FATAL(wants(&c, second) && !wants(&c, first));
    c.lost[0][second] = 0;
    c.nodes[second].replica.retry_shift = REPLICA_RETRY_SHIFT_MAX;
    uint64_t asked = c.time;
    for (uint32_t i = 0; i < TURNS && cluster_count(&c, second, REPLICA_COUNT_INSTALLS) == 0; i++)
        cluster_wait(&c, CLUSTER_RETRY);
    CU_ASSERT_EQUAL(cluster_count(&c, first, REPLICA_COUNT_INSTALLS), 1);
    CU_ASSERT_TRUE(c.time - asked < CLUSTER_RETRY << (REPLICA_RETRY_SHIFT_MAX - 1));
    cluster_wait(&c, CLUSTER_HEARTBEAT);
    CU_ASSERT_EQUAL(cluster_committed(&c, 4), cluster_committed(&c, 0));
    cluster_close(&c);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_stream_that_waits_for_memory_is_not_given_up),
    UNIT_TEST(whose_turn_it_is_need_not_ask_again),
};
UNIT_MAIN("replica_snapshot_waits", tests)
