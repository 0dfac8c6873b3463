/* How a node's lcores reach the others: an endpoint of each, over sockets or over a port of its own. */
#include "control/cluster_inner.h"
#include "control/eal_config.h"
#include "control/logline.h"
#include "dataplane/dpdk_eal.h"
#include "dataplane/transport_dpdk.h"
#include "engine/clock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

/* ---- the port ---- */

/* Whether frames may be sent from log memory.  Why not map it else: the device keeps each page of it. */
static bool port_chains(const struct cluster_node *c)
{
    return c->port != NULL && !c->config->cluster.encrypt && dpdk_port_facts(c->port)->multi_segs &&
           dpdk_eal_addresses_are_virtual();
}

static void port_tell(const struct cluster_node *c)
{
    const struct dpdk_port_facts *facts = dpdk_port_facts(c->port);
    log_event(LOG_INFO, "port_opened", LOG_TEXT("port", facts->name),
              LOG_TEXT("driver", facts->driver), LOG_NUMBER("mtu", facts->mtu),
              LOG_NUMBER("queues", facts->pairs), LOG_NUMBER("steered", facts->steered ? 1 : 0),
              LOG_NUMBER("interrupts", facts->interrupts ? 1 : 0),
              LOG_NUMBER("chains", port_chains(c) ? 1 : 0), LOG_TEXT("node", c->config->node.name));
}

static int port_open(struct cluster_node *c)
{
    const struct config_dpdk *dpdk = &c->config->cluster.dpdk;
    struct sockaddr_in own;
    memcpy(&own, &c->members.list[0].address, sizeof own);
    const struct dpdk_port_config config = {
        .device = dpdk->port,
        .mtu = dpdk->mtu,
        .lcore_count = c->config->node.lcore_count,
        .udp_port = ntohs(own.sin_port),
    };
    int error = eal_config_start(dpdk, config.lcore_count);
    if (error != 0)
        return cluster_join_failed(c, "eal", error);
    error = dpdk_port_open(&c->port, &config);
    if (error != 0)
        return cluster_join_failed(c, "port", error);
    port_tell(c);
    return 0;
}

/* Why stopped first: what it has of the log it may read until then. */
static void port_close(struct cluster_node *c)
{
    if (c->port != NULL)
        dpdk_port_stop(c->port);
    if (c->watched != NULL)
        node_watch_end(c->watched);
    c->watched = NULL;
    if (c->port != NULL)
        dpdk_port_close(c->port);
    c->port = NULL;
    dpdk_eal_stop();
}

/* ---- log memory ---- */

static uint64_t chunk_bytes(const struct node_space *s)
{
    return UINT64_C(1) << s->geometry.chunk_shift;
}

static void copied_tell(struct cluster_node *c, const struct node_space *s, int error)
{
    if (!c->is_told_copied)
        log_event(LOG_WARN, "port_memory_short", LOG_TEXT("port", dpdk_port_facts(c->port)->name),
                  LOG_TEXT("space", s->config.name), LOG_ERRNO(error),
                  LOG_TEXT("help", "the port cannot have all of the log's memory; what lies there "
                                   "is copied to be sent, which costs processor time"),
                  LOG_TEXT("node", c->config->node.name));
    c->is_told_copied = true;
}

/* The range is open as long as any chunk is mapped. */
static int chunk_map(struct cluster_node *c, const struct node_space *s, uint32_t chunk)
{
    uint32_t *mapped = &c->mapped[s->config.id];
    int error = *mapped == 0 ? dpdk_port_range_open(s->arena, layout_arena_bytes(&s->geometry)) : 0;
    if (error != 0)
        return error;
    error = dpdk_port_map(c->port, s->chunks[chunk].base, chunk_bytes(s));
    if (error == 0)
        ++*mapped;
    else if (*mapped == 0)
        dpdk_port_range_close(s->arena, layout_arena_bytes(&s->geometry));
    return error;
}

static bool chunk_made(void *context, const struct node_space *s, uint32_t chunk)
{
    struct cluster_node *c = context;
    int error = chunk_map(c, s, chunk);
    if (error != 0)
        copied_tell(c, s, error);
    return error == 0;
}

static void chunk_gone(void *context, const struct node_space *s, uint32_t chunk)
{
    struct cluster_node *c = context;
    dpdk_port_unmap(c->port, s->chunks[chunk].base, chunk_bytes(s));
    if (--c->mapped[s->config.id] == 0)
        dpdk_port_range_close(s->arena, layout_arena_bytes(&s->geometry));
}

