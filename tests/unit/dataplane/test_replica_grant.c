/* Golden traces of log writes: segments granted, bytes announced, grants returned (replica_grant.h).
 * Three replicas without read leases. */
#include "tests/unit/dataplane/replica_cluster.h"
#include "tests/unit/unit.h"

#define SEGMENT 65536u
#define VALUE_BYTES 1000u

static const struct cluster_config three = {.node_count = 3, .log_write = true};

/* Write until the leader's log ends there or behind. */
static void fill_to(struct cluster *c, uint32_t leader, uint64_t lsn)
{
    c->quiet = true;
    for (uint64_t key = 100; cluster_log_end(c, leader) < lsn; key++)
        cluster_put(c, leader, key, VALUE_BYTES);
    c->quiet = false;
}

static const struct grants *grants_of(const struct cluster *c, uint32_t node)
{
    return &c->nodes[node].shard.shard->grants;
}

static uint32_t grants_out(const struct cluster *c, uint32_t node)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < LIMIT_GRANTS; i++)
        count += grants_of(c, node)->out[i].number != 0;
    return count;
}

static void a_follower_grants_and_finds_what_was_written(void)
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
                       "1>0 GRANT e1 1 at 0\n"
                       "1>0 GRANT e1 2 at 65536\n"
                       "2>0 ACK e1 0 commit=0\n"
                       "2>0 GRANT e1 1 at 0\n"
                       "2>0 GRANT e1 2 at 65536\n"
                       "0>1 APPEND e1 [0,96) commit=0\n"
                       "0>2 APPEND e1 [0,96) commit=0\n"
                       "1>0 ACK e1 96 commit=0\n"
                       "  0 asks to activate e1\n"
                       "2>0 ACK e1 96 commit=0\n");
    c.quiet = true;
    cluster_activate(&c);
    c.quiet = false;
    cluster_put(&c, 0, 8, 8);
    cluster_expect(&c, "put at 0\n"
                       "0>1 ANNOUNCE e1 [96,208) commit=96\n"
                       "0>2 ANNOUNCE e1 [96,208) commit=96\n"
                       "1>0 ACK e1 208 commit=96\n"
                       "  0 commits 208\n"
                       "2>0 ACK e1 208 commit=96\n"
                       "0>1 APPEND e1 commit=208\n"
                       "  1 commits 208\n"
                       "0>2 APPEND e1 commit=208\n"
                       "  2 commits 208\n");
    CU_ASSERT_EQUAL(cluster_count(&c, 1, REPLICA_COUNT_ANNOUNCED), 1);
    CU_ASSERT_EQUAL(cluster_count(&c, 1, REPLICA_COUNT_UNWRITTEN), 0);
    CU_ASSERT(cluster_same_log(&c, 0, 1) && cluster_same_log(&c, 0, 2));
    cluster_close(&c);
}

static void what_is_announced_before_it_is_written_comes_by_message(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.writes_late = true;
    cluster_put(&c, 0, 9, 8);
    cluster_expect(&c, "put at 0\n"
                       "0>1 ANNOUNCE e1 [208,336) commit=208\n"
                       "0>2 ANNOUNCE e1 [208,336) commit=208\n"
                       "1>0 ACK e1 208 commit=208\n"
                       "1>0 NAK e1 [208,336)\n"
                       "2>0 ACK e1 208 commit=208\n"
                       "2>0 NAK e1 [208,336)\n"
                       "0>1 APPEND e1 [208,336) commit=208\n"
                       "0>2 APPEND e1 [208,336) commit=208\n"
                       "1>0 ACK e1 336 commit=208\n"
                       "  0 commits 336\n"
                       "2>0 ACK e1 336 commit=208\n"
                       "0>1 APPEND e1 commit=336\n"
                       "  1 commits 336\n"
                       "0>2 APPEND e1 commit=336\n"
                       "  2 commits 336\n");
    CU_ASSERT_EQUAL(cluster_count(&c, 1, REPLICA_COUNT_UNWRITTEN), 1);
    cluster_writes_land(&c); /* the same bytes once more */
    CU_ASSERT(cluster_same_log(&c, 0, 1) && cluster_same_log(&c, 0, 2));
    cluster_close(&c);
}

