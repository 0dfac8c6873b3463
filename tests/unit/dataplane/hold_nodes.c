#include "tests/unit/dataplane/hold_nodes.h"

#include "tests/unit/dataplane/no_hand_over.h"

#include <stdio.h>
#include <string.h>

#define START UINT64_C(1000)
#define PASSES 200000u /* what has not come by then never comes */
#define LEADER 0u

/* ---- the coordinator ---- */

static bool configuration_of(void *context, uint32_t log, uint64_t known_epoch,
                             struct configuration *copy)
{
    const struct hold_nodes *n = context;
    (void)log;
    if (n->configuration.epoch <= known_epoch)
        return false;
    *copy = n->configuration;
    return true;
}

static enum cluster_activation activate(void *context, uint32_t log, uint64_t epoch)
{
    struct hold_nodes *n = context;
    (void)log;
    ASSERT(epoch == n->configuration.epoch);
    n->configuration.active = true;
    return CLUSTER_ACTIVE;
}

/* ---- memory ---- */

static bool chunk_made(void *context, const struct node_space *s, uint32_t chunk)
{
    struct hold_nodes *n = context;
    bool is_mapped =
        dpdk_port_map(n->config.port, s->chunks[chunk].base, s->chunks[chunk].bytes) == 0;
    n->mapped += is_mapped;
    return is_mapped;
}

static void chunk_gone(void *context, const struct node_space *s, uint32_t chunk)
{
    struct hold_nodes *n = context;
    dpdk_port_unmap(n->config.port, s->chunks[chunk].base, s->chunks[chunk].bytes);
    n->mapped--;
}

/* ---- the nodes ---- */

static void node_make(struct hold_nodes *n, uint32_t i)
{
    struct node *node = &n->nodes[i].node;
    struct node_config c = {.id = n->config.ids[i],
                            .lcore_count = 1,
                            .lcore_cpus = {-1},
                            .lease_ns = 50 * NS_PER_MS,
                            .heartbeat_ns = 100 * NS_PER_MS,
                            .view_ns = NS_PER_S,
                            .lease_virtual = true,
                            .replicated = true};
    struct space_config s;
    (void)snprintf(c.name, sizeof c.name, "roost%u", i + 1);
    ASSERT(node_open(node, &c, START) == 0);
    space_config_default(&s);
    s.id = RING_AGENT_SPACE;
    (void)snprintf(s.name, sizeof s.name, "reeds");
    s.shard_count = 1;
    s.quota_bytes = n->config.quota_bytes;
    s.sessions_max = 8;
    ASSERT(node_space_add(node, &s) == 0);
}

static void cluster_make(struct hold_nodes *n, uint32_t i)
{
    struct node_cluster *c = &n->clusters[i];
    *c = (struct node_cluster){
        .self = {.node = n->config.ids[i], .incarnation = START},
        .node_count = 2,
        .nodes = {n->config.ids[0], n->config.ids[1]},
        .version = &n->version,
        .configuration = configuration_of,
        .activate = activate,
        .hands_over = hands_over,
        .handed_over = handed_over,
        .context = n,
        .transports = {n->config.transports[i]},
    };
    n->nodes[i].node.cluster = c;
}

static bool leads(const struct hold_nodes *n)
{
    const struct lcore_cluster *c = n->nodes[LEADER].lcore->cluster;
    return n->configuration.active && replica_leads(&lcore_replica_at(c, 0)->replica);
}

static uint32_t ask(struct hold_nodes *n, struct ring_request q, const char *key, const void *value,
                    struct ring_completion *c)
{
    ASSERT(ring_agent_send(&n->agent, q, key, value) == 0);
    ring_agent_doorbell(&n->nodes[LEADER], &n->agent);
    for (uint32_t i = 0; i < PASSES; i++) {
        if (ring_agent_take(&n->agent, c, NULL))
            return c->status;
        hold_nodes_pass(n);
    }
    return UINT32_MAX;
}

static void session_open_at(struct hold_nodes *n)
{
    static const char id[] = "0123456789abcdef";
    static const struct ring_file wanted = {
        .request_bytes = 1u << 16, .completion_bytes = 1u << 16, .bulk_bytes = 1u << 16};
    struct agent *agent;
    struct ring_completion c;
    ASSERT(node_agent_attach(&n->nodes[LEADER].node, 0, 0, &wanted, &agent) == 0);
    ring_agent_join(&n->agent, agent, 0);
    uint32_t status = RING_RETRY;
    for (uint32_t i = 0; i < PASSES && status == RING_RETRY; i++)
        status = ask(n, ring_agent_request(&n->nodes[LEADER], &n->agent, RING_SESSION_OPEN, id), id,
                     NULL, &c);
    ASSERT(status == RING_OK);
    n->session = c.lsn;
    n->session_slot = c.session_slot;
}

