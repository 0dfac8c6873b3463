/* Golden traces of promises, rights to read and read leases, which travel per pair of nodes (pair.h;
 * Moraru et al., "Paxos Quorum Leases"). */
#include "tests/unit/dataplane/replica_cluster.h"
#include "tests/unit/unit.h"

static const struct cluster_config three = {.node_count = 3};
static const struct cluster_config readers = {.node_count = 3, .read_leases = true};

/* ---- the leader's right ---- */

/* "Both sides number the list of (shard, epoch) that a promise covers". */
static void nodes_that_meet_begin_their_lists_anew(void)
{
    static struct cluster c;
    cluster_open(&c, &(struct cluster_config){.node_count = 2, .strangers = true});
    cluster_pass(&c, 0);
    cluster_expect(&c, "0>1 PULSE @0 list=1 1: reset\n"
                       "1>0 ECHO @0 list=1\n"
                       "1>0 PULSE @0 list=2 2: reset\n"
                       "0>1 PULSE @0 list=2 2: reset\n"
                       "0>1 ECHO @0 list=2\n"
                       "1>0 ECHO @0 list=2\n");
    CU_ASSERT_EQUAL(cluster_pair(&c, 0, 1)->peer.incarnation, 2);
    CU_ASSERT(group_is_quiet(&c.nodes[0].group) && group_is_quiet(&c.nodes[1].group));
    cluster_run(&c, 3 * CLUSTER_HEARTBEAT);
    cluster_expect(&c, ""); /* with nothing listed nothing is said */
    cluster_close(&c);
}

/* "An idle shard costs no message and no cycle." */
static void an_idle_shard_costs_a_pulse_and_an_echo_per_pair(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    CU_ASSERT(replica_is_idle(&c.nodes[0].replica) && replica_is_idle(&c.nodes[1].replica));
    cluster_wait(&c, CLUSTER_HEARTBEAT);
    cluster_expect(&c, "0>1 PULSE @140 list=3\n"
                       "0>2 PULSE @140 list=3\n"
                       "1>0 ECHO @140 list=3\n"
                       "2>0 ECHO @140 list=3\n");
    CU_ASSERT_EQUAL(c.nodes[0].group.busy_count, 0);
    cluster_close(&c);
}

/* The right runs from the ask that a majority echoed, however late the echo comes. */
static void a_right_runs_from_the_ask(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    cluster_run(&c, CLUSTER_HEARTBEAT); /* asked at @140 */
    c.delayed[1][0] = c.delayed[2][0] = true;
    cluster_run(&c, CLUSTER_HEARTBEAT); /* asked at @240, and echoed at once */
    c.time = 140 + CLUSTER_LEASE - 2;
    CU_ASSERT(cluster_may_answer(&c, 0));
    uint64_t generation = c.nodes[0].replica.cell->generation;
    c.cut_off[1][0] = c.cut_off[2][0] = true;
    cluster_deliver_late(&c);
    c.time = 240 + CLUSTER_LEASE - 2;
    CU_ASSERT(cluster_may_answer(&c, 0));
    CU_ASSERT_EQUAL(c.nodes[0].replica.cell->generation, generation); /* it never ended */
    c.time++;
    CU_ASSERT_FALSE(cluster_may_answer(&c, 0));
    /* One that begins again is another one. */
    c.cut_off[1][0] = c.cut_off[2][0] = false;
    cluster_wait(&c, CLUSTER_HEARTBEAT);
    CU_ASSERT(cluster_may_answer(&c, 0));
    CU_ASSERT_EQUAL(c.nodes[0].replica.cell->generation, generation + 1);
    cluster_close(&c);
}

static void a_minority_gives_no_right(void)
{
    static struct cluster c;
    cluster_lead(&c, &(struct cluster_config){.node_count = 5});
    for (uint32_t i = 2; i < 5; i++)
        cluster_cut_off(&c, i, true);
    cluster_run(&c, CLUSTER_LEASE);
    CU_ASSERT_FALSE(cluster_may_answer(&c, 0));
    cluster_cut_off(&c, 2, false);
    cluster_run(&c, CLUSTER_HEARTBEAT);
    CU_ASSERT(cluster_may_answer(&c, 0));
    cluster_close(&c);
}

/* ---- the list ---- */

