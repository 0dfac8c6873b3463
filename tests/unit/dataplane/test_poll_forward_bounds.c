/* What bounds forwarded operations: what no peer may say, no leader may answer, and no memory is there
 * for. */
#include "tests/unit/dataplane/forward_nodes.h"
#include "tests/unit/unit.h"

#include "engine/hash.h"

#include <unistd.h>

static struct forward_nodes n;
static struct ring_agent a;
static struct ring_completion c;
static struct forward_pack pack;

#define ORIGIN 1u /* where a is attached; node 0 leads */

static void open_cluster(void)
{
    forward_nodes_open(&n, false);
    forward_agent_attach(&n, ORIGIN, &a, 0);
}

static void passes(unsigned count)
{
    while (count-- != 0)
        forward_nodes_pass(&n);
}

static void send(struct ring_request q, const char *key)
{
    CU_ASSERT_EQUAL_FATAL(ring_agent_send(&a, q, key, NULL), 0);
    ring_agent_doorbell(&n.nodes[ORIGIN], &a);
    passes(1);
}

static struct ring_request get_of(uint32_t room, bool bulk)
{
    struct ring_request q = ring_agent_request(&n.nodes[ORIGIN], &a, RING_GET, "k");
    q.value_length = room;
    if (bulk)
        q.head.flags = RING_FLAG_BULK;
    return q;
}

/* As if node from had sent it to node to. */
static void say(uint32_t from, uint32_t to, uint64_t number, const uint8_t *beside, uint32_t length)
{
    forward_seal(&pack, FORWARD_START, number);
    const struct transport_datagram d = {.to = to + 1,
                                         .head_length = pack.length,
                                         .head = pack.bytes,
                                         .bytes = beside,
                                         .length = length,
                                         .hold = hold_word(FORWARD_HOLDS, 0)};
    if (beside != NULL)
        hold_add(&n.nodes[from].lcore->cluster->holds[FORWARD_HOLDS], 0);
    CU_ASSERT_EQUAL_FATAL(transport_send(n.links[from].inner, &d, 1), 1);
    pack.length = 0;
    passes(3);
}

static uint64_t faults(uint32_t node)
{
    return forward_counted(&n, node, COUNTER_PEER_PROTOCOL);
}

static struct forward_answer answer_of(uint64_t number, uint32_t length)
{
    return (struct forward_answer){.start = FORWARD_START,
                                   .number = number,
                                   .lsn = 8,
                                   .epoch = FORWARD_START,
                                   .value_length = length,
                                   .value_here = length};
}

static void answer(uint32_t from, const struct forward_answer *with)
{
    static const uint8_t value[1000] = {1};
    CU_ASSERT_TRUE_FATAL(forward_put_answer(&pack, with, NULL, value));
    say(from, ORIGIN, 0, NULL, 0);
}

static uint64_t newest(void)
{
    return n.nodes[ORIGIN].lcore->cluster->forward->table.tail - 1;
}

