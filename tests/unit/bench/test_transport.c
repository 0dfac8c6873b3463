/* Sides of the transport bench: what is sent over each link comes whole, and both processes do their part. */
#include "bench/transport_raw.h"
#include "bench/transport_sealed.h"
#include "dataplane/transport_udp.h"
#include "engine/clock.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#define WAIT_NS (20 * NS_PER_S) /* what has not come by then never comes */
#define LENGTH 65536u

static const struct transport_link *link_at;
static void *ends[2];
static uint8_t *bytes;

/* Kinds of links: three raw ones, then sealed ones by the bits of what is left.  False: not here. */
#define KINDS 7u
static bool open_kind(uint32_t kind)
{
    const struct transport_sealed_shape shape = {
        .authentic_only = (kind & 1) != 0,
        .plain_socket = (kind & 2) != 0,
        .frame_bytes = TRANSPORT_FRAMED_FRAME_BYTES,
    };
    int rc;
    if (kind < 3) {
        link_at = &transport_raw_link;
        rc = transport_raw_open(ends, (enum transport_raw_kind)kind, TRANSPORT_FRAMED_FRAME_BYTES);
    } else {
        link_at = &transport_sealed_link;
        rc = transport_sealed_open(ends, &shape);
    }
    CU_ASSERT_FATAL(rc == 0 || (kind == TRANSPORT_RAW_OFFLOAD && rc == -EOPNOTSUPP));
    return rc == 0;
}

static void close_kind(void)
{
    link_at->close(ends[0]);
    link_at->close(ends[1]);
}

/* Bytes that end takes until there are so many; fewer: they never came. */
static uint64_t take(void *end, uint64_t wanted)
{
    uint64_t deadline = clock_boottime_ns() + WAIT_NS, all = 0;
    while (all < wanted && clock_boottime_ns() < deadline) {
        int got = link_at->take(end);
        CU_ASSERT_FATAL(got >= 0);
        all += (uint64_t)got;
    }
    return all;
}

static void each_link_carries_all_bytes(void)
{
    bytes = calloc(4, LENGTH);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    for (uint32_t kind = TRANSPORT_RAW_BURST; kind < KINDS; kind++) {
        if (!open_kind(kind))
            continue;
        CU_ASSERT_EQUAL(link_at->send(ends[0], bytes, LENGTH, 2), 0);
        CU_ASSERT_EQUAL(take(ends[1], 2 * LENGTH), 2 * LENGTH);
        CU_ASSERT_EQUAL(link_at->send(ends[0], bytes, 64, 64), 0);
        CU_ASSERT_EQUAL(take(ends[1], 64 * 64), 64 * 64);
        CU_ASSERT_EQUAL(link_at->take(ends[1]), 0);
        close_kind();
    }
    free(bytes);
}

static void what_is_echoed_comes_back(void)
{
    bytes = calloc(1, 1024);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    for (uint32_t kind = 0; kind < KINDS; kind++) {
        if (kind == TRANSPORT_RAW_BURST || kind == TRANSPORT_RAW_OFFLOAD || !open_kind(kind))
            continue;
        for (uint32_t length = 64; length <= 1024; length += 960) {
            CU_ASSERT_EQUAL(link_at->echo(ends[1]), 0);
            CU_ASSERT_EQUAL(link_at->send(ends[0], bytes, length, 1), 0);
            uint64_t deadline = clock_boottime_ns() + WAIT_NS;
            int echoed;
            do
                echoed = link_at->echo(ends[1]);
            while (echoed == 0 && clock_boottime_ns() < deadline);
            CU_ASSERT(echoed > 0);
            CU_ASSERT_EQUAL(take(ends[0], length), length);
        }
        close_kind();
    }
    free(bytes);
}

/* Two measurements, since the second one finds what the first one left. */
static void both_processes_do_their_part(void)
{
    for (uint32_t kind = 0; kind < KINDS; kind++) {
        bool bursts = kind == TRANSPORT_RAW_BURST || kind == TRANSPORT_RAW_OFFLOAD;
        bool stream = bursts || kind % 2 != 0;
        struct transport_shape shape = {.length = stream ? LENGTH : 64,
                                        .burst = 1,
                                        .window = stream ? 2 * LENGTH : 64,
                                        .ticks_per_ns = 1,
                                        .one_cpu = true};
        struct transport_side *s = calloc(1, sizeof *s);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        if (open_kind(kind)) {
            pairs_measure measure =
                stream ? transport_side_measure_stream : transport_side_measure_round_trip;
            CU_ASSERT_EQUAL_FATAL(transport_side_open(s, link_at, ends, &shape), 0);
            for (uint32_t i = 0; i < 2; i++) {
                double value = 0;
                CU_ASSERT_EQUAL(measure(s, 1, &value), 0);
                CU_ASSERT(value > 0);
            }
            CU_ASSERT_EQUAL(s->cpu_count, stream ? 2 : 0);
            CU_ASSERT(!stream || (s->cpu[0] > 0 && s->cpu[1] > 0));
            transport_side_close(s);
        }
        free(s);
    }
}

/* What is done with an endpoint that does nothing itself, in order. */
static char done[8];

static void note(char what)
{
    size_t used = strlen(done);
    CU_ASSERT_FATAL(used + 1 < sizeof done);
    done[used] = what;
}

static void on_enter(struct transport *t)
{
    (void)t;
    note('e');
}

static void on_leave(struct transport *t)
{
    (void)t;
    note('l');
}

static void on_close(struct transport *t)
{
    (void)t;
    note('c');
}

static uint32_t on_receive(struct transport *t, struct transport_received *received, uint32_t count)
{
    (void)t;
    (void)received;
    (void)count;
    note('r');
    return 0;
}

static void on_release(struct transport *t)
{
    (void)t;
}

/* Else a thread has no caches of its own in DPDK's memory pools, and something else is measured than lcores do. */
static void an_endpoint_is_entered_before_it_is_used_and_left_before_it_is_closed(void)
{
    static const struct transport_ops ops = {
        .enter = on_enter, .leave = on_leave, .receive = on_receive, .release = on_release};
    struct transport t = {.ops = &ops};
    void *end;
    memset(done, 0, sizeof done);
    CU_ASSERT_EQUAL_FATAL(transport_sealed_end(&end, &t, 2, on_close), 0);
    CU_ASSERT_EQUAL(transport_sealed_link.take(end), 0);
    transport_sealed_link.close(end);
    CU_ASSERT_STRING_EQUAL(done, "erlc");
}

static const struct unit_test tests[] = {
    UNIT_TEST(each_link_carries_all_bytes),
    UNIT_TEST(what_is_echoed_comes_back),
    UNIT_TEST(both_processes_do_their_part),
    UNIT_TEST(an_endpoint_is_entered_before_it_is_used_and_left_before_it_is_closed),
};
UNIT_MAIN("bench_transport", tests)
