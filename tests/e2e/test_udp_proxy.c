/* The proxy as a process between sockets of the test: what udp_faults.c decides does happen on the
 * wire, the counts tell it, and each address is the one that was asked for.
 *
 * No wait decides: what is sent over the loopback interface lies in the receiver's buffer when the send
 * returns, and the proxy, told to end, first takes and sends all that. */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARGUMENTS_MAX 24
#define FEW 200u /* their copies still fit the buffers of ordinary sockets */
#define LENGTH_MAX 65507u
#define PATIENCE_S 20 /* until a test that waits for what has to come gives up */

struct proxy {
    pid_t pid;
    FILE *out;
    struct sockaddr_in address;
    char counts[1024]; /* the closing line */
};

static int server;
static struct sockaddr_in server_address;
static struct proxy proxy;
static uint8_t buffer[65536];

/* ---- sockets ---- */

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int socket_open(struct sockaddr_in *address)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    const int bytes = 1 << 20;
    socklen_t length = sizeof *address;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    *address = loopback(0);
    CU_ASSERT_FATAL(fd >= 0 && bind(fd, (struct sockaddr *)address, sizeof *address) == 0 &&
                    getsockname(fd, (struct sockaddr *)address, &length) == 0 &&
                    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
                    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes) == 0);
    return fd;
}

/* A datagram whose bytes all follow from number and length. */
static void fill(uint8_t *bytes, uint32_t number, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(number >> (i % 4 * 8)) ^ (uint8_t)(i >> 2);
}

static bool send_number(int fd, const struct sockaddr_in *to, uint32_t number, uint32_t length)
{
    static uint8_t bytes[65536];
    fill(bytes, number, length);
    return sendto(fd, bytes, length, 0, (const struct sockaddr *)to, sizeof *to) == (ssize_t)length;
}

/* Length, or -1: nothing came, in time or with MSG_DONTWAIT at once. */
static ssize_t take(int fd, int flags, struct sockaddr_in *from)
{
    socklen_t length = sizeof *from;
    return recvfrom(fd, buffer, sizeof buffer, flags, (struct sockaddr *)from, &length);
}

/* What take took is that datagram, whole. */
static bool is_number(uint32_t number, uint32_t length)
{
    static uint8_t bytes[65536];
    fill(bytes, number, length);
    return memcmp(buffer, bytes, length) == 0;
}

/* ---- the process ---- */

static void exec_proxy(const char *const *more, int out)
{
    char to[32];
    const char *arguments[ARGUMENTS_MAX] = {UDP_PROXY, "--listen", "127.0.0.1:0", "--to", to};
    (void)snprintf(to, sizeof to, "127.0.0.1:%u", ntohs(server_address.sin_port));
    for (size_t i = 0; more[i] != NULL; i++)
        arguments[5 + i] = more[i];
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(out, STDOUT_FILENO);
    (void)execv(UDP_PROXY, (char *const *)(uintptr_t)arguments);
    _exit(127);
}

static void start(const char *const *more)
{
    int ends[2];
    unsigned port = 0;
    server = socket_open(&server_address);
    CU_ASSERT_FATAL(pipe2(ends, O_CLOEXEC) == 0);
    proxy.pid = fork();
    CU_ASSERT_FATAL(proxy.pid >= 0);
    if (proxy.pid == 0)
        exec_proxy(more, ends[1]);
    (void)close(ends[1]);
    proxy.out = fdopen(ends[0], "r");
    CU_ASSERT_FATAL(proxy.out != NULL &&
                    fgets(proxy.counts, sizeof proxy.counts, proxy.out) != NULL &&
                    sscanf(proxy.counts, "listening 127.0.0.1:%u\n", &port) == 1);
    proxy.address = loopback((uint16_t)port);
}

/* The last line it prints is in counts. */
static void stop(void)
{
    int status;
    CU_ASSERT_EQUAL(kill(proxy.pid, SIGTERM), 0);
    while (fgets(proxy.counts, sizeof proxy.counts, proxy.out) != NULL)
        ;
    CU_ASSERT_FATAL(waitpid(proxy.pid, &status, 0) == proxy.pid);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    (void)fclose(proxy.out);
}

/* A number of the line of counts; UINT64_MAX: it has none of that name. */
static uint64_t count_of(const char *name)
{
    char word[64];
    (void)snprintf(word, sizeof word, " %s=", name);
    const char *at = strstr(proxy.counts, word);
    return at == NULL ? UINT64_MAX : strtoull(at + strlen(word), NULL, 10);
}

/* ---- a whole run: FEW datagrams to the server ---- */

static uint32_t got[FEW * 3]; /* numbers, UINT32_MAX: no whole one */
static uint32_t got_count;

