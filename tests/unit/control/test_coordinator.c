#include "control/coordinator.h"

#include "tests/unit/control/coordinator_fixture.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <unistd.h>

#define START FIXTURE_START
#define SHARDS FIXTURE_SHARDS

static struct fixture_node nodes[FIXTURE_NODES];

/* Each registered, with the start START + its number; joined. */
static void cluster_open(uint32_t shard_count)
{
    fixture_begin();
    for (uint32_t i = 0; i < FIXTURE_NODES; i++) {
        fixture_node_init(&nodes[i], i, 0, shard_count);
        CU_ASSERT_EQUAL_FATAL(fixture_node_open(&nodes[i], START + i), 0);
    }
    for (uint32_t i = 0; i < FIXTURE_NODES; i++) {
        CU_ASSERT_EQUAL_FATAL(coordinator_await(nodes[i].coordinator, 0), 0);
        CU_ASSERT_EQUAL_FATAL(coordinator_join(nodes[i].coordinator, &nodes[i].node), 0);
    }
}

static void cluster_close(void)
{
    for (uint32_t i = 0; i < FIXTURE_NODES; i++) {
        coordinator_close(nodes[i].coordinator);
        CU_ASSERT_PTR_NULL(nodes[i].node.cluster);
        nodes[i].coordinator = NULL;
    }
    fixture_end();
}

/* A new start, all over again. */
static void restart(uint32_t number, uint64_t start)
{
    CU_ASSERT_EQUAL_FATAL(fixture_node_open(&nodes[number], start), 0);
    CU_ASSERT_EQUAL_FATAL(coordinator_await(nodes[number].coordinator, 0), 0);
    CU_ASSERT_EQUAL_FATAL(coordinator_join(nodes[number].coordinator, &nodes[number].node), 0);
}

static int step(uint32_t number)
{
    return coordinator_step(nodes[number].coordinator);
}

static void all_step(void)
{
    for (uint32_t i = 0; i < FIXTURE_NODES; i++)
        CU_ASSERT_EQUAL(step(i), 0);
}

static struct coordinator_counts counts_of(uint32_t number)
{
    struct coordinator_counts counts;
    coordinator_state_counts(coordinator_known(nodes[number].coordinator), &counts);
    return counts;
}

static uint64_t revision(void)
{
    return fixture_state->revision;
}

/* All that is pending, by whoever leads it. */
static void all_activate(uint32_t shard_count)
{
    for (uint32_t i = 0; i < FIXTURE_NODES; i++)
        for (uint32_t s = 0; s < shard_count; s++) {
            const struct configuration c = fixture_configuration(&nodes[i], s);
            if (c.leader.node == nodes[i].config.node && !c.active)
                CU_ASSERT_EQUAL(fixture_activate(&nodes[i], s, c.epoch), CLUSTER_ASKED);
        }
    all_step();
    all_step();
    CU_ASSERT_EQUAL(counts_of(0).pending, 0);
}

