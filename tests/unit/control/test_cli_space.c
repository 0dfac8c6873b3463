/* `dunlin space` against a server whose control log does not answer at first: what is asked for again, and what counts
 * as done then. */
#include "control/server.h"

#include "tests/unit/control/cli_command.h"
#include "tests/unit/unit.h"

static struct fixture fixture;
static struct fixture *const f = &fixture;

#define OPEN 1u
#define ANEW 9u

/* The cluster's side: a space that is called open. */
static struct log {
    uint32_t busy;  /* so many are answered by -EBUSY first */
    bool is_done;   /* and done all the same */
    bool is_listed; /* what is dropped, for a while */
    bool is_anew;   /* what is dropped is made again, by somebody else */
    uint32_t asked;
} control;
static struct node_space *space;

static int answer(struct node_space *from, struct node_space *to, int error)
{
    bool is_busy = control.asked++ < control.busy;
    int result = f->node.spaces[OPEN] == from ? (int)OPEN : error;
    if (!is_busy && control.is_listed)
        return -EPERM;
    if (result > 0 && (!is_busy || control.is_done) && !control.is_listed)
        f->node.spaces[OPEN] = to;
    if (control.is_anew)
        space->config.id = ANEW;
    return is_busy ? -EBUSY : result;
}

static int create(void *context, const struct space_config *config)
{
    (void)context;
    CU_ASSERT_STRING_EQUAL(config->name, "open");
    return answer(NULL, space, -EEXIST);
}

static int alter(void *context, const char *name, const char *words)
{
    (void)context;
    CU_ASSERT_STRING_EQUAL(name, "open");
    CU_ASSERT_STRING_EQUAL(words, "quota=64MiB\n");
    return answer(space, space, -ENOENT);
}

static int drop(void *context, const char *name)
{
    (void)context;
    CU_ASSERT_STRING_EQUAL(name, "open");
    return answer(space, control.is_anew ? space : NULL, -ENOENT);
}

static void spaces_open(bool is_there)
{
    static const struct server_spaces spaces = {.create = create, .alter = alter, .drop = drop};
    fixture_open(f);
    server_set_spaces(f->server, &spaces);
    space = f->node.spaces[OPEN];
    control = (struct log){.busy = 0};
    if (!is_there)
        f->node.spaces[OPEN] = NULL;
}

static void spaces_close(void)
{
    f->node.spaces[OPEN] = space;
    space->config.id = OPEN;
    fixture_close(f);
}

#define CREATE(c, ...)                                                                             \
    DUNLIN(c, "space", "create", "open", "--no-wait", "--shards", "2", __VA_ARGS__)

static void a_busy_log_is_asked_again(void)
{
    struct command c;
    spaces_open(false);
    control.busy = 2;
    CU_ASSERT_EQUAL(CREATE(&c, "--quota", "16MiB"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "space open created, id 1\n");
    CU_ASSERT_EQUAL(control.asked, 3);
    control.asked = 0;
    CU_ASSERT_EQUAL(DUNLIN(&c, "space", "alter", "open", "--quota", "64MiB"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "space open altered, id 1\n");
    CU_ASSERT_EQUAL(control.asked, 3);
    control.asked = 0;
    CU_ASSERT_EQUAL(DUNLIN(&c, "space", "drop", "open", "--yes"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "space open dropped, id 1\n");
    CU_ASSERT_EQUAL(control.asked, 3);
    spaces_close();
}

static void what_was_done_and_not_said_is_done(void)
{
    struct command c;
    spaces_open(false);
    control = (struct log){.busy = 1, .is_done = true};
    CU_ASSERT_EQUAL(CREATE(&c, "--quota", "16MiB"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "space open created, id 1\n");
    CU_ASSERT_EQUAL(control.asked, 2);
    control.asked = 0;
    CU_ASSERT_EQUAL(DUNLIN(&c, "space", "drop", "open", "--yes"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "space open dropped, id 1\n");
    CU_ASSERT_EQUAL(control.asked, 1);
    spaces_close();
    spaces_open(true);
    control = (struct log){.busy = 1, .is_listed = true};
    CU_ASSERT_EQUAL(DUNLIN(&c, "space", "drop", "open", "--yes"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "space open dropped, id 1\n");
    CU_ASSERT_EQUAL(control.asked, 2);
    spaces_close();
}

static void what_was_there_before_is_not_made(void)
{
    struct command c;
    spaces_open(true);
    control.busy = 1;
    CU_ASSERT_EQUAL(CREATE(&c, "--quota", "16MiB"), 5);
    expect_text(&c, "there is a space of that name");
    f->node.spaces[OPEN] = NULL;
    control.asked = 0;
    CU_ASSERT_EQUAL(DUNLIN(&c, "space", "drop", "open", "--yes"), 3); /* nobody knows */
    control.busy = 0;
    CU_ASSERT_EQUAL(DUNLIN(&c, "space", "drop", "open", "--yes"), 1);
    expect_text(&c, "there is no space 'open'");
    spaces_close();
}

static void what_somebody_else_made_is_not_ours(void)
{
    struct command c;
    spaces_open(false);
    control = (struct log){.busy = 1, .is_done = true};
    CU_ASSERT_EQUAL(CREATE(&c, "--quota", "64MiB"), 5);
    f->node.spaces[OPEN] = NULL;
    control.asked = 0;
    CU_ASSERT_EQUAL(CREATE(&c, "--quota", "16MiB", "--id", "7"), 5);
    /* Nor is it dropped. */
    control = (struct log){.busy = 1, .is_done = true, .is_anew = true};
    CU_ASSERT_EQUAL(DUNLIN(&c, "space", "drop", "open", "--yes"), 0);
    CU_ASSERT_STRING_EQUAL(c.text, "space open dropped, id 1\n");
    CU_ASSERT_EQUAL(control.asked, 1);
    spaces_close();
}

static void a_log_that_never_answers_is_told(void)
{
    struct command c;
    spaces_open(false);
    control.busy = UINT32_MAX;
    CU_ASSERT_EQUAL(CREATE(&c, "--timeout", "1000"), 3);
    expect_text(&c, "the control log does not answer");
    CU_ASSERT(control.asked >= 4);
    spaces_close();
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_busy_log_is_asked_again),         UNIT_TEST(what_was_done_and_not_said_is_done),
    UNIT_TEST(what_was_there_before_is_not_made), UNIT_TEST(what_somebody_else_made_is_not_ours),
    UNIT_TEST(a_log_that_never_answers_is_told),
};
UNIT_MAIN("cli_space", tests)