static void run(const char *const *more)
{
    struct sockaddr_in own, from;
    start(more);
    int client = socket_open(&own);
    for (uint32_t n = 0; n < FEW; n++)
        CU_ASSERT(send_number(client, &proxy.address, n, 64));
    stop();
    got_count = 0;
    while (got_count < FEW * 3 && take(server, MSG_DONTWAIT, &from) == 64) {
        uint32_t n = UINT32_MAX;
        for (uint32_t i = 0; i < FEW; i++)
            n = is_number(i, 64) ? i : n;
        got[got_count++] = n;
    }
    (void)close(client);
    (void)close(server);
    CU_ASSERT_EQUAL(count_of("clients"), 1);
    CU_ASSERT_EQUAL(count_of("kernel_dropped"), 0);
    CU_ASSERT_EQUAL(count_of("to_server.received"), FEW);
    CU_ASSERT_EQUAL(count_of("to_server.sent"), got_count);
    CU_ASSERT_EQUAL(got_count, FEW - count_of("to_server.lost") + count_of("to_server.duplicated") +
                                   count_of("to_server.replayed"));
}

static uint32_t whole(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < got_count; i++)
        count += got[i] != UINT32_MAX;
    return count;
}

/* Whole ones that come behind a higher or the same one. */
static uint32_t not_in_order(void)
{
    uint32_t count = 0, next = 0;
    for (uint32_t i = 0; i < got_count; i++) {
        count += got[i] < next;
        next = got[i] != UINT32_MAX && got[i] >= next ? got[i] + 1 : next;
    }
    return count;
}

static void without_faults_nothing_changes(void)
{
    run((const char *[]){NULL});
    CU_ASSERT_EQUAL(got_count, FEW);
    CU_ASSERT_EQUAL(whole(), FEW);
    CU_ASSERT_EQUAL(not_in_order(), 0);
}

static void each_fault_happens(void)
{
    run((const char *[]){"--loss", "0.2", NULL});
    CU_ASSERT(count_of("to_server.lost") > 0);
    CU_ASSERT(got_count < FEW && whole() == got_count && not_in_order() == 0);
    run((const char *[]){"--corrupt", "0.2", NULL});
    CU_ASSERT(count_of("to_server.corrupted") > 0);
    CU_ASSERT_EQUAL(whole(), FEW - count_of("to_server.corrupted"));
    CU_ASSERT_EQUAL(not_in_order(), 0);
    run((const char *[]){"--duplicate", "0.2", NULL});
    CU_ASSERT(count_of("to_server.duplicated") > 0);
    CU_ASSERT(whole() == got_count && not_in_order() == count_of("to_server.duplicated"));
    run((const char *[]){"--replay", "0.2", NULL});
    CU_ASSERT(count_of("to_server.replayed") > 0);
    CU_ASSERT(whole() == got_count && not_in_order() == count_of("to_server.replayed"));
    run((const char *[]){"--reorder", "0.2", NULL});
    CU_ASSERT(count_of("to_server.reordered") > 0);
    CU_ASSERT_EQUAL(whole(), FEW);
    CU_ASSERT_EQUAL(not_in_order(), count_of("to_server.reordered"));
}

static void a_seed_repeats(void)
{
    static uint32_t first[FEW * 3];
    run((const char *[]){"--loss", "0.3", "--seed", "42", NULL});
    uint32_t count = got_count;
    memcpy(first, got, sizeof got);
    run((const char *[]){"--loss", "0.3", "--seed", "42", NULL});
    CU_ASSERT(count == got_count && memcmp(first, got, count * sizeof got[0]) == 0);
    run((const char *[]){"--loss", "0.3", "--seed", "43", NULL});
    CU_ASSERT(count != got_count || memcmp(first, got, count * sizeof got[0]) != 0);
}

/* What waits for its time when the proxy is told to end is sent, too. */
static void the_end_waits_for_nothing(void)
{
    run((const char *[]){"--delay-us", "3600000000", NULL});
    CU_ASSERT_EQUAL(got_count, FEW);
    CU_ASSERT_EQUAL(not_in_order(), 0);
}

/* ---- to and fro ---- */

