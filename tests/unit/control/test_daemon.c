/* Several nodes of one process: what they share, and that no end leaves anything behind. */
#include "control/daemon.h"

#include "control/listener.h"
#include "engine/agent/dunlin.h"
#include "tests/unit/unit.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define NODES 2u
#define TIMEOUT_NS (20 * NS_PER_S)

static char directory[64];
static struct config configs[NODES];

/* What the hooks saw. */
static struct {
    uint32_t joined, left, ready;
    int join_error;
    struct node *nodes[NODES];
} seen;

static void state_path(uint32_t node, char path[160])
{
    (void)snprintf(path, 160, "%s.state", configs[node].socket_path);
}

static void prepare(void)
{
    static bool prepared;
    if (!prepared) {
        /* Why a loop: the first one opens what libuv keeps for the process. */
        uv_loop_t loop;
        daemon_prepare();
        CU_ASSERT_EQUAL_FATAL(uv_loop_init(&loop), 0);
        CU_ASSERT_EQUAL(uv_loop_close(&loop), 0);
    }
    prepared = true;
    memset(&seen, 0, sizeof(seen));
    (void)snprintf(directory, sizeof(directory), "/tmp/dunlin-test-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
    for (uint32_t i = 0; i < NODES; i++) {
        struct config *c = &configs[i];
        *c = (struct config){.node = {.id = i + 1,
                                      .lcore_count = 1,
                                      .lcore_cpus = {-1},
                                      .lease_ns = 5 * NS_PER_MS,
                                      .heartbeat_ns = 100 * NS_PER_MS,
                                      .view_ns = 100 * NS_PER_MS},
                             .socket_mode = 0600,
                             .space_count = 1};
        (void)snprintf(c->node.name, sizeof(c->node.name), "node%u", i + 1);
        (void)snprintf(c->socket_path, sizeof(c->socket_path), "%s/node%u.sock", directory, i + 1);
        space_config_default(&c->spaces[0]);
        c->spaces[0].id = 1;
        c->spaces[0].shard_count = 2;
        c->spaces[0].quota_bytes = UINT64_C(16) << 20;
        (void)snprintf(c->spaces[0].name, sizeof(c->spaces[0].name), "reeds");
    }
}

/* Nothing but the state files is there. */
static void clear(void)
{
    char path[160];
    for (uint32_t i = 0; i < NODES; i++) {
        state_path(i, path);
        (void)unlink(path);
    }
    CU_ASSERT_EQUAL(rmdir(directory), 0);
}

static int open_fds(void)
{
    int count = 0;
    DIR *fds = opendir("/proc/self/fd");
    CU_ASSERT_PTR_NOT_NULL_FATAL(fds);
    while (readdir(fds) != NULL)
        count++;
    (void)closedir(fds);
    return count;
}

static int on_join(void *context, struct node *const *nodes, uint32_t node_count)
{
    CU_ASSERT_PTR_EQUAL(context, &seen);
    CU_ASSERT_EQUAL_FATAL(node_count, NODES);
    for (uint32_t i = 0; i < NODES; i++) {
        CU_ASSERT_EQUAL(nodes[i]->config.id, i + 1);
        CU_ASSERT_PTR_NOT_NULL(nodes[i]->spaces[1]);
        CU_ASSERT_PTR_NULL(nodes[i]->lcores[0]); /* nobody runs yet */
        seen.nodes[i] = nodes[i];
    }
    seen.joined++;
    return seen.join_error;
}

static void on_leave(void *context)
{
    CU_ASSERT_PTR_EQUAL(context, &seen);
    for (uint32_t i = 0; i < NODES; i++)
        CU_ASSERT_PTR_NULL(seen.nodes[i]->lcores[0]); /* nobody runs any more */
    seen.left++;
}

static void on_ready(void *context)
{
    CU_ASSERT_PTR_EQUAL(context, &seen);
    for (uint32_t i = 0; i < NODES; i++) {
        CU_ASSERT_PTR_NOT_NULL(seen.nodes[i]->lcores[0]);
        CU_ASSERT_EQUAL(access(configs[i].socket_path, F_OK), 0);
    }
    seen.ready++;
}

static const struct daemon_hooks hooks = {
    .join = on_join, .leave = on_leave, .ready = on_ready, .context = &seen};

/* ---- an agent of both nodes, in a thread of its own ---- */

struct visit {
    int error; /* the first */
    uint32_t node_ids[NODES];
    char values[NODES][8];
};

static int visit_one(struct visit *v, uint32_t node)
{
    const struct dunlin_options options = {.socket = configs[node].socket_path,
                                           .timeout_ns = TIMEOUT_NS};
    struct dunlin *handle;
    struct dunlin_space *space;
    struct dunlin_info info;
    const char *value = node == 0 ? "north" : "south";
    int error = dunlin_open(&options, &handle);
    if (error != 0)
        return error;
    error = dunlin_space(handle, "reeds", &space);
    if (error == 0)
        error = dunlin_put(space, "nest", 4, value, strlen(value), NULL);
    if (error == 0)
        error = dunlin_get(space, "nest", 4, v->values[node], sizeof(v->values[node]), NULL);
    dunlin_info(handle, &info);
    v->node_ids[node] = info.node_id;
    dunlin_close(handle);
    return error;
}

/* Ends the daemon when it has been everywhere. */
static void *visit_all(void *argument)
{
    struct visit *v = argument;
    for (uint32_t i = 0; i < NODES && v->error == 0; i++)
        v->error = visit_one(v, i);
    (void)kill(getpid(), SIGTERM);
    return NULL;
}

static void nodes_of_one_process_serve_each_its_agents(void)
{
    static struct visit visit;
    struct daemon *d;
    pthread_t thread;
    prepare();
    int fds = open_fds();
    CU_ASSERT_EQUAL_FATAL(daemon_start(&d, configs, NODES, &hooks), 0);
    CU_ASSERT_EQUAL(seen.joined, 1);
    CU_ASSERT_EQUAL(seen.ready, 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, visit_all, &visit), 0);
    CU_ASSERT_EQUAL(daemon_serve(d), 0);
    CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
    daemon_stop(d);
    CU_ASSERT_EQUAL(visit.error, 0);
    CU_ASSERT_EQUAL(visit.node_ids[0], 1);
    CU_ASSERT_EQUAL(visit.node_ids[1], 2);
    CU_ASSERT_STRING_EQUAL(visit.values[0], "north");
    CU_ASSERT_STRING_EQUAL(visit.values[1], "south");
    CU_ASSERT_EQUAL(seen.ready, 1);
    CU_ASSERT_EQUAL(seen.left, 1);
    CU_ASSERT_EQUAL(open_fds(), fds);
    clear();
}

