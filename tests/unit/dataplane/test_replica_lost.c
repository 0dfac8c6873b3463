/* What is lost is said again: a change of leaders in which one message of each kind is lost once, and
 * the golden trace of what repairs it ("a timer as backstop", "duplicates are harmless", DESIGN 5). */
#include "tests/unit/dataplane/replica_cluster.h"
#include "tests/unit/unit.h"

static const struct cluster_config three = {.node_count = 3};

struct loss {
    uint32_t from, to;
    uint8_t kind;
};

/* 1 alone holds a write of epoch 1, which 2 recovers in epoch 2 without 0; what the loss stops short is
 * not traced.  Then a timer runs out. */
static void lose(struct cluster *c, const struct loss *loss)
{
    cluster_lead(c, &three);
    c->quiet = true;
    c->cut_off[1][0] = true;
    cluster_cut_off(c, 2, true);
    cluster_put(c, 0, 8, 8);
    cluster_cut_off(c, 2, false);
    cluster_cut_off(c, 0, true);
    c->time += 2 * CLUSTER_LEASE; /* every promise has run out */
    c->lost[loss->from][loss->to] = loss->kind;
    cluster_pend(c, 2, 2, 7);
    CU_ASSERT_EQUAL(c->lost[loss->from][loss->to], 0);
    c->quiet = false;
    cluster_forget(c);
    cluster_wait(c, CLUSTER_RETRY - 1);
    cluster_expect(c, "");
    cluster_wait(c, 1);
}

/* The epoch can be active: nothing of what was recovered is missing. */
static void activate(struct cluster *c)
{
    CU_ASSERT_EQUAL(c->nodes[2].replica.role, REPLICA_BRINGING);
    c->quiet = true;
    cluster_activate(c);
    cluster_run(c, 3 * CLUSTER_HEARTBEAT);
    CU_ASSERT_EQUAL(cluster_committed(c, 2), 480);
    CU_ASSERT_EQUAL(cluster_committed(c, 1), 480);
    CU_ASSERT(cluster_same_log(c, 1, 2));
    cluster_close(c);
}

static void a_seal_is_sent_again(void)
{
    static struct cluster c;
    lose(&c, &(struct loss){2, 1, MESSAGE_SEAL});
    cluster_expect(&c, "2>1 SEAL e2 after e1\n"
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
    activate(&c);
}

/* The promise is kept: the second seal is answered like the first. */
static void an_answer_to_a_seal_is_given_again(void)
{
    static struct cluster c;
    lose(&c, &(struct loss){1, 2, MESSAGE_SEALED});
    CU_ASSERT_EQUAL(c.nodes[1].replica.promised, 2);
    cluster_expect(&c, "2>1 SEAL e2 after e1\n"
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
    activate(&c);
}

static void a_fetch_is_sent_again(void)
{
    static struct cluster c;
    lose(&c, &(struct loss){2, 1, MESSAGE_FETCH});
    cluster_expect(&c, "2>1 FETCH e2 208\n"
                       "1>2 APPEND e2 [208,336) commit=0\n"
                       "  2 brings e2\n"
                       "2>1 APPEND e2 commit=208\n"
                       "1>2 JOIN e2 end=336 commit=208 table e1@0\n"
                       "2>1 CUT e2 336\n"
                       "1>2 ACK e2 336 commit=208\n"
                       "2>1 APPEND e2 [336,480) commit=208\n"
                       "1>2 ACK e2 480 commit=208\n"
                       "  2 asks to activate e2\n");
    activate(&c);
}

static void a_fetched_range_is_asked_for_again(void)
{
    static struct cluster c;
    lose(&c, &(struct loss){1, 2, MESSAGE_APPEND});
    cluster_expect(&c, "2>1 FETCH e2 208\n"
                       "1>2 APPEND e2 [208,336) commit=0\n"
                       "  2 brings e2\n"
                       "2>1 APPEND e2 commit=208\n"
                       "1>2 JOIN e2 end=336 commit=208 table e1@0\n"
                       "2>1 CUT e2 336\n"
                       "1>2 ACK e2 336 commit=208\n"
                       "2>1 APPEND e2 [336,480) commit=208\n"
                       "1>2 ACK e2 480 commit=208\n"
                       "  2 asks to activate e2\n");
    activate(&c);
}

static void a_join_is_sent_again(void)
{
    static struct cluster c;
    lose(&c, &(struct loss){1, 2, MESSAGE_JOIN});
    cluster_expect(&c, "1>2 JOIN e2 end=336 commit=208 table e1@0\n"
                       "2>1 CUT e2 336\n"
                       "2>1 APPEND e2 commit=208\n"
                       "1>2 ACK e2 336 commit=208\n"
                       "1>2 ACK e2 336 commit=208\n"
                       "1>2 NAK e2 [336,480)\n"
                       "2>1 APPEND e2 [336,480) commit=208\n"
                       "2>1 APPEND e2 [336,480) commit=208\n"
                       "1>2 ACK e2 480 commit=208\n"
                       "  2 asks to activate e2\n"
                       "1>2 ACK e2 480 commit=208\n");
    activate(&c);
}

static void a_lost_cut_leads_to_another_join(void)
{
    static struct cluster c;
    lose(&c, &(struct loss){2, 1, MESSAGE_CUT});
    cluster_expect(&c, "1>2 JOIN e2 end=336 commit=208 table e1@0\n"
                       "2>1 CUT e2 336\n"
                       "2>1 APPEND e2 commit=208\n"
                       "1>2 ACK e2 336 commit=208\n"
                       "1>2 ACK e2 336 commit=208\n"
                       "1>2 NAK e2 [336,480)\n"
                       "2>1 APPEND e2 [336,480) commit=208\n"
                       "2>1 APPEND e2 [336,480) commit=208\n"
                       "1>2 ACK e2 480 commit=208\n"
                       "  2 asks to activate e2\n"
                       "1>2 ACK e2 480 commit=208\n");
    activate(&c);
}

/* It has joined, and its leader does not know. */
static void a_lost_acknowledgement_is_given_again(void)
{
    static struct cluster c;
    lose(&c, &(struct loss){1, 2, MESSAGE_ACK});
    CU_ASSERT(c.nodes[1].replica.joined);
    cluster_expect(&c, "2>1 APPEND e2 commit=208\n"
                       "1>2 ACK e2 336 commit=208\n"
                       "1>2 NAK e2 [336,480)\n"
                       "2>1 APPEND e2 [336,480) commit=208\n"
                       "2>1 APPEND e2 [336,480) commit=208\n"
                       "1>2 ACK e2 480 commit=208\n"
                       "  2 asks to activate e2\n"
                       "1>2 ACK e2 480 commit=208\n");
    activate(&c);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_seal_is_sent_again),
    UNIT_TEST(an_answer_to_a_seal_is_given_again),
    UNIT_TEST(a_fetch_is_sent_again),
    UNIT_TEST(a_fetched_range_is_asked_for_again),
    UNIT_TEST(a_join_is_sent_again),
    UNIT_TEST(a_lost_cut_leads_to_another_join),
    UNIT_TEST(a_lost_acknowledgement_is_given_again),
};
UNIT_MAIN("replica_lost", tests)