static void first_epochs_come_with_the_last_node(void)
{
    struct configuration c;
    uint64_t origin = 0;
    fixture_begin();
    for (uint32_t i = 0; i < FIXTURE_NODES; i++) {
        fixture_node_init(&nodes[i], i, START + i, SHARDS);
        CU_ASSERT_EQUAL_FATAL(
            fixture_coordinator_open(&nodes[i].coordinator, &nodes[i].config, &origin), 0);
        CU_ASSERT_EQUAL(origin, START << NODE_LSN_PER_START_SHIFT);
        if (i + 1 == FIXTURE_NODES)
            break;
        CU_ASSERT_EQUAL(coordinator_await(nodes[i].coordinator, 0), -ETIMEDOUT);
        CU_ASSERT_EQUAL(coordinator_await(nodes[i].coordinator, 30), -ETIMEDOUT);
        CU_ASSERT_FALSE(coordinator_configuration(nodes[i].coordinator, FIXTURE_LOG(0), &c));
        CU_ASSERT_EQUAL(counts_of(i).shards, 0);
    }
    for (uint32_t i = 0; i < FIXTURE_NODES; i++) {
        nodes[i].node.start = START + i;
        CU_ASSERT_EQUAL(coordinator_await(nodes[i].coordinator, 0), 0);
        CU_ASSERT_EQUAL(counts_of(i).shards, SHARDS);
        CU_ASSERT_EQUAL(counts_of(i).pending, SHARDS);
        CU_ASSERT_EQUAL_FATAL(coordinator_join(nodes[i].coordinator, &nodes[i].node), 0);
        const struct node_cluster *cluster = nodes[i].node.cluster;
        CU_ASSERT_EQUAL(cluster->self.node, 10 * (i + 1));
        CU_ASSERT_EQUAL(cluster->self.incarnation, START + i);
        CU_ASSERT_EQUAL(cluster->node_count, FIXTURE_NODES);
        CU_ASSERT_EQUAL(cluster->nodes[2], 30);
        CU_ASSERT_PTR_NULL(cluster->transports[0]);
        c = fixture_configuration(&nodes[i], SHARDS - 1);
        CU_ASSERT_TRUE(configuration_is_valid(&c));
        CU_ASSERT_EQUAL(c.leader.node, 10);
        CU_ASSERT_EQUAL(c.epoch, START + 2);
        CU_ASSERT_EQUAL(c.epoch_before, 0);
        CU_ASSERT_EQUAL(fixture_configuration(&nodes[i], SHARDS).epoch, 0);
    }
    cluster_close();
}

static void refused(struct fixture_node *n, int error)
{
    CU_ASSERT_EQUAL(fixture_node_open(n, n->config.start), error);
    CU_ASSERT_PTR_NULL(n->coordinator);
}

static void who_does_not_belong_is_refused(void)
{
    static const struct coordinator_entry_node twice[] = {{10, 1, ""}, {20, 1, ""}, {20, 1, ""}},
                                               few[] = {{10, 1, ""}},
                                               foreign[] = {{20, 1, ""}, {30, 1, ""}},
                                               heavy[] = {{10, 1001, ""}, {20, 1, ""}},
                                               blank[] = {{10, 1, "a b"}, {20, 1, ""}},
                                               others[] = {{10, 5, "a"}, {40, 5, "b"}};
    struct fixture_node *n = &nodes[0];
    cluster_open(SHARDS);
    uint64_t before = revision();
    coordinator_close(n->coordinator);
    fixture_node_init(n, 0, START - 1, SHARDS);
    refused(n, -ESTALE);
    fixture_node_init(n, 0, START + 9, SHARDS);
    n->config.cluster++;
    refused(n, -EEXIST);
    fixture_node_init(n, 0, START + 9, SHARDS + 1);
    refused(n, -EEXIST);
    fixture_node_init(n, 0, START + 9, SHARDS);
    n->space.name[0] = 'w';
    refused(n, -EEXIST);
    fixture_node_init(n, 0, START + 9, SHARDS);
    n->config.lcore_count = 1;
    refused(n, -EEXIST);
    fixture_node_init(n, 0, START + 9, SHARDS);
    n->config.nodes = twice;
    refused(n, -EINVAL);
    n->config.nodes = few;
    n->config.node_count = 1;
    refused(n, -EINVAL);
    n->config.nodes = foreign;
    n->config.node_count = 2;
    refused(n, -EINVAL);
    n->config.nodes = heavy;
    refused(n, -EINVAL);
    n->config.nodes = blank;
    refused(n, -EINVAL);
    fixture_node_init(n, 0, START + 9, SHARDS);
    n->config.replicas = 0;
    refused(n, -EINVAL);
    fixture_node_init(n, 0, 0, SHARDS);
    refused(n, -EINVAL);
    fixture_node_init(n, 0, START + 9, SHARDS);
    n->config.space_count = 0;
    refused(n, -EINVAL);
    CU_ASSERT_EQUAL(revision(), before);
    /* Whatever nodes it names: the cluster has begun, and the state's count. */
    n->config.space_count = 1;
    n->config.nodes = others;
    n->config.node_count = 2;
    CU_ASSERT_EQUAL(fixture_node_open(n, START + 9), 0);
    CU_ASSERT_EQUAL(coordinator_join(n->coordinator, &n->node), 0);
    CU_ASSERT_EQUAL(n->node.cluster->nodes[0], 10);
    /* A node with other shards than it said. */
    CU_ASSERT_EQUAL_FATAL(fixture_node_open(n, START + 10), 0);
    n->boards[0].log++;
    n->boards[1].log--;
    n->node_space.config.shard_count--;
    CU_ASSERT_EQUAL(coordinator_join(n->coordinator, &n->node), -EEXIST);
    CU_ASSERT_PTR_NULL(n->node.cluster);
    cluster_close();
}

