#include "control/coordinator_script.h"

#include "tests/unit/unit.h"

#include <stdio.h>
#include <sys/epoll.h>

#define NODES 3u
#define START UINT64_C(1795249235478)
#define EPOCH (START + 5)
#define SHARDS_FIRST 3u
#define SHARDS_SECOND 2u

static struct node nodes[NODES];
static struct node *const all[] = {&nodes[0], &nodes[1], &nodes[2]};

static void space_add(struct node *n, uint32_t id, const char *name, uint32_t shard_count)
{
    struct space_config c;
    space_config_default(&c);
    c.id = id;
    (void)snprintf(c.name, sizeof(c.name), "%s", name);
    c.shard_count = shard_count;
    c.quota_bytes = space_quota_min(shard_count);
    c.sessions_max = 4;
    CU_ASSERT_EQUAL_FATAL(node_space_add(n, &c), 0);
}

/* Each with a start number of its own, as in a cluster of several processes. */
static void nodes_open(void)
{
    for (uint32_t i = 0; i < NODES; i++) {
        struct node_config c = {.id = 10 * (i + 1),
                                .lcore_count = 1,
                                .lease_ns = 50 * NS_PER_MS,
                                .heartbeat_ns = 100 * NS_PER_MS,
                                .view_ns = NS_PER_S};
        (void)snprintf(c.name, sizeof(c.name), "node%u", i + 1);
        CU_ASSERT_EQUAL_FATAL(node_open(&nodes[i], &c, START + i), 0);
        space_add(&nodes[i], 2, "reeds", SHARDS_FIRST);
        space_add(&nodes[i], 9, "mud", SHARDS_SECOND);
    }
}

static void nodes_close(void)
{
    for (uint32_t i = 0; i < NODES; i++)
        node_close(&nodes[i]);
}

/* What a node that knows nothing is told; epoch 0: nothing. */
static struct configuration configuration_at(uint32_t node, uint32_t log)
{
    const struct node_cluster *c = nodes[node].cluster;
    struct configuration copy;
    if (!c->configuration(c->context, log, 0, &copy))
        copy.epoch = 0;
    return copy;
}

static bool activate_at(uint32_t node, uint32_t log, uint64_t epoch)
{
    const struct node_cluster *c = nodes[node].cluster;
    return c->activate(c->context, log, epoch) == CLUSTER_ACTIVE;
}

static bool hands_over_at(uint32_t node, uint32_t log, uint64_t epoch)
{
    const struct node_cluster *c = nodes[node].cluster;
    return c->hands_over(c->context, log, epoch);
}

/* Call what(log) for each shard. */
static void each_log(void (*what)(uint32_t log, uint64_t argument), uint64_t argument)
{
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++) {
        const struct node_space *s = nodes[0].spaces[id];
        for (uint32_t i = 0; s != NULL && i < s->config.shard_count; i++)
            what(s->boards[i].log, argument);
    }
}

static void every_shard_has_one_configuration_everywhere(void)
{
    struct coordinator_script *c;
    nodes_open();
    CU_ASSERT_EQUAL_FATAL(coordinator_script_open(&c, all, NODES, EPOCH), 0);
    uint32_t shards = 0;
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++) {
        const struct node_space *s = nodes[0].spaces[id];
        for (uint32_t i = 0; s != NULL && i < s->config.shard_count; i++, shards++) {
            const struct configuration first = configuration_at(0, s->boards[i].log);
            CU_ASSERT(configuration_is_valid(&first));
            CU_ASSERT_EQUAL(first.epoch, EPOCH);
            CU_ASSERT_EQUAL(first.epoch_before, 0);
            CU_ASSERT_FALSE(first.active);
            CU_ASSERT_EQUAL(first.leader.node, 10);
            CU_ASSERT_EQUAL(first.leader.incarnation, START);
            CU_ASSERT_EQUAL_FATAL(first.voter_count, NODES);
            for (uint32_t v = 0; v < NODES; v++) {
                CU_ASSERT_EQUAL(first.voters[v].node, 10 * (v + 1));
                CU_ASSERT_EQUAL(first.voters[v].incarnation, START + v);
            }
            for (uint32_t n = 1; n < NODES; n++) {
                const struct configuration same = configuration_at(n, s->boards[i].log);
                CU_ASSERT_EQUAL(memcmp(&first, &same, sizeof(first)), 0);
            }
        }
    }
    CU_ASSERT_EQUAL(shards, SHARDS_FIRST + SHARDS_SECOND);
    coordinator_script_close(c);
    nodes_close();
}

