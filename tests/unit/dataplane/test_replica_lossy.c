/* Lossy epochs: a majority of the voters is lost for good, and the best survivor's log goes on above
 * every LSN that was granted (DESIGN section 5).  In the traces an epoch in a table that is marked ! is
 * lossy. */
#include "dataplane/replica_grant.h"
#include "engine/land.h"
#include "tests/unit/dataplane/replica_cluster.h"
#include "tests/unit/unit.h"

static const struct cluster_config three = {.node_count = 3};
static const struct cluster_config five = {.node_count = 5};

/* ---- what two logs have in common ---- */

#define ORIGIN 1000u

static struct shard shard;
static struct replica replica = {.shard = &shard};

/* A log as one side tells of it: table, base, end. */
struct told {
    const char *text;
    struct log_epoch table[4];
    uint32_t table_count;
    uint64_t lsn_base, lsn_end;
};

#define E1                                                                                         \
    {                                                                                              \
        1, ORIGIN, ORIGIN, 0                                                                       \
    }
#define LOSSY(epoch, start, end_before)                                                            \
    {                                                                                              \
        epoch, start, end_before, 1                                                                \
    }

/* Epoch 1, then lossy epochs 2 from 2000 and 3 from 9400 on. */
static const struct told empty = {.text = "empty", .lsn_end = ORIGIN};
static const struct told old = {"old", {E1}, 1, 0, 2000};
static const struct told longer = {"longer", {E1}, 1, 0, 2600};
static const struct told lossy2 = {"lossy2", {E1, LOSSY(2, 9000, 2000)}, 2, 0, 9400};
static const struct told lossy2_long = {"lossy2_long", {E1, LOSSY(2, 9000, 2000)}, 2, 0, 9900};
static const struct told lossy2_base = {"lossy2_base", {E1, LOSSY(2, 9000, 2000)}, 2, 9000, 9300};
static const struct told lossy3 = {
    "lossy3", {E1, LOSSY(2, 9000, 2000), LOSSY(3, 20000, 9400)}, 3, 0, 20500};
static const struct told lossy3_base = {"lossy3_base", {LOSSY(3, 20000, 9400)}, 1, 20200, 20300};
static const struct told lossy3_alone = {"lossy3_alone", {E1, LOSSY(3, 20000, 2600)}, 2, 0, 20500};
static const struct told then4 = {
    "then4", {E1, LOSSY(2, 9000, 2000), {4, 9800, 9700, 0}}, 3, 0, 9950};

/* Without lossy ones: epoch 1 ended at 2000; its leader of then has a tail; epoch 2 begins behind a pad, and
 * somebody took over a snapshot whose log begins there. */
static const struct told tail1 = {"tail1", {E1}, 1, 0, 2600};
static const struct told then2 = {"then2", {E1, {2, 2048, 2000, 0}}, 2, 0, 2600};
static const struct told then2_base = {"then2_base", {E1, {2, 2048, 2000, 0}}, 2, 2048, 2600};
static const struct told pad_base = {"pad_base", {E1}, 1, 2048, 2048};
static const struct told then3 = {
    "then3", {E1, {2, 2040, 2000, 0}, {3, 2200, 2100, 0}}, 3, 0, 2600};
static const struct told then3_base = {
    "then3_base", {E1, {2, 2040, 2000, 0}, {3, 2200, 2100, 0}}, 3, 2048, 2600};

static uint64_t common(const struct told *own, const struct told *other)
{
    memset(&shard, 0, sizeof shard);
    struct log *l = &shard.log;
    l->lsn_origin = ORIGIN;
    l->lsn_base = own->lsn_base;
    l->lsn_whole = l->lsn_end = own->lsn_end;
    l->epoch_count = own->table_count;
    memcpy(l->epochs, own->table, sizeof own->table);
    const struct replica_log told = {
        .table = other->table,
        .table_count = other->table_count,
        .lsn_base = other->lsn_base,
        .lsn_end = other->lsn_end,
    };
    return replica_common(&replica, &told);
}

/* Whoever asks whom, the answer is the same. */
static void expect_common(const struct told *a, const struct told *b, uint64_t expected)
{
    uint64_t there = common(a, b), back = common(b, a);
    if (there != expected || back != expected)
        printf("\n%s and %s: %llu and %llu, expected %llu\n", a->text, b->text,
               (unsigned long long)there, (unsigned long long)back, (unsigned long long)expected);
    CU_ASSERT_EQUAL(there, expected);
    CU_ASSERT_EQUAL(back, expected);
}

