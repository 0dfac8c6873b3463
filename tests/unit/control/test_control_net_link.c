/* Two nodes and a kernel that takes what it likes: messages of one turn share a record and a write; what is not
 * taken at once comes later, in order; who sends and then closes has sent. */
#include "control/control_net_link.h"

#include "tests/unit/control/control_net_nodes.h"
#include "tests/unit/unit.h"

#define RECORD_OVERHEAD (5u + 1u + 16u) /* head, type, tag: RFC 8446, 5.2 */
#define MANY 3000u                      /* 6 MB: more than a link writes in a turn */
#define TURNS 50u                       /* in which nothing is to happen */

static struct net_nodes nodes;
static struct net_nodes *const t = &nodes;

/* ---- the kernel ---- */

#define TAKES_ALL UINT32_MAX

static struct {
    uint32_t takes; /* bytes of each write; 0: it would block */
    int error;      /* of the next write; 0: none */
    uint32_t calls;
    size_t bytes; /* offered */
} kernel;

/* NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): names that the linker gives */
int __wrap_uv_try_write(uv_stream_t *stream, const uv_buf_t *buffers, unsigned count);
int __real_uv_try_write(uv_stream_t *stream, const uv_buf_t *buffers, unsigned count);

int __wrap_uv_try_write(uv_stream_t *stream, const uv_buf_t *buffers, unsigned count)
{
    int error = kernel.error;
    kernel.calls++;
    kernel.error = 0;
    CU_ASSERT_EQUAL_FATAL(count, 1);
    kernel.bytes += buffers[0].len;
    if (error != 0 || kernel.takes == 0)
        return error != 0 ? error : UV_EAGAIN;
    uv_buf_t part = uv_buf_init(buffers[0].base, (unsigned)min_u64(buffers[0].len, kernel.takes));
    return __real_uv_try_write(stream, &part, 1);
}
/* NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming) */

static void kernel_reset(uint32_t takes)
{
    kernel.takes = takes;
    kernel.error = 0;
    kernel.calls = 0;
    kernel.bytes = 0;
}

/* ---- requests ---- */

static struct told {
    struct control_net_request request;
    uint32_t calls;
    int error;
} told;

static void on_sent(struct control_net_request *r, int error)
{
    struct told *at = r->data;
    at->calls++;
    at->error = error;
}

static int send_told(uint32_t from, uint32_t to, size_t length)
{
    static const uint8_t bytes[1024];
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
    told = (struct told){.request = {.sent = on_sent, .data = &told}, .error = 1};
    return control_net_send(t->nodes[from].net, to, 3, &piece, 1, &told.request);
}

/* ---- the tests ---- */

static uint64_t wanted;

static bool two_has_all(struct net_nodes *n)
{
    return n->nodes[2].received[1] == wanted;
}

static bool is_told(struct net_nodes *n)
{
    (void)n;
    return told.calls != 0;
}

static void begin(void)
{
    kernel_reset(TAKES_ALL);
    net_nodes_init(t);
    net_open_all(t);
    /* Of handshakes nothing is left to be said. */
    for (uint32_t i = 0; i < TURNS; i++)
        (void)uv_run(&t->loop, UV_RUN_NOWAIT);
    kernel_reset(TAKES_ALL);
}

static void expect_all_in_order(uint64_t count)
{
    wanted = count;
    CU_ASSERT(net_until(t, two_has_all));
    CU_ASSERT_EQUAL(t->nodes[2].received[1], count);
    CU_ASSERT_EQUAL(t->nodes[2].disordered, 0);
    CU_ASSERT_EQUAL(t->nodes[2].damaged, 0);
}

