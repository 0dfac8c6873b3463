#include "tests/unit/control/server_peer.h"

#include "engine/rcu.h"

#include <CUnit/CUnit.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define START UINT64_C(1795249235478)

static void spaces_add(struct fixture *f)
{
    struct space_config c;
    space_config_default(&c);
    c.shard_count = 2;
    c.quota_bytes = UINT64_C(16) << 20;
    c.sessions_max = 16;
    c.id = 1;
    (void)snprintf(c.name, sizeof(c.name), "open");
    c.read.everyone = true;
    CU_ASSERT_EQUAL_FATAL(node_space_add(&f->node, &c), 0);
    c.id = 2;
    (void)snprintf(c.name, sizeof(c.name), "closed");
    c.read.everyone = false;
    CU_ASSERT_EQUAL_FATAL(node_space_add(&f->node, &c), 0);
}

/* What lies in the file system now, for whoever interrupts the test. */
static struct {
    char socket[96], state[128], run[96], directory[64];
} left_behind;

static void directory_remove(void)
{
    (void)unlink(left_behind.socket);
    (void)unlink(left_behind.state);
    (void)rmdir(left_behind.run);
    (void)rmdir(left_behind.directory);
}

static void on_interrupt(int number)
{
    directory_remove();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

static void directory_make(struct fixture *f)
{
    (void)snprintf(f->directory, sizeof(f->directory), "/tmp/dunlin-test-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(f->directory));
    (void)snprintf(f->path, sizeof(f->path), "%s/run/socket", f->directory);
    (void)snprintf(left_behind.socket, sizeof(left_behind.socket), "%s", f->path);
    (void)snprintf(left_behind.state, sizeof(left_behind.state), "%s.state", f->path);
    (void)snprintf(left_behind.run, sizeof(left_behind.run), "%s/run", f->directory);
    (void)snprintf(left_behind.directory, sizeof(left_behind.directory), "%s", f->directory);
}

static void process_prepare(void)
{
    static bool prepared;
    if (prepared)
        return;
    prepared = true;
    qsbr_thread_register();
    qsbr_offline();
    (void)signal(SIGINT, on_interrupt);
    (void)signal(SIGTERM, on_interrupt);
    (void)signal(SIGABRT, on_interrupt);
}

void fixture_open(struct fixture *f)
{
    process_prepare();
    struct node_config c = {
        .name = "roost",
        .id = 7,
        .lcore_count = 2,
        .lease_ns = 50 * NS_PER_MS,
        .heartbeat_ns = 100 * NS_PER_MS,
        .view_ns = NS_PER_S,
    };
    directory_make(f);
    CU_ASSERT_EQUAL_FATAL(listener_open(&f->listener, f->path, 0666), 0);
    CU_ASSERT_EQUAL_FATAL(node_open(&f->node, &c, START), 0);
    spaces_add(f);
    CU_ASSERT_EQUAL_FATAL(uv_loop_init(&f->loop), 0);
    uint32_t own = (uint32_t)geteuid();
    CU_ASSERT_EQUAL_FATAL(server_open(&f->server, &f->loop, &f->node, f->listener.fd, own), 0);
}

void fixture_close(struct fixture *f)
{
    server_stop(f->server);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    server_free(f->server);
    CU_ASSERT_EQUAL(uv_loop_close(&f->loop), 0);
    node_close(&f->node);
    listener_close(&f->listener);
    CU_ASSERT_NOT_EQUAL(access(f->path, F_OK), 0);
    directory_remove();
    CU_ASSERT_NOT_EQUAL(access(f->directory, F_OK), 0);
}

void fixture_pump(struct fixture *f)
{
    for (int i = 0; i < 4; i++)
        (void)uv_run(&f->loop, UV_RUN_NOWAIT);
}

bool fixture_wait(struct fixture *f, bool (*done)(void *context), void *context)
{
    for (int i = 0; i < 20000 && !done(context); i++) {
        fixture_pump(f);
        (void)usleep(1000);
    }
    return done(context);
}

int peer_connect(const struct fixture *f)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&f->listener.address, sizeof(f->listener.address)) !=
        0) {
        int error = -errno;
        (void)close(fd);
        return error;
    }
    return fd;
}

