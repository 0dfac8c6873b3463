/* What a coordinator says and asks when nobody holds any more what was. */
#include "tests/unit/control/coordinator_fixture.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define START FIXTURE_START
#define SHARDS FIXTURE_SHARDS
#define LOG_BYTES 16384u
/* Above what the clock allows for by then. */
#define CEILING ((START << NODE_LSN_PER_START_SHIFT) + (UINT64_C(1) << 50))

static struct fixture_node nodes[FIXTURE_NODES];

static void node_start(uint32_t number, uint64_t start)
{
    CU_ASSERT_EQUAL_FATAL(fixture_node_open(&nodes[number], start), 0);
    CU_ASSERT_EQUAL_FATAL(coordinator_await(nodes[number].coordinator, 0), 0);
    CU_ASSERT_EQUAL_FATAL(coordinator_join(nodes[number].coordinator, &nodes[number].node), 0);
}

static void all_activate(void)
{
    for (uint32_t round = 0; round < 3; round++)
        for (uint32_t i = 0; i < FIXTURE_NODES; i++) {
            for (uint32_t s = 0; s < SHARDS; s++) {
                const struct configuration c = fixture_configuration(&nodes[i], s);
                if (c.leader.node == nodes[i].config.node && !c.active)
                    (void)fixture_activate(&nodes[i], s, c.epoch);
            }
            CU_ASSERT_EQUAL(coordinator_step(nodes[i].coordinator), 0);
        }
}

static void cluster_open(void)
{
    fixture_begin();
    for (uint32_t i = 0; i < FIXTURE_NODES; i++) {
        fixture_node_init(&nodes[i], i, 0, SHARDS);
        CU_ASSERT_EQUAL_FATAL(fixture_node_open(&nodes[i], START + i), 0);
    }
    for (uint32_t i = 0; i < FIXTURE_NODES; i++) {
        CU_ASSERT_EQUAL_FATAL(coordinator_await(nodes[i].coordinator, 0), 0);
        CU_ASSERT_EQUAL_FATAL(coordinator_join(nodes[i].coordinator, &nodes[i].node), 0);
    }
    all_activate();
}

static void cluster_close(void)
{
    for (uint32_t i = 0; i < FIXTURE_NODES; i++) {
        coordinator_close(nodes[i].coordinator);
        nodes[i].coordinator = NULL;
    }
    fixture_end();
}

static struct coordinator_counts counts_of(uint32_t number)
{
    struct coordinator_counts counts;
    coordinator_state_counts(coordinator_known(nodes[number].coordinator), &counts);
    return counts;
}

/* ---- the log of this process, while something is done ---- */

static FILE *log_file;
static int log_before;

static void log_catch(void)
{
    (void)fflush(stderr);
    log_file = tmpfile();
    CU_ASSERT_PTR_NOT_NULL_FATAL(log_file);
    log_before = dup(STDERR_FILENO);
    CU_ASSERT(dup2(fileno(log_file), STDERR_FILENO) >= 0);
}

/* How often a word was said. */
static unsigned log_said(const char *word)
{
    static char text[LOG_BYTES];
    unsigned count = 0;
    (void)fflush(stderr);
    ssize_t length = pread(fileno(log_file), text, sizeof text - 1, 0);
    CU_ASSERT_FATAL(length >= 0);
    text[length] = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
        count++;
    return count;
}

static void log_release(void)
{
    CU_ASSERT(dup2(log_before, STDERR_FILENO) >= 0);
    (void)close(log_before);
    (void)fclose(log_file);
}

/* ---- tests ---- */

