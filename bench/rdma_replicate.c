#include "bench/rdma_replicate.h"

#include "bench/cluster_files.h"
#include "bench/machine.h"
#include "bench/rdma_perftest.h"
#include "bench/rdma_plain.h"
#include "bench/replicate_net_dunlin.h"
#include "bench/report.h"
#include "engine/agent/dunlin.h"
#include "engine/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEYS 10000u
#define LARGE_BATCH 32u
#define LARGE_BYTES 4096u /* of a value */
#define LARGE_KEYS 1000u
#define LEASE_MS 1000u
#define COPIES (NET_SERVERS - 1) /* that leave the leader */
/* What a write of the baseline carries instead of a record: the key, the value, and as much again. */
#define SMALL_WRITE ((uint32_t)sizeof(struct net_write) + 16u)
#define LARGE_WRITE (32u << 10)

/* One batch size, and what is asked of it. */
struct question {
    uint32_t batch;
    bool large; /* values */
    bool
        alike; /* the baseline's processes are as many as ours, and idle as they do; else they are perftest's */
    const char *name, *baseline;
    struct pairs_goal goal;
};

static const struct question questions[] = {
    {1,
     false,
     false,
     "replicated write, batch 1",
     "ib_write_lat, there and back",
     {PAIRS_AT_MOST, 1.5}},
    {1,
     false,
     true,
     "replicated write, like for like",
     "plain writes, first answer of two, an idle client",
     {PAIRS_AT_MOST, 1.5}},
    {LARGE_BATCH,
     true,
     false,
     "replicated writes of 4 KiB, batch 32",
     "ib_write_bw of 32 KiB, a half of it",
     {PAIRS_AT_LEAST, 0.85}},
};

#define QUESTIONS ((uint32_t)(sizeof questions / sizeof questions[0]))

/* What a side used up in all rounds of a question. */
struct spent {
    double cpu_ns;
    uint64_t operations;
    uint64_t packets; /* sent by the device, acknowledgements too; 0: it does not count them */
};

struct bench {
    struct report report;
    uint64_t deadline_ns;
    uint32_t left; /* questions that are still to be asked */
    struct rdma_device device;
    struct net_cpus cpus;
    bool encrypt;                    /* the present cluster's frames */
    const struct question *question; /* the present one */
    struct rdma_perftest perftest;   /* for it */
    struct spent ours, raw;          /* by it; raw of one that is alike alone */
    struct rdma_plain plain;         /* of all clusters */
    struct net_side plain_net;
    struct daemon daemons[NET_SERVERS];
    struct net_dunlin_client client;
    struct net_side net;
    uint8_t large[LARGE_BYTES];
};

/* ---- sides ---- */

/* 0: the device does not count them. */
static uint64_t packets_so_far(const struct bench *b)
{
    uint64_t packets;
    return rdma_device_packets(RDMA_DEVICE_DIRECTORY, &b->device, &packets) == 0 ? packets : 0;
}

/* Writes of one of our sides.  Returns 0, or -errno after a word on stderr. */
static int side_measure(const struct bench *b, struct net_side *side, uint64_t duration_ns,
                        struct spent *spent, struct net_values *values)
{
    uint64_t position = side->position, packets = packets_so_far(b);
    int rc = net_side_measure(side, b->question->batch, duration_ns, values);
    if (rc != 0) {
        (void)fprintf(stderr, "dunlin-bench: %s: %s\n", b->question->name, strerror(-rc));
        return rc;
    }
    uint64_t operations = side->position - position;
    spent->operations += operations;
    spent->packets += packets_so_far(b) - packets;
    spent->cpu_ns += values->cpu_ns * (double)operations;
    return 0;
}

/* pairs_measure: nanoseconds of a batch, or bytes a second. */
static int dunlin_measure(void *context, uint64_t duration_ns, double *value)
{
    struct bench *b = context;
    struct net_values values = {.rate = 0};
    int rc = side_measure(b, &b->net, duration_ns, &b->ours, &values);
    *value = b->question->large ? values.rate * LARGE_BYTES : values.p50_ns;
    return rc;
}

/* The same of plain writes. */
static int plain_measure(void *context, uint64_t duration_ns, double *value)
{
    struct bench *b = context;
    struct net_values values = {.rate = 0};
    int rc = side_measure(b, &b->plain_net, duration_ns, &b->raw, &values);
    *value = values.p50_ns;
    return rc;
}

/* The same of the device. */
static int raw_measure(void *context, uint64_t duration_ns, double *value)
{
    struct bench *b = context;
    int rc = rdma_perftest_run(&b->perftest, duration_ns, value);
    *value = b->question->large ? *value / COPIES : *value * 2;
    return rc;
}

/* ---- asking ---- */

static uint64_t left_ns(const struct bench *b)
{
    uint64_t now_ns = clock_boottime_ns();
    return now_ns < b->deadline_ns ? b->deadline_ns - now_ns : 0;
}

