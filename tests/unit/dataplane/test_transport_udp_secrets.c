/* Two endpoints whose secrets come from the control plane, here from the test: late, of another start, one after
 * another, used up. */
#include "tests/unit/dataplane/udp_ends.h"
#include "tests/unit/unit.h"

#define START_A 50u
#define START_B 60u

static struct pair_secrets table_a, table_b;

static struct pair_secret secret(uint32_t number, uint8_t first)
{
    return (struct pair_secret){.number = number, .bytes = {first, 2, 3}};
}

/* One secret, of bytes that the test chooses. */
static void tell_bytes(struct pair_secrets *table, uint64_t start, uint32_t number, uint8_t word)
{
    const struct pair_secrets_view view = {
        .start = start, .seals = number, .secrets = {secret(number, word)}};
    CU_ASSERT_EQUAL(pair_secrets_put(table, table == &table_a ? 3 : 7, &view), 0);
}

/* Up to two, the newest first, of bytes that follow from their numbers. */
static void tell_numbers(struct pair_secrets *table, uint32_t newest, uint32_t before,
                         uint32_t seals)
{
    struct pair_secrets_view view = {.start = table == &table_a ? START_B : START_A,
                                     .seals = seals};
    view.secrets[0] = secret(newest, (uint8_t)newest);
    if (before != 0)
        view.secrets[1] = secret(before, (uint8_t)before);
    CU_ASSERT_EQUAL(pair_secrets_put(table, table == &table_a ? 3 : 7, &view), 0);
}

static void configure_shared(void)
{
    configure();
    pair_secrets_init(&table_a);
    pair_secrets_init(&table_b);
    config_a.secrets = config_b.secrets = NULL;
    config_a.secret_count = config_b.secret_count = 0;
    config_a.pair_secrets = &table_a;
    config_b.pair_secrets = &table_b;
}

static void open_shared_up(void)
{
    configure_shared();
    open_both();
    tell_numbers(&table_a, 1, 0, 1);
    tell_numbers(&table_b, 1, 0, 1);
    come_up();
}

static bool is_up_a(void)
{
    return transport_framed_is_up(a, 3, NULL, NULL);
}

static bool is_up_b(void)
{
    return transport_framed_is_up(b, 7, NULL, NULL);
}

/* One turn of both, a millisecond long. */
static void turn(void)
{
    CU_ASSERT_EQUAL(receive(a, 8), 0);
    CU_ASSERT_EQUAL(receive(b, 8), 0);
    transport_release(a);
    transport_release(b);
    now += NS_PER_MS;
}

static void turns(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        turn();
}

static void passes(struct transport *from, struct transport *to, const char *head)
{
    CU_ASSERT_TRUE_FATAL(send_one(from, to->node, head, 100));
    (void)!transport_complete(from, holds, 8);
    CU_ASSERT_TRUE_FATAL(comes(to));
    CU_ASSERT_TRUE(is(&in[0], head, 100));
    transport_release(to);
}

static uint64_t refused(struct transport *t, enum frame_refusal refusal)
{
    transport_framed_count(t, &counters);
    return counters.refused[refusal];
}

/* ---- */

static void nothing_is_said_without_a_secret(void)
{
    configure_shared();
    open_both();
    turns(100);
    CU_ASSERT_FALSE(is_up_a() || is_up_b());
    CU_ASSERT_EQUAL(refused(b, FRAME_UNKNOWN_KEY), 0);
    CU_ASSERT_EQUAL(counters.hellos_sent + counters.send_errors + counters.seal_failures, 0);
    CU_ASSERT_TRUE(send_one(a, 3, "lost", 0));
    transport_framed_count(a, &counters);
    CU_ASSERT_EQUAL(counters.not_up, 1);
    close_both();
}

static void one_side_may_be_late(void)
{
    configure_shared();
    open_both();
    tell_numbers(&table_a, 1, 0, 1);
    turns(1500); /* a asks rarely by now */
    CU_ASSERT_FALSE(is_up_a() || is_up_b());
    CU_ASSERT(refused(b, FRAME_UNKNOWN_KEY) != 0);
    tell_numbers(&table_b, 1, 0, 1);
    uint32_t waited = 0;
    for (; waited < 100 && !(is_up_a() && is_up_b()); waited++)
        turn();
    CU_ASSERT(waited <= 5);
    passes(a, b, "there");
    passes(b, a, "and back");
    close_both();
}

static void a_secret_of_another_start_is_none(void)
{
    configure_shared();
    open_both();
    tell_bytes(&table_a, START_B + 1, 1, 9); /* b is of START_B */
    tell_bytes(&table_b, START_A, 1, 9);
    turns(100);
    CU_ASSERT_FALSE(is_up_a() || is_up_b());
    CU_ASSERT(refused(a, FRAME_OTHER_START) != 0);
    close_both();
}

