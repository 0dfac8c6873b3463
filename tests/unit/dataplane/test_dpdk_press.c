/* Ports that keep what they sent: until they are asked, until their ring goes round, for ever.  Of a driver only the
 * sending is made up here; the port is one of net_ring. */
#include "dataplane/dpdk_press.h"
#include "tests/unit/dataplane/dpdk_ports.h"
#include "tests/unit/unit.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#define RING 512u

int __wrap_rte_eth_tx_done_cleanup(uint16_t port, uint16_t queue, uint32_t count);

static struct dpdk_port *ports[2];
static struct dpdk_queue *q;
static struct rte_mbuf *ring[RING];
static uint64_t taken; /* frames, ever: the next one's place */
static uint32_t room;  /* frames that it takes still */
static bool gives_if_asked;
static uint32_t asked;
static uint64_t now;
static struct dpdk_press press;

static void all_free(void)
{
    for (uint32_t i = 0; i < RING; i++) {
        rte_pktmbuf_free(ring[i]);
        ring[i] = NULL;
    }
}

int __wrap_rte_eth_tx_done_cleanup(uint16_t port, uint16_t queue, uint32_t count)
{
    (void)port;
    (void)queue;
    (void)count;
    asked++;
    if (!gives_if_asked)
        return -ENOTSUP;
    all_free();
    return 0;
}

/* As the driver of e1000: what was sent is let go of when its place is used again. */
static uint16_t ring_send(void *queue, struct rte_mbuf **mbufs, uint16_t count)
{
    uint16_t i = 0;
    (void)queue;
    for (; i < count && room != 0; i++, room--) {
        struct rte_mbuf **place = &ring[taken++ % RING];
        rte_pktmbuf_free(*place);
        *place = mbufs[i];
    }
    return i;
}

static uint32_t mbufs_out(void)
{
    return rte_mempool_in_use_count(q->pool);
}

static void open(void)
{
    const struct dpdk_port_config config = {
        .lcore_count = 1, .udp_port = DPDK_PORTS_UDP, .mbufs = 4095, .descriptors = RING};
    dpdk_ports_pair(ports, &config, 64);
    q = dpdk_port_queue(ports[0], 0);
    CU_ASSERT_EQUAL_FATAL(ports[0]->descriptors_out, RING);
    rte_eth_fp_ops[q->port_id].tx_pkt_burst = ring_send;
    memset(ring, 0, sizeof ring);
    memset(&press, 0, sizeof press);
    taken = 0;
    room = UINT32_MAX;
    gives_if_asked = false;
    asked = 0;
    now = NS_PER_S;
}

static void close(void)
{
    all_free();
    CU_ASSERT_EQUAL(mbufs_out(), 0);
    dpdk_ports_close(ports);
}

static struct rte_mbuf *packet_send(void)
{
    struct rte_mbuf *m = dpdk_ports_packet(q, 0, 100);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL_FATAL(dpdk_queue_send(q, &m, 1), 1);
    return m;
}

/* Passes of an lcore, each of which finds nothing back. */
static void passes(uint64_t duration_ns, uint64_t each_ns)
{
    for (uint64_t end = now + duration_ns; now < end; now += each_ns)
        dpdk_press(&press, q, now);
}

static void a_driver_is_asked_now_and_then(void)
{
    open();
    (void)packet_send();
    gives_if_asked = true;
    dpdk_press(&press, q, now);
    CU_ASSERT_EQUAL(asked, 1);
    CU_ASSERT_EQUAL(mbufs_out(), 0); /* at once, and without a frame */
    passes(DPDK_PRESS_WAIT_NS, DPDK_PRESS_ASK_NS / 50);
    CU_ASSERT_EQUAL(asked, DPDK_PRESS_WAIT_NS / DPDK_PRESS_ASK_NS);
    CU_ASSERT_EQUAL(q->counters.pushed, 0);
    close();
}

