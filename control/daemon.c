#include "control/daemon.h"

#include "control/keeper.h"
#include "control/listener.h"
#include "control/logline.h"
#include "control/service.h"
#include "dataplane/guard.h"
#include "engine/rcu.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define LOOP_DESCRIPTORS 8 /* what the loop and its handles open, and some more */

struct place {
    struct config config;
    struct listener listener;
    struct node node;
    struct keeper keeper;
    struct server *server;
    bool is_listening, is_open;
};

struct daemon {
    struct daemon_hooks hooks;
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t period;
    uv_poll_t watch; /* of the descriptor that a hook names */
    uv_signal_t terminate, interrupt;
    struct service service;
    struct server_reload reload;
    uint32_t handles_open;
    bool has_loop, has_begun, is_running, is_draining;
    uint64_t drain_until_ns, lsn_origin;
    int ended_by; /* what a step said; 0: none wants an end */
    uint32_t node_count;
    struct place places[LIMIT_PROCESS_NODES];
};

struct node *daemon_node(struct daemon *d, uint32_t number)
{
    ASSERT(number < d->node_count);
    return &d->places[number].node;
}

/* ---- the loop ---- */

static void end(struct daemon *d);

static void cluster_look_after(struct daemon *d)
{
    if (d->hooks.step != NULL)
        d->ended_by = d->hooks.step(d->hooks.context);
    if (d->ended_by != 0)
        end(d);
}

/* Why before keepers look: what a step learned of counts at once, for a log that begins above all others waits. */
static void lsns_take(struct daemon *d)
{
    bool is_short = false;
    for (uint32_t i = 0; i < d->node_count; i++)
        is_short = is_short || d->places[i].keeper.is_short;
    uint64_t granted = d->hooks.lsn_granted(d->hooks.context, is_short);
    for (uint32_t i = 0; i < d->node_count; i++)
        d->places[i].keeper.lsn_granted = granted;
}

static void look_after(struct daemon *d)
{
    if (d->is_running)
        cluster_look_after(d);
    if (d->has_begun && d->hooks.lsn_granted != NULL)
        lsns_take(d);
    for (uint32_t i = 0; i < d->node_count; i++) {
        /* Why a look: it may be woken while the servers are still being made. */
        if (d->places[i].server != NULL)
            server_detach_faulty(d->places[i].server);
        keeper_step(&d->places[i].keeper);
    }
    if (!d->is_draining)
        return;
    bool is_late = clock_boottime_ns() >= d->drain_until_ns;
    if (d->hooks.drain(d->hooks.context) || is_late)
        end(d);
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
    (void)events;
    if (status == 0)
        look_after(handle->data);
}

static void on_wake(uv_async_t *handle)
{
    look_after(handle->data);
}

static void on_period(uv_timer_t *handle)
{
    look_after(handle->data);
}

/* From lcores and from the guard's signal handler: uv_async_send is safe in both. */
static void wake_control(void *context)
{
    struct daemon *d = context;
    (void)uv_async_send(&d->wake);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct daemon *d = handle->data;
    d->handles_open--;
}

static void handle_close(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_handle_closed);
}

static void handles_close(struct daemon *d)
{
    service_close(&d->service);
    if (d->handles_open == 0)
        return;
    handle_close((uv_handle_t *)&d->wake);
    handle_close((uv_handle_t *)&d->period);
    handle_close((uv_handle_t *)&d->terminate);
    handle_close((uv_handle_t *)&d->interrupt);
    if (d->handles_open > 4)
        handle_close((uv_handle_t *)&d->watch);
}

static void signals_hold(int how)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)pthread_sigmask(how, &set, NULL);
}

/* Returns how many. */
static uint32_t nodes_of(struct daemon *d, struct node *nodes[LIMIT_PROCESS_NODES])
{
    for (uint32_t i = 0; i < d->node_count; i++)
        nodes[i] = &d->places[i].node;
    return d->node_count;
}

static void lcores_stop(struct daemon *d)
{
    struct node *nodes[LIMIT_PROCESS_NODES];
    if (d->is_running)
        nodes_lcores_stop(nodes, nodes_of(d, nodes));
    d->is_running = false;
}

/* Why lcores first: what agents were promised is answered or not at all; then nobody uses memory
 * that goes away. */
