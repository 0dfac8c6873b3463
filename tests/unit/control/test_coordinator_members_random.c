/* Nodes that come, drain and go, and all else that a cluster is told, at random: against rules that are told once more,
 * and to the end wherever everybody answers who is asked. */
#include "control/coordinator_text.h"

#include "tests/unit/control/members_fixture.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define SHARDS MEMBERS_SHARDS
#define LOG(n) MEMBERS_LOG(n)
#define WALKS 400u
#define STEPS 300u

static unsigned seed;

static uint32_t draw(uint32_t below)
{
    return (uint32_t)rand_r(&seed) % below;
}

static void begin_at_random(void)
{
    static const char *const zones[] = {"", "", "a", "b", "c"};
    struct coordinator_entry_node nodes[LIMIT_VOTERS];
    uint32_t count = 3 + draw(5);
    memset(nodes, 0, sizeof nodes);
    for (uint32_t i = 0; i < count; i++) {
        nodes[i] = (struct coordinator_entry_node){.id = 10 * (i + 1), .weight = 1 + draw(300)};
        (void)snprintf(nodes[i].zone, sizeof nodes[i].zone, "%s", zones[draw(5)]);
    }
    members_begin(nodes, count, 1 + draw(4));
}

static uint32_t some_of(uint32_t but, uint32_t ids[LIMIT_VOTERS])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < members_state->node_count; i++)
        if (members_state->nodes[i].id != but && draw(3) != 0)
            ids[count++] = members_state->nodes[i].id;
    return count;
}

static void node_stir(uint32_t node)
{
    switch (draw(6)) {
    case 0:
        (void)members_change(COORDINATOR_NODE_ADD, 10 * (1 + draw(9)), 1 + draw(300),
                             draw(2) ? "a" : "");
        break;
    case 1:
        (void)members_change(COORDINATOR_NODE_DRAIN, node, 0, "");
        break;
    case 2:
        (void)members_change(COORDINATOR_NODE_UNDRAIN, node, 0, "");
        break;
    case 3:
        (void)members_change(COORDINATOR_NODE_REMOVE, node, 0, "");
        break;
    default:
        if (members_start_of(node) == 0 || draw(3) == 0)
            (void)members_enter(node);
    }
}

/* Somebody's word on a node: it leaves, has failed, retires. */
static void word_stir(uint32_t node)
{
    static const enum coordinator_command_type types[] = {COORDINATOR_LEAVE, COORDINATOR_FAIL,
                                                          COORDINATOR_RETIRE, COORDINATOR_GIVE_UP};
    uint64_t start = members_start_of(node);
    struct coordinator_command c = {.type = types[draw(4)], .node = node, .start = start};
    if (start == 0)
        return;
    if (c.type == COORDINATOR_LEAVE || c.type == COORDINATOR_FAIL)
        c.others.count = some_of(node, c.others.nodes);
    if (c.type != COORDINATOR_LEAVE || c.others.count != 0)
        (void)members_apply(&c);
}

static void people_stir(uint32_t node)
{
    uint32_t up[LIMIT_VOTERS], first = draw(SHARDS);
    const struct coordinator_command move = {
        .type = COORDINATOR_MOVE,
        .node = node,
        .logs = {.first = LOG(first), .last = LOG(first + draw(3))}};
    uint32_t up_count = some_of(0, up);
    if (draw(3) != 0)
        (void)members_apply(&move);
    else if (up_count != 0)
        (void)members_recover(draw(3) == 0 ? up[0] : 0, up, up_count);
}

static void shard_stir(void)
{
    static const enum coordinator_command_type types[] = {
        COORDINATOR_ACTIVATE, COORDINATOR_ACTIVATE, COORDINATOR_ACTIVATE,
        COORDINATOR_LET_GO,   COORDINATOR_LET_GO,   COORDINATOR_PASS_ON};
    const struct coordinator_shard *s = &members_state->shards[draw(SHARDS)];
    const struct configuration *c = &s->configuration;
    const struct member leader = c->leader;
    if (c->learner_count != 0 && draw(4) == 0)
        (void)members_of_epoch(COORDINATOR_PROMOTE, s, &leader,
                               c->learners[draw(c->learner_count)].node);
    else
        (void)members_of_epoch(types[draw(6)], s, &leader, 0);
}

static void stir(void)
{
    uint32_t node = members_state->nodes[draw(members_state->node_count)].id;
    switch (draw(12)) {
    case 0:
    case 11:
        node_stir(node);
        break;
    case 1:
        word_stir(node);
        break;
    case 2:
        people_stir(node);
        break;
    case 3:
        if (members_start_of(node) != 0)
            (void)members_raise(node, members_state->lsn_ceiling - draw(2));
        break;
    default:
        shard_stir();
    }
}

/* What a snapshot of it says is it. */
static void comes_back(void)
{
    struct coordinator_state *again = NULL;
    struct coordinator_fault fault = {.text = ""};
    char *text;
    size_t length;
    CU_ASSERT_EQUAL_FATAL(coordinator_print(members_state, &text, &length), 0);
    CU_ASSERT_EQUAL_FATAL(coordinator_parse(text, length, &again, &fault), 0);
    CU_ASSERT_EQUAL(memcmp(members_state, again, coordinator_state_bytes(SHARDS)), 0);
    free(again);
    free(text);
}

static void rules_hold_and_all_walks_end_where_they_are_wanted(void)
{
    struct coordinator_check total = {.begun = false};
    unsigned left = 0;
    for (unsigned walk = 0; walk < WALKS; walk++) {
        seed = walk;
        begin_at_random();
        for (unsigned i = 0; i < STEPS; i++) {
            stir();
            if (draw(60) == 0)
                members_obey();
            if (draw(30) == 0)
                comes_back();
        }
        uint32_t before = members_state->node_count;
        members_obey();
        left += members_state->node_count < before;
        total.restarts += members_check.restarts;
        total.replaced += members_check.replaced;
        total.moves += members_check.moves;
        total.given_up += members_check.given_up;
        total.recovered += members_check.recovered;
        total.voters_changed += members_check.voters_changed;
        total.promoted += members_check.promoted;
        CU_ASSERT_EQUAL(members_check.gaps, 0);
        members_end();
    }
    printf("restarts %u, replaced %u, moves %u, given up %u, recovered %u, voters changed %u, "
           "promoted %u, left at the end %u\n",
           total.restarts, total.replaced, total.moves, total.given_up, total.recovered,
           total.voters_changed, total.promoted, left);
    CU_ASSERT_TRUE(total.restarts > WALKS && total.replaced > WALKS && total.moves > WALKS &&
                   total.given_up > WALKS / 10 && total.recovered > WALKS / 10 &&
                   total.voters_changed > WALKS && total.promoted > WALKS && left > WALKS / 20);
}

static const struct unit_test tests[] = {
    UNIT_TEST(rules_hold_and_all_walks_end_where_they_are_wanted),
};
UNIT_MAIN("coordinator_members_random", tests)