static void any_length_both_ways(void)
{
    const uint32_t lengths[] = {0, 1, 47, 1400, 1500, 9000, 32768, LENGTH_MAX};
    struct sockaddr_in own, seen, from;
    start((const char *[]){NULL});
    int client = socket_open(&own);
    for (uint32_t n = 0; n < 80; n++) {
        uint32_t length = lengths[n % 8];
        CU_ASSERT(send_number(client, &proxy.address, n, length));
        CU_ASSERT_FATAL(take(server, 0, &seen) == (ssize_t)length);
        CU_ASSERT(is_number(n, length));
        CU_ASSERT(send_number(server, &seen, n + 1000, length));
        CU_ASSERT_FATAL(take(client, 0, &from) == (ssize_t)length);
        CU_ASSERT(is_number(n + 1000, length));
        CU_ASSERT_EQUAL(from.sin_port, proxy.address.sin_port);
    }
    stop();
    CU_ASSERT_EQUAL(count_of("to_server.sent"), 80);
    CU_ASSERT_EQUAL(count_of("to_client.sent"), 80);
    (void)close(client);
    (void)close(server);
}

static void segmented_sends_come_as_datagrams(void)
{
    const int segment = 1000;
    static uint8_t bytes[4 * 1000];
    struct sockaddr_in own, from;
    start((const char *[]){NULL});
    int client = socket_open(&own);
    for (uint32_t n = 0; n < 4; n++)
        fill(bytes + n * 1000, n, 1000);
    CU_ASSERT_EQUAL(setsockopt(client, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment), 0);
    CU_ASSERT_EQUAL(sendto(client, bytes, sizeof bytes, 0, (struct sockaddr *)&proxy.address,
                           sizeof proxy.address),
                    sizeof bytes);
    for (uint32_t n = 0; n < 4; n++) {
        CU_ASSERT_FATAL(take(server, 0, &from) == 1000);
        CU_ASSERT(is_number(n, 1000));
    }
    stop();
    CU_ASSERT_EQUAL(count_of("to_server.received"), 4);
    (void)close(client);
    (void)close(server);
}

static uint64_t now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* A slow machine makes it longer, never shorter. */
static void delay_delays(void)
{
    struct sockaddr_in own, from;
    start((const char *[]){"--delay-us", "30000", NULL});
    int client = socket_open(&own);
    uint64_t before = now_us();
    CU_ASSERT(send_number(client, &proxy.address, 1, 100));
    CU_ASSERT_FATAL(take(server, 0, &from) == 100);
    CU_ASSERT(now_us() - before >= 30000);
    stop();
    (void)close(client);
    (void)close(server);
}

/* Sixteen find their answers, the seventeenth is refused and harms none. */
static void clients_are_told_apart(void)
{
    int clients[17];
    struct sockaddr_in own[17], seen[16], from;
    start((const char *[]){NULL});
    for (uint32_t i = 0; i < 17; i++) {
        clients[i] = socket_open(&own[i]);
        CU_ASSERT(send_number(clients[i], &proxy.address, i, 100));
        if (i < 16) {
            CU_ASSERT_FATAL(take(server, 0, &seen[i]) == 100);
            CU_ASSERT(is_number(i, 100));
        }
        for (uint32_t j = 0; j < i && i < 16; j++)
            CU_ASSERT_NOT_EQUAL(seen[i].sin_port, seen[j].sin_port);
    }
    for (uint32_t i = 0; i < 16; i++)
        CU_ASSERT(send_number(server, &seen[15 - i], 100 + 15 - i, 100));
    for (uint32_t i = 0; i < 16; i++) {
        CU_ASSERT_FATAL(take(clients[i], 0, &from) == 100);
        CU_ASSERT(is_number(100 + i, 100));
    }
    /* Not the server's: it goes nowhere. */
    CU_ASSERT(send_number(clients[16], &seen[3], 5, 100));
    stop();
    CU_ASSERT_EQUAL(count_of("clients"), 16);
    CU_ASSERT_EQUAL(count_of("refused"), 1);
    CU_ASSERT_EQUAL(count_of("strangers"), 1);
    CU_ASSERT_EQUAL(count_of("to_client.sent"), 16);
    CU_ASSERT(take(server, MSG_DONTWAIT, &from) < 0 && errno == EAGAIN);
    for (uint32_t i = 0; i < 17; i++)
        (void)close(clients[i]);
    (void)close(server);
}

