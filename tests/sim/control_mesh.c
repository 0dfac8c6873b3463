/* The mesh of control/control_net.h between simulated processes: messages of a link keep their order and arrive
 * whole or not at all, links break and are made again.  A link that is cut holds what is sent, as TCP does, and
 * breaks after a while on each side by itself. */
#include "tests/sim/control_world.h"

#include "control/control_net.h"
#include "control/secret_exchange.h"

#include <stdlib.h>
#include <string.h>

#define DELAY_NS UINT64_C(50000) /* of a message, at least */
#define REQUESTS_MAX 1024u
#define BROKEN_NS_MIN (300 * NS_PER_MS) /* a cut link breaks after this */
#define BROKEN_NS (2 * NS_PER_S)        /* and up to so much more */

struct pending {
    struct control_net_request *request; /* NULL: free */
    uint64_t number;
    uint32_t to;
};

struct control_net {
    struct control_net_config config;
    bool is_peer[CONTROL_NODES_MAX];
    bool is_up[CONTROL_NODES_MAX];
    uint64_t link[CONTROL_NODES_MAX]; /* number of the connection that is up */
    struct pending pending[REQUESTS_MAX];
    uint64_t number;
    void (*closed)(void *context);
    void *context;
};

struct held {
    struct held *next;
    struct control_event event;
};

struct control_mesh {
    uint64_t links; /* ever made */
    bool is_connecting[CONTROL_NODES_MAX][CONTROL_NODES_MAX];
    uint64_t last_ns[CONTROL_NODES_MAX][CONTROL_NODES_MAX]; /* when the newest message arrives */
    struct held *held[CONTROL_NODES_MAX][CONTROL_NODES_MAX];
    uint64_t cut_number[CONTROL_NODES_MAX][CONTROL_NODES_MAX];
    bool was_cut[CONTROL_NODES_MAX][CONTROL_NODES_MAX];
};

struct message {
    uint8_t type;
    size_t length;
    uint8_t bytes[];
};

static struct control_mesh *mesh(void)
{
    return control_world->mesh;
}

static struct control_net *net_at(uint32_t node)
{
    const struct control_process *p = control_world->nodes[node].process;
    return p != NULL && p->net != NULL && p->net->closed == NULL ? p->net : NULL;
}

static uint32_t position_of(uint32_t id)
{
    uint32_t i = 0;
    while (i < control_world->node_count && control_world->nodes[i].id != id)
        i++;
    return i;
}

static bool is_cut(uint32_t a, uint32_t b)
{
    return control_world->cut[a][b] || control_world->cut[b][a];
}

/* ---- what arrives ---- */

static uint64_t delay(void)
{
    uint64_t ns = DELAY_NS + control_below(control_chance(5) ? 3 * NS_PER_MS : 200000);
    return control_world->slow_ns != 0 ? ns + control_below(control_world->slow_ns) : ns;
}

/* Behind all that is on its way there. */
static void arrive(uint32_t from, uint32_t to, struct control_event *e)
{
    uint64_t *last = &mesh()->last_ns[from][to];
    e->at_ns = max_u64(*last + 1, control_world->now_ns + delay());
    *last = e->at_ns;
    control_event_add(e);
}

static void on_message(const struct control_event *e)
{
    struct control_net *n = control_world->current->net;
    const struct message *m = e->data;
    uint32_t from = (uint32_t)e->other;
    if (n == NULL || n->closed != NULL || !n->is_up[from] || !n->is_peer[from] ||
        n->link[from] != e->number)
        return;
    control_count(CONTROL_MESSAGES);
    n->config.received(n->config.context, control_world->nodes[from].id, m->type,
                       m->length != 0 ? m->bytes : NULL, m->length);
}

/* ---- requests ---- */

static void request_end(struct pending *p, int error)
{
    struct control_net_request *r = p->request;
    p->request = NULL;
    r->sent(r, error);
}

static void on_sent(const struct control_event *e)
{
    struct control_net *n = control_world->current->net;
    for (uint32_t i = 0; n != NULL && i < REQUESTS_MAX; i++)
        if (n->pending[i].request != NULL && n->pending[i].number == e->number) {
            request_end(&n->pending[i], 0);
            return;
        }
}