static void what_is_short_goes_by_message_into_the_same_segment(void)
{
    static const struct cluster_config briefly = {
        .node_count = 3, .log_write = true, .log_write_above = 128};
    static struct cluster c;
    cluster_lead(&c, &briefly);
    cluster_put(&c, 0, 9, 8);
    cluster_expect(&c, "put at 0\n"
                       "0>1 APPEND e1 [208,336) commit=208\n"
                       "0>2 APPEND e1 [208,336) commit=208\n"
                       "1>0 ACK e1 336 commit=208\n"
                       "  0 commits 336\n"
                       "2>0 ACK e1 336 commit=208\n"
                       "0>1 APPEND e1 commit=336\n"
                       "  1 commits 336\n"
                       "0>2 APPEND e1 commit=336\n"
                       "  2 commits 336\n");
    cluster_put(&c, 0, 10, 9);
    cluster_expect(&c, "put at 0\n"
                       "0>1 ANNOUNCE e1 [336,472) commit=336\n"
                       "0>2 ANNOUNCE e1 [336,472) commit=336\n"
                       "1>0 ACK e1 472 commit=336\n"
                       "  0 commits 472\n"
                       "2>0 ACK e1 472 commit=336\n"
                       "0>1 APPEND e1 commit=472\n"
                       "  1 commits 472\n"
                       "0>2 APPEND e1 commit=472\n"
                       "  2 commits 472\n");
    cluster_put(&c, 0, 11, 8);
    cluster_expect(&c, "put at 0\n"
                       "0>1 APPEND e1 [472,592) commit=472\n"
                       "0>2 APPEND e1 [472,592) commit=472\n"
                       "1>0 ACK e1 592 commit=472\n"
                       "  0 commits 592\n"
                       "2>0 ACK e1 592 commit=472\n"
                       "0>1 APPEND e1 commit=592\n"
                       "  1 commits 592\n"
                       "0>2 APPEND e1 commit=592\n"
                       "  2 commits 592\n");
    CU_ASSERT_EQUAL(cluster_count(&c, 1, REPLICA_COUNT_ANNOUNCED), 1);
    CU_ASSERT_EQUAL(cluster_count(&c, 1, REPLICA_COUNT_UNWRITTEN), 0);
    CU_ASSERT(cluster_same_log(&c, 0, 1) && cluster_same_log(&c, 0, 2));
    cluster_close(&c);
}