/* "a change is named in every frame until acknowledged". */
static void a_change_is_named_until_it_is_echoed(void)
{
    static struct cluster c;
    cluster_open(&c, &three);
    c.quiet = true;
    cluster_pend(&c, 1, 0, 7);
    c.cut_off[2][0] = true; /* 2 hears all, and is not heard */
    cluster_activate(&c);
    c.quiet = false;
    c.delayed[1][0] = true; /* 1 is heard late */
    cluster_wait(&c, CLUSTER_HEARTBEAT);
    cluster_expect(&c, "0>1 APPEND e1 commit=96\n"
                       "0>2 APPEND e1 commit=96\n"
                       "0>1 PULSE @100 list=3 behind\n"
                       "0>2 PULSE @100 list=3 3: add(e1) behind\n");
    c.cut_off[2][0] = false;
    cluster_deliver_late(&c);
    cluster_forget(&c);
    cluster_wait(&c, CLUSTER_HEARTBEAT);
    cluster_expect(&c, "0>2 APPEND e1 commit=96\n"
                       "0>1 PULSE @200 list=3\n"
                       "0>2 PULSE @200 list=3 3: add(e1) behind\n"
                       "2>0 ACK e1 96 commit=96\n"
                       "1>0 ECHO @200 list=3\n"
                       "2>0 ECHO @200 list=3\n");
    cluster_wait(&c, CLUSTER_HEARTBEAT);
    cluster_expect(&c, "0>1 PULSE @300 list=3\n"
                       "0>2 PULSE @300 list=3\n"
                       "1>0 ECHO @300 list=3\n"
                       "2>0 ECHO @300 list=3\n");
    cluster_close(&c);
}

/* "From the arrival of a seal for e a voter acknowledges and echoes nothing below e". */
static void a_voter_that_promised_elsewhere_excludes_the_shard(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.cut_off[1][0] = c.cut_off[0][1] = true;
    cluster_pend(&c, 2, 1, 7); /* 2 promises e2; 0 does not know */
    cluster_expect(&c, "pending e2 led by 1\n"
                       "  1 seals e2\n"
                       "1>2 SEAL e2 after e1\n");
    CU_ASSERT(cluster_may_answer(&c, 0));
    cluster_wait(&c, CLUSTER_HEARTBEAT);
    cluster_expect(&c, "0>2 PULSE @140 list=3\n"
                       "2>0 ECHO @140 list=3 without e1\n"
                       "  0 reads no more\n"
                       "0>2 PULSE @140 list=4 4: remove(e1)\n"
                       "2>0 ECHO @140 list=4\n"
                       "1>2 SEAL e2 after e1\n");
    /* e1 will not lead again without trouble: its leader gives up its right for good. */
    CU_ASSERT_FALSE(cluster_may_answer(&c, 0));
    CU_ASSERT(c.nodes[0].replica.right_given_up);
    c.cut_off[0][1] = c.cut_off[1][0] = false;
    cluster_run(&c, 3 * CLUSTER_HEARTBEAT);
    CU_ASSERT_FALSE(cluster_may_answer(&c, 0));
    CU_ASSERT_EQUAL(cluster_pair(&c, 2, 0)->excluded_count, 0); /* it was taken off the list */
    cluster_close(&c);
}

/* ---- read leases ---- */

/* "It may hand part of its remaining right to followers, never past its own". */
static void followers_are_given_read_leases(void)
{
    static struct cluster c;
    cluster_open(&c, &readers);
    c.quiet = true;
    cluster_pend(&c, 1, 0, 7);
    c.quiet = false;
    cluster_forget(&c);
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
                       "1>0 ECHO @0 list=3 want\n"
                       "  0 may read\n"
                       "2>0 ECHO @0 list=3 want\n");
    cluster_wait(&c, CLUSTER_HEARTBEAT);
    cluster_expect(&c, "0>1 APPEND e1 commit=96\n"
                       "0>2 APPEND e1 commit=96\n"
                       "0>1 PULSE @100 list=3 grant=899@0 behind\n"
                       "0>2 PULSE @100 list=3 grant=899@0 behind\n"
                       "1>0 ACK e1 96 commit=96\n"
                       "  0 waits for 1 2\n"
                       "2>0 ACK e1 96 commit=96\n"
                       "1>0 ECHO @100 list=3 want\n"
                       "2>0 ECHO @100 list=3 want\n"
                       "0>1 PULSE @100 list=4 4: read(e1,96)\n"
                       "  1 may read\n"
                       "0>2 PULSE @100 list=4 4: read(e1,96) behind\n"
                       "  2 may read\n"
                       "1>0 ECHO @100 list=4 want\n"
                       "2>0 ECHO @100 list=4 want\n");
    CU_ASSERT(cluster_may_answer(&c, 1) && cluster_may_answer(&c, 2));
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_GRANTS), 2);
    cluster_close(&c);
}