/* What lies before a lossy epoch was given up where it did not survive. */
static void who_knows_nothing_of_a_lossy_epoch_has_nothing_in_common(void)
{
    expect_common(&lossy2, &old, 0);
    expect_common(&lossy2, &longer, 0);
    expect_common(&lossy2, &empty, 0);
    expect_common(&lossy3, &lossy2, 0);
    expect_common(&lossy3, &lossy2_long, 0);
    expect_common(&lossy3, &lossy2_base, 0);
    expect_common(&lossy3, &old, 0);
    expect_common(&lossy3_alone, &lossy2, 0); /* 2 was passed over: nobody's history but its own */
    expect_common(&old, &longer, 2000);       /* with no lossy one all is as ever */
    expect_common(&old, &empty, ORIGIN);
}

static void who_knows_the_same_lossy_epochs_has_a_prefix(void)
{
    expect_common(&lossy2, &lossy2_long, 9400);
    expect_common(&lossy2_long, &then4, 9700);
    expect_common(&lossy3, &lossy3, 20500);
}

/* What follows the common part of a log that is as long may be a tail that was never committed. */
static void a_tail_is_no_part_of_what_a_snapshot_stands_for(void)
{
    expect_common(&tail1, &then2, 2000);
    expect_common(&tail1, &then2_base, 2000);
    expect_common(&tail1, &then3_base, 2000);
    expect_common(&then2, &pad_base, 2048);
    expect_common(&then2, &then2_base, 2600);
    expect_common(&then3, &then3_base, 2600);
}

/* A log that goes on from a snapshot behind the gap needs nothing of what lies before. */
static void a_snapshot_behind_the_gap_is_in_common(void)
{
    expect_common(&lossy2, &lossy2_base, 9300);
    expect_common(&lossy3, &lossy3_base, 20300);
    expect_common(&lossy3_base, &lossy2, 0);
}

/* ---- traces ---- */

/* These nodes lose their memory, and the others have met who they are now. */
static void lose(struct cluster *c, uint32_t node_mask)
{
    c->quiet = true;
    for (uint32_t i = 0; i < c->node_count; i++)
        if ((node_mask & 1u << i) != 0)
            cluster_restart(c, i);
    cluster_run(c, 3 * CLUSTER_HEARTBEAT);
    c->quiet = false;
    cluster_forget(c);
}

/* One snapshot is told at a time, and a second one taken when what the first replaced is cleaned: until
 * every peer has what the leader has. */
static void catch_up(struct cluster *c)
{
    c->quiet = true;
    for (uint32_t beat = 0; beat < 20; beat++) {
        cluster_wait(c, CLUSTER_HEARTBEAT);
        for (uint32_t i = 0; i < c->node_count; i++)
            (void)!fixture_maintain(&c->nodes[i].shard);
    }
    c->quiet = false;
    cluster_forget(c);
}

/* One of the survivors, 4, does not answer. */
static void seal_without(struct cluster *c)
{
    cluster_pend_lossy(c, &(struct cluster_lossy){2, 3, 0x1f, 400000});
    cluster_expect(c, "pending e2 led by 3, above 400000, from 3 survivors, up to 17177216\n"
                      "  3 seals e2\n"
                      "3>2 SEAL e2 after e1\n"
                      "2>3 SEALED e2 end=336 commit=336 table e1@0\n");
}

/* "Majority lost for good: opens a new epoch from the best survivors, above the LSN ceiling": all that
 * survive are sealed, and who was lost may have given a right that nobody knows of: one lease is waited
 * for. */