static void answers_that_do_not_fit_are_refused(void)
{
    open_cluster();
    n.nodes[ORIGIN].lcore->ticks.lease *= 1000; /* nothing is given up meanwhile */
    n.links[0].fault = LINK_LOSE;
    for (unsigned bulk = 0; bulk < 2; bulk++) {
        send(get_of(64, bulk != 0), "k");
        uint64_t before = faults(ORIGIN);
        struct forward_answer wrong = answer_of(newest(), 65);
        memset(a.agent->bulk, 0, 1024);
        answer(0, &wrong); /* longer than there is room for */
        CU_ASSERT_EQUAL(faults(ORIGIN), before + 1);
        wrong = answer_of(newest(), 64);
        wrong.value_here = 0; /* a value without a byte */
        answer(0, &wrong);
        CU_ASSERT_EQUAL(faults(ORIGIN), before + 2);
        wrong = answer_of(newest(), 64);
        wrong.value_here = 32; /* a part is for the bulk buffer only */
        answer(0, &wrong);
        CU_ASSERT_EQUAL(faults(ORIGIN), before + 2 + (bulk == 0));
        CU_ASSERT_FALSE(ring_agent_take(&a, &c, NULL));
        for (unsigned i = 64; i < 1024; i++)
            CU_ASSERT_EQUAL(a.agent->bulk[i], 0);
        wrong = answer_of(newest(), 64);
        answer(2, &wrong); /* of one that was not asked */
        wrong.start++;
        answer(0, &wrong); /* to an origin that is gone */
        CU_ASSERT_EQUAL(forward_counted(&n, ORIGIN, COUNTER_FORWARDS_LATE), 2 * (bulk + 1));
        wrong = answer_of(newest(), 64);
        wrong.value_offset = bulk * 32; /* the rest of what came above */
        wrong.value_here -= bulk * 32;
        answer(0, &wrong);
        CU_ASSERT_TRUE_FATAL(ring_agent_take(&a, &c, NULL));
        CU_ASSERT_EQUAL(c.status, RING_OK);
        CU_ASSERT_EQUAL(c.value_length, 64);
    }
    /* an operation without a value */
    struct ring_request open =
        ring_agent_request(&n.nodes[ORIGIN], &a, RING_SESSION_OPEN, "0123456789abcdef");
    send(open, "0123456789abcdef");
    uint64_t before = faults(ORIGIN);
    struct forward_answer wrong = answer_of(newest(), 8);
    answer(0, &wrong);
    CU_ASSERT_EQUAL(faults(ORIGIN), before + 1);
    wrong.value_length = wrong.value_here = 0;
    wrong.how = FORWARD_MORE; /* it sends none, so there is nothing to confirm */
    answer(0, &wrong);
    CU_ASSERT_EQUAL(forward_waiting(&n, ORIGIN), 1);
    wrong.how = 0;
    answer(0, &wrong);
    CU_ASSERT_TRUE_FATAL(ring_agent_take(&a, &c, NULL));
    CU_ASSERT_EQUAL(c.status, RING_OK);
    CU_ASSERT_EQUAL(a.agent->rings[0].owed, 0);
    forward_nodes_close(&n);
}

/* Only what a write met has a number. */
static void a_get_is_not_answered_with_a_number(void)
{
    open_cluster();
    n.nodes[ORIGIN].lcore->ticks.lease *= 1000; /* nothing is given up meanwhile */
    n.links[0].fault = LINK_LOSE;
    for (unsigned bulk = 0; bulk < 2; bulk++) {
        send(get_of(0, bulk != 0), "k");
        uint64_t before = faults(ORIGIN);
        memset(a.agent->bulk, 0, 64);
        struct forward_answer wrong = answer_of(newest(), 8);
        wrong.status = RING_CONDITION;
        answer(0, &wrong);
        CU_ASSERT_EQUAL(faults(ORIGIN), before + 1);
        wrong.value_length = LIMIT_VALUE_BYTES; /* more than came, and than there is room for */
        answer(0, &wrong);
        CU_ASSERT_EQUAL(faults(ORIGIN), before + 2);
        CU_ASSERT_EQUAL(a.agent->bulk[0], 0);
        CU_ASSERT_FALSE(ring_agent_take(&a, &c, NULL));
        wrong.value_length = wrong.value_here = 0;
        answer(0, &wrong);
        CU_ASSERT_TRUE_FATAL(ring_agent_take(&a, &c, NULL));
        CU_ASSERT_EQUAL(c.status, RING_CONDITION);
    }
    CU_ASSERT_EQUAL(a.agent->rings[0].owed, 0);
    forward_nodes_close(&n);
}

static struct forward_ask ask_of(uint8_t operation)
{
    return (struct forward_ask){.number = 1,
                                .epoch = FORWARD_START,
                                .session_slot = SESSION_NONE,
                                .log = forward_shard(&n, 0)->log.number,
                                .key_length = 1,
                                .operation = operation};
}

