#include "control/cluster_inner.h"

#include "control/config_address.h"
#include "control/control_shown.h"
#include "control/coordinator_raft.h"
#include "dataplane/dpdk_port.h"
#include "dataplane/lag.h"
#include "dataplane/rdma_port.h"
#include "engine/clock.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <string.h>

/* ---- one node ---- */

static json_t *address_json(const struct cluster_member *member)
{
    char host[INET6_ADDRSTRLEN];
    struct sockaddr_storage address = member->address;
    bool is_6 = address.ss_family == AF_INET6;
    const void *bytes = is_6 ? (const void *)&((struct sockaddr_in6 *)(void *)&address)->sin6_addr
                             : (const void *)&((struct sockaddr_in *)(void *)&address)->sin_addr;
    if (inet_ntop(address.ss_family, bytes, host, sizeof(host)) == NULL)
        return NULL;
    return json_sprintf(is_6 ? "[%s]:%u" : "%s:%u", host,
                        (unsigned)config_address_port(&member->address));
}

/* How many shards a node leads. */
static uint64_t leads_of(const struct cluster_node *c, uint32_t node)
{
    const struct coordinator_state *s = coordinator_known(c->coordinator);
    uint64_t leads = 0;
    for (uint32_t i = 0; i < s->shard_count; i++)
        leads += s->shards[i].configuration.leader.node == node ? 1 : 0;
    return leads;
}

struct lag_sum {
    uint64_t shards, bytes_max, bytes_sum, behind_ns;
};

/* Over the lcores.  relaxed: lag.h */
static struct lag_sum lag_sum(const struct cluster_node *c, uint32_t node)
{
    struct lag_sum sum = {0};
    for (uint32_t i = 0; i < c->node->config.lcore_count; i++) {
        const struct lag_shown *l = lag_of(c->lags[i], node);
        if (l == NULL) /* it is added, and this lcore has yet to hear of it */
            continue;
        uint64_t shards = atomic_load_explicit(&l->shards, memory_order_relaxed);
        uint64_t ticks = atomic_load_explicit(&l->ticks_behind, memory_order_relaxed);
        if (shards == 0)
            continue;
        sum.shards += shards;
        sum.bytes_sum += atomic_load_explicit(&l->bytes_sum, memory_order_relaxed);
        sum.bytes_max =
            max_u64(sum.bytes_max, atomic_load_explicit(&l->bytes_max, memory_order_relaxed));
        sum.behind_ns = max_u64(sum.behind_ns, clock_ticks_to_ns(ticks, c->node->ticks_per_s));
    }
    return sum;
}

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)min_u64(value, INT64_MAX));
}

static void lag_set(const struct cluster_node *c, uint32_t id, json_t *node)
{
    struct lag_sum lag = lag_sum(c, id);
    bool any = lag.shards != 0;
    (void)json_object_set_new(node, "lag", any ? number(lag.bytes_sum) : json_null());
    (void)json_object_set_new(node, "lag_max", any ? number(lag.bytes_max) : json_null());
    (void)json_object_set_new(node, "lag_ms",
                              any ? number(lag.behind_ns / NS_PER_MS) : json_null());
}

static const char *standing_name(uint32_t standing)
{
    static const char *const names[] = {[COORDINATOR_MEMBER] = "member",
                                        [COORDINATOR_DRAINING] = "draining",
                                        [COORDINATOR_LEAVING] = "leaving"};
    return standing < sizeof names / sizeof names[0] ? names[standing] : "";
}

/* What was decided of it. */
static void decided_set(const struct cluster_node *c, const struct coordinator_node *n,
                        json_t *node)
{
    const struct coordinator_state *s = coordinator_known(c->coordinator);
    (void)json_object_set_new(node, "zone", json_string(n->zone));
    (void)json_object_set_new(node, "weight", json_integer((json_int_t)n->weight));
    (void)json_object_set_new(node, "standing", json_string(standing_name(n->standing)));
    (void)json_object_set_new(node, "votes", number(coordinator_state_votes(s, n->id)));
    (void)json_object_set_new(node, "learns", number(coordinator_state_learns(s, n->id)));
    (void)json_object_set_new(node, "leads", number(leads_of(c, n->id)));
}

