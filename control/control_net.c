#include "control/control_net.h"

#include "control/authority_file.h"
#include "control/control_net_link.h"
#include "control/control_net_tls.h"
#include "control/logline.h"
#include "engine/clock.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define BACKLOG 256
#define LOG_QUIET_MS 60000u
#define DAY_MS UINT64_C(86400000)
#define DAY_S INT64_C(86400)
#define WARN_DAYS 30

static const char knocked[] = "it knocked, and we connect to it";

/* One line a minute for what may happen a thousand times a second. */
struct quiet {
    uint64_t until_ms;
    uint32_t suppressed;
};

struct peer {
    struct control_net *net;
    uint32_t node;              /* 0: the place is free */
    bool is_removed, is_timing; /* until its links are closed; retry is a handle of the loop */
    struct sockaddr_storage address;
    struct control_link *link;    /* up, or on its way down after that */
    struct control_link *attempt; /* of ours, not up yet */
    bool connects;                /* we to it, not it to us */
    bool reported_up;
    uv_timer_t retry;
    uint64_t attempt_ms, backoff_ms;
    struct quiet unreachable;
};

struct control_net {
    struct control_net_config config;
    SSL_CTX *tls;
    int64_t until_s; /* end of our certificate */
    uv_tcp_t listener;
    uv_timer_t daily;
    unsigned handles_open;             /* of peers, listener and daily */
    struct control_link *first, *last; /* oldest first */
    struct quiet refused;
    uint64_t strangers_second;
    uint32_t strangers; /* accepted in that second */
    bool closing;
    void (*closed)(void *context);
    void *closed_context;
    struct control_link_owner owner;
    struct peer peers[LIMIT_NODES]; /* each stays where it is */
};

/* ---- what is logged ---- */

/* Returns whether the line is due, and how many were not since. */
static bool quiet_is_over(struct quiet *q, uint64_t now_ms, uint32_t *suppressed)
{
    if (now_ms < q->until_ms) {
        q->suppressed++;
        return false;
    }
    *suppressed = q->suppressed;
    *q = (struct quiet){.until_ms = now_ms + LOG_QUIET_MS};
    return true;
}

static void log_refused(struct control_net *n, const struct control_link *l)
{
    uint32_t suppressed;
    char address[CONTROL_LINK_ADDRESS_BYTES];
    if (!quiet_is_over(&n->refused, uv_now(n->config.loop), &suppressed))
        return;
    control_link_address_print(address, &l->address);
    log_event(LOG_WARN, "control_refused", LOG_TEXT("address", address),
              LOG_TEXT("reason", l->reason), LOG_NUMBER("suppressed", suppressed),
              LOG_NUMBER("node", n->config.self));
}

static void log_unreachable(struct peer *p, const char *reason)
{
    uint32_t suppressed;
    char address[CONTROL_LINK_ADDRESS_BYTES];
    if (!quiet_is_over(&p->unreachable, uv_now(p->net->config.loop), &suppressed))
        return;
    control_link_address_print(address, &p->address);
    log_event(LOG_WARN, "control_unreachable", LOG_NUMBER("peer", p->node),
              LOG_TEXT("address", address), LOG_TEXT("reason", reason),
              LOG_NUMBER("suppressed", suppressed), LOG_NUMBER("node", p->net->config.self));
}

static void log_link(const struct peer *p, const struct control_link *l)
{
    char address[CONTROL_LINK_ADDRESS_BYTES];
    control_link_address_print(address, &l->address);
    if (l->state == CONTROL_LINK_UP)
        log_event(LOG_INFO, "control_link_up", LOG_NUMBER("peer", p->node),
                  LOG_TEXT("address", address), LOG_NUMBER("node", p->net->config.self));
    else
        log_event(LOG_WARN, "control_link_down", LOG_NUMBER("peer", p->node),
                  LOG_TEXT("address", address), LOG_TEXT("reason", l->reason),
                  LOG_NUMBER("node", p->net->config.self));
}

static void log_certificate(const struct control_net *n)
{
    char until[AUTHORITY_TIME_BYTES];
    int64_t left_s = n->until_s - (int64_t)(clock_realtime_ns() / NS_PER_S);
    if (left_s >= WARN_DAYS * DAY_S)
        return;
    authority_time_print(until, n->until_s);
    log_event(left_s > 0 ? LOG_WARN : LOG_ERROR, "control_certificate_ends",
              LOG_NUMBER("days", left_s / DAY_S), LOG_TEXT("until", until),
              LOG_NUMBER("node", n->config.self));
}

