/* memif_switch - an Ethernet switch whose ports are shared memory: net_memif joins two processes, this joins more.
 *
 *   memif_switch SOCKET PORTS
 *
 * Makes the file SOCKET and behind it the ports 1 to PORTS, each for one client (net_memif: role=client, id=PORT,
 * socket-abstract=no).  It learns behind which port a station is, sends what is for that station there, and all else to
 * every other port; what a port has behind it is forgotten when its client goes.  Says "ready" on stdout; ends by
 * SIGTERM or SIGINT, with status 0, and what it did on stdout.
 *
 * Status 1: DPDK does not start, or not a port of it: it said why to stderr.  2: bad usage.
 *
 * Who polls sleeps: a millisecond at a time where nothing came for as long, and else as short as the kernel can. */
#include "dataplane/dpdk_eal.h"
#include "dataplane/dpdk_port.h"
#include "engine/clock.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_mbuf.h>

#define PORTS_MAX 8u
#define STATIONS 64u
#define MBUFS 2047u /* of a port */
#define MEMORY_MIB 64u
#define UDP_PORT 9u /* of no meaning here: frames are not looked into */
#define TICK_NS (100 * NS_PER_MS)
#define QUIET_NS NS_PER_MS
#define DEVARGS_BYTES 256u

struct station {
    struct packet_mac mac;
    uint32_t port; /* PORTS_MAX: nobody */
};

static struct memif_switch {
    uint32_t port_count;
    struct dpdk_port *ports[PORTS_MAX];
    uint64_t link_downs[PORTS_MAX];    /* that its stations were forgotten for */
    struct station stations[STATIONS]; /* the next one learned takes the place of the oldest */
    uint32_t learned;
    uint64_t forwarded, flooded, dropped;
} ours;

static _Atomic uint32_t stopped;

static void stop(int number)
{
    (void)number;
    /* relaxed: the loop sees it, and nothing else hangs on it */
    atomic_store_explicit(&stopped, 1, memory_order_relaxed);
}

/* ---- stations ---- */

static struct station *station_find(struct memif_switch *s, const struct packet_mac *mac)
{
    for (uint32_t i = 0; i < STATIONS; i++)
        if (s->stations[i].port != PORTS_MAX && memcmp(&s->stations[i].mac, mac, sizeof *mac) == 0)
            return &s->stations[i];
    return NULL;
}

static void station_learn(struct memif_switch *s, const struct packet_mac *mac, uint32_t port)
{
    struct station *known = station_find(s, mac);
    if (known == NULL)
        known = &s->stations[s->learned++ % STATIONS];
    *known = (struct station){.mac = *mac, .port = port};
}

static void stations_forget(struct memif_switch *s, uint32_t port)
{
    for (uint32_t i = 0; i < STATIONS; i++)
        if (s->stations[i].port == port)
            s->stations[i].port = PORTS_MAX;
}

/* ---- frames ---- */

/* Takes m. */
static void put_out(struct memif_switch *s, uint32_t port, struct rte_mbuf *m)
{
    if (m != NULL && dpdk_queue_send(dpdk_port_queue(s->ports[port], 0), &m, 1) == 1)
        return;
    rte_pktmbuf_free(m);
    s->dropped++;
}

static void flood(struct memif_switch *s, uint32_t from, struct rte_mbuf *m)
{
    for (uint32_t i = 0; i < s->port_count; i++)
        if (i != from)
            put_out(s, i, rte_pktmbuf_copy(m, m->pool, 0, UINT32_MAX));
    rte_pktmbuf_free(m);
    s->flooded++;
}

/* Takes m.  A group's address is nobody's own: it is never learned, so never found. */
static void frame_switch(struct memif_switch *s, uint32_t from, struct rte_mbuf *m)
{
    const uint8_t *b = rte_pktmbuf_mtod(m, const uint8_t *);
    struct packet_mac to, source;
    if (m->data_len < PACKET_ETHERNET_BYTES) {
        rte_pktmbuf_free(m);
        s->dropped++;
        return;
    }
    memcpy(&to, b, sizeof to);
    memcpy(&source, b + PACKET_MAC_BYTES, sizeof source);
    if ((source.bytes[0] & 1) == 0)
        station_learn(s, &source, from);
    const struct station *known = station_find(s, &to);
    if (known == NULL) {
        flood(s, from, m);
    } else if (known->port == from) {
        rte_pktmbuf_free(m); /* it is there already */
    } else {
        put_out(s, known->port, m);
        s->forwarded++;
    }
}

