/* Ports that send chained frames, and ports that lie: other bytes, none, memory kept. */
#include "dataplane/dpdk_chain.h"
#include "tests/unit/dataplane/dpdk_ports.h"
#include "tests/unit/unit.h"

#include <sys/mman.h>

#include <rte_mbuf.h>

#define OURS 0x0a000001u
#define THEIRS 0x0a000002u

static struct dpdk_port *ports[2];
static struct packet_local locals[2];
static struct dpdk_chain c;
static uint8_t *memory;
static uint64_t now;
static uint32_t requests_chained;

/* What the port does to chained frames. */
static enum { HONEST, BYTES, DROPS, KEEPS, LAZY, LOSES, DEAF } lie;
static struct rte_mbuf *kept;
static uint32_t sent_since; /* behind it */

static void checksum_mend(uint8_t *b, uint32_t length)
{
    b[36] = b[37] = 0;
    uint16_t checksum = packet_checksum(packet_sum(0, b + 34, length - 34));
    b[36] = (uint8_t)(checksum >> 8);
    b[37] = (uint8_t)checksum;
}

/* In one mbuf, with other bytes, under a checksum that is right. */
static struct rte_mbuf *forged(struct rte_mbuf *m)
{
    struct rte_mbuf *other = rte_pktmbuf_copy(m, c.config.queue->pool, 0, UINT32_MAX);
    CU_ASSERT_PTR_NOT_NULL_FATAL(other);
    uint8_t *b = rte_pktmbuf_mtod(other, uint8_t *);
    b[other->data_len - 1] ^= 1;
    checksum_mend(b, other->data_len);
    rte_pktmbuf_free(m);
    return other;
}

static uint32_t send_as_it_lies(void *context, struct rte_mbuf **mbufs, uint32_t count)
{
    struct rte_mbuf *m = mbufs[0];
    CU_ASSERT_EQUAL(count, 1);
    bool chained = m->nb_segs > 1;
    requests_chained += chained;
    if (lie == DEAF || (lie == DROPS && chained)) {
        rte_pktmbuf_free(m);
        return 1;
    }
    if (lie == BYTES && chained)
        m = forged(m);
    sent_since++;
    if ((lie == KEEPS || lie == LAZY || lie == LOSES) && chained) {
        kept = m;
        sent_since = 0;
        if (lie == LOSES)
            return 1;
        m = rte_pktmbuf_copy(m, c.config.queue->pool, 0, UINT32_MAX);
    }
    if (lie != KEEPS && sent_since > ports[0]->descriptors_out) {
        rte_pktmbuf_free(kept);
        kept = NULL;
    }
    return dpdk_queue_send(context, &m, 1);
}

static void open(void)
{
    struct dpdk_port_config config = {.lcore_count = 1, .udp_port = 7000, .mbufs = 1023};
    dpdk_ports_pair(ports, &config, 64);
    for (uint32_t i = 0; i < 2; i++)
        locals[i] = (struct packet_local){.mac = dpdk_port_facts(ports[i])->mac,
                                          .address = i == 0 ? OURS : THEIRS,
                                          .port = 7000,
                                          .port_count = 1};
    memory = mmap(NULL, DPDK_CHAIN_MEMORY_BYTES, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_PTR_NOT_EQUAL_FATAL(memory, MAP_FAILED);
    CU_ASSERT_EQUAL_FATAL(dpdk_port_map(ports[0], memory, DPDK_CHAIN_MEMORY_BYTES), 0);
    struct dpdk_queue *q = dpdk_port_queue(ports[0], 0);
    struct dpdk_chain_config chain = {
        .queue = q, .memory = memory, .seed = 7, .send = send_as_it_lies, .send_context = q};
    dpdk_chain_init(&c, &chain);
    now = NS_PER_S;
    lie = HONEST;
    requests_chained = 0;
    kept = NULL;
}

static void close(void)
{
    rte_pktmbuf_free(kept);
    CU_ASSERT_FALSE(dpdk_chain_is_held(&c));
    dpdk_port_unmap(ports[0], memory, DPDK_CHAIN_MEMORY_BYTES);
    dpdk_ports_close(ports);
    munmap(memory, DPDK_CHAIN_MEMORY_BYTES);
}

static void path_tell(void)
{
    struct packet_path path = {
        .from_mac = locals[0].mac, .to_mac = locals[1].mac, .from = OURS, .to = THEIRS};
    dpdk_chain_path(&c, &path, now);
}

/* The neighbour answers what came, as any host does. */
static void answer_all(void)
{
    struct dpdk_queue *q = dpdk_port_queue(ports[1], 0);
    struct rte_mbuf *m[DPDK_PORT_BURST];
    struct packet_received r;
    uint32_t count = dpdk_queue_receive(q, m, DPDK_PORT_BURST);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *b = rte_pktmbuf_mtod(m[i], uint8_t *);
        enum packet_verdict verdict = packet_judge(&r, b, m[i]->data_len, &locals[1], 0);
        CU_ASSERT_EQUAL(verdict, PACKET_ECHO_REQUEST);
        (void)packet_echo_answer(b, &r, &locals[1]);
        CU_ASSERT_EQUAL(dpdk_queue_send(q, &m[i], 1), 1);
    }
}

