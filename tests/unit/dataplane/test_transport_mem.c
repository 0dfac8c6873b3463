/* Endpoints of one hub, all driven by this thread. */
#include "dataplane/transport_mem.h"
#include "tests/unit/unit.h"

#include <sys/resource.h>
#include <unistd.h>

static const uint32_t ids[] = {7, 3, 40};

static struct transport_mem_hub *hub;
static struct transport *a, *b, *c; /* nodes 7, 3, 40 */
static struct transport_received in[4096];
static uint64_t holds[4096];
static uint8_t bytes[8192];

static void open(void)
{
    struct transport_mem_config config = {
        .nodes = ids,
        .node_count = 3,
        .lcore_count = 2,
        .queue_bytes = TRANSPORT_MEM_QUEUE_BYTES_MIN,
        .log_writes = true,
    };
    CU_ASSERT_EQUAL_FATAL(transport_mem_open(&hub, &config), 0);
    a = transport_mem_endpoint(hub, 7, 0);
    b = transport_mem_endpoint(hub, 3, 0);
    c = transport_mem_endpoint(hub, 40, 0);
    for (uint32_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + 11);
}

static void close_hub(void)
{
    transport_mem_close(hub);
    hub = NULL;
}

static struct transport_datagram to(uint32_t node, const char *head, uint64_t hold)
{
    return (struct transport_datagram){
        .to = node,
        .head_length = (uint32_t)strlen(head),
        .head = (const uint8_t *)head,
        .bytes = hold != 0 ? bytes : NULL,
        .length = hold != 0 ? 100 : 0,
        .hold = hold,
    };
}

/* Send one; whether it was taken. */
static bool send_one(struct transport *t, uint32_t node, const char *head, uint64_t hold)
{
    struct transport_datagram d = to(node, head, hold);
    return transport_send(t, &d, 1) == 1;
}

static bool head_is(const struct transport_received *r, const char *head)
{
    return r->head_length == strlen(head) && memcmp(r->head, head, r->head_length) == 0;
}

/* A wake that came since the last call. */
static bool was_woken(struct transport *t)
{
    uint64_t times = 0;
    return read(transport_wake_fd(t), &times, sizeof times) == sizeof times && times == 1;
}

/* ---- datagrams ---- */

static void a_datagram_arrives_with_its_bytes_in_place(void)
{
    open();
    CU_ASSERT_EQUAL(transport_receive(b, in, 8), 0);
    CU_ASSERT_TRUE(send_one(a, 3, "append", 5));
    CU_ASSERT_EQUAL(transport_receive(c, in, 8), 0);
    CU_ASSERT_EQUAL_FATAL(transport_receive(b, in, 8), 1);
    CU_ASSERT_EQUAL(in[0].from, 7);
    CU_ASSERT_TRUE(head_is(&in[0], "append"));
    CU_ASSERT_EQUAL((uintptr_t)in[0].head % 8, 0);
    CU_ASSERT_PTR_EQUAL(in[0].bytes, bytes);
    CU_ASSERT_EQUAL(in[0].length, 100);
    CU_ASSERT_EQUAL(transport_receive(b, in, 8), 0);
    close_hub();
}

static void bytes_are_held_until_the_receiver_released_them(void)
{
    open();
    CU_ASSERT_TRUE(send_one(a, 3, "x", 5));
    CU_ASSERT_EQUAL(transport_complete(a, holds, 8), 0);
    CU_ASSERT_EQUAL(transport_receive(b, in, 8), 1);
    CU_ASSERT_EQUAL(transport_complete(a, holds, 8), 0);
    transport_release(b);
    CU_ASSERT_EQUAL(transport_complete(b, holds, 8), 0);
    CU_ASSERT_EQUAL_FATAL(transport_complete(a, holds, 8), 1);
    CU_ASSERT_EQUAL(holds[0], 5);
    CU_ASSERT_EQUAL(transport_complete(a, holds, 8), 0);
    close_hub();
}

