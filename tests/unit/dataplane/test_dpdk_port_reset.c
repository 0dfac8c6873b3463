/* Ports that are reset, fail and come back, links that flap, and lcores that go on meanwhile. */
#include "dataplane/dpdk_eal.h"
#include "tests/unit/dataplane/dpdk_ports.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#define PORT DPDK_PORTS_UDP

static const struct dpdk_port_config config = {.lcore_count = 1, .udp_port = PORT, .mbufs = 2047};
static struct dpdk_port *ports[2];

static void open(void)
{
    dpdk_ports_pair(ports, &config, 256);
}

static struct dpdk_queue *queue(uint32_t port, uint32_t lcore)
{
    return dpdk_port_queue(ports[port], lcore);
}

static struct rte_mbuf *packet(void)
{
    struct rte_mbuf *m = dpdk_ports_packet(queue(0, 0), 0, 8);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    return m;
}

/* A packet leaves one port and comes to the other. */
static bool goes_over(struct rte_mbuf *m)
{
    struct rte_mbuf *got[2];
    if (dpdk_queue_send(queue(0, 0), &m, 1) != 1)
        return false;
    uint32_t count = dpdk_queue_receive(queue(1, 0), got, 2);
    for (uint32_t i = 0; i < count; i++)
        rte_pktmbuf_free(got[i]);
    return count == 1;
}

/* ---- resets and links ---- */

/* Wrapped: a device that does not start, and one whose driver has a reset. */
int __real_rte_eth_dev_start(uint16_t id);
int __wrap_rte_eth_dev_start(uint16_t id);
int __real_rte_eth_dev_reset(uint16_t id);
int __wrap_rte_eth_dev_reset(uint16_t id);
static int start_result, reset_result = -ENOTSUP;

/* Bursts under way; those that met another one, or a device that starts. */
static _Atomic uint32_t receiving, sending, crowded;