static void row_name(const struct bench *b, const struct question *q, char name[64])
{
    (void)snprintf(name, 64, "rdma, %s, %s", b->encrypt ? "encrypted" : "tags only", q->name);
}

static void question_set(struct bench *b, const struct question *q)
{
    const bool roomy = b->report.machine.cpus >= NET_SERVERS + 1;
    b->question = q;
    b->ours = b->raw = (struct spent){.operations = 0};
    b->client.large = q->large ? b->large : NULL;
    b->client.large_bytes = LARGE_BYTES;
    b->net.key_count = q->large ? LARGE_KEYS : KEYS;
    net_side_reset(&b->net);
    net_side_reset(&b->plain_net);
    b->perftest = (struct rdma_perftest){
        .device = &b->device,
        .kind = q->large ? RDMA_PERFTEST_RATE : RDMA_PERFTEST_LATENCY,
        .bytes = q->large ? LARGE_WRITE : SMALL_WRITE,
        .pairs = !q->large && roomy ? COPIES : 1,
    };
}

/* Of a write, and of one of the baseline where that is alike. */
static void report_spent_of(struct bench *b, const char *what, const char *unit, double ours,
                            double raw)
{
    char name[64], row_of[80];
    row_name(b, b->question, name);
    (void)snprintf(row_of, sizeof row_of, "%s, %s", name, what);
    struct report_row *row = report_add(&b->report, row_of, unit, ours);
    if (b->question->alike)
        report_note(row,
                    "per write, looks in vain and acknowledgements included; the baseline: %.*f",
                    raw < 1000 ? 1 : 0, raw);
    else
        report_note(row, "per write, looks in vain and acknowledgements included");
}

/* Why: it says what a ratio is made of. */
static void report_spent(struct bench *b)
{
    const double ours = (double)max_u64(b->ours.operations, 1);
    const double raw = (double)max_u64(b->raw.operations, 1);
    report_spent_of(b, "CPU", "ns", b->ours.cpu_ns / ours, b->raw.cpu_ns / raw);
    if (b->ours.packets != 0) /* else the device does not count them */
        report_spent_of(b, "packets", "packets", (double)b->ours.packets / ours,
                        (double)b->raw.packets / raw);
}

static void report_one(struct bench *b, const struct pairs_judgement *judgement)
{
    const struct question *q = b->question;
    char name[64];
    struct report_against to = {q->baseline, q->goal, *judgement};
    if (q->large) {
        to.judgement.test_median *= 1e-9;
        to.judgement.baseline_median *= 1e-9;
    }
    row_name(b, q, name);
    struct report_row *row = report_add_judged(&b->report, name, q->large ? "GB/s" : "ns", &to);
    if (q->large) {
        report_note(row, "of values, to each of two followers; the baseline is one writer");
    } else {
        report_percentiles(row, &b->net.latency, 1);
        report_note(row,
                    "client and three nodes on %u processors; the baseline: %u processes of %s",
                    b->report.machine.cpus, q->alike ? NET_SERVERS + 1 : 2 * b->perftest.pairs,
                    b->device.name);
    }
    report_spent(b);
}

static int ask(struct bench *b, const struct question *q)
{
    struct pairs_judgement judgement;
    const struct pairs_side test = {dunlin_measure, b};
    const struct pairs_baseline baseline = {{q->alike ? plain_measure : raw_measure, b}, q->goal};
    question_set(b, q);
    int rc = pairs_run(&test, &baseline, 1, left_ns(b) / b->left, &judgement);
    if (rc == 0)
        report_one(b, &judgement);
    b->left--;
    return rc;
}

/* Rows that say why there is nothing in them. */
static void skip(struct bench *b, const char *why)
{
    for (uint32_t encrypt = 0; encrypt < 2; encrypt++) {
        b->encrypt = encrypt != 0;
        for (uint32_t i = 0; i < QUESTIONS; i++) {
            char name[64];
            row_name(b, &questions[i], name);
            report_note(
                report_add(&b->report, name, questions[i].large ? "GB/s" : "ns", (double)NAN),
                "skipped: %s", why);
        }
    }
}

/* ---- the cluster ---- */

struct cluster_ports {
    uint16_t data[NET_SERVERS], control[NET_SERVERS];
};

static int config_write(const struct bench *b, uint32_t number, const struct cluster_ports *ports,
                        const char *path)
{
    const char *directory = bench_directory(), *kind = b->encrypt ? "encrypted" : "tags";
    const uint32_t id = number + 1;
    FILE *file = fopen(path, "wex");
    if (file == NULL)
        return -errno;
    (void)fprintf(file,
                  "node: {name: bench-%u, id: %u}\nsocket: {path: %s, mode: 0600}\n"
                  "lcores: {count: 1}\ncluster:\n  name: bench\n  key_file: %s/key\n"
                  "  encrypt: %s\n  transport: rdma\n"
                  "  control:\n    directory: %s/control-%s%u\n"
                  "    certificate: %s/node-%u.crt\n    key: %s/node-%u.key\n"
                  "    authority: %s/authority.crt\n    lease: %ums\n  nodes:\n",
                  id, id, b->daemons[number].socket_path, directory, b->encrypt ? "true" : "false",
                  directory, kind, id, directory, id, directory, id, directory, LEASE_MS);
    for (uint32_t i = 0; i < NET_SERVERS; i++)
        (void)fprintf(file, "    - {id: %u, address: \"%s:%u\", control: \"127.0.0.1:%u\"}\n",
                      i + 1, b->device.address, ports->data[i], ports->control[i]);
    net_dunlin_spaces_print(file);
    return fclose(file) == 0 ? 0 : -errno;
}

