/* Proofs of ranges between two endpoints that are up: what they prove, and what is none. */
#include "tests/unit/dataplane/udp_ends.h"
#include "tests/unit/unit.h"

#define START_A 50u
#define START_B 60u
#define TAG_AT 16u /* of a proof */

static struct pair_secrets table_a, table_b;

static struct grant_range range(uint32_t length)
{
    return (struct grant_range){.bytes = bytes + 5, .length = length};
}

static struct grant_proof proven(uint32_t length)
{
    const struct grant_range r = range(length);
    struct grant_proof proof;
    memset(&proof, 0xff, sizeof proof);
    CU_ASSERT_TRUE_FATAL(transport_framed_prove(a, 3, &r, &proof));
    return proof;
}

static bool proves(const struct grant_proof *proof, uint32_t length)
{
    const struct grant_range r = range(length);
    return transport_framed_proves(b, 7, &r, proof);
}

static void what_was_proven_is_taken_again_and_again(void)
{
    static const uint32_t lengths[] = {1, 7, 8, 64, 1337, 4096, 32768, FRAME_LENGTH_MAX - 5};
    configure();
    open_up();
    for (uint32_t i = 0; i < 8; i++) {
        struct grant_proof proof = proven(lengths[i]);
        CU_ASSERT_EQUAL(proof.bytes[0], i + 1); /* the nonce */
        CU_ASSERT_EQUAL(proof.bytes[8], 4);     /* the key id */
        CU_ASSERT_TRUE(proves(&proof, lengths[i]));
        CU_ASSERT_TRUE(proves(&proof, lengths[i]));
    }
    count(a);
    CU_ASSERT_EQUAL(counters.ranges_proven, 8);
    count(b);
    CU_ASSERT_EQUAL(counters.ranges_taken, 16);
    CU_ASSERT_EQUAL(counters.ranges_refused, 0);
    close_both();
}

static void each_bit_of_proof_and_range_counts(void)
{
    configure();
    open_up();
    struct grant_proof proof = proven(100);
    for (uint32_t i = 0; i < sizeof proof * 8; i++) {
        proof.bytes[i / 8] ^= (uint8_t)(1u << (i % 8));
        CU_ASSERT_FALSE(proves(&proof, 100));
        proof.bytes[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
    for (uint32_t i = 0; i < 100 * 8; i++) {
        bytes[5 + i / 8] ^= (uint8_t)(1u << (i % 8));
        CU_ASSERT_FALSE(proves(&proof, 100));
        bytes[5 + i / 8] ^= (uint8_t)(1u << (i % 8));
    }
    CU_ASSERT_FALSE(proves(&proof, 99));
    CU_ASSERT_FALSE(proves(&proof, 101));
    CU_ASSERT_FALSE(proves(&proof, 0));
    CU_ASSERT_FALSE(proves(&proof, FRAME_LENGTH_MAX + 1));
    CU_ASSERT_TRUE(proves(&proof, 100));
    count(b);
    CU_ASSERT_EQUAL(counters.ranges_refused, (sizeof proof + 100) * 8 + 4);
    CU_ASSERT_EQUAL(counters.ranges_taken, 1);
    close_both();
}

static void a_proof_is_of_one_node_for_another(void)
{
    const struct grant_range r = range(64), nothing = range(0),
                             long_one = range(FRAME_LENGTH_MAX + 1);
    struct grant_proof proof;
    configure();
    open_up();
    proof = proven(64);
    CU_ASSERT_FALSE(transport_framed_proves(a, 3, &r, &proof)); /* said back */
    CU_ASSERT_FALSE(transport_framed_proves(b, 3, &r, &proof)); /* ourselves */
    CU_ASSERT_FALSE(transport_framed_proves(b, 8, &r, &proof));
    CU_ASSERT_FALSE(transport_framed_prove(a, 8, &r, &proof));
    CU_ASSERT_FALSE(transport_framed_prove(a, 3, &nothing, &proof));
    CU_ASSERT_FALSE(transport_framed_prove(a, 3, &long_one, &proof));
    close_both();
}

static void nothing_is_proven_before_the_pair_is_up(void)
{
    const struct grant_range r = range(64);
    struct grant_proof proof = {.bytes = {1, [8] = 4}};
    configure();
    open_both();
    CU_ASSERT_FALSE(transport_framed_prove(a, 3, &r, &proof));
    CU_ASSERT_FALSE(transport_framed_proves(b, 7, &r, &proof));
    count(a);
    CU_ASSERT_EQUAL(counters.seal_failures, 0); /* it was not tried */
    come_up();
    proof = proven(64);
    CU_ASSERT_TRUE(proves(&proof, 64));
    close_both();
}

/* The peer has another start, and the pair is not up with that: nothing is proven to the one before. */
static void nothing_is_proven_between_two_starts(void)
{
    const struct grant_range r = range(64);
    struct grant_proof proof;
    configure();
    wire_open_up();
    const struct transport_framed_peer *p = transport_framed_endpoint_of(a)->peers[0];
    (void)proven(32768);
    CU_ASSERT_EQUAL(p->sealed_long, 23);
    transport_udp_close(b);
    config_b.start++;
    b = wire_open_one(&config_b, 7);
    CU_ASSERT_EQUAL(receive(b, 8), 0);
    do {
        CU_ASSERT_TRUE_FATAL(wire_take(&caught[0], WAIT_MS));
    } while (caught[0].from_a);
    wire_put(&caught[0]);
    for (uint32_t i = 0; i < WAIT_MS && transport_framed_is_up(a, 3, NULL, NULL); i++)
        CU_ASSERT_EQUAL(receive(a, 8), 0);
    CU_ASSERT_FALSE(transport_framed_prove(a, 3, &r, &proof));
    wire_come_up();
    CU_ASSERT_EQUAL(p->sealed_long, 0); /* of another key */
    proof = proven(64);
    CU_ASSERT_TRUE(proves(&proof, 64));
    close_both();
}

/* The prover has another start: what the one before proved is void. */
static void a_proof_ends_with_its_start(void)
{
    configure();
    open_up();
    struct grant_proof proof = proven(64);
    transport_udp_close(a);
    config_a.start++;
    CU_ASSERT_EQUAL_FATAL(transport_udp_open(&a, &config_a, NULL), 0);
    introduce(a, b);
    CU_ASSERT_EQUAL(transport_framed_remove(b, 7), 0); /* the port is another one */
    introduce(b, a);
    come_up();
    CU_ASSERT_FALSE(proves(&proof, 64));
    proof = proven(64);
    CU_ASSERT_TRUE(proves(&proof, 64));
    close_both();
}

/* ---- nonces ---- */

static void frames_and_ranges_share_their_nonces(void)
{
    configure();
    wire_open_up();
    (void)wire_catch("first", 10);
    CU_ASSERT_EQUAL(caught[0].frame[32], 1);
    struct grant_proof proof = proven(64);
    CU_ASSERT_EQUAL(proof.bytes[0], 2);
    (void)wire_catch("second", 3000);
    CU_ASSERT_EQUAL(caught[0].frame[32], 3); /* in pieces */
    for (uint32_t i = 0; i < 3; i++)
        wire_put(&caught[i]);
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "second", 3000));
    CU_ASSERT_TRUE(proves(&proof, 64));
    close_both();
}

