/* Links: of control, which opens and closes them, and of lcores, which have their connections. */
#include "dataplane/rdma_port_inside.h"

#include <stdlib.h>

/* ---- control ---- */

static bool is_open(const struct rdma_port *port, const struct rdma_link_config *config)
{
    for (uint32_t i = 0; i < port->link_count; i++)
        if (port->links[i]->config.node == config->node &&
            port->links[i]->config.lcore == config->lcore)
            return true;
    return false;
}

static int link_add(struct rdma_port *port, struct rdma_link *link)
{
    int error = 0;
    pthread_mutex_lock(&port->lock);
    if (is_open(port, &link->config))
        error = -EEXIST;
    else if (port->link_count == RDMA_LINKS)
        error = -ENOSPC;
    else
        port->links[port->link_count++] = link;
    pthread_mutex_unlock(&port->lock);
    return error;
}

int rdma_link_open(struct rdma_port *port, const struct rdma_link_config *config,
                   struct rdma_link **link)
{
    sa_family_t family = config->address.ss_family;
    if (family != AF_INET && family != AF_INET6)
        return -EAFNOSUPPORT;
    ASSERT(config->lcore < port->config.lcore_count && config->node != port->config.node);
    struct rdma_link *l = calloc(1, sizeof *l);
    if (l == NULL)
        return -ENOMEM;
    l->port = port;
    l->config = *config;
    int error = link_add(port, l);
    if (error != 0) {
        free(l);
        return error;
    }
    *link = l;
    rdma_port_kick(port);
    return 0;
}

static void link_remove(struct rdma_port *port, const struct rdma_link *link)
{
    uint32_t i = 0;
    while (port->links[i] != link)
        i++;
    port->links[i] = port->links[--port->link_count];
}

void rdma_link_close(struct rdma_link *link)
{
    struct rdma_port *port = link->port;
    pthread_mutex_lock(&port->lock);
    link->closing = true;
    rdma_port_kick(port);
    while (!link->closed)
        pthread_cond_wait(&port->closed, &port->lock);
    link_remove(port, link);
    pthread_mutex_unlock(&port->lock);
    free(link);
}

/* ---- lcores ---- */

struct rdma_connection *rdma_link_take(struct rdma_link *link)
{
    /* acquire, R1 <- R0: the connection is whole */
    if (atomic_load_explicit(&link->state, memory_order_acquire) != RDMA_LINK_READY)
        return NULL;
    /* relaxed: nothing is handed over by it */
    atomic_store_explicit(&link->state, RDMA_LINK_TAKEN, memory_order_relaxed);
    return link->connection;
}

void rdma_link_retire(struct rdma_link *link)
{
    ASSERT(atomic_load_explicit(&link->state, memory_order_relaxed) == RDMA_LINK_TAKEN);
    /* release, R2 -> R3: what the lcore did with it is done */
    atomic_store_explicit(&link->state, RDMA_LINK_RETIRED, memory_order_release);
    rdma_port_kick(link->port);
}

bool rdma_link_is_gone(const struct rdma_link *link)
{
    /* acquire, R11 <- R10: nothing lands any more, what did is there */
    return atomic_load_explicit(&link->state, memory_order_acquire) == RDMA_LINK_GONE;
}

void rdma_link_free(struct rdma_link *link)
{
    ASSERT(atomic_load_explicit(&link->state, memory_order_relaxed) == RDMA_LINK_GONE);
    /* release, R12 -> R13: the lcore looks at it no more */
    atomic_store_explicit(&link->state, RDMA_LINK_FREED, memory_order_release);
    rdma_port_kick(link->port);
}
