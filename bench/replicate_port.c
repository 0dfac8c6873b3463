#include "bench/replicate_port.h"

#include "bench/cluster_files.h"
#include "bench/machine.h"
#include "bench/port_eal.h"
#include "bench/port_net.h"
#include "bench/replicate_net_dunlin.h"
#include "bench/replicate_port_node.h"
#include "bench/report.h"
#include "engine/agent/dunlin.h"
#include "engine/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEYS 10000u
#define LARGE_BATCH 32u
#define LARGE_BYTES 4096u /* of a value */
#define LARGE_KEYS 1000u
#define FRAME 1472u /* what an mtu of 1,500 carries */
#define LEASE_MS 1000u
#define SLOT_MAX_NS (200 * NS_PER_MS) /* of which all nodes do without each other */
#define MODE_NS (20 * NS_PER_S)
#define CONTROL_PORT 7701u
/* Of cables that are slower than one processor which does everything, the cables' work included: at 200 the plain side
 * did not always fill them on a busy one. */
#define CABLE_MBIT 100
#define CABLE_FULL 0.9 /* share of a cable's rate from which on it is what limits */
#define STRING_OF(x) #x
#define STRING(x) STRING_OF(x)

enum side { DUNLIN, PLAIN, SIDES };

/* One batch size, and what is asked of it. */
struct question {
    uint32_t batch;
    bool large;          /* values */
    uint32_t cable_mbit; /* cables are limited to that; 0: they are as fast as the processor */
    const char *name, *baseline;
    struct pairs_goal goal;
};

static const struct question questions[] = {
    {1,
     false,
     0,
     "replicated write, batch 1",
     "plain packets, first answer of two, an idle client",
     {PAIRS_AT_MOST, 1.5}},
    {LARGE_BATCH,
     true,
     0,
     "replicated writes of 4 KiB, batch 32",
     "the same bytes in plain packets",
     {PAIRS_AT_LEAST, 0.85}},
    /* The last one: cables stay limited. */
    {LARGE_BATCH,
     true,
     CABLE_MBIT,
     "writes of 4 KiB on cables of " STRING(CABLE_MBIT) " Mbit/s",
     "the same bytes in plain packets",
     {PAIRS_AT_LEAST, 0.85}},
};

#define QUESTIONS ((uint32_t)(sizeof questions / sizeof questions[0]))

struct bench;

/* A side of a question, measured by pairs.h; its other figures are of the same rounds. */
struct port_side {
    struct bench *bench;
    const struct question *question;
    enum side side;
    struct net_side *net;
    uint32_t count; /* of measurements, ever */
    struct net_values values[PAIRS_MAX];
};

struct bench {
    struct report report;
    uint64_t deadline_ns;
    uint32_t left; /* questions that are still to be asked */
    struct net_cpus cpus;
    uint32_t cluster; /* number of the present one */
    struct replicate_port_shared *shared;
    int shared_fd;
    struct replicate_port_node nodes[NET_SERVERS];
    struct daemon daemons[NET_SERVERS];
    char config_paths[NET_SERVERS][128];
    struct net_dunlin_client client;
    struct net_side net[SIDES];
    uint8_t large[LARGE_BYTES];
};

/* ---- sides ---- */

/* Returns when all nodes are so. */
static int plain_set(struct bench *b, bool plain)
{
    uint64_t deadline_ns = clock_boottime_ns() + MODE_NS;
    /* release: with what the exchanges are to be like */
    atomic_store_explicit(&b->shared->plain, plain, memory_order_release);
    for (uint32_t i = 0; i < NET_SERVERS;) {
        if ((atomic_load_explicit(&b->shared->is[i], memory_order_acquire) != 0) == plain)
            i++;
        else if (clock_boottime_ns() > deadline_ns)
            return -ETIMEDOUT;
        else
            (void)usleep(100);
    }
    return 0;
}