static void what_is_long_is_written_at_once_and_sent_in_pieces(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    cluster_put(&c, 0, 9, 34000);
    cluster_expect(&c, "put at 0\n"
                       "0>1 ANNOUNCE e1 [208,32976) commit=208\n"
                       "0>2 ANNOUNCE e1 [208,32976) commit=208\n"
                       "1>0 ACK e1 208 commit=208\n"
                       "2>0 ACK e1 208 commit=208\n"
                       "0>1 ANNOUNCE e1 [32976,34280) commit=208\n"
                       "0>2 ANNOUNCE e1 [32976,34280) commit=208\n"
                       "1>0 ACK e1 34280 commit=208\n"
                       "  0 commits 34280\n"
                       "2>0 ACK e1 34280 commit=208\n"
                       "0>1 APPEND e1 commit=34280\n"
                       "  1 commits 34280\n"
                       "0>2 APPEND e1 commit=34280\n"
                       "  2 commits 34280\n");
    c.writes_late = true;
    cluster_put(&c, 0, 10, 17000);
    cluster_expect(&c, "put at 0\n"
                       "0>1 ANNOUNCE e1 [34280,51352) commit=34280\n"
                       "0>2 ANNOUNCE e1 [34280,51352) commit=34280\n"
                       "1>0 ACK e1 34280 commit=34280\n"
                       "1>0 NAK e1 [34280,51352)\n"
                       "2>0 ACK e1 34280 commit=34280\n"
                       "2>0 NAK e1 [34280,51352)\n"
                       "0>1 APPEND e1 [34280,42472) commit=34280\n"
                       "0>1 APPEND e1 [42472,50664) commit=34280\n"
                       "0>1 APPEND e1 [50664,51352) commit=34280\n"
                       "0>2 APPEND e1 [34280,42472) commit=34280\n"
                       "0>2 APPEND e1 [42472,50664) commit=34280\n"
                       "0>2 APPEND e1 [50664,51352) commit=34280\n"
                       "1>0 ACK e1 34280 commit=34280\n"
                       "1>0 ACK e1 34280 commit=34280\n"
                       "1>0 ACK e1 51352 commit=34280\n"
                       "  0 commits 51352\n"
                       "2>0 ACK e1 34280 commit=34280\n"
                       "2>0 ACK e1 34280 commit=34280\n"
                       "2>0 ACK e1 51352 commit=34280\n"
                       "0>1 APPEND e1 commit=51352\n"
                       "  1 commits 51352\n"
                       "0>2 APPEND e1 commit=51352\n"
                       "  2 commits 51352\n");
    cluster_writes_land(&c);
    CU_ASSERT(cluster_same_log(&c, 0, 1) && cluster_same_log(&c, 0, 2));
    cluster_close(&c);
}

static void a_full_segment_is_recalled_and_the_next_one_granted(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    cluster_cut_off(&c, 2, true);
    fill_to(&c, 0, SEGMENT - VALUE_BYTES - RECORD_HEADER_BYTES);
    cluster_put(&c, 0, 9, VALUE_BYTES);
    cluster_expect(&c, "put at 0\n"
                       "0>1 ANNOUNCE e1 [64528,65536) commit=64528\n"
                       "0>1 ANNOUNCE e1 [65536,66608) commit=64528\n"
                       "1>0 ACK e1 64528 commit=64528\n"
                       "1>0 GRANT e1 3 at 131072\n"
                       "1>0 RECALL e1 1\n"
                       "1>0 ACK e1 66608 commit=64528\n"
                       "  0 commits 66608\n"
                       "0>1 RETURN e1 1\n"
                       "0>1 APPEND e1 commit=66608\n"
                       "  1 commits 66608\n");
    CU_ASSERT_EQUAL(cluster_count(&c, 1, REPLICA_COUNT_RETURNED), 1);
    CU_ASSERT_EQUAL(grants_out(&c, 1), 2);
    CU_ASSERT(cluster_same_log(&c, 0, 1));
    cluster_close(&c);
}

/* A write is under way: whatever the log does meanwhile, its grant does not come back. */
static void a_grant_is_not_returned_before_its_writes_are_over(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    cluster_cut_off(&c, 2, true);
    c.writes_late = true;
    cluster_put(&c, 0, 9, 8);
    fill_to(&c, 0, SEGMENT);
    CU_ASSERT(c.write_count != 0);
    cluster_wait(&c, 8 * CLUSTER_RETRY);
    cluster_expect(&c, "put at 0\n"
                       "0>1 ANNOUNCE e1 [208,336) commit=208\n"
                       "1>0 ACK e1 208 commit=208\n"
                       "1>0 NAK e1 [208,336)\n"
                       "0>1 APPEND e1 [208,336) commit=208\n"
                       "1>0 ACK e1 336 commit=208\n"
                       "  0 commits 336\n"
                       "0>1 APPEND e1 commit=336\n"
                       "  1 commits 336\n"
                       "0>1 APPEND e1 commit=66608\n"
                       "0>1 PULSE @360 list=3 behind\n"
                       "1>0 ACK e1 66608 commit=66608\n"
                       "1>0 RECALL e1 1\n"
                       "1>0 ECHO @360 list=3\n");
    CU_ASSERT_EQUAL(cluster_count(&c, 1, REPLICA_COUNT_RETURNED), 0);
    cluster_writes_land(&c);
    cluster_wait(&c, 8 * CLUSTER_RETRY);
    cluster_expect(&c, "0>1 PULSE @680 list=3\n"
                       "1>0 RECALL e1 1\n"
                       "1>0 ECHO @680 list=3\n"
                       "0>1 RETURN e1 1\n");
    CU_ASSERT_EQUAL(cluster_count(&c, 1, REPLICA_COUNT_RETURNED), 1);
    cluster_close(&c);
}

