#include "control/coordinator_state.h"

#include "control/ruling.h"
#include "dataplane/node.h"
#include "tests/unit/control/coordinator_check.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define NODES 3u
#define SHARDS 6u
#define START UINT64_C(1795249235478)
#define LOG(n) (2u << 16 | (n))
#define WALKS 40u
#define STEPS 400u

/* Three nodes, registered; six shards of space 2, pending, led by node 10. */
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
        s->nodes[i].weight = i == 0 ? 1000 : 1; /* the first choice of all of these shards */
    }
    for (uint32_t i = 0; i < NODES; i++) {
        CU_ASSERT_FALSE(coordinator_state_is_complete(s));
        CU_ASSERT_EQUAL(coordinator_state_register(s, 10 * (i + 1), START + i), 1);
    }
    CU_ASSERT_TRUE(coordinator_state_is_complete(s));
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

static bool activate(struct coordinator_state *s, uint32_t shard)
{
    const struct member leader = at(s, shard)->leader;
    return coordinator_state_activate(s, LOG(shard), at(s, shard)->epoch, &leader);
}

static struct coordinator_state *made_active(void)
{
    struct coordinator_state *s = made();
    for (uint32_t i = 0; i < SHARDS; i++)
        CU_ASSERT_TRUE(activate(s, i));
    return s;
}

static struct coordinator_counts counts_of(const struct coordinator_state *s)
{
    struct coordinator_counts counts;
    coordinator_state_counts(s, &counts);
    return counts;
}

static void first_epochs_are_above_those_of_earlier_files(void)
{
    struct coordinator_state *s = made();
    for (uint32_t i = 0; i < SHARDS; i++) {
        CU_ASSERT_EQUAL(at(s, i)->epoch, START + NODES - 1);
        CU_ASSERT_EQUAL(at(s, i)->leader.node, 10);
        CU_ASSERT_EQUAL(at(s, i)->voter_count, NODES);
    }
    CU_ASSERT_EQUAL(counts_of(s).shards, SHARDS);
    CU_ASSERT_EQUAL(counts_of(s).pending, SHARDS);
    CU_ASSERT_PTR_NULL(coordinator_state_find(s, LOG(SHARDS)));
    CU_ASSERT_PTR_NULL(coordinator_state_find(s, LOG(0) - 1));
    CU_ASSERT_PTR_EQUAL(coordinator_state_find(s, LOG(3)), &s->shards[3]);
    free(s);
}

static void activation_is_a_compare_and_set(void)
{
    struct coordinator_state *s = made();
    const struct member leader = at(s, 2)->leader, other = at(s, 2)->voters[1],
                        older = {.node = 10, .incarnation = START - 1};
    uint64_t epoch = at(s, 2)->epoch;
    CU_ASSERT_FALSE(coordinator_state_activate(s, LOG(2), epoch - 1, &leader));
    CU_ASSERT_FALSE(coordinator_state_activate(s, LOG(2), epoch + 1, &leader));
    CU_ASSERT_FALSE(coordinator_state_activate(s, LOG(2), epoch, &other));
    CU_ASSERT_FALSE(coordinator_state_activate(s, LOG(2), epoch, &older));
    CU_ASSERT_FALSE(coordinator_state_activate(s, LOG(SHARDS), epoch, &leader));
    CU_ASSERT_EQUAL(counts_of(s).pending, SHARDS);
    CU_ASSERT_TRUE(coordinator_state_activate(s, LOG(2), epoch, &leader));
    CU_ASSERT_FALSE(coordinator_state_activate(s, LOG(2), epoch, &leader));
    CU_ASSERT_TRUE(at(s, 2)->active);
    CU_ASSERT_EQUAL(counts_of(s).pending, SHARDS - 1);
    /* The leader came back: its old self asks in vain, whatever the epoch. */
    CU_ASSERT_EQUAL(coordinator_state_register(s, 10, START + 50), 1);
    CU_ASSERT_FALSE(coordinator_state_activate(s, LOG(3), at(s, 3)->epoch, &leader));
    free(s);
}

