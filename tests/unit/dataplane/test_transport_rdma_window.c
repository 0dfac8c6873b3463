/* Windows on log memory over a fabric without devices: what a token lets a peer do, and until when. */
#include "tests/unit/dataplane/rdma_ends.h"
#include "tests/unit/unit.h"

#define SEGMENT 4096u

static bool landed(uint64_t at, uint32_t length)
{
    return memcmp(there + at, bytes + at, length) == 0;
}

static bool is_windowed(const struct grant_token *t)
{
    return (uint32_t)t->key != FABRIC_LOG_REMOTE;
}

static uint32_t window_of(const struct grant_token *t)
{
    return (uint32_t)t->key >> 8;
}

static void revoke(uint64_t at)
{
    transport_revoke(b, A, there + at);
}

/* Both ends, until there is another connection; whoever is named is forgotten. */
static void passes(uint32_t wanted)
{
    for (uint32_t i = 0; i < wanted; i++) {
        fabric_connect();
        (void)!transport_receive(a, in, 64);
        transport_release(a);
        (void)!transport_receive(b, in, 64);
        transport_release(b);
        (void)complete(a);
        (void)complete(b);
        while (transport_disconnected(a) != TRANSPORT_NOBODY ||
               transport_disconnected(b) != TRANSPORT_NOBODY)
            ;
        now += NS_PER_MS;
    }
}

/* The write was refused, and cost the connection.  There is another one. */
static void refused(uint64_t at)
{
    (void)complete(a);
    CU_ASSERT_EQUAL(fabric.violations, 1);
    fabric.violations = 0;
    CU_ASSERT_EQUAL(there[at], 0);
    passes(20);
    count(b);
    CU_ASSERT_EQUAL(rdma_counters.connections_retired, 1);
    CU_ASSERT_EQUAL(rdma_counters.connections_taken, 2);
    CU_ASSERT_EQUAL(fabric_bound(), 0);
    CU_ASSERT_EQUAL(there[at], 0);
    CU_ASSERT_TRUE(send_one(a, B, "again", 0));
    CU_ASSERT_TRUE(comes(b));
    transport_release(b);
}

/* ---- what a token lets do ---- */

static void a_window_is_bound_before_its_grant_is_told(void)
{
    configure();
    open_up();
    fabric.held = true;
    uint32_t doorbells = fabric.doorbells;
    struct grant_token t = token_staged(SEGMENT, SEGMENT);
    CU_ASSERT(is_windowed(&t) && t.address == (uintptr_t)(there + SEGMENT));
    CU_ASSERT_EQUAL(fabric_waiting(B, A), 0); /* nothing rings for it alone */
    CU_ASSERT_TRUE(send_one(b, A, "grant", 0));
    (void)complete(b);
    CU_ASSERT_EQUAL(fabric.doorbells, doorbells + 1);
    CU_ASSERT_EQUAL(fabric_waiting(B, A), 2);
    CU_ASSERT_EQUAL(fabric_deliver(B, A, 1), 1);
    CU_ASSERT_EQUAL(fabric_bound(), 1);
    CU_ASSERT_EQUAL(transport_receive(a, in, 8), 0);
    CU_ASSERT_EQUAL(fabric_deliver(B, A, 1), 1);
    CU_ASSERT_EQUAL(transport_receive(a, in, 8), 1);
    CU_ASSERT_EQUAL(write_at(SEGMENT, SEGMENT, t, 1), 0);
    (void)complete(a);
    fabric.held = false;
    fabric_deliver_all();
    CU_ASSERT_TRUE(landed(SEGMENT, SEGMENT));
    CU_ASSERT_EQUAL(complete(a), 1);
    transport_release(a);
    close_both();
}

/* Whoever sends nothing more has it bound all the same: by a pass, or before it sleeps. */
static void a_window_is_bound_though_nothing_is_sent(void)
{
    configure();
    open_up();
    struct grant_token t = token_staged(0, SEGMENT);
    CU_ASSERT_EQUAL(fabric_bound(), 0);
    (void)complete(b);
    CU_ASSERT_EQUAL(fabric_bound(), 1);
    (void)token_staged(SEGMENT, SEGMENT);
    CU_ASSERT_FALSE(transport_sleep(b)); /* its binding is complete */
    transport_awake(b);
    CU_ASSERT_EQUAL(fabric_bound(), 2);
    CU_ASSERT_EQUAL(write_at(0, SEGMENT, t, 1), 0);
    CU_ASSERT_EQUAL(complete(a), 1);
    for (uint64_t i = 2; i < 2 + TRANSPORT_RDMA_STAGED - 1; i++)
        (void)token_staged(i * SEGMENT / 2, SEGMENT / 2);
    CU_ASSERT_EQUAL(fabric_bound(), 2);
    (void)token_staged(0, SEGMENT / 2);
    CU_ASSERT_EQUAL(fabric_bound(), 2 + TRANSPORT_RDMA_STAGED);
    close_both();
}