/* Three voters led by 0, both followers with read leases, a write committed everywhere. */
static void cluster_lead_readers(struct cluster *c)
{
    cluster_lead(c, &readers);
    c->quiet = true;
    cluster_run(c, 2 * CLUSTER_HEARTBEAT);
    c->quiet = false;
    CU_ASSERT_FATAL(cluster_may_answer(c, 1) && cluster_may_answer(c, 2));
    CU_ASSERT_EQUAL_FATAL(c->nodes[0].replica.commit.lease_holder_mask, 6);
}

/* Commit is held "by every current holder of a read lease" (S9). */
static void a_commit_waits_for_who_may_read(void)
{
    static struct cluster c;
    cluster_lead_readers(&c);
    c.delayed[0][2] = true;
    cluster_put(&c, 0, 8, 8);
    cluster_expect(&c, "put at 0\n"
                       "0>1 APPEND e1 [208,336) commit=208\n"
                       "1>0 ACK e1 336 commit=208\n");
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), 208); /* 0 and 1 are a majority, and 2 may read */
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_HOLDER_WAITS), 1);
    cluster_deliver_late(&c);
    cluster_expect(&c, "0>2 APPEND e1 [208,336) commit=208\n"
                       "2>0 ACK e1 336 commit=208\n"
                       "  0 commits 336\n"
                       "0>1 APPEND e1 commit=336\n"
                       "  1 commits 336\n"
                       "0>2 APPEND e1 commit=336\n"
                       "  2 commits 336\n");
    CU_ASSERT_EQUAL(cluster_committed(&c, 2), 336);
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_RELAPSES), 0);
    cluster_close(&c);
}

/* It answers pulses and acknowledges nothing: after half a lease its read lease is taken away, and
 * writes go on as soon as it says that it knows. */
static void a_slow_holder_loses_its_lease_and_gets_it_back(void)
{
    static struct cluster c;
    cluster_lead_readers(&c);                  /* @240 */
    c.nodes[2].replica.role = REPLICA_STOPPED; /* its shard hangs */
    cluster_put(&c, 0, 8, 8);
    cluster_run(&c, CLUSTER_LEASE / 2 - CLUSTER_HEARTBEAT);
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), 208);
    cluster_forget(&c);
    cluster_wait(&c, CLUSTER_HEARTBEAT);
    cluster_expect(&c, "0>1 PULSE @740 list=4 grant=899@640\n"
                       "0>2 PULSE @740 list=5 5: read-off(e1) grant=899@640\n"
                       "  2 reads no more\n"
                       "1>0 ECHO @740 list=4 want\n"
                       "2>0 ECHO @740 list=5 want\n"
                       "  0 commits 336\n"
                       "  0 waits for 1\n"
                       "0>1 APPEND e1 commit=336\n"
                       "  1 commits 336\n"
                       "0>2 APPEND e1 commit=336\n"
                       "  2 says wrong\n");
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), 336);
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_RELAPSES), 1);
    CU_ASSERT_FALSE(cluster_may_answer(&c, 2));
    c.nodes[2].replica.role = REPLICA_FOLLOWER;
    cluster_run(&c, 2 * CLUSTER_LEASE - CLUSTER_HEARTBEAT);
    CU_ASSERT_EQUAL(cluster_committed(&c, 2), 336);
    CU_ASSERT_FALSE(cluster_may_answer(&c, 2)); /* it waits for two leases */
    cluster_forget(&c);
    cluster_wait(&c, CLUSTER_HEARTBEAT);
    cluster_expect(&c, "  0 waits for 1 2\n"
                       "0>1 PULSE @2740 list=4 grant=899@2640\n"
                       "0>2 PULSE @2740 list=6 6: read(e1,336) grant=899@2640\n"
                       "  2 may read\n"
                       "1>0 ECHO @2740 list=4 want\n"
                       "2>0 ECHO @2740 list=6 want\n");
    CU_ASSERT(cluster_may_answer(&c, 2));
    cluster_close(&c);
}

