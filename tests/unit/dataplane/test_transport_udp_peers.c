/* Peers that come and go while the endpoint is used. */
#include "tests/unit/dataplane/udp_ends.h"
#include "tests/unit/unit.h"

#define A 7u
#define B 3u

/* As control and the endpoint's thread do it, one after the other. */
static void meet(struct transport *t, const struct transport *other)
{
    struct sockaddr_storage address = address_of(transport_wake_fd(other));
    struct transport_peer *peer;
    CU_ASSERT_EQUAL_FATAL(transport_peer_make(t, other->node, &address, &peer), 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(peer);
    CU_ASSERT_FALSE(send_one(t, other->node, "not before it joined", 8));
    transport_peer_join(t, peer);
}

static void part(struct transport *t, uint32_t node)
{
    struct transport_peer *peer = transport_peer_leave(t, node);
    CU_ASSERT_PTR_NOT_NULL_FATAL(peer);
    transport_peer_free(t, peer);
    CU_ASSERT_PTR_NULL(transport_peer_leave(t, node));
}

static void pass(const char *head)
{
    CU_ASSERT_TRUE_FATAL(send_one(a, B, head, 3000));
    flush(a);
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], head, 3000));
    transport_release(b);
}

static void a_peer_comes_goes_and_comes_back(void)
{
    configure();
    CU_ASSERT_EQUAL_FATAL(transport_udp_open(&a, &config_a, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(transport_udp_open(&b, &config_b, NULL), 0);
    for (uint32_t round = 0; round < 3; round++) {
        meet(a, b);
        meet(b, a);
        come_up();
        pass("as any other");
        transport_publish(a);
        CU_ASSERT_EQUAL(transport_framed_start_shown(a, B), config_b.start);
        CU_ASSERT(transport_framed_heard_shown(a, B) != 0);
        part(a, B);
        CU_ASSERT_EQUAL(transport_framed_start_shown(a, B), 0);
        CU_ASSERT_EQUAL(transport_framed_heard_shown(a, B), 0);
        CU_ASSERT_FALSE(send_one(a, B, "to nobody", 8));
        transport_framed_count(a, &counters);
        uint64_t unknown = counters.refused[FRAME_UNKNOWN_PEER];
        CU_ASSERT_TRUE(send_one(b, A, "from nobody", 8));
        flush(b);
        for (uint32_t i = 0; i < WAIT_MS && counters.refused[FRAME_UNKNOWN_PEER] == unknown; i++) {
            CU_ASSERT_EQUAL(receive(a, 8), 0);
            transport_release(a);
            transport_framed_count(a, &counters);
        }
        CU_ASSERT(counters.refused[FRAME_UNKNOWN_PEER] > unknown);
        part(b, A);
        now += NS_PER_S;
    }
    close_both();
}

/* What waits to leave goes with the peer, and its holds come back as ever. */
static void what_is_queued_goes_with_the_peer(void)
{
    configure();
    config_a.rate = config_a.burst = 1;
    CU_ASSERT_EQUAL_FATAL(transport_udp_open(&a, &config_a, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(transport_udp_open(&b, &config_b, NULL), 0);
    meet(a, b);
    meet(b, a);
    come_up();
    for (uint32_t i = 0; i < 5; i++)
        CU_ASSERT_TRUE(send_one(a, B, "waits", 100));
    CU_ASSERT(transport_framed_endpoint_of(a)->queued >= 4);
    part(a, B);
    CU_ASSERT_EQUAL(transport_framed_endpoint_of(a)->queued, 0);
    uint32_t back = 0;
    for (uint32_t i = 0; i < 5; i++)
        back += transport_complete(a, holds, 64);
    CU_ASSERT_EQUAL(back, 5);
    close_both();
}

/* Every place for datagrams of several frames is handed out, and the frame that completes one more waits: it is of
 * nobody once its peer is gone. */
static void a_frame_that_waits_goes_with_the_peer(void)
{
    configure();
    CU_ASSERT_EQUAL_FATAL(transport_udp_open(&a, &config_a, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(transport_udp_open(&b, &config_b, NULL), 0);
    meet(a, b);
    meet(b, a);
    come_up();
    for (uint32_t i = 0; i <= TRANSPORT_FRAMED_PLACES; i++)
        CU_ASSERT_TRUE(send_one(a, B, "waits", 2000));
    flush(a);
    uint32_t got = 0;
    for (uint32_t i = 0; i < WAIT_MS && !transport_framed_endpoint_of(b)->opened; i++)
        got += receive(b, 16);
    CU_ASSERT_EQUAL(got, TRANSPORT_FRAMED_PLACES);
    transport_release(b);
    part(b, A);
    CU_ASSERT_FALSE(transport_framed_endpoint_of(b)->opened);
    CU_ASSERT_EQUAL(receive(b, 16), 0);
    transport_release(b);
    close_both();
}

/* A peer that never joined leaves nothing behind, and one with an address that the endpoint cannot reach is not
 * made. */
static void a_peer_is_made_whole_or_not_at_all(void)
{
    configure();
    CU_ASSERT_EQUAL_FATAL(transport_udp_open(&a, &config_a, NULL), 0);
    struct transport_peer *peer;
    struct sockaddr_storage address = loopback(AF_INET6, 9);
    CU_ASSERT_EQUAL(transport_peer_make(a, B, &address, &peer), -EAFNOSUPPORT);
    CU_ASSERT_PTR_NULL(peer);
    address = loopback(AF_INET, 9);
    CU_ASSERT_EQUAL(transport_peer_make(a, B, &address, &peer), 0);
    transport_peer_free(a, peer);
    CU_ASSERT_FALSE(send_one(a, B, "to nobody", 8));
    transport_udp_close(a);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_peer_comes_goes_and_comes_back),
    UNIT_TEST(what_is_queued_goes_with_the_peer),
    UNIT_TEST(a_frame_that_waits_goes_with_the_peer),
    UNIT_TEST(a_peer_is_made_whole_or_not_at_all),
};
UNIT_MAIN("transport_udp_peers", tests)
