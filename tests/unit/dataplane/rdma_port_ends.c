#include "tests/unit/dataplane/rdma_port_ends.h"
#include "engine/clock.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define HANGS_NS (100 * NS_PER_S) /* so long nothing takes; it decides nothing else */
#define SEND_BYTES 8192u

const char *ends_addresses[3];
struct port_end ends_a, ends_b;

_Noreturn void ends_fail(const char *what)
{
    printf("FAIL  %s\n", what);
    exit(1);
}

void ends_check(bool is, const char *what)
{
    if (!is)
        ends_fail(what);
}

uint64_t ends_shown(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed); /* a number */
}

/* ---- nodes ---- */

struct sockaddr_storage ends_address_of(const char *text, uint16_t port)
{
    struct sockaddr_storage s = {0};
    struct sockaddr_in *in = (struct sockaddr_in *)&s;
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    ends_check(inet_pton(AF_INET, text, &in->sin_addr) == 1, "an address");
    return s;
}

struct rdma_port_config ends_config_of(uint32_t node, const char *address)
{
    return (struct rdma_port_config){.address = ends_address_of(address, ENDS_UDP_PORT),
                                     .node = node,
                                     .cluster = ENDS_CLUSTER,
                                     .lcore_count = 2,
                                     .message_bytes = ENDS_MESSAGE_BYTES};
}

void ends_port_open(struct port_end *e, const struct rdma_port_config *config)
{
    int error = rdma_port_open(&e->port, config);
    if (error != 0)
        printf("rdma_port_open: %s\n", strerror(-error));
    ends_check(error == 0, "a port opens");
    e->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ends_check(e->wake_fd >= 0, "an eventfd");
}

int ends_link_try(struct port_end *e, uint32_t node, const char *address)
{
    const struct rdma_link_config config = {.node = node,
                                            .address = ends_address_of(address, ENDS_UDP_PORT),
                                            .wake_fd = e->wake_fd,
                                            .send_bytes = SEND_BYTES};
    return rdma_link_open(e->port, &config, &e->link);
}

void ends_link_open(struct port_end *e, uint32_t node, const char *address)
{
    ends_check(ends_link_try(e, node, address) == 0, "a link opens");
}

void ends_end_close(struct port_end *e)
{
    if (e->link != NULL)
        rdma_link_close(e->link);
    rdma_port_close(e->port);
    (void)close(e->wake_fd);
    memset(e, 0, sizeof *e);
}

/* What an lcore does each pass. */
void ends_pass(struct port_end *e)
{
    if (e->link == NULL)
        return;
    if (e->c == NULL) {
        e->c = rdma_link_take(e->link);
        e->taken += e->c != NULL;
    } else if (!e->retired) {
        if (atomic_load_explicit(&e->c->broken, memory_order_acquire) != 0) {
            rdma_link_retire(e->link);
            e->retired = true;
        }
    } else if (rdma_link_is_gone(e->link)) {
        rdma_link_free(e->link);
        e->c = NULL;
        e->retired = false;
        e->freed++;
    }
}

void ends_retire(struct port_end *e)
{
    rdma_link_retire(e->link);
    e->retired = true;
}

static void end_show(const struct port_end *e)
{
    if (e->port == NULL)
        return;
    const struct rdma_port_shown *s = rdma_port_shown(e->port);
    const char *call = atomic_load_explicit(&s->error_call, memory_order_relaxed);
    printf("      taken %u freed %u%s%s; connections %lu refusals %lu failures %lu broken %lu "
           "removals %lu; errors %lu, "
           "last: %s %d\n",
           e->taken, e->freed, e->c != NULL ? ", has one" : "", e->retired ? ", retired" : "",
           (unsigned long)ends_shown(&s->connections), (unsigned long)ends_shown(&s->refusals),
           (unsigned long)ends_shown(&s->failures), (unsigned long)ends_shown(&s->broken),
           (unsigned long)ends_shown(&s->removals), (unsigned long)ends_shown(&s->errors),
           call != NULL ? call : "none",
           atomic_load_explicit(&s->error, memory_order_relaxed)); /* words for people */
}

