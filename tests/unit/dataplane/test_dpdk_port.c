/* Ports without hardware: what lcores get of them, packets handed over, memory, and what is refused. */
#include "dataplane/dpdk_eal.h"
#include "tests/unit/dataplane/dpdk_ports.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_mbuf.h>

#define PORT DPDK_PORTS_UDP
#define DEPTH 2048u

static const struct dpdk_port_config config = {.lcore_count = 1, .udp_port = PORT, .mbufs = 2047};
static struct dpdk_port *ports[2];
static struct rte_mbuf *got[DPDK_PORT_BURST];
static uint32_t got_count;

static void open(uint32_t lcores)
{
    struct dpdk_port_config own = config;
    own.lcore_count = lcores;
    dpdk_ports_pair(ports, &own, DEPTH);
}

static struct dpdk_queue *queue(uint32_t port, uint32_t lcore)
{
    return dpdk_port_queue(ports[port], lcore);
}

static struct rte_mbuf *packet(struct dpdk_queue *q, uint32_t lcore, uint32_t length)
{
    struct rte_mbuf *m = dpdk_ports_packet(q, lcore, length);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    return m;
}

static void send_one(struct dpdk_queue *q, struct rte_mbuf *m)
{
    CU_ASSERT_EQUAL_FATAL(dpdk_queue_send(q, &m, 1), 1);
}

static void receive(struct dpdk_queue *q)
{
    got_count = dpdk_queue_receive(q, got, DPDK_PORT_BURST);
}

static void free_got(void)
{
    for (uint32_t i = 0; i < got_count; i++)
        rte_pktmbuf_free(got[i]);
    got_count = 0;
}

/* One packet came, as dpdk_port.h promises it, with that payload; it is freed. */
static bool is_packet(uint32_t lcore, uint32_t length)
{
    if (got_count != 1)
        return false;
    const struct rte_mbuf *m = got[0];
    const uint8_t *b = rte_pktmbuf_mtod(m, const uint8_t *) + PACKET_HEADER_BYTES;
    bool same = m->nb_segs == 1 && RTE_MBUF_DIRECT(m) && rte_mbuf_refcnt_read(m) == 1 &&
                (uintptr_t)b % 8 == 0 && m->data_len == PACKET_HEADER_BYTES + length;
    for (uint32_t i = 0; same && i < length; i++)
        same = b[i] == (uint8_t)(i * 7 + lcore);
    free_got();
    return same;
}

/* Pools of the port at hand. */
static char pool_names[2 * LIMIT_LCORES][RTE_MEMPOOL_NAMESIZE];
static uint32_t pool_count;

static void pool_names_keep(struct dpdk_port *port)
{
    pool_count = 0;
    for (uint32_t i = 0; i < port->config.lcore_count; i++) {
        const struct dpdk_queue *q = dpdk_port_queue(port, i);
        memcpy(pool_names[pool_count++], q->pool->name, RTE_MEMPOOL_NAMESIZE);
        memcpy(pool_names[pool_count++], q->chain_pool->name, RTE_MEMPOOL_NAMESIZE);
    }
}

static bool pool_is_left(void)
{
    for (uint32_t i = 0; i < pool_count; i++)
        if (rte_mempool_lookup(pool_names[i]) != NULL)
            return true;
    return false;
}

/* ---- open ---- */

static void faults_of_the_configuration_are_refused(void)
{
    struct dpdk_port *port;
    dpdk_ports_start();
    struct dpdk_port_config c = config;
    CU_ASSERT_EQUAL(dpdk_port_open(&port, &c), -EINVAL);
    c.device = "net_ring_none";
    c.lcore_count = 0;
    CU_ASSERT_EQUAL(dpdk_port_open(&port, &c), -EINVAL);
    c.lcore_count = LIMIT_LCORES + 1;
    CU_ASSERT_EQUAL(dpdk_port_open(&port, &c), -EINVAL);
    c.lcore_count = 2;
    c.udp_port = 0;
    CU_ASSERT_EQUAL(dpdk_port_open(&port, &c), -EINVAL);
    c.udp_port = UINT16_MAX;
    CU_ASSERT_EQUAL(dpdk_port_open(&port, &c), -EINVAL);
    c.udp_port = PORT;
    c.mtu = PACKET_MTU_MIN - 1;
    CU_ASSERT_EQUAL(dpdk_port_open(&port, &c), -EINVAL);
    c.mtu = PACKET_MTU_MAX + 1;
    CU_ASSERT_EQUAL(dpdk_port_open(&port, &c), -EINVAL);
    CU_ASSERT_PTR_NULL(port);
}