/* net_write_batch: the bytes of the writes are what counts. */
static int plain_write(void *client, const struct net_write *writes, uint32_t count)
{
    struct replicate_port_shared *s = client;
    (void)writes;
    (void)count;
    /* relaxed: the last change of it was awaited */
    uint32_t seen = atomic_load_explicit(&s->answered, memory_order_relaxed);
    atomic_store_explicit(&s->asked, seen + 1, memory_order_release);
    int rc = net_word_await(&s->answered, seen);
    return rc != 0 ? rc : s->status;
}

static int side_measure(void *context, uint64_t duration_ns, double *value)
{
    struct port_side *p = context;
    struct net_values *v = &p->values[p->count++ % PAIRS_MAX];
    bool plain = p->side == PLAIN;
    int rc = plain ? plain_set(p->bench, true) : 0;
    if (rc == 0)
        rc = net_side_measure(p->net, p->question->batch, min_u64(duration_ns, SLOT_MAX_NS), v);
    int back = plain ? plain_set(p->bench, false) : 0;
    rc = rc != 0 ? rc : back;
    if (rc != 0)
        (void)fprintf(stderr, "dunlin-bench: %s, %s: %s\n", p->question->name,
                      plain ? "plain packets" : "dunlin", strerror(-rc));
    *value = p->question->large ? v->rate : v->p50_ns;
    return rc;
}

/* What a plain packet carries instead of a record: the key and the value. */
static uint32_t question_bytes(const struct question *q)
{
    return q->batch *
           (q->large ? KEYS_LENGTH + LARGE_BYTES : (uint32_t)sizeof(struct net_write) + 16);
}

/* ---- rows ---- */

enum metric { P99, CPU };

/* The last rounds' other figures. */
static void judge(const struct port_side *sides, enum metric metric, struct pairs_judgement *j)
{
    const struct pairs_goal none = {PAIRS_NO_GOAL, 0};
    double values[SIDES][PAIRS_MAX];
    uint32_t count = (uint32_t)min_u64(sides[0].count, PAIRS_MAX);
    for (uint32_t i = 0; i < SIDES * count; i++) {
        const struct net_values *v = &sides[i / count].values[i % count];
        values[i / count][i % count] = metric == P99 ? v->p99_ns : v->cpu_ns;
    }
    pairs_judge(values[0], values[1], count, none, j);
}

static void note_tails(struct report_row *row, const struct net_side *sides)
{
    report_percentiles(row, &sides[DUNLIN].latency, 1);
    report_note(row, "the baseline's p99 %.0f, p99.9 %.0f",
                (double)histogram_percentile(&sides[PLAIN].latency, 0.99),
                (double)histogram_percentile(&sides[PLAIN].latency, 0.999));
}

/* Of a cable's rate, what the packets to a node take up when the plain side does so many writes a second. */
static double cable_share(const struct question *q, double rate)
{
    const uint32_t bytes = question_bytes(q);
    const uint32_t packets = (bytes + FRAME - 1) / FRAME;
    const uint32_t heads = packets * (PORT_NET_FRAME_BYTES - FRAME);
    return rate / q->batch * (bytes + heads) * 8 / (q->cable_mbit * 1e6);
}

static void note_large(struct report_row *row, const struct question *q, double share)
{
    if (q->cable_mbit == 0)
        report_note(row, "of values, to each of two followers");
    else
        report_note(row,
                    "batch %u; of values, to each of two followers; the baseline fills %.0f %% of "
                    "a cable%s",
                    q->batch, share * 100,
                    share < CABLE_FULL ? ": not the cables were the limit" : "");
}