static void take_all(void)
{
    struct rte_mbuf *m[DPDK_PORT_BURST];
    struct packet_received r;
    uint32_t count = dpdk_queue_receive(dpdk_port_queue(ports[0], 0), m, DPDK_PORT_BURST);
    for (uint32_t i = 0; i < count; i++) {
        enum packet_verdict verdict = packet_judge(&r, rte_pktmbuf_mtod(m[i], const uint8_t *),
                                                   m[i]->data_len, &locals[0], 0);
        CU_ASSERT_EQUAL(verdict, PACKET_ECHO_REPLY);
        dpdk_chain_receive(&c, &r, now);
        rte_pktmbuf_free(m[i]);
    }
}

static void run(uint64_t ns)
{
    for (uint64_t end = now + ns; now < end; now += NS_PER_MS) {
        dpdk_chain_tick(&c, now);
        answer_all();
        take_all();
    }
}

/* ---- */

static void an_honest_port_is_proven(void)
{
    open();
    run(UINT64_C(10) * NS_PER_S);
    CU_ASSERT_EQUAL(c.requests, 0); /* nobody to ask */
    path_tell();
    run(NS_PER_S);
    CU_ASSERT_EQUAL(c.state, DPDK_CHAIN_PROVEN);
    CU_ASSERT_EQUAL(c.requests, 2 * DPDK_CHAIN_ROUNDS);
    CU_ASSERT_EQUAL(requests_chained, DPDK_CHAIN_ROUNDS);
    CU_ASSERT_EQUAL(c.length, 1472); /* at last as long as a packet can be */
    run(NS_PER_S);
    CU_ASSERT_EQUAL(c.requests, 2 * DPDK_CHAIN_ROUNDS);
    close();
}

static void other_bytes_are_refused(void)
{
    open();
    lie = BYTES;
    path_tell();
    run(NS_PER_S);
    CU_ASSERT_EQUAL(c.state, DPDK_CHAIN_OTHER_BYTES);
    CU_ASSERT_EQUAL(requests_chained, 1);
    lie = HONEST;
    run(UINT64_C(60) * NS_PER_S);
    CU_ASSERT_EQUAL(c.state, DPDK_CHAIN_OTHER_BYTES);
    close();
}

static void chained_frames_that_do_not_arrive_are_refused(void)
{
    open();
    lie = DROPS;
    path_tell();
    run(UINT64_C(60) * NS_PER_S);
    CU_ASSERT_EQUAL(c.state, DPDK_CHAIN_NOT_SENT);
    CU_ASSERT_EQUAL(requests_chained, DPDK_CHAIN_LOST);
    close();
}

/* Now and then, in one round and in a later one: that refuses nothing. */
static void frames_that_were_lost_are_tried_again(void)
{
    open();
    path_tell();
    for (uint32_t round = 0; round < 2; round++) {
        uint32_t until = requests_chained + DPDK_CHAIN_LOST - 1;
        lie = DROPS;
        while (requests_chained < until)
            run(NS_PER_MS);
        lie = HONEST;
        while (c.rounds == round && c.state == DPDK_CHAIN_UNPROVEN)
            run(NS_PER_MS);
        CU_ASSERT_EQUAL_FATAL(c.state, DPDK_CHAIN_UNPROVEN);
    }
    run(5 * (uint64_t)NS_PER_S);
    CU_ASSERT_EQUAL(c.state, DPDK_CHAIN_PROVEN);
    close();
}

static void memory_that_is_kept_is_refused(void)
{
    open();
    lie = KEEPS;
    path_tell();
    run(DPDK_CHAIN_WAIT_NS / 2);
    CU_ASSERT_EQUAL(c.state, DPDK_CHAIN_UNPROVEN);
    CU_ASSERT_TRUE(dpdk_chain_is_held(&c));
    run(DPDK_CHAIN_WAIT_NS);
    CU_ASSERT_EQUAL(c.state, DPDK_CHAIN_UNPROVEN);
    run(2 * DPDK_CHAIN_WAIT_NS);
    CU_ASSERT_EQUAL(c.state, DPDK_CHAIN_NOT_RETURNED);
    CU_ASSERT_TRUE(sent_since >= 2u * ports[0]->descriptors_out);
    CU_ASSERT_EQUAL(requests_chained, 1); /* the pattern was not written under it */
    close();
}

/* As drivers do that free a buffer when its place in the ring is used again; and nobody else sends. */
static void memory_that_is_kept_for_a_round_of_the_ring_is_waited_for(void)
{
    open();
    lie = LAZY;
    path_tell();
    run(2 * DPDK_CHAIN_ROUNDS * DPDK_CHAIN_WAIT_NS);
    CU_ASSERT_EQUAL(c.state, DPDK_CHAIN_PROVEN);
    CU_ASSERT_EQUAL(requests_chained, DPDK_CHAIN_ROUNDS);
    close();
}

