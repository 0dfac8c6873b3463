/* Lcores that sleep on a port: what wakes them, and that nothing is missed on the way to sleep.  A port with
 * interrupts without hardware: net_virtio_user, whose other end, net_vhost, is in this process, too. */
#include "dataplane/dpdk_eal.h"
#include "dataplane/transport_dpdk.h"
#include "tests/unit/dataplane/dpdk_ports.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#define COMES_MS 20000 /* what has not come by then never comes */
#define QUIET_MS 20

static struct dpdk_port *port, *other; /* the one that is slept on; its other end */

/* Or two cards that reach each other, by PCI address, as arguments of the environment: for a machine that has them. */
static const char *card(const char *name)
{
    static const char *arguments[] = {"-a", NULL, "-a", NULL, "--no-telemetry", "--iova-mode=va",
                                      NULL};
    const struct dpdk_eal_config config = {
        .arguments = arguments, .argument_count = 7, .pages = DPDK_EAL_PAGES_SMALL};
    arguments[1] = getenv("DUNLIN_WAKE_PORT");
    arguments[3] = getenv("DUNLIN_WAKE_OTHER");
    arguments[6] = getenv("DUNLIN_WAKE_EAL");
    if (arguments[1] == NULL || arguments[3] == NULL || arguments[6] == NULL)
        return NULL;
    if (!dpdk_eal_is_started()) {
        CU_ASSERT_EQUAL_FATAL(dpdk_eal_start(&config), 0);
        CU_ASSERT_EQUAL(atexit(dpdk_eal_stop), 0);
    }
    return getenv(name);
}

static void link_await(struct dpdk_port *p)
{
    for (uint32_t i = 0; i < COMES_MS && dpdk_port_shown(p)->link_up == 0; i++) {
        usleep(1000);
        dpdk_port_tick(p, 1);
    }
    CU_ASSERT_EQUAL(dpdk_port_shown(p)->link_up, 1);
}

static void open_both(uint32_t lcores)
{
    static uint32_t number;
    char directory[] = "/tmp/dunlin-wake.XXXXXX", path[64], device[128];
    struct dpdk_port_config config = {
        .lcore_count = lcores, .udp_port = DPDK_PORTS_UDP, .mbufs = 2047};
    config.device = card("DUNLIN_WAKE_OTHER");
    dpdk_ports_start();
    number++;
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/end", directory);
    (void)snprintf(device, sizeof device, "net_vhost%u,iface=%s", number, path);
    if (config.device == NULL)
        config.device = device;
    CU_ASSERT_EQUAL(dpdk_port_open(&other, &config), 0);
    (void)snprintf(device, sizeof device, "net_virtio_user%u,path=%s", number, path);
    config.device = config.device == device ? device : card("DUNLIN_WAKE_PORT");
    CU_ASSERT_EQUAL(dpdk_port_open(&port, &config), 0);
    /* Why now: they have found each other, and a test that is killed leaves nothing. */
    (void)unlink(path);
    CU_ASSERT_EQUAL(rmdir(directory), 0);
    CU_ASSERT_TRUE_FATAL(port != NULL && other != NULL);
    link_await(other);
    link_await(port);
}

static void close_both(void)
{
    dpdk_port_close(port);
    dpdk_port_close(other);
}

static struct dpdk_queue *lcore(uint32_t number)
{
    return dpdk_port_queue(port, number);
}

/* A packet for that lcore has come to the port. */
static void comes(uint32_t to)
{
    struct dpdk_queue *q = dpdk_port_queue(other, 0);
    struct rte_mbuf *m = dpdk_ports_packet(q, to, 8);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    memcpy(rte_pktmbuf_mtod(m, uint8_t *), &dpdk_port_facts(port)->mac, PACKET_MAC_BYTES);
    /* The other end may not have heard yet that the port has started. */
    for (uint32_t i = 0; i < COMES_MS && dpdk_queue_send(q, &m, 1) == 0; i++)
        usleep(1000);
}

static uint32_t takes(uint32_t number)
{
    struct rte_mbuf *m[8];
    uint32_t count = dpdk_queue_receive(lcore(number), m, 8);
    rte_pktmbuf_free_bulk(m, count);
    return count;
}

/* One packet, which may still be on its way where the wire is a real one. */
static bool arrives(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < COMES_MS && count == 0; i++) {
        count = takes(0);
        if (count == 0)
            usleep(1000);
    }
    return count == 1;
}