static void a_leader_asks_and_control_carries_it(void)
{
    cluster_open(SHARDS);
    const struct fixture_node *leader = &nodes[0];
    uint64_t epoch = fixture_configuration(leader, 0).epoch, before = revision();
    CU_ASSERT_EQUAL(fixture_activate(&nodes[1], 0, epoch), CLUSTER_REFUSED);
    CU_ASSERT_EQUAL(fixture_activate(leader, 0, epoch - 1), CLUSTER_REFUSED);
    CU_ASSERT_EQUAL(fixture_activate(leader, SHARDS, epoch), CLUSTER_REFUSED);
    CU_ASSERT_EQUAL(leader->wakes + nodes[1].wakes, 0);
    for (uint32_t i = 0; i < SHARDS; i++) {
        CU_ASSERT_EQUAL(fixture_activate(leader, i, epoch), CLUSTER_ASKED);
        CU_ASSERT_EQUAL(fixture_activate(leader, i, epoch), CLUSTER_ASKED);
    }
    CU_ASSERT_EQUAL(leader->wakes, SHARDS);
    uint64_t version = cluster_version(leader->node.cluster);
    uint64_t version_other = cluster_version(nodes[2].node.cluster);
    CU_ASSERT_EQUAL(step(0), 0);
    CU_ASSERT_EQUAL(revision(), before + 1); /* all in one write */
    CU_ASSERT_TRUE(cluster_version(leader->node.cluster) > version);
    CU_ASSERT_EQUAL(fixture_activate(leader, 3, epoch), CLUSTER_ACTIVE);
    CU_ASSERT_EQUAL(counts_of(0).pending, 0);
    CU_ASSERT_EQUAL(counts_of(2).pending, SHARDS);
    CU_ASSERT_EQUAL(step(2), 0);
    CU_ASSERT_EQUAL(counts_of(2).pending, 0);
    CU_ASSERT_TRUE(cluster_version(nodes[2].node.cluster) > version_other);
    CU_ASSERT_TRUE(fixture_configuration(&nodes[2], 3).active);
    /* Nothing new: nothing written, nobody told. */
    version = cluster_version(leader->node.cluster);
    CU_ASSERT_EQUAL(step(0), 0);
    CU_ASSERT_EQUAL(cluster_version(leader->node.cluster), version);
    CU_ASSERT_EQUAL(revision(), before + 1);
    cluster_close();
}

