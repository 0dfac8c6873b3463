/* Nodes that are processes: killed, started again, stopped and continued, while the others go on.
 *
 * Run as `--node DIR ID PORT PORT PORT` (of nodes 1, 2, 3; 0: any) the program is such a node: it prints its port,
 * sends back what comes, and ends when its standard input does. */
#include "tests/unit/control/control_net_nodes.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define ECHO_TYPE 20u

static struct net_nodes nodes;
static struct net_nodes *const t = &nodes;

static void port_set(struct sockaddr_storage *address, long port)
{
    ((struct sockaddr_in *)address)->sin_port = htons((uint16_t)port);
}

static uint16_t port_of(const struct sockaddr_storage *address)
{
    return ntohs(((const struct sockaddr_in *)address)->sin_port);
}

/* ---- the child ---- */

static void on_input(uv_poll_t *poll, int status, int events)
{
    bool *over = poll->data;
    (void)status;
    (void)events;
    *over = true;
}

static int node_main(char **argv)
{
    uv_poll_t input;
    bool over = false;
    uint32_t id = (uint32_t)strtoul(argv[1], NULL, 10);
    net_nodes_join(t, argv[0]);
    for (uint32_t i = 1; i <= NET_NODES; i++)
        port_set(&t->nodes[i].address, strtol(argv[i + 1], NULL, 10));
    t->nodes[id].echo_type = ECHO_TYPE;
    net_open(t, id);
    (void)printf("%u\n", port_of(&t->nodes[id].address));
    (void)fflush(stdout);
    (void)uv_poll_init(&t->loop, &input, STDIN_FILENO);
    input.data = &over;
    (void)uv_poll_start(&input, UV_READABLE | UV_DISCONNECT, on_input);
    while (!over)
        net_once(t);
    return 0;
}

/* ---- its parent ---- */

struct child {
    pid_t pid;
    int input;
    FILE *output;
};

static struct child children[NET_NODES + 1];

/* Its port is the parent's to know from then on. */
static void child_start(uint32_t id)
{
    struct child *c = &children[id];
    int in[2], out[2];
    char words[4][16], line[32];
    posix_spawn_file_actions_t files;
    (void)snprintf(words[0], sizeof(words[0]), "%u", id);
    for (uint32_t i = 1; i <= NET_NODES; i++)
        (void)snprintf(words[i], sizeof(words[i]), "%u", port_of(&t->nodes[i].address));
    char *argv[] = {"node", "--node", t->directory, words[0], words[1], words[2], words[3], NULL};
    CU_ASSERT_FATAL(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    (void)posix_spawn_file_actions_init(&files);
    (void)posix_spawn_file_actions_adddup2(&files, in[0], STDIN_FILENO);
    (void)posix_spawn_file_actions_adddup2(&files, out[1], STDOUT_FILENO);
    CU_ASSERT_EQUAL_FATAL(posix_spawn(&c->pid, "/proc/self/exe", &files, NULL, argv, environ), 0);
    (void)posix_spawn_file_actions_destroy(&files);
    (void)close(in[0]);
    (void)close(out[1]);
    c->input = in[1];
    c->output = fdopen(out[0], "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(c->output);
    CU_ASSERT_PTR_NOT_NULL_FATAL(fgets(line, sizeof(line), c->output));
    port_set(&t->nodes[id].address, strtol(line, NULL, 10));
}

static void child_kill(uint32_t id)
{
    struct child *c = &children[id];
    int status;
    CU_ASSERT_EQUAL(kill(c->pid, SIGKILL), 0);
    CU_ASSERT_EQUAL(waitpid(c->pid, &status, 0), c->pid);
    CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    (void)close(c->input);
    (void)fclose(c->output);
}

static void begin(void)
{
    net_nodes_init(t);
    child_start(3);
    child_start(2);
    net_open(t, 1);
}

static void end(void)
{
    child_kill(2);
    child_kill(3);
    net_nodes_fini(t);
}

static bool both_up(struct net_nodes *n)
{
    return control_net_is_up(n->nodes[1].net, 2) && control_net_is_up(n->nodes[1].net, 3);
}

static uint64_t wanted_of_two, wanted_of_three;

static bool echoes_came(struct net_nodes *n)
{
    return n->nodes[1].received[2] >= wanted_of_two && n->nodes[1].received[3] >= wanted_of_three;
}

static int echo_ask(uint32_t node)
{
    static const uint8_t bytes[100];
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = sizeof(bytes)};
    return control_net_send(t->nodes[1].net, node, ECHO_TYPE, &piece, 1, NULL);
}

/* So many more of each. */
static void echoes(uint32_t of_two, uint32_t of_three)
{
    wanted_of_two = t->nodes[1].received[2] + of_two;
    wanted_of_three = t->nodes[1].received[3] + of_three;
    for (uint32_t i = 0; i < of_two; i++)
        CU_ASSERT_EQUAL(echo_ask(2), 0);
    for (uint32_t i = 0; i < of_three; i++)
        CU_ASSERT_EQUAL(echo_ask(3), 0);
    CU_ASSERT(net_until(t, echoes_came));
}

/* ---- the tests ---- */

static bool three_is_down(struct net_nodes *n)
{
    return !control_net_is_up(n->nodes[1].net, 3);
}

static void a_killed_process_is_noticed_and_comes_back(void)
{
    begin();
    CU_ASSERT_FATAL(net_until(t, both_up));
    echoes(100, 100);
    for (uint32_t round = 1; round <= 3; round++) {
        child_kill(3);
        CU_ASSERT(net_until(t, three_is_down));
        CU_ASSERT_EQUAL(echo_ask(3), -ENOTCONN);
        echoes(100, 0);
        child_start(3);
        CU_ASSERT(net_until(t, both_up));
        CU_ASSERT_EQUAL(t->nodes[1].ups[3], round + 1);
        echoes(10, 100);
    }
    CU_ASSERT_EQUAL(t->nodes[1].downs[2], 0);
    end();
}

/* It acknowledges nothing and reads nothing: its queue fills, and then its link goes, nobody else's. */
static void a_stopped_process_holds_up_nobody(void)
{
    static const uint8_t bytes[64 << 10];
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = sizeof(bytes)};
    int error = 0;
    begin();
    CU_ASSERT_FATAL(net_until(t, both_up));
    CU_ASSERT_EQUAL(kill(children[3].pid, SIGSTOP), 0);
    for (uint32_t i = 0; error == 0 && i < 4096; i++) {
        error = control_net_send(t->nodes[1].net, 3, 30, &piece, 1, NULL);
        if (i % 16 == 0)
            (void)uv_run(&t->loop, UV_RUN_NOWAIT);
    }
    /* Its link may be gone by then, on a slow machine. */
    CU_ASSERT(error == -ENOBUFS || error == -ENOTCONN);
    echoes(1000, 0);
    CU_ASSERT(net_until(t, three_is_down));
    echoes(100, 0);
    CU_ASSERT_EQUAL(t->nodes[1].downs[2], 0);
    CU_ASSERT_EQUAL(kill(children[3].pid, SIGCONT), 0);
    CU_ASSERT(net_until(t, both_up));
    echoes(100, 100);
    end();
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_killed_process_is_noticed_and_comes_back),
    UNIT_TEST(a_stopped_process_holds_up_nobody),
};

int main(int argc, char **argv)
{
    if (argc == 7 && strcmp(argv[1], "--node") == 0)
        return node_main(argv + 2);
    return unit_main("control_net_processes", tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
