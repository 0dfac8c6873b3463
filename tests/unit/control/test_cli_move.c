/* `dunlin move` against a server whose cluster is scripted, and whose spaces come and go meanwhile: what is waited
 * for, what is printed, and the exit codes. */
#include "control/server.h"

#include "tests/unit/control/cli_command.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

static struct fixture fixture;
static struct fixture *const f = &fixture;

#define OPEN 1u
#define CLOSED 2u
#define SPACES 4u
#define FOR_EVER UINT32_MAX
#define SPACE_OF(log) ((log) >> NODE_LOG_SPACE_SHIFT)

/* The cluster's side.  The fixture's node, 7, leads all until it is asked. */
static struct cluster {
    int64_t error;       /* 0: moves are done */
    uint32_t leaderless; /* so many moves are answered by -EAGAIN first */
    uint32_t busy;       /* and so many by -EBUSY before them */
    uint32_t asked;      /* how often for a move */
    bool is_moved;
    uint32_t first, last, node;
    bool refuses;                    /* the node that is to lead */
    uint32_t looks;                  /* since the move, or the begin */
    uint32_t moving_looks[SPACES];   /* so many of them see a shard of this space move */
    uint32_t last_log;               /* of the look that goes on */
    uint32_t undecided;              /* space whose shards it does not know */
    uint32_t anew;                   /* space that was made since the move */
    uint32_t restless, restless_log; /* a space, a shard, that moves for reasons of its own */
    uint32_t alone_log;              /* one in which node 7 alone votes */
    uint32_t happens_at;             /* look; 0: the move */
    void (*happens)(void);
} cluster;
static struct node_space *open_space;

static bool is_asked_for(uint32_t log)
{
    return cluster.is_moved && log >= cluster.first && log <= cluster.last &&
           log != cluster.alone_log && SPACE_OF(log) != cluster.anew;
}

static bool is_moving(uint32_t log)
{
    if (SPACE_OF(log) == cluster.restless || log == cluster.restless_log)
        return true;
    return is_asked_for(log) && cluster.looks <= cluster.moving_looks[SPACE_OF(log)];
}

static uint32_t leader_of(uint32_t log)
{
    return is_asked_for(log) && !is_moving(log) && !cluster.refuses ? cluster.node : 7;
}

static bool goes_to_node(uint32_t log)
{
    return leader_of(log) == cluster.node;
}

/* Over all shards that the cluster knows. */
static uint32_t count(bool (*is)(uint32_t log))
{
    uint32_t all = 0;
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++) {
        const struct node_space *s = f->node.spaces[id];
        for (uint32_t i = 0; s != NULL && i < s->config.shard_count; i++)
            all += SPACE_OF(s->boards[i].log) != cluster.undecided && is(s->boards[i].log) ? 1 : 0;
    }
    return all;
}

static void look_begin(void)
{
    cluster.looks++;
    if (cluster.happens != NULL && cluster.happens_at == cluster.looks)
        cluster.happens();
}

static int64_t move(void *context, uint32_t first_log, uint32_t last_log, uint32_t node)
{
    (void)context;
    if (cluster.asked++ < cluster.busy)
        return -EBUSY;
    if (cluster.asked <= cluster.busy + cluster.leaderless)
        return -EAGAIN;
    if (cluster.error != 0)
        return cluster.error;
    cluster.first = first_log;
    cluster.last = last_log;
    cluster.node = node;
    cluster.is_moved = true;
    cluster.looks = 0;
    int64_t moved = count(is_asked_for);
    if (cluster.happens != NULL && cluster.happens_at == 0)
        cluster.happens();
    return moved;
}

static char *nodes_json(void *context)
{
    char text[256];
    (void)context;
    look_begin();
    (void)snprintf(text, sizeof text,
                   "{\"node\":7,\"moving\":%u,\"nodes\":[{\"id\":2,\"leads\":%u},{\"id\":7}]}",
                   count(is_moving), cluster.is_moved ? count(goes_to_node) : 0);
    return strdup(text);
}