static uint32_t pass(struct memif_switch *s)
{
    struct rte_mbuf *mbufs[DPDK_PORT_BURST];
    uint32_t all = 0;
    for (uint32_t i = 0; i < s->port_count; i++) {
        uint32_t count =
            dpdk_queue_receive(dpdk_port_queue(s->ports[i], 0), mbufs, DPDK_PORT_BURST);
        for (uint32_t j = 0; j < count; j++)
            frame_switch(s, i, mbufs[j]);
        all += count;
    }
    return all;
}

/* ---- life ---- */

static void tick(struct memif_switch *s, uint64_t now)
{
    for (uint32_t i = 0; i < s->port_count; i++) {
        dpdk_port_tick(s->ports[i], now);
        /* relaxed: a word of this thread */
        uint64_t downs =
            atomic_load_explicit(&dpdk_port_shown(s->ports[i])->link_downs, memory_order_relaxed);
        if (downs != s->link_downs[i])
            stations_forget(s, i);
        s->link_downs[i] = downs;
    }
}

static void run(struct memif_switch *s)
{
    static const struct timespec nap = {.tv_nsec = 1}, rest = {.tv_nsec = (long)NS_PER_MS};
    uint64_t tick_at = 0, busy_at = 0;
    /* relaxed: as in stop */
    while (atomic_load_explicit(&stopped, memory_order_relaxed) == 0) {
        uint64_t now = clock_boottime_ns();
        if (pass(s) != 0)
            busy_at = now;
        if (now >= tick_at) {
            tick(s, now);
            tick_at = now + TICK_NS;
        }
        /* a shorter one will do */
        (void)nanosleep(now - busy_at < QUIET_NS ? &nap : &rest, NULL);
    }
}

static int ports_open(struct memif_switch *s, const char *socket)
{
    char devargs[DEVARGS_BYTES];
    for (uint32_t i = 0; i < s->port_count; i++) {
        (void)snprintf(devargs, sizeof devargs,
                       "net_memif%u,role=server,id=%u,socket=%s,socket-abstract=no", i, i + 1,
                       socket);
        const struct dpdk_port_config config = {
            .device = devargs, .lcore_count = 1, .udp_port = UDP_PORT, .mbufs = MBUFS};
        int error = dpdk_port_open(&s->ports[i], &config);
        if (error != 0) {
            (void)fprintf(stderr, "memif_switch: %s: %s\n", devargs, strerror(-error));
            return error;
        }
    }
    return 0;
}

static void ports_close(struct memif_switch *s)
{
    for (uint32_t i = 0; i < s->port_count; i++)
        if (s->ports[i] != NULL)
            dpdk_port_close(s->ports[i]);
}

int main(int argc, char **argv)
{
    static const char *const arguments[] = {"--no-pci", "--no-telemetry"};
    const struct dpdk_eal_config eal = {.arguments = arguments,
                                        .argument_count = 2,
                                        .pages = DPDK_EAL_PAGES_SMALL,
                                        .memory_mib = MEMORY_MIB};
    const struct sigaction action = {.sa_handler = stop};
    ours.port_count = argc == 3 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
    if (ours.port_count < 2 || ours.port_count > PORTS_MAX) {
        (void)fprintf(stderr, "usage: memif_switch SOCKET PORTS (2 to %u)\n", PORTS_MAX);
        return 2;
    }
    for (uint32_t i = 0; i < STATIONS; i++)
        ours.stations[i].port = PORTS_MAX;
    if (sigaction(SIGTERM, &action, NULL) != 0 || sigaction(SIGINT, &action, NULL) != 0)
        return 1;
    int error = dpdk_eal_start(&eal);
    if (error != 0) {
        (void)fprintf(stderr, "memif_switch: EAL: %s\n", strerror(-error));
        return 1;
    }
    error = ports_open(&ours, argv[1]);
    if (error == 0) {
        (void)printf("ready\n");
        (void)fflush(stdout);
        run(&ours);
        (void)printf("forwarded %" PRIu64 " flooded %" PRIu64 " dropped %" PRIu64 "\n",
                     ours.forwarded, ours.flooded, ours.dropped);
    }
    ports_close(&ours);
    dpdk_eal_stop();
    return error == 0 ? 0 : 1;
}
