/* Two endpoints over a fabric without devices: datagrams of every shape, credit, memory, peers that say what cannot
 * be, sleep. */
#include "tests/unit/dataplane/rdma_ends.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <poll.h>

/* ---- datagrams ---- */

static const uint32_t lengths[] = {0,    1,    7,    8,    300,   384,   440,   448,   449,
                                   4096, 8880, 8888, 8889, 17000, 32768, 65529, 65535, 65536};

static void datagrams_of_every_shape_pass(void)
{
    static char long_head[1400];
    memset(long_head, 'h', sizeof long_head - 1);
    static const char *const heads[] = {"", "h", "eighteig", "thirteen byte", long_head};
    for (uint32_t authentic = 0; authentic < 2; authentic++) {
        configure();
        config_a.authentic_only = config_b.authentic_only = authentic == 1;
        open_up();
        for (uint32_t h = 0; h < 5; h++)
            for (uint32_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
                CU_ASSERT_TRUE_FATAL(send_one(a, B, heads[h], lengths[i]));
                CU_ASSERT_TRUE_FATAL(comes(b));
                CU_ASSERT_EQUAL(in[0].from, A);
                CU_ASSERT_TRUE(is(&in[0], heads[h], lengths[i]));
                transport_release(b);
                while (complete(a) != 0) {
                }
            }
        count(a);
        CU_ASSERT_EQUAL(counters.seal_failures, 0);
        CU_ASSERT(rdma_counters.messages_written != 0 && rdma_counters.messages_sent != 0);
        CU_ASSERT_EQUAL(transport_can_log_write(a), authentic == 1);
        close_both();
    }
}

static void a_brief_datagram_is_one_that_fits_into_the_ring(void)
{
    configure();
    open_up();
    const uint32_t brief = a->brief_bytes;
    uint64_t sent[3];
    for (uint32_t i = 0; i < 3; i++) {
        count(a);
        sent[i] = rdma_counters.messages_sent;
        CU_ASSERT_TRUE_FATAL(send_one(a, B, "", brief + (i == 0 ? 0 : 8)));
        CU_ASSERT_TRUE_FATAL(comes(b));
        transport_release(b);
        while (complete(a) != 0) {
        }
    }
    CU_ASSERT(brief != 0);
    CU_ASSERT_EQUAL(sent[1], sent[0]);
    CU_ASSERT_EQUAL(sent[2], sent[1] + 1);
    close_both();
}

/* ---- many ---- */

static uint64_t state;

static uint32_t random_below(uint32_t bound)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((state >> 33) % bound);
}

struct way {
    struct transport *from, *to;
    uint64_t sent, received, held, given_back;
};

/* What the nth datagram of a way is. */
struct shape {
    uint64_t n;
    uint32_t length, at;
};

static struct shape shape_of(uint64_t n)
{
    uint32_t x = (uint32_t)(n * 2654435761u);
    uint32_t kind = x >> 30;
    uint32_t most = kind == 0 ? 1 : kind == 1 ? 400 : kind == 2 ? 9000 : 40000;
    return (struct shape){.n = n, .length = (x >> 3) % most, .at = (x >> 7) % 4096};
}

static bool many_send(struct way *w)
{
    const struct shape s = shape_of(w->sent);
    const struct transport_datagram d = {.to = w->to->node,
                                         .head = (const uint8_t *)&s,
                                         .head_length = sizeof s,
                                         .bytes = s.length != 0 ? bytes + s.at : NULL,
                                         .length = s.length,
                                         .hold = w->sent};
    if (transport_send(w->from, &d, 1) != 1)
        return false;
    w->held += s.length != 0;
    w->sent++;
    return true;
}

static void many_receive(struct way *w)
{
    uint32_t got = transport_receive(w->to, in, 1 + random_below(40));
    for (uint32_t i = 0; i < got; i++) {
        struct shape s = shape_of(w->received++), found;
        memcpy(&found, in[i].head, sizeof found);
        CU_ASSERT_FATAL(in[i].head_length == sizeof s && memcmp(&found, &s, sizeof s) == 0);
        CU_ASSERT_FATAL(in[i].length == s.length &&
                        (s.length == 0 || memcmp(in[i].bytes, bytes + s.at, s.length) == 0));
    }
    if (random_below(3) != 0 || got == 0)
        transport_release(w->to);
    w->given_back += complete(w->from);
}