/* Whoever sees a proof, and the range, has a header and a tag that are sound together: they are no frame, and move
 * no window. */
static void a_proof_is_no_frame(void)
{
    struct frame_on_wire f = {.from_a = true, .length = FRAME_HEADER_BYTES + 64};
    configure();
    wire_open_up();
    struct grant_proof proof = proven(64);
    const struct frame_header h = {
        .version = FRAME_VERSION_HIGHEST,
        .flags = FRAME_RANGE,
        .lcore = 2,
        .key_id = 4,
        .node = 7,
        .length = 64,
        .cluster = CLUSTER,
        .start = START_A,
        .nonce = 1,
    };
    frame_header_encode(&h, f.frame);
    memcpy(f.frame + FRAME_TAG_AT, proof.bytes + TAG_AT, FRAME_TAG_BYTES);
    memcpy(f.frame + FRAME_HEADER_BYTES, bytes + 5, 64);
    for (uint32_t i = 1; i <= 2; i++) {
        wire_put(&f);
        CU_ASSERT_TRUE(refuses(b, FRAME_WRONG_TAG, i)); /* the second time, too */
    }
    CU_ASSERT_EQUAL(counters.refused[FRAME_REPLAYED] + counters.refused[FRAME_MALFORMED], 0);
    CU_ASSERT_TRUE(proves(&proof, 64));
    close_both();
}

static void a_key_without_nonces_proves_nothing(void)
{
    const struct grant_range r = range(64);
    struct grant_proof proof;
    configure();
    open_up();
    transport_framed_endpoint_of(a)->peers[0]->nonce = FRAME_NONCE_MAX - 1;
    CU_ASSERT_TRUE(transport_framed_prove(a, 3, &r, &proof));
    CU_ASSERT_TRUE(proves(&proof, 64));
    CU_ASSERT_FALSE(transport_framed_prove(a, 3, &r, &proof));
    count(a);
    CU_ASSERT_EQUAL(counters.nonces_out, 1);
    close_both();
}

/* ---- secrets of the control plane ---- */

