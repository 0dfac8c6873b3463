/* Frames that the port sends from the log's own memory: once it has shown that it can, until it has let go. */
#include "tests/unit/dataplane/dpdk_ends.h"
#include "tests/unit/unit.h"

#include <pthread.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>

static void configure_chained(void)
{
    configure();
    port_config.mtu = 9000;
    config_a.frame_bytes = TRANSPORT_FRAMED_FRAME_PATH;
    config_a.authentic_only = true;
}

static void a_port_proves_itself_and_frames_are_chained(void)
{
    configure_chained();
    open_up();
    prove();
    every_shape_passes();
    count(a);
    CU_ASSERT(dpdk_counters.frames_chained > 50);
    count(b);
    CU_ASSERT(dpdk_counters.echoes_answered >= 2 * DPDK_CHAIN_ROUNDS);
    CU_ASSERT_EQUAL(counters.refused[FRAME_WRONG_TAG], 0);
    close_both();
    configure_chained();
    config_a.authentic_only = false; /* encryption copies */
    open_up();
    count(a);
    CU_ASSERT_EQUAL(dpdk_counters.chain_state, DPDK_CHAIN_NOT_OFFERED);
    every_shape_passes();
    count(a);
    CU_ASSERT_EQUAL(dpdk_counters.frames_chained, 0);
    close_both();
}

/* What waits with the port, or with who has it from there, holds the log; and then no more. */
static void a_hold_comes_back_when_the_port_has_let_go_of_all_of_it(void)
{
    configure_chained();
    open_up();
    prove();
    CU_ASSERT_TRUE(send_one(a, B, "held", 65536));
    for (uint32_t i = 0; i < 10; i++)
        CU_ASSERT_EQUAL(complete(a), 0);
    uint32_t frames = catch ();
    CU_ASSERT_EQUAL(frames, 8);
    uint32_t chained = 0, back = 0;
    for (uint32_t i = 0; i < frames; i++) {
        CU_ASSERT_EQUAL(back, i + 1 == frames);
        if (caught[i]->nb_segs == 2) {
            const uint8_t *data = rte_pktmbuf_mtod(caught[i]->next, const uint8_t *);
            CU_ASSERT(data >= bytes && data < bytes + 65536);
            chained++;
        }
        rte_pktmbuf_free(caught[i]);
        /* The last frame is short, and was copied. */
        back = i + 1 < frames ? complete(a) : back;
    }
    CU_ASSERT_EQUAL(chained, 7);
    CU_ASSERT_EQUAL(back, 1);
    CU_ASSERT_EQUAL(holds[0], 1000 + 65536);
    CU_ASSERT_EQUAL(complete(a), 0);
    CU_ASSERT_EQUAL(transport_dpdk_of(transport_framed_endpoint_of(a))->held, 0);
    close_both();
}

/* Behind it come frames that nobody takes for anything, so that a driver that waits for them lets go. */
static void a_port_that_does_not_let_go_is_pressed(void)
{
    configure_chained();
    open_up();
    prove();
    const struct dpdk_queue *q = dpdk_port_queue(ports[0], 0);
    CU_ASSERT_EQUAL(q->counters.pushed, 0);
    CU_ASSERT_TRUE(send_one(a, B, "held", 8000));
    CU_ASSERT_EQUAL(complete(a), 0);
    for (uint32_t i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(transport_receive(a, in, 1), 0);
        transport_release(a);
        CU_ASSERT_EQUAL(complete(a), 0);
        now += NS_PER_MS;
    }
    CU_ASSERT(q->counters.pushed >= 2 * DPDK_PRESS_FRAMES);
    CU_ASSERT(q->counters.pushed <= 4 * DPDK_PRESS_FRAMES);
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "held", 8000));
    transport_release(b);
    uint64_t pushed = q->counters.pushed;
    CU_ASSERT_EQUAL(complete(a), 1);
    for (uint32_t i = 0; i < 20; i++) {
        pass();
        CU_ASSERT_EQUAL(complete(a), 0);
    }
    CU_ASSERT_EQUAL(q->counters.pushed, pushed); /* nothing is out any more */
    CU_ASSERT_TRUE(send_one(a, B, "next", 8000));
    CU_ASSERT_EQUAL(complete(a), 0);
    CU_ASSERT_EQUAL(complete(a), 0);
    CU_ASSERT_EQUAL(q->counters.pushed, pushed); /* it may come by itself */
    close_both();
}

static void holds_come_back_in_any_order_and_places_are_used_again(void)
{
    configure_chained();
    open_up();
    prove();
    for (uint32_t round = 0; round < 3 * TRANSPORT_DPDK_HOLDS / 4; round++) {
        for (uint32_t i = 0; i < 4; i++)
            CU_ASSERT_TRUE(send_one(a, B, "h", 8000 + 8 * i));
        CU_ASSERT_EQUAL(complete(a), 0);
        CU_ASSERT_EQUAL_FATAL(catch (), 4);
        for (uint32_t i = 4; i-- != 0;) {
            rte_pktmbuf_free(caught[i]);
            CU_ASSERT_EQUAL(complete(a), 1);
            CU_ASSERT_EQUAL(holds[0], 9000 + 8 * i);
        }
    }
    close_both();
}

