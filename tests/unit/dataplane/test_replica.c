/* Golden traces of the replication core: three replicas without read leases, and what they say to
 * each other while one leads; what a change of leaders leads to is in test_replica_recover.c, what
 * leases are about in test_replica_lease.c. */
#include "tests/unit/dataplane/replica_cluster.h"
#include "tests/unit/unit.h"

static const struct cluster_config three = {.node_count = 3};

/* ---- the first epoch ---- */

/* "Before e is active nothing commits in e"; then commit "travels with every frame". */
static void first_epoch_opens_and_commits_a_write(void)
{
    static struct cluster c;
    cluster_open(&c, &three);
    cluster_pend(&c, 1, 0, 7);
    cluster_expect(&c, "pending e1 led by 0\n"
                       "  0 brings e1\n"
                       "0>1 APPEND e1 commit=0\n"
                       "0>2 APPEND e1 commit=0\n"
                       "1>0 JOIN e1 end=0 commit=0 table\n"
                       "2>0 JOIN e1 end=0 commit=0 table\n"
                       "0>1 CUT e1 0\n"
                       "0>2 CUT e1 0\n"
                       "1>0 ACK e1 0 commit=0\n"
                       "2>0 ACK e1 0 commit=0\n"
                       "0>1 APPEND e1 [0,96) commit=0\n"
                       "0>2 APPEND e1 [0,96) commit=0\n"
                       "1>0 ACK e1 96 commit=0\n"
                       "  0 asks to activate e1\n"
                       "2>0 ACK e1 96 commit=0\n");
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), 0); /* before e1 is active nothing commits in it */
    cluster_activate(&c);
    cluster_expect(&c, "active e1 led by 0\n"
                       "  0 leads e1\n"
                       "  0 commits 96\n"
                       "0>1 APPEND e1 commit=96\n"
                       "  1 commits 96\n"
                       "0>2 APPEND e1 commit=96\n"
                       "  2 commits 96\n"
                       "0>1 PULSE @0 list=3 3: add(e1) behind\n"
                       "0>2 PULSE @0 list=3 3: add(e1) behind\n"
                       "1>0 ECHO @0 list=3\n"
                       "  0 may read\n"
                       "2>0 ECHO @0 list=3\n");
    cluster_put(&c, 0, 7, 8);
    cluster_expect(&c, "put at 0\n"
                       "0>1 APPEND e1 [96,208) commit=96\n"
                       "0>2 APPEND e1 [96,208) commit=96\n"
                       "1>0 ACK e1 208 commit=96\n"
                       "  0 commits 208\n"
                       "2>0 ACK e1 208 commit=96\n"
                       "0>1 APPEND e1 commit=208\n"
                       "  1 commits 208\n"
                       "0>2 APPEND e1 commit=208\n"
                       "  2 commits 208\n");
    CU_ASSERT(cluster_same_log(&c, 0, 1) && cluster_same_log(&c, 0, 2));
    cluster_close(&c);
}

/* "held by a majority of voters": what fewer hold is not committed. */
static void a_minority_commits_nothing(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    cluster_cut_off(&c, 1, true);
    cluster_cut_off(&c, 2, true);
    cluster_put(&c, 0, 8, 8);
    cluster_expect(&c, "put at 0\n");
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), 208);
    CU_ASSERT_EQUAL(cluster_log_end(&c, 0), 336);
    cluster_close(&c);
}

