/* Golden traces of a change of leaders: seal, choose, complete, bring, activate, cut (DESIGN section 5,
 * Ongaro 3.6).  Three replicas without read leases. */
#include "tests/unit/dataplane/replica_cluster.h"
#include "tests/unit/unit.h"

static const struct cluster_config three = {.node_count = 3};

/* Every promise given so far has run out: voters answer seals at once. */
static void promises_run_out(struct cluster *c)
{
    c->time += 2 * CLUSTER_LEASE;
}

/* "takes the log with the highest (last epoch, last LSN), completes itself, brings a majority". */
static void a_tail_that_one_voter_holds_survives_its_leader(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.cut_off[1][0] = true; /* 1 holds it, and nobody knows */
    cluster_cut_off(&c, 2, true);
    cluster_put(&c, 0, 8, 8);
    cluster_expect(&c, "put at 0\n"
                       "0>1 APPEND e1 [208,336) commit=208\n");
    cluster_cut_off(&c, 2, false);
    cluster_cut_off(&c, 0, true);
    promises_run_out(&c);
    cluster_pend(&c, 2, 2, 7);
    cluster_expect(&c, "pending e2 led by 2\n"
                       "  2 seals e2\n"
                       "2>1 SEAL e2 after e1\n"
                       "1>2 SEALED e2 end=336 commit=208 table e1@0\n"
                       "  2 fetches e2\n"
                       "2>1 FETCH e2 208\n"
                       "1>2 APPEND e2 [208,336) commit=0\n"
                       "  2 brings e2\n"
                       "2>1 APPEND e2 commit=208\n"
                       "1>2 JOIN e2 end=336 commit=208 table e1@0\n"
                       "2>1 CUT e2 336\n"
                       "1>2 ACK e2 336 commit=208\n"
                       "2>1 APPEND e2 [336,480) commit=208\n"
                       "1>2 ACK e2 480 commit=208\n"
                       "  2 asks to activate e2\n");
    CU_ASSERT_EQUAL(cluster_committed(&c, 2), 208); /* before e2 is active nothing commits in it */
    CU_ASSERT_EQUAL(cluster_count(&c, 1, REPLICA_COUNT_SEALS_WITH_TAIL), 1);
    CU_ASSERT_EQUAL(cluster_count(&c, 2, REPLICA_COUNT_FETCHES), 1);
    cluster_activate(&c);
    cluster_expect(&c, "active e2 led by 2\n"
                       "  2 leads e2\n"
                       "  2 commits 480\n"
                       "2>1 APPEND e2 commit=480\n"
                       "  1 commits 480\n"
                       "2>1 PULSE @2040 list=3 3: add(e2) behind\n"
                       "1>2 ECHO @2040 list=3\n"
                       "  2 may read\n");
    CU_ASSERT(cluster_same_log(&c, 1, 2));
    cluster_close(&c);
}