static void pass_through(_Atomic uint32_t *bursts)
{
    uint32_t others = atomic_fetch_add_explicit(bursts, 1, memory_order_relaxed);
    for (uint32_t i = 0; i < 50; i++)
        cpu_relax();
    if (others != 0)
        atomic_fetch_add_explicit(&crowded, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(bursts, 1, memory_order_relaxed);
}

/* NOLINTNEXTLINE(readability-function-size): the signature is DPDK's */
static uint16_t on_receive(uint16_t id, uint16_t pair, struct rte_mbuf *mbufs[], uint16_t count,
                           uint16_t most, void *context)
{
    (void)id;
    (void)pair;
    (void)mbufs;
    (void)most;
    (void)context;
    pass_through(&receiving);
    return count;
}

static uint16_t on_send(uint16_t id, uint16_t pair, struct rte_mbuf *mbufs[], uint16_t count,
                        void *context)
{
    (void)id;
    (void)pair;
    (void)mbufs;
    (void)context;
    pass_through(&sending);
    return count;
}

int __wrap_rte_eth_dev_start(uint16_t id)
{
    if (atomic_load_explicit(&receiving, memory_order_relaxed) != 0 ||
        atomic_load_explicit(&sending, memory_order_relaxed) != 0)
        atomic_fetch_add_explicit(&crowded, 1, memory_order_relaxed);
    return start_result != 0 ? start_result : __real_rte_eth_dev_start(id);
}

int __wrap_rte_eth_dev_reset(uint16_t id)
{
    CU_ASSERT_EQUAL(__real_rte_eth_dev_reset(id), -ENOTSUP);
    return reset_result;
}

static void a_reset_is_survived_and_counted(void)
{
    open();
    const struct dpdk_port_shown *s = dpdk_port_shown(ports[0]);
    dpdk_port_tick(ports[0], 1);
    CU_ASSERT_EQUAL(s->resets, 0);
    dpdk_port_ask_reset(ports[0]);
    dpdk_port_tick(ports[0], 2);
    dpdk_port_tick(ports[0], 3);
    CU_ASSERT_EQUAL(s->resets, 1);
    CU_ASSERT_EQUAL(s->state, DPDK_PORT_RUNNING);
    CU_ASSERT_TRUE(goes_over(packet()));
    dpdk_ports_close(ports);
}

/* Why wrapped: only drivers may call who registered. */
int __real_rte_eth_dev_callback_register(uint16_t id, enum rte_eth_event_type type,
                                         rte_eth_dev_cb_fn on, void *context);
int __wrap_rte_eth_dev_callback_register(uint16_t id, enum rte_eth_event_type type,
                                         rte_eth_dev_cb_fn on, void *context);
static rte_eth_dev_cb_fn on_event;

int __wrap_rte_eth_dev_callback_register(uint16_t id, enum rte_eth_event_type type,
                                         rte_eth_dev_cb_fn on, void *context)
{
    on_event = on;
    return __real_rte_eth_dev_callback_register(id, type, on, context);
}

static void an_event_of_the_port_asks_for_a_reset(void)
{
    open();
    const struct dpdk_port_shown *s = dpdk_port_shown(ports[0]);
    CU_ASSERT_PTR_NOT_NULL_FATAL(on_event);
    on_event(ports[0]->id, RTE_ETH_EVENT_INTR_RMV, ports[0], NULL);
    dpdk_port_tick(ports[0], 0);
    CU_ASSERT_EQUAL(s->resets, 0);
    CU_ASSERT_EQUAL(s->removals, 1);
    on_event(ports[0]->id, RTE_ETH_EVENT_INTR_RESET, ports[0], NULL);
    CU_ASSERT_EQUAL(s->resets, 0); /* not in the interrupt's thread */
    dpdk_port_tick(ports[0], 1);
    CU_ASSERT_EQUAL(s->resets, 1);
    dpdk_ports_close(ports);
}

static void a_reset_of_the_driver_is_followed_by_set_up(void)
{
    open();
    const struct dpdk_port_shown *s = dpdk_port_shown(ports[0]);
    reset_result = 0;
    ports[0]->offloads_in |= RTE_ETH_RX_OFFLOAD_SECURITY; /* which it does not have */
    dpdk_port_ask_reset(ports[0]);
    dpdk_port_tick(ports[0], 1);
    CU_ASSERT_EQUAL(s->state, DPDK_PORT_FAILED);
    ports[0]->offloads_in &= ~RTE_ETH_RX_OFFLOAD_SECURITY;
    dpdk_port_ask_reset(ports[0]);
    dpdk_port_tick(ports[0], 2);
    CU_ASSERT_EQUAL(s->state, DPDK_PORT_RUNNING);
    reset_result = -EIO;
    dpdk_port_ask_reset(ports[0]);
    dpdk_port_tick(ports[0], 3);
    CU_ASSERT_EQUAL(s->state, DPDK_PORT_FAILED);
    reset_result = -ENOTSUP;
    dpdk_port_tick(ports[0], 3 + DPDK_PORT_RETRY_NS);
    CU_ASSERT_EQUAL(s->state, DPDK_PORT_RUNNING);
    CU_ASSERT_TRUE(goes_over(packet()));
    dpdk_ports_close(ports);
}

static void a_port_that_does_not_come_back_is_tried_again(void)
{
    open();
    const struct dpdk_port_shown *s = dpdk_port_shown(ports[0]);
    struct rte_mbuf *m = packet();
    struct rte_mbuf *got;
    start_result = -EIO;
    dpdk_port_ask_reset(ports[0]);
    dpdk_port_tick(ports[0], 5);
    CU_ASSERT_EQUAL(s->state, DPDK_PORT_FAILED);
    CU_ASSERT_EQUAL(s->resets_failed, 1);
    CU_ASSERT_EQUAL(dpdk_queue_send(queue(0, 0), &m, 1), 0);
    dpdk_queue_clean(queue(0, 0));
    CU_ASSERT_EQUAL(dpdk_queue_receive(queue(0, 0), &got, 1), 0);
    start_result = 0;
    dpdk_port_tick(ports[0], 4 + DPDK_PORT_RETRY_NS);
    CU_ASSERT_EQUAL(s->state, DPDK_PORT_FAILED);
    dpdk_port_tick(ports[0], 5 + DPDK_PORT_RETRY_NS);
    CU_ASSERT_EQUAL(s->state, DPDK_PORT_RUNNING);
    CU_ASSERT_EQUAL(s->resets, 1);
    CU_ASSERT_TRUE(goes_over(m));
    dpdk_ports_close(ports);
}

static void links_that_flap_are_counted(void)
{
    open();
    const struct dpdk_port_shown *s = dpdk_port_shown(ports[0]);
    uint64_t ups = s->link_ups;
    CU_ASSERT_EQUAL(s->link_up, 1);
    CU_ASSERT_EQUAL(rte_eth_dev_set_link_down(ports[0]->id), 0);
    dpdk_port_tick(ports[0], 1);
    dpdk_port_tick(ports[0], 2);
    CU_ASSERT_EQUAL(s->link_up, 0);
    CU_ASSERT_EQUAL(s->link_downs, 1);
    CU_ASSERT_EQUAL(rte_eth_dev_set_link_up(ports[0]->id), 0);
    dpdk_port_tick(ports[0], 3);
    CU_ASSERT_EQUAL(s->link_up, 1);
    CU_ASSERT_EQUAL(s->link_ups, ups + 1);
    dpdk_ports_close(ports);
}

static void a_client_without_its_server_is_reset_each_second(void)
{
    uint64_t second = DPDK_PORT_RETRY_NS;
    open();
    const struct dpdk_port_shown *s = dpdk_port_shown(ports[0]);
    CU_ASSERT_FALSE(ports[0]->calls); /* a link of others comes back by itself */
    CU_ASSERT_EQUAL(rte_eth_dev_set_link_down(ports[0]->id), 0);
    dpdk_port_tick(ports[0], second);
    dpdk_port_tick(ports[0], 3 * second);
    CU_ASSERT_EQUAL(s->resets, 0);
    ports[0]->calls = true;
    dpdk_port_tick(ports[0], 4 * second);
    dpdk_port_tick(ports[0], 5 * second - 1);
    CU_ASSERT_EQUAL(s->resets, 0);
    start_result = -EIO;
    dpdk_port_tick(ports[0], 5 * second);
    CU_ASSERT_EQUAL(s->resets_failed, 1);
    dpdk_port_tick(ports[0], 6 * second - 1);
    CU_ASSERT_EQUAL(s->resets_failed, 1);
    start_result = 0;
    dpdk_port_tick(ports[0], 6 * second); /* the start brings this link up */
    dpdk_port_tick(ports[0], 8 * second);
    CU_ASSERT_EQUAL(s->resets, 1);
    CU_ASSERT_EQUAL(s->link_up, 1);
    /* One that is up and down again has its second from then on. */
    CU_ASSERT_EQUAL(rte_eth_dev_set_link_down(ports[0]->id), 0);
    dpdk_port_tick(ports[0], 9 * second);
    CU_ASSERT_EQUAL(s->resets, 1);
    dpdk_port_tick(ports[0], 10 * second);
    CU_ASSERT_EQUAL(s->resets, 2);
    dpdk_ports_close(ports);
}

/* What a client of a memif calls; it says nothing, so that the link stays down.  Why not a port of net_memif: two ends
 * in one process do not come together. */
static int listen_at(struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)snprintf(address->sun_path, sizeof address->sun_path, "/tmp/dunlin-memif-%d",
                   (int)getpid());
    CU_ASSERT_EQUAL_FATAL(bind(fd, (const struct sockaddr *)address, sizeof *address), 0);
    CU_ASSERT_EQUAL_FATAL(listen(fd, 4), 0);
    return fd;
}