/* One that is not there any more holds commits up until its grants have run out. */
static void a_silent_holder_is_waited_for_until_its_grant_ends(void)
{
    static struct cluster c;
    cluster_lead_readers(&c);
    cluster_cut_off(&c, 2, true);
    cluster_put(&c, 0, 8, 8);
    cluster_wait(&c, CLUSTER_HEARTBEAT); /* the last grant to 2; that it was lost 0 does not know */
    uint64_t until = cluster_pair(&c, 0, 2)->holder_until - cluster_clock(&c, 0) + c.time;
    CU_ASSERT_EQUAL(until, 1240);
    while (c.time + CLUSTER_HEARTBEAT < until)
        cluster_wait(&c, CLUSTER_HEARTBEAT);
    cluster_wait(&c, until - 1 - c.time);
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), 208);
    CU_ASSERT_FALSE(cluster_may_answer(&c, 2)); /* it counts from before, the granter from after */
    cluster_forget(&c);
    cluster_wait(&c, 1);
    cluster_expect(&c, "  0 commits 336\n"
                       "  0 waits for 1\n"
                       "0>1 APPEND e1 commit=336\n"
                       "  1 commits 336\n"
                       "0>1 PULSE @1240 list=4 grant=899@1140 behind\n"
                       "1>0 ECHO @1240 list=4 want\n");
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), 336);
    cluster_close(&c);
}

/* No write waits, and still nobody is marked whose grants lapsed: the list begins anew without. */
static void a_list_begins_anew_when_the_grants_lapsed(void)
{
    static struct cluster c;
    cluster_lead_readers(&c);
    cluster_cut_off(&c, 2, true);
    cluster_run(&c, CLUSTER_LEASE + CLUSTER_HEARTBEAT);
    CU_ASSERT_EQUAL(cluster_pair(&c, 0, 2)->reader_count, 0);
    cluster_put(&c, 0, 8, 8);
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), 336);
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_HOLDER_WAITS), 0);
    cluster_cut_off(&c, 2, false);
    cluster_forget(&c);
    cluster_wait(&c, CLUSTER_HEARTBEAT);
    cluster_expect(&c, "0>1 APPEND e1 commit=336\n"
                       "0>2 APPEND e1 [208,336) commit=336\n"
                       "  2 commits 336\n"
                       "0>1 PULSE @1440 list=4 grant=899@1340 behind\n"
                       "0>2 PULSE @1440 list=6 5: reset add(e1) behind\n"
                       "  2 reads no more\n"
                       "1>0 ACK e1 336 commit=336\n"
                       "2>0 ACK e1 336 commit=336\n"
                       "1>0 ECHO @1440 list=4 want\n"
                       "2>0 ECHO @1440 list=6 want\n");
    cluster_wait(&c, CLUSTER_HEARTBEAT);
    cluster_expect(&c, "0>1 PULSE @1540 list=4 grant=899@1440\n"
                       "0>2 PULSE @1540 list=6 grant=899@1440\n"
                       "1>0 ECHO @1540 list=4 want\n"
                       "  0 waits for 1 2\n"
                       "2>0 ECHO @1540 list=6 want\n"
                       "0>2 PULSE @1540 list=7 7: read(e1,336)\n"
                       "  2 may read\n"
                       "2>0 ECHO @1540 list=7 want\n");
    CU_ASSERT(cluster_may_answer(&c, 2));
    cluster_close(&c);
}

