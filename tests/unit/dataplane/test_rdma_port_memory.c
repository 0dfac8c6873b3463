/* Log memory of a port and windows on it, with verbs that the test answers: what the device is asked for, what it refuses,
 * and chunks that cannot go yet. */
#include "dataplane/rdma_port_inside.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK 4096u
#define REGIONS 16u
#define ALWAYS (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE)
#define RELAXED IBV_ACCESS_RELAXED_ORDERING
#define BIND IBV_ACCESS_MW_BIND

/* ---- verbs ---- */

static struct region {
    struct ibv_mr mr; /* first */
    bool used, bound;
} regions[REGIONS];
static unsigned asked[8]; /* flags of registrations */
static uint32_t asked_count, kicks, failures, windows, windows_left;
static unsigned unknown; /* flags that are refused */
static int register_error, dealloc_error;
static struct rdma_port port;
static struct ibv_context context;
static struct ibv_pd pd = {.context = &context};
static alignas(CHUNK) uint8_t memory[4 * CHUNK];

int rdma_port_failed(struct rdma_port *p, const char *call, int error)
{
    CU_ASSERT_PTR_EQUAL(p, &port);
    CU_ASSERT_PTR_NOT_NULL(call);
    failures++;
    return -error;
}

void rdma_port_kick(struct rdma_port *p)
{
    CU_ASSERT_PTR_EQUAL(p, &port);
    kicks++;
}

struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *of, void *from, size_t length, uint64_t iova,
                                unsigned int access)
{
    CU_ASSERT(of == &pd && length == CHUNK && iova == (uintptr_t)from && asked_count < 8);
    CU_ASSERT_EQUAL(access & ALWAYS, ALWAYS);
    asked[asked_count++ % 8] = access & ~(unsigned)ALWAYS;
    errno = (access & unknown) != 0 ? EINVAL : register_error;
    if (errno != 0)
        return NULL;
    uint32_t i = 0;
    while (regions[i].used)
        i++;
    regions[i] = (struct region){.used = true, .mr = {.lkey = 2 * i + 1, .rkey = 2 * i + 2}};
    return &regions[i].mr;
}

int ibv_dereg_mr(struct ibv_mr *mr)
{
    struct region *r = (struct region *)(void *)mr;
    CU_ASSERT_TRUE(r->used);
    if (r->bound)
        return EINVAL;
    r->used = false;
    return 0;
}

static struct ibv_mw *alloc_mw(struct ibv_pd *of, enum ibv_mw_type type)
{
    CU_ASSERT(of == &pd && type == IBV_MW_TYPE_2);
    if (windows_left == 0) {
        errno = ENOMEM;
        return NULL;
    }
    struct ibv_mw *mw = calloc(1, sizeof *mw);
    CU_ASSERT_PTR_NOT_NULL_FATAL(mw);
    mw->context = &context;
    windows_left--;
    windows++;
    return mw;
}

static int dealloc_mw(struct ibv_mw *mw)
{
    if (dealloc_error != 0)
        return dealloc_error;
    windows--;
    free(mw);
    return 0;
}

/* ---- a port ---- */

static void begin(bool has_windows)
{
    memset(&port, 0, sizeof port);
    pthread_mutex_init(&port.memory_lock, NULL);
    context.ops.alloc_mw = alloc_mw;
    context.ops.dealloc_mw = dealloc_mw;
    port.pd = &pd;
    port.config.lcore_count = 2;
    port.device.max_mw = 1 << 20;
    if (has_windows)
        port.device.device_cap_flags = IBV_DEVICE_MEM_WINDOW_TYPE_2B;
    unknown = 0;
    asked_count = kicks = failures = windows = 0;
    windows_left = UINT32_MAX;
    register_error = dealloc_error = 0;
    CU_ASSERT_EQUAL(rdma_port_range_open(&port, memory, sizeof memory, CHUNK), 0);
}

static uint64_t chunks(void)
{
    return atomic_load_explicit(&port.shown.chunks, memory_order_relaxed);
}

static void end(void)
{
    rdma_port_range_close(&port, memory);
    rdma_memory_drop(&port);
    rdma_memory_free(&port);
    pthread_mutex_destroy(&port.memory_lock);
    for (uint32_t i = 0; i < REGIONS; i++)
        CU_ASSERT_FALSE(regions[i].used);
    CU_ASSERT_EQUAL(chunks(), 0);
    CU_ASSERT_EQUAL(windows, 0);
}

static struct rdma_keys keys_of(const uint8_t *at)
{
    struct rdma_keys keys = {.local = 0};
    CU_ASSERT_TRUE_FATAL(rdma_port_keys(&port, at, 1, &keys));
    return keys;
}

static bool has_none(const uint8_t *at)
{
    struct rdma_keys keys;
    return !rdma_port_keys(&port, at, 1, &keys);
}