static void a_head_alone_completes_nothing(void)
{
    open();
    struct transport_datagram d = to(3, "echo", 0);
    d.hold = 77;
    CU_ASSERT_EQUAL(transport_send(a, &d, 1), 1);
    CU_ASSERT_EQUAL_FATAL(transport_receive(b, in, 8), 1);
    CU_ASSERT_PTR_NULL(in[0].bytes);
    CU_ASSERT_EQUAL(in[0].length, 0);
    transport_release(b);
    CU_ASSERT_EQUAL(transport_complete(a, holds, 8), 0);
    close_hub();
}

static void a_release_gives_back_every_receive_before_it(void)
{
    open();
    CU_ASSERT_TRUE(send_one(a, 3, "first", 1));
    CU_ASSERT_TRUE(send_one(c, 3, "second", 2));
    CU_ASSERT_EQUAL(transport_receive(b, in, 1), 1);
    CU_ASSERT_EQUAL(transport_receive(b, in + 1, 1), 1);
    CU_ASSERT_TRUE(in[0].from == 7 ? head_is(&in[0], "first") : head_is(&in[0], "second"));
    CU_ASSERT_TRUE(in[1].from == 7 ? head_is(&in[1], "first") : head_is(&in[1], "second"));
    transport_release(b);
    CU_ASSERT_EQUAL(transport_complete(a, holds, 8), 1);
    CU_ASSERT_EQUAL(transport_complete(c, holds, 8), 1);
    close_hub();
}

static void what_is_not_received_yet_is_not_released(void)
{
    open();
    CU_ASSERT_TRUE(send_one(a, 3, "first", 1));
    CU_ASSERT_TRUE(send_one(a, 3, "second", 2));
    CU_ASSERT_EQUAL(transport_receive(b, in, 1), 1);
    transport_release(b);
    CU_ASSERT_EQUAL_FATAL(transport_complete(a, holds, 8), 1);
    CU_ASSERT_EQUAL(holds[0], 1);
    CU_ASSERT_EQUAL_FATAL(transport_receive(b, in, 8), 1);
    CU_ASSERT_TRUE(head_is(&in[0], "second"));
    close_hub();
}

static void nobody_and_oneself_are_refused(void)
{
    open();
    struct transport_datagram d[3] = {to(3, "x", 0), to(8, "y", 1), to(3, "z", 0)};
    CU_ASSERT_EQUAL(transport_send(a, d, 3), 1);
    CU_ASSERT_EQUAL(transport_send(a, d + 2, 1), 1);
    d[1].to = 7;
    CU_ASSERT_EQUAL(transport_send(a, d + 1, 1), 0);
    CU_ASSERT_EQUAL(transport_receive(b, in, 8), 2);
    CU_ASSERT_EQUAL(transport_receive(a, in, 8), 0);
    transport_release(b);
    CU_ASSERT_EQUAL(transport_complete(a, holds, 8), 0);
    close_hub();
}

static void lcores_do_not_hear_each_other(void)
{
    open();
    struct transport *b1 = transport_mem_endpoint(hub, 3, 1);
    CU_ASSERT_TRUE(send_one(a, 3, "zero", 0));
    CU_ASSERT_EQUAL(transport_receive(b1, in, 8), 0);
    CU_ASSERT_TRUE(send_one(transport_mem_endpoint(hub, 40, 1), 3, "one", 0));
    CU_ASSERT_EQUAL_FATAL(transport_receive(b1, in, 8), 1);
    CU_ASSERT_TRUE(head_is(&in[0], "one"));
    CU_ASSERT_EQUAL_FATAL(transport_receive(b, in, 8), 1);
    CU_ASSERT_TRUE(head_is(&in[0], "zero"));
    CU_ASSERT_PTR_NULL(transport_mem_endpoint(hub, 3, 2));
    CU_ASSERT_PTR_NULL(transport_mem_endpoint(hub, 4, 0));
    close_hub();
}

