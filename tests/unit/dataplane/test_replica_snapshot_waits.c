/* A peer that asked for a snapshot in vain for long, and has no memory for the first piece at once. */
#include "tests/unit/dataplane/replica_cluster.h"
#include "tests/unit/unit.h"

#define VALUE_BYTES 20000u
#define TURNS 400u

static const struct cluster_config three = {.node_count = 3};

/* 2 was away until the leader no longer has the beginning of its log. */
static void fall_behind(struct cluster *c)
{
    struct fixture *f = &c->nodes[0].shard;
    uint64_t available;
    cluster_lead(c, &three);
    c->quiet = true;
    cluster_cut_off(c, 2, true);
    cluster_run(c, CLUSTER_LEASE + CLUSTER_HEARTBEAT);
    for (uint32_t i = 0; log_bytes_at(&f->shard->log, c->origin, &available) != NULL; i++) {
        CU_ASSERT_FATAL(i < TURNS);
        cluster_put(c, 0, i % 2, VALUE_BYTES);
        for (uint32_t k = 0; k < 4; k++)
            (void)!fixture_maintain(f);
        (void)!fixture_maintain(&c->nodes[1].shard);
    }
    cluster_cut_off(c, 2, false);
}

/* Why it matters: a leader feeds one snapshot at a time, so all other shards of a node that came back ask in
 * vain for long; and a table of more than one page is never made with the first piece. */
static void a_stream_that_waits_for_memory_is_not_given_up(void)
{
    static struct cluster c;
    fall_behind(&c);
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

static const struct unit_test tests[] = {
    UNIT_TEST(a_stream_that_waits_for_memory_is_not_given_up),
};
UNIT_MAIN("replica_snapshot_waits", tests)
