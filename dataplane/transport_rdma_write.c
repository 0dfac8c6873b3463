#include "dataplane/transport_rdma.h"

#define CONNECTION_SHIFT                                                                           \
    32u /* of a token's key: number of the connection above, the device's key below */

static struct transport_rdma_endpoint *endpoint_of(struct transport *t)
{
    return transport_rdma_of(transport_framed_endpoint_of(t));
}

/* NULL: there is no such peer. */
static struct transport_rdma_peer *find(struct transport_rdma_endpoint *e, uint32_t node)
{
    struct transport_framed_peer *p = transport_framed_find(&e->framed, node);
    return p != NULL ? transport_rdma_peer_of(p) : NULL;
}

/* ---- writes ---- */

/* Whether there is a work request for one more. */
static bool has_room(const struct transport_rdma_peer *p)
{
    uint32_t kept = (uint32_t)min_u64(TRANSPORT_RDMA_KEPT, p->c->sends / 4);
    return transport_rdma_sends(p) > kept;
}

/* A token is foreign.  Why not whether it lies in what was granted: the peer's device does not let it land
 * elsewhere than in memory that it has, and the caller keeps to its segment (L1). */
static bool may(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p,
                const struct transport_log_write *w)
{
    if (p->state != TRANSPORT_RDMA_LIVE || w->token.key >> CONNECTION_SHIFT != p->c->peer_number ||
        w->token.address > UINT64_MAX - w->length)
        return false;
    if (LIKELY(has_room(p)))
        return true;
    (void)transport_rdma_poll(e, p);
    return p->state == TRANSPORT_RDMA_LIVE && has_room(p);
}

/* There is a work request for it. */
static void stage(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p,
                  const struct transport_rdma_staged *staged,
                  const struct transport_rdma_work *work)
{
    p->staged[p->staged_count++] = *staged;
    *transport_rdma_work_at(p->flight, p->flight->tail++) = *work;
    if (p->staged_count == TRANSPORT_RDMA_STAGED)
        transport_rdma_post(e, p);
}

int transport_rdma_log_write(struct transport *t, const struct transport_log_write *w)
{
    struct transport_rdma_endpoint *e = endpoint_of(t);
    struct transport_rdma_peer *p = find(e, w->to);
    struct rdma_keys keys;
    ASSERT(w->bytes != NULL && w->length != 0 && w->length <= t->length_max);
    if (UNLIKELY(p == NULL))
        return -ENXIO;
    if (UNLIKELY(!may(e, p, w))) {
        e->counters.log_writes_refused++;
        return -EAGAIN;
    }
    if (UNLIKELY(!rdma_port_keys(e->port, w->bytes, w->length, &keys))) {
        e->counters.log_writes_unmapped++;
        return -EOPNOTSUPP;
    }
    const struct transport_rdma_staged staged = {
        .from = {.addr = (uintptr_t)w->bytes, .length = w->length, .lkey = keys.local},
        .address = w->token.address,
        .key = (uint32_t)w->token.key,
    };
    const struct transport_rdma_work work = {.hold = w->hold, .kind = TRANSPORT_RDMA_WRITE};
    e->counters.log_writes++;
    e->counters.log_write_bytes += w->length;
    stage(e, p, &staged, &work);
    return 0;
}

/* ---- holds ---- */

/* Holds of what is over. */
static uint32_t collect(struct transport_rdma_flight *f, uint64_t *holds, uint32_t count)
{
    uint32_t got = 0;
    for (; f->head != f->done; f->head++) {
        const struct transport_rdma_work *w = transport_rdma_work_at(f, f->head);
        if (w->kind != TRANSPORT_RDMA_WRITE)
            continue;
        if (got == count)
            break;
        holds[got++] = w->hold;
    }
    return got;
}

/* Of peers that left. */
static uint32_t left_collect(struct transport_rdma_endpoint *e, uint64_t *holds, uint32_t count)
{
    uint32_t got = 0;
    for (struct transport_rdma_flight **at = &e->left; *at != NULL;) {
        struct transport_rdma_flight *f = *at;
        /* acquire, X1 <- X0 */
        bool over = atomic_load_explicit(&f->over, memory_order_acquire) != 0;
        if (over) {
            f->done = f->tail;
            got += collect(f, holds + got, count - got);
        }
        if (over && f->head == f->tail && !f->to_name) {
            *at = f->next;
            transport_rdma_flight_leave(f);
        } else {
            at = &f->next;
        }
    }
    return got;
}

uint32_t transport_rdma_complete(struct transport_framed_endpoint *framed, uint64_t *holds,
                                 uint32_t count)
{
    struct transport_rdma_endpoint *e = transport_rdma_of(framed);
    uint32_t got = 0;
    for (uint32_t i = 0; i < framed->peer_count; i++) {
        struct transport_rdma_peer *p = transport_rdma_peer_at(e, i);
        if (p->state == TRANSPORT_RDMA_LIVE && transport_rdma_waits(p))
            transport_rdma_post(e, p);
        if (p->state == TRANSPORT_RDMA_LIVE && p->flight->done != p->flight->tail)
            (void)transport_rdma_poll(e, p);
        if (p->flight->head != p->flight->done)
            got += collect(p->flight, holds + got, count - got);
        if (UNLIKELY(p->state == TRANSPORT_RDMA_GONE))
            transport_rdma_let_go(e, p);
    }
    if (UNLIKELY(e->left != NULL))
        got += left_collect(e, holds + got, count - got);
    return got;
}

