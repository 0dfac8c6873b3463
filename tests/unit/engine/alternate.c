#include "tests/unit/engine/alternate.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/engine/hooked_atomics.h"

#include <stdlib.h>

struct alternate alternate;

uint32_t alternate_below(uint32_t n)
{
    return fixture_below(&alternate.random, n);
}

static uint64_t steps(bool reader)
{
    switch (alternate_below(4)) {
    case 0:
        return 1 + alternate_below(4);
    case 1:
        return 1 + alternate_below(100);
    case 2:
        return 1 + alternate_below(reader ? alternate.reader_steps : alternate.writer_steps);
    default:
        return 1 + alternate_below(reader ? 4000 : 60000);
    }
}

static void step(void)
{
    if (!alternate.active || --alternate.budget != 0)
        return;
    if (coroutine_is_inside(alternate.reader)) {
        coroutine_yield(alternate.reader);
        return;
    }
    alternate.budget = steps(true);
    alternate.reader_done |= !coroutine_resume(alternate.reader);
    alternate.active = !alternate.reader_done;
    alternate.budget = steps(false);
}

void interleave_point(void)
{
    step();
}

void interleave_store(uintptr_t address)
{
    (void)address;
    step();
}

void interleave_loaded(uintptr_t address, uint64_t value)
{
    (void)address;
    (void)value;
}

void alternate_begin(uint64_t seed, void (*reader)(void *))
{
    alternate.random = seed;
    alternate.reader = coroutine_make(reader, NULL);
    alternate.reader_done = false;
    alternate.budget = steps(false);
    alternate.active = true;
}

void alternate_end(void)
{
    alternate.active = false;
    coroutine_free(alternate.reader);
}

bool alternate_seeds(uint64_t count, void (*run)(uint64_t seed), const uint32_t *failures)
{
    const char *only = getenv("DUNLIN_SEED");
    if (only != NULL)
        run(strtoull(only, NULL, 10));
    for (uint64_t seed = 1; only == NULL && seed <= count && *failures == 0; seed++)
        run(seed);
    return only == NULL;
}