/* Asked, and not yet carried, when somebody else decides otherwise. */
static void what_is_decided_counts_and_not_what_was_known(void)
{
    struct configuration c = {0};
    cluster_open(SHARDS);
    uint64_t epoch = fixture_configuration(&nodes[0], 0).epoch;
    CU_ASSERT_EQUAL(fixture_activate(&nodes[0], 0, epoch), CLUSTER_ASKED);
    restart(1, START + 9); /* the first epochs are others now */
    CU_ASSERT_EQUAL(step(0), 0);
    CU_ASSERT_TRUE(coordinator_configuration(nodes[0].coordinator, FIXTURE_LOG(0), &c));
    CU_ASSERT_EQUAL(c.epoch, epoch + 1);
    CU_ASSERT_FALSE(c.active);
    CU_ASSERT_EQUAL(c.voters[1].incarnation, START + 9);
    CU_ASSERT_EQUAL(fixture_activate(&nodes[0], 0, epoch), CLUSTER_REFUSED);
    CU_ASSERT_EQUAL(fixture_activate(&nodes[0], 0, epoch + 1), CLUSTER_ASKED);
    CU_ASSERT_EQUAL(step(0), 0);
    CU_ASSERT_EQUAL(fixture_activate(&nodes[0], 0, epoch + 1), CLUSTER_ACTIVE);
    cluster_close();
}

static void who_restarts_comes_back_as_somebody_else(void)
{
    uint32_t led[FIXTURE_NODES] = {0};
    cluster_open(SHARDS);
    all_activate(SHARDS);
    uint64_t epoch = fixture_configuration(&nodes[0], 0).epoch;
    restart(0, START + 9);
    for (uint32_t i = 0; i < SHARDS; i++) {
        const struct configuration c = fixture_configuration(&nodes[0], i);
        CU_ASSERT_EQUAL(c.epoch, epoch + 1);
        CU_ASSERT_EQUAL(c.epoch_before, epoch);
        CU_ASSERT_EQUAL(c.voters[0].incarnation, START + 9);
        CU_ASSERT_EQUAL(c.voters_before[0].incarnation, START);
        led[c.leader.node / 10 - 1]++;
    }
    CU_ASSERT_EQUAL(led[0], 0);
    CU_ASSERT_EQUAL(led[1], SHARDS / 2);
    CU_ASSERT_EQUAL(counts_of(0).lost, 0);
    all_step();
    all_activate(SHARDS);
    /* Two of three, before the rest could recover. */
    restart(1, START + 10);
    restart(2, START + 11);
    CU_ASSERT_EQUAL(counts_of(2).lost, SHARDS);
    CU_ASSERT_EQUAL(counts_of(2).pending, SHARDS);
    cluster_close();
}

/* The same id twice: the later start is right. */
static void a_daemon_that_was_superseded_decides_nothing(void)
{
    struct fixture_node *late = calloc(1, sizeof *late);
    CU_ASSERT_PTR_NOT_NULL_FATAL(late);
    cluster_open(SHARDS);
    uint64_t epoch = fixture_configuration(&nodes[0], 0).epoch;
    CU_ASSERT_EQUAL(fixture_activate(&nodes[0], 0, epoch), CLUSTER_ASKED);
    fixture_node_init(late, 0, 0, SHARDS);
    CU_ASSERT_EQUAL_FATAL(fixture_node_open(late, START + 9), 0);
    uint64_t before = revision();
    CU_ASSERT_EQUAL(step(0), -ESTALE);
    CU_ASSERT_EQUAL(step(0), -ESTALE);
    CU_ASSERT_EQUAL(revision(), before);
    CU_ASSERT_EQUAL(fixture_configuration(&nodes[0], 0).epoch, epoch + 1);
    CU_ASSERT_EQUAL(fixture_activate(&nodes[0], 0, epoch + 1), CLUSTER_REFUSED);
    coordinator_close(late->coordinator);
    free(late);
    cluster_close();
}

static bool hands_over(uint32_t number, uint32_t shard, uint64_t epoch)
{
    const struct node_cluster *c = nodes[number].node.cluster;
    return c->hands_over(c->context, FIXTURE_LOG(shard), epoch);
}

static void hand_over(uint32_t number, uint32_t shard, uint64_t epoch)
{
    const struct node_cluster *c = nodes[number].node.cluster;
    c->handed_over(c->context, FIXTURE_LOG(shard), epoch);
}

