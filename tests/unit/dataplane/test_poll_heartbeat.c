/* What keeps an lcore from going to sleep: what it received, but for heartbeats.  One of three nodes, with a transport
 * that gives what the test says. */
#include "tests/unit/dataplane/forward_nodes.h"
#include "tests/unit/unit.h"

#define NODE 1u
#define PEER 1u /* id of node 0 */
#define ITEM_BYTES 64u
#define BEFORE UINT64_C(1) /* when the lcore was busy last */

static struct forward_nodes n;
static struct bundle bundle;
static uint8_t bytes[TRANSPORT_HEAD_MAX];
static uint32_t length; /* of what comes next; 0: nothing */

static uint32_t give(struct transport *t, struct transport_received *received, uint32_t count)
{
    (void)t;
    CU_ASSERT_FATAL(count != 0);
    if (length == 0)
        return 0;
    received[0] = (struct transport_received){.from = PEER, .head = bytes, .head_length = length};
    length = 0;
    return 1;
}

static void release(struct transport *t)
{
    (void)t;
}

static const struct transport_ops ops = {.receive = give, .release = release};

/* Frames of these kinds come in one datagram. */
static bool is_busy_after(const uint8_t *kinds, uint32_t count)
{
    struct lcore *l = n.nodes[NODE].lcore;
    for (uint32_t i = 0; i < count; i++)
        memset(bundle_place(&bundle, ITEM_BYTES, sizeof bytes), kinds[i], ITEM_BYTES);
    const uint8_t *closed = bundle_close(&bundle, &length);
    memcpy(bytes, closed, length);
    l->ticks_busy = BEFORE;
    poll_cluster_receive(l);
    CU_ASSERT_EQUAL(length, 0);
    CU_ASSERT(l->ticks_busy == BEFORE || l->ticks_busy == l->now);
    return l->ticks_busy != BEFORE;
}

static void heartbeats_alone_or_together_are_no_work(void)
{
    static const uint8_t pulse[] = {PAIR_PULSE}, both[] = {PAIR_ECHO, PAIR_PULSE},
                         more[] = {PAIR_ECHO, MESSAGE_APPEND, PAIR_PULSE},
                         append[] = {MESSAGE_APPEND};
    struct transport given = {.ops = &ops};
    forward_nodes_open(&n, false);
    struct lcore_cluster *c = n.nodes[NODE].lcore->cluster;
    struct transport *whole = c->transport;
    c->transport = &given;
    CU_ASSERT_FALSE(is_busy_after(pulse, 1));
    CU_ASSERT_FALSE(is_busy_after(both, 2));
    CU_ASSERT_TRUE(is_busy_after(more, 3));
    CU_ASSERT_TRUE(is_busy_after(append, 1));
    c->transport = whole;
    forward_nodes_close(&n);
}

static bool refuse_sleep(struct transport *t)
{
    (void)t;
    return false;
}

/* Whether it was about to block. */
static bool would_sleep(struct lcore *l)
{
    uint32_t before = l->sleep_number;
    poll_idle(l);
    return l->sleep_number != before;
}

static void who_has_more_to_feed_keeps_a_crowded_processor(void)
{
    static const struct transport_ops no_sleep = {
        .receive = give, .release = release, .sleep = refuse_sleep};
    struct transport given = {.ops = &no_sleep, .wake_fd = -1};
    forward_nodes_open(&n, false);
    struct lcore *l = n.nodes[NODE].lcore;
    struct transport *whole = l->cluster->transport;
    struct pair *p = group_pair(&l->cluster->group, PEER);
    l->cluster->transport = &given;
    l->ticks_crowded = UINT64_MAX;
    p->bytes_fed = GROUP_FEED_BYTES - 1;
    CU_ASSERT_TRUE(would_sleep(l));
    p->bytes_fed = GROUP_FEED_BYTES;
    CU_ASSERT_FALSE(would_sleep(l));
    l->idle_spent = UINT64_MAX / 2; /* for long */
    l->ticks_crowded = 0;           /* nobody else is there */
    CU_ASSERT_TRUE(would_sleep(l));
    l->cluster->transport = whole;
    forward_nodes_close(&n);
}

static const struct unit_test tests[] = {
    UNIT_TEST(heartbeats_alone_or_together_are_no_work),
    UNIT_TEST(who_has_more_to_feed_keeps_a_crowded_processor),
};
UNIT_MAIN("poll_heartbeat", tests)