static uint64_t datagram_number;
static void ask(const struct forward_ask *with)
{
    CU_ASSERT_TRUE_FATAL(forward_put_ask(&pack, with, "k", "value"));
    say(2, 0, ++datagram_number, NULL, 0);
}

static uint64_t answered(void)
{
    return forward_counted(&n, 2, COUNTER_FORWARDS_LATE); /* node 2 asked nothing */
}

static void asks_that_no_agent_could_send_are_not_carried_out(void)
{
    open_cluster();
    datagram_number = 0;
    struct forward_ask wrong = ask_of(RING_GET);
    ask(&wrong);
    CU_ASSERT_EQUAL(forward_counted(&n, 0, COUNTER_FORWARDS_EXECUTED), 1);
    wrong.log = 0;
    ask(&wrong);
    wrong.log = UINT32_MAX;
    ask(&wrong);
    wrong.log = forward_shard(&n, 0)->log.number + 1;
    ask(&wrong);
    wrong = ask_of(RING_GET);
    wrong.flags = RING_FLAG_BULK;
    ask(&wrong);
    wrong.flags = 0x8000;
    ask(&wrong);
    wrong.flags = RING_FLAG_COMPARE;
    ask(&wrong);
    wrong = ask_of(RING_GET);
    wrong.epoch++;
    ask(&wrong);
    wrong = ask_of(RING_PUT);
    wrong.value_length = LIMIT_VALUE_BYTES; /* more than the space allows, in parts */
    wrong.value_here = 5;
    ask(&wrong);
    CU_ASSERT_EQUAL(answered(), 9); /* named, each of them */
    CU_ASSERT_EQUAL(forward_counted(&n, 0, COUNTER_FORWARDS_EXECUTED), 1);
    CU_ASSERT_EQUAL(faults(0), 0);
    wrong = ask_of(RING_NOP);
    ask(&wrong);
    CU_ASSERT_EQUAL(faults(0), 1);
    /* one that is not sound takes those in front of it along */
    struct forward_ask get = ask_of(RING_GET);
    CU_ASSERT_TRUE_FATAL(forward_put_ask(&pack, &get, "k", NULL));
    ask(&wrong);
    CU_ASSERT_EQUAL(faults(0), 2);
    CU_ASSERT_EQUAL(forward_counted(&n, 0, COUNTER_FORWARDS_EXECUTED), 1);
    forward_nodes_close(&n);
}

static void part(uint64_t number, uint32_t offset, uint32_t here, uint32_t length)
{
    static const uint8_t bytes[64];
    struct forward_ask p = ask_of(RING_PUT);
    p.number = number;
    p.value_length = length;
    p.value_offset = offset;
    p.value_here = here;
    p.key_length = offset == 0;
    p.how = FORWARD_BESIDE;
    CU_ASSERT_TRUE_FATAL(forward_put_ask(&pack, &p, "k", NULL));
    say(2, 0, ++datagram_number, bytes, here);
}

static void parts_that_do_not_continue_are_left_lying(void)
{
    open_cluster();
    datagram_number = 0;
    part(1, 0, 16, 64);
    CU_ASSERT_EQUAL(answered(), 1);
    part(1, 32, 32, 64); /* a gap */
    part(1, 8, 8, 64);   /* again */
    part(2, 16, 16, 64); /* of nothing */
    part(1, 16, 16, 48); /* of another length */
    CU_ASSERT_EQUAL(answered(), 1);
    part(1, 16, 16, 64);
    CU_ASSERT_EQUAL(answered(), 2);
    CU_ASSERT_EQUAL(forward_counted(&n, 0, COUNTER_FORWARDS_EXECUTED), 0);
    part(1, 32, 32, 64);
    CU_ASSERT_EQUAL(answered(), 3); /* that it has no session */
    CU_ASSERT_EQUAL(forward_counted(&n, 0, COUNTER_FORWARDS_EXECUTED), 1);
    part(1, 32, 32, 64); /* it is over */
    CU_ASSERT_EQUAL(answered(), 3);
    /* more of them than there are places: the oldest goes */
    for (uint64_t i = 0; i <= LIMIT_FORWARD_PUTS; i++)
        part(10 + i, 0, 16, 64);
    CU_ASSERT_EQUAL(answered(), 3 + LIMIT_FORWARD_PUTS + 1);
    part(10, 16, 48, 64);
    CU_ASSERT_EQUAL(forward_counted(&n, 0, COUNTER_FORWARDS_EXECUTED), 1);
    part(11, 16, 48, 64);
    CU_ASSERT_EQUAL(forward_counted(&n, 0, COUNTER_FORWARDS_EXECUTED), 2);
    CU_ASSERT_EQUAL(faults(0), 0);
    forward_nodes_close(&n);
}

