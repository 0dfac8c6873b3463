/* What dunlin top shows of two looks that are written here. */
#include "control/top_view.h"

#include "tests/unit/unit.h"

#include <stdlib.h>

static const char status_before[] =
    "{'start': 5, 'counters': {'operations': 1000},"
    " 'cluster': {'nodes': [{'id': 1}, {'id': 2, 'lag': 500000}, {'id': 3, 'lag': 900000}]},"
    " 'spaces': [{'id': 1, 'log_bytes': 1000}]}";
static const char status_now[] =
    "{'start': 5, 'uptime_ms': 7300, 'node': {'name': 'roost-1', 'id': 1},"
    " 'agents': {'attached': 4}, 'counters': {'operations': 3000},"
    " 'cluster': {'cluster': 'flock', 'node': 1, 'shards': 3, 'pending': 0, 'moving': 1, 'lost': 0,"
    "  'control': {'leader': 2, 'term': 9, 'voter': true, 'connected': 2, 'lease_ms': 37,"
    "              'full': false},"
    "  'replicas': 3, 'redundancy': {'least': 2, 'below': 1, 'changing': 4},"
    "  'nodes': [{'id': 1, 'up': true, 'leads': 2, 'heard_ms': 0},"
    "            {'id': 2, 'up': true, 'leads': 1, 'votes': 7, 'learns': 9, 'heard_ms': 3,"
    "             'lag': 400000, 'lag_ms': 80, 'standing': 'draining', 'zone': 'hall-1'},"
    "            {'id': 3, 'up': true, 'leads': 0, 'heard_ms': 4, 'lag': 0, 'lag_ms': 0}]},"
    " 'spaces': [{'id': 1, 'name': 'airspace', 'keys': 12, 'live_bytes': 20480, 'used_bytes': "
    "2097152,"
    "             'quota_bytes': 33554432, 'uncommitted_bytes': 0, 'log_bytes': 5000}]}";
static const char shards_before[] =
    "{'shards': [{'log': 10, 'lsn_committed': '18446744073709000000'},"
    "            {'log': 11, 'lsn_committed': '2000'}, {'log': 12, 'lsn_committed': '3000'}]}";
static const char shards_now[] =
    "{'shards': ["
    " {'space': 'airspace', 'shard': 0, 'log': 10, 'leader': 1, 'epoch': 44, 'state': 'active',"
    "  'lsn_committed': '18446744073709000100',"
    "  'lag': [{'node': 2, 'bytes': 399000}, {'node': 3, 'bytes': 0}]},"
    " {'space': 'airspace', 'shard': 1, 'log': 11, 'leader': 1, 'epoch': 45, 'state': 'moving',"
    "  'lsn_committed': '9000', 'lag': [{'node': 2, 'bytes': 1000}, {'node': 3, 'bytes': 0}]},"
    " {'space': 'airspace', 'shard': 2, 'log': 12, 'leader': 2, 'epoch': 46, 'state': 'active',"
    "  'lsn_committed': '3000'}]}";

static char said[8192];

static void on_line(void *context, bool is_heading, const char *line)
{
    (void)context;
    size_t used = strlen(said);
    (void)snprintf(said + used, sizeof said - used, "%s%s\n", is_heading ? "#" : "", line);
}

static const struct top_sink sink = {.line = on_line};

static json_t *read(const char *text)
{
    char quoted[2048];
    CU_ASSERT_FATAL(strlen(text) < sizeof quoted);
    (void)snprintf(quoted, sizeof quoted, "%s", text);
    for (char *c = quoted; *c != '\0'; c++)
        *c = *c == '\'' ? '"' : *c;
    json_t *o = json_loads(quoted, 0, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(o);
    return o;
}

static struct top_view view;

static void open_with(const char *before, const char *now)
{
    view = (struct top_view){.seconds = 2};
    if (before != NULL)
        view.before = (struct top_look){read(before), read(shards_before)};
    view.now = (struct top_look){read(now), read(shards_now)};
    said[0] = '\0';
}

static void close_view(void)
{
    json_decref(view.before.status);
    json_decref(view.before.shards);
    json_decref(view.now.status);
    json_decref(view.now.shards);
}

static void expect(const char *line)
{
    char whole[TOP_LINE_BYTES + 2];
    (void)snprintf(whole, sizeof whole, "%s\n", line);
    if (strstr(said, whole) == NULL)
        (void)fprintf(stderr, "missing: %sin:\n%s", whole, said);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, whole));
}