/* A leader of the past writes where a follower became the leader: what counts has moved, and the old
 * segment is nobody's until the grant is back. */
static void a_late_write_of_an_older_epoch_meets_quarantined_memory(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    uint32_t frame = c.nodes[2].shard.shard->log.tail.frame;
    c.writes_late = true;
    c.cut_off[0][1] = c.cut_off[0][2] = true; /* the writes are posted, the announcements lost */
    cluster_put(&c, 0, 9, 500);
    CU_ASSERT_EQUAL(c.write_count, 2);
    c.cut_off[1][0] = c.cut_off[2][0] = true;
    c.time += 2 * CLUSTER_LEASE;
    c.quiet = true;
    cluster_pend(&c, 2, 2, 6);
    cluster_activate(&c);
    cluster_put(&c, 2, 10, 500);
    c.quiet = false;
    CU_ASSERT_NOT_EQUAL(c.nodes[2].shard.shard->log.tail.frame, frame);
    CU_ASSERT(grant_is_out(grants_of(&c, 2), frame));
    for (uint32_t i = 0; i < 3; i++)
        (void)fixture_maintain(&c.nodes[2].shard);
    CU_ASSERT_EQUAL(c.nodes[2].shard.shard->reclaim.count,
                    2); /* tail and the next, not given back */
    cluster_writes_land(&c);
    CU_ASSERT(cluster_same_log(&c, 1, 2));
    memset(c.cut_off, 0, sizeof c.cut_off);
    cluster_forget(&c);
    cluster_wait(&c, 8 * CLUSTER_RETRY);
    cluster_expect(&c, "0>1 PULSE @2360 list=3\n"
                       "0>2 PULSE @2360 list=3\n"
                       "1>0 RECALL e2 2\n"
                       "1>0 RECALL e2 1\n"
                       "1>0 ECHO @2360 list=3 without e1\n"
                       "  0 reads no more\n"
                       "2>1 APPEND e2 commit=928\n"
                       "2>0 RECALL e2 2\n"
                       "2>0 RECALL e2 1\n"
                       "2>0 ECHO @2360 list=3 without e1\n"
                       "2>1 PULSE @2360 list=3 behind\n"
                       "0>1 RETURN e1 2\n"
                       "0>1 RETURN e1 1\n"
                       "0>1 APPEND e1 [208,784) commit=208\n"
                       "  1 says stale\n"
                       "0>2 APPEND e1 [208,784) commit=208\n"
                       "  2 says stale\n"
                       "0>1 PULSE @2360 list=4 4: remove(e1)\n"
                       "0>2 PULSE @2360 list=4 4: remove(e1)\n"
                       "1>2 ACK e2 928 commit=928\n"
                       "0>2 RETURN e1 2\n"
                       "0>2 RETURN e1 1\n"
                       "1>2 ECHO @2360 list=3\n"
                       "1>0 ECHO @2360 list=4\n"
                       "2>0 ECHO @2360 list=4\n");
    CU_ASSERT_EQUAL(cluster_count(&c, 2, REPLICA_COUNT_RETURNED), 2);
    (void)fixture_maintain(&c.nodes[2].shard);
    CU_ASSERT_EQUAL(c.nodes[2].shard.shard->reclaim.count, 0);
    cluster_close(&c);
}

