#include "control/coordinator_space.h"
#include "control/coordinator_text.h"
#include "dataplane/node.h"

#include "tests/unit/unit.h"

#include <stdlib.h>

#define NODES 3u
#define START UINT64_C(1795249235478)
#define CLOCK ((START + 60000) * NS_PER_MS)
#define MIB (UINT64_C(1) << 20)

static const uint32_t all[NODES] = {10, 20, 30};
static struct coordinator_state *state;

/* Three nodes, one space of the configuration with the id 2 and four shards. */
static void begin(void)
{
    state = calloc(1, coordinator_state_bytes(4));
    CU_ASSERT_PTR_NOT_NULL_FATAL(state);
    state->revision = 1;
    state->origin = START << NODE_LSN_PER_START_SHIFT;
    state->replicas = state->node_count = NODES;
    for (uint32_t i = 0; i < NODES; i++)
        state->nodes[i] =
            (struct coordinator_node){.id = all[i], .weight = 100, .start = START + i};
    state->shard_count = 4;
    for (uint32_t i = 0; i < 4; i++)
        state->shards[i].log = 2u << NODE_LOG_SPACE_SHIFT | i;
    coordinator_state_begin(state);
    for (uint32_t i = 0; i < 4; i++)
        state->shards[i].configuration.active = true;
    CU_ASSERT_PTR_NULL(coordinator_state_fault(state));
}

static void end(void)
{
    free(state);
    state = NULL;
}

/* It could have been written, and comes back the same. */
static void is_whole(void)
{
    struct coordinator_state *again = NULL;
    struct coordinator_fault fault;
    char *text;
    size_t length;
    CU_ASSERT_PTR_NULL(coordinator_state_fault(state));
    CU_ASSERT_EQUAL_FATAL(coordinator_print(state, &text, &length), 0);
    CU_ASSERT_EQUAL_FATAL(coordinator_parse(text, length, &again, &fault), 0);
    CU_ASSERT_EQUAL(memcmp(state, again, coordinator_state_bytes(state->shard_count)), 0);
    free(again);
    free(text);
}

static struct space_config config_of(const char *name, uint32_t shards)
{
    struct space_config c;
    memset(&c, 0, sizeof c);
    space_config_default(&c);
    (void)snprintf(c.name, sizeof c.name, "%s", name);
    c.shard_count = shards;
    c.quota_bytes = 32 * MIB;
    return c;
}

static int create(const char *name, uint32_t shards)
{
    const struct space_config c = config_of(name, shards);
    return coordinator_space_create(state, &c, CLOCK, 1u << 1);
}

static bool made(uint32_t node, uint64_t number)
{
    const struct member m = {.node = all[node], .incarnation = state->nodes[node].start};
    return coordinator_space_made(state, &m, number, 0);
}

static uint32_t serve(const uint32_t *up, uint32_t up_count)
{
    uint32_t shards = state->shard_count + coordinator_space_due(state, up, up_count);
    state = realloc(state, coordinator_state_bytes(shards));
    CU_ASSERT_PTR_NOT_NULL_FATAL(state);
    uint32_t served = coordinator_space_serve(state, up, up_count);
    CU_ASSERT_EQUAL(state->shard_count, shards);
    return served;
}

static struct coordinator_state *copy(void)
{
    size_t bytes = coordinator_state_bytes(state->shard_count);
    struct coordinator_state *c = malloc(bytes);
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    memcpy(c, state, bytes);
    return c;
}