/* Secret newest, and the one before, if any. */
static void tell(struct pair_secrets *table, uint32_t newest, uint32_t before, uint32_t seals)
{
    struct pair_secrets_view view = {.start = table == &table_a ? START_B : START_A,
                                     .seals = seals};
    view.secrets[0] = (struct pair_secret){.number = newest, .bytes = {(uint8_t)newest, 2}};
    if (before != 0)
        view.secrets[1] = (struct pair_secret){.number = before, .bytes = {(uint8_t)before, 2}};
    CU_ASSERT_EQUAL(pair_secrets_put(table, table == &table_a ? 3 : 7, &view), 0);
}

static void look(struct transport *t)
{
    now += NS_PER_MS;
    CU_ASSERT_EQUAL(receive(t, 8), 0);
    transport_release(t);
}

static void open_shared_up(uint64_t key_frames)
{
    configure();
    pair_secrets_init(&table_a);
    pair_secrets_init(&table_b);
    config_a.secrets = config_b.secrets = NULL;
    config_a.secret_count = config_b.secret_count = 0;
    config_a.pair_secrets = &table_a;
    config_b.pair_secrets = &table_b;
    config_a.key_frames = key_frames;
    open_both();
    tell(&table_a, 1, 0, 1);
    tell(&table_b, 1, 0, 1);
    come_up();
}

static void proofs_outlive_a_change_of_secrets(void)
{
    const struct grant_range r = range(64);
    struct grant_proof later;
    open_shared_up(0);
    struct grant_proof first = proven(64);
    tell(&table_a, 2, 1, 2);
    look(a);
    struct grant_proof second = proven(64);
    CU_ASSERT_EQUAL(first.bytes[8], 1);
    CU_ASSERT_EQUAL(second.bytes[8], 2);
    CU_ASSERT_FALSE(proves(&second, 64)); /* b was not told */
    tell(&table_b, 2, 1, 1);
    CU_ASSERT_TRUE(proves(&second, 64)); /* and looks by itself */
    CU_ASSERT_TRUE(proves(&first, 64));
    tell(&table_b, 2, 0, 2);
    look(b);
    CU_ASSERT_FALSE(proves(&first, 64)); /* it is void */
    CU_ASSERT_TRUE(proves(&second, 64));
    pair_secrets_fini(&table_a);
    pair_secrets_init(&table_a);
    tell(&table_a, 2, 0, 2);
    look(a);
    look(a);
    later = proven(64);
    CU_ASSERT_TRUE(proves(&later, 64));
    CU_ASSERT_FALSE(transport_framed_proves(a, 3, &r, &later));
    close_both();
}

/* The look for the secret of a proof finds that its node has another start. */
static void the_node_may_be_over_by_then(void)
{
    open_shared_up(0);
    struct grant_proof proof = proven(64);
    proof.bytes[8] = 9;
    const struct pair_secrets_view over = {
        .start = START_A + 1, .seals = 9, .secrets = {{.number = 9, .bytes = {9}}}};
    CU_ASSERT_EQUAL(pair_secrets_put(&table_b, 7, &over), 0);
    CU_ASSERT_FALSE(proves(&proof, 64));
    CU_ASSERT_FALSE(transport_framed_is_up(b, 7, NULL, NULL));
    close_both();
}

/* A range is as much of a key as the frames that it would fill. */
static void ranges_use_a_key_up(void)
{
    uint32_t ranges = 0;
    open_shared_up(240);
    while (ranges < 1000 && pair_secrets_spent(&table_a, 3) == 0) {
        (void)proven(32768); /* 23 frames of 1,400 bytes, and a nonce */
        ranges++;
        look(a);
    }
    CU_ASSERT_EQUAL(pair_secrets_spent(&table_a, 3), 1);
    CU_ASSERT_EQUAL(ranges, 10);
    tell(&table_a, 2, 1, 2); /* the next one begins anew */
    look(a);
    for (uint32_t i = 0; i < 9; i++)
        (void)proven(32768);
    look(a);
    CU_ASSERT_EQUAL(pair_secrets_spent(&table_a, 3), 1);
    (void)proven(32768);
    look(a);
    CU_ASSERT_EQUAL(pair_secrets_spent(&table_a, 3), 2);
    close_both();
}

static const struct unit_test tests[] = {
    UNIT_TEST(what_was_proven_is_taken_again_and_again),
    UNIT_TEST(each_bit_of_proof_and_range_counts),
    UNIT_TEST(a_proof_is_of_one_node_for_another),
    UNIT_TEST(nothing_is_proven_before_the_pair_is_up),
    UNIT_TEST(nothing_is_proven_between_two_starts),
    UNIT_TEST(a_proof_ends_with_its_start),
    UNIT_TEST(frames_and_ranges_share_their_nonces),
    UNIT_TEST(a_proof_is_no_frame),
    UNIT_TEST(a_key_without_nonces_proves_nothing),
    UNIT_TEST(proofs_outlive_a_change_of_secrets),
    UNIT_TEST(the_node_may_be_over_by_then),
    UNIT_TEST(ranges_use_a_key_up),
};

UNIT_MAIN("transport_framed_range", tests)
