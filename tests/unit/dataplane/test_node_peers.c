/* Nodes that come and go while the lcores of the others run, each on its own threads: over transport_mem, with
 * a coordinator that the test plays. */
#include "dataplane/lag.h"
#include "dataplane/lcore_cluster.h"
#include "dataplane/node_change.h"
#include "dataplane/transport_mem.h"
#include "engine/rcu.h"
#include "tests/unit/dataplane/no_hand_over.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NODES 4u
#define IDS 8u /* of the hub */
#define LCORES 2u
#define SHARDS 4u
#define START UINT64_C(1000)
#define EPOCHS 128u
#define LOOKS 60000u /* of a millisecond: what has not happened by then never does */
#define ROUNDS 10u

static struct node nodes[NODES];
static struct node_cluster clusters[NODES];
static struct lag *lags[NODES][LCORES];
static struct transport_mem_hub *hub;
static struct configuration decided[EPOCHS];
static _Atomic uint32_t decided_count;
static _Atomic uint64_t version, active[SHARDS];
static _Atomic uint32_t promoted[SHARDS]; /* node */
static const struct sockaddr_storage addresses[LCORES];

/* ---- the coordinator ---- */

static uint32_t shard_of(uint32_t log)
{
    return log & ((1u << NODE_LOG_SPACE_SHIFT) - 1);
}

static bool configuration_of(void *context, uint32_t log, uint64_t known_epoch,
                             struct configuration *copy)
{
    (void)context;
    uint32_t count = atomic_load_explicit(&decided_count, memory_order_acquire);
    if (count == 0 || decided[count - 1].epoch <= known_epoch)
        return false;
    *copy = decided[count - 1];
    copy->active =
        atomic_load_explicit(&active[shard_of(log)], memory_order_acquire) == copy->epoch;
    return true;
}

static enum cluster_activation activate(void *context, uint32_t log, uint64_t epoch)
{
    (void)context;
    uint32_t count = atomic_load_explicit(&decided_count, memory_order_acquire);
    if (decided[count - 1].epoch != epoch)
        return CLUSTER_REFUSED;
    atomic_store_explicit(&active[shard_of(log)], epoch, memory_order_release);
    return CLUSTER_ACTIVE;
}

static void promote(void *context, uint32_t log, uint64_t epoch, const struct member *learner)
{
    (void)context;
    uint32_t count = atomic_load_explicit(&decided_count, memory_order_acquire);
    ASSERT(decided[count - 1].epoch >= epoch);
    atomic_store_explicit(&promoted[shard_of(log)], learner->node, memory_order_release);
}

static struct member member_of(uint32_t id)
{
    return (struct member){.node = id, .incarnation = START};
}

static bool all_active(uint64_t epoch)
{
    bool all = true;
    for (uint32_t k = 0; k < SHARDS; k++)
        all &= atomic_load_explicit(&active[k], memory_order_acquire) == epoch;
    return all;
}

/* Voters and learners by id in the masks; the lowest voter leads. */
static void decide(uint32_t voters, uint32_t learners)
{
    /* relaxed: this thread alone writes it */
    uint32_t at = atomic_load_explicit(&decided_count, memory_order_relaxed);
    struct configuration *c = &decided[at];
    CU_ASSERT_FATAL(at < EPOCHS);
    *c = (struct configuration){.epoch = START + at};
    for (uint32_t id = 1; id <= NODES; id++) {
        if ((voters & 1u << id) != 0)
            c->voters[c->voter_count++] = member_of(id);
        if ((learners & 1u << id) != 0)
            c->learners[c->learner_count++] = member_of(id);
    }
    c->leader = c->voters[0];
    if (at != 0) {
        c->epoch_before = decided[at - 1].epoch;
        c->voter_before_count = decided[at - 1].voter_count;
        memcpy(c->voters_before, decided[at - 1].voters, sizeof c->voters);
    }
    CU_ASSERT_FATAL(configuration_is_valid(c));
    atomic_store_explicit(&decided_count, at + 1, memory_order_release);
    atomic_fetch_add_explicit(&version, 1, memory_order_release);
    for (uint32_t i = 0; i < LOOKS && !all_active(c->epoch); i++)
        (void)usleep(1000);
    CU_ASSERT_TRUE_FATAL(all_active(c->epoch));
}

