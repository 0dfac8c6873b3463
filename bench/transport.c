/* bench transport - what frames and tags cost between two processes: the udp transport on loopback
 * sockets, held against the same bytes over plain ones (DESIGN section 10).
 *
 * Loopback is the hardest wire there is: 64 KiB cost the sender little more than one copy.  On the
 * machine that this was written on that takes 7 microseconds, and AES-256-GCM, on the same core, 6 more;
 * so a stream with offload cannot reach 0.85 of its baseline there.  The row says what is left for the
 * wire to hide.
 *
 * With --transport dpdk the same on ports: transport_ports.h; with --transport rdma over a device:
 * rdma_transport.h. */
#include "bench/bench.h"
#include "bench/net_options.h"
#include "bench/rdma_transport.h"
#include "bench/transport_ports.h"
#include "bench/transport_raw.h"
#include "bench/transport_rows.h"
#include "bench/transport_sealed.h"
#include "dataplane/transport_udp.h"
#include "engine/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIB TRANSPORT_ROWS_KIB
#define STREAM_BYTES (1u << 19) /* under way at most */
#define STREAM_MESSAGES 1024u
#define RANGE_BURST 4u
/* What a message takes of a socket's buffer: its packets, with what the kernel needs for each. */
#define PACKET_COST 1024u

#define GOAL_ROUND_TRIP                                                                            \
    {                                                                                              \
        PAIRS_AT_MOST, 1.5                                                                         \
    }
#define GOAL_STREAM                                                                                \
    {                                                                                              \
        PAIRS_AT_LEAST, 0.85                                                                       \
    }
#define GOAL_NONE                                                                                  \
    {                                                                                              \
        PAIRS_NO_GOAL, 0                                                                           \
    }
#define FRAME TRANSPORT_FRAMED_FRAME_BYTES

static const struct transport_question questions[] = {
    {64, false, false, false, FRAME, GOAL_ROUND_TRIP},
    {64, false, true, false, FRAME, GOAL_ROUND_TRIP},
    {KIB, false, false, false, FRAME, GOAL_ROUND_TRIP},
    {KIB, false, true, false, FRAME, GOAL_ROUND_TRIP},
    {64, true, false, false, FRAME, GOAL_NONE},
    {64, true, true, false, FRAME, GOAL_NONE},
    {64, true, false, true, FRAME, GOAL_NONE},
    {64, true, true, true, FRAME, GOAL_NONE},
    {64 * KIB, true, false, false, FRAME, GOAL_STREAM},
    {64 * KIB, true, true, false, FRAME, GOAL_STREAM},
    {64 * KIB, true, false, true, FRAME, GOAL_STREAM},
    {64 * KIB, true, true, true, FRAME, GOAL_STREAM},
    {64 * KIB, true, false, false, FRAME_BYTES_MAX, GOAL_STREAM},
    {64 * KIB, true, true, false, FRAME_BYTES_MAX, GOAL_STREAM},
};

#define QUESTIONS (sizeof questions / sizeof questions[0])

/* ---- what is asked ---- */

static enum transport_raw_kind raw_kind(const struct transport_question *q)
{
    if (!q->stream)
        return TRANSPORT_RAW_SINGLE;
    return q->plain_socket ? TRANSPORT_RAW_BURST : TRANSPORT_RAW_OFFLOAD;
}

static const char *raw_name(const struct transport_question *q)
{
    static const char *const names[] = {
        [TRANSPORT_RAW_SINGLE] = "plain UDP, send and recv",
        [TRANSPORT_RAW_BURST] = "plain UDP, sendmmsg and recvmmsg",
        [TRANSPORT_RAW_OFFLOAD] = "plain UDP, the same with GSO and GRO",
    };
    return names[raw_kind(q)];
}

/* ---- measuring ---- */

