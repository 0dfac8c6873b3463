#include "bench/transport_ports.h"

#include "bench/bench.h"
#include "bench/port_eal.h"
#include "bench/port_net.h"
#include "bench/port_raw.h"
#include "bench/transport_sealed.h"
#include "dataplane/dpdk_eal.h"
#include "dataplane/transport_dpdk.h"
#include "engine/clock.h"

#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ADDRESS(number) (0x0a4dfa01u + (number)) /* 10.77.250.1 and .2 */
#define PREFIX 24u
#define UDP_PORT 7700u
#define UP_NS (40 * NS_PER_S) /* emulated cards take long for their links */
#define TICK_NS (100 * NS_PER_MS)
#define WINDOW_PACKETS 192u /* less than a port's queue holds */

#define LARGE (1u << 15)
#define PATH TRANSPORT_FRAMED_FRAME_PATH

static const struct transport_question questions[] = {
    {64, false, false, false, PATH, {PAIRS_AT_MOST, 1.5}},
    {1400, false, false, false, PATH, {PAIRS_AT_MOST, 1.5}},
    {64, true, false, false, PATH, {PAIRS_NO_GOAL, 0}},
    {LARGE, true, false, false, PATH, {PAIRS_AT_LEAST, 0.85}},
    {64, false, true, false, PATH, {PAIRS_AT_MOST, 1.5}},
    {1400, false, true, false, PATH, {PAIRS_AT_MOST, 1.5}},
    {64, true, true, false, PATH, {PAIRS_NO_GOAL, 0}},
    {LARGE, true, true, false, PATH, {PAIRS_AT_LEAST, 0.85}},
};

#define QUESTIONS ((uint32_t)(sizeof questions / sizeof questions[0]))

/* What the partner is resumed for.  The sides' tasks are the last ones. */
enum {
    DO_LEAVE,    /* for a namespace of its own */
    DO_CABLE,    /* its end of it comes up */
    DO_PORT,     /* open */
    DO_SEALED,   /* open an endpoint; frames are encrypted */
    DO_TAGS,     /* the same with tags alone */
    DO_COME_UP,  /* until *stop */
    DO_UNSEALED, /* close the endpoint */
    DO_NO_PORT,  /* close the port */
    DO_END,
    DO_SEALED_SIDE,
    DO_RAW_SIDE = DO_SEALED_SIDE + TRANSPORT_SIDE_TASKS,
};

/* Between both processes. */
struct shared {
    const char *device; /* of the partner; the same address in both */
    char memif[2][PORT_NET_MEMIF_BYTES];
    struct packet_mac macs[2];
    _Atomic uint32_t up; /* the partner's endpoint is */
    int result;          /* of what the partner did last */
};

/* Of either process; number 0 is the caller's. */
struct station {
    uint32_t number;
    struct dpdk_port *port;
    struct transport *transport;
    struct port_raw raw;
};

struct ports {
    struct station station; /* of the process that looks */
    struct transport_partner partner;
    struct transport_side *sealed, *raw;
    struct shared *shared;
};

/* ---- plain packets as a link ---- */

static int raw_send(void *end, const uint8_t *bytes, uint32_t length, uint32_t count)
{
    struct station *s = end;
    return port_raw_send(&s->raw, 0, bytes, (uint64_t)length * count,
                         (uint32_t)min_u64(length, s->raw.payload_max));
}

static int raw_take(void *end)
{
    struct station *s = end;
    return (int)port_raw_take(&s->raw, NULL, NULL);
}

static int raw_echo(void *end)
{
    struct station *s = end;
    return port_raw_echo(&s->raw);
}

/* It is the port's, which is closed apart. */
static void raw_close(void *end)
{
    (void)end;
}

static const struct transport_link raw_link = {
    .send = raw_send, .take = raw_take, .echo = raw_echo, .close = raw_close};

/* ---- what either process does ---- */

static int port_open(struct station *s, const char *device, struct shared *shared)
{
    const struct dpdk_port_config config = {
        .device = device, .lcore_count = 1, .udp_port = UDP_PORT};
    int rc = dpdk_eal_is_started() ? 0 : port_eal_start(device);
    if (rc != 0)
        return rc;
    rc = dpdk_port_open(&s->port, &config);
    if (rc != 0) {
        (void)fprintf(stderr, "dunlin-bench: no port %s: %s\n", device, strerror(-rc));
        return rc;
    }
    shared->macs[s->number] = dpdk_port_facts(s->port)->mac;
    return 0;
}

