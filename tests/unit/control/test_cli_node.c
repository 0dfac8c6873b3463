/* `dunlin node` and `dunlin recover` against a server whose cluster is scripted: what is asked, what is waited
 * for, what is printed, and the exit codes. */
#include "control/server.h"

#include "tests/unit/control/cli_command.h"
#include "tests/unit/control/server_cluster.h"

#include <stdlib.h>

static struct fixture fixture;
static struct fixture *const f = &fixture;

/* Node 4 has votes for as many looks as `left`, and then is gone if it was removed. */
static struct server_cluster cluster;
static uint32_t looks, left;

static bool is_left(const struct server_cluster *c)
{
    return c->changes + c->recovers != 0 && looks++ < left;
}

static char *nodes_json(void *context)
{
    const struct server_cluster *c = context;
    bool has_votes = is_left(c);
    char text[512];
    (void)snprintf(text, sizeof text,
                   "{\"node\":1,\"replicas\":3,\"redundancy\":{\"least\":2,\"below\":5,"
                   "\"changing\":1},\"nodes\":[{\"id\":1,\"votes\":8,\"leads\":8}%s",
                   c->changes != 0 && !has_votes && c->change.kind == SERVER_NODE_REMOVE ? "]}"
                   : has_votes ? ",{\"id\":4,\"votes\":8,\"leads\":0}]}"
                               : ",{\"id\":4,\"votes\":0,\"leads\":0}]}");
    return strdup(text);
}

static void shard(void *context, const struct server_shard_asked *asked, struct server_shard *told)
{
    bool is_pending = asked->log == f->node.spaces[1]->boards[1].log && is_left(context);
    *told = (struct server_shard){.leader = 1,
                                  .epoch = 42,
                                  .state = is_pending ? SERVER_SHARD_PENDING : SERVER_SHARD_ACTIVE,
                                  .voter_count = 3,
                                  .voters = {1, 2, 4},
                                  .learner_count = 1,
                                  .learners = {3}};
}

static const struct server_admin admin = {.node = server_cluster_node,
                                          .recover = server_cluster_recover,
                                          .nodes_json = nodes_json,
                                          .shard = shard,
                                          .context = &cluster};

static void cluster_open(void)
{
    cluster = (struct server_cluster){.answer = 1};
    looks = left = 0;
    fixture_open(f);
    server_set_admin(f->server, &admin);
}