/* ---- full queues, many laps ---- */

static uint32_t fill(struct transport *t, uint32_t node)
{
    uint32_t count = 0;
    while (count < 1000 && send_one(t, node, "full", count + 1))
        count++;
    return count;
}

static void a_full_queue_refuses_and_stops_no_other_peer(void)
{
    open();
    uint32_t count = fill(a, 3);
    CU_ASSERT_EQUAL(count, TRANSPORT_MEM_QUEUE_BYTES_MIN / TRANSPORT_MEM_GRANULE);
    CU_ASSERT_TRUE(send_one(a, 40, "x", 0));
    CU_ASSERT_EQUAL(transport_receive(b, in, 10), 10);
    CU_ASSERT_FALSE(send_one(a, 3, "full", 1));
    transport_release(b);
    CU_ASSERT_FALSE(send_one(a, 3, "full", 1)); /* places come back by complete */
    CU_ASSERT_EQUAL(transport_complete(a, holds, 4), 4);
    CU_ASSERT_EQUAL(transport_complete(a, holds + 4, 100), 6);
    for (uint64_t i = 0; i < 10; i++)
        CU_ASSERT_EQUAL(holds[i], i + 1);
    CU_ASSERT_EQUAL(fill(a, 3), 10);
    CU_ASSERT_EQUAL(transport_receive(b, in, 4096), count);
    close_hub();
}

static void heads_without_bytes_need_no_completion_for_their_places(void)
{
    open();
    for (uint32_t lap = 0; lap < 3; lap++) {
        uint32_t count = 0;
        while (count < 1000 && send_one(a, 3, "head", 0))
            count++;
        CU_ASSERT_EQUAL(count, TRANSPORT_MEM_QUEUE_BYTES_MIN / TRANSPORT_MEM_GRANULE);
        CU_ASSERT_EQUAL(transport_receive(b, in, 4096), count);
        transport_release(b);
    }
    close_hub();
}

static void heads_of_every_length_pass_round_the_ring(void)
{
    static uint8_t head[TRANSPORT_HEAD_MAX];
    open();
    for (uint32_t length = 0; length <= TRANSPORT_HEAD_MAX; length++) {
        for (uint32_t i = 0; i < length; i++)
            head[i] = (uint8_t)(i + length);
        struct transport_datagram d = {.to = 3,
                                       .head = head,
                                       .head_length = length,
                                       .bytes = bytes + length,
                                       .length = length,
                                       .hold = length};
        CU_ASSERT_EQUAL_FATAL(transport_send(a, &d, 1), 1);
        CU_ASSERT_EQUAL_FATAL(transport_receive(b, in, 8), 1);
        CU_ASSERT_EQUAL(in[0].head_length, length);
        CU_ASSERT_EQUAL(memcmp(in[0].head, head, length), 0);
        CU_ASSERT_PTR_EQUAL(in[0].bytes, bytes + length);
        CU_ASSERT_EQUAL(in[0].length, length);
        transport_release(b);
        CU_ASSERT_EQUAL_FATAL(transport_complete(a, holds, 8), 1);
        CU_ASSERT_EQUAL(holds[0], length);
    }
    close_hub();
}

static void one_busy_peer_starves_no_other(void)
{
    open();
    uint32_t from_c = 0;
    (void)fill(a, 3);
    for (uint32_t round = 0; round < 8; round++) {
        CU_ASSERT_TRUE(send_one(c, 3, "c", 0));
        CU_ASSERT_EQUAL(transport_receive(b, in, 4), 4);
        for (uint32_t i = 0; i < 4; i++)
            from_c += in[i].from == 40;
        transport_release(b);
    }
    CU_ASSERT(from_c >= 3);
    close_hub();
}

/* ---- log writes ---- */

