/* service - the daemon as a service manager sees it: that it serves, that it lives, that it ends, and its
 * configuration read again.
 *
 *   ready     READY=1
 *   watchdog  WATCHDOG=1 four times in the time that WATCHDOG_USEC allows, as long as each lcore and, in a cluster,
 *             the thread of the control log makes progress; the control thread's own is that it says so
 *   stopping  STOPPING=1
 *   waiting   STATUS=, of a start that waits for other nodes; not ready
 *   SIGHUP    as `dunlind --reload` (reload.h), with lines in the log instead of an answer
 *
 * Log events:
 *   notify_failed error              NOTIFY_SOCKET cannot be used: the service manager hears nothing
 *   watchdog_withheld part silent_ms  lcore or control_log makes no progress: WATCHDOG=1 is not said
 *   those of reload.h
 *
 * Control thread, on its libuv loop. */
#ifndef DUNLIN_CONTROL_SERVICE_H
#define DUNLIN_CONTROL_SERVICE_H

#include "control/notify.h"
#include "control/reload.h"

#include <uv.h>

struct service {
    struct notify notify;
    struct reload reload;
    uv_timer_t watchdog;
    uv_signal_t hangup;
    /* How long the control log's thread has made no progress; NULL: there is none. */
    uint64_t (*silent_ns)(void *context);
    void *context;
    uint32_t handles_open; /* of libuv */
    bool is_withheld;      /* as last said */
};

/* Once in a process, before its threads, if SIGHUP is to mean a reload: it is held until there is a service. */
void service_hold(void);

/* Before there is a service: what the start waits for, in a line for people. */
void service_waiting(const char *what);

/* What notify_environment says is read, and told nothing yet.  reload is copied; with reload.path NULL there is
 * none, and SIGHUP stays what it was.  Returns 0, or -errno of libuv; service_close is due in any case. */
MUST_USE int service_open(struct service *s, uv_loop_t *loop, const struct reload *reload);

/* It serves; from now on it is watched. */
void service_ready(struct service *s);
void service_stopping(struct service *s);

/* Whether all makes progress, as of now: NULL, or the part that does not.  *silent_ns: for how long. */
const char *service_stuck(const struct service *s, uint64_t *silent_ns);

/* Its handles close with the next turns of the loop. */
void service_close(struct service *s);

#endif
