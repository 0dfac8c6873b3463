/* What the benches find out about RDMA devices from what the kernel says of them, and what they read in the reports of
 * perftest. */
#include "bench/rdma_device.h"
#include "bench/rdma_perftest.h"
#include "tests/unit/unit.h"

#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- devices ---- */

static char directory[64];

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *ftw)
{
    (void)status, (void)kind, (void)ftw;
    return remove(path);
}

/* A file of the kernel's, its directories made. */
static void file_make(const char *name, const char *text)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    for (char *at = strchr(path + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
        *at = '\0';
        (void)mkdir(path, 0700);
        *at = '/';
    }
    FILE *file = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT(fputs(text, file) >= 0);
    CU_ASSERT_EQUAL(fclose(file), 0);
}

static void directory_make(void)
{
    (void)snprintf(directory, sizeof directory, "/tmp/dunlin-rdma-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
}

static void directory_end(void)
{
    CU_ASSERT_EQUAL(nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

#define V4(last) "0000:0000:0000:0000:0000:ffff:0a63:00" last "\n"

static void the_first_active_port_with_an_address_is_found(void)
{
    struct rdma_device d;
    directory_make();
    CU_ASSERT_EQUAL(rdma_device_find(directory, NULL, &d), -ENODEV);
    file_make("a/ports/1/state", "1: DOWN\n");
    file_make("a/ports/1/gids/0", V4("01"));
    file_make("a/ports/1/gid_attrs/types/0", "RoCE v2\n");
    file_make("b/ports/1/state", "4: ACTIVE\n");
    file_make("b/ports/1/gids/0", "fe80:0000:0000:0000:f84e:10ff:fe31:2fe9\n");
    file_make("b/ports/1/gid_attrs/types/0", "RoCE v2\n");
    CU_ASSERT_EQUAL(rdma_device_find(directory, NULL, &d), -ENODEV);
    file_make("b/ports/2/state", "4: ACTIVE\n");
    file_make("b/ports/2/gids/2", V4("02"));
    file_make("b/ports/2/gid_attrs/types/2", "IB/RoCE v1\n");
    CU_ASSERT_EQUAL(rdma_device_find(directory, NULL, &d), -ENODEV);
    file_make("b/ports/2/gids/3", V4("02"));
    file_make("b/ports/2/gid_attrs/types/3", "RoCE v2\n");
    CU_ASSERT_EQUAL(rdma_device_find(directory, NULL, &d), 0);
    CU_ASSERT_STRING_EQUAL(d.name, "b");
    CU_ASSERT_STRING_EQUAL(d.address, "10.99.0.2");
    CU_ASSERT_EQUAL(d.port, 2);
    CU_ASSERT_EQUAL(d.gid_index, 3);
    directory_end();
}

static void a_device_is_found_by_its_name(void)
{
    struct rdma_device d;
    directory_make();
    for (uint32_t i = 0; i < 2; i++) {
        static const char *const names[][3] = {
            {"a/ports/1/state", "a/ports/1/gids/1", "a/ports/1/gid_attrs/types/1"},
            {"b/ports/1/state", "b/ports/1/gids/1", "b/ports/1/gid_attrs/types/1"}};
        file_make(names[i][0], "4: ACTIVE\n");
        file_make(names[i][1], i == 0 ? V4("01") : V4("02"));
        file_make(names[i][2], "RoCE v2\n");
    }
    CU_ASSERT_EQUAL(rdma_device_find(directory, NULL, &d), 0);
    CU_ASSERT_STRING_EQUAL(d.name, "a");
    CU_ASSERT_EQUAL(rdma_device_find(directory, "b", &d), 0);
    CU_ASSERT_STRING_EQUAL(d.address, "10.99.0.2");
    CU_ASSERT_EQUAL(rdma_device_find(directory, "c", &d), -ENODEV);
    directory_end();
    CU_ASSERT_EQUAL(rdma_device_find(directory, NULL, &d), -ENODEV);
}

static void packets_are_those_of_the_device_s_port(void)
{
    const struct rdma_device d = {.name = "a", .port = 2};
    uint64_t packets;
    directory_make();
    file_make("a/ports/1/hw_counters/sent_pkts", "1\n");
    CU_ASSERT_EQUAL(rdma_device_packets(directory, &d, &packets), -ENOENT);
    file_make("a/ports/2/counters/port_xmit_packets", "N/A (no PMA)\n");
    CU_ASSERT_EQUAL(rdma_device_packets(directory, &d, &packets), -ENOENT);
    file_make("a/ports/2/counters/port_xmit_packets", "18446744073709551615\n");
    CU_ASSERT_EQUAL(rdma_device_packets(directory, &d, &packets), 0);
    CU_ASSERT_EQUAL(packets, UINT64_MAX);
    file_make("a/ports/2/hw_counters/sent_pkts", "7 7\n");
    CU_ASSERT_EQUAL(rdma_device_packets(directory, &d, &packets), 0);
    CU_ASSERT_EQUAL(packets, UINT64_MAX);
    file_make("a/ports/2/hw_counters/sent_pkts", "70895\n");
    CU_ASSERT_EQUAL(rdma_device_packets(directory, &d, &packets), 0);
    CU_ASSERT_EQUAL(packets, 70895);
    directory_end();
}

/* ---- reports ---- */

static const char latency[] =
    "---------------------------------------------------------------------------------------\n"
    "                    RDMA_Write Latency Test\n"
    " GID index       : 1\n"
    " 4096    500          1.00        2.00      3.00\n"
    " #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]    t_avg[usec]    "
    "t_stdev[usec]   99% percentile[usec]   99.9% percentile[usec] \n"
    " 64      500          9.00        17104.52      11.50  \t       6877.79     \t2965.29\t\t"
    "15203.99 \t\t17104.52\n"
    " 4096    500          1418.44        17104.52      6798.19  \t       6877.79     "
    "\t2965.29\t\t15203.99 \t\t17104.52\n"
    "---------------------------------------------------------------------------------------\n";

static const char rate[] =
    "                    RDMA_Write BW Test\n"
    " #bytes     #iterations    BW peak[Gb/sec]    BW average[Gb/sec]   MsgRate[Mpps]\n"
    " 32768       500           0.8              0.4            0.001217\n";

static bool is_about(double value, double expected)
{
    return value > expected * 0.9999 && value < expected * 1.0001;
}

static void a_report_gives_the_value_of_its_line(void)
{
    double value;
    CU_ASSERT_EQUAL(rdma_perftest_parse(latency, RDMA_PERFTEST_LATENCY, 4096, &value), 0);
    CU_ASSERT(is_about(value, 6798190));
    CU_ASSERT_EQUAL(rdma_perftest_parse(latency, RDMA_PERFTEST_LATENCY, 64, &value), 0);
    CU_ASSERT(is_about(value, 11500));
    CU_ASSERT_EQUAL(rdma_perftest_parse(rate, RDMA_PERFTEST_RATE, 32768, &value), 0);
    CU_ASSERT(is_about(value, 5e7));
}

static void a_report_of_another_kind_gives_none(void)
{
    static const char *const bad[] = {
        "",
        "Couldn't connect to 10.99.0.1:18515\n",
        " 64 500 1 2 3 4 5\n",
        " #bytes #iterations t_min[usec] t_max[usec] t_typical[usec]\n",
        " #bytes #iterations t_min[usec] t_max[usec] t_typical[usec]\n 64 500 1 2\n 3\n",
        " #bytes #iterations t_min[usec] t_max[usec] t_typical[usec]\n 64 500 1 2 nan\n",
        " #bytes #iterations t_min[usec] t_max[usec] t_typical[usec]\n 64 500 1 2 0.00\n",
        " #bytes #iterations t_avg[usec] t_max[usec] t_typical[usec]\n 64 500 1 2 3\n",
        " #bytes #iterations t_min[usec] t_max[usec] t_typical[usec]\n 65 500 1 2 3\n",
    };
    double value;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CU_ASSERT_EQUAL(rdma_perftest_parse(bad[i], RDMA_PERFTEST_LATENCY, 64, &value), -EPROTO);
    CU_ASSERT_EQUAL(rdma_perftest_parse(rate, RDMA_PERFTEST_LATENCY, 32768, &value), -EPROTO);
    CU_ASSERT_EQUAL(rdma_perftest_parse(latency, RDMA_PERFTEST_RATE, 64, &value), -EPROTO);
}

static void the_next_run_fills_its_time(void)
{
    struct rdma_perftest p = {.kind = RDMA_PERFTEST_LATENCY, .bytes = 64};
    CU_ASSERT_EQUAL(rdma_perftest_iterations(&p, 10000, 100000000), 5000);
    CU_ASSERT_EQUAL(rdma_perftest_iterations(&p, 10000, 0), RDMA_PERFTEST_ITERATIONS_MIN);
    CU_ASSERT_EQUAL(rdma_perftest_iterations(&p, 0.001, 100000000), RDMA_PERFTEST_ITERATIONS_MAX);
    p = (struct rdma_perftest){.kind = RDMA_PERFTEST_RATE, .bytes = 32768};
    CU_ASSERT_EQUAL(rdma_perftest_iterations(&p, 327680000, 100000000), 1000);
}

static const struct unit_test tests[] = {
    UNIT_TEST(the_first_active_port_with_an_address_is_found),
    UNIT_TEST(a_device_is_found_by_its_name),
    UNIT_TEST(packets_are_those_of_the_device_s_port),
    UNIT_TEST(a_report_gives_the_value_of_its_line),
    UNIT_TEST(a_report_of_another_kind_gives_none),
    UNIT_TEST(the_next_run_fills_its_time),
};

UNIT_MAIN("rdma", tests)