static void many_pass(uint32_t messages, uint32_t sends, uint64_t wanted)
{
    configure();
    fabric.messages = messages;
    fabric.sends = sends;
    fabric.inline_bytes = messages % 3 == 1 ? 0 : RDMA_PORT_INLINE;
    open_up();
    fabric.held = true;
    struct way ways[2] = {{.from = a, .to = b}, {.from = b, .to = a}};
    for (uint64_t round = 0; ways[0].received < wanted || ways[1].received < wanted; round++) {
        CU_ASSERT_FATAL(round < wanted * 100);
        for (uint32_t i = 0; i < 2; i++) {
            struct way *w = &ways[i];
            for (uint32_t burst = random_below(30); burst != 0 && w->sent < wanted; burst--)
                if (!many_send(w))
                    break;
            many_receive(w);
            (void)fabric_deliver(w->from->node, w->to->node, random_below(50));
        }
        now += random_below(100000);
    }
    fabric.held = false;
    fabric_deliver_all();
    for (uint32_t i = 0; i < 2; i++) {
        while (complete(ways[i].from) != 0) {
        }
        transport_release(ways[i].to);
        count(ways[i].to);
        CU_ASSERT_EQUAL(counters.refused[FRAME_WRONG_TAG] + counters.refused[FRAME_REPLAYED], 0);
        CU_ASSERT_EQUAL(rdma_counters.connections_retired, 0);
        CU_ASSERT_EQUAL(rdma_counters.connections_taken, 1);
    }
    close_both();
}

