/* Nodes that come and go under operations that wait for them, over lcores that the test drives. */
#include "tests/unit/dataplane/forward_nodes.h"
#include "tests/unit/unit.h"

static struct forward_nodes n;
static struct ring_agent a;
static struct ring_completion c;

#define LEADER 0u
#define ORIGIN 1u /* where a is attached */
#define ID(node) ((node) + 1)
#define SESSION "0123456789abcdef"

static void open_cluster(void)
{
    forward_nodes_open(&n, false);
    forward_agent_attach(&n, ORIGIN, &a, 0);
}

/* session: LSN that opened it; 0: none is needed */
static void ask(uint8_t operation, const char *key, uint64_t session)
{
    static const uint8_t value[8] = "value";
    struct ring_request q = ring_agent_request(&n.nodes[ORIGIN], &a, operation, key);
    q.value_length = operation == RING_GET ? 64 : operation == RING_PUT ? sizeof value : 0;
    q.session = session;
    q.session_slot = session != 0 ? c.session_slot : q.session_slot;
    q.sequence = session != 0 ? 1 : 0;
    CU_ASSERT_EQUAL_FATAL(ring_agent_send(&a, q, key, value), 0);
    ring_agent_doorbell(&n.nodes[ORIGIN], &a);
}

static void part(uint32_t node, uint32_t from)
{
    CU_ASSERT_PTR_NULL(poll_cluster_part(n.nodes[node].lcore, ID(from)));
    CU_ASSERT_PTR_NULL(group_pair(&n.nodes[node].lcore->cluster->group, ID(from)));
    CU_ASSERT_PTR_NULL(forward_peer_of(n.nodes[node].lcore->cluster->forward, ID(from)));
}

static void what_waits_for_a_node_that_goes_ends_at_once(void)
{
    open_cluster();
    n.links[LEADER].fault = LINK_KEEP;
    n.links[LEADER].kind = FORWARD_ASK;
    ask(RING_GET, "k", 0);
    for (uint32_t i = 0; i < 20; i++)
        forward_nodes_pass(&n);
    CU_ASSERT_EQUAL_FATAL(forward_waiting(&n, ORIGIN), 1);
    CU_ASSERT_FALSE(ring_agent_take(&a, &c, NULL));
    part(ORIGIN, LEADER);
    CU_ASSERT_EQUAL(forward_waiting(&n, ORIGIN), 0);
    CU_ASSERT_TRUE_FATAL(ring_agent_take(&a, &c, NULL));
    CU_ASSERT_EQUAL(c.status, RING_RETRY);
    CU_ASSERT_EQUAL(c.epoch, n.configuration.epoch); /* it may have been carried out */
    ask(RING_GET, "k", 0);
    CU_ASSERT_TRUE(forward_agent_wait(&n, &a, &c, NULL));
    CU_ASSERT(c.status == RING_RETRY && c.epoch == 0); /* it went nowhere */
    forward_nodes_close(&n);
}

static void what_comes_from_a_node_that_went_is_dropped_and_counted(void)
{
    open_cluster();
    part(ORIGIN, LEADER);
    uint64_t dropped = forward_counted(&n, ORIGIN, COUNTER_PEER_PROTOCOL);
    uint64_t taken = forward_counted(&n, ORIGIN, COUNTER_PEER_MESSAGES);
    /* Its heartbeats, and those of the other one. */
    for (uint32_t i = 0;
         i < 100000 && (forward_counted(&n, ORIGIN, COUNTER_PEER_PROTOCOL) == dropped ||
                        forward_counted(&n, LEADER, COUNTER_PEER_MESSAGES) < taken + 10);
         i++)
        forward_nodes_pass(&n);
    CU_ASSERT(forward_counted(&n, ORIGIN, COUNTER_PEER_PROTOCOL) > dropped);
    CU_ASSERT_EQUAL(forward_counted(&n, ORIGIN, COUNTER_PEER_MESSAGES), taken);
    forward_nodes_close(&n);
}

