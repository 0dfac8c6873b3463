#include "dataplane/agent_rate.h"
#include "dataplane/guard.h"
#include "dataplane/node.h"
#include "engine/rcu.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; older headers lack it */
#endif

/* Rings up to this size are faulted in at attach, so that the first messages do not pay for it;
 * what lies behind, and the bulk buffer, costs memory only when it is used. */
#define POPULATE_BYTES_MAX (UINT64_C(2) << 20)

static bool ring_bytes_are_valid(uint32_t bytes)
{
    return is_power_of_two(bytes) && bytes >= LIMIT_RING_BYTES_MIN && bytes <= LIMIT_RING_BYTES_MAX;
}

static int file_geometry(const struct node *n, const struct ring_file *wanted, struct ring_file *f)
{
    *f = (struct ring_file){
        .magic = LAYOUT_MAGIC_AGENT,
        .fingerprint = LAYOUT_FINGERPRINT,
        .lcore_count = n->config.lcore_count,
        .request_bytes = wanted->request_bytes != 0 ? wanted->request_bytes : NODE_RING_BYTES,
        .completion_bytes =
            wanted->completion_bytes != 0 ? wanted->completion_bytes : NODE_RING_BYTES,
        .bulk_bytes = wanted->bulk_bytes,
    };
    if (!ring_bytes_are_valid(f->request_bytes) || !ring_bytes_are_valid(f->completion_bytes) ||
        f->bulk_bytes > LIMIT_BULK_BYTES_MAX)
        return -EINVAL;
    f->bytes = ring_file_bytes(f);
    return 0;
}

/* The lowest free slot, so that sweeps stay short.  Returns it, or -EUSERS. */
static int free_slot(const struct node *n, uint32_t uid, uint32_t own_uid)
{
    int slot = -EUSERS;
    uint32_t of_uid = 0;
    for (uint32_t i = 0; i < LIMIT_AGENTS; i++) {
        /* relaxed: control is the only writer and this is control. */
        const struct agent *a = atomic_load_explicit(&n->agents[i], memory_order_relaxed);
        if (a == NULL && slot < 0)
            slot = (int)i;
        if (a != NULL && a->uid == uid)
            of_uid++;
    }
    bool trusted = uid == 0 || uid == own_uid;
    return trusted || of_uid < LIMIT_AGENTS_PER_UID ? slot : -EUSERS;
}

static int memory_prepare(struct agent *a)
{
    int error =
        memory_create(&a->memory, "dunlin-agent", a->file.bytes, MEMORY_SHARED, false, NULL);
    if (error != 0)
        return error;
    /* Why small pages: the agent may punch holes, and a hole should cost one small page again.
     * Why results are ignored: on a kernel that knows neither, the pages come when they are used.
     */
    (void)madvise(a->memory.base, a->memory.bytes, MADV_NOHUGEPAGE);
    uint64_t rings = min_u64(ring_file_bulk(&a->file), POPULATE_BYTES_MAX);
    (void)madvise(a->memory.base, rings, MADV_POPULATE_WRITE);
    return 0;
}

static void rings_join(struct agent *a)
{
    uint8_t *base = a->memory.base;
    struct ring_file *header = (struct ring_file *)(void *)base;
    *header = a->file;
    a->pins = &header->pins;
    a->bulk = base + ring_file_bulk(&a->file);
    for (uint32_t i = 0; i < a->file.lcore_count; i++) {
        void *request = base + ring_file_shared(&a->file, i, false);
        void *completion = base + ring_file_shared(&a->file, i, true);
        ring_join(&a->rings[i].request, request, base + ring_file_data(&a->file, i, false),
                  a->file.request_bytes);
        ring_join(&a->rings[i].completion, completion, base + ring_file_data(&a->file, i, true),
                  a->file.completion_bytes);
    }
}

static int event_fds_open(const struct node *n, struct agent *a)
{
    for (uint32_t i = 0; i < n->config.lcore_count; i++) {
        a->event_fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (a->event_fds[i] < 0)
            return -errno;
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = a->slot};
        if (epoll_ctl(n->sleep_fds[i], EPOLL_CTL_ADD, a->event_fds[i], &event) != 0)
            return -errno;
    }
    return 0;
}