static void port_close(struct station *s)
{
    if (s->port != NULL)
        dpdk_port_close(s->port);
    s->port = NULL;
}

static struct sockaddr_storage address_of(uint32_t number)
{
    struct sockaddr_storage address = {.ss_family = AF_INET};
    const struct sockaddr_in v4 = {.sin_family = AF_INET,
                                   .sin_port = htons(UDP_PORT),
                                   .sin_addr.s_addr = htonl(ADDRESS(number))};
    memcpy(&address, &v4, sizeof v4);
    return address;
}

/* Both sides of this process: an endpoint and plain packets, on its port. */
static int sides_open(struct ports *p, bool authentic_only)
{
    struct station *s = &p->station;
    const uint32_t number = s->number, other = 1 - number;
    const struct transport_sealed_shape shape = {.authentic_only = authentic_only,
                                                 .frame_bytes = PATH};
    const struct transport_dpdk_link link = {.port = s->port, .prefix = PREFIX};
    const struct port_raw_station own = {p->shared->macs[number], ADDRESS(number)};
    const struct port_raw_station peer = {p->shared->macs[other], ADDRESS(other)};
    struct transport_framed_config config;
    transport_sealed_config(&config, number + 1, &shape);
    config.address = address_of(number);
    config.start = clock_boottime_ns(); /* what the endpoint before sent may still be on the port */
    port_raw_init(&s->raw, dpdk_port_queue(s->port, 0), &own, &peer, 1);
    p->raw->ends[number] = s;
    int rc = transport_dpdk_open(&s->transport, &config, &link);
    if (rc != 0)
        return rc;
    const struct sockaddr_storage to = address_of(other);
    rc = transport_framed_add(s->transport, other + 1, &to);
    if (rc == 0)
        rc = transport_sealed_end(&p->sealed->ends[number], s->transport, other + 1,
                                  transport_dpdk_close);
    if (rc != 0)
        transport_dpdk_close(s->transport);
    return rc;
}

static void sides_close(struct ports *p)
{
    void **end = &p->sealed->ends[p->station.number];
    transport_sealed_link.close(*end);
    *end = NULL;
}

/* One look whether our endpoint is up; the port's link is looked at meanwhile. */
static bool is_up(struct ports *p, uint64_t *ticked_ns)
{
    uint64_t now_ns = clock_boottime_ns();
    if (now_ns - *ticked_ns > TICK_NS) {
        dpdk_port_tick(p->station.port, now_ns);
        *ticked_ns = now_ns;
    }
    return transport_sealed_is_up(p->sealed->ends[p->station.number]);
}

static int cable_up(void)
{
    return port_net_ip("link set " PORT_NET_CABLE " " PORT_NET_UP "\n");
}

/* ---- partner ---- */

static void partner_come_up(struct ports *p, const _Atomic uint32_t *stop)
{
    uint64_t ticked_ns = 0;
    /* relaxed, all: hints; the semaphores order the rest */
    while (atomic_load_explicit(stop, memory_order_relaxed) == 0)
        atomic_store_explicit(&p->shared->up, is_up(p, &ticked_ns), memory_order_relaxed);
}

static int partner_do(struct ports *p, uint32_t what)
{
    switch (what) {
    case DO_LEAVE:
        return port_net_leave();
    case DO_CABLE:
        return cable_up();
    case DO_PORT:
        return port_open(&p->station, p->shared->device, p->shared);
    case DO_SEALED:
    case DO_TAGS:
        return sides_open(p, what == DO_TAGS);
    case DO_UNSEALED:
        sides_close(p);
        return 0;
    case DO_NO_PORT:
        port_close(&p->station);
        return 0;
    default:
        dpdk_eal_stop();
        return 0;
    }
}