/* ---- peers ---- */

static struct peer *peer_of(struct control_net *n, uint32_t node)
{
    for (uint32_t i = 0; i < LIMIT_NODES; i++)
        if (n->peers[i].node == node && !n->peers[i].is_removed)
            return &n->peers[i];
    return NULL;
}

static bool peer_is_up(const struct peer *p)
{
    return p->link != NULL && p->link->state == CONTROL_LINK_UP;
}

static void report(struct peer *p, bool up)
{
    if (p->reported_up == up || p->net->closing)
        return;
    p->reported_up = up;
    p->net->config.link(p->net->config.context, p->node, up);
}

static void link_insert(struct control_net *n, struct control_link *l)
{
    l->previous = n->last;
    if (n->last != NULL)
        n->last->next = l;
    else
        n->first = l;
    n->last = l;
}

static void link_remove(struct control_net *n, struct control_link *l)
{
    if (l->previous != NULL)
        l->previous->next = l->next;
    else
        n->first = l->next;
    if (l->next != NULL)
        l->next->previous = l->previous;
    else
        n->last = l->previous;
}

static bool is_alone(const struct control_net *n)
{
    for (uint32_t i = 0; i < LIMIT_NODES; i++)
        if (n->peers[i].node != 0 && peer_is_up(&n->peers[i]))
            return false;
    return true;
}

static void on_retry(uv_timer_t *timer)
{
    struct peer *p = timer->data;
    struct control_net *n = p->net;
    if (!p->connects && !is_alone(n))
        return; /* until a link is lost */
    const struct control_link_config c = {
        .loop = n->config.loop, .tls = n->tls, .owner = &n->owner, .context = n, .peer = p};
    p->attempt_ms = uv_now(n->config.loop);
    p->attempt = control_link_connect(&c, &p->address);
    if (p->attempt != NULL) {
        link_insert(n, p->attempt);
        return;
    }
    int error = uv_timer_start(&p->retry, on_retry, CONTROL_NET_BACKOFF_MS_MAX, 0);
    ASSERT(error == 0); /* there is a callback */
}

/* Why from the beginning of the last attempt: one that ran into its time has waited already. */
static void retry(struct peer *p)
{
    uint64_t now_ms = uv_now(p->net->config.loop);
    uint64_t wait_ms = p->connects ? p->backoff_ms : CONTROL_NET_KNOCK_MS;
    uint64_t due_ms = max_u64(p->attempt_ms + wait_ms, now_ms);
    int error = uv_timer_start(&p->retry, on_retry, due_ms - now_ms, 0);
    ASSERT(error == 0); /* there is a callback */
    p->backoff_ms = min_u64(2 * p->backoff_ms, CONTROL_NET_BACKOFF_MS_MAX);
}

static void retry_at_once(struct peer *p)
{
    if (p->link != NULL || p->attempt != NULL)
        return;
    p->attempt_ms = 0;
    p->backoff_ms = CONTROL_NET_BACKOFF_MS_MIN;
    retry(p);
}

/* ---- what links tell ---- */

static const char *on_judge(struct control_link *l, const struct authority_identity *who)
{
    struct control_net *n = l->context;
    struct peer *p = peer_of(n, who->node);
    if (strcmp(who->cluster, n->config.cluster) != 0)
        return "it is of another cluster";
    if (who->node == n->config.self)
        return "it says that it is ourselves";
    if (l->outgoing)
        return p == l->peer ? NULL : "another node than the one that lives there";
    l->is_unknown = p == NULL;
    l->peer = p;
    if (l->is_unknown)
        return "a node that is not in the list";
    if (!p->connects)
        return NULL;
    retry_at_once(p);
    return knocked;
}

static void on_up(struct control_link *l)
{
    struct control_net *n = l->context;
    struct peer *p = l->peer;
    struct control_link *before = p->link;
    if (p->attempt == l)
        p->attempt = NULL;
    p->link = l;
    p->unreachable = (struct quiet){.until_ms = 0};
    if (before != NULL)
        control_link_drop(before, "a newer connection took its place");
    log_link(p, l);
    report(p, false);
    if (!n->closing)
        report(p, true);
}

