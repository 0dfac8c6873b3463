#include "bench/rdma_perftest.h"

#include "bench/bench.h"
#include "bench/replicate_net_side.h"
#include "engine/clock.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_NS (30 * NS_PER_S) /* of a program, on a machine that is emulated */
#define RUN_NS (90 * NS_PER_S)   /* of a measurement in all */
#define TRIES 5u /* programs measure the processor's clock as they start, or say 0 */
#define LOOK_US 2000u
#define WORDS 20u
#define NUMBER_BYTES 12u
#define TEXT_BYTES 8192u

static const char *const programs[] = {
    [RDMA_PERFTEST_LATENCY] = "ib_write_lat",
    [RDMA_PERFTEST_RATE] = "ib_write_bw",
};

/* One process of a pair. */
struct program {
    const struct rdma_perftest *asked;
    uint16_t tcp_port; /* over which the two agree */
    bool is_client;
    pid_t pid;
    char output[128];
};

/* ---- one process ---- */

/* net_fork's task. */
static void program_run(void *context)
{
    const struct program *p = context;
    const struct rdma_perftest *asked = p->asked;
    char numbers[5][NUMBER_BYTES];
    const uint32_t values[] = {asked->device->port, asked->device->gid_index, asked->bytes,
                               asked->iterations, p->tcp_port};
    for (uint32_t i = 0; i < 5; i++)
        (void)snprintf(numbers[i], sizeof numbers[i], "%u", values[i]);
    char name[RDMA_DEVICE_NAME_BYTES], program[16], address[INET_ADDRSTRLEN];
    (void)snprintf(name, sizeof name, "%s", asked->device->name);
    (void)snprintf(program, sizeof program, "%s", programs[asked->kind]);
    (void)snprintf(address, sizeof address, "%s", asked->device->address);
    char d[] = "-d", i[] = "-i", x[] = "-x", s[] = "-s", n[] = "-n", port[] = "-p", quiet[] = "-F",
         gbits[] = "--report_gbits";
    char *words[WORDS] = {program,    quiet, d,          name, i,          numbers[0], x,
                          numbers[1], s,     numbers[2], n,    numbers[3], port,       numbers[4]};
    uint32_t count = 14;
    if (asked->kind == RDMA_PERFTEST_RATE)
        words[count++] = gbits;
    if (p->is_client)
        words[count++] = address;
    int fd = open(p->output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0 && dup2(fd, STDOUT_FILENO) >= 0 && dup2(fd, STDERR_FILENO) >= 0)
        (void)execvp(program, words);
    _exit(127);
}

static int program_start(struct program *p, uint32_t cpu)
{
    (void)snprintf(p->output, sizeof p->output, "%s/perftest-%s-%u", bench_directory(),
                   p->is_client ? "client" : "server", p->tcp_port);
    p->pid = net_fork(cpu, program_run, p);
    return p->pid < 0 ? (int)p->pid : 0;
}

/* Until it has ended; gone from here on.  Returns 0, -ETIMEDOUT, or -EIO: not well. */
static int program_await(struct program *p, uint64_t deadline_ns)
{
    int fd = (int)syscall(SYS_pidfd_open, p->pid, 0), status = -1;
    if (fd < 0)
        return -errno;
    uint64_t now_ns = clock_boottime_ns();
    struct pollfd end = {.fd = fd, .events = POLLIN};
    int got = poll(&end, 1, now_ns < deadline_ns ? (int)((deadline_ns - now_ns) / 1000000) : 0);
    (void)close(fd);
    if (got <= 0)
        return -ETIMEDOUT;
    pid_t ended = waitpid(p->pid, &status, 0);
    p->pid = 0;
    return ended > 0 && status == 0 ? 0 : -EIO;
}

/* Why not by connecting: that would be its client. */
static bool is_listening(uint16_t tcp_port)
{
    char line[256], wanted[32];
    bool found = false;
    FILE *file = fopen("/proc/net/tcp", "re");
    (void)snprintf(wanted, sizeof wanted, ":%04X 00000000:0000 0A", tcp_port);
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL)
        found = strstr(line, wanted) != NULL;
    if (file != NULL)
        (void)fclose(file);
    return found;
}

static int server_await(const struct program *p)
{
    uint64_t deadline_ns = clock_boottime_ns() + START_NS;
    siginfo_t info = {.si_pid = 0};
    while (!is_listening(p->tcp_port)) {
        if (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
            info.si_pid != 0)
            return -EIO;
        if (clock_boottime_ns() > deadline_ns)
            return -ETIMEDOUT;
        (void)usleep(LOOK_US);
    }
    return 0;
}

/* ---- a run ---- */