static int nodes_start(struct bench *b)
{
    struct cluster_ports ports;
    int rc = net_ports_find(SOCK_STREAM, ports.data);
    if (rc == 0)
        rc = net_ports_find(SOCK_STREAM, ports.control);
    for (uint32_t i = 0; i < NET_SERVERS && rc == 0; i++) {
        char name[32], path[128];
        (void)snprintf(name, sizeof name, "%s%u", b->encrypt ? "encrypted" : "tags", i + 1);
        daemon_name(&b->daemons[i], name);
        (void)snprintf(path, sizeof path, "%s/%s.yaml", bench_directory(), name);
        rc = config_write(b, i, &ports, path);
        if (rc == 0)
            rc = daemon_launch(&b->daemons[i], path, net_cpu(&b->cpus, i + 1));
    }
    return rc;
}

/* The first node leads everything, the client is attached to it, and the logs reuse their memory. */
static int cluster_settle(struct bench *b)
{
    for (uint32_t i = NET_SERVERS; i-- != 0;)
        daemon_await(&b->daemons[i]);
    int rc = net_dunlin_settle(&b->client, b->daemons);
    if (rc != 0) {
        (void)fprintf(stderr, "dunlin-bench: no cluster: %s\n", strerror(-rc));
        return rc;
    }
    for (uint32_t i = 0; i < QUESTIONS && rc == 0; i++) {
        question_set(b, &questions[i]);
        rc = net_side_fill(&b->net, LARGE_BATCH);
    }
    return rc;
}

static int cluster_ask(struct bench *b, bool encrypt)
{
    b->encrypt = encrypt;
    memset(b->daemons, 0, sizeof b->daemons);
    memset(&b->net, 0, sizeof b->net);
    b->net.write = net_dunlin_write;
    b->net.client = &b->client;
    int rc = nodes_start(b);
    for (uint32_t n = 0; n < NET_SERVERS && rc == 0; n++)
        b->net.pids[b->net.pid_count++] = b->daemons[n].pid;
    if (rc == 0)
        rc = cluster_settle(b);
    for (uint32_t i = 0; i < QUESTIONS && rc == 0; i++)
        rc = ask(b, &questions[i]);
    dunlin_close(b->client.handle);
    b->client = (struct net_dunlin_client){.handle = NULL};
    for (uint32_t i = 0; i < NET_SERVERS; i++)
        net_end(b->daemons[i].pid);
    return rc;
}

/* ---- all ---- */

static int plain_open(struct bench *b)
{
    int rc = rdma_plain_open(&b->plain, &b->device, &b->cpus, SMALL_WRITE);
    b->plain_net.write = rdma_plain_write;
    b->plain_net.client = &b->plain;
    b->plain_net.key_count = KEYS;
    for (uint32_t i = 0; i < NET_SERVERS; i++)
        b->plain_net.pids[b->plain_net.pid_count++] = b->plain.pids[i];
    return rc;
}

static int run(struct bench *b, const struct net_options *net)
{
    if (rdma_device_find(RDMA_DEVICE_DIRECTORY, net->device, &b->device) != 0) {
        skip(b, "no RDMA device here that has RoCE v2 over IPv4");
        return 0;
    }
    if (!rdma_perftest_is_there()) {
        skip(b, "no ib_write_lat and ib_write_bw here (perftest)");
        return 0;
    }
    b->left = 2 * QUESTIONS;
    int rc = cluster_files_write();
    if (rc == 0)
        rc = plain_open(b);
    if (rc == 0)
        rc = cluster_ask(b, false);
    if (rc == 0)
        rc = cluster_ask(b, true);
    rdma_plain_close(&b->plain);
    return rc;
}

int bench_rdma_replicate(const struct bench_options *options, const struct net_options *net)
{
    struct bench *b = calloc(1, sizeof *b);
    if (b == NULL)
        return BENCH_REFUSED;
    b->deadline_ns = clock_boottime_ns() + (uint64_t)(options->seconds * 1e9);
    report_init(&b->report, "replicate");
    b->cpus = net->cpus;
    /* Spread, as the baseline is. */
    for (uint32_t i = 0; net->cpus.count == 0 && i <= NET_SERVERS; i++)
        b->cpus.list[b->cpus.count++] = i;
    int rc = machine_pin(net_cpu(&b->cpus, 0));
    if (rc >= 0)
        rc = run(b, net);
    int code = bench_end(&b->report, rc, options->json);
    free(b);
    return code;
}