static void who_does_not_return_a_grant_is_disconnected(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.writes_late = true;
    cluster_put(&c, 0, 9, 8);
    c.cut_off[0][1] = c.cut_off[1][0] = true;
    c.time += 2 * CLUSTER_LEASE;
    c.quiet = true;
    cluster_pend(&c, 2, 2, 6);
    cluster_activate(&c);
    cluster_run(&c, 1000 * CLUSTER_RETRY);
    c.quiet = false;
    CU_ASSERT_EQUAL(cluster_count(&c, 1, REPLICA_COUNT_DISCONNECTS), 1);
    CU_ASSERT_EQUAL(grants_of(&c, 1)->number, 4);
    for (uint32_t i = 0; i < LIMIT_GRANTS; i++)
        CU_ASSERT(grants_of(&c, 1)->out[i].number == 0 ||
                  grants_of(&c, 1)->out[i].holder.node == 2);
    cluster_writes_land(&c); /* over a connection that is gone */
    CU_ASSERT(cluster_same_log(&c, 1, 2));
    cluster_close(&c);
}

/* A segment of the log full, with as few keys as fit the memory; everybody cleans. */
static void fill_segment(struct cluster *c, uint32_t leader)
{
    uint64_t end = cluster_log_end(c, leader) + SEGMENT;
    for (uint64_t key = 100; cluster_log_end(c, leader) < end; key++) {
        cluster_put(c, leader, key, VALUE_BYTES);
        for (uint32_t i = 0; i < c->node_count; i++)
            (void)fixture_maintain(&c->nodes[i].shard);
    }
}

/* The leader of today returns grant after grant; the one of yesterday none, and is not forgotten for it.
 * Nor does the leader wait for it: what is newly wanted back is asked for at once. */
static void who_returns_its_grants_hides_nobody_who_does_not(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.cut_off[0][1] = c.cut_off[1][0] = true;
    c.time += 2 * CLUSTER_LEASE;
    c.quiet = true;
    cluster_pend(&c, 2, 2, 6);
    cluster_activate(&c);
    cluster_grant(&c, UINT64_C(1) << 30);
    cluster_cut_off(&c, 0, true);
    uint32_t segments = 0;
    while (cluster_count(&c, 1, REPLICA_COUNT_DISCONNECTS) == 0 && segments < 200) {
        fill_segment(&c, 2);
        cluster_wait(&c, CLUSTER_HEARTBEAT);
        segments++;
    }
    CU_ASSERT_EQUAL(cluster_count(&c, 1, REPLICA_COUNT_DISCONNECTS), 1);
    CU_ASSERT(cluster_count(&c, 1, REPLICA_COUNT_RETURNED) > segments);
    for (uint32_t i = 0; i < LIMIT_GRANTS; i++)
        CU_ASSERT(grants_of(&c, 1)->out[i].number == 0 ||
                  grants_of(&c, 1)->out[i].holder.node == 2);
    cluster_close(&c);
}

/* Recalls in vain are counted for one grant at a time: a network that loses some is no reason to tear
 * a connection down. */
static void a_recall_that_is_lost_now_and_then_disconnects_nobody(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.quiet = true;
    cluster_grant(&c, UINT64_C(1) << 30);
    cluster_cut_off(&c, 2, true);
    for (uint32_t segments = 0; segments < 20; segments++) {
        c.lost[1][0] = MESSAGE_RECALL;
        fill_segment(&c, 0);
        cluster_wait(&c, 2 * CLUSTER_RETRY);
    }
    CU_ASSERT(cluster_count(&c, 1, REPLICA_COUNT_RETURNED) >= 20);
    CU_ASSERT_EQUAL(cluster_count(&c, 1, REPLICA_COUNT_DISCONNECTS), 0);
    cluster_close(&c);
}

