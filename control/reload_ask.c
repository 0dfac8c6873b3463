#include "control/reload_ask.h"

#include "engine/agent/attach_protocol.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { EXIT_DONE, EXIT_KEPT, EXIT_FAULTS, EXIT_UNAVAILABLE, EXIT_REFUSED = 5 };

#define COPY_BYTES 4096u

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int error = -errno;
    (void)close(fd);
    return error;
}

/* The one descriptor that may come with an answer; -1: none did. */
static int descriptor_of(struct msghdr *message)
{
    const struct cmsghdr *head = CMSG_FIRSTHDR(message);
    int fd = -1;
    if (head != NULL && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS &&
        head->cmsg_len == CMSG_LEN(sizeof fd))
        memcpy(&fd, CMSG_DATA(head), sizeof fd);
    return fd;
}

/* Returns 0 and *text, the caller's to close, or -errno. */
static int answer_receive(int fd, struct attach_answer *answer, int *text)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec data = {.iov_base = answer, .iov_len = sizeof *answer};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    if (poll(&readable, 1, (int)(RELOAD_ASK_NS / NS_PER_MS)) != 1)
        return -ETIMEDOUT;
    ssize_t length = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    if (length < 0)
        return -errno;
    *text = length > 0 ? descriptor_of(&message) : -1;
    if (length == (ssize_t)sizeof *answer && answer->error < 0)
        return answer->error;
    return length == (ssize_t)sizeof *answer && *text >= 0 ? 0 : -EPROTO;
}

static int text_copy(int fd, uint64_t bytes, FILE *out)
{
    char part[COPY_BYTES];
    for (uint64_t done = 0; done < bytes;) {
        ssize_t n = pread(fd, part, min_u64(sizeof part, bytes - done), (off_t)done);
        if (n <= 0 || fwrite(part, 1, (size_t)n, out) != (size_t)n)
            return -EIO;
        done += (uint64_t)n;
    }
    return fflush(out) == 0 ? 0 : -EIO;
}

static int exchange(int fd, FILE *out, int *reloaded)
{
    const struct attach_request request = {.kind = ATTACH_RELOAD};
    struct attach_answer answer;
    int text = -1;
    if (send(fd, &request, sizeof request, MSG_NOSIGNAL) != (ssize_t)sizeof request)
        return -errno;
    int error = answer_receive(fd, &answer, &text);
    if (error == 0)
        error = text_copy(text, answer.bytes, out);
    if (text >= 0)
        (void)close(text);
    if (error == 0)
        *reloaded = answer.reloaded;
    return error;
}

static int failed(const char *path, int error, FILE *errors)
{
    switch (error) {
    case -EACCES:
    case -EPERM:
        (void)fprintf(errors,
                      "dunlind: reload refused at %s; root and the user of the daemon may\n", path);
        return EXIT_REFUSED;
    case -EPROTO:
    case -EOPNOTSUPP:
        (void)fprintf(errors,
                      "dunlind: the daemon at %s cannot read its configuration again: it is of "
                      "another release, or has none; restart it\n",
                      path);
        return EXIT_UNAVAILABLE;
    default:
        (void)fprintf(errors, "dunlind: no daemon answers at %s: %s; see that it runs\n", path,
                      strerror(-error));
        return EXIT_UNAVAILABLE;
    }
}

int reload_ask(const char *socket_path, FILE *out, FILE *errors)
{
    int reloaded = 0;
    int fd = connect_to(socket_path);
    int error = fd < 0 ? fd : exchange(fd, out, &reloaded);
    if (fd >= 0)
        (void)close(fd);
    if (error != 0)
        return failed(socket_path, error, errors);
    return reloaded < 0 ? EXIT_FAULTS : reloaded > 0 ? EXIT_KEPT : EXIT_DONE;
}