static void a_move_is_a_hand_over_and_an_epoch(void)
{
    cluster_open(SHARDS);
    struct coordinator *asker = nodes[2].coordinator;
    CU_ASSERT_EQUAL(coordinator_move(asker, 0, UINT32_MAX, 20), -EAGAIN);
    all_activate(SHARDS);
    CU_ASSERT_EQUAL(coordinator_move(asker, 0, UINT32_MAX, 50), -ENOENT);
    CU_ASSERT_EQUAL(coordinator_move(asker, FIXTURE_LOG(SHARDS), UINT32_MAX, 20), -ENOENT);
    CU_ASSERT_EQUAL(coordinator_move(asker, 0, UINT32_MAX, 10), 0);
    uint64_t epoch = fixture_configuration(&nodes[0], 0).epoch;
    CU_ASSERT_EQUAL(coordinator_move(asker, FIXTURE_LOG(0), FIXTURE_LOG(1), 20), 2);
    CU_ASSERT_EQUAL(counts_of(2).moving, 2);
    CU_ASSERT_FALSE(hands_over(0, 0, epoch));
    CU_ASSERT_EQUAL(step(0), 0);
    CU_ASSERT_TRUE(hands_over(0, 0, epoch));
    CU_ASSERT_TRUE(hands_over(0, 1, epoch));
    CU_ASSERT_FALSE(hands_over(0, 2, epoch));
    CU_ASSERT_FALSE(hands_over(0, 0, epoch + 1));
    unsigned wakes = nodes[0].wakes;
    hand_over(0, 0, epoch);
    CU_ASSERT_EQUAL(nodes[0].wakes, wakes + 1);
    CU_ASSERT_EQUAL(step(0), 0);
    CU_ASSERT_EQUAL(fixture_configuration(&nodes[0], 0).leader.node, 20);
    CU_ASSERT_FALSE(hands_over(0, 0, epoch + 1));
    CU_ASSERT_EQUAL(fixture_configuration(&nodes[0], 1).leader.node, 10);
    CU_ASSERT_EQUAL(counts_of(0).moving, 2);
    CU_ASSERT_EQUAL(step(1), 0);
    CU_ASSERT_EQUAL(fixture_activate(&nodes[1], 0, epoch + 1), CLUSTER_ASKED);
    CU_ASSERT_EQUAL(step(1), 0);
    CU_ASSERT_EQUAL(counts_of(1).moving, 1);
    cluster_close();
}

static void a_leader_that_is_silent_is_waited_for_and_then_replaced(void)
{
    cluster_open(SHARDS);
    all_activate(SHARDS);
    uint64_t epoch = fixture_configuration(&nodes[2], 4).epoch;
    CU_ASSERT_EQUAL(coordinator_move(nodes[2].coordinator, FIXTURE_LOG(4), FIXTURE_LOG(4), 20), 1);
    CU_ASSERT_EQUAL(step(2), 0);
    CU_ASSERT_EQUAL(fixture_configuration(&nodes[2], 4).epoch, epoch);
    for (unsigned i = 0; i < 1000 && fixture_configuration(&nodes[2], 4).epoch == epoch; i++) {
        (void)usleep(10000);
        CU_ASSERT_EQUAL(step(2), 0);
    }
    CU_ASSERT_EQUAL(fixture_configuration(&nodes[2], 4).epoch, epoch + 1);
    CU_ASSERT_EQUAL(fixture_configuration(&nodes[2], 4).leader.node, 20);
    cluster_close();
}

static void as_many_shards_as_a_space_has(void)
{
    cluster_open(LIMIT_SHARDS);
    uint64_t before = revision();
    all_activate(LIMIT_SHARDS);
    CU_ASSERT_TRUE(revision() > before &&
                   revision() <= before + FIXTURE_NODES); /* one of each leader's */
    before = revision();
    restart(0, START + 9);
    all_step();
    all_activate(LIMIT_SHARDS);
    CU_ASSERT_TRUE(revision() > before + 1 && revision() <= before + 1 + FIXTURE_NODES);
    CU_ASSERT_EQUAL(counts_of(2).lost, 0);
    cluster_close();
}

