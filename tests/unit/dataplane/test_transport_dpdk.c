/* Two endpoints over ports of net_ring: datagrams of every shape, loss, order, neighbours, peers that go, memory that
 * comes back. */
#include "tests/unit/dataplane/dpdk_ends.h"
#include "tests/unit/unit.h"

#include <pthread.h>

#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

static void datagrams_of_every_shape_pass(void)
{
    for (uint32_t authentic = 0; authentic < 2; authentic++) {
        configure();
        config_a.authentic_only = authentic == 1;
        open_up();
        count(a);
        uint64_t before = counters.send_errors; /* HELLOs to a neighbour that was not known */
        every_shape_passes();
        count(a);
        CU_ASSERT_EQUAL(counters.send_errors + counters.seal_failures, before);
        count(b);
        CU_ASSERT_EQUAL(counters.datagrams_received, 80);
        close_both();
    }
}

static void they_pass_in_frames_as_long_as_the_port_carries(void)
{
    configure();
    port_config.mtu = 9000;
    config_a.frame_bytes = TRANSPORT_FRAMED_FRAME_PATH;
    open_up();
    CU_ASSERT_EQUAL(transport_framed_endpoint_of(a)->peers[0]->frame_bytes, FRAME_BYTES_MAX);
    every_shape_passes();
    close_both();
    configure();
    config_a.frame_bytes = TRANSPORT_FRAMED_FRAME_PATH;
    open_up();
    CU_ASSERT_EQUAL(transport_framed_endpoint_of(a)->peers[0]->frame_bytes, 1472);
    every_shape_passes();
    close_both();
}

static void every_hold_comes_back_once(void)
{
    configure();
    open_up();
    for (uint32_t i = 1; i <= 100; i++)
        CU_ASSERT_TRUE(send_one(a, B, "hold", i));
    CU_ASSERT_EQUAL(complete(a), 100);
    for (uint32_t i = 0; i < 100; i++)
        CU_ASSERT_EQUAL(holds[i], 1001 + i);
    CU_ASSERT_EQUAL(complete(a), 0);
    close_both();
}

/* What the port does not take waits in the queue, then who sends is refused. */
static void a_port_without_room_is_asked_again(void)
{
    configure();
    depth = 64; /* 63 packets */
    open_up();
    uint32_t sent = 0, got = 0;
    while (sent < 1000 && send_one(a, B, "many", 8))
        sent++;
    count(a);
    CU_ASSERT(sent >= TRANSPORT_FRAMED_QUEUE_FRAMES && sent < 1000);
    CU_ASSERT(counters.queue_full == 1 && counters.send_retries != 0);
    for (uint32_t i = 0; i < PASSES && got < sent; i++) {
        uint32_t more = transport_receive(b, in, 16);
        for (uint32_t j = 0; j < more; j++)
            CU_ASSERT_TRUE(is(&in[j], "many", 8));
        got += more;
        transport_release(b);
        (void)complete(a);
    }
    CU_ASSERT_EQUAL(got, sent);
    close_both();
}

static void fragments_come_in_any_order_or_not_at_all(void)
{
    configure();
    open_up();
    CU_ASSERT_TRUE(send_one(a, B, "backwards", 20000));
    (void)complete(a);
    uint32_t frames = catch ();
    CU_ASSERT_EQUAL(frames, 15);
    while (frames != 0)
        put(caught[--frames]);
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "backwards", 20000));
    transport_release(b);
    CU_ASSERT_TRUE(send_one(a, B, "lost", 20000));
    (void)complete(a);
    frames = catch ();
    rte_pktmbuf_free(caught[--frames]);
    while (frames != 0)
        put(caught[--frames]);
    CU_ASSERT_TRUE(send_one(a, B, "next", 3000));
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "next", 3000));
    transport_release(b);
    close_both();
}