static void the_head_says_what_there_is(void)
{
    open_with(status_before, status_now);
    top_view_head(&view, &sink);
    expect("node roost-1 (1) of cluster flock, up 7 s, agents 4, operations/s 1000");
    expect("control leader 2, term 9; this node is a voter, lease margin 37 ms, connected to 2");
    expect("shards 3, pending 0, moving 1, lost 0");
    expect("voters wanted 3; of any shard at least 2 are up and hold all, below that 1 shards, "
           "changing 4");
    expect("redundancy: 2 of 3 voters hold 1 of the 2 shards led here, more the others");
    expect("  node 2 lacks 391K bytes, back in about 8 s");
    expect("         2 yes       1      7      9         3      391K      80 draining hall-1       "
           "control leader");
    expect("         1 yes       2      -      -         0         -       - -        -");
    expect("airspace                  2000        12     20.0K     2048K     32.0M            0");
    CU_ASSERT_PTR_NULL(strstr(said, "node 3 lacks"));
    CU_ASSERT_PTR_NULL(strstr(said, " \n")); /* nothing ends in blanks */
    close_view();
}

static void shards_come_in_order_or_by_rate(void)
{
    const char *first = "airspace                 0          1           44 active          50"
                        "      390K 2 of 3\n";
    const char *second = "airspace                 1          1           45 moving        3500"
                         "      1000 3 of 3\n";
    const char *third = "airspace                 2          2           46 active           0"
                        "         - -\n";
    char expected[1024];
    open_with(status_before, status_now);
    top_view_shards(&view, false, &sink);
    (void)snprintf(expected, sizeof expected, "%s%s%s", first, second, third);
    CU_ASSERT_STRING_EQUAL(said, expected);
    said[0] = '\0';
    top_view_shards(&view, true, &sink);
    (void)snprintf(expected, sizeof expected, "%s%s%s", second, first, third);
    CU_ASSERT_STRING_EQUAL(said, expected);
    close_view();
}

static void set_up(int64_t node, bool up)
{
    json_t *nodes = json_object_get(json_object_get(view.now.status, "cluster"), "nodes");
    CU_ASSERT_EQUAL(
        json_object_set_new(json_array_get(nodes, (size_t)node - 1), "up", json_boolean(up)), 0);
}

/* What a node that is down held is gone with it. */
static void who_is_down_holds_nothing(void)
{
    open_with(status_before, status_now);
    set_up(3, false);
    top_view_head(&view, &sink);
    expect("redundancy: 1 of 3 voters hold 1 of the 2 shards led here, more the others");
    expect("  node 3 is down");
    expect("         3 NO        0      -      -         4         0       0 -        -");
    set_up(2, false);
    said[0] = '\0';
    top_view_head(&view, &sink);
    expect("redundancy: 1 of 3 voters hold 2 of the 2 shards led here");
    close_view();
}

/* A learner holds all of a shard, and makes it no safer. */
static void learners_are_no_redundancy(void)
{
    open_with(status_before, status_now);
    json_t *shards = json_object_get(view.now.shards, "shards");
    for (size_t i = 0; i < 2; i++)
        CU_ASSERT_EQUAL(
            json_object_set_new(json_array_get(shards, i), "voters", json_pack("[i, i]", 1, 2)), 0);
    top_view_head(&view, &sink);
    expect("redundancy: 1 of 2 voters hold 1 of the 2 shards led here, more the others");
    said[0] = '\0';
    top_view_shards(&view, false, &sink);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "390K 1 of 2\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "1000 2 of 2\n"));
    close_view();
}