static int request_add(struct control_net *n, uint32_t to, struct control_net_request *r)
{
    uint32_t i = 0;
    while (i < REQUESTS_MAX && n->pending[i].request != NULL)
        i++;
    if (i == REQUESTS_MAX)
        return -ENOBUFS;
    n->pending[i] = (struct pending){.request = r, .number = ++n->number, .to = to};
    control_event_own(20000 + control_below(100000), on_sent, n->number);
    return 0;
}

static void requests_end(struct control_net *n, uint32_t to, int error)
{
    for (uint32_t i = 0; i < REQUESTS_MAX; i++)
        if (n->pending[i].request != NULL && (to == UINT32_MAX || n->pending[i].to == to))
            request_end(&n->pending[i], error);
}

/* ---- links ---- */

static void connect_later(uint32_t a, uint32_t b);

static void held_drop(uint32_t from, uint32_t to)
{
    struct held *h = mesh()->held[from][to];
    mesh()->held[from][to] = NULL;
    while (h != NULL) {
        struct held *next = h->next;
        control_count(CONTROL_MESSAGES_LOST);
        free(h->event.data);
        free(h);
        h = next;
    }
}

static void side_down(struct control_net *n, uint32_t peer)
{
    n->is_up[peer] = false;
    requests_end(n, peer, -ECONNRESET);
    n->config.link(n->config.context, control_world->nodes[peer].id, false);
}

/* A side has found that this connection is no more. */
static void on_down(const struct control_event *e)
{
    struct control_net *n = control_world->current->net;
    uint32_t self = control_world->current->node, peer = (uint32_t)e->other;
    if (n == NULL || n->closed != NULL || !n->is_up[peer] || n->link[peer] != e->number)
        return;
    held_drop(self, peer);
    side_down(n, peer);
    connect_later(self < peer ? self : peer, self < peer ? peer : self);
}

static void down_later(uint32_t at, uint32_t peer, uint64_t delay_ns)
{
    const struct control_net *n = net_at(at);
    if (n == NULL || !n->is_up[peer])
        return;
    control_event_add(&(struct control_event){.at_ns = control_world->now_ns + delay_ns,
                                              .process = control_world->nodes[at].process->uid,
                                              .node = at,
                                              .is_loop = true,
                                              .run = on_down,
                                              .number = n->link[peer],
                                              .other = peer});
}

/* The other side of a link that is no more will find out. */
static void link_broken(uint32_t at, uint64_t number)
{
    control_event_add(&(struct control_event){
        .at_ns = control_world->now_ns + control_below(2 * NS_PER_MS),
        .process = net_at(at) != NULL ? control_world->nodes[at].process->uid : UINT64_MAX,
        .node = at,
        .is_loop = true,
        .run = on_down,
        .number = number,
        .other = control_world->current->node});
}

/* The other side's HELLO has come. */
static void on_up(const struct control_event *e)
{
    struct control_net *n = control_world->current->net;
    uint32_t peer = (uint32_t)e->other;
    if (n == NULL || n->closed != NULL || (n->is_up[peer] && n->link[peer] >= e->number))
        return;
    if (!n->is_peer[peer]) { /* refused */
        link_broken(peer, e->number);
        return;
    }
    if (n->is_up[peer])
        side_down(n, peer);
    n->is_up[peer] = true;
    n->link[peer] = e->number;
    n->config.link(n->config.context, control_world->nodes[peer].id, true);
}

static void hello(uint32_t from, uint32_t to, uint64_t link)
{
    struct control_event e = {.process = control_world->nodes[to].process->uid,
                              .node = to,
                              .is_loop = true,
                              .run = on_up,
                              .number = link,
                              .other = from};
    held_drop(from, to);
    arrive(from, to, &e);
}

static bool is_frozen(uint32_t node)
{
    return control_world->nodes[node].frozen_until_ns > control_world->now_ns;
}

static void on_connect(const struct control_event *e)
{
    uint32_t a = (uint32_t)e->number, b = (uint32_t)e->other;
    const struct control_net *first = net_at(a), *second = net_at(b);
    mesh()->is_connecting[a][b] = false;
    if (first == NULL || second == NULL || !first->is_peer[b])
        return; /* who starts connects, or adds it */
    if (first->is_up[b] && second->is_up[a] && first->link[b] == second->link[a])
        return;
    if (is_cut(a, b) || is_frozen(a) || is_frozen(b) || !second->is_peer[a]) {
        connect_later(a, b);
        return;
    }
    mesh()->links++;
    hello(a, b, mesh()->links);
    hello(b, a, mesh()->links);
}

