/* What a pass is bound by, and for how long none is needed. */
#include "tests/unit/dataplane/replica_cluster.h"
#include "tests/unit/unit.h"

static const struct cluster_config three = {.node_count = 3};

static uint32_t appends_to(const struct replica_update *u, uint32_t node, uint64_t *bytes)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < u->out_count; i++) {
        if (u->out[i].to != node || u->out[i].message.length == 0)
            continue;
        *bytes += u->out[i].message.length;
        count++;
    }
    return count;
}

/* Two peers with the same to be fed; one of them has had almost all that a pass has for it. */
static void a_peer_is_fed_so_much_in_a_pass(void)
{
    static struct cluster c;
    static struct replica_update u;
    uint64_t fed = 0, other = 0;
    cluster_lead(&c, &three);
    struct cluster_node *leader = &c.nodes[0];
    for (uint64_t key = 1; key < 30; key++) {
        static uint8_t value[900];
        CU_ASSERT_EQUAL_FATAL(
            fixture_put(&leader->shard, &key, sizeof key, (const char *)value, sizeof value), 0);
    }
    uint64_t now = cluster_clock(&c, 0);
    struct pair *p = cluster_pair(&c, 0, 1);
    group_begin(&leader->group, now);
    CU_ASSERT_EQUAL(group_feed_left(p), GROUP_FEED_BYTES);
    CU_ASSERT_FALSE(group_is_short(&leader->group));
    p->bytes_fed = GROUP_FEED_BYTES - 1;
    replica_tick(&leader->replica, now, &u);
    CU_ASSERT_EQUAL(appends_to(&u, p->peer.node, &fed), 1); /* what is begun is whole */
    CU_ASSERT(appends_to(&u, cluster_pair(&c, 0, 2)->peer.node, &other) > 3);
    CU_ASSERT(other > 30 * 900 - 900 && other < GROUP_FEED_BYTES);
    CU_ASSERT_EQUAL(group_feed_left(p), 0);
    CU_ASSERT_TRUE(group_is_short(&leader->group));
    CU_ASSERT_FALSE(replica_waits(&leader->replica)); /* it is not all said: it does not rest */
    replica_update_reset(&u);
    replica_tick(&leader->replica, now, &u);
    uint64_t none = 0;
    CU_ASSERT_EQUAL(appends_to(&u, p->peer.node, &none), 0);
    replica_update_reset(&u);
    group_begin(&leader->group, now); /* the next pass */
    CU_ASSERT_FALSE(group_is_short(&leader->group));
    replica_tick(&leader->replica, now, &u);
    CU_ASSERT(appends_to(&u, p->peer.node, &fed) > 2);
    CU_ASSERT_EQUAL(fed, other);
    replica_update_reset(&u);
    cluster_close(&c);
}

/* Lengths of frames are those of the usual paths: of Ethernet, the default, the least, jumbo packets. */
static void a_message_fills_its_frames(void)
{
    static const uint32_t pieces[] = {1408, 1336, 448, 4096};
    for (uint32_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        uint32_t bytes = group_append_bytes(pieces[i]);
        CU_ASSERT_EQUAL((bytes + MESSAGE_HEAD_BYTES) % pieces[i], 0);
        CU_ASSERT(bytes + pieces[i] > GROUP_APPEND_BYTES && bytes < GROUP_APPEND_BYTES + pieces[i]);
    }
    CU_ASSERT_EQUAL(group_append_bytes(1408), 6 * 1408 - MESSAGE_HEAD_BYTES);
    CU_ASSERT_EQUAL(group_append_bytes(0), GROUP_APPEND_BYTES);
    CU_ASSERT_EQUAL(group_append_bytes(8888), GROUP_APPEND_BYTES); /* one frame has room for more */
}

static void a_peer_is_fed_messages_of_that_length(void)
{
    static struct cluster c;
    static struct replica_update u;
    cluster_lead(&c, &three);
    struct cluster_node *leader = &c.nodes[0];
    leader->group.append_bytes = group_append_bytes(1408);
    for (uint64_t key = 1; key < 30; key++) {
        static uint8_t value[900];
        CU_ASSERT_EQUAL_FATAL(
            fixture_put(&leader->shard, &key, sizeof key, (const char *)value, sizeof value), 0);
    }
    group_begin(&leader->group, cluster_clock(&c, 0));
    replica_tick(&leader->replica, cluster_clock(&c, 0), &u);
    CU_ASSERT_FATAL(u.out_count > 2);
    CU_ASSERT_EQUAL(u.out[0].message.length, leader->group.append_bytes);
    CU_ASSERT_EQUAL(u.out[1].message.length, leader->group.append_bytes);
    replica_update_reset(&u);
    cluster_close(&c);
}

static void until_the_next_pulse(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    cluster_run(&c, 2 * CLUSTER_HEARTBEAT);
    struct group *g = &c.nodes[0].group;
    uint64_t now = cluster_clock(&c, 0);
    uint64_t wait = group_wait(g, now);
    CU_ASSERT(wait != 0 && wait <= CLUSTER_HEARTBEAT);
    CU_ASSERT_EQUAL(group_wait(g, now + wait - 1), 1);
    CU_ASSERT_EQUAL(group_wait(g, now + wait), 0);
    CU_ASSERT_EQUAL(group_wait(g, now + wait + 7), 0);
    group_wake(g, &c.nodes[0].replica);
    CU_ASSERT_EQUAL(group_wait(g, now), 0);
    group_settle(g);
    CU_ASSERT_EQUAL(group_wait(g, now), wait);
    /* Followers say nothing by themselves. */
    CU_ASSERT_EQUAL(group_wait(&c.nodes[1].group, cluster_clock(&c, 1)), UINT64_MAX);
    cluster_close(&c);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_peer_is_fed_so_much_in_a_pass),
    UNIT_TEST(a_message_fills_its_frames),
    UNIT_TEST(a_peer_is_fed_messages_of_that_length),
    UNIT_TEST(until_the_next_pulse),
};
UNIT_MAIN("group_wait", tests)
