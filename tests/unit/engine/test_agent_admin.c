/* What the library itself refuses or passes on of administration.  What a cluster answers is shown
 * where there is one: tests/unit/control/test_cli_move.c. */
#include "tests/unit/engine/agent_node.h"
#include "tests/unit/unit.h"

#include <errno.h>

static const struct agent_node_options one_lcore = {.lcore_count = 1};

static void bad_arguments_are_refused(void)
{
    struct agent_node *n = agent_node_make(&one_lcore);
    struct dunlin_space *space;
    struct dunlin *d = agent_node_attach(n, 2000, &space);
    CU_ASSERT_EQUAL(dunlin_move(NULL, 1, "real", 0), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_move(d, 0, "real", 0), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_move(d, 1, NULL, 0), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_move(d, 1, "", 0), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_move(d, 1, "real", LIMIT_SHARDS), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_move(d, 1, "a-name-that-is-longer-than-any-can", 0), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_nodes_json(NULL, NULL, 0), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_nodes_json(d, NULL, 1), -EINVAL);
    dunlin_close(d);
    agent_node_free(n);
}

/* A refusal leaves the attachment as it was; a daemon that is gone is unavailable. */
static void a_node_alone_has_no_cluster(void)
{
    char text[64];
    struct agent_node *n = agent_node_make(&one_lcore);
    struct dunlin_space *space;
    struct dunlin_info info;
    struct dunlin *d = agent_node_attach(n, 2000, &space);
    CU_ASSERT_EQUAL(dunlin_move(d, 1, NULL, DUNLIN_SHARDS_ALL), -EOPNOTSUPP);
    CU_ASSERT_EQUAL(dunlin_move(d, 1, "real", 3), -EOPNOTSUPP);
    CU_ASSERT_EQUAL(dunlin_nodes_json(d, text, sizeof text), -EOPNOTSUPP);
    CU_ASSERT_EQUAL(dunlin_status_json(d, NULL, 0), -ENOBUFS);
    dunlin_info(d, &info);
    CU_ASSERT_EQUAL(info.attached_count, 1);
    agent_node_kill(n);
    CU_ASSERT_EQUAL(dunlin_move(d, 1, NULL, DUNLIN_SHARDS_ALL), -ENOTCONN);
    CU_ASSERT_EQUAL(dunlin_nodes_json(d, text, sizeof text), -ENOTCONN);
    dunlin_close(d);
    agent_node_free(n);
}

static const struct unit_test tests[] = {
    UNIT_TEST(bad_arguments_are_refused),
    UNIT_TEST(a_node_alone_has_no_cluster),
};
UNIT_MAIN("agent_admin", tests)