/* Two lcores of each node, one pair of queues: each endpoint gets what is for it. */
static void lcores_share_a_port(void)
{
    struct transport *c, *d;
    struct sockaddr_storage address_c = v4(A_ADDRESS, UDP_PORT + 1);
    struct sockaddr_storage address_d = v4(B_ADDRESS, UDP_PORT + 1);
    configure();
    port_config.lcore_count = 2;
    open_both();
    config_a.lcore = config_b.lcore = 1;
    config_a.address = address_c;
    config_b.address = address_d;
    CU_ASSERT_EQUAL_FATAL(transport_dpdk_open(&c, &config_a, &link_a), 0);
    CU_ASSERT_EQUAL_FATAL(transport_dpdk_open(&d, &config_b, &link_b), 0);
    CU_ASSERT_EQUAL_FATAL(transport_framed_add(c, B, &address_d), 0);
    CU_ASSERT_EQUAL_FATAL(transport_framed_add(d, A, &address_c), 0);
    bool up = false;
    for (uint32_t i = 0; i < PASSES && !up; i++) {
        pass();
        CU_ASSERT_EQUAL(transport_receive(c, in, 8) + transport_receive(d, in, 8), 0);
        transport_release(c);
        transport_release(d);
        up = transport_framed_is_up(a, B, NULL, NULL) && transport_framed_is_up(c, B, NULL, NULL) &&
             transport_framed_is_up(b, A, NULL, NULL) && transport_framed_is_up(d, A, NULL, NULL);
    }
    CU_ASSERT_TRUE_FATAL(up);
    for (uint32_t i = 0; i < 20; i++) {
        CU_ASSERT_TRUE(send_one(a, B, "first", 100 * i));
        CU_ASSERT_TRUE(send_one(c, B, "second", 200 * i));
        (void)complete(a);
        (void)complete(c);
        /* Whoever looks first takes what is for both, and hands the other one its own. */
        struct transport *to[] = {i % 2 == 0 ? d : b, i % 2 == 0 ? b : d};
        for (uint32_t j = 0; j < 2; j++) {
            bool second = to[j] == d;
            CU_ASSERT_EQUAL_FATAL(transport_receive(to[j], in, 8), 1);
            CU_ASSERT_TRUE(is(&in[0], second ? "second" : "first", (second ? 200 : 100) * i));
            transport_release(to[j]);
        }
    }
    count(d);
    CU_ASSERT_EQUAL(counters.refused[FRAME_OTHER_LCORE] + counters.refused[FRAME_WRONG_TAG], 0);
    transport_dpdk_close(c);
    transport_dpdk_close(d);
    close_both();
}

/* ---- neighbours ---- */

static void who_is_not_known_yet_is_not_reached(void)
{
    configure();
    open_both();
    for (uint32_t i = 0; i < 50; i++) {
        CU_ASSERT_EQUAL(transport_receive(a, in, 8), 0);
        transport_release(a);
        now += NS_PER_MS;
    }
    count(a);
    CU_ASSERT(dpdk_counters.no_neighbour != 0 && counters.hellos_sent == 0);
    CU_ASSERT(transport_dpdk_arp_counters(a)->asked != 0);
    come_up();
    CU_ASSERT_EQUAL(transport_dpdk_arp_counters(a)->learned, 1);
    close_both();
}

static void what_waits_for_a_lost_neighbour_is_dropped(void)
{
    configure();
    config_a.rate = config_a.burst = 1;
    config_a.silence_ns = UINT64_C(1000) * NS_PER_S;
    open_up();
    for (uint32_t i = 0; i < 5; i++)
        CU_ASSERT_TRUE(send_one(a, B, "waits", 100));
    CU_ASSERT_EQUAL(complete(a), 5);
    CU_ASSERT(transport_framed_endpoint_of(a)->queued >= 3);
    /* b answers nobody any more. */
    for (uint32_t i = 0; i < 2 * ARP_AGE_NS / NS_PER_S; i++) {
        CU_ASSERT_EQUAL(transport_receive(a, in, 8), 0);
        transport_release(a);
        now += NS_PER_S;
        for (uint32_t frames = catch (); frames != 0;)
            rte_pktmbuf_free(caught[--frames]);
        if (i < 10)
            CU_ASSERT_TRUE(send_one(a, B, "waits", 100));
    }
    CU_ASSERT_EQUAL(transport_framed_endpoint_of(a)->queued, 0);
    CU_ASSERT_EQUAL(transport_dpdk_arp_counters(a)->expired, 1);
    count(a);
    CU_ASSERT(counters.send_errors != 0 && dpdk_counters.no_neighbour >= counters.send_errors);
    close_both();
}

static void a_link_that_comes_up_has_neighbours_asked_again(void)
{
    configure();
    open_up();
    uint64_t asked = transport_dpdk_arp_counters(a)->asked;
    atomic_fetch_add_explicit(&ports[0]->shown.link_ups, 1, memory_order_relaxed);
    pass();
    pass();
    CU_ASSERT_EQUAL(transport_dpdk_arp_counters(a)->asked, asked + 1);
    close_both();
}