/* What a majority of five held is in every majority of them, wherever the leader stands. */
static void a_majority_of_five_has_what_was_committed(void)
{
    static struct cluster c;
    cluster_lead(&c, &(struct cluster_config){.node_count = 5});
    cluster_cut_off(&c, 3, true);
    cluster_cut_off(&c, 4, true);
    cluster_put(&c, 0, 8, 8); /* committed by 0, 1 and 2 */
    cluster_cut_off(&c, 3, false);
    cluster_cut_off(&c, 4, false);
    cluster_cut_off(&c, 0, true);
    cluster_cut_off(&c, 1, true);
    cluster_forget(&c);
    promises_run_out(&c);
    cluster_pend(&c, 2, 3, 31);
    cluster_expect(&c, "pending e2 led by 3\n"
                       "  3 seals e2\n"
                       "3>2 SEAL e2 after e1\n"
                       "3>4 SEAL e2 after e1\n"
                       "2>3 SEALED e2 end=336 commit=336 table e1@0\n"
                       "4>3 SEALED e2 end=208 commit=208 table e1@0\n"
                       "  3 fetches e2\n"
                       "3>2 FETCH e2 208\n"
                       "2>3 APPEND e2 [208,336) commit=0\n"
                       "  3 brings e2\n"
                       "  3 commits 336\n"
                       "3>2 APPEND e2 commit=336\n"
                       "3>4 APPEND e2 commit=336\n"
                       "2>3 JOIN e2 end=336 commit=336 table e1@0\n"
                       "4>3 JOIN e2 end=208 commit=208 table e1@0\n"
                       "3>2 CUT e2 336\n"
                       "3>4 CUT e2 208\n"
                       "2>3 ACK e2 336 commit=336\n"
                       "4>3 ACK e2 208 commit=208\n"
                       "3>2 APPEND e2 [336,480) commit=336\n"
                       "3>4 APPEND e2 [208,480) commit=336\n"
                       "  4 commits 336\n"
                       "2>3 ACK e2 480 commit=336\n"
                       "4>3 ACK e2 480 commit=336\n"
                       "  3 asks to activate e2\n");
    CU_ASSERT_EQUAL(cluster_committed(&c, 3), 336);
    cluster_activate(&c);
    CU_ASSERT(cluster_same_log(&c, 2, 3) && cluster_same_log(&c, 2, 4));
    cluster_close(&c);
}

/* "the cut: the smaller end of the last epoch both have. The follower cuts there". */
static void a_deposed_leader_cuts_what_was_never_committed(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    cluster_cut_off(&c, 0, true);
    cluster_put(&c, 0, 9, 8); /* nobody hears it */
    promises_run_out(&c);
    c.quiet = true;
    cluster_pend(&c, 2, 1, 7);
    cluster_activate(&c);
    cluster_forget(&c);
    c.quiet = false;
    cluster_cut_off(&c, 0, false);
    cluster_wait(&c, CLUSTER_RETRY);
    cluster_expect(&c, "0>1 PULSE @2080 list=3\n"
                       "0>2 PULSE @2080 list=3\n"
                       "1>0 APPEND e2 commit=352\n"
                       "  0 follows e2\n"
                       "  0 reads no more\n"
                       "1>2 APPEND e2 commit=352\n"
                       "1>0 ECHO @2080 list=3 without e1\n"
                       "2>0 ECHO @2080 list=3 without e1\n"
                       "0>1 JOIN e2 end=336 commit=208 table e1@0\n"
                       "0>1 PULSE @2080 list=4 4: remove(e1)\n"
                       "0>2 PULSE @2080 list=4 4: remove(e1)\n"
                       "2>1 ACK e2 352 commit=352\n"
                       "1>0 CUT e2 208\n"
                       "1>0 ECHO @2080 list=4\n"
                       "2>0 ECHO @2080 list=4\n"
                       "0>1 ACK e2 208 commit=208\n"
                       "1>0 APPEND e2 [208,352) commit=352\n"
                       "  0 commits 352\n"
                       "0>1 ACK e2 352 commit=352\n");
    CU_ASSERT(cluster_same_log(&c, 0, 1));
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_CUTS), 1);
    cluster_close(&c);
}