/* ---- the nodes ---- */

static void node_make(uint32_t i, const uint32_t *ids, uint32_t count)
{
    struct node_config c = {.id = i + 1,
                            .lcore_count = LCORES,
                            .lcore_cpus = {-1, -1},
                            .lease_ns = 100 * NS_PER_MS,
                            .heartbeat_ns = 100 * NS_PER_MS,
                            .view_ns = NS_PER_S,
                            .copy_rate = UINT64_C(1) << 26,
                            .replicated = true};
    struct space_config s;
    (void)snprintf(c.name, sizeof c.name, "roost%u", i + 1);
    CU_ASSERT_EQUAL_FATAL(node_open(&nodes[i], &c, START), 0);
    space_config_default(&s);
    s.id = 1;
    (void)snprintf(s.name, sizeof s.name, "reeds");
    s.shard_count = SHARDS;
    s.quota_bytes = space_quota_min(SHARDS);
    CU_ASSERT_EQUAL_FATAL(node_space_add(&nodes[i], &s), 0);
    clusters[i] = (struct node_cluster){
        .self = member_of(i + 1),
        .node_count = count,
        .version = &version,
        .configuration = configuration_of,
        .activate = activate,
        .hands_over = hands_over,
        .handed_over = handed_over,
        .promote = promote,
    };
    memcpy(clusters[i].nodes, ids, count * sizeof ids[0]);
    for (uint32_t l = 0; l < LCORES; l++) {
        lags[i][l] = calloc(1, lag_bytes(SHARDS));
        CU_ASSERT_PTR_NOT_NULL_FATAL(lags[i][l]);
        lag_init(lags[i][l], ids, count, SHARDS);
        clusters[i].lags[l] = lags[i][l];
        clusters[i].transports[l] = transport_mem_endpoint(hub, i + 1, l);
    }
    nodes[i].cluster = &clusters[i];
}

static void node_unmake(uint32_t i)
{
    node_close(&nodes[i]);
    for (uint32_t l = 0; l < LCORES; l++)
        free(lags[i][l]);
}

static int peer_add(uint32_t i, uint32_t id)
{
    const struct node_peer peer = {.node = id, .addresses = addresses};
    return node_peer_add(&nodes[i], &peer);
}

static uint64_t committed(uint32_t i, uint32_t shard)
{
    return atomic_load_explicit(&nodes[i].spaces[1]->boards[shard].lsn_committed,
                                memory_order_acquire);
}

/* All shards of a node show what the leader's show. */
static bool has_all(uint32_t i, uint32_t leader)
{
    bool all = true;
    for (uint32_t k = 0; k < SHARDS; k++)
        all &= committed(leader, k) != 0 && committed(i, k) == committed(leader, k);
    return all;
}

static bool all_promoted(uint32_t id)
{
    bool all = true;
    for (uint32_t k = 0; k < SHARDS; k++)
        all &= atomic_load_explicit(&promoted[k], memory_order_acquire) == id;
    return all;
}

static bool is_listed(uint32_t i, uint32_t id)
{
    bool is = false;
    for (uint32_t k = 0; k < clusters[i].node_count; k++)
        is |= clusters[i].nodes[k] == id;
    return is;
}

static void open_three(void)
{
    static const uint32_t ids[IDS] = {1, 2, 3, 4, 5, 6, 7, 8};
    /* relaxed: no lcore runs */
    atomic_store_explicit(&decided_count, 0, memory_order_relaxed);
    for (uint32_t k = 0; k < SHARDS; k++) {
        atomic_store_explicit(&active[k], 0, memory_order_relaxed);
        atomic_store_explicit(&promoted[k], 0, memory_order_relaxed);
    }
    const struct transport_mem_config config = {
        .nodes = ids, .node_count = IDS, .lcore_count = LCORES};
    CU_ASSERT_EQUAL_FATAL(transport_mem_open(&hub, &config), 0);
    for (uint32_t i = 0; i < 3; i++) {
        node_make(i, ids, 3);
        CU_ASSERT_EQUAL_FATAL(node_lcores_start(&nodes[i]), 0);
    }
    decide(0xe, 0);
}