/* ---- regions ---- */

static void what_a_device_does_not_know_is_not_asked_for(void)
{
    static const struct {
        bool has_windows;
        unsigned unknown;
        uint32_t count;
        unsigned flags; /* that it has then */
    } cases[] = {{true, 0, 1, RELAXED | BIND}, {true, RELAXED, 2, BIND}, {true, BIND, 3, RELAXED},
                 {true, RELAXED | BIND, 4, 0}, {false, 0, 1, RELAXED},   {false, RELAXED, 2, 0}};
    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin(cases[i].has_windows);
        unknown = cases[i].unknown;
        CU_ASSERT_EQUAL(rdma_port_map(&port, memory), 0);
        CU_ASSERT_EQUAL(asked_count, cases[i].count);
        CU_ASSERT_EQUAL(asked[asked_count - 1], cases[i].flags);
        struct rdma_keys keys = keys_of(memory + 100);
        const struct ibv_mr *mr = &regions[0].mr;
        CU_ASSERT(keys.local == mr->lkey && keys.remote == mr->rkey);
        CU_ASSERT_PTR_EQUAL(keys.region, (cases[i].flags & BIND) != 0 ? mr : NULL);
        rdma_port_unmap(&port, memory);
        CU_ASSERT(failures == 0 && kicks == 0);
        end();
    }
}

static void what_cannot_be_had_is_said_and_not_asked_again(void)
{
    begin(true);
    register_error = ENOMEM;
    CU_ASSERT_EQUAL(rdma_port_map(&port, memory), -ENOMEM);
    CU_ASSERT(asked_count == 1 && failures == 1 && chunks() == 0);
    register_error = EINVAL;
    CU_ASSERT_EQUAL(rdma_port_map(&port, memory), -EINVAL);
    CU_ASSERT(asked_count == 5 && failures == 2);
    CU_ASSERT_TRUE(has_none(memory));
    end();
}

/* ---- windows that are bound ---- */

static void a_chunk_stays_while_a_window_is_bound_to_it(void)
{
    begin(true);
    CU_ASSERT_EQUAL(rdma_port_map(&port, memory), 0);
    CU_ASSERT_EQUAL(rdma_port_map(&port, memory + CHUNK), 0);
    regions[0].bound = true;
    rdma_port_unmap(&port, memory);
    CU_ASSERT_TRUE(has_none(memory)); /* at once */
    CU_ASSERT(chunks() == 2 && kicks == 1 && failures == 0);
    CU_ASSERT_TRUE(rdma_memory_sweep(&port));
    /* Mapped again: it is another region. */
    CU_ASSERT_EQUAL(rdma_port_map(&port, memory), 0);
    CU_ASSERT_EQUAL(chunks(), 3);
    CU_ASSERT_PTR_EQUAL(keys_of(memory).region, &regions[2].mr);
    regions[2].bound = true;
    rdma_port_unmap(&port, memory);
    regions[1].bound = true;
    rdma_port_unmap(&port, memory + CHUNK);
    CU_ASSERT_EQUAL(chunks(), 3);
    /* They go in whatever order they may. */
    regions[2].bound = false;
    CU_ASSERT_TRUE(rdma_memory_sweep(&port));
    CU_ASSERT(chunks() == 2 && !regions[2].used);
    regions[0].bound = regions[1].bound = false;
    CU_ASSERT_FALSE(rdma_memory_sweep(&port));
    CU_ASSERT(chunks() == 0 && failures == 0 && kicks == 3);
    end();
}

/* Its range is closed, and the place used by another one. */
static void a_chunk_that_stays_needs_no_range(void)
{
    begin(true);
    CU_ASSERT_EQUAL(rdma_port_map(&port, memory), 0);
    regions[0].bound = true;
    rdma_port_unmap(&port, memory);
    rdma_port_range_close(&port, memory);
    CU_ASSERT_EQUAL(rdma_port_range_open(&port, memory, 2 * CHUNK, CHUNK), 0);
    CU_ASSERT_EQUAL(rdma_port_map(&port, memory), 0);
    CU_ASSERT_EQUAL(chunks(), 2);
    regions[0].bound = false;
    CU_ASSERT_FALSE(rdma_memory_sweep(&port));
    CU_ASSERT_EQUAL(chunks(), 1);
    CU_ASSERT_PTR_EQUAL(keys_of(memory).region, &regions[1].mr);
    rdma_port_unmap(&port, memory);
    CU_ASSERT_EQUAL(failures, 0);
    end();
}

