#include "tests/unit/dataplane/rdma_fabric.h"

#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct fabric fabric;

/* Posted, with a copy of what went along. */
struct request {
    struct ibv_send_wr w;
    struct ibv_sge from;
    uint32_t window_key; /* as libibverbs reads it */
    uint8_t copy[RDMA_PORT_SLOT_BYTES];
};

/* As the device has it. */
struct window {
    struct ibv_mw mw; /* first */
    uint32_t key;
    const uint8_t *from;
    uint64_t bytes; /* 0: not bound */
};

struct end {
    struct rdma_connection c; /* first */
    struct rdma_link *link;
    struct ibv_context context;
    struct ibv_qp qp;
    struct ibv_cq cq;
    struct ibv_comp_channel channel;
    struct ibv_mr mr;
    struct window windows[RDMA_PORT_WINDOWS];
    bool failed, armed;
    struct ibv_recv_wr recvs[FABRIC_QUEUE];
    struct ibv_sge recvs_to[FABRIC_QUEUE];
    uint32_t recvs_head, recvs_tail;
    struct request sends[FABRIC_QUEUE * 2];
    uint32_t sends_head, sends_tail; /* posted and not delivered */
    uint32_t under_way;              /* posted and not looked at */
    struct ibv_wc wcs[FABRIC_QUEUE * 4];
    uint32_t covers[FABRIC_QUEUE * 4]; /* requests that a completion is of */
    uint32_t wcs_head, wcs_tail, silent;
};

enum link_state { IDLE, READY, TAKEN, RETIRED };

struct rdma_link {
    struct rdma_port *port;
    struct rdma_link_config config;
    enum link_state state;
    struct end *end;
};

static struct rdma_link *links[FABRIC_LINKS];
static uint32_t number;
static struct ibv_mr region; /* the log */

static struct rdma_link *link_of(uint32_t node, uint32_t peer)
{
    for (uint32_t i = 0; i < FABRIC_LINKS; i++)
        if (links[i] != NULL && links[i]->port->node == node && links[i]->config.node == peer)
            return links[i];
    return NULL;
}

static struct end *other_end(const struct rdma_link *l)
{
    const struct rdma_link *other = link_of(l->config.node, l->port->node);
    return other != NULL && other->end != NULL && l->end != NULL &&
                   other->end->c.number == l->end->c.peer_number
               ? other->end
               : NULL;
}

static void tell(const struct rdma_link *l)
{
    CU_ASSERT_EQUAL(eventfd_write(l->config.wake_fd, 1), 0);
}

/* ---- completions ---- */

static void wc_push(struct end *e, const struct ibv_wc *wc, uint32_t covers)
{
    uint32_t at = e->wcs_tail++ % (FABRIC_QUEUE * 4);
    CU_ASSERT_FATAL(e->wcs_tail - e->wcs_head <= FABRIC_QUEUE * 4);
    e->wcs[at] = *wc;
    e->covers[at] = covers;
    if (e->armed)
        CU_ASSERT_EQUAL(eventfd_write(e->channel.fd, 1), 0);
    e->armed = false;
}

static int poll_cq(struct ibv_cq *cq, int count, struct ibv_wc *wcs)
{
    struct end *e = cq->cq_context;
    int got = 0;
    for (; got < count && e->wcs_head != e->wcs_tail; e->wcs_head++) {
        uint32_t at = e->wcs_head % (FABRIC_QUEUE * 4);
        e->under_way -= e->covers[at];
        wcs[got++] = e->wcs[at];
    }
    return got;
}

static int req_notify_cq(struct ibv_cq *cq, int solicited)
{
    struct end *e = cq->cq_context;
    (void)solicited;
    e->armed = true;
    return 0;
}

int ibv_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **cq, void **context)
{
    struct end *e = (struct end *)(void *)((uint8_t *)channel - offsetof(struct end, channel));
    eventfd_t times;
    if (eventfd_read(channel->fd, &times) != 0)
        return -1;
    CU_ASSERT_EQUAL(times, 1); /* an event of each request for one */
    *cq = &e->cq;
    *context = e;
    return 0;
}

void ibv_ack_cq_events(struct ibv_cq *cq, unsigned int count)
{
    (void)cq;
    CU_ASSERT_EQUAL(count, 1);
}

/* ---- ends ---- */