static void partner_run(void *context, uint32_t what, const _Atomic uint32_t *stop)
{
    struct ports *p = context;
    p->station.number = 1;
    if (what >= DO_RAW_SIDE)
        transport_side_serve(p->raw, (enum transport_side_task)(what - DO_RAW_SIDE), stop);
    else if (what >= DO_SEALED_SIDE)
        transport_side_serve(p->sealed, (enum transport_side_task)(what - DO_SEALED_SIDE), stop);
    else if (what == DO_COME_UP)
        partner_come_up(p, stop);
    else
        p->shared->result = partner_do(p, what);
}

/* Have the partner do it, to its end. */
static int told(struct ports *p, uint32_t what)
{
    int rc = transport_partner_resume(&p->partner, what);
    if (rc == 0)
        rc = transport_partner_pause(&p->partner);
    if (rc != 0)
        (void)fprintf(stderr, "dunlin-bench: the other side is silent: %s\n", strerror(-rc));
    return rc != 0 ? rc : p->shared->result;
}

static int come_up(struct ports *p)
{
    uint64_t deadline_ns = clock_boottime_ns() + UP_NS, ticked_ns = 0;
    bool up = false, there = false;
    /* relaxed, both: as in partner_come_up */
    atomic_store_explicit(&p->shared->up, 0, memory_order_relaxed);
    int rc = transport_partner_resume(&p->partner, DO_COME_UP);
    while (rc == 0 && (!up || !there)) {
        up = is_up(p, &ticked_ns);
        there = atomic_load_explicit(&p->shared->up, memory_order_relaxed) != 0;
        if (clock_boottime_ns() > deadline_ns)
            rc = -ETIMEDOUT;
    }
    int paused = transport_partner_pause(&p->partner);
    rc = rc != 0 ? rc : paused;
    if (rc != 0)
        (void)fprintf(stderr, "dunlin-bench: the ports do not reach each other: %s\n",
                      strerror(-rc));
    return rc;
}

/* ---- asking ---- */

static void shape_set(const struct transport_rows *r, const struct transport_question *q,
                      const struct ports *p)
{
    uint32_t packets = 1 + q->length / p->station.raw.payload_max;
    uint32_t messages = WINDOW_PACKETS / packets;
    uint32_t burst = q->stream ? (uint32_t)max_u64(1, min_u64(messages / 3, PORT_RAW_BURST)) : 1;
    struct transport_side *const sides[] = {p->sealed, p->raw};
    const struct transport_shape shape = {
        .length = q->length,
        .burst = burst,
        .window = (uint64_t)(messages / burst) * burst * q->length,
        .ticks_per_ns = r->report.machine.ticks_per_ns,
        .one_cpu = p->sealed->shape.one_cpu,
    };
    for (uint32_t i = 0; i < 2; i++) {
        sides[i]->shape = shape;
        sides[i]->cpu_count = 0;
        sides[i]->at = 0;
        histogram_reset(&sides[i]->sampler->histogram);
    }
}

/* All questions of frames that are encrypted, or not. */
static int ask_all(struct transport_rows *r, struct ports *p, bool authentic_only,
                   const struct transport_rows_names *names)
{
    int rc = told(p, authentic_only ? DO_TAGS : DO_SEALED);
    if (rc == 0)
        rc = sides_open(p, authentic_only);
    if (rc == 0)
        rc = come_up(p);
    for (uint32_t i = 0; i < QUESTIONS && rc == 0; i++) {
        if (questions[i].authentic_only != authentic_only)
            continue;
        shape_set(r, &questions[i], p);
        rc = transport_rows_ask(r, &questions[i], names, p->sealed, p->raw);
        r->left--;
    }
    sides_close(p);
    int closed = told(p, DO_UNSEALED);
    return rc != 0 ? rc : closed;
}

static int ports_ask(struct transport_rows *r, struct ports *p, const char *const devices[2])
{
    char name[PORT_EAL_NAME_BYTES];
    const struct transport_rows_names names = {name, "plain UDP, bursts on the same ports"};
    port_eal_name(devices[0], name);
    ASSERT(p->shared != NULL); /* ports_open made it */
    p->shared->device = devices[1];
    int rc = port_open(&p->station, devices[0], p->shared);
    if (rc == 0)
        rc = told(p, DO_PORT);
    if (rc == 0)
        rc = ask_all(r, p, false, &names);
    if (rc == 0)
        rc = ask_all(r, p, true, &names);
    port_close(&p->station);
    int closed = told(p, DO_NO_PORT);
    return rc != 0 ? rc : closed;
}