/* A holder's log must reach the grant's LSN: before, it lacks what was committed without it. */
static void a_lease_begins_when_the_log_reaches_it(void)
{
    static struct cluster c;
    cluster_lead_readers(&c);
    cluster_cut_off(&c, 2, true);
    cluster_put(&c, 0, 8, 8);
    cluster_run(&c, CLUSTER_LEASE + CLUSTER_HEARTBEAT);
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), 336);
    struct replica *r = &c.nodes[2].replica;
    struct pair *p = cluster_pair(&c, 2, 0);
    uint64_t number = p->list_number;
    struct pair_frame f = {
        .kind = PAIR_PULSE,
        .count = 3,
        .from = c.nodes[0].replica.self,
        .ask = cluster_clock(&c, 0),
        .number = number + 3,
        .number_from = number + 1,
        .want = cluster_clock(&c, 2),
        .duration = CLUSTER_LEASE,
        .items = {{.what = PAIR_RESET},
                  {.log = CLUSTER_LOG, .what = PAIR_ADD, .epoch = 1},
                  {.log = CLUSTER_LOG, .what = PAIR_READ, .epoch = 1, .lsn = c.origin + 336}},
    };
    CU_ASSERT_EQUAL(cluster_tell_frame(&c, 2, &f), 0);
    CU_ASSERT(r->list_reads);
    CU_ASSERT_FALSE(cluster_may_answer(&c, 2));
    struct message m = {
        .kind = MESSAGE_APPEND,
        .log = CLUSTER_LOG,
        .epoch = 1,
        .from = f.from,
        .lsn = c.origin + 208,
        .lsn_end = c.origin + 336,
        .length = 128,
    };
    uint64_t available;
    m.bytes = log_bytes_at(&c.nodes[0].shard.shard->log, m.lsn, &available);
    CU_ASSERT_EQUAL(cluster_tell(&c, 2, &m), 0);
    CU_ASSERT(cluster_may_answer(&c, 2));
    cluster_close(&c);
}

/* ---- hand-over ---- */

/* "drops its own for the rest of the epoch and says so; voters then answer the seal at once". */
static void a_hand_over_spares_the_next_leader_the_wait(void)
{
    static struct cluster c;
    cluster_lead_readers(&c);
    cluster_hand_over(&c, 0);
    cluster_expect(&c, "0 hands over\n"
                       "0>1 PULSE @240 list=5 5: read-off(e1) grant=999@240\n"
                       "  1 reads no more\n"
                       "0>2 PULSE @240 list=5 5: read-off(e1) grant=999@240\n"
                       "  2 reads no more\n"
                       "1>0 ECHO @240 list=5 want\n"
                       "  0 waits for 2\n"
                       "2>0 ECHO @240 list=5 want\n"
                       "  0 reads no more\n"
                       "  0 waits for nobody\n"
                       "0>1 PULSE @240 list=6 6: release(e1)\n"
                       "0>2 PULSE @240 list=6 6: release(e1)\n"
                       "1>0 ECHO @240 list=6 want\n"
                       "2>0 ECHO @240 list=6 want\n");
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_HAND_OVERS), 1);
    cluster_put(&c, 0, 8, 8); /* writes go on */
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), 336);
    CU_ASSERT_FALSE(cluster_may_answer(&c, 0));
    cluster_forget(&c);
    cluster_pend(&c, 2, 1, 7);
    cluster_expect(&c, "pending e2 led by 1\n"
                       "  1 seals e2\n"
                       "1>0 SEAL e2 after e1\n"
                       "  0 follows e2\n"
                       "1>2 SEAL e2 after e1\n"
                       "0>1 SEALED e2 end=336 commit=336 table e1@0\n"
                       "  1 brings e2\n"
                       "2>1 SEALED e2 end=336 commit=336 table e1@0\n"
                       "1>0 APPEND e2 commit=336\n"
                       "1>2 APPEND e2 commit=336\n"
                       "0>1 JOIN e2 end=336 commit=336 table e1@0\n"
                       "2>1 JOIN e2 end=336 commit=336 table e1@0\n"
                       "1>0 CUT e2 336\n"
                       "1>2 CUT e2 336\n"
                       "0>1 ACK e2 336 commit=336\n"
                       "2>1 ACK e2 336 commit=336\n"
                       "1>0 APPEND e2 [336,480) commit=336\n"
                       "1>2 APPEND e2 [336,480) commit=336\n"
                       "0>1 ACK e2 480 commit=336\n"
                       "  1 asks to activate e2\n"
                       "2>1 ACK e2 480 commit=336\n");
    CU_ASSERT_EQUAL(cluster_count(&c, 0, REPLICA_COUNT_SEALS_WAITED), 0);
    CU_ASSERT_EQUAL(cluster_count(&c, 2, REPLICA_COUNT_SEALS_WAITED), 0);
    cluster_close(&c);
}

