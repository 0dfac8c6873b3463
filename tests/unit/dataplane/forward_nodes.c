#include "tests/unit/dataplane/forward_nodes.h"

#include "dataplane/transport_mem.h"
#include "tests/unit/dataplane/no_hand_over.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEASE_SCALE 10u
#define KEEP (sizeof((struct forward_link *)0)->store / sizeof(struct transport_received))

/* ---- links ---- */

static struct forward_link *link_of(struct transport *t)
{
    return (struct forward_link *)(void *)t;
}

static uint32_t link_send(struct transport *t, const struct transport_datagram *datagrams,
                          uint32_t count)
{
    const struct forward_link *l = link_of(t);
    if (l->refuses && forward_is(datagrams[0].head, datagrams[0].head_length))
        return 0;
    return transport_send(l->inner, datagrams, count);
}

static uint8_t *copy_of(const uint8_t *bytes, uint32_t length)
{
    uint8_t *copy = malloc(length + 8);
    ASSERT(copy != NULL);
    memcpy(copy, bytes, length);
    return copy;
}

static void keep(struct forward_link *l, const struct transport_received *d)
{
    ASSERT(l->kept < KEEP);
    struct transport_received *to = &l->store[l->kept++];
    *to = *d;
    to->head = copy_of(d->head, d->head_length);
    to->bytes = d->bytes != NULL ? copy_of(d->bytes, d->length) : NULL;
}

static enum link_fault fault_of(struct forward_link *l, const struct transport_received *d)
{
    if (l->only && !forward_is(d->head, d->head_length))
        return LINK_LOSE;
    if (l->fault == LINK_WHOLE || !forward_is(d->head, d->head_length) ||
        (l->kind != 0 && d->head[0] != l->kind))
        return LINK_WHOLE;
    if (l->fault != LINK_RANDOM)
        return l->fault;
    l->random = l->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    uint32_t dice = (uint32_t)(l->random >> 33) % 16;
    bool may_keep = l->kept + 1 < KEEP;
    return dice == 0              ? LINK_LOSE
           : dice < 3             ? LINK_DOUBLE
           : dice < 5 && may_keep ? LINK_KEEP
                                  : LINK_WHOLE;
}

static uint32_t link_receive(struct transport *t, struct transport_received *received,
                             uint32_t count)
{
    struct forward_link *l = link_of(t);
    struct transport_received burst[16];
    uint32_t out = 0;
    if (l->deaf)
        return 0;
    l->inner->place = l->transport.place;
    l->inner->place_context = l->transport.place_context;
    uint32_t got = transport_receive(l->inner, burst, count < 32 ? count / 2 : 16);
    for (uint32_t i = 0; i < got; i++) {
        enum link_fault fault = fault_of(l, &burst[i]);
        l->disturbed += fault != LINK_WHOLE;
        if (fault == LINK_KEEP)
            keep(l, &burst[i]);
        for (uint32_t n = fault == LINK_WHOLE ? 1 : fault == LINK_DOUBLE ? 2 : 0; n != 0; n--)
            received[out++] = burst[i];
    }
    if (l->fault == LINK_RANDOM && got != 0)
        forward_link_deliver(l);
    for (; l->ready != 0 && out < count; l->ready--, l->kept--) {
        l->lent[l->lent_count++] = l->store[0];
        received[out++] = l->store[0];
        memmove(l->store, l->store + 1, (KEEP - 1) * sizeof(l->store[0]));
    }
    return out;
}

static void copies_free(struct transport_received *copies, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        free((void *)(uintptr_t)copies[i].head);
        free((void *)(uintptr_t)copies[i].bytes);
    }
}

static void link_release(struct transport *t)
{
    struct forward_link *l = link_of(t);
    copies_free(l->lent, l->lent_count);
    l->lent_count = 0;
    transport_release(l->inner);
}

static uint32_t link_complete(struct transport *t, uint64_t *holds, uint32_t count)
{
    const struct forward_link *l = link_of(t);
    return l->keeps_holds ? 0 : transport_complete(l->inner, holds, count);
}

