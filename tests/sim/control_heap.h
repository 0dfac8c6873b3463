/* control_heap - memory of the simulated process that runs at the moment: what it has when it is killed
 * is freed, what it has when it ends by itself is a leak.
 *
 * Put in front of sources of the control plane (-include), its macros take the place of malloc and its kin;
 * libraft gets the same heap by raft_heap_set.  One thread. */
#ifndef DUNLIN_TESTS_SIM_CONTROL_HEAP_H
#define DUNLIN_TESTS_SIM_CONTROL_HEAP_H

#include <stddef.h>
#include <stdlib.h>

struct control_heap {
    struct control_block *first;
    struct control_block
        *libraft; /* which leaks a few bytes where a snapshot was on its way as it closed */
};

/* Whose memory is meant from here on; NULL: there is to be no call. */
void control_heap_use(struct control_heap *heap);
void control_heap_free_all(struct control_heap *heap);
/* libraft's memory, too. */
void control_heap_libraft(void);

void *control_malloc(size_t bytes);
void *control_calloc(size_t count, size_t bytes);
char *control_strdup(const char *text);
void control_free(void *memory);

#ifdef CONTROL_HEAP
#define malloc(bytes) control_malloc(bytes)
#define calloc(count, bytes) control_calloc((count), (bytes))
#define strdup(text) control_strdup(text)
#define free(memory) control_free(memory)
#endif

#endif
