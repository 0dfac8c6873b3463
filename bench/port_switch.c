#include "bench/port_switch.h"

#include "bench/port_net.h"
#include "dataplane/dpdk_port.h"
#include "engine/clock.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_mbuf.h>

#define STATIONS 64u
#define MBUFS 2047u /* of a port */
#define UDP_PORT 9u /* of no meaning here: frames are not looked into */
#define TICK_NS (100 * NS_PER_MS)
#define YIELD_NS UINT64_C(20000)
#define QUIET_NS NS_PER_MS

struct station {
    struct packet_mac mac;
    uint32_t port; /* PORT_SWITCH_PORTS_MAX: nobody */
};

struct port_switch {
    uint32_t port_count;
    struct dpdk_port *ports[PORT_SWITCH_PORTS_MAX];
    uint64_t link_downs[PORT_SWITCH_PORTS_MAX]; /* that its stations were forgotten for */
    struct station stations[STATIONS]; /* the next one learned takes the place of the oldest */
    uint32_t learned;
    struct port_switch_counters counters;
};

/* ---- stations ---- */

static struct station *station_find(struct port_switch *s, const struct packet_mac *mac)
{
    for (uint32_t i = 0; i < STATIONS; i++)
        if (s->stations[i].port != PORT_SWITCH_PORTS_MAX &&
            memcmp(&s->stations[i].mac, mac, sizeof *mac) == 0)
            return &s->stations[i];
    return NULL;
}

static void station_learn(struct port_switch *s, const struct packet_mac *mac, uint32_t port)
{
    struct station *known = station_find(s, mac);
    if (known == NULL)
        known = &s->stations[s->learned++ % STATIONS];
    *known = (struct station){.mac = *mac, .port = port};
}

static void stations_forget(struct port_switch *s, uint32_t port)
{
    for (uint32_t i = 0; i < STATIONS; i++)
        if (s->stations[i].port == port)
            s->stations[i].port = PORT_SWITCH_PORTS_MAX;
}

/* ---- frames ---- */

/* Takes m. */
static void put_out(struct port_switch *s, uint32_t port, struct rte_mbuf *m)
{
    if (m != NULL && dpdk_queue_send(dpdk_port_queue(s->ports[port], 0), &m, 1) == 1)
        return;
    rte_pktmbuf_free(m);
    s->counters.dropped++;
}

static void flood(struct port_switch *s, uint32_t from, struct rte_mbuf *m)
{
    for (uint32_t i = 0; i < s->port_count; i++)
        if (i != from)
            put_out(s, i, rte_pktmbuf_copy(m, m->pool, 0, UINT32_MAX));
    rte_pktmbuf_free(m);
    s->counters.flooded++;
}

/* Takes m.  A group's address is nobody's own: it is never learned, so never found. */
static void frame_switch(struct port_switch *s, uint32_t from, struct rte_mbuf *m)
{
    const uint8_t *b = rte_pktmbuf_mtod(m, const uint8_t *);
    struct packet_mac to, source;
    if (m->data_len < PACKET_ETHERNET_BYTES) {
        rte_pktmbuf_free(m);
        s->counters.dropped++;
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
        s->counters.forwarded++;
    }
}

static uint32_t pass(struct port_switch *s)
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

static void tick(struct port_switch *s, uint64_t now)
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

/* Why not by a nap at once: on one processor with those that it joins, a nap is most of what a frame takes. */
static void idle(uint64_t quiet_ns)
{
    static const struct timespec nap = {.tv_nsec = 1}, rest = {.tv_nsec = (long)NS_PER_MS};
    if (quiet_ns < YIELD_NS)
        (void)sched_yield();
    else
        (void)nanosleep(quiet_ns < QUIET_NS ? &nap : &rest, NULL); /* a shorter one will do */
}

void port_switch_run(struct port_switch *s, const _Atomic uint32_t *stopped)
{
    uint64_t tick_at = 0, busy_at = 0;
    /* relaxed: as in the header */
    while (atomic_load_explicit(stopped, memory_order_relaxed) == 0) {
        uint64_t now = clock_boottime_ns();
        bool came = pass(s) != 0;
        if (came)
            busy_at = now;
        if (now >= tick_at) {
            tick(s, now);
            tick_at = now + TICK_NS;
        }
        if (!came)
            idle(now - busy_at);
    }
}

const struct port_switch_counters *port_switch_counters(const struct port_switch *s)
{
    return &s->counters;
}

static int ports_open(struct port_switch *s, const char *file)
{
    char devargs[PORT_NET_MEMIF_BYTES];
    for (uint32_t i = 0; i < s->port_count; i++) {
        port_net_memif(devargs, file, i + 1, true);
        const struct dpdk_port_config config = {
            .device = devargs, .lcore_count = 1, .udp_port = UDP_PORT, .mbufs = MBUFS};
        int rc = dpdk_port_open(&s->ports[i], &config);
        if (rc != 0) {
            (void)fprintf(stderr, "no switch: %s: %s\n", devargs, strerror(-rc));
            return rc;
        }
    }
    return 0;
}

int port_switch_open(struct port_switch **s, const char *file, uint32_t port_count)
{
    ASSERT(port_count >= 2 && port_count <= PORT_SWITCH_PORTS_MAX);
    struct port_switch *new = calloc(1, sizeof *new);
    if (new == NULL)
        return -ENOMEM;
    new->port_count = port_count;
    for (uint32_t i = 0; i < STATIONS; i++)
        new->stations[i].port = PORT_SWITCH_PORTS_MAX;
    int rc = ports_open(new, file);
    if (rc != 0) {
        port_switch_close(new);
        return rc;
    }
    *s = new;
    return 0;
}

void port_switch_close(struct port_switch *s)
{
    for (uint32_t i = 0; i < s->port_count; i++)
        if (s->ports[i] != NULL)
            dpdk_port_close(s->ports[i]);
    free(s);
}