static struct {
    uint32_t calls, from, length;
    struct grant_token token;
    const uint8_t *bytes;
} placed;

static void place(void *context, uint32_t from, const struct grant_token *token,
                  const uint8_t *source, uint32_t length)
{
    CU_ASSERT_PTR_EQUAL(context, &placed);
    placed.calls++;
    placed.from = from;
    placed.token = *token;
    placed.bytes = source;
    placed.length = length;
}

static const struct transport_log_write write_to_b = {
    .to = 3, .token = {UINT64_C(1) << 40, 9}, .bytes = bytes + 8, .length = 640, .hold = 4};

static void a_log_write_is_placed_during_receive(void)
{
    open();
    memset(&placed, 0, sizeof placed);
    b->place = place;
    b->place_context = &placed;
    CU_ASSERT_TRUE(transport_can_log_write(a));
    CU_ASSERT_EQUAL(transport_log_write(a, &write_to_b), 0);
    CU_ASSERT_TRUE(send_one(a, 3, "announce", 0));
    CU_ASSERT_EQUAL(placed.calls, 0);
    CU_ASSERT_EQUAL_FATAL(transport_receive(b, in, 8), 1);
    CU_ASSERT_TRUE(head_is(&in[0], "announce"));
    CU_ASSERT_EQUAL(placed.calls, 1);
    CU_ASSERT_EQUAL(placed.from, a->node);
    CU_ASSERT_EQUAL(placed.token.key, 9);
    CU_ASSERT_EQUAL(placed.token.address, UINT64_C(1) << 40);
    CU_ASSERT_PTR_EQUAL(placed.bytes, bytes + 8);
    CU_ASSERT_EQUAL(placed.length, 640);
    CU_ASSERT_EQUAL(transport_complete(a, holds, 8), 0);
    transport_release(b);
    CU_ASSERT_EQUAL(transport_complete(a, holds, 8), 1);
    CU_ASSERT_EQUAL(holds[0], 4);
    close_hub();
}

static void a_log_write_that_nobody_takes_completes(void)
{
    open();
    CU_ASSERT_EQUAL(transport_log_write(a, &write_to_b), 0);
    CU_ASSERT_EQUAL(transport_receive(b, in, 8), 0);
    transport_release(b);
    CU_ASSERT_EQUAL(transport_complete(a, holds, 8), 1);
    close_hub();
}

static void a_log_write_is_refused_by_name(void)
{
    open();
    struct transport_log_write w = write_to_b;
    w.to = 8;
    CU_ASSERT_EQUAL(transport_log_write(a, &w), -ENXIO);
    (void)fill(a, 3);
    CU_ASSERT_EQUAL(transport_log_write(a, &write_to_b), -EAGAIN);
    close_hub();
    const struct transport_mem_config without = {.nodes = ids, .node_count = 3, .lcore_count = 1};
    CU_ASSERT_EQUAL_FATAL(transport_mem_open(&hub, &without), 0);
    a = transport_mem_endpoint(hub, 7, 0);
    CU_ASSERT_EQUAL(transport_log_write(a, &write_to_b), -EOPNOTSUPP);
    close_hub();
}

/* ---- sleeping ---- */

static void a_sleeper_is_woken_once(void)
{
    open();
    CU_ASSERT_TRUE(send_one(a, 3, "awake", 0));
    CU_ASSERT_FALSE(was_woken(b));
    CU_ASSERT_EQUAL(transport_receive(b, in, 8), 1);
    transport_release(b);
    CU_ASSERT_TRUE(transport_sleep(b));
    CU_ASSERT_TRUE(send_one(a, 40, "not you", 0));
    CU_ASSERT_FALSE(was_woken(b));
    struct transport_datagram d[2] = {to(3, "x", 0), to(3, "y", 0)};
    CU_ASSERT_EQUAL(transport_send(a, d, 2), 2);
    CU_ASSERT_TRUE(send_one(c, 3, "z", 0));
    CU_ASSERT_TRUE(was_woken(b)); /* that is, one time */
    transport_awake(b);
    CU_ASSERT_TRUE(send_one(a, 3, "again", 0));
    CU_ASSERT_FALSE(was_woken(b));
    close_hub();
}