static void what_is_lost_is_said_once_for_each_space(void)
{
    cluster_open();
    log_catch();
    node_start(0, START + 9);
    CU_ASSERT_EQUAL(log_said("space_lost"), 0);
    node_start(1, START + 10);
    CU_ASSERT_EQUAL(log_said("space_lost"), 1);
    CU_ASSERT_EQUAL(log_said("space=reeds"), 1);
    CU_ASSERT_EQUAL(log_said("gone=0"), 1);
    node_start(2, START + 11);
    unsigned said = log_said("space_lost");
    CU_ASSERT_EQUAL(log_said("gone=6"), 1);
    for (uint32_t i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(coordinator_step(nodes[2].coordinator), 0);
    CU_ASSERT_EQUAL(log_said("space_lost"), said);
    log_release();
    CU_ASSERT_EQUAL(counts_of(2).gone, SHARDS);
    CU_ASSERT_EQUAL(counts_of(2).lost, SHARDS);
    cluster_close();
}

static void what_nobody_holds_begins_again_where_that_is_wanted(void)
{
    cluster_open();
    uint64_t epoch = fixture_configuration(&nodes[0], 0).epoch;
    nodes[1].config.reopens_lost = true;
    nodes[0].config.lsn_ceiling = CEILING; /* which counts whatever it wants itself */
    node_start(0, START + 9);
    node_start(1, START + 10);
    CU_ASSERT_EQUAL(coordinator_step(nodes[1].coordinator), 0);
    CU_ASSERT_EQUAL(counts_of(1).lost, SHARDS); /* the third node holds what it held */
    node_start(2, START + 11);
    CU_ASSERT_EQUAL(coordinator_step(nodes[2].coordinator), 0);
    CU_ASSERT_EQUAL(counts_of(2).lost, SHARDS); /* it was not told to */
    CU_ASSERT_EQUAL(coordinator_step(nodes[1].coordinator), 0);
    CU_ASSERT_EQUAL(counts_of(1).lost, 0);
    for (uint32_t s = 0; s < SHARDS; s++) {
        const struct configuration c = fixture_configuration(&nodes[1], s);
        CU_ASSERT_TRUE(c.lossy);
        CU_ASSERT_EQUAL(c.epoch_before, epoch);
        CU_ASSERT_EQUAL(c.voter_before_count, 0);
        CU_ASSERT(c.lsn_floor > CEILING);
        /* And there is room, before anybody asks for it. */
        CU_ASSERT_EQUAL(coordinator_lsn_granted(nodes[1].coordinator, false),
                        c.lsn_floor + NODE_LSN_GRANT);
    }
    all_activate();
    for (uint32_t i = 0; i < FIXTURE_NODES; i++)
        CU_ASSERT_EQUAL(counts_of(i).pending + counts_of(i).lost, 0);
    /* From there on it is like any other. */
    node_start(0, START + 20);
    CU_ASSERT_FALSE(fixture_configuration(&nodes[0], 0).lossy);
    CU_ASSERT_EQUAL(counts_of(0).lost, 0);
    cluster_close();
}

/* Whoever comes near it first asks for all. */
static void a_higher_ceiling_is_asked_for_once(void)
{
    cluster_open();
    uint64_t first = coordinator_lsn_granted(nodes[0].coordinator, false);
    CU_ASSERT_EQUAL(first, coordinator_known(nodes[0].coordinator)->origin + NODE_LSN_GRANT);
    CU_ASSERT_EQUAL(coordinator_step(nodes[0].coordinator), 0);
    CU_ASSERT_EQUAL(coordinator_lsn_granted(nodes[0].coordinator, true), first);
    CU_ASSERT_EQUAL(coordinator_lsn_granted(nodes[1].coordinator, true), first);
    for (uint32_t i = 0; i < FIXTURE_NODES; i++)
        CU_ASSERT_EQUAL(coordinator_step(nodes[i].coordinator), 0);
    for (uint32_t i = 0; i < FIXTURE_NODES; i++)
        CU_ASSERT_EQUAL(coordinator_lsn_granted(nodes[i].coordinator, false),
                        first + NODE_LSN_GRANT);
    /* That it came near the one before is nothing any more. */
    CU_ASSERT_EQUAL(coordinator_step(nodes[0].coordinator), 0);
    CU_ASSERT_EQUAL(fixture_state->lsn_ceiling, first + NODE_LSN_GRANT);
    cluster_close();
}

/* It leads nothing itself, and is about to end all the same. */
static void who_retires_is_handed_nothing(void)
{
    static const uint32_t others[] = {20, 30};
    cluster_open();
    CU_ASSERT_EQUAL(coordinator_duties(nodes[0].coordinator), SHARDS);
    CU_ASSERT_EQUAL(coordinator_retire(nodes[1].coordinator), 0);
    CU_ASSERT_EQUAL(coordinator_leave(nodes[0].coordinator, others, 2), SHARDS);
    for (uint32_t i = 1; i < FIXTURE_NODES; i++)
        CU_ASSERT_EQUAL(coordinator_step(nodes[i].coordinator), 0);
    CU_ASSERT_EQUAL(coordinator_duties(nodes[1].coordinator), 0);
    CU_ASSERT_EQUAL(coordinator_duties(nodes[2].coordinator), SHARDS);
    cluster_close();
}

static const struct unit_test tests[] = {
    UNIT_TEST(what_is_lost_is_said_once_for_each_space),
    UNIT_TEST(what_nobody_holds_begins_again_where_that_is_wanted),
    UNIT_TEST(a_higher_ceiling_is_asked_for_once),
    UNIT_TEST(who_retires_is_handed_nothing),
};
UNIT_MAIN("coordinator_lost", tests)
