#include "bench/dpdk_ring.h"

#include <stdlib.h>
#include <string.h>

#include <rte_ring.h>
#include <rte_ring_elem.h>

#define ELEMENTS (DUO_RING_BYTES / DUO_MESSAGE_BYTES)
#define FLAGS (RING_F_SP_ENQ | RING_F_SC_DEQ)

struct message {
    alignas(CACHE_LINE) uint64_t number;
    uint64_t payload[DUO_WORDS];
};

struct dpdk_ring {
    struct rte_ring *there, *back, *stream;
};

static struct rte_ring *ring_new(const char *name, uint32_t element_bytes)
{
    ssize_t bytes = rte_ring_get_memsize_elem(element_bytes, ELEMENTS);
    if (bytes < 0)
        return NULL;
    struct rte_ring *r = aligned_alloc(PAGE, align_up((uint64_t)bytes, PAGE));
    if (r == NULL)
        return NULL;
    memset(r, 0, (size_t)bytes);
    if (rte_ring_init(r, name, ELEMENTS, FLAGS) != 0) {
        free(r);
        return NULL;
    }
    return r;
}

struct dpdk_ring *dpdk_ring_new(void)
{
    struct dpdk_ring *d = calloc(1, sizeof *d);
    if (d == NULL)
        return NULL;
    d->there = ring_new("there", sizeof(void *));
    d->back = ring_new("back", sizeof(void *));
    d->stream = ring_new("stream", DUO_MESSAGE_BYTES);
    if (d->there == NULL || d->back == NULL || d->stream == NULL) {
        dpdk_ring_delete(d);
        return NULL;
    }
    return d;
}

void dpdk_ring_delete(struct dpdk_ring *d)
{
    free(d->stream);
    free(d->back);
    free(d->there);
    free(d);
}

static void echo(void *channel, const _Atomic uint32_t *stop)
{
    struct dpdk_ring *d = channel;
    void *object;
    while (atomic_load_explicit(stop, memory_order_relaxed) == 0)
        if (rte_ring_sc_dequeue(d->there, &object) == 0)
            while (rte_ring_sp_enqueue(d->back, object) != 0)
                continue;
}

static void exchange(void *channel, uint32_t count)
{
    struct dpdk_ring *d = channel;
    while (count-- > 0) {
        void *object = d;
        while (rte_ring_sp_enqueue(d->there, object) != 0)
            continue;
        while (rte_ring_sc_dequeue(d->back, &object) != 0)
            continue;
    }
}

static void sink(void *channel, struct duo_sink *out, const _Atomic uint32_t *stop)
{
    struct dpdk_ring *d = channel;
    struct message burst[DUO_BURST];
    uint64_t taken = atomic_load_explicit(&out->taken, memory_order_relaxed);
    while (atomic_load_explicit(stop, memory_order_relaxed) == 0) {
        uint32_t count =
            rte_ring_sc_dequeue_burst_elem(d->stream, burst, sizeof burst[0], DUO_BURST, NULL);
        for (uint32_t i = 0; i < count; i++)
            out->sum += duo_read(burst[i].payload);
        if (count != 0) {
            taken += count;
            atomic_store_explicit(&out->taken, taken, memory_order_relaxed);
        }
    }
}

static void pour(void *channel, uint64_t first, uint32_t count)
{
    struct dpdk_ring *d = channel;
    struct message burst[DUO_BURST];
    for (uint64_t n = first; n < first + count; n += DUO_BURST) {
        for (uint32_t i = 0; i < DUO_BURST; i++) {
            burst[i].number = n + i;
            duo_fill(burst[i].payload, n + i);
        }
        uint32_t sent = 0;
        while (sent < DUO_BURST)
            sent += rte_ring_sp_enqueue_burst_elem(d->stream, burst + sent, sizeof burst[0],
                                                   DUO_BURST - sent, NULL);
    }
}

const struct duo_channel dpdk_ring_channel = {
    .echo = echo, .sink = sink, .exchange = exchange, .pour = pour};