static void a_restarted_leaders_shards_spread_evenly(void)
{
    struct coordinator_state *s = made_active();
    uint32_t led[NODES] = {0};
    CU_ASSERT_EQUAL(coordinator_state_register(s, 10, START), 0);
    CU_ASSERT_EQUAL(coordinator_state_register(s, 10, START - 1), -ESTALE);
    CU_ASSERT_EQUAL(coordinator_state_register(s, 11, START + 9), -ENOENT);
    CU_ASSERT_EQUAL(coordinator_state_register(s, 10, START + 9), 1);
    for (uint32_t i = 0; i < SHARDS; i++)
        led[at(s, i)->leader.node / 10 - 1]++;
    CU_ASSERT_EQUAL(led[0], 0);
    CU_ASSERT_EQUAL(led[1], SHARDS / 2);
    CU_ASSERT_EQUAL(led[2], SHARDS / 2);
    CU_ASSERT_EQUAL(counts_of(s).lost, 0);
    /* Before that was active, one more: who is left leads; most of the predecessor is gone. */
    CU_ASSERT_EQUAL(coordinator_state_register(s, 20, START + 10), 1);
    for (uint32_t i = 0; i < SHARDS; i++)
        CU_ASSERT_EQUAL(at(s, i)->leader.node, 30);
    CU_ASSERT_EQUAL(counts_of(s).lost, SHARDS);
    CU_ASSERT_PTR_NULL(coordinator_state_fault(s));
    free(s);
}

/* One after the other, each time when all is active: who came back lately does not lead. */
static void a_rolling_restart_loses_nothing(void)
{
    struct coordinator_state *s = made_active();
    static const uint32_t leads_after[] = {0, 30, 10};
    for (uint32_t i = 0; i < NODES; i++) {
        CU_ASSERT_EQUAL(coordinator_state_register(s, 10 * (i + 1), START + 100 + i), 1);
        for (uint32_t n = 0; n < SHARDS; n++) {
            if (leads_after[i] != 0)
                CU_ASSERT_EQUAL(at(s, n)->leader.node, leads_after[i]);
            CU_ASSERT_TRUE(activate(s, n));
        }
        CU_ASSERT_EQUAL(counts_of(s).lost, 0);
    }
    free(s);
}

static void a_move_waits_for_the_leader_to_let_go(void)
{
    struct coordinator_state *s = made();
    CU_ASSERT_EQUAL(coordinator_state_move(s, LOG(0), LOG(1), 20), -EAGAIN);
    free(s);
    s = made_active();
    uint64_t epoch = at(s, 0)->epoch;
    CU_ASSERT_EQUAL(coordinator_state_move(s, LOG(0), LOG(1), 40), -ENOENT);
    CU_ASSERT_EQUAL(coordinator_state_move(s, LOG(SHARDS), LOG(SHARDS + 9), 20), -ENOENT);
    CU_ASSERT_EQUAL(coordinator_state_move(s, 0, UINT32_MAX, 10), 0);
    CU_ASSERT_FALSE(coordinator_state_let_go(s, LOG(0), epoch)); /* nobody asked it to */
    CU_ASSERT_EQUAL(coordinator_state_move(s, LOG(0), LOG(1), 20), 2);
    CU_ASSERT_EQUAL(coordinator_state_move(s, LOG(0), LOG(2), 20), 1);
    CU_ASSERT_EQUAL(counts_of(s).moving, 3);
    CU_ASSERT_EQUAL(counts_of(s).pending, 0);
    CU_ASSERT_EQUAL(at(s, 0)->leader.node, 10);
    CU_ASSERT_FALSE(coordinator_state_let_go(s, LOG(0), epoch - 1));
    CU_ASSERT_TRUE(coordinator_state_let_go(s, LOG(0), epoch));
    CU_ASSERT_FALSE(coordinator_state_let_go(s, LOG(0), epoch));
    CU_ASSERT_EQUAL(at(s, 0)->leader.node, 20);
    CU_ASSERT_EQUAL(at(s, 0)->epoch_before, epoch);
    CU_ASSERT_EQUAL(counts_of(s).moving, 3);
    CU_ASSERT_TRUE(activate(s, 0));
    CU_ASSERT_EQUAL(counts_of(s).moving, 2);
    /* Back to who leads, but may have let go already: it takes an epoch, too. */
    CU_ASSERT_EQUAL(coordinator_state_move(s, LOG(1), LOG(1), 10), 1);
    CU_ASSERT_TRUE(coordinator_state_let_go(s, LOG(1), epoch));
    CU_ASSERT_EQUAL(at(s, 1)->leader.node, 10);
    CU_ASSERT_TRUE(activate(s, 1));
    CU_ASSERT_EQUAL(counts_of(s).moving, 1);
    free(s);
}

