#include "control/cluster_body.h"
#include "control/config_address.h"
#include "control/logline.h"
#include "dataplane/transport_rdma.h"

#include <netdb.h>
#include <string.h>

/* Why none where frames are encrypted: bytes that are written without a frame travel as they are. */
static bool writes_log(const struct cluster_node *c)
{
    return c->rdma != NULL && !c->config->cluster.encrypt;
}

/* ---- the device ---- */

static void device_tell(const struct cluster_node *c)
{
    const struct rdma_port_facts *facts = rdma_port_facts(c->rdma);
    log_event(
        LOG_INFO, "port_opened", LOG_TEXT("port", facts->device),
        LOG_NUMBER("device_port", facts->port),
        LOG_TEXT("link", facts->is_ethernet ? "ethernet" : "infiniband"),
        LOG_NUMBER("mtu", facts->mtu), LOG_NUMBER("memory_windows", facts->memory_windows ? 1 : 0),
        LOG_NUMBER("log_writes", writes_log(c) ? 1 : 0), LOG_TEXT("node", c->config->node.name));
}

/* What people can do about it. */
static const char *help_of(int error)
{
    if (error == -ENODEV)
        return "no RDMA device here has this node's address (cluster: nodes:); `dunlin doctor "
               "--config FILE` "
               "tells which there are, and how one is made";
    if (error == -ENOMEM)
        return "a device locks the memory that it reads and writes, and more than the limit is "
               "refused: "
               "LimitMEMLOCK=infinity in the unit, or ulimit -l unlimited";
    if (error == -EADDRINUSE)
        return "something else listens there; another dunlind with this address?";
    return "`dunlin doctor --config FILE` tells what is missing";
}

static int device_failed(const struct cluster_node *c, int error)
{
    char host[NI_MAXHOST] = "?";
    const struct sockaddr_storage *own = &c->members.list[0].address;
    (void)getnameinfo((const struct sockaddr *)own, sizeof *own, host, sizeof host, NULL, 0,
                      NI_NUMERICHOST); /* of a sound address it does not fail */
    log_event(LOG_ERROR, "port_failed", LOG_TEXT("address", host),
              LOG_NUMBER("port", config_address_port(own)), LOG_ERRNO(error),
              LOG_TEXT("help", help_of(error)), LOG_TEXT("node", c->config->node.name));
    return cluster_join_failed(c, "port", error);
}

static uint64_t removals_of(const struct cluster_node *c)
{
    /* relaxed: a word to tell people of */
    return atomic_load_explicit(&rdma_port_shown(c->rdma)->removals, memory_order_relaxed);
}

static bool is_up(const struct cluster_node *c)
{
    /* relaxed: likewise */
    return atomic_load_explicit(&rdma_port_shown(c->rdma)->is_up, memory_order_relaxed) != 0;
}

static int device_open(struct cluster_node *c)
{
    const struct rdma_port_config config = {
        .address = c->members.list[0].address,
        .node = c->config->node.id,
        .cluster = cluster_id(c->config),
        .lcore_count = c->config->node.lcore_count,
        .message_bytes = TRANSPORT_RDMA_MESSAGE_BYTES,
        .ack_timeout = rdma_ack_timeout(c->config->cluster.rdma.ack_timeout_ns),
    };
    int error = rdma_port_open(&c->rdma, &config);
    if (error != 0) {
        c->rdma = NULL;
        return device_failed(c, error);
    }
    c->is_told_up = is_up(c);
    c->removals_told = removals_of(c);
    device_tell(c);
    return 0;
}

static void device_close(struct cluster_node *c)
{
    if (c->rdma != NULL)
        rdma_port_close(c->rdma);
    c->rdma = NULL;
}

static void device_tick(struct cluster_node *c)
{
    if (c->rdma == NULL)
        return;
    const char *name = rdma_port_facts(c->rdma)->device;
    uint64_t removals = removals_of(c);
    bool up = is_up(c);
    if (removals != c->removals_told)
        log_event(LOG_WARN, "port_removed", LOG_TEXT("port", name),
                  LOG_TEXT("help", "the device went away; it is looked for each second"),
                  LOG_TEXT("node", c->config->node.name));
    c->removals_told = removals;
    if (up != c->is_told_up)
        log_event(up ? LOG_INFO : LOG_WARN, up ? "port_up" : "port_down", LOG_TEXT("port", name),
                  LOG_TEXT("node", c->config->node.name));
    c->is_told_up = up;
}

/* ---- log memory ---- */

static int range_open(struct cluster_node *c, const struct node_space *s)
{
    return rdma_port_range_open(c->rdma, s->arena, layout_arena_bytes(&s->geometry),
                                cluster_chunk_bytes(s));
}

static void range_close(struct cluster_node *c, const struct node_space *s)
{
    rdma_port_range_close(c->rdma, s->arena);
}

static int chunk_map(struct cluster_node *c, const struct node_space *s, uint8_t *chunk)
{
    (void)s;
    return rdma_port_map(c->rdma, chunk);
}

static void chunk_unmap(struct cluster_node *c, const struct node_space *s, uint8_t *chunk)
{
    (void)s;
    rdma_port_unmap(c->rdma, chunk);
}

static void short_tell(const struct cluster_node *c, const struct node_space *s, int error)
{
    log_event(LOG_WARN, "rdma_memory_short", LOG_TEXT("port", rdma_port_facts(c->rdma)->device),
              LOG_TEXT("space", s->config.name), LOG_ERRNO(error),
              LOG_TEXT("help",
                       "the device cannot have all of the log's memory; what lies there goes by "
                       "message, which costs processor time at both ends.  It locks that memory: "
                       "LimitMEMLOCK=infinity in the unit, or ulimit -l unlimited"),
              LOG_TEXT("node", c->config->node.name));
}

/* ---- endpoints ---- */

/* Why no frame of the configuration's: a device cuts messages up by itself. */
static int endpoint_open(struct cluster_node *c, uint32_t lcore,
                         const struct transport_framed_config *config)
{
    struct transport_framed_config own = *config;
    own.frame_bytes = FRAME_BYTES_MAX;
    return transport_rdma_open(&c->transports[lcore], &own, c->rdma);
}

const struct cluster_body cluster_body_rdma = {
    .open = device_open,
    .close = device_close,
    .tick = device_tick,
    .endpoint_open = endpoint_open,
    .endpoint_close = transport_rdma_close,
    .wants_memory = writes_log,
    .range_open = range_open,
    .range_close = range_close,
    .map = chunk_map,
    .unmap = chunk_unmap,
    .short_tell = short_tell,
};