static bool link_sleep(struct transport *t)
{
    return transport_sleep(link_of(t)->inner);
}

static void link_awake(struct transport *t)
{
    transport_awake(link_of(t)->inner);
}

static uint8_t link_version(const struct transport *t, uint32_t node)
{
    const struct forward_link *l = (const struct forward_link *)(const void *)t;
    if (l->unheard)
        return 0;
    return l->version != 0 ? l->version : transport_version(l->inner, node);
}

static int link_log_write(struct transport *t, const struct transport_log_write *write)
{
    return link_of(t)->refuses_writes ? -EAGAIN : transport_log_write(link_of(t)->inner, write);
}

static void link_disconnect(struct transport *t, uint32_t node)
{
    transport_disconnect(link_of(t)->inner, node);
}

static uint32_t link_disconnected(struct transport *t)
{
    struct forward_link *l = link_of(t);
    uint32_t node = l->hides_torn ? TRANSPORT_NOBODY : transport_disconnected(l->inner);
    for (uint32_t i = 0; i < l->granted_count;)
        if (l->granted[i].node == node)
            l->granted[i] = l->granted[--l->granted_count];
        else
            i++;
    return node;
}

static bool link_token(struct transport *t, uint32_t node, const uint8_t *memory, uint64_t bytes,
                       struct grant_token *token)
{
    struct forward_link *l = link_of(t);
    (void)bytes, (void)token;
    if (l->has_no_token)
        return false;
    ASSERT(l->granted_count < sizeof l->granted / sizeof l->granted[0]);
    l->granted[l->granted_count].node = node;
    l->granted[l->granted_count++].memory = memory;
    return true;
}

static void link_revoke(struct transport *t, uint32_t node, const uint8_t *memory)
{
    struct forward_link *l = link_of(t);
    uint32_t i = 0;
    while (i < l->granted_count && (l->granted[i].node != node || l->granted[i].memory != memory))
        i++;
    if (i == l->granted_count) {
        l->revoked_unknown++;
        return;
    }
    l->granted[i] = l->granted[--l->granted_count];
    l->revoked++;
}

static const struct transport_ops link_ops = {
    .send = link_send,
    .receive = link_receive,
    .release = link_release,
    .complete = link_complete,
    .log_write = link_log_write,
    .disconnect = link_disconnect,
    .disconnected = link_disconnected,
    .token = link_token,
    .revoke = link_revoke,
    .sleep = link_sleep,
    .awake = link_awake,
    .version = link_version,
};

void forward_link_deliver(struct forward_link *l)
{
    l->ready = l->kept;
}

/* ---- the coordinator ---- */

static bool configuration_of(void *context, uint32_t log, uint64_t known_epoch,
                             struct configuration *copy)
{
    const struct forward_nodes *n = context;
    (void)log;
    if (n->configuration.epoch <= known_epoch)
        return false;
    *copy = n->configuration;
    return true;
}

static enum cluster_activation activate(void *context, uint32_t log, uint64_t epoch)
{
    struct forward_nodes *n = context;
    (void)log;
    if (epoch != n->configuration.epoch)
        return CLUSTER_REFUSED;
    n->configuration.active = true;
    return CLUSTER_ACTIVE;
}

/* ---- the nodes ---- */

static void node_make(struct forward_nodes *n, uint32_t i, bool read_leases)
{
    struct node *node = &n->nodes[i].node;
    struct node_config c = {.id = i + 1,
                            .lcore_count = 1,
                            .lcore_cpus = {-1},
                            .lease_ns = 20 * NS_PER_MS,
                            .heartbeat_ns = 100 * NS_PER_MS,
                            .view_ns = NS_PER_S,
                            .lease_virtual = !read_leases,
                            .replicated = true};
    struct space_config s;
    (void)snprintf(c.name, sizeof(c.name), "roost%u", i + 1);
    ASSERT(node_open(node, &c, FORWARD_START) == 0);
    space_config_default(&s);
    s.id = RING_AGENT_SPACE;
    (void)snprintf(s.name, sizeof(s.name), "reeds");
    s.shard_count = 1;
    s.quota_bytes = UINT64_C(64) << 20;
    s.sessions_max = 8;
    s.read.everyone = true;
    s.write.uid_count = 1;
    s.write.uids[0] = 1000;
    ASSERT(node_space_add(node, &s) == 0);
}

