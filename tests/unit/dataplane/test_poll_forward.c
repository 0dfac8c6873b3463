/* Agents of a node that does not lead: their operations go to the leader and come back, once. */
#include "tests/unit/dataplane/forward_nodes.h"
#include "tests/unit/unit.h"

#include "dataplane/transport_mem.h"
#include "engine/session.h"

#include <stdlib.h>
#include <unistd.h>

static struct forward_nodes n;
static struct ring_agent a, b;
static struct ring_completion c;
static uint8_t got[1u << 18];

static const char id_a[] = "0123456789abcdef", id_b[] = "fedcba9876543210";

/* ---- small words ---- */

struct session_named {
    uint64_t lsn;
    uint32_t slot;
    uint64_t sequence;
};

/* node: where a is attached; b is with the leader. */
static void open_at(uint32_t node, bool read_leases)
{
    forward_nodes_open(&n, read_leases);
    forward_agent_attach(&n, node, &a, 0);
    forward_agent_attach(&n, 0, &b, 0);
}

static uint32_t ask(struct ring_agent *who, struct ring_request q, const char *key,
                    const void *value)
{
    CU_ASSERT_EQUAL_FATAL(ring_agent_send(who, q, key, value), 0);
    forward_agent_ring(&n, who);
    CU_ASSERT_TRUE_FATAL(forward_agent_wait(&n, who, &c, got));
    CU_ASSERT_EQUAL(c.tag, q.tag);
    CU_ASSERT_EQUAL(c.head.operation, q.head.operation);
    return c.status;
}

/* As libdunlin does: the same again until it is something else than RETRY. */
static uint32_t insist(struct ring_agent *who, struct ring_request q, const char *key,
                       const void *value)
{
    uint32_t status = ask(who, q, key, value);
    for (unsigned i = 0; i < 1000 && status == RING_RETRY; i++) {
        q.tag = ++who->tag;
        status = ask(who, q, key, value);
    }
    return status;
}

static struct ring_request request(struct ring_agent *who, uint8_t operation, const char *key)
{
    return ring_agent_request(&n.nodes[0], who, operation, key);
}

static struct session_named session_open_in(struct ring_agent *who, const char *id16)
{
    struct ring_request q = request(who, RING_SESSION_OPEN, id16);
    CU_ASSERT_EQUAL(insist(who, q, id16, NULL), RING_OK);
    return (struct session_named){.lsn = c.lsn, .slot = c.session_slot};
}

static struct ring_request write_in(struct ring_agent *who, struct session_named *s,
                                    uint8_t operation, const char *key, uint32_t value_length)
{
    struct ring_request q = request(who, operation, key);
    q.session = s->lsn;
    q.session_slot = s->slot;
    q.sequence = ++s->sequence;
    q.value_length = value_length;
    return q;
}

static struct ring_request get_of(struct ring_agent *who, const char *key)
{
    struct ring_request q = request(who, RING_GET, key);
    q.value_length = 1000;
    return q;
}

static uint64_t owed(const struct ring_agent *who)
{
    return who->agent->rings[0].owed;
}

/* Nothing waits anywhere, and nothing is owed to anybody. */
static void close_all(void)
{
    for (uint32_t i = 0; i < FORWARD_NODES; i++)
        CU_ASSERT_EQUAL(forward_waiting(&n, i), 0);
    CU_ASSERT_EQUAL(owed(&a), 0);
    CU_ASSERT_EQUAL(owed(&b), 0);
    CU_ASSERT_EQUAL(atomic_load_explicit(&a.agent->fault, memory_order_relaxed), 0);
    forward_nodes_close(&n);
}

/* ---- every operation ---- */

