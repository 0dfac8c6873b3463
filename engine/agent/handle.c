#include "engine/agent/agent.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- open and close ---- */

static bool ring_bytes_valid(uint32_t bytes)
{
    return is_power_of_two(bytes) && bytes >= LIMIT_RING_BYTES_MIN && bytes <= LIMIT_RING_BYTES_MAX;
}

static void take_defaults(struct dunlin_options *o)
{
    bool few_cores = sysconf(_SC_NPROCESSORS_ONLN) <= 2;
    if (o->timeout_ns == 0)
        o->timeout_ns = AGENT_TIMEOUT_DEFAULT_NS;
    if (o->spin_ns == 0)
        o->spin_ns = few_cores ? AGENT_SPIN_FEW_CORES_NS : AGENT_SPIN_DEFAULT_NS;
    if (o->request_bytes == 0)
        o->request_bytes = 64u << 10;
    if (o->completion_bytes == 0)
        o->completion_bytes = 64u << 10;
    if (o->bulk_bytes == 0)
        o->bulk_bytes = 4u << 20;
}

static int take_options(struct dunlin *d, const struct dunlin_options *options)
{
    if (options != NULL)
        d->options = *options;
    const char *socket = d->options.socket;
    take_defaults(&d->options);
    if (socket == NULL)
        socket = getenv("DUNLIN_SOCKET");
    if (socket == NULL || socket[0] == 0)
        socket = DUNLIN_SOCKET_DEFAULT;
    if (strlen(socket) >= sizeof d->address.sun_path ||
        !ring_bytes_valid(d->options.request_bytes) ||
        !ring_bytes_valid(d->options.completion_bytes) ||
        d->options.bulk_bytes > LIMIT_BULK_BYTES_MAX || (d->options.flags & ~DUNLIN_OPEN_WAIT) != 0)
        return -EINVAL;
    d->address.sun_family = AF_UNIX;
    memcpy(d->address.sun_path, socket, strlen(socket) + 1);
    d->options.socket = d->address.sun_path;
    return 0;
}

static int take_copies(struct dunlin *d)
{
    /* Why at least eight messages' worth: the largest is a quarter of the ring. */
    uint64_t bytes = max_u64(LIMIT_AGENT_COPY_BYTES, 2 * (uint64_t)d->options.request_bytes);
    d->copies = aligned_alloc(CACHE_LINE, bytes);
    if (d->copies == NULL)
        return -ENOMEM;
    agent_fifo_init(&d->copy_pieces, bytes);
    return 0;
}

static int open_attach(struct dunlin *d)
{
    struct waiter w = agent_wait_begin(d, d->options.timeout_ns);
    uint64_t now = clock_boottime_ns();
    for (;;) {
        uint64_t left = w.deadline_ns > now ? w.deadline_ns - now : 0;
        int error = agent_attach_try(d, left);
        if (error == 0 || (error != -ENOTCONN && error != -EAGAIN))
            return error;
        if (error == -ENOTCONN && (d->options.flags & DUNLIN_OPEN_WAIT) == 0)
            return error;
        now = clock_boottime_ns();
        if (!agent_wait_pause(d, &w, WAIT_ANY_LCORE))
            return -ENOTCONN;
    }
}

int dunlin_open(const struct dunlin_options *options, struct dunlin **handle)
{
    if (handle == NULL)
        return -EINVAL;
    *handle = NULL;
    struct dunlin *d = calloc(1, sizeof *d);
    if (d == NULL)
        return -ENOMEM;
    d->try_pause_ns = AGENT_TRY_MIN_NS;
    int error = take_options(d, options);
    if (error == 0)
        error = take_copies(d);
    if (error == 0)
        error = open_attach(d);
    if (error != 0) {
        dunlin_close(d);
        return error;
    }
    *handle = d;
    return 0;
}

void dunlin_close(struct dunlin *handle)
{
    if (handle == NULL)
        return;
    agent_session_close_all(handle);
    agent_attach_free(handle->greeting);
    agent_attach_free(handle->now);
    while (handle->old != NULL) {
        struct attachment *a = handle->old;
        handle->old = a->next;
        agent_attach_free(a);
    }
    for (uint32_t i = 0; i < handle->space_count; i++) {
        agent_policy_free(handle->spaces[i]);
        free(handle->spaces[i]->sessions);
        free(handle->spaces[i]);
    }
    free(handle->copies);
    free(handle);
}

/* ---- the daemon ---- */

void dunlin_info(const struct dunlin *handle, struct dunlin_info *info)
{
    const struct layout_node *node = handle->now->node;
    *info = (struct dunlin_info){
        .start = handle->now->start,
        .node_id = node->node_id,
        .lcores = node->lcore_count,
        .lease_ns = node->lease_ns,
        .attached_count = handle->attached_count,
        .reads_by_ring = handle->reads_by_ring,
        .ended_not_led = handle->ended_not_led,
    };
    for (uint32_t i = 0; i < handle->space_count; i++) {
        const struct dunlin_space *space = handle->spaces[i];
        info->reads_in_place += space->reads_in_place;
        info->reads_retried += space->reads_retried;
        info->writes_blocked += space->writes_blocked;
        info->writes_dropped += space->writes_dropped;
        info->writes_conflated += space->writes_conflated;
        info->writes_sampled += space->writes_sampled;
    }
}

int agent_handle_attached(struct dunlin *d, const struct waiter *w)
{
    while (!agent_attach_look(d))
        if (!agent_wait_pause(d, w, WAIT_ANY_LCORE))
            return -ENOTCONN;
    return 0;
}

int dunlin_ping(struct dunlin *handle, uint32_t lcore)
{
    struct ask_message m = {.head = {.head = {.operation = RING_NOP}}};
    if (handle == NULL)
        return -EINVAL;
    struct waiter w = agent_wait_begin(handle, handle->options.timeout_ns);
    int error = agent_attached(handle) ? 0 : agent_handle_attached(handle, &w);
    if (error != 0)
        return error;
    if (lcore >= handle->now->lcore_count)
        return -EINVAL;
    struct operation *o = agent_operation_take(handle, true);
    if (o == NULL)
        return -ENOTCONN;
    o->lcore = lcore;
    error = agent_ask(handle, o, &m, &w);
    if (error != 0)
        return -ENOTCONN;
    error = o->result;
    agent_operation_free(handle, o);
    return error;
}