/* ---- cables of our own ---- */

static int cable_lay(struct ports *p)
{
    int rc = port_net_leave();
    if (rc == 0)
        rc = told(p, DO_LEAVE);
    if (rc == 0)
        rc = port_net_ip("link add " PORT_NET_CABLE " " PORT_NET_QUEUES
                         " type veth peer name " PORT_NET_CABLE " " PORT_NET_QUEUES " netns %d\n",
                         (int)p->partner.pid);
    if (rc == 0)
        rc = cable_up();
    if (rc == 0)
        rc = told(p, DO_CABLE);
    if (rc != 0)
        (void)fprintf(stderr, "dunlin-bench: no namespaces or no cable between them: %s\n",
                      strerror(-rc));
    return rc;
}

static int cable_ask(struct transport_rows *r, struct ports *p)
{
    int rc = cable_lay(p);
    for (uint32_t i = 0; i < PORT_NET_KINDS && rc == 0; i++) {
        const struct port_net_kind *kind = &port_net_kinds[i];
        const char *const devices[2] = {kind->devargs, kind->devargs};
        if (port_net_has(kind)) {
            rc = ports_ask(r, p, devices);
            continue;
        }
        report_note(report_add(&r->report, kind->driver, "ns", NAN),
                    "skipped: this kernel has no such sockets");
        r->left -= QUESTIONS;
    }
    return rc;
}

/* Two ports that are one piece of memory. */
static int memif_ask(struct transport_rows *r, struct ports *p)
{
    const char *const devices[2] = {p->shared->memif[0], p->shared->memif[1]};
    char file[96];
    (void)snprintf(file, sizeof file, "%s/memif", bench_directory());
    for (uint32_t i = 0; i < 2; i++)
        port_net_memif(p->shared->memif[i], file, 0, i == 0);
    return ports_ask(r, p, devices);
}

/* ---- all ---- */

static int ports_open(struct ports *p, const struct machine *m)
{
    void *shared =
        mmap(NULL, sizeof *p->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return -errno;
    p->shared = shared;
    int rc = transport_side_init(p->sealed, &transport_sealed_link, m->ticks_per_ns);
    if (rc != 0)
        return rc;
    rc = transport_side_init(p->raw, &raw_link, m->ticks_per_ns);
    /* Before the partner is a copy of us: it idles as we do. */
    p->sealed->shape.one_cpu = p->raw->shape.one_cpu = m->cpus < 2;
    if (rc == 0)
        rc = transport_partner_open(&p->partner, 1, partner_run, p);
    if (rc != 0)
        return rc;
    p->sealed->task_first = DO_SEALED_SIDE;
    p->raw->task_first = DO_RAW_SIDE;
    p->sealed->partner = p->raw->partner = p->partner;
    return 0;
}

int transport_ports_run(struct transport_rows *r, const struct net_options *net)
{
    struct transport_side *sides = calloc(2, sizeof *sides);
    struct ports p = {.sealed = sides, .raw = sides + 1};
    if (sides == NULL)
        return -ENOMEM;
    int rc = port_eal_files(bench_directory());
    if (rc == 0)
        rc = ports_open(&p, &r->report.machine);
    if (rc == 0 && net->port_count == 0) {
        r->left = (PORT_NET_KINDS + 1) * QUESTIONS;
        rc = cable_ask(r, &p);
        if (rc == 0)
            rc = memif_ask(r, &p);
    } else if (rc == 0) {
        r->left = QUESTIONS;
        rc = ports_ask(r, &p, net->ports);
    }
    if (p.partner.pid > 0) {
        int ended = told(&p, DO_END);
        rc = rc != 0 ? rc : ended;
        transport_partner_close(&p.partner);
    }
    dpdk_eal_stop();
    for (uint32_t i = 0; i < 2; i++)
        if (sides[i].link != NULL)
            transport_side_fini(&sides[i]);
    if (p.shared != NULL)
        (void)munmap(p.shared, sizeof *p.shared);
    free(sides);
    return rc;
}
