/* A coordinator under nodes whose lcores run: three of them in this process, each with its own view of what was
 * decided. */
#include "control/dev_link.h"

#include "dataplane/transport_mem.h"
#include "engine/rcu.h"
#include "tests/unit/control/coordinator_fixture.h"
#include "tests/unit/unit.h"

#include <unistd.h>

#define NODES FIXTURE_NODES
#define SHARDS FIXTURE_SHARDS

static struct node nodes[NODES];
static struct coordinator *coordinators[NODES];
static struct transport_mem_hub *hub;
static struct dev_links *links;
static _Atomic unsigned wakes;

static void wake(void *context)
{
    (void)context;
    atomic_fetch_add_explicit(&wakes, 1, memory_order_relaxed); /* a number */
}

static void space_make(struct space_config *s)
{
    space_config_default(s);
    s->id = 2;
    (void)snprintf(s->name, sizeof(s->name), "reeds");
    s->shard_count = SHARDS;
    s->quota_bytes = space_quota_min(SHARDS);
    s->sessions_max = 4;
}

/* As a daemon does: registered, then opened, then joined. */
static void node_register(uint32_t i, const uint32_t *ids, uint64_t *origin)
{
    struct space_config s;
    struct coordinator_entry_node entries[NODES];
    space_make(&s);
    for (uint32_t n = 0; n < NODES; n++)
        entries[n] = (struct coordinator_entry_node){.id = ids[n], .weight = n == 0 ? 1000 : 1};
    const struct coordinator_entry_config config = {.cluster = 1,
                                                    .node = ids[i],
                                                    .start = FIXTURE_START + i,
                                                    .replicas = NODES,
                                                    .node_count = NODES,
                                                    .nodes = entries,
                                                    .space_count = 1,
                                                    .spaces = &s};
    CU_ASSERT_EQUAL_FATAL(fixture_coordinator_open(&coordinators[i], &config, origin), 0);
}

static void node_make(uint32_t i, uint32_t id, uint64_t origin)
{
    struct node_config c = {.id = id,
                            .lcore_count = 1,
                            .lcore_cpus = {-1},
                            .lease_ns = 50 * NS_PER_MS,
                            .heartbeat_ns = 100 * NS_PER_MS,
                            .view_ns = NS_PER_S,
                            .replicated = true};
    struct space_config s;
    space_make(&s);
    (void)snprintf(c.name, sizeof(c.name), "node%u", id);
    CU_ASSERT_EQUAL_FATAL(node_open(&nodes[i], &c, FIXTURE_START + i), 0);
    nodes[i].wake_control = wake;
    nodes[i].lsn_start = origin;
    nodes[i].lsn_ceiling = origin + NODE_LSN_GRANT;
    CU_ASSERT_EQUAL_FATAL(node_space_add(&nodes[i], &s), 0);
    CU_ASSERT_EQUAL_FATAL(coordinator_await(coordinators[i], 0), 0);
    CU_ASSERT_EQUAL_FATAL(coordinator_join(coordinators[i], &nodes[i]), 0);
}

static struct coordinator_counts all_step(void)
{
    struct coordinator_counts counts;
    for (uint32_t i = 0; i < NODES; i++)
        CU_ASSERT_EQUAL(coordinator_step(coordinators[i]), 0);
    coordinator_state_counts(coordinator_known(coordinators[0]), &counts);
    return counts;
}

/* Step until nothing is pending and nothing moves; true if it came to that within 20 seconds. */
static bool settles(void)
{
    for (unsigned i = 0; i < 20000; i++) {
        const struct coordinator_counts counts = all_step();
        if (counts.pending == 0 && counts.moving == 0)
            return true;
        (void)usleep(1000);
    }
    return false;
}

