/* Transactions and increments of agents at a node that does not lead: carried out once, whatever becomes of
 * their datagrams and of the leader, and refused where a release is too old for them. */
#include "tests/unit/dataplane/forward_nodes.h"
#include "tests/unit/unit.h"

#include "engine/hash.h"
#include "engine/session.h"

#include <stdlib.h>
#include <unistd.h>

#define PART_BYTES 4096u

static struct forward_nodes n;
static struct ring_agent a, b;
static struct ring_completion c;
static uint8_t got[1u << 17];

struct session_named {
    uint64_t lsn;
    uint32_t slot;
    uint64_t sequence;
};

/* a is attached to node 1; b is with the first leader, node 0. */
static struct session_named open_all(void);

static uint32_t ask(struct ring_agent *who, struct ring_request q, const char *key,
                    const void *value)
{
    q.tag = ++who->tag;
    CU_ASSERT_EQUAL_FATAL(ring_agent_send(who, q, key, value), 0);
    forward_agent_ring(&n, who);
    CU_ASSERT_TRUE_FATAL(forward_agent_wait(&n, who, &c, got));
    CU_ASSERT_EQUAL(c.tag, q.tag);
    return c.status;
}

/* As libdunlin does: the same again until it is something else than RETRY. */
static uint32_t insist(struct ring_agent *who, struct ring_request q, const char *key,
                       const void *value)
{
    uint32_t status = RING_RETRY;
    for (unsigned i = 0; i < 1000 && status == RING_RETRY; i++)
        status = ask(who, q, key, value);
    return status;
}

static struct session_named session_open_in(struct ring_agent *who, const char *id16)
{
    struct ring_request q = ring_agent_request(&n.nodes[0], who, RING_SESSION_OPEN, id16);
    CU_ASSERT_EQUAL_FATAL(insist(who, q, id16, NULL), RING_OK);
    return (struct session_named){.lsn = c.lsn, .slot = c.session_slot};
}

static struct session_named open_all(void)
{
    forward_nodes_open(&n, false);
    forward_agent_attach(&n, 1, &a, 0);
    forward_agent_attach(&n, 0, &b, 0);
    return session_open_in(&a, "0123456789abcdef");
}

static void close_all(void)
{
    for (uint32_t i = 0; i < FORWARD_NODES; i++) {
        CU_ASSERT_EQUAL(forward_waiting(&n, i), 0);
        CU_ASSERT_EQUAL(forward_counted(&n, i, COUNTER_PEER_PROTOCOL), 0);
    }
    CU_ASSERT_EQUAL(a.agent->rings[0].owed, 0);
    forward_nodes_close(&n);
}

static struct ring_request write_in(struct ring_agent *who, struct session_named *s,
                                    uint8_t operation, const char *key, uint32_t value_length)
{
    struct ring_request q = ring_agent_request(&n.nodes[0], who, operation, key);
    q.session = s->lsn;
    q.session_slot = s->slot;
    q.sequence = ++s->sequence;
    q.value_length = value_length;
    return q;
}

static struct ring_request increment(struct session_named *s)
{
    return write_in(&a, s, RING_INCREMENT, "n", sizeof(int64_t));
}

/* ---- packed items ---- */

struct packed {
    uint32_t length;
    alignas(8) uint8_t bytes[1u << 17];
};

static void add(struct packed *p, struct ring_item item, const char *key, const void *value)
{
    uint8_t *at = p->bytes + p->length;
    item.key_length = (uint16_t)strlen(key);
    memcpy(at, &item, sizeof item);
    at = ring_put_padded(at + sizeof item, key, item.key_length);
    at = ring_put_padded(at, value, item.value_length);
    p->length = (uint32_t)(at - p->bytes);
}