static void a_node_knows_itself_and_its_peers(void)
{
    struct coordinator_script *c;
    nodes_open();
    CU_ASSERT_EQUAL_FATAL(coordinator_script_open(&c, all, NODES, EPOCH), 0);
    for (uint32_t i = 0; i < NODES; i++) {
        const struct node_cluster *cluster = nodes[i].cluster;
        CU_ASSERT_EQUAL(cluster->self.node, 10 * (i + 1));
        CU_ASSERT_EQUAL(cluster->self.incarnation, START + i);
        CU_ASSERT_EQUAL_FATAL(cluster->node_count, NODES);
        for (uint32_t j = 0; j < NODES; j++)
            CU_ASSERT_EQUAL(cluster->nodes[j], 10 * (j + 1));
        CU_ASSERT_PTR_NULL(cluster->transports[0]);
    }
    coordinator_script_close(c);
    for (uint32_t i = 0; i < NODES; i++)
        CU_ASSERT_PTR_NULL(nodes[i].cluster);
    coordinator_script_close(NULL);
    nodes_close();
}

static void activate_all(uint32_t log, uint64_t node_and_epoch)
{
    CU_ASSERT_TRUE(activate_at((uint32_t)(node_and_epoch >> 48), log,
                               node_and_epoch & ((UINT64_C(1) << 48) - 1)));
}

/* Every shard's epoch, recovered by its leader. */
static void all_active(uint32_t node, uint64_t epoch)
{
    each_log(activate_all, (uint64_t)node << 48 | epoch);
}

static void the_leader_alone_activates_the_pending_epoch(void)
{
    struct coordinator_script *c;
    nodes_open();
    CU_ASSERT_EQUAL_FATAL(coordinator_script_open(&c, all, NODES, EPOCH), 0);
    uint32_t log = nodes[0].spaces[2]->boards[1].log;
    CU_ASSERT_FALSE(activate_at(1, log, EPOCH));
    CU_ASSERT_FALSE(activate_at(0, log, EPOCH - 1));
    CU_ASSERT_FALSE(activate_at(0, log, EPOCH + 1));
    CU_ASSERT_FALSE(activate_at(0, log, 0));
    CU_ASSERT_TRUE(activate_at(0, log, EPOCH));
    CU_ASSERT_TRUE(activate_at(0, log, EPOCH)); /* the answer was lost, and it asks again */
    CU_ASSERT_FALSE(coordinator_script_is_active(c));
    all_active(0, EPOCH);
    CU_ASSERT_TRUE(coordinator_script_is_active(c));
    coordinator_script_close(c);
    nodes_close();
}

static void a_move_is_an_epoch_more(void)
{
    struct coordinator_script *c;
    struct configuration newer;
    nodes_open();
    CU_ASSERT_EQUAL_FATAL(coordinator_script_open(&c, all, NODES, EPOCH), 0);
    const struct node_cluster *cluster = nodes[1].cluster;
    uint32_t log = nodes[0].spaces[9]->boards[1].log;
    uint64_t version = cluster_version(cluster);
    CU_ASSERT_EQUAL(coordinator_script_move(c, 1), -EAGAIN); /* nothing to follow yet */
    CU_ASSERT_EQUAL(coordinator_script_move(c, NODES), -EINVAL);
    CU_ASSERT_EQUAL(cluster_version(cluster), version);
    all_active(0, EPOCH);
    CU_ASSERT_EQUAL_FATAL(coordinator_script_move(c, 1), 0);
    CU_ASSERT_TRUE(cluster_version(cluster) > version);
    CU_ASSERT_FALSE(coordinator_script_is_active(c));
    CU_ASSERT_FALSE(cluster->configuration(cluster->context, log, EPOCH + 1, &newer));
    CU_ASSERT_TRUE_FATAL(cluster->configuration(cluster->context, log, EPOCH, &newer));
    CU_ASSERT(configuration_is_valid(&newer));
    CU_ASSERT_EQUAL(newer.epoch, EPOCH + 1);
    CU_ASSERT_EQUAL(newer.epoch_before, EPOCH);
    CU_ASSERT_FALSE(newer.active);
    CU_ASSERT_EQUAL(newer.leader.node, 20);
    CU_ASSERT_EQUAL_FATAL(newer.voter_before_count, NODES);
    CU_ASSERT_EQUAL(memcmp(newer.voters, newer.voters_before, sizeof(newer.voters)), 0);
    CU_ASSERT_FALSE(activate_at(0, log, EPOCH)); /* no longer the newest */
    CU_ASSERT_FALSE(activate_at(0, log, EPOCH + 1));
    CU_ASSERT_TRUE(activate_at(1, log, EPOCH + 1));
    coordinator_script_close(c);
    nodes_close();
}