static void report_all(struct bench *b, const struct port_side *sides, const char *driver,
                       struct pairs_judgement *judgement)
{
    const struct question *q = sides[0].question;
    const struct pairs_goal none = {PAIRS_NO_GOAL, 0};
    const double gb = LARGE_BYTES * 1e-9, mbit = LARGE_BYTES * 8e-6;
    const double scale = q->cable_mbit != 0 ? mbit : q->large ? gb : 1;
    const char *const unit = q->cable_mbit != 0 ? "Mbit/s" : q->large ? "GB/s" : "ns";
    const double share =
        q->cable_mbit != 0 ? cable_share(q, judgement->baseline_median) : CABLE_FULL;
    char name[64];
    struct pairs_judgement cpu, late;
    struct report_against to = {q->baseline, q->goal, *judgement};
    to.judgement.test_median *= scale;
    to.judgement.baseline_median *= scale;
    (void)snprintf(name, sizeof name, "%s, %s", driver, q->name);
    /* Why not a pass: the goal is one of cables, and these were not the limit.  A miss stays one. */
    if (share < CABLE_FULL && to.judgement.verdict == PAIRS_PASS)
        to.judgement.verdict = PAIRS_UNDECIDED;
    struct report_row *row = report_add_judged(&b->report, name, unit, &to);
    if (q->large) {
        note_large(row, q, share);
    } else {
        note_tails(row, b->net);
        judge(sides, P99, &late);
        to = (struct report_against){q->baseline, none, late};
        (void)snprintf(name, sizeof name, "%s, %s, p99", driver, q->name);
        (void)report_add_judged(&b->report, name, "ns", &to);
    }
    judge(sides, CPU, &cpu);
    to = (struct report_against){q->baseline, none, cpu};
    (void)snprintf(name, sizeof name, "%s, %s, CPU", driver, q->name);
    row = report_add_judged(&b->report, name, "ns", &to);
    report_note(row, "per write, client and nodes together, looks in vain included");
}

/* ---- asking ---- */

static uint64_t left_ns(const struct bench *b)
{
    uint64_t now_ns = clock_boottime_ns();
    return now_ns < b->deadline_ns ? b->deadline_ns - now_ns : 0;
}

/* Of those that are asked of one cluster: without cables none that limits them. */
static uint32_t questions_count(bool has_cable)
{
    uint32_t count = 0;
    while (count < QUESTIONS && (has_cable || questions[count].cable_mbit == 0))
        count++;
    return count;
}

static void question_set(struct bench *b, const struct question *q)
{
    b->client.large = q->large ? b->large : NULL;
    b->client.large_bytes = LARGE_BYTES;
    b->shared->bytes = question_bytes(q);
    for (uint32_t i = 0; i < SIDES; i++) {
        b->net[i].key_count = q->large ? LARGE_KEYS : KEYS;
        net_side_reset(&b->net[i]);
    }
}

static int ask(struct bench *b, const struct question *q, const char *driver)
{
    struct port_side *sides = calloc(SIDES, sizeof *sides);
    struct pairs_judgement judgement;
    if (sides == NULL)
        return -ENOMEM;
    question_set(b, q);
    for (uint32_t i = 0; i < SIDES; i++)
        sides[i] =
            (struct port_side){.bench = b, .question = q, .side = (enum side)i, .net = &b->net[i]};
    const struct pairs_side test = {side_measure, &sides[DUNLIN]};
    const struct pairs_baseline baseline = {{side_measure, &sides[PLAIN]}, q->goal};
    int rc = pairs_run(&test, &baseline, 1, left_ns(b) / b->left, &judgement);
    if (rc == 0)
        report_all(b, sides, driver, &judgement);
    free(sides);
    b->left--;
    return rc;
}

/* ---- the cluster ---- */

