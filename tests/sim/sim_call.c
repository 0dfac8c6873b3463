#include "tests/sim/sim_call.h"

#include "tests/sim/sim.h"
#include "tests/unit/engine/hooked_atomics.h"

static struct sim_call *running; /* NULL: loads are nobody's steps */
static uint64_t budget;          /* steps until it stands still */

/* ---- the hooks ---- */

void interleave_point(void)
{
    if (running == NULL || --budget != 0)
        return;
    running->split = true;
    coroutine_yield(running->coroutine);
}

/* Readers store to memory of their own only. */
void interleave_store(uintptr_t address)
{
    (void)address;
}

void interleave_loaded(uintptr_t address, uint64_t value)
{
    (void)address;
    (void)value;
}

/* ---- calls ---- */

/* Few steps, or about those of a page or a batch, or all. */
static uint64_t budget_choose(struct sim *s)
{
    switch (sim_below(s, 4)) {
    case 0:
        return 1 + sim_below(s, 20);
    case 1:
        return 1 + sim_below(s, 400);
    case 2:
        return 1 + sim_below(s, 4000);
    default:
        return UINT64_MAX;
    }
}

static void work(void *argument)
{
    struct sim_call *c = argument;
    for (;;) {
        c->run(c->argument);
        c->is_amid = false;
        coroutine_yield(c->coroutine);
    }
}

void sim_call_begin(struct sim_call *c, void (*run)(void *argument), void *argument)
{
    ASSERT(!c->is_amid);
    c->run = run;
    c->argument = argument;
    c->is_amid = true;
    c->split = false;
}

bool sim_call_go_on(struct sim *s, struct sim_call *c)
{
    ASSERT(c->is_amid && running == NULL);
    if (c->coroutine == NULL)
        c->coroutine = coroutine_make(work, c);
    budget = budget_choose(s);
    running = c;
    bool lives = coroutine_resume(c->coroutine);
    ASSERT(lives);
    running = NULL;
    /* Long enough, now and then, for the memory that it reads to be used again. */
    c->wakes = s->time + (sim_chance(s, 4) ? sim_below(s, 200000000) : 0);
    return !c->is_amid;
}

void sim_call_drop(struct sim_call *c)
{
    if (c->coroutine != NULL)
        coroutine_free(c->coroutine);
    *c = (struct sim_call){.is_amid = false};
}
