#include "bench/rdma_transport.h"

#include "bench/rdma_log_write.h"
#include "bench/rdma_perftest.h"
#include "bench/transport_sealed.h"
#include "dataplane/rdma_port.h"
#include "dataplane/transport_rdma.h"
#include "engine/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define UP_NS (40 * NS_PER_S)
#define LARGE (1u << 15)
#define LOG_RANGE 4096u
#define ANSWER 64u /* what a plain write back carries */
#define WINDOW_BYTES (UINT32_C(1) << 19)
#define WINDOW_MESSAGES 128u
#define MESSAGE_BYTES TRANSPORT_RDMA_MESSAGE_BYTES
#define PERFTEST_MAX 2u

enum question_kind { ROUND_TRIP, LOG_WRITE, STREAM };

struct question {
    enum question_kind kind;
    uint32_t length;
    bool authentic_only;
    struct pairs_goal goal;
};

static const struct question questions[] = {
    {ROUND_TRIP, 64, true, {PAIRS_AT_MOST, 1.5}},
    {ROUND_TRIP, 1400, true, {PAIRS_AT_MOST, 1.5}},
    {LOG_WRITE, LOG_RANGE, true, {PAIRS_AT_MOST, 1.5}},
    {STREAM, LARGE, true, {PAIRS_AT_LEAST, 0.85}},
    {ROUND_TRIP, 64, false, {PAIRS_AT_MOST, 1.5}},
    {ROUND_TRIP, 1400, false, {PAIRS_AT_MOST, 1.5}},
    {STREAM, LARGE, false, {PAIRS_AT_LEAST, 0.85}},
};

#define QUESTIONS ((uint32_t)(sizeof questions / sizeof questions[0]))

/* What the partner is resumed for.  The sides' tasks are the last ones. */
enum {
    DO_PORT,     /* open, with memory for log writes */
    DO_SEALED,   /* open an endpoint; frames are encrypted */
    DO_TAGS,     /* the same with tags alone */
    DO_COME_UP,  /* until *stop */
    DO_TOKEN,    /* words by which its memory is written to */
    DO_UNSEALED, /* close the endpoint */
    DO_NO_PORT,  /* close the port */
    DO_SEALED_SIDE,
    DO_LOG_SIDE = DO_SEALED_SIDE + TRANSPORT_SIDE_TASKS,
};

/* Between both processes. */
struct shared {
    uint16_t rdma_ports[2];
    struct grant_token token;
    _Atomic uint32_t up; /* the partner's endpoint is */
    int result;          /* of what the partner did last */
};

/* Both processes have one, of which number 0 is the caller's. */
struct rdma_bench {
    struct rdma_device device;
    uint32_t number;
    struct rdma_port *port;
    struct transport *transport;
    struct rdma_log_write log_write;
    struct transport_partner partner;
    struct transport_side *sealed, *log;
    struct shared *shared;
    struct rdma_perftest perftests[PERFTEST_MAX]; /* of the present question */
    uint32_t perftest_count;
};

/* ---- what either process does ---- */

static struct sockaddr_storage address_of(const struct rdma_bench *b, uint32_t number)
{
    return rdma_device_address(&b->device, b->shared->rdma_ports[number]);
}

static void port_close(struct rdma_bench *b)
{
    if (b->port == NULL)
        return;
    rdma_port_unmap(b->port, b->log_write.memory);
    rdma_port_range_close(b->port, b->log_write.memory);
    rdma_port_close(b->port);
    b->port = NULL;
}

static int port_open(struct rdma_bench *b)
{
    const struct rdma_port_config config = {
        .address = address_of(b, b->number),
        .node = b->number + 1,
        .cluster = 1,
        .lcore_count = 1,
        .message_bytes = MESSAGE_BYTES,
    };
    uint8_t *memory = b->log_write.memory;
    int rc = rdma_port_open(&b->port, &config);
    if (rc == 0) {
        rc = rdma_port_range_open(b->port, memory, RDMA_LOG_WRITE_MEMORY, RDMA_LOG_WRITE_MEMORY);
        if (rc == 0) {
            rc = rdma_port_map(b->port, memory);
            if (rc != 0)
                rdma_port_range_close(b->port, memory);
        }
        if (rc != 0) {
            rdma_port_close(b->port);
            b->port = NULL;
        }
    }
    if (rc != 0)
        (void)fprintf(stderr, "dunlin-bench: no port on %s: %s\n", b->device.name, strerror(-rc));
    return rc;
}

static void endpoint_close(struct rdma_bench *b)
{
    void **end = &b->sealed->ends[b->number];
    transport_sealed_link.close(*end);
    *end = NULL;
    b->transport = NULL;
}