/* "Commit = highest LSN, of the leader's own epoch, held by a majority of voters". */
static void five_voters_commit_with_three(void)
{
    static struct cluster c;
    cluster_lead(&c, &(struct cluster_config){.node_count = 5});
    cluster_cut_off(&c, 3, true);
    cluster_cut_off(&c, 4, true);
    cluster_put(&c, 0, 8, 8);
    cluster_expect(&c, "put at 0\n"
                       "0>1 APPEND e1 [208,336) commit=208\n"
                       "0>2 APPEND e1 [208,336) commit=208\n"
                       "1>0 ACK e1 336 commit=208\n"
                       "2>0 ACK e1 336 commit=208\n"
                       "  0 commits 336\n"
                       "0>1 APPEND e1 commit=336\n"
                       "  1 commits 336\n"
                       "0>2 APPEND e1 commit=336\n"
                       "  2 commits 336\n");
    cluster_cut_off(&c, 2, true);
    cluster_put(&c, 0, 9, 8);
    cluster_expect(&c, "put at 0\n"
                       "0>1 APPEND e1 [336,464) commit=336\n"
                       "1>0 ACK e1 464 commit=336\n");
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), 336);
    CU_ASSERT_EQUAL(cluster_log_end(&c, 0), 464);
    cluster_close(&c);
}

/* A configuration has voters and learners, and the majority is one of voters. */
static void a_learner_is_fed_and_not_counted(void)
{
    static struct cluster c;
    cluster_open(&c, &three);
    c.quiet = true;
    cluster_learn(&c, 1, 0, 3);
    cluster_activate(&c);
    c.quiet = false;
    cluster_cut_off(&c, 1, true);
    cluster_put(&c, 0, 8, 8);
    cluster_expect(&c, "put at 0\n"
                       "0>2 APPEND e1 [96,208) commit=96\n"
                       "2>0 ACK e1 208 commit=96\n");
    /* 0 and the learner are no majority of 0 and 1. */
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), 96);
    cluster_close(&c);
}

/* ---- repair ---- */

/* "Loss is repaired by range (NAK, a timer as backstop)": here by range. */
static void lost_bytes_are_asked_for(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    cluster_cut_off(&c, 2, true);
    cluster_put(&c, 0, 10, 8);
    cluster_cut_off(&c, 2, false);
    cluster_forget(&c);
    cluster_put(&c, 0, 11, 8);
    cluster_expect(&c, "put at 0\n"
                       "0>1 APPEND e1 [336,464) commit=336\n"
                       "0>2 APPEND e1 [336,464) commit=336\n"
                       "1>0 ACK e1 464 commit=336\n"
                       "  0 commits 464\n"
                       "2>0 ACK e1 208 commit=208\n"
                       "2>0 NAK e1 [208,336)\n"
                       "0>1 APPEND e1 commit=464\n"
                       "  1 commits 464\n"
                       "0>2 APPEND e1 commit=464\n"
                       "0>2 APPEND e1 [208,464) commit=464\n"
                       "  2 commits 464\n"
                       "2>0 ACK e1 208 commit=208\n"
                       "2>0 ACK e1 464 commit=464\n");
    CU_ASSERT(cluster_same_log(&c, 0, 2));
    CU_ASSERT_EQUAL(cluster_count(&c, 2, REPLICA_COUNT_NAKS), 1);
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_RESENDS), 0);
    cluster_close(&c);
}

/* With nothing behind them to show the gap, a timer is the backstop; each time twice as long. */
static void lost_bytes_are_sent_again(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    cluster_cut_off(&c, 2, true);
    cluster_put(&c, 0, 10, 8);
    cluster_forget(&c);
    cluster_wait(&c, CLUSTER_RETRY - 1);
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_RESENDS), 0);
    cluster_wait(&c, 1);
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_RESENDS), 1);
    cluster_wait(&c, 2 * CLUSTER_RETRY - 1);
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_RESENDS), 1);
    cluster_cut_off(&c, 2, false);
    cluster_forget(&c);
    cluster_wait(&c, 1);
    cluster_expect(&c, "0>2 APPEND e1 [208,336) commit=336\n"
                       "  2 commits 336\n"
                       "2>0 ACK e1 336 commit=336\n");
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_RESENDS), 2);
    CU_ASSERT(cluster_same_log(&c, 0, 2));
    cluster_close(&c);
}

