#include "bench/rdma_plain.h"

#include "dataplane/rdma_port.h"
#include "engine/clock.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define PEERS (NET_SERVERS - 1)
#define MESSAGE_BYTES 4096u
#define ANSWER_BYTES 64u
#define BURST 16
#define YIELD_NS (20 * UINT64_C(1000)) /* as our lcores */
#define SLEEP_MS 1000
#define SIGNAL_EVERY 64u /* writes; the others complete with them */
#define BEHIND_MAX 64u   /* writes that the slower one has not answered */
#define UP_NS (40 * NS_PER_S)
#define LOOK_US 1000u

/* One process. */
struct end {
    const struct rdma_plain *plain;
    uint32_t number; /* 0: in front */
    int wake_fd;
    uint32_t count;
    struct rdma_port *port;
    struct rdma_connection *peers[PEERS];
    uint32_t sent[PEERS]; /* writes */
    uint32_t last[PEERS]; /* number that came last; 0: none */
};

/* ---- writes ---- */

static int write_post(struct end *e, uint32_t peer, uint32_t length, uint32_t number)
{
    const struct rdma_connection *c = e->peers[peer];
    struct ibv_sge piece = {.addr = (uintptr_t)c->send, .length = length, .lkey = c->mr->lkey};
    struct ibv_send_wr *bad, request = {
                                 .opcode = IBV_WR_RDMA_WRITE_WITH_IMM,
                                 .imm_data = htonl(number),
                                 .sg_list = &piece,
                                 .num_sge = 1,
                             };
    request.wr.rdma.remote_addr = c->peer.address + offsetof(struct rdma_inlet, ring);
    request.wr.rdma.rkey = c->peer.key;
    if (length <= c->inline_bytes)
        request.send_flags |= IBV_SEND_INLINE;
    if (e->sent[peer]++ % SIGNAL_EVERY == 0)
        request.send_flags |= IBV_SEND_SIGNALED;
    return -ibv_post_send(c->qp, &request, &bad);
}

static int receive_post(const struct rdma_connection *c, uint64_t place)
{
    struct ibv_sge piece = {.addr = (uintptr_t)(c->received + place * c->message_bytes),
                            .length = c->message_bytes,
                            .lkey = c->mr->lkey};
    struct ibv_recv_wr *bad, request = {.wr_id = place, .sg_list = &piece, .num_sge = 1};
    return -ibv_post_recv(c->qp, &request, &bad);
}

/* What came from a peer.  Returns how much, or -errno. */
static int take(struct end *e, uint32_t peer)
{
    const struct rdma_connection *c = e->peers[peer];
    struct ibv_wc done[BURST];
    int came = 0, got = ibv_poll_cq(c->cq, BURST, done), rc = 0;
    for (int i = 0; i < got && rc == 0; i++) {
        if (done[i].status != IBV_WC_SUCCESS) {
            rc = -EIO;
        } else if (done[i].opcode == IBV_WC_RECV_RDMA_WITH_IMM) {
            e->last[peer] = ntohl(done[i].imm_data);
            rc = receive_post(c, done[i].wr_id);
            came++;
        }
    }
    return rc != 0 || got < 0 ? -EIO : came;
}

static int take_all(struct end *e)
{
    int came = 0;
    for (uint32_t i = 0; i < e->count && came >= 0; i++) {
        int got = take(e, i);
        came = got < 0 ? got : came + got;
    }
    return came;
}

/* ---- idling ---- */

static void events_take(const struct end *e)
{
    struct ibv_cq *cq;
    void *context;
    for (uint32_t i = 0; i < e->count; i++)
        while (ibv_get_cq_event(e->peers[i]->channel, &cq, &context) == 0)
            ibv_ack_cq_events(cq, 1);
}

/* Until something is there, or perhaps.  As take_all. */
static int nap(struct end *e)
{
    struct pollfd fds[PEERS];
    events_take(e);
    for (uint32_t i = 0; i < e->count; i++) {
        fds[i] = (struct pollfd){.fd = e->peers[i]->channel->fd, .events = POLLIN};
        if (ibv_req_notify_cq(e->peers[i]->cq, 0) != 0)
            return -EIO;
    }
    /* Why: what came before it was asked for wakes nobody. */
    int came = take_all(e);
    if (came != 0)
        return came;
    (void)poll(fds, e->count, SLEEP_MS);
    events_take(e);
    return take_all(e);
}

/* Until something came.  Returns 0, -EIO, or -ETIMEDOUT. */
static int await(struct end *e, uint64_t limit_ns)
{
    const uint64_t from_ns = clock_boottime_ns();
    for (;;) {
        int came = take_all(e);
        uint64_t idle_ns = clock_boottime_ns() - from_ns;
        if (came == 0 && idle_ns >= YIELD_NS)
            came = nap(e);
        if (came != 0)
            return came < 0 ? came : 0;
        if (idle_ns > limit_ns)
            return -ETIMEDOUT;
        (void)sched_yield();
    }
}

/* ---- the processes ---- */