static void end(struct daemon *d)
{
    d->is_draining = false;
    signals_hold(SIG_BLOCK);
    lcores_stop(d);
    for (uint32_t i = 0; i < d->node_count; i++)
        server_stop(d->places[i].server);
    handles_close(d);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct daemon *d = handle->data;
    log_event(LOG_INFO, "stopping", LOG_NUMBER("signal", number));
    service_stopping(&d->service);
    if (d->hooks.drain == NULL || d->is_draining || d->hooks.drain(d->hooks.context)) {
        end(d);
        return;
    }
    d->is_draining = true;
    d->drain_until_ns = clock_boottime_ns() + DAEMON_DRAIN_NS;
}

/* Why the init results are dropped: only the async one can fail, and on_handle_closed must find all
 * four set up whatever happens. */
static int handles_open(struct daemon *d)
{
    int error = uv_async_init(&d->loop, &d->wake, on_wake);
    if (error != 0)
        return error;
    (void)uv_timer_init(&d->loop, &d->period);
    (void)uv_signal_init(&d->loop, &d->terminate);
    (void)uv_signal_init(&d->loop, &d->interrupt);
    d->wake.data = d;
    d->period.data = d;
    d->terminate.data = d;
    d->interrupt.data = d;
    d->handles_open = 4;
    error = uv_signal_start(&d->terminate, on_signal, SIGTERM);
    if (error == 0)
        error = uv_signal_start(&d->interrupt, on_signal, SIGINT);
    uint32_t period = d->hooks.period_ms != 0 ? d->hooks.period_ms : KEEPER_PERIOD_MS;
    if (error == 0)
        error = uv_timer_start(&d->period, on_period, period, period);
    return error;
}

static int reload_run_asked(void *context, FILE *report)
{
    struct daemon *d = context;
    return reload_run(&d->service.reload, report);
}

/* Of several nodes the first one is meant: those of one process are for development. */
static int service_start(struct daemon *d)
{
    struct place *p = &d->places[0];
    const struct reload reload = {.path = d->hooks.config_path,
                                  .running = &p->config,
                                  .node = &p->node,
                                  .certificates = d->hooks.certificates,
                                  .context = d->hooks.context};
    int error = service_open(&d->service, &d->loop, &reload);
    d->service.silent_ns = d->hooks.silent_ns;
    d->service.context = d->hooks.context;
    d->reload = (struct server_reload){.run = reload_run_asked, .context = d};
    return error;
}

static int watch_open(struct daemon *d)
{
    int fd = d->hooks.fd != NULL ? d->hooks.fd(d->hooks.context) : -1;
    if (fd < 0)
        return 0;
    int error = uv_poll_init(&d->loop, &d->watch, fd);
    if (error != 0)
        return error;
    d->watch.data = d;
    d->handles_open++;
    return uv_poll_start(&d->watch, UV_READABLE, on_readable);
}

/* ---- what a process has once ---- */

/* Why held: every other thread inherits the block and none of them is ever interrupted; and a
 * signal that comes while we start or stop waits, so that each end is a clean one. */
void daemon_prepare(void)
{
    /* A peer or a reader of our output that goes away is an error code, not a signal. */
    (void)signal(SIGPIPE, SIG_IGN);
    signals_hold(SIG_BLOCK);
    qsbr_thread_register();
    qsbr_offline();
    qsbr_defer_start();
}

/* Descriptors: one socket, one file and an eventfd per lcore for each agent. */
static void descriptors_raise(const struct daemon *d)
{
    struct rlimit limit;
    uint64_t wanted = 0;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    for (uint32_t i = 0; i < d->node_count; i++)
        wanted +=
            (uint64_t)LIMIT_AGENTS * (2 + d->places[i].config.node.lcore_count) + LIMIT_CHUNKS;
    if (limit.rlim_max < wanted)
        log_event(LOG_WARN, "descriptors_few", LOG_NUMBER("limit", limit.rlim_max),
                  LOG_NUMBER("wanted", wanted));
}

/* Why: libuv aborts the process when it cannot open the pipe of its signals. */
static int descriptors_left(void)
{
    int fds[LOOP_DESCRIPTORS];
    int count = 0;
    int error = 0;
    while (error == 0 && count < LOOP_DESCRIPTORS) {
        fds[count] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
        error = fds[count] < 0 ? -errno : 0;
        count += error == 0 ? 1 : 0;
    }
    while (count > 0)
        (void)close(fds[--count]);
    return error;
}