static void all_survivors_and_one_lease_are_waited_for(void)
{
    static struct cluster c;
    cluster_lead(&c, &five);
    cluster_cut_off(&c, 3, true);
    cluster_put(&c, 0, 8, 8); /* held by all but 3 */
    cluster_cut_off(&c, 3, false);
    lose(&c, 0x3); /* 2, 3 and 4 survive, of which two would be a majority */
    cluster_cut_off(&c, 4, true);
    c.time += 3 * CLUSTER_LEASE; /* no promise is left */
    uint64_t began = c.time;
    seal_without(&c);
    c.time = began + 2 * CLUSTER_LEASE;
    cluster_pass(&c, 3);
    CU_ASSERT_EQUAL(c.nodes[3].replica.role, REPLICA_SEALING); /* one that survived is silent */
    cluster_cut_off(&c, 4, false);
    cluster_forget(&c);
    c.time += CLUSTER_RETRY;
    cluster_pass(&c, 3);
    cluster_expect(&c, "3>4 SEAL e2 after e1\n"
                       "4>3 SEALED e2 end=336 commit=336 table e1@0\n"
                       "  3 fetches e2\n"
                       "3>2 FETCH e2 208\n"
                       "2>3 APPEND e2 [208,336) commit=0\n"
                       "  3 brings e2\n"
                       "  3 commits 1900640\n"
                       "3>0 APPEND e2 commit=1900640\n"
                       "3>1 APPEND e2 commit=1900640\n"
                       "3>2 APPEND e2 commit=1900640\n"
                       "3>4 APPEND e2 commit=1900640\n"
                       "0>3 JOIN e2 end=0 commit=0 table\n"
                       "1>3 JOIN e2 end=0 commit=0 table\n"
                       "2>3 JOIN e2 end=336 commit=336 table e1@0\n"
                       "4>3 JOIN e2 end=336 commit=336 table e1@0\n"
                       "3>0 PIECE e2 piece 0\n"
                       "  0 commits 1900544\n"
                       "0>3 JOIN e2 end=1900544 commit=1900544 table e1@0\n"
                       "3>0 CUT e2 1900544\n"
                       "0>3 ACK e2 1900544 commit=1900544\n"
                       "3>1 PIECE e2 piece 0\n"
                       "  1 commits 1900544\n"
                       "3>0 APPEND e2 [1900544,1900640) commit=1900640\n"
                       "  0 commits 1900640\n"
                       "1>3 JOIN e2 end=1900544 commit=1900544 table e1@0\n"
                       "0>3 ACK e2 1900640 commit=1900640\n"
                       "3>1 CUT e2 1900544\n"
                       "1>3 ACK e2 1900544 commit=1900544\n"
                       "3>2 PIECE e2 piece 0\n"
                       "  2 commits 1900544\n"
                       "3>1 APPEND e2 [1900544,1900640) commit=1900640\n"
                       "  1 commits 1900640\n"
                       "2>3 JOIN e2 end=1900544 commit=1900544 table e1@0\n"
                       "1>3 ACK e2 1900640 commit=1900640\n"
                       "  3 asks to activate e2\n"
                       "3>2 CUT e2 1900544\n"
                       "2>3 ACK e2 1900544 commit=1900544\n"
                       "3>4 PIECE e2 piece 0\n"
                       "  4 commits 1900544\n"
                       "3>2 APPEND e2 [1900544,1900640) commit=1900640\n"
                       "  2 commits 1900640\n"
                       "4>3 JOIN e2 end=1900544 commit=1900544 table e1@0\n"
                       "2>3 ACK e2 1900640 commit=1900640\n"
                       "3>4 CUT e2 1900544\n"
                       "4>3 ACK e2 1900544 commit=1900544\n"
                       "3>4 APPEND e2 [1900544,1900640) commit=1900640\n"
                       "  4 commits 1900640\n"
                       "4>3 ACK e2 1900640 commit=1900640\n");
    CU_ASSERT_EQUAL(cluster_count(&c, 3, REPLICA_COUNT_LOSSY), 1);
    CU_ASSERT_EQUAL(cluster_committed(&c, 3), cluster_log_end(&c, 3));
    cluster_close(&c);
}