/* Without one, nobody of the old voters answers before its promise is over. */
static void without_a_hand_over_the_next_leader_waits(void)
{
    static struct cluster c;
    cluster_lead_readers(&c);
    cluster_pend(&c, 2, 1, 7);
    cluster_expect(&c, "pending e2 led by 1\n"
                       "  1 seals e2\n"
                       "  1 reads no more\n"
                       "1>0 SEAL e2 after e1\n"
                       "  0 follows e2\n"
                       "  0 reads no more\n"
                       "  0 waits for nobody\n"
                       "1>2 SEAL e2 after e1\n"
                       "  2 reads no more\n"
                       "0>1 PULSE @240 list=5 5: remove(e1)\n"
                       "0>2 PULSE @240 list=5 5: remove(e1)\n"
                       "1>0 ECHO @240 list=5 want\n"
                       "2>0 ECHO @240 list=5 want\n");
    CU_ASSERT_EQUAL(c.nodes[1].replica.role, REPLICA_SEALING);
    c.time = 240 + CLUSTER_LEASE + 1;
    cluster_wait(&c, 0);
    cluster_forget(&c);
    c.time++;
    cluster_wait(&c, 0);
    cluster_expect(&c, "  1 brings e2\n"
                       "1>0 APPEND e2 commit=208\n"
                       "1>2 APPEND e2 commit=208\n"
                       "0>1 JOIN e2 end=208 commit=208 table e1@0\n"
                       "2>1 JOIN e2 end=208 commit=208 table e1@0\n"
                       "2>1 SEALED e2 end=208 commit=208 table e1@0\n"
                       "1>0 CUT e2 208\n"
                       "1>2 CUT e2 208\n"
                       "0>1 ACK e2 208 commit=208\n"
                       "2>1 ACK e2 208 commit=208\n"
                       "1>0 APPEND e2 [208,352) commit=208\n"
                       "1>2 APPEND e2 [208,352) commit=208\n"
                       "0>1 ACK e2 352 commit=208\n"
                       "  1 asks to activate e2\n"
                       "2>1 ACK e2 352 commit=208\n");
    cluster_close(&c);
}

/* The RELEASE comes late, when the voter has promised again: it voids nothing of that. */
static void a_late_release_voids_no_other_promise(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    cluster_run(&c, CLUSTER_HEARTBEAT);
    c.delayed[0][2] = true;
    cluster_hand_over(&c, 0);
    c.quiet = true;
    cluster_pend(&c, 2, 1, 7); /* with 0 and itself, at once */
    cluster_activate(&c);
    cluster_run(&c, CLUSTER_HEARTBEAT);
    c.quiet = false;
    CU_ASSERT_EQUAL(c.nodes[2].replica.promised, 2);
    struct replica *r = &c.nodes[2].replica;
    CU_ASSERT_PTR_EQUAL(r->list_pair, cluster_pair(&c, 2, 1));
    uint64_t promise_end = cluster_pair(&c, 2, 1)->promise_end;
    cluster_forget(&c);
    cluster_deliver_late(&c);
    cluster_expect(&c, "0>2 PULSE @140 list=4 4: release(e1)\n"
                       "0>2 PULSE @240 list=4 4: release(e1)\n"
                       "2>0 ECHO @140 list=4\n"
                       "2>0 ECHO @240 list=4\n");
    CU_ASSERT_PTR_EQUAL(r->list_pair, cluster_pair(&c, 2, 1));
    CU_ASSERT(cluster_pair(&c, 2, 1)->promise_end >= promise_end);
    cluster_close(&c);
}

