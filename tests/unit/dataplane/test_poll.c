/* The poll loop with real rings and hand-driven agents. */
#include "tests/unit/dataplane/ring_agent.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static struct ring_node r;
static struct ring_agent a, b;
static struct ring_completion c;

/* ---- small words ---- */

/* Send, let the lcore pass, and expect one completion with this tag. */
static uint32_t ask(struct ring_agent *who, struct ring_request q, const char *key,
                    const void *value)
{
    CU_ASSERT_EQUAL_FATAL(ring_agent_send(who, q, key, value), 0);
    ring_agent_doorbell(&r, who);
    ring_node_passes(&r, 2);
    CU_ASSERT_TRUE_FATAL(ring_agent_take(who, &c, NULL));
    CU_ASSERT_EQUAL(c.tag, q.tag);
    CU_ASSERT_EQUAL(c.head.operation, q.head.operation);
    return c.status;
}

struct session_named {
    uint64_t lsn;
    uint32_t slot;
    uint64_t sequence;
};

static struct session_named session_open_in(struct ring_agent *who, const char *id16,
                                            uint16_t flags)
{
    struct ring_request q = ring_agent_request(&r, who, RING_SESSION_OPEN, id16);
    q.head.flags = flags;
    q.shard = 0;
    uint32_t status = ask(who, q, id16, NULL);
    CU_ASSERT_EQUAL(status, RING_OK);
    return (struct session_named){.lsn = c.lsn, .slot = c.session_slot};
}

static struct ring_request write_in(struct ring_agent *who, struct session_named *s,
                                    uint8_t operation, const char *key, uint32_t value_length)
{
    struct ring_request q = ring_agent_request(&r, who, operation, key);
    q.session = s->lsn;
    q.session_slot = s->slot;
    q.sequence = ++s->sequence;
    q.value_length = value_length;
    return q;
}

static const char id_a[] = "0123456789abcdef", id_b[] = "fedcba9876543210";

static void open_one_shard(void)
{
    ring_node_open(&r, 1, 1);
    ring_agent_attach(&r, &a, 0, 1u << 14);
    ring_agent_attach(&r, &b, 0, 1u << 14);
}

static uint64_t counter(enum counter which)
{
    return atomic_load_explicit(&r.node.shared->counters[0].value[which], memory_order_relaxed);
}

/* ---- operations ---- */

static void every_operation_is_answered(void)
{
    open_one_shard();
    CU_ASSERT_EQUAL(ask(&a, ring_agent_request(&r, &a, RING_NOP, NULL), NULL, NULL), RING_OK);
    struct session_named s = session_open_in(&a, id_a, 0);
    CU_ASSERT_EQUAL(session_open_in(&a, id_a, RING_FLAG_EXISTING).lsn, s.lsn);

    CU_ASSERT_EQUAL(ask(&a, write_in(&a, &s, RING_PUT, "heron", 5), "heron", "grey!"), RING_OK);
    uint64_t version = c.lsn;
    CU_ASSERT(version > s.lsn);
    CU_ASSERT_EQUAL(c.sequence, 1);
    CU_ASSERT_EQUAL(c.epoch, 1000);

    struct ring_request get = ring_agent_request(&r, &a, RING_GET, "heron");
    get.value_length = 100;
    CU_ASSERT_EQUAL(ring_agent_send(&a, get, "heron", NULL), 0);
    ring_agent_doorbell(&r, &a);
    ring_node_passes(&r, 2);
    char value[200] = {0};
    CU_ASSERT_TRUE_FATAL(ring_agent_take(&a, &c, value));
    CU_ASSERT_EQUAL(c.status, RING_OK);
    CU_ASSERT_EQUAL(c.lsn, version);
    CU_ASSERT_EQUAL(c.value_length, 5);
    CU_ASSERT_STRING_EQUAL(value, "grey!");

    struct ring_request cas = write_in(&a, &s, RING_PUT, "heron", 5);
    cas.head.flags = RING_FLAG_COMPARE;
    cas.expected_lsn = version + 8;
    CU_ASSERT_EQUAL(ask(&a, cas, "heron", "white"), RING_CONDITION);
    CU_ASSERT_EQUAL(c.lsn, version);
    cas = write_in(&a, &s, RING_PUT, "heron", 5);
    cas.head.flags = RING_FLAG_COMPARE;
    cas.expected_lsn = version;
    CU_ASSERT_EQUAL(ask(&a, cas, "heron", "white"), RING_OK);
    CU_ASSERT(c.lsn > version);
    CU_ASSERT_EQUAL(ask(&a, write_in(&a, &s, RING_DELETE, "heron", 0), "heron", NULL), RING_OK);
    CU_ASSERT_EQUAL(ask(&a, write_in(&a, &s, RING_DELETE, "heron", 0), "heron", NULL),
                    RING_NOT_FOUND);
    CU_ASSERT_EQUAL(ask(&a, get, "heron", NULL), RING_NOT_FOUND);
    ring_node_close(&r);
}

