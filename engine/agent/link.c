#include "engine/agent/agent.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int agent_link_connect(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0)
        return fd;
    int error = errno;
    (void)close(fd);
    switch (error) {
    case ENOENT:
    case ECONNREFUSED:
    case EAGAIN: /* its queue is full: many attach at once */
    case ENOTDIR:
        return -ENOTCONN;
    case EPERM:
    case EACCES:
        return -EACCES;
    case EPROTOTYPE: /* a socket, but not the daemon's sort */
        return -EPROTO;
    default:
        return -error;
    }
}

int agent_link_send(int fd, const struct attach_request *request)
{
    ssize_t sent = send(fd, request, sizeof *request, MSG_NOSIGNAL);
    if (sent == (ssize_t)sizeof *request)
        return 0;
    /* Why EAGAIN is no different: a daemon that left so many requests unread does not serve us. */
    return -ENOTCONN;
}

void agent_link_close_fds(const int *fds, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        (void)close(fds[i]);
}

/* 1 readable (or ended), 0 time is up. */
static int wait_readable(int fd, uint64_t deadline_ns)
{
    for (;;) {
        uint64_t now = clock_boottime_ns();
        uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
        struct timespec timeout = {.tv_sec = (time_t)(left / NS_PER_S),
                                   .tv_nsec = (long)(left % NS_PER_S)};
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int count = ppoll(&ready, 1, &timeout, NULL);
        if (count > 0)
            return 1;
        if (count == 0 || errno != EINTR || left == 0)
            return 0;
    }
}

static uint32_t take_fds(struct msghdr *message, int *fds)
{
    uint32_t count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t bytes = c->cmsg_len - CMSG_LEN(0);
        for (size_t at = 0; at + sizeof(int) <= bytes; at += sizeof(int)) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
            if (count < ATTACH_FDS_MAX)
                fds[count++] = fd;
            else
                (void)close(fd);
        }
    }
    return count;
}

int agent_link_receive(int fd, struct attach_answer *answer, int *fds, uint64_t deadline_ns)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(ATTACH_FDS_MAX * sizeof(int))];
    } control;
    struct iovec data = {.iov_base = answer, .iov_len = sizeof *answer};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    if (!wait_readable(fd, deadline_ns))
        return -ETIMEDOUT;
    ssize_t received = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (received <= 0)
        return -ENOTCONN;
    uint32_t count = take_fds(&message, fds);
    if (received != (ssize_t)sizeof *answer ||
        (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || count != answer->fd_count ||
        answer->error > 0) {
        agent_link_close_fds(fds, count);
        return -EPROTO;
    }
    return 0;
}

/* Answers to requests that timed out come first, in order. */
static int drop_owed(struct attachment *a, uint64_t deadline_ns)
{
    while (a->owed != 0) {
        struct attach_answer answer;
        int fds[ATTACH_FDS_MAX];
        int error = agent_link_receive(a->socket, &answer, fds, deadline_ns);
        if (error != 0)
            return error;
        agent_link_close_fds(fds, answer.fd_count);
        a->owed--;
    }
    return 0;
}

static int message_send(int fd, const struct attach_message *m)
{
    uint8_t bytes[ATTACH_MESSAGE_MAX];
    size_t length = strlen(m->words) + 1;
    if (length > ATTACH_WORDS_BYTES)
        return -EINVAL;
    memcpy(bytes, m->request, sizeof *m->request);
    memcpy(bytes + sizeof *m->request, m->words, length);
    length += sizeof *m->request;
    return send(fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length ? 0 : -ENOTCONN;
}

static int exchange(struct attachment *a, const struct attach_message *m,
                    struct attach_answer *answer, int *fd, uint64_t deadline_ns)
{
    const struct attach_request *request = m->request;
    int fds[ATTACH_FDS_MAX];
    uint32_t expected = fd != NULL ? 1 : 0;
    if (a->socket < 0)
        return -ENOTCONN;
    int error = drop_owed(a, deadline_ns);
    if (error != 0)
        return error;
    error = m->words != NULL ? message_send(a->socket, m) : agent_link_send(a->socket, request);
    if (error != 0)
        return error;
    error = agent_link_receive(a->socket, answer, fds, deadline_ns);
    if (error == -ETIMEDOUT)
        a->owed++;
    if (error != 0)
        return error;
    if (answer->kind != request->kind || answer->fd_count != (answer->error == 0 ? expected : 0)) {
        agent_link_close_fds(fds, answer->fd_count);
        return -EPROTO;
    }
    if (answer->error == 0 && fd != NULL)
        *fd = fds[0];
    return answer->error;
}

int agent_link_exchange(struct attachment *a, const struct attach_request *request,
                        struct attach_answer *answer, int *fd, uint64_t deadline_ns)
{
    const struct attach_message message = {.request = request};
    return exchange(a, &message, answer, fd, deadline_ns);
}

int agent_link_exchange_words(struct attachment *a, const struct attach_message *message,
                              struct attach_answer *answer, uint64_t deadline_ns)
{
    return exchange(a, message, answer, NULL, deadline_ns);
}

bool agent_link_alive(int fd)
{
    char byte;
    ssize_t received = recv(fd, &byte, sizeof byte, MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC);
    return received > 0 || (received < 0 && (errno == EAGAIN || errno == EINTR));
}
