#include "control/notify.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define US_MAX (UINT64_MAX / 1000)

void notify_environment_own(struct notify_environment *e)
{
    *e = (struct notify_environment){.socket = getenv("NOTIFY_SOCKET"),
                                     .watchdog_us = getenv("WATCHDOG_USEC"),
                                     .watchdog_pid = getenv("WATCHDOG_PID"),
                                     .pid = getpid()};
}

static bool number_read(const char *text, uint64_t *number)
{
    char *end;
    if (text == NULL || text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

/* Why by the process: a child of the one that is watched inherits the variables. */
static uint64_t watchdog_ns(const struct notify_environment *e)
{
    uint64_t us, pid;
    if (!number_read(e->watchdog_us, &us) || us > US_MAX)
        return 0;
    if (e->watchdog_pid != NULL && (!number_read(e->watchdog_pid, &pid) || pid != (uint64_t)e->pid))
        return 0;
    return us * 1000;
}

int notify_open(struct notify *n, const struct notify_environment *e)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    *n = (struct notify){.fd = -1};
    if (e->socket == NULL || e->socket[0] == '\0')
        return 0;
    size_t length = strlen(e->socket);
    if ((e->socket[0] != '/' && e->socket[0] != '@') || length >= sizeof address.sun_path)
        return -EINVAL;
    memcpy(address.sun_path, e->socket, length);
    if (address.sun_path[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    socklen_t bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    if (connect(fd, (const struct sockaddr *)&address, bytes) != 0) {
        int error = -errno;
        (void)close(fd);
        return error;
    }
    *n = (struct notify){.fd = fd, .watchdog_ns = watchdog_ns(e)};
    return 0;
}

int notify_say(const struct notify *n, const char *state)
{
    if (n->fd < 0)
        return 0;
    return send(n->fd, state, strlen(state), MSG_NOSIGNAL) >= 0 ? 0 : -errno;
}

void notify_close(struct notify *n)
{
    if (n->fd >= 0)
        (void)close(n->fd);
    *n = (struct notify){.fd = -1};
}