static void on_received(struct control_link *l, const struct control_frame *f)
{
    const struct control_net *n = l->context;
    const struct peer *p = l->peer;
    n->config.received(n->config.context, p->node, f->type, f->bytes, f->length);
}

static void end_if_over(struct control_net *n);

/* The place of one that was removed is free when nothing leads to it any more. */
static void peer_free_if_over(struct peer *p)
{
    if (!p->is_removed || p->is_timing)
        return;
    for (const struct control_link *l = p->net->first; l != NULL; l = l->next)
        if (l->peer == p)
            return;
    p->node = 0;
    p->is_removed = false;
}

static void peer_lost(struct peer *p, const struct control_link *l)
{
    if (p->link == l) {
        p->link = NULL;
        report(p, false);
    }
    if (p->attempt == l)
        p->attempt = NULL;
    if (p->net->closing || p->is_removed || p->link != NULL || p->attempt != NULL)
        return;
    if (l->up_ms != 0 && uv_now(p->net->config.loop) - l->up_ms >= CONTROL_NET_BACKOFF_MS_MAX)
        p->backoff_ms = CONTROL_NET_BACKOFF_MS_MIN;
    retry(p);
}

static void on_link_closed(struct control_link *l)
{
    struct control_net *n = l->context;
    struct peer *p = l->peer;
    link_remove(n, l);
    if (!n->closing) {
        if (l->up_ms != 0)
            log_link(p, l);
        else if (l->outgoing)
            log_unreachable(p, l->reason);
        else if (l->reason != knocked)
            log_refused(n, l);
        if (l->is_refused && n->config.refused != NULL)
            n->config.refused(n->config.context, p->node);
    }
    if (p != NULL) {
        peer_lost(p, l);
        peer_free_if_over(p);
    }
    end_if_over(n);
}

/* ---- who comes ---- */

static bool is_of_node(const struct control_net *n, const struct sockaddr_storage *a)
{
    for (uint32_t i = 0; i < LIMIT_NODES; i++) {
        const struct sockaddr_storage *b = &n->peers[i].address;
        if (n->peers[i].node == 0 || a->ss_family != b->ss_family)
            continue;
        if (a->ss_family == AF_INET && ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
                                           ((const struct sockaddr_in *)b)->sin_addr.s_addr)
            return true;
        if (a->ss_family == AF_INET6 &&
            memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
                   &((const struct sockaddr_in6 *)b)->sin6_addr, sizeof(struct in6_addr)) == 0)
            return true;
    }
    return false;
}

/* The oldest of its pool makes room for one that came. */
static void pool_trim(struct control_net *n, const struct control_link *newest)
{
    uint32_t count = 0;
    struct control_link *oldest = NULL;
    for (struct control_link *l = n->first; l != NULL; l = l->next) {
        if (l->outgoing || l->is_of_node != newest->is_of_node || l->state >= CONTROL_LINK_UP)
            continue;
        if (count++ == 0)
            oldest = l;
    }
    if (count > CONTROL_NET_STRANGERS)
        control_link_drop(oldest, "others came while it was slow");
}

static bool rate_is_over(struct control_net *n)
{
    uint64_t second = uv_now(n->config.loop) / 1000;
    if (second != n->strangers_second) {
        n->strangers_second = second;
        n->strangers = 0;
    }
    return n->strangers++ >= CONTROL_NET_STRANGERS_PER_S;
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct control_net *n = listener->data;
    const struct control_link_config c = {
        .loop = n->config.loop, .tls = n->tls, .owner = &n->owner, .context = n};
    if (status != 0)
        return; /* of one that is gone; what matters to us comes again */
    struct control_link *l = control_link_accept(&c, &n->listener);
    if (l == NULL)
        return;
    link_insert(n, l);
    l->is_of_node = is_of_node(n, &l->address);
    if (!l->is_of_node && rate_is_over(n))
        control_link_drop(l, "too many came in this second");
    else
        pool_trim(n, l);
}

static void on_daily(uv_timer_t *timer)
{
    log_certificate(timer->data);
}

/* ---- open and close ---- */

