#include "dataplane/dpdk_port.h"
#include "dataplane/dpdk_eal.h"
#include "dataplane/dpdk_size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

/* A port puts a packet RTE_PKTMBUF_HEADROOM into a buffer: with buffers that begin so much later, the payload of UDP
 * begins at a cache line. */
#define SHIFT                                                                                      \
    (2 * CACHE_LINE - PACKET_HEADER_BYTES % CACHE_LINE - RTE_PKTMBUF_HEADROOM % CACHE_LINE)
#define CACHED_MBUFS DPDK_SIZE_CACHED
#define OFFLOADS_OUT                                                                               \
    (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_MULTI_SEGS)
#define OFFLOADS_IN (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM)

/* What dpdk_size.h counts with. */
_Static_assert(sizeof(struct rte_mbuf) <= DPDK_SIZE_MBUF, "mbuf");
_Static_assert(RTE_PKTMBUF_HEADROOM + SHIFT <= DPDK_SIZE_HEADROOM, "headroom");
_Static_assert(RTE_MAX_LCORE <= DPDK_SIZE_THREADS, "threads");

/* ---- the device ---- */

/* Devargs are "NAME,options". */
static bool port_of_name(const char *device, uint16_t *id)
{
    char name[DPDK_PORT_NAME_BYTES];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(device, ","), device);
    return rte_eth_dev_get_port_by_name(name, id) == 0;
}

static int find(struct dpdk_port *port, const char *device)
{
    if (port_of_name(device, &port->id))
        return 0;
    if (rte_dev_probe(device) != 0)
        return -ENODEV;
    if (port_of_name(device, &port->id))
        return 0;
    /* A device whose port has another name than it has. */
    struct rte_dev_iterator iterator;
    int found = -ENODEV;
    uint16_t id;
    RTE_ETH_FOREACH_MATCHING_DEV(id, device, &iterator)
    {
        port->id = id;
        found = 0;
        rte_eth_iterator_cleanup(&iterator);
        break;
    }
    return found;
}

static int own(struct dpdk_port *port)
{
    struct rte_eth_dev_owner owner = {0};
    if (rte_eth_dev_owner_new(&owner.id) != 0)
        return -ENOMEM;
    snprintf(owner.name, sizeof owner.name, "dunlin");
    if (rte_eth_dev_owner_set(port->id, &owner) != 0)
        return -EBUSY;
    port->owner = owner.id;
    port->owned = true;
    return 0;
}

/* ---- what it can ---- */

/* A port in software may have no address at all. */
static void mac_choose(struct dpdk_port *port)
{
    static const struct packet_mac none;
    struct rte_ether_addr mac;
    if (rte_eth_macaddr_get(port->id, &mac) != 0 || memcmp(&mac, &none, sizeof none) == 0)
        rte_eth_random_addr(mac.addr_bytes);
    memcpy(port->facts.mac.bytes, mac.addr_bytes, PACKET_MAC_BYTES);
}

static int mtu_choose(struct dpdk_port *port, const struct rte_eth_dev_info *info,
                      const char *device)
{
    uint16_t mtu = (uint16_t)port->config.mtu;
    if (mtu == 0 && (rte_eth_dev_get_mtu(port->id, &mtu) != 0 || mtu > PACKET_MTU_MAX))
        mtu = RTE_ETHER_MTU;
    port->facts.mtu = port->mtu_told = mtu;
    port->room = dpdk_size_room(mtu);
    /* Why: it drops what does not fit its frames (the kernel takes some 52 bytes) without a word, and wants mbufs as
     * long as they. */
    if (strcmp(info->driver_name, "net_af_packet") == 0) {
        uint32_t frame = dpdk_size_frame_bytes(device);
        port->mtu_told = (uint32_t)min_u64(mtu, RTE_ETHER_MTU);
        port->room = (uint32_t)max_u64(port->room, frame);
        return frame >= mtu + PACKET_ETHERNET_BYTES + CACHE_LINE ? 0 : -EMSGSIZE;
    }
    if (mtu < info->min_mtu || (info->max_mtu != 0 && mtu > info->max_mtu) ||
        mtu + PACKET_ETHERNET_BYTES > info->max_rx_pktlen || mtu < PACKET_MTU_MIN)
        return -EMSGSIZE;
    return 0;
}

