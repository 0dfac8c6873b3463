/* Log memory: what the device has of it, and under which keys; and windows on it. */
#include "dataplane/rdma_port_inside.h"

#include <stdlib.h>
#include <string.h>

#define ACCESS (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE)

static void add(_Atomic uint64_t *count, uint64_t n)
{
    /* relaxed: a number for people; two's complement takes away, too */
    atomic_fetch_add_explicit(count, n, memory_order_relaxed);
}

/* ---- chunks; under memory_lock ---- */

static const uint8_t *chunk_memory(const struct rdma_range *r, uint32_t i)
{
    /* relaxed: written under memory_lock only */
    uint64_t base = atomic_load_explicit(&r->base, memory_order_relaxed);
    uint32_t shift = atomic_load_explicit(&r->chunk_shift, memory_order_relaxed);
    return (const uint8_t *)(uintptr_t)(base + ((uint64_t)i << shift));
}

/* Why again and again: what it does not know it should pass over; an old kernel may refuse it.  Why iova2: ibv_reg_mr is a
 * macro, which calls it for flags that are not constant.  NULL: errno. */
static struct ibv_mr *region_register(struct rdma_port *port, void *memory, uint64_t bytes,
                                      bool *is_bindable)
{
    static const unsigned more[] = {IBV_ACCESS_RELAXED_ORDERING | IBV_ACCESS_MW_BIND,
                                    IBV_ACCESS_MW_BIND, IBV_ACCESS_RELAXED_ORDERING, 0};
    errno = EINVAL;
    for (uint32_t n = 0; n < sizeof more / sizeof more[0]; n++) {
        *is_bindable = (more[n] & IBV_ACCESS_MW_BIND) != 0;
        if (*is_bindable && !rdma_has_windows(port))
            continue;
        struct ibv_mr *mr =
            ibv_reg_mr_iova2(port->pd, memory, bytes, (uintptr_t)memory, ACCESS | more[n]);
        if (mr != NULL || (errno != EINVAL && errno != EOPNOTSUPP))
            return mr;
    }
    return NULL;
}

static int chunk_register(struct rdma_port *port, struct rdma_range *r, uint32_t i)
{
    void *memory = (void *)(uintptr_t)chunk_memory(r, i);
    uint64_t bytes =
        UINT64_C(1) << atomic_load_explicit(&r->chunk_shift, memory_order_relaxed); /* as above */
    bool is_bindable = false;
    struct rdma_region *region = malloc(sizeof *region);
    if (region == NULL)
        return -ENOMEM;
    region->mr = region_register(port, memory, bytes, &is_bindable);
    if (region->mr == NULL) {
        int error = rdma_port_failed(port, "ibv_reg_mr", errno);
        add(&port->shown.chunks_short, 1);
        free(region);
        return error;
    }
    const struct ibv_mr *mr = region->mr;
    r->chunks[i].region = region;
    add(&port->shown.chunks, 1);
    /* relaxed: the keys are behind it */
    atomic_store_explicit(&r->bindable[i], is_bindable ? region->mr : NULL, memory_order_relaxed);
    /* release, R4 -> R5: it is registered before anybody has the keys */
    atomic_store_explicit(&r->keys[i], (uint64_t)mr->rkey << 32 | mr->lkey, memory_order_release);
    return 0;
}

/* 0: the device has it no more; else of errno. */
static int region_deregister(struct rdma_port *port, struct rdma_region *region)
{
    int error = ibv_dereg_mr(region->mr);
    if (error != 0)
        return error;
    free(region);
    add(&port->shown.chunks, UINT64_MAX);
    return 0;
}

static void chunk_deregister(struct rdma_port *port, struct rdma_range *r, uint32_t i)
{
    struct rdma_region *region = r->chunks[i].region;
    if (region == NULL)
        return;
    /* relaxed: who still had them does not use them any more (rdma_port_unmap), or has a queue pair that is gone */
    atomic_store_explicit(&r->keys[i], 0, memory_order_relaxed);
    r->chunks[i].region = NULL;
    int error = region_deregister(port, region);
    if (error == 0)
        return;
    if (!rdma_has_windows(port)) /* of which one may be bound to it: then it goes a little later */
        (void)rdma_port_failed(port, "ibv_dereg_mr", error);
    region->next = port->left;
    port->left = region;
}

