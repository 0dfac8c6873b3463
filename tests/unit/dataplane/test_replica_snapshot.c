/* Golden trace of a peer that the leader's log does not reach any more: it gets a snapshot, piece by
 * piece, then the log behind it. */
#include "tests/unit/dataplane/replica_cluster.h"
#include "tests/unit/unit.h"

static const struct cluster_config three = {.node_count = 3};

#define VALUE_BYTES 20000u

/* The leader writes and cleans until it no longer has the beginning of its log. */
static void log_outgrow(struct cluster *c)
{
    struct fixture *f = &c->nodes[0].shard;
    uint64_t available;
    for (uint32_t i = 0; log_bytes_at(&f->shard->log, c->origin, &available) != NULL; i++) {
        CU_ASSERT_FATAL(i < 400);
        cluster_put(c, 0, i % 2, VALUE_BYTES);
        for (uint32_t k = 0; k < 4; k++)
            (void)!fixture_maintain(f);
        (void)!fixture_maintain(&c->nodes[1].shard);
    }
}

/* 2 was away for so long that what it lacks is kept no more. */
static void fall_behind(struct cluster *c)
{
    cluster_lead(c, &three);
    c->quiet = true;
    cluster_cut_off(c, 2, true);
    cluster_run(c, CLUSTER_LEASE + CLUSTER_HEARTBEAT); /* given up as silent */
    log_outgrow(c);
    c->quiet = false;
    cluster_cut_off(c, 2, false);
}

/* "A peer, cursor or new leader that needs what is behind the tail gets a snapshot at an LSN plus the
 * tail." */
static void who_fell_behind_gets_a_snapshot(void)
{
    static struct cluster c;
    fall_behind(&c);
    cluster_wait(&c, CLUSTER_HEARTBEAT);
    cluster_expect(&c, "0>1 APPEND e1 commit=1527400\n"
                       "0>1 PULSE @1240 list=3 behind\n"
                       "0>2 PULSE @1240 list=3 behind\n"
                       "1>0 ACK e1 1527400 commit=1527400\n"
                       "1>0 ECHO @1240 list=3\n"
                       "2>0 ECHO @1240 list=3\n"
                       "0>2 APPEND e1 commit=1527400\n"
                       "2>0 JOIN e1 end=208 commit=208 table e1@0\n"
                       "0>2 PIECE e1 piece 0\n"
                       "2>0 WANT e1 piece 1\n"
                       "0>2 PIECE e1 piece 1\n"
                       "2>0 WANT e1 piece 2\n"
                       "0>2 PIECE e1 piece 2\n"
                       "2>0 WANT e1 piece 3\n"
                       "0>2 PIECE e1 piece 3\n"
                       "2>0 WANT e1 piece 4\n"
                       "0>2 PIECE e1 piece 4\n"
                       "2>0 WANT e1 piece 5\n"
                       "0>2 PIECE e1 piece 5\n"
                       "  2 commits 1507328\n"
                       "2>0 JOIN e1 end=1507328 commit=1507328 table e1@0\n"
                       "0>2 CUT e1 1507328\n"
                       "2>0 ACK e1 1507328 commit=1507328\n"
                       "0>2 APPEND e1 [1507328,1515520) commit=1527400\n"
                       "0>2 APPEND e1 [1515520,1523712) commit=1527400\n"
                       "0>2 APPEND e1 [1523712,1527400) commit=1527400\n"
                       "  2 commits 1527400\n"
                       "2>0 ACK e1 1507328 commit=1507328\n"
                       "2>0 ACK e1 1507328 commit=1507328\n"
                       "2>0 ACK e1 1527400 commit=1527400\n");
    CU_ASSERT_EQUAL(cluster_committed(&c, 2), cluster_committed(&c, 0));
    uint64_t key = 1;
    struct read_found here, there;
    CU_ASSERT_EQUAL(fixture_read(&c.nodes[0].shard, &key, sizeof key, &here), 1);
    CU_ASSERT_EQUAL(fixture_read(&c.nodes[2].shard, &key, sizeof key, &there), 1);
    CU_ASSERT_EQUAL(here.lsn, there.lsn);
    CU_ASSERT_EQUAL(cluster_count(&c, 2, REPLICA_COUNT_INSTALLS), 1);
    cluster_close(&c);
}

/* More is missing than a peer is counted for, and all of it is still there, since nobody needed the memory:
 * fed from there, it would be told with the first bytes that they are kept no more, join again, and so
 * for ever. */