/* What was judged in one epoch is not carried out in another. */
static void parts_of_two_epochs_are_not_put_together(void)
{
    open_cluster();
    datagram_number = 0;
    part(1, 0, 16, 64);
    CU_ASSERT_EQUAL(answered(), 1);
    forward_nodes_lead(&n, ORIGIN);
    forward_nodes_lead(&n, 0);
    static const uint8_t bytes[48];
    struct forward_ask p = ask_of(RING_PUT);
    p.epoch = n.configuration.epoch;
    p.value_length = 64;
    p.value_offset = 16;
    p.value_here = sizeof bytes;
    p.key_length = 0;
    p.how = FORWARD_BESIDE;
    CU_ASSERT_TRUE_FATAL(forward_put_ask(&pack, &p, NULL, NULL));
    say(2, 0, ++datagram_number, bytes, sizeof bytes);
    CU_ASSERT_EQUAL(forward_counted(&n, 0, COUNTER_FORWARDS_EXECUTED), 0);
    CU_ASSERT_EQUAL(answered(), 1);
    forward_nodes_close(&n);
}

/* A leader that hears of nobody leads on, but what it says of the state may be old. */
static void what_the_state_says_leaves_only_under_the_right_to_answer(void)
{
    open_cluster();
    const struct replica *leader = &lcore_replica_at(n.nodes[0].lcore->cluster, 0)->replica;
    n.links[0].only = true;
    const struct lcore *lcore = n.nodes[0].lcore;
    for (unsigned i = 0; i < 100000 && replica_may_answer(leader, lcore->now); i++) {
        forward_nodes_pass(&n);
        (void)usleep(100);
    }
    CU_ASSERT_TRUE_FATAL(replica_leads(leader) && !replica_may_answer(leader, lcore->now));
    send(get_of(64, false), "k");
    CU_ASSERT_TRUE_FATAL(forward_agent_wait(&n, &a, &c, NULL));
    CU_ASSERT_EQUAL(c.status, RING_RETRY);
    struct ring_request put = ring_agent_request(&n.nodes[ORIGIN], &a, RING_PUT, "k");
    put.session = 1 << 16; /* unknown */
    put.session_slot = 0;
    put.sequence = 1;
    send(put, "k");
    CU_ASSERT_TRUE_FATAL(forward_agent_wait(&n, &a, &c, NULL));
    CU_ASSERT_EQUAL(c.status, RING_RETRY);
    CU_ASSERT_EQUAL(forward_counted(&n, ORIGIN, COUNTER_FORWARDED_ANSWERED), 2);
    n.links[0].only = false;
    for (unsigned i = 0; i < 100000 && !replica_may_answer(leader, lcore->now); i++)
        forward_nodes_pass(&n);
    send(get_of(64, false), "k");
    CU_ASSERT_TRUE_FATAL(forward_agent_wait(&n, &a, &c, NULL));
    CU_ASSERT_EQUAL(c.status, RING_NOT_FOUND);
    send(put, "k");
    CU_ASSERT_TRUE_FATAL(forward_agent_wait(&n, &a, &c, NULL));
    CU_ASSERT_EQUAL(c.status, RING_FATE_UNKNOWN);
    forward_nodes_close(&n);
}

