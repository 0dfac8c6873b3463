/* `dunlin nodes`, `shards` and `spaces` against a server whose cluster is scripted: what they print, and by which
 * exit code they end. */
#include "control/server.h"

#include "tests/unit/control/cli_command.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

static struct fixture fixture;
static struct fixture *const f = &fixture;

#define NODES_LEADING                                                                              \
    "\"nodes\":[{\"id\":1,\"address\":\"10.0.0.1:7700\",\"self\":true,\"up\":true,"                \
    "\"start\":1795249235478,\"leads\":24,\"heard_ms\":0,\"lag\":null,\"zone\":\"\","              \
    "\"standing\":\"member\",\"weight\":100,\"votes\":16,\"learns\":8},"                           \
    "{\"id\":2,\"address\":\"[fd00::2]:7700\",\"self\":false,\"up\":false,\"heard_ms\":1520,"      \
    "\"lag\":4096,\"lag_ms\":1500,\"zone\":\"hall-2\",\"standing\":\"draining\",\"leads\":"
#define HEAD "{\"cluster\":\"flock\",\"node\":1,\"shards\":24,\"pending\":1,\"lost\":2,\"moving\":"

static uint32_t leader; /* of all shards of the space open; 0: it is not told */

static char *nodes_json(void *context)
{
    char text[1024];
    (void)context;
    (void)snprintf(text, sizeof(text), HEAD "0," NODES_LEADING "0}]}");
    if (leader != 0) {
        size_t end = strlen(text) - 1;
        (void)snprintf(text + end, sizeof(text) - end,
                       ",\"leaders\":[{\"space\":\"closed\",\"first\":0,\"last\":9,\"node\":3},"
                       "{\"space\":\"open\",\"first\":0,\"last\":9,\"node\":%u}]}",
                       leader);
    }
    return strdup(text);
}

static void shard(void *context, const struct server_shard_asked *asked, struct server_shard *told)
{
    (void)context;
    *told = (struct server_shard){.leader = 7, .epoch = 42, .state = SERVER_SHARD_MOVING};
    told->peer_count = asked->number == 0 ? 2 : 0;
    told->peers[0].missing = 100;
    told->peers[1].missing = 4096;
}

static const struct server_admin admin = {.nodes_json = nodes_json, .shard = shard};

static void cluster_open(void)
{
    leader = 0;
    fixture_open(f);
    server_set_admin(f->server, &admin);
}

/* ---- tests ---- */

