/* Background copies have a rate: snapshots, and the log for who was behind; what is fed in step has none. */
#include "tests/unit/dataplane/replica_cluster.h"
#include "tests/unit/unit.h"

#define TICKS_PER_S 100000u /* of the clusters' clocks: a heartbeat is a millisecond, a burst ten */
#define VALUE_BYTES 20000u
#define TURNS 4000u

static const struct cluster_config three = {.node_count = 3};
#define VALUES 30u /* well within what the leader keeps */

static void rate_set(struct cluster *c, uint64_t bytes_per_s)
{
    for (uint32_t i = 0; i < c->node_count; i++)
        copy_rate_init(&c->nodes[i].group.copy, bytes_per_s, TICKS_PER_S, CLUSTER_LEASE);
}

static void maintain(struct cluster *c)
{
    for (uint32_t k = 0; k < 4 * c->node_count; k++)
        (void)!fixture_maintain(&c->nodes[k % c->node_count].shard);
}

static void write(struct cluster *c)
{
    for (uint32_t i = 0; i < VALUES; i++) {
        cluster_put(c, 0, i % 3, VALUE_BYTES);
        cluster_pass(c, 0);
        maintain(c);
    }
}

/* Node 2 was away while values were written. */
static void write_without(struct cluster *c)
{
    cluster_cut_off(c, 2, true);
    cluster_run(c, CLUSTER_LEASE + CLUSTER_HEARTBEAT);
    write(c);
    cluster_cut_off(c, 2, false);
}

/* Ticks until node 2 has all that node 0 has. */
static uint64_t catch_up(struct cluster *c)
{
    uint64_t began = c->time;
    for (uint32_t i = 0; cluster_log_end(c, 2) != cluster_log_end(c, 0); i++) {
        CU_ASSERT_FATAL(i < TURNS);
        cluster_wait(c, CLUSTER_RETRY);
    }
    return c->time - began;
}

static uint64_t least_ticks(uint64_t bytes, uint64_t bytes_per_s)
{
    return bytes * TICKS_PER_S / bytes_per_s - TICKS_PER_S / 50; /* a burst is ten milliseconds */
}

static void the_log_for_who_was_behind_comes_at_the_rate(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.quiet = true;
    write_without(&c);
    uint64_t free_ticks = catch_up(&c);
    write_without(&c);
    rate_set(&c, 4u << 20);
    uint64_t ticks = catch_up(&c);
    CU_ASSERT(ticks >= least_ticks(VALUES * VALUE_BYTES - (1u << 17), 4u << 20));
    CU_ASSERT(ticks > 4 * free_ticks);
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_SNAPSHOTS), 0);
    cluster_run(&c, CLUSTER_LEASE);
    CU_ASSERT_EQUAL(c.nodes[0].group.busy_count, 0);
    cluster_close(&c);
}

/* One that has caught up is fed in step from then on, whatever the rate is. */
static void what_is_fed_in_step_has_no_bound(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.quiet = true;
    rate_set(&c, 1);
    uint64_t before = c.time;
    write(&c);
    CU_ASSERT_EQUAL(cluster_log_end(&c, 1), cluster_log_end(&c, 0));
    CU_ASSERT_EQUAL(cluster_log_end(&c, 2), cluster_log_end(&c, 0));
    CU_ASSERT_EQUAL(c.time, before);
    CU_ASSERT_EQUAL(c.nodes[0].group.copy.paid_at, 0);
    cluster_close(&c);
}

/* Without it nothing would be committed: it is no background. */
static void a_voter_that_commits_wait_for_has_no_bound(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.quiet = true;
    write_without(&c);
    rate_set(&c, 1);
    cluster_cut_off(&c, 1, true);
    cluster_run(&c, CLUSTER_LEASE + CLUSTER_HEARTBEAT);
    cluster_put(&c, 0, 99, 8);
    uint64_t ticks = catch_up(&c);
    CU_ASSERT(ticks < 5 * CLUSTER_LEASE);
    cluster_run(&c, CLUSTER_HEARTBEAT);
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), cluster_log_end(&c, 0));
    cluster_close(&c);
}

/* Its log is gone from the leader's memory. */
static void fall_behind(struct cluster *c)
{
    struct fixture *f = &c->nodes[0].shard;
    uint64_t available;
    cluster_cut_off(c, 2, true);
    cluster_run(c, CLUSTER_LEASE + CLUSTER_HEARTBEAT);
    for (uint32_t i = 0; log_bytes_at(&f->shard->log, c->origin, &available) != NULL; i++) {
        CU_ASSERT_FATAL(i < TURNS);
        cluster_put(c, 0, i % 20, VALUE_BYTES);
        maintain(c);
    }
    cluster_cut_off(c, 2, false);
}

static void a_snapshot_comes_at_the_rate_and_is_not_given_up(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.quiet = true;
    fall_behind(&c);
    rate_set(&c, 1u << 20);
    uint64_t ticks = catch_up(&c);
    /* Some of it lies in the log behind the snapshot. */
    CU_ASSERT(ticks >= least_ticks(16 * VALUE_BYTES, 1u << 20));
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_SNAPSHOTS), 1);
    CU_ASSERT_EQUAL(cluster_count(&c, 2, REPLICA_COUNT_INSTALLS), 1);
    cluster_close(&c);
}

/* "A shard's snapshot must never stall for ever": at a rate that no piece is within. */
static void the_slowest_rate_is_one_piece_per_lease(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.quiet = true;
    fall_behind(&c);
    rate_set(&c, 1);
    uint64_t began = c.time;
    for (uint32_t i = 0; cluster_count(&c, 2, REPLICA_COUNT_INSTALLS) == 0; i++) {
        CU_ASSERT_FATAL(i < 100 * TURNS);
        cluster_wait(&c, CLUSTER_RETRY);
    }
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_SNAPSHOTS), 1);
    /* Nor does a piece wait until it is asked for once more. */
    uint64_t pieces = c.nodes[0].group.stream.number + 1;
    CU_ASSERT(pieces > 20);
    CU_ASSERT(c.time - began <= pieces * (CLUSTER_LEASE + 2 * CLUSTER_RETRY));
    cluster_close(&c);
}

static const struct unit_test tests[] = {
    UNIT_TEST(the_log_for_who_was_behind_comes_at_the_rate),
    UNIT_TEST(what_is_fed_in_step_has_no_bound),
    UNIT_TEST(a_voter_that_commits_wait_for_has_no_bound),
    UNIT_TEST(a_snapshot_comes_at_the_rate_and_is_not_given_up),
    UNIT_TEST(the_slowest_rate_is_one_piece_per_lease),
};
UNIT_MAIN("replica_copy", tests)