static void who_lags_further_than_is_kept_is_not_fed_from_there(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.quiet = true;
    cluster_cut_off(&c, 2, true);
    cluster_run(&c, CLUSTER_LEASE + CLUSTER_HEARTBEAT); /* given up as silent */
    const struct shard *s = c.nodes[0].shard.shard;
    const uint64_t half = ((uint64_t)frames_total(&s->frames) << s->geometry.segment_shift) / 2;
    uint64_t available;
    for (uint32_t i = 0; s->log.lsn_whole - c.origin <= half + 2 * VALUE_BYTES; i++) {
        cluster_put(&c, 0, i % 2, VALUE_BYTES);
        (void)!fixture_maintain(&c.nodes[0].shard);
        (void)!fixture_maintain(&c.nodes[1].shard);
    }
    CU_ASSERT_PTR_NOT_NULL(log_bytes_at(&s->log, c.origin, &available));
    cluster_cut_off(&c, 2, false);
    for (uint32_t i = 0; i < 8; i++)
        cluster_wait(&c, CLUSTER_HEARTBEAT);
    CU_ASSERT_EQUAL(cluster_committed(&c, 2), cluster_committed(&c, 0));
    CU_ASSERT_EQUAL(cluster_count(&c, 2, REPLICA_COUNT_INSTALLS), 1);
    cluster_close(&c);
}

/* Fall behind, lose the first of a kind on its way, and tell what happens from there. */
static void lose_and_expect(uint32_t from, uint32_t to, uint8_t kind, const char *golden)
{
    static struct cluster c;
    fall_behind(&c);
    c.quiet = true;
    c.cut_off[0][2] = true; /* it is heard again, and nothing is said to it yet */
    cluster_wait(&c, CLUSTER_HEARTBEAT);
    c.cut_off[0][2] = false;
    c.lost[from][to] = kind;
    for (uint32_t turn = 0; c.lost[from][to] != 0; turn++) {
        CU_ASSERT_FATAL(turn < 100);
        cluster_wait(&c, CLUSTER_RETRY / 4);
    }
    c.quiet = false;
    cluster_forget(&c);
    CU_ASSERT_EQUAL(cluster_committed(&c, 2), 208);
    for (uint32_t turn = 0; c.trace_bytes == 0 || strstr(c.trace, "WANT") == NULL; turn++) {
        CU_ASSERT_FATAL(turn < 100);
        cluster_forget(&c);
        cluster_wait(&c, 1);
    }
    cluster_expect(&c, golden);
    CU_ASSERT_EQUAL(cluster_count(&c, 2, REPLICA_COUNT_INSTALLS), 1);
    CU_ASSERT_EQUAL(cluster_committed(&c, 2), cluster_committed(&c, 0));
    cluster_close(&c);
}

#define FROM_PIECE_1                                                                               \
    "0>2 PIECE e1 piece 1\n"                                                                       \
    "2>0 WANT e1 piece 2\n"                                                                        \
    "0>2 PIECE e1 piece 2\n"                                                                       \
    "2>0 WANT e1 piece 3\n"                                                                        \
    "0>2 PIECE e1 piece 3\n"                                                                       \
    "2>0 WANT e1 piece 4\n"                                                                        \
    "0>2 PIECE e1 piece 4\n"                                                                       \
    "2>0 WANT e1 piece 5\n"                                                                        \
    "0>2 PIECE e1 piece 5\n"                                                                       \
    "  2 commits 1507328\n"                                                                        \
    "2>0 JOIN e1 end=1507328 commit=1507328 table e1@0\n"                                          \
    "0>2 CUT e1 1507328\n"                                                                         \
    "2>0 ACK e1 1507328 commit=1507328\n"                                                          \
    "0>2 APPEND e1 [1507328,1515520) commit=1527400\n"                                             \
    "0>2 APPEND e1 [1515520,1523712) commit=1527400\n"                                             \
    "0>2 APPEND e1 [1523712,1527400) commit=1527400\n"                                             \
    "  2 commits 1527400\n"                                                                        \
    "2>0 ACK e1 1507328 commit=1507328\n"                                                          \
    "2>0 ACK e1 1507328 commit=1507328\n"                                                          \
    "2>0 ACK e1 1527400 commit=1527400\n"

/* Who wants a piece asks again, after the timer, whichever of the two was lost. */
static void a_lost_piece_is_asked_for_again(void)
{
    lose_and_expect(0, 2, MESSAGE_PIECE,
                    "0>2 APPEND e1 commit=1527400\n"
                    "2>0 JOIN e1 end=208 commit=208 table e1@0\n"
                    "0>2 PIECE e1 piece 0\n"
                    "2>0 WANT e1 piece 1\n" FROM_PIECE_1);
}

static void a_lost_wish_is_repeated(void)
{
    lose_and_expect(2, 0, MESSAGE_WANT,
                    "0>2 APPEND e1 commit=1527400\n"
                    "2>0 WANT e1 piece 1\n" FROM_PIECE_1);
}

static const struct unit_test tests[] = {
    UNIT_TEST(who_fell_behind_gets_a_snapshot),
    UNIT_TEST(who_lags_further_than_is_kept_is_not_fed_from_there),
    UNIT_TEST(a_lost_piece_is_asked_for_again),
    UNIT_TEST(a_lost_wish_is_repeated),
};
UNIT_MAIN("replica_snapshot", tests)