/* Where it was active the next one follows it, elsewhere its predecessor. */
static void a_pending_epoch_is_replaced(void)
{
    struct coordinator_script *c;
    nodes_open();
    CU_ASSERT_EQUAL_FATAL(coordinator_script_open(&c, all, NODES, EPOCH), 0);
    uint32_t log = nodes[0].spaces[2]->boards[0].log, other = nodes[0].spaces[2]->boards[1].log;
    all_active(0, EPOCH);
    CU_ASSERT_EQUAL_FATAL(coordinator_script_move(c, 2), 0);
    CU_ASSERT_TRUE(activate_at(2, log, EPOCH + 1));
    CU_ASSERT_EQUAL_FATAL(coordinator_script_move(c, 0), 0);
    CU_ASSERT_EQUAL(configuration_at(0, log).epoch, EPOCH + 2);
    CU_ASSERT_EQUAL(configuration_at(0, log).epoch_before, EPOCH + 1);
    CU_ASSERT_EQUAL(configuration_at(0, log).leader.node, 10);
    CU_ASSERT_EQUAL(configuration_at(0, other).epoch, EPOCH + 2);
    CU_ASSERT_EQUAL(configuration_at(0, other).epoch_before, EPOCH);
    CU_ASSERT_FALSE(activate_at(2, other, EPOCH + 1)); /* too late */
    all_active(0, EPOCH + 2);
    CU_ASSERT_TRUE(coordinator_script_is_active(c));
    coordinator_script_close(c);
    nodes_close();
}

static void let_go(uint32_t log, uint64_t epoch)
{
    const struct node_cluster *c = nodes[0].cluster;
    CU_ASSERT_TRUE(hands_over_at(0, log, epoch));
    c->handed_over(c->context, log, epoch);
    c->handed_over(c->context, log, epoch); /* counts once */
}

static void leaders_are_asked_to_let_go(void)
{
    struct coordinator_script *c;
    nodes_open();
    CU_ASSERT_EQUAL_FATAL(coordinator_script_open(&c, all, NODES, EPOCH), 0);
    uint32_t log = nodes[0].spaces[2]->boards[0].log;
    all_active(0, EPOCH);
    uint64_t version = cluster_version(nodes[0].cluster);
    CU_ASSERT_FALSE(hands_over_at(0, log, EPOCH));
    coordinator_script_hand_over(c);
    CU_ASSERT_TRUE(cluster_version(nodes[0].cluster) > version);
    CU_ASSERT_FALSE(hands_over_at(0, log, EPOCH + 1));
    CU_ASSERT_FALSE(coordinator_script_is_handed_over(c));
    each_log(let_go, EPOCH);
    CU_ASSERT_TRUE(coordinator_script_is_handed_over(c));
    CU_ASSERT_EQUAL_FATAL(coordinator_script_move(c, 1), 0);
    CU_ASSERT_FALSE(hands_over_at(1, log, EPOCH + 1));
    CU_ASSERT_FALSE(coordinator_script_is_handed_over(c));
    coordinator_script_close(c);
    nodes_close();
}