static void a_pending_leader_has_nothing_to_let_go(void)
{
    struct coordinator_state *s = made_active();
    CU_ASSERT_EQUAL(coordinator_state_register(s, 10, START + 9), 1); /* 20 and 30 lead */
    uint64_t epoch = at(s, 0)->epoch;
    CU_ASSERT_EQUAL(coordinator_state_move(s, LOG(0), LOG(1), 30), 1);
    CU_ASSERT_EQUAL(at(s, 0)->leader.node, 30);
    CU_ASSERT_EQUAL(at(s, 0)->epoch, epoch + 1);
    CU_ASSERT_EQUAL(at(s, 1)->epoch, epoch); /* it was 30 already */
    CU_ASSERT_TRUE(activate(s, 0));
    CU_ASSERT_EQUAL(counts_of(s).moving, 0);
    /* To who lost its memory: when the epoch that makes it a voter is active, not before. */
    CU_ASSERT_EQUAL(coordinator_state_move(s, LOG(1), LOG(1), 10), 1);
    CU_ASSERT_EQUAL(at(s, 1)->leader.node, 30);
    CU_ASSERT_TRUE(activate(s, 1));
    CU_ASSERT_EQUAL(counts_of(s).moving, 1);
    CU_ASSERT_TRUE(coordinator_state_let_go(s, LOG(1), epoch));
    CU_ASSERT_EQUAL(at(s, 1)->leader.node, 10);
    free(s);
}

static void restarts_during_a_move(void)
{
    struct coordinator_state *s = made_active();
    CU_ASSERT_EQUAL(coordinator_state_move(s, 0, UINT32_MAX, 30), SHARDS);
    CU_ASSERT_EQUAL(coordinator_state_register(s, 20, START + 9), 1); /* a third one: it goes on */
    CU_ASSERT_EQUAL(at(s, 0)->leader.node, 10);
    CU_ASSERT_TRUE(activate(s, 0));
    CU_ASSERT_EQUAL(counts_of(s).moving, SHARDS);
    CU_ASSERT_EQUAL(coordinator_state_register(s, 10, START + 10), 1); /* the leader: there it is */
    CU_ASSERT_EQUAL(at(s, 0)->leader.node, 30);
    CU_ASSERT_TRUE(activate(s, 0));
    CU_ASSERT_EQUAL(counts_of(s).moving, SHARDS - 1);
    CU_ASSERT_EQUAL(coordinator_state_register(s, 30, START + 11), 1); /* its end: given up */
    CU_ASSERT_EQUAL(counts_of(s).moving, 0);
    CU_ASSERT_NOT_EQUAL(at(s, 0)->leader.node, 30);
    CU_ASSERT_PTR_NULL(coordinator_state_fault(s));
    free(s);
}