static uint32_t steps;

static int on_step(void *context)
{
    CU_ASSERT_PTR_EQUAL(context, &seen);
    return ++steps == 3 ? -ESTALE : 0;
}

#define LSN_GRANTED (UINT64_C(7) << 60) /* more than the clock says */

static uint64_t on_lsn_granted(void *context, bool is_short)
{
    CU_ASSERT_PTR_EQUAL(context, &seen);
    CU_ASSERT_FALSE(is_short);
    return LSN_GRANTED + steps;
}

/* Nobody asked it to: and what a step says of LSNs is granted by then. */
static void a_step_may_end_it(void)
{
    struct daemon_hooks own = hooks;
    struct daemon *d;
    own.step = on_step;
    own.lsn_granted = on_lsn_granted;
    own.period_ms = 1;
    prepare();
    steps = 0;
    int fds = open_fds();
    CU_ASSERT_EQUAL_FATAL(daemon_start(&d, configs, NODES, &own), 0);
    CU_ASSERT_EQUAL(daemon_serve(d), -ESTALE);
    CU_ASSERT_EQUAL(steps, 3);
    CU_ASSERT_EQUAL(daemon_node(d, 1)->lsn_ceiling, LSN_GRANTED + 3);
    daemon_stop(d);
    CU_ASSERT_EQUAL(seen.left, 1);
    CU_ASSERT_EQUAL(open_fds(), fds);
    clear();
}

