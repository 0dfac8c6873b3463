/* steer_guest - rules that make a port itself put each packet into the queue of its lcore, on a driver that has rules:
 * net_tap, whose kernel's side sends.  Packets of many senders go to two lcores; with the rules none is handed over
 * between them, without many are, and after a reset none is again.
 *
 * Needs root, iproute2, and a kernel that has multiq and flower: tests/vm/steer.test.sh runs it.  Exit 0, 1 with a word
 * to stdout. */
#include "dataplane/dpdk_eal.h"
#include "dataplane/dpdk_port.h"
#include "engine/clock.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_flow.h>
#include <rte_mbuf.h>

#define LCORES 2u
#define UDP_PORT 7000u
#define SENDERS 64u
#define LINK "steer0"
#define OWN "10.9.0.1"                     /* the kernel's */
#define OTHER 0x0a090002u                  /* the port's: 10.9.0.2 */
#define HANGS_NS (UINT64_C(60) * NS_PER_S) /* so long nothing takes; it decides nothing else */

static struct dpdk_port *port;
static int senders[SENDERS];
static uint32_t came[LCORES]; /* datagrams of this round */

static void check(bool is, const char *what)
{
    printf("%s  %s\n", is ? "ok  " : "FAIL", what);
    if (!is)
        exit(1);
}

static void ip(const char *words)
{
    char command[256];
    (void)snprintf(command, sizeof command, "ip %s", words);
    check(system(command) == 0, command);
}

/* Again after a reset, too: the kernel forgets it with the link. */
static void neighbour_tell(void)
{
    const uint8_t *m = dpdk_port_facts(port)->mac.bytes;
    char words[128];
    (void)snprintf(words, sizeof words,
                   "neighbour replace 10.9.0.2 lladdr %02x:%02x:%02x:%02x:%02x:%02x dev " LINK,
                   m[0], m[1], m[2], m[3], m[4], m[5]);
    ip(words);
}

static void kernel_side_up(void)
{
    ip("address add " OWN "/24 dev " LINK);
    ip("link set " LINK " up");
    neighbour_tell();
    for (uint32_t i = 0; i < SENDERS; i++) {
        const struct sockaddr_in own = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)(20000 + i)),
                                        .sin_addr.s_addr = htonl(0x0a090001)};
        senders[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (senders[i] < 0 || bind(senders[i], (const struct sockaddr *)&own, sizeof own) != 0)
            check(false, "a sender's socket");
    }
}

static void send_all(void)
{
    for (uint32_t lcore = 0; lcore < LCORES; lcore++) {
        const struct sockaddr_in to = {.sin_family = AF_INET,
                                       .sin_port = htons((uint16_t)(UDP_PORT + lcore)),
                                       .sin_addr.s_addr = htonl(OTHER)};
        for (uint32_t i = 0; i < SENDERS; i++)
            if (sendto(senders[i], "steer", 5, 0, (const struct sockaddr *)&to, sizeof to) != 5)
                check(false, "a datagram is sent");
    }
}

/* Of our senders, to that lcore: the kernel says other things of its own. */
static bool is_ours(const struct rte_mbuf *m, uint32_t lcore)
{
    const uint8_t *b = rte_pktmbuf_mtod(m, const uint8_t *);
    return m->data_len >= PACKET_HEADER_BYTES && b[12] == 0x08 && b[13] == 0 && b[23] == 17 &&
           (uint32_t)(b[36] << 8 | b[37]) == UDP_PORT + lcore;
}

static void receive(uint32_t lcore)
{
    struct rte_mbuf *mbufs[DPDK_PORT_BURST];
    uint32_t count = dpdk_queue_receive(dpdk_port_queue(port, lcore), mbufs, DPDK_PORT_BURST);
    for (uint32_t i = 0; i < count; i++)
        came[lcore] += is_ours(mbufs[i], lcore);
    rte_pktmbuf_free_bulk(mbufs, count);
}

static uint64_t handed_over(void)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < LCORES; i++)
        count += dpdk_port_queue(port, i)->counters.handed_over;
    return count;
}

/* Each lcore gets what is for it.  Returns how much of it was handed over. */
static uint64_t round_make(const char *what)
{
    uint64_t begun = clock_boottime_ns(), before = handed_over();
    memset(came, 0, sizeof came);
    send_all();
    while ((came[0] < SENDERS || came[1] < SENDERS) && clock_boottime_ns() - begun < HANGS_NS)
        for (uint32_t i = 0; i < LCORES; i++)
            receive(i);
    check(came[0] == SENDERS && came[1] == SENDERS, what);
    uint64_t handed = handed_over() - before;
    printf("      %lu handed over\n", (unsigned long)handed);
    return handed;
}

int main(void)
{
    static const char *const arguments[] = {"--no-pci", "--no-telemetry"};
    const struct dpdk_eal_config eal = {
        .arguments = arguments, .argument_count = 2, .pages = DPDK_EAL_PAGES_SMALL};
    const struct dpdk_port_config config = {
        .device = "net_tap0,iface=" LINK, .lcore_count = LCORES, .udp_port = UDP_PORT};
    struct rte_flow_error error;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    check(dpdk_eal_start(&eal) == 0, "DPDK starts");
    check(dpdk_port_open(&port, &config) == 0, "the port opens");
    check(dpdk_port_facts(port)->pairs == LCORES, "with a pair of queues for each lcore");
    check(dpdk_port_facts(port)->steered, "it takes the rules");
    kernel_side_up();
    check(round_make("datagrams come to their lcores") == 0, "by the port alone");

    dpdk_port_ask_reset(port);
    dpdk_port_tick(port, clock_boottime_ns());
    check(atomic_load_explicit(&dpdk_port_shown(port)->resets, memory_order_relaxed) == 1,
          "it was reset"); /* relaxed: this thread's */
    check(dpdk_port_facts(port)->steered, "it has the rules again");
    neighbour_tell();
    check(round_make("datagrams come to their lcores") == 0, "by the port alone");

    check(rte_flow_flush(port->id, &error) == 0, "the rules are taken from it");
    check(round_make("datagrams come to their lcores all the same") != 0, "by lcores");
    dpdk_port_close(port);
    dpdk_eal_stop();
    return 0;
}
