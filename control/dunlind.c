/* dunlind - the daemon of one node.
 *
 *   dunlind --config FILE            serve until SIGTERM or SIGINT; prints `ready` when it serves
 *   dunlind --config FILE --check    validate the file; faults with file, line and what was
 * expected
 *
 * Exit: 0 stopped as asked, or the file is good · 1 could not start: the log says why · 2 usage, or
 * the file has faults. */
#include "control/config.h"
#include "control/keeper.h"
#include "control/listener.h"
#include "control/logline.h"
#include "control/server.h"
#include "dataplane/guard.h"
#include "engine/agent/dunlin.h"
#include "engine/plant.h"
#include "engine/rcu.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define EXIT_USAGE 2
#define LOOP_DESCRIPTORS 8 /* what the loop and its handles open, and some more */

struct daemon {
    struct config config;
    struct node node;
    struct listener listener;
    struct keeper keeper;
    struct server *server;
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t period;
    uv_signal_t terminate, interrupt;
    uint32_t handles_open;
};

/* ---- the loop ---- */

static void look_after(struct daemon *d)
{
    server_detach_faulty(d->server);
    keeper_step(&d->keeper);
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

static void handles_close(struct daemon *d)
{
    uv_close((uv_handle_t *)&d->wake, on_handle_closed);
    uv_close((uv_handle_t *)&d->period, on_handle_closed);
    uv_close((uv_handle_t *)&d->terminate, on_handle_closed);
    uv_close((uv_handle_t *)&d->interrupt, on_handle_closed);
}

/* Why: every other thread inherits the block and none of them is ever interrupted; and a signal
 * that comes while we start or stop waits, so that each end is a clean one. */
static void signals_hold(int how)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)pthread_sigmask(how, &set, NULL);
}

/* Why lcores first: what agents were promised is answered or not at all; then nobody uses memory
 * that goes away. */
static void on_signal(uv_signal_t *handle, int number)
{
    struct daemon *d = handle->data;
    log_event(LOG_INFO, "stopping", LOG_NUMBER("signal", number));
    signals_hold(SIG_BLOCK);
    node_lcores_stop(&d->node);
    server_stop(d->server);
    handles_close(d);
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
    if (error == 0)
        error = uv_timer_start(&d->period, on_period, KEEPER_PERIOD_MS, KEEPER_PERIOD_MS);
    return error;
}

/* ---- start and stop ---- */

static int failed(const char *what, int error)
{
    log_event(LOG_ERROR, "start_failed", LOG_TEXT("step", what), LOG_ERRNO(error));
    return error;
}

/* Descriptors: one socket, one file and an eventfd per lcore for each agent. */
static void descriptors_raise(const struct node_config *c)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    uint64_t wanted = (uint64_t)LIMIT_AGENTS * (2 + c->lcore_count) + LIMIT_CHUNKS;
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

static int spaces_add(struct daemon *d)
{
    for (uint32_t i = 0; i < d->config.space_count; i++) {
        const struct space_config *c = &d->config.spaces[i];
        int error = node_space_add(&d->node, c);
        if (error != 0) {
            log_event(LOG_ERROR, "space_failed", LOG_TEXT("space", c->name), LOG_ERRNO(error));
            return error;
        }
    }
    return 0;
}

/* Steps in order; each undone by stop_below when a later one fails. */
enum step { STEP_NONE, STEP_LISTENER, STEP_NODE, STEP_LOOP, STEP_LCORES };

static void stop_below(struct daemon *d, enum step reached)
{
    if (reached >= STEP_LCORES)
        node_lcores_stop(&d->node);
    if (reached >= STEP_LOOP) {
        if (d->handles_open != 0)
            handles_close(d);
        (void)uv_run(&d->loop, UV_RUN_DEFAULT);
        ASSERT(d->handles_open == 0);
        ASSERT(uv_loop_close(&d->loop) == 0);
    }
    if (reached >= STEP_NODE)
        node_close(&d->node);
    if (reached >= STEP_LISTENER)
        listener_close(&d->listener);
}

/* A restarted voter first waits (DESIGN section 5): agents of the start before may still answer
 * linearizable reads from its memory, and what we acknowledge meanwhile they would not see. */
static int lease_wait(struct daemon *d)
{
    uint64_t wait_ns = d->listener.lease_before_ns;
    wait_ns += wait_ns / 1000; /* the bound between two clocks */
    struct timespec left = {.tv_sec = (time_t)(wait_ns / NS_PER_S),
                            .tv_nsec = (long)(wait_ns % NS_PER_S)};
    while (wait_ns != 0 && nanosleep(&left, &left) != 0) {
        /* interrupted by a signal that is held until we serve */
    }
    return listener_lease(&d->listener, d->config.node.lease_ns);
}