static void who_leaves_hands_on_to_who_has_been_there_for_longest(void)
{
    struct coordinator_state *s = made_active();
    const uint32_t others[] = {10, 30}, nobody[] = {40};
    CU_ASSERT_EQUAL(coordinator_state_register(s, 30, START + 9), 1);
    for (uint32_t i = 0; i + 1 < SHARDS; i++)
        CU_ASSERT_TRUE(activate(s, i));
    CU_ASSERT_EQUAL(coordinator_state_leave(s, 20, others, 2), 0); /* it leads nothing */
    CU_ASSERT_EQUAL(coordinator_state_move(s, LOG(0), LOG(1), 20), 2);
    CU_ASSERT_TRUE(coordinator_state_let_go(s, LOG(0), at(s, 0)->epoch));
    CU_ASSERT_TRUE(activate(s, 0));
    CU_ASSERT_EQUAL(coordinator_state_leave(s, 20, nobody, 1), -ENOENT);
    /* One that it leads, one that it is to lead; no other, and not to 30, which came back. */
    CU_ASSERT_EQUAL(coordinator_state_leave(s, 20, others, 2), 2);
    CU_ASSERT_EQUAL(s->shards[0].move, 10);
    CU_ASSERT_EQUAL(s->shards[1].move, 10);
    CU_ASSERT_EQUAL(s->shards[2].move, 0);
    CU_ASSERT_EQUAL(coordinator_state_leave(s, 20, others, 2), 0); /* asked already */
    CU_ASSERT_PTR_NULL(coordinator_state_fault(s));
    free(s);
    s = made();
    CU_ASSERT_EQUAL(coordinator_state_leave(s, 10, others + 1, 1), 0); /* no epoch was active */
    free(s);
}

static void a_pending_leader_waited_for_in_vain_is_passed_over(void)
{
    struct coordinator_state *s = made();
    CU_ASSERT_FALSE(coordinator_state_pass_on(s, LOG(0), at(s, 0)->epoch)); /* the first one */
    free(s);
    s = made_active();
    uint64_t epoch = at(s, 0)->epoch;
    CU_ASSERT_FALSE(coordinator_state_pass_on(s, LOG(0), epoch)); /* active */
    CU_ASSERT_EQUAL(coordinator_state_move(s, LOG(0), LOG(0), 30), 1);
    CU_ASSERT_TRUE(coordinator_state_let_go(s, LOG(0), epoch));
    CU_ASSERT_FALSE(coordinator_state_pass_on(s, LOG(0), epoch));
    CU_ASSERT_TRUE(coordinator_state_pass_on(s, LOG(0), epoch + 1));
    CU_ASSERT_EQUAL(at(s, 0)->leader.node, 10);
    CU_ASSERT_EQUAL(at(s, 0)->epoch_before, epoch);
    CU_ASSERT_EQUAL(s->shards[0].move, 10);
    /* Not on to 20, which has lost its memory meanwhile. */
    CU_ASSERT_EQUAL(coordinator_state_register(s, 20, START + 9), 1);
    CU_ASSERT_TRUE(coordinator_state_pass_on(s, LOG(0), at(s, 0)->epoch));
    CU_ASSERT_EQUAL(at(s, 0)->leader.node, 30);
    CU_ASSERT_TRUE(activate(s, 0));
    CU_ASSERT_EQUAL(counts_of(s).moving, 0);
    CU_ASSERT_EQUAL(coordinator_state_register(s, 10, START + 10), 1);
    CU_ASSERT_EQUAL(coordinator_state_register(s, 20, START + 11), 1);
    CU_ASSERT_FALSE(coordinator_state_pass_on(s, LOG(1), at(s, 1)->epoch)); /* lost: nobody can */
    CU_ASSERT_PTR_NULL(coordinator_state_fault(s));
    free(s);
}

static void impossible(struct coordinator_state *s, const char *what)
{
    const char *fault = coordinator_state_fault(s);
    CU_ASSERT_PTR_NOT_NULL_FATAL(fault);
    if (strcmp(fault, what) != 0)
        printf("%s instead of %s\n", fault, what);
    CU_ASSERT_STRING_EQUAL(fault, what);
    free(s);
}