static void without_a_look_before_there_are_no_rates(void)
{
    open_with(NULL, status_now);
    top_view_head(&view, &sink);
    top_view_shards(&view, true, &sink);
    expect("node roost-1 (1) of cluster flock, up 7 s, agents 4, operations/s -");
    expect("  node 2 lacks 391K bytes, and does not gain");
    expect("airspace                     -        12     20.0K     2048K     32.0M            0");
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "moving           -      1000 3 of 3"));
    close_view();
}

static void a_port_is_shown(void)
{
    open_with(status_before, status_now);
    CU_ASSERT_EQUAL(json_object_set_new(json_object_get(view.before.status, "cluster"), "port",
                                        read("{'missed': 100}")),
                    0);
    CU_ASSERT_EQUAL(
        json_object_set_new(
            json_object_get(view.now.status, "cluster"), "port",
            read(
                "{'name': '0000:3b:00.0', 'driver': 'net_ice', 'state': 'running', 'link_up': true,"
                " 'speed_mbps': 25000, 'link_downs': 2, 'resets': 1, 'resets_failed': 3,"
                " 'missed': 300, 'errors_in': 4, 'errors_out': 5, 'no_mbuf': 6}")),
        0);
    top_view_head(&view, &sink);
    expect("port 0000:3b:00.0 (net_ice) running, link up 25000 Mbit/s; downs 2, resets 1, "
           "failed 3, missed/s 100, errors 15");
    CU_ASSERT_EQUAL(
        json_object_set_new(json_object_get(view.now.status, "cluster"), "port", json_null()), 0);
    said[0] = '\0';
    top_view_head(&view, &sink);
    CU_ASSERT_PTR_NULL(strstr(said, "port"));
    close_view();
}

static void a_device_of_verbs_is_shown(void)
{
    open_with(status_before, status_now);
    CU_ASSERT_EQUAL(
        json_object_set_new(
            json_object_get(view.now.status, "cluster"), "port",
            read("{'kind': 'rdma', 'name': 'mlx5_1', 'link_up': false, 'speed_mbps': 100000,"
                 " 'link_downs': 1, 'removals': 2, 'connections': 7, 'broken': 3, 'failures': 4,"
                 " 'chunks': 12, 'chunks_short': 5}")),
        0);
    top_view_head(&view, &sink);
    expect("port mlx5_1 (rdma), link DOWN 100000 Mbit/s; downs 1, removals 2, connections 7, "
           "broken 3, failures 4, chunks 12, short 5");
    close_view();
}

static void another_start_is_no_measure(void)
{
    open_with("{'start': 4, 'counters': {'operations': 1000}}", status_now);
    top_view_head(&view, &sink);
    expect("node roost-1 (1) of cluster flock, up 7 s, agents 4, operations/s -");
    close_view();
}

static void a_node_alone_has_no_cluster(void)
{
    open_with(status_before, status_now);
    (void)json_object_del(view.now.status, "cluster");
    top_view_head(&view, &sink);
    top_view_shards(&view, false, &sink);
    expect("node roost-1 (1), up 7 s, agents 4, operations/s 1000");
    CU_ASSERT_PTR_NULL(strstr(said, "redundancy"));
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "44 active          50"));
    close_view();
}

static const struct unit_test tests[] = {
    UNIT_TEST(the_head_says_what_there_is), UNIT_TEST(shards_come_in_order_or_by_rate),
    UNIT_TEST(who_is_down_holds_nothing),   UNIT_TEST(without_a_look_before_there_are_no_rates),
    UNIT_TEST(another_start_is_no_measure), UNIT_TEST(a_node_alone_has_no_cluster),
    UNIT_TEST(learners_are_no_redundancy),  UNIT_TEST(a_port_is_shown),
    UNIT_TEST(a_device_of_verbs_is_shown),
};
UNIT_MAIN("top_view", tests)
