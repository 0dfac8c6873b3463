/* Log writes over a fabric without devices, and connections that come and go under them. */
#include "tests/unit/dataplane/rdma_ends.h"
#include "tests/unit/unit.h"

static bool landed(uint64_t at, uint32_t length)
{
    return memcmp(there + at, bytes + at, length) == 0;
}

static bool is_empty(uint64_t at, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        if (there[at + i] != 0)
            return false;
    return true;
}

/* ---- writes ---- */

static void bytes_land_and_then_the_hold_comes_back(void)
{
    static const uint32_t lengths[] = {1, 8, 256, 257, 4096, 32768, 65536};
    for (uint32_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        uint32_t length = lengths[i];
        configure();
        open_up();
        fabric.held = true;
        CU_ASSERT_EQUAL(write_at(40, length, token(40, length), 123), 0);
        CU_ASSERT_EQUAL(complete(a), 0); /* posts it */
        CU_ASSERT_EQUAL(fabric_waiting(A, B), 1);
        CU_ASSERT_TRUE(is_empty(40, length));
        CU_ASSERT_EQUAL(complete(a), 0);
        CU_ASSERT_EQUAL(fabric_deliver(A, B, 1), 1);
        CU_ASSERT_TRUE(landed(40, length));
        CU_ASSERT_EQUAL(there[39], 0);
        CU_ASSERT_EQUAL(there[40 + length], 0);
        CU_ASSERT_EQUAL_FATAL(complete(a), 1);
        CU_ASSERT_EQUAL(holds[0], 123);
        CU_ASSERT_EQUAL(complete(a), 0);
        CU_ASSERT_EQUAL(transport_receive(b, in, 8), 0); /* it says nothing to the receiver */
        close_both();
    }
}

/* Bytes and what announces them: one doorbell, the bytes first. */
static void writes_and_frames_go_in_one_chain(void)
{
    configure();
    open_up();
    struct grant_token to = token(0, HALF);
    fabric.held = true;
    uint32_t doorbells = fabric.doorbells;
    CU_ASSERT_EQUAL(write_at(0, 100, to, 1), 0);
    CU_ASSERT_TRUE(send_one(a, B, "announce", 0));
    to.address += 100;
    CU_ASSERT_EQUAL(write_at(100, 4000, to, 2), 0);
    CU_ASSERT_TRUE(send_one(a, B, "announce", 0));
    CU_ASSERT_EQUAL(complete(a), 0);
    CU_ASSERT_EQUAL(fabric.doorbells, doorbells + 1);
    CU_ASSERT_EQUAL(fabric_waiting(A, B), 4);
    CU_ASSERT_EQUAL(fabric_deliver(A, B, 2), 2);
    CU_ASSERT_TRUE(landed(0, 4100));
    CU_ASSERT_EQUAL(transport_receive(b, in, 8), 0);
    CU_ASSERT_EQUAL(complete(a), 0); /* the last of the chain says so */
    CU_ASSERT_EQUAL(fabric_deliver(A, B, 2), 2);
    CU_ASSERT_EQUAL(transport_receive(b, in, 8), 2);
    CU_ASSERT_EQUAL(complete(a), 2);
    CU_ASSERT(holds[0] == 1 && holds[1] == 2);
    close_both();
}

static void many_at_once_do_not_wait_for_the_pass(void)
{
    configure();
    open_up();
    struct grant_token to = token(0, HALF);
    uint32_t doorbells = fabric.doorbells;
    for (uint32_t i = 0; i < TRANSPORT_RDMA_STAGED; i++, to.address += 10)
        CU_ASSERT_EQUAL(write_at(i * 10, 10, to, i), 0);
    CU_ASSERT_EQUAL(fabric.doorbells, doorbells + 1);
    CU_ASSERT_TRUE(landed(0, TRANSPORT_RDMA_STAGED * 10));
    CU_ASSERT_EQUAL(complete(a), TRANSPORT_RDMA_STAGED);
    for (uint32_t i = 0; i < TRANSPORT_RDMA_STAGED; i++)
        CU_ASSERT_EQUAL(holds[i], i);
    close_both();
}