static void a_write_elsewhere_is_refused(void)
{
    static const struct {
        int64_t from; /* of the window's begin */
        uint32_t length;
    } writes[] = {{-1, 1},           {-8, 16},         {SEGMENT, 1},
                  {SEGMENT - 8, 16}, {0, SEGMENT + 1}, {5 * SEGMENT, 4096}};
    for (uint32_t i = 0; i < sizeof writes / sizeof writes[0]; i++) {
        configure();
        open_up();
        struct grant_token t = token(2 * SEGMENT, SEGMENT);
        t.address += (uint64_t)writes[i].from;
        uint64_t at = t.address - (uintptr_t)there;
        CU_ASSERT_EQUAL(write_at(at, writes[i].length, t, 1), 0);
        refused(at);
        close_both();
    }
}

/* ---- what came back ---- */

static void after_revoke_a_write_is_refused(void)
{
    configure();
    open_up();
    struct grant_token t = token(SEGMENT, SEGMENT), other = token(0, SEGMENT);
    CU_ASSERT_EQUAL(write_at(SEGMENT, 100, t, 1), 0);
    CU_ASSERT_EQUAL(complete(a), 1);
    CU_ASSERT_TRUE(landed(SEGMENT, 100));
    fabric.held = true;
    uint32_t doorbells = fabric.doorbells;
    revoke(SEGMENT);
    CU_ASSERT_EQUAL(fabric.doorbells, doorbells + 1); /* at once */
    CU_ASSERT_EQUAL(fabric_waiting(B, A), 1);
    CU_ASSERT_EQUAL(fabric_bound(), 2);
    revoke(SEGMENT); /* once is enough */
    CU_ASSERT_EQUAL(fabric.doorbells, doorbells + 1);
    fabric.held = false;
    fabric_deliver_all();
    CU_ASSERT_EQUAL(fabric_bound(), 1);
    (void)complete(b);
    count(b);
    CU_ASSERT(rdma_counters.windows_bound == 2 && rdma_counters.windows_revoked == 1);
    CU_ASSERT_EQUAL(write_at(0, 100, other, 2), 0); /* its own */
    CU_ASSERT_EQUAL(complete(a), 1);
    CU_ASSERT_TRUE(landed(0, 100));
    t.address += 200;
    CU_ASSERT_EQUAL(write_at(SEGMENT + 200, 100, t, 3), 0);
    refused(SEGMENT + 200);
    close_both();
}

static void memory_that_is_granted_again_has_another_key(void)
{
    configure();
    fabric.windows = 2;
    open_up();
    struct grant_token first = token(0, SEGMENT), last = first;
    for (uint32_t i = 0; i < 1000; i++) {
        revoke(0);
        (void)complete(b);
        struct grant_token t = token(0, SEGMENT);
        CU_ASSERT(is_windowed(&t) && t.key != last.key && window_of(&t) != window_of(&last));
        last = t;
    }
    CU_ASSERT_EQUAL(write_at(0, 100, last, 1), 0);
    CU_ASSERT_EQUAL(complete(a), 1);
    CU_ASSERT_TRUE(landed(0, 100));
    count(b);
    CU_ASSERT(rdma_counters.windows_bound == 1001 && rdma_counters.grants_unwindowed == 0);
    CU_ASSERT_EQUAL(fabric_bound(), 1);
    close_both();
}

/* Where one memory was told of more than once, by a caller that does not return what nobody got. */
static void revoke_ends_all_windows_of_that_memory(void)
{
    configure();
    open_up();
    for (uint32_t i = 0; i < RDMA_PORT_WINDOWS; i++)
        (void)token(i % 2 * SEGMENT, SEGMENT);
    CU_ASSERT_EQUAL(fabric_bound(), RDMA_PORT_WINDOWS);
    revoke(0);
    for (uint32_t i = 0; i < 4; i++)
        (void)complete(b); /* so many posts do not hold all of them at once */
    CU_ASSERT_EQUAL(fabric_bound(), RDMA_PORT_WINDOWS / 2);
    revoke(2 * SEGMENT); /* nobody's */
    CU_ASSERT_EQUAL(fabric_bound(), RDMA_PORT_WINDOWS / 2);
    close_both();
}

/* ---- where there is none ---- */