/* The survivors are there at once: the lease is waited for all the same, to the tick. */
static void the_lease_is_waited_for_to_its_end(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    lose(&c, 0x6);
    c.time += 3 * CLUSTER_LEASE;
    uint64_t began = c.time;
    cluster_pend_lossy(&c, &(struct cluster_lossy){2, 0, 7, 400000});
    cluster_expect(&c, "pending e2 led by 0, above 400000, from 1 survivors, up to 17177216\n"
                       "  0 seals e2\n"
                       "  0 reads no more\n"
                       "0>1 PULSE @3340 list=6 6: remove(e1)\n"
                       "0>2 PULSE @3340 list=6 6: remove(e1)\n"
                       "1>0 JOIN e1 end=0 commit=0 table\n"
                       "  0 says stale\n"
                       "1>0 ECHO @3340 list=6\n"
                       "2>0 JOIN e1 end=0 commit=0 table\n"
                       "  0 says stale\n"
                       "2>0 ECHO @3340 list=6\n");
    c.time = began + CLUSTER_LEASE + 1;
    cluster_pass(&c, 0);
    cluster_expect(&c, "");
    c.time++;
    cluster_pass(&c, 0);
    cluster_expect(&c, "  0 brings e2\n"
                       "  0 commits 1900640\n"
                       "0>1 APPEND e2 commit=1900640\n"
                       "0>2 APPEND e2 commit=1900640\n"
                       "1>0 JOIN e2 end=0 commit=0 table\n"
                       "2>0 JOIN e2 end=0 commit=0 table\n"
                       "0>1 PIECE e2 piece 0\n"
                       "  1 commits 1900544\n"
                       "1>0 JOIN e2 end=1900544 commit=1900544 table e1@0\n"
                       "0>1 CUT e2 1900544\n"
                       "1>0 ACK e2 1900544 commit=1900544\n"
                       "0>2 PIECE e2 piece 0\n"
                       "  2 commits 1900544\n"
                       "0>1 APPEND e2 [1900544,1900640) commit=1900640\n"
                       "  1 commits 1900640\n"
                       "2>0 JOIN e2 end=1900544 commit=1900544 table e1@0\n"
                       "1>0 ACK e2 1900640 commit=1900640\n"
                       "  0 asks to activate e2\n"
                       "0>2 CUT e2 1900544\n"
                       "2>0 ACK e2 1900544 commit=1900544\n"
                       "0>2 APPEND e2 [1900544,1900640) commit=1900640\n"
                       "  2 commits 1900640\n"
                       "2>0 ACK e2 1900640 commit=1900640\n");
    cluster_activate(&c);
    cluster_expect(&c, "active e2 led by 0, up to 17177216\n"
                       "  0 leads e2\n"
                       "0>1 PULSE @4342 list=7 7: add(e2)\n"
                       "0>2 PULSE @4342 list=7 7: add(e2)\n"
                       "1>0 ECHO @4342 list=7\n"
                       "  0 may read\n"
                       "2>0 ECHO @4342 list=7\n");
    catch_up(&c);
    for (uint32_t i = 1; i < 3; i++) {
        uint64_t key = 7;
        struct read_found found;
        CU_ASSERT_EQUAL(cluster_log_end(&c, i), cluster_log_end(&c, 0));
        CU_ASSERT_EQUAL(fixture_read(&c.nodes[i].shard, &key, sizeof key, &found), 1);
    }
    cluster_close(&c);
}

/* Nobody survived: it begins empty, and above the floor all the same. */
static void without_survivors_it_begins_empty(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    lose(&c, 0x7);
    c.time += 3 * CLUSTER_LEASE;
    uint64_t began = c.time;
    cluster_pend_lossy(&c, &(struct cluster_lossy){2, 1, 7, 400000});
    cluster_expect(&c, "pending e2 led by 1, above 400000, from 0 survivors, up to 17177216\n"
                       "  1 seals e2\n");
    c.time = began + CLUSTER_LEASE + 1;
    cluster_pass(&c, 1);
    cluster_expect(&c, "");
    c.time++;
    cluster_pass(&c, 1);
    cluster_activate(&c);
    catch_up(&c);
    const struct log *l = &c.nodes[1].shard.shard->log;
    CU_ASSERT_EQUAL_FATAL(l->epoch_count, 1);
    CU_ASSERT_EQUAL(l->epochs[0].lsn_end_before, c.origin);
    CU_ASSERT(l->epochs[0].lsn_start >= c.origin + 400000);
    for (uint32_t i = 0; i < 3; i++) {
        uint64_t key = 7;
        struct read_found found;
        CU_ASSERT_EQUAL(cluster_committed(&c, i), cluster_log_end(&c, 1));
        CU_ASSERT_EQUAL(fixture_read(&c.nodes[i].shard, &key, sizeof key, &found), 0);
    }
    cluster_put(&c, 1, 9, 8);
    CU_ASSERT_EQUAL(cluster_committed(&c, 1), cluster_log_end(&c, 1));
    cluster_close(&c);
}

/* Nobody survived who voted, and a learner leads.  The segment that it had granted ahead of its log's end, and
 * into which nobody can write any more, would lie below that end behind the gap, as if it were a part of the
 * log. */