/* As much under way as the smaller socket buffer takes for sure. */
static void shape_set(const struct transport_rows *r, const struct transport_question *q,
                      uint32_t receive_bytes, struct transport_shape *shape)
{
    bool large = q->length >= KIB;
    uint32_t burst_max = large ? RANGE_BURST : TRANSPORT_SIDE_BURST_MAX;
    uint64_t cost = large ? 2u * q->length : PACKET_COST;
    /* Why less without offload: each packet is a way through the kernel of its own, and a group of them
     * has to end before its processes lose their cpus. */
    uint64_t most = min_u64(STREAM_BYTES / q->length, STREAM_MESSAGES) / (q->plain_socket ? 4 : 1);
    uint64_t messages = min_u64(receive_bytes / cost, most);
    uint32_t burst = (uint32_t)max_u64(1, min_u64(burst_max, messages / 2));
    *shape = (struct transport_shape){
        .length = q->length,
        .burst = q->stream ? burst : 1,
        .window = max_u64(1, messages / burst) * burst * q->length,
        .ticks_per_ns = r->report.machine.ticks_per_ns,
        .one_cpu = r->report.machine.cpus < 2,
    };
}

static int sides_open(struct transport_rows *r, const struct transport_question *q,
                      struct transport_side *sealed, struct transport_side *raw)
{
    const struct transport_sealed_shape sealed_shape = {q->authentic_only, q->plain_socket,
                                                        q->frame_bytes};
    struct transport_shape shape;
    void *ends[2], *raw_ends[2];
    int rc = transport_raw_open(raw_ends, raw_kind(q), q->frame_bytes);
    if (rc != 0)
        return rc;
    rc = transport_sealed_open(ends, &sealed_shape);
    if (rc == 0) {
        shape_set(r, q, transport_sealed_receive_bytes(ends[0]), &shape);
        rc = transport_side_open(sealed, &transport_sealed_link, ends, &shape);
    }
    if (rc != 0) {
        transport_raw_link.close(raw_ends[0]);
        transport_raw_link.close(raw_ends[1]);
        return rc;
    }
    rc = transport_side_open(raw, &transport_raw_link, raw_ends, &shape);
    if (rc != 0)
        transport_side_close(sealed);
    return rc;
}

/* Without offload in this kernel there is nothing to ask about it. */
static int ask(struct transport_rows *r, const struct transport_question *q)
{
    const struct transport_rows_names names = {"", raw_name(q)};
    struct transport_side *sides = calloc(2, sizeof *sides);
    if (sides == NULL)
        return -ENOMEM;
    int rc = sides_open(r, q, &sides[0], &sides[1]);
    if (rc == 0) {
        rc = transport_rows_ask(r, q, &names, &sides[0], &sides[1]);
        transport_side_close(&sides[1]);
        transport_side_close(&sides[0]);
    } else if (rc == -EOPNOTSUPP) {
        rc = 0;
    }
    free(sides);
    return rc;
}

static int run(struct transport_rows *r)
{
    int rc = 0;
    for (r->left = QUESTIONS; r->left != 0 && rc == 0; r->left--)
        rc = ask(r, &questions[QUESTIONS - r->left]);
    return rc;
}

/* Asks all questions of one transport. */
typedef int (*transport_run)(struct transport_rows *r, const struct net_options *net);

static int run_udp(struct transport_rows *r, const struct net_options *net)
{
    (void)net;
    return run(r);
}

int bench_transport(int argc, char **argv)
{
    struct bench_options options;
    struct net_options net;
    if (net_options_take(&argc, argv, &net) != 0 ||
        net_options_judge(&net, NET_UDP | NET_DPDK | NET_RDMA, 2) != 0 ||
        bench_options_parse(argc, argv, &options) != 0)
        return BENCH_USAGE;
    transport_run how = net.transport == NET_DPDK   ? transport_ports_run
                        : net.transport == NET_RDMA ? bench_rdma_transport
                                                    : run_udp;
    struct transport_rows *r = calloc(1, sizeof *r);
    if (r == NULL)
        return BENCH_REFUSED;
    r->deadline_ns = clock_boottime_ns() + (uint64_t)(options.seconds * 1e9);
    report_init(&r->report, "transport");
    int rc = machine_pin(0);
    if (rc >= 0)
        rc = how(r, &net);
    int code = bench_end(&r->report, rc, options.json);
    free(r);
    return code;
}
