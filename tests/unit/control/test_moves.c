/* Decisions of a coordinator, as lcores that run learn of them and follow. */
#include "control/coordinator_script.h"
#include "control/dev_moves.h"

#include "dataplane/transport_mem.h"
#include "engine/rcu.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <unistd.h>

#define NODES 3u
#define SHARDS 5u
#define START UINT64_C(1795249235478)

static struct node nodes[NODES];
static struct node *const all[] = {&nodes[0], &nodes[1], &nodes[2]};
static struct coordinator_script *coordinator;
static struct transport_mem_hub *hub;
static struct dev_links *links;

static void node_make(uint32_t i)
{
    struct node_config c = {.id = i + 1,
                            .lcore_count = 1,
                            .lcore_cpus = {-1},
                            .lease_ns = 50 * NS_PER_MS,
                            .heartbeat_ns = 100 * NS_PER_MS,
                            .view_ns = NS_PER_S,
                            .replicated = true};
    struct space_config s;
    (void)snprintf(c.name, sizeof(c.name), "node%u", i + 1);
    CU_ASSERT_EQUAL_FATAL(node_open(&nodes[i], &c, START), 0);
    space_config_default(&s);
    s.id = 3;
    (void)snprintf(s.name, sizeof(s.name), "reeds");
    s.shard_count = SHARDS;
    s.quota_bytes = space_quota_min(SHARDS);
    s.sessions_max = 4;
    CU_ASSERT_EQUAL_FATAL(node_space_add(&nodes[i], &s), 0);
}

/* For something to become so; true if it did within ten seconds. */
static bool comes(bool (*is)(const struct coordinator_script *c))
{
    for (unsigned i = 0; i < 10000 && !is(coordinator); i++)
        (void)usleep(1000);
    return is(coordinator);
}

static void cluster_open(void)
{
    static const uint32_t ids[NODES] = {1, 2, 3};
    const struct transport_mem_config config = {
        .nodes = ids, .node_count = NODES, .lcore_count = 1};
    for (uint32_t i = 0; i < NODES; i++)
        node_make(i);
    CU_ASSERT_EQUAL_FATAL(coordinator_script_open(&coordinator, all, NODES, START), 0);
    CU_ASSERT_EQUAL_FATAL(transport_mem_open(&hub, &config), 0);
    CU_ASSERT_EQUAL_FATAL(dev_links_open(&links, NODES), 0);
    for (uint32_t i = 0; i < NODES; i++)
        nodes[i].cluster->transports[0] =
            dev_link_over(links, transport_mem_endpoint(hub, ids[i], 0));
    for (uint32_t i = 0; i < NODES; i++)
        CU_ASSERT_EQUAL_FATAL(node_lcores_start(&nodes[i]), 0);
    CU_ASSERT_TRUE_FATAL(comes(coordinator_script_is_active));
}

static void cluster_close(void)
{
    for (uint32_t i = 0; i < NODES; i++)
        node_lcores_stop(&nodes[i]);
    coordinator_script_close(coordinator);
    transport_mem_close(hub);
    dev_links_close(links);
    for (uint32_t i = 0; i < NODES; i++)
        node_close(&nodes[i]);
}

static uint64_t counted(uint32_t node, enum counter counter)
{
    return atomic_load_explicit(&nodes[node].shared->counters[0].value[counter],
                                memory_order_relaxed);
}

/* An lcore counts after it told the coordinator. */
static bool activations_are(uint32_t node, uint64_t count)
{
    for (unsigned i = 0; i < 10000 && counted(node, COUNTER_ACTIVATIONS) < count; i++)
        (void)usleep(1000);
    return counted(node, COUNTER_ACTIVATIONS) == count;
}

static void leadership_goes_where_it_is_told(void)
{
    cluster_open();
    CU_ASSERT_TRUE(activations_are(0, SHARDS));
    for (uint32_t round = 1; round <= 3; round++) {
        for (uint32_t leader = 1; leader <= NODES; leader++) {
            uint32_t node = leader % NODES;
            CU_ASSERT_EQUAL_FATAL(coordinator_script_move(coordinator, node), 0);
            CU_ASSERT_TRUE_FATAL(comes(coordinator_script_is_active));
            CU_ASSERT_TRUE(activations_are(node, (round + (node == 0)) * SHARDS));
        }
    }
    for (uint32_t i = 0; i < NODES; i++)
        CU_ASSERT_EQUAL(counted(i, COUNTER_STOPPED), 0);
    cluster_close();
}