static void a_segment_granted_ahead_goes_before_the_gap(void)
{
    static struct cluster c;
    static const struct cluster_config log_write = {.node_count = 3, .log_write = true};
    cluster_open(&c, &log_write);
    c.quiet = true;
    cluster_learn(&c, 1, 0, 0x5);
    cluster_activate(&c);
    cluster_put(&c, 0, 7, 8);
    cluster_run(&c, CLUSTER_LEASE);
    struct shard *s = c.nodes[1].shard.shard;
    CU_ASSERT_EQUAL(cluster_committed(&c, 1), 208);
    CU_ASSERT(land_has_ahead(s));
    lose(&c, 0x5);
    replica_grant_void(&c.nodes[1].replica, 0);
    CU_ASSERT(land_has_ahead(s) && !land_tail_is_granted(s));
    c.quiet = true;
    c.time += 3 * CLUSTER_LEASE;
    cluster_pend_lossy(&c, &(struct cluster_lossy){2, 1, 7, 400000});
    CU_ASSERT_EQUAL(c.configuration.voter_before_count, 0);
    c.time += CLUSTER_LEASE + 2;
    cluster_pass(&c, 1);
    CU_ASSERT_EQUAL(c.nodes[1].replica.role, REPLICA_BRINGING);
    CU_ASSERT(!land_has_ahead(s));
    cluster_activate(&c);
    catch_up(&c);
    cluster_put(&c, 1, 9, 8);
    /* The one of before and the epoch's own, and no other. */
    CU_ASSERT_EQUAL(s->log.queue_count, 1);
    uint32_t in_tail = 0;
    for (uint32_t n = 0; n < s->frames.fresh_next; n++)
        in_tail += s->directory[layout_frame_of(&s->geometry, s->number, n)].kind == FRAME_TAIL;
    CU_ASSERT_EQUAL(in_tail, 2);
    for (uint32_t i = 0; i < 3; i++) {
        uint64_t key = 7;
        struct read_found found;
        CU_ASSERT_EQUAL(fixture_read(&c.nodes[i].shard, &key, sizeof key, &found), 1);
    }
    cluster_close(&c);
}

/* It was lost as well: the next one begins above what it was granted, and what it gave up stays so. */
static void a_lossy_epoch_that_is_lost_is_followed_by_another(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    lose(&c, 0x6);
    c.time += 3 * CLUSTER_LEASE;
    c.quiet = true;
    cluster_pend_lossy(&c, &(struct cluster_lossy){2, 0, 7, 400000});
    c.time += CLUSTER_LEASE + 2;
    cluster_pass(&c, 0);
    CU_ASSERT_EQUAL(c.nodes[0].replica.role, REPLICA_BRINGING);
    c.quiet = false;
    cluster_forget(&c);
    uint64_t began = c.time;
    cluster_pend_lossy(&c, &(struct cluster_lossy){3, 0, 7, 9000000}); /* 2 was never active */
    c.time = began + CLUSTER_LEASE + 2;
    cluster_pass(&c, 0);
    cluster_activate(&c);
    catch_up(&c);
    const struct log *l = &c.nodes[0].shard.shard->log;
    CU_ASSERT_EQUAL_FATAL(l->epoch_count, 3);
    CU_ASSERT_EQUAL(l->epochs[2].epoch, 3);
    CU_ASSERT(l->epochs[1].lossy != 0 && l->epochs[2].lossy != 0);
    CU_ASSERT(l->epochs[2].lsn_start >= c.origin + 9000000);
    for (uint32_t i = 1; i < 3; i++)
        CU_ASSERT_EQUAL(cluster_committed(&c, i), cluster_log_end(&c, 0));
    cluster_close(&c);
}

/* Asked for what no predecessor's voter says, it is nobody's word: incarnation refused (S13). */
static void who_was_lost_answers_no_seal(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    lose(&c, 0x6);
    c.time += 3 * CLUSTER_LEASE;
    cluster_pend_lossy(&c, &(struct cluster_lossy){2, 0, 7, 400000});
    struct message m = {
        .kind = MESSAGE_SEALED,
        .log = CLUSTER_LOG,
        .epoch = 2,
        .from = c.nodes[1].replica.self,
    };
    CU_ASSERT_EQUAL(cluster_tell(&c, 0, &m), -EPROTO);
    m.from.incarnation = 2; /* as it was: not among the survivors */
    CU_ASSERT_EQUAL(cluster_tell(&c, 0, &m), -EPROTO);
    CU_ASSERT_EQUAL(c.nodes[0].replica.role, REPLICA_SEALING);
    cluster_close(&c);
}