static void messages_of_a_turn_share_a_record_and_a_write(void)
{
    begin();
    for (uint32_t i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(send_told(1, 2, 100 + i), 0);
    CU_ASSERT_EQUAL(kernel.calls, 0);
    CU_ASSERT_EQUAL(told.error, 1); /* never from within send */
    wanted = 5;
    CU_ASSERT(net_until(t, two_has_all));
    CU_ASSERT_EQUAL(kernel.calls, 1);
    CU_ASSERT_EQUAL(kernel.bytes,
                    5 * CONTROL_FRAME_HEAD_BYTES + 100 + 101 + 102 + 103 + 104 + RECORD_OVERHEAD);
    CU_ASSERT_EQUAL(told.error, 0);
    /* The next turn's are another record. */
    CU_ASSERT_EQUAL(send_told(1, 2, 1), 0);
    wanted = 6;
    CU_ASSERT(net_until(t, two_has_all));
    CU_ASSERT_EQUAL(kernel.calls, 2);
    net_nodes_fini(t);
}

static void who_says_nothing_writes_nothing(void)
{
    begin();
    for (uint32_t i = 0; i < TURNS; i++)
        (void)uv_run(&t->loop, UV_RUN_NOWAIT);
    CU_ASSERT_EQUAL(kernel.calls, 0);
    net_nodes_fini(t);
}

/* Messages of one turn that the kernel takes like that. */
static void expect_through(uint32_t takes, uint64_t count)
{
    begin();
    kernel.takes = takes;
    for (uint64_t i = 0; i < count; i++)
        CU_ASSERT_EQUAL(net_send(t, 1, 2, i), 0);
    expect_all_in_order(count);
    CU_ASSERT(kernel.calls != 0);
    /* And once more when all of it is gone. */
    for (uint64_t i = count; i < count + 3; i++)
        CU_ASSERT_EQUAL(net_send(t, 1, 2, i), 0);
    expect_all_in_order(count + 3);
    kernel.takes = TAKES_ALL;
    net_nodes_fini(t);
}

static void what_would_block_comes_later(void)
{
    expect_through(0, 20);
    expect_through(0, MANY);
}

static void what_is_taken_in_part_comes_whole(void)
{
    static const uint32_t parts[] = {1, 4, 5, 1000, 16384, 16385, 131071};
    for (uint32_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        expect_through(parts[i], 100);
}

static void more_than_a_turn_writes_arrives_in_order(void)
{
    expect_through(TAKES_ALL, MANY);
}

/* Why told when it is written: who waits for that frees what the message was made of. */
static void a_request_that_would_block_is_told_when_it_is_written(void)
{
    begin();
    kernel.takes = 0;
    CU_ASSERT_EQUAL(send_told(1, 2, 1000), 0);
    CU_ASSERT(net_until(t, is_told));
    CU_ASSERT(told.calls == 1 && told.error == 0);
    wanted = 1;
    CU_ASSERT(net_until(t, two_has_all));
    kernel.takes = TAKES_ALL;
    net_nodes_fini(t);
}

static bool one_lost_two(struct net_nodes *n)
{
    return n->nodes[1].downs[2] == 1;
}

static void a_write_that_fails_ends_the_link(void)
{
    begin();
    CU_ASSERT_EQUAL(send_told(1, 2, 10), 0);
    kernel.error = UV_EPIPE;
    CU_ASSERT(net_until(t, is_told));
    CU_ASSERT(told.calls == 1 && told.error == -ECONNRESET);
    CU_ASSERT(net_until(t, one_lost_two));
    CU_ASSERT(net_until(t, net_all_up)); /* by a new one */
    net_nodes_fini(t);
}

static void who_sends_and_then_closes_has_sent(void)
{
    begin();
    for (uint64_t i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(net_send(t, 1, 2, i), 0);
    net_close(t, 1);
    expect_all_in_order(5);
    net_nodes_fini(t);
}

static const struct unit_test tests[] = {
    UNIT_TEST(messages_of_a_turn_share_a_record_and_a_write),
    UNIT_TEST(who_says_nothing_writes_nothing),
    UNIT_TEST(what_would_block_comes_later),
    UNIT_TEST(what_is_taken_in_part_comes_whole),
    UNIT_TEST(more_than_a_turn_writes_arrives_in_order),
    UNIT_TEST(a_request_that_would_block_is_told_when_it_is_written),
    UNIT_TEST(a_write_that_fails_ends_the_link),
    UNIT_TEST(who_sends_and_then_closes_has_sent),
};
UNIT_MAIN("control_net_link", tests)