static void a_value_travels_by_the_bulk_buffer(void)
{
    open_one_shard();
    struct session_named s = session_open_in(&a, id_a, 0);
    static uint8_t value[30000];
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (uint8_t)(i * 7);
    memcpy(a.agent->bulk + 4096, value, sizeof value);
    struct ring_request put = write_in(&a, &s, RING_PUT, "k", sizeof value);
    put.head.flags = RING_FLAG_BULK;
    put.bulk_offset = 4096;
    CU_ASSERT_EQUAL(ask(&a, put, "k", NULL), RING_OK);
    memset(a.agent->bulk, 0, 1u << 16);
    struct ring_request get = ring_agent_request(&r, &a, RING_GET, "k");
    get.head.flags = RING_FLAG_BULK;
    get.bulk_offset = 8;
    get.value_length = sizeof value;
    CU_ASSERT_EQUAL(ask(&a, get, "k", NULL), RING_OK);
    CU_ASSERT_EQUAL(c.value_length, sizeof value);
    CU_ASSERT_EQUAL(memcmp(a.agent->bulk + 8, value, sizeof value), 0);
    get.value_length--; /* too little room: told how much it takes */
    CU_ASSERT_EQUAL(ask(&a, get, "k", NULL), RING_TOO_LARGE);
    CU_ASSERT_EQUAL(c.value_length, sizeof value);
    get.head.flags = 0; /* no ring holds it */
    get.value_length = sizeof value;
    CU_ASSERT_EQUAL(ask(&a, get, "k", NULL), RING_TOO_LARGE);
    put.bulk_offset = (1u << 16) - 8; /* reaches outside */
    CU_ASSERT_EQUAL(ask(&a, put, "k", NULL), RING_INPUT);
    ring_node_close(&r);
}

static void a_duplicate_is_answered_as_the_original(void)
{
    open_one_shard();
    struct session_named s = session_open_in(&a, id_a, 0);
    struct ring_request put = write_in(&a, &s, RING_PUT, "k", 1);
    CU_ASSERT_EQUAL(ask(&a, put, "k", "1"), RING_OK);
    uint64_t version = c.lsn, operations = counter(COUNTER_OPERATIONS);
    put.tag = ++a.tag;
    CU_ASSERT_EQUAL(ask(&a, put, "k", "2"), RING_OK);
    CU_ASSERT_EQUAL(c.lsn, version);
    CU_ASSERT_EQUAL(counter(COUNTER_OPERATIONS), operations);
    /* and when both are in one batch */
    put = write_in(&a, &s, RING_PUT, "k", 1);
    CU_ASSERT_EQUAL(ring_agent_send(&a, put, "k", "3"), 0);
    CU_ASSERT_EQUAL(ask(&a, put, "k", "3"), RING_OK);
    version = c.lsn;
    CU_ASSERT_TRUE_FATAL(ring_agent_take(&a, &c, NULL));
    CU_ASSERT_EQUAL(c.lsn, version);
    CU_ASSERT_EQUAL(counter(COUNTER_OPERATIONS), operations + 1);
    ring_node_close(&r);
}

