/* A node on the minority side of a partition refuses strong operations, and only such a node. */
#include "tests/unit/dataplane/forward_nodes.h"
#include "tests/unit/unit.h"

#include "dataplane/poll_cut_off.h"
#include "engine/session.h"

#define OVER 1u /* long ago */
#define TRIES 1000u

static struct forward_nodes n;
static struct ring_agent a;
static struct ring_completion c;
static uint8_t got[256];
static _Atomic uint64_t until_ns;
static uint64_t session, sequence;
static uint32_t slot;

static const char id[] = "0123456789abcdef";

static uint32_t ask(struct ring_request q, const char *key, const void *value)
{
    CU_ASSERT_EQUAL_FATAL(ring_agent_send(&a, q, key, value), 0);
    forward_agent_ring(&n, &a);
    CU_ASSERT_TRUE_FATAL(forward_agent_wait(&n, &a, &c, got));
    CU_ASSERT_EQUAL(c.tag, q.tag);
    return c.status;
}

/* The number of the next write is taken when one was carried out. */
static uint32_t put(void)
{
    struct ring_request q = ring_agent_request(&n.nodes[0], &a, RING_PUT, "k");
    q.session = session;
    q.session_slot = slot;
    q.sequence = sequence;
    q.value_length = 1;
    uint32_t status = ask(q, "k", "1");
    sequence += status == RING_OK;
    return status;
}

static uint32_t insist(void)
{
    uint32_t status = put();
    for (unsigned i = 0; i < TRIES && status == RING_RETRY; i++)
        status = put();
    return status;
}

/* The agent is at a node, which has its leader lease; node 0 leads. */
static void open_at(uint32_t node)
{
    forward_nodes_open(&n, false);
    /* relaxed: one thread */
    atomic_store_explicit(&until_ns, UINT64_MAX, memory_order_relaxed);
    n.clusters[node].lead_until_ns = &until_ns;
    forward_agent_attach(&n, node, &a, 0);
    struct ring_request q = ring_agent_request(&n.nodes[0], &a, RING_SESSION_OPEN, NULL);
    q.key_length = SESSION_ID_BYTES;
    CU_ASSERT_EQUAL_FATAL(ask(q, id, NULL), RING_OK);
    session = c.lsn;
    slot = c.session_slot;
    sequence = 1;
    CU_ASSERT_EQUAL_FATAL(put(), RING_OK);
    forward_nodes_give_up_soon(&n, true);
}

static void lease_set(uint64_t until)
{
    atomic_store_explicit(&until_ns, until, memory_order_relaxed); /* relaxed: one thread */
}

static bool is_cut_off(uint32_t node)
{
    return poll_is_cut_off(n.nodes[node].lcore->cluster);
}

/* Until the lease has been missed for long enough. */
static void patience_end(uint32_t node)
{
    while (!is_cut_off(node))
        forward_nodes_pass(&n);
}

static void lease_return(uint32_t node)
{
    lease_set(UINT64_MAX);
    while (is_cut_off(node))
        forward_nodes_pass(&n);
}

static void who_does_not_reach_the_leader_is_refused(void)
{
    open_at(1);
    lease_set(OVER);
    n.links[0].fault = LINK_LOSE;
    CU_ASSERT_EQUAL(put(), RING_RETRY); /* nobody knows here whether it was carried out */
    CU_ASSERT_NOT_EQUAL(c.epoch, 0);
    CU_ASSERT_EQUAL(insist(), RING_UNAVAILABLE);
    uint32_t lost = n.links[0].disturbed;
    CU_ASSERT_EQUAL(put(), RING_UNAVAILABLE);
    CU_ASSERT_EQUAL(n.links[0].disturbed, lost); /* at once: nothing was sent */
    n.links[0].fault = LINK_WHOLE;
    lease_return(1);
    CU_ASSERT_EQUAL(insist(), RING_OK);
    forward_nodes_close(&n);
}

static void without_a_lease_alone_it_goes_on(void)
{
    open_at(1);
    lease_set(OVER);
    patience_end(1);
    for (unsigned i = 0; i < 10; i++)
        CU_ASSERT_EQUAL(put(), RING_OK);
    CU_ASSERT_TRUE(is_cut_off(1));
    forward_nodes_close(&n);
}

static void with_a_lease_it_is_asked_again(void)
{
    open_at(1);
    n.links[0].fault = LINK_LOSE;
    for (unsigned i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(put(), RING_RETRY);
    CU_ASSERT_FALSE(is_cut_off(1));
    n.links[0].fault = LINK_WHOLE;
    CU_ASSERT_EQUAL(insist(), RING_OK);
    forward_nodes_close(&n);
}

static void a_leader_without_voters_refuses(void)
{
    open_at(0);
    lease_set(OVER);
    n.links[0].only = true; /* no acknowledgement arrives */
    CU_ASSERT_EQUAL(put(), RING_RETRY);
    CU_ASSERT_EQUAL(c.epoch, n.configuration.epoch); /* it was appended */
    uint64_t end = forward_shard(&n, 0)->log.lsn_end;
    CU_ASSERT_EQUAL(insist(), RING_UNAVAILABLE);
    CU_ASSERT_EQUAL(forward_shard(&n, 0)->log.lsn_end, end); /* nothing more is */
    n.links[0].only = false;
    lease_return(0);
    CU_ASSERT_EQUAL(insist(), RING_OK);
    CU_ASSERT_EQUAL(forward_counted(&n, 0, COUNTER_DUPLICATES), 1); /* the one that was appended */
    forward_nodes_close(&n);
}

static void a_leader_with_voters_goes_on(void)
{
    open_at(0);
    lease_set(OVER);
    patience_end(0);
    /* Why again and again: a busy machine may let its right to answer end. */
    for (unsigned i = 0; i < 10; i++)
        CU_ASSERT_EQUAL(insist(), RING_OK);
    forward_nodes_close(&n);
}

static const struct unit_test tests[] = {
    UNIT_TEST(who_does_not_reach_the_leader_is_refused),
    UNIT_TEST(without_a_lease_alone_it_goes_on),
    UNIT_TEST(with_a_lease_it_is_asked_again),
    UNIT_TEST(a_leader_without_voters_refuses),
    UNIT_TEST(a_leader_with_voters_goes_on),
};
UNIT_MAIN("poll_cut_off", tests)