/* ---- back-pressure ---- */

static uint32_t fill(struct ring_agent *who, struct ring_request q)
{
    uint32_t sent = 0;
    while (ring_agent_send(who, q, "k", NULL) == 0)
        sent++;
    ring_agent_doorbell(&n.nodes[ORIGIN], who);
    return sent;
}

static void a_full_table_leaves_requests_in_the_ring(void)
{
    struct ring_agent b;
    open_cluster();
    forward_agent_attach(&n, ORIGIN, &b, 0);
    const struct ring_request get = get_of(0, false);
    uint32_t sent = 0, answered_count = 0;
    n.links[0].fault = LINK_LOSE;
    n.nodes[ORIGIN].lcore->ticks.lease *= 1000; /* nothing is given up meanwhile */
    for (unsigned round = 0; round < 4; round++) {
        sent += fill(&a, get) + fill(&b, get);
        passes(100);
    }
    CU_ASSERT_EQUAL(forward_waiting(&n, ORIGIN), LIMIT_FORWARDS);
    CU_ASSERT(sent > LIMIT_FORWARDS);
    CU_ASSERT(forward_counted(&n, ORIGIN, COUNTER_BACK_PRESSURE) != 0);
    n.links[0].fault = LINK_WHOLE;
    n.nodes[ORIGIN].lcore->ticks.lease /= 10000; /* in the time of the test, too */
    for (unsigned i = 0; i < 100000 && answered_count < sent; i++) {
        passes(1);
        while (ring_agent_take(&a, &c, NULL) || ring_agent_take(&b, &c, NULL)) {
            CU_ASSERT(c.status == RING_RETRY || c.status == RING_NOT_FOUND);
            answered_count++;
        }
    }
    CU_ASSERT_EQUAL(answered_count, sent);
    CU_ASSERT_EQUAL(forward_waiting(&n, ORIGIN), 0);
    CU_ASSERT_EQUAL(a.agent->rings[0].owed + b.agent->rings[0].owed, 0);
    forward_nodes_close(&n);
}

/* What waits for an answer that was lost keeps nobody else from asking. */
static void a_lost_answer_holds_up_nothing_else(void)
{
    open_cluster();
    n.nodes[ORIGIN].lcore->ticks.lease *= 100000; /* nothing is given up meanwhile */
    n.links[ORIGIN].fault = LINK_LOSE;
    send(get_of(64, false), "k");
    const uint64_t lost = a.tag;
    passes(5);
    CU_ASSERT_EQUAL(n.links[ORIGIN].disturbed, 1);
    n.links[ORIGIN].fault = LINK_WHOLE;
    uint32_t found = 0;
    for (uint32_t i = 0; i < LIMIT_FORWARDS + 10; i++) {
        send(get_of(64, false), "k");
        for (unsigned k = 0; k < 1000 && !ring_agent_take(&a, &c, NULL); k++)
            passes(1);
        CU_ASSERT_EQUAL_FATAL(c.tag, a.tag);
        /* Why the other: on a busy machine we may not run for as long as a lease lasts. */
        CU_ASSERT(c.status == RING_NOT_FOUND || c.status == RING_RETRY);
        found += c.status == RING_NOT_FOUND;
    }
    CU_ASSERT(found > LIMIT_FORWARDS);
    CU_ASSERT_EQUAL(forward_waiting(&n, ORIGIN), 1);
    n.nodes[ORIGIN].lcore->ticks.lease /= 1000000; /* in the time of the test, too */
    CU_ASSERT_TRUE_FATAL(forward_agent_wait(&n, &a, &c, NULL));
    CU_ASSERT_EQUAL(c.tag, lost);
    CU_ASSERT_EQUAL(c.status, RING_RETRY);
    CU_ASSERT_EQUAL(forward_waiting(&n, ORIGIN), 0);
    CU_ASSERT_EQUAL(a.agent->rings[0].owed, 0);
    forward_nodes_close(&n);
}