static void close_all(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        node_lcores_stop(&nodes[i]);
    for (uint32_t i = 0; i < count; i++)
        node_unmake(i);
    transport_mem_close(hub);
}

/* ---- tests ---- */

/* Node 4 comes, learns, is found fit, votes in place of 3, which goes and comes again and again. */
static void nodes_come_and_go_while_lcores_run(void)
{
    static const uint32_t some[] = {1, 2, 4};
    open_three();
    node_make(3, some, 3);
    CU_ASSERT_EQUAL(peer_add(3, 3), 0); /* before its lcores start */
    CU_ASSERT_EQUAL_FATAL(node_lcores_start(&nodes[3]), 0);
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(peer_add(i, 4), 0);
        CU_ASSERT_EQUAL(peer_add(i, 4), -EEXIST);
        CU_ASSERT_TRUE(is_listed(i, 4) && clusters[i].node_count == 4);
        CU_ASSERT_PTR_NOT_NULL(lag_of(lags[i][0], 4));
    }
    decide(0xe, 0x10);
    for (uint32_t i = 0; i < LOOKS && !(all_promoted(4) && has_all(3, 0)); i++)
        (void)usleep(1000);
    CU_ASSERT_TRUE(all_promoted(4) && has_all(3, 0));
    decide(0x16, 0);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < NODES; i++)
            if (i != 2)
                node_peer_remove(&nodes[i], 3);
        CU_ASSERT_FALSE(is_listed(0, 3));
        CU_ASSERT_PTR_NULL(lag_of(lags[0][1], 3));
        decide(0x16, 0); /* an epoch without it */
        for (uint32_t i = 0; i < NODES; i++)
            CU_ASSERT_EQUAL(i != 2 ? peer_add(i, 3) : 0, 0);
        decide(0x16, round % 2 == 0 ? 0x8 : 0);
    }
    for (uint32_t i = 0; i < LOOKS && !(has_all(1, 0) && has_all(3, 0)); i++)
        (void)usleep(1000);
    CU_ASSERT_TRUE(has_all(1, 0) && has_all(3, 0));
    close_all(NODES);
}

/* A configuration may name a node before it is added here: its shards are led all the same, and it is fed from
 * the moment on that it is. */
static void a_node_that_is_named_before_it_is_added(void)
{
    static const uint32_t all[] = {1, 2, 3, 4};
    open_three();
    node_make(3, all, 4);
    CU_ASSERT_EQUAL_FATAL(node_lcores_start(&nodes[3]), 0);
    decide(0xe, 0x10);
    CU_ASSERT_TRUE(all_active(decided[1].epoch));
    for (uint32_t i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(peer_add(i, 4), 0);
    for (uint32_t i = 0; i < LOOKS && !has_all(3, 0); i++)
        (void)usleep(1000);
    CU_ASSERT_TRUE(has_all(3, 0));
    close_all(NODES);
}

static void so_many_nodes_and_no_more(void)
{
    open_three();
    for (uint32_t id = 4; id <= LIMIT_VOTERS; id++)
        CU_ASSERT_EQUAL(peer_add(0, id), 0);
    CU_ASSERT_EQUAL(clusters[0].node_count, LIMIT_VOTERS);
    CU_ASSERT_EQUAL(peer_add(0, IDS), -ENOSPC);
    CU_ASSERT_EQUAL(peer_add(0, 1), -EEXIST); /* itself */
    node_peer_remove(&nodes[0], IDS);         /* not there: no matter */
    node_peer_remove(&nodes[0], 5);
    CU_ASSERT_EQUAL(peer_add(0, IDS), 0);
    CU_ASSERT_TRUE(is_listed(0, IDS) && !is_listed(0, 5));
    decide(0xe, 0); /* it leads on */
    close_all(3);
}

static const struct unit_test tests[] = {
    UNIT_TEST(nodes_come_and_go_while_lcores_run),
    UNIT_TEST(a_node_that_is_named_before_it_is_added),
    UNIT_TEST(so_many_nodes_and_no_more),
};

int main(int argc, char **argv)
{
    qsbr_thread_register();
    qsbr_offline();
    return unit_main("node_peers", tests, sizeof tests / sizeof tests[0], argc, argv);
}