static int config_write(const struct bench *b, uint32_t number, const char *device,
                        const uint16_t control_ports[NET_SERVERS])
{
    const char *directory = bench_directory();
    const uint32_t id = number + 1;
    FILE *file = fopen(b->config_paths[number], "wex");
    if (file == NULL)
        return -errno;
    struct port_eal_words words;
    port_eal_words(&words, device);
    (void)fprintf(
        file,
        "node: {name: bench-%u, id: %u}\nsocket: {path: %s, mode: 0600}\n"
        "lcores: {count: 1}\ncluster:\n  name: bench\n  key_file: %s/key\n"
        "  encrypt: true\n  frame: %uB\n  transport: dpdk\n  dpdk: {port: \"%s\", eal: \"",
        id, id, b->daemons[number].socket_path, directory, FRAME, device);
    for (uint32_t i = 0; i < words.count; i++)
        (void)fprintf(file, "%s%s", i == 0 ? "" : " ", words.list[i]);
    (void)fprintf(file,
                  "\"}\n  control:\n    directory: %s/control%u-%u\n"
                  "    certificate: %s/node-%u.crt\n    key: %s/node-%u.key\n"
                  "    authority: %s/authority.crt\n    lease: %ums\n  nodes:\n",
                  directory, b->cluster, id, directory, id, directory, id, directory, LEASE_MS);
    for (uint32_t i = 0; i < NET_SERVERS; i++) {
        (void)fprintf(file,
                      "    - {id: %u, address: \"" REPLICATE_PORT_ADDRESS ":%u\", control: \"",
                      i + 1, i + 1, REPLICATE_PORT_UDP);
        if (b->nodes[i].has_cable)
            (void)fprintf(file, REPLICATE_PORT_CONTROL ":%u\"}\n", i + 1, CONTROL_PORT);
        else
            (void)fprintf(file, "127.0.0.1:%u\"}\n", control_ports[i]);
    }
    net_dunlin_spaces_print(file);
    return fclose(file) == 0 ? 0 : -errno;
}

static int nodes_start(struct bench *b, const char *const devices[NET_SERVERS], bool has_cable)
{
    uint16_t ports[NET_SERVERS];
    int rc = net_ports_find(SOCK_STREAM, ports);
    memset(b->shared, 0, sizeof *b->shared);
    for (uint32_t i = 0; i < NET_SERVERS; i++)
        b->nodes[i].has_cable = has_cable;
    for (uint32_t i = 0; i < NET_SERVERS && rc == 0; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "node%u-%u", b->cluster, i + 1);
        daemon_name(&b->daemons[i], name);
        (void)snprintf(b->config_paths[i], sizeof b->config_paths[i], "%s/%s.yaml",
                       bench_directory(), name);
        rc = config_write(b, i, devices[i], ports);
        b->nodes[i] = (struct replicate_port_node){.number = i,
                                                   .config_path = b->config_paths[i],
                                                   .log_path = b->daemons[i].log_path,
                                                   .has_cable = has_cable,
                                                   .shared = b->shared,
                                                   .shared_fd = b->shared_fd};
        if (rc == 0)
            b->daemons[i].pid = replicate_port_node_start(&b->nodes[i], net_cpu(&b->cpus, i + 1));
        if (rc == 0 && b->daemons[i].pid < 0)
            rc = (int)b->daemons[i].pid;
    }
    return rc;
}

/* A node's two cables to the switch: of its port, and of its kernel, which the control planes use. */
static int cable_lay(const struct bench *b, uint32_t node)
{
    const int pid = (int)b->daemons[node].pid;
    int rc = net_word_await(&b->shared->left[node], 0);
    if (rc == 0)
        rc = (int32_t)atomic_load_explicit(&b->shared->left[node], memory_order_acquire);
    if (rc < 0)
        return rc;
    return port_net_ip("link add port%u.%u " PORT_NET_QUEUES " type veth peer name " PORT_NET_CABLE
                       " " PORT_NET_QUEUES " netns %d\n"
                       "link set port%u.%u addrgenmode none master switch up\n"
                       "link add control%u.%u type veth peer name control netns %d\n"
                       "link set control%u.%u addrgenmode none master switch up\n",
                       b->cluster, node, pid, b->cluster, node, b->cluster, node, pid, b->cluster,
                       node);
}