/* The server knows the client by a fixed address, also when the client comes back from another. */
static void upstream_is_bound(void)
{
    struct sockaddr_in upstream, own, from;
    char text[32];
    int taken = socket_open(&upstream);
    (void)snprintf(text, sizeof text, "127.0.0.1:%u", ntohs(upstream.sin_port));
    (void)close(taken);
    start((const char *[]){"--bind-upstream", text, NULL});
    CU_ASSERT(send_number(server, &upstream, 1, 100)); /* nobody there yet */
    /* Why: no client is heard before that one was taken. */
    CU_ASSERT_EQUAL(kill(proxy.pid, SIGUSR1), 0);
    do {
        bool told = fgets(proxy.counts, sizeof proxy.counts, proxy.out) != NULL;
        CU_ASSERT_FATAL(told && kill(proxy.pid, SIGUSR1) == 0);
    } while (count_of("to_client.no_client") != 1);
    for (uint32_t n = 0; n < 2; n++) {
        int client = socket_open(&own);
        CU_ASSERT(send_number(client, &proxy.address, 2 + n, 100));
        CU_ASSERT_FATAL(take(server, 0, &from) == 100);
        CU_ASSERT(is_number(2 + n, 100));
        CU_ASSERT_EQUAL(from.sin_port, upstream.sin_port);
        CU_ASSERT(send_number(server, &upstream, 10 + n, 100));
        CU_ASSERT_FATAL(take(client, 0, &from) == 100);
        CU_ASSERT(is_number(10 + n, 100));
        (void)close(client);
    }
    stop();
    CU_ASSERT_EQUAL(count_of("clients"), 1);
    CU_ASSERT_EQUAL(count_of("refused"), 0);
    (void)close(server);
}

/* ---- the record, the command line ---- */

static void record_has_what_came(void)
{
    char path[] = "/tmp/dunlin-udp-proxy.XXXXXX";
    uint32_t head[6];
    uint8_t whence[4];
    int fd = mkstemp(path);
    CU_ASSERT_FATAL(fd >= 0);
    (void)close(fd);
    run((const char *[]){"--record", path, "--loss", "0.5", "--corrupt", "0.5", NULL});
    FILE *file = fopen(path, "re");
    CU_ASSERT_FATAL(file != NULL && fread(head, 1, 24, file) == 24);
    CU_ASSERT(head[0] == 0xa1b2c3d4 && head[5] == 147);
    for (uint32_t n = 0; n < FEW; n++) {
        CU_ASSERT_FATAL(fread(head, 1, 16, file) == 16 && head[2] == 68 && head[3] == 68);
        CU_ASSERT(fread(whence, 1, 4, file) == 4 && whence[0] == 0 && whence[1] == 0);
        CU_ASSERT(fread(buffer, 1, 64, file) == 64 && is_number(n, 64));
    }
    CU_ASSERT(fgetc(file) == EOF);
    (void)fclose(file);
    (void)unlink(path);
}

static int exit_of(const char *const *arguments)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        if (freopen("/dev/null", "w", stdout) == NULL || freopen("/dev/null", "w", stderr) == NULL)
            _exit(126);
        (void)execv(UDP_PROXY, (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    CU_ASSERT_FATAL(pid > 0 && waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void bad_usage_is_refused(void)
{
    const char *const bad[][2] = {
        {"--loss", "1.1"},
        {"--loss", "-0.1"},
        {"--loss", "nan"},
        {"--duplicate", "x"},
        {"--reorder", ""},
        {"--replay", "0.5x"},
        {"--corrupt", "2"},
        {"--delay-us", "-1"},
        {"--delay-us", "4294967296"},
        {"--seed", "1x"},
        {"--listen", "127.0.0.1"},
        {"--listen", "localhost:1"},
        {"--to", "127.0.0.1:"},
        {"--to", "127.0.0.1:70000"},
        {"--to", "127.0.0.1:0"},
        {"--colour", "green"},
        {"more", NULL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *const arguments[] = {UDP_PROXY,     "--listen", "127.0.0.1:0", "--to",
                                         "127.0.0.1:9", bad[i][0],  bad[i][1],     NULL};
        CU_ASSERT_EQUAL(exit_of(arguments), 2);
    }
    CU_ASSERT_EQUAL(exit_of((const char *[]){UDP_PROXY, "--listen", "127.0.0.1:0", NULL}), 2);
    CU_ASSERT_EQUAL(exit_of((const char *[]){UDP_PROXY, "--help", NULL}), 0);
    CU_ASSERT_EQUAL(exit_of((const char *[]){UDP_PROXY, "--listen", "192.0.2.1:1", "--to",
                                             "127.0.0.1:9", NULL}),
                    1);
}

static const struct unit_test tests[] = {
    UNIT_TEST(without_faults_nothing_changes),
    UNIT_TEST(each_fault_happens),
    UNIT_TEST(a_seed_repeats),
    UNIT_TEST(the_end_waits_for_nothing),
    UNIT_TEST(any_length_both_ways),
    UNIT_TEST(segmented_sends_come_as_datagrams),
    UNIT_TEST(delay_delays),
    UNIT_TEST(clients_are_told_apart),
    UNIT_TEST(upstream_is_bound),
    UNIT_TEST(record_has_what_came),
    UNIT_TEST(bad_usage_is_refused),
};

UNIT_MAIN("udp_proxy", tests)
