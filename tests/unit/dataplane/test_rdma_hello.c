/* What the ends of a connection tell each other: byte for byte, and what is refused of it. */
#include "dataplane/rdma_port.h"
#include "tests/unit/unit.h"

#define PLACES 256u

static const struct rdma_hello hello = {.version = RDMA_HELLO_VERSION,
                                        .lcore = 3,
                                        .from = 1,
                                        .to = 2,
                                        .cluster = UINT64_C(0x1122334455667788),
                                        .number = 7,
                                        .messages = PLACES,
                                        .key = 0xaabbccdd,
                                        .address = UINT64_C(0x7f0011223340),
                                        .message_bytes = 8960};
static uint8_t bytes[RDMA_HELLO_BYTES + 1];

static int decoded(struct rdma_hello h)
{
    struct rdma_hello back;
    rdma_hello_encode(&h, bytes);
    return rdma_hello_decode(&back, bytes, RDMA_HELLO_BYTES);
}

/* One byte of a sound hello is another. */
static int changed(uint32_t at, uint8_t to)
{
    struct rdma_hello back;
    rdma_hello_encode(&hello, bytes);
    bytes[at] = to;
    return rdma_hello_decode(&back, bytes, RDMA_HELLO_BYTES);
}

static void it_is_these_bytes(void)
{
    static const uint8_t wire[RDMA_HELLO_BYTES] = {
        0x44, 0x55, 0x4e, 0x52,                         /* "DUNR" */
        1,    0,                                        /* version */
        3,    0,                                        /* lcore */
        1,    0,    0,    0,                            /* from */
        2,    0,    0,    0,                            /* to */
        0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, /* cluster */
        7,    0,    0,    0,                            /* number */
        0,    1,    0,    0,                            /* messages */
        0xdd, 0xcc, 0xbb, 0xaa,                         /* key */
        0,    0x23, 0,    0,                            /* message_bytes */
        0x40, 0x33, 0x22, 0x11, 0,    0x7f, 0,    0,    /* address */
    };
    rdma_hello_encode(&hello, bytes);
    CU_ASSERT_EQUAL(memcmp(bytes, wire, sizeof wire), 0);
}

static void what_is_told_is_heard(void)
{
    struct rdma_hello back = {0};
    rdma_hello_encode(&hello, bytes);
    bytes[RDMA_HELLO_BYTES] = 0xff; /* librdmacm gives more than was told */
    CU_ASSERT_EQUAL(rdma_hello_decode(&back, bytes, sizeof bytes), 0);
    CU_ASSERT_EQUAL(back.version, hello.version);
    CU_ASSERT_EQUAL(back.lcore, hello.lcore);
    CU_ASSERT_EQUAL(back.from, hello.from);
    CU_ASSERT_EQUAL(back.to, hello.to);
    CU_ASSERT_EQUAL(back.cluster, hello.cluster);
    CU_ASSERT_EQUAL(back.number, hello.number);
    CU_ASSERT_EQUAL(back.messages, hello.messages);
    CU_ASSERT_EQUAL(back.key, hello.key);
    CU_ASSERT_EQUAL(back.address, hello.address);
    CU_ASSERT_EQUAL(back.message_bytes, hello.message_bytes);
}