static void a_space_is_served_when_all_that_are_up_have_it(void)
{
    begin();
    CU_ASSERT_EQUAL(create("orders", 3), 1);
    is_whole();
    CU_ASSERT_EQUAL(serve(all, NODES), 0);
    CU_ASSERT_TRUE(made(0, 1));
    CU_ASSERT_FALSE(made(0, 1));
    CU_ASSERT_TRUE(made(1, 1));
    CU_ASSERT_EQUAL(serve(all, NODES), 0);
    CU_ASSERT_EQUAL(serve(all, 1), 0); /* fewer than a majority decide nothing */
    CU_ASSERT_TRUE(made(2, 1));
    CU_ASSERT_EQUAL(serve(all, NODES), 1);
    CU_ASSERT_EQUAL(serve(all, NODES), 0);
    CU_ASSERT_EQUAL(state->shard_count, 7);
    for (uint32_t i = 0; i < 3; i++) {
        const struct coordinator_shard *s =
            coordinator_state_find(state, 1u << NODE_LOG_SPACE_SHIFT | i);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        CU_ASSERT_TRUE(coordinator_state_wants(state, s->log, s->configuration.leader.node));
        CU_ASSERT_EQUAL(s->configuration.epoch_before, 0);
        CU_ASSERT_FALSE(s->configuration.active);
        CU_ASSERT_EQUAL(s->configuration.voter_count, NODES);
    }
    is_whole();
    end();
}

static void who_is_down_leads_nothing_and_is_a_voter(void)
{
    const uint32_t up[] = {10, 30};
    begin();
    CU_ASSERT_EQUAL(create("orders", 4), 1);
    CU_ASSERT_TRUE(made(0, 1) && made(2, 1));
    CU_ASSERT_EQUAL(serve(up, 2), 1);
    for (uint32_t i = 0; i < 4; i++) {
        const struct configuration *c = &state->shards[i].configuration;
        CU_ASSERT_NOT_EQUAL(c->leader.node, 20);
        CU_ASSERT_EQUAL(c->voters[1].node, 20);
        CU_ASSERT_EQUAL(c->voters[1].incarnation, START + 1);
    }
    /* It comes back as somebody else, who has made nothing yet. */
    CU_ASSERT_EQUAL(coordinator_state_register(state, 20, START + 9), 1);
    CU_ASSERT_EQUAL(state->nodes[1].made, 0);
    CU_ASSERT_EQUAL(state->shards[0].configuration.voters[1].incarnation, START + 9);
    is_whole();
    end();
}

static void a_new_space_whose_leader_is_gone_is_begun_by_another(void)
{
    begin();
    CU_ASSERT_EQUAL(create("orders", 1), 1);
    for (uint32_t i = 0; i < NODES; i++)
        CU_ASSERT_TRUE(made(i, 1));
    CU_ASSERT_EQUAL(serve(all, NODES), 1);
    const struct coordinator_shard *s = &state->shards[0];
    uint64_t epoch = s->configuration.epoch;
    uint32_t leader = s->configuration.leader.node;
    CU_ASSERT_TRUE(coordinator_state_may_pass_on(state, s));
    CU_ASSERT_TRUE(coordinator_state_pass_on(state, s->log, epoch));
    CU_ASSERT_NOT_EQUAL(s->configuration.leader.node, leader);
    CU_ASSERT_EQUAL(s->configuration.epoch, epoch + 1);
    is_whole();
    end();
}

