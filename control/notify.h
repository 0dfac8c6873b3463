/* notify - tells the service manager how the daemon is, as systemd has it: one datagram of lines NAME=VALUE to
 * the socket that NOTIFY_SOCKET names, an absolute path or, with a leading @, an abstract name.
 *
 * Without the variable nobody wants to know, and everything here does nothing.
 *
 * Control thread.  Never blocks: a datagram that does not fit the socket now is dropped.
 * Source: sd_notify(3), sd_watchdog_enabled(3), "Notes: standalone implementations". */
#ifndef DUNLIN_CONTROL_NOTIFY_H
#define DUNLIN_CONTROL_NOTIFY_H

#include "engine/base.h"

#include <sys/types.h>

struct notify {
    int fd;               /* -1: nobody is to be told */
    uint64_t watchdog_ns; /* it wants to hear WATCHDOG=1 at least so often; 0: never */
};

/* What the environment says, for a process of that id; each may be NULL. */
struct notify_environment {
    const char *socket, *watchdog_us, *watchdog_pid;
    pid_t pid;
};

/* Those of this process. */
void notify_environment_own(struct notify_environment *e);

/* Returns 0, also if nobody is to be told; -EINVAL: the socket's name is none; or -errno of the socket.  On an
 * error nobody is told: the caller logs it and goes on. */
MUST_USE int notify_open(struct notify *n, const struct notify_environment *e);

/* One state, like "READY=1"; several are lines.  Returns 0, or -errno: it was not told. */
int notify_say(const struct notify *n, const char *state);

void notify_close(struct notify *n);

#endif