/* Its own log ends in a record that the best one does not have: cut, then fetched. */
static void a_new_leader_cuts_its_own_log_to_the_best(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    cluster_cut_off(&c, 0, true);
    cluster_put(&c, 0, 9, 8); /* nobody hears it */
    promises_run_out(&c);
    c.quiet = true;
    cluster_pend(&c, 2, 1, 7);
    cluster_activate(&c);
    cluster_put(&c, 1, 10, 8);
    c.quiet = false;
    cluster_forget(&c);
    cluster_cut_off(&c, 0, false);
    cluster_cut_off(&c, 1, true);
    promises_run_out(&c);
    cluster_pend(&c, 3, 0, 7);
    cluster_expect(&c, "pending e3 led by 0\n"
                       "  0 seals e3\n"
                       "  0 reads no more\n"
                       "0>2 SEAL e3 after e2\n"
                       "0>2 PULSE @4040 list=4 4: remove(e1)\n"
                       "2>0 SEALED e3 end=464 commit=464 table e1@0 e2@256\n"
                       "  0 fetches e3\n"
                       "2>0 ECHO @4040 list=4\n"
                       "0>2 FETCH e3 208\n"
                       "2>0 APPEND e3 [208,464) commit=0\n"
                       "  0 brings e3\n"
                       "  0 commits 464\n"
                       "0>2 APPEND e3 commit=464\n"
                       "2>0 JOIN e3 end=464 commit=464 table e1@0 e2@256\n"
                       "0>2 CUT e3 464\n"
                       "2>0 ACK e3 464 commit=464\n"
                       "0>2 APPEND e3 [464,608) commit=464\n"
                       "2>0 ACK e3 608 commit=464\n"
                       "  0 asks to activate e3\n");
    cluster_activate(&c);
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_CUTS), 1);
    CU_ASSERT(cluster_same_log(&c, 0, 2));
    cluster_close(&c);
}

/* "answers when its last promise has run out". */
static void a_voter_answers_a_seal_when_its_promise_has_run_out(void)
{
    static struct cluster c;
    cluster_lead(&c, &three); /* its echoes left at @0 */
    cluster_cut_off(&c, 0, true);
    cluster_pend(&c, 2, 1, 7);
    cluster_expect(&c, "pending e2 led by 1\n"
                       "  1 seals e2\n"
                       "1>2 SEAL e2 after e1\n");
    CU_ASSERT_EQUAL(c.nodes[1].replica.role, REPLICA_SEALING);
    c.time = CLUSTER_LEASE - 2;
    CU_ASSERT(cluster_may_answer(&c, 0)); /* the old leader may still read */
    c.time = CLUSTER_LEASE - 1;
    CU_ASSERT_FALSE(cluster_may_answer(&c, 0));
    cluster_pass(&c, 2);
    cluster_pass(&c, 1);
    c.time = CLUSTER_LEASE + 1;
    cluster_forget(&c);
    cluster_pass(&c, 2);
    cluster_pass(&c, 1);
    cluster_expect(&c, "");
    c.time = CLUSTER_LEASE + 2;
    cluster_pass(&c, 2);
    cluster_expect(&c, "2>1 SEALED e2 end=208 commit=208 table e1@0\n"
                       "  1 brings e2\n"
                       "1>2 APPEND e2 commit=208\n"
                       "2>1 JOIN e2 end=208 commit=208 table e1@0\n"
                       "1>2 CUT e2 208\n"
                       "2>1 ACK e2 208 commit=208\n"
                       "1>2 APPEND e2 [208,352) commit=208\n"
                       "2>1 ACK e2 352 commit=208\n"
                       "  1 asks to activate e2\n");
    CU_ASSERT(cluster_count(&c, 2, REPLICA_COUNT_SEALS_WAITED) != 0);
    cluster_close(&c);
}

/* A promise binds from when the echo leaves, not from when the ask came. */
static void a_promise_is_counted_from_when_it_leaves(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.nodes[2].late = 70;
    cluster_wait(&c, CLUSTER_HEARTBEAT); /* asked at @140, echoed at @210 */
    cluster_cut_off(&c, 0, true);
    cluster_pend(&c, 2, 1, 7);
    cluster_forget(&c);
    c.time = 210 + CLUSTER_LEASE + 1;
    cluster_pass(&c, 2);
    cluster_expect(&c, "");
    c.time = 210 + CLUSTER_LEASE + 2;
    cluster_pass(&c, 2);
    cluster_pass(&c, 1);
    CU_ASSERT_EQUAL(c.nodes[1].replica.role, REPLICA_BRINGING);
    cluster_close(&c);
}

