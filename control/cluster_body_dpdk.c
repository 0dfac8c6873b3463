#include "control/cluster_body.h"
#include "control/eal_config.h"
#include "control/logline.h"
#include "dataplane/dpdk_eal.h"
#include "dataplane/transport_dpdk.h"
#include "engine/clock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

/* Whether frames may be sent from log memory.  Why not map it else: the device keeps each page of it. */
static bool port_chains(const struct cluster_node *c)
{
    return c->port != NULL && !c->config->cluster.encrypt && dpdk_port_facts(c->port)->multi_segs &&
           dpdk_eal_addresses_are_virtual();
}

/* ---- the port ---- */

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

/* Why before the memory goes: what it has of the log it may read until then. */
static void port_stop(struct cluster_node *c)
{
    if (c->port != NULL)
        dpdk_port_stop(c->port);
}

static void port_close(struct cluster_node *c)
{
    if (c->port != NULL)
        dpdk_port_close(c->port);
    c->port = NULL;
    dpdk_eal_stop();
}

static void port_tick(struct cluster_node *c)
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

/* ---- log memory ---- */

static int range_open(struct cluster_node *c, const struct node_space *s)
{
    (void)c;
    return dpdk_port_range_open(s->arena, layout_arena_bytes(&s->geometry));
}

static void range_close(struct cluster_node *c, const struct node_space *s)
{
    (void)c;
    dpdk_port_range_close(s->arena, layout_arena_bytes(&s->geometry));
}

static int chunk_map(struct cluster_node *c, const struct node_space *s, uint8_t *chunk)
{
    return dpdk_port_map(c->port, chunk, cluster_chunk_bytes(s));
}

static void chunk_unmap(struct cluster_node *c, const struct node_space *s, uint8_t *chunk)
{
    dpdk_port_unmap(c->port, chunk, cluster_chunk_bytes(s));
}

static void short_tell(const struct cluster_node *c, const struct node_space *s, int error)
{
    log_event(LOG_WARN, "port_memory_short", LOG_TEXT("port", dpdk_port_facts(c->port)->name),
              LOG_TEXT("space", s->config.name), LOG_ERRNO(error),
              LOG_TEXT("help", "the port cannot have all of the log's memory; what lies there "
                               "is copied to be sent, which costs processor time"),
              LOG_TEXT("node", c->config->node.name));
}

/* ---- endpoints ---- */

static int endpoint_open(struct cluster_node *c, uint32_t lcore,
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

const struct cluster_body cluster_body_dpdk = {
    .open = port_open,
    .stop = port_stop,
    .close = port_close,
    .tick = port_tick,
    .endpoint_open = endpoint_open,
    .endpoint_close = transport_dpdk_close,
    .wants_memory = port_chains,
    .range_open = range_open,
    .range_close = range_close,
    .map = chunk_map,
    .unmap = chunk_unmap,
    .short_tell = short_tell,
};