static void strangers_are_refused_by_name(void)
{
    configure();
    open_up();
    CU_ASSERT_TRUE(send_one(a, B, "broken", 8));
    (void)complete(a);
    CU_ASSERT_EQUAL_FATAL(catch (), 1);
    uint8_t *packet = rte_pktmbuf_mtod(caught[0], uint8_t *);
    packet[26]++; /* address that it comes from: the header's checksum is wrong then */
    put(caught[0]);
    pass();
    count(b);
    CU_ASSERT_EQUAL(dpdk_counters.refused[PACKET_WRONG_IP_CHECKSUM - PACKET_TAKEN], 1);
    CU_ASSERT_TRUE(send_one(a, B, "forged", 8));
    (void)complete(a);
    CU_ASSERT_EQUAL_FATAL(catch (), 1);
    packet = rte_pktmbuf_mtod(caught[0], uint8_t *);
    packet[PACKET_HEADER_BYTES + FRAME_HEADER_BYTES]++;
    put(caught[0]);
    pass();
    count(b);
    CU_ASSERT_EQUAL(counters.refused[FRAME_WRONG_TAG], 1);
    close_both();
}

/* ---- peers and memory ---- */

static void a_peer_goes_with_what_waits_for_it(void)
{
    configure();
    config_a.rate = config_a.burst = 1;
    open_up();
    for (uint32_t i = 0; i < 5; i++)
        CU_ASSERT_TRUE(send_one(a, B, "waits", 100));
    CU_ASSERT_EQUAL(complete(a), 5);
    CU_ASSERT_EQUAL(transport_framed_remove(a, B), 0);
    CU_ASSERT_EQUAL(transport_framed_endpoint_of(a)->queued, 0);
    CU_ASSERT_FALSE(send_one(a, B, "to nobody", 8));
    CU_ASSERT_TRUE(comes(b)); /* what the pace let go */
    transport_release(b);
    CU_ASSERT_TRUE(send_one(b, A, "who?", 8));
    (void)complete(b);
    pass();
    count(a);
    CU_ASSERT(counters.refused[FRAME_UNKNOWN_PEER] != 0);
    close_both();
}

/* A new start of the peer: what waits for the one before is dropped, and its mbufs are back. */
static void a_new_start_ends_what_waits(void)
{
    configure();
    config_a.rate = config_a.burst = 1;
    open_up();
    for (uint32_t i = 0; i < 5; i++)
        CU_ASSERT_TRUE(send_one(a, B, "waits", 100));
    CU_ASSERT_EQUAL(complete(a), 5);
    struct sockaddr_storage address = v4(A_ADDRESS, UDP_PORT);
    transport_dpdk_close(b);
    config_b.start++;
    CU_ASSERT_EQUAL_FATAL(transport_dpdk_open(&b, &config_b, &link_b), 0);
    CU_ASSERT_EQUAL_FATAL(transport_framed_add(b, A, &address), 0);
    for (uint32_t i = 0; i < PASSES && transport_framed_endpoint_of(a)->queued != 0; i++)
        pass();
    come_up();
    count(a);
    CU_ASSERT(counters.frames_ended != 0 && counters.pairs_up == 2);
    close_both();
}

static void without_mbufs_who_sends_is_refused(void)
{
    configure();
    port_config.mbufs = 1023;
    open_up();
    struct rte_mempool *pool = ports[0]->queues[0].pool;
    static struct rte_mbuf *taken[1023];
    uint32_t count_taken = 0;
    while (count_taken < 1023 && (taken[count_taken] = rte_pktmbuf_alloc(pool)) != NULL)
        count_taken++;
    uint32_t sent = 0;
    while (sent < 1000 && send_one(a, B, "x", 30000))
        sent++;
    count(a);
    CU_ASSERT(sent < 1000 && counters.queue_full != 0 && dpdk_counters.no_memory != 0);
    rte_pktmbuf_free_bulk(taken, count_taken);
    while (complete(a) != 0) {
    }
    CU_ASSERT_TRUE(send_one(a, B, "again", 100));
    CU_ASSERT_TRUE_FATAL(comes(b));
    transport_release(b);
    close_both();
}

/* ---- set-up ---- */

