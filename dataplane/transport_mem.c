#include "dataplane/transport_mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

struct transport_mem_hub {
    uint32_t node_count, lcore_count;
    uint32_t ids[LIMIT_NODES];
    uint64_t data_bytes;
    uint8_t *data;                            /* of all queues */
    struct transport_mem_queue *queues;       /* [lcore][from][to] */
    struct transport_mem_endpoint *endpoints; /* [lcore][node] */
};

static bool is_sound(const struct transport_mem_config *c, uint32_t queue_bytes)
{
    if (c->node_count == 0 || c->node_count > LIMIT_NODES || c->lcore_count == 0 ||
        c->lcore_count > LIMIT_LCORES || !is_power_of_two(queue_bytes) ||
        queue_bytes < TRANSPORT_MEM_QUEUE_BYTES_MIN || queue_bytes > TRANSPORT_MEM_QUEUE_BYTES_MAX)
        return false;
    for (uint32_t i = 0; i < c->node_count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (c->nodes[i] == c->nodes[j])
                return false;
    return true;
}

static void queues_init(struct transport_mem_hub *h, uint32_t queue_bytes)
{
    uint64_t count = (uint64_t)h->lcore_count * h->node_count * h->node_count;
    for (uint64_t i = 0; i < count; i++) {
        struct transport_mem_queue *q = &h->queues[i];
        memset(q, 0, sizeof *q);
        q->out.data = q->in.data = h->data + i * queue_bytes;
        q->out.bytes = q->in.bytes = queue_bytes;
    }
}

static int endpoint_init(struct transport_mem_hub *h, uint32_t lcore, uint32_t node,
                         bool log_writes)
{
    struct transport_mem_endpoint *peers = &h->endpoints[(uint64_t)lcore * h->node_count];
    struct transport_mem_queue *queues =
        &h->queues[(uint64_t)lcore * h->node_count * h->node_count];
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    peers[node] = (struct transport_mem_endpoint){
        .transport = {.ops = &transport_mem_ops,
                      .log_writes = log_writes,
                      .node = h->ids[node],
                      .length_max = UINT32_MAX,
                      .wake_fd = fd},
        .peers = peers,
        .ids = h->ids,
        .out = &queues[(uint64_t)node * h->node_count],
        .in = &queues[node],
        .node_count = h->node_count,
        .self = node,
        .turn_in = node,
    };
    return 0;
}

static void endpoints_close(struct transport_mem_hub *h, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        (void)close(h->endpoints[i].transport.wake_fd);
}

static int endpoints_open(struct transport_mem_hub *h, bool log_writes)
{
    uint64_t count = (uint64_t)h->lcore_count * h->node_count;
    for (uint64_t i = 0; i < count; i++) {
        int error = endpoint_init(h, (uint32_t)(i / h->node_count), (uint32_t)(i % h->node_count),
                                  log_writes);
        if (error != 0) {
            endpoints_close(h, i);
            return error;
        }
    }
    return 0;
}

int transport_mem_open(struct transport_mem_hub **hub, const struct transport_mem_config *config)
{
    uint32_t queue_bytes =
        config->queue_bytes != 0 ? config->queue_bytes : TRANSPORT_MEM_QUEUE_BYTES;
    if (!is_sound(config, queue_bytes))
        return -EINVAL;
    struct transport_mem_hub *h = calloc(1, sizeof *h);
    if (h == NULL)
        return -ENOMEM;
    h->node_count = config->node_count;
    h->lcore_count = config->lcore_count;
    memcpy(h->ids, config->nodes, config->node_count * sizeof h->ids[0]);
    uint64_t endpoints = (uint64_t)h->lcore_count * h->node_count;
    uint64_t queues = endpoints * h->node_count;
    int error = -ENOMEM;
    h->endpoints = aligned_alloc(CACHE_LINE, endpoints * sizeof *h->endpoints);
    if (h->endpoints == NULL)
        goto free_hub;
    h->queues = aligned_alloc(CACHE_LINE, queues * sizeof *h->queues);
    if (h->queues == NULL)
        goto free_endpoints;
    /* Why mapped: pages of queues that are never used cost nothing. */
    h->data_bytes = queues * queue_bytes;
    h->data = mmap(NULL, h->data_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (h->data == MAP_FAILED)
        goto free_queues;
    queues_init(h, queue_bytes);
    error = endpoints_open(h, config->log_writes);
    if (error != 0)
        goto unmap;
    *hub = h;
    return 0;
unmap:
    (void)munmap(h->data, h->data_bytes);
free_queues:
    free(h->queues);
free_endpoints:
    free(h->endpoints);
free_hub:
    free(h);
    return error;
}

void transport_mem_close(struct transport_mem_hub *hub)
{
    endpoints_close(hub, (uint64_t)hub->lcore_count * hub->node_count);
    (void)munmap(hub->data, hub->data_bytes);
    free(hub->queues);
    free(hub->endpoints);
    free(hub);
}

struct transport *transport_mem_endpoint(struct transport_mem_hub *hub, uint32_t node,
                                         uint32_t lcore)
{
    for (uint32_t i = 0; lcore < hub->lcore_count && i < hub->node_count; i++)
        if (hub->ids[i] == node)
            return &hub->endpoints[(uint64_t)lcore * hub->node_count + i].transport;
    return NULL;
}

void transport_mem_leave(struct transport *t)
{
    struct transport_mem_endpoint *e = (struct transport_mem_endpoint *)(void *)t;
    /* T7: release, all our reading is done */
    atomic_store_explicit(&e->left, true, memory_order_release);
}

void transport_mem_delay(struct transport_mem_hub *hub, uint64_t seed)
{
    uint64_t count = (uint64_t)hub->lcore_count * hub->node_count;
    for (uint64_t i = 0; i < count; i++) {
        hub->endpoints[i].delayed = true;
        hub->endpoints[i].random = seed * count + i;
    }
}

uint64_t transport_mem_damaged(const struct transport_mem_hub *hub)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < (uint64_t)hub->lcore_count * hub->node_count; i++)
        /* relaxed: a number that only grows */
        sum += atomic_load_explicit(&hub->endpoints[i].damaged, memory_order_relaxed);
    return sum;
}