static int endpoint_open(struct rdma_bench *b, bool authentic_only)
{
    const struct transport_sealed_shape shape = {.authentic_only = authentic_only,
                                                 .frame_bytes = FRAME_BYTES_MAX};
    const uint32_t other = 1 - b->number;
    struct transport_framed_config config;
    transport_sealed_config(&config, b->number + 1, &shape);
    config.address = address_of(b, b->number);
    config.start = clock_boottime_ns(); /* another one each time */
    int rc = transport_rdma_open(&b->transport, &config, b->port);
    if (rc != 0)
        return rc;
    const struct sockaddr_storage to = address_of(b, other);
    rc = transport_framed_add(b->transport, other + 1, &to);
    if (rc == 0)
        rc = transport_sealed_end(&b->sealed->ends[b->number], b->transport, other + 1,
                                  transport_rdma_close);
    if (rc != 0)
        transport_rdma_close(b->transport);
    b->log_write.transport = b->transport;
    b->log_write.other = other + 1;
    b->log->ends[b->number] = &b->log_write;
    return rc;
}

static int token_take(struct rdma_bench *b)
{
    return transport_token(b->transport, 2 - b->number, b->log_write.memory, RDMA_LOG_WRITE_MEMORY,
                           &b->shared->token)
               ? 0
               : -ENOTCONN;
}

/* ---- partner ---- */

static bool is_up(struct rdma_bench *b)
{
    return transport_sealed_is_up(b->sealed->ends[b->number]);
}

static void partner_come_up(struct rdma_bench *b, const _Atomic uint32_t *stop)
{
    /* relaxed, all: hints; the semaphores order the rest */
    while (atomic_load_explicit(stop, memory_order_relaxed) == 0)
        atomic_store_explicit(&b->shared->up, is_up(b), memory_order_relaxed);
}

static int partner_do(struct rdma_bench *b, uint32_t what)
{
    switch (what) {
    case DO_PORT:
        return port_open(b);
    case DO_SEALED:
    case DO_TAGS:
        return endpoint_open(b, what == DO_TAGS);
    case DO_TOKEN:
        return token_take(b);
    case DO_UNSEALED:
        endpoint_close(b);
        return 0;
    default:
        port_close(b);
        return 0;
    }
}

static void partner_run(void *context, uint32_t what, const _Atomic uint32_t *stop)
{
    struct rdma_bench *b = context;
    b->number = 1;
    if (what >= DO_LOG_SIDE)
        transport_side_serve(b->log, (enum transport_side_task)(what - DO_LOG_SIDE), stop);
    else if (what >= DO_SEALED_SIDE)
        transport_side_serve(b->sealed, (enum transport_side_task)(what - DO_SEALED_SIDE), stop);
    else if (what == DO_COME_UP)
        partner_come_up(b, stop);
    else
        b->shared->result = partner_do(b, what);
}

/* Have the partner do it, to its end. */
static int told(struct rdma_bench *b, uint32_t what)
{
    int rc = transport_partner_resume(&b->partner, what);
    if (rc == 0)
        rc = transport_partner_pause(&b->partner);
    if (rc != 0)
        (void)fprintf(stderr, "dunlin-bench: the other side is silent: %s\n", strerror(-rc));
    return rc != 0 ? rc : b->shared->result;
}

static int come_up(struct rdma_bench *b)
{
    uint64_t deadline_ns = clock_boottime_ns() + UP_NS;
    bool up = false, there = false;
    /* relaxed, both: as in partner_come_up */
    atomic_store_explicit(&b->shared->up, 0, memory_order_relaxed);
    int rc = transport_partner_resume(&b->partner, DO_COME_UP);
    while (rc == 0 && (!up || !there)) {
        up = is_up(b);
        there = atomic_load_explicit(&b->shared->up, memory_order_relaxed) != 0;
        if (clock_boottime_ns() > deadline_ns)
            rc = -ETIMEDOUT;
    }
    int paused = transport_partner_pause(&b->partner);
    rc = rc != 0 ? rc : paused;
    if (rc != 0)
        (void)fprintf(stderr, "dunlin-bench: the processes do not reach each other: %s\n",
                      strerror(-rc));
    return rc;
}

/* ---- sides of a question ---- */