static void cluster_make(struct forward_nodes *n, uint32_t i)
{
    struct node_cluster *c = &n->clusters[i];
    struct forward_link *l = &n->links[i];
    *c = (struct node_cluster){
        .self = n->configuration.voters[i],
        .node_count = FORWARD_NODES,
        .nodes = {1, 2, 3},
        .version = &n->version,
        .configuration = configuration_of,
        .activate = activate,
        .hands_over = hands_over,
        .handed_over = handed_over,
        .context = n,
    };
    l->inner = transport_mem_endpoint(n->hub, i + 1, 0);
    l->transport = *l->inner;
    l->transport.ops = &link_ops;
    l->random = i + 1;
    c->transports[0] = &l->transport;
    n->nodes[i].node.cluster = c;
}

/* Heartbeats and repetitions come as often as before. */
static void leases_set(struct forward_nodes *n, uint64_t ticks)
{
    for (uint32_t i = 0; i < FORWARD_NODES; i++) {
        struct lcore *l = n->nodes[i].lcore;
        l->ticks.lease = ticks;
        l->cluster->group.times.lease = ticks;
        lcore_replica_at(l->cluster, 0)->replica.times.lease = ticks;
    }
}

static void nodes_open(struct forward_nodes *n, bool read_leases, bool log_writes)
{
    static bool registered;
    static const uint32_t ids[FORWARD_NODES] = {1, 2, 3};
    const struct transport_mem_config config = {
        .nodes = ids, .node_count = FORWARD_NODES, .lcore_count = 1, .log_writes = log_writes};
    if (!registered) {
        qsbr_thread_register();
        qsbr_offline();
        registered = true;
    }
    memset(n, 0, sizeof *n);
    ASSERT(transport_mem_open(&n->hub, &config) == 0);
    n->configuration = (struct configuration){.epoch = FORWARD_START, .voter_count = 3};
    for (uint32_t i = 0; i < FORWARD_NODES; i++)
        n->configuration.voters[i] = (struct member){.node = i + 1, .incarnation = FORWARD_START};
    n->configuration.leader = n->configuration.voters[0];
    for (uint32_t i = 0; i < FORWARD_NODES; i++) {
        node_make(n, i, read_leases);
        cluster_make(n, i);
    }
    for (uint32_t i = 0; i < FORWARD_NODES; i++)
        ASSERT(lcore_open(&n->nodes[i].node, 0, &n->nodes[i].lcore) == 0);
    /* Why not as configured: on a busy machine nobody may run for so long. */
    leases_set(n, n->nodes[0].lcore->ticks.lease * LEASE_SCALE);
    for (unsigned i = 0; i < 100000 && !forward_nodes_leads(n, 0); i++)
        forward_nodes_pass(n);
    ASSERT(forward_nodes_leads(n, 0));
}

void forward_nodes_open(struct forward_nodes *n, bool read_leases)
{
    nodes_open(n, read_leases, false);
}

void forward_nodes_open_writing(struct forward_nodes *n)
{
    nodes_open(n, false, true);
}

void forward_nodes_close(struct forward_nodes *n)
{
    for (uint32_t i = 0; i < FORWARD_NODES; i++)
        for (uint32_t slot = 0; slot < LIMIT_AGENTS; slot++) {
            struct agent *a = lcore_agent(n->nodes[i].lcore, slot);
            if (a != NULL)
                node_agent_detach(&n->nodes[i].node, a);
        }
    for (uint32_t i = 0; i < FORWARD_NODES; i++) {
        lcore_close(n->nodes[i].lcore);
        copies_free(n->links[i].store, n->links[i].kept);
    }
    transport_mem_close(n->hub);
    for (uint32_t i = 0; i < FORWARD_NODES; i++)
        node_close(&n->nodes[i].node);
}