bool rdma_memory_sweep(struct rdma_port *port)
{
    pthread_mutex_lock(&port->memory_lock);
    for (struct rdma_region **at = &port->left; *at != NULL;) {
        struct rdma_region *region = *at, *next = region->next;
        if (region_deregister(port, region) == 0)
            *at = next;
        else
            at = &region->next;
    }
    bool is_left = port->left != NULL;
    pthread_mutex_unlock(&port->memory_lock);
    return is_left;
}

/* There is no connection, nor a window: what cannot go now goes with the device. */
static void left_drop(struct rdma_port *port)
{
    while (port->left != NULL) {
        struct rdma_region *region = port->left;
        port->left = region->next;
        int error = region_deregister(port, region);
        if (error == 0)
            continue;
        (void)rdma_port_failed(port, "ibv_dereg_mr", error);
        add(&port->shown.chunks, UINT64_MAX);
        free(region);
    }
}

/* Every chunk of every range, in turn. */
static void chunks_each(struct rdma_port *port,
                        void (*each)(struct rdma_port *, struct rdma_range *, uint32_t))
{
    uint32_t count = atomic_load_explicit(&port->range_count, memory_order_relaxed); /* as above */
    for (uint32_t n = 0; n < count; n++)
        for (uint32_t i = 0; i < port->ranges[n]->chunk_count; i++)
            each(port, port->ranges[n], i);
}

static void chunk_lose(struct rdma_port *port, struct rdma_range *r, uint32_t i)
{
    (void)port;
    /* relaxed: who has them already finds out by its connection */
    atomic_store_explicit(&r->keys[i], 0, memory_order_relaxed);
}

static void chunk_regain(struct rdma_port *port, struct rdma_range *r, uint32_t i)
{
    if (r->chunks[i].wanted && r->chunks[i].region == NULL)
        (void)chunk_register(port, r, i); /* an error is shown, and lcores find no keys */
}

void rdma_memory_lost(struct rdma_port *port)
{
    pthread_mutex_lock(&port->memory_lock);
    chunks_each(port, chunk_lose);
    pthread_mutex_unlock(&port->memory_lock);
}

void rdma_memory_drop(struct rdma_port *port)
{
    pthread_mutex_lock(&port->memory_lock);
    chunks_each(port, chunk_deregister);
    left_drop(port);
    pthread_mutex_unlock(&port->memory_lock);
}

void rdma_memory_regain(struct rdma_port *port)
{
    pthread_mutex_lock(&port->memory_lock);
    chunks_each(port, chunk_regain);
    pthread_mutex_unlock(&port->memory_lock);
}

void rdma_memory_free(struct rdma_port *port)
{
    /* relaxed: nobody else is there any more */
    uint32_t count = atomic_load_explicit(&port->range_count, memory_order_relaxed);
    for (uint32_t n = 0; n < count; n++)
        free(port->ranges[n]);
}

/* ---- ranges; control ---- */

static bool holds(const struct rdma_range *r, uint64_t address)
{
    /* relaxed: under memory_lock */
    uint64_t base = atomic_load_explicit(&r->base, memory_order_relaxed);
    return address - base < atomic_load_explicit(&r->bytes, memory_order_relaxed);
}

static struct rdma_range *find(const struct rdma_port *port, const uint8_t *memory)
{
    uint32_t count = atomic_load_explicit(&port->range_count, memory_order_relaxed); /* as above */
    for (uint32_t n = 0; n < count; n++)
        if (holds(port->ranges[n], (uintptr_t)memory))
            return port->ranges[n];
    return NULL;
}