static void when_none_is_free_the_key_is_the_chunks(void)
{
    configure();
    fabric.windows = 3;
    open_up();
    for (uint32_t i = 0; i < 3; i++) {
        struct grant_token t = token(i * SEGMENT, SEGMENT);
        CU_ASSERT_TRUE(is_windowed(&t));
    }
    struct grant_token t = token(3 * SEGMENT, SEGMENT);
    CU_ASSERT_FALSE(is_windowed(&t));
    CU_ASSERT_EQUAL(write_at(3 * SEGMENT, SEGMENT, t, 1), 0);
    CU_ASSERT_EQUAL(complete(a), 1);
    CU_ASSERT_TRUE(landed(3 * SEGMENT, SEGMENT));
    revoke(3 * SEGMENT); /* there is nothing to revoke */
    CU_ASSERT_EQUAL(fabric_bound(), 3);
    fabric.held = true;
    revoke(SEGMENT);
    t = token_staged(SEGMENT, SEGMENT);
    CU_ASSERT_FALSE(is_windowed(&t)); /* its invalidation is under way */
    fabric.held = false;
    fabric_deliver_all();
    (void)complete(b);
    t = token(SEGMENT, SEGMENT);
    CU_ASSERT_TRUE(is_windowed(&t));
    count(b);
    CU_ASSERT(rdma_counters.windows == 3 && rdma_counters.windows_bound == 4 &&
              rdma_counters.windows_revoked == 1 && rdma_counters.grants_unwindowed == 2);
    close_both();
}

static void without_windows_all_is_as_it_was(void)
{
    for (uint32_t i = 0; i < 2; i++) {
        configure();
        fabric.windows = i == 0 ? 0 : 8;
        fabric.unbindable = i != 0;
        open_up();
        uint32_t requests = fabric.requests;
        struct grant_token t = token(0, SEGMENT);
        CU_ASSERT_FALSE(is_windowed(&t));
        CU_ASSERT_EQUAL(write_at(0, SEGMENT, t, 1), 0);
        CU_ASSERT_EQUAL(complete(a), 1);
        CU_ASSERT_TRUE(landed(0, SEGMENT));
        revoke(0);
        (void)complete(b);
        CU_ASSERT_EQUAL(fabric.requests, requests + 1); /* the write */
        count(b);
        CU_ASSERT_EQUAL(rdma_counters.windows, fabric.windows);
        CU_ASSERT(rdma_counters.windows_bound == 0 && rdma_counters.grants_unwindowed == 1);
        close_both();
    }
}

/* A device that cannot do what it says it can: one connection is lost by it, not all. */
static void a_device_that_fails_at_windows_is_not_asked_again(void)
{
    for (uint32_t i = 0; i < 4; i++) {
        bool by_revoke = i % 2 == 1;
        configure();
        open_up();
        if (by_revoke)
            (void)token(0, SEGMENT);
        fabric.window_fault = i < 2;
        fabric.window_error = i < 2 ? 0 : EINVAL;
        if (by_revoke)
            revoke(0);
        else
            (void)token(0, SEGMENT);
        passes(20);
        count(b);
        CU_ASSERT(rdma_counters.windows_failed == 1 && rdma_counters.connections_failed == 1 &&
                  rdma_counters.connections_taken == 2);
        for (uint32_t j = 0; j < 5; j++) {
            struct grant_token t = token(j * SEGMENT, SEGMENT);
            CU_ASSERT_FALSE(is_windowed(&t));
            CU_ASSERT_EQUAL(write_at(j * SEGMENT, SEGMENT, t, 1), 0);
            CU_ASSERT_EQUAL(complete(a), 1);
            CU_ASSERT_TRUE(landed(j * SEGMENT, SEGMENT));
        }
        passes(5);
        count(b);
        CU_ASSERT(rdma_counters.connections_taken == 2 && rdma_counters.grants_unwindowed == 5);
        close_both();
    }
}

/* With the same word as an invalidation that is refused. */
static void a_frame_that_cannot_be_sent_is_no_fault_of_windows(void)
{
    configure();
    open_up();
    (void)token(0, SEGMENT);
    fabric.held = true;
    CU_ASSERT_TRUE(send_one(b, A, "lost", 0));
    (void)complete(b);
    fabric_fail(B, A, IBV_WC_LOC_QP_OP_ERR);
    fabric.held = false;
    passes(20);
    count(b);
    CU_ASSERT(rdma_counters.connections_failed == 1 && rdma_counters.connections_taken == 2);
    CU_ASSERT_EQUAL(rdma_counters.windows_failed, 0);
    struct grant_token t = token(0, SEGMENT);
    CU_ASSERT_TRUE(is_windowed(&t));
    close_both();
}

/* ---- connections ---- */