/* With the device all go, also what waits; what it refuses then is an error. */
static void what_waits_goes_with_the_device(void)
{
    begin(true);
    CU_ASSERT_EQUAL(rdma_port_map(&port, memory), 0);
    CU_ASSERT_EQUAL(rdma_port_map(&port, memory + CHUNK), 0);
    regions[0].bound = true;
    rdma_port_unmap(&port, memory);
    regions[0].bound = false;
    rdma_memory_drop(&port); /* and the other one, which is wanted */
    CU_ASSERT(chunks() == 0 && failures == 0 && has_none(memory + CHUNK));
    rdma_memory_regain(&port);
    CU_ASSERT(chunks() == 1 && has_none(memory));
    regions[0].bound = true;
    rdma_memory_drop(&port);
    CU_ASSERT(chunks() == 0 && failures == 1);
    CU_ASSERT_FALSE(rdma_memory_sweep(&port));
    regions[0].used = false; /* by its device */
    rdma_memory_regain(&port);
    rdma_port_unmap(&port, memory + CHUNK);
    end();
}

/* Nothing can be bound to it: an error, and it is tried again all the same. */
static void without_windows_a_refusal_is_an_error(void)
{
    begin(false);
    CU_ASSERT_EQUAL(rdma_port_map(&port, memory), 0);
    regions[0].bound = true;
    rdma_port_unmap(&port, memory);
    CU_ASSERT(failures == 1 && chunks() == 1);
    CU_ASSERT_TRUE(rdma_memory_sweep(&port));
    regions[0].bound = false;
    CU_ASSERT_FALSE(rdma_memory_sweep(&port));
    CU_ASSERT_EQUAL(failures, 1);
    end();
}

/* ---- windows of connections ---- */

static uint32_t made(struct rdma_connection *c)
{
    memset(c, 0, sizeof *c);
    rdma_windows_make(&port, c);
    CU_ASSERT_EQUAL(c->window_count, windows);
    return c->window_count;
}

static void connections_share_what_the_device_has(void)
{
    static struct rdma_connection c;
    static const struct {
        int device;
        uint32_t each;
    } shares[] = {{1 << 20, RDMA_PORT_WINDOWS}, {2 * LIMIT_NODES * 5 + 1, 5}, {20, 0}, {0, 0}};
    for (uint32_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        begin(true);
        port.device.max_mw = shares[i].device;
        CU_ASSERT_EQUAL(made(&c), shares[i].each);
        CU_ASSERT_EQUAL(rdma_windows_free(&port, &c), 0);
        CU_ASSERT_EQUAL(failures, 0);
        end();
    }
    begin(false);
    CU_ASSERT_EQUAL(made(&c), 0);
    CU_ASSERT_EQUAL(failures, 0);
    end();
}

static void a_connection_has_what_it_gets(void)
{
    static struct rdma_connection c;
    begin(true);
    windows_left = 7;
    CU_ASSERT_EQUAL(made(&c), 7);
    CU_ASSERT_EQUAL(failures, 1); /* once, and the rest is not tried */
    dealloc_error = EBUSY;
    CU_ASSERT_EQUAL(rdma_windows_free(&port, &c), -EBUSY);
    CU_ASSERT(c.window_count == 7 && failures == 2);
    dealloc_error = 0;
    CU_ASSERT_EQUAL(rdma_windows_free(&port, &c), 0);
    CU_ASSERT_EQUAL(c.window_count, 0);
    end();
}

/* The driver of a device that is gone freed them. */
static void windows_of_a_lost_device_are_gone(void)
{
    static struct rdma_connection c;
    begin(true);
    windows_left = 3;
    CU_ASSERT_EQUAL(made(&c), 3);
    failures = 0;
    dealloc_error = EIO;
    CU_ASSERT_EQUAL(rdma_windows_free(&port, &c), -EIO);
    CU_ASSERT_EQUAL(failures, 1);
    struct ibv_mw *gone[3] = {c.windows[0], c.windows[1], c.windows[2]};
    port.is_lost = true;
    CU_ASSERT_EQUAL(rdma_windows_free(&port, &c), 0);
    CU_ASSERT(c.window_count == 0 && failures == 1);
    for (uint32_t i = 0; i < 3; i++)
        free(gone[i]);
    windows = 0;
    end();
}

static const struct unit_test tests[] = {
    UNIT_TEST(what_a_device_does_not_know_is_not_asked_for),
    UNIT_TEST(what_cannot_be_had_is_said_and_not_asked_again),
    UNIT_TEST(a_chunk_stays_while_a_window_is_bound_to_it),
    UNIT_TEST(a_chunk_that_stays_needs_no_range),
    UNIT_TEST(what_waits_goes_with_the_device),
    UNIT_TEST(without_windows_a_refusal_is_an_error),
    UNIT_TEST(connections_share_what_the_device_has),
    UNIT_TEST(a_connection_has_what_it_gets),
    UNIT_TEST(windows_of_a_lost_device_are_gone),
};
UNIT_MAIN("rdma_port_memory", tests)