static void a_sleeper_that_woke_by_itself_is_left_alone(void)
{
    open();
    CU_ASSERT_TRUE(transport_sleep(b));
    transport_awake(b);
    CU_ASSERT_TRUE(send_one(a, 3, "x", 0));
    CU_ASSERT_FALSE(was_woken(b));
    close_hub();
}

static void a_log_write_wakes(void)
{
    open();
    CU_ASSERT_TRUE(transport_sleep(b));
    CU_ASSERT_EQUAL(transport_log_write(a, &write_to_b), 0);
    CU_ASSERT_TRUE(was_woken(b));
    close_hub();
}

static void who_has_work_does_not_sleep(void)
{
    open();
    CU_ASSERT_TRUE(send_one(a, 3, "x", 1));
    CU_ASSERT_FALSE(transport_sleep(b)); /* not received */
    CU_ASSERT_TRUE(send_one(a, 3, "y", 2));
    CU_ASSERT_FALSE(was_woken(b));      /* it said no: the flag is down */
    CU_ASSERT_TRUE(transport_sleep(a)); /* completions that are not there keep nobody awake */
    CU_ASSERT_EQUAL(transport_receive(b, in, 8), 2);
    CU_ASSERT_FALSE(transport_sleep(b)); /* not released */
    transport_release(b);
    CU_ASSERT_TRUE(transport_sleep(b));
    CU_ASSERT_FALSE(transport_sleep(a)); /* those that are there do */
    CU_ASSERT_EQUAL(transport_complete(a, holds, 8), 2);
    CU_ASSERT_TRUE(transport_sleep(a));
    close_hub();
}

/* ---- leaving ---- */

static void who_left_holds_nothing(void)
{
    open();
    CU_ASSERT_TRUE(send_one(a, 3, "x", 1));
    CU_ASSERT_TRUE(send_one(a, 3, "y", 2));
    CU_ASSERT_TRUE(send_one(b, 7, "last words", 3));
    CU_ASSERT_EQUAL(transport_receive(b, in, 1), 1);
    transport_mem_leave(b);
    CU_ASSERT_EQUAL(transport_complete(a, holds, 8), 2);
    CU_ASSERT_TRUE(send_one(a, 3, "z", 4));
    CU_ASSERT_EQUAL(transport_complete(a, holds, 8), 1);
    CU_ASSERT_EQUAL(holds[0], 4);
    for (uint32_t i = 0; i < 2 * TRANSPORT_MEM_QUEUE_BYTES_MIN / TRANSPORT_MEM_GRANULE; i++)
        CU_ASSERT_TRUE_FATAL(send_one(a, 3, "nobody", 0));
    CU_ASSERT_EQUAL(transport_receive(a, in, 8), 1);
    CU_ASSERT_EQUAL(transport_complete(b, holds, 8), 0);
    transport_release(a);
    CU_ASSERT_EQUAL(transport_complete(b, holds, 8), 1);
    close_hub();
}

/* ---- delays ---- */

struct delayed {
    uint32_t received, completed, out_of_order;
    uint64_t trace; /* of what came when */
};

/* Send count messages, pass until all are received and completed; early: overwrite the bytes before
 * the completion, as soon as they are received (1), or sent (2). */