static void the_environment_starts_once(void)
{
    struct dpdk_eal_config c = {.argument_count = 0};
    dpdk_ports_start();
    CU_ASSERT_EQUAL(dpdk_eal_start(&c), -EALREADY);
    CU_ASSERT_TRUE(dpdk_eal_addresses_are_virtual());
}

static void ports_that_are_not_there_or_in_use_are_refused(void)
{
    struct dpdk_port *port, *other;
    dpdk_ports_start();
    struct dpdk_port_config c = config;
    c.device = "net_nothing0";
    CU_ASSERT_EQUAL(dpdk_port_open(&port, &c), -ENODEV);
    c.device = "0000:ff:1f.7";
    CU_ASSERT_EQUAL(dpdk_port_open(&port, &c), -ENODEV);
    c.device = "net_ring5";
    CU_ASSERT_EQUAL_FATAL(dpdk_port_open(&port, &c), 0);
    CU_ASSERT_EQUAL(dpdk_port_open(&other, &c), -EBUSY);
    dpdk_port_close(port);
    CU_ASSERT_EQUAL(rte_eth_dev_count_avail(), 0);
    CU_ASSERT_EQUAL_FATAL(dpdk_port_open(&port, &c), 0); /* nothing stayed behind */
    pool_names_keep(port);
    dpdk_port_close(port);
    CU_ASSERT_FALSE(pool_is_left());
}

static void what_a_port_is_can_be_read(void)
{
    open(1);
    const struct dpdk_port_facts *f = dpdk_port_facts(ports[0]);
    CU_ASSERT_STRING_EQUAL(f->driver, "net_ring");
    CU_ASSERT_EQUAL(f->mtu, 1500);
    CU_ASSERT_EQUAL(f->pairs, 1);
    CU_ASSERT_TRUE(f->multi_segs);
    CU_ASSERT_EQUAL(f->mac.bytes[0] & 3, 2); /* it has none: one of its own, of a single station */
    CU_ASSERT_NOT_EQUAL(memcmp(&f->mac, &dpdk_port_facts(ports[1])->mac, sizeof f->mac), 0);
    CU_ASSERT_EQUAL(dpdk_port_shown(ports[0])->state, DPDK_PORT_RUNNING);
    dpdk_ports_close(ports);
}

/* ---- packets ---- */

static void packets_come_whole_and_aligned(void)
{
    static const uint32_t lengths[] = {0, 1, 64, 1000, 1472};
    open(1);
    for (uint32_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        send_one(queue(0, 0), packet(queue(0, 0), 0, lengths[i]));
        receive(queue(1, 0));
        CU_ASSERT_TRUE(is_packet(0, lengths[i]));
    }
    CU_ASSERT_EQUAL(queue(0, 0)->counters.sent, 5);
    CU_ASSERT_EQUAL(queue(1, 0)->counters.received, 5);
    CU_ASSERT_EQUAL(queue(0, 0)->counters.sent_bytes, queue(1, 0)->counters.received_bytes);
    CU_ASSERT_EQUAL(queue(1, 0)->counters.copied + queue(1, 0)->counters.moved, 0);
    dpdk_ports_close(ports);
}

static void a_full_port_takes_the_first_ones(void)
{
    struct rte_mbuf *m[40];
    dpdk_ports_pair(ports, &config, 32); /* holds 31 */
    for (uint32_t i = 0; i < 40; i++)
        m[i] = packet(queue(0, 0), 0, i);
    CU_ASSERT_EQUAL(dpdk_queue_send(queue(0, 0), m, 40), 31);
    for (uint32_t i = 31; i < 40; i++)
        rte_pktmbuf_free(m[i]);
    receive(queue(1, 0));
    CU_ASSERT_EQUAL(got_count, 31);
    for (uint32_t i = 0; i < got_count; i++)
        CU_ASSERT_EQUAL(got[i]->data_len, PACKET_HEADER_BYTES + i);
    free_got();
    CU_ASSERT_EQUAL(queue(0, 0)->counters.sent, 31);
    dpdk_ports_close(ports);
}

static uint32_t given_back;

