#include "bench/replicate_net_redis.h"

#include "bench/bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SERVER "redis-server" /* what the program must be called by */
#define OK "+OK\r\n"
#define OK_BYTES 5u
#define REQUEST_BYTES ((size_t)NET_BATCH_MAX * 160 + 128)
#define REPLY_BYTES ((size_t)NET_BATCH_MAX * 8)
#define START_STEPS 1000u /* of 10 ms */
#define ARGUMENTS_MAX 40u

/* ---- one write ---- */

/* A line for each SET, and :N with N below 10. */
static size_t reply_bytes(uint32_t count)
{
    return (size_t)count * OK_BYTES + 4;
}

static size_t put_text(char *to, const char *text)
{
    size_t length = strlen(text);
    memcpy(to, text, length);
    return length;
}

static size_t put_set(char *to, const struct net_write *w)
{
    size_t at = put_text(to, "*3\r\n$3\r\nSET\r\n$16\r\n");
    memcpy(to + at, w->key, KEYS_LENGTH);
    at += KEYS_LENGTH;
    at += put_text(to + at, "\r\n$64\r\n");
    memcpy(to + at, w->value, KEYS_VALUE_BYTES);
    at += KEYS_VALUE_BYTES;
    return at + put_text(to + at, "\r\n");
}

_Static_assert(KEYS_LENGTH == 16 && KEYS_VALUE_BYTES == 64, "the lengths in the text");

static int send_all(int fd, const char *bytes, size_t length)
{
    while (length != 0) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            return -errno;
        bytes += sent > 0 ? sent : 0;
        length -= sent > 0 ? (size_t)sent : 0;
    }
    return 0;
}

bool net_redis_is_done(const char *reply, size_t length, uint32_t count, uint32_t replicas)
{
    if (length != reply_bytes(count))
        return false;
    for (uint32_t i = 0; i < count; i++, reply += OK_BYTES)
        if (memcmp(reply, OK, OK_BYTES) != 0)
            return false;
    return reply[0] == ':' && reply[1] >= (char)('0' + replicas) && reply[1] <= '9' &&
           reply[2] == '\r' && reply[3] == '\n';
}

static int take_reply(const struct net_redis *r, uint32_t count, uint32_t replicas)
{
    size_t need = reply_bytes(count), got = 0;
    while (got < need) {
        ssize_t more = recv(r->fd, r->reply + got, need - got, 0);
        if (more == 0 || (more < 0 && errno != EINTR))
            return more == 0 ? -EPIPE : errno == EAGAIN ? -ETIMEDOUT : -errno;
        got += more > 0 ? (size_t)more : 0;
        if (got > 0 && r->reply[0] == '-')
            return -EPROTO; /* an error, of another length */
    }
    return net_redis_is_done(r->reply, got, count, replicas) ? 0 : -EPROTO;
}

static int write_and_wait(struct net_redis *r, const struct net_write *writes, uint32_t count,
                          uint32_t replicas)
{
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++)
        at += put_set(r->request + at, &writes[i]);
    at += put_text(r->request + at, "*3\r\n$4\r\nWAIT\r\n$1\r\n");
    r->request[at++] = (char)('0' + replicas);
    at += put_text(r->request + at, "\r\n$4\r\n5000\r\n");
    int rc = send_all(r->fd, r->request, at);
    return rc != 0 ? rc : take_reply(r, count, replicas);
}

int net_redis_write(void *client, const struct net_write *writes, uint32_t count)
{
    return write_and_wait(client, writes, count, 1);
}

/* ---- processes ---- */

struct start {
    struct net_redis *redis;
    uint32_t number;
    uint16_t port, primary_port; /* host order */
};