static void a_frame_reaches_nobody(const struct rte_mbuf *m)
{
    static const uint8_t zeros[PACKET_BYTES_MIN - 14];
    const uint8_t *b = rte_pktmbuf_mtod(m, const uint8_t *);
    const uint8_t *own = dpdk_port_facts(ports[0])->mac.bytes;
    CU_ASSERT_EQUAL_FATAL(m->pkt_len, PACKET_BYTES_MIN);
    CU_ASSERT_EQUAL(m->nb_segs, 1);
    CU_ASSERT_EQUAL(memcmp(b, own, PACKET_MAC_BYTES), 0);
    CU_ASSERT_EQUAL(memcmp(b + PACKET_MAC_BYTES, own, PACKET_MAC_BYTES), 0);
    CU_ASSERT_EQUAL(b[12] << 8 | b[13], 0x88b5);
    CU_ASSERT_EQUAL(memcmp(b + 14, zeros, sizeof zeros), 0);
}

static void a_ring_that_goes_round_gives_back_soon(void)
{
    open();
    struct rte_mbuf *m = packet_send();
    passes(DPDK_PRESS_WAIT_NS, 20000);
    CU_ASSERT_EQUAL(q->counters.pushed, 0); /* it may come by itself */
    CU_ASSERT_EQUAL(mbufs_out(), 1);
    passes(RING / DPDK_PRESS_FRAMES * DPDK_PRESS_PUSH_NS, 20000);
    CU_ASSERT_EQUAL(q->counters.pushed, RING);
    CU_ASSERT_EQUAL(mbufs_out(), RING); /* frames alone */
    for (uint32_t i = 0; i < RING; i++)
        CU_ASSERT_PTR_NOT_EQUAL(ring[i], m);
    for (uint32_t i = 0; i < RING; i++)
        a_frame_reaches_nobody(ring[i]);
    /* It came back: nothing follows, and the next one has as long to come by itself. */
    dpdk_press_end(&press);
    (void)packet_send();
    passes(DPDK_PRESS_WAIT_NS, 20000);
    CU_ASSERT_EQUAL(q->counters.pushed, RING);
    close();
}

static void one_that_stands_still_is_left_in_peace(void)
{
    open();
    (void)packet_send();
    room = 40; /* and then it is full */
    passes(NS_PER_S / 10, 20000);
    CU_ASSERT_EQUAL(q->counters.pushed, 40);
    CU_ASSERT_EQUAL(mbufs_out(), 41); /* what it did not take is not lost */
    room = UINT32_MAX;
    passes(DPDK_PRESS_PAUSE_NS / 2, 20000);
    CU_ASSERT(q->counters.pushed >= 2 * RING && q->counters.pushed < 2 * RING + DPDK_PRESS_FRAMES);
    passes(DPDK_PRESS_PAUSE_NS, 20000);
    CU_ASSERT(q->counters.pushed >= 4 * RING - DPDK_PRESS_FRAMES &&
              q->counters.pushed < 4 * RING + 2 * DPDK_PRESS_FRAMES);
    close();
}

static void without_mbufs_nothing_is_pushed(void)
{
    static struct rte_mbuf *all[4095];
    open();
    uint32_t had = 0;
    while (had < 4095 && (all[had] = rte_pktmbuf_alloc(q->pool)) != NULL)
        had++;
    passes(2 * DPDK_PRESS_WAIT_NS, 20000);
    CU_ASSERT_EQUAL(q->counters.pushed, 0);
    rte_pktmbuf_free_bulk(all, had);
    passes(DPDK_PRESS_PUSH_NS, 20000);
    CU_ASSERT(q->counters.pushed != 0);
    close();
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_driver_is_asked_now_and_then),
    UNIT_TEST(a_ring_that_goes_round_gives_back_soon),
    UNIT_TEST(one_that_stands_still_is_left_in_peace),
    UNIT_TEST(without_mbufs_nothing_is_pushed),
};
UNIT_MAIN("dpdk_press", tests)