static int loop_open(struct daemon *d)
{
    int error = descriptors_left();
    if (error == 0)
        error = uv_loop_init(&d->loop);
    d->has_loop = error == 0;
    return error;
}

/* ---- start ---- */

static int failed(const char *what, int error)
{
    log_event(LOG_ERROR, "start_failed", LOG_TEXT("step", what), LOG_ERRNO(error));
    return error;
}

static int failed_at(const struct place *p, const char *what, int error)
{
    log_event(LOG_ERROR, "start_failed", LOG_TEXT("step", what), LOG_ERRNO(error),
              LOG_TEXT("node", p->config.node.name));
    return error;
}

static int sockets_open(struct daemon *d)
{
    for (uint32_t i = 0; i < d->node_count; i++) {
        struct place *p = &d->places[i];
        int error = listener_open(&p->listener, p->config.socket_path, p->config.socket_mode);
        if (error != 0)
            return failed_at(p, "socket", error);
        p->is_listening = true;
    }
    return 0;
}

static int starts_align(struct daemon *d)
{
    uint64_t start = 0, ceiling = 0;
    for (uint32_t i = 0; i < d->node_count; i++) {
        start = max_u64(start, d->places[i].listener.start);
        ceiling = max_u64(ceiling, d->places[i].listener.lsn_ceiling);
    }
    for (uint32_t i = 0; i < d->node_count; i++) {
        struct listener *l = &d->places[i].listener;
        int error =
            l->start == start && l->lsn_ceiling == ceiling ? 0 : listener_raise(l, start, ceiling);
        if (error != 0)
            return failed_at(&d->places[i], "state_file", error);
    }
    return 0;
}

static int node_make(struct daemon *d, struct place *p)
{
    int error = node_open(&p->node, &p->config.node, p->listener.start);
    if (error != 0)
        return failed_at(p, "node", error);
    p->is_open = true;
    p->node.wake_control = wake_control;
    p->node.wake_context = d;
    error = keeper_open(&p->keeper, &p->node, &p->listener, d->lsn_origin);
    if (error != 0)
        return failed_at(p, "state_file", error);
    for (uint32_t i = 0; i < p->config.space_count; i++) {
        const struct space_config *c = &p->config.spaces[i];
        error = node_space_add(&p->node, c);
        if (error != 0) {
            log_event(LOG_ERROR, "space_failed", LOG_TEXT("space", c->name), LOG_ERRNO(error),
                      LOG_TEXT("node", p->config.node.name));
            return error;
        }
    }
    return 0;
}

/* A restarted voter first waits (DESIGN section 5): agents of the start before may still answer
 * linearizable reads from its memory, and what we acknowledge meanwhile they would not see. */
static int leases_wait(struct daemon *d)
{
    uint64_t wait_ns = 0;
    for (uint32_t i = 0; i < d->node_count; i++)
        wait_ns = max_u64(wait_ns, d->places[i].listener.lease_before_ns);
    wait_ns += wait_ns / 1000; /* the bound between two clocks */
    struct timespec left = {.tv_sec = (time_t)(wait_ns / NS_PER_S),
                            .tv_nsec = (long)(wait_ns % NS_PER_S)};
    while (wait_ns != 0 && nanosleep(&left, &left) != 0) {
        /* interrupted by a signal that is held until we serve */
    }
    for (uint32_t i = 0; i < d->node_count; i++) {
        struct place *p = &d->places[i];
        int error = listener_lease(&p->listener, p->config.node.lease_ns);
        if (error != 0)
            return failed_at(p, "state_file", error);
    }
    return 0;
}

static int join(struct daemon *d)
{
    struct node *nodes[LIMIT_PROCESS_NODES];
    if (d->hooks.join == NULL)
        return 0;
    int error = d->hooks.join(d->hooks.context, nodes, nodes_of(d, nodes));
    d->has_begun = d->has_begun || error == 0;
    return error;
}

static int begin(struct daemon *d)
{
    if (d->hooks.begin == NULL)
        return 0;
    d->lsn_origin = d->places[0].listener.lsn_ceiling;
    int error = d->hooks.begin(d->hooks.context, d->places[0].listener.start, &d->lsn_origin);
    d->has_begun = error == 0;
    return error;
}

static int lcores_start(struct daemon *d)
{
    struct node *nodes[LIMIT_PROCESS_NODES];
    int error = nodes_lcores_start(nodes, nodes_of(d, nodes));
    d->is_running = error == 0;
    return error != 0 ? failed("lcores", error) : 0;
}