static int cables_lay(struct bench *b)
{
    int rc = 0;
    for (uint32_t i = 0; i < NET_SERVERS && rc == 0; i++)
        rc = cable_lay(b, i);
    if (rc != 0) {
        (void)fprintf(stderr, "dunlin-bench: no namespaces or no cables between them: %s\n",
                      strerror(-rc));
        return rc;
    }
    atomic_store_explicit(&b->shared->go, 1, memory_order_release);
    for (uint32_t i = 0; i < NET_SERVERS; i++)
        net_word_wake(&b->shared->go);
    return 0;
}

/* What each node receives, at the switch's end.  False, with a row that says why: not asked. */
static bool cables_limit(struct bench *b, const struct question *q, const char *driver)
{
    char name[64];
    int rc = 0;
    for (uint32_t i = 0; i < NET_SERVERS && rc == 0; i++) {
        (void)snprintf(name, sizeof name, "port%u.%u", b->cluster, i);
        rc = port_net_limit(name, q->cable_mbit);
    }
    if (rc == 0)
        return true;
    (void)snprintf(name, sizeof name, "%s, %s", driver, q->name);
    report_note(report_add(&b->report, name, "Mbit/s", NAN), "skipped: %s",
                rc == -ENOENT ? "no tc here"
                              : "tc gave no token bucket, which this kernel may not have");
    b->left--;
    return false;
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
    question_set(b, &questions[0]);
    rc = net_side_fill(&b->net[DUNLIN], LARGE_BATCH);
    if (rc == 0) {
        question_set(b, &questions[QUESTIONS - 1]);
        rc = net_side_fill(&b->net[DUNLIN], LARGE_BATCH);
    }
    return rc;
}

static void sides_set(struct bench *b)
{
    memset(b->net, 0, sizeof b->net);
    b->net[DUNLIN].write = net_dunlin_write;
    b->net[DUNLIN].client = &b->client;
    b->net[PLAIN].write = plain_write;
    b->net[PLAIN].client = b->shared;
    for (uint32_t i = 0; i < SIDES; i++)
        for (uint32_t n = 0; n < NET_SERVERS; n++)
            b->net[i].pids[b->net[i].pid_count++] = b->daemons[n].pid;
}

/* Why here: their logs go with the bench's directory. */
static void nodes_quote(const struct bench *b)
{
    for (uint32_t i = 0; i < NET_SERVERS; i++) {
        (void)fprintf(stderr, "dunlin-bench: node %u said:\n", i + 1);
        daemon_log_print(&b->daemons[i]);
    }
}

static int cluster_ask(struct bench *b, const char *const devices[NET_SERVERS], bool has_cable)
{
    char driver[PORT_EAL_NAME_BYTES];
    port_eal_name(devices[0], driver);
    b->cluster++;
    int rc = nodes_start(b, devices, has_cable);
    if (rc == 0 && has_cable)
        rc = cables_lay(b);
    sides_set(b);
    if (rc == 0)
        rc = cluster_settle(b);
    for (uint32_t i = 0; i < questions_count(has_cable) && rc == 0; i++) {
        const struct question *q = &questions[i];
        if (q->cable_mbit == 0 || cables_limit(b, q, driver))
            rc = ask(b, q, driver);
    }
    if (rc != 0)
        nodes_quote(b);
    dunlin_close(b->client.handle);
    b->client = (struct net_dunlin_client){.handle = NULL};
    for (uint32_t i = 0; i < NET_SERVERS; i++) {
        net_end(b->daemons[i].pid);
        b->daemons[i].pid = 0;
    }
    return rc;
}

/* ---- ways to join ports ---- */