static void what_is_out_of_bounds_is_refused(void)
{
    struct transport *t;
    configure();
    open_both();
    struct transport_framed_config c = config_a;
    struct transport_dpdk_link l = link_a;
    c.start = 0;
    CU_ASSERT_EQUAL(transport_dpdk_open(&t, &c, &l), -EINVAL);
    c = config_a;
    c.address = v4(A_ADDRESS, UDP_PORT + 1);
    CU_ASSERT_EQUAL(transport_dpdk_open(&t, &c, &l), -EINVAL);
    c = config_a;
    c.lcore = 1;
    CU_ASSERT_EQUAL(transport_dpdk_open(&t, &c, &l), -EINVAL);
    c = config_a;
    c.address.ss_family = AF_INET6;
    CU_ASSERT_EQUAL(transport_dpdk_open(&t, &c, &l), -EAFNOSUPPORT);
    c = config_a;
    c.frame_bytes = 1473;
    CU_ASSERT_EQUAL(transport_dpdk_open(&t, &c, &l), -EMSGSIZE);
    c = config_a;
    l.prefix = 33;
    CU_ASSERT_EQUAL(transport_dpdk_open(&t, &c, &l), -EINVAL);
    struct sockaddr_storage far = v4(0x0b000001, UDP_PORT);
    CU_ASSERT_EQUAL(transport_framed_add(a, 9, &far), -EHOSTUNREACH);
    far.ss_family = AF_INET6;
    CU_ASSERT_EQUAL(transport_framed_add(a, 9, &far), -EAFNOSUPPORT);
    close_both();
}

static void each_counter_has_its_name(void)
{
    uint32_t names = 0;
    configure();
    open_up();
    (void)send_one(a, B, "one", 8);
    (void)complete(a);
    transport_publish(a);
    while (transport_count_name(a, names) != NULL)
        names++;
    CU_ASSERT_EQUAL(names, (sizeof counters + sizeof dpdk_counters + sizeof(struct arp_counters) +
                            sizeof(struct dpdk_queue_counters)) /
                               sizeof(uint64_t));
    CU_ASSERT_STRING_EQUAL(transport_count_name(a, names - 1), "packets_pushed");
    for (uint32_t i = 0; i < names; i++) {
        const char *name = transport_count_name(a, i);
        if (strcmp(name, "arp_learned") == 0 || strcmp(name, "datagrams_sent") == 0)
            CU_ASSERT_EQUAL(transport_counted(a, i), 1);
        if (strcmp(name, "chain_state") == 0)
            CU_ASSERT_EQUAL(transport_counted(a, i), DPDK_CHAIN_NOT_OFFERED);
    }
    CU_ASSERT_FALSE(transport_sleep(a)); /* nothing would wake it */
    close_both();
}

/* The lcore of DPDK that the thread is before, while and after it has an endpoint. */
static void *thread_with_an_endpoint(void *context)
{
    uint32_t *lcores = context;
    lcores[0] = rte_lcore_id();
    transport_enter(a);
    lcores[1] = rte_lcore_id();
    transport_leave(a);
    lcores[2] = rte_lcore_id();
    return NULL;
}

static void the_thread_of_an_endpoint_has_caches_of_its_own(void)
{
    uint32_t lcores[3];
    pthread_t thread;
    configure();
    open_both();
    count(a);
    CU_ASSERT_EQUAL(dpdk_counters.threads_joined, 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, thread_with_an_endpoint, lcores), 0);
    CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
    CU_ASSERT_EQUAL(lcores[0], LCORE_ID_ANY);
    CU_ASSERT_NOT_EQUAL(lcores[1], LCORE_ID_ANY);
    CU_ASSERT_EQUAL(lcores[2], LCORE_ID_ANY);
    count(a);
    CU_ASSERT_EQUAL(dpdk_counters.threads_joined, 1);
    close_both();
}

static const struct unit_test tests[] = {
    UNIT_TEST(datagrams_of_every_shape_pass),
    UNIT_TEST(they_pass_in_frames_as_long_as_the_port_carries),
    UNIT_TEST(every_hold_comes_back_once),
    UNIT_TEST(a_port_without_room_is_asked_again),
    UNIT_TEST(fragments_come_in_any_order_or_not_at_all),
    UNIT_TEST(lcores_share_a_port),
    UNIT_TEST(who_is_not_known_yet_is_not_reached),
    UNIT_TEST(what_waits_for_a_lost_neighbour_is_dropped),
    UNIT_TEST(a_link_that_comes_up_has_neighbours_asked_again),
    UNIT_TEST(strangers_are_refused_by_name),
    UNIT_TEST(a_peer_goes_with_what_waits_for_it),
    UNIT_TEST(a_new_start_ends_what_waits),
    UNIT_TEST(without_mbufs_who_sends_is_refused),
    UNIT_TEST(what_is_out_of_bounds_is_refused),
    UNIT_TEST(each_counter_has_its_name),
    UNIT_TEST(the_thread_of_an_endpoint_has_caches_of_its_own),
};
UNIT_MAIN("transport_dpdk", tests)
