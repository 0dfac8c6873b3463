/* sim_call - a read in place of which every atomic load is a step: between any two of them it may stand
 * still, for a moment or for longer than a lease, while nodes go on writing.
 *
 * Pure: a stack of its own in the same thread.  The engine's readers are built once more for the simulator,
 * with a hook in front of each load (tests/unit/engine/hooked_atomics.h); reads that are no such call pass
 * the hook by.  How far a call goes, the seed says, so the same seed takes the same steps. */
#ifndef DUNLIN_TESTS_SIM_SIM_CALL_H
#define DUNLIN_TESTS_SIM_SIM_CALL_H

#include "tests/unit/engine/coroutine.h"

#include <stdbool.h>
#include <stdint.h>

struct sim;

/* Zeroed; it stays where it is. */
struct sim_call {
    struct coroutine *coroutine; /* NULL: none was made yet */
    void (*run)(void *argument);
    void *argument;
    bool is_amid;   /* it has begun, and not ended */
    bool split;     /* it stood still since it began */
    uint64_t wakes; /* then it is to go on, or later */
};

/* What is carried out next, from its beginning; nothing is under way. */
void sim_call_begin(struct sim_call *c, void (*run)(void *argument), void *argument);
/* Go on for some steps.  True: it has ended. */
bool sim_call_go_on(struct sim *s, struct sim_call *c);
/* It is given up, wherever it stands. */
void sim_call_drop(struct sim_call *c);

#endif
