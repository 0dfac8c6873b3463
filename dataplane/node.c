#include "dataplane/node.h"

#include "dataplane/node_clock.h"
#include "dataplane/node_space.h"

#include <linux/membarrier.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t file_bytes(uint64_t bytes)
{
    return align_up(bytes, PAGE);
}

static int sleep_fds_open(struct node *n)
{
    for (uint32_t i = 0; i < n->config.lcore_count; i++) {
        n->sleep_fds[i] = epoll_create1(EPOLL_CLOEXEC);
        if (n->sleep_fds[i] < 0)
            return -errno;
    }
    return 0;
}

static void sleep_fds_close(struct node *n)
{
    for (uint32_t i = 0; i < LIMIT_LCORES; i++) {
        if (n->sleep_fds[i] >= 0)
            (void)close(n->sleep_fds[i]);
        n->sleep_fds[i] = -1;
    }
}

static uint32_t light_fences_work(void)
{
    long known = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    return known > 0 && (known & MEMBARRIER_CMD_GLOBAL_EXPEDITED) != 0 ? 1 : 0;
}

static void node_file_format(struct node *n)
{
    struct layout_node *shared = n->shared;
    shared->magic = LAYOUT_MAGIC_NODE;
    shared->fingerprint = LAYOUT_FINGERPRINT;
    shared->start = n->start;
    shared->node_id = n->config.id;
    shared->clock_kind = (uint32_t)n->clock_kind;
    shared->ticks_per_s = n->ticks_per_s;
    shared->lease_ns = n->config.lease_ns;
    shared->heartbeat_ns = n->config.heartbeat_ns;
    shared->view_ns = n->config.view_ns;
    shared->lcore_count = n->config.lcore_count;
    shared->lease_virtual = n->config.lease_virtual ? 1 : 0;
    shared->light_fences = light_fences_work();
    memcpy(shared->name, n->config.name, sizeof(shared->name));
}

static bool config_is_valid(const struct node_config *c)
{
    return c->lcore_count >= 1 && c->lcore_count <= LIMIT_LCORES &&
           memchr(c->name, 0, sizeof(c->name)) != NULL;
}

int node_open(struct node *n, const struct node_config *config, uint64_t start)
{
    *n = (struct node){.start = start, .node_file.fd = -1, .doorbell_file.fd = -1};
    for (uint32_t i = 0; i < LIMIT_LCORES; i++)
        n->sleep_fds[i] = -1;
    if (!config_is_valid(config) || start == 0 || start >> (63 - NODE_LSN_PER_START_SHIFT) != 0)
        return -EINVAL;
    n->config = *config;
    n->lsn_start = start << NODE_LSN_PER_START_SHIFT;
    /* relaxed: no lcore runs yet */
    atomic_store_explicit(&n->lsn_ceiling, n->lsn_start + NODE_LSN_GRANT, memory_order_relaxed);
    struct node_clock clock;
    node_clock_choose(&clock);
    n->clock_kind = clock.kind;
    n->ticks_per_s = clock.ticks_per_s;
    int error = memory_create(&n->node_file, "dunlin-node", file_bytes(sizeof(*n->shared)),
                              MEMORY_READ_ONLY, true, NULL);
    if (error == 0)
        error = memory_create(&n->doorbell_file, "dunlin-doorbell",
                              file_bytes(sizeof(*n->doorbell)), MEMORY_SHARED, true, NULL);
    if (error == 0)
        error = sleep_fds_open(n);
    if (error != 0) {
        node_close(n);
        return error;
    }
    n->shared = (struct layout_node *)(void *)n->node_file.base;
    n->doorbell = (struct layout_doorbell *)(void *)n->doorbell_file.base;
    node_file_format(n);
    return 0;
}

void node_close(struct node *n)
{
    for (uint32_t i = 0; i < LIMIT_AGENTS; i++)
        ASSERT(atomic_load_explicit(&n->agents[i], memory_order_relaxed) == NULL);
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++) {
        node_space_free(n, n->spaces[id]);
        n->spaces[id] = NULL;
    }
    node_space_free(n, n->dropped);
    n->dropped = NULL;
    sleep_fds_close(n);
    memory_destroy(&n->doorbell_file, false);
    memory_destroy(&n->node_file, false);
    n->shared = NULL;
    n->doorbell = NULL;
}

struct node_space *node_space_find(const struct node *n, const char *name)
{
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++)
        if (n->spaces[id] != NULL && strcmp(n->spaces[id]->config.name, name) == 0)
            return n->spaces[id];
    return NULL;
}
