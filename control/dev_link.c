#include "control/dev_link.h"

#include <stdlib.h>

struct link {
    struct transport transport; /* first: the ops get it */
    struct transport *inner;
    const _Atomic uint32_t *cut_off;
};

struct dev_links {
    _Atomic uint32_t cut_off;
    uint32_t count, used;
    struct link links[];
};

static struct transport *inner_of(struct transport *t)
{
    return ((struct link *)(void *)t)->inner;
}

static uint32_t link_send(struct transport *t, const struct transport_datagram *datagrams,
                          uint32_t count)
{
    return transport_send(inner_of(t), datagrams, count);
}

static uint32_t link_receive(struct transport *t, struct transport_received *received,
                             uint32_t count)
{
    const struct link *l = (const struct link *)(const void *)t;
    uint32_t got = transport_receive(l->inner, received, count);
    /* relaxed: a network may lose what it likes */
    uint32_t cut_off = atomic_load_explicit(l->cut_off, memory_order_relaxed);
    uint32_t kept = 0;
    if (LIKELY(cut_off == 0))
        return got;
    for (uint32_t i = 0; i < got; i++)
        if (t->node != cut_off && received[i].from != cut_off)
            received[kept++] = received[i];
    return kept;
}

static void link_release(struct transport *t)
{
    transport_release(inner_of(t));
}

static uint32_t link_complete(struct transport *t, uint64_t *holds, uint32_t count)
{
    return transport_complete(inner_of(t), holds, count);
}

static bool link_sleep(struct transport *t)
{
    return transport_sleep(inner_of(t));
}

static void link_awake(struct transport *t)
{
    transport_awake(inner_of(t));
}

static const struct transport_ops link_ops = {
    .send = link_send,
    .receive = link_receive,
    .release = link_release,
    .complete = link_complete,
    .sleep = link_sleep,
    .awake = link_awake,
};

int dev_links_open(struct dev_links **links, uint32_t count)
{
    struct dev_links *l = calloc(1, sizeof(*l) + count * sizeof(l->links[0]));
    if (l == NULL)
        return -ENOMEM;
    l->count = count;
    *links = l;
    return 0;
}

void dev_links_close(struct dev_links *links)
{
    free(links);
}

struct transport *dev_link_over(struct dev_links *links, struct transport *inner)
{
    ASSERT(links->used < links->count);
    struct link *l = &links->links[links->used++];
    l->transport = *inner;
    l->transport.ops = &link_ops;
    l->inner = inner;
    l->cut_off = &links->cut_off;
    return &l->transport;
}

void dev_links_cut_off(struct dev_links *links, uint32_t node)
{
    /* relaxed: as in link_receive */
    atomic_store_explicit(&links->cut_off, node, memory_order_relaxed);
}
