#include "control/service.h"

#include "control/logline.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define SERVICE_STATUS_BYTES 512u
#define WATCHDOG_SHARE 4u
#define SILENT_NS_MIN (2 * NS_PER_S) /* a machine may be that slow */

static void hangup_hold(int how)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGHUP);
    (void)pthread_sigmask(how, &set, NULL);
}

void service_hold(void)
{
    hangup_hold(SIG_BLOCK);
}

/* ---- the watchdog ---- */

/* Since when an lcore has said nothing, at most; one that sleeps is woken several times in a lease. */
static uint64_t lcores_silent_ns(const struct node *n)
{
    uint64_t now = clock_ticks(n->clock_kind), longest = 0;
    for (uint32_t i = 0; i < n->config.lcore_count; i++) {
        /* relaxed: a number, no older than the watchdog's period minds */
        uint64_t alive =
            atomic_load_explicit(&n->shared->lcores[i].ticks_alive, memory_order_relaxed);
        if (now > alive)
            longest = max_u64(longest, clock_ticks_to_ns(now - alive, n->ticks_per_s));
    }
    return longest;
}

const char *service_stuck(const struct service *s, uint64_t *silent_ns)
{
    const struct node *n = s->reload.node;
    uint64_t limit = max_u64(max_u64(s->notify.watchdog_ns / 2, SILENT_NS_MIN), n->config.lease_ns);
    *silent_ns = lcores_silent_ns(n);
    if (*silent_ns > limit)
        return "lcore";
    *silent_ns = s->silent_ns != NULL ? s->silent_ns(s->context) : 0;
    return *silent_ns > limit ? "control_log" : NULL;
}

static void on_watchdog(uv_timer_t *timer)
{
    struct service *s = timer->data;
    uint64_t silent_ns;
    const char *part = service_stuck(s, &silent_ns);
    if (part == NULL)
        (void)notify_say(&s->notify, "WATCHDOG=1");
    else if (!s->is_withheld)
        log_event(LOG_ERROR, "watchdog_withheld", LOG_TEXT("part", part),
                  LOG_NUMBER("silent_ms", silent_ns / NS_PER_MS),
                  LOG_TEXT("node", s->reload.node->config.name));
    s->is_withheld = part != NULL;
}

/* ---- open, say, close ---- */

static void on_hangup(uv_signal_t *handle, int number)
{
    struct service *s = handle->data;
    (void)number;
    (void)reload_run(&s->reload, NULL);
}

static void notify_begin(struct notify *n)
{
    struct notify_environment environment;
    notify_environment_own(&environment);
    int error = notify_open(n, &environment);
    if (error != 0)
        log_event(LOG_WARN, "notify_failed", LOG_ERRNO(error));
}

void service_waiting(const char *what)
{
    char state[SERVICE_STATUS_BYTES];
    struct notify n;
    notify_begin(&n);
    (void)snprintf(state, sizeof state, "STATUS=%s", what);
    (void)notify_say(&n, state);
    notify_close(&n);
}

int service_open(struct service *s, uv_loop_t *loop, const struct reload *reload)
{
    *s = (struct service){.reload = *reload, .notify.fd = -1};
    notify_begin(&s->notify);
    (void)uv_timer_init(loop, &s->watchdog);
    (void)uv_signal_init(loop, &s->hangup);
    s->watchdog.data = s;
    s->hangup.data = s;
    s->handles_open = 2;
    return reload->path != NULL ? uv_signal_start(&s->hangup, on_hangup, SIGHUP) : 0;
}

void service_ready(struct service *s)
{
    uint64_t period_ms = s->notify.watchdog_ns / NS_PER_MS / WATCHDOG_SHARE;
    (void)notify_say(&s->notify, "READY=1");
    (void)notify_say(&s->notify, "STATUS=serves");
    if (period_ms != 0)
        (void)uv_timer_start(&s->watchdog, on_watchdog, period_ms, period_ms);
    if (s->reload.path != NULL)
        hangup_hold(SIG_UNBLOCK);
}

void service_stopping(struct service *s)
{
    (void)notify_say(&s->notify, "STOPPING=1");
}

static void on_closed(uv_handle_t *handle)
{
    struct service *s = handle->data;
    s->handles_open--;
}

void service_close(struct service *s)
{
    if (s->handles_open == 0 || uv_is_closing((uv_handle_t *)&s->watchdog))
        return;
    if (s->reload.path != NULL)
        hangup_hold(SIG_BLOCK);
    uv_close((uv_handle_t *)&s->watchdog, on_closed);
    uv_close((uv_handle_t *)&s->hangup, on_closed);
    notify_close(&s->notify);
}