/* net_fork's task. */
static void become(void *context)
{
    const struct start *s = context;
    char port[8], primary[24], directory[96], log[128];
    (void)snprintf(port, sizeof port, "%u", s->port);
    (void)snprintf(primary, sizeof primary, "127.0.0.1 %u", s->primary_port);
    (void)snprintf(directory, sizeof directory, "%s", bench_directory());
    (void)snprintf(log, sizeof log, "%s/redis%u.log", bench_directory(), s->number);
    const char *arguments[ARGUMENTS_MAX] = {
        SERVER,
        "--port",
        port,
        "--bind",
        "127.0.0.1",
        "--unixsocket",
        s->redis->paths[s->number],
        "--dir",
        directory,
        "--logfile",
        log,
        "--loglevel",
        "warning",
        "--save",
        "",
        "--appendonly",
        "no",
        "--io-threads",
        "1",
        "--hz",
        "10",
        "--latency-tracking",
        "no",
        "--repl-backlog-size",
        "16mb",
        "--repl-diskless-sync-delay",
        "0",
        "--repl-diskless-load",
        "on-empty-db",
        "--daemonize",
        "no",
    };
    if (s->number != 0) {
        uint32_t count = 0;
        while (arguments[count] != NULL)
            count++;
        arguments[count] = "--replicaof";
        arguments[count + 1] = primary;
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        (void)dup2(null, STDIN_FILENO);
        (void)dup2(null, STDOUT_FILENO);
    }
    (void)execv(s->redis->program, (char *const *)(uintptr_t)arguments);
    _exit(127);
}

/* Debian's redis-tools have the server, too, under the name of a checker that it is besides; unlike the package
 * redis-server they start none. */
static int find_program(struct net_redis *r)
{
    static const char *const names[] = {SERVER, "redis-check-rdb"};
    static const char *const places[] = {"/usr/local/bin", "/usr/bin"};
    for (uint32_t name = 0; name < 2; name++)
        for (uint32_t place = 0; place < 2; place++) {
            (void)snprintf(r->program, sizeof r->program, "%s/%s", places[place], names[name]);
            if (access(r->program, X_OK) == 0)
                return 0;
        }
    return -ENOENT;
}

static int attach(struct net_redis *r)
{
    static const struct timeval timeout = {.tv_sec = (time_t)(NET_WAIT_NS / NS_PER_S)};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", r->paths[0]);
    r->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (r->fd < 0 || setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) != 0)
        return -errno;
    int rc = -ENOENT;
    for (uint32_t i = 0; i < START_STEPS && rc != 0; i++) {
        rc = connect(r->fd, (const struct sockaddr *)&address, sizeof address) == 0 ? 0 : -errno;
        if (rc != 0)
            (void)usleep(10000);
    }
    return rc;
}

/* Until both replicas hold a first write. */
static int settle(struct net_redis *r)
{
    const struct net_write first = {.key = "bench-k:aaaaaaa"};
    int rc = -EPROTO;
    for (uint32_t i = 0; i < 3 && rc == -EPROTO; i++)
        rc = write_and_wait(r, &first, 1, 2);
    return rc;
}

int net_redis_open(struct net_redis *r, const struct net_cpus *cpus)
{
    *r = (struct net_redis){.fd = -1};
    int rc = find_program(r);
    if (rc != 0)
        return rc;
    r->request = malloc(REQUEST_BYTES);
    r->reply = malloc(REPLY_BYTES);
    uint16_t ports[NET_SERVERS];
    rc = r->request == NULL || r->reply == NULL ? -ENOMEM : net_ports_find(SOCK_STREAM, ports);
    for (uint32_t i = 0; i < NET_SERVERS && rc == 0; i++) {
        struct start start = {r, i, ports[i], ports[0]};
        (void)snprintf(r->paths[i], sizeof r->paths[i], "%s/redis%u.sock", bench_directory(), i);
        r->pids[i] = net_fork(net_cpu(cpus, i + 1), become, &start);
        rc = r->pids[i] < 0 ? (int)r->pids[i] : 0;
    }
    if (rc == 0)
        rc = attach(r);
    if (rc == 0)
        rc = settle(r);
    if (rc != 0)
        (void)fprintf(stderr, "dunlin-bench: no Redis: %s\n", strerror(-rc));
    return rc == -ENOENT ? -ENOTCONN : rc;
}

void net_redis_close(struct net_redis *r)
{
    for (uint32_t i = 0; i < NET_SERVERS; i++)
        net_end(r->pids[i]);
    if (r->fd >= 0)
        (void)close(r->fd);
    free(r->request);
    free(r->reply);
}