/* A change of voters under the same leader is a hand-over to itself. */
static void the_same_leader_goes_on_with_other_voters(void)
{
    static struct cluster c;
    cluster_open(&c, &three);
    c.quiet = true;
    cluster_pend(&c, 1, 0, 3);
    cluster_activate(&c);
    cluster_put(&c, 0, 7, 8);
    cluster_run(&c, CLUSTER_HEARTBEAT);
    c.quiet = false;
    cluster_forget(&c);
    cluster_hand_over(&c, 0);
    cluster_pend(&c, 2, 0, 7);
    cluster_expect(&c, "0 hands over\n"
                       "  0 reads no more\n"
                       "0>1 PULSE @100 list=4 4: release(e1)\n"
                       "1>0 ECHO @100 list=4\n"
                       "pending e2 led by 0\n"
                       "  0 seals e2\n"
                       "0>1 SEAL e2 after e1\n"
                       "1>0 SEALED e2 end=208 commit=208 table e1@0\n"
                       "  0 brings e2\n"
                       "0>1 APPEND e2 commit=208\n"
                       "0>2 APPEND e2 commit=208\n"
                       "1>0 JOIN e2 end=208 commit=208 table e1@0\n"
                       "2>0 JOIN e2 end=0 commit=0 table\n"
                       "0>1 CUT e2 208\n"
                       "0>2 CUT e2 0\n"
                       "1>0 ACK e2 208 commit=208\n"
                       "2>0 ACK e2 0 commit=0\n"
                       "0>1 APPEND e2 [208,352) commit=208\n"
                       "0>2 APPEND e2 [0,352) commit=208\n"
                       "  2 commits 208\n"
                       "1>0 ACK e2 352 commit=208\n"
                       "  0 asks to activate e2\n"
                       "2>0 ACK e2 352 commit=208\n");
    cluster_activate(&c);
    cluster_expect(&c, "active e2 led by 0\n"
                       "  0 leads e2\n"
                       "  0 commits 352\n"
                       "0>1 APPEND e2 commit=352\n"
                       "  1 commits 352\n"
                       "0>2 APPEND e2 commit=352\n"
                       "  2 commits 352\n"
                       "0>1 PULSE @100 list=5 5: add(e2) behind\n"
                       "0>2 PULSE @100 list=3 3: add(e2) behind\n"
                       "1>0 ECHO @100 list=5\n"
                       "  0 may read\n"
                       "2>0 ECHO @100 list=3\n");
    CU_ASSERT(cluster_may_answer(&c, 0));
    CU_ASSERT(cluster_same_log(&c, 0, 2));
    cluster_close(&c);
}

/* A holder that comes back as somebody else may have left agents behind that still read what it held
 * before: commits wait for its grants to end. */
static void a_restarted_holder_is_waited_for(void)
{
    static struct cluster c;
    cluster_lead_readers(&c);
    cluster_restart(&c, 2);
    cluster_wait(&c, CLUSTER_HEARTBEAT);
    uint64_t until = cluster_pair(&c, 0, 2)->holder_until - cluster_clock(&c, 0) + c.time;
    cluster_put(&c, 0, 8, 8);
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), 208);
    while (c.time + CLUSTER_HEARTBEAT < until)
        cluster_wait(&c, CLUSTER_HEARTBEAT);
    cluster_wait(&c, until - 1 - c.time);
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), 208);
    cluster_wait(&c, 1);
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), 336);
    CU_ASSERT_EQUAL(cluster_committed(&c, 1), 336);
    cluster_close(&c);
}

static const struct unit_test tests[] = {
    UNIT_TEST(nodes_that_meet_begin_their_lists_anew),
    UNIT_TEST(an_idle_shard_costs_a_pulse_and_an_echo_per_pair),
    UNIT_TEST(a_right_runs_from_the_ask),
    UNIT_TEST(a_minority_gives_no_right),
    UNIT_TEST(a_change_is_named_until_it_is_echoed),
    UNIT_TEST(a_voter_that_promised_elsewhere_excludes_the_shard),
    UNIT_TEST(followers_are_given_read_leases),
    UNIT_TEST(a_commit_waits_for_who_may_read),
    UNIT_TEST(a_slow_holder_loses_its_lease_and_gets_it_back),
    UNIT_TEST(a_silent_holder_is_waited_for_until_its_grant_ends),
    UNIT_TEST(a_list_begins_anew_when_the_grants_lapsed),
    UNIT_TEST(a_lease_begins_when_the_log_reaches_it),
    UNIT_TEST(a_hand_over_spares_the_next_leader_the_wait),
    UNIT_TEST(without_a_hand_over_the_next_leader_waits),
    UNIT_TEST(a_late_release_voids_no_other_promise),
    UNIT_TEST(the_same_leader_goes_on_with_other_voters),
    UNIT_TEST(a_restarted_holder_is_waited_for),
};
UNIT_MAIN("replica_lease", tests)