/* A notice of a commit that was lost is given again, until the follower says that it shows it. */
static void a_lost_commit_notice_is_repeated(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.delayed[1][0] = c.delayed[2][0] = true;
    cluster_put(&c, 0, 10, 8);
    c.cut_off[0][1] = true;
    cluster_deliver_late(&c);
    cluster_expect(&c, "put at 0\n"
                       "0>1 APPEND e1 [208,336) commit=208\n"
                       "0>2 APPEND e1 [208,336) commit=208\n"
                       "1>0 ACK e1 336 commit=208\n"
                       "  0 commits 336\n"
                       "2>0 ACK e1 336 commit=208\n"
                       "0>2 APPEND e1 commit=336\n"
                       "  2 commits 336\n");
    CU_ASSERT_EQUAL(cluster_committed(&c, 1), 208);
    c.cut_off[0][1] = false;
    cluster_wait(&c, CLUSTER_RETRY - 1);
    cluster_expect(&c, "");
    cluster_wait(&c, 1);
    cluster_expect(&c, "0>1 APPEND e1 commit=336\n"
                       "  1 commits 336\n"
                       "0>2 APPEND e1 commit=336\n"
                       "2>0 ACK e1 336 commit=336\n");
    CU_ASSERT_EQUAL(cluster_committed(&c, 1), 336);
    cluster_close(&c);
}

/* "duplicates are harmless. The acknowledgement is cumulative". */
static void what_comes_late_or_twice_does_no_harm(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.delayed[0][2] = true;
    cluster_put(&c, 0, 10, 8);
    cluster_put(&c, 0, 11, 8);
    CU_ASSERT_EQUAL_FATAL(c.late_count, 4);
    struct cluster_letter first = c.late[0];
    c.late[0] = c.late[3];
    c.late[3] = first;
    cluster_forget(&c);
    cluster_deliver_late(&c);
    cluster_expect(&c, "0>2 APPEND e1 commit=464\n"
                       "0>2 APPEND e1 commit=336\n"
                       "0>2 APPEND e1 [336,464) commit=336\n"
                       "0>2 APPEND e1 [208,336) commit=208\n"
                       "  2 commits 464\n"
                       "2>0 ACK e1 208 commit=208\n"
                       "2>0 NAK e1 [208,464)\n"
                       "2>0 ACK e1 208 commit=208\n"
                       "2>0 ACK e1 208 commit=208\n"
                       "2>0 ACK e1 464 commit=464\n"
                       "0>2 APPEND e1 [208,464) commit=464\n"
                       "2>0 ACK e1 464 commit=464\n");
    CU_ASSERT(cluster_same_log(&c, 0, 2));
    CU_ASSERT_EQUAL(cluster_committed(&c, 2), 464);
    cluster_close(&c);
}

/* The timer of a resend runs from when the bytes left, however long nothing was sent before. */
static void a_first_write_after_silence_is_sent_once(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    cluster_run(&c, 10 * CLUSTER_RETRY);
    cluster_forget(&c);
    c.delayed[2][0] = true; /* 1's acknowledgement comes long before 2's */
    cluster_put(&c, 0, 10, 8);
    cluster_pass(&c, 0);
    cluster_expect(&c, "put at 0\n"
                       "0>1 APPEND e1 [208,336) commit=208\n"
                       "0>2 APPEND e1 [208,336) commit=208\n"
                       "1>0 ACK e1 336 commit=208\n"
                       "  0 commits 336\n"
                       "0>1 APPEND e1 commit=336\n"
                       "  1 commits 336\n"
                       "0>2 APPEND e1 commit=336\n"
                       "  2 commits 336\n");
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_RESENDS), 0);
    cluster_close(&c);
}