/* a below b. */
static void connect_later(uint32_t a, uint32_t b)
{
    if (mesh()->is_connecting[a][b])
        return;
    mesh()->is_connecting[a][b] = true;
    uint64_t wait_ns = NS_PER_MS + control_below(is_cut(a, b) ? 300 * NS_PER_MS : 30 * NS_PER_MS);
    control_event_add(&(struct control_event){
        .at_ns = control_world->now_ns + wait_ns, .run = on_connect, .number = a, .other = b});
}

void control_mesh_dead(const struct control_node *n, bool is_power)
{
    uint32_t node = (uint32_t)(n - control_world->nodes);
    for (uint32_t i = 0; i < control_world->node_count; i++) {
        if (i == node)
            continue;
        held_drop(node, i);
        /* Why late: nobody says so when a machine is gone, or the way is. */
        if (is_power || is_cut(node, i))
            down_later(i, node, BROKEN_NS_MIN + control_below(BROKEN_NS));
        else
            down_later(i, node, control_below(2 * NS_PER_MS));
    }
}

static void held_release(uint32_t from, uint32_t to)
{
    struct held *h = mesh()->held[from][to];
    if (h == NULL)
        return;
    mesh()->held[from][to] = NULL;
    mesh()->last_ns[from][to] =
        max_u64(mesh()->last_ns[from][to], control_world->now_ns + control_below(200 * NS_PER_MS));
    while (h != NULL) {
        struct held *next = h->next;
        arrive(from, to, &h->event);
        free(h);
        h = next;
    }
}

/* If it is still cut, or has been made anew: the number says. */
static void on_cut_late(const struct control_event *e)
{
    uint32_t a = (uint32_t)(e->other >> 8), b = (uint32_t)e->other & 0xff;
    if (mesh()->cut_number[a][b] != e->number || !is_cut(a, b))
        return;
    down_later(a, b, control_below(300 * NS_PER_MS));
    down_later(b, a, control_below(300 * NS_PER_MS));
}

static void pair_changed(uint32_t a, uint32_t b)
{
    if (is_cut(a, b) == mesh()->was_cut[a][b])
        return;
    mesh()->was_cut[a][b] = is_cut(a, b);
    mesh()->cut_number[a][b]++;
    if (is_cut(a, b))
        control_event_add(&(struct control_event){.at_ns = control_world->now_ns + BROKEN_NS_MIN +
                                                           control_below(BROKEN_NS),
                                                  .run = on_cut_late,
                                                  .number = mesh()->cut_number[a][b],
                                                  .other = a << 8 | b});
}

void control_mesh_changed(void)
{
    for (uint32_t a = 0; a < control_world->node_count; a++)
        for (uint32_t b = 0; b < control_world->node_count; b++) {
            if (!control_world->cut[a][b])
                held_release(a, b);
            if (a < b)
                pair_changed(a, b);
        }
}

/* ---- what the product asks for ---- */

static void peer_begin(struct control_net *n, uint32_t peer)
{
    uint32_t self = control_world->current->node;
    n->is_peer[peer] = true;
    connect_later(peer < self ? peer : self, peer < self ? self : peer);
}

int control_net_open(struct control_net **net, const struct control_net_config *config,
                     FILE *errors)
{
    struct control_process *p = control_world->current;
    (void)errors;
    p->net = control_calloc(1, sizeof *p->net);
    p->net->config = *config;
    *net = p->net;
    for (uint32_t i = 0; i < config->peer_count; i++)
        peer_begin(p->net, position_of(config->peers[i].node));
    return 0;
}

int control_net_add(struct control_net *n, const struct control_net_peer *peer)
{
    uint32_t at = position_of(peer->node);
    if (at == control_world->node_count || at == control_world->current->node || n->is_peer[at])
        return -EINVAL;
    peer_begin(n, at);
    return 0;
}

void control_net_remove(struct control_net *n, uint32_t node)
{
    uint32_t at = position_of(node), self = control_world->current->node;
    if (at == control_world->node_count || !n->is_peer[at])
        return;
    n->is_peer[at] = false;
    down_later(self, at, 0);
    down_later(at, self, control_below(2 * NS_PER_MS));
}