/* Why DEL before close: the agent has the same open file, and epoll would go on reporting it. */
static void event_fds_close(const struct node *n, struct agent *a)
{
    for (uint32_t i = 0; i < n->config.lcore_count; i++) {
        if (a->event_fds[i] < 0)
            continue;
        (void)epoll_ctl(n->sleep_fds[i], EPOLL_CTL_DEL, a->event_fds[i], NULL);
        (void)close(a->event_fds[i]);
    }
}

static void access_of_space(const struct node *n, struct agent *a, uint32_t id, uint32_t own_uid)
{
    const struct node_space *s = n->spaces[id];
    uint8_t access = 0;
    if (s != NULL && space_access_allows(&s->config.read, a->uid, own_uid))
        access |= AGENT_MAY_READ;
    if (s != NULL && space_access_allows(&s->config.write, a->uid, own_uid))
        access |= AGENT_MAY_WRITE;
    /* relaxed: lcores meet a space after this (S1, node_change.h); what is altered counts from soon on */
    atomic_store_explicit(&a->access[id], access, memory_order_relaxed);
}

static void access_resolve(const struct node *n, struct agent *a, uint32_t own_uid)
{
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++)
        access_of_space(n, a, id, own_uid);
}

void node_access_resolve(struct node *n, uint32_t space, uint32_t own_uid)
{
    for (uint32_t i = 0; i < LIMIT_AGENTS; i++) {
        /* relaxed: control is the only writer and this is control. */
        struct agent *a = atomic_load_explicit(&n->agents[i], memory_order_relaxed);
        if (a != NULL)
            access_of_space(n, a, space, own_uid);
    }
}

static void agent_free(const struct node *n, struct agent *a)
{
    event_fds_close(n, a);
    memory_destroy(&a->memory, false);
    free(a);
}

static void publish(struct node *n, struct agent *a)
{
    a->generation = ++n->agent_generation;
    atomic_store_explicit(&n->agents[a->slot], a, memory_order_release); /* N1 */
    uint32_t slots = atomic_load_explicit(&n->agent_slots, memory_order_relaxed);
    if (a->slot >= slots)
        /* release: a sweep that goes so far sees the slot */
        atomic_store_explicit(&n->agent_slots, a->slot + 1, memory_order_release);
}

int node_agent_attach(struct node *n, uint32_t uid, uint32_t own_uid,
                      const struct ring_file *wanted, struct agent **agent)
{
    struct ring_file file;
    int error = file_geometry(n, wanted, &file);
    if (error != 0)
        return error;
    int slot = free_slot(n, uid, own_uid);
    if (slot < 0)
        return slot;
    struct agent *a = aligned_alloc(alignof(struct agent), sizeof(struct agent));
    if (a == NULL)
        return -ENOMEM;
    *a = (struct agent){.slot = (uint32_t)slot, .uid = uid, .file = file, .memory.fd = -1};
    a->file.agent_slot = a->slot;
    for (uint32_t i = 0; i < LIMIT_LCORES; i++)
        a->event_fds[i] = -1;
    error = memory_prepare(a);
    if (error == 0)
        error = event_fds_open(n, a);
    if (error == 0)
        a->guard = guard_add(a->memory.base, a->memory.bytes, &a->fault, AGENT_FAULT_MEMORY);
    if (error == 0 && a->guard < 0)
        error = a->guard;
    if (error != 0) {
        agent_free(n, a);
        return error;
    }
    rings_join(a);
    a->trusted = uid == 0 || uid == own_uid;
    for (uint32_t i = 0; i < file.lcore_count; i++)
        a->rings[i].limited = agent_rate_limits(&n->config, a);
    access_resolve(n, a, own_uid);
    publish(n, a);
    *agent = a;
    return 0;
}

void node_agent_detach(struct node *n, struct agent *a)
{
    ASSERT(atomic_load_explicit(&n->agents[a->slot], memory_order_relaxed) == a);
    atomic_store_explicit(&n->agents[a->slot], NULL, memory_order_release);
    qsbr_synchronize(); /* no lcore has it any more */
    guard_remove(a->guard);
    agent_free(n, a);
}
