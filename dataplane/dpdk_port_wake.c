/* Sleeping on a port: interrupts of its receive queues, and what lcores hand over to one that sleeps. */
#include "dataplane/dpdk_port.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_ethdev.h>
#include <rte_ring.h>

static int watch(const struct dpdk_queue *q, int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = fd != q->inbox_fd};
    return epoll_ctl(q->wake_fd, EPOLL_CTL_ADD, fd, &event) == 0 || errno == EEXIST ? 0 : -errno;
}

/* ---- control ---- */

/* Why it is tried: a driver may have the function and no descriptor, or the other way round. */
static int interrupt_fd(const struct dpdk_queue *q)
{
    if (rte_eth_dev_rx_intr_enable(q->port_id, q->pair) != 0)
        return -1;
    (void)rte_eth_dev_rx_intr_disable(q->port_id, q->pair); /* one more wakes in vain */
    return rte_eth_dev_rx_intr_ctl_q_get_fd(q->port_id, q->pair);
}

static int wake_open(struct dpdk_queue *q)
{
    int fd = interrupt_fd(q);
    if (fd < 0)
        return -ENOTSUP;
    if (q->wake_fd < 0)
        q->wake_fd = epoll_create1(EPOLL_CLOEXEC);
    if (q->inbox_fd < 0)
        q->inbox_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int error = q->wake_fd < 0 || q->inbox_fd < 0 ? -errno : watch(q, q->inbox_fd);
    /* Why each time: a device that was started again may have another one; the old one left as it was closed. */
    return error != 0 ? error : watch(q, fd);
}

bool dpdk_port_wakes_open(struct dpdk_port *port)
{
    for (uint32_t i = 0; i < port->config.lcore_count; i++)
        if (wake_open(&port->queues[i]) != 0)
            return false;
    return true;
}

void dpdk_port_wakes_init(struct dpdk_port *port)
{
    for (uint32_t i = 0; i < LIMIT_LCORES; i++)
        port->queues[i].wake_fd = port->queues[i].inbox_fd = -1;
}

void dpdk_port_wakes_close(struct dpdk_port *port)
{
    for (uint32_t i = 0; i < LIMIT_LCORES; i++) {
        struct dpdk_queue *q = &port->queues[i];
        if (q->wake_fd >= 0)
            (void)close(q->wake_fd);
        if (q->inbox_fd >= 0)
            (void)close(q->inbox_fd);
        q->wake_fd = q->inbox_fd = -1;
    }
}

/* ---- who wakes ---- */

static void wake(struct dpdk_queue *q)
{
    const uint64_t one = 1;
    /* relaxed: the fence of dpdk_port_wake orders it; one of those who hand over wakes. */
    if (atomic_exchange_explicit(&q->asleep, 0, memory_order_relaxed) != 0)
        (void)!write(q->inbox_fd, &one, sizeof one); /* one that cannot be written rings already */
}

void dpdk_port_wake(struct dpdk_port *port, bool all)
{
    if (port->queues[0].wake_fd < 0)
        return;
    /* pairs with dpdk_queue_arm: either it finds what is in its inbox, or we find it asleep. */
    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t i = 0; i < port->config.lcore_count; i++) {
        struct dpdk_queue *q = &port->queues[i];
        if (UNLIKELY(atomic_load_explicit(&q->asleep, memory_order_relaxed) != 0) &&
            (all || !rte_ring_empty(q->inbox)))
            wake(q);
    }
}

/* ---- who sleeps ---- */

bool dpdk_queue_arm(struct dpdk_queue *q)
{
    _Atomic uint32_t *busy = &q->port->pairs[q->pair].receive_busy;
    if (q->wake_fd < 0 || !dpdk_queue_try(q, busy))
        return false;
    q->armed = q->port->running && q->port->facts.interrupts &&
               rte_eth_dev_rx_intr_enable(q->port_id, q->pair) == 0;
    dpdk_queue_give(busy);
    if (!q->armed)
        return false;
    atomic_store_explicit(&q->asleep, 1, memory_order_relaxed);
    /* pairs with dpdk_port_wake. */
    atomic_thread_fence(memory_order_seq_cst);
    return true;
}

bool dpdk_queue_was_interrupted(const struct dpdk_queue *q)
{
    struct epoll_event events[2];
    bool was = false;
    int count = q->wake_fd >= 0 ? epoll_wait(q->wake_fd, events, 2, 0) : 0;
    for (int i = 0; i < count; i++)
        was |= events[i].data.u32 != 0;
    return was;
}

void dpdk_queue_disarm(struct dpdk_queue *q)
{
    if (!q->armed)
        return;
    q->armed = false;
    atomic_store_explicit(&q->asleep, 0, memory_order_relaxed);
    /* Why another lcore that sleeps on the pair needs it no more: this one polls from now on, and hands over. */
    _Atomic uint32_t *busy = &q->port->pairs[q->pair].receive_busy;
    if (!dpdk_queue_try(q, busy))
        return; /* it wakes in vain, and is disabled the next time */
    if (q->port->running)
        (void)rte_eth_dev_rx_intr_disable(q->port_id, q->pair);
    dpdk_queue_give(busy);
}
