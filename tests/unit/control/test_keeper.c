#include "control/keeper.h"

#include "tests/unit/control/server_peer.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <unistd.h>

static struct fixture fixture;
static struct fixture *const f = &fixture;

static void logs_begin_above_what_was_granted(void)
{
    struct keeper k;
    fixture_open(f);
    uint64_t by_time = f->node.lsn_start;
    CU_ASSERT_EQUAL(by_time, f->node.start << NODE_LSN_PER_START_SHIFT);
    CU_ASSERT_EQUAL_FATAL(keeper_open(&k, &f->node, &f->listener, 0), 0);
    CU_ASSERT_EQUAL(f->node.lsn_start, by_time);
    CU_ASSERT_EQUAL(f->node.lsn_ceiling, by_time + NODE_LSN_GRANT);
    CU_ASSERT_EQUAL(f->listener.lsn_ceiling, by_time + NODE_LSN_GRANT);
    /* The next start in the same instant, clock set back or not. */
    CU_ASSERT_EQUAL_FATAL(keeper_open(&k, &f->node, &f->listener, 0), 0);
    CU_ASSERT_EQUAL(f->node.lsn_start, by_time + NODE_LSN_GRANT);
    CU_ASSERT_EQUAL(f->node.lsn_ceiling, by_time + 2 * NODE_LSN_GRANT);
    fixture_close(f);
}

static void the_ceiling_is_stored_before_it_is_granted(void)
{
    struct keeper k;
    fixture_open(f);
    CU_ASSERT_EQUAL_FATAL(keeper_open(&k, &f->node, &f->listener, 0), 0);
    uint64_t first = f->node.lsn_ceiling;
    keeper_step(&k);
    CU_ASSERT_EQUAL(f->node.lsn_ceiling, first);
    f->node.spaces[2]->boards[1].lsn_end = first - NODE_LSN_GRANT / 2;

    int good = f->listener.state_fd;
    f->listener.state_fd = open("/dev/full", O_RDWR | O_CLOEXEC);
    keeper_step(&k);
    CU_ASSERT_EQUAL(f->node.lsn_ceiling, first);
    CU_ASSERT_TRUE(k.ceiling_failed);
    (void)close(f->listener.state_fd);
    f->listener.state_fd = good;

    keeper_step(&k);
    CU_ASSERT_EQUAL(f->node.lsn_ceiling, first + NODE_LSN_GRANT / 2);
    CU_ASSERT_EQUAL(f->listener.lsn_ceiling, first + NODE_LSN_GRANT / 2);
    CU_ASSERT_FALSE(k.ceiling_failed);
    fixture_close(f);
}

/* Whatever its logs need, and however much was granted to others meanwhile. */
static void a_node_of_a_cluster_grants_itself_nothing(void)
{
    struct keeper k;
    fixture_open(f);
    CU_ASSERT_EQUAL_FATAL(keeper_open(&k, &f->node, &f->listener, 0), 0);
    uint64_t first = f->node.lsn_ceiling;
    k.lsn_granted = first;
    keeper_step(&k);
    CU_ASSERT_FALSE(k.is_short);
    f->node.spaces[2]->boards[1].lsn_end = first - NODE_LSN_GRANT / 2;
    for (uint32_t i = 0; i < 3; i++)
        keeper_step(&k);
    CU_ASSERT_TRUE(k.is_short);
    CU_ASSERT_EQUAL(f->node.lsn_ceiling, first);
    k.lsn_granted = first + 1;
    keeper_step(&k);
    CU_ASSERT_FALSE(k.is_short);
    CU_ASSERT_EQUAL(f->node.lsn_ceiling, first + 1);
    CU_ASSERT_EQUAL(f->listener.lsn_ceiling, first + 1);
    f->node.spaces[2]->boards[1].lsn_end = first + 3 * NODE_LSN_GRANT;
    keeper_step(&k);
    CU_ASSERT_TRUE(k.is_short);
    CU_ASSERT_EQUAL(f->node.lsn_ceiling, first + 1);
    fixture_close(f);
}

static void chunks_that_were_asked_for_are_made(void)
{
    struct keeper k;
    fixture_open(f);
    CU_ASSERT_EQUAL_FATAL(keeper_open(&k, &f->node, &f->listener, 0), 0);
    struct node_space *s = f->node.spaces[2];
    uint32_t count = s->header->chunk_count;
    s->chunks_wanted = count + 1;
    keeper_step(&k);
    CU_ASSERT_EQUAL(s->header->chunk_count, count + 1);
    fixture_close(f);
}

static const struct unit_test tests[] = {
    UNIT_TEST(logs_begin_above_what_was_granted),
    UNIT_TEST(the_ceiling_is_stored_before_it_is_granted),
    UNIT_TEST(a_node_of_a_cluster_grants_itself_nothing),
    UNIT_TEST(chunks_that_were_asked_for_are_made),
};
UNIT_MAIN("keeper", tests)