static void what_is_too_short_or_of_others_is_refused(void)
{
    struct rdma_hello back;
    rdma_hello_encode(&hello, bytes);
    CU_ASSERT_EQUAL(rdma_hello_decode(&back, bytes, RDMA_HELLO_BYTES - 1), -EPROTO);
    CU_ASSERT_EQUAL(rdma_hello_decode(&back, bytes, 0), -EPROTO);
    for (uint32_t i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(changed(i, 0), -EPROTO);
    CU_ASSERT_EQUAL(changed(4, 0), -EPROTONOSUPPORT);
    CU_ASSERT_EQUAL(changed(4, 2), -EPROTONOSUPPORT);
    CU_ASSERT_EQUAL(changed(5, 1), -EPROTONOSUPPORT);
    for (uint32_t i = 48; i < RDMA_HELLO_BYTES; i++)
        CU_ASSERT_EQUAL(changed(i, 1), -EPROTO);
}

static void nodes_lcores_and_numbers_are_judged(void)
{
    struct rdma_hello h = hello;
    h.lcore = LIMIT_LCORES - 1;
    CU_ASSERT_EQUAL(decoded(h), 0);
    h.lcore = LIMIT_LCORES;
    CU_ASSERT_EQUAL(decoded(h), -EPROTO);
    h = hello;
    h.to = h.from;
    CU_ASSERT_EQUAL(decoded(h), -EPROTO);
    h = hello;
    h.number = 0;
    CU_ASSERT_EQUAL(decoded(h), -EPROTO);
}

static void places_and_lengths_are_judged(void)
{
    static const uint32_t bad_messages[] = {0, 3, 255, 2 * RDMA_PORT_MESSAGES_MAX, UINT32_MAX};
    static const uint32_t bad_bytes[] = {0, 1, 100, RDMA_PORT_MESSAGE_BYTES_MAX + 64, UINT32_MAX};
    struct rdma_hello h = hello;
    h.messages = 1;
    CU_ASSERT_EQUAL(decoded(h), 0);
    h.messages = RDMA_PORT_MESSAGES_MAX;
    h.message_bytes = RDMA_PORT_MESSAGE_BYTES_MAX;
    CU_ASSERT_EQUAL(decoded(h), 0);
    for (uint32_t i = 0; i < 5; i++) {
        h = hello;
        h.messages = bad_messages[i];
        CU_ASSERT_EQUAL(decoded(h), -EPROTO);
        h = hello;
        h.message_bytes = bad_bytes[i];
        CU_ASSERT_EQUAL(decoded(h), -EPROTO);
    }
}

static void an_inlet_lies_in_one_piece(void)
{
    const uint64_t length = sizeof(struct rdma_inlet) + (uint64_t)PLACES * RDMA_PORT_SLOT_BYTES;
    struct rdma_hello h = hello;
    h.address = 0;
    CU_ASSERT_EQUAL(decoded(h), -EPROTO);
    h.address = hello.address + 8;
    CU_ASSERT_EQUAL(decoded(h), -EPROTO);
    h.address = (UINT64_MAX - length) & ~UINT64_C(63);
    CU_ASSERT_EQUAL(decoded(h), 0);
    h.address += 64;
    CU_ASSERT_EQUAL(decoded(h), -EPROTO);
}

static void acknowledgements_are_awaited_so_long_at_least(void)
{
    static const struct {
        uint64_t ns;
        uint32_t timeout;
    } cases[] = {{0, 1},
                 {8192, 1},
                 {8193, 2},
                 {16 * NS_PER_MS, RDMA_PORT_ACK_TIMEOUT},
                 {17 * NS_PER_MS, RDMA_PORT_ACK_TIMEOUT + 1},
                 {4 * NS_PER_S, 20},
                 {UINT64_C(4096) << 31, RDMA_PORT_ACK_TIMEOUT_MAX},
                 {UINT64_MAX, RDMA_PORT_ACK_TIMEOUT_MAX}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CU_ASSERT_EQUAL(rdma_ack_timeout(cases[i].ns), cases[i].timeout);
}

static const struct unit_test tests[] = {
    UNIT_TEST(it_is_these_bytes),
    UNIT_TEST(what_is_told_is_heard),
    UNIT_TEST(what_is_too_short_or_of_others_is_refused),
    UNIT_TEST(nodes_lcores_and_numbers_are_judged),
    UNIT_TEST(places_and_lengths_are_judged),
    UNIT_TEST(an_inlet_lies_in_one_piece),
    UNIT_TEST(acknowledgements_are_awaited_so_long_at_least),
};
UNIT_MAIN("rdma_hello", tests)
