#include "dataplane/dpdk_trial.h"
#include "dataplane/arp.h"
#include "engine/clock.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include <rte_mbuf.h>

#define TURN_NS (500 * NS_PER_MS) /* another neighbour is asked then */
#define MEMORY_BYTES ((uint64_t)(DPDK_CHAIN_MEMORY_BYTES))
#define LOOK_NS (100 * UINT64_C(1000))

struct trial {
    const struct dpdk_trial_config *config;
    struct dpdk_queue *queue;
    struct packet_local local;
    struct arp arp;
    struct dpdk_chain chain;
    uint64_t turn_at;
    uint32_t turn;
};

static void arp_send(struct trial *t, uint64_t now)
{
    struct packet_arp packet;
    struct packet_mac to;
    while (arp_next(&t->arp, now, &packet, &to)) {
        struct rte_mbuf *m = rte_pktmbuf_alloc(t->queue->pool);
        if (m == NULL)
            return; /* it is asked again */
        m->data_len = PACKET_BYTES_MIN;
        m->pkt_len = PACKET_BYTES_MIN;
        packet_arp_write(rte_pktmbuf_mtod(m, uint8_t *), &packet, &to);
        if (dpdk_queue_send(t->queue, &m, 1) == 0)
            rte_pktmbuf_free(m);
    }
}

static void take(struct trial *t, struct rte_mbuf *m, uint64_t now)
{
    uint8_t *bytes = rte_pktmbuf_mtod(m, uint8_t *);
    struct packet_received r;
    struct packet_arp packet;
    enum packet_verdict verdict =
        packet_judge(&r, bytes, m->data_len, &t->local, dpdk_queue_checked(m));
    if (verdict == PACKET_ARP) {
        packet_arp_read(&packet, bytes);
        arp_receive(&t->arp, &packet, now);
    } else if (verdict == PACKET_ECHO_REPLY) {
        dpdk_chain_receive(&t->chain, &r, now);
    }
}

static void receive(struct trial *t, uint64_t now)
{
    struct rte_mbuf *mbufs[DPDK_PORT_BURST];
    uint32_t count = dpdk_queue_receive(t->queue, mbufs, DPDK_PORT_BURST);
    for (uint32_t i = 0; i < count; i++)
        take(t, mbufs[i], now);
    rte_pktmbuf_free_bulk(mbufs, count);
}

static void turn(struct trial *t, uint64_t now)
{
    struct packet_path path = {.from_mac = t->local.mac, .from = t->local.address};
    if (now < t->turn_at)
        return;
    path.to = t->config->neighbours[t->turn++ % t->config->neighbour_count];
    if (!arp_find(&t->arp, path.to, &path.to_mac))
        return;
    dpdk_chain_path(&t->chain, &path, now);
    t->turn_at = now + TURN_NS;
}

static void run(struct trial *t)
{
    static const struct timespec pause = {.tv_nsec = LOOK_NS};
    uint64_t now = clock_boottime_ns(), end = now + t->config->wait_ns;
    while (now < end && t->chain.state == DPDK_CHAIN_UNPROVEN) {
        arp_send(t, now);
        receive(t, now);
        turn(t, now);
        dpdk_chain_tick(&t->chain, now);
        (void)nanosleep(&pause, NULL); /* a shorter one will do */
        now = clock_boottime_ns();
    }
}

static uint32_t known(struct trial *t)
{
    struct packet_mac mac;
    uint32_t count = 0;
    for (uint32_t i = 0; i < t->config->neighbour_count; i++)
        count += arp_find(&t->arp, t->config->neighbours[i], &mac);
    return count;
}

static int neighbours_add(struct trial *t)
{
    const struct dpdk_trial_config *c = t->config;
    const struct arp_config arp = {
        .mac = t->local.mac, .address = c->address, .prefix = c->prefix, .gateway = c->gateway};
    int error = c->neighbour_count != 0 ? arp_init(&t->arp, &arp) : -EINVAL;
    for (uint32_t i = 0; i < c->neighbour_count && error == 0; i++)
        error = arp_add(&t->arp, c->neighbours[i], clock_boottime_ns());
    return error != 0 ? -EINVAL : 0;
}

/* NULL: the port takes none, so that it is not offered. */
static uint8_t *memory_open(struct dpdk_port *port)
{
    uint8_t *memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    if (dpdk_port_facts(port)->multi_segs && dpdk_port_map(port, memory, MEMORY_BYTES) == 0)
        return memory;
    (void)munmap(memory, MEMORY_BYTES);
    return NULL;
}

int dpdk_trial_run(struct dpdk_port *port, const struct dpdk_trial_config *config,
                   struct dpdk_trial *result)
{
    struct trial *t = calloc(1, sizeof *t);
    if (t == NULL)
        return -ENOMEM;
    t->config = config;
    t->queue = dpdk_port_queue(port, 0);
    t->local = (struct packet_local){.mac = dpdk_port_facts(port)->mac,
                                     .address = config->address,
                                     .port = port->config.udp_port,
                                     .port_count = 1};
    int error = neighbours_add(t);
    if (error != 0) {
        free(t);
        return error;
    }
    const struct dpdk_chain_config chain = {
        .queue = t->queue, .memory = memory_open(port), .seed = clock_realtime_ns()};
    dpdk_chain_init(&t->chain, &chain);
    run(t);
    *result = (struct dpdk_trial){
        .state = t->chain.state, .neighbours_known = known(t), .answers = t->chain.answers};
    if (dpdk_chain_is_held(&t->chain))
        return 0; /* the port writes to it when it lets go: it and its memory stay */
    if (chain.memory != NULL) {
        dpdk_port_unmap(port, chain.memory, MEMORY_BYTES);
        (void)munmap(chain.memory, MEMORY_BYTES);
    }
    free(t);
    return 0;
}