/* The place that is free, or one more. */
static int place(struct rdma_port *port, struct rdma_range **range)
{
    uint32_t count = atomic_load_explicit(&port->range_count, memory_order_relaxed); /* as above */
    for (uint32_t n = 0; n < count; n++)
        if (atomic_load_explicit(&port->ranges[n]->bytes, memory_order_relaxed) == 0) {
            *range = port->ranges[n];
            return 0;
        }
    if (count == RDMA_RANGES)
        return -ENOSPC;
    *range = port->ranges[count] = calloc(1, sizeof **range);
    if (*range == NULL)
        return -ENOMEM;
    /* release, R6 -> R7: who sees one more place finds it empty, not unmade */
    atomic_store_explicit(&port->range_count, count + 1, memory_order_release);
    return 0;
}

static void range_set(struct rdma_range *r, uint64_t base, uint64_t bytes, uint32_t shift)
{
    /* relaxed: changed under memory_lock.  Odd, then all, then even: R8 -> R9 below. */
    uint64_t version = atomic_load_explicit(&r->version, memory_order_relaxed);
    atomic_store_explicit(&r->version, version + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&r->base, base, memory_order_relaxed);
    atomic_store_explicit(&r->bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&r->chunk_shift, shift, memory_order_relaxed);
    atomic_store_explicit(&r->version, version + 2, memory_order_release);
    r->chunk_count = (uint32_t)(bytes >> shift);
}

static bool overlaps(const struct rdma_port *port, uint64_t base, uint64_t bytes)
{
    uint32_t count = atomic_load_explicit(&port->range_count, memory_order_relaxed); /* as above */
    for (uint32_t n = 0; n < count; n++) {
        uint64_t other = atomic_load_explicit(&port->ranges[n]->base, memory_order_relaxed);
        if (holds(port->ranges[n], base) ||
            (atomic_load_explicit(&port->ranges[n]->bytes, memory_order_relaxed) != 0 &&
             other - base < bytes))
            return true;
    }
    return false;
}

int rdma_port_range_open(struct rdma_port *port, const uint8_t *base, uint64_t bytes,
                         uint64_t chunk_bytes)
{
    struct rdma_range *r;
    uint64_t at = (uintptr_t)base;
    if (!is_power_of_two(chunk_bytes) || bytes == 0 || bytes % chunk_bytes != 0 ||
        bytes / chunk_bytes > LIMIT_CHUNKS || at > UINT64_MAX - bytes)
        return -EINVAL;
    pthread_mutex_lock(&port->memory_lock);
    int error = overlaps(port, at, bytes) ? -EEXIST : place(port, &r);
    if (error == 0)
        range_set(r, at, bytes, (uint32_t)__builtin_ctzll(chunk_bytes));
    pthread_mutex_unlock(&port->memory_lock);
    return error;
}

void rdma_port_range_close(struct rdma_port *port, const uint8_t *base)
{
    pthread_mutex_lock(&port->memory_lock);
    struct rdma_range *r = find(port, base);
    ASSERT(r != NULL && chunk_memory(r, 0) == base);
    for (uint32_t i = 0; i < r->chunk_count; i++)
        ASSERT(!r->chunks[i].wanted);
    range_set(r, 0, 0, 0);
    pthread_mutex_unlock(&port->memory_lock);
}

/* The number of a chunk, which has to begin there. */
static uint32_t chunk_number(const struct rdma_range *r, const uint8_t *chunk)
{
    uint64_t offset = (uint64_t)(chunk - chunk_memory(r, 0));
    uint32_t shift = atomic_load_explicit(&r->chunk_shift, memory_order_relaxed); /* as above */
    ASSERT((offset & ((UINT64_C(1) << shift) - 1)) == 0);
    return (uint32_t)(offset >> shift);
}

int rdma_port_map(struct rdma_port *port, const uint8_t *chunk)
{
    int error = 0;
    pthread_mutex_lock(&port->memory_lock);
    struct rdma_range *r = find(port, chunk);
    ASSERT(r != NULL);
    uint32_t i = chunk_number(r, chunk);
    ASSERT(!r->chunks[i].wanted);
    if (port->pd != NULL)
        error = chunk_register(port, r, i);
    r->chunks[i].wanted = error == 0;
    pthread_mutex_unlock(&port->memory_lock);
    return error;
}

