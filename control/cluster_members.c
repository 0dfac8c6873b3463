#include "control/cluster_members.h"

#include "control/config_address.h"
#include "control/logline.h"
#include "dataplane/node_change.h"
#include "dataplane/transport_udp.h"

#include <netinet/in.h>
#include <string.h>

/* ---- addresses ---- */

static in_port_t *port_of(struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET6 ? &((struct sockaddr_in6 *)(void *)address)->sin6_port
                                          : &((struct sockaddr_in *)(void *)address)->sin_port;
}

struct sockaddr_storage cluster_address_of(const struct config *config,
                                           const struct sockaddr_storage *node, uint32_t lcore)
{
    struct sockaddr_storage address = *node;
    if (config->cluster.transport == CONFIG_TRANSPORT_RDMA)
        return address;
    in_port_t *port = port_of(&address);
    *port = htons((uint16_t)(ntohs(*port) + lcore));
    return address;
}

static bool is_same(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    return config_address_same_host(a, b) && config_address_port(a) == config_address_port(b);
}

/* False: nobody says where it is. */
static bool address_find(const struct cluster_members *m, const struct coordinator_node *n,
                         struct sockaddr_storage *address)
{
    const struct config_cluster *cluster = &m->config->cluster;
    size_t length = strnlen(n->address, sizeof n->address);
    if (length != 0 && config_address_parse(n->address, length, address) == 0)
        return true;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (cluster->nodes[i].id != n->id)
            continue;
        *address = cluster->nodes[i].address;
        return true;
    }
    return false;
}

static bool ports_meet(uint32_t a, uint32_t b, uint32_t count)
{
    return a < b ? b - a < count : a - b < count;
}

int cluster_members_judge(const struct cluster_members *m, uint32_t id, const char *address)
{
    struct sockaddr_storage a;
    uint32_t lcores = m->config->node.lcore_count;
    if (config_address_parse(address, strlen(address), &a) != 0 ||
        config_address_port(&a) + lcores - 1 > UINT16_MAX)
        return -EINVAL;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct cluster_member *other = &m->list[i];
        if (other->address.ss_family != a.ss_family)
            return -EAFNOSUPPORT;
        if (other->id != id && config_address_same_host(&other->address, &a) &&
            ports_meet(config_address_port(&other->address), config_address_port(&a), lcores))
            return -EADDRINUSE;
    }
    return 0;
}

/* ---- the list ---- */

const struct cluster_member *cluster_members_find(const struct cluster_members *m, uint32_t id)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (m->list[i].id == id)
            return &m->list[i];
    return NULL;
}

static void publish(struct cluster_members *m)
{
    uint32_t used = 0;
    for (uint32_t i = 1; i < m->count; i++)
        /* relaxed: an id says nothing but itself */
        atomic_store_explicit(&m->others[used++], m->list[i].id, memory_order_relaxed);
    for (; used < CLUSTER_OTHERS; used++)
        atomic_store_explicit(&m->others[used], 0, memory_order_relaxed); /* as above */
}

uint32_t cluster_members_others(const struct cluster_members *m, uint32_t others[CLUSTER_OTHERS])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < CLUSTER_OTHERS; i++) {
        /* relaxed: as stored */
        uint32_t id = atomic_load_explicit(&m->others[i], memory_order_relaxed);
        bool known = id == 0;
        /* Why a look: while the list moves up by one, an id may be met twice. */
        for (uint32_t j = 0; j < count; j++)
            known = known || others[j] == id;
        if (!known)
            others[count++] = id;
    }
    return count;
}

static void append(struct cluster_members *m, uint32_t id, const struct sockaddr_storage *address)
{
    ASSERT(m->count < LIMIT_VOTERS);
    m->list[m->count++] = (struct cluster_member){.id = id, .address = *address};
    publish(m);
}

static void forget(struct cluster_members *m, struct cluster_member *gone)
{
    size_t behind = (size_t)(&m->list[m->count] - (gone + 1));
    memmove(gone, gone + 1, behind * sizeof *gone);
    m->count--;
    publish(m);
}

void cluster_members_begin(struct cluster_members *m, const struct config *config)
{
    const struct config_cluster *cluster = &config->cluster;
    *m = (struct cluster_members){.config = config};
    for (uint32_t i = 0; i < cluster->node_count; i++)
        if (cluster->nodes[i].id == config->node.id)
            append(m, config->node.id, &cluster->nodes[i].address);
    for (uint32_t i = 0; i < cluster->node_count; i++)
        if (cluster->nodes[i].id != config->node.id)
            append(m, cluster->nodes[i].id, &cluster->nodes[i].address);
}