static void fail(struct end *e, enum ibv_wc_status status)
{
    if (e == NULL || e->failed)
        return;
    e->failed = true;
    const struct request *r = &e->sends[e->sends_head % (FABRIC_QUEUE * 2)];
    const struct ibv_wc wc = {.status = status, .wr_id = r->w.wr_id};
    wc_push(e, &wc, 0);
    atomic_store_explicit(&e->c.broken, 1, memory_order_release);
    if (e->link->state == TAKEN)
        tell(e->link);
}

static void both_fail(struct rdma_link *l, enum ibv_wc_status status)
{
    struct end *other = other_end(l);
    fail(l->end, status);
    fail(other, IBV_WC_WR_FLUSH_ERR);
}

static void violation(struct rdma_link *l)
{
    fabric.violations++;
    both_fail(l, IBV_WC_REM_ACCESS_ERR);
}

/* Bytes that a request sends, as of now. */
static const uint8_t *bytes_of(const struct request *r)
{
    return (r->w.send_flags & IBV_SEND_INLINE) != 0 ? r->copy
                                                    : (const uint8_t *)(uintptr_t)r->from.addr;
}

static bool is_within(uint64_t address, uint64_t length, const uint8_t *base, uint64_t bytes)
{
    uint64_t from = (uintptr_t)base;
    return address >= from && length <= bytes && address - from <= bytes - length;
}

static bool may_read(const struct end *e, const struct request *r)
{
    if ((r->w.send_flags & IBV_SEND_INLINE) != 0)
        return true;
    if (r->from.lkey == FABRIC_LOG_LOCAL)
        return is_within(r->from.addr, r->from.length, fabric.log, fabric.log_bytes);
    return r->from.lkey == e->mr.lkey &&
           is_within(r->from.addr, r->from.length, e->c.memory, e->c.memory_bytes);
}

static struct window *window_bound(struct end *e, uint32_t key)
{
    for (uint32_t i = 0; i < e->c.window_count; i++)
        if (e->windows[i].bytes != 0 && e->windows[i].key == key)
            return &e->windows[i];
    return NULL;
}

static uint8_t *written_at(struct end *to, const struct request *r)
{
    uint64_t address = r->w.wr.rdma.remote_addr, bytes = 0;
    const struct window *window = window_bound(to, r->w.wr.rdma.rkey);
    const uint8_t *from = (const uint8_t *)to->c.inlet;
    if (window != NULL) {
        from = window->from;
        bytes = window->bytes;
    } else if (r->w.wr.rdma.rkey == FABRIC_LOG_REMOTE) {
        from = fabric.log;
        bytes = fabric.log_bytes;
    } else if (r->w.wr.rdma.rkey == to->c.number + 1000) {
        bytes = sizeof(struct rdma_inlet) + (uint64_t)to->c.messages * RDMA_PORT_SLOT_BYTES;
    }
    return is_within(address, r->from.length, from, bytes) ? (uint8_t *)(uintptr_t)address : NULL;
}

/* With a RECV, which is there. */
static void recv_done(struct end *to, const struct request *r)
{
    const struct ibv_recv_wr *recv = &to->recvs[to->recvs_head++ % FABRIC_QUEUE];
    bool written = r->w.opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
    bool imm = r->w.opcode != IBV_WR_SEND;
    if (!written)
        memcpy((void *)(uintptr_t)recv->sg_list->addr, bytes_of(r), r->from.length);
    const struct ibv_wc wc = {.wr_id = recv->wr_id,
                              .status = IBV_WC_SUCCESS,
                              .opcode = written ? IBV_WC_RECV_RDMA_WITH_IMM : IBV_WC_RECV,
                              .byte_len = r->from.length,
                              .wc_flags = imm ? IBV_WC_WITH_IMM : 0,
                              .imm_data = r->w.imm_data};
    wc_push(to, &wc, 0);
}

static void sent(struct end *e, const struct request *r)
{
    e->silent++;
    if ((r->w.send_flags & IBV_SEND_SIGNALED) == 0)
        return;
    const struct ibv_wc wc = {.wr_id = r->w.wr_id, .status = IBV_WC_SUCCESS, .opcode = IBV_WC_SEND};
    wc_push(e, &wc, e->silent);
    e->silent = 0;
}

/* Whether a device takes it, by the rules for windows of type 2B. */
static bool window_bind(const struct request *r)
{
    struct window *window = (struct window *)(void *)r->w.bind_mw.mw;
    const struct ibv_mw_bind_info *to = &r->w.bind_mw.bind_info;
    if (window->bytes != 0 || r->window_key != window->key || r->w.bind_mw.rkey == window->key ||
        r->w.bind_mw.rkey >> 8 != window->key >> 8 || to->mr != &region || fabric.unbindable ||
        to->length == 0 || !is_within(to->addr, to->length, fabric.log, fabric.log_bytes) ||
        to->mw_access_flags != IBV_ACCESS_REMOTE_WRITE)
        return false;
    window->key = r->w.bind_mw.rkey;
    window->from = (const uint8_t *)(uintptr_t)to->addr;
    window->bytes = to->length;
    return true;
}