static void every_operation_is_answered(void)
{
    open_at(1, false);
    struct session_named s = session_open_in(&a, id_a);
    CU_ASSERT_EQUAL(session_open_in(&b, id_a).lsn, s.lsn); /* the leader has it */
    CU_ASSERT_EQUAL(ask(&a, write_in(&a, &s, RING_PUT, "heron", 5), "heron", "grey!"), RING_OK);
    uint64_t version = c.lsn;
    CU_ASSERT(version > s.lsn);
    CU_ASSERT_EQUAL(c.sequence, 1);
    CU_ASSERT_EQUAL(c.epoch, n.configuration.epoch);
    CU_ASSERT_EQUAL(c.log, forward_shard(&n, 0)->log.number);
    CU_ASSERT_EQUAL(c.session_slot, s.slot);

    CU_ASSERT_EQUAL(ask(&a, get_of(&a, "heron"), "heron", NULL), RING_OK);
    CU_ASSERT_EQUAL(c.lsn, version);
    CU_ASSERT_EQUAL(c.value_length, 5);
    CU_ASSERT_EQUAL(memcmp(got, "grey!", 5), 0);
    struct ring_request small = get_of(&a, "heron");
    small.value_length = 4;
    CU_ASSERT_EQUAL(ask(&a, small, "heron", NULL), RING_TOO_LARGE);
    CU_ASSERT_EQUAL(c.value_length, 5);

    struct ring_request cas = write_in(&a, &s, RING_PUT, "heron", 5);
    cas.head.flags = RING_FLAG_COMPARE;
    cas.expected_lsn = version + 8;
    CU_ASSERT_EQUAL(ask(&a, cas, "heron", "white"), RING_CONDITION);
    CU_ASSERT_EQUAL(c.lsn, version);
    cas = write_in(&a, &s, RING_PUT, "heron", 5);
    cas.head.flags = RING_FLAG_COMPARE;
    cas.expected_lsn = version;
    CU_ASSERT_EQUAL(ask(&a, cas, "heron", "white"), RING_OK);
    CU_ASSERT_EQUAL(ask(&b, get_of(&b, "heron"), "heron", NULL), RING_OK);
    CU_ASSERT_EQUAL(memcmp(got, "white", 5), 0);
    CU_ASSERT_EQUAL(ask(&a, write_in(&a, &s, RING_DELETE, "heron", 0), "heron", NULL), RING_OK);
    CU_ASSERT_EQUAL(ask(&a, get_of(&a, "heron"), "heron", NULL), RING_NOT_FOUND);
    CU_ASSERT_EQUAL(ask(&a, request(&a, RING_SESSION_CLOSE, id_a), id_a, NULL), RING_OK);
    struct ring_request open = request(&a, RING_SESSION_OPEN, id_a);
    open.head.flags = RING_FLAG_EXISTING;
    CU_ASSERT_EQUAL(ask(&a, open, id_a, NULL), RING_FATE_UNKNOWN);
    CU_ASSERT_EQUAL(forward_counted(&n, 1, COUNTER_FORWARDED), 10);
    CU_ASSERT_EQUAL(forward_counted(&n, 1, COUNTER_FORWARDED_ANSWERED), 10);
    CU_ASSERT_EQUAL(forward_counted(&n, 0, COUNTER_FORWARDS_EXECUTED), 10);
    CU_ASSERT_EQUAL(forward_counted(&n, 0, COUNTER_FORWARDED), 0);
    CU_ASSERT_EQUAL(forward_counted(&n, 0, COUNTER_PEER_PROTOCOL), 0);
    CU_ASSERT_EQUAL(forward_counted(&n, 1, COUNTER_PEER_PROTOCOL), 0);
    close_all();
}

static void refusals_are_named(void)
{
    struct ring_agent stranger;
    open_at(2, false);
    forward_agent_attach(&n, 2, &stranger, 2000);
    struct session_named s = session_open_in(&a, id_a);
    struct ring_request put = write_in(&stranger, &s, RING_PUT, "k", 1);
    s.sequence--;
    uint64_t forwarded = forward_counted(&n, 2, COUNTER_FORWARDED);
    CU_ASSERT_EQUAL(ask(&stranger, put, "k", "1"), RING_ACCESS); /* judged where it is attached */
    CU_ASSERT_EQUAL(forward_counted(&n, 2, COUNTER_FORWARDED), forwarded);
    node_agent_detach(&n.nodes[2].node, stranger.agent);
    forward_agent_attach(&n, 2, &stranger, 1000); /* may write, but has not opened the session */
    CU_ASSERT_EQUAL(ask(&stranger, put, "k", "1"), RING_FATE_UNKNOWN);
    CU_ASSERT_EQUAL(ask(&a, write_in(&a, &s, RING_PUT, "k", 1), "k", "1"), RING_OK);
    struct session_named none = {.lsn = 0, .slot = SESSION_NONE};
    CU_ASSERT_EQUAL(ask(&a, write_in(&a, &none, RING_PUT, "k", 1), "k", "1"), RING_FATE_UNKNOWN);
    for (unsigned i = 0; i < LIMIT_SESSION_WINDOW; i++)
        CU_ASSERT_EQUAL(ask(&a, write_in(&a, &s, RING_PUT, "k", 1), "k", "1"), RING_OK);
    put = write_in(&a, &s, RING_PUT, "k", 1);
    put.sequence = 1; /* older than the results that are kept */
    CU_ASSERT_EQUAL(ask(&a, put, "k", "1"), RING_SEQUENCE);
    put.tag = ++a.tag;
    put.sequence = s.sequence + 1; /* a gap: what is before it may have been lost on the way */
    CU_ASSERT_EQUAL(ask(&a, put, "k", "1"), RING_RETRY);
    CU_ASSERT_EQUAL(c.epoch, 0);
    close_all();
}