static void end_if_over(struct control_net *n)
{
    if (!n->closing || n->handles_open != 0 || n->first != NULL)
        return;
    void (*closed)(void *context) = n->closed;
    void *context = n->closed_context;
    SSL_CTX_free(n->tls);
    free(n);
    if (closed != NULL)
        closed(context);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct control_net *n = handle->data;
    n->handles_open--;
    end_if_over(n);
}

static void on_retry_closed(uv_handle_t *handle)
{
    struct peer *p = handle->data;
    struct control_net *n = p->net;
    n->handles_open--;
    p->is_timing = false;
    peer_free_if_over(p);
    end_if_over(n);
}

void control_net_close(struct control_net *n, void (*closed)(void *context), void *context)
{
    ASSERT(!n->closing);
    n->closing = true;
    n->closed = closed;
    n->closed_context = context;
    for (struct control_link *l = n->first; l != NULL; l = l->next) {
        l->lost = -ECANCELED;
        control_link_drop(l, "closed by us");
    }
    for (uint32_t i = 0; i < LIMIT_NODES; i++)
        if (n->peers[i].is_timing && !n->peers[i].is_removed)
            uv_close((uv_handle_t *)&n->peers[i].retry, on_retry_closed);
    uv_close((uv_handle_t *)&n->listener, on_handle_closed);
    uv_close((uv_handle_t *)&n->daily, on_handle_closed);
}

static int config_judge(const struct control_net_config *c, FILE *errors)
{
    if (c->peer_count > LIMIT_NODES)
        return authority_fault(errors, -EINVAL, c->cluster, "%u nodes; expected at most %u",
                               c->peer_count, LIMIT_NODES);
    for (uint32_t i = 0; i < c->peer_count; i++)
        for (uint32_t k = 0; k < i; k++)
            if (c->peers[i].node == c->peers[k].node)
                return authority_fault(errors, -EINVAL, c->cluster,
                                       "node %u twice; expected different ids", c->peers[i].node);
    return 0;
}

static int tls_load(const struct control_net_config *c, SSL_CTX **tls, int64_t *until_s,
                    FILE *errors)
{
    const struct control_tls_files files = {.certificate_path = c->certificate_path,
                                            .key_path = c->key_path,
                                            .authority_path = c->authority_path,
                                            .cluster = c->cluster,
                                            .node = c->self};
    return control_tls_open(&files, tls, until_s, errors);
}

/* In a place that is free; NULL: there is none. */
static struct peer *peer_make(struct control_net *n, const struct control_net_peer *about)
{
    uint32_t at = 0;
    while (at < LIMIT_NODES && n->peers[at].node != 0)
        at++;
    if (at == LIMIT_NODES)
        return NULL;
    struct peer *p = &n->peers[at];
    *p = (struct peer){.net = n,
                       .node = about->node,
                       .is_timing = true,
                       .address = about->address,
                       .connects = n->config.self < about->node,
                       .backoff_ms = CONTROL_NET_BACKOFF_MS_MIN};
    int error = uv_timer_init(n->config.loop, &p->retry);
    ASSERT(error == 0); /* it cannot fail */
    p->retry.data = p;
    n->handles_open++;
    return p;
}

static void peers_init(struct control_net *n)
{
    const struct control_net_config *c = &n->config;
    for (uint32_t i = 0; i < c->peer_count; i++)
        if (c->peers[i].node != c->self)
            (void)peer_make(n, &c->peers[i]); /* config_judge has counted */
}

static void peer_begin(struct peer *p)
{
    int error = uv_timer_start(&p->retry, on_retry, p->connects ? 0 : CONTROL_NET_KNOCK_MS, 0);
    ASSERT(error == 0); /* there is a callback */
}

static void handles_init(struct control_net *n)
{
    int error = uv_tcp_init(n->config.loop, &n->listener);
    ASSERT(error == 0); /* it makes no socket yet */
    error = uv_timer_init(n->config.loop, &n->daily);
    ASSERT(error == 0); /* it cannot fail */
    n->listener.data = n->daily.data = n;
    n->handles_open += 2;
}