/* What concerns this end alone. */
static void local_done(struct rdma_link *l, const struct request *r)
{
    bool binds = r->w.opcode == IBV_WR_BIND_MW;
    struct window *over = binds ? NULL : window_bound(l->end, r->w.invalidate_rkey);
    CU_ASSERT(r->w.num_sge == 0 && (r->w.send_flags & ~(unsigned)IBV_SEND_SIGNALED) == 0);
    if (!fabric.window_fault && (binds ? window_bind(r) : over != NULL)) {
        if (over != NULL)
            over->bytes = 0;
        sent(l->end, r);
        return;
    }
    fabric.violations += !fabric.window_fault;
    fabric_fail(l->port->node, l->config.node, binds ? IBV_WC_MW_BIND_ERR : IBV_WC_LOC_QP_OP_ERR);
}

/* False: it has to wait for a RECV. */
static bool deliver(struct rdma_link *l, const struct request *r)
{
    struct end *e = l->end, *to = other_end(l);
    bool recv = r->w.opcode != IBV_WR_RDMA_WRITE;
    if (r->w.opcode == IBV_WR_BIND_MW || r->w.opcode == IBV_WR_LOCAL_INV) {
        local_done(l, r);
        return true;
    }
    if (recv && to->recvs_head == to->recvs_tail)
        return false;
    bool writes = !recv || r->w.opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
    uint8_t *at = writes ? written_at(to, r) : NULL;
    if (!may_read(e, r) || (writes ? at == NULL : r->from.length > to->c.message_bytes)) {
        violation(l);
        return true;
    }
    if (writes)
        memmove(at, bytes_of(r), r->from.length);
    if (recv)
        recv_done(to, r);
    sent(e, r);
    return true;
}

uint32_t fabric_deliver(uint32_t node, uint32_t peer, uint32_t count)
{
    struct rdma_link *l = link_of(node, peer);
    uint32_t got = 0;
    while (got < count && l != NULL && l->end != NULL && !l->end->failed && other_end(l) != NULL &&
           l->end->sends_head != l->end->sends_tail) {
        struct end *e = l->end;
        const struct request *r = &e->sends[e->sends_head % (FABRIC_QUEUE * 2)];
        if (!deliver(l, r))
            break;
        e->sends_head++;
        got++;
    }
    return got;
}

void fabric_deliver_all(void)
{
    for (uint32_t got = 1; got != 0;) {
        got = 0;
        for (uint32_t i = 0; i < FABRIC_LINKS; i++)
            if (links[i] != NULL)
                got += fabric_deliver(links[i]->port->node, links[i]->config.node, 1);
    }
}

uint32_t fabric_waiting(uint32_t node, uint32_t peer)
{
    const struct rdma_link *l = link_of(node, peer);
    return l != NULL && l->end != NULL ? l->end->sends_tail - l->end->sends_head : 0;
}

/* ---- posting ---- */

static void request_add(struct end *e, const struct ibv_send_wr *w)
{
    struct request *r = &e->sends[e->sends_tail++ % (FABRIC_QUEUE * 2)];
    r->w = *w;
    e->under_way++;
    fabric.requests++;
    if (w->opcode == IBV_WR_BIND_MW)
        r->window_key = w->bind_mw.mw->rkey;
    if (w->num_sge == 0)
        return;
    r->from = *w->sg_list;
    if ((w->send_flags & IBV_SEND_INLINE) != 0) {
        CU_ASSERT_FATAL(w->sg_list->length <= e->c.inline_bytes);
        memcpy(r->copy, (const void *)(uintptr_t)w->sg_list->addr, w->sg_list->length);
        fabric.inlined++;
    }
}

static int post_send(struct ibv_qp *qp, struct ibv_send_wr *w, struct ibv_send_wr **bad)
{
    struct end *e = qp->qp_context;
    CU_ASSERT_EQUAL_FATAL(e->link->state, TAKEN);
    for (; w != NULL; w = w->next) {
        *bad = w;
        int error = w->num_sge == 0 ? fabric.window_error : fabric.post_error;
        if (error != 0)
            return error;
        CU_ASSERT_FATAL(e->under_way < e->c.sends);
        request_add(e, w);
    }
    fabric.doorbells++;
    if (!fabric.held)
        fabric_deliver_all();
    return 0;
}

