#include "bench/lines.h"

#include <stdlib.h>
#include <string.h>

#define CELLS (DUO_RING_BYTES / CACHE_LINE)

struct line {
    alignas(CACHE_LINE) _Atomic uint64_t word;
    uint64_t payload[DUO_WORDS];
};

struct lines {
    struct line there, back;
    struct line freed;                  /* written by the sink: messages it has done with */
    struct line cells[CELLS];           /* word: number of the message in it, from 1 */
    uint64_t exchanged;                 /* caller */
    uint64_t freed_seen;                /* caller */
    alignas(CACHE_LINE) uint64_t taken; /* sink */
};

struct lines *lines_new(void)
{
    struct lines *l = aligned_alloc(PAGE, align_up(sizeof *l, PAGE));
    if (l != NULL)
        memset(l, 0, sizeof *l);
    return l;
}

void lines_delete(struct lines *l)
{
    free(l);
}

static void echo(void *channel, const _Atomic uint32_t *stop)
{
    struct lines *l = channel;
    uint64_t seen = atomic_load_explicit(&l->back.word, memory_order_relaxed);
    while (atomic_load_explicit(stop, memory_order_relaxed) == 0) {
        /* acquire and release: as a message's payload would need */
        uint64_t word = atomic_load_explicit(&l->there.word, memory_order_acquire);
        if (word != seen) {
            atomic_store_explicit(&l->back.word, word, memory_order_release);
            seen = word;
        }
    }
}

static void exchange(void *channel, uint32_t count)
{
    struct lines *l = channel;
    while (count-- > 0) {
        uint64_t word = ++l->exchanged;
        atomic_store_explicit(&l->there.word, word, memory_order_release);
        while (atomic_load_explicit(&l->back.word, memory_order_acquire) != word)
            continue;
    }
}

static void sink(void *channel, struct duo_sink *out, const _Atomic uint32_t *stop)
{
    struct lines *l = channel;
    uint64_t taken = l->taken, sum = out->sum;
    while (atomic_load_explicit(stop, memory_order_relaxed) == 0) {
        struct line *cell = &l->cells[taken % CELLS];
        if (atomic_load_explicit(&cell->word, memory_order_acquire) != taken + 1)
            continue;
        sum += duo_read(cell->payload);
        if (++taken % DUO_BURST == 0) {
            atomic_store_explicit(&l->freed.word, taken, memory_order_release);
            atomic_store_explicit(&out->taken, taken, memory_order_relaxed);
        }
    }
    l->taken = taken;
    out->sum = sum;
}

static void pour(void *channel, uint64_t first, uint32_t count)
{
    struct lines *l = channel;
    for (uint64_t n = first; n < first + count; n++) {
        while (n - l->freed_seen >= CELLS)
            l->freed_seen = atomic_load_explicit(&l->freed.word, memory_order_acquire);
        struct line *cell = &l->cells[n % CELLS];
        duo_fill(cell->payload, n);
        atomic_store_explicit(&cell->word, n + 1, memory_order_release);
    }
}

const struct duo_channel lines_channel = {
    .echo = echo, .sink = sink, .exchange = exchange, .pour = pour};