/* Neither answered nor given back at once: refused for what it is. */
static void frames_that_do_not_arrive_and_are_kept_are_refused(void)
{
    open();
    lie = LOSES;
    path_tell();
    run(UINT64_C(60) * NS_PER_S);
    CU_ASSERT_EQUAL(c.state, DPDK_CHAIN_NOT_SENT);
    CU_ASSERT_EQUAL(requests_chained, DPDK_CHAIN_LOST);
    close();
}

static void nobody_who_answers_proves_nothing(void)
{
    open();
    lie = DEAF;
    path_tell();
    run(UINT64_C(60) * NS_PER_S);
    CU_ASSERT_EQUAL(c.state, DPDK_CHAIN_UNPROVEN);
    CU_ASSERT_EQUAL(requests_chained, 0);
    CU_ASSERT_TRUE(c.requests > 5 && c.requests < 20);
    lie = HONEST;
    run(DPDK_CHAIN_PAUSE_MAX_NS + NS_PER_S);
    CU_ASSERT_EQUAL(c.state, DPDK_CHAIN_PROVEN);
    close();
}

static void answers_of_others_are_none(void)
{
    uint8_t bytes[1472] = {0};
    struct packet_received r = {.payload = bytes, .length = 1, .source = THEIRS};
    open();
    lie = DROPS;
    path_tell();
    while (c.step != DPDK_CHAIN_CHAINED)
        run(NS_PER_MS);
    r.sequence = c.sequence;
    dpdk_chain_receive(&c, &r, now); /* another program's */
    r.identifier = 0xd000;
    r.sequence--;
    dpdk_chain_receive(&c, &r, now); /* late */
    r.sequence++;
    r.source = OURS;
    dpdk_chain_receive(&c, &r, now); /* another host's */
    CU_ASSERT_EQUAL(c.state, DPDK_CHAIN_UNPROVEN);
    r.source = THEIRS;
    dpdk_chain_receive(&c, &r, now);
    CU_ASSERT_EQUAL(c.state, DPDK_CHAIN_OTHER_BYTES);
    close();
}

static void a_port_that_does_not_offer_it_is_not_asked(void)
{
    open();
    struct dpdk_chain_config config = c.config;
    config.memory = NULL;
    dpdk_chain_init(&c, &config);
    CU_ASSERT_EQUAL(c.state, DPDK_CHAIN_NOT_OFFERED);
    config.memory = memory;
    ports[0]->facts.multi_segs = false;
    dpdk_chain_init(&c, &config);
    CU_ASSERT_EQUAL(c.state, DPDK_CHAIN_NOT_OFFERED);
    path_tell();
    run(NS_PER_S);
    CU_ASSERT_EQUAL(c.requests, 0);
    close();
}

/* All mbufs of the port's pool are taken: nothing is sent, nothing is lost. */
static void a_port_without_mbufs_is_asked_later(void)
{
    static struct rte_mbuf *taken[1023];
    uint32_t count = 0;
    open();
    struct rte_mempool *pool = c.config.queue->chain_pool;
    while (count < 1023 && (taken[count] = rte_pktmbuf_alloc(pool)) != NULL)
        count++;
    path_tell();
    run(NS_PER_S);
    CU_ASSERT_EQUAL(c.state, DPDK_CHAIN_UNPROVEN);
    CU_ASSERT_EQUAL(requests_chained, 0);
    rte_pktmbuf_free_bulk(taken, count);
    run(UINT64_C(10) * NS_PER_S);
    CU_ASSERT_EQUAL(c.state, DPDK_CHAIN_PROVEN);
    close();
}

static void names_are_there_for_all(void)
{
    for (int s = DPDK_CHAIN_UNPROVEN; s <= DPDK_CHAIN_NOT_RETURNED; s++)
        CU_ASSERT_STRING_NOT_EQUAL(dpdk_chain_state_name((enum dpdk_chain_state)s), "unknown");
}

static const struct unit_test tests[] = {
    UNIT_TEST(an_honest_port_is_proven),
    UNIT_TEST(other_bytes_are_refused),
    UNIT_TEST(chained_frames_that_do_not_arrive_are_refused),
    UNIT_TEST(frames_that_were_lost_are_tried_again),
    UNIT_TEST(memory_that_is_kept_is_refused),
    UNIT_TEST(memory_that_is_kept_for_a_round_of_the_ring_is_waited_for),
    UNIT_TEST(frames_that_do_not_arrive_and_are_kept_are_refused),
    UNIT_TEST(nobody_who_answers_proves_nothing),
    UNIT_TEST(answers_of_others_are_none),
    UNIT_TEST(a_port_that_does_not_offer_it_is_not_asked),
    UNIT_TEST(a_port_without_mbufs_is_asked_later),
    UNIT_TEST(names_are_there_for_all),
};
UNIT_MAIN("dpdk_chain", tests)
