/* Commands on spaces that are made while the cluster runs: their bytes, and what they do. */
#include "control/coordinator_command.h"
#include "dataplane/node.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define START UINT64_C(1795249235478)
#define CLOCK_NS ((START + 5) * NS_PER_MS)

/* As it goes through the log. */
static int64_t apply(struct coordinator_state **s, const struct coordinator_command *c)
{
    struct coordinator_command decoded;
    const char *fault = coordinator_command_fault(c);
    if (fault != NULL)
        printf("\n    %s", fault);
    CU_ASSERT_PTR_NULL_FATAL(fault);
    size_t length = coordinator_command_bytes(c);
    uint8_t *bytes = malloc(length), *again = malloc(length);
    coordinator_command_encode(c, bytes);
    CU_ASSERT_EQUAL_FATAL(coordinator_command_decode(&decoded, bytes, length), 0);
    CU_ASSERT_EQUAL_FATAL(coordinator_command_bytes(&decoded), length);
    coordinator_command_encode(&decoded, again);
    CU_ASSERT_EQUAL(memcmp(bytes, again, length), 0);
    for (size_t n = 0; n < length; n++)
        CU_ASSERT_EQUAL(coordinator_command_decode(&decoded, bytes, n), -EBADMSG);
    CU_ASSERT_EQUAL(coordinator_command_decode(&decoded, again, length), 0);
    int64_t changed = coordinator_command_apply(s, &decoded);
    CU_ASSERT_PTR_NULL(coordinator_state_fault(*s));
    free(again);
    free(bytes);
    return changed;
}

/* Nodes 10, 20, 30; space 2 of the configuration has two shards. */
static struct coordinator_state *made(void)
{
    struct coordinator_state *s = NULL;
    for (uint32_t i = 0; i < 3; i++) {
        const struct coordinator_command c = {.type = COORDINATOR_REGISTER,
                                              .node = 10 * (i + 1),
                                              .start = START,
                                              .entry = {.origin = START << NODE_LSN_PER_START_SHIFT,
                                                        .node_count = 3,
                                                        .replicas = 3,
                                                        .nodes = {{.id = 10, .weight = 1000},
                                                                  {.id = 20, .weight = 1},
                                                                  {.id = 30, .weight = 1}},
                                                        .space_count = 1,
                                                        .space = {{.id = 2, .shard_count = 2}}}};
        CU_ASSERT_EQUAL_FATAL(coordinator_command_apply(&s, &c), 1);
    }
    return s;
}

static struct coordinator_command of(enum coordinator_space_kind kind)
{
    struct coordinator_command c = {
        .type = COORDINATOR_SPACE, .node = 10, .start = START, .space = {.asked = {.kind = kind}}};
    return c;
}

static struct coordinator_command creating(const char *name, uint32_t id)
{
    struct coordinator_command c = of(COORDINATOR_SPACE_CREATE);
    struct space_config *config = &c.space.config;
    space_config_default(config);
    (void)snprintf(config->name, sizeof config->name, "%s", name);
    config->id = id;
    config->shard_count = 4;
    config->quota_bytes = space_quota_min(4);
    config->quota_max_bytes = 2 * config->quota_bytes;
    c.space.asked.clock_ns = CLOCK_NS;
    return c;
}

static struct coordinator_command has_made(uint32_t node, uint64_t number)
{
    struct coordinator_command c = of(COORDINATOR_SPACE_MADE);
    c.node = node;
    c.space.asked.number = number;
    c.space.asked.lsn_floor = 99;
    return c;
}

static struct coordinator_command serving(void)
{
    struct coordinator_command c = of(COORDINATOR_SPACE_SERVE);
    c.space.asked.up_count = 2;
    c.space.asked.up[0] = 10;
    c.space.asked.up[1] = 30;
    return c;
}

static void a_space_comes_changes_and_goes(void)
{
    struct coordinator_state *s = made();
    struct coordinator_command c = creating("reeds", 0);
    uint64_t ceiling = s->lsn_ceiling = UINT64_C(7) << 60;
    CU_ASSERT_EQUAL(apply(&s, &c), 1); /* the lowest id that is free */
    CU_ASSERT_EQUAL(apply(&s, &c), -EEXIST);
    CU_ASSERT_EQUAL(s->list.entries[0].config.id, 1);
    CU_ASSERT_EQUAL(s->list.entries[0].lsn_start, ceiling + 1);
    CU_ASSERT_EQUAL(s->lsn_ceiling, ceiling + 1 + NODE_LSN_GRANT); /* there is room for its logs */
    c = serving();
    CU_ASSERT_EQUAL(apply(&s, &c), 0); /* nobody has it yet */
    CU_ASSERT_EQUAL(s->shard_count, 2);
    c = has_made(10, 1);
    CU_ASSERT_EQUAL(apply(&s, &c), 1);
    c = has_made(30, 1);
    CU_ASSERT_EQUAL(apply(&s, &c), 1);
    c = serving();
    CU_ASSERT_EQUAL(apply(&s, &c), 1);
    CU_ASSERT_EQUAL(apply(&s, &c), 0);
    CU_ASSERT_EQUAL_FATAL(s->shard_count, 6);
    CU_ASSERT_EQUAL(s->shards[3].log, 1u << NODE_LOG_SPACE_SHIFT | 3);
    CU_ASSERT_EQUAL(s->shards[3].configuration.leader.node,
                    10); /* the first choice of those that are up */
    CU_ASSERT_EQUAL(s->shards[4].log, 2u << NODE_LOG_SPACE_SHIFT);
    c = creating("reeds", 1);
    c.space.asked.kind = COORDINATOR_SPACE_ALTER;
    c.space.asked.clock_ns = 0;
    c.space.config.history = 7;
    CU_ASSERT_EQUAL(apply(&s, &c), 1);
    CU_ASSERT_EQUAL(s->list.entries[0].config.history, 7);
    c.space.config.quota_bytes = 3 * space_quota_min(4);
    CU_ASSERT_EQUAL(apply(&s, &c), -EDQUOT);
    c = of(COORDINATOR_SPACE_DROP);
    c.space.config.id = 1;
    c.space.asked.lsn_floor = UINT64_C(1) << 40;
    CU_ASSERT_EQUAL(apply(&s, &c), 1);
    CU_ASSERT_EQUAL(apply(&s, &c), -ENOENT);
    CU_ASSERT_EQUAL(s->shard_count, 2);
    CU_ASSERT_EQUAL(s->list.lsn_floor, UINT64_C(1) << 40);
    for (uint32_t i = 1; i <= 3; i++) {
        c = has_made(10 * i, s->list.number);
        CU_ASSERT_EQUAL(apply(&s, &c), 1);
        CU_ASSERT_EQUAL(apply(&s, &c), 0);
    }
    CU_ASSERT_EQUAL(s->list.count, 0);
    CU_ASSERT_EQUAL(s->revision, 3 + 5 + 1 + 3);
    free(s);
}