static void nodes_are_a_table(void)
{
    struct command c;
    cluster_open();
    CU_ASSERT_EQUAL(DUNLIN(&c, "nodes"), 0);
    CU_ASSERT_STRING_EQUAL(
        c.text,
        "cluster flock, this is node 1; shards 24, pending 1, moving 0, lost 2\n"
        "      node address                  up    heard ms                start  leads  votes "
        "learns    lag bytes  lag ms  weight standing zone\n"
        "         1 10.0.0.1:7700            yes          0        1795249235478     24     16     "
        " "
        "8            -       -     100 member   -\n"
        "         2 [fd00::2]:7700           no        1520                    -      0      -     "
        " "
        "-         4096    1500       - draining hall-2\n");
    CU_ASSERT_EQUAL(DUNLIN(&c, "nodes", "--json"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, HEAD "0," NODES_LEADING "0}]}\n");
    CU_ASSERT_EQUAL(DUNLIN(&c, "status", "--json"), 0);
    expect_text(&c, "\"cluster\":" HEAD "0,");
    CU_ASSERT_EQUAL(DUNLIN(&c, "status"), 0);
    expect_text(&c, "\ncluster flock, this is node 1; shards 24, pending 1, moving 0, lost 2\n");
    fixture_close(f);
}

static void shards_are_a_table(void)
{
    struct command c;
    cluster_open();
    CU_ASSERT_EQUAL(DUNLIN(&c, "shards"), 0);
    expect_text(&c, "space                shard     leader                epoch role     state  ");
    expect_text(&c,
                "\nopen                     0          7                   42 leader   moving  ");
    expect_text(&c, "\nclosed                   1          7 ");
    expect_text(&c, "       4096          0 "); /* of the one that is furthest behind */
    expect_text(&c, "          -          0 ");
    CU_ASSERT_EQUAL(DUNLIN(&c, "shards", "closed", "--json"), 0);
    expect_text(&c, "{\"shards\":[{\"space\":\"closed\",\"shard\":0,");
    CU_ASSERT_PTR_NULL(strstr(c.text, "open"));
    CU_ASSERT_EQUAL(DUNLIN(&c, "shards", "nowhere"), 1);
    expect_text(&c, "no space 'nowhere'");
    fixture_close(f);
}

static void spaces_are_a_table(void)
{
    struct command c;
    fixture_open(f);
    f->node.spaces[2]->config.write.uid_count = 2;
    f->node.spaces[2]->config.write.uids[0] = 1000;
    f->node.spaces[2]->config.write.uids[1] = 1001;
    CU_ASSERT_EQUAL(DUNLIN(&c, "spaces"), 0);
    expect_text(&c, "space                 id keeps      shards         keys ");
    expect_text(&c, "\nopen                   1 strong          2            0 ");
    expect_text(&c, " any ");
    expect_text(&c, "       1 - 1000,1001\n");
    CU_ASSERT_EQUAL(DUNLIN(&c, "spaces", "--json"), 0);
    expect_text(&c, "{\"spaces\":[{\"name\":\"open\",\"id\":1,");
    fixture_close(f);
}

/* No lcore runs here, so nothing is answered: the message says whose part that was. */
static void who_did_not_answer_is_named(void)
{
    struct command c;
    cluster_open();
    CU_ASSERT_EQUAL(DUNLIN(&c, "get", "open", "key", "--timeout", "1000"), 3);
    expect_text(&c, "which leads the shard and did not answer");
    leader = 2;
    CU_ASSERT_EQUAL(DUNLIN(&c, "get", "open", "key", "--timeout", "1000"), 3);
    expect_text(&c, "attached to node 7; node 2 leads shard ");
    expect_text(&c, " of the space and did not answer (up: no, heard of 1520 ms ago)");
    fixture_close(f);
    fixture_open(f); /* alone */
    CU_ASSERT_EQUAL(DUNLIN(&c, "get", "open", "key", "--timeout", "1000"), 3);
    expect_text(&c, "which leads the shard and did not answer");
    fixture_close(f);
}

static void bad_operands_ask_nobody(void)
{
    static const char *const bad[][4] = {
        {"nodes", "1"},          {"nodes", "--no-wait"}, {"spaces", "1"},
        {"shards", "open", "1"}, {"key", "1"},
    };
    struct command c;
    cluster_open();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *arguments[5] = {bad[i][0], bad[i][1], bad[i][2], bad[i][3], NULL};
        CU_ASSERT_EQUAL(dunlin(f, &c, arguments), 2);
        expect_text(&c, "dunlin: ");
    }
    CU_ASSERT_EQUAL(counts_of(f).accepted, 0);
    fixture_close(f);
}

static void a_node_alone_says_so(void)
{
    struct command c;
    fixture_open(f);
    CU_ASSERT_EQUAL(DUNLIN(&c, "nodes"), 3);
    expect_text(&c, "is alone");
    CU_ASSERT_EQUAL(DUNLIN(&c, "nodes", "--json"), 3);
    expect_text(&c, "is alone");
    fixture_close(f);
}

static const struct unit_test tests[] = {
    UNIT_TEST(nodes_are_a_table),       UNIT_TEST(shards_are_a_table),
    UNIT_TEST(spaces_are_a_table),      UNIT_TEST(who_did_not_answer_is_named),
    UNIT_TEST(bad_operands_ask_nobody), UNIT_TEST(a_node_alone_says_so),
};
UNIT_MAIN("cli_admin", tests)