static void with_a_connection_all_its_windows_go(void)
{
    configure();
    fabric.windows = 4;
    open_up();
    for (uint32_t i = 0; i < 3; i++)
        (void)token(i * SEGMENT, SEGMENT);
    fabric.held = true;
    revoke(0);
    (void)token_staged(3 * SEGMENT, SEGMENT); /* and never posted */
    fabric_break(A, B);
    revoke(SEGMENT); /* the end is not known yet */
    fabric.held = false;
    (void)!transport_receive(b, in, 8);
    transport_release(b);
    revoke(2 * SEGMENT);
    count(b);
    CU_ASSERT_EQUAL(rdma_counters.windows, 0);
    passes(20);
    CU_ASSERT_EQUAL(fabric_bound(), 0);
    count(b);
    CU_ASSERT(rdma_counters.connections_taken == 2 && rdma_counters.windows == 4);
    revoke(SEGMENT); /* of the one before: nothing */
    for (uint32_t i = 0; i < 4; i++) {
        struct grant_token t = token(i * SEGMENT, SEGMENT);
        CU_ASSERT_TRUE(is_windowed(&t));
        CU_ASSERT_EQUAL(write_at(i * SEGMENT, SEGMENT, t, 1), 0);
    }
    CU_ASSERT_EQUAL(complete(a), 4);
    count(b);
    CU_ASSERT(rdma_counters.windows_failed == 0 && rdma_counters.grants_unwindowed == 0);
    close_both();
}

static void a_peer_that_leaves_takes_its_windows_along(void)
{
    configure();
    open_up();
    (void)token(0, SEGMENT);
    (void)token(SEGMENT, SEGMENT);
    fabric.held = true;
    revoke(0);
    (void)token_staged(2 * SEGMENT, SEGMENT);
    struct transport_peer *peer = transport_peer_leave(b, A);
    CU_ASSERT_PTR_NOT_NULL_FATAL(peer);
    revoke(SEGMENT);
    count(b);
    CU_ASSERT_EQUAL(rdma_counters.windows, 0);
    transport_peer_free(b, peer);
    fabric.held = false;
    (void)complete(b);
    CU_ASSERT_EQUAL(transport_disconnected(b), A);
    CU_ASSERT_EQUAL(fabric_bound(), 0);
    close_both();
}

/* ---- room ---- */

/* The device has no work request left, and a window is to be revoked. */
static void begin_without_room(void)
{
    configure();
    fabric.sends = 32;
    open_up();
    (void)token(0, SEGMENT);
    (void)complete(b);
    fabric.held = true;
    for (uint32_t i = 0; i < 40; i++)
        CU_ASSERT_TRUE(send_one(b, A, "load", 0));
    (void)complete(b);
    CU_ASSERT_EQUAL(fabric_waiting(B, A), 32);
    revoke(0);
    CU_ASSERT_EQUAL(fabric_waiting(B, A), 32);
}

/* A grant is not told, and what is to be revoked is not forgotten. */
static void what_has_no_room_waits(void)
{
    struct grant_token none;
    begin_without_room();
    CU_ASSERT_FALSE(transport_token(b, A, there + SEGMENT, SEGMENT, &none));
    count(b);
    CU_ASSERT(rdma_counters.windows_bound == 1 && rdma_counters.grants_unwindowed == 0);
    CU_ASSERT_EQUAL(fabric_deliver(B, A, 32), 32);
    CU_ASSERT_EQUAL(fabric_bound(), 1);
    fabric.held = false;
    for (uint32_t i = 0; i < 3; i++)
        (void)complete(b);
    CU_ASSERT_EQUAL(fabric_bound(), 0);
    none = token(SEGMENT, SEGMENT);
    CU_ASSERT_TRUE(is_windowed(&none));
    CU_ASSERT_EQUAL(transport_receive(a, in, 64), 40);
    transport_release(a);
    close_both();
}

/* The next connection has nothing to do with it. */
static void what_waits_goes_with_its_connection(void)
{
    begin_without_room();
    fabric_break(A, B);
    fabric.held = false;
    passes(20);
    count(b);
    CU_ASSERT(rdma_counters.connections_taken == 2 && rdma_counters.windows_failed == 0);
    CU_ASSERT(rdma_counters.windows_revoked == 0 && fabric_bound() == 0);
    close_both();
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_window_is_bound_before_its_grant_is_told),
    UNIT_TEST(a_window_is_bound_though_nothing_is_sent),
    UNIT_TEST(a_write_elsewhere_is_refused),
    UNIT_TEST(after_revoke_a_write_is_refused),
    UNIT_TEST(memory_that_is_granted_again_has_another_key),
    UNIT_TEST(revoke_ends_all_windows_of_that_memory),
    UNIT_TEST(when_none_is_free_the_key_is_the_chunks),
    UNIT_TEST(without_windows_all_is_as_it_was),
    UNIT_TEST(a_device_that_fails_at_windows_is_not_asked_again),
    UNIT_TEST(a_frame_that_cannot_be_sent_is_no_fault_of_windows),
    UNIT_TEST(with_a_connection_all_its_windows_go),
    UNIT_TEST(a_peer_that_leaves_takes_its_windows_along),
    UNIT_TEST(what_has_no_room_waits),
    UNIT_TEST(what_waits_goes_with_its_connection),
};
UNIT_MAIN("transport_rdma_window", tests)