/* "seals the voters of the predecessor": again until they answer. */
static void a_seal_that_is_lost_is_sent_again(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    promises_run_out(&c);
    cluster_cut_off(&c, 1, true);
    cluster_pend(&c, 2, 1, 7);
    cluster_cut_off(&c, 1, false);
    cluster_cut_off(&c, 0, true);
    cluster_wait(&c, CLUSTER_RETRY - 1);
    cluster_forget(&c);
    cluster_wait(&c, 1);
    cluster_expect(&c, "1>2 SEAL e2 after e1\n"
                       "2>1 SEALED e2 end=208 commit=208 table e1@0\n"
                       "  1 brings e2\n"
                       "1>2 APPEND e2 commit=208\n"
                       "2>1 JOIN e2 end=208 commit=208 table e1@0\n"
                       "1>2 CUT e2 208\n"
                       "2>1 ACK e2 208 commit=208\n"
                       "1>2 APPEND e2 [208,352) commit=208\n"
                       "2>1 ACK e2 352 commit=208\n"
                       "  1 asks to activate e2\n");
    cluster_close(&c);
}

/* The range that a new leader fetches comes damaged: unknown, not absent. */
static void a_damaged_range_is_fetched_again(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    cluster_cut_off(&c, 2, true);
    cluster_put(&c, 0, 8, 8);
    cluster_cut_off(&c, 2, false);
    cluster_cut_off(&c, 0, true);
    cluster_forget(&c);
    promises_run_out(&c);
    c.damaged[1][2] = true;
    cluster_pend(&c, 2, 2, 7);
    cluster_expect(&c, "pending e2 led by 2\n"
                       "  2 seals e2\n"
                       "2>1 SEAL e2 after e1\n"
                       "1>2 SEALED e2 end=336 commit=336 table e1@0\n"
                       "  2 fetches e2\n"
                       "2>1 FETCH e2 208\n"
                       "1>2 APPEND e2 [208,336) commit=0\n"
                       "2>1 FETCH e2 256\n"
                       "1>2 APPEND e2 [256,336) commit=0\n"
                       "  2 brings e2\n"
                       "  2 commits 336\n"
                       "2>1 APPEND e2 commit=336\n"
                       "1>2 JOIN e2 end=336 commit=336 table e1@0\n"
                       "2>1 CUT e2 336\n"
                       "1>2 ACK e2 336 commit=336\n"
                       "2>1 APPEND e2 [336,480) commit=336\n"
                       "1>2 ACK e2 480 commit=336\n"
                       "  2 asks to activate e2\n");
    CU_ASSERT_EQUAL(cluster_count(&c, 2, REPLICA_COUNT_DAMAGED), 1);
    CU_ASSERT(cluster_same_log(&c, 1, 2));
    cluster_close(&c);
}