static json_t *node_json(const struct cluster_node *c, const struct coordinator_node *n)
{
    const struct cluster_member *member = cluster_members_find(&c->members, n->id);
    bool self = n->id == c->config->node.id;
    uint64_t start = cluster_start_of(c, n->id), silent = cluster_silent_ns(c, n->id);
    json_t *node = json_pack("{s:I, s:o, s:b, s:b, s:o}", "id", (json_int_t)n->id, "address",
                             member != NULL ? address_json(member) : json_string(n->address),
                             "self", self, "up", self || cluster_is_up(c, n->id), "heard_ms",
                             silent != UINT64_MAX ? number(silent / NS_PER_MS) : json_null());
    decided_set(c, n, node);
    lag_set(c, n->id, node);
    if (start != 0)
        (void)json_object_set_new(node, "start", json_integer((json_int_t)start));
    return node;
}

static json_t *list_json(const struct cluster_node *c)
{
    const struct coordinator_state *s = coordinator_known(c->coordinator);
    json_t *nodes = json_array();
    for (uint32_t i = 0; i < s->node_count; i++)
        (void)json_array_append_new(nodes, node_json(c, &s->nodes[i]));
    return nodes;
}

/* ---- who leads which shard ---- */

static void range_append(json_t *ranges, const struct node_space *s, const uint32_t at[2],
                         uint32_t leader)
{
    (void)json_array_append_new(ranges, json_pack("{s:s, s:I, s:I, s:I}", "space", s->config.name,
                                                  "first", (json_int_t)at[0], "last",
                                                  (json_int_t)at[1], "node", (json_int_t)leader));
}

/* Neighbours with one leader are one entry. */
static void space_leaders(const struct cluster_node *c, const struct node_space *s, json_t *ranges)
{
    uint32_t at[2] = {0, 0}, leader = 0;
    for (uint32_t i = 0; i < s->config.shard_count; i++) {
        struct configuration newest = {.epoch = 0};
        (void)coordinator_configuration(c->coordinator, s->boards[i].log, &newest);
        if (i != 0 && newest.leader.node != leader) {
            range_append(ranges, s, at, leader);
            at[0] = i;
        }
        at[1] = i;
        leader = newest.leader.node;
    }
    range_append(ranges, s, at, leader);
}

static json_t *leaders_json(const struct cluster_node *c)
{
    json_t *ranges = json_array();
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++)
        if (c->node->spaces[id] != NULL)
            space_leaders(c, c->node->spaces[id], ranges);
    return ranges;
}

/* What the transports of all lcores counted. */
static json_t *transport_json(const struct cluster_node *c)
{
    json_t *counts = json_object();
    const char *name;
    for (uint32_t i = 0; (name = transport_count_name(c->transports[0], i)) != NULL; i++) {
        uint64_t sum = 0;
        for (uint32_t l = 0; l < c->node->config.lcore_count; l++)
            sum += transport_counted(c->transports[l], i);
        (void)json_object_set_new(counts, name, json_integer((json_int_t)sum));
    }
    return counts;
}

/* By its names, each with its number. */
struct counted {
    const char *name;
    const _Atomic uint64_t *value;
};

static void counts_add(json_t *shown, const struct counted *counts, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        /* relaxed: words for people, each by itself */
        (void)json_object_set_new(
            shown, counts[i].name,
            number(atomic_load_explicit(counts[i].value, memory_order_relaxed)));
}