/* The call is left open: at its end the driver's own thread would take the connection down. */
static int call_take(int fd)
{
    return accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static void a_client_of_a_memif_calls_its_server_again(void)
{
    char client[256];
    struct sockaddr_un address;
    struct dpdk_port_config c = config;
    dpdk_ports_start();
    int fd = listen_at(&address), calls[2];
    (void)snprintf(client, sizeof client, "net_memif0,socket=%s,socket-abstract=no",
                   address.sun_path);
    c.device = client;
    CU_ASSERT_EQUAL_FATAL(dpdk_port_open(&ports[0], &c), 0);
    CU_ASSERT_TRUE(ports[0]->calls);
    CU_ASSERT_TRUE(dpdk_port_facts(ports[0])->multi_segs);
    calls[0] = call_take(fd);
    dpdk_port_tick(ports[0], DPDK_PORT_RETRY_NS);
    dpdk_port_tick(ports[0], 2 * DPDK_PORT_RETRY_NS);
    CU_ASSERT_EQUAL(dpdk_port_shown(ports[0])->resets, 1);
    calls[1] = call_take(fd);
    dpdk_port_close(ports[0]);
    for (uint32_t i = 0; i < 2; i++) {
        CU_ASSERT_TRUE(calls[i] >= 0);
        close(calls[i]);
    }
    close(fd);
    unlink(address.sun_path);
    /* Nobody there: a port that is opened says so at once. */
    CU_ASSERT_NOT_EQUAL(dpdk_port_open(&ports[0], &c), 0);
}

static void a_server_of_a_memif_waits(void)
{
    struct dpdk_port_config c = config;
    c.device = "net_memif0,role=server"; /* at an abstract address */
    dpdk_ports_start();
    CU_ASSERT_EQUAL_FATAL(dpdk_port_open(&ports[0], &c), 0);
    CU_ASSERT_FALSE(ports[0]->calls);
    dpdk_port_close(ports[0]);
}

/* ---- threads ---- */

#define THREADS 2u
#define PACKETS 5000u /* at least, of each */
#define RESETS 100u

static struct thread {
    pthread_t id;
    struct dpdk_queue *q;
    int joined;
    uint64_t sent, taken, wrong;
} threads[THREADS];
static _Atomic uint32_t still_sending, still_resetting;

static void take(struct thread *t)
{
    struct rte_mbuf *m[DPDK_PORT_BURST];
    uint32_t count = dpdk_queue_receive(t->q, m, DPDK_PORT_BURST);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *b = rte_pktmbuf_mtod(m[i], const uint8_t *);
        t->wrong += (uint32_t)(b[36] << 8 | b[37]) != PORT + t->q->lcore;
        rte_pktmbuf_free(m[i]);
    }
    t->taken += count;
}

