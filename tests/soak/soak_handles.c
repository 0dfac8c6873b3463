/* Handles that come and go: each writes one key in every shard and is closed.  The space admits fewer
 * sessions than there are handles in a run, so one that is not forgotten by its close is missed: -EUSERS. */
#include "tests/soak/soak.h"

#include <stdio.h>
#include <string.h>

#define KEYS 8u
#define PAUSE_MS 20u

static struct soak_thread visitor;

/* Writes at the node, with a handle of its own. */
static void visit(struct soak_thread *t)
{
    struct soak_thread guest = {.node = (uint32_t)soak_below(t, SOAK_NODES),
                                .random = e2e_random(&t->random)};
    const struct dunlin_options options = {.socket = soak_socket(guest.node),
                                           .timeout_ns = SOAK_TIMEOUT_MS * NS_PER_MS,
                                           .bulk_bytes = 65536,
                                           .flags = DUNLIN_OPEN_WAIT};
    int error = dunlin_open(&options, &guest.handle);
    if (error == 0)
        error = dunlin_space(guest.handle, SOAK_SPACE, &guest.space);
    for (uint32_t i = 0; error == 0 && i < KEYS; i++) {
        char name[16];
        int length = snprintf(name, sizeof name, "h/%u", i);
        const struct dunlin_write write = {.operation = DUNLIN_PUT,
                                           .key = name,
                                           .key_length = (size_t)length,
                                           .value = "here",
                                           .value_length = 4};
        error = soak_write(&guest, &write, NULL, NULL);
    }
    if (error == 0)
        soak_count(SOAK_HANDLES);
    else if (!soak_unavailable(error))
        e2e_fail("a handle at node %u: %s", guest.node + 1, strerror(-error));
    dunlin_close(guest.handle);
}

static void *visitor_run(void *context)
{
    while (!soak_over()) {
        visit(context);
        e2e_sleep_ms(PAUSE_MS);
    }
    return NULL;
}

void soak_handles_begin(void)
{
    soak_start(&visitor, 0, visitor_run);
}

void soak_handles_end(void)
{
    soak_join(&visitor);
}