static void nodes_that_no_coordinator_wrote_are_named(void)
{
    struct coordinator_state *s = made();
    s->nodes[2].start = 0;
    impossible(s, "voters");
    s = made();
    s->nodes[1].start = s->nodes[2].start = 0;
    impossible(s, "too few nodes that vote");
    s = made();
    s->nodes[1].standing = COORDINATOR_LEAVING;
    s->nodes[2].standing = COORDINATOR_DRAINING;
    impossible(s, "too few nodes that vote");
    s = made();
    s->nodes[1].standing = COORDINATOR_LEAVING + 1;
    impossible(s, "standing of a node");
    s = made();
    s->nodes[1].weight = 0;
    impossible(s, "weight of a node");
    s = made();
    s->nodes[1].zone[0] = ' ';
    impossible(s, "words of a node");
    s = made();
    memset(s->nodes[1].address, 'a', sizeof s->nodes[1].address);
    impossible(s, "words of a node");
    s = made();
    s->nodes[1].control[1] = 'a';
    impossible(s, "words of a node");
}

static void states_that_no_coordinator_wrote_are_named(void)
{
    struct coordinator_state *s = made();
    s->nodes[1].id = 10;
    impossible(s, "id of a node");
    s = made();
    s->shards[3].log = s->shards[2].log;
    impossible(s, "order of shards");
    s = made();
    s->shards[3].configuration.voters[1].incarnation--;
    impossible(s, "voters are not the nodes");
    s = made();
    s->shards[3].configuration.leader.incarnation--;
    impossible(s, "configuration");
    s = made();
    s->shards[3].move = 20; /* of a first epoch */
    impossible(s, "move");
    s = made_active();
    s->shards[3].move = 21;
    impossible(s, "move");
    s = made_active();
    (void)!coordinator_state_register(s, 10, START + 9);
    s->shards[3].configuration.voters_before[1].incarnation = START + 99;
    impossible(s, "voters of the predecessor");
    s = made();
    s->shards[SHARDS - 1].log = 65u << 16;
    impossible(s, "log");
    s = made();
    s->replicas = LIMIT_VOTERS + 1;
    impossible(s, "replicas");
    s = made();
    s->replicas = 1; /* and one more at most */
    impossible(s, "voters");
    s = made_active();
    s->shards[3].promote = 20; /* it votes */
    impossible(s, "promote");
    s = made_active();
    s->shards[3].configuration.voter_count--;
    s->shards[3].configuration.learner_count = 1;
    s->shards[3].configuration.learners[0] = s->shards[3].configuration.voters[2];
    s->shards[3].configuration.learners[0].incarnation++;
    impossible(s, "learners");
    s = made();
    s->revision = 0;
    impossible(s, "revision");
    s = made();
    s->node_count = 1;
    impossible(s, "count of nodes");
    s = made();
    s->origin = 0;
    impossible(s, "origin");
}

static void a_state_that_went_back_does_not_follow(void)
{
    struct coordinator_state *s = made_active(), *known = made_active();
    CU_ASSERT_TRUE(coordinator_state_follows(s, known));
    known->shards[4].configuration.active = false;
    CU_ASSERT_TRUE(coordinator_state_follows(s, known));
    CU_ASSERT_FALSE(coordinator_state_follows(known, s));
    known->shards[4].configuration.active = true;
    s->revision++;
    CU_ASSERT_TRUE(coordinator_state_follows(s, known));
    CU_ASSERT_FALSE(coordinator_state_follows(known, s));
    known->revision++;
    CU_ASSERT_EQUAL(coordinator_state_register(s, 20, START + 60), 1);
    CU_ASSERT_TRUE(coordinator_state_follows(s, known));
    CU_ASSERT_FALSE(coordinator_state_follows(known, s));
    known->cluster++;
    CU_ASSERT_FALSE(coordinator_state_follows(s, known));
    free(s);
    free(known);
}