static void leaders_let_go_when_they_are_asked(void)
{
    cluster_open();
    for (uint32_t i = 0; i < 2; i++) {
        CU_ASSERT_FALSE(coordinator_script_is_handed_over(coordinator));
        coordinator_script_hand_over(coordinator);
        CU_ASSERT_TRUE_FATAL(comes(coordinator_script_is_handed_over));
        CU_ASSERT_EQUAL_FATAL(coordinator_script_move(coordinator, 1 - i), 0);
        CU_ASSERT_TRUE_FATAL(comes(coordinator_script_is_active));
    }
    cluster_close();
}

/* Nor is it forgotten where the node does not know yet that it leads. */
static void leaders_let_go_when_asked_early(void)
{
    cluster_open();
    for (uint32_t leader = 1; leader <= NODES; leader++) {
        CU_ASSERT_EQUAL_FATAL(coordinator_script_move(coordinator, leader % NODES), 0);
        coordinator_script_hand_over(coordinator);
        CU_ASSERT_TRUE_FATAL(comes(coordinator_script_is_handed_over));
    }
    cluster_close();
}

/* A leader that hears of nobody makes way, and so does the pending one that nobody hears. */
static void who_is_cut_off_is_replaced(void)
{
    cluster_open();
    dev_links_cut_off(links, 1);
    CU_ASSERT_EQUAL_FATAL(coordinator_script_move(coordinator, 1), 0);
    CU_ASSERT_TRUE_FATAL(comes(coordinator_script_is_active));
    CU_ASSERT_EQUAL_FATAL(coordinator_script_move(coordinator, 0), 0);
    (void)usleep(20000);
    CU_ASSERT_FALSE(coordinator_script_is_active(coordinator));
    CU_ASSERT_EQUAL_FATAL(coordinator_script_move(coordinator, 2), 0);
    CU_ASSERT_TRUE_FATAL(comes(coordinator_script_is_active));
    CU_ASSERT_EQUAL(counted(0, COUNTER_ACTIVATIONS), SHARDS);
    dev_links_cut_off(links, 0);
    CU_ASSERT_EQUAL_FATAL(coordinator_script_move(coordinator, 0), 0);
    CU_ASSERT_TRUE_FATAL(comes(coordinator_script_is_active));
    cluster_close();
}

static void the_script_moves_there_and_back(void)
{
    cluster_open();
    const struct dev_moves_config config = {.coordinator = coordinator,
                                            .links = links,
                                            .node_count = NODES,
                                            .period_ms = DEV_MOVES_MS_MIN};
    struct dev_moves *moves;
    CU_ASSERT_EQUAL_FATAL(dev_moves_start(&moves, &config), 0);
    bool enough = false;
    for (unsigned i = 0; i < 20000 && !enough; i++) {
        (void)usleep(1000);
        enough = true;
        for (uint32_t n = 0; n < NODES; n++)
            enough = enough && counted(n, COUNTER_ACTIVATIONS) >= (n == 0 ? 6 : 2) * SHARDS;
    }
    dev_moves_stop(moves);
    CU_ASSERT_TRUE(enough);
    for (uint32_t i = 0; i < NODES; i++)
        CU_ASSERT_EQUAL(counted(i, COUNTER_STOPPED), 0);
    dev_moves_stop(NULL);
    cluster_close();
}

static const struct unit_test tests[] = {
    UNIT_TEST(leadership_goes_where_it_is_told), UNIT_TEST(leaders_let_go_when_they_are_asked),
    UNIT_TEST(leaders_let_go_when_asked_early),  UNIT_TEST(who_is_cut_off_is_replaced),
    UNIT_TEST(the_script_moves_there_and_back),
};
UNIT_MAIN("moves", tests)