/* As an lcore's thread: edge-triggered, in an epoll set of its own. */
static int sleeps_on(int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    int set = epoll_create1(EPOLL_CLOEXEC);
    CU_ASSERT_TRUE_FATAL(set >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
    (void)epoll_wait(set, &event, 1, 0); /* what came before */
    return set;
}

static bool wakes(int set, int ms)
{
    struct epoll_event event;
    return epoll_wait(set, &event, 1, ms) == 1;
}

static void a_port_without_interrupts_wakes_nobody(void)
{
    struct dpdk_port *ports[2];
    const struct dpdk_port_config config = {
        .lcore_count = 1, .udp_port = DPDK_PORTS_UDP, .mbufs = 2047};
    (void)card("DUNLIN_WAKE_PORT"); /* its environment is that of all tests */
    dpdk_ports_pair(ports, &config, 64);
    CU_ASSERT_FALSE(dpdk_port_facts(ports[0])->interrupts);
    CU_ASSERT_EQUAL(dpdk_port_queue(ports[0], 0)->wake_fd, -1);
    CU_ASSERT_FALSE(dpdk_queue_arm(dpdk_port_queue(ports[0], 0)));
    dpdk_queue_disarm(dpdk_port_queue(ports[0], 0));
    dpdk_ports_close(ports);
}

static void a_packet_wakes_who_is_armed(void)
{
    open_both(1);
    CU_ASSERT_TRUE_FATAL(dpdk_port_facts(port)->interrupts);
    int set = sleeps_on(lcore(0)->wake_fd);
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_TRUE(dpdk_queue_arm(lcore(0)));
        CU_ASSERT_EQUAL(takes(0), 0);
        CU_ASSERT_FALSE(wakes(set, QUIET_MS));
        comes(0);
        CU_ASSERT_TRUE(wakes(set, COMES_MS));
        dpdk_queue_disarm(lcore(0));
        CU_ASSERT_EQUAL(takes(0), 1);
    }
    close(set);
    close_both();
}

static void what_came_before_is_found_by_the_look_after(void)
{
    open_both(1);
    int set = sleeps_on(lcore(0)->wake_fd);
    comes(0);
    CU_ASSERT_FALSE(wakes(set, QUIET_MS)); /* nobody asked for it */
    CU_ASSERT_TRUE(dpdk_queue_arm(lcore(0)));
    CU_ASSERT_TRUE(arrives());
    dpdk_queue_disarm(lcore(0));
    (void)wakes(set, 0); /* of one that was late */
    comes(0);
    CU_ASSERT_FALSE(wakes(set, QUIET_MS)); /* nor any more */
    CU_ASSERT_TRUE(arrives());
    close(set);
    close_both();
}

static void who_is_handed_something_over_wakes(void)
{
    open_both(3);
    int sets[3];
    for (uint32_t i = 0; i < 3; i++)
        sets[i] = sleeps_on(lcore(i)->wake_fd);
    /* Both sleep on the pair: both wake, and the first one has nothing for itself. */
    CU_ASSERT_TRUE(dpdk_queue_arm(lcore(0)) && dpdk_queue_arm(lcore(1)));
    comes(1);
    CU_ASSERT_TRUE(wakes(sets[0], COMES_MS) && wakes(sets[1], COMES_MS));
    dpdk_queue_disarm(lcore(0));
    CU_ASSERT_EQUAL(takes(0), 0);
    dpdk_queue_disarm(lcore(1));
    CU_ASSERT_EQUAL(takes(1), 1);
    /* One is awake, and has the port's interrupt off: it hands over. */
    CU_ASSERT_TRUE(dpdk_queue_arm(lcore(0)) && dpdk_queue_arm(lcore(1)) &&
                   dpdk_queue_arm(lcore(2)));
    dpdk_queue_disarm(lcore(0));
    for (uint32_t i = 1; i < 3; i++)
        (void)wakes(sets[i], 0); /* of before */
    comes(1);
    CU_ASSERT_FALSE(wakes(sets[1], QUIET_MS));
    bool woken = false;
    for (uint32_t i = 0; i < COMES_MS && !woken; i++) {
        CU_ASSERT_EQUAL(takes(0), 0);
        woken = wakes(sets[1], 1);
    }
    CU_ASSERT_TRUE(woken);
    dpdk_queue_disarm(lcore(1));
    CU_ASSERT_EQUAL(takes(1), 1);
    /* And to nobody else. */
    CU_ASSERT_FALSE(wakes(sets[2], QUIET_MS));
    for (uint32_t i = 0; i < 3; i++)
        close(sets[i]);
    close_both();
}

static void a_reset_wakes_and_interrupts_outlive_it(void)
{
    open_both(1);
    int set = sleeps_on(lcore(0)->wake_fd);
    CU_ASSERT_TRUE(dpdk_queue_arm(lcore(0)));
    dpdk_port_ask_reset(port);
    dpdk_port_tick(port, 1);
    CU_ASSERT_EQUAL(dpdk_port_shown(port)->resets, 1);
    CU_ASSERT_TRUE(wakes(set, COMES_MS));
    dpdk_queue_disarm(lcore(0));
    CU_ASSERT_TRUE(dpdk_port_facts(port)->interrupts);
    CU_ASSERT_TRUE(dpdk_queue_arm(lcore(0)));
    CU_ASSERT_EQUAL(takes(0), 0);
    (void)wakes(set, 0);
    comes(0);
    CU_ASSERT_TRUE(wakes(set, COMES_MS));
    dpdk_queue_disarm(lcore(0));
    CU_ASSERT_EQUAL(takes(0), 1);
    close(set);
    close_both();
}

