#include "bench/replicate_net_raw.h"

#include <arpa/inet.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

struct datagram {
    uint64_t sequence;
    struct net_write write;
};

/* net_fork's task: send back what comes; context is the socket. */
static void echo(void *context)
{
    int fd = *(const int *)context;
    struct datagram d;
    for (;;) {
        struct sockaddr_in from;
        socklen_t length = sizeof from;
        ssize_t got = recvfrom(fd, &d, sizeof d, 0, (struct sockaddr *)&from, &length);
        if (got > 0)
            (void)sendto(fd, &d, (size_t)got, 0, (const struct sockaddr *)&from, length);
    }
}

/* Until the first answer to it; answers to earlier ones that came late are passed over. */
static int exchange(struct net_raw *r, const struct net_write *write)
{
    struct datagram d = {.sequence = ++r->sequence, .write = *write}, back = {0};
    struct iovec part = {&d, sizeof d};
    struct mmsghdr out[NET_ECHOES];
    for (uint32_t i = 0; i < NET_ECHOES; i++)
        out[i].msg_hdr = (struct msghdr){.msg_name = &r->echoes[i],
                                         .msg_namelen = sizeof r->echoes[i],
                                         .msg_iov = &part,
                                         .msg_iovlen = 1};
    if (sendmmsg(r->fd, out, NET_ECHOES, 0) != (int)NET_ECHOES)
        return -EIO;
    do {
        ssize_t got = recv(r->fd, &back, sizeof back, 0);
        if (got < 0 && errno != EINTR)
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
    } while (back.sequence != r->sequence);
    return 0;
}

static int exchange_for(void *context, const struct net_write *write, uint32_t number)
{
    (void)number;
    return exchange(context, write);
}

/* net_fork's task: exchanges for the client; context is the net_raw. */
static void front(void *context)
{
    struct net_raw *r = context;
    net_front_serve(r->shared, exchange_for, r);
}

int net_raw_write(void *client, const struct net_write *writes, uint32_t count)
{
    struct net_raw *r = client;
    ASSERT(count == 1);
    return r->has_front ? net_front_ask(r->shared, writes) : exchange(r, writes);
}

int net_raw_open(struct net_raw *r, const struct net_cpus *cpus, bool has_front)
{
    *r = (struct net_raw){.has_front = has_front, .fd = -1, .echo_fds = {-1, -1}};
    void *shared =
        mmap(NULL, sizeof *r->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return -errno;
    r->shared = shared;
    uint16_t port;
    int rc = net_socket(&r->fd, &port, NET_WAIT_NS);
    for (uint32_t i = 0; i < NET_ECHOES && rc == 0; i++) {
        r->echoes[i] =
            (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        rc = net_socket(&r->echo_fds[i], &r->echoes[i].sin_port, NET_WAIT_NS);
        if (rc != 0)
            break;
        r->pids[i + 1] = net_fork(net_cpu(cpus, i + 2), echo, &r->echo_fds[i]);
        rc = r->pids[i + 1] < 0 ? (int)r->pids[i + 1] : 0;
    }
    if (rc == 0 && has_front) {
        r->pids[0] = net_fork(net_cpu(cpus, 1), front, r);
        rc = r->pids[0] < 0 ? (int)r->pids[0] : 0;
    }
    return rc;
}

void net_raw_close(struct net_raw *r)
{
    for (uint32_t i = 0; i < NET_SERVERS; i++)
        net_end(r->pids[i]);
    for (uint32_t i = 0; i < NET_ECHOES; i++)
        if (r->echo_fds[i] >= 0)
            (void)close(r->echo_fds[i]);
    if (r->fd >= 0)
        (void)close(r->fd);
    if (r->shared != NULL)
        (void)munmap(r->shared, sizeof *r->shared);
}