/* pairs_measure: nanoseconds there and back, or messages a second; several writes one after the other. */
static int raw_measure(void *context, uint64_t duration_ns, double *value)
{
    struct rdma_bench *b = context;
    *value = 0;
    for (uint32_t i = 0; i < b->perftest_count; i++) {
        struct rdma_perftest *p = &b->perftests[i];
        double one;
        int rc = rdma_perftest_run(p, duration_ns / b->perftest_count, &one);
        if (rc != 0)
            return rc;
        *value += p->kind == RDMA_PERFTEST_LATENCY ? one : one / p->bytes;
    }
    if (b->perftest_count == 1 && b->perftests[0].kind == RDMA_PERFTEST_LATENCY)
        *value *= 2; /* back as there */
    return 0;
}

static void raw_set(struct rdma_bench *b, const struct question *q)
{
    const struct rdma_perftest one = {
        .device = &b->device,
        .kind = q->kind == STREAM ? RDMA_PERFTEST_RATE : RDMA_PERFTEST_LATENCY,
        .bytes = q->length,
        .pairs = 1,
    };
    b->perftests[0] = b->perftests[1] = one;
    b->perftests[1].bytes = ANSWER;
    b->perftest_count = q->kind == LOG_WRITE ? 2 : 1;
}

static void shape_set(struct transport_side *s, const struct question *q, double ticks_per_ns)
{
    uint32_t messages = (uint32_t)min_u64(WINDOW_MESSAGES, WINDOW_BYTES / q->length);
    uint32_t burst = q->kind == STREAM ? (uint32_t)max_u64(1, messages / 4) : 1;
    s->shape = (struct transport_shape){
        .length = q->length,
        .burst = burst,
        .window = (uint64_t)(messages / burst) * burst * q->length,
        .ticks_per_ns = ticks_per_ns,
        .one_cpu = s->shape.one_cpu,
    };
    s->at = 0;
    histogram_reset(&s->sampler->histogram);
}

/* ---- rows ---- */

static void row_name(const struct question *q, char name[64])
{
    static const char *const kinds[] = {
        [ROUND_TRIP] = "round trip", [LOG_WRITE] = "log write", [STREAM] = "stream of"};
    char length[16];
    if (q->length % TRANSPORT_ROWS_KIB == 0)
        (void)snprintf(length, sizeof length, "%u KiB", q->length / TRANSPORT_ROWS_KIB);
    else
        (void)snprintf(length, sizeof length, "%u B", q->length);
    (void)snprintf(name, 64, "rdma, %s %s, %s", kinds[q->kind], length,
                   q->authentic_only ? "tags only" : "encrypted");
}

static const char *unit_of(const struct question *q)
{
    return q->kind == STREAM ? "GB/s" : "ns";
}

static void report_one(struct transport_rows *r, const struct rdma_bench *b,
                       const struct question *q, const struct pairs_judgement *judgement)
{
    static const char *const baselines[] = {[ROUND_TRIP] = "ib_write_lat, there and back",
                                            [LOG_WRITE] = "ib_write_lat, and of 64 B back",
                                            [STREAM] = "ib_write_bw"};
    const struct transport_side *side = q->kind == LOG_WRITE ? b->log : b->sealed;
    char name[64];
    struct report_against to = {baselines[q->kind], q->goal, *judgement};
    if (q->kind == STREAM) {
        to.judgement.test_median *= (double)q->length * 1e-9;
        to.judgement.baseline_median *= (double)q->length * 1e-9;
    }
    row_name(q, name);
    struct report_row *row = report_add_judged(&r->report, name, unit_of(q), &to);
    if (q->kind != STREAM)
        report_percentiles(row, &side->sampler->histogram, SAMPLER_SCALE);
    if (q->kind == LOG_WRITE)
        report_note(row, "on %s; written, announced, proven and acknowledged; refused %llu times",
                    b->device.name, (unsigned long long)b->log_write.refused);
    else
        report_note(row, "on %s; %u KiB under way", b->device.name,
                    (uint32_t)(side->shape.window / TRANSPORT_ROWS_KIB));
}

static void skip(struct transport_rows *r, const char *why)
{
    for (uint32_t i = 0; i < QUESTIONS; i++) {
        char name[64];
        row_name(&questions[i], name);
        report_note(report_add(&r->report, name, unit_of(&questions[i]), (double)NAN),
                    "skipped: %s", why);
    }
}

/* ---- asking ---- */