/* Sends to both lcores, and takes what is its own until both are done. */
static void *lcore_run(void *context)
{
    struct thread *t = context;
    t->joined = dpdk_eal_join();
    while (t->sent < PACKETS || atomic_load_explicit(&still_resetting, memory_order_relaxed) != 0) {
        struct rte_mbuf *m;
        while ((m = dpdk_ports_packet(t->q, (uint32_t)(t->sent % THREADS), 8)) == NULL)
            take(t);
        while (dpdk_queue_send(t->q, &m, 1) == 0)
            take(t);
        t->sent++;
        take(t);
    }
    atomic_fetch_sub_explicit(&still_sending, 1, memory_order_relaxed);
    while (atomic_load_explicit(&still_sending, memory_order_relaxed) != 0)
        take(t);
    dpdk_eal_leave();
    return NULL;
}

/* A port that hears itself, one pair of queues, two lcores, and control that resets it all the time. */
static void lcores_share_a_pair_and_resets_do_not_disturb_them(void)
{
    struct dpdk_port_config c = config;
    uint64_t sent = 0, taken = 0, lost = 0;
    c.device = "net_ring8";
    c.lcore_count = THREADS;
    c.mbufs = 8191;
    dpdk_ports_start();
    CU_ASSERT_EQUAL_FATAL(dpdk_port_open(&ports[0], &c), 0);
    CU_ASSERT_PTR_NOT_NULL(rte_eth_add_rx_callback(ports[0]->id, 0, on_receive, NULL));
    CU_ASSERT_PTR_NOT_NULL(rte_eth_add_tx_callback(ports[0]->id, 0, on_send, NULL));
    atomic_store_explicit(&still_sending, THREADS, memory_order_relaxed);
    atomic_store_explicit(&still_resetting, 1, memory_order_relaxed);
    for (uint32_t i = 0; i < THREADS; i++) {
        threads[i] = (struct thread){.q = queue(0, i), .joined = -1};
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i].id, NULL, lcore_run, &threads[i]), 0);
    }
    for (uint32_t i = 0; i < RESETS; i++) {
        dpdk_port_ask_reset(ports[0]);
        dpdk_port_tick(ports[0], 1);
        sched_yield();
    }
    atomic_store_explicit(&still_resetting, 0, memory_order_relaxed);
    for (uint32_t i = 0; i < THREADS; i++)
        pthread_join(threads[i].id, NULL);
    for (uint32_t i = 0; i < 2 * DPDK_PORT_INBOX; i++)
        take(&threads[i % THREADS]);
    for (uint32_t i = 0; i < THREADS; i++) {
        CU_ASSERT_EQUAL(threads[i].joined, 0);
        CU_ASSERT_EQUAL(threads[i].wrong, 0);
        sent += threads[i].sent;
        taken += threads[i].taken;
        lost += queue(0, i)->counters.inbox_full;
    }
    CU_ASSERT_EQUAL(crowded, 0);
    CU_ASSERT_EQUAL(taken + lost, sent);
    CU_ASSERT_TRUE(sent >= THREADS * PACKETS && taken != 0);
    CU_ASSERT_EQUAL(dpdk_port_shown(ports[0])->resets, RESETS);
    CU_ASSERT_EQUAL(dpdk_port_shown(ports[0])->resets_failed, 0);
    for (uint32_t i = 0; i < THREADS; i++)
        CU_ASSERT_EQUAL(rte_mempool_in_use_count(queue(0, i)->pool), 0);
    dpdk_port_close(ports[0]);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_reset_is_survived_and_counted),
    UNIT_TEST(an_event_of_the_port_asks_for_a_reset),
    UNIT_TEST(a_reset_of_the_driver_is_followed_by_set_up),
    UNIT_TEST(a_port_that_does_not_come_back_is_tried_again),
    UNIT_TEST(links_that_flap_are_counted),
    UNIT_TEST(a_client_without_its_server_is_reset_each_second),
    UNIT_TEST(a_client_of_a_memif_calls_its_server_again),
    UNIT_TEST(a_server_of_a_memif_waits),
    UNIT_TEST(lcores_share_a_pair_and_resets_do_not_disturb_them),
};
UNIT_MAIN("dpdk_port_reset", tests)
