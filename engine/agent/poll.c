#include "engine/agent/agent.h"

#define POLLS_BEFORE_LOOK 64u /* that found nothing and did not wait */

/* Completions that are there, oldest first. */
static size_t collect(struct dunlin *d, struct dunlin_completion *completions, size_t capacity)
{
    size_t count = 0;
    while (count < capacity && d->done_first != NULL) {
        struct operation *o = d->done_first;
        d->done_first = o->next;
        if (d->done_first == NULL)
            d->done_last = NULL;
        completions[count++] = (struct dunlin_completion){
            .context = o->context,
            .result = o->result,
            .space = o->space,
            .version = o->version,
            .number = o->number,
            .conflated = o->conflated,
        };
        agent_operation_free(d, o);
    }
    while (count < capacity && agent_policy_collect(d, &completions[count]))
        count++;
    d->in_flight -= count;
    return count;
}

size_t dunlin_poll(struct dunlin *handle, struct dunlin_completion *completions, size_t capacity,
                   uint64_t timeout_ns)
{
    if (handle == NULL || completions == NULL || capacity == 0)
        return 0;
    agent_complete_all(handle);
    size_t count = collect(handle, completions, capacity);
    if (count != 0 || handle->in_flight == 0)
        return count;
    if (timeout_ns == 0) {
        if (handle->polls_in_vain++ % POLLS_BEFORE_LOOK == 0 && !agent_attach_look(handle))
            count = collect(handle, completions, capacity); /* given up, perhaps */
        return count;
    }
    struct waiter w = agent_wait_begin(handle, timeout_ns);
    while (count == 0 && handle->in_flight != 0 && agent_wait_pause(handle, &w, WAIT_ANY_LCORE)) {
        agent_complete_all(handle);
        count = collect(handle, completions, capacity);
    }
    return count;
}

size_t dunlin_in_flight(const struct dunlin *handle)
{
    return handle != NULL ? handle->in_flight : 0;
}