static void refusals_are_named(void)
{
    open_one_shard();
    struct ring_agent stranger;
    ring_agent_attach(&r, &stranger, 2000, 1u << 14);
    struct session_named s = session_open_in(&a, id_a, 0);
    CU_ASSERT_EQUAL(ask(&stranger, write_in(&stranger, &s, RING_PUT, "k", 1), "k", "1"),
                    RING_ACCESS);
    CU_ASSERT_EQUAL(ask(&stranger, ring_agent_request(&r, &stranger, RING_GET, "k"), "k", NULL),
                    RING_NOT_FOUND);
    s.sequence = 5; /* a gap */
    CU_ASSERT_EQUAL(ask(&a, write_in(&a, &s, RING_PUT, "k", 1), "k", "1"), RING_SEQUENCE);
    struct session_named unknown = {.lsn = 1 << 16, .slot = 3};
    CU_ASSERT_EQUAL(ask(&a, write_in(&a, &unknown, RING_PUT, "k", 1), "k", "1"), RING_FATE_UNKNOWN);
    struct session_named none = {.lsn = 0, .slot = SESSION_NONE};
    CU_ASSERT_EQUAL(ask(&a, write_in(&a, &none, RING_PUT, "k", 1), "k", "1"), RING_FATE_UNKNOWN);
    struct ring_request q = ring_agent_request(&r, &a, RING_SESSION_OPEN, id_b);
    q.head.flags = RING_FLAG_EXISTING;
    q.shard = 0;
    CU_ASSERT_EQUAL(ask(&a, q, id_b, NULL), RING_FATE_UNKNOWN);
    q = ring_agent_request(&r, &a, RING_GET, "k");
    q.space = 2;
    CU_ASSERT_EQUAL(ask(&a, q, "k", NULL), RING_UNAVAILABLE);
    q.space = UINT16_MAX;
    CU_ASSERT_EQUAL(ask(&a, q, "k", NULL), RING_UNAVAILABLE);
    q.space = RING_AGENT_SPACE;
    q.shard = 1;
    CU_ASSERT_EQUAL(ask(&a, q, "k", NULL), RING_INPUT);
    q.shard = 0;
    q.head.operation = 77;
    CU_ASSERT_EQUAL(ask(&a, q, "k", NULL), RING_INPUT);
    ring_node_close(&r);
}

/* A refusal that state decides tells of that state, like a read: it leaves only while nobody else can
 * have written since. */
static void a_refusal_leaves_only_under_the_right_to_answer(void)
{
    open_one_shard();
    struct session_named unknown = {.lsn = 1 << 16, .slot = 3};
    struct ring_request q = ring_agent_request(&r, &a, 77, "k");
    ring_node_passes(&r, 1);
    uint64_t lease = r.lcore->ticks.lease;
    r.lcore->ticks.lease = 0; /* it lapsed at once */
    CU_ASSERT_EQUAL(ask(&a, write_in(&a, &unknown, RING_PUT, "k", 1), "k", "1"), RING_RETRY);
    CU_ASSERT_EQUAL(ask(&a, q, "k", NULL), RING_INPUT); /* as true as ever */
    r.lcore->ticks.lease = lease;
    CU_ASSERT_EQUAL(ask(&a, write_in(&a, &unknown, RING_PUT, "k", 1), "k", "1"), RING_FATE_UNKNOWN);
    ring_node_close(&r);
}

static void a_session_too_many_is_refused(void)
{
    open_one_shard();
    char id[] = "session number 0";
    for (char i = '0'; i < '8'; i++) {
        id[15] = i;
        (void)session_open_in(&a, id, 0);
    }
    struct ring_request q = ring_agent_request(&r, &a, RING_SESSION_OPEN, id_a);
    q.shard = 0;
    CU_ASSERT_EQUAL(ask(&a, q, id_a, NULL), RING_SESSION_LIMIT);
    ring_node_close(&r);
}

/* ---- back-pressure ---- */

