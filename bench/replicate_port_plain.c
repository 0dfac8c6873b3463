/* replicate_port_plain - what makes dunlind the program dunlin-bench-node: an endpoint over a port whose lcore exchanges
 * plain packets when the bench says so (replicate_port_node.h). */
#include "bench/replicate_port_node.h"

#include "dataplane/group.h"
#include "dataplane/transport_dpdk.h"
#include "engine/clock.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define US UINT64_C(1000)
#define LOOK_NS (5 * US) /* as in dataplane/poll.c: of a look in vain, at most */
#define YIELD_NS (20 * US)
#define SLICE_NS NS_PER_MS
#define CROWDED_NS (10 * NS_PER_MS)
#define ANSWER_NS (20 * NS_PER_S)
#define ANSWER_BYTES_MAX 96u
#define FOLLOWERS (NET_SERVERS - 1)

/* The linker puts ours in the place of the body's. */
int __real_transport_dpdk_open(struct transport **t, const struct transport_framed_config *config,
                               const struct transport_dpdk_link *link);
int __wrap_transport_dpdk_open(struct transport **t, const struct transport_framed_config *config,
                               const struct transport_dpdk_link *link);

/* Of the process: what it has in common with the bench, which of the nodes it is, and what its endpoint did of
 * itself. */
static struct replicate_port_shared *shared;
static uint32_t number;
static struct transport_ops ops;
static const struct transport_ops *ops_before;

/* ---- idling ---- */

struct idle {
    uint64_t spent_ns, last_ns, crowded_until_ns;
};

static void idle(struct idle *i)
{
    static const struct timespec nap = {.tv_nsec = 1};
    uint64_t now_ns = clock_boottime_ns();
    i->spent_ns += min_u64(now_ns - i->last_ns, LOOK_NS);
    i->last_ns = now_ns;
    if (i->spent_ns >= YIELD_NS || now_ns < i->crowded_until_ns) {
        (void)nanosleep(&nap, NULL); /* a shorter one will do */
        return;
    }
    (void)sched_yield();
    uint64_t then_ns = clock_boottime_ns();
    if (then_ns - now_ns > SLICE_NS)
        i->crowded_until_ns = then_ns + CROWDED_NS;
}

/* ---- plain packets ---- */

/* What a packet begins with.  Of an answer: from whom. */
struct packet_head {
    uint64_t sequence, follower;
};

struct plain {
    struct port_raw raw;
    struct idle idle;
    uint64_t sequence;            /* of the newest exchange that is known */
    uint32_t came;                /* bytes of it */
    uint64_t answered[FOLLOWERS]; /* newest, by follower */
    uint8_t *bytes;               /* of exchanges */
};

static bool is_wanted(void)
{
    /* relaxed: a hint */
    return atomic_load_explicit(&shared->plain, memory_order_relaxed) != 0;
}

static void request_take(void *context, const uint8_t *payload, uint32_t length)
{
    struct plain *p = context;
    struct packet_head head = {0};
    memcpy(&head, payload, min_u64(length, sizeof head)); /* the last packet may be short */
    if (head.sequence > p->sequence && length >= sizeof head) {
        p->sequence = head.sequence;
        p->came = 0;
    }
    p->came += length;
}

static int follow(struct plain *p, uint32_t follower)
{
    int rc = 0;
    while (is_wanted() && rc == 0) {
        if (port_raw_take(&p->raw, request_take, p) == 0) {
            idle(&p->idle);
            continue;
        }
        p->idle.spent_ns = 0;
        if (p->came < shared->bytes)
            continue;
        uint8_t answer[ANSWER_BYTES_MAX] = {0};
        const struct packet_head head = {p->sequence, follower};
        const uint32_t length = (uint32_t)min_u64(shared->bytes, sizeof answer);
        memcpy(answer, &head, sizeof head);
        p->came = 0;
        rc = port_raw_send(&p->raw, 0, answer, length, length);
    }
    return rc;
}

static void answer_take(void *context, const uint8_t *payload, uint32_t length)
{
    struct plain *p = context;
    struct packet_head head;
    if (length < sizeof head)
        return;
    memcpy(&head, payload, sizeof head);
    if (head.follower < FOLLOWERS && head.sequence > p->answered[head.follower])
        p->answered[head.follower] = head.sequence;
}

/* Until either, or each, has answered to that one. */
static int answers_await(struct plain *p, uint64_t sequence, bool each)
{
    uint64_t deadline_ns = clock_boottime_ns() + ANSWER_NS;
    for (;;) {
        uint64_t first = max_u64(p->answered[0], p->answered[1]);
        uint64_t last = min_u64(p->answered[0], p->answered[1]);
        if ((each ? last : first) >= sequence)
            return 0;
        if (port_raw_take(&p->raw, answer_take, p) != 0) {
            p->idle.spent_ns = 0;
            continue;
        }
        idle(&p->idle);
        if (p->idle.last_ns > deadline_ns)
            return -ETIMEDOUT;
    }
}