static void promote(uint32_t shard, uint64_t epoch, const struct member *learner)
{
    const struct node_cluster *c = nodes[0].node.cluster;
    c->promote(c->context, FIXTURE_LOG(shard), epoch, learner);
}

/* Two of three vote.  A learner that keeps up is nobody's business before it is wanted. */
static void a_learner_is_promoted_when_it_is_wanted(void)
{
    fixture_begin();
    for (uint32_t i = 0; i < FIXTURE_NODES; i++) {
        fixture_node_init(&nodes[i], i, 0, SHARDS);
        nodes[i].config.replicas = 2;
        CU_ASSERT_EQUAL_FATAL(fixture_node_open(&nodes[i], START + i), 0);
    }
    for (uint32_t i = 0; i < FIXTURE_NODES; i++) {
        CU_ASSERT_EQUAL_FATAL(coordinator_await(nodes[i].coordinator, 0), 0);
        CU_ASSERT_EQUAL_FATAL(coordinator_join(nodes[i].coordinator, &nodes[i].node), 0);
    }
    all_activate(SHARDS);
    const struct configuration c = fixture_configuration(&nodes[0], 0);
    CU_ASSERT_EQUAL_FATAL(c.voter_count, 2);
    CU_ASSERT_EQUAL_FATAL(c.leader.node, 10);
    const struct member learner = c.learners[0], stranger = {.node = 77, .incarnation = 1};
    uint64_t before = revision();
    unsigned wakes = nodes[0].wakes;
    promote(0, c.epoch, &stranger);
    promote(0, c.epoch - 1, &learner);
    CU_ASSERT_EQUAL(nodes[0].wakes, wakes);
    promote(0, c.epoch, &learner);
    CU_ASSERT_EQUAL(nodes[0].wakes, wakes + 1);
    all_step();
    CU_ASSERT_EQUAL(revision(), before);
    const struct coordinator_node_asked drain = {.kind = COORDINATOR_NODE_DRAIN,
                                                 .id = 50 - learner.node};
    CU_ASSERT_EQUAL(coordinator_node_change(nodes[1].coordinator, &drain), 1);
    all_step();
    const struct coordinator_shard *s = coordinator_shard(nodes[0].coordinator, FIXTURE_LOG(0));
    CU_ASSERT_EQUAL(s->promote, learner.node);
    CU_ASSERT_EQUAL(s->move, 10);
    CU_ASSERT_TRUE(hands_over(0, 0, c.epoch));
    hand_over(0, 0, c.epoch);
    all_step();
    const struct configuration next = fixture_configuration(&nodes[0], 0);
    CU_ASSERT_EQUAL(next.voter_count, 2);
    CU_ASSERT_TRUE(member_find(next.voters, 2, &learner) >= 0);
    CU_ASSERT_EQUAL(next.learners[0].node, 50 - learner.node);
    cluster_close();
}

static const struct unit_test tests[] = {
    UNIT_TEST(first_epochs_come_with_the_last_node),
    UNIT_TEST(who_does_not_belong_is_refused),
    UNIT_TEST(a_leader_asks_and_control_carries_it),
    UNIT_TEST(what_is_decided_counts_and_not_what_was_known),
    UNIT_TEST(who_restarts_comes_back_as_somebody_else),
    UNIT_TEST(a_daemon_that_was_superseded_decides_nothing),
    UNIT_TEST(a_move_is_a_hand_over_and_an_epoch),
    UNIT_TEST(a_leader_that_is_silent_is_waited_for_and_then_replaced),
    UNIT_TEST(as_many_shards_as_a_space_has),
    UNIT_TEST(a_learner_is_promoted_when_it_is_wanted),
};
UNIT_MAIN("coordinator", tests)
