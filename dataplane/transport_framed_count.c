#include "dataplane/transport_framed.h"

#include <string.h>

/* relaxed, all that is shown: each is one number for people or one of many reasons; of one node, whose place
 * nobody else gets before it is gone */
void transport_framed_show(struct transport_framed_endpoint *e, struct transport_framed_peer *p)
{
    struct transport_framed_shown *shown = e->shown;
    while (atomic_load_explicit(&shown->node, memory_order_relaxed) != TRANSPORT_FRAMED_NOBODY)
        shown++;
    p->shown = shown;
    atomic_store_explicit(&shown->node, p->node, memory_order_relaxed);
}

void transport_framed_show_none(const struct transport_framed_peer *p)
{
    atomic_store_explicit(&p->shown->node, TRANSPORT_FRAMED_NOBODY, memory_order_relaxed);
    atomic_store_explicit(&p->shown->start, 0, memory_order_relaxed);
    atomic_store_explicit(&p->shown->heard, 0, memory_order_relaxed);
}

static void peers_show(struct transport_framed_endpoint *e)
{
    for (uint32_t i = 0; i < e->peer_count; i++) {
        const struct transport_framed_peer *p = e->peers[i];
        const struct handshake *h = &p->handshake;
        atomic_store_explicit(&p->shown->start, h->up ? h->peer_start : 0, memory_order_relaxed);
        atomic_store_explicit(&p->shown->heard, p->heard_at, memory_order_relaxed);
    }
}

void transport_framed_count_all(struct transport *t, uint64_t *counted)
{
    struct transport_framed_endpoint *e = transport_framed_endpoint_of(t);
    struct transport_framed_counters counters;
    transport_framed_count(t, &counters);
    memcpy(counted, &counters, sizeof counters);
    e->body->count(e, counted + TRANSPORT_FRAMED_COUNTS);
    peers_show(e);
}

/* What is shown of a node; NULL: it is no peer. */
static const struct transport_framed_shown *shown_of(const struct transport *t, uint32_t node)
{
    const struct transport_framed_endpoint *e = (const void *)t; /* its first member */
    for (uint32_t i = 0; i < LIMIT_NODES; i++)
        if (atomic_load_explicit(&e->shown[i].node, memory_order_relaxed) == node)
            return &e->shown[i];
    return NULL;
}

uint64_t transport_framed_start_shown(const struct transport *t, uint32_t node)
{
    const struct transport_framed_shown *shown = shown_of(t, node);
    return shown != NULL ? atomic_load_explicit(&shown->start, memory_order_relaxed) : 0;
}

uint64_t transport_framed_heard_shown(const struct transport *t, uint32_t node)
{
    const struct transport_framed_shown *shown = shown_of(t, node);
    return shown != NULL ? atomic_load_explicit(&shown->heard, memory_order_relaxed) : 0;
}