/* To both; the first answer counts. */
static int exchange(void *context, const struct net_write *write, uint32_t number)
{
    struct end *e = context;
    int rc = 0;
    for (uint32_t i = 0; i < e->count; i++) {
        while (rc == 0 && number - e->last[i] > BEHIND_MAX)
            rc = await(e, NET_WAIT_NS);
        memcpy(e->peers[i]->send, write, sizeof *write);
        if (rc == 0)
            rc = write_post(e, i, e->plain->bytes, number);
    }
    while (rc == 0 && e->last[0] != number && e->last[1] != number)
        rc = await(e, NET_WAIT_NS);
    return rc;
}

static void echo_run(struct end *e)
{
    for (uint32_t answered = 0;;) {
        int rc = await(e, UINT64_MAX);
        /* Each of them: what comes one behind the other is one look here. */
        while (rc == 0 && answered != e->last[0])
            rc = write_post(e, 0, ANSWER_BYTES, ++answered);
        if (rc != 0)
            return;
    }
}

static int connect_to(struct end *e, uint32_t number)
{
    const struct rdma_link_config config = {
        .node = number + 1,
        .address = rdma_device_address(&e->plain->device, e->plain->ports[number]),
        .wake_fd = e->wake_fd,
        .send_bytes = MESSAGE_BYTES};
    const uint64_t deadline_ns = clock_boottime_ns() + UP_NS;
    struct rdma_link *link;
    int rc = rdma_link_open(e->port, &config, &link);
    while (rc == 0 && (e->peers[e->count] = rdma_link_take(link)) == NULL) {
        (void)usleep(LOOK_US);
        rc = clock_boottime_ns() > deadline_ns ? -ETIMEDOUT : 0;
    }
    e->count += rc == 0;
    return rc;
}

static int end_open(struct end *e)
{
    const struct rdma_port_config config = {
        .address = rdma_device_address(&e->plain->device, e->plain->ports[e->number]),
        .node = e->number + 1,
        .cluster = 1,
        .lcore_count = 1,
        .message_bytes = MESSAGE_BYTES,
    };
    e->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = e->wake_fd < 0 ? -errno : rdma_port_open(&e->port, &config);
    for (uint32_t i = 0; i < NET_SERVERS && rc == 0; i++)
        if (i != e->number && (i == 0 || e->number == 0))
            rc = connect_to(e, i);
    return rc;
}

struct task {
    struct rdma_plain *plain;
    uint32_t number;
};

/* net_fork's task. */
static void end_run(void *context)
{
    const struct task *t = context;
    struct end e = {.plain = t->plain, .number = t->number};
    _Atomic uint32_t *ready = &t->plain->shared->ready[t->number];
    int rc = end_open(&e);
    if (rc != 0)
        (void)fprintf(stderr, "dunlin-bench: no plain writes over %s: %s\n", e.plain->device.name,
                      strerror(-rc));
    atomic_store_explicit(ready, rc == 0 ? 1 : 2, memory_order_release);
    net_word_wake(ready);
    if (rc == 0 && e.number == 0)
        net_front_serve(&t->plain->shared->front, exchange, &e);
    if (rc == 0)
        echo_run(&e);
}

/* ---- the client ---- */

int rdma_plain_write(void *client, const struct net_write *writes, uint32_t count)
{
    struct rdma_plain *p = client;
    ASSERT(count == 1);
    return net_front_ask(&p->shared->front, writes);
}

int rdma_plain_open(struct rdma_plain *p, const struct rdma_device *device,
                    const struct net_cpus *cpus, uint32_t bytes)
{
    ASSERT(bytes >= sizeof(struct net_write) && bytes <= MESSAGE_BYTES);
    *p = (struct rdma_plain){.device = *device, .bytes = bytes};
    void *shared =
        mmap(NULL, sizeof *p->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return -errno;
    p->shared = shared;
    int rc = net_ports_find(SOCK_STREAM, p->ports);
    for (uint32_t i = 0; i < NET_SERVERS && rc == 0; i++) {
        struct task task = {p, i};
        p->pids[i] = net_fork(net_cpu(cpus, i + 1), end_run, &task);
        rc = p->pids[i] < 0 ? (int)p->pids[i] : 0;
    }
    for (uint32_t i = 0; i < NET_SERVERS && rc == 0; i++) {
        rc = net_word_await(&p->shared->ready[i], 0);
        if (rc == 0 && atomic_load_explicit(&p->shared->ready[i], memory_order_acquire) != 1)
            rc = -ENOTCONN;
    }
    if (rc != 0)
        (void)fprintf(stderr, "dunlin-bench: no plain writes: %s\n", strerror(-rc));
    return rc;
}

void rdma_plain_close(struct rdma_plain *p)
{
    for (uint32_t i = 0; i < NET_SERVERS; i++)
        net_end(p->pids[i]);
    if (p->shared != NULL)
        (void)munmap(p->shared, sizeof *p->shared);
    *p = (struct rdma_plain){.bytes = 0};
}