static void on_free(void *address, void *context)
{
    (void)address;
    (void)context;
    given_back++;
}

/* A head of ours and bytes elsewhere. */
static struct rte_mbuf *chain(struct dpdk_queue *q, uint8_t *bytes, uint32_t length,
                              struct rte_mbuf_ext_shared_info *shared)
{
    struct rte_mbuf *m = packet(q, 0, 10);
    struct rte_mbuf *tail = rte_pktmbuf_alloc(q->chain_pool);
    CU_ASSERT_PTR_NOT_NULL_FATAL(tail);
    for (uint32_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)((i + 10) * 7);
    shared->free_cb = on_free;
    rte_mbuf_ext_refcnt_set(shared, 1);
    rte_pktmbuf_attach_extbuf(tail, bytes, (rte_iova_t)(uintptr_t)bytes, (uint16_t)length, shared);
    tail->data_off = 0;
    tail->data_len = (uint16_t)length;
    m->next = tail;
    m->nb_segs = 2;
    m->pkt_len += length;
    return m;
}

static void a_chain_comes_in_one_and_lets_go(void)
{
    struct rte_mbuf_ext_shared_info shared;
    uint8_t bytes[900];
    open(1);
    given_back = 0;
    send_one(queue(0, 0), chain(queue(0, 0), bytes, sizeof bytes, &shared));
    CU_ASSERT_EQUAL(given_back, 0);
    receive(queue(1, 0));
    CU_ASSERT_EQUAL(given_back, 1);
    memset(bytes, 0xee, sizeof bytes);
    CU_ASSERT_TRUE(is_packet(0, 910));
    CU_ASSERT_EQUAL(queue(1, 0)->counters.copied, 1);
    dpdk_ports_close(ports);
}

static void a_chain_longer_than_a_packet_is_dropped(void)
{
    static uint8_t bytes[6000];
    struct rte_mbuf_ext_shared_info shared;
    open(1);
    given_back = 0;
    send_one(queue(0, 0), chain(queue(0, 0), bytes, sizeof bytes, &shared));
    receive(queue(1, 0));
    CU_ASSERT_EQUAL(got_count, 0);
    CU_ASSERT_EQUAL(given_back, 1);
    CU_ASSERT_EQUAL(queue(1, 0)->counters.no_mbuf, 1);
    dpdk_ports_close(ports);
}

static void a_packet_that_others_have_is_copied(void)
{
    open(1);
    struct rte_mbuf *m = packet(queue(0, 0), 0, 50);
    rte_mbuf_refcnt_update(m, 1);
    send_one(queue(0, 0), m);
    receive(queue(1, 0));
    CU_ASSERT_PTR_NOT_EQUAL(got[0], m);
    CU_ASSERT_TRUE(is_packet(0, 50));
    CU_ASSERT_EQUAL(queue(1, 0)->counters.copied, 1);
    rte_pktmbuf_free(m);
    dpdk_ports_close(ports);
}

static void a_payload_that_is_not_aligned_is_moved(void)
{
    open(1);
    for (uint16_t by = 1; by < 8; by++) {
        struct rte_mbuf *m = rte_pktmbuf_alloc(queue(0, 0)->pool);
        struct rte_mbuf *model = packet(queue(0, 0), 0, 333);
        m->data_off = (uint16_t)(m->data_off + by);
        memcpy(rte_pktmbuf_append(m, model->data_len), rte_pktmbuf_mtod(model, uint8_t *),
               model->data_len);
        rte_pktmbuf_free(model);
        send_one(queue(0, 0), m);
        receive(queue(1, 0));
        CU_ASSERT_TRUE(is_packet(0, 333));
        CU_ASSERT_EQUAL(queue(1, 0)->counters.moved, by);
    }
    dpdk_ports_close(ports);
}

/* From a pool whose buffers begin elsewhere, and with nothing in front. */
static void a_payload_that_cannot_be_moved_is_copied(void)
{
    open(1);
    struct rte_mempool *pool = rte_pktmbuf_pool_create("other", 63, 0, 0, 2048, SOCKET_ID_ANY);
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    struct rte_mbuf *model = packet(queue(0, 0), 0, 20);
    struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
    m->data_off = 0;
    memcpy(rte_pktmbuf_append(m, model->data_len), rte_pktmbuf_mtod(model, uint8_t *),
           model->data_len);
    rte_pktmbuf_free(model);
    send_one(queue(0, 0), m);
    receive(queue(1, 0));
    CU_ASSERT_TRUE(is_packet(0, 20));
    CU_ASSERT_EQUAL(queue(1, 0)->counters.copied, 1);
    CU_ASSERT_EQUAL(rte_mempool_in_use_count(pool), 0);
    rte_mempool_free(pool);
    dpdk_ports_close(ports);
}