void hold_nodes_open(struct hold_nodes *n, const struct hold_nodes_config *config)
{
    static bool registered;
    if (!registered) {
        qsbr_thread_register();
        qsbr_offline();
        registered = true;
    }
    memset(n, 0, sizeof *n);
    n->config = *config;
    n->configuration = (struct configuration){.epoch = START, .voter_count = 1, .learner_count = 1};
    for (uint32_t i = 0; i < 2; i++) {
        node_make(n, i);
        cluster_make(n, i);
    }
    n->configuration.leader = n->configuration.voters[0] = n->clusters[0].self;
    n->configuration.learners[0] = n->clusters[1].self;
    n->space = n->nodes[LEADER].node.spaces[RING_AGENT_SPACE];
    const struct node_watch watch = {.made = chunk_made, .gone = chunk_gone, .context = n};
    node_watch(&n->nodes[LEADER].node, &watch);
    for (uint32_t i = 0; i < 2; i++)
        ASSERT(lcore_open(&n->nodes[i].node, 0, &n->nodes[i].lcore) == 0);
    for (uint32_t i = 0; i < PASSES && !leads(n); i++)
        hold_nodes_pass(n);
    ASSERT(leads(n));
    session_open_at(n);
}

void hold_nodes_end_lcores(struct hold_nodes *n)
{
    node_agent_detach(&n->nodes[LEADER].node, n->agent.agent);
    for (uint32_t i = 0; i < 2; i++) {
        lcore_close(n->nodes[i].lcore);
        n->nodes[i].lcore = NULL;
    }
}

void hold_nodes_close(struct hold_nodes *n)
{
    node_watch_end(&n->nodes[LEADER].node);
    for (uint32_t i = 0; i < 2; i++)
        node_close(&n->nodes[i].node);
}

/* ---- at work ---- */

void hold_nodes_pass(struct hold_nodes *n)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct ring_node *r = &n->nodes[i];
        ring_node_passes(r, 1);
        struct node_space *s = r->node.spaces[RING_AGENT_SPACE];
        ASSERT(s == NULL || node_chunks_grow(&r->node, s) >= 0);
        if (i == LEADER && n->config.between != NULL)
            n->config.between();
    }
}

bool hold_nodes_write(struct hold_nodes *n, uint32_t key)
{
    uint64_t value[HOLD_VALUE_BYTES / sizeof(uint64_t)];
    char name[16];
    struct ring_completion c;
    uint64_t sequence = ++n->sequence;
    uint32_t status = RING_RETRY;
    n->written++;
    for (uint32_t i = 0; i < HOLD_VALUE_BYTES / sizeof(uint64_t); i++)
        value[i] = n->written << 32 | i;
    (void)snprintf(name, sizeof name, "key%u", key);
    for (uint32_t i = 0; i < PASSES && status == RING_RETRY; i++) {
        struct ring_request q = ring_agent_request(&n->nodes[LEADER], &n->agent, RING_PUT, name);
        q.session = n->session;
        q.session_slot = n->session_slot;
        q.sequence = sequence;
        q.value_length = HOLD_VALUE_BYTES;
        status = ask(n, q, name, value, &c);
    }
    return status == RING_OK;
}

uint32_t hold_nodes_frame(const struct hold_nodes *n, const uint8_t *at)
{
    const struct layout_geometry *g = &n->space->geometry;
    uint64_t offset = (uint64_t)(at - n->space->arena);
    return at >= n->space->arena && offset < (uint64_t)g->chunk_count_max << g->chunk_shift
               ? (uint32_t)(offset >> g->segment_shift)
               : UINT32_MAX;
}

uint32_t hold_nodes_kind(const struct hold_nodes *n, uint32_t frame)
{
    return atomic_load_explicit(&n->space->directory[frame].kind, memory_order_relaxed);
}

uint64_t hold_nodes_counted(const struct hold_nodes *n, enum counter counter)
{
    return atomic_load_explicit(&n->nodes[LEADER].node.shared->counters[0].value[counter],
                                memory_order_relaxed);
}