static json_t *dpdk_json(const struct dpdk_port *port)
{
    static const char *const states[] = {[DPDK_PORT_RUNNING] = "running",
                                         [DPDK_PORT_RESETTING] = "resetting",
                                         [DPDK_PORT_FAILED] = "failed"};
    const struct dpdk_port_facts *f = dpdk_port_facts(port);
    const struct dpdk_port_shown *s = dpdk_port_shown(port);
    const struct counted counts[] = {
        {"link_ups", &s->link_ups},   {"link_downs", &s->link_downs},
        {"resets", &s->resets},       {"resets_failed", &s->resets_failed},
        {"removals", &s->removals},   {"missed", &s->missed},
        {"errors_in", &s->errors_in}, {"errors_out", &s->errors_out},
        {"no_mbuf", &s->no_mbuf}};
    /* relaxed: words for people, each by itself */
    json_t *shown =
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:b, s:b, s:s, s:b, s:I}", "kind", "dpdk", "name",
                  f->name, "driver", f->driver, "mtu", (json_int_t)f->mtu, "queues",
                  (json_int_t)f->pairs, "steered", f->steered, "interrupts", f->interrupts, "state",
                  states[atomic_load_explicit(&s->state, memory_order_relaxed)], "link_up",
                  atomic_load_explicit(&s->link_up, memory_order_relaxed) != 0, "speed_mbps",
                  (json_int_t)atomic_load_explicit(&s->speed_mbps, memory_order_relaxed));
    counts_add(shown, counts, sizeof counts / sizeof counts[0]);
    return shown;
}

static json_t *rdma_json(const struct rdma_port *port)
{
    const struct rdma_port_facts *f = rdma_port_facts(port);
    const struct rdma_port_shown *s = rdma_port_shown(port);
    const struct counted counts[] = {{"link_ups", &s->ups},
                                     {"link_downs", &s->downs},
                                     {"removals", &s->removals},
                                     {"connections", &s->connections},
                                     {"refusals", &s->refusals},
                                     {"failures", &s->failures},
                                     {"broken", &s->broken},
                                     {"chunks", &s->chunks},
                                     {"chunks_short", &s->chunks_short}};
    /* relaxed: words for people, each by itself */
    json_t *shown = json_pack("{s:s, s:s, s:I, s:s, s:I, s:b, s:b, s:I}", "kind", "rdma", "name",
                              f->device, "device_port", (json_int_t)f->port, "link",
                              f->is_ethernet ? "ethernet" : "infiniband", "mtu", (json_int_t)f->mtu,
                              "memory_windows", f->memory_windows, "link_up",
                              atomic_load_explicit(&s->is_up, memory_order_relaxed) != 0,
                              "speed_mbps", (json_int_t)f->speed_mbps);
    counts_add(shown, counts, sizeof counts / sizeof counts[0]);
    return shown;
}

/* What the lcores of this node share to reach the others; null: nothing. */
static json_t *port_json(const struct cluster_node *c)
{
    if (c->port != NULL)
        return dpdk_json(c->port);
    return c->rdma != NULL ? rdma_json(c->rdma) : json_null();
}

/* ---- all ---- */

static json_t *redundancy_json(const struct cluster_node *c)
{
    struct cluster_redundancy r;
    cluster_redundancy(c, &r);
    return json_pack("{s:I, s:I, s:I}", "least", (json_int_t)r.least, "below", (json_int_t)r.below,
                     "changing", (json_int_t)r.changing);
}

char *cluster_nodes_json(void *context)
{
    const struct cluster_node *c = context;
    const struct coordinator_state *s = coordinator_known(c->coordinator);
    struct coordinator_counts counts;
    coordinator_state_counts(s, &counts);
    json_t *all = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "cluster",
        c->config->cluster.name, "node", (json_int_t)c->config->node.id, "shards",
        (json_int_t)counts.shards, "pending", (json_int_t)counts.pending, "moving",
        (json_int_t)counts.moving, "lost", (json_int_t)counts.lost, "gone", (json_int_t)counts.gone,
        "replicas", (json_int_t)s->replicas, "redundancy", redundancy_json(c), "nodes",
        list_json(c), "leaders", leaders_json(c), "transport", transport_json(c));
    (void)json_object_set_new(all, "port", port_json(c));
    (void)json_object_set_new(all, "control", control_shown(coordinator_raft_node(c->coordinator)));
    char *text = json_dumps(all, JSON_INDENT(2));
    json_decref(all);
    return text;
}