static void offloads_choose(struct dpdk_port *port, const struct rte_eth_dev_info *info)
{
    struct dpdk_port_facts *f = &port->facts;
    uint64_t checksums = port->config.no_offload ? RTE_ETH_TX_OFFLOAD_MULTI_SEGS : UINT64_MAX;
    port->offloads_out = info->tx_offload_capa & OFFLOADS_OUT & checksums;
    port->offloads_in = port->config.no_offload ? 0 : info->rx_offload_capa & OFFLOADS_IN;
    f->multi_segs = (port->offloads_out & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0;
    f->ip_out = (port->offloads_out & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) != 0;
    f->udp_out = (port->offloads_out & RTE_ETH_TX_OFFLOAD_UDP_CKSUM) != 0;
    f->ip_in = (port->offloads_in & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM) != 0;
    f->udp_in = (port->offloads_in & RTE_ETH_RX_OFFLOAD_UDP_CKSUM) != 0;
}

static int choose(struct dpdk_port *port, const char *device)
{
    struct rte_eth_dev_info info;
    int result = rte_eth_dev_info_get(port->id, &info);
    if (result != 0)
        return result;
    uint32_t pairs = (uint32_t)min_u64(info.max_rx_queues, info.max_tx_queues);
    if (pairs == 0)
        return -ENOTSUP;
    port->facts.pairs = (uint32_t)min_u64(pairs, port->config.lcore_count);
    port->facts.socket = rte_eth_dev_socket_id(port->id);
    snprintf(port->facts.driver, sizeof port->facts.driver, "%s", info.driver_name);
    /* Why: net_af_xdp takes the pool's memory as a whole and counts from where its mbufs begin. */
    port->shifts = strcmp(info.driver_name, "net_af_xdp") != 0;
    port->calls =
        strcmp(info.driver_name, "net_memif") == 0 && strstr(device, "role=server") == NULL;
    if (rte_eth_dev_get_name_by_port(port->id, port->facts.name) != 0)
        return -ENODEV;
    mac_choose(port);
    offloads_choose(port, &info);
    uint32_t wanted =
        port->config.descriptors != 0 ? port->config.descriptors : DPDK_PORT_DESCRIPTORS;
    port->descriptors_in = port->descriptors_out = (uint16_t)min_u64(wanted, UINT16_MAX);
    return mtu_choose(port, &info, device);
}

/* ---- memory ---- */

static void shift(struct rte_mempool *pool, void *context, void *object, unsigned index)
{
    struct rte_mbuf *m = object;
    (void)pool;
    (void)context;
    (void)index;
    m->buf_addr = (uint8_t *)m->buf_addr + SHIFT;
    rte_mbuf_iova_set(m, rte_mbuf_iova_get(m) + SHIFT);
    m->buf_len = (uint16_t)(m->buf_len - SHIFT);
}

/* Mbufs one behind the other.  Why for net_af_xdp: it tells the kernel of so much memory as they take without room
 * between, from where the first one begins; the usual pool leaves room so that none crosses a page, and the
 * kernel does not send what lies behind. */
static struct rte_mempool *packed_create(const char *name, uint32_t count, uint16_t room,
                                         int socket)
{
    struct rte_pktmbuf_pool_private private = {.mbuf_data_room_size = room};
    struct rte_mempool *pool = rte_mempool_create_empty(
        name, count, (unsigned)sizeof(struct rte_mbuf) + room, CACHED_MBUFS, sizeof private, socket,
        RTE_MEMPOOL_F_NO_IOVA_CONTIG);
    if (pool == NULL)
        return NULL;
    rte_pktmbuf_pool_init(pool, &private);
    if (rte_mempool_populate_default(pool) < 0 || pool->nb_mem_chunks != 1) {
        rte_mempool_free(pool);
        return NULL;
    }
    rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
    return pool;
}

/* Why a number: pools that a port before kept (pool_free) keep their names, too. */
static int queue_open(struct dpdk_port *port, uint32_t lcore)
{
    static uint32_t number;
    struct dpdk_queue *q = &port->queues[lcore];
    char name[RTE_MEMPOOL_NAMESIZE];
    uint32_t count = port->config.mbufs != 0 ? port->config.mbufs : DPDK_PORT_MBUFS;
    int socket = port->facts.socket;
    q->port = port;
    q->lcore = lcore;
    q->port_id = port->id;
    q->pair = (uint16_t)(lcore % port->facts.pairs);
    q->offloads = (port->facts.ip_out ? PACKET_IP_BY_PORT : 0u) |
                  (port->facts.udp_out ? PACKET_UDP_BY_PORT : 0u);
    q->send_flags = (port->facts.ip_out ? RTE_MBUF_F_TX_IP_CKSUM : 0) |
                    (port->facts.udp_out ? RTE_MBUF_F_TX_UDP_CKSUM : 0);
    if (q->send_flags != 0)
        q->send_flags |= RTE_MBUF_F_TX_IPV4;
    number++;
    snprintf(name, sizeof name, "dunlin_%u", number);
    uint16_t room = (uint16_t)(RTE_PKTMBUF_HEADROOM + SHIFT + port->room);
    q->pool = port->shifts ? rte_pktmbuf_pool_create(name, count, CACHED_MBUFS, 0, room, socket)
                           : packed_create(name, count, room, socket);
    snprintf(name, sizeof name, "dunlin_%u_chain", number);
    q->chain_pool = rte_pktmbuf_pool_create(name, count, CACHED_MBUFS, 0, 0, socket);
    snprintf(name, sizeof name, "dunlin_%u_in", number);
    /* Why relaxed tails: an lcore that is stopped inside does not stop the others. */
    q->inbox = rte_ring_create(name, DPDK_PORT_INBOX, socket, RING_F_MP_RTS_ENQ | RING_F_SC_DEQ);
    if (q->pool == NULL || q->chain_pool == NULL || q->inbox == NULL)
        return -ENOMEM;
    if (port->shifts)
        rte_mempool_obj_iter(q->pool, shift, NULL);
    return 0;
}

/* Why not always: an mbuf that somebody still has would lie in memory that is gone. */
static void pool_free(struct rte_mempool *pool)
{
    if (pool != NULL && rte_mempool_in_use_count(pool) == 0)
        rte_mempool_free(pool);
}

static void queue_close(struct dpdk_queue *q)
{
    void *m;
    while (q->inbox != NULL && rte_ring_dequeue(q->inbox, &m) == 0)
        rte_pktmbuf_free(m);
    rte_ring_free(q->inbox);
    q->inbox = NULL;
}

/* ---- start ---- */

static int queues_setup(struct dpdk_port *port)
{
    unsigned socket =
        port->facts.socket < 0 ? (unsigned)SOCKET_ID_ANY : (unsigned)port->facts.socket;
    int result =
        rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &port->descriptors_in, &port->descriptors_out);
    for (uint16_t i = 0; i < port->facts.pairs && result == 0; i++) {
        result = rte_eth_rx_queue_setup(port->id, i, port->descriptors_in, socket, NULL,
                                        port->queues[i].pool);
        if (result == 0)
            result = rte_eth_tx_queue_setup(port->id, i, port->descriptors_out, socket, NULL);
    }
    return result;
}