/* Who writes more than there is room for is refused, and frames go on. */
static void writes_leave_room_for_frames(void)
{
    configure();
    fabric.sends = 128;
    open_up();
    struct grant_token to = token(0, HALF);
    fabric.held = true;
    uint32_t taken = 0;
    while (taken < 1000 && write_at(0, 64, to, taken) == 0)
        taken++;
    CU_ASSERT_EQUAL(taken, 128 - 32);
    CU_ASSERT_EQUAL(write_at(0, 64, to, 0), -EAGAIN);
    CU_ASSERT_TRUE(send_one(a, B, "goes on", 0));
    (void)complete(a);
    CU_ASSERT_EQUAL(fabric_waiting(A, B), taken + 1);
    CU_ASSERT_EQUAL(fabric_deliver(A, B, 1000), taken + 1);
    CU_ASSERT_EQUAL(transport_receive(b, in, 8), 1);
    CU_ASSERT_EQUAL(complete(a), taken);
    CU_ASSERT_EQUAL(write_at(0, 64, to, 0), 0);
    fabric.held = false;
    CU_ASSERT_EQUAL(complete(a), 1);
    count(a);
    CU_ASSERT_EQUAL(rdma_counters.log_writes, taken + 1);
    CU_ASSERT_EQUAL(rdma_counters.log_write_bytes, (taken + 1) * 64);
    CU_ASSERT_EQUAL(rdma_counters.log_writes_refused, 2);
    close_both();
}

/* complete with little room for holds gives all of them back in the end. */
static void holds_come_back_in_portions(void)
{
    configure();
    open_up();
    struct grant_token to = token(0, HALF);
    for (uint32_t i = 0; i < 20; i++)
        CU_ASSERT_EQUAL(write_at(0, 64, to, i), 0);
    CU_ASSERT_TRUE(send_one(a, B, "", 5));
    CU_ASSERT_EQUAL(transport_complete(a, holds, 1), 1);
    CU_ASSERT_EQUAL(holds[0], 1005);
    CU_ASSERT_EQUAL(transport_complete(a, holds, 7), 7);
    CU_ASSERT_FALSE(transport_sleep(a));
    CU_ASSERT_EQUAL(transport_complete(a, holds + 7, 100), 13);
    for (uint32_t i = 0; i < 20; i++)
        CU_ASSERT_EQUAL(holds[i], i);
    close_both();
}

static void what_cannot_be_written_is_refused(void)
{
    uint8_t elsewhere[8] = {0};
    configure();
    open_both();
    CU_ASSERT_EQUAL(write_at(0, 8, (struct grant_token){.key = 1}, 0), -EAGAIN); /* no connection */
    struct grant_token none;
    CU_ASSERT_FALSE(transport_token(b, A, there, 8, &none));
    come_up();
    struct grant_token to = token(0, 8);
    struct transport_log_write w = {.to = B, .token = to, .bytes = elsewhere, .length = 8};
    CU_ASSERT_EQUAL(transport_log_write(a, &w), -EOPNOTSUPP);
    w = (struct transport_log_write){.to = 99, .token = to, .bytes = bytes, .length = 8};
    CU_ASSERT_EQUAL(transport_log_write(a, &w), -ENXIO);
    w.to = B;
    w.token.address = UINT64_MAX - 6;
    CU_ASSERT_EQUAL(transport_log_write(a, &w), -EAGAIN);
    w.token = to;
    w.token.key += UINT64_C(1) << 32;
    CU_ASSERT_EQUAL(transport_log_write(a, &w), -EAGAIN);
    CU_ASSERT_FALSE(transport_token(b, A, elsewhere, 8, &none));
    CU_ASSERT_FALSE(transport_token(b, 99, there, 8, &none));
    count(a);
    CU_ASSERT_EQUAL(rdma_counters.log_writes_unmapped, 1);
    CU_ASSERT_EQUAL(rdma_counters.log_writes_refused, 3);
    CU_ASSERT_EQUAL(complete(a), 0);
    close_both();
}

static void there_are_none_where_all_is_encrypted(void)
{
    configure();
    config_a.authentic_only = config_b.authentic_only = false;
    open_up();
    CU_ASSERT_FALSE(transport_can_log_write(a));
    CU_ASSERT_EQUAL(write_at(0, 8, (struct grant_token){.key = 1}, 0), -EOPNOTSUPP);
    fabric_break(A, B);
    for (uint32_t i = 0; i < 4; i++)
        pass(); /* nobody is asked for names, and there is a new connection */
    CU_ASSERT_EQUAL(transport_disconnected(a), TRANSPORT_NOBODY);
    CU_ASSERT_TRUE(send_one(a, B, "again", 0));
    CU_ASSERT_TRUE(comes(b));
    count(a);
    CU_ASSERT_EQUAL(rdma_counters.connections_taken, 2);
    close_both();
}