static void text_read(const struct program *p, char text[TEXT_BYTES])
{
    FILE *file = fopen(p->output, "re");
    size_t got = file != NULL ? fread(text, 1, TEXT_BYTES - 1, file) : 0;
    text[got] = '\0';
    if (file != NULL)
        (void)fclose(file);
    (void)unlink(p->output);
}

/* Its last line that says something. */
static void complain(const struct program *p, const char *text, int rc)
{
    const char *line = text, *last = "it said nothing";
    int length = (int)strlen(last);
    for (; *line != '\0'; line += strcspn(line, "\n"), line += *line == '\n') {
        if (line[0] == '-' || line[0] == '\n')
            continue;
        last = line;
        length = (int)strcspn(line, "\n");
    }
    (void)fprintf(stderr, "dunlin-bench: %s of %s: %s; its last word: %.*s\n",
                  programs[p->asked->kind], p->is_client ? "the client" : "the server",
                  strerror(-rc), length, last);
}

/* A value is better when it is a shorter time or a higher rate. */
static bool is_better(const struct rdma_perftest *p, double value, double than)
{
    return p->kind == RDMA_PERFTEST_LATENCY ? value < than : value > than;
}

/* After a word on stderr where it failed. */
static int server_start(struct program *p, uint32_t cpu)
{
    char text[TEXT_BYTES];
    int rc = program_start(p, cpu);
    if (rc == 0)
        rc = server_await(p);
    if (rc != 0) {
        text_read(p, text);
        complain(p, text, rc);
    }
    return rc;
}

/* All servers, and then all clients, so that these begin at about the same time. */
static int pairs_start(struct rdma_perftest *p, struct program pairs[][2])
{
    uint16_t ports[NET_SERVERS];
    int rc = net_ports_find(SOCK_STREAM, ports);
    for (uint32_t i = 0; i < p->pairs && rc == 0; i++) {
        for (uint32_t side = 0; side < 2; side++)
            pairs[i][side] =
                (struct program){.asked = p, .tcp_port = ports[i], .is_client = side == 1};
        rc = server_start(&pairs[i][0], 2 * i + 1);
    }
    for (uint32_t i = 0; i < p->pairs && rc == 0; i++)
        rc = program_start(&pairs[i][1], 2 * i);
    return rc;
}

/* What both of a pair say counts for its value: that of the client. */
static int pair_read(struct program pair[2], uint64_t deadline_ns, double *value)
{
    char text[TEXT_BYTES];
    int rc = program_await(&pair[1], deadline_ns);
    text_read(&pair[1], text);
    if (rc == 0)
        rc = rdma_perftest_parse(text, pair[1].asked->kind, pair[1].asked->bytes, value);
    if (rc != 0) {
        complain(&pair[1], text, rc);
        return rc;
    }
    rc = program_await(&pair[0], deadline_ns);
    text_read(&pair[0], text);
    if (rc != 0)
        complain(&pair[0], text, rc);
    return rc;
}

static int run_once(struct rdma_perftest *p, uint64_t duration_ns, double *value)
{
    struct program pairs[RDMA_PERFTEST_PAIRS_MAX][2] = {0};
    ASSERT(p->pairs >= 1 && p->pairs <= RDMA_PERFTEST_PAIRS_MAX);
    if (p->iterations == 0)
        p->iterations = RDMA_PERFTEST_ITERATIONS_MIN;
    uint64_t deadline_ns = clock_boottime_ns() + RUN_NS;
    int rc = pairs_start(p, pairs);
    for (uint32_t i = 0; i < p->pairs && rc == 0; i++) {
        double one;
        rc = pair_read(pairs[i], deadline_ns, &one);
        if (rc == 0 && (i == 0 || is_better(p, one, *value)))
            *value = one;
    }
    for (uint32_t i = 0; i < p->pairs; i++)
        for (uint32_t side = 0; side < 2; side++)
            net_end(pairs[i][side].pid);
    if (rc == 0)
        p->iterations = rdma_perftest_iterations(p, *value, duration_ns);
    return rc;
}

int rdma_perftest_run(struct rdma_perftest *p, uint64_t duration_ns, double *value)
{
    int rc = -EPROTO;
    for (uint32_t i = 0; i < TRIES && rc == -EPROTO; i++)
        rc = run_once(p, duration_ns, value);
    return rc;
}

bool rdma_perftest_is_there(void)
{
    const char *path = getenv("PATH");
    uint32_t found = 0;
    for (uint32_t i = 0; i < sizeof programs / sizeof programs[0] && path != NULL; i++) {
        bool is = false;
        for (const char *at = path; !is && *at != '\0';) {
            char file[512];
            size_t length = strcspn(at, ":");
            (void)snprintf(file, sizeof file, "%.*s/%s", (int)length, at, programs[i]);
            is = access(file, X_OK) == 0;
            at += length + (at[length] == ':');
        }
        found += is;
    }
    return found == sizeof programs / sizeof programs[0];
}