static void many_pass_in_order_and_whole(void)
{
    state = 1;
    many_pass(RDMA_PORT_MESSAGES, RDMA_PORT_SENDS, 20000);
    many_pass(8, 16, 20000);
    many_pass(1, 2, 3000);
    many_pass(64, 4, 10000);
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

/* ---- one doorbell ---- */

static void a_burst_is_one_doorbell_and_one_completion(void)
{
    configure();
    open_up();
    fabric.held = true;
    uint32_t doorbells = fabric.doorbells, requests = fabric.requests, inlined = fabric.inlined;
    for (uint32_t i = 0; i < 40; i++)
        CU_ASSERT_TRUE(send_one(a, B, "burst", i * 10));
    CU_ASSERT_EQUAL(fabric.doorbells, doorbells);
    (void)complete(a);
    CU_ASSERT_EQUAL(fabric.doorbells, doorbells + 1);
    CU_ASSERT_EQUAL(fabric.requests, requests + 40);
    /* Header and head are 72 bytes. */
    CU_ASSERT_EQUAL(fabric.inlined, inlined + 19);
    count(a);
    uint64_t completions = rdma_counters.completions;
    CU_ASSERT_EQUAL(fabric_deliver(A, B, 100), 40);
    (void)complete(a);
    count(a);
    CU_ASSERT_EQUAL(rdma_counters.completions, completions + 1);
    close_both();
}

/* ---- credit ---- */

static uint32_t sent_until_refused(void)
{
    uint32_t sent = 0;
    while (sent < 10000 && send_one(a, B, "many", 8))
        sent++;
    return sent;
}

/* No more leave than the peer has places for; the rest waits, and then who sends is refused. */
static void nothing_leaves_without_credit(void)
{
    configure();
    fabric.messages = 16;
    open_up();
    uint32_t before = fabric.requests;
    uint32_t sent = sent_until_refused();
    CU_ASSERT(sent >= TRANSPORT_FRAMED_QUEUE_FRAMES + 14 &&
              sent <= TRANSPORT_FRAMED_QUEUE_FRAMES + 16);
    CU_ASSERT(fabric.requests - before <= 16);
    count(a);
    CU_ASSERT(counters.queue_full == 1 && rdma_counters.no_credit != 0);
    CU_ASSERT_FALSE(transport_sleep(a)); /* credit wakes nobody */
    uint32_t got = 0;
    for (uint32_t i = 0; i < PASSES && got < sent; i++) {
        uint32_t more = transport_receive(b, in, 16);
        for (uint32_t j = 0; j < more; j++)
            CU_ASSERT_TRUE(is(&in[j], "many", 8));
        got += more;
        transport_release(b);
        (void)complete(b); /* tells of it */
        (void)complete(a);
    }
    CU_ASSERT_EQUAL(got, sent);
    count(b);
    CU_ASSERT(rdma_counters.credits_told != 0);
    bool sleeps = false;
    CU_ASSERT_EQUAL(transport_receive(a, in, 8), 0);
    transport_release(a);
    for (uint32_t i = 0; i < 64 && !sleeps; i++)
        sleeps = transport_sleep(a); /* looks at some completions each time */
    CU_ASSERT_TRUE(sleeps);
    close_both();
}

/* Who answers tells by the way. */
static void answers_carry_credit(void)
{
    configure();
    fabric.messages = 16;
    open_up();
    for (uint32_t i = 0; i < 200; i++) {
        CU_ASSERT_TRUE_FATAL(send_one(a, B, "ask", 0));
        CU_ASSERT_TRUE_FATAL(comes(b));
        transport_release(b);
        CU_ASSERT_TRUE_FATAL(send_one(b, A, "answer", 0));
        CU_ASSERT_TRUE_FATAL(comes(a));
        transport_release(a);
    }
    count(b);
    CU_ASSERT_EQUAL(rdma_counters.credits_told, 0);
    close_both();
}

static void who_takes_nothing_for_long_is_left(void)
{
    configure();
    fabric.messages = 16;
    open_up();
    (void)sent_until_refused();
    for (uint32_t i = 0; i < 1900; i++) {
        CU_ASSERT_EQUAL(transport_receive(a, in, 8), 0);
        now += NS_PER_MS;
    }
    count(a);
    CU_ASSERT_EQUAL(rdma_counters.connections_stuck, 0);
    for (uint32_t i = 0; i < 200; i++) {
        CU_ASSERT_EQUAL(transport_receive(a, in, 8), 0);
        now += NS_PER_MS;
    }
    count(a);
    CU_ASSERT_EQUAL(rdma_counters.connections_stuck, 1);
    CU_ASSERT_EQUAL(counters.frames_ended, TRANSPORT_FRAMED_QUEUE_FRAMES);
    close_both();
}

/* Frames that the device has not done with keep their memory: the next ones wait. */
static void memory_of_frames_is_not_used_twice(void)
{
    configure();
    open_up();
    fabric.held = true;
    uint32_t sent = 0;
    while (sent < 1000 && send_one(a, B, "", 65000)) {
        sent++;
        (void)complete(a);
    }
    count(a);
    CU_ASSERT(sent > 20 && sent < 40 && rdma_counters.no_memory != 0);
    fabric.held = false;
    for (uint32_t i = 0; i < sent; i++) {
        CU_ASSERT_TRUE_FATAL(comes(b));
        CU_ASSERT_TRUE(is(&in[0], "", 65000));
        transport_release(b);
        (void)complete(b);
    }
    CU_ASSERT_TRUE(send_one(a, B, "", 65000));
    CU_ASSERT_TRUE(comes(b));
    close_both();
}

/* ---- hostile peers ---- */

static struct ibv_send_wr forged(struct ibv_sge *from, enum ibv_wr_opcode opcode, uint64_t at)
{
    const struct rdma_connection *to = fabric_end(B, A);
    return (struct ibv_send_wr){.sg_list = from,
                                .num_sge = 1,
                                .opcode = opcode,
                                .wr.rdma.remote_addr = (uintptr_t)to->inlet + at,
                                .wr.rdma.rkey = to->number + 1000};
}

/* b hears it from a's device, and ends the connection; a new one works. */
static void is_unsound(const struct ibv_send_wr *w)
{
    fabric_forge(A, B, w);
    for (uint32_t i = 0; i < 5; i++) {
        (void)send_one(b, A, "x", 0);
        (void)complete(b);
        (void)!transport_receive(b, in, 8);
        transport_release(b);
        while (transport_disconnected(b) != TRANSPORT_NOBODY) {
        }
        now += NS_PER_MS;
    }
    count(b);
    CU_ASSERT_EQUAL(rdma_counters.connections_unsound, 1);
    close_both();
}

static void counts_that_cannot_be_end_the_connection(void)
{
    uint64_t word = 0;
    struct ibv_sge from = {.addr = (uintptr_t)&word, .length = 8};
    configure();
    open_up();
    struct ibv_send_wr w = forged(&from, IBV_WR_RDMA_WRITE_WITH_IMM, CACHE_LINE);
    w.imm_data = htonl(100000); /* never sent */
    is_unsound(&w);
    configure();
    open_up();
    w = forged(&from, IBV_WR_RDMA_WRITE_WITH_IMM, CACHE_LINE);
    w.imm_data = htonl(UINT32_MAX); /* before the last one said */
    is_unsound(&w);
}

/* The count is looked at when there is no credit. */
static void written_counts_that_cannot_be_end_it_too(void)
{
    static const uint64_t wrong[] = {UINT64_MAX, 1000000, UINT64_C(1) << 32};
    for (uint32_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct ibv_sge from = {.addr = (uintptr_t)&wrong[i], .length = 8};
        configure();
        fabric.messages = 4;
        open_up();
        struct ibv_send_wr w = forged(&from, IBV_WR_RDMA_WRITE, 0);
        while (send_one(b, A, "many", 8)) {
        }
        is_unsound(&w);
    }
}

/* One that was said before, and is not said any more. */
static void written_counts_do_not_go_back(void)
{
    const uint64_t less = 1;
    struct ibv_sge from = {.addr = (uintptr_t)&less, .length = 8};
    configure();
    fabric.messages = 4;
    open_up();
    for (uint32_t i = 0; i < 50; i++) {
        while (send_one(b, A, "many", 8)) {
        }
        (void)!transport_receive(a, in, 8);
        transport_release(a);
        (void)complete(a); /* tells of it */
        (void)complete(b);
    }
    count(a);
    CU_ASSERT(rdma_counters.credits_told > 10);
    while (send_one(b, A, "many", 8)) {
    }
    struct ibv_send_wr w = forged(&from, IBV_WR_RDMA_WRITE, 0);
    is_unsound(&w);
}

static void frames_that_cannot_be_end_it_too(void)
{
    static uint8_t zeros[RDMA_PORT_SLOT_BYTES + 8];
    struct ibv_sge from = {.addr = (uintptr_t)zeros, .length = 100};
    configure();
    open_up();
    struct ibv_send_wr w = forged(&from, IBV_WR_SEND, 0); /* without a count */
    is_unsound(&w);
}

/* Whatever it writes to the ring, only what has a tag is taken; the next frame is. */
static void a_ring_written_to_out_of_turn_costs_a_frame(void)
{
    configure();
    open_up();
    fabric.held = true;
    CU_ASSERT_TRUE(send_one(a, B, "first", 0));
    CU_ASSERT_TRUE(send_one(a, B, "second", 0));
    CU_ASSERT_TRUE(send_one(a, B, "third", 0));
    (void)complete(a);
    CU_ASSERT_EQUAL(fabric_deliver(A, B, 100), 3);
    uint8_t *ring = fabric_end(B, A)->inlet->ring;
    for (uint32_t i = 0; i < RDMA_PORT_MESSAGES; i++) {
        uint8_t *head = ring + i * RDMA_PORT_SLOT_BYTES + FRAME_HEADER_BYTES;
        if (memcmp(head, "second", 6) == 0)
            head[0] ^= 1;
    }
    CU_ASSERT_EQUAL_FATAL(transport_receive(b, in, 8), 2);
    /* What was judged does not change any more. */
    memset(ring, 0xee, RDMA_PORT_MESSAGES * RDMA_PORT_SLOT_BYTES);
    CU_ASSERT_TRUE(is(&in[0], "first", 0));
    CU_ASSERT_TRUE(is(&in[1], "third", 0));
    count(b);
    CU_ASSERT_EQUAL(counters.refused[FRAME_WRONG_TAG], 1);
    close_both();
}

static void a_peer_without_room_for_our_frames_is_refused(void)
{
    configure();
    open_both();
    fabric_connect();
    fabric_end(A, B)->peer.message_bytes = 4096;
    pass();
    count(a);
    CU_ASSERT_EQUAL(rdma_counters.connections_unsound, 1);
    close_both();
}

/* ---- sleep ---- */

static bool is_woken(const struct transport *t)
{
    struct pollfd fd = {.fd = transport_wake_fd(t), .events = POLLIN};
    return poll(&fd, 1, 0) == 1;
}

static void what_comes_wakes(void)
{
    configure();
    open_up();
    for (uint32_t i = 0; i < 10; i++) {
        transport_awake(a);
        transport_awake(b);
        (void)complete(b);
        CU_ASSERT_TRUE_FATAL(transport_sleep(b));
        CU_ASSERT_TRUE_FATAL(transport_sleep(b)); /* asked twice */
        CU_ASSERT_FALSE(is_woken(b));
        CU_ASSERT_TRUE(send_one(a, B, "wake", 0));
        (void)complete(a);
        CU_ASSERT_TRUE(is_woken(b));
        transport_awake(b);
        CU_ASSERT_EQUAL(transport_receive(b, in, 8), 1);
        CU_ASSERT_EQUAL(transport_receive(b, in, 8), 0);
        transport_release(b);
    }
    /* What came between the last look and sleep is seen by it, and its event does not wake for nothing. */
    CU_ASSERT_TRUE(send_one(a, B, "wake", 0));
    (void)complete(a);
    CU_ASSERT_FALSE(transport_sleep(b));
    CU_ASSERT_EQUAL(transport_receive(b, in, 8), 1);
    transport_release(b);
    CU_ASSERT_TRUE(send_one(a, B, "wake", 0));
    (void)complete(a);
    CU_ASSERT_EQUAL(transport_receive(b, in, 8), 1);
    transport_release(b);
    CU_ASSERT_TRUE(transport_sleep(b));
    CU_ASSERT_FALSE(is_woken(b));
    transport_awake(b);
    close_both();
}

/* Also a completion of what it sent, and a link that is ready or broken. */
static void completions_and_links_wake(void)
{
    configure();
    open_both();
    CU_ASSERT_FALSE(is_woken(b));
    fabric_connect();
    CU_ASSERT_TRUE(is_woken(b));
    come_up();
    for (uint32_t i = 0; i < 4; i++) {
        transport_awake(b);
        (void)complete(b);
    }
    fabric.held = true;
    CU_ASSERT_TRUE(send_one(b, A, "wake", 0));
    (void)complete(b);
    CU_ASSERT_TRUE(transport_sleep(b));
    CU_ASSERT_FALSE(is_woken(b));
    CU_ASSERT_EQUAL(fabric_deliver(B, A, 1), 1);
    CU_ASSERT_TRUE(is_woken(b));
    transport_awake(b);
    CU_ASSERT_FALSE(transport_sleep(b));
    CU_ASSERT_TRUE(transport_sleep(b));
    fabric_break(A, B);
    CU_ASSERT_TRUE(is_woken(b));
    close_both();
}

/* ---- the endpoint ---- */

static void what_cannot_be_is_refused(void)
{
    struct transport *t;
    struct transport_framed_config bad;
    configure();
    open_both();
    bad = config_a;
    bad.start = 0;
    CU_ASSERT_EQUAL(transport_rdma_open(&t, &bad, NULL), -EINVAL);
    bad = config_a;
    bad.frame_bytes = FRAME_BYTES_MAX + 1;
    CU_ASSERT_EQUAL(transport_rdma_open(&t, &bad, NULL), -EINVAL);
    CU_ASSERT_FALSE(send_one(a, 99, "nobody", 0));
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
    CU_ASSERT_EQUAL(names, (sizeof counters + sizeof rdma_counters) / sizeof(uint64_t));
    CU_ASSERT_STRING_EQUAL(transport_count_name(a, names - 1), "grants_unwindowed");
    for (uint32_t i = 0; i < names; i++)
        if (strcmp(transport_count_name(a, i), "connections_taken") == 0)
            CU_ASSERT_EQUAL(transport_counted(a, i), 1);
    close_both();
}

/* One peer of which much is there already does not keep the other one's waiting. */
static void no_peer_is_starved(void)
{
    configure();
    open_both();
    open_third();
    come_up();
    for (uint32_t i = 0; i < 200; i++)
        CU_ASSERT_TRUE(send_one(a, B, "flood", 0));
    (void)complete(a);
    CU_ASSERT_TRUE(send_one(c, B, "one", 0));
    (void)complete(c);
    fabric.held = true;
    CU_ASSERT_TRUE(send_one(b, A, "under way", 0));
    for (uint32_t i = 0; i < 20; i++)
        (void)complete(b); /* looks at what came, too */
    CU_ASSERT_EQUAL_FATAL(transport_receive(b, in, 40), 40);
    uint32_t of_c = 0;
    for (uint32_t i = 0; i < 40; i++)
        of_c += in[i].from == C && is(&in[i], "one", 0);
    CU_ASSERT_EQUAL(of_c, 1);
    close_both();
}

static const struct unit_test tests[] = {
    UNIT_TEST(datagrams_of_every_shape_pass),
    UNIT_TEST(a_brief_datagram_is_one_that_fits_into_the_ring),
    UNIT_TEST(many_pass_in_order_and_whole),
    UNIT_TEST(every_hold_comes_back_once),
    UNIT_TEST(a_burst_is_one_doorbell_and_one_completion),
    UNIT_TEST(nothing_leaves_without_credit),
    UNIT_TEST(answers_carry_credit),
    UNIT_TEST(who_takes_nothing_for_long_is_left),
    UNIT_TEST(memory_of_frames_is_not_used_twice),
    UNIT_TEST(counts_that_cannot_be_end_the_connection),
    UNIT_TEST(written_counts_that_cannot_be_end_it_too),
    UNIT_TEST(written_counts_do_not_go_back),
    UNIT_TEST(frames_that_cannot_be_end_it_too),
    UNIT_TEST(a_ring_written_to_out_of_turn_costs_a_frame),
    UNIT_TEST(a_peer_without_room_for_our_frames_is_refused),
    UNIT_TEST(what_comes_wakes),
    UNIT_TEST(completions_and_links_wake),
    UNIT_TEST(what_cannot_be_is_refused),
    UNIT_TEST(each_counter_has_its_name),
    UNIT_TEST(no_peer_is_starved),
};
UNIT_MAIN("transport_rdma", tests)