/* The leader has carried it out; who asked is gone before it is committed. */
static void an_answer_to_a_node_that_went_goes_nowhere(void)
{
    open_cluster();
    ask(RING_SESSION_OPEN, SESSION, 0);
    CU_ASSERT_TRUE_FATAL(forward_agent_wait(&n, &a, &c, NULL));
    CU_ASSERT_EQUAL_FATAL(c.status, RING_OK);
    ask(RING_PUT, "k", c.lsn);
    uint64_t executed = forward_counted(&n, LEADER, COUNTER_FORWARDS_EXECUTED);
    ring_node_passes(&n.nodes[ORIGIN], 1);
    ring_node_passes(&n.nodes[LEADER], 1);
    CU_ASSERT_EQUAL(forward_counted(&n, LEADER, COUNTER_FORWARDS_EXECUTED), executed + 1);
    part(LEADER, ORIGIN);
    uint64_t late = forward_counted(&n, ORIGIN, COUNTER_FORWARDS_LATE);
    uint64_t answered = forward_counted(&n, ORIGIN, COUNTER_FORWARDED_ANSWERED);
    for (uint32_t i = 0; i < 200; i++)
        forward_nodes_pass(&n);
    CU_ASSERT_EQUAL(forward_counted(&n, ORIGIN, COUNTER_FORWARDED_ANSWERED), answered);
    CU_ASSERT_EQUAL(forward_counted(&n, ORIGIN, COUNTER_FORWARDS_LATE), late);
    const struct lcore_forward *f = n.nodes[LEADER].lcore->cluster->forward;
    for (uint32_t i = 0; i < f->peer_count; i++)
        CU_ASSERT_EQUAL(f->peers[i].answers.length, 0);
    forward_nodes_close(&n);
}

/* It is asked, and answers, as before. */
static void a_node_that_comes_back_is_one_as_before(void)
{
    open_cluster();
    for (uint32_t round = 0; round < 3; round++) {
        ask(RING_GET, "k", 0);
        CU_ASSERT_TRUE(forward_agent_wait(&n, &a, &c, NULL));
        CU_ASSERT_EQUAL(c.status, RING_NOT_FOUND);
        part(ORIGIN, LEADER);
        forward_nodes_pass(&n);
        poll_cluster_meet(n.nodes[ORIGIN].lcore, ID(LEADER), NULL);
        CU_ASSERT_EQUAL(n.nodes[ORIGIN].lcore->cluster->group.pair_count, FORWARD_NODES - 1);
        CU_ASSERT_EQUAL(n.nodes[ORIGIN].lcore->cluster->forward->peer_count, FORWARD_NODES - 1);
    }
    forward_nodes_close(&n);
}

/* What the way to a new one carries may be less than before. */
static void messages_fill_the_frames_of_who_is_met(void)
{
    open_cluster();
    const struct group *g = &n.nodes[ORIGIN].lcore->cluster->group;
    CU_ASSERT_EQUAL(g->append_bytes, GROUP_APPEND_BYTES);
    part(ORIGIN, LEADER);
    n.links[ORIGIN].transport.head_whole = 1408;
    poll_cluster_meet(n.nodes[ORIGIN].lcore, ID(LEADER), NULL);
    CU_ASSERT_EQUAL(g->append_bytes, group_append_bytes(1408));
    forward_nodes_close(&n);
}

static const struct unit_test tests[] = {
    UNIT_TEST(what_waits_for_a_node_that_goes_ends_at_once),
    UNIT_TEST(what_comes_from_a_node_that_went_is_dropped_and_counted),
    UNIT_TEST(an_answer_to_a_node_that_went_goes_nowhere),
    UNIT_TEST(a_node_that_comes_back_is_one_as_before),
    UNIT_TEST(messages_fill_the_frames_of_who_is_met),
};
UNIT_MAIN("poll_peers", tests)