static void a_holder_of_a_read_lease_answers_in_place(void)
{
    open_at(1, true);
    struct session_named s = session_open_in(&a, id_a);
    CU_ASSERT_EQUAL(ask(&a, write_in(&a, &s, RING_PUT, "k", 1), "k", "1"), RING_OK);
    const struct lcore_cluster *cluster = n.nodes[1].lcore->cluster;
    for (unsigned i = 0; i < 100000 && !lcore_replica_at(cluster, 0)->replica.may_read; i++)
        forward_nodes_pass(&n);
    uint64_t forwarded = forward_counted(&n, 1, COUNTER_FORWARDED);
    CU_ASSERT_EQUAL(insist(&a, get_of(&a, "k"), "k", NULL), RING_OK);
    CU_ASSERT_EQUAL(got[0], '1');
    CU_ASSERT_EQUAL(forward_counted(&n, 1, COUNTER_FORWARDED), forwarded);
    close_all();
}

/* Many of one pass share a datagram. */
static void what_is_asked_together_travels_together(void)
{
    open_at(1, false);
    struct session_named s = session_open_in(&a, id_a);
    uint64_t datagrams = n.nodes[1].lcore->cluster->forward->peers[0].asks_sent;
    for (unsigned i = 0; i < 64; i++)
        CU_ASSERT_EQUAL(ring_agent_send(&a, write_in(&a, &s, RING_PUT, "k", 8), "k", "12345678"),
                        0);
    forward_agent_ring(&n, &a);
    for (unsigned i = 1; i <= 64; i++) {
        CU_ASSERT_TRUE_FATAL(forward_agent_wait(&n, &a, &c, got));
        CU_ASSERT_EQUAL(c.status, RING_OK);
        CU_ASSERT_EQUAL(c.sequence, i);
    }
    CU_ASSERT_EQUAL(n.nodes[1].lcore->cluster->forward->peers[0].asks_sent, datagrams + 2);
    close_all();
}

/* ---- values ---- */

static void fill(uint8_t *bytes, uint32_t length, uint32_t seed)
{
    for (uint32_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)((i + seed) * 2654435761u >> 13);
}

static uint32_t put_bulk(struct session_named *s, uint32_t length, uint32_t seed)
{
    struct ring_request put = write_in(&a, s, RING_PUT, "k", length);
    put.head.flags = RING_FLAG_BULK;
    put.bulk_offset = 64;
    fill(a.agent->bulk + 64, length, seed);
    return insist(&a, put, "k", NULL);
}

static uint32_t get_bulk(uint32_t room)
{
    struct ring_request get = request(&a, RING_GET, "k");
    get.head.flags = RING_FLAG_BULK;
    get.bulk_offset = 8;
    get.value_length = room;
    memset(a.agent->bulk, 0, a.agent->file.bulk_bytes);
    return insist(&a, get, "k", NULL);
}

/* So that values need several rounds of parts without being long. */
static void make_parts_short(void)
{
    for (uint32_t i = 0; i < FORWARD_NODES; i++)
        n.nodes[i].lcore->cluster->forward->part_bytes = 4096;
}

#define LONG (20 * 4096u + 7)

static const uint32_t lengths[] = {0,    1,    1023,  1024,  1025,  2000,  4088, 4095,  4096,
                                   4097, 8192, 16383, 16384, 16385, 32768, LONG, 100000};

static void go_both_ways(uint32_t length, struct session_named *s)
{
    static uint8_t value[100000];
    fill(value, length, length);
    CU_ASSERT_EQUAL(put_bulk(s, length, length), RING_OK);
    CU_ASSERT_EQUAL(get_bulk(sizeof value), RING_OK);
    CU_ASSERT_EQUAL(c.value_length, length);
    CU_ASSERT_EQUAL(memcmp(a.agent->bulk + 8, value, length), 0);
}