/* A port that cannot be told an mtu carries what its own says. */
static int mtu_set(struct dpdk_port *port)
{
    uint16_t now;
    if (rte_eth_dev_get_mtu(port->id, &now) == 0 && now == port->mtu_told)
        return 0;
    int result = rte_eth_dev_set_mtu(port->id, (uint16_t)port->mtu_told);
    return result == 0 || result == -ENOTSUP ? 0 : -EMSGSIZE;
}

int dpdk_port_run(struct dpdk_port *port)
{
    int result = rte_eth_dev_start(port->id);
    /* Why here: rules do not outlive a stop on every device. */
    port->facts.steered = result == 0 && dpdk_port_steer(port);
    port->facts.interrupts = result == 0 && !port->no_interrupts && dpdk_port_wakes_open(port);
    return result;
}

int dpdk_port_start(struct dpdk_port *port)
{
    struct rte_eth_conf conf = {
        .rxmode = {.mtu = port->mtu_told, .offloads = port->offloads_in},
        .txmode = {.mq_mode = RTE_ETH_MQ_TX_NONE, .offloads = port->offloads_out},
    };
    struct rte_eth_dev_info info;
    uint16_t pairs = (uint16_t)port->facts.pairs;
    int result = rte_eth_dev_info_get(port->id, &info);
    if (result != 0)
        return result;
    conf.intr_conf.rxq = !port->no_interrupts;
    /* Why not both: some have one interrupt for all, and then do not look at the link; who ticks asks for it. */
    conf.intr_conf.lsc = port->no_interrupts && (*info.dev_flags & RTE_ETH_DEV_INTR_LSC) != 0;
    conf.intr_conf.rmv = (*info.dev_flags & RTE_ETH_DEV_INTR_RMV) != 0;
    result = rte_eth_dev_configure(port->id, pairs, pairs, &conf);
    if (result != 0)
        return result;
    result = mtu_set(port);
    if (result == 0)
        result = queues_setup(port);
    return result == 0 ? dpdk_port_run(port) : result;
}