/* ---- lcores that share ---- */

static void packets_come_out_at_their_lcore(void)
{
    open(3);
    CU_ASSERT_EQUAL(dpdk_port_facts(ports[1])->pairs, 1);
    for (uint32_t lcore = 0; lcore < 4; lcore++)
        send_one(queue(0, 2), packet(queue(0, 2), lcore, 100));
    receive(queue(1, 0));
    CU_ASSERT_EQUAL(got_count, 2); /* its own, and the port of none, which the judge refuses */
    CU_ASSERT_EQUAL(rte_pktmbuf_mtod(got[0], uint8_t *)[37], (PORT + 0) & 0xff);
    CU_ASSERT_EQUAL(rte_pktmbuf_mtod(got[1], uint8_t *)[37], (PORT + 3) & 0xff);
    free_got();
    for (uint32_t lcore = 1; lcore < 3; lcore++) {
        receive(queue(1, lcore));
        CU_ASSERT_TRUE(is_packet(lcore, 100));
        receive(queue(1, lcore));
        CU_ASSERT_EQUAL(got_count, 0);
    }
    CU_ASSERT_EQUAL(queue(1, 0)->counters.handed_over, 2);
    dpdk_ports_close(ports);
}

static void what_is_for_all_comes_out_at_each(void)
{
    struct packet_arp arp = {.operation = PACKET_ARP_REQUEST, .sender = 1, .target = 2};
    struct packet_path path = {.from = 3, .to = 4};
    open(3);
    struct rte_mbuf *m = rte_pktmbuf_alloc(queue(0, 0)->pool);
    packet_arp_write((uint8_t *)rte_pktmbuf_append(m, PACKET_BYTES_MIN), &arp, &packet_broadcast);
    send_one(queue(0, 0), m);
    m = rte_pktmbuf_alloc(queue(0, 0)->pool);
    packet_echo_write((uint8_t *)rte_pktmbuf_append(m, PACKET_HEADER_BYTES), &path, 0, 0, 0);
    send_one(queue(0, 0), m);
    for (uint32_t i = 0; i < 3; i++) {
        receive(queue(1, (i + 1) % 3)); /* 1 polls the port */
        CU_ASSERT_EQUAL(got_count, 2);
        CU_ASSERT_EQUAL(rte_pktmbuf_mtod(got[0], uint8_t *)[13], 6);
        CU_ASSERT_EQUAL(rte_pktmbuf_mtod(got[1], uint8_t *)[23], 1);
        CU_ASSERT_EQUAL((rte_pktmbuf_mtod(got[1], uintptr_t) + PACKET_HEADER_BYTES) % 8, 0);
        free_got();
    }
    dpdk_ports_close(ports);
}

static void an_inbox_that_is_full_drops(void)
{
    open(2);
    for (uint32_t i = 0; i < DPDK_PORT_INBOX + 5; i++) {
        send_one(queue(0, 0), packet(queue(0, 0), 1, 8));
        receive(queue(1, 0));
        CU_ASSERT_EQUAL(got_count, 0);
    }
    CU_ASSERT_EQUAL(queue(1, 0)->counters.handed_over, DPDK_PORT_INBOX - 1);
    CU_ASSERT_EQUAL(queue(1, 0)->counters.inbox_full, 6);
    for (uint32_t i = 0; i < DPDK_PORT_INBOX / DPDK_PORT_BURST; i++) {
        receive(queue(1, 1));
        free_got();
    }
    CU_ASSERT_EQUAL(queue(1, 1)->counters.received, DPDK_PORT_INBOX - 1);
    dpdk_ports_close(ports);
}