static void shard(void *context, const struct server_shard_asked *asked, struct server_shard *told)
{
    (void)context;
    if (asked->log <= cluster.last_log)
        look_begin();
    cluster.last_log = asked->log;
    *told = (struct server_shard){.state = SERVER_SHARD_PENDING};
    if (SPACE_OF(asked->log) == cluster.undecided)
        return;
    *told = (struct server_shard){.leader = leader_of(asked->log),
                                  .epoch = 42,
                                  .state = is_moving(asked->log) ? SERVER_SHARD_MOVING
                                                                 : SERVER_SHARD_ACTIVE,
                                  .voter_count = asked->log == cluster.alone_log ? 1 : 3,
                                  .voters = {7, 2, 3}};
}

static const struct server_admin admin = {.move = move, .nodes_json = nodes_json, .shard = shard};

static void cluster_open(void)
{
    cluster = (struct cluster){.last_log = UINT32_MAX};
    fixture_open(f);
    open_space = f->node.spaces[OPEN];
    server_set_admin(f->server, &admin);
}

static void cluster_close(void)
{
    f->node.spaces[OPEN] = open_space;
    fixture_close(f);
}

/* ---- what happens meanwhile ---- */

static void open_is_undecided(void)
{
    cluster.undecided = OPEN;
}
static void open_goes(void)
{
    f->node.spaces[OPEN] = NULL;
}
static void open_comes(void)
{
    f->node.spaces[OPEN] = open_space;
}

static void open_is_made_again(void)
{
    open_space->lsn_start += NODE_LSN_GRANT;
    cluster.anew = OPEN;
}

static void open_has_another_id(void)
{
    for (uint32_t i = 0; i < open_space->config.shard_count; i++)
        open_space->boards[i].log = 3u << NODE_LOG_SPACE_SHIFT | i;
    cluster.anew = 3;
}

/* ---- tests ---- */