static void a_full_completion_ring_holds_its_own_agent_only(void)
{
    ring_node_open(&r, 1, 1);
    ring_agent_attach(&r, &a, 0, LIMIT_RING_BYTES_MIN);
    ring_agent_attach(&r, &b, 0, 1u << 14);
    uint32_t sent = 0, taken = 0;
    uint64_t next = 1;
    for (unsigned round = 0; round < 2000; round++) {
        while (ring_agent_send(&a, ring_agent_request(&r, &a, RING_NOP, NULL), NULL, NULL) == 0)
            sent++;
        a.tag--; /* the one that did not fit */
        ring_agent_doorbell(&r, &a);
        ring_node_passes(&r, 3);
        CU_ASSERT_EQUAL(ask(&b, ring_agent_request(&r, &b, RING_NOP, NULL), NULL, NULL), RING_OK);
        /* take one or two: as many are answered next, in order, none twice */
        for (unsigned i = round % 3; i != 0 && ring_agent_take(&a, &c, NULL); i--, taken++)
            if (c.tag != next++)
                CU_FAIL("out of order");
    }
    CU_ASSERT_EQUAL(atomic_load_explicit(&a.agent->fault, memory_order_relaxed), 0);
    for (unsigned i = 0; i < 1000 && taken < sent; i++) {
        ring_node_passes(&r, 1);
        while (ring_agent_take(&a, &c, NULL)) {
            taken++;
            if (c.tag != next++)
                CU_FAIL("out of order");
        }
    }
    CU_ASSERT_EQUAL(taken, sent);
    CU_ASSERT_EQUAL(a.agent->rings[0].owed, 0);
    ring_node_close(&r);
}

/* Answers with values, in rings that wrap at every position. */
static void values_of_every_length_come_back(void)
{
    ring_node_open(&r, 1, 1);
    ring_agent_attach(&r, &a, 0, LIMIT_RING_BYTES_MIN);
    struct session_named s = session_open_in(&a, id_a, 0);
    static uint8_t value[1024], got[1024];
    for (uint32_t length = 0; length <= 880; length += 11) {
        memset(value, (int)length, sizeof value);
        CU_ASSERT_EQUAL(ask(&a, write_in(&a, &s, RING_PUT, "k", length), "k", value), RING_OK);
        struct ring_request get = ring_agent_request(&r, &a, RING_GET, "k");
        get.value_length = 900;
        unsigned sent = 0;
        while (sent < 20 && ring_agent_send(&a, get, "k", NULL) == 0)
            sent++;
        ring_agent_doorbell(&r, &a);
        unsigned passes = 0;
        for (unsigned i = 0; i < sent && passes < 100; passes++) {
            ring_node_passes(&r, 1);
            for (; ring_agent_take(&a, &c, got); i++)
                CU_ASSERT(c.status == RING_OK && c.value_length == length &&
                          memcmp(got, value, length) == 0);
        }
        CU_ASSERT(passes < 100);
    }
    CU_ASSERT_EQUAL(a.agent->rings[0].owed, 0);
    CU_ASSERT_EQUAL(atomic_load_explicit(&a.agent->fault, memory_order_relaxed), 0);
    ring_node_close(&r);
}

/* A shard that can take nothing now: what is put back comes again, in order, and nothing is lost.
 */
