#include "bench/loop.h"

#include "engine/rcu.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int space_add(struct node *n)
{
    struct space_config config;
    space_config_default(&config);
    config.id = 1;
    memcpy(config.name, "loop", sizeof "loop");
    config.quota_bytes = space_quota_min(config.shard_count);
    return node_space_add(n, &config);
}

int loop_open(struct loop *l, int cpu, uint32_t group, double ticks_per_ns)
{
    *l = (struct loop){.node = calloc(1, sizeof *l->node),
                       .sampler = sampler_new(group, ticks_per_ns)};
    struct node_config config = {
        .name = "loop",
        .id = 1,
        .lcore_count = 1,
        .lcore_cpus = {cpu},
        .lease_ns = 50 * NS_PER_MS,
        .heartbeat_ns = 100 * NS_PER_MS,
        .view_ns = NS_PER_S,
        .spin = true,
    };
    struct ring_file wanted = {.request_bytes = 0}; /* default sizes */
    int rc = -ENOMEM;
    if (l->node == NULL || l->sampler == NULL)
        goto fail_memory;
    rc = node_open(l->node, &config, 1);
    if (rc != 0)
        goto fail_memory;
    rc = space_add(l->node);
    if (rc == 0)
        rc = node_agent_attach(l->node, geteuid(), geteuid(), &wanted, &l->agent);
    if (rc != 0)
        goto fail_node;
    const struct ring_file *file = &l->agent->file;
    uint8_t *base = l->agent->memory.base;
    ring_join(&l->request, (struct ring_shared *)(void *)(base + ring_file_shared(file, 0, false)),
              base + ring_file_data(file, 0, false), file->request_bytes);
    ring_join(&l->completion,
              (struct ring_shared *)(void *)(base + ring_file_shared(file, 0, true)),
              base + ring_file_data(file, 0, true), file->completion_bytes);
    return 0;
fail_node:
    node_close(l->node);
fail_memory:
    sampler_delete(l->sampler);
    free(l->node);
    return rc;
}

void loop_close(struct loop *l)
{
    qsbr_thread_register();
    node_agent_detach(l->node, l->agent);
    qsbr_thread_unregister();
    node_close(l->node);
    free(l->node);
    sampler_delete(l->sampler);
}

/* Tell the lcore, if it does not poll this ring: as the agents do (engine/agent/wait.c). */
static ALWAYS_INLINE void ring_bell(struct loop *l)
{
    if (LIKELY(atomic_load_explicit(&l->request.shared->consumer_state, memory_order_relaxed) ==
               RING_CONSUMER_POLLING))
        return;
    uint32_t slot = l->agent->slot;
    (void)atomic_fetch_or_explicit(&l->node->doorbell->lcores[0].bits[slot / 64],
                                   UINT64_C(1) << (slot % 64), memory_order_seq_cst);
}

static ALWAYS_INLINE int exchange(struct loop *l)
{
    void *message;
    struct ring_head head = {.length = sizeof(struct ring_request), .operation = RING_NOP};
    int rc = ring_claim(&l->request, head.length, &message);
    if (UNLIKELY(rc != 0))
        return rc;
    struct ring_request *request = message;
    request->tag = l->request.position;
    request->key_length = 0;
    request->value_length = 0;
    ring_commit(&l->request, message, head);
    ring_bell(l);
    while ((rc = ring_peek(&l->completion, &message, &head)) == 0)
        continue;
    if (UNLIKELY(rc < 0 || ((struct ring_completion *)message)->status != RING_OK))
        return rc < 0 ? rc : -EPROTO;
    ring_consume(&l->completion, &head);
    ring_publish_due(&l->completion);
    return 0;
}

int loop_measure(void *context, uint64_t duration_ns, double *value)
{
    struct loop *l = context;
    int rc = node_lcores_start(l->node);
    if (rc != 0)
        return rc;
    bool more = true;
    sampler_start(l->sampler, duration_ns);
    while (more && rc == 0) {
        uint64_t from = sampler_now();
        for (uint32_t i = 0; i < l->sampler->group && rc == 0; i++)
            rc = exchange(l);
        more = sampler_add(l->sampler, from, sampler_now());
    }
    node_lcores_stop(l->node);
    *value = sampler_finish(l->sampler);
    return rc;
}