static void a_move_waits_until_nothing_moves(void)
{
    struct command c;
    cluster_open();
    cluster.moving_looks[OPEN] = 3;
    CU_ASSERT_EQUAL(DUNLIN(&c, "move", "2", "open", "1"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "1 shards move to node 2\n");
    CU_ASSERT_EQUAL(cluster.asked, 1);
    CU_ASSERT_EQUAL(cluster.node, 2);
    CU_ASSERT_EQUAL(cluster.first, open_space->boards[1].log);
    CU_ASSERT_EQUAL(cluster.last, open_space->boards[1].log);
    CU_ASSERT_EQUAL(cluster.looks, 4);
    cluster_close();
    cluster_open();
    cluster.moving_looks[CLOSED] = 2;
    CU_ASSERT_EQUAL(DUNLIN(&c, "move", "2"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "4 shards move to node 2\n");
    CU_ASSERT_EQUAL(cluster.looks, 3);
    cluster_close();
}

static void only_what_was_asked_for_is_waited_for(void)
{
    struct command c;
    cluster_open();
    cluster.restless = CLOSED;
    cluster.moving_looks[OPEN] = 1;
    CU_ASSERT_EQUAL(DUNLIN(&c, "move", "2", "open", "--timeout", "2000"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "2 shards move to node 2\n");
    CU_ASSERT_EQUAL(cluster.looks, 2);
    cluster.restless = 0;
    cluster.restless_log = open_space->boards[0].log;
    CU_ASSERT_EQUAL(DUNLIN(&c, "move", "2", "open", "1", "--timeout", "2000"), 0);
    CU_ASSERT_EQUAL(cluster.looks, 2);
    cluster_close();
}

static void a_shard_in_which_it_has_no_vote_is_not_missed(void)
{
    struct command c;
    cluster_open();
    cluster.alone_log = open_space->boards[0].log;
    CU_ASSERT_EQUAL(DUNLIN(&c, "move", "2"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "3 shards move to node 2\n");
    cluster_close();
}

static void a_move_that_was_passed_on_is_told(void)
{
    struct command c;
    cluster_open();
    cluster.refuses = true;
    cluster.moving_looks[OPEN] = 1;
    CU_ASSERT_EQUAL(DUNLIN(&c, "move", "2"), 3);
    expect_text(&c, "node 2 did not take 4 shards");
    CU_ASSERT_EQUAL(cluster.looks, 2); /* not by the first, in which some still move */
    cluster_close();
}

static void a_move_need_not_wait(void)
{
    struct command c;
    cluster_open();
    cluster.moving_looks[OPEN] = FOR_EVER;
    CU_ASSERT_EQUAL(DUNLIN(&c, "move", "--no-wait", "2"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "4 shards move to node 2\n");
    CU_ASSERT_EQUAL(DUNLIN(&c, "--json", "move", "2", "--no-wait"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "{\"shards\":4,\"node\":2}\n");
    CU_ASSERT_EQUAL(cluster.looks, 0);
    CU_ASSERT_EQUAL(cluster.last_log, UINT32_MAX); /* nor before it */
    cluster_close();
}

static void a_move_that_never_ends_is_told(void)
{
    struct command c;
    cluster_open();
    cluster.moving_looks[OPEN] = FOR_EVER;
    CU_ASSERT_EQUAL(DUNLIN(&c, "move", "2", "--timeout", "1000"), 3);
    expect_text(&c, "4 shards move to node 2\n");
    expect_text(&c, "2 shards are still moving");
    CU_ASSERT(cluster.looks >= 2);
    cluster_close();
}

/* Right after it was asked for, and while others still move. */
static void open_is_not_missed_when(void (*happens)(void))
{
    for (uint32_t look = 0; look <= 2; look += 2) {
        struct command c;
        cluster_open();
        cluster.moving_looks[OPEN] = FOR_EVER;
        cluster.moving_looks[CLOSED] = 4;
        cluster.happens = happens;
        cluster.happens_at = look;
        CU_ASSERT_EQUAL(DUNLIN(&c, "move", "2", "--timeout", "2000"), 0);
        CU_ASSERT_STRING_EQUAL(c.text, "4 shards move to node 2\n");
        CU_ASSERT_EQUAL(cluster.looks, 5);
        cluster_close();
    }
}

/* Nodes forget it before this one has: for a moment it lists shards that nobody decides on. */
static void a_space_that_is_dropped_is_not_missed(void)
{
    open_is_not_missed_when(open_is_undecided);
    open_is_not_missed_when(open_goes);
}

static void a_space_that_is_made_again_is_not_missed(void)
{
    open_is_not_missed_when(open_is_made_again);
    open_is_not_missed_when(open_has_another_id);
}

static void a_space_that_is_made_meanwhile_is_not_waited_for(void)
{
    struct command c;
    cluster_open();
    f->node.spaces[OPEN] = NULL;
    cluster.moving_looks[OPEN] = FOR_EVER;
    cluster.moving_looks[CLOSED] = 2;
    cluster.happens = open_comes;
    CU_ASSERT_EQUAL(DUNLIN(&c, "move", "2", "--timeout", "2000"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "2 shards move to node 2\n");
    CU_ASSERT_EQUAL(cluster.looks, 3);
    cluster_close();
}

static void a_shard_without_a_first_leader_is_asked_for_again(void)
{
    struct command c;
    cluster_open();
    cluster.leaderless = 3;
    CU_ASSERT_EQUAL(DUNLIN(&c, "move", "2"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "4 shards move to node 2\n");
    CU_ASSERT_EQUAL(cluster.asked, 4);
    cluster_close();
}

static void a_control_log_without_a_leader_is_asked_again(void)
{
    struct command c;
    cluster_open();
    cluster.busy = 2;
    cluster.leaderless = 2;
    CU_ASSERT_EQUAL(DUNLIN(&c, "move", "2"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "4 shards move to node 2\n");
    CU_ASSERT_EQUAL(cluster.asked, 5);
    cluster.busy = FOR_EVER;
    CU_ASSERT_EQUAL(DUNLIN(&c, "move", "2", "--no-wait", "--timeout", "1000"), 3);
    expect_text(&c, "the control log does not answer");
    CU_ASSERT(cluster.asked >= 9);
    cluster_close();
}

/* What is meant is what there is when it is done, not what there was when it was first asked for. */
static void what_is_asked_for_again_may_have_changed(void)
{
    struct command c;
    cluster_open();
    cluster.leaderless = 3;
    cluster.refuses = true;
    cluster.undecided = CLOSED;
    f->node.spaces[OPEN] = NULL;
    cluster.happens = open_comes;
    cluster.happens_at = 2;
    CU_ASSERT_EQUAL(DUNLIN(&c, "move", "2"), 3);
    expect_text(&c, "2 shards move to node 2\n");
    expect_text(&c, "node 2 did not take 2 shards");
    cluster_close();
}

static void a_shard_that_gets_no_leader_is_told(void)
{
    struct command c;
    cluster_open();
    cluster.leaderless = FOR_EVER;
    CU_ASSERT_EQUAL(DUNLIN(&c, "move", "2", "--no-wait"), 3);
    expect_text(&c, "no leader yet");
    CU_ASSERT_EQUAL(cluster.asked, 1);
    CU_ASSERT_EQUAL(DUNLIN(&c, "move", "2", "--timeout", "1000"), 3);
    expect_text(&c, "no leader yet");
    CU_ASSERT(cluster.asked >= 4);
    cluster_close();
}

static void errors_have_their_exit_code(void)
{
    struct command c;
    cluster_open();
    cluster.error = -ENOENT;
    CU_ASSERT_EQUAL(DUNLIN(&c, "move", "9"), 2);
    expect_text(&c, "no node 9");
    CU_ASSERT_EQUAL(DUNLIN(&c, "move", "2", "nowhere"), 1);
    expect_text(&c, "no space 'nowhere'");
    CU_ASSERT_EQUAL(DUNLIN(&c, "move", "2", "open", "1023"), 1);
    expect_text(&c, "shard 1023");
    cluster.error = -EBADMSG;
    CU_ASSERT_EQUAL(DUNLIN(&c, "move", "2"), 5);
    expect_text(&c, "an older release");
    cluster.error = -ENOSPC;
    CU_ASSERT_EQUAL(DUNLIN(&c, "move", "2"), 3);
    expect_text(&c, "No space left");
    CU_ASSERT_EQUAL(cluster.asked, 3);
    cluster_close();
    fixture_open(f); /* alone */
    CU_ASSERT_EQUAL(DUNLIN(&c, "move", "1"), 3);
    expect_text(&c, "is alone");
    fixture_close(f);
}

static void bad_operands_ask_nobody(void)
{
    static const char *const bad[][4] = {
        {"move"},
        {"move", "0"},
        {"move", "-1"},
        {"move", "two"},
        {"move", "4294967296"},
        {"move", "2", ""},
        {"move", "2", "a-name-that-is-longer-than-any-can"},
        {"move", "2", "open", "1024"},
        {"move", "2", "open", "x"},
    };
    struct command c;
    cluster_open();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *arguments[5] = {bad[i][0], bad[i][1], bad[i][2], bad[i][3], NULL};
        CU_ASSERT_EQUAL(dunlin(f, &c, arguments), 2);
        expect_text(&c, "dunlin: ");
    }
    CU_ASSERT_EQUAL(DUNLIN(&c, "move", "2", "open", "1", "more"), 2);
    CU_ASSERT_EQUAL(cluster.asked + cluster.looks, 0);
    CU_ASSERT_EQUAL(counts_of(f).accepted, 0);
    cluster_close();
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_move_waits_until_nothing_moves),
    UNIT_TEST(only_what_was_asked_for_is_waited_for),
    UNIT_TEST(a_shard_in_which_it_has_no_vote_is_not_missed),
    UNIT_TEST(a_move_that_was_passed_on_is_told),
    UNIT_TEST(a_move_need_not_wait),
    UNIT_TEST(a_move_that_never_ends_is_told),
    UNIT_TEST(a_space_that_is_dropped_is_not_missed),
    UNIT_TEST(a_space_that_is_made_again_is_not_missed),
    UNIT_TEST(a_space_that_is_made_meanwhile_is_not_waited_for),
    UNIT_TEST(a_shard_without_a_first_leader_is_asked_for_again),
    UNIT_TEST(a_control_log_without_a_leader_is_asked_again),
    UNIT_TEST(what_is_asked_for_again_may_have_changed),
    UNIT_TEST(a_shard_that_gets_no_leader_is_told),
    UNIT_TEST(errors_have_their_exit_code),
    UNIT_TEST(bad_operands_ask_nobody),
};
UNIT_MAIN("cli_move", tests)