static void put_back_keeps_the_order(void)
{
    open_one_shard();
    struct session_named s = session_open_in(&a, id_a, 0);
    struct session_named t = session_open_in(&b, id_b, 0);
    struct shard *shard = r.node.spaces[RING_AGENT_SPACE]->shards[0];
    uint64_t ceiling = shard->log.lsn_ceiling;
    shard->log.lsn_ceiling = shard->log.lsn_end; /* as if control had granted no more */
    uint64_t granted = atomic_load_explicit(&r.node.lsn_ceiling, memory_order_relaxed);
    atomic_store_explicit(&r.node.lsn_ceiling, 0, memory_order_relaxed);
    uint64_t first_a = a.tag + 1, first_b = b.tag + 1;
    for (unsigned i = 0; i < 10; i++) {
        CU_ASSERT_EQUAL(ring_agent_send(&a, ring_agent_request(&r, &a, RING_NOP, NULL), NULL, NULL),
                        0);
        CU_ASSERT_EQUAL(ring_agent_send(&a, write_in(&a, &s, RING_PUT, "k", 3), "k", "abc"), 0);
        CU_ASSERT_EQUAL(ring_agent_send(&b, write_in(&b, &t, RING_PUT, "l", 3), "l", "abc"), 0);
    }
    ring_agent_doorbell(&r, &a);
    ring_agent_doorbell(&r, &b);
    ring_node_passes(&r, 50);
    CU_ASSERT_TRUE_FATAL(ring_agent_take(&a, &c, NULL));
    CU_ASSERT_EQUAL(c.tag, first_a); /* the NOP in front needed no room */
    CU_ASSERT_FALSE(ring_agent_take(&a, &c, NULL));
    CU_ASSERT_FALSE(ring_agent_take(&b, &c, NULL));
    CU_ASSERT(counter(COUNTER_BACK_PRESSURE) >= 100);
    atomic_store_explicit(&r.node.lsn_ceiling, granted, memory_order_relaxed);
    shard->log.lsn_ceiling = ceiling;
    ring_node_passes(&r, 4);
    bool seen[32] = {false};
    uint64_t sequence = 1;
    for (unsigned i = 0; i < 19; i++) {
        CU_ASSERT_TRUE_FATAL(ring_agent_take(&a, &c, NULL));
        CU_ASSERT_EQUAL(c.status, RING_OK);
        CU_ASSERT_FALSE(seen[c.tag - first_a]);
        seen[c.tag - first_a] = true;
        if (c.head.operation == RING_PUT)
            CU_ASSERT_EQUAL(c.sequence, sequence++);
    }
    for (unsigned i = 0; i < 10; i++) {
        CU_ASSERT_TRUE_FATAL(ring_agent_take(&b, &c, NULL));
        CU_ASSERT_EQUAL(c.tag, first_b + i);
        CU_ASSERT_EQUAL(c.status, RING_OK);
    }
    CU_ASSERT_EQUAL(a.agent->rings[0].owed + b.agent->rings[0].owed, 0);
    ring_node_close(&r);
}

/* ---- hostile rings ---- */

static void expect_fault_of_a_only(void)
{
    ring_agent_doorbell(&r, &a);
    ring_node_passes(&r, 3);
    CU_ASSERT_EQUAL(atomic_load_explicit(&a.agent->fault, memory_order_relaxed), AGENT_FAULT_RING);
    CU_ASSERT_EQUAL(atomic_load_explicit(&r.control_wakes, memory_order_relaxed), 1);
    CU_ASSERT_EQUAL(counter(COUNTER_AGENT_FAULTS), 1);
    CU_ASSERT_EQUAL(ask(&b, ring_agent_request(&r, &b, RING_NOP, NULL), NULL, NULL), RING_OK);
    CU_ASSERT_EQUAL(atomic_load_explicit(&b.agent->fault, memory_order_relaxed), 0);
    node_agent_detach(&r.node, a.agent);
    CU_ASSERT_EQUAL(ask(&b, ring_agent_request(&r, &b, RING_NOP, NULL), NULL, NULL), RING_OK);
    ring_node_close(&r);
}

static void a_forged_consumed_position_detaches_its_agent(void)
{
    static const uint64_t forged[] = {64, 1, UINT64_MAX, UINT64_C(1) << 40};
    for (unsigned i = 0; i < sizeof forged / sizeof forged[0]; i++) {
        open_one_shard();
        for (unsigned j = 0; j < 200; j++) /* so many that the lcore looks at consumed */
            (void)ring_agent_send(&a, ring_agent_request(&r, &a, RING_NOP, NULL), NULL, NULL);
        /* beyond what was produced, unaligned, or before what was seen */
        atomic_store_explicit(&a.completion.shared->consumed, forged[i] + (i == 0 ? 1u << 20 : 0),
                              memory_order_release);
        ring_agent_doorbell(&r, &a);
        ring_node_passes(&r, 3);
        for (unsigned j = 0; j < 200; j++)
            (void)ring_agent_send(&a, ring_agent_request(&r, &a, RING_NOP, NULL), NULL, NULL);
        expect_fault_of_a_only();
    }
}

static void a_forged_head_detaches_its_agent(void)
{
    static const struct ring_head forged[] = {
        {.length = 1, .operation = RING_NOP},
        {.length = UINT32_MAX, .operation = RING_NOP},
        {.length = (1u << 14) / 4 + 1, .operation = RING_NOP},
        {.length = 64, .operation = 0}, /* filler in the wrong place */
        {.length = 1u << 14, .operation = 0},
    };
    for (unsigned i = 0; i < sizeof forged / sizeof forged[0]; i++) {
        open_one_shard();
        uint64_t word;
        memcpy(&word, &forged[i], sizeof word);
        atomic_store_explicit((_Atomic uint64_t *)(void *)a.request.data, word,
                              memory_order_release);
        expect_fault_of_a_only();
    }
}