static struct message *message_make(uint8_t type, const struct iovec *pieces, unsigned count)
{
    size_t length = 0;
    for (unsigned i = 0; i < count; i++)
        length += pieces[i].iov_len;
    struct message *m = malloc(sizeof *m + length);
    ASSERT(m != NULL);
    *m = (struct message){.type = type, .length = length};
    size_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        if (pieces[i].iov_len != 0)
            memcpy(m->bytes + at, pieces[i].iov_base, pieces[i].iov_len);
        at += pieces[i].iov_len;
    }
    return m;
}

static void hold(uint32_t from, uint32_t to, const struct control_event *e)
{
    struct held **at = &mesh()->held[from][to];
    while (*at != NULL)
        at = &(*at)->next;
    *at = malloc(sizeof **at);
    ASSERT(*at != NULL);
    **at = (struct held){.event = *e};
}

/* NOLINTNEXTLINE(readability-function-size): as control_net.h has it */
int control_net_send(struct control_net *n, uint32_t node, uint8_t type, const struct iovec *pieces,
                     unsigned count, struct control_net_request *request)
{
    uint32_t from = control_world->current->node, to = position_of(node);
    if (to == control_world->node_count || to == from || type == 0 || !n->is_peer[to])
        return -EINVAL;
    if (n->closed != NULL || !n->is_up[to])
        return -ENOTCONN;
    int error = request != NULL ? request_add(n, to, request) : 0;
    if (error != 0)
        return error;
    const struct control_process *peer = control_world->nodes[to].process;
    if (peer == NULL || net_at(to) == NULL) {
        control_count(CONTROL_MESSAGES_LOST);
        return 0; /* it is dead, and its peers do not know */
    }
    struct control_event e = {.process = peer->uid,
                              .node = to,
                              .is_loop = true,
                              .run = on_message,
                              .data = message_make(type, pieces, count),
                              .number = n->link[to],
                              .other = from};
    if (control_world->cut[from][to])
        hold(from, to, &e);
    else
        arrive(from, to, &e);
    return 0;
}

bool control_net_is_up(const struct control_net *n, uint32_t node)
{
    uint32_t at = position_of(node);
    return n->is_peer[at] && n->is_up[at];
}

int control_net_reload(struct control_net *n, FILE *errors)
{
    (void)n;
    (void)errors;
    return 0; /* there are no certificates */
}

static void on_closed(const struct control_event *e)
{
    struct control_process *p = control_world->current;
    struct control_net *n = p->net;
    (void)e;
    requests_end(n, UINT32_MAX, -ECANCELED);
    p->net = NULL;
    n->closed(n->context);
    control_free(n);
}

void control_net_close(struct control_net *n, void (*closed)(void *context), void *context)
{
    struct control_process *p = control_world->current;
    control_mesh_dead(&control_world->nodes[p->node], false);
    n->closed = closed;
    n->context = context;
    control_event_own(control_below(NS_PER_MS), on_closed, 0);
}

/* ---- there are no frames, and so no secrets of any ---- */

void secret_exchange_attach(struct secret_exchange *x, struct control_net *net, uint8_t type)
{
    (void)x;
    (void)net;
    (void)type;
}

void secret_exchange_link(struct secret_exchange *x, uint32_t node, bool up)
{
    (void)x;
    (void)node;
    (void)up;
}

void secret_exchange_received(struct secret_exchange *x, uint32_t node, const uint8_t *bytes,
                              size_t length)
{
    (void)x;
    (void)node;
    (void)bytes;
    (void)length;
}

void secret_exchange_step(struct secret_exchange *x)
{
    (void)x;
}

void secret_exchange_renew(struct secret_exchange *x)
{
    (void)x;
}

void secret_exchange_forget(struct secret_exchange *x, uint32_t node)
{
    (void)x;
    (void)node;
}

/* ---- make and free ---- */

struct control_mesh *control_mesh_make(void)
{
    struct control_mesh *m = calloc(1, sizeof *m);
    ASSERT(m != NULL);
    return m;
}

void control_mesh_free(struct control_mesh *m)
{
    for (uint32_t a = 0; a < CONTROL_NODES_MAX; a++)
        for (uint32_t b = 0; b < CONTROL_NODES_MAX; b++)
            held_drop(a, b);
    free(m);
}