static void who_may_not_ask_changes_nothing(void)
{
    struct coordinator_state *s = made();
    /* The configuration has it, whatever the asker says. */
    struct coordinator_command c = creating("reeds", 2);
    CU_ASSERT_EQUAL(apply(&s, &c), -EEXIST);
    c = creating("reeds", 3);
    c.start = START - 1;
    CU_ASSERT_EQUAL(apply(&s, &c), -ESTALE);
    c.node = 40;
    CU_ASSERT_EQUAL(apply(&s, &c), -ENOENT);
    c = has_made(10, 1); /* of what nobody asked for */
    CU_ASSERT_EQUAL(apply(&s, &c), 0);
    CU_ASSERT_EQUAL(s->revision, 3);
    free(s);
    struct coordinator_state *none = NULL;
    c = creating("reeds", 0);
    CU_ASSERT_EQUAL(coordinator_command_apply(&none, &c), -ENOMEDIUM);
}

static void faulty(const struct coordinator_command *c, const char *what)
{
    const char *fault = coordinator_command_fault(c);
    CU_ASSERT_PTR_NOT_NULL_FATAL(fault);
    CU_ASSERT_STRING_EQUAL(fault, what);
}

static void faults_are_named(void)
{
    struct coordinator_command c = of(6);
    faulty(&c, "kind of a space's change");
    c = of(0);
    faulty(&c, "kind of a space's change");
    c = creating("", 0);
    faulty(&c, "policy of a space");
    c = creating("reeds", LIMIT_SPACES + 1);
    faulty(&c, "policy of a space");
    c = creating("reeds", 0);
    c.space.config.quota_bytes = 1;
    faulty(&c, "policy of a space");
    c = creating("reeds", 0);
    c.space.asked.kind = COORDINATOR_SPACE_ALTER;
    faulty(&c, "clock");
    c.space.asked.clock_ns = 0;
    faulty(&c, "policy of a space"); /* of no id */
    c = creating("reeds", 0);
    c.space.asked.clock_ns = UINT64_MAX;
    faulty(&c, "clock");
    c = creating("reeds", 0);
    c.space.asked.number = 1;
    faulty(&c, "number of the spaces");
    c = has_made(10, 0);
    faulty(&c, "number of the spaces");
    c = has_made(10, 1);
    c.space.asked.lsn_floor = (uint64_t)INT64_MAX + 1;
    faulty(&c, "LSN of a space");
    c = serving();
    c.space.asked.lsn_floor = 1;
    faulty(&c, "LSN of a space");
    c = serving();
    c.space.asked.up_count = 0;
    faulty(&c, "nodes that are up");
    c = serving();
    c.space.asked.up[1] = 10;
    faulty(&c, "nodes that are up");
    c = of(COORDINATOR_SPACE_DROP);
    faulty(&c, "id of a space");
}

static void a_policy_is_written_in_one_way(void)
{
    struct coordinator_command c = creating("reeds", 0), decoded;
    uint8_t bytes[1024];
    size_t length = coordinator_command_bytes(&c), at = COORDINATOR_COMMAND_HEAD_BYTES + 48;
    CU_ASSERT_FATAL(length < sizeof bytes);
    coordinator_command_encode(&c, bytes);
    struct space_list l;
    CU_ASSERT_EQUAL_FATAL(space_list_decode(&l, bytes + at, length - at), 0);
    CU_ASSERT_EQUAL(coordinator_command_decode(&decoded, bytes, length), 0);
    l.entries[0].lsn_start = 2; /* a list, but not one that carries a policy */
    CU_ASSERT_EQUAL(space_list_encode(&l, bytes + at), length - at);
    CU_ASSERT_EQUAL(coordinator_command_decode(&decoded, bytes, length), -EBADMSG);
    l.entries[0].lsn_start = 1;
    CU_ASSERT_EQUAL(space_list_encode(&l, bytes + at), length - at);
    CU_ASSERT_EQUAL(coordinator_command_decode(&decoded, bytes, length), 0);
    bytes[at + 40] ^= 1;
    CU_ASSERT_EQUAL(coordinator_command_decode(&decoded, bytes, length), -EBADMSG);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_space_comes_changes_and_goes),
    UNIT_TEST(who_may_not_ask_changes_nothing),
    UNIT_TEST(faults_are_named),
    UNIT_TEST(a_policy_is_written_in_one_way),
};
UNIT_MAIN("coordinator_command_space", tests)
