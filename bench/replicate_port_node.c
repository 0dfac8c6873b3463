#include "bench/replicate_port_node.h"

#include "bench/daemon.h"
#include "bench/port_eal.h"
#include "bench/port_net.h"
#include "bench/port_switch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "dunlin-bench-node"

static int namespace_make(const struct replicate_port_node *n)
{
    int rc = port_net_leave();
    atomic_store_explicit(&n->shared->left[n->number], rc == 0 ? 1 : (uint32_t)rc,
                          memory_order_release);
    net_word_wake(&n->shared->left[n->number]);
    if (rc == 0)
        rc = net_word_await(&n->shared->go, 0);
    if (rc == 0)
        rc = port_net_ip("link set lo up\nlink set " PORT_NET_CABLE " " PORT_NET_UP
                         "\nlink set control addrgenmode none up\n"
                         "address add " REPLICATE_PORT_CONTROL "/24 dev control\n",
                         n->number + 1);
    return rc;
}

/* net_fork's task. */
static void run(void *context)
{
    const struct replicate_port_node *n = context;
    char directory[512], path[600], value[32];
    int rc = daemon_beside(directory, sizeof directory);
    (void)snprintf(path, sizeof path, "%s/" PROGRAM, rc == 0 ? directory : "");
    if (rc == 0 && n->has_cable)
        rc = namespace_make(n);
    (void)snprintf(value, sizeof value, "%d:%u", n->shared_fd, n->number);
    int fd = open(n->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (rc != 0 || fd < 0 || dup2(fd, STDERR_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0 ||
        setenv(REPLICATE_PORT_VARIABLE, value, 1) != 0)
        _exit(127);
    (void)execl(path, PROGRAM, "--config", n->config_path, (char *)NULL);
    (void)fprintf(stderr, "cannot run %s: %s\n", path, strerror(errno));
    _exit(127);
}

pid_t replicate_port_node_start(struct replicate_port_node *n, uint32_t cpu)
{
    return net_fork(cpu, run, n);
}

struct joining {
    struct replicate_port_shared *shared;
    const char *file;
};

/* net_fork's task. */
static void join(void *context)
{
    static const _Atomic uint32_t never;
    const struct joining *j = context;
    struct port_switch *s = NULL;
    int rc = port_eal_start("net_memif");
    if (rc == 0)
        rc = port_switch_open(&s, j->file, NET_SERVERS);
    atomic_store_explicit(&j->shared->joined, rc == 0 ? 1 : (uint32_t)rc, memory_order_release);
    net_word_wake(&j->shared->joined);
    if (rc == 0)
        port_switch_run(s, &never);
}

pid_t replicate_port_switch_start(struct replicate_port_shared *shared, const char *file,
                                  uint32_t cpu)
{
    struct joining j = {shared, file};
    return net_fork(cpu, join, &j);
}