void rdma_port_unmap(struct rdma_port *port, const uint8_t *chunk)
{
    pthread_mutex_lock(&port->memory_lock);
    struct rdma_range *r = find(port, chunk);
    ASSERT(r != NULL);
    uint32_t i = chunk_number(r, chunk);
    ASSERT(r->chunks[i].wanted);
    r->chunks[i].wanted = false;
    chunk_deregister(port, r, i);
    bool is_left = port->left != NULL;
    pthread_mutex_unlock(&port->memory_lock);
    if (is_left)
        rdma_port_kick(port); /* the thread tries again */
}

/* ---- windows; the port's thread ---- */

/* Of what the device has, each connection that there can be gets the same. */
static uint32_t window_share(const struct rdma_port *port)
{
    uint64_t device =
        rdma_has_windows(port) && port->device.max_mw > 0 ? (uint64_t)port->device.max_mw : 0;
    return (uint32_t)min_u64(device / ((uint64_t)port->config.lcore_count * LIMIT_NODES),
                             RDMA_PORT_WINDOWS);
}

void rdma_windows_make(struct rdma_port *port, struct rdma_connection *c)
{
    uint32_t share = window_share(port);
    while (c->window_count < share) {
        struct ibv_mw *window = ibv_alloc_mw(port->pd, IBV_MW_TYPE_2);
        if (window == NULL) {
            (void)rdma_port_failed(port, "ibv_alloc_mw", errno);
            return;
        }
        c->windows[c->window_count++] = window;
    }
}

int rdma_windows_free(struct rdma_port *port, struct rdma_connection *c)
{
    while (c->window_count != 0) {
        int error = ibv_dealloc_mw(c->windows[c->window_count - 1]);
        if (error != 0 && !(error == EIO && port->is_lost)) /* its driver did it with the device */
            return rdma_port_failed(port, "ibv_dealloc_mw", error);
        c->window_count--;
    }
    return 0;
}

/* ---- any thread ---- */

/* What the range says of it; false: it is another's. */
static bool range_keys(const struct rdma_range *r, uint64_t at, uint64_t bytes,
                       struct rdma_keys *keys)
{
    /* acquire, R9 <- R8: base, bytes and chunk_shift are of this version, or of a later one */
    uint64_t version = atomic_load_explicit(&r->version, memory_order_acquire);
    /* relaxed: taken together with version, which is looked at again */
    uint64_t offset = at - atomic_load_explicit(&r->base, memory_order_relaxed);
    uint64_t range_bytes = atomic_load_explicit(&r->bytes, memory_order_relaxed);
    uint32_t shift = atomic_load_explicit(&r->chunk_shift, memory_order_relaxed);
    if (offset >= range_bytes || (version & 1) != 0)
        return false;
    uint64_t number = offset >> shift, chunk_bytes = UINT64_C(1) << shift;
    if (number >= LIMIT_CHUNKS)
        return false; /* of two versions */
    /* acquire, R5 <- R4: who has the keys may use them */
    uint64_t found = atomic_load_explicit(&r->keys[number], memory_order_acquire);
    /* relaxed: it is before the keys */
    struct ibv_mr *region = atomic_load_explicit(&r->bindable[number], memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(&r->version, memory_order_relaxed) != version)
        return false;
    if (bytes > chunk_bytes - (offset & (chunk_bytes - 1)))
        found = 0;
    *keys = (struct rdma_keys){
        .local = (uint32_t)found, .remote = (uint32_t)(found >> 32), .region = region};
    return true;
}

bool rdma_port_keys(const struct rdma_port *port, const uint8_t *memory, uint64_t bytes,
                    struct rdma_keys *keys)
{
    /* acquire, R7 <- R6: so many places are there */
    uint32_t count = atomic_load_explicit(&port->range_count, memory_order_acquire);
    for (uint32_t n = 0; n < count; n++)
        if (range_keys(port->ranges[n], (uintptr_t)memory, bytes, keys))
            return (keys->local | keys->remote) != 0;
    return false;
}