static void what_nobody_holds_begins_again_above_all_that_was(void)
{
    struct coordinator_state *s = made_active();
    s->lsn_ceiling = s->origin + (UINT64_C(1) << 50);
    for (uint32_t i = 0; i < 2; i++)
        CU_ASSERT_EQUAL(coordinator_state_register(s, 10 * (i + 1), START + 50 + i), 1);
    CU_ASSERT_EQUAL(counts_of(s).lost, SHARDS);
    CU_ASSERT_EQUAL(counts_of(s).gone, 0);
    CU_ASSERT_EQUAL(coordinator_state_give_up(s), 0); /* node 30 holds what it held */
    CU_ASSERT_EQUAL(coordinator_state_register(s, 30, START + 60), 1);
    CU_ASSERT_EQUAL(counts_of(s).gone, SHARDS);
    CU_ASSERT_EQUAL(coordinator_state_give_up(s), SHARDS);
    uint64_t floor = at(s, 0)->lsn_floor;
    CU_ASSERT_EQUAL(floor, s->origin + (UINT64_C(1) << 50) + 1);
    CU_ASSERT_EQUAL(s->lsn_ceiling, floor + NODE_LSN_GRANT);
    CU_ASSERT_EQUAL(counts_of(s).lost + counts_of(s).gone, 0);
    CU_ASSERT_EQUAL(counts_of(s).pending, SHARDS);
    CU_ASSERT_PTR_NULL(coordinator_state_fault(s));
    CU_ASSERT_EQUAL(coordinator_state_give_up(s), 0);
    CU_ASSERT_EQUAL(s->lsn_ceiling, floor + NODE_LSN_GRANT);
    /* Whoever is asked for it may lead: nobody holds more than another. */
    uint32_t leader = at(s, 1)->leader.node;
    CU_ASSERT_TRUE(coordinator_state_pass_on(s, LOG(1), at(s, 1)->epoch));
    CU_ASSERT_NOT_EQUAL(at(s, 1)->leader.node, leader);
    for (uint32_t i = 0; i < SHARDS; i++)
        CU_ASSERT_TRUE(activate(s, i));
    /* All of it once more: above all that it may have been since. */
    for (uint32_t i = 0; i < NODES; i++)
        CU_ASSERT_EQUAL(coordinator_state_register(s, 10 * (i + 1), START + 70 + i), 1);
    CU_ASSERT_EQUAL(coordinator_state_give_up(s), SHARDS);
    CU_ASSERT_EQUAL(at(s, 0)->lsn_floor, floor + NODE_LSN_GRANT + 1);
    CU_ASSERT_PTR_NULL(coordinator_state_fault(s));
    free(s);
}

/* Two nodes that end together do not hand each other what they lead for ever: both go to the third. */
static void who_leaves_as_well_is_asked_last(void)
{
    struct coordinator_state *s = made_active();
    CU_ASSERT_EQUAL(coordinator_state_duties(s, 10), SHARDS);
    CU_ASSERT_EQUAL(coordinator_state_leave(s, 10, (const uint32_t[]){20, 30}, 2), SHARDS);
    coordinator_state_retire(s, 10);
    CU_ASSERT_EQUAL(s->shards[0].move, 20);
    CU_ASSERT_EQUAL(coordinator_state_duties(s, 20), SHARDS);
    CU_ASSERT_EQUAL(coordinator_state_leave(s, 20, (const uint32_t[]){10, 30}, 2), SHARDS);
    coordinator_state_retire(s, 20);
    CU_ASSERT_EQUAL(s->shards[0].move, 30);
    CU_ASSERT_EQUAL(coordinator_state_duties(s, 20), 0);
    for (uint32_t i = 0; i < SHARDS; i++) {
        CU_ASSERT_TRUE(coordinator_state_let_go(s, LOG(i), at(s, i)->epoch));
        CU_ASSERT_TRUE(activate(s, i));
    }
    CU_ASSERT_EQUAL(coordinator_state_duties(s, 10), 0);
    CU_ASSERT_EQUAL(coordinator_state_duties(s, 30), SHARDS);
    /* What is lost can be handed to nobody: it keeps nobody waiting. */
    CU_ASSERT_EQUAL(coordinator_state_register(s, 10, START + 50), 1);
    CU_ASSERT_EQUAL(coordinator_state_register(s, 20, START + 51), 1);
    CU_ASSERT_EQUAL(counts_of(s).lost, SHARDS);
    CU_ASSERT_EQUAL(coordinator_state_duties(s, 30), 0);
    CU_ASSERT_EQUAL(coordinator_state_leave(s, 30, (const uint32_t[]){10, 20}, 2), 0);
    free(s);
}