/* "A pending one is never withdrawn, only replaced by a higher one." */
static void a_pending_epoch_that_never_began_is_passed_over(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    promises_run_out(&c);
    cluster_cut_off(&c, 1, true);
    cluster_pend(&c, 2, 1, 7); /* nobody hears its seal */
    cluster_forget(&c);
    cluster_pend(&c, 3, 2, 7);
    cluster_expect(&c, "pending e3 led by 2\n"
                       "  2 seals e3\n"
                       "2>0 SEAL e3 after e1\n"
                       "  0 follows e3\n"
                       "  0 reads no more\n"
                       "0>2 SEALED e3 end=208 commit=208 table e1@0\n"
                       "  2 brings e3\n"
                       "0>2 PULSE @2040 list=4 4: remove(e1)\n"
                       "2>0 APPEND e3 commit=208\n"
                       "2>0 ECHO @2040 list=4\n"
                       "0>2 JOIN e3 end=208 commit=208 table e1@0\n"
                       "2>0 CUT e3 208\n"
                       "0>2 ACK e3 208 commit=208\n"
                       "2>0 APPEND e3 [208,352) commit=208\n"
                       "0>2 ACK e3 352 commit=208\n"
                       "  2 asks to activate e3\n");
    cluster_activate(&c);
    cluster_forget(&c);
    cluster_cut_off(&c, 1, false);
    cluster_wait(&c, CLUSTER_RETRY);
    cluster_expect(&c, "1>0 SEAL e2 after e1\n"
                       "  0 says stale\n"
                       "1>2 SEAL e2 after e1\n"
                       "  2 says stale\n"
                       "2>0 APPEND e3 commit=352\n"
                       "2>1 APPEND e3 commit=352\n"
                       "  1 follows e3\n"
                       "0>2 ACK e3 352 commit=352\n"
                       "1>2 JOIN e3 end=208 commit=208 table e1@0\n"
                       "2>1 CUT e3 208\n"
                       "1>2 ACK e3 208 commit=208\n"
                       "2>1 APPEND e3 [208,352) commit=352\n"
                       "  1 commits 352\n"
                       "1>2 ACK e3 352 commit=352\n");
    CU_ASSERT(cluster_same_log(&c, 0, 2) && cluster_same_log(&c, 1, 2));
    cluster_close(&c);
}

/* A pad lies before an epoch's first record and is all that a follower has of it: it is no part of
 * its log (lsn_whole), and goes at the next cut. */
static void a_pad_before_an_epochs_first_record_is_of_that_epoch(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    promises_run_out(&c);
    cluster_cut_off(&c, 0, true);
    c.delayed[2][1] = true;
    cluster_pend(&c, 2, 1, 7);
    c.cut_off[1][2] = true; /* after the seal nothing of e2 reaches 2 */
    cluster_deliver_late(&c);
    CU_ASSERT_EQUAL(cluster_log_end(&c, 1), 352); /* its first record is at 256 */
    uint64_t available;
    const uint8_t *pad = log_bytes_at(&c.nodes[1].shard.shard->log, c.origin + 208, &available);
    struct message m = {
        .kind = MESSAGE_APPEND,
        .log = CLUSTER_LOG,
        .epoch = 2,
        .from = c.nodes[1].replica.self,
    };
    struct message cut = m;
    cut.kind = MESSAGE_CUT;
    cut.lsn = cut.lsn_end = c.origin + 208;
    m.lsn = c.origin + 208;
    m.lsn_end = c.origin + 352;
    m.length = 48;
    m.bytes = pad;
    CU_ASSERT_EQUAL(cluster_tell(&c, 0, &m), 0); /* it promises, and would join */
    CU_ASSERT_EQUAL(cluster_tell(&c, 0, &cut), 0);
    CU_ASSERT_EQUAL(cluster_tell(&c, 0, &m), 0);
    const struct log *log = &c.nodes[0].shard.shard->log;
    CU_ASSERT_EQUAL(cluster_lsn(&c, log->lsn_end), 256);
    CU_ASSERT_EQUAL(cluster_lsn(&c, log->lsn_whole), 208);
    /* It leads next: the pad of e2 makes room for one of e3, at the same place. */
    cluster_cut_off(&c, 0, false);
    cluster_cut_off(&c, 1, true);
    cluster_forget(&c);
    promises_run_out(&c);
    cluster_pend(&c, 3, 0, 5);
    cluster_expect(&c, "pending e3 led by 0\n"
                       "  0 seals e3\n"
                       "  0 reads no more\n"
                       "0>2 SEAL e3 after e1\n"
                       "0>2 PULSE @4040 list=4 4: remove(e1)\n"
                       "2>0 SEALED e3 end=208 commit=208 table e1@0\n"
                       "  0 brings e3\n"
                       "2>0 ECHO @4040 list=4\n"
                       "0>2 APPEND e3 commit=208\n"
                       "2>0 JOIN e3 end=208 commit=208 table e1@0\n"
                       "0>2 CUT e3 208\n"
                       "2>0 ACK e3 208 commit=208\n"
                       "0>2 APPEND e3 [208,352) commit=208\n"
                       "2>0 ACK e3 352 commit=208\n"
                       "  0 asks to activate e3\n");
    CU_ASSERT_EQUAL(log->epochs[1].epoch, 3);
    CU_ASSERT_EQUAL(cluster_lsn(&c, log->epochs[1].lsn_start), 256);
    CU_ASSERT_EQUAL(cluster_lsn(&c, log->epochs[1].lsn_end_before), 208);
    cluster_close(&c);
}