/* "always the follower's own word after checking epoch and crc". */
static void damaged_bytes_count_for_nothing(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.damaged[0][2] = true;
    cluster_put(&c, 0, 10, 8);
    CU_ASSERT_EQUAL(cluster_count(&c, 2, REPLICA_COUNT_DAMAGED), 1);
    cluster_expect(&c, "put at 0\n"
                       "0>1 APPEND e1 [208,336) commit=208\n"
                       "0>2 APPEND e1 [208,336) commit=208\n"
                       "1>0 ACK e1 336 commit=208\n"
                       "  0 commits 336\n"
                       "2>0 ACK e1 208 commit=208\n"
                       "2>0 NAK e1 [256,336)\n"
                       "0>1 APPEND e1 commit=336\n"
                       "  1 commits 336\n"
                       "0>2 APPEND e1 commit=336\n"
                       "0>2 APPEND e1 [256,336) commit=336\n"
                       "  2 commits 336\n"
                       "2>0 ACK e1 208 commit=208\n"
                       "2>0 ACK e1 336 commit=336\n");
    CU_ASSERT(cluster_same_log(&c, 0, 2));
    cluster_close(&c);
}

/* "Append: a byte range that continues what the follower holds": a transaction counts when whole. */
static void a_large_record_travels_in_pieces(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    cluster_cut_off(&c, 2, true);
    cluster_put(&c, 0, 12, 20000);
    cluster_expect(&c, "put at 0\n"
                       "0>1 APPEND e1 [208,8400) commit=208\n"
                       "0>1 APPEND e1 [8400,16592) commit=208\n"
                       "0>1 APPEND e1 [16592,20280) commit=208\n"
                       "1>0 ACK e1 208 commit=208\n"
                       "1>0 ACK e1 208 commit=208\n"
                       "1>0 ACK e1 20280 commit=208\n"
                       "  0 commits 20280\n"
                       "0>1 APPEND e1 commit=20280\n"
                       "  1 commits 20280\n");
    CU_ASSERT(cluster_same_log(&c, 0, 1));
    cluster_close(&c);
}

/* What is out and not acknowledged is bounded, but never to less than a transaction. */
static void a_record_longer_than_the_window_commits(void)
{
    static const struct cluster_config large = {.node_count = 3,
                                                .quota_bytes = UINT64_C(256) << 20};
    static struct cluster c;
    cluster_lead(&c, &large);
    c.quiet = true;
    cluster_put(&c, 0, 11, 8);
    cluster_put(&c, 0, 12, LIMIT_VALUE_BYTES);
    cluster_put(&c, 0, 13, 8);
    cluster_run(&c, 4 * CLUSTER_LEASE);
    CU_ASSERT(cluster_committed(&c, 0) > LIMIT_VALUE_BYTES);
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), cluster_log_end(&c, 0));
    CU_ASSERT(cluster_same_log(&c, 0, 1));
    CU_ASSERT(cluster_same_log(&c, 0, 2));
    cluster_close(&c);
}

/* ---- what is refused ---- */

/* A forged one: a cut that the leader told itself would end its log below what it counts. */
static void nobody_speaks_to_himself(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.quiet = true;
    cluster_cut_off(&c, 1, true);
    cluster_cut_off(&c, 2, true);
    cluster_put(&c, 0, 7, 8);
    unsigned long long end = cluster_log_end(&c, 0);
    struct message m = {.log = CLUSTER_LOG,
                        .epoch = 1,
                        .from = c.nodes[0].replica.self,
                        .lsn = c.nodes[0].shard.shard->lsn_committed,
                        .lsn_end = c.nodes[0].shard.shard->log.lsn_whole};
    for (uint8_t kind = MESSAGE_SEAL; kind < MESSAGE_KIND_COUNT; kind++) {
        m.kind = kind;
        CU_ASSERT_EQUAL(cluster_tell(&c, 0, &m), -EPROTO);
    }
    CU_ASSERT_EQUAL(cluster_log_end(&c, 0), end);
    cluster_pass(&c, 0);
    cluster_close(&c);
}

