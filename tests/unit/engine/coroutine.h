/* coroutine - one more stack in the same thread, resumed and yielded by hand; sanitizers are told.
 */
#ifndef DUNLIN_TESTS_UNIT_ENGINE_COROUTINE_H
#define DUNLIN_TESTS_UNIT_ENGINE_COROUTINE_H

#include <stdbool.h>

struct coroutine;

/* run(argument) starts at the first resume.  Aborts without memory. */
struct coroutine *coroutine_make(void (*run)(void *argument), void *argument);
void coroutine_free(struct coroutine *c);

/* From outside: go on in c until it yields or ends.  False: it has ended. */
bool coroutine_resume(struct coroutine *c);
/* From inside: back to who resumed. */
void coroutine_yield(struct coroutine *c);
bool coroutine_is_inside(const struct coroutine *c);

#endif