static int servers_open(struct daemon *d)
{
    for (uint32_t i = 0; i < d->node_count; i++) {
        struct place *p = &d->places[i];
        int error =
            server_open(&p->server, &d->loop, &p->node, p->listener.fd, (uint32_t)geteuid());
        if (error != 0)
            return failed_at(p, "server", error);
        if (d->hooks.admin != NULL)
            server_set_admin(p->server, d->hooks.admin);
        if (d->hooks.spaces != NULL)
            server_set_spaces(p->server, d->hooks.spaces);
        if (d->hooks.config_path != NULL)
            server_set_reload(p->server, &d->reload);
    }
    return 0;
}

static int start(struct daemon *d)
{
    int error = sockets_open(d);
    if (error == 0)
        error = starts_align(d);
    if (error == 0) {
        error = begin(d);
        if (error != 0)
            return failed("begin", error);
    }
    for (uint32_t i = 0; i < d->node_count && error == 0; i++)
        error = node_make(d, &d->places[i]);
    if (error != 0)
        return error;
    error = loop_open(d);
    if (error != 0)
        return failed("loop", error);
    error = handles_open(d);
    if (error != 0)
        return failed("handles", error);
    error = service_start(d);
    if (error != 0)
        return failed("service", error);
    error = guard_install(wake_control, d);
    if (error != 0)
        return failed("guard", error);
    error = leases_wait(d);
    if (error != 0)
        return error;
    error = join(d);
    if (error != 0)
        return error == -ECANCELED ? error : failed("join", error);
    error = watch_open(d);
    if (error != 0)
        return failed("watch", error);
    error = lcores_start(d);
    return error != 0 ? error : servers_open(d);
}

int daemon_start(struct daemon **daemon, const struct config *configs, uint32_t node_count,
                 const struct daemon_hooks *hooks)
{
    ASSERT(node_count >= 1 && node_count <= LIMIT_PROCESS_NODES);
    struct daemon *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return failed("memory", -ENOMEM);
    d->hooks = *hooks;
    d->node_count = node_count;
    for (uint32_t i = 0; i < node_count; i++)
        d->places[i].config = configs[i];
    descriptors_raise(d);
    int error = start(d);
    if (error != 0) {
        daemon_stop(d);
        return error;
    }
    *daemon = d;
    return 0;
}

/* ---- serve and stop ---- */

int daemon_serve(struct daemon *d)
{
    for (uint32_t i = 0; i < d->node_count; i++) {
        const struct place *p = &d->places[i];
        log_event(LOG_INFO, "ready", LOG_TEXT("node", p->config.node.name),
                  LOG_NUMBER("start", p->node.start), LOG_TEXT("socket", p->config.socket_path));
    }
    if (d->hooks.ready != NULL)
        d->hooks.ready(d->hooks.context);
    service_ready(&d->service);
    signals_hold(SIG_UNBLOCK);
    (void)uv_run(&d->loop, UV_RUN_DEFAULT);
    for (uint32_t i = 0; i < d->node_count; i++) {
        server_free(d->places[i].server);
        d->places[i].server = NULL;
    }
    return d->ended_by;
}

/* What is on the loop ends on the loop. */
static void loop_close(struct daemon *d)
{
    if (!d->has_loop)
        return;
    for (uint32_t i = 0; i < d->node_count; i++)
        if (d->places[i].server != NULL)
            server_stop(d->places[i].server);
    handles_close(d);
    (void)uv_run(&d->loop, UV_RUN_DEFAULT);
    ASSERT(d->handles_open == 0 && d->service.handles_open == 0);
    for (uint32_t i = 0; i < d->node_count; i++)
        if (d->places[i].server != NULL)
            server_free(d->places[i].server);
    ASSERT(uv_loop_close(&d->loop) == 0);
}

void daemon_stop(struct daemon *d)
{
    lcores_stop(d);
    loop_close(d);
    if (d->has_begun && d->hooks.leave != NULL)
        d->hooks.leave(d->hooks.context);
    for (uint32_t i = 0; i < d->node_count; i++)
        if (d->places[i].is_open)
            node_close(&d->places[i].node);
    for (uint32_t i = 0; i < d->node_count; i++)
        if (d->places[i].is_listening)
            listener_close(&d->places[i].listener);
    free(d);
}