static void a_range_is_proven_by_its_key(void)
{
    configure();
    open_up();
    const struct grant_range here = {.bytes = bytes, .length = 5000},
                             copy = {.bytes = there, .length = 5000};
    struct grant_proof proof;
    CU_ASSERT_EQUAL(write_at(0, 5000, token(0, 5000), 1), 0);
    CU_ASSERT_TRUE(transport_prove(a, B, &here, &proof));
    CU_ASSERT_FALSE(transport_proves(b, A, &copy, &proof)); /* it is not there */
    CU_ASSERT_EQUAL(complete(a), 1);
    CU_ASSERT_TRUE(transport_proves(b, A, &copy, &proof));
    there[77] ^= 1;
    CU_ASSERT_FALSE(transport_proves(b, A, &copy, &proof));
    close_both();
}

/* ---- connections ---- */

/* Passes in which both ends are asked whose connection is over; how often each was named. */
static uint32_t named_a, named_b;

static void passes(uint32_t passes_wanted)
{
    for (uint32_t i = 0; i < passes_wanted; i++) {
        fabric_connect();
        (void)!transport_receive(a, in, 64);
        transport_release(a);
        (void)!transport_receive(b, in, 64);
        transport_release(b);
        for (uint32_t node; (node = transport_disconnected(a)) != TRANSPORT_NOBODY; named_a++)
            CU_ASSERT_EQUAL(node, B);
        for (uint32_t node; (node = transport_disconnected(b)) != TRANSPORT_NOBODY; named_b++)
            CU_ASSERT_EQUAL(node, A);
        now += NS_PER_MS;
    }
}

static void begin(void)
{
    named_a = named_b = 0;
    configure();
    open_up();
}

/* L3: holds of what was under way come back when the own end is gone, and not before.  heard: the port's thread says
 * first that it is over. */
static void breaks(bool heard)
{
    begin();
    struct grant_token to = token(0, HALF);
    fabric.held = fabric.dies = true;
    for (uint32_t i = 0; i < 40; i++)
        CU_ASSERT_EQUAL(write_at(0, 64, to, i), 0);
    CU_ASSERT_TRUE(send_one(a, B, "lost", 0));
    (void)complete(a);
    struct grant_token to_staged = to;
    to_staged.address += 5000;
    CU_ASSERT_EQUAL(write_at(5000, 64, to_staged, 40), 0); /* and never posted */
    fabric_break(A, B);
    if (heard)
        passes(1);
    CU_ASSERT_EQUAL(complete(a), 0);
    CU_ASSERT_EQUAL(write_at(0, 64, to, 50), -EAGAIN);
    CU_ASSERT_TRUE(send_one(a, B, "lost", 5)); /* as on a network */
    passes(5);
    CU_ASSERT_EQUAL(complete(a), 1);
    CU_ASSERT_EQUAL(holds[0], 1005);
    CU_ASSERT_EQUAL(named_a + named_b, 0);
    CU_ASSERT_EQUAL(fabric_connections(), 2);
    fabric.dies = fabric.held = false;
    passes(2);
    CU_ASSERT_EQUAL(complete(a), 41);
    for (uint32_t i = 0; i < 41; i++)
        CU_ASSERT_EQUAL(holds[i], i);
    CU_ASSERT_EQUAL(complete(a), 0);
    passes(3);
    CU_ASSERT(named_a == 1 && named_b == 1);
    count(a);
    CU_ASSERT(rdma_counters.connections_taken == 2 && rdma_counters.connections_retired == 1);
    CU_ASSERT_EQUAL(rdma_counters.connections_failed, !heard);
    CU_ASSERT(rdma_counters.no_connection != 0);
    /* The pair is up as ever; what was granted before is void. */
    CU_ASSERT_TRUE(send_one(a, B, "again", 0));
    CU_ASSERT_TRUE(comes(b));
    CU_ASSERT_EQUAL(write_at(0, 64, to, 60), -EAGAIN);
    CU_ASSERT_EQUAL(write_at(0, 64, token(0, 64), 61), 0);
    CU_ASSERT_EQUAL(complete(a), 1);
    CU_ASSERT_TRUE(is_empty(5000, 64));
    close_both();
}