/* Why tried: nothing says beforehand whether receive queues have interrupts, and not every driver that has none starts
 * when it is asked for them. */
static int start_first(struct dpdk_port *port)
{
    int result = dpdk_port_start(port);
    if (result != 0) {
        port->no_interrupts = true;
        result = dpdk_port_start(port);
    }
    if (!port->facts.interrupts) {
        port->no_interrupts = true; /* lcores are not to find any after a reset */
        dpdk_port_wakes_close(port);
    }
    return result;
}

/* ---- open and close ---- */

static bool is_sound(const struct dpdk_port_config *c)
{
    return c->device != NULL && c->lcore_count >= 1 && c->lcore_count <= LIMIT_LCORES &&
           (c->mtu == 0 || (c->mtu >= PACKET_MTU_MIN && c->mtu <= PACKET_MTU_MAX)) &&
           c->udp_port != 0 && c->udp_port <= UINT16_MAX - c->lcore_count + 1;
}

static int open(struct dpdk_port *port, const char *device)
{
    int result = find(port, device);
    if (result == 0)
        result = own(port);
    if (result == 0)
        result = choose(port, device);
    for (uint32_t i = 0; i < port->config.lcore_count && result == 0; i++)
        result = queue_open(port, i);
    if (result == 0)
        result = dpdk_port_watch(port);
    if (result == 0)
        result = start_first(port);
    port->running = result == 0;
    return result;
}

int dpdk_port_open(struct dpdk_port **out, const struct dpdk_port_config *config)
{
    *out = NULL;
    if (!is_sound(config))
        return -EINVAL;
    if (!dpdk_eal_is_started())
        return -ENODEV;
    struct dpdk_port *port = aligned_alloc(CACHE_LINE, sizeof *port);
    if (port == NULL)
        return -ENOMEM;
    memset(port, 0, sizeof *port);
    port->config = *config;
    port->config.device = NULL;
    dpdk_port_wakes_init(port);
    int result = open(port, config->device);
    if (result != 0) {
        dpdk_port_close(port);
        return result;
    }
    dpdk_port_tick(port, 0);
    *out = port;
    return 0;
}

void dpdk_port_stop(struct dpdk_port *port)
{
    if (port->running)
        (void)rte_eth_dev_stop(port->id); /* one that does not stop is closed all the same */
    port->running = false;
}

/* Why also one that was there: a port that is closed is of no more use, its device can be probed again. */
static void device_close(struct dpdk_port *port)
{
    struct rte_eth_dev_info info = {0};
    if (rte_eth_dev_info_get(port->id, &info) != 0)
        return;
    dpdk_port_unwatch(port);
    dpdk_port_stop(port);
    rte_eth_dev_owner_unset(port->id, port->owner);
    rte_eth_dev_close(port->id);
    if (info.device != NULL)
        (void)rte_dev_remove(info.device); /* nor is there anything else to do with it */
}