static const struct replica_grant *held(const struct cluster *c, uint64_t number)
{
    const struct replica_grant *all = c->nodes[0].replica.held;
    for (uint32_t i = 0; i < LIMIT_GRANTS_HELD; i++)
        if (all[i].peer.node == 1 && all[i].number == number)
            return &all[i];
    return NULL;
}

/* 1 grants other memory for the same segment: that is where its log goes on.  Once it has missed too much
 * there, nothing is written any more, least of all to what it granted before. */
static void the_newest_grant_of_a_segment_is_used_until_too_much_is_missed(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.quiet = true;
    cluster_cut_off(&c, 2, true);
    struct message grant = {
        .kind = MESSAGE_GRANT,
        .log = CLUSTER_LOG,
        .epoch = 1,
        .from = c.nodes[1].replica.self,
        .lsn = c.origin,
        .number = 7,
        .token = held(&c, 1)->token,
    };
    CU_ASSERT_EQUAL(cluster_tell(&c, 0, &grant), 0);
    c.writes_late = true;
    for (uint32_t missed = 0; missed < 8; missed++) {
        cluster_put(&c, 0, 9, 8);
        CU_ASSERT_EQUAL(held(&c, 7)->writes, missed + 1);
        CU_ASSERT_EQUAL(held(&c, 1)->writes, 0);
        CU_ASSERT_EQUAL(held(&c, 7)->missed, missed + 1); /* its NAK came: nothing has landed */
    }
    cluster_put(&c, 0, 9, 8);
    CU_ASSERT(held(&c, 7)->writes == 8 && held(&c, 1)->writes == 0);
    cluster_writes_land(&c);
    CU_ASSERT_PTR_NULL(held(&c, 7)); /* over, and no write is under way */
    cluster_close(&c);
}

/* It is returned when the write that is under way is over; none follows that one. */
static void a_grant_that_was_recalled_is_not_used_again(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.quiet = true;
    c.writes_late = true;
    cluster_put(&c, 0, 9, 8);
    CU_ASSERT_EQUAL_FATAL(held(&c, 1)->writes, 1);
    const struct message recall = {
        .kind = MESSAGE_RECALL,
        .log = CLUSTER_LOG,
        .epoch = 1,
        .from = c.nodes[1].replica.self,
        .lsn = 1,
    };
    CU_ASSERT_EQUAL(cluster_tell(&c, 0, &recall), 0);
    cluster_put(&c, 0, 9, 8);
    CU_ASSERT_EQUAL(held(&c, 1)->writes, 1);
    cluster_writes_land(&c);
    CU_ASSERT_PTR_NULL(held(&c, 1));
    CU_ASSERT_PTR_NOT_NULL(held(&c, 2));
    cluster_close(&c);
}

/* Where the bytes of a node's log at this LSN lie, somebody may write. */
static bool is_granted_at(const struct cluster *c, uint32_t node, uint64_t lsn)
{
    const struct shard *s = c->nodes[node].shard.shard;
    uint64_t available;
    const uint8_t *bytes = log_bytes_at(&s->log, lsn, &available);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    return bytes != NULL && grant_is_out(&s->grants, (uint32_t)((uint64_t)(bytes - s->arena) >>
                                                                s->log.segment_shift));
}

/* Nobody survived, and the leader of the lossy epoch followed the lost one, which may still write where
 * that log ended.  It goes on behind a gap, but what fills the segment up is its own: the cleaner walks it. */
