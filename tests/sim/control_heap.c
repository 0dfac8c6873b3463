#include "tests/sim/control_heap.h"

#include "engine/base.h"

#include <raft.h>
#include <string.h>

struct control_block {
    struct control_block *next, **before;
};
_Static_assert(sizeof(struct control_block) == 16, "what follows is aligned as malloc's");

static struct control_heap *used;

void control_heap_use(struct control_heap *heap)
{
    used = heap;
}

static void link_in(struct control_block *b, struct control_block **first)
{
    b->next = *first;
    b->before = first;
    if (b->next != NULL)
        b->next->before = &b->next;
    *first = b;
}

static void link_out(struct control_block *b)
{
    *b->before = b->next;
    if (b->next != NULL)
        b->next->before = b->before;
}

static void free_all(struct control_block **first)
{
    while (*first != NULL) {
        struct control_block *b = *first;
        link_out(b);
        free(b);
    }
}

void control_heap_free_all(struct control_heap *heap)
{
    free_all(&heap->first);
    free_all(&heap->libraft);
}

static void *block_make(size_t bytes, struct control_block **first)
{
    struct control_block *b = malloc(sizeof *b + bytes);
    ASSERT(b != NULL);
    link_in(b, first);
    return b + 1;
}

void *control_malloc(size_t bytes)
{
    ASSERT(used != NULL);
    return block_make(bytes, &used->first);
}

void *control_calloc(size_t count, size_t bytes)
{
    void *memory = control_malloc(count * bytes);
    memset(memory, 0, count * bytes);
    return memory;
}

char *control_strdup(const char *text)
{
    size_t bytes = strlen(text) + 1;
    return memcpy(control_malloc(bytes), text, bytes);
}

void control_free(void *memory)
{
    if (memory == NULL)
        return;
    struct control_block *b = (struct control_block *)memory - 1;
    link_out(b);
    free(b);
}

/* ---- libraft's ---- */

static void *raft_body_malloc(void *data, size_t bytes)
{
    (void)data;
    ASSERT(used != NULL);
    return block_make(bytes, &used->libraft);
}

static void raft_body_free(void *data, void *memory)
{
    (void)data;
    control_free(memory);
}

static void *raft_body_calloc(void *data, size_t count, size_t bytes)
{
    void *memory = raft_body_malloc(data, count * bytes);
    memset(memory, 0, count * bytes);
    return memory;
}

static void *raft_body_realloc(void *data, void *memory, size_t bytes)
{
    if (memory == NULL)
        return raft_body_malloc(data, bytes);
    struct control_block *b = (struct control_block *)memory - 1;
    link_out(b);
    b = realloc(b, sizeof *b + bytes);
    ASSERT(b != NULL);
    link_in(b, &used->libraft);
    return b + 1;
}

/* Only libraft's own body asks for these, which does not run here. */
static void *raft_body_aligned(void *data, size_t alignment, size_t bytes)
{
    ASSERT(alignment <= sizeof(struct control_block));
    return raft_body_malloc(data, bytes);
}

static void raft_body_aligned_free(void *data, size_t alignment, void *memory)
{
    (void)data;
    (void)alignment;
    control_free(memory);
}

void control_heap_libraft(void)
{
    static struct raft_heap heap = {.malloc = raft_body_malloc,
                                    .free = raft_body_free,
                                    .calloc = raft_body_calloc,
                                    .realloc = raft_body_realloc,
                                    .aligned_alloc = raft_body_aligned,
                                    .aligned_free = raft_body_aligned_free};
    raft_heap_set(&heap);
}