static struct delayed run_delayed(uint64_t seed, uint32_t count, int early)
{
    struct delayed d = {.received = 0};
    uint64_t last = 0;
    open();
    transport_mem_delay(hub, seed);
    for (uint32_t i = 0; i < count; i++)
        CU_ASSERT_TRUE_FATAL(send_one(a, 3, "late", i + 1));
    if (early == 2)
        bytes[50] ^= 1;
    for (uint32_t pass = 0; pass < 10000 && d.completed < count; pass++) {
        uint32_t got = transport_receive(b, in, 16);
        transport_release(b);
        d.received += got;
        if (early == 1 && d.received == count)
            bytes[50] ^= 1;
        early -= early == 1 && d.received == count;
        uint32_t back = transport_complete(a, holds, 16);
        d.completed += back;
        d.trace = (d.trace + got * 31 + back) * UINT64_C(0x9e3779b97f4a7c15);
        for (uint32_t i = 0; i < back; i++) {
            d.out_of_order += holds[i] < last;
            last = holds[i];
        }
    }
    return d;
}

static void delayed_messages_arrive_and_complete(void)
{
    uint32_t out_of_order = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct delayed d = run_delayed(seed, 100, 0);
        CU_ASSERT_EQUAL(d.received, 100);
        CU_ASSERT_EQUAL(d.completed, 100);
        CU_ASSERT_EQUAL(transport_mem_damaged(hub), 0);
        out_of_order += d.out_of_order;
        close_hub();
    }
    CU_ASSERT(out_of_order > 20);
}

static void a_seed_gives_the_same_delays(void)
{
    struct delayed one = run_delayed(5, 100, 0);
    close_hub();
    struct delayed again = run_delayed(5, 100, 0);
    close_hub();
    struct delayed other = run_delayed(6, 100, 0);
    close_hub();
    CU_ASSERT_EQUAL(one.trace, again.trace);
    CU_ASSERT_NOT_EQUAL(one.trace, other.trace);
}

static void memory_reused_before_it_is_received_is_found(void)
{
    struct delayed d = run_delayed(1, 30, 2);
    CU_ASSERT_EQUAL(d.completed, 30);
    CU_ASSERT_EQUAL(transport_mem_damaged(hub), 30);
    close_hub();
}

static void memory_reused_before_its_completion_is_found(void)
{
    uint64_t damaged = 0;
    for (uint64_t seed = 0; seed < 10; seed++) {
        CU_ASSERT_EQUAL(run_delayed(seed, 30, 1).completed, 30);
        damaged += transport_mem_damaged(hub);
        close_hub();
    }
    CU_ASSERT(damaged >= 5);
}

static void nobody_sleeps_on_delayed_work(void)
{
    open();
    transport_mem_delay(hub, 3);
    for (uint32_t i = 0; i < 50; i++)
        CU_ASSERT_TRUE_FATAL(send_one(a, 3, "late", i + 1));
    uint32_t received = 0;
    for (uint32_t pass = 0; pass < 10000 && !transport_sleep(b); pass++) {
        received += transport_receive(b, in, 16);
        transport_release(b);
    }
    CU_ASSERT_EQUAL(received, 50);
    uint32_t completed = 0;
    for (uint32_t pass = 0; pass < 10000 && !transport_sleep(a); pass++)
        completed += transport_complete(a, holds, 16);
    CU_ASSERT_EQUAL(completed, 50);
    close_hub();
}

/* ---- set-up ---- */

static int open_with(uint32_t nodes, uint32_t lcores, uint32_t queue_bytes)
{
    static uint32_t many[LIMIT_NODES + 1];
    for (uint32_t i = 0; i < LIMIT_NODES + 1; i++)
        many[i] = i + 1;
    struct transport_mem_config config = {
        .nodes = many,
        .node_count = nodes,
        .lcore_count = lcores,
        .queue_bytes = queue_bytes,
    };
    int error = transport_mem_open(&hub, &config);
    if (error == 0)
        close_hub();
    return error;
}

