/* What becomes of a node's leaderships when it has failed: coordinator_state_fail. */
#include "control/coordinator_state.h"
#include "control/ruling.h"
#include "dataplane/node.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define NODES 4u
#define SHARDS 6u
#define START UINT64_C(1795249235478)
#define LOG(n) (2u << NODE_LOG_SPACE_SHIFT | (n))

static const uint32_t all_but_10[] = {20, 30, 40};

/* Four nodes, 10 to 40; six pending shards, led by 10. */
static struct coordinator_state *made(void)
{
    struct coordinator_state *s = calloc(1, coordinator_state_bytes(SHARDS));
    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    s->cluster = 7;
    s->origin = START << 22;
    s->revision = 1;
    s->replicas = s->node_count = NODES;
    for (uint32_t i = 0; i < NODES; i++) {
        s->nodes[i].id = 10 * (i + 1);
        s->nodes[i].start = START + i;
        s->nodes[i].weight = i == 0 ? 1000 : 1; /* the first choice of all of these shards */
    }
    s->shard_count = SHARDS;
    for (uint32_t i = 0; i < SHARDS; i++)
        s->shards[i].log = LOG(i);
    coordinator_state_begin(s);
    CU_ASSERT_PTR_NULL(coordinator_state_fault(s));
    return s;
}

static const struct configuration *at(const struct coordinator_state *s, uint32_t shard)
{
    return &s->shards[shard].configuration;
}

static void activate(struct coordinator_state *s, uint32_t shard)
{
    const struct member leader = at(s, shard)->leader;
    CU_ASSERT_TRUE(coordinator_state_activate(s, LOG(shard), at(s, shard)->epoch, &leader));
}

static struct coordinator_state *made_active(void)
{
    struct coordinator_state *s = made();
    for (uint32_t i = 0; i < SHARDS; i++)
        activate(s, i);
    return s;
}

static struct coordinator_state *copy_of(const struct coordinator_state *s)
{
    struct coordinator_state *copy = malloc(coordinator_state_bytes(SHARDS));
    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    memcpy(copy, s, coordinator_state_bytes(SHARDS));
    return copy;
}

/* Fails node, and the same once more, which changes nothing. */
static int64_t fail(struct coordinator_state *s, uint32_t node, const uint32_t *others,
                    uint32_t count)
{
    uint64_t start = s->nodes[node / 10 - 1].start;
    int64_t changed = coordinator_state_fail(s, node, start, others, count);
    struct coordinator_state *copy = copy_of(s);
    CU_ASSERT_PTR_NULL(coordinator_state_fault(s));
    CU_ASSERT_EQUAL(coordinator_state_fail(s, node, start, others, count), 0);
    CU_ASSERT_EQUAL(memcmp(s, copy, coordinator_state_bytes(SHARDS)), 0);
    free(copy);
    return changed;
}

static void what_it_led_spreads_over_the_others(void)
{
    struct coordinator_state *s = made_active();
    uint32_t led[NODES] = {0};
    uint64_t epoch = at(s, 0)->epoch;
    CU_ASSERT_EQUAL(fail(s, 10, all_but_10, 3), SHARDS + 1);
    for (uint32_t i = 0; i < SHARDS; i++) {
        led[at(s, i)->leader.node / 10 - 1]++;
        CU_ASSERT_EQUAL(at(s, i)->epoch, epoch + 1);
        CU_ASSERT_EQUAL(at(s, i)->epoch_before, epoch);
        CU_ASSERT_FALSE(at(s, i)->active);
        CU_ASSERT_EQUAL(at(s, i)->voter_count, NODES); /* it stays a voter */
        CU_ASSERT_EQUAL(at(s, i)->voters[0].incarnation, START);
    }
    CU_ASSERT_EQUAL(led[0], 0);
    for (uint32_t i = 1; i < NODES; i++)
        CU_ASSERT_EQUAL(led[i], SHARDS / 3);
    CU_ASSERT_EQUAL(s->nodes[0].since, 1);
    /* One after the other: who is pending goes on, above all; who failed is not among the others. */
    CU_ASSERT_EQUAL(fail(s, 20, (const uint32_t[]){30, 40}, 2), SHARDS / 3 + 1);
    for (uint32_t i = 0; i < SHARDS; i++)
        CU_ASSERT(at(s, i)->leader.node >= 30);
    CU_ASSERT_EQUAL(s->nodes[1].since, 2);
    free(s);
}

static void who_has_been_there_for_longest_is_preferred(void)
{
    struct coordinator_state *s = made_active();
    CU_ASSERT_EQUAL(coordinator_state_register(s, 20, START + 9), 1);
    for (uint32_t i = 0; i < SHARDS; i++)
        activate(s, i);
    coordinator_state_retire(s, 40);
    CU_ASSERT_EQUAL(fail(s, 10, all_but_10, 3), SHARDS + 1);
    for (uint32_t i = 0; i < SHARDS; i++)
        CU_ASSERT_EQUAL(at(s, i)->leader.node, 30);
    /* Who came back lately holds nothing yet, and may not: nobody else is there. */
    CU_ASSERT_EQUAL(coordinator_state_register(s, 20, START + 10), 1);
    CU_ASSERT_EQUAL(fail(s, 30, (const uint32_t[]){20}, 1), 1);
    CU_ASSERT_EQUAL(at(s, 0)->leader.node, 30);
    CU_ASSERT_EQUAL(s->nodes[2].since, 5);
    /* But when somebody comes who may, it goes there. */
    CU_ASSERT_EQUAL(fail(s, 30, (const uint32_t[]){20, 40}, 2), SHARDS);
    CU_ASSERT_EQUAL(at(s, 0)->leader.node, 40);
    free(s);
}