/* Both wake_fds, for so long. */
static void sleep_on(int ms)
{
    uint64_t kicks;
    struct pollfd fds[2] = {{.fd = ends_a.port != NULL ? ends_a.wake_fd : -1, .events = POLLIN},
                            {.fd = ends_b.port != NULL ? ends_b.wake_fd : -1, .events = POLLIN}};
    (void)poll(fds, 2, ms);
    for (uint32_t i = 0; i < 2; i++)
        if (fds[i].fd >= 0)
            (void)!read(fds[i].fd, &kicks, sizeof kicks);
}

static uint64_t await(bool (*is_so)(void), const char *what, int ms)
{
    uint64_t begun = clock_boottime_ns();
    for (;;) {
        ends_pass(&ends_a);
        ends_pass(&ends_b);
        if (is_so())
            return clock_boottime_ns() - begun;
        sleep_on(ms);
        if (clock_boottime_ns() - begun > HANGS_NS) {
            end_show(&ends_a);
            end_show(&ends_b);
            ends_fail(what);
        }
    }
}

uint64_t ends_await(bool (*is_so)(void), const char *what)
{
    return await(is_so, what, (int)(HANGS_NS / NS_PER_MS));
}

uint64_t ends_await_shown(bool (*is_so)(void), const char *what)
{
    return await(is_so, what, 20);
}

bool ends_usable(const struct port_end *e)
{
    return e->c != NULL && !e->retired &&
           atomic_load_explicit(&e->c->broken, memory_order_acquire) == 0;
}

bool ends_both_up(void)
{
    return ends_usable(&ends_a) && ends_usable(&ends_b) &&
           ends_a.c->peer_number == ends_b.c->number && ends_b.c->peer_number == ends_a.c->number;
}

uint64_t ends_pair_open(void)
{
    struct rdma_port_config one = ends_config_of(1, ends_addresses[0]),
                            two = ends_config_of(2, ends_addresses[1]);
    ends_port_open(&ends_a, &one);
    ends_port_open(&ends_b, &two);
    ends_link_open(&ends_b, 1, ends_addresses[0]);
    ends_link_open(&ends_a, 2, ends_addresses[1]);
    return ends_await(ends_both_up, "two nodes connect");
}

void ends_pair_close(void)
{
    ends_end_close(&ends_a);
    ends_end_close(&ends_b);
}

/* ---- work requests ---- */

void ends_completion(struct port_end *e, struct ibv_wc *wc)
{
    uint64_t begun = clock_boottime_ns();
    int found;
    while ((found = ibv_poll_cq(e->c->cq, 1, wc)) == 0)
        ends_check(clock_boottime_ns() - begun < HANGS_NS, "a completion comes");
    ends_check(found == 1, "ibv_poll_cq");
}

void ends_post(struct port_end *e, enum ibv_wr_opcode opcode, const struct ends_target *t)
{
    struct ibv_sge piece = {.addr = (uintptr_t)t->from, .length = t->length, .lkey = t->local};
    struct ibv_send_wr w = {.wr_id = 77,
                            .sg_list = &piece,
                            .num_sge = 1,
                            .opcode = opcode,
                            .send_flags = IBV_SEND_SIGNALED,
                            .imm_data = htonl(4711)},
                       *bad;
    w.wr.rdma.remote_addr = t->address;
    w.wr.rdma.rkey = t->key;
    ends_check(ibv_post_send(e->c->qp, &w, &bad) == 0, "ibv_post_send");
}

enum ibv_wc_status ends_done(struct port_end *e)
{
    struct ibv_wc wc;
    do
        ends_completion(e, &wc);
    while (wc.status == IBV_WC_SUCCESS && (wc.opcode & IBV_WC_RECV) != 0);
    return wc.status;
}

