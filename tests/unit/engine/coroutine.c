#include "tests/unit/engine/coroutine.h"

#include "engine/base.h"

#include <stdlib.h>
#include <ucontext.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COROUTINE_ASAN 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define COROUTINE_ASAN 1
#endif

#ifdef COROUTINE_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

#define STACK_BYTES (256u << 10)

struct coroutine {
    ucontext_t inner, outer;
    void (*run)(void *argument);
    void *argument;
    uint8_t *stack;
    bool inside, ended;
#ifdef COROUTINE_ASAN
    void *fake_inner, *fake_outer;
    const void *outer_stack;
    size_t outer_bytes;
#endif
};

static void enter(struct coroutine *c)
{
    c->inside = true;
#ifdef COROUTINE_ASAN
    __sanitizer_start_switch_fiber(&c->fake_outer, c->stack, STACK_BYTES);
#endif
    ASSERT(swapcontext(&c->outer, &c->inner) == 0);
#ifdef COROUTINE_ASAN
    __sanitizer_finish_switch_fiber(c->fake_outer, NULL, NULL);
#endif
}

static void leave(struct coroutine *c)
{
    c->inside = false;
#ifdef COROUTINE_ASAN
    __sanitizer_start_switch_fiber(c->ended ? NULL : &c->fake_inner, c->outer_stack,
                                   c->outer_bytes);
#endif
    ASSERT(swapcontext(&c->inner, &c->outer) == 0);
#ifdef COROUTINE_ASAN
    __sanitizer_finish_switch_fiber(c->fake_inner, &c->outer_stack, &c->outer_bytes);
#endif
}

/* makecontext passes ints only: the pointer comes in two. */
static void trampoline(unsigned high, unsigned low)
{
    struct coroutine *c = (struct coroutine *)((uintptr_t)high << 32 | low);
#ifdef COROUTINE_ASAN
    __sanitizer_finish_switch_fiber(NULL, &c->outer_stack, &c->outer_bytes);
#endif
    c->run(c->argument);
    c->ended = true;
    leave(c);
}

struct coroutine *coroutine_make(void (*run)(void *argument), void *argument)
{
    struct coroutine *c = calloc(1, sizeof *c);
    ASSERT(c != NULL);
    c->stack = malloc(STACK_BYTES);
    ASSERT(c->stack != NULL);
    c->run = run;
    c->argument = argument;
    ASSERT(getcontext(&c->inner) == 0);
    c->inner.uc_stack.ss_sp = c->stack;
    c->inner.uc_stack.ss_size = STACK_BYTES;
    c->inner.uc_link = NULL;
    uintptr_t self = (uintptr_t)c;
    makecontext(&c->inner, (void (*)(void))trampoline, 2, (unsigned)(self >> 32), (unsigned)self);
    return c;
}

void coroutine_free(struct coroutine *c)
{
    free(c->stack);
    free(c);
}

bool coroutine_resume(struct coroutine *c)
{
    ASSERT(!c->inside && !c->ended);
    enter(c);
    return !c->ended;
}

void coroutine_yield(struct coroutine *c)
{
    ASSERT(c->inside);
    leave(c);
}

bool coroutine_is_inside(const struct coroutine *c)
{
    return c->inside;
}