/* The clock was set back since the second node's last start, which had granted more, too. */
static void nodes_of_one_process_are_one_start(void)
{
    char path[160];
    struct daemon *d;
    prepare();
    state_path(1, path);
    FILE *file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT(fputs("start=00000002100000000000\nlsn_ceiling=08000000000000000000\n", file) >= 0);
    CU_ASSERT_EQUAL(fclose(file), 0);
    CU_ASSERT_EQUAL_FATAL(daemon_start(&d, configs, NODES, &hooks), 0);
    for (uint32_t i = 0; i < NODES; i++) {
        CU_ASSERT_EQUAL(daemon_node(d, i)->start, UINT64_C(2100000000001));
        CU_ASSERT_EQUAL(daemon_node(d, i)->lsn_start, UINT64_C(2100000000001)
                                                          << NODE_LSN_PER_START_SHIFT);
    }
    daemon_stop(d);
    /* Both remember it. */
    for (uint32_t i = 0; i < NODES; i++) {
        struct listener l;
        CU_ASSERT_EQUAL_FATAL(listener_open(&l, configs[i].socket_path, 0600), 0);
        CU_ASSERT_EQUAL(l.start, UINT64_C(2100000000002));
        CU_ASSERT(l.lsn_ceiling > UINT64_C(2100000000001) << NODE_LSN_PER_START_SHIFT);
        CU_ASSERT_EQUAL(l.lease_before_ns, 5 * NS_PER_MS);
        listener_close(&l);
    }
    clear();
}

static void logs_begin_above_the_highest_grant_of_any_node(void)
{
    struct daemon *d;
    prepare();
    for (uint32_t i = 0; i < NODES; i++) {
        struct listener l;
        CU_ASSERT_EQUAL_FATAL(listener_open(&l, configs[i].socket_path, 0600), 0);
        CU_ASSERT_EQUAL(listener_grant(&l, (UINT64_C(1) << 63) + i * PAGE), 0);
        listener_close(&l);
    }
    CU_ASSERT_EQUAL_FATAL(daemon_start(&d, configs, NODES, &hooks), 0);
    CU_ASSERT_EQUAL(daemon_node(d, 0)->lsn_start, (UINT64_C(1) << 63) + PAGE);
    CU_ASSERT_EQUAL(daemon_node(d, 1)->lsn_start, (UINT64_C(1) << 63) + PAGE);
    daemon_stop(d);
    clear();
}

/* Whatever fails, at whatever node: an error, and nothing is left. */
static void expect_failure(int error)
{
    struct daemon *d = NULL;
    int fds = open_fds();
    CU_ASSERT_EQUAL(daemon_start(&d, configs, NODES, &hooks), error);
    CU_ASSERT_PTR_NULL(d);
    CU_ASSERT_EQUAL(seen.left, 0);
    CU_ASSERT_EQUAL(seen.ready, 0);
    CU_ASSERT_EQUAL(open_fds(), fds);
    CU_ASSERT_NOT_EQUAL(access(configs[0].socket_path, F_OK), 0);
}

static void a_node_that_cannot_start_takes_the_others_with_it(void)
{
    prepare();
    FILE *file = fopen(configs[1].socket_path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(fclose(file), 0);
    expect_failure(-ENOTSOCK);
    CU_ASSERT_EQUAL(unlink(configs[1].socket_path), 0);

    configs[1].node.lcore_count = 0;
    expect_failure(-EINVAL);
    configs[1].node.lcore_count = 1;

    configs[1].spaces[0].shard_count = LIMIT_SHARDS; /* the quota is too small for so many */
    expect_failure(-ENOSPC);
    configs[1].spaces[0].shard_count = 2;
    CU_ASSERT_EQUAL(seen.joined, 0);

    seen.join_error = -EIO;
    expect_failure(-EIO);
    CU_ASSERT_EQUAL(seen.joined, 1);
    clear();
}

static const struct unit_test tests[] = {
    UNIT_TEST(nodes_of_one_process_serve_each_its_agents),
    UNIT_TEST(a_step_may_end_it),
    UNIT_TEST(nodes_of_one_process_are_one_start),
    UNIT_TEST(logs_begin_above_the_highest_grant_of_any_node),
    UNIT_TEST(a_node_that_cannot_start_takes_the_others_with_it),
};
UNIT_MAIN("daemon", tests)
