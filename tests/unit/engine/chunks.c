#include "tests/unit/engine/chunks.h"

#include <string.h>

#define PASSES_MAX 20000u

const struct chunks_memory *chunks_memory;

uint32_t chunks_count(const struct fixture *f)
{
    return atomic_load_explicit(&f->header->chunk_count, memory_order_relaxed);
}

static uint64_t leave_word(const struct fixture *f)
{
    return atomic_load_explicit(&f->header->leave, memory_order_relaxed);
}

static void leave_store(struct fixture *f, uint32_t chunk)
{
    uint32_t number = (uint32_t)(leave_word(f) >> 32) + 1;
    atomic_store_explicit(&f->header->leave, layout_leave(number, chunk), memory_order_release);
}

void chunks_map(struct fixture *f)
{
    f->space.arena_generation =
        atomic_load_explicit(&f->header->arena_generation, memory_order_acquire);
    f->space.mapped_bytes = (uint64_t)chunks_count(f) << f->geometry.chunk_shift;
}

static void chunk_fill(struct fixture *f, uint32_t chunk, int byte)
{
    memset(f->arena + ((uint64_t)chunk << f->geometry.chunk_shift), byte,
           (size_t)1 << f->geometry.chunk_shift);
}

uint32_t chunks_grow(struct fixture *f)
{
    uint32_t wanted = atomic_load_explicit(f->chunks_wanted, memory_order_relaxed);
    uint32_t count = chunks_count(f), made = 0;
    wanted = wanted < f->geometry.chunk_count_max ? wanted : f->geometry.chunk_count_max;
    for (; count < wanted; count++, made++) {
        uint32_t generation =
            atomic_load_explicit(&f->header->arena_generation, memory_order_relaxed);
        if (chunks_memory != NULL)
            chunks_memory->make(f, count);
        else
            chunk_fill(f, count, 0);
        atomic_store_explicit(layout_chunk_generation(f->header, count), generation,
                              memory_order_relaxed);
        atomic_store_explicit(&f->header->chunk_count, count + 1, memory_order_release);
    }
    return made;
}

void chunks_leave(struct fixture *f, uint32_t chunk)
{
    atomic_store_explicit(f->chunks_wanted, chunk, memory_order_relaxed);
    leave_store(f, chunk);
}

bool chunks_leaving(const struct fixture *f)
{
    uint64_t word = leave_word(f);
    return word != 0 && (uint32_t)word != LAYOUT_LEAVE_NONE;
}

int chunks_answer(const struct fixture *f)
{
    uint64_t answer = atomic_load_explicit(&f->board->leave_answer, memory_order_acquire);
    if (answer == (leave_word(f) | LAYOUT_LEAVE_REFUSED))
        return -EBUSY;
    return answer == leave_word(f);
}

void chunks_take(struct fixture *f)
{
    uint32_t chunk = (uint32_t)leave_word(f), count = chunks_count(f);
    uint32_t generation = atomic_load_explicit(&f->header->arena_generation, memory_order_relaxed);
    atomic_store_explicit(&f->header->chunk_count, chunk, memory_order_release);
    atomic_store_explicit(&f->header->arena_generation, generation + 1, memory_order_release);
    while (count-- > chunk) {
        if (chunks_memory != NULL)
            chunks_memory->drop(f, count);
        else
            chunk_fill(f, count, 0xa5);
    }
    leave_store(f, LAYOUT_LEAVE_NONE);
}

void chunks_give_up(struct fixture *f)
{
    leave_store(f, LAYOUT_LEAVE_NONE);
}

bool chunks_shrink(struct fixture *f, uint32_t chunk)
{
    chunks_leave(f, chunk);
    for (uint32_t i = 0; i < PASSES_MAX && chunks_answer(f) == 0; i++)
        (void)fixture_maintain(f);
    bool left = chunks_answer(f) == 1;
    if (left)
        chunks_take(f);
    else
        chunks_give_up(f);
    chunks_map(f);
    (void)fixture_maintain(f);
    return left;
}
