/* hooked_atomics - put in front of every engine source of a test's own build (-include): each
 * atomic load first calls interleave_point, each store interleave_store, where another coroutine
 * may be let run.  What a load gave is told to interleave_loaded, so that a test can count what its
 * readers met.
 *
 * Orders stay as written but prove nothing here: one thread, so all is sequentially consistent.
 * What is tested is the order of the steps, not of the memory. */
#ifndef DUNLIN_TESTS_UNIT_ENGINE_HOOKED_ATOMICS_H
#define DUNLIN_TESTS_UNIT_ENGINE_HOOKED_ATOMICS_H

#include <stdatomic.h>
#include <stdint.h>

void interleave_point(void);
void interleave_store(uintptr_t address);
void interleave_loaded(uintptr_t address, uint64_t value);

#ifdef __clang__
#define HOOKED_LOAD(p, order) __c11_atomic_load((p), (order))
#define HOOKED_STORE(p, v, order) __c11_atomic_store((p), (v), (order))
#else
#define HOOKED_LOAD(p, order) __atomic_load_n((p), (order))
#define HOOKED_STORE(p, v, order) __atomic_store_n((p), (v), (order))
#endif

#undef atomic_load_explicit
#define atomic_load_explicit(p, order)                                                             \
    __extension__({                                                                                \
        __auto_type hooked_from = (p);                                                             \
        interleave_point();                                                                        \
        __auto_type hooked_value = HOOKED_LOAD(hooked_from, (order));                              \
        interleave_loaded((uintptr_t)hooked_from, (uint64_t)hooked_value);                         \
        hooked_value;                                                                              \
    })

#undef atomic_store_explicit
#define atomic_store_explicit(p, v, order)                                                         \
    __extension__({                                                                                \
        __auto_type hooked_to = (p);                                                               \
        interleave_store((uintptr_t)hooked_to);                                                    \
        HOOKED_STORE(hooked_to, (v), (order));                                                     \
    })

#endif