/* ---- before the lcores run ---- */

static int straight_add(const struct cluster_members *m, const struct cluster_member *member,
                        struct transport *const *transports)
{
    int error = 0;
    for (uint32_t i = 0; i < m->config->node.lcore_count && error == 0; i++) {
        struct sockaddr_storage address = cluster_address_of(m->config, &member->address, i);
        error = transport_framed_add(transports[i], member->id, &address);
    }
    return error;
}

static void straight_remove(const struct cluster_members *m, uint32_t id,
                            struct transport *const *transports)
{
    for (uint32_t i = 0; i < m->config->node.lcore_count; i++)
        ASSERT(transport_framed_remove(transports[i], id) == 0);
}

/* Whether it is no node any more, or another one of its id. */
static bool is_gone(const struct cluster_members *m, const struct coordinator_state *s,
                    const struct cluster_member *member)
{
    struct sockaddr_storage address;
    const struct coordinator_node *n = coordinator_state_node(s, member->id);
    if (n == NULL)
        return true;
    return address_find(m, n, &address) && !is_same(&address, &member->address);
}

static void say_unknown(struct cluster_members *m, uint32_t id)
{
    if (m->said != id)
        log_event(LOG_ERROR, "peer_unknown", LOG_NUMBER("id", id),
                  LOG_TEXT("help", "it was not added with an address, and this node's "
                                   "configuration does not name it: put it there, and restart"),
                  LOG_TEXT("node", m->config->node.name));
    m->said = id;
}

int cluster_members_join(struct cluster_members *m, const struct coordinator_state *s,
                         struct transport *const *transports)
{
    for (uint32_t i = m->count; i-- > 1;) {
        if (!is_gone(m, s, &m->list[i]))
            continue;
        straight_remove(m, m->list[i].id, transports);
        forget(m, &m->list[i]);
    }
    for (uint32_t i = 0; i < s->node_count; i++) {
        struct sockaddr_storage address;
        if (cluster_members_find(m, s->nodes[i].id) != NULL)
            continue;
        if (!address_find(m, &s->nodes[i], &address)) {
            say_unknown(m, s->nodes[i].id);
            continue;
        }
        append(m, s->nodes[i].id, &address);
        int error = straight_add(m, &m->list[m->count - 1], transports);
        if (error != 0)
            return error;
    }
    return 0;
}

/* ---- while they run ---- */

static void peer_add(struct cluster_members *m, struct node *node, uint32_t id,
                     const struct sockaddr_storage *address)
{
    struct sockaddr_storage by_lcore[LIMIT_LCORES];
    for (uint32_t i = 0; i < node->config.lcore_count; i++)
        by_lcore[i] = cluster_address_of(m->config, address, i);
    int error = node_peer_add(node, &(struct node_peer){.node = id, .addresses = by_lcore});
    if (error == 0) {
        append(m, id, address);
        m->said = m->said == id ? 0 : m->said;
        log_event(LOG_INFO, "peer_added", LOG_NUMBER("id", id),
                  LOG_TEXT("node", node->config.name));
        return;
    }
    if (m->said != id)
        log_event(LOG_ERROR, "peer_failed", LOG_NUMBER("id", id), LOG_ERRNO(error),
                  LOG_TEXT("node", node->config.name));
    m->said = id;
}

static void peer_remove(struct cluster_members *m, struct node *node, struct cluster_member *gone)
{
    uint32_t id = gone->id;
    /* First, so that nobody looks for it while it goes. */
    forget(m, gone);
    node_peer_remove(node, id);
    log_event(LOG_INFO, "peer_removed", LOG_NUMBER("id", id), LOG_TEXT("node", node->config.name));
}

void cluster_members_step(struct cluster_members *m, const struct coordinator_state *s,
                          struct node *node)
{
    /* Why: nothing is decided yet, or it is this node that goes. */
    if (s->shard_count == 0 || coordinator_state_node(s, m->config->node.id) == NULL)
        return;
    for (uint32_t i = m->count; i-- > 1;)
        if (is_gone(m, s, &m->list[i]))
            peer_remove(m, node, &m->list[i]);
    for (uint32_t i = 0; i < s->node_count; i++) {
        struct sockaddr_storage address;
        if (cluster_members_find(m, s->nodes[i].id) != NULL || m->count == LIMIT_VOTERS)
            continue;
        if (address_find(m, &s->nodes[i], &address))
            peer_add(m, node, s->nodes[i].id, &address);
        else
            say_unknown(m, s->nodes[i].id);
    }
}
