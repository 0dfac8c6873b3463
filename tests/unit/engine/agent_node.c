#include "tests/unit/engine/agent_node.h"

#include "engine/agent/agent.h"
#include "engine/rcu.h"
#include "tests/unit/unit.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- the control thread ---- */

static void on_wake(uv_async_t *handle)
{
    struct agent_node *n = handle->data;
    server_detach_faulty(n->server);
    keeper_step(&n->keeper);
}

static void on_stop(uv_async_t *handle)
{
    struct agent_node *n = handle->data;
    server_stop(n->server);
    uv_close((uv_handle_t *)&n->wake, NULL);
    uv_close((uv_handle_t *)&n->stop, NULL);
}

static void wake_control(void *context)
{
    struct agent_node *n = context;
    (void)uv_async_send(&n->wake);
}

static void *control(void *argument)
{
    struct agent_node *n = argument;
    qsbr_thread_register();
    qsbr_offline();
    (void)uv_run(&n->loop, UV_RUN_DEFAULT);
    qsbr_online();
    qsbr_thread_unregister();
    return NULL;
}

/* ---- making and ending it ---- */

static char interrupted_path[96], interrupted_state[112], interrupted_directory[64];

static void on_interrupt(int signal_number)
{
    (void)unlink(interrupted_path);
    (void)unlink(interrupted_state);
    (void)rmdir(interrupted_directory);
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

static void make_directory(struct agent_node *n)
{
    (void)snprintf(n->directory, sizeof n->directory, "/tmp/dunlin-node-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(n->directory));
    (void)snprintf(n->path, sizeof n->path, "%s/socket", n->directory);
    memcpy(interrupted_directory, n->directory, sizeof interrupted_directory);
    memcpy(interrupted_path, n->path, sizeof interrupted_path);
    (void)snprintf(interrupted_state, sizeof interrupted_state, "%s.state", n->path);
    (void)signal(SIGINT, on_interrupt);
    (void)signal(SIGTERM, on_interrupt);
}

static void make_node(struct agent_node *n, const struct agent_node_options *o)
{
    struct node_config config = {
        .name = "test",
        .id = 5,
        .lcore_count = o->lcore_count != 0 ? o->lcore_count : 1,
        .lease_ns = o->lease_ns != 0 ? o->lease_ns : 50 * NS_PER_MS,
        .heartbeat_ns = 100 * NS_PER_MS,
        .view_ns = o->view_ns != 0 ? o->view_ns : NS_PER_S,
    };
    for (uint32_t l = 0; l < LIMIT_LCORES; l++)
        config.lcore_cpus[l] = -1;
    struct space_config space;
    space_config_default(&space);
    (void)snprintf(space.name, sizeof space.name, "real");
    space.id = 2;
    space.shard_count = o->shard_count != 0 ? o->shard_count : 4;
    space.quota_bytes = o->quota_bytes != 0 ? o->quota_bytes : UINT64_C(64) << 20;
    space.partition_prefix = o->partition_prefix;
    if (o->sessions_max != 0)
        space.sessions_max = o->sessions_max;
    if (o->history != 0)
        space.history = o->history;
    CU_ASSERT_EQUAL_FATAL(listener_open(&n->listener, n->path, 0600), 0);
    CU_ASSERT_EQUAL_FATAL(node_open(&n->node, &config, n->listener.start), 0);
    CU_ASSERT_EQUAL_FATAL(keeper_open(&n->keeper, &n->node, &n->listener, 0), 0);
    CU_ASSERT_EQUAL_FATAL(node_space_add(&n->node, &space), 0);
}

struct agent_node *agent_node_make(const struct agent_node_options *options)
{
    struct agent_node *n = calloc(1, sizeof *n);
    CU_ASSERT_PTR_NOT_NULL_FATAL(n);
    make_directory(n);
    make_node(n, options);
    CU_ASSERT_EQUAL_FATAL(uv_loop_init(&n->loop), 0);
    CU_ASSERT_EQUAL_FATAL(uv_async_init(&n->loop, &n->wake, on_wake), 0);
    CU_ASSERT_EQUAL_FATAL(uv_async_init(&n->loop, &n->stop, on_stop), 0);
    n->wake.data = n->stop.data = n;
    n->node.wake_control = wake_control;
    n->node.wake_context = n;
    CU_ASSERT_EQUAL_FATAL(
        server_open(&n->server, &n->loop, &n->node, n->listener.fd, (uint32_t)geteuid()), 0);
    CU_ASSERT_EQUAL_FATAL(node_lcores_start(&n->node), 0);
    n->lcores_run = true;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&n->thread, NULL, control, n), 0);
    n->lives = true;
    return n;
}

void agent_node_stop_lcores(struct agent_node *n)
{
    if (n->lcores_run)
        node_lcores_stop(&n->node);
    n->lcores_run = false;
}

void agent_node_kill(struct agent_node *n)
{
    if (!n->lives)
        return;
    agent_node_stop_lcores(n);
    (void)uv_async_send(&n->stop);
    (void)pthread_join(n->thread, NULL);
    server_free(n->server);
    CU_ASSERT_EQUAL(uv_loop_close(&n->loop), 0);
    node_close(&n->node);
    listener_close(&n->listener);
    n->lives = false;
}

void agent_node_free(struct agent_node *n)
{
    char state[112];
    agent_node_kill(n);
    (void)snprintf(state, sizeof state, "%s.state", n->path);
    (void)unlink(state);
    (void)rmdir(n->directory);
    free(n);
}

struct dunlin *agent_node_attach(struct agent_node *n, uint64_t timeout_ms,
                                 struct dunlin_space **space)
{
    const struct dunlin_options options = {.socket = n->path, .timeout_ns = timeout_ms * NS_PER_MS};
    struct dunlin *d = NULL;
    CU_ASSERT_EQUAL_FATAL(dunlin_open(&options, &d), 0);
    CU_ASSERT_EQUAL_FATAL(dunlin_space(d, "real", space), 0);
    /* On a busy machine the first proofs that both clocks are one may take too long to count. */
    for (unsigned i = 0; i < 20000 && !(*space)->in_place; i++) {
        (void)usleep(1000);
        agent_attach_clock(d, d->now);
    }
    CU_ASSERT_TRUE_FATAL((*space)->in_place);
    return d;
}
