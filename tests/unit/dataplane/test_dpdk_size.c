/* What a port is said to take of DPDK's memory, against what ports take: the more so with as much as was said, and none
 * with less. */
#include "dataplane/dpdk_eal.h"
#include "dataplane/dpdk_port.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_malloc.h>

#define OPENED 0
#define NOT_STARTED 100

/* In a process of its own, since EAL starts once: what dpdk_port_open says, without its sign, where there is so much
 * memory of small pages.  used: MiB that were taken then. */
static int open_in_child(const struct dpdk_size *s, uint32_t memory_mib, uint32_t *used)
{
    int ends[2], status = 0;
    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        static const char *const arguments[] = {"--no-pci", "--no-telemetry"};
        const struct dpdk_eal_config config = {.arguments = arguments,
                                               .argument_count = 2,
                                               .pages = DPDK_EAL_PAGES_SMALL,
                                               .memory_mib = 1,
                                               .memory_small_mib = memory_mib};
        const struct dpdk_port_config wanted = {
            .device = s->device, .mtu = s->mtu, .lcore_count = s->lcore_count, .udp_port = 7000};
        struct rte_malloc_socket_stats stats = {0};
        struct dpdk_port *port;
        int null = open("/dev/null", O_WRONLY); /* it says what it has not */
        dup2(null, STDERR_FILENO);
        if (dpdk_eal_start(&config) != 0)
            _exit(NOT_STARTED);
        int error = dpdk_port_open(&port, &wanted);
        (void)rte_malloc_get_socket_stats(0, &stats);
        uint32_t mib = (uint32_t)((stats.heap_allocsz_bytes + (1u << 20) - 1) >> 20);
        bool told = write(ends[1], &mib, sizeof mib) == sizeof mib;
        if (error == 0)
            dpdk_port_close(port);
        dpdk_eal_stop();
        _exit(told ? -error : NOT_STARTED);
    }
    CU_ASSERT_EQUAL_FATAL(waitpid(child, &status, 0), child);
    CU_ASSERT_EQUAL_FATAL(read(ends[0], used, sizeof *used), sizeof *used);
    (void)close(ends[0]);
    (void)close(ends[1]);
    CU_ASSERT_TRUE(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void as_much_as_was_said_is_enough_and_less_is_not(void)
{
    static const struct dpdk_size sizes[] = {
        {.device = "net_null0", .lcore_count = 1, .mtu = 1500},
        {.device = "net_null0", .lcore_count = 3, .mtu = 9000},
        {.device = "net_null0", .lcore_count = 7, .mtu = 4000},
    };
    for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct dpdk_size s = sizes[i];
        uint32_t used = 0, least;
        s.small_pages = true;
        least = dpdk_size_least_mib(&s);
        CU_ASSERT_EQUAL(open_in_child(&s, dpdk_size_mib(&s), &used), OPENED);
        (void)printf("%s, %u lcores, mtu %u: %u MiB, said %u, asked for %u\n", s.device,
                     s.lcore_count, s.mtu, used, least, dpdk_size_mib(&s));
        /* Neither wasted nor by luck. */
        CU_ASSERT(used <= dpdk_size_mib(&s) && dpdk_size_mib(&s) <= used + used / 4 + 8);
        CU_ASSERT(least <= used + 1 && used <= least + least / 10 + 2);
        CU_ASSERT_EQUAL(open_in_child(&s, least - least / 10 - 1, &used), ENOMEM);
    }
}

/* As 256 MiB, which was what there is, were two lcores at most. */
static void the_default_is_not_enough_for_three_with_long_packets(void)
{
    const struct dpdk_size s = {
        .device = "net_null0", .lcore_count = 3, .mtu = 9000, .small_pages = true};
    uint32_t used;
    CU_ASSERT_EQUAL(open_in_child(&s, 0, &used), ENOMEM);
    CU_ASSERT(dpdk_size_least_mib(&s) > DPDK_EAL_MEMORY_MIB);
}

static void pages_and_devices_make_a_difference(void)
{
    struct dpdk_size s = {.device = "0000:3b:00.0", .lcore_count = 2, .mtu = 9000};
    uint32_t huge = dpdk_size_least_mib(&s);
    s.small_pages = true;
    uint32_t small = dpdk_size_least_mib(&s);
    CU_ASSERT(huge < small);
    s.device = "net_af_xdp0,iface=eth1"; /* its buffers do not care for pages */
    CU_ASSERT(dpdk_size_least_mib(&s) < huge);
    s.device = "net_af_packet0,iface=eth1,framesz=16384";
    CU_ASSERT(dpdk_size_least_mib(&s) > small);
    s.device = "0000:3b:00.0,framesz=16384"; /* of net_af_packet alone */
    CU_ASSERT_EQUAL(dpdk_size_least_mib(&s), small);
    s.mtu = 0;
    uint32_t unsaid = dpdk_size_least_mib(&s);
    s.mtu = 1500;
    CU_ASSERT_EQUAL(unsaid, dpdk_size_least_mib(&s));
    CU_ASSERT_EQUAL(dpdk_size_frame_bytes("net_af_packet0,framesz=99999"), 32768);
    CU_ASSERT_EQUAL(dpdk_size_frame_bytes("net_af_packet0"), 2048);
}

static const struct unit_test tests[] = {
    UNIT_TEST(as_much_as_was_said_is_enough_and_less_is_not),
    UNIT_TEST(the_default_is_not_enough_for_three_with_long_packets),
    UNIT_TEST(pages_and_devices_make_a_difference),
};
UNIT_MAIN("dpdk_size", tests)