int peer_send(int fd, const void *bytes, size_t length)
{
    return send(fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length ? 0 : -errno;
}

int peer_receive(int fd, struct reply *reply)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * ATTACH_FDS_MAX)];
        struct cmsghdr align;
    } control;
    struct iovec data = {.iov_base = &reply->message, .iov_len = sizeof(reply->message)};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    *reply = (struct reply){.fd_count = 0};
    ssize_t length = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    /* A reset: the server closed with something of ours unread. */
    if (length == 0 || (length < 0 && errno == ECONNRESET))
        return 0;
    if (length < 0)
        return -errno;
    CU_ASSERT_EQUAL(length, sizeof(reply->message));
    CU_ASSERT_EQUAL(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC), 0);
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (head != NULL) {
        reply->fd_count = (uint32_t)((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(reply->fds, CMSG_DATA(head), reply->fd_count * sizeof(int));
    }
    CU_ASSERT_EQUAL(reply->fd_count, reply->message.fd_count);
    return 1;
}

void reply_close(struct reply *reply)
{
    for (uint32_t i = 0; i < reply->fd_count; i++)
        CU_ASSERT_EQUAL(close(reply->fds[i]), 0);
    reply->fd_count = 0;
}

int peer_ask(struct fixture *f, int fd, const struct attach_request *request, struct reply *reply)
{
    int error = peer_send(fd, request, sizeof(*request));
    if (error != 0)
        return error;
    fixture_pump(f);
    return peer_receive(fd, reply);
}

struct attach_request request_hello(void)
{
    return (struct attach_request){.kind = ATTACH_HELLO,
                                   .fingerprint = LAYOUT_FINGERPRINT,
                                   .request_bytes = LIMIT_RING_BYTES_MIN,
                                   .completion_bytes = LIMIT_RING_BYTES_MIN};
}

struct attach_request request_of(uint32_t kind)
{
    return (struct attach_request){.kind = kind};
}

struct attach_request request_space(const char *name)
{
    struct attach_request r = request_of(ATTACH_SPACE);
    (void)snprintf(r.space, sizeof(r.space), "%s", name);
    return r;
}

struct attach_request request_chunk(uint32_t space, uint32_t chunk)
{
    struct attach_request r = request_of(ATTACH_CHUNK);
    r.space_id = space;
    r.chunk = chunk;
    return r;
}

struct stranger {
    pid_t pid;
    int status;
    bool ended;
};

static bool stranger_ended(void *context)
{
    struct stranger *s = context;
    if (!s->ended)
        s->ended = waitpid(s->pid, &s->status, WNOHANG) == s->pid;
    return s->ended;
}

static int stranger_main(const struct fixture *f, int (*talk)(int fd))
{
    if (setgid(65534) != 0 || setuid(65534) != 0)
        return 1;
    int fd = peer_connect(f);
    return fd < 0 || fcntl(fd, F_SETFL, 0) != 0 ? 2 : talk(fd);
}

void peer_as_stranger(struct fixture *f, int (*talk)(int fd))
{
    CU_ASSERT_EQUAL(chmod(f->directory, 0755), 0);
    (void)fflush(stdout);
    struct stranger s = {.pid = fork()};
    if (s.pid == 0)
        _exit(stranger_main(f, talk));
    CU_ASSERT_FATAL(fixture_wait(f, stranger_ended, &s));
    CU_ASSERT(WIFEXITED(s.status));
    CU_ASSERT_EQUAL(WEXITSTATUS(s.status), 0);
}

struct status_server counts_of(const struct fixture *f)
{
    struct status_server counts;
    server_counts(f->server, &counts);
    return counts;
}

bool is_answered(void *context)
{
    struct waiting *w = context;
    w->answered = w->answered || peer_receive(w->fd, &w->reply) == 1;
    return w->answered;
}

uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

int peer_attach(struct fixture *f, struct reply *reply)
{
    struct attach_request hello = request_hello();
    int fd = peer_connect(f);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(peer_ask(f, fd, &hello, reply), 1);
    CU_ASSERT_EQUAL_FATAL(reply->message.error, 0);
    reply_close(reply);
    return fd;
}

int open_fds(void)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    CU_ASSERT_PTR_NOT_NULL_FATAL(directory);
    while (readdir(directory) != NULL)
        count++;
    (void)closedir(directory);
    return count;
}