static void what_makes_no_sense_is_refused(void)
{
    CU_ASSERT_EQUAL(open_with(1, 1, 0), 0);
    CU_ASSERT_EQUAL(open_with(LIMIT_NODES, 1, TRANSPORT_MEM_QUEUE_BYTES_MIN), 0);
    CU_ASSERT_EQUAL(open_with(2, LIMIT_LCORES, TRANSPORT_MEM_QUEUE_BYTES_MAX), 0);
    CU_ASSERT_EQUAL(open_with(0, 1, 0), -EINVAL);
    CU_ASSERT_EQUAL(open_with(LIMIT_NODES + 1, 1, 0), -EINVAL);
    CU_ASSERT_EQUAL(open_with(3, 0, 0), -EINVAL);
    CU_ASSERT_EQUAL(open_with(3, LIMIT_LCORES + 1, 0), -EINVAL);
    CU_ASSERT_EQUAL(open_with(3, 1, TRANSPORT_MEM_QUEUE_BYTES_MIN / 2), -EINVAL);
    CU_ASSERT_EQUAL(open_with(3, 1, TRANSPORT_MEM_QUEUE_BYTES_MAX * 2), -EINVAL);
    CU_ASSERT_EQUAL(open_with(3, 1, TRANSPORT_MEM_QUEUE_BYTES_MIN + 64), -EINVAL);
    static const uint32_t twice[] = {4, 5, 4};
    struct transport_mem_config config = {.nodes = twice, .node_count = 3, .lcore_count = 1};
    CU_ASSERT_EQUAL(transport_mem_open(&hub, &config), -EINVAL);
}

static void a_lack_of_descriptors_leaves_nothing_behind(void)
{
    struct rlimit before, few;
    int next = dup(0); /* lowest descriptor that is free */
    CU_ASSERT_FATAL(next >= 0);
    (void)close(next);
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = (rlim_t)next + 4;
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &few), 0);
    CU_ASSERT_EQUAL(open_with(3, 2, 0), -EMFILE);
    CU_ASSERT_EQUAL(open_with(2, 2, 0), 0);
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &before), 0);
    int after = dup(0);
    CU_ASSERT_EQUAL(after, next);
    (void)close(after);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_datagram_arrives_with_its_bytes_in_place),
    UNIT_TEST(bytes_are_held_until_the_receiver_released_them),
    UNIT_TEST(a_head_alone_completes_nothing),
    UNIT_TEST(a_release_gives_back_every_receive_before_it),
    UNIT_TEST(what_is_not_received_yet_is_not_released),
    UNIT_TEST(nobody_and_oneself_are_refused),
    UNIT_TEST(lcores_do_not_hear_each_other),
    UNIT_TEST(a_full_queue_refuses_and_stops_no_other_peer),
    UNIT_TEST(heads_without_bytes_need_no_completion_for_their_places),
    UNIT_TEST(heads_of_every_length_pass_round_the_ring),
    UNIT_TEST(one_busy_peer_starves_no_other),
    UNIT_TEST(a_log_write_is_placed_during_receive),
    UNIT_TEST(a_log_write_that_nobody_takes_completes),
    UNIT_TEST(a_log_write_is_refused_by_name),
    UNIT_TEST(a_sleeper_is_woken_once),
    UNIT_TEST(a_sleeper_that_woke_by_itself_is_left_alone),
    UNIT_TEST(a_log_write_wakes),
    UNIT_TEST(who_has_work_does_not_sleep),
    UNIT_TEST(who_left_holds_nothing),
    UNIT_TEST(delayed_messages_arrive_and_complete),
    UNIT_TEST(a_seed_gives_the_same_delays),
    UNIT_TEST(memory_reused_before_it_is_received_is_found),
    UNIT_TEST(memory_reused_before_its_completion_is_found),
    UNIT_TEST(nobody_sleeps_on_delayed_work),
    UNIT_TEST(what_makes_no_sense_is_refused),
    UNIT_TEST(a_lack_of_descriptors_leaves_nothing_behind),
};
UNIT_MAIN("transport_mem", tests)