static int start(struct daemon *d, enum step *reached)
{
    int error = listener_open(&d->listener, d->config.socket_path, d->config.socket_mode);
    if (error != 0)
        return failed("socket", error);
    *reached = STEP_LISTENER;
    error = node_open(&d->node, &d->config.node, d->listener.start);
    if (error != 0)
        return failed("node", error);
    *reached = STEP_NODE;
    error = keeper_open(&d->keeper, &d->node, &d->listener);
    if (error != 0)
        return failed("state_file", error);
    error = spaces_add(d);
    if (error != 0)
        return error;
    error = descriptors_left();
    if (error == 0)
        error = uv_loop_init(&d->loop);
    if (error != 0)
        return failed("loop", error);
    *reached = STEP_LOOP;
    error = handles_open(d);
    if (error != 0)
        return failed("handles", error);
    d->node.wake_control = wake_control;
    d->node.wake_context = d;
    error = guard_install(wake_control, d);
    if (error != 0)
        return failed("guard", error);
    error = lease_wait(d);
    if (error != 0)
        return failed("state_file", error);
    error = node_lcores_start(&d->node);
    if (error != 0)
        return failed("lcores", error);
    *reached = STEP_LCORES;
    error = server_open(&d->server, &d->loop, &d->node, d->listener.fd, (uint32_t)geteuid());
    return error != 0 ? failed("server", error) : 0;
}

static int serve(struct daemon *d)
{
    enum step reached = STEP_NONE;
    int error = start(d, &reached);
    if (error == 0) {
        log_event(LOG_INFO, "ready", LOG_TEXT("node", d->config.node.name),
                  LOG_NUMBER("start", d->node.start), LOG_TEXT("socket", d->config.socket_path));
        (void)puts("ready");
        (void)fflush(stdout);
        signals_hold(SIG_UNBLOCK);
        (void)uv_run(&d->loop, UV_RUN_DEFAULT);
        server_free(d->server);
        reached = STEP_LOOP;
    }
    stop_below(d, reached);
    return error == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- the command line ---- */

static void usage(FILE *out)
{
    (void)fputs(
        "usage: dunlind --config FILE [--check]\n"
        "\n"
        "  --config FILE  serve as FILE says, until SIGTERM or SIGINT; prints `ready`\n"
        "  --check        only validate FILE: each fault with its line and what was expected\n"
        "  --help         this text\n"
        "  --version      the version\n"
        "\n"
        "exit: 0 stopped as asked, or FILE is good; 1 could not start; 2 usage, or FILE has "
        "faults\n",
        out);
}

struct arguments {
    const char *config;
    bool check;
};

/* Returns -1 to go on, else the exit code. */
static int arguments_read(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"check", no_argument, NULL, 'k'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    if (argc > 1 && strcmp(argv[1], "dev") == 0) {
        (void)fputs("dunlind: dev: not in this version\n", stderr);
        return EXIT_USAGE;
    }
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'c':
            a->config = optarg;
            break;
        case 'k':
            a->check = true;
            break;
        case 'h':
            usage(stdout);
            return EXIT_SUCCESS;
        case 'v':
            (void)puts("dunlind " DUNLIN_VERSION_STRING);
            return EXIT_SUCCESS;
        default:
            usage(stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc || a->config == NULL) {
        usage(stderr);
        return EXIT_USAGE;
    }
    return -1;
}

/* In a build with known bugs, the one that DUNLIN_PLANT names is switched on; elsewhere naming one
 * is an error, so that nobody takes a sound build for a planted one. */
static int plant_from_environment(void)
{
    const char *name = getenv("DUNLIN_PLANT");
    if (name == NULL || name[0] == '\0')
        return 0;
    int error = plant_set(name);
    if (error != 0)
        (void)fprintf(stderr, "dunlind: DUNLIN_PLANT=%s: %s\n", name,
                      error == -ENOENT ? "no such bug" : "this is not a build with -Dplant=true");
    return error;
}

int main(int argc, char **argv)
{
    static struct daemon daemon;
    struct arguments arguments = {0};
    int code = arguments_read(argc, argv, &arguments);
    if (code >= 0)
        return code;
    int error = config_load(arguments.config, &daemon.config, stderr);
    if (error != 0)
        return EXIT_USAGE;
    if (arguments.check)
        return EXIT_SUCCESS;
    if (plant_from_environment() != 0)
        return EXIT_USAGE;
    descriptors_raise(&daemon.config.node);
    /* A peer or a reader of our output that goes away is an error code, not a signal. */
    (void)signal(SIGPIPE, SIG_IGN);
    signals_hold(SIG_BLOCK);
    qsbr_thread_register();
    qsbr_offline();
    qsbr_defer_start();
    code = serve(&daemon);
    qsbr_thread_unregister();
    return code;
}