/* A decision wakes every lcore of every node. */
static void lcores_that_sleep_are_woken(void)
{
    struct coordinator_script *c;
    struct epoll_event event;
    nodes_open();
    CU_ASSERT_EQUAL_FATAL(coordinator_script_open(&c, all, NODES, EPOCH), 0);
    for (uint32_t i = 0; i < NODES; i++)
        while (epoll_wait(nodes[i].sleep_fds[0], &event, 1, 0) > 0)
            CU_ASSERT_TRUE(event.data.u64 >= LIMIT_AGENTS);
    for (unsigned round = 0; round < 2; round++) { /* though nobody reads them */
        coordinator_script_hand_over(c);
        for (uint32_t i = 0; i < NODES; i++) {
            CU_ASSERT_EQUAL(epoll_wait(nodes[i].sleep_fds[0], &event, 1, 0), 1);
            CU_ASSERT_EQUAL(epoll_wait(nodes[i].sleep_fds[0], &event, 1, 0), 0);
        }
    }
    coordinator_script_close(c);
    for (uint32_t i = 0; i < NODES; i++)
        CU_ASSERT_EQUAL(epoll_wait(nodes[i].sleep_fds[0], &event, 1, 0), 0);
    nodes_close();
}

static void unknown_shards_are_nobodys(void)
{
    struct coordinator_script *c;
    nodes_open();
    CU_ASSERT_EQUAL_FATAL(coordinator_script_open(&c, all, NODES, EPOCH), 0);
    const uint32_t unknown[] = {0, 1, nodes[0].spaces[2]->boards[SHARDS_FIRST - 1].log + 1,
                                nodes[0].spaces[9]->boards[SHARDS_SECOND - 1].log + 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        CU_ASSERT_EQUAL(configuration_at(0, unknown[i]).epoch, 0);
        CU_ASSERT_FALSE(hands_over_at(0, unknown[i], EPOCH));
        CU_ASSERT_FALSE(activate_at(0, unknown[i], EPOCH));
    }
    coordinator_script_close(c);
    nodes_close();
}

static void refused(struct node *const *list, uint32_t count, uint64_t epoch)
{
    struct coordinator_script *c = NULL;
    CU_ASSERT_EQUAL(coordinator_script_open(&c, list, count, epoch), -EINVAL);
    CU_ASSERT_PTR_NULL(c);
    for (uint32_t i = 0; i < NODES; i++)
        CU_ASSERT_PTR_NULL(nodes[i].cluster);
}

static void clusters_that_cannot_be_are_refused(void)
{
    struct node *const twice[] = {&nodes[0], &nodes[1], &nodes[0]};
    struct node *const many[LIMIT_VOTERS + 1] = {&nodes[0]};
    nodes_open();
    refused(all, 0, EPOCH);
    refused(many, LIMIT_VOTERS + 1, EPOCH);
    refused(all, NODES, 0);
    refused(twice, NODES, EPOCH);
    /* A space that one of them lacks; or has with other shards, or under another name. */
    space_add(&nodes[2], 12, "sand", 1);
    refused(all, NODES, EPOCH);
    space_add(&nodes[0], 12, "sand", 2);
    space_add(&nodes[1], 12, "sand", 2);
    refused(all, NODES, EPOCH);
    space_add(&nodes[0], 13, "silt", 1);
    space_add(&nodes[1], 13, "clay", 1);
    refused(all, 2, EPOCH);
    nodes_close();
}

static const struct unit_test tests[] = {
    UNIT_TEST(every_shard_has_one_configuration_everywhere),
    UNIT_TEST(a_node_knows_itself_and_its_peers),
    UNIT_TEST(the_leader_alone_activates_the_pending_epoch),
    UNIT_TEST(a_move_is_an_epoch_more),
    UNIT_TEST(a_pending_epoch_is_replaced),
    UNIT_TEST(leaders_are_asked_to_let_go),
    UNIT_TEST(lcores_that_sleep_are_woken),
    UNIT_TEST(unknown_shards_are_nobodys),
    UNIT_TEST(clusters_that_cannot_be_are_refused),
};
UNIT_MAIN("coordinator_script", tests)