/* ---- at random, against the rules ---- */

static void stir(struct coordinator_state *s, unsigned *seed, uint64_t *start)
{
    uint32_t shard = (uint32_t)rand_r(seed) % SHARDS, node = 10 * (1 + (uint32_t)rand_r(seed) % 3);
    switch (rand_r(seed) % 11) {
    case 10:
        (void)coordinator_state_give_up(s);
        break;
    case 8:
        (void)coordinator_state_pass_on(s, LOG(shard), at(s, shard)->epoch);
        break;
    case 9:
        node = 10 * (1 + shard % 2);
        (void)!coordinator_state_leave(s, node, (const uint32_t[]){30 - node, 30}, 2);
        break;
    case 0:
        CU_ASSERT_EQUAL(coordinator_state_register(s, node, ++*start), 1);
        break;
    case 1:
        (void)!coordinator_state_move(s, LOG(shard), LOG(shard) + (uint32_t)rand_r(seed) % 3, node);
        break;
    case 2:
    case 3:
        (void)coordinator_state_let_go(s, LOG(shard), at(s, shard)->epoch);
        break;
    default:
        (void)activate(s, shard);
    }
}

static void rules_hold_on_every_walk(void)
{
    struct coordinator_check total = {0};
    for (unsigned walk = 0; walk < WALKS; walk++) {
        struct coordinator_state *s = made();
        struct coordinator_check check = {0};
        unsigned seed = walk;
        uint64_t start = START + 100;
        CU_ASSERT_PTR_NULL_FATAL(coordinator_check_next(&check, s));
        for (unsigned i = 0; i < STEPS; i++) {
            stir(s, &seed, &start);
            s->revision++;
            const char *fault = coordinator_check_next(&check, s);
            if (fault != NULL)
                printf("walk %u step %u: %s\n", walk, i, fault);
            CU_ASSERT_PTR_NULL_FATAL(fault);
        }
        total.restarts += check.restarts;
        total.replaced += check.replaced;
        total.moves += check.moves;
        total.activations += check.activations;
        total.given_up += check.given_up;
        CU_ASSERT_EQUAL(check.gaps, 0);
        free(s);
    }
    CU_ASSERT_TRUE(total.restarts > WALKS && total.replaced > WALKS && total.moves > WALKS &&
                   total.activations > WALKS && total.given_up > WALKS);
}

static const struct unit_test tests[] = {
    UNIT_TEST(first_epochs_are_above_those_of_earlier_files),
    UNIT_TEST(activation_is_a_compare_and_set),
    UNIT_TEST(a_restarted_leaders_shards_spread_evenly),
    UNIT_TEST(a_rolling_restart_loses_nothing),
    UNIT_TEST(a_move_waits_for_the_leader_to_let_go),
    UNIT_TEST(a_pending_leader_has_nothing_to_let_go),
    UNIT_TEST(restarts_during_a_move),
    UNIT_TEST(who_leaves_hands_on_to_who_has_been_there_for_longest),
    UNIT_TEST(a_pending_leader_waited_for_in_vain_is_passed_over),
    UNIT_TEST(nodes_that_no_coordinator_wrote_are_named),
    UNIT_TEST(states_that_no_coordinator_wrote_are_named),
    UNIT_TEST(a_state_that_went_back_does_not_follow),
    UNIT_TEST(what_nobody_holds_begins_again_above_all_that_was),
    UNIT_TEST(who_leaves_as_well_is_asked_last),
    UNIT_TEST(rules_hold_on_every_walk),
};
UNIT_MAIN("coordinator_state", tests)