static void a_message_of_an_older_epoch_is_stale(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    struct message m = {.log = CLUSTER_LOG, .epoch = 0, .from = c.nodes[0].replica.self};
    uint32_t kinds = 0;
    for (uint8_t kind = MESSAGE_SEAL; kind < MESSAGE_KIND_COUNT; kind++) {
        if (kind == MESSAGE_RECALL || kind == MESSAGE_RETURN)
            continue; /* grants outlive their epoch */
        m.kind = kind;
        m.from = c.nodes[0].replica.self;
        CU_ASSERT_EQUAL(cluster_tell(&c, 1, &m), -ESTALE);
        m.from = c.nodes[1].replica.self;
        CU_ASSERT_EQUAL(cluster_tell(&c, 0, &m), -ESTALE);
        kinds++;
    }
    CU_ASSERT_EQUAL(cluster_count(&c, 1, REPLICA_COUNT_STALE), kinds);
    CU_ASSERT_EQUAL(c.nodes[1].replica.promised, 1);
    cluster_close(&c);
}

static void nobody_but_the_leader_of_an_epoch_speaks_for_it(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    static const uint8_t kinds[] = {MESSAGE_SEAL, MESSAGE_FETCH, MESSAGE_CUT, MESSAGE_APPEND};
    struct message m = {.log = CLUSTER_LOG, .epoch = 1, .from = c.nodes[2].replica.self};
    for (size_t i = 0; i < sizeof kinds; i++) { /* S1 */
        m.kind = kinds[i];
        CU_ASSERT_EQUAL(cluster_tell(&c, 1, &m), -EPROTO);
        CU_ASSERT_EQUAL(cluster_tell(&c, 0, &m), -EPROTO);
    }
    m.from = c.nodes[0].replica.self;
    m.from.incarnation++; /* another start of its node does not lead it either */
    for (size_t i = 0; i < sizeof kinds; i++) {
        m.kind = kinds[i];
        CU_ASSERT_EQUAL(cluster_tell(&c, 1, &m), -EPROTO);
    }
    cluster_close(&c);
}

/* It could never be applied, and all behind it would wait: refused by name, and the leader's own words are
 * taken again then. */
static void a_transaction_longer_than_any_is_refused(void)
{
    enum { RECORD = 136, COUNT = LIMIT_TRANSACTION_RECORDS + 1 };
    static alignas(8) uint8_t bytes[COUNT * RECORD];
    static const uint8_t value[RECORD];
    static struct cluster c;
    cluster_lead(&c, &three);
    struct message m = {
        .kind = MESSAGE_APPEND,
        .log = CLUSTER_LOG,
        .epoch = 1,
        .from = c.nodes[0].replica.self,
        .lsn = c.origin + 208,
        .lsn_end = c.origin + 208 + sizeof bytes,
        .length = sizeof bytes,
        .bytes = bytes,
    };
    for (uint32_t i = 0; i < COUNT; i++) {
        const struct record h = {
            .format = RECORD_FORMAT,
            .kind = RECORD_VOID,
            .log = CLUSTER_LOG,
            .value_length = RECORD - RECORD_HEADER_BYTES,
            .lsn = m.lsn + (uint64_t)i * RECORD,
        };
        const struct record_parts parts = {.value = value};
        record_write(bytes + (size_t)i * RECORD, &h, &parts);
    }
    CU_ASSERT_EQUAL(cluster_tell(&c, 1, &m), -EPROTO);
    CU_ASSERT_EQUAL(cluster_log_end(&c, 1), 208);
    cluster_put(&c, 0, 8, 8);
    CU_ASSERT(cluster_same_log(&c, 0, 1));
    CU_ASSERT_EQUAL(cluster_committed(&c, 1), 336);
    cluster_close(&c);
}