static int start(struct control_net *n, FILE *errors)
{
    char address[CONTROL_LINK_ADDRESS_BYTES];
    struct sockaddr_storage bound;
    int error = uv_tcp_bind(&n->listener, (const struct sockaddr *)&n->config.listen, 0);
    if (error == 0)
        error = uv_listen((uv_stream_t *)&n->listener, BACKLOG, on_connection);
    if (error != 0) {
        control_link_address_print(address, &n->config.listen);
        return authority_fault(errors, error, address, "cannot listen there: %s",
                               uv_strerror(error));
    }
    error = uv_timer_start(&n->daily, on_daily, DAY_MS, DAY_MS);
    ASSERT(error == 0); /* there is a callback */
    for (uint32_t i = 0; i < LIMIT_NODES; i++)
        if (n->peers[i].node != 0)
            peer_begin(&n->peers[i]);
    control_net_address(n, &bound);
    control_link_address_print(address, &bound);
    log_event(LOG_INFO, "control_listening", LOG_TEXT("address", address),
              LOG_NUMBER("node", n->config.self));
    log_certificate(n);
    return 0;
}

int control_net_open(struct control_net **n, const struct control_net_config *config, FILE *errors)
{
    SSL_CTX *tls = NULL;
    int64_t until_s;
    int error = config_judge(config, errors);
    if (error == 0)
        error = tls_load(config, &tls, &until_s, errors);
    if (error != 0)
        return error;
    struct control_net *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        SSL_CTX_free(tls);
        return authority_fault(errors, -ENOMEM, config->cluster, "no memory");
    }
    made->config = *config;
    made->tls = tls;
    made->until_s = until_s;
    made->owner.judge = on_judge;
    made->owner.up = on_up;
    made->owner.received = on_received;
    made->owner.closed = on_link_closed;
    peers_init(made);
    made->config.peers = NULL; /* the caller's, who may free it now */
    handles_init(made);
    error = start(made, errors);
    if (error == 0)
        *n = made;
    else
        control_net_close(made, NULL, NULL);
    return error;
}

/* ---- use ---- */

int control_net_add(struct control_net *n, const struct control_net_peer *peer)
{
    if (n->closing)
        return -ESHUTDOWN;
    if (peer->node == 0 || peer->node == n->config.self || peer_of(n, peer->node) != NULL)
        return -EINVAL;
    struct peer *p = peer_make(n, peer);
    if (p == NULL)
        return -ENOSPC;
    peer_begin(p);
    return 0;
}

void control_net_remove(struct control_net *n, uint32_t node)
{
    struct peer *p = peer_of(n, node);
    if (p == NULL || n->closing)
        return;
    p->is_removed = true;
    for (struct control_link *l = n->first; l != NULL; l = l->next)
        if (l->peer == p)
            control_link_drop(l, "it is no node of ours any more");
    uv_close((uv_handle_t *)&p->retry, on_retry_closed);
}

/* NOLINTNEXTLINE(readability-function-size): one parameter too many, for the callers' sake */
int control_net_send(struct control_net *n, uint32_t node, uint8_t type, const struct iovec *pieces,
                     unsigned count, struct control_net_request *request)
{
    struct peer *p = peer_of(n, node);
    if (p == NULL || type == CONTROL_FRAME_HELLO)
        return -EINVAL;
    return p->link != NULL ? control_link_send(p->link, type, pieces, count, request) : -ENOTCONN;
}

bool control_net_is_up(const struct control_net *n, uint32_t node)
{
    for (uint32_t i = 0; i < LIMIT_NODES; i++)
        if (n->peers[i].node == node && !n->peers[i].is_removed)
            return peer_is_up(&n->peers[i]);
    return false;
}

void control_net_address(const struct control_net *n, struct sockaddr_storage *address)
{
    int length = sizeof(*address);
    *address = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
    int error = uv_tcp_getsockname(&n->listener, (struct sockaddr *)address, &length);
    ASSERT(error == 0); /* it listens */
}

int control_net_reload(struct control_net *n, FILE *errors)
{
    char until[AUTHORITY_TIME_BYTES];
    SSL_CTX *tls;
    int64_t until_s;
    int error = tls_load(&n->config, &tls, &until_s, errors);
    if (error != 0)
        return error;
    SSL_CTX_free(n->tls); /* links hold it, too */
    n->tls = tls;
    n->until_s = until_s;
    authority_time_print(until, until_s);
    log_event(LOG_INFO, "control_certificate_loaded", LOG_TEXT("until", until),
              LOG_NUMBER("node", n->config.self));
    log_certificate(n);
    return 0;
}