static void values_of_every_length_go_both_ways(void)
{
    open_at(1, false);
    struct session_named s = session_open_in(&a, id_a);
    for (uint32_t i = 0; i < 2 * sizeof lengths / sizeof lengths[0]; i++) {
        uint32_t length = lengths[i / 2];
        go_both_ways(length, &s);
        if (length != 0) {
            CU_ASSERT_EQUAL(get_bulk(length - 1), RING_TOO_LARGE);
            CU_ASSERT_EQUAL(c.value_length, length);
        }
        if (i % 2 == 0)
            make_parts_short();
    }
    CU_ASSERT_EQUAL(forward_counted(&n, 1, COUNTER_FORWARDED_RETRIED), 0);
    for (uint32_t i = 0; i < 3; i++)
        forward_nodes_pass(&n);
    CU_ASSERT_EQUAL(n.nodes[1].lcore->cluster->holds[FORWARD_HOLDS].total, 0);
    CU_ASSERT_EQUAL(n.nodes[0].lcore->cluster->holds[RING_AGENT_SPACE].total, 0);
    close_all();
}

/* Parts of two versions are never one value. */
static void a_value_that_changes_meanwhile_is_asked_for_again(void)
{
    open_at(1, false);
    make_parts_short();
    struct session_named s = session_open_in(&a, id_a), t = session_open_in(&b, id_b);
    CU_ASSERT_EQUAL(put_bulk(&s, LONG, 1), RING_OK);
    struct ring_request get = request(&a, RING_GET, "k");
    get.head.flags = RING_FLAG_BULK;
    get.value_length = LONG;
    /* the second: as long as what is here by then */
    static const uint32_t changed[] = {3, LIMIT_FORWARD_PARTS * 4096u, LONG};
    for (uint32_t i = 0; i < sizeof changed / sizeof changed[0]; i++) {
        uint32_t length = changed[i];
        uint64_t given_up = forward_counted(&n, 1, COUNTER_FORWARDED_RETRIED);
        CU_ASSERT_EQUAL(ring_agent_send(&a, get, "k", NULL), 0);
        forward_agent_ring(&n, &a);
        ring_node_passes(&n.nodes[1], 1);
        ring_node_passes(&n.nodes[0], 1); /* the first parts are on their way */
        struct ring_request put = write_in(&b, &t, RING_PUT, "k", length);
        put.head.flags = RING_FLAG_BULK;
        CU_ASSERT_EQUAL(ring_agent_send(&b, put, "k", NULL), 0);
        forward_agent_ring(&n, &b);
        ring_node_passes(&n.nodes[0], 1);
        CU_ASSERT_TRUE_FATAL(forward_agent_wait(&n, &a, &c, got));
        CU_ASSERT_EQUAL(c.status, RING_RETRY);
        /* said by the leader where there is no rest, by the other version where there is one */
        CU_ASSERT_EQUAL(forward_counted(&n, 1, COUNTER_FORWARDED_RETRIED),
                        given_up + (length == LONG));
        CU_ASSERT_TRUE_FATAL(forward_agent_wait(&n, &b, &c, got));
        CU_ASSERT_EQUAL(c.status, RING_OK);
        get.tag = ++a.tag;
        CU_ASSERT_EQUAL(ask(&a, get, "k", NULL), RING_OK);
        CU_ASSERT_EQUAL(c.value_length, length);
        CU_ASSERT_EQUAL(put_bulk(&s, LONG, 1), RING_OK);
    }
    close_all();
}