/* Both begin at the log's origin, and neither has a record of the other: the origin is the cut. */
static void two_first_epochs_have_nothing_in_common(void)
{
    static struct cluster c;
    cluster_open(&c, &three);
    cluster_cut_off(&c, 0, true);
    cluster_pend(&c, 1, 0, 7); /* never active */
    CU_ASSERT_EQUAL(cluster_log_end(&c, 0), 96);
    c.quiet = true;
    cluster_pend(&c, 2, 1, 7);
    c.quiet = false;
    cluster_forget(&c);
    cluster_cut_off(&c, 0, false);
    cluster_wait(&c, CLUSTER_RETRY);
    cluster_expect(&c, "0>1 APPEND e1 commit=0\n"
                       "  1 says stale\n"
                       "  1 asks to activate e2\n"
                       "0>2 APPEND e1 commit=0\n"
                       "  2 says stale\n"
                       "1>0 APPEND e2 commit=0\n"
                       "  0 follows e2\n"
                       "0>1 JOIN e2 end=96 commit=0 table e1@0\n"
                       "1>0 CUT e2 0\n"
                       "0>1 ACK e2 0 commit=0\n"
                       "1>0 APPEND e2 [0,96) commit=0\n"
                       "0>1 ACK e2 96 commit=0\n");
    CU_ASSERT(cluster_same_log(&c, 0, 1));
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_CUTS), 1);
    cluster_close(&c);
}

/* What it lost it cannot vouch for: it answers no seal as who it was. */
static void a_restarted_voter_is_somebody_else(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    cluster_restart(&c, 2);
    cluster_wait(&c, CLUSTER_HEARTBEAT);
    cluster_expect(&c, "2 restarts as incarnation 13\n"
                       "0>1 PULSE @140 list=3\n"
                       "0>2 PULSE @140 list=3\n"
                       "  2 says stale\n"
                       "1>0 ECHO @140 list=3\n"
                       "2>0 PULSE @140 list=1 1: reset\n"
                       "2>1 PULSE @140 list=1 1: reset\n"
                       "0>2 ECHO @140 list=1\n"
                       "0>2 PULSE @140 list=5 4: reset add(e1)\n"
                       "1>2 ECHO @140 list=1\n"
                       "1>2 PULSE @140 list=3 3: reset\n"
                       "2>0 PULSE @140 list=2 2: reset\n"
                       "2>0 ECHO @140 list=5\n"
                       "2>0 JOIN e1 end=0 commit=0 table\n"
                       "  0 says wrong\n"
                       "2>1 PULSE @140 list=2 2: reset\n"
                       "2>1 ECHO @140 list=3\n"
                       "0>2 ECHO @140 list=2\n"
                       "1>2 ECHO @140 list=2\n");
    cluster_cut_off(&c, 0, true);
    promises_run_out(&c);
    cluster_pend(&c, 2, 1, 7);
    cluster_expect(&c, "pending e2 led by 1\n"
                       "  1 seals e2\n"
                       "1>2 SEAL e2 after e1\n"
                       "2>1 SEALED e2 end=0 commit=0 table\n"
                       "  1 says wrong\n");
    CU_ASSERT_EQUAL(c.nodes[1].replica.role, REPLICA_SEALING); /* 1 alone is no majority */
    cluster_close(&c);
}