static void what_breaks_under_way_comes_back_when_it_is_gone(void)
{
    breaks(false);
    breaks(true);
}

/* L4: no token, and no other connection, before the one that is over was named. */
static void nothing_is_granted_before_the_last_one_was_named(void)
{
    struct grant_token none;
    begin();
    struct grant_token before = token(0, 64);
    fabric_break(A, B);
    for (uint32_t i = 0; i < 10; i++) {
        fabric_connect();
        CU_ASSERT_EQUAL(transport_receive(b, in, 8), 0);
        transport_release(b);
        (void)complete(b);
        (void)!transport_receive(a, in, 8);
        transport_release(a);
        (void)transport_disconnected(a);
        CU_ASSERT_FALSE(transport_token(b, A, there, 64, &none));
        now += NS_PER_MS;
    }
    count(b);
    CU_ASSERT_EQUAL(rdma_counters.connections_taken, 1);
    CU_ASSERT_EQUAL(transport_disconnected(b), A);
    CU_ASSERT_EQUAL(transport_disconnected(b), TRANSPORT_NOBODY);
    passes(3);
    struct grant_token after = token(0, 64);
    CU_ASSERT_NOT_EQUAL(before.key >> 32, after.key >> 32);
    CU_ASSERT_EQUAL(named_b, 0);
    close_both();
}

static void each_side_may_disconnect(void)
{
    begin();
    for (uint32_t i = 0; i < 20; i++) {
        named_a = named_b = 0;
        struct grant_token to = token(0, HALF);
        for (uint32_t j = 0; j < i; j++) {
            CU_ASSERT_EQUAL(write_at(0, 64, to, j), 0);
            CU_ASSERT_TRUE(send_one(b, A, "load", 64));
        }
        fabric.held = i % 3 == 0;
        if (i % 2 == 0)
            (void)complete(a);
        transport_disconnect(i % 4 < 2 ? a : b, i % 4 < 2 ? B : A);
        if (i % 5 == 0)
            transport_disconnect(b, A);
        uint32_t got = complete(a);
        fabric.held = false;
        passes(6);
        got += complete(a) + (i % 2 == 0 ? 0 : complete(a));
        passes(3);
        CU_ASSERT_EQUAL(complete(b), i);
        CU_ASSERT(got <= i + i);
        CU_ASSERT(named_a == 1 && named_b == 1);
        CU_ASSERT_TRUE(send_one(a, B, "again", 0));
        CU_ASSERT_TRUE(comes(b));
        transport_release(b);
    }
    count(a);
    CU_ASSERT_EQUAL(rdma_counters.connections_taken, 21);
    CU_ASSERT_EQUAL(rdma_counters.connections_unsound, 0);
    close_both();
}

/* Also when there is none: who asks is answered once. */
static void without_a_connection_disconnect_is_answered(void)
{
    named_a = named_b = 0;
    configure();
    open_both();
    transport_disconnect(a, B);
    transport_disconnect(a, B);
    transport_disconnect(a, 99);
    CU_ASSERT_EQUAL(transport_disconnected(a), B);
    CU_ASSERT_EQUAL(transport_disconnected(a), TRANSPORT_NOBODY);
    come_up();
    close_both();
}

/* What is handed out is good until release, though its connection is gone. */
static void what_was_received_outlives_its_connection(void)
{
    begin();
    CU_ASSERT_TRUE(send_one(a, B, "short", 100));
    CU_ASSERT_TRUE(send_one(a, B, "long", 5000));
    CU_ASSERT_TRUE(send_one(a, B, "not taken", 5000));
    (void)complete(a);
    CU_ASSERT_EQUAL_FATAL(transport_receive(b, in, 2), 2);
    const struct transport_received first = in[0], second = in[1];
    fabric_break(A, B);
    for (uint32_t i = 0; i < 5; i++) {
        now += NS_PER_MS;
        CU_ASSERT_EQUAL(transport_receive(b, in, 8), 0);
        (void)transport_disconnected(b);
        (void)complete(b);
    }
    CU_ASSERT_TRUE(is(&first, "short", 100));
    CU_ASSERT_TRUE(is(&second, "long", 5000));
    CU_ASSERT_PTR_NOT_NULL(fabric_end(B, A));
    transport_release(b);
    CU_ASSERT_PTR_NULL(fabric_end(B, A));
    count(b);
    CU_ASSERT_EQUAL(rdma_counters.messages_dropped, 1);
    passes(5);
    CU_ASSERT_TRUE(send_one(a, B, "again", 0));
    CU_ASSERT_TRUE(comes(b));
    close_both();
}