static int ask(struct transport_rows *r, struct rdma_bench *b, const struct question *q)
{
    struct transport_side *side = q->kind == LOG_WRITE ? b->log : b->sealed;
    const pairs_measure how =
        q->kind == STREAM ? transport_side_measure_stream : transport_side_measure_round_trip;
    const struct pairs_side test = {how, side};
    const struct pairs_baseline baseline = {{raw_measure, b}, q->goal};
    struct pairs_judgement judgement;
    uint64_t now_ns = clock_boottime_ns();
    uint64_t budget_ns = now_ns < r->deadline_ns ? r->deadline_ns - now_ns : 0;
    shape_set(side, q, r->report.machine.ticks_per_ns);
    raw_set(b, q);
    int rc = q->kind == LOG_WRITE ? told(b, DO_TOKEN) : 0;
    b->log_write.token = b->shared->token;
    if (rc == 0)
        rc = pairs_run(&test, &baseline, 1, budget_ns / r->left, &judgement);
    if (rc == 0)
        report_one(r, b, q, &judgement);
    r->left--;
    return rc;
}

/* All questions of frames that are encrypted, or not. */
static int ask_all(struct transport_rows *r, struct rdma_bench *b, bool authentic_only)
{
    int rc = told(b, authentic_only ? DO_TAGS : DO_SEALED);
    if (rc == 0)
        rc = endpoint_open(b, authentic_only);
    if (rc == 0)
        rc = come_up(b);
    for (uint32_t i = 0; i < QUESTIONS && rc == 0; i++)
        if (questions[i].authentic_only == authentic_only)
            rc = ask(r, b, &questions[i]);
    endpoint_close(b);
    int closed = told(b, DO_UNSEALED);
    return rc != 0 ? rc : closed;
}

static int ports_ask(struct transport_rows *r, struct rdma_bench *b)
{
    uint16_t ports[NET_SERVERS];
    ASSERT(b->shared != NULL); /* sides_open made it */
    int rc = net_ports_find(SOCK_STREAM, ports);
    memcpy(b->shared->rdma_ports, ports, sizeof b->shared->rdma_ports);
    if (rc == 0)
        rc = port_open(b);
    if (rc == 0)
        rc = told(b, DO_PORT);
    if (rc == 0)
        rc = ask_all(r, b, true);
    if (rc == 0)
        rc = ask_all(r, b, false);
    port_close(b);
    int closed = told(b, DO_NO_PORT);
    return rc != 0 ? rc : closed;
}

/* ---- all ---- */

/* Why before the partner is forked: it has copies of all this, and its own memory for the log. */
static int sides_open(struct rdma_bench *b, const struct machine *m)
{
    const double ticks = m->ticks_per_ns;
    void *shared =
        mmap(NULL, sizeof *b->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return -errno;
    b->shared = shared;
    b->log_write.memory = aligned_alloc(RDMA_LOG_WRITE_MEMORY, RDMA_LOG_WRITE_MEMORY);
    if (b->log_write.memory == NULL)
        return -ENOMEM;
    memset(b->log_write.memory, 1, RDMA_LOG_WRITE_MEMORY);
    int rc = transport_side_init(b->sealed, &transport_sealed_link, ticks);
    if (rc == 0)
        rc = transport_side_init(b->log, &rdma_log_write_link, ticks);
    b->sealed->shape.one_cpu = b->log->shape.one_cpu = m->cpus < 2;
    if (rc == 0)
        rc = transport_partner_open(&b->partner, 1, partner_run, b);
    if (rc != 0)
        return rc;
    b->sealed->task_first = DO_SEALED_SIDE;
    b->log->task_first = DO_LOG_SIDE;
    b->sealed->partner = b->log->partner = b->partner;
    return 0;
}

static void sides_close(struct rdma_bench *b)
{
    if (b->partner.pid > 0)
        transport_partner_close(&b->partner);
    if (b->sealed->link != NULL)
        transport_side_fini(b->sealed);
    if (b->log->link != NULL)
        transport_side_fini(b->log);
    free(b->log_write.memory);
    if (b->shared != NULL)
        (void)munmap(b->shared, sizeof *b->shared);
}

int bench_rdma_transport(struct transport_rows *r, const struct net_options *net)
{
    struct rdma_device device;
    if (rdma_device_find(RDMA_DEVICE_DIRECTORY, net->device, &device) != 0) {
        skip(r, "no RDMA device here that has RoCE v2 over IPv4");
        return 0;
    }
    if (!rdma_perftest_is_there()) {
        skip(r, "no ib_write_lat and ib_write_bw here (perftest)");
        return 0;
    }
    struct transport_side *sides = calloc(2, sizeof *sides);
    struct rdma_bench b = {.device = device, .sealed = sides, .log = sides + 1};
    if (sides == NULL)
        return -ENOMEM;
    r->left = QUESTIONS;
    int rc = sides_open(&b, &r->report.machine);
    if (rc == 0)
        rc = ports_ask(r, &b);
    sides_close(&b);
    free(sides);
    return rc;
}
