#include "dataplane/transport_dpdk.h"

#include <stdlib.h>

#include <rte_mbuf.h>

_Static_assert(sizeof(struct rte_mbuf_ext_shared_info) <= TRANSPORT_DPDK_SHARED_BYTES, "shared");

static struct rte_mbuf_ext_shared_info *shared_of(struct transport_dpdk_hold *h)
{
    return (struct rte_mbuf_ext_shared_info *)(void *)h->shared;
}

/* ---- coming back ---- */

struct transport_dpdk_holds *transport_dpdk_holds_make(void)
{
    struct transport_dpdk_holds *holds = calloc(1, sizeof *holds);
    if (holds == NULL)
        return NULL;
    /* relaxed, both: nobody else knows it yet */
    atomic_store_explicit(&holds->users, 1, memory_order_relaxed);
    atomic_store_explicit(&holds->back, NULL, memory_order_relaxed);
    for (uint32_t i = 0; i < TRANSPORT_DPDK_HOLDS; i++) {
        holds->of[i].holds = holds;
        holds->of[i].next = holds->unused;
        holds->unused = &holds->of[i];
    }
    return holds;
}

void transport_dpdk_holds_leave(struct transport_dpdk_holds *h)
{
    /* release, H2; acquire, H3 <- H2: all that others did with it is done before it is freed. */
    if (atomic_fetch_sub_explicit(&h->users, 1, memory_order_acq_rel) == 1)
        free(h);
}

/* The last frame of a datagram was let go of; any thread. */
static void on_free(void *address, void *context)
{
    struct transport_dpdk_hold *h = context;
    struct transport_dpdk_holds *holds = h->holds;
    (void)address;
    /* relaxed: the exchange below decides */
    struct transport_dpdk_hold *first = atomic_load_explicit(&holds->back, memory_order_relaxed);
    do {
        h->next = first;
        /* release, H0 -> H1; relaxed: it is only tried again */
    } while (!atomic_compare_exchange_weak_explicit(&holds->back, &first, h, memory_order_release,
                                                    memory_order_relaxed));
    transport_dpdk_holds_leave(holds);
}

uint32_t transport_dpdk_complete(struct transport_framed_endpoint *framed, uint64_t *holds,
                                 uint32_t count)
{
    struct transport_dpdk_endpoint *e = transport_dpdk_of(framed);
    uint32_t got = 0;
    if (LIKELY(e->held == 0 && e->returned == NULL))
        return 0;
    if (e->returned == NULL) {
        /* acquire, H1 <- H0: nothing of them is read any more. */
        e->returned = atomic_exchange_explicit(&e->holds->back, NULL, memory_order_acquire);
        if (e->returned != NULL)
            dpdk_press_end(&e->press);
        else
            dpdk_press(&e->press, e->queue, e->framed.receive_at);
    }
    for (; got < count && e->returned != NULL; got++) {
        struct transport_dpdk_hold *h = e->returned;
        e->returned = h->next;
        holds[got] = h->hold;
        h->next = e->holds->unused;
        e->holds->unused = h;
        e->held--;
    }
    return got;
}

/* ---- chaining ---- */

bool transport_dpdk_chain_begin(struct transport_framed_endpoint *framed,
                                const struct transport_datagram *d)
{
    struct transport_dpdk_endpoint *e = transport_dpdk_of(framed);
    struct transport_dpdk_hold *h = e->holds->unused;
    if (e->chain->chain.state != DPDK_CHAIN_PROVEN || h == NULL)
        return false;
    if (!d->is_mapped) {
        e->counters.chain_unmapped++;
        return false;
    }
    struct rte_mbuf_ext_shared_info *shared = shared_of(h);
    e->holds->unused = h->next;
    shared->free_cb = on_free;
    shared->fcb_opaque = h;
    rte_mbuf_ext_refcnt_set(shared, 1); /* ours, until chain_end */
    h->hold = d->hold;
    /* relaxed: nothing follows from one user more */
    atomic_fetch_add_explicit(&e->holds->users, 1, memory_order_relaxed);
    e->held++;
    e->chained = h;
    return true;
}

bool transport_dpdk_chain(struct transport_framed_endpoint *framed,
                          const struct frame_octets *bytes)
{
    struct transport_dpdk_endpoint *e = transport_dpdk_of(framed);
    struct rte_mbuf_ext_shared_info *shared = shared_of(e->chained);
    struct rte_mbuf *m = rte_pktmbuf_alloc(e->queue->chain_pool);
    uint16_t length = (uint16_t)bytes->length; /* at most a frame's payload */
    if (m == NULL) {
        e->counters.no_memory++;
        return false;
    }
    (void)rte_mbuf_ext_refcnt_update(shared, 1);
    /* Why the cast: DPDK has no buffers that are only read. */
    void *address = (void *)(uintptr_t)bytes->bytes;
    /* Addresses of devices are ours, or nothing is mapped (dpdk_port_map). */
    rte_pktmbuf_attach_extbuf(m, address, (rte_iova_t)(uintptr_t)address, length, shared);
    m->data_off = 0;
    m->data_len = length;
    m->pkt_len = length;
    e->rest = m;
    return true;
}

void transport_dpdk_chain_end(struct transport_framed_endpoint *framed)
{
    struct transport_dpdk_endpoint *e = transport_dpdk_of(framed);
    if (rte_mbuf_ext_refcnt_update(shared_of(e->chained), -1) == 0)
        on_free(NULL, e->chained);
    e->chained = NULL;
}