static int post_recv(struct ibv_qp *qp, struct ibv_recv_wr *w, struct ibv_recv_wr **bad)
{
    struct end *e = qp->qp_context;
    *bad = w;
    CU_ASSERT_EQUAL_FATAL(e->link->state, TAKEN);
    for (; w != NULL; w = w->next) {
        uint32_t at = e->recvs_tail++ % FABRIC_QUEUE;
        CU_ASSERT_FATAL(e->recvs_tail - e->recvs_head <= e->c.messages);
        e->recvs[at] = *w;
        e->recvs_to[at] = *w->sg_list;
        e->recvs[at].sg_list = &e->recvs_to[at];
        CU_ASSERT_EQUAL(w->sg_list->lkey, e->mr.lkey);
    }
    return 0;
}

/* ---- links ---- */

int rdma_link_open(struct rdma_port *port, const struct rdma_link_config *config,
                   struct rdma_link **link)
{
    CU_ASSERT_PTR_NULL_FATAL(link_of(port->node, config->node));
    struct rdma_link *l = calloc(1, sizeof *l);
    CU_ASSERT_PTR_NOT_NULL_FATAL(l);
    l->port = port;
    l->config = *config;
    uint32_t i = 0;
    while (links[i] != NULL)
        i++;
    links[i] = l;
    *link = l;
    return 0;
}

static void end_free(struct rdma_link *l)
{
    struct end *e = l->end;
    l->end = NULL;
    l->state = IDLE;
    if (e == NULL)
        return;
    (void)close(e->channel.fd);
    free(e->c.memory);
    free(e);
}

void rdma_link_close(struct rdma_link *l)
{
    fail(other_end(l), IBV_WC_RETRY_EXC_ERR);
    end_free(l);
    for (uint32_t i = 0; i < FABRIC_LINKS; i++)
        if (links[i] == l)
            links[i] = NULL;
    free(l);
}

struct rdma_connection *rdma_link_take(struct rdma_link *l)
{
    if (l->state != READY)
        return NULL;
    l->state = TAKEN;
    return &l->end->c;
}

void rdma_link_retire(struct rdma_link *l)
{
    CU_ASSERT_EQUAL_FATAL(l->state, TAKEN);
    l->state = RETIRED;
    both_fail(l, IBV_WC_WR_FLUSH_ERR);
    if (!fabric.dies)
        tell(l);
}

bool rdma_link_is_gone(const struct rdma_link *l)
{
    return l->state == RETIRED && !fabric.dies;
}

void rdma_link_free(struct rdma_link *l)
{
    CU_ASSERT_TRUE_FATAL(rdma_link_is_gone(l));
    end_free(l);
}

bool rdma_port_keys(const struct rdma_port *port, const uint8_t *memory, uint64_t bytes,
                    struct rdma_keys *keys)
{
    (void)port;
    *keys = (struct rdma_keys){.local = FABRIC_LOG_LOCAL,
                               .remote = FABRIC_LOG_REMOTE,
                               .region = fabric.unbindable ? NULL : &region};
    return is_within((uintptr_t)memory, bytes, fabric.log, fabric.log_bytes);
}

/* ---- connecting ---- */

static struct end *end_make(struct rdma_link *l)
{
    struct end *e = calloc(1, sizeof *e);
    CU_ASSERT_PTR_NOT_NULL_FATAL(e);
    struct rdma_connection *c = &e->c;
    uint64_t ring =
        align_up(sizeof(struct rdma_inlet) + (uint64_t)fabric.messages * RDMA_PORT_SLOT_BYTES, 64);
    uint64_t received = (uint64_t)fabric.messages * fabric.message_bytes;
    e->link = l;
    c->number = ++number;
    c->messages = fabric.messages;
    c->message_bytes = fabric.message_bytes;
    c->sends = fabric.sends;
    c->inline_bytes = fabric.inline_bytes;
    c->memory_bytes = align_up(ring + received + l->config.send_bytes, 64);
    c->memory = aligned_alloc(64, c->memory_bytes);
    CU_ASSERT_PTR_NOT_NULL_FATAL(c->memory);
    memset(c->memory, 0, c->memory_bytes);
    c->inlet = (struct rdma_inlet *)(void *)c->memory;
    c->received = c->memory + ring;
    c->send = c->received + received;
    e->context.ops.poll_cq = poll_cq;
    e->context.ops.req_notify_cq = req_notify_cq;
    e->context.ops.post_send = post_send;
    e->context.ops.post_recv = post_recv;
    e->channel.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    e->cq = (struct ibv_cq){.context = &e->context, .channel = &e->channel, .cq_context = e};
    e->qp = (struct ibv_qp){.context = &e->context, .qp_context = e};
    e->mr.lkey = number + 500;
    c->mr = &e->mr;
    c->qp = &e->qp;
    c->cq = &e->cq;
    c->channel = &e->channel;
    c->window_count = fabric.windows;
    for (uint32_t i = 0; i < fabric.windows; i++) {
        e->windows[i].key = e->windows[i].mw.rkey = (number * RDMA_PORT_WINDOWS + i) << 8 | 0xfe;
        c->windows[i] = &e->windows[i].mw;
    }
    return e;
}