/* Control gives chunks as they are wanted. */
void forward_nodes_pass(struct forward_nodes *n)
{
    for (uint32_t i = 0; i < FORWARD_NODES; i++) {
        struct ring_node *r = &n->nodes[i];
        ring_node_passes(r, 1);
        (void)!node_chunks_grow(&r->node, r->node.spaces[RING_AGENT_SPACE]);
    }
}

void forward_nodes_lead(struct forward_nodes *n, uint32_t leader)
{
    struct configuration *c = &n->configuration;
    if (c->active) {
        c->epoch_before = c->epoch;
        c->voter_before_count = c->voter_count;
        memcpy(c->voters_before, c->voters, sizeof c->voters_before);
    }
    c->active = false;
    c->epoch++;
    c->leader = c->voters[leader];
    atomic_fetch_add_explicit(&n->version, 1, memory_order_release);
    for (unsigned i = 0; i < 100000 && !forward_nodes_leads(n, leader); i++) {
        forward_nodes_pass(n);
        (void)usleep(100);
    }
    ASSERT(forward_nodes_leads(n, leader));
}

bool forward_nodes_leads(const struct forward_nodes *n, uint32_t node)
{
    const struct lcore_cluster *c = n->nodes[node].lcore->cluster;
    return n->configuration.active && replica_leads(&lcore_replica_at(c, 0)->replica) &&
           lcore_replica_at(c, 0)->replica.may_read;
}

void forward_nodes_give_up_soon(struct forward_nodes *n, bool soon)
{
    for (uint32_t i = 0; i < FORWARD_NODES; i++) {
        struct lcore *l = n->nodes[i].lcore;
        l->ticks.lease = soon ? l->ticks.lease / LEASE_SCALE : l->ticks.lease * LEASE_SCALE;
    }
}

void forward_nodes_shorten(struct forward_nodes *n)
{
    leases_set(n, n->nodes[0].lcore->ticks.lease / LEASE_SCALE);
}

void forward_agent_attach(struct forward_nodes *n, uint32_t node, struct ring_agent *a,
                          uint32_t uid)
{
    const struct ring_file wanted = {
        .request_bytes = 1u << 18, .completion_bytes = 1u << 18, .bulk_bytes = 1u << 21};
    struct agent *agent;
    ASSERT(node_agent_attach(&n->nodes[node].node, uid, 0, &wanted, &agent) == 0);
    ring_agent_join(a, agent, 0);
}

void forward_agent_ring(struct forward_nodes *n, const struct ring_agent *a)
{
    for (uint32_t i = 0; i < FORWARD_NODES; i++)
        if (lcore_agent(n->nodes[i].lcore, a->agent->slot) == a->agent)
            ring_agent_doorbell(&n->nodes[i], a);
}

bool forward_agent_wait(struct forward_nodes *n, struct ring_agent *a, struct ring_completion *c,
                        void *value)
{
    for (unsigned i = 0; i < 100000; i++) {
        if (ring_agent_take(a, c, value))
            return true;
        forward_nodes_pass(n);
        if (i > 1000)
            (void)usleep(100);
    }
    return false;
}

uint64_t forward_counted(const struct forward_nodes *n, uint32_t node, enum counter counter)
{
    return atomic_load_explicit(&n->nodes[node].node.shared->counters[0].value[counter],
                                memory_order_relaxed);
}

struct shard *forward_shard(const struct forward_nodes *n, uint32_t node)
{
    return n->nodes[node].node.spaces[RING_AGENT_SPACE]->shards[0];
}

uint32_t forward_waiting(const struct forward_nodes *n, uint32_t node)
{
    return n->nodes[node].lcore->cluster->forward->table.open_count;
}