/* A port that hears itself: what waits in an inbox is freed before the pools are. */
static void what_waits_in_an_inbox_is_freed(void)
{
    struct dpdk_port_config c = config;
    c.device = "net_ring6";
    c.lcore_count = 2;
    dpdk_ports_start();
    CU_ASSERT_EQUAL_FATAL(dpdk_port_open(&ports[0], &c), 0);
    for (uint32_t i = 0; i < 5; i++)
        send_one(queue(0, 0), packet(queue(0, 0), 1, 8));
    receive(queue(0, 0));
    CU_ASSERT_EQUAL(got_count, 0);
    CU_ASSERT_EQUAL(queue(0, 0)->counters.handed_over, 5);
    pool_names_keep(ports[0]);
    CU_ASSERT_TRUE(pool_is_left());
    dpdk_port_close(ports[0]);
    CU_ASSERT_FALSE(pool_is_left());
}

static void a_pair_that_somebody_has_is_not_waited_for(void)
{
    open(2);
    struct rte_mbuf *m = packet(queue(0, 0), 0, 8);
    dpdk_port_quiesce(ports[0]);
    CU_ASSERT_EQUAL(dpdk_queue_send(queue(0, 0), &m, 1), 0);
    receive(queue(0, 1));
    CU_ASSERT_EQUAL(got_count, 0);
    CU_ASSERT_EQUAL(queue(0, 0)->counters.busy, 1);
    CU_ASSERT_EQUAL(queue(0, 1)->counters.busy, 1);
    dpdk_port_resume(ports[0]);
    send_one(queue(0, 0), m);
    receive(queue(1, 0));
    CU_ASSERT_TRUE(is_packet(0, 8));
    dpdk_ports_close(ports);
}

/* Wrapped: a device that takes rules, or so many of them. */
struct rte_flow *__wrap_rte_flow_create(uint16_t id, const struct rte_flow_attr *attributes,
                                        const struct rte_flow_item pattern[],
                                        const struct rte_flow_action actions[],
                                        struct rte_flow_error *error);
int __wrap_rte_flow_flush(uint16_t id, struct rte_flow_error *error);
static uint32_t rules_taken, rules_made, rules_wrong, flushed;
static uint32_t rules_kept; /* of a start before, which are in the way */

struct rte_flow *__wrap_rte_flow_create(uint16_t id, const struct rte_flow_attr *attributes,
                                        const struct rte_flow_item pattern[],
                                        const struct rte_flow_action actions[],
                                        struct rte_flow_error *error)
{
    const struct rte_flow_item_udp *udp = pattern[2].spec;
    const struct rte_flow_action_queue *q = actions[0].conf;
    (void)id;
    (void)error;
    if (rules_made == rules_taken || rules_kept != 0)
        return NULL;
    rules_wrong += attributes->ingress != 1 || pattern[2].type != RTE_FLOW_ITEM_TYPE_UDP ||
                   actions[0].type != RTE_FLOW_ACTION_TYPE_QUEUE || q->index != rules_made ||
                   udp->hdr.dst_port != htons((uint16_t)(PORT + rules_made));
    rules_made++;
    return (struct rte_flow *)(void *)&rules_made;
}

int __wrap_rte_flow_flush(uint16_t id, struct rte_flow_error *error)
{
    (void)id;
    (void)error;
    flushed++;
    rules_kept = 0;
    return 0;
}

/* Four pairs of queues are what the loopback of net_ring has at most. */
static void steer(uint32_t lcores, uint32_t taken, bool steered)
{
    struct dpdk_port_config c = config;
    c.device = "net_ring9";
    c.lcore_count = lcores;
    rules_taken = taken;
    rules_made = rules_wrong = flushed = 0;
    dpdk_ports_start();
    CU_ASSERT_EQUAL_FATAL(dpdk_port_open(&ports[0], &c), 0);
    CU_ASSERT_EQUAL(dpdk_port_facts(ports[0])->steered, steered);
    CU_ASSERT_EQUAL(rules_wrong, 0);
    dpdk_port_close(ports[0]);
}

static void rules_put_packets_right_where_a_device_takes_them(void)
{
    steer(1, 9, false);
    CU_ASSERT_EQUAL(rules_made, 0); /* there is nothing to put right */
    steer(2, 9, true);
    CU_ASSERT_EQUAL(rules_made, 2);
    CU_ASSERT_EQUAL(flushed, 1); /* before */
    rules_kept = 2;
    steer(2, 9, true);
    CU_ASSERT_EQUAL(rules_made, 2);
    steer(2, 1, false);
    CU_ASSERT_EQUAL(flushed, 2); /* all or none */
    steer(2, 0, false);
    CU_ASSERT_EQUAL(flushed, 1);
    steer(LIMIT_LCORES, LIMIT_LCORES, LIMIT_LCORES == 16);
    CU_ASSERT_EQUAL(rules_made, LIMIT_LCORES);
}