void cluster_transports_join(struct cluster_node *c, struct node *node)
{
    const struct node_watch watch = {.made = chunk_made, .gone = chunk_gone, .context = c};
    if (!port_chains(c))
        return;
    c->watched = node;
    node_watch(node, &watch);
}

void cluster_transports_tick(struct cluster_node *c)
{
    if (c->port == NULL)
        return;
    const struct dpdk_port_shown *shown = dpdk_port_shown(c->port);
    /* relaxed: words of this thread */
    uint32_t before = atomic_load_explicit(&shown->link_up, memory_order_relaxed);
    uint64_t resets = atomic_load_explicit(&shown->resets, memory_order_relaxed);
    dpdk_port_tick(c->port, clock_boottime_ns());
    uint32_t up = atomic_load_explicit(&shown->link_up, memory_order_relaxed);
    if (up != before)
        log_event(up != 0 ? LOG_INFO : LOG_WARN, up != 0 ? "port_up" : "port_down",
                  LOG_TEXT("port", dpdk_port_facts(c->port)->name),
                  LOG_TEXT("node", c->config->node.name));
    if (resets != atomic_load_explicit(&shown->resets, memory_order_relaxed))
        log_event(LOG_WARN, "port_reset", LOG_TEXT("port", dpdk_port_facts(c->port)->name),
                  LOG_TEXT("node", c->config->node.name));
}

/* ---- endpoints ---- */

static bool has_port(const struct cluster_node *c)
{
    return c->config->cluster.transport == CONFIG_TRANSPORT_DPDK;
}

static int peers_add(const struct cluster_node *c, uint32_t lcore)
{
    int error = 0;
    for (uint32_t i = 1; i < c->members.count && error == 0; i++) {
        struct sockaddr_storage address = cluster_address_of(&c->members.list[i].address, lcore);
        error = transport_framed_add(c->transports[lcore], c->members.list[i].id, &address);
    }
    return error;
}

static int dpdk_open(struct cluster_node *c, uint32_t lcore,
                     const struct transport_framed_config *config)
{
    struct in_addr gateway = {.s_addr = 0};
    /* What the configuration says was looked at when it was read. */
    (void)inet_pton(AF_INET, c->config->cluster.dpdk.gateway, &gateway);
    const struct transport_dpdk_link link = {
        .port = c->port,
        .prefix = (uint8_t)c->config->cluster.dpdk.prefix,
        .gateway = ntohl(gateway.s_addr),
    };
    return transport_dpdk_open(&c->transports[lcore], config, &link);
}

static int endpoint_open(struct cluster_node *c, uint32_t lcore)
{
    const struct config_cluster *cluster = &c->config->cluster;
    const struct transport_framed_config config = {
        .node = c->config->node.id,
        .lcore = (uint8_t)lcore,
        .cluster = cluster_id(c->config),
        .start = c->start,
        .address = cluster_address_of(&c->members.list[0].address, lcore),
        .secrets = c->secrets,
        .secret_count = c->secret_count,
        .pair_secrets = c->secret_count != 0 ? NULL : &c->pair_secrets,
        .authentic_only = !cluster->encrypt,
        .version_lowest = FRAME_VERSION_LOWEST,
        .version_highest = (uint8_t)cluster->wire_version,
        .frame_bytes = cluster->frame_bytes,
        .rate = cluster->rate,
    };
    int error = has_port(c) ? dpdk_open(c, lcore, &config)
                            : transport_udp_open(&c->transports[lcore], &config, NULL);
    return error != 0 ? error : peers_add(c, lcore);
}

int cluster_transports_open(struct cluster_node *c)
{
    int error = has_port(c) ? port_open(c) : 0;
    if (error != 0)
        return error;
    for (uint32_t i = 0; i < c->config->node.lcore_count && error == 0; i++)
        error = endpoint_open(c, i);
    explicit_bzero(c->secrets, sizeof(c->secrets));
    return error != 0 ? cluster_join_failed(c, "transport", error) : 0;
}

void cluster_transports_close(struct cluster_node *c)
{
    for (uint32_t i = 0; i < LIMIT_LCORES; i++) {
        if (c->transports[i] != NULL && has_port(c))
            transport_dpdk_close(c->transports[i]);
        else if (c->transports[i] != NULL)
            transport_udp_close(c->transports[i]);
        c->transports[i] = NULL;
    }
    if (has_port(c))
        port_close(c);
}