static void restart_b(void)
{
    static const struct sockaddr_storage anywhere = {.ss_family = AF_INET};
    static struct rdma_port port = {.node = B};
    transport_rdma_close(b);
    config_b.start++;
    CU_ASSERT_EQUAL_FATAL(transport_rdma_open(&b, &config_b, &port), 0);
    CU_ASSERT_EQUAL_FATAL(transport_framed_add(b, A, &anywhere), 0);
}

/* Nothing that a has under way fails: its port has to say that b asked for another connection. */
static void restart_b_in_silence(void)
{
    struct rdma_connection *before = fabric_end(A, B);
    fabric_end(B, A)->peer_number = 0; /* the two know nothing of each other any more */
    restart_b();
    passes(20);
    CU_ASSERT(complete(a) == 0 && named_a == 0 && fabric_end(A, B) == before);
    CU_ASSERT_FALSE(transport_framed_is_up(b, A, NULL, NULL));
    atomic_store_explicit(&before->broken, 1, memory_order_release); /* as rdma_port.h says */
}

/* A peer that comes back with another start: another connection, another pair. */
static void is_up_again_after(void (*restart)(void))
{
    begin();
    struct grant_token to = token(0, HALF);
    CU_ASSERT_TRUE(send_one(a, B, "lost", 0));
    fabric.held = true;
    CU_ASSERT_EQUAL(write_at(0, 64, to, 5), 0);
    CU_ASSERT_EQUAL(complete(a), 0);
    restart();
    fabric.held = false;
    passes(3);
    CU_ASSERT_EQUAL(complete(a), 1);
    passes(20);
    CU_ASSERT(named_a == 1 && named_b == 0);
    CU_ASSERT_TRUE(transport_framed_is_up(a, B, NULL, NULL));
    CU_ASSERT_TRUE(transport_framed_is_up(b, A, NULL, NULL));
    CU_ASSERT_TRUE(send_one(a, B, "again", 0));
    CU_ASSERT_TRUE(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "again", 0));
    transport_release(b);
    CU_ASSERT_EQUAL(write_at(0, 64, to, 6), -EAGAIN);
    CU_ASSERT_EQUAL(write_at(0, 64, token(0, 64), 7), 0);
    CU_ASSERT_EQUAL(complete(a), 1);
    close_both();
}

static void a_peer_that_restarts_is_up_again(void)
{
    is_up_again_after(restart_b);
}

static void a_peer_that_restarts_in_silence_is_up_again(void)
{
    is_up_again_after(restart_b_in_silence);
}

/* Holds of a peer that left come back when control has closed its link, and then it is named. */
static void a_peer_that_leaves_leaves_nothing_behind(void)
{
    begin();
    struct grant_token to = token(0, HALF);
    fabric.held = true;
    CU_ASSERT_EQUAL(write_at(0, 64, to, 5), 0);
    CU_ASSERT_EQUAL(write_at(0, 64, to, 6), 0);
    CU_ASSERT_EQUAL(complete(a), 0);
    CU_ASSERT_EQUAL(write_at(0, 64, to, 7), 0);
    struct transport_peer *peer = transport_peer_leave(a, B);
    CU_ASSERT_PTR_NOT_NULL_FATAL(peer);
    CU_ASSERT_EQUAL(complete(a), 0);
    CU_ASSERT_EQUAL(transport_disconnected(a), TRANSPORT_NOBODY);
    CU_ASSERT_EQUAL(transport_receive(a, in, 8), 0);
    transport_peer_free(a, peer);
    CU_ASSERT_EQUAL(transport_complete(a, holds, 2), 2);
    CU_ASSERT_EQUAL(transport_disconnected(a), B);
    CU_ASSERT_EQUAL(transport_disconnected(a), TRANSPORT_NOBODY);
    CU_ASSERT_EQUAL(transport_complete(a, holds + 2, 8), 1);
    CU_ASSERT(holds[0] == 5 && holds[1] == 6 && holds[2] == 7);
    fabric.held = false;
    close_both();
}