static void what_is_dropped_is_gone_for_all(void)
{
    begin();
    CU_ASSERT_EQUAL(create("orders", 3), 1);
    for (uint32_t i = 0; i < NODES; i++)
        CU_ASSERT_TRUE(made(i, 1));
    CU_ASSERT_EQUAL(serve(all, NODES), 1);
    uint64_t epoch = state->shards[0].configuration.epoch, floor = INT64_MAX - 4096;
    uint64_t lsn = state->list.entries[0].lsn_start;
    struct coordinator_state *known = copy();
    CU_ASSERT_EQUAL(coordinator_space_drop(state, 1, floor), 0);
    CU_ASSERT_EQUAL(coordinator_space_drop(state, 1, floor), -ENOENT);
    CU_ASSERT_EQUAL(state->shard_count, 4);
    CU_ASSERT_TRUE(coordinator_state_follows(state, known));
    CU_ASSERT_FALSE(coordinator_state_follows(known, state));
    is_whole();
    CU_ASSERT_EQUAL(create("orders", 2), 3); /* the name is free, the id not yet; 2 is taken */
    CU_ASSERT_TRUE(state->list.entries[1].lsn_start >= floor && floor > lsn);
    CU_ASSERT_TRUE(made(0, 3) && made(1, 3));
    CU_ASSERT_EQUAL(state->list.count, 2);
    CU_ASSERT_TRUE(made(2, 2));
    CU_ASSERT_EQUAL(state->list.count, 1); /* all have let go of it */
    CU_ASSERT_EQUAL(create("again", 1), 1);
    for (uint32_t i = 0; i < NODES; i++)
        CU_ASSERT_TRUE(made(i, 4));
    CU_ASSERT_EQUAL(serve(all, NODES), 2);
    CU_ASSERT_TRUE(state->shards[0].configuration.epoch > epoch);
    CU_ASSERT_TRUE(coordinator_state_follows(state, known)); /* the same logs, of another space */
    CU_ASSERT_FALSE(coordinator_state_follows(known, state));
    is_whole();
    free(known);
    end();
}

static void nothing_goes_back(void)
{
    begin();
    CU_ASSERT_EQUAL(create("orders", 3), 1);
    for (uint32_t i = 0; i < NODES; i++)
        CU_ASSERT_TRUE(made(i, 1));
    struct coordinator_state *made_only = copy();
    CU_ASSERT_EQUAL(serve(all, NODES), 1);
    struct coordinator_state *served = copy();
    CU_ASSERT_TRUE(coordinator_state_follows(served, made_only));
    CU_ASSERT_FALSE(coordinator_state_follows(made_only, served));
    state->list.lsn_floor = 7;
    CU_ASSERT_TRUE(coordinator_state_follows(state, served));
    CU_ASSERT_FALSE(coordinator_state_follows(served, state));
    free(made_only);
    free(served);
    end();
}

static void who_is_no_more_has_made_nothing(void)
{
    const struct member before = {.node = 10, .incarnation = START - 1};
    begin();
    CU_ASSERT_EQUAL(create("orders", 3), 1);
    CU_ASSERT_FALSE(coordinator_space_made(state, &before, 1, 0));
    CU_ASSERT_FALSE(made(0, 2)); /* there is no such number yet */
    CU_ASSERT_TRUE(made(0, 1));
    CU_ASSERT_EQUAL(coordinator_state_register(state, 10, START + 50), 1);
    CU_ASSERT_EQUAL(state->nodes[0].made, 0);
    end();
}

static void a_cluster_that_has_not_begun_makes_no_spaces(void)
{
    begin();
    state->shard_count = 0;
    CU_ASSERT_EQUAL(create("orders", 3), -EAGAIN);
    end();
}

static void shards_and_list_are_one(void)
{
    begin();
    CU_ASSERT_EQUAL(create("orders", 3), 1);
    state->list.entries[0].state = SPACE_SERVING;
    CU_ASSERT_STRING_EQUAL(coordinator_state_fault(state), "shards of a space");
    state->list.entries[0].state = SPACE_MAKING;
    state->nodes[0].made = 2;
    CU_ASSERT_STRING_EQUAL(coordinator_state_fault(state), "spaces made by a node");
    end();
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_space_is_served_when_all_that_are_up_have_it),
    UNIT_TEST(who_is_down_leads_nothing_and_is_a_voter),
    UNIT_TEST(a_new_space_whose_leader_is_gone_is_begun_by_another),
    UNIT_TEST(what_is_dropped_is_gone_for_all),
    UNIT_TEST(nothing_goes_back),
    UNIT_TEST(who_is_no_more_has_made_nothing),
    UNIT_TEST(a_cluster_that_has_not_begun_makes_no_spaces),
    UNIT_TEST(shards_and_list_are_one),
};
UNIT_MAIN("coordinator_space", tests)