static void a_lossy_epoch_without_survivors_begins_in_memory_of_its_own(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    c.quiet = true;
    CU_ASSERT_TRUE(is_granted_at(&c, 2, c.origin));
    cluster_cut_off(&c, 2, true); /* nobody returns it anything */
    c.time += 2 * CLUSTER_LEASE;
    cluster_pend(&c, 2, 0, 3); /* it is no voter any more */
    cluster_activate(&c);
    CU_ASSERT_TRUE(replica_leads(&c.nodes[0].replica));
    c.nodes[0].replica.self.incarnation += 10;
    c.nodes[1].replica.self.incarnation += 10;
    c.time += 3 * CLUSTER_LEASE;
    cluster_pend_lossy(&c, &(struct cluster_lossy){3, 2, 4, 400000});
    CU_ASSERT_EQUAL(c.configuration.voter_before_count, 0);
    c.time += 2 * CLUSTER_LEASE;
    cluster_pass(&c, 2);
    CU_ASSERT_EQUAL(c.nodes[2].replica.role, REPLICA_BRINGING);
    CU_ASSERT_EQUAL(grants_out(&c, 2), 2);
    CU_ASSERT_FALSE(is_granted_at(&c, 2, c.origin));
    CU_ASSERT_FALSE(is_granted_at(&c, 2, c.nodes[2].shard.shard->log.epochs[1].lsn_start));
    cluster_close(&c);
}

static void what_no_holder_of_a_grant_says_changes_nothing(void)
{
    static struct cluster c;
    cluster_lead(&c, &three);
    struct message m = {
        .kind = MESSAGE_RETURN,
        .log = CLUSTER_LOG,
        .epoch = 1,
        .from = c.nodes[0].replica.self,
        .lsn = 2,
        .lsn_end = 1,
    };
    CU_ASSERT_EQUAL(cluster_tell(&c, 1, &m), -ESTALE); /* of our start before */
    m.lsn_end = c.nodes[1].replica.self.incarnation;
    m.lsn = 3;
    CU_ASSERT_EQUAL(cluster_tell(&c, 1, &m), -EPROTO); /* never given */
    m.lsn = 2;
    m.from.incarnation = 9;
    CU_ASSERT_EQUAL(cluster_tell(&c, 1, &m), 0); /* another start of it */
    CU_ASSERT_EQUAL(grants_out(&c, 1), 2);
    m.from.incarnation = 1;
    CU_ASSERT_EQUAL(cluster_tell(&c, 1, &m), 0);
    CU_ASSERT_EQUAL(grants_out(&c, 1), 0);
    m = (struct message){
        .kind = MESSAGE_GRANT,
        .log = CLUSTER_LOG,
        .epoch = 1,
        .from = c.nodes[1].replica.self,
        .lsn = c.origin,
        .number = 2,
    };
    CU_ASSERT_EQUAL(cluster_tell(&c, 0, &m), 0); /* late: it may have been recalled */
    m.number = 7;
    m.from.incarnation = 9;
    CU_ASSERT_EQUAL(cluster_tell(&c, 0, &m), -EPROTO); /* no peer */
    for (uint32_t i = 0; i < LIMIT_GRANTS_HELD; i++)
        CU_ASSERT(c.nodes[0].replica.held[i].number <= 2);
    cluster_close(&c);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_follower_grants_and_finds_what_was_written),
    UNIT_TEST(what_is_announced_before_it_is_written_comes_by_message),
    UNIT_TEST(what_is_short_goes_by_message_into_the_same_segment),
    UNIT_TEST(what_is_long_is_written_at_once_and_sent_in_pieces),
    UNIT_TEST(a_full_segment_is_recalled_and_the_next_one_granted),
    UNIT_TEST(a_grant_is_not_returned_before_its_writes_are_over),
    UNIT_TEST(a_late_write_of_an_older_epoch_meets_quarantined_memory),
    UNIT_TEST(who_does_not_return_a_grant_is_disconnected),
    UNIT_TEST(who_returns_its_grants_hides_nobody_who_does_not),
    UNIT_TEST(a_recall_that_is_lost_now_and_then_disconnects_nobody),
    UNIT_TEST(the_newest_grant_of_a_segment_is_used_until_too_much_is_missed),
    UNIT_TEST(a_grant_that_was_recalled_is_not_used_again),
    UNIT_TEST(a_lossy_epoch_without_survivors_begins_in_memory_of_its_own),
    UNIT_TEST(what_no_holder_of_a_grant_says_changes_nothing),
};
UNIT_MAIN("replica_grant", tests)
