/* How a node's lcores reach the others: an endpoint of each, over sockets or
 * over a port that they share. */
#include "control/cluster_body.h"

#include <string.h>

/* ---- bodies ---- */

static int socket_open(struct cluster_node *c, uint32_t lcore,
                       const struct transport_framed_config *config)
{
    return transport_udp_open(&c->transports[lcore], config, NULL);
}

static const struct cluster_body *body_of(const struct cluster_node *c)
{
    static const struct cluster_body sockets = {.endpoint_open = socket_open,
                                                .endpoint_close = transport_udp_close};
    static const struct cluster_body *const bodies[] = {
        [CONFIG_TRANSPORT_UDP] = &sockets,
        [CONFIG_TRANSPORT_DPDK] = &cluster_body_dpdk,
        [CONFIG_TRANSPORT_RDMA] = &cluster_body_rdma,
    };
    return bodies[c->config->cluster.transport];
}

/* ---- log memory ---- */

/* The range is open as long as any chunk is mapped. */
static int chunk_map(struct cluster_node *c, const struct node_space *s, uint32_t chunk)
{
    const struct cluster_body *body = body_of(c);
    uint32_t *mapped = &c->mapped[s->config.id];
    int error = *mapped == 0 ? body->range_open(c, s) : 0;
    if (error != 0)
        return error;
    error = body->map(c, s, s->chunks[chunk].base);
    if (error == 0)
        ++*mapped;
    else if (*mapped == 0)
        body->range_close(c, s);
    return error;
}

static bool chunk_made(void *context, const struct node_space *s, uint32_t chunk)
{
    struct cluster_node *c = context;
    int error = chunk_map(c, s, chunk);
    if (error != 0 && !c->is_told_short)
        body_of(c)->short_tell(c, s, error);
    c->is_told_short = c->is_told_short || error != 0;
    return error == 0;
}

static void chunk_gone(void *context, const struct node_space *s, uint32_t chunk)
{
    struct cluster_node *c = context;
    body_of(c)->unmap(c, s, s->chunks[chunk].base);
    if (--c->mapped[s->config.id] == 0)
        body_of(c)->range_close(c, s);
}

void cluster_transports_join(struct cluster_node *c, struct node *node)
{
    const struct node_watch watch = {.made = chunk_made, .gone = chunk_gone, .context = c};
    const struct cluster_body *body = body_of(c);
    if (body->open == NULL || !body->wants_memory(c))
        return;
    c->watched = node;
    node_watch(node, &watch);
}

void cluster_transports_tick(struct cluster_node *c)
{
    if (body_of(c)->tick != NULL)
        body_of(c)->tick(c);
}

/* ---- endpoints ---- */

static int peers_add(const struct cluster_node *c, uint32_t lcore)
{
    int error = 0;
    for (uint32_t i = 1; i < c->members.count && error == 0; i++) {
        struct sockaddr_storage address =
            cluster_address_of(c->config, &c->members.list[i].address, lcore);
        error = transport_framed_add(c->transports[lcore], c->members.list[i].id, &address);
    }
    return error;
}

static int endpoint_open(struct cluster_node *c, uint32_t lcore)
{
    const struct config_cluster *cluster = &c->config->cluster;
    const struct transport_framed_config config = {
        .node = c->config->node.id,
        .lcore = (uint8_t)lcore,
        .cluster = cluster_id(c->config),
        .start = c->start,
        .address = cluster_address_of(c->config, &c->members.list[0].address, lcore),
        .secrets = c->secrets,
        .secret_count = c->secret_count,
        .pair_secrets = c->secret_count != 0 ? NULL : &c->pair_secrets,
        .authentic_only = !cluster->encrypt,
        .version_lowest = FRAME_VERSION_LOWEST,
        .version_highest = (uint8_t)cluster->wire_version,
        .frame_bytes = cluster->frame_bytes,
        .rate = cluster->rate,
    };
    int error = body_of(c)->endpoint_open(c, lcore, &config);
    return error != 0 ? error : peers_add(c, lcore);
}

int cluster_transports_open(struct cluster_node *c)
{
    int error = body_of(c)->open != NULL ? body_of(c)->open(c) : 0;
    if (error != 0)
        return error;
    for (uint32_t i = 0; i < c->config->node.lcore_count && error == 0; i++)
        error = endpoint_open(c, i);
    explicit_bzero(c->secrets, sizeof(c->secrets));
    return error != 0 ? cluster_join_failed(c, "transport", error) : 0;
}

void cluster_transports_close(struct cluster_node *c)
{
    const struct cluster_body *body = body_of(c);
    for (uint32_t i = 0; i < LIMIT_LCORES; i++) {
        if (c->transports[i] != NULL)
            body->endpoint_close(c->transports[i]);
        c->transports[i] = NULL;
    }
    if (body->stop != NULL)
        body->stop(c);
    if (c->watched != NULL)
        node_watch_end(c->watched);
    c->watched = NULL;
    if (body->close != NULL)
        body->close(c);
}
