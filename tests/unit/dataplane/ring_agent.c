#include "tests/unit/dataplane/ring_agent.h"

#include "engine/hash.h"

#include <stdio.h>
#include <string.h>

static void count_wake(void *context)
{
    struct ring_node *r = context;
    atomic_fetch_add_explicit(&r->control_wakes, 1, memory_order_relaxed);
}

void ring_node_open(struct ring_node *r, uint32_t lcore_count, uint32_t shard_count)
{
    static bool registered;
    if (!registered) {
        qsbr_thread_register();
        qsbr_offline();
        registered = true;
    }
    memset(r, 0, sizeof *r);
    struct node_config c = {
        .name = "roost",
        .id = 1,
        .lcore_count = lcore_count,
        .lease_ns = 50 * NS_PER_MS,
        .heartbeat_ns = 100 * NS_PER_MS,
        .view_ns = NS_PER_S,
    };
    for (uint32_t i = 0; i < LIMIT_LCORES; i++)
        c.lcore_cpus[i] = -1;
    ASSERT(node_open(&r->node, &c, 1000) == 0);
    r->node.wake_control = count_wake;
    r->node.wake_context = r;
    struct space_config s;
    space_config_default(&s);
    s.id = RING_AGENT_SPACE;
    (void)snprintf(s.name, sizeof s.name, "reeds");
    s.shard_count = shard_count;
    s.quota_bytes = space_quota_min(shard_count);
    s.sessions_max = 8;
    s.read.everyone = true;
    s.write.uid_count = 1;
    s.write.uids[0] = 1000;
    ASSERT(node_space_add(&r->node, &s) == 0);
}

void ring_node_close(struct ring_node *r)
{
    for (uint32_t i = 0; i < LIMIT_AGENTS; i++) {
        struct agent *a = atomic_load_explicit(&r->node.agents[i], memory_order_relaxed);
        if (a != NULL)
            node_agent_detach(&r->node, a);
    }
    if (r->lcore != NULL)
        lcore_close(r->lcore);
    r->lcore = NULL;
    node_close(&r->node);
}

void ring_node_passes(struct ring_node *r, unsigned passes)
{
    if (r->lcore == NULL)
        ASSERT(lcore_open(&r->node, 0, &r->lcore) == 0);
    qsbr_online();
    while (passes-- != 0) {
        (void)poll_pass(r->lcore);
        qsbr_quiescent();
    }
    qsbr_offline();
}

void ring_agent_attach(struct ring_node *r, struct ring_agent *a, uint32_t uid, uint32_t ring_bytes)
{
    struct ring_file wanted = {
        .request_bytes = ring_bytes,
        .completion_bytes = ring_bytes,
        .bulk_bytes = 1u << 16,
    };
    struct agent *agent;
    ASSERT(node_agent_attach(&r->node, uid, 0, &wanted, &agent) == 0);
    ring_agent_join(a, agent, 0);
}

void ring_agent_join(struct ring_agent *a, struct agent *agent, uint32_t lcore)
{
    *a = (struct ring_agent){.agent = agent, .lcore = lcore};
    const struct ring_file *f = &agent->file;
    uint8_t *base = agent->memory.base;
    ring_join(&a->request, (void *)(base + ring_file_shared(f, lcore, false)),
              base + ring_file_data(f, lcore, false), f->request_bytes);
    ring_join(&a->completion, (void *)(base + ring_file_shared(f, lcore, true)),
              base + ring_file_data(f, lcore, true), f->completion_bytes);
}

struct ring_request ring_agent_request(const struct ring_node *r, struct ring_agent *a,
                                       uint8_t operation, const char *key)
{
    const struct node_space *s = r->node.spaces[RING_AGENT_SPACE];
    size_t length = key != NULL ? strlen(key) : 0;
    uint64_t hash = key != NULL ? hash_key(key, length) : 0;
    return (struct ring_request){
        .head.operation = operation,
        .space = RING_AGENT_SPACE,
        .shard = key != NULL ? hash_shard(key, length, hash, 0, s->geometry.shard_count) : 0,
        .tag = ++a->tag,
        .session_slot = SESSION_NONE,
        .key_length = (uint16_t)length,
    };
}

int ring_agent_send(struct ring_agent *a, struct ring_request q, const char *key, const void *value)
{
    bool inline_value = q.head.operation != RING_GET && (q.head.flags & RING_FLAG_BULK) == 0;
    uint32_t value_length = inline_value ? q.value_length : 0;
    uint64_t length = ring_request_bytes(q.extension_length, q.key_length, value_length);
    void *message;
    int error = ring_claim(&a->request, length, &message);
    if (error != 0)
        return error;
    uint8_t *to = message;
    memset(to + 8, 0, length - 8);
    memcpy(to + 8, (const uint8_t *)&q + 8, sizeof q - 8);
    if (q.key_length != 0)
        memcpy(to + sizeof q, key, q.key_length);
    if (value_length != 0)
        memcpy(to + sizeof q + align_up(q.key_length, 8), value, value_length);
    q.head.length = (uint32_t)length;
    ring_commit(&a->request, message, q.head);
    return 0;
}

void ring_agent_doorbell(struct ring_node *r, const struct ring_agent *a)
{
    uint32_t slot = a->agent->slot;
    atomic_fetch_or_explicit(&r->node.doorbell->lcores[a->lcore].bits[slot / 64],
                             UINT64_C(1) << (slot % 64), memory_order_seq_cst);
}

bool ring_agent_take(struct ring_agent *a, struct ring_completion *c, void *value)
{
    void *message;
    struct ring_head head;
    int found = ring_peek(&a->completion, &message, &head);
    ASSERT(found >= 0);
    if (found == 0)
        return false;
    memcpy(c, message, sizeof *c);
    c->head = head;
    if (value != NULL)
        memcpy(value, (uint8_t *)message + sizeof *c, head.length - sizeof *c);
    ring_consume(&a->completion, &head);
    ring_publish(&a->completion);
    return true;
}
