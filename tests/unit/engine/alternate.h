/* alternate - a reader and a writer on two stacks of one thread, each of which runs on for some steps, from one
 * to thousands, before the other does; which of them, a seed says.  For tests built with hooked_atomics.h: a
 * step is an atomic load or store. */
#ifndef DUNLIN_TESTS_UNIT_ENGINE_ALTERNATE_H
#define DUNLIN_TESTS_UNIT_ENGINE_ALTERNATE_H

#include "engine/base.h"
#include "tests/unit/engine/coroutine.h"

extern struct alternate {
    struct coroutine *reader;
    uint64_t random; /* state */
    uint64_t budget; /* steps until the other side runs */
    /* of a stretch of middle length, at most; constant */
    uint32_t reader_steps, writer_steps;
    bool active; /* false: steps of what is private to the test count for nothing */
    bool reader_done;
} alternate;

uint32_t alternate_below(uint32_t n);

/* The reader stands at its beginning; the caller is the writer, until reader_done. */
void alternate_begin(uint64_t seed, void (*reader)(void *));
/* The reader is gone, wherever it stood. */
void alternate_end(void);

/* run each seed from 1 to count, until there are *failures, and return true; where DUNLIN_SEED is set, that seed
 * alone, and return false. */
bool alternate_seeds(uint64_t count, void (*run)(uint64_t seed), const uint32_t *failures);

#endif