/* Places run out: then frames are copied, as they are from memory that the port does not know. */
static void what_cannot_be_chained_is_copied(void)
{
    static uint8_t unknown[16384];
    configure_chained();
    depth = 4096;
    config_a.queue_frames = 2048;
    open_up();
    prove();
    for (uint32_t i = 0; i < TRANSPORT_DPDK_HOLDS; i++) {
        CU_ASSERT_TRUE(send_one(a, B, "h", 8000));
        CU_ASSERT_EQUAL(complete(a), 0);
    }
    count(a);
    CU_ASSERT_EQUAL(dpdk_counters.frames_chained, TRANSPORT_DPDK_HOLDS);
    CU_ASSERT_TRUE(send_one(a, B, "h", 8000));
    CU_ASSERT_EQUAL(complete(a), 1);
    for (uint32_t got = 0; got <= TRANSPORT_DPDK_HOLDS; got++) {
        CU_ASSERT_TRUE_FATAL(comes(b));
        CU_ASSERT_TRUE(is(&in[0], "h", 8000));
        transport_release(b);
    }
    uint32_t back = 0;
    for (uint32_t i = 0; i < 100; i++)
        back += complete(a);
    CU_ASSERT_EQUAL(back, TRANSPORT_DPDK_HOLDS);
    memcpy(unknown, bytes, sizeof unknown);
    const struct transport_datagram d = {.to = B, .bytes = unknown, .length = 16000, .hold = 9};
    CU_ASSERT_EQUAL(transport_send(a, &d, 1), 1);
    CU_ASSERT_EQUAL(complete(a), 1);
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "", 16000));
    transport_release(b);
    count(a);
    CU_ASSERT_EQUAL(dpdk_counters.chain_unmapped, 1);
    CU_ASSERT_EQUAL(dpdk_counters.frames_chained, TRANSPORT_DPDK_HOLDS);
    close_both();
}

static _Atomic uint32_t stopped;

static void *free_all(void *context)
{
    struct rte_mbuf *m[CAUGHT];
    (void)context;
    /* relaxed: it says when, and nothing else */
    for (bool last = false; !last;) {
        last = atomic_load_explicit(&stopped, memory_order_relaxed) != 0;
        for (uint32_t got; (got = rte_eth_rx_burst(ports[1]->id, 0, m, CAUGHT)) != 0;)
            rte_pktmbuf_free_bulk(m, got);
    }
    return NULL;
}

/* Frames are let go of by another thread while more are sent: each hold comes back once. */
static void holds_come_back_from_another_thread(void)
{
    static uint8_t back[5000];
    pthread_t thread;
    uint32_t sent = 0, got = 0;
    configure_chained();
    config_a.silence_ns = UINT64_C(1000) * NS_PER_S; /* no HELLO that nobody answers */
    open_up();
    prove();
    memset(back, 0, sizeof back);
    atomic_store_explicit(&stopped, 0, memory_order_relaxed);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, free_all, NULL), 0);
    while (got < 5000) {
        const struct transport_datagram d = {.to = B,
                                             .bytes = bytes,
                                             .length = 9000 + sent % 7 * 8000,
                                             .hold = sent,
                                             .is_mapped = true};
        sent += sent < 5000 ? transport_send(a, &d, 1) : 0;
        uint32_t more = complete(a);
        for (uint32_t i = 0; i < more; i++)
            back[holds[i]]++;
        got += more;
    }
    atomic_store_explicit(&stopped, 1, memory_order_relaxed);
    CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
    for (uint32_t i = 0; i < 5000; i++)
        CU_ASSERT_EQUAL(back[i], 1);
    count(a);
    CU_ASSERT(dpdk_counters.frames_chained > 5000);
    close_both();
}

/* An endpoint that is closed leaves what the port still has in peace. */
static void what_the_port_has_outlives_the_endpoint(void)
{
    configure_chained();
    open_up();
    prove();
    CU_ASSERT_TRUE(send_one(a, B, "late", 65536));
    CU_ASSERT_EQUAL(complete(a), 0);
    uint32_t frames = catch ();
    CU_ASSERT(frames != 0);
    transport_dpdk_close(a);
    for (uint32_t i = 0; i < frames; i++)
        rte_pktmbuf_free(caught[i]);
    struct sockaddr_storage address = v4(B_ADDRESS, UDP_PORT);
    config_a.start++;
    CU_ASSERT_EQUAL_FATAL(transport_dpdk_open(&a, &config_a, &link_a), 0);
    CU_ASSERT_EQUAL_FATAL(transport_framed_add(a, B, &address), 0);
    come_up();
    close_both();
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_port_proves_itself_and_frames_are_chained),
    UNIT_TEST(a_hold_comes_back_when_the_port_has_let_go_of_all_of_it),
    UNIT_TEST(a_port_that_does_not_let_go_is_pressed),
    UNIT_TEST(holds_come_back_in_any_order_and_places_are_used_again),
    UNIT_TEST(what_cannot_be_chained_is_copied),
    UNIT_TEST(holds_come_back_from_another_thread),
    UNIT_TEST(what_the_port_has_outlives_the_endpoint),
};
UNIT_MAIN("transport_dpdk_hold", tests)
