#include "dataplane/dpdk_port.h"

#include <sched.h>

#include <rte_ethdev.h>

/* ---- events: DPDK's interrupt thread ---- */

static int on_event(uint16_t id, enum rte_eth_event_type type, void *context, void *detail)
{
    struct dpdk_port *port = context;
    (void)id;
    (void)detail;
    switch (type) {
    case RTE_ETH_EVENT_INTR_RESET:
    case RTE_ETH_EVENT_RECOVERY_FAILED:
        dpdk_port_ask_reset(port);
        break;
    case RTE_ETH_EVENT_INTR_RMV:
        /* relaxed: a number for people */
        atomic_fetch_add_explicit(&port->shown.removals, 1, memory_order_relaxed);
        break;
    default:
        break;
    }
    return 0;
}

static const enum rte_eth_event_type events[] = {RTE_ETH_EVENT_INTR_RESET, RTE_ETH_EVENT_INTR_RMV,
                                                 RTE_ETH_EVENT_RECOVERY_FAILED};
#define EVENTS (sizeof events / sizeof events[0])

int dpdk_port_watch(struct dpdk_port *port)
{
    int result = 0;
    port->watched = true;
    for (uint32_t i = 0; i < EVENTS && result == 0; i++)
        result = rte_eth_dev_callback_register(port->id, events[i], on_event, port);
    return result;
}

void dpdk_port_unwatch(struct dpdk_port *port)
{
    for (uint32_t i = 0; i < EVENTS && port->watched; i++)
        while (rte_eth_dev_callback_unregister(port->id, events[i], on_event, port) == -EAGAIN)
            sched_yield(); /* it runs just now */
    port->watched = false;
}

void dpdk_port_ask_reset(struct dpdk_port *port)
{
    /* relaxed: the next tick sees it, and nothing else hangs on it */
    atomic_store_explicit(&port->reset_wanted, 1, memory_order_relaxed);
}

/* ---- pairs ---- */

static void take(_Atomic uint32_t *busy)
{
    /* acquire, D1 <- D0 (dpdk_queue.c: give): what the burst before did is done. */
    while (atomic_exchange_explicit(busy, 1, memory_order_acquire) != 0)
        sched_yield();
}

static void give(_Atomic uint32_t *busy)
{
    /* release, D2 -> D3 (dpdk_queue.c: try): who takes it sees the port as it is now. */
    atomic_store_explicit(busy, 0, memory_order_release);
}

void dpdk_port_quiesce(struct dpdk_port *port)
{
    for (uint32_t i = 0; i < port->facts.pairs; i++) {
        take(&port->pairs[i].receive_busy);
        take(&port->pairs[i].send_busy);
    }
}

void dpdk_port_resume(struct dpdk_port *port)
{
    for (uint32_t i = 0; i < port->facts.pairs; i++) {
        give(&port->pairs[i].receive_busy);
        give(&port->pairs[i].send_busy);
    }
}

/* ---- resets ---- */

static void show(_Atomic uint64_t *shown, uint64_t value)
{
    /* relaxed: a number for people, nothing is concluded from its order */
    atomic_store_explicit(shown, value, memory_order_relaxed);
}

static void show_word(_Atomic uint32_t *shown, uint32_t value)
{
    /* relaxed: as above */
    atomic_store_explicit(shown, value, memory_order_relaxed);
}

static void count(_Atomic uint64_t *shown)
{
    /* relaxed: control alone counts */
    atomic_fetch_add_explicit(shown, 1, memory_order_relaxed);
}

static void reset(struct dpdk_port *port, uint64_t now)
{
    show_word(&port->shown.state, DPDK_PORT_RESETTING);
    port->down_since = 0;
    dpdk_port_quiesce(port);
    int result = rte_eth_dev_stop(port->id);
    if (result == 0 || result == -EBUSY)
        result = rte_eth_dev_reset(port->id);
    /* Why no set-up without a reset of the driver's own: it still has its queues, net_af_xdp cannot have others. */
    if (result == 0)
        result = dpdk_port_start(port);
    else if (result == -ENOTSUP)
        result = dpdk_port_run(port);
    port->running = result == 0;
    dpdk_port_resume(port);
    dpdk_port_wake(port, true); /* with its queues went what would have woken them */
    if (result == 0) {
        count(&port->shown.resets);
        show_word(&port->shown.state, DPDK_PORT_RUNNING);
        return;
    }
    count(&port->shown.resets_failed);
    show_word(&port->shown.state, DPDK_PORT_FAILED);
    port->retry_at = now + DPDK_PORT_RETRY_NS;
}

/* ---- link ---- */

static void link_look(struct dpdk_port *port)
{
    struct rte_eth_link link;
    struct dpdk_port_shown *s = &port->shown;
    if (rte_eth_link_get_nowait(port->id, &link) != 0)
        return;
    uint32_t up = link.link_status == RTE_ETH_LINK_UP;
    /* relaxed: control alone writes it */
    uint32_t was_up = atomic_load_explicit(&s->link_up, memory_order_relaxed);
    if (up != was_up)
        count(up != 0 ? &s->link_ups : &s->link_downs);
    show_word(&s->link_up, up);
    show_word(&s->speed_mbps, link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed);
}

/* Why not at once: the driver's own thread may be taking the connection down just now, or making it. */
static bool is_lost(struct dpdk_port *port, uint64_t now)
{
    /* relaxed: control alone writes it */
    if (!port->calls || atomic_load_explicit(&port->shown.link_up, memory_order_relaxed) != 0)
        port->down_since = 0;
    else if (port->down_since == 0)
        port->down_since = now;
    return port->down_since != 0 && now - port->down_since >= DPDK_PORT_RETRY_NS;
}

static void stats_look(struct dpdk_port *port)
{
    struct rte_eth_stats stats;
    struct dpdk_port_shown *s = &port->shown;
    if (rte_eth_stats_get(port->id, &stats) != 0)
        return;
    show(&s->missed, stats.imissed);
    show(&s->errors_in, stats.ierrors);
    show(&s->errors_out, stats.oerrors);
    show(&s->no_mbuf, stats.rx_nombuf);
}

void dpdk_port_tick(struct dpdk_port *port, uint64_t now)
{
    /* relaxed: a request, and no more than that */
    if (atomic_exchange_explicit(&port->reset_wanted, 0, memory_order_relaxed) != 0 ||
        (!port->running && now >= port->retry_at))
        reset(port, now);
    if (!port->running)
        return;
    link_look(port);
    stats_look(port);
    if (is_lost(port, now))
        reset(port, now);
}