static void short_and_odd_messages_are_refused_not_feared(void)
{
    open_one_shard();
    for (uint32_t length = 8; length < 64; length += 7) {
        void *message;
        CU_ASSERT_EQUAL_FATAL(ring_claim(&a.request, length, &message), 0);
        ring_commit(&a.request, message,
                    (struct ring_head){.length = length, .operation = RING_PUT});
        ring_agent_doorbell(&r, &a);
        ring_node_passes(&r, 2);
        CU_ASSERT_TRUE_FATAL(ring_agent_take(&a, &c, NULL));
        CU_ASSERT_EQUAL(c.status, RING_INPUT);
    }
    CU_ASSERT_EQUAL(atomic_load_explicit(&a.agent->fault, memory_order_relaxed), 0);
    ring_node_close(&r);
}

static void every_doorbell_bit_may_be_set_by_anybody(void)
{
    open_one_shard();
    for (unsigned i = 0; i < LIMIT_AGENTS / 64; i++)
        atomic_store_explicit(&r.node.doorbell->lcores[0].bits[i], UINT64_MAX,
                              memory_order_release);
    ring_node_passes(&r, 5);
    CU_ASSERT_EQUAL(ask(&b, ring_agent_request(&r, &b, RING_NOP, NULL), NULL, NULL), RING_OK);
    ring_node_close(&r);
}

/* ---- doorbells and sleep ---- */

static void a_cleared_doorbell_is_healed_by_the_sweep(void)
{
    open_one_shard();
    CU_ASSERT_EQUAL(ring_agent_send(&a, ring_agent_request(&r, &a, RING_NOP, NULL), NULL, NULL), 0);
    bool answered = false; /* no doorbell at all: somebody cleared it */
    for (unsigned i = 0; i < 2000 && !answered; i++) {
        ring_node_passes(&r, 1);
        answered = ring_agent_take(&a, &c, NULL);
        (void)usleep(200);
    }
    CU_ASSERT_TRUE(answered);
    ring_node_close(&r);
}

static uint64_t wait_for_sleeps(uint64_t above)
{
    for (unsigned i = 0; i < 20000 && counter(COUNTER_SLEEPS) <= above; i++)
        (void)usleep(500);
    return counter(COUNTER_SLEEPS);
}

static void an_idle_lcore_sleeps_and_is_woken(void)
{
    ring_node_open(&r, 1, 1);
    ring_agent_attach(&r, &a, 0, 1u << 14);
    CU_ASSERT_EQUAL_FATAL(node_lcores_start(&r.node), 0);
    for (unsigned i = 0; i < 50; i++) {
        uint64_t sleeps = counter(COUNTER_SLEEPS);
        CU_ASSERT(wait_for_sleeps(sleeps) > sleeps);
        CU_ASSERT_EQUAL(ring_agent_send(&a, ring_agent_request(&r, &a, RING_NOP, NULL), NULL, NULL),
                        0);
        ring_agent_doorbell(&r, &a);
        if (atomic_load_explicit(&r.node.shared->lcores[0].sleeping, memory_order_seq_cst) != 0) {
            uint64_t one = 1;
            CU_ASSERT_EQUAL(write(a.agent->event_fds[0], &one, sizeof one), sizeof one);
        }
        bool answered = false;
        for (unsigned j = 0; j < 20000 && !answered; j++) {
            answered = ring_agent_take(&a, &c, NULL);
            if (!answered)
                (void)usleep(100);
        }
        CU_ASSERT_TRUE_FATAL(answered);
    }
    node_lcores_stop(&r.node);
    ring_node_close(&r);
}