/* Why the other: on a busy machine the leader may not run for as long as its right to answer lasts. */
static bool is_unknown_session(uint32_t status)
{
    return status == RING_FATE_UNKNOWN || status == RING_RETRY;
}

static void a_full_transport_leaves_requests_in_the_ring(void)
{
    static const uint8_t value[20000];
    open_cluster();
    struct ring_request put = ring_agent_request(&n.nodes[ORIGIN], &a, RING_PUT, "k");
    put.session = 1 << 16; /* unknown */
    put.session_slot = 0;
    put.value_length = sizeof value;
    n.links[ORIGIN].refuses = true;
    CU_ASSERT_EQUAL(ring_agent_send(&a, put, "k", value), 0);
    ring_agent_doorbell(&n.nodes[ORIGIN], &a);
    passes(20);
    CU_ASSERT_EQUAL(forward_counted(&n, ORIGIN, COUNTER_FORWARDED), 0);
    CU_ASSERT(forward_counted(&n, ORIGIN, COUNTER_BACK_PRESSURE) >= 10);
    CU_ASSERT_EQUAL(n.nodes[ORIGIN].lcore->cluster->holds[FORWARD_HOLDS].total, 0);
    n.links[ORIGIN].refuses = false;
    CU_ASSERT_TRUE_FATAL(forward_agent_wait(&n, &a, &c, NULL));
    CU_ASSERT(is_unknown_session(c.status));
    CU_ASSERT_EQUAL(forward_counted(&n, ORIGIN, COUNTER_FORWARDED_ANSWERED), 1);
    CU_ASSERT_EQUAL(faults(0), 0); /* nothing of what was refused is sent by halves */
    forward_nodes_close(&n);
}

/* A buffer that the transport may still read is not written. */
static void without_a_buffer_requests_stay_in_the_ring(void)
{
    static const uint8_t value[FORWARD_SMALL_BYTES + 1];
    open_cluster();
    struct ring_request put = ring_agent_request(&n.nodes[ORIGIN], &a, RING_PUT, "k");
    put.session = 1 << 16; /* unknown */
    put.session_slot = 0;
    put.value_length = sizeof value;
    for (unsigned i = 0; i < LIMIT_FORWARD_BUFFERS + 6; i++)
        CU_ASSERT_EQUAL_FATAL(ring_agent_send(&a, put, "k", value), 0);
    ring_agent_doorbell(&n.nodes[ORIGIN], &a);
    ring_node_passes(&n.nodes[ORIGIN], 5); /* the leader reads nothing meanwhile */
    CU_ASSERT_EQUAL(forward_counted(&n, ORIGIN, COUNTER_FORWARDED), LIMIT_FORWARD_BUFFERS);
    CU_ASSERT(forward_counted(&n, ORIGIN, COUNTER_BACK_PRESSURE) != 0);
    for (unsigned i = 0; i < LIMIT_FORWARD_BUFFERS + 6; i++) {
        CU_ASSERT_TRUE_FATAL(forward_agent_wait(&n, &a, &c, NULL));
        CU_ASSERT(is_unknown_session(c.status));
    }
    forward_nodes_close(&n);
}

static const struct unit_test tests[] = {
    UNIT_TEST(answers_that_do_not_fit_are_refused),
    UNIT_TEST(a_get_is_not_answered_with_a_number),
    UNIT_TEST(asks_that_no_agent_could_send_are_not_carried_out),
    UNIT_TEST(parts_that_do_not_continue_are_left_lying),
    UNIT_TEST(parts_of_two_epochs_are_not_put_together),
    UNIT_TEST(what_the_state_says_leaves_only_under_the_right_to_answer),
    UNIT_TEST(a_full_table_leaves_requests_in_the_ring),
    UNIT_TEST(a_lost_answer_holds_up_nothing_else),
    UNIT_TEST(a_full_transport_leaves_requests_in_the_ring),
    UNIT_TEST(without_a_buffer_requests_stay_in_the_ring),
};
UNIT_MAIN("poll_forward_bounds", tests)
