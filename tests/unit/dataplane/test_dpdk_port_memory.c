/* Memory that a port is to read itself: how many pieces, in which order, and what becomes of those that fail. */
#include "dataplane/dpdk_port.h"
#include "tests/unit/dataplane/dpdk_ports.h"
#include "tests/unit/unit.h"

#include <sys/mman.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_mbuf.h>

#define PIECE (UINT64_C(1) << 16)
#define PIECES 200u /* DPDK has 128 places, some of which it uses itself */

int __wrap_rte_dev_dma_map(struct rte_device *d, void *at, uint64_t iova, size_t bytes);
int __real_rte_dev_dma_map(struct rte_device *d, void *at, uint64_t iova, size_t bytes);
int __wrap_rte_dev_dma_unmap(struct rte_device *d, void *at, uint64_t iova, size_t bytes);
int __real_rte_dev_dma_unmap(struct rte_device *d, void *at, uint64_t iova, size_t bytes);

static struct dpdk_port *ports[2];
static uint8_t *memory;
static int map_error, unmap_error; /* 0: the device's own answer */

int __wrap_rte_dev_dma_map(struct rte_device *d, void *at, uint64_t iova, size_t bytes)
{
    CU_ASSERT_EQUAL(iova, (uint64_t)(uintptr_t)at);
    if (map_error == 0)
        return __real_rte_dev_dma_map(d, at, iova, bytes);
    rte_errno = map_error;
    return -1;
}

int __wrap_rte_dev_dma_unmap(struct rte_device *d, void *at, uint64_t iova, size_t bytes)
{
    if (unmap_error == 0)
        return __real_rte_dev_dma_unmap(d, at, iova, bytes);
    rte_errno = unmap_error;
    return -1;
}

static void open(void)
{
    const struct dpdk_port_config config = {
        .lcore_count = 1, .udp_port = DPDK_PORTS_UDP, .mbufs = 1023};
    map_error = unmap_error = 0;
    dpdk_ports_pair(ports, &config, 64);
    memory = mmap(NULL, PIECES * PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_PTR_NOT_EQUAL_FATAL(memory, MAP_FAILED);
}

static void close(void)
{
    dpdk_ports_close(ports);
    CU_ASSERT_EQUAL(munmap(memory, PIECES * PIECE), 0);
}

/* Returns how many went. */
static uint32_t map_all(void)
{
    for (uint32_t i = 0; i < PIECES; i++) {
        int error = dpdk_port_map(ports[0], memory + i * PIECE, PIECE);
        if (error == 0)
            continue;
        CU_ASSERT_EQUAL(error, -ENOSPC);
        return i;
    }
    return PIECES;
}

static void unmap_all(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        dpdk_port_unmap(ports[0], memory + i * PIECE, PIECE);
}

static void pieces_of_a_range_take_one_place(void)
{
    open();
    uint32_t without = map_all();
    CU_ASSERT(without > 50 && without < PIECES);
    unmap_all(without);
    for (uint32_t round = 0; round < 3; round++) {
        CU_ASSERT_EQUAL(dpdk_port_range_open(memory, PIECES * PIECE), 0);
        CU_ASSERT_EQUAL(dpdk_port_range_open(memory, PIECES * PIECE), 0); /* another port's */
        CU_ASSERT_EQUAL(map_all(), PIECES);
        unmap_all(PIECES);
        dpdk_port_range_close(memory, PIECES * PIECE);
    }
    /* All places are free again. */
    CU_ASSERT_EQUAL(map_all(), without);
    unmap_all(without);
    close();
}

static void a_device_that_needs_no_mapping_has_it(void)
{
    open();
    map_error = unmap_error = ENOTSUP;
    CU_ASSERT_EQUAL(dpdk_port_map(ports[0], memory, PIECE), 0);
    dpdk_port_unmap(ports[0], memory, PIECE);
    CU_ASSERT_EQUAL(dpdk_port_map(ports[0], memory, PIECE), 0);
    dpdk_port_unmap(ports[0], memory, PIECE);
    close();
}

static void what_the_device_refuses_leaves_nothing_behind(void)
{
    open();
    uint32_t without = map_all();
    unmap_all(without);
    map_error = ENOMEM;
    for (uint32_t i = 0; i < PIECES; i++)
        CU_ASSERT_EQUAL(dpdk_port_map(ports[0], memory + i * PIECE, PIECE), -ENOMEM);
    map_error = 0;
    CU_ASSERT_EQUAL(map_all(), without);
    unmap_all(without);
    close();
}

/* DPDK takes what the device still has for mapped, though other memory lies there now. */
static void after_memory_that_stayed_mapped_nothing_is(void)
{
    open();
    CU_ASSERT_EQUAL(dpdk_port_map(ports[0], memory, PIECE), 0);
    unmap_error = EINVAL;
    dpdk_port_unmap(ports[0], memory, PIECE);
    unmap_error = 0;
    CU_ASSERT_EQUAL(dpdk_port_map(ports[0], memory, PIECE), -EIO);
    CU_ASSERT_EQUAL(dpdk_port_map(ports[0], memory + PIECE, PIECE), -EIO);
    CU_ASSERT_EQUAL(dpdk_port_map(ports[1], memory + PIECE, PIECE), 0);
    dpdk_port_unmap(ports[1], memory + PIECE, PIECE);
    close();
}

/* Stopped, it takes nothing more; then what it had may go, before it is closed. */
static void a_port_that_is_stopped_sends_nothing(void)
{
    open();
    struct dpdk_queue *q = dpdk_port_queue(ports[0], 0);
    struct rte_mbuf *m = dpdk_ports_packet(q, 0, 100);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(dpdk_port_map(ports[0], memory, PIECE), 0);
    dpdk_port_stop(ports[0]);
    dpdk_port_stop(ports[0]);
    CU_ASSERT_EQUAL(dpdk_queue_send(q, &m, 1), 0);
    rte_pktmbuf_free(m);
    dpdk_port_unmap(ports[0], memory, PIECE);
    close();
}

static const struct unit_test tests[] = {
    UNIT_TEST(pieces_of_a_range_take_one_place),
    UNIT_TEST(a_device_that_needs_no_mapping_has_it),
    UNIT_TEST(what_the_device_refuses_leaves_nothing_behind),
    UNIT_TEST(after_memory_that_stayed_mapped_nothing_is),
    UNIT_TEST(a_port_that_is_stopped_sends_nothing),
};
UNIT_MAIN("dpdk_port_memory", tests)