static void another_secret_of_that_number_is_none(void)
{
    configure_shared();
    open_both();
    tell_bytes(&table_a, START_B, 1, 9);
    tell_bytes(&table_b, START_A, 1, 10);
    turns(100);
    CU_ASSERT_FALSE(is_up_a() || is_up_b());
    CU_ASSERT(refused(a, FRAME_WRONG_TAG) != 0);
    close_both();
}

/* The control plane knows of a restart before the data plane does. */
static void a_newer_start_voids_what_was_shared(void)
{
    open_shared_up();
    passes(a, b, "first");
    tell_bytes(&table_a, START_B + 1, 1, 77);
    turn();
    CU_ASSERT_FALSE(is_up_a());
    CU_ASSERT_TRUE(is_up_b()); /* the old one: it is not told */
    transport_framed_count(a, &counters);
    CU_ASSERT_EQUAL(counters.secrets_void, 1);
    uint64_t before = refused(a, FRAME_NOT_UP);
    CU_ASSERT_TRUE(send_one(b, 7, "of the old one", 0));
    flush(b);
    CU_ASSERT_TRUE(refuses(a, FRAME_NOT_UP, before + 1));
    transport_udp_close(b);
    config_b.start = START_B + 1;
    pair_secrets_init(&table_b);
    CU_ASSERT_EQUAL_FATAL(transport_udp_open(&b, &config_b, NULL), 0);
    introduce(b, a);
    CU_ASSERT_EQUAL(transport_framed_remove(a, 3), 0); /* the port is another one */
    introduce(a, b);
    tell_bytes(&table_b, START_A, 1, 77);
    come_up();
    passes(a, b, "after the restart");
    passes(b, a, "and back");
    close_both();
}

static void frames_that_wait_end_with_the_start_of_the_peer(void)
{
    configure_shared();
    config_a.rate = config_a.burst = 1;
    open_both();
    tell_numbers(&table_a, 1, 0, 1);
    tell_numbers(&table_b, 1, 0, 1);
    come_up();
    for (uint32_t i = 0; i < 10; i++)
        CU_ASSERT_TRUE(send_one(a, 3, "wait", 0));
    flush(a); /* one leaves */
    tell_bytes(&table_a, START_B + 1, 1, 77);
    now += NS_PER_MS;
    CU_ASSERT_EQUAL(receive(a, 8), 0);
    transport_framed_count(a, &counters);
    CU_ASSERT_EQUAL(counters.frames_ended, 9);
    CU_ASSERT_EQUAL(transport_framed_endpoint_of(a)->queued, 0);
    close_both();
}

static void a_node_that_is_forgotten_is_not_heard(void)
{
    open_shared_up();
    tell_bytes(&table_a, 0, 1, 1);
    turn();
    CU_ASSERT_FALSE(is_up_a());
    transport_framed_count(a, &counters);
    CU_ASSERT_EQUAL(counters.secrets_void, 1);
    close_both();
}

/* ---- one after another ---- */

static uint8_t key_id_caught(struct transport *from, uint32_t to)
{
    struct transport_datagram d = {.to = to};
    CU_ASSERT_EQUAL_FATAL(transport_send(from, &d, 1), 1);
    (void)!transport_complete(from, holds, 8);
    wire_take_next(&caught[0]);
    return caught[0].frame[6];
}

/* What was caught arrives: as a datagram, or it is refused. */
static bool arrives(struct transport *at)
{
    transport_framed_count(at, &counters);
    uint64_t before = counters.datagrams_received;
    wire_put(&caught[0]);
    bool came = comes(at);
    transport_release(at);
    transport_framed_count(at, &counters);
    return came && counters.datagrams_received == before + 1;
}

static void secrets_follow_each_other_without_a_loss(void)
{
    configure_shared();
    wire_open_both();
    tell_numbers(&table_a, 1, 0, 1);
    tell_numbers(&table_b, 1, 0, 1);
    wire_come_up();
    CU_ASSERT_EQUAL(key_id_caught(a, 3), 1);
    struct frame_on_wire first = caught[0];
    CU_ASSERT_EQUAL(transport_receive(a, in, 8), 0); /* its look of this millisecond */
    /* As the protocol does it: a opens with both, b opens with both and seals with the new one. */
    tell_numbers(&table_a, 2, 1, 1);
    tell_numbers(&table_b, 2, 1, 2);
    CU_ASSERT_EQUAL(transport_receive(b, in, 8), 0);
    CU_ASSERT_EQUAL(key_id_caught(b, 7), 2);
    CU_ASSERT_TRUE(arrives(a)); /* which had not looked since */
    CU_ASSERT_EQUAL(key_id_caught(a, 3), 1);
    CU_ASSERT_TRUE(arrives(b));
    tell_numbers(&table_a, 2, 1, 2);
    now += NS_PER_MS;
    CU_ASSERT_EQUAL(transport_receive(a, in, 8), 0);
    CU_ASSERT_EQUAL(key_id_caught(a, 3), 2);
    CU_ASSERT_EQUAL(caught[0].frame[32], 3); /* nonces go on */
    CU_ASSERT_TRUE(arrives(b));
    caught[0] = first;
    CU_ASSERT_TRUE(arrives(b)); /* it is late, and its secret still there */
    tell_numbers(&table_b, 2, 0, 2);
    now += NS_PER_MS;
    CU_ASSERT_EQUAL(transport_receive(b, in, 8), 0);
    wire_put(&first);
    CU_ASSERT_TRUE(refuses(b, FRAME_UNKNOWN_KEY, 1));
    CU_ASSERT_EQUAL(counters.secrets_taken, 2);
    CU_ASSERT_EQUAL(counters.secrets_void, 1);
    CU_ASSERT_EQUAL(counters.pairs_up, 1);
    CU_ASSERT_EQUAL(counters.refused[FRAME_WRONG_TAG], 0);
    close_both();
}