/* If there is no key k, put it and add 1 to n; else add 100 and delete k. */
static struct packed *either(uint32_t value_length)
{
    static struct packed p;
    static uint8_t value[1u << 16];
    static const int64_t one = 1, hundred = 100;
    p.length = 0;
    memset(value, 'v', sizeof value);
    add(&p,
        (struct ring_item){
            .section = RING_SECTION_COMPARE, .operation = RING_NOP, .compare = RING_COMPARE_ABSENT},
        "k", "");
    add(&p, (struct ring_item){.operation = RING_PUT, .value_length = value_length}, "k", value);
    add(&p, (struct ring_item){.operation = RING_INCREMENT, .value_length = 8}, "n", &one);
    add(&p,
        (struct ring_item){
            .section = RING_SECTION_ELSE, .operation = RING_INCREMENT, .value_length = 8},
        "n", &hundred);
    add(&p, (struct ring_item){.section = RING_SECTION_ELSE, .operation = RING_DELETE}, "k", "");
    return &p;
}

static bool value_is(const char *key, const char *expected)
{
    struct ring_request q = ring_agent_request(&n.nodes[0], &b, RING_GET, key);
    q.value_length = 1000;
    return insist(&b, q, key, NULL) == RING_OK && c.value_length == strlen(expected) &&
           memcmp(got, expected, strlen(expected)) == 0;
}

/* ---- tests ---- */

static void numbers_and_branches_come_back(void)
{
    struct session_named s = open_all();
    const int64_t five = 5, most = INT64_MAX;
    CU_ASSERT_EQUAL(ask(&a, increment(&s), "n", &five), RING_OK);
    CU_ASSERT_EQUAL(c.number, 5);
    CU_ASSERT_EQUAL(c.value_length, 0);
    CU_ASSERT_EQUAL(ask(&a, increment(&s), "n", &most), RING_RANGE);
    CU_ASSERT_EQUAL(c.number, 0);
    for (uint32_t i = 0; i < 4; i++) {
        const struct packed *p = either(10);
        CU_ASSERT_EQUAL(
            ask(&a, write_in(&a, &s, RING_TRANSACTION, NULL, p->length), NULL, p->bytes), RING_OK);
        CU_ASSERT_EQUAL(c.number, i % 2 == 0);
        s.sequence--; /* the same again is the same answer */
        CU_ASSERT_EQUAL(
            ask(&a, write_in(&a, &s, RING_TRANSACTION, NULL, p->length), NULL, p->bytes), RING_OK);
        CU_ASSERT_EQUAL(c.number, i % 2 == 0);
    }
    CU_ASSERT_TRUE(value_is("n", "207"));
    CU_ASSERT_EQUAL(forward_counted(&n, 0, COUNTER_DUPLICATES), 4);
    close_all();
}

/* From the ring and from the bulk buffer, whose bytes an agent may change while they are on their way: what
 * arrives is judged as a whole, and no item is torn. */
static void long_ones_travel_in_parts(void)
{
    struct session_named s = open_all();
    for (uint32_t i = 0; i < FORWARD_NODES; i++)
        n.nodes[i].lcore->cluster->forward->part_bytes = PART_BYTES;
    const uint32_t lengths[] = {1, PART_BYTES - 150, PART_BYTES, 5 * PART_BYTES + 3,
                                14 * PART_BYTES};
    int64_t sum = 0;
    for (uint32_t i = 0; i < 2 * sizeof lengths / sizeof lengths[0]; i++) {
        const struct packed *p = either(lengths[i / 2]);
        struct ring_request q = write_in(&a, &s, RING_TRANSACTION, NULL, p->length);
        q.head.flags = RING_FLAG_BULK;
        q.bulk_offset = 64;
        memcpy(a.agent->bulk + 64, p->bytes, p->length);
        CU_ASSERT_EQUAL(insist(&a, q, NULL, NULL), RING_OK);
        CU_ASSERT_EQUAL(c.number, i % 2 == 0);
        sum += i % 2 == 0 ? 1 : 100;
    }
    char text[24];
    (void)snprintf(text, sizeof text, "%d", (int)sum);
    CU_ASSERT_TRUE(value_is("n", text));
    /* one that is torn is refused, and its number is free again */
    const struct packed *p = either(5 * PART_BYTES);
    struct ring_request q = write_in(&a, &s, RING_TRANSACTION, NULL, p->length);
    q.head.flags = RING_FLAG_BULK;
    memcpy(a.agent->bulk, p->bytes, p->length);
    memset(a.agent->bulk + p->length - 32, 0xff, 8);
    CU_ASSERT_EQUAL(insist(&a, q, NULL, NULL), RING_INPUT);
    s.sequence--;
    const int64_t one = 1;
    CU_ASSERT_EQUAL(insist(&a, increment(&s), "n", &one), RING_OK);
    CU_ASSERT_EQUAL(c.number, sum + 1);
    close_all();
}