/* The first of two ways to start is refused. */
int __real_rte_eth_dev_configure(uint16_t id, uint16_t receive, uint16_t send,
                                 const struct rte_eth_conf *conf);
int __wrap_rte_eth_dev_configure(uint16_t id, uint16_t receive, uint16_t send,
                                 const struct rte_eth_conf *conf);
static bool refuses;

int __wrap_rte_eth_dev_configure(uint16_t id, uint16_t receive, uint16_t send,
                                 const struct rte_eth_conf *conf)
{
    return refuses && conf->intr_conf.rxq != 0
               ? -ENOTSUP
               : __real_rte_eth_dev_configure(id, receive, send, conf);
}

static void a_driver_that_refuses_interrupts_starts_without(void)
{
    refuses = true;
    open_both(1);
    CU_ASSERT_FALSE(dpdk_port_facts(port)->interrupts);
    CU_ASSERT_EQUAL(lcore(0)->wake_fd, -1);
    comes(0);
    CU_ASSERT_TRUE(arrives());
    close_both();
    refuses = false;
}

/* ---- the transport ---- */

static struct transport *endpoint(void)
{
    static const struct transport_framed_secret secret = {.key_id = 1};
    struct transport_framed_config config = {.node = 1,
                                             .cluster = 1,
                                             .start = 1,
                                             .secrets = &secret,
                                             .secret_count = 1,
                                             .version_lowest = FRAME_VERSION_LOWEST,
                                             .version_highest = FRAME_VERSION_LOWEST};
    const struct transport_dpdk_link link = {.port = port, .prefix = 24};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(DPDK_PORTS_UDP)};
    struct transport *t;
    address.sin_addr.s_addr = htonl(0x0a000002);
    memcpy(&config.address, &address, sizeof address);
    CU_ASSERT_EQUAL_FATAL(transport_dpdk_open(&t, &config, &link), 0);
    return t;
}

/* Until it says so; what the port itself sends on its start comes first. */
static bool falls_asleep(struct transport *t)
{
    struct transport_received in[8];
    for (uint32_t i = 0; i < COMES_MS; i++) {
        CU_ASSERT_EQUAL(transport_receive(t, in, 8), 0); /* none of them is a frame */
        transport_release(t);
        if (transport_sleep(t))
            return true;
    }
    return false;
}

static void an_endpoint_sleeps_until_a_packet_comes(void)
{
    open_both(1);
    struct transport *t = endpoint();
    struct transport_received in[8];
    int set = sleeps_on(transport_wake_fd(t));
    struct transport_dpdk_counters counters;
    CU_ASSERT_TRUE(falls_asleep(t));
    transport_awake(t);
    CU_ASSERT_EQUAL(transport_deadline(t), 0); /* nothing woke it yet, so that it looks by itself */
    CU_ASSERT_TRUE(falls_asleep(t));
    CU_ASSERT_FALSE(wakes(set, QUIET_MS));
    comes(0);
    CU_ASSERT_TRUE(wakes(set, COMES_MS));
    transport_awake(t);
    CU_ASSERT_EQUAL(transport_deadline(t), UINT64_MAX); /* it need not any more */
    transport_dpdk_count(t, &counters);
    CU_ASSERT_EQUAL(counters.interrupts_proven, 1);
    CU_ASSERT_TRUE(falls_asleep(t)); /* no frame, but taken */
    CU_ASSERT_EQUAL(lcore(0)->counters.received, 1);
    transport_awake(t);
    /* What comes on the way to sleep keeps it awake: for sure where the wire takes no time. */
    if (card("DUNLIN_WAKE_PORT") == NULL) {
        comes(0);
        CU_ASSERT_FALSE(transport_sleep(t));
        CU_ASSERT_EQUAL(transport_receive(t, in, 8), 0);
        transport_release(t);
        CU_ASSERT_EQUAL(lcore(0)->counters.received, 2);
    }
    close(set);
    transport_dpdk_close(t);
    close_both();
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_port_without_interrupts_wakes_nobody),
    UNIT_TEST(a_packet_wakes_who_is_armed),
    UNIT_TEST(what_came_before_is_found_by_the_look_after),
    UNIT_TEST(who_is_handed_something_over_wakes),
    UNIT_TEST(a_reset_wakes_and_interrupts_outlive_it),
    UNIT_TEST(a_driver_that_refuses_interrupts_starts_without),
    UNIT_TEST(an_endpoint_sleeps_until_a_packet_comes),
};
UNIT_MAIN("dpdk_port_wake", tests)