void dpdk_port_close(struct dpdk_port *port)
{
    if (port->owned)
        device_close(port);
    dpdk_port_wakes_close(port);
    for (uint32_t i = 0; i < LIMIT_LCORES; i++)
        queue_close(&port->queues[i]);
    for (uint32_t i = 0; i < LIMIT_LCORES; i++) {
        pool_free(port->queues[i].pool);
        pool_free(port->queues[i].chain_pool);
    }
    free(port);
}

const struct dpdk_port_facts *dpdk_port_facts(const struct dpdk_port *port)
{
    return &port->facts;
}

const struct dpdk_port_shown *dpdk_port_shown(const struct dpdk_port *port)
{
    return &port->shown;
}

struct dpdk_queue *dpdk_port_queue(struct dpdk_port *port, uint32_t lcore)
{
    ASSERT(lcore < port->config.lcore_count);
    return &port->queues[lcore];
}

/* ---- memory of the log ---- */

/* The largest piece that both ends are multiples of.  Why not 4 KiB: DPDK keeps a word for each piece. */
static size_t piece_of(uintptr_t base, uint64_t bytes)
{
    uint64_t bits = base | bytes | (UINT64_C(1) << 30);
    return (size_t)(bits & -bits);
}

int dpdk_port_range_open(void *base, uint64_t bytes)
{
    size_t piece = piece_of((uintptr_t)base, bytes);
    /* Another port may have it. */
    if (rte_extmem_register(base, bytes, NULL, (unsigned)(bytes / piece), piece) == 0 ||
        rte_errno == EEXIST)
        return 0;
    return rte_errno == ENOSPC ? -ENOSPC : -ENOMEM;
}

void dpdk_port_range_close(void *base, uint64_t bytes)
{
    (void)rte_extmem_unregister(base, bytes); /* or another port did it */
}

/* It lies in a range that is longer than it. */
static bool is_in_range(const void *base, uint64_t bytes)
{
    const struct rte_memseg_list *list = rte_mem_virt2memseg_list(base);
    return list != NULL && list->len > bytes;
}

static bool dma_failed(int result)
{
    /* A device that copies has no mapping of memory, and needs none. */
    return result != 0 && rte_errno != ENOTSUP;
}

int dpdk_port_map(struct dpdk_port *port, void *base, uint64_t bytes)
{
    struct rte_eth_dev_info info;
    if (bytes == 0 || piece_of((uintptr_t)base, bytes) < PAGE)
        return -EINVAL;
    if (!dpdk_eal_addresses_are_virtual())
        return -EOPNOTSUPP;
    /* Why: DPDK takes memory that the device has already for mapped, whatever lay there then. */
    if (port->unmap_failed)
        return -EIO;
    if (rte_eth_dev_info_get(port->id, &info) != 0)
        return -ENODEV;
    bool is_alone = !is_in_range(base, bytes);
    int result = is_alone ? dpdk_port_range_open(base, bytes) : 0;
    if (result != 0)
        return result;
    rte_errno = 0; /* vfio fails without a word, and what stands there would be taken for one */
    if (dma_failed(rte_dev_dma_map(info.device, base, (uint64_t)(uintptr_t)base, bytes))) {
        result = rte_errno > 0 ? -rte_errno : -EFAULT;
        if (is_alone)
            dpdk_port_range_close(base, bytes);
    }
    return result;
}

void dpdk_port_unmap(struct dpdk_port *port, void *base, uint64_t bytes)
{
    struct rte_eth_dev_info info;
    rte_errno = 0; /* as above */
    if (rte_eth_dev_info_get(port->id, &info) != 0 ||
        dma_failed(rte_dev_dma_unmap(info.device, base, (uint64_t)(uintptr_t)base, bytes)))
        port->unmap_failed = true;
    if (!is_in_range(base, bytes))
        dpdk_port_range_close(base, bytes);
}