static void many_follow_each_other(void)
{
    open_shared_up();
    for (uint32_t i = 2; i < 70; i++) {
        tell_numbers(&table_a, i, i - 1, i - 1);
        tell_numbers(&table_b, i, i - 1, i);
        passes(b, a, "on the way");
        tell_numbers(&table_a, i, i - 1, i);
        passes(a, b, "on the way");
        tell_numbers(&table_a, i, 0, i);
        tell_numbers(&table_b, i, 0, i);
        now += NS_PER_MS;
    }
    turns(2);
    transport_framed_count(b, &counters);
    CU_ASSERT_EQUAL(counters.secrets_taken, 69);
    CU_ASSERT_EQUAL(counters.secrets_void, 68);
    CU_ASSERT_EQUAL(counters.pairs_up, 1);
    CU_ASSERT_EQUAL(counters.seal_failures, 0);
    close_both();
}

static void what_is_void_is_overwritten(void)
{
    static const uint8_t nothing[FRAME_SECRET_BYTES];
    open_shared_up();
    const struct transport_framed_peer *p = transport_framed_endpoint_of(a)->peers[0];
    CU_ASSERT_NOT_EQUAL(memcmp(p->secrets[0].bytes, nothing, sizeof nothing), 0);
    tell_numbers(&table_a, 2, 0, 2);
    turn();
    uint32_t left = 0;
    for (uint32_t i = 0; i < FRAME_SECRETS_MAX; i++)
        left += memcmp(p->secrets[i].bytes, nothing, sizeof nothing) != 0 ? 1 : 0;
    CU_ASSERT_EQUAL(left, 1);
    pair_secrets_fini(&table_a);
    for (uint32_t i = 0; i < PAIR_SECRETS_WORDS; i++)
        CU_ASSERT_EQUAL(table_a.entries[0].words[i], 0);
    close_both();
}

static void a_key_that_is_used_up_is_told(void)
{
    configure_shared();
    config_a.key_frames = 4;
    open_both();
    tell_numbers(&table_a, 1, 0, 1);
    tell_numbers(&table_b, 1, 0, 1);
    come_up();
    for (uint32_t i = 0; i < 3; i++)
        passes(a, b, "not yet");
    turns(2);
    CU_ASSERT_EQUAL(pair_secrets_spent(&table_a, 3), 0);
    passes(a, b, "the fourth");
    turns(2);
    CU_ASSERT_EQUAL(pair_secrets_spent(&table_a, 3), 1);
    CU_ASSERT_EQUAL(pair_secrets_spent(&table_b, 7), 0);
    passes(a, b, "goes on"); /* for want of another */
    tell_numbers(&table_a, 2, 1, 2);
    tell_numbers(&table_b, 2, 1, 2);
    turns(2);
    for (uint32_t i = 0; i < 3; i++)
        passes(a, b, "of the next");
    turns(2);
    CU_ASSERT_EQUAL(pair_secrets_spent(&table_a, 3), 1);
    passes(a, b, "its fourth");
    turns(2);
    CU_ASSERT_EQUAL(pair_secrets_spent(&table_a, 3), 2);
    close_both();
}

static void a_file_and_shared_ones_exclude_each_other(void)
{
    configure();
    config_a.pair_secrets = &table_a;
    CU_ASSERT_EQUAL(transport_udp_open(&a, &config_a, NULL), -EINVAL);
}

static const struct unit_test tests[] = {
    UNIT_TEST(nothing_is_said_without_a_secret),
    UNIT_TEST(one_side_may_be_late),
    UNIT_TEST(a_secret_of_another_start_is_none),
    UNIT_TEST(another_secret_of_that_number_is_none),
    UNIT_TEST(a_newer_start_voids_what_was_shared),
    UNIT_TEST(frames_that_wait_end_with_the_start_of_the_peer),
    UNIT_TEST(a_node_that_is_forgotten_is_not_heard),
    UNIT_TEST(secrets_follow_each_other_without_a_loss),
    UNIT_TEST(many_follow_each_other),
    UNIT_TEST(what_is_void_is_overwritten),
    UNIT_TEST(a_key_that_is_used_up_is_told),
    UNIT_TEST(a_file_and_shared_ones_exclude_each_other),
};
UNIT_MAIN("transport_udp_secrets", tests)