static void over_a_bad_link_each_counts_once(void)
{
    struct session_named s = open_all();
    int64_t sum = 0;
    forward_nodes_give_up_soon(&n, true);
    for (unsigned i = 0; i < FORWARD_NODES; i++)
        n.links[i].fault = LINK_RANDOM;
    for (int64_t i = 1; i <= 100; i++) {
        CU_ASSERT_EQUAL_FATAL(insist(&a, increment(&s), "n", &i), RING_OK);
        sum += i;
        CU_ASSERT_EQUAL(c.number, sum);
        const struct packed *p = either(20);
        CU_ASSERT_EQUAL_FATAL(
            insist(&a, write_in(&a, &s, RING_TRANSACTION, NULL, p->length), NULL, p->bytes),
            RING_OK);
        sum += c.number == 1 ? 1 : 100;
        CU_ASSERT_EQUAL(c.number, i % 2);
    }
    CU_ASSERT(n.links[0].disturbed > 20 && n.links[1].disturbed > 20);
    CU_ASSERT(forward_counted(&n, 1, COUNTER_FORWARDED_RETRIED) != 0);
    close_all();
}

/* Caught at another station each time: sent, carried out, answered. */
static void leaders_move_under_increments(void)
{
    struct session_named s = open_all();
    const int64_t one = 1;
    forward_nodes_shorten(&n);
    for (uint32_t i = 0; i < 24; i++) {
        struct ring_request q = increment(&s);
        q.tag = ++a.tag;
        CU_ASSERT_EQUAL_FATAL(ring_agent_send(&a, q, "n", &one), 0);
        forward_agent_ring(&n, &a);
        for (uint32_t node = 0; node < i % 5; node++)
            ring_node_passes(&n.nodes[(node + 1) % FORWARD_NODES], 1);
        forward_nodes_lead(&n, (i + 1) % FORWARD_NODES);
        CU_ASSERT_TRUE_FATAL(forward_agent_wait(&n, &a, &c, got));
        if (c.status == RING_RETRY)
            CU_ASSERT_EQUAL_FATAL(insist(&a, q, "n", &one), RING_OK);
        CU_ASSERT_EQUAL_FATAL(c.status, RING_OK);
        CU_ASSERT_EQUAL(c.number, (int64_t)i + 1);
    }
    CU_ASSERT_TRUE(value_is("n", "24"));
    CU_ASSERT(forward_counted(&n, 1, COUNTER_FORWARDED_RETRIED) != 0);
    close_all();
}

static void older_releases_are_not_told_of_them(void)
{
    struct session_named s = open_all(), mine = session_open_in(&b, "fedcba9876543210");
    const int64_t one = 1;
    const struct packed *p = either(10);
    /* the leader speaks 2, as far as the origin knows */
    n.links[1].version = 2;
    CU_ASSERT_EQUAL(ask(&a, increment(&s), "n", &one), RING_UNSUPPORTED);
    CU_ASSERT_EQUAL(forward_counted(&n, 0, COUNTER_FORWARDS_EXECUTED), 1); /* the session */
    s.sequence--;
    CU_ASSERT_EQUAL(ask(&a, write_in(&a, &s, RING_PUT, "x", 1), "x", "1"), RING_OK);
    /* a peer of the shard speaks 2, as far as the leader knows */
    n.links[1].version = 0;
    n.links[0].version = 2;
    uint64_t end = forward_shard(&n, 0)->log.lsn_end;
    CU_ASSERT_EQUAL(ask(&a, increment(&s), "n", &one), RING_UNSUPPORTED);
    s.sequence--;
    struct ring_request q = write_in(&b, &mine, RING_INCREMENT, "n", 8);
    CU_ASSERT_EQUAL(ask(&b, q, "n", &one), RING_UNSUPPORTED);
    q = write_in(&b, &mine, RING_TRANSACTION, NULL, p->length);
    q.sequence = mine.sequence = 1;
    CU_ASSERT_EQUAL(ask(&b, q, NULL, p->bytes), RING_UNSUPPORTED);
    CU_ASSERT_EQUAL(forward_shard(&n, 0)->log.lsn_end, end);
    CU_ASSERT_EQUAL(ask(&a, write_in(&a, &s, RING_PUT, "x", 1), "x", "2"), RING_OK);
    n.links[0].version = 3;
    CU_ASSERT_EQUAL(ask(&b, q, NULL, p->bytes), RING_OK);
    CU_ASSERT_EQUAL(ask(&a, increment(&s), "n", &one), RING_OK);
    CU_ASSERT_EQUAL(c.number, 2);
    close_all();
}