/* Ports that are memory, and a switch that has the other end of each. */
static int memif_ask(struct bench *b)
{
    char file[96], devargs[NET_SERVERS][PORT_NET_MEMIF_BYTES];
    const char *devices[NET_SERVERS];
    (void)snprintf(file, sizeof file, "%s/memif", bench_directory());
    for (uint32_t i = 0; i < NET_SERVERS; i++) {
        port_net_memif(devargs[i], file, i + 1, false);
        devices[i] = devargs[i];
    }
    atomic_store_explicit(&b->shared->joined, 0, memory_order_relaxed); /* nobody else is there */
    pid_t pid = replicate_port_switch_start(b->shared, file, net_cpu(&b->cpus, NET_SERVERS + 1));
    int rc = pid < 0 ? (int)pid : net_word_await(&b->shared->joined, 0);
    if (rc == 0)
        rc = (int32_t)atomic_load_explicit(&b->shared->joined, memory_order_acquire);
    rc = rc == 1 ? 0 : rc;
    if (rc == 0)
        rc = port_net_ip("link set lo up\n"); /* for the control planes */
    if (rc == 0)
        rc = cluster_ask(b, devices, false);
    net_end(pid);
    return rc;
}

static int cables_ask(struct bench *b)
{
    int rc = port_net_leave();
    if (rc == 0)
        rc =
            port_net_ip("link add switch type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n"
                        "link set switch addrgenmode none up\n");
    for (uint32_t i = 0; i < PORT_NET_KINDS && rc == 0; i++) {
        const struct port_net_kind *kind = &port_net_kinds[i];
        const char *const devices[NET_SERVERS] = {kind->devargs, kind->devargs, kind->devargs};
        if (port_net_has(kind)) {
            rc = cluster_ask(b, devices, true);
            continue;
        }
        report_note(report_add(&b->report, kind->driver, "ns", NAN),
                    "skipped: this kernel has no such sockets");
        b->left -= questions_count(true);
    }
    return rc;
}

/* ---- all ---- */

/* Why not close-on-exec: the nodes' program takes it from there. */
static int shared_map(struct bench *b)
{
    b->shared_fd = memfd_create("bench-nodes", 0);
    if (b->shared_fd < 0)
        return -errno;
    void *memory = MAP_FAILED;
    if (ftruncate(b->shared_fd, sizeof *b->shared) == 0)
        memory = mmap(NULL, sizeof *b->shared, PROT_READ | PROT_WRITE, MAP_SHARED, b->shared_fd, 0);
    if (memory == MAP_FAILED) {
        int rc = -errno;
        (void)close(b->shared_fd);
        return rc;
    }
    b->shared = memory;
    return 0;
}

static int run(struct bench *b, const struct net_options *net)
{
    int rc = shared_map(b);
    if (rc != 0)
        return rc;
    b->left = questions_count(false);
    if (net->port_count == 0)
        b->left += PORT_NET_KINDS * questions_count(true);
    rc = port_eal_files(bench_directory());
    if (rc == 0)
        rc = cluster_files_write();
    if (rc == 0)
        rc = net->port_count != 0 ? cluster_ask(b, net->ports, false) : cables_ask(b);
    if (rc == 0 && net->port_count == 0)
        rc = memif_ask(b);
    (void)munmap(b->shared, sizeof *b->shared);
    (void)close(b->shared_fd);
    return rc;
}

int bench_replicate_port(const struct bench_options *options, const struct net_options *net)
{
    struct bench *b = calloc(1, sizeof *b);
    if (b == NULL)
        return BENCH_REFUSED;
    b->deadline_ns = clock_boottime_ns() + (uint64_t)(options->seconds * 1e9);
    b->cpus = net->cpus;
    b->cpus.count = b->cpus.count == 0 ? 1 : b->cpus.count; /* all on the first */
    report_init(&b->report, "replicate");
    int rc = machine_pin(net_cpu(&b->cpus, 0));
    if (rc >= 0)
        rc = run(b, net);
    int code = bench_end(&b->report, rc, options->json);
    free(b);
    return code;
}
