/* chunks - what control does with the chunks of a fixture's arena: make them, have the shard leave them,
 * take them away and make them again.  What is taken is filled with bytes that are nobody's; what is made is
 * zeroed. */
#ifndef DUNLIN_TESTS_UNIT_ENGINE_CHUNKS_H
#define DUNLIN_TESTS_UNIT_ENGINE_CHUNKS_H

#include "tests/unit/engine/fixture.h"

/* What makes and takes the memory of a chunk, where bytes in the fixture's block will not do. */
struct chunks_memory {
    void (*make)(struct fixture *f, uint32_t chunk);
    void (*drop)(struct fixture *f, uint32_t chunk);
};
extern const struct chunks_memory *chunks_memory; /* NULL: they will */

uint32_t chunks_count(const struct fixture *f);
/* The fixture's reader maps what is there. */
void chunks_map(struct fixture *f);
/* Make those up to what the shard wants.  Returns how many. */
uint32_t chunks_grow(struct fixture *f);
/* This chunk and those behind it are to be left. */
void chunks_leave(struct fixture *f, uint32_t chunk);
bool chunks_leaving(const struct fixture *f);
/* What the shard said: 0 nothing yet, 1 it left, -EBUSY it refused. */
int chunks_answer(const struct fixture *f);
/* They are gone; the shard learns of it in its next housekeeping, the fixture's reader by chunks_map. */
void chunks_take(struct fixture *f);
/* They stay after all. */
void chunks_give_up(struct fixture *f);
/* Have the shard leave, let it work until it has answered, and take them.  False: it refused, or did not
 * come to an end. */
bool chunks_shrink(struct fixture *f, uint32_t chunk);

#endif