/* 4 gave its state up and knows of a commit in epoch 2; 3 was away, and has a tail of epoch 1 at the same
 * LSNs.  Who completes its log from 3's shows nothing of that tail before the lossy epoch has begun. */
static void what_a_survivor_without_a_log_says_is_no_commit(void)
{
    static struct cluster c;
    cluster_lead(&c, &five);
    c.quiet = true;
    cluster_cut_off(&c, 0, true);
    c.cut_off[0][3] = false;
    for (uint64_t key = 100; key < 110; key++)
        cluster_put(&c, 0, key, 100);
    cluster_cut_off(&c, 0, true);
    cluster_cut_off(&c, 3, true);
    c.time += 3 * CLUSTER_LEASE;
    cluster_pend(&c, 2, 1, 0x1f);
    cluster_activate(&c);
    cluster_cut_off(&c, 0, false);
    cluster_cut_off(&c, 3, true);
    for (uint64_t key = 200; key < 204; key++)
        cluster_put(&c, 1, key, 100);
    cluster_run(&c, CLUSTER_LEASE);
    CU_ASSERT(cluster_committed(&c, 4) > 800 && cluster_committed(&c, 4) < 1968);
    CU_ASSERT_EQUAL(cluster_committed(&c, 0), cluster_committed(&c, 2)); /* a majority without 4 */
    CU_ASSERT(cluster_log_end(&c, 3) == 1968 && cluster_committed(&c, 3) == 208);
    install_discard(c.nodes[4].shard.shard);
    cluster_cut_off(&c, 3, false);
    lose(&c, 0x7);
    c.quiet = true;
    c.time += 3 * CLUSTER_LEASE;
    cluster_pend_lossy(&c, &(struct cluster_lossy){3, 2, 0x1f, 400000});
    CU_ASSERT_EQUAL(c.nodes[2].replica.role, REPLICA_SEALING);
    c.time += 2 * CLUSTER_LEASE;
    c.cut_off[2][3] = true; /* what it fetches comes in two parts */
    cluster_pass(&c, 2);
    CU_ASSERT_EQUAL(c.nodes[2].replica.role, REPLICA_FETCHING);
    uint64_t available;
    struct message m = {
        .kind = MESSAGE_APPEND,
        .log = CLUSTER_LOG,
        .epoch = 3,
        .from = c.nodes[3].replica.self,
        .lsn = c.origin,
        .length = 1088,
    };
    m.bytes = log_bytes_at(&c.nodes[3].shard.shard->log, m.lsn, &available);
    CU_ASSERT_EQUAL(cluster_tell(&c, 2, &m), 0);
    CU_ASSERT_EQUAL(cluster_log_end(&c, 2), 1088);
    CU_ASSERT_EQUAL(cluster_committed(&c, 2), 208);
    c.cut_off[2][3] = false;
    cluster_wait(&c, CLUSTER_RETRY);
    CU_ASSERT_EQUAL(c.nodes[2].replica.role, REPLICA_BRINGING);
    CU_ASSERT_EQUAL(cluster_committed(&c, 2), cluster_log_end(&c, 2));
    cluster_close(&c);
}

static const struct unit_test tests[] = {
    UNIT_TEST(who_knows_nothing_of_a_lossy_epoch_has_nothing_in_common),
    UNIT_TEST(who_knows_the_same_lossy_epochs_has_a_prefix),
    UNIT_TEST(a_tail_is_no_part_of_what_a_snapshot_stands_for),
    UNIT_TEST(a_snapshot_behind_the_gap_is_in_common),
    UNIT_TEST(all_survivors_and_one_lease_are_waited_for),
    UNIT_TEST(the_lease_is_waited_for_to_its_end),
    UNIT_TEST(without_survivors_it_begins_empty),
    UNIT_TEST(a_segment_granted_ahead_goes_before_the_gap),
    UNIT_TEST(a_lossy_epoch_that_is_lost_is_followed_by_another),
    UNIT_TEST(who_was_lost_answers_no_seal),
    UNIT_TEST(what_a_survivor_without_a_log_says_is_no_commit),
};
UNIT_MAIN("replica_lossy", tests)