static void an_answer_under_another_incarnation_is_not_counted(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    cluster_cut_off(&c, 1, true);
    cluster_cut_off(&c, 2, true);
    cluster_put(&c, 0, 8, 8);
    static const uint8_t kinds[] = {MESSAGE_SEALED, MESSAGE_JOIN, MESSAGE_ACK, MESSAGE_NAK};
    struct message m = {.log = CLUSTER_LOG,
                        .epoch = 1,
                        .from = {.node = 1, .incarnation = 99},
                        .lsn = c.origin + 336};
    for (size_t i = 0; i < sizeof kinds; i++) { /* S13 */
        m.kind = kinds[i];
        CU_ASSERT_EQUAL(cluster_tell(&c, 0, &m), -EPROTO);
        CU_ASSERT_EQUAL(cluster_tell(&c, 2, &m), -ESTALE); /* it does not lead */
    }
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), 208);
    m.kind = MESSAGE_ACK;
    m.from.incarnation = 2;
    m.lsn = c.origin + 344; /* more than there is */
    CU_ASSERT_EQUAL(cluster_tell(&c, 0, &m), -EPROTO);
    m.lsn = c.origin + 336;
    m.epoch = 2; /* of an epoch that is not ours */
    CU_ASSERT_EQUAL(cluster_tell(&c, 0, &m), -ESTALE);
    m.epoch = 1;
    m.log++;
    CU_ASSERT_EQUAL(cluster_tell(&c, 0, &m), -EPROTO);
    m.log--;
    CU_ASSERT_EQUAL(cluster_tell(&c, 0, &m), 0);
    cluster_pass(&c, 0);
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), 336);
    cluster_close(&c);
}

/* A cut below what is committed here contradicts the protocol: nothing is touched any more. */
static void a_cut_below_the_commit_lsn_stops_the_replica(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    cluster_cut_off(&c, 1, true);
    struct member stranger = {.node = 2, .incarnation = 3};
    struct message m = {
        .kind = MESSAGE_CUT,
        .log = CLUSTER_LOG,
        .epoch = 9,
        .from = stranger,
        .lsn = c.origin + 96,
        .lsn_end = c.origin + 336, /* an answer to another log than ours */
    };
    CU_ASSERT_EQUAL(cluster_tell(&c, 1, &m), 0);
    CU_ASSERT_EQUAL(c.nodes[1].replica.role, REPLICA_FOLLOWER);
    CU_ASSERT_FALSE(c.nodes[1].replica.joined);
    m.lsn_end = c.origin + 208;
    CU_ASSERT_EQUAL(cluster_tell(&c, 1, &m), -EPROTO);
    CU_ASSERT_EQUAL(c.nodes[1].replica.role, REPLICA_STOPPED);
    CU_ASSERT_EQUAL(cluster_log_end(&c, 1), 208);
    m.lsn = c.origin + 208;
    CU_ASSERT_EQUAL(cluster_tell(&c, 1, &m), -EPROTO);
    cluster_close(&c);
}

static const struct unit_test tests[] = {
    UNIT_TEST(first_epoch_opens_and_commits_a_write),
    UNIT_TEST(a_minority_commits_nothing),
    UNIT_TEST(five_voters_commit_with_three),
    UNIT_TEST(a_learner_is_fed_and_not_counted),
    UNIT_TEST(lost_bytes_are_asked_for),
    UNIT_TEST(lost_bytes_are_sent_again),
    UNIT_TEST(a_lost_commit_notice_is_repeated),
    UNIT_TEST(what_comes_late_or_twice_does_no_harm),
    UNIT_TEST(a_first_write_after_silence_is_sent_once),
    UNIT_TEST(damaged_bytes_count_for_nothing),
    UNIT_TEST(a_large_record_travels_in_pieces),
    UNIT_TEST(a_record_longer_than_the_window_commits),
    UNIT_TEST(nobody_speaks_to_himself),
    UNIT_TEST(a_message_of_an_older_epoch_is_stale),
    UNIT_TEST(nobody_but_the_leader_of_an_epoch_speaks_for_it),
    UNIT_TEST(a_transaction_longer_than_any_is_refused),
    UNIT_TEST(an_answer_under_another_incarnation_is_not_counted),
    UNIT_TEST(a_cut_below_the_commit_lsn_stops_the_replica),
};
UNIT_MAIN("replica", tests)