/* ---- connections, as their grants see them ---- */

void transport_rdma_disconnect(struct transport *t, uint32_t node)
{
    struct transport_rdma_endpoint *e = endpoint_of(t);
    struct transport_rdma_peer *p = find(e, node);
    if (p == NULL)
        return;
    p->to_name = true;
    if (p->state == TRANSPORT_RDMA_LIVE)
        transport_rdma_retire(e, p, NULL);
}

uint32_t transport_rdma_disconnected(struct transport *t)
{
    struct transport_rdma_endpoint *e = endpoint_of(t);
    for (struct transport_rdma_flight *f = e->left; f != NULL; f = f->next)
        /* acquire, X1 <- X0 */
        if (f->to_name && atomic_load_explicit(&f->over, memory_order_acquire) != 0) {
            f->to_name = false;
            return f->node;
        }
    for (uint32_t i = 0; i < e->framed.peer_count; i++) {
        struct transport_rdma_peer *p = transport_rdma_peer_at(e, i);
        if (!p->to_name || p->state == TRANSPORT_RDMA_RETIRED)
            continue;
        p->to_name = false;
        return p->framed.node;
    }
    return TRANSPORT_NOBODY;
}

/* Why not while another one of that node is to be named: what is given now would be taken for that one's. */
static bool is_to_be_named(const struct transport_rdma_endpoint *e,
                           const struct transport_rdma_peer *p)
{
    for (const struct transport_rdma_flight *f = e->left; f != NULL; f = f->next)
        if (f->to_name && f->node == p->framed.node)
            return true;
    return p->to_name;
}

/* ---- tokens ---- */

/* Exactly the granted memory, from the next post on.  False: there is no work request for it, or the connection ended. */
static bool window_bind(struct transport_rdma_endpoint *e, struct transport_rdma_peer *p,
                        const struct transport_rdma_staged *granted, uint32_t *key)
{
    const struct transport_rdma_work work = {.kind = TRANSPORT_RDMA_OTHER};
    struct transport_rdma_windows *windows = &p->windows;
    if (transport_rdma_sends(p) == 0)
        (void)transport_rdma_poll(e, p);
    if (p->state != TRANSPORT_RDMA_LIVE || transport_rdma_sends(p) == 0)
        return false;
    uint32_t i = windows->free[windows->free_head++ % RDMA_PORT_WINDOWS];
    struct transport_rdma_window *window = &windows->of[i];
    struct transport_rdma_staged staged = *granted;
    staged.window = p->c->windows[i];
    /* Why here: whoever posts a binding has libibverbs read the key of the one before from there. */
    staged.window->rkey = window->key;
    staged.key = *key = window->key = ibv_inc_rkey(window->key);
    window->memory = (const uint8_t *)(uintptr_t)granted->address;
    e->counters.windows_bound++;
    stage(e, p, &staged, &work);
    return p->state == TRANSPORT_RDMA_LIVE;
}

static bool has_window(const struct transport_rdma_endpoint *e, const struct transport_rdma_peer *p,
                       const struct rdma_keys *keys)
{
    return !e->is_unwindowed && keys->region != NULL &&
           p->windows.free_head != p->windows.free_tail;
}

bool transport_rdma_token(struct transport *t, uint32_t node, const uint8_t *memory, uint64_t bytes,
                          struct grant_token *token)
{
    struct transport_rdma_endpoint *e = endpoint_of(t);
    struct transport_rdma_peer *p = find(e, node);
    struct rdma_keys keys;
    if (p == NULL || p->state != TRANSPORT_RDMA_LIVE || is_to_be_named(e, p) ||
        !rdma_port_keys(e->port, memory, bytes, &keys))
        return false;
    ASSERT(bytes <= UINT32_MAX);
    uint32_t key = keys.remote;
    if (LIKELY(has_window(e, p, &keys))) {
        const struct transport_rdma_staged granted = {.from = {.length = (uint32_t)bytes},
                                                      .address = (uintptr_t)memory,
                                                      .region = keys.region};
        if (!window_bind(e, p, &granted, &key))
            return false;
    } else {
        e->counters.grants_unwindowed++;
    }
    *token = (struct grant_token){.address = (uintptr_t)memory,
                                  .key = (uint64_t)p->c->number << CONNECTION_SHIFT | key};
    return true;
}

void transport_rdma_revoke(struct transport *t, uint32_t node, const uint8_t *memory)
{
    struct transport_rdma_endpoint *e = endpoint_of(t);
    struct transport_rdma_peer *p = find(e, node);
    if (p == NULL || p->state != TRANSPORT_RDMA_LIVE)
        return;
    struct transport_rdma_windows *windows = &p->windows;
    for (uint32_t i = 0; i < p->c->window_count; i++) {
        if (windows->of[i].memory != memory)
            continue;
        windows->of[i].memory = NULL;
        windows->over[windows->over_count++] = (uint16_t)i;
    }
    if (windows->over_count != 0)
        transport_rdma_post(e, p);
}