static void recvs_begin(struct end *e)
{
    for (uint32_t i = 0; i < e->c.messages; i++) {
        uint32_t at = e->recvs_tail++ % FABRIC_QUEUE;
        e->recvs_to[at] =
            (struct ibv_sge){.addr = (uintptr_t)(e->c.received + (uint64_t)i * e->c.message_bytes)};
        e->recvs[at] = (struct ibv_recv_wr){.wr_id = i, .sg_list = &e->recvs_to[at]};
    }
}

static void introduce(struct end *e, const struct end *to)
{
    e->c.peer_number = to->c.number;
    e->c.peer = (struct rdma_hello){.number = to->c.number,
                                    .messages = to->c.messages,
                                    .message_bytes = to->c.message_bytes,
                                    .key = to->c.number + 1000,
                                    .address = (uintptr_t)to->c.inlet};
    recvs_begin(e);
    e->link->state = READY;
    tell(e->link);
}

void fabric_connect(void)
{
    for (uint32_t i = 0; i < FABRIC_LINKS && !fabric.asunder; i++) {
        struct rdma_link *l = links[i];
        struct rdma_link *other =
            l != NULL && l->state == IDLE ? link_of(l->config.node, l->port->node) : NULL;
        if (other == NULL || other->state != IDLE)
            continue;
        l->end = end_make(l);
        other->end = end_make(other);
        introduce(l->end, other->end);
        introduce(other->end, l->end);
    }
}

void fabric_break(uint32_t node, uint32_t peer)
{
    both_fail(link_of(node, peer), IBV_WC_RETRY_EXC_ERR);
}

void fabric_fail(uint32_t node, uint32_t peer, enum ibv_wc_status status)
{
    struct rdma_link *l = link_of(node, peer);
    both_fail(l, status);
    /* Why: it knows by the completion alone, until its peer has noticed and says so. */
    atomic_store_explicit(&l->end->c.broken, 0, memory_order_relaxed);
}

struct rdma_connection *fabric_end(uint32_t node, uint32_t peer)
{
    const struct rdma_link *l = link_of(node, peer);
    return l != NULL && l->end != NULL ? &l->end->c : NULL;
}

uint32_t fabric_connections(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < FABRIC_LINKS; i++)
        count += links[i] != NULL && links[i]->end != NULL;
    return count;
}

uint32_t fabric_bound(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < FABRIC_LINKS; i++)
        for (uint32_t j = 0; links[i] != NULL && links[i]->end != NULL && j < fabric.windows; j++)
            count += links[i]->end->windows[j].bytes != 0;
    return count;
}

void fabric_forge(uint32_t node, uint32_t peer, const struct ibv_send_wr *w)
{
    struct rdma_link *l = link_of(node, peer);
    struct request r = {.w = *w, .from = *w->sg_list};
    r.w.send_flags = IBV_SEND_INLINE;
    CU_ASSERT_FATAL(r.from.length <= sizeof r.copy);
    memcpy(r.copy, (const void *)(uintptr_t)w->sg_list->addr, r.from.length);
    CU_ASSERT_TRUE(deliver(l, &r));
    l->end->silent -= !l->end->failed;
}

void fabric_reset(void)
{
    uint8_t *log = fabric.log;
    uint64_t log_bytes = fabric.log_bytes;
    CU_ASSERT_EQUAL(fabric_connections(), 0);
    fabric = (struct fabric){.messages = RDMA_PORT_MESSAGES,
                             .message_bytes = 8960,
                             .sends = RDMA_PORT_SENDS,
                             .inline_bytes = RDMA_PORT_INLINE,
                             .windows = RDMA_PORT_WINDOWS,
                             .log = log,
                             .log_bytes = log_bytes};
}
