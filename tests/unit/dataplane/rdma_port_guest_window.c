/* Windows on log memory: that connections have them, and chunks that go while one is bound to them. */
#include "tests/unit/dataplane/rdma_port_ends.h"

#include <string.h>
#include <sys/mman.h>

#define CHUNK (UINT64_C(2) << 20)
#define FROM 4096u /* of the chunk: what the window shows */
#define BYTES 8192u
#define WAITS_NS (30 * NS_PER_S) /* rxe waits for 50 s */

static uint8_t *chunk; /* of b */
static uint64_t chunks_wanted;

static bool chunks_are(void)
{
    return ends_shown(&rdma_port_shown(ends_b.port)->chunks) == chunks_wanted;
}

static void chunks_await(uint64_t wanted, const char *what)
{
    chunks_wanted = wanted;
    (void)ends_await_shown(chunks_are, what);
}

static enum ibv_wc_status posted(struct ibv_send_wr *w)
{
    struct ibv_send_wr *bad;
    w->send_flags = IBV_SEND_SIGNALED;
    ends_check(ibv_post_send(ends_b.c->qp, w, &bad) == 0, "ibv_post_send");
    return ends_done(&ends_b);
}

static void bind_first(struct ibv_mr *region)
{
    struct ibv_mw *window = ends_b.c->windows[0];
    struct ibv_send_wr w = {.opcode = IBV_WR_BIND_MW};
    w.bind_mw.mw = window;
    w.bind_mw.rkey = ibv_inc_rkey(window->rkey);
    w.bind_mw.bind_info = (struct ibv_mw_bind_info){.mr = region,
                                                    .addr = (uintptr_t)(chunk + FROM),
                                                    .length = BYTES,
                                                    .mw_access_flags = IBV_ACCESS_REMOTE_WRITE};
    ends_check(posted(&w) == IBV_WC_SUCCESS, "a window is bound");
    window->rkey = w.bind_mw.rkey;
}

static void invalidate_first(void)
{
    struct ibv_send_wr w = {.opcode = IBV_WR_LOCAL_INV,
                            .invalidate_rkey = ends_b.c->windows[0]->rkey};
    ends_check(posted(&w) == IBV_WC_SUCCESS, "a window is invalidated");
}

static enum ibv_wc_status written(uint64_t at)
{
    struct ends_target target = ends_from_send(&ends_a, 100);
    target.address = (uintptr_t)(chunk + at);
    target.key = ends_b.c->windows[0]->rkey;
    ends_post(&ends_a, IBV_WR_RDMA_WRITE, &target);
    return ends_done(&ends_a);
}

static struct ibv_mr *mapped(void)
{
    struct rdma_keys keys;
    ends_check(rdma_port_map(ends_b.port, chunk) == 0, "a chunk");
    ends_check(rdma_port_keys(ends_b.port, chunk, 1, &keys) && keys.region != NULL,
               "windows can be bound to it");
    return keys.region;
}

static void unmapped_bound(uint64_t chunks)
{
    struct rdma_keys keys;
    const struct rdma_port_shown *shown = rdma_port_shown(ends_b.port);
    uint64_t errors = ends_shown(&shown->errors);
    rdma_port_unmap(ends_b.port, chunk);
    ends_check(!rdma_port_keys(ends_b.port, chunk, 1, &keys), "it is nobody's any more");
    ends_check(ends_shown(&shown->chunks) == chunks, "and stays, for a window is bound to it");
    ends_check(ends_shown(&shown->errors) == errors, "which is no error");
}

/* Why in what time: rxe waits for windows of a queue pair that is destroyed, and in the end does without. */
static void again(void)
{
    ends_retire(&ends_a);
    ends_check(ends_await(ends_both_up, "they connect again") < WAITS_NS,
               "though a window was bound");
}

void ends_scene_windows(void)
{
    uint8_t *memory =
        mmap(NULL, 2 * CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ends_check((void *)memory != MAP_FAILED, "mmap");
    chunk = (uint8_t *)align_up((uintptr_t)memory, CHUNK);
    (void)ends_pair_open();
    ends_check(rdma_port_facts(ends_b.port)->memory_windows, "the device has windows");
    ends_check(ends_a.c->window_count == RDMA_PORT_WINDOWS &&
                   ends_b.c->window_count == RDMA_PORT_WINDOWS,
               "connections have windows");
    ends_check(rdma_port_range_open(ends_b.port, chunk, CHUNK, CHUNK) == 0, "a range");
    bind_first(mapped());
    ends_check(written(FROM) == IBV_WC_SUCCESS && chunk[FROM + 99] != 0, "a write in the window");
    unmapped_bound(1);
    (void)mapped(); /* the same memory, meanwhile */
    chunks_await(2, "both are there");
    ends_check(written(FROM + BYTES - 100) == IBV_WC_SUCCESS, "the window is as it was");
    invalidate_first();
    chunks_await(1, "the one before goes by itself");
    ends_check(written(FROM + 1000) != IBV_WC_SUCCESS && chunk[FROM + 1000] == 0,
               "a write after it was invalidated is refused");
    again();
    struct rdma_keys keys;
    ends_check(rdma_port_keys(ends_b.port, chunk, 1, &keys), "the other one stays");
    bind_first(keys.region);
    unmapped_bound(1);
    again();
    chunks_await(0, "it goes with the connection");
    bind_first(mapped());
    unmapped_bound(1);
    rdma_port_range_close(ends_b.port, chunk);
    ends_pair_close();
    (void)munmap(memory, 2 * CHUNK);
}