static void values_in_the_ring_go_both_ways(void)
{
    static uint8_t value[64000];
    open_at(1, false);
    struct session_named s = session_open_in(&a, id_a);
    for (uint32_t length = 0; length <= sizeof value; length += 1489) {
        fill(value, length, length);
        CU_ASSERT_EQUAL(ask(&a, write_in(&a, &s, RING_PUT, "k", length), "k", value), RING_OK);
        struct ring_request get = request(&a, RING_GET, "k");
        get.value_length = sizeof value;
        /* one datagram answers into the ring; what is longer goes to the bulk buffer */
        bool fits = length <= FORWARD_PART_BYTES;
        CU_ASSERT_EQUAL(ask(&a, get, "k", NULL), fits ? RING_OK : RING_TOO_LARGE);
        CU_ASSERT_EQUAL(c.value_length, length);
        if (!fits)
            CU_ASSERT_EQUAL(get_bulk(sizeof value), RING_OK);
        CU_ASSERT_EQUAL(memcmp(fits ? got : a.agent->bulk + 8, value, length), 0);
    }
    for (uint32_t i = 0; i < FORWARD_NODES; i++) /* more parts than there are buffers */
        n.nodes[i].lcore->cluster->forward->part_bytes = 64000 / LIMIT_FORWARD_BUFFERS - 8;
    struct ring_request put = write_in(&a, &s, RING_PUT, "k", sizeof value);
    CU_ASSERT_EQUAL(ask(&a, put, "k", value), RING_TOO_LARGE);
    s.sequence--;
    CU_ASSERT_EQUAL(put_bulk(&s, sizeof value, 3), RING_OK);
    CU_ASSERT_EQUAL(forward_counted(&n, 1, COUNTER_FORWARDED_RETRIED), 0);
    close_all();
}

/* ---- datagrams that are lost, doubled, late ---- */

static void what_is_not_answered_is_given_up(void)
{
    open_at(1, false);
    struct session_named s = session_open_in(&a, id_a);
    uint64_t committed = forward_shard(&n, 0)->lsn_committed;
    forward_nodes_give_up_soon(&n, true);
    n.links[0].fault = LINK_LOSE;
    struct ring_request put = write_in(&a, &s, RING_PUT, "k", 1);
    CU_ASSERT_EQUAL(ask(&a, put, "k", "1"), RING_RETRY);
    CU_ASSERT_EQUAL(c.epoch, n.configuration.epoch); /* nobody knows here whether it was appended */
    CU_ASSERT_EQUAL(c.sequence, 1);
    CU_ASSERT_EQUAL(n.links[0].disturbed, 1); /* not repeated */
    CU_ASSERT_EQUAL(forward_shard(&n, 0)->lsn_committed, committed);
    n.links[0].fault = LINK_WHOLE;
    n.links[1].fault = LINK_KEEP; /* now the answers */
    put.tag = ++a.tag;
    CU_ASSERT_EQUAL(ask(&a, put, "k", "1"), RING_RETRY);
    forward_nodes_give_up_soon(&n, false);
    n.links[1].fault = LINK_WHOLE;
    put.tag = ++a.tag;
    CU_ASSERT_EQUAL(ask(&a, put, "k", "1"), RING_OK);
    CU_ASSERT_EQUAL(forward_counted(&n, 0, COUNTER_DUPLICATES), 1);
    CU_ASSERT_EQUAL(forward_counted(&n, 1, COUNTER_FORWARDED_RETRIED), 2);
    forward_link_deliver(&n.links[1]);
    forward_nodes_pass(&n);
    CU_ASSERT_FALSE(ring_agent_take(&a, &c, NULL));
    CU_ASSERT_EQUAL(forward_counted(&n, 1, COUNTER_FORWARDS_LATE), 1);
    close_all();
}

/* A sequence may mean another write once it was refused: what was given up must not come after. */
static void what_comes_late_is_not_carried_out(void)
{
    open_at(1, false);
    struct session_named s = session_open_in(&a, id_a);
    n.links[0].fault = LINK_KEEP;
    forward_nodes_give_up_soon(&n, true);
    CU_ASSERT_EQUAL(ask(&a, write_in(&a, &s, RING_PUT, "k", 1), "k", "1"), RING_RETRY);
    forward_nodes_give_up_soon(&n, false);
    n.links[0].fault = LINK_WHOLE;
    CU_ASSERT_EQUAL(ask(&a, get_of(&a, "k"), "k", NULL), RING_NOT_FOUND);
    uint64_t executed = forward_counted(&n, 0, COUNTER_FORWARDS_EXECUTED);
    forward_link_deliver(&n.links[0]);
    for (unsigned i = 0; i < 10; i++)
        forward_nodes_pass(&n);
    CU_ASSERT_EQUAL(n.links[0].kept, 0);
    CU_ASSERT_EQUAL(forward_counted(&n, 0, COUNTER_FORWARDS_EXECUTED), executed);
    CU_ASSERT_EQUAL(ask(&a, get_of(&a, "k"), "k", NULL), RING_NOT_FOUND);
    /* nor in another epoch than it was asked in, though in order then */
    n.links[0].fault = LINK_KEEP;
    s.sequence = 0;
    forward_nodes_give_up_soon(&n, true);
    CU_ASSERT_EQUAL(ask(&a, write_in(&a, &s, RING_PUT, "k", 1), "k", "1"), RING_RETRY);
    forward_nodes_give_up_soon(&n, false);
    n.links[0].fault = LINK_WHOLE;
    forward_nodes_lead(&n, 2);
    forward_nodes_lead(&n, 0);
    executed = forward_counted(&n, 0, COUNTER_FORWARDS_EXECUTED);
    forward_link_deliver(&n.links[0]);
    for (unsigned i = 0; i < 10; i++)
        forward_nodes_pass(&n);
    CU_ASSERT_EQUAL(forward_counted(&n, 0, COUNTER_FORWARDS_EXECUTED), executed);
    CU_ASSERT_EQUAL(insist(&a, get_of(&a, "k"), "k", NULL), RING_NOT_FOUND);
    close_all();
}