/* Why: one agent that died with requests in its ring must not keep a core busy for ever. */
static void an_agent_that_takes_no_answers_lets_the_lcore_sleep(void)
{
    ring_node_open(&r, 1, 1);
    ring_agent_attach(&r, &a, 0, LIMIT_RING_BYTES_MIN);
    CU_ASSERT_EQUAL_FATAL(node_lcores_start(&r.node), 0);
    for (unsigned i = 0; i < 100; i++) {
        while (ring_agent_send(&a, ring_agent_request(&r, &a, RING_NOP, NULL), NULL, NULL) == 0) {
        }
        ring_agent_doorbell(&r, &a);
        (void)usleep(200);
    }
    uint64_t sleeps = counter(COUNTER_SLEEPS);
    CU_ASSERT(wait_for_sleeps(sleeps + 3) > sleeps + 3);
    /* and when it does take them it is served again */
    unsigned taken = 0;
    for (unsigned i = 0; i < 20000 && taken < 200; i++) {
        if (ring_agent_take(&a, &c, NULL))
            taken++;
        else
            (void)usleep(100);
        if (taken > 100)
            (void)ring_agent_send(&a, ring_agent_request(&r, &a, RING_NOP, NULL), NULL, NULL);
    }
    CU_ASSERT_EQUAL(taken, 200);
    node_lcores_stop(&r.node);
    ring_node_close(&r);
}

/* ---- agents that go ---- */

static void an_answer_finds_nobody_after_a_detach(void)
{
    open_one_shard();
    struct session_named s = session_open_in(&a, id_a, 0);
    CU_ASSERT_EQUAL(ring_agent_send(&a, write_in(&a, &s, RING_PUT, "k", 1), "k", "1"), 0);
    ring_agent_doorbell(&r, &a);
    /* executed but neither committed nor answered: the agent goes in between */
    qsbr_online();
    poll_doorbell(r.lcore);
    CU_ASSERT_EQUAL(poll_requests(r.lcore), 1);
    qsbr_offline();
    uint32_t slot = a.agent->slot;
    node_agent_detach(&r.node, a.agent);
    struct ring_agent next;
    ring_agent_attach(&r, &next, 0, 1u << 14);
    CU_ASSERT_EQUAL(next.agent->slot, slot);
    ring_node_passes(&r, 3);
    CU_ASSERT_FALSE(ring_agent_take(&next, &c, NULL));
    CU_ASSERT_EQUAL(next.agent->rings[0].owed, 0);
    /* its session goes on under whoever has the id: the same sequence is a duplicate */
    struct session_named again = session_open_in(&next, id_a, RING_FLAG_EXISTING);
    CU_ASSERT_EQUAL(again.lsn, s.lsn);
    uint64_t duplicates = counter(COUNTER_DUPLICATES);
    CU_ASSERT_EQUAL(ask(&next, write_in(&next, &again, RING_PUT, "k", 1), "k", "1"), RING_OK);
    CU_ASSERT_EQUAL(counter(COUNTER_DUPLICATES), duplicates + 1);
    ring_node_close(&r);
}

static const struct unit_test tests[] = {
    UNIT_TEST(every_operation_is_answered),
    UNIT_TEST(a_value_travels_by_the_bulk_buffer),
    UNIT_TEST(a_duplicate_is_answered_as_the_original),
    UNIT_TEST(refusals_are_named),
    UNIT_TEST(a_refusal_leaves_only_under_the_right_to_answer),
    UNIT_TEST(a_session_too_many_is_refused),
    UNIT_TEST(a_full_completion_ring_holds_its_own_agent_only),
    UNIT_TEST(values_of_every_length_come_back),
    UNIT_TEST(put_back_keeps_the_order),
    UNIT_TEST(a_forged_consumed_position_detaches_its_agent),
    UNIT_TEST(a_forged_head_detaches_its_agent),
    UNIT_TEST(short_and_odd_messages_are_refused_not_feared),
    UNIT_TEST(every_doorbell_bit_may_be_set_by_anybody),
    UNIT_TEST(a_cleared_doorbell_is_healed_by_the_sweep),
    UNIT_TEST(an_idle_lcore_sleeps_and_is_woken),
    UNIT_TEST(an_agent_that_takes_no_answers_lets_the_lcore_sleep),
    UNIT_TEST(an_answer_finds_nobody_after_a_detach),
};
UNIT_MAIN("poll", tests)