/* All of it to each of them, in turn as a leader feeds its peers, who have the processor after each share. */
static int exchange(struct plain *p)
{
    const uint32_t step = p->raw.payload_max, length = shared->bytes;
    const uint32_t packets = (length + step - 1) / step;
    const uint32_t share = (uint32_t)max_u64(1, GROUP_FEED_BYTES / step) * step;
    const uint64_t lag = max_u64(1, REPLICATE_PORT_LAG / packets);
    const struct packet_head head = {++p->sequence, 0};
    int rc = p->sequence > lag ? answers_await(p, p->sequence - lag, true) : 0;
    for (uint32_t at = 0; at < length; at += step)
        memcpy(p->bytes + at, &head, sizeof head);
    for (uint32_t at = 0; at < length && rc == 0; at += share) {
        if (at != 0)
            (void)sched_yield();
        for (uint32_t i = 0; i < FOLLOWERS && rc == 0; i++)
            rc = port_raw_send(&p->raw, i, p->bytes + at, min_u64(share, length - at), step);
    }
    return rc != 0 ? rc : answers_await(p, p->sequence, false);
}

static int lead(struct plain *p)
{
    struct replicate_port_shared *s = shared;
    int rc = 0;
    while (is_wanted() && rc == 0) {
        /* relaxed: written by this thread */
        uint32_t seen = atomic_load_explicit(&s->answered, memory_order_relaxed);
        if (atomic_load_explicit(&s->asked, memory_order_acquire) == seen) {
            idle(&p->idle);
            continue;
        }
        rc = exchange(p);
        s->status = rc;
        atomic_store_explicit(&s->answered, seen + 1, memory_order_release);
        net_word_wake(&s->answered);
        p->idle.spent_ns = 0;
    }
    return rc;
}

/* Until the nodes are not to be plain any more, whatever becomes of it. */
static void be_plain(struct transport *t)
{
    static struct plain p;
    static uint64_t sequence; /* goes on: what is late belongs to nobody */
    struct replicate_port_shared *s = shared;
    const uint32_t n = number;
    struct port_raw_station peers[FOLLOWERS] = {s->stations[0], s->stations[0]};
    for (uint32_t i = 0; i < FOLLOWERS && n == 0; i++)
        peers[i] = s->stations[i + 1];
    p = (struct plain){.bytes = p.bytes, .sequence = sequence};
    p.answered[0] = p.answered[1] = sequence;
    p.bytes = p.bytes != NULL ? p.bytes : calloc(1, REPLICATE_PORT_BYTES_MAX);
    ASSERT(p.bytes != NULL);
    port_raw_init(&p.raw, transport_dpdk_of(transport_framed_endpoint_of(t))->queue,
                  &s->stations[n], peers, FOLLOWERS);
    atomic_store_explicit(&s->is[n], 1, memory_order_release);
    int rc = n == 0 ? lead(&p) : follow(&p, n - 1);
    while (rc != 0 && is_wanted())
        (void)sched_yield(); /* the client is told by the leader's status, or by its silence */
    sequence = p.sequence;
    atomic_store_explicit(&s->is[n], 0, memory_order_release);
}

/* ---- the endpoint ---- */

static uint32_t receive(struct transport *t, struct transport_received *received, uint32_t count)
{
    /* acquire: with what the exchanges are to be like */
    if (UNLIKELY(atomic_load_explicit(&shared->plain, memory_order_acquire) != 0))
        be_plain(t);
    return ops_before->receive(t, received, count);
}

/* What the bench gave us, by the environment: a descriptor and our number. */
static int shared_map(void)
{
    const char *text = getenv(REPLICATE_PORT_VARIABLE);
    int fd;
    if (text == NULL || sscanf(text, "%d:%u", &fd, &number) != 2 || number >= NET_SERVERS)
        return -EINVAL;
    void *memory = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return -errno;
    shared = memory;
    return 0;
}

int __wrap_transport_dpdk_open(struct transport **t, const struct transport_framed_config *config,
                               const struct transport_dpdk_link *link)
{
    int rc = shared_map();
    if (rc == 0)
        rc = __real_transport_dpdk_open(t, config, link);
    if (rc != 0)
        return rc;
    const struct packet_local *local = &transport_dpdk_of(transport_framed_endpoint_of(*t))->local;
    shared->stations[number] = (struct port_raw_station){local->mac, local->address};
    ops_before = (*t)->ops;
    ops = *ops_before;
    ops.receive = receive;
    (*t)->ops = &ops;
    return 0;
}