struct ends_target ends_from_send(const struct port_end *e, uint32_t length)
{
    memset(e->c->send, (int)e->c->number & 0xff, length);
    return (struct ends_target){.from = e->c->send, .length = length, .local = e->c->mr->lkey};
}

/* A message of either kind, from one to the other; n: how many came there before. */
void ends_message(struct port_end *from, struct port_end *to, uint32_t n)
{
    struct ends_target t = ends_from_send(from, ENDS_MESSAGE_BYTES);
    struct ibv_wc wc;
    ends_post(from, IBV_WR_SEND_WITH_IMM, &t);
    ends_check(ends_done(from) == IBV_WC_SUCCESS, "a SEND completes");
    ends_completion(to, &wc);
    ends_check(wc.status == IBV_WC_SUCCESS && wc.opcode == IBV_WC_RECV && wc.wr_id == n &&
                   wc.byte_len == ENDS_MESSAGE_BYTES && ntohl(wc.imm_data) == 4711,
               "it is received in its place");
    ends_check(memcmp(to->c->received + wc.wr_id * ENDS_MESSAGE_BYTES, from->c->send,
                      ENDS_MESSAGE_BYTES) == 0,
               "with its bytes");
    t.length = RDMA_PORT_SLOT_BYTES;
    t.key = from->c->peer.key;
    t.address = from->c->peer.address + offsetof(struct rdma_inlet, ring) +
                (uint64_t)(n + 1) * RDMA_PORT_SLOT_BYTES;
    ends_post(from, IBV_WR_RDMA_WRITE_WITH_IMM, &t);
    ends_check(ends_done(from) == IBV_WC_SUCCESS, "a WRITE_WITH_IMM completes");
    ends_completion(to, &wc);
    ends_check(wc.status == IBV_WC_SUCCESS && wc.opcode == IBV_WC_RECV_RDMA_WITH_IMM &&
                   wc.wr_id == n + 1,
               "it takes a RECV");
    ends_check(memcmp(to->c->inlet->ring + (uint64_t)(n + 1) * RDMA_PORT_SLOT_BYTES, from->c->send,
                      RDMA_PORT_SLOT_BYTES) == 0,
               "its bytes are in the ring");
}

enum rdma_cm_event_type ends_asked(const void *hello, uint8_t bytes)
{
    struct rdma_event_channel *channel = rdma_create_event_channel();
    struct rdma_cm_id *id = NULL;
    struct sockaddr_storage from = ends_address_of(ends_addresses[0], 0),
                            to = ends_address_of(ends_addresses[1], ENDS_UDP_PORT);
    struct rdma_cm_event *event;
    struct rdma_conn_param p = {.private_data = hello, .private_data_len = bytes, .qp_num = 77};
    enum rdma_cm_event_type type = RDMA_CM_EVENT_ADDR_RESOLVED;
    ends_check(channel != NULL && rdma_create_id(channel, &id, NULL, RDMA_PS_TCP) == 0, "an id");
    ends_check(rdma_resolve_addr(id, (struct sockaddr *)&from, (struct sockaddr *)&to, 1000) == 0,
               "an address");
    for (uint32_t i = 0; i < 3; i++) {
        ends_check(rdma_get_cm_event(channel, &event) == 0, "an event");
        type = event->event;
        ends_check(rdma_ack_cm_event(event) == 0, "acknowledged");
        if (type == RDMA_CM_EVENT_ADDR_RESOLVED)
            ends_check(rdma_resolve_route(id, 1000) == 0, "a route");
        else if (type == RDMA_CM_EVENT_ROUTE_RESOLVED)
            ends_check(rdma_connect(id, &p) == 0, "a request");
    }
    ends_check(rdma_destroy_id(id) == 0, "its end");
    rdma_destroy_event_channel(channel);
    return type;
}