/* ---- sizes ---- */

/* On the loopback interface, where the user may. */
static void frames_of_af_packet_hold_the_mtu(void)
{
    struct dpdk_port *port;
    struct dpdk_port_config c = config;
    dpdk_ports_start();
    c.mtu = 9000;
    c.device = "net_af_packet0,iface=lo";
    if (geteuid() != 0) {
        CU_PASS("needs root");
        return;
    }
    CU_ASSERT_EQUAL(dpdk_port_open(&port, &c), -EMSGSIZE);
    c.device = "net_af_packet0,iface=lo,framesz=9040,blocksz=65536,framecnt=511";
    CU_ASSERT_EQUAL(dpdk_port_open(&port, &c), -EMSGSIZE);
    c.device = "net_af_packet0,iface=lo,framesz=16384,blocksz=65536,framecnt=512";
    CU_ASSERT_EQUAL_FATAL(dpdk_port_open(&port, &c), 0);
    CU_ASSERT_EQUAL(dpdk_port_facts(port)->mtu, 9000);
    CU_ASSERT_TRUE(rte_pktmbuf_data_room_size(dpdk_port_queue(port, 0)->pool) >= 16384);
    dpdk_port_close(port);
    CU_ASSERT_EQUAL(rte_eth_dev_count_avail(), 0);
}

/* ---- memory ---- */

static void memory_can_be_named_and_taken_back(void)
{
    uint64_t bytes = 3 * PAGE;
    uint8_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_PTR_NOT_EQUAL_FATAL(memory, MAP_FAILED);
    open(1);
    CU_ASSERT_PTR_NULL(rte_mem_virt2memseg_list(memory));
    CU_ASSERT_EQUAL(dpdk_port_map(ports[0], memory, bytes), 0);
    CU_ASSERT_PTR_NOT_NULL(rte_mem_virt2memseg_list(memory));
    CU_ASSERT_EQUAL(dpdk_port_map(ports[1], memory, bytes), 0); /* by another port, too */
    CU_ASSERT_EQUAL(dpdk_port_map(ports[0], memory, 100), -EINVAL);
    CU_ASSERT_EQUAL(dpdk_port_map(ports[0], memory, 0), -EINVAL);
    dpdk_port_unmap(ports[0], memory, bytes);
    CU_ASSERT_PTR_NULL(rte_mem_virt2memseg_list(memory));
    CU_ASSERT_EQUAL(dpdk_port_map(ports[0], memory, bytes), 0);
    dpdk_port_unmap(ports[0], memory, bytes);
    munmap(memory, bytes);
    dpdk_ports_close(ports);
}

static const struct unit_test tests[] = {
    UNIT_TEST(faults_of_the_configuration_are_refused),
    UNIT_TEST(the_environment_starts_once),
    UNIT_TEST(ports_that_are_not_there_or_in_use_are_refused),
    UNIT_TEST(what_a_port_is_can_be_read),
    UNIT_TEST(packets_come_whole_and_aligned),
    UNIT_TEST(a_full_port_takes_the_first_ones),
    UNIT_TEST(a_chain_comes_in_one_and_lets_go),
    UNIT_TEST(a_chain_longer_than_a_packet_is_dropped),
    UNIT_TEST(a_packet_that_others_have_is_copied),
    UNIT_TEST(a_payload_that_is_not_aligned_is_moved),
    UNIT_TEST(a_payload_that_cannot_be_moved_is_copied),
    UNIT_TEST(packets_come_out_at_their_lcore),
    UNIT_TEST(what_is_for_all_comes_out_at_each),
    UNIT_TEST(an_inbox_that_is_full_drops),
    UNIT_TEST(what_waits_in_an_inbox_is_freed),
    UNIT_TEST(a_pair_that_somebody_has_is_not_waited_for),
    UNIT_TEST(rules_put_packets_right_where_a_device_takes_them),
    UNIT_TEST(frames_of_af_packet_hold_the_mtu),
    UNIT_TEST(memory_can_be_named_and_taken_back),
};
UNIT_MAIN("dpdk_port", tests)