static void what_comes_twice_is_carried_out_once(void)
{
    open_at(1, false);
    struct session_named s = session_open_in(&a, id_a);
    n.links[0].fault = n.links[1].fault = LINK_DOUBLE;
    for (unsigned i = 1; i <= 20; i++)
        CU_ASSERT_EQUAL(ask(&a, write_in(&a, &s, RING_PUT, "k", 1), "k", "1"), RING_OK);
    forward_nodes_pass(&n);
    CU_ASSERT_EQUAL(forward_counted(&n, 0, COUNTER_DUPLICATES), 0);
    CU_ASSERT_EQUAL(forward_counted(&n, 0, COUNTER_FORWARDS_EXECUTED), 21);
    CU_ASSERT_EQUAL(forward_counted(&n, 1, COUNTER_FORWARDS_LATE), 20);
    make_parts_short();
    go_both_ways(LONG, &s);
    close_all();
}

/* Each write expects the version of the one before: one that was applied twice, or not at all, would
 * make the next one fail. */
static void chain(struct ring_agent *who, const char *id, const char *key, unsigned count)
{
    struct session_named s = session_open_in(who, id);
    uint64_t version = 0;
    for (unsigned i = 0; i < count; i++) {
        struct ring_request put = write_in(who, &s, RING_PUT, key, 4);
        put.head.flags = RING_FLAG_COMPARE;
        put.expected_lsn = version;
        CU_ASSERT_EQUAL_FATAL(insist(who, put, key, &i), RING_OK);
        version = c.lsn;
        if (i % 8 == 0) {
            CU_ASSERT_EQUAL(insist(who, get_of(who, key), key, NULL), RING_OK);
            CU_ASSERT_EQUAL(c.lsn, version);
            CU_ASSERT_EQUAL(memcmp(got, &i, sizeof i), 0);
        }
    }
}

static void writes_over_a_bad_link_are_applied_once(void)
{
    open_at(1, false);
    forward_nodes_give_up_soon(&n, true);
    for (unsigned i = 0; i < FORWARD_NODES; i++)
        n.links[i].fault = LINK_RANDOM;
    chain(&a, id_a, "k", 150);
    struct session_named s = session_open_in(&a, id_b);
    make_parts_short();
    for (uint32_t i = 0; i < 8; i++)
        go_both_ways(20000 + i, &s);
    CU_ASSERT(n.links[0].disturbed > 20 && n.links[1].disturbed > 20);
    CU_ASSERT(forward_counted(&n, 1, COUNTER_FORWARDED_RETRIED) != 0);
    for (unsigned i = 0; i < FORWARD_NODES; i++)
        CU_ASSERT_EQUAL(forward_counted(&n, i, COUNTER_PEER_PROTOCOL), 0);
    close_all();
}