static void first_epochs_have_other_leaders_too(void)
{
    struct coordinator_state *s = made();
    CU_ASSERT_EQUAL(fail(s, 10, all_but_10, 3), SHARDS + 1);
    CU_ASSERT_NOT_EQUAL(at(s, 0)->leader.node, 10);
    CU_ASSERT_EQUAL(at(s, 0)->epoch_before, 0);
    activate(s, 0);
    free(s);
}

static void a_move_goes_where_it_was_to_go(void)
{
    struct coordinator_state *s = made_active();
    CU_ASSERT_EQUAL(coordinator_state_move(s, LOG(0), LOG(2), 40), 3);
    CU_ASSERT_EQUAL(coordinator_state_move(s, LOG(2), LOG(2), 30), 1);
    CU_ASSERT_EQUAL(fail(s, 10, (const uint32_t[]){20, 40}, 2), SHARDS + 1);
    CU_ASSERT_EQUAL(at(s, 0)->leader.node, 40);
    CU_ASSERT_EQUAL(at(s, 1)->leader.node, 40);
    activate(s, 0);
    CU_ASSERT_EQUAL(s->shards[0].move, 0);
    /* Its target is not among the others: the move is given up. */
    CU_ASSERT_NOT_EQUAL(at(s, 2)->leader.node, 30);
    CU_ASSERT_EQUAL(s->shards[2].move, 0);
    free(s);
}

static void what_was_to_move_to_it_stays(void)
{
    struct coordinator_state *s = made_active();
    CU_ASSERT_EQUAL(coordinator_state_move(s, LOG(0), LOG(1), 20), 2);
    uint64_t epoch = at(s, 0)->epoch;
    CU_ASSERT_EQUAL(fail(s, 20, (const uint32_t[]){10, 30, 40}, 3), 3);
    /* Its leader may have let go of its rights: it gets them back by an epoch. */
    CU_ASSERT_EQUAL(s->shards[0].move, 10);
    CU_ASSERT_EQUAL(at(s, 0)->epoch, epoch);
    CU_ASSERT_TRUE(coordinator_state_let_go(s, LOG(0), epoch));
    CU_ASSERT_EQUAL(at(s, 0)->leader.node, 10);
    activate(s, 0);
    CU_ASSERT_EQUAL(s->shards[0].move, 0);
    free(s);
    /* A pending one has nothing to let go of. */
    s = made_active();
    CU_ASSERT_EQUAL(coordinator_state_register(s, 20, START + 9), 1);
    CU_ASSERT_EQUAL(coordinator_state_move(s, LOG(0), LOG(0), 20), 1);
    CU_ASSERT_EQUAL(fail(s, 20, (const uint32_t[]){10, 30, 40}, 3), 1); /* its since is the last */
    CU_ASSERT_EQUAL(s->shards[0].move, 0);
    CU_ASSERT_EQUAL(at(s, 0)->leader.node, 10);
    free(s);
}

static void starts_are_told_apart(void)
{
    struct coordinator_state *s = made_active();
    CU_ASSERT_EQUAL(coordinator_state_fail(s, 50, START, all_but_10, 3), -ENOENT);
    CU_ASSERT_EQUAL(coordinator_state_fail(s, 10, START - 1, all_but_10, 3), -ESTALE);
    CU_ASSERT_EQUAL(at(s, 0)->leader.node, 10);
    /* It started again, got a lease, and failed before it could register. */
    CU_ASSERT_EQUAL(coordinator_state_fail(s, 10, START + 1, all_but_10, 3), SHARDS + 1);
    CU_ASSERT_EQUAL(s->nodes[0].start, START);
    CU_ASSERT_PTR_NULL(coordinator_state_fault(s));
    free(s);
}

static void nobody_takes_what_is_lost(void)
{
    struct coordinator_state *s = made_active();
    for (uint32_t i = 1; i < NODES; i++)
        CU_ASSERT_EQUAL(coordinator_state_register(s, 10 * (i + 1), START + 50 + i), 1);
    CU_ASSERT_TRUE(ruling_is_lost(at(s, 0)));
    uint64_t epoch = at(s, 0)->epoch;
    CU_ASSERT_EQUAL(fail(s, 10, all_but_10, 3), 1);
    CU_ASSERT_EQUAL(at(s, 0)->epoch, epoch);
    CU_ASSERT_EQUAL(fail(s, 10, NULL, 0), 0);
    free(s);
    /* Nor does who could, were it not lost: half of the voters are no majority. */
    s = made_active();
    CU_ASSERT_EQUAL(coordinator_state_register(s, 20, START + 50), 1);
    CU_ASSERT_EQUAL(coordinator_state_register(s, 30, START + 51), 1);
    CU_ASSERT_TRUE(ruling_is_lost(at(s, 0)) && ruling_may_lead(at(s, 0), &at(s, 0)->voters[3]));
    epoch = at(s, 0)->epoch;
    CU_ASSERT_EQUAL(fail(s, 10, all_but_10, 3), 1);
    CU_ASSERT_EQUAL(at(s, 0)->epoch, epoch);
    free(s);
}

static const struct unit_test tests[] = {
    UNIT_TEST(what_it_led_spreads_over_the_others),
    UNIT_TEST(who_has_been_there_for_longest_is_preferred),
    UNIT_TEST(first_epochs_have_other_leaders_too),
    UNIT_TEST(a_move_goes_where_it_was_to_go),
    UNIT_TEST(what_was_to_move_to_it_stays),
    UNIT_TEST(starts_are_told_apart),
    UNIT_TEST(nobody_takes_what_is_lost),
};
UNIT_MAIN("coordinator_fail", tests)