static void a_node_is_added_by_its_words(void)
{
    struct command c;
    cluster_open();
    CU_ASSERT_EQUAL(DUNLIN(&c, "node", "add", "4", "--address", "10.0.0.4:7700", "--control",
                           "10.0.1.4:7700", "--zone", "hall-2", "--weight", "7"),
                    0);
    CU_ASSERT_STRING_EQUAL(c.text, "node 4 is of the cluster; now its daemon may start\n");
    CU_ASSERT_EQUAL(cluster.changes, 1);
    CU_ASSERT_EQUAL(cluster.change.kind, SERVER_NODE_ADD);
    CU_ASSERT_EQUAL(cluster.change.id, 4);
    CU_ASSERT_STRING_EQUAL(cluster.change.words.address, "10.0.0.4:7700");
    CU_ASSERT_STRING_EQUAL(cluster.change.words.control, "10.0.1.4:7700");
    CU_ASSERT_STRING_EQUAL(cluster.change.words.zone, "hall-2");
    CU_ASSERT_EQUAL(cluster.change.words.weight, 7);
    CU_ASSERT_EQUAL(DUNLIN(&c, "--json", "node", "add", "5", "--address", "10.0.0.5:7700"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "{\"node\":5}\n");
    fixture_close(f);
}

/* One of that id may still be going: it is asked for again until it has gone. */
static void an_add_is_asked_for_again(void)
{
    struct command c;
    cluster_open();
    cluster.busy = 3;
    CU_ASSERT_EQUAL(DUNLIN(&c, "node", "add", "4", "--address", "10.0.0.4:1"), 0);
    expect_text(&c, "node 4 is of the cluster");
    CU_ASSERT_EQUAL(cluster.changes, 4);
    /* The first time it was done, and not said. */
    cluster.busy = 1;
    cluster.answer = -EEXIST;
    CU_ASSERT_EQUAL(DUNLIN(&c, "node", "add", "4", "--address", "10.0.0.4:1"), 0);
    expect_text(&c, "node 4 is of the cluster");
    CU_ASSERT_EQUAL(cluster.changes, 6);
    cluster.busy = UINT32_MAX;
    CU_ASSERT_EQUAL(DUNLIN(&c, "node", "add", "4", "--address", "10.0.0.4:1", "--timeout", "1000"),
                    3);
    CU_ASSERT(cluster.changes >= 8);
    fixture_close(f);
}

static void a_drain_waits_until_it_votes_no_more(void)
{
    struct command c;
    cluster_open();
    left = 2;
    CU_ASSERT_EQUAL(DUNLIN(&c, "node", "drain", "4"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "node 4 votes and leads no more\n");
    CU_ASSERT_EQUAL(cluster.change.kind, SERVER_NODE_DRAIN);
    CU_ASSERT_EQUAL(looks, 3);
    CU_ASSERT_EQUAL(DUNLIN(&c, "node", "drain", "4", "--undo"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "node 4 may vote and lead again\n");
    CU_ASSERT_EQUAL(cluster.change.kind, SERVER_NODE_UNDRAIN);
    CU_ASSERT_EQUAL(looks, 3);
    left = UINT32_MAX;
    CU_ASSERT_EQUAL(DUNLIN(&c, "node", "drain", "4", "--no-wait"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "node 4 drains\n");
    CU_ASSERT_EQUAL(looks, 3);
    CU_ASSERT_EQUAL(DUNLIN(&c, "node", "drain", "4", "--timeout", "1000"), 3);
    expect_text(&c, "node 4 still votes or leads; it goes on by itself");
    CU_ASSERT(looks > 3);
    fixture_close(f);
}

static void a_remove_waits_until_it_is_gone(void)
{
    struct command c;
    cluster_open();
    left = 2;
    CU_ASSERT_EQUAL(DUNLIN(&c, "node", "remove", "4"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "node 4 is removed\n");
    CU_ASSERT_EQUAL(cluster.change.kind, SERVER_NODE_REMOVE);
    CU_ASSERT_EQUAL(looks, 3);
    left = UINT32_MAX;
    CU_ASSERT_EQUAL(DUNLIN(&c, "node", "remove", "4", "--no-wait"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "node 4 leaves\n");
    CU_ASSERT_EQUAL(DUNLIN(&c, "node", "remove", "4", "--timeout", "1000"), 3);
    expect_text(&c, "node 4 still is of the cluster; it goes on by itself");
    fixture_close(f);
}

static void what_takes_a_node_away_is_asked_for_again(void)
{
    struct command c;
    cluster_open();
    cluster.busy = 2;
    CU_ASSERT_EQUAL(DUNLIN(&c, "node", "drain", "4"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "node 4 votes and leads no more\n");
    CU_ASSERT_EQUAL(cluster.changes, 3);
    cluster.busy = 2;
    CU_ASSERT_EQUAL(DUNLIN(&c, "node", "remove", "4"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "node 4 is removed\n");
    CU_ASSERT_EQUAL(cluster.changes, 6);
    /* The first time it was done, and not said. */
    cluster.changes = 0; /* it is there again */
    cluster.busy = 1;
    cluster.answer = -ENOENT;
    CU_ASSERT_EQUAL(DUNLIN(&c, "node", "remove", "4"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "node 4 is removed\n");
    CU_ASSERT_EQUAL(cluster.changes, 2);
    cluster.busy = 1;
    CU_ASSERT_EQUAL(DUNLIN(&c, "node", "drain", "4"), 1);
    cluster.busy = 1;
    CU_ASSERT_EQUAL(DUNLIN(&c, "node", "remove", "5"), 1); /* which there never was */
    fixture_close(f);
}

static void what_is_refused_has_its_exit_code(void)
{
    static const struct {
        int64_t answer;
        int exit_code;
        const char *text;
    } refused[] = {
        {-EEXIST, 5, "there is a node of that id"},
        {-EADDRINUSE, 5, "another node has that address"},
        {-EAFNOSUPPORT, 2, "all IPv4 or all IPv6"},
        {-ENOSPC, 5, "there are 7 nodes"},
        {-EPERM, 5, "fewer than two nodes that vote would stay"},
        {-EHOSTDOWN, 5, "too few are up"},
        {-EAGAIN, 3, "the cluster has not begun"},
        {-EBUSY, 3, "the control log does not answer"},
        {-EBADMSG, 5, "an older release"},
        {-EINVAL, 2, "does not take it"},
        {-ENOENT, 1, "there is no node 4"},
    };
    struct command c;
    cluster_open();
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        cluster.answer = refused[i].answer;
        CU_ASSERT_EQUAL(
            DUNLIN(&c, "node", "add", "4", "--address", "10.0.0.4:1", "--timeout", "1000"),
            refused[i].exit_code);
        expect_text(&c, refused[i].text);
        CU_ASSERT_EQUAL(DUNLIN(&c, "node", "remove", "4", "--timeout", "1000"),
                        refused[i].exit_code);
        CU_ASSERT_EQUAL(DUNLIN(&c, "node", "drain", "4", "--timeout", "1000"),
                        refused[i].exit_code);
    }
    cluster.answer = -ENOENT;
    CU_ASSERT_EQUAL(DUNLIN(&c, "recover", "open", "--accept-loss"), 1);
    expect_text(&c, "no such space or shard");
    cluster.answer = -EBUSY;
    CU_ASSERT_EQUAL(DUNLIN(&c, "recover", "open", "--accept-loss"), 3);
    expect_text(&c, "recover: the control log does not answer");
    fixture_close(f);
}

static void a_recovery_waits_until_it_is_served(void)
{
    struct command c;
    cluster_open();
    const struct layout_board *boards = f->node.spaces[1]->boards;
    left = 2;
    cluster.answer = 2;
    CU_ASSERT_EQUAL(DUNLIN(&c, "recover", "open", "--accept-loss"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "2 shards of open begin again\n");
    CU_ASSERT_EQUAL(cluster.first_log, boards[0].log);
    CU_ASSERT_EQUAL(cluster.last_log, boards[1].log);
    CU_ASSERT_EQUAL(cluster.from, 0);
    CU_ASSERT_EQUAL(looks, 3);
    left = UINT32_MAX;
    CU_ASSERT_EQUAL(DUNLIN(&c, "--json", "recover", "open", "0", "--accept-loss", "--from", "3"),
                    0);
    CU_ASSERT_STRING_EQUAL(c.text, "{\"space\":\"open\",\"shards\":2}\n");
    CU_ASSERT_EQUAL(cluster.last_log, boards[0].log);
    CU_ASSERT_EQUAL(cluster.from, 3);
    CU_ASSERT_EQUAL(DUNLIN(&c, "recover", "open", "1", "--accept-loss", "--timeout", "1000"), 3);
    expect_text(&c, "1 shards are not served yet");
    CU_ASSERT_EQUAL(DUNLIN(&c, "recover", "open", "1", "--accept-loss", "--no-wait"), 0);
    cluster.answer = 0;
    CU_ASSERT_EQUAL(DUNLIN(&c, "recover", "open", "--accept-loss"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "nothing is lost of open\n");
    fixture_close(f);
}

static void who_votes_is_told(void)
{
    struct command c;
    cluster_open();
    CU_ASSERT_EQUAL(DUNLIN(&c, "shards", "open", "--json"), 0);
    expect_text(&c, "\"voters\":[1,2,4],\"learners\":[3]");
    CU_ASSERT_EQUAL(DUNLIN(&c, "nodes"), 0);
    expect_text(&c,
                "redundancy: 3 voters wanted, of any shard at least 2 are up and hold all; below "
                "that 5 shards, changing 1\n");
    fixture_close(f);
}

static void bad_operands_ask_nobody(void)
{
    static const char *const bad[][7] = {
        {"node"},
        {"node", "add"},
        {"node", "add", "4"},
        {"node", "add", "0", "--address", "10.0.0.4:1"},
        {"node", "add", "x", "--address", "10.0.0.4:1"},
        {"node", "add", "4294967296", "--address", "10.0.0.4:1"},
        {"node", "add", "4", "--address", "host:1"},
        {"node", "add", "4", "--address", "10.0.0.4:1", "--undo"},
        {"node", "add", "4", "--address", "10.0.0.4:1", "--weight=0"},
        {"node", "drain", "4", "--address", "10.0.0.4:1"},
        {"node", "remove", "4", "--undo"},
        {"node", "remove"},
        {"node", "promote", "4"},
        {"recover"},
        {"recover", "open"},
        {"recover", "", "--accept-loss"},
        {"recover", "open", "1024", "--accept-loss"},
        {"recover", "open", "x", "--accept-loss"},
        {"recover", "open", "--accept-loss", "--from", "0"},
        {"recover", "open", "--accept-loss", "--from", "two"},
        {"move", "2", "--accept-loss"},
        {"space", "drop", "open", "--undo"},
    };
    struct command c;
    cluster_open();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *arguments[8] = {NULL};
        memcpy(arguments, bad[i], sizeof bad[i]);
        CU_ASSERT_EQUAL(dunlin(f, &c, arguments), 2);
        expect_text(&c, "dunlin: ");
    }
    CU_ASSERT_EQUAL(cluster.changes + cluster.recovers + looks, 0);
    CU_ASSERT_EQUAL(counts_of(f).accepted, 0);
    fixture_close(f);
}

static void a_node_alone_says_so(void)
{
    struct command c;
    fixture_open(f);
    CU_ASSERT_EQUAL(DUNLIN(&c, "node", "remove", "1"), 3);
    expect_text(&c, "is alone");
    CU_ASSERT_EQUAL(DUNLIN(&c, "recover", "open", "--accept-loss"), 3);
    expect_text(&c, "is alone");
    fixture_close(f);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_node_is_added_by_its_words),
    UNIT_TEST(an_add_is_asked_for_again),
    UNIT_TEST(a_drain_waits_until_it_votes_no_more),
    UNIT_TEST(a_remove_waits_until_it_is_gone),
    UNIT_TEST(what_takes_a_node_away_is_asked_for_again),
    UNIT_TEST(what_is_refused_has_its_exit_code),
    UNIT_TEST(a_recovery_waits_until_it_is_served),
    UNIT_TEST(who_votes_is_told),
    UNIT_TEST(bad_operands_ask_nobody),
    UNIT_TEST(a_node_alone_says_so),
};
UNIT_MAIN("cli_node", tests)