static void leaders_move_under_writes_on_their_way(void)
{
    open_at(1, false);
    struct session_named s = session_open_in(&a, id_a);
    uint64_t version = 0;
    forward_nodes_shorten(&n);
    for (uint32_t i = 0; i < 12; i++) {
        struct ring_request put = write_in(&a, &s, RING_PUT, "k", 4);
        put.head.flags = RING_FLAG_COMPARE;
        put.expected_lsn = version;
        CU_ASSERT_EQUAL_FATAL(ring_agent_send(&a, put, "k", &i), 0);
        forward_agent_ring(&n, &a);
        /* sent; then carried out; then answered: each time it is caught at another station */
        for (uint32_t node = 0; node < i % 4; node++)
            ring_node_passes(&n.nodes[(node + 1) % FORWARD_NODES], 1);
        forward_nodes_lead(&n, (i + 1) % FORWARD_NODES);
        CU_ASSERT_TRUE_FATAL(forward_agent_wait(&n, &a, &c, got));
        put.tag = ++a.tag;
        if (c.status == RING_RETRY)
            CU_ASSERT_EQUAL_FATAL(insist(&a, put, "k", &i), RING_OK);
        CU_ASSERT_EQUAL_FATAL(c.status, RING_OK);
        version = c.lsn;
    }
    CU_ASSERT_EQUAL(insist(&b, get_of(&b, "k"), "k", NULL), RING_OK);
    CU_ASSERT_EQUAL(c.lsn, version);
    CU_ASSERT(forward_counted(&n, 1, COUNTER_FORWARDED_RETRIED) != 0);
    close_all();
}

/* ---- agents that go ---- */

static void an_answer_finds_nobody_after_a_detach(void)
{
    struct ring_agent next;
    open_at(1, false);
    struct session_named s = session_open_in(&a, id_a);
    CU_ASSERT_EQUAL(ring_agent_send(&a, write_in(&a, &s, RING_PUT, "k", 1), "k", "1"), 0);
    forward_agent_ring(&n, &a);
    ring_node_passes(&n.nodes[1], 1);
    CU_ASSERT_EQUAL(forward_waiting(&n, 1), 1);
    uint32_t slot = a.agent->slot;
    node_agent_detach(&n.nodes[1].node, a.agent);
    forward_agent_attach(&n, 1, &next, 0);
    CU_ASSERT_EQUAL(next.agent->slot, slot);
    for (unsigned i = 0; i < 100 && forward_waiting(&n, 1) != 0; i++)
        forward_nodes_pass(&n);
    CU_ASSERT_FALSE(ring_agent_take(&next, &c, NULL));
    a = next;
    CU_ASSERT_EQUAL(ask(&a, write_in(&a, &s, RING_PUT, "k", 1), "k", "1"), RING_OK);
    CU_ASSERT_EQUAL(c.sequence, 2);
    close_all();
}

/* The rest of its value is nowhere any more. */
static void a_value_in_parts_ends_with_its_agent(void)
{
    struct ring_agent next;
    open_at(1, false);
    make_parts_short();
    struct session_named s = session_open_in(&a, id_a);
    struct ring_request put = write_in(&a, &s, RING_PUT, "k", LONG);
    put.head.flags = RING_FLAG_BULK;
    CU_ASSERT_EQUAL(ring_agent_send(&a, put, "k", NULL), 0);
    forward_agent_ring(&n, &a);
    ring_node_passes(&n.nodes[1], 1);
    node_agent_detach(&n.nodes[1].node, a.agent);
    forward_agent_attach(&n, 1, &next, 0);
    a = next;
    forward_nodes_give_up_soon(&n, true);
    for (unsigned i = 0; i < 100000 && forward_waiting(&n, 1) != 0; i++)
        forward_nodes_pass(&n);
    CU_ASSERT_FALSE(ring_agent_take(&a, &c, NULL));
    CU_ASSERT_EQUAL(insist(&a, get_of(&a, "k"), "k", NULL), RING_NOT_FOUND);
    s.sequence = 0;
    CU_ASSERT_EQUAL(put_bulk(&s, LONG, 5), RING_OK);
    close_all();
}

static const struct unit_test tests[] = {
    UNIT_TEST(every_operation_is_answered),
    UNIT_TEST(refusals_are_named),
    UNIT_TEST(a_holder_of_a_read_lease_answers_in_place),
    UNIT_TEST(what_is_asked_together_travels_together),
    UNIT_TEST(values_of_every_length_go_both_ways),
    UNIT_TEST(a_value_that_changes_meanwhile_is_asked_for_again),
    UNIT_TEST(values_in_the_ring_go_both_ways),
    UNIT_TEST(what_is_not_answered_is_given_up),
    UNIT_TEST(what_comes_late_is_not_carried_out),
    UNIT_TEST(what_comes_twice_is_carried_out_once),
    UNIT_TEST(writes_over_a_bad_link_are_applied_once),
    UNIT_TEST(leaders_move_under_writes_on_their_way),
    UNIT_TEST(an_answer_finds_nobody_after_a_detach),
    UNIT_TEST(a_value_in_parts_ends_with_its_agent),
};
UNIT_MAIN("poll_forward", tests)