/* The same node comes again at once: no token before the one before was named. */
static void a_peer_that_comes_again_is_not_taken_for_the_one_before(void)
{
    static const struct sockaddr_storage anywhere = {.ss_family = AF_INET};
    struct grant_token none;
    begin();
    struct transport_peer *peer = transport_peer_leave(b, A);
    transport_peer_free(b, peer);
    CU_ASSERT_EQUAL_FATAL(transport_framed_add(b, A, &anywhere), 0);
    for (uint32_t i = 0; i < 50; i++) {
        fabric_connect();
        (void)!transport_receive(a, in, 8);
        transport_release(a);
        (void)transport_disconnected(a);
        (void)!transport_receive(b, in, 8);
        transport_release(b);
        now += NS_PER_MS;
        CU_ASSERT_FALSE(transport_token(b, A, there, 64, &none));
    }
    CU_ASSERT_EQUAL(transport_disconnected(b), A);
    CU_ASSERT_TRUE(transport_token(b, A, there, 64, &none));
    close_both();
}

static void a_post_that_fails_ends_the_connection(void)
{
    begin();
    fabric.post_error = ENOMEM;
    CU_ASSERT_EQUAL(write_at(0, 64, token(0, 64), 5), 0);
    CU_ASSERT_TRUE(send_one(a, B, "lost", 0));
    CU_ASSERT_EQUAL(complete(a), 0);
    fabric.post_error = 0;
    count(a);
    CU_ASSERT(rdma_counters.connections_failed == 1 && rdma_counters.connections_retired == 1);
    passes(2);
    CU_ASSERT_EQUAL(complete(a), 1);
    CU_ASSERT_EQUAL(holds[0], 5);
    passes(3);
    CU_ASSERT_TRUE(send_one(a, B, "again", 0));
    CU_ASSERT_TRUE(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "again", 0));
    close_both();
}

/* An end that closes with holds out gives its memory back all the same (ASan would see it). */
static void an_end_closes_with_writes_under_way(void)
{
    begin();
    struct grant_token to = token(0, HALF);
    fabric.held = true;
    for (uint32_t i = 0; i < 50; i++)
        CU_ASSERT_EQUAL(write_at(0, 64, to, i), 0);
    struct transport_peer *peer = transport_peer_leave(a, B);
    CU_ASSERT_PTR_NOT_NULL_FATAL(peer);
    transport_peer_free(a, peer);
    close_both();
}

static const struct unit_test tests[] = {
    UNIT_TEST(bytes_land_and_then_the_hold_comes_back),
    UNIT_TEST(writes_and_frames_go_in_one_chain),
    UNIT_TEST(many_at_once_do_not_wait_for_the_pass),
    UNIT_TEST(writes_leave_room_for_frames),
    UNIT_TEST(holds_come_back_in_portions),
    UNIT_TEST(what_cannot_be_written_is_refused),
    UNIT_TEST(there_are_none_where_all_is_encrypted),
    UNIT_TEST(a_range_is_proven_by_its_key),
    UNIT_TEST(what_breaks_under_way_comes_back_when_it_is_gone),
    UNIT_TEST(nothing_is_granted_before_the_last_one_was_named),
    UNIT_TEST(each_side_may_disconnect),
    UNIT_TEST(without_a_connection_disconnect_is_answered),
    UNIT_TEST(what_was_received_outlives_its_connection),
    UNIT_TEST(a_peer_that_restarts_is_up_again),
    UNIT_TEST(a_peer_that_restarts_in_silence_is_up_again),
    UNIT_TEST(a_peer_that_leaves_leaves_nothing_behind),
    UNIT_TEST(a_peer_that_comes_again_is_not_taken_for_the_one_before),
    UNIT_TEST(a_post_that_fails_ends_the_connection),
    UNIT_TEST(an_end_closes_with_writes_under_way),
};
UNIT_MAIN("transport_rdma_write", tests)