/* With both voters of the predecessor there, it comes back as a voter of the next epoch. */
static void a_restarted_voter_joins_the_next_epoch(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    cluster_restart(&c, 2);
    promises_run_out(&c);
    c.cut_off[1][2] = true; /* but no seal reaches it */
    cluster_pend(&c, 2, 1, 7);
    c.cut_off[1][2] = false;
    cluster_forget(&c);
    cluster_wait(&c, CLUSTER_RETRY);
    cluster_expect(&c, "  1 asks to activate e2\n"
                       "1>2 APPEND e2 commit=208\n"
                       "2>1 JOIN e2 end=0 commit=0 table\n"
                       "1>2 CUT e2 0\n"
                       "2>1 ACK e2 0 commit=0\n"
                       "1>2 APPEND e2 [0,352) commit=208\n"
                       "  2 commits 208\n"
                       "2>1 ACK e2 352 commit=208\n");
    cluster_activate(&c);
    CU_ASSERT(cluster_same_log(&c, 1, 2));
    CU_ASSERT_EQUAL(cluster_committed(&c, 2), 352);
    cluster_close(&c);
}

/* An epoch is recovered by one start of its leader: the next start does not go on with it. */
static void a_restarted_leader_needs_a_new_epoch(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    promises_run_out(&c);
    cluster_cut_off(&c, 1, true);
    cluster_pend(&c, 2, 1, 7);
    cluster_restart(&c, 1);
    cluster_forget(&c);
    cluster_cut_off(&c, 1, false);
    static struct replica_update u;
    struct replica *r = &c.nodes[1].replica;
    replica_configure(r, &c.configuration, cluster_clock(&c, 1), &u);
    CU_ASSERT_EQUAL(r->role, REPLICA_FOLLOWER);
    CU_ASSERT_EQUAL(u.out_count, 0);
    cluster_close(&c);
}

/* Epochs only grow (S2). */
static void old_configurations_are_ignored(void)
{
    static struct cluster c;
    static struct replica_update u;
    cluster_lead(&c, &three);
    struct configuration old = c.configuration;
    promises_run_out(&c);
    cluster_pend(&c, 2, 0, 7);
    cluster_activate(&c);
    struct replica *r = &c.nodes[0].replica;
    CU_ASSERT_EQUAL(r->role, REPLICA_LEADING);
    CU_ASSERT_EQUAL(r->promised, 2);
    replica_configure(r, &old, cluster_clock(&c, 0), &u);
    CU_ASSERT_EQUAL(r->role, REPLICA_LEADING);
    CU_ASSERT_EQUAL(r->configuration.epoch, 2);
    CU_ASSERT_EQUAL(u.out_count, 0);
    cluster_close(&c);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_tail_that_one_voter_holds_survives_its_leader),
    UNIT_TEST(a_majority_of_five_has_what_was_committed),
    UNIT_TEST(a_deposed_leader_cuts_what_was_never_committed),
    UNIT_TEST(a_new_leader_cuts_its_own_log_to_the_best),
    UNIT_TEST(a_voter_answers_a_seal_when_its_promise_has_run_out),
    UNIT_TEST(a_promise_is_counted_from_when_it_leaves),
    UNIT_TEST(a_seal_that_is_lost_is_sent_again),
    UNIT_TEST(a_damaged_range_is_fetched_again),
    UNIT_TEST(a_pending_epoch_that_never_began_is_passed_over),
    UNIT_TEST(a_pad_before_an_epochs_first_record_is_of_that_epoch),
    UNIT_TEST(two_first_epochs_have_nothing_in_common),
    UNIT_TEST(a_restarted_voter_is_somebody_else),
    UNIT_TEST(a_restarted_voter_joins_the_next_epoch),
    UNIT_TEST(a_restarted_leader_needs_a_new_epoch),
    UNIT_TEST(old_configurations_are_ignored),
};
UNIT_MAIN("replica_recover", tests)