static void cluster_open(void)
{
    static const uint32_t ids[NODES] = {10, 20, 30};
    const struct transport_mem_config config = {
        .nodes = ids, .node_count = NODES, .lcore_count = 1};
    uint64_t origins[NODES];
    fixture_begin();
    for (uint32_t i = 0; i < NODES; i++)
        node_register(i, ids, &origins[i]);
    CU_ASSERT_EQUAL_FATAL(transport_mem_open(&hub, &config), 0);
    CU_ASSERT_EQUAL_FATAL(dev_links_open(&links, NODES), 0);
    for (uint32_t i = 0; i < NODES; i++) {
        CU_ASSERT_EQUAL(origins[i], origins[0]);
        node_make(i, ids[i], origins[i]);
        nodes[i].cluster->transports[0] =
            dev_link_over(links, transport_mem_endpoint(hub, ids[i], 0));
    }
    for (uint32_t i = 0; i < NODES; i++)
        CU_ASSERT_EQUAL_FATAL(node_lcores_start(&nodes[i]), 0);
    CU_ASSERT_TRUE_FATAL(settles());
}

static void cluster_close(void)
{
    for (uint32_t i = 0; i < NODES; i++)
        node_lcores_stop(&nodes[i]);
    for (uint32_t i = 0; i < NODES; i++)
        coordinator_close(coordinators[i]);
    transport_mem_close(hub);
    dev_links_close(links);
    for (uint32_t i = 0; i < NODES; i++)
        node_close(&nodes[i]);
    fixture_end();
}

/* By the state, as the node with this number knows it. */
static bool all_are_led_by(uint32_t number, uint32_t node)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct configuration c;
        if (!coordinator_configuration(coordinators[number], FIXTURE_LOG(i), &c) || !c.active ||
            c.leader.node != node)
            return false;
    }
    return true;
}

static uint64_t counted(uint32_t number, enum counter counter)
{
    return atomic_load_explicit(&nodes[number].shared->counters[0].value[counter],
                                memory_order_relaxed);
}

static void leadership_goes_where_it_is_told(void)
{
    cluster_open();
    CU_ASSERT_TRUE(all_are_led_by(0, 10));
    CU_ASSERT_TRUE(atomic_load_explicit(&wakes, memory_order_relaxed) >= SHARDS);
    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t i = 1; i <= NODES; i++) {
            uint32_t node = 10 * (i % NODES + 1);
            CU_ASSERT_EQUAL(coordinator_move(coordinators[i - 1], 0, UINT32_MAX, node), SHARDS);
            CU_ASSERT_TRUE_FATAL(settles());
            (void)all_step();
            CU_ASSERT_TRUE(all_are_led_by(0, node) && all_are_led_by(2, node));
        }
    for (uint32_t i = 0; i < NODES; i++)
        CU_ASSERT_EQUAL(counted(i, COUNTER_STOPPED), 0);
    cluster_close();
}

/* Its lcores know nothing of it, its own control still does; the others' takes over. */
static void who_is_cut_off_is_replaced(void)
{
    cluster_open();
    dev_links_cut_off(links, 10);
    CU_ASSERT_EQUAL(coordinator_move(coordinators[2], 0, UINT32_MAX, 30), SHARDS);
    for (unsigned i = 0; i < 20000 && !all_are_led_by(2, 30); i++) {
        CU_ASSERT_EQUAL(coordinator_step(coordinators[1]), 0);
        CU_ASSERT_EQUAL(coordinator_step(coordinators[2]), 0);
        (void)usleep(1000);
    }
    CU_ASSERT_TRUE(all_are_led_by(2, 30));
    dev_links_cut_off(links, 0);
    CU_ASSERT_TRUE_FATAL(settles());
    CU_ASSERT_EQUAL(coordinator_move(coordinators[0], 0, UINT32_MAX, 10), SHARDS);
    CU_ASSERT_TRUE_FATAL(settles());
    CU_ASSERT_TRUE(all_are_led_by(0, 10));
    cluster_close();
}

static const struct unit_test tests[] = {
    UNIT_TEST(leadership_goes_where_it_is_told),
    UNIT_TEST(who_is_cut_off_is_replaced),
};
UNIT_MAIN("coordinator_lcores", tests)
