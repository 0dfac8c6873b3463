#include "control/secret_exchange.h"

#include "control/frame_secrets.h"
#include "control/logline.h"
#include "engine/clock.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct secret_exchange {
    struct pair_secrets *shared;
    struct control_net *net;
    uint8_t type;
    struct frame_secrets secrets;
};

/* ---- what the protocol asks of us ---- */

static bool draw(void *context, uint8_t bytes[FRAME_SECRET_BYTES])
{
    (void)context;
    /* Why one call is enough: up to 256 bytes come whole. */
    return getrandom(bytes, FRAME_SECRET_BYTES, 0) == (ssize_t)FRAME_SECRET_BYTES;
}

static bool share(void *context, uint32_t node, const struct pair_secrets_view *view)
{
    struct secret_exchange *x = context;
    /* No place: more nodes than a cluster has, of which some will be forgotten. */
    if (x->shared == NULL || pair_secrets_put(x->shared, node, view) != 0)
        return x->shared == NULL;
    uint32_t newest = view->secrets[0].number;
    bool begins = newest == 1 || view->secrets[1].number != 0;
    if (begins && view->start != 0 && view->seals == newest)
        log_event(LOG_INFO, "frame_secret", LOG_NUMBER("peer", node),
                  LOG_NUMBER("start", view->start), LOG_NUMBER("number", newest));
    return true;
}

static bool send_one(void *context, uint32_t node, const uint8_t *bytes, uint32_t length)
{
    struct secret_exchange *x = context;
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
    if (x->net == NULL)
        return false;
    int error = control_net_send(x->net, node, x->type, &piece, 1, NULL);
    /* Why those two are as good as sent: what is to be said is said anew with the next link. */
    return error == 0 || error == -ENOTCONN || error == -EINVAL;
}

static uint32_t spent(void *context, uint32_t node)
{
    const struct secret_exchange *x = context;
    return x->shared != NULL ? pair_secrets_spent(x->shared, node) : 0;
}

/* ---- what comes ---- */

void secret_exchange_step(struct secret_exchange *x)
{
    if (x == NULL)
        return;
    const struct frame_secrets_edge edge = {
        .draw = draw, .share = share, .send = send_one, .spent = spent, .context = x};
    frame_secrets_step(&x->secrets, clock_boottime_ns(), &edge);
}

void secret_exchange_link(struct secret_exchange *x, uint32_t node, bool up)
{
    if (x == NULL)
        return;
    frame_secrets_link(&x->secrets, node, up);
    secret_exchange_step(x);
}

void secret_exchange_received(struct secret_exchange *x, uint32_t node, const uint8_t *bytes,
                              size_t length)
{
    if (x == NULL)
        return;
    /* Why -EPROTO does not matter: a newer release knows that what it says may not be understood. */
    if (frame_secrets_received(&x->secrets, node, bytes, length) == -EXDEV)
        log_event(LOG_ERROR, "frame_keys_differ", LOG_NUMBER("peer", node),
                  LOG_TEXT("help", x->shared == NULL
                                       ? "this node has a cluster.key_file and that one has none; "
                                         "give all nodes the same one, or none of them any"
                                       : "that node has a cluster.key_file and this one has none; "
                                         "give all nodes the same one, or none of them any"));
    secret_exchange_step(x);
}

void secret_exchange_renew(struct secret_exchange *x)
{
    if (x == NULL)
        return;
    frame_secrets_renew(&x->secrets);
    secret_exchange_step(x);
}

void secret_exchange_forget(struct secret_exchange *x, uint32_t node)
{
    if (x == NULL)
        return;
    frame_secrets_forget(&x->secrets, node);
    secret_exchange_step(x);
}

/* ---- open, close ---- */

int secret_exchange_open(struct secret_exchange **x, const struct secret_exchange_config *config)
{
    struct secret_exchange *made = calloc(1, sizeof *made);
    if (made == NULL)
        return -ENOMEM;
    const struct frame_secrets_config secrets = {.node = config->node,
                                                 .start = config->start,
                                                 .has_file = config->shared == NULL,
                                                 .age_ns = config->age_ns,
                                                 .grace_ns = config->grace_ns};
    made->shared = config->shared;
    frame_secrets_init(&made->secrets, &secrets);
    *x = made;
    return 0;
}

void secret_exchange_attach(struct secret_exchange *x, struct control_net *net, uint8_t type)
{
    if (x == NULL)
        return;
    x->net = net;
    x->type = type;
}

void secret_exchange_close(struct secret_exchange *x)
{
    if (x == NULL)
        return;
    if (x->shared != NULL)
        pair_secrets_fini(x->shared);
    explicit_bzero(x, sizeof *x);
    free(x);
}