/* A leader that has not heard of a peer since its start: it says "try again" for as long as one that runs may
 * take, and goes on without it then, for it is down; what it speaks when it comes counts from there on. */
static void who_was_never_heard_of_is_waited_for_and_then_down(void)
{
    struct session_named s = open_all();
    struct lcore *leader = n.nodes[0].lcore;
    struct lcore_forward *f = leader->cluster->forward;
    const int64_t one = 1;
    n.links[0].unheard = true;
    struct ring_request put = write_in(&a, &s, RING_PUT, "x", 1);
    CU_ASSERT_EQUAL(ask(&a, put, "x", "1"), RING_OK);
    struct ring_request q = increment(&s);
    uint64_t end = forward_shard(&n, 0)->log.lsn_end;
    f->ticks_began = leader->now + 3600 * leader->node->ticks_per_s; /* not long ago, for an hour */
    CU_ASSERT_EQUAL(ask(&a, q, "n", &one), RING_RETRY);
    CU_ASSERT_EQUAL(c.epoch, 0); /* nothing was appended */
    CU_ASSERT_EQUAL(forward_shard(&n, 0)->log.lsn_end, end);
    f->ticks_began = 1; /* long ago */
    CU_ASSERT_EQUAL(ask(&a, q, "n", &one), RING_OK);
    CU_ASSERT_EQUAL(c.number, 1);
    n.links[0].unheard = false;
    n.links[0].version = 2;
    q = increment(&s);
    CU_ASSERT_EQUAL(ask(&a, q, "n", &one), RING_UNSUPPORTED);
    n.links[0].unheard = true; /* down again: it comes back as it went */
    n.links[0].version = 0;
    CU_ASSERT_EQUAL(ask(&a, q, "n", &one), RING_UNSUPPORTED);
    n.links[0].unheard = false;
    CU_ASSERT_EQUAL(ask(&a, q, "n", &one), RING_OK);
    CU_ASSERT_EQUAL(c.number, 2);
    close_all();
}

/* While nothing is agreed with the leader, which may just have started, nobody knows what it speaks. */
static void a_leader_that_is_not_up_yet_is_asked_again(void)
{
    struct session_named s = open_all();
    const int64_t one = 1;
    n.links[1].unheard = true;
    struct ring_request put = write_in(&a, &s, RING_PUT, "x", 1);
    CU_ASSERT_EQUAL(ask(&a, put, "x", "1"), RING_RETRY);
    CU_ASSERT_EQUAL(ask(&a, increment(&s), "n", &one), RING_RETRY);
    n.links[1].unheard = false;
    s.sequence = 0;
    CU_ASSERT_EQUAL(ask(&a, write_in(&a, &s, RING_PUT, "x", 1), "x", "1"), RING_OK);
    CU_ASSERT_EQUAL(ask(&a, increment(&s), "n", &one), RING_OK);
    close_all();
}

static const struct unit_test tests[] = {
    UNIT_TEST(numbers_and_branches_come_back),
    UNIT_TEST(long_ones_travel_in_parts),
    UNIT_TEST(over_a_bad_link_each_counts_once),
    UNIT_TEST(leaders_move_under_increments),
    UNIT_TEST(older_releases_are_not_told_of_them),
    UNIT_TEST(who_was_never_heard_of_is_waited_for_and_then_down),
    UNIT_TEST(a_leader_that_is_not_up_yet_is_asked_again),
};
UNIT_MAIN("poll_transaction", tests)
